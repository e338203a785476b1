"""One backward Euler step of the Fokker-Planck equation itself, without cells: the yardstick of the order tests.

With p = q f and q = exp(-E/T) a step from p0 solves int q f g + tau T int q grad g . K grad f = int p0 g for all g.
Here f and g are products of Legendre polynomials up to some degree, which converge fast where E and K are smooth.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
from numpy.polynomial import legendre


class Step:
    """The law after a step of length tau.

    Parameters
    ----------
    system : System or the like
        Energy, mobility, a constant temperature, and the box with its reflecting or periodic walls.
    start : callable
        The density at the beginning, up to a factor, at points (..., dim).
    tau : float
    functions : int
        How many an axis.
    """

    def __init__(self, system, start, tau, functions):
        self._system, self._n = system, functions
        axes = [gauss(*ends, functions + 12) for ends in self._ends]
        points, weights = product(axes)
        T, q = system.temperature, np.exp(-system.energy(points) / system.temperature)
        K, p0 = system.mobility(points).reshape(-1, system.dim, system.dim), start(points)
        values, slopes = zip(*(self._basis(axis, nodes) for axis, (nodes, _) in enumerate(axes)), strict=True)
        flat = reduce(np.kron, values)
        rising = [reduce(np.kron, (*values[:a], slopes[a], *values[a + 1 :])) for a in range(system.dim)]
        measure = (weights * q).reshape(-1, 1)
        matrix = flat.T @ (measure * flat)
        for a, g in enumerate(rising):
            matrix += tau * T * g.T @ (measure * sum(K[:, a, b, None] * f for b, f in enumerate(rising)))
        load = flat.T @ (weights * p0 / np.sum(weights * p0)).ravel()
        self._f = np.linalg.solve(matrix, load).reshape((functions,) * system.dim)

    @property
    def _ends(self):
        return list(zip(self._system.domain.lower, self._system.domain.upper, strict=True))

    def _basis(self, axis, x):
        """Values and derivatives (len(x), n): Legendre polynomials, or what of them is the same at both ends."""
        low, high = self._ends[axis]
        z, n = 2 * (x - low) / (high - low) - 1, self._n
        coefficients = np.eye(n, n + 1)
        if self._system.domain.periodic[axis]:
            # 1 and P_{k+1} - P_{k-1}, which vanishes at both ends
            coefficients[1:] = np.eye(n + 1)[2:] - np.eye(n + 1)[:-2]
        slope = legendre.legder(coefficients, axis=1) * 2 / (high - low)
        return legendre.legval(z, coefficients.T).T, legendre.legval(z, slope.T).T

    def masses(self, shape, nodes=4):
        """Masses of the cells of a grid."""
        axes = []
        for (low, high), cells in zip(self._ends, shape, strict=True):
            edges = np.linspace(low, high, cells + 1)
            parts = [gauss(*ends, nodes) for ends in pairwise(edges)]
            axes.append(tuple(np.concatenate(each) for each in zip(*parts, strict=True)))
        points, weights = product(axes)
        f = self._f
        for axis, (x, _) in enumerate(axes):
            f = np.moveaxis(np.tensordot(self._basis(axis, x)[0], f, axes=(1, axis)), 0, axis)
        p = weights * f * np.exp(-self._system.energy(points) / self._system.temperature)
        return p.reshape([m for cells in shape for m in (cells, nodes)]).sum(axis=tuple(range(1, 2 * len(shape), 2)))


def gauss(low, high, n):
    """Nodes and weights of Gauss-Legendre quadrature."""
    x, w = legendre.leggauss(n)
    return low + (high - low) * (x + 1) / 2, w * (high - low) / 2


def product(axes):
    """Points (..., dim) and weights of a product of quadratures."""
    points = np.stack(np.meshgrid(*(x for x, _ in axes), indexing="ij"), axis=-1)
    return points, reduce(np.multiply.outer, (w for _, w in axes))
