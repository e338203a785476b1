"""Tangential edges in the layers of cells at reflecting walls, which keep second order there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from relaxsim.density.cells import Cells
from relaxsim.density.links import both_ways
from relaxsim.density.stencil import IntArray, selling
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.links import AnyCells, Links
    from relaxsim.density.tensor import Split
    from relaxsim.system.grid import Grid

_MILDEST = 0.02  # smallest ratio of eigenvalues within a wall: offsets of up to four cells
_NOTHING = 1e-14  # of the trace of S: weights below are rounding


@dataclass(frozen=True, eq=False)
class Layer:
    """Cells at the same distance from a wall, and what of S and A is there, in units of cells.

    Attributes
    ----------
    normal : int
        Axis perpendicular to the wall.
    depth : int
        How many cells there are between the layer and the wall.
    side : {0, 1}
        Whether the wall is at the low or at the high end.
    start : ndarray of int, shape (n,)
        Flat numbers of the cells.
    tensors, weights, offsets : ndarray, shapes (n, d, d), (n, k), (n, k, d)
        S and its split; one row where they are the same everywhere.
    turning : ndarray, shape (n, d, d), or None
        A, where there is one.
    """

    normal: int
    depth: int
    side: int
    start: IntArray
    tensors: FloatArray
    weights: FloatArray
    offsets: IntArray
    turning: FloatArray | None

    @classmethod
    def of(cls, cells: AnyCells, split: Split | None, normal: int, depth: int, side: int) -> Layer:
        """What is there of a layer."""
        grid = cells.grid
        start = numbers_of(grid).take(depth if side == 0 else -1 - depth, axis=normal).ravel()
        points, scale = grid.points[start], np.outer(grid.spacing, grid.spacing)
        density = None if cells.density is None else cells.density.ravel()[start]
        turning = cells.antisymmetric(points, density) / scale if isinstance(cells, Cells) and cells.turns else None
        if split is None:
            tensors = cells.symmetric(points, density) / scale
            axes = np.broadcast_to(np.eye(grid.dim, dtype=np.int64), tensors.shape)
            return cls(normal, depth, side, start, tensors, np.diagonal(tensors, axis1=1, axis2=2), axes, turning)
        tensors, weights, offsets = split
        if len(weights) > 1:
            tensors, weights, offsets = tensors[start], weights[start], offsets[start]
        return cls(normal, depth, side, start, tensors, weights, offsets, turning)

    def edges(self) -> tuple[FloatArray, IntArray]:
        """Weights (n, k) and offsets (n, k, d) of the edges along the wall that the layer is given."""
        strip = strip_tensor(self.tensors, self.weights, self.offsets, self.normal, self.turning, self.depth)
        return _along_wall(np.broadcast_to(strip, (len(self.start), *strip.shape[1:])), self.normal)


def layers(cells: AnyCells, split: Split | None) -> Iterator[Layer]:
    """All layers that jumps across reflecting walls are missing in, those of depth 0 first for each wall."""
    for normal, periodic in enumerate(cells.grid.periodic):
        if periodic:
            continue
        for side in (0, 1):
            first = Layer.of(cells, split, normal, 0, side)
            yield first
            for depth in range(1, min(_reach(first), cells.grid.shape[normal])):
                yield Layer.of(cells, split, normal, depth, side)


def _reach(first: Layer) -> int:
    """The widest |v_n| of the layer next to a wall: over how many layers jumps from it cross the wall."""
    return int(np.max(np.abs(first.offsets[..., first.normal]), where=first.weights > 0, initial=1))


def numbers_of(grid: Grid) -> IntArray:
    """Flat numbers of the cells, shape grid.shape."""
    return np.arange(grid.n_cells).reshape(grid.shape)


def wall_links(cells: AnyCells, links: Links, split: Split | None) -> None:
    """Add the wall edges of all reflecting walls.

    Parameters
    ----------
    cells, links
        Where the edges go.
    split : Split or None
        S in units of cells and Selling's split of it; None where S is diagonal.
    """
    if cells.grid.dim == 1 or (split is None and not cells.turns):
        return
    for layer in layers(cells, split):
        weights, offsets = layer.edges()
        both_ways(links, layer.start, offsets, cells.temperature * weights)


def strip_tensor(
    tensors: FloatArray,
    weights: FloatArray,
    offsets: IntArray,
    normal: int,
    turning: FloatArray | None = None,
    depth: int = 0,
) -> FloatArray:
    """The tangential tensor that a layer of cells near a wall has to be given back.

    Jumps along v that would cross a reflecting wall are dropped in the |v_n| layers next to it, and half a cell of the
    Dirichlet form with each. The condition of no flux there makes the normal derivative follow the tangential one; for
    the equation and its adjoint they are -(S_nt +- A_nt)/S_nn times it. So a layer is given back (1/2) sum_v lambda_v
    [w w^T + v_n^2 a a^T/S_nn^2] over the v that are dropped in it, w = v_t - v_n S_tn/S_nn, a = A_nt, which restores
    second order; the second term includes the loops of the antisymmetric part that a wall cuts, and those that
    `relaxsim.density.sheet` tapers. It is zero when S is aligned with the wall and there is no antisymmetric part.

    Parameters
    ----------
    tensors, weights, offsets : ndarray, shapes (n, d, d), (n, k), (n, k, d)
        S in units of cells and its split.
    normal : int
        Axis perpendicular to the wall.
    turning : ndarray, shape (n, d, d), optional
        A in units of cells.
    depth : int, default 0
        Number of the layer, counted from the wall.

    Returns
    -------
    ndarray, shape (n, d - 1, d - 1)
        In units of cells, positive semidefinite.
    """
    along = [axis for axis in range(tensors.shape[-1]) if axis != normal]
    across = tensors[:, normal, normal]
    safe = np.where(across > 0, across, 1.0)[:, None]  # where S_nn vanishes, S_tn and A_tn do as well
    crossing = np.abs(offsets[:, :, normal])
    lost = weights * (crossing > depth) / 2
    slip = offsets[:, :, along] - offsets[:, :, normal, None] * (tensors[:, along, normal] / safe)[:, None]
    strip = np.einsum("nk,nka,nkb->nab", lost, slip, slip)
    if turning is not None:
        row = turning[:, normal][:, along] / safe
        strip = strip + np.einsum("nk,na,nb->nab", lost * crossing**2, row, row)
    size = np.trace(tensors, axis1=1, axis2=2)
    strip[np.trace(strip, axis1=1, axis2=2) <= _NOTHING * size] = 0.0
    return np.asarray(strip)


def _along_wall(strip: FloatArray, normal: int) -> tuple[FloatArray, IntArray]:
    """Weights (n, k) and offsets (n, k, dim) of the edges within the wall."""
    if strip.shape[-1] == 2:
        # A strip of one direction only has no split into whole offsets: a little is added to the other one.
        size = np.trace(strip, axis1=1, axis2=2)
        strip = strip + (_MILDEST * size)[:, None, None] * np.eye(2)
    weights, flat = selling(strip)
    return weights, np.insert(flat, normal, 0, axis=-1)
