"""When a region is first reached, and which of two: linear equations of the generator's transpose.

The edge of a region rarely runs through the centres of cells. A jump from a cell outside to one inside ends where it
crosses the edge, at the fraction s of its length at which the region's level is zero, and its rate grows to that of
the shorter way: by (e^g - 1)/(e^(g s) - 1), with g the gain of E/T along the whole jump (1/s for g = 0). That makes
times and probabilities of order h^2, where stopping at the centre of the first cell inside would be of order h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.jumps import BoolArray, Jumps, displacements
from relaxsim.density.solve import sparse_lu
from relaxsim.errors import ConvergenceError, InputError, ShapeError
from relaxsim.system.region import Region
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid

_SHORTEST = 1e-6  # the least fraction of a jump that counts
_AGREED = 1e-7  # relative size of the last correction beyond which a solution is not trusted
_REFINEMENTS = 6

Regionlike = str | Callable[..., Any] | NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Place:
    """A region on the cells of a grid.

    Attributes
    ----------
    level : ndarray, shape (n_cells,)
        At the cells' centres; zero or more inside.
    region : Region or None
        What gives it elsewhere; None for a mask.
    """

    level: FloatArray
    region: Region | None

    @property
    def inside(self) -> BoolArray:
        """Which cells have their centre in it, shape (n_cells,)."""
        return self.level >= 0

    @classmethod
    def of(cls, region: Any, grid: Grid, argument: str) -> Place:
        """Read a region.

        Parameters
        ----------
        region : str, callable or ndarray of bool
            A condition such as ``"x > 1"``, a pointwise function, positive (or True) inside, or a mask of shape
            grid.shape.
        grid : Grid
        argument : str
            What the caller calls it.

        Raises
        ------
        InputError, ShapeError, ExpressionError
            A region that cannot be read, or that holds no cell.
        """
        read = None
        if isinstance(region, np.ndarray):
            if region.shape != grid.shape or region.dtype != bool:
                raise ShapeError(
                    f"{argument}: expected a mask of bool of the grid's shape {grid.shape}, got {region.dtype} of "
                    f"shape {region.shape}"
                )
            level = np.where(region.ravel(), 1.0, -1.0)
        elif isinstance(region, str) or callable(region):
            read = Region.of(region, grid.dim)
            with np.errstate(all="ignore"):
                level = np.asarray(read.level(grid.points, 0.0), dtype=np.float64)
        else:
            raise InputError(
                f"{argument}: expected a condition such as 'x > 1', a function or a mask, got {type(region).__name__}"
            )
        if np.isnan(level).any():
            raise InputError(f"{argument}: its level is not a number at some cells; mend the condition")
        if not (level >= 0).any():
            raise InputError(f"{argument}: no cell's centre lies in it; use more cells or a larger region")
        return cls(level, read)


def mean_first_passage_time(
    generator: Any, grid: Grid, place: Place | None, exit_rates: FloatArray, forbidden: BoolArray
) -> FloatArray:
    """Mean time from each cell until a region, or an absorbing wall, is reached; see `FokkerPlanck`.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
    grid : Grid
    place : Place or None
        The region; None where only the walls absorb.
    exit_rates : ndarray, shape (n,)
        What absorbing walls take.
    forbidden : ndarray of bool, shape (n,)
        Cells that hold no mass.

    Returns
    -------
    ndarray, shape grid.shape
        Zero inside, infinite where the region may never be reached, nan in forbidden cells.
    """
    inside = np.zeros(grid.n_cells, dtype=bool) if place is None else place.inside
    jumps = Jumps.of(generator)
    ends = np.zeros(grid.n_cells) if place is None else _cut(jumps, grid, place)
    ends = ends + exit_rates
    sure = _surely(jumps, inside | (exit_rates > 0), ~inside & ~forbidden)
    times = np.full(grid.n_cells, np.inf)
    times[forbidden], times[inside] = np.nan, 0.0
    times[sure] = _solve(jumps, sure, ends, np.ones(grid.n_cells))[sure]
    return times.reshape(grid.shape)


def committor(
    generator: Any, grid: Grid, a: Place, b: Place, exit_rates: FloatArray, forbidden: BoolArray
) -> FloatArray:
    """Probability to reach region b before region a (or an absorbing wall) from each cell; see `FokkerPlanck`.

    Parameters
    ----------
    a, b : Place
        The two regions.

    Returns
    -------
    ndarray, shape grid.shape
        0 in a, 1 in b; nan in forbidden cells, and where neither is ever reached.
    """
    in_a, in_b = a.inside, b.inside
    if np.any(in_a & in_b):
        count = int(np.sum(in_a & in_b))
        raise InputError(f"a, b: the regions share {count} cells, expected disjoint ones; move them apart")
    jumps = Jumps.of(generator)
    into_a, into_b = _cut(jumps, grid, a), _cut(jumps, grid, b)
    between = ~in_a & ~in_b & ~forbidden
    sure = _surely(jumps, in_a | in_b | (exit_rates > 0), between)
    chance = np.full(grid.n_cells, np.nan)
    chance[in_a], chance[in_b] = 0.0, 1.0
    chance[sure] = _solve(jumps, sure, into_a + into_b + exit_rates, into_b)[sure]
    chance[forbidden] = np.nan
    return np.asarray(np.clip(chance, 0.0, 1.0).reshape(grid.shape))


def _cut(jumps: Jumps, grid: Grid, place: Place) -> FloatArray:
    """Rates (n_cells,) from the cells outside into the region, of jumps cut at its edge."""
    inside = place.inside
    enters = np.flatnonzero(~inside[jumps.start] & inside[jumps.end])
    start, end = jumps.start[enters], jumps.end[enters]
    outer, inner = place.level[start], place.level[end].copy()
    vectors, wrapped = (each[enters] for each in displacements(grid, jumps))
    if place.region is not None and wrapped.any():
        # Around a periodic axis the level may jump; what counts is where it was heading.
        with np.errstate(all="ignore"):
            inner[wrapped] = place.region.level(grid.points[start[wrapped]] + vectors[wrapped], 0.0)
    with np.errstate(all="ignore"):
        part = -outer / (inner - outer)
    part = np.where(np.isfinite(part) & (inner >= 0), part, 0.5)  # else its edge is the end of the axis, or a mask's
    part = np.clip(part, _SHORTEST, 1.0)
    gain = np.clip(jumps.gains()[enters], -600.0, 600.0)
    flat = np.abs(gain) < 1e-8
    safe = np.where(flat, 1.0, gain)
    growth = np.where(flat, 1.0 / part, np.expm1(safe) / np.expm1(safe * part))
    return np.bincount(start, weights=jumps.rate[enters] * growth, minlength=jumps.n_cells).astype(np.float64)


def _surely(jumps: Jumps, target: BoolArray, among: BoolArray) -> BoolArray:
    """Cells of `among` from which the target is reached with probability one: no way leads where it is not."""
    reach = _can_reach(jumps, target, among | target)
    lost = among & ~reach
    return np.asarray(among & ~_can_reach(jumps, lost, among)) if lost.any() else among


def _can_reach(jumps: Jumps, target: BoolArray, among: BoolArray) -> BoolArray:
    """Cells from which jumps inside `among` lead to the target."""
    from scipy import sparse
    from scipy.sparse.csgraph import breadth_first_order

    n = jumps.n_cells
    used = among[jumps.start] & ~target[jumps.start] & (among | target)[jumps.end]
    goal = np.flatnonzero(target)
    # Backwards along the jumps, from one more node that stands for the whole target.
    rows = np.concatenate([jumps.end[used], np.full(len(goal), n)])
    columns = np.concatenate([jumps.start[used], goal])
    graph = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n + 1, n + 1))
    found = breadth_first_order(graph, n, directed=True, return_predecessors=False)
    reached = np.zeros(n + 1, dtype=bool)
    reached[found] = True
    return np.asarray(reached[:n])


def _solve(jumps: Jumps, cells: BoolArray, ends: FloatArray, source: FloatArray) -> NDArray[np.float64]:
    """Solve sum_j r_ij (x_i - x_j) + ends_i x_i = source_i over the given cells, x = 0 elsewhere.

    Residuals are formed from differences, jump by jump, so that the corrections bring back what the rounding of the
    matrix's diagonal takes where passages are rare.
    """
    from scipy import sparse

    n = jumps.n_cells
    among = cells[jumps.start] & cells[jumps.end]
    place = np.cumsum(cells) - 1
    size = int(cells.sum())
    x = np.zeros(n)
    if not size:
        return x
    here, there, rate = jumps.start[among], jumps.end[among], jumps.rate[among]
    leaving = np.bincount(here, weights=rate, minlength=n) + ends
    matrix = sparse.coo_array((-rate, (place[here], place[there])), shape=(size, size))
    try:
        factor = sparse_lu(matrix + sparse.diags_array(leaving[cells]))
    except RuntimeError:  # singular to rounding
        raise _too_rare(np.inf, leaving[cells].max()) from None
    x[cells] = factor.solve(source[cells])
    change = np.inf
    for _ in range(_REFINEMENTS):
        residual = source + np.bincount(here, weights=rate * (x[there] - x[here]), minlength=n) - ends * x
        correction = factor.solve(residual[cells])
        x[cells] += correction
        before, change = change, float(np.abs(correction).max() / max(np.abs(x).max(), 1e-300))
        if change < 1e-13 or change > 0.5 * before:
            break
    if not change <= _AGREED:
        raise _too_rare(change, leaving[cells].max())
    return x


def _too_rare(change: float, fastest: float) -> ConvergenceError:
    return ConvergenceError(
        f"passages: the solution is known to {change:.1e} only; they are too rare for double precision, with rates up "
        f"to {fastest:.2e}. Raise the temperature or use fewer cells"
    )
