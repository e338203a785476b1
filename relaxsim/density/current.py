"""Where probability flows: the current of a law on the grid, and the entropy it produces."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.jumps import BoolArray, Jumps, displacements
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.absorbing import Exit
    from relaxsim.system.grid import Grid


_NO_NOISE = 1e-12  # of the largest eigenvalue of D: directions without noise
_UNDERFLOWS = -700.0  # ln of a mass below which cells are empty for rounding's sake, and add nothing
_NO_FLOW = 1e-18  # of the largest square of a velocity: no flow along them


def probability_current(
    generator: Any, grid: Grid, mass: FloatArray, exits: Sequence[Exit] = (), turning: FloatArray | None = None
) -> FloatArray:
    """The probability current J(x) at the centres of the cells.

    Each pair of cells i, j has the net flow G_ji p_i - G_ij p_j from i to j. Times the vector from i to j it is a
    current that fills the two cells, half of it each.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
    grid : Grid
    mass : ndarray, shape grid.shape
        Cell masses p.
    exits : sequence of Exit
        Through absorbing walls.
    turning : ndarray, shape grid.shape, optional
        ln of the Gibbs masses, for a mobility with an antisymmetric part: the sheet of current along walls is left out.

    Returns
    -------
    ndarray, shape (\\*grid.shape, dim)
        Probability per time and per area across the axes (per time alone in one dimension), to order h^2 inside;
        dp/dt = -div J.
    """
    p = np.asarray(mass, dtype=np.float64).ravel()
    jumps = Jumps.of(generator)
    vectors, _ = displacements(grid, jumps)
    # A jump carries rate * p out of its start; its reverse carries what comes back. Both fill both cells by half.
    flow = jumps.rate * p[jumps.start]
    if turning is not None:
        # The part in detailed balance: each jump shares its flow at rest, rate * m, evenly with its reverse.
        l = turning.ravel()
        flow = 0.5 * (flow - np.exp(np.log(jumps.rate) + l[jumps.start] - l[jumps.end]) * p[jumps.end])
    current = np.empty((grid.n_cells, grid.dim))
    for axis in range(grid.dim):
        moved = 0.5 * flow * vectors[:, axis] / grid.cell_volume
        current[:, axis] = jumps.at_start(moved) + np.bincount(jumps.end, weights=moved, minlength=grid.n_cells)
    for each in exits:
        current[:, each.axis] += 0.5 * each.side * each.reach * p * grid.spacing[each.axis] / grid.cell_volume
    if turning is not None:
        alive = np.isfinite(turning)
        inside = away_from_walls(grid, jumps, alive)
        bulk = continued(grid, rest_velocity(jumps, grid, turning), inside, alive, 0.0)
        current = continued(grid, current, inside, alive, current) + (p / grid.cell_volume)[:, None] * bulk
    return current.reshape(*grid.shape, grid.dim)


def entropy_production(
    generator: Any,
    grid: Grid,
    mass: FloatArray,
    log_rest: FloatArray,
    diffusion: FloatArray | None,
    turning: bool = False,
) -> float:
    r"""The rate at which a law produces entropy, in nats per unit of time (k_B = 1).

    With m the law at rest, f = p/m, and v = J[m]/m the velocity that is left at rest,

    .. math:: \sigma = \int \frac{J \cdot D^{-1} J}{p} \,dx
       = \tfrac12 \sum_{ij} w_{ij} (f_i - f_j) \ln\frac{f_i}{f_j} + \sum_i p_i\, v_i \cdot D_i^{-1} v_i ,

    D = T S: what the approach to rest produces, and what keeping up the currents at rest does (Hatano and Sasa, Phys.
    Rev. Lett. 86 (2001) 3463; Esposito and Van den Broeck, Phys. Rev. Lett. 104 (2010) 090601). Without an
    antisymmetric part the first sum is all there is, and it is -dKL/dt of the discrete equation to rounding.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
    grid : Grid
    mass : ndarray, shape grid.shape
        p.
    log_rest : ndarray, shape grid.shape
        ln m.
    diffusion : ndarray, shape (n, dim, dim), or None
        D at the cells' centres; None for a generator in detailed balance.
    turning : bool
        Whether currents at rest are those of an antisymmetric part, whose sheet along walls is left out.

    Returns
    -------
    float
        Zero or positive; infinite where a cell without mass has a neighbour with mass, and where a current at rest
        flows along a direction without noise.
    """
    p, l = np.asarray(mass, dtype=np.float64).ravel(), log_rest.ravel()
    jumps = Jumps.of(generator)
    total = _relaxing(jumps, p, l)
    if diffusion is None:
        return total
    velocity = rest_velocity(jumps, grid, l)
    if turning:
        alive = np.isfinite(log_rest)
        velocity = continued(grid, velocity, away_from_walls(grid, jumps, alive), alive, 0.0)
    open_ = np.isfinite(l) & (p > 0)
    # in units of cells: what is small along one axis may be so for its unit only
    units = np.outer(grid.spacing, grid.spacing)
    return total + float(np.sum(p[open_] * _cost(velocity[open_] / grid.spacing, diffusion[open_] / units)))


def _cost(velocity: FloatArray, diffusion: FloatArray) -> FloatArray:
    """v . D^-1 v, shape (n,); infinite where v has a part along which D vanishes."""
    sizes, frames = np.linalg.eigh(diffusion)
    squares = np.einsum("nab,na->nb", frames, velocity) ** 2
    squares[squares <= _NO_FLOW * squares.max(initial=0.0)] = 0.0
    noisy = sizes > _NO_NOISE * sizes.max(initial=0.0)
    terms = np.where(squares > 0, np.inf, 0.0)
    np.divide(squares, sizes, out=terms, where=noisy)
    return np.asarray(terms.sum(axis=1))


def _relaxing(jumps: Jumps, p: FloatArray, l: FloatArray) -> float:
    """The sum over pairs of w (f_i - f_j) ln(f_i/f_j); each direction of a jump gives half of its pair's."""
    here, there = jumps.start, jumps.end
    with np.errstate(divide="ignore", invalid="ignore"):
        log_f = np.log(p) - l
        gap = log_f[here] - log_f[there]
        # w max(f_i, f_j), which neither overflows nor vanishes, for the part w = rate m_i that this direction carries
        incoming = np.exp(np.minimum(np.log(jumps.rate) + l[here] - l[there], 700.0)) * p[there]
        larger = np.where(gap >= 0, jumps.rate * p[here], incoming)
        terms = -larger * np.expm1(-np.abs(gap)) * np.abs(gap)
        void = (p == 0) & (l > _UNDERFLOWS)
        none = (p[here] == 0) | (p[there] == 0)
        terms[none] = np.where(void[here] != void[there], np.inf, 0.0)[none]
    return float(0.5 * np.sum(terms))


def rest_velocity(jumps: Jumps, grid: Grid, log_rest: FloatArray) -> FloatArray:
    """J[m]/m at the cells' centres, shape (n, dim); formed from ln m, so that light cells have it too."""
    vectors, _ = displacements(grid, jumps)
    l = log_rest.ravel()
    velocity = np.zeros((grid.n_cells, grid.dim))
    with np.errstate(divide="ignore"):
        # What comes in from the other end, per mass of this cell: never more than the rates themselves allow.
        incoming = np.exp(np.log(jumps.back) + l[jumps.end] - l[jumps.start])
    for axis in range(grid.dim):
        velocity[:, axis] = jumps.at_start(0.5 * (jumps.rate - incoming) * vectors[:, axis])
        # One-way jumps that end here have no entry that starts here.
        alone = jumps.back == 0
        gained = np.exp(np.log(jumps.rate[alone]) + l[jumps.start[alone]] - l[jumps.end[alone]])
        velocity[:, axis] += np.bincount(
            jumps.end[alone], weights=0.5 * gained * vectors[alone, axis], minlength=grid.n_cells
        )
    return velocity


def away_from_walls(grid: Grid, jumps: Jumps, alive: BoolArray) -> BoolArray:
    """Cells, shape grid.shape, that hold nothing of the sheet of current along walls.

    With an antisymmetric part the current T div(A q) ends at a wall with a sheet T A q along it, which closes it: a
    term of the boundary, that the cells there hold smeared over their width. They lack one of the loops around their
    corners, or are no further from a wall than the jumps next to it reach (see `relaxsim.density.sheet`).
    """
    known = np.asarray(alive).copy()
    for a, b in combinations(range(grid.dim), 2):
        for steps in product((-1, 1), repeat=2):
            for shift in ({a: steps[0]}, {b: steps[1]}, {a: steps[0], b: steps[1]}):
                known &= _neighbour(alive, grid, shift)
    for axis, n in enumerate(grid.shape):
        if grid.periodic[axis]:
            continue
        start, end = (np.unravel_index(cells, grid.shape)[axis] for cells in (jumps.start, jumps.end))
        layers = np.moveaxis(known, axis, 0)
        for wall, side in ((0, slice(None)), (n - 1, slice(None, None, -1))):
            reach = int(np.max(np.abs(end - start), where=start == wall, initial=1))
            layers[side][: min(reach, (n - 1) // 2)] = False
    return known


def continued(
    grid: Grid, values: FloatArray, known: BoolArray, alive: BoolArray, otherwise: FloatArray | float
) -> FloatArray:
    """Vectors in cells, shape (n, dim), continued linearly from those that are known, and `otherwise` beyond reach."""
    field = np.where(known[..., None], values.reshape(*grid.shape, grid.dim), 0.0)
    while True:
        total, count = np.zeros_like(field), np.zeros(grid.shape)
        for axis in range(grid.dim):
            for side in (-1, 1):
                near, far = ({axis: side * n} for n in (1, 2))
                has, both = _neighbour(known, grid, near), _neighbour(known, grid, near) & _neighbour(known, grid, far)
                first, second = _neighbour(field, grid, near), _neighbour(field, grid, far)
                weight = np.where(both, 1.0, 1e-9 * has)  # one cell alone tells its value, where no two tell a slope
                total += weight[..., None] * np.where(both[..., None], 2 * first - second, first)
                count += weight
        new = alive & ~known & (count > 0)
        if not new.any():
            return np.where(known.reshape(-1, 1), field.reshape(-1, grid.dim), otherwise)
        field[new] = total[new] / count[new][:, None]
        known = known | new


def _neighbour(values: Any, grid: Grid, shift: dict[int, int]) -> Any:
    """What the cells so many steps on along some axes have; zero beyond walls."""
    found = values
    for axis, steps in shift.items():
        found = np.roll(found, -steps, axis=axis)
        if not grid.periodic[axis]:
            beyond = slice(-steps, None) if steps > 0 else slice(None, -steps)
            found[(slice(None),) * axis + (beyond,)] = 0
    return found
