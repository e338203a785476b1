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
    """Dense generator, one edge at a time; tensors and walls with an antisymmetric part in two dimensions only."""
    masses, partition = cell_weights(system, grid)
    near, wide = {}, []  # symmetric weights m_i r_ij of links (cell, axis) to the next cell, and of other edges

    def add(cell, offset, weight, halfway, ends=None):
        """An edge with the Gibbs weight halfway as its weight, at most twice the fitted one.

        On steep edges it is the fitted one, or less over a barrier; from a change of E/T of 2 to one of 10 the power of
        that grows and the power of the other falls. With the Gibbs weights of its `ends` at the centres a jump has
        halfway what means over cells have more than over its own length, where that is a factor of exp(.1) to exp(.3).
        """
        there = shifted(grid, cell, offset)
        if there is None:
            return
        climb = math.log(masses[cell] / masses[there])
        fitted = masses[cell] * bernoulli(climb)
        if ends is not None:
            ends = [min(q, math.exp(0.5) * masses[at]) for q, at in zip(ends, (cell, there), strict=True)]
            bend = min(max(math.log(ends[0] * ends[1] / halfway**2) / 6, -0.5), 0.5)
            slopes = [abs(math.log(halfway / q)) for q in ends]
            along = [math.log(math.sinh(s) / s) if s > 1e-3 else s * s / 6 for s in slopes]
            left = [math.log(masses[at] / q) - e - bend for at, q, e in zip((cell, there), ends, along, strict=True)]
            least = min(map(abs, left))
            if left[0] * left[1] > 0:
                halfway *= math.exp(min(max((least - 0.1) / 0.2, 0), 1) * math.copysign(least, left[0]))
        steep = min(max((abs(climb) - 2) / 8, 0), 1)
        over_barrier = min(halfway / min(masses[cell], masses[there]), 1)
        factor = min(halfway / fitted, 2) ** (1 - steep) * over_barrier**steep
        flow = system.temperature * weight * fitted * factor
        if sorted(map(abs, offset))[-2:] in ([1], [0, 1]):
            axis = [abs(v) for v in offset].index(1)
            key = (cell if offset[axis] > 0 else there, axis)
            near[key] = near.get(key, 0.0) + flow
        else:
            wide.append((cell, there, flow))

    currents = {} if system.mobility.reversible else _loops(system, grid, masses)
    splits = None
    if system.dim == 2 and system.mobility.structure == "tensor" and _oblique(system, grid):
        wanted = _wanted(system, grid, masses, currents)
        splits = {cell: _split(_in_cells(system, grid, cell), wanted[cell]) for cell in cells_of(grid)}
        if currents:
            for cell, lacking in _lacking(system, grid, splits).items():
                total = [p + q for p, q in zip(wanted[cell], lacking, strict=True)]
                splits[cell] = _split(_in_cells(system, grid, cell), total)
            currents = _loops(system, grid, masses, splits)
        _tensor_edges(system, grid, partition, add, splits)
    else:
        _diagonal_edges(system, grid, partition, add)
    if system.dim == 2:
        _wall_edges(system, grid, partition, add, splits)
    return _from_flows(grid, masses, near, wide, currents)


def _from_flows(grid, masses, near, wide, currents):
    number = {cell: k for k, cell in enumerate(cells_of(grid))}
    result = np.zeros((len(number), len(number)))

    def jump(cell, there, flow):
        i, j = number[cell], number[there]
        result[j, i] += flow / masses[cell]
        result[i, i] -= flow / masses[cell]

    for key in near.keys() | currents.keys():
        cell, axis = key
        there = shifted(grid, cell, [int(a == axis) for a in range(grid.dim)])
        w, c = near.get(key, 0.0), currents.get(key, 0.0)
        jump(cell, there, max(w + c / 2, c, 0.0))
        jump(there, cell, max(w - c / 2, -c, 0.0))
    for cell, there, flow in wide:
        jump(cell, there, flow)
        jump(there, cell, flow)
    return result


def _oblique(system, grid):
    return any(system.mobility.symmetric(np.array(center(grid, cell)))[0, 1] != 0 for cell in cells_of(grid))


def _on_the_way(system, grid, partition, cell, offset):
    """Gibbs weights halfway of a jump, and at both ends."""
    begin = np.array(center(grid, cell))
    points = [system.domain.wrap(begin + part * np.array(offset) * grid.spacing) for part in (0.5, 0, 1)]
    middle, *ends = (boltzmann(system, x) * grid.cell_volume / partition for x in points)
    return middle, ends


def _diagonal_edges(system, grid, partition, add):
    for cell in cells_of(grid):
        for axis in range(grid.dim):
            offset = [int(a == axis) for a in range(grid.dim)]
            if shifted(grid, cell, offset) is None:
                continue
            face = center(grid, cell)
            face[axis] += grid.spacing[axis] / 2
            others = [a for a in range(grid.dim) if a != axis]

            def weighted(x, axis=axis):
                return system.mobility.symmetric(x)[..., axis, axis] * boltzmann(system, x)

            q = mean_over(grid, face, lambda x: boltzmann(system, x), others)
            mobility = mean_over(grid, face, weighted, others) / q
            add(cell, offset, mobility / grid.spacing[axis] ** 2, q * grid.cell_volume / partition)


def _in_cells(system, grid, cell):
    return system.mobility.symmetric(np.array(center(grid, cell))) / np.outer(grid.spacing, grid.spacing)


def _wanted(system, grid, masses, currents):
    """Weights along the axes that keep the currents from being upwinded, by cell; those of walls from one cell in."""
    found = {}
    for cell in cells_of(grid):
        inner = [
            k if wraps or n < 3 else min(max(k, 1), n - 2)
            for k, n, wraps in zip(cell, grid.shape, grid.periodic, strict=True)
        ]
        found[cell] = []
        for axis in range(grid.dim):
            step, sizes = [int(a == axis) for a in range(grid.dim)], []
            for first in (tuple(inner), shifted(grid, inner, [-v for v in step])):
                there = None if first is None else shifted(grid, first, step)
                if there is not None:
                    current = abs(currents.get((first, axis), 0.0))
                    sizes.append(max(current / masses[first], current / masses[there]) / (2 * system.temperature))
            found[cell].append(max(sizes))
    return found


def _split(tensor, wanted):
    """Offsets along the axes with what is wanted, as far as half of S is left, and those of the rest."""
    share = sum(w * entry for w, entry in zip(wanted, np.diag(np.linalg.inv(tensor)), strict=True))
    granted = [w * min(1.0, 0.5 / share) if share > 0 else 0.0 for w in wanted]
    axes = [(weight, tuple(int(v) for v in axis)) for weight, axis in zip(granted, np.eye(2), strict=True)]
    return selling_by_search(tensor - np.diag(granted)) + axes


def _tensor_edges(system, grid, partition, add, splits):
    for cell in cells_of(grid):
        for weight, offset in splits[cell]:
            for sign in (1, -1):
                v = [sign * k for k in offset]
                add(cell, v, weight / 2, *_on_the_way(system, grid, partition, cell, v))


def _wall_edges(system, grid, partition, add, splits):
    for cell in cells_of(grid):
        for normal, _, strip in _strips(system, grid, splits, cell):
            for offset in ((normal, 1 - normal), (-normal, normal - 1)):
                add(cell, offset, strip / 2, *_on_the_way(system, grid, partition, cell, offset))


def _depths(grid, cell, normal):
    """How far a cell is from the two walls of an axis, with the cells next to those walls."""
    if grid.periodic[normal]:
        return []
    ends = (0, grid.shape[normal] - 1)
    return [(abs(cell[normal] - end), tuple(end if k == normal else cell[k] for k in (0, 1))) for end in ends]


def _axes_only(tensor):
    return [(tensor[0, 0], (1, 0)), (tensor[1, 1], (0, 1))]


def _strips(system, grid, splits, cell):
    """Normal, depth, and weight of the edges along each wall, where jumps that would cross it are missing."""
    tensor = _in_cells(system, grid, cell)
    a = system.mobility.antisymmetric(np.array(center(grid, cell)))[0, 1] / np.prod(grid.spacing)
    for normal in (0, 1):
        along, across = 1 - normal, tensor[normal, normal]
        for depth, _ in _depths(grid, cell, normal):
            weight = 0.0
            for share, v in splits[cell] if splits else _axes_only(tensor):
                if abs(v[normal]) > depth:
                    slip = v[along] - v[normal] * tensor[along, normal] / across
                    weight += 0.5 * share * (slip**2 + (v[normal] * a / across) ** 2)
            if weight > 0:
                yield normal, depth, weight


def _carried(system, grid, split, outermost, normal, depth):
    """The share of the sheet of current along a wall that a layer of cells has."""
    across = _in_cells(system, grid, outermost)[normal, normal]
    return sum(share * abs(v[normal]) for share, v in split if abs(v[normal]) > depth) / across


def _lacking(system, grid, splits):
    """What the edges along walls leave to be wanted for the sheets of current there, by cell."""
    found = {}
    for cell in cells_of(grid):
        lacking = [0.0, 0.0]
        a = system.mobility.antisymmetric(np.array(center(grid, cell)))[0, 1] / np.prod(grid.spacing)
        for normal in (0, 1):
            for depth, outermost in _depths(grid, cell, normal):
                carried = _carried(system, grid, splits[outermost], outermost, normal, depth)
                strip = sum(w for n, d, w in _strips(system, grid, splits, cell) if (n, d) == (normal, depth))
                lacking[1 - normal] += max(0.0, abs(a) * carried / 2 - strip)
        if max(lacking) > 0:
            found[cell] = lacking
    return found


def _tapered(system, grid, splits, round_trip):
    """The part of the stream function that a loop has: the sheet between it and each wall."""
    part = 1.0
    for normal in (0, 1):
        if grid.periodic[normal]:
            continue
        for side in (0, 1):
            means = []
            for cell in round_trip:
                depth, outermost = _depths(grid, cell, normal)[side]
                if depth == min(_depths(grid, other, normal)[side][0] for other in round_trip):
                    layers = range(depth + 1)
                    means.append(sum(_carried(system, grid, splits[outermost], outermost, normal, k) for k in layers))
            part *= np.mean(means)
    return part


def _loops(system, grid, masses, splits=None):
    """Currents of the links (cell, axis), from one whole loop of four cells at a time."""
    currents = {}
    for cell in cells_of(grid):
        for a, b in itertools.combinations(range(grid.dim), 2):
            e_a, e_b = ([int(k == axis) for k in range(grid.dim)] for axis in (a, b))
            both = [p + q for p, q in zip(e_a, e_b, strict=True)]
            round_trip = [cell, *(shifted(grid, cell, offset) for offset in (e_a, both, e_b))]
            if None in round_trip:
                continue
            corner = np.array(center(grid, cell)) + np.array(both) * grid.spacing / 2
            turning = system.mobility.antisymmetric(system.domain.wrap(corner))[a, b]
            if splits:
                turning *= _tapered(system, grid, splits, round_trip)
            mean = 4 / sum(1 / masses[k] for k in round_trip)
            psi = system.temperature * turning / (grid.spacing[a] * grid.spacing[b]) * mean
            for key, sign in (
                ((cell, a), 1), ((round_trip[1], b), 1), ((round_trip[3], a), -1), ((cell, b), -1)
            ):  # fmt: skip
                currents[key] = currents.get(key, 0.0) + sign * psi
    return currents
