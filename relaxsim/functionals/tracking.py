"""Measure free energy, energy, entropy and relative entropy along the path of an ensemble or of a density."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.checks import COARSE
from relaxsim.errors import InputError, warn
from relaxsim.functionals import kinds
from relaxsim.functionals.binned import Measured, binned_kl, delta_method, miller_madow, pseudo_values, stderr_of_mean
from relaxsim.functionals.bins import BASE_SHAPES, Bins
from relaxsim.functionals.cell_energy import mean_energy
from relaxsim.functionals.counted import measured_histogram, stored_histogram
from relaxsim.functionals.moving import temperatures
from relaxsim.functionals.rates import density_flow, density_rate
from relaxsim.functionals.relaxation import Relaxation
from relaxsim.functionals.trackable import check_ensemble, check_like, check_system
from relaxsim.system.measure import own_energy
from relaxsim.system.relative_entropy import kl_divergence
from relaxsim.system.temperature import gibbs_moves, value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.system import System

DEFAULT_GROUPS = 24


def track(path: Any, *, groups: int = DEFAULT_GROUPS, like: Relaxation | None = None) -> Relaxation:
    r"""Measure F, U, S and KL to the Gibbs law along a path.

    Parameters
    ----------
    path : EnsemblePath or DensityPath
        Anything with `times`, `system` and either `positions` (n_times, n_particles, dim) or cell masses
        `mass` (n_times, \*shape) on `grid`. An ensemble whose positions were not stored is measured by a
        `Histogram` among its observables.
    groups : int
        Number R of groups the particles are dealt into for `Relaxation.check_monotone`, at least 2. 24 serve
        false alarm rates down to 1e-4; for smaller ones 48 are kept beside them.
    like : Relaxation, optional
        The record of an ensemble: the law is measured on its bins, so that the two can be compared without
        the error of binning. Without it an ensemble chooses bins of its own, a density is measured on its
        grid.

    Returns
    -------
    Relaxation

    Raises
    ------
    InputError
        Not a path; a weighted ensemble; a process given by its drift, without an energy; `like` without bins, of
        another energy, temperature or domain, or without a time of the path where E or T depends on time.

    Notes
    -----
    *Ensemble.* Cells of a product grid are merged until each bin expects 5 points. With counts
    :math:`n_i = n p_i` and the exact Gibbs masses :math:`q_i` of the bins,

    .. math:: KL = \sum_i p_i \ln (p_i/q_i) - \frac{m - 1}{2n},
       \qquad \sigma^2 = \frac1n \Big[\mathrm{Var}_p \ln(p/q) - \frac{m - 1}{n}\Big]_+ + \frac{m - 1}{2n^2},

    m the number of bins occupied at that time (Miller and Madow 1955). The bracket is free of the variance
    that counting adds to ln p; the last term is what remains at rest. This is the KL of the *binned* laws:
    it is below that of the laws themselves by what the bins smooth away, F = T KL - T ln Z with it, and the
    entropy S = (U - F)/T above. U is the mean energy of the particles and does not depend on bins. In more
    than three dimensions only U is given.

    `groups` holds the jackknife pseudo-values :math:`R F - (R - 1) F_{-r}`, with :math:`F_{-r}` the free
    energy of all particles i but those with i mod R = r. Each carries the statistical error of one group
    (Tukey 1958), but the bias of the whole ensemble, where R small ensembles would each have one R times
    larger, drifting with time.

    *Histogram.* The cells of its grid are merged as those of any ensemble, and KL, F, their errors and groups are
    what the positions give on the same bins; the outermost cells reach to infinity, or to the walls. U is the mean over
    the cells that a density has, with the outermost cells ending at the box: where more than a share 0.1/sqrt(n) of
    the n particles lies beyond it, U and S are nan, and a warning says so.

    *Density.* KL is the sum over its cells with their exact Gibbs weights, F = T KL - T ln Z: what the
    discretised equation makes fall at every step. U is the mean of E - h^2/24 E'' over the cells, fourth
    order in the cell width h (second where mass is pressed against a wall), S = (U - F)/T. There is no
    statistical error.

    *E(x, t) or T(t).* All are taken with the E, T and ln Z of their time, on one set of bins for all times, whose box
    leaves out at most a share 1e-6 of each Gibbs law. Where its cells are too coarse for one of them a warning says so.
    """
    asked: Any = groups
    if not isinstance(asked, (int, np.integer)) or isinstance(asked, bool) or asked < 2:
        raise InputError(f"groups: expected an integer >= 2, got {groups!r}; the default is {DEFAULT_GROUPS}")
    kinds.check_path(path, "rs.free_energy(points, system)")
    check_system(path.system)
    if like is not None and not isinstance(like, Relaxation):
        raise InputError(f"like: expected a Relaxation, got {type(like).__name__}; write like=track(ensemble)")
    bins = None if like is None else _bins_like(like, path)
    if hasattr(path, "positions"):
        return _track_ensemble(path, int(groups), bins)
    return _track_density(path, bins)


def _bins_like(like: Relaxation, path: Any) -> Bins:
    """The bins of a record, with Gibbs masses that move only where those of the path do."""
    histogram = stored_histogram(path)
    times = np.asarray(path.times if histogram is None else histogram.times, dtype=np.float64)
    bins = check_like(path.system, times, like)
    return bins if gibbs_moves(path.system) or not times.size else bins.fixed(float(times[0]))


def _entropy(energy: FloatArray, free_energy: FloatArray, temperature: Any) -> FloatArray:
    with np.errstate(invalid="ignore"):  # both infinite, with particles where E is infinite: no value
        return np.asarray((energy - free_energy) / temperature)


# ---------------------------------------------------------------------------------------------- ensembles


def _track_ensemble(path: Any, groups: int, bins: Bins | None) -> Relaxation:
    histogram = stored_histogram(path)
    if histogram is not None:
        times = histogram.times
        measured = measured_histogram(path.system, histogram, groups, bins)
    else:
        positions = np.asarray(path.positions, dtype=np.float64)
        times = np.asarray(path.times, dtype=np.float64)
        check_ensemble(path, positions, times)
        system, n = path.system, positions.shape[1]
        energies = np.stack([own_energy(system, x, t) for x, t in zip(positions, times, strict=True)])
        if bins is None and system.dim not in BASE_SHAPES:
            warn(
                f"F, S and KL of an ensemble need bins, which serve up to 3 dimensions; this one has {system.dim}. "
                "They are nan, only the energy is given"
            )
            return _energy_only(system, times, energies.mean(axis=1), stderr_of_mean(energies), n)
        bins = Bins.fit(system, positions, times=times) if bins is None else bins
        measured = _measured(positions, times, energies, groups, bins)
    _warn_if_narrow(path.system, times, measured.bins)
    return _ensemble_record(path.system, times, measured)


def _warn_if_narrow(system: System, times: FloatArray, bins: Bins) -> None:
    """Warn where a Gibbs law that moves is too narrow, at its time, for cells that serve all times."""
    if bins.weigh is None:
        return
    change = [bins.weigh.steepest(float(t)) for t in times]
    k = int(np.argmax(change))
    if change[k] > COARSE:
        warn(
            f"at t = {times[k]:g}, T = {value_at(system.temperature, times[k]):g}, the energy changes by "
            f"{change[k]:.3g} T between neighbouring cells of the bins, which serve all times: F, S and KL there are "
            "those of laws smoothed over such cells. Count in finer ones, observables={'law': rs.Histogram(grid)}"
        )


def _measured(positions: FloatArray, times: FloatArray, energies: FloatArray, groups: int, bins: Bins) -> Measured:
    """What bins say of positions (n_times, n, dim), given the energy of each particle."""
    n_times, n, _ = positions.shape
    found = Measured.empty(bins, n, n_times, groups)
    found.energy[:], found.energy_stderr[:] = energies.mean(axis=1), stderr_of_mean(energies)
    for k, x in enumerate(positions):
        here, index = bins.at(times[k]), bins.index(x)
        found.log_partition[k] = here.log_partition
        counts = np.bincount(index, minlength=bins.n_bins)
        found.kl[k], found.kl_bias[k] = binned_kl(counts, here.log_gibbs), miller_madow(counts)
        reduced = energies[k] / value_at(bins.system.temperature, times[k])
        found.kl_stderr[k], found.entropy_stderr[k] = delta_method(counts, index, reduced, here)
        if n > 1:
            found.group_kl[:, k] = pseudo_values(counts, index, len(found.group_kl), here)
        if found.fine_kl is not None:
            found.fine_kl[:, k] = pseudo_values(counts, index, len(found.fine_kl), here)
    return found


def _ensemble_record(system: System, times: FloatArray, found: Measured) -> Relaxation:
    bins, temperature = found.bins, temperatures(system, times)
    log_partition = found.log_partition if gibbs_moves(system) else bins.log_partition
    f_gibbs = -temperature * log_partition
    free_energy = temperature * found.kl + f_gibbs
    return Relaxation(
        times=times,
        free_energy=free_energy,
        energy=found.energy,
        entropy=_entropy(found.energy, free_energy, temperature),
        kl=found.kl,
        free_energy_stderr=temperature * found.kl_stderr,
        energy_stderr=found.energy_stderr,
        entropy_stderr=found.entropy_stderr,
        kl_stderr=found.kl_stderr,
        free_energy_bias_bound=temperature * found.kl_bias,
        energy_bias_bound=np.zeros(times.size),
        entropy_bias_bound=found.kl_bias.copy(),
        kl_bias_bound=found.kl_bias,
        groups=temperature * found.group_kl + f_gibbs if found.n_particles > 1 else None,
        bins=bins,
        label="ensemble",
        temperature=temperature,
        log_partition=log_partition,
        n_particles=found.n_particles,
        fine_groups=None if found.fine_kl is None else temperature * found.fine_kl + f_gibbs,
    )


def _energy_only(
    system: System, times: FloatArray, energy: FloatArray, energy_stderr: FloatArray, n: int
) -> Relaxation:
    """The record of an ensemble that cannot be binned."""
    unknown = np.full(times.shape, np.nan)
    values: dict[str, Any] = dict.fromkeys(("free_energy", "entropy", "kl"), unknown)
    errors: dict[str, Any] = {f"{name}_{kind}": unknown for name in values for kind in ("stderr", "bias_bound")}
    return Relaxation(
        times=times,
        energy=energy,
        energy_stderr=energy_stderr,
        energy_bias_bound=np.zeros(times.shape),
        **values,
        **errors,
        groups=None,
        bins=None,
        label="ensemble",
        temperature=temperatures(system, times),
        log_partition=unknown if gibbs_moves(system) else math.nan,
        n_particles=n,
    )


# ---------------------------------------------------------------------------------------------- densities


def _track_density(path: Any, bins: Bins | None) -> Relaxation:
    system: System = path.system
    mass = np.asarray(path.mass, dtype=np.float64)
    times = np.asarray(path.times, dtype=np.float64)
    if mass.shape != (times.size, *path.grid.shape):
        raise InputError(f"path: expected cell masses of shape {(times.size, *path.grid.shape)}, got {mass.shape}")
    energy = mean_energy(system, path.grid, mass, times)
    log_partition: Any
    if bins is None:
        weights, log_partition = np.broadcast_to(path.log_gibbs, mass.shape), path.log_partition
    else:
        here = [bins.at(t) for t in times]
        mass, weights = bins.masses(mass, path.grid), np.stack([each.log_gibbs for each in here])
        log_partition = np.array([each.log_partition for each in here]) if gibbs_moves(system) else bins.log_partition
    kl = np.array([kl_divergence(p, log_m) for p, log_m in zip(mass, weights, strict=True)])
    temperature = temperatures(system, times)
    free_energy = temperature * kl - temperature * log_partition
    names = ("free_energy", "energy", "entropy", "kl")
    exact: dict[str, Any] = {
        f"{name}_{kind}": np.zeros(times.size) for name in names for kind in ("stderr", "bias_bound")
    }
    return Relaxation(
        times=times,
        free_energy=free_energy,
        energy=energy,
        entropy=_entropy(energy, free_energy, temperature),
        kl=kl,
        **exact,
        groups=None,
        bins=bins,
        label="density",
        temperature=temperature,
        log_partition=log_partition,
        work=getattr(path, "work", None),
        density_dissipation=lambda: density_rate(path, density_flow(path)),
    )
