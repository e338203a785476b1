"""Radau IIA of order 5: for stiff equations and for those that change with time.

It damps all fast modes, but like every rational method of order above one it is not positive for every step; so each
step is checked for negative mass and total, and one that fails is made shorter.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.promise import TOLERANCE, BrokenPromiseError, Worst
from relaxsim.density.solve import Factors, factorised
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.flow import Flow

_ROUNDS = 25  # of the iteration for a moving generator
_SETTLED = 1e-13  # change of the stages, in total mass, at which it ends
_STALLED = 1e-11  # the same, where rounding lets it fall no more


@cache
def tableau() -> tuple[FloatArray, FloatArray]:
    """Nodes c and matrix a of the three-stage method."""
    r = np.sqrt(6.0)
    nodes = np.array([(4 - r) / 10, (4 + r) / 10, 1.0])
    matrix = np.array(
        [
            [(88 - 7 * r) / 360, (296 - 169 * r) / 1800, (-2 + 3 * r) / 225],
            [(296 + 169 * r) / 1800, (88 + 7 * r) / 360, (-2 - 3 * r) / 225],
            [(16 - r) / 36, (16 + r) / 36, 1 / 9],
        ]
    )
    return nodes, matrix


@cache
def partial_fractions() -> tuple[Any, Any]:
    """Poles 1/g and residues w of R(z) = sum_k w_k / (1 - g_k z): one real term, and one of a conjugate pair.

    R(z) = (1 + 2z/5 + z^2/20) / (1 - 3z/5 + 3z^2/20 - z^3/60).
    """
    poles = np.roots([-1 / 60, 3 / 20, -3 / 5, 1.0])
    poles = poles[np.argsort(np.abs(poles.imag))]
    real, pair = poles[0].real, poles[1] if poles[1].imag > 0 else poles[2]
    found = []
    for pole in (real, pair):
        slope = -3 / 60 * pole**2 + 6 / 20 * pole - 3 / 5
        residue = (1 + 2 * pole / 5 + pole**2 / 20) / slope  # of 1 / (z - pole)
        found.append((1 / pole, -residue / pole))
    return found[0], found[1]


class Stepper:
    """One step of Radau IIA.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n), optional
        G, where it does not move.
    flow : Flow, optional
        Gives G at each stage, where it moves.
    worst : Worst
        Keeps what had to be mended.

    Attributes
    ----------
    order : int
        Error of a path as a power of the step.
    solves : int
        Linear systems solved, a complex one counted once.

    Notes
    -----
    Hairer & Wanner, *Solving Ordinary Differential Equations II*, 2nd ed., sections IV.5 and IV.8. For a constant G
    the step is a rational function of tau G, applied by partial fractions. For a moving one the stages are iterated
    with the generator of the end of the step in the matrix (simplified Newton iteration).
    """

    order = 5

    def __init__(self, generator: Any, flow: Flow | None, worst: Worst) -> None:
        self._flow, self._worst = flow, worst
        self._grid = None if flow is None else flow.grid
        self._factors = None if generator is None else Factors(generator, self._grid)
        self.solves = 0

    def step(self, mass: FloatArray, tau: float, t: float = 0.0) -> FloatArray:
        """Masses at t + tau.

        Raises
        ------
        BrokenPromiseError
            The step is too long: negative mass, a wrong total, or an iteration that does not settle.
        """
        moved = self._constant(mass, tau) if self._factors is not None else self._moving(mass, tau, t)
        return self._worst.settle(moved, TOLERANCE)

    def _constant(self, mass: FloatArray, tau: float) -> FloatArray:
        assert self._factors is not None
        (real, share), (pair, weight) = partial_fractions()
        moved = share * self._factors(tau * real).solve(mass)
        moved += 2.0 * (weight * self._factors(tau * pair).solve(mass.astype(np.complex128))).real
        self.solves += 2
        return np.asarray(moved)

    def _moving(self, mass: FloatArray, tau: float, t: float) -> FloatArray:
        assert self._flow is not None
        nodes, matrix = tableau()
        values, vectors = np.linalg.eig(matrix)
        order = np.argsort(np.abs(values.imag))
        if values[order[1]].imag < 0:
            order[[1, 2]] = order[[2, 1]]
        values, vectors = values[order], vectors[:, order]
        inverse = np.linalg.inv(vectors)
        generators = [self._flow.at(t + c * tau, mass) for c in nodes]
        real = factorised(generators[-1], tau * float(values[0].real), self._grid)
        pair = factorised(generators[-1], tau * complex(values[1]), self._grid)
        stages, last = np.zeros((3, mass.size)), np.inf
        for _ in range(_ROUNDS):
            slopes = np.stack([g @ (mass + z) for g, z in zip(generators, stages, strict=True)])
            missing = inverse @ (tau * (matrix @ slopes) - stages)
            first = real.solve(np.ascontiguousarray(missing[0].real))
            second = pair.solve(np.ascontiguousarray(missing[1]))
            self.solves += 2
            change = (np.outer(vectors[:, 0], first) + 2.0 * np.outer(vectors[:, 1], second)).real
            stages += change
            size = float(np.abs(change).sum(axis=1).max())
            if size <= _SETTLED or (size <= _STALLED and size > 0.2 * last):
                return np.asarray(mass + stages[2])
            if not size < 2.0 * last:
                break
            last = size
        raise BrokenPromiseError("an iteration that does not settle")
