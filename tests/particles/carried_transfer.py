"""The law on a torus of a scheme that carries a vector, with three-point noise: positions by trigonometric functions.

What is carried enters a step smoothly, so that a few nodes an axis with Lagrange's polynomials are enough; for a noise
that is carried its own three values are, exactly.
"""

import itertools

import numpy as np

from particles.transfer import Basis, stationary
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.transfer import WEAK_NODES, mesh


def force_nodes(system, p=3):
    """Chebyshev's nodes on the range of the drift, for each axis."""
    points = np.stack(mesh([2 * np.pi * np.arange(60) / 60] * 2), axis=-1)
    drift, s = system.drift(points), np.cos(np.pi * (np.arange(p) + 0.5) / p)
    return [(F.min() + F.max()) / 2 + (F.max() - F.min()) / 2 * s for F in drift.T]


NOISE_NODES = [WEAK_NODES["three-point"][0]] * 2


def lagrange(nodes, x):
    """The polynomials that are 1 at one node and 0 at the others, along a new last axis."""
    others = [[(x - b) / (a - b) for b in nodes if b != a] for a in nodes]
    return np.stack([np.prod(factors, axis=0) for factors in others], axis=-1)


class CarriedTransfer:
    """P of a scheme in two dimensions on [0, 2 pi)^2, as (nodes of x and of what is carried) squared."""

    def __init__(self, scheme, system, nodes, n=17):
        self.scheme, self.model, self.nodes = scheme, ArrayModel(system), nodes
        self.bases = [Basis("trigonometric", n, 0.0, 2 * np.pi)] * 2
        axes = [WEAK_NODES["three-point"]] * 2
        axes += [WEAK_NODES["two-point"]] * (scheme.signs(2) if scheme.signs else 0)
        self.weights = np.prod(mesh([w for _, w in axes]), axis=0)
        self.x = mesh([basis.nodes for basis in self.bases])
        self.shape = (len(self.x[0]), len(self.weights))
        self._x = [np.broadcast_to(row[:, None], self.shape) for row in self.x]
        self._noise = [np.broadcast_to(z, self.shape) for z in mesh([z for z, _ in axes])]

    def operator(self, h):
        labels = list(itertools.product(*self.nodes))
        points, n_labels = self.shape[0], len(labels)
        out = np.empty((points, n_labels, points, n_labels))
        for k, label in enumerate(labels):
            carried = [np.full(self.shape, value) for value in label]
            end = self.scheme.step(self.model, self._x, 0.0, h, self._noise, carried)
            at = [(basis.values(e) @ basis.inverse).real for basis, e in zip(self.bases, end[:2], strict=True)]
            more = lagrange(self.nodes[0], end[2])[..., :, None] * lagrange(self.nodes[1], end[3])[..., None, :]
            right = (at[1] * self.weights[:, None])[..., :, None] * more.reshape(*self.shape, 1, n_labels)
            both = np.swapaxes(at[0], 1, 2) @ right.reshape(*self.shape, -1)
            out[:, k] = both.reshape(points, points, n_labels)
        return out.reshape(points * n_labels, points * n_labels)

    def stationary_means(self, h, observables):
        """Means of observables in the scheme's own stationary law."""
        law = stationary(self.operator(h)).reshape(self.shape[0], -1).sum(axis=1)
        reported = self._x
        if self.scheme.output is not None:
            reported = self.scheme.output(self.model, self._x, 0.0, h, self._noise)
        return np.array([law @ (phi(*reported) @ self.weights) for phi in observables])
