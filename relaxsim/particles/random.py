"""Randomness is an address: value = Philox4x32-10(key = seed, counter = (particle, step, stream, draw)).

The functions here are written for masked uint64 lanes and run unchanged on Python integers, on NumPy arrays and in
compiled loops. How calls are packed into normals is said once, here, and carries a version.

References
----------
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11, doi 10.1145/2063384.2063405.
"""

from __future__ import annotations

import numpy as np

from relaxsim.particles.vector_math import bits_to_float, float_to_bits, log_positive, sincos_quarter, where
from relaxsim.system.elementary import sqrt

PACKING_VERSION = 1

# ---- streams: one row each, never renumbered
DYNAMICS = 0
INITIAL = 1
WALLS = 2
STREAMS = {"dynamics": DYNAMICS, "initial": INITIAL, "walls": WALLS}

BLOCK = 128  # particles that are advanced together; blocks start at multiples of it
HALF = 64  # particles p and p ^ 64 share the last call of an odd number of normals

_U = np.uint64
MASK = _U(0xFFFFFFFF)
MULTIPLIER_0, MULTIPLIER_1 = _U(0xD2511F53), _U(0xCD9E8D57)
WEYL_0, WEYL_1 = _U(0x9E3779B9), _U(0xBB67AE85)
S32, S12, S62, S16, S8 = _U(32), _U(12), _U(62), _U(16), _U(8)
ONE, TWO = _U(1), _U(2)
EXPONENT_ONE = _U(0x3FF0000000000000)
QUARTER_TURN = 1.5707963267948966


def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox4x32: four 32-bit words (in uint64) from a counter and a key of 32-bit words."""
    for _ in range(10):
        p0 = MULTIPLIER_0 * c0
        p1 = MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (p1 >> S32) ^ c1 ^ k0, p1 & MASK, (p0 >> S32) ^ c3 ^ k1, p0 & MASK
        k0 = (k0 + WEYL_0) & MASK
        k1 = (k1 + WEYL_1) & MASK
    return c0, c1, c2, c3


def random_bits(seed, particle, step, stream, draw):
    """Two 64-bit words for one address.

    The counter's words are: particle, step, stream + high bits of step, draw + high bits of particle; so particles are
    told apart up to 2**48, steps up to 2**56, streams up to 2**8, draws up to 2**16.
    """
    c2 = stream | ((step >> S32) << S8)
    c3 = draw | ((particle >> S32) << S16)
    w0, w1, w2, w3 = philox4x32(particle & MASK, step & MASK, c2, c3, seed & MASK, seed >> S32)
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
