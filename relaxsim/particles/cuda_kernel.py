"""A kernel on a graphics card, with the interface of `Kernel`: the same steps, addresses and walls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numba.core.errors import NumbaError

from relaxsim import _jit
from relaxsim.errors import IncompatibleSchemeError, InputError
from relaxsim.particles import cuda
from relaxsim.particles.cuda_noise import group_of
from relaxsim.particles.cuda_source import cuda_source
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.random import BLOCK
from relaxsim.particles.schemes import Scheme
from relaxsim.system.region import Region
from relaxsim.system.system import System

_NONE = np.iinfo(np.int64).max


class CudaKernel(Kernel):
    """The loop of a system and a scheme for a card; used like `Kernel`, on arrays of the host or a `DeviceState`.

    Parameters
    ----------
    system, scheme, noise, walls, count_turns, dtype, regions
        As for `Kernel`.
    needs_card : bool
        False to write kernels, and compile them to PTX, where there is no card.

    Raises
    ------
    GPUUnavailableError
        There is no card to run on.
    """

    device: ClassVar[str] = "cuda"

    def __init__(
        self,
        system: System,
        scheme: Scheme,
        noise: str = "gaussian",
        walls: str = "mirror",
        count_turns: bool = False,
        dtype: str = "float64",
        regions: tuple[Region, ...] = (),
        needs_card: bool = True,
    ) -> None:
        if system.batched:
            raise IncompatibleSchemeError(
                "device: a batched system runs on the CPU only: its functions are Python that is called with whole "
                "arrays, which a kernel on a card cannot do"
            )
        if needs_card:
            cuda.card()
        self._lock = Lock()  # threads may report pieces at once
        super().__init__(system, scheme, noise, walls, count_turns, dtype, regions)
        self._values = self._values[:-1]  # the array of the same numbers is for loops over coordinates
        self._threads = BLOCK // len(group_of(self.plan))
        self._numbers: tuple[Any, ...] | None = None

    def _written(self) -> str:
        return cuda_source(self.plan, self.coordinates, len(self._constants))

    def _load(self, functions: dict[str, Any]) -> ModuleType:
        return _jit.load_generated(self.source, {name: cuda.device(f) for name, f in functions.items()})

    def __call__(
        self,
        x: Any,
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
        """Advance the particles [begin, end) of `x` in place, as `Kernel` does.

        Blocks after one that became non-finite are advanced all the same.
        """
        state = self.resident(x)
        live = x.shape[1] if live is None else live
        bad = cuda.to_card(np.array([_NONE]))
        numbers = (first_particle, first_step, n_steps, float(t0), float(h), np.uint64(seed), self._on_card())
        with self._lock:
            cuda.launch(self._run, (end - begin) // BLOCK, self._threads, state.array, bad, begin, live, *numbers)
        if state is not x and end > begin:
            x[:] = state.host()
        first = int(bad.copy_to_host()[0])
        return -1 if first == _NONE else first

    def report(self, x: np.ndarray, step: int, t0: float, h: float, seed: int, first_particle: int = 0) -> np.ndarray:
        """What the scheme reports for the state `x` after `step` steps, in an array of the same shape."""
        if self._report is None:
            return x
        state, out = self.resident(x), cuda.DeviceState(np.empty(x.shape, dtype=x.dtype))
        numbers = (first_particle, step, float(t0), float(h), np.uint64(seed), self._on_card())
        with self._lock:
            cuda.launch(self._report, x.shape[1] // BLOCK, self._threads, state.array, out.array, 0, *numbers)
        return out.host()

    def resident(self, x: Any) -> Any:
        """The state on the card, where it stays from call to call."""
        return x if isinstance(x, cuda.DeviceState) else cuda.DeviceState(x)

    def compile(self) -> None:
        """Compile now, for the card at hand."""
        empty = np.zeros((self.rows, BLOCK), dtype=self.plan.dtype)
        with self._explained():
            self(empty, 0, BLOCK, 0, 0, 0.0, 1.0, 0, live=0)
            self.report(empty, 0, 0.0, 1.0, 0)

    def ptx(self, capability: tuple[int, int]) -> dict[str, str]:
        """The kernels' PTX for a compute capability; needs no card.

        Parameters
        ----------
        capability : tuple of int
            Such as (8, 0) or (9, 0).

        Returns
        -------
        dict of str to str
            "run", and "report" where the scheme reports something else than its state.
        """
        x = np.zeros((self.rows, BLOCK), dtype=self.plan.dtype)
        last = (0.0, 1.0, np.uint64(0), self._values)
        with self._explained():
            found = {"run": cuda.kernel_ptx(self._run, (x, np.array([_NONE]), 0, 0, 0, 0, 0, *last), capability)}
            if self._report is not None:
                found["report"] = cuda.kernel_ptx(self._report, (x, x, 0, 0, 0, *last), capability)
        return found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which Python functions a compiler that failed is about."""
        try:
            yield
        except NumbaError as error:
            if not self._functions:
                raise
            names = ", ".join(sorted(self._functions)).replace("user_", "")
            raise InputError(
                f"device='cuda': the Python functions of this system ({names}) cannot be compiled for a card; write "
                f"them with arithmetic and relaxsim.elementary, or as text. The compiler says: {str(error)[-500:]}"
            ) from error

    def _on_card(self) -> tuple[Any, ...]:
        """The run-time numbers, the tables among them on the card."""
        if self._numbers is None:
            self._numbers = tuple(cuda.to_card(v) if isinstance(v, np.ndarray) else v for v in self._values)
        return self._numbers
