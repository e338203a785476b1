"""Source lines that fill a block's noise for one step: how calls of the generator are packed into draws."""

from __future__ import annotations

from relaxsim.particles.random import BLOCK, HALF


def noise_lines(n: int, draws: str, noise: str, dtype: str, first: str, indent: int) -> list[str]:
    """Lines that set ``z0[:] ... z{n-1}[:]`` for step `k`, with `seed` and `start` in scope."""
    lines = ["step_bits = np.uint64(k)"]
    if draws == "uniform":
        lines += _pairs(n, "uniform(b0), uniform(b1)", "DYNAMICS")
    else:
        lines += _pairs(n, "normal_pair(b0, b1)", "DYNAMICS")
    return [" " * indent + line for line in lines]


def wall_uniform_lines(dim: int, indent: int) -> list[str]:
    """Lines that set one uniform for each axis, from the stream of walls."""
    return [" " * indent + line for line in _pairs(dim, "uniform(b0), uniform(b1)", "WALLS", "u")]


def _pairs(n: int, made: str, stream: str, name: str = "z") -> list[str]:
    """Two draws a call; the last of an odd number is shared by particles p and p ^ 64."""
    lines = []
    for q in range(n // 2):
        lines += [
            f"for j in range({BLOCK}):",
            "    p = np.uint64(first_particle + start + j)",
            f"    b0, b1 = random_bits(seed, p, step_bits, {stream}, np.uint64({q}))",
            f"    {name}{2 * q}[j], {name}{2 * q + 1}[j] = {made}",
        ]
    if n % 2:
        lines += [
            f"for j in range({HALF}):",
            "    p = np.uint64(first_particle + start + j)",
            f"    b0, b1 = random_bits(seed, p, step_bits, {stream}, np.uint64({n // 2}))",
            f"    {name}{n - 1}[j], {name}{n - 1}[j + {HALF}] = {made}",
        ]
    return lines
