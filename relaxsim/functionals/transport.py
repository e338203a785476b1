"""Optimal transport between samples: exactly on the line, with entropy in more dimensions; costs and potentials."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import ConvergenceError, InputError

FloatArray = NDArray[np.float64]

_ENTROPY_SHARE = 0.02  # of the mean squared distance: the default regularisation
_TOLERANCE = 1e-5  # of the marginals, in the sum of absolute differences
_ROUNDS = 20_000
_OWN_ROUNDS = 200
_BLOCK = 20  # rounds between two times that the factors go into the potentials


def line_transport(x: FloatArray, y: FloatArray, p: int) -> tuple[float, FloatArray, FloatArray]:
    """W_p^p of two samples on the line, and the Kantorovich potentials at their points.

    Parameters
    ----------
    x : ndarray, shape (n,)
    y : ndarray, shape (m,)
    p : {1, 2}

    Returns
    -------
    cost : float
        The integral of |F^-1 - G^-1|^p over (0, 1).
    f, g : ndarray, shapes (n,) and (m,)
        Potentials up to a constant: f'(x) = p |x - T(x)|^(p-1) sign(x - T(x)) with T the monotone map.
    """
    order_x, order_y = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    a, b = x[order_x], y[order_y]
    n, m = len(a), len(b)
    if n == m:
        cost = float(np.mean(np.abs(a - b) ** p))
    else:
        ends = np.union1d(np.arange(1, n + 1) / n, np.arange(1, m + 1) / m)
        ends = ends[np.concatenate([np.diff(ends) > 1e-14, [True]])]
        widths = np.diff(ends, prepend=0.0)
        middle = ends - widths / 2
        i, j = np.minimum((middle * n).astype(int), n - 1), np.minimum((middle * m).astype(int), m - 1)
        cost = float(np.sum(widths * np.abs(a[i] - b[j]) ** p))
    f, g = np.empty(n), np.empty(m)
    f[order_x] = _potential(a, _matched(b, n), p)
    g[order_y] = _potential(b, _matched(a, m), p)
    return cost, f, g


def _matched(values: FloatArray, count: int) -> FloatArray:
    """Quantiles of sorted values at the middles of so many equal steps."""
    if len(values) == count:
        return values
    return np.asarray(np.interp((np.arange(count) + 0.5) / count, (np.arange(len(values)) + 0.5) / len(values), values))


def _potential(at: FloatArray, image: FloatArray, p: int) -> FloatArray:
    away = at - image
    slope = p * np.abs(away) ** (p - 1) * np.sign(away)
    return np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(at))])


def entropic_cost(x: FloatArray, y: FloatArray, epsilon: float | None) -> tuple[float, FloatArray, FloatArray]:
    """The Sinkhorn divergence of two samples, W2^2 with a small regularisation and without its bias at rest.

    Parameters
    ----------
    x, y : ndarray, shapes (n, dim) and (m, dim)
    epsilon : float or None
        Regularisation, in units of squared distance.

    Returns
    -------
    divergence : float
        OT(x, y) - (OT(x, x) + OT(y, y))/2.
    f, g : ndarray, shapes (n,) and (m,)
        Its first variations, whose variances give the error.

    Raises
    ------
    InputError
        All points lie at one place.
    ConvergenceError
        The iteration does not reach the marginals.
    """
    cost = _squares(x, y)
    scale = float(cost.mean())
    if not scale > 0:
        raise InputError("x, y: all points lie at one place; there is no distance to measure")
    eps = _ENTROPY_SHARE * scale if epsilon is None else float(epsilon)
    f, g = _sinkhorn(cost, eps)
    of_x, of_y = f - _own(_squares(x, x), eps), g - _own(_squares(y, y), eps)
    return float(of_x.mean() + of_y.mean()), of_x, of_y


def _squares(x: FloatArray, y: FloatArray) -> FloatArray:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(x, y, "sqeuclidean"))


def _sinkhorn(cost: FloatArray, eps: float) -> tuple[FloatArray, FloatArray]:
    """Dual potentials for uniform weights: first in the log domain with a falling regularisation, then by scaling.

    The plan is exp((f_i + g_j - c_ij)/eps)/nm. The scaling factors that its marginals need go into f and g before they
    grow large (Schmitzer, SIAM J. Sci. Comput. 41 (2019) A1443).
    """
    n, m = cost.shape
    f = np.zeros(n)
    current = max(eps, float(cost.max()))
    while True:
        g = -current * (_log_sum(f[:, None] - cost, current, 0) - math.log(n))
        f = -current * (_log_sum(g[None, :] - cost, current, 1) - math.log(m))
        if current == eps:
            break
        current = max(eps, current / 2)
    miss = math.inf
    for _ in range(_ROUNDS // _BLOCK):
        plan = np.exp((f[:, None] + g[None, :] - cost) / eps)
        u, v = np.ones(n), np.ones(m)
        for _ in range(_BLOCK):
            v = n / (u @ plan)
            u = m / (plan @ v)
        miss = float(np.mean(np.abs((u @ plan) * v / n - 1)))
        f, g = f + eps * np.log(u), g + eps * np.log(v)
        if miss < _TOLERANCE:
            return f, g
    raise ConvergenceError(
        f"entropic: the marginals are still off by {miss:.1e} after {_ROUNDS} rounds; use an epsilon above {eps:.3g}"
    )


def _own(cost: FloatArray, eps: float) -> FloatArray:
    """The potential of a sample to itself: both are equal, and means of old and new ones converge in a few rounds."""
    f = np.zeros(len(cost))
    miss = math.inf
    current = max(eps, float(cost.max()))
    for _ in range(_OWN_ROUNDS):
        new = -current * (_log_sum(f[None, :] - cost, current, 1) - math.log(len(cost)))
        miss = float(np.mean(np.abs(np.expm1(np.clip((f - new) / current, -50.0, 50.0)))))
        f = (f + new) / 2
        if current == eps and miss < _TOLERANCE:
            return f
        current = max(eps, current / 2)
    raise ConvergenceError(f"entropic: a sample's own marginals are still off by {miss:.1e}; use a larger epsilon")


def _log_sum(values: FloatArray, eps: float, axis: int) -> FloatArray:
    scaled = values / eps
    top = scaled.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(scaled - top).sum(axis=axis)) + top.squeeze(axis))
