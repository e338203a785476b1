"""The gap from the tail of KL: of a density, of an ensemble, of noise."""

import numpy as np
import pytest
from scipy.linalg import expm

import relaxsim as rs
from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.tail import gap_from_tail
from relaxsim.system.relative_entropy import kl_divergence
from statistical_budget import assert_rejected, assert_within

GAP = 0.422944645397757  # of x^4/4 - x^2/2 at T = 1/2, by a 60-digit Rayleigh-Ritz computation


def test_the_gap_of_a_double_well_from_its_density():
    system = rs.System("x**4/4 - x**2/2", temperature=0.5, domain=rs.Domain([(-4, 4)]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 256))
    step, mass = expm(fp.generator.toarray() * 0.5), [np.eye(256)[160]]
    for _ in range(24):
        mass.append(np.maximum(step @ mass[-1], 0.0))
    kl = kl_divergence(np.array(mass), fp.log_gibbs)
    times = np.arange(25) * 0.5
    previous = np.inf
    for end in (3.0, 5.0, 8.0, 12.0):
        found = gap_from_tail(times, kl, end=end)
        assert abs(found.gap - GAP) < found.bias_bound + 5e-5  # the grid's own gap is off by 3e-5
        assert found.bias_bound < previous / 4
        previous = found.bias_bound
        assert found.stderr == 0.0
    np.testing.assert_allclose(found.kl(times[-3:]), kl[-3:], rtol=1e-4)


def test_the_gap_of_an_ensemble_within_its_error():
    """Exact steps of an Ornstein-Uhlenbeck ensemble from a displaced start: KL falls like exp(-2t)."""
    rng = np.random.default_rng(1)
    times = np.arange(16) * 0.15
    decay = np.exp(-0.15)
    x = [1.5 + rng.standard_normal(40_000)]
    for _ in times[1:]:
        x.append(decay * x[-1] + np.sqrt(1 - decay**2) * rng.standard_normal(40_000))
    system = rs.System("x**2/2", temperature=1.0)
    path = rs.EnsemblePath(times, np.array(x)[..., None], system, 0.15, 0.0, "exact", 1, 1, 1)
    found = gap_from_tail(rs.track(path))
    assert found.reason == ""
    assert_within("tail: gap of an ensemble", found.gap, 1.0, found.stderr, found.bias_bound, dof=23)
    assert_rejected("tail: gap of an ensemble", found.gap, 2.0 * 1.0, found.stderr, found.bias_bound)


def test_two_modes_and_independent_noise():
    """The interval widened by the bias bound covers, though the window starts where the second mode still lives."""
    times, stderr = np.arange(0, 4.1, 0.2), np.full(21, 0.002)
    exact = 0.5 * np.exp(-1.8 * times) + 0.3 * np.exp(-6 * times)
    hits = 0
    for seed in range(100):
        noisy = exact + stderr * np.random.default_rng(seed).standard_normal(21)
        found = gap_from_tail(times, noisy, stderr)
        hits += abs(found.gap - 0.9) < 2 * found.stderr + found.bias_bound
    assert hits > 80


def test_no_tail_is_said_to_be_none():
    times = np.arange(10.0)
    found = gap_from_tail(times, np.full(10, 1e-4), np.full(10, 1e-3))
    assert np.isnan(found.gap)
    assert "noise" in found.reason
    assert "too few" in gap_from_tail(times[:3], np.exp(-times[:3])).reason


def test_what_cannot_be_used_is_refused():
    with pytest.raises(InputError, match="is missing"):
        gap_from_tail([0.0, 1.0])
    with pytest.raises(ShapeError, match="one shape"):
        gap_from_tail([0.0, 1.0], [1.0])
    with pytest.raises(InputError, match="increasing"):
        gap_from_tail([1.0, 0.0], [1.0, 0.5])
    with pytest.raises(InputError, match="nan"):
        gap_from_tail([0.0, 1.0], [1.0, np.nan])
