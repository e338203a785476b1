"""The entropic proximal recursion on points with weights: no grid, any place, many dimensions (experimental).

The weights of fixed points move; the points are a quadrature in which each stands for a volume v_i, so that the entropy
is -sum p_i ln(p_i/v_i). Without the volumes sum p_i ln p_i is not that of a density, and the law at rest is wrong by
the density of the points: estimates of v_i are as good as the estimate of that density, no better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.proximal_kernel import DenseKernel
from relaxsim.density.proximal_metric import lengths_of, pair_squares
from relaxsim.density.proximal_step import MOST, TOL, check_masses, fixed_point
from relaxsim.density.stepping import steps_per_interval
from relaxsim.errors import DomainError, InputError, MobilityError, ShapeError
from relaxsim.system.relative_entropy import checked_energy
from relaxsim.system.validate import (
    FloatArray,
    Problems,
    as_float_array,
    check_points,
    check_times,
    positive_integer,
    positive_number,
)

if TYPE_CHECKING:
    from relaxsim.system.domain import Domain
    from relaxsim.system.system import System

_NEIGHBOURS = 8  # of a point, whose distance says how much room it has
_MOST_POINTS = 6000  # two matrices of that many squared are half a gigabyte


@dataclass(frozen=True, eq=False)
class SampledProximal:
    """Weights of fixed points at the stored times.

    Attributes
    ----------
    times : ndarray, shape (n_times,)
    points : ndarray, shape (n, dim)
    weights : ndarray, shape (n_times, n)
        Masses of the points; they sum to one at every time.
    volumes : ndarray, shape (n,)
        What each point stands for.
    free_energy : ndarray, shape (n_times,)
        sum_i p_i (E_i + T ln(p_i/v_i)).
    iterations : ndarray of int, shape (n_steps,)
    contraction : ndarray, shape (n_steps,)
    contraction_bound : float
    """

    system: System
    times: FloatArray
    points: FloatArray
    weights: FloatArray
    volumes: FloatArray
    free_energy: FloatArray
    iterations: FloatArray
    contraction: FloatArray
    contraction_bound: float

    def mean(self, f: Any) -> FloatArray:
        """Weighted mean of ``f(points)`` at each time, shape (n_times, ...)."""
        return np.asarray(np.tensordot(self.weights, np.asarray(f(self.points)), axes=(1, 0)))


def proximal_samples(
    system: System,
    points: Any,
    weights: Any,
    times: Any,
    *,
    step: float,
    epsilon: float,
    cost: Any = None,
    volumes: Any = None,
    correct_bias: bool = False,
    tol: float = TOL,
    max_iterations: int = MOST,
) -> SampledProximal:
    """Move the weights of fixed points by the entropic proximal recursion. Experimental.

    Parameters
    ----------
    system : System
        Energy, mobility and temperature, constant in time; the mobility is constant unless `cost` is given.
    points : array_like, shape (n, dim)
        At most 6000 of them, inside the domain.
    weights : array_like, shape (n,)
        Masses at times[0], zero or positive; divided by their sum.
    times : array_like, shape (n_times,)
        Increasing.
    step, epsilon : float
        h, and the strength of the entropic term: sqrt(epsilon) should reach over several points.
    cost : array_like, shape (n, n), optional
        Squared distances of the points, such as ``activation.distance(points[:, None], points)**2``; by default those
        of the inverse of the constant mobility, around periodic axes where that is shorter.
    volumes : array_like, shape (n,), optional
        Volume each point stands for, up to a factor: 1/q(x_i) for points drawn from a density q. By default estimated
        from the distance to the 8th nearest point.
    correct_bias : bool, default False
        Run at T - epsilon/2h. For a constant mobility only.
    tol, max_iterations
        As in `FokkerPlanck.proximal`.

    Returns
    -------
    SampledProximal

    Raises
    ------
    InputError, ShapeError, DomainError, MobilityError
        Unusable arguments.
    ConvergenceError
        As in `proximal_step`.

    Notes
    -----
    Two errors come on top of those of the grid: that of the volumes, and that of a quadrature by n points, of order
    1/sqrt(n) where they are random. Of a normal law in the plane, 500 evenly spread points (a Kronecker or Sobol
    sequence, with equal volumes) give means and variances to a hundredth; 700 random ones miss a mean by a tenth.
    """
    problems = Problems()
    stored = check_times(times, problems)
    x = check_points(points, system.dim, "points")
    p = as_float_array(weights, "weights")
    _check_points(system, x, p, problems)
    h = positive_number(step, "step", problems)
    eps = positive_number(epsilon, "epsilon", problems)
    tol = positive_number(tol, "tol", problems)
    most = positive_integer(max_iterations, "max_iterations", problems)
    problems.raise_if_any()
    _check_system(system, cost is None or correct_bias)
    squares = _distances(system, x) if cost is None else _checked_cost(cost, len(x))
    room = _room(x, system.domain) if volumes is None else _checked_volumes(volumes, len(x))
    counts = steps_per_interval(np.diff(stored), h) if stored.size > 1 else []
    temperature = float(system.temperature)
    heat = temperature - eps / (2.0 * h) if correct_bias else temperature
    if not heat > 0:
        raise InputError(f"epsilon: correct_bias=True runs at T - epsilon/2h = {heat:g}, which must be positive")
    energy = checked_energy(system, x)
    kernel = DenseKernel(squares, eps)
    laws, iterations, contraction, log_z = [p / p.sum()], [], [], None
    mass = laws[0]
    for count in counts:
        for _ in range(count):
            with np.errstate(divide="ignore"):
                log_mass = np.log(mass)
            made = fixed_point(
                kernel, log_mass, -energy / heat, h, eps, heat,
                tol=tol, most=most, start=log_z, log_volumes=np.log(room),
            )  # fmt: skip
            mass, log_z = made.mass / made.mass.sum(), made.log_z
            iterations.append(made.iterations)
            contraction.append(made.contraction)
        laws.append(mass)
    found = np.array(laws)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(found > 0, found * (energy + temperature * np.log(found / room)), 0.0)
    return SampledProximal(
        system, stored, x, found, room, terms.sum(axis=1), np.array(iterations, dtype=np.int64), np.array(contraction),
        h / (h + eps / heat),
    )  # fmt: skip


def _check_points(system: System, x: FloatArray, p: FloatArray, problems: Problems) -> None:
    if x.ndim != 2 or not 2 <= len(x) <= _MOST_POINTS:
        problems.add(
            "points", f"expected 2 to {_MOST_POINTS} points, shape (n, {system.dim}), got {x.shape}", ShapeError
        )
    elif not np.isfinite(x).all():
        problems.add("points", f"expected finite positions, got {x[~np.isfinite(x).all(axis=1)][0].tolist()}")
    elif not system.domain.contains(x).all():
        outside = x[~system.domain.contains(x)][0]
        problems.add("points", f"{outside.tolist()} lies outside of {system.domain!r}", DomainError)
    if p.shape != x.shape[:1]:
        problems.add("weights", f"expected one number a point, shape {x.shape[:1]}, got {p.shape}", ShapeError)
    check_masses(p, "weights", problems)


def _check_system(system: System, need_constant: bool) -> None:
    if system.time_dependent:
        raise InputError("system: energy, temperature and mobility must not depend on the time here")
    if not system.mobility.reversible:
        raise MobilityError("system: the mobility has an antisymmetric part, and its relaxation is no steepest descent")
    if need_constant and not system.mobility.is_constant:
        raise MobilityError(
            "system: the mobility depends on x; pass the squared geodesic distances of the points as cost=, and leave "
            "correct_bias out"
        )


def _distances(system: System, x: FloatArray) -> FloatArray:
    inverse = np.linalg.inv(np.asarray(system.mobility.symmetric(x[:1])).reshape(system.dim, system.dim))
    domain = system.domain
    lengths = lengths_of(np.stack([domain.lower, domain.upper], axis=1), domain.periodic)
    return pair_squares(x, (inverse + inverse.T) / 2, lengths)


def _checked_cost(cost: Any, n: int) -> FloatArray:
    squares = as_float_array(cost, "cost")
    if squares.shape != (n, n):
        raise ShapeError(f"cost: expected squared distances of shape ({n}, {n}), got {squares.shape}")
    if not np.isfinite(squares).all() or squares.min() < 0:
        raise InputError("cost: expected finite squared distances, zero or positive")
    return squares


def _checked_volumes(volumes: Any, n: int) -> FloatArray:
    room = as_float_array(volumes, "volumes")
    if room.shape != (n,):
        raise ShapeError(f"volumes: expected one number a point, shape ({n},), got {room.shape}")
    if not np.isfinite(room).all() or room.min() <= 0:
        raise InputError("volumes: expected positive finite volumes")
    return room


def _room(x: FloatArray, domain: Domain) -> FloatArray:
    """Volume of the ball that reaches to the k-th neighbour, over k."""
    from scipy.spatial import cKDTree

    n, dim = x.shape
    k = min(_NEIGHBOURS, n - 1)
    # zero is the length of an axis that is not periodic
    around = [
        high - low if wraps else 0.0
        for low, high, wraps in zip(domain.lower, domain.upper, domain.periodic, strict=True)
    ]
    x = np.where(domain.periodic, x - domain.lower, x)
    radius = cKDTree(x, boxsize=around).query(x, k + 1)[0][:, -1]
    if not radius.min() > 0:
        raise InputError(f"points: more than {k} of them coincide; leave doubles out, or pass volumes=")
    ball = math.pi ** (dim / 2) / math.gamma(1 + dim / 2)
    return np.asarray(ball * radius**dim / k)
