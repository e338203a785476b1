"""How many particles are in each cell of a grid."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.particles.observables.accumulate import LEAF
from relaxsim.particles.observables.base import Observable, check_groups, error_of_groups
from relaxsim.particles.observables.binning import binning
from relaxsim.system.grid import Grid
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray


class Histogram(Observable):
    """Counts of the particles in the cells of a grid.

    A particle beyond the box of the grid counts in the nearest cell, so the outermost cells reach to infinity on
    unbounded axes; `outside` says how many there are. Counts are kept for the groups i mod `groups` of the particles
    separately, which is what `track` needs to measure free energies when no positions are stored.

    Parameters
    ----------
    grid : Grid
        Over the domain of the system; its box may be smaller.
    groups : int, optional
        Number of groups, by default 24; the memory is n_times x groups x cells integers of 4 bytes (with weights, 8).
    every : int, optional
        Accumulate every so many steps, by default measure at the times of `simulate`.
    after : float, optional
        With `every`: the time from which on to accumulate.

    Attributes
    ----------
    value, stderr : ndarray, shape (n_times, \\*grid.shape), or grid.shape with `every`
        The fraction of the particles in each cell, which sums to one, and its standard error: that of a count of
        independent particles at each time, from the spread of the groups with `every` or with weights. Over the
        volume of a cell it is ``histogram.density``.
    counts : ndarray, shape (n_times, groups, \\*grid.shape), or (groups, \\*grid.shape) with `every`
        Integers, or sums of weights.
    outside : ndarray, shape (n_times,), or float with `every`
        The fraction of the particles that were beyond the box.
    times : ndarray, shape (n_times,)
    """

    scratch = ("_rooms", "_cells", "_numbers")

    def __init__(
        self, grid: Grid, *, groups: int | None = None, every: int | None = None, after: float | None = None
    ) -> None:
        super().__init__(every=every, after=after)
        if not isinstance(grid, Grid):
            raise InputError(f"grid: expected a Grid, got {type(grid).__name__}; write Grid(system.domain, shape=...)")
        self.grid, self.groups = grid, check_groups(groups)

    def parallel(self, weighted: bool) -> bool:
        return not weighted  # counts can be added in any order, weights cannot

    def begin(self, system: System, n_particles: int, times: FloatArray, t0: float, dt: float) -> None:
        if self.grid.dim != system.dim:
            raise ShapeError(f"grid: has {self.grid.dim} axes, the particles have {system.dim} coordinates")
        if self.grid.domain != system.domain:
            raise InputError(
                f"grid: is over {self.grid.domain!r}, the particles live in {system.domain!r}; write "
                "Grid(system.domain, shape=..., bounds=...)"
            )
        self.times = times
        self._cells = (self.groups, self.grid.n_cells)
        records = len(times) if self.every is None else 1
        kind: Any = np.uint32 if self.every is None and n_particles < 2**32 else np.int64
        self._counts: NDArray[Any] = np.zeros((records, *self._cells), dtype=kind)
        self._outside = np.zeros(records)
        self._rooms: dict[int, list[Any]] = {}  # what each thread has counted in the record that is under way
        grid = self.grid
        self._numbers = (grid.bounds[:, 0].copy(), grid.bounds[:, 1].copy(), grid.spacing.copy(), np.array(grid.shape))

    def look(self, leaf: int, positions: FloatArray, weights: FloatArray | None, k: int) -> None:
        if weights is not None and self._counts.dtype != np.float64:
            self._counts = self._counts.astype(np.float64)
        room = self._rooms.setdefault(threading.get_ident(), [])
        if not room:
            room += [np.zeros(self._cells, dtype=np.int64 if weights is None else np.float64), 0.0]
        count = binning(weights is not None)
        given = np.ones(1) if weights is None else weights
        room[1] += count(positions, leaf * LEAF, *self._numbers, given, room[0])

    def close(self, k: int) -> None:
        record = k if self.every is None else 0
        for room in self._rooms.values():
            self._counts[record] += room[0].astype(self._counts.dtype, copy=False)
            self._outside[record] += room[1]
            room[0][...], room[1] = 0, 0.0

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._rooms = {}

    def merge(self, other: Any) -> None:
        self.check_mergeable(other)
        if self.n_particles + other.n_particles >= 2**32 and self._counts.dtype == np.uint32:
            self._counts = self._counts.astype(np.int64)
        self._counts = self._counts + other._counts
        self._outside = self._outside + other._outside
        self.add_particles(other)
        self.finish()

    def finish(self) -> None:
        self._rooms = {}
        shape, one = self.grid.shape, self.every is not None
        records = len(self._counts)
        counts = self._counts.sum(axis=1, dtype=np.float64)
        total = counts.sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = counts / total
            outside = self._outside / total[:, 0]
            if one or self._counts.dtype == np.float64:
                stderr = np.stack([error_of_groups(c, c.sum(axis=1, keepdims=True)) for c in self._counts * 1.0])
            else:
                stderr = np.sqrt(value * (1.0 - value) / total)
        self.counts = self._counts.reshape(records, self.groups, *shape)
        self.value, self.stderr = value.reshape(records, *shape), stderr.reshape(records, *shape)
        self.outside: Any = outside
        if one:
            self.counts, self.value, self.stderr = self.counts[0], self.value[0], self.stderr[0]
            self.outside = float(outside[0])

    @property
    def density(self) -> FloatArray:
        """The fraction of the particles in each cell over its volume."""
        return np.asarray(self.value / self.grid.cell_volume)
