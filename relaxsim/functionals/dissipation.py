r"""How fast the free energy falls: of a density from its equation, of an ensemble from the slopes of U(t) and S(t).

.. math:: -\frac{dF}{dt} = \int p\, S^{ab}\, \partial_a (T \ln p + E)\, \partial_b (T \ln p + E)\, dx \ge 0,

S the symmetric part of the mobility; the antisymmetric part drops out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.functionals import kinds
from relaxsim.functionals.cell_energy import energy_weights
from relaxsim.functionals.entropy import fixed_temperature
from relaxsim.functionals.rates import density_flow, density_rate
from relaxsim.functionals.tracking import DEFAULT_GROUPS, track
from relaxsim.system.temperature import gibbs_moves

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]

METHODS = ("flow", "gradient")


@dataclass(frozen=True, eq=False)
class Dissipation:
    """Rates along a path, arrays (n,): -dF/dt and what it is made of, dF/dt = dU/dt - T dS/dt.

    Attributes
    ----------
    times : ndarray
        The stored times for a density; the middles of the intervals between them for an ensemble, whose rates are
        means over the interval.
    value, stderr, bias_bound : ndarray
        -dF/dt, never negative for the law itself.
    energy_rate, energy_rate_stderr : ndarray
        dU/dt.
    entropy_rate, entropy_rate_stderr : ndarray
        dS/dt.
    method : str
    n : int
        Particles used; 0 for a density.
    """

    times: FloatArray
    value: FloatArray
    stderr: FloatArray
    bias_bound: FloatArray
    energy_rate: FloatArray
    energy_rate_stderr: FloatArray
    entropy_rate: FloatArray
    entropy_rate_stderr: FloatArray
    method: str
    n: int = 0

    @property
    def bias_limited(self) -> NDArray[np.bool_]:
        """Where the bias bound exceeds two standard errors."""
        return np.asarray(self.bias_bound > 2.0 * self.stderr)


def dissipation(path: Any, *, method: str = "flow", groups: int = DEFAULT_GROUPS) -> Dissipation:
    r"""-dF/dt along a path of densities or of an ensemble.

    Parameters
    ----------
    path : DensityPath or EnsemblePath
        Of a system whose energy and temperature do not depend on time. An ensemble with stored positions, in up to
        three dimensions.
    method : {"flow", "gradient"}
        For densities. *flow*: the rate at which the discrete equation dp/dt = G p lowers F,
        :math:`-T \sum_i (G p)_i \ln (p_i/m_i)` with m the Gibbs masses; exact for the discrete law. *gradient*: the
        integral above with central differences, of second order in the width of the cells, as a control.
    groups : int
        Groups of particles for the standard errors, as in `track`.

    Returns
    -------
    Dissipation
        For a density all errors are zero. "flow" gives inf for a law with cells without mass beside occupied ones.

    Raises
    ------
    InputError
        Not such a path; an energy or temperature that depends on time; fewer than two times of an ensemble.

    Notes
    -----
    *Ensemble.* F and S are those of `track` on fixed bins; slopes are differences between neighbouring times over the
    interval, and their standard errors come from the same differences of the groups, so that errors common to both
    times cancel. The bias bound is the change of the bias correction over the interval. What the bins smooth away is
    not in it: compare `track(density, like=...)`.
    """
    kinds.check_path(path)
    if hasattr(path.system, "energy") and gibbs_moves(path.system):
        raise InputError(
            "path: its energy or temperature depends on time, so F changes by work too; track(path).dissipation of a "
            "density has the rate at which it falls beside that"
        )
    if hasattr(path, "positions"):
        return _of_ensemble(path, groups)
    if method not in METHODS:
        raise InputError(f"method: expected one of {METHODS}, got {method!r}")
    return _of_density(path, method)


def _of_density(path: Any, method: str) -> Dissipation:
    system: System = path.system
    temperature = fixed_temperature(system)
    mass = np.asarray(path.mass, dtype=np.float64)
    flow = density_flow(path)
    # Beside a forbidden cell the energy weight is infinite where nothing flows.
    weights = energy_weights(system, path.grid)
    energy_rate = flow @ np.where(np.isfinite(weights), weights, 0.0)
    if method == "flow":
        value = density_rate(path, flow)
    else:
        value = temperature * np.array([_gradient(system, path.grid, p, path.log_gibbs) for p in mass])
    none = np.zeros(len(mass))
    return Dissipation(
        np.asarray(path.times, dtype=np.float64), value, none, none, energy_rate, none,
        (energy_rate + value) / temperature, none, method,
    )  # fmt: skip


def _gradient(system: System, grid: Grid, p: FloatArray, log_m: FloatArray) -> float:
    """T times the integral of p S grad(ln p/m) grad(ln p/m), on cells whose neighbours have mass too."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_f = np.log(p) - log_m
        slopes = np.stack([_slope(log_f, grid, axis) for axis in range(grid.dim)], axis=-1).reshape(-1, grid.dim)
    weight = p.ravel()
    known = np.isfinite(slopes).all(axis=1) & (weight > 0)
    s = system.mobility.symmetric(grid.points[known])
    each = np.einsum("na,nab,nb->n", slopes[known], s, slopes[known])
    return fixed_temperature(system) * float(weight[known] @ each)


def _slope(f: FloatArray, grid: Grid, axis: int) -> FloatArray:
    """Central differences along an axis, one-sided at walls."""
    h = float(grid.spacing[axis])
    if grid.periodic[axis]:
        return np.asarray((np.roll(f, -1, axis) - np.roll(f, 1, axis)) / (2.0 * h))
    return np.asarray(np.gradient(f, h, axis=axis, edge_order=2))


def _of_ensemble(path: Any, groups: int) -> Dissipation:
    temperature = fixed_temperature(path.system)
    record = track(path, groups=groups)
    if record.times.size < 2:
        raise InputError("path: slopes need two times or more; store more times")
    if record.groups is None:
        raise InputError("path: the free energy of this ensemble is not known (more than three dimensions?)")
    interval = np.diff(record.times)
    n_groups = len(record.groups)
    slopes = np.diff(record.groups, axis=1) / interval
    times = (record.times[1:] + record.times[:-1]) / 2.0
    drift = np.abs(np.diff(record.free_energy_bias_bound)) / interval
    value, stderr = -np.diff(record.free_energy) / interval, _spread(slopes)
    energy_rate = np.diff(record.energy) / interval
    entropy_rate = (energy_rate + value) / temperature
    unknown = np.full(times.size, math.nan)
    energy_stderr = entropy_stderr = unknown
    positions = np.asarray(path.positions)
    if len(positions) == record.times.size:  # a path measured by a histogram has no energies of its particles
        energies = np.stack([path.system.energy(x) for x in positions])
        label = np.arange(energies.shape[1]) % n_groups
        sizes = np.bincount(label, minlength=n_groups)
        means = np.stack([np.bincount(label, e, n_groups) / sizes for e in energies], axis=1)
        energy_slopes = np.diff(means, axis=1) / interval
        energy_stderr = _spread(energy_slopes)
        entropy_stderr = _spread(energy_slopes - slopes) / temperature
    n = int(record.n_particles or 0)
    return Dissipation(
        times, value, stderr, drift, energy_rate, energy_stderr, entropy_rate, entropy_stderr, "slopes", n
    )


def _spread(groups: FloatArray) -> FloatArray:
    """Standard error of the mean over groups (R, n)."""
    return np.asarray(groups.std(axis=0, ddof=1) / math.sqrt(len(groups)))
