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


def normal_pair(seed, particle, step, stream, draw):
    """Box-Muller of one call; the angle in eighths of a turn as the packing says."""
    counter = [
        particle & MASK,
        step & MASK,
        stream | (step >> 32) << 8,
        draw | (particle >> 32) << 16,
    ]
    w = philox4x32(counter, [seed & MASK, seed >> 32])
    bits = [(w[0] << 32) | w[1], (w[2] << 32) | w[3]]
    u = 1.0 - (bits[0] >> 12) / 2**52
    angle = ((bits[1] >> 12) / 2**52 - 0.5) * math.pi / 2
    sine, cosine = math.sin(angle), math.cos(angle)
    if bits[1] & 1:
        first, second = sine, cosine
    else:
        first, second = cosine, sine
    sign = -1.0 if bits[1] & 2 else 1.0
    radius = math.sqrt(-2.0 * math.log(u))
    return sign * radius * first, sign * radius * second


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
