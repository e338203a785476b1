"""The law at rest of a drift and a diffusion that are known on the cells of a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.cells import CellGeometry
from relaxsim.density.generator import with_diagonal
from relaxsim.density.links import Links
from relaxsim.density.rates import bernoulli
from relaxsim.density.stationary import solve_rest
from relaxsim.density.stencil import selling
from relaxsim.functionals.grid_fields import derivative
from relaxsim.system.grid import Grid

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def stationary_masses(
    drift: FloatArray, diffusion: FloatArray, grid: Grid, cells: BoolArray | None = None
) -> FloatArray:
    """Masses of the law at rest of dp/dt = -d_a(mu^a p) + d_a d_b (D^{ab} p), no flux through the ends.

    Parameters
    ----------
    drift : ndarray, shape (\\*grid.shape, dim)
        mu on the cell centres.
    diffusion : ndarray, shape (\\*grid.shape, dim, dim)
        D = Sigma/2, positive definite.
    grid : Grid
    cells : ndarray of bool, shape grid.shape, optional
        The cells that take part, by default all; the others have walls around them. Of these the largest set does whose
        cells all reach each other.

    Returns
    -------
    ndarray, shape grid.shape
        Summing to one, zero in cells that take no part.

    Raises
    ------
    ConvergenceError
        No positive law was found.

    Notes
    -----
    A Markov chain that jumps along integer offsets v, D in units of cells being a sum of lambda_v v v^T with lambda_v
    >= 0 (Selling, 1874), with exponentially fitted rates lambda_v B(-beta . v), beta = D^{-1}(mu - div D) halfway and
    B(x) = x/(e^x - 1). Second order inside.
    """
    from scipy.sparse.csgraph import connected_components

    taken = np.ones(grid.shape, dtype=bool) if cells is None else cells
    jumps = _jumps(drift, diffusion, grid, taken)
    _, label = connected_components(jumps, connection="strong")
    largest = np.argmax(np.bincount(label[taken.ravel()]))
    which = np.flatnonzero(taken.ravel() & (label == largest))
    mass = np.zeros(grid.n_cells)
    mass[which] = solve_rest(with_diagonal(jumps[which][:, which]))
    return mass.reshape(grid.shape)


class _Known(CellGeometry):
    """The cells where drift and diffusion are known."""

    density = None

    def __init__(self, grid: Grid, known: BoolArray) -> None:
        self.grid, self.alive = grid, known.reshape(grid.shape)


def _jumps(drift: FloatArray, diffusion: FloatArray, grid: Grid, cells: BoolArray) -> Any:
    """Rates j -> i at [i, j], a sparse matrix."""
    dim = grid.dim
    D = diffusion
    divergence = sum(
        np.stack([derivative(D[None, ..., a, c], c, grid)[0] for a in range(dim)], axis=-1) for c in range(dim)
    )
    b = np.where(cells[..., None], drift - divergence, np.nan)
    units = (D / np.outer(grid.spacing, grid.spacing)).reshape(-1, dim, dim)
    beta = np.full((grid.n_cells, dim), np.nan)
    known = np.isfinite(b).all(axis=-1).ravel()
    beta[known] = np.linalg.solve(units[known], (b.reshape(-1, dim) / grid.spacing)[known][..., None])[..., 0]
    geometry: Any = _Known(grid, known)
    links = Links(geometry)
    every = np.arange(grid.n_cells, dtype=np.int32)
    for offset, weights in _split(units, known, grid).items():
        end, keep = links.shifted(every, np.array([offset], dtype=np.int32))
        keep &= weights + weights[end] > 0
        start, end = every[keep], end[keep]
        weight = (weights[start] + weights[end]) / 2
        delta = (beta[start] + beta[end]) / 2 @ np.array(offset, dtype=float)
        links.edges.add(start, end, weight * bernoulli(-delta), weight * bernoulli(delta))
    return links.edges.total()


def _split(units: FloatArray, known: BoolArray, grid: Grid) -> dict[tuple[int, ...], FloatArray]:
    """lambda_v of every cell by offset: along axes and diagonals where these do, else by Selling's formula."""
    n, dim = len(units), grid.dim
    identity = np.eye(dim, dtype=int)
    found = {tuple(int(v) for v in identity[a]): np.nan_to_num(units[:, a, a]).copy() for a in range(dim)}
    for a in range(dim):
        for c in range(a + 1, dim):
            entry = np.nan_to_num(units[:, a, c])
            for sign in (1, -1):
                found[tuple(int(v) for v in identity[a] + sign * identity[c])] = np.maximum(sign * entry, 0.0)
            for axis in (a, c):
                found[tuple(int(v) for v in identity[axis])] -= np.abs(entry)
    along = np.stack([found[tuple(int(v) for v in identity[a])] for a in range(dim)])
    wide = known & (along < 0).any(axis=0)
    if not wide.any():
        return found
    for values in found.values():
        values[wide] = 0.0
    weights, offsets = selling(units[wide])
    for weight, offset in zip(weights.T, np.moveaxis(offsets, 1, 0), strict=True):
        for v in np.unique(offset[weight > 0], axis=0):
            here = (weight > 0) & (offset == v).all(axis=1)
            found.setdefault(tuple(int(step) for step in v), np.zeros(n))[np.flatnonzero(wide)[here]] += weight[here]
    return {v: w for v, w in found.items() if all(abs(step) < size for step, size in zip(v, grid.shape, strict=True))}
