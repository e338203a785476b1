"""Lyapunov functions where there are some, and limit cycles reported where there are not."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.lyapunov import lyapunov_function, mobility_of


def box(n, half, dim=2):
    return rs.Grid(rs.Domain.unbounded(dim), n, bounds=[(-half, half)] * dim)


def test_van_der_pol_has_a_limit_cycle_and_no_lyapunov_function():
    found = lyapunov_function(lambda x: (x[1], (1 - x[0] ** 2) * x[1] - x[0]), box(40, 3.0))
    assert found.exists is False
    assert found.value is None
    (cycle,) = found.limit_cycles
    assert cycle.period == pytest.approx(6.6632868593, abs=1e-3)
    assert 0 < cycle.multiplier < 0.01  # it attracts
    np.testing.assert_allclose(np.abs(cycle.points[:, 0]).max(), 2.00862, atol=5e-3)
    assert "limit cycle of period 6.66" in str(found)


def test_a_cycle_that_repels_is_found_too():
    found = lyapunov_function(["-y - x*(1 - x**2 - y**2)", "x - y*(1 - x**2 - y**2)"], box(30, 2.0))
    (cycle,) = found.limit_cycles
    assert found.exists is False
    assert cycle.period == pytest.approx(2 * np.pi, abs=1e-3)
    assert cycle.multiplier > 1


def test_a_center_has_closed_orbits_that_are_no_limit_cycles():
    found = lyapunov_function(["y", "-x"], box(24, 2.0))
    assert found.exists is False
    assert found.limit_cycles == ()
    assert found.recurrent[0].kind == "closed orbit"
    assert found.recurrent[0].multiplier == pytest.approx(1.0, abs=1e-3)


def test_the_energy_of_a_gradient_flow_is_found_across_its_separatrix():
    grid = box(24, 2.0)
    system = rs.System("x**4/4 - x**2/2 + y**2/2 + x/5", temperature=0.1)
    found = lyapunov_function(system, grid)
    assert found.exists is True
    assert len(found.sinks) == 2
    energy = system.energy(grid.points).reshape(grid.shape)
    np.testing.assert_allclose(found.value, energy - energy.min(), atol=0.02)  # the separatrix falls between cells
    for basin in (0, 1):
        within = (found.value - energy)[found.basin == basin]
        np.testing.assert_allclose(within, within[0], atol=1e-4)


def test_a_spiral_has_a_function_that_falls_and_a_positive_mobility():
    def f(x):
        return -x[0] - 2 * x[1], 2 * x[0] - x[1]

    grid = box(32, 2.0)
    found = lyapunov_function(f, grid)
    assert found.exists is True
    points = grid.points.reshape(32, 32, 2)
    inside = np.linalg.norm(points, axis=-1) < 1.5
    exact = 2.5 * np.sum(points**2, axis=-1)
    np.testing.assert_allclose((found.value - exact)[inside], (found.value - exact)[inside][0], atol=1e-4)
    gradient = 5 * points
    drift = np.stack(f(np.moveaxis(points, -1, 0)), axis=-1)
    K = mobility_of(drift, gradient)
    np.testing.assert_allclose(-np.einsum("...ab,...b", K, gradient), drift, atol=1e-12)
    assert np.linalg.eigvalsh(K + np.swapaxes(K, -1, -2)).min() > 0


def test_paths_that_leave_have_no_value():
    found = lyapunov_function(["x - x**3", "y"], box(20, 1.5))
    assert found.exists is True
    assert np.isnan(found.value).all()
    assert "leave the grid" in found.reason


def test_what_cannot_be_used_is_refused():
    with pytest.raises(InputError, match="Grid"):
        lyapunov_function(["-x"], None)
    with pytest.raises(ShapeError, match="drift"):
        lyapunov_function(["-x", "x"], box(8, 1.0, 1))
    with pytest.raises(InputError, match="shrink"):
        lyapunov_function(lambda x: (np.log(x[0]),), box(8, 1.0, 1))
