"""Dissipation, Fisher information and entropy production against closed forms of Gaussian laws."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from functionals.gaussian import cell_masses, density, ensemble, law, make_system
from relaxsim.density import generator
from relaxsim.errors import InputError
from relaxsim.functionals import (
    circulation_cost,
    density_fisher_information,
    dissipation,
    entropy_production,
    fisher_information,
    track,
)
from relaxsim.functionals.rates import _falling
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


OU = json.loads((DATA / "ou.json").read_text(encoding="utf-8"))["cases"]


def linear_system(case):
    """The system of a case, its Hessian and both parts of its mobility."""
    dim = int(np.sqrt(np.size(case["H"])))
    h, k = (np.reshape(case[name], (dim, dim)).astype(float) for name in "HK")
    s, a = (k + k.T) / 2, (k - k.T) / 2
    text = " + ".join(f"{h[i, j] / 2}*x{i}*x{j}" for i in range(dim) for j in range(dim))
    mobility = Mobility.constant(s) if not a.any() else Mobility.constant(s).with_antisymmetric(a)
    return System(text, mobility=mobility, temperature=case["T"], domain=Domain([(-6, 6)] * dim)), h, s, a


def moments(expect, dim):
    return np.reshape(expect["mean"]["value"], dim), np.reshape(expect["cov"]["value"], (dim, dim))


def gaussian_path(system, grid, mean, cov):
    """A Gaussian law on the cells at one time."""
    log_gibbs, log_partition = log_cell_weights(system, grid)
    away = grid.points - mean
    p = np.exp(-0.5 * np.einsum("na,ab,nb->n", away, np.linalg.inv(cov), away))
    return SimpleNamespace(
        system=system, grid=grid, times=[0.0], mass=(p / p.sum()).reshape(1, *grid.shape),
        log_gibbs=log_gibbs, log_partition=log_partition,
    )  # fmt: skip


@pytest.mark.parametrize("case", OU, ids=[case["id"] for case in OU])
def test_the_rates_of_the_reference_cases(case):
    """-dF/dt of Gaussian laws, and what the antisymmetric part adds to the entropy production.

    With an antisymmetric part "flow" has upwinding in it: the next test.
    """
    system, h, s, a = linear_system(case)
    dim, temperature = system.dim, system.temperature
    grid = Grid(system.domain, (600,) if dim == 1 else (160, 160))
    for expect in case["expect"][:: 2 if dim == 2 else 1]:
        mean, cov = moments(expect, dim)
        path = gaussian_path(system, grid, mean, cov)
        exact = -expect["dF_dt"]["value"]
        # v = -A H x of a Gaussian law: <v S^-1 v> = tr((A H)^T S^-1 A H <x x^T>)
        turning = np.trace((a @ h).T @ np.linalg.solve(s, a @ h) @ (cov + np.outer(mean, mean))) / temperature
        for method in ("gradient",) if a.any() else ("flow", "gradient"):
            found = entropy_production(path, method=method)
            assert found.relaxing[0] * temperature == pytest.approx(exact, rel=0.02, abs=2e-3)
            assert found.circulating[0] == pytest.approx(turning, rel=0.01, abs=1e-12)
            assert found.total[0] == pytest.approx(exact / temperature + turning, rel=0.02, abs=4e-3)
        if a.any():  # the same law with half of A turns a quarter as much
            half = system.replace(mobility=Mobility.constant(s).with_antisymmetric(a / 2))
            less = entropy_production(SimpleNamespace(**{**vars(path), "system": half}), method="gradient")
            assert less.circulating[0] == pytest.approx(turning / 4, rel=0.01)
            assert less.relaxing[0] == pytest.approx(exact / temperature, rel=0.02, abs=4e-3)


def around(system, mean, cov, width):
    """A grid of square cells, six standard deviations to each side."""
    low, sd = mean - 6 * np.sqrt(np.diag(cov)), np.sqrt(np.diag(cov))
    cells = np.ceil(12 * sd / width).astype(int)
    return Grid(system.domain, tuple(cells), bounds=list(zip(low, low + cells * width, strict=True)))


def upwinding(path, case, mean, cov, weight):
    """What upwinded currents add to -dF/dt, to leading order, for the weights (2,) of links along the axes.

    A current of velocity v over cells of width d is central where |v| d/2 <= T w, w the weight of the link in S, and
    upwinded beyond, which adds the diffusion |v| d/2 - T w along the axis, and T times the mean of that times
    (d ln(p/q)/dx)^2 to -dF/dt.
    """
    system, h, _, a = linear_system(case)
    x, p, temperature = path.grid.points, path.mass.ravel(), system.temperature
    extra = np.abs(x @ h.T @ a.T) * path.grid.spacing / 2 - temperature * np.asarray(weight)
    slope = x @ h.T / temperature - (x - mean) @ np.linalg.inv(cov)
    return temperature * float(p @ np.sum(np.maximum(extra, 0.0) * slope**2, axis=1))


TURNING = [case for case in OU if case["id"] in ("ou2d_nonrev", "ou2d_rotation")]


@pytest.mark.parametrize("case", TURNING, ids=[case["id"] for case in TURNING])
def test_the_flow_of_turning_currents_has_their_upwinding_in_it(case, monkeypatch):
    """Between two bounds on coarse cells, and exact where the cells are fine enough for central currents.

    The link along an axis has at most the diagonal entry of S for its weight, and at least that less |S12|, which the
    link along the diagonal takes.
    """
    system, _, s, _ = linear_system(case)
    mean, cov = moments(case["expect"][0], 2)
    exact, least = -case["expect"][0]["dF_dt"]["value"], np.diag(s) - abs(s[0, 1])
    errors, mutants, added = [], [], []
    for width in (0.1, 0.05, 0.025):
        path = gaussian_path(system, around(system, mean, cov, width), mean, cov)
        errors.append(dissipation(path).value[0] - exact)
        added.append([upwinding(path, case, mean, cov, w) for w in (np.diag(s), least, [0.0, 0.0])])
        with monkeypatch.context() as patch:
            patch.setattr(generator, "assemble", upwinded_throughout)
            mutants.append(dissipation(path).value[0] - exact)
    low, high, all_upwind = np.array(added).T
    rest = 2 * exact * np.array([0.1, 0.05, 0.025]) ** 2  # of second order, as of the central differences of "gradient"
    within = (low - rest <= errors) & (errors <= high + rest)
    assert within.all(), (errors, low, high)
    assert high[-1] + rest[-1] < 0.005 * exact  # so that the last error is below half a percent
    # The derivation holds where there is upwinding everywhere, and the bounds reject that.
    np.testing.assert_allclose(mutants[1:], all_upwind[1:], rtol=0.1)
    assert not np.any(mutants < high + 3 * rest)


def upwinded_throughout(links):
    """A mutant of `assemble`: all currents are upwinded."""
    return generator.with_diagonal(links.edges.total() + links.currents.total().maximum(0.0))


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


def test_a_record_has_the_dissipation_at_its_times():
    system = make_system(1)
    times = np.linspace(0.0, 1.0, 11)
    exact = exact_rates(system, times, 1.0, 0.3)[0]
    micro = track(ensemble(system, times, 30_000, 1.0, 0.3, seed=5))
    assert np.isnan([micro.dissipation[0], micro.dissipation_stderr[0], micro.dissipation_bias_bound[0]]).all()
    found, stderr, bound = micro.dissipation[1:], micro.dissipation_stderr[1:], micro.dissipation_bias_bound[1:]
    assert_within("dissipation: of a record", found, exact[1:], stderr, bound)
    assert_rejected("dissipation: of a record", found[:3] / 3, exact[1:4], stderr[:3], bound[:3])
    macro = track(density(system, Grid(system.domain, 128, bounds=[(-4, 4)]), times, 1.0, 0.3))
    np.testing.assert_allclose(macro.dissipation, exact, rtol=0.01, atol=1e-4)
    assert not macro.dissipation_stderr.any()
    assert macro.to_dict()["dissipation"] is macro.dissipation
    assert np.isnan(track(ensemble(system, [0.0], 1000, 1.0, 0.1, seed=4)).dissipation).all()


def test_empty_cells_count_unless_rounding_left_them():
    p, log_m = np.array([0.5, 0.5, 0.0]), np.log([0.4, 0.3, 0.3])
    assert _falling(p, np.array([-0.1, 0.0, 0.1]), log_m) == np.inf
    assert _falling(p, np.array([-0.1, 0.1, 1e-17]), log_m) == pytest.approx(0.1 * np.log(3 / 4), rel=1e-9)
    # what flows back into cells that a Krylov method left at zero, as measured in the plane
    assert _falling(p, np.array([-0.1, 0.1, 1.3e-11]), log_m) == pytest.approx(0.1 * np.log(3 / 4), rel=1e-9)
    assert _falling(p, np.array([-0.1, 0.1, 1e-7]), log_m) == np.inf


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
