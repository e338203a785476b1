"""`assert_gibbs`: is this law exp(-E/T)/Z?"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from relaxsim.errors import CheckFailedError, InputError, ShapeError
from relaxsim.functionals.bins import BASE_SHAPES, IntArray, cell_of, merge_cells
from relaxsim.functionals.chi_square import one_sample
from relaxsim.system.field import format_point
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import kl_divergence, log_cell_weights
from relaxsim.system.system import System
from relaxsim.system.temperature import Temperature
from relaxsim.system.validate import FloatArray, kind_of
from relaxsim.testing.laws import (
    DEFAULT_ALPHA,
    DEFAULT_TOLERANCE,
    KINDS,
    Cells,
    Points,
    bins_of_equal_mass,
    check_alpha,
    check_power,
    check_tolerance,
    generator,
    law_of,
)
from relaxsim.testing.stein import stein_scores

_SHAPES = {1: (512,), 2: (64, 64), 3: (24, 24, 24)}
_ON_WALL = 1e-6  # how far single precision may round a point on a wall beyond it
CAUSES = (
    "Likely: another drift or noise (T div K missing, the factor 2T), or another system; not relaxed yet; dt too "
    "large: lower it; particles that are not independent"
)


def assert_gibbs(
    law: Any,
    system: System | None = None,
    *,
    alpha: float = DEFAULT_ALPHA,
    tolerance: float = DEFAULT_TOLERANCE,
    time: float | None = None,
    rng: int | np.random.Generator = 0,
) -> None:
    r"""Fail unless a law is the Gibbs law exp(-E/T)/Z of a system.

    Parameters
    ----------
    law : EnsemblePath, DensityPath or array_like, shape (n, dim)
        Positions must be of independent particles: the times of one path are not independent, so one time is tested.
    system : System, optional
        Whose Gibbs law; by default that of the path, and positions need it. The Gibbs law of another one for a density
        is taken on the cells of the path, so both must have the same domain.
    alpha : float, default 1e-6
        Probability that the Gibbs law itself is rejected, for positions; a density has none.
    tolerance : float, default 1e-3
        KL to the Gibbs law that is forgiven, in nats: the error of dt, of the grid, of the last bit of relaxation.
    time : float, optional
        A stored time of the path, by default the last.
    rng : int or numpy.random.Generator
        Of the random functions that are tested in more than three dimensions.

    Raises
    ------
    CheckFailedError
        The law is another one; an AssertionError with the numbers.
    InputError, ShapeError
        Fewer than 100 particles, too few for `alpha`, weights, a Gibbs law that does not exist or moves.

    Notes
    -----
    *Up to three dimensions.* Pearson's chi-square over at most 64 bins of about equal Gibbs mass that expect 50
    particles or more and reach to infinity, against the noncentral chi-square law with noncentrality 2 n `tolerance`.
    Points beyond a wall fail whatever their number.

    *More.* No bins serve there. For the Gibbs law and any field f that is tangent at walls,

    .. math:: \langle T \nabla\cdot f - f \cdot \nabla E\rangle = 0

    (Stein's identity; f = e_a is the balance of forces, f = x_a e_a the virial theorem). It is tested for these two on
    each axis, for sin and cos on periodic ones, and for 16 random waves, each by Student's t with Hall's correction for
    skewness and its share of `alpha`. A law that is right within each of several wells passes whatever their weights.

    *Density.* KL(p|q) is at most `tolerance`.

    References
    ----------
    Hall, J. R. Stat. Soc. B 54 (1992) 221. Gorham and Mackey, NeurIPS 2015 (Stein's identity as a test).

    Examples
    --------
    >>> import numpy as np, relaxsim as rs
    >>> system = rs.System("x**2/2", temperature=1.0)
    >>> x = np.random.default_rng(1).standard_normal((5000, 1))
    >>> rs.testing.assert_gibbs(x, system)
    >>> rs.testing.assert_gibbs(1.2 * x, system)
    Traceback (most recent call last):
    relaxsim.errors.CheckFailedError: assert_gibbs: ...
    """
    __tracebackhide__ = True
    alpha, tolerance, random = check_alpha(alpha), check_tolerance(tolerance), generator(rng)
    if isinstance(law, System):
        raise InputError(f"law: got a System, expected {KINDS}; the order is assert_gibbs(law, system)")
    if not (system is None or hasattr(system, "domain")):
        raise InputError(f"system: expected a System, got {kind_of(system)}; the order is assert_gibbs(law, system)")
    given = law_of(law, "law", time)
    if isinstance(given, Cells):
        _density(_of_system(given, system), tolerance)
        return
    system = given.system if system is None else system
    if system is None:
        raise InputError("system: positions alone do not say whose Gibbs law is meant; pass the System")
    _check_rest(system)
    if given.x.shape[1] != system.dim:
        raise ShapeError(f"law: expected positions of {system.dim} coordinates, got {given.x.shape[1]}")
    given = replace(given, x=_within(system, given))
    if system.dim in BASE_SHAPES:
        _binned(given, system, alpha, tolerance)
    else:
        _stein(given, system, alpha, tolerance, random)


def _check_rest(system: Any) -> None:
    if not hasattr(system, "energy"):
        raise InputError("system: a process given by its drift has no energy, so no Gibbs law")
    if system.energy.time_dependent or isinstance(system.temperature, Temperature):
        raise InputError("system: E or T depends on time, so the Gibbs law moves; test a system that rests")
    if system.domain.absorbs:
        raise InputError("system: its walls absorb, so its law is not the Gibbs law")


def _within(system: System, given: Points) -> FloatArray:
    """The points with periodic coordinates brought into one period; none may lie beyond a wall."""
    __tracebackhide__ = True
    domain, x = system.domain, given.x
    nearest = np.where(domain.periodic, x, np.clip(x, domain.lower, domain.upper))
    beyond = np.any(np.abs(x - nearest) > _ON_WALL * (1.0 + np.abs(nearest)), axis=1)
    if beyond.any():
        first = x[int(np.argmax(beyond))]
        raise CheckFailedError(
            f"assert_gibbs: {np.count_nonzero(beyond)} of {given} lie outside the domain {domain!r}, expected none; "
            f"the first is at {format_point(first)}. Likely: steps that are not reflected at the walls, or another "
            "system"
        )
    return domain.wrap(x)


def _of_system(given: Cells, system: System | None) -> Cells:
    """The cells with the Gibbs masses of another system than that of the path."""
    if system is None:
        return given
    _check_rest(system)
    if system.dim != given.grid.dim:
        raise ShapeError(f"system: expected {given.grid.dim} coordinates as the density has, got {system.dim}")
    if given.system is not None and system.domain != given.system.domain:
        raise InputError(
            f"system: expected the domain of the density, {given.system.domain!r}, got {system.domain!r}; give "
            "domain= to the System"
        )
    return replace(given, log_gibbs=log_cell_weights(system, given.grid)[0])


def _density(given: Cells, tolerance: float) -> None:
    __tracebackhide__ = True
    kl = float(np.asarray(kl_divergence(given.mass, given.log_gibbs)))
    if not kl <= tolerance:
        raise CheckFailedError(
            f"assert_gibbs: {given} is not the Gibbs law: KL = {kl:.4g}, expected at most {tolerance:g} (exact, no "
            "standard error). Likely: not relaxed yet: evolve it longer; or another system, or cells too large"
        )


@lru_cache(maxsize=8)  # a suite asks again and again about one system, and the box takes half a second to find
def _cells(system: System) -> tuple[Grid, FloatArray]:
    """Cells that cover the Gibbs law, and their masses; what the box leaves out, 1e-10, belongs to the outermost."""
    grid = Grid.covering(system, _SHAPES[system.dim])
    return grid, np.exp(log_cell_weights(system, grid)[0])


def gibbs_bins(system: System, points: int) -> tuple[Grid, IntArray, FloatArray]:
    """A grid, the bin of each of its cells, and the Gibbs mass of each bin; chosen without looking at data."""
    grid, mass = _cells(system)
    labels = merge_cells(points * mass, bins_of_equal_mass(points))
    return grid, labels, np.asarray(np.bincount(labels.ravel(), weights=mass.ravel()), dtype=np.float64)


def _binned(given: Points, system: System, alpha: float, tolerance: float) -> None:
    __tracebackhide__ = True
    n = len(given.x)
    grid, labels, mass = gibbs_bins(system, n)
    if len(mass) < 2:
        raise InputError(f"law: {n} particles fill one bin only; simulate more")
    counts = np.bincount(labels.ravel()[cell_of(given.x, grid)], minlength=len(mass)).astype(float)
    expected = n * mass
    result = one_sample(counts, expected, alpha, tolerance)
    check_power(n * (n / expected.min() - 1), result, "law", f"{n} particles in {len(mass)} bins", alpha)
    if result.passed:
        return
    worst = int(np.argmax((counts - expected) ** 2 / expected))
    here = labels.ravel() == worst
    where = np.average(grid.points[here], axis=0, weights=_cells(system)[1].ravel()[here])
    raise CheckFailedError(
        f"assert_gibbs: the law of {given} is not the Gibbs law: chi-square {result.statistic:.1f} over {len(mass)} "
        f"bins, expected about {result.freedom + 2 * n * tolerance:.0f} at most, threshold {result.threshold:.1f} "
        f"(alpha = {alpha:g}, tolerance {tolerance:g} nats; it is about "
        f"{max(0.0, result.statistic - result.freedom) / (2 * n):.2g} nats away). Most off is the bin around "
        f"({', '.join(f'{value:.3g}' for value in where)}): got {counts[worst]:.0f} particles, expected "
        f"{expected[worst]:.1f} with standard error {np.sqrt(expected[worst] * (1 - mass[worst])):.1f}. {CAUSES}"
    )


def _stein(given: Points, system: System, alpha: float, tolerance: float, rng: np.random.Generator) -> None:
    __tracebackhide__ = True
    from scipy.special import stdtrit

    names, means, errors, scores, forgiven = stein_scores(system, given.x, tolerance, rng)
    threshold = -float(stdtrit(len(given.x) - 1, alpha / (2 * len(names))))
    worst = int(np.argmax(scores))
    if scores[worst] <= threshold:
        return
    raise CheckFailedError(
        f"assert_gibbs: the law of {given} is not the Gibbs law: {names[worst]} is {means[worst]:.5g}, expected 0 with "
        f"standard error {errors[worst]:.3g} and {forgiven[worst]:.3g} forgiven (tolerance {tolerance:g} nats): "
        f"{scores[worst]:.2f} standard errors beyond, threshold {threshold:.2f} (alpha = {alpha:g} over {len(names)} "
        f"comparisons). {CAUSES}"
    )
