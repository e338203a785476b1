"""Gibbs weights of cells and the relative entropy of cell masses, both in the log domain.

Weights come from quadrature inside each cell, not from the energy at its centre, and are kept as logarithms:
a cell mass underflows below exp(-745) while rates and relative entropies need its logarithm only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from relaxsim.errors import InputError, ShapeError
from relaxsim.system.field import format_point, product_points
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

_CHUNK = 1 << 15  # quadrature points evaluated at a time: fields keep some ten arrays of them in the cache
_AT_ONCE = 1 << 15  # cells whose part of a relative entropy is formed at a time
_NODES = {1: 8, 2: 6}  # Gauss-Legendre nodes an axis and cell; 4 in higher dimensions


@lru_cache
def quadrature_nodes(dim: int) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes on (-1/2, 1/2) and weights that sum to one, used in each cell along each axis."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES.get(dim, 4))
    nodes, weights = nodes / 2, weights / 2
    nodes.flags.writeable = weights.flags.writeable = False  # they are kept
    return nodes, weights


def log_cell_weights(system: System, grid: Grid, t: float = 0.0) -> tuple[FloatArray, float]:
    """Logarithms of the Gibbs masses of the cells, and of the partition function of the box.

    The mass of cell i is m_i = (1/Z) times the integral of exp(-E/T) over the cell, with Z the integral over
    the box of the grid (dimensionless, k_B = 1). The integrals are tensor products of Gauss-Legendre rules
    with 8, 6 or 4 nodes an axis in 1, 2 or more dimensions.

    Parameters
    ----------
    system : System
        Gives energy and temperature.
    grid : Grid
        The cells.
    t : float, default 0
        Time at which the energy and the temperature are taken.

    Returns
    -------
    log_weights : ndarray, shape grid.shape
        ln m_i; the masses sum to one. -inf where the energy is infinite.
    log_partition : float
        ln Z.

    Raises
    ------
    InputError
        An energy that is not a number or minus infinity (the point is named), or infinite everywhere.
    """
    nodes, weights = quadrature_nodes(grid.dim)
    axes = [(c[:, None] + h * nodes).ravel() for c, h in zip(grid.centers, grid.spacing, strict=True)]
    graded = _graded(axes, system, grid, nodes, weights)
    n, per_row = nodes.size, nodes.size**grid.dim * math.prod(grid.shape[1:])
    rows = max(1, _CHUNK // per_row)
    averages, temperature = [], value_at(system.temperature, t)
    for start in range(0, grid.shape[0], rows):
        first = axes[0][start * n : (start + rows) * n]
        points = product_points([first, *axes[1:]])
        reduced = -checked_energy(system, points, t) / temperature
        if graded is not None:
            reduced = reduced + graded[0][start * n : (start + rows) * n].reshape(-1, *(1,) * (grid.dim - 1))
            for axis in range(1, grid.dim):
                reduced = reduced + graded[axis].reshape(-1, *(1,) * (grid.dim - 1 - axis))
        averages.append(log_mean(reduced, weights))
    log_averages = np.concatenate(averages)
    peak = log_averages.max()
    if peak == -np.inf:
        raise InputError("system: the energy is infinite in every cell of the grid; move the grid's bounds")
    log_sum = peak + math.log(np.exp(log_averages - peak).sum())
    return log_averages - log_sum, float(log_sum + math.log(grid.cell_volume))


def _graded(
    axes: list[FloatArray], system: System, grid: Grid, nodes: FloatArray, weights: FloatArray
) -> list[FloatArray] | None:
    """Crowd the nodes of the first and last cells at the walls of the domain, where a measure sqrt(g) may be infinite.

    With x = h u^4 from the wall, x^(-3/4) and weaker singularities become smooth. Changes `axes`; returns ln of what
    each node weighs more than in the plain rule, for each axis, or None where there is no measure.
    """
    if getattr(system, "measure", None) is None:
        return None
    n, u = nodes.size, nodes + 0.5
    found = []
    for axis, (x, h) in enumerate(zip(axes, grid.spacing, strict=True)):
        extra = np.zeros(x.size)
        low, high = grid.bounds[axis]
        if not grid.periodic[axis] and low == grid.domain.lower[axis]:
            x[:n], extra[:n] = low + h * u**4, np.log(4 * u**3)
        if not grid.periodic[axis] and high == grid.domain.upper[axis]:
            x[-n:], extra[-n:] = high - h * u[::-1] ** 4, np.log(4 * u[::-1] ** 3)
        found.append(extra)
    return found


def checked_energy(system: System, points: FloatArray, t: float = 0.0) -> FloatArray:
    """Energy at points (..., dim), shape (...); +inf marks forbidden regions, nan and -inf are refused."""
    with np.errstate(all="ignore"):
        energy = np.asarray(system.energy(points, t), dtype=np.float64)
    bad = np.isnan(energy) | np.isneginf(energy)
    if bad.any():
        where = format_point(points[bad][0])
        raise InputError(
            f"system: the energy is {energy[bad][0]} at {where}, expected a finite number or +inf (a "
            "forbidden region); shrink the grid's bounds, or mend the energy there"
        )
    return energy


def log_mean(log_values: FloatArray, weights: FloatArray, axes: Iterable[int] | None = None) -> FloatArray:
    """ln of the weighted mean of exp over blocks of len(weights) nodes along every axis, or along `axes`."""
    n = weights.size
    for axis in range(log_values.ndim) if axes is None else axes:
        shape = log_values.shape
        blocks = log_values.reshape((*shape[:axis], shape[axis] // n, n, *shape[axis + 1 :]))
        peak = blocks.max(axis=axis + 1, keepdims=True)
        scaled = np.exp(blocks - np.where(np.isneginf(peak), 0.0, peak))
        with np.errstate(divide="ignore"):
            log_values = np.log(np.tensordot(scaled, weights, axes=(axis + 1, 0)))
        log_values = log_values + np.squeeze(peak, axis + 1)
    return log_values


def kl_divergence(mass: FloatArray, log_weights: FloatArray) -> FloatArray | float:
    """Relative entropy sum_i p_i ln(p_i / m_i) of cell masses against weights; both sum to one.

    Evaluated as the sum of p ln(p/m) - p + m, which is the same for arguments that sum to one, has no
    negative term, and through log1p keeps its digits near equilibrium.

    Parameters
    ----------
    mass : ndarray, shape (..., \\*cells)
        Cell masses p, zero or positive; leading axes (such as time) are kept.
    log_weights : ndarray, shape cells
        ln m, -inf for weight zero.

    Returns
    -------
    float or ndarray, shape (...)
        Zero or positive; +inf where a cell of weight zero holds mass. 0 ln 0 counts as 0.

    Raises
    ------
    ShapeError
        Trailing axes of `mass` that differ from the shape of `log_weights`.
    """
    p = np.asarray(mass, dtype=np.float64)
    log_m = np.asarray(log_weights, dtype=np.float64)
    lead = p.ndim - log_m.ndim
    if lead < 0 or p.shape[lead:] != log_m.shape:
        raise ShapeError(f"mass: expected an array of shape (..., {log_m.shape}), got {p.shape}")
    shape, flat = p.shape[:lead], log_m.ravel()
    p = p.reshape(*shape, flat.size)
    total = np.zeros(shape)
    for first in range(0, flat.size, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        total += _divergence_terms(p[..., part], flat[part]).sum(axis=-1)
    return float(total) if lead == 0 else np.asarray(total)


def _divergence_terms(p: FloatArray, log_m: FloatArray) -> FloatArray:
    """p ln(p/m) - p + m for cells on the last axis."""
    m = np.exp(log_m)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        excess = (p - m) / m
        terms = np.where(p > 0, p * (np.log(p) - log_m) - p, 0.0) + m
        near = np.abs(excess) < 0.5
        few = excess[near]
        terms[near] = np.broadcast_to(m, p.shape)[near] * ((1.0 + few) * np.log1p(few) - few)
    return np.asarray(terms)
