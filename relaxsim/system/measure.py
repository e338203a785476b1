"""Densities with respect to a measure sqrt(g) dx: systems on a manifold, in coordinates.

With p the density with respect to sqrt(g) dx, rho = sqrt(g) p is the one with respect to dx and obeys the flat equation
with the energy E - T ln sqrt(g). So a system on a manifold is the flat one of that energy: its particles have the Itô
drift (T/sqrt(g)) d_b(sqrt(g) K^ab) - K^ab d_b E, its law at rest is exp(-E/T) sqrt(g) dx/Z, and its free energy
<E> + T <ln p> is that of the flat description, number for number; energy and entropy each differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import InputError, ShapeError
from relaxsim.system import elementary
from relaxsim.system.energy import Energy
from relaxsim.system.field import format_point
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.system import System
from relaxsim.system.temperature import Temperature
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid

HEAT = "measure_temperature"  # the parameter that holds T in front of ln sqrt(g)


class Measure:
    """sqrt(g), the density of a measure with respect to dx.

    Parameters
    ----------
    expression : str or callable
        Text such as ``"sin(x)"`` or a function of a point, positive inside the domain; constant in time.
    params : mapping of str to float, optional
        Values of named parameters in the text.

    Raises
    ------
    ExpressionError, InputError
        As for an `Energy`.
    """

    def __init__(self, expression: str | Callable[..., Any], *, params: Mapping[str, float] | None = None) -> None:
        try:
            self._field = Energy(expression, params=params)
        except ValueError as error:
            raise type(error)(f"measure: {str(error).removeprefix('energy: ')}") from None
        if self._field.time_dependent:
            raise InputError("measure: it must not depend on the time")
        self.expression, self.params = expression, self._field.params

    @classmethod
    def coerce(cls, value: Any) -> Measure:
        """A measure from a text, a function or a measure."""
        return value if isinstance(value, Measure) else cls(value)

    def __call__(self, x: FloatArray) -> FloatArray:
        """sqrt(g) at points (..., dim), shape (...)."""
        points = np.asarray(x, dtype=np.float64)
        if points.shape[-1] < self._field.min_dim:
            raise ShapeError(f"measure: it uses {self._field.min_dim} coordinates, there are {points.shape[-1]}")
        return self._field.value(points)

    def check(self, points: FloatArray) -> None:
        """Raise where it is not a positive finite number."""
        with np.errstate(all="ignore"):
            values = self(points)
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            where = format_point(points[bad][0])
            raise InputError(
                f"measure: expected sqrt(g) positive and finite, got {values[bad][0]:g} at {where}; the chart has to "
                "end before"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Measure):
            return NotImplemented
        return self.expression == other.expression and self.params == other.params

    def __hash__(self) -> int:
        return hash((self.expression, tuple(sorted(self.params.items()))))

    def __repr__(self) -> str:
        shown = repr(self.expression) if isinstance(self.expression, str) else self.expression.__name__
        return f"Measure({shown}{f', params={self.params}' if self.params else ''})"


class ManifoldSystem(System):
    """A system on a manifold with measure sqrt(g) dx; `System.on_manifold` makes it.

    It is a `System` whose `energy` is E - T ln sqrt(g), and serves everywhere. `replace` and `with_params` change the
    system it was made from.

    Attributes
    ----------
    base : System
        With the energy E.
    measure : Measure
    """

    base: System
    measure: Measure

    def __init__(self, base: System, measure: Measure) -> None:
        measure.check(base.domain.sample_points())
        super().__init__(_with_measure(base, measure), base.mobility, base.temperature, base.domain)
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "measure", measure)

    def replace(self, **changes: Any) -> System:
        """Another system on the same manifold with some of energy, mobility, temperature, domain replaced."""
        return ManifoldSystem(self.base.replace(**changes), self.measure)

    def with_params(self, **params: float) -> System:
        """Another system on the same manifold with other values of named parameters of E, K or T."""
        return ManifoldSystem(self.base.with_params(**params), self.measure)

    def __repr__(self) -> str:
        return f"{self.base!r}.on_manifold({self.measure!r})"


def on_manifold(system: System, measure: Any) -> System:
    """The system with respect to a measure; the same one if it has that measure already.

    Raises
    ------
    InputError
        It has another measure, moves its temperature, or is batched.
    """
    wanted = Measure.coerce(measure)
    if isinstance(system, ManifoldSystem):
        if system.measure != wanted:
            raise InputError(
                f"measure: the system has {system.measure!r} already, got {wanted!r}; use system.base.on_manifold(...)"
            )
        return system
    return ManifoldSystem(system, wanted)


def _with_measure(base: System, measure: Measure) -> Energy:
    """E - T ln sqrt(g)."""
    if isinstance(base.temperature, Temperature):
        raise InputError("measure: a temperature that moves is not served on a manifold")
    energy, density = base.energy, measure.expression
    if energy.batched:
        raise InputError("measure: a batched energy is not served on a manifold; write it for one point")
    heat = float(base.temperature)
    if isinstance(energy.expression, str) and isinstance(density, str):
        clash = sorted(k for k in energy.params.keys() & measure.params.keys() if energy.params[k] != measure.params[k])
        if clash:
            raise InputError(f"measure: its parameter {clash[0]!r} has another value in the energy; rename it")
        return Energy(
            f"({energy.expression}) - {HEAT}*log({density})",
            variables=energy.variables,
            dim=base.dim if energy.variables is None else None,
            params=energy.params | measure.params | {HEAT: heat},
        )
    if isinstance(energy.expression, str) or isinstance(density, str):
        raise InputError(
            "measure: write energy and measure both as texts or both as functions; here the "
            f"{'energy is a text' if isinstance(energy.expression, str) else 'measure is a text'}, the other a function"
        )
    given, root = energy.expression, density
    if energy.time_dependent:
        return Energy(lambda x, t: given(x, t) - heat * elementary.log(root(x)), dim=base.dim, time_dependent=True)
    return Energy(lambda x: given(x) - heat * elementary.log(root(x)), dim=base.dim)


def measure_of(system: Any) -> Measure | None:
    """The measure of a system, None for dx."""
    return system.measure if isinstance(system, ManifoldSystem) else None


def own_energy(system: Any, x: FloatArray, t: float = 0.0) -> FloatArray:
    """E at points (..., dim), shape (...), without what the measure adds to it."""
    return np.asarray(system.base.energy(x, t) if isinstance(system, ManifoldSystem) else system.energy(x, t))


def cell_measures(system: Any, grid: Grid) -> FloatArray | float:
    """The integral of sqrt(g) over each cell, shape grid.shape; the volume of a cell where there is no measure."""
    measure = measure_of(system)
    if measure is None:
        return grid.cell_volume
    root = measure
    # the Gibbs masses of E = 0, with the care for ends at which sqrt(g) is infinite that these take
    still: Any = SimpleNamespace(energy=lambda x, t: -np.log(root(x)), temperature=1.0, measure=root)
    log_shares, log_total = log_cell_weights(still, grid)
    return np.asarray(np.exp(log_shares + log_total))
