"""The error of one step of a scheme in its mean, by enumeration of the noise: no operator, so three dimensions too.

A step from x that has weak order p gives E[phi(X_1)] = phi + h L phi + h**2 (L**2 phi + d_t L phi)/2 + O(h**(p + 1)),
for p up to 2, L being the generator F.grad + T K:grad grad at the time of the step. Three-point noise has the moments
of a normal law up to the fifth, which is all that enters, and with it and signs the mean is a finite sum. The functions
phi are waves exp(i k.x), for which L phi is known; the second L is by differences of eighth order.

A scheme that carries its last noise does not have this in its first step, which starts from nothing. For what carries
anything, the second step counts: E[phi(X_2)] - E[phi(X_1)] = h L phi + O(h**2), whatever the start. Two-point noise is
enough for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import Scheme
from relaxsim.particles.transfer import WEAK_NODES, mesh
from relaxsim.system.domain import Domain
from relaxsim.system.mobility import Mobility
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

SHORT = (8e-4, 4e-4, 2e-4, 1e-4)  # as short as rounding lets them be: h**3 shows when h**2 is small
START = 0.3  # a time that is not the one at which a forgotten t stands still
MOST = 1_000_000  # pairs of what two steps draw beyond which signs are too many to enumerate
POINTS = np.array([[0.3, -0.4, 0.7], [1.9, 0.8, -1.1]])
SPACING = 0.02  # of the differences
FIRST = np.array([3, -32, 168, -672, 0, 672, -168, 32, -3]) / 840
SECOND = np.array([-9, 128, -1008, 8064, -14350, 8064, -1008, 128, -9]) / 5040


# ---- the systems


def systems(dim: int) -> list[System]:
    """Systems on R^dim, with E, K and T that change with time and without; the most general K first.

    K is full, or diagonal with entries of all coordinates or of their own, or constant.
    """
    names, space = "xyz"[:dim], Domain.unbounded(dim)
    found = []
    for moving in (True, False):
        t = "t" if moving else "0.3"
        energy = [f"cos(x)*(1 + {t})", *(f"0.7*cos({v} + {t})" for v in names[1:]), f"0.5*sin({' + '.join(names)})"]
        temperature: Any = "0.8 + 0.2*sin(t)" if moving else 0.8
        found += [System(" + ".join(energy), K, temperature, space) for K in _mobilities(dim, t)]
    return found


def _mobilities(dim: int, t: str) -> list[Any]:
    full = [
        [f"1.3 + 0.4*sin(y + {t})", f"0.5*cos(x)*(0.7 + {t})", "0.3*sin(z)"],
        [f"0.5*cos(x)*(0.7 + {t})", f"1.3 + 0.4*cos(x + z*{t})", "0.4*sin(x + y)"],
        ["0.3*sin(z)", "0.4*sin(x + y)", f"1.3 + 0.4*sin(y - x + {t})"],
    ]
    own = [f"1.2 + 0.4*sin(x + {t})", f"1.1 + 0.3*cos(y - {t})", f"1 + 0.3*sin(2*z + {t})"]
    fixed = np.array([[1.0, 0.4, 0.2], [0.4, 0.9, -0.1], [0.2, -0.1, 0.8]])[:dim, :dim]
    if dim == 1:
        return [own[0], 1.0]
    if dim == 2:  # no third coordinate
        full = [[entry.replace("z", "x") for entry in row[:2]] for row in full[:2]]
    return [full, [full[a][a] for a in range(dim)], own[:dim], fixed, 1.0]


def words(mobility: Mobility, dim: int) -> str:
    """What is said of a mobility."""
    if mobility.is_constant or dim == 1:
        return "constant K" if mobility.is_constant else "K(x)"
    return "full K(x)" if mobility.structure == "tensor" else "diagonal K(x)"


# ---- errors


def why_not_enumerated(row: Scheme) -> str | None:
    """The reason why the mean of a step of a scheme is no such sum, or None."""
    if row.dynamics != "true":
        return "not applicable: only the law at rest is claimed"
    if row.draws == "uniform" or row.uniforms:
        return "it draws uniforms, which are not enumerated"
    if row.coordinates is not None:
        return "its state lives in other coordinates"
    return None


def measured_order(row: Scheme, claimed: float) -> float:
    """What the errors below can show of a weak order: 2 at most, 1 if the state is not what is reported."""
    return min(claimed, 1 if row.carried or row.output is not None else 2)


def errors(row: Scheme, system: System, steps: Sequence[float] = SHORT, drift: bool = True) -> FloatArray | None:
    """Largest error of the mean of a wave over one step, or over the second, for each step; `system` has no walls.

    Without `drift` the noise is looked at alone: F = 0 in the scheme and in L, and a single step counts. None if two
    steps draw more than can be enumerated.
    """
    twice = bool(row.carried) and drift
    noise, weights = _draws(row, system.dim, "two-point" if twice else "three-point")
    if twice and len(weights) ** 2 > MOST:
        return None
    model = ArrayModel(system, row.constants(system) if row.constants else ())
    start: Any = model if drift else _Driftless(model)
    waves, found = _waves(system.dim), np.zeros(len(steps))
    for x in POINTS[:, : system.dim]:
        first, second = _series(system, waves, x, drift)
        for k, h in enumerate(steps):
            here = [np.full(1, value) for value in x]
            carried = list(row.begin(start.at(START), here, START)) if row.begin is not None else []
            ends = _step(row, start, [*here, *carried], START, h, noise, system.dim)
            mean = _mean(waves, ends, weights, system.dim)
            if twice:
                later = _step(row, start, ends, START + h, h, noise, system.dim)
                gap = _mean(waves, later, np.outer(weights, weights).ravel(), system.dim) - mean - h * first
            else:
                gap = mean - np.exp(1j * waves @ x) - h * first - 0.5 * h * h * second
            found[k] = max(found[k], np.abs(gap).max())
    return found


class _Driftless:
    """A model whose drift is zero."""

    def __init__(self, model: ArrayModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def at(self, t: float) -> _Driftless:
        return _Driftless(self._model.at(t))

    def drift(self, x: Sequence[Any], t: float) -> list[Any]:
        return [0.0 * component for component in x]


def _draws(row: Scheme, dim: int, noise: str) -> tuple[FloatArray, FloatArray]:
    """All that a step may draw (draws, Q), and the chances (Q,)."""
    axes = [WEAK_NODES[noise]] * (dim * row.noise_per_axis)
    axes += [WEAK_NODES["two-point"]] * (row.signs(dim) if row.signs else 0)
    return np.stack(mesh([z for z, _ in axes])), np.prod(mesh([w for _, w in axes]), axis=0)


def _step(
    row: Scheme, model: Any, state: Sequence[Any], t: float, h: float, noise: FloatArray, dim: int
) -> list[FloatArray]:
    """The ends (n Q,) of a step from states (n,), for all draws."""
    shape = (len(state[0]), noise.shape[1])
    here = [np.broadcast_to(np.asarray(part)[:, None], shape).ravel() for part in state]
    draws = [np.broadcast_to(z, shape).ravel() for z in noise]
    ends = row.step(model.at(t), here[:dim], t, h, draws, *([here[dim:]] if row.carried else []))
    return [np.broadcast_to(end, draws[0].shape) for end in ends]


def _mean(waves: FloatArray, ends: Sequence[FloatArray], weights: FloatArray, dim: int) -> Any:
    return np.exp(1j * waves @ np.stack(ends[:dim])) @ weights


def _waves(dim: int) -> FloatArray:
    """Half of the vectors of -1, 0 and 1, and a longer one."""
    vectors = [k for k in itertools.product((-1.0, 0.0, 1.0), repeat=dim) if k > (0.0,) * dim]
    return np.array([*vectors, [2.0, -1.0, 1.0][:dim]])


def _series(system: System, waves: FloatArray, x: FloatArray, drift: bool) -> tuple[Any, Any]:
    """L phi and L**2 phi + d_t L phi at x, for all waves."""

    def once(points: FloatArray, t: float) -> Any:
        """L phi at points (..., dim)."""
        F, TK = system.drift(points, t), system.temperature_at(t) * system.mobility(points, t)
        F = F if drift else 0.0 * F
        rate = 1j * F @ waves.T - np.einsum("ka,...ab,kb->...k", waves, TK, waves)
        return rate * np.exp(1j * points @ waves.T)

    dim, offsets = system.dim, SPACING * np.arange(-4, 5)
    around = once(x + np.stack(np.meshgrid(*[offsets] * dim, indexing="ij"), axis=-1), START)
    F, TK = system.drift(x, START), system.temperature_at(START) * system.mobility(x, START)
    moved: Any = FIRST / SPACING @ np.stack([once(x, START + s) for s in offsets])
    for a, b in itertools.product(range(dim), repeat=2):
        moved = moved + TK[a, b] * _derivative(around, [a, b], dim)
    for a in range(dim if drift else 0):
        moved = moved + F[a] * _derivative(around, [a], dim)
    return once(x, START), moved


def _derivative(values: Any, axes: list[int], dim: int) -> Any:
    """A derivative of first or second order at the middle of a grid of 9 points an axis."""
    rules = (np.eye(9)[4], FIRST / SPACING, SECOND / SPACING**2)
    for a in reversed(range(dim)):
        values = np.tensordot(rules[axes.count(a)], values, axes=([0], [a]))
    return values
