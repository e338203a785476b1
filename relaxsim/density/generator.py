"""The generator on cell masses: jump rates in detailed balance with the Gibbs masses.

dp/dt = G p for the masses p of the cells. Every edge (i, j) has rates r_ij, r_ji >= 0 with m_i r_ij = m_j
r_ji, where m are the Gibbs masses of `log_cell_weights`. So G conserves mass, keeps p nonnegative, has m at
rest and lowers the relative entropy to m, exactly and not up to the grid's error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.stencil import IntArray, neighbours, selling, wall_weight
from relaxsim.errors import InputError, MobilityError
from relaxsim.system.relative_entropy import checked_energy, log_mean, quadrature_nodes
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

# start cells, end cells, rates start -> end, rates end -> start
Edges = tuple[IntArray, IntArray, FloatArray, FloatArray]

_LN2 = float(np.log(2.0))


def build_generator(system: System, grid: Grid, log_gibbs: FloatArray, log_partition: float) -> Any:
    """Assemble the generator.

    Diagonal K(x): nearest neighbours with the conductance T <K_aa q>_face / h_a^2, averaged over their common
    face by Gauss-Legendre quadrature, over the exact cell masses. Constant full K in two dimensions:
    Selling's offsets with the Gibbs weight halfway, and tangential edges along reflecting walls. Rates are
    bounded by twice those of exponential fitting (Scharfetter and Gummel).

    Parameters
    ----------
    system : System
        One or two dimensions.
    grid : Grid
        The cells.
    log_gibbs : ndarray, shape grid.shape
        ln m of the cells.
    log_partition : float
        ln of the integral of exp(-E/T) over the box.

    Returns
    -------
    scipy.sparse.csr_array, shape (n_cells, n_cells)
        Columns sum to zero; cells are numbered in C order.

    Raises
    ------
    InputError
        A kind of mobility or dimension that is not supported, or a grid too coarse for the mobility or the
        energy.
    MobilityError
        A negative mobility on a face.
    """
    if needs_tensor(system):
        edges = _tensor_edges(system, grid, log_gibbs, log_partition)
    else:
        edges = _diagonal_edges(system, grid, log_gibbs, log_partition)
    return assemble(grid.n_cells, edges)


def needs_tensor(system: System) -> bool:
    """Whether K has off-diagonal entries; raises where such a K, or the dimension, is not supported."""
    if system.dim > 2:
        raise InputError(
            f"system: densities are evolved in one and two dimensions so far, got {system.dim}; use "
            "simulate for an ensemble, or a marginal of the system"
        )
    if system.dim == 1 or system.mobility.structure != "tensor":
        return False
    if not system.mobility.is_constant:
        raise InputError(
            "system: densities with a position-dependent full mobility tensor are not supported yet; a "
            "diagonal K(x) and a constant full K are. Use simulate for an ensemble"
        )
    return bool(_constant_tensor(system)[0, 1] != 0.0)


def bernoulli(x: FloatArray) -> FloatArray:
    """B(x) = x / (exp(x) - 1), the weight of exponentially fitted rates: B(0) = 1, B(-x) = B(x) exp(x)."""
    x = np.asarray(x, dtype=np.float64)
    small = np.abs(x) < 1e-5  # there the next term of the series, x^4/720, is below rounding
    safe = np.where(small, 1.0, x)
    with np.errstate(over="ignore"):
        return np.where(small, 1.0 - x / 2 + x * x / 12, safe / np.expm1(safe))


def assemble(n_cells: int, edges: Iterator[Edges] | list[Edges]) -> Any:
    """Sum the rates of edges into a sparse matrix whose diagonal makes every column sum to zero."""
    from scipy import sparse

    parts = list(edges)
    start, end = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    forth, back = (np.concatenate([part[k] for part in parts]) for k in (2, 3))
    # G[i, j] is the rate j -> i, so a rate start -> end stands in row `end`.
    jumps = sparse.coo_array(
        (np.concatenate([forth, back]), (np.concatenate([end, start]), np.concatenate([start, end]))),
        shape=(n_cells, n_cells),
    ).tocsr()
    return (jumps - sparse.diags_array(jumps.sum(axis=0))).tocsr()


# ---- diagonal mobility


def _diagonal_edges(system: System, grid: Grid, log_gibbs: FloatArray, log_partition: float) -> Iterator[Edges]:
    log_m = log_gibbs.ravel()
    for axis in range(grid.dim):
        offset = tuple(int(a == axis) for a in range(grid.dim))
        start, end = neighbours(grid.shape, grid.periodic, offset)
        log_face, mobility = _faces(system, grid, axis)
        log_face += np.log(grid.cell_volume) - log_partition  # in units of cell masses
        open_ = np.isfinite(log_m[start]) & np.isfinite(log_m[end]) & np.isfinite(log_face)
        start, end = start[open_], end[open_]
        weight = mobility[open_] * system.temperature / grid.spacing[axis] ** 2
        forth, back = fitted_rates(log_m[start], log_m[end], log_face[open_])
        yield start, end, weight * forth, weight * back


def _faces(system: System, grid: Grid, axis: int) -> tuple[FloatArray, FloatArray]:
    """ln of the averages of q = exp(-E/T) over the faces towards the next cell along `axis`, and the averages
    of K_aa over those faces, weighted with q.

    The order is that of `neighbours`: on a periodic axis the last face is the one the axis wraps at.
    """
    nodes, weights = quadrature_nodes(grid.dim)
    axes = [(c[:, None] + h * nodes).ravel() for c, h in zip(grid.centers, grid.spacing, strict=True)]
    faces = grid.edges[axis][1:-1]
    axes[axis] = np.append(faces, grid.edges[axis][0]) if grid.periodic[axis] else faces
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    with np.errstate(all="ignore"):
        mobility = np.asarray(system.mobility(points), dtype=np.float64)[..., axis, axis]
    bad = ~(mobility >= 0) | np.isinf(mobility)
    if bad.any():
        where = ", ".join(f"{value:.6g}" for value in points[bad][0])
        raise MobilityError(
            f"system: K[{axis}, {axis}] = {mobility[bad][0]:g} at ({where}) between two cells, expected a "
            "finite number >= 0; mend the mobility there or shrink the grid's bounds"
        )
    along = [a for a in range(grid.dim) if a != axis]
    log_q = -checked_energy(system, points) / system.temperature
    log_face = log_mean(log_q, weights, axes=along).ravel()
    with np.errstate(divide="ignore"):
        log_flow = log_mean(np.log(mobility) + log_q, weights, axes=along).ravel()
    closed = np.isneginf(log_face)
    return log_face, np.exp(np.where(closed, -np.inf, log_flow - np.where(closed, 0.0, log_face)))


# ---- constant full tensor


def _constant_tensor(system: System) -> FloatArray:
    return np.asarray(system.mobility(system.domain.sample_points(1)[0]), dtype=np.float64)


def _tensor_edges(system: System, grid: Grid, log_gibbs: FloatArray, log_partition: float) -> Iterator[Edges]:
    tensor = _constant_tensor(system) / np.outer(grid.spacing, grid.spacing)
    weights, offsets = selling(tensor)
    used = weights > 0
    weights, offsets = weights[used], offsets[used]
    widest = np.abs(offsets).max(axis=0)
    growth = float(np.max((widest + 1) / np.array(grid.shape)))
    if growth > 1:
        enough = tuple(int(np.ceil(n * growth)) for n in grid.shape)
        raise InputError(
            f"grid: the anisotropy of the mobility asks for jumps of up to {tuple(widest.tolist())} cells "
            f"along the axes, so for more cells than shape={grid.shape}; use at least shape={enough}"
        )
    links: list[tuple[IntArray, float, tuple[int, int] | None]]
    links = [(offset, float(weight), None) for weight, offset in zip(weights, offsets, strict=True)]
    for normal in (0, 1):
        if not grid.periodic[normal]:
            weight = wall_weight(tensor, weights, offsets, normal)
            links += [(np.array([normal, 1 - normal]), weight, (normal, wall)) for wall in (0, grid.shape[normal] - 1)]
    log_m = log_gibbs.ravel()
    for offset, weight, layer in links:
        start, end = neighbours(grid.shape, grid.periodic, (int(offset[0]), int(offset[1])))
        open_ = np.isfinite(log_m[start]) & np.isfinite(log_m[end])  # cells of zero mass have no edges
        if layer is not None:
            open_ &= np.unravel_index(start, grid.shape)[layer[0]] == layer[1]
        start, end = start[open_], end[open_]
        middle = _middle_weight(system, grid, start, offset, log_partition)
        forth, back = fitted_rates(log_m[start], log_m[end], middle)
        yield start, end, system.temperature * weight * forth, system.temperature * weight * back


def _middle_weight(system: System, grid: Grid, start: IntArray, offset: IntArray, log_partition: float) -> FloatArray:
    """ln of the Gibbs mass a cell would have around the midpoint of each edge, from the energy there."""
    cells = np.unravel_index(start, grid.shape)
    points = np.stack([grid.centers[a][cells[a]] + offset[a] * grid.spacing[a] / 2 for a in (0, 1)], axis=-1)
    energy = checked_energy(system, system.domain.wrap(points))
    return np.asarray(np.log(grid.cell_volume) - log_partition - energy / system.temperature)


def fitted_rates(log_start: FloatArray, log_end: FloatArray, log_middle: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Exponentially fitted rates of edges of unit weight, forth and back, in detailed balance.

    The symmetric weight of an edge is the Gibbs weight halfway, but at most twice m_start B(ln m_start - ln
    m_end), which lies between the harmonic and the geometric mean of its ends. Where the grid resolves E the
    two agree to second order, and the weight halfway is the more accurate one; where it does not, the bound
    keeps rates at those of upwinding, and a barrier between two cells still counts.

    Parameters
    ----------
    log_start, log_end : ndarray
        ln of the Gibbs masses of the two ends.
    log_middle : ndarray
        ln of the Gibbs mass a cell would have halfway.
    """
    drop = log_start - log_end
    # From the lighter end B neither underflows nor overflows.
    log_weight = np.minimum(log_start, log_end) + np.log(bernoulli(-np.abs(drop)))
    factor = np.exp(np.minimum(log_middle - log_weight, _LN2))
    return factor * bernoulli(drop), factor * bernoulli(-drop)
