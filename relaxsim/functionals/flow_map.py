"""The flow of an ODE over a grid: steps that cross about one cell, equilibria, recurrent cells and closed orbits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import ShapeError
from relaxsim.functionals.drift_field import function_field
from relaxsim.system.grid import Grid
from relaxsim.system.system import System

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Drift = Callable[[FloatArray], FloatArray]

_SUBSTEPS = 4  # Runge-Kutta steps to cross one cell
_CROSSED = 3.0  # cells that the map of a cell takes it along
_SAMPLES = {1: 9, 2: 5, 3: 3}  # points along each axis of a cell whose images stand for its image
_SLOW = 1e-3  # of the median speed, in cells per time: below, steps have a fixed length in time
_SETTLING = 0.5  # of the fastest rate at an equilibrium: speed in cells below which steps are of fixed length in time
_NEWTON = 50
_TURNS = 20_000  # steps at most to follow a closed orbit
_WARM = 3000  # steps that let a path settle on it
_RETURNED = 1e-2  # of a cell: a path that comes back so close is closed
_ISOLATED = 1e-2  # distance of a Floquet multiplier from 1 that tells an isolated orbit from one of a family


def drift_field(drift: Any, grid: Grid) -> Drift:
    """f at points (..., dim); of a System -K grad E."""
    if isinstance(drift, System):
        system = drift
        if system.dim != grid.dim:
            raise ShapeError(f"grid: has {grid.dim} dimensions, the system {system.dim}")
        return lambda x: -np.einsum("...ab,...b->...a", system.mobility(x), system.gradient(x))
    field = function_field(drift, "drift", grid)
    if field.shape not in ((grid.dim,), () if grid.dim == 1 else (grid.dim,)):
        raise ShapeError(f"drift: expected {grid.dim} numbers, one a coordinate, got the shape {field.shape}")
    return lambda x: field(x) if field.shape else field(x)[..., None]


class Flow:
    """Runge-Kutta steps of dx/ds = f/(|f| + slow), whose paths are those of f at a speed of about one cell a step.

    Near equilibria, `found`, the steps are no longer than the fastest decay there allows.
    """

    def __init__(self, f: Drift, grid: Grid, found: FloatArray) -> None:
        self.f, self.grid = f, grid
        self.still = _SLOW * float(np.median(self.speed(f(grid.points)))) or 1e-300
        rates = np.linalg.norm(jacobian(f, found, grid), axis=(-2, -1)) if len(found) else np.zeros(1)
        self.slow = max(self.still, _SETTLING * float(rates.max()))

    def speed(self, velocity: FloatArray) -> FloatArray:
        """Cells per unit of time."""
        return np.asarray(np.linalg.norm(velocity / self.grid.spacing, axis=-1))

    def advance(self, x: FloatArray, cells: float, sign: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Go along the paths by about so many cells; the points and the integrals of |f|^2 dt."""
        total = np.zeros(len(x))
        for _ in range(max(1, round(_SUBSTEPS * abs(cells)))):
            x, gain, _ = self.step(x, sign)
            total += gain
        return x, total

    def step(self, x: FloatArray, sign: float = 1.0) -> tuple[FloatArray, FloatArray, FloatArray]:
        """One Runge-Kutta step: points, integral of |f|^2 dt and time passed."""
        h = 1.0 / _SUBSTEPS

        def rates(at: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
            velocity = self.f(at)
            clock = 1.0 / (self.speed(velocity) + self.slow)
            return sign * velocity * clock[:, None], np.sum(velocity**2, axis=-1) * clock, clock

        with np.errstate(all="ignore"):
            a = rates(x)
            b = rates(x + h / 2 * a[0])
            c = rates(x + h / 2 * b[0])
            d = rates(x + h * c[0])
            moved, gain, time = ((p + 2 * q + 2 * r + s) * (h / 6) for p, q, r, s in zip(a, b, c, d, strict=True))
        return x + moved, gain, time

    def inside(self, x: FloatArray) -> BoolArray:
        """Whether points lie on the grid."""
        low, high = self.grid.bounds.T
        with np.errstate(invalid="ignore"):
            return np.asarray(np.all((x >= low) & (x <= high) | np.array(self.grid.periodic), axis=-1))

    def cell_of(self, x: FloatArray) -> IntArray:
        """Flat indices of the cells of points, -1 outside."""
        with np.errstate(invalid="ignore"):
            place = np.floor((self.grid.domain.wrap(x) - self.grid.bounds[:, 0]) / self.grid.spacing)
        seen = np.isfinite(place).all(axis=-1) & np.all((place >= 0) & (place < np.array(self.grid.shape)), axis=-1)
        index = np.where(seen[:, None], place, 0).astype(np.int64)
        return np.where(seen, np.ravel_multi_index(tuple(index.T), self.grid.shape), -1)


def jacobian(f: Drift, x: FloatArray, grid: Grid) -> FloatArray:
    """d_b f_a at points (n, dim) by central differences, shape (n, dim, dim)."""
    steps = np.diag(1e-4 * grid.spacing)
    return np.stack([(f(x + e) - f(x - e)) / (2 * e.sum()) for e in steps], axis=-1)


def equilibria(f: Drift, grid: Grid) -> FloatArray:
    """Zeros of f on the grid by Newton's method from its cells, shape (n, dim)."""
    x = grid.points.copy()
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON):
            value = f(x)
            J = jacobian(f, x, grid)
            J = J + 1e-12 * np.eye(grid.dim) * np.abs(J).max(axis=(-2, -1), keepdims=True)
            good = np.isfinite(J).all(axis=(-2, -1)) & (np.abs(np.linalg.det(np.nan_to_num(J))) > 0)
            move = np.zeros_like(x)
            move[good] = np.linalg.solve(J[good], value[good][..., None])[..., 0]
            length = np.linalg.norm(move / grid.spacing, axis=-1, keepdims=True)
            x = x - move / np.maximum(1.0, length)
        size = np.abs(f(x)).max(axis=-1)
    scale = float(np.median(np.abs(f(grid.points))))
    low, high = grid.bounds.T
    kept = x[(size < 1e-9 * max(scale, 1e-300)) & np.all((x >= low) & (x <= high), axis=-1)]
    found: list[FloatArray] = []
    for point in np.where(np.abs(kept) < 1e-9 * grid.spacing, 0.0, kept):
        if all(np.linalg.norm((point - other) / grid.spacing) > 1e-2 for other in found):
            found.append(point)
    return np.array(found).reshape(-1, grid.dim)


def recurrent_sets(flow: Flow) -> list[IntArray]:
    """The parts of the grid that the flow, seen cell by cell, leads back into themselves, largest first."""
    from scipy import ndimage
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    grid = flow.grid
    rows: list[IntArray] = []
    columns: list[IntArray] = []
    samples = np.linspace(-0.5, 0.5, _SAMPLES[grid.dim])
    for place in itertools.product(samples, repeat=grid.dim):
        image = flow.cell_of(flow.advance(grid.points + np.array(place) * grid.spacing, _CROSSED)[0])
        used = image >= 0
        rows.append(np.flatnonzero(used))
        columns.append(image[used])
    start, end = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(start.size), (start, end)), shape=(grid.n_cells, grid.n_cells)).tocsr()
    _, label = connected_components(graph, connection="strong")
    sizes = np.bincount(label)
    own = np.bincount(label[start[start == end]], minlength=sizes.size) > 0
    recurs = ((sizes > 1) | own)[label].reshape(grid.shape)
    touching, count = ndimage.label(recurs, structure=np.ones((3,) * grid.dim))  # the corners of cells belong to all
    parts = [np.flatnonzero(touching.ravel() == k) for k in range(1, count + 1)]
    return sorted(parts, key=len, reverse=True)


def closed_orbit(flow: Flow, cells: IntArray, sign: float) -> tuple[FloatArray, float, float, bool] | None:
    """A closed orbit that a path from the middle of a recurrent set settles on, forwards or backwards in time.

    Returns points along it, its period, its largest Floquet multiplier beside the trivial one (forwards in time), and
    whether it is isolated; None if the path ends in an equilibrium, leaves the grid, or does not return.
    """
    if cells.size < 4:
        return None
    x = flow.grid.points[cells[[cells.size // 2]]]
    for _ in range(_WARM):
        x, _, _ = flow.step(x, sign)
    if not flow.inside(x)[0] or flow.speed(flow.f(x))[0] < 10 * flow.still:
        return None
    around = _turn(flow, x[0], sign)
    if around is None:
        return None
    points, period = around
    scale = flow.grid.spacing
    base, tangent = points[0], flow.f(points[:1])[0] / scale
    tangent = tangent / np.linalg.norm(tangent)
    basis = np.linalg.svd(tangent[None])[2][1:]  # normal directions, in cells
    columns = []
    for normal in basis:
        moved = _turn(flow, base + 1e-3 * normal * scale, sign, plane=(base, tangent))
        if moved is None:
            return None
        columns.append(basis @ ((moved[0][-1] - points[-1]) / scale) / 1e-3)
    multipliers = np.linalg.eigvals(np.array(columns).T)
    largest = float(np.abs(multipliers).max() if sign > 0 else 1 / max(np.abs(multipliers).min(), 1e-300))
    isolated = bool(np.all(np.abs(multipliers - 1) > _ISOLATED))
    return points, period, largest, isolated


def _turn(
    flow: Flow, start: FloatArray, sign: float, plane: tuple[FloatArray, FloatArray] | None = None
) -> tuple[FloatArray, float] | None:
    """Follow a path until it crosses the plane through its start again, close to it; the points and the time."""
    scale = flow.grid.spacing
    if plane is None:
        tangent = flow.f(start[None])[0] / scale
        plane = start, tangent / np.linalg.norm(tangent)
    base, normal = plane
    x, clock, points = start[None], 0.0, [start]
    height = sign * float(((start - base) / scale) @ normal)
    for k in range(_TURNS):
        before, height_before = x, height
        x, _, time = flow.step(x, sign)
        if not flow.inside(x)[0]:
            return None
        height = sign * float(((x[0] - base) / scale) @ normal)
        if k > 2 * _SUBSTEPS and height_before < 0 <= height:
            here, fraction = _crossing(flow, before, sign, base, normal)
            if np.linalg.norm((here - start) / scale) < max(_RETURNED, 0.5 if plane[0] is not start else 0.0):
                return np.array([*points, here]), clock + fraction
        points.append(x[0])
        clock += float(time[0])
    return None


def _crossing(flow: Flow, x: FloatArray, sign: float, base: FloatArray, normal: FloatArray) -> tuple[FloatArray, float]:
    """The point of the next step that lies on a plane, by Newton's method in time with Runge-Kutta steps."""
    y, passed = x, 0.0
    for _ in range(6):
        velocity = sign * flow.f(y)
        height = float(((y[0] - base) / flow.grid.spacing) @ normal) * sign
        rate = float((velocity[0] / flow.grid.spacing) @ normal) * sign
        if rate == 0:
            break
        dt = -height / rate
        a = velocity
        b = sign * flow.f(y + dt / 2 * a)
        c = sign * flow.f(y + dt / 2 * b)
        d = sign * flow.f(y + dt * c)
        y, passed = y + dt / 6 * (a + 2 * b + 2 * c + d), passed + dt
    return y[0], passed
