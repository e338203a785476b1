"""The stream function of a current without divergence in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals.grid_fields import Edges, derivative, edge_integrals
from relaxsim.system.grid import Grid

FloatArray = NDArray[np.float64]


def stream_function(current: FloatArray, density: FloatArray, grid: Grid) -> FloatArray:
    """psi = T A^{12} density of a current (d_2, -d_1) psi, by least squares, shape (n_batch, n_1, n_2)."""
    gradient = [-current[..., 1], current[..., 0]]
    edges = Edges(grid, np.asarray(np.isfinite(current).all(axis=(0, -1))))
    if not edges.cells.any():
        return np.full(density.shape, np.nan)
    integrals = [edge_integrals(component, a, grid) for a, component in enumerate(gradient)]
    psi, _ = edges.potential(edges.pick(integrals))
    return np.asarray(psi - _at_rim(psi, density, current, edges)[:, None, None])


def _at_rim(psi: FloatArray, density: FloatArray, current: FloatArray, edges: Edges) -> FloatArray:
    """What to take off psi, shape (n_batch,): its mean over the rim is to be zero at walls of the domain.

    At the end of the data the density is not zero but falls fast. There A is taken to change slowly against it, so that
    grad psi = T A grad density gives A and with it psi.
    """
    grid = edges.grid
    outside = np.pad(~edges.cells, 1, constant_values=True)
    for axis, periodic in enumerate(grid.periodic):
        if periodic:
            ends: Any = [slice(1, -1), slice(1, -1)]
            for to, of in ((0, -2), (-1, 1)):
                target, source = list(ends), list(ends)
                target[axis], source[axis] = to, of
                outside[tuple(target)] = outside[tuple(source)]
    rim = edges.cells & (outside[2:, 1:-1] | outside[:-2, 1:-1] | outside[1:-1, 2:] | outside[1:-1, :-2])
    if not rim.any():
        return np.asarray(np.nanmean(psi, axis=(1, 2)))
    walls = edges.cells.all() and np.array_equal(grid.bounds, np.stack([grid.domain.lower, grid.domain.upper], axis=1))
    if walls:
        return np.asarray(psi[:, rim].mean(axis=1))
    slope = np.stack([derivative(density, a, grid) for a in range(2)], axis=-1)
    turned = -current[..., 1] * slope[..., 0] + current[..., 0] * slope[..., 1]  # grad psi . grad density
    there = np.mean((density * turned)[:, rim], axis=1) / np.mean(np.sum(slope**2, axis=-1)[:, rim], axis=1)
    return np.asarray(psi[:, rim].mean(axis=1) - there)
