"""Tables of values: the interpolation of NumPy as an expression, in schedules, energies, ensembles and densities."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles.batched import BatchedKernel
from relaxsim.particles.batched_loops import CompiledLoops
from relaxsim.particles.schemes import registry

TIMES, VALUES = [-1.0, 0.0, 0.5, 2.0, 3.0], [2.0, 1.0, 1.5, 0.3, 0.4]
BOX = rs.Domain([(-6, 6)])
RAMP = rs.Temperature.piecewise_linear([0.0, 0.5, 2.0], [1.0, 0.75, 0.0001])  # 1 - t/2 up to t = 1/2
SMOOTH = rs.Temperature("1 - rate*t", params={"rate": 0.5})
START = rs.initial.normal(1.0, 0.3)


@pytest.mark.nojit
def test_it_is_the_interpolation_of_numpy():
    schedule, t = rs.Temperature.piecewise_linear(TIMES, VALUES), np.linspace(-3, 6, 901)
    np.testing.assert_allclose(schedule(t), np.interp(t, TIMES, VALUES), rtol=1e-14)
    np.testing.assert_allclose(schedule(np.array(TIMES)), VALUES, rtol=1e-14)
    traced = rs.Temperature(lambda t: np.interp(t, TIMES, VALUES))
    np.testing.assert_array_equal(traced(t), schedule(t))
    composed = rs.Temperature(lambda t: 0.1 + np.interp(2 * t, TIMES, VALUES) ** 2)
    np.testing.assert_allclose(composed(t), 0.1 + np.interp(2 * t, TIMES, VALUES) ** 2, rtol=1e-14)


@pytest.mark.nojit
def test_long_tables_are_functions():
    times = np.linspace(0, 10, 1000)
    with pytest.raises(rs.ExpressionError, match=r"characters, at most .* pass a function"):
        rs.Temperature.piecewise_linear(times, 1 + np.sin(times) ** 2)
    long = rs.Temperature(lambda t: np.interp(t, times, 1 + np.sin(times) ** 2))
    np.testing.assert_allclose(long(times), 1 + np.sin(times) ** 2, rtol=1e-11)
    some = np.random.default_rng(1).uniform(1.0, 2.0, (2, 180)).cumsum(axis=1)
    assert rs.Temperature.piecewise_linear(*some)(some[0, 7]) == pytest.approx(some[1, 7], rel=1e-12)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("times", "values", "kind", "words"),
    [
        ([0, 1], [1.0, 0.0], rs.InputError, "^values: expected positive temperatures, got 0"),
        ([0, 1, 1], [1.0, 2.0, 3.0], rs.InputError, "^times: expected increasing ones, got 1 and then 1"),
        ([0, np.nan], [1.0, 2.0], rs.InputError, "expected finite numbers"),
        ([0, 1], [1.0, 2.0, 3.0], rs.ShapeError, r"two lists of n >= 2 numbers each, got \(2,\) and \(3,\)"),
        ([0], [1.0], rs.ShapeError, "two lists of n >= 2 numbers"),
        ([0, 1], [1.0, "hot"], rs.ShapeError, "^values: expected numbers"),
        ([0, 1], [1.0, 1.0], rs.InputError, "does not depend on t; give it as a number"),
    ],
)
def test_tables_that_are_refused(times, values, kind, words):
    with pytest.raises(kind, match=words):
        rs.Temperature.piecewise_linear(times, values)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda t: np.interp(t, TIMES, VALUES, left=1.0), "without left, right or period"),
        (lambda t: np.interp(1.0, [0.0, t], [1.0, 2.0]), "cannot be traced"),
        (lambda t: np.interp(1.0, np.arange(2.0), t), "first argument only"),
    ],
)
def test_other_interpolations_are_not_guessed(function, words):
    with pytest.raises(rs.ExpressionError, match=words):
        rs.Temperature(function)


@pytest.mark.nojit
def test_functions_of_numpy_that_work_on_objects_still_do():
    """The tracer takes part in NumPy's dispatch for interp alone."""
    energy = rs.Energy(lambda x: np.sum(np.stack([x[0] ** 2, 3 * x[1] ** 2])) + np.dot([x[0]], [x[1]]), dim=2)
    found = rs.System(energy, temperature=1.0).gradient([[1.0, 2.0]])
    np.testing.assert_allclose(found, [[4.0, 13.0]])


@pytest.mark.nojit
def test_energies_and_mobilities_take_it():
    energy = rs.Energy(lambda x, t: np.interp(t, TIMES, VALUES) * x[0] ** 2 / 2, dim=1, time_dependent=True)
    tabled = rs.System(energy, temperature=1.0)
    bent = rs.System(rs.Energy(lambda x: np.interp(x[0], [-1.0, 0.0, 2.0], [3.0, 0.0, 1.0]), dim=1), temperature=1.0)
    for t in (0.25, 1.0, 9.0):
        assert tabled.gradient([[2.0]], t)[0, 0] == pytest.approx(2 * np.interp(t, TIMES, VALUES), rel=1e-14)
    np.testing.assert_allclose(bent.gradient([[-2.0], [-0.5], [1.0], [3.0]])[:, 0], [0.0, -3.0, 0.5, 0.0], atol=1e-15)


def test_batched_functions_take_it_compiled():
    def gradient(X, t):
        return np.interp(t, TIMES, VALUES) * X

    energy = rs.Energy(
        lambda X, t: np.sum(X * gradient(X, t), axis=0) / 2, grad=gradient, dim=20, batched=True, time_dependent=True
    )
    kernel = BatchedKernel(rs.System(energy, temperature=1.0), registry()["euler-maruyama"])
    assert isinstance(kernel._loops, CompiledLoops)


# ---- in use: on its first piece it is a straight line, which a text says too


def ensemble(temperature, **more):
    system = rs.System("x**2/2", 1.0, temperature, BOX)
    arguments = {"n_particles": 600, "dt": 0.01, "times": [0.0, 0.25, 0.5], "rng": 4, "scheme": "euler-maruyama"}
    return rs.simulate(system, START, **arguments | more)


def test_ensembles_agree_with_the_line_and_keep_their_bits(tmp_path):
    found, line = ensemble(RAMP), ensemble(SMOOTH)
    np.testing.assert_allclose(found.positions, line.positions, rtol=1e-9, atol=1e-12)
    steeper = ensemble(SMOOTH.with_params({"rate": 0.6}))
    assert np.abs(steeper.positions[-1] - line.positions[-1]).max() > 1e-3  # the mutant
    bits = found.positions
    np.testing.assert_array_equal(ensemble(RAMP, threads=2).positions, bits)
    by_function = ensemble(lambda t: np.interp(t, [0.0, 0.5, 2.0], [1.0, 0.75, 0.0001]))
    np.testing.assert_array_equal(by_function.positions, bits)
    found.save(tmp_path / "run.npz")
    loaded = rs.load(tmp_path / "run.npz")
    assert loaded.system.temperature.schedule == RAMP.schedule
    np.testing.assert_array_equal(ensemble(loaded.system.temperature).positions, bits)


@pytest.mark.nojit
def test_densities_agree_with_the_line():
    def evolved(temperature):
        fp = rs.FokkerPlanck(rs.System("x**2/2", 1.0, temperature, BOX), rs.Grid(BOX, 16))
        return fp.evolve(START, [0.0, 0.5])

    found, line, curve = evolved(RAMP), evolved(SMOOTH), evolved("exp(-t)")
    np.testing.assert_allclose(found.mass, line.mass, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rs.track(found).free_energy, rs.track(line).free_energy, rtol=1e-10)
    assert np.abs(curve.mass - line.mass).max() > 1e-3  # the mutant
    times = np.linspace(0, 0.5, 17)  # off by h^2/8 at most, 1.2e-4
    table = evolved(rs.Temperature.piecewise_linear(times, np.exp(-times)))
    np.testing.assert_allclose(table.mass, curve.mass, rtol=0, atol=1.2e-4)
