"""The kernel of a system of many coordinates: its functions take arrays (dim, n) and may use matrix products.

Particles are advanced in blocks of 128 columns, padded, so that a matrix product always has the same shape and a
particle the same bits. A step runs by component rows as in `rows`. Functions made of arithmetic, elementary functions
and matrix products are recorded and compiled with it; others are called by Python, on whole blocks, between compiled
loops.
"""

from __future__ import annotations

import numpy as np

from relaxsim.errors import IncompatibleSchemeError
from relaxsim.particles.batched_loops import CalledLoops, CompiledLoops
from relaxsim.particles.batched_step import translated
from relaxsim.particles.block_trace import Record, all_recorded
from relaxsim.particles.loop import Plan
from relaxsim.particles.placement import OnHost
from relaxsim.particles.random import BLOCK
from relaxsim.particles.schemes import Scheme
from relaxsim.system.field import Field
from relaxsim.system.region import Region
from relaxsim.system.system import System


class BatchedKernel(OnHost):
    """The loop of a batched system and a scheme; used like `Kernel`.

    Parameters
    ----------
    system : System
        With a batched energy.
    scheme : Scheme
        One whose step runs by rows and needs no more than the forces, K and div K.
    noise, walls, count_turns, dtype, regions
        As for `Kernel`; only the defaults are served.

    Raises
    ------
    IncompatibleSchemeError
        Noise, walls, windings or a precision that is not served; `choose` has refused schemes that are not.
    """

    def __init__(
        self,
        system: System,
        scheme: Scheme,
        noise: str = "gaussian",
        walls: str = "mirror",
        count_turns: bool = False,
        dtype: str = "float64",
        regions: tuple[Region, ...] = (),
    ) -> None:
        if regions:
            raise IncompatibleSchemeError("observables: FirstPassage does not serve batched systems")
        served = {"noise": "gaussian", "walls": "mirror", "store_windings": False, "dtype": "float64"}
        given = {"noise": noise, "walls": walls, "store_windings": count_turns, "dtype": dtype}
        for name, value in served.items():
            if given[name] != value:
                raise IncompatibleSchemeError(f"{name}: a batched system runs with {value!r} only, got {given[name]!r}")
        self.plan = Plan(system, scheme)
        constants = scheme.constants(system) if scheme.constants is not None else ()
        diagonal = system.mobility.diagonal_of(np.zeros((1, system.dim)))[0] if system.mobility.is_constant else ()
        ends = [*system.domain.lower, *system.domain.upper]
        recording = all_recorded(_fields(system), system.domain.sample_points(BLOCK).T)
        record, functions = recording or (Record(system.dim), {})
        numbers = np.array([*ends, *constants, *diagonal, *record.numbers])
        matrices = {str(k): matrix for k, matrix in enumerate(record.matrices)} | _mobility_matrices(system)
        parts = {
            name: translated(function, system, len(constants), functions)
            for name, function in (("step", scheme.step), ("output", scheme.output))
            if function is not None
        }
        self._loops: CalledLoops | CompiledLoops
        if recording is None:
            self._loops = CalledLoops(self.plan, parts, _fields(system), numbers, matrices)
        else:
            self._loops = CompiledLoops(self.plan, parts, numbers, matrices)
        self.source = self._loops.source
        self._reports = "output" in parts
        self.rows = self.stored_rows = system.dim

    def __call__(
        self,
        x: np.ndarray,
        begin: int,
        end: int,
        first_step: int,
        n_steps: int,
        t0: float,
        h: float,
        seed: int,
        live: int | None = None,
        first_particle: int = 0,
    ) -> int:
        """Advance the particles [begin, end) in place, see `Kernel.__call__`; both are multiples of 128."""
        live = x.shape[1] if live is None else live
        return self._loops.advance("step", x, begin, end, live, first_particle, first_step, n_steps, t0, h, seed)

    def report(self, x: np.ndarray, step: int, t0: float, h: float, seed: int, first_particle: int = 0) -> np.ndarray:
        """What the scheme reports for the state `x` after `step` steps."""
        if not self._reports:
            return x
        out, n = x.copy(), x.shape[1]
        self._loops.advance("output", out, 0, n, 0, first_particle, step, 1, t0, h, seed)
        return out

    def carried(self, state: np.ndarray, name: str) -> np.ndarray:
        """Nothing is carried."""
        raise KeyError(name)

    def carried_rows(self, name: str) -> slice:
        """Nothing is carried."""
        raise KeyError(name)

    def passage_times(self, state: np.ndarray, k: int) -> np.ndarray:
        """Nothing is watched."""
        raise IndexError(k)

    def initial_state(self, positions: np.ndarray, t0: float = 0.0) -> np.ndarray:
        """The state of particles at positions (n, dim)."""
        return np.ascontiguousarray(positions.T)

    def positions_of(self, state: np.ndarray) -> np.ndarray:
        """Positions (n, dim) of columns of a state."""
        return np.ascontiguousarray(state.T)

    def compile(self) -> None:
        """Compile now, before threads ask for it: every loop runs once, on a block at the sample points."""
        points = self.plan.system.domain.sample_points(BLOCK)
        self(self.initial_state(points), 0, BLOCK, 0, 1, 0.0, 1e-9, 0)
        self.report(self.initial_state(points), 0, 0.0, 1e-9, 0)


def _fields(system: System) -> dict[str, Field]:
    """The user's functions."""
    fields, mobility = {"gradient": system.energy.gradient_field}, system.mobility
    if not mobility.is_constant:
        fields |= {"mobility": mobility.field, "divergence": mobility.divergence_field}
    return fields


def _mobility_matrices(system: System) -> dict[str, np.ndarray]:
    """A constant mobility that couples axes, and its Cholesky factor."""
    mobility = system.mobility
    if not mobility.is_constant or not mobility.couples_axes:
        return {}
    origin = np.zeros(system.dim)
    return {"matrix": mobility(origin), "factor": np.linalg.cholesky(mobility.symmetric(origin))}
