"""Edges of a full symmetric mobility: Selling's offsets in every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from relaxsim.density.cells import Cells, over_blocks
from relaxsim.density.checks import smallest_eigenvalue
from relaxsim.density.links import both_ways
from relaxsim.density.sheet import want_for_sheets
from relaxsim.density.stencil import IntArray, selling
from relaxsim.errors import InputError, MobilityError
from relaxsim.system.field import format_point
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.links import AnyCells, Links
    from relaxsim.system.grid import Grid

# S in units of cells, its weights and its offsets: for every cell, or one row for all
Split = tuple[FloatArray, FloatArray, IntArray]

_LARGEST = 0.5  # part of S that may be split off for currents
_SINGULAR = 1e-13  # smallest eigenvalue over the trace, below which S has no inverse
_INDEFINITE = 1e-12  # of the trace: a negative eigenvalue down to this is rounding


def tensor_links(cells: AnyCells, links: Links, wanted: FloatArray | None = None) -> Split:
    """Fitted edges along the offsets of S(x_i); an edge has the mean of the weights its two ends give it.

    Returns
    -------
    Split
        For the walls.

    Raises
    ------
    InputError
        A grid with fewer cells along an axis than an offset needs.
    MobilityError
        A mobility that is not finite, or not positive.
    """
    split = _split(cells, wanted)
    _, weights, offsets = split
    check_reach(cells.grid, offsets[weights > 0])
    every = np.arange(cells.grid.n_cells, dtype=np.int32)
    if len(weights) == 1:
        for weight, offset in zip(weights[0], offsets[0], strict=True):
            links.add(every, offset[None], np.array([cells.temperature * weight]))
    else:
        both_ways(links, every, offsets, cells.temperature * weights)
    return split


def _split(cells: AnyCells, wanted: FloatArray | None) -> Split:
    grid = cells.grid
    if cells.one_tensor:
        tensors = cells.symmetric(grid.points[:1])
    elif cells.density is None:
        tensors = over_blocks(grid.centers, cells.symmetric).reshape(-1, grid.dim, grid.dim)
    else:
        tensors = cells.symmetric(grid.points, cells.density.ravel())
    tensors = tensors / np.outer(grid.spacing, grid.spacing)
    _check_positive(cells, tensors)
    if wanted is None:
        return tensors, *selling(tensors)
    assert isinstance(cells, Cells)
    split = _with_axes(np.broadcast_to(tensors, (grid.n_cells, grid.dim, grid.dim)), wanted)
    before = wanted.copy()
    want_for_sheets(cells, split, wanted)
    again = np.flatnonzero(np.any(wanted != before, axis=1))
    for part, new in zip(split[1:], _with_axes(split[0][again], wanted[again])[1:], strict=True):
        part[again] = new
    return split


def _with_axes(tensors: FloatArray, wanted: FloatArray) -> Split:
    """The split of S with the weights that are wanted along the axes, as far as they are granted."""
    along, eye = granted(tensors, wanted), np.eye(tensors.shape[-1], dtype=np.int32)
    weights, offsets = selling(tensors - along[..., None] * eye)
    axes = np.broadcast_to(eye, tensors.shape)
    return tensors, np.concatenate([weights, along], axis=1), np.concatenate([offsets, axes], axis=1)


def granted(tensors: FloatArray, wanted: FloatArray) -> FloatArray:
    """The weights along the axes that are split off S before the rest of it is, shape (n, dim).

    What is wanted, or the part of it that leaves at least half of S: sum_a w_a (S^-1)_aa <= 1/2 is enough for that.
    """
    regular = smallest_eigenvalue(tensors) > _SINGULAR * np.trace(tensors, axis1=1, axis2=2)
    inverse = np.linalg.inv(np.where(regular[:, None, None], tensors, np.eye(tensors.shape[-1])))
    share = np.einsum("na,naa->n", wanted, inverse)
    return np.asarray(wanted * np.where(regular, _LARGEST / np.maximum(share, _LARGEST), 0.0)[:, None])


def _check_positive(cells: AnyCells, tensors: FloatArray) -> None:
    """No negative eigenvalue: the search for a split has no end there."""
    lowest = smallest_eigenvalue(tensors)
    bad = lowest < -_INDEFINITE * np.trace(tensors, axis1=1, axis2=2)
    if bad.any():
        where = format_point(cells.grid.points[bad][0])
        raise MobilityError(
            f"system: the mobility must be positive; at {where} its smallest eigenvalue in units of cells is "
            f"{lowest[bad][0]:g}"
        )


def check_reach(grid: Grid, offsets: IntArray) -> None:
    """Refuse grids with fewer cells along an axis than the widest offset needs."""
    widest = np.abs(offsets).max(axis=0, initial=0)
    growth = float(np.max((widest + 1) / np.array(grid.shape)))
    if growth > 1:
        enough = tuple(int(np.ceil(n * growth)) for n in grid.shape)
        raise InputError(
            f"grid: the anisotropy of the mobility asks for jumps of up to {tuple(widest.tolist())} cells "
            f"along the axes, so for more cells than shape={grid.shape}; use at least shape={enough}"
        )
