"""The cells of a grid, how they are linked, and what their jump rates are made of at one time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.rates import fitted_rates
from relaxsim.density.stencil import IntArray
from relaxsim.errors import MobilityError
from relaxsim.system.field import format_point, product_points
from relaxsim.system.relative_entropy import checked_energy
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

_CHUNK = 1 << 14  # points evaluated at a time: fields keep some ten arrays of them in the cache
_NEAR = 1e-6  # of a jump: how far to both sides of a point it is looked whether the energy is infinite there
NEEDLE = 1.0  # change of E/T over so short a way that tells a point of infinite energy


class CellGeometry:
    """Which cells are linked with which along the axes of a grid.

    Attributes
    ----------
    grid : Grid
    alive : ndarray of bool, shape grid.shape
        Which cells can hold mass; the others have no edges.
    """

    grid: Grid

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """All of them, where nothing else is known."""
        return np.ones(self.grid.shape, dtype=np.bool_)

    def ahead(self, values: Any, axis: int, steps: int = 1) -> Any:
        """What the next cell along an axis has: arrays of shape (*grid.shape, ...), wrapped at every end."""
        return np.roll(values, -steps, axis=axis)

    def linked(self, axis: int) -> NDArray[np.bool_]:
        """Which cells have a link to the next one along an axis: both carry mass, and no wall is between."""
        both: NDArray[np.bool_] = self.alive & self.ahead(self.alive, axis)
        if not self.grid.periodic[axis]:
            both[(slice(None),) * axis + (-1,)] = False
        return both

    def corners(self, axes: Sequence[int]) -> list[FloatArray]:
        """Coordinates of each axis: cell centres, and along `axes` the ends between a cell and the next one."""
        found = list(self.grid.centers)
        for axis in axes:
            ends = self.grid.edges[axis]
            found[axis] = np.append(ends[1:-1], ends[0]) if self.grid.periodic[axis] else ends[1:-1]
        return found

    def padded(self, values: FloatArray, axes: Sequence[int]) -> FloatArray:
        """Zeros appended where the last cell has no next one along some of `axes`."""
        return np.pad(values, [(0, int(a in axes and not self.grid.periodic[a])) for a in range(self.grid.dim)])


class Cells(CellGeometry):
    """Gibbs masses, energy, mobility and temperature on a grid.

    Parameters
    ----------
    system, grid
        What is discretised, on which cells.
    log_gibbs : ndarray, shape grid.shape
        ln m of the cells at time `t`.
    log_partition : float
        ln Z of the box at time `t`.
    t : float
        The time.
    density : ndarray, shape grid.shape, optional
        Probability density in each cell, for mobilities that depend on it.
    """

    def __init__(
        self,
        system: System,
        grid: Grid,
        log_gibbs: FloatArray,
        log_partition: float,
        t: float = 0.0,
        density: FloatArray | None = None,
    ) -> None:
        self.system, self.grid, self.t = system, grid, t
        self.log_m = np.asarray(log_gibbs, dtype=np.float64).reshape(grid.shape)
        self.log_partition = log_partition
        self.temperature = value_at(system.temperature, t)
        self.density = None if density is None else np.asarray(density, dtype=np.float64).reshape(grid.shape)

    @property
    def turns(self) -> bool:
        """Whether the mobility has an antisymmetric part."""
        return self.grid.dim > 1 and not self.system.mobility.reversible

    @property
    def one_tensor(self) -> bool:
        """Whether S is the same in every cell."""
        return self.density is None and bool(self.system.mobility.symmetric_is_constant)

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Which cells carry mass, shape grid.shape."""
        return np.isfinite(self.log_m)

    @cached_property
    def log_mass(self) -> FloatArray:
        """ln m, with 0 in cells of no mass, shape (n_cells,)."""
        return np.where(self.alive, self.log_m, 0.0).ravel()

    @cached_property
    def _half_lattice(self) -> FloatArray:
        """ln of the Gibbs weight of the points of the half lattice, in units of masses of cells, an axis for each."""
        wrap = self.system.domain.wrap
        energy = over_blocks(half_lattice(self.grid), lambda x: checked_energy(self.system, wrap(x), self.t))
        return np.asarray(self.unit - energy / self.temperature)

    @property
    def unit(self) -> float:
        """ln of what turns q = exp(-E/T) into the mass of a cell."""
        return float(np.log(self.grid.cell_volume)) - self.log_partition

    @cached_property
    def _log_centers(self) -> FloatArray:
        """ln of the Gibbs weight of the cell centres, in units of masses of cells, shape (n_cells,)."""
        return self._half_lattice[(slice(None, None, 2),) * self.grid.dim].ravel()

    def unit_rates(
        self, start: IntArray, end: IntArray, places: Sequence[IntArray], offset: Sequence[IntArray]
    ) -> tuple[FloatArray, FloatArray]:
        """Fitted rates of edges of unit weight, forth and back.

        Parameters
        ----------
        start, end : ndarray of int, shape (n,)
            Cells that carry mass.
        places, offset : sequence of ndarray of int, shape (n,)
            Number of the start along each axis, and how many cells from there the end is.
        """
        middle = self._half_lattice.ravel()[halfway(self.grid, places, offset)]
        low = np.flatnonzero(middle < np.minimum(self.log_mass[start], self.log_mass[end]) - NEEDLE)
        if len(low):
            grid = self.grid
            steps = np.stack([np.broadcast_to(v, start.shape)[low] for v in offset], axis=-1) * grid.spacing
            centers = np.stack([c[place[low]] for c, place in zip(grid.centers, places, strict=True)], axis=-1)
            middle[low] = self.past_needles(middle[low], centers + steps / 2, steps, self.unit)
        ends = self._log_centers[start], self._log_centers[end]
        return fitted_rates(self.log_mass[start], self.log_mass[end], middle, ends)

    def past_needles(self, log_q: FloatArray, points: FloatArray, steps: FloatArray, unit: float = 0.0) -> FloatArray:
        """ln q + unit at points on the way of jumps `steps`, both (n, dim), or from beside them.

        An energy that is infinite at a point, but finite on both sides of it, closes nothing: there q is the mean of
        those a quarter of the jump to either side. So it is at points that are off by rounding from such a one.
        """

        def beside(part: float) -> FloatArray:
            places = self.system.domain.wrap(points + part * steps)
            return unit - checked_energy(self.system, places, self.t) / self.temperature

        single = log_q < np.minimum(beside(-_NEAR), beside(_NEAR)) - NEEDLE
        mean = np.logaddexp(beside(-0.25), beside(0.25)) - np.log(2.0)
        return np.where(single, mean, log_q)

    def symmetric(self, points: FloatArray, density: FloatArray | None = None) -> FloatArray:
        """S at points (..., dim); `density` there, if the mobility depends on it."""
        mobility: Any = self.system.mobility
        values = mobility.symmetric(points, self.t, *(() if density is None else (density,)))
        return self._finite(np.asarray(values, dtype=np.float64), points)

    def antisymmetric(self, points: FloatArray, density: FloatArray | None = None) -> FloatArray:
        """A at points (..., dim)."""
        mobility: Any = self.system.mobility
        values = mobility.antisymmetric(points, self.t, *(() if density is None else (density,)))
        return self._finite(np.asarray(values, dtype=np.float64), points)

    @staticmethod
    def _finite(matrices: FloatArray, points: FloatArray) -> FloatArray:
        bad = ~np.isfinite(matrices).all(axis=(-2, -1))
        if bad.any():
            where = format_point(points[bad][0])
            raise MobilityError(
                f"system: the mobility is {matrices[bad][0].tolist()} at {where}, expected finite numbers; mend it "
                "there or shrink the grid's bounds"
            )
        return matrices


def half_lattice(grid: Grid) -> list[FloatArray]:
    """Coordinates of the cell centres and of the points halfway between neighbours, for each axis."""
    return [
        centers[0] + np.arange(2 * len(centers) - (not periodic)) * h / 2
        for centers, h, periodic in zip(grid.centers, grid.spacing, grid.periodic, strict=True)
    ]


def halfway(grid: Grid, places: Sequence[IntArray], offset: Sequence[IntArray]) -> IntArray:
    """Flat numbers in the half lattice of the middle between cells and cells + offset."""
    index = np.zeros(len(places[0]), dtype=np.int64)
    for place, step, n, periodic in zip(places, offset, grid.shape, grid.periodic, strict=True):
        middle = 2 * place + step
        index *= 2 * n - (not periodic)
        index += middle % (2 * n) if periodic else middle
    return index


def blocks(axes: Sequence[FloatArray], multiple: int = 1) -> Iterator[FloatArray]:
    """Points of a product of axes, shape (rows, ..., dim), some rows of the first axis at a time.

    Parameters
    ----------
    axes : sequence of ndarray
        Coordinates along each axis.
    multiple : int
        The number of rows in a block is a multiple of it.
    """
    per_row = max(1, int(np.prod([len(axis) for axis in axes[1:]])))
    rows = max(1, _CHUNK // (per_row * multiple)) * multiple
    for start in range(0, len(axes[0]), rows):
        yield product_points([axes[0][start : start + rows], *axes[1:]])


def over_blocks(axes: Sequence[FloatArray], function: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Values of a function of points (..., dim) on a product of axes, block by block."""
    return np.concatenate([function(points) for points in blocks(axes)])
