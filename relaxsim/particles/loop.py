"""Source of the compiled loops: `run` advances blocks of particles, `report` gives the positions of the state.

The state is an array of rows: one a coordinate, then one a periodic axis with the number of turns if they are counted,
then what the scheme carries, then two for each region whose first passage is watched: its time and the region's level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relaxsim.particles import walls
from relaxsim.particles.draws import normal_lines, uniform_lines
from relaxsim.particles.entries import row
from relaxsim.particles.noise import NoiseSource, signs_source
from relaxsim.particles.noise import noise_source as block_noise
from relaxsim.particles.random import BLOCK
from relaxsim.particles.schemes import Scheme
from relaxsim.system.region import Region
from relaxsim.system.system import System

CACHE_LINE = 64  # bytes
WRITTEN_OUT = 8  # draws a step up to which their calls are written out; beyond, a function of its own compiles faster


@dataclass(frozen=True)
class Plan:
    """What a loop is compiled for.

    Attributes
    ----------
    system : System
        Its form only.
    scheme : Scheme
    noise : str
        "gaussian", "three-point" or "two-point".
    lepingle : bool
        Whether reflecting walls push along the path in between.
    count_turns : bool
        Whether turns around periodic axes are counted.
    dtype : str
        "float64" or "float32".
    decorator : str
        Name of the decorator of the loops.
    regions : tuple of Region
        Those whose first passage is watched.
    """

    system: System
    scheme: Scheme
    noise: str = "gaussian"
    lepingle: bool = False
    count_turns: bool = False
    dtype: str = "float64"
    decorator: str = "kernel"
    regions: tuple[Region, ...] = ()

    @property
    def n_noise(self) -> int:
        """Draws a step by the kind of noise."""
        return self.scheme.noise_per_axis * self.system.dim

    @property
    def n_signs(self) -> int:
        """Fair signs a step."""
        return self.scheme.signs(self.system.dim) if self.scheme.signs is not None else 0

    @property
    def draws(self) -> list[str]:
        """Names of all that a step draws: noise, signs, uniforms."""
        counts = {"z": self.n_noise, "s": self.n_signs, "u": self.scheme.uniforms}
        return [f"{name}{b}" for name, count in counts.items() for b in range(count)]

    @property
    def carried(self) -> list[str]:
        """Names of the rows that the scheme carries."""
        sizes = (self.system.dim if kind == "axis" else 1 for kind in self.scheme.carried.values())
        return [f"c{k}" for k in range(sum(sizes))]

    @property
    def watched(self) -> list[str]:
        """Names of the rows of first passages: time and level for each region."""
        return [f"{name}{k}" for k in range(len(self.regions)) for name in ("passage", "level")]

    @property
    def rows(self) -> list[str]:
        """Names of the state's rows: coordinates, then turns, then what is carried, then first passages."""
        coordinates = [f"x{a}" for a in range(self.system.dim)]
        return coordinates + [f"turns{a}" for a in self.turning] + self.carried + self.watched

    @property
    def wraps(self) -> bool:
        """Whether the position after a step may have to be folded back."""
        return not self.scheme.stays_inside or any(self.system.domain.periodic)

    @property
    def folds_once(self) -> bool:
        """Whether an axis may have to be folded back by itself: once for all particles, more for the few far out."""
        return self.wraps and any(walls.folds(self.system, a) for a in range(self.system.dim))

    @property
    def oblique(self) -> bool:
        """Whether a second pass mirrors along K n."""
        return walls.needs_oblique(self.system) and not self.scheme.stays_inside

    @property
    def turning(self) -> list[int]:
        """The axes whose turns are counted."""
        return walls.periodic_axes(self.system) if self.count_turns else []


def run_source(plan: Plan) -> str:
    """``run(x, begin, end, live, first_particle, first_step, n_steps, t0, h, seed, m)``, see `Kernel.__call__`."""
    dim, rows = plan.system.dim, plan.rows
    lines = _opening(plan, "run(x, begin, end, live, first_particle, first_step, n_steps, t0, h, seed, m)", "n_steps")
    if plan.lepingle:
        lines += _indent(uniform_lines(dim, "WALLS", "u"), 12)
    lines += [
        *(["            far = False"] if plan.folds_once else []),
        f"            for j in range({BLOCK}):",
        f"                here = {_at_j(rows[:dim])}",
        *_step_lines(plan),
    ]
    if plan.lepingle:
        lines.append(f"                there = push(m, here, there, t, hh, {_at_j([f'u{a}' for a in range(dim)])})")
    lines += _turn_lines(plan)
    if plan.folds_once:
        lines += ["                there, outside = inside_once(m, there)", "                far |= outside"]
    lines += _store(dim, 16)
    if plan.folds_once:
        lines += [
            "            if far:",
            f"                for j in range({BLOCK}):",
            f"                    there = model_inside(m, {_at_j(rows[:dim])})",
            *_store(dim, 20),
        ]
    lines += _oblique_lines(plan)
    lines += _passage_lines(plan)
    lines += [
        "        bad = False",
        # particles that only fill the last block may do what they like
        f"        for j in range(min({BLOCK}, live - start)):",
        f"            bad |= {' + '.join(f'{name}[j] * REAL(0.0)' for name in rows[:dim])} != REAL(0.0)",
        "        if bad:",
        "            return start",
        f"        for j in range({BLOCK}):",
        *[f"            x[{k}, start + j] = {name}[j]" for k, name in enumerate(rows)],
        "    return -1",
    ]
    return "\n".join(lines) + "\n"


def report_source(plan: Plan) -> str:
    """``report(x, out, begin, end, first_particle, first_step, t0, h, seed, m)``, see `Kernel.report`."""
    dim, rows = plan.system.dim, plan.rows
    lines = _opening(plan, "report(x, out, begin, end, first_particle, first_step, t0, h, seed, m)", "1")
    lines += [
        f"            for j in range({BLOCK}):",
        f"                noise = {_at_j(plan.draws)}",
        f"                there = output(m, {_at_j(rows[:dim])}, t, hh, noise)",
    ]
    lines += _turn_lines(plan)
    if plan.scheme.coordinates is None:  # other coordinates are folded before they become positions
        lines.append("                there = model_inside(m, there)")
    lines += _store(dim, 16)
    lines += _oblique_lines(plan)
    lines.append(f"        for j in range({BLOCK}):")
    lines += [f"            out[{k}, start + j] = {name}[j]" for k, name in enumerate(rows)]
    return "\n".join(lines) + "\n"


def _step_lines(plan: Plan) -> list[str]:
    """One step of a particle; what it carries goes to its rows, the position to `there`."""
    dim, noise = plan.system.dim, _at_j(plan.draws)
    if not plan.carried:
        return [f"                there = step(m, here, t, hh, {noise})"]
    return [
        f"                moved = step(m, here, t, hh, {noise}, {_at_j(plan.carried)})",
        f"                there = {row(f'moved[{a}]' for a in range(dim))}",
        *[f"                {name}[j] = moved[{dim + k}]" for k, name in enumerate(plan.carried)],
    ]


def _opening(plan: Plan, signature: str, n_steps: str) -> list[str]:
    """What both loops begin with: a block is read and, for each step, its noise is made."""
    noise = noise_source(plan)
    return [
        f"@{plan.decorator}",
        f"def {signature}:",
        "    wide_vectors()",
        *_buffers(plan),
        *_indent(noise.setup, 4),
        f"    for start in range(begin, end, {BLOCK}):",
        f"        for j in range({BLOCK}):",  # slices would compile in 3 s of error messages
        *[f"            {name}[j] = x[{k}, start + j]" for k, name in enumerate(plan.rows)],
        f"        for k in range(first_step, first_step + {n_steps}):",
        "            t = REAL(t0 + k * h)",
        "            step_bits = np.uint64(k)",
        *_indent(noise.step, 12),
    ]


def noise_source(plan: Plan) -> NoiseSource:
    """The lines that fill z0, z1, ..., s0, ... and u0, ... for one step."""
    noise = _kind_source(plan)
    signs = signs_source(plan.n_signs)
    metropolis = uniform_lines(plan.scheme.uniforms, "METROPOLIS", "u")
    return NoiseSource(
        tuple(dict.fromkeys(noise.names + signs.names)),
        noise.setup + signs.setup,
        noise.step + signs.step + metropolis,
    )


def _kind_source(plan: Plan) -> NoiseSource:
    if plan.scheme.draws == "uniform" and plan.n_noise > WRITTEN_OUT:
        calls = [
            f"fill_uniforms(seed, first_particle + start, k, {q}, z{2 * q}, z{2 * q + 1})"
            for q in range(plan.n_noise // 2)
        ]
        return NoiseSource(("fill_uniforms",), [], calls)
    if plan.scheme.draws == "uniform":
        return NoiseSource((), [], uniform_lines(plan.n_noise, "DYNAMICS", "z"))
    if plan.noise == "gaussian" and plan.dtype == "float64" and plan.n_noise <= WRITTEN_OUT:
        return NoiseSource((), [], normal_lines(plan.n_noise))
    return block_noise(plan.noise, plan.n_noise, plan.dtype)


def _indent(lines: list[str], width: int) -> list[str]:
    return [" " * width + line for line in lines]


def _buffers(plan: Plan) -> list[str]:
    """The block's arrays, side by side in one piece that starts at a cache line: vectors must not straddle two."""
    names = plan.rows + plan.draws
    if plan.lepingle:
        names += [f"u{a}" for a in range(plan.system.dim)]
    size = np.dtype(plan.dtype).itemsize
    return [
        "    hh = REAL(h)",
        f"    piece = np.empty({BLOCK * len(names) + CACHE_LINE // size}, np.{plan.dtype})",
        f"    skip = ({CACHE_LINE} - piece.ctypes.data % {CACHE_LINE}) // {size}",
        *[f"    {name} = piece[skip + {BLOCK * k} : skip + {BLOCK * (k + 1)}]" for k, name in enumerate(names)],
    ]


def _oblique_lines(plan: Plan) -> list[str]:
    """The second pass over a block: mirror along K n, which may move periodic coordinates out of their period."""
    if not plan.oblique:
        return []
    dim = plan.system.dim
    lines = [f"            for j in range({BLOCK}):", f"                there = mirror(m, {_at_j(plan.rows[:dim])}, t)"]
    lines += _turn_lines(plan)
    return [*lines, "                there = model_inside(m, there)", *_store(dim, 16)]


def _turn_lines(plan: Plan) -> list[str]:
    if not plan.turning:
        return []
    counted = [f"                turns{a}[j] += turned[{i}]" for i, a in enumerate(plan.turning)]
    return ["                turned = turns(m, there)", *counted]


def _passage_lines(plan: Plan) -> list[str]:
    """A last pass over a block: has a particle entered a region in this step? Its level is linear in time within it."""
    if not plan.regions:
        return []
    here = _at_j(plan.rows[: plan.system.dim])
    place = f"model_position(m, {here})" if plan.scheme.coordinates is not None else here
    lines = [f"            for j in range({BLOCK}):", f"                there = {place}"]
    for k in range(len(plan.regions)):
        lines += [
            f"                level = REAL(region{k}(m, there, t + hh))",
            f"                entered = (level > REAL(0.0)) & (passage{k}[j] == REAL(np.inf))",
            f"                since = level{k}[j] / (level{k}[j] - level)",
            f"                passage{k}[j] = where(entered, REAL(k * h) + hh * since, passage{k}[j])",
            f"                level{k}[j] = level",
        ]
    return lines


def _at_j(names: list[str]) -> str:
    return row(f"{name}[j]" for name in names)


def _store(dim: int, indent: int) -> list[str]:
    return [f"{' ' * indent}x{a}[j] = there[{a}]" for a in range(dim)]
