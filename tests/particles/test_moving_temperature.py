"""A temperature that changes with time: laws of the steps in closed form, orders by operators, compiled steps."""

import dataclasses
import math

import numpy as np
import pytest

import relaxsim as rs
from particles.transfer import Basis, Transfer, slopes
from relaxsim.particles import walls
from relaxsim.particles.kernel import kernel_source
from relaxsim.particles.loop import Plan
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import choose, registry

STEPS = (0.1, 0.05, 0.025, 0.0125)
CIRCLE = rs.Domain([(0, 2 * np.pi)], boundary="periodic")
SCHEDULE = "0.3 + 1/(1 + t)**2"


def schedule(t):
    return 0.3 + 1 / (1 + t) ** 2


# ---- a spring in closed form: dx = -k x dt + sqrt(2 T(t)) dW


SPRING = 1.7


def spring(temperature):
    return rs.System(f"{SPRING}*x**2/2", 1.0, temperature, rs.Domain([(-50, 50)]))


def exact_variance(t, start):
    """v' = -2 k v + 2 T(t)."""
    from scipy.integrate import quad

    heat = quad(lambda s: 2 * schedule(s) * math.exp(-2 * SPRING * (t - s)), 0, t, epsabs=1e-13, epsrel=1e-13)[0]
    return start * math.exp(-2 * SPRING * t) + heat


def variance_of(scheme, system, h, t=1.0, start=0.4):
    """The variance that a scheme reports: a step and an output are a x + b z, with a and b read off."""
    row, model, variance = registry()[scheme], ArrayModel(system), start

    def linear(function, time):
        x, z = [np.array([0.0, 1.0, 0.0])], [np.array([0.0, 0.0, 1.0])]
        zero, by_x, by_z = np.asarray(function(model.at(time), x, time, h, z)[0])
        assert zero == 0
        return by_x, by_z

    for k in range(round(t / h)):
        a, b = linear(row.step, k * h)
        variance = a * a * variance + b * b
    if row.output is not None:
        a, b = linear(row.output, t)
        variance = a * a * variance + b * b
    return variance


@pytest.mark.nojit
@pytest.mark.parametrize("scheme", ["euler-maruyama", "milstein", "leimkuhler-matthews"])
def test_variance_of_a_spring_that_cools(scheme):
    """Order 1 towards the exact variance; a temperature frozen at its first value misses it for every step."""
    exact = exact_variance(1.0, 0.4)
    found = np.array([variance_of(scheme, spring(SCHEDULE), h) for h in STEPS]) - exact
    assert abs(slopes(STEPS, abs(found))[-1] - registry()[scheme].weak_order["gaussian"]) < 0.06, found
    frozen = np.array([variance_of(scheme, spring(schedule(0.0)), h) for h in STEPS]) - exact
    assert np.all(abs(frozen) > 20 * abs(found[-1]))


@pytest.mark.nojit
def test_the_recursion_of_euler_maruyama():
    h, variance = 0.05, 0.4
    for k in range(20):
        variance = (1 - SPRING * h) ** 2 * variance + 2 * schedule(k * h) * h
    assert variance_of("euler-maruyama", spring(SCHEDULE), h) == pytest.approx(variance, rel=1e-13)


# ---- weak orders on the circle, where all schemes of one coordinate run


def circle(mobility, temperature):
    return rs.System("cos(x) + 0.5*sin(2*x)", mobility, temperature, CIRCLE)


def at_time(row, t):
    """A scheme whose operator is that of its step at time t."""

    def output(model, x, _, h, noise):
        return row.output(model.at(t), x, t, h, noise)

    def step(model, x, _, h, noise):
        return row.step(model.at(t), x, t, h, noise)

    return dataclasses.replace(row, step=step, output=output if row.output else None)


def mean_at(scheme, system, h, n=49):
    """E[cos X_1] of a scheme from its nodes."""
    row, steps = registry()[scheme], round(1 / h)
    values = Transfer(at_time(row, 1.0), system, n=n).reported(h, [np.cos])[:, 0]
    for k in reversed(range(steps)):
        values = Transfer(at_time(row, k * h), system, n=n).operator(h) @ values
    return values


def exact_mean(system, positions, n=49):
    """E[cos X_1] from positions: the backward equation of the generator at each time."""
    from scipy.integrate import solve_ivp

    basis = Basis("trigonometric", n, 0, 2 * np.pi)
    x, wave = basis.nodes[:, None], 1j * np.arange(-(n // 2), n // 2 + 1)
    D = ((basis.values(basis.nodes) * wave) @ basis.inverse).real
    K = system.mobility(x)[:, 0, 0]

    def backward(s, u):
        t = 1 - s
        return system.drift(x, t)[:, 0] * (D @ u) + system.temperature_at(t) * K * (D @ (D @ u))

    u = solve_ivp(backward, (0, 1), np.cos(basis.nodes), method="DOP853", rtol=1e-10, atol=1e-11).y[:, -1]
    return (basis.values(positions[:, 0]) @ basis.inverse @ u).real


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("scheme", "mobility"),
    [
        ("euler-maruyama", "1 + 0.5*sin(x)"),
        ("milstein", "1 + 0.5*sin(x)"),
        ("lamperti", "1 + 0.5*sin(x)"),
        ("leimkuhler-matthews", 1.0),
    ],
)
def test_weak_orders_while_it_cools(scheme, mobility):
    system, steps = circle(mobility, SCHEDULE), STEPS[1:]
    positions = Transfer(at_time(registry()[scheme], 0.0), system, n=49).positions
    exact = exact_mean(system, positions)
    found = np.array([abs(mean_at(scheme, system, h) - exact).max() for h in steps])
    assert abs(slopes(steps, found)[-1] - registry()[scheme].weak_order["gaussian"]) < 0.12, slopes(steps, found)
    frozen = exact_mean(circle(mobility, schedule(0.0)), positions)
    assert abs(frozen - exact).max() > 20 * found[-1]


def test_who_refuses_it():
    machine = rs.diffusion_machine("x", temperature=0.3)
    assert "depends on time" in registry()["sphere"].why_not(machine.replace(temperature=SCHEDULE))
    free = rs.System("x**2", "1 + x**2", SCHEDULE)
    assert "unbounded; give bounds" in registry()["lamperti"].why_not(free)
    assert choose("auto", free).id == "milstein"
    assert choose("auto", spring(SCHEDULE)).id == "leimkuhler-matthews"


# ---- compiled steps


@pytest.mark.parametrize("scheme", ["euler-maruyama", "leimkuhler-matthews"])
def test_compiled_steps_take_the_temperature_of_their_time(scheme):
    """With one seed the kicks at T(t) are those at T = 1 times sqrt(T), step by step; the run starts at t = 1/2."""
    free, times = rs.System("0*x", 1.0, 1.0, rs.Domain([(-50, 50)])), 0.5 + 0.25 * np.arange(9)

    def moves(system, scheme):
        path = rs.simulate(system, rs.initial.point(0.0), n_particles=100, dt=0.25, times=times, rng=5, scheme=scheme)
        return np.diff(path.positions[..., 0], axis=0)

    kicks = np.sqrt(schedule(times[:-1]))[:, None] * moves(free, "euler-maruyama")
    found = moves(free.replace(temperature=SCHEDULE), scheme)
    if scheme == "euler-maruyama":
        np.testing.assert_allclose(found, kicks, rtol=1e-9)
    else:  # what is reported is ahead of the state by half of the coming kick
        np.testing.assert_allclose(found[1:-1], 0.5 * (kicks[1:-1] + kicks[2:]), rtol=1e-9)


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nothing_reads_the_constant_temperature(dtype):
    """m[0] is nan: no line of a kernel may use it."""
    system = rs.System("x**2 + y**2", [[1.0, 0.5], [0.5, 1.0]], SCHEDULE, rs.Domain.hypercube(2))
    for scheme, lepingle in (("euler-maruyama", False), ("euler-maruyama", True)):
        source = kernel_source(Plan(system, registry()[scheme], "gaussian", lepingle, False, dtype))
        assert "model_temperature(m, t)" in source
        assert "m[0]" not in source
        assert "model[0]" not in source
    assert np.isnan(ArrayModel(system)._values[0])
    assert "model_temperature" in walls.push_source(system)
    still = system.replace(temperature=1.0)
    assert "model_temperature" not in kernel_source(Plan(still, registry()["euler-maruyama"]))
