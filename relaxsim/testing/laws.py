"""What an assertion takes for a law: positions, an ensemble at a time, or a density at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from relaxsim.errors import InputError, ShapeError, warn
from relaxsim.functionals.chi_square import ChiSquare
from relaxsim.functionals.samples import LEAST, check_samples
from relaxsim.system.grid import Grid
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, as_float_array, kind_of

DEFAULT_ALPHA = 1e-6
DEFAULT_TOLERANCE = 1e-3  # nats
LEAST_EXPECTED = 50.0  # points a bin, so that chi-square holds far out in its tail


KINDS = "positions (n, dim), an EnsemblePath or a DensityPath"


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
    system: System | None = None

    def __str__(self) -> str:
        return f"the density on {' x '.join(map(str, self.grid.shape))} cells{self.when}"


def law_of(value: Any, argument: str, time: float | None = None) -> Points | Cells:
    """Points or cells of what was given; of a path at a stored time, by default the last."""
    if isinstance(value, (System, str, bytes)) or value is None or callable(value):
        raise InputError(f"{argument}: expected {KINDS}, got {kind_of(value)}")
    if hasattr(value, "mass") and hasattr(value, "grid"):
        k, when = _index(value.times, time, argument)
        log_gibbs = np.asarray(value.log_gibbs)
        log_gibbs = log_gibbs[k] if log_gibbs.ndim > value.grid.dim else log_gibbs
        return Cells(
            np.asarray(value.mass[k], dtype=np.float64), log_gibbs, value.grid, when, getattr(value, "system", None)
        )
    if hasattr(value, "positions") and hasattr(value, "times"):
        if getattr(value, "weights", None) is not None:
            raise InputError(f"{argument}: weighted ensembles are not served; resample the particles to equal weights")
        positions = np.asarray(value.positions)
        if not len(positions):
            raise InputError(f"{argument}: the path holds no positions; simulate with store='all' or 'final'")
        k, when = _index(np.asarray(value.times)[-len(positions) :], time, argument)
        return Points(_checked(positions[k], argument), value.system, when)
    if time is not None:
        raise InputError(f"time: {argument} is not a path, so it has no times")
    return Points(_checked(value, argument), None, "")


def _checked(value: Any, argument: str) -> FloatArray:
    x = real_array(value, argument)
    if x.ndim == 2 and len(x) < LEAST <= x.shape[1]:
        raise ShapeError(
            f"{argument}: expected positions of shape (n, dim), n points by rows, got {x.shape}; if they are "
            "transposed pass positions.T"
        )
    return check_samples(x, argument)


def real_array(value: Any, argument: str) -> FloatArray:
    """Numbers without an imaginary part."""
    array = as_float_array(value, argument) if not np.iscomplexobj(value) else None
    if array is None:
        raise InputError(f"{argument}: expected real numbers, got complex ones; pass their real part")
    return array


def generator(rng: Any) -> np.random.Generator:
    """The random numbers of a seed or a Generator."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise InputError(f"rng: expected an integer >= 0 or a numpy.random.Generator, got {rng!r}") from None


@contextmanager
def warnings_at_caller() -> Iterator[None]:
    """Warnings of what is run inside point at the line of the user's that called relaxsim."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        for one in caught:
            warn(one.message, one.category)


def check_power(attainable: float, result: ChiSquare, argument: str, given: str, alpha: float) -> None:
    """Refuse counts of which not even the most different would be told apart at this alpha."""
    if attainable <= result.threshold:
        raise InputError(
            f"{argument}: {given} give a chi-square of {attainable:.4g} at most, and the threshold at alpha = "
            f"{alpha:g} is {result.threshold:.4g}: no data could fail. Give more points, a larger alpha or a smaller "
            "tolerance"
        )


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
    if isinstance(time, bool) or not isinstance(time, (int, float, np.number)) or not np.isfinite(time):
        raise InputError(f"time: expected one of the stored times of {argument}, a number, got {time!r}")
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
