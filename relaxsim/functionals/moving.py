"""Gibbs laws that move: energies and temperatures that depend on time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.checks import steepest
from relaxsim.system.temperature import gibbs_moves, value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.system import System

Weights = tuple[FloatArray, float]  # ln of the Gibbs masses of cells, and ln Z

_KEPT = 2_000_000  # masses of cells, of all times together, that are kept: 16 MB


def temperatures(system: System, times: FloatArray) -> Any:
    """T: the number it is, or an array (n_times,) where the Gibbs law moves."""
    return (
        np.array([value_at(system.temperature, float(t)) for t in times]) if gibbs_moves(system) else system.temperature
    )


class MovingWeights:
    """Gibbs masses of cells at a time, `weigh(t)`, each found once for some times if they are not too many to keep.

    Parameters
    ----------
    weigh : callable
        ln of the Gibbs masses of the cells and ln Z at a time.
    times : ndarray, shape (n_times,)

    Attributes
    ----------
    mean : ndarray
        ln of the mean over the times of the Gibbs masses.
    """

    def __init__(self, weigh: Callable[[float], Weights], times: FloatArray) -> None:
        self._weigh = weigh
        self._kept: dict[float, Weights] = {}
        self._steepest: dict[float, float] = {}
        total: Any = -np.inf
        for t in map(float, times):
            found = weigh(t)
            total = np.logaddexp(total, found[0])
            self._steepest[t] = steepest(found[0])
            if (len(self._kept) + 1) * found[0].size <= _KEPT:
                self._kept[t] = found
        self.mean: FloatArray = np.asarray(total - np.log(len(times)))

    def __call__(self, t: float) -> Weights:
        return self._kept[t] if t in self._kept else self._weigh(t)

    def steepest(self, t: float) -> float:
        """The largest change of E/T between neighbouring cells that hold mass at rest, at a time."""
        return self._steepest[t] if t in self._steepest else steepest(self(t)[0])


def over_time(
    system: System, times: FloatArray, weigh: Callable[[float], Weights]
) -> tuple[Weights, MovingWeights | None]:
    """Gibbs masses that serve all times, and those of each where they move: the first are then of the mean, without
    ln Z."""
    if not gibbs_moves(system):
        return weigh(0.0), None
    moving = MovingWeights(weigh, times)
    return (moving.mean, float("nan")), moving
