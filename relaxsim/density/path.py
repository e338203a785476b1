"""The path of densities that a Fokker-Planck equation makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relaxsim.record import write
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System


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
        self,
        system: System,
        grid: Grid,
        log_gibbs: FloatArray,
        log_partition: float,
        times: FloatArray,
        mass: FloatArray,
        steps: int,
        method: str,
    ) -> None:
        self.system = system
        self.grid = grid
        self.log_gibbs = log_gibbs
        self.log_partition = log_partition
        self.times = times
        self.mass = mass
        self.steps = steps
        self.method = method

    @property
    def density(self) -> FloatArray:
        """Probability density in each cell, shape (n_times, \\*grid.shape)."""
        return self.mass / self.grid.cell_volume

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything to a file that `relaxsim.load` reads, whole or not at all.

        Parameters
        ----------
        path : path-like
            A name that ends in ``.npz``, or in ``.zarr`` (with the extra ``io``).

        Returns
        -------
        Path
            `path`.

        Raises
        ------
        StorageError
            The disk is full, ...; a file that was there before is still there, and this path is as it was.
        InputError, MissingDependencyError
            Another ending; ``.zarr`` without the extra ``io``.
        """
        from relaxsim.density.path_record import to_record

        return write(path, to_record(self))

    def to_xarray(self) -> Any:
        """Mass, density and ln of the Gibbs masses as an `xarray.Dataset` over time, x0, x1, ... (extra ``io``)."""
        from relaxsim.density.path_record import to_dataset

        return to_dataset(self)

    def __repr__(self) -> str:
        return (
            f"DensityPath({self.times.size} times from {self.times[0]:g} to {self.times[-1]:g}, "
            f"shape={self.grid.shape}, {self.steps} solves of {self.method})"
        )
