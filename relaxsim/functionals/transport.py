"""Optimal transport: exactly between quantile functions on a line, with entropy between any places.

Both faces of it, distances of laws and distances of samples with their errors, use these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from relaxsim.density.proximal_kernel import DenseKernel, Kernel
from relaxsim.density.proximal_step import resting_scalings
from relaxsim.errors import ConvergenceError, InputError
from relaxsim.system.validate import FloatArray

_NODES = 12  # Gauss-Legendre nodes between two breakpoints of the quantile functions
_ENTROPY_SHARE = 0.02  # of the mean squared distance: the default regularisation
_TOLERANCE = 1e-5  # of the marginals, in the sum of absolute differences
_ROUNDS = 20_000
_OWN_ROUNDS = 200
_CHECKED = 5  # rounds from one look at the marginals to the next


class Quantile:
    """F^-1 with the u at which it breaks; linear in between, or a function."""

    def __init__(self, breaks: FloatArray, low: FloatArray, high: FloatArray, f: Callable[..., Any] | None = None):
        self.breaks, self._low, self._high, self._f = breaks, low, high, f

    def __call__(self, u: FloatArray, left: FloatArray) -> FloatArray:
        """At u of shape (pieces, nodes), each row within one piece, which begins at `left`."""
        if self._f is not None:
            return np.asarray(self._f(u), dtype=np.float64)
        k = np.clip(np.searchsorted(self.breaks, left, side="right") - 1, 0, self._low.size - 1)
        if self._low is self._high:
            return np.broadcast_to(self._low[k][:, None], u.shape)
        start, end = self.breaks[k], self.breaks[k + 1]
        share = (u - start[:, None]) / (end - start)[:, None]
        return np.asarray(self._low[k][:, None] * (1.0 - share) + self._high[k][:, None] * share)


def atoms(x: FloatArray, mass: FloatArray) -> Quantile:
    """The quantile function of points with masses."""
    order = np.argsort(x, kind="stable")
    order = order[mass[order] > 0]
    places = x[order]
    return Quantile(shares(mass[order]), places, places)


def shares(mass: FloatArray) -> FloatArray:
    """Breakpoints in [0, 1] of a quantile function whose pieces have these masses."""
    breaks = np.concatenate([[0.0], np.cumsum(mass)])
    return np.asarray(breaks / breaks[-1])


_legendre = cache(np.polynomial.legendre.leggauss)


def quantile_cost(
    first: Quantile,
    second: Quantile,
    order: float,
    ground: Callable[[FloatArray], FloatArray] | None = None,
    nodes: int = _NODES,
) -> float:
    """The integral over (0, 1) of |Y(F^-1) - Y(G^-1)|^order, by quadrature between all breakpoints."""
    breaks = first.breaks
    if not np.array_equal(breaks, second.breaks):
        breaks = np.union1d(breaks, second.breaks)
    ends = np.concatenate([[0.0], breaks[(breaks > 0) & (breaks < 1)], [1.0]])
    points, weights = _legendre(nodes)
    width, middle = np.diff(ends), (ends[1:] + ends[:-1]) / 2
    u = middle[:, None] + width[:, None] / 2 * points
    one, other = first(u, ends[:-1]), second(u, ends[:-1])
    gap = np.abs(one - other) if ground is None else np.abs(ground(one) - ground(other))
    return float(((gap**order) @ weights * width / 2).sum())


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
    f, g = np.empty(n), np.empty(m)
    f[order_x] = _potential(a, _matched(b, n), p)
    g[order_y] = _potential(b, _matched(a, m), p)
    one, other = Quantile(shares(np.ones(n)), a, a), Quantile(shares(np.ones(m)), b, b)
    return quantile_cost(one, other, p, nodes=1), f, g


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
    f, g = _potentials(cost, eps)
    of_x, of_y = f - _own(_squares(x, x), eps), g - _own(_squares(y, y), eps)
    return float(of_x.mean() + of_y.mean()), of_x, of_y


def _squares(x: FloatArray, y: FloatArray) -> FloatArray:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(x, y, "sqeuclidean"))


def _potentials(cost: FloatArray, eps: float) -> tuple[FloatArray, FloatArray]:
    """Dual potentials for uniform weights; the plan is exp((f_i + g_j - c_ij)/eps)/nm.

    A falling regularisation leads to them (Schmitzer, SIAM J. Sci. Comput. 41 (2019) A1443).
    """
    n, m = cost.shape
    a, b = np.full(n, 1.0 / n), np.full(m, 1.0 / m)
    g, current = np.zeros(m), max(eps, float(cost.max()))
    while current > eps:
        made = sinkhorn(DenseKernel(cost, current / 2.0), a, b, current / 2.0, math.inf, 1, g / current - math.log(m))
        g, current = current * (made.log_z + math.log(m)), max(eps, current / 2)
    found = sinkhorn(DenseKernel(cost, eps / 2.0), a, b, eps / 2.0, _TOLERANCE, _ROUNDS, g / eps - math.log(m))
    return eps * (found.log_y + math.log(n)), eps * (found.log_z + math.log(m))


def _own(cost: FloatArray, eps: float) -> FloatArray:
    """The potential of a sample to itself."""
    n = len(cost)
    log_y, log_z, end = resting_scalings(
        DenseKernel(cost, eps / 2.0), np.full(n, -math.log(n)), _OWN_ROUNDS, _TOLERANCE
    )
    defect = float(np.abs(end - 1.0 / n).sum())
    if not defect <= _TOLERANCE:
        raise ConvergenceError(
            f"entropic: a sample's own marginals are still off by {defect:.1e}; use a larger epsilon"
        )
    return np.asarray(eps * ((log_y + log_z) / 2.0 + math.log(n)))


@dataclass(frozen=True)
class Scalings:
    """The entropic plan diag(y) exp(-C/2 epsilon) diag(z) between two laws.

    Attributes
    ----------
    log_y, log_z : ndarray
    iterations : int
    defect : float
        Sum of the absolute errors of the first marginal; the second is exact.
    """

    log_y: FloatArray
    log_z: FloatArray
    iterations: int
    defect: float


def sinkhorn(
    kernel: Kernel, a: FloatArray, b: FloatArray, eps: float, tol: float, most: int, start: FloatArray | None = None
) -> Scalings:
    """Scalings of a plan with marginals a and b, in the log domain; `start` is a first ln z.

    Raises
    ------
    ConvergenceError
        `tol` not reached in `most` rounds; the message has the defect.
    """
    with np.errstate(divide="ignore"):
        log_a, log_b = np.log(a), np.log(b)
    log_z = np.where(b > 0, 0.0 if start is None else start, -np.inf)
    defect = math.inf
    for count in range(1, most + 1):
        log_y = log_a - kernel.forward(log_z)
        log_z = log_b - kernel.backward(log_y)
        if count % _CHECKED == 0 or count == most:
            defect = float(np.abs(np.exp(log_y + kernel.forward(log_z)) - a).sum())
            if not np.isfinite(defect) or defect <= tol:
                break
    if not defect <= tol:
        raise ConvergenceError(
            f"entropic transport: after {count} iterations the first marginal is off by {defect:.2e} (tol = {tol:g}, "
            f"epsilon = {eps:g}); use a larger epsilon=, a larger tol=, or more iterations"
        )
    return Scalings(log_y, log_z, count, defect)
