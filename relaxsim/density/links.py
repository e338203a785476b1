"""Jump rates under construction: edges with their rates both ways, and currents around loops."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.stencil import IntArray
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.cells import Cells
    from relaxsim.density.from_drift import DriftCells
    from relaxsim.system.grid import Grid

AnyCells: TypeAlias = "Cells | DriftCells"

_PILE = 1 << 18  # entries that may wait, or four for each cell where that is more


class RateSum:
    """A sparse matrix as a sum of many entries, added up now and then so that they do not pile up.

    Parameters
    ----------
    n_cells : int
    """

    def __init__(self, n_cells: int) -> None:
        self._n_cells = n_cells
        self._parts: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._waiting = 0
        self._sum: Any = None

    def add(self, start: IntArray, end: IntArray, forth: FloatArray, back: FloatArray) -> None:
        """Add `forth` from start to end and `back` from end to start.

        [i, j] is what goes from j to i, so what goes from start to end stands in row `end`.
        """
        self._parts += [(end, start, forth), (start, end, back)]
        self._waiting += 2 * len(start)
        if self._waiting > max(_PILE, 4 * self._n_cells):
            self._add_up()

    def _add_up(self) -> None:
        from scipy import sparse

        rows, columns = (np.concatenate([part[k] for part in self._parts]).astype(np.int32, copy=False) for k in (0, 1))
        data = np.concatenate([part[2] for part in self._parts])
        self._parts, self._waiting = [], 0
        matrix = sparse.coo_array((data, (rows, columns)), shape=(self._n_cells, self._n_cells)).tocsr()
        self._sum = matrix if self._sum is None else self._sum + matrix

    def total(self) -> Any:
        """The matrix, a scipy.sparse.csr_array."""
        from scipy import sparse

        if self._parts:
            self._add_up()
        return sparse.csr_array((self._n_cells, self._n_cells)) if self._sum is None else self._sum


class Links:
    """Edges between cells; the same two cells may have several, whose rates add up.

    Attributes
    ----------
    edges : RateSum
        Rates of the edges, both ways.
    currents : RateSum
        Currents of loops over the mass of the cell they leave; negative for the cell they enter.
    """

    def __init__(self, cells: AnyCells) -> None:
        self.cells = cells
        self.edges = RateSum(cells.grid.n_cells)
        self.currents = RateSum(cells.grid.n_cells)

    @cached_property
    def coordinates(self) -> list[NDArray[np.int32]]:
        """Number of each cell along each axis, arrays of n_cells."""
        return [index.ravel().astype(np.int32) for index in np.indices(self.cells.grid.shape)]

    def add(self, start: IntArray, offset: IntArray, weight: FloatArray) -> None:
        """Add fitted edges from `start` to start + offset, where that is a cell.

        Parameters
        ----------
        start : ndarray of int, shape (n,)
            Flat numbers of cells.
        offset : ndarray of int, shape (n, dim) or (1, dim)
            In cells; wraps on periodic axes.
        weight : ndarray, shape (n,) or (1,)
            Unit rates: T lambda_v.
        """
        end, inside = self.shifted(start, offset)
        inside &= weight > 0
        kept = np.flatnonzero(inside)
        offset = offset if len(offset) == 1 else offset[kept]
        start, end, weight = start[kept], end[kept], weight if len(weight) == 1 else weight[kept]
        places = [along[start] for along in self.coordinates]
        forth, back = self.cells.unit_rates(start, end, places, list(offset.T))
        self.edges.add(start, end, weight * forth, weight * back)

    def add_axis(self, axis: int, forth: FloatArray, back: FloatArray) -> None:
        """Add rates of shape grid.shape between each cell and the next one along an axis; zeros are no edges."""
        numbers = np.arange(self.cells.grid.n_cells, dtype=np.int32).reshape(self.cells.grid.shape)
        used = self.cells.linked(axis) & ((forth > 0) | (back > 0))
        self.edges.add(numbers[used], self.cells.ahead(numbers, axis)[used], forth[used], back[used])

    def add_current(self, axis: int, out: FloatArray, into: FloatArray) -> None:
        """Add a current between each cell and the next one along an axis, over the masses of both, zero at walls."""
        numbers = np.arange(self.cells.grid.n_cells, dtype=np.int32).reshape(self.cells.grid.shape)
        used = self.cells.linked(axis) & ((out != 0) | (into != 0))
        self.currents.add(numbers[used], self.cells.ahead(numbers, axis)[used], out[used], -into[used])

    def shifted(self, start: IntArray, offset: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Flat numbers of start + offset, and whether all cells on the way there can hold mass."""
        alive = self.cells.alive.ravel()
        end, inside = self._beyond(start, offset)
        inside &= alive[start] & alive[end]
        if alive.all():
            return end, inside
        steps, which = np.unique(offset, axis=0, return_inverse=True)
        which = np.broadcast_to(which.ravel(), start.shape)
        for k, step in enumerate(steps):
            used = np.flatnonzero(inside & (which == k))
            inside[used] = way_is_free(self.cells.grid, alive, [along[start[used]] for along in self.coordinates], step)
        return end, inside

    def _beyond(self, start: IntArray, offset: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Flat numbers of start + offset, and whether that lies within the walls."""
        grid, inside = self.cells.grid, np.ones(len(start), dtype=np.bool_)
        end: Any = np.zeros(len(start), dtype=np.int32)
        for axis, (n, periodic) in enumerate(zip(grid.shape, grid.periodic, strict=True)):
            place = self.coordinates[axis][start] + offset[:, axis].astype(np.int32)
            if periodic:
                place %= n
            else:
                inside &= (place >= 0) & (place < n)
                np.clip(place, 0, n - 1, out=place)
            end *= n
            end += place
        return end, inside


def way_is_free(grid: Grid, alive: NDArray[np.bool_], places: Sequence[IntArray], step: IntArray) -> NDArray[np.bool_]:
    """Whether all cells on the way of a jump can hold mass.

    Parameters
    ----------
    grid : Grid
    alive : ndarray of bool, shape (n_cells,)
    places : sequence of ndarray of int, shape (n,)
        Number of the start along each axis.
    step : ndarray of int, shape (dim,)
        In cells; what lies beyond a wall is not looked at.
    """
    found = np.zeros(len(places[0]), dtype=np.bool_)
    for way in ways(step):
        free = np.ones_like(found)
        for cell in way:
            there = [place + shift for place, shift in zip(places, cell, strict=True)]
            flat = np.ravel_multi_index(
                tuple(there), grid.shape, mode=tuple("wrap" if periodic else "clip" for periodic in grid.periodic)
            )
            beyond = [
                (place < 0) | (place >= n)
                for place, n, periodic in zip(there, grid.shape, grid.periodic, strict=True)
                if not periodic
            ]
            free &= alive[flat] | np.logical_or.reduce([np.zeros_like(free), *beyond])
        found |= free
    return found


def ways(step: IntArray) -> list[IntArray]:
    """The cells that the straight line from the centre of a cell to that of cell + step crosses between the two.

    Parameters
    ----------
    step : ndarray of int, shape (dim,)

    Returns
    -------
    list of ndarray of int, shape (n, dim)
        Relative to the first cell. Where the line meets an edge or a corner it can go around it on several sides, each
        in an array of its own.
    """
    # Faces are crossed at the fractions (k + 1/2) / |v_a|, compared as whole numbers to see which coincide.
    sizes, signs = np.abs(step).astype(np.int64), np.sign(step).astype(np.int64)
    common = int(np.lcm.reduce(np.maximum(sizes, 1)))
    crossed = [((2 * k + 1) * (common // int(n)), a) for a, n in enumerate(sizes) for k in range(int(n))]
    axes = [a for a, n in enumerate(sizes) if n]
    found = {}
    for order in permutations(axes):
        moves = [a for _, a in sorted(crossed, key=lambda face: (face[0], order.index(face[1])))]
        found[tuple(moves)] = np.cumsum(np.eye(len(sizes), dtype=np.int64)[moves] * signs, axis=0)[:-1]
    return list(found.values())


def both_ways(links: Links, start: IntArray, offsets: IntArray, weights: FloatArray) -> None:
    """Edges along +v and -v of every cell with half its weight each, so an edge gets the mean of its ends.

    Parameters
    ----------
    links : Links
    start : ndarray of int, shape (n,)
    offsets : ndarray of int, shape (n, k, dim)
    weights : ndarray, shape (n, k)
    """
    for k in range(weights.shape[1]):
        used = np.flatnonzero(weights[:, k] > 0)
        if len(used):
            chosen, half = offsets[used, k], weights[used, k] / 2
            links.add(start[used], chosen, half)
            links.add(start[used], -chosen, half)
