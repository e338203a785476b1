"""Exact Gaussian relaxation: ensembles drawn from the closed form, exact cell masses, exact functionals.

E = sum_a k_a x_a^2 / 2, K = 1: each coordinate is an Ornstein-Uhlenbeck process with rate k_a and, at rest,
variance T/k_a.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
from scipy.special import ndtr

from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.system import System

STIFFNESS = (1.0, 2.0, 1.5)
TEMPERATURE = 0.5


@cache
def make_system(dim, temperature=TEMPERATURE, **changes):
    text = " + ".join(f"{k / 2} * {name}**2" for k, name in zip(STIFFNESS, "xyz"[:dim], strict=False))
    return System(text, temperature=temperature, **changes)


def law(system, t, mean, variance, temperature=None):
    """Mean and variance along each axis at time t, from `mean` and `variance` on all axes at time 0."""
    stiffness = np.array(STIFFNESS[: system.dim])
    rest = (system.temperature if temperature is None else temperature) / stiffness
    decay = np.exp(-stiffness * t)
    return mean * decay, rest + (variance - rest) * decay**2


def ensemble(system, times, n, mean, variance, seed, temperature=None):
    """Exactly sampled particles, followed over all times; another `temperature` makes a mutant."""
    rng = np.random.default_rng(seed)
    x = mean + np.sqrt(variance) * rng.standard_normal((n, system.dim))
    positions = [x]
    for step in np.diff(times):
        _, added = law(system, step, 0.0, 0.0, temperature)
        x = x * np.exp(-np.array(STIFFNESS[: system.dim]) * step)
        x = x + np.sqrt(added) * rng.standard_normal((n, system.dim))
        positions.append(x)
    return SimpleNamespace(system=system, times=np.asarray(times), positions=np.stack(positions))


def cell_masses(grid, mean, variance, reach_out=False):
    """Exact masses of the cells of a grid; with `reach_out` the outermost cells reach to infinity."""
    mass = np.ones(())
    for edges, m, v in zip(grid.edges, mean, variance, strict=True):
        below = ndtr((edges - m) / np.sqrt(v))
        if reach_out:
            below[0], below[-1] = 0.0, 1.0
        mass = np.multiply.outer(mass, np.diff(below))
    return mass / mass.sum()


def density(system, grid, times, mean, variance):
    log_gibbs, log_partition = log_cell_weights(system, grid)
    mass = np.stack([cell_masses(grid, *law(system, t, mean, variance)) for t in times])
    return SimpleNamespace(
        system=system,
        grid=grid,
        times=np.asarray(times),
        mass=mass,
        log_gibbs=log_gibbs,
        log_partition=log_partition,
    )


def bin_masses(bins, mean, variance):
    cells = cell_masses(bins.grid, mean, variance, reach_out=True)
    return np.bincount(bins.labels.ravel(), weights=cells.ravel())


def exact_energy(system, mean, variance):
    return float(np.sum(np.array(STIFFNESS[: system.dim]) / 2 * (mean**2 + variance)))


def exact_kl(system, mean, variance):
    """KL of the Gaussian to the Gibbs law."""
    rest = system.temperature / np.array(STIFFNESS[: system.dim])
    return float(np.sum(mean**2 / rest + variance / rest - 1 - np.log(variance / rest)) / 2)


def exact_log_partition(system):
    return float(np.sum(np.log(2 * np.pi * system.temperature / np.array(STIFFNESS[: system.dim]))) / 2)
