"""Dissipation, Fisher information and entropy production against closed forms of Gaussian laws."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from functionals.gaussian import cell_masses, density, ensemble, law, make_system
from relaxsim.errors import InputError
from relaxsim.functionals import (
    circulation_cost,
    density_fisher_information,
    dissipation,
    entropy_production,
    fisher_information,
)
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.mobility import Mobility
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.system import System
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.nojit

DATA = Path(__file__).parents[1] / "data"
TIMES = np.array([0.1, 0.3, 0.8, 2.0])


def exact_rates(system, times, mean, variance):
    """-dF/dt, dU/dt and dS/dt of the Gaussian relaxation with K = 1."""
    k = np.array([1.0, 2.0, 1.5])[: system.dim]
    rows = []
    for t in times:
        m, v = law(system, t, mean, variance)
        dm, dv = -k * m, 2 * system.temperature - 2 * k * v
        rate = np.sum(k * (m * dm + dv / 2)), np.sum(dv / (2 * v))
        rows.append((system.temperature * rate[1] - rate[0], *rate))
    return np.array(rows).T


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("method", ["flow", "gradient"])
def test_a_density_agrees_with_the_closed_form_to_second_order(dim, method):
    system = make_system(dim)
    exact = exact_rates(system, TIMES, 1.0, 0.1)
    errors = []
    for cells in (64, 128):
        path = density(system, Grid(system.domain, (cells,) * dim, bounds=[(-4, 4)] * dim), TIMES, 1.0, 0.1)
        found = dissipation(path, method=method)
        errors.append(np.abs(found.value - exact[0]).max())
        np.testing.assert_allclose(found.energy_rate - system.temperature * found.entropy_rate, -found.value)
    assert errors[1] < 0.02 * exact[0].max()
    assert 3.0 < errors[0] / errors[1] < 5.0


def test_the_rates_of_the_reference_cases():
    for case in json.loads((DATA / "ou.json").read_text(encoding="utf-8"))["cases"]:
        k = np.array(case["K"]).reshape(len(case["H"]), -1)
        if case["id"] not in ("ou1d", "ou2d_aniso"):
            continue
        dim = len(k)
        h, temperature = np.array(case["H"]).reshape(dim, dim), case["T"]
        text = " + ".join(f"{h[a, b] / 2}*x{a}*x{b}" for a in range(dim) for b in range(dim))
        domain = Domain([(-6, 6)] * dim)
        system = System(text, mobility=k if dim > 1 else float(k[0, 0]), temperature=temperature, domain=domain)
        grid = Grid(domain, (600,) if dim == 1 else (160, 160))
        log_gibbs, log_partition = log_cell_weights(system, grid)
        for expect in case["expect"]:
            mean, cov = (np.array(expect[name]["value"]).reshape(s) for name, s in (("mean", dim), ("cov", (dim, dim))))
            away = grid.points - mean
            p = np.exp(-0.5 * np.einsum("na,ab,nb->n", away, np.linalg.inv(cov), away))
            path = SimpleNamespace(
                system=system, grid=grid, times=[expect["t"]], mass=(p / p.sum()).reshape(1, *grid.shape),
                log_gibbs=log_gibbs, log_partition=log_partition,
            )  # fmt: skip
            exact = -expect["dF_dt"]["value"]
            for method in ("flow", "gradient"):
                assert dissipation(path, method=method).value[0] == pytest.approx(exact, rel=0.02, abs=2e-3)


def test_an_ensemble_agrees_with_the_means_over_its_intervals():
    system = make_system(1)
    times = np.array([0.2, 0.5, 1.0, 2.0])
    found = dissipation(ensemble(system, times, 30_000, 1.0, 0.1, seed=3))
    fine = [np.linspace(a, b, 201) for a, b in itertools.pairwise(times)]
    # The ensemble starts at times[0] with the initial law.
    exact = np.array([np.trapezoid(exact_rates(system, t - 0.2, 1.0, 0.1), t) / (t[-1] - t[0]) for t in fine]).T
    assert found.times.tolist() == [0.35, 0.75, 1.5]
    names = [("value", exact[0]), ("energy_rate", exact[1]), ("entropy_rate", exact[2])]
    for name, expected in names:
        stderr = found.stderr if name == "value" else getattr(found, f"{name}_stderr")
        loss = found.bias_bound + 0.02 * np.abs(exact[0])  # what the bins smooth away
        assert_within("dissipation: an ensemble", getattr(found, name), expected, stderr, loss)
    half = found.value / 2  # half the noise, half the dissipation
    assert_rejected("dissipation: an ensemble", half, exact[0], found.stderr, found.bias_bound + 0.02 * exact[0])
    assert found.bias_limited.shape == (3,)


def test_slopes_need_times_and_bins():
    path = ensemble(make_system(1), [0.0], 1000, 1.0, 0.1, seed=4)
    with pytest.raises(InputError, match="two times or more"):
        dissipation(path)
    with pytest.raises(InputError, match="path: expected"):
        dissipation([1.0])
    with pytest.raises(InputError, match="method: expected"):
        dissipation(density(make_system(1), Grid.covering(make_system(1), 32), [0.0], 1.0, 0.1), method="slope")


# ---------------------------------------------------------------------------------------------- Fisher information


@pytest.mark.parametrize("dim", [1, 2])
def test_fisher_information_of_densities(dim):
    errors = []
    for cells in (50, 100):
        grid = Grid(Domain([(-6, 6)] * dim), (cells,) * dim)
        mass = cell_masses(grid, np.full(dim, 0.3), np.full(dim, 0.8))
        (found,) = density_fisher_information(SimpleNamespace(grid=grid, mass=mass[None]))
        errors.append(abs(found - dim / 0.8))
    assert errors[1] < 0.01
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_fisher_information_of_a_periodic_density():
    grid = Grid(Domain([(0, 2 * np.pi)], boundary="periodic"), 400)
    mass = np.exp(np.cos(grid.centers[0] - 1.0))
    mass /= mass.sum()
    exact = np.sum(mass * np.sin(grid.centers[0] - 1.0) ** 2)
    (found,) = density_fisher_information(SimpleNamespace(grid=grid, mass=mass[None]))
    assert found == pytest.approx(exact, rel=1e-3)
    (turned,) = density_fisher_information(SimpleNamespace(grid=grid, mass=np.roll(mass, 57)[None]))
    assert turned == pytest.approx(found, rel=1e-12)
    with pytest.raises(InputError, match="path: expected"):
        density_fisher_information(1.0)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_fisher_information_of_particles(dim):
    covariance = np.diag(np.arange(1.0, dim + 1)) + 0.3
    x = np.random.default_rng(1).standard_normal((10_000, dim)) @ np.linalg.cholesky(covariance).T
    exact = np.trace(np.linalg.inv(covariance))
    found = fisher_information(x)
    assert_within("fisher: particles", found.value, exact, found.stderr, found.bias_bound)
    assert found.bias_bound + found.stderr < 0.6 * exact
    narrow = fisher_information(x / 2)
    assert_rejected("fisher: particles", narrow.value, exact, found.stderr, found.bias_bound)
    assert narrow.value == pytest.approx(4 * found.value, rel=1e-6)
    with pytest.warns(UserWarning, match="points are the same"):
        assert np.isnan(fisher_information(np.zeros((200, dim))).value)


# ---------------------------------------------------------------------------------------------- entropy production


@pytest.mark.parametrize(
    "case", json.loads((DATA / "reconstruction.json").read_text(encoding="utf-8"))["cases"], ids=lambda c: c["id"]
)
def test_circulation_of_linear_systems(case):
    expect = case["expect"]
    hessian, s, a = (np.array(v) for v in (expect["HessE"]["value"], case["S"], expect["A"]["value"]))
    dim = len(s)
    text = " + ".join(f"{hessian[i, j] / 2}*x{i}*x{j}" for i in range(dim) for j in range(dim))
    system = System(text, mobility=Mobility.constant(s).with_antisymmetric(a), temperature=case["T"])
    covariance = np.array(expect["cov_stationary"]["value"])
    x = np.random.default_rng(2).standard_normal((20_000, dim)) @ np.linalg.cholesky(covariance).T
    found = circulation_cost(x, system)
    exact = expect["entropy_production_rate"]["value"]
    assert_within("production: at rest", found.value, exact, found.stderr)
    other = circulation_cost(x, system.replace(mobility=Mobility.constant(s).with_antisymmetric(1.3 * a)))
    assert_rejected("production: at rest", other.value, exact, other.stderr)
    path = SimpleNamespace(system=system, times=np.array([0.0, 1.0]), positions=np.stack([x, x]))
    if dim == 2:
        along = entropy_production(path)
        assert along.relaxing[0] == pytest.approx(0.0, abs=1e-12)
        assert along.circulating[0] == pytest.approx(found.value)
        assert along.total[0] == pytest.approx(along.circulating[0])


def test_production_without_circulation_is_dissipation_over_temperature():
    path = density(make_system(1), Grid.covering(make_system(1), 64), TIMES, 1.0, 0.1)
    found = entropy_production(path)
    np.testing.assert_allclose(found.total, dissipation(path).value / path.system.temperature)
    assert not found.circulating.any()
    assert circulation_cost(np.random.default_rng(1).normal(size=200), path.system).value == 0.0


def test_a_singular_mobility_is_refused():
    flat = Mobility.constant([[1.0, 0.0], [0.0, 1.0]]).with_antisymmetric([[0.0, 1.0], [-1.0, 0.0]])
    system = System("x**2/2 + y**2/2", mobility=flat, temperature=1.0)
    assert circulation_cost(np.random.default_rng(1).normal(size=(500, 2)), system).value > 1.0
