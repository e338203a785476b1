"""Assertions for users: each keeps its false-alarm rate, says its numbers, and rejects what is wrong."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import relaxsim as rs
from statistical_budget import assert_within

ALPHA, REPEATS = 0.05, 400
OF_ALARMS = np.sqrt(ALPHA * (1 - ALPHA) / REPEATS)  # standard error of the share of alarms
ASSERT = rs.testing


@pytest.fixture(scope="module")
def line():
    return rs.System("x**2/2", temperature=1.0, domain=rs.Domain([(-8, 8)]))


@pytest.fixture(scope="module")
def plane():
    return rs.System("x**2/2 + y**2/2", temperature=1.0)


@pytest.fixture(scope="module")
def four():
    return rs.System("x**2/2 + y**2/2 + z**2/2 + w**4/4", temperature=1.0)


def normal(n, dim=1, seed=1):
    return np.random.default_rng(seed).standard_normal((n, dim))


def quartic(n, rng):
    """Of the law proportional to exp(-w^4/4)."""
    return rng.choice([-1.0, 1.0], n) * (4 * rng.gamma(0.25, 1.0, n)) ** 0.25


def in_four(n, seed=1):
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.standard_normal((n, 3)), quartic(n, rng)])


def rotating(n, turn, seed=1, h=0.5, times=3):
    """Exact snapshots at rest of dx = -(1 + turn J) x dt + sqrt(2) dW, J the rotation by a right angle."""
    rng = np.random.default_rng(seed)
    angle, fade = turn * h, np.exp(-h)
    F = fade * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x = [rng.standard_normal((n, 2))]
    for _ in range(times - 1):
        x.append(x[-1] @ F.T + np.sqrt(1 - fade**2) * rng.standard_normal((n, 2)))
    return SimpleNamespace(times=h * np.arange(times), positions=np.array(x))


def chain(rates):
    """Rates with the diagonal that makes columns sum to zero."""
    G = np.array(rates, dtype=float)
    return G - np.diag(G.sum(axis=0))


def alarms(test):
    """Share of right data sets that a test rejects."""
    found = 0
    for seed in range(REPEATS):
        try:
            test(seed)
        except rs.CheckFailedError:
            found += 1
    return found / REPEATS


# ------------------------------------------------------------------------------------------ false-alarm rates


FAST = {
    "gibbs": lambda k, line: ASSERT.assert_gibbs(normal(500, 1, k), line, alpha=ALPHA, tolerance=0),
    "same law": lambda k, line: ASSERT.assert_same_law(
        normal(500, 1, k), normal(900, 1, 10**6 + k), alpha=ALPHA, tolerance=0
    ),
    "monotone": lambda k, line: ASSERT.assert_monotone(normal(24, 9, k), alpha=ALPHA),
}


@pytest.mark.nojit
@pytest.mark.parametrize("name", FAST)
def test_the_false_alarm_rate_is_alpha(name, line):
    assert_within("testing: false alarms", alarms(lambda k: FAST[name](k, line)), ALPHA, OF_ALARMS)


SLOW = {
    "gibbs in 4-D": lambda k, four: ASSERT.assert_gibbs(in_four(300, k), four, alpha=ALPHA, tolerance=0, rng=k),
    "same law in 3-D": lambda k, four: ASSERT.assert_same_law(
        normal(500, 3, k), normal(900, 3, 10**6 + k), alpha=ALPHA, tolerance=0
    ),
    "balance": lambda k, four: ASSERT.assert_detailed_balance(rotating(2000, 0.0, k), alpha=ALPHA),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_false_alarm_rate_is_alpha_in_more_dimensions(name, four):
    """In 4-D the comparisons are not independent of each other, so Bonferroni's bound need not be reached."""
    bias = ALPHA / 2 if name == "gibbs in 4-D" else 0.0
    assert_within("testing: false alarms", alarms(lambda k: SLOW[name](k, four)), ALPHA, OF_ALARMS, bias=bias)


@pytest.mark.nojit
def test_the_tolerance_is_forgiven(line):
    """A shift by s is s^2/2 nats away."""
    x, y = normal(20_000) + 0.15, normal(20_000, seed=2)
    ASSERT.assert_gibbs(x, line, tolerance=0.01125)
    ASSERT.assert_same_law(x, y, tolerance=0.01125)
    for test in (
        lambda: ASSERT.assert_gibbs(x, line, tolerance=1e-4),
        lambda: ASSERT.assert_same_law(x, y, tolerance=1e-4),
    ):
        with pytest.raises(rs.CheckFailedError):
            test()


# ---------------------------------------------------------------------------------------- what passes and fails


@pytest.mark.nojit
def test_gibbs_of_positions(line, plane, four):
    ASSERT.assert_gibbs(normal(10_000), line)
    ASSERT.assert_gibbs(normal(10_000)[:, 0], line)
    ASSERT.assert_gibbs(normal(10_000, 2), plane)
    ASSERT.assert_gibbs(in_four(10_000), four)


@pytest.mark.nojit
@pytest.mark.parametrize("wrong", ["warmer", "shifted", "correlated", "in 4-D"])
def test_gibbs_rejects(wrong, line, plane, four):
    x = normal(10_000, 2)
    skew = x @ np.array([[1.0, 0.3], [0.0, np.sqrt(1 - 0.09)]])
    data = {
        "warmer": (np.sqrt(1.3) * x[:, :1], line),
        "shifted": (x[:, :1] + 0.2, line),
        "correlated": (skew, plane),
        "in 4-D": (np.sqrt(1.3) * in_four(10_000), four),
    }
    with pytest.raises(rs.CheckFailedError, match=r"assert_gibbs: .* got|is not the Gibbs law: .*expected 0"):
        ASSERT.assert_gibbs(*data[wrong])


@pytest.mark.nojit
def test_gibbs_in_many_dimensions_sees_walls_and_circles():
    """E = 0 in a box times circles: the uniform law, and one that is not."""
    domain = rs.Domain([(0, 1), (0, 2), (0, 1), (0, 3)], boundary=["reflecting", "reflecting", "periodic", "periodic"])
    system = rs.System("0*x", temperature=1.0, domain=domain)
    x = np.random.default_rng(3).uniform(size=(10_000, 4)) * [1, 2, 1, 3]
    ASSERT.assert_gibbs(x, system)
    for axis in range(4):
        wrong = x.copy()
        wrong[:, axis] = domain.upper[axis] * (x[:, axis] / domain.upper[axis]) ** 1.5
        with pytest.raises(rs.CheckFailedError, match=r"is not the Gibbs law: .* standard errors beyond"):
            ASSERT.assert_gibbs(wrong, system)


@pytest.mark.nojit
def test_gibbs_of_a_density(line):
    fp = rs.FokkerPlanck(line, rs.Grid(line.domain, 100, bounds=[(-6, 6)]))
    path = fp.evolve(rs.initial.normal([1.0], 0.5), [0.0, 1.0, 12.0], progress=False)
    ASSERT.assert_gibbs(path)
    with pytest.raises(rs.CheckFailedError, match=r"KL = 0\.070\d+, expected at most 0\.001"):
        ASSERT.assert_gibbs(path, time=1.0)
    with pytest.raises(rs.InputError, match="no stored time 2; the nearest is 1"):
        ASSERT.assert_gibbs(path, time=2.0)


@pytest.mark.nojit
def test_gibbs_of_angles_and_of_points_beyond_a_wall():
    """An angle is the same after a turn; beyond a wall there is no law."""
    rng = np.random.default_rng(8)
    turns = 2 * np.pi * rng.integers(-2, 3, (5000, 1))
    circle = rs.System("0*x", temperature=1.0, domain=rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    ASSERT.assert_gibbs(rng.uniform(0, 2 * np.pi, (5000, 1)) + turns, circle)
    box = rs.System("0*x", temperature=1.0, domain=rs.Domain([(0, 1)]))
    x = rng.uniform(0, 1, (5000, 1))
    ASSERT.assert_gibbs(x, box)
    x[np.argmin(x)] = -0.5
    with pytest.raises(rs.CheckFailedError, match="1 of 5000 particles lie outside the domain"):
        ASSERT.assert_gibbs(x, box)


@pytest.mark.nojit
def test_the_system_given_overrides_that_of_a_density(line):
    """T = 1 against 1.5: KL of the cells is (2/3 - 1 + ln 1.5)/2 nats."""
    fp = rs.FokkerPlanck(line, rs.Grid(line.domain, 200))
    path = fp.evolve(rs.initial.normal([0.0], 1.0), [0.0, 1.0, 12.0], progress=False)
    ASSERT.assert_gibbs(path, line)
    with pytest.raises(rs.CheckFailedError, match=r"KL = 0\.0360\d*, expected at most"):
        ASSERT.assert_gibbs(path, rs.System("x**2/2", temperature=1.5, domain=line.domain))
    with pytest.raises(rs.ShapeError, match="system: expected 1 coordinates as the density has, got 2"):
        ASSERT.assert_gibbs(path, rs.System("x**2/2 + y**2/2", temperature=1.0))
    with pytest.raises(rs.InputError, match=r"system: expected the domain of the density, .*; give domain="):
        ASSERT.assert_gibbs(path, rs.System("x**2/2", temperature=1.0))


@pytest.mark.nojit
def test_gibbs_rejects_points_beyond_a_wall():
    box = rs.System("0*x", temperature=1.0, domain=rs.Domain([(0, 1)]))
    x = np.random.default_rng(1).uniform(size=(5000, 1))
    ASSERT.assert_gibbs(x, box)
    x[:7] = 1.0 + 1e-3
    with pytest.raises(rs.CheckFailedError, match=r"7 of 5000 particles lie outside .* first is at \(1\.001\)"):
        ASSERT.assert_gibbs(x, box)


@pytest.mark.nojit
@pytest.mark.parametrize("share", [0.15, 0.85])
def test_same_law_sees_a_shift_of_mass_between_two_points(share):
    """The median of both samples is the larger, or the smaller, of the two values."""
    rng = np.random.default_rng(1)
    one, other = (rng.random(4000) < share).astype(float), (rng.random(4000) < share + 0.1).astype(float)
    with pytest.raises(rs.CheckFailedError, match="over 2 cells"):
        ASSERT.assert_same_law(one, other)


@pytest.mark.nojit
def test_few_groups_cannot_tell():
    """Four groups, and twenty-four that are given by columns."""
    groups = np.arange(9.0) + normal(4, 9)
    with pytest.raises(rs.CheckFailedError, match=r"unknown .*: 4 groups at alpha = 1e-06 .* need a threshold of"):
        ASSERT.assert_monotone(groups)
    with pytest.raises(rs.CheckFailedError, match=r"give at least 14 groups or a larger alpha; .*pass values.T"):
        ASSERT.assert_monotone((groups[:1] + normal(24, 9)).T)
    ASSERT.assert_monotone(-np.arange(9.0) + normal(14, 9))


@pytest.mark.nojit
def test_orders_that_cannot_be_told():
    circle = rs.Domain([(0, 2 * np.pi)], boundary="periodic")
    flat = rs.System("0*x", 1.0, 1.0, circle)
    with pytest.raises(rs.CheckFailedError, match=r"cannot tell the order of 'euler-maruyama'.* level of rounding"):
        ASSERT.assert_weak_order("euler-maruyama", system=flat)
    ASSERT.assert_weak_order("euler-maruyama", np.inf, system=flat)


@pytest.mark.nojit
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_order_of_errors_that_are_no_numbers_fails(monkeypatch):
    from relaxsim.testing import weak_order

    for errors in ([1.0, 0.5, 0.25, np.nan], [np.inf, 0.5, 0.25, 0.125]):
        monkeypatch.setattr(weak_order, "_errors", lambda *given, found=errors: (weak_order.STEPS, np.array(found)))
        with pytest.raises(rs.CheckFailedError, match="expected the last finite; cannot tell"):
            ASSERT.assert_weak_order("euler-maruyama", 1)


@pytest.mark.nojit
def test_a_chain_that_does_not_move_cannot_be_told():
    frozen = rotating(1000, 0.0)
    frozen.positions = np.repeat(frozen.positions[:1], 3, axis=0)
    with pytest.raises(rs.CheckFailedError, match=r"cannot tell: .* Store times farther apart"):
        ASSERT.assert_detailed_balance(frozen)


@pytest.mark.nojit
def test_warnings_point_at_the_line_of_the_caller(line, monkeypatch):
    from relaxsim.testing import relaxation

    def noisy(*given, **more):
        warnings.warn("the record is short", UserWarning, stacklevel=2)
        return rs.track(*given, **more)

    monkeypatch.setattr(relaxation, "track", noisy)
    with pytest.warns(UserWarning, match="the record is short") as caught:
        ASSERT.assert_relaxes(ensemble(line, [0.3, 0.6, 0.9, 1.0]))
    assert [warning.filename for warning in caught] == [__file__]


# particles -> the error of T, in per cent, that docs/testing.rst says is seen
SEEN = {1000: 50, 10_000: 20, 100_000: 11}


@pytest.mark.nojit
@pytest.mark.parametrize("n", SEEN)
def test_gibbs_sees_an_error_of_the_temperature_as_documented(n, line):
    """At nine of ten seeds or more; half of it at none."""
    page = (Path(__file__).parents[2] / "docs" / "testing.rst").read_text(encoding="utf-8")
    assert f"   * - {n}\n     - {SEEN[n]} %\n" in page
    for share, few, many in ((1.0, 9, 10), (0.5, 0, 0)):
        failed = 0
        for seed in range(10):
            try:
                ASSERT.assert_gibbs(np.sqrt(1 + share * SEEN[n] / 100) * normal(n, seed=seed), line)
            except rs.CheckFailedError:
                failed += 1
        assert few <= failed <= many


@pytest.mark.nojit
def test_causes_name_wrong_physics_and_frames_of_relaxsim_are_hidden(line):
    with pytest.raises(rs.CheckFailedError, match=r"T div K missing, the factor 2T.*not relaxed.*lower it") as caught:
        ASSERT.assert_gibbs(2 * normal(1000), line)
    with pytest.raises(rs.CheckFailedError, match=r"T div K missing, the factor 2T.*lower it"):
        ASSERT.assert_same_law(2 * normal(1000), normal(1000))
    with pytest.raises(rs.CheckFailedError, match=r"Likely: a force that is not -K grad E"):
        ASSERT.assert_monotone([1.0, 2.0])
    inside = [entry for entry in caught.traceback if "relaxsim/testing" in str(entry.path).replace("\\", "/")]
    shown = [entry for entry in inside if not entry.ishidden(caught)]
    assert len(inside) >= 2
    assert not shown


@pytest.mark.nojit
def test_same_law_of_samples_and_densities(line):
    fp = rs.FokkerPlanck(line, rs.Grid(line.domain, 200, bounds=[(-6, 6)]))
    path = fp.evolve(rs.initial.normal([1.0], 0.5), [0.0, 1.0, 20.0], progress=False)
    mean, deviation = np.exp(-1.0), np.sqrt(1 - 0.75 * np.exp(-2.0))
    ASSERT.assert_same_law(path, normal(10_000))
    ASSERT.assert_same_law(normal(10_000), path)
    ASSERT.assert_same_law(path, path)
    early = SimpleNamespace(times=path.times[:2], mass=path.mass[:2], grid=path.grid, log_gibbs=path.log_gibbs)
    ASSERT.assert_same_law(mean + deviation * normal(10_000), early)
    with pytest.raises(rs.CheckFailedError, match=r"got \d+ particles, expected \d+\.\d with standard error"):
        ASSERT.assert_same_law(normal(10_000), early)
    with pytest.raises(rs.CheckFailedError, match=r"KL = 0\.\d+, expected at most"):
        ASSERT.assert_same_law(path, early)


@pytest.mark.nojit
@pytest.mark.parametrize("dim", [1, 3, 6])
def test_same_law_rejects(dim):
    x, y = normal(10_000, dim), normal(10_000, dim, seed=2)
    ASSERT.assert_same_law(x, y)
    with pytest.raises(rs.CheckFailedError, match=r"Means along axis 0: .* standard error of the difference 0\.014"):
        ASSERT.assert_same_law(x + np.eye(dim)[0], y)
    with pytest.raises(rs.CheckFailedError, match="chi-square"):
        ASSERT.assert_same_law(1.3 * x, y)


@pytest.mark.nojit
def test_same_law_keeps_ties_together():
    """Points that repeat are no evidence, in whatever order they come."""
    rng = np.random.default_rng(5)
    ASSERT.assert_same_law(rng.integers(0, 3, 5000).astype(float), rng.integers(0, 3, 5000).astype(float))
    ASSERT.assert_same_law(np.zeros(500), np.zeros((600, 1)))
    with pytest.raises(rs.CheckFailedError, match="over 2 cells"):  # more than half of all points at the top
        ASSERT.assert_same_law(np.zeros(400), np.ones(500))


@pytest.mark.nojit
def test_same_law_of_few_points():
    """100 points tell that a law has moved, 200 that it is wider."""
    ASSERT.assert_same_law(normal(100), normal(100, seed=2))
    with pytest.raises(rs.CheckFailedError, match="over 2 cells"):
        ASSERT.assert_same_law(normal(100), normal(100, seed=2) + 3)
    with pytest.raises(rs.CheckFailedError, match="over 4 cells"):
        ASSERT.assert_same_law(normal(200), 5 * normal(200, seed=2))


@pytest.mark.nojit
def test_monotone_numbers_and_groups():
    falling = np.linspace(3, 0, 9)
    ASSERT.assert_monotone(falling)
    ASSERT.assert_monotone(falling + 0.1 * normal(24, 9))
    ASSERT.assert_monotone([1.0, 1.05, 0.5], tolerance=0.1)
    with pytest.raises(rs.CheckFailedError, match=r"rises by 0\.1 from time 1 to 2 \(2 to 2\.1\), expected at most"):
        ASSERT.assert_monotone([3.0, 2.0, 2.1])
    with pytest.raises(rs.CheckFailedError, match=r"standard error 0\.\d+: \d+\.\d\d standard errors, threshold"):
        ASSERT.assert_monotone(-falling + 0.01 * normal(24, 9))


@pytest.mark.nojit
def test_monotone_of_a_path(line):
    """A density that is run backwards rises."""
    fp = rs.FokkerPlanck(line, rs.Grid(line.domain, 100, bounds=[(-6, 6)]))
    path = fp.evolve(rs.initial.normal([1.0], 0.5), [0.0, 1.0, 12.0], progress=False)
    ASSERT.assert_monotone(path)
    ASSERT.assert_monotone(rs.track(path))
    ASSERT.assert_relaxes(path)
    backwards = rs.DensityPath(
        path.system, path.grid, path.log_gibbs, path.log_partition, path.times, path.mass[::-1], 1, "test"
    )
    with pytest.raises(rs.CheckFailedError, match="assert_monotone: F rises"):
        ASSERT.assert_monotone(backwards)
    with pytest.raises(rs.CheckFailedError, match="F rises"):
        ASSERT.assert_relaxes(backwards)


def ensemble(system, spreads, n=10_000, seed=1):
    """Normal snapshots of these standard deviations, in place of an EnsemblePath."""
    x = np.stack([s * normal(n, seed=seed + k) for k, s in enumerate(spreads)])
    return SimpleNamespace(system=system, times=np.arange(float(len(x))), positions=x)


@pytest.mark.nojit
def test_an_ensemble_that_relaxes(line):
    ASSERT.assert_relaxes(ensemble(line, [0.3, 0.6, 0.9, 1.0]))
    with pytest.raises(rs.CheckFailedError, match="F rises"):
        ASSERT.assert_relaxes(ensemble(line, [0.6, 0.3, 0.9, 1.0]))
    with pytest.raises(rs.CheckFailedError, match="assert_gibbs"):
        ASSERT.assert_relaxes(ensemble(line, [0.3, 0.6, 0.8]))


@pytest.mark.nojit
def test_too_few_particles_are_no_pass(line):
    with pytest.raises(rs.CheckFailedError, match=r"unknown whether F rises: .* simulate at least 9600"):
        ASSERT.assert_monotone(ensemble(line, [0.5, 1.0], n=1000))


# ---------------------------------------------------------------------------------------- detailed balance


@pytest.mark.nojit
def test_balance_of_systems_and_solvers(line, plane):
    ASSERT.assert_detailed_balance(line)
    turning = rs.System("x**2/2 + y**2/2", rs.Mobility.constant(1.0).with_antisymmetric([[0, 1.0], [-1.0, 0]]), 1.0)
    grid = rs.Grid(plane.domain, 16, bounds=[(-4, 4), (-4, 4)])
    ASSERT.assert_detailed_balance(rs.FokkerPlanck(plane, grid))
    with pytest.raises(rs.CheckFailedError, match=r"the flow from state \d+ around \[.*antisymmetric part"):
        ASSERT.assert_detailed_balance(rs.FokkerPlanck(turning, grid))


@pytest.mark.nojit
def test_balance_of_matrices():
    p = np.array([0.2, 0.3, 0.5])
    weights = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    good = chain(weights / p)  # rate j -> i times p_j is symmetric
    wheel = chain([[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    for G in (good, good.T, np.eye(3) + 0.05 * good, (np.eye(3) + 0.05 * good).T):
        ASSERT.assert_detailed_balance(G)
    ASSERT.assert_detailed_balance(good, law=p)
    with pytest.raises(rs.CheckFailedError, match=r"is 0\.\d+ and back 0\.\d+; the difference is 0\.5 of the largest"):
        ASSERT.assert_detailed_balance(wheel)
    with pytest.raises(rs.CheckFailedError, match="a law that is not the one at rest"):
        ASSERT.assert_detailed_balance(good, law=np.full(3, 1 / 3))


@pytest.mark.nojit
def test_balance_of_ensembles():
    ASSERT.assert_detailed_balance(rotating(10_000, 0.0))
    with pytest.raises(rs.CheckFailedError, match=r"\d+ one way and \d+ back, expected \d+\.\d with standard error"):
        ASSERT.assert_detailed_balance(rotating(10_000, 0.5))
    moving = rotating(10_000, 0.0)
    moving.positions = moving.positions + np.arange(3)[:, None, None]
    with pytest.raises(rs.CheckFailedError, match="is not at rest"):
        ASSERT.assert_detailed_balance(moving)


@pytest.mark.nojit
def test_balance_of_small_ensembles_sees_a_current_or_says_that_it_cannot():
    ASSERT.assert_detailed_balance(rotating(500, 0.0))
    with pytest.raises(rs.CheckFailedError, match="do not look the same backwards"):
        ASSERT.assert_detailed_balance(rotating(500, 6.0, h=0.2))
    for path in (rotating(100, 6.0, h=0.2), rotating(500, 6.0, h=1e-6)):
        with pytest.raises(rs.CheckFailedError, match=r"cannot tell: between .* changed their cell"):
            ASSERT.assert_detailed_balance(path)


# ---------------------------------------------------------------------------------------------------- orders


@pytest.mark.nojit
def test_orders():
    ASSERT.assert_weak_order("euler-maruyama")
    ASSERT.assert_weak_order("euler-maruyama", 1, stationary=True)
    ASSERT.assert_weak_order("leimkuhler-matthews", 2, stationary=True)
    with pytest.raises(rs.CheckFailedError, match=r"slopes 1\.\d+ 1\.\d+ 1\.\d+, expected the last at least 1\.85"):
        ASSERT.assert_weak_order("euler-maruyama", 2)
    with pytest.raises(rs.CheckFailedError, match="mean at t = 1"):
        ASSERT.assert_weak_order("leimkuhler-matthews", 2)


@pytest.mark.nojit
def test_an_order_is_not_seen_in_errors_that_are_no_numbers(monkeypatch):
    module = sys.modules["relaxsim.testing.weak_order"]
    monkeypatch.setattr(module, "_errors", lambda *_: ((0.2, 0.1), np.full(2, np.nan)))
    with pytest.raises(rs.CheckFailedError, match="slopes nan"):
        ASSERT.assert_weak_order("euler-maruyama")


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: ASSERT.assert_gibbs(normal(500)), "system: positions alone do not say"),
        (lambda s: ASSERT.assert_gibbs(normal(50), s), "got 50 points, expected at least 100"),
        (lambda s: ASSERT.assert_gibbs(normal(500, 2), s), "expected positions of 1 coordinates, got 2"),
        (lambda s: ASSERT.assert_gibbs(normal(500), s, alpha=0), r"alpha: .* in \(0, 0.5\], got 0"),
        (lambda s: ASSERT.assert_gibbs(normal(500), s, tolerance=-1), "tolerance: expected a number >= 0"),
        (lambda s: ASSERT.assert_gibbs(normal(500), s, time=1.0), "law is not a path"),
        (lambda s: ASSERT.assert_gibbs(normal(500), rs.System("x**2/2 + t*x", 1.0, 1.0)), "Gibbs law moves"),
        (lambda s: ASSERT.assert_gibbs(np.zeros((2, 500, 1)), s), r"choose one time, path.positions\[k\]"),
        (lambda s: ASSERT.assert_same_law(normal(500), normal(500)), "these are the points of a"),
        (lambda s: ASSERT.assert_same_law(normal(500), normal(500, 2)), "expected points of 1 coordinates as a has"),
        (lambda s: ASSERT.assert_relaxes(s), "initial, times, dt: missing"),
        (lambda s: ASSERT.assert_relaxes(ensemble(s, [1, 1]), dt=1.0), "has been simulated already"),
        (lambda s: ASSERT.assert_monotone([1.0]), r"expected \(n_times,\) or \(R, n_times\)"),
        (lambda s: ASSERT.assert_monotone([1.0, np.nan]), "values: "),
        (lambda s: ASSERT.assert_monotone([1.0, 2.0], tolerance=np.nan), "tolerance: expected a number >= 0"),
        (lambda s: ASSERT.assert_detailed_balance(np.ones((2, 2))), "neither columns nor rows sum to 0"),
        (lambda s: ASSERT.assert_detailed_balance(np.ones((2, 3))), "expected a square matrix"),
        (lambda s: ASSERT.assert_detailed_balance(np.zeros((2, 2))), "parts that do not reach each other"),
        (lambda s: ASSERT.assert_detailed_balance(chain([[0, 1], [1, 0]]), law=[1.0]), "expected 2 numbers"),
        (lambda s: ASSERT.assert_detailed_balance(SimpleNamespace(positions=[], times=[])), "two times or more"),
        (lambda s: ASSERT.assert_weak_order("mala"), "right law at rest only; pass stationary=True"),
        (lambda s: ASSERT.assert_weak_order("heun", system=rs.System("x", 1.0, 1.0, rs.Domain([(0, 1)]))), "walls"),
        (
            lambda s: ASSERT.assert_weak_order("heun", system=rs.System("x**2/2", 1.0, 1.0)),
            "^system: expected periodic coordinates, got an unbounded axis 0$",
        ),
        (lambda s: ASSERT.assert_weak_order("heun", 0), "order: expected a number above 0, got 0"),
        (lambda s: ASSERT.assert_weak_order("heun", np.nan), "order: expected a number above 0, got nan"),
        (lambda s: ASSERT.assert_weak_order(2, "heun"), "got an int; write assert_weak_order"),
        (lambda s: ASSERT.assert_gibbs(s, normal(500)), r"the order is assert_gibbs\(law, system\)"),
        (lambda s: ASSERT.assert_gibbs(normal(500), "x**2/2"), "system: expected a System, got the text"),
        (lambda s: ASSERT.assert_gibbs("x**2/2", s), "law: expected positions .*, got the text"),
        (lambda s: ASSERT.assert_gibbs(normal(500, 2).T, s), "pass positions.T"),
        (lambda s: ASSERT.assert_gibbs(normal(500) + 0j, s), "expected real numbers, got complex"),
        (lambda s: ASSERT.assert_gibbs(ensemble(s, [1, 1]), time=np.nan), "time: expected one of the stored .*nan"),
        (lambda s: ASSERT.assert_gibbs(ensemble(s, [1, 1]), time="last"), "time: expected one of the stored .*'last'"),
        (lambda s: ASSERT.assert_gibbs(normal(100), s, alpha=1e-300), "no data could fail"),
        (lambda s: ASSERT.assert_same_law(normal(200), 9 + normal(210), alpha=1e-200), "no data could fail"),
        (lambda s: ASSERT.assert_relaxes(ensemble(s, [1, 1]), n_particles=5), "n_particles: the path has been"),
        (lambda s: ASSERT.assert_relaxes(ensemble(s, [1, 1]), rng=5), "rng: the path has been simulated already"),
        (lambda s: ASSERT.assert_relaxes(normal(500), s), "system: expected a System, an EnsemblePath or"),
        (lambda s: ASSERT.assert_monotone([2.0, 1.0], tolerance=np.nan), "tolerance: expected a number >= 0, got nan"),
        (lambda s: ASSERT.assert_monotone([2.0, 1.0], tolerance=np.inf), "tolerance: expected a number >= 0, got inf"),
        (lambda s: ASSERT.assert_monotone([2.0, 1.0], tolerance="0.1"), "tolerance: expected a number >= 0, got '0.1'"),
        (lambda s: ASSERT.assert_monotone([2.0, 1.0], tolerance=-1), "tolerance: expected a number >= 0, got -1"),
        (lambda s: ASSERT.assert_monotone(ensemble(s, [1, 1]), tolerance=0.1), "tolerance: the free energy of a path"),
        (lambda s: ASSERT.assert_monotone(np.array([2.0 + 1j, 1.0])), "values: expected real numbers"),
        (lambda s: ASSERT.assert_monotone(normal(9)), r"got \(9, 1\); one column of numbers is values\[:, 0\]"),
        (lambda s: ASSERT.assert_gibbs(normal(500), s, rng="seed"), "rng: expected an integer >= 0 or a .*'seed'"),
        (lambda s: ASSERT.assert_monotone(s), "values: expected a path, .* got a System"),
        (lambda s: ASSERT.assert_detailed_balance([[1.5, -0.5], [-0.5, 1.5]]), "probabilities, .*not be negative, got"),
        (lambda s: ASSERT.assert_detailed_balance([[1.0, -1.0], [-1.0, 1.0]]), "rates, .* off the diagonal, got -1"),
        (lambda s: ASSERT.assert_detailed_balance([[-1e9, 1e-3], [1e9, -2e-3]]), "neither columns nor rows sum"),
        (lambda s: ASSERT.assert_detailed_balance([[-1.0, np.nan], [1.0, -1.0]]), "expected finite rates"),
        (lambda s: ASSERT.assert_detailed_balance("x"), "what: expected a System, .* got the text 'x'"),
        (
            lambda s: ASSERT.assert_detailed_balance(SimpleNamespace(mass=[], times=[])),
            "a density has no pairs of visits: pass its system",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message, line):
    with pytest.raises((rs.InputError, rs.ShapeError)) as caught:
        call(line)
    assert re.search(message, str(caught.value))


@pytest.mark.nojit
def test_failures_are_assertion_errors():
    assert issubclass(rs.CheckFailedError, AssertionError)


@pytest.mark.nojit
def test_a_budget_is_shared_and_ends():
    budget = ASSERT.Budget(1e-6, 2)
    assert [budget.spend(), budget.spend()] == [5e-7, 5e-7]
    with pytest.raises(rs.InputError, match="all 2 declared assertions have been made; declare more"):
        budget.spend()
    assert repr(budget) == "Budget(alpha=1e-06, assertions=2, spent=2)"
    for bad, message in (
        ((0.7, 2), "^alpha: expected a false-alarm rate"),
        ((1e-6, 0), "^assertions: expected an integer >= 1"),
        ((0.7, 0), "^2 problems with the input"),
    ):
        with pytest.raises(rs.InputError, match=message):
            ASSERT.Budget(*bad)


@pytest.mark.slow
def test_a_system_is_simulated():
    system = rs.System("(x**2 - 1)**2", "1 + x**2/2", 0.5)
    start, times = rs.initial.normal([1.0], 0.2), [0.0, 0.5, 1.0, 2.0, 20.0]
    ASSERT.assert_relaxes(system, start, times=times, dt=2e-3, n_particles=10_000, rng=1)
    with pytest.raises(rs.CheckFailedError, match="assert_gibbs"):
        ASSERT.assert_relaxes(system, start, times=times[:3], dt=2e-3, n_particles=10_000, rng=1)


@pytest.mark.nojit
def test_the_simulator_of_the_documentation():
    """It passes; without the factor 2 of the noise it fails."""
    page = (Path(__file__).parents[2] / "docs" / "testing.rst").read_text(encoding="utf-8")
    code = re.search(r"(    import numpy as np\n(?:    .*\n|\n)+?)\nWithout the factor 2", page).group(1)
    code = re.sub(r"(?m)^    ", "", code)
    for text in (code, code.replace("2 * 0.02", "0.02")):
        names = {}
        exec(text, names)
        if text == code:
            names["test_my_simulator"]()
            continue
        with pytest.raises(rs.CheckFailedError, match="is not the Gibbs law"):
            names["test_my_simulator"]()
