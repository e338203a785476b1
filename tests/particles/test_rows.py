"""Steps by component rows against the same steps on arrays, and what they refuse."""

import numpy as np
import pytest

import relaxsim as rs
from naive import particles as naive
from relaxsim.particles import model, rows_loop
from relaxsim.particles.kernel import Kernel, kernel_source
from relaxsim.particles.loop import Plan
from relaxsim.particles.model import ArrayModel, model_source, model_values
from relaxsim.particles.random import BLOCK
from relaxsim.particles.rows import NotByRowsError, by_rows
from relaxsim.particles.schemes import registry
from relaxsim.particles.vector_math import where
from relaxsim.system import elementary

DIM, T, H = 9, 0.4, 0.03
ENERGY = " + ".join(f"cos({a + 1}*x{a})/{a + 1} + x{a}*x{(a + 1) % DIM}" for a in range(DIM))


def box():
    """Nine coordinates, every other one periodic, K_i of x_i alone."""
    ends = [(0.0, 2 * np.pi) if a % 2 else (-1.0, 1.5) for a in range(DIM)]
    kinds = ["periodic" if a % 2 else "reflecting" for a in range(DIM)]
    energy = " + ".join(f"cos({a + 1}*x{a})/{a + 1}" for a in range(DIM)) + " + x0*x2 + x4*x8"
    return rs.System(energy, [f"1 + sin(x{a})/{a + 2}" for a in range(DIM)], T, rs.Domain(ends, boundary=kinds))


def cube():
    """A diffusion machine."""
    mobility = [f"{2 + a}*x{a}*(1 - x{a})" for a in range(DIM)]
    return rs.System(ENERGY, mobility, T, rs.Domain.hypercube(DIM))


def free():
    """Constant K, no walls."""
    return rs.System(ENERGY, [1.0 + 0.1 * a for a in range(DIM)], T)


def warming():
    """The box with a temperature that rises."""
    return box().replace(temperature="0.3 + t")


CASES = [
    ("milstein", warming),
    ("lamperti", warming),
    ("euler-maruyama", box),
    ("euler-maruyama", free),
    ("milstein", box),
    ("leimkuhler-matthews", free),
    ("lamperti", box),
    ("sphere", cube),
]


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def pieces(scheme, system):
    coordinates = scheme.coordinates(system) if scheme.coordinates else None
    return (scheme.constants(system) if scheme.constants else ()), coordinates


def in_python(scheme, system):
    """The functions of a kernel's source by rows, as Python runs them."""
    constants, coordinates = pieces(scheme, system)
    loop = rows_loop.rows_loop(Plan(system, scheme), model.first_constant(system))
    scope = {name: getattr(elementary, name) for name in elementary.__all__}
    scope |= {"floor": np.floor, "where": where, "np": np, "REAL": float, "wide_vectors": lambda: None}
    scope |= {name: lambda function: function for name in ("device", "block_function")}
    scope |= {"hermite": model.hermite, "table_index": model.table_index}
    exec(model_source(system, coordinates) + "\n\n" + loop.functions, scope)
    values = model_values(system, constants, coordinates)
    return scope, values, np.array([v if isinstance(v, float) else 0.0 for v in values])


@pytest.mark.parametrize(
    ("scheme", "case", "what"),
    [
        (scheme, case, what)
        for scheme, case in CASES
        for what in ("step", "output")
        if getattr(registry()[scheme], what)
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_rows_are_the_step_on_arrays(scheme, case, what):
    row, system, rng = registry()[scheme], case(), np.random.default_rng(8)
    function = getattr(row, what)
    constants, coordinates = pieces(row, system)
    n_noise = row.noise_per_axis * DIM
    x = 0.1 + 0.8 * rng.random((DIM, BLOCK))
    noise = rng.random((n_noise, BLOCK)) if row.draws == "uniform" else rng.normal(size=(n_noise, BLOCK))
    expected = function(ArrayModel(system, constants, coordinates).at(0.2), list(x), 0.2, H, list(noise))
    scope, values, numbers = in_python(row, system)
    block = np.zeros(scope["SIZE"])
    block[: DIM * BLOCK] = x.ravel()
    block[scope["AT_noise"] :][: n_noise * BLOCK] = noise.ravel()
    scope[what](values, numbers, block, 0.2, H)
    np.testing.assert_allclose(block[: DIM * BLOCK].reshape(DIM, BLOCK), np.array(expected), rtol=1e-13, atol=1e-14)


@pytest.mark.nojit
def test_kernel_by_rows_is_its_naive_twin():
    system, scheme = box(), registry()["euler-maruyama"]
    kernel = Kernel(system, scheme)
    assert "AT_x" in kernel.source
    first = 0.1 + 0.8 * np.random.default_rng(3).random((2 * BLOCK, DIM))
    x, steps = kernel.initial_state(first), 40
    assert kernel(x, 0, 2 * BLOCK, 0, steps, 0.0, H, 77) == -1
    for particle in (0, 63, 64, 130, 255):
        expected = naive.euler_maruyama(system, first[particle], particle, 77, H, steps)
        np.testing.assert_allclose(x[:, particle], expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("dim", "by_rows"), [slow(5, False), slow(8, False), slow(9, True), slow(16, True)])
def test_from_five_to_sixteen_coordinates_a_kernel_is_its_naive_twin(dim, by_rows):
    """Written out or by rows; each coordinate has a force, a mobility and a neighbour of its own."""
    energy = " + ".join(f"cos({a + 1}*x{a})/{a + 1} + x{a}*x{(a + 1) % dim}" for a in range(dim))
    mobility = [f"1 + sin(x{(a + 2) % dim})/{a + 2}" for a in range(dim)]
    system = rs.System(energy, mobility, T, rs.Domain([(-1.0, 1.5)] * dim))
    kernel = Kernel(system, registry()["euler-maruyama"])
    assert ("AT_x" in kernel.source) is by_rows
    first = 0.5 - np.random.default_rng(4).random((BLOCK, dim))
    x, steps = kernel.initial_state(first), 12
    assert kernel(x, 0, BLOCK, 0, steps, 0.0, H, 78) == -1
    for particle in (0, 64, 127):
        expected = naive.euler_maruyama(system, first[particle], particle, 78, H, steps)
        np.testing.assert_allclose(x[:, particle], expected, rtol=1e-10, atol=1e-11)


@pytest.mark.nojit
def test_a_particle_that_diverges_is_found_by_rows():
    system, scheme = box(), registry()["euler-maruyama"]
    kernel = Kernel(system, scheme)
    x = kernel.initial_state(np.full((2 * BLOCK, DIM), 0.5))
    x[4, BLOCK + 3] = np.nan
    before = x.copy()
    assert kernel(x, 0, 2 * BLOCK, 0, 2, 0.0, H, 77) == BLOCK
    np.testing.assert_array_equal(x[:, BLOCK:], before[:, BLOCK:])
    assert kernel(x, 0, 2 * BLOCK, 0, 2, 0.0, H, 77, live=BLOCK + 3) == -1  # one that only fills the block


@pytest.mark.parametrize("kind", ["gaussian", "three-point", "two-point"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_noise_by_rows_is_that_of_the_written_out_loop(kind, dtype, monkeypatch):
    plan = Plan(box(), registry()["euler-maruyama"], kind, dtype=dtype)
    scope = {"np": np}
    source = rows_loop._noise(plan)
    if source.names:
        exec(f"from relaxsim.particles.noise import {', '.join(source.names)}", scope)
    exec("from relaxsim.particles.random import DYNAMICS, normal_pair, random_bits", scope)
    block = np.zeros(BLOCK * 2 * DIM, dtype)
    scope |= {"block": block, "AT_noise": 0, "seed": np.uint64(5), "first_particle": 256, "start": 128, "k": 7}
    scope |= {"first_step": 7, "step_bits": np.uint64(7), "DYNAMICS": np.uint64(scope["DYNAMICS"])}
    with np.errstate(over="ignore"):
        exec("\n".join([*source.setup, *source.step]), scope)
    expected = {
        "gaussian": naive.normals if dtype == "float64" else naive.normals_32,
        "three-point": naive.three_point,
        "two-point": naive.two_point,
    }[kind](5, 256 + 128 + 77, 7, DIM)
    got = block[: DIM * BLOCK].reshape(DIM, BLOCK)[:, 77]
    np.testing.assert_allclose(got, expected, rtol=1e-13 if dtype == "float64" else 2e-5, atol=1e-6)


def neighbours(model, x, t, h, noise):
    return [x[a] + h * x[a - 1] for a in range(len(x))]


def whole_list(model, x, t, h, noise):
    n = len(x)
    return [x[a] + n * noise[a] for a in range(len(x))]


def twice(model, x, t, h, noise):
    y = model.drift(x, t)
    y = [y[a] * h for a in range(len(x))]
    return [x[a] + y[a] for a in range(len(x))]


def a_sum(model, x, t, h, noise):
    return [x[a] + h * sum(noise[b] for b in range(len(x))) for a in range(len(x))]


@pytest.mark.parametrize("step", [neighbours, whole_list, twice, a_sum])
def test_other_steps_are_written_out(step):
    from dataclasses import replace

    with pytest.raises(NotByRowsError):
        by_rows(step, DIM)
    source = kernel_source(Plan(free(), replace(registry()["euler-maruyama"], step=step)))
    assert "AT_x" not in source


def test_few_coordinates_are_written_out():
    system = rs.System("x**2 + y**2", temperature=1.0)
    assert rows_loop.rows_loop(Plan(system, registry()["euler-maruyama"]), 0) is None
