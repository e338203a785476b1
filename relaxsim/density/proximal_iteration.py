"""The places a fixed-point iteration tries: how its map contracts them, how near the end is, and where to go next.

The map of ln z in a proximal step contracts by r in the largest difference. Its derivative is r times the product of a
stochastic matrix and its time reversal, so the eigenvalues lie in [0, r], and momentum (B. T. Polyak, USSR Comput.
Math. Math. Phys. 4 (1964) 1) turns the rate r into (1 - sqrt(1 - r))/(1 + sqrt(1 - r)). That holds near the fixed
point; where momentum falls behind what the contraction promises, the iteration goes on from its best place without.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from relaxsim.errors import ConvergenceError
from relaxsim.system.validate import FloatArray

_ROUNDING = 8 * np.finfo(np.float64).eps  # of ln y and ln z in one pass, in units of the largest of them
_SETBACKS = 3  # times that momentum may fall behind before it is left out


class Iterates:
    """Places and their images under a map that contracts by `bound` where `open_`.

    Attributes
    ----------
    count : int
        Passes so far.
    change : float
        Distance of the last place from its image.
    worst : float
        Largest measured ratio of the distances of two successive places after and before the map, less what rounding
        may add to it.
    """

    def __init__(self, bound: float, open_: Any, scale: float) -> None:
        self._bound, self._open, self._scale = bound, open_, scale
        self.count, self.change, self.worst = 0, math.inf, 0.0
        self._places: list[tuple[FloatArray, FloatArray]] = []  # the last two, with their images
        self._best: tuple[float, FloatArray] = (math.inf, open_)
        self._moving, self._promised, self._setbacks = False, math.inf, 0
        self._reach = 4.0 / (1.0 + math.sqrt(1.0 - bound)) ** 2
        self._rate = bound * self._reach / 4.0

    def add(self, place: FloatArray, image: FloatArray) -> None:
        """One pass: the map took `place` to `image`."""
        self.count += 1
        self.change = self._apart(image, place)
        self._scale = max(self._scale, largest(image))
        if self._places:
            before, its_image = self._places[-1]
            ratio = (self._apart(image, its_image) - self._rounding) / (self._apart(place, before) + self._rounding)
            self.worst = max(self.worst, ratio)
        self._places = [*self._places[-1:], (place, image)]
        if self.change < self._best[0]:
            self._best = self.change, image

    def reached(self, tol: float) -> bool:
        """Whether the last image is within `tol` of the fixed point, or as near as rounding lets it come.

        Raises
        ------
        ConvergenceError
            More passes than the contraction needs, and still far from it.
        """
        left = max(tol, 4 * self._rounding) * (1 - self._bound)
        if self.change * self._bound <= left:
            return True
        if self.count == 1:
            self._enough = self._passes(left, self._bound) + 10
        if self.count <= self._enough:
            return False
        if self.change > 100 * self._rounding:
            raise ConvergenceError(
                f"the fixed point of a proximal step was not reached in {self.count} passes, {self._enough} of which "
                f"should do at the contraction {self._bound:.6g}; ln z still changes by {self.change:.2e} a pass"
            )
        return True

    def fewest(self, tol: float) -> float:
        """Passes that are needed in all at the rate of the momentum, about."""
        return self.count + self._passes(max(tol, 4 * self._rounding) * (1 - self._bound), self._rate)

    def next(self) -> FloatArray:
        """The place to try now."""
        place, image = self._places[-1]
        if self.change > self._promised + self._rounding:
            self._setbacks += 1
            self._moving, self._promised = False, math.inf
            return self._best[1]
        if not self._moving:
            self._moving, self._promised = self._setbacks <= _SETBACKS, self.change * self._bound
            return image
        self._promised *= self._bound
        before = self._places[0][0]
        step = self._reach * self._difference(image, place) + self._rate**2 * self._difference(place, before)
        return np.asarray(place + step)

    @property
    def _rounding(self) -> float:
        return float(_ROUNDING * self._scale)

    def _passes(self, left: float, rate: float) -> float:
        if not left > 0:  # h so much longer than epsilon/T that nothing contracts
            return math.inf
        return max(1, 1 + math.ceil(math.log(left / (self.change * self._bound)) / math.log(rate)))

    def _difference(self, a: FloatArray, b: FloatArray) -> FloatArray:
        return np.asarray(np.subtract(a, b, out=np.zeros(a.shape), where=self._open))

    def _apart(self, a: FloatArray, b: FloatArray) -> float:
        return float(np.abs(self._difference(a, b)).max())


def largest(values: FloatArray) -> float:
    """Largest finite size, at least one."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=1.0))
