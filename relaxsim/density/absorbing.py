"""Walls that absorb: the rates at which cells lose what they hold.

At an absorbing wall p = 0. A jump that would cross it ends there: along its offset v, at the fraction s of its length,
it meets the value zero, and its rate is that of a whole jump over s, exponentially fitted to the energy between the
cell's centre and the wall. So f = p/q keeps its two-point flux up to the wall, for wide offsets as for neighbours.
K along the normal is that at the wall, so that nothing leaves where it vanishes there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.links import way_is_free
from relaxsim.density.rates import bernoulli
from relaxsim.density.stencil import IntArray, selling
from relaxsim.errors import MobilityError
from relaxsim.system.field import format_point
from relaxsim.system.relative_entropy import checked_energy, log_cell_weights
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System


_ROUNDING = 1e-12  # K at a wall over that in the cell, below which it is zero
_NEAR = 1e-6  # of the way from a wall to the cell centre: where the power is found with which K vanishes
_REACHED = 0.1  # one minus that power, below which nothing gets to the wall


@dataclass(frozen=True, eq=False)
class Exit:
    """What leaves through one wall.

    Attributes
    ----------
    axis : int
        Normal of the wall.
    side : {-1, 1}
        Its low or its high end.
    rate : ndarray, shape (n_cells,)
        At which each cell loses its mass through this wall; zero but for the layers next to it.
    reach : ndarray, shape (n_cells,)
        The same times the cells that the jump would have gone along the normal.
    """

    axis: int
    side: int
    rate: FloatArray
    reach: FloatArray


def exit_rates(system: System, grid: Grid, t: float = 0.0) -> FloatArray:
    """Rates (n_cells,) at which the cells lose mass through all absorbing walls; zero where there are none."""
    return np.asarray(np.sum([np.zeros(grid.n_cells), *(each.rate for each in exits(system, grid, t))], axis=0))


def without_exits(generator: Any, rates: FloatArray) -> Any:
    """A generator that loses mass at given rates (n_cells,): its columns sum to minus them."""
    from scipy import sparse

    return (generator - sparse.diags_array(rates)).tocsr()


def exits(system: System, grid: Grid, t: float = 0.0) -> list[Exit]:
    """The exits through each absorbing wall of the domain that the grid reaches.

    Parameters
    ----------
    system : System
        Its domain says which walls absorb.
    grid : Grid
        The cells; a wall that they do not reach is out of play.
    t : float, default 0
        Time at which energy, mobility and temperature are taken.
    """
    walls = {}
    for axis, ends in enumerate(system.domain.absorbing):
        own = (system.domain.lower[axis], system.domain.upper[axis])
        for side, end in ((-1, 0), (1, 1)):
            if ends[end] and grid.bounds[axis, end] == own[end]:
                none = np.zeros(grid.n_cells)
                walls[axis, side] = Exit(axis, side, none, none.copy())
    if not walls:
        return []
    alive = None
    if system.mobility.structure == "tensor" and grid.dim > 1:  # whose jumps may pass over other cells
        alive = np.isfinite(log_cell_weights(system, grid, t)[0]).ravel()
    for cells, weights, offsets in _offsets(system, grid, t):
        for sign in (-1, 1):
            ahead = slice(None) if alive is None or alive.all() else _free(grid, alive, cells, sign * offsets)
            _leave(system, grid, t, walls, cells[ahead], weights[ahead], sign * offsets[ahead])
    return list(walls.values())


def _offsets(system: System, grid: Grid, t: float) -> Iterator[tuple[IntArray, FloatArray, IntArray]]:
    """Cells, and the weight T lambda_v and the offset v of a jump from each of them."""
    temperature, cells = value_at(system.temperature, t), np.arange(grid.n_cells)
    points = grid.points
    if system.mobility.structure != "tensor":
        entries = np.broadcast_to(system.mobility.diagonal_of(points, t), points.shape)
        for axis in range(grid.dim):
            offset = np.zeros((grid.n_cells, grid.dim), dtype=np.int64)
            offset[:, axis] = 1
            yield cells, temperature * entries[:, axis] / grid.spacing[axis] ** 2, offset
        return
    tensors = np.broadcast_to(system.mobility.symmetric(points, t), (grid.n_cells, grid.dim, grid.dim))
    weights, offsets = selling(tensors / np.outer(grid.spacing, grid.spacing))
    for k in range(weights.shape[1]):
        used = weights[:, k] > 0
        yield cells[used], temperature * weights[used, k], offsets[used, k]


def _free(grid: Grid, alive: NDArray[np.bool_], cells: IntArray, offsets: IntArray) -> NDArray[np.bool_]:
    """Whether jumps pass over cells that can hold mass only, shape (n,)."""
    places, found = np.unravel_index(cells, grid.shape), np.zeros(len(cells), dtype=np.bool_)
    steps, which = np.unique(offsets, axis=0, return_inverse=True)
    for k, step in enumerate(steps):
        used = np.flatnonzero(which.ravel() == k)
        found[used] = way_is_free(grid, alive, [place[used] for place in places], step)
    return found


def _leave(
    system: System,
    grid: Grid,
    t: float,
    walls: dict[tuple[int, int], Exit],
    cells: IntArray,
    weights: FloatArray,
    offsets: IntArray,
) -> None:
    """Add the jumps that meet an absorbing wall before any other to the exits of that wall."""
    index = np.stack(np.unravel_index(cells, grid.shape), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(offsets > 0, np.array(grid.shape) - index - 0.5, index + 0.5) / np.abs(offsets)
    room[:, list(grid.periodic)] = np.inf  # those axes have no wall
    first = np.argmin(room, axis=1)
    share = room[np.arange(len(cells)), first]
    for (axis, side), wall in walls.items():
        crosses = (share < 1) & (first == axis) & (np.sign(offsets[:, axis]) == side)
        if not crosses.any():
            continue
        at, part, jump = cells[crosses], share[crosses], offsets[crosses]
        centers = grid.points[at]
        there = system.domain.wrap(centers + part[:, None] * jump * grid.spacing)
        there[:, axis] = grid.bounds[axis, 0 if side < 0 else 1]
        inside, outside = (checked_energy(system, x, t) for x in (centers, there))
        open_ = np.isfinite(inside) & np.isfinite(outside)
        speed = weights[crosses] * _at_wall(system, axis, centers, there, t)
        climb = np.where(open_, outside, 0.0) - np.where(open_, inside, 0.0)
        rate = np.where(open_, speed / part * bernoulli(climb / value_at(system.temperature, t)), 0.0)
        np.add.at(wall.rate, at, rate)
        np.add.at(wall.reach, at, rate * np.abs(jump[:, axis]))


def _at_wall(system: System, axis: int, centers: FloatArray, there: FloatArray, t: float) -> FloatArray:
    """K along the normal at points of a wall over that at the cell centres, shape (n,).

    Where K vanishes at the wall like a power below one of the distance the wall can still be reached, and the integral
    of 1/K up to there has one minus that power in place of the ratio.
    """
    if system.mobility.symmetric_is_constant:
        return np.ones(len(centers))
    inside, near, wall = (_across(system, axis, x, t) for x in (centers, there + _NEAR * (centers - there), there))
    bad = ~(wall >= -_ROUNDING * inside) | np.isinf(wall)
    if bad.any():
        raise MobilityError(
            f"system: K[{axis}, {axis}] = {wall[bad][0]:g} at {format_point(there[bad][0])} on an absorbing wall, "
            "expected a finite number >= 0; mend the mobility there or shrink the domain"
        )
    vanishes = wall <= _ROUNDING * inside
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = 1.0 - np.log(near / inside) / np.log(_NEAR)
    return np.where(vanishes, np.where(reached > _REACHED, reached, 0.0), wall / inside)


def _across(system: System, axis: int, points: FloatArray, t: float) -> FloatArray:
    """K along the normal of a wall at points (n, dim), shape (n,)."""
    mobility: Any = system.mobility
    with np.errstate(all="ignore"):
        if mobility.structure == "tensor":
            return np.asarray(mobility.symmetric(points, t), dtype=np.float64)[:, axis, axis]
        return np.broadcast_to(mobility.diagonal_of(points, t), points.shape)[:, axis]
