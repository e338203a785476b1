"""Fields on the cells of a grid, some of them unknown: derivatives, integrals along edges, least-squares potentials.

Values stand on cell centres, in arrays (n_batch, *grid.shape); the batch holds the estimate and its replicates. Unknown
values are nan, and so is what cannot be formed without them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.system.grid import Grid

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def shifted(values: FloatArray, steps: int, axis: int, periodic: bool) -> FloatArray:
    """The values `steps` cells further along an axis of the grid (0 is the first after the batch), nan outside."""
    moved = np.roll(values, -steps, axis=axis + 1)
    if not periodic and steps:
        cut = [slice(None)] * values.ndim
        cut[axis + 1] = slice(-steps, None) if steps > 0 else slice(None, -steps)
        moved[tuple(cut)] = np.nan
    return moved


def derivative(values: FloatArray, axis: int, grid: Grid, order: int = 4) -> FloatArray:
    """Differences along an axis: of fourth order where two cells to each side are known, else of second or first.

    Parameters
    ----------
    values : ndarray, shape (n_batch, \\*grid.shape)
    axis : int
        Axis of the grid.
    grid : Grid
    order : {2, 4}
        The highest order that is used.

    Returns
    -------
    ndarray, same shape
        One-sided at the ends of what is known.
    """
    h, periodic = float(grid.spacing[axis]), grid.periodic[axis]
    at = {k: shifted(values, k, axis, periodic) for k in (-2, -1, 1, 2)}
    tries = [
        (at[1] - at[-1]) / (2 * h),
        (-3 * values + 4 * at[1] - at[2]) / (2 * h),
        (3 * values - 4 * at[-1] + at[-2]) / (2 * h),
        (at[1] - values) / h,
        (values - at[-1]) / h,
    ]
    if order == 4:
        tries.insert(0, (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h))
    found = np.full_like(values, np.nan)
    for each in tries:
        found = np.where(np.isnan(found), each, found)
    return found


def edge_integrals(values: FloatArray, axis: int, grid: Grid) -> FloatArray:
    """Integral of a component from each cell centre to the next along its axis, by cubic interpolation where possible.

    Entry i belongs to the edge from cell i to cell i + 1; nan where one of the two is unknown or there is no next one.
    """
    h, periodic = float(grid.spacing[axis]), grid.periodic[axis]
    before, after, beyond = (shifted(values, k, axis, periodic) for k in (-1, 1, 2))
    tries = (
        (13 * (values + after) - before - beyond) / 24,
        (5 * values + 8 * after - beyond) / 12,
        (5 * after + 8 * values - before) / 12,
        (values + after) / 2,
    )
    found = np.full_like(values, np.nan)
    for each in tries:
        found = np.where(np.isnan(found), each, found)
    return np.asarray(h * found)


def thirds(values: FloatArray, grid: Grid) -> FloatArray:
    """Values (\\*grid.shape, ...) on cells of a third of the width, by parabolas through neighbouring centres."""
    found = values
    for axis, periodic in enumerate(grid.periodic):
        batch = found[None]
        after, before = (shifted(batch, k, axis, periodic)[0] for k in (1, -1))
        slope = (after - before) / 2
        slope = np.where(np.isnan(slope), after - found, slope)
        slope = np.where(np.isnan(slope), found - before, slope)
        bend = np.nan_to_num(after + before - 2 * found)
        slope = np.nan_to_num(slope)
        parts = [found + s * slope + s**2 / 2 * bend for s in (-1 / 3, 0.0, 1 / 3)]
        stacked = np.stack(parts, axis=axis + 1)
        found = stacked.reshape(*found.shape[:axis], 3 * found.shape[axis], *found.shape[axis + 1 :])
    return np.asarray(found)


class Edges:
    """The edges between neighbouring known cells of a grid, and potentials whose differences fit given ones.

    Parameters
    ----------
    grid : Grid
    known : ndarray of bool, shape grid.shape
        Cells that take part; of these the largest connected set does.

    Attributes
    ----------
    cells : ndarray of bool, shape grid.shape
        The cells of that set.
    start, end, axis : ndarray of int, shape (n_edges,)
        Flat indices of the two ends and the axis of the grid along which each edge runs.
    """

    def __init__(self, grid: Grid, known: BoolArray) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        self.grid = grid
        index = np.arange(grid.n_cells).reshape(grid.shape)
        starts, ends, axes = [], [], []
        for a in range(grid.dim):
            following = np.roll(index, -1, axis=a)
            joined = known & np.roll(known, -1, axis=a)
            if not grid.periodic[a]:
                joined[(slice(None),) * a + (-1,)] = False
            starts.append(index[joined])
            ends.append(following[joined])
            axes.append(np.full(int(joined.sum()), a))
        start, end, axis = np.concatenate(starts), np.concatenate(ends), np.concatenate(axes)
        links = coo_array((np.ones(start.size), (start, end)), shape=(grid.n_cells, grid.n_cells))
        _, label = connected_components(links, directed=False)
        sizes = np.bincount(label[known.ravel()], minlength=label.max() + 1)
        self.cells: BoolArray = (label == np.argmax(sizes)).reshape(grid.shape) & known
        inside = self.cells.ravel()[start]
        self.start, self.end, self.axis = start[inside], end[inside], axis[inside]

    def pick(self, fields: list[FloatArray]) -> FloatArray:
        """Values on the edges, shape (n_batch, n_edges), from one array (n_batch, *grid.shape) for each axis."""
        flat = np.stack([field.reshape(len(field), -1) for field in fields])
        return flat[self.axis, :, self.start].T

    def potential(self, differences: FloatArray, weights: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """The potentials u with the least sum of weights (u_end - u_start - difference)^2, and what is left over.

        Parameters
        ----------
        differences : ndarray, shape (n_batch, n_edges)
        weights : ndarray, shape (n_edges,), optional

        Returns
        -------
        potential : ndarray, shape (n_batch, \\*grid.shape)
            Of mean zero over the cells of the set, nan elsewhere.
        residual : ndarray, shape (n_batch, n_edges)
        """
        from scipy.sparse import coo_array, csc_array
        from scipy.sparse.linalg import splu

        which = np.flatnonzero(self.cells.ravel())
        number = np.full(self.grid.n_cells, -1)
        number[which] = np.arange(which.size)
        rows = np.tile(np.arange(self.start.size), 2)
        columns = number[np.concatenate([self.start, self.end])]
        signs = np.repeat([-1.0, 1.0], self.start.size)
        D = coo_array((signs, (rows, columns)), shape=(self.start.size, which.size)).tocsr()
        w = np.ones(self.start.size) if weights is None else weights / weights.mean()
        weighted = D.T.multiply(w[None, :]).tocsr()
        solve: Any = splu(csc_array((weighted @ D)[1:, 1:]))
        found = np.zeros((len(differences), which.size))
        found[:, 1:] = solve.solve((weighted @ differences.T)[1:]).T
        found -= found.mean(axis=1, keepdims=True)
        potential = np.full((len(differences), self.grid.n_cells), np.nan)
        potential[:, which] = found
        return potential.reshape(-1, *self.grid.shape), differences - (D @ found.T).T
