"""The noise of a block of particles: the loops that fill arrays as the packing in `random` says, and vectorise.

Each function fills arrays of BLOCK numbers for the particles [first, first + BLOCK); `first` is a multiple of BLOCK.
`noise_source` writes the calls a kernel needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relaxsim.particles.random import (
    BLOCK,
    DIGITS,
    DYNAMICS,
    HALF,
    QUARTER,
    SIGNS,
    THREE_POINT,
    TWO_POINT,
    WORD_DIGITS,
    normal_pair,
    normal_pair_32,
    random_bits,
    random_words,
    steps_per_call,
    three_point,
    three_point_skip,
    three_point_state,
    two_point,
    uniform,
)

_U = np.uint64
_DYNAMICS, _THREE_POINT, _TWO_POINT, _SIGNS = _U(DYNAMICS), _U(THREE_POINT), _U(TWO_POINT), _U(SIGNS)
_POWERS_OF_SIX = np.array([6**k for k in range(WORD_DIGITS)], dtype=np.uint64)


# ---- Gaussian, float64


def fill_normals(seed, first, step, draw, z0, z1):
    """Two normals a particle."""
    for j in range(BLOCK):
        b0, b1 = random_bits(seed, _U(first + j), _U(step), _DYNAMICS, _U(draw))
        z0[j], z1[j] = normal_pair(b0, b1)


def fill_shared_normals(seed, first, step, draw, z0):
    """One normal a particle: p and p ^ 64 share a call."""
    for j in range(HALF):
        b0, b1 = random_bits(seed, _U(first + j), _U(step), _DYNAMICS, _U(draw))
        z0[j], z0[j + HALF] = normal_pair(b0, b1)


def fill_uniforms(seed, first, step, draw, z0, z1):
    """Two uniforms a particle."""
    for j in range(BLOCK):
        b0, b1 = random_bits(seed, _U(first + j), _U(step), _DYNAMICS, _U(draw))
        z0[j], z1[j] = uniform(b0), uniform(b1)


# ---- Gaussian, float32: `words`, an array (4, BLOCK) of uint32, stands between so that the normals have all lanes


def fill_normals_32(seed, first, step, draw, words, z0, z1, z2, z3):
    """Four normals a particle."""
    w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
    for j in range(BLOCK):
        w0[j], w1[j], w2[j], w3[j] = random_words(seed, _U(first + j), _U(step), _DYNAMICS, _U(draw))
    for j in range(BLOCK):
        z0[j], z1[j] = normal_pair_32(_U(w0[j]), _U(w1[j]))
    for j in range(BLOCK):
        z2[j], z3[j] = normal_pair_32(_U(w2[j]), _U(w3[j]))


def fill_shared_pairs_32(seed, first, step, draw, words, z0, z1):
    """Two normals a particle: p and p ^ 32 share a call."""
    w0, w1 = words[0], words[1]
    for half in range(0, BLOCK, HALF):
        for j in range(half, half + QUARTER):
            v0, v1, v2, v3 = random_words(seed, _U(first + j), _U(step), _DYNAMICS, _U(draw))
            w0[j], w1[j], w0[j + QUARTER], w1[j + QUARTER] = v0, v1, v2, v3
    for j in range(BLOCK):
        z0[j], z1[j] = normal_pair_32(_U(w0[j]), _U(w1[j]))


def fill_shared_normals_32(seed, first, step, draw, words, z0):
    """One normal a particle: p, p ^ 32, p ^ 64 and p ^ 96 share a call."""
    w0, w1 = words[0], words[1]
    for j in range(QUARTER):
        v0, v1, v2, v3 = random_words(seed, _U(first + j), _U(step), _DYNAMICS, _U(draw))
        w0[j], w1[j], w0[j + QUARTER], w1[j + QUARTER] = v0, v1, v2, v3
    for j in range(HALF):
        z0[j], z0[j + HALF] = normal_pair_32(_U(w0[j]), _U(w1[j]))


# ---- weak noise: `words` keeps what calls gave for as many steps as they serve


def refill_three_point(seed, first, call, words):
    """One call a draw; `words` has the shape (4 * draws, BLOCK) of uint64."""
    for draw in range(words.shape[0] // 4):
        w0, w1, w2, w3 = words[4 * draw], words[4 * draw + 1], words[4 * draw + 2], words[4 * draw + 3]
        for j in range(BLOCK):
            v0, v1, v2, v3 = random_words(seed, _U(first + j), _U(call), _THREE_POINT, _U(draw))
            w0[j], w1[j] = three_point_state(v0), three_point_state(v1)
            w2[j], w3[j] = three_point_state(v2), three_point_state(v3)


def fill_three_point(words, digit, z):
    """The numbers of one digit."""
    states, power = words[digit // WORD_DIGITS], _POWERS_OF_SIX[digit % WORD_DIGITS]
    for j in range(BLOCK):
        z[j] = three_point(three_point_skip(states[j], power))


def refill_two_point(seed, first, call, words):
    """One call a draw; `words` has the shape (2 * draws, BLOCK) of uint64."""
    for draw in range(words.shape[0] // 2):
        w0, w1 = words[2 * draw], words[2 * draw + 1]
        for j in range(BLOCK):
            w0[j], w1[j] = random_bits(seed, _U(first + j), _U(call), _TWO_POINT, _U(draw))


def refill_signs(seed, first, call, words):
    """The same for signs, which have a stream of their own beside noise of any kind."""
    for draw in range(words.shape[0] // 2):
        w0, w1 = words[2 * draw], words[2 * draw + 1]
        for j in range(BLOCK):
            w0[j], w1[j] = random_bits(seed, _U(first + j), _U(call), _SIGNS, _U(draw))


def fill_two_point(words, digit, z):
    """The numbers of one digit."""
    bits, k = words[digit // 64], _U(digit % 64)
    for j in range(BLOCK):
        z[j] = two_point(bits[j], k)


# ---- for generated kernels


@dataclass(frozen=True)
class NoiseSource:
    """Lines of a kernel that make the noise of a block, in its arrays z0, z1, ...

    Attributes
    ----------
    names : tuple of str
        What they need of this module.
    setup : list of str
        To be done once a kernel call.
    step : list of str
        To be done in every step; they use `seed`, `first_particle`, `start`, `k` (the step) and `first_step` (that of
        the kernel call).
    """

    names: tuple[str, ...]
    setup: list[str]
    step: list[str]


def noise_source(kind: str, n: int, dtype: str = "float64") -> NoiseSource:
    """The lines for n numbers a step.

    Parameters
    ----------
    kind : {"gaussian", "three-point", "two-point"}
        Law of the numbers; all have mean 0 and variance 1.
    n : int
        How many a step needs.
    dtype : {"float64", "float32"}
        Of the arrays; for Gaussian noise the packing depends on it.
    """
    if kind != "gaussian":
        return _weak_source(kind, n)
    if dtype == "float32":
        return _source_32(n)
    step = [f"fill_normals(seed, first_particle + start, k, {q}, z{2 * q}, z{2 * q + 1})" for q in range(n // 2)]
    if n % 2:
        step.append(f"fill_shared_normals(seed, first_particle + start, k, {n // 2}, z{n - 1})")
    return NoiseSource(("fill_normals", "fill_shared_normals"), [], step)


def _source_32(n: int) -> NoiseSource:
    step, names = [], ("fill_normals_32", "fill_shared_pairs_32", "fill_shared_normals_32")
    first, draw = 0, 0
    for name, size in ((names[0], 4), (names[1], 2), (names[2], 1)):
        while n - first >= size:
            z = ", ".join(f"z{b}" for b in range(first, first + size))
            step.append(f"{name}(seed, first_particle + start, k, {draw}, words, {z})")
            first, draw = first + size, draw + 1
    return NoiseSource(names, [f"words = np.empty((4, {BLOCK}), np.uint32)"], step)


def _weak_source(kind: str, n: int) -> NoiseSource:
    name = kind.replace("-", "_")
    n_steps, draws = steps_per_call(kind, n), -(-n // DIGITS[kind])
    rows = (4 if kind == "three-point" else 2) * draws
    step = [
        f"if k % {n_steps} == 0 or k == first_step:",
        f"    refill_{name}(seed, first_particle + start, k // {n_steps}, words)",
        *[f"fill_{name}(words, k % {n_steps} * {n} + {b}, z{b})" for b in range(n)],
    ]
    setup = [f"words = np.empty(({rows}, {BLOCK}), np.uint64)"]
    return NoiseSource((f"refill_{name}", f"fill_{name}"), setup, step)


def signs_source(n: int) -> NoiseSource:
    """The lines for n fair signs a step, packed as two-point noise is."""
    if n == 0:
        return NoiseSource((), [], [])
    n_steps, draws = steps_per_call("two-point", n), -(-n // DIGITS["two-point"])
    step = [
        f"if k % {n_steps} == 0 or k == first_step:",
        f"    refill_signs(seed, first_particle + start, k // {n_steps}, signs)",
        *[f"fill_two_point(signs, k % {n_steps} * {n} + {b}, s{b})" for b in range(n)],
    ]
    return NoiseSource(
        ("refill_signs", "fill_two_point"), [f"signs = np.empty(({2 * draws}, {BLOCK}), np.uint64)"], step
    )
