"""How generated source writes functions, the temperature, the entries of K = S + A and the factor of S.

In the functions that use these texts, `k` is what ``model_mobility`` returned (S) and `a` what ``model_antisymmetric``
returned. Of A only the entries above the diagonal are read, so that what is written is antisymmetric to the last bit.
Entries that are zero by form are not written: 0.0 * x would cost a multiplication, since x could be infinite.
"""

from __future__ import annotations

from collections.abc import Iterable

from relaxsim.system.matrix_entries import ZERO
from relaxsim.system.system import System


def row(values: Iterable[str]) -> str:
    """A tuple of any length."""
    return "(" + "".join(f"{value}, " for value in values) + ")"


def function(head: str, lines: Iterable[str], results: Iterable[str]) -> str:
    """A function of some lines that returns a tuple."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"def {head}:\n{body}    return {row(results)}\n"


def temperature(system: System, m: str = "m") -> str:
    """T, at the time `t` where it changes with it."""
    return f"{m}[0]" if isinstance(system.temperature, float) else f"model_temperature({m}, t)"


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


def cholesky_lines(system: System) -> list[str]:
    """Lines that set `s` to sqrt(2 T) and b{a}_{b}, b <= a, to Cholesky's factor of the full matrix `k`."""
    lines = [f"s = sqrt(2.0 * {temperature(system)})"]
    for a in range(system.dim):
        for b in range(a):
            terms = "".join(f" - b{a}_{c} * b{b}_{c}" for c in range(b))
            # on a wall K may be singular: there the entry above a zero pivot is zero too
            lines.append(f"b{a}_{b} = (k[{a}][{b}]{terms}) / (b{b}_{b} + 1e-300)")
        terms = "".join(f" - b{a}_{c} * b{a}_{c}" for c in range(a))
        lines.append(f"p{a} = k[{a}][{a}]{terms}")
        # rounding may leave a zero pivot below zero; anything beyond is no mobility and gives nan
        lines.append(f"b{a}_{a} = sqrt(where(abs(p{a}) <= 1e-12 * k[{a}][{a}], abs(p{a}), p{a}))")
    return lines
