"""A system as source of straight-line functions: drift, noise factor and what they are made of.

The same text is run on NumPy arrays (`ArrayModel`) and compiled into kernels. The functions take ``m``, the run-time
numbers ``(T, parameters...)``, the position as a sequence of components, and the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from relaxsim.system import elementary
from relaxsim.system.field import Field
from relaxsim.system.source import function_source
from relaxsim.system.system import System

ELEMENTARY = ", ".join(elementary.__all__)


def model_values(system: System) -> tuple[float, ...]:
    """The run-time numbers: temperature, then the parameters of the gradient, K and div K."""
    return (system.temperature, *(value for field in _fields(system).values() for value in field.values))


def model_source(system: System) -> str:
    """Functions model_gradient, _mobility, _divergence, _drift and _kick as text; a decorator `device` is put before
    each."""
    parts, offset = [], 1
    for name, field in _fields(system).items():
        if field.trees is not None:
            parts.append(function_source(f"model_{name}", field.trees, field.names, offset))
        else:
            call = f"user_{name}(x, t)" if field.time_dependent else f"user_{name}(x)"
            parts.append(f"def model_{name}(m, x, t):\n    return {call}\n")
        offset += len(field.names)
    parts.append(_drift_source(system))
    parts.append(_kick_source(system))
    return "\n\n".join(f"@device\n{part}" for part in parts)


def user_functions(system: System) -> dict[str, Any]:
    """The Python functions that stand where no expression could be had."""
    fields = _fields(system).items()
    return {f"user_{name}": field.function for name, field in fields if field.trees is None}


class ArrayModel:
    """The model a scheme's step sees, on NumPy arrays: components may have any common shape."""

    def __init__(self, system: System) -> None:
        self.temperature = system.temperature
        self._values = model_values(system)
        self._functions: dict[str, Any] = {name: getattr(elementary, name) for name in elementary.__all__}
        self._functions |= {"device": lambda function: function, **user_functions(system)}
        exec(model_source(system), self._functions)  # our own text, written from checked trees

    def __getattr__(self, name: str) -> Any:
        function = self._functions[f"model_{name}"]

        def call(x: Sequence[Any], t: float, *more: Any) -> list[Any]:
            values = function(self._values, x, t, *more)
            return [np.broadcast_to(value, np.shape(x[0])) for value in values]

        return call


def _fields(system: System) -> dict[str, Field]:
    return {
        "gradient": system.energy.gradient_field,
        "mobility": system.mobility.field,
        "divergence": system.mobility.divergence_field,
    }


def _entry(system: System, a: int, b: int) -> str | None:
    """How an entry of K is written, None where it is zero."""
    structure = system.mobility.structure
    if structure == "tensor":
        return f"k[{a}][{b}]"
    if a != b:
        return None
    return "k" if structure == "scalar" else f"k[{a}]"


def _drift_source(system: System) -> str:
    lines = ["def model_drift(m, x, t):", "    g = model_gradient(m, x, t)", "    k = model_mobility(m, x, t)"]
    constant = system.mobility.is_constant
    if not constant:
        lines.append("    d = model_divergence(m, x, t)")
    drifts = []
    for a in range(system.dim):
        force = " + ".join(f"{_entry(system, a, b)} * g[{b}]" for b in range(system.dim) if _entry(system, a, b))
        drifts.append(f"-({force})" if constant else f"m[0] * d[{a}] - ({force})")
    return "\n".join([*lines, f"    return ({''.join(f'{drift}, ' for drift in drifts)})", ""])


def _kick_source(system: System) -> str:
    """sqrt(2 T) B z with B diagonal, or the lower triangle of Cholesky's factorisation."""
    dim, head = system.dim, ["def model_kick(m, x, t, z):", "    k = model_mobility(m, x, t)"]
    if system.mobility.structure != "tensor":
        entries = [f"sqrt(2.0 * m[0] * {_entry(system, a, a)}) * z[{a}]" for a in range(dim)]
        return "\n".join([*head, f"    return ({''.join(f'{entry}, ' for entry in entries)})", ""])
    lines = [*head, "    s = sqrt(2.0 * m[0])"]
    for a in range(dim):
        for b in range(a):
            terms = "".join(f" - b{a}_{c} * b{b}_{c}" for c in range(b))
            # on a wall K may be singular: there the entry above a zero pivot is zero too
            lines.append(f"    b{a}_{b} = (k[{a}][{b}]{terms}) / (b{b}_{b} + 1e-300)")
        terms = "".join(f" - b{a}_{c} * b{a}_{c}" for c in range(a))
        lines.append(f"    p{a} = k[{a}][{a}]{terms}")
        lines.append(f"    b{a}_{a} = sqrt(0.5 * (p{a} + abs(p{a})))")
    rows = [" + ".join(f"b{a}_{b} * z[{b}]" for b in range(a + 1)) for a in range(dim)]
    return "\n".join([*lines, f"    return ({''.join(f's * ({row}), ' for row in rows)})", ""])
