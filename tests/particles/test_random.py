"""Philox, the packing of calls, and the normals made of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import particles as naive
from relaxsim.particles import random
from relaxsim.particles.random import DYNAMICS, INITIAL, STREAMS, Address, philox4x32
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.nojit

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


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_known_answers(counter, key, words):
    got = philox4x32(*map(np.uint64, counter), *map(np.uint64, key))
    assert " ".join(f"{int(word):08x}" for word in got) == words
    assert list(map(int, got)) == naive.philox4x32(counter, key)


words = st.integers(0, 2**32 - 1)


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


@given(addresses, addresses)
def test_different_addresses_have_different_counters(first, second):
    def counter(particle, step, stream, draw):
        return (particle & 0xFFFFFFFF, step & 0xFFFFFFFF, stream | (step >> 32) << 8, draw | (particle >> 32) << 16)

    assert (counter(*first) == counter(*second)) == (first == second)
    got = random.random_bits(*(np.uint64(value) for value in (5, *first)))
    expected = naive.philox4x32(counter(*first), [5, 0])
    assert [int(got[0]), int(got[1])] == [expected[0] << 32 | expected[1], expected[2] << 32 | expected[3]]


def test_streams_are_named_once():
    assert len(set(STREAMS.values())) == len(STREAMS)
    assert max(STREAMS.values()) < 2**8
    assert STREAMS["dynamics"] == DYNAMICS


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


def test_the_whole_circle_is_used():
    x, y = Address(3, DYNAMICS, np.arange(N, dtype=np.uint64)).normals(0)
    counts, _ = np.histogram(np.arctan2(y, x), bins=16, range=(-np.pi, np.pi))
    error = np.sqrt(N * (1 / 16) * (15 / 16))
    assert_within("random: angles", counts, N / 16, error)
    folded, _ = np.histogram(np.arctan2(np.abs(y), x), bins=16, range=(-np.pi, np.pi))
    assert_rejected("random: angles", folded, N / 16, error)
