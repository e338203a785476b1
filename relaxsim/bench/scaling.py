"""Whole runs of `simulate`: two threads against one, many snapshots against one, memory against the state."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from relaxsim.bench import child
from relaxsim.bench.record import (
    Record,
    alternate,
    at_least,
    at_most,
    cpu_timed,
    not_measured,
    paired_ratio,
    wall_timed,
)
from relaxsim.bench.tasks import DT, TASKS
from relaxsim.bench.yardstick import Yardstick
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.random import BLOCK
from relaxsim.particles.schemes import choose
from relaxsim.particles.simulate import simulate
from relaxsim.system import initial
from relaxsim.system.system import System
from relaxsim.system.validate import usable_cores

TWO_THREADS, SNAPSHOTS, MEMORY = 1.85, 1.3, 1.3
BUSY = 1.9  # two C processes that gain less than this do not have two cores for themselves
N_SNAPSHOTS, SNAPSHOT_PARTICLES = 1000, 100_000
MEMORY_PARTICLES, QUICK_MEMORY_PARTICLES = 10**8, 10**7


def two_threads(yardstick: Yardstick | None, quick: bool = False) -> Record:
    """The speed of a run with two threads over that with one, by the clock, of runs that are neighbours in time.

    One busy core may run at a higher clock than two. What two processes of the C program gain in the same rounds tells
    whether there are two full cores to be had; if there are not, nothing is claimed.
    """
    name = "T1: speed of two threads over one"
    if usable_cores() < 2:
        return not_measured(name, "one core")
    task, repeats = TASKS["T1"], 3 if quick else 11

    def run(threads: int) -> object:
        return simulate(
            task.system(), initial.point(task.start), n_particles=task.n_particles, dt=DT,
            times=[0.0, 1.0 if quick else 8.0], scheme="euler-maruyama", rng=1, threads=threads, store="final",
            progress=False,
        )  # fmt: skip

    def run_c(processes: int) -> None:
        assert yardstick is not None
        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(lambda _: yardstick.run("T1", task.n_particles, 1000 if quick else 4000), range(processes)))

    runs = [partial(run, 1), partial(run, 2)] + ([] if yardstick is None else [partial(run_c, 1), partial(run_c, 2)])
    one, two, *c = alternate(*map(wall_timed, runs), repeats=repeats)
    value, note = paired_ratio(one, two), f"{statistics.median(one):.2f} s and {statistics.median(two):.2f} s"
    if c:
        there_is = 2 * paired_ratio(*c)
        note += f"; two C processes {there_is:.2f}"
        if value < TWO_THREADS and there_is < BUSY:
            return Record(name, value, note=f"{note}: no two full cores here")
    return at_least(name, value, TWO_THREADS, note=note)


def snapshots(steps_between: int = 10, quick: bool = False) -> Record:
    """The cost of storing 1000 snapshots over that of storing the last, without that of writing to memory."""
    n, count = SNAPSHOT_PARTICLES, 100 if quick else N_SNAPSHOTS
    name = f"T1: cost of {count} snapshots, {steps_between} steps apart, over one, memory aside"
    system, start = TASKS["T1"].system(), initial.point(TASKS["T1"].start)
    times = np.arange(count + 1) * (steps_between * DT)

    def run(store: str) -> object:
        where = times if store == "all" else times[[0, -1]]
        return simulate(
            system, start, n_particles=n, dt=DT, times=where, scheme="euler-maruyama", rng=1, threads=1, store=store,
            progress=False,
        )  # fmt: skip

    repeats = 3 if quick else 9
    everything, last, writing = alternate(
        cpu_timed(partial(run, "all")), cpu_timed(partial(run, "final")),
        partial(_writing, system, n, count, steps_between), repeats=repeats,
    )  # fmt: skip
    note = "{:.2f} s, {:.2f} s of it writing, against {:.2f} s".format(
        *map(statistics.median, (everything, writing, last))
    )
    value = paired_ratio([a - b for a, b in zip(everything, writing, strict=True)], last)
    return at_most(name, value, SNAPSHOTS, note=note) if steps_between >= 10 else Record(name, value, note=note)


def _writing(system: System, n: int, count: int, steps_between: int) -> float:
    """CPU seconds of writing the snapshots into fresh memory, with the steps in between done but not counted: there
    pages cost several times more than in one sweep over memory."""
    kernel = Kernel(system, choose("euler-maruyama", system))
    x = kernel.initial_state(np.ones((-(-n // BLOCK) * BLOCK, 1)))
    stored, seconds = np.empty((count + 1, 1, n)), 0.0
    for k, frame in enumerate(stored):
        kernel(x, 0, x.shape[1], k * steps_between, steps_between, 0.0, DT, 1)
        started = time.process_time()
        frame[...] = x[:, :n]
        seconds += time.process_time() - started
    return seconds


def peak_memory(quick: bool = False) -> Record:
    """Growth of the peak memory of a process during a call with store="final", over the bytes of the state."""
    n = QUICK_MEMORY_PARTICLES if quick else MEMORY_PARTICLES
    name = f"T1: growth of peak memory over the state, {n:.0e} particles".replace("e+0", "e")
    grown = child.measure("memory", n)["bytes"]
    return at_most(name, grown / (8 * n), MEMORY, note=f"{grown / 1e6:.0f} MB for a state of {8 * n / 1e6:.0f} MB")


def records(yardstick: Yardstick | None, quick: bool = False) -> Iterator[Record]:
    """All of the above."""
    yield two_threads(yardstick, quick)
    yield snapshots(10, quick)
    yield snapshots(1, quick)
    yield peak_memory(quick)
