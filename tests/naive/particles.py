"""Loop-level twins of the particle kernels: one particle, one step, one number at a time, from the formulas."""

import math

import numpy as np

MASK = 0xFFFFFFFF


def philox4x32(counter, key):
    """Salmon et al. 2011, figure 2, on Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 32) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def words(seed, particle, step, stream, draw):
    """The four words of 32 bits of one address."""
    counter = [
        particle & MASK,
        step & MASK,
        stream | (step >> 32) << 8,
        draw | (particle >> 32) << 16,
    ]
    return philox4x32(counter, [seed & MASK, seed >> 32])


def box_muller(u, eighth, low_bits):
    """A pair from a uniform number and an angle in quarter turns about 0, with a swap and a sign."""
    angle = eighth * math.pi / 2
    pair = [math.cos(angle), math.sin(angle)]
    if low_bits & 1:
        pair.reverse()
    radius = math.sqrt(-2.0 * math.log(u)) * (-1.0 if low_bits & 2 else 1.0)
    return radius * pair[0], radius * pair[1]


def normal_pair(seed, particle, step, stream, draw):
    """Box-Muller of one call; the angle in eighths of a turn as the packing says."""
    w = words(seed, particle, step, stream, draw)
    bits = [(w[0] << 32) | w[1], (w[2] << 32) | w[3]]
    return box_muller(1.0 - (bits[0] >> 12) / 2**52, (bits[1] >> 12) / 2**52 - 0.5, bits[1])


def normal_pair_32(word_0, word_1):
    """Box-Muller of two words of 32 bits, in exact arithmetic."""
    return box_muller((word_0 + 0.5) / 2**32, (word_1 >> 9) / 2**23 - 0.5, word_1)


def normals_32(seed, particle, step, n):
    """The n normals of one particle and step in the packing of float32."""
    values, draw = [], 0
    for _ in range(n // 4):
        w = words(seed, particle, step, 0, draw)
        values += [*normal_pair_32(w[0], w[1]), *normal_pair_32(w[2], w[3])]
        draw += 1
    if n % 4 >= 2:
        w = words(seed, particle & ~32, step, 0, draw)
        values += normal_pair_32(*(w[2:] if particle & 32 else w[:2]))
        draw += 1
    if n % 2:
        w = words(seed, particle & ~96, step, 0, draw)
        values.append(normal_pair_32(*(w[2:] if particle & 32 else w[:2]))[1 if particle & 64 else 0])
    return np.array(values)


def three_point(seed, particle, step, n):
    """The n numbers of one particle and step: base-6 digits of (word + 1/2) / 2**32, twelve a word."""
    steps = max(1, 48 // n)
    values = []
    for b in range(n):
        digit = step % steps * n + b
        word = words(seed, particle, step // steps, 3, digit // 48)[digit % 48 // 12]
        fraction = (2 * word + 1) * 6 ** (digit % 12) % 2**33
        values.append({0: -math.sqrt(3), 5: math.sqrt(3)}.get(6 * fraction // 2**33, 0.0))
    return np.array(values)


def two_point(seed, particle, step, n, stream=4):
    """The n numbers of one particle and step: the bits of a call from the highest, 0 for +1 and 1 for -1."""
    steps = max(1, 128 // n)
    values = []
    for b in range(n):
        digit = step % steps * n + b
        word = words(seed, particle, step // steps, stream, digit // 128)[digit % 128 // 32]
        values.append(-1.0 if word >> (31 - digit % 32) & 1 else 1.0)
    return np.array(values)


def signs(seed, particle, step, n):
    """The n fair signs of one particle and step."""
    return two_point(seed, particle, step, n, stream=5)


def metropolis(seed, particle, step):
    """The uniform number on (0, 1] of one particle and step; p and p ^ 64 share a call."""
    w = words(seed, particle & ~64, step, 6, 0)
    bits = (w[2] << 32 | w[3]) if particle & 64 else (w[0] << 32 | w[1])
    return 1.0 - (bits >> 12) / 2**52


def normals(seed, particle, step, n):
    """The n normals of one particle and step; the last of an odd number is shared by p and p ^ 64."""
    values = [z for q in range(n // 2) for z in normal_pair(seed, particle, step, 0, q)]
    if n % 2:
        pair = normal_pair(seed, particle & ~64, step, 0, n // 2)
        values.append(pair[1 if particle & 64 else 0])
    return np.array(values)


def reflect(x, low, high):
    """Mirror a coordinate until it is inside."""
    while not low <= x <= high:
        x = 2 * low - x if x < low else 2 * high - x
    return x


def wrap(x, low, high):
    """Bring a coordinate into [low, high)."""
    return low + (x - low) % (high - low)


def mirror_oblique(x, system):
    """Mirror along K n at the most violated wall until inside."""
    x = np.array(x, dtype=float)
    for _ in range(50):
        nearest = np.clip(x, system.domain.lower, system.domain.upper)
        over = x - nearest
        axis = int(np.argmax(np.abs(over)))
        if over[axis] == 0:
            return x
        direction = system.mobility(nearest)[:, axis]
        x = x - 2 * over[axis] * direction / direction[axis]
    return np.clip(x, system.domain.lower, system.domain.upper)


def euler_maruyama(system, x, particle, seed, h, n_steps, t0=0.0):
    """Follow one particle."""
    x = np.array(x, dtype=float)
    oblique = system.mobility.structure == "tensor"
    for k in range(n_steps):
        t = t0 + k * h
        factor = np.linalg.cholesky(system.mobility(x, t))
        noise = normals(seed, particle, k, system.dim)
        x = x + h * system.drift(x, t) + math.sqrt(2 * system.temperature * h) * factor @ noise
        for a, kind in enumerate(system.domain.boundary):
            low, high = system.domain.lower[a], system.domain.upper[a]
            if kind == "periodic":
                x[a] = wrap(x[a], low, high)
            elif kind == "reflecting" and not oblique:
                x[a] = reflect(x[a], low, high)
        if oblique and "reflecting" in system.domain.boundary:
            x = mirror_oblique(x, system)
    return x
