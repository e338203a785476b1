"""One step of the entropic proximal recursion: its fixed point in the log domain, watched while it contracts.

The step from masses p to masses p' minimises, over plans M with M 1 = p and M^T 1 = p',

    <C, M>/2 + epsilon <M, ln M> + h <psi + T ln p', p'>.

With Gamma = exp(-C/2 epsilon) and beta = 1/T the minimum is M = diag(y) Gamma diag(z),

    y = p/(Gamma z),    z = (exp(-beta psi - 1)/(Gamma^T y))^r,    p' = z (Gamma^T y),    r = h/(h + beta epsilon),

a map of ln z that contracts by r in the largest difference: products with positive matrices do not expand it, inversion
keeps it, and the power scales it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from relaxsim.density.proximal_iteration import Iterates, largest
from relaxsim.density.proximal_kernel import DenseKernel, Kernel
from relaxsim.errors import ConvergenceError, ShapeError
from relaxsim.system.validate import FloatArray, Problems, as_float_array, positive_integer, positive_number

_DEFECT = 1e-11  # of the mass, in units of one, that rounding explains
TOL, MOST = 1e-9, 20_000  # distance of ln z from its fixed point, and how many passes may be needed for it


@dataclass(frozen=True)
class ProximalStep:
    """What one proximal step gives.

    Attributes
    ----------
    mass : ndarray
        Masses p' after the step; their sum is that of the masses before.
    log_y, log_z : ndarray
        ln y of the places before and ln z of those after; the plan is M = diag(y) exp(-C/2 epsilon) diag(z).
    iterations : int
        Passes of the fixed-point iteration.
    contraction : float
        Largest measured ratio of the distances of two successive ln z after and before the map, less what rounding may
        add to it.
    bound : float
        r = h/(h + beta epsilon), which `contraction` never exceeds.
    transport : float
        <C, M>/2h, what the transport costs in units of free energy.
    plan_entropy : float
        H(M) = -<M, ln M>, over places of unit volume.
    """

    mass: FloatArray
    log_y: FloatArray = field(repr=False)
    log_z: FloatArray = field(repr=False)
    iterations: int
    contraction: float
    bound: float
    transport: float
    plan_entropy: float


def proximal_step(
    mass: Any,
    potential: Any,
    cost: Any,
    *,
    step: float,
    epsilon: float,
    temperature: float,
    volumes: Any = None,
    tol: float = TOL,
    max_iterations: int = MOST,
) -> ProximalStep:
    """One entropic proximal step between any places, from their matrix of squared distances.

    p' minimises <C, M>/2 + epsilon <M, ln M/(v v')> + h <psi + T ln(p'/v'), p'> over plans M from p to p', everything
    dimensionless, k_B = 1. The places before and after may differ: particles may be moved between steps.

    Parameters
    ----------
    mass : array_like, shape (n,)
        Masses before the step, zero or positive.
    potential : array_like, shape (m,)
        psi at the places after the step; +inf forbids one.
    cost : array_like, shape (n, m)
        Squared distances C, zero or positive.
    step : float
        h.
    epsilon : float
        Strength of the entropic term; the plan is blurred by the distance sqrt(epsilon).
    temperature : float
        T = 1/beta.
    volumes : array_like, shape (m,), optional
        Volume each place after the step stands for; by default one, so that masses and densities are the same.
    tol : float
        How far ln z may be from its fixed point.
    max_iterations : int

    Returns
    -------
    ProximalStep

    Raises
    ------
    InputError, ShapeError
        What cannot be used, all of it named.
    ConvergenceError
        More passes would be needed than `max_iterations`, a contraction that stalls, or mass that got lost.

    References
    ----------
    K. F. Caluya & A. Halder, *Gradient flow algorithms for density propagation in stochastic systems*, IEEE Trans.
    Autom. Control 65 (2020) 3991, arXiv:1908.00533.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 5)
    >>> cost = (x[:, None] - x) ** 2
    >>> moved = proximal_step(np.full(5, 0.2), x, cost, step=0.1, epsilon=0.05, temperature=0.5)
    >>> bool(abs(moved.mass.sum() - 1) < 1e-14), moved.contraction <= moved.bound
    (True, True)
    """
    problems = Problems()
    p, psi, squares, sizes = _checked_arrays(mass, potential, cost, volumes, problems)
    h = positive_number(step, "step", problems, "It is the time a proximal step advances by.")
    eps = positive_number(epsilon, "epsilon", problems, "It is the strength of the entropic term, in squared distance.")
    T = positive_number(temperature, "temperature", problems)
    tol = positive_number(tol, "tol", problems)
    most = positive_integer(max_iterations, "max_iterations", problems)
    problems.raise_if_any()
    with np.errstate(divide="ignore"):
        log_mass = np.log(p)
    reference = np.log(sizes)
    pull = -psi / T - 1.0
    return fixed_point(
        DenseKernel(squares, eps), log_mass, pull, h, eps, T, tol=tol, most=most, log_volumes=reference
    )  # fmt: skip


def _checked_arrays(mass: Any, potential: Any, cost: Any, volumes: Any, problems: Problems) -> tuple[FloatArray, ...]:
    p, psi, squares = as_float_array(mass, "mass"), as_float_array(potential, "potential"), as_float_array(cost, "cost")
    if p.ndim != 1 or p.size == 0:
        problems.add("mass", f"expected masses of n places, shape (n,), got {p.shape}", ShapeError)
    check_masses(p, "mass", problems)
    if psi.ndim != 1 or psi.size == 0:
        problems.add("potential", f"expected one number a place, shape (m,), got {psi.shape}", ShapeError)
    elif np.isnan(psi).any() or np.isneginf(psi).any() or np.isposinf(psi).all():
        problems.add("potential", "expected finite numbers, or +inf at places (but not all) that are forbidden")
    if squares.shape != (p.size, psi.size):
        problems.add(
            "cost",
            f"expected squared distances of shape (n, m) = ({p.size}, {psi.size}), from the places of `mass` to those "
            f"of `potential`, got {squares.shape}",
            ShapeError,
        )
    elif not np.isfinite(squares).all() or squares.min() < 0:
        problems.add("cost", "expected finite squared distances, zero or positive")
    sizes = np.ones(psi.shape) if volumes is None else as_float_array(volumes, "volumes")
    if sizes.shape != psi.shape:
        problems.add("volumes", f"expected one volume a place, shape {psi.shape}, got {sizes.shape}", ShapeError)
    elif not np.isfinite(sizes).all() or sizes.min() <= 0:
        problems.add("volumes", "expected positive finite volumes")
    return p, psi, squares, sizes


def check_masses(p: FloatArray, name: str, problems: Problems) -> None:
    """Masses are finite, zero or positive, and some are positive."""
    bad = ~(np.isfinite(p) & (p >= 0))
    if bad.any():
        where = np.argwhere(bad)[0].tolist()
        problems.add(
            name,
            f"expected finite masses, zero or positive; {int(bad.sum())} are not, the first is {p[bad][0]} at {where}",
        )
    elif p.size and not p.sum() > 0:
        problems.add(name, "expected some mass, got zero everywhere")


def fixed_point(
    kernel: Kernel,
    log_mass: FloatArray,
    pull: FloatArray,
    h: float,
    epsilon: float,
    temperature: float,
    *,
    tol: float = TOL,
    most: int = MOST,
    start: FloatArray | None = None,
    log_volumes: FloatArray | float = 0.0,
) -> ProximalStep:
    """Iterate to the fixed point; `log_mass` is ln p, `pull` is -beta psi (-inf: forbidden), `start` a first ln z.

    Raises
    ------
    ConvergenceError
        See `proximal_step`.
    """
    bound = h / (h + epsilon / temperature)
    open_ = pull > -np.inf
    tried = Iterates(bound, open_, max(largest(log_mass), largest(pull)))
    log_z = np.where(open_, log_volumes if start is None else start, -np.inf)
    while True:
        log_y = log_mass - kernel.forward(log_z)
        image = np.where(open_, log_volumes + bound * (pull - kernel.backward(log_y)), -np.inf)
        tried.add(log_z, image)
        if not np.isfinite(tried.change):
            raise ConvergenceError(_lost(h, epsilon, temperature, tried.count))
        if tried.reached(tol):
            break
        if tried.count >= most or (tried.count == 1 and tried.fewest(tol) > most):
            raise ConvergenceError(_slow(tried.fewest(tol), most, bound, tol, h, epsilon, temperature))
        log_z = tried.next()
    return _finished(kernel, log_mass, image, h, epsilon, bound, tried.count, tried.worst)


def resting_plan(kernel: Kernel, log_mass: FloatArray) -> tuple[float, FloatArray]:
    """<C, M>/2 epsilon + <M, ln M> of the plan from p to p that is best, and its second marginal, p up to a tolerance.

    Any plan would serve as a bound.
    """
    log_y, log_z, end = resting_scalings(kernel, log_mass, 200, 1e-7)
    return _weighted(np.exp(log_mass), log_y) + _weighted(end, log_z), end


def resting_scalings(
    kernel: Kernel, log_mass: FloatArray, passes: int, tol: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """ln y and ln z of the plan diag(y) Gamma diag(z) from p to p, and its second marginal, p to within `tol`.

    For a symmetric Gamma both are equal, and means of old and new ones converge in a few passes.
    """
    log_z, p = log_mass / 2.0, np.exp(log_mass)
    for count in range(1, passes + 1):
        log_y = log_mass - kernel.forward(log_z)
        end = np.exp(log_z + kernel.backward(log_y))
        if np.abs(end - p).sum() <= tol or count == passes:
            break
        log_z = (log_y + log_z) / 2.0
    return log_y, log_z, np.asarray(end)


def _finished(
    kernel: Kernel,
    log_mass: FloatArray,
    log_z: FloatArray,
    h: float,
    epsilon: float,
    bound: float,
    count: int,
    worst: float,
) -> ProximalStep:
    """The masses, and what plan they came by. y is taken last, so that the plan starts from the masses exactly."""
    log_y = log_mass - kernel.forward(log_z)
    mass = np.exp(log_z + kernel.backward(log_y))
    total, got = float(np.exp(log_mass).sum()), float(mass.sum())
    if not abs(got - total) <= _DEFECT * total:
        raise ConvergenceError(
            f"a proximal step turned the mass {total!r} into {got!r}; the logarithms of its scalings reach "
            f"{np.abs(log_z[log_z > -np.inf]).max():.3g}. Use a larger epsilon= or fewer cells"
        )
    mass *= total / got
    cost = kernel.transport(log_y, log_z)
    # ln M = ln y + ln z - C/2 epsilon
    entropy = cost / (2.0 * epsilon) - _weighted(np.exp(log_mass), log_y) - _weighted(mass, log_z)
    return ProximalStep(mass, log_y, log_z, count, worst, bound, cost / (2.0 * h), entropy)


def _weighted(mass: FloatArray, values: FloatArray) -> float:
    held = mass > 0
    return float((mass[held] * values[held]).sum())


def _slow(needed: float, most: int, bound: float, tol: float, h: float, epsilon: float, temperature: float) -> str:
    return (
        f"a proximal step with h = {h:g}, epsilon = {epsilon:g}, T = {temperature:g} contracts by h/(h + epsilon/T) = "
        f"{bound:.6g} a pass and needs about {needed} passes for tol = {tol:g}, more than max_iterations = {most}; use "
        "a larger epsilon=, a smaller step=, or allow more passes"
    )


def _lost(h: float, epsilon: float, temperature: float, count: int) -> str:
    return (
        f"the scalings of a proximal step left the finite numbers in pass {count} (h = {h:g}, epsilon = {epsilon:g}, "
        f"T = {temperature:g}): some mass has no open place within reach. Use a larger epsilon="
    )
