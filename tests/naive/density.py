"""Loop-level twins of the cell weights, the edges and the generator of relaxsim.density."""

from __future__ import annotations

import itertools
import math

import numpy as np

from relaxsim.system.relative_entropy import quadrature_nodes


def cells_of(grid):
    return list(itertools.product(*(range(n) for n in grid.shape)))


def center(grid, cell):
    return [low + (k + 0.5) * h for (low, _), k, h in zip(grid.bounds, cell, grid.spacing, strict=True)]


def mean_over(grid, middle, value, axes):
    """Mean of value(x) over the box of one cell's size around `middle`, along `axes` only."""
    nodes, weights = quadrature_nodes(grid.dim)
    places, shares = [], []
    for picks in itertools.product(range(len(nodes)), repeat=len(axes)):
        x, weight = list(middle), 1.0
        for axis, pick in zip(axes, picks, strict=True):
            x[axis] += nodes[pick] * grid.spacing[axis]
            weight *= weights[pick]
        places.append(x)
        shares.append(weight)
    return float(np.dot(shares, value(np.array(places))))


def boltzmann(system, x):
    return np.exp(-system.energy(x) / system.temperature)


def cell_weights(system, grid):
    """Normalised masses by cell, and the partition function; for energies that do not underflow."""
    axes = range(grid.dim)
    masses = {
        cell: mean_over(grid, center(grid, cell), lambda x: boltzmann(system, x), axes) * grid.cell_volume
        for cell in cells_of(grid)
    }
    total = sum(masses.values())
    return {cell: mass / total for cell, mass in masses.items()}, total


def shifted(grid, cell, offset):
    """The cell at cell + offset, or None beyond a wall."""
    there = []
    for k, v, n, wraps in zip(cell, offset, grid.shape, grid.periodic, strict=True):
        if wraps:
            there.append((k + v) % n)
        elif 0 <= k + v < n:
            there.append(k + v)
        else:
            return None
    return tuple(there)


def selling_by_search(tensor, reach=12):
    """All (weight, +-offset) of the first obtuse superbase found among small integer vectors."""
    vectors = [v for v in itertools.product(range(-reach, reach + 1), repeat=2) if v != (0, 0)]
    vectors.sort(key=lambda v: v[0] ** 2 + v[1] ** 2)
    slack = 1e-12 * np.trace(tensor)
    for b0, b1 in itertools.combinations(vectors, 2):
        if abs(b0[0] * b1[1] - b0[1] * b1[0]) != 1:
            continue
        base = [np.array(b0), np.array(b1), -np.array(b0) - np.array(b1)]
        products = [base[(k + 1) % 3] @ tensor @ base[(k + 2) % 3] for k in range(3)]
        if max(products) <= slack:
            return [(max(0.0, -p), (-int(b[1]), int(b[0]))) for p, b in zip(products, base, strict=True)]
    raise AssertionError("no obtuse superbase within reach")


def bernoulli(x):
    return 1.0 if x == 0 else x / math.expm1(x)


def generator(system, grid):
    """Dense generator, one edge at a time."""
    masses, partition = cell_weights(system, grid)
    number = {cell: k for k, cell in enumerate(cells_of(grid))}
    result = np.zeros((len(number), len(number)))

    def add(cell, there, weight):
        """An edge with the symmetric weight m_i r_ij = m_j r_ji."""
        i, j = number[cell], number[there]
        result[j, i] += weight / masses[cell]
        result[i, i] -= weight / masses[cell]
        result[i, j] += weight / masses[there]
        result[j, j] -= weight / masses[there]

    if system.dim == 2 and system.mobility(np.array(center(grid, (0, 0))))[0, 1] != 0:
        _tensor_edges(system, grid, masses, partition, add)
    else:
        _diagonal_edges(system, grid, masses, partition, add)
    return result


def _diagonal_edges(system, grid, masses, partition, add):
    for cell in cells_of(grid):
        for axis in range(grid.dim):
            offset = [int(a == axis) for a in range(grid.dim)]
            there = shifted(grid, cell, offset)
            if there is None:
                continue
            face = center(grid, cell)
            face[axis] += grid.spacing[axis] / 2
            others = [a for a in range(grid.dim) if a != axis]

            def weighted(x, axis=axis):
                return system.mobility(x)[..., axis, axis] * boltzmann(system, x)

            q = mean_over(grid, face, lambda x: boltzmann(system, x), others)
            mobility = mean_over(grid, face, weighted, others) / q
            _fitted_edge(
                system,
                grid,
                masses,
                q * grid.cell_volume / partition,
                add,
                cell,
                offset,
                mobility / grid.spacing[axis] ** 2,
            )


def _tensor_edges(system, grid, masses, partition, add):
    h = grid.spacing
    tensor = system.mobility(np.array(center(grid, (0, 0)))) / np.outer(h, h)
    split = selling_by_search(tensor)
    for cell in cells_of(grid):
        links = [(offset, weight) for weight, offset in split]
        for normal in (0, 1):
            if grid.periodic[normal] or cell[normal] not in (0, grid.shape[normal] - 1):
                continue
            along, weight = 1 - normal, 0.0
            for share, v in split:
                slip = v[along] - v[normal] * tensor[along, normal] / tensor[normal, normal]
                weight += 0.5 * share * abs(v[normal]) * slip**2
            links.append(((normal, along), weight))
        for offset, weight in links:
            middle = np.array(center(grid, cell)) + np.array(offset) * h / 2
            wanted = boltzmann(system, system.domain.wrap(middle)) * grid.cell_volume / partition
            _fitted_edge(system, grid, masses, wanted, add, cell, offset, weight)


def _fitted_edge(system, grid, masses, wanted, add, cell, offset, weight):
    """An edge of weight `wanted`, the Gibbs mass halfway, unless that is beyond twice the fitted one."""
    there = shifted(grid, cell, offset)
    if there is None:
        return
    fitted = masses[cell] * bernoulli(math.log(masses[cell] / masses[there]))
    add(cell, there, system.temperature * weight * min(wanted, 2 * fitted))
