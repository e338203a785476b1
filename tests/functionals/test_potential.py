"""Energies behind drifts: exact cases, estimates within their errors, the split without detailed balance."""

import json
from pathlib import Path

import numpy as np
import pytest

import relaxsim as rs
from functionals.trajectories import linear_trajectories, normalised
from relaxsim.errors import InputError, MobilityError, ShapeError
from relaxsim.functionals.kramers_moyal import kramers_moyal
from relaxsim.functionals.linear_drift import linear_split
from relaxsim.functionals.potential import reconstruct
from relaxsim.functionals.stationary_masses import stationary_masses
from statistical_budget import assert_rejected, assert_within

CASES = json.loads((Path(__file__).parents[1] / "data" / "reconstruction.json").read_text())["cases"]
DOF = 23


def tensor_system():
    return rs.System(
        "x**4/4 - x**2/2 + y**2*(1 + 0.3*x)/2",
        rs.Mobility.tensor([["1 + 0.3*sin(y)", "0.2*sin(x*y)"], ["0.2*sin(x*y)", "1.2 + 0.2*cos(x)"]]),
        0.7,
        rs.Domain([(-2.5, 2.5)] * 2),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_linear_drifts_are_split_exactly(case):
    found = linear_split(case["B"], case["S"], case["T"])
    for name, value in (("HessE", found.hessian), ("cov_stationary", found.covariance), ("A", found.antisymmetric),
                        ("K", found.symmetric + found.antisymmetric), ("curl_norm", found.curl_norm),
                        ("entropy_production_rate", found.entropy_production)):  # fmt: skip
        np.testing.assert_allclose(value, case["expect"][name]["value"], rtol=1e-12, atol=1e-14)


def test_a_gradient_is_found_exactly_from_functions():
    system = tensor_system()
    grid = rs.Grid(system.domain, 24, bounds=[(-2, 2)] * 2)
    found = reconstruct(system, grid=grid)
    assert found.reversible is True
    assert found.method == "least-squares"
    true = normalised(system.energy(grid.points).reshape(grid.shape), found.density > 0, grid, 0.7)
    np.testing.assert_allclose(found.energy, true, atol=1e-10)
    # the same drift with the Stratonovich correction forgotten has no energy
    wrong = reconstruct(
        lambda x: (-(1 + 0.3 * np.sin(x[1])) * x[0], -x[1]), [[1.4, 0.0], [0.0, 1.4]], grid, temperature=0.7
    )
    assert wrong.reversible is False


def test_a_drift_without_detailed_balance_is_split_on_a_grid():
    case = CASES[0]
    T, expect = case["T"], case["expect"]
    errors = []
    for n in (20, 40):
        grid = rs.Grid(rs.Domain.unbounded(2), n, bounds=[(-4, 4), (-3, 3)])
        found = reconstruct(
            lambda x: (-x[0] - 2 * x[1], x[0] - 0.5 * x[1]), 2 * T * np.array(case["S"]), grid, temperature=T
        )
        assert found.reversible is False
        assert found.method == "stationary"
        np.testing.assert_allclose(found.curl.mean[0, 1], -expect["curl_norm"]["value"] / T, rtol=1e-6)
        x = grid.points.reshape(n, n, 2)
        energy = np.einsum("...a,ab,...b", x, np.array(expect["HessE"]["value"]), x) / 2
        seen = found.density > 1e-2 * found.density.max()
        off = (found.energy - normalised(energy, found.density > 0, grid, T))[seen]
        errors.append([np.abs(off).max(), np.abs(found.antisymmetric[seen] - expect["A"]["value"][0][1]).max()])
    assert np.all(np.array(errors[1]) < [2e-3, 1.5e-2])
    assert np.all(np.array(errors[0]) > 7 * np.array(errors[1]))  # better than second order
    assert found.entropy_production == pytest.approx(expect["entropy_production_rate"]["value"], rel=1e-3)
    flow = np.gradient(found.current[..., 0], grid.spacing[0], axis=0) + np.gradient(
        found.current[..., 1], grid.spacing[1], axis=1
    )
    assert np.abs(flow).max() < 0.02 * np.abs(found.current).max()


def test_a_force_around_a_circle_is_no_gradient():
    domain = rs.Domain([(0.0, 1.0)], "periodic")
    grid = rs.Grid(domain, 32)
    tilted = reconstruct(lambda x: (0.5 + np.sin(2 * np.pi * x[0]),), 1.0, grid)
    assert tilted.reversible is False
    assert "periodic axis" in str(tilted.curl)
    straight = reconstruct(lambda x: (np.sin(2 * np.pi * x[0]),), 1.0, grid)
    assert straight.reversible is True
    exact = normalised(np.cos(2 * np.pi * grid.centers[0]) / np.pi, np.ones(32, bool), grid, 1.0)
    np.testing.assert_allclose(straight.energy, exact, atol=1e-6)
    # at rest the current is the same everywhere
    np.testing.assert_allclose(tilted.current, tilted.current.mean(), rtol=2e-2)


def test_an_estimate_is_reconstructed_within_its_errors():
    """Two linear systems from 60000 trajectories each, with and without detailed balance."""
    S = np.array([[1.0, 0.3], [0.3, 0.7]])
    balanced = S @ np.array([[1.0, 0.3], [0.3, 0.8]])
    grid = rs.Grid(rs.Domain.unbounded(2), 12, bounds=[(-1.5, 1.5)] * 2)
    x = grid.points.reshape(12, 12, 2)
    for B, T, seed in ((balanced, 0.5, 1), (CASES[0]["B"], 0.5, 2)):
        s = S if seed == 1 else np.array(CASES[0]["S"])
        positions, split = linear_trajectories(B, s, T, 60_000, 7, 0.05, seed)
        found = reconstruct(kramers_moyal(positions, grid, dt=0.05, method="kernel"), temperature=T)
        assert found.reversible is (seed == 1)
        energy = np.einsum("...a,ab,...b", x, split.hessian, x) / 2
        energy = normalised(energy, np.isfinite(found.energy), grid, T)
        at = (slice(3, 9, 5), slice(3, 9, 5))
        name = "reconstruction: energy and mobility of linear systems"
        assert_within(name, found.energy[at], energy[at], found.energy_stderr[at], found.energy_bound[at], dof=DOF)
        assert_within(name, found.mobility[at][..., 0, 0], s[0, 0], found.mobility_stderr[at][..., 0, 0], dof=DOF)
        turn = -(x @ (split.antisymmetric @ split.hessian).T)
        assert_within(name, found.rest[at], turn[at], found.rest_stderr[at], found.rest_bound[at], dof=DOF)
        assert_rejected(name, found.mobility[at][..., 0, 0], 2 * s[0, 0], found.mobility_stderr[at][..., 0, 0], dof=DOF)
    assert_within(
        name, found.antisymmetric[at], 4 / 3, found.antisymmetric_stderr[at], found.antisymmetric_bound[at], dof=DOF
    )
    assert_rejected(
        name, found.antisymmetric[at], 0.0, found.antisymmetric_stderr[at], found.antisymmetric_bound[at], dof=DOF
    )


def test_the_law_at_rest_is_that_of_gibbs():
    system = tensor_system()
    grid = rs.Grid(system.domain, 48)
    points = grid.points.reshape(48, 48, 2)
    mass = stationary_masses(system.drift(points), 0.7 * system.mobility(points), grid)
    exact = np.exp(-system.energy(points) / 0.7)
    assert mass.min() > 0
    assert np.abs(mass - exact / exact.sum()).sum() < 0.01


def test_what_cannot_be_used_is_refused():
    grid = rs.Grid(rs.Domain([(-1, 1)] * 2), 8)
    with pytest.raises(InputError, match="covariance: is missing"):
        reconstruct(["-x", "-y"], grid=grid)
    with pytest.raises(MobilityError, match="positive definite"):
        reconstruct(["-x", "-y"], [1.0, 0.0], grid)
    with pytest.raises(ShapeError, match="drift"):
        reconstruct(["-x", "-y", "x"], 1.0, grid)
    with pytest.raises(InputError, match="shrink the grid's box"):
        reconstruct(["sqrt(x)", "y"], 1.0, grid)
    with pytest.raises(InputError, match="2 problems"):
        reconstruct(["-x", "-y"], 1.0, grid, method="guess", alpha=2.0)
    with pytest.raises(InputError, match="does not decay"):
        linear_split([[1.0, 0.0], [0.0, -1.0]], np.eye(2), 1.0)
    with pytest.raises(InputError, match="grid: is missing"):
        reconstruct(["-x"], 1.0)


@pytest.mark.slow
def test_three_known_systems_from_1e5_trajectories():
    """K and E of a line, of a plane with a tensor, and of a plane with a current, from simulated trajectories."""
    lag = 0.02
    line = rs.System("x**4/4 - x**2/2", "1 + 0.5*sin(x)", 0.5)
    plane = tensor_system()
    turning = rs.System(
        "x**4/4 - x**2/2 + y**2/2", rs.Mobility.constant(1.0).with_antisymmetric([[0, 1.5], [-1.5, 0]]), 0.5
    )
    name = "reconstruction: three systems from 1e5 trajectories"
    for system, cells, box in ((line, 24, 1.8), (plane, 16, 1.6), (turning, 20, 2.4)):
        T = system.temperature
        path = rs.simulate(
            system, rs.initial.gibbs(), n_particles=100_000, dt=lag / 8, times=np.arange(13) * lag, scheme="auto", rng=7
        )
        grid = rs.Grid(system.domain, cells, bounds=[(-box, box)] * system.dim)
        found = reconstruct(kramers_moyal(path, grid, method="kernel"), temperature=T)
        assert found.reversible is (system is not turning)
        at = tuple(np.ix_(*[[cells // 4, cells // 2, 3 * cells // 4]] * system.dim))
        points = grid.points.reshape(*grid.shape, system.dim)
        energy = normalised(system.energy(points), np.isfinite(found.energy), grid, T)
        assert_within(name, found.energy[at], energy[at], found.energy_stderr[at], found.energy_bound[at], dof=DOF)
        K = system.mobility.symmetric(points)
        for a in range(system.dim):
            for b in range(a, system.dim):
                assert_within(
                    name, found.mobility[at][..., a, b], K[at][..., a, b], found.mobility_stderr[at][..., a, b], dof=DOF
                )
        assert_rejected(name, found.energy[at], -energy[at], found.energy_stderr[at], found.energy_bound[at], dof=DOF)
        if system is turning:
            A, stderr, bound = found.antisymmetric[at], found.antisymmetric_stderr[at], found.antisymmetric_bound[at]
            assert_within(name, A, 1.5, stderr, bound, dof=DOF)
            assert_rejected(name, A, -1.5, stderr, bound, dof=DOF)
