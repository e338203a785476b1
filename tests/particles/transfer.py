"""The law of a scheme at a finite step, without Monte Carlo: the one-step transfer operator of its own `step`.

(P phi)(x) = E[phi(X_1) | X_0 = x] is built by collocation: functions on the box are values at nodes, the step runs on
arrays (`ArrayModel`) from every node for every point of a quadrature over the noise, and the basis is evaluated where
it ends. Its left null vector is the exact stationary law of the scheme, its powers give means at a fixed time. All
errors are of rounding once the basis resolves the law.
"""

import itertools

import numpy as np

from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import Scheme, registry

WEAK_NODES = {
    "three-point": (np.sqrt(3.0) * np.array([-1.0, 0.0, 1.0]), np.array([1.0, 4.0, 1.0]) / 6),
    "two-point": (np.array([-1.0, 1.0]), np.array([0.5, 0.5])),
}


class Basis:
    """Functions on an interval: trigonometric, cosines (even about both ends) or Legendre polynomials."""

    def __init__(self, kind, n, low, high):
        self.kind, self.n, self.low, self.high = kind, n, low, high
        if kind == "trigonometric":
            assert n % 2
            s, weights = np.arange(n) / n, np.full(n, 1 / n)
        elif kind == "cosine":
            s, weights = (np.arange(n) + 0.5) / n, np.full(n, 1 / n)
        else:
            s, weights = np.polynomial.legendre.leggauss(n)
            s, weights = (s + 1) / 2, weights / 2
        self.nodes = low + (high - low) * s
        self.weights = weights  # quadrature of (1/(high - low)) integral dx
        norms = {
            "trigonometric": np.ones(n),
            "cosine": np.r_[1.0, np.full(n - 1, 2.0)],
            "legendre": 2 * np.arange(n) + 1.0,
        }
        self.inverse = norms[kind][:, None] * (weights[:, None] * self.values(self.nodes).conj()).T  # to coefficients

    def values(self, x):
        """All n basis functions at x, along a new last axis."""
        s = (np.asarray(x) - self.low) / (self.high - self.low)
        if self.kind == "trigonometric":
            half = self.n // 2
            power = np.empty((*s.shape, half + 1), dtype=complex)
            power[..., 0], turn = 1.0, np.exp(2j * np.pi * s)
            for k in range(half):
                power[..., k + 1] = power[..., k] * turn
            return np.concatenate([power[..., :0:-1].conj(), power], axis=-1)
        out = np.empty((*s.shape, self.n))
        v = np.cos(np.pi * s) if self.kind == "cosine" else 2 * s - 1
        out[..., 0], out[..., 1] = 1.0, v
        for k in range(1, self.n - 1):
            a, b = (2.0, 1.0) if self.kind == "cosine" else ((2 * k + 1) / (k + 1), k / (k + 1))
            out[..., k + 1] = a * v * out[..., k] - b * out[..., k - 1]
        return out


def gaussian(delta, reach=9.0):
    """Trapezoidal rule for the normal law, spectrally accurate."""
    n = round(reach / delta)
    z = delta * np.arange(-n, n + 1)
    weights = np.exp(-z * z / 2)
    return z, weights / weights.sum()


def uniforms(n):
    """U = exp(-s) by Gauss-Laguerre in s, and an angle on [0, 1] by the midpoint rule: what the sphere step draws."""
    s, weights = np.polynomial.laguerre.laggauss(n)
    return [(np.exp(-s), weights), ((np.arange(n) + 0.5) / n, np.full(n, 1 / n))]


class Transfer:
    """A scheme for a system in one or two dimensions, periodic or in a box that it never leaves.

    Parameters
    ----------
    scheme : str or Scheme
    system : System
    noise : {"gaussian", "three-point", "two-point"}
        Law of the noise, by its quadrature.
    n : int
        Nodes an axis; odd for periodic axes.
    delta : float
        Step of the trapezoidal rule.
    """

    def __init__(self, scheme, system, noise="gaussian", n=None, delta=None):
        self.scheme = scheme if isinstance(scheme, Scheme) else registry()[scheme]
        self.system, self.dim = system, system.dim
        coordinates = self.scheme.coordinates(system) if self.scheme.coordinates else None
        constants = self.scheme.constants(system) if self.scheme.constants else ()
        self.model = ArrayModel(system, constants, coordinates)
        self.coordinates = coordinates
        low, high = (coordinates or system.domain).lower, (coordinates or system.domain).upper
        kind = "trigonometric" if system.domain.periodic[0] else "legendre"
        n = n or {1: 97, 2: 23}[self.dim]
        self.bases = [Basis(kind, n, low[a], high[a]) for a in range(self.dim)]
        self.x = [g.ravel() for g in np.meshgrid(*(b.nodes for b in self.bases), indexing="ij")]
        self._operators = {}
        self.noise, self.weights = self._quadrature(noise, delta or {1: 0.15, 2: 0.6}[self.dim])

    def _quadrature(self, noise, delta):
        """Noise (draws a step, Q) and weights (Q,)."""
        if self.scheme.draws == "uniform":
            axes = uniforms({1: 32, 2: 8}[self.dim]) * self.dim
        elif noise == "gaussian":
            axes = [gaussian(delta, {1: 9.0, 2: 6.6}[self.dim])] * self.dim
        else:
            axes = [WEAK_NODES[noise]] * self.dim
        grids = np.meshgrid(*(z for z, _ in axes), indexing="ij")
        weights = np.meshgrid(*(w for _, w in axes), indexing="ij")
        return np.stack([g.ravel() for g in grids]), np.prod([w.ravel() for w in weights], axis=0)

    def _run(self, function, h, chunk):
        """A step or an output from the nodes of a chunk, for all noise: components (chunk, Q)."""
        shape = (len(self.x[0][chunk]), len(self.weights))
        x = [np.broadcast_to(component[chunk, None], shape) for component in self.x]
        noise = [np.broadcast_to(row, shape) for row in self.noise]
        return [np.broadcast_to(component, shape) for component in function(self.model, x, 0.0, h, noise)]

    def _chunks(self):
        size = max(1, 400_000 // (len(self.weights) * self.bases[0].n))
        return [slice(k, k + size) for k in range(0, len(self.x[0]), size)]

    def operator(self, h):
        """P, (nodes, nodes)."""
        if h not in self._operators:
            self._operators[h] = self._operator(h)
        return self._operators[h]

    def _operator(self, h):
        rows = []
        for chunk in self._chunks():
            ends = self._run(self.scheme.step, h, chunk)
            values = [basis.values(end) for basis, end in zip(self.bases, ends, strict=True)]
            if self.dim == 1:
                rows.append(np.einsum("q,iqk->ik", self.weights, values[0]) @ self.bases[0].inverse)
            else:
                both = np.swapaxes(values[0] * self.weights[:, None], 1, 2) @ values[1]
                both = np.einsum("ikl,kx,ly->ixy", both, self.bases[0].inverse, self.bases[1].inverse, optimize=True)
                rows.append(both.reshape(len(both), -1))
        return np.concatenate(rows).real

    def reported(self, h, observables):
        """E[phi(what is reported) | state at a node], (nodes, observables)."""
        if self.scheme.output is None:
            return np.stack([phi(*self.x) for phi in observables], axis=-1)
        parts = []
        for chunk in self._chunks():
            ends = self._run(self.scheme.output, h, chunk)
            parts.append(np.stack([phi(*ends) @ self.weights for phi in observables], axis=-1))
        return np.concatenate(parts)

    def stationary_means(self, h, observables):
        """Means of observables in the scheme's own stationary law."""
        return stationary(self.operator(h)) @ self.reported(h, observables)

    def weak_error(self, h, observable, exact, t=1.0):
        """Largest error over starting points of E[phi(X_t)]; `exact` has the true values at `positions`."""
        operator, values = self.operator(h), self.reported(h, [observable])[:, 0]
        for _ in range(round(t / h)):
            values = operator @ values
        return np.abs(values - exact).max()

    @property
    def positions(self):
        """The nodes as positions (nodes, dim)."""
        state = np.stack(self.x, axis=-1)
        return self.coordinates.backward(state) if self.coordinates else state


def stationary(operator):
    """The left null vector of P - 1, of sum 1."""
    matrix = operator.T - np.eye(len(operator))
    matrix[0] = 1.0
    return np.linalg.solve(matrix, np.eye(len(operator))[0])


def exact_mean_at(system, observable, t, positions, n=None):
    """E[phi(X_t) | X_0 = x] at positions (m, dim), from the generator F.grad + T K:grad grad by collocation."""
    from scipy.linalg import expm

    dim, periodic = system.dim, system.domain.periodic[0]
    n = n or {1: 97, 2: 23}[dim]
    ends = zip(system.domain.lower, system.domain.upper, strict=True)
    bases = [Basis("trigonometric" if periodic else "legendre", n, low, high) for low, high in ends]
    x = np.stack([g.ravel() for g in np.meshgrid(*(b.nodes for b in bases), indexing="ij")], axis=-1)
    D = [_on_axis(_derivative(basis), axis, [b.n for b in bases]) for axis, basis in enumerate(bases)]
    drift, K = system.drift(x), system.mobility(x)
    generator = sum(drift[:, a, None] * D[a] for a in range(dim))
    for a, b in itertools.product(range(dim), repeat=2):
        generator = generator + system.temperature * K[:, a, b, None] * (D[a] @ D[b])
    u = expm(t * generator) @ observable(*x.T)
    at = [basis.values(positions[:, a]) @ basis.inverse for a, basis in enumerate(bases)]
    at = at[0] if dim == 1 else np.einsum("mx,my->mxy", *at).reshape(len(positions), -1)
    return (at @ u).real


def _derivative(basis):
    """Differentiation on the nodes of a basis."""
    if basis.kind == "trigonometric":
        k = 2j * np.pi / (basis.high - basis.low) * np.arange(-(basis.n // 2), basis.n // 2 + 1)
        return ((basis.values(basis.nodes) * k) @ basis.inverse).real
    slopes = [np.polynomial.legendre.Legendre.basis(k).deriv() for k in range(basis.n)]
    s = 2 * (basis.nodes - basis.low) / (basis.high - basis.low) - 1
    return np.stack([slope(s) for slope in slopes], axis=-1) * 2 / (basis.high - basis.low) @ basis.inverse


def _on_axis(matrix, axis, sizes):
    """A matrix that acts on one axis of a grid."""
    out = np.eye(1)
    for a, n in enumerate(sizes):
        out = np.kron(out, matrix if a == axis else np.eye(n))
    return out


def gibbs_means(system, observables, n=400):
    """Means in exp(-E/T)/Z, by the trapezoidal rule on a torus or Gauss-Legendre in a box."""
    kinds = ["trigonometric" if periodic else "legendre" for periodic in system.domain.periodic]
    ends = zip(kinds, system.domain.lower, system.domain.upper, strict=True)
    bases = [Basis(kind, min(n, 401) | 1, low, high) for kind, low, high in ends]
    grids = [g.ravel() for g in np.meshgrid(*(b.nodes for b in bases), indexing="ij")]
    weights = np.prod([g.ravel() for g in np.meshgrid(*(b.weights for b in bases), indexing="ij")], axis=0)
    weights = weights * np.exp(-system.energy(np.stack(grids, axis=-1)) / system.temperature)
    return np.array([weights @ phi(*grids) for phi in observables]) / weights.sum()


def slopes(steps, errors):
    """Orders between consecutive steps."""
    steps, errors = np.asarray(steps), np.asarray(errors)
    return np.log(errors[:-1] / errors[1:]) / np.log(steps[:-1] / steps[1:])


# ---- one wall or two in one dimension, met by mirror images


def panels(breaks, finest, order=16, reach=8.5):
    """Gauss-Legendre nodes and weights for the normal law, in panels between breaks; they shrink to `finest` there."""
    steps = finest * 2.0 ** np.arange(0, 40)
    near = np.add.outer(breaks, np.r_[-steps[steps < 0.5], 0.0, steps[steps < 0.5]]).ravel()
    edges = np.unique(np.clip(np.r_[np.arange(-reach, reach + 0.25, 0.5), near], -reach, reach))
    s, w = np.polynomial.legendre.leggauss(order)
    widths = np.diff(edges)[:, None]
    z = (edges[:-1, None] + widths * (s + 1) / 2).ravel()
    weights = (widths * w / 2).ravel() * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return z, weights


class WallTransfer:
    """A scheme with Gaussian noise on an interval whose ends mirror.

    Parameters
    ----------
    scheme : str or Scheme
    system : System
    n : int
        Nodes.
    finest : float
        Smallest panel of the quadrature beside a kink; below 0.5 where the step has a pole there.

    Notes
    -----
    A step from a point that is polynomial of degree 2 in the noise (Euler-Maruyama, Milstein) is folded, and its kinks
    are where it crosses an end. A step of the Leimkuhler-Matthews kind commutes with mirroring, so cosines need no
    folding, and its kinks are where half the noise crosses an end.
    """

    def __init__(self, scheme, system, n=64, finest=1.0):
        self.finest = finest
        self.scheme = scheme if isinstance(scheme, Scheme) else registry()[scheme]
        coordinates = self.scheme.coordinates(system) if self.scheme.coordinates else None
        constants = self.scheme.constants(system) if self.scheme.constants else ()
        self.model = ArrayModel(system, constants, coordinates)
        self.low, self.high = (
            float(v[0]) for v in ((coordinates or system.domain).lower, (coordinates or system.domain).upper)
        )
        self.basis = Basis("cosine" if self.scheme.output else "legendre", n, self.low, self.high)

    def _kinks(self, x, h):
        """Where the noise takes a particle from x across an end."""
        walls = self.low + (self.high - self.low) * np.arange(-6, 8)
        if self.scheme.output is not None:
            K = 1.0 if self.scheme.coordinates else self.model.diagonal([np.array([x])], 0.0)[0][0]
            return (walls - x) / np.sqrt(0.5 * self.model.temperature * h * K)
        z = np.array([-1.0, 0.0, 1.0])
        (y,) = self.scheme.step(self.model, [np.full(3, x)], 0.0, h, [z])
        c, b, a = y[1], (y[2] - y[0]) / 2, (y[2] + y[0]) / 2 - y[1]
        roots = [np.roots([a, b, c - wall]) for wall in walls]
        return [r.real for group in roots for r in group if abs(r.imag) < 1e-9]

    def law(self, h):
        """The operator P and E[x reported | node]."""
        rows, reported = [], []
        for x in self.basis.nodes:
            z, weights = panels(self._kinks(x, h), self.finest)
            here = [np.full(z.shape, x)]
            end = self.scheme.step(self.model, here, 0.0, h, [z])
            if self.scheme.output is None:
                end = self.model.inside(end)
                reported.append(x)
            else:
                out = self.scheme.output(self.model, here, 0.0, h, [z])
                out = self.model.inside(out) if self.scheme.coordinates is None else out
                reported.append(weights @ out[0])
            rows.append(weights @ self.basis.values(end[0]))
        return np.stack(rows) @ self.basis.inverse, np.array(reported)

    def mean(self, h):
        """The mean position in the scheme's own stationary law."""
        operator, reported = self.law(h)
        return stationary(operator) @ reported
