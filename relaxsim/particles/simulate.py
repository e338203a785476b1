"""Run an ensemble: check the arguments, draw the initial positions, drive the kernel from one stored time to the
next."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from relaxsim.errors import DivergedError
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.path import EnsemblePath
from relaxsim.particles.random import BLOCK, INITIAL, PACKING_VERSION, Address
from relaxsim.particles.schemes import Scheme, choose
from relaxsim.progress import Bar, progress_bar
from relaxsim.system.initial import Law
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, Problems, check_times, positive_integer, positive_number

logger = logging.getLogger("relaxsim")

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
    progress: bool | None = None,
) -> EnsemblePath:
    """Simulate an ensemble of independent particles.

    They follow dx = [T div K - K grad E] dt + sqrt(2 T) dW with dW ~ N(0, K dt) (Itô), whose stationary law is
    exp(-E/T)/Z. The scheme's own stationary law differs from it by its order in `dt` (see
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
        Id of a scheme, "auto" for the one of highest invariant order that can run the system, or a scheme of your own.
    rng : int, numpy.random.Generator or None
        An int 0 <= rng < 2**64 is the seed itself, a Generator gives one, None draws a fresh one; `path.seed` keeps it.
    threads : int, optional
        Threads to use, by default all cores this process may run on. The result does not depend on it.
    store : {"all", "final"}
        Keep the positions at all times, or at the last only.
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
    """
    problems = Problems()
    run = _Run.checked(system, initial, n_particles, dt, times, rng, threads, store, problems)
    problems.raise_if_any()
    row = choose(scheme, system)
    started = time.perf_counter()
    kernel = Kernel(system, row)
    kernel.compile()
    logger.info("kernel for %s ready after %.1f s", row.id, time.perf_counter() - started)
    x = run.initial_positions(initial)
    positions = run.integrate(kernel, x, progress)
    return EnsemblePath(
        times=run.times if store == "all" else run.times[-1:],
        positions=np.swapaxes(positions, 1, 2),
        system=system,
        dt=run.dt,
        t0=float(run.times[0]),
        scheme=row.id,
        seed=run.seed,
        threads=run.threads,
        packing_version=PACKING_VERSION,
    )


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

    def initial_positions(self, initial: Law) -> FloatArray:
        """Positions (dim, padded n); particles beyond n only fill the last block."""
        padded = -(-self.n // BLOCK) * BLOCK
        x = np.empty((self.system.dim, padded))
        address = Address(self.seed, INITIAL, np.arange(self.n, dtype=np.uint64))
        x[:, : self.n] = initial.sample(self.system, address).T
        x[:, self.n :] = x[:, :1]
        return x

    def integrate(self, kernel: Kernel, x: FloatArray, progress: bool | None) -> FloatArray:
        """The stored positions, (n_times or 1, dim, n)."""
        stored = np.empty((len(self.times) if self.store_all else 1, self.system.dim, self.n))
        if self.store_all:
            stored[0] = x[:, : self.n]
        total = self.n * self.steps[-1]
        with progress_bar(total, "ensemble", progress, unit="particle-step") as bar, _pool(self.threads) as pool:
            pace = _Pace(self.n)
            for k in range(1, len(self.times)):
                self._advance(kernel, x, self.steps[k - 1], self.steps[k], pool, pace, bar)
                if self.store_all:
                    stored[k] = x[:, : self.n]
        if not self.store_all:
            stored[0] = x[:, : self.n]
        return stored

    def _advance(
        self,
        kernel: Kernel,
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

    def _advance_range(self, kernel: Kernel, x: FloatArray, span: tuple[int, int], step: int, n_steps: int) -> None:
        begin, end = span
        t0 = float(self.times[0])
        while (bad := kernel(x, begin, end, step, n_steps, t0, self.dt, self.seed)) >= 0:
            self._find_divergence(kernel, x, bad, step, n_steps)  # returns only if no real particle is concerned
            begin = bad

    def _find_divergence(self, kernel: Kernel, x: FloatArray, block: int, step: int, n_steps: int) -> None:
        """Replay a block step by step: addresses make that exact."""
        t0 = float(self.times[0])
        replay = np.zeros((x.shape[0], block + BLOCK))
        replay[:, block:] = x[:, block : block + BLOCK]
        for k in range(step, step + n_steps):
            before = replay[:, block:].copy()
            if kernel(replay, block, block + BLOCK, k, 1, t0, self.dt, self.seed) < 0:
                continue
            # the kernel keeps a failed block: advance each particle alone among copies of a quiet neighbour
            failed = [p for p in range(BLOCK) if self._fails(kernel, before, block, p, k)]
            real = [p for p in failed if block + p < self.n]
            if real:
                last = before[:, real[0]]
                raise DivergedError(
                    block + real[0], k, t0 + k * self.dt, last, self.dt, _dt_hint(self.system, last, self.dt)
                )
            x[:, self.n :] = x[:, self.n - 1 : self.n]
            return

    def _fails(self, kernel: Kernel, before: FloatArray, block: int, p: int, k: int) -> bool:
        """Whether particle p of a block becomes non-finite in step k."""
        alone = np.zeros((before.shape[0], block + BLOCK))
        alone[:, block:] = np.nan_to_num(self.system.domain.sample_points(1)[0])[:, None]
        alone[:, block + p] = before[:, p]
        return kernel(alone, block, block + BLOCK, k, 1, float(self.times[0]), self.dt, self.seed) >= 0


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


def seed_from(rng: Any, problems: Problems) -> int:
    """The Philox key of what the user passed as rng."""
    if rng is None:
        import secrets

        return secrets.randbits(64)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**64, dtype=np.uint64))
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and 0 <= int(rng) < 2**64:
        return int(rng)
    problems.add("rng", f"expected an integer with 0 <= rng < 2**64, a numpy.random.Generator or None, got {rng!r}")
    return 0


def whole_steps(times: FloatArray, dt: float, problems: Problems) -> list[int]:
    """The step number of each time, which must be whole: a trajectory does not depend on which times are stored."""
    ratio = (times - times[0]) / dt
    steps = np.rint(ratio)
    off = np.abs(ratio - steps) > 1e-9 * np.maximum(1.0, steps)
    if off.any():
        k = int(np.argmax(off))
        fit = _nearest_dt(times, dt)
        hint = f"dt = {fit!r} fits all times" if fit else "store times that are multiples of dt after the first"
        problems.add(
            "dt",
            f"times[{k}] = {times[k]:g} lies {ratio[k]:.6g} steps of {dt:g} after times[0], not a whole number; {hint}",
        )
    elif steps[-1] >= 2**53:
        problems.add("dt", f"{steps[-1]:.3g} steps are too many; use a larger dt")
    return [int(step) for step in steps]


def _nearest_dt(times: FloatArray, dt: float) -> float | None:
    """A dt of which all times are multiples, as near to the given one as can be found."""
    gaps = np.diff(times)
    for parts in range(1, 65):  # the common measure of the gaps is a whole fraction of the smallest
        unit = gaps.min() / parts
        if np.all(np.abs(gaps / unit - np.rint(gaps / unit)) < 1e-9 * gaps / unit):
            return float(unit / max(1, round(unit / dt)))
    return None


def _dt_hint(system: System, position: FloatArray, dt: float) -> float:
    """Half of the linear stability limit at a position, when that is sensible, else a tenth of dt."""
    with np.errstate(all="ignore"):
        step = 1e-5 * np.maximum(1.0, np.abs(position))
        shifted = position + np.diag(step)
        rates = np.abs((system.drift(shifted) - system.drift(position)) / step[:, None])
    rate = float(rates.sum(axis=0).max())
    hint = 0.5 / rate if np.isfinite(rate) and rate > 0 else dt / 10
    return float(min(dt / 2, max(hint, dt / 100)))
