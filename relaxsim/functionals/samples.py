"""Points given to an estimator: their shape, their number, and whether their law can have a density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.system.domain import Domain
from relaxsim.system.validate import as_float_array

FloatArray = NDArray[np.float64]

LEAST = 100  # points below which neither the errors nor the bias bounds mean anything
MAX_REPEATED = 1e-3  # share of points that may coincide with another; a law with a density has none
_FLAT = 1e-24  # least eigenvalue of the correlation matrix of points that fill the space


def check_samples(points: Any, argument: str, dim: int | None = None) -> FloatArray:
    """Points as an array (n, dim), finite and at least `LEAST`; a vector is n points on a line."""
    x = as_float_array(points, argument)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or x.shape[1] == 0 or (dim is not None and x.shape[1] != dim):
        raise ShapeError(
            f"{argument}: expected an array of shape (n, {'dim' if dim is None else dim}), got {x.shape}; for an "
            "ensemble path choose one time, path.positions[k]"
        )
    finite = np.isfinite(x).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(
            f"{argument}: {np.count_nonzero(~finite)} of {len(x)} points are not finite, the first is point {first}; "
            "simulate with a smaller dt or take them out"
        )
    if len(x) < LEAST:
        raise InputError(f"{argument}: got {len(x)} points, expected at least {LEAST}; simulate more particles")
    return x


def thin(x: FloatArray, max_samples: int | None) -> FloatArray:
    """At most `max_samples` of the points, evenly over their order; None keeps all."""
    if max_samples is None or len(x) <= max_samples:
        return x
    return np.asarray(x[np.linspace(0, len(x), max_samples, endpoint=False).astype(np.intp)])


def check_count(value: Any, argument: str, least: int) -> int:
    """An integer of at least so much."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise InputError(f"{argument}: expected an integer >= {least}, got {value!r}")
    return int(value)


def no_density(x: FloatArray) -> str:
    """Why the law of these points has no density, as far as the points show it; an empty string if they do not."""
    if np.ptp(x, axis=0).max() == 0.0:
        return f"all {len(x)} points are the same, a law without density"
    repeated = len(x) - _distinct(x)
    if repeated > MAX_REPEATED * len(x):
        return (
            f"{repeated} of {len(x)} points repeat another one, so the law has no density (resampled or rounded "
            "points, or walls that hold particles?)"
        )
    if x.shape[1] > 1:
        flat = np.ptp(x, axis=0) == 0.0
        if flat.any():
            return f"coordinate {int(np.argmax(flat))} is the same for all points, a law without density"
        spread = np.linalg.eigvalsh(np.corrcoef(x, rowvar=False))
        if spread[0] < max(_FLAT, 1e-15 * x.shape[1]):
            return "the points lie on a line or plane of lower dimension, a law without density"
    return ""


def _distinct(x: FloatArray) -> int:
    """Number of different points, by sorting one random projection."""
    axes = np.random.default_rng(0).uniform(0.5, 1.0, x.shape[1])
    return int(np.count_nonzero(np.diff(np.sort(x @ axes)))) + 1


@dataclass(frozen=True)
class Space:
    """Where points may lie: walls, and the lengths of periodic axes (0 for others)."""

    period: FloatArray
    lower: FloatArray
    upper: FloatArray
    walls: bool

    @classmethod
    def of(cls, domain: Domain | None, x: FloatArray) -> Space:
        """The domain's, or free space; points outside the domain are refused."""
        dim = x.shape[1]
        if domain is None:
            return cls(np.zeros(dim), np.full(dim, -np.inf), np.full(dim, np.inf), False)
        if domain.dim != dim:
            raise ShapeError(f"domain: expected {dim} dimensions as the points have, got {domain.dim}")
        outside = int(np.count_nonzero(~domain.contains(x)))
        if outside:
            raise InputError(f"points: {outside} of {len(x)} lie outside the domain {domain!r}")
        period = np.where(domain.periodic, domain.upper - domain.lower, 0.0)
        walls = any(kind not in ("periodic", "unbounded") for kind in domain.boundary)
        return cls(period, np.asarray(domain.lower), np.asarray(domain.upper), walls)

    @property
    def free(self) -> bool:
        """Whether there is neither wall nor period."""
        return not self.walls and not bool(self.period.any())


@dataclass(frozen=True)
class Whitened:
    """Points brought to unit covariance, where all directions count alike."""

    points: FloatArray
    log_volume: float  # ln of how much larger volumes are in the original coordinates
    period: FloatArray
    scale: FloatArray  # original length per whitened length of each axis, where axes were kept

    @classmethod
    def of(cls, x: FloatArray, space: Space) -> Whitened:
        """By the Cholesky factor of the covariance; axis by axis where an axis is periodic or has walls."""
        if not space.free or x.shape[1] == 1:
            scale = x.std(axis=0)
            low = np.where(np.isfinite(space.lower), space.lower, x.mean(axis=0))
            return cls((x - low) / scale, float(np.log(scale).sum()), space.period / scale, scale)
        from scipy.linalg import solve_triangular

        centred = x - x.mean(axis=0)
        factor = np.linalg.cholesky(centred.T @ centred / len(x))
        z = solve_triangular(factor, centred.T, lower=True).T
        return cls(np.ascontiguousarray(z), float(np.log(np.diag(factor)).sum()), space.period, np.diag(factor))


def looks_normal(z: FloatArray) -> bool:
    """Mardia's tests (Biometrika 57 (1970) 519) of skewness and kurtosis on whitened points, up to 16 dimensions.

    Both at three standard deviations, so that 99.5 % of normal samples pass. A single coordinate that is not normal is
    lost among many in those, so the kurtosis of each is looked at too.
    """
    n, dim = z.shape
    if dim > 16:
        return False
    z = z - z.mean(axis=0)
    covariance = z.T @ z / n
    z = np.asarray(np.linalg.solve(np.linalg.cholesky(covariance), z.T).T, dtype=np.float64)
    square = float(np.mean(np.einsum("na,na->n", z, z) ** 2))
    kurtosis = (square - dim * (dim + 2)) / math.sqrt(8.0 * dim * (dim + 2) / n)
    third = np.einsum("na,nb->nab", z, z).reshape(n, dim * dim).T @ z / n
    freedom = dim * (dim + 1) * (dim + 2) / 6.0
    # n/6 times the squared third moments is chi-square; its cube root is nearly normal (Wilson and Hilferty 1931).
    ratio = n / 6.0 * float(np.sum(third**2)) / freedom
    skewness = (ratio ** (1 / 3) - 1.0 + 2.0 / (9.0 * freedom)) / math.sqrt(2.0 / (9.0 * freedom))
    single = np.abs(np.mean(z**4, axis=0) / np.mean(z**2, axis=0) ** 2 - 3.0).max() / math.sqrt(24.0 / n)
    return abs(kurtosis) < 3.0 and skewness < 3.0 and float(single) < 3.5
