"""The sheet of current along a reflecting wall that closes the loops of an antisymmetric part, under wide jumps.

The stream function of A ends at a wall, so that a sheet of current runs along it. Jumps along v that would cross the
wall are missing in |v_n| layers of cells, and what they would carry across, by the condition of no flux, is what the
sheet has to make up for in each of them: the share sum of lambda_v |v_n|, over the v that cross from there, of S_nn =
sum lambda_v v_n^2. Any other sheet, such as one in the first layer alone, drives a current between the layers, which
is first order in h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from relaxsim.density.walls import Layer, layers, numbers_of
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.cells import Cells
    from relaxsim.density.tensor import Split


def taper(cells: Cells, split: Split, a: int, b: int) -> FloatArray:
    """The share of the stream function at the corner between each cell and the next ones along a and b.

    Returns
    -------
    ndarray, shape grid.shape
        One inside; near a wall the share of the sheet that runs between it and the corner.
    """
    found = np.ones(cells.grid.shape)
    for layer in layers(cells, split):
        if layer.normal not in (a, b):
            continue
        if layer.depth == 0:
            outermost = layer
            continue
        shape = numbers_of(cells.grid).take(0, axis=layer.normal).shape
        other = b if layer.normal == a else a
        share = np.broadcast_to(_share(outermost, 0, layer.depth), len(layer.start)).reshape(shape)
        share = (share + np.roll(share, -1, other - (other > layer.normal))) / 2
        # The corners between this layer and the one nearer to the wall.
        row = layer.depth - 1 if layer.side == 0 else -1 - layer.depth
        np.moveaxis(found, layer.normal, 0)[row] *= share
    return found


def want_for_sheets(cells: Cells, split: Split, wanted: FloatArray) -> None:
    """Add to the weights `wanted` (n_cells, dim) along the axes what sheets need beyond the edges along the wall."""
    for layer in layers(cells, split):
        if layer.depth == 0:
            outermost = layer
        assert layer.turning is not None
        weights, offsets = layer.edges()
        share = _share(outermost, layer.depth, layer.depth + 1)
        for axis in range(cells.grid.dim):
            if axis == layer.normal:
                continue
            along = np.abs(offsets[..., axis]) == np.abs(offsets).sum(axis=-1)
            lacking = np.abs(layer.turning[:, layer.normal, axis]) * share / 2 - np.sum(weights * along, axis=1)
            wanted[layer.start, axis] += np.maximum(lacking, 0.0)


def _share(outermost: Layer, start: int, end: int) -> FloatArray:
    """The share of the sheet in the layers start to end - 1, shape (n,) or (1,); all is in the first where S_nn = 0."""
    across = outermost.tensors[:, outermost.normal, outermost.normal]
    crossing = np.abs(outermost.offsets[..., outermost.normal])
    carried = np.sum(outermost.weights * crossing * np.clip(crossing - start, 0, end - start), axis=1)
    return np.where(across > 0, carried / np.where(across > 0, across, 1.0), float(start == 0))
