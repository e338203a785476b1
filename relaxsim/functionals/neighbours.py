"""Entropy and relative entropy from the distances to the k-th neighbours, in any dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.functionals.estimate import Parts, trend_bound
from relaxsim.functionals.samples import Space, Whitened, looks_normal
from relaxsim.functionals.surrogates import corrected, mean_error

FloatArray = NDArray[np.float64]

MAX_SAMPLES = 20_000
_LEAST_GROUP = 50  # points a group needs to stand for the whole


class CoincidingPointsError(ValueError):
    """More than k points at one place: their distance is zero, and its logarithm minus infinity."""


def kth_distance(
    centres: FloatArray, others: FloatArray | None, k: int, period: FloatArray | None = None, workers: int = 1
) -> FloatArray:
    """Distance of each centre to its k-th neighbour among `others`, or the other centres with None, shape (n,)."""
    return _distances(centres, others, (k,), period, workers)[:, 0]


def _distances(
    centres: FloatArray, others: FloatArray | None, ks: tuple[int, ...], period: FloatArray | None, workers: int
) -> FloatArray:
    """`kth_distance` for several increasing k, shape (n, len(ks))."""
    from scipy.spatial import cKDTree

    x = centres if others is None else others
    box = period if period is not None and period.any() else None
    if box is not None:  # the tree wants points in [0, period)
        x, centres = _wrap(x, box), _wrap(centres, box)
    # A centre is the nearest point to itself.
    own = int(others is None)
    if ks[-1] + own > len(x):
        raise InputError(
            f"k: the {ks[-1]}-th neighbour was asked for among {len(x)} points of a group; use a smaller k or more "
            "points"
        )
    distance, _ = cKDTree(x, boxsize=box).query(centres, k=[k + own for k in ks], workers=workers)
    if np.any(distance[:, 0] == 0.0):
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


def extrapolated(z: FloatArray, k: int, period: FloatArray | None = None, workers: int = 1) -> float:
    r"""The estimator for k and 3k, weighted by `_weights` so that the leading bias drops out.

    On 2000 points of two wells in a plane this brings the bias from 0.61 to 0.29 standard deviations, and these are
    15 % larger.
    """
    from scipy.special import digamma

    n, dim = z.shape
    mean_log = np.mean(np.log(_distances(z, None, (k, 3 * k), period, workers)), axis=0)
    return float(digamma(n) + log_ball(dim) + _weights(k, dim) @ (dim * mean_log - digamma([k, 3 * k])))


def _weights(k: int, dim: int) -> FloatArray:
    r"""Weights of the estimates for k and 3k that sum to one and take off what :math:`\langle eps^2\rangle` brings.

    The density is not constant in the ball, which biases the estimate by about c Gamma(k + 2/d)/Gamma(k) (Berrett,
    Samworth and Yuan, Ann. Stat. 47 (2019) 288).
    """
    from scipy.special import gammaln

    ks = np.array([k, 3 * k])
    one, other = np.exp(gammaln(ks + 2.0 / dim) - gammaln(ks))
    weights: FloatArray = np.array([other, -one]) / (other - one)
    return weights


def by_groups(value: float, of_group: Callable[[int, int], float], n: int, groups: int) -> FloatArray:
    """Delete-a-group values (groups,) of an estimator, made of its values on each group by itself.

    Leaving a group out of *the points* would change the neighbours of all others. The part of the estimator's variance
    that comes from interactions of m points counts m times in such a jackknife (Efron and Stein 1981), and the
    distance to a k-th neighbour is an interaction of k + 1 points. On 2000 points, 20 groups, k = 4, that jackknife
    states 1.37, 1.17, 1.08, 1.04 times the true standard deviation in 1, 2, 4, 8 dimensions for normal points (1.44,
    1.19, 1.09 in 1, 2, 4 for two wells), and covers the estimator's own mean in 97 to 99 % of 95 % intervals. The
    values on the groups, of n/R points each, have R times the variance of the whole and leaving one of them out of
    *their mean* is linear: 1.00, 0.97, 0.98, 1.01 (1.02, 0.99, 1.01), covering 92 to 97 %. No point is repeated either
    way. Groups of fewer than 50 points are joined.
    """
    fewer = max(4, min(groups, n // _LEAST_GROUP))
    own = np.array([of_group(r, fewer) for r in range(fewer)])
    return np.asarray(value - (own - own.mean()) / (fewer - 1))


def neighbour_entropy(x: FloatArray, space: Space, k: int, groups: int, workers: int) -> Parts:
    """Differential entropy on whitened points, with its errors.

    By `kozachenko_leonenko`, less its error on as many normal points where the points look normal; otherwise in two and
    three dimensions by `extrapolated`. On a line the bias is small without, beyond three the expansion in eps^2 is not
    reached.
    """
    white = Whitened.of(x, space)
    n, dim = x.shape
    normal = space.free and looks_normal(white.points)
    estimator = extrapolated if dim in (2, 3) and not normal else kozachenko_leonenko

    def of_group(r: int, share: int) -> float:
        return estimator(white.points[r::share], k, white.period, workers)

    raw = of_group(0, 1)
    left_out = by_groups(raw, of_group, n, groups)
    error, error_stderr = normal_error(n, dim, k)

    def of_share(share: int) -> float:
        return float(np.mean([of_group(r, share) for r in range(share)]))

    # 2/d inside; beside a wall the ball sticks out, and the bias falls with the radius itself.
    exponent = min(1.0, (1.0 if space.walls else 2.0) / dim)
    # In four dimensions or so the bias is nearly the same for n/4 ... n points: the trend does not show what the bias
    # of as many normal points does.
    bound = 0.0 if normal else max(trend_bound(raw, of_share, exponent), abs(error) + error_stderr)
    found = Parts(raw + white.log_volume, left_out + white.log_volume, bound, f"neighbours, k={k}")
    return corrected(found, error, error_stderr) if normal else found


@lru_cache(maxsize=64)
def normal_error(n: int, dim: int, k: int) -> tuple[float, float]:
    """Mean error of the estimator on standard normal points of this number, and its standard error."""
    repeats = min(16, max(4, -(-60_000 // n)))
    return mean_error(lambda white, _: kozachenko_leonenko(white.points, k), n, dim, repeats)


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


def extrapolated_kl(x: FloatArray, y: FloatArray, k: int, period: FloatArray | None = None, workers: int = 1) -> float:
    """`wang_kulkarni_verdu` for k and 3k, weighted by `_weights`.

    Between two wells and a normal law in a plane, 5000 points each, the bias falls from 0.30 to 0.11 standard
    deviations, and these are 15 % larger.
    """
    n, dim = x.shape
    inner, outer = (np.log(_distances(x, others, (k, 3 * k), period, workers)) for others in (None, y))
    return float(_weights(k, dim) @ (dim * np.mean(outer - inner, axis=0)) + math.log(len(y) / (n - 1.0)))


def neighbour_kl(x: FloatArray, y: FloatArray, space: Space, k: int, groups: int, workers: int) -> Parts:
    """KL of two ensembles, both brought to where their pooled covariance is one; estimators as for the entropy."""
    white = Whitened.of(np.concatenate([x, y]), space)
    a, b = white.points[: len(x)], white.points[len(x) :]
    normal = space.free and looks_normal(a) and looks_normal(b)
    estimator = extrapolated_kl if x.shape[1] in (2, 3) and not normal else wang_kulkarni_verdu

    def of_group(r: int, share: int) -> float:
        return estimator(a[r::share], b[r::share], k, white.period, workers)

    raw = of_group(0, 1)
    left_out = by_groups(raw, of_group, min(len(a), len(b)), groups)
    method = f"neighbours, k={k}"
    if normal:
        error, error_stderr = _normal_kl_error(a, b, k, workers)
        return corrected(Parts(raw, left_out, 0.0, method), error, error_stderr)

    def of_share(share: int) -> float:
        return float(np.mean([of_group(r, share) for r in range(share)]))

    bound = trend_bound(raw, of_share, min(1.0, 1.0 / x.shape[1]))
    return Parts(raw, left_out, bound, method)


def _normal_kl_error(a: FloatArray, b: FloatArray, k: int, workers: int) -> tuple[float, float]:
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
