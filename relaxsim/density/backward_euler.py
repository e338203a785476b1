"""Backward Euler in time: positive, mass conserving and monotone in the free energy at every step size.

(I - tau G) p' = p has a stochastic inverse with the Gibbs masses at rest, so every f-divergence to them falls, for any
tau. A generator that changes with time, or with the density, is frozen over a step: with the one of the end of the
step, KL(p'|m') <= KL(p|m') for the Gibbs masses m' of that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.promise import BrokenPromiseError
from relaxsim.density.solve import Factors, factorised
from relaxsim.errors import ConvergenceError
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.flow import Flow
    from relaxsim.density.promise import Worst

_MASS_DEFECT = 1e-11  # of a solve, beyond what rounding of its matrix explains
_HALF = 0.5  # of the mass: more may not be lost to rounding either
_NEGATIVE = 1e-15  # of the largest mass, beyond the same


class Stepper:
    """One backward Euler step; the factorised matrices of recent step sizes are kept where G does not move.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n), optional
        G, where it does not move; columns sum to zero.
    flow : Flow, optional
        Gives G at the end of each step, where it moves.
    worst : Worst, optional
        Keeps what had to be mended.

    Attributes
    ----------
    order : int
        Error of a path as a power of the step.
    solves : int
        Steps done so far.
    """

    order = 1

    def __init__(self, generator: Any = None, flow: Flow | None = None, worst: Worst | None = None) -> None:
        self._flow, self._worst = flow, worst
        self._factors = None if generator is None else Factors(generator, None if flow is None else flow.grid)
        self._fastest = 0.0 if generator is None else _fastest(generator)
        self.solves = 0

    def step(self, mass: FloatArray, tau: float, t: float = 0.0) -> FloatArray:
        """Solve (I - tau G) p' = p for flat cell masses.

        Parameters
        ----------
        mass : ndarray, shape (n,)
        tau : float
            Step.
        t : float
            Time of `mass`; needed where G moves.

        Raises
        ------
        ConvergenceError
            The solution lost mass or sign by more than rounding.
        BrokenPromiseError
            Rounding lost half of the mass: time times rate is too large for a step.
        """
        if self._factors is not None:
            factor, fastest = self._factors(tau), self._fastest
        else:
            assert self._flow is not None
            generator = self._flow.at(t + tau, mass)
            factor, fastest = factorised(generator, tau, self._flow.grid), _fastest(generator)
        moved = np.asarray(factor.solve(mass), dtype=np.float64)
        self.solves += 1
        rounding = np.finfo(np.float64).eps * tau * fastest
        defect = abs(moved.sum() - 1.0)
        lowest = moved.min() / moved.max()
        if not (defect <= _MASS_DEFECT + rounding and lowest >= -(_NEGATIVE + rounding)):
            raise ConvergenceError(
                f"a backward Euler step of {tau:g} changed the total mass by {defect:.2e} and left masses "
                f"down to {lowest:.2e} of the largest; the rates reach {fastest:.2e}. Use a smaller "
                "step= or fewer cells"
            )
        if not defect <= _HALF:
            raise BrokenPromiseError(f"a total off by {defect:.2e}, which rounding took in a step of {tau:g}")
        if self._worst is not None:
            self._worst.defect = max(self._worst.defect, float(defect))
        np.maximum(moved, 0.0, out=moved)
        return np.asarray(moved / moved.sum())


def _fastest(generator: Any) -> float:
    """The largest rate of leaving a cell."""
    return float(np.max(-generator.diagonal(), initial=0.0))
