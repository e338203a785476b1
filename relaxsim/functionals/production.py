r"""Entropy production: what relaxation and, without detailed balance, the currents at rest cost.

With J the current of p and v = T div A - A grad E = T div(A q)/q the velocity that is left at rest,

.. math:: \sigma = \int \frac{J \cdot S^{-1} J}{T p}\, dx
   = \frac1T \Big(-\frac{dF}{dt}\Big) + \frac1T \int p\, v \cdot S^{-1} v \, dx ,

in nats per unit of time. The first part vanishes at rest, the second without an antisymmetric part A (Hatano and Sasa,
Phys. Rev. Lett. 86 (2001) 3463).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.functionals import kinds
from relaxsim.functionals.binned import stderr_of_mean
from relaxsim.functionals.dissipation import Dissipation, dissipation
from relaxsim.functionals.entropy import fixed_temperature
from relaxsim.functionals.estimate import Estimate
from relaxsim.functionals.samples import check_samples

if TYPE_CHECKING:
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EntropyProduction:
    """Rates along a path, arrays (n,), in nats per unit of time.

    Attributes
    ----------
    times : ndarray
        As of `Dissipation`: the stored times of a density, the middles between those of an ensemble.
    total, total_stderr, total_bias_bound : ndarray
        relaxing + circulating.
    relaxing, relaxing_stderr : ndarray
        -(dF/dt)/T.
    circulating, circulating_stderr : ndarray
        <v S^-1 v>/T; zero with a symmetric mobility.
    """

    times: FloatArray
    total: FloatArray
    total_stderr: FloatArray
    total_bias_bound: FloatArray
    relaxing: FloatArray
    relaxing_stderr: FloatArray
    circulating: FloatArray
    circulating_stderr: FloatArray


def circulation_cost(points: Any, system: System | None = None) -> Estimate:
    """<v S^-1 v>/T over some particles: at rest all of the entropy production, nats per unit of time.

    Parameters
    ----------
    points : array_like, shape (n, dim)
        Particles of p, such as a long run's at rest.
    system : System
        Its mobility has to be invertible where the particles are.

    Returns
    -------
    Estimate
        A mean over the particles: it has no bias.

    Raises
    ------
    InputError, ShapeError
        Unusable points; a symmetric part that is singular at one of them.
    """
    kinds.check_points(points, "points", "rs.entropy_production(path).circulating")
    system = kinds.check_system(system)
    x = check_samples(points, "points", system.dim)
    each = _cost(system, x)
    stderr = float(stderr_of_mean(each))
    return Estimate(float(each.mean()), stderr, 0.0, "mean", len(x), len(x))


def entropy_production(path: Any, **options: Any) -> EntropyProduction:
    """Entropy production along a path of densities or of an ensemble.

    Parameters
    ----------
    path : DensityPath or EnsemblePath
        As for `dissipation`.
    **options
        `method` and `groups` of `dissipation`.

    Returns
    -------
    EntropyProduction
        Of an ensemble, means over the intervals between the times; the circulating part is the mean of its values at
        both ends (error of second order in the interval).

    Raises
    ------
    InputError
        As `dissipation`; a mobility with a singular symmetric part.
    """
    kinds.check_path(path, "functionals.circulation_cost(points, system)")
    falling: Dissipation = dissipation(path, **options)
    system: System = path.system
    temperature = fixed_temperature(system)
    relaxing, relaxing_stderr = falling.value / temperature, falling.stderr / temperature
    if system.mobility.reversible:
        circulating = stderr = np.zeros(falling.times.size)
    elif hasattr(path, "positions"):
        if len(path.positions) != falling.times.size + 1:
            raise InputError("path: the particles' currents need stored positions; simulate with store='all'")
        each = np.stack([_cost(system, np.asarray(x)) for x in path.positions])
        between = (each[1:] + each[:-1]) / 2.0
        circulating, stderr = between.mean(axis=1), stderr_of_mean(between)
    else:
        circulating, stderr = _on_cells(system, path), np.zeros(falling.times.size)
    return EntropyProduction(
        falling.times,
        relaxing + circulating,
        np.hypot(relaxing_stderr, stderr),
        falling.bias_bound / temperature,
        relaxing,
        relaxing_stderr,
        circulating,
        stderr,
    )


def _on_cells(system: System, path: Any) -> FloatArray:
    """<v S^-1 v>/T of cell masses, at the centres of the cells that hold any."""
    mass = np.asarray(path.mass, dtype=np.float64).reshape(len(path.times), -1)
    held = (mass > 0).any(axis=0) & np.isfinite(path.log_gibbs.ravel())
    cost = np.zeros(path.grid.n_cells)
    cost[held] = _cost(system, path.grid.points[held])
    return np.asarray(mass @ cost)


def _cost(system: System, x: FloatArray) -> FloatArray:
    """v S^-1 v/T at points (n, dim)."""
    temperature = fixed_temperature(system)
    mobility = system.mobility
    if mobility.reversible:
        return np.zeros(len(x))
    divergence = mobility.antisymmetric_divergence_field(x)
    v = temperature * divergence - np.einsum("nab,nb->na", mobility.antisymmetric(x), system.gradient(x))
    s = mobility.symmetric(x)
    if np.any(np.linalg.cond(s) > 1.0 / math.ulp(1.0)):
        raise InputError("system: the symmetric part of the mobility is singular at some point, where v S^-1 v is not")
    return np.asarray(np.einsum("na,na->n", v, np.linalg.solve(s, v[..., None])[..., 0]) / temperature)
