"""What the statements of relaxation are made of: the tolerance of two grids, mutants that are what they say."""

from __future__ import annotations

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.theorems import descent, ensembles, wells
from relaxsim.theorems.refinement import component, refined


def test_two_grids_allow_three_times_what_is_left() -> None:
    found = refined("c h^2", lambda n: 2.0 + 0.5 / n**2, 2.0, 10)
    assert found.passed
    assert found.missed / found.allowed == pytest.approx(1 / 3, rel=1e-6)
    assert refined("another limit", lambda n: 2.1 + 0.5 / n**2, 2.0, 10).rejected


def test_a_component_of_an_array_is_a_number() -> None:
    assert component(lambda n: np.arange(6).reshape(2, 3) * n, 1, 2)(10) == 50.0


def test_the_mutant_without_div_k_has_that_drift() -> None:
    x = np.array([[0.3, -0.4], [-1.2, 0.7]])
    right, wrong = ensembles.system(), ensembles._run_as("no div K")
    lost = right.temperature * right.divergence(x)
    np.testing.assert_allclose(wrong.drift(x), right.drift(x) - lost, rtol=1e-12)


def test_the_mutant_with_cold_noise_has_the_right_drift() -> None:
    x = np.array([[0.3, -0.4], [-1.2, 0.7]])
    right, wrong = ensembles.system(), ensembles._run_as("cold noise")
    assert wrong.temperature == right.temperature / 2
    np.testing.assert_allclose(wrong.drift(x), right.drift(x), rtol=1e-12)


@pytest.mark.parametrize("wrong", ["no div K", "cold noise"])
def test_the_density_mutants_have_the_drift_they_say(wrong: str) -> None:
    right = wells.plane(wells.SCALAR.full(turning=0.8))
    run = descent._mutated(right, wrong)
    x = np.array([[0.3, -0.4], [-1.2, 0.7]])
    lost = right.temperature * right.divergence(x) if wrong == "no div K" else 0.0
    np.testing.assert_allclose(run.drift(x), right.drift(x) - lost, rtol=1e-12)


def test_the_generator_of_a_mobility_of_any_sign_is_linear_in_it() -> None:
    system = wells.plane(rs.Mobility.constant([1.0, 0.3]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 20))
    assert abs(descent._generator(fp, 0.3) - fp.generator).max() < 1e-12
    # K = diag(1, -1) moves mass along y up the force
    mass = descent._wave(fp, 1).ravel()
    assert (descent._generator(fp, -1.0) @ mass) @ (np.log(mass) - fp.log_gibbs.ravel()) > 0
