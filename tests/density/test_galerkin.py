"""The yardstick of the order tests: against closed forms, and as precise as they need it."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from density import test_order
from density.galerkin import Step
from density.support import coarsened, plain_system
from relaxsim.system.domain import Domain

pytestmark = pytest.mark.nojit


@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
@pytest.mark.parametrize("dim", [1, 2])
def test_a_wave_decays_by_the_resolvent(dim, boundary):
    """In a flat box a wave of number k keeps the share 1/(1 + tau T k.Kk) of its height."""
    domain, K = Domain([(0, 2)] * dim, boundary=boundary), np.array([1.0, 0.3])[:dim]
    system, tau = plain_system(lambda x: 0.0 * x[..., 0], lambda x: np.broadcast_to(K, x.shape), domain, 0.7), 0.4
    k = np.pi * np.ones(dim) * (1 if boundary == "periodic" else 0.5)
    found = Step(system, lambda x: 1 + 0.6 * np.cos(x * k).prod(axis=-1), tau, 14).masses((7,) * dim)
    means = [np.diff(np.sin(np.linspace(0, 2, 8) * number) / number) / 2 for number in k]
    share = 1 / (1 + tau * 0.7 * (K @ k**2))
    wave = 0.6 * reduce(np.multiply.outer, means)
    assert np.abs(found - 7.0**-dim - share * wave).max() < 1e-7
    assert np.abs(found - 7.0**-dim - 1.01 * share * wave).max() > 1e-5


@pytest.mark.parametrize("name", ["ratio 10, current, reflecting", "ratio 4, current, periodic"])
def test_the_gibbs_law_is_at_rest_and_another_is_not(name):
    system = test_order.case(name)
    step = Step(system, lambda x: np.exp(-system.energy(x) / 0.5), 2.0, 24).masses((12, 12))
    rest = coarsened(np.exp(test_order.log_cell_weights(system, test_order.Grid(system.domain, 48))[0]), (12, 12))
    assert np.abs(step - rest).sum() < 1e-8
    other = Step(system, lambda x: np.exp(-system.energy(x) / 0.6), 2.0, 24).masses((12, 12))
    assert np.abs(other - rest).sum() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "functions", "part"),
    [
        ("ratio 4, current, periodic", 30, 2e-2),
        ("ratio 10, current, reflecting", 30, 1e-2),
        ("ratio 50, reflecting", 40, 1e-2),
    ],
)
def test_more_functions_change_little_of_the_errors_that_are_measured(name, functions, part):
    system = test_order.case(name)
    error = test_order.errors_of(system, (128,), functions=functions)[0]
    assert abs(test_order.errors_of(system, (128,), functions=functions + 8)[0] - error) < part * error
