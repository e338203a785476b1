"""What only some schemes ask of a model: columns of the noise's factor, its derivatives, the energy, the box.

All are source, like what `model` writes, and are added to a kernel only where its step names them. With g = sqrt(2 T) B
and B B^T = S (B diagonal, or Cholesky's lower triangle) they are, as a step calls them:

``model.along_columns(x, t, base, s)``
    The points base + s g^j(x), one for each column j.
``model.kick_own(points, t, w)``
    The sum over j of g^j(points[j]) w[j].
``model.kick_others(points, t, w)``
    The sum over r and j != r of g^j(points[r]) w[r][j].
``model.spurious(x, t)``
    T B^{cj} d_c B^{aj}: the Itô drift less the Stratonovich one.
``model.whiten(x, t, v)``
    The noise whose kick is v.
``model.volume(x, t)``
    det g, as the one entry of a sequence; likewise the energy and whether x is in the box:
``model.energy(x, t)``, ``model.contains(x)``

Entries of B that are zero by form are not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any

from relaxsim.particles import entries as written
from relaxsim.particles.walls import high, low
from relaxsim.system import derive
from relaxsim.system.field import Field
from relaxsim.system.source import function_source
from relaxsim.system.system import System


def asked(*functions: Callable[..., Any] | None) -> tuple[str, ...]:
    """Which of these a scheme's functions name."""
    names: set[str] = set()
    codes: list[Any] = [function.__code__ for function in functions if function is not None]
    while codes:
        code = codes.pop()
        names |= set(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return tuple(name for name in NAMES if name in names)


def why_no_spurious(system: System) -> str | None:
    """The reason why derivatives of B cannot be had, or None."""
    mobility = system.mobility
    if mobility.structure == "tensor" and system.dim > 1 and mobility.field.trees is None:
        return "it needs the derivatives of its full mobility, which is a function that could not be traced"
    return None


def sources(system: System, names: Iterable[str], offset: int) -> list[str]:
    """The functions for some names; their parameters start at m[offset]."""
    parts: list[str] = []
    for name, field in fields(system, names).items():
        if field.trees is not None:
            parts.append(function_source(f"model_{name}", field.trees, field.names, offset))
        else:
            call = f"user_{name}(x, t)" if field.time_dependent else f"user_{name}(x)"
            parts.append(f"def model_{name}(m, x, t):\n    return ({call},)\n")
        offset += len(field.names)
    written_out = [_SOURCES[name](system) for name in names]
    if any("model_factor" in part for part in written_out):
        parts.append(_factor_source(system))
    return parts + [part for part in written_out if part]


def values(system: System, names: Iterable[str]) -> tuple[float, ...]:
    """The parameters of `sources`, in its order."""
    return tuple(value for field in fields(system, names).values() for value in field.values)


def fields(system: System, names: Iterable[str]) -> dict[str, Field]:
    """The fields behind some names that a model does not hold by itself."""
    found = {}
    if "energy" in names:
        value = system.energy.value
        found["energy"] = Field((1,), trees=(value.trees,), params=value.params) if value.trees is not None else value
    if "spurious" in names and _is_full(system):
        found["slopes"] = _slopes(system)
    return found


def _is_full(system: System) -> bool:
    return system.mobility.structure == "tensor"


def _slopes(system: System) -> Field:
    """d_c S^{ab} as [c][a][b]; the entries above the diagonal are those below it."""
    dim, rows = system.dim, system.mobility.rows()
    slopes = {(a, b): derive.gradient(rows[a][b], dim) for a in range(dim) for b in range(a + 1)}
    trees = tuple(
        tuple(tuple(slopes[max(a, b), min(a, b)][c] for b in range(dim)) for a in range(dim)) for c in range(dim)
    )
    return Field((dim, dim, dim), trees=trees, params=system.mobility.params)


def _function(head: str, lines: Sequence[str], results: Iterable[str]) -> str:
    return written.function(f"model_{head}", lines, results)


def _sum(terms: Sequence[str]) -> str:
    return " + ".join(terms) if terms else "0.0"


def _factor_source(system: System) -> str:
    """g: d entries of a diagonal, or d rows of a lower triangle of which those above the diagonal are left out."""
    dim, lines = system.dim, ["k = model_mobility(m, x, t)"]
    if not _is_full(system):
        heat = written.temperature(system)
        roots = [f"sqrt(2.0 * {heat} * {written.entry(system, a, a)})" for a in range(dim)]
        return _function("factor(m, x, t)", lines, roots)
    rows = (written.row(f"s * b{a}_{b}" for b in range(a + 1)) for a in range(dim))
    return _function("factor(m, x, t)", [*lines, *written.cholesky_lines(system)], rows)


def _entry(system: System, factor: str, a: int, j: int) -> str | None:
    """g^{aj} of a factor, None where it is zero."""
    if _is_full(system):
        return f"{factor}[{a}][{j}]" if j <= a else None
    return f"{factor}[{a}]" if a == j else None


def _along_source(system: System) -> str:
    points = []
    for j in range(system.dim):
        shifts = ((a, _entry(system, "f", a, j)) for a in range(system.dim))
        moved = [f"base[{a}] + s * {g}" if g else f"base[{a}]" for a, g in shifts]
        points.append(f"({', '.join(moved)},)")
    return _function("along_columns(m, x, t, base, s)", ["f = model_factor(m, x, t)"], points)


def _own_source(system: System) -> str:
    dim = system.dim
    lines = [f"f{j} = model_factor(m, points[{j}], t)" for j in range(dim)]
    factors = [[(j, _entry(system, f"f{j}", a, j)) for j in range(dim)] for a in range(dim)]
    return _function(
        "kick_own(m, points, t, w)", lines, [_sum([f"{g} * w[{j}]" for j, g in row if g]) for row in factors]
    )


def _others_source(system: System) -> str:
    dim = system.dim
    lines = [f"f{r} = model_factor(m, points[{r}], t)" for r in range(dim)]
    results = []
    for a in range(dim):
        pairs = ((r, j, _entry(system, f"f{r}", a, j)) for r in range(dim) for j in range(dim) if j != r)
        results.append(_sum([f"{g} * w[{r}][{j}]" for r, j, g in pairs if g]))
    return _function("kick_others(m, points, t, w)", lines, results)


def _whiten_source(system: System) -> str:
    dim, lines = system.dim, ["f = model_factor(m, x, t)"]
    for a in range(dim):
        terms = "".join(f" - f[{a}][{b}] * z{b}" for b in range(a)) if _is_full(system) else ""
        lines.append(f"z{a} = (v[{a}]{terms}) / {_entry(system, 'f', a, a)}")
    return _function("whiten(m, x, t, v)", lines, [f"z{a}" for a in range(dim)])


def _volume_source(system: System) -> str:
    entries = " * ".join(str(_entry(system, "f", a, a)) for a in range(system.dim))
    return _function("volume(m, x, t)", ["f = model_factor(m, x, t)"], [entries])


def _contains_source(system: System) -> str:
    tests = [f"(x[{a}] >= {low(a)}) & (x[{a}] <= {high(system, a)})" for a in system.domain.wall_axes]
    return _function("contains(m, x)", [], [" & ".join(tests) if tests else "x[0] == x[0]"])


def _spurious_source(system: System) -> str:
    """From dB = B L, L the lower triangle of B^-1 dS B^-T with half its diagonal.

    For column j the derivative along b^j = B e_j is wanted of that column alone: one back substitution for B^-T e_j and
    one forward for B^-1 of what dS makes of it.
    """
    dim, mobility = system.dim, system.mobility
    heat = written.temperature(system)
    if mobility.symmetric_is_constant:
        return _function("spurious(m, x, t)", [], ["0.0"] * dim)
    if not _is_full(system):  # B_aa d_a B_aa = d_a S_aa / 2
        lines = ["d = model_divergence(m, x, t)"]
        return _function("spurious(m, x, t)", lines, [f"0.5 * {heat} * d[{a}]" for a in range(dim)])
    lines = ["f = model_factor(m, x, t)", "k = model_slopes(m, x, t)"]
    totals: list[list[str]] = [[] for _ in range(dim)]
    for j in range(dim):
        for a in range(j, -1, -1):  # u = g^-T e_j
            terms = "".join(f" - f[{b}][{a}] * u{j}_{b}" for b in range(a + 1, j + 1))
            lines.append(f"u{j}_{a} = ({'1.0' if a == j else '0.0'}{terms}) / f[{a}][{a}]")
        for a in range(dim):  # (b^j . grad S) B^-T e_j: sqrt(2 T) has cancelled
            along = (f"({_sum([f'f[{c}][{j}] * k[{c}][{a}][{b}]' for c in range(j, dim)])})" for b in range(j + 1))
            lines.append(f"r{j}_{a} = {_sum([f'{value} * u{j}_{b}' for b, value in enumerate(along)])}")
        for a in range(dim):  # v = g^-1 of that
            terms = "".join(f" - f[{a}][{b}] * v{j}_{b}" for b in range(a))
            lines.append(f"v{j}_{a} = (r{j}_{a}{terms}) / f[{a}][{a}]")
        for a in range(j, dim):
            halves = [f"{'0.5 * ' if b == j else ''}f[{a}][{b}] * v{j}_{b}" for b in range(j, a + 1)]
            totals[a] += halves
    return _function("spurious(m, x, t)", lines, [f"{heat} * ({_sum(terms)})" for terms in totals])


_SOURCES: dict[str, Callable[[System], str]] = {
    "along_columns": _along_source,
    "kick_own": _own_source,
    "kick_others": _others_source,
    "whiten": _whiten_source,
    "volume": _volume_source,
    "contains": _contains_source,
    "spurious": _spurious_source,
    "energy": lambda system: "",
}

NAMES = tuple(_SOURCES)
