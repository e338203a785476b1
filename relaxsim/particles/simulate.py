"""Run an ensemble: check the arguments, draw the initial positions, drive the kernel from one stored time to the
next."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import DivergedError, IncompatibleSchemeError
from relaxsim.particles.arguments import check_options, seed_from, whole_steps
from relaxsim.particles.batched import BatchedKernel
from relaxsim.particles.divergence import dt_hint, smallest_mobility
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.path import EnsemblePath
from relaxsim.particles.random import BLOCK, INITIAL, PACKING_VERSION, Address
from relaxsim.particles.schemes import Scheme, choose
from relaxsim.particles.suggest import warn_if_unstable
from relaxsim.particles.walls import periodic_axes
from relaxsim.progress import Bar, progress_bar
from relaxsim.system.initial import Law
from relaxsim.system.system import System, check_mobility
from relaxsim.system.temperature import check_over
from relaxsim.system.validate import FloatArray, Problems, check_times, positive_integer, positive_number

AnyKernel = Kernel | BatchedKernel

logger = logging.getLogger("relaxsim")

PIECE = 1 << 16  # particles that are drawn or reported at a time
CALL_SECONDS = 0.2  # how long a kernel runs before progress is shown and an interrupt is noticed


def simulate(
    system: System,
    initial: Law,
    *,
    n_particles: int,
    dt: float,
    times: Any,
    scheme: str | Scheme = "auto",
    rng: int | np.random.Generator | None = None,
    threads: int | None = None,
    store: str = "all",
    noise: str = "gaussian",
    walls: str = "mirror",
    dtype: str = "float64",
    stationary: bool = False,
    store_windings: bool = False,
    progress: bool | None = None,
) -> EnsemblePath:
    """Simulate an ensemble of independent particles.

    They follow dx = [T div K - K grad E] dt + sqrt(2 T) dW with dW ~ N(0, S dt) (Itô), S the symmetric part of K, whose
    stationary law is exp(-E/T)/Z. The scheme's own stationary law differs from it by its order in `dt` (see
    `relaxsim.particles.schemes`).

    Parameters
    ----------
    system : System
        What is simulated.
    initial : law from `relaxsim.initial`
        Law of the positions at times[0].
    n_particles : int
        Number of particles. Particle i is the same in every larger ensemble.
    dt : float
        Time step; every stored time must be a whole number of steps after the first.
    times : array_like, shape (n_times,)
        Increasing times to store; the first is the initial time.
    scheme : str or Scheme, default "auto"
        Id of a scheme (`relaxsim schemes` lists them), "auto" for the one of highest rank that can run the system, or
        a scheme of your own; `path.scheme` says which ran.
    rng : int, numpy.random.Generator or None
        An int 0 <= rng < 2**64 is the seed itself, a Generator gives one, None draws a fresh one; `path.seed` keeps it.
    threads : int, optional
        Threads to use, by default all cores this process may run on. The result does not depend on it.
    store : {"all", "final"}
        Keep the positions at all times, or at the last only.
    noise : {"gaussian", "three-point", "two-point"}
        Law of a step's noise. Three-point noise keeps the orders of every scheme that takes it at a fraction of the
        cost, two-point noise is of order 1; with either only averages mean something, not single paths.
    walls : {"mirror", "lepingle"}
        How reflecting walls are met: by mirror images, or by Lépingle's push (Euler-Maruyama alone), which is exact for
        constant coefficients and one flat wall; with a full K the corners of a box are worse than with mirrors.
    dtype : {"float64", "float32"}
        Precision of the positions, and of all arithmetic that advances them.
    stationary : bool
        Say True to use a scheme that has the right stationary law but not the right path.
    store_windings : bool
        Count the turns around periodic axes, for `path.unwrapped()`.
    progress : bool, optional
        Show a progress bar; by default after 2 s when stderr is a terminal.

    Returns
    -------
    EnsemblePath

    Raises
    ------
    InputError, ShapeError, IncompatibleSchemeError
        Arguments that cannot be used; all problems in one message.
    DivergedError
        A particle became infinite or not a number: which, when, where, and a smaller dt to try.

    Warns
    -----
    StabilityWarning
        `dt` is beyond linear stability, or a step is longer than the box; `suggest_dt` finds one that is not.
    """
    problems = Problems()
    run = _Run.checked(system, initial, n_particles, dt, times, rng, threads, store, problems)
    check_options(walls, dtype, problems)
    problems.raise_if_any()
    run.check_mobility(problems)
    problems.raise_if_any()
    row = choose(scheme, system, noise, stationary)
    warn_if_unstable(system, initial, run.dt, float(run.times[0]), run.n, run.seed, row)
    kernel = _kernel(system, row, noise, walls, store_windings, dtype)
    stored = run.integrate(kernel, initial, progress)
    positions = np.swapaxes(stored[:, : system.dim], 1, 2)
    times = run.times if store == "all" else run.times[-1:]
    return EnsemblePath(
        times=times,
        positions=positions,
        noise=noise,
        windings=_windings(system, stored) if store_windings else None,
        weights=_weights(system, row, positions, times, float(run.times[0])) if row.weights is not None else None,
        acceptance=run.acceptance,
        system=system,
        dt=run.dt,
        t0=float(run.times[0]),
        scheme=row.id,
        seed=run.seed,
        threads=run.threads,
        packing_version=PACKING_VERSION,
    )


def warmup(system: System, scheme: str | Scheme = "auto", *, noise: str = "gaussian") -> float:
    """Compile what `simulate` will need for a system, and for all systems of the same form.

    Parameters
    ----------
    system : System
        Values of parameters, temperature, mobility constants and bounds do not matter, the form does.
    scheme, noise
        As for `simulate`.

    Returns
    -------
    float
        Seconds it took; a later process on the same machine loads the result from disk.
    """
    started = time.perf_counter()
    _kernel(system, choose(scheme, system, noise, stationary=True), noise, "mirror", False, "float64")
    return time.perf_counter() - started


def _kernel(system: System, row: Scheme, noise: str, walls: str, windings: bool, dtype: str) -> AnyKernel:
    """The compiled kernel; how long it took is logged."""
    if walls == "lepingle" and not row.lepingle:
        raise IncompatibleSchemeError(f"walls: 'lepingle' goes with scheme='euler-maruyama', not with {row.id!r}")
    if windings and row.coordinates is not None:
        raise IncompatibleSchemeError(f"store_windings: {row.id!r} does not count turns; use another scheme")
    started = time.perf_counter()
    with _interrupts_later():
        kernel = (BatchedKernel if system.batched else Kernel)(system, row, noise, walls, windings, dtype)
        kernel.compile()
    logger.info("kernel for %s ready after %.1f s", row.id, time.perf_counter() - started)
    return kernel


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Hold back Ctrl-C while the compiler runs: it would swallow the interrupt, or break half-way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if noted:
        raise KeyboardInterrupt


def _windings(system: System, stored: FloatArray) -> NDArray[np.int64]:
    """Turns (n_times, n, dim) from the rows that count them."""
    turns = np.zeros((stored.shape[0], stored.shape[2], system.dim), dtype=np.int64)
    for row, axis in enumerate(periodic_axes(system)):
        turns[..., axis] = stored[:, system.dim + row]
    return turns


def _weights(system: System, row: Scheme, positions: FloatArray, times: FloatArray, t0: float) -> FloatArray:
    """Weights (n_times, n) of reported positions, of mean 1 at each time; the initial law has no other than 1."""
    assert row.weights is not None
    model = ArrayModel(system, row.constants(system) if row.constants is not None else ())
    weights = np.empty(positions.shape[:2])
    for k, t in enumerate(times):
        if t == t0:
            weights[k] = 1.0
            continue
        for begin in range(0, positions.shape[1], PIECE):
            x = positions[k, begin : begin + PIECE].T.astype(np.float64)
            weights[k, begin : begin + PIECE] = row.weights(model.at(float(t)), list(x), float(t))
        weights[k] /= weights[k].mean()
    return weights


@dataclass
class _Run:
    """The checked numbers of one run."""

    system: System
    n: int
    dt: float
    times: FloatArray
    steps: list[int]  # step at which each time is reached
    seed: int
    threads: int
    store_all: bool
    acceptance: float | None = None  # of a scheme that accepts and refuses steps, once it has run

    @classmethod
    def checked(
        cls,
        system: Any,
        initial: Any,
        n_particles: Any,
        dt: Any,
        times: Any,
        rng: Any,
        threads: Any,
        store: Any,
        problems: Problems,
    ) -> _Run:
        if not isinstance(system, System):
            problems.add("system", f"expected a System, got {type(system).__name__}")
        if not isinstance(initial, Law):
            problems.add("initial", f"expected a law such as initial.normal(0, 1), got {type(initial).__name__}")
        if store not in ("all", "final"):
            problems.add("store", f"expected 'all' or 'final', got {store!r}")
        clean_times, step = check_times(times, problems), positive_number(dt, "dt", problems)
        default = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(
            system=system,
            n=positive_integer(n_particles, "n_particles", problems),
            dt=step,
            times=clean_times,
            steps=whole_steps(clean_times, step, problems),
            seed=seed_from(rng, problems),
            threads=default if threads is None else positive_integer(threads, "threads", problems),
            store_all=store == "all",
        )

    def check_mobility(self, problems: Problems) -> None:
        """A temperature and a mobility that change with time must stay positive over the run."""
        check_over(self.system.temperature, self.times, self.dt, problems)
        if self.system.mobility.time_dependent:
            for t in self.times[:: max(1, len(self.times) // 32)]:
                if not problems:
                    check_mobility(self.system, problems, float(t))

    def initial_state(self, kernel: AnyKernel, initial: Law, first: FloatArray | None) -> FloatArray:
        """The state (rows, padded n), drawn piece by piece; the positions also go to `first`, (rows, n), if given.

        Particles beyond n only fill the last block.
        """
        padded = -(-self.n // BLOCK) * BLOCK
        x = np.empty((kernel.rows, padded), dtype=kernel.plan.dtype)
        for begin in range(0, self.n, PIECE):
            end = min(begin + PIECE, self.n)
            address = Address(self.seed, INITIAL, np.arange(begin, end, dtype=np.uint64))
            positions = initial.sample(self.system, address)
            x[:, begin:end] = kernel.initial_state(positions, float(self.times[0]))
            if first is not None:
                first[: self.system.dim, begin:end] = positions.T
        x[:, self.n :] = x[:, :1]
        return x

    def integrate(self, kernel: AnyKernel, initial: Law, progress: bool | None) -> FloatArray:
        """The stored rows, (n_times or 1, rows, n): coordinates, then turns, not what a scheme carries."""
        rows = kernel.stored_rows
        stored: FloatArray | None = None
        if self.store_all or len(self.times) == 1:
            # empty, not zeros: NumPy then asks for large pages, and writing the snapshots costs far less
            stored = np.empty((len(self.times), rows, self.n), dtype=kernel.plan.dtype)
            stored[0, self.system.dim :] = 0.0
        x = self.initial_state(kernel, initial, None if stored is None else stored[0])
        total = self.n * self.steps[-1]
        with progress_bar(total, "ensemble", progress, unit="particle-step") as bar, _pool(self.threads) as pool:
            pace = _Pace(self.n)
            accepted = 0.0
            for k in range(1, len(self.times)):
                self._advance(kernel, x, self.steps[k - 1], self.steps[k], pool, pace, bar)
                accepted += _take_accepted(kernel, x, self.n)
                if stored is not None:
                    self._report(kernel, x, self.steps[k], stored[k])
        if "accepted" in kernel.plan.scheme.carried and total:
            self.acceptance = accepted / total
        if stored is not None:
            return stored
        self._report(kernel, x, self.steps[-1], x)  # the state has done its work: no second copy of it
        return x[None, :rows, : self.n]

    def _report(self, kernel: AnyKernel, x: FloatArray, step: int, out: FloatArray) -> None:
        """What the scheme reports after a number of steps."""
        for begin in range(0, x.shape[1], PIECE):
            end = min(begin + PIECE, x.shape[1])
            part = kernel.report(x[:, begin:end], step, float(self.times[0]), self.dt, self.seed, begin)
            last = min(end, self.n)
            if last > begin:
                out[:, begin:last] = part[: len(out), : last - begin]

    def _advance(
        self,
        kernel: AnyKernel,
        x: FloatArray,
        step: int,
        last: int,
        pool: ThreadPoolExecutor | None,
        pace: _Pace,
        bar: Bar,
    ) -> None:
        while step < last:
            n_steps = min(pace.steps(), last - step)
            started = time.perf_counter()
            ranges = list(_ranges(x.shape[1], self.threads))

            def work(span: tuple[int, int], step: int = step, n_steps: int = n_steps) -> None:
                self._advance_range(kernel, x, span, step, n_steps)

            if pool is None:
                work(ranges[0])
            else:
                list(pool.map(work, ranges))
            pace.learn(n_steps, time.perf_counter() - started)
            step += n_steps
            bar.update(self.n * n_steps)

    def _advance_range(self, kernel: AnyKernel, x: FloatArray, span: tuple[int, int], step: int, n_steps: int) -> None:
        bad = kernel(x, *span, step, n_steps, float(self.times[0]), self.dt, self.seed, self.n)
        if bad >= 0:
            raise self._divergence(kernel, x, bad, step, n_steps)

    def _divergence(self, kernel: AnyKernel, x: FloatArray, block: int, step: int, n_steps: int) -> DivergedError:
        """Replay a block that failed from where it started, to find who diverged, when and where."""
        t0, live = float(self.times[0]), min(self.n - block, BLOCK)
        replay = np.ascontiguousarray(x[:, block : block + BLOCK])

        def fails(k: int, live: int) -> bool:
            """Whether one of the first `live` particles fails in step k; if not, the step is done."""
            return kernel(replay, 0, BLOCK, k, 1, t0, self.dt, self.seed, live, block) >= 0

        k = next(k for k in range(step, step + n_steps) if fails(k, live))
        before = replay.copy()
        first, last = 0, live - 1  # the first of the block's particles that fails is in [first, last]
        while first < last:
            middle = (first + last) // 2
            replay[:] = before
            first, last = (first, middle) if fails(k, middle + 1) else (middle + 1, last)
        where = kernel.positions_of(before[:, first : first + 1])[0]
        time_before = t0 + k * self.dt
        smallest = smallest_mobility(self.system, where, time_before, self.dt)
        hint = dt_hint(self.system, where, self.dt, time_before)
        return DivergedError(block + first, k, time_before, where, self.dt, hint, smallest)


def _take_accepted(kernel: AnyKernel, x: FloatArray, n: int) -> float:
    """The steps accepted since this was last asked; in single precision a count must not grow without bound."""
    if "accepted" not in kernel.plan.scheme.carried:
        return 0.0
    counts = kernel.carried(x, "accepted")
    accepted = float(counts[:, :n].sum(dtype=np.float64))
    counts[:] = 0.0
    return accepted


class _Pace:
    """How many steps a kernel call should take, from how long the last ones took."""

    def __init__(self, n: int) -> None:
        self._steps = max(1, int(2e6 / n))

    def steps(self) -> int:
        return self._steps

    def learn(self, n_steps: int, seconds: float) -> None:
        wanted = n_steps * CALL_SECONDS / max(seconds, 1e-6)
        self._steps = max(1, min(int(wanted), 4 * self._steps))


class _pool:  # noqa: N801
    """A thread pool, or nothing for one thread."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> ThreadPoolExecutor | None:
        return self._executor

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def _ranges(n: int, threads: int) -> Iterator[tuple[int, int]]:
    """Split n particles (a multiple of 128) into one range of whole blocks a thread."""
    blocks = n // BLOCK
    parts = min(threads, blocks)
    edges = [blocks * k // parts * BLOCK for k in range(parts + 1)]
    yield from pairwise(edges)
