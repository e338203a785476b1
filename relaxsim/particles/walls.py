"""Walls of the box, as source for kernels: periodic axes wrap, reflecting walls mirror along K n.

No flux through a wall with normal n means reflection along K n (its condition on test functions is (K n).grad phi =
0). For scalar and diagonal K that is the normal, and a mirror image folds any overshoot back without a branch. For a
full K the step is mirrored obliquely, wall after wall, in a second pass over the few particles that are outside.
"""

from __future__ import annotations

from relaxsim.system.system import System

ROUNDS = 50  # mirror images before a particle is put on the wall


def needs_oblique(system: System) -> bool:
    """Whether reflection is not along the normal."""
    return system.mobility.structure == "tensor" and system.dim > 1 and "reflecting" in system.domain.boundary


def fold_source(system: System) -> str:
    """``fold(x, lower, upper)``: every axis that can be treated by itself, branch-free."""
    lines, results = [], []
    oblique = needs_oblique(system)
    for a, kind in enumerate(system.domain.boundary):
        if kind == "unbounded" or (kind == "reflecting" and oblique):
            results.append(f"x[{a}]")
            continue
        period = f"length{a}" if kind == "periodic" else f"(2.0 * length{a})"
        lines += [
            f"length{a} = upper[{a}] - lower[{a}]",
            f"u{a} = x[{a}] - lower[{a}]",
            f"u{a} = u{a} - {period} * floor(u{a} / {period})",
        ]
        if kind == "periodic":
            lines += [
                f"w{a} = lower[{a}] + u{a}",
                f"w{a} = where(w{a} < upper[{a}], w{a}, lower[{a}])",
                f"inside{a} = (x[{a}] >= lower[{a}]) & (x[{a}] < upper[{a}])",
            ]
        else:
            lines += [
                f"w{a} = lower[{a}] + (length{a} - abs(u{a} - length{a}))",
                f"w{a} = where(w{a} > upper[{a}], upper[{a}], w{a})",
                f"inside{a} = (x[{a}] >= lower[{a}]) & (x[{a}] <= upper[{a}])",
            ]
        results.append(f"where(inside{a}, x[{a}], w{a})")  # who stays inside keeps every bit
    body = "".join(f"    {line}\n" for line in lines)
    return f"def fold(x, lower, upper):\n{body}    return ({''.join(f'{result}, ' for result in results)})\n"


def mirror_source(system: System) -> str:
    """``mirror(m, x, t, lower, upper)``: oblique reflection at the most violated wall until the particle is inside.

    Each round: x <- x - 2 d K n / (n.K n), d the overshoot beyond the wall and K taken at the nearest point of the box.
    """
    walls = [a for a, kind in enumerate(system.domain.boundary) if kind == "reflecting"]
    names = ", ".join(f"x{a}" for a in range(system.dim))
    nearest = ", ".join(f"min(max(x{a}, lower[{a}]), upper[{a}])" if a in walls else f"x{a}" for a in range(system.dim))
    lines = [
        "def mirror(m, x, t, lower, upper):",
        f"    {names}, = x",
        f"    if not ({' + '.join(f'x{a}' for a in range(system.dim))}) * 0.0 == 0.0:",
        "        return x  # not finite: reported, not hidden",
        f"    for _ in range({ROUNDS}):",
        "        worst = 0.0",
        "        axis = -1",
        "        over = 0.0",
    ]
    for a in walls:
        lines += [
            f"        d{a} = x{a} - min(max(x{a}, lower[{a}]), upper[{a}])",
            f"        if abs(d{a}) > worst:",
            f"            worst, axis, over = abs(d{a}), {a}, d{a}",
        ]
    lines += [
        "        if axis < 0:",
        f"            return ({names},)",
        f"        k = model_mobility(m, ({nearest},), t)",
    ]
    for a in walls:
        lines.append(f"        {'if' if a == walls[0] else 'elif'} axis == {a}:")
        for b in range(system.dim):
            slope = "1.0" if a == b else f"k[{b}][{a}] / (k[{a}][{a}] + 1e-300)"
            lines.append(f"            x{b} = x{b} - 2.0 * over * ({slope})")
    lines.append(f"    return ({nearest},)")
    return "\n".join(lines) + "\n"
