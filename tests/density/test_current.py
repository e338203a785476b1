"""Currents against closed forms, and the entropy that laws produce."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.density import current
from relaxsim.errors import InputError
from relaxsim.system.relative_entropy import kl_divergence

pytestmark = pytest.mark.nojit

S = np.array([[1.0, 0.4], [0.4, 0.7]])
T = 0.6


def planck(cells, turning=0.0, mobility=S, half=4.0):
    law = rs.Mobility.constant(mobility)
    if turning:
        law = law.with_antisymmetric([[0, turning], [-turning, 0]])
    system = rs.System("x**2/2 + y**2", law, T, rs.Domain([(-half, half)] * 2))
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


def exact_current(points, mean, variance, turning):
    """-S (p grad E + T grad p) - p A grad E of a normal law."""
    p = np.exp(-0.5 * np.sum((points - mean) ** 2, axis=-1) / variance) / (2 * np.pi * variance)
    force = points * [1.0, 2.0]
    A = np.array([[0, turning], [-turning, 0]])
    return -((force - T * (points - mean) / variance) @ S + force @ A.T) * p[:, None]


@pytest.mark.parametrize("turning", [0.0, 0.5])
def test_currents_of_a_normal_law(turning):
    errors = []
    for cells in (32, 64, 128):
        fp = planck(cells, turning)
        found = fp.probability_current(rs.initial.normal([0.5, -0.3], 0.7)).reshape(-1, 2)
        exact = exact_current(fp.grid.points, np.array([0.5, -0.3]), 0.49, turning)
        errors.append(np.abs(found - exact).max() / np.abs(exact).max())
    assert errors[-1] < 0.02
    assert np.log2(errors[-2] / errors[-1]) > 1.7


def test_without_an_antisymmetric_part_nothing_flows_at_rest():
    fp = planck(40)
    rest = np.abs(fp.probability_current(fp.gibbs)).max()
    assert rest < 1e-13 * np.abs(fp.probability_current(rs.initial.normal([0.5, -0.3], 0.7))).max()


def test_current_at_rest_is_that_of_the_antisymmetric_part():
    """J = T A grad q = -A (q grad E)."""
    errors = []
    for cells in (32, 64, 128):
        fp = planck(cells, 0.8, np.eye(2))
        found = fp.probability_current(fp.gibbs).reshape(-1, 2)
        density = fp.gibbs.reshape(-1, 1) / fp.grid.cell_volume
        x, y = fp.grid.points.T
        exact = 0.8 * np.stack([-2 * y, x], axis=-1) * density
        errors.append(np.abs(found - exact).max() / np.abs(exact).max())
    assert errors[-1] < 0.02
    assert np.log2(errors[-2] / errors[-1]) > 1.8


def test_in_one_dimension_it_is_the_mean_of_the_fluxes_through_both_faces():
    system = rs.System("x**2/2", "1 + x**2/3", T, rs.Domain([(-3, 3)]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 60))
    p = rs.initial.normal([1.0], 0.5).masses(system, fp.grid)
    through = -np.cumsum(fp.generator @ p)  # what has left the cells up to each face
    faces = np.concatenate([[0.0], through])
    np.testing.assert_allclose(fp.probability_current(p)[:, 0], (faces[1:] + faces[:-1]) / 2, atol=1e-12)


def test_around_a_ring_the_current_is_seamless():
    ring = rs.System("cos(x)", 1.0, T, rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    fp = rs.FokkerPlanck(ring, rs.Grid(ring.domain, 90))
    law = np.exp(np.cos(fp.grid.centers[0] + 0.4))  # centred at the seam
    found = fp.probability_current(law / law.sum())[:, 0]
    assert np.abs(np.diff(found, append=found[0])).max() < 0.15 * np.abs(found).max()


@pytest.mark.parametrize("mobility", [np.eye(2), S])
def test_entropy_production_is_the_fall_of_kl(mobility):
    """Without an antisymmetric part: sigma = -dKL/dt, to rounding."""
    fp = planck(36, mobility=mobility)
    p = rs.initial.normal([0.5, -0.3], 0.7).masses(fp.system, fp.grid)
    falls = -float((fp.generator @ p.ravel()) @ (np.log(p) - fp.log_gibbs).ravel())
    assert fp.entropy_production(p) == pytest.approx(falls, rel=1e-11)
    assert abs(fp.entropy_production()) < 1e-12
    later = p.ravel() + 1e-6 * (fp.generator @ p.ravel())
    fall = kl_divergence(p, fp.log_gibbs) - kl_divergence(later.reshape(p.shape), fp.log_gibbs)
    assert fall == pytest.approx(1e-6 * falls, rel=1e-3)


def test_at_rest_the_circulation_produces_entropy():
    """v = -A grad E: sigma = <v.(T S)^-1 v> = a^2 <4 y^2 + x^2>/T, with <x^2> = T, <y^2> = T/2."""
    errors = [planck(cells, 0.8, np.eye(2), 4.0).entropy_production() / (3 * 0.64) - 1 for cells in (32, 64, 128)]
    assert abs(errors[-1]) < 0.03
    assert np.log2(errors[-2] / errors[-1]) > 1.7


def test_relaxation_and_circulation_add_up():
    """The whole of a normal law against the integral of J.(T S)^-1 J / p."""
    fp = planck(128, 0.5)
    mean, variance = np.array([0.5, -0.3]), 0.49
    found = fp.entropy_production(rs.initial.normal(mean, np.sqrt(variance)))
    points = fp.grid.points
    J = exact_current(points, mean, variance, 0.5)
    p = np.exp(-0.5 * np.sum((points - mean) ** 2, axis=-1) / variance) / (2 * np.pi * variance)
    exact = np.sum(np.einsum("na,ab,nb->n", J, np.linalg.inv(T * S), J) / p) * fp.grid.cell_volume
    assert found == pytest.approx(exact, rel=0.02)


def test_currents_that_ignore_the_ring_are_seen(monkeypatch):
    """A mutant: jumps around the seam count with their long way back."""
    ring = rs.System("cos(x)", 1.0, T, rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    fp = rs.FokkerPlanck(ring, rs.Grid(ring.domain, 90))
    law = np.exp(np.cos(fp.grid.centers[0] + 0.4))
    right = fp.probability_current(law / law.sum())

    def naive(grid, jumps):
        return (grid.points[jumps.end] - grid.points[jumps.start]), np.zeros(len(jumps.start), dtype=bool)

    monkeypatch.setattr(current, "displacements", naive)
    assert np.abs(fp.probability_current(law / law.sum()) - right).max() > np.abs(right).max()


def test_laws_that_are_refused():
    fp = planck(24)
    with pytest.raises(InputError, match="sum to one"):
        fp.probability_current(np.ones((24, 24)))
    with pytest.raises(rs.ShapeError, match="expected cell masses of the grid's shape"):
        fp.entropy_production(np.ones(24) / 24)
