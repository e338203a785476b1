"""One run of an ensemble: draw the initial positions, drive the kernel from one time to the next, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from relaxsim.errors import DivergedError, MobilityError
from relaxsim.particles.arguments import seed_from, thread_count, whole_steps
from relaxsim.particles.batched import BatchedKernel
from relaxsim.particles.divergence import dt_hint, smallest_mobility
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.metropolis import check_start
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.observables.accumulate import PIECE
from relaxsim.particles.observables.base import Observable
from relaxsim.particles.observables.recorder import Recorder
from relaxsim.particles.pool import Pace, Pool
from relaxsim.particles.random import BLOCK, INITIAL, Address
from relaxsim.particles.schemes import Scheme
from relaxsim.progress import Bar, progress_bar
from relaxsim.system.density_mobility import ONLY_DENSITIES
from relaxsim.system.law import Law, expected_law
from relaxsim.system.system import System, check_mobility
from relaxsim.system.temperature import check_over
from relaxsim.system.validate import (
    FloatArray,
    Problems,
    check_times,
    is_bare_drift,
    positive_integer,
    positive_number,
)

AnyKernel = Kernel | BatchedKernel
STORES = ("all", "final", "none")


@dataclass
class RunState:
    """Where a run stands between two calls of the kernel: all it needs to go on, beside the observables.

    Attributes
    ----------
    x : ndarray, shape (rows, padded n)
        The state of the particles; what a kernel's `resident` made of it while the run goes on.
    step : int
        Steps done.
    reached : int
        How many of the times have been reached, reported and looked at.
    accepted : float
        Steps a Metropolis rule has accepted, but for those still counted in `x`.
    stored : ndarray, shape (n_times, stored rows, n), or None
        The snapshots so far, where they are kept.
    """

    x: FloatArray
    step: int = 0
    reached: int = 0
    accepted: float = 0.0
    stored: FloatArray | None = None


@dataclass
class Run:
    """The checked numbers of one run.

    Attributes
    ----------
    first_particle : int
        Number of the first of the n particles, a multiple of 256: a part of a larger ensemble.
    on_pause : callable or None
        Called with the `RunState` whenever the kernel pauses, every fraction of a second.
    """

    system: System
    n: int
    dt: float
    times: FloatArray
    steps: list[int]  # step at which each time is reached
    seed: int
    threads: int
    store: str
    recorder: Recorder = field(default_factory=lambda: Recorder({}))
    first_particle: int = 0
    on_pause: Callable[[RunState], None] | None = None
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
    ) -> Run:
        if not isinstance(system, System):
            hint = "a bare drift is run as a density only, an ensemble needs an energy"
            got = f"{type(system).__name__}{'; ' + hint if is_bare_drift(system) else ''}"
            problems.add("system", f"expected a System, got {got}")
        elif system.domain.absorbs:
            problems.add(
                "system",
                "absorbing walls are for densities only; run the ensemble with reflecting walls and observe "
                "rs.FirstPassage of a region, or use rs.FokkerPlanck",
            )
        elif system.mobility.depends_on_density:
            problems.add("system", f"its mobility cannot be simulated: {ONLY_DENSITIES}", MobilityError)
        if not isinstance(initial, Law):
            problems.add("initial", expected_law(initial))
        if store not in STORES:
            problems.add("store", f"expected 'all', 'final' or 'none', got {store!r}")
        clean_times, step = check_times(times, problems), positive_number(dt, "dt", problems)
        return cls(
            system=system,
            n=positive_integer(n_particles, "n_particles", problems),
            dt=step,
            times=clean_times,
            steps=whole_steps(clean_times, step, problems),
            seed=seed_from(rng, problems),
            threads=thread_count(threads, problems),
            store=store,
        )

    @property
    def t0(self) -> float:
        """The initial time."""
        return float(self.times[0])

    def time_at(self, step: int) -> float:
        """The time after so many steps."""
        return self.t0 + step * self.dt

    def check_mobility(self, problems: Problems) -> None:
        """A temperature and a mobility that change with time must stay positive over the run."""
        check_over(self.system.temperature, self.times, self.dt, problems)
        if self.system.mobility.time_dependent:
            for t in self.times[:: max(1, len(self.times) // 32)]:
                if not problems:
                    check_mobility(self.system, problems, float(t))

    # ---- from the first step to the last

    def start(self, kernel: AnyKernel, initial: Law) -> RunState:
        """The state at the initial time, drawn piece by piece, reported and looked at.

        Particles beyond n only fill the last block.
        """
        padded = -(-self.n // BLOCK) * BLOCK
        state = RunState(np.empty((kernel.rows, padded), dtype=kernel.plan.dtype))
        if self.store == "all" or (self.store == "final" and len(self.times) == 1):
            # empty, not zeros: NumPy then asks for large pages, and writing the snapshots costs far less
            state.stored = np.empty((len(self.times), kernel.stored_rows, self.n), dtype=kernel.plan.dtype)
            state.stored[0, self.system.dim :] = 0.0
        self.recorder.begin(self.system, self.n, self.times, self.t0, self.dt, self.first_particle, self.seed)
        due = self.recorder.due(0, 0, self.t0)
        for begin in range(0, self.n, PIECE):
            end = min(begin + PIECE, self.n)
            particles = np.arange(self.first_particle + begin, self.first_particle + end, dtype=np.uint64)
            positions = initial.sample(self.system, Address(self.seed, INITIAL, particles))
            first, plan = self.first_particle + begin, kernel.plan
            check_start(self.system, plan.scheme, positions, self.t0, self.dt, plan.dtype, first)
            state.x[:, begin:end] = kernel.initial_state(positions, self.t0)
            if state.stored is not None:
                state.stored[0, : self.system.dim, begin:end] = positions.T
            if due:
                columns = np.ascontiguousarray(positions.T, dtype=np.float64)
                weights = self._weights(kernel, columns, self.t0)
                if weights is not None:
                    weights[:] = 1.0  # the initial law is what it is
                for each in due:
                    self.recorder.look(each, self.first_particle + begin, columns, weights)
        self.recorder.close(due)
        state.x[:, self.n :] = state.x[:, :1]
        state.reached = 1
        return state

    def go_on(self, kernel: AnyKernel, state: RunState, progress: bool | None) -> FloatArray | None:
        """Run from a state to the last time.

        Returns
        -------
        ndarray, shape (n_times or 1, stored rows, n), or None
            The stored rows: coordinates, then turns, not what a scheme carries.
        """
        state.x = kernel.resident(state.x)
        total = self.n * (self.steps[-1] - state.step)
        with progress_bar(total, "ensemble", progress, unit="particle-step") as bar, Pool(self.threads) as pool:
            pace = Pace(self.n)
            while state.step < self.steps[-1]:
                wanted = min(self.steps[state.reached], self.recorder.next_step(state.step))
                self._advance(kernel, state, int(wanted), pool, pace, bar)
                self._look(kernel, state, pool)
                if self.on_pause is not None:
                    self.on_pause(state)
        if "accepted" in kernel.plan.scheme.carried and self.steps[-1]:
            self.acceptance = state.accepted / (self.n * self.steps[-1])
        if state.stored is not None or self.store == "none":
            return state.stored
        # the state has done its work, but for first passages, which are not touched: no second copy of it
        final = state.x
        if not isinstance(final, np.ndarray):
            final = np.empty((kernel.stored_rows, self.n), dtype=kernel.plan.dtype)
        self._report(kernel, state.x, self.steps[-1], final[: kernel.stored_rows])
        return final[None, : kernel.stored_rows, : self.n]

    def _advance(self, kernel: AnyKernel, state: RunState, last: int, pool: Pool, pace: Pace, bar: Bar) -> None:
        """Do the steps before the next look, call by call."""
        while state.step < last:
            step, n_steps = state.step, min(pace.steps(), last - state.step)
            started = time.perf_counter()

            def work(span: tuple[int, int], step: int = step, n_steps: int = n_steps) -> None:
                first = self.first_particle
                bad = kernel(state.x, *span, step, n_steps, self.t0, self.dt, self.seed, self.n, first)
                if bad >= 0:
                    raise self._divergence(kernel, state.x, bad, step, n_steps)

            threads = self.threads if kernel.device == "cpu" else 1  # a card has its own
            pool.map(work, pace.ranges(state.x.shape[1], n_steps, threads))
            pace.learn(n_steps, time.perf_counter() - started)
            state.step += n_steps
            bar.update(self.n * n_steps)
            if self.on_pause is not None and state.step < last:
                self.on_pause(state)

    def _look(self, kernel: AnyKernel, state: RunState, pool: Pool) -> None:
        """Report after a number of steps: a snapshot, and what observables want to see."""
        k = state.reached if state.step == self.steps[state.reached] else None
        t = float(self.times[k]) if k is not None else self.time_at(state.step)
        due = self.recorder.due(state.step, k, t)
        snapshot = state.stored[k] if state.stored is not None and k is not None else None
        if due or snapshot is not None:
            self._pieces(kernel, state, t, due, snapshot, pool)
        self.recorder.close(due)
        if k is not None:
            state.accepted += _take_accepted(kernel, state.x, self.n)
            state.reached += 1

    def _pieces(
        self,
        kernel: AnyKernel,
        state: RunState,
        t: float,
        due: list[Observable],
        snapshot: FloatArray | None,
        pool: Pool,
    ) -> None:
        """Report piece by piece; what one thread alone may look at is looked at in the order of the particles."""
        weighted, dim = kernel.plan.scheme.weights is not None, self.system.dim
        at_once = [each for each in due if each.parallel(weighted)]
        in_turn = [each for each in due if each not in at_once]

        def work(begin: int) -> tuple[FloatArray, FloatArray | None] | None:
            part = self._part(kernel, state.x, state.step, begin)
            if snapshot is not None:
                snapshot[:, begin : begin + part.shape[1]] = part[: len(snapshot)]
            if not due:
                return None
            positions = np.ascontiguousarray(part[:dim], dtype=np.float64)
            weights = self._weights(kernel, positions, t)
            for each in at_once:
                self.recorder.look(each, self.first_particle + begin, positions, weights)
            return (positions, weights) if in_turn else None

        begins = range(0, self.n, PIECE)
        batch = 4 * self.threads if in_turn else len(begins)  # never all positions at once
        for some in range(0, len(begins), batch):
            for begin, seen in zip(
                begins[some : some + batch], pool.map(work, begins[some : some + batch]), strict=True
            ):
                for each in in_turn:
                    assert seen is not None
                    self.recorder.look(each, self.first_particle + begin, *seen)

    def _part(self, kernel: AnyKernel, x: FloatArray, step: int, begin: int) -> FloatArray:
        """What the scheme reports of the particles of a piece, all rows."""
        end = min(begin + PIECE, x.shape[1])
        part = kernel.report(x[:, begin:end], step, self.t0, self.dt, self.seed, self.first_particle + begin)
        return np.asarray(part[:, : min(end, self.n) - begin])

    def _report(self, kernel: AnyKernel, x: FloatArray, step: int, out: FloatArray) -> None:
        """What the scheme reports after a number of steps."""
        for begin in range(0, self.n, PIECE):
            part = self._part(kernel, x, step, begin)
            out[:, begin : begin + part.shape[1]] = part[: len(out)]

    def _weights(self, kernel: AnyKernel, positions: FloatArray, t: float) -> FloatArray | None:
        """Weights of reported positions (dim, m), for schemes that have them."""
        return reported_weights(self.system, kernel.plan.scheme, positions, t)

    def _divergence(self, kernel: AnyKernel, x: FloatArray, block: int, step: int, n_steps: int) -> DivergedError:
        """Replay a block that failed from where it started, to find who diverged, when and where."""
        live, first_particle = min(self.n - block, BLOCK), self.first_particle + block
        replay = np.ascontiguousarray(x[:, block : block + BLOCK])

        def fails(k: int, live: int) -> bool:
            """Whether one of the first `live` particles fails in step k; if not, the step is done."""
            return kernel(replay, 0, BLOCK, k, 1, self.t0, self.dt, self.seed, live, first_particle) >= 0

        k = next(k for k in range(step, step + n_steps) if fails(k, live))
        before = replay.copy()
        first, last = 0, live - 1  # the first of the block's particles that fails is in [first, last]
        while first < last:
            middle = (first + last) // 2
            replay[:] = before
            first, last = (first, middle) if fails(k, middle + 1) else (middle + 1, last)
        where = kernel.positions_of(before[:, first : first + 1])[0]
        time_before = self.time_at(k)
        smallest = smallest_mobility(self.system, where, time_before, self.dt)
        hint = dt_hint(self.system, where, self.dt, time_before)
        return DivergedError(first_particle + first, k, time_before, where, self.dt, hint, smallest)


def reported_weights(system: System, row: Scheme, positions: FloatArray, t: float) -> FloatArray | None:
    """Weights (m,) of reported positions (dim, m) in means, None for schemes whose particles count alike."""
    if row.weights is None:
        return None
    model = ArrayModel(system, row.constants(system) if row.constants is not None else ())
    return np.array(np.broadcast_to(row.weights(model.at(t), list(positions), t), positions.shape[1:]), dtype=float)


def _take_accepted(kernel: AnyKernel, x: FloatArray, n: int) -> float:
    """The steps accepted since this was last asked; in single precision a count must not grow without bound."""
    if "accepted" not in kernel.plan.scheme.carried:
        return 0.0
    rows = kernel.carried_rows("accepted")
    accepted = float(x[rows, :n].sum(dtype=np.float64))
    x[rows] = 0.0
    return accepted
