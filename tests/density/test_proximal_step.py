"""One proximal step: reference digits, kernels against naive sums, contraction, an independent Sinkhorn, bad input."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relaxsim.density.proximal_kernel import AxisProduct, DenseKernel, SeparableKernel, ToeplitzKernel
from relaxsim.density.proximal_metric import pair_squares, wrapped_squares
from relaxsim.density.proximal_step import fixed_point, proximal_step, resting_plan
from relaxsim.errors import ConvergenceError, InputError, ShapeError

pytestmark = pytest.mark.nojit

CASES = json.loads((Path(__file__).parent.parent / "data" / "prox.json").read_text())["cases"]


def line_cost(x):
    return (np.asarray(x)[:, None] - x) ** 2


def naive_log_product(cost, epsilon, f):
    """ln of sum_j exp(-C_ij/2 epsilon + f_j), one term after the other."""
    out = np.full(len(cost), -np.inf)
    for i, row in enumerate(cost):
        for c, value in zip(row, f, strict=True):
            out[i] = np.logaddexp(out[i], value - c / (2 * epsilon))
    return out


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_reference_digits(case):
    x = np.array(case["grid"])
    cost = line_cost(x) if "asin" not in case["cost"] else 2 * line_cost(np.arcsin(np.sqrt(x)))
    made = proximal_step(
        case["rho_prev"], 4 * (x - 1 / 3) ** 2, cost,
        step=case["h"], epsilon=case["eps"], temperature=1 / case["beta"], tol=1e-15,
    )  # fmt: skip
    expect = case["expect"]
    np.testing.assert_allclose(made.mass, expect["rho_next"]["value"], rtol=1e-13)
    if "y" in expect:
        np.testing.assert_allclose(np.exp(made.log_y), expect["y"]["value"], rtol=2e-13)
        np.testing.assert_allclose(np.exp(made.log_z), expect["z"]["value"], rtol=2e-13)
    assert abs(made.mass.sum() - 1) < 1e-14
    assert made.contraction <= made.bound


def test_a_cost_without_its_half_and_a_power_without_epsilon_miss_the_digits():
    case = CASES[0]
    x = np.array(case["grid"])
    args = (case["rho_prev"], 4 * (x - 1 / 3) ** 2)
    given_ = {"step": case["h"], "epsilon": case["eps"], "temperature": 1 / case["beta"]}
    wanted = np.array(case["expect"]["rho_next"]["value"])
    doubled = proximal_step(*args, 2 * line_cost(x), **given_).mass
    sharper = proximal_step(*args, line_cost(x), **given_ | {"epsilon": 0.9 * case["eps"]}).mass
    assert np.abs(doubled - wanted).max() > 1e-3
    assert np.abs(sharper - wanted).max() > 1e-3


# ---- kernels

OPEN = (np.inf, np.inf)
FULL = np.array([[1.0, 0.3], [0.3, 0.7]])


def grid_points(a, b):
    return np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)


def nearest_images(points, matrix, lengths, most=3):
    """Squared distances, the least over many images: no bound on how many are needed."""
    turns = [np.arange(-most, most + 1) if np.isfinite(length) else np.zeros(1) for length in lengths]
    shifts = grid_points(*turns) * np.where(np.isfinite(lengths), lengths, 0.0)
    x = points[:, None, None] - points[:, None] + shifts
    return np.einsum("ijka,ab,ijkb->ijk", x, matrix, x).min(axis=-1)


def toeplitz(a, b, matrix, epsilon, lengths):
    between = partial(wrapped_squares, matrix=matrix, lengths=lengths)
    return ToeplitzKernel([a, b], between, epsilon, bool(np.isfinite(lengths[0])))


WILD = st.one_of(st.floats(-600, 600), st.just(-np.inf))


@settings(max_examples=25)
@given(hnp.arrays(float, (5, 6), elements=WILD), st.floats(1e-4, 1.0))
def test_kernels_agree_with_the_naive_sum_wherever_numbers_lie(f, epsilon):
    a, b = np.linspace(0, 1, 5), np.linspace(0, 2, 6)
    points = grid_points(a, b)
    for matrix, lengths in ((np.eye(2), OPEN), (FULL, OPEN), (FULL, (1.25, np.inf)), (FULL, (1.25, 2.4))):
        cost = nearest_images(points, matrix, lengths)
        expected = naive_log_product(cost, epsilon, f.ravel()).reshape(f.shape)
        kernels = [toeplitz(a, b, matrix, epsilon, lengths), DenseKernel(cost, epsilon, f.shape, f.shape)]
        if matrix is not FULL:
            kernels.append(SeparableKernel([line_cost(a), line_cost(b)], epsilon))
        for kernel in kernels:
            for found in (kernel.forward(f), kernel.backward(f)):
                np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-11)


@settings(max_examples=25)
@given(
    st.floats(0.1, 10.0),
    st.floats(-0.95, 0.95),
    hnp.arrays(float, (4, 2), elements=st.floats(-3, 3)),
    st.sampled_from([(1.0, 1.0), (0.3, 2.0), (np.inf, 0.7), (1.5, np.inf)]),
)
def test_squared_distances_on_a_torus_are_those_of_the_nearest_image(stretch, lean, x, lengths):
    matrix = np.array([[stretch, lean * np.sqrt(stretch)], [lean * np.sqrt(stretch), 1.0]])
    expected = nearest_images(x, matrix, lengths, most=40 if np.isfinite(lengths).all() else 200)
    found = pair_squares(x, matrix, lengths)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found, found.T, rtol=1e-9, atol=1e-12)


def test_for_an_oblique_metric_the_nearest_image_is_not_the_one_of_each_axis():
    matrix = np.array([[1.0, 0.9], [0.9, 1.0]])
    x = np.array([[0.0, 0.0], [0.45, 0.45]])
    assert pair_squares(x, matrix, (1.0, 1.0))[0, 1] == pytest.approx(
        min((0.45 + i) ** 2 + (0.45 + j) ** 2 + 1.8 * (0.45 + i) * (0.45 + j) for i in (-1, 0) for j in (-1, 0))
    )
    assert pair_squares(x, matrix, (1.0, 1.0))[0, 1] < 0.1 < x[1] @ matrix @ x[1]


def test_offsets_that_are_left_out_change_nothing():
    """Where the vector is far from even, terms from far offsets are the sum."""
    a, b = np.linspace(0, 1, 24), np.linspace(0, 1, 18)
    logs = -nearest_images(grid_points(a, b), FULL, OPEN, most=0) / (2 * 0.002)
    x, y = np.meshgrid(a, b, indexing="ij")
    rng = np.random.default_rng(6)
    for f in (rng.normal(size=x.shape), -150 * (x - 0.2) ** 2 - 90 * y, np.where(x < 0.5, -200.0, 0.0), 240 * x):
        found = toeplitz(a, b, FULL, 0.002, OPEN).forward(f)
        expected = np.logaddexp.reduce(logs + f.ravel(), axis=1).reshape(f.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-13)


def test_a_dense_kernel_follows_logarithms_that_move_far():
    x = np.linspace(0, 1, 12)
    kernel = DenseKernel(line_cost(x), 0.01)
    for f in (np.zeros(12), 300 * x, -2000 * x**2, np.where(x > 0.5, -np.inf, 5 * x), 40 * x):
        np.testing.assert_allclose(kernel.forward(f), naive_log_product(line_cost(x), 0.01, f), rtol=1e-13, atol=1e-11)


def test_the_fast_product_alone_would_be_wrong_where_terms_underflow():
    x = np.linspace(0, 1, 40)
    f = -1500 * x
    logs = -line_cost(x) / 0.0004
    shifted = np.exp(logs) @ np.exp(f - f.max())  # what a single shift gives
    expected = naive_log_product(line_cost(x), 0.0002, f)
    assert not np.allclose(np.log(np.maximum(shifted, 1e-300)) + f.max(), expected, rtol=1e-3)
    np.testing.assert_allclose(AxisProduct([logs])(f), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("kind", ["separable", "toeplitz", "wrapped", "dense"])
def test_transport_is_the_cost_of_the_plan(kind):
    rng = np.random.default_rng(3)
    a, b = np.linspace(0, 1, 5), np.linspace(-1, 1, 4)
    matrix = np.array([[1.0, -0.4], [-0.4, 0.5]]) if kind in ("toeplitz", "wrapped") else np.eye(2)
    lengths = (1.25, 2.5) if kind == "wrapped" else OPEN
    cost = nearest_images(grid_points(a, b), matrix, lengths)
    kernel = {
        "separable": lambda: SeparableKernel([line_cost(a), line_cost(b)], 0.1),
        "toeplitz": lambda: toeplitz(a, b, matrix, 0.1, lengths),
        "wrapped": lambda: toeplitz(a, b, matrix, 0.1, lengths),
        "dense": lambda: DenseKernel(cost, 0.1, (5, 4), (5, 4)),
    }[kind]()
    log_y, log_z = rng.normal(size=(2, 5, 4))
    plan = np.exp(log_y.reshape(-1, 1) - cost / 0.2 + log_z.reshape(1, -1))
    assert kernel.transport(log_y, log_z) == pytest.approx((plan * cost).sum(), rel=1e-12)


# ---- the fixed point

PROBABLE = st.floats(1e-6, 1.0)


@settings(max_examples=30)
@given(
    hnp.arrays(float, 7, elements=PROBABLE),
    hnp.arrays(float, 7, elements=st.floats(-5, 5)),
    st.floats(0.01, 0.5),
    st.floats(0.01, 0.5),
    st.floats(0.1, 2.0),
)
def test_mass_contraction_and_descent_on_any_input(weights, potential, h, epsilon, temperature):
    p, cost = weights / weights.sum(), line_cost(np.linspace(0, 1, 7))
    made = proximal_step(p, potential, cost, step=h, epsilon=epsilon, temperature=temperature)
    assert abs(made.mass.sum() - 1) < 1e-14
    assert made.mass.min() >= 0
    assert made.contraction <= made.bound == pytest.approx(h / (h + epsilon / temperature))

    def functional(masses):
        return float((masses * (potential + temperature * np.log(masses))).sum())

    # against the plan that stays, and against plans picked at random
    rest, end = resting_plan(DenseKernel(cost, epsilon), np.log(p))
    value = made.transport - epsilon / h * made.plan_entropy + functional(made.mass)
    assert value <= epsilon / h * rest + functional(end) + 1e-9
    rng = np.random.default_rng(0)
    for _ in range(3):
        plan = rng.dirichlet(np.ones(7), 7) * p[:, None]
        other = (cost * plan).sum() / (2 * h) + epsilon / h * (plan * np.log(plan)).sum() + functional(plan.sum(axis=0))
        assert value <= other + 1e-9


def test_the_map_contracts_between_any_two_points_and_the_mutant_without_the_power_does_not():
    rng = np.random.default_rng(1)
    n, epsilon, h, T = 4, 0.05, 0.1, 0.5
    kernel = np.exp(-line_cost(np.linspace(0, 1, n)) / (2 * epsilon))
    p, xi = np.full(n, 1 / n), np.exp(-rng.random(n) / T)
    r = h / (h + epsilon / T)

    def worst(power):
        ratios = []
        for _ in range(500):
            a, b = np.exp(3 * rng.normal(size=(2, n)))
            moved = [(xi / (kernel.T @ (p / (kernel @ z)))) ** power for z in (a, b)]
            ratios.append(np.abs(np.log(moved[0] / moved[1])).max() / np.abs(np.log(a / b)).max())
        return max(ratios)

    assert worst(r) <= r
    assert worst(1.0) > r


def test_the_plan_is_the_one_that_an_independent_sinkhorn_finds_between_the_two_laws():
    ot = pytest.importorskip("ot")
    x = np.linspace(0, 1, 30)
    p = np.exp(-((x - 0.3) ** 2) / 0.02)
    p /= p.sum()
    made = proximal_step(p, 4 * (x - 0.6) ** 2, line_cost(x), step=0.1, epsilon=0.02, temperature=0.5, tol=1e-12)
    plan = np.exp(made.log_y[:, None] - line_cost(x) / 0.04 + made.log_z)
    other = ot.sinkhorn(p, made.mass, line_cost(x), 0.04, method="sinkhorn_log", stopThr=1e-12, numItermax=20000)
    np.testing.assert_allclose(plan, other, atol=1e-11)
    assert made.transport == pytest.approx((other * line_cost(x)).sum() / 0.2, rel=1e-9)


def test_places_may_differ_before_and_after_and_some_be_forbidden():
    before, after = np.linspace(0, 1, 9), np.linspace(0.1, 0.9, 5)
    potential = np.array([0.0, np.inf, 0.0, 1.0, 0.0])
    cost = (before[:, None] - after) ** 2
    made = proximal_step(np.full(9, 1 / 9), potential, cost, step=0.1, epsilon=0.05, temperature=1.0)
    assert made.mass.shape == (5,)
    assert made.mass[1] == 0
    assert abs(made.mass.sum() - 1) < 1e-14


def test_volumes_scale_like_a_finer_grid():
    """Doubling a place is the same as giving it twice the volume."""
    x = np.array([0.0, 0.4, 1.0])
    twice = np.array([0.0, 0.4, 0.4, 1.0])
    given_ = {"step": 0.1, "epsilon": 0.05, "temperature": 0.7}
    p = np.array([0.5, 0.3, 0.2])
    one = proximal_step(p, x, line_cost(x), volumes=[1.0, 2.0, 1.0], **given_).mass
    split = proximal_step([0.5, 0.15, 0.15, 0.2], twice, line_cost(twice), **given_).mass
    np.testing.assert_allclose(one, [split[0], split[1] + split[2], split[3]], rtol=1e-8)


# ---- what cannot be used

GOOD = {"mass": [0.5, 0.5], "potential": [0.0, 1.0], "cost": [[0.0, 1.0], [1.0, 0.0]]}
NUMBERS = {"step": 0.1, "epsilon": 0.1, "temperature": 1.0}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"epsilon": 0.0}, InputError, "epsilon: expected a positive finite number, got 0.0"),
        ({"epsilon": -1.0}, InputError, "epsilon"),
        ({"step": 0.0}, InputError, "step: expected a positive finite number"),
        ({"step": float("nan")}, InputError, "step"),
        ({"temperature": 0.0}, InputError, "temperature"),
        ({"tol": 0.0}, InputError, "tol"),
        ({"max_iterations": 0}, InputError, "max_iterations"),
        (
            {"mass": [-0.1, 1.1]},
            InputError,
            "mass: expected finite masses, zero or positive; 1 are not, the first is -0.1",
        ),
        ({"mass": [np.nan, 1.0]}, InputError, "the first is nan"),
        ({"mass": [0.0, 0.0]}, InputError, "expected some mass"),
        ({"mass": [[1.0]]}, InputError, r"shape \(n,\), got \(1, 1\)"),
        ({"potential": [np.nan, 0.0]}, InputError, "potential"),
        ({"potential": [np.inf, np.inf]}, InputError, "potential"),
        ({"cost": np.zeros((2, 3))}, ShapeError, r"\(2, 2\), from the places .* got \(2, 3\)"),
        ({"cost": [[0.0, np.inf], [1.0, 0.0]]}, InputError, "cost"),
        ({"cost": [[0.0, -1.0], [1.0, 0.0]]}, InputError, "cost"),
        ({"volumes": [1.0, 0.0]}, InputError, "volumes"),
        ({"volumes": [1.0]}, ShapeError, "volumes"),
    ],
)
def test_bad_input(change, kind, words):
    arguments = GOOD | NUMBERS | change
    with pytest.raises(kind, match=words):
        proximal_step(arguments.pop("mass"), arguments.pop("potential"), arguments.pop("cost"), **arguments)


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(InputError, match=r"3 problems[\s\S]*mass[\s\S]*step[\s\S]*epsilon"):
        proximal_step([-1.0, 2.0], [0.0, 1.0], GOOD["cost"], step=0, epsilon=0, temperature=1.0)


def test_a_step_that_would_take_too_long_says_how_long():
    with pytest.raises(ConvergenceError, match=r"contracts by .* = 0\.9999\d* a pass and needs about \d+ passes"):
        proximal_step(
            [0.5, 0.5], [0.0, 3.0], GOOD["cost"], step=10.0, epsilon=1e-3, temperature=1.0, max_iterations=500
        )


def test_no_place_within_reach_is_an_error_and_no_nan():
    kernel = DenseKernel(np.array([[0.0, np.inf], [np.inf, 0.0]]), 0.1)
    with pytest.raises(ConvergenceError, match="within reach"), np.errstate(invalid="ignore"):
        fixed_point(kernel, np.log([0.5, 0.5]), np.array([0.0, -np.inf]), 0.1, 0.1, 1.0)
