"""Jump rates under construction: edges with their rates both ways, and currents around loops."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.stencil import IntArray
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.cells import Cells
    from relaxsim.density.from_drift import DriftCells

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
        """Flat numbers of start + offset, and whether both ends are cells that can hold mass."""
        grid, alive = self.cells.grid, self.cells.alive.ravel()
        inside = alive[start]
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
        return end, inside & alive[end]


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
