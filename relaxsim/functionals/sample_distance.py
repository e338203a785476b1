"""Distances between two samples, each with a standard error or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import ConvergenceError, InputError, ShapeError, warn
from relaxsim.functionals.estimate import trend_bound
from relaxsim.functionals.transport import entropic_cost, line_transport
from relaxsim.functionals.two_samples import SampleDistance, judged, standard_error, two_samples
from relaxsim.system.validate import FloatArray, Problems, as_float_array

IntArray = NDArray[np.int64]
Measure = Callable[[FloatArray, FloatArray], tuple[float, FloatArray, FloatArray]]

MAX_ENTROPIC = 1000
MAX_KERNEL = 4000
PERMUTATIONS = 30
_BASE_BINS = {1: 64, 2: 24, 3: 12}
_BIN_EXPECTED = 5.0


def wasserstein(
    x: Any,
    y: Any,
    p: int = 2,
    *,
    method: str = "auto",
    ground: Callable[[FloatArray], FloatArray] | None = None,
    directions: int = 64,
    epsilon: float | None = None,
    max_samples: int = MAX_ENTROPIC,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> SampleDistance:
    r"""The Wasserstein distance between the laws of two samples.

    Parameters
    ----------
    x, y : array_like, shape (n, dim) or (n,)
    p : {1, 2}
        The cost is the p-th power of the distance; the p-th root is returned.
    method : {"auto", "exact", "sliced", "entropic"}
        "exact" in one dimension, by sorting. "sliced": the p-th mean over directions of the distance of the
        projections. "entropic": the Sinkhorn divergence, p = 2 only. "auto": exact in one dimension, else sliced.
    ground : callable, optional
        A map Y of positions, applied to both samples first: the cost is then the distance of Y(x) and Y(y). With
        ``activation.lookup(name).Y`` that is the geodesic distance of the metric 1/K.
    directions : int, default 64
        For "sliced": equally spaced in the plane, random in more dimensions.
    epsilon : float, optional
        For "entropic": the regularisation, by default 2 % of the mean squared distance between the samples.
    max_samples : int, default 1000
        For "entropic": at most so many of each sample are used, the first ones.
    permutations : int, default 30
        Relabellings for the null level; 0 leaves it out. "entropic" uses none.
    seed : int
        Of the directions and relabellings.

    Returns
    -------
    SampleDistance

    Raises
    ------
    InputError, ShapeError
        Too few samples, values that are not finite, an argument that does not fit.

    Notes
    -----
    In one dimension :math:`W_p^p = \int_0^1 |F^{-1}(u) - G^{-1}(u)|^p du`. The standard error is that of the central
    limit theorem with the Kantorovich potentials f and g, the square root of Var f(x)/n + Var g(y)/m, over p W^(p-1).
    It holds where the laws differ. For equal laws the limit is not normal and the estimate, of order n^(-1/p) or so, is
    all bias: a value that does not stand out of its null level has no standard error. In d dimensions the plug-in
    distance without slices is off by about n^(-1/d), so it is not offered.

    The bias bound comes from the same distance between every second and every fourth point of both samples, as if the
    bias fell as n^(-1/2): it does so for equal laws, and faster for others. A value that does not stand out of its null
    level may be bias altogether. What epsilon does to "entropic" is not in it.

    References
    ----------
    del Barrio and Loubes, Ann. Probab. 47 (2019) 926 (the limit theorem). Bonneel et al., J. Math. Imaging Vision 51
    (2015) 22 (slices). Genevay, Peyré and Cuturi, AISTATS 2018, and Mena and Weed, NeurIPS 2019 (entropic).
    """
    one, other = two_samples(x, y)
    if ground is not None:
        one, other = (as_float_array(ground(s), "ground") for s in (one, other))
        if (
            one.ndim != 2
            or other.shape[1:] != one.shape[1:]
            or not (np.isfinite(one).all() and np.isfinite(other).all())
        ):
            raise ShapeError("ground: expected finite positions of shape (n, dim) from the map; it works elementwise")
    if method == "auto":
        method = "exact" if one.shape[1] == 1 else "sliced"
    _check_wasserstein(one.shape[1], p, method, directions, epsilon)
    rng = np.random.default_rng(seed)
    if method == "entropic":
        one, other = one[:max_samples], other[:max_samples]

        def sinkhorn(a: FloatArray, b: FloatArray) -> tuple[float, FloatArray, FloatArray]:
            return entropic_cost(a, b, epsilon)

        return _result("the Sinkhorn divergence", sinkhorn, one, other, 2, 0, rng)
    angles = np.ones((1, 1)) if one.shape[1] == 1 else _directions(one.shape[1], directions, rng)

    def measure(a: FloatArray, b: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        total, f, g = 0.0, np.zeros(len(a)), np.zeros(len(b))
        for direction in angles:
            cost, of_a, of_b = line_transport(a @ direction, b @ direction, p)
            total, f, g = total + cost, f + of_a, g + of_b
        return total / len(angles), f / len(angles), g / len(angles)

    return _result(f"W{p}", measure, one, other, p, permutations, rng)


def total_variation(
    x: Any, y: Any, *, bins: int | None = None, permutations: int = PERMUTATIONS, seed: int = 0
) -> SampleDistance:
    """Total variation, half the integral of abs(p - q), of the laws on common bins; up to three dimensions.

    Parameters
    ----------
    x, y : array_like, shape (n, dim) or (n,)
    bins : int, optional
        Along each axis, over the range of both samples; by default at most 64, 24, 12 in 1, 2, 3 dimensions and few
        enough that a bin holds five points on average.
    permutations, seed : int
        As in `wasserstein`.

    Returns
    -------
    SampleDistance
        Of the laws on the bins, which is at most that of the laws. `bias_bound` is what abs(noise) adds in all bins,
        with the difference in each bin taken at its estimate.

    Notes
    -----
    The error is that of the mean of sign(p - q)/2 over both samples (delta method).
    """

    def measure(a: IntArray, b: IntArray) -> tuple[float, FloatArray, FloatArray, float]:
        p, q = a / a.sum(), b / b.sum()
        sign = np.sign(p - q) / 2
        spread = np.sqrt(p * (1 - p) / a.sum() + q * (1 - q) / b.sum())
        return float(np.abs(p - q).sum() / 2), sign, -sign, _folded(np.abs(p - q), spread) / 2

    return _binned(x, y, "total variation", measure, bins, permutations, seed, 1)


def hellinger(
    x: Any, y: Any, *, bins: int | None = None, permutations: int = PERMUTATIONS, seed: int = 0
) -> SampleDistance:
    """The Hellinger distance sqrt(1 - integral of sqrt(p q)) of the laws on common bins; up to three dimensions.

    Parameters
    ----------
    x, y, bins, permutations, seed
        As in `total_variation`.

    Returns
    -------
    SampleDistance
        Of the laws on the bins. `bias_bound` holds, over twice the distance, the second-order bias of its square and
        what one point in each bin that only one sample reaches would change.

    Notes
    -----
    The error of 1 - sum sqrt(p q) is that of the means of -sqrt(q/p)/2 and -sqrt(p/q)/2 (delta method).
    """

    def measure(a: IntArray, b: IntArray) -> tuple[float, FloatArray, FloatArray, float]:
        n, m = a.sum(), b.sum()
        p, q = a / n, b / m
        with np.errstate(divide="ignore", invalid="ignore"):
            f = np.where(p > 0, -0.5 * np.sqrt(q / p), 0.0)
            g = np.where(q > 0, -0.5 * np.sqrt(p / q), 0.0)
            curvature = np.where(p > 0, np.sqrt(q / p) * (1 - p) / (8 * n), 0.0)
            curvature += np.where(q > 0, np.sqrt(p / q) * (1 - q) / (8 * m), 0.0)
        unseen = float(np.sum(np.where(q == 0, np.sqrt(p / m), 0.0) + np.where(p == 0, np.sqrt(q / n), 0.0)))
        return float(max(0.0, 1 - np.sqrt(p * q).sum())), f, g, float(curvature.sum()) + unseen

    return _binned(x, y, "the Hellinger distance", measure, bins, permutations, seed, 2)


def mmd(
    x: Any,
    y: Any,
    *,
    bandwidth: float | None = None,
    kernel: Callable[[FloatArray], FloatArray] | None = None,
    max_samples: int = MAX_KERNEL,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> SampleDistance:
    """The *squared* maximum mean discrepancy, unbiased: it can be negative where the laws are equal.

    Parameters
    ----------
    x, y : array_like, shape (n, dim) or (n,)
    bandwidth : float, optional
        s of the Gaussian kernel exp(-r^2/2s^2); by default the median distance between the points of both samples.
    kernel : callable, optional
        Of the matrix of squared distances, in the place of the Gaussian; positive definite.
    max_samples : int, default 4000
        At most so many of each sample are used, the first ones.
    permutations, seed : int
        As in `wasserstein`.

    Returns
    -------
    SampleDistance
        `bias_bound` is zero. The error is that of a two-sample U-statistic to first order.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola, J. Mach. Learn. Res. 13 (2012) 723.
    """
    from scipy.spatial.distance import cdist

    one, other = (s[:max_samples] for s in two_samples(x, y))
    both = np.concatenate([one, other])
    squares = cdist(both, both, "sqeuclidean")
    if kernel is None:
        if bandwidth is None:
            bandwidth = math.sqrt(float(np.median(squares[:: max(1, len(both) // 1000)])))
        if not (math.isfinite(bandwidth) and bandwidth > 0):
            raise InputError(f"bandwidth: expected a positive number, got {bandwidth!r}; most points lie at one place")
        gram = np.exp(-squares / (2 * bandwidth**2))
    else:
        gram = np.asarray(kernel(squares), dtype=np.float64)
        if gram.shape != squares.shape or not np.isfinite(gram).all():
            raise ShapeError(f"kernel: expected finite values of shape {squares.shape}, got {gram.shape}")
    np.fill_diagonal(gram, 0.0)
    n, m = len(one), len(other)
    labels = np.arange(n + m) < n
    value, f, g = _mmd_squared(gram, labels)
    null = [_mmd_squared(gram, np.random.default_rng([seed, k]).permutation(labels))[0] for k in range(permutations)]
    return judged("the MMD", value, standard_error(f, g), 0.0, null, 1, (n, m))


def _mmd_squared(gram: FloatArray, first: NDArray[np.bool_]) -> tuple[float, FloatArray, FloatArray]:
    n, m = int(first.sum()), int((~first).sum())
    to_first, to_second = gram @ first, gram @ (~first)
    within, cross = to_first[first] / (n - 1), to_second[first] / m
    others, across = to_second[~first] / (m - 1), to_first[~first] / n
    return float(within.mean() + others.mean() - 2 * cross.mean()), 2 * (within - cross), 2 * (others - across)


def _check_wasserstein(dim: int, p: Any, method: str, directions: Any, epsilon: Any) -> None:
    problems = Problems()
    if p not in (1, 2):
        problems.add("p", f"expected 1 or 2, got {p!r}")
    if method not in ("exact", "sliced", "entropic"):
        problems.add("method", f'expected "auto", "exact", "sliced" or "entropic", got {method!r}')
    if method == "exact" and dim > 1:
        problems.add("method", f'"exact" serves one dimension, the points have {dim}; use "sliced" or "entropic"')
    if method == "entropic" and p != 2:
        problems.add("p", f'"entropic" has the squared distance as its cost, p = 2, got {p!r}')
    if isinstance(directions, bool) or not isinstance(directions, (int, np.integer)) or directions < 1:
        problems.add("directions", f"expected an integer >= 1, got {directions!r}")
    if epsilon is not None and not (isinstance(epsilon, (int, float)) and math.isfinite(epsilon) and epsilon > 0):
        problems.add("epsilon", f"expected a positive number, got {epsilon!r}")
    problems.raise_if_any()


def _directions(dim: int, count: int, rng: np.random.Generator) -> FloatArray:
    if dim == 2:
        angle = np.pi * (np.arange(count) + 0.5) / count
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    drawn = rng.standard_normal((count, dim))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def _result(
    name: str, measure: Measure, x: FloatArray, y: FloatArray, p: int, permutations: int, rng: np.random.Generator
) -> SampleDistance:
    """The p-th root of what `measure` gives, with errors and the null level."""
    power, f, g = measure(x, y)
    both, n = np.concatenate([x, y]), len(x)
    null = []
    for _ in range(permutations):
        mixed = both[rng.permutation(len(both))]
        null.append(measure(mixed[:n], mixed[n:])[0])

    def of_share(share: int) -> float:
        powers = [measure(x[r::share], y[r::share])[0] for r in range(share)]
        return float(np.mean(np.maximum(powers, 0.0) ** (1 / p)))

    found = judged(name, power, standard_error(f, g), 0.0, null, p, (len(x), len(y)))
    try:
        bound = trend_bound(found.value, of_share, 0.5)
    except ConvergenceError:  # the fewer the points, the longer an entropic plan takes
        bound = math.nan
    return replace(found, bias_bound=max(bound, found.value) if found.reason and null else bound)


def _folded(size: FloatArray, spread: FloatArray) -> float:
    """Sum over bins of E|N(size, spread^2)| - size."""
    from scipy.special import ndtr

    seen = spread > 0
    z = size[seen] / spread[seen]
    mean = spread[seen] * np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) + size[seen] * (2 * ndtr(z) - 1)
    return float(np.sum(mean - size[seen]))


def _binned(
    x: Any, y: Any, name: str, measure: Any, bins: int | None, permutations: int, seed: int, p: int
) -> SampleDistance:
    one, other = two_samples(x, y)
    dim = one.shape[1]
    if dim > 3:
        raise InputError(f"x: laws are binned in up to three dimensions, got {dim}; use wasserstein or mmd")
    fewest = min(len(one), len(other))
    if bins is None:
        bins = max(2, min(_BASE_BINS[dim], int((fewest / _BIN_EXPECTED) ** (1 / dim))))
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 2:
        raise InputError(f"bins: expected an integer >= 2, got {bins!r}")
    both = np.concatenate([one, other])
    low, high = both.min(axis=0), both.max(axis=0)
    for label, sample in (("x", one), ("y", other)):
        if not np.all(np.ptp(sample, axis=0) > 0):
            warn(
                f"{label}: all points lie at one value along some axis, so the law has no density and "
                f"{name} is not defined; use wasserstein"
            )
            return SampleDistance(
                math.nan, math.nan, math.nan, math.nan, math.nan, f"{label} has no density", (len(one), len(other))
            )
    place = np.minimum((both - low) / (high - low) * bins, bins - 1).astype(np.int64)
    index = np.ravel_multi_index(tuple(place.T), (bins,) * dim)
    n, size = len(one), bins**dim
    rng = np.random.default_rng(seed)

    def counted(order: IntArray) -> tuple[float, FloatArray, FloatArray, float]:
        a, b = (np.bincount(index[part], minlength=size) for part in (order[:n], order[n:]))
        power, f, g, bias = measure(a, b)
        return power, f[index[order[:n]]], g[index[order[n:]]], bias

    power, f, g, bias = counted(np.arange(len(both)))
    null = [counted(rng.permutation(len(both)))[0] for _ in range(permutations)]
    return judged(name, power, standard_error(f, g), bias, null, p, (len(one), len(other)))
