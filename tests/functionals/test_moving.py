"""track where T(t) and E(x, t) move: an Ornstein-Uhlenbeck process that is cooled and dragged, known in closed form.

E = (x - c(t))^2/2 with c = SPEED t, K = 1 and T = COLD + HOT exp(-RATE t): the law stays normal, with
m' = -(m - c) and s' = -2 s + 2 T.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import quad

from functionals.gaussian import bin_masses
from relaxsim import testing
from relaxsim.density import FokkerPlanck
from relaxsim.errors import CheckFailedError, InputError
from relaxsim.functionals import dissipation, track
from relaxsim.functionals.bins import Bins, cell_of, weights_to_the_ends
from relaxsim.functionals.tail import gap_from_tail
from relaxsim.particles.observables import Histogram
from relaxsim.plotting import relaxation
from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.grid import Grid
from relaxsim.system.initial import normal
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.system import System
from relaxsim.system.temperature import Temperature
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.nojit

COLD, HOT, RATE, SPEED = 0.2, 1.0, 0.7, 0.5
MEAN, VARIANCE = 1.5, 0.3  # at time 0
TIMES = np.array([0.0, 0.3, 0.8, 1.5, 4.0])
SYSTEM = System(
    Energy("(x - v*t)**2/2", params={"v": SPEED}),
    temperature=Temperature("c + h*exp(-r*t)", params={"c": COLD, "h": HOT, "r": RATE}),
)
MUTANT = System("(x - 0.5*t)**2/2", temperature=COLD + HOT)  # T(0) at all times


def heat(t):
    return COLD + HOT * np.exp(-RATE * t)


def law(t):
    """Distance of the mean from the centre of the well, and variance."""
    away = (MEAN + SPEED) * np.exp(-t) - SPEED
    decay = np.exp(-2 * t)
    return away, VARIANCE * decay + COLD * (1 - decay) + 2 * HOT * (np.exp(-RATE * t) - decay) / (2 - RATE)


def exact(t):
    """U, S, KL, ln Z, dissipation and power at a time."""
    (away, s), T = law(t), heat(t)
    energy, entropy = (away**2 + s) / 2, (1 + np.log(2 * np.pi * s)) / 2
    kl = (away**2 / T + s / T - 1 - np.log(s / T)) / 2
    lost = away**2 + s * (1 - T / s) ** 2  # <(T d ln p + dE)^2>
    power = -SPEED * away + RATE * HOT * np.exp(-RATE * t) * entropy  # <dE/dt> - S dT/dt
    return SimpleNamespace(
        energy=energy, entropy=entropy, kl=kl, log_z=np.log(2 * np.pi * T) / 2, lost=lost, power=power
    )


@pytest.fixture(scope="module")
def ensemble():
    """Particles drawn from the closed form, followed over all times."""
    rng, n = np.random.default_rng(31), 20_000
    away, s = law(TIMES)
    x = [away[0] + np.sqrt(s[0]) * rng.standard_normal(n)]
    for k, step in enumerate(np.diff(TIMES)):
        added = s[k + 1] - s[k] * np.exp(-2 * step)
        x.append(away[k + 1] + (x[k] - away[k]) * np.exp(-step) + np.sqrt(added) * rng.standard_normal(n))
    positions = np.stack(x)[..., None] + SPEED * TIMES[:, None, None]
    return SimpleNamespace(system=SYSTEM, times=TIMES, positions=positions)


def density_on(cells):
    equation = FokkerPlanck(SYSTEM, Grid(SYSTEM.domain, cells, bounds=[(-7, 8)]))
    return equation.evolve(normal([MEAN], VARIANCE**0.5), TIMES)


@pytest.fixture(scope="module")
def density():
    return density_on(300)


@pytest.fixture(scope="module")
def record(ensemble):
    return track(ensemble)


# ---------------------------------------------------------------------------------------------- values


def expected_on_bins(bins):
    """KL, F and U of the exact law on the bins, both laws in closed form."""
    rows = []
    for t in TIMES:
        (away, s), T, center = law(t), heat(t), SPEED * t
        p, q = bin_masses(bins, [center + away], [s]), bin_masses(bins, [center], [T])
        with np.errstate(divide="ignore", invalid="ignore"):
            kl = np.where(p > 0, p * np.log(p / q), 0.0).sum()
        rows.append((kl, T * (kl - exact(t).log_z), exact(t).energy))
    return np.array(rows).T


def test_an_ensemble_agrees_with_the_closed_form(record):
    kl, free_energy, energy = expected_on_bins(record.bins)
    assert_within("track: a law that is cooled and dragged", record.kl, kl, record.kl_stderr)
    assert_within("track: a law that is cooled and dragged", record.free_energy, free_energy, record.free_energy_stderr)
    assert_within("track: a law that is cooled and dragged", record.energy, energy, record.energy_stderr)
    np.testing.assert_array_equal(record.temperature, SYSTEM.temperature(TIMES))
    np.testing.assert_allclose(record.log_partition, exact(TIMES).log_z, atol=1e-6)
    np.testing.assert_allclose(record.free_energy, record.energy - record.temperature * record.entropy, rtol=1e-12)
    assert record.groups.mean(axis=0) == pytest.approx(record.free_energy, abs=0.1)


def test_the_temperature_of_the_start_throughout_is_rejected(ensemble, record):
    mutant = track(SimpleNamespace(**{**vars(ensemble), "system": MUTANT}))
    kl, free_energy, _ = expected_on_bins(mutant.bins)
    assert_rejected("track: a law that is cooled and dragged", mutant.kl, kl, record.kl_stderr)
    assert_rejected(
        "track: a law that is cooled and dragged", mutant.free_energy, free_energy, record.free_energy_stderr
    )


def test_the_energy_of_the_start_throughout_is_rejected(ensemble, record):
    still = SimpleNamespace(**{**vars(ensemble), "system": SYSTEM.with_params(v=0.0)})
    expected = expected_on_bins(record.bins)[2]
    assert_rejected("track: a law that is cooled and dragged", track(still).energy, expected, record.energy_stderr)


def test_a_density_agrees_with_the_closed_form_to_second_order(density):
    coarse, found, known = track(density_on(150)), track(density), exact(TIMES)
    expected = {"kl": known.kl, "energy": known.energy, "entropy": known.entropy, "dissipation": known.lost}
    expected["free_energy"] = heat(TIMES) * (known.kl - known.log_z)
    for name, values in expected.items():
        error, before = (np.abs(getattr(each, name) - values).max() for each in (found, coarse))
        assert error < 3e-3, name
        assert 3.7 < before / error < 4.3, name
    np.testing.assert_allclose(found.log_partition, known.log_z, atol=1e-9)
    work = [quad(lambda t: exact(t).power, 0, t)[0] for t in TIMES]
    np.testing.assert_allclose(found.work, work, atol=5e-4)
    assert work[-1] > 1
    lost = [quad(lambda t: exact(t).lost, 0, t)[0] for t in TIMES]
    np.testing.assert_allclose(found.work - (found.free_energy - found.free_energy[0]), lost, atol=1e-3)


def test_ensemble_and_density_meet_on_the_same_bins(record, density):
    binned = track(density, like=record)
    assert binned.bins is record.bins
    kl, free_energy, _ = expected_on_bins(record.bins)
    np.testing.assert_allclose(binned.kl, kl, atol=4e-3)
    np.testing.assert_allclose(binned.free_energy, free_energy, atol=4e-3)
    np.testing.assert_allclose(binned.dissipation, exact(TIMES).lost, atol=4e-3)  # on its own grid


def counted_by(grid, ensemble, system=SYSTEM, times=TIMES):
    """The path of a histogram that looked at all times, of which no positions are stored."""
    law, n = Histogram(grid), grid.n_cells
    cells = np.stack([cell_of(x, grid) for x in ensemble.positions])
    law.counts = np.stack([[np.bincount(row[r::24], minlength=n) for r in range(24)] for row in cells])
    law.times, law.n_particles, law.outside = times, ensemble.positions.shape[1], np.zeros(times.size)
    return SimpleNamespace(system=system, times=times[:0], positions=None, observables={"law": law})


def test_a_histogram_is_measured_like_the_positions(ensemble):
    counted = track(counted_by(Grid(SYSTEM.domain, 60, bounds=[(-6, 6)]), ensemble))
    stored = track(ensemble, like=counted)
    for name in ("kl", "free_energy", "kl_stderr", "groups", "log_partition", "temperature"):
        np.testing.assert_allclose(getattr(counted, name), getattr(stored, name), rtol=1e-9, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(counted.log_partition, exact(TIMES).log_z, atol=1e-6)
    np.testing.assert_allclose(counted.energy, stored.energy, atol=0.01)  # that of cells
    assert np.ptp(stored.energy) > 0.5


def test_a_temperature_may_rise_beyond_the_box_of_the_start():
    """The Gibbs law of the end is ten times as wide as that of the start, and stands elsewhere."""
    system = System("(x - 20*t)**2/2", temperature="0.1 + 10*t")
    times = np.array([0.0, 0.5, 1.0])
    positions = np.random.default_rng(3).standard_normal((3, 400, 1))
    bins = Bins.fit(system, positions, times=times)
    for t in times:
        assert bins.at(t).log_partition == pytest.approx(np.log(2 * np.pi * (0.1 + 10 * t)) / 2, abs=2e-6)
        assert bins.at(t).gibbs.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("kept", "asked"), [(10**6, 1), (0, 2), (150, None)])
def test_gibbs_masses_are_asked_for_once_a_time_if_they_can_be_kept(monkeypatch, ensemble, record, kept, asked):
    """For the mean, for the bins and to see how narrow they are; too many to keep are asked for again, by bins only."""
    seen = []

    def counting(system, grid, t=0.0):
        seen.append(t)
        return log_cell_weights(system, grid, t)

    monkeypatch.setattr("relaxsim.functionals.bins.log_cell_weights", counting)
    monkeypatch.setattr("relaxsim.functionals.moving._KEPT", kept)
    found = track(ensemble)
    if asked is None:  # two times are kept of the five
        assert [seen.count(t) for t in TIMES] == [1, 1, 2, 2, 2]
    else:
        assert [seen.count(t) for t in TIMES] == [asked] * len(TIMES)
    np.testing.assert_array_equal(found.kl, record.kl)
    np.testing.assert_array_equal(found.groups, record.groups)


def test_cells_that_reach_to_the_ends_hold_the_law_of_their_time():
    grid = Grid(SYSTEM.domain, 16, bounds=[(-1, 1)])
    for t in (0.0, 4.0):
        log_weights, log_z = weights_to_the_ends(SYSTEM, grid, t, Grid.covering(SYSTEM, 2, times=TIMES).bounds)
        assert log_z == pytest.approx(exact(t).log_z, abs=1e-6)
        expected = bin_masses(SimpleNamespace(grid=grid, labels=np.arange(16)), [SPEED * t], [heat(t)])
        np.testing.assert_allclose(np.exp(log_weights), expected, atol=1e-6)


def test_a_moving_energy_on_a_manifold_is_its_own():
    """U is without what the measure adds, and F that of the path."""
    sphere = System("cos(x)*(1 + t)", temperature=0.5, domain=Domain([(0.0, np.pi)])).on_manifold("sin(x)")
    path = FokkerPlanck(sphere, Grid(sphere.domain, 60)).evolve(normal([1.5], 0.3), [0.0, 0.4, 1.0], step=0.1)
    found = track(path)
    np.testing.assert_allclose(found.kl, path.kl, rtol=1e-12)
    np.testing.assert_allclose(found.free_energy, path.free_energy, rtol=1e-12)
    own = (path.mass @ np.cos(path.grid.points[:, 0])) * (1 + path.times)
    np.testing.assert_allclose(found.energy, own, atol=1e-3)
    assert not any("temperature" in axes.get_ylabel() for axes in relaxation(found).axes)  # it stays


# ---------------------------------------------------------------------------------------------- what is not promised


def test_free_energy_rises_by_work_and_nobody_calls_it_a_fault(record, density):
    for each in (record, track(density)):
        assert each.moving
        assert np.diff(each.free_energy).max() > 0.2
        result = each.check_monotone()
        assert result.monotone is None
        assert "F may rise by the work done" in str(result)
        with pytest.raises(InputError, match="may rise by the work done"):
            testing.assert_monotone(each)


def test_what_backward_euler_promises_can_be_tested():
    equation = FokkerPlanck(SYSTEM, Grid(SYSTEM.domain, 60, bounds=[(-7, 8)]))
    path = equation.evolve(normal([MEAN], VARIANCE**0.5), TIMES, "backward-euler", step=0.05)
    testing.assert_monotone(-path.dissipated)
    with pytest.raises(CheckFailedError, match="rises"):
        testing.assert_monotone(path.free_energy)


def test_an_ensemble_has_no_dissipation(record):
    assert not record.has_dissipation
    with pytest.raises(InputError, match="changes by work too; the record of a density"):
        _ = record.dissipation
    assert "dissipation" not in record.to_dict()
    assert set(record.to_dict()) >= {"temperature", "log_partition"}
    assert record.work is None


def test_what_needs_one_gibbs_law_is_refused(ensemble, record, density):
    with pytest.raises(InputError, match=r"track\(path\)\.dissipation"):
        dissipation(density)
    with pytest.raises(InputError, match="no tail of one rate"):
        gap_from_tail(record)
    with pytest.raises(InputError, match="gap: the energy or temperature depends on time"):
        relaxation(record, gap=1.0)


def test_bins_go_with_their_times_and_their_schedule(ensemble, record):
    path = SimpleNamespace(**{**vars(ensemble), "times": TIMES + 0.1})
    with pytest.raises(InputError, match=r"t = 0\.1 is none of them"):
        track(path, like=record)
    for other, words in ((MUTANT, "expected temperature 1.2"), (SYSTEM.with_params(v=0.1), "same energy")):
        with pytest.raises(InputError, match=words):
            track(SimpleNamespace(**{**vars(ensemble), "system": other}), like=record)


def test_bins_that_move_serve_a_system_that_does_not():
    """E that names t and does not change is the same energy: what moves is for the path to say, not for the bins."""
    still = System("x**2/2", temperature=COLD)
    named = System(Energy("(x - v*t)**2/2", params={"v": 0.0}), temperature=COLD)
    positions = np.random.default_rng(5).normal(0.0, 0.6, (2, 5_000, 1))
    paths = [SimpleNamespace(system=each, times=np.array([0.0, 1.0]), positions=positions) for each in (still, named)]
    moving = track(paths[1])
    found = track(paths[0], like=moving)
    np.testing.assert_allclose(found.free_energy, moving.free_energy, rtol=1e-12)
    assert not found.moving
    assert found.check_monotone().monotone is not None
    grid = Grid(still.domain, 64, bounds=[(-3, 3)])
    density = FokkerPlanck(still, grid).evolve(normal([0.5], 0.3), [0.0, 1.0])
    same = track(density, like=track(paths[0]))
    np.testing.assert_allclose(track(density, like=moving).free_energy, same.free_energy, rtol=1e-3)


def test_a_histogram_goes_with_the_times_and_the_schedule_of_its_bins(ensemble):
    """Also where no positions are stored, and the path itself has no times."""
    grid = Grid(SYSTEM.domain, 60, bounds=[(-6, 6)])
    record = track(counted_by(grid, ensemble))
    colder = SYSTEM.replace(temperature="0.2 + 0.2*exp(-t)")
    for path, words in (
        (counted_by(grid, ensemble, times=TIMES + 0.1), r"t = 0\.1 is none of them"),
        (counted_by(grid, ensemble, colder), r"expected temperature 0\.4 at t = 0, got 1\.2"),
    ):
        with pytest.raises(InputError, match=words):
            track(path, like=record)


def test_bins_too_coarse_for_the_coldest_time_are_warned_of():
    """64 cells of a box for T = 5 at T = 0.0005: the law of the end lies in two of them, whatever its width."""
    system = System("x**2/2", temperature="0.0005 + 5*exp(-5*t)")
    times, rng = np.array([0.0, 4.0]), np.random.default_rng(6)
    positions = np.array([5.0**0.5, 0.05])[:, None, None] * rng.standard_normal((2, 4_800, 1))
    path = SimpleNamespace(system=system, times=times, positions=positions)
    with pytest.warns(UserWarning, match=r"at t = 4, T = 0\.0005") as caught:
        coarse = track(path)
    assert caught[0].filename == __file__
    kl = (0.05**2 / 0.0005 - 1 - np.log(0.05**2 / 0.0005)) / 2
    assert coarse.kl[1] < 0.5 * kl
    grid = Grid(system.domain, 4096, bounds=[(-15, 15)])
    assert track(counted_by(grid, path, system, times)).kl[1] > 0.8 * kl


def test_in_many_dimensions_the_energy_is_left():
    system = System("(x - t)**2 + y**2 + z**2 + w**2", temperature="1 + t")
    rng = np.random.default_rng(4)
    path = SimpleNamespace(system=system, times=TIMES, positions=rng.standard_normal((5, 50, 4)))
    with pytest.warns(UserWarning, match="need bins"):
        found = track(path)
    assert found.moving
    assert np.isnan(found.free_energy).all()
    np.testing.assert_allclose(
        found.energy, np.sum((path.positions - np.array([1, 0, 0, 0]) * TIMES[:, None, None]) ** 2, axis=2).mean(axis=1)
    )


# ---------------------------------------------------------------------------------------------- the picture


def test_the_picture_shows_the_schedule(record, density):
    figure = relaxation(record, track(density))
    top, _, energy, entropy, lost, work, temperature = figure.axes
    level = next(line for line in top.lines if "equilibrium" in str(line.get_label()))
    np.testing.assert_allclose(level.get_ydata(), -heat(TIMES) * exact(TIMES).log_z, atol=1e-5)
    np.testing.assert_array_equal(temperature.lines[0].get_ydata(), SYSTEM.temperature(TIMES))
    assert "dot W" in lost.get_ylabel()
    assert len(lost.containers) == 0  # the density alone knows it
    assert temperature.get_xlabel()
    assert "work" in work.get_ylabel()
    assert not any(axes.get_xlabel() for axes in (top, energy, entropy, lost, work))


def test_an_ensemble_alone_leaves_the_dissipation_out(record):
    figure = relaxation(record)
    assert len(figure.axes) == 5
    assert "T(t)" in figure.axes[-1].get_ylabel()
