"""The proximal recursion of Jordan, Kinderlehrer and Otto on the cells of a grid, with an entropic transport cost.

Each step from p minimises W(p, p')^2/2h + F(p'): steepest descent of the free energy in the Wasserstein distance of the
metric K^-1, whose paths tend to the solution of the Fokker-Planck equation as h -> 0. The entropic term, which makes a
step a fixed-point iteration of matrix products, acts like epsilon/2h of temperature (and, where K varies, like the
energy -(epsilon/4h) ln det K beside it): the law at rest is wider than the Gibbs law unless that is taken off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.proximal_kernel import Kernel
from relaxsim.density.proximal_metric import Metric, find_metric
from relaxsim.density.proximal_path import ProximalPath
from relaxsim.density.proximal_step import MOST, TOL, ProximalStep, fixed_point, resting_plan
from relaxsim.density.stepping import steps_per_interval
from relaxsim.errors import ConvergenceError, InputError, warn
from relaxsim.progress import progress_bar
from relaxsim.system.validate import FloatArray, Problems, check_times, positive_integer, positive_number

if TYPE_CHECKING:
    from relaxsim.density.fokker_planck import FokkerPlanck

_UNREACHED = 1e-16  # weight of a neighbouring cell beside the cell itself, below which rounding swallows it
_NARROW = 0.75  # sqrt(epsilon) below this share of the distance of neighbours: steps cannot reach across cells
_ROUNDING = 1e-9  # of the free energy, in units of T, within which a step may miss its inequality


def proximal(
    equation: FokkerPlanck,
    initial: Any,
    times: Any,
    *,
    step: float,
    epsilon: float,
    metric: Any = "auto",
    correct_bias: bool = False,
    tol: float = TOL,
    max_iterations: int = MOST,
    progress: bool | None = None,
) -> ProximalPath:
    """Densities by the entropic proximal recursion; see `FokkerPlanck.proximal`."""
    problems = Problems()
    stored = check_times(times, problems)
    h = positive_number(step, "step", problems, "It is the time a proximal step advances by.")
    eps = positive_number(epsilon, "epsilon", problems, "It is the strength of the entropic term, in squared distance.")
    tol = positive_number(tol, "tol", problems)
    most = positive_integer(max_iterations, "max_iterations", problems)
    problems.raise_if_any()
    _check_still(equation)
    counts = steps_per_interval(np.diff(stored), h) if stored.size > 1 else []
    found = find_metric(equation.system, equation.grid, metric)
    heat, pull = _target(equation, found, h, eps, correct_bias)
    _check_reach(equation, found, eps)
    start = equation._initial_masses(initial, float(stored[0]))
    path = ProximalPath(
        equation.system, equation.grid, equation.log_gibbs, equation.log_partition, stored,
        np.empty((stored.size, *equation.grid.shape)), 0, "proximal",
        step=h, epsilon=eps, metric=found.name, corrected=bool(correct_bias), ran_at=heat, why="it was asked for",
    )  # fmt: skip
    _run(path, start, counts, found, pull, tol, most, progress)
    return path


def _check_still(equation: FokkerPlanck) -> None:
    if not hasattr(equation.system, "energy"):
        raise InputError("proximal: a process given by its drift has no free energy to descend; use evolve()")
    if equation.moving:
        raise InputError(
            "proximal: energy, temperature and mobility must not depend on the time or on the density; use evolve()"
        )
    if equation.system.domain.absorbs:
        raise InputError("proximal: absorbing walls take mass away, and steps keep it; use evolve()")


def _target(
    equation: FokkerPlanck, metric: Metric, h: float, epsilon: float, correct_bias: bool
) -> tuple[float, FloatArray]:
    """Temperature T' and -E'/T' that a recursion runs with."""
    temperature = float(equation.system.temperature)
    if not correct_bias:
        return temperature, equation.log_gibbs
    heat = temperature - epsilon / (2.0 * h)
    if not heat > 0:
        raise InputError(
            f"epsilon: correct_bias=True runs at T - epsilon/2h = {heat:g}, which must be positive; with T = "
            f"{temperature:g} and step = {h:g} use epsilon below {2 * h * temperature:g}, or a longer step"
        )
    # log_speed is half of ln det K
    return heat, np.asarray((temperature * equation.log_gibbs - epsilon / (2.0 * h) * metric.log_speed) / heat)


def _check_reach(equation: FokkerPlanck, metric: Metric, epsilon: float) -> None:
    apart = metric.spacing(equation.gibbs)
    weight = np.exp(-(apart**2) / (2.0 * epsilon))
    if weight < _UNREACHED:
        raise InputError(
            f"epsilon: with {epsilon:g} the kernel does not reach the next cell, at the distance {apart:.3g}: its "
            f"weight is {weight:.1g}, so that thousands of passes would hardly move mass; use epsilon = {apart**2:.2g} "
            "or more, or more cells"
        )
    if epsilon < (_NARROW * apart) ** 2:
        warn(
            f"epsilon: sqrt(epsilon) = {np.sqrt(epsilon):.3g} is less than {_NARROW} of the distance {apart:.3g} of "
            f"neighbouring cells, so that mass hardly moves from cell to cell; use epsilon = {apart**2:.2g} or more, "
            "or more cells"
        )


def _run(
    path: ProximalPath,
    mass: FloatArray,
    counts: list[int],
    metric: Metric,
    pull: FloatArray,
    tol: float,
    most: int,
    progress: bool | None,
) -> None:
    kernel = metric.kernel(path.epsilon)
    done: list[ProximalStep] = []
    allowances = []
    functional = [_functional(mass, pull, path.ran_at)]
    path.mass[0] = mass
    log_z: FloatArray | None = None
    with progress_bar(float(sum(counts)), "proximal steps", progress) as bar:
        for k, count in enumerate(counts):
            for _ in range(count):
                with np.errstate(divide="ignore"):
                    log_mass = np.log(mass)
                made = fixed_point(
                    kernel, log_mass, pull, path.step, path.epsilon, path.ran_at, tol=tol, most=most, start=log_z
                )
                allowances.append(_allowance(kernel, path, log_mass, pull, made, functional[-1]))
                mass, log_z = made.mass / made.mass.sum(), made.log_z
                done.append(made)
                functional.append(_functional(mass, pull, path.ran_at))
                bar.update(1.0)
            path.mass[k + 1] = mass
    path.functional = np.array(functional)
    path.iterations = np.array([made.iterations for made in done], dtype=np.int64)
    path.contraction = np.array([made.contraction for made in done])
    path.transport = np.array([made.transport for made in done])
    path.allowance = np.array(allowances)
    path.steps = int(path.iterations.sum())
    _check_descent(path)


def _allowance(
    kernel: Kernel, path: ProximalPath, log_mass: FloatArray, pull: FloatArray, made: ProximalStep, before: float
) -> float:
    """The entropic part of the inequality that the minimum owes to the plan that leaves the law where it is."""
    cost, end = resting_plan(kernel, log_mass)
    # that plan ends at `end`, the same law up to its tolerance
    stayed = _functional(end, pull, path.ran_at) - before
    return path.epsilon / path.step * (cost + made.plan_entropy) + stayed


def _functional(mass: FloatArray, pull: FloatArray, temperature: float) -> float:
    held = mass > 0
    return temperature * float((mass[held] * (np.log(mass[held]) - pull[held])).sum())


def _check_descent(path: ProximalPath) -> None:
    """F(p') + <C, M>/2h <= F(p) + allowance in every step: the mark of a minimum."""
    if not path.iterations.size:
        return
    scale = max(path.ran_at, float(np.abs(path.functional[np.isfinite(path.functional)]).max(initial=0.0)))
    worst = int(np.argmax(path.excess))
    if path.excess[worst] > _ROUNDING * scale:
        raise ConvergenceError(
            f"proximal step {worst} raised free energy plus transport cost by {path.excess[worst]:.2e} beyond the "
            f"entropic allowance {path.allowance[worst]:.2e}; use a smaller tol="
        )
