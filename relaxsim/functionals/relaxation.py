"""The record of a relaxation: free energy, energy, entropy and relative entropy of a law along its path.

With q the Gibbs law and Z its partition function, F = U - T S = T KL(p|q) - T ln Z, and F of the Gibbs law,
-T ln Z, is the least. Everything is dimensionless with k_B = 1; F, U and T are energies, S and KL are pure
numbers (nats).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from relaxsim.errors import InputError
from relaxsim.functionals.monotone import DEFAULT_ALPHA, MonotoneResult, check_monotone
from relaxsim.functionals.rates import ensemble_rate
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.functionals.bins import Bins


@dataclass(frozen=True, eq=False, repr=False)
class Relaxation:
    """How a law relaxes: one number of each kind at each time, with its standard error.

    Attributes
    ----------
    times : ndarray, shape (n_times,)
    free_energy, energy, entropy, kl : ndarray, shape (n_times,)
        F = T KL - T ln Z, U = <E>, S = (U - F)/T and KL = KL(p|q) to the Gibbs law q.
    free_energy_stderr, energy_stderr, entropy_stderr, kl_stderr : ndarray, shape (n_times,)
        Standard errors; zero for a density.
    free_energy_bias_bound, energy_bias_bound, entropy_bias_bound, kl_bias_bound : ndarray, shape (n_times,)
        What the finite number of particles may have left as a bias: the whole size of the correction that was
        applied, (m - 1)/2n for KL; zero for a density.
    groups : ndarray, shape (R, n_times), or None
        Free energies of R groups of particles (jackknife pseudo-values, see `track`); None for a density.
    bins : Bins or None
        The bins the law was counted on; None for a density on its own grid.
    label : {"ensemble", "density"}
    temperature, log_partition : float, or ndarray of shape (n_times,) where E or T depends on time
        T and ln Z; the free energy of the Gibbs law is -T ln Z.
    n_particles : int or None
        Size of the ensemble; None for a density.
    fine_groups : ndarray, shape (48, n_times), or None
        The same as `groups` for 48 groups, for false alarm rates below 1e-4; None where those would be of fewer than
        200 particles, or `groups` are as many.
    work : ndarray, shape (n_times,), or None
        Work done on a density since times[0] by changing E and T, `DensityPath.work`; None for an ensemble.
    moving : bool
        Whether E or T depends on time. KL is then that to the Gibbs law of the same time, and neither it nor F need
        fall: dF/dt = <dE/dt> - S dT/dt - dissipation.
    dissipation, dissipation_stderr, dissipation_bias_bound : ndarray, shape (n_times,)
        -dF/dt, at fixed E and T where they depend on time, which only a density knows. Of a density by its equation,
        exact for the discrete law, on its own grid whatever the bins. Of an ensemble by differences of F over the
        stored times, with errors from the groups; the bound covers what the length of the steps may do where F is
        convex in time, and at the first time, where nothing bounds that, it is nan. See `relaxsim.dissipation` for
        means over intervals. Computed when first asked for.
    """

    times: FloatArray
    free_energy: FloatArray
    energy: FloatArray
    entropy: FloatArray
    kl: FloatArray
    free_energy_stderr: FloatArray
    energy_stderr: FloatArray
    entropy_stderr: FloatArray
    kl_stderr: FloatArray
    free_energy_bias_bound: FloatArray
    energy_bias_bound: FloatArray
    entropy_bias_bound: FloatArray
    kl_bias_bound: FloatArray
    groups: FloatArray | None
    bins: Bins | None
    label: str
    temperature: float | FloatArray
    log_partition: float | FloatArray
    n_particles: int | None = None
    fine_groups: FloatArray | None = None
    work: FloatArray | None = None
    density_dissipation: Callable[[], FloatArray] | None = None

    @property
    def moving(self) -> bool:
        """Whether E or T depends on time."""
        return np.ndim(self.log_partition) > 0

    @property
    def has_dissipation(self) -> bool:
        """Whether there is a `dissipation`: not of an ensemble whose E or T depends on time."""
        return self.density_dissipation is not None or not self.moving

    @cached_property
    def _falling(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        if not self.has_dissipation:
            raise InputError(
                "dissipation: the energy or temperature depends on time, so the free energy of an ensemble changes by "
                "work too; the record of a density, track(FokkerPlanck(system, grid).evolve(...)), has both"
            )
        if self.density_dissipation is None:
            return ensemble_rate(self.times, self.free_energy, self.groups, self.free_energy_bias_bound)
        return self.density_dissipation(), np.zeros(self.times.size), np.zeros(self.times.size)

    @property
    def dissipation(self) -> FloatArray:
        """-dF/dt at each time."""
        return self._falling[0]

    @property
    def dissipation_stderr(self) -> FloatArray:
        """Its standard error."""
        return self._falling[1]

    @property
    def dissipation_bias_bound(self) -> FloatArray:
        """What may have been left as a bias."""
        return self._falling[2]

    def check_monotone(self, alpha: float = DEFAULT_ALPHA) -> MonotoneResult:
        """Test whether the free energy ever rises from one time to the next.

        Exact for a density; for an ensemble a test with false-alarm rate at most about `alpha`, see
        `relaxsim.functionals.check_monotone`. Unknown where E or T depends on time, since F may rise then. Passing is
        no proof: it says that no rise was found, and the result names the rise that would have been.
        """
        return check_monotone(self, alpha)

    def to_dict(self) -> dict[str, FloatArray]:
        """The arrays over time by name, for tables and files."""
        names = [field.name for field in fields(self) if "groups" not in field.name]
        names += ["dissipation", "dissipation_stderr", "dissipation_bias_bound"] if self.has_dissipation else []
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def __repr__(self) -> str:
        return (
            f"Relaxation({self.label}, {self.times.size} times {self.times[0]:g} ... {self.times[-1]:g}, "
            f"F {self.free_energy[0]:.4g} -> {self.free_energy[-1]:.4g}, "
            f"KL {self.kl[0]:.4g} -> {self.kl[-1]:.4g})"
        )
