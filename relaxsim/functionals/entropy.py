"""Entropy of an ensemble, and its relative entropy to the Gibbs law or to another ensemble, with honest errors.

H[p] = -<ln p> and KL(p|q) = <ln p - ln q>, natural logarithms; pure numbers. With particles p is not known, and every
estimator of ln p has a bias that falls slowly in many dimensions. Each result states both errors, see `Estimate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.functionals import kinds
from relaxsim.functionals.estimate import DEFAULT_GROUPS, Estimate, Parts, left_out_means, undefined
from relaxsim.functionals.histogram import HISTOGRAM_DIM, histogram_entropy, histogram_kl
from relaxsim.functionals.kernel_density import KERNEL_SAMPLES, kernel_entropy
from relaxsim.functionals.neighbours import MAX_SAMPLES, CoincidingPointsError, neighbour_entropy, neighbour_kl
from relaxsim.functionals.partition import as_log_partition
from relaxsim.functionals.samples import Space, check_count, check_samples, no_density, thin
from relaxsim.system.relative_entropy import checked_energy
from relaxsim.system.validate import nearest

if TYPE_CHECKING:
    from relaxsim.system.domain import Domain
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]

METHODS = ("auto", "histogram", "neighbours", "kernel")


def entropy(
    points: Any,
    *,
    method: str = "auto",
    k: int = 4,
    domain: Domain | None = None,
    max_samples: int | None = MAX_SAMPLES,
    groups: int = DEFAULT_GROUPS,
    workers: int = -1,
) -> Estimate:
    """Differential entropy H = -<ln p> of the law of some particles.

    Parameters
    ----------
    points : array_like, shape (n, dim) or (n,)
        Independent particles at one time, such as ``path.positions[k]``; at least 100.
    method : {"auto", "histogram", "neighbours", "kernel"}
        *histogram*: counts in cells, Miller-Madow, extrapolated in the width of the cells; up to three dimensions.
        *neighbours*: Kozachenko-Leonenko, any dimension. *kernel*: a leave-one-out kernel density, as a control; at
        most 4000 points. *auto*: histogram in one and two dimensions, neighbours beyond.
    k : int
        Which neighbour.
    domain : Domain, optional
        Its walls and periods, if it has any. Without it the law is taken to have neither.
    max_samples : int or None
        Points the neighbours are searched among at most; the result says how many were used. None: all.
    groups : int
        Groups of particles (i mod groups) of the jackknife.
    workers : int
        Threads of the search for neighbours, -1 for all; the result does not depend on it.

    Returns
    -------
    Estimate
        nan, with a warning that names the cause, where the points show that the law has no density.

    Raises
    ------
    InputError, ShapeError
        Points that are not finite, too few, outside the domain; an unknown method.

    Notes
    -----
    The standard error comes from groups of particles: of a histogram and a kernel density by the delete-a-group
    jackknife, of neighbours from the values on the groups by themselves. The bias bound of neighbours and kernel comes
    from the same estimator on n/2 and n/4 points, and that of neighbours is not less than their bias on as many normal
    points. Points that pass Mardia's tests for a normal law are corrected by that bias instead, and half of the
    correction is the bound. From three dimensions on the bias is what matters: it falls about as n^(-2/d), the standard
    error as n^(-1/2), so more particles make the interval narrower and worse. Use `Estimate.widened`.

    Examples
    --------
    >>> import numpy as np
    >>> from relaxsim.functionals import entropy
    >>> x = np.random.default_rng(1).standard_normal((5000, 3))
    >>> low, high = entropy(x).widened()
    >>> bool(low < 1.5 * np.log(2 * np.pi * np.e) < high)
    True
    """
    kinds.check_points(points, "points", "rs.track(path).entropy")
    x = check_samples(points, "points")
    method = check_method(method, x.shape[1], k, groups, max_samples)
    used, parts, cause = entropy_parts(x, Space.of(domain, x), method, k, max_samples, groups, workers)
    if parts is None:
        return undefined(f"entropy by {method}", cause, len(used), len(x))
    return parts.estimate(len(used), len(x))


def entropy_parts(
    x: FloatArray, space: Space, method: str, k: int, max_samples: int | None, groups: int, workers: int
) -> tuple[FloatArray, Parts | None, str]:
    """The points used, the estimate from them, and why there is none."""
    used = thin(x, {"neighbours": max_samples, "kernel": KERNEL_SAMPLES}.get(method))
    cause = no_density(used)
    if cause:
        return used, None, cause
    if method == "histogram":
        return used, histogram_entropy(used, space, groups), ""
    if method == "kernel":
        return used, kernel_entropy(used, space, groups), ""
    try:
        return used, neighbour_entropy(used, space, k, groups, workers), ""
    except CoincidingPointsError:
        return used, None, f"more than {k} points lie at one place, so the law has no density there"


def kl_to_gibbs(
    points: Any,
    system: System | None = None,
    *,
    method: str = "auto",
    log_partition: Any = None,
    k: int = 4,
    max_samples: int | None = MAX_SAMPLES,
    groups: int = DEFAULT_GROUPS,
    workers: int = -1,
) -> Estimate:
    """KL(p|q) = <E>/T + ln Z - H of the law of some particles to the Gibbs law q of a system.

    Parameters
    ----------
    points, method, k, max_samples, groups, workers
        As for `entropy`; the domain is the system's.
    system : System
        Energy and temperature that do not depend on time.
    log_partition : float or Estimate, optional
        ln Z; by default `log_partition(system)`.

    Returns
    -------
    Estimate
        Energy and entropy are of the same points, so that their common error cancels. Can be slightly negative at rest.
        inf where a particle is where E is infinite.

    Raises
    ------
    InputError, ShapeError
        As `entropy` does; an energy or temperature that depends on time; exp(-E/T) not normalisable.
    """
    kinds.check_points(points, "points", "rs.track(path).kl")
    system = kinds.check_system(system)
    temperature = fixed_temperature(system)
    x = check_samples(points, "points", system.dim)
    method = check_method(method, x.shape[1], k, groups, max_samples)
    energy = checked_energy(system, x)
    used, parts, cause = entropy_parts(x, Space.of(system.domain, x), method, k, max_samples, groups, workers)
    name = f"KL to Gibbs by {method}"
    if parts is None:
        return undefined(name, cause, len(used), len(x))
    log_z = as_log_partition(system, log_partition)
    if np.isnan(log_z.value):
        return undefined(name, f"ln Z is not known ({log_z.cause})", len(used), len(x))
    if np.isinf(energy).any():
        lost = int(np.count_nonzero(np.isinf(energy)))
        cause = f"{lost} of {len(x)} particles are where E is infinite, KL is not finite"
        return undefined(name, cause, len(used), len(x))
    reduced = thin(energy, len(used))[: len(used)] / temperature
    mean = float(reduced.mean()) + log_z.value
    whole = parts.plus(mean, left_out_means(reduced, groups) + log_z.value, -1.0, log_z.stderr)
    found = Parts(whole.value, whole.left_out, whole.bias_bound + log_z.bias_bound, whole.method, whole.extra_stderr)
    return found.estimate(len(used), len(x))


def kl_between(
    points: Any,
    others: Any = None,
    *,
    method: str = "auto",
    k: int = 4,
    domain: Domain | None = None,
    max_samples: int | None = MAX_SAMPLES,
    groups: int = DEFAULT_GROUPS,
    workers: int = -1,
) -> Estimate:
    """KL(p|q) of the laws of two ensembles, from the particles of each.

    Parameters
    ----------
    points, others : array_like, shape (n, dim) and (m, dim)
        Particles of p and of q, all independent.
    method : {"auto", "histogram", "neighbours"}
        *histogram*: on common bins, up to three dimensions; it loses what is finer than a bin. *neighbours*: Wang,
        Kulkarni and Verdú (2009). *auto*: neighbours.
    k, domain, max_samples, groups, workers
        As for `entropy`.

    Returns
    -------
    Estimate
        Where p has particles that are far from all of q, the bias bound is large: no estimator can tell a small q there
        from none.

    Raises
    ------
    InputError, ShapeError
        As `entropy` does; ensembles of different dimensions.
    """
    kinds.check_points(points, "points")
    kinds.check_points(others, "others")
    x = check_samples(points, "points")
    y = check_samples(others, "others", x.shape[1])
    if method == "kernel":
        raise InputError("method: 'kernel' serves entropies only, use 'neighbours' or 'histogram'")
    method = "neighbours" if method == "auto" else check_method(method, x.shape[1], k, groups, max_samples)
    space = Space.of(domain, np.concatenate([x, y]))
    given, name = len(x), f"KL of two ensembles by {method}"
    limit = max_samples if method == "neighbours" else None
    x, y = thin(x, limit), thin(y, limit)
    for which, law in (("points", x), ("others", y)):
        cause = no_density(law)
        if cause:
            return undefined(name, f"{which}: {cause}", len(x), given)
    if method == "histogram":
        return histogram_kl(x, y, groups).estimate(len(x), given)
    try:
        return neighbour_kl(x, y, space, k, groups, workers).estimate(len(x), given)
    except CoincidingPointsError:
        return undefined(name, f"more than {k} points lie at one place", len(x), given)


def fixed_temperature(system: System) -> float:
    """T of a system whose Gibbs law does not move."""
    temperature = system.temperature
    if getattr(system.energy, "time_dependent", False) or not isinstance(temperature, float):
        raise InputError(
            "system: energy and temperature must not depend on time; freeze them with system.replace(...) at the time "
            "of the points"
        )
    return temperature


def check_method(method: str, dim: int, k: int, groups: int, max_samples: int | None) -> str:
    """The method that "auto" stands for; complaints about the numbers."""
    if method not in METHODS:
        raise InputError(f"method: expected one of {METHODS}, got {method!r}{nearest(str(method), METHODS)}")
    check_count(k, "k", 1)
    check_count(groups, "groups", 2)
    if max_samples is not None:
        check_count(max_samples, "max_samples", 100)
    if method == "histogram" and dim > HISTOGRAM_DIM:
        raise InputError(f"method: a histogram serves up to {HISTOGRAM_DIM} dimensions, got {dim}; use 'neighbours'")
    if method == "auto":
        return "histogram" if dim < HISTOGRAM_DIM else "neighbours"
    return method
