"""What a run of an ensemble leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from relaxsim.system.expression import parse
from relaxsim.system.field import Field
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray


@dataclass(frozen=True, eq=False)
class EnsemblePath:
    """Positions of an ensemble at the stored times.

    Attributes
    ----------
    times : ndarray, shape (n_times,)
        Stored times.
    positions : ndarray, shape (n_times, n_particles, dim)
        Positions; a transposed view of an array (n_times, dim, n_particles), so that ``positions[..., 0]`` is
        contiguous.
    system : System
        What was simulated.
    dt : float
        Time step.
    t0 : float
        Initial time.
    scheme : str
        Id of the scheme that ran (never "auto").
    seed : int
        The Philox key: ``simulate(..., rng=path.seed)`` gives the same bits.
    threads : int
        Threads used; they do not influence the result.
    packing_version : int
        Version of the rule that turns addresses into normals.
    """

    times: FloatArray
    positions: FloatArray
    system: System
    dt: float
    t0: float
    scheme: str
    seed: int
    threads: int
    packing_version: int

    @property
    def n_particles(self) -> int:
        """Number of particles."""
        return int(self.positions.shape[1])

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return int(self.positions.shape[2])

    def mean(self, f: str | Callable[..., Any]) -> tuple[FloatArray, FloatArray]:
        """Ensemble mean of an observable at each stored time, with its standard error.

        Parameters
        ----------
        f : str or callable
            Text such as ``"x**2 + y**2"``, or a pointwise function of `x`, indexable by component.

        Returns
        -------
        mean, stderr : ndarray, shape (n_times,)
            The standard error is that of independent particles, s / sqrt(n).
        """
        field = Field((), trees=parse(f)) if isinstance(f, str) else Field((), function=f)
        means, errors = np.empty(len(self.times)), np.empty(len(self.times))
        for k, frame in enumerate(self.positions):
            values = field(frame)
            means[k] = values.mean()
            errors[k] = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        return means, errors

    def __repr__(self) -> str:
        return (
            f"<EnsemblePath: {self.n_particles} particles in {self.dim} dimensions at {len(self.times)} times "
            f"{self.times[0]:g} ... {self.times[-1]:g}, {self.scheme}, dt = {self.dt:g}, seed {self.seed}>"
        )
