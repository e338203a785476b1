"""The law of a scheme at a finite step, without Monte Carlo: the one-step transfer operator of its own `step`.

(P phi)(x) = E[phi(X_1) | X_0 = x] is built by collocation: functions on the box are values at nodes, the step runs on
arrays (`ArrayModel`) from every node for every point of a quadrature over the noise, and the basis is evaluated where
it ends. Its left null vector is the exact stationary law of the scheme, its powers give means at a fixed time. All
errors are of rounding once the basis resolves the law. What a state carries besides the position is one more axis.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import Scheme, registry
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

WEAK_NODES = {
    "three-point": (np.sqrt(3.0) * np.array([-1.0, 0.0, 1.0]), np.array([1.0, 4.0, 1.0]) / 6),
    "two-point": (np.array([-1.0, 1.0]), np.array([0.5, 0.5])),
}


class Basis:
    """Functions on an interval: trigonometric, cosines (even about both ends) or Legendre polynomials."""

    def __init__(self, kind: str, n: int, low: float, high: float) -> None:
        self.kind, self.n, self.low, self.high = kind, n, low, high
        if kind == "trigonometric":
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

    def values(self, x: Any) -> Any:
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


def gaussian(delta: float, reach: float = 9.0) -> tuple[FloatArray, FloatArray]:
    """Trapezoidal rule for the normal law, spectrally accurate."""
    n = round(reach / delta)
    z = delta * np.arange(-n, n + 1)
    weights = np.exp(-z * z / 2)
    return np.asarray(z), np.asarray(weights / weights.sum())


def uniforms(n: int) -> list[tuple[FloatArray, FloatArray]]:
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

    def __init__(
        self,
        scheme: str | Scheme,
        system: System,
        noise: str = "gaussian",
        n: int | None = None,
        delta: float | None = None,
    ) -> None:
        self.scheme = scheme if isinstance(scheme, Scheme) else registry()[scheme]
        self.system, self.dim = system, system.dim
        coordinates = self.scheme.coordinates(system) if self.scheme.coordinates else None
        constants = self.scheme.constants(system) if self.scheme.constants else ()
        self.model = ArrayModel(system, constants, coordinates)
        self.coordinates = coordinates
        low, high = (coordinates or system.domain).lower, (coordinates or system.domain).upper
        kind = "trigonometric" if system.domain.periodic[0] else "legendre"
        n = n or {1: 65 if self.scheme.carried else 97, 2: 23}[self.dim]
        self.bases = [Basis(kind, n, low[a], high[a]) for a in range(self.dim)]
        self.x = mesh([basis.nodes for basis in self.bases])
        self._laws: dict[float, tuple[list[Basis], FloatArray]] = {}
        self.noise, self.weights = self._quadrature(noise, delta or {1: 0.15, 2: 0.6}[self.dim])

    def _quadrature(self, noise: str, delta: float) -> tuple[FloatArray, FloatArray]:
        """Normals and signs, or uniforms, of a step (draws, Q) and their weights (Q,)."""
        scheme = self.scheme
        if scheme.draws == "uniform":
            axes = uniforms({1: 32, 2: 8}[self.dim]) * self.dim
        elif noise == "gaussian":
            delta = min(delta, 0.03) if scheme.uniforms and self.dim == 1 else delta  # acceptance has a kink
            axes = [gaussian(delta, {1: 9.0, 2: 6.6}[self.dim])] * self.dim
        else:
            axes = [WEAK_NODES[noise]] * self.dim
        axes = axes + [WEAK_NODES["two-point"]] * (scheme.signs(self.dim) if scheme.signs else 0)
        return np.stack(mesh([z for z, _ in axes])), np.prod(mesh([w for _, w in axes]), axis=0)

    # ---- the step, from nodes

    def call(self, function: Callable[..., Any], state: Sequence[Any], h: float, u: Any = None) -> list[FloatArray]:
        """A step or an output from states (points,), for all noise: components (points, Q)."""
        shape = (len(state[0]), len(self.weights))
        here = [np.broadcast_to(np.asarray(row)[:, None], shape) for row in state]
        noise = [np.broadcast_to(row, shape) for row in self.noise]
        if self.scheme.uniforms:
            noise = [*noise, np.broadcast_to(1.0 if u is None else u, shape)]
        more = [here[self.dim :]] if self.scheme.carried and function is self.scheme.step else []
        end = function(self.model, here[: self.dim], 0.0, h, noise, *more)
        return [np.broadcast_to(component, shape) for component in end]

    def branches(self, state: Sequence[Any], h: float) -> list[tuple[FloatArray, list[FloatArray]]]:
        """Weights and ends of a step; a uniform decides between two ends, at a value found by bisection."""
        step = self.scheme.step
        if not self.scheme.uniforms:
            return [(self.weights, self.call(step, state, h))]
        taken, refused = self.call(step, state, h, 1e-300), self.call(step, state, h, 1.0)
        low, high = np.zeros(taken[0].shape), np.ones(taken[0].shape)
        for _ in range(50):
            middle = 0.5 * (low + high)
            at = self.call(step, state, h, np.maximum(middle, 1e-300))
            is_taken = np.all([a == b for a, b in zip(at[: self.dim], taken[: self.dim], strict=True)], axis=0)
            low, high = np.where(is_taken, middle, low), np.where(is_taken, high, middle)
        return [(self.weights * high, taken), (self.weights * (1 - high), refused)]

    # ---- what is carried

    def _used(self, h: float) -> list[int]:
        """The carried rows that the position depends on; counters are left out."""
        rows = self.begin()
        ends = self.call(self.scheme.step, [*self.x, *rows], h)
        used = []
        for k, row in enumerate(rows):
            moved = [*rows[:k], row + 0.5, *rows[k + 1 :]]
            other = self.call(self.scheme.step, [*self.x, *moved], h)
            if any(not np.array_equal(a, b) for a, b in zip(ends[: self.dim], other[: self.dim], strict=True)):
                used.append(k)
        return used

    def begin(self) -> list[FloatArray]:
        if not self.scheme.carried:
            return []
        assert self.scheme.begin is not None
        return [np.broadcast_to(row, self.x[0].shape) for row in self.scheme.begin(self.model, self.x, 0.0)]

    def carried_bases(self, h: float) -> list[Basis]:
        """A Legendre basis on the range of each carried row that matters, as fine as the step needs."""
        used, rows = self._used(h), self.begin()
        low, high = ([function(row) for row in rows] for function in (np.min, np.max))
        for _ in range(20):
            corners = itertools.product(*({low[k], high[k]} if k in used else {low[k]} for k in range(len(rows))))
            ends = [self.call(self.scheme.step, self._with(corner), h)[self.dim :] for corner in corners]
            new_low = [min(low[k], *(end[k].min() for end in ends)) for k in range(len(rows))]
            new_high = [max(high[k], *(end[k].max() for end in ends)) for k in range(len(rows))]
            grown = any(new_low[k] < low[k] or new_high[k] > high[k] for k in used)
            low, high = new_low, new_high
            if not grown:
                return [self._fine_enough(k, low, high, h) for k in used]
        raise InputError(f"scheme: what {self.scheme.id!r} carries keeps growing; its law cannot be had by quadrature")

    def _with(self, carried: Sequence[float]) -> list[FloatArray]:
        return [*self.x, *(np.full(self.x[0].shape, value) for value in carried)]

    def _fine_enough(self, k: int, low: Sequence[float], high: Sequence[float], h: float) -> Basis:
        """The basis in which a fast wave of the next position, as a function of a carried row, is resolved."""
        wave = np.pi * self.bases[0].n / 3 / (self.bases[0].high - self.bases[0].low)
        for n in (4, 6, 9, 13, 19, 28, 42, 63):
            basis = Basis("legendre", n, low[k], high[k] if high[k] > low[k] else low[k] + 1.0)
            middle = [0.5 * (a + b) for a, b in zip(low, high, strict=True)]
            states = [self._with([*middle[:k], float(c), *middle[k + 1 :]]) for c in basis.nodes]
            ends = np.stack([self.call(self.scheme.step, state, h)[0][:: max(1, n // 6)] for state in states])
            if np.abs(np.tensordot(basis.inverse, np.exp(1j * wave * ends), axes=1)[-2:]).max() < 1e-9:
                break
        return basis

    # ---- the law

    def law(self, h: float) -> tuple[list[Basis], FloatArray]:
        """The bases, of positions and then of what is carried, and P (nodes, nodes)."""
        if h not in self._laws:
            bases = self.bases + (self.carried_bases(h) if self.scheme.carried else [])
            self._laws[h] = bases, self._operator(h, bases)
        return self._laws[h]

    def operator(self, h: float) -> FloatArray:
        """P, (nodes, nodes)."""
        return self.law(h)[1]

    def states(self, h: float, bases: Sequence[Basis]) -> tuple[list[Any], list[int]]:
        """The rows of the state at all nodes, and which of a step's results the bases are of."""
        used = self._used(h) if self.scheme.carried else []
        nodes = mesh([basis.nodes for basis in bases])
        carried = [
            nodes[self.dim + used.index(k)] if k in used else np.full(nodes[0].shape, row[0])
            for k, row in enumerate(self.begin())
        ]
        return [*nodes[: self.dim], *carried], [*range(self.dim), *(self.dim + k for k in used)]

    def _operator(self, h: float, bases: Sequence[Basis]) -> FloatArray:
        state, keep = self.states(h, bases)
        half = (len(bases) + 1) // 2 if len(bases) < 4 else self.dim
        inverses = [_kron([basis.inverse for basis in part]) for part in (bases[:half], bases[half:])]
        parts = []
        for chunk in self._chunks(len(state[0]), bases):
            total: Any = 0.0
            for weights, ends in self.branches([row[chunk] for row in state], h):
                values = [basis.values(ends[k]) for basis, k in zip(bases, keep, strict=True)]
                left, right = (_products(part, ends[0].shape) for part in (values[:half], values[half:]))
                total = total + np.swapaxes(left * weights[..., None], 1, 2) @ right
            total = np.einsum("ikl,kx,ly->ixy", total, *inverses, optimize=True)
            parts.append(total.reshape(len(total), -1))
        return np.asarray(np.concatenate(parts).real)

    def _chunks(self, points: int, bases: Sequence[Basis]) -> list[slice]:
        widest = max(np.prod([b.n for b in bases[: self.dim]]) if len(bases) > 2 else bases[0].n, 1)
        size = max(1, int(400_000 // (len(self.weights) * widest)))
        return [slice(k, k + size) for k in range(0, points, size)]

    def reported(self, h: float, observables: Sequence[Callable[..., Any]]) -> FloatArray:
        """E[phi(what is reported) | position at a node], (nodes of positions, observables)."""
        if self.scheme.output is None:
            return np.stack([phi(*self.x) for phi in observables], axis=-1)
        parts = []
        for chunk in self._chunks(len(self.x[0]), self.bases):
            ends = self.call(self.scheme.output, [row[chunk] for row in self.x], h)
            parts.append(np.stack([phi(*ends) @ self.weights for phi in observables], axis=-1))
        return np.concatenate(parts)

    def _weighted(self, observables: Sequence[Callable[..., Any]]) -> list[Callable[..., Any]]:
        """Each observable times the scheme's weight of a reported position, and that weight."""

        def weight(*x: Any) -> Any:
            return 1.0 + 0.0 * x[0] if self.scheme.weights is None else self.scheme.weights(self.model, x, 0.0)

        return [*(lambda *x, phi=phi: phi(*x) * weight(*x) for phi in observables), weight]

    def stationary_means(self, h: float, observables: Sequence[Callable[..., Any]]) -> FloatArray:
        """Means of observables in the scheme's own stationary law."""
        law = stationary(self.operator(h)).reshape(len(self.x[0]), -1).sum(axis=1)
        means = law @ self.reported(h, self._weighted(observables))
        return np.asarray(means[:-1] / means[-1])

    def weak_error(self, h: float, observable: Callable[..., Any], exact: FloatArray, t: float = 1.0) -> float:
        """Largest error over starting points of E[phi(X_t)]; `exact` has the true values at `positions`."""
        bases, operator = self.law(h)
        more = len(operator) // len(self.x[0])
        values = np.repeat(self.reported(h, [observable])[:, 0], more)
        for _ in range(round(t / h)):
            values = operator @ values
        if self.scheme.carried and more > 1:  # from what a run carries at its start
            starts = [row for k, row in enumerate(self.begin()) if k in self._used(h)]
            at = [b.values(row) @ b.inverse for b, row in zip(bases[self.dim :], starts, strict=True)]
            values = np.einsum("ic,ic->i", values.reshape(-1, more), _products([a[:, None] for a in at], ())[:, 0])
        return float(np.abs(values - exact).max())

    @property
    def positions(self) -> FloatArray:
        """The nodes as positions (nodes, dim)."""
        state = np.stack(self.x, axis=-1)
        return self.coordinates.backward(state) if self.coordinates else state


def mesh(axes: Sequence[FloatArray]) -> list[FloatArray]:
    """All combinations of the entries of some arrays, in C order."""
    return [grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")]


def _kron(matrices: Sequence[Any]) -> Any:
    out: Any = np.eye(1)
    for matrix in matrices:
        out = np.kron(out, matrix)
    return out


def _products(values: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Products of basis functions of several axes, (points, Q, n1 n2 ...)."""
    if not values:
        return np.ones((*shape, 1))
    return reduce(lambda a, b: (a[..., :, None] * b[..., None, :]).reshape(*a.shape[:-1], -1), values)


def stationary(operator: FloatArray) -> FloatArray:
    """The left null vector of P - 1, of sum 1."""
    matrix = operator.T - np.eye(len(operator))
    matrix[0] = 1.0
    return np.linalg.solve(matrix, np.eye(len(operator))[0])


def exact_mean_at(
    system: System, observable: Callable[..., Any], t: float, positions: FloatArray, n: int | None = None
) -> FloatArray:
    """E[phi(X_t) | X_0 = x] at positions (m, dim), from the generator F.grad + T K:grad grad by collocation."""
    from scipy.linalg import expm

    dim, periodic = system.dim, system.domain.periodic[0]
    n = n or {1: 97, 2: 23}[dim]
    ends = zip(system.domain.lower, system.domain.upper, strict=True)
    bases = [Basis("trigonometric" if periodic else "legendre", n, low, high) for low, high in ends]
    x = np.stack(mesh([b.nodes for b in bases]), axis=-1)
    D = [_on_axis(_derivative(basis), axis, [b.n for b in bases]) for axis, basis in enumerate(bases)]
    drift, K = system.drift(x), system.mobility(x)
    generator = sum(drift[:, a, None] * D[a] for a in range(dim))
    for a, b in itertools.product(range(dim), repeat=2):
        generator = generator + system.temperature * K[:, a, b, None] * (D[a] @ D[b])
    u = expm(t * generator) @ observable(*x.T)
    at = [basis.values(positions[:, a]) @ basis.inverse for a, basis in enumerate(bases)]
    at = at[0] if dim == 1 else np.einsum("mx,my->mxy", *at).reshape(len(positions), -1)
    return np.asarray((at @ u).real)


def _derivative(basis: Basis) -> FloatArray:
    """Differentiation on the nodes of a basis."""
    if basis.kind == "trigonometric":
        k = 2j * np.pi / (basis.high - basis.low) * np.arange(-(basis.n // 2), basis.n // 2 + 1)
        return np.asarray(((basis.values(basis.nodes) * k) @ basis.inverse).real)
    slopes = [np.polynomial.legendre.Legendre.basis(k).deriv() for k in range(basis.n)]
    s = 2 * (basis.nodes - basis.low) / (basis.high - basis.low) - 1
    values = np.stack([slope(s) for slope in slopes], axis=-1)
    return np.asarray(values * 2 / (basis.high - basis.low) @ basis.inverse)


def _on_axis(matrix: FloatArray, axis: int, sizes: Sequence[int]) -> FloatArray:
    """A matrix that acts on one axis of a grid."""
    return np.asarray(_kron([matrix if a == axis else np.eye(n) for a, n in enumerate(sizes)]))


def gibbs_means(system: System, observables: Sequence[Callable[..., Any]], n: int = 400) -> FloatArray:
    """Means in exp(-E/T)/Z, by the trapezoidal rule on a torus or Gauss-Legendre in a box."""
    kinds = ["trigonometric" if periodic else "legendre" for periodic in system.domain.periodic]
    ends = zip(kinds, system.domain.lower, system.domain.upper, strict=True)
    bases = [Basis(kind, min(n, 401) | 1, low, high) for kind, low, high in ends]
    grids = mesh([b.nodes for b in bases])
    weights = np.prod(mesh([b.weights for b in bases]), axis=0)
    weights = weights * np.exp(-system.energy(np.stack(grids, axis=-1)) / system.temperature)
    return np.asarray(np.array([weights @ phi(*grids) for phi in observables]) / weights.sum())


def slopes(steps: Any, errors: Any) -> FloatArray:
    """Orders between consecutive steps."""
    steps, errors = np.asarray(steps), np.asarray(errors)
    return np.asarray(np.log(errors[:-1] / errors[1:]) / np.log(steps[:-1] / steps[1:]))
