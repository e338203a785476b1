"""Wasserstein distances of laws: exact on a line with any ground map, entropic on grids.

On a line the best coupling matches quantiles, so W_p^p is the integral over u in (0, 1) of |Y(F^-1(u)) - Y(G^-1(u))|^p
for the distance |Y(x) - Y(y)| of an increasing map Y: Y(x) = x for the Euclidean one, and the geodesic coordinate of
the metric dx^2/K for the distance in which a relaxation with mobility K is steepest descent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.proximal_kernel import DenseKernel, Kernel
from relaxsim.density.proximal_metric import find_metric
from relaxsim.density.proximal_step import check_masses
from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals import kinds
from relaxsim.functionals.transport import Quantile, Scalings, atoms, quantile_cost, shares, sinkhorn
from relaxsim.system.validate import FloatArray, Problems, as_float_array, positive_integer, positive_number

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

__all__ = ["EntropicTransport", "entropic_wasserstein", "wasserstein", "wasserstein_divergence"]

_HALVINGS = 40  # of (0, 1) towards both ends, where quantile functions given as functions may be infinite or steep

Law = Any


def wasserstein(mu: Law, nu: Law, *, ground: Callable[[FloatArray], Any] | None = None, order: float = 2.0) -> float:
    """Wasserstein distance of two laws on a line, exact for atoms and for densities constant in cells.

    W_p = (integral over (0, 1) of abs(Y(F^-1(u)) - Y(G^-1(u)))^p du)^(1/p).

    Parameters
    ----------
    mu, nu : (x, weights), (edges, masses), array_like or callable
        A pair of n points and n weights are atoms; of n + 1 increasing edges and n masses, a density that is constant
        in each cell; one array of numbers are points of equal weight; a function is the quantile function F^-1
        itself, of arrays in (0, 1). Masses are divided by their sum.
    ground : callable, optional
        Increasing map Y whose differences are the distances, such as ``lambda x: activation.Y(x, beta)``; the identity
        by default.
    order : float, default 2
        p, at least 1.

    Returns
    -------
    float
        W_p. Exact to rounding for atoms, and for cells with the identity; with another map by 12-node quadrature in
        each cell; for functions by quadrature that is refined towards u = 0 and u = 1.

    Raises
    ------
    InputError, ShapeError
        Laws that are none: masses negative, not finite or zero, edges that do not increase; a map that does not
        increase or is not finite; an order below 1.

    References
    ----------
    F. Santambrogio, *Optimal Transport for Applied Mathematicians* (2015), proposition 2.17.

    Examples
    --------
    >>> wasserstein([0.0, 1.0], [1.0, 2.0])
    1.0
    >>> import numpy as np
    >>> print(f"{wasserstein(([0.0, 1.0], [1.0]), ([0.5], [1.0])):.6f}")  # a uniform law and its middle
    0.288675
    """
    if not np.isfinite(order) or order < 1:
        raise InputError(f"order: expected a number of at least 1, got {order!r}")
    first, second = _quantiles(mu, "mu"), _quantiles(nu, "nu")
    Y = _checked_map(ground) if ground is not None else None
    total = quantile_cost(first, second, order, Y)
    if not np.isfinite(total):
        raise InputError("ground: the laws reach places where a quantile function or the map Y is not finite")
    return float(total ** (1.0 / order))


def _quantiles(law: Law, name: str) -> Quantile:
    kinds.check_law(law, name)
    if callable(law):
        tails = 0.5 ** np.arange(1, _HALVINGS + 1)
        return Quantile(np.concatenate([tails[::-1], 1.0 - tails[1:]]), np.zeros(1), np.zeros(1), law)
    pair = isinstance(law, tuple) and len(law) == 2
    x = as_float_array(law[0] if pair else law, name)
    mass = as_float_array(law[1], name) if pair else np.ones(x.shape)
    if x.ndim != 1 or mass.ndim != 1 or x.size - mass.size not in (0, 1) or mass.size == 0:
        raise ShapeError(
            f"{name}: expected n points and n weights, or n + 1 edges and n masses, got the shapes {x.shape} and "
            f"{mass.shape}"
        )
    problems = Problems()
    check_masses(mass, name, problems)
    problems.raise_if_any()
    if not np.isfinite(x).all():
        raise InputError(f"{name}: expected finite positions, got {x[~np.isfinite(x)][0]}")
    if x.size == mass.size:
        return atoms(x, mass)
    if np.any(np.diff(x) <= 0):
        raise InputError(f"{name}: edges of cells must increase")
    held = mass > 0
    return Quantile(shares(mass[held]), x[:-1][held], x[1:][held])


def _checked_map(ground: Callable[[FloatArray], Any]) -> Callable[[FloatArray], FloatArray]:
    def mapped(x: FloatArray) -> FloatArray:
        y = np.asarray(ground(x), dtype=np.float64)
        if y.shape != x.shape:
            raise ShapeError(f"ground: expected a number for each of {x.shape} places, got an array of shape {y.shape}")
        # nodes of a piece come in order, so along them Y must not fall
        if np.any(np.diff(y, axis=-1) < -1e-12 * (1.0 + np.abs(y[..., 1:]))):
            raise InputError("ground: the map Y must increase; at some places it falls")
        return y

    return mapped


@dataclass(frozen=True)
class EntropicTransport:
    """The entropic plan M = diag(y) exp(-C/2 epsilon) diag(z) between two laws.

    Attributes
    ----------
    distance : float
        sqrt(<C, M>), at least the Wasserstein distance of the discrete laws.
    objective : float
        <C, M>/2 + epsilon <M, ln M>, the minimum.
    log_y, log_z : ndarray
        ln of the scalings.
    iterations : int
    defect : float
        Sum of the absolute errors of the first marginal; the second is exact.
    """

    distance: float
    objective: float
    log_y: FloatArray = field(repr=False)
    log_z: FloatArray = field(repr=False)
    iterations: int
    defect: float


def entropic_wasserstein(
    p: Any,
    q: Any,
    *,
    epsilon: float,
    cost: Any = None,
    system: System | None = None,
    grid: Grid | None = None,
    tol: float = 1e-9,
    max_iterations: int = 20_000,
) -> EntropicTransport:
    """Entropic transport between masses on a grid (axis by axis), or between points with a cost matrix.

    The plan minimises <C, M>/2 + epsilon <M, ln M> with marginals p and q.

    Parameters
    ----------
    p, q : array_like
        Masses, of shape grid.shape, or (n,) and (m,) with `cost`; they are divided by their sums.
    epsilon : float
        Strength of the entropic term, in squared distance.
    cost : array_like, shape (n, m), optional
        Squared distances.
    system, grid : System and Grid, optional
        Instead of `cost`: the squared distances of the metric K^-1 between cell centres, from the system's mobility.
    tol : float, default 1e-9
        Sum of the absolute errors of the first marginal.
    max_iterations : int, default 20000

    Raises
    ------
    InputError, ShapeError
        Masses, cost or epsilon that cannot be used.
    MobilityError
        A mobility without a distance in closed form.
    ConvergenceError
        `tol` not reached; the message has the defect.

    References
    ----------
    M. Cuturi, *Sinkhorn distances*, NIPS 26 (2013); G. Peyré & M. Cuturi, *Computational Optimal Transport* (2019),
    section 4.4 for the log domain.
    """
    problems = Problems()
    kinds.check_law(p, "p")
    kinds.check_law(q, "q")
    a, b = as_float_array(p, "p"), as_float_array(q, "q")
    check_masses(a, "p", problems)
    check_masses(b, "q", problems)
    eps = positive_number(epsilon, "epsilon", problems, "It is the strength of the entropic term, in squared distance.")
    tol = positive_number(tol, "tol", problems)
    most = positive_integer(max_iterations, "max_iterations", problems)
    problems.raise_if_any()
    kernel, a, b = _kernel(a, b, eps, cost, system, grid), a / a.sum(), b / b.sum()
    return _described(kernel, a, b, eps, sinkhorn(kernel, a, b, eps, tol, most))


def wasserstein_divergence(p: Any, q: Any, **options: Any) -> float:
    """Entropic distance without its bias: sqrt(2 (OT(p, q) - OT(p, p)/2 - OT(q, q)/2)) for the minima OT.

    Zero for equal laws, unlike the entropic distance, and closer to W_2: its error is of order epsilon^2 for
    smooth laws.

    Parameters
    ----------
    p, q, **options
        As in `entropic_wasserstein`, on the same places.

    References
    ----------
    J. Feydy et al., *Interpolating between optimal transport and MMD using Sinkhorn divergences*, AISTATS (2019).
    """
    across, first, second = (entropic_wasserstein(*pair, **options).objective for pair in ((p, q), (p, p), (q, q)))
    return float(np.sqrt(max(0.0, 2.0 * across - first - second)))


def _kernel(a: FloatArray, b: FloatArray, eps: float, cost: Any, system: Any, grid: Any) -> Kernel:
    if (cost is None) == (system is None or grid is None):
        raise InputError("cost: pass the squared distances, or else system= and grid= whose metric gives them")
    if cost is None:
        for name, masses in (("p", a), ("q", b)):
            if masses.shape != grid.shape:
                raise ShapeError(f"{name}: expected masses of the grid's shape {grid.shape}, got {masses.shape}")
        return find_metric(system, grid).kernel(eps)
    squares = as_float_array(cost, "cost")
    if a.ndim != 1 or b.ndim != 1 or squares.shape != (a.size, b.size):
        raise ShapeError(f"cost: expected squared distances of shape ({a.size}, {b.size}), got {squares.shape}")
    if not np.isfinite(squares).all() or squares.min() < 0:
        raise InputError("cost: expected finite squared distances, zero or positive")
    return DenseKernel(squares, eps)


def _described(kernel: Kernel, a: FloatArray, b: FloatArray, eps: float, found: Scalings) -> EntropicTransport:
    cost = kernel.transport(found.log_y, found.log_z)
    inner = _held(a, found.log_y) + _held(b, found.log_z) - cost / (2.0 * eps)
    return EntropicTransport(
        float(np.sqrt(cost)), cost / 2.0 + eps * inner, found.log_y, found.log_z, found.iterations, found.defect
    )


def _held(mass: FloatArray, values: FloatArray) -> float:
    inside = mass > 0
    return float((mass[inside] * values[inside]).sum())
