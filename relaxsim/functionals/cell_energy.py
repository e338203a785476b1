"""The mean energy of a law on the cells of a grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relaxsim.system.measure import ManifoldSystem
from relaxsim.system.relative_entropy import checked_energy

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]


def mean_energy(system: System, grid: Grid, mass: FloatArray, times: FloatArray) -> FloatArray:
    """<E> of cell masses (n_times, *shape), by `energy_weights`."""
    weights = weights_at(system, grid, times)
    rows = mass.reshape(len(mass), -1)
    return np.array([row[row > 0] @ weight[row > 0] for row, weight in zip(rows, weights, strict=True)])


def weights_at(system: System, grid: Grid, times: FloatArray) -> Iterator[FloatArray]:
    """`energy_weights` at one time after the other; the same array where E does not move."""
    moves = getattr(system.energy, "time_dependent", False)
    for k, t in enumerate(times):
        if moves or k == 0:
            weight = energy_weights(system, grid, float(t))
        yield weight


def energy_weights(system: System, grid: Grid, t: float = 0.0) -> FloatArray:
    """The energy each cell counts with in <E>, (n_cells,), of fourth order in the cell width.

    Cell masses are p smoothed by a cell. For smooth p the smoothing moves <E> as if E were E + h^2/24 E'', so
    the weight is E - h^2/24 E'' = 2 E(centre) - (mean of E over the cell), up to h^2/12 E'p at walls that
    hold mass. Cells cut by a forbidden region (E = inf) have the mean over their allowed part.
    """
    if isinstance(system, ManifoldSystem):
        system = system.base  # the rest is the measure's
    nodes = np.array(list(itertools.product((-0.5, 0.5), repeat=grid.dim))) / math.sqrt(3.0)
    centers = grid.points
    middle = checked_energy(system, centers, t)
    total, allowed = np.zeros(grid.n_cells), np.zeros(grid.n_cells)
    for node in nodes:  # Gauss-Legendre with two nodes an axis
        energy = checked_energy(system, centers + node * grid.spacing, t)
        finite = np.isfinite(energy)
        total += np.where(finite, energy, 0.0)
        allowed += finite
    mean = np.divide(total, allowed, out=np.full(grid.n_cells, np.inf), where=allowed > 0)
    whole = (allowed == len(nodes)) & np.isfinite(middle)
    return np.where(whole, 2.0 * np.where(whole, middle, 0.0) - np.where(whole, mean, 0.0), mean)
