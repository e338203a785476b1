"""Distances of samples against exact ones, their errors and null levels, and the reasons when there is no error."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.sample_distance import hellinger, mmd, total_variation, wasserstein
from relaxsim.functionals.transport import line_transport
from relaxsim.system.activation import lookup
from statistical_budget import assert_rejected, assert_within

GEODESIC = {
    case["id"]: case for case in json.loads((Path(__file__).parents[1] / "data" / "geodesic.json").read_text())["cases"]
}
NAME = "sample distance: values"


def shifted(n=4000, dim=1, by=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)), rng.standard_normal((n, dim)) + by * np.eye(dim)[0]


def soft_projection(beta):
    return lambda x: lookup("soft_projection").Y(x, beta)


def test_geodesic_distances_of_laws_given_by_their_quantiles():
    u = (np.arange(20_000) + 0.5) / 20_000
    arcsine = np.sin(np.pi * u / 2) ** 2
    laws = {
        "WG_uniform_arcsine": (u, arcsine),
        "WG_power": (np.sqrt(u), 1 - np.sqrt(1 - u)),
        "WG_dirac": (np.zeros(100), np.ones(100)),
    }
    for case, (x, y) in laws.items():
        found = wasserstein(x, y, ground=soft_projection(GEODESIC[case]["beta"]), permutations=0)
        assert found.value == pytest.approx(GEODESIC[case]["expect"]["W_G"]["value"], rel=1e-6)


@pytest.mark.parametrize("p", [1, 2])
def test_samples_of_different_sizes_are_coupled_by_quantiles(p):
    """Against a linear program over all couplings."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(7), rng.standard_normal(5)
    cost = np.abs(x[:, None] - y) ** p
    rows = np.concatenate([np.kron(np.eye(7), np.ones(5)), np.kron(np.ones(7), np.eye(5))])
    best = linprog(cost.ravel(), A_eq=rows, b_eq=np.repeat([1 / 7, 1 / 5], [7, 5])).fun
    assert line_transport(x, y, p)[0] == pytest.approx(best, rel=1e-9)


def test_values_agree_with_exact_ones_within_their_errors():
    x, y = shifted()
    exact_tv = 2 * ndtr(0.5) - 1
    exact_hellinger = math.sqrt(1 - math.exp(-1 / 8))
    exact_mmd = 2 * math.sqrt(1 / 3) * (1 - math.exp(-1 / 6))
    for found, exact in (
        (wasserstein(x, y, 1), 1.0),
        (wasserstein(x, 1.5 * y - 0.5, 2), math.sqrt(1.25)),
        (total_variation(x, y), exact_tv),
        (hellinger(x, y), exact_hellinger),
        (mmd(x, y, bandwidth=1.0, max_samples=1500, permutations=5), exact_mmd),
    ):
        assert found.reason == ""
        assert_within(NAME, found.value, exact, found.stderr, np.nan_to_num(found.bias_bound))
        assert_rejected(NAME, found.value, 2.5 * exact, found.stderr, np.nan_to_num(found.bias_bound))
        assert found.value > found.null_mean + 3 * found.null_std


@pytest.mark.parametrize(("method", "dim", "n"), [("exact", 1, 400), ("sliced", 2, 400), ("entropic", 2, 80)])
@pytest.mark.parametrize("by", [0.0, 0.5])
def test_the_bias_of_a_transport_distance_is_bounded(method, dim, n, by):
    """The mean error of some samples is less than the mean bound, and not much less for equal ones."""
    exact = by / math.sqrt(2) if method == "sliced" else by  # the mean square over directions in the plane
    options = {"permutations": 0, "directions": 8, "epsilon": 0.5}
    samples = range(5 if method == "entropic" else 20)
    found = [wasserstein(*shifted(n, dim, by, seed), method=method, **options) for seed in samples]
    bias = np.mean([each.value for each in found]) - exact
    bound = np.mean([each.bias_bound for each in found])
    assert abs(bias) < bound
    if not by and method != "entropic":
        assert bias > 0.3 * bound  # a third of the bound would not hold


def test_a_distance_that_does_not_stand_out_may_be_bias_altogether():
    found = wasserstein(*shifted(400, 1, 0.0))
    assert "does not stand out" in found.reason
    assert found.bias_bound >= found.value


def test_slices_and_entropy_in_the_plane():
    x, y = shifted(dim=2)
    sliced = wasserstein(x, y)
    assert_within(NAME, sliced.value, math.sqrt(0.5), sliced.stderr)
    entropic = wasserstein(x, y, method="entropic", max_samples=300)
    assert_within(NAME, entropic.value, 1.0, entropic.stderr)
    assert_rejected(NAME, sliced.value, 0.0, sliced.stderr)


def test_errors_cover_at_the_stated_rate():
    """95 % intervals over 200 repeats of W1, W2 and MMD: at least 88 %, and not too wide."""
    true = {"W1": 1.0, "W2": 1.0, "MMD": 2 * math.sqrt(1 / 3) * (1 - math.exp(-1 / 6))}
    hits, spread, stated = (dict.fromkeys(true, 0) for _ in range(3))
    found = {name: [] for name in true}
    for seed in range(200):
        x, y = shifted(300, seed=100 + seed)
        results = {
            "W1": wasserstein(x, y, 1, permutations=0),
            "W2": wasserstein(x, y, 2, permutations=0),
            "MMD": mmd(x, y, bandwidth=1.0, permutations=0),
        }
        for name, each in results.items():
            found[name].append((each.value, each.stderr))
            hits[name] += abs(each.value - true[name]) < 1.96 * each.stderr
    for name in true:
        values, errors = np.array(found[name]).T
        spread[name], stated[name] = values.std(), errors.mean()
        assert hits[name] > 0.88 * 200, name
        assert 0.8 < stated[name] / spread[name] < 1.4, name


@pytest.mark.parametrize("distance", [wasserstein, total_variation, hellinger, mmd])
def test_equal_laws_have_a_reason_and_no_error(distance):
    x, y = shifted(500, by=0.0, seed=3)
    found = distance(x, y)
    assert np.isnan(found.stderr)
    assert "null level" in found.reason
    assert abs(found.value - found.null_mean) < 5 * found.null_std


def test_a_law_without_density_is_named():
    x, _ = shifted(100)
    with pytest.warns(UserWarning, match="no density"):
        assert np.isnan(total_variation(x, np.zeros(100)).value)
    assert wasserstein(x, np.zeros(100), 2).value == pytest.approx(np.sqrt(np.mean(x**2)))


def test_what_cannot_be_used_is_refused():
    x, y = shifted(100)
    with pytest.raises(InputError, match="too few"):
        wasserstein(x[:5], y)
    with pytest.raises(InputError, match="finite"):
        mmd(x * np.inf, y)
    with pytest.raises(ShapeError, match="dimensions"):
        hellinger(x, np.zeros((50, 2)))
    with pytest.raises(InputError, match="one dimension"):
        wasserstein(*shifted(100, 2), method="exact")
    with pytest.raises(InputError, match="2 problems"):
        wasserstein(x, y, 3, directions=0)
    with pytest.raises(InputError, match="three dimensions"):
        total_variation(*shifted(100, 4))
    with pytest.raises(InputError, match="bandwidth"):
        mmd(np.zeros(50), np.zeros(50))
