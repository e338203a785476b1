"""`check_scheme` passes what is right and rejects what is wrong, each by the check that is there for it."""

import dataclasses
import re

import numpy as np
import pytest

import relaxsim as rs
from particles.problems import loud, without_divergence
from relaxsim.particles.scheme_check import Check, SchemeReport, _one_steps, _why_not_in_the_plane
from relaxsim.particles.schemes import registry
from relaxsim.particles.transfer import Transfer, gibbs_means
from relaxsim.particles.wall_transfer import WallTransfer
from relaxsim.system.elementary import sqrt

EULER = registry()["euler-maruyama"]
CIRCLE = rs.System("cos(x) + 0.5*sin(2*x)", "1 + 0.5*sin(x)", 0.8, rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
GAUSSIAN = {"weak_order": {"gaussian": 1}, "invariant_order": {"gaussian": 1}}


def forgetful(model, x, t, h, noise):
    """Euler-Maruyama that changes its argument."""
    drift, kick = model.drift(x, t), model.kick(x, t, noise)
    out = [x[a] + h * drift[a] + sqrt(h) * kick[a] for a in range(len(x))]
    KEPT.append(1)
    return [out[a] + 1e-9 * len(KEPT) for a in range(len(x))]


KEPT = []


def frozen(model, x, t, h, noise):
    """Euler-Maruyama at the time 0."""
    return EULER.step(model, x, 0.0 * t, h, noise)


def loud_third(model, x, t, h, noise):
    """Euler-Maruyama with too much noise from the third axis on."""
    drift, kick = model.drift(x, t), model.kick(x, t, noise)
    return [x[a] + h * drift[a] + (1.0 if a < 2 else 1.5) * sqrt(h) * kick[a] for a in range(len(x))]


def three_quarters(model, x, t, h, noise, carried):
    """Averaged noise with the published drift."""
    drift, slope = model.drift(x, t), model.divergence(x, t)
    kick = model.kick(x, t, [0.5 * (carried[a] + noise[a]) for a in range(len(x))])
    less = [0.25 * model.temperature * slope[a] for a in range(len(x))]
    return [*[x[a] + h * (drift[a] - less[a]) + sqrt(h) * kick[a] for a in range(len(x))], *noise]


def failed(report):
    return {check.name for check in report.checks if check.passed is False}


def like_euler(step, **more):
    return dataclasses.replace(EULER, id="mutant", step=step, **{**GAUSSIAN, **more})


@pytest.mark.parametrize("scheme", ["euler-maruyama", "sphere"])
@pytest.mark.nojit
def test_schemes_that_are_right_pass(scheme):
    report = rs.testing.check_scheme(scheme, compiled=False)
    assert failed(report) == set()
    assert report.passed
    report.raise_if_failed()
    table = str(report).splitlines()
    assert table[0] == f"scheme '{scheme}'"
    assert table[1].split() == ["check", "measured", "expected", "verdict"]
    for noise in registry()[scheme].weak_order:
        assert {f"invariant order, {noise}", f"Gibbs, {noise}", f"weak order, {noise}"} <= {
            c.name for c in report.checks
        }


@pytest.mark.slow
@pytest.mark.parametrize("scheme", sorted(set(registry()) - {"euler-maruyama", "sphere"}))
def test_all_other_schemes_pass(scheme):
    rs.testing.check_scheme(scheme).raise_if_failed()


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("mala", "the kink between accepting and refusing is not resolved"),  # it carries a count alone
        ("pvd2", "what is carried makes the operator too large"),
        ("euler-maruyama", None),
    ],
)
def test_why_the_plane_is_not_measured(scheme, words):
    assert _why_not_in_the_plane(registry()[scheme]) == words


@pytest.mark.parametrize("step", [without_divergence, loud])
@pytest.mark.nojit
def test_wrong_laws_are_rejected_by_consistency_order_and_gibbs(step):
    report = rs.testing.check_scheme(like_euler(step), compiled=False)
    assert {"one step, dt -> 0", "invariant order, gaussian", "Gibbs, gaussian", "weak order, gaussian"} <= failed(
        report
    )
    with pytest.raises(rs.CheckFailedError, match=r"Gibbs, gaussian +error .* FAILED"):
        report.raise_if_failed()


def on_space_only(system):
    """What is wrong on R^n alone is found there; the laws in boxes and on circles take long."""
    return None if system.domain.boundary[0] == "unbounded" or system.mobility.is_constant else "it would take long"


@pytest.mark.parametrize("step", [frozen, loud_third])
@pytest.mark.nojit
def test_what_shows_in_three_dimensions_or_with_time_alone_is_rejected(step):
    report = rs.testing.check_scheme(like_euler(step, refuses=on_space_only), compiled=False)
    assert failed(report) == {"one step, 3-D, full K(x), moving"}
    assert re.fullmatch(r"FAILED: 1 of \d+ checks; not measured: 0", str(report).splitlines()[-1])


@pytest.mark.nojit
def test_the_published_drift_of_averaged_noise_is_rejected():
    right = dataclasses.replace(registry()["hummer-leimkuhler-matthews"], **GAUSSIAN)
    wrong = dataclasses.replace(right, step=three_quarters)
    assert [check.passed for row in (right, wrong) for check in _one_steps(row)] == [True, False]
    line = _one_steps(wrong)[0]
    assert (line.name, line.expected) == ("one step, 3-D, full K(x), moving", "2")


@pytest.mark.nojit
def test_single_steps_are_of_what_a_scheme_takes():
    chosen = ("platen", "heun", "leimkuhler-matthews", "milstein", "w2ito1")
    names = {name: [check.name for check in _one_steps(registry()[name])] for name in chosen}
    assert names["platen"] == names["heun"] == ["one step, 3-D, full K(x), moving"]
    assert names["leimkuhler-matthews"] == ["one step, 3-D, constant K, moving"]
    assert names["milstein"] == ["one step, 3-D, diagonal K(x), moving"]
    assert names["w2ito1"] == ["one step, 1-D, K(x), moving"]

    def refuses(system):
        return "it would move" if system.time_dependent and not system.mobility.is_constant else None

    still = like_euler(EULER.step, refuses=refuses)
    assert [check.name for check in _one_steps(still)] == [
        "one step, 3-D, full K(x)",
        "one step, 3-D, constant K, moving",
    ]
    (line,) = _one_steps(registry()["mala"])
    assert (line.measured, line.verdict) == ("not applicable: only the law at rest is claimed", "not measured")


@pytest.mark.nojit
def test_the_last_line_says_how_much_is_open():
    checks = [Check(name, "", "", passed) for name, passed in (("a", True), ("b", None), ("c", True))]
    assert str(SchemeReport("s", tuple(checks))).splitlines()[-1] == "passed: 2 checks; not measured: 1"
    wrong = SchemeReport("s", (*checks, Check("d", "", "", False)))
    assert str(wrong).splitlines()[-1] == "FAILED: 1 of 3 checks; not measured: 1"


@pytest.mark.nojit
def test_claims_that_are_too_high_are_rejected():
    bold = like_euler(EULER.step, weak_order={"gaussian": 2}, invariant_order={"gaussian": 2}, wall_order=1.5)
    found = failed(rs.testing.check_scheme(bold, compiled=False))
    assert {"invariant order, gaussian", "weak order, gaussian", "order at a wall"} <= found
    assert "Gibbs, gaussian" not in found


@pytest.mark.nojit
def test_a_claim_that_is_too_low_is_remarked():
    modest = dataclasses.replace(registry()["leimkuhler-matthews"], invariant_order={"gaussian": 1, "three-point": 1})
    report = rs.testing.check_scheme(modest, compiled=False)
    (line,) = [check for check in report.checks if check.name == "invariant order, gaussian"]
    assert (line.expected, line.passed) == ("1, claim more", True)


@pytest.mark.nojit
def test_a_noise_that_takes_the_order_is_rejected():
    weak = dataclasses.replace(
        registry()["leimkuhler-matthews"],
        weak_order={"gaussian": 1, "two-point": 1},
        invariant_order={"gaussian": 2, "two-point": 2},
    )
    found = failed(rs.testing.check_scheme(weak, compiled=False))
    assert "invariant order, two-point" in found
    assert "invariant order, gaussian" not in found


@pytest.mark.nojit
def test_a_step_with_a_memory_is_rejected():
    KEPT.clear()

    def refuses(system):
        return None if system.domain.periodic[0] else "walls would take long"

    report = rs.testing.check_scheme(like_euler(forgetful, refuses=refuses), compiled=False)
    assert "same arguments, same result" in failed(report)


@pytest.mark.nojit
def test_metropolis_without_its_determinant_is_rejected():
    mala = registry()["mala"]

    def step(model, x, t, h, noise, carried):
        """As if det B were the same everywhere."""
        return mala.step(Flat(model), x, t, h, noise, carried)

    class Flat:
        def __init__(self, model):
            self.model = model

        def __getattr__(self, name):
            return getattr(self.model, name)

        def volume(self, x, t):
            return [1.0 + 0.0 * x[0]]

    exact = gibbs_means(CIRCLE, [np.cos, np.sin])
    for scheme, wrong in ((mala, False), (dataclasses.replace(mala, step=step), True)):
        bias = abs(Transfer(scheme, CIRCLE).stationary_means(0.1, [np.cos, np.sin]) - exact).max()
        assert bias > 1e-2 if wrong else bias < 1e-4


@pytest.mark.nojit
def test_what_is_carried_is_resolved_where_it_matters():
    """PVD-2 needs the force of the step before; the operator's size shows that a counter is left out."""
    bases, operator = Transfer("pvd2", CIRCLE).law(0.1)
    assert [basis.kind for basis in bases] == ["trigonometric", "legendre"]
    assert len(operator) == 65 * bases[1].n
    np.testing.assert_allclose(operator.sum(axis=1), 1.0, atol=1e-10)
    assert len(Transfer("mala", CIRCLE).law(0.1)[0]) == 1


@pytest.mark.nojit
def test_the_law_at_walls_is_that_of_a_fine_simulation_by_hand():
    """Euler-Maruyama for E = 0 between mirrors keeps the uniform law exactly."""
    box = rs.System("0*x", 1.0, 0.5, rs.Domain.hypercube(1))
    for h in (0.02, 0.3):
        means = WallTransfer("euler-maruyama", box, n=24).means(h, [lambda x: x, lambda x: x**2])
        np.testing.assert_allclose(means, [1 / 2, 1 / 3], atol=1e-11)
