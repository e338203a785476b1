"""A system as plain data and back: texts to the last bit, functions recognised by their values."""

import json
import logging

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.schemes import choose
from relaxsim.system import saved

pytestmark = pytest.mark.nojit

BOX = rs.Domain([(-3, 3), (-np.pi, np.pi)], ["reflecting", "periodic"])
TEXTS = {
    "constant": lambda: rs.System("(x**2 - 1)**2", temperature=0.5, domain=rs.Domain([(-3, 3)])),
    "parameters": lambda: rs.System(
        rs.Energy("a*u**2/2 + v**4", variables=["u", "v"], params={"a": 0.1 + 0.2}),
        rs.Mobility.tensor([["1 + k", "0.2"], ["0.2", "1 + v**2"]], params={"k": 1 / 3}, variables=["u", "v"]),
        rs.Temperature("hot/(1 + t)", {"hot": 2 / 3}),
        rs.Domain([(-np.inf, np.inf), (0, 1)]),
    ),
    "antisymmetric": lambda: rs.System(
        "x**2 + cos(y) + t*x**2",
        rs.Mobility.diagonal("1 + x**2", "2 + sin(y)").with_antisymmetric(
            [["0", "s*cos(y)"], ["-s*cos(y)", "0"]], params={"s": 1.1}
        ),
        0.3,
        BOX,
    ),
    "constant antisymmetric": lambda: rs.System(
        "x**2 + y**2", rs.Mobility.constant([[2.0, 0.3], [0.3, 1.0]]).with_antisymmetric([[0, 0.7], [-0.7, 0]]), 0.3
    ),
    "named temperature": lambda: rs.System("x**2/2", temperature=rs.Temperature("kT", {"kT": 1 / 3})),
    "temperature that is none later": lambda: rs.System("x**2/2", temperature="0.5 - t"),
    "machine": lambda: rs.diffusion_machine("(x - y)**2", "tanh", temperature=0.3, beta=[1.0, 2.5]),
}


def through_a_file(system):
    """The description as a file gives it back."""
    about, arrays = saved.describe(system)
    return json.loads(json.dumps(about, allow_nan=False)), arrays


@pytest.mark.parametrize("name", TEXTS)
def test_systems_of_text_are_rebuilt_to_the_last_bit(name):
    system = TEXTS[name]()
    about, arrays = through_a_file(system)
    rebuilt = saved.rebuild(about, arrays)
    assert rebuilt.domain == system.domain
    assert repr(rebuilt) == repr(system)
    again, values = through_a_file(rebuilt)
    assert again == about
    for field in arrays:
        np.testing.assert_array_equal(values[field], arrays[field])
    kernels = [Kernel(each, choose("euler-maruyama", each)) for each in (system, rebuilt)]
    assert kernels[0].source == kernels[1].source
    for one, two in zip(kernels[0]._values, kernels[1]._values, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_rebuilt_system_takes_new_parameters():
    rebuilt = saved.rebuild(*through_a_file(TEXTS["parameters"]().with_params(a=5.0)))
    assert rebuilt.energy.params == {"a": 5.0}
    assert rebuilt.with_params(k=2.0).mobility.params["k"] == 2.0


def valley(x):
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2


def other_valley(x):
    return (x[0] ** 2 - 1) ** 2 + 1.001 * x[1] ** 2


def with_functions(energy=valley, mobility=1.0, temperature=0.3, domain=None):
    return rs.System(rs.Energy(energy, dim=2), mobility, temperature, domain)


def test_functions_are_asked_for():
    about, arrays = through_a_file(with_functions(temperature=lambda t: 1 / (1 + t)))
    with pytest.raises(rs.InputError, match=r"energy, temperature.*not stored; pass it as system="):
        saved.rebuild(about, arrays)
    with pytest.raises(rs.InputError, match="expected a System, got str"):
        saved.rebuild(about, arrays, "x**2")


def test_the_same_functions_are_accepted():
    given = with_functions()
    about, arrays = through_a_file(with_functions())
    assert saved.rebuild(about, arrays, given) is given
    assert len(np.unique(arrays["system/points"], axis=0)) == 32


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"energy": other_valley}, r"its E at \(.*\) is .*, this one's "),
        ({"mobility": 1.01}, r"its K at "),
        ({"mobility": lambda x: (1 + x[0] ** 2, 1.0)}, r"its K at "),
        ({"mobility": [[1.0, 0.1], [0.1, 1.0]]}, r"its mobility depends on other things"),
        ({"temperature": 0.31}, r"its T is 0.3, this one's 0.31"),
        ({"temperature": "0.3 + t"}, r"its temperature depends on other things \(time"),
        ({"domain": rs.Domain([(-3, 3), (-4, 4)])}, r"its domain is .*inf.*, this one's .*-4"),
        ({"energy": lambda x: valley(x) + 0 * x[2]}, r"it has 2 coordinates, this one 3"),
    ],
)
def test_other_systems_are_refused_and_the_difference_named(changed, message):
    about, arrays = through_a_file(with_functions())
    if "2 coordinates" in message:
        other = rs.System(rs.Energy(changed["energy"], dim=3), temperature=0.3)
    else:
        other = with_functions(**changed)
    with pytest.raises(rs.InputError, match=message):
        saved.rebuild(about, arrays, other)


def test_a_change_with_time_alone_is_seen():
    def energy(factor):
        return rs.Energy(lambda x, t: x[0] ** 2 * (1 + factor * t), dim=1, time_dependent=True)

    about, arrays = through_a_file(rs.System(energy(1.0), temperature=0.3))
    with pytest.raises(rs.InputError, match=r"its E at \(.*\) at time 0.731"):
        saved.rebuild(about, arrays, rs.System(energy(1.1), temperature=0.3))


def test_a_changed_source_with_the_same_values_is_only_logged(caplog):
    about, arrays = through_a_file(with_functions(lambda x: valley(x)))
    with caplog.at_level(logging.WARNING, "relaxsim"):
        saved.rebuild(about, arrays, with_functions())
    assert "the source of energy" in caplog.text


def test_batched_systems_are_recognised():
    def chain(strength, coupling=0.1):
        def energy(x):
            return strength * ((x[1:] - x[:-1]) ** 2).sum(axis=0) + (x**2).sum(axis=0)

        def gradient(x):
            slope = 2 * x
            slope[1:] += 2 * strength * (x[1:] - x[:-1])
            slope[:-1] -= 2 * strength * (x[1:] - x[:-1])
            return slope

        mobility = np.eye(40) + coupling * (np.eye(40, k=1) + np.eye(40, k=-1))
        return rs.System(rs.Energy(energy, grad=gradient, dim=40, batched=True), mobility, temperature=0.3)

    about, arrays = through_a_file(chain(1.0))
    assert max(values.size for values in arrays.values()) <= 32 * 40
    given = chain(1.0)
    assert saved.rebuild(about, arrays, given) is given
    with pytest.raises(rs.InputError, match="its E at"):
        saved.rebuild(about, arrays, chain(1.0001))
    with pytest.raises(rs.InputError, match="its K at"):
        saved.rebuild(about, arrays, chain(1.0, coupling=0.1001))


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("mobility", "entries", ["param", "__import__('os')"]),
        ("mobility", "entries", ["call", "system", ["num", 1.0]]),
        ("mobility", "entries", ["param", "unknown"]),
        ("mobility", "structure", "unknown"),
        ("mobility", "params", {"K": "ls"}),
        ("energy", "text", "__import__('os').system('ls')"),
        ("energy", "params", {"a": 1.0}),
        ("domain", "bounds", [[3.0, -3.0]]),
    ],
)
def test_damaged_descriptions_are_refused(part, key, value):
    about, arrays = through_a_file(TEXTS["constant"]())
    about[part][key] = value
    with pytest.raises(rs.InputError, match="damaged"):
        saved.rebuild(about, arrays)


def test_a_text_that_is_not_what_was_saved_is_refused():
    about, arrays = through_a_file(TEXTS["constant"]())
    about["energy"]["text"] = "(x**2 - 1.1)**2"
    with pytest.raises(rs.InputError, match="not rebuilt as it was, its E"):
        saved.rebuild(about, arrays)
