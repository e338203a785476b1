"""Steepest descent in the distance of laws: the distance, its action, and the proximal recursion."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from relaxsim.density import FokkerPlanck
from relaxsim.density.proximal_step import proximal_step
from relaxsim.functionals.distance import wasserstein
from relaxsim.system.activation import lookup
from relaxsim.system.diffusion_machine import diffusion_machine
from relaxsim.system.grid import Grid
from relaxsim.system.initial import normal
from relaxsim.system.mobility import Mobility
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.mirror import HALDER
from relaxsim.theorems.smooth import FloatArray, orders

BETA = 1.7


def _Y(x: FloatArray) -> FloatArray:
    return lookup("soft_projection").Y(x, BETA)


# ---- equation (53)


def coupling(setting: Setting, *, euclidean: bool = False, matched: bool = True) -> Iterator[Measurement]:
    """W_G of random points of equal weights, by their order along Y, against the best of all assignments.

    The assignment of least cost d_G^2 is found exactly; both are sums of 12 squares: 1e-13 is allowed. The inequality
    of triangles holds but for the same rounding.
    """
    from scipy.optimize import linear_sum_assignment

    rng, worst, excess = np.random.default_rng([setting.seed, 61]), 0.0, -np.inf
    ground = None if euclidean else _Y
    for _ in range(100 if setting.full else 10):
        a, b, c = rng.beta(1, 3, 12), rng.beta(3, 1, 12), rng.beta(0.5, 0.5, 12)
        cost = (_Y(a)[:, None] - _Y(b)) ** 2
        best = np.sqrt(cost[linear_sum_assignment(cost)].mean() if matched else cost.mean())
        worst = max(worst, abs(wasserstein(a, b, ground=ground) - float(best)))
        ab, bc, ac = (wasserstein(*pair, ground=ground) for pair in ((a, b), (b, c), (a, c)))
        excess = max(excess, ac - ab - bc)
    yield Measurement("W_G less the best assignment", worst, 0.0, 1e-13)
    yield Measurement("W(a, c) - W(a, b) - W(b, c)", excess, 0.0, 1e-13, relation="<=")


# ---- equation (54)


def action(setting: Setting, *, power: float = -1.0, straight: bool = False) -> Iterator[Measurement]:
    """The integral of rho u G u over laws that move along geodesics from one law to another, and along bent paths.

    Both laws are given by quantile functions, of densities 2 x and 2 (1 - x), so that rho dx is du and u the velocity
    of the quantile; smooth but for square roots at the ends, the integral by 400 Gauss-Legendre nodes in v, u = v^2 (3
    - 2 v), and 60 times is exact to 1e-9; 1e-7 is allowed. Other paths between the laws have a larger action.
    """
    row = lookup("soft_projection")
    nodes, weights = np.polynomial.legendre.leggauss(400)
    v, w = (nodes + 1) / 2, weights / 2
    u, du = v**2 * (3 - 2 * v), w * 6 * v * (1 - v)
    first, last = np.sqrt(u), 1 - np.sqrt(1 - u)
    times, dt = np.polynomial.legendre.leggauss(60)
    s, ds = (times[:, None] + 1) / 2, dt / 2
    start, gap = _Y(first), _Y(last) - _Y(first)

    def cost(shift: float) -> float:
        """Of geodesics with times s + shift sin(2 pi s)/(2 pi), or of straight lines."""
        along, speed = s + shift * np.sin(2 * np.pi * s) / (2 * np.pi), 1 + shift * np.cos(2 * np.pi * s)
        if straight:
            place, velocity = first + along * (last - first), speed * (last - first)
        else:
            place = row.Y_inverse(start + along * gap, BETA)
            velocity = np.sqrt(row.K(place, BETA)) * speed * gap
        return float(ds @ (row.K(place, BETA) ** power * velocity**2) @ du)

    W = wasserstein(np.sqrt, lambda u: 1 - np.sqrt(1 - u), ground=_Y)
    yield Measurement("action of geodesics over W_G^2", cost(0.0) / W**2, 1.0, 1e-7)
    yield Measurement("action at uneven speed over W_G^2", cost(0.5) / W**2, 1.125, 1e-7)


# ---- one step of the recursion


def one_step(
    setting: Setting, *, cost_factor: float = 1.0, heat: float = 1.0, pull: float = 1.0
) -> Iterator[Measurement]:
    """A step between five places against the direct minimum of <C, M>/2 + epsilon <M, ln M> + h <psi + T ln p', p'>
    over plans M that start from p, by quasi-Newton iteration.

    The fixed point is known to 1e-12 of ln z. The minimum, found where the slope is below 1e-10, is as near to it as
    the curvature allows, epsilon times masses of 1e-2 and more: 1e-7 is allowed for masses. The measured contraction
    stays below h/(h + epsilon/T).
    """
    from scipy.optimize import minimize

    rng = np.random.default_rng([setting.seed, 62])
    x, h, epsilon, T = np.linspace(0.1, 0.9, 5), 0.1, 0.05, 0.5
    cost = (_Y(x)[:, None] - _Y(x)) ** 2
    for k in range(10 if setting.full else 2):
        p, psi = rng.uniform(0.5, 1.5, 5), 4 * (x - rng.uniform(0.2, 0.8)) ** 2
        p /= p.sum()

        def plan(theta: FloatArray, p: FloatArray = p) -> FloatArray:
            odds = np.exp(theta.reshape(5, 5))
            return np.asarray(p[:, None] * odds / odds.sum(axis=1, keepdims=True))

        def value(theta: FloatArray, p: FloatArray = p, psi: FloatArray = psi) -> tuple[float, FloatArray]:
            M = plan(theta)
            end = M.sum(axis=0)
            total = np.sum(cost * M) / 2 + epsilon * np.sum(M * np.log(M)) + h * end @ (psi + T * np.log(end))
            slope = cost / 2 + epsilon * (np.log(M) + 1) + h * (psi + T * (np.log(end) + 1))
            return float(total), np.asarray(M * (slope - np.sum(M * slope, axis=1, keepdims=True) / p[:, None])).ravel()

        found = minimize(value, np.zeros(25), jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 5000})
        made = proximal_step(
            p, pull * psi, cost_factor * cost, step=h, epsilon=epsilon, temperature=heat * T, tol=1e-12
        )
        apart = float(np.abs(plan(found.x).sum(axis=0) - made.mass).max())
        yield Measurement(f"masses of step {k} less those of the minimum", apart, 0.0, 1e-7)
        yield Measurement("contraction", made.contraction, h / (h + epsilon / T), relation="<=")


# ---- the recursion


def recursion(setting: Setting, *, metric: str = "geodesic", stepped: float = 1.0) -> Iterator[Measurement]:
    """The recursion for f = 4 (x - 1/3)^2, T = 1/2, beta = 2 against the Fokker-Planck equation at t = 0.08.

    Steps h of 0.02 and 0.01 (full: and 0.005) with an entropic term of h/10, its bias corrected to first order: the
    error is of order h, and with 140 cells whose blur sqrt(epsilon) is more than their distance little else. So 3 h is
    allowed for the sum of abs(p - p'), and an order between 0.7 and 1.3. Every step lowers F by W_G^2/2h or more, W_G
    without an entropic term, from quantiles; by W_G^2/h in the limit, the length of the slope squared: as the slope
    shrinks at a rate of about 10, 10 h of it is allowed.
    """
    system = diffusion_machine("4*(x - 1/3)**2", "soft_projection", 0.5, 2.0)
    own = FokkerPlanck(system, Grid(system.domain, 140))
    start = normal([0.6], 0.15).masses(system, own.grid)
    exact = own.evolve(start, [0.0, 0.08]).mass[-1]
    if metric == "euclidean":
        own = FokkerPlanck(system.replace(mobility=Mobility.constant(2 / 3)), own.grid)  # the mean of 4 x (1 - x)
    steps, errors = [0.02, 0.01] + [0.005] * setting.full, []
    for h in steps:
        times = stepped * h * np.arange(round(0.08 / h) + 1)
        path = own.proximal(start, times, step=stepped * h, epsilon=h / 10, correct_bias=True, tol=1e-9)
        errors.append(float(np.abs(path.mass[-1] - exact).sum()))
        yield Measurement(f"law less that of the equation, h = {h:g}", errors[-1], 0.0, 3 * h)
        share = -np.diff(path.free_energy) / np.array([_square(own, *pair) / h for pair in pairwise(path.mass)])
        yield Measurement(f"least F lost over W^2/h, h = {h:g}", float(share.min()), 0.5, relation=">=")
        furthest = float(share[np.argmax(np.abs(share - 1))])
        yield Measurement(f"F lost over W^2/h, h = {h:g}", furthest, 1.0, 10 * h)
    yield Measurement("order in h", float(orders(errors)[-1]), 1.0, 0.3)
    yield Measurement(
        "contraction over its bound", float(path.contraction.max()) / path.contraction_bound, 1.0, relation="<="
    )


def _square(equation: FokkerPlanck, before: FloatArray, after: FloatArray) -> float:
    """W_G^2 of two laws constant in cells, beta = 2."""
    edges = equation.grid.edges[0]
    return wasserstein((edges, before), (edges, after), ground=lambda x: lookup("soft_projection").Y(x, 2.0)) ** 2


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="mirror.53",
        title="The distance of laws over the geodesic distance",
        source=f"{HALDER}, equation (53)",
        latex=r"W_G^2(\mu, \nu) = \inf_\pi \int d_G(x, y)^2 d\pi = \int_0^1 (Y(F_\mu^{-1}(u)) - Y(F_\nu^{-1}(u)))^2 du "
        r"\quad (n = 1)",
        claim="Matching points by their order is the best of all assignments, and triangles are no shorter.",
        experiment=coupling,
        mutants=(
            Mutant("the Euclidean distance", partial(coupling, euclidean=True)),
            Mutant("all pairs in equal shares", partial(coupling, matched=False)),
        ),
    ),
    Statement(
        id="mirror.54",
        title="The distance of laws as a least action",
        source=f"{HALDER}, equation (54)",
        latex=r"W_G^2(\mu, \nu) = \inf_{(\rho, u)} \int_0^1 \!\! \int \rho\, u^T G\, u\, dx\, d\tau,\ "
        r"\partial_\tau \rho + \nabla \cdot (\rho u) = 0",
        claim="Along geodesics the action is W_G^2; at uneven speed it is larger, by one eighth here.",
        experiment=action,
        mutants=(
            Mutant("without the metric", partial(action, power=0.0)),
            Mutant("along straight lines", partial(action, straight=True)),
        ),
    ),
    Statement(
        id="mirror.V-C",
        title="One step of the proximal recursion",
        source=f"{HALDER}, section V-C",
        latex=r"y \odot \Gamma z = \rho_{k-1},\ z \odot \Gamma^T y = \xi \odot z^{-\beta \epsilon/h} = \rho_k:\ \min_M "
        r"\tfrac12 \langle C, M \rangle + \epsilon \langle M, \ln M \rangle + h F(M^T 1)",
        claim="The fixed point is the minimum, and is approached at the rate h/(h + epsilon/T) or faster.",
        experiment=one_step,
        mutants=(
            Mutant("the transport counted twice", partial(one_step, cost_factor=2.0)),
            Mutant("twice the temperature", partial(one_step, heat=2.0)),
            Mutant("half the energy", partial(one_step, pull=0.5)),
        ),
    ),
    Statement(
        id="mirror.V-C-limit",
        title="The proximal recursion tends to the Fokker-Planck equation",
        source=f"{HALDER}, section V-C and table I",
        latex=r"\rho_k = \arg\inf_\rho \tfrac12 W_G^2(\rho, \rho_{k-1}) + h F(\rho) \to \rho(kh),\quad F(\rho_k) \le "
        r"F(\rho_{k-1}) - \tfrac1{2h} W_G^2(\rho_k, \rho_{k-1})",
        claim="Errors are of first order in the step, and each step lowers F by W^2/2h or more, in the limit by W^2/h.",
        experiment=recursion,
        mutants=(
            Mutant("the Euclidean distance", partial(recursion, metric="euclidean")),
            Mutant("steps twice as long", partial(recursion, stepped=2.0)),
        ),
    ),
)
