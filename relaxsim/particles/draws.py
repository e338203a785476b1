"""Source lines that fill a block's double precision draws for one step, with the calls of a step in one loop."""

from __future__ import annotations

from collections.abc import Callable

from relaxsim.particles.random import BLOCK, HALF

TOGETHER = 4  # calls in one loop: their rounds overlap in the processor
MADE = {"normal": "normal_pair({a}, {b})", "uniform": "uniform({a}), uniform({b})"}  # of the bits of a call


def normal_lines(n: int) -> list[str]:
    """Lines that set ``z0[:] ... z{n-1}[:]`` to normals for the step `step_bits` of the particles from `start` on."""
    return _separate(n, "normal", "DYNAMICS", "z")


def uniform_lines(n: int, stream: str, name: str) -> list[str]:
    """The same with uniforms on (0, 1]."""
    return _separate(n, "uniform", stream, name)


def row_lines(
    n: int, draws: str, row: Callable[[str], str], then: Callable[[str, int], list[str]] | None = None
) -> list[str]:
    """The same for rows that follow each other in one array, written by `row`: most calls stand in one loop.

    `draws` is the scheme's, "normal" or "uniform".
    `then` gives lines to be done with a number of rows from one index on as soon as they are drawn.
    """
    then = then or (lambda first, count: [])
    whole = n // 2 // TOGETHER * TOGETHER
    four = [(f"(q + {k})", f"{row(f'2 * q + {2 * k}')}, {row(f'2 * q + {2 * k + 1}')}") for k in range(TOGETHER)]
    lines = [f"for q in range(0, {whole}, {TOGETHER}):"] if whole else []
    together = [*call_lines(BLOCK, four, draws, "DYNAMICS"), *then("2 * q", 2 * TOGETHER)]
    lines += ["    " + line for line in together] if whole else []
    rest = [
        f"q = {whole}",
        *_lines(n, whole, draws, "DYNAMICS", lambda b: row(str(b))),
        *then(str(2 * whole), n - 2 * whole),
    ]
    return lines + (rest if 2 * whole < n else [])


def _separate(n: int, draws: str, stream: str, name: str) -> list[str]:
    return _lines(n, 0, draws, stream, lambda b: f"{name}{b}[{{j}}]")


def _lines(n: int, first: int, draws: str, stream: str, row: Callable[[int], str]) -> list[str]:
    """Two draws a call, from the call `first` on; the last of an odd number is shared by particles p and p ^ 64."""
    lines = []
    for begin in range(first, n // 2, TOGETHER):
        calls = range(begin, min(begin + TOGETHER, n // 2))
        lines += call_lines(BLOCK, [(str(q), f"{row(2 * q)}, {row(2 * q + 1)}") for q in calls], draws, stream)
    if n % 2:
        second = row(n - 1).replace("{j}", f"{{j}} + {HALF}")
        lines += call_lines(HALF, [(str(n // 2), f"{row(n - 1)}, {second}")], draws, stream)
    return lines


def call_lines(length: int, calls: list[tuple[str, str]], draws: str, stream: str) -> list[str]:
    """One loop for some calls of `length` particles; few calls are made for several parts of the particles at once.

    A call is its number and where its two draws go, with ``{j}`` for the particle.
    """
    parts = 1 << (TOGETHER // len(calls)).bit_length() - 1
    size = length // parts
    together = [(k, part) for part in range(parts) for k in range(len(calls))]
    lines = [f"for j in range({size}):"]
    lines += [f"    p{part} = np.uint64(first_particle + start + j + {size * part})" for part in range(parts)]
    for k, part in together:
        bits = f"random_bits(seed, p{part}, step_bits, {stream}, np.uint64({calls[k][0]}))"
        lines.append(f"    a{k}_{part}, b{k}_{part} = {bits}")
    for k, part in together:
        target = calls[k][1].format(j=f"j + {size * part}")
        lines.append(f"    {target} = {MADE[draws].format(a=f'a{k}_{part}', b=f'b{k}_{part}')}")
    return lines
