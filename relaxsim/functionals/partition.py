"""The partition function: by quadrature up to three dimensions, by annealing walkers beyond."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.functionals import kinds
from relaxsim.functionals.annealing import POWER, Annealing, anneal
from relaxsim.functionals.estimate import Estimate, jackknife_stderr, undefined
from relaxsim.functionals.samples import check_count
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.validate import nearest

if TYPE_CHECKING:
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]

METHODS = ("auto", "quadrature", "annealed", "thermodynamic")
_SHAPES = {1: (512,), 2: (128, 128), 3: (40, 40, 40)}
_TAIL = 1e-12
_GROUPS = 20
_LEAST_EFFECTIVE = 50.0  # walkers: below this many the largest weight decides


def log_partition(
    system: System,
    *,
    method: str = "auto",
    n_walkers: int = 4000,
    levels: int = 100,
    rng: int | np.random.Generator | None = 0,
) -> Estimate:
    r"""ln Z, Z the integral of exp(-E/T) over the domain; the free energy at rest is -T ln Z.

    Parameters
    ----------
    system : System
        Energy and temperature that do not depend on time.
    method : {"auto", "quadrature", "annealed", "thermodynamic"}
        *quadrature*: Gauss-Legendre on a covering grid, up to three dimensions. *annealed*: walkers carry a law that is
        easy to integrate step by step to the Gibbs law (annealed importance sampling, Neal, Stat. Comput. 11 (2001)
        125). *thermodynamic*: the mean of the exponent's slope along the same way, integrated (Kirkwood 1935). *auto*:
        quadrature as long as it serves, annealed beyond.
    n_walkers, levels : int
        Walkers, and steps of the way, of the last two.
    rng : int or numpy Generator, optional
        Their random numbers; None draws a seed.

    Returns
    -------
    Estimate
        ``n`` walkers. The bias bound holds, of a quadrature, the change from half as many cells and the tail left out;
        of the annealed one, the bias that the logarithm of a mean has; of the thermodynamic one, the difference of the
        way there and back and of the quadrature along it. nan with a warning where the walkers do not come to rest
        (exp(-E/T) is probably not normalisable) or where a few of them carry all weight.

    Raises
    ------
    InputError
        exp(-E/T) is seen not to be normalisable; E or T depends on time; quadrature in more than three dimensions.

    Notes
    -----
    With :math:`\ln \pi_\lambda = (1 - \lambda) \ln q_0 - \lambda E/T` and :math:`g = -E/T - \ln q_0`,

    .. math:: Z = \Big\langle \exp \sum_l (\lambda_{l+1} - \lambda_l)\, g(x_l) \Big\rangle
       \quad\text{and}\quad \ln Z = \int_0^1 \langle g \rangle_\lambda \,d\lambda .

    The first is exact however short the Metropolis runs between the levels are; the second needs them to come to rest.
    Wells that no walker of :math:`q_0` finds are missed by both.
    """
    if method not in METHODS:
        raise InputError(f"method: expected one of {METHODS}, got {method!r}{nearest(str(method), METHODS)}")
    check_count(n_walkers, "n_walkers", 200)
    check_count(levels, "levels", 4)
    kinds.check_system(system)
    if getattr(system.energy, "time_dependent", False) or not isinstance(system.temperature, float):
        raise InputError("system: energy and temperature must not depend on time, for Z would with them")
    if method == "quadrature" and system.dim not in _SHAPES:
        raise InputError(f"method: quadrature serves up to 3 dimensions, got {system.dim}; use 'annealed'")
    if method == "quadrature" or (method == "auto" and system.dim in _SHAPES):
        return _quadrature(system)
    levels += levels % 2
    run = anneal(system, n_walkers, levels, np.random.default_rng(rng), back=method == "thermodynamic")
    if run.cause:
        return undefined("ln Z by annealing", run.cause, n_walkers, n_walkers)
    return _thermodynamic(run) if method == "thermodynamic" else _annealed(run)


def gibbs_walkers(
    system: System, n_walkers: int = 4000, levels: int = 100, rng: int | np.random.Generator | None = 0
) -> tuple[FloatArray, str]:
    """Particles of the Gibbs law in any dimension, drawn from annealed walkers by their weights; or why there are none.

    A walker is drawn at most once: those of small weight are thinned out, at the price of using fewer.
    """
    generator = np.random.default_rng(rng)
    run = anneal(system, n_walkers, levels, generator)
    if run.cause:
        return np.empty((0, system.dim)), run.cause
    relative = np.exp(run.log_weights - np.quantile(run.log_weights, 0.99))
    kept = run.walkers[generator.random(n_walkers) < relative]
    if len(kept) < 200:
        return kept, f"the weight is carried by few of {n_walkers} annealed walkers"
    return kept, ""


def as_log_partition(system: System, given: Any) -> Estimate:
    """What a user gave as ln Z, or `log_partition(system)`."""
    if given is None:
        return log_partition(system)
    if isinstance(given, Estimate):
        return given
    if isinstance(given, (int, float, np.floating)) and math.isfinite(given):
        return Estimate(float(given), 0.0, 0.0, "given")
    raise InputError(f"log_partition: expected a finite number or an Estimate, got {given!r}")


def _quadrature(system: System) -> Estimate:
    shape = _SHAPES[system.dim]
    grid = Grid.covering(system, shape, tail=_TAIL)
    half = Grid(system.domain, tuple(s // 2 for s in shape), bounds=grid.bounds)
    fine, coarse = log_cell_weights(system, grid)[1], log_cell_weights(system, half)[1]
    left_out = float(getattr(grid, "left_out", 0.0) or 0.0)
    bound = abs(fine - coarse) + left_out + 1e-15 * max(1.0, abs(fine))
    return Estimate(fine, 0.0, bound, "quadrature")


def _log_mean_exp(values: FloatArray) -> float:
    peak = float(values.max())
    return peak + math.log(float(np.mean(np.exp(values - peak))))


def _annealed(run: Annealing) -> Estimate:
    work = run.log_weights
    n = work.size
    weights = np.exp(work - work.max())
    effective = float(weights.sum() ** 2 / (weights @ weights))
    if effective < _LEAST_EFFECTIVE:
        cause = (
            f"the weight is carried by {effective:.1f} of {n} walkers: exp(-E/T) is not normalisable, or more levels "
            "are needed"
        )
        return undefined("ln Z by annealing", cause, n, n)
    label = np.arange(n) % _GROUPS
    value = _log_mean_exp(work)
    left_out = np.array([_log_mean_exp(work[label != r]) for r in range(_GROUPS)])
    # ln of a mean is low by half the relative variance of that mean.
    bias = 0.5 * (1.0 / effective - 1.0 / n)
    return Estimate(value + bias, jackknife_stderr(left_out), bias, "annealed", n, n, _GROUPS - 1)


def _thermodynamic(run: Annealing) -> Estimate:
    there, back = run.slopes, run.slopes_back
    u = np.linspace(0.0, 1.0, len(there))
    step = u[1]
    simpson = np.full(u.size, 2.0 * step / 3.0)
    simpson[1::2] = 4.0 * step / 3.0
    simpson[[0, -1]] = step / 3.0
    # Levels lie at u^POWER: the slope is steep where the law is still wide.
    weights, path = simpson * POWER * u ** (POWER - 1), POWER * u ** (POWER - 1)
    each = 0.5 * (weights @ there + weights @ back)
    along = path * (there.mean(axis=1) + back.mean(axis=1)) / 2.0
    fine, coarse = float(np.trapezoid(along, dx=step)), float(np.trapezoid(along[::2], dx=2.0 * step))
    lag = 0.5 * abs(float(weights @ (there - back).mean(axis=1)))
    n = each.size
    stderr = float(each.std(ddof=1) / math.sqrt(n))
    return Estimate(float(each.mean()), stderr, lag + abs(fine - coarse) / 3.0, "thermodynamic", n, n, n - 1)
