"""The law at rest of a drift and a diffusion that are known on the cells of a grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.rates import bernoulli
from relaxsim.density.stencil import selling
from relaxsim.errors import ConvergenceError
from relaxsim.functionals.grid_fields import derivative
from relaxsim.system.grid import Grid

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_REST = 1e-8  # of what leaves a cell: imbalance at which a law still counts as one at rest


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
    G = _generator(drift, diffusion, grid, taken)
    _, label = connected_components(G, connection="strong")
    largest = np.argmax(np.bincount(label[taken.ravel()]))
    which = np.flatnonzero(taken.ravel() & (label == largest))
    small = G[which][:, which].tocsc()
    p = _at_rest(small)
    leaving = -small.diagonal() * p
    imbalance = np.max(np.abs(small @ p)) / leaving.max()
    if not (imbalance <= _REST and p.min() >= -1e-12 * p.max()):
        raise ConvergenceError(
            f"stationary law: none was found, gain and loss of a cell differ by {imbalance:.1e} of the fastest; the "
            "cells may fall into parts that do not reach each other"
        )
    mass = np.zeros(grid.n_cells)
    mass[which] = np.maximum(p, 0.0) / np.maximum(p, 0.0).sum()
    return mass.reshape(grid.shape)


def _at_rest(G: Any) -> FloatArray:
    """G p = 0 with one p fixed; twice, the second time at the largest, where nothing cancels."""
    from scipy.sparse.linalg import splu

    n = G.shape[0]
    pinned, p = n // 2, np.ones(n)
    for _ in range(2):
        rest = np.delete(np.arange(n), pinned)
        column = np.asarray(G[:, [pinned]].todense()).ravel()
        p = np.ones(n)
        p[rest] = splu(G[rest][:, rest]).solve(-column[rest])
        pinned = int(np.argmax(p))
        p /= p[pinned]
    return p


def _generator(drift: FloatArray, diffusion: FloatArray, grid: Grid, cells: BoolArray) -> Any:
    from scipy.sparse import coo_array

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
    rows, columns, rates = [], [], []
    for offset, weights in _split(units, known, grid).items():
        start, end = _neighbours(grid.shape, grid.periodic, offset)
        keep = known[start] & known[end] & (weights[start] + weights[end] > 0)
        start, end = start[keep], end[keep]
        weight = (weights[start] + weights[end]) / 2
        delta = (beta[start] + beta[end]) / 2 @ np.array(offset, dtype=float)
        for one, other, sign in ((start, end, -1.0), (end, start, 1.0)):
            rows.append(other)
            columns.append(one)
            rates.append(weight * bernoulli(sign * delta))
    i, j, r = np.concatenate(rows), np.concatenate(columns), np.concatenate(rates)
    out = np.bincount(j, r, minlength=grid.n_cells)
    here = np.arange(grid.n_cells)
    return coo_array(
        (np.concatenate([r, -out]), (np.concatenate([i, here]), np.concatenate([j, here]))),
        shape=(grid.n_cells, grid.n_cells),
    ).tocsr()


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


def _neighbours(
    shape: tuple[int, ...], periodic: tuple[bool, ...], offset: tuple[int, ...]
) -> tuple[IntArray, IntArray]:
    """Numbers of all pairs of cells (i, i + offset): wrapped on periodic axes, dropped at other ends."""
    index = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    shifted = np.roll(index, tuple(-v for v in offset), axis=tuple(range(len(shape))))
    keep = tuple(
        slice(None) if wraps else slice(max(0, -v), n - max(0, v))
        for n, wraps, v in zip(shape, periodic, offset, strict=True)
    )
    return index[keep].ravel(), shifted[keep].ravel()
