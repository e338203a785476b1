"""Source lines that fill a block's double precision draws for one step, with the calls of a step in one loop."""

from __future__ import annotations

from relaxsim.particles.random import BLOCK, HALF

TOGETHER = 4  # calls in one loop: their rounds overlap in the processor


def normal_lines(n: int) -> list[str]:
    """Lines that set ``z0[:] ... z{n-1}[:]`` to normals for the step `step_bits` of the particles from `start` on."""
    return _pairs(n, "normal_pair(a{q}, b{q})", "DYNAMICS", "z")


def uniform_lines(n: int, stream: str, name: str) -> list[str]:
    """The same with uniforms on (0, 1]."""
    return _pairs(n, "uniform(a{q}), uniform(b{q})", stream, name)


def _pairs(n: int, made: str, stream: str, name: str) -> list[str]:
    """Two draws a call; the last of an odd number is shared by particles p and p ^ 64."""
    lines = []
    for first in range(0, n // 2, TOGETHER):
        calls = range(first, min(first + TOGETHER, n // 2))
        lines += [f"for j in range({BLOCK}):", "    p = np.uint64(first_particle + start + j)"]
        lines += [f"    a{q}, b{q} = random_bits(seed, p, step_bits, {stream}, np.uint64({q}))" for q in calls]
        lines += [f"    {name}{2 * q}[j], {name}{2 * q + 1}[j] = {made.format(q=q)}" for q in calls]
    if n % 2:
        q = n // 2
        lines += [
            f"for j in range({HALF}):",
            "    p = np.uint64(first_particle + start + j)",
            f"    a{q}, b{q} = random_bits(seed, p, step_bits, {stream}, np.uint64({q}))",
            f"    {name}{n - 1}[j], {name}{n - 1}[j + {HALF}] = {made.format(q=q)}",
        ]
    return lines
