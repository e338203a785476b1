"""Checks of what a Fokker-Planck equation is given: grid, mobility, initial cell masses."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import DomainError, InputError, MobilityError, ShapeError
from relaxsim.system.temperature import Temperature
from relaxsim.system.validate import FloatArray, Problems

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

_COARSE = 4.0  # change of E/T between neighbouring cells at which a grid is called too coarse
_CARRIES = 1e-4  # Gibbs mass of both cells from which on that matters
_DOMINATES = 1e-2  # Gibbs mass of one of them from which on it matters whatever the other holds
_SUM = 1e-6  # misfit of an initial array's sum that is put right without asking


def checked_array(initial: Any, shape: tuple[int, ...]) -> FloatArray:
    """Cell masses given as an array: right shape, nonnegative, sum one."""
    try:
        mass = np.asarray(initial, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            "initial: expected a law such as initial.normal(mean, scale), or an array of cell masses, got "
            f"{type(initial).__name__}"
        ) from None
    if mass.shape != shape:
        raise ShapeError(f"initial: expected cell masses of the grid's shape {shape}, got {mass.shape}")
    if not np.all(np.isfinite(mass)) or mass.min() < 0:
        raise InputError("initial: cell masses must be finite and zero or positive")
    if abs(mass.sum() - 1.0) > _SUM:
        raise InputError(
            f"initial: cell masses must sum to one, got {mass.sum():.6g}; divide by the sum (a density is "
            "turned into masses by grid.cell_volume)"
        )
    return mass


def check_fit(system: System, grid: Grid) -> None:
    """The grid lies in the system's domain, has its walls, and the system is one that densities serve."""
    problems = Problems()
    check_served(system, problems)
    if grid.dim != system.dim:
        raise InputError(f"grid: it has {grid.dim} axes, the system {system.dim}; make it from system.domain")
    domain = system.domain
    for axis, (low, high) in enumerate(grid.bounds):
        if low < domain.lower[axis] or high > domain.upper[axis]:
            problems.add(
                "grid",
                f"axis {axis} covers ({low:g}, {high:g}), beyond the system's ({domain.lower[axis]:g}, "
                f"{domain.upper[axis]:g}); make it from system.domain",
                DomainError,
            )
        if grid.periodic[axis] != domain.periodic[axis] or (
            grid.periodic[axis] and (low, high) != (domain.lower[axis], domain.upper[axis])
        ):
            problems.add(
                "grid",
                f"axis {axis} is {'' if grid.periodic[axis] else 'not '}periodic over ({low:g}, {high:g}), "
                "unlike the system's; make it from system.domain",
                DomainError,
            )
    problems.raise_if_any()


def check_served(system: System, problems: Problems) -> None:
    """Add a problem for each feature of a system that densities do not have yet."""
    parts = (system.energy, system.mobility)
    moving = any(getattr(part, "time_dependent", False) for part in parts)
    if moving or isinstance(system.temperature, Temperature):
        problems.add(
            "system",
            "densities of an energy, mobility or temperature that depends on t are not supported yet; use simulate",
        )
    if not getattr(system.mobility, "reversible", True):
        problems.add("system", "densities of a non-reversible mobility S + A are not supported yet; use simulate")


def check_mobility(system: System, grid: Grid) -> None:
    """K finite and positive definite at the cell centres."""
    points = grid.points[:1] if system.mobility.is_constant else grid.points
    with np.errstate(all="ignore"):
        tensors = np.asarray(system.mobility(points), dtype=np.float64)
    finite = np.all(np.isfinite(tensors), axis=(-2, -1))
    lowest = np.full(finite.shape, np.nan)
    lowest[finite] = np.linalg.eigvalsh(tensors[finite])[..., 0]
    bad = ~(lowest > 0)
    if bad.any():
        where = ", ".join(f"{value:.6g}" for value in points[bad][0])
        raise MobilityError(
            f"system: the mobility must be positive definite in the interior; at ({where}) its smallest "
            f"eigenvalue is {lowest[bad][0]:g}; mend the mobility there or shrink the grid's bounds"
        )


def warn_if_coarse(system: System, grid: Grid, log_gibbs: FloatArray) -> None:
    """Warn when E/T jumps by more than 4 between neighbouring cells that hold mass at rest."""
    worst = 0.0
    for axis in range(grid.dim):
        low, high = (np.delete(log_gibbs, index, axis) for index in (-1, 0))
        with np.errstate(invalid="ignore"):
            change = np.abs(high - low)
        carried = (np.minimum(low, high) > np.log(_CARRIES)) | (np.maximum(low, high) > np.log(_DOMINATES))
        matters = np.isfinite(change) & carried
        worst = max(worst, float(np.max(change, where=matters, initial=0.0)))
    if worst > _COARSE:
        factor = int(np.ceil(worst / 2.0))
        warnings.warn(
            f"grid: the energy changes by {worst:.3g} T between neighbouring cells (cell Peclet number "
            f"{worst / 2:.2g}); at T = {system.temperature:g} its wells are not resolved. Use about {factor} "
            "times as many cells an axis",
            UserWarning,
            stacklevel=4,
        )
