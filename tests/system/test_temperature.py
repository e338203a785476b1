"""A temperature that changes with time: ways to give it, what reads it, and what refuses it."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.schemes import choose
from relaxsim.system.relative_entropy import log_cell_weights

BOX = rs.Domain([(-6, 6)])


def cooling(t):
    return 0.1 + np.exp(-t)


def step_down(t):
    return 1.0 if t < 1 else 0.5


def test_a_number_stays_a_number():
    system = rs.System("x**2/2", temperature=1)
    assert isinstance(system.temperature, float)
    assert system.temperature_at(3.0) == system.temperature == 1.0
    assert not system.time_dependent


@pytest.mark.parametrize("constant", ["0.5", " 1/2 ", "sqrt(0.25)", lambda t: 0.5])
def test_a_text_or_function_without_t_is_the_number_it_is(constant):
    system = rs.System("x**2/2", temperature=constant)
    assert isinstance(system.temperature, float)
    assert system.temperature == 0.5
    assert not system.time_dependent
    assert not rs.System("x**2/2", temperature=0.4).replace(temperature=constant).time_dependent


@pytest.mark.parametrize(
    "schedule", ["0.1 + exp(-t)", cooling, rs.Temperature("0.1 + hot*exp(-t)", params={"hot": 1.0})]
)
def test_texts_functions_and_schedules_with_parameters(schedule):
    system = rs.System("x**2/2", "1 + x**2", schedule)
    assert system.time_dependent
    assert isinstance(system.temperature, rs.Temperature)
    for t in (0.0, 1.5):
        assert system.temperature_at(t) == pytest.approx(cooling(t), rel=1e-15)
        np.testing.assert_allclose(system.drift([0.5], t), cooling(t) * 1.0 - 1.25 * 0.5)
    np.testing.assert_allclose(system.temperature(np.array([0.0, 1.5])), [cooling(0.0), cooling(1.5)])
    assert "Temperature(" in repr(system)
    assert system.replace(mobility=1.0).temperature_at(1.5) == system.temperature_at(1.5)


def test_parameters_change_without_a_new_form():
    system = rs.System("x**2/2", temperature=rs.Temperature("hot/(1 + t)", params={"hot": 2.0}))
    with pytest.raises(rs.InputError, match=r"no energy, mobility or temperature .*did you mean 'hot'"):
        system.with_params(hit=1.0)
    other = system.with_params(hot=3.0)
    assert (system.temperature_at(1.0), other.temperature_at(1.0)) == (1.0, 1.5)
    with pytest.raises(rs.InputError, match=r"positive.* got -1 at t = 0"):
        system.with_params(hot=-1.0)


def test_a_named_number_is_a_number_that_parameters_change():
    given = rs.Temperature("kB*T0", params={"kB": 0.5, "T0": 1.0})
    system = rs.System("x**2/2", "1 + x**2", given, BOX)
    assert isinstance(system.temperature, float)
    assert not system.time_dependent
    assert system.temperature == system.temperature_at(3.0) == 0.5
    assert "Temperature('kB*T0'" in repr(system)
    warm = system.with_params(T0=3.0).replace(mobility=2.0).with_params(kB=1.0)
    assert warm.temperature == 3.0
    with pytest.raises(rs.InputError, match=r"^temperature: .*got -0\.5"):
        system.with_params(kB=-0.5)
    with pytest.raises(rs.ExpressionError, match=r"unknown name 'kT'\. .*params=\{'kT': value\} to .*Temperature"):
        system.replace(temperature="kT")


def test_a_named_number_runs_in_the_kernel_of_a_number():
    plain, named = (rs.System("x**2/2", "1 + x**2", T, BOX) for T in (0.5, rs.Temperature("kT", params={"kT": 0.5})))
    kernels = [Kernel(each, choose("euler-maruyama", each)) for each in (plain, named, named.with_params(kT=0.7))]
    assert kernels[0].source == kernels[1].source == kernels[2].source
    assert [kernel._values[0] for kernel in kernels] == [0.5, 0.5, 0.7]
    assert {type(kernel._values[0]) for kernel in kernels} == {np.float64}


@pytest.mark.parametrize(
    ("schedule", "kind", "words"),
    [
        ("t", rs.InputError, "positive finite number at every time, got 0 at t = 0"),
        ("1/t", rs.InputError, "got inf at t = 0"),
        ("1 + x + t", rs.ExpressionError, "a function of the time t alone"),
        ("-1/2", rs.InputError, "expected a positive finite number, got -0.5"),
        ("0", rs.InputError, "T = 0 is the deterministic flow"),
        ("hot*exp(-t)", rs.ExpressionError, "unknown name 'hot'"),
        (
            step_down,
            rs.ExpressionError,
            r"step_down cannot be traced: .*branch.*piecewise_linear\(.*sign\(",
        ),
        (lambda t: (t, t), rs.ExpressionError, "must return one number"),
        (lambda t: -1.0, rs.InputError, "expected a positive finite number, got -1"),
        (True, rs.InputError, "expected a positive finite number"),
        ([1.0], rs.InputError, "expected a positive finite number"),
    ],
)
def test_what_is_refused(schedule, kind, words):
    with pytest.raises(kind, match=rf"^temperature: .*{words}"):
        rs.System("x**2/2", temperature=schedule)


def test_schedules_of_their_own_are_checked():
    with pytest.raises(rs.InputError, match=r"params\['cold'\]: the temperature does not use it"):
        rs.Temperature("hot*exp(-t)", params={"hot": 1.0, "cold": 0.1})
    with pytest.raises(rs.ExpressionError, match="expected a number, a text or a function of t"):
        rs.Temperature(1.0)
    with pytest.raises(rs.InputError, match="does not depend on t; give it as a number"):
        rs.Temperature("1/2")


def test_a_run_checks_it_at_every_step():
    """Positive at the stored times, negative between them."""
    system = rs.System("x**2/2", temperature="1.5 + 0.5*cos(pi*t) - 1.2*sin(pi*t/2)**2", domain=BOX)
    arguments = {"n_particles": 1, "dt": 0.25, "rng": 1}
    with pytest.raises(rs.InputError, match=r"temperature: .*got -0\.2 at t = 1$"):
        rs.simulate(system, rs.initial.point(0.0), times=[0.0, 2.0], **arguments)


def test_no_time_is_given_a_temperature_that_is_none():
    system = rs.System("x**2/2", "1 + x**2", "0.1 - t", BOX)
    for asked in (
        lambda: system.temperature_at(0.5),
        lambda: system.temperature(np.array([0.0, 0.5, 0.7])),
        lambda: system.drift([[1.0]], 0.5),
        lambda: log_cell_weights(system, rs.Grid(BOX, 8), 0.5),
        lambda: rs.FokkerPlanck(system, rs.Grid(BOX, 64)).generator_at(0.5),
        lambda: rs.Grid.covering(rs.System("x**2/2", temperature="0.1 - t"), 8, times=[0.0, 0.5]),
    ):
        with pytest.raises(rs.InputError, match=r"^temperature: .*got -0\.4 at t = 0\.5$"):
            asked()
    with pytest.raises(rs.InputError, match=r"got inf at t = 2$"):
        rs.Temperature("1/(2 - t)")(2.0)
    with pytest.raises(rs.InputError, match=r"got nan at t = nan$"):
        system.temperature_at(np.nan)


def test_a_density_that_evolves_through_a_temperature_that_is_none():
    """Positive at the stored times, negative between them."""
    system = rs.System("x**2/2", temperature="cos(pi*t) + 0.1", domain=BOX)
    fp = rs.FokkerPlanck(system, rs.Grid(BOX, 32))
    with pytest.raises(rs.InputError, match=r"temperature: .*got -0\.\d+ at t = [01]\.\d+$"):
        fp.evolve(rs.initial.normal(0.0, 0.5), [0.0, 2.0], method="backward-euler", step=0.2)


# ---- who reads it


def test_gibbs_weights_take_it_at_their_time():
    grid = rs.Grid(BOX, 60)
    moving = rs.System("x**2/2", temperature=cooling, domain=BOX)
    for t in (0.0, 2.0):
        found, log_z = log_cell_weights(moving, grid, t)
        expected, other = log_cell_weights(moving.replace(temperature=cooling(t)), grid)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert log_z == pytest.approx(other, rel=1e-12)


def test_covering_takes_it_at_the_start():
    moving, still = (rs.System("x**2/2", temperature=T) for T in (cooling, cooling(0.0)))
    np.testing.assert_array_equal(rs.Grid.covering(moving, 32).bounds, rs.Grid.covering(still, 32).bounds)


def test_who_needs_one_gibbs_law_refuses_it():
    system = rs.System("x**2/2", temperature=cooling, domain=BOX)
    with pytest.raises(rs.InputError, match="the Gibbs law moves"):
        rs.testing.assert_gibbs(np.zeros((200, 1)), system)
