"""What every time stepper promises, and the check of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relaxsim.system.relative_entropy import kl_divergence
from relaxsim.system.validate import FloatArray

TOLERANCE = 1e-10  # negative mass and mass defect before they are mended, and the time error aimed at


class BrokenPromiseError(ArithmeticError):
    """A state that a method may not return; it has to refine, or another method takes over."""


@dataclass
class Worst:
    """The worst that had to be mended so far.

    Attributes
    ----------
    negative : float
        Largest sum of negative masses.
    defect : float
        Largest change of the total mass.
    """

    negative: float = 0.0
    defect: float = 0.0

    def settle(self, mass: FloatArray, tolerance: float = TOLERANCE, rounding: float = 0.0) -> FloatArray:
        """Clip masses at zero and scale them to one, in place; what was wrong before must be below `tolerance`.

        The total may be wrong by as much as it is known to be by `rounding` alone, too, but never by more than 1e-10.

        Raises
        ------
        BrokenPromiseError
            More negative mass, or a larger mass defect, or numbers that are not finite.
        """
        total = float(mass.sum())
        negative = float(np.maximum(-mass, 0.0).sum())
        if not (negative <= tolerance and abs(total - 1.0) <= min(tolerance + rounding, TOLERANCE)):
            raise BrokenPromiseError(f"negative mass of {negative:.2e} and a total off by {total - 1.0:.2e}")
        self.negative, self.defect = max(self.negative, negative), max(self.defect, abs(total - 1.0))
        np.maximum(mass, 0.0, out=mass)
        mass /= mass.sum()
        return mass


class Fall:
    """The relative entropy to the Gibbs masses along a path: it may not grow by more than tolerance (1 + max |ln m|).

    Parameters
    ----------
    start : ndarray, shape (n,)
        Cell masses.
    log_gibbs : ndarray, shape (n,)
        ln of the Gibbs masses; -inf in forbidden cells.
    tolerance : float
    """

    def __init__(self, start: FloatArray, log_gibbs: FloatArray, tolerance: float = TOLERANCE) -> None:
        largest = float(np.max(np.abs(log_gibbs), where=np.isfinite(log_gibbs), initial=0.0))
        self._log_gibbs, self._allowed = log_gibbs, tolerance * (1 + largest)
        self._kl = float(kl_divergence(start, log_gibbs))

    def to(self, mass: FloatArray) -> None:
        """Go on to these masses.

        Raises
        ------
        BrokenPromiseError
            Their relative entropy is larger than that of the masses before.
        """
        kl = float(kl_divergence(mass, self._log_gibbs))
        if not kl - self._kl <= self._allowed:
            raise BrokenPromiseError(f"a relative entropy that grew by {kl - self._kl:.2e}")
        self._kl = kl
