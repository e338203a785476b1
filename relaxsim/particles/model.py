"""A system as source of straight-line functions: drift, noise, walls and what they are made of.

The same text is run on NumPy arrays (`ArrayModel`) and compiled into kernels. The functions take ``m``, the run-time
numbers ``(T, tables, lower..., upper..., parameters..., constants...)``, the position as a sequence of components, and
the time. They are plain numbers, not arrays: what depends on them alone then leaves the loop over particles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from relaxsim.particles import walls
from relaxsim.particles.coordinates import Coordinates, hermite, position_source, table_index
from relaxsim.system import elementary
from relaxsim.system.field import Field
from relaxsim.system.source import function_source
from relaxsim.system.system import System

ELEMENTARY = ", ".join(elementary.__all__)


def model_values(
    system: System, constants: Sequence[float] = (), coordinates: Coordinates | None = None
) -> tuple[Any, ...]:
    """The run-time numbers `m`."""
    lower, upper, tables = system.domain.lower, system.domain.upper, np.zeros((1, 3, 2))
    if coordinates is not None:
        lower, upper, tables = coordinates.lower, coordinates.upper, coordinates.tables
    parameters = (value for field in _fields(system).values() for value in field.values)
    return (system.temperature, tables, *lower.tolist(), *upper.tolist(), *parameters, *constants)


def first_parameter(system: System) -> int:
    """Where the parameters start in `m`, after the temperature, the tables and the ends of the box."""
    return 2 + 2 * system.dim


def first_constant(system: System) -> int:
    """Where a scheme's constants start in `m`."""
    return first_parameter(system) + sum(len(field.names) for field in _fields(system).values())


def model_source(system: System, coordinates: Coordinates | None = None) -> str:
    """Functions model_gradient, _mobility, _divergence, _diagonal, _drift, _kick, _inside, _mirror_sign as text.

    A decorator `device` is put before each.
    """
    parts, offset = [], first_parameter(system)
    for name, field in _fields(system).items():
        if field.trees is not None:
            parts.append(function_source(f"model_{name}", field.trees, field.names, offset))
        else:
            call = f"user_{name}(x, t)" if field.time_dependent else f"user_{name}(x)"
            parts.append(f"def model_{name}(m, x, t):\n    return {call}\n")
        offset += len(field.names)
    parts += [_diagonal_source(system), _drift_source(system), _kick_source(system)]
    parts += [walls.inside_source(system), walls.sign_source(system)]
    if coordinates is not None:
        parts.append(position_source(system))
    return "\n\n".join(f"@device\n{part}" for part in parts)


def user_functions(system: System) -> dict[str, Any]:
    """The Python functions that stand where no expression could be had."""
    fields = _fields(system).items()
    return {f"user_{name}": field.function for name, field in fields if field.trees is None}


class ArrayModel:
    """The model a scheme's step sees, on NumPy arrays: components may have any common shape."""

    def __init__(self, system: System, constants: Sequence[float] = (), coordinates: Coordinates | None = None) -> None:
        from relaxsim.particles.vector_math import where

        self.temperature = system.temperature
        self.constants = tuple(constants)
        self._values = model_values(system, constants, coordinates)
        self._functions: dict[str, Any] = {name: getattr(elementary, name) for name in elementary.__all__}
        self._functions |= {"device": lambda function: function, "floor": np.floor, "where": where, "np": np}
        self._functions |= {"hermite": hermite, "table_index": table_index, **user_functions(system)}
        exec(model_source(system, coordinates), self._functions)  # our own text, written from checked trees

    def __getattr__(self, name: str) -> Any:
        function = self._functions[f"model_{name}"]

        def call(x: Sequence[Any], *more: Any) -> list[Any]:
            values = function(self._values, x, *more)
            return [np.broadcast_to(value, np.shape(x[0])) for value in values]

        return call


def _fields(system: System) -> dict[str, Field]:
    return {
        "gradient": system.energy.gradient_field,
        "mobility": system.mobility.field,
        "divergence": system.mobility.divergence_field,
    }


def entry(system: System, a: int, b: int) -> str | None:
    """How an entry of K is written, None where it is zero."""
    structure = system.mobility.structure
    if structure == "tensor":
        return f"k[{a}][{b}]"
    if a != b:
        return None
    return "k" if structure == "scalar" else f"k[{a}]"


def _tuple(entries: Sequence[str]) -> str:
    return "(" + "".join(f"{value}, " for value in entries) + ")"


def _diagonal_source(system: System) -> str:
    entries = [str(entry(system, a, a)) for a in range(system.dim)]
    return f"def model_diagonal(m, x, t):\n    k = model_mobility(m, x, t)\n    return {_tuple(entries)}\n"


def _drift_source(system: System) -> str:
    lines = ["def model_drift(m, x, t):", "    g = model_gradient(m, x, t)", "    k = model_mobility(m, x, t)"]
    constant = system.mobility.is_constant
    if not constant:
        lines.append("    d = model_divergence(m, x, t)")
    drifts = []
    for a in range(system.dim):
        force = " + ".join(f"{entry(system, a, b)} * g[{b}]" for b in range(system.dim) if entry(system, a, b))
        drifts.append(f"-({force})" if constant else f"m[0] * d[{a}] - ({force})")
    return "\n".join([*lines, f"    return {_tuple(drifts)}", ""])


def _kick_source(system: System) -> str:
    """sqrt(2 T) B z with B diagonal, or the lower triangle of Cholesky's factorisation."""
    dim, head = system.dim, ["def model_kick(m, x, t, z):", "    k = model_mobility(m, x, t)"]
    if system.mobility.structure != "tensor":
        entries = [f"sqrt(2.0 * m[0] * {entry(system, a, a)}) * z[{a}]" for a in range(dim)]
        return "\n".join([*head, f"    return {_tuple(entries)}", ""])
    lines = [*head, "    s = sqrt(2.0 * m[0])"]
    for a in range(dim):
        for b in range(a):
            terms = "".join(f" - b{a}_{c} * b{b}_{c}" for c in range(b))
            # on a wall K may be singular: there the entry above a zero pivot is zero too
            lines.append(f"    b{a}_{b} = (k[{a}][{b}]{terms}) / (b{b}_{b} + 1e-300)")
        terms = "".join(f" - b{a}_{c} * b{a}_{c}" for c in range(a))
        lines.append(f"    p{a} = k[{a}][{a}]{terms}")
        # rounding may leave a zero pivot below zero; anything beyond is no mobility and gives nan
        lines.append(f"    b{a}_{a} = sqrt(where(abs(p{a}) <= 1e-12 * k[{a}][{a}], abs(p{a}), p{a}))")
    rows = [" + ".join(f"b{a}_{b} * z[{b}]" for b in range(a + 1)) for a in range(dim)]
    return "\n".join([*lines, f"    return {_tuple([f's * ({row})' for row in rows])}", ""])
