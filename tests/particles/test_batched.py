"""Systems of many coordinates: matrix products between compiled loops, the same particles as in written-out kernels."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.errors import IncompatibleSchemeError, InputError, ShapeError
from relaxsim.particles.batched import BatchedKernel
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.random import BLOCK, DYNAMICS, normal_pair, random_bits, uniform
from relaxsim.particles.schemes import choose, registry
from statistical_budget import assert_rejected, assert_within

DIM, T, H, SEED = 4, 0.5, 0.05, 21
A = np.array([[2.0, 0.3, 0.0, 0.1], [0.3, 1.0, 0.2, 0.0], [0.0, 0.2, 1.5, 0.4], [0.1, 0.0, 0.4, 1.2]])
FULL = np.array([[1.0, 0.2, 0.0, 0.0], [0.2, 2.0, 0.1, 0.0], [0.0, 0.1, 1.5, 0.3], [0.0, 0.0, 0.3, 1.0]])
TURN = np.array([[0, 0.5, 0, 0], [-0.5, 0, 0, 0.2], [0, 0, 0, 0.4], [0, -0.2, -0.4, 0]])
TEXT = " + ".join(f"{A[a, b]}*x{a}*x{b}/2" for a in range(DIM) for b in range(DIM))
CUBE = rs.Domain.hypercube(DIM)
MIXED = rs.Domain([(-1.0, 1.0), (-0.5, 1.0), (0.0, 0.6), (-1.0, 0.4)])


def energy(x):
    return 0.5 * np.einsum("an,an->n", x, A @ x)


def force_field(x):
    return A @ x


def parabola(x):
    return 2.0 * x * (1.0 - x)


def parabola_slope(x):
    return 2.0 - 4.0 * x


def batched(mobility=1.0, domain=None, **options):
    return rs.System(rs.Energy(energy, grad=force_field, dim=DIM, batched=True, **options), mobility, T, domain)


def machine():
    return batched(rs.Mobility.from_function(parabola, parabola_slope, dim=DIM, batched=True), CUBE)


CASES = {
    "scalar": ("euler-maruyama", batched, lambda: rs.System(TEXT, 1.0, T)),
    "diagonal": (
        "euler-maruyama",
        lambda: batched([1.0, 2.0, 0.5, 1.5]),
        lambda: rs.System(TEXT, [1.0, 2.0, 0.5, 1.5], T),
    ),
    "full": ("leimkuhler-matthews", lambda: batched(FULL), lambda: rs.System(TEXT, FULL, T)),
    "non-reversible": (
        "euler-maruyama",
        lambda: batched(rs.Mobility.constant(FULL).with_antisymmetric(TURN)),
        lambda: rs.System(TEXT, rs.Mobility.constant(FULL).with_antisymmetric(TURN), T),
    ),
    "box": ("leimkuhler-matthews", lambda: batched(0.7, MIXED), lambda: rs.System(TEXT, 0.7, T, MIXED)),
    "machine": (
        "euler-maruyama",
        machine,
        lambda: rs.System(TEXT, [f"2*x{a}*(1 - x{a})" for a in range(DIM)], T, CUBE),
    ),
    "sphere": ("sphere", machine, lambda: rs.System(TEXT, [f"2*x{a}*(1 - x{a})" for a in range(DIM)], T, CUBE)),
}


def noise_of(scheme, n, step, dim=DIM):
    """The draws of n particles in a step, by their addresses."""
    numbers = []
    for q in range(scheme.noise_per_axis * dim // 2):
        address = (np.uint64(SEED), np.arange(n, dtype=np.uint64), np.uint64(step), np.uint64(DYNAMICS), np.uint64(q))
        with np.errstate(over="ignore"):
            bits = random_bits(*address)
        numbers += [uniform(b) for b in bits] if scheme.draws == "uniform" else normal_pair(*bits)
    return numbers


@pytest.mark.parametrize("case", CASES)
def test_a_batched_step_is_the_step_of_the_same_system_in_text(case):
    name, make, written = CASES[case]
    scheme, n = registry()[name], 2 * BLOCK
    kernel = BatchedKernel(make(), scheme)
    start = 0.1 + 0.4 * np.random.default_rng(3).random((n, DIM))
    state, text = kernel.initial_state(start), written()
    assert kernel(state, 0, n, 0, 3, 0.0, H, SEED) == -1
    constants = scheme.constants(text) if scheme.constants else ()
    model, x = ArrayModel(text, constants), list(start.T)
    for step in range(3):
        x = scheme.step(model, x, 0.0, H, noise_of(scheme, n, step))
        x = model.inside(x) if not scheme.stays_inside else x
    np.testing.assert_allclose(state, np.array(x), rtol=1e-11, atol=1e-12)
    if scheme.output:
        reported = model.inside(scheme.output(model, x, 0.0, H, noise_of(scheme, n, 3)))
        np.testing.assert_allclose(kernel.report(state, 3, 0.0, H, SEED), np.array(reported), rtol=1e-11, atol=1e-12)


@pytest.mark.slow
def test_thousands_of_coordinates_follow_the_formula():
    """2000 coordinates and a block that is padded: x' = x - h K grad E + sqrt(2 T K h) z, by NumPy."""
    dim, n, K = 2000, 130, 0.7
    rng = np.random.default_rng(9)
    matrix = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    matrix += matrix.T
    made = rs.Energy(
        lambda x: 0.5 * np.einsum("an,an->n", x, matrix @ x) + 0.25 * (x**4).sum(axis=0),
        grad=lambda x: matrix @ x + x**3,
        dim=dim,
        batched=True,
    )
    system = rs.System(made, K, T)
    first, times = rng.normal(size=dim), [0.0, H, 2 * H]
    path = rs.simulate(
        system, rs.initial.point(first), n_particles=n, dt=H, times=times, rng=SEED, scheme="euler-maruyama"
    )
    x = np.repeat(first[:, None], n, axis=1)
    for step in range(2):
        noise = np.array(noise_of(registry()["euler-maruyama"], n, step, dim))
        x = x - H * K * (matrix @ x + x**3) + np.sqrt(2 * T * K * H) * noise
        np.testing.assert_allclose(path.positions[step + 1].T, x, rtol=0, atol=1e-9)


def test_same_bits_for_any_threads_and_number_of_particles():
    system, first = batched(), rs.initial.normal(np.zeros(DIM), 1.0)
    options = {"dt": H, "times": [0.0, 1.0], "rng": SEED, "scheme": "euler-maruyama"}
    one = rs.simulate(system, first, n_particles=700, threads=1, **options)
    two = rs.simulate(system, first, n_particles=700, threads=2, **options)
    few = rs.simulate(system, first, n_particles=150, threads=1, **options)
    np.testing.assert_array_equal(one.positions, two.positions)
    np.testing.assert_array_equal(one.positions[:, :150], few.positions)


def test_many_coordinates_reach_gibbs():
    """dx = -A x dt + sqrt(2T) dW in 100 dimensions: for a linear force the scheme has no bias in the variance."""
    dim, n = 100, 4096
    rng = np.random.default_rng(4)
    B = rng.normal(size=(dim, dim))
    matrix = np.eye(dim) + B @ B.T / dim
    made = rs.Energy(
        lambda x: 0.5 * np.einsum("an,an->n", x, matrix @ x), grad=lambda x: matrix @ x, dim=dim, batched=True
    )
    system = rs.System(made, temperature=T)
    path = rs.simulate(
        system,
        rs.initial.normal(np.zeros(dim), np.sqrt(T)),
        n_particles=n,
        dt=0.1,
        times=[0.0, 8.0],
        rng=5,
        store="final",
    )
    assert path.scheme == "leimkuhler-matthews"
    exact = T * np.linalg.inv(matrix)
    x = path.positions[-1]
    start = np.exp(-2 * 8.0 * np.linalg.eigvalsh(matrix)[0]) * T  # what is left of the start, at most
    directions = np.linalg.qr(rng.normal(size=(dim, 5)))[0]
    found, expected = (x @ directions).var(axis=0), np.einsum("ak,ab,bk->k", directions, exact, directions)
    error = expected * np.sqrt(2 / n)
    assert_within("batched: variances", found, expected, error, bias=start)
    scheme = choose("euler-maruyama", system)  # the mutant: its variance is T/(k (1 - k h/2))
    mutant = BatchedKernel(system, scheme)
    state = mutant.initial_state(rng.normal(size=(n, dim)) * np.sqrt(T))
    mutant(state, 0, n, 0, 40, 0.0, 0.3, 6)
    assert_rejected("batched: variances", (state.T @ directions).var(axis=0), expected, error, bias=start)


def test_auto_and_what_is_refused():
    assert choose("auto", batched()).id == "leimkuhler-matthews"
    assert choose("auto", machine()).id == "sphere"
    with pytest.raises(IncompatibleSchemeError, match=r"pvd2.*Schemes that can: euler-maruyama, leimkuhler-matthews"):
        choose("pvd2", batched())
    with pytest.raises(IncompatibleSchemeError, match="dtype: a batched system runs with 'float64' only"):
        BatchedKernel(batched(), registry()["euler-maruyama"], dtype="float32")
    twenty = rs.Energy(lambda x: (x**2).sum(axis=0) / 2, grad=lambda x: x, dim=20, batched=True)
    with pytest.raises(InputError, match="up to 16 coordinates"):
        Kernel(rs.System(twenty, temperature=T), registry()["euler-maruyama"])


def test_a_particle_that_diverges_is_found():
    kernel = BatchedKernel(batched(), registry()["euler-maruyama"])
    state = kernel.initial_state(np.full((2 * BLOCK, DIM), 0.5))
    state[2, BLOCK + 3] = np.nan
    assert kernel(state, 0, 2 * BLOCK, 0, 1, 0.0, H, SEED) == BLOCK
    assert kernel(state, 0, 2 * BLOCK, 0, 1, 0.0, H, SEED, live=BLOCK + 3) == -1


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: rs.Energy(energy, dim=DIM, batched=True), InputError, "grad"),
        (lambda: rs.Energy(energy, grad=force_field, batched=True), InputError, "dim"),
        (lambda: rs.Energy("x**2", grad=force_field, dim=DIM, batched=True), InputError, "function of arrays"),
        (lambda: rs.Energy(energy, grad=lambda x: 1.01 * (A @ x), dim=DIM, batched=True), InputError, "disagrees"),
        (lambda: rs.Energy(energy, grad=lambda x: (A @ x).T, dim=DIM, batched=True), ShapeError, r"shape \(4, 32\)"),
        (lambda: rs.Energy(lambda x: x, grad=force_field, dim=DIM, batched=True), ShapeError, r"shape \(32,\)"),
        (lambda: batched("1 + x**2"), InputError, "constant mobility or one made with batched=True"),
        (
            lambda: batched(rs.Mobility.from_function(parabola, lambda x: 2.0 + 0 * x, dim=DIM, batched=True), CUBE),
            InputError,
            "divergence: disagrees",
        ),
        (
            lambda: batched(
                rs.Mobility.from_function(lambda x: x - 0.5, lambda x: 1.0 + 0 * x, dim=DIM, batched=True), CUBE
            ),
            ValueError,
            "K must be positive definite",
        ),
        (lambda: rs.System(TEXT, machine().mobility, T, CUBE), InputError, "goes with a batched energy"),
        (lambda: machine().mobility.with_antisymmetric(TURN), ValueError, "no antisymmetric part"),
        (lambda: rs.System(rs.Energy(lambda x: sum(x), dim=17), temperature=1.0), ShapeError, "batched=True"),
    ],
)
def test_what_bad_input_gets(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_function_that_changes_its_shape_is_found_while_running():
    def gradient(x):
        return x[:, :5] if broken else A @ np.maximum(x, x)  # a maximum is not recorded

    broken = []
    system = rs.System(rs.Energy(energy, grad=gradient, dim=DIM, batched=True), 1.0, T)
    kernel = BatchedKernel(system, registry()["euler-maruyama"])
    broken.append(True)
    with pytest.raises(ShapeError, match=r"gradient: expected an array of shape \(4, 128\)"):
        kernel.compile()


def test_choosing_a_scheme_forms_no_matrix(monkeypatch):
    """Thirty-two matrices of a mobility are 4 GB in 4000 dimensions."""

    def evaluated(*_):
        raise AssertionError("the mobility was evaluated")

    system = batched(1.0)
    monkeypatch.setattr(rs.Mobility, "__call__", evaluated)
    assert choose("auto", system).id == "leimkuhler-matthews"
