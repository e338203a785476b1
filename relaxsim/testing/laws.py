"""What an assertion takes for a law: positions, an ensemble at a time, or a density at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.functionals.samples import check_samples
from relaxsim.system.grid import Grid
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

DEFAULT_ALPHA = 1e-6
DEFAULT_TOLERANCE = 1e-3  # nats
LEAST_EXPECTED = 50.0  # points a bin, so that chi-square holds far out in its tail


@dataclass(frozen=True)
class Points:
    """Independent points (n, dim)."""

    x: FloatArray
    system: System | None
    when: str

    def __str__(self) -> str:
        return f"{len(self.x)} particles{self.when}"


@dataclass(frozen=True)
class Cells:
    """Masses (\\*grid.shape) of the cells of a grid, with the Gibbs masses that belong to them."""

    mass: FloatArray
    log_gibbs: FloatArray
    grid: Grid
    when: str

    def __str__(self) -> str:
        return f"the density on {' x '.join(map(str, self.grid.shape))} cells{self.when}"


def law_of(value: Any, argument: str, time: float | None = None) -> Points | Cells:
    """Points or cells of what was given; of a path at a stored time, by default the last."""
    if hasattr(value, "mass") and hasattr(value, "grid"):
        k, when = _index(value.times, time, argument)
        log_gibbs = np.asarray(value.log_gibbs)
        log_gibbs = log_gibbs[k] if log_gibbs.ndim > value.grid.dim else log_gibbs
        return Cells(np.asarray(value.mass[k], dtype=np.float64), log_gibbs, value.grid, when)
    if hasattr(value, "positions") and hasattr(value, "times"):
        if getattr(value, "weights", None) is not None:
            raise InputError(f"{argument}: weighted ensembles are not served; resample the particles to equal weights")
        positions = np.asarray(value.positions)
        if not len(positions):
            raise InputError(f"{argument}: the path holds no positions; simulate with store='all' or 'final'")
        k, when = _index(np.asarray(value.times)[-len(positions) :], time, argument)
        return Points(check_samples(positions[k], argument), value.system, when)
    if time is not None:
        raise InputError(f"time: {argument} is not a path, so it has no times")
    return Points(check_samples(value, argument), None, "")


def points_of(value: Any, argument: str, time: float | None = None) -> Points:
    """The same where only points will do."""
    law = law_of(value, argument, time)
    if isinstance(law, Cells):
        raise InputError(f"{argument}: expected positions or an ensemble, got a density")
    return law


def _index(times: Any, time: float | None, argument: str) -> tuple[int, str]:
    times = np.asarray(times, dtype=np.float64)
    if time is None:
        return len(times) - 1, f" at t = {times[-1]:g}"
    k = int(np.argmin(np.abs(times - time)))
    if abs(times[k] - time) > 1e-9 * max(1.0, abs(time)):
        raise InputError(f"time: {argument} has no stored time {time:g}; the nearest is {times[k]:g}")
    return k, f" at t = {times[k]:g}"


def check_alpha(alpha: Any) -> float:
    """A false-alarm rate in (0, 0.5]."""
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float, np.floating)) or not 0.0 < alpha <= 0.5:
        raise InputError(f"alpha: expected a false-alarm rate in (0, 0.5], got {alpha!r}")
    return float(alpha)


def check_tolerance(tolerance: Any) -> float:
    """A number that is not negative."""
    real = isinstance(tolerance, (int, float, np.floating)) and not isinstance(tolerance, bool)
    if not real or not 0.0 <= tolerance < np.inf:
        raise InputError(f"tolerance: expected a number >= 0, got {tolerance!r}")
    return float(tolerance)


def bins_of_equal_mass(points: int, most: int = 64) -> float:
    """How many points a bin should expect: enough for the chi-square law, and not more bins than `most`."""
    return max(LEAST_EXPECTED, points / most)
