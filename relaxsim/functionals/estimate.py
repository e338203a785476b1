"""A measured number with what is known of its errors, and the delete-a-group jackknife that gives them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, warn

FloatArray = NDArray[np.float64]

DEFAULT_GROUPS = 20


@dataclass(frozen=True)
class Estimate:
    """A number measured from particles, with its statistical error and what bias it may have.

    Attributes
    ----------
    value : float
        nan where the number does not exist or cannot be had; `cause` then says why.
    stderr : float
        Standard error; 0 for what is computed and not sampled.
    bias_bound : float
        How large the systematic error may be. It is an estimate too, not a theorem.
    method : str
        How it was measured.
    n : int
        Points that were used; 0 for what is computed and not sampled.
    n_given : int
        Points that were given; more than `n` where `max_samples` left some out.
    dof : int
        Degrees of freedom of `stderr` (groups of the jackknife minus one); 0 stands for infinitely many.
    cause : str
        Why `value` is nan; empty otherwise.
    """

    value: float
    stderr: float
    bias_bound: float
    method: str
    n: int = 0
    n_given: int = 0
    dof: int = 0
    cause: str = ""

    @property
    def bias_limited(self) -> bool:
        """Whether the bias bound exceeds two standard errors: more particles help little, believe `widened` only."""
        return bool(self.bias_bound > 2.0 * self.stderr)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval from the standard error alone (Student's t)."""
        half = _quantile(level, self.dof) * self.stderr
        return self.value - half, self.value + half

    def widened(self, level: float = 0.95) -> tuple[float, float]:
        """The interval with the bias bound added on both sides."""
        low, high = self.interval(level)
        return low - self.bias_bound, high + self.bias_bound

    def __str__(self) -> str:
        if self.cause:
            return f"nan ({self.method}): {self.cause}"
        limited = ", bias-limited" if self.bias_limited else ""
        used = f", {self.n} of {self.n_given} points" if self.n else ""
        return f"{self.value:.6g} ± {self.stderr:.2g}, bias up to {self.bias_bound:.2g} ({self.method}{used}{limited})"


def _quantile(level: float, dof: int) -> float:
    if not 0.0 < level < 1.0:
        raise InputError(f"level: expected a confidence level between 0 and 1, got {level!r}; 0.95 is usual")
    from scipy.special import ndtri, stdtrit

    upper = 0.5 + level / 2.0
    return float(stdtrit(dof, upper) if dof else ndtri(upper))


@dataclass(frozen=True)
class Parts:
    """An estimate with its delete-a-group values, so that it can be added to others from the same points.

    `left_out` (R,) holds the estimate without the points i with i mod R = r; `extra_stderr` is an error that has
    nothing to do with the points, such as that of a simulated correction.
    """

    value: float
    left_out: FloatArray
    bias_bound: float
    method: str
    extra_stderr: float = 0.0

    @property
    def stderr(self) -> float:
        """By the jackknife: sqrt((R - 1)/R sum of (left_out - mean)^2), and the extra error."""
        return math.hypot(jackknife_stderr(self.left_out), self.extra_stderr)

    def plus(self, value: float, left_out: FloatArray, scale: float, stderr: float = 0.0) -> Parts:
        """`value` + `scale` times this, with the errors both have in common."""
        return Parts(
            value + scale * self.value,
            left_out + scale * self.left_out,
            abs(scale) * self.bias_bound,
            self.method,
            math.hypot(scale * self.extra_stderr, stderr),
        )

    def estimate(self, n: int, n_given: int) -> Estimate:
        """The result for the user."""
        dof = self.left_out.size - 1
        return Estimate(self.value, self.stderr, self.bias_bound, self.method, n, n_given, dof)


def jackknife_stderr(left_out: FloatArray) -> float:
    """Standard error from delete-a-group values (R,) (Tukey 1958; Efron and Stein, Ann. Stat. 9 (1981) 586).

    A bootstrap would not do for estimators by neighbours: it repeats points, whose distance is zero.
    """
    groups = left_out.size
    away = left_out - left_out.mean()
    return math.sqrt((groups - 1) / groups * float(away @ away))


def left_out_means(values: FloatArray, groups: int) -> FloatArray:
    """Means of values (n,) without those of each group, shape (groups,)."""
    label = np.arange(values.size) % groups
    own, sizes = np.bincount(label, values, groups), np.bincount(label, minlength=groups)
    return np.asarray((values.sum() - own) / (values.size - sizes))


def trend_bound(value: float, of_share: Callable[[int], float], exponent: float) -> float:
    """How far n points may be off, from the same estimator on n/2 and n/4 points.

    A bias c n^-g makes H(n/2) - H(n) = b (2^g - 1) with b the bias on n points, and H(n/4) - H(n/2) 2^g times as
    much. The larger of what the two differences say is taken, since a bias can change its sign near n.

    Parameters
    ----------
    value : float
        The estimate on all points.
    of_share : callable
        of_share(s): mean of the estimates on the s subsets i mod s.
    exponent : float
        g, not larger than the true one: a smaller one gives a wider bound.
    """
    half, quarter = of_share(2), of_share(4)
    growth = 2.0**exponent
    return float(max(abs(half - value), abs(quarter - half) / growth) / (growth - 1.0))


def undefined(method: str, cause: str, n: int, n_given: int) -> Estimate:
    """nan, with a warning that names the cause."""
    warn(f"{method}: {cause}; the result is nan")
    return Estimate(math.nan, math.nan, math.nan, method, n, n_given, 0, cause)
