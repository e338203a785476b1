"""Flows that descend an energy, on a manifold and with a constant U, and what a lower bound does not promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.mobility import Mobility
from relaxsim.system.system import System
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.discrete import all_states
from relaxsim.theorems.smooth import FloatArray, runge_kutta, simpson

Velocity = Callable[[FloatArray, FloatArray], FloatArray]  # of the inverse metric (n, d, d) and dE (n, d)


# ---- theorem 2 on a manifold


def gradient_flow(inverse: FloatArray, slope: FloatArray) -> FloatArray:
    """x' = -g^-1 dE."""
    return np.asarray(-np.einsum("nab,nb->na", inverse, slope))


def uphill(inverse: FloatArray, slope: FloatArray) -> FloatArray:
    return -gradient_flow(inverse, slope)


def without_metric(_: FloatArray, slope: FloatArray) -> FloatArray:
    return -slope


def lowered(inverse: FloatArray, slope: FloatArray) -> FloatArray:
    """g in the place of its inverse."""
    return np.asarray(-np.linalg.solve(inverse, slope[..., None])[..., 0])


def _sphere() -> list[tuple[System, Callable[[FloatArray], FloatArray]]]:
    """E = 2 nz^2 + nx ny + nx/3 on the unit sphere, in angles and in stereographic coordinates, with n(x) of each."""
    nx, ny, nz = "sin(x)*cos(y)", "sin(x)*sin(y)", "cos(x)"
    angles = System(
        Energy(f"2*({nz})**2 + {nx}*{ny} + {nx}/3"), Mobility.diagonal("1", "1/sin(x)**2"), 1.0,
        Domain([(0.1, 3.0), (-20, 20)]),
    )  # fmt: skip
    s = "(1 + x**2 + y**2)"
    nx, ny, nz = f"2*x/{s}", f"2*y/{s}", f"(1 - x**2 - y**2)/{s}"
    plane = System(
        Energy(f"2*({nz})**2 + {nx}*{ny} + {nx}/3"), Mobility.diagonal(f"{s}**2/4", f"{s}**2/4"), 1.0,
        Domain([(-20, 20), (-20, 20)]),
    )  # fmt: skip

    def of_angles(x: FloatArray) -> FloatArray:
        t, f = x[..., 0], x[..., 1]
        return np.stack([np.sin(t) * np.cos(f), np.sin(t) * np.sin(f), np.cos(t)], axis=-1)

    def of_plane(x: FloatArray) -> FloatArray:
        square = np.sum(x**2, axis=-1, keepdims=True)
        return np.asarray(np.concatenate([2 * x, 1 - square], axis=-1) / (1 + square))

    return [(angles, of_angles), (plane, of_plane)]


def on_a_sphere(setting: Setting, *, velocity: Velocity = gradient_flow) -> Iterator[Measurement]:
    """Run the flow of an energy on the sphere in two charts, until t = 1, by Runge-Kutta of step 1/100 (full: 1/200).

    Its error, and that of Simpson's rule for the energy lost, are h^4 times derivatives of the flow: with rates up to
    about 10 in either chart that is some 1e-8 1e4 / 100 = 1e-6 of lengths and energies of order one; 1e-5 is allowed
    (full: 2^4 times less). dE/dt is a sum of squares but for rounding.
    """
    count = 200 if setting.full else 100
    rng = np.random.default_rng([setting.seed, 11])
    start = np.stack([rng.uniform(0.8, 2.2, 12), rng.uniform(-1.5, 1.5, 12)], axis=-1)
    tolerance = 1e-5 * (100 / count) ** 4
    ends: list[FloatArray] = []
    rise, missing = -np.inf, 0.0
    for system, embedded in _sphere():
        n = _sphere()[0][1](start)
        x0 = start if not ends else n[:, :2] / (1 + n[:, 2:])

        def field(x: FloatArray, system: System = system) -> FloatArray:
            return velocity(np.asarray(system.mobility(x)), system.gradient(x))

        path = runge_kutta(field, x0, 1 / count, count)
        slopes, inverse = system.gradient(path), np.asarray(system.mobility(path))
        rates = np.stack([np.sum(s * field(x), axis=-1) for s, x in zip(slopes, path, strict=True)])
        squares = np.einsum("tna,tnab,tnb->tn", slopes, inverse, slopes)
        lost = system.energy(path[0]) - system.energy(path[-1])
        missing = max(missing, float(np.abs(lost - simpson(squares, 1 / count)).max()))
        rise = max(rise, float(rates.max()))
        ends.append(embedded(path[-1]))
    yield Measurement("dE/dt", rise, 0.0, 1e-14, relation="<=")
    yield Measurement("energy lost less the integral of |grad E|^2", missing, 0.0, tolerance)
    yield Measurement("distance of the ends in two charts", float(np.abs(ends[0] - ends[1]).max()), 0.0, tolerance)


# ---- theorem 2 on R^N

TURNING = np.array([[1.0, -1.5, 0.5], [1.5, 0.5, -1.0], [-0.5, 1.0, 0.8]])  # U + U^T is positive definite
SADDLE = np.array([[1.0, -1.5, 0.5], [1.5, -0.5, -1.0], [-0.5, 1.0, 0.8]])  # one direction is uphill


def constant_flow(setting: Setting, *, U: FloatArray = TURNING) -> Iterator[Measurement]:
    """Run x' = -U dE from 12 random places until t = 1 by Runge-Kutta of step 1/100 (full: 1/400).

    The energy lost is compared with the integral of dE.U dE by Simpson's rule; rates up to about 10 leave some 1e-6 of
    it, as on the sphere, and 1e-5 is allowed (full: 4^4 times less).
    """
    count = 400 if setting.full else 100
    energy = Energy("cos(2*x) + x**2/2 + (y - z/2)**2/2 + cos(y) + z**2/4 + x*y/3").bound_to(3, np.zeros((1, 3)))
    start = np.random.default_rng([setting.seed, 12]).uniform(-1.5, 1.5, (12, 3))
    path = runge_kutta(lambda x: -energy.gradient(x) @ U.T, start, 1 / count, count)
    slopes = energy.gradient(path)
    squares = np.einsum("tna,ab,tnb->tn", slopes, U, slopes)
    lost = energy(path[0]) - energy(path[-1])
    missing = float(np.abs(lost - simpson(squares, 1 / count)).max())
    yield Measurement("dE/dt", float(-squares.min()), 0.0, 1e-14, relation="<=")
    yield Measurement("rise of E over the path", float(-lost.min()), 0.0, relation="<=")
    yield Measurement("energy lost less the integral", missing, 0.0, 1e-5 * (100 / count) ** 4)


# ---- what a lower bound does not promise


def bounded_below(
    setting: Setting, *, power: float = 2.0, arrives: bool = False, converges: bool = False
) -> Iterator[Measurement]:
    """Follow x' = -dE/dx for E = x^2/2 from 1 until t = 5, and for E = e^-x from 0 until t = 100.

    They are e^-t and ln(1 + t). Runge-Kutta of step 1/50 leaves h^4 t/120 = 7e-9 of the first, and 1e-9 of the second,
    whose derivatives are at most 24 at the start and fall as t^-5; 1e-7 is allowed.
    """

    def well(x: FloatArray) -> FloatArray:
        return np.asarray(-np.sign(x) * np.abs(x) ** (power - 1))

    step = 0.005 if setting.full else 0.02
    first = runge_kutta(well, 1.0, step, round(5 / step))[-1]
    slope = runge_kutta(lambda x: np.exp(-x), 0.0, step, round(100 / step))
    far, half = float(slope[-1]), float(slope[round(50 / step)])
    yield Measurement("x e^t at t = 5, E = x^2/2", float(first) * np.exp(5), 0.0 if arrives else 1.0, 1e-7)
    yield Measurement("x(100) - x(50), E = e^-x", far - half, 0.0 if converges else float(np.log(101 / 51)), 1e-7)


# ---- the quadratic energy of a network

COUPLINGS = np.array([[0.0, 1.2, -0.5], [1.2, 0.0, 0.8], [-0.5, 0.8, 0.0]])


def quadratic(setting: Setting, *, factor: float = 2.0) -> Iterator[Measurement]:
    """The velocity -grad E of E = -x.Wx at random places, and dE/dt, against factor W x and -2 x'.W x.

    The gradient is derived from the text of E. Everything is a few products of numbers up to ten: 1e-13 is allowed.
    """
    energy = Energy("-2*(1.2*x*y - 0.5*x*z + 0.8*y*z)").bound_to(3, np.zeros((1, 3)))
    x = np.random.default_rng([setting.seed, 13]).normal(size=(200 if setting.full else 20, 3))
    force, slope = x @ COUPLINGS, energy.gradient(x)
    velocity = factor * force
    rate = np.sum(slope * velocity, axis=1)
    yield Measurement("-grad E less the velocity", float(np.abs(-slope - velocity).max()), 0.0, 1e-13)
    yield Measurement("dE/dt + 2 x'.W x", float(np.abs(rate + 2 * np.sum(velocity * force, axis=1)).max()), 0.0, 1e-13)
    yield Measurement("dE/dt", float(rate.max()), 0.0, 1e-13, relation="<=")


def unbounded(setting: Setting, *, shift: float = 0.0, bounded: bool = False) -> Iterator[Measurement]:
    """Follow x' = 2 W x, exactly by eigenvectors, from 12 random places, and compare E(t) with the least E at a corner.

    A traceless symmetric W that is not zero has an eigenvalue above zero, along which E = -sum of lambda c^2
    e^(4 lambda t); after t = 4/lambda it is e^16 c^2 lambda below zero. Nothing here is approximate.
    """
    W = COUPLINGS + shift * np.eye(3)
    values, vectors = np.linalg.eigh(W)
    c = np.random.default_rng([setting.seed, 14]).normal(size=(200 if setting.full else 12, 3)) @ vectors
    t = 4 / np.abs(values).max()
    energies = -(c**2 * np.exp(4 * values * t)) @ values
    corner = float(np.min(-np.einsum("na,ab,nb->n", all_states(3), W, all_states(3))))
    lowest = float(energies.min()) / abs(corner)
    if bounded:
        yield Measurement("E(t) over the least E at a corner", lowest, -1.0, relation=">=")
    else:
        yield Measurement("E(t) over the least E at a corner", lowest, -1000.0, relation="<=")
    yield Measurement("trace of W", float(np.trace(W)), 0.0)


_SOURCE = "Continuum of Hopfield"


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="continuum.2-manifold",
        title="A Riemannian gradient flow descends",
        source=f"{_SOURCE}, theorem 2 (on a Riemann manifold)",
        latex=r"\dot x^\alpha = -\nabla^\alpha \mathcal E(x) \Rightarrow "
        r"\dot{\mathcal E} = -\nabla_\alpha \mathcal E \nabla^\alpha \mathcal E \le 0",
        claim="On the sphere the energy falls by the integral of |grad E|^2, along the same path in two charts.",
        experiment=on_a_sphere,
        mutants=(
            Mutant("the metric left out", partial(on_a_sphere, velocity=without_metric)),
            Mutant("the metric in place of its inverse", partial(on_a_sphere, velocity=lowered)),
            Mutant("uphill", partial(on_a_sphere, velocity=uphill)),
        ),
    ),
    Statement(
        id="continuum.2-constant",
        title="A flow with a constant positive U descends",
        source=f"{_SOURCE}, theorem 2 (on R^N)",
        latex=r"\dot x^\alpha = -U^{\alpha\beta} \partial_\beta \mathcal E,\ U + U^T \succ 0 \Rightarrow "
        r"\dot{\mathcal E} = -U^{\alpha\beta} \partial_\alpha \mathcal E \, \partial_\beta \mathcal E \le 0",
        claim="With a U that is not symmetric the energy falls by the integral of dE.U dE.",
        experiment=constant_flow,
        mutants=(
            Mutant("U with an uphill direction", partial(constant_flow, U=SADDLE)),
            Mutant("U with the sign turned", partial(constant_flow, U=-TURNING)),
        ),
    ),
    Statement(
        id="continuum.2-rest",
        title="A lower bound does not bring a flow to rest",
        source=f"{_SOURCE}, after theorem 2",
        latex=r"\inf \mathcal E > -\infty:\ \mathcal E(x(t)) \text{ converges; } x(t) \text{ need not arrive in finite "
        r"time } (\tfrac12 x^2: e^{-t}), \text{ nor converge } (e^{-x}: \ln(1 + t))",
        claim="x^2/2 is descended as e^-t, never at rest, and e^-x as ln(1 + t), without a limit.",
        experiment=bounded_below,
        mutants=(
            Mutant(
                "rest in finite time",
                partial(bounded_below, arrives=True),
                printed=r"\text{If } \mathcal E \text{ is lower bounded, then the trajectory converges at finite } t",
            ),
            Mutant(
                "a limit",
                partial(bounded_below, converges=True),
                printed=r"\text{If } \mathcal E \text{ is lower bounded, then the trajectory converges at finite } t",
            ),
            Mutant(
                "an energy |x|^(3/2), whose slope is not Lipschitz, does come to rest",
                partial(bounded_below, power=1.5),
            ),
        ),
    ),
    Statement(
        id="continuum.2-quadratic",
        title="The flow of the network's energy",
        source=f"{_SOURCE}, after theorem 2",
        latex=r"\mathcal E = -W_{\alpha\beta} x^\alpha x^\beta \Rightarrow \dot x_\alpha = -\partial_\alpha \mathcal E "
        r"= 2 W_{\alpha\beta} x^\beta,\quad \dot{\mathcal E} = -2 \dot x^\alpha W_{\alpha\beta} x^\beta \le 0",
        claim="-grad(-x.Wx) is 2Wx, along which the energy falls.",
        experiment=quadratic,
        mutants=(
            Mutant(
                "the sign turned",
                partial(quadratic, factor=-2.0),
                printed=r"\frac{dx^\alpha}{dt} = -\nabla_\alpha \mathcal E = -2 W_{\alpha\beta} x^\beta",
            ),
            Mutant("half the speed", partial(quadratic, factor=1.0)),
        ),
    ),
    Statement(
        id="continuum.2-unbounded",
        title="Off the corners the network's energy has no lower bound",
        source=f"{_SOURCE}, after theorem 2",
        latex=r"W = W^T \ne 0,\ W_{\alpha\alpha} = 0 \Rightarrow \inf_{\mathbb R^N} (-W_{\alpha\beta} x^\alpha x^\beta)"
        r" = -\infty",
        claim="The flow of -x.Wx falls a thousand times below the least energy at a corner.",
        experiment=unbounded,
        mutants=(
            Mutant(
                "the bound of the corners holds",
                partial(unbounded, bounded=True),
                printed=r"\text{We call this dynamic with lower bounded } \mathcal E \ldots\ \text{Indeed, let } M "
                r"\text{ be } "
                r"\mathbb R^N, \text{ and } \mathcal E(x) = -W_{\alpha\beta} x^\alpha x^\beta",
            ),
            Mutant("weights with a diagonal that holds", partial(unbounded, shift=-3.0)),
        ),
    ),
)
