"""Systems and domains: what is checked, what is collected, what changes."""

import numpy as np
import pytest

import relaxsim as rs

pytestmark = pytest.mark.nojit


def test_drift_is_thermal_drift_minus_mobility_times_gradient():
    system = rs.System("x**2 + x*y", [["2 + x**2", "0.3*y"], ["0.3*y", "1"]], 0.7, rs.Domain([(-1, 1)] * 2))
    x, y = 0.4, -0.6
    K = np.array([[2 + x**2, 0.3 * y], [0.3 * y, 1.0]])
    expected = 0.7 * np.array([2 * x + 0.3, 0.0]) - K @ [2 * x + y, x]
    np.testing.assert_allclose(system.drift([x, y]), expected, rtol=1e-14)


def test_dimension_follows_from_the_parts():
    assert rs.System("x**2", temperature=1.0).dim == 1
    assert rs.System("x**2 + y**2", temperature=1.0).dim == 2
    assert rs.System("x**2", [1.0, 2.0, 3.0], 1.0).dim == 3
    assert rs.System("x**2", 1.0, 1.0, rs.Domain.unbounded(2)).dim == 2
    assert rs.System(lambda x: sum(u**2 for u in x), 1.0, 1.0, rs.Domain.unbounded(4)).gradient([1, 2, 3, 4])[3] == 8


def test_texts_that_skip_a_coordinate_do_not_tell_the_dimension():
    with pytest.raises(rs.ShapeError) as caught:
        rs.System("x1**2/2 + x2**2/2", temperature=1.0)
    message = str(caught.value)
    assert message.startswith("system: got x1 (y), x2 (z), but not x0 (x). Coordinates count from x0")
    assert "these would be 3" in message
    assert "Energy(..., dim=3) or a domain of 3 axes" in message
    for energy, mobility, missing in [
        ("y**2/2", 1.0, r"but not x0 \(x\)"),
        ("x + x5**2", 1.0, r"got x0 \(x\), x5, but not x1 \(y\), x2 \(z\), x3 \(w\), x4\."),
        ("0", "1 + y**2", r"but not x0 \(x\)"),
        (rs.Energy("a*y**2", params={"a": 1.0}), 1.0, r"but not x0 \(x\)"),
    ]:
        with pytest.raises(rs.ShapeError, match=missing):
            rs.System(energy, mobility, 1.0)


def test_a_flat_coordinate_can_be_stated():
    text = "x1**2/2 + x2**2/2"
    for system in [
        rs.System(rs.Energy(text, dim=3), temperature=1.0),
        rs.System(text, 1.0, 1.0, rs.Domain([(-1, 1)] * 3)),
        rs.System(text, [1.0, 1.0, 1.0], 1.0),
        rs.System("x + x2**2/2", "1 + x1**2", 1.0),
    ]:
        assert system.dim == 3 == system.replace(temperature=2.0).dim
    assert rs.System("x**2/2", "1 + x1**2", 1.0).dim == 2
    assert rs.System(rs.Energy("b**2/2", variables=["a", "b"]), temperature=1.0).dim == 2
    assert rs.System("0", temperature=1.0).dim == 1
    assert rs.System(lambda x: sum(u**2 for u in x), "1 + y**2", 1.0).dim == 2
    turning = rs.Mobility.diagonal("1 + y**2").with_antisymmetric(lambda x: ((0.0, x[0]), (-x[0], 0.0)))
    assert rs.System("y**2/2", turning, 1.0).dim == 2


def test_a_system_does_not_change():
    system = rs.System("x**2", temperature=1.0)
    with pytest.raises(AttributeError, match="replace"):
        system.temperature = 2.0
    assert system.replace(temperature=2.0).temperature == 2.0
    assert system.temperature == 1.0


def test_with_params_reaches_energy_and_mobility():
    system = rs.System(
        rs.Energy("a*x**2", params={"a": 1.0}), rs.Mobility.diagonal("1 + a*x**2", params={"a": 1.0}), temperature=1.0
    )
    other = system.with_params(a=3)
    assert other.energy([2.0]) == 12.0
    assert other.mobility([2.0]) == 13.0
    with pytest.raises(rs.InputError, match="parameter"):
        system.with_params(b=1)


def test_all_problems_come_at_once():
    with pytest.raises(rs.InputError) as caught:
        rs.System("x**2 + q", [[1, 2], [2, 1]], temperature=-1, domain="box")
    message = str(caught.value)
    assert message.startswith("4 problems")
    assert all(word in message for word in ("energy: ", "mobility: ", "temperature: ", "domain: "))


def test_domain_wraps_and_contains():
    domain = rs.Domain([(-1, 1), (0, 2)], boundary=["periodic", "reflecting"])
    np.testing.assert_allclose(domain.wrap(np.array([[2.5, 1.0]])), [[0.5, 1.0]])
    np.testing.assert_array_equal(domain.contains(np.array([[5.0, 1.0], [0.0, 3.0]])), [True, False])
    assert domain == rs.Domain([(-1, 1), (0, 2)], boundary=["periodic", "reflecting"])
    assert domain != rs.Domain([(-1, 1), (0, 2)])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rs.System("x**2"), rs.InputError, "temperature: is required"),
        (lambda: rs.System("x**2", temperature=0), rs.InputError, "deterministic flow"),
        (lambda: rs.System("x**2", temperature=-0.5), rs.InputError, "temperature: expected a positive"),
        (lambda: rs.System("x**2", temperature=np.nan), rs.InputError, "temperature"),
        (lambda: rs.System("x**2", temperature="warm"), rs.ExpressionError, "temperature: unknown name"),
        (lambda: rs.System("x**2", temperature=True), rs.InputError, "temperature"),
        (lambda: rs.System("x", 1, 1, rs.Domain([(0, 1)], boundary="periodic")), rs.DomainError, "axis 0 is periodic"),
        (
            lambda: rs.System("cos(x)", "2 + sin(x)", 1, rs.Domain([(0, 6)], boundary="periodic")),
            rs.InputError,
            "mobility differs",
        ),
        (lambda: rs.System("log(x)", 1, 1, rs.Domain([(-1, 1)])), rs.InputError, "energy: is not a number at"),
        (lambda: rs.System("x", 1, 1, rs.Domain([(0, 1)])).replace(temprature=2), rs.InputError, "temperature"),
        (lambda: rs.System("x + y", 1, 1, rs.Domain([(0, 1)])), rs.ShapeError, "the domain has 1.* uses 2. .*from x0"),
        (lambda: rs.Domain([(1, 0)]), rs.DomainError, "low < high"),
        (lambda: rs.Domain([(0, np.nan)]), rs.DomainError, "expected numbers"),
        (lambda: rs.Domain([(0, np.inf)]), rs.DomainError, "half-infinite"),
        (lambda: rs.Domain([0, 1, 2]), rs.ShapeError, "pair an axis"),
        (lambda: rs.Domain("box"), rs.ShapeError, "bounds"),
        (lambda: rs.Domain([(0, 1)], boundary="periodc"), rs.DomainError, "did you mean 'periodic'"),
        (lambda: rs.Domain([(0, 1)], boundary=[("absorbing", "periodic")]), rs.DomainError, "a pair of 'reflecting'"),
        (lambda: rs.Domain([(0, 1)], boundary=[("absorbing", "absorbig")]), rs.DomainError, "did you mean 'absorbing'"),
        (lambda: rs.Domain([(-np.inf, np.inf)], boundary="absorbing"), rs.DomainError, "no finite ends"),
        (lambda: rs.Domain([(0, 1)], boundary=[3]), rs.DomainError, "expected a word for axis 0"),
        (lambda: rs.Domain([(0, 1)], boundary=["periodic"] * 2), rs.DomainError, "expected 1 entries"),
        (lambda: rs.Domain([(-np.inf, np.inf)], boundary="periodic"), rs.DomainError, "no finite ends"),
        (lambda: rs.Domain.unbounded(0), rs.DomainError, "integer >= 1"),
        (lambda: rs.Domain.hypercube(1.5), rs.DomainError, "integer >= 1"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
