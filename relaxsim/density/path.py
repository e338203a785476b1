"""The path of densities that a Fokker-Planck equation makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.fokker_planck import FokkerPlanck


class DensityPath:
    """Cell masses at the stored times.

    Attributes
    ----------
    times : ndarray, shape (n_times,)
    mass : ndarray, shape (n_times, \\*grid.shape)
        Probability of each cell; sums to one at every time.
    density : ndarray, shape (n_times, \\*grid.shape)
        Mass over cell volume.
    system, grid
        What was evolved, and on which cells.
    log_gibbs : ndarray, shape grid.shape
        ln of the Gibbs masses, -inf in forbidden cells.
    log_partition : float
        ln Z of the grid's box; the free energy at rest is -T ln Z.
    steps : int
        Linear systems solved.
    method : str
        How it was stepped.
    """

    def __init__(
        self, fokker_planck: FokkerPlanck, times: FloatArray, mass: FloatArray, steps: int, method: str
    ) -> None:
        self.system = fokker_planck.system
        self.grid = fokker_planck.grid
        self.log_gibbs = fokker_planck.log_gibbs
        self.log_partition = fokker_planck.log_partition
        self.times = times
        self.mass = mass
        self.steps = steps
        self.method = method

    @property
    def density(self) -> FloatArray:
        """Probability density in each cell, shape (n_times, \\*grid.shape)."""
        return self.mass / self.grid.cell_volume

    def __repr__(self) -> str:
        return (
            f"DensityPath({self.times.size} times from {self.times[0]:g} to {self.times[-1]:g}, "
            f"shape={self.grid.shape}, {self.steps} solves of {self.method})"
        )
