"""What runs the source of `batched_source`: with Python between the loops of a step, or compiled as a whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relaxsim import _jit
from relaxsim.errors import ShapeError
from relaxsim.particles.batched_source import called_source, compiled_source, folds, rooms
from relaxsim.particles.loop import Plan
from relaxsim.particles.random import BLOCK
from relaxsim.particles.rows import RowsStep
from relaxsim.system.field import Field


class CompiledLoops:
    """For functions that were recorded.

    Parameters
    ----------
    plan : Plan
    parts : dict of RowsStep
        The scheme's step and perhaps its output.
    numbers : ndarray
        Those that the parts refer to.
    matrices : mapping
        Those that the parts multiply with.
    """

    def __init__(
        self, plan: Plan, parts: dict[str, RowsStep], numbers: np.ndarray, matrices: Mapping[str, np.ndarray]
    ) -> None:
        self.source = compiled_source(plan, parts, list(matrices))
        self._system, self._numbers = plan.system, numbers
        self._matrices = np.array([*matrices.values()], dtype=np.float64).reshape(len(matrices), plan.system.dim**2)
        module = _jit.load_generated(self.source, {})
        self._functions = {name: getattr(module, f"advance_{name}") for name in parts}

    def advance(
        self,
        what: str,
        x: np.ndarray,
        begin: int,
        end: int,
        live: int,
        first_particle: int,
        first_step: int,
        n_steps: int,
        t0: float,
        h: float,
        seed: int,
    ) -> int:
        """Advance blocks by the part `what`; the first block that is not finite, or -1."""
        temperatures = np.array([self._system.temperature_at(t0 + (first_step + k) * h) for k in range(n_steps)])
        found = self._functions[what](
            x, begin, end, live, first_particle, first_step, n_steps, t0, h, np.uint64(seed), self._numbers,
            self._matrices, temperatures,
        )  # fmt: skip
        return int(found)


class CalledLoops:
    """For functions that Python has to call; parameters as for `CompiledLoops`, and the functions."""

    def __init__(
        self,
        plan: Plan,
        parts: dict[str, RowsStep],
        fields: Mapping[str, Field],
        numbers: np.ndarray,
        matrices: Mapping[str, np.ndarray],
    ) -> None:
        self.source = called_source(plan, parts)
        self._plan, self._numbers = plan, numbers
        self._model = _Model(fields, matrices)
        self._rooms, self._folds = rooms(plan, parts), folds(plan.system)
        self._module = _jit.load_generated(self.source, {})

    def advance(
        self,
        what: str,
        x: np.ndarray,
        begin: int,
        end: int,
        live: int,
        first_particle: int,
        first_step: int,
        n_steps: int,
        t0: float,
        h: float,
        seed: int,
    ) -> int:
        """As that of `CompiledLoops`."""
        lists = {name: np.empty(size) for name, size in self._rooms.items()}
        wraps = bool(self._folds) and (self._plan.wraps or what == "output")
        function, heat = getattr(self._module, what), self._plan.system.temperature_at
        with np.errstate(all="ignore"):
            for start in range(begin, end, BLOCK):
                lists["x"].reshape(-1, BLOCK)[...] = x[:, start : start + BLOCK]
                address = np.uint64(seed), first_particle + start
                for k in range(first_step, first_step + n_steps):
                    t = t0 + k * h
                    function(self._model, lists, self._fold, *address, np.uint64(k), self._numbers, heat(t), t, h)
                    if wraps:
                        self._fold(lists["x"])
                block = lists["x"].reshape(-1, BLOCK)
                # particles that only fill the last block may do what they like
                if not np.isfinite(block[:, : max(live - start, 0)]).all():
                    return start
                x[:, start : start + BLOCK] = block
        return -1

    def _fold(self, x: np.ndarray) -> np.ndarray:
        """The coordinates of a block folded back into the box, in place."""
        for kind, first, last in self._folds:
            getattr(self._module, f"fold_{kind}")(self._numbers, first, last, x)
        return x


class _Model:
    """What a step by rows asks of a batched system; lists are flat, rows of 128."""

    def __init__(self, fields: Mapping[str, Field], matrices: Mapping[str, np.ndarray]) -> None:
        self.fields, self.matrices = fields, matrices

    def value(self, name: str, x: np.ndarray, t: float) -> np.ndarray:
        """A function of the user's at a block; its shape is checked, a wrong one would mix up particles."""
        field, columns = self.fields[name], x.reshape(-1, BLOCK)
        assert field.function is not None
        value = field.function(columns, t) if field.time_dependent else field.function(columns)
        if np.shape(value) != columns.shape:
            raise ShapeError(f"{name}: expected an array of shape {columns.shape} from it, got {np.shape(value)}")
        flat: np.ndarray = np.ascontiguousarray(value, dtype=np.float64).reshape(-1)
        return flat

    def times(self, name: str, v: np.ndarray) -> np.ndarray:
        """The constant mobility, or its Cholesky factor, times a list."""
        product: np.ndarray = self.matrices[name] @ v.reshape(-1, BLOCK)
        return product.reshape(-1)
