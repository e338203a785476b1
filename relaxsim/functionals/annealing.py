"""Walkers carried from a law that is easy to integrate to the Gibbs law, by Metropolis steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relaxsim.system.relative_entropy import checked_energy

if TYPE_CHECKING:
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]

POWER = 2  # the levels of the way are l = (i/levels)^POWER
_SCALES = (1.0, 0.3, 0.1)  # of successive proposals, relative to the best one for a normal law
_FAR = (16, 24)  # powers of two: radii between which the energy has to rise
_PILOT_SWEEPS = 400
_WIDER = 2.0  # variance of the first law over that of the pilot's walkers
_GROWTH = 1.5  # of the pilot's spread from a quarter of its sweeps to the end that is taken for no coming to rest


@dataclass(frozen=True)
class Annealing:
    """What a run gave: log weights (n,), slopes (levels + 1, n) there and back, the walkers at the end."""

    log_weights: FloatArray
    slopes: FloatArray
    slopes_back: FloatArray
    walkers: FloatArray
    cause: str = ""

    @classmethod
    def failed(cls, cause: str) -> Annealing:
        """A run that could not be made."""
        none = np.empty(0)
        return cls(none, none, none, none, cause)


@dataclass
class _First:
    """The law q0 the walkers begin with: normal on free axes, uniform on bounded ones."""

    system: System
    mean: FloatArray
    factor: FloatArray  # Cholesky factor of the covariance on the free axes
    free: NDArray[np.intp] = field(init=False)
    fixed: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        free = np.array([kind == "unbounded" for kind in self.system.domain.boundary])
        self.free, self.fixed = np.flatnonzero(free), np.flatnonzero(~free)

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        domain = self.system.domain
        x = np.empty((n, self.system.dim))
        x[:, self.free] = self.mean[self.free] + rng.standard_normal((n, self.free.size)) @ self.factor.T
        x[:, self.fixed] = rng.uniform(domain.lower[self.fixed], domain.upper[self.fixed], (n, self.fixed.size))
        return x

    def log_density(self, x: FloatArray) -> FloatArray:
        domain = self.system.domain
        away = np.linalg.solve(self.factor, (x[:, self.free] - self.mean[self.free]).T)
        norm = 0.5 * self.free.size * math.log(2 * math.pi) + float(np.log(np.diag(self.factor)).sum())
        norm += float(np.log(domain.upper[self.fixed] - domain.lower[self.fixed]).sum())
        return np.asarray(-0.5 * np.sum(away**2, axis=0) - norm)


def anneal(system: System, n_walkers: int, levels: int, rng: np.random.Generator, back: bool = False) -> Annealing:
    """Carry walkers along pi_l ~ q0^(1 - l) exp(-l E/T), l = 0 ... 1, and back again if wanted."""
    mean, covariance, cause = _pilot(system, min(n_walkers, 1000), rng)
    if cause:
        return Annealing.failed(cause)
    free = np.array([kind == "unbounded" for kind in system.domain.boundary])
    first = _First(system, mean, np.linalg.cholesky(_WIDER * covariance[np.ix_(free, free)]))
    x = first.draw(n_walkers, rng)
    move = _Metropolis(system, first, np.asarray(np.linalg.cholesky(covariance)), rng)
    slope = move.slope(x)
    lambdas = (np.arange(levels + 1) / levels) ** POWER
    weights, slopes, returned = np.zeros(n_walkers), [slope], [slope]
    for level in range(1, levels + 1):
        weights += slope * (lambdas[level] - lambdas[level - 1])
        x, slope = move.sweep(x, lambdas[level])
        slopes.append(slope)
    end = x
    if back:
        returned = [slope]
        for level in range(levels - 1, -1, -1):
            x, slope = move.sweep(x, lambdas[level])
            returned.append(slope)
    if not np.isfinite(weights).any():
        return Annealing.failed("every walker met an infinite energy; the domain holds almost no allowed region")
    return Annealing(weights, np.array(slopes), np.array(returned[::-1]), end)


class _Metropolis:
    """Random-walk Metropolis steps that leave pi_l at rest."""

    def __init__(self, system: System, first: _First, factor: FloatArray, rng: np.random.Generator) -> None:
        self.system, self.first, self.factor, self.rng = system, first, factor, rng

    def slope(self, x: FloatArray) -> FloatArray:
        """g = -E/T - ln q0."""
        return np.asarray(-checked_energy(self.system, x) / self.system.temperature - self.first.log_density(x))

    def sweep(self, x: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
        """One step on each scale; the walkers and their slopes."""
        best = 2.38 / math.sqrt(self.system.dim) * math.sqrt(_WIDER / (1.0 + level * (_WIDER - 1.0)))
        base, slope = self.first.log_density(x), self.slope(x)
        for scale in _SCALES:
            proposal = propose(self.system, x, best * scale * self.factor, self.rng)
            inside = self.system.domain.contains(proposal)
            new_base, new_slope = base.copy(), np.full(len(x), -np.inf)
            new_base[inside], new_slope[inside] = self.first.log_density(proposal[inside]), self.slope(proposal[inside])
            change = new_base - base
            if level > 0.0:
                with np.errstate(invalid="ignore"):  # from one forbidden place to another: no value, no move
                    change = change + level * (new_slope - slope)
            taken = inside & (np.log(self.rng.random(len(x))) < change)
            x = np.where(taken[:, None], proposal, x)
            base, slope = np.where(taken, new_base, base), np.where(taken, new_slope, slope)
        return x, slope


def propose(system: System, x: FloatArray, factor: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A normal step; periodic axes wrap, walls do not: a point beyond one is refused later."""
    y = x + rng.standard_normal(x.shape) @ factor.T
    domain = system.domain
    for axis in np.flatnonzero(domain.periodic):
        low, length = domain.lower[axis], domain.upper[axis] - domain.lower[axis]
        y[:, axis] = low + np.mod(y[:, axis] - low, length)
    return y


def _pilot(system: System, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, str]:
    """Mean and covariance of walkers that ran at T for a while, to choose the first law by.

    Any choice gives the right Z; a good one gives it with a small error. The walkers begin at the lowest of many points
    on many scales, with a step that is adjusted to an acceptance of about 0.3.
    """
    domain, dim = system.domain, system.dim
    free = np.array([kind == "unbounded" for kind in domain.boundary])
    low, high = np.where(free, 0.0, domain.lower), np.where(free, 0.0, domain.upper)
    scales = 2.0 ** rng.uniform(-10, 10, (20_000, 1))
    trial = np.where(free, scales * rng.standard_normal((20_000, dim)), rng.uniform(low, high, (20_000, dim)))
    with np.errstate(all="ignore"):
        energy = checked_energy(system, trial)
    lowest = trial[np.argsort(energy)[: max(20, n // 10)]]
    x = lowest[rng.integers(len(lowest), size=n)]
    energy = checked_energy(system, x)
    if not np.isfinite(energy).any():
        return low, np.eye(dim), "no point with a finite energy was found"
    unconfined = _unconfined(system, x[np.argmin(energy)], rng)
    if unconfined:
        return low, np.eye(dim), unconfined
    step, spread = 1.0, []
    for sweep in range(_PILOT_SWEEPS):
        width = step * np.where(free, 1.0, high - low)
        y = propose(system, x, np.diag(width), rng)
        inside = domain.contains(y)
        there = np.full(n, np.inf)
        there[inside] = checked_energy(system, y[inside])
        with np.errstate(invalid="ignore"):
            taken = np.log(rng.random(n)) < -(there - energy) / system.temperature
        x, energy = np.where(taken[:, None], y, x), np.where(taken, there, energy)
        step *= math.exp(0.5 * (float(taken.mean()) - 0.3))
        if sweep in (_PILOT_SWEEPS // 4, _PILOT_SWEEPS - 1):
            middle = np.median(x, axis=0)
            spread.append(np.quantile(np.abs(x - middle), 0.75, axis=0))
    grown = float(np.max(np.where(free, spread[1] / np.maximum(spread[0], 1e-300), 0.0), initial=0.0))
    if grown > _GROWTH:
        cause = (
            f"the walkers do not come to rest: they spread {grown:.3g} times as far in four times as many steps, so "
            "exp(-E/T) is probably not normalisable"
        )
        return low, np.eye(dim), cause
    covariance = np.atleast_2d(np.cov(x.T)) + 1e-12 * np.diag(np.maximum(x.var(axis=0), 1e-300))
    return x.mean(axis=0), covariance, ""


def _unconfined(system: System, lowest: FloatArray, rng: np.random.Generator) -> str:
    """Whether E rises more slowly than T ln r along some ray, far out; why the law is then no law."""
    free = np.flatnonzero([kind == "unbounded" for kind in system.domain.boundary])
    if free.size == 0:
        return ""
    rays = np.concatenate([np.eye(free.size), -np.eye(free.size), rng.standard_normal((200, free.size))])
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    far = []
    for exponent in _FAR:
        x = np.tile(lowest, (len(rays), 1))
        x[:, free] += rays * 2.0**exponent
        with np.errstate(all="ignore"):
            energy = np.asarray(system.energy(x), dtype=np.float64) / system.temperature
        far.append(np.where(np.isnan(energy), np.inf, energy))
    with np.errstate(invalid="ignore"):
        rise = np.where(np.isposinf(far[1]), np.inf, far[1] - far[0])
    slow = rise < math.log(2.0) * (_FAR[1] - _FAR[0])
    if not slow.any():
        return ""
    ray = ", ".join(f"{value:.3g}" for value in rays[np.argmax(slow)])
    return f"exp(-E/T) is not normalisable: E rises more slowly than T ln r along the direction ({ray})"
