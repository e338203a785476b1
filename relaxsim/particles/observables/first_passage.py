"""When each particle first enters a region."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from relaxsim.errors import InputError, ShapeError
from relaxsim.particles.observables.averages import check_function
from relaxsim.particles.observables.base import Observable
from relaxsim.system.region import Region
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, as_float_array


class FirstPassage(Observable):
    """The time at which each particle first enters a region.

    Every step is looked at. The level of the region is positive inside: for ``"x > 1"`` it is x - 1. Between the ends
    of a step the level is taken to be linear in time, and the passage is where it is zero.

    What is watched is the state X_n of the scheme, not the post-processed position that some schemes report, such as
    Leimkuhler-Matthews with half of the coming noise in it.

    Only Gaussian noise has paths that cross in time; weak noise is refused, as are schemes that are right in law only.
    A function that says True or False instead of a level gives the middle of the step.

    Parameters
    ----------
    region : str or callable
        Text such as ``"x > 1"`` or ``"abs(x) < 0.1 and y > 0"``, or a pointwise function of `x`, indexable by
        component, that is positive inside the region.

    Attributes
    ----------
    passage_times : ndarray, shape (n_particles,)
        Time from the start of the run to the passage, 0 for a particle that started inside, infinite for one that has
        not passed.
    value, stderr : float
        The mean of the passage times and its standard error; nan while some particle has not passed. What is known then
        are `survival`, `restricted_mean` and, where passages are those of a rate, `exponential_rate`.
    passed : float
        The fraction of the particles that have passed.
    duration : float
        How long the run lasted; runs of other lengths do not merge.

    Notes
    -----
    A path that enters the region within a step and leaves it before the end is not seen, so passage times are too
    long, by an amount of order sqrt(dt). For a flat boundary it is as if the boundary stood back by

    .. math:: \\beta \\sqrt{2 T K\\,dt}, \\qquad \\beta = -\\zeta(1/2)/\\sqrt{2\\pi} = 0.5826

    with K the mobility across it [1]_. From x = 0 to \\|x\\| > 1 with E = 0, T K = 1/2 and dt = 0.01 the mean is 1.12
    instead of 1. To correct for it, move the boundary forward by that much, or extrapolate in sqrt(dt).

    References
    ----------
    .. [1] Broadie, Glasserman, Kou, "A continuity correction for discrete barrier options", Math. Finance 7 (1997) 325.

    Examples
    --------
    >>> import relaxsim as rs
    >>> system = rs.System("(x**2 - 1)**2", temperature=0.5)
    >>> path = rs.simulate(
    ...     system,
    ...     rs.initial.point([-1.0]),
    ...     n_particles=1000,
    ...     dt=0.01,
    ...     times=[0, 5],
    ...     rng=1,
    ...     store="none",
    ...     observables={"escape": rs.FirstPassage("x > 0")},
    ... )
    >>> bool(0.5 < path.observables["escape"].passed < 1)
    True
    """

    needs_path = True

    def __init__(self, region: str | Callable[..., Any]) -> None:
        super().__init__()
        self.region = region
        self.passage_times: FloatArray = np.empty(0)
        if isinstance(region, str):
            Region.of(region, 1_000_000)  # refuse now what can never be read

    def read_region(self, system: System) -> Region:
        """The region for a system's number of coordinates."""
        return Region.of(self.region, system.dim)

    def begin(self, system: System, n_particles: int, times: FloatArray, t0: float, dt: float) -> None:
        self.passage_times = np.empty(0)
        self.duration = float(times[-1] - t0) if len(times) else math.nan
        if callable(self.region):
            check_function(self.region, "region", system)

    def __repr__(self) -> str:
        measured = f": {self.passed:.4g} passed by {self.duration:g}" if len(self.passage_times) else ""
        return f"<{super().__repr__()}{measured}>"

    def due(self, step: int, k: int | None, t: float) -> bool:
        return False  # the loop over the steps looks itself, and keeps what it sees with the particles

    def merge(self, other: Any) -> None:
        self.check_mergeable(other)
        if self.duration != other.duration:
            raise InputError(
                f"merge: the runs lasted {self.duration:g} and {other.duration:g}; who has not passed in the shorter "
                "one may have passed later"
            )
        self.passage_times = np.concatenate([self.passage_times, other.passage_times])
        self.add_particles(other)
        self.finish()

    def finish(self) -> None:
        self.passed = float(np.mean(np.isfinite(self.passage_times))) if len(self.passage_times) else math.nan
        self.value, self.stderr = _mean(self.passage_times) if self.passed == 1.0 else (math.nan, math.nan)

    def survival(self, t: Any) -> FloatArray:
        """The fraction S of the particles that have not passed by a time after the start, or by each of several.

        All are watched to the end of the run, so this is the estimate of Kaplan and Meier, with the standard error
        sqrt(S (1 - S)/n). It is nan for times beyond the end of the run, unless all have passed.

        References
        ----------
        Kaplan, Meier, "Nonparametric estimation from incomplete observations", J. Am. Stat. Assoc. 53 (1958) 457.
        """
        passed = np.searchsorted(np.sort(self.passage_times), t, side="right") / len(self.passage_times)
        return np.asarray(np.where(np.asarray(t) <= self._known_until, 1.0 - passed, math.nan))

    def restricted_mean(self, horizon: float | None = None) -> tuple[float, float]:
        """The mean of min(passage time, horizon), and its standard error.

        It is the area under `survival` up to the horizon, below the mean passage time by what comes after.

        Parameters
        ----------
        horizon : float, optional
            A time after the start, by default the end of the run.

        Raises
        ------
        InputError, ShapeError
            No number; a horizon beyond the end of the run while some have not passed, or none after the start.

        References
        ----------
        Royston, Parmar, "Restricted mean survival time", BMC Med. Res. Methodol. 13 (2013) 152.
        """
        end = self.duration if horizon is None else _time(horizon, "horizon")
        if not 0.0 < end <= self._known_until:
            raise InputError(
                f"horizon: expected a time after the start and not beyond the end of the run, {self.duration:g} after "
                f"it, got {end:g}"
            )
        return _mean(np.minimum(self.passage_times, end))

    def exponential_rate(self, start: float = 0.0) -> tuple[float, float]:
        """Rate k of passages whose survival falls as exp(-k t) from `start` on, and its standard error.

        The maximum-likelihood estimate: passages after `start`, over the time that particles then still spend
        before they pass or the run ends. Its error is k over the square root of the number of passages. It is a rate
        only if survival is exponential, as that of escapes over high barriers once the well is at rest; then later
        starts give the same.

        Parameters
        ----------
        start : float, default 0
            A time after the start of the run; who has passed by then is left out.

        Returns
        -------
        rate, stderr : float
            nan where no particle is left at `start`; the error is nan where none has passed since.

        Raises
        ------
        InputError, ShapeError
            No number; a start before that of the run, or not before its end.

        References
        ----------
        Lawless, *Statistical Models and Methods for Lifetime Data*, 2nd ed. (2003), section 4.1.
        """
        start = _time(start, "start")
        if not 0.0 <= start < self.duration:
            raise InputError(
                f"start: expected a time from 0 to before the end of the run, {self.duration:g} after its start, got "
                f"{start:g}"
            )
        left = self.passage_times[self.passage_times > start]
        at_risk = float((np.minimum(left, self.duration) - start).sum())
        passed = int(np.isfinite(left).sum())
        rate = passed / at_risk if at_risk else math.nan
        return rate, rate / math.sqrt(passed) if passed else math.nan

    @property
    def _known_until(self) -> float:
        return math.inf if self.passed == 1.0 else self.duration * (1.0 + 1e-12)


def _time(value: Any, argument: str) -> float:
    time = as_float_array(value, argument)
    if time.ndim:
        raise ShapeError(f"{argument}: expected one time, got an array of the shape {time.shape}")
    return float(time)


def _mean(times: FloatArray) -> tuple[float, float]:
    """A mean over particles and its standard error."""
    n = len(times)
    return float(times.mean()), float(times.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
