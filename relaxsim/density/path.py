"""The path of densities that a Fokker-Planck equation makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.record import Record, Savable
from relaxsim.system.measure import cell_measures
from relaxsim.system.relative_entropy import kl_divergence
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System


class DensityPath(Savable):
    """Cell masses at the stored times.

    Attributes
    ----------
    times : ndarray, shape (n_times,)
    mass : ndarray, shape (n_times, \\*grid.shape)
        Probability of each cell; sums to one at every time.
    density : ndarray, shape (n_times, \\*grid.shape)
        Mass over cell volume; where the system has a measure sqrt(g) dx, over its integral over the cell.
    system, grid
        What was evolved, and on which cells.
    log_gibbs : ndarray, shape grid.shape, or (n_times, \\*grid.shape) where E or T depends on time
        ln of the Gibbs masses, -inf in forbidden cells.
    log_partition : float, or ndarray of shape (n_times,) where E or T depends on time
        ln Z of the grid's box; the free energy at rest is -T ln Z.
    steps : int
        Linear systems solved, or products with the generator.
    method : str
        How it was stepped; two names where one method took over from another.
    why : str
        Why by that one.
    work : ndarray, shape (n_times,), or None
        Work done on the density since times[0] by changing E and T, the sum of <dE> - S dT; None where nothing of the
        generator changes, and so no work is done, or where walls absorb.
    """

    def __init__(
        self,
        system: System,
        grid: Grid,
        log_gibbs: FloatArray,
        log_partition: float | FloatArray,
        times: FloatArray,
        mass: FloatArray,
        steps: int,
        method: str,
        *,
        why: str = "",
        work: FloatArray | None = None,
    ) -> None:
        self.system = system
        self.grid = grid
        self.log_gibbs = log_gibbs
        self.log_partition = log_partition
        self.times = times
        self.mass = mass
        self.steps = steps
        self.method = method
        self.why = why
        self.work = work

    @property
    def density(self) -> FloatArray:
        """Probability density in each cell, shape (n_times, \\*grid.shape)."""
        return self.mass / cell_measures(self.system, self.grid)

    @property
    def kl(self) -> FloatArray:
        """Relative entropy to the Gibbs masses of the same time, shape (n_times,)."""
        if self.log_gibbs.ndim == self.grid.dim:
            return np.asarray(kl_divergence(self.mass, self.log_gibbs))
        return np.array([kl_divergence(p, l) for p, l in zip(self.mass, self.log_gibbs, strict=True)])

    @property
    def free_energy(self) -> FloatArray:
        """F = T (KL - ln Z) at each time, shape (n_times,)."""
        temperatures = np.array([value_at(self.system.temperature, float(t)) for t in self.times])
        return np.asarray(temperatures * (self.kl - self.log_partition))

    @property
    def dissipated(self) -> FloatArray:
        """Free energy lost since times[0]: the work done minus the change of F, shape (n_times,).

        It never falls where the path was stepped by backward Euler.
        """
        free_energy = self.free_energy
        return np.asarray((0.0 if self.work is None else self.work) - (free_energy - free_energy[0]))

    def _record(self) -> Record:
        from relaxsim.density.path_record import to_record

        return to_record(self)

    def to_xarray(self) -> Any:
        """Mass, density and ln of the Gibbs masses as an `xarray.Dataset` over time, x0, x1, ... (extra ``io``)."""
        from relaxsim.density.path_record import to_dataset

        return to_dataset(self)

    def __repr__(self) -> str:
        return (
            f"DensityPath({self.times.size} times from {self.times[0]:g} to {self.times[-1]:g}, "
            f"shape={self.grid.shape}, {self.steps} steps of {self.method})"
        )
