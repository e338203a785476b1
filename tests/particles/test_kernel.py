"""Compiled kernels against their naive twin, walls, and the source they are made of."""

import numpy as np
import pytest

import relaxsim as rs
from naive import particles as naive
from relaxsim import _jit
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import Scheme, choose, registry
from relaxsim.particles.unroll import unrolled_source
from systems import demo_system

SEED, STEPS, H = 12345, 6, 0.05
CASES = {
    "1-D, unbounded": rs.System("x**4/4 - x**2/2", temperature=0.5),
    "1-D, constant K, reflecting": rs.System("2*x", 0.7, 0.8, rs.Domain([(0, 0.5)])),
    "2-D, diagonal K(x), reflecting": demo_system(),
    "2-D, periodic and reflecting": rs.System(
        "cos(x) + y**2",
        ["1 + 0.3*sin(x)", "1"],
        0.6,
        rs.Domain([(0, 2 * np.pi), (-1, 1)], boundary=["periodic", "reflecting"]),
    ),
    "2-D, full K, reflecting": rs.System("2*x + y", [[1.0, 0.6], [0.6, 1.0]], 1.0, rs.Domain.hypercube(2)),
    "2-D, full K(x)": rs.System("x**2 + x*y + y**2", [["1 + x**2/4", "0.3*sin(y)"], ["0.3*sin(y)", "1"]], 0.5),
    "3-D, scalar K(x), time": rs.System("x**2 + y**2*(1 + t) + z**2", "1 + exp(-x**2)", 0.5),
}


def start(system, n=256):
    return naive_start(system, n).T.copy()


def naive_start(system, n):
    low = np.maximum(system.domain.lower, -1.0)
    high = np.minimum(system.domain.upper, 1.0)
    return low + (high - low) * np.random.default_rng(5).random((n, system.dim))


@pytest.mark.nojit
@pytest.mark.parametrize("case", CASES)
def test_kernel_is_its_naive_twin(case):
    system = CASES[case]
    kernel = Kernel(system, choose("euler-maruyama", system))
    x = start(system)
    assert kernel(x, 0, 256, 0, STEPS, 0.0, H, SEED) == -1
    for particle in (0, 1, 63, 64, 127, 128, 200):
        expected = naive.euler_maruyama(system, naive_start(system, 256)[particle], particle, SEED, H, STEPS)
        np.testing.assert_allclose(x[:, particle], expected, rtol=1e-11, atol=1e-12)


def test_particles_stay_in_the_box():
    for case in ("1-D, constant K, reflecting", "2-D, periodic and reflecting", "2-D, full K, reflecting"):
        system = CASES[case]
        kernel = Kernel(system, choose("auto", system))
        x = start(system)
        kernel(x, 0, 256, 0, 400, 0.0, 0.3, SEED)  # steps beyond the box
        assert system.domain.contains(x.T).all()
        assert np.isfinite(x).all()
        for axis, periodic in enumerate(system.domain.periodic):
            if periodic:
                assert (x[axis] >= system.domain.lower[axis]).all()
                assert (x[axis] < system.domain.upper[axis]).all()


@pytest.mark.parametrize("system", [CASES["1-D, unbounded"], demo_system()], ids=["1-D", "2-D"])
def test_the_inner_loop_is_vectorised(system):
    """Whoever breaks the packing of the loop sees it here and not in a user's run time."""
    import re

    if _jit.jit_disabled():
        pytest.skip("nothing is compiled")
    kernel = Kernel(system, choose("auto", system))
    kernel._run = _jit.kernel_uncached(kernel._run.py_func)  # what comes from the disk cache cannot be inspected
    kernel.compile()
    assembly = "".join(kernel._run.inspect_asm().values())
    if "mulpd" not in assembly and "fmul" in assembly:
        pytest.skip("not an x86 processor")
    packed = len(re.findall(r"v?(?:mul|fn?madd\d*|sqrt)pd", assembly))
    assert packed > 50
    assert re.search(r"sqrtpd", assembly)


def test_parameters_and_constants_do_not_compile_anew():
    def system(a, k, T, box):
        return rs.System(rs.Energy("a*x**2", params={"a": a}), k, T, rs.Domain([(-box, box)]))

    first, second = system(1.0, 2.0, 0.5, 3.0), system(2.0, 0.3, 1.5, 4.0)
    scheme = choose("euler-maruyama", first)
    assert Kernel(first.with_params(a=7), scheme).source == Kernel(first, scheme).source
    kernels = [Kernel(first, scheme), Kernel(second, scheme)]
    results = []
    for kernel, s in zip(kernels, (first, second), strict=True):
        x = np.full((1, 128), 0.5)
        kernel(x, 0, 128, 0, 3, 0.0, 0.01, SEED)
        np.testing.assert_allclose(x[:, 3], naive.euler_maruyama(s, [0.5], 3, SEED, 0.01, 3), rtol=1e-12)
        results.append(x)
    assert kernels[0]._run is kernels[1]._run
    assert not np.array_equal(*results)


def test_a_function_that_cannot_be_traced_is_compiled():
    import math

    def energy(x):
        return math.cosh(x[0]) if x[0] > 0 else 1.0 + x[0] ** 2 / 2

    def gradient(x):
        return (math.sinh(x[0]) if x[0] > 0 else x[0],)

    system = rs.System(rs.Energy(energy, grad=gradient, dim=1), temperature=0.5)
    x = start(system, 128)
    Kernel(system, choose("euler-maruyama", system))(x, 0, 128, 0, STEPS, 0.0, H, SEED)
    expected = naive.euler_maruyama(system, naive_start(system, 128)[7], 7, SEED, H, STEPS)
    np.testing.assert_allclose(x[:, 7], expected, rtol=1e-11)


@pytest.mark.nojit
def test_steps_run_on_arrays_as_they_are_written():
    system = demo_system()
    x = np.random.default_rng(1).normal(size=(5, 2))
    noise = np.random.default_rng(2).normal(size=(5, 2))
    step = registry()["euler-maruyama"].step
    got = np.stack(step(ArrayModel(system), list(x.T), 0.0, 0.01, list(noise.T)), axis=-1)
    factor = np.linalg.cholesky(system.mobility(x))
    expected = x + 0.01 * system.drift(x) + 0.1 * np.einsum("nab,nb->na", factor, noise)
    np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.nojit
def test_unrolling_writes_out_sums_and_comprehensions():
    def good(model, x, t, h, noise):
        """Not in the source."""
        g = model.gradient(x, t)
        size = sum(g[a] * g[a] for a in range(len(x)))
        return [x[a] - model.temperature * h * size + noise[a] for a in range(len(x))]

    source = unrolled_source(good, {"x": 2, "noise": 2}, "step")
    assert "g = model_gradient(model, x, t)" in source
    assert "size = g[0] * g[0] + g[1] * g[1]" in source
    assert "return (x[0] - model[0] * h * size + noise[0], x[1] - model[0] * h * size + noise[1])" in source

    def bad(model, x, t, h, noise):
        return [x[a] for a in noise]

    with pytest.raises(ValueError, match="range"):
        unrolled_source(bad, {"x": 2, "noise": 2}, "step")


@pytest.mark.nojit
def test_schemes_are_chosen_and_refused_with_a_reason():
    system = CASES["2-D, full K, reflecting"]
    assert choose("auto", system).id == "euler-maruyama"
    assert choose("auto", CASES["1-D, unbounded"]).id == "leimkuhler-matthews"
    assert choose("auto", demo_system()).id == "milstein"
    assert choose("auto", rs.diffusion_machine("x", temperature=0.3)).id == "sphere"
    assert choose("auto", rs.diffusion_machine("x", "arctan", temperature=0.3)).id == "milstein"
    with pytest.raises(rs.IncompatibleSchemeError, match="did you mean 'euler-maruyama'"):
        choose("euler-maruyma", system)
    row = registry()["euler-maruyama"]
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    picky = Scheme(**{**fields, "refuses": lambda system: "it is picky", "id": "picky"})
    with pytest.raises(rs.IncompatibleSchemeError, match="it is picky"):
        choose(picky, system)


@pytest.mark.nojit
def test_every_scheme_says_what_it_is():
    for name, row in registry().items():
        assert row.id == name
        assert row.reference
        assert row.weak_order.keys() == row.invariant_order.keys()
        assert all(order > 0 for order in row.invariant_order.values())
        assert all((order > 0) == (row.dynamics == "true") for order in row.weak_order.values())
