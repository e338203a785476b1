"""How fast a system relaxes at given points: rates of K Hess E, of a changing mobility, and towards walls.

All of it is NumPy on a few hundred points, so that a run can afford it before its first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

DENSE = 16  # coordinates up to which K Hess E is formed; beyond, its largest rate is found by the power method
ROUNDS = 12  # of the power method


@dataclass(frozen=True)
class Rates:
    """Rates of the linearised relaxation dx = -K Hess E x dt at points.

    Attributes
    ----------
    fastest : ndarray, shape (n,)
        The largest modulus of an eigenvalue.
    stable : ndarray, shape (n,)
        The largest |e|^2 / Re e over eigenvalues e with Re e > 0: an explicit step h is stable where h times this is
        below 2. The same as `fastest` for real positive eigenvalues; 0 where nothing relaxes.
    """

    fastest: FloatArray
    stable: FloatArray


def how_many(dim: int) -> int:
    """Points at which rates are affordable."""
    return int(np.clip(4096 // dim**2, 4 if dim <= 1000 else 1, 256))


def rates(system: System, x: FloatArray, t: float, derived: bool = False) -> Rates:
    """Rates at points (n, dim); points where they are not finite count as rate 0.

    `derived` takes the Hessian from the energy's expression if there is one; otherwise it is a central difference of
    the gradient, which needs no algebra.
    """
    with np.errstate(all="ignore"):
        if system.dim > DENSE:
            fastest = _power_method(system, x, t)
            return Rates(fastest, fastest)
        product = system.mobility(x, t) @ _hessian(system, x, t, derived)
    good = np.asarray(np.isfinite(product).all(axis=(1, 2)))
    eigenvalues = np.linalg.eigvals(np.where(good[:, None, None], product, 0.0))
    modulus = np.abs(eigenvalues)
    relaxing: Any = eigenvalues.real > 1e-9 * modulus.max(initial=0.0)
    ratio = modulus**2 / np.where(relaxing, eigenvalues.real, 1.0)
    return Rates(modulus.max(axis=1), np.where(relaxing, ratio, 0.0).max(axis=1))


def _hessian(system: System, x: FloatArray, t: float, derived: bool) -> FloatArray:
    if derived:
        try:
            return system.energy.hessian(x, t)
        except InputError:  # a function that cannot be traced and came without a Hessian
            pass
    step = _difference_step(x)[None, :, None]
    shifts = np.eye(system.dim)[:, None, :] * step  # (axis, n, dim), for one call of the gradient
    slopes = system.gradient(np.stack([x + shifts, x - shifts]), t)
    hessian = np.moveaxis((slopes[0] - slopes[1]) / (2 * step), 0, -1)
    return np.asarray(0.5 * (hessian + np.swapaxes(hessian, 1, 2)))


def _difference_step(x: FloatArray) -> FloatArray:
    """Where a central difference of a function of size 1 loses least: the cube root of the rounding error."""
    return np.asarray(6e-6 * np.maximum(1.0, np.abs(x).max(axis=1)))


def _power_method(system: System, x: FloatArray, t: float) -> FloatArray:
    """|K Hess E v| / |v| after some rounds; never far above the largest rate."""
    full = system.mobility.couples_axes
    at = x[:1] if system.mobility.is_constant else x
    K = system.mobility(at, t) if full else system.mobility.diagonal_of(at, t)
    v = np.random.default_rng(0).standard_normal(x.shape)
    size, step = np.zeros(len(x)), _difference_step(x)[:, None]
    for _ in range(ROUNDS):
        v = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300)
        scale = step * np.sqrt(system.dim)  # v has norm 1: its entries are small
        difference = (system.gradient(x + scale * v, t) - system.gradient(x - scale * v, t)) / (2 * scale)
        v = np.einsum("...ab,...b->...a", K, difference) if full else K * difference
        v = np.where(np.isfinite(v).all(axis=1, keepdims=True), v, 0.0)
        size = np.linalg.norm(v, axis=1)
    return np.asarray(size)


def noise_speed(system: System, x: FloatArray, t: float) -> FloatArray:
    """2 T K_aa at points (n, dim): the variance that a coordinate gains a unit of time."""
    with np.errstate(all="ignore"):
        diagonal = system.mobility.diagonal_of(x, t)
    return np.asarray(2 * system.temperature_at(t) * np.maximum(np.nan_to_num(diagonal, posinf=0.0), 0.0))


def finite_drift(system: System, x: FloatArray, t: float) -> FloatArray:
    """The drift T div K - K grad E, with zero where it is not finite."""
    with np.errstate(all="ignore"):
        drift = system.drift(x, t)
    return np.asarray(np.nan_to_num(drift, posinf=0.0, neginf=0.0))


def mobility_rate(system: System, x: FloatArray, t: float) -> FloatArray:
    """How fast drift and noise change K, relative to its typical size, at points (n, dim).

    |d K/dx F| for the drift F, and 2 T sum_a K_aa |d K/dx_a|^2 for the noise, each over the median of |K|: not over
    the local size, since K may vanish at walls.
    """
    if system.mobility.is_constant or system.dim > DENSE:
        return np.zeros(len(x))
    with np.errstate(all="ignore"):
        typical = float(np.median(_norm(system.mobility(x, t))))
        slopes = np.stack([_slope(system, x, axis, t) for axis in range(system.dim)], axis=-1)  # (n, dim, dim, axis)
        by_drift = _norm((slopes * finite_drift(system, x, t)[:, None, None, :]).sum(axis=-1)) / typical
        squares = (slopes**2).sum(axis=(1, 2)) / typical**2
        by_noise = (noise_speed(system, x, t) * squares).sum(axis=-1)
    return np.asarray(np.nan_to_num(np.maximum(by_drift, by_noise), posinf=0.0))


def _slope(system: System, x: FloatArray, axis: int, t: float) -> FloatArray:
    """d K/dx_axis, (n, dim, dim), by a difference that stays in the box."""
    shift = np.zeros(x.shape)
    shift[:, axis] = _difference_step(x)
    low, high = system.domain.lower, system.domain.upper
    periodic = np.array(system.domain.periodic)
    ahead, behind = (np.where(periodic, p, np.clip(p, low, high)) for p in (x + shift, x - shift))
    distance = (ahead - behind)[:, axis]
    change = system.mobility(system.domain.wrap(ahead), t) - system.mobility(system.domain.wrap(behind), t)
    return np.asarray(change / distance[:, None, None])


def _norm(matrices: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt((matrices**2).sum(axis=(-1, -2))))


def fold(system: System, x: FloatArray) -> FloatArray:
    """Points brought back into the box: periodic axes wrapped, reflecting ones mirrored."""
    out = system.domain.wrap(x)
    for axis in system.domain.wall_axes:
        low, length = system.domain.lower[axis], system.domain.upper[axis] - system.domain.lower[axis]
        out[:, axis] = low + length - np.abs(np.mod(out[:, axis] - low, 2 * length) - length)
    return out


def euler_steps(
    system: System, x: FloatArray, t: float, h: float, n_steps: int, rng: np.random.Generator
) -> FloatArray:
    """Rough Euler-Maruyama steps, with the diagonal of K in the noise: where particles get to, not with which law."""
    with np.errstate(all="ignore"):
        for _ in range(n_steps):
            kick = np.sqrt(h * noise_speed(system, x, t)) * rng.standard_normal(x.shape)
            x = fold(system, x + h * finite_drift(system, x, t) + kick)
    return x
