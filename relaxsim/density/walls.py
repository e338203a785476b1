"""Tangential edges in the layers of cells at reflecting walls, which keep second order there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from relaxsim.density.cells import Cells
from relaxsim.density.links import both_ways
from relaxsim.density.stencil import IntArray, selling
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.links import AnyCells, Links
    from relaxsim.density.tensor import Split

_MILDEST = 0.02  # smallest ratio of eigenvalues within a wall: offsets of up to four cells
_NOTHING = 1e-14  # of the trace of S: weights below are rounding


def wall_links(cells: AnyCells, links: Links, split: Split | None) -> None:
    """Add the wall edges of all reflecting walls.

    Parameters
    ----------
    cells, links
        Where the edges go.
    split : Split or None
        S in units of cells and Selling's split of it; None where S is diagonal.
    """
    grid = cells.grid
    if grid.dim == 1 or (split is None and not cells.turns):
        return
    numbers = np.arange(grid.n_cells).reshape(grid.shape)
    for normal in range(grid.dim):
        if grid.periodic[normal]:
            continue
        for layer in (0, grid.shape[normal] - 1):
            start = numbers.take(layer, axis=normal).ravel()
            strip = _strip(cells, start, normal, split)
            weights, offsets = _along_wall(strip, normal)
            both_ways(links, start, offsets, cells.temperature * weights)


def _strip(cells: AnyCells, start: IntArray, normal: int, split: Split | None) -> FloatArray:
    """The missing part of the Dirichlet form for cells of a layer, shape (n, dim - 1, dim - 1)."""
    grid, points = cells.grid, cells.grid.points[start]
    density = None if cells.density is None else cells.density.ravel()[start]
    scale = np.outer(grid.spacing, grid.spacing)
    layer: Split
    if split is None:
        n = len(start)
        layer = cells.symmetric(points, density) / scale, np.zeros((n, 0)), np.zeros((n, 0, grid.dim), dtype=np.int64)
    else:
        layer = tuple(part if len(part) == 1 else part[start] for part in split)  # type: ignore[assignment]
    turning = cells.antisymmetric(points, density) / scale if isinstance(cells, Cells) and cells.turns else None
    strip = strip_tensor(*layer, normal, turning)
    return np.broadcast_to(strip, (len(start), *strip.shape[1:]))


def strip_tensor(
    tensors: FloatArray, weights: FloatArray, offsets: IntArray, normal: int, turning: FloatArray | None = None
) -> FloatArray:
    """The tangential tensor that a layer of cells at a wall has to be given back.

    Edges that would cross a reflecting wall are dropped, and with them a strip of the Dirichlet form of width
    |v_n|/2 cells, in which the condition of no flux makes the normal derivative follow the tangential one. The tensor
    (1/2) [sum_v lambda_v |v_n| w w^T + a a^T / S_nn], w = v_t - v_n S_tn / S_nn, a = A_nt, gives it back and restores
    second order; the second term stands for the loops of the antisymmetric part that a wall cuts. It is exact to that
    order for |v_n| <= 1, and zero when S is aligned with the wall and there is no antisymmetric part.

    Parameters
    ----------
    tensors, weights, offsets : ndarray, shapes (n, d, d), (n, k), (n, k, d)
        S in units of cells and its split; no offsets where S is diagonal.
    normal : int
        Axis perpendicular to the wall.
    turning : ndarray, shape (n, d, d), optional
        A in units of cells.

    Returns
    -------
    ndarray, shape (n, d - 1, d - 1)
        In units of cells, positive semidefinite.
    """
    along = [axis for axis in range(tensors.shape[-1]) if axis != normal]
    across = tensors[:, normal, normal]
    safe = np.where(across > 0, across, 1.0)[:, None]  # where S_nn vanishes, S_tn and A_tn do as well
    slip = offsets[:, :, along] - offsets[:, :, normal, None] * (tensors[:, along, normal] / safe)[:, None]
    strip = np.einsum("nk,nka,nkb->nab", weights * np.abs(offsets[:, :, normal]), slip, slip) / 2
    if turning is not None:
        row = turning[:, normal][:, along]
        strip = strip + np.einsum("na,nb->nab", row, row / safe) / 2
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
