"""One backward Euler step of the Fokker-Planck equation itself, without cells: the yardstick of the order tests.

With p = q f and q = exp(-E/T) a step from p0 solves int q f g + tau T int q grad g . K grad f = int p0 g for all g.
Here f and g are products of Legendre polynomials up to some degree, which converge fast where E and K are smooth.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
from numpy.polynomial import legendre
from scipy.sparse.linalg import LinearOperator, bicgstab, cg


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
        axes = [gauss(*ends, functions + 10) for ends in self._ends]
        points, weights = product(axes)
        values, slopes = zip(*(self._basis(axis, nodes) for axis, (nodes, _) in enumerate(axes)), strict=True)
        rising = [(*values[:a], slopes[a], *values[a + 1 :]) for a in range(system.dim)]
        measure = (weights * np.exp(-system.energy(points) / system.temperature))[..., None]
        K = tau * system.temperature * measure * np.moveaxis(system.mobility(points), (-2, -1), (0, 1))[..., None]
        p0 = (weights * start(points))[..., None]
        load, shape = against(p0 / p0.sum(), values), (functions,) * system.dim

        def form(f):
            """The left side for all g, of functions f in columns."""
            gradient = [at_nodes(f.reshape(*shape, -1), matrices) for matrices in rising]
            flows = [sum(k * g for k, g in zip(row, gradient, strict=True)) for row in K]
            tested = sum(against(flow, matrices) for flow, matrices in zip(flows, rising, strict=True))
            return (against(measure * at_nodes(f.reshape(*shape, -1), values), values) + tested).reshape(f.shape)

        if system.dim < 3:
            self._f = np.linalg.solve(form(np.eye(load.size)), load.ravel())
        else:
            size = against(measure, [v**2 for v in values])
            size += sum(against(K[a, a], [v**2 for v in matrices]) for a, matrices in enumerate(rising))
            operator, scale = (
                LinearOperator((load.size,) * 2, each) for each in (form, lambda f: f.reshape(-1) / size.ravel())
            )
            solve = cg if system.mobility.reversible else bicgstab
            self._f, failed = solve(operator, load.ravel(), rtol=1e-10, maxiter=5000, M=scale)
            assert failed == 0
        self._f = self._f.reshape(*shape, 1)

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
            parts = [gauss(*ends, nodes) for ends in pairwise(np.linspace(low, high, cells + 1))]
            axes.append(tuple(np.concatenate(each) for each in zip(*parts, strict=True)))
        points, weights = product(axes)
        f = at_nodes(self._f, [self._basis(axis, x)[0] for axis, (x, _) in enumerate(axes)])[..., 0]
        p = weights * f * np.exp(-self._system.energy(points) / self._system.temperature)
        return p.reshape([m for cells in shape for m in (cells, nodes)]).sum(axis=tuple(range(1, 2 * len(shape), 2)))


def at_nodes(f, matrices):
    """Values at nodes (m, ..., k) of k functions with coefficients f (n, ..., k), by a matrix (m, n) for each axis."""
    for axis, matrix in enumerate(matrices):
        f = np.moveaxis(np.tensordot(matrix, f, (1, axis)), 0, axis)
    return f


def against(values, matrices):
    """The sum over the nodes of `values` times each function of the basis."""
    return at_nodes(values, [matrix.T for matrix in matrices])


def gauss(low, high, n):
    """Nodes and weights of Gauss-Legendre quadrature."""
    x, w = legendre.leggauss(n)
    return low + (high - low) * (x + 1) / 2, w * (high - low) / 2


def product(axes):
    """Points (..., dim) and weights of a product of quadratures."""
    points = np.stack(np.meshgrid(*(x for x, _ in axes), indexing="ij"), axis=-1)
    return points, reduce(np.multiply.outer, (w for _, w in axes))
