"""Entropy and relative entropy of particles: reference numbers, exact invariances, closed forms, bad input."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals import Estimate, count_entropy, entropy, kl_between, kl_to_gibbs
from relaxsim.functionals.estimate import Parts, jackknife_stderr, left_out_means, trend_bound
from relaxsim.functionals.kernel_density import bandwidth, leave_one_out
from relaxsim.functionals.neighbours import kozachenko_leonenko, normal_error, wang_kulkarni_verdu
from relaxsim.functionals.samples import looks_normal
from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.system import System
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.nojit

DATA = Path(__file__).parents[1] / "data"
NORMAL = 0.5 * math.log(2 * math.pi * math.e)


def cases(name):
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))["cases"]


def normal(n, dim, seed=1):
    return np.random.default_rng(seed).standard_normal((n, dim))


def number(case, name):
    return case["expect"][name]["value"]


# ---------------------------------------------------------------------------------------------- reference numbers


@pytest.mark.parametrize("case", [case for case in cases("estimators") if case["id"] == "kl1d"])
def test_neighbours_of_the_reference_case(case):
    sample = np.array(case["sample"])[:, None]
    assert kozachenko_leonenko(sample, case["k"]) == pytest.approx(number(case, "H"), rel=1e-14)


def test_counts_of_the_reference_case():
    (case,) = [case for case in cases("estimators") if case["id"] == "hist"]
    counts = np.array(case["counts"])
    for correction, name in [
        ("none", "plugin"), ("miller-madow", "miller_madow"), ("psi", "psi_estimator"), ("chao-shen", "chao_shen")
    ]:  # fmt: skip
        assert float(count_entropy(counts, correction)) == pytest.approx(number(case, name), rel=1e-13)


def test_grassberger_has_the_least_bias_of_the_corrections():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(200, 0.5))
    counts = rng.multinomial(300, p, size=400)
    truth = -np.sum(p * np.log(p))
    bias = {c: abs(count_entropy(counts, c).mean() - truth) for c in ("none", "miller-madow", "psi", "grassberger")}
    assert bias["grassberger"] < 0.5 * bias["psi"] < bias["miller-madow"] < bias["none"]
    with pytest.raises(InputError, match="correction: expected one of"):
        count_entropy(counts, "best")


def test_two_ensembles_by_hand():
    x, y = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [2.0]])
    # rho = 1, 1, 2; nu = 0.5, 0.5, 1
    expected = np.mean(np.log([0.5, 0.5, 0.5])) + math.log(2 / 2)
    assert wang_kulkarni_verdu(x, y, 1) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("case", cases("gaussian"))
def test_gaussian_cases(case):
    rng = np.random.default_rng(5)
    dim = len(case["m0"])
    laws = [(np.array(case[f"m{i}"]), np.linalg.cholesky(np.reshape(case[f"C{i}"], (dim, dim)))) for i in (0, 1)]
    x, y = (m + rng.standard_normal((8000, dim)) @ factor.T for m, factor in laws)
    h = entropy(x, method="neighbours")
    assert_within("estimators: Gaussian cases", h.value, number(case, "H0"), h.stderr, h.bias_bound)
    kl = kl_between(x, y)
    assert_within("estimators: Gaussian cases", kl.value, number(case, "KL(0||1)"), kl.stderr, kl.bias_bound)
    covariance = np.reshape(case["C1"], (dim, dim))
    inverse = np.linalg.inv(covariance)
    away = [f"(x{a} + {-case['m1'][a]})" for a in range(dim)]
    terms = [f"{inverse[a, b] / 2} * {away[a]} * {away[b]}" for a in range(dim) for b in range(dim)]
    system = System(Energy(" + ".join(terms)), temperature=1.0)
    log_z = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    to_gibbs = kl_to_gibbs(x, system, log_partition=log_z)
    assert_within(
        "estimators: Gaussian cases", to_gibbs.value, number(case, "KL(0||1)"), to_gibbs.stderr, to_gibbs.bias_bound
    )
    # A law that is 1.3 times as wide is told from it.
    wide = entropy(x * 1.3, method="neighbours")
    assert_rejected("estimators: Gaussian cases", wide.value, number(case, "H0"), wide.stderr, wide.bias_bound)


@pytest.mark.parametrize(("method", "dim"), [("histogram", 1), ("histogram", 2), ("neighbours", 2), ("kernel", 1)])
def test_entropy_of_uniform_and_periodic_laws(method, dim):
    x = np.random.default_rng(6).uniform(0.0, 2.0, (8000, dim))
    for boundary in ("reflecting", "periodic"):
        if method == "kernel" and boundary == "periodic":
            continue
        found = entropy(x, method=method, domain=Domain([(0, 2)] * dim, boundary=boundary))
        error = max(found.stderr, 1e-3)
        assert_within("estimators: uniform laws", found.value, dim * math.log(2), error, found.bias_bound)
        assert_rejected("estimators: uniform laws", found.value, dim * math.log(2.5), error, found.bias_bound)


def test_walls_and_periods_matter():
    x = np.random.default_rng(7).uniform(0.0, 1.0, (5000, 2))
    free = kozachenko_leonenko(x, 4)
    closed = kozachenko_leonenko(x, 4, np.ones(2))
    assert free > closed + 0.01
    assert abs(closed) < 0.05


# ---------------------------------------------------------------------------------------------- invariances


@given(st.floats(0.1, 10.0), st.floats(-5.0, 5.0), st.sampled_from(["histogram", "neighbours", "kernel"]))
def test_scaling_adds_its_logarithm(scale, shift, method):
    x = normal(500, 2)
    before, after = entropy(x, method=method, workers=1), entropy(x * scale + shift, method=method, workers=1)
    assert after.value == pytest.approx(before.value + 2 * math.log(scale), abs=1e-8)
    assert after.stderr == pytest.approx(before.stderr, rel=1e-5)


def test_kl_does_not_change_with_the_coordinates():
    x, y = normal(1000, 2), 0.5 + 1.2 * normal(1200, 2, seed=2)
    turn = np.array([[2.0, 1.0], [-0.5, 3.0]])
    one, two = kl_between(x, y), kl_between(x @ turn.T, y @ turn.T)
    assert two.value == pytest.approx(one.value, abs=0.03)  # surrogates are rounded differently


def test_threads_do_not_change_the_result():
    x = normal(2000, 3)
    assert entropy(x, workers=1) == entropy(x, workers=2)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(3).standard_normal(1000)
    left_out = left_out_means(values, 1000)
    assert jackknife_stderr(left_out) == pytest.approx(values.std(ddof=1) / math.sqrt(1000), rel=1e-12)
    both = Parts(1.0, left_out, 0.1, "a").plus(2.0, left_out, -1.0)
    assert both.stderr < 1e-15  # what is common cancels
    assert both.value == 1.0


def test_the_trend_bounds_a_power_law():
    def bias(n):
        return 0.3 * n**-0.5

    found = trend_bound(bias(1000), lambda share: bias(1000 / share), 0.5)
    assert found == pytest.approx(bias(1000), rel=1e-12)
    assert trend_bound(bias(1000), lambda share: bias(1000 / share), 0.25) > bias(1000)


def test_leave_one_out_by_a_plain_loop():
    z = normal(60, 2)
    h = bandwidth(60, 2)
    logs = []
    for i in range(60):
        others = np.delete(z, i, axis=0)
        kernel = np.exp(-np.sum((z[i] - others) ** 2, axis=1) / (2 * h * h)) / (2 * math.pi * h * h)
        logs.append(np.log(np.mean(kernel)))
    value, left_out = leave_one_out(z, 5)
    assert value == pytest.approx(-np.mean(logs), rel=1e-12)
    assert left_out[2] == pytest.approx(leave_one_out_with(z[np.arange(60) % 5 != 2], h), rel=1e-12)


def leave_one_out_with(z, h):
    square = np.sum((z[:, None] - z) ** 2, axis=-1)
    kernel = np.exp(-square / (2 * h * h)) / (2 * math.pi * h * h)
    np.fill_diagonal(kernel, 0.0)
    return -np.mean(np.log(kernel.sum(axis=1) / (len(z) - 1)))


def test_normality_is_told_from_what_is_not():
    rng = np.random.default_rng(8)
    assert np.mean([looks_normal(rng.standard_normal((1000, 3))) for _ in range(100)]) > 0.9
    wells = rng.standard_normal((2000, 8))
    wells[:, 5] = 0.45 * wells[:, 5] + rng.choice([-1.0, 1.0], 2000)
    assert not looks_normal(wells)
    assert not looks_normal(rng.exponential(size=(2000, 2)))
    assert not looks_normal(rng.standard_normal((500, 17)))


def test_the_error_of_neighbours_is_known_and_large_in_eight_dimensions():
    small, error = normal_error(2000, 1, 4)
    assert abs(small) < 0.01
    assert error < 0.01
    four, error = normal_error(2000, 4, 4)
    assert four < -0.03
    assert error < 0.015


# ---------------------------------------------------------------------------------------------- what a result says


def test_what_a_result_says():
    x = normal(3000, 3)
    found = entropy(x, max_samples=1000)
    assert (found.n, found.n_given) == (1000, 3000)
    assert found.dof == 19
    assert "1000 of 3000 points" in str(found)
    low, high = found.interval()
    assert high - low == pytest.approx(2 * 2.093 * found.stderr, rel=1e-3)
    assert found.widened()[0] == pytest.approx(low - found.bias_bound)
    with pytest.raises(InputError, match="level"):
        found.interval(95)
    limited = Estimate(1.0, 0.1, 0.3, "test")
    assert limited.bias_limited
    assert not Estimate(1.0, 0.1, 0.1, "test").bias_limited
    assert "bias-limited" in str(Estimate(1.0, 0.1, 0.3, "test", 5, 5))
    assert limited.interval(0.95)[1] == pytest.approx(1.196, abs=1e-3)


def test_auto_takes_a_histogram_in_the_plane_and_neighbours_beyond():
    assert entropy(normal(300, 2)).method == "histogram, normal surrogates"
    assert entropy(np.random.default_rng(1).exponential(size=1000)).method == "histogram"
    assert entropy(normal(300, 3)).method.startswith("neighbours, k=4")
    assert entropy(normal(30_000, 3, 4)[:, :1], method="kernel").n == 4000
    assert "normal surrogates" in entropy(normal(1000, 2), method="neighbours").method
    assert "surrogates" not in entropy(np.random.default_rng(1).exponential(size=1000), method="neighbours").method


def test_eight_bimodal_dimensions_are_bias_limited():
    x = normal(1500, 8)
    x[:, 0] = 0.45 * x[:, 0] + np.random.default_rng(3).choice([-1.0, 1.0], 1500)
    assert entropy(x).bias_limited


# ---------------------------------------------------------------------------------------------- bad input

FLAT = System(Energy("x0**2/2"), temperature=1.0)


@pytest.mark.parametrize("method", ["histogram", "neighbours", "kernel"])
@pytest.mark.parametrize(
    ("points", "cause"),
    [
        (np.full((200, 1), 3.0), "all 200 points are the same"),
        (np.repeat(normal(100, 1), 2, axis=0), "repeat another one"),
        (np.hstack([normal(200, 1), np.ones((200, 1))]), "coordinate 1 is the same"),
        (normal(200, 1) @ [[1.0, 2.0]], "line or plane of lower dimension"),
    ],
)
def test_a_law_without_density_is_nan_with_its_cause(points, cause, method):
    with pytest.warns(UserWarning, match=cause):
        found = entropy(points, method=method)
    assert math.isnan(found.value)
    assert math.isnan(found.stderr)
    assert cause in found.cause
    assert cause in str(found)


def test_many_points_at_one_place():
    x = normal(10_000, 2)
    x[:6] = 0.0
    with pytest.warns(UserWarning, match="more than 4 points lie at one place"):
        assert math.isnan(entropy(x, method="neighbours").value)
    with pytest.warns(UserWarning, match="more than 4 points lie at one place"):
        assert math.isnan(kl_between(x, normal(1000, 2, 2)).value)


def test_points_on_a_curve_are_bias_limited():
    angle = np.random.default_rng(4).uniform(0, 2 * np.pi, 3000)
    found = entropy(np.stack([np.cos(angle), np.sin(angle)], axis=1), method="neighbours")
    assert found.bias_limited
    assert found.bias_bound > 0.3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: entropy(np.r_[normal(200, 1), [[np.nan]]]), InputError, "1 of 201 points are not finite, .* 200"),
        (lambda: entropy(normal(99, 2)), InputError, "got 99 points, expected at least 100"),
        (lambda: entropy(np.zeros((3, 200, 2))), ShapeError, "choose one time"),
        (lambda: entropy(normal(200, 4), method="histogram"), InputError, "up to 3 dimensions, got 4"),
        (lambda: entropy(normal(200, 1), method="neighbour"), InputError, "did you mean 'neighbours'"),
        (lambda: entropy(normal(200, 1), k=0), InputError, "k: expected an integer >= 1"),
        (lambda: entropy(normal(200, 1), groups=1), InputError, "groups: expected an integer >= 2"),
        (lambda: entropy(normal(200, 1), max_samples=10), InputError, "max_samples"),
        (lambda: entropy(normal(200, 1), domain=Domain([(0, 1)])), InputError, "lie outside the domain"),
        (lambda: entropy(normal(200, 1), domain=Domain.hypercube(2)), ShapeError, "expected 1 dimensions"),
        (lambda: kl_between(normal(200, 1), normal(200, 2)), ShapeError, "others: expected"),
        (lambda: kl_between(normal(200, 1), normal(200, 1, 2), method="kernel"), InputError, "entropies only"),
        (lambda: kl_to_gibbs(normal(200, 2), FLAT), ShapeError, "points: expected"),
        (lambda: kl_to_gibbs(normal(200, 1), FLAT, log_partition="1"), InputError, "log_partition: expected"),
        (lambda: kl_to_gibbs(normal(200, 1), FLAT.replace(temperature="1 + t")), InputError, "depend on time"),
        (lambda: kl_to_gibbs(normal(200, 1), System("-x**2/2", temperature=1.0)), InputError, "not normalisable"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_particles_where_the_energy_is_infinite():
    x = np.linspace(0.0, 1.0, 400)
    energy = Energy(lambda x: np.where(x[0] > 0.9, np.inf, 0.0), grad=lambda x: (0.0 * x[0],), dim=1)
    system = System(energy, temperature=1.0, domain=Domain([(0, 1)]))
    with pytest.warns(UserWarning, match="40 of 400 particles are where E is infinite"):
        assert math.isnan(kl_to_gibbs(x, system).value)


def test_no_warning_without_a_cause():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        entropy(normal(500, 3))
        kl_between(normal(500, 2), normal(500, 2, 2), method="histogram")
