"""A Lyapunov function of an ODE on a grid, or the recurrence that forbids one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.flow_map import Flow, closed_orbit, drift_field, equilibria, recurrent_sets
from relaxsim.functionals.grid_fields import Edges
from relaxsim.system.grid import Grid

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_LONG = 400  # crossings of a cell at most, until a point has to be at an equilibrium
_NEAR = 1e-3  # of a cell: the distance to an equilibrium where a path ends


@dataclass(frozen=True, eq=False)
class RecurrentSet:
    """Cells that chains of the flow lead back to.

    Attributes
    ----------
    kind : {"equilibrium", "limit cycle", "closed orbit", "recurrent"}
        "limit cycle": an isolated closed orbit. "closed orbit": one of a family, as around a center. "recurrent":
        neither an equilibrium nor a closed orbit was found there, on this grid.
    cells : ndarray of int, shape (n,)
        Flat indices.
    points : ndarray, shape (n_points, dim)
        The equilibria in these cells, or points along the orbit.
    period : float
        Of an orbit, else nan.
    multiplier : float
        The largest Floquet multiplier beside the trivial one: below 1 the orbit attracts, above it repels. nan for
        others.
    """

    kind: str
    cells: IntArray
    points: FloatArray
    period: float
    multiplier: float

    def __str__(self) -> str:
        where = "(" + ", ".join(f"{v:.3g}" for v in self.points[0]) + ")" if len(self.points) else "unknown"
        if self.kind in ("limit cycle", "closed orbit"):
            return f"{self.kind} of period {self.period:.4g} through {where}, multiplier {self.multiplier:.3g}"
        return f"{self.kind} near {where}, {self.cells.size} cells"


@dataclass(frozen=True, eq=False)
class Lyapunov:
    """What `lyapunov_function` found.

    Attributes
    ----------
    grid : Grid
    exists : bool or None
        True: every path that stays on the grid ends in an equilibrium, and `value` falls along all of them. False: a
        closed orbit was found, on which no function can fall. None: a recurrent set was not resolved.
    value : ndarray, shape grid.shape, or None
        U with dU/dt = -\\|f\\|^2; nan where a path leaves the grid. None unless `exists`.
    basin : ndarray of int, shape grid.shape
        Number of the equilibrium in `sinks` where the path of a cell ends, -1 where it leaves the grid or does not end.
    sinks : ndarray, shape (n_sinks, dim)
    equilibria : ndarray, shape (n, dim)
        All that were found on the grid, also those inside other recurrent sets.
    recurrent : tuple of RecurrentSet
    reason : str
    """

    grid: Grid
    exists: bool | None
    value: FloatArray | None
    basin: IntArray
    sinks: FloatArray
    equilibria: FloatArray
    recurrent: tuple[RecurrentSet, ...]
    reason: str

    @property
    def limit_cycles(self) -> tuple[RecurrentSet, ...]:
        """The limit cycles among the recurrent sets."""
        return tuple(each for each in self.recurrent if each.kind == "limit cycle")

    def __str__(self) -> str:
        verdict = {True: "a Lyapunov function", False: "no strict Lyapunov function", None: "unknown"}[self.exists]
        return f"{verdict}: {self.reason}"


def lyapunov_function(drift: Any, grid: Grid) -> Lyapunov:
    r"""Construct a function that falls along every path of dx/dt = f(x), or report what recurs.

    Parameters
    ----------
    drift : System, text, sequence of texts, or callable
        f; a function ``f(x)`` of the components of x that returns `dim` numbers. Of a System -K grad E, its drift for T
        -> 0.
    grid : Grid
        In one to three dimensions; fine enough that a cell separates what is to be told apart.

    Returns
    -------
    Lyapunov

    Raises
    ------
    InputError, ShapeError
        A drift that is not finite on the grid or does not fit it.

    Notes
    -----
    A strict Lyapunov function exists exactly off the chain-recurrent set (Conley, *Isolated Invariant Sets and the
    Morse Index*, 1978), and that may hold more than equilibria: limit cycles, families of closed orbits, attractors.
    The flow for a short time maps each cell into a set of cells; the strongly connected parts of this graph stand for
    the chain-recurrent set (Kalies, Mischaikow and VanderVorst, Found. Comput. Math. 5 (2005) 409). In each part
    equilibria are searched by Newton's method, and closed orbits by following paths forwards and backwards until they
    return; Floquet multipliers tell isolated orbits from families.

    Where only equilibria recur, :math:`U(x) = \int_0^\infty |f(x(t))|^2 dt` along the path from x has :math:`dU/dt =
    -|f|^2`. A constant for each basin makes U fit across the separatrices as well as possible; for f = -grad E it is E
    up to a constant. With g = grad U, :math:`f = -K g` for the positive :math:`K = (|f|^2 I - f g^T + g f^T)/|g|^2`.
    """
    if not isinstance(grid, Grid):
        raise InputError(f"grid: expected a Grid, got {type(grid).__name__}; write Grid(domain, shape, bounds=...)")
    if grid.dim > 3:
        raise InputError(f"grid: expected up to three dimensions, got {grid.dim}")
    f = drift_field(drift, grid)
    _check(f, grid)
    found = equilibria(f, grid)
    flow = Flow(f, grid, found)
    recurrent = _joined([_classify(flow, cells, found) for cells in recurrent_sets(flow)], grid)
    orbits = [each for each in recurrent if each.kind in ("limit cycle", "closed orbit")]
    unknown = [each for each in recurrent if each.kind == "recurrent"]
    value, basin, unresolved = _integrate(flow, found)
    used = np.unique(basin[basin >= 0])
    sinks = found[used]
    basin = np.where(basin >= 0, np.searchsorted(used, basin), -1)
    exists: bool | None = True
    if orbits:
        exists, reason = False, "; ".join(map(str, orbits))
    elif unknown:
        exists, reason = None, f"{'; '.join(map(str, unknown))}: use a finer grid"
    elif unresolved:
        exists, reason = (
            None,
            f"from {unresolved} cells the paths neither end in an equilibrium nor leave the grid in time",
        )
    else:
        left = float(np.mean(basin < 0))
        reason = f"paths end in {len(sinks)} equilibria" + (
            f"; from {left:.1%} of the cells they leave the grid" if left else ""
        )
    return Lyapunov(
        grid,
        exists,
        _fitted(value, basin, grid) if exists else None,
        basin.reshape(grid.shape),
        sinks,
        found,
        recurrent,
        reason,
    )


def mobility_of(drift: FloatArray, gradient: FloatArray) -> FloatArray:
    """A positive K with drift = -K gradient, where the drift descends: shape (..., dim, dim), nan elsewhere.

    Parameters
    ----------
    drift, gradient : ndarray, shape (..., dim)

    Notes
    -----
    K = [(-f.g) I - f g^T + g f^T]/\\|g\\|^2: a multiple of the identity and an antisymmetric part.
    """
    if drift.shape != gradient.shape:
        raise ShapeError(f"gradient: expected the shape of the drift, {drift.shape}, got {gradient.shape}")
    size = np.sum(gradient**2, axis=-1)
    descent = -np.sum(drift * gradient, axis=-1)
    turn = gradient[..., :, None] * drift[..., None, :] - drift[..., :, None] * gradient[..., None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        K = (descent[..., None, None] * np.eye(drift.shape[-1]) + turn) / size[..., None, None]
    return np.where((descent > 0)[..., None, None], K, np.nan)


def _check(f: Callable[[FloatArray], FloatArray], grid: Grid) -> None:
    values = f(grid.points)
    bad = ~np.isfinite(values).all(axis=-1)
    if bad.any():
        raise InputError(
            f"drift: is {values[bad][0].tolist()} at {grid.points[bad][0].tolist()}; shrink the grid's box"
        )


def _classify(flow: Flow, cells: IntArray, found: FloatArray) -> RecurrentSet:
    nan = float("nan")
    centres = flow.grid.points[cells]
    here = np.array([np.abs((centres - e) / flow.grid.spacing).max(axis=-1).min() <= 1.0 for e in found], dtype=bool)
    for orbit in (closed_orbit(flow, cells, sign) for sign in (1.0, -1.0)):
        if orbit is not None:
            points, period, multiplier, isolated = orbit
            return RecurrentSet("limit cycle" if isolated else "closed orbit", cells, points, period, multiplier)
    if here.any():
        return RecurrentSet("equilibrium", cells, found[here], nan, nan)
    return RecurrentSet("recurrent", cells, flow.grid.points[cells[:1]], nan, nan)


def _joined(sets: list[RecurrentSet], grid: Grid) -> tuple[RecurrentSet, ...]:
    """Pieces of one orbit as one set."""
    kept: list[RecurrentSet] = []
    for each in sets:
        for k, other in enumerate(kept):
            orbits = each.kind == other.kind and each.kind in ("limit cycle", "closed orbit")
            if orbits and abs(each.period - other.period) < 1e-3 * other.period:
                away = np.abs((other.points - each.points[0]) / grid.spacing).max(axis=-1).min()
                if away < 1.0:
                    cells = np.concatenate([other.cells, each.cells])
                    kept[k] = RecurrentSet(other.kind, cells, other.points, other.period, other.multiplier)
                    break
        else:
            kept.append(each)
    return tuple(kept)


def _integrate(flow: Flow, found: FloatArray) -> tuple[FloatArray, IntArray, int]:
    """Integrals of |f|^2 along the paths from the cell centres, the equilibria they end at, and how many do not end."""
    x = flow.grid.points.copy()
    value, basin = np.zeros(len(x)), np.full(len(x), -1)
    if not len(found):
        return np.full(len(x), np.nan), basin, 0
    running = np.arange(len(x))
    for _ in range(_LONG):
        x[running], gain = flow.advance(x[running], 1.0)
        value[running] += gain
        inside = flow.inside(x[running])
        away = np.linalg.norm((x[running][:, None] - found[None]) / flow.grid.spacing, axis=-1)
        nearest = away.argmin(axis=1)
        arrived = inside & (away.min(axis=1) < _NEAR)
        basin[running[arrived]] = nearest[arrived]
        running = running[inside & ~arrived]
        if not running.size:
            break
    value[basin < 0] = np.nan
    return value, basin, int(running.size)


def _fitted(value: FloatArray, basin: IntArray, grid: Grid) -> FloatArray:
    """The integrals, with a constant for each basin that makes jumps between basins small; lowest value 0."""
    values, basins = value.reshape(grid.shape), basin.reshape(grid.shape)
    count = int(basin.max()) + 1
    if count < 1:
        return values
    edges = Edges(grid, basins >= 0)
    one, other = basins.ravel()[edges.start], basins.ravel()[edges.end]
    border = one != other
    rows = np.eye(count)[one[border]] - np.eye(count)[other[border]]
    jump = values.ravel()[edges.end[border]] - values.ravel()[edges.start[border]]
    constants = np.linalg.lstsq(rows, jump, rcond=None)[0] if border.any() else np.zeros(count)
    fitted = np.where(basins >= 0, values + constants[np.maximum(basins, 0)], np.nan)
    return np.asarray(fitted - np.nanmin(fitted))
