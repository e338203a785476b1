"""The proximal recursion on grids: closed forms, descent, limits in step and epsilon, metrics, bad input."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq

import relaxsim as rs
from relaxsim.density.proximal_metric import coordinates, find_metric
from relaxsim.errors import ConvergenceError, InputError, MobilityError, ShapeError
from relaxsim.functionals.distance import wasserstein

pytestmark = pytest.mark.nojit


def line(energy="x**2/2", temperature=1.0, box=(-7, 7), cells=280, **parts):
    system = rs.System(energy, temperature=temperature, domain=rs.Domain([box]), **parts)
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


def distance(a, b):
    return float(np.abs(a - b).sum())


def orders(errors, steps):
    errors, steps = np.asarray(errors), np.asarray(steps)
    return np.log(errors[:-1] / errors[1:]) / np.log(steps[:-1] / steps[1:])


# ---- closed forms


def gaussian_step(mean, variance, h, epsilon, temperature):
    """The exact step of the entropic recursion for E = x^2/2 from a normal law to a normal law.

    With c the covariance of the plan, minimise (s + v - 2c)/2 - (epsilon/2) ln(s v - c^2) + h (v/2 - (T/2) ln v).
    """

    def slope(v):
        c = (-epsilon + np.sqrt(epsilon**2 + 4 * variance * v)) / 2
        return 0.5 - variance / (2 * c) + h / 2 - h * temperature / (2 * v)

    return mean / (1 + h), brentq(slope, 1e-3, 20.0, xtol=1e-14)


@pytest.mark.parametrize(("h", "epsilon"), [(0.1, 0.02), (0.1, 0.1), (0.05, 0.01)])
def test_normal_laws_follow_the_closed_form_step_by_step(h, epsilon):
    mean, variance = 1.0, 0.3

    def law(mean, variance):
        return rs.initial.normal([mean], np.sqrt(variance))

    found = []
    for cells in (140, 280):
        fp = line(cells=cells)
        x = fp.grid.centers[0]
        p = fp.proximal(law(mean, variance), [0, 3 * h], step=h, epsilon=epsilon).mass[-1]
        found.append([p @ x, p @ x**2 - (p @ x) ** 2])
    for _ in range(3):
        mean, variance = gaussian_step(mean, variance, h, epsilon, 1.0)
    # cells add an error of order 1/cells^2; from two grids it is taken off
    limit = np.array(found[1]) + (np.array(found[1]) - found[0]) / 3
    np.testing.assert_allclose(limit, [mean, variance], rtol=2e-6)
    blurless = gaussian_step(1.0, 0.3, h, 1e-9, 1.0)[1]
    assert abs(gaussian_step(1.0, 0.3, h, epsilon, 1.0)[1] - blurless) > 1e-3  # without epsilon it would be seen


@pytest.mark.parametrize(("h", "epsilon"), [(0.1, 0.02), (0.2, 0.04)])
def test_the_law_at_rest_is_as_warm_as_the_bias_says_and_is_corrected(h, epsilon):
    fp = line(cells=200, box=(-6, 6))
    x = fp.grid.centers[0]
    raw = fp.proximal(rs.initial.gibbs(), [0, 40 * h], step=h, epsilon=epsilon)
    mended = fp.proximal(rs.initial.gibbs(), [0, 40 * h], step=h, epsilon=epsilon, correct_bias=True)
    assert raw.effective_temperature == pytest.approx(1 + epsilon / (2 * h))
    assert raw.mass[-1] @ x**2 == pytest.approx(raw.effective_temperature, rel=3e-3)
    assert raw.mass[-1] @ x**2 > 1.05
    assert mended.mass[-1] @ x**2 == pytest.approx(1.0, rel=3e-3)
    assert mended.corrected
    assert not raw.corrected


# ---- what every step promises


def test_every_step_descends_with_the_exact_distance_contracts_and_keeps_mass():
    fp = line("(x**2 - 1)**2/4", temperature=0.4, box=(-3, 3), cells=150)
    times = np.linspace(0, 0.4, 9)
    path = fp.proximal(rs.initial.normal([-1.0], 0.2), times, step=0.05, epsilon=0.01)
    edges = fp.grid.edges[0]
    falls = np.diff(path.functional)
    for k in range(8):
        w = wasserstein((edges, path.mass[k]), (edges, path.mass[k + 1]))
        assert falls[k] + w**2 / (2 * path.step) <= path.allowance[k]
        assert path.transport[k] >= w**2 / (2 * path.step)
        assert falls[k] < 0
    assert np.all(path.excess <= 0)
    # the allowance is the entropic bias: of the order of epsilon/2h and no more
    assert np.all((path.allowance > 0) & (path.allowance < path.epsilon / (2 * path.step) * 3))
    assert np.all(path.contraction <= path.contraction_bound)
    assert path.contraction.max() > 0.9 * path.contraction_bound
    np.testing.assert_allclose(path.mass.sum(axis=1), 1.0, atol=1e-14)
    assert path.steps == path.iterations.sum()


def test_a_step_that_only_blurs_does_not_descend():
    """The mutant that forgets the free energy is caught by the inequality."""
    fp = line("(x**2 - 1)**2", temperature=0.3, box=(-2.5, 2.5), cells=120)
    path = fp.proximal(rs.initial.normal([1.0], 0.15), [0, 0.1], step=0.1, epsilon=0.004)
    blurred = line("0*x", temperature=0.3, box=(-2.5, 2.5), cells=120).proximal(
        path.mass[0], [0, 0.1], step=0.1, epsilon=0.004
    )
    log_gibbs = fp.log_gibbs

    def functional(p):
        return 0.3 * float((p[p > 0] * (np.log(p[p > 0]) - log_gibbs[p > 0])).sum())

    mutant = functional(blurred.mass[1]) + blurred.transport[0] - functional(path.mass[0])
    assert mutant > path.allowance[0] + 0.05
    assert path.excess[0] <= 0


def test_the_recursion_needs_no_more_passes_than_its_contraction_allows():
    fp = line(cells=100)
    path = fp.proximal(rs.initial.normal([1.0], 0.5), [0, 0.5], step=0.1, epsilon=0.05)
    span = 200.0  # ln z of the first step moves by less
    allowed = np.ceil(np.log(1e-9 / span * (1 - path.contraction_bound)) / np.log(path.contraction_bound)) + 2
    assert np.all(path.iterations <= allowed)


# ---- limits, against the finite-volume solution

STUDIES = {
    "well": (lambda: line("(x**2 - 1)**2/4 + x/5", 0.5, (-3, 3), 160), ([-0.8], 0.4), 0.4, (0.1, 0.05, 0.025), 3.0),
    "machine": (
        lambda: on(rs.diffusion_machine("4*(x - 1/3)**2", temperature=0.5, beta=2.0), 140),
        ([0.6], 0.15),
        0.08,
        (0.02, 0.01, 0.005),
        10.0,
    ),
    "plane": (lambda: on(plane(), 40), ([-0.8, 0.4], 0.4), 0.4, (0.1, 0.05), 6.0),
    # epsilon/2h, which the correction takes off T = 0.3, is 0.075 and less: at twice the step it is no small correction
    "machines": (
        lambda: on(rs.diffusion_machine("2*(x - 1/2)**2 + 2*(y - 0.4)**2 + x*y", temperature=0.3, beta=1.0), 112),
        ([0.6, 0.5], 0.12),
        0.1,
        (0.025, 0.0125),
        6.0,
    ),
    "matrix": (lambda: on(plane(mobility=[[1.0, 0.4], [0.4, 0.8]]), 40), ([-0.8, 0.4], 0.4), 0.4, (0.1, 0.05), 6.0),
}


def plane(**parts):
    box = rs.Domain([(-2.2, 2.2), (-2.0, 2.0)])
    return rs.System("(x**2 - 1)**2/4 + y**2/2 + x*y/4", temperature=0.5, domain=box, **parts)


def on(system, cells):
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


@pytest.mark.parametrize("name", STUDIES)
def test_first_order_in_the_step_with_epsilon_of_its_square(name):
    make, law, t, steps, factor = STUDIES[name]
    fp, law = make(), rs.initial.normal(*law)
    truth = fp.evolve(law, [0, t]).mass[-1]
    for correct in (False, True):
        errors = [
            distance(fp.proximal(law, [0, t], step=h, epsilon=factor * h**2, correct_bias=correct).mass[-1], truth)
            for h in steps
        ]
        found = orders(errors, steps)
        assert np.all((found > 0.8) & (found < 1.2)), (correct, errors, found)
        assert errors[-1] < 0.2


# the step, the largest epsilon and, in two dimensions, cells that the smallest one still resolves
BLURS = {"well": (0.1, 0.03, None), "machine": (0.02, 0.004, None), "plane": (0.1, 0.06, 80), "matrix": (0.1, 0.06, 80),
         "machines": (0.025, 0.0075, 112)}  # fmt: skip


@pytest.mark.parametrize("name", BLURS)
def test_orders_in_epsilon_at_a_fixed_step_one_and_two_with_the_bias_corrected(name):
    make, law, *_ = STUDIES[name]
    h, largest, cells = BLURS[name]
    fp, law = make(), rs.initial.normal(*law)
    fp = fp if cells is None else on(fp.system, cells)
    blurs = largest * np.array([1.0, 0.5, 0.25, 0.125])
    for correct, (low, high) in ((False, (0.75, 1.1)), (True, (1.75, 2.2))):
        laws = [fp.proximal(law, [0, 4 * h], step=h, epsilon=e, correct_bias=correct).mass[-1] for e in blurs]
        changes = [distance(a, b) for a, b in pairwise(laws)]
        found = orders(changes, blurs[:-1])
        assert np.all((found > low) & (found < high)), (correct, changes, found)


def test_where_the_mobility_varies_the_correction_needs_the_energy_too():
    """With the temperature alone corrected the law at rest is off by what -(epsilon/4h) ln K does."""
    machine = rs.diffusion_machine("x", temperature=0.5, beta=1.0)
    fp = on(machine, 120)
    h, epsilon = 0.05, 0.01
    mended = fp.proximal(rs.initial.gibbs(), [0, 30 * h], step=h, epsilon=epsilon, correct_bias=True)
    cooler = on(machine.replace(temperature=0.5 - epsilon / (2 * h)), 120)
    half = cooler.proximal(rs.initial.gibbs(), [0, 30 * h], step=h, epsilon=epsilon)
    raw = fp.proximal(rs.initial.gibbs(), [0, 30 * h], step=h, epsilon=epsilon)
    errors = [distance(path.mass[-1], fp.gibbs) for path in (mended, half, raw)]
    assert errors[0] < 0.5 * min(errors[1:]), errors


def test_a_periodic_axis_is_a_circle():
    circle = rs.System("cos(x)", temperature=0.5, domain=rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    fp = on(circle, 90)
    law = rs.initial.density("1 + 0.9*cos(x - 0.3)")
    path = fp.proximal(law, [0, 0.4], step=0.05, epsilon=0.008, correct_bias=True)
    cut = on(circle.replace(domain=rs.Domain([(0, 2 * np.pi)])), 90).proximal(
        law, [0, 0.4], step=0.05, epsilon=0.008, correct_bias=True
    )
    truth = fp.evolve(law, [0, 0.4]).mass[-1]
    assert distance(path.mass[-1], truth) < 0.02
    assert distance(cut.mass[-1], truth) > 2 * distance(path.mass[-1], truth)


def test_a_full_matrix_on_periodic_axes_measures_around_them():
    """Against the finite volumes, the same on a moved torus, and not as in a box."""
    K, cells, around = [[1.0, 0.6], [0.6, 0.8]], 48, rs.Domain([(0, 3), (0, 3)], boundary="periodic")
    torus = rs.System("cos(2*pi*x/3) + sin(2*pi*y/3)/2", K, 0.5, around)
    law = rs.initial.density("exp(2*cos(2*pi*x/3 - 0.3) + cos(2*pi*y/3))")
    fp, errors = on(torus, cells), []
    truth = fp.evolve(law, [0, 0.2]).mass[-1]
    for h in (0.05, 0.025):
        path = fp.proximal(law, [0, 0.2], step=h, epsilon=8 * h**2, correct_bias=True)
        errors.append(distance(path.mass[-1], truth))
        assert np.all(path.excess <= 1e-9)
        np.testing.assert_allclose(path.mass.sum(axis=(1, 2)), 1.0, atol=1e-14)
    assert errors[1] < 0.7 * errors[0] < 0.04, errors
    run = {"times": [0, 0.1], "step": 0.05, "epsilon": 0.02}
    start = fp.proximal(law, **run)
    # some cells on, energy and law turned as far: the same numbers in other cells
    by = 7 * 2 * np.pi / cells
    moved = on(torus.replace(energy=f"cos(2*pi*x/3 - {by!r}) + sin(2*pi*y/3 - {by!r})/2"), cells)
    shifted = moved.proximal(np.roll(start.mass[0], (7, 7), axis=(0, 1)), **run).mass[-1]
    np.testing.assert_allclose(np.roll(start.mass[-1], (7, 7), axis=(0, 1)), shifted, rtol=1e-7)
    box = on(torus.replace(domain=rs.Domain([(0, 3), (0, 3)])), cells).proximal(start.mass[0], **run).mass[-1]
    assert distance(box, start.mass[-1]) > 0.02


def test_forbidden_cells_stay_empty():
    from density.support import plain_system

    domain = rs.Domain([(-3, 3)])
    system = rs.System("x**2", temperature=0.5, domain=domain)
    wall = plain_system(lambda x: np.where(x[..., 0] > 1.0, np.inf, x[..., 0] ** 2), np.eye(1), domain, 0.5)
    fp = on(system, 60)
    fp.log_gibbs = rs.FokkerPlanck(wall, fp.grid).log_gibbs
    path = fp.proximal(
        np.where(np.isneginf(fp.log_gibbs), 0.0, 1.0) / np.isfinite(fp.log_gibbs).sum(),
        [0, 0.2],
        step=0.1,
        epsilon=0.05,
    )
    assert np.all(path.mass[:, fp.grid.centers[0] > 1.05] == 0)
    np.testing.assert_allclose(path.mass.sum(axis=1), 1.0, atol=1e-14)


def test_small_epsilon_at_low_temperature_stays_finite():
    """E/T reaches 900 in the corners: sums that underflow are taken term by term."""
    system = rs.System("(x**2 - 1)**2 + y**2", temperature=0.05, domain=rs.Domain([(-2.5, 2.5), (-2, 2)]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        path = on(system, 40).proximal(rs.initial.point([-0.5, 1.0]), [0, 0.1], step=0.05, epsilon=0.008)
    assert np.all(np.isfinite(path.mass))
    assert np.all(path.excess <= 1e-9)
    np.testing.assert_allclose(path.mass.sum(axis=(1, 2)), 1.0, atol=1e-14)


# ---- metrics


@pytest.mark.parametrize(
    "name", ["soft_projection", "logistic", "tanh", "probit", "algebraic", "arctan", "softsign", "sin2"]
)
def test_geodesic_coordinates_are_those_of_the_activation(name):
    machine = rs.diffusion_machine("x", name, temperature=1.0, beta=1.5)
    grid = rs.Grid(machine.domain, 60)  # even: no centre at the kink of softsign, an edge is
    places = find_metric(machine, grid).places[0]
    exact = rs.activation.lookup(name).Y(grid.centers[0], 1.5)
    np.testing.assert_allclose(places, exact - exact[0], rtol=1e-4 if name == "softsign" else 1e-10)


def test_coordinates_around_a_circle():
    y = coordinates(lambda x: 1 + 0.5 * np.sin(x), np.linspace(0.1, 0.1 + 2 * np.pi, 30), (0.0, 2 * np.pi))
    assert y[-1] == pytest.approx(2 * np.pi / np.sqrt(1 - 0.25), rel=1e-12)


def test_one_metric_by_all_its_names():
    plain, law = on(plane(), 24), rs.initial.normal([0.5, 0.0], 0.4)
    options = {"step": 0.1, "epsilon": 0.06}
    euclidean = plain.proximal(law, [0, 0.1], metric="euclidean", **options)
    assert euclidean.metric == "euclidean"
    for metric in ("auto", "geodesic", np.eye(2)):
        np.testing.assert_array_equal(plain.proximal(law, [0, 0.1], metric=metric, **options).mass, euclidean.mass)
    turned = on(plane(mobility=[[1.0, 0.4], [0.4, 0.8]]), 24)
    named = turned.proximal(law, [0, 0.1], metric=np.linalg.inv([[1.0, 0.4], [0.4, 0.8]]), **options)
    np.testing.assert_array_equal(named.mass, turned.proximal(law, [0, 0.1], **options).mass)
    assert named.metric == "matrix"
    assert distance(named.mass[-1], euclidean.mass[-1]) > 0.02


@pytest.mark.parametrize("boundary", ["reflecting", ["reflecting", "periodic", "reflecting"]])
def test_three_dimensions_with_a_full_matrix(boundary):
    K = np.array([[1.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.7]])
    system = rs.System("(x**2 + z**2)/2 + cos(pi*y/2)", K, 1.0, rs.Domain([(-2, 2)] * 3, boundary=boundary))
    fp = on(system, 6)
    path = fp.proximal(rs.initial.normal([0.5, 0.0, 0.0], 0.4), [0, 0.3], step=0.3, epsilon=0.5)
    assert np.all(path.excess <= 1e-9)


# ---- what cannot be used


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"step": -0.1}, InputError, "step: expected a positive finite number, got -0.1"),
        ({"epsilon": 0}, InputError, "epsilon: expected a positive finite number, got 0"),
        ({"step": 0.03}, InputError, "does not divide the intervals"),
        ({"metric": "euklidean"}, InputError, "did you mean 'euclidean'"),
        ({"metric": [[2.0]]}, InputError, "is not the metric of the system"),
        ({"metric": np.eye(2)}, ShapeError, r"shape \(1, 1\), got \(2, 2\)"),
        ({"metric": [[-1.0]]}, InputError, "positive definite"),
        ({"correct_bias": True, "epsilon": 0.3}, InputError, "T - epsilon/2h = -0.5"),
        ({"times": [0.0, np.nan]}, InputError, "finite"),
        ({"initial": np.full(40, -1 / 40)}, InputError, "zero or positive"),
        ({"initial": np.full(40, np.nan)}, InputError, "finite"),
        ({"initial": np.full(39, 1 / 39)}, ShapeError, "shape"),
        ({"max_iterations": 3}, ConvergenceError, "needs about"),
    ],
)
def test_bad_input(change, kind, words):
    fp = line(box=(-3, 3), cells=40)
    arguments = {"initial": rs.initial.normal([0.5], 0.5), "times": [0.0, 0.1], "step": 0.1, "epsilon": 0.05} | change
    with pytest.raises(kind, match=words):
        fp.proximal(arguments.pop("initial"), arguments.pop("times"), **arguments)


@pytest.mark.parametrize(
    ("parts", "metric", "kind", "words"),
    [
        (
            {"mobility": rs.Mobility.diagonal("1 + y**2", "1")},
            "auto",
            MobilityError,
            "K_0 of its mobility depends on other",
        ),
        ({"mobility": rs.Mobility.diagonal("1 + x**2", "1")}, "euclidean", InputError, "which depends on x"),
        ({"mobility": rs.Mobility.diagonal("1 + x**2", "1")}, np.eye(2), InputError, "which depends on x"),
        ({"mobility": 2.0}, "euclidean", InputError, "is not the metric"),
        ({"mobility": [[1.0, 0.4], [0.4, 0.8]]}, "geodesic", InputError, "full constant matrix"),
        (
            {"mobility": rs.Mobility.constant(1.0).with_antisymmetric([[0, 1], [-1, 0]])},
            "auto",
            MobilityError,
            "antisymmetric",
        ),
        ({"energy": "x**2 + y**2 + t*x"}, "auto", InputError, "must not depend on the time"),
        ({"temperature": "1 + t"}, "auto", InputError, "must not depend on the time"),
        ({"domain": rs.Domain([(-2, 2)] * 2, boundary="absorbing")}, "auto", InputError, "absorbing"),
    ],
)
def test_systems_that_have_no_recursion(parts, metric, kind, words):
    given = {"energy": "x**2 + y**2", "temperature": 1.0, "domain": rs.Domain([(-2, 2)] * 2)} | parts
    fp = on(rs.System(**given), 12)
    with pytest.raises(kind, match=words):
        fp.proximal(rs.initial.uniform([(-2, 2)] * 2), [0, 0.1], step=0.1, epsilon=0.2, metric=metric)


def test_an_epsilon_too_narrow_for_the_cells_is_warned_of():
    with pytest.warns(UserWarning, match=r"sqrt\(epsilon\) = 0.0316 is less than 0.75 of the distance 0.15"):
        line(box=(-3, 3), cells=40).proximal(rs.initial.normal([0.0], 0.5), [0, 0.1], step=0.1, epsilon=0.001)


def test_an_epsilon_that_reaches_no_other_cell_is_refused_before_any_step():
    words = r"epsilon: with 0\.0001 .* distance 0\.15: .* 1e-49, .* use epsilon = 0\.023 or more"
    with pytest.raises(InputError, match=words):
        line(box=(-3, 3), cells=40).proximal(rs.initial.normal([0.0], 0.5), [0, 0.1], step=0.1, epsilon=1e-4)


def test_an_axis_that_is_too_long_is_refused_before_its_matrix_is_made():
    with pytest.raises(InputError, match="at most 6000; got 9000"):
        line(cells=9000).proximal(rs.initial.normal([0.0], 0.5), [0, 0.1], step=0.1, epsilon=0.05)


def test_the_path_is_kept_whole_in_files(tmp_path):
    path = line(cells=80).proximal(
        rs.initial.normal([1.0], 0.5), [0, 0.2], step=0.1, epsilon=0.05, correct_bias=True, metric="euclidean"
    )
    loaded = rs.load(path.save(tmp_path / "jko.npz"))
    assert type(loaded) is type(path)
    for name in ("times", "mass", "iterations", "contraction", "functional", "transport", "allowance", "excess"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(path, name))
    for name in (
        "method",
        "steps",
        "step",
        "epsilon",
        "metric",
        "corrected",
        "contraction_bound",
        "effective_temperature",
    ):
        assert getattr(loaded, name) == getattr(path, name)
    assert rs.track(loaded).free_energy.shape == (2,)
    evolved = line(cells=80).evolve(rs.initial.normal([1.0], 0.5), [0, 0.2])
    assert type(rs.load(evolved.save(tmp_path / "fv.npz"))) is type(evolved)


def test_as_a_dataset_the_path_has_its_steps():
    pytest.importorskip("xarray")
    path = line(cells=60).proximal(rs.initial.normal([1.0], 0.5), [0, 0.3], step=0.1, epsilon=0.05)
    table = path.to_xarray()
    assert table["transport"].dims == ("step",)
    np.testing.assert_array_equal(table["functional"], path.functional)
