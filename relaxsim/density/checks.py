"""Checks of what a Fokker-Planck equation is given: grid, mobility, initial cell masses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.cells import blocks
from relaxsim.errors import DomainError, InputError, MobilityError, ShapeError, warn
from relaxsim.system.field import format_point, product_points
from relaxsim.system.grid import Grid
from relaxsim.system.system import PERIODIC
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray, Problems

if TYPE_CHECKING:
    from relaxsim.system.system import System

EndField = tuple[str, float, Callable[[FloatArray], FloatArray]]  # name, smallest scale, values at points

COARSE = 4.0  # change of E/T between neighbouring cells at which a grid is called too coarse
_PRESSED = 1e-2  # of the largest density, at an end of the box where the domain goes on
_CARRIES = 1e-4  # Gibbs mass of both cells from which on that matters
_DOMINATES = 1e-2  # Gibbs mass of one of them from which on it matters whatever the other holds
_ENDS = 64  # cell centres an axis at which the two ends of a periodic axis are compared, about
_SUM = 1e-6  # misfit of an initial array's sum that is put right without asking

# bytes a cell while a generator is assembled, by dimension: measured, rounded up
_DIAGONAL_BYTES = {1: 300, 2: 400, 3: 700}
_TENSOR_BYTES = {2: 800, 3: 1600}


def checked_array(initial: Any, shape: tuple[int, ...], argument: str = "initial") -> FloatArray:
    """Cell masses given as an array: right shape, nonnegative, sum one; `argument` is what the caller calls them."""
    if np.iscomplexobj(initial):
        raise InputError(f"{argument}: cell masses must be real, got complex numbers; pass their real part")
    try:
        mass = np.asarray(initial, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{argument}: expected a law such as initial.normal(mean, scale), or an array of cell masses, got "
            f"{type(initial).__name__}" + ("; write path.mass[k] for one of its times" if _is_path(initial) else "")
        ) from None
    if mass.shape != shape:
        raise ShapeError(f"{argument}: expected cell masses of the grid's shape {shape}, got {mass.shape}")
    if not np.all(np.isfinite(mass)) or mass.min() < 0:
        worst = mass.min() if np.all(np.isfinite(mass)) else mass[~np.isfinite(mass)][0]
        raise InputError(f"{argument}: cell masses must be finite and zero or positive, got {worst:g}")
    if abs(mass.sum() - 1.0) > _SUM:
        raise InputError(
            f"{argument}: cell masses must sum to one, got {mass.sum():.6g}; divide by the sum (a density is "
            "turned into masses by grid.cell_volume)"
        )
    return mass


def _is_path(given: Any) -> bool:
    return hasattr(given, "mass") and hasattr(given, "times")


def check_given(system: Any, grid: Any) -> None:
    """A System and a Grid, whose arguments are easily forgotten."""
    problems = Problems()
    if not hasattr(system, "domain"):
        problems.add("system", f"expected a System, got {type(system).__name__}")
    if not isinstance(grid, Grid):
        problems.add("grid", f"expected a Grid, such as Grid(system.domain, shape=100), got {type(grid).__name__}")
    problems.raise_if_any()


def check_fit(system: System, grid: Grid) -> None:
    """The grid lies in the system's domain, has its walls, and fits into memory."""
    problems = Problems()
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
    check_memory(system, grid)


def check_mobility(system: System, grid: Grid, t: float = 0.0, density: FloatArray | None = None) -> None:
    """S finite and positive definite at the cell centres; one that depends on the density may vanish somewhere."""
    mobility: Any = system.mobility
    if mobility.depends_on_density and density is None:
        return  # checked when there is one
    points = grid.points[:1] if mobility.symmetric_is_constant else grid.points
    with np.errstate(all="ignore"):
        if mobility.depends_on_density:
            assert density is not None
            values = mobility.symmetric(points, t, np.asarray(density).ravel())
        else:
            values = (mobility.symmetric if mobility.structure == "tensor" else mobility.diagonal_of)(points, t)
    values = np.asarray(values, dtype=np.float64).reshape(len(points), -1)
    finite = np.all(np.isfinite(values), axis=1)
    lowest = np.full(finite.shape, np.nan)
    if values.shape[1] == grid.dim:
        lowest[finite] = values[finite].min(axis=1)
    else:
        lowest[finite] = smallest_eigenvalue(values[finite].reshape(-1, grid.dim, grid.dim))
    bad = ~(lowest >= 0) if mobility.depends_on_density else ~(lowest > 0)
    if bad.any():
        where = format_point(points[bad][0])
        raise MobilityError(
            f"system: the mobility must be positive definite in the interior; at {where} its smallest "
            f"eigenvalue is {lowest[bad][0]:g}; mend the mobility there or shrink the grid's bounds"
        )


def smallest_eigenvalue(matrices: FloatArray) -> FloatArray:
    """Of symmetric matrices (..., d, d), shape (...)."""
    if matrices.shape[-1] != 2:
        return np.asarray(np.linalg.eigvalsh(matrices)[..., 0])
    unit = np.frexp(np.abs(matrices).max(axis=(-2, -1)))[1]  # whose squares neither overflow nor vanish
    a, b, c = (np.ldexp(matrices[..., i, j], -unit) for i, j in ((0, 0), (0, 1), (1, 1)))
    largest = (a + c) / 2 + np.hypot((a - c) / 2, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The determinant over the other one keeps the digits of a small eigenvalue.
        lowest = np.where(largest > 0, (a * c - b * b) / largest, (a + c) / 2 - np.hypot((a - c) / 2, b))
    return np.asarray(np.ldexp(lowest, unit))


def check_periodic(system: System, grid: Grid, t: float = 0.0) -> None:
    """Energy and mobility equal at both ends of every periodic axis, at cell centres along the others.

    Raises
    ------
    DomainError
        The axis, the place and the two values.
    """
    problems = Problems()
    check_ends(grid, _fields(system, t), t, problems)
    problems.raise_if_any()


def check_ends(grid: Grid, fields: Sequence[EndField], t: float, problems: Problems) -> None:
    """Add a problem for each field, given as name, smallest scale and values, that differs at two periodic ends."""
    for axis in np.flatnonzero(grid.periodic):
        axes = [centers[:: max(1, len(centers) // _ENDS)] for centers in grid.centers]
        ends = []
        for end in (0, -1):
            axes[axis] = grid.edges[axis][[end]]
            ends.append(product_points(axes).reshape(-1, grid.dim))
        low, high = ends
        for name, size, field in fields:
            with np.errstate(all="ignore"):
                first, last = (np.asarray(field(x)).reshape(len(x), -1) for x in ends)
                largest = np.max(np.abs(first), where=np.isfinite(first), initial=size)
                gap = np.abs(first - last)
                gap[np.isinf(first) | np.isinf(last)] = 0.0  # a forbidden region may end at the seam
                same = gap <= PERIODIC * largest
                if not same.all():  # a field that vanishes at the seam differs there by the rounding of its terms
                    same = gap <= PERIODIC * max(largest, _size(grid, field))
            if not same.all():
                k = int(np.argmin(same.all(axis=1)))
                problems.add(
                    name,
                    f"axis {axis} is periodic, but at {format_point(low[k])} and {format_point(high[k])} the {name} is "
                    f"{first[k].tolist()} and {last[k].tolist()}{f' at time {t:g}' if t else ''}; make it periodic or "
                    "use reflecting walls",
                    DomainError,
                )


def _size(grid: Grid, field: Callable[[FloatArray], FloatArray]) -> float:
    """The largest finite size of a field at the cell centres."""
    size = 0.0
    for points in blocks(grid.centers):
        values = np.abs(np.asarray(field(points.reshape(-1, grid.dim))))
        size = max(size, float(np.max(values, where=np.isfinite(values), initial=0.0)))
    return size


def _fields(system: System, t: float) -> list[EndField]:
    """What of a system has to be periodic."""
    mobility: Any = system.mobility
    found: list[EndField] = [("energy", value_at(system.temperature, t), lambda x: np.asarray(system.energy(x, t)))]
    values = mobility.symmetric if mobility.structure == "tensor" else mobility.diagonal_of
    found.append(("mobility", 0.0, lambda x: np.asarray(values(x, t))))
    if not mobility.reversible:
        found.append(("antisymmetric part of the mobility", 0.0, lambda x: np.asarray(mobility.antisymmetric(x, t))))
    return found


def check_memory(system: System, grid: Grid) -> None:
    """Refuse a grid whose generator does not fit into the memory that is free, before any of it is taken.

    Raises
    ------
    InputError
        The need, what is free, and a shape that fits.
    """
    need, free = memory_need(system, grid), free_memory()
    if free is None or need <= free:
        return
    scale = (free / need) ** (1 / grid.dim)
    raise InputError(
        f"grid: {grid.n_cells} cells need about {need / 2**30:.3g} GiB, of which {free / 2**30:.3g} GiB are free; use "
        f"at most about shape={tuple(max(2, int(n * scale)) for n in grid.shape)}"
    )


def memory_need(system: System, grid: Grid) -> float:
    """Bytes that the generator of a grid takes while it is assembled, about."""
    mobility: Any = getattr(system, "mobility", None)  # a bare drift has none
    full = grid.dim > 1 and (mobility is None or mobility.structure == "tensor" or mobility.depends_on_density)
    return float(grid.n_cells) * (_TENSOR_BYTES if full else _DIAGONAL_BYTES)[min(grid.dim, 3)]


def free_memory() -> float | None:
    """Bytes of memory that can be had, None where the system does not say."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return float(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, LookupError, ValueError):
        return None


def warn_if_coarse(system: System, grid: Grid, log_gibbs: FloatArray, t: float = 0.0) -> None:
    """Warn when E/T jumps by more than 4 between neighbouring cells that hold mass at rest."""
    worst = steepest(log_gibbs)
    if worst > COARSE:
        factor = int(np.ceil(worst / 2.0))
        warn(
            f"grid: the energy changes by {worst:.3g} T between neighbouring cells (cell Peclet number "
            f"{worst / 2:.2g}); at T = {value_at(system.temperature, t):g} its wells are not resolved. Use about "
            f"{factor} times as many cells an axis"
        )


def warn_if_outgrown(system: System, grid: Grid, times: FloatArray, log_gibbs: FloatArray) -> None:
    """Warn where a law that moves gets too narrow for the cells at a stored time, log_gibbs (n_times, *grid.shape)."""
    change = [steepest(each) for each in log_gibbs]
    k = int(np.argmax(change))
    if change[k] > COARSE and times[k] != 0.0:  # the equation itself has looked at time zero
        warn_if_coarse(system, grid, log_gibbs[k], float(times[k]))


def warn_if_pressed(system: System, grid: Grid, times: FloatArray, mass: FloatArray, moves: bool) -> None:
    """Warn where a law (n_times, *grid.shape) is too wide for a box that ends where the domain goes on."""
    for axis, (low, high) in enumerate(grid.bounds):
        goes_on = np.array([low > system.domain.lower[axis], high < system.domain.upper[axis]])
        if not goes_on.any():
            continue
        others = tuple(a + 1 for a in range(grid.dim) if a != axis)
        profile = mass.sum(axis=others)  # cells have one size
        ends = np.where(goes_on, profile[:, [0, -1]], 0.0).max(axis=1)
        share = ends / np.maximum(profile.max(axis=1), np.finfo(float).tiny)
        k = int(np.argmax(share))
        if share[k] > _PRESSED:
            found = "Grid.covering(system, shape) finds one for the Gibbs law; or "
            if moves:
                found = "Grid.covering(system, shape, times=times) finds one for the Gibbs laws of all times; or "
            warn(
                f"grid: at t = {times[k]:g} the density at the end of the box along axis {axis} is {share[k]:.2g} of "
                "the largest, and the domain goes on there: the box is too small. "
                f"{found if hasattr(system, 'energy') else ''}pass wider bounds= to Grid"
            )


def steepest(log_gibbs: FloatArray) -> float:
    """The largest change of E/T between neighbouring cells that hold mass at rest."""
    worst = 0.0
    for axis in range(log_gibbs.ndim):
        low, high = (np.delete(log_gibbs, index, axis) for index in (-1, 0))
        with np.errstate(invalid="ignore"):
            change = np.abs(high - low)
        carried = (np.minimum(low, high) > np.log(_CARRIES)) | (np.maximum(low, high) > np.log(_DOMINATES))
        matters = np.isfinite(change) & carried
        worst = max(worst, float(np.max(change, where=matters, initial=0.0)))
    return worst
