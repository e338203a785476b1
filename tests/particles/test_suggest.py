"""Time steps that are suggested, and warnings of those that are too large, where the right answer is known."""

import math
import pickle
import warnings

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles import stiffness
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import registry
from relaxsim.particles.suggest import nice_below, warn_if_unstable

pytestmark = pytest.mark.nojit

NEAR = rs.initial.normal([1.0, 0.0], 0.1)


def warned(system, initial, dt, scheme="euler-maruyama", t=0.0):
    """The message of the warning, or None."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_unstable(system, initial, dt, t, 1000, 1, registry()[scheme])
    assert all(one.category is rs.StabilityWarning for one in caught)
    return str(caught[0].message) if caught else None


# ---- linear systems, where lambda is known

H = np.array([[3.0, 1.0], [1.0, 2.0]])
K = np.array([[1.0, 0.6], [0.6, 4.0]])
RATES = np.linalg.eigvals(K @ H).real
LINEAR = rs.System("3*x**2/2 + x*y + 2*y**2/2", K, 0.5)


@pytest.mark.parametrize("k", [0.3, 4.0, 1e6])
def test_the_rate_of_an_ornstein_uhlenbeck_process_is_exact(k):
    found = rs.suggest_dt(rs.System("k*x**2/2".replace("k", str(k)), 2.5, 0.5), rs.initial.normal(1.0, 0.1))
    assert found.stiffest.rate == pytest.approx(2.5 * k, rel=1e-12)
    assert found.stability_bound == pytest.approx(2 / (2.5 * k), rel=1e-12)
    assert found == nice_below(0.1 / (2.5 * k))
    assert f"lambda = {2.5 * k:.4g}" in found.reason


def test_the_rate_with_a_full_mobility_is_an_eigenvalue_of_the_product():
    found = rs.suggest_dt(LINEAR, NEAR)
    assert found.stiffest.rate == pytest.approx(RATES.max(), rel=1e-12)
    # mutants: neither the Hessian alone, nor K alone, nor the product of their largest eigenvalues
    for other in (np.linalg.eigvalsh(H).max(), np.linalg.eigvalsh(K).max()):
        assert abs(other / RATES.max() - 1) > 0.3
    assert np.linalg.eigvalsh(H).max() * np.linalg.eigvalsh(K).max() > 1.1 * RATES.max()


def test_anisotropic_mobilities_count_axis_by_axis():
    system = rs.System("50*x**2/2 + y**2/2", [0.01, 8.0], 0.5)
    found = rs.suggest_dt(system, NEAR)
    assert found.stiffest.rate == pytest.approx(8.0, rel=1e-12)  # not 50, and not 400
    assert found == 0.01


def test_a_mobility_that_varies_counts_where_the_particles_are():
    """K = 1 + 9 exp(-(x - 1)^2 / (2 0.1^2)) is 10 at the start and 1 elsewhere."""
    system = rs.System("x**2/2", "1 + 9*exp(-50*(x - 1)**2)", 0.5)
    found = rs.suggest_dt(system, rs.initial.point([1.0]))
    assert found.stiffest.rate == pytest.approx(10.0, rel=1e-3)
    assert found.stiffest.point[0] == pytest.approx(1.0, abs=0.02)
    assert "a step changes K" in found.reason  # on a length of 0.1 that is what limits the step
    assert found < 0.01


def test_a_current_does_not_relax():
    """With K = 1 + A the rates are complex: |e|^2 / Re e is what a step has to resolve."""
    system = rs.System("x**2/2 + y**2/2", rs.Mobility.constant(1.0).with_antisymmetric([[0, 3.0], [-3.0, 0]]), 0.5)
    found = rs.suggest_dt(system, NEAR)
    assert found.stiffest.rate == pytest.approx(math.sqrt(10), rel=1e-12)
    assert found.stability_bound == pytest.approx(2 * 1 / 10, rel=1e-12)
    assert warned(system, NEAR, 0.19) is None
    assert "dt lambda = 2.1 > 2" in warned(system, NEAR, 0.21)


def steps_grow(step, h, system):
    """Whether 200 steps without noise enlarge a deviation from the minimum."""
    x, zero = [np.array([1e-3]), np.array([1e-3])], [np.zeros(1)] * 2
    for _ in range(200):
        x = step(ArrayModel(system), x, 0.0, h, zero)
    return bool(np.hypot(*x)[0] > 2e-3)


@pytest.mark.parametrize("scheme", ["euler-maruyama", "leimkuhler-matthews"])
def test_the_bound_is_where_steps_begin_to_grow(scheme):
    bound = rs.suggest_dt(LINEAR, NEAR).stability_bound
    for part, grows in ((1.05, True), (0.95, False), (0.5, False)):
        assert steps_grow(registry()[scheme].step, part * bound, LINEAR) is grows
        assert (warned(LINEAR, NEAR, part * bound, scheme) is not None) is grows


def test_the_mutant_that_ignores_the_mobility_is_off_by_its_factor(monkeypatch):
    system = rs.System("x**2/2", 8.0, 0.5)
    start = rs.initial.normal(1.0, 0.1)
    right = rs.suggest_dt(system, start)
    assert (right, right.stability_bound) == (0.01, 0.25)
    monkeypatch.setattr(stiffness, "rates", lambda system, *args, **more: rates(system.replace(mobility=1.0), *args))
    wrong = rs.suggest_dt(system, start)
    assert wrong.stiffest.rate == pytest.approx(1.0, rel=1e-6)
    assert steps_grow(registry()["euler-maruyama"].step, 0.3, rs.System("x**2/2 + y**2/2", 8.0, 0.5))
    assert warned(system, start, 0.3) is None  # the mutant lets it pass


rates = stiffness.rates


# ---- Hessians


def test_differences_and_derivatives_agree():
    system = rs.System("(x**2 - 1)**2 + y**2/2 + exp(x*y/4)", ["1 + sin(x)**2/2", "1"], 0.5)
    x = np.random.default_rng(2).normal(0, 1, (200, 2))
    derived, differences = (rates(system, x, 0.0, derived=flag) for flag in (True, False))
    np.testing.assert_allclose(differences.fastest, derived.fastest, rtol=1e-7)
    np.testing.assert_allclose(differences.stable, derived.stable, rtol=1e-7, atol=1e-7)


def test_functions_that_cannot_be_traced():
    """A branch: the stiff side is the left one."""
    energy = rs.Energy(
        lambda x: 20 * x[0] ** 2 if x[0] < 0 else x[0] ** 2,
        grad=lambda x: (40 * x[0] if x[0] < 0 else 2 * x[0],),
        dim=1,
    )
    system = rs.System(energy, 1.0, 0.5)
    found = rs.suggest_dt(system, rs.initial.normal(1.0, 0.1))  # the start is on the soft side
    assert found.stiffest.rate == pytest.approx(40.0, rel=1e-4)
    assert found.stiffest.point[0] < 0
    assert warned(system, rs.initial.normal(-1.0, 0.1), 0.051) is not None


def test_many_dimensions_use_the_power_method():
    n = 16
    hessian = np.diag(np.linspace(1.0, 30.0, n))
    system = rs.System(" + ".join(f"{hessian[k, k] / 2}*x{k}**2" for k in range(n)), 1.0, 0.5)
    start = rs.initial.point([0.1] * n)
    assert rs.suggest_dt(system, start).stiffest.rate == pytest.approx(30.0, rel=1e-9)
    x = np.random.default_rng(0).normal(size=(4, n))
    found = stiffness._power_method(system, x, 0.0)
    assert np.all((found > 27.0) & (found < 30.1))


def test_a_place_that_relaxation_reaches_counts():
    """x^4 from its flat bottom: the start has rate 0."""
    system = rs.System("x**4", 1.0, 0.5)
    found = rs.suggest_dt(system, rs.initial.point([0.0]))
    reached = abs(found.stiffest.point[0])
    assert found.stiffest.rate == pytest.approx(12 * reached**2, rel=1e-9)
    assert 0.9 < reached < 2.0  # the standard deviation at rest is 0.69
    far = rs.suggest_dt(system, rs.initial.point([5.0]))
    assert far.stiffest.rate == pytest.approx(12 * 25, rel=0.02)


# ---- the number, its reason, its form


def test_a_suggestion_is_a_float_with_a_reason():
    found = rs.suggest_dt(LINEAR, NEAR)
    assert isinstance(found, float)
    assert found.dt == float(found) == 0.005
    assert found * 2 == 0.01
    assert f"{found:g}" == str(found) == "0.005"
    assert repr(found).startswith("SuggestedStep(dt=0.005, stability_bound=0.")
    assert "dt lambda <= 0.1 with lambda = " in found.reason
    again = pickle.loads(pickle.dumps(found))
    assert (again, again.reason, again.stiffest) == (found, found.reason, found.stiffest)
    with pytest.raises(AttributeError, match="does not change"):
        found.reason = "none"


@pytest.mark.parametrize(
    ("value", "nice"), [(1.0, 1.0), (0.99, 0.5), (0.1, 0.1), (0.0999, 0.05), (7e-9, 5e-9), (2.0, 2.0), (49.9, 20.0)]
)
def test_nice_numbers(value, nice):
    assert nice_below(value) == nice


def test_accuracy_scales_the_step():
    start = rs.initial.normal(1.0, 0.1)
    assert rs.suggest_dt(rs.System("x**2/2", 1.0, 0.5), start, accuracy=0.01) == 0.01
    with pytest.raises(rs.InputError, match="accuracy: expected a positive"):
        rs.suggest_dt(LINEAR, NEAR, accuracy=0)
    with pytest.raises(rs.InputError, match=r"(?s)system: expected a System.*initial: expected a law"):
        rs.suggest_dt(1, 2)


def test_the_box_limits_the_step_of_a_free_particle():
    """sqrt(2 T K dt) <= 0.1 of the box: dt <= 0.01 L^2 / (2 T K)."""
    box = rs.System("0*x", 2.0, 0.5, rs.Domain([(0, 3)]))
    found = rs.suggest_dt(box, rs.initial.uniform())
    assert found == nice_below(0.01 * 9 / 2)
    assert found.stability_bound == math.inf
    assert "between the walls" in found.reason
    free = rs.suggest_dt(rs.System("0*x", 2.0, 0.5), rs.initial.point([0.0]))
    assert "nothing was found that limits the step" in free.reason


def test_a_mobility_that_vanishes_at_walls_leaves_a_step():
    found = rs.suggest_dt(rs.diffusion_machine("x", temperature=0.3), rs.initial.uniform())
    assert 0.005 <= found <= 0.1


def test_systems_that_change_with_time_are_looked_at_once_and_said_so():
    system = rs.System("(1 + 9*t)*x**2/2", 1.0, 0.5)
    start = rs.initial.normal(1.0, 0.1)
    early, late = rs.suggest_dt(system, start), rs.suggest_dt(system, start, t=1.0)
    assert (early.stiffest.rate, late.stiffest.rate) == pytest.approx((1.0, 10.0))
    assert "evaluated at t = 1 only" in late.reason
    assert warned(system, start, 0.3, t=0.0) is None
    assert warned(system, start, 0.3, t=1.0) is not None


# ---- warnings


def test_the_warning_names_place_rate_bound_and_a_step_to_try():
    message = warned(rs.System("4*x**2/2", 1.0, 0.5), rs.initial.point([0.25]), 0.525)
    assert message.startswith("dt = 0.525 is beyond the linear stability bound 2/lambda = 0.5: at (0.25)")
    assert "lambda = 4" in message
    assert "dt lambda = 2.1 > 2" in message
    assert "Try dt = 0.1," in message


def test_a_run_beyond_the_bound_warns_and_names_the_line_of_the_call():
    system = rs.System("4*x**2/2", 1.0, 0.5)
    with pytest.warns(rs.StabilityWarning, match="2/lambda = 0.5") as caught:
        rs.simulate(system, rs.initial.point([0.25]), n_particles=1, dt=0.525, times=[0, 0.525], rng=1, threads=1)
    assert caught[0].filename == __file__
    assert issubclass(rs.StabilityWarning, UserWarning)


def test_steps_longer_than_the_box_are_warned_of():
    free, pushed = rs.System("0*x", 1.0, 0.5, rs.Domain([(0, 2)])), rs.System("40*x", 1.0, 0.5, rs.Domain([(0, 2)]))
    start = rs.initial.uniform()
    assert warned(free, start, 3.9) is None
    message = warned(free, start, 4.1)
    assert "sqrt(2 T K dt) = 2.02, longer than the 2 between the walls" in message
    assert "Try dt = 0.02," in message
    assert warned(pushed, start, 0.049) is None
    assert "|F| dt = 2.04" in warned(pushed, start, 0.051)


def test_a_circle_has_no_walls():
    circle = rs.System("0*x", 1.0, 0.5, rs.Domain([(0, 1)], boundary="periodic"))
    assert warned(circle, rs.initial.uniform(), 10.0) is None


def test_a_scheme_that_cannot_leave_the_box_is_exempt():
    machine = rs.diffusion_machine("20*x**2", temperature=0.3)
    assert warned(machine, rs.initial.uniform(), 1.0) is not None
    assert warned(machine, rs.initial.uniform(), 1.0, "sphere") is None


def test_metropolis_is_warned_where_it_would_stay():
    """At x = 4, dt E'' = 9.6: a proposal lands near -9, far higher up, and is refused again and again."""
    quartic, dt = rs.System("x**4/4", 1.0, 0.5), 0.2
    assert "dt lambda = 9.6 > 2" in warned(quartic, rs.initial.point([4.0]), dt, "mala")
    assert warned(quartic, rs.initial.point([0.0]), dt, "mala") is None
    pushed = rs.System("40*x", 1.0, 0.5, rs.Domain([(0, 2)]))
    assert warned(pushed, rs.initial.uniform(), 0.2) is not None
    assert warned(pushed, rs.initial.uniform(), 0.2, "mala") is None  # exact, however long its steps are
    step, model, x = registry()["mala"].step, ArrayModel(quartic), np.full(1000, 4.0)
    noise = [np.random.default_rng(1).standard_normal(1000), np.random.default_rng(2).random(1000)]
    assert step(model, [x], 0.0, dt, noise, [0.0 * x])[1].mean() == 0


def test_a_place_reached_within_the_first_steps_counts():
    """The start has rate 0; one step of size 0.4 leads to where 12 x^2 dt > 2."""
    assert warned(rs.System("x**4", 1.0, 1.0), rs.initial.point([0.0]), 0.3) is not None
    assert warned(rs.System("x**4", 1.0, 1.0), rs.initial.point([0.0]), 0.01) is None


@pytest.mark.parametrize("a", [3.0, 10.0, 100.0])
def test_a_system_that_circulates_gets_a_step_that_keeps_its_variance(a):
    """E = |x|^2/2 and K = 1 + A: Euler-Maruyama's variance is 1/(1 - h (1 + a^2)/2), exactly."""
    system = rs.System("x**2/2 + y**2/2", rs.Mobility.constant(1.0).with_antisymmetric([[0, a], [-a, 0]]), 1.0)
    step = rs.suggest_dt(system, rs.initial.normal([0.0, 0.0], 1.0))
    assert step.stability_bound == pytest.approx(2 / (1 + a * a), rel=1e-6)
    assert 1 / (1 - step.dt * (1 + a * a) / 2) < 1.06
    assert 0.1 / np.hypot(1, a) > 2 * step.dt  # the modulus of the rates alone would allow far more


def test_a_kink_of_the_energy_limits_the_step():
    step = rs.suggest_dt(rs.System("abs(x)", temperature=0.01), rs.initial.normal(0.0, 0.1))
    assert step.dt <= 0.01  # T / |E'|^2
    assert "abruptly" in step.reason
    smooth = rs.suggest_dt(rs.System("(x**2 - 1)**2", temperature=0.2), rs.initial.normal(0.0, 0.1))
    assert "abruptly" not in smooth.reason


def test_a_wish_for_no_accuracy_still_keeps_half_the_stability_bound():
    step = rs.suggest_dt(rs.System("x**2/2", temperature=1.0), rs.initial.normal(0.0, 1.0), accuracy=10.0)
    assert step.dt <= step.stability_bound / 2
