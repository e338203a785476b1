"""A system as source of straight-line functions: drift, noise, walls and what they are made of.

The same text is run on NumPy arrays (`ArrayModel`) and compiled into kernels. The functions take ``m``, the run-time
numbers ``(T, tables, lower..., upper..., parameters..., constants...)``, the position as a sequence of components, and
the time. They are plain numbers, not arrays: what depends on them alone then leaves the loop over particles.

With K = S + A, `model_mobility`, `_divergence`, `_diagonal` and `_kick` are of S, which makes the noise, and
`model_antisymmetric`, `_antisymmetric_divergence` of A; `model_drift` has both. A temperature that changes with time is
`model_temperature` of m and t; ``m[0]`` is nan then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from relaxsim.particles import entries as written
from relaxsim.particles import factor, walls
from relaxsim.particles.coordinates import Coordinates, hermite, position_source, table_index
from relaxsim.system import elementary
from relaxsim.system.field import Field
from relaxsim.system.matrix_entries import ZERO
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
    temperature = system.temperature if isinstance(system.temperature, float) else np.nan
    return (temperature, tables, *lower.tolist(), *upper.tolist(), *parameters, *constants)


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
            arguments = "m, t" if name == "temperature" else "m, x, t"
            parts.append(function_source(f"model_{name}", field.trees, field.names, offset, arguments))
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

        self.temperature = system.temperature  # a number, or a function of time: see `at`
        self.constants = tuple(constants)
        self._system, self._values = system, list(model_values(system, constants, coordinates))
        self._functions: dict[str, Any] = {name: getattr(elementary, name) for name in elementary.__all__}
        self._functions |= {"device": lambda function: function, "floor": np.floor, "where": where, "np": np}
        self._functions |= {"hermite": hermite, "table_index": table_index, **user_functions(system)}
        for name, field in _fields(system).items():
            if field.trees is None and name != "temperature":
                self._functions[f"user_{name}"] = on_arrays(field)
        exec(model_source(system, coordinates), self._functions)  # our own text, written from checked trees

    def at(self, t: float) -> ArrayModel:
        """The model whose `temperature` is the number that a step at time t sees."""
        if isinstance(self.temperature, float):
            return self
        other = object.__new__(ArrayModel)
        other.__dict__.update(self.__dict__, temperature=self.temperature(t))
        return other

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if f"model_{name}" not in self._functions:
            self._add(name)
        function = self._functions[f"model_{name}"]

        def call(x: Sequence[Any], *more: Any) -> list[Any]:
            leaf: Any = x
            while isinstance(leaf, (list, tuple)):
                leaf = leaf[0]
            return [_broadcast(value, np.shape(leaf)) for value in function(self._values, x, *more)]

        return call

    def _add(self, name: str) -> None:
        """A function that only some steps ask for."""
        if name not in factor.NAMES:
            raise AttributeError(f"a model has no {name!r}")
        self._functions |= {
            f"user_{field}": on_arrays(value) for field, value in factor.fields(self._system, (name,)).items()
        }
        parts = factor.sources(self._system, (name,), len(self._values))
        self._values += factor.values(self._system, (name,))
        exec("\n\n".join(f"@device\n{part}" for part in parts), self._functions)


def _broadcast(value: Any, shape: tuple[int, ...]) -> Any:
    """Numbers and arrays to a shape, points entry by entry."""
    if isinstance(value, tuple):
        return [_broadcast(entry, shape) for entry in value]
    return np.broadcast_to(value, shape)


def on_arrays(field: Field) -> Callable[..., Any]:
    """A field as a function of components, for functions that take one point at a time too."""

    def call(x: Sequence[Any], t: float = 0.0) -> Any:
        values = field(np.stack(np.broadcast_arrays(*x), axis=-1), t)
        return np.moveaxis(values, tuple(range(-len(field.shape), 0)), tuple(range(len(field.shape))))

    return call


def _fields(system: System) -> dict[str, Field]:
    """What is evaluated: the order is that of the parameters in `m`."""
    mobility = system.mobility
    fields = {
        "gradient": system.energy.gradient_field,
        "mobility": mobility.field,
        "divergence": mobility.divergence_field,
    }
    if not mobility.reversible:
        fields["antisymmetric"] = mobility.antisymmetric_field
        fields["antisymmetric_divergence"] = mobility.antisymmetric_divergence_field
    if not isinstance(system.temperature, float):
        fields["temperature"] = system.temperature.field
    return fields


def _diagonal_source(system: System) -> str:
    entries = (str(written.entry(system, a, a)) for a in range(system.dim))
    return written.function("model_diagonal(m, x, t)", ["k = model_mobility(m, x, t)"], entries)


def _drift_source(system: System) -> str:
    """T div K - K grad E of the full K."""
    dim = system.dim
    lines = ["g = model_gradient(m, x, t)", *written.read_mobility(system)]
    divergences: list[list[str]] = [[] for _ in range(dim)]
    for name, field in _divergences(system).items():
        lines.append(f"{name} = model_{'divergence' if name == 'd' else 'antisymmetric_divergence'}(m, x, t)")
        for a in range(dim):
            if name == "d" or field.trees is None or field.trees[a] != ZERO:
                divergences[a].append(f"{name}[{a}]")
    heat = written.temperature(system)
    drifts = []
    for a in range(dim):
        factors = ((written.full_entry(system, a, b), b) for b in range(dim))
        force = " + ".join(f"{factor} * g[{b}]" for factor, b in factors if factor)
        total = " + ".join(divergences[a])
        total = f"({total})" if len(divergences[a]) > 1 else total
        drifts.append(f"{heat} * {total} - ({force})" if total else f"-({force})")
    return written.function("model_drift(m, x, t)", lines, drifts)


def _divergences(system: System) -> dict[str, Field]:
    """The divergences that are not zero everywhere: `d` of S, `e` of A."""
    mobility, found = system.mobility, {}
    if not mobility.symmetric_is_constant:
        found["d"] = mobility.divergence_field
    if not mobility.reversible:
        field = mobility.antisymmetric_divergence_field
        if field.trees is None or any(tree != ZERO for tree in field.trees):
            found["e"] = field
    return found


def _kick_source(system: System) -> str:
    """sqrt(2 T) B z with B B^T = S, B diagonal or the lower triangle of Cholesky's factorisation."""
    dim, head, lines = system.dim, "model_kick(m, x, t, z)", ["k = model_mobility(m, x, t)"]
    if system.mobility.structure != "tensor":
        heat = written.temperature(system)
        kicks = [f"sqrt(2.0 * {heat} * {written.entry(system, a, a)}) * z[{a}]" for a in range(dim)]
        return written.function(head, lines, kicks)
    rows = (" + ".join(f"b{a}_{b} * z[{b}]" for b in range(a + 1)) for a in range(dim))
    return written.function(head, [*lines, *written.cholesky_lines(system)], (f"s * ({row})" for row in rows))
