"""Generators that change with time or with the density: what stays exact, what work is done, how precise it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.sparse import csr_array

from relaxsim import Domain, Energy, FokkerPlanck, Grid, Mobility, System, initial, load
from relaxsim.density import backward_euler
from relaxsim.density.flow import Balance, Flow
from relaxsim.density.stepping import Adaptive
from relaxsim.errors import IncompatibleSchemeError, InputError
from relaxsim.system.relative_entropy import kl_divergence

pytestmark = pytest.mark.nojit
START = initial.normal([-0.5], 0.3)
BOX = Domain([(-2.0, 2.0)])


def pulled(n=40, temperature="0.5 + 0.2*sin(t)", mobility="1 + 0.3*cos(t)*sin(x)**2"):
    """A well that moves, anneals and changes its mobility."""
    system = System("(x - 0.5*sin(2*t))**2 * (1 + 0.3*t)", mobility, temperature, BOX)
    return FokkerPlanck(system, Grid(BOX, n))


def reference(fp, times):
    """Fourth-order Magnus steps with dense exponentials, extrapolated."""
    return (16 * magnus(fp, times, 80) - magnus(fp, times, 40)) / 15


def magnus(fp, times, pieces):
    mass = START.masses(fp.system, fp.grid).ravel()
    mass, found = mass / mass.sum(), []
    found.append(mass)
    for start, end in pairwise(times):
        h = (end - start) / pieces
        for k in range(pieces):
            middle = start + (k + 0.5) * h
            one, two = (fp.generator_at(middle + s * h * np.sqrt(3) / 6).toarray() for s in (-1, 1))
            mass = expm(h / 2 * (one + two) - np.sqrt(3) * h**2 / 12 * (one @ two - two @ one)) @ mass
        found.append(mass)
    return np.array(found)


def test_at_gives_weights_and_generator_of_a_time():
    fp = pulled()
    for t in (0.0, 0.7):
        log_gibbs, log_partition, generator = fp.at(t)
        rest = np.exp(log_gibbs)
        assert rest.sum() == pytest.approx(1, abs=1e-14)
        assert np.abs(generator @ rest).max() < 1e-12
        center = 0.5 * np.sin(2 * t)
        assert fp.grid.centers[0] @ rest == pytest.approx(center, abs=2e-2)
        assert np.isfinite(log_partition)
    assert fp.at(0.0)[0] is fp.log_gibbs
    np.testing.assert_array_equal(fp.generator_at(0.0).toarray(), fp.generator.toarray())
    assert fp.moving
    assert fp.weights_move
    assert "Temperature" in repr(fp)


def test_precise_stepping_follows_a_moving_generator():
    fp, times = pulled(), [0.2, 0.35, 0.6]
    expected = reference(fp, times)
    path = fp.evolve(START, times)
    assert path.method == "radau"
    assert path.why == "the generator changes with time"
    assert np.abs(path.mass - expected).sum(axis=1).max() < 1e-10
    assert path.log_gibbs.shape == (3, 40)
    assert path.log_partition.shape == (3,)
    coarse = fp.evolve(START, times, "backward-euler", tol=1e-2)
    assert np.abs(coarse.mass - expected).sum(axis=1).max() < 2e-2
    frozen = FokkerPlanck(System("x**2", 1.0, 0.5, BOX), fp.grid).evolve(START, times)
    assert np.abs(frozen.mass - expected).sum(axis=1).max() > 0.1  # the comparison has power


def test_radau_stays_of_order_five_when_all_moves():
    fp = pulled(24)
    mass = fp.evolve(START, [0.0, 0.4]).mass[-1]
    times = [0.4, 1.4]
    steps = [fp.evolve(mass, times, "radau", step=1 / n).mass[-1] for n in (4, 8, 16, 128)]
    errors = [np.abs(each - steps[-1]).sum() for each in steps[:-1]]
    orders = -np.diff(np.log2(errors))
    assert np.all((orders > 4.4) & (orders < 6.0)), (errors, orders)


@pytest.mark.parametrize("tau", [0.01, 0.3, 5.0])
def test_one_step_lowers_the_free_energy_of_its_end(tau):
    fp = pulled()
    flow = Flow(fp)
    stepper = backward_euler.Stepper(flow=flow)
    mass, t = START.masses(fp.system, fp.grid), 0.1
    for _ in range(6):
        moved = stepper.step(mass, tau, t)
        t += tau
        weights = fp.weights_at(t)[0]
        assert kl_divergence(moved, weights) <= kl_divergence(mass, weights) + 1e-13
        assert moved.min() >= 0
        assert moved.sum() == pytest.approx(1, abs=1e-14)
        mass = moved


def test_a_step_with_the_generator_of_its_start_may_raise_it():
    """The mutant: E frozen at the start of the step."""
    fp = pulled(temperature=0.5)
    stepper = backward_euler.Stepper(fp.at(0.0)[2])
    weights = fp.at(0.75)[0]
    mass = np.exp(weights)
    assert kl_divergence(stepper.step(mass, 0.75), weights) > 0.1


def test_the_work_balance_closes_and_work_is_that_of_the_changing_energy():
    fp, times = pulled(), np.linspace(0.0, 1.0, 6)
    path = fp.evolve(START, times, step=0.01)
    assert path.method == "backward-euler"
    assert path.work[0] == 0
    assert np.all(np.diff(path.dissipated) > 0)  # F + dissipated = work, and what is dissipated only grows
    # the work again, from <E'> - T' S with E' and T' by hand, on more cells and at many times
    fine = pulled(60)
    many = np.linspace(0.0, 1.0, 101)
    law = fine.evolve(START, many)
    x = fine.grid.centers[0]
    center = 0.5 * np.sin(2 * many)[:, None]
    gain = 0.3 * (x - center) ** 2 - 2 * (x - center) * np.cos(2 * many)[:, None] * (1 + 0.3 * many)[:, None]
    entropy = -np.sum(np.where(law.mass > 0, law.mass * np.log(np.maximum(law.density, 1e-300)), 0.0), axis=1)
    power = (law.mass * gain).sum(axis=1) - 0.2 * np.cos(many) * entropy
    expected = np.concatenate([[0.0], np.cumsum((power[1:] + power[:-1]) / 2 * np.diff(many))])
    np.testing.assert_allclose(law.work, expected, atol=4e-3 * np.abs(expected).max())
    np.testing.assert_allclose(path.work, expected[::20], atol=4e-2 * np.abs(expected).max())
    assert np.abs(expected[-1]) > 0.1


def test_work_of_precise_stepping_and_of_fine_steps_agree():
    fp = pulled()
    fine = fp.evolve(START, [0.0, 1.0], step=2e-3).work[-1]
    assert fp.evolve(START, np.linspace(0, 1, 21)).work[-1] == pytest.approx(fine, rel=5e-3)


def test_a_mobility_that_changes_alone_does_no_work():
    system = System("x**2", "1 + 0.5*sin(3*t)", 0.5, BOX)
    fp = FokkerPlanck(system, Grid(BOX, 30))
    assert not fp.weights_move
    for method in ("auto", "backward-euler"):
        path = fp.evolve(START, [0.0, 0.5, 1.0], method)
        assert np.all(np.diff(path.kl) < 0)
        assert path.log_gibbs.shape == (30,)
        assert np.abs(path.work).max() == 0


@pytest.mark.parametrize("method", ["chebyshev", "krylov", "separable"])
def test_methods_for_one_generator_refuse_a_moving_one(method):
    with pytest.raises(IncompatibleSchemeError, match="changes with time; use method='radau' or 'backward-euler'"):
        pulled().evolve(START, [0.0, 1.0], method)


def test_a_moving_path_comes_back_from_a_file(tmp_path):
    path = pulled().evolve(START, [0.0, 0.5, 1.0], step=0.1)
    back = load(path.save(tmp_path / "moving.npz"))
    for name in ("times", "mass", "log_gibbs", "log_partition", "work", "kl", "free_energy", "dissipated"):
        np.testing.assert_array_equal(getattr(back, name), getattr(path, name))
    assert (back.method, back.why, back.steps) == (path.method, path.why, path.steps)


def test_a_file_of_before_is_read(tmp_path):
    from dataclasses import replace

    from relaxsim import record
    from relaxsim.density import path_record

    fp = FokkerPlanck(System("x**2", 1.0, 0.5, BOX), Grid(BOX, 12))
    path = fp.evolve(START, [0.0, 0.5])
    new = path_record.to_record(path)
    old = replace(new, about={k: v for k, v in new.about.items() if k != "why"})
    back = load(record.write(tmp_path / "old.npz", old))
    assert back.why == ""
    assert back.work is None
    assert back.log_partition == path.log_partition
    np.testing.assert_array_equal(back.mass, path.mass)


# ---- forbidden regions that move


def pistons(speed):
    """A wall at 1 + speed t, beyond which the energy is infinite."""
    wall = Energy(
        lambda x, t: np.where(x[0] > 1 + speed * t, np.inf, x[0] ** 2),
        grad=lambda x, t: (2 * x[0],), dim=1, time_dependent=True,
    )  # fmt: skip
    return FokkerPlanck(System(wall, 1.0, 1.0, BOX), Grid(BOX, 30))


def test_a_forbidden_region_may_give_way():
    path = pistons(10.0).evolve(START, [0.0, 0.008], "backward-euler")
    assert path.mass[0, 23] == 0 < path.mass[1, 23]  # a cell that has opened
    assert -1e-4 < path.work[1] <= 0
    shared = Balance(Flow(pistons(10.0)))  # the account of the other methods
    shared.add(path.mass[0].ravel(), 0.0, path.mass[1].ravel(), 0.008)
    assert -1e-4 < shared.work <= 0


@pytest.mark.parametrize("method", ["radau", "backward-euler"])
def test_a_forbidden_region_may_not_run_over_the_law(method):
    with pytest.raises(InputError, match=r"energy: at t = .* it is infinite in cells that hold .* of the mass"):
        pistons(-0.2).evolve(START, [0.0, 1.0, 2.0], method)


# ---- grids that the law outgrows


def test_a_law_that_gets_hotter_than_its_box_is_warned_of():
    """The box of the start alone: at the end the walls of the box would take half of the variance away."""
    system = System("x**2/2", temperature="0.2 + 0.5*t")
    narrow = FokkerPlanck(system, Grid.covering(system, 64))
    with pytest.warns(UserWarning, match=r"at t = 8 the density at the end of the box along axis 0") as caught:
        found = narrow.evolve(initial.normal([0.0], 0.4), [0.0, 1.0, 8.0], step=0.05)
    assert caught[0].filename == __file__
    wide = FokkerPlanck(system, Grid.covering(system, 64, times=[0.0, 1.0, 8.0]))
    enough = wide.evolve(initial.normal([0.0], 0.4), [0.0, 1.0, 8.0], step=0.05)  # warnings are errors here
    spread = [np.sum(path.mass[-1] * path.grid.centers[0] ** 2) for path in (found, enough)]
    assert spread[0] < 0.6 * spread[1]
    narrow.evolve(initial.normal([0.0], 0.4), [0.0, 1.0], step=0.05)


def test_a_law_that_gets_colder_than_its_cells_resolve_is_warned_of():
    system = System("(x**2 - 1)**2", temperature="0.002 + 0.5*exp(-2*t)", domain=BOX)
    fp = FokkerPlanck(system, Grid(BOX, 40))
    with pytest.warns(UserWarning, match=r"at T = 0\.00216773 its wells are not resolved") as caught:
        fp.evolve(START, [0.0, 0.5, 4.0], step=0.05)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    fp.evolve(START, [0.0, 0.5], step=0.05)
    with pytest.warns(UserWarning, match=r"at T = 0\.002 its wells are not resolved") as caught:
        FokkerPlanck(system.replace(temperature=0.002), fp.grid)
    assert caught[0].filename == __file__


# ---- mobilities that depend on the density


def crowded():
    """K falls where it is crowded."""
    mobility = Mobility.of_density(lambda x, p: 1.0 / (1.0 + p), dim=1)
    system = System(Energy("2*x**2"), mobility, 0.5, BOX)
    return FokkerPlanck(system, Grid(BOX, 48))


def test_a_density_dependent_mobility_is_frozen_over_steps_and_keeps_every_promise():
    fp = crowded()
    path = fp.evolve(START, [0.0, 0.2, 1.0], step=0.05)
    assert path.method == "backward-euler"
    assert np.all(np.diff(path.kl) < 0)
    assert path.mass.min() >= 0
    assert fp.evolve(START, [0.0, 0.1]).why.startswith("the mobility depends on the density")
    with pytest.raises(IncompatibleSchemeError, match="use method='backward-euler'"):
        fp.evolve(START, [0.0, 0.1], "radau")
    with pytest.raises(InputError, match="pass the cell masses"):
        fp.generator_at(0.0)


def test_density_dependence_is_first_order_in_the_step_and_is_felt():
    fp = crowded()
    ends = [fp.evolve(START, [0.0, 0.4], step=0.4 / n).mass[-1] for n in (10, 20, 40, 640)]
    errors = [np.abs(end - ends[-1]).sum() for end in ends[:-1]]
    orders = -np.diff(np.log2(errors))
    assert np.all((orders > 0.85) & (orders < 1.2)), orders
    plain = FokkerPlanck(fp.system.replace(mobility=1.0), fp.grid).evolve(START, [0.0, 0.4], step=0.01).mass[-1]
    assert np.abs(plain - ends[2]).sum() > 0.05


def test_density_dependence_without_a_step_is_precise_in_few_steps():
    """Extrapolated pairs keep what backward Euler keeps: mass, sign, and a relative entropy that falls."""
    fp = crowded()
    path = fp.evolve(START, [0.0, 0.2, 1.0])
    coarse, fine = (fp.evolve(START, [0.0, 0.2, 1.0], step=step).free_energy for step in (1 / 320, 1 / 640))
    assert np.abs(path.free_energy - (2 * fine - coarse)).max() < 0.5e-3  # tol is 1e-3 T
    assert path.steps < 400
    assert path.mass.min() >= 0
    assert np.all(np.diff(path.kl) < 0)
    np.testing.assert_allclose(path.mass.sum(axis=(1,)), 1, atol=1e-14)


def test_an_extrapolated_pair_that_is_no_law_is_not_taken():
    steps = Adaptive(
        backward_euler.Stepper(csr_array((2, 2))), 1e-3, lambda p, t: float(p @ p), True, extrapolated=True
    )
    half = np.array([0.7, 0.3])
    assert steps._refined(np.array([0.7, 0.3]), half, np.array([0.65, 0.35]), 0.0) == pytest.approx([0.6, 0.4])
    assert steps._refined(np.array([0.5, 0.5]), half, np.array([0.2, 0.8]), 0.0) is None  # negative
    assert steps._refined(np.array([0.5, 0.5]), half, np.array([0.7, 0.3]), 0.0) is None  # it would rise


@pytest.mark.parametrize(
    "ask",
    [
        lambda fp: fp.stationary().mass,
        lambda fp: fp.spectrum(2).rates,
        lambda fp: fp.mean_first_passage_time("x > 1"),
        lambda fp: fp.committor("x < -1", "x > 1"),
    ],
    ids=["stationary", "spectrum", "mean_first_passage_time", "committor"],
)
def test_what_has_no_time_says_that_it_is_of_time_zero(ask):
    domain = Domain([(-2.0, 2.0)])

    def equation(temperature):
        return FokkerPlanck(System("(x**2 - 1)**2", 1.0, temperature, domain), Grid(domain, 40))

    with pytest.warns(UserWarning, match="if E, K and T stayed as they are at t = 0") as said:
        found = ask(equation("0.5 + t"))
    assert said[0].filename == __file__
    np.testing.assert_allclose(found, ask(equation(0.5)), rtol=1e-9, atol=1e-12)
