"""Exact propagation axis by axis, where the energy is a sum and the mobility diagonal with K_a of x_a alone.

Then the generator is a Kronecker sum of one-dimensional ones, and exp(t G) is a product of small dense stochastic
matrices, one an axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.cells import blocks, half_lattice
from relaxsim.progress import Bar
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.fokker_planck import FokkerPlanck
    from relaxsim.system.grid import Grid

LONGEST_AXIS = 512  # cells; dense matrices of more cost more than they save
_EPS = float(np.finfo(np.float64).eps)
_TERMS = 8  # of the exponential series at 1/16: below 1e-16


def why_not(equation: FokkerPlanck) -> str | None:
    """The reason why an equation is not propagated axis by axis, or None if it can be."""
    system, grid = equation.system, equation.grid
    if not hasattr(system, "energy"):
        return "it is given by its drift"
    if grid.dim < 2:
        return "it has one axis only"
    if equation.moving:
        return "it changes with time or with the density"
    if system.domain.absorbs:
        return "its walls absorb"
    if max(grid.shape) > LONGEST_AXIS:
        return f"an axis has more than {LONGEST_AXIS} cells"
    reason = _mobility_couples(system, grid)
    if reason is None and not _adds_up(equation.log_gibbs):
        reason = "its energy is not a sum over the axes"
    return reason


def _mobility_couples(system: Any, grid: Any) -> str | None:
    """Why K is not diag(K_1(x_1), ..., K_d(x_d)), or None."""
    mobility = system.mobility
    if not getattr(mobility, "reversible", True):
        return "its mobility has an antisymmetric part"
    ask = getattr(mobility, "why_not_separate", None)
    if ask is not None and ask(grid.dim) is None:
        return None
    # A function, or a full matrix that may be diagonal after all: look at its values in all cells and on all faces,
    # against those on one line along each axis.
    axes = [line[:1] for line in grid.centers] if mobility.is_constant else half_lattice(grid)
    lines = [_along(mobility, axes, axis) for axis in range(grid.dim)]
    row = 0
    for points in blocks(axes):
        values = np.asarray(mobility(points), dtype=np.float64)
        diagonal = np.diagonal(values, axis1=-2, axis2=-1)
        if np.any(values - diagonal[..., None] * np.eye(grid.dim) != 0.0):
            return "its mobility is not diagonal"
        rows = slice(row, row + len(points))
        row += len(points)
        for axis, line in enumerate(lines):
            part = line[rows] if axis == 0 else line
            expected = part.reshape([-1 if a == axis else 1 for a in range(grid.dim)])
            # written so that values that are not numbers couple
            if not np.all(np.abs(diagonal[..., axis] - expected) <= 8 * _EPS * np.abs(expected)):
                return f"K_{axis} of its mobility depends on other coordinates than x{axis}"
    return None


def _along(mobility: Any, axes: list[FloatArray], axis: int) -> FloatArray:
    """K_aa along an axis, at the first coordinate of every other one."""
    points = np.tile([line[0] for line in axes], (len(axes[axis]), 1))
    points[:, axis] = axes[axis]
    return np.asarray(mobility(points), dtype=np.float64)[..., axis, axis]


def _adds_up(log_gibbs: FloatArray) -> bool:
    """Whether ln m is a sum of functions of one coordinate each, to rounding."""
    if not np.all(np.isfinite(log_gibbs)):
        return False
    peak = np.unravel_index(int(np.argmax(log_gibbs)), log_gibbs.shape)
    total = np.full((1,) * log_gibbs.ndim, (1 - log_gibbs.ndim) * log_gibbs[peak])
    for axis in range(log_gibbs.ndim):
        line = log_gibbs[tuple(slice(None) if a == axis else slice(k, k + 1) for a, k in enumerate(peak))]
        total = total + line
    # quadrature and logarithms round relative to the size of ln m, energies relative to that of their terms
    bound = 64 * _EPS * (1.0 + float(np.abs(log_gibbs).max()))
    return bool(np.max(np.abs(total - log_gibbs)) <= bound)


def axis_generators(equation: FokkerPlanck) -> list[FloatArray]:
    """Dense generators of the axes: rates between the cells of a line, taken where the mass is.

    Rates along an axis depend on its own coordinate only, so a grid that is two cells wide across it has them all.
    """
    from relaxsim.density.generator import build_generator
    from relaxsim.system.grid import Grid
    from relaxsim.system.relative_entropy import log_cell_weights

    system, grid = equation.system, equation.grid
    peak = np.unravel_index(int(np.argmax(equation.log_gibbs)), grid.shape)
    found = []
    for axis in range(grid.dim):
        shape = [n if a == axis else 2 for a, n in enumerate(grid.shape)]
        bounds = [_beside(grid, a, int(k)) if a != axis else grid.bounds[a] for a, k in enumerate(peak)]
        line = Grid(grid.domain, shape, bounds=bounds)
        weights, log_partition = log_cell_weights(system, line)
        jumps = build_generator(system, line, weights, log_partition).toarray()
        numbers = np.moveaxis(np.arange(line.n_cells).reshape(shape), axis, 0).reshape(grid.shape[axis], -1)[:, 0]
        rates = jumps[np.ix_(numbers, numbers)]
        np.fill_diagonal(rates, 0.0)
        np.fill_diagonal(rates, -rates.sum(axis=0))
        found.append(rates)
    return found


def _beside(grid: Grid, axis: int, cell: int) -> FloatArray:
    """Ends of a cell and a neighbour along an axis; of the whole axis where it is periodic."""
    if grid.periodic[axis]:
        return np.asarray(grid.bounds[axis])
    first = min(cell, grid.shape[axis] - 2)
    return np.asarray(grid.edges[axis][[first, first + 2]])


def propagator(generator: FloatArray, length: float) -> FloatArray:
    """exp(t G) of a dense generator as a stochastic matrix, by powers of B = I + G/rate and squaring.

    No term is negative and columns are scaled to sum to one, so that entries keep their relative accuracy, however
    stiff the generator.
    """
    n = len(generator)
    rate = float(np.max(-np.diag(generator), initial=0.0))
    if rate == 0.0:
        return np.eye(n)
    squarings = max(0, int(np.ceil(np.log2(rate * length * 16.0))))
    z = rate * length / 2.0**squarings
    jumps = generator / rate
    np.fill_diagonal(jumps, 1.0 + np.diag(jumps))
    found = np.eye(n)
    for k in range(_TERMS, 0, -1):  # 1 + z B (1 + z B / 2 (1 + ...))
        found = np.eye(n) + (z / k) * (jumps @ found)
    for _ in range(squarings):
        found /= found.sum(axis=0)
        found = found @ found
    return np.asarray(found / found.sum(axis=0))


def run(equation: FokkerPlanck, mass: FloatArray, times: FloatArray, bar: Bar) -> Iterator[FloatArray]:
    """Flat masses at times[1:], each from the one before by one matrix an axis."""
    generators = axis_generators(equation)
    last, matrices = np.nan, []
    shaped = mass.reshape(equation.grid.shape)
    for interval in np.diff(times):
        if not abs(interval - last) <= 1e-12 * interval:
            last, matrices = float(interval), [propagator(each, float(interval)) for each in generators]
        for axis, matrix in enumerate(matrices):
            # as a stack of matrices, so that no axis has to be moved
            stack = shaped.reshape(-1, len(matrix), math.prod(shaped.shape[axis + 1 :]))
            moved = stack[..., 0] @ matrix.T if axis == shaped.ndim - 1 else matrix @ stack
            shaped = moved.reshape(shaped.shape)
        shaped /= shaped.sum()
        bar.update(last)
        yield shaped.ravel()
