"""Entropy and relative entropy from the distances to the k-th neighbours, in any dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals.estimate import Parts, trend_bound
from relaxsim.functionals.samples import Space, Whitened, looks_normal

FloatArray = NDArray[np.float64]

MAX_SAMPLES = 20_000
_LEAST_GROUP = 50  # points a group needs to stand for the whole


class CoincidingPointsError(ValueError):
    """More than k points at one place: their distance is zero, and its logarithm minus infinity."""


def kth_distance(
    centres: FloatArray, others: FloatArray | None, k: int, period: FloatArray | None = None, workers: int = 1
) -> FloatArray:
    """Distance of each centre to its k-th neighbour among `others`, or the other centres with None, shape (n,)."""
    from scipy.spatial import cKDTree

    x = centres if others is None else others
    box = period if period is not None and period.any() else None
    if box is not None:  # the tree wants points in [0, period)
        x, centres = _wrap(x, box), _wrap(centres, box)
    # A centre is the nearest point to itself.
    distance, _ = cKDTree(x, boxsize=box).query(centres, k=[k + int(others is None)], workers=workers)
    distance = distance[:, 0]
    if np.any(distance == 0.0):
        raise CoincidingPointsError
    return np.asarray(distance)


def _wrap(x: FloatArray, period: FloatArray) -> FloatArray:
    wrapped = np.where(period > 0, np.mod(x, np.where(period > 0, period, 1.0)), x)
    return np.asarray(np.where((period > 0) & (wrapped >= period), 0.0, wrapped))


def log_ball(dim: int) -> float:
    """ln of the volume of the unit ball."""
    return 0.5 * dim * math.log(math.pi) - math.lgamma(1.0 + dim / 2.0)


def kozachenko_leonenko(z: FloatArray, k: int, period: FloatArray | None = None, workers: int = 1) -> float:
    """psi(n) - psi(k) + ln c_d + (d/n) sum ln eps_i, eps_i the distance (radius) of point i to its k-th neighbour.

    Parameters
    ----------
    z : ndarray, shape (n, dim)
    k : int
    period : ndarray, shape (dim,), optional
        Lengths of periodic axes, 0 for the others.
    workers : int
        Threads.

    References
    ----------
    Kozachenko and Leonenko, Probl. Inf. Transm. 23 (1987) 95; Kraskov, Stögbauer and Grassberger, Phys. Rev. E 69
    (2004) 066138.
    """
    from scipy.special import digamma

    n, dim = z.shape
    mean_log = float(np.mean(np.log(kth_distance(z, None, k, period, workers))))
    return float(digamma(n) - digamma(k) + log_ball(dim) + dim * mean_log)


def by_groups(value: float, of_group: Callable[[int, int], float], n: int, groups: int) -> FloatArray:
    """Delete-a-group values (groups,) of an estimator, made of its values on each group by itself.

    Taking a group out changes the neighbours of all others: the jackknife of the neighbours themselves gives up to 1.5
    times the true error. The values on the groups, of n/R points each, have R times its variance, and leaving one of
    them out of their mean is a linear matter. Groups of fewer than 50 points are joined.
    """
    fewer = max(4, min(groups, n // _LEAST_GROUP))
    own = np.array([of_group(r, fewer) for r in range(fewer)])
    return np.asarray(value - (own - own.mean()) / (fewer - 1))


def neighbour_entropy(x: FloatArray, space: Space, k: int, groups: int, workers: int) -> Parts:
    """Differential entropy by `kozachenko_leonenko` on whitened points, with jackknife error and bias bound."""
    white = Whitened.of(x, space)
    n, dim = x.shape

    def of_group(r: int, share: int) -> float:
        return kozachenko_leonenko(white.points[r::share], k, white.period, workers)

    raw = of_group(0, 1)
    left_out = by_groups(raw, of_group, n, groups)
    method = f"neighbours, k={k}"
    error, error_stderr = gaussian_error(n, dim, k)
    if space.free and looks_normal(white.points):
        # Half of the correction: a law may differ from a normal one by what the check does not see.
        bound = 0.5 * abs(error) + error_stderr
        shift = white.log_volume - error
        return Parts(raw + shift, left_out + shift, bound, f"{method}, normal surrogates", error_stderr)

    def of_share(share: int) -> float:
        return float(np.mean([of_group(r, share) for r in range(share)]))

    # 2/d inside; beside a wall the ball sticks out, and the bias falls with the radius itself.
    exponent = min(1.0, (1.0 if space.walls else 2.0) / dim)
    # In four dimensions or so the bias is nearly the same for n/4 ... n points: the trend does not show what the bias
    # of as many normal points does.
    bound = max(trend_bound(raw, of_share, exponent), abs(error) + error_stderr)
    return Parts(raw + white.log_volume, left_out + white.log_volume, bound, method)


@lru_cache(maxsize=64)
def gaussian_error(n: int, dim: int, k: int) -> tuple[float, float]:
    """Mean error of the estimator on standard normal points of this number, and its standard error.

    Against -mean ln p of the same points, which takes most of the noise off. The points are whitened as those of
    the user are, so that this depends on n, dim and k only.
    """
    repeats = min(16, max(4, -(-60_000 // n)))
    rng = np.random.default_rng([n, dim, k])
    errors = []
    for _ in range(repeats):
        x = rng.standard_normal((n, dim))
        white = Whitened.of(x, Space.of(None, x))
        raw = kozachenko_leonenko(white.points, k)
        errors.append(raw + white.log_volume - 0.5 * (dim * math.log(2 * math.pi) + np.mean(np.sum(x**2, axis=1))))
    return float(np.mean(errors)), float(np.std(errors, ddof=1) / math.sqrt(repeats))


# ------------------------------------------------------------------------------------------------ two ensembles


def wang_kulkarni_verdu(
    x: FloatArray, y: FloatArray, k: int, period: FloatArray | None = None, workers: int = 1
) -> float:
    """KL(p|q) = (d/n) sum ln(nu_i/rho_i) + ln(m/(n - 1)) from n points x of p and m points y of q.

    rho_i and nu_i are the distances of x_i to its k-th neighbour among the other x and among y. Wang, Kulkarni and
    Verdú, IEEE Trans. Inf. Theory 55 (2009) 2392.
    """
    n, dim = x.shape
    inner, outer = kth_distance(x, None, k, period, workers), kth_distance(x, y, k, period, workers)
    return float(dim * np.mean(np.log(outer) - np.log(inner)) + math.log(len(y) / (n - 1.0)))


def neighbour_kl(x: FloatArray, y: FloatArray, space: Space, k: int, groups: int, workers: int) -> Parts:
    """KL of two ensembles by `wang_kulkarni_verdu`, both brought to where their pooled covariance is one."""
    white = Whitened.of(np.concatenate([x, y]), space)
    a, b = white.points[: len(x)], white.points[len(x) :]

    def of_group(r: int, share: int) -> float:
        return wang_kulkarni_verdu(a[r::share], b[r::share], k, white.period, workers)

    raw = of_group(0, 1)
    left_out = by_groups(raw, of_group, min(len(a), len(b)), groups)
    method = f"neighbours, k={k}"
    if space.free and looks_normal(a) and looks_normal(b):
        error, error_stderr = _gaussian_kl_error(a, b, k, workers)
        bound = 0.5 * abs(error) + error_stderr
        return Parts(raw - error, left_out - error, bound, f"{method}, normal surrogates", error_stderr)

    def of_share(share: int) -> float:
        return float(np.mean([of_group(r, share) for r in range(share)]))

    bound = trend_bound(raw, of_share, min(1.0, 1.0 / x.shape[1]))
    return Parts(raw, left_out, bound, method)


def _gaussian_kl_error(a: FloatArray, b: FloatArray, k: int, workers: int) -> tuple[float, float]:
    """Mean error on normal points with the means, covariances and numbers of a and b, and its standard error."""
    repeats = min(8, max(4, -(-20_000 // len(a))))
    rng = np.random.default_rng([len(a), len(b), k])
    laws: list[tuple[Any, Any]] = [(p.mean(axis=0), np.linalg.cholesky(np.atleast_2d(np.cov(p.T)))) for p in (a, b)]
    errors = []
    for _ in range(repeats):
        x, y = (mean + rng.standard_normal(p.shape) @ factor.T for (mean, factor), p in zip(laws, (a, b), strict=True))
        log_ratio = _log_normal(x, *laws[0]) - _log_normal(x, *laws[1])
        errors.append(wang_kulkarni_verdu(x, y, k, None, workers) - np.mean(log_ratio))
    return float(np.mean(errors)), float(np.std(errors, ddof=1) / math.sqrt(repeats))


def _log_normal(x: FloatArray, mean: FloatArray, factor: FloatArray) -> FloatArray:
    """ln of the normal density, but for (d/2) ln 2 pi."""
    away = np.linalg.solve(factor, (x - mean).T)
    return np.asarray(-0.5 * np.sum(away**2, axis=0) - np.log(np.diag(factor)).sum())
