"""The checks that make an exit code: they pass what is right and fail what is not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.cli import checks
from relaxsim.functionals.chi_square import pool
from statistical_budget import assertion_alpha

pytestmark = pytest.mark.nojit

TIMES = np.array([0.0, 1.0])
N = 4000


@dataclass
class Ensemble:
    """What `track` needs of an EnsemblePath, without compiling a kernel."""

    system: rs.System
    times: np.ndarray
    positions: np.ndarray


@pytest.fixture(scope="module")
def system():
    return rs.System("x**2/2", temperature=1.0, domain=rs.Domain([(-8, 8)]))


def ensemble(system, shift, seed=1, n=N):
    """Start from N(1, 0.5**2) and end in the Gibbs law, moved by `shift`."""
    rng = np.random.default_rng(seed)
    start = 1 + 0.5 * rng.standard_normal((n, 1))
    return Ensemble(system, TIMES, np.stack([start, shift + rng.standard_normal((n, 1))]))


@pytest.fixture(scope="module")
def density(system):
    """Solve for the same start; after t = 1 the law is still N(0.37, ...)."""
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 128))
    start = np.exp(-((fp.grid.points[:, 0] - 1) ** 2) / 0.5)
    return fp.evolve(start / start.sum(), TIMES, step=0.01)


def gibbs(path, alpha=None, tolerance=1e-4):
    record = rs.track(path)
    return checks.gibbs_of_ensemble(path.positions[-1], record, alpha or assertion_alpha(), tolerance)


def test_gibbs_passes_a_gibbs_ensemble(system):
    verdict = gibbs(ensemble(system, 0.0))
    assert verdict.passed, verdict
    assert str(verdict).startswith("check gibbs (ensemble): passed - at t = 1 chi-square is")


def test_gibbs_fails_a_shifted_ensemble(system):
    verdict = gibbs(ensemble(system, 0.3))
    assert not verdict.passed
    assert "FAILED" in str(verdict)
    assert "not relaxed yet" in str(verdict)


def test_gibbs_forgives_the_tolerance(system):
    """A shift of s is s**2/2 nats away from the Gibbs law."""
    assert gibbs(ensemble(system, 0.3), tolerance=0.045).passed


def test_gibbs_has_the_false_alarm_rate_it_states(system):
    alarms = sum(
        not gibbs(ensemble(system, 0.0, seed, n=500), alpha=0.05, tolerance=1e-12).passed for seed in range(200)
    )
    assert alarms <= 29  # 10 expected, 6 standard deviations


def test_gibbs_needs_bins(system):
    path = ensemble(system, 0.0)
    record = replace(rs.track(path), bins=None)
    assert checks.gibbs_of_ensemble(path.positions[-1], record, 0.01, 1e-3).passed is None


def test_pooled_bins_hold_five_and_lose_nothing():
    expected = np.array([0.1, 20.0, 0.0, 3.0, 9.0, 2.5, 5.0])
    counts = np.arange(7.0)
    observed, merged = pool(counts, expected, 5.0)
    assert merged.min() >= 5
    assert merged.sum() == pytest.approx(expected.sum())
    assert observed.sum() == counts.sum()
    few, rest = pool(np.ones(3), np.array([1.0, 8.0, 30.0]), 5.0)
    assert sorted(rest) == [9.0, 30.0]
    assert sorted(few) == [1.0, 2.0]


def test_gibbs_of_a_density(density):
    record = rs.track(density)
    assert not checks.gibbs_of_density(record, 1e-3).passed
    assert checks.gibbs_of_density(record, 1.0).passed


def test_monotone(density, system):
    record = rs.track(density)
    assert checks.monotone("density", record, 1e-6).passed
    assert not checks.monotone("density", replace(record, free_energy=record.free_energy[::-1]), 1e-6).passed


def test_a_monotone_answer_that_is_unknown_is_neither(system):
    verdict = checks.monotone("ensemble", rs.track(ensemble(system, 0.0, n=100)), 1e-3)
    assert verdict.passed is None
    assert str(verdict).startswith("check monotone (ensemble): UNKNOWN - unknown whether F rises: ")


def test_agreement(density, system):
    spread = np.sqrt(1 - 0.75 * np.exp(-2))
    path = ensemble(system, 0.0)
    path.positions[-1] = np.exp(-1) + spread * path.positions[-1]  # the law at t = 1 in closed form
    micro = rs.track(path)
    macro = rs.track(density, like=micro)
    verdict = checks.agreement(micro, macro, assertion_alpha(), 1e-3)
    assert verdict.passed, verdict
    wrong = rs.track(ensemble(system, 0.0))
    verdict = checks.agreement(wrong, rs.track(density, like=wrong), assertion_alpha(), 1e-3)
    assert not verdict.passed
    assert "at t = 1" in str(verdict)


def test_agreement_without_noise_is_exact():
    """A point law has no standard error: a difference is then infinitely many of them, none is zero."""
    ratio = checks._ratio(np.array([0.0, 1.0, np.nan]), np.array([0.0, 0.0, 1.0]))
    assert np.array_equal(ratio, [0.0, np.inf, np.inf])


def test_rates():
    assert checks.rate(True) == checks.DEFAULT_ALPHA
    assert checks.rate(False) == 0.0
    assert checks.rate(1e-3) == 1e-3
    assert checks.groups_for({"monotone": True}) == 48
    assert checks.groups_for({"monotone": 1e-3}) == 24
