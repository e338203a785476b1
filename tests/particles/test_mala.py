"""MALA is in detailed balance with Gibbs, pair by pair of points, and its mutant without the determinant is not."""

import math

import numpy as np
import pytest

import relaxsim as rs
from particles.test_scheme_orders import BOX, CROSSED, changed
from particles.test_schemes import FULL, ONE, VARYING
from particles.transfer import Transfer, WallTransfer, gibbs_means
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import registry

pytestmark = pytest.mark.nojit


def transition(scheme, system, x, y, h):
    """Density at y of an accepted step from x (m, dim), with the acceptance found by bisection on the uniform."""
    model, dim = ArrayModel(system), system.dim
    S, T = system.mobility.symmetric(x), system.temperature
    factor = np.linalg.cholesky(2 * T * h * S)
    z = np.linalg.solve(factor, (y - x - h * system.drift(x))[..., None])[..., 0]
    low, high = np.zeros(len(x)), np.ones(len(x))
    for _ in range(60):
        middle = 0.5 * (low + high)
        end = scheme.step(model, list(x.T), 0.0, h, [*z.T, middle], [np.zeros(len(x))])
        taken = end[dim] == 1.0
        low, high = np.where(taken, middle, low), np.where(taken, high, middle)
    jump = np.exp(-0.5 * (z**2).sum(axis=1)) / np.abs(np.linalg.det(factor))
    return jump * high


def imbalance(scheme, system, h, n=400):
    """Largest relative difference of q(x) p(x, y) and q(y) p(y, x) over random pairs."""
    rng = np.random.default_rng(8)
    low, high = (np.where(np.isfinite(v), v, w) for v, w in ((system.domain.lower, -2), (system.domain.upper, 2)))
    x = rng.uniform(low, high, (n, system.dim))
    y = x + 0.5 * math.sqrt(h) * (rng.uniform(low, high, x.shape) - x)  # in the box, and no farther than a step goes
    q = [np.exp(-system.energy(v) / system.temperature) for v in (x, y)]
    there, back = q[0] * transition(scheme, system, x, y, h), q[1] * transition(scheme, system, y, x, h)
    return np.max(np.abs(there - back) / np.maximum(there, back))


@pytest.mark.parametrize("system", [VARYING, FULL, CROSSED, BOX], ids=["circle", "full", "crossed", "box"])
@pytest.mark.parametrize("h", [0.05, 0.8])
def test_mala_is_in_detailed_balance(system, h):
    assert imbalance(registry()["mala"], system, h) < 1e-11


@pytest.mark.parametrize("system", [VARYING, FULL, BOX], ids=["circle", "full", "box"])
def test_mala_without_the_determinant_is_not(system):
    mutant = changed("mala", " * model.volume(x, t)[0] / model.volume(p, t)[0]", "")
    assert imbalance(mutant, system, 0.8) > 0.1


def test_mala_refuses_to_leave_the_box():
    """The state stays where it was, bit for bit, and is not counted."""
    model, step = ArrayModel(BOX), registry()["mala"].step
    x = np.array([0.01, 0.99, 0.5])
    x2, y2, count = step(model, [x, x], 0.0, 0.05, [np.array([-3.0, 3.0, 0.0]), np.zeros(3), np.full(3, 1e-12)], [x])
    np.testing.assert_array_equal(x2[:2], x[:2])
    np.testing.assert_array_equal(y2[:2], x[:2])
    np.testing.assert_array_equal(count - x, [0.0, 0.0, 1.0])


def test_mala_has_the_gibbs_law_by_its_operator():
    """To the error of a quadrature over a kink."""
    transfer = Transfer("mala", VARYING)
    for h in (0.2, 0.8):
        np.testing.assert_allclose(transfer.stationary_means(h, ONE), gibbs_means(VARYING, ONE), atol=2e-4)


def test_mala_is_exact_at_a_wall_because_it_refuses_what_is_outside():
    """At a step with which most proposals are outside; the mutant judges their mirror images."""
    system = rs.System("2*x", "1 + x/2", 0.5, rs.Domain.hypercube(1))
    mutant = changed("mala", "stays = model.contains(y)[0]", "y = model.inside(y)\n    stays = y[0] == y[0]")
    (exact,) = gibbs_means(system, [lambda x: x])
    right, wrong = (WallTransfer(row, system, n=8, finest=1e-2).mean(0.2) - exact for row in ("mala", mutant))
    assert abs(right) < 2e-4
    assert abs(wrong) > 1e-2
