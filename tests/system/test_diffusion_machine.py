"""The diffusion machine: its parts, and the exact laws, rates and transients of its density."""

import json
from pathlib import Path

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.system.activation import ACTIVATIONS
from relaxsim.system.relative_entropy import kl_divergence, log_cell_weights

pytestmark = pytest.mark.nojit

DATA = Path(__file__).parents[1] / "data" / "diffusion_machine.json"
CASES = {case["id"]: case for case in json.loads(DATA.read_text())["cases"]}
BOX = {"identity": {"bounds": (-0.5, 1.5)}, "softplus": {"upper": 3.0}, "exp": {"upper": 3.0}}


ENERGY = {
    "dm_linear": "x",
    "dm_quad": "4*(x - 1/3)**2",
    "dm_cosine": "cos(2*pi*x)",
    "dm_flat_relax": "0",
    "dm_flat_point": "0",
    "dm_2d": "(x - y)**2 + x*y/2 - y/5",
}


def machine(case_id, beta=None):
    case = CASES[case_id]
    return rs.diffusion_machine(ENERGY[case_id], temperature=case["T"], beta=beta or case["beta"])


def rates(system, n_cells, count=3):
    """The smallest nonzero eigenvalues of minus the generator, a tridiagonal matrix in detailed balance."""
    from scipy.linalg import eigh_tridiagonal

    generator = rs.FokkerPlanck(system, rs.Grid(system.domain, n_cells)).generator
    between = np.sqrt(generator.diagonal(1) * generator.diagonal(-1))
    return eigh_tridiagonal(-generator.diagonal(), between, select="i", select_range=(0, count))[0][1:]


# ---- what it is made of


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_activation_makes_a_system(name):
    row, box = ACTIVATIONS[name], BOX.get(name, {})
    system = rs.diffusion_machine("x**2/2 + x*y", name, 0.7, [1.0, 2.5], **box)
    x = np.array([[0.2, 0.7], [0.9, 0.4]])
    K, slope = row.K(x, [1.0, 2.5]), row.K_prime(x, [1.0, 2.5])
    np.testing.assert_allclose(system.mobility(x), K[..., None] * np.eye(2), rtol=1e-14)
    gradient = np.stack([x[:, 0] + x[:, 1], x[:, 0]], axis=-1)
    np.testing.assert_allclose(system.drift(x), 0.7 * slope - K * gradient, rtol=1e-12)
    assert system.domain.boundary == ("reflecting", "reflecting")
    ends = (system.domain.lower[0], system.domain.upper[0])
    assert ends == BOX.get(name, {}).get("bounds", (row.range[0], min(row.range[1], 3.0)))
    assert system.mobility.structure == "diagonal"


@pytest.mark.parametrize("name", ["soft_projection", "probit", "identity"])
def test_beta_is_a_number_of_the_run_and_not_of_the_kernel(name):
    system = rs.diffusion_machine("x**2 + y", name, 0.5, 2.0, **BOX.get(name, {}))
    steeper = system.with_params(beta=3.0)
    assert steeper.mobility.field.trees == system.mobility.field.trees
    assert steeper.mobility.field.values == (3.0,)
    x = [0.3, 0.6]
    np.testing.assert_allclose(steeper.mobility(x), 1.5 * system.mobility(x), rtol=1e-15)
    apart = rs.diffusion_machine("x**2 + y", name, 0.5, [2.0, 1.0], **BOX.get(name, {}))
    assert apart.mobility.params == {"beta0": 2.0, "beta1": 1.0}
    np.testing.assert_allclose(apart.with_params(beta1=2.0).mobility(x), system.mobility(x), rtol=1e-15)


def test_what_f_may_be_and_how_many_coordinates_follow():
    def f(x):
        return sum(v**2 for v in x)

    assert rs.diffusion_machine("x0*x1*x2*x3", temperature=1.0).dim == 4
    assert rs.diffusion_machine("x0*x7", temperature=1.0, dim=8).dim == 8
    assert rs.diffusion_machine(f, temperature=1.0).dim == 1
    assert rs.diffusion_machine(f, temperature=1.0, dim=3).dim == 3
    assert rs.diffusion_machine(f, temperature=1.0, beta=[1, 2]).dim == 2
    assert rs.diffusion_machine(f, "exp", 1.0, upper=[4.0, 5.0]).domain.upper.tolist() == [4.0, 5.0]
    assert rs.diffusion_machine(f, "identity", 1.0, bounds=[(0, 1), (-1, 2)]).domain.lower.tolist() == [0.0, -1.0]
    assert rs.diffusion_machine(rs.Energy("a*x", params={"a": 2.0}, dim=2), temperature=1.0).dim == 2
    assert rs.diffusion_machine("x", temperature=1.0, beta=[1, 2], dim=2).dim == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"activation": "soft_projektion"}, rs.InputError, "did you mean 'soft_projection'"),
        ({"temperature": None}, rs.InputError, "temperature: is required"),
        ({"beta": 0.0}, rs.InputError, "beta: expected positive finite numbers, got 0.0"),
        ({"beta": [1.0, -2.0]}, rs.InputError, "beta: expected positive finite numbers"),
        ({"beta": [[1.0, 2.0]]}, rs.ShapeError, r"beta: expected a number, or one for each coordinate"),
        ({"beta": [1.0]}, rs.ShapeError, "f: uses 2 coordinates, but beta says 1"),
        ({"beta": [1.0, 2.0, 3.0]}, rs.ShapeError, r"beta: has 3 entries, but f uses 2 coordinates; pass dim=3"),
        ({"beta": [1.0, 2.0, 3.0], "dim": 2}, rs.ShapeError, "dim is 2, beta has 3"),
        ({"dim": 1}, rs.ShapeError, "f: uses 2 coordinates, but dim says 1"),
        ({"f": "x0*x2"}, rs.ShapeError, r"f: got x0 \(x\), x2 \(z\), but not x1 \(y\)\. .* say so with dim=3"),
        ({"dim": 17}, rs.ShapeError, "dim: expected an integer from 1 to 16, got 17"),
        ({"f": lambda x: x[0] * x[2], "dim": 2}, rs.ExpressionError, "f: .* in 2 dimension"),
        ({"f": "x*y*q"}, rs.ExpressionError, "f: unknown name 'q'"),
        ({"f": rs.Energy("beta*x", params={"beta": 1.0})}, rs.InputError, "f: its parameter 'beta' has the name"),
        ({"bounds": (0, 2)}, rs.InputError, r"bounds: soft_projection has its own range \(0, 1\)"),
        ({"upper": 2.0}, rs.InputError, "upper: soft_projection has no half-infinite range"),
        ({"activation": "exp"}, rs.InputError, r"upper: exp has the range \(0, inf\).* write upper="),
        ({"activation": "exp", "bounds": (0, 4)}, rs.InputError, "use upper= to cut it"),
        ({"activation": "softplus", "upper": 0.0}, rs.DomainError, "upper: expected finite ends above 0"),
        ({"activation": "softplus", "upper": [1.0, 2.0, 3.0], "dim": 2}, rs.ShapeError, "upper has 3"),
        ({"activation": "identity"}, rs.InputError, r"write bounds=\(0, 1\)"),
        ({"activation": "identity", "bounds": (0, np.inf)}, rs.DomainError, "bounds: expected finite ends"),
        ({"activation": "identity", "bounds": (1, 0)}, rs.DomainError, "bounds: expected finite ends, low < high"),
        ({"activation": "identity", "bounds": 3}, rs.ShapeError, r"bounds: expected \(low, high\)"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        rs.diffusion_machine(**({"f": "x*y", "temperature": 0.5} | arguments))


# ---- its law


@pytest.mark.parametrize("case_id", ["dm_linear", "dm_quad", "dm_cosine"])
def test_the_stationary_law(case_id):
    expect = {name: entry["value"] for name, entry in CASES[case_id]["expect"].items()}
    system = machine(case_id)
    grid = rs.Grid(system.domain, 400)
    log_mass, log_Z = log_cell_weights(system, grid)
    mass, x, h = np.exp(log_mass), grid.centers[0], grid.spacing[0]
    assert np.exp(log_Z) == pytest.approx(expect["Z"], rel=1e-14)
    assert -system.temperature * log_Z == pytest.approx(expect["F_eq"], rel=1e-13)
    # moments of cell masses are those of the law up to h^2
    for k in (1, 2, 3):
        assert mass @ x**k == pytest.approx(expect[f"<x^{k}>"], rel=30 * h**2)
    assert mass @ system.energy(x[:, None]) == pytest.approx(expect["<E>"], rel=100 * h**2)
    entropy = -mass @ np.log(mass / h)
    assert entropy == pytest.approx(expect["entropy"], rel=100 * h**2)
    free_energy = mass @ system.energy(x[:, None]) - system.temperature * entropy
    assert free_energy == pytest.approx(expect["F_eq"], rel=100 * h**2)


@pytest.mark.parametrize("beta", [1.0, [0.5, 2.0]])
def test_the_stationary_law_in_two_dimensions(beta):
    expect = {name: entry["value"] for name, entry in CASES["dm_2d"]["expect"].items()}
    system = machine("dm_2d", beta=beta)
    grid = rs.Grid(system.domain, (40, 40))
    log_mass, log_Z = log_cell_weights(system, grid)
    mass = np.exp(log_mass)
    assert np.exp(log_Z) == pytest.approx(expect["Z"], rel=1e-13)
    assert -system.temperature * log_Z == pytest.approx(expect["F_eq"], rel=1e-12)
    x, y = grid.points.reshape(40, 40, 2).transpose(2, 0, 1)
    for name, values in {"<x>": x, "<y>": y, "<xy>": x * y, "<E>": system.energy(grid.points).reshape(40, 40)}.items():
        assert np.sum(mass * values) == pytest.approx(expect[name], rel=3e-3)
    generator = rs.FokkerPlanck(system, grid).generator
    assert np.abs(generator @ mass.ravel()).max() < 1e-14 * np.abs(generator.diagonal() * mass.ravel()).max()


@pytest.mark.parametrize("case_id", ["dm_linear", "dm_quad", "dm_cosine"])
def test_relaxation_rates_are_of_second_order_with_no_care_at_the_walls(case_id):
    exact = np.array(CASES[case_id]["expect"]["lambda"]["value"])
    errors = np.array([np.abs(rates(machine(case_id), n) / exact - 1) for n in (100, 200, 400)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert np.all((orders > 1.9) & (orders < 2.1)), orders
    assert errors[0, 0] < 3e-4, errors
    assert errors[2, 0] < 2e-5, errors


def test_without_div_K_the_rates_are_wrong():
    # the same drift and noise read as dp/dt = d^2(K p) - ...: the energy that undoes T K' is T ln K
    system = rs.System("x + 0.3*log(2*x*(1 - x))", "2*x*(1 - x)", 0.3, rs.Domain([(0, 1)]))
    exact = np.array(CASES["dm_linear"]["expect"]["lambda"]["value"])
    assert np.all(np.abs(rates(system, 100) / exact - 1) > 0.05)


def test_the_rates_do_not_know_the_name_of_the_parabola():
    # soft projection with beta is logistic with 2 beta, and tanh on the box of twice the size
    soft = rates(machine("dm_quad"), 64)
    system = rs.diffusion_machine("4*(x - 1/3)**2", "logistic", 0.5, 4.0)
    np.testing.assert_allclose(rates(system, 64), soft, rtol=1e-12)
    system = rs.diffusion_machine("4*((x + 1)/2 - 1/3)**2", "tanh", 0.5, 4.0)
    np.testing.assert_allclose(rates(system, 64), soft, rtol=1e-12)


def test_a_flat_machine_relaxes_as_it_should():
    case = CASES["dm_flat_relax"]
    system = machine("dm_flat_relax")
    density = rs.FokkerPlanck(system, rs.Grid(system.domain, 200))
    times = [row["t"] for row in case["expect"]]
    path = density.evolve(rs.initial.density("1 + 0.9*(2*x - 1)"), times, step=1e-4)
    x = path.grid.centers[0]
    log_mass, log_Z = log_cell_weights(system, path.grid)
    kl = kl_divergence(path.mass, log_mass)
    # backward Euler is off by exp(rate^2 step t/2), rate = 4 beta T = 2.5
    for row, mass, value in zip(case["expect"], path.mass, kl, strict=True):
        slack = 2 * 2.5**2 * 1e-4 / 2 * row["t"] + 2e-4
        assert value == pytest.approx(row["KL"]["value"], rel=2 * slack)
        assert system.temperature * (value - log_Z) == pytest.approx(row["F"]["value"], rel=2 * slack)
        assert mass @ x - 0.5 == pytest.approx(row["<x>"]["value"] - 0.5, rel=slack)
        assert mass @ x**2 == pytest.approx(row["<x^2>"]["value"], rel=1e-4)


def test_a_flat_machine_forgets_a_point():
    case = CASES["dm_flat_point"]
    system = machine("dm_flat_point")
    grid = rs.Grid(system.domain, 125)  # 0.2 is the edge of a cell; the mean of two cells is at it
    start = np.zeros(125)
    start[[24, 25]] = 0.5
    times = [0.0, *(row["t"] for row in case["expect"])]
    path = rs.FokkerPlanck(system, grid).evolve(start, times, step=2e-4)
    x = grid.centers[0]
    for row, mass in zip(case["expect"], path.mass[1:], strict=True):
        assert mass @ x == pytest.approx(row["<x>"]["value"], rel=2e-4)
        spread = mass @ (x - 0.5) ** 2
        assert spread == pytest.approx(row["<(x-1/2)^2>"]["value"], rel=2e-4)
