"""KL and energy of an ensemble that was counted while it ran, in the cells of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, warn
from relaxsim.functionals.binned import (
    FINE_GROUPS,
    Measured,
    binned_kl,
    delta_method,
    group_values,
    miller_madow,
    stderr_of_mean,
)
from relaxsim.functionals.bins import BASE_SHAPES, Bins, weights_to_the_ends
from relaxsim.functionals.cell_energy import weights_at
from relaxsim.functionals.moving import over_time
from relaxsim.particles.observables import Histogram
from relaxsim.system.grid import Grid
from relaxsim.system.temperature import gibbs_moves, value_at

if TYPE_CHECKING:
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

OUTSIDE = 0.1  # times 1/sqrt(n): the share beyond a histogram that moves U by about a tenth of its standard error


def stored_histogram(path: Any) -> Histogram | None:
    """The first histogram of a path that knows more times than its positions, None if the positions serve."""
    for observable in getattr(path, "observables", {}).values():
        if isinstance(observable, Histogram) and observable.times.size > len(path.times):
            return observable
    return None


def measured_histogram(system: System, histogram: Histogram, groups: int, bins: Bins | None) -> Measured:
    """What the counts of a histogram say, on bins merged from its cells unless others of its grid are given."""
    _check(histogram, groups, bins)
    grid, counts = histogram.grid, _by_group(histogram, groups)
    n_times, n = len(counts), histogram.n_particles
    if bins is None:
        bins = _merged(system, grid, histogram.times, counts.sum(axis=1), n)
    labels = bins.labels.ravel()
    found = Measured.empty(bins, n, n_times, groups)
    fine = (
        _by_group(histogram, FINE_GROUPS) if found.fine_kl is not None and histogram.groups % FINE_GROUPS == 0 else None
    )
    if fine is None:
        found.fine_kl = None
    for k, (t, energy) in enumerate(zip(histogram.times, weights_at(system, grid, histogram.times), strict=True)):
        own_cells, here = counts[k], bins.at(t)
        found.log_partition[k] = here.log_partition
        cells = own_cells.sum(axis=0)
        own = _on_bins(own_cells, labels, bins)
        binned = own.sum(axis=0)
        found.kl[k], found.kl_bias[k] = binned_kl(binned, here.log_gibbs), miller_madow(binned)
        occupied = np.flatnonzero(cells)
        index, e, times = labels[occupied], energy[occupied], cells[occupied]
        found.energy[k], found.energy_stderr[k] = e @ times / n, stderr_of_mean(e, times)
        reduced = e / value_at(system.temperature, t)
        found.kl_stderr[k], found.entropy_stderr[k] = delta_method(binned, index, reduced, here, times)
        if n > 1:
            found.group_kl[:, k] = group_values(binned, own[: len(found.group_kl)], here)
        if fine is not None and found.fine_kl is not None:
            found.fine_kl[:, k] = group_values(binned, _on_bins(fine[k], labels, bins), here)
    _forget_energies_of_others(found, histogram)
    return found


def _merged(system: System, grid: Grid, times: FloatArray, cells: IntArray, n: int) -> Bins:
    """Bins merged from the cells of a histogram, whose counts are (n_times, n_cells)."""
    moves = gibbs_moves(system) and system.dim in BASE_SHAPES
    covered = Grid.covering(system, 2, times=times).bounds if moves else None
    weights, weigh = over_time(system, times, lambda t: weights_to_the_ends(system, grid, t, covered))
    return Bins.merging(system, grid, weights, cells, len(cells), n, weigh=weigh)


def _on_bins(cells: IntArray, labels: NDArray[np.intp], bins: Bins) -> IntArray:
    """Counts (groups, n_cells) summed to (groups, n_bins)."""
    rows = [np.bincount(labels, weights=row, minlength=bins.n_bins) for row in cells]
    return np.stack(rows).astype(np.int64)


def _forget_energies_of_others(found: Measured, histogram: Histogram) -> None:
    """No U where many particles were beyond the box: their energy is not that of its outermost cells."""
    unknown = histogram.outside > OUTSIDE / np.sqrt(histogram.n_particles)
    if unknown.any():
        warn(
            f"up to {100 * histogram.outside.max():.2g} % of the particles were beyond the box of the histogram, where "
            "their energy is not known: U and S are nan at such times, F and KL are those of cells that reach to "
            "infinity. A wider box, as of Grid.covering(system, shape), gives all of them"
        )
    for energies in (found.energy, found.energy_stderr, found.entropy_stderr):
        energies[unknown] = np.nan


def _by_group(histogram: Histogram, groups: int) -> IntArray:
    """Counts (n_times, groups, n_cells); groups i mod R make groups i mod R' for every R' that divides R."""
    counts: IntArray = histogram.counts.reshape(len(histogram.counts), histogram.groups, -1).astype(np.int64)
    return np.stack([counts[:, r::groups].sum(axis=1) for r in range(groups)], axis=1)


def _check(histogram: Histogram, groups: int, bins: Bins | None) -> None:
    if histogram.counts.dtype == np.float64:
        raise InputError("path: weighted ensembles cannot be tracked yet; resample the particles to equal weights")
    if histogram.groups % groups:
        raise InputError(
            f"groups: this histogram keeps {histogram.groups} groups of particles, {groups} cannot be made of them; "
            f"simulate with Histogram(grid, groups={groups})"
        )
    if bins is not None and bins.grid != histogram.grid:
        raise InputError(
            f"like: its bins are merged from {bins.grid!r}, the histogram counts in {histogram.grid!r}; take the "
            "record of a histogram on the same grid"
        )
