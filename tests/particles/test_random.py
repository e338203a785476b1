"""Philox, the packing of calls, and the normals made of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import particles as naive
from relaxsim.particles import noise, random
from relaxsim.particles.noise import noise_source
from relaxsim.particles.random import BLOCK, DYNAMICS, INITIAL, STREAMS, THREE_POINT, TWO_POINT, Address, philox4x32
from statistical_budget import assert_rejected, assert_within

# Random123's known answers for philox4x32 with 10 rounds
KNOWN = [
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.nojit
@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_known_answers(counter, key, words):
    got = philox4x32(*map(np.uint64, counter), *map(np.uint64, key))
    assert " ".join(f"{int(word):08x}" for word in got) == words
    assert list(map(int, got)) == naive.philox4x32(counter, key)


words = st.integers(0, 2**32 - 1)


@pytest.mark.nojit
@given(st.tuples(words, words, words, words), st.tuples(words, words))
def test_philox_is_its_naive_twin(counter, key):
    got = philox4x32(*map(np.uint64, counter), *map(np.uint64, key))
    assert list(map(int, got)) == naive.philox4x32(counter, key)


addresses = st.tuples(
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**53 - 1),
    st.sampled_from(sorted(STREAMS.values())),
    st.integers(0, 2**16 - 1),
)


@pytest.mark.nojit
@given(addresses, addresses)
def test_different_addresses_have_different_counters(first, second):
    def counter(particle, step, stream, draw):
        return (particle & 0xFFFFFFFF, step & 0xFFFFFFFF, stream | (step >> 32) << 8, draw | (particle >> 32) << 16)

    assert (counter(*first) == counter(*second)) == (first == second)
    got = random.random_bits(*(np.uint64(value) for value in (5, *first)))
    expected = naive.philox4x32(counter(*first), [5, 0])
    assert [int(got[0]), int(got[1])] == [expected[0] << 32 | expected[1], expected[2] << 32 | expected[3]]


@pytest.mark.nojit
def test_streams_are_named_once():
    assert len(set(STREAMS.values())) == len(STREAMS)
    assert max(STREAMS.values()) < 2**8
    assert STREAMS["dynamics"] == DYNAMICS
    assert (STREAMS["three-point"], STREAMS["two-point"]) == (THREE_POINT, TWO_POINT)


@pytest.mark.nojit
@given(st.integers(0, 2**64 - 1), st.integers(0, 10**6), st.integers(0, 10**6))
def test_normals_are_their_naive_twin(seed, particle, draw):
    got = Address(seed, INITIAL, np.array([particle])).normals(draw % 2**16)
    expected = naive.normal_pair(seed, particle, 0, INITIAL, draw % 2**16)
    np.testing.assert_allclose(np.ravel(got), expected, rtol=1e-13, atol=1e-15)


N = 400_000


def _moments(z):
    return [np.mean(z), np.mean(z**2), np.mean(z**3), np.mean(z**4)]


MOMENTS = np.array([0.0, 1.0, 0.0, 3.0])
MOMENT_ERRORS = np.sqrt(np.array([1.0, 2.0, 15.0, 96.0]) / N)  # variances of z, z^2, z^3, z^4


@pytest.mark.nojit
def test_moments_and_correlations_of_normals():
    address = Address(2026, DYNAMICS, np.arange(N, dtype=np.uint64))
    first, second = address.normals(0)
    assert_within("random: moments", _moments(first), MOMENTS, MOMENT_ERRORS)
    assert_within("random: moments", _moments(second), MOMENTS, MOMENT_ERRORS)
    other_draw, other_seed = address.normals(1)[0], Address(2027, DYNAMICS, address.particles).normals(0)[0]
    other_stream = Address(2026, INITIAL, address.particles).normals(0)[0]
    pairs = [(first, second), (first[1:], first[:-1]), (first[64:], first[:-64])]
    pairs += [(first, other) for other in (other_draw, other_seed, other_stream)]
    for u, v in pairs:
        assert_within("random: correlations", np.mean(u * v), 0.0, 1 / np.sqrt(len(u)))
        assert_within("random: correlations", np.mean((u**2 - 1) * (v**2 - 1)), 0.0, 2 / np.sqrt(len(u)))
    assert_rejected("random: correlations", np.mean(first * first), 0.0, 1 / np.sqrt(N))
    assert_rejected("random: moments", _moments(1.02 * first)[1], 1.0, MOMENT_ERRORS[1])


@pytest.mark.nojit
def test_the_whole_circle_is_used():
    x, y = Address(3, DYNAMICS, np.arange(N, dtype=np.uint64)).normals(0)
    counts, _ = np.histogram(np.arctan2(y, x), bins=16, range=(-np.pi, np.pi))
    error = np.sqrt(N * (1 / 16) * (15 / 16))
    assert_within("random: angles", counts, N / 16, error)
    folded, _ = np.histogram(np.arctan2(np.abs(y), x), bins=16, range=(-np.pi, np.pi))
    assert_rejected("random: angles", folded, N / 16, error)


# ---- the noise of a block


def block_noise(kind, n, dtype, compiled=True):
    """A function ``(seed, first particle, first step, n steps) -> (n_steps, n, 128)`` made of a kernel's lines."""
    made = noise_source(kind, n, dtype)
    lines = ["def fill(seed, first_particle, first_step, n_steps):", "    start = 0"]
    lines += [f"    z{b} = np.empty({BLOCK}, np.{dtype})" for b in range(n)]
    lines += [f"    {line}" for line in [*made.setup, f"out = np.empty((n_steps, {n}, {BLOCK}), np.{dtype})"]]
    lines += ["    for k in range(first_step, first_step + n_steps):", *[f"        {line}" for line in made.step]]
    lines += [f"        out[k - first_step, {b}] = z{b}" for b in range(n)]
    namespace = {"np": np} | {name: getattr(noise, name) for name in made.names}
    exec("\n".join([*lines, "    return out"]), namespace)
    if not compiled:
        return namespace["fill"]
    import numba

    from relaxsim.particles import overloads  # noqa: F401

    return numba.njit(fastmath={"contract"}, error_model="numpy")(namespace["fill"])


TWINS = {
    ("gaussian", "float64"): naive.normals,
    ("gaussian", "float32"): naive.normals_32,
    ("three-point", "float64"): naive.three_point,
    ("two-point", "float32"): naive.two_point,
}
SOME_SEED = np.uint64(0x9876543210FEDCBA)


def check_twin(fill, twin, n, first_step, n_steps, dtype):
    got = fill(SOME_SEED, 256, first_step, n_steps)
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    for step in range(n_steps):
        for j in (0, 31, 32, 63, 64, 95, 96, 127):
            expected = twin(int(SOME_SEED), 256 + j, first_step + step, n)
            np.testing.assert_allclose(got[step, :, j], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.nojit
@pytest.mark.parametrize(("kind", "dtype"), TWINS)
def test_the_noise_of_a_block_is_its_naive_twin(kind, dtype):
    fill = block_noise(kind, 3, dtype, compiled=False)
    check_twin(fill, TWINS[kind, dtype], 3, 15, 2, dtype)  # 48 / 3 = 16: a new call within


@pytest.mark.parametrize("n", [1, 2, 4, 7])
@pytest.mark.parametrize(("kind", "dtype"), TWINS)
def test_compiled_noise_is_its_naive_twin(kind, dtype, n):
    check_twin(block_noise(kind, n, dtype), TWINS[kind, dtype], n, 41, 10, dtype)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("kind", "twin", "n"), [("three-point", naive.three_point, 50), ("two-point", naive.two_point, 130)]
)
def test_a_step_may_need_more_than_one_call(kind, twin, n):
    check_twin(block_noise(kind, n, "float64", compiled=False), twin, n, 3, 2, "float64")


@pytest.mark.parametrize("kind", ["three-point", "two-point"])
def test_weak_noise_does_not_depend_on_where_a_run_is_cut(kind):
    fill = block_noise(kind, 5, "float64")
    whole = fill(SOME_SEED, 0, 7, 40)
    np.testing.assert_array_equal(np.concatenate([fill(SOME_SEED, 0, 7, 13), fill(SOME_SEED, 0, 20, 27)]), whole)


def test_moments_and_correlations_of_weak_noise():
    fourth = {"three-point": 3.0, "two-point": 1.0}
    for kind, expected in fourth.items():
        fill = block_noise(kind, 1, "float64")
        z = np.stack([fill(np.uint64(4), 128 * k, 0, 128)[:, 0] for k in range(48)])  # (blocks, steps, particles)
        size = z.size
        errors = np.sqrt(np.array([1.0, expected - 1, 3 * expected, 9 * expected - expected**2]) / size) + 1e-12
        if kind == "two-point":
            errors[[1, 3]] = 1e-12  # exactly 1
            errors[2] = 1 / np.sqrt(size)
        assert_within("random: weak moments", _moments(z), [0.0, 1.0, 0.0, expected], errors)
        for u, v in [(z[:, 1:], z[:, :-1]), (z[:, 12:], z[:, :-12]), (z[..., 1:], z[..., :-1]), (z[1:], z[:-1])]:
            assert_within("random: weak correlations", np.mean(u * v), 0.0, 1 / np.sqrt(u.size))
        assert_rejected("random: weak moments", np.mean(np.maximum(z, 0)), 0.0, errors[0])
        assert_rejected("random: weak correlations", np.mean(z * z), 0.0, 1 / np.sqrt(size))


@pytest.mark.nojit
@given(words)
def test_the_digits_of_a_complement_are_the_opposite(word):
    state, other = random.three_point_state(np.uint64(word)), random.three_point_state(np.uint64(word ^ 0xFFFFFFFF))
    for _ in range(12):
        assert random.three_point(state) == -random.three_point(other)
        state, other = random.three_point_next(state), random.three_point_next(other)


@pytest.mark.slow
def test_the_joint_law_of_twelve_digits_is_what_the_docstring_says():
    """All 2**32 words: how often each of the 3**12 outcomes comes."""
    import numba

    from relaxsim.particles import overloads  # noqa: F401

    start, follow, value = random.three_point_state, random.three_point_next, random.three_point

    @numba.njit(error_model="numpy")
    def count(first, last, size):
        counts = np.zeros(3**12, np.int64)
        outcomes, states = np.empty(size, np.uint32), np.empty(size, np.uint64)
        for begin in range(first, last, size):
            for j in range(size):
                states[j], outcomes[j] = start(np.uint64(begin + j)), 0
            for _ in range(12):
                for j in range(size):
                    z = value(states[j])
                    outcomes[j] = outcomes[j] * np.uint32(3) + np.uint32(z > 0.0) * np.uint32(2) + np.uint32(z == 0.0)
                    states[j] = follow(states[j])
            for outcome in outcomes:
                counts[outcome] += 1
        return counts

    counts = count(0, 2**32, 4096)
    assert counts.sum() == 2**32
    np.testing.assert_array_equal(counts, counts[::-1])  # hence every odd moment vanishes
    outcomes = np.array([-np.sqrt(3), 0.0, np.sqrt(3)])
    basis = np.stack([np.ones(3), outcomes, (outcomes**2 - 1) / np.sqrt(2)])  # orthonormal
    moments = counts.reshape((3,) * 12) / 2**32
    for axis in range(12):
        moments = np.moveaxis(np.tensordot(basis, moments, axes=(1, axis)), 0, axis)
    for k in range(1, 13):
        variance = moments[(0,) * (k - 1) + (2,) + (0,) * (12 - k)] * np.sqrt(2)
        assert abs(variance + (-2.0) ** k * 2.0**-32) < 1e-14
    digits = np.count_nonzero(np.indices(moments.shape).reshape(12, -1), axis=0)
    rest = moments.ravel()[digits > 0]
    assert np.abs(rest[digits[digits > 0] <= 4]).max() < 1.5e-5
    assert 2.7e-6 < (rest**2).sum() < 2.9e-6


# ---- many


N_MANY, BINS = 10**9, 4096


def many_normals(dtype):
    """Compiled loop over blocks and steps: sums of powers and of products, and counts in bins of equal probability."""
    import numba

    from relaxsim.particles import overloads  # noqa: F401
    from relaxsim.system.elementary import erf

    fill_pairs, fill_shared = noise.fill_normals, noise.fill_shared_normals
    fill_pairs_32, fill_shared_32 = noise.fill_shared_pairs_32, noise.fill_shared_normals_32
    double = dtype == "float64"
    real = np.dtype(dtype).type

    @numba.njit(fastmath=True, error_model="numpy")
    def run(seed, blocks, steps):
        sums, counts = np.zeros(16), np.zeros(BINS, np.int64)
        z, words = np.zeros((6, BLOCK), real), np.empty((4, BLOCK), np.uint32)
        places = np.empty(BLOCK, np.int64)
        now, last, shared = (z[0], z[1]), (z[2], z[3]), z[4]
        for block in range(blocks):
            for step in range(steps):
                now, last = last, now
                if double:
                    fill_pairs(seed, block * BLOCK, step, 0, now[0], now[1])
                    fill_shared(seed, block * BLOCK, step, 1, shared)
                else:
                    fill_pairs_32(seed, block * BLOCK, step, 0, words, now[0], now[1])
                    fill_shared_32(seed, block * BLOCK, step, 1, words, shared)
                for row in (now[0], now[1], shared):
                    s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0
                    for j in range(BLOCK):
                        v = np.float64(row[j])
                        s1, s2, s3, s4 = s1 + v, s2 + v * v, s3 + v * v * v, s4 + v * v * v * v
                        places[j] = np.int64(BINS * (0.5 + 0.5 * erf(v * 0.7071067811865476)))
                    sums[0], sums[1], sums[2], sums[3] = sums[0] + s1, sums[1] + s2, sums[2] + s3, sums[3] + s4
                    for j in range(BLOCK):
                        counts[min(places[j], BINS - 1)] += 1
                add_products(sums, 4, now[0], now[1])
                add_products(sums, 6, shared[:32], shared[32:64])
                add_products(sums, 8, shared[:64], shared[64:])
                add_products(sums, 10, now[0][1:], now[0][:-1])
                if step:
                    add_products(sums, 12, now[0], last[0])
                add_products(sums, 14, now[1], shared)
        return sums, counts

    @numba.njit(fastmath=True, error_model="numpy")
    def add_products(sums, k, u, v):
        first, second = 0.0, 0.0
        for j in range(u.size):
            a, b = np.float64(u[j]), np.float64(v[j])
            first += a * b
            second += (a * a - 1) * (b * b - 1)
        sums[k] += first
        sums[k + 1] += second

    return run


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_thousand_million_normals(dtype):
    from scipy.special import ndtri
    from scipy.stats import kstwobign

    steps = 1000
    blocks = -(-N_MANY // (3 * BLOCK * steps))
    calls = blocks * steps
    sums, counts = many_normals(dtype)(np.uint64(31), blocks, steps)
    n = 3 * BLOCK * calls
    assert counts.sum() == n >= N_MANY
    errors = np.sqrt(np.array([1.0, 2.0, 15.0, 96.0]) / n)
    assert_within("random: many moments", sums[:4] / n, MOMENTS, errors)
    assert_rejected("random: many moments", sums[1] / n * 1.0005**2, 1.0, errors[1])
    sizes = np.array([BLOCK, 32, 64, BLOCK - 1, BLOCK, BLOCK]) * calls
    sizes[4] -= BLOCK * blocks
    products, squares = sums[4::2] / sizes, sums[5::2] / sizes
    assert_within("random: many correlations", products, 0.0, 1 / np.sqrt(sizes))
    assert_within("random: many correlations", squares, 0.0, 2 / np.sqrt(sizes))
    assert_rejected("random: many correlations", products[0] + 1e-3, 0.0, 1 / np.sqrt(sizes[0]))

    def score(counts):  # the normal quantile of Kolmogorov's p-value
        distance = np.abs(np.cumsum(counts) / n - np.arange(1, BINS + 1) / BINS).max()
        return -ndtri(kstwobign.sf(np.sqrt(n) * distance) / 2)

    assert_within("random: many, Kolmogorov", score(counts), 0.0, 1.0)
    shifted = np.concatenate([[0], counts[:-2], [counts[-2] + counts[-1]]])
    assert_rejected("random: many, Kolmogorov", score(shifted), 0.0, 1.0)
