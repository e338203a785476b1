"""The loops of a kernel for many coordinates, whose step runs by component rows (see `rows`).

They do what those of `loop` do, on one flat array that holds a block: a row of BLOCK numbers for each coordinate, each
number of noise, and each list a step keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from relaxsim.particles import entries
from relaxsim.particles.draws import row_lines
from relaxsim.particles.loop import CACHE_LINE, Plan, noise_source
from relaxsim.particles.noise import NoiseSource
from relaxsim.particles.random import BLOCK
from relaxsim.particles.rows import Call, Loop, NotByRowsError, Number, RowsStep, by_rows
from relaxsim.particles.walls import fold_lines, folds

MANY = 9  # coordinates from which on a step runs by rows; up to 8, written out, it runs faster and compiles in time


@dataclass(frozen=True)
class RowsLoop:
    """Source of the loops of a plan.

    Attributes
    ----------
    functions : str
        The model's functions over a block, and the step.
    loops : str
        `run` and, where the scheme reports something else than its state, `report`.
    noise : tuple of str
        What they need of the module `noise`.
    """

    functions: str
    loops: str
    noise: tuple[str, ...]


def rows_loop(plan: Plan, first_constant: int) -> RowsLoop | None:
    """The loops of a plan by rows, or None where it has to be written out."""
    dim = plan.system.dim
    if dim < MANY or plan.oblique or plan.lepingle or plan.turning or len(plan.draws) > plan.n_noise or plan.carried:
        return None
    if plan.regions:
        return None
    temperature = entries.temperature(plan.system, "model")
    try:
        step = by_rows(plan.scheme.step, dim, first_constant)
        output = by_rows(plan.scheme.output, dim, first_constant) if plan.scheme.output else None
    except NotByRowsError:
        return None
    parts = [part for part in (step, output) if part is not None]
    functions = [_regions(plan, parts), *_block_functions(dim, parts), _function("step", step, dim, temperature)]
    loops = [_run(plan)]
    if output is not None:
        functions.append(_function("output", output, dim, temperature))
        loops.append(_report(plan))
    return RowsLoop("\n\n".join(functions), "\n\n".join(loops), _noise(plan).names)


def _regions(plan: Plan, parts: list[RowsStep]) -> str:
    """Where each list begins in a block's array."""
    dim, places = plan.system.dim, {"x": 0, "noise": plan.system.dim}
    rows = dim + plan.n_noise
    for name in dict.fromkeys(name for part in parts for name in part.lists):
        places[name] = rows
        rows += dim
    places["check"] = rows
    lines = [f"AT_{name} = {BLOCK * row}" for name, row in places.items()]
    return "\n".join([*lines, f"SIZE = {BLOCK * (rows + 1)}", ""])


def _block_functions(dim: int, parts: list[RowsStep]) -> list[str]:
    """``rows_NAME(m, arguments..., result)``: a function of the model over the rows of a block."""
    wanted = {name: kinds for part in parts for name, kinds in part.functions.items()}
    sources = []
    for name, kinds in wanted.items():
        names = ["t" if kind == "t" else f"list{k}" for k, kind in enumerate(kinds)]
        values = [name if name == "t" else _at_j(name, dim) for name in names]
        lines = [
            "@block_function",
            f"def rows_{name}(m, {', '.join(names)}, result):",
            "    wide_vectors()",
            f"    for j in range({BLOCK}):",
            f"        there = model_{name}(m, {', '.join(values)})",
            *[f"        result[j + {BLOCK * a}] = there[{a}]" for a in range(dim)],
        ]
        sources.append("\n".join(lines) + "\n")
    return sources


def _function(name: str, step: RowsStep, dim: int, temperature: str) -> str:
    """The step over a block: the state in the rows from AT_x on is replaced by its result."""
    head = [
        "@block_function",
        f"def {name}(model, numbers, block, t, h):",
        "    wide_vectors()",
        f"    temperature = {temperature}",
    ]
    return "\n".join([*head, *[f"    {line}" for piece in step.pieces for line in _lines(piece, dim)]]) + "\n"


def _lines(piece: Number | Call | Loop, dim: int) -> list[str]:
    if isinstance(piece, Loop):
        return piece.lines
    if isinstance(piece, Number):
        return [f"{piece.name} = {piece.text}"]
    arguments = [name if name == "t" else _rows(name, dim) for name in (*piece.arguments, piece.result)]
    return [f"rows_{piece.function}(model, {', '.join(arguments)})"]


def _rows(name: str, dim: int) -> str:
    return f"block[AT_{name} : AT_{name} + {BLOCK * dim}]"


def _run(plan: Plan) -> str:
    """``run(...)`` as in `loop.run_source`."""
    dim = plan.system.dim
    lines = _opening(plan, "run(x, begin, end, live, first_particle, first_step, n_steps, t0, h, seed, m)", "n_steps")
    lines.append("            step(m, numbers, block, t, hh)")
    if plan.wraps:
        lines += [" " * 12 + line for line in _inside_lines(plan)]
    lines += [
        f"        for j in range({BLOCK}):",
        "            block[AT_check + j] = REAL(0.0)",
        f"        for a in range({dim}):",
        f"            for j in range({BLOCK}):",
        f"                block[AT_check + j] += block[AT_x + {BLOCK} * a + j] * REAL(0.0)",
        "        total = REAL(0.0)",
        # particles that only fill the last block may do what they like
        f"        for j in range(min({BLOCK}, live - start)):",
        "            total += block[AT_check + j]",
        "        if not total == 0.0:",
        "            return start",
        *_copy(dim, "x[a, start + j] = block[AT_x + {o} + j]"),
        "    return -1",
    ]
    return "\n".join(lines) + "\n"


def _report(plan: Plan) -> str:
    """``report(...)`` as in `loop.report_source`."""
    lines = _opening(plan, "report(x, out, begin, end, first_particle, first_step, t0, h, seed, m)", "1")
    lines.append("            output(m, numbers, block, t, hh)")
    if plan.scheme.coordinates is None:  # other coordinates are folded before they become positions
        lines += [" " * 12 + line for line in _inside_lines(plan)]
    lines += _copy(plan.system.dim, "out[a, start + j] = block[AT_x + {o} + j]")
    return "\n".join(lines) + "\n"


def _opening(plan: Plan, signature: str, n_steps: str) -> list[str]:
    """What both loops begin with: a block is read and, for each step, its noise is made."""
    noise = _noise(plan)
    size = np.dtype(plan.dtype).itemsize
    return [
        f"@{plan.decorator}",
        f"def {signature}:",
        "    wide_vectors()",
        "    hh = REAL(h)",
        "    numbers = m[-1]",
        f"    piece = np.empty(SIZE + {CACHE_LINE // size}, np.{plan.dtype})",
        f"    skip = ({CACHE_LINE} - piece.ctypes.data % {CACHE_LINE}) // {size}",
        "    block = piece[skip : skip + SIZE]",
        *[f"    {line}" for line in noise.setup],
        f"    for start in range(begin, end, {BLOCK}):",
        *_copy(plan.system.dim, "block[AT_x + {o} + j] = x[a, start + j]"),
        f"        for k in range(first_step, first_step + {n_steps}):",
        "            t = REAL(t0 + k * h)",
        "            step_bits = np.uint64(k)",
        *[f"            {line}" for line in noise.step],
    ]


def _noise(plan: Plan) -> NoiseSource:
    """The lines that fill the rows from AT_noise on."""
    n, draws = plan.n_noise, plan.scheme.draws
    if draws == "normal" and (plan.noise, plan.dtype) != ("gaussian", "float64"):
        source = noise_source(plan)
        rows = [f"z{b} = block[AT_noise + {BLOCK * b} : AT_noise + {BLOCK * (b + 1)}]" for b in range(n)]
        return NoiseSource(source.names, [*source.setup, *rows], source.step)
    return NoiseSource((), [], row_lines(n, draws, lambda b: f"block[AT_noise + {BLOCK} * ({b}) + {{j}}]"))


def _inside_lines(plan: Plan) -> list[str]:
    """Every coordinate folded back into the box; neighbouring axes of one kind share a loop."""
    system, lines = plan.system, []
    kinds = [system.domain.boundary[a] if folds(system, a) else None for a in range(system.dim)]
    for kind, axes in groupby(range(system.dim), key=lambda a: kinds[a]):
        run = list(axes)
        if kind is None:
            continue
        ends, moved, result = fold_lines(kind == "periodic", "x_j")
        lines += [
            f"for a in range({run[0]}, {run[-1] + 1}):",
            f"    o = {BLOCK} * a",
            f"    low, high = numbers[2 + a], numbers[{2 + system.dim} + a]",
            *[f"    {line}" for line in ends],
            f"    for j in range({BLOCK}):",
            "        x_j = block[AT_x + o + j]",
            *[f"        {line}" for line in moved],
            f"        block[AT_x + o + j] = {result}",
        ]
    return lines


def _copy(dim: int, statement: str) -> list[str]:
    """Between the state and the block, row by row."""
    return [
        f"        for a in range({dim}):",
        f"            for j in range({BLOCK}):",
        f"                {statement.format(o=f'{BLOCK} * a')}",
    ]


def _at_j(name: str, dim: int) -> str:
    return entries.row(f"{name}[j + {BLOCK * a}]" for a in range(dim))
