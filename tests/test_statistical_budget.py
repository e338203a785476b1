"""The registry of statistical assertions keeps its budget and its checks tell right from wrong."""

from pathlib import Path

import numpy as np
import pytest

import statistical_budget as budget
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.nojit

TESTS = Path(__file__).parent


@pytest.fixture
def registered(monkeypatch):
    """A registry of its own, so that these tests take nothing from the suite's budget."""
    monkeypatch.setattr(budget, "REGISTRY", {"check": 8})
    monkeypatch.setattr(budget, "_compared", budget.Counter())


def test_the_registry_keeps_to_the_budget():
    assert sum(budget.REGISTRY.values()) <= budget.BUDGET
    assert all(number >= 1 for number in budget.REGISTRY.values())


def test_every_registered_name_is_used():
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py") if path.name != Path(__file__).name
    )
    assert [name for name in budget.REGISTRY if f'"{name}"' not in text] == []


def test_thresholds_are_those_of_the_stated_rate():
    from mpmath import erfc, mp, mpf, sqrt

    with mp.workdps(30):
        tail = erfc(mpf(budget.z_threshold()) / sqrt(mpf(2)))
    assert float(tail) == pytest.approx(1e-9, rel=1e-9)
    assert 6.0 < budget.z_threshold() < 6.2


def test_student_threshold_has_the_stated_tail():
    from mpmath import betainc, mp, mpf

    for dof in (3, 7, 23):
        with mp.workdps(30):
            t = mpf(budget.student_threshold(dof))
            tail = betainc(mpf(dof) / 2, mpf(1) / 2, 0, dof / (dof + t**2), regularized=True)
        assert float(tail) == pytest.approx(1e-9, rel=1e-6)
    assert budget.student_threshold(1e9) == pytest.approx(budget.z_threshold(), rel=1e-6)


@pytest.mark.usefixtures("registered")
def test_an_unregistered_name_is_refused():
    with pytest.raises(LookupError, match="not registered"):
        assert_within("unknown", 0.0, 0.0, 1.0)
    with pytest.raises(LookupError, match="not registered"):
        assert_rejected("unknown", 0.0, 0.0, 1.0)


@pytest.mark.usefixtures("registered")
def test_a_right_value_passes_and_a_mutant_is_rejected():
    draws = np.random.default_rng(20260101).standard_normal((10_000, 4))
    stderr = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert_within("check", draws.mean(axis=0), 0.0, stderr)
    assert_rejected("check", draws.mean(axis=0) + 0.2, 0.0, stderr)


@pytest.mark.usefixtures("registered")
def test_a_wrong_value_fails_and_says_by_how_much():
    with pytest.raises(AssertionError, match=r"index \(1,\).*z = 7\.00, threshold 6\.11"):
        assert_within("check", [0.0, 7.0], 0.0, 1.0)
    with pytest.raises(AssertionError, match="z = nan"):
        assert_within("check", [0.0, np.nan], 0.0, 1.0)


@pytest.mark.usefixtures("registered")
def test_a_mutant_near_the_threshold_is_not_taken_as_rejected():
    with pytest.raises(AssertionError, match="take more samples"):
        assert_rejected("check", 7.0, 0.0, 1.0)
    with pytest.raises(AssertionError, match="take more samples"):
        assert_rejected("check", np.nan, 0.0, 1.0)


@pytest.mark.usefixtures("registered")
def test_the_known_bias_is_allowed_on_top():
    assert_within("check", 7.0, 0.0, 1.0, bias=1.0)
    with pytest.raises(AssertionError, match="only"):
        assert_rejected("check", 13.0, 0.0, 1.0, bias=1.0)


@pytest.mark.usefixtures("registered")
def test_few_replicates_get_a_wider_threshold():
    with pytest.raises(AssertionError, match="threshold"):
        assert_within("check", 8.0, 0.0, 1.0)
    assert_within("check", 8.0, 0.0, 1.0, dof=23)


@pytest.mark.usefixtures("registered")
def test_more_comparisons_than_registered_are_refused():
    assert_within("check", np.zeros(6), 0.0, 1.0)
    with pytest.raises(AssertionError, match="9 values compared, 8 registered"):
        assert_within("check", np.zeros(3), 0.0, 1.0)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("stderr", [0.0, -1.0, np.nan, np.inf])
def test_a_standard_error_must_be_one(stderr):
    with pytest.raises(ValueError, match="stderr must be positive and finite"):
        assert_within("check", 0.0, 0.0, stderr)


@pytest.mark.usefixtures("registered")
def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="bias must be finite"):
        assert_within("check", 0.0, 0.0, 1.0, bias=-1.0)
    with pytest.raises(ValueError, match="nothing to compare"):
        assert_within("check", [], 0.0, 1.0)
    with pytest.raises(ValueError, match="dof"):
        budget.student_threshold(0)
