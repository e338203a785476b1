"""The laws of the schemes that go beyond Euler-Maruyama's kind, without Monte Carlo: references, orders and mutants.

These are Heun, Hummer-Leimkuhler-Matthews, time rescaling, PVD-2, Platen, W2Ito1 and MALA; see `test_schemes` for the
systems and the others. Single steps, in three dimensions too, are in `test_one_step`.
"""

import inspect
import linecache
from dataclasses import replace

import numpy as np
import pytest

import relaxsim as rs
from particles.carried_transfer import NOISE_NODES, CarriedTransfer, force_nodes
from particles.problems import TWO, torus
from particles.test_schemes import (
    CONSTANT,
    DIAGONAL,
    FULL,
    ONE,
    REFERENCE,
    VARYING,
    circle,
    full_mobility,
    name_of,
    orders,
)
from particles.transfer import Basis, Transfer, WallTransfer, exact_mean_at, gibbs_means, slopes
from relaxsim.particles.factor import asked
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import choose, registry

pytestmark = pytest.mark.nojit

HLM = "hummer-leimkuhler-matthews"
CROSSED = torus(["1 + 0.5*sin(x + y)", "1 + 0.3*cos(x)"])  # diagonal, each entry of both coordinates
TURNING = torus(
    rs.Mobility.tensor(full_mobility()).with_antisymmetric(
        [["0", "0.6 + 0.3*sin(x)*cos(y)"], ["-(0.6 + 0.3*sin(x)*cos(y))", "0"]]
    )
)

BOX = rs.System("2*x + y", [["1 + x/2", "0.5*x*y"], ["0.5*x*y", "1 + y/2"]], 0.6, rs.Domain.hypercube(2))

# ---- stationary laws at finite steps

ROWS = {
    "HEUN_STRAT": ("heun", None, (0.2, 0.1, 0.05, 0.025, 0.0125)),
    "TIME_RESCALE+LM": ("time-rescaling", None, (0.2, 0.1, 0.05, 0.025, 0.0125)),
    "PLATEN2": ("platen", None, (0.2, 0.1, 0.05, 0.025, 0.0125)),
    "PVD2_MT2": ("pvd2", 37, (0.2, 0.1, 0.05, 0.025)),
    "HLM": (HLM, 37, (0.1, 0.05, 0.025)),
}


def reference(row, steps):
    expected = REFERENCE["methods"][row]
    return [expected["stationary_mean_of_observables"][expected["h"].index(h)] for h in steps]


@pytest.mark.parametrize("row", ROWS)
def test_stationary_means_at_finite_steps_are_the_reference(row):
    scheme, n, steps = ROWS[row]
    transfer = Transfer(scheme, VARYING, n=n)
    got = [transfer.stationary_means(h, ONE) for h in steps]
    np.testing.assert_allclose(got, reference(row, steps), rtol=0, atol=1e-9)


@pytest.mark.slow
def test_the_coarsest_step_of_averaged_noise_is_the_reference():
    got = Transfer(HLM, VARYING, n=37).stationary_means(0.2, ONE)
    np.testing.assert_allclose(got, reference("HLM", (0.2,))[0], rtol=0, atol=1e-9)


def w2ito1(x, z, sign, h):
    """The step of W2Ito1 for the problem of the reference, from the formulas and not from the scheme."""
    E1, K, K1 = (lambda u: -np.sin(u) + np.cos(2 * u)), (lambda u: 1 + 0.5 * np.sin(u)), (lambda u: 0.5 * np.cos(u))
    F, b, s = (lambda u: 0.8 * K1(u) - K(u) * E1(u)), (lambda u: np.sqrt(1.6 * K(u))), np.sqrt(h)
    stage1 = x + h / 2 * F(x) + s * (6 - np.sqrt(6)) / 10 * b(x) * z
    stage2 = x - h * F(x) + 2 * h * F(stage1) + s * (3 + 2 * np.sqrt(6)) / 5 * b(x) * z
    up, down = b(x + h / 4 * F(x) + s / 2 * b(x) * sign), b(x + h / 4 * F(x) - s / 2 * b(x) * sign)
    drift = h * (F(x) / 6 + 2 * F(stage1) / 3 + F(stage2) / 6)
    return x + drift + s * (up + down - b(x)) * z + 2 * s * (b(x) - down) * sign * (z * z - 1) / 2


def test_w2ito1_is_its_formulas():
    rng = np.random.default_rng(3)
    x, z, sign = rng.uniform(0, 6, 200), rng.normal(size=200), rng.choice([-1.0, 1.0], 200)
    for h in (0.2, 0.01):
        (got,) = registry()["w2ito1"].step(ArrayModel(VARYING), [x], 0.0, h, [z, sign])
        np.testing.assert_allclose(got, w2ito1(x, z, sign, h), rtol=0, atol=1e-13)


def test_invariant_slopes_of_w2ito1_are_the_measured():
    transfer, steps = Transfer("w2ito1", VARYING), (0.1, 0.05, 0.025, 0.0125)
    errors = [abs(transfer.stationary_means(h, ONE) - gibbs_means(VARYING, ONE)).max() for h in steps]
    np.testing.assert_allclose(slopes(steps, errors), [2.52, 2.55, 1.48], atol=0.006)


def test_weak_errors_at_time_one_are_the_reference():
    for row, scheme in (("HEUN_STRAT", "heun"), ("PLATEN2", "platen")):
        expected = REFERENCE["weak_error_t1_phi_cos"]["methods"][row]
        transfer = Transfer(scheme, VARYING)
        true = exact_mean_at(VARYING, np.cos, 1.0, transfer.positions)
        got = [transfer.weak_error(h, np.cos, true) for h in expected["h"]]
        np.testing.assert_allclose(got, expected["max_over_x0_abs_error"], rtol=1e-8)


# ---- orders in one dimension

ORDERS_1D = [
    *[("heun", noise) for noise in ("gaussian", "three-point", "two-point")],
    *[(HLM, noise) for noise in ("gaussian", "three-point", "two-point")],
    *[(scheme, noise) for scheme in ("time-rescaling", "pvd2", "platen") for noise in ("gaussian", "three-point")],
    *[("w2ito1", noise) for noise in ("gaussian", "three-point")],
]


def assert_order(found, claimed, last=0.12, before=0.35):
    assert abs(found[-1] - claimed) < last, f"slopes {found}, claimed {claimed}"
    assert np.all(abs(found - claimed) < before), f"slopes {found}, claimed {claimed}"


@pytest.mark.parametrize(("scheme", "noise"), ORDERS_1D, ids=name_of)
def test_orders_on_the_circle(scheme, noise):
    row = registry()[scheme]
    steps = (0.05, 0.025, 0.0125, 0.00625)
    options = {"n": 37} if row.carried else {}
    if scheme == "w2ito1":  # its error changes sign near h = 0.02
        steps = (0.00625, 0.003125, 0.0015625)
    transfer = Transfer(scheme, VARYING, noise, **options)
    exact = gibbs_means(VARYING, ONE)
    invariant = slopes(steps, [abs(transfer.stationary_means(h, ONE) - exact).max() for h in steps])
    assert_order(invariant, row.invariant_order[noise])
    if row.dynamics == "true":
        true = exact_mean_at(VARYING, np.cos, 1.0, transfer.positions, options.get("n"))
        weak = slopes(steps, [transfer.weak_error(h, np.cos, true) for h in steps])
        assert_order(weak, row.weak_order[noise], before=0.7 if noise == "three-point" else 0.35)


@pytest.mark.parametrize("scheme", ["time-rescaling", "pvd2", "platen", "w2ito1"])
def test_why_two_point_noise_is_refused(scheme):
    """It takes the second order from each."""
    assert "two-point" not in registry()[scheme].weak_order
    transfer, steps = Transfer(scheme, VARYING, "two-point", n=37), (0.025, 0.0125, 0.00625)
    errors = [abs(transfer.stationary_means(h, ONE) - gibbs_means(VARYING, ONE)).max() for h in steps]
    assert_order(slopes(steps, errors), 1, last=0.05, before=0.1)


def test_what_was_tested_is_what_is_claimed():
    tested = set(ORDERS_1D)
    names = ("heun", HLM, "time-rescaling", "pvd2", "platen", "w2ito1")
    assert tested == {(name, noise) for name in names for noise in registry()[name].weak_order}


# ---- orders in two dimensions

STEPS_2D = (0.1, 0.05, 0.025, 0.0125)


@pytest.mark.parametrize(
    ("scheme", "system", "before"),
    [
        ("heun", DIAGONAL, 0.35),
        ("heun", FULL, 0.35),
        ("heun", TURNING, 0.35),
        ("platen", DIAGONAL, 0.35),
        ("platen", FULL, 0.45),  # order 2 is reached slowly where columns do not commute
        ("platen", TURNING, 0.65),
    ],
    ids=name_of,
)
def test_orders_on_the_torus(scheme, system, before):
    invariant, weak = orders(scheme, system, "three-point", TWO, STEPS_2D)
    assert_order(invariant, registry()[scheme].invariant_order["three-point"], before=before)
    assert_order(weak, registry()[scheme].weak_order["three-point"], before=0.6)


def test_order_of_time_rescaling_on_the_torus():
    """k(x) times a full matrix."""
    system = torus([[f"{m}*(1 + 0.3*sin(x)*cos(y))" for m in row] for row in ((1.0, 0.4), (0.4, 0.7))])
    transfer, exact = Transfer("time-rescaling", system, "three-point"), gibbs_means(system, TWO, 97)
    errors = [abs(transfer.stationary_means(h, TWO) - exact).max() for h in STEPS_2D]
    assert_order(slopes(STEPS_2D, errors), 2)


COARSE = STEPS_2D[:3]


def bias(scheme, system, nodes, steps=COARSE, n=17):
    transfer, exact = CarriedTransfer(scheme, system, nodes, n), gibbs_means(system, TWO, 97)
    return np.array([abs(transfer.stationary_means(h, TWO) - exact).max() for h in steps])


@pytest.mark.parametrize("system", [FULL, DIAGONAL, CROSSED], ids=["full", "diagonal", "crossed"])
def test_order_of_pvd2_on_the_torus(system):
    assert_order(slopes(COARSE, bias(registry()["pvd2"], system, force_nodes(system))), 2, last=0.05, before=0.1)


def test_the_law_of_pvd2_is_resolved():
    """With more nodes in what it carries the bias stays."""
    coarse, fine = (bias(registry()["pvd2"], FULL, force_nodes(FULL, p), (0.1,), n=13) for p in (3, 4))
    np.testing.assert_allclose(coarse, fine, rtol=1e-3)


@pytest.mark.parametrize("system", [FULL, DIAGONAL, TURNING], ids=["full", "diagonal", "turning"])
def test_order_of_averaged_noise_on_the_torus(system):
    assert_order(slopes(COARSE, bias(registry()[HLM], system, NOISE_NODES)), 1, last=0.05, before=0.1)


def test_why_pvd2_refuses_an_antisymmetric_part():
    assert_order(slopes(COARSE, bias(registry()["pvd2"], TURNING, force_nodes(TURNING))), 1)
    with pytest.raises(rs.IncompatibleSchemeError, match="antisymmetric part, with which this scheme has order 1"):
        choose("pvd2", TURNING)


# ---- mutants


def changed(scheme, old, new):
    """A scheme whose step has one text in place of another; kernels too find its source."""
    step = registry()[scheme].step
    source, names = inspect.getsource(step), dict(step.__globals__)
    assert source.count(old) == 1
    source, file = source.replace(old, new), f"<{scheme} with {new}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    return replace(registry()[scheme], id="mutant", step=names["step"])


def test_unequal_signs_take_the_second_order_from_pvd2():
    """J_ba with a sign that is not that of J_ab turned round, as a public code has it."""
    mutant = changed("pvd2", "-noise[2 * len(x) + b * (2 * len(x) - b - 1) // 2 + a - b - 1]", "-c[b]")
    errors = bias(mutant, FULL, force_nodes(FULL))
    found = slopes(COARSE, errors)
    assert np.all(found < 1.5), found
    assert abs(found[-1] - 1) < 0.3
    assert errors[-1] > 4 * bias(registry()["pvd2"], FULL, force_nodes(FULL), COARSE[-1:])[0]


def test_the_published_drift_of_averaged_noise_is_biased_for_full_mobilities():
    """(3/4) T div K in place of T div K - T B^{cj} d_c B^{aj} / 2."""
    mutant = changed(HLM, "0.5 * spurious[a]", "0.25 * model.temperature * model.divergence(x, t)[a]")
    errors = bias(mutant, FULL, NOISE_NODES)
    assert np.all(slopes(COARSE, errors) < 0.25)
    assert np.all((errors > 0.0115) & (errors < 0.016))
    np.testing.assert_allclose(
        bias(mutant, DIAGONAL, NOISE_NODES, (0.05,)), bias(registry()[HLM], DIAGONAL, NOISE_NODES, (0.05,)), rtol=1e-9
    )


class HalfDivergence:
    """A model that gives (T/2) div K for the spurious drift."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def spurious(self, x, t):
        return [0.5 * self.model.temperature * slope for slope in self.model.divergence(x, t)]


def test_heun_with_half_the_divergence_is_biased_for_full_mobilities():
    transfer = Transfer("heun", FULL, "three-point")
    transfer.model = HalfDivergence(transfer.model)
    errors = [abs(transfer.stationary_means(h, TWO) - gibbs_means(FULL, TWO, 97)).max() for h in (0.025, 0.0125)]
    assert np.all(np.array(errors) > 0.02)


def test_plain_means_under_time_rescaling_are_biased():
    mutant = replace(registry()["time-rescaling"], weights=None)
    error = abs(Transfer(mutant, VARYING).stationary_means(0.0125, ONE) - gibbs_means(VARYING, ONE)).max()
    assert error > 0.05


# ---- the derivatives of the factor


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_spurious_drift_is_that_of_the_factor(dim):
    """T B^{cj} d_c B^{aj} against differences of Cholesky's factor."""
    rows = [["2 + sin(x)", "0.3*cos(x)", "0.2*x/(1 + x**2)"], ["0.3*cos(x)", "1.5 + 0.2*x", "0.1"]]
    rows.append(["0.2*x/(1 + x**2)", "0.1", "2 + cos(x)"])
    if dim > 1:
        rows[0][1] = rows[1][0] = "0.3*cos(x + 2*y)"
        rows[1][1] = "1.5 + 0.4*sin(x*y)"
    system = rs.System("x**2" + "".join(f" + {v}**2" for v in "yz"[: dim - 1]), [row[:dim] for row in rows[:dim]], 0.7)
    x, step = np.random.default_rng(4).normal(size=(50, dim)) / 2, 1e-5

    def factor(points):
        return np.linalg.cholesky(system.mobility(points))

    slope = np.stack([(factor(x + step * e) - factor(x - step * e)) / (2 * step) for e in np.eye(dim)], axis=-1)
    expected = 0.7 * np.einsum("ncj,najc->na", factor(x), slope)
    got = np.stack(ArrayModel(system).spurious(list(x.T), 0.0), axis=-1)
    np.testing.assert_allclose(got, expected, atol=1e-8)


def test_a_step_names_what_it_needs():
    assert asked(registry()["mala"].step) == ("whiten", "volume", "contains", "energy")
    assert asked(registry()["euler-maruyama"].step, None) == ()
    with pytest.raises(AttributeError, match="no 'kicks'"):
        ArrayModel(VARYING).kicks([0.0], 0.0)


def test_a_function_that_cannot_be_traced_has_no_spurious_drift():
    def mobility(x):
        return ((1.5 if x[0] > 0 else 1.0, 0.0), (0.0, 1.0))

    K = rs.Mobility.from_function(mobility, divergence=lambda x: (0.0, 0.0))
    system = rs.System("x**2 + y**2", K, 0.5)
    for scheme in ("heun", HLM):
        with pytest.raises(rs.IncompatibleSchemeError, match=r"could not be traced.*Schemes that can: .*pvd2"):
            choose(scheme, system)


def test_functions_that_take_one_point_at_a_time_run_on_arrays():
    """What a scheme carries at its start is made by its `begin`, on arrays."""

    def mobility(x):
        return 1.5 if x[0] > 0 else 1.0

    energy = rs.Energy(lambda x: abs(x[0]) if x[0] else 0.0, grad=lambda x: (1.0 if x[0] > 0 else -1.0,), dim=1)
    system = rs.System(energy, rs.Mobility.from_function(mobility, divergence=lambda x: (0.0,)), 0.5)
    x = np.array([-1.0, 2.0, 0.5])
    np.testing.assert_array_equal(registry()["pvd2"].begin(ArrayModel(system), [x], 0.0), [[1.0, -1.5, -1.5]])


# ---- walls

UNIT = rs.Domain.hypercube(1)
WALL_STEPS = (0.02, 0.01, 0.005)


def wall_slopes(scheme, system, steps=WALL_STEPS, n=48):
    transfer, exact = WallTransfer(scheme, system, n=n), gibbs_means(system, [lambda x: x])[0]
    return slopes(steps, [abs(transfer.mean(h) - exact) for h in steps])


PUSHED = rs.System("2*x", "1 + x/2", 0.5, UNIT)


PULLED = rs.System("-x", "1 + x/2", 0.5, UNIT)


@pytest.mark.parametrize(
    ("scheme", "system", "steps", "last"),
    [
        ("heun", PUSHED, WALL_STEPS, 0.16),
        ("time-rescaling", PUSHED, WALL_STEPS, 0.02),
        ("platen", PULLED, (0.0025, 0.00125), 0.1),
        ("w2ito1", PUSHED, WALL_STEPS, 0.1),
    ],
    ids=name_of,
)
def test_orders_at_a_wall_are_the_claimed(scheme, system, steps, last):
    """Platen's step and W2Ito1 have an error of order 3/2 that is still mixed with one of order 2."""
    found = wall_slopes(scheme, system, steps, n=32 if scheme == "w2ito1" else 48)
    assert abs(found[-1] - registry()[scheme].wall_order) < last, found


def test_second_order_at_a_wall_without_normal_force():
    """And K even there."""
    even = rs.System("cos(pi*x)", "1 + cos(pi*x)/3", 0.5, UNIT)
    for scheme in ("time-rescaling", "platen"):
        assert_order(wall_slopes(scheme, even), 2)


@pytest.mark.slow
def test_order_of_pvd2_at_a_wall(monkeypatch):
    """A few nodes in what it carries are enough."""
    reach = abs(PUSHED.drift(np.linspace(0, 1, 101)[:, None])).max()
    transfer, exact = WallTransfer("pvd2", PUSHED, n=40, finest=1e-6), gibbs_means(PUSHED, [lambda x: x])[0]
    monkeypatch.setattr(transfer.inside, "carried_bases", lambda h: [Basis("legendre", 6, -reach, reach)])
    found = slopes(WALL_STEPS, [abs(transfer.mean(h) - exact) for h in WALL_STEPS])
    assert_order(found, registry()["pvd2"].wall_order, last=0.03, before=0.03)


# ---- choosing


@pytest.mark.parametrize(
    ("scheme", "system", "reason"),
    [
        ("w2ito1", FULL, "one coordinate, not 2"),
        ("time-rescaling", FULL, "not k.x. times a constant matrix"),
        ("time-rescaling", rs.diffusion_machine("x", temperature=0.3), "vanishes at a reflecting wall"),
        ("time-rescaling", TURNING, "antisymmetric part"),
        ("mala", TURNING, "antisymmetric part"),
        ("mala", rs.System("x**2*(1 + t)", 1.0, 0.5), "changes with time"),
        *[(scheme, BOX, "obliquely") for scheme in ("heun", HLM, "pvd2", "platen")],
    ],
    ids=name_of,
)
def test_what_is_refused_and_why(scheme, system, reason):
    with pytest.raises(rs.IncompatibleSchemeError, match=f"{scheme}.*{reason}.*Schemes that can: .*euler-maruyama"):
        choose(scheme, system, stationary=True)


def test_auto_takes_second_order_where_it_is_to_be_had():
    """For mobilities whose entries depend on several coordinates; elsewhere it chooses as before."""
    assert choose("auto", FULL).id == choose("auto", CROSSED).id == "pvd2"
    assert choose("auto", TURNING).id == "euler-maruyama"
    assert choose("auto", VARYING).id == choose("auto", DIAGONAL).id == "milstein"
    assert choose("auto", CONSTANT).id == "leimkuhler-matthews"
    assert choose("auto", BOX).id == "euler-maruyama"
    assert choose("auto", FULL, "two-point").id == "euler-maruyama"


def test_pvd2_with_constant_mobility_is_leimkuhler_matthews():
    rng = np.random.default_rng(6)
    x, z = rng.uniform(0, 6, 100), rng.normal(size=100)
    model = ArrayModel(circle(1.3))
    (expected,) = registry()["leimkuhler-matthews"].step(model, [x], 0.0, 0.1, [z])
    got = registry()["pvd2"].step(model, [x], 0.0, 0.1, [z], [0.3 * x])
    np.testing.assert_allclose(got[0], expected, rtol=0, atol=1e-14)
