"""Hopfield networks in continuous time and dense associative memories: their energies, ends, Jacobians and learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.smooth import FloatArray, jacobian, runge_kutta, simpson

TAU = 0.5  # time constant of all networks here


def _weights(rng: np.random.Generator, n: int, scale: float, turned: float = 0.0) -> FloatArray:
    """Symmetric weights with a diagonal, and a share of antisymmetric ones."""
    W = rng.normal(size=(n, n)) * scale / np.sqrt(n)
    return np.asarray((W + W.T) / np.sqrt(2) + turned * (W - W.T))


def _network(W: FloatArray, b: FloatArray) -> Callable[[Any], Any]:
    """tau x' = -x + tanh(W x + b) for states (..., n)."""
    return lambda x: (-x + np.tanh(x @ W.T + b)) / TAU


def lyapunov(
    setting: Setting, *, turned: float = 0.0, inverse: float = 1.0, rate: float = 1.0
) -> Iterator[Measurement]:
    """Run 20 states of a network of 6 tanh units until t = 2 by Runge-Kutta of step 1/100 (full: 1/400).

    E = -y.Wy/2 - b.y + sum of the integrals of artanh, y = tanh(W x + b), is compared with the integral of its rate
    -tau sum f'(a) (da/dt)^2 by Simpson's rule. Rates up to 10, twice that for squares, leave h^4 20^4/180 = 1e-5 of
    an energy of order one; 2e-5 is allowed (full: 4^4 times less).
    """
    rng = np.random.default_rng([setting.seed, 41])
    count = 800 if setting.full else 200
    W, b = _weights(rng, 6, 1.5, turned), rng.normal(size=6) / 4
    field = _network(W, b)
    path = runge_kutta(field, rng.uniform(-1, 1, (20, 6)), 2 / count, count)
    a = path @ W.T + b
    y, moving = np.tanh(a), field(path) @ W.T
    kept = y * a + np.log1p(-(y**2)) / 2  # the integral of artanh from 0
    energy = -np.sum(y @ W.T * y, axis=-1) / 2 - y @ b + inverse * np.sum(kept, axis=-1)
    rates = -rate * TAU * np.sum((1 - y**2) * moving**2, axis=-1)
    missing = energy[-1] - energy[0] - simpson(rates, 2 / count)
    tolerance = 2e-5 * (200 / count) ** 4
    yield Measurement("change of E less the integral of its rate", float(np.abs(missing).max()), 0.0, tolerance)
    yield Measurement("largest rise of E in a step", float(np.diff(energy, axis=0).max()), 0.0, 1e-14, relation="<=")


def at_rest(setting: Setting, *, turned: float = 0.0) -> Iterator[Measurement]:
    """Run 30 states of 8 networks (full: 40) of 2 to 4 tanh units, and look at their speed after t = 100.

    Runge-Kutta of step 1/5 of networks with rates up to about 8 has the same fixed points as the flow. A network whose
    slowest rate at its fixed point is 0.25 or more has a speed of e^-25 = 1e-11; 1e-6 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 42])
    speed = 0.0
    for k in range(40 if setting.full else 8):
        n = 2 + k % 3
        field = _network(_weights(rng, n, 2.0, turned), rng.normal(size=n) / 2)
        end = runge_kutta(field, rng.uniform(-1, 1, (30, n)), 0.2, 500)[-1]
        speed = max(speed, float(np.linalg.norm(field(end), axis=1).max()))
    yield Measurement("largest speed at t = 100", speed, 0.0, 1e-6)


def linearised(setting: Setting, *, factor: float = 1.0) -> Iterator[Measurement]:
    """The Jacobian of -x + tanh(W x + b) at fixed points against complex steps, and the rate of return to them.

    At a fixed point 1 - f^2 is (1 - x)(1 + x). Fixed points are found to 1e-13 by Newton's method from the end of a
    run, so that the Jacobian is known to some 1e-12: 1e-11 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 43])
    worst = 0.0
    for _ in range(40 if setting.full else 8):
        W, b = _weights(rng, 5, 1.5), rng.normal(size=5) / 2
        field = _network(W, b)
        x = runge_kutta(field, rng.uniform(-1, 1, 5), 0.2, 200)[-1]
        for _ in range(20):
            x = x - np.linalg.solve(jacobian(field, x), field(x))
        J = -np.eye(5) + factor * ((1 - x) * (1 + x))[:, None] * W
        worst = max(worst, float(np.abs(J - TAU * jacobian(field, x)).max()))
    yield Measurement("Jacobian less its formula", worst, 0.0, 1e-11)


def learned(setting: Setting, *, diagonal: bool = False, onward: bool = False) -> Iterator[Measurement]:
    """Train W and b of 8 tanh units on two patterns by gradient descent on the sum of |x - f(W x + b)|^2/2, with W
    made symmetric and its diagonal zero after each step, and run the network from the patterns.

    Two patterns, nearly at right angles, are 16 equations for the 36 free numbers of W and b, so that the loss goes to
    zero, geometrically; after 6000 steps 1e-6 is allowed for the speed. Without a diagonal no unit tells of itself:
    exactly zero.
    """
    rng = np.random.default_rng([setting.seed, 44])
    n, signs = 8, np.stack([np.repeat([1.0, -1.0], 4), np.tile([1.0, -1.0], 4)])
    data = signs * rng.uniform(0.3, 0.8, (2, 8))
    W, b, wanted = np.zeros((n, n)), np.zeros(n), data[::-1] if onward else data
    for _ in range(20000 if setting.full else 6000):
        y = np.tanh(data @ W.T + b)
        back = (y - wanted) * (1 - y**2)
        W, b = W - 0.2 * back.T @ data, b - 0.2 * back.sum(axis=0)
        W = (W + W.T) / 2
        W = W if diagonal else W * (1 - np.eye(n))
    field = _network(W, b)
    told = max(float(np.abs(np.diag(jacobian(lambda x: np.tanh(W @ x + b), x))).max()) for x in data)
    yield Measurement("speed at the patterns", float(np.abs(field(data)).max()), 0.0, 1e-6)
    yield Measurement("what a unit's output tells of its own value", told, 0.0)


# ---- dense associative memories


def sigmoid(s: Any) -> Any:
    return 1 / (1 + np.exp(-s))


def softmax(s: Any) -> Any:
    weights = np.exp(s - np.max(np.real(s), axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def bounded_memory(
    setting: Setting, *, with_v: bool = True, turned: float = 0.0, gradient: bool = True
) -> Iterator[Measurement]:
    """Run 30 states of memories tau x' = -x + W^T sigma(W x + b) + v until t = 40, by Runge-Kutta of step 1/20.

    sigma is bounded by K = sqrt(n) for n memories. The ball of radius K ||W|| + ||v|| takes in every path from
    |x| = 20 up to 20 e^-80. The energy falls at every step, but for rounding of numbers up to 200: 1e-12. At the end
    the speed is e^(-40 rate/tau): 1e-6 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 45])
    share, rise, speed = 0.0, -np.inf, 0.0
    for _ in range(20 if setting.full else 4):
        n, d = 5, 3
        W, b = rng.normal(size=(n, d)) / 2, rng.normal(size=n)
        v = rng.normal(size=d)
        v *= 8 / np.linalg.norm(v)
        spin = turned * np.array([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]])

        def field(x: Any, W: Any = W, b: Any = b, v: Any = v, spin: Any = spin) -> Any:
            return (-x + sigmoid(x @ W.T + b) @ W + v + x @ spin) / TAU

        start = rng.normal(size=(30, d))
        path = runge_kutta(field, 20 * start / np.linalg.norm(start, axis=1, keepdims=True), 0.05, 800)
        z = path @ W.T + b
        energy = np.sum(path**2, axis=-1) / 2 - path @ v - np.sum(np.logaddexp(0.0, z), axis=-1) * gradient
        radius = np.sqrt(n) * np.linalg.norm(W, 2) + np.linalg.norm(v) * with_v
        share = max(share, float(np.linalg.norm(path[-1], axis=1).max() / radius))
        rise = max(rise, float(np.diff(energy, axis=0).max()))
        speed = max(speed, float(np.linalg.norm(field(path[-1]), axis=1).max()))
    yield Measurement("largest |x| at the end over the radius", share, 1.0, 1e-12, relation="<=")
    yield Measurement("largest rise of E in a step", rise, 0.0, 1e-12, relation="<=")
    yield Measurement("largest speed at t = 40", speed, 0.0, 1e-6)


def log_sum(s: Any, beta: float) -> Any:
    return np.log(np.sum(np.exp(beta * s))) / beta


def printed_log_sum(s: Any, beta: float) -> Any:
    return np.log(beta * np.sum(np.exp(s))) / beta


def _memories(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """n random rows of norm one."""
    V = rng.normal(size=(n, d))
    return np.asarray(V / np.linalg.norm(V, axis=1, keepdims=True))


def _at(F: Callable[[Any, float], Any], beta: float) -> Callable[[Any], Any]:
    return lambda s: F(s, beta)


def _energy(V: FloatArray, F: Callable[[Any, float], Any], beta: float) -> Callable[[Any], Any]:
    return lambda x: np.sum(x**2) / 2 - F(V @ x, beta)


def _attention(V: FloatArray, b: Any, beta: float) -> Callable[[Any], Any]:
    return lambda x: -x + V.T @ softmax(beta * (V @ x + b))


def attention(setting: Setting, *, F: Callable[[Any, float], Any] = log_sum) -> Iterator[Measurement]:
    """-grad E of E = |x|^2/2 - F(V x), by complex steps, against the velocity -x + V^T softmax(beta V x).

    Both are known to rounding of some ten terms of order one: 1e-13 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 46])
    slope, force = 0.0, 0.0
    for beta in (0.5, 2.0, 8.0):
        for _ in range(20 if setting.full else 3):
            V, x, s = _memories(rng, 6, 3), rng.normal(size=3), rng.normal(size=6)
            bent = jacobian(_at(F, beta), s)
            slope = max(slope, float(np.abs(bent - softmax(beta * s)).max()))
            down = -jacobian(_energy(V, F, beta), x)
            force = max(force, float(np.abs(down - _attention(V, 0.0, beta)(x)).max()))
    yield Measurement("grad F - softmax(beta s)", slope, 0.0, 1e-13)
    yield Measurement("-grad E less the velocity", force, 0.0, 1e-13)


def covariance(setting: Setting, *, power: float = 1.0, centred: bool = True) -> Iterator[Measurement]:
    """The Jacobian of -x + V^T softmax(beta (V x + b)) by complex steps against -1 + beta Cov_p(v).

    Both are known to rounding of sums of six terms times beta: 1e-13 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 47])
    worst = 0.0
    for beta in (0.5, 2.0, 8.0):
        for _ in range(20 if setting.full else 3):
            V, x, b = _memories(rng, 6, 3), rng.normal(size=3), rng.normal(size=6) / 4
            p = softmax(beta * (V @ x + b))
            mean = V.T @ p if centred else np.zeros(3)
            J = -np.eye(3) + beta**power * ((V.T * p) @ V - np.outer(mean, mean))
            found = jacobian(_attention(V, b, beta), x)
            worst = max(worst, float(np.abs(J - found).max()))
    yield Measurement("Jacobian less its formula", worst, 0.0, 1e-13)


def recalled(setting: Setting, *, exact: bool = False, beta_scale: float = 1.0) -> Iterator[Measurement]:
    """Go to the fixed point from x = v_1 for rising beta, with memories whose angles to v_1 have cosines 1/2 and less.

    There 1 - p_1 = delta/(1 + delta) with delta = sum over j of exp(-beta (v_1 - v_j).x), which is solved for along
    with x; the weights and the distance |x - v_1| = |sum of p_j (v_j - v_1)| are positive at every beta. Iteration of
    a map that contracts by beta lambda_max(Cov) < 1/2 here goes to rounding in 60 steps: 1e-12 is allowed.
    """
    V = np.array([[1.0, 0, 0], [0.5, np.sqrt(0.75), 0], [0.0, 0, 1], [-0.6, 0, -0.8]])
    for beta in (6.0, 10.0, 16.0) if setting.full else (6.0, 10.0):
        x = V[0]
        for _ in range(60):
            x = V.T @ softmax(beta * beta_scale * V @ x)
        delta = float(np.sum(np.exp(-beta * (V[0] - V[1:]) @ x)))
        others = softmax(beta * V[1:] @ x)
        expected = 0.0 if exact else delta / (1 + delta) * float(np.linalg.norm(others @ V[1:] - V[0]))
        yield Measurement(f"|x - v_1| at beta = {beta:g}", float(np.linalg.norm(x - V[0])), expected, 1e-12)


_SOURCE = "Hopfield Network"


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="hopfield.7",
        title="The energy of a network in continuous time falls",
        source=f"{_SOURCE}, lemma 7 and remark 8",
        latex=r"\mathcal E(y) = -\tfrac12 W_{\alpha\beta} y^\alpha y^\beta - b_\alpha y^\alpha + \sum_\alpha "
        r"\int^{y^\alpha} f^{-1},\quad \dot{\mathcal E} = -\tau \sum_\alpha f'(a^\alpha) (\dot a^\alpha)^2 \le 0",
        claim="With symmetric weights, diagonal included, the energy falls at its rate.",
        experiment=lyapunov,
        mutants=(
            Mutant("weights that are not symmetric", partial(lyapunov, turned=0.5)),
            Mutant("the energy without the integrals of the inverse", partial(lyapunov, inverse=0.0)),
            Mutant("the rate without a factor", partial(lyapunov, rate=0.5)),
        ),
    ),
    Statement(
        id="hopfield.9",
        title="Networks in continuous time end at rest",
        source=f"{_SOURCE}, theorem 9",
        latex=r"\mathcal E \text{ falls strictly off the fixed points, so that no cycle is possible}",
        claim="With symmetric weights every path ends at rest.",
        experiment=at_rest,
        mutants=(Mutant("weights that are not symmetric", partial(at_rest, turned=2.0)),),
    ),
    Statement(
        id="hopfield.stability",
        title="The Jacobian at a fixed point",
        source=f"{_SOURCE}, section 1.2.5",
        latex=r"J^\alpha_\beta = -\delta^\alpha_\beta + (1 - x_*^\alpha)(1 + x_*^\alpha) W^\alpha_\beta \quad "
        r"(f = \tanh)",
        claim="The Jacobian of tanh networks at their fixed points is that of the formula.",
        experiment=linearised,
        mutants=(
            Mutant(
                "half of it",
                partial(linearised, factor=0.5),
                printed=r"J^\alpha_\beta = -\delta^\alpha_\beta + \tfrac12 (1 - f^2(z^\alpha)) W^\alpha_\beta",
            ),
        ),
    ),
    Statement(
        id="hopfield.10",
        title="Learning rule in continuous time",
        source=f"{_SOURCE}, corollary 10 and algorithm 2",
        latex=r"\min_{W, b} \sum_n \|x_n - f(W x_n + b)\|,\ W = W^T,\ W_{\alpha\alpha} = 0 \Rightarrow \dot x = 0 "
        r"\text{ at } x_n",
        claim="After training the patterns are at rest, and no unit's output tells of its own value.",
        experiment=learned,
        mutants=(
            Mutant("with a diagonal", partial(learned, diagonal=True)),
            Mutant("trained to go on to the other pattern", partial(learned, onward=True)),
        ),
    ),
    Statement(
        id="hopfield.12",
        title="Dense associative memories end at rest in a ball",
        source=f"{_SOURCE}, theorem 12 and example 13",
        latex=r"\tau \dot x = -x + W^T \nabla F(W x + b) + v,\ \|\nabla F\| \le K \Rightarrow \limsup \|x\| \le K \|W\|"
        r" + \|v\|,\ \dot E \le 0, \text{ and } x \text{ comes to rest}",
        claim="Memories with sigmoid units lower E, end at rest, and within K ||W|| + ||v||.",
        experiment=bounded_memory,
        mutants=(
            Mutant(
                "the ball without v",
                partial(bounded_memory, with_v=False),
                printed=r"\text{The } -x \text{ term will dominate the } W^T \cdot \nabla F \text{ term for } \|x\| "
                r"> K \|W\|",
            ),
            Mutant("a force that is no gradient", partial(bounded_memory, turned=1.5)),
            Mutant("the energy without F", partial(bounded_memory, gradient=False)),
        ),
    ),
    Statement(
        id="hopfield.14",
        title="The memory whose force is softmax attention",
        source=f"{_SOURCE}, examples 14 and 15",
        latex=r"F(s) = \beta^{-1} \ln \sum_\alpha e^{\beta s^\alpha},\ \nabla F = \mathrm{softmax}(\beta s),\quad "
        r"-\nabla E = -x + W^T \mathrm{softmax}(\beta W x)",
        claim="The gradient of F is softmax(beta s), and -grad E is the velocity.",
        experiment=attention,
        mutants=(
            Mutant(
                "beta outside of the exponent",
                partial(attention, F=printed_log_sum),
                printed=r"F(x) := \beta^{-1} \ln(\beta \sum_\alpha e^{x^\alpha})",
            ),
        ),
    ),
    Statement(
        id="hopfield.16",
        title="The Jacobian of softmax attention is a covariance",
        source=f"{_SOURCE}, lemma 16",
        latex=r"J^{\alpha\beta} = -\delta^{\alpha\beta} + \beta\, \mathrm{Cov}_{p(x)}(v^\alpha, v^\beta)",
        claim="The Jacobian is -1 + beta Cov at random states.",
        experiment=covariance,
        mutants=(
            Mutant(
                "without beta",
                partial(covariance, power=0.0),
                printed=r"J^{\alpha\beta}(x) = -\delta^{\alpha\beta} + \mathrm{Cov}_{p(x)}(v^\alpha, v^\beta)",
            ),
            Mutant("second moments about zero", partial(covariance, centred=False)),
        ),
    ),
    Statement(
        id="hopfield.16-example",
        title="A pattern is only near to a fixed point",
        source=f"{_SOURCE}, after lemma 16",
        latex=r"x_* = \sum_i p_i v_i,\ p_1 < 1 \text{ for every } \beta:\ \|x_* - v_1\| = (1 - p_1) \|v_1 - \bar v_{j "
        r"\ne 1}\| > 0",
        claim="The fixed point near v_1 is off it by the weight of the other patterns.",
        experiment=recalled,
        mutants=(
            Mutant(
                "exactly at the pattern",
                partial(recalled, exact=True),
                printed=r"\text{at fixed point } x = v_1,\ p = (1, 0, \ldots, 0)",
            ),
            Mutant("another beta", partial(recalled, beta_scale=1.5)),
        ),
    ),
)
