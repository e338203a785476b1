"""Every scheme converges at the order it claims, and the compiled kernels are their schemes.

The orders, and the stationary means at finite steps, follow without Monte Carlo from the transfer operator of a
scheme's own `step` (`transfer`); one ensemble of each scheme is compared with its operator at a large step, where the
scheme is far from the exact law and so cannot hide.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import relaxsim as rs
from particles.problems import TWO, loud, torus, without_divergence
from particles.transfer import Transfer, exact_mean_at, gibbs_means, slopes, stationary
from relaxsim.particles.schemes import choose, registry
from relaxsim.system.elementary import sqrt
from statistical_budget import assert_rejected, assert_within

DATA = Path(__file__).parents[1] / "data"
REFERENCE = json.loads((DATA / "integrators.json").read_text())
GIBBS = {case["id"]: case for case in json.loads((DATA / "gibbs.json").read_text())["cases"]}
MACHINE = {case["id"]: case for case in json.loads((DATA / "diffusion_machine.json").read_text())["cases"]}
STEPS = (0.05, 0.025, 0.0125, 0.00625)

# ---- the systems

B = (("(1 + 0.3*sin(y))", "(0.3*cos(x))"), ("(0.25*sin(x + y))", "(1 + 0.2*cos(x))"))
ONE = (np.cos, np.sin, lambda x: np.cos(2 * x))


def circle(mobility):
    """The problem of integrators.json."""
    return rs.System("cos(x) + 0.5*sin(2*x)", mobility, 0.8, rs.Domain([(0, 2 * np.pi)], boundary="periodic"))


def full_mobility():
    """K = B B^T with columns of B that do not commute."""
    return [[f"{B[a][0]}*{B[b][0]} + {B[a][1]}*{B[b][1]}" for b in range(2)] for a in range(2)]


VARYING, CONSTANT = circle("1 + 0.5*sin(x)"), circle(1.0)
DIAGONAL, FULL = torus(["1 + 0.5*sin(x)", "1 + 0.3*cos(y)"]), torus(full_mobility())
FULL_CONSTANT = torus([[1.0, 0.4], [0.4, 0.7]])

# ---- mutants


def quiet(model, x, t, h, noise):
    """Euler-Maruyama with 2 % too little noise."""
    drift, kick = model.drift(x, t), model.kick(x, t, noise)
    return [x[a] + h * drift[a] + 0.98 * sqrt(h) * kick[a] for a in range(len(x))]


def half_divergence(model, x, t, h, noise):
    """Euler-Maruyama with the Stratonovich drift of a diagonal K."""
    drift, kick, slope = model.drift(x, t), model.kick(x, t, noise), model.divergence(x, t)
    return [x[a] + h * (drift[a] - 0.5 * model.temperature * slope[a]) + sqrt(h) * kick[a] for a in range(len(x))]


def heun_with_ito_drift(model, x, t, h, noise):
    """Heun's predictor and corrector, which is Stratonovich, with the Itô drift."""
    drift, kick = model.drift(x, t), model.kick(x, t, noise)
    y = [x[a] + h * drift[a] + sqrt(h) * kick[a] for a in range(len(x))]
    drift2, kick2 = model.drift(y, t), model.kick(y, t, noise)
    return [x[a] + 0.5 * h * (drift[a] + drift2[a]) + 0.5 * sqrt(h) * (kick[a] + kick2[a]) for a in range(len(x))]


MUTANTS = [without_divergence, loud, quiet, half_divergence, heun_with_ito_drift]


def mutant(step, like="euler-maruyama"):
    return replace(registry()[like], id="mutant", step=step)


# ---- stationary laws at finite steps

ROWS = {
    "EM": ("euler-maruyama", VARYING),
    "MILSTEIN": ("milstein", VARYING),
    "LAMPERTI+LM": ("lamperti", VARYING),
    "EM(constK)": ("euler-maruyama", CONSTANT),
    "LM(constK)": ("leimkuhler-matthews", CONSTANT),
}


@pytest.mark.nojit
@pytest.mark.parametrize("row", ROWS)
def test_stationary_means_at_finite_steps_are_the_reference(row):
    scheme, system = ROWS[row]
    expected = REFERENCE["methods"][row]
    transfer = Transfer(scheme, system)
    got = [transfer.stationary_means(h, ONE) for h in expected["h"]]
    np.testing.assert_allclose(got, expected["stationary_mean_of_observables"], rtol=0, atol=1e-9)


@pytest.mark.nojit
def test_a_mutant_of_the_reference_is_the_mutant():
    expected = REFERENCE["methods"]["HEUN_ITO_DRIFT(wrong)"]
    transfer = Transfer(mutant(heun_with_ito_drift), VARYING)
    got = [transfer.stationary_means(h, ONE) for h in expected["h"]]
    np.testing.assert_allclose(got, expected["stationary_mean_of_observables"], rtol=0, atol=1e-9)


@pytest.mark.nojit
@pytest.mark.parametrize("step", MUTANTS)
def test_mutants_of_the_step_keep_a_bias(step):
    """No step cures them: what is left at h = 1/800 is ten times what Euler-Maruyama has there."""
    exact = gibbs_means(VARYING, ONE)
    bias = abs(Transfer(mutant(step), VARYING).stationary_means(0.00125, ONE) - exact).max()
    own = abs(Transfer("euler-maruyama", VARYING).stationary_means(0.00125, ONE) - exact).max()
    assert bias > 10 * own


# ---- orders

ORDERS_1D = [
    *[("euler-maruyama", VARYING, noise) for noise in ("gaussian", "three-point", "two-point")],
    *[("milstein", VARYING, noise) for noise in ("gaussian", "three-point")],
    *[("lamperti", VARYING, noise) for noise in ("gaussian", "three-point")],
    *[("leimkuhler-matthews", CONSTANT, noise) for noise in ("gaussian", "three-point")],
]
ORDERS_2D = [
    ("euler-maruyama", FULL, "gaussian"),
    ("euler-maruyama", FULL, "two-point"),
    ("milstein", DIAGONAL, "gaussian"),
    ("lamperti", DIAGONAL, "gaussian"),
    ("lamperti", DIAGONAL, "three-point"),
    ("leimkuhler-matthews", FULL_CONSTANT, "gaussian"),
    ("leimkuhler-matthews", FULL_CONSTANT, "three-point"),
]


def orders(scheme, system, noise, observables, steps, **options):
    """Slopes of the invariant error and of the weak error at t = 1 (largest over starting points)."""
    transfer = Transfer(scheme, system, noise, **options)
    exact = gibbs_means(system, observables, 97)
    invariant = [abs(transfer.stationary_means(h, observables) - exact).max() for h in steps]
    true = exact_mean_at(system, observables[0], 1.0, transfer.positions, options.get("n"))
    weak = [transfer.weak_error(h, observables[0], true) for h in steps]
    return slopes(steps, invariant), slopes(steps, weak)


def assert_orders(scheme, noise, invariant, weak):
    """The last slope is the claimed order within 0.12, and those before are within 0.35 of it."""
    row = registry()[scheme]
    for name, claimed, found in (
        ("invariant", row.invariant_order[noise], invariant),
        ("weak", row.weak_order[noise], weak),
    ):
        assert abs(found[-1] - claimed) < 0.12, f"{scheme}, {noise}: {name} slopes {found}, claimed {claimed}"
        assert np.all(abs(found - claimed) < 0.35), f"{scheme}, {noise}: {name} slopes {found}, claimed {claimed}"


def name_of(value):
    return value if isinstance(value, str) else ""


@pytest.mark.nojit
@pytest.mark.parametrize(("scheme", "system", "noise"), ORDERS_1D, ids=name_of)
def test_orders_on_the_circle(scheme, system, noise):
    steps = (0.02, 0.01, 0.005, 0.0025) if (scheme, noise) == ("lamperti", "three-point") else STEPS
    assert_orders(scheme, noise, *orders(scheme, system, noise, ONE, steps))


@pytest.mark.nojit
@pytest.mark.parametrize(("scheme", "system", "noise"), ORDERS_2D, ids=name_of)
def test_orders_on_the_torus(scheme, system, noise):
    assert_orders(scheme, noise, *orders(scheme, system, noise, TWO, (0.1, 0.05, 0.025, 0.0125)))


@pytest.mark.nojit
def test_what_was_tested_is_what_is_claimed():
    """Each kind of noise that a scheme takes has its slopes measured here; the sphere's are below."""
    tested = {(scheme, noise) for scheme, _, noise in ORDERS_1D} | {("sphere", "gaussian")}
    first = ("euler-maruyama", "milstein", "leimkuhler-matthews", "lamperti", "sphere")
    assert tested == {(name, noise) for name in first for noise in registry()[name].weak_order}


@pytest.mark.nojit
def test_why_two_point_noise_is_refused():
    """It takes the second order from Leimkuhler-Matthews, and makes Milstein Euler-Maruyama."""
    found, _ = orders("leimkuhler-matthews", CONSTANT, "two-point", ONE, STEPS)
    assert abs(found[-1] - 1) < 0.05
    steps = [Transfer(scheme, VARYING, "two-point").operator(0.1) for scheme in ("milstein", "euler-maruyama")]
    np.testing.assert_array_equal(*steps)


@pytest.mark.nojit
def test_weak_errors_at_time_one_are_the_reference():
    for row, scheme in (("EM", "euler-maruyama"), ("MILSTEIN", "milstein")):
        expected = REFERENCE["weak_error_t1_phi_cos"]["methods"][row]
        transfer = Transfer(scheme, VARYING)
        true = exact_mean_at(VARYING, np.cos, 1.0, transfer.positions)
        got = [transfer.weak_error(h, np.cos, true) for h in expected["h"]]
        np.testing.assert_allclose(got, expected["max_over_x0_abs_error"], rtol=1e-8)


@pytest.mark.nojit
@pytest.mark.parametrize("k", range(2))
def test_variance_of_the_ornstein_uhlenbeck_process_in_closed_form(k):
    """The step is x' = a x + s z: its stationary variance against the closed form of the reference."""
    from relaxsim.particles.model import ArrayModel

    case = REFERENCE["ou_stationary_variance_closed_form"][k]
    model = ArrayModel(rs.System(f"{case['k']}*x**2/2", case["K"], case["T"]))
    x, z = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    (em,) = registry()["euler-maruyama"].step(model, [x], 0.0, case["h"], [z])
    assert em[1] ** 2 / (1 - em[0] ** 2) == pytest.approx(case["EM_var"], rel=1e-12)
    (lm,) = registry()["leimkuhler-matthews"].step(model, [x], 0.0, case["h"], [z])
    (out,) = registry()["leimkuhler-matthews"].output(model, [x], 0.0, case["h"], [z])
    assert lm[1] ** 2 / (1 - lm[0] ** 2) * out[0] ** 2 + out[1] ** 2 == pytest.approx(case["LM_var"], rel=1e-12)
    (heun,) = registry()["heun"].step(model, [x], 0.0, case["h"], [z])
    assert heun[1] ** 2 / (1 - heun[0] ** 2) == pytest.approx(case["HEUN_var"], rel=1e-12)


# ---- the sphere


def moments(n):
    return [lambda *x, k=k: x[0] ** k for k in range(1, n + 1)]


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("f", "activation", "T", "beta"),
    [("x", "soft_projection", 0.3, 1.0), ("cos(2*pi*x)", "logistic", 0.4, 3.0), ("x**2 - x/2", "tanh", 0.5, 1.0)],
)
def test_orders_of_the_sphere_step(f, activation, T, beta):
    system = rs.diffusion_machine(f, activation, T, beta)
    steps = (0.05, 0.025, 0.0125, 0.00625)
    assert_orders("sphere", "gaussian", *orders("sphere", system, "gaussian", moments(3), steps, n=40))


@pytest.mark.nojit
def test_orders_of_the_sphere_step_in_two_dimensions():
    system = rs.diffusion_machine("(x - y)**2 + x*y/2 - y/5", temperature=0.3)
    observables = (lambda x, y: x * y, lambda x, y: x, lambda x, y: y)
    np.testing.assert_allclose(
        gibbs_means(system, observables, 61),
        [MACHINE["dm_2d"]["expect"][name]["value"] for name in ("<xy>", "<x>", "<y>")],
        rtol=1e-12,
    )
    steps = (0.1, 0.05, 0.025, 0.0125)
    assert_orders("sphere", "gaussian", *orders("sphere", system, "gaussian", observables, steps, n=12))


@pytest.mark.nojit
def test_the_sphere_step_keeps_the_uniform_law():
    transfer = Transfer("sphere", rs.diffusion_machine("0*x", "tanh", 0.7, 2.0), n=40)
    weights = transfer.bases[0].weights
    for h in (1.0, 0.3, 0.01):
        np.testing.assert_allclose(weights @ transfer.operator(h), weights, rtol=0, atol=1e-12)


@pytest.mark.nojit
def test_the_sphere_step_stays_in_the_box():
    """For the ends, for extreme draws and for steps and forces far too large."""
    from relaxsim.particles.model import ArrayModel

    row = registry()["sphere"]
    draws = np.array([2.0**-53, 1e-10, 0.25, 0.5, 1 - 2.0**-53, 1.0])
    for f, activation in (("x", "soft_projection"), ("20*x", "logistic"), ("-20*x**2", "tanh")):
        system = rs.diffusion_machine(f, activation, 0.3)
        low, high = system.domain.lower[0], system.domain.upper[0]
        inside = low + (high - low) * np.array([0.0, 1e-300, 1e-17, 0.3, 1 - 1e-16, 1.0])
        x, u, v = (g.ravel() for g in np.meshgrid(inside, draws, draws, indexing="ij"))
        for h in (1e-8, 0.01, 1.0, 10.0):
            (end,) = row.step(ArrayModel(system, row.constants(system)), [x], 0.0, h, [u, v])
            assert np.all((end >= low) & (end <= high))


# ---- compiled kernels


def ensemble_means(path, observables, first=1):
    """Time averages over the stored times, each with its standard error over particles."""
    x = np.moveaxis(path.positions[first:], -1, 0)
    averages = np.array([phi(*x).mean(axis=0) for phi in observables])
    return averages.mean(axis=1), averages.std(axis=1) / math.sqrt(averages.shape[1])


def circle_run(scheme, system, n, last, h=0.1, noise="gaussian"):
    """Stored every 2 units of time once what is left of the start, exp(-0.4 t), is nothing."""
    times = np.r_[0.0, np.arange(24.0, last + 1, 2.0)]
    path = rs.simulate(system, rs.initial.gibbs(), n_particles=n, dt=h, times=times, scheme=scheme, noise=noise, rng=31)
    return ensemble_means(path, ONE)


@pytest.mark.parametrize("row", [row for row in ROWS if row != "EM(constK)"])
def test_kernels_have_the_law_of_their_step(row):
    scheme, system = ROWS[row]
    reference = REFERENCE["methods"][row]
    expected = reference["stationary_mean_of_observables"][reference["h"].index(0.1)]
    mean, error = circle_run(scheme, system, 1 << 14, 50)
    assert error.max() < 2e-3
    assert_within("schemes: law of the step", mean, expected, error)


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in ROWS if row != "EM(constK)"])
def test_kernels_have_the_law_of_their_step_to_four_digits(row):
    scheme, system = ROWS[row]
    reference = REFERENCE["methods"][row]
    expected = reference["stationary_mean_of_observables"][reference["h"].index(0.1)]
    mean, error = circle_run(scheme, system, 1 << 18, 124)
    assert error.max() < 2.5e-4
    assert_within("schemes: law of the step, finely", mean, expected, error)


@pytest.mark.nojit
@pytest.mark.parametrize("step", MUTANTS)
def test_mutants_would_be_seen_by_the_ensembles(step):
    """The law of the mutant itself, with the standard error that the fine ensembles reach."""
    reference = REFERENCE["methods"]["EM"]
    expected = reference["stationary_mean_of_observables"][reference["h"].index(0.1)]
    got = Transfer(mutant(step), VARYING).stationary_means(0.1, ONE)
    assert_rejected("schemes: law of the step, finely", got, expected, 2.5e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "system", "noise"),
    [
        ("euler-maruyama", VARYING, "three-point"),
        ("euler-maruyama", VARYING, "two-point"),
        ("milstein", VARYING, "three-point"),
        ("lamperti", VARYING, "three-point"),
        ("leimkuhler-matthews", CONSTANT, "three-point"),
    ],
    ids=name_of,
)
def test_kernels_with_weak_noise_have_the_law_of_their_step(scheme, system, noise):
    h = 0.2
    expected = Transfer(scheme, system, noise).stationary_means(h, ONE)
    mean, error = circle_run(scheme, system, 1 << 16, 84, h, noise)
    assert_within("schemes: law of the step, weak noise", mean, expected, error)
    gaussian = Transfer(scheme, system).stationary_means(h, ONE)
    assert np.max(abs(gaussian - expected) / error) > 6  # the law of another noise would be seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "system"),
    [("euler-maruyama", FULL), ("lamperti", DIAGONAL), ("leimkuhler-matthews", FULL_CONSTANT)],
    ids=["euler-maruyama", "lamperti", "leimkuhler-matthews"],
)
def test_kernels_in_two_dimensions_have_the_law_of_their_step(scheme, system):
    expected = Transfer(scheme, system).stationary_means(0.1, TWO)
    times = np.r_[0.0, np.arange(24.0, 50.0, 2.0)]
    path = rs.simulate(system, rs.initial.gibbs(), n_particles=1 << 16, dt=0.1, times=times, scheme=scheme, rng=32)
    mean, error = ensemble_means(path, TWO)
    assert_within("schemes: law of the step in 2-D", mean, expected, error)


def parabolic_machine(a, case):
    """One kernel for dm_quad and the flat cases."""
    f = rs.Energy("a*(x - 1/3)**2", params={"a": a})
    return rs.diffusion_machine(f, temperature=case["T"], beta=case["beta"])


def test_the_kernel_of_the_sphere_step_has_its_law():
    """At a step so coarse that its law is not Gibbs."""
    case, h = MACHINE["dm_quad"], 0.5
    system = parabolic_machine(4.0, case)
    expected = Transfer("sphere", system, n=40).stationary_means(h, moments(2))
    times = np.r_[0.0, np.arange(5.0, 20.0, 1.0)]
    path = rs.simulate(system, rs.initial.gibbs(), n_particles=1 << 15, dt=h, times=times, rng=33)
    assert path.scheme == "sphere"
    mean, error = ensemble_means(path, moments(2))
    assert_within("schemes: law of the sphere step", mean, expected, error)
    exact = [case["expect"]["<x^1>"]["value"], case["expect"]["<x^2>"]["value"]]
    np.testing.assert_allclose(gibbs_means(system, moments(2)), exact, rtol=1e-12)
    assert_rejected("schemes: law of the sphere step", mean, exact, error)


def sphere_rates(a, n):
    """What n steps leave of the first two Legendre polynomials, for E = 0 and a = D h."""
    first = (1 - a) / (1 + a)
    second = (3 * (4 / (1 + 2 * a) - 4 / (1 + a) + 1) - 1) / 2
    return first**n, second**n


def test_transients_of_the_flat_diffusion_machine():
    """dm_flat_point: exact relaxation of mean and variance; the scheme's own factors are known in closed form."""
    case = MACHINE["dm_flat_point"]
    system = parabolic_machine(0.0, case)
    rows, h = case["expect"], 0.01
    times = [0.0, *(row["t"] for row in rows)]
    path = rs.simulate(system, rs.initial.point([case["x0"]]), n_particles=200_000, dt=h, times=times, rng=34)
    for k, row in enumerate(rows, start=1):
        first, second = sphere_rates(2 * case["beta"] * case["T"] * h, round(row["t"] / h))
        c = case["x0"] - 0.5
        own = np.array([0.5 + c * first, 1 / 12 + (c**2 - 1 / 12) * second])
        np.testing.assert_allclose(own, [row["<x>"]["value"], row["<(x-1/2)^2>"]["value"]], atol=1e-5)
        x = path.positions[k, :, 0]
        got = np.array([x, (x - 0.5) ** 2])
        assert_within("schemes: flat diffusion machine", got.mean(axis=1), own, got.std(axis=1) / math.sqrt(x.size))


# ---- Gibbs laws of the reference

QUARTIC = {
    "dw_T0.25": (0.25, -0.5, 0.0),
    "dw_T0.5": (0.25, -0.5, 0.0),
    "dw_T1": (0.25, -0.5, 0.0),
    "tilted_dw": (0.25, -0.5, 0.2),
    "harmonic": (0.0, 1.5, 0.0),
    "pure_quartic": (1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("case_id", QUARTIC)
def test_gibbs_laws_on_the_line(case_id):
    """Leimkuhler-Matthews from the origin; one kernel serves all. Its bias at h = 0.02 is below h**2."""
    case, (a, b, c) = GIBBS[case_id], QUARTIC[case_id]
    energy = rs.Energy("a*x**4 + b*x**2 + c*x", params={"a": a, "b": b, "c": c})
    system = rs.System(energy, temperature=case["T"])
    path = rs.simulate(
        system, rs.initial.normal(0.0, 0.5), n_particles=1 << 16, dt=0.02, times=[0.0, 20.0], rng=35, store="final"
    )
    assert path.scheme == "leimkuhler-matthews"
    powers = {"<x^1>": 1, "<x^2>": 2, "<x^3>": 3, "<x^4>": 4}
    for name, k in powers.items():
        if name in case["expect"]:
            mean, error = path.mean(f"x**{k}")
            assert_within("schemes: Gibbs on the line", mean, case["expect"][name]["value"], error, bias=0.02**2)


@pytest.mark.slow
def test_gibbs_laws_in_two_dimensions():
    case = GIBBS["coupled_dw_2d"]
    system = rs.System("x**4/4 - x**2/2 + y**4/4 - y**2/2 - 0.3*x*y", 1.0, case["T"])
    arguments = {"n_particles": 1 << 16, "dt": 0.02, "times": [0.0, 20.0], "store": "final"}
    path = rs.simulate(system, rs.initial.normal([0, 0], 0.5), rng=36, **arguments)
    for name, f in (("<x^2>", "x**2"), ("<xy>", "x*y"), ("<y^2>", "y**2")):
        mean, error = path.mean(f)
        assert_within("schemes: Gibbs in the plane", mean, case["expect"][name]["value"], error, bias=0.02**2)
    case = MACHINE["dm_2d"]
    system = rs.diffusion_machine("(x - y)**2 + x*y/2 - y/5", temperature=case["T"], beta=[1.0, 2.0])
    path = rs.simulate(system, rs.initial.uniform(), rng=37, **arguments)
    assert path.scheme == "sphere"
    for name, f in (("<x>", "x"), ("<y>", "y"), ("<xy>", "x*y")):
        mean, error = path.mean(f)
        assert_within("schemes: Gibbs in the plane", mean, case["expect"][name]["value"], error, bias=0.02**2)


COEFFICIENTS = {"dm_linear": (1.0, 0.0, 0.0), "dm_quad": (0.0, 4.0, 0.0), "dm_cosine": (0.0, 0.0, 1.0)}


@pytest.mark.slow
@pytest.mark.parametrize("case_id", ["dm_linear", "dm_quad", "dm_cosine"])
def test_gibbs_laws_of_the_diffusion_machine(case_id):
    case, h = MACHINE[case_id], 0.01
    f = rs.Energy("a*x + b*(x - 1/3)**2 + c*cos(2*pi*x)", params=dict(zip("abc", COEFFICIENTS[case_id], strict=True)))
    system = rs.diffusion_machine(f, temperature=case["T"], beta=case["beta"])
    path = rs.simulate(system, rs.initial.uniform(), n_particles=1 << 17, dt=h, times=[0.0, 5.0], rng=38, store="final")
    bias = abs(Transfer("sphere", system, n=40).stationary_means(h, moments(3)) - gibbs_means(system, moments(3)))
    for k in (1, 2, 3):
        mean, error = path.mean(f"x**{k}")
        assert_within("schemes: diffusion machine", mean, case["expect"][f"<x^{k}>"]["value"], error, bias[k - 1])


# ---- windings


@pytest.mark.parametrize("scheme", ["euler-maruyama", pytest.param("leimkuhler-matthews", marks=pytest.mark.slow)])
def test_unwrapped_paths_of_a_free_particle_spread_without_bound(scheme):
    """Var = 2 T K t exactly; Leimkuhler-Matthews reports half of the coming noise too, 2 T K h/4."""
    system = rs.System("0*x", 0.4, 0.7, rs.Domain([(0, 1)], boundary="periodic"))
    arguments = {"n_particles": 400_000, "dt": 0.05, "times": [0.0, 1.0, 10.0], "scheme": scheme, "rng": 39}
    path = rs.simulate(system, rs.initial.point([0.5]), store_windings=True, **arguments)
    x = path.unwrapped()[..., 0]
    assert np.all((path.positions >= 0) & (path.positions < 1))
    np.testing.assert_allclose(x - path.windings[..., 0], path.positions[..., 0], atol=1e-12)
    for k, t in ((1, 1.0), (2, 10.0)):
        late = t + (0.05 / 4 if scheme == "leimkuhler-matthews" else 0.0)
        variance = 2 * 0.7 * 0.4 * late
        squares = (x[k] - 0.5) ** 2
        assert_within("schemes: free on a circle", squares.mean(), variance, squares.std() / math.sqrt(squares.size))
        assert_rejected(
            "schemes: free on a circle", 1.02**2 * squares.mean(), variance, squares.std() / math.sqrt(squares.size)
        )


@pytest.mark.slow
def test_counting_turns_changes_nothing():
    arguments = {"n_particles": 1000, "dt": 0.1, "times": [0.0, 10.0], "scheme": "euler-maruyama", "rng": 40}
    plain = rs.simulate(VARYING, rs.initial.uniform(), **arguments)
    counted = rs.simulate(VARYING, rs.initial.uniform(), store_windings=True, **arguments)
    np.testing.assert_array_equal(plain.positions, counted.positions)
    assert np.any(counted.windings != 0)
    with pytest.raises(rs.InputError, match="store_windings=True"):
        plain.unwrapped()


# ---- choosing, and compiling ahead


@pytest.mark.nojit
def test_an_incompatible_choice_lists_what_is_compatible():
    with pytest.raises(rs.IncompatibleSchemeError, match=r"'milstein'.* not two-point.*Schemes that can: .*euler-mar"):
        choose("milstein", VARYING, "two-point")
    with pytest.raises(rs.IncompatibleSchemeError, match=r"'leimkuhler-matthews'.*not constant.*Schemes that can: "):
        choose("leimkuhler-matthews", VARYING)
    with pytest.raises(rs.IncompatibleSchemeError, match="'sphere' cannot run"):
        choose("sphere", VARYING)
    with pytest.raises(rs.IncompatibleSchemeError, match="'lamperti' cannot run"):
        choose("lamperti", FULL)
    with pytest.raises(rs.IncompatibleSchemeError, match="unknown noise 'two-points'; did you mean 'two-point'"):
        choose("euler-maruyama", VARYING, "two-points")
    assert choose("auto", VARYING, "two-point").id == "euler-maruyama"
    assert choose("auto", CONSTANT, "three-point").id == "leimkuhler-matthews"


@pytest.mark.nojit
def test_schemes_with_another_path_are_asked_for():
    still = replace(registry()["euler-maruyama"], id="still", dynamics="stationary")
    with pytest.raises(rs.IncompatibleSchemeError, match="stationary=True"):
        choose(still, VARYING)
    assert choose(still, VARYING, stationary=True) is still


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"walls": "lepingle", "scheme": "leimkuhler-matthews"}, "lepingle.*euler-maruyama.*leimkuhler-matthews"),
        ({"store_windings": True, "scheme": "lamperti"}, "'lamperti' does not count turns"),
        ({"noise": "two-point", "scheme": "leimkuhler-matthews"}, "not two-point.*euler-maruyama"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(rs.IncompatibleSchemeError, match=message):
        rs.simulate(CONSTANT, rs.initial.uniform(), n_particles=10, dt=0.1, times=[0, 1], **options)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"walls": "soft"}, "walls: expected 'mirror' or 'lepingle'"), ({"dtype": "float16"}, "dtype: expected")],
)
@pytest.mark.nojit
def test_options_are_checked(option, message):
    with pytest.raises(rs.InputError, match=message):
        rs.simulate(CONSTANT, rs.initial.uniform(), n_particles=10, dt=0.1, times=[0, 1], **option)


def test_a_warm_kernel_is_there_at_once():
    from relaxsim.particles.simulate import warmup

    assert warmup(VARYING, "euler-maruyama") >= 0
    assert warmup(circle("1 + 0.5*sin(x)").replace(temperature=0.3), "euler-maruyama") < 0.5


@pytest.mark.nojit
def test_the_stationary_law_is_a_law():
    """The operator's null vector sums to one and is positive up to rounding of the basis."""
    law = stationary(Transfer("milstein", VARYING).operator(0.05))
    assert law.sum() == pytest.approx(1.0, abs=1e-12)
    assert law.min() > 0


def test_schemes_that_lose_their_order_where_the_mobility_vanishes_at_a_wall_refuse_it():
    mobility = rs.Mobility.diagonal("x*(1 - x)*(1 + y/2)", "1 + x/5")
    system = rs.System("x", mobility, 0.3, rs.Domain.hypercube(2))
    able = {name for name, row in registry().items() if row.why_not(system) is None}
    assert able == {"euler-maruyama", "mala"}
    assert choose("auto", system).id == "euler-maruyama"
    line = rs.System("x", "x*(1 - x)*(2 + x)", 0.3, rs.Domain([(0, 1)]))
    assert "vanishes at a reflecting wall" in registry()["w2ito1"].why_not(line)
