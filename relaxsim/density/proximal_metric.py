"""The distance that belongs to a mobility, and its kernel on a grid.

A relaxation with mobility K is steepest descent of the free energy in the Wasserstein distance of the metric K^-1. For
K = diag(K_1(x_1), ..., K_d(x_d)) the geodesic distance is that of the coordinates Y_a, the integrals of dx_a/sqrt(K_a);
for a constant matrix it is (x - y)^T K^-1 (x - y). Other mobilities have no distance in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.proximal_kernel import DenseKernel, Kernel, SeparableKernel, ToeplitzKernel
from relaxsim.errors import InputError, MobilityError, ShapeError
from relaxsim.system.validate import FloatArray, as_float_array, nearest

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

_NAMES = ("auto", "euclidean", "geodesic")
_NODES = 16  # Gauss-Legendre nodes between two places on an axis
_SAME = 1e-9  # relative difference at which a metric is that of the mobility
_MOSTLY = 0.95  # of the mass, for which cells have to be near enough
_LONGEST = 6000  # cells along an axis: its matrices take a gigabyte
_DENSE = 4096  # cells up to which a kernel without structure is served


@dataclass(frozen=True, eq=False)
class Metric:
    """A distance on the cells of a grid.

    Attributes
    ----------
    name : str
        "euclidean", "geodesic" or "matrix".
    places : tuple of ndarray, or None
        Geodesic coordinates Y_a of the cell centres of each axis; None for a full matrix.
    lengths : tuple of float
        Length of each axis where it is periodic, in Y if there is one, else inf.
    matrix : ndarray, shape (dim, dim), or None
        Metric K^-1 if it is constant and full.
    log_speed : ndarray, broadcast to grid.shape, or float
        Half of ln det K at the cell centres, which is -ln of dY/dx.
    """

    name: str
    grid: Grid
    places: tuple[FloatArray, ...] | None
    lengths: tuple[float, ...]
    matrix: FloatArray | None
    log_speed: Any

    def kernel(self, epsilon: float) -> Kernel:
        """exp(-C/2 epsilon) between the cell centres, C the squared distances."""
        if self.places is not None:
            longest = max(y.size for y in self.places)
            if longest > _LONGEST:
                raise InputError(
                    f"grid: the recursion takes a matrix of n^2 entries for an axis of n cells, n at most {_LONGEST}; "
                    f"got {longest}. Use fewer cells, or evolve()"
                )
            costs = [squares(y, length) for y, length in zip(self.places, self.lengths, strict=True)]
            if len(costs) == 1:
                return DenseKernel(costs[0], epsilon)
            return SeparableKernel(costs, epsilon)
        assert self.matrix is not None
        if self.grid.dim == 2:
            between = partial(wrapped_squares, matrix=self.matrix, lengths=self.lengths)
            return ToeplitzKernel(self.grid.centers, between, epsilon, bool(self.grid.periodic[0]))
        cost = pair_squares(self.grid.points, self.matrix, self.lengths)
        return DenseKernel(cost, epsilon, self.grid.shape, self.grid.shape)

    def spacing(self, masses: FloatArray) -> float:
        """Distance of neighbouring cell centres, on the axis where it is largest.

        Along an axis it varies with the mobility; all but a twentieth of `masses` has its neighbours nearer than that.
        """
        if self.places is not None:
            widest = []
            for axis, y in enumerate(self.places):
                along = masses.sum(axis=tuple(a for a in range(masses.ndim) if a != axis))
                gaps = np.diff(y)
                apart = np.maximum(np.append(gaps, gaps[-1]), np.append(gaps[0], gaps))
                order = np.argsort(apart)
                beyond = np.searchsorted(np.cumsum(along[order]), _MOSTLY * along.sum())
                widest.append(float(apart[order[min(int(beyond), y.size - 1)]]))
            return max(widest)
        assert self.matrix is not None
        return float(np.max(np.sqrt(np.diag(self.matrix)) * self.grid.spacing))


def squares(y: FloatArray, length: float = np.inf) -> FloatArray:
    """Squared distances of places on a line, or on a circle of that length, shape (n, n)."""
    distance = np.abs(y[:, None] - y)
    return np.asarray(np.minimum(distance, length - distance) ** 2)


def wrapped_squares(difference: FloatArray, matrix: FloatArray, lengths: Sequence[float]) -> FloatArray:
    """x^T G x for differences x of shape (..., dim), the least over their images on periodic axes."""
    x = np.array(difference, dtype=np.float64)
    wraps = [axis for axis, length in enumerate(lengths) if np.isfinite(length)]
    for axis in wraps:
        x[..., axis] -= lengths[axis] * np.round(x[..., axis] / lengths[axis])
    least = np.asarray(((x @ matrix) * x).sum(axis=-1))
    if not wraps:
        return least
    # x^T G x <= C keeps |x_a| below sqrt(C (G^-1)_aa): images further off are no nearer
    furthest = np.sqrt(least.max() * np.diag(np.linalg.inv(matrix)))
    turns = [int(furthest[axis] / lengths[axis] + 0.5) for axis in wraps]
    for turn in product(*(range(-most, most + 1) for most in turns)):
        moved = x.copy()
        moved[..., wraps] += np.array(turn) * np.asarray(lengths)[wraps]
        np.minimum(least, ((moved @ matrix) * moved).sum(axis=-1), out=least)
    return least


def pair_squares(points: FloatArray, matrix: FloatArray, lengths: Sequence[float]) -> FloatArray:
    """Squared distances of all pairs of points, shape (n, n), row by row."""
    return np.stack([wrapped_squares(points - x, matrix, lengths) for x in points])


def find_metric(system: System, grid: Grid, metric: Any = "auto") -> Metric:
    """The metric of a system's mobility on a grid.

    Parameters
    ----------
    metric : {"auto", "euclidean", "geodesic"} or array_like, shape (dim, dim)
        What is expected: "euclidean" wants mobility 1, "geodesic" diag(K_1(x_1), ...), a matrix the constant inverse
        of the mobility.

    Raises
    ------
    InputError, ShapeError
        No such metric, or not the one of the system's mobility.
    MobilityError
        A mobility without a distance in closed form, or with an antisymmetric part.
    """
    _check_mobility(system)
    given = _named(metric) if isinstance(metric, str) else _given_matrix(metric, grid.dim)
    if system.mobility.is_constant:
        K = np.asarray(system.mobility.symmetric(grid.points[:1], 0.0)).reshape(grid.dim, grid.dim)
        _compare(given, K)
        if not np.any(K - np.diag(np.diag(K))):
            return _stretched(grid, np.diag(K), given if isinstance(given, str) and given != "auto" else None)
        return _full(grid, K)
    if isinstance(given, str) and given in ("auto", "geodesic"):
        reason = system.mobility.why_not_separate(grid.dim)
        if reason is not None:
            raise MobilityError(
                f"metric: the system has no geodesic distance in closed form, since {reason}; the proximal recursion "
                "takes diag(K_1(x_1), ..., K_d(x_d)) or a constant matrix. Use evolve()"
            )
        return _geodesic(system, grid)
    raise InputError(
        f"metric: {'a constant matrix' if not isinstance(given, str) else repr(given)} is not the metric of the "
        "system's mobility, which depends on x; write metric='geodesic', or replace the mobility"
    )


def _check_mobility(system: System) -> None:
    mobility = system.mobility
    if not mobility.reversible:
        raise MobilityError(
            "metric: the mobility has an antisymmetric part, and its relaxation is no steepest descent; leave that "
            "part out, or use evolve()"
        )
    if mobility.depends_on_density:
        raise MobilityError("metric: the mobility depends on the density and gives no distance; use evolve()")


def _named(metric: str) -> str:
    if metric not in _NAMES:
        known = ", ".join(map(repr, _NAMES))
        raise InputError(f"metric: expected {known} or a matrix, got {metric!r}{nearest(metric, _NAMES)}")
    return metric


def _given_matrix(metric: Any, dim: int) -> FloatArray:
    matrix = as_float_array(metric, "metric")
    if matrix.shape != (dim, dim):
        raise ShapeError(f"metric: expected a matrix of shape ({dim}, {dim}), got {matrix.shape}")
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0.0):
        raise InputError(f"metric: expected a finite symmetric matrix, got {matrix.tolist()}")
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    if not lowest > 0:
        raise InputError(f"metric: expected a positive definite matrix; its smallest eigenvalue is {lowest:g}")
    return matrix


def _compare(given: str | FloatArray, K: FloatArray) -> None:
    """What was asked for is the inverse of K: with another metric the recursion follows another system."""
    inverse = np.linalg.inv(K)
    wanted = np.eye(len(K)) if isinstance(given, str) and given == "euclidean" else given
    if isinstance(wanted, str):
        if wanted == "geodesic" and np.any(K - np.diag(np.diag(K))):
            raise InputError(
                "metric: 'geodesic' serves diag(K_1(x_1), ...), and the mobility is a full constant matrix; pass its "
                f"inverse, metric={inverse.tolist()}, or leave metric out"
            )
        return
    if not np.abs(wanted - inverse).max() <= _SAME * np.abs(inverse).max():
        raise InputError(
            f"metric: {given if isinstance(given, str) else given.tolist()} is not the metric of the system, whose "
            f"mobility has the inverse {inverse.tolist()}; the recursion would follow another mobility. Leave metric "
            "out, or use system.replace(mobility=...)"
        )


def _stretched(grid: Grid, K: FloatArray, name: str | None) -> Metric:
    roots = np.sqrt(K)
    places = tuple(centers / root for centers, root in zip(grid.centers, roots, strict=True))
    lengths = lengths_of(grid.bounds / roots[:, None], grid.periodic)
    return Metric(name or ("euclidean" if np.all(K == 1) else "geodesic"), grid, places, lengths, None, 0.0)


def _full(grid: Grid, K: FloatArray) -> Metric:
    if grid.dim > 2 and grid.n_cells > _DENSE:
        raise InputError(
            f"metric: a full matrix in {grid.dim} dimensions takes a kernel of n_cells^2 entries, for at most {_DENSE} "
            f"cells; got {grid.n_cells}. Use fewer cells, a diagonal mobility, or evolve()"
        )
    inverse = np.linalg.inv(K)
    return Metric("matrix", grid, None, lengths_of(grid.bounds, grid.periodic), (inverse + inverse.T) / 2, 0.0)


def lengths_of(bounds: FloatArray, periodic: Sequence[Any]) -> tuple[float, ...]:
    """Length of each periodic axis; inf of others."""
    return tuple(float(b - a) if wraps else np.inf for (a, b), wraps in zip(bounds, periodic, strict=True))


def _geodesic(system: System, grid: Grid) -> Metric:
    places, lengths, log_speed = [], [], np.zeros((1,) * grid.dim)
    for axis in range(grid.dim):
        centers, (low, high) = grid.centers[axis], grid.bounds[axis]
        speed = _speed(system, grid, axis)
        ends = np.append(centers, centers[0] + (high - low)) if grid.periodic[axis] else centers
        y = coordinates(speed, ends, (low, high) if grid.periodic[axis] else None)
        places.append(y[: centers.size])
        lengths.append(float(y[-1]) if grid.periodic[axis] else np.inf)
        shape = np.ones(grid.dim, dtype=int)
        shape[axis] = centers.size
        log_speed = log_speed + np.log(speed(centers)).reshape(shape)
    return Metric("geodesic", grid, tuple(places), tuple(lengths), None, log_speed)


def _speed(system: System, grid: Grid, axis: int) -> Any:
    """sqrt(K_a) as a function of x_a."""

    def speed(x: FloatArray) -> FloatArray:
        points = np.tile(grid.points[grid.n_cells // 2], (x.size, 1))
        points[:, axis] = x.ravel()
        values = np.asarray(system.mobility.diagonal_of(points, 0.0))[:, axis].reshape(x.shape)
        if not (np.isfinite(values) & (values > 0)).all():
            raise MobilityError(f"metric: the mobility of axis {axis} is not positive between the cell centres")
        return np.asarray(np.sqrt(values))

    return speed


def coordinates(speed: Any, x: FloatArray, period: tuple[float, float] | None = None) -> FloatArray:
    """Y(x_i) - Y(x_0), the integrals of dx/speed(x) from one place to the next, added up."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    middles, widths = (x[1:] + x[:-1]) / 2, np.diff(x)
    points = middles[:, None] + widths[:, None] / 2 * nodes
    if period is not None:
        points = period[0] + np.mod(points - period[0], period[1] - period[0])
    pieces = (1.0 / speed(points)) @ weights * widths / 2
    return np.concatenate([[0.0], np.cumsum(pieces)])
