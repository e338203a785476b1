"""The mobility of a system of many coordinates: a diagonal given by a function of arrays (dim, n)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from relaxsim.errors import InputError, MobilityError
from relaxsim.system.batched import DISAGREES, STEP, check_batched
from relaxsim.system.field import Field
from relaxsim.system.matrix_entries import probe_points
from relaxsim.system.mobility import Mobility
from relaxsim.system.validate import FloatArray, Problems

PROBED = 8  # axes along which the divergence is compared with differences


class BatchedMobility(Mobility):
    """diag(K_1(x), ..., K_d(x)) from a function that takes all points at once; made by `Mobility.from_function`."""

    @classmethod
    def of(
        cls, function: Callable[..., Any], divergence: Callable[..., Any] | None, dim: int | None, time_dependent: bool
    ) -> BatchedMobility:
        """The mobility of a function (dim, n) -> (dim, n) and of its divergence."""
        problems = Problems()
        check_batched("mobility", function, {"divergence": divergence}, dim, problems)
        problems.raise_if_any()
        made: BatchedMobility = cls._make("diagonal", dim, None, {})  # type: ignore[assignment]
        made._function, made._divergence, made._time_dependent = function, divergence, time_dependent
        return made

    @property
    def field(self) -> Field:
        """The d diagonal entries."""
        return self._batched(self._function)

    @property
    def divergence_field(self) -> Field:
        """d K_a/d x_a."""
        return self._batched(self._divergence)

    def why_not_separate(self, dim: int) -> str | None:
        """It may be, but that cannot be seen from a function."""
        return "its mobility is a batched function"

    def with_antisymmetric(self, *args: Any, **options: Any) -> Mobility:
        """Not served."""
        raise MobilityError("mobility: a batched mobility has no antisymmetric part; one of a constant mobility has")

    def bound_to(self, dim: int, points: FloatArray | None) -> Mobility:
        """This mobility, its divergence checked along some axes."""
        where = probe_points(dim, points)
        given = self.divergence_field(where)
        for axis in np.unique(np.linspace(0, dim - 1, PROBED).astype(int)):
            step = np.zeros(dim)
            step[axis] = STEP
            values = [self.field(where + k * step)[:, axis] for k in (-2, -1, 1, 2)]
            derived = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * STEP)
            size = np.abs(derived).max() + np.abs(values[1]).max()
            if np.abs(given[:, axis] - derived).max() > DISAGREES * size:
                k = int(np.argmax(np.abs(given[:, axis] - derived)))
                raise InputError(
                    f"divergence: disagrees with the mobility; dK_{axis}/dx_{axis} is {given[k, axis]:.9g} at a probe "
                    f"point, but {derived[k]:.9g} by differences. Correct it"
                )
        return self._copy()

    def _batched(self, function: Callable[..., Any] | None) -> Field:
        assert self.dim is not None
        return Field((self.dim,), function=function, time_dependent=self._time_dependent, batched=True)
