"""A mobility K{p} that depends on the local density of probability, for densities only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from relaxsim.errors import MobilityError, ShapeError
from relaxsim.system.antisymmetric import ROUNDING
from relaxsim.system.field import Field
from relaxsim.system.given_twice import divergence_by_differences
from relaxsim.system.matrix_entries import check_symmetric, probe_points, structure_of, tuples_of_value
from relaxsim.system.mobility import Mobility
from relaxsim.system.validate import FloatArray, check_points

REFERENCE = 1.0  # density at which it is taken where none is given


class DensityMobility(Mobility):
    """S(x, p) + A(x, p); make one with `Mobility.of_density`. Without a density it is taken at p = 1."""

    depends_on_density = True
    _turning: Callable[..., Any] | None

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        antisymmetric: Callable[..., Any] | None,
        dim: int | None,
        time_dependent: bool,
    ) -> DensityMobility:
        """See `Mobility.of_density`."""
        for name, given in (("mobility", function), ("antisymmetric", antisymmetric)):
            if not callable(given) and not (given is None and name == "antisymmetric"):
                raise MobilityError(f"{name}: expected a function f(x, p), got {type(given).__name__}")
        made = cls._make("unknown", dim, None, {})
        made._function, made._time_dependent = function, time_dependent
        assert isinstance(made, cls)
        made._turning = antisymmetric
        return made if dim is None else made.bound_to(dim, None)

    # ---- values

    @property
    def reversible(self) -> bool:
        """Whether there is no antisymmetric part."""
        return self._turning is None

    @property
    def is_constant(self) -> bool:
        """Never."""
        return False

    @property
    def time_dependent(self) -> bool:
        """Whether K depends on t beside the density."""
        return self._time_dependent

    def symmetric(self, x: Any, t: float = 0.0, density: FloatArray | float = REFERENCE) -> FloatArray:
        """S at points (..., dim) and densities (...), shape (..., dim, dim)."""
        dim = self.dim or 1
        points = check_points(x, dim)
        shape = {"scalar": (), "diagonal": (dim,), "tensor": (dim, dim)}[self.structure]
        values = self._at(self._function, shape, points, t, density)
        if self.structure == "tensor":
            return values
        return np.asarray((values[..., None, None] if self.structure == "scalar" else values[..., None]) * np.eye(dim))

    def diagonal_of(self, x: Any, t: float = 0.0, density: FloatArray | float = REFERENCE) -> FloatArray:
        """The diagonal of S at points (..., dim), same shape."""
        return np.diagonal(self.symmetric(x, t, density), axis1=-2, axis2=-1)

    def antisymmetric(self, x: Any, t: float = 0.0, density: FloatArray | float = REFERENCE) -> FloatArray:
        """A at points (..., dim) and densities (...), shape (..., dim, dim)."""
        dim = self.dim or 1
        points = check_points(x, dim)
        if self._turning is None:
            return np.zeros((*points.shape, dim))
        upper = np.triu(self._at(self._turning, (dim, dim), points, t, density), 1)
        return np.asarray(upper - np.swapaxes(upper, -1, -2))

    def __call__(self, x: Any, t: float = 0.0, density: FloatArray | float = REFERENCE) -> FloatArray:
        """S + A at points (..., dim) and densities (...), shape (..., dim, dim)."""
        return self.symmetric(x, t, density) + self.antisymmetric(x, t, density)

    def divergence(self, x: Any, t: float = 0.0) -> FloatArray:
        """div K at points (..., dim) for the uniform density one, by differences."""
        return divergence_by_differences(lambda points: self(points, t), self.dim or 1)(check_points(x, self.dim or 1))

    def _at(
        self, function: Any, shape: tuple[int, ...], points: FloatArray, t: float, density: FloatArray | float
    ) -> FloatArray:
        """Values of a function of (x, p): the density goes through as one more coordinate."""
        p = np.broadcast_to(np.asarray(density, dtype=np.float64), points.shape[:-1])
        field = Field(shape, function=_of_extended_point(function), time_dependent=self._time_dependent)
        return field(np.concatenate([points, p[..., None]], axis=-1), t)

    # ---- what it cannot do

    def with_antisymmetric(self, *args: Any, **kwargs: Any) -> Mobility:
        """Not for this kind."""
        raise MobilityError("mobility: give A(x, p) as of_density(f, antisymmetric=g)")

    def with_params(self, params: Mapping[str, float]) -> Mobility:
        """It has none."""
        return self._copy()

    @property
    def field(self) -> Field:
        """Not for this kind."""
        raise MobilityError(f"mobility: {ONLY_DENSITIES}")

    # ---- binding

    def bound_to(self, dim: int, points: FloatArray | None) -> DensityMobility:
        """This mobility in `dim` coordinates, its values checked at points and density one."""
        other = self._copy()
        assert isinstance(other, DensityMobility)
        if self.dim is not None and self.dim != dim:
            raise ShapeError(f"mobility: made for {self.dim} coordinates, the rest of the system has {dim}")
        where, other.dim = probe_points(dim, points), dim
        extended = np.append(where[0], REFERENCE)
        value = tuples_of_value(_of_extended_point(self._function), extended, self._time_dependent)
        other.structure = structure_of(value, dim)
        if other.structure == "tensor":
            check_symmetric(other.symmetric(where), where)
        if self._turning is not None:
            matrices = other._at(self._turning, (dim, dim), where, 0.0, REFERENCE)
            gap = np.abs(matrices + np.swapaxes(matrices, -1, -2)).max()
            if not gap <= ROUNDING * np.abs(matrices).max():
                raise MobilityError(
                    f"antisymmetric: A(x, p) and minus its transpose differ by {gap:g}; return rows with A^ba = -A^ab"
                )
        return other

    def __repr__(self) -> str:
        where = f" in {self.dim} dimensions" if self.dim else ""
        return f"<Mobility: {self.structure} of the density{where}{'' if self.reversible else ', non-reversible'}>"


ONLY_DENSITIES = (
    "it depends on the density of probability, which a particle does not know; use FokkerPlanck, or a mobility of "
    "the position alone"
)


def _of_extended_point(function: Any) -> Callable[..., Any]:
    return lambda x, *t: function(x[:-1], x[-1], *t)
