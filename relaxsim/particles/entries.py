"""How generated source writes the temperature and the entries of K = S + A.

In the functions that use these texts, `k` is what ``model_mobility`` returned (S) and `a` what ``model_antisymmetric``
returned. Of A only the entries above the diagonal are read, so that what is written is antisymmetric to the last bit.
Entries that are zero by form are not written: 0.0 * x would cost a multiplication, since x could be infinite.
"""

from __future__ import annotations

from relaxsim.system.matrix_entries import ZERO
from relaxsim.system.system import System


def temperature(system: System) -> str:
    """T, at the time `t` where it changes with it."""
    return "m[0]" if isinstance(system.temperature, float) else "model_temperature(m, t)"


def entry(system: System, a: int, b: int) -> str | None:
    """An entry of S, None where it is zero."""
    structure = system.mobility.structure
    if structure == "tensor":
        return f"k[{a}][{b}]"
    if a != b:
        return None
    return "k" if structure == "scalar" else f"k[{a}]"


def antisymmetric_entry(system: System, a: int, b: int) -> str | None:
    """An entry of A, None where it is zero."""
    if a == b or system.mobility.reversible:
        return None
    upper = (min(a, b), max(a, b))
    trees = system.mobility.antisymmetric_field.trees
    if trees is not None and trees[upper[0]][upper[1]] == ZERO:
        return None
    return f"{'' if a < b else '-'}a[{upper[0]}][{upper[1]}]"


def full_entry(system: System, a: int, b: int) -> str | None:
    """An entry of K = S + A, None where it is zero."""
    symmetric, antisymmetric = entry(system, a, b), antisymmetric_entry(system, a, b)
    if symmetric is None or antisymmetric is None:
        return symmetric or antisymmetric
    return f"({symmetric} {antisymmetric.replace('-', '- ') if a > b else '+ ' + antisymmetric})"


def read_mobility(system: System, point: str = "x") -> list[str]:
    """Lines that set `k`, and `a` where there is an A, to their values at a point."""
    lines = [f"k = model_mobility(m, {point}, t)"]
    if not system.mobility.reversible:
        lines.append(f"a = model_antisymmetric(m, {point}, t)")
    return lines
