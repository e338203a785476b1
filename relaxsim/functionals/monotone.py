"""Does the free energy ever rise? Exact for a density, a test with a false-alarm rate for an ensemble."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import CheckFailedError, InputError, warn
from relaxsim.functionals import kinds
from relaxsim.functionals.binned import FINE_GROUPS, MIN_GROUP

if TYPE_CHECKING:
    from relaxsim.functionals.relaxation import Relaxation

FloatArray = NDArray[np.float64]

DEFAULT_ALPHA = 1e-3
SMALL_ALPHA = 1e-4  # below it Student's tail wants more groups
LEAST_GROUPS = 32  # that serve a small alpha where somebody asked for them
ROUNDING = 1e-12  # relative to max(1, |F|): what summation and a renormalised mass may move F by
_QUANTILE_80 = 0.84  # standard normal: power of 80 %


@dataclass(frozen=True)
class MonotoneResult:
    """Outcome of `Relaxation.check_monotone`.

    Attributes
    ----------
    monotone : bool or None
        False: a rise was found. True: there is no evidence of one, which is not a proof that there is none. None:
        unknown.
    statistic : float
        The largest rise between neighbouring times, in standard errors for an ensemble, in units of F for a
        density.
    threshold : float
        What the statistic must exceed to count as a rise.
    worst : tuple of int or None
        Indices (i, i + 1) of the two times with that rise.
    detectable_rise : float
        A rise of F between any two neighbouring times that would have been found with probability 0.8 or
        more.
    alpha : float
        Probability of a false alarm when F does not rise; 0 for a density.
    reason : str
        The outcome in words.
    """

    monotone: bool | None
    statistic: float
    threshold: float
    worst: tuple[int, int] | None
    detectable_rise: float
    alpha: float
    reason: str

    def raise_if_failed(self) -> MonotoneResult:
        """Raise `CheckFailedError` if a rise was found, warn if nothing can be said; return the result."""
        if self.monotone is False:
            raise CheckFailedError(str(self))
        if self.monotone is None:
            warn(str(self))
        return self

    def __bool__(self) -> bool:
        raise TypeError("a check has three outcomes (True, False, None = unknown): compare result.monotone")

    def __str__(self) -> str:
        verdict = {True: "no evidence of a rise of F", False: "F rises", None: "unknown whether F rises"}[self.monotone]
        return f"{verdict}: {self.reason}"


def check_monotone(relaxation: Relaxation, alpha: float = DEFAULT_ALPHA) -> MonotoneResult:
    """Test whether the free energy rises between neighbouring times.

    Parameters
    ----------
    relaxation : Relaxation
        The record of an ensemble or of a density, at two times or more.
    alpha : float
        Probability that an ensemble whose free energy never rises is rejected. From 1e-4 up the 24 groups of `track`
        are compared, below it 48, which `track` keeps too for 9600 particles or more: fewer leave little power.

    Returns
    -------
    MonotoneResult

    Raises
    ------
    InputError
        `alpha` outside (0, 0.5].

    Notes
    -----
    *Density.* F may not rise by more than rounding, 1e-12 max(1, \\|F\\|).

    *Ensemble.* The particles are independent, so the groups are, at all times together. Of the differences
    between neighbouring times the mean over the R groups is compared with its own standard error (Student
    with R - 1 degrees of freedom); the largest of the m - 1 is rejected above the quantile 1 - alpha/(m - 1)
    (Bonferroni). The least favourable truth is a flat F; a falling F is rejected much less often than
    `alpha`.

    Passing means that no rise was found, not that there is none: `detectable_rise` says how large one would
    have had to be. What is tested is the free energy of the law on fixed bins, whose fall the theorem
    promises for the law itself; bins much coarser than the law's features can rise a little on their own. The
    answer is "unknown" (None) for groups of fewer than 200 particles, and where the change of the bias
    correction is more than half of the detectable rise and could decide (it cannot where F falls by more than the
    threshold and that change together).

    *Moving Gibbs laws.* Where the energy or the temperature depends on time F may rise by the work done, and the answer
    is "unknown" at all times.
    """
    kinds.check_record(relaxation, "relaxation", "check_monotone")
    asked: Any = alpha
    if not (isinstance(asked, (int, float, np.floating)) and 0.0 < asked <= 0.5):
        raise InputError(f"alpha: expected a false-alarm rate in (0, 0.5], got {alpha!r}")
    if relaxation.times.size < 2:
        return _unknown(alpha, "there is one time only; store two or more")
    if relaxation.moving:
        return _unknown(
            alpha,
            "the energy or temperature depends on time, so F may rise by the work done, and KL because the Gibbs law "
            "moves: neither is promised to fall. path.dissipated, the work less the change of F, never falls for a "
            "density stepped by method='backward-euler'",
        )
    if relaxation.label == "density":
        return _check_density(relaxation)
    if relaxation.groups is None or not np.isfinite(relaxation.groups).all():
        return _unknown(alpha, "the ensemble has no finite free energy at every time")
    groups, needed = relaxation.groups, LEAST_GROUPS if alpha < SMALL_ALPHA else 2
    if len(groups) < needed:
        particles = relaxation.n_particles or 0
        if relaxation.fine_groups is not None:
            groups = relaxation.fine_groups
        elif particles < FINE_GROUPS * MIN_GROUP:
            return _unknown(
                alpha,
                f"alpha = {alpha:g} takes {FINE_GROUPS} groups of {MIN_GROUP} particles or more, there are {particles} "
                f"particles: simulate at least {FINE_GROUPS * MIN_GROUP}",
            )
    return _check_ensemble(relaxation, groups, float(alpha))


def _check_density(relaxation: Relaxation) -> MonotoneResult:
    free_energy = relaxation.free_energy
    if np.isnan(free_energy).any():
        return _unknown(0.0, "the free energy is not a number at some time")
    # Infinite to infinite is no rise.
    rise = np.array([b - a if a != b else 0.0 for a, b in itertools.pairwise(free_energy)])
    finite = np.where(np.isfinite(free_energy), np.abs(free_energy), 0.0)
    tolerance = ROUNDING * np.maximum(1.0, np.maximum(finite[:-1], finite[1:]))
    worst = int(np.argmax(rise / tolerance))
    found = bool(rise[worst] > tolerance[worst])
    monotone: bool | None = not found
    change = f"{rise[worst]:.3g}, {_span(relaxation, worst)}; rounding allows {tolerance[worst]:.1g}"
    reason = f"by {change}" if found else f"the largest change is {change}"
    if found and relaxation.bins is not None:
        monotone = None
        reason += (
            ". The law was summed to coarser bins, on which F may rise a little although F of the density "
            "falls: check track(density) on its own grid"
        )
    return MonotoneResult(monotone, float(rise[worst]), float(tolerance[worst]), (worst, worst + 1), 0.0, 0.0, reason)


@dataclass(frozen=True)
class _Rises:
    """The rise of F over each interval, from the groups."""

    mean: FloatArray
    stderr: FloatArray
    drift: FloatArray  # change of the bias correction
    threshold: float  # standard errors

    @classmethod
    def of(cls, relaxation: Relaxation, groups: FloatArray, alpha: float) -> _Rises:
        from scipy.special import stdtrit

        n_groups, n_times = groups.shape
        rises = np.diff(groups, axis=1)
        # An ensemble at a standstill has differences without variance: only more than rounding is a rise.
        rounding = ROUNDING * max(1.0, float(np.abs(groups).max()))
        stderr = np.maximum(rises.std(axis=0, ddof=1) / np.sqrt(n_groups), rounding)
        threshold = -float(stdtrit(n_groups - 1, alpha / (n_times - 1)))
        return cls(rises.mean(axis=0), stderr, np.diff(relaxation.free_energy_bias_bound), threshold)

    @property
    def score(self) -> FloatArray:
        return self.mean / self.stderr

    @property
    def beyond_drift(self) -> FloatArray:
        """Score that is left when a growing bias is taken off."""
        return (self.mean - np.maximum(self.drift, 0.0)) / self.stderr

    @property
    def detectable(self) -> FloatArray:
        return (self.threshold + _QUANTILE_80) * self.stderr

    @property
    def doubtful(self) -> NDArray[np.bool_]:
        """Where a drift of the bias could decide; it cannot where the fall is clear by itself."""
        large = np.abs(self.drift) > self.detectable / 2
        clear = self.mean + np.abs(self.drift) <= -self.threshold * self.stderr
        return large & ~clear | (self.score > self.threshold)


def _check_ensemble(relaxation: Relaxation, groups: FloatArray, alpha: float) -> MonotoneResult:
    rises = _Rises.of(relaxation, groups, alpha)
    n_groups = len(groups)
    size = (relaxation.n_particles or 0) // n_groups
    monotone: bool | None = None
    worst = int(np.argmax(rises.score))
    if size < MIN_GROUP:
        reason = (
            f"{n_groups} groups of {size} particles are too small, {MIN_GROUP} are needed: simulate at least "
            f"{MIN_GROUP * n_groups} particles"
        )
    elif rises.beyond_drift.max() > rises.threshold:
        monotone, worst = False, int(np.argmax(rises.beyond_drift))
        score = f"{rises.score[worst]:.2f} standard errors"
        reason = f"by {rises.mean[worst]:.3g} {_span(relaxation, worst)}, {score}"
    elif rises.doubtful.any():
        at = int(np.argmax(rises.doubtful))
        reason = (
            f"the bias correction changes by {rises.drift[at]:.2g} {_span(relaxation, at)}, which could hide "
            "or feign a rise: simulate more particles"
        )
    else:
        monotone = True
        reason = (
            f"the largest change is {rises.score[worst]:.2f} standard errors, {_span(relaxation, worst)}; "
            f"a rise of {rises.detectable.max():.2g} anywhere would have been found"
        )
    reason += f" (threshold {rises.threshold:.2f} standard errors at alpha = {alpha:g}, {n_groups} groups)"
    if alpha < SMALL_ALPHA and n_groups < LEAST_GROUPS:
        reason += f". So few groups have little power at so small an alpha: track(path, groups={FINE_GROUPS})"
    return MonotoneResult(
        monotone,
        float(rises.score[worst]),
        rises.threshold,
        (worst, worst + 1),
        float(rises.detectable.max()),
        alpha,
        reason,
    )


def _span(relaxation: Relaxation, index: int) -> str:
    return f"from t = {relaxation.times[index]:g} to {relaxation.times[index + 1]:g}"


def _unknown(alpha: float, reason: str) -> MonotoneResult:
    nothing: Any = float("nan")
    return MonotoneResult(None, nothing, nothing, None, nothing, alpha, reason)
