"""What a run of an ensemble leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.particles.observables.averages import field_of
from relaxsim.particles.observables.base import Observable
from relaxsim.record import Record, Savable
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray


@dataclass(frozen=True, eq=False)
class EnsemblePath(Savable):
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
    noise : str
        Kind of noise.
    walls : str
        How reflecting walls were met.
    windings : ndarray of int, shape (n_times, n_particles, dim), or None
        Turns around each periodic axis, if they were stored.
    weights : ndarray, shape (n_times, n_particles), or None
        Weights of the particles, of mean 1 at each time, for schemes whose plain averages are not those of the system;
        all 1 at the initial time. Weighted means are those of the law at rest once the run has mixed, not before.
    acceptance : float or None
        The fraction of steps that a Metropolis rule accepted, for schemes that have one.
    observables : mapping of str to Observable
        What was measured inside the run, by name.
    device : str
        Where it ran: "cpu" or "cuda".
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
    noise: str = "gaussian"
    windings: NDArray[np.int64] | None = None
    weights: FloatArray | None = None
    acceptance: float | None = None
    walls: str = "mirror"
    observables: Mapping[str, Observable] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def n_particles(self) -> int:
        """Number of particles."""
        return int(self.positions.shape[1])

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return int(self.positions.shape[2])

    @property
    def dtype(self) -> str:
        """Precision of the positions, and of the arithmetic that made them."""
        return str(self.positions.dtype)

    def mean(self, f: str | Callable[..., Any]) -> tuple[FloatArray, FloatArray]:
        """Ensemble mean of an observable at each stored time, with its standard error.

        Parameters
        ----------
        f : str or callable
            Text such as ``"x**2 + y**2"``, or a pointwise function of `x`, indexable by component.

        Returns
        -------
        mean, stderr : ndarray, shape (n_times,)
            The standard error is that of independent particles, s / sqrt(n); with weights w it is that of the ratio
            sum(w f) / sum(w), with s the standard deviation of w (f - mean).
        """
        if not len(self.times):
            raise InputError(
                "path: no positions were stored; simulate with store='all' or 'final', or measure "
                "observables={'mean': rs.Mean(f)} inside the run"
            )
        field = field_of(f, self.system)
        means, errors = np.empty(len(self.times)), np.empty(len(self.times))
        for k, frame in enumerate(self.positions):
            values = field(frame, float(self.times[k]))
            if self.weights is not None:
                means[k] = np.average(values, weights=self.weights[k])
                values = means[k] + self.weights[k] * (values - means[k])
            else:
                means[k] = values.mean()
            errors[k] = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        return means, errors

    def unwrapped(self) -> FloatArray:
        """Positions with the turns around periodic axes added, shape (n_times, n_particles, dim).

        Raises
        ------
        InputError
            The turns were not stored.
        """
        if self.windings is None:
            raise InputError("windings: were not stored; run simulate(..., store_windings=True)")
        domain = self.system.domain
        length = np.where(domain.periodic, domain.upper - domain.lower, 0.0)
        return np.asarray(self.positions + self.windings * length)

    def _record(self) -> Record:
        from relaxsim.particles.path_record import to_record

        return to_record(self)

    def to_xarray(self) -> Any:
        """Positions, turns and weights as an `xarray.Dataset` with the axes time, particle, axis (extra ``io``)."""
        from relaxsim.particles.path_record import to_dataset

        return to_dataset(self)

    def __repr__(self) -> str:
        when = f" {self.times[0]:g} ... {self.times[-1]:g}" if len(self.times) else ""
        return (
            f"<EnsemblePath: {self.n_particles} particles in {self.dim} dimension{'s' * (self.dim > 1)} at "
            f"{len(self.times)} times{when}, {self.scheme}, dt = {self.dt:g}, seed {self.seed}>"
        )
