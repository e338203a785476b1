"""Walls that absorb: the rates at which cells lose what they hold.

At an absorbing wall p = 0. A jump that would cross it ends there: along its offset v, at the fraction s of its length,
it meets the value zero, and its rate is that of a whole jump over s, exponentially fitted to the energy between the
cell's centre and the wall. So f = p/q keeps its two-point flux up to the wall, for wide offsets as for neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.rates import bernoulli
from relaxsim.density.stencil import IntArray, selling
from relaxsim.system.relative_entropy import checked_energy
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System


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
    for cells, weights, offsets in _offsets(system, grid, t):
        for sign in (-1, 1):
            _leave(system, grid, t, walls, cells, weights, sign * offsets)
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
    with np.errstate(divide="ignore"):
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
        climb = np.where(open_, outside, 0.0) - np.where(open_, inside, 0.0)
        rate = np.where(open_, weights[crosses] / part * bernoulli(climb / value_at(system.temperature, t)), 0.0)
        np.add.at(wall.rate, at, rate)
        np.add.at(wall.reach, at, rate * np.abs(jump[:, axis]))
