"""Bins for the law of an ensemble: cells of a product grid, merged until each holds enough points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.functionals import kinds
from relaxsim.functionals.moving import MovingWeights, Weights, over_time
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import log_cell_weights

if TYPE_CHECKING:
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

# Powers of two, so that the usual density grids (64, 128, 256 ... cells an axis) refine them exactly.
BASE_SHAPES = {1: (64,), 2: (32, 32), 3: (16, 16, 16)}
MIN_EXPECTED = 5.0
OUTER_CELLS = {1: 4096, 2: 256, 3: 48}  # at most, along an axis beyond a histogram


@dataclass(frozen=True, eq=False, repr=False)
class Bins:
    """A partition of the state space into bins, with the exact Gibbs mass of each.

    The bins are blocks of neighbouring cells of a product grid. They are chosen once from the data of all
    times, so that errors common to two times cancel in differences. The outermost cells reach to infinity: a
    point beyond the box counts as a point of the nearest cell.

    Attributes
    ----------
    system : System
        The system whose Gibbs law the bins are weighed with.
    grid : Grid
        The product grid that was merged.
    labels : ndarray of int, shape grid.shape
        The bin of each cell, 0 ... n_bins - 1.
    log_gibbs : ndarray, shape (n_bins,)
        Natural logarithm of the Gibbs mass of each bin; -inf where the energy is infinite. Of a Gibbs law that moves
        it is that of the mean over the times; `at` has those of one.
    log_partition : float
        ln Z over all cells; nan for a mean.
    weigh : MovingWeights, or None where the Gibbs law does not move
        Logarithms of the Gibbs masses of the cells and ln Z at a time.
    """

    system: System
    grid: Grid
    labels: IntArray
    log_gibbs: FloatArray
    log_partition: float
    weigh: MovingWeights | None = None

    @classmethod
    def fit(
        cls,
        system: System,
        positions: FloatArray,
        *,
        times: FloatArray | None = None,
        shape: tuple[int, ...] | None = None,
        min_expected: float = MIN_EXPECTED,
    ) -> Bins:
        """Choose bins for an ensemble.

        Parameters
        ----------
        system : System
            At most three dimensions.
        positions : ndarray, shape (n_times, n_particles, dim)
            The ensemble at all times.
        times : ndarray, shape (n_times,), optional
            Needed where the Gibbs law moves.
        shape : tuple of int, optional
            Cells an axis of the grid to merge; by default 64 in 1-D, 32 x 32 in 2-D, 16 x 16 x 16 in 3-D.
        min_expected : float
            Points that a bin must expect, n_particles times the mean of the laws at all times and of the
            Gibbs law.
        """
        n_times, n_particles, dim = positions.shape
        if dim not in BASE_SHAPES:
            raise InputError(f"positions: bins serve 1 to 3 dimensions, got {dim}; observe fewer coordinates")
        kinds.check_system(system)
        at = np.zeros(1) if times is None else times
        grid = _base_grid(system, positions, BASE_SHAPES[dim] if shape is None else shape, at)
        counts = (np.bincount(cell_of(snapshot, grid), minlength=grid.n_cells) for snapshot in positions)
        weights, weigh = over_time(system, at, lambda t: log_cell_weights(system, grid, t))
        return cls.merging(system, grid, weights, counts, n_times, n_particles, min_expected, weigh)

    @classmethod
    def merging(
        cls,
        system: System,
        grid: Grid,
        weights: Weights,
        counts: Iterable[IntArray],
        n_times: int,
        n_particles: int,
        min_expected: float = MIN_EXPECTED,
        weigh: MovingWeights | None = None,
    ) -> Bins:
        """Merge the cells of a grid, from the counts of n_particles in each of them (n_cells,) at n_times times.

        `weights` are the logarithms of the Gibbs masses of the cells and ln Z; of a Gibbs law that moves, of its mean,
        and `weigh` gives those of a time.
        """
        log_weights, log_partition = weights
        pooled = np.exp(log_weights).ravel() * n_particles
        for snapshot in counts:
            pooled += snapshot
        labels = merge_cells(pooled.reshape(grid.shape) / (n_times + 1), min_expected)
        log_gibbs = _log_sum_by_label(np.asarray(log_weights, dtype=np.float64), labels)
        for array in (labels, log_gibbs):
            array.flags.writeable = False
        return cls(system, grid, labels, log_gibbs, float(log_partition), weigh)

    def at(self, t: float) -> Bins:
        """The same bins with the Gibbs masses of a time; these where they do not move."""
        if self.weigh is None:
            return self
        log_weights, log_partition = self.weigh(float(t))
        return replace(self, log_gibbs=_log_sum_by_label(log_weights, self.labels), log_partition=log_partition)

    def fixed(self, t: float) -> Bins:
        """The same bins for a system whose Gibbs law does not move, and is that of a time here."""
        return self if self.weigh is None else replace(self.at(t), weigh=None)

    @cached_property
    def borders(self) -> IntArray:
        """Pairs of bins that share a border, shape (n_pairs, 2)."""
        pairs = []
        for axis in range(self.labels.ndim):
            cells = np.moveaxis(self.labels, axis, 0)
            pairs.append(np.stack([cells[:-1].ravel(), cells[1:].ravel()], axis=1))
        together = np.concatenate(pairs)
        return np.unique(together[together[:, 0] != together[:, 1]], axis=0)

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return int(self.log_gibbs.size)

    @property
    def gibbs(self) -> FloatArray:
        """Gibbs mass of each bin, shape (n_bins,), summing to one."""
        return np.asarray(np.exp(self.log_gibbs))

    def index(self, positions: FloatArray) -> IntArray:
        """Bin of each point: positions (n, dim) to integers (n,)."""
        return np.asarray(self.labels.ravel()[cell_of(positions, self.grid)])

    def masses(self, mass: FloatArray, grid: Grid) -> FloatArray:
        """Sum the cell masses of another grid over the same space to these bins.

        Exact where the edges of the bins are edges of the grid; elsewhere the mass below an edge is
        interpolated by a monotone cubic, axis by axis.

        Parameters
        ----------
        mass : ndarray, shape (n_times, *grid.shape)
            Cell masses.
        grid : Grid
            Their grid.

        Returns
        -------
        ndarray, shape (n_times, n_bins)
        """
        for axis in range(grid.dim):
            mass = _regrid(mass, grid.edges[axis], self.grid.edges[axis], axis + 1)
        flat = mass.reshape(len(mass), -1)
        labels = self.labels.ravel()
        return np.stack([np.bincount(labels, weights=row, minlength=self.n_bins) for row in flat])

    def __repr__(self) -> str:
        shape = " x ".join(str(n) for n in self.grid.shape)
        return f"Bins({self.n_bins} bins merged from {shape} cells)"


def weights_to_the_ends(system: System, grid: Grid, t: float = 0.0, covered: FloatArray | None = None) -> Weights:
    """`log_cell_weights` with the outermost cells reaching to the ends of the domain, or of a box of all Gibbs mass.

    The space is cut into blocks, along each axis the cells of the grid and what lies below and above them; the sums
    over what lies outside are added to the outermost cells. In more than three dimensions unbounded axes end with the
    grid. `covered` is that box where the Gibbs law moves: it holds those of all times.
    """
    ends = np.stack([system.domain.lower, system.domain.upper], axis=1)
    if not system.domain.bounded:
        if covered is None:
            covered = Grid.covering(system, 2).bounds if grid.dim in BASE_SHAPES else grid.bounds
        ends = np.where(np.isfinite(ends), ends, covered)
    total = np.full(grid.shape, -np.inf)
    for block in itertools.product(*(_axis_blocks(grid, axis, *ends[axis]) for axis in range(grid.dim))):
        bounds, shape, cells = zip(*block, strict=True)
        part = Grid(Domain(bounds), shape)
        if np.isposinf(system.energy(part.points, t)).all():
            continue
        log_weights, log_partition = log_cell_weights(system, part, t)
        masses = log_weights + log_partition
        for axis, place in enumerate(cells):
            if place != slice(None):
                masses = np.logaddexp.reduce(masses, axis=axis, keepdims=True)
        total[cells] = np.logaddexp(total[cells], masses)
    log_partition = float(np.logaddexp.reduce(total, axis=None))
    return total - log_partition, log_partition


def _axis_blocks(grid: Grid, axis: int, start: float, end: float) -> list[tuple[tuple[float, float], int, slice]]:
    """The parts of the space along an axis: their ends, the cells to cut them into, and the cells they belong to."""
    (low, high), width = grid.bounds[axis].tolist(), grid.spacing[axis]
    blocks = [((low, high), grid.shape[axis], slice(None))]
    for outer, place in (((start, low), slice(0, 1)), ((high, end), slice(-1, None))):
        if outer[0] < outer[1]:
            cells = math.ceil((outer[1] - outer[0]) / width)
            blocks.append((outer, min(max(cells, 2), OUTER_CELLS.get(grid.dim, 16)), place))
    return blocks


def merge_cells(expected: FloatArray, min_expected: float = MIN_EXPECTED) -> IntArray:
    """Merge neighbouring cells into blocks that each expect at least `min_expected` points.

    From the top down: a block of cells is cut in two along its longest axis, at the edge that shares its
    points most evenly among those that leave enough on both sides; along the next longest axis if there is
    none; and is a bin if no axis has one. Crowded cells so end up alone, empty ones with their neighbours.

    Parameters
    ----------
    expected : ndarray
        Expected points of each cell, one array axis a space axis.
    min_expected : float
        Points that both sides of a cut must expect.

    Returns
    -------
    ndarray of int, same shape
        The number of the block of each cell.
    """
    labels = np.zeros(expected.shape, dtype=np.intp)
    blocks = [tuple(slice(0, n) for n in expected.shape)]
    n_bins = 0
    while blocks:
        block = blocks.pop()
        cut = _best_cut(expected[block], min_expected)
        if cut is None:
            labels[block] = n_bins
            n_bins += 1
            continue
        axis, at = cut
        middle = block[axis].start + at
        sides = slice(middle, block[axis].stop), slice(block[axis].start, middle)
        blocks.extend((*block[:axis], side, *block[axis + 1 :]) for side in sides)
    return labels


def _best_cut(expected: FloatArray, min_expected: float) -> tuple[int, int] | None:
    """Axis and cell number of the cut of a block, None when no cut leaves enough points on both sides."""
    for axis in sorted(range(expected.ndim), key=lambda a: -expected.shape[a]):
        others = tuple(a for a in range(expected.ndim) if a != axis)
        below = np.cumsum(expected.sum(axis=others))
        total = below[-1]
        below = below[:-1]
        uneven = np.abs(below - 0.5 * total)
        uneven[(below < min_expected) | (total - below < min_expected)] = np.inf
        if uneven.size and np.isfinite(uneven.min()):
            return axis, int(np.argmin(uneven)) + 1
    return None


def _base_grid(system: System, positions: FloatArray, shape: tuple[int, ...], times: FloatArray) -> Grid:
    """The grid to merge: the domain's box, on free axes the bulk of the Gibbs law and of the data."""
    if system.domain.bounded:
        return Grid(system.domain, shape)
    bounds = np.array(Grid.covering(system, shape, times=times).bounds, dtype=np.float64)
    # A single stray particle must not stretch the cells: the outermost bin holds MIN_EXPECTED points anyway.
    level = min(MIN_EXPECTED / positions.shape[1], 0.01)
    for axis, boundary in enumerate(system.domain.boundary):
        if boundary == "unbounded":
            low, high = np.quantile(positions[:, :, axis], [level, 1.0 - level])
            bounds[axis] = min(bounds[axis, 0], low), max(bounds[axis, 1], high)
    return Grid(system.domain, shape, bounds=bounds)


def cell_of(positions: FloatArray, grid: Grid) -> IntArray:
    """Cell (C order) of each point (n, dim); points beyond the box belong to its outermost cells."""
    flat = np.zeros(len(positions), dtype=np.intp)
    for axis, n_cells in enumerate(grid.shape):
        low = grid.edges[axis][0]
        # Clipped before the cast: a float beyond the integers has no defined cast.
        cell = np.clip(np.floor((positions[:, axis] - low) / grid.spacing[axis]), 0, n_cells - 1)
        flat = flat * n_cells + cell.astype(np.intp)
    return flat


def _regrid(mass: FloatArray, edges: FloatArray, to: FloatArray, axis: int) -> FloatArray:
    """Move masses between `edges` along an axis to the intervals of `to`, whose ends reach to infinity."""
    mass = np.moveaxis(mass, axis, -1)
    below = np.concatenate([np.zeros((*mass.shape[:-1], 1)), np.cumsum(mass, axis=-1)], axis=-1)
    inner = np.clip(to[1:-1], edges[0], edges[-1])
    nearest = np.rint((inner - edges[0]) / (edges[-1] - edges[0]) * (edges.size - 1)).astype(np.intp)
    if np.allclose(edges[nearest], inner, rtol=0.0, atol=1e-9 * (edges[1] - edges[0])):
        at_inner = below[..., nearest]
    else:
        from scipy.interpolate import PchipInterpolator

        with np.errstate(over="ignore", divide="ignore"):  # slopes of 1e-310 have infinite reciprocals, as they should
            at_inner = PchipInterpolator(edges, below, axis=-1)(inner)
    at_ends = np.concatenate([below[..., :1], at_inner, below[..., -1:]], axis=-1)
    return np.moveaxis(np.maximum(np.diff(at_ends, axis=-1), 0.0), -1, axis)


def _log_sum_by_label(log_values: FloatArray, labels: IntArray) -> FloatArray:
    """Logarithm of the sum of exp(log_values) over the cells of each label."""
    flat: Any = labels.ravel()
    values = log_values.ravel()
    largest = np.full(int(flat.max()) + 1, -np.inf)
    np.maximum.at(largest, flat, values)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    total = np.bincount(flat, weights=np.exp(values - shift[flat]), minlength=largest.size)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(total) + shift)
