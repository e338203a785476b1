"""Backward Euler: promises kept at every step size, errors in time bounded, steps that fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from density.support import gaussian_masses, general_systems, plain_system, systems, turned
from relaxsim.density import FokkerPlanck
from relaxsim.density.backward_euler import Stepper
from relaxsim.density.generator import build_generator
from relaxsim.density.stepping import steps_per_interval
from relaxsim.errors import ConvergenceError, InputError
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import kl_divergence, log_cell_weights

pytestmark = pytest.mark.nojit


def free_energy(path):
    """F - F_eq in units of T."""
    return kl_divergence(path.mass, path.log_gibbs)


@settings(max_examples=50)
@given(st.one_of(systems(), systems(tensor=True), general_systems()), st.floats(-4.0, 4.0), st.integers(0, 2**32 - 1))
def test_mass_sign_and_monotone_free_energy_at_every_step_size(case, exponent, seed):
    system, grid = case
    log_gibbs, log_partition = log_cell_weights(system, grid)
    stepper = Stepper(build_generator(system, grid, log_gibbs, log_partition))
    rng = np.random.default_rng(seed)
    mass = rng.exponential(size=grid.shape) * (rng.random(grid.shape) < 0.5) * np.isfinite(log_gibbs)
    mass[np.unravel_index(np.argmax(log_gibbs), grid.shape)] += 1e-3
    mass = mass.ravel() / mass.sum()
    before = kl_divergence(mass, log_gibbs.ravel())
    for _ in range(4):
        mass = stepper.step(mass, 10.0**exponent)
        after = kl_divergence(mass, log_gibbs.ravel())
        assert mass.min() >= 0
        assert abs(mass.sum() - 1) < 1e-12
        assert after <= before + 1e-13 * (1 + np.abs(log_gibbs[np.isfinite(log_gibbs)]).max())
        before = after


def double_well(n=32):
    domain = Domain([(-2, 2)])
    system = plain_system(
        lambda x: (x[..., 0] ** 2 - 1) ** 2, lambda x: 1 + 0.5 * np.sin(x) ** 2, domain, temperature=0.5
    )
    return FokkerPlanck(system, Grid(domain, n))


def start(grid, mean=-1.0, variance=0.04):
    return gaussian_masses(grid, np.array([mean]), np.array([[variance]]))


def exact_flow(fp, mass, times):
    """exp(t G) mass from the symmetric eigenvalue problem."""
    root = np.exp(fp.log_gibbs / 2).ravel()
    dense = fp.generator.toarray() * root / root[:, None]
    rates, modes = np.linalg.eigh((dense + dense.T) / 2)
    amplitudes = modes.T @ (mass.ravel() / root)
    return np.stack([(root * (modes @ (np.exp(rates * (t - times[0])) * amplitudes))) for t in times])


@pytest.mark.parametrize("times", [[0.5, 0.6, 1.0, 3.0, 20.0], np.linspace(0, 4, 9), [0.0, 2.0]])
@pytest.mark.parametrize("tol", [1e-2, 1e-3])
def test_chosen_steps_keep_the_error_of_the_free_energy_below_tol(times, tol):
    fp = double_well()
    path = fp.evolve(start(fp.grid), times, "backward-euler", tol=tol)
    exact = kl_divergence(exact_flow(fp, path.mass[0], path.times), fp.log_gibbs.ravel())
    error = np.abs(free_energy(path) - exact)
    assert error.max() < tol
    assert error.max() > tol / 1000  # and no steps are wasted
    assert np.all(np.diff(free_energy(path)) <= 0)


def test_work_grows_like_one_over_tol_and_not_with_the_horizon():
    fp = double_well()
    solves = [fp.evolve(start(fp.grid), [0.0, horizon], "backward-euler", tol=tol).steps for horizon, tol in
              ((10.0, 1e-2), (10.0, 1e-3), (1e6, 1e-3))]  # fmt: skip
    assert 5 * solves[0] < solves[1] < 20 * solves[0]
    assert solves[2] < 1.5 * solves[1]


def test_fixed_step_is_plain_backward_euler():
    fp = double_well(16)
    path = fp.evolve(start(fp.grid), [1.0, 1.5, 1.75], step=0.25)
    inverse = np.linalg.inv(np.eye(16) - 0.25 * fp.generator.toarray())
    expected = [path.mass[0], inverse @ inverse @ path.mass[0], inverse @ inverse @ inverse @ path.mass[0]]
    assert np.allclose(path.mass, expected, rtol=0, atol=1e-14)
    assert path.steps == 3
    assert path.method == "backward-euler"


def test_path_carries_what_a_reader_needs():
    fp = double_well(16)
    path = fp.evolve(start(fp.grid), [2.0])
    assert path.times.tolist() == [2.0]
    assert path.mass.shape == (1, 16)
    assert path.steps == 0
    assert path.system is fp.system
    assert path.grid is fp.grid
    assert path.log_partition == fp.log_partition
    assert np.allclose(path.density.sum() * fp.grid.cell_volume, 1, rtol=1e-14)
    assert "1 times from 2 to 2" in repr(path)


def test_gibbs_stays_at_rest_and_everything_ends_there():
    fp = double_well(24)
    rest = fp.evolve(fp.gibbs, [0.0, 1.0, 1e4])
    assert np.abs(rest.mass - fp.gibbs).max() < 1e-13
    last = fp.evolve(start(fp.grid), [0.0, 1e5], step=1e5 / 64).mass[-1]
    assert np.abs(last - fp.gibbs).sum() < 1e-10


def test_a_generator_out_of_balance_raises_the_free_energy():
    """The check of monotony has power: a current through the wall breaks it."""
    fp = double_well(16)
    generator = fp.generator.tolil()
    generator[0, 15] += 5.0
    generator[15, 15] -= 5.0
    stepper = Stepper(generator.tocsr())
    assert kl_divergence(stepper.step(fp.gibbs, 0.1), fp.log_gibbs) > 1e-9


def test_a_generator_that_loses_mass_or_sign_is_noticed():
    fp = double_well(16)
    for gain in (1e-9, 5e-11):
        with pytest.raises(ConvergenceError, match="changed the total mass by"):
            Stepper(fp.generator + gain * _diagonal(16)).step(fp.gibbs, 1.0)
    assert Stepper(fp.generator + 5e-12 * _diagonal(16)).step(fp.gibbs, 1.0).sum() == pytest.approx(1, abs=1e-15)
    swapped = np.zeros(16)
    swapped[3] = 1.0
    with pytest.raises(ConvergenceError, match=r"masses down to -\d"):
        Stepper(-0.01 * fp.generator).step(swapped, 0.01)


def _diagonal(n):
    from scipy import sparse

    return sparse.eye_array(n, format="csr")


def test_forbidden_cells_stay_empty_and_cut_regions_keep_their_mass():
    domain = Domain([(0.0, 1.0)])
    wall = plain_system(
        lambda x: np.where(np.abs(x[..., 0] - 0.5) < 0.1, np.inf, x[..., 0]), lambda x: np.ones_like(x), domain
    )
    fp = FokkerPlanck(wall, Grid(domain, 20))
    mass = np.where(np.arange(20) < 8, 0.1, 0.0)
    mass[15] = 0.2
    path = fp.evolve(mass, [0.0, 0.1, 10.0])
    closed = np.isneginf(fp.log_gibbs)
    assert closed.sum() == 4
    assert np.all(path.mass[:, closed] == 0)
    assert np.allclose(path.mass[:, :8].sum(axis=1), 0.8, atol=1e-12)


@pytest.mark.parametrize("tensor", [np.diag([1.0, 0.4]), turned(8.0, 0.5)])
def test_factors_are_shared_between_equal_intervals(tensor):
    domain = Domain([(-2, 2)] * 2, boundary=["reflecting", "periodic"])
    system = plain_system(lambda x: x[..., 0] ** 2 + np.cos(np.pi * x[..., 1]), tensor, domain)
    fp = FokkerPlanck(system, Grid(domain, 12))
    mass = gaussian_masses(fp.grid, np.array([0.5, 0.0]), 0.1 * np.eye(2))
    path = fp.evolve(mass, 100.0 + np.linspace(0, 0.3, 4), step=0.1)
    assert path.steps == 3
    assert np.all(np.diff(free_energy(path)) < 0)


def test_a_step_that_does_not_fit_names_the_next_smaller_one():
    with pytest.raises(InputError, match=r"step: 0.3 does not divide .* is 0.25"):
        steps_per_interval(np.array([0.5, 0.5, 1.0]), 0.3)
    with pytest.raises(InputError, match=r"is 0\.1"):
        double_well(16).evolve(np.full(16, 1 / 16), [0.0, 0.2, 0.5], step=0.15)
    with pytest.raises(InputError, match="choose times on a regular lattice"):
        steps_per_interval(np.array([1.0, np.sqrt(2)]), 0.3)
    assert steps_per_interval(np.diff(np.linspace(0, 10, 51)), 1e-3) == [200] * 50
    assert steps_per_interval(np.array([1.0]), 1.0 + 1e-12) == [1]
