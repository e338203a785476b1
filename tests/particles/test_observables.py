"""What is measured inside a run: the numbers that stored positions give, the same bits however the work is divided."""

import copy
import math
import re
import textwrap
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

import relaxsim as rs
from relaxsim.particles.observables import accumulate
from relaxsim.particles.observables.recorder import Recorder, named
from relaxsim.particles.run import Run
from relaxsim.particles.schemes import choose
from relaxsim.particles.simulate import compiled
from relaxsim.system.region import Region
from relaxsim.system.validate import Problems
from statistical_budget import assert_rejected, assert_within

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api" / "observables.rst"
WELL = rs.System("(x**2 - 1)**2", temperature=0.5, domain=rs.Domain([(-3, 3)], boundary="reflecting"))
GRID = rs.Grid(WELL.domain, 60)
START = rs.initial.normal([-1.0], 0.2)
TIMES = np.linspace(0.0, 2.0, 5)
DT = 0.02
N = 2 * accumulate.PIECE + 1001  # three pieces, the last of them with a leaf that is not full


def everything():
    return {
        "law": rs.Histogram(GRID),
        "long law": rs.Histogram(GRID, every=10),
        "spread": rs.Mean("x**2"),
        "long spread": rs.Mean("x**2 + 0*t", every=10, after=1.0),
        "moments": rs.Moments(3),
        "correlation": rs.Autocorrelation("x", [0.0, 0.2, 0.6]),
        "crossing": rs.FirstPassage("x > 0"),
    }


def run(n=N, first=0, threads=2, store="none", observables=None, on_pause=None):
    """A run that may be a part of a larger one; its kernel is that of all others here."""
    run = Run.checked(WELL, START, n, DT, TIMES, 7, threads, store, Problems())
    run.recorder, run.first_particle, run.on_pause = Recorder(everything()), first, on_pause
    if observables is not None:
        run.recorder = Recorder(observables)
    regions = Recorder(everything()).regions(WELL)
    kernel = compiled(WELL, choose("auto", WELL), "gaussian", "mirror", False, "float64", regions)
    return run, kernel


def results(run, kernel, state=None):
    """The observables of a run, from its start or from a state."""
    state = run.start(kernel, START) if state is None else state
    stored = run.go_on(kernel, state, False)
    return run.recorder.finish(lambda k: kernel.passage_times(state.x, k)[: run.n].copy()), stored


def arrays(observable):
    return {name: value for name, value in vars(observable).items() if isinstance(value, (np.ndarray, float))}


def assert_same_bits(one, two):
    for name, observable in one.items():
        for attribute, value in arrays(observable).items():
            assert np.array_equal(value, arrays(two[name])[attribute], equal_nan=True), (name, attribute)


@pytest.fixture(scope="module")
def whole():
    """The observables of one run with all positions stored, and these (n_times, n)."""
    found, stored = results(*run(store="all"))
    return found, stored[:, 0]


# ---- sums


def test_sums_follow_one_tree_whatever_is_summed_together():
    values = np.random.default_rng(1).lognormal(sigma=3.0, size=37 * 256 - 100)
    leaves = accumulate.leaf_sums(accumulate.in_leaves(values))
    pieces = [accumulate.tree(leaves[k : k + 8]) for k in range(0, 37, 8)]
    whole = accumulate.tree(leaves)
    assert accumulate.tree(np.array(pieces)) == whole
    np.testing.assert_allclose(whole, values.sum(), rtol=1e-14)
    others = [
        accumulate.tree(np.array([leaves[k : k + size].sum() for k in range(0, 37, size)])) for size in (3, 5, 7, 37)
    ]
    assert any(other != whole for other in others)  # other trees have other bits: the check can fail


@pytest.mark.parametrize("first_leaf", [0, 1, 2, 128])
def test_group_sums_know_the_number_of_each_particle(first_leaf):
    values = np.arange(5 * 256 - 56.0)
    expected = np.bincount((256 * first_leaf + np.arange(values.size)) % 24, weights=values, minlength=24)
    sums = accumulate.group_sums(accumulate.in_leaves(values), first_leaf)
    np.testing.assert_array_equal(sums.sum(axis=0), expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_means_and_errors_of_nodes_are_those_of_all_particles(weighted):
    rng = np.random.default_rng(2)
    f, w = 1e6 + rng.normal(size=3001), rng.random(3001) if weighted else np.ones(3001)
    nodes = accumulate.mean_nodes(f, w if weighted else None)
    mean, error = accumulate.mean_and_error(accumulate.tree(nodes, accumulate.combine_means), f.size)
    expected = np.average(f, weights=w)
    away = w / w.mean() * (f - expected)
    np.testing.assert_allclose(mean, expected, rtol=1e-15)
    np.testing.assert_allclose(error, away.std(ddof=1) / math.sqrt(f.size), rtol=1e-9)


# ---- the same numbers as from positions


def test_histograms_count_every_particle_once(whole):
    """Against a count of the stored positions, group by group; a histogram that counts twice is caught."""

    def as_counted(histogram, x):
        cells = np.clip(np.floor((x + 3.0) / 0.1), 0, 59).astype(int)
        expected = [np.bincount(cells[r::24], minlength=60) for r in range(24)]
        return np.array_equal(histogram.counts[-1], expected)

    found, positions = whole
    assert as_counted(found["law"], positions[-1])
    np.testing.assert_array_equal(found["law"].counts.sum(axis=(1, 2)), N)
    np.testing.assert_allclose(found["law"].value.sum(axis=1), 1.0)
    np.testing.assert_allclose(found["law"].density.sum(axis=1) * 0.1, 1.0)
    assert found["long law"].counts.sum() == 10 * N  # 100 steps, every 10

    class Twice(rs.Histogram):
        def look(self, leaf, positions, weights, k):
            for _ in range(2):
                super().look(leaf, positions, weights, k)

    wrong, _ = results(*run(observables={"law": Twice(GRID), "crossing": rs.FirstPassage("x > 0")}))
    assert not as_counted(wrong["law"], positions[-1])
    np.testing.assert_array_equal(wrong["law"].value, found["law"].value)  # fractions would not show it


def test_points_beyond_a_histogram_count_in_its_outermost_cells(whole):
    positions = whole[1]
    grid = rs.Grid(WELL.domain, 20, bounds=[(-1.2, 0.8)])
    found, _ = results(*run(observables={"h": rs.Histogram(grid), "c": rs.FirstPassage("x > 0")}))
    inner = np.histogram(positions[-1], grid.edges[0])[0]
    counts = found["h"].counts[-1].sum(axis=0)
    np.testing.assert_array_equal(counts[1:-1], inner[1:-1])
    assert counts.sum() == N
    outside = np.mean((positions[-1] < -1.2) | (positions[-1] > 0.8))
    np.testing.assert_allclose(found["h"].outside[-1], outside, rtol=1e-12)
    assert outside > 0.01


def test_means_and_moments_are_those_of_the_positions(whole):
    found, positions = whole
    value, error = (positions**2).mean(axis=1), (positions**2).std(axis=1, ddof=1) / math.sqrt(N)
    np.testing.assert_allclose(found["spread"].value, value, rtol=1e-13)
    np.testing.assert_allclose(found["spread"].stderr, error, rtol=1e-10)
    moments = found["moments"]
    np.testing.assert_array_equal(moments.exponents, [[1], [2], [3]])
    np.testing.assert_allclose(moments.value, [[np.mean(x**p) for p in (1, 2, 3)] for x in positions], rtol=1e-12)
    np.testing.assert_allclose(moments.covariance[:, 0, 0], positions.var(axis=1), rtol=1e-11)


def test_what_is_accumulated_is_the_mean_over_the_records(whole):
    """With one record at each stored time but the first: sums of what the positions give there."""
    positions = whole[1][1:]
    stride = round(TIMES[1] / DT)
    observables = {
        "law": rs.Histogram(GRID, every=stride),
        "m": rs.Mean("x", every=stride),
        "c": rs.FirstPassage("x > 0"),
    }
    found, _ = results(*run(observables=observables))
    np.testing.assert_allclose(found["m"].value, positions.mean(), rtol=1e-12)
    np.testing.assert_allclose(
        found["law"].value, np.histogram(positions, GRID.edges[0])[0] / positions.size, rtol=1e-12
    )
    groups = np.array([positions[:, r::24].sum() - positions.mean() * positions[:, r::24].size for r in range(24)])
    np.testing.assert_allclose(found["m"].stderr, math.sqrt(24 / 23 * np.sum(groups**2)) / positions.size, rtol=1e-9)


def test_first_passages_are_seen_between_stored_times(whole):
    """Who is beyond at a stored time has passed before; some have passed and come back."""
    found, positions = whole
    passage = found["crossing"].passage_times
    for k, t in enumerate(TIMES):
        # the last state, not what the scheme reports, is looked at: particles near the boundary may differ
        assert np.all(passage[positions[k] > 0.5] <= t)
    came_back = (passage < TIMES[-1]) & (positions[-1] < -0.5)
    assert 0.005 < came_back.mean() < 0.2
    assert found["crossing"].passed == np.isfinite(passage).mean()
    assert math.isnan(found["crossing"].value)
    np.testing.assert_allclose(found["crossing"].survival(TIMES[-1]), np.mean(~(passage <= TIMES[-1])))


# ---- the same bits


@pytest.mark.parametrize("threads", [1, 3])
def test_results_have_the_same_bits_for_any_number_of_threads(whole, threads):
    found, _ = results(*run(threads=threads))
    assert_same_bits(whole[0], found)


def test_a_run_goes_on_from_any_pause_with_the_same_bits(whole):
    kept = []

    def keep(state):
        names = made.recorder.observables
        if state.step == 70 and not kept:
            kept.append((copy.deepcopy(state), {n: copy.deepcopy(each.state()) for n, each in names.items()}))

    made, kernel = run(store="all", on_pause=keep)
    results(made, kernel)
    ((state, numbers),) = kept
    again, _ = run(store="all", threads=1)
    again.recorder.begin(WELL, N, TIMES, 0.0, DT, 0, 7)
    for name, each in again.recorder.observables.items():
        each.restore(numbers[name])
    found, stored = results(again, kernel, state)
    assert_same_bits(whole[0], found)
    np.testing.assert_array_equal(stored[:, 0], whole[1])


def test_two_runs_of_other_particles_merge_to_one(whole):
    """Counts exactly, sums to rounding; the same particles twice are not the whole run."""
    found = whole[0]
    cut = accumulate.PIECE
    one, _ = results(*run(n=cut))
    two, _ = results(*run(n=N - cut, first=cut))
    again = copy.deepcopy(one)
    for name, each in one.items():
        each.merge(two[name])
        assert each.n_particles == N
    for name in ("law", "long law"):
        np.testing.assert_array_equal(one[name].counts, found[name].counts)
        assert not np.array_equal(again[name].counts * 2, found[name].counts)
    np.testing.assert_array_equal(one["crossing"].passage_times, found["crossing"].passage_times)
    for name in ("spread", "long spread", "moments", "correlation"):
        np.testing.assert_allclose(one[name].value, found[name].value, rtol=1e-11)
        np.testing.assert_allclose(one[name].stderr, found[name].stderr, rtol=1e-7)


def test_particles_of_a_small_run_are_the_first_of_a_large_one(whole):
    few, _ = results(*run(n=300))
    np.testing.assert_array_equal(few["crossing"].passage_times, whole[0]["crossing"].passage_times[:300])


def test_observables_that_differ_do_not_merge():
    one, two = rs.Mean("x"), rs.Mean("x**2")
    with pytest.raises(rs.InputError, match="they differ in f"):
        one.merge(two)
    with pytest.raises(rs.InputError, match="expected another Mean"):
        one.merge(rs.Moments(2))
    with pytest.raises(rs.InputError, match="define merge"):
        rs.Observable().merge(rs.Observable())


def small(rng=1, n=300, end=0.2, energy="(x**2 - 1)**2"):
    """A mean and a passage of a small run; it has the kernel of all others here."""
    system = rs.System(energy, temperature=0.5, domain=WELL.domain)
    observables = {"mean": rs.Mean("x"), "crossing": rs.FirstPassage("x > -1")}
    arguments = {"n_particles": n, "dt": DT, "times": [0.0, end], "rng": rng, "store": "none"}
    return rs.simulate(system, START, observables=observables, **arguments).observables


@pytest.mark.parametrize("name", ["mean", "crossing"])
def test_what_would_count_twice_or_is_of_another_system_does_not_merge(name):
    one = small()[name]
    one.merge(small(rng=2)[name])
    assert one.n_particles == 600
    for two in (one, small(rng=2, n=10)[name]):
        with pytest.raises(rs.InputError, match=r"particles 0 \.\.\. \d+ of the seed [12], which would count twice"):
            one.merge(two)
    with pytest.raises(rs.InputError, match="was measured in another system: its E at"):
        one.merge(small(rng=3, energy="(x**2 - 1)**2 + x")[name])
    assert one.n_particles == 600


def test_nothing_is_known_of_passages_after_the_end_of_a_run():
    one = small()["crossing"]
    assert 0 < one.passed < 1
    np.testing.assert_allclose(one.survival([0.2, 0.3, np.nan]), [1 - one.passed, np.nan, np.nan])
    with pytest.raises(rs.InputError, match=r"the runs lasted 0\.2 and 0\.4"):
        one.merge(small(rng=2, end=0.4)["crossing"])
    every = rs.FirstPassage("x > 0")
    every.passage_times, every.duration = np.array([0.1, 0.2]), 1.0
    every.finish()
    assert every.survival(5.0) == 0.0


def passages(times, duration):
    seen = rs.FirstPassage("x > 0")
    seen.passage_times, seen.duration = np.where(times <= duration, times, np.inf), duration
    seen.finish()
    return seen


def test_what_is_known_while_some_have_not_passed():
    """Quantiles of an exponential escape of rate k, of which the run sees those before its end."""
    n, k, end = 100_000, 0.5, 1.5
    times = -np.log(1 - (np.arange(n) + 0.5) / n) / k
    seen = passages(times, end)
    assert np.isnan(seen.value)
    for horizon in (None, 0.7):
        kt = k * (end if horizon is None else horizon)
        variance = (1 - 2 * kt * np.exp(-kt) - np.exp(-2 * kt)) / k**2
        expected = (1 - np.exp(-kt)) / k, np.sqrt(variance / n)
        np.testing.assert_allclose(seen.restricted_mean(horizon), expected, rtol=1e-4)
    for start in (0.0, 1.0):
        events = n * (np.exp(-k * start) - np.exp(-k * end))
        np.testing.assert_allclose(seen.exponential_rate(start), (k, k / np.sqrt(events)), rtol=1e-4)
    early = passages(np.concatenate([np.full(n // 2, 0.0), np.full(n // 2, 0.2), times]), end)
    np.testing.assert_allclose(early.exponential_rate(0.2), seen.exponential_rate(0.2), rtol=1e-12)
    assert early.exponential_rate()[0] > 1.5 * k
    for wrong in (lambda: seen.restricted_mean(2.0), lambda: seen.exponential_rate(end)):
        with pytest.raises(rs.InputError, match=r"end of the run, 1\.5 after .*, got (2|1\.5)$"):
            wrong()
    for wrong in (-1, np.nan):
        with pytest.raises(rs.InputError, match=rf"^start: .*got {wrong}$"):
            seen.exponential_rate(wrong)
    for wrong in ("soon", [0.1, 0.2]):
        with pytest.raises(rs.ShapeError, match=r"^horizon: expected (numbers|one time)"):
            seen.restricted_mean(wrong)
        with pytest.raises(rs.ShapeError, match=r"^start: expected (numbers|one time)"):
            seen.exponential_rate(wrong)


def test_ends_of_what_is_known_of_passages():
    every = passages(np.array([0.1, 0.3]), 1.0)
    assert every.restricted_mean() == every.restricted_mean(9.0) == (every.value, every.stderr)
    np.testing.assert_allclose(every.restricted_mean(), [0.2, 0.1], rtol=1e-14)
    assert every.exponential_rate(0.2) == (pytest.approx(10.0),) * 2
    np.testing.assert_array_equal(every.exponential_rate(0.5), np.nan)
    np.testing.assert_array_equal(passages(np.array([2.0, 3.0]), 1.0).exponential_rate(), [0.0, np.nan])


# ---- laws that are known


def ornstein_uhlenbeck(lags, offset):
    """Covariances of Euler-Maruyama for E = x^2/2, T = 1/2 at rest, and the observable of it, some steps off."""
    h = 0.05
    variance = 0.5 / (1.0 - 0.5 * h)
    expected = variance * (1.0 - h) ** np.round(np.array(lags) / h)
    observables = {
        "c": rs.Autocorrelation("x", np.array(lags) + offset * h),
        "v": rs.Mean(f"x**2 + {0.01 * offset}", every=4),
    }
    path = rs.simulate(
        rs.System("x**2/2", temperature=0.5),
        rs.initial.normal([0.0], math.sqrt(variance)),
        n_particles=40_000,
        dt=h,
        times=[0.0, 20.0],
        scheme="euler-maruyama",
        rng=3,
        store="none",
        observables=observables,
    )
    return path.observables, expected, variance


def test_correlations_and_accumulated_means_of_an_ornstein_uhlenbeck_process():
    lags = [0.0, 0.2, 1.0]
    found, expected, variance = ornstein_uhlenbeck(lags, 0)
    assert_within("observables: correlations", found["c"].value, expected, found["c"].stderr, dof=23)
    assert_within("observables: accumulated mean", found["v"].value, variance, found["v"].stderr, dof=23)
    errors = found["c"].correlation_stderr[1:]
    ratio = expected[1:] / variance
    assert_within("observables: normalised correlations", found["c"].correlation[1:], ratio, errors, dof=23)
    # the sampling theory of the variance of an AR(1) process: errors are neither too small nor too large
    assert 0.5 < found["v"].stderr / (variance * math.sqrt(2.0 / (40_000 * 20.0))) < 2.0
    wrong, _, _ = ornstein_uhlenbeck(lags, 4)
    assert_rejected("observables: correlations", wrong["c"].value, expected, wrong["c"].stderr, dof=23)
    assert_rejected("observables: accumulated mean", wrong["v"].value, variance, wrong["v"].stderr, dof=23)
    ratios = wrong["c"].value[1:] / found["c"].value[0]
    assert_rejected("observables: normalised correlations", ratios, ratio, errors, dof=23)


def leaves_the_interval(force, temperature, n_particles, dt, last):
    """First passages from 0 to |x| > 1 under a constant force, with K = 1."""
    path = rs.simulate(
        rs.System(rs.Energy("-a*x", params={"a": force}), temperature=temperature),
        rs.initial.point([0.0]),
        n_particles=n_particles,
        dt=dt,
        times=[0.0, last],
        scheme="euler-maruyama",
        rng=5,
        store="none",
        observables=rs.FirstPassage("abs(x) > 1"),
    )
    return path.observables["first_passage"]


def test_first_passages_are_late_as_if_the_boundary_stood_back():
    """Free diffusion from 0 to |x| > 1 with T K = 1/2: the mean is 1, and (1 + 0.5826 sqrt(dt))^2 for steps dt.

    Siegmund, Adv. Appl. Probab. 11 (1979) 701; what is left is the linear crossing's, below dt.
    """
    for dt in (0.04, 0.01):
        found = leaves_the_interval(0.0, 0.5, 60_000, dt, 24.0)
        assert found.passed == 1.0
        late = (1.0 + 0.5826 * math.sqrt(dt)) ** 2
        assert_within("observables: mean first passage time", found.value, late, found.stderr, bias=dt)
        assert_rejected("observables: mean first passage time", found.value, 1.0, found.stderr, bias=dt)


def test_a_crossing_is_linear_within_its_step():
    """Hardly any noise: x = t crosses 1 at t = 1, between the ends 0.9 and 1.2 of a step."""
    found = leaves_the_interval(1.0, 1e-14, 10, 0.3, 1.5)
    np.testing.assert_allclose(found.passage_times, 1.0, atol=1e-5)
    assert found.stderr < 1e-5


# ---- weights, tracking


def test_weights_count_in_every_mean():
    """Time rescaling: the plain means are those of another law."""
    system = rs.System("x**2/2", mobility=rs.Mobility.diagonal("1 + x**2/2"), temperature=0.5, domain=GRID.domain)
    arguments = {"n_particles": 3 * 256 + 5, "dt": 0.05, "times": [0.0, 1.0, 2.0], "rng": 1, "stationary": True}
    observables = {"law": rs.Histogram(GRID), "spread": rs.Mean("x**2"), "long": rs.Mean("x**2", every=20)}
    path = rs.simulate(system, START, scheme="time-rescaling", observables=observables, **arguments)
    found, x = path.observables, path.positions[..., 0]
    np.testing.assert_allclose([found["spread"].value, found["spread"].stderr], path.mean("x**2"), rtol=1e-9)
    expected = [np.histogram(a, GRID.edges[0], weights=w)[0] / w.sum() for a, w in zip(x, path.weights, strict=True)]
    np.testing.assert_allclose(found["law"].value, expected, atol=1e-13)
    assert np.abs(found["spread"].value - (x**2).mean(axis=1)).max() > 0.02
    raw = 1.0 / (1.0 + x[1:] ** 2 / 2.0)
    np.testing.assert_allclose(found["long"].value, (raw * x[1:] ** 2).sum() / raw.sum(), rtol=1e-12)
    with pytest.raises(rs.IncompatibleSchemeError, match="Autocorrelation needs paths"):
        rs.simulate(system, START, scheme="time-rescaling", observables=rs.Autocorrelation("x", [0.1]), **arguments)


def test_track_from_a_histogram_is_track_from_the_positions(whole):
    """F and KL, their errors and groups, on the same bins; a histogram that lost one group is told apart."""
    found, positions = whole
    about = {"system": WELL, "dt": DT, "t0": 0.0, "scheme": "leimkuhler-matthews", "seed": 7, "threads": 1}
    about |= {"packing_version": 1}
    empty = rs.EnsemblePath(np.empty(0), np.empty((0, N, 1)), observables={"law": found["law"]}, **about)
    counted = rs.track(empty)
    stored = rs.track(rs.EnsemblePath(TIMES, positions[:, :, None], **about), like=counted)
    names = ("kl", "free_energy", "kl_bias_bound", "kl_stderr", "free_energy_stderr", "groups")
    for name in names:
        np.testing.assert_allclose(getattr(counted, name), getattr(stored, name), rtol=1e-9, atol=1e-14, err_msg=name)
    assert counted.n_particles == stored.n_particles == N
    assert counted.check_monotone().monotone
    # energies are those of cells: within the spread of E in a cell
    np.testing.assert_allclose(counted.energy, stored.energy, atol=1e-3)
    np.testing.assert_allclose(counted.entropy_stderr, stored.entropy_stderr, rtol=0.05)
    np.testing.assert_allclose(rs.track(empty, groups=12).kl, counted.kl)
    with pytest.raises(rs.InputError, match="24 groups of particles, 36 cannot"):
        rs.track(empty, groups=36)
    lost = copy.copy(found["law"])
    lost.counts = lost.counts.copy()
    lost.counts[:, 3] = 0
    wrong = rs.track(
        rs.EnsemblePath(np.empty(0), np.empty((0, N, 1)), observables={"law": lost}, **about), like=counted
    )
    assert np.abs(wrong.groups - stored.groups).max() > 1e-3


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (-0.5, 2.0), (-9.0, 9.0)])
def test_gibbs_mass_beyond_a_histogram_belongs_to_its_outermost_cells(bounds):
    """F of points at the quantiles of the Gibbs law, whose KL is nothing; U is not known there, and it is said."""
    free, n = rs.System("x**2", temperature=0.5), 20_000
    law = rs.Histogram(rs.Grid(free.domain, 24, bounds=[bounds]))
    law.begin(free, n, np.zeros(1), 0.0, DT)
    law.look(0, 0.5 * ndtri((np.arange(n)[None] + 0.5) / n), None, 0)
    law.close(0)
    law.n_particles = n
    law.finish()
    about = {"system": free, "dt": DT, "t0": 0.0, "scheme": "", "seed": 7, "threads": 1, "packing_version": 1}
    path = rs.EnsemblePath(np.empty(0), np.empty((0, n, 1)), observables={"law": law}, **about)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = rs.track(path)
    assert math.isclose(found.log_partition, math.log(math.sqrt(0.5 * math.pi)), abs_tol=1e-9)
    assert abs(found.kl[0] + found.kl_bias_bound[0]) < 1e-4
    assert abs(found.free_energy[0] + 0.5 * found.log_partition) < 1e-3
    beyond = bounds != (-9.0, 9.0)
    assert [str(each.message)[:5] for each in caught] == ["up to"] * beyond
    assert np.isnan([found.energy, found.entropy, found.energy_stderr, found.entropy_stderr]).all() == beyond


def test_a_path_without_positions_says_so():
    observables = [rs.Mean("x"), rs.FirstPassage("x > 0")]
    arguments = {"n_particles": 10, "dt": DT, "times": [0.0, DT], "rng": 1, "store": "none"}
    path = rs.simulate(WELL, START, observables=observables, **arguments)
    assert path.positions.shape == (0, 10, 1)
    assert path.times.shape == (0,)
    assert "at 0 times" in repr(path)
    assert path.observables["mean"].value.shape == (2,)
    with pytest.raises(rs.InputError, match="no positions, and no Histogram that looked at the times"):
        rs.track(path)
    with pytest.raises(rs.InputError, match="no positions were stored; simulate with store='all'"):
        path.mean("x")


def test_no_copy_of_the_ensemble_is_made():
    """More particles cost the memory of their state and no more, whatever is measured."""

    def peak(n):
        made, kernel = run(n=n, threads=1, observables=everything() | {"correlation": rs.Moments(4)})
        tracemalloc.start()
        try:
            made.go_on(kernel, made.start(kernel, START), False)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = 100_000, 400_000
    peak(10)
    rows = 3  # the position, the time and the level of a first passage
    assert peak(many) - peak(few) < 1.15 * rows * 8 * (many - few)


# ---- regions


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("x > 1", lambda x, y: x > 1),
        ("x**2 + y**2 <= 1", lambda x, y: x**2 + y**2 < 1),
        ("-1 < x < 1 and y > 0 or y < -2", lambda x, y: ((x > -1) & (x < 1) & (y > 0)) | (y < -2)),
    ],
)
def test_a_region_is_what_its_text_says(text, inside):
    points = np.random.default_rng(4).normal(scale=1.5, size=(500, 2))
    region = Region.of(text, 2)
    expected = inside(*points.T)
    np.testing.assert_array_equal(region.level(points, 0.0) > 0, expected)
    namespace = {"device": lambda f: f, "where": np.where, "REAL": float, "abs": np.abs}
    exec(region.source("region"), namespace)
    np.testing.assert_array_equal(namespace["region"]((), tuple(points.T), 0.0) > 0, expected)
    assert 10 < expected.sum() < 490


def test_a_region_may_be_a_function():
    points = np.array([[0.5, 0.0], [2.0, 0.0]])
    assert Region.of(lambda x: x[0] - 1.0, 2).trees  # arithmetic is compiled like text
    yes_or_no = Region.of(lambda x: x[0] > 1.0, 2)
    np.testing.assert_array_equal(yes_or_no.level(points, 0.0), [-1.0, 1.0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rs.FirstPassage("x"), rs.ExpressionError, "'x' is not a comparison"),
        (lambda: rs.FirstPassage("x == 1"), rs.ExpressionError, "must compare with < or >"),
        (lambda: rs.FirstPassage("x > os"), rs.ExpressionError, "unknown name 'os'"),
        (lambda: rs.FirstPassage("x >"), rs.ExpressionError, "no condition"),
        (lambda: rs.Mean("a*x"), rs.ExpressionError, "observables take neither: write the number into the text"),
        (lambda: rs.Mean(3), rs.InputError, "expected text such as"),
        (lambda: rs.Mean("x", every=0), rs.InputError, "every: expected an integer >= 1"),
        (lambda: rs.Mean("x", after=1.0), rs.InputError, "after: goes with every="),
        (lambda: rs.Moments(0), rs.InputError, "order: expected an integer >= 1"),
        (lambda: rs.Histogram(np.zeros(3)), rs.InputError, "grid: expected a Grid"),
        (lambda: rs.Autocorrelation("x", [-1.0]), rs.InputError, "lags: expected a list of times"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


class Bare(rs.Observable):
    def __init__(self):
        pass

    def record(self, leaf, positions, weights, k):
        pass


@pytest.mark.parametrize(
    ("observable", "more", "error", "message"),
    [
        (rs.FirstPassage("x > 0"), {"noise": "two-point"}, rs.IncompatibleSchemeError, "needs noise='gaussian'"),
        (rs.FirstPassage("y > 0"), {}, rs.ShapeError, "region: uses 2 coordinates, the system has 1"),
        (rs.Mean("y"), {}, rs.ShapeError, "f: uses 2 coordinates"),
        (rs.Autocorrelation("x", [0.03]), {}, rs.InputError, "whole numbers of time steps"),
        (rs.Autocorrelation("x", [0.06], every=2), {}, rs.InputError, "a divisor of the lags"),
        (rs.Histogram(rs.Grid(rs.Domain([(0, 1), (0, 1)]), 4)), {}, rs.ShapeError, "grid: has 2 axes"),
        (rs.Histogram(rs.Grid(rs.Domain([(-3, 4)]), 4)), {}, rs.InputError, "write Grid(system.domain, shape="),
        (rs.Mean(lambda x: x[1]), {}, rs.ShapeError, "f: the function uses more coordinates than the 1 of the"),
        (rs.FirstPassage(lambda x: x[1]), {}, rs.ShapeError, "region: the function uses more coordinates"),
        (rs.Mean(lambda x: None), {}, rs.ShapeError, "expected real numbers, got None"),
        (rs.FirstPassage(lambda x: None), {}, rs.ShapeError, "region: a component of the function's value"),
        (rs.Mean(lambda x: np.exp(1j * x[0])), {}, rs.ShapeError, "expected real numbers, got array"),
        (rs.Observable(), {}, rs.InputError, "must define record(self, leaf, positions, weights, k)"),
        (Bare(), {}, rs.InputError, "the __init__ of Bare must call super().__init__()"),
        ({"a": 3}, {}, rs.InputError, "expected an Observable"),
        ("mean", {}, rs.InputError, "expected a mapping of names"),
    ],
)
def test_observables_that_do_not_fit_the_run_are_refused(observable, more, error, message):
    with pytest.raises(error, match=re.escape(message)):
        rs.simulate(WELL, START, n_particles=10, dt=DT, times=[0.0, DT], rng=1, observables=observable, **more)


def test_observables_of_a_list_are_named_by_their_classes():
    given = [rs.FirstPassage("x > 0"), rs.Mean("x"), rs.Mean("x**2")]
    assert list(named(given, Problems())) == ["first_passage", "mean", "mean_2"]


def test_the_observables_given_are_left_as_they_were():
    law = rs.Mean("x")
    path = rs.simulate(
        WELL, START, n_particles=10, dt=DT, times=[0.0, DT], rng=1, observables=[law, rs.FirstPassage("x > 0")]
    )
    assert not hasattr(law, "value")
    assert path.observables["mean"].settings() == {"f": "x", "every": None, "after": None}


# ---- documentation


def test_the_observable_of_ones_own_on_the_page_runs(whole):
    """It sees every leaf once, in order, and merges."""
    (block,) = re.findall(
        r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", PAGE.read_text("utf-8"), flags=re.MULTILINE
    )
    namespace = {"np": np, "rs": rs}
    exec(textwrap.dedent(block), namespace)
    leaves = []

    class Watched(namespace["Farthest"]):
        def record(self, leaf, positions, weights, k):
            leaves.append((k, leaf))
            super().record(leaf, positions, weights, k)

    found, _ = results(*run(observables={"far": Watched(), "c": rs.FirstPassage("x > 0")}))
    np.testing.assert_array_equal(found["far"].value, np.abs(whole[1]).max(axis=1))
    n_leaves = -(-N // 256)
    assert leaves == [(k, leaf) for k in range(len(TIMES)) for leaf in range(n_leaves)]
    part, _ = results(*run(n=512, observables={"far": Watched(), "c": rs.FirstPassage("x > 0")}))
    part["far"].merge(found["far"])
    np.testing.assert_array_equal(part["far"].value, found["far"].value)


def test_observables_say_what_they_are():
    seen = rs.FirstPassage("x > 1")
    assert repr(seen) == "<FirstPassage(region='x > 1')>"
    seen.passage_times, seen.duration = np.array([0.5, np.inf]), 2.0
    seen.finish()
    assert repr(seen) == "<FirstPassage(region='x > 1'): 0.5 passed by 2>"
    assert repr(rs.Mean("x**2", every=50)) == "Mean(f='x**2', every=50)"
