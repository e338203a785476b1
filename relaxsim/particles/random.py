"""Randomness is an address: value = Philox4x32-10(key = seed, counter = (particle, step, stream, draw)).

The functions here are written for masked uint64 lanes and run unchanged on Python integers, on NumPy arrays and in
compiled loops. How calls are packed into noise is said once, here, and carries a version; `noise` has the loops.

A call gives four words of 32 bits. One step of a particle needs n numbers.

Gaussian, float64
    A call is one pair of normals. Draws q = 0, 1, ... of the step give the numbers 2q and 2q + 1. If n is odd, its last
    call is shared by the particles p and p ^ 64: the counter holds p with bit 6 cleared, and bit 6 of p picks the first
    or second normal.
Gaussian, float32
    A call is two pairs, of the words 0, 1 and 2, 3. With n = 4a + 2b + c (b, c = 0 or 1), draws 0 ... a - 1 give four
    numbers each. If b, draw a is shared by p and p ^ 32: bit 5 of p, cleared in the counter, picks the pair. If c, draw
    a + b is shared by p, p ^ 32, p ^ 64, p ^ 96: bit 5 picks the pair and bit 6 its first or second normal, both are
    cleared in the counter.
Three-point, 48 digits a call; two-point, 128 digits a call
    A call serves D // n steps (at least one): the counter's step is step // (D // n), and number b of the step is digit
    (step % (D // n)) * n + b. A step that needs n > D numbers uses draws 0, 1, ...: number b is digit b % D of draw
    b // D.
Signs, 128 a call
    The fair signs that some schemes draw besides are packed as two-point noise, in a stream of their own.
Uniforms
    Two a call, as Gaussian numbers in float64, in the stream of what asks for them.

References
----------
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11, doi 10.1145/2063384.2063405.
"""

from __future__ import annotations

import numpy as np

from relaxsim.particles import vector_math32 as single
from relaxsim.particles.vector_math import bits_to_float, float_to_bits, log_positive, sincos_quarter, where
from relaxsim.system.elementary import sqrt

PACKING_VERSION = 1

# ---- streams: one row each, never renumbered
DYNAMICS = 0
INITIAL = 1
WALLS = 2
THREE_POINT = 3
TWO_POINT = 4
SIGNS = 5
METROPOLIS = 6
STREAMS = {
    "dynamics": DYNAMICS,
    "initial": INITIAL,
    "walls": WALLS,
    "three-point": THREE_POINT,
    "two-point": TWO_POINT,
    "signs": SIGNS,
    "metropolis": METROPOLIS,
}

BLOCK = 128  # particles that are advanced together; blocks start at multiples of it
HALF = 64  # particles p and p ^ 64 share the last call of an odd number of normals
QUARTER = 32  # in float32 p and p ^ 32 share a call of which each needs one pair

DIGITS = {"three-point": 48, "two-point": 128}  # numbers of weak noise that one call gives

_U = np.uint64
MASK = _U(0xFFFFFFFF)
MULTIPLIER_0, MULTIPLIER_1 = _U(0xD2511F53), _U(0xCD9E8D57)
WEYL_0, WEYL_1 = _U(0x9E3779B9), _U(0xBB67AE85)
S32, S12, S62, S16, S8 = _U(32), _U(12), _U(62), _U(16), _U(8)
ONE, TWO = _U(1), _U(2)
EXPONENT_ONE = _U(0x3FF0000000000000)
QUARTER_TURN = 1.5707963267948966

S9, S30, EXPONENT_ONE_32 = _U(9), _U(30), _U(0x3F800000)
F = np.float32
TO_UNIT, HALF_UNIT, MINUS_TWO, ONE_AND_HALF = F(2.0**-32), F(2.0**-33), F(-2.0), F(1.5)
QUARTER_TURN_32 = F(QUARTER_TURN)

WORD_DIGITS = 12  # base-6 digits taken from a word of 32 bits
SIX, MASK_33 = _U(6), _U(2**33 - 1)
LOWEST_SIXTH, HIGHEST_SIXTH = _U(2**33 // 6), _U(2**33 - 2**33 // 6)
SQRT_3 = 1.7320508075688772
SIGN = _U(2**63)


def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox4x32: four 32-bit words (in uint64) from a counter and a key of 32-bit words."""
    for _ in range(10):
        p0 = MULTIPLIER_0 * c0
        p1 = MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (p1 >> S32) ^ c1 ^ k0, p1 & MASK, (p0 >> S32) ^ c3 ^ k1, p0 & MASK
        k0 = (k0 + WEYL_0) & MASK
        k1 = (k1 + WEYL_1) & MASK
    return c0, c1, c2, c3


def random_words(seed, particle, step, stream, draw):
    """Four words of 32 bits (in uint64) for one address.

    The counter's words are: particle, step, stream + high bits of step, draw + high bits of particle; so particles are
    told apart up to 2**48, steps up to 2**56, streams up to 2**8, draws up to 2**16.
    """
    c2 = stream | ((step >> S32) << S8)
    c3 = draw | ((particle >> S32) << S16)
    return philox4x32(particle & MASK, step & MASK, c2, c3, seed & MASK, seed >> S32)


def random_bits(seed, particle, step, stream, draw):
    """The same as two words of 64 bits."""
    w0, w1, w2, w3 = random_words(seed, particle, step, stream, draw)
    return (w0 << S32) | w1, (w2 << S32) | w3


def uniform(bits):
    """A number in (0, 1] with 52 random bits."""
    return 2.0 - bits_to_float((bits >> S12) | EXPONENT_ONE)


def normal_pair(bits_0, bits_1):
    """Two independent standard normals by Box and Muller.

    The angle is a uniform number within an eighth of a turn, then a swap and a sign from two further bits: that
    needs the shortest polynomials.
    """
    radius = sqrt(-2.0 * log_positive(uniform(bits_0)))
    angle = (bits_to_float((bits_1 >> S12) | EXPONENT_ONE) - 1.5) * QUARTER_TURN
    sine, cosine = sincos_quarter(angle)
    swap = (bits_1 & ONE) != 0
    sign = (bits_1 & TWO) << S62
    first = radius * where(swap, sine, cosine)
    second = radius * where(swap, cosine, sine)
    return bits_to_float(float_to_bits(first) ^ sign), bits_to_float(float_to_bits(second) ^ sign)


def normal_pair_32(word_0, word_1):
    """Two independent standard normals in single precision from two words of 32 bits.

    The radius uses all 32 bits, so that the tails reach 6.7; the angle 23 bits and two more for swap and sign.
    """
    radius = sqrt(MINUS_TWO * single.log_positive(single.word_to_float(word_0) * TO_UNIT + HALF_UNIT))
    angle = (single.bits_to_float((word_1 >> S9) | EXPONENT_ONE_32) - ONE_AND_HALF) * QUARTER_TURN_32
    sine, cosine = single.sincos_quarter(angle)
    swap = (word_1 & ONE) != 0
    sign = (word_1 & TWO) << S30
    first = radius * where(swap, sine, cosine)
    second = radius * where(swap, cosine, sine)
    return (
        single.bits_to_float(single.float_to_bits(first) ^ sign),
        single.bits_to_float(single.float_to_bits(second) ^ sign),
    )


def steps_per_call(kind, n):
    """The number of steps that one call of weak noise serves when a step needs n numbers."""
    return max(1, DIGITS[kind] // n)


def three_point_state(word):
    """The state from which the 12 base-6 digits of a word of 32 bits are taken: a fraction in units of 2**-33.

    It is 2 word + 1, the middle of the word's interval: the digits of the word's complement are then 5 minus these
    digits, so that every odd joint moment of the 12 numbers vanishes exactly. 6**12 does not divide 2**32. What that
    leaves, found by going through all words: E xi**2 of the k-th digit is 1 - (-2)**k 2**-32, at worst 1e-6 off and on
    average 5e-8; joint moments of up to four digits in orthonormal form are below 1.5e-5; the chi-squared distance of
    all 12 digits from independent ones is 2.8e-6.
    """
    return TWO * word + ONE


def three_point_next(state):
    """The state after one digit."""
    return (state * SIX) & MASK_33


def three_point_skip(state, power_of_six):
    """The state after several digits: multiply by 6 to that power, at most 6**11."""
    return (state * power_of_six) & MASK_33


def three_point(state):
    """-sqrt(3) for the digit 0, sqrt(3) for 5 (probability 1/6 each), else 0."""
    return where(state <= LOWEST_SIXTH, -SQRT_3, where(state >= HIGHEST_SIXTH, SQRT_3, 0.0))


def two_point(bits, k):
    """1 or -1 by bit k of a word of 64 bits, counted from the highest."""
    return bits_to_float(((bits << k) & SIGN) | EXPONENT_ONE)


class Address:
    """Draws for the particles [first, first + n) of one stream at step 0, as NumPy arrays.

    Parameters
    ----------
    seed : int
        The Philox key, 0 <= seed < 2**64.
    stream : int
        One of the streams of this module.
    particles : ndarray of uint64
        Indices of the particles.
    """

    def __init__(self, seed: int, stream: int, particles: np.ndarray) -> None:
        self.seed, self.stream = np.uint64(seed), np.uint64(stream)
        self.particles = particles.astype(np.uint64)

    def uniforms(self, draw: int) -> tuple[np.ndarray, np.ndarray]:
        """Two uniforms in (0, 1] for each particle."""
        return tuple(uniform(bits) for bits in self._bits(draw))

    def normals(self, draw: int) -> tuple[np.ndarray, np.ndarray]:
        """Two standard normals for each particle."""
        return normal_pair(*self._bits(draw))

    def restrict(self, keep: np.ndarray) -> Address:
        """The same addresses for a selection of the particles."""
        return Address(int(self.seed), int(self.stream), self.particles[keep])

    def _bits(self, draw: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= draw < 2**16:
            raise ValueError(f"draw: expected 0 <= draw < 65536, got {draw}")
        return random_bits(self.seed, self.particles, np.uint64(0), self.stream, np.uint64(draw))
