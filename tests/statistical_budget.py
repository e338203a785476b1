"""One registry of the suite's statistical assertions, and the thresholds that follow from it.

A statistical assertion compares an estimate with the value it should have. Right code fails it with some
probability; the whole suite is allowed ``SUITE_ALPHA`` of that, shared equally by ``BUDGET`` assertions
(Bonferroni). Every test that compares an estimate states the estimator's standard error, is registered here
with its number of comparisons, runs on a fixed seed, is never retried, and has a negative control: a mutant
that ``assert_rejected`` must see clearly.

How to use it
-------------
Add a row to ``REGISTRY`` (name: number of compared values over the whole suite, all parameters of a
parametrised test together), then::

    from statistical_budget import assert_rejected, assert_within

    assert_within("ou 1d: mean", path_mean, exact_mean, stderr, bias=known_bias_at_this_dt)
    assert_rejected("ou 1d: mean", mutant_mean, exact_mean, stderr, bias=known_bias_at_this_dt)
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

SUITE_ALPHA = 1e-6
BUDGET = 1000

# A mutant must miss by this many times what the right code is allowed.
REJECTION_MARGIN = 2.0

# Name of the check -> number of values it compares in one run of the whole suite.
REGISTRY: dict[str, int] = {
    "agreement: F and KL of ensemble and density": 32,
    "agreement: energy of ensemble and density": 16,
    "agreement: shares of bins": 100,
    "carried: MALA in a box": 3,
    "carried: law of the step": 9,
    "batched: variances": 5,
    "carried: law of the step, finely": 21,
    "carried: weighted means of a path": 14,
    "circulation: area rate of a double well": 1,
    "circulation: correlation times": 2,
    "circulation: gain": 1,
    "circulation: moments of a double well": 4,
    "coverage: mean error": 43,
    "cuda: law of a run on a card": 10,
    "dissipation: an ensemble": 9,
    "dissipation: of a record": 10,
    "estimators: Gaussian cases": 9,
    "estimators: uniform laws": 7,
    "fisher: particles": 3,
    "free energy: both ways": 6,
    "initial: draws against masses": 18,
    "initial: weights of a mixture": 1,
    "kramers-moyal: circle": 2,
    "kramers-moyal: fields of a plane": 40,
    "kramers-moyal: finite lag": 5,
    "kramers-moyal: fourth moment": 2,
    "manifold: Gibbs at rest": 6,
    "manifold: Gibbs at rest of each activation": 22,
    "manifold: functionals": 3,
    "monotone: false alarms of ensembles": 1,
    "monotone: false alarms of group values": 2,
    "non-reversible: layers, corners and means": 10,
    "observables: accumulated mean": 1,
    "observables: correlations": 3,
    "observables: mean first passage time": 2,
    "observables: normalised correlations": 2,
    "ou: free energy of the ensemble": 10,
    "ou: mean of the ensemble": 15,
    "ou: covariance of the ensemble": 25,
    "partition: many dimensions": 4,
    "production: at rest": 2,
    "random walk: covariance": 3,
    "random: angles": 16,
    "random: correlations": 12,
    "random: many correlations": 24,
    "random: many moments": 8,
    "random: many, Kolmogorov": 2,
    "random: moments": 8,
    "random: weak correlations": 8,
    "random: weak moments": 8,
    "reconstruction: energy and mobility of linear systems": 36,
    "reconstruction: three systems from 1e5 trajectories": 87,
    "sample distance: values": 7,
    "schemes: Gibbs in the plane": 6,
    "schemes: Gibbs on the line": 12,
    "schemes: diffusion machine": 9,
    "schemes: flat diffusion machine": 6,
    "schemes: free on a circle": 4,
    "schemes: law of the sphere step": 2,
    "schemes: law of the step": 12,
    "schemes: law of the step in 2-D": 15,
    "schemes: law of the step, finely": 12,
    "schemes: law of the step, weak noise": 15,
    "simulate: Gibbs at walls": 12,
    "simulate: initial laws": 12,
    "simulate: single precision": 4,
    "sphere: Gibbs at rest": 4,
    "sphere: heat from a pole": 12,
    "tail: coverage of the gap": 2,
    "tail: gap of an ensemble": 1,
    "tail: stated error against the spread": 2,
    "testing: false alarms": 6,
    "track: KL of an ensemble": 10,
    "track: bias of KL at rest": 1,
    "track: energy of an ensemble": 10,
    "track: a law that is cooled and dragged": 15,
    "track: entropy of an ensemble": 10,
    "track: standard errors": 6,
    "walls: Lépingle's layer": 4,
    "walls: Lépingle's mean": 1,
    "walls: diffusion machine": 2,
    "walls: law of the axes": 6,
    "walls: layers and corners": 16,
    "walls: mean in a box": 2,
}

# Values compared so far in this process, by name.
_compared: Counter[str] = Counter()


def assertion_alpha() -> float:
    """Return the two-sided false-alarm rate of one comparison."""
    return SUITE_ALPHA / BUDGET


def z_threshold() -> float:
    """Return the normal threshold of one comparison, about 6.1 for a budget of 1000."""
    from scipy.special import ndtri

    return float(-ndtri(assertion_alpha() / 2))


def student_threshold(dof: float) -> float:
    """Return the threshold for a standard error estimated from replicates with ``dof`` degrees of freedom."""
    from scipy.special import stdtrit

    if not dof >= 1:
        raise ValueError(f"dof: got {dof}, expected at least 1 (the number of replicates minus one)")
    return float(-stdtrit(dof, assertion_alpha() / 2))


def assert_within(
    name: str,
    value: ArrayLike,
    expected: ArrayLike,
    stderr: ArrayLike,
    bias: ArrayLike = 0.0,
    *,
    dof: float | None = None,
) -> None:
    """Fail unless every value is within the threshold of what is expected.

    Parameters
    ----------
    name : str
        A key of `REGISTRY`.
    value, expected : array_like
        Estimates and what they should be; they broadcast, and every element is one comparison.
    stderr : array_like
        Standard error of ``value - expected``, positive.
    bias : array_like, default 0.0
        Known systematic error (the scheme's at its dt), allowed on top; not negative.
    dof : float, optional
        Degrees of freedom when `stderr` was itself estimated from few replicates: Student's threshold.
    """
    difference, error, allowance = _arrays(name, value, expected, stderr, bias)
    _spend(name, difference.size)
    threshold = z_threshold() if dof is None else student_threshold(dof)
    score = np.abs(difference) - allowance
    worst = np.unravel_index(np.argmax(_nan_last(score / error)), difference.shape)
    z = score[worst] / error[worst]
    if not z <= threshold:
        raise AssertionError(
            f"{name}: off by {difference[worst]:.6g} at index {tuple(map(int, worst))} with standard error "
            f"{error[worst]:.3g} and known bias {allowance[worst]:.3g}: "
            f"z = {z:.2f}, threshold {threshold:.2f} ({difference.size} compared)"
        )


def assert_rejected(
    name: str,
    value: ArrayLike,
    expected: ArrayLike,
    stderr: ArrayLike,
    bias: ArrayLike = 0.0,
    *,
    dof: float | None = None,
) -> None:
    """Fail unless some value of a mutant is off by at least twice what `assert_within` allows.

    The arguments are those of `assert_within`, for the check of the same name. A mutant can raise no false
    alarm on right code, so nothing is taken from the budget.
    """
    difference, error, allowance = _arrays(name, value, expected, stderr, bias)
    threshold = z_threshold() if dof is None else student_threshold(dof)
    ratio = np.abs(difference) / (threshold * error + allowance)
    if not np.max(ratio) >= REJECTION_MARGIN:
        raise AssertionError(
            f"{name}: the mutant is off by only {np.max(ratio):.2f} times the tolerance "
            f"(threshold {threshold:.2f} standard errors plus bias), expected at least {REJECTION_MARGIN:g}: "
            f"the check cannot tell it from right code, so take more samples or a stronger mutant"
        )


def _arrays(
    name: str, value: ArrayLike, expected: ArrayLike, stderr: ArrayLike, bias: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Broadcast the arguments to difference, standard error and bias, at least one-dimensional."""
    if name not in REGISTRY:
        raise LookupError(f"{name!r} is not registered: add it with its number of comparisons to REGISTRY")
    v, e, s, b = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(a, dtype=float)) for a in (value, expected, stderr, bias))
    )
    if v.size == 0:
        raise ValueError(f"{name}: nothing to compare, the arrays are empty")
    if not np.all((s > 0) & np.isfinite(s)):
        raise ValueError(f"{name}: stderr must be positive and finite, got {s.min()} to {s.max()}")
    if not np.all((b >= 0) & np.isfinite(b)):
        raise ValueError(f"{name}: bias must be finite and not negative, got {b.min()} to {b.max()}")
    return v - e, s, b


def _spend(name: str, count: int) -> None:
    """Count comparisons against what the registry grants."""
    _compared[name] += count
    if _compared[name] > REGISTRY[name]:
        raise AssertionError(
            f"{name}: {_compared[name]} values compared, {REGISTRY[name]} registered; correct the number"
        )


def _nan_last(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make NaN the worst score instead of an invisible one."""
    return np.where(np.isnan(z), np.inf, z)
