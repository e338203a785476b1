"""The deterministic Hopfield flow: natural gradient of a metric, its geodesics and distance, and mirror descent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from relaxsim.system.activation import Activation, lookup
from relaxsim.system.energy import Energy
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.smooth import FloatArray, jacobian, orders, runge_kutta, simpson

HALDER = "Halder, Caluya, Travacca & Moura, Hopfield neural network flow: a geometric viewpoint"
BETA = np.array([1.0, 1.7])
# those whose mobility has derivatives of all orders inside of the range
SMOOTH = ("soft_projection", "logistic", "tanh", "arctan", "algebraic", "probit", "softplus", "exp")


def inside(row: Activation, rng: np.random.Generator, n: int) -> FloatArray:
    """Points (n, 2) away from the ends of the range."""
    low, high = row.range[0], min(row.range[1], 2.0)
    return np.asarray(low + (high - low) * rng.uniform(0.3, 0.7, (n, 2)))


# ---- theorem 1


def natural(row: Activation, x: FloatArray, slope: FloatArray) -> FloatArray:
    """x' = -G^-1 grad f, G^-1 = sigma'(sigma^-1(x))."""
    return -row.K(x, BETA) * slope


def euclidean(_: Activation, x: FloatArray, slope: FloatArray) -> FloatArray:
    return -slope


def rooted(row: Activation, x: FloatArray, slope: FloatArray) -> FloatArray:
    """The root of G^-1, which multiplies the noise of the stochastic flow."""
    return -np.sqrt(row.K(x, BETA)) * slope


def at_the_output(row: Activation, x: FloatArray, slope: FloatArray) -> FloatArray:
    """sigma' at x in the place of sigma^-1(x)."""
    return -row.K(row.sigma(x, BETA), BETA) * slope


def _hidden(row: Activation, f: Energy) -> Callable[[FloatArray], FloatArray]:
    return lambda z: -f.gradient(row.sigma(z, BETA))


def hidden_flow(
    setting: Setting, *, velocity: Callable[[Activation, FloatArray, FloatArray], FloatArray] = natural
) -> Iterator[Measurement]:
    """Run hidden states z' = -grad f(sigma(z)) and states x' = -G^-1 grad f for eight activations, from 6 places.

    Both by Runge-Kutta until t = 1/2 with step 1/40 (full: 1/160): rates of up to 2 leave h^4 2^5/100 = 1e-7 of paths
    and of the objective lost, by Simpson's rule; 1e-6 is allowed (full: 4^4 times less).
    """
    count = 80 if setting.full else 20
    f = Energy("(x - 0.4)**2/8 + x*y/10 + sin(2*y)/16").bound_to(2, np.zeros((1, 2)))
    rng = np.random.default_rng([setting.seed, 51])
    apart, missing, rise = 0.0, 0.0, -np.inf
    for name in SMOOTH:
        row = lookup(name)
        start, step = inside(row, rng, 6), 0.5 / count

        def field(x: FloatArray, row: Activation = row) -> FloatArray:
            return velocity(row, x, f.gradient(x))

        hidden = runge_kutta(_hidden(row, f), row.inverse(start, BETA), step, count)
        path = runge_kutta(field, start, step, count)
        apart = max(apart, float(np.abs(row.sigma(hidden[-1], BETA) - path[-1]).max()))
        slopes = f.gradient(path)
        lost = simpson(np.sum(slopes**2 * row.K(path, BETA), axis=-1), step)
        missing = max(missing, float(np.abs(f(path[0]) - f(path[-1]) - lost).max()))
        rise = max(rise, float(np.diff(f(path), axis=0).max()))
    tolerance = 1e-6 * (20 / count) ** 4
    yield Measurement("ends of x less those of the hidden states", apart, 0.0, tolerance)
    yield Measurement("f lost less the integral of |grad f|^2", missing, 0.0, tolerance)
    yield Measurement("largest rise of f in a step", rise, 0.0, 1e-15, relation="<=")


# ---- mirror descent


def bernoulli(x: Any, xi: Any, beta: Any) -> Any:
    """D of two states, coordinate by coordinate: relative entropies of Bernoulli laws over 2 beta."""
    return (x * np.log(x / xi) + (1 - x) * np.log((1 - x) / (1 - xi))) / (2 * beta)


def bernoulli_unweighted(x: Any, xi: Any, beta: Any) -> Any:
    return bernoulli(x, xi, 0.5)


def squared(x: Any, xi: Any, beta: Any) -> Any:
    return (x - xi) ** 2 / 2


def mirror_descent(
    setting: Setting, *, divergence: Callable[[Any, Any, Any], Any] = bernoulli
) -> Iterator[Measurement]:
    """Minimise <grad f, eta> + D(eta, x)/h numerically, and compare with sigma(z - h grad f) and x - h G^-1 grad f.

    The minimum of a function known to rounding is found to its root: 1e-6 is allowed. From natural gradient a mirror
    step differs by h^2 times a half of K' K (grad f)^2: order 2, observed between h = 1/50 and 1/200 within 0.05.
    """
    from scipy.optimize import minimize_scalar

    row, x, gradient = lookup("soft_projection"), np.array([0.3, 0.8]), np.array([1.2, -0.7])

    def step(h: float) -> FloatArray:
        return np.array([
            minimize_scalar(
                lambda eta, i=i: gradient[i] * eta + divergence(eta, x[i], BETA[i]) / h,
                bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-12},
            ).x
            for i in range(2)
        ])  # fmt: skip

    steps = [0.02, 0.01, 0.005] + [0.0025] * setting.full
    hidden = [row.sigma(row.inverse(x, BETA) - h * gradient, BETA) for h in steps]
    apart = max(float(np.abs(step(h) - z).max()) for h, z in zip(steps, hidden, strict=True))
    yield Measurement("mirror step less the step of the hidden state", apart, 0.0, 1e-6)
    natural_steps = [x - h * row.K(x, BETA) * gradient for h in steps]
    off = [float(np.abs(step(h) - y).max()) for h, y in zip(steps, natural_steps, strict=True)]
    yield Measurement("order of mirror step less natural gradient", float(orders(off)[-1]), 2.0, 0.05)


def logistic_loss(z: Any, beta: Any) -> Any:
    return np.sum(np.log1p(np.exp(2 * beta * z)) / (2 * beta))


def logistic_loss_unscaled(z: Any, beta: Any) -> Any:
    return np.sum(np.log1p(np.exp(z)) / (2 * beta))


def duality(
    setting: Setting, *, psi: Callable[[Any, Any], Any] = logistic_loss, exchanged: bool = True
) -> Iterator[Measurement]:
    """The mirror map psi, the bit entropy psi* and their Bregman divergences at random states, slopes by complex steps.

    grad psi(z) = x for z = ln(x/(1 - x))/(2 beta), the Hessian of psi* is G, and D_psi(z, z~) = D_psi*(x~, x). Terms
    are of order ten: 1e-12 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 56])
    row, mirror, metric, dual = lookup("soft_projection"), 0.0, 0.0, 0.0

    def bregman(g: Any, a: FloatArray, b: FloatArray) -> float:
        return float(g(a, BETA) - g(b, BETA) - jacobian(lambda y: g(y, BETA), b) @ (a - b))

    def entropy(x: Any, beta: Any) -> Any:
        return np.sum((x * np.log(x) + (1 - x) * np.log(1 - x)) / (2 * beta))

    for _ in range(200 if setting.full else 20):
        x, other = rng.uniform(0.1, 0.9, (2, 2))
        z, other_z = (np.log(y / (1 - y)) / (2 * BETA) for y in (x, other))
        mirror = max(mirror, float(np.abs(jacobian(lambda y: psi(y, BETA), z) - x).max()))
        slopes = jacobian(lambda y: np.log(y / (1 - y)) / (2 * BETA), x)
        metric = max(metric, float(np.abs(slopes * row.K(x, BETA) - np.eye(2)).max()))
        pair = (other, x) if exchanged else (x, other)
        dual = max(dual, abs(bregman(psi, z, other_z) - bregman(entropy, *pair)))
        dual = max(dual, abs(bregman(entropy, *pair) - float(np.sum(bernoulli(*pair, BETA)))))
    yield Measurement("grad psi(z) - x", mirror, 0.0, 1e-12)
    yield Measurement("Hessian of psi* over G, less 1", metric, 0.0, 1e-12)
    yield Measurement("D_psi(z, z~) - D_psi*(x~, x)", dual, 0.0, 1e-12)


def towards_the_minimum(setting: Setting, *, monotone: bool = False, uphill: float = 1.0) -> Iterator[Measurement]:
    """Follow x' = -G^-1 grad f in a ring-shaped valley to its minimum, from the other side of the ring's middle.

    Runge-Kutta of step 1/20 (full: 1/40) until t = 40. f falls from step to step, but for its rounding; the distance to
    the minimum first grows by about 0.3: nothing here is near its bound.
    """
    f = Energy("40*((x - 0.5)**2 + (y - 0.5)**2 - 0.09)**2 + 0.3*x").bound_to(2, np.zeros((1, 2)))
    row, count = lookup("soft_projection"), 1600 if setting.full else 800
    path = runge_kutta(lambda x: -uphill * 2 * x * (1 - x) * f.gradient(x), np.array([0.56, 0.52]), 40 / count, count)
    apart = row.distance(path, path[-1], 1.0)
    yield Measurement("largest rise of f in a step", float(np.diff(f(path)).max()), 0.0, 1e-15, relation="<=")
    yield Measurement("|grad f| at the end", float(np.abs(f.gradient(path[-1])).max()), 0.0, 1e-6)
    if monotone:
        yield Measurement(
            "rise of the distance to the minimum", float(apart.max() - apart[0]), 0.0, 1e-9, relation="<="
        )
    else:
        yield Measurement("rise of the distance to the minimum", float(apart.max() - apart[0]), 0.1, relation=">=")


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="mirror.theorem-1",
        title="The Hopfield flow is natural gradient descent",
        source=f"{HALDER}, theorem 1",
        latex=r"\dot x_H = -\nabla f(x),\ x = \sigma(x_H) \Leftrightarrow \dot x = -G^{-1} \nabla f,\ G = "
        r"\mathrm{diag}(1/\sigma_i'(\sigma_i^{-1}(x_i))),\quad \dot f = -\nabla f^T G^{-1} \nabla f \le 0",
        claim="Hidden states and states of eight activations move together, and f falls by the integral.",
        experiment=hidden_flow,
        mutants=(
            Mutant("the Euclidean gradient", partial(hidden_flow, velocity=euclidean)),
            Mutant("the root of G^-1", partial(hidden_flow, velocity=rooted)),
            Mutant("the slope of sigma at x", partial(hidden_flow, velocity=at_the_output)),
        ),
    ),
    Statement(
        id="mirror.15",
        title="Natural gradient is mirror descent",
        source=f"{HALDER}, section III, equations (5), (15) and (19)",
        latex=r"\arg\min_\eta \langle \nabla f, \eta \rangle + \tfrac1h D_{\psi^*}(\eta, x) = \sigma(\sigma^{-1}(x) "
        r"- h \nabla f) = x - h\, G^{-1} \nabla f + O(h^2)",
        claim="The mirror step is a step of the hidden state, and differs from natural gradient by order h^2.",
        experiment=mirror_descent,
        mutants=(
            Mutant("relative entropies without 1/(2 beta)", partial(mirror_descent, divergence=bernoulli_unweighted)),
            Mutant("the squared Euclidean distance", partial(mirror_descent, divergence=squared)),
        ),
    ),
    Statement(
        id="mirror.38",
        title="Mirror map and Bregman divergences of the soft projection",
        source=f"{HALDER}, lemma 1 and equations (33) to (38)",
        latex=r"\psi(z) = \sum_i \tfrac1{2\beta_i} \ln(1 + e^{2\beta_i z_i}),\ \nabla\psi(z) = x,\ \nabla^2 \psi^* = G,"
        r"\quad D_\psi(z, \tilde z) = D_{\psi^*}(\tilde x, x)",
        claim="The dual logistic loss and the bit entropy are a Legendre pair with the metric as Hessian.",
        experiment=duality,
        mutants=(
            Mutant("the exponent without 2 beta", partial(duality, psi=logistic_loss_unscaled)),
            Mutant("arguments not exchanged", partial(duality, exchanged=False)),
        ),
    ),
    Statement(
        id="mirror.figure-3",
        title="The objective falls, the distance to the minimum need not",
        source=f"{HALDER}, section IV-B",
        latex=r"\dot f \le 0 \text{ along } \dot x = -G^{-1} \nabla f,\text{ while } d_G(x(t), x_*) \text{ may rise}",
        claim="In a ring-shaped valley f falls to its minimum, while the distance to it first grows.",
        experiment=towards_the_minimum,
        mutants=(
            Mutant(
                "the distance falls",
                partial(towards_the_minimum, monotone=True),
                printed=r"\text{the geodesic distance to minimum decays monotonically, as expected in gradient "
                r"descent}",
            ),
            Mutant("uphill", partial(towards_the_minimum, uphill=-1.0)),
        ),
    ),
    Statement(
        id="mirror.44",
        title="Dual Hopfield method for economic load dispatch",
        source=f"{HALDER}, equations (39) to (44)",
        latex=r"\text{(44a): Hopfield sub-iterations of } L_r;\ \text{(44b, c): dual ascent}",
        pending="needs a dispatch network; the objective's weights and the settings of the runs are lost in the text",
    ),
)
