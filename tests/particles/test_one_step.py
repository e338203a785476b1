"""Local weak errors of single steps by enumeration of the noise, in up to three dimensions, and mutants of them.

The slope of the local error is the weak order plus one.
"""

from dataclasses import replace

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles import one_step
from relaxsim.particles.schemes import registry
from relaxsim.particles.transfer import slopes
from relaxsim.system.elementary import sqrt

pytestmark = pytest.mark.nojit

HLM = "hummer-leimkuhler-matthews"
SYSTEMS = {(s.dim, s.time_dependent, k % 5): s for d in (1, 2, 3) for k, s in enumerate(one_step.systems(d)) if d > 1}
SYSTEMS |= {(1, k < 2, k % 2): s for k, s in enumerate(one_step.systems(1))}
FULL, CROSSED = 0, 1


def found(scheme, system, **options):
    """The last slope and the last error."""
    row = registry()[scheme] if isinstance(scheme, str) else scheme
    errors = one_step.errors(row, system, **options)
    return slopes(one_step.SHORT, errors)[-1], errors[-1]


def test_the_systems_are_what_they_are_said_to_be():
    assert [s.time_dependent for s in one_step.systems(3)] == [True] * 5 + [False] * 5
    for dim in (2, 3):
        words = [one_step.words(s.mobility, dim) for s in one_step.systems(dim)]
        assert words == 2 * ["full K(x)", "diagonal K(x)", "diagonal K(x)", "constant K", "constant K"]
    moving = SYSTEMS[3, True, FULL]
    assert moving.energy.time_dependent
    assert moving.mobility.time_dependent
    assert not isinstance(moving.temperature, float)
    for system in SYSTEMS.values():
        x = np.random.default_rng(1).uniform(-4, 4, (200, system.dim))
        assert np.linalg.eigvalsh(system.mobility(x, one_step.START)).min() > 0.2


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_series_is_that_of_a_linear_drift(dim):
    """E[exp(i k.X_h)] is known for E = |x|^2/2 and constant K and T, in closed form."""
    system = rs.System(" + ".join(f"{v}**2/2" for v in "xyz"[:dim]), 1.5, 0.8)
    waves, x = one_step._waves(dim), one_step.POINTS[0, :dim]
    first, second = one_step._series(system, waves, x, True)
    gaps = []
    for h in one_step.SHORT:
        decay = np.exp(-1.5 * h)
        exact = np.exp(1j * decay * waves @ x - 0.4 * (1 - decay**2) * (waves**2).sum(axis=1))
        gaps.append(np.abs(np.exp(1j * waves @ x) + h * first + h * h * second / 2 - exact).max())
    np.testing.assert_allclose(slopes(one_step.SHORT, gaps), 3, atol=0.01)


def test_the_series_knows_the_time():
    """d_t L phi: E = -t x has the drift t, so that X_h is x + t h + h**2/2 in the mean."""
    system = rs.System("-t*x", 1.0, 0.8)
    waves, x = one_step._waves(1), np.array([0.3])
    first, second = one_step._series(system, waves, x, True)
    rate, k = 1j * one_step.START * waves[:, 0] - 0.8 * waves[:, 0] ** 2, waves[:, 0]
    np.testing.assert_allclose(first, rate * np.exp(1j * k * x), atol=1e-12)
    np.testing.assert_allclose(second, (rate**2 + 1j * k) * np.exp(1j * k * x), atol=1e-7)


@pytest.mark.parametrize(
    ("scheme", "dim", "slope"),
    [
        ("platen", 2, 3),
        ("platen", 3, 3),
        ("w2ito1", 1, 3),
        ("euler-maruyama", 3, 2),
        ("heun", 3, 2),
        (HLM, 2, 2),
        (HLM, 3, 2),
        ("pvd2", 2, 2),
    ],
)
@pytest.mark.parametrize("moving", [True, False], ids=["moving", "still"])
def test_local_errors_are_of_the_weak_order_and_one(scheme, dim, slope, moving):
    assert slope == registry()[scheme].weak_order["gaussian"] + 1
    assert abs(found(scheme, SYSTEMS[dim, moving, FULL])[0] - slope) < 0.03


@pytest.mark.parametrize("moving", [True, False], ids=["moving", "still"])
def test_platen_with_a_diagonal_mobility_of_all_coordinates(moving):
    assert abs(found("platen", SYSTEMS[3, moving, CROSSED])[0] - 3) < 0.03


# ---- the noise of PVD-2: weak order two by itself


def shared(model, x, t, h, noise, carried):
    """PVD-2 with the rule as published: c_b for each pair a < b."""
    d = len(x)
    pairs = [noise[d + b] for a in range(d) for b in range(a + 1, d)]
    return registry()["pvd2"].step(model, x, t, h, [*noise[: 2 * d], *pairs], carried)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", [FULL, CROSSED], ids=["full", "crossed"])
def test_the_noise_of_pvd2_is_of_second_order(dim, kind):
    assert abs(found("pvd2", SYSTEMS[dim, False, kind], drift=False)[0] - 3) < 0.03


def test_one_sign_an_axis_takes_the_second_order_in_three_dimensions():
    mutant, system = replace(registry()["pvd2"], step=shared), SYSTEMS[3, False, FULL]
    slope, error = found(mutant, system, drift=False)
    assert abs(slope - 2) < 0.1
    assert error > 4 * found("pvd2", system, drift=False)[1]


def test_one_sign_an_axis_is_as_good_in_two_dimensions():
    """The signs of the second part enter it by their product alone: the law is the same."""
    system = SYSTEMS[2, False, FULL]
    errors = [one_step.errors(replace(registry()["pvd2"], step=s), system) for s in (shared, registry()["pvd2"].step)]
    np.testing.assert_allclose(*errors, rtol=1e-6)


def test_pvd2_draws_a_sign_for_each_axis_and_each_pair():
    assert [registry()["pvd2"].signs(dim) for dim in (1, 2, 3, 4)] == [0, 3, 6, 10]


# ---- mutants


def frozen(name):
    """A scheme that stays at t = 0."""
    row = registry()[name]
    return replace(row, step=lambda model, x, t, *more: row.step(model, x, 0.0 * t, *more))


def no_later(name):
    """A scheme whose every stage is at the time of the step's start."""

    class Still:
        def __init__(self, model, t):
            self.model, self.t = model, t

        def __getattr__(self, name):
            function = getattr(self.model, name)
            if not callable(function) or name in ("inside", "mirror_sign"):
                return function
            return lambda x, t, *more: function(x, self.t, *more)

    row = registry()[name]
    return replace(row, step=lambda model, x, t, *more: row.step(Still(model, t), x, t, *more))


@pytest.mark.parametrize(("scheme", "dim"), [("euler-maruyama", 3), ("platen", 3), ("w2ito1", 1), (HLM, 3)])
def test_a_frozen_time_is_found(scheme, dim):
    assert found(frozen(scheme), SYSTEMS[dim, True, FULL])[0] < 1.2


@pytest.mark.parametrize(("scheme", "dim"), [("platen", 3), ("w2ito1", 1)])
def test_stages_at_the_wrong_time_are_found(scheme, dim):
    assert abs(found(no_later(scheme), SYSTEMS[dim, True, FULL])[0] - 2) < 0.1


def test_signs_that_two_pairs_share_are_found_in_platen():
    platen = registry()["platen"]
    mutant = replace(platen, step=lambda m, x, t, h, z: platen.step(m, x, t, h, [*z[:4], z[3], z[3]]))
    assert found(mutant, SYSTEMS[3, False, FULL])[0] < 2.2


def test_the_published_drift_of_averaged_noise_is_found_in_its_second_step():
    """(3/4) T div K: the first step, from no noise, is wrong for either rule."""

    def step(model, x, t, h, noise, carried):
        drift, slope = model.drift(x, t), model.divergence(x, t)
        kick = model.kick(x, t, [0.5 * (carried[a] + noise[a]) for a in range(len(x))])
        heat = 0.25 * model.temperature
        return [*(x[a] + h * (drift[a] - heat * slope[a]) + sqrt(h) * kick[a] for a in range(len(x))), *noise]

    for dim in (2, 3):
        assert found(replace(registry()[HLM], step=step), SYSTEMS[dim, False, FULL])[0] < 1.3
        assert found(registry()[HLM], SYSTEMS[dim, False, FULL])[0] > 1.97


def test_what_is_not_enumerated_says_why():
    reasons = {name: one_step.why_not_enumerated(row) for name, row in registry().items()}
    assert {name for name, reason in reasons.items() if reason} == {"lamperti", "mala", "sphere", "time-rescaling"}
    assert reasons["mala"] == reasons["time-rescaling"] == "not applicable: only the law at rest is claimed"
    many = replace(registry()[HLM], signs=lambda dim: 12)
    assert one_step.errors(many, SYSTEMS[3, True, FULL]) is None
