"""The free energy of an ensemble at one time, measured two ways."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.functionals import kinds
from relaxsim.functionals.binned import binned_kl, group_values, miller_madow
from relaxsim.functionals.bins import BASE_SHAPES, MIN_EXPECTED, Bins, cell_of
from relaxsim.functionals.entropy import check_method, entropy_parts, fixed_temperature, kl_between
from relaxsim.functionals.estimate import DEFAULT_GROUPS, Estimate, Parts, left_out_means, undefined
from relaxsim.functionals.neighbours import MAX_SAMPLES
from relaxsim.functionals.partition import as_log_partition, gibbs_walkers
from relaxsim.functionals.samples import FloatArray, Space, check_samples, thin
from relaxsim.system.relative_entropy import checked_energy, log_cell_weights

if TYPE_CHECKING:
    from relaxsim.system.system import System


@dataclass(frozen=True)
class FreeEnergy:
    """The free energy of an ensemble, and what it was made of.

    Attributes
    ----------
    from_entropy : Estimate
        F = U - T S; Z is not needed.
    from_kl : Estimate
        F = T KL - T ln Z. Up to three dimensions KL is that of merged bins to their exact Gibbs masses, as `track`
        gives it; beyond, that of the particles to Gibbs particles by neighbours.
    energy, entropy, kl : Estimate
        U = <E>, S = H[p], KL(p|q).
    log_partition : Estimate
        ln Z.
    temperature : float
    """

    from_entropy: Estimate
    from_kl: Estimate
    energy: Estimate
    entropy: Estimate
    kl: Estimate
    log_partition: Estimate
    temperature: float

    @property
    def best(self) -> Estimate:
        """The one with the smaller sum of two standard errors and the bias bound; nan never wins over a number."""
        both = (self.from_entropy, self.from_kl)
        return min(both, key=lambda e: math.inf if math.isnan(e.value) else 2.0 * e.stderr + e.bias_bound)

    @property
    def difference(self) -> Estimate:
        """from_entropy - from_kl: zero within its errors if both are right.

        Its standard error takes the two as independent, which is on the safe side: they share the particles.
        """
        a, b = self.from_entropy, self.from_kl
        stderr, bound = math.hypot(a.stderr, b.stderr), a.bias_bound + b.bias_bound
        return Estimate(a.value - b.value, stderr, bound, "difference", a.n, a.n_given, min(a.dof, b.dof))

    @property
    def agree(self) -> bool | None:
        """Whether zero lies in the widened 99.9 % interval of the difference; None where a value is nan."""
        low, high = self.difference.widened(0.999)
        return None if math.isnan(low) else low <= 0.0 <= high


def free_energy(
    points: Any,
    system: System | None = None,
    *,
    method: str = "auto",
    log_partition: Any = None,
    k: int = 4,
    max_samples: int | None = MAX_SAMPLES,
    groups: int = DEFAULT_GROUPS,
    workers: int = -1,
) -> FreeEnergy:
    """F of the law of some particles, as U - T S and as T KL - T ln Z.

    Parameters
    ----------
    points, method, k, max_samples, groups, workers
        As for `entropy`.
    system : System
        Energy and temperature that do not depend on time.
    log_partition : float or Estimate, optional
        ln Z; by default `log_partition(system)`.

    Returns
    -------
    FreeEnergy
        The two ways err differently: S has the bias of an entropy estimator; KL on bins loses what is finer than a bin.
        Parts that cannot be had are nan with a warning.

    Raises
    ------
    InputError, ShapeError
        As `entropy` does; an energy or temperature that depends on time; exp(-E/T) not normalisable.
    """
    kinds.check_points(points, "points", "rs.track(path).free_energy")
    system = kinds.check_system(system)
    temperature = fixed_temperature(system)
    x = check_samples(points, "points", system.dim)
    chosen = check_method(method, x.shape[1], k, groups, max_samples)
    energies = checked_energy(system, x)
    if np.isinf(energies).any():
        raise InputError(
            f"points: {np.count_nonzero(np.isinf(energies))} of {len(x)} particles are where E is infinite, so F is; "
            "begin inside the allowed region"
        )
    log_z = as_log_partition(system, log_partition)
    used, parts, cause = entropy_parts(x, Space.of(system.domain, x), chosen, k, max_samples, groups, workers)
    own = thin(energies, len(used))
    mean = Parts(float(own.mean()), left_out_means(own, groups), 0.0, "mean")
    if parts is None:
        found = undefined(f"entropy by {chosen}", cause, len(used), len(x))
        by_entropy = Estimate(math.nan, math.nan, math.nan, f"U - T S, {chosen}", len(used), len(x), 0, cause)
    else:
        found = parts.estimate(len(used), len(x))
        whole = parts.plus(mean.value, mean.left_out, -temperature).estimate(len(used), len(x))
        by_entropy = Estimate(whole.value, whole.stderr, whole.bias_bound, f"U - T S, {whole.method}", whole.n,
                              whole.n_given, whole.dof)  # fmt: skip
    kl = _kl(x, system, groups, k, max_samples, workers)
    by_kl = Estimate(
        temperature * (kl.value - log_z.value),
        temperature * math.hypot(kl.stderr, log_z.stderr),
        temperature * (kl.bias_bound + log_z.bias_bound),
        f"T KL - T ln Z, {kl.method}",
        kl.n,
        kl.n_given,
        kl.dof,
        kl.cause or log_z.cause,
    )
    return FreeEnergy(by_entropy, by_kl, mean.estimate(len(used), len(x)), found, kl, log_z, temperature)


def _kl(x: FloatArray, system: System, groups: int, k: int, max_samples: int | None, workers: int) -> Estimate:
    """KL to the Gibbs law without an entropy: on bins, or against Gibbs particles."""
    if system.dim in BASE_SHAPES:
        return _binned(x, system, groups)
    walkers, cause = gibbs_walkers(system)
    if cause:
        return undefined("KL to Gibbs particles", cause, len(x), len(x))
    return kl_between(x, walkers, k=k, domain=system.domain, max_samples=max_samples, groups=groups, workers=workers)


def _binned(x: FloatArray, system: System, groups: int) -> Estimate:
    """KL on merged bins; what bins of twice as many points lose more bounds what these lose.

    What is lost is of order h^2 in the width of the bins, and twice the points are 2^(1/d) times the width.
    """
    bins = Bins.fit(system, x[None])
    value, left_out, correction = _on_bins(x, bins, groups)
    cells = np.bincount(cell_of(x, bins.grid), minlength=bins.grid.n_cells)
    weights = log_cell_weights(system, bins.grid)
    wide, _, _ = _on_bins(x, Bins.merging(system, bins.grid, weights, [cells], 1, len(x), 2.0 * MIN_EXPECTED), groups)
    bound = abs(value - wide) / (2.0 ** (2.0 / system.dim) - 1.0) + 0.5 * correction
    return Parts(value, left_out, bound, "merged bins").estimate(len(x), len(x))


def _on_bins(x: FloatArray, bins: Bins, groups: int) -> tuple[float, FloatArray, float]:
    """KL, the same without each group, and the correction for the counts."""
    index = bins.index(x)
    counts = np.bincount(index, minlength=bins.n_bins)
    label = np.arange(len(x)) % groups
    own = np.bincount(label * bins.n_bins + index, minlength=groups * bins.n_bins).reshape(groups, -1)
    value, pseudo = float(binned_kl(counts, bins.log_gibbs)), group_values(counts, own, bins)
    return value, value - (pseudo - pseudo.mean()) / (groups - 1), float(miller_madow(counts))
