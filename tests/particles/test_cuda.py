"""Kernels for a graphics card, run by the CUDA simulator: they do what the CPU's do.

Run with ``NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1 pytest -m cudasim``. Everything is Python then, so the kernels
have one block of 128 particles and a few steps. The numbers they draw are compared with the naive twin of the packing,
their steps with the loops of the CPU, whose arithmetic is the same when both are Python.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import relaxsim as rs
from naive import particles as naive
from particles.cuda_cases import CASES, SYSTEMS, cuda_kernel, starting_positions
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.schemes import NOISES, Scheme, registry
from relaxsim.system.region import Region

pytestmark = [
    pytest.mark.cudasim,
    pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") != "1", reason="needs NUMBA_ENABLE_CUDASIM=1"),
]

SEED, H, N = 2**40 + 7, 0.1, 128
FIRST_STEP, STEPS = 5, 3  # in the middle of what a call of weak noise serves
FIRST_PARTICLE = 2**33 + 128  # the high word of the particle counts too
TRIED = (FIRST_STEP, 8, 9, 24, 25)  # with 5 numbers a step, 48 digits serve 9 steps, and 128 serve 25
SEEN = (0, 1, 31, 32, 63, 64, 95, 96, 127)


def advanced(kernel, positions, first_step=FIRST_STEP, n_steps=STEPS, h=H):
    """The state after some steps, and what is reported of it."""
    state = kernel.initial_state(positions, 0.25)
    assert kernel(state, 0, N, first_step, n_steps, 0.25, h, SEED, N, FIRST_PARTICLE) == -1
    return state, kernel.report(state, first_step + n_steps, 0.25, h, SEED, FIRST_PARTICLE)


def compare(system, scheme, noise="gaussian", h=H, **options):
    """Assert that the card and the CPU do the same."""
    arguments = (system, scheme, noise)
    positions = starting_positions(system, N)
    expected = advanced(Kernel(*arguments, **options), positions, h=h)
    got = advanced(cuda_kernel(*arguments, **options), positions, h=h)
    start = Kernel(*arguments, **options).initial_state(positions, 0.25)
    assert not np.array_equal(expected[0][: system.dim], start[: system.dim])  # something happened
    for one, other in zip(got, expected, strict=True):
        tolerance = 1e-5 if one.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("scheme", "system", "noise"), CASES)
def test_steps_are_those_of_the_cpu(scheme, system, noise):
    compare(SYSTEMS[system], registry()[scheme], noise)


@pytest.mark.parametrize("scheme", registry())
@pytest.mark.parametrize("noise", NOISES)
def test_steps_in_single_precision(scheme, noise):
    row = registry()[scheme]
    able = [system for system in SYSTEMS.values() if row.why_not(system, noise) is None]
    if not able:
        pytest.skip(f"{scheme} takes no {noise} noise")
    for system in able[:2]:
        compare(system, row, noise, dtype="float32")


@pytest.mark.parametrize("system", ["interval", "turned", "oblique"])
def test_lepingle_pushes(system):
    compare(SYSTEMS[system], registry()["euler-maruyama"], walls="lepingle")


@pytest.mark.parametrize("scheme", ["euler-maruyama", "heun"])
@pytest.mark.parametrize("system", ["turned", "oblique"])
def test_turns_are_counted(scheme, system):
    if registry()[scheme].why_not(SYSTEMS[system]) is not None:
        pytest.skip("refused")
    row = registry()[scheme]
    kernel = cuda_kernel(SYSTEMS[system], row, count_turns=True)
    state, _ = advanced(kernel, starting_positions(SYSTEMS[system], N), h=3.0)
    assert np.unique(state[2]).size > 2
    compare(SYSTEMS[system], row, h=3.0, count_turns=True)


@pytest.mark.parametrize(("scheme", "system"), [("euler-maruyama", "full"), ("lamperti", "line")])
def test_first_passages_are_watched(scheme, system):
    regions = (Region.of("x > 0.3", SYSTEMS[system].dim), Region.of("x > 0.2 and x < 0.6", SYSTEMS[system].dim))
    compare(SYSTEMS[system], registry()[scheme], regions=regions)


# ---- the numbers drawn


def echo(dim, **fields):
    """A system and a scheme whose position after a step is what was drawn for it."""

    def step(model, x, t, h, noise):
        return [noise[a] for a in range(len(x))]

    row = registry()["euler-maruyama"]
    given = {name: getattr(row, name) for name in row.__dataclass_fields__}
    system = rs.System(" + ".join(f"x{a}**2" for a in range(dim)), temperature=0.5)
    return system, Scheme(**{**given, "step": step, "id": "echo", **fields})


TWINS = {
    ("gaussian", "float64"): naive.normals,
    ("gaussian", "float32"): naive.normals_32,
    ("three-point", "float64"): naive.three_point,
    ("three-point", "float32"): naive.three_point,
    ("two-point", "float64"): naive.two_point,
    ("two-point", "float32"): naive.two_point,
}


def drawn(kernel, step):
    state = kernel.initial_state(np.zeros((N, kernel.plan.system.dim)))
    kernel(state, 0, N, step - 2, 3, 0.0, H, SEED, N, FIRST_PARTICLE)
    return state


def worst(kernel, twin, step):
    state, dim = drawn(kernel, step), kernel.plan.system.dim
    return max(np.abs(state[:, p] - twin(SEED, FIRST_PARTICLE + p, step, dim)).max() for p in SEEN)


@pytest.mark.parametrize(("noise", "dtype"), TWINS)
@pytest.mark.parametrize("dim", [1, 2, 3, 5, 6, 7])
def test_numbers_have_the_addresses_of_the_packing(noise, dtype, dim):
    kernel = cuda_kernel(*echo(dim), noise, dtype=dtype)
    tolerance = 1e-14 if dtype == "float64" else 2e-6
    for step in (*TRIED, 2**32 + 3):
        assert worst(kernel, TWINS[noise, dtype], step) <= tolerance


@pytest.mark.parametrize(
    ("noise", "dtype", "dim", "written", "wrong"),
    [
        ("gaussian", "float64", 5, "p & WITHOUT_64", "p"),
        ("gaussian", "float64", 5, "(p & BIT_64) == 0", "(p & BIT_32) == 0"),
        ("gaussian", "float64", 2, "seed, p, step_bits", "seed, p & WITHOUT_64, step_bits"),
        ("gaussian", "float64", 1, "z0_0, z0_1 =", "z0_1, z0_0 ="),
        ("gaussian", "float64", 3, "i_1 = first + 64", "i_1 = first + 32"),
        ("gaussian", "float32", 5, "WITHOUT_96,", "WITHOUT_64,"),
        ("gaussian", "float32", 6, "(w0, w1) if (p & BIT_32)", "(w0, w1) if (p & BIT_64)"),
        ("gaussian", "float32", 1, "z0_0, z0_2 =", "z0_2, z0_0 ="),
        ("gaussian", "float32", 2, "z0_1, z1_1 =", "z1_1, z0_1 ="),
        ("three-point", "float64", 5, "or k == first_step", ""),
        ("three-point", "float64", 5, "k // 9", "k // 10"),
        ("two-point", "float64", 5, "digit % 64", "digit % 32"),
        ("two-point", "float64", 5, "first_particle + i", "i"),
    ],
)
def test_a_wrong_address_is_noticed(noise, dtype, dim, written, wrong, monkeypatch):
    from relaxsim.particles import cuda_kernel as module

    source = module.cuda_source
    assert written in source(cuda_kernel(*echo(dim), noise, dtype=dtype).plan)
    monkeypatch.setattr(module, "cuda_source", lambda *given: source(*given).replace(written, wrong))
    kernel = cuda_kernel(*echo(dim), noise, dtype=dtype)
    assert max(worst(kernel, TWINS[noise, dtype], step) for step in TRIED) > 0.1


def test_signs_and_uniforms_have_addresses_of_their_own():
    def step(model, x, t, h, noise):
        return [noise[len(x) + a] for a in range(len(x))]

    system, scheme = echo(3, step=step, signs=lambda dim: 2, uniforms=1)
    state = drawn(cuda_kernel(system, scheme), FIRST_STEP)
    for p in SEEN:
        signs = naive.signs(SEED, FIRST_PARTICLE + p, FIRST_STEP, 2)
        assert state[:2, p].tolist() == signs.tolist()
        assert state[2, p] == pytest.approx(naive.metropolis(SEED, FIRST_PARTICLE + p, FIRST_STEP), abs=1e-15)


# ---- a thousand steps

COMPILED = """
import sys
import numpy as np
import relaxsim as rs
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.schemes import registry

x = np.random.default_rng(5).random((2, 128))
results = []
for h in (0.02, 0.02 * (1 + 1e-7)):
    kernel = Kernel(rs.System({system}), registry()["leimkuhler-matthews"])
    results.append(x.copy())
    kernel(results[-1], 0, 128, 0, 1000, 0.0, h, {seed})
np.save(sys.argv[1], np.array(results))
"""


def test_a_thousand_steps_end_where_the_compiled_loop_of_the_cpu_does(tmp_path):
    """It fuses multiplications and additions and has its own exp; Python does not."""
    arguments = ("x**2/2 + exp(-x) + x*y/4 + y**2", [1.0, 2.0], 0.5)
    code = COMPILED.format(system=", ".join(map(repr, arguments)), seed=SEED)
    compiling = os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "NUMBA_DISABLE_JIT": "0"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "cpu.npy"], env=compiling, check=True)
    expected, with_another_step = np.load(tmp_path / "cpu.npy")
    x = np.random.default_rng(5).random((2, N))
    cuda_kernel(rs.System(*arguments), registry()["leimkuhler-matthews"])(x, 0, N, 0, 1000, 0.0, 0.02, SEED)
    np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-9)
    assert np.abs(x - with_another_step).max() > 2e-9


# ---- runs


@pytest.mark.parametrize(
    "options",
    [
        {"scheme": "milstein", "store_windings": True},
        {"scheme": "heun", "store": "final", "dtype": "float32"},
        {"scheme": "mala", "stationary": True},
        {"scheme": "platen", "store": "none", "observables": [rs.FirstPassage("x > 3"), rs.Moments(2)]},
    ],
    ids=lambda options: options["scheme"],
)
def test_a_run_is_that_of_the_cpu(options):
    settings = {"n_particles": 200, "dt": 0.05, "times": [0.0, 0.1, 0.3], "rng": SEED, "threads": 3} | options
    runs = [
        rs.simulate(SYSTEMS["turned"], rs.initial.uniform(), device=device, **settings) for device in ("cpu", "cuda")
    ]
    assert [path.device for path in runs] == ["cpu", "cuda"]
    # Relative to the size of the box: what rounding makes of a coordinate near zero, or of sums that cancel, is not.
    tolerance = 1e-5 if "dtype" in options else 1e-13
    np.testing.assert_allclose(*[path.positions for path in runs], rtol=tolerance, atol=tolerance)
    assert runs[0].positions.dtype == runs[1].positions.dtype
    assert runs[0].acceptance == runs[1].acceptance
    if runs[0].windings is not None:
        assert np.array_equal(*[path.windings for path in runs])
    for name, observable in runs[0].observables.items():
        for key, value in observable.state().items():
            other = runs[1].observables[name].state()[key]
            if value.dtype.kind == "U":
                assert other == value
            else:
                np.testing.assert_allclose(other, value, rtol=1e-12, atol=1e-12)


def test_a_run_that_diverges_says_where():
    errors = []
    for device in ("cpu", "cuda"):
        with pytest.raises(rs.DivergedError) as caught, pytest.warns(rs.StabilityWarning):
            rs.simulate(
                rs.System("x**4/4", temperature=0.5), rs.initial.normal(0.0, 3.0), n_particles=300, dt=0.5,
                times=[0.0, 5.0], rng=3, scheme="euler-maruyama", device=device,
            )  # fmt: skip
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_a_checkpoint_of_a_run_on_a_card(tmp_path):
    settings = {"n_particles": 200, "dt": 0.05, "times": [0.0, 0.1, 0.3], "rng": SEED, "device": "cuda"}
    path = rs.simulate(
        SYSTEMS["turned"], rs.initial.uniform(), checkpoint=tmp_path / "run.npz", checkpoint_every=1e-9, **settings
    )
    again = rs.resume(tmp_path / "run.npz")
    assert again.device == "cuda"
    assert np.array_equal(again.positions, path.positions)
    with pytest.raises(rs.InputError, match="device"):
        rs.resume(tmp_path / "run.npz", device="cpu")


# ---- blocks


def test_a_block_that_diverges_is_left_as_it_was():
    system, scheme = rs.System("-x**4/4", temperature=0.5), registry()["euler-maruyama"]
    kernel = cuda_kernel(system, scheme)
    state = np.full((1, 3 * N), 0.1)
    state[0, N + 70] = 1e200
    before = state.copy()
    assert kernel(state, 0, 3 * N, 0, 2, 0.0, 0.01, SEED) == N
    assert np.array_equal(state[:, N : 2 * N], before[:, N : 2 * N])
    assert not np.isclose(state[:, :N], before[:, :N]).all()
    state[:] = before  # what only fills the last block may do what it likes
    assert kernel(state, N, 2 * N, 0, 2, 0.0, 0.01, SEED, N + 70) == -1


def test_a_state_stays_on_the_card_between_calls():
    system, scheme = SYSTEMS["turned"], registry()["euler-maruyama"]
    kernel = cuda_kernel(system, scheme, count_turns=True)
    at_once = kernel.initial_state(starting_positions(system, N))
    held = kernel.resident(at_once)
    kernel(at_once, 0, N, 0, 3, 0.0, H, SEED)
    for step in range(3):
        assert kernel(held, 0, N, step, 1, 0.0, H, SEED) == -1
    assert np.array_equal(held.host(), at_once)
    assert np.array_equal(held[:, 3:70], at_once[:, 3:70])
    assert np.array_equal(held[1:3], at_once[1:3])
    held[2:3] = 0.0
    assert np.array_equal(held.host(), np.concatenate([at_once[:2], np.zeros((1, N))]))


def test_batched_systems_are_refused_with_a_reason():
    force = lambda x: x  # noqa: E731
    energy = rs.Energy(lambda x: 0.5 * (x * x).sum(axis=0), grad=force, dim=20, batched=True)
    with pytest.raises(rs.IncompatibleSchemeError, match="batched system runs on the CPU"):
        cuda_kernel(rs.System(energy, temperature=0.5), registry()["euler-maruyama"])
