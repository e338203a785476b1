"""The parts that the experiments on networks and their geometry are made of, against numbers from elsewhere.

Fixed points and cycles of the discrete networks are from enumeration in exact arithmetic; those of the continuous ones
and the numbers of geodesics and divergences from root finding and closed forms at 40 digits.
"""

from __future__ import annotations

import numpy as np
import pytest

from relaxsim.theorems.continuous_hopfield import log_sum, softmax
from relaxsim.theorems.diffusion_machines import slowest_rate
from relaxsim.theorems.discrete import all_states, all_units, energy, one_unit
from relaxsim.theorems.geodesics import arc, soft_distance
from relaxsim.theorems.mirror import bernoulli
from relaxsim.theorems.smooth import jacobian, orders, runge_kutta, simpson

pytestmark = pytest.mark.nojit


def found(states, chosen):
    return sorted(map(tuple, states[chosen].astype(int).tolist()))


# ---- discrete networks

W4 = np.array([[0.0, 1, -1, 2], [1, 0, 1, -1], [-1, 1, 0, 1], [2, -1, 1, 0]])
B4 = np.array([0.5, 0.0, -0.5, 0.25])


def test_fixed_points_and_cycles_of_a_small_network():
    x = all_states(4)
    once = all_units(W4, B4, x)[0]
    twice = all_units(W4, B4, once)[0]
    rest = np.all(once == x, axis=1)
    assert found(x, rest) == [(-1, -1, -1, -1), (-1, 1, 1, -1), (1, -1, -1, 1), (1, 1, 1, 1)]
    cycling = np.all(twice == x, axis=1) & ~rest
    assert found(x, cycling) == [(-1, 1, -1, 1), (1, -1, 1, -1), (1, -1, 1, 1), (1, 1, -1, 1)]
    assert energy(W4, B4, x, 0.5).min() == -4.25
    for unit, after in enumerate(one_unit(W4, B4, x)):
        assert np.all(np.delete(after == x, unit, axis=1)), "one unit at a time"


def test_a_unit_without_a_field_keeps_its_value():
    x = all_states(2)
    assert np.array_equal(all_units(np.zeros((2, 2)), np.zeros(2), x)[0], x)


def test_fixed_points_of_two_layers():
    W, h = np.array([[1.0, -1, 2], [0, 1, 1]]), np.array([1 / 3, -1 / 3, 0.25, 0.0, -0.25])
    U = np.block([[np.zeros((2, 2)), W], [W.T, np.zeros((3, 3))]])
    x = all_states(5)
    rest = np.all(all_units(U, h, x)[0] == x, axis=1)
    assert found(x, rest) == [(-1, -1, -1, -1, -1), (-1, -1, -1, 1, -1), (1, -1, 1, -1, 1), (1, 1, 1, 1, 1)]
    assert energy(U, h, x, 0.5).min() == pytest.approx(-14 / 3, rel=1e-14)


# ---- memories in continuous time

V = np.array([[1.0, 0, 0], [0, 1, 0], [-np.sqrt(0.5), 0, np.sqrt(0.5)], [0, 0.6, -0.8]])


@pytest.mark.parametrize(
    ("beta", "start", "fixed", "rates", "low"),
    [
        (
            4.0,
            [1.0, 0, 0],
            [0.9473267006608641, 0.04025190436256484, -0.019099195194245588],
            [-0.9903537397527455, -0.9568959202041925, -0.6504018314305792],
            -0.5108881550570001,
        ),
        (
            1.0,
            [0.1, 0.1, 0.1],
            [0.09666716447711521, 0.4975639443287432, -0.11198856707396754],
            [-0.906443394296515, -0.7158937268969905, -0.6471187373457973],
            -1.491222901280365,
        ),
    ],
)
def test_fixed_points_of_softmax_attention(beta, start, fixed, rates, low):
    x = np.array(start)
    for _ in range(200):
        x = V.T @ softmax(beta * V @ x)
    np.testing.assert_allclose(x, fixed, rtol=0, atol=1e-14)
    J = jacobian(lambda y: -y + V.T @ softmax(beta * V @ y), x)
    np.testing.assert_allclose(np.linalg.eigvalsh((J + J.T) / 2), rates, rtol=0, atol=1e-13)
    assert x @ x / 2 - log_sum(V @ x, beta) == pytest.approx(low, abs=1e-14)


# ---- geometry


def test_geodesics_and_divergences_of_the_soft_projection():
    x, y, beta = np.array([0.2, 0.7]), np.array([0.9, 0.4]), np.array([1.0, 2.5])
    assert soft_distance(x, y, beta) == pytest.approx(1.144038306223342759, rel=1e-15)
    np.testing.assert_allclose(arc(x, y, 0.5), [0.5707106781186547524, 0.5524430967504948017], rtol=1e-15)
    assert bernoulli(x, y, beta).sum() == pytest.approx(0.7181262564716694215, rel=1e-14)
    assert bernoulli(y, x, beta).sum() == pytest.approx(0.6112711500976911589, rel=1e-14)


def test_the_slowest_rate_of_a_diffusion_machine():
    assert slowest_rate() == pytest.approx(1.531985795330547326, rel=1e-12)


# ---- tools


def test_runge_kutta_has_order_four():
    errors = [abs(runge_kutta(lambda x: -x * x, 1.0, 1 / n, n)[-1] - 0.5) for n in (10, 20, 40)]
    np.testing.assert_allclose(orders(errors), 4.0, atol=0.1)


def test_complex_steps_are_exact():
    x = np.array([0.3, -1.2])
    expected = [[np.cos(0.3) * -1.2, np.sin(0.3)], [0.0, 2 * -1.2]]
    J = jacobian(lambda y: np.stack([np.sin(y[0]) * y[1], y[1] ** 2]), x)
    np.testing.assert_allclose(J, expected, rtol=1e-15)
    np.testing.assert_allclose(jacobian(lambda y: np.sum(y**3), x), 3 * x**2, rtol=1e-15)


def test_simpsons_rule_is_exact_for_cubics():
    t = np.linspace(0, 2, 5)
    values = np.stack([t**3, 1 - t**2], axis=1)
    np.testing.assert_allclose(simpson(values, 0.5), [4.0, 2 - 8 / 3], rtol=1e-15)
