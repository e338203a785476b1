"""Means that vanish for the Gibbs law in any dimension, by Stein's identity."""

from __future__ import annotations

import numpy as np

from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

WAVES = 16


def stein_scores(
    system: System, x: FloatArray, tolerance: float, rng: np.random.Generator
) -> tuple[list[str], FloatArray, FloatArray, FloatArray, FloatArray]:
    """Names, means, standard errors, scores and what is forgiven, for each function h = T div f - f . grad E.

    With KL(p|q) at most `tolerance` the mean of h is at most sd(h) sqrt(2 tolerance) away from 0, to leading order.
    Skew laws have skew means: scores carry Hall's monotone correction.
    """
    names, h = _functions(system, x, rng)
    n = len(x)
    mean, sd = h.mean(axis=0), h.std(axis=0, ddof=1)
    error = sd / np.sqrt(n)
    size = np.where(sd > 0, sd, 1.0)  # h of a flat energy may vanish everywhere
    skewness, w = ((h - mean) ** 3).mean(axis=0) / size**3, mean / size
    corrected = size * (w + skewness * w**2 / 3 + skewness**2 * w**3 / 27 + skewness / (6 * n))
    forgiven = sd * np.sqrt(2 * tolerance)
    excess = np.maximum(np.abs(corrected) - forgiven, 0.0)
    score = np.divide(excess, error, out=np.where(excess > 0, np.inf, 0.0), where=error > 0)
    return names, mean, error, score, forgiven


def _functions(system: System, x: FloatArray, rng: np.random.Generator) -> tuple[list[str], FloatArray]:
    """h at the points for the balance of forces, the virial theorem and random waves, shape (n, functions)."""
    force, T = -system.gradient(x), system.temperature
    domain = system.domain
    periodic = np.array(domain.periodic)
    bounded = np.isfinite(domain.upper - domain.lower)
    walls = np.flatnonzero(bounded & ~periodic)
    vanishing, slope = np.ones_like(x), np.zeros_like(x)  # of f at walls
    for a in map(int, walls):
        low, width = domain.lower[a], domain.upper[a] - domain.lower[a]
        s = (x[:, a] - low) / width
        vanishing[:, a], slope[:, a] = 4 * s * (1 - s), 4 * (1 - 2 * s) / width
    names, h = [], []
    for a in range(system.dim):
        names.append(f"the force along x{a}" + (" (times a function that vanishes at the walls)" if a in walls else ""))
        h.append(T * slope[:, a] + vanishing[:, a] * force[:, a])
        if periodic[a]:
            k = 2 * np.pi / (domain.upper[a] - domain.lower[a])
            for name, f, df in (("sin", np.sin, np.cos), ("cos", np.cos, lambda s: -np.sin(s))):
                names.append(f"Stein's identity for {name} along x{a}")
                h.append(T * k * df(k * x[:, a]) + f(k * x[:, a]) * force[:, a])
        else:
            away = x[:, a] - x[:, a].mean()
            names.append(f"T + x{a} times the force along it (virial)")
            h.append(T * (vanishing[:, a] + away * slope[:, a]) + away * vanishing[:, a] * force[:, a])
    scale = x.std(axis=0)
    for number in range(WAVES):
        turns = rng.integers(-1, 2, system.dim) * 2 * np.pi / np.where(bounded, domain.upper - domain.lower, 1.0)
        wave = np.where(periodic, turns, rng.standard_normal(system.dim) / (scale * np.sqrt(system.dim)))
        v = rng.standard_normal(system.dim) * scale
        phase = x @ wave + rng.uniform(0, 2 * np.pi)
        divergence = (slope @ v) * np.sin(phase) + (vanishing @ (v * wave)) * np.cos(phase)
        names.append(f"Stein's identity for wave {number}")
        h.append(T * divergence + np.sin(phase) * np.sum(v * vanishing * force, axis=1))
    return names, np.stack(h, axis=1)
