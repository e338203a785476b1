"""track: ensembles against the closed form of a Gaussian relaxation, densities against its integrals."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from functionals.gaussian import (
    STIFFNESS,
    bin_masses,
    density,
    ensemble,
    exact_energy,
    exact_kl,
    exact_log_partition,
    law,
    make_system,
)
from relaxsim.errors import InputError
from relaxsim.functionals import track
from relaxsim.functionals.binned import binned_kl, miller_madow
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.nojit

DATA = Path(__file__).parents[1] / "data"
TIMES = np.array([0.0, 0.2, 0.6, 1.2, 3.0])
START = (1.0, 0.1)  # mean and variance at time 0


def expected_on_bins(bins, system):
    """KL, energy and entropy of the exact law on the bins, shape (3, n_times)."""
    rows = []
    for t in TIMES:
        mean, variance = law(system, t, *START)
        p = bin_masses(bins, mean, variance)
        kl = float(np.sum(p * (np.log(p, where=p > 0, out=np.zeros_like(p)) - bins.log_gibbs)))
        energy = exact_energy(system, mean, variance)
        rows.append((kl, energy, energy / system.temperature - kl + bins.log_partition))
    return np.array(rows).T


# ---------------------------------------------------------------------------------------------- ensembles


@pytest.mark.parametrize("dim", [1, 2])
def test_an_ensemble_agrees_with_the_closed_form(dim):
    system = make_system(dim)
    record = track(ensemble(system, TIMES, 30_000, *START, seed=11))
    kl, energy, entropy = expected_on_bins(record.bins, system)
    assert_within("track: KL of an ensemble", record.kl, kl, record.kl_stderr)
    assert_within("track: energy of an ensemble", record.energy, energy, record.energy_stderr)
    assert_within("track: entropy of an ensemble", record.entropy, entropy, record.entropy_stderr)


@pytest.mark.parametrize("dim", [1, 2])
def test_an_ensemble_at_another_temperature_is_rejected(dim):
    system = make_system(dim)
    path = ensemble(system, TIMES, 30_000, *START, seed=11, temperature=1.5 * system.temperature)
    record = track(path)
    kl, energy, entropy = expected_on_bins(record.bins, system)
    assert_rejected("track: KL of an ensemble", record.kl, kl, record.kl_stderr)
    assert_rejected("track: energy of an ensemble", record.energy, energy, record.energy_stderr)
    assert_rejected("track: entropy of an ensemble", record.entropy, entropy, record.entropy_stderr)


@pytest.fixture(scope="module")
def resting_records():
    """Ten ensembles of 10^5 particles drawn from the Gibbs law in 2-D."""
    system = make_system(2)
    rest = system.temperature / np.array(STIFFNESS[:2])
    return [track(ensemble(system, [0.0], 100_000, 0.0, rest, seed)) for seed in range(10)]


def test_kl_at_rest_has_no_bias(resting_records):
    scores = [record.kl[0] / record.kl_stderr[0] for record in resting_records]
    assert_within("track: bias of KL at rest", np.mean(scores), 0.0, 10**-0.5)


def test_kl_at_rest_without_its_correction_is_rejected(resting_records):
    scores = [(record.kl[0] + record.kl_bias_bound[0]) / record.kl_stderr[0] for record in resting_records]
    assert_rejected("track: bias of KL at rest", np.mean(scores), 0.0, 10**-0.5)


@pytest.fixture(scope="module", params=["moving", "resting"])
def repeats(request):
    """200 records of 2000 particles each, all on the same bins."""
    system = make_system(1)
    mean, variance = START if request.param == "moving" else law(system, np.inf, 0.0, 0.0)
    records = []
    for seed in range(200):
        path = ensemble(system, [0.0, 0.3], 2000, mean, variance, seed)
        records.append(track(path, like=records[0] if records else None))
    return request.param, records


def spread_over_stated(records, name):
    values = np.array([getattr(record, name)[-1] for record in records])
    stated = np.array([getattr(record, f"{name}_stderr")[-1] for record in records])
    return np.log(values.std(ddof=1) / stated.mean())


@pytest.mark.parametrize("name", ["kl", "energy", "entropy"])
def test_stated_errors_are_the_true_ones(repeats, name):
    # At rest the bracket in the error formula fluctuates around zero, and its positive part is biased.
    bias = 0.15 if repeats[0] == "resting" and name == "kl" else 0.03
    ratio = spread_over_stated(repeats[1], name)
    assert_within("track: standard errors", ratio, 0.0, 400**-0.5, bias=bias)
    assert abs(ratio) < np.log(1.25)


def test_errors_stated_too_small_are_rejected(repeats):
    ratio = spread_over_stated(repeats[1], "entropy") + np.log(2.5)
    assert_rejected("track: standard errors", ratio, 0.0, 400**-0.5, bias=0.03)


def test_counts_of_the_reference_case():
    cases = json.loads((DATA / "estimators.json").read_text(encoding="utf-8"))["cases"]
    case = next(case for case in cases if case["id"] == "hist")
    counts = np.array(case["counts"])
    # Against equal weights, KL = ln(number of bins) - H.
    uniform = np.full(counts.size, -np.log(counts.size))
    kl = binned_kl(counts, uniform)
    assert np.log(6) - kl == pytest.approx(case["expect"]["miller_madow"]["value"], rel=1e-14)
    plugin = np.log(6) - kl - miller_madow(counts)
    assert plugin == pytest.approx(case["expect"]["plugin"]["value"], rel=1e-14)


def test_the_parts_of_a_record_fit_together():
    system = make_system(2)
    record = track(ensemble(system, TIMES, 5000, *START, seed=12))
    T = system.temperature
    np.testing.assert_allclose(record.free_energy, T * record.kl - T * record.log_partition, rtol=1e-14)
    np.testing.assert_allclose(record.free_energy, record.energy - T * record.entropy, rtol=1e-13)
    np.testing.assert_allclose(record.free_energy_stderr, T * record.kl_stderr, rtol=1e-14)
    np.testing.assert_allclose(record.free_energy_bias_bound, T * record.kl_bias_bound, rtol=1e-14)
    assert record.log_partition == pytest.approx(exact_log_partition(system), abs=1e-8)
    assert record.label == "ensemble"
    assert record.n_particles == 5000
    assert record.groups.shape == (24, TIMES.size)
    assert set(record.to_dict()) >= {"times", "free_energy", "entropy_stderr", "kl_bias_bound"}
    assert "groups" not in record.to_dict()
    assert repr(record).startswith("Relaxation(ensemble, 5 times 0 ... 3, F ")


def test_groups_are_the_jackknife_of_the_whole():
    path = ensemble(make_system(1), TIMES, 6000, *START, seed=13)
    record = track(path, groups=30)
    spread = record.groups.std(axis=0, ddof=1) / np.sqrt(30)
    np.testing.assert_allclose(record.groups.mean(axis=0), record.free_energy, atol=5e-4)
    assert (spread / record.free_energy_stderr < 2.5).all()
    assert (spread / record.free_energy_stderr > 0.5).all()
    # From its definition, for one group at one time: leave its particles out and measure the rest.
    rest = SimpleNamespace(system=path.system, times=path.times, positions=path.positions[:, np.arange(6000) % 30 != 4])
    left = track(rest, like=record).free_energy
    np.testing.assert_allclose(record.groups[4], 30 * record.free_energy - 29 * left, rtol=1e-9)


def test_beyond_three_dimensions_only_the_energy_is_given():
    system = SimpleNamespace(dim=4, temperature=1.0, domain=Domain.hypercube(4), energy=lambda x, t=0.0: x.sum(axis=-1))
    positions = np.random.default_rng(14).uniform(size=(2, 500, 4))
    with pytest.warns(UserWarning, match="up to 3 dimensions; this one has 4"):
        record = track(SimpleNamespace(system=system, times=np.array([0.0, 1.0]), positions=positions))
    np.testing.assert_allclose(record.energy, positions.sum(axis=2).mean(axis=1))
    assert (record.energy_stderr > 0).all()
    for name in ("free_energy", "entropy", "kl", "kl_stderr"):
        assert np.isnan(getattr(record, name)).all()
    assert record.groups is None
    assert record.check_monotone().monotone is None
    with pytest.raises(InputError, match="no bins to measure on"):
        track(SimpleNamespace(system=system, times=np.array([0.0]), positions=positions[:1]), like=record)


def test_particles_where_the_energy_is_infinite():
    domain = Domain([(0.0, 2.0)])
    system = SimpleNamespace(
        dim=1, temperature=1.0, domain=domain, energy=lambda x, t=0.0: np.where(x[..., 0] > 1.5, np.inf, 0.0)
    )
    positions = np.random.default_rng(15).uniform(0, [[[2.0]], [[1.5]]], (2, 4000, 1))
    record = track(SimpleNamespace(system=system, times=np.array([0.0, 1.0]), positions=positions))
    assert record.free_energy[0] == record.kl[0] == record.energy[0] == np.inf
    assert np.isfinite(record.free_energy[1])
    assert record.check_monotone().monotone is None


@pytest.mark.parametrize("n", [1, 2, 10])
def test_tiny_ensembles_are_measured_without_a_warning(n):
    record = track(ensemble(make_system(1), TIMES, n, *START, seed=16))
    assert np.isfinite(record.free_energy).all()
    assert (record.groups is None) == (n == 1)


# ---------------------------------------------------------------------------------------------- densities


@pytest.mark.parametrize("dim", [1, 2])
def test_a_density_agrees_with_the_closed_form_to_second_order(dim):
    system = make_system(dim)
    laws = [law(system, t, *START) for t in TIMES]
    errors = {"kl": [], "energy": []}
    for n in (64, 128):
        record = track(density(system, Grid.covering(system, (n,) * dim), TIMES, *START))
        errors["kl"].append(record.kl - [exact_kl(system, *one) for one in laws])
        errors["energy"].append(record.energy - [exact_energy(system, *one) for one in laws])
        np.testing.assert_allclose(record.free_energy, record.energy - system.temperature * record.entropy, rtol=1e-13)
        assert not record.kl_stderr.any()
        assert not record.entropy_bias_bound.any()
    np.testing.assert_allclose(errors["kl"][1][:4] / errors["kl"][0][:4], 0.25, atol=0.03)
    assert np.abs(errors["kl"][1]).max() < 0.02
    # fourth order, so nothing but the cut tail is left
    assert np.abs(errors["energy"][1]).max() < 1e-6


def test_energy_of_a_density_in_a_box():
    # E = x with a flat law on (0, 2): pressed against both walls.
    system = SimpleNamespace(dim=1, temperature=1.0, domain=Domain([(0.0, 2.0)]), energy=lambda x, t=0.0: x[..., 0])
    grid = Grid(system.domain, 20)
    flat = np.full((1, 20), 1 / 20)
    path = SimpleNamespace(system=system, grid=grid, times=np.zeros(1), mass=flat, log_gibbs=np.log(flat[0]))
    path.log_partition = 0.0
    assert track(path).energy[0] == pytest.approx(1.0, abs=1e-14)


def test_energy_of_a_density_beside_a_forbidden_region():
    # Cells end at 1.2 and 1.4: the one between is cut at 1.3, the rest is allowed or forbidden whole.
    def energy(x, t=0.0):
        return np.where(x[..., 0] > 1.25, np.inf, x[..., 0])

    system = SimpleNamespace(dim=1, temperature=1.0, domain=Domain([(0.0, 2.0)]), energy=energy)
    grid = Grid(system.domain, 10)
    mass = np.zeros((3, 10))
    mass[0, 2] = mass[1, 6] = mass[2, 8] = 1.0
    path = SimpleNamespace(system=system, grid=grid, times=np.arange(3.0), mass=mass, log_partition=0.0)
    path.log_gibbs = np.where(np.arange(10) < 7, np.log(1 / 7), -np.inf)
    record = track(path)
    assert record.energy[0] == pytest.approx(0.5)
    assert 1.2 <= record.energy[1] <= 1.25
    assert record.energy[2] == record.free_energy[2] == np.inf
    np.testing.assert_allclose(record.kl[:2], np.log(7))


def test_a_density_on_the_bins_of_an_ensemble():
    system = make_system(2)
    micro = track(ensemble(system, TIMES, 20_000, *START, seed=17))
    path = density(system, Grid.covering(system, (128, 128)), TIMES, *START)
    macro = track(path, like=micro)
    kl, energy, entropy = expected_on_bins(micro.bins, system)
    np.testing.assert_allclose(macro.kl, kl, atol=1e-7)
    np.testing.assert_allclose(macro.energy, energy, atol=1e-6)
    np.testing.assert_allclose(macro.entropy, entropy, atol=1e-5)
    assert macro.bins is micro.bins
    assert macro.label == "density"
    # On its own grid the density has more KL than on the bins, by what they smooth away.
    assert (track(path).kl > macro.kl).all()
    # Edges that do not align cost little.
    odd = density(system, Grid.covering(system, (100, 75)), TIMES, *START)
    np.testing.assert_allclose(track(odd, like=micro).kl, kl, atol=5e-3)


# ---------------------------------------------------------------------------------------------- input


def test_like_must_be_of_the_same_system():
    path = ensemble(make_system(1), [0.0], 500, *START, seed=18)
    record = track(path)
    same = ensemble(make_system(1, mobility=2.0), [0.0], 500, *START, seed=19)
    assert track(same, like=record).bins is record.bins  # the Gibbs law does not depend on the mobility
    for other, message in [
        (make_system(1, temperature=0.6), "expected temperature 0.6, got 0.5"),
        (make_system(1, domain=Domain([(-9, 9)])), "same domain"),
        (make_system(2), "same domain"),
    ]:
        with pytest.raises(InputError, match=message):
            track(ensemble(other, [0.0], 500, *START, seed=20), like=record)
    steeper = SimpleNamespace(
        dim=1, temperature=0.5, domain=path.system.domain, energy=lambda x, t=0.0: 0.6 * x[..., 0] ** 2
    )
    path.system = steeper
    with pytest.raises(InputError, match="same energy"):
        track(path, like=record)


def test_what_cannot_be_tracked_is_refused():
    path = ensemble(make_system(1), TIMES, 500, *START, seed=21)
    with pytest.raises(InputError, match="path: expected the result of simulate"):
        track([1.0, 2.0])
    with pytest.raises(InputError, match="groups: expected an integer >= 2, got 1"):
        track(path, groups=1)
    with pytest.raises(InputError, match="like: expected a Relaxation, got SimpleNamespace"):
        track(path, like=path)
    macro = density(path.system, Grid.covering(path.system, 64), TIMES, *START)
    with pytest.raises(InputError, match="no bins to measure on"):
        track(path, like=track(macro))
    macro.mass = macro.mass[:, :10]
    with pytest.raises(InputError, match=r"cell masses of shape \(5, 64\), got \(5, 10\)"):
        track(macro)
    path.weights = np.ones((5, 500))
    with pytest.raises(InputError, match="weighted ensembles"):
        track(path)
    path.weights = None
    path.positions[2, 7] = np.nan
    with pytest.raises(InputError, match="finite positions"):
        track(path)
    path.positions = path.positions[:2]
    with pytest.raises(InputError, match=r"n_times = 5.*store='all'"):
        track(path)
