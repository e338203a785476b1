"""Batched functions that are recorded and compiled, and those that are left to Python."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles.batched import BatchedKernel
from relaxsim.particles.batched_loops import CalledLoops, CompiledLoops
from relaxsim.particles.block_trace import Record, recorded
from relaxsim.particles.product import product
from relaxsim.particles.random import BLOCK
from relaxsim.particles.schemes import registry
from relaxsim.system.field import Field
from relaxsim.system.trace import TraceError

DIM, T, H, SEED = 11, 0.4, 0.02, 8  # 11: a tile of eight rows and three single ones
RNG = np.random.default_rng(2)
W = RNG.normal(size=(DIM, DIM)) / DIM
W = W + W.T
V = RNG.normal(size=(DIM, DIM))
B = RNG.normal(size=(DIM, 1))
POINTS = RNG.uniform(-2.0, 2.0, size=(DIM, BLOCK))
BETA = 1.3


def record_of(function, time_dependent=False):
    record = Record(DIM)
    given = Field((DIM,), function=function, time_dependent=time_dependent, batched=True)
    return record, recorded(given, record, POINTS)


RECORDED = {
    "linear": lambda x: np.asarray(W @ x),
    "hopfield": lambda x: x - W @ np.tanh(BETA * x) - B,
    "two products": lambda x: V.T @ (np.sin(V @ x) / (1 + x**2)) + np.matmul(W, x),
    "elementary": lambda x: np.exp(-x * x) * np.sqrt(abs(x)) + np.arctan(x) ** 3 - 2.5 + rs.elementary.erf(x),
    "powers": lambda x: 2.0**x + x**-2 + np.power(np.abs(x), 1.7) + np.square(x),
    "scaled": lambda x: W @ x / x.shape[0] + np.float64(0.3) * x + np.array([[2.0]]) * x,
}


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_recorded_is_the_function(name):
    function = RECORDED[name]
    record, found = record_of(function)
    at = RNG.normal(size=(DIM, 40))
    np.testing.assert_allclose(found(record, at, 0.0), function(at), rtol=1e-12, atol=1e-12)


def test_time_is_recorded():
    def function(x, t):
        return np.cos(3 * t) * (W @ x) + t * B

    record, found = record_of(function, time_dependent=True)
    np.testing.assert_allclose(found(record, POINTS, 0.3), function(POINTS, 0.3), rtol=1e-12, atol=1e-12)


def test_equal_matrices_and_parts_are_kept_once():
    record, found = record_of(lambda x: W @ np.tanh(x) + W.copy() @ np.tanh(x) ** 2)
    assert len(record.matrices) == 1
    statements = found.statements("g", "y", 5)
    assert sum("tanh" in line for line in statements) == 1
    assert sum("model.times_0" in line for line in statements) == 2


state = {"sign": 1.0}


def forgetful(x):
    state["sign"] = -state["sign"]
    return state["sign"] * x


LEFT = {
    "a branch": lambda x: x if x[0, 0] > 0 else -x,
    "a comparison": lambda x: np.where(x > 0, x, 0.0),
    "a maximum": lambda x: np.maximum(x, 0.0),
    "a mean": lambda x: x - x.mean(axis=0),
    "another mean": lambda x: x - np.mean(x),
    "rows": lambda x: np.roll(x, 1, axis=0),
    "a matrix that is not square": lambda x: V[:3].T @ (V[:3] @ x),
    "a row of numbers": lambda x: x * np.arange(BLOCK),
    "numbers of another kind": lambda x: x * 1j,
    "a nan": lambda x: x + np.nan,
    "in place": lambda x: np.add(x, 1.0, out=x),
    "a constant": lambda x: B,
    "from the right": lambda x: (x.T @ W).T,
    "what changes": forgetful,
    "a branch on the type": lambda x: x if isinstance(x, np.ndarray) else 2.0 * x,
    "an error": lambda x: x.unknown,
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_to_python(name):
    with pytest.raises(TraceError):
        record_of(LEFT[name])


# ---- in kernels


def hopfield(gradient=None, beta=BETA):
    def energy(x):
        return (x * x / 2 - B * x).sum(axis=0) - 0.5 * np.einsum("an,an->n", np.tanh(x), W @ np.tanh(x))

    def slope(x):
        s = np.tanh(x)
        return x - B - (1 - s * s) * (W @ s)

    return rs.System(rs.Energy(energy, grad=gradient or slope, dim=DIM, batched=True), 1.0, T)


def called(system):
    """The same system with a gradient that is not recorded, since it looks at its argument."""
    function = system.energy.gradient_field.function
    return hopfield(lambda x: function(np.ascontiguousarray(x + 0.0 * np.maximum(x, 0.0))))


def start(n):
    return np.random.default_rng(1).normal(size=(n, DIM))


def test_compiled_and_called_loops_agree():
    """Up to rounding: another sum in the product, another tanh."""
    scheme = registry()["euler-maruyama"]
    one, other = BatchedKernel(hopfield(), scheme), BatchedKernel(called(hopfield()), scheme)
    assert isinstance(one._loops, CompiledLoops)
    assert isinstance(other._loops, CalledLoops)
    found, expected = one.initial_state(start(2 * BLOCK)), other.initial_state(start(2 * BLOCK))
    assert one(found, 0, 2 * BLOCK, 3, 20, 0.0, H, SEED) == -1
    assert other(expected, 0, 2 * BLOCK, 3, 20, 0.0, H, SEED) == -1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.abs(found.T - start(2 * BLOCK)).max() > 0.1


def test_a_force_without_a_product_is_compiled_too():
    """dx = -x^3 dt + sqrt(2T) dW, against the same loops called by Python."""
    scheme = registry()["euler-maruyama"]

    def quartic(slope):
        return rs.System(rs.Energy(lambda x: (x**4).sum(axis=0) / 4, grad=slope, dim=DIM, batched=True), 1.0, T)

    one = BatchedKernel(quartic(lambda x: x**3), scheme)
    other = BatchedKernel(quartic(lambda x: np.maximum(x, -np.inf) ** 3), scheme)
    assert isinstance(one._loops, CompiledLoops)
    assert isinstance(other._loops, CalledLoops)
    found, expected = one.initial_state(start(BLOCK)), other.initial_state(start(BLOCK))
    assert one(found, 0, BLOCK, 3, 20, 0.0, H, SEED) == -1
    assert other(expected, 0, BLOCK, 3, 20, 0.0, H, SEED) == -1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.abs(found.T - start(BLOCK)).max() > 0.1


def test_same_bits_wherever_a_particle_stands():
    """One block or several, at once or step by step: the bits are those of the particle's number."""
    kernel = BatchedKernel(hopfield(), registry()["euler-maruyama"])
    whole = kernel.initial_state(start(3 * BLOCK))
    parts = whole.copy()
    kernel(whole, 0, 3 * BLOCK, 0, 6, 0.0, H, SEED)
    for begin in (256, 0, 128):
        for k in (0, 1, 2):
            kernel(parts, begin, begin + BLOCK, 2 * k, 2, 0.0, H, SEED)
    np.testing.assert_array_equal(whole, parts)
    shifted = np.ascontiguousarray(kernel.initial_state(start(3 * BLOCK))[:, BLOCK:])
    kernel(shifted, 0, 2 * BLOCK, 0, 6, 0.0, H, SEED, first_particle=BLOCK)
    np.testing.assert_array_equal(whole[:, BLOCK:], shifted)


def test_a_product_does_not_depend_on_the_column():
    import numba

    from relaxsim.particles import product_tiles  # noqa: F401

    compiled = numba.njit(lambda matrix, x, out: product(matrix, x, out))
    column = RNG.normal(size=(DIM, 1))
    out = np.empty(DIM * BLOCK)
    compiled(V.reshape(-1), np.repeat(column, BLOCK, axis=1).reshape(-1), out)
    entries = out.reshape(DIM, BLOCK)
    assert (entries == entries[:, :1]).all()
    np.testing.assert_allclose(entries[:, :1], V @ column, rtol=1e-13, atol=1e-13)
    by_numpy = np.empty(DIM * BLOCK)
    product(V.reshape(-1), np.repeat(column, BLOCK, axis=1).reshape(-1), by_numpy)
    np.testing.assert_allclose(out, by_numpy, rtol=1e-13, atol=1e-13)


def test_other_matrices_and_numbers_take_the_same_kernel():
    scheme = registry()["euler-maruyama"]

    def linear(matrix, factor):
        made = rs.Energy(
            lambda x: 0.5 * factor * np.einsum("an,an->n", x, matrix @ x),
            grad=lambda x: factor * (matrix @ x),
            dim=DIM,
            batched=True,
        )
        return BatchedKernel(rs.System(made, temperature=T), scheme)

    assert linear(W, 0.7).source == linear(2 * W, 1.9).source


def test_a_particle_that_diverges_is_found_in_compiled_loops():
    kernel = BatchedKernel(hopfield(), registry()["euler-maruyama"])
    state = kernel.initial_state(start(2 * BLOCK))
    state[2, BLOCK + 3] = np.inf
    before = state.copy()
    assert kernel(state, 0, 2 * BLOCK, 0, 1, 0.0, H, SEED) == BLOCK
    np.testing.assert_array_equal(state[:, BLOCK:], before[:, BLOCK:])
    assert kernel(state, 0, 2 * BLOCK, 0, 1, 0.0, H, SEED, live=BLOCK + 3) == -1
