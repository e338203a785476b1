"""First passage times and committors against integrals in one dimension and against each other in two."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

import relaxsim as rs
from relaxsim.density import passage
from relaxsim.errors import ConvergenceError, ExpressionError, InputError, ShapeError

pytestmark = pytest.mark.nojit

DATA = Path(__file__).resolve().parents[1] / "data"
T = 0.5


def line(mobility="1 + x**2/4", T=T, bounds=(-3, 3), **walls):
    return rs.System("(x**2 - 1)**2 + 0.3*x", mobility, T, rs.Domain([bounds], **walls))


def planck(system, cells):
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


def exact_time(x0, b, low=-3.0):
    """The double integral of Pontryagin, Andronov and Vitt for a reflecting wall at `low` and passage at b > x0."""

    def energy(x):
        return (x**2 - 1) ** 2 + 0.3 * x

    def below(y):
        return quad(lambda z: np.exp((energy(y) - energy(z)) / T), low, y, epsabs=1e-12, epsrel=1e-12)[0]

    return quad(lambda y: below(y) / (T * (1 + y**2 / 4)), x0, b, epsabs=1e-10, epsrel=1e-10)[0]


def slopes(errors):
    return np.log2(np.abs(errors[:-1]) / np.abs(errors[1:]))


CELLS = (99, 198, 396, 792)


def at(values, grid, x):
    from scipy.interpolate import CubicSpline

    finite = np.isfinite(values)
    return float(CubicSpline(grid.centers[0][finite], values[finite])(x))


@pytest.mark.parametrize("b", [0.17, 1.0])  # the edge cuts its cell somewhere, differently on each grid
def test_mean_first_passage_times_in_one_dimension(b):
    exact, errors = exact_time(-1.1, b), []
    for n in CELLS:
        fp = planck(line(), n)
        errors.append(at(fp.mean_first_passage_time(f"x > {b}"), fp.grid, -1.1) / exact - 1)
    errors = np.array(errors)
    assert abs(errors[-1]) < 2e-4
    assert slopes(errors).mean() > 1.8


def test_stopping_at_the_first_centre_inside_is_of_first_order(monkeypatch):
    """A mutant: jumps into the region are not cut at its edge."""
    exact, errors = exact_time(-1.1, 0.17), []
    monkeypatch.setattr(passage, "_SHORTEST", 1.0)
    for n in CELLS:
        fp = planck(line(), n)
        errors.append(at(fp.mean_first_passage_time("x > 0.17"), fp.grid, -1.1) / exact - 1)
    assert abs(errors[-1]) > 5e-4


@pytest.mark.parametrize("name", ["dw_T0.25", "dw_T0.5", "dw_Kvar"])
def test_known_passage_times_of_double_wells(name):
    (case,) = [each for each in json.loads((DATA / "spectra.json").read_text())["cases"] if each["id"] == name]
    system = rs.System(case["E"].replace("^", "**"), case["K"].replace("^", "**"), case["T"], rs.Domain([(-4, 4)]))
    fp = planck(system, 1020)  # the centre of a cell lies at -1
    start = int(np.argmin(np.abs(fp.grid.centers[0] + 1)))
    for text, region in (("mfpt(-1->1)", "x > 1"), ("mfpt(-1->0)", "x > 0")):
        if text in case["expect"]:
            time = fp.mean_first_passage_time(region)[start]
            assert time == pytest.approx(case["expect"][text]["value"], rel=2e-5)


def test_text_function_and_mask_are_one_region():
    fp = planck(line(), 120)  # the edge at 0.5 is a face
    by_text = fp.mean_first_passage_time("x > 0.5 and x < 9")
    by_function = fp.mean_first_passage_time(lambda x: x[0] - 0.5)
    by_answer = fp.mean_first_passage_time(lambda x: bool(x[0] > 0.5) if np.ndim(x[0]) == 0 else x[0] > 0.5)
    by_mask = fp.mean_first_passage_time(fp.grid.centers[0] > 0.5)
    np.testing.assert_allclose(by_function, by_text, rtol=1e-12)
    np.testing.assert_allclose(by_mask, by_text, rtol=1e-9)
    np.testing.assert_allclose(by_answer, by_text, rtol=1e-9)
    assert np.all(by_text[fp.grid.centers[0] > 0.5] == 0)


def test_committors_in_one_dimension():
    """q(x) = int_a^x e^{E/T}/K / int_a^b e^{E/T}/K."""

    def weight(x):
        return np.exp(((x**2 - 1) ** 2 + 0.3 * x) / T) / (1 + x**2 / 4)

    a, b, x = -0.87, 1.13, 0.1
    exact = quad(weight, a, x)[0] / quad(weight, a, b)[0]
    errors = []
    for n in CELLS:
        fp = planck(line(), n)
        q = fp.committor(f"x < {a}", f"x > {b}")
        assert q.min() == 0
        assert q.max() == 1
        assert np.all(np.diff(q) >= 0)
        errors.append(at(q, fp.grid, x) - exact)
    assert abs(errors[-1]) < 3e-5
    assert slopes(np.array(errors)).mean() > 1.8
    swapped = fp.committor(f"x > {b}", f"x < {a}")
    np.testing.assert_allclose(swapped, 1 - q, atol=1e-10)


@pytest.mark.parametrize("ratio", [1, 30])
def test_a_channel_that_closes_on_itself_is_a_line(ratio):
    """On a strip periodic in y, with E(x) and constant K, only K_xx counts: wide offsets are cut."""
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    K = turn @ np.diag([1.0, 1.0 / ratio]) @ turn.T
    domain = rs.Domain([(-2, 2), (0, 2)], boundary=["reflecting", "periodic"])
    plane = rs.System(rs.Energy("x**2/2 + 0*y"), K if ratio > 1 else 1.0, 0.7, domain)
    thin = rs.System("x**2/2", float(K[0, 0]), 0.7, rs.Domain([(-2, 2)]))
    narrow = planck(thin, 1600)
    exact = [narrow.mean_first_passage_time("x > 1.03"), narrow.committor("x < -1.2", "x > 1.03")]
    errors = []
    for n in (40, 80):
        fp = planck(plane, (n, n // 2))
        found = [fp.mean_first_passage_time("x > 1.03"), fp.committor("x < -1.2", "x > 1.03")]
        for values in found:
            np.testing.assert_allclose(values, values[:, :1] * np.ones((1, n // 2)), atol=1e-9)
        errors.append(
            [at(f[:, 0], fp.grid, 0.2) / at(e, narrow.grid, 0.2) - 1 for f, e in zip(found, exact, strict=True)]
        )
    assert np.all(np.abs(errors[-1]) < 4e-3)
    assert np.all(np.abs(errors[-1]) < np.abs(errors[0]))


def test_the_committor_halves_at_the_saddle_of_a_symmetric_landscape():
    system = rs.System("(x**2 - 1)**2 + y**2/2", temperature=T, domain=rs.Domain([(-2, 2), (-2, 2)]))
    fp = planck(system, (41, 40))
    q = fp.committor("(x + 1)**2 + y**2 < 0.1", "(x - 1)**2 + y**2 < 0.1")
    np.testing.assert_allclose(q[20], 0.5, atol=1e-9)
    np.testing.assert_allclose(q + q[::-1], 1.0, atol=1e-9)


def test_passages_add_up_along_the_line():
    """From -1 to 1 the way leads through 0."""
    fp = planck(rs.System("x**4/4 - x**2/2", temperature=0.3, domain=rs.Domain([(-3, 3)])), 900)
    start = 300
    assert fp.grid.centers[0][start] == pytest.approx(-1.0, abs=4e-3)
    whole, first = fp.mean_first_passage_time("x > 1"), fp.mean_first_passage_time("x > 0")
    assert whole[start] == pytest.approx(first[start] + at(whole, fp.grid, 0.0), rel=1e-5)


def test_around_a_periodic_axis_both_ways_count():
    """On a ring without energy: x(L - x)/(2 T K) between the two ends of the region."""
    ring = rs.System("0*x", temperature=T, domain=rs.Domain([(0, 1)], boundary="periodic"))
    fp = planck(ring, 200)
    x = fp.grid.centers[0]
    times = fp.mean_first_passage_time("x > 0.75")
    np.testing.assert_allclose(times[x < 0.75], (x * (0.75 - x) / (2 * T))[x < 0.75], atol=1e-5)


def test_what_can_not_be_reached_takes_for_ever():
    def energy(x):
        return np.where(np.abs(x[0]) < 0.2, np.inf, x[0] ** 2)

    system = rs.System(rs.Energy(energy, grad=lambda x: (2 * x[0],), dim=1), 1.0, 1.0, rs.Domain([(-2, 2)]))
    fp = planck(system, 200)
    x, closed = fp.grid.centers[0], np.isneginf(fp.log_gibbs)
    times = fp.mean_first_passage_time("x > 1")
    assert np.all(np.isinf(times[(x < 0) & ~closed]))
    assert np.all(np.isfinite(times[(x > 0) & ~closed]))
    assert np.all(np.isnan(times[closed]))
    chance = fp.committor("x > 1.5", "x > 0.3 and x < 0.5")
    assert np.all(np.isnan(chance[x < 0]))


def test_passages_too_rare_for_double_precision_are_refused():
    fp = planck(rs.System("x**4/4 - x**2/2", temperature=0.006, domain=rs.Domain([(-2, 2)])), 1000)
    with pytest.raises(ConvergenceError, match="too rare for double precision"):
        fp.mean_first_passage_time("x > 0")


@pytest.mark.parametrize(
    ("region", "error", "message"),
    [
        (None, InputError, "no wall of the domain absorbs"),
        ("x > 7", InputError, "no cell's centre lies in it"),
        ("y > 1", ShapeError, "uses 2 coordinates"),
        ("x + 1", ExpressionError, "not a comparison"),
        ("x > 0 and x^2 < 1", ExpressionError, r"region: .*for powers use \*\* \(column 3\)\n +x\^2\n"),
        (3, InputError, "expected a condition"),
        (np.ones(3, dtype=bool), ShapeError, "a mask of bool"),
        (np.ones(50), ShapeError, "a mask of bool"),
        ("log(x) > 0", InputError, "not a number"),
    ],
)
def test_regions_that_are_refused(region, error, message):
    with pytest.raises(error, match=message):
        planck(line(), 50).mean_first_passage_time(region)


def test_regions_that_meet_are_refused():
    with pytest.raises(InputError, match=r"a, b: the regions share \d+ cells"):
        planck(line(), 50).committor("x > 0", "x > 1")
