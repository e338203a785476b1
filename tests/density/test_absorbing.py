"""Absorbing walls: exact rates of escape and exit times, and that only densities have them."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad

import relaxsim as rs
from density.support import plain_system
from relaxsim.density import at_rest, fokker_planck
from relaxsim.errors import InputError

pytestmark = pytest.mark.nojit

BOTH = rs.Domain([(0, np.pi)], boundary="absorbing")


def planck(system, cells):
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


def slopes(errors):
    errors = np.abs(np.asarray(errors))
    return np.log2(errors[:-1] / errors[1:])


def test_a_domain_says_which_ends_absorb():
    domain = rs.Domain([(0, 1), (0, 1), (0, 1)], boundary=["reflecting", ("absorbing", "reflecting"), "absorbing"])
    assert domain.absorbing == ((False, False), (True, False), (True, True))
    assert domain.absorbs
    assert domain.boundary == ("reflecting", ("absorbing", "reflecting"), "absorbing")
    assert not rs.Domain([(0, 1)]).absorbs
    assert rs.Domain([(0, 1)], boundary=[["reflecting", "reflecting"]]) == rs.Domain([(0, 1)])
    assert hash(domain) != hash(rs.Domain([(0, 1)] * 3))


def test_free_diffusion_between_absorbing_walls():
    """Rates k^2 and modes sin(kx) on (0, pi)."""
    system = rs.System("0*x", temperature=1.0, domain=BOTH)
    errors = []
    for n in (50, 100, 200):
        fp = planck(system, n)
        found = fp.spectrum(3)
        errors.append(found.rates / [1, 4, 9] - 1)
        sine = np.sin(fp.grid.centers[0])
        np.testing.assert_allclose(found.modes[0], sine / sine.sum(), atol=1e-10)
    assert np.all(np.abs(errors[-1]) < 3e-4)
    assert np.all(slopes(errors) > 1.9)


def exit_time(x0, T):
    """From x0 to a wall at 2 that absorbs, with a reflecting one at 0, E = x^2/2 - x, K = 1 + x/2."""

    def energy(x):
        return (x**2 / 2 - x) / T

    def below(y):
        return quad(lambda z: np.exp(energy(y) - energy(z)), 0, y)[0]

    return quad(lambda y: below(y) / (T * (1 + y / 2)), x0, 2.0)[0]


def test_exit_times_on_a_line():
    T, errors = 0.4, []
    system = rs.System("x**2/2 - x", "1 + x/2", T, rs.Domain([(0, 2)], boundary=[("reflecting", "absorbing")]))
    for n in (25, 75, 225):  # cells whose centre lies at 1
        fp = planck(system, n)
        errors.append(fp.mean_first_passage_time()[n // 2] / exit_time(1.0, T) - 1)
    assert abs(errors[-1]) < 5e-5
    assert np.all(np.log(np.abs(np.array(errors[:-1]) / errors[1:])) / np.log(3) > 1.8)
    np.testing.assert_allclose(fp.mean_first_passage_time("x > 1.99"), fp.mean_first_passage_time(), atol=0.07)


def channel(n, ratio=30, absorbing_end=True):
    c, s = np.cos(0.4), np.sin(0.4)
    K = np.array([[c, -s], [s, c]]) @ np.diag([1.0, 1.0 / ratio]) @ np.array([[c, s], [-s, c]])
    walls = ["absorbing" if absorbing_end else "reflecting", "periodic"]
    system = rs.System("0*x + 0*y", K, 1.0, rs.Domain([(0, np.pi), (0, np.pi)], boundary=walls))
    return planck(system, (n, n)), K[0, 0]


def test_wide_offsets_end_at_the_wall():
    """A strip periodic in y with an oblique tensor of ratio 30: exits as on a line with K_xx."""
    errors = []
    for n in (24, 48, 96):
        fp, across = channel(n)
        x = fp.grid.centers[0]
        times, exact = fp.mean_first_passage_time(), x * (np.pi - x) / (2 * across)
        np.testing.assert_allclose(times, times[:, :1] * np.ones((1, n)), rtol=1e-9)
        errors.append(np.abs(times[:, 0] - exact).max() / exact.max())
        escape = fp.spectrum(1).rates[0]
        assert escape == pytest.approx(across, rel=30 / n**2)
    assert errors[-1] < 2e-3
    assert np.all(slopes(errors) > 1.7)


def test_exits_at_the_rate_of_a_whole_jump_are_too_slow(monkeypatch):
    """A mutant: the jump to the wall is as slow as one to a cell beyond it."""
    right = at_rest.exits

    def slow(system, grid):
        return [dataclasses.replace(each, rate=each.rate / 2) for each in right(system, grid)]

    monkeypatch.setattr(at_rest, "exits", slow)
    fp = planck(rs.System("0*x", temperature=1.0, domain=BOTH), 200)
    assert abs(fp.spectrum(1).rates[0] - 1) > 6e-3


def test_forces_toward_the_wall_do_not_overflow():
    """A drop of 500 T between the last centre and the wall."""
    system = rs.System("-1000*x", temperature=0.02, domain=rs.Domain([(0, 1)], boundary=[("reflecting", "absorbing")]))
    with pytest.warns(UserWarning, match="cell Peclet"):
        fp = planck(system, 50)
    assert fp.exit_rates[-1] == pytest.approx(1000 / 0.02, rel=1e-9)  # speed over width: what a stream takes away
    assert np.all(np.isfinite(fp.mean_first_passage_time()))


def test_the_generator_loses_what_the_walls_take():
    fp, _ = channel(24)
    np.testing.assert_allclose(fp.generator.sum(axis=0), -fp.exit_rates, atol=1e-10 * fp.exit_rates.max())
    assert np.all(fp.exit_rates >= 0)
    assert np.all(fp.exit_rates.reshape(24, 24)[8:16] == 0)
    closed, _ = channel(24, absorbing_end=False)
    assert not np.any(closed.exit_rates)


def test_the_current_goes_out_through_the_wall():
    system = rs.System("0*x", temperature=1.0, domain=BOTH)
    fp = planck(system, 200)
    sine = np.sin(fp.grid.centers[0])
    flow = fp.probability_current(sine / sine.sum())[:, 0]
    np.testing.assert_allclose(flow, -np.cos(fp.grid.centers[0]) / 2, atol=2e-4)


def test_what_the_wall_takes_reaches_neither():
    fp = planck(rs.System("0*x", temperature=1.0, domain=BOTH), 400)
    x = fp.grid.centers[0]
    chance = fp.committor("abs(x - 2) < 0.01", "abs(x - 1) < 0.01")
    np.testing.assert_allclose(chance[x < 0.99], x[x < 0.99] / 0.99, atol=2e-3)
    assert chance[-1] == 0


def test_a_grid_inside_the_walls_does_not_feel_them():
    system = rs.System("0*x", temperature=1.0, domain=BOTH)
    fp = rs.FokkerPlanck(system, rs.Grid(BOTH, 20, bounds=[(1, 2)]))
    assert not np.any(fp.exit_rates)


def test_survival_falls_at_the_rate_of_escape():
    fp = planck(rs.System("x**2/2", temperature=0.5, domain=rs.Domain([(-1, 1)], boundary="absorbing")), 100)
    times = np.linspace(0, 4, 9)
    path = fp.evolve(fp.spectrum(1).modes[0], times, tol=1e-4)
    survival = path.mass.sum(axis=1)
    np.testing.assert_allclose(survival, np.exp(-fp.spectrum(1).rates[0] * times), rtol=5e-3)
    with pytest.raises(InputError, match="its walls absorb"):
        rs.track(path)


def test_ensembles_refuse_absorbing_walls():
    system = rs.System("0*x", temperature=1.0, domain=BOTH)
    with pytest.raises(InputError, match=r"absorbing walls are for densities only.*FirstPassage"):
        rs.simulate(system, rs.initial.point([1.0]), n_particles=10, dt=0.1, times=[0, 1], rng=1)


def test_a_domain_with_absorbing_ends_is_saved_whole():
    from relaxsim.system.saved import domain_data, domain_from

    domain = rs.Domain([(0, 1), (0, 1)], boundary=[("absorbing", "reflecting"), "periodic"])
    assert domain_from(domain_data(domain)) == domain


def test_nothing_leaves_through_walls_where_the_mobility_vanishes():
    """K = x (1 - x): rates k (k + 1) of the Legendre polynomials, as between reflecting walls."""
    domain = rs.Domain([(0, 1)], boundary="absorbing")
    fp = planck(rs.System("0*x", "x*(1 - x)", 1.0, domain), 50)
    assert not np.any(fp.exit_rates)
    np.testing.assert_allclose(fp.spectrum(3).rates, [0, 2, 6], atol=2e-3)


def test_walls_that_are_reached_though_the_mobility_vanishes():
    """K = sqrt(x), absorbing at 0, reflecting at 1: tau = 2 sqrt(x) - 2 x^(3/2) / 3."""
    domain, errors = rs.Domain([(0, 1)], boundary=[("absorbing", "reflecting")]), []
    for n in (50, 150, 450):
        fp = planck(rs.System("0*x", "sqrt(x)", 1.0, domain), n)
        x = fp.grid.centers[0]
        exact = 2 * x**0.5 - 2 * x**1.5 / 3
        errors.append(np.abs(fp.mean_first_passage_time() - exact).max())
    assert errors[0] < 1e-2
    assert np.all(np.log(np.array(errors[:-1]) / errors[1:]) > 0.4 * np.log(3))  # sqrt(h), next to the wall


def test_wide_offsets_to_a_wall_do_not_pass_over_forbidden_cells():
    """A layer of infinite energy one cell thick, a cell away from the wall."""
    domain, n = rs.Domain([(0, 1), (0, 1)], boundary=["absorbing", "reflecting"]), 40
    closed = lambda x: (x[..., 0] > 1 / n) & (x[..., 0] < 2 / n)  # noqa: E731
    system = plain_system(lambda x: np.where(closed(x), np.inf, 0.0), [[1.0, 0.24], [0.24, 0.06]], domain)
    leaving = planck(system, n).exit_rates.reshape(n, n)
    assert np.all(leaving[0] > 0)
    assert not np.any(leaving[1:5])
    assert np.any(leaving[-4:-1])


def test_exit_rates_that_move_are_found_once_a_time(monkeypatch):
    fp = planck(rs.System("x*t", temperature=1.0, domain=BOTH), 20)
    asked, found = [], fokker_planck.exit_rates
    monkeypatch.setattr(fokker_planck, "exit_rates", lambda system, grid, t: asked.append(t) or found(system, grid, t))
    path = fp.evolve(rs.initial.uniform([(0, np.pi)]), [0.0, 0.4], step=0.1)
    assert path.mass[-1].sum() < 0.9
    np.testing.assert_allclose(asked, [0.0, 0.1, 0.2, 0.3, 0.4], rtol=1e-12)
    np.testing.assert_array_equal(fp.exit_rates_at(0.2), found(fp.system, fp.grid, 0.2))
