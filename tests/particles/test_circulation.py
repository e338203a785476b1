"""What a non-reversible mobility K = S + A changes at rest: a current of known circulation, and shorter memory.

With J^a = T d_b (A^{ab} q), parts give for any f and g, in two dimensions and with A^{12} = a,

    E[f Lg - g Lf] = integral of f J.grad g - g J.grad f = 2 T E_q[a (f_x g_y - f_y g_x)]:

twice the rate at which (f, g) sweeps area. For f = x, g = y it is 2 T E_q[a]. Pairs of stored positions measure it:
by the midpoint rule x dy - y dx is x_0 y_1 - y_0 x_1. With A = 0, or any reversible dynamics, it vanishes.

Correlation times are never longer than with A = 0: Hwang, Hwang-Ma & Sheu, Ann. Appl. Probab. 15 (2005) 1433; Duncan,
Lelièvre & Pavliotis, J. Stat. Phys. 163 (2016) 457.
"""

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
from numpy.linalg import matrix_power

import relaxsim as rs
from particles.test_non_reversible import off
from particles.transfer import Transfer, gibbs_means, stationary
from relaxsim.particles.schemes import registry
from relaxsim.system.elementary import sqrt
from statistical_budget import assert_rejected, assert_within

T = 0.5

# ---- on a torus, by operators


OBSERVABLES = (
    lambda x, y: np.sin(x),
    lambda x, y: np.sin(y),
    lambda x, y: np.cos(x),
    lambda x, y: np.cos(y),
    lambda x, y: np.cos(x - y),
)


def torus(p):
    a = "p*(1 + 0.5*sin(x)*cos(y))"
    mobility = rs.Mobility.constant(1.0).with_antisymmetric([["0", a], [f"-{a}", "0"]], params={"p": p})
    domain = rs.Domain([(0, 2 * np.pi)] * 2, boundary="periodic")
    return rs.System("cos(x) + 0.7*cos(y) + 0.5*sin(x + y)", mobility, T, domain)


def rest(backward, law, values):
    """Correlation integrals over variances of observables (nodes, k), for the generator `backward` with `law`."""
    centred = values - law @ values
    integrals = np.linalg.solve(np.outer(np.ones(len(law)), law) - backward, centred)
    return law @ (centred * integrals) / (law @ centred**2)


def of_scheme(scheme, p, h):
    """Area rate of (sin x, sin y), correlation times and spectral gap of a scheme's step.

    The sum over steps is counted from the middle of the first: -h/2. The slowest eigenvalue is real in these systems.
    """
    transfer = Transfer(scheme, torus(p))
    operator = transfer.operator(h)
    law, values = stationary(operator), np.stack([phi(*transfer.x) for phi in OBSERVABLES], axis=-1)
    f, g = values[:, 0], values[:, 1]
    area = law @ (f * (operator @ g) - g * (operator @ f)) / h
    times = h * rest(operator - np.eye(len(operator)), law, values) - h / 2
    gap = -math.log(np.sort(abs(np.linalg.eigvals(operator)))[-2]) / h
    return np.r_[area, times, gap]


@cache
def without_step(p, scheme="euler-maruyama", dropped=None):
    """The same with the error of first order in h removed, from two steps."""
    row = scheme if dropped is None else off(dropped)
    return 2 * of_scheme(row, p, 0.0125) - of_scheme(row, p, 0.025)


@cache
def of_generator(p, n=23):
    """The same from F.grad + T lap in Fourier modes, and the area rate from Gibbs."""
    system = torus(p)
    x = 2 * np.pi * np.arange(n) / n
    points = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    modes = 1j * np.fft.fftfreq(n, 1 / n)[:, None]
    slope = np.fft.ifft(modes * np.fft.fft(np.eye(n), axis=0), axis=0).real
    along = np.kron(slope, np.eye(n)), np.kron(np.eye(n), slope)
    drift = system.drift(points)
    generator = sum(drift[:, a, None] * D + T * D @ D for a, D in enumerate(along))
    law = np.exp(-system.energy(points) / T)
    law /= law.sum()
    (area,) = gibbs_means(
        system, [lambda x, y: 2 * T * p * (1 + 0.5 * np.sin(x) * np.cos(y)) * np.cos(x) * np.cos(y)], 97
    )
    times = rest(generator, law, np.stack([phi(*points.T) for phi in OBSERVABLES], axis=-1))
    gap = -np.sort(np.linalg.eigvals(generator).real)[-2]
    return np.r_[area, times, gap]


@pytest.mark.nojit
@pytest.mark.parametrize("p", [0.0, 2.0, -2.0])
def test_circulation_correlation_times_and_gap_are_those_of_the_equation(p):
    np.testing.assert_allclose(without_step(p), of_generator(p), atol=1e-3)


@pytest.mark.nojit
@pytest.mark.parametrize("dropped", ["divergence dropped", "force of the wrong sign"])
def test_a_mistake_in_the_drift_shows_in_them(dropped):
    assert abs(without_step(2.0, dropped=dropped) - of_generator(2.0)).max() > 0.1


@pytest.mark.nojit
def test_a_current_of_either_sign_shortens_every_correlation_time():
    """By 1.4 to 2.6 here, and the gap grows by 1.4; without A nothing circulates."""
    still, *forth_and_back = (without_step(p) for p in (0.0, 2.0, -2.0))
    assert abs(still[0]) < 1e-6
    for turned, sign in zip(forth_and_back, (1, -1), strict=True):
        assert sign * turned[0] > 0.6
        assert np.all(still[1:-1] / turned[1:-1] > 1.4)
        assert turned[-1] / still[-1] > 1.4


# ---- in the plane, by particles: one kernel for all


def plane(p, q, k, l, g):
    """E = (k x^2 + l y^2)/2 + g (x^4 + y^4)/4, S = 1, A12 = p (1 + q cos x)."""
    energy = rs.Energy("(k*x**2 + l*y**2)/2 + g*(x**4 + y**4)/4", params={"k": k, "l": l, "g": g})
    a = "p*(1 + q*cos(x))"
    A = [["0", a], [f"-{a}", "0"]]
    return rs.System(energy, rs.Mobility.constant(1.0).with_antisymmetric(A, params={"p": p, "q": q}), T)


def mean_and_error(samples):
    """Over particles, which are independent."""
    return samples.mean(axis=0), samples.std(axis=0) / math.sqrt(len(samples))


def without_divergence(model, x, t, h, noise):
    """A step of Euler-Maruyama that forgets T div A."""
    drift, kick, missing = model.drift(x, t), model.kick(x, t, noise), model.antisymmetric_divergence(x, t)
    return [x[a] + (h * (drift[a] - model.temperature * missing[a]) + sqrt(h) * kick[a]) for a in range(2)]


def double_well(p, scheme="euler-maruyama"):
    """Moments and area rate at rest after ten units of time from one side: values, Gibbs values, errors, bias.

    The bias is Euler-Maruyama's at dt = 0.01 and p = 2, from its transfer operator on [-4, 4]^2, whose walls hold less
    than exp(-90): its stationary law has x^2 0.8979, y^2 0.2984, x^4 1.4284, xy 0.0006 and area rate 2.7124. The
    spectral gap of that operator is 1.99: of the start exp(-19.9) is left.
    """
    system, dt = plane(p, 0.5, -1.0, 1.0, 1.0), 0.01
    times = np.r_[0.0, np.arange(1000, 1101) * dt]
    start = rs.initial.normal([1.2, 0.4], 0.3)
    path = rs.simulate(system, start, n_particles=40_000, dt=dt, times=times, scheme=scheme, rng=53)
    x, y = np.moveaxis(path.positions[1:], -1, 0)
    area = np.sum(x[:-1] * y[1:] - y[:-1] * x[1:], axis=0)  # over one unit of time
    found, error = mean_and_error(np.stack([x[-1] ** 2, y[-1] ** 2, x[-1] ** 4, x[-1] * y[-1], area], axis=-1))
    moments = (
        lambda x, y: x**2,
        lambda x, y: y**2,
        lambda x, y: x**4,
        lambda x, y: x * y,
        lambda x, y: 2 * T * 2.0 * (1 + 0.5 * np.cos(x)),
    )
    exact = gibbs_means(system.replace(domain=rs.Domain([(-4, 4)] * 2)), moments, 201)
    return found, exact, error, abs(exact - [0.8979, 0.2984, 1.4284, 0.0006, 2.7124])


def test_a_double_well_reaches_gibbs_and_keeps_turning():
    values = double_well(2.0)
    assert_within("circulation: moments of a double well", *(row[:4] for row in values))
    assert_within("circulation: area rate of a double well", *(row[4] for row in values))
    for p in (0.0, -2.0):
        assert_rejected("circulation: area rate of a double well", *(row[4] for row in double_well(p)))
    row = dataclasses.replace(registry()["euler-maruyama"], step=without_divergence)
    assert_rejected("circulation: moments of a double well", *(row[:4] for row in double_well(2.0, row)))


H = np.diag([1.0, 3.0])


def memory(p, dt=0.01, every=10, last=6.0):
    """Correlation time of the soft axis x with its error, by closed form, and by closed form for the scheme.

    For E = x.Hx/2 the integrals of E[x_t x_0] are those of exp(-Mt) T/H with M = (1 + A) H: M^-1 T/H. A step of
    Euler-Maruyama multiplies by 1 - dt M; what is measured is the trapezoidal sum over the times stored.
    """
    M = np.array([[1.0, p], [-p, 1.0]]) @ H
    n = round(last / (every * dt))
    correlation = [matrix_power(np.eye(2) - dt * M, every * k)[0, 0] for k in range(n + 1)]
    times = every * dt * np.arange(n + 1)
    path = rs.simulate(
        plane(p, 0.0, 1.0, 3.0, 0.0),
        rs.initial.normal([0.0, 0.0], T * np.linalg.inv(H)),
        n_particles=40_000,
        dt=dt,
        times=times,
        scheme="euler-maruyama",
        rng=59,
    )
    x = path.positions[..., 0]
    found, error = mean_and_error(x[0] * np.trapezoid(x, times, axis=0) / (T / H[0, 0]))
    return found, error, np.linalg.inv(M)[0, 0], np.trapezoid(correlation, times)


def test_rotation_shortens_the_memory_of_a_soft_axis_by_the_closed_form():
    """(M^-1)_xx = 1/(1 + p^2): for p = 2 a fifth of the reversible time."""
    (slow, slow_error, *slow_exact), (fast, fast_error, *fast_exact) = memory(0.0), memory(2.0)
    assert slow_exact[0] == pytest.approx(1.0, rel=1e-12)
    assert fast_exact[0] == pytest.approx(0.2, rel=1e-12)
    bias = abs(np.subtract([slow_exact[0], fast_exact[0]], [slow_exact[1], fast_exact[1]]))
    exact, error = [slow_exact[0], fast_exact[0]], [slow_error, fast_error]
    assert np.all(bias < 0.02)
    assert_within("circulation: correlation times", [slow, fast], exact, error, bias)
    assert_rejected("circulation: correlation times", [slow, slow], exact, error, bias)
    ratio, relative = slow / fast, math.hypot(slow_error / slow, fast_error / fast)
    gained = 5.0 * (bias[0] / exact[0] + bias[1] / exact[1])
    assert_within("circulation: gain", ratio, 5.0, ratio * relative, gained)
    assert_rejected("circulation: gain", 1.0, 5.0, ratio * relative, gained)
