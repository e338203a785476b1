"""Walls of the box, as source for kernels: periodic axes wrap, reflecting walls mirror along K n.

No flux through a wall with normal n means reflection along K n (its condition on test functions is (K n).grad phi =
0), with the antisymmetric part of K where there is one. For scalar and diagonal K that is the normal, and a mirror
image folds any overshoot back without a branch. For a full K the step is mirrored obliquely, wall after wall, in a
second pass over the few particles that are outside.
"""

from __future__ import annotations

from relaxsim.particles import entries
from relaxsim.system.system import System

ROUNDS = 50  # mirror images before a particle is put on the wall
FAR = 1000.0  # lengths of the box: a step beyond has blown up, and its mirror image would hide that
MANY = 2.0**30  # periods: beyond, the position within one has lost its digits


def low(axis: int) -> str:
    """How kernels write the lower end of an axis."""
    return f"m[{2 + axis}]"


def high(system: System, axis: int) -> str:
    """How kernels write the upper end of an axis."""
    return f"m[{2 + system.dim + axis}]"


def needs_oblique(system: System) -> bool:
    """Whether reflection is not along the normal."""
    return system.mobility.couples_axes and system.dim > 1 and "reflecting" in system.domain.boundary


def why_oblique(system: System) -> str | None:
    """The reason why a scheme that looks beyond walls cannot run a system: oblique mirrors have no continuation."""
    return "its full mobility meets reflecting walls obliquely" if needs_oblique(system) else None


def why_vanishing(system: System) -> str | None:
    """The reason why a scheme that needs K > 0 at walls cannot run a system: it loses its order elsewhere."""
    centre = system.domain.sample_points(1)
    inside = system.mobility.diagonal_of(centre)[0]
    for axis, _, wall in system.domain.walls(centre):
        if system.mobility.diagonal_of(wall)[0, axis] < 1e-9 * inside[axis]:
            return "its mobility vanishes at a reflecting wall, where this scheme loses its order"
    return None


def folds(system: System, axis: int) -> bool:
    """Whether an axis has ends that can be treated by themselves."""
    kind = system.domain.boundary[axis]
    return kind == "periodic" or (kind == "reflecting" and not needs_oblique(system))


def inside_source(system: System) -> str:
    """``model_inside(m, x)``: the position folded back into the box, on every axis that can be treated by itself.

    Periodic axes are wrapped into [lower, upper), reflecting ones mirrored; a coordinate that is inside keeps its bits.
    """
    lines, results = [], []
    for a in range(system.dim):
        if not folds(system, a):
            results.append(f"x[{a}]")
            continue
        ends, moved, result = fold_lines(system.domain.periodic[a], f"x[{a}]", str(a))
        lines += [f"low{a}, high{a} = {low(a)}, {high(system, a)}", *ends, *moved]
        results.append(result)
    return entries.function("model_inside(m, x)", lines, results)


def once_source(system: System) -> str:
    """``inside_once(m, x)``: the position with at most one mirror image or period on each axis, and whether it is still
    outside.

    That is all that most steps ever need, at half the arithmetic of `inside_source`. A coordinate that is inside keeps
    its bits.
    """
    lines, results, outside = [], [], []
    for a in range(system.dim):
        if not folds(system, a):
            results.append(f"x[{a}]")
            continue
        periodic, x = system.domain.periodic[a], f"x[{a}]"
        above = f"v{a} >= high{a}" if periodic else f"v{a} > high{a}"
        lines += [
            f"low{a}, high{a} = {low(a)}, {high(system, a)}",
            f"u{a} = where({x} < low{a}, {f'{x} + (high{a} - low{a})' if periodic else f'2.0 * low{a} - {x}'}, {x})",
            f"v{a} = where({above.replace('v', 'u')}, "
            f"{f'u{a} - (high{a} - low{a})' if periodic else f'2.0 * high{a} - u{a}'}, u{a})",
        ]
        results.append(f"v{a}")
        outside += [f"(v{a} < low{a})", f"({above})"]
    body = "".join(f"    {line}\n" for line in lines)
    return f"def inside_once(m, x):\n{body}    return {entries.row(results)}, {' | '.join(outside)}\n"


def fold_lines(periodic: bool, x: str, a: str = "") -> tuple[list[str], list[str], str]:
    """How one coordinate is folded: lines on the ends low{a} and high{a} alone, lines on the coordinate, the result."""
    ends = [
        f"length{a} = high{a} - low{a}",
        f"period{a} = {'length' if periodic else '2.0 * length'}{a}",
        f"often{a} = 1.0 / period{a}",
    ]
    moved = [f"u{a} = {x} - low{a}", f"u{a} = u{a} - period{a} * floor(u{a} * often{a})"]
    if periodic:
        moved += [
            f"w{a} = low{a} + u{a}",
            f"w{a} = where((w{a} >= low{a}) & (w{a} < high{a}), w{a}, low{a})",
            f"stays{a} = ({x} >= low{a}) & ({x} < high{a})",
            f"near{a} = abs({x} - low{a}) < {MANY} * length{a}",
        ]
    else:
        moved += [
            f"w{a} = low{a} + (length{a} - abs(u{a} - length{a}))",
            f"w{a} = where(w{a} > high{a}, high{a}, where(w{a} < low{a}, low{a}, w{a}))",
            f"stays{a} = ({x} >= low{a}) & ({x} <= high{a})",
            f"near{a} = abs({x} - low{a}) < {FAR} * length{a}",
        ]
    # what is infinite or absurdly far becomes nan, and is reported
    return ends, moved, f"where(stays{a}, {x}, where(near{a}, w{a}, np.nan))"


def sign_source(system: System) -> str:
    """``model_mirror_sign(m, x)``: -1 on reflecting axes whose coordinate is seen in an odd number of mirrors, else 1.

    Beyond a wall the system is continued by its mirror images: the drift there is that at the folded position times
    this sign.
    """
    lines, results = [], []
    for a in range(system.dim):
        if not (folds(system, a) and system.domain.boundary[a] == "reflecting"):
            results.append("1.0")
            continue
        lines += [
            f"low{a}, high{a} = {low(a)}, {high(system, a)}",
            f"n{a} = floor((x[{a}] - low{a}) * (1.0 / (high{a} - low{a})))",
            f"odd{a} = n{a} - 2.0 * floor(0.5 * n{a})",
        ]
        results.append(f"where((x[{a}] >= low{a}) & (x[{a}] <= high{a}), 1.0, 1.0 - 2.0 * odd{a})")
    return entries.function("model_mirror_sign(m, x)", lines, results)


def turns_source(system: System) -> str:
    """``turns(m, x)``: by how many periods each periodic coordinate is outside."""
    lengths = {a: f"({high(system, a)} - {low(a)})" for a in periodic_axes(system)}
    counts = [f"floor((x[{a}] - {low(a)}) * (1.0 / {length}))" for a, length in lengths.items()]
    return entries.function("turns(m, x)", [], counts)


def periodic_axes(system: System) -> list[int]:
    """The axes on which turns are counted."""
    return [a for a, periodic in enumerate(system.domain.periodic) if periodic]


def mirror_source(system: System) -> str:
    """``mirror(m, x, t)``: oblique reflection at the most violated wall until the particle is inside.

    Each round: x <- x - 2 d K n / (n.K n), d the overshoot beyond the wall and K taken at the nearest point of the box.
    """
    walls = system.domain.wall_axes
    names = ", ".join(f"x{a}" for a in range(system.dim))
    nearest = ", ".join(
        f"min(max(x{a}, {low(a)}), {high(system, a)})" if a in walls else f"x{a}" for a in range(system.dim)
    )
    lines = [
        "def mirror(m, x, t):",
        f"    {names}, = x",
        *[
            f"    if not abs(x{a} - {low(a)}) < {FAR} * ({high(system, a)} - {low(a)}):\n        x{a} = np.nan"
            for a in walls
        ],
        f"    if not ({' + '.join(f'x{a}' for a in range(system.dim))}) * 0.0 == 0.0:",
        f"        return ({names},)  # not finite, or absurdly far: reported, not hidden",
        f"    for _ in range({ROUNDS}):",
        "        worst = 0.0",
        "        axis = -1",
        "        over = 0.0",
    ]
    for a in walls:
        lines += [
            f"        d{a} = x{a} - min(max(x{a}, {low(a)}), {high(system, a)})",
            f"        if abs(d{a}) > worst:",
            f"            worst, axis, over = abs(d{a}), {a}, d{a}",
        ]
    lines += [
        "        if axis < 0:",
        f"            return ({names},)",
        *[f"        {line}" for line in entries.read_mobility(system, f"({nearest},)")],
    ]
    for a in walls:
        lines.append(f"        {'if' if a == walls[0] else 'elif'} axis == {a}:")
        for b in range(system.dim):
            slope = "1.0" if a == b else _slope(system, a, b)
            if slope is not None:
                lines.append(f"            x{b} = x{b} - 2.0 * over * ({slope})")
    lines.append(f"    return ({nearest},)")
    return "\n".join(lines) + "\n"


def push_source(system: System) -> str:
    """``push(m, x, y, t, h, u)``: Lépingle's push for a step from x to y, with a uniform u for each axis.

    At the nearer wall of an axis, with a the step and s^2 = 2 T h K_aa along the inward normal and d the distance, the
    lowest point of the path in between is d + (a - sqrt(a^2 - 2 s^2 ln u))/2; what is missing is added along K n.
    Exact for constant coefficients and one wall. Lépingle, Math. Comput. Simul. 38 (1995) 119.
    """
    dim, heat = system.dim, entries.temperature(system)
    lines = [*entries.read_mobility(system), "s = model_diagonal(m, x, t)"]
    moved = [f"y[{b}]" for b in range(dim)]
    for a in system.domain.wall_axes:
        lines += [
            f"low{a} = (x[{a}] - {low(a)}) < ({high(system, a)} - x[{a}])",
            f"side{a} = where(low{a}, 1.0, -1.0)",
            f"d{a} = where(low{a}, x[{a}] - {low(a)}, {high(system, a)} - x[{a}])",
            f"a{a} = side{a} * (y[{a}] - x[{a}])",
            f"lowest{a} = d{a} + 0.5 * (a{a} - sqrt(a{a} * a{a} - 4.0 * {heat} * h * s[{a}] * log(u[{a}])))",
            f"p{a} = side{a} * 0.5 * (abs(lowest{a}) - lowest{a})",
        ]
        for b in range(dim):
            slope = "" if a == b else _slope(system, a, b)
            if slope is not None:
                moved[b] += f" + p{a} * {slope}" if slope else f" + p{a}"
    return entries.function("push(m, x, y, t, h, u)", lines, moved)


def _slope(system: System, a: int, b: int) -> str | None:
    """How far K n goes along axis b for each length along the normal of a wall of axis a, None where that is zero."""
    across = entries.full_entry(system, b, a)
    return None if across is None else f"{across} / ({entries.entry(system, a, a)} + 1e-300)"
