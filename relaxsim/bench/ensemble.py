"""relaxsim's compiled loop against C on one core, and its kinds of noise and precision against each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import numpy as np

from relaxsim.bench.record import Record, Timed, alternate, at_least, cpu_timed, not_measured, paired_ratio
from relaxsim.bench.tasks import DT, TASKS, Task
from relaxsim.bench.yardstick import Yardstick
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.schemes import registry

STEPS = 1000
REPEATS, QUICK_REPEATS = 9, 3
SEED = 1

C_RATIO = 0.8  # of C's speed, float64 and Gaussian noise
FASTER = {"three-point": 3.0, "two-point": 5.0, "float32": 1.6}  # than Gaussian float64, on T1


def kernel_run(task: Task, noise: str = "gaussian", dtype: str = "float64") -> Callable[[], np.ndarray]:
    """A function that runs 1000 steps of a task from its start in the compiled loop and returns the state (rows, n).

    Parameters
    ----------
    task : Task
    noise, dtype : str
        As for `Kernel`.
    """
    kernel = Kernel(task.system(), registry()["euler-maruyama"], noise=noise, dtype=dtype)
    kernel.compile()
    start = kernel.initial_state(np.full((task.n_particles, task.dim), task.start))

    def run() -> np.ndarray:
        x = start.copy()
        kernel(x, 0, task.n_particles, 0, STEPS, 0.0, DT, SEED)
        return x

    return run


def against_c(task: Task, yardstick: Yardstick | None, quick: bool = False) -> Record:
    """The speed of the compiled loop over that of C on the same task."""
    name = f"{task.id}: speed over C"
    if yardstick is None:
        return not_measured(name, "no gcc")
    c, ours = alternate(_c_timed(yardstick, task, task.id), cpu_timed(kernel_run(task)), repeats=_repeats(quick))
    note = f"{_speed(task, ours):.0f} against {_speed(task, c):.0f} million particle-steps/s"
    return at_least(name, paired_ratio(c, ours), C_RATIO, note=note)


def against_gaussian(kind: str, quick: bool = False) -> Record:
    """T1 with weak noise, or in float32, over Gaussian float64."""
    task, name = TASKS["T1"], f"T1: speed of {kind} over Gaussian float64"
    noise, dtype = ("gaussian", kind) if kind.startswith("float") else (kind, "float64")
    gaussian, other = alternate(
        cpu_timed(kernel_run(task)), cpu_timed(kernel_run(task, noise, dtype)), repeats=_repeats(quick)
    )
    note = f"{_speed(task, other):.0f} against {_speed(task, gaussian):.0f} million particle-steps/s"
    return at_least(name, paired_ratio(gaussian, other), FASTER[kind], note=note)


def two_point_against_c(yardstick: Yardstick | None, quick: bool = False) -> Record:
    """The two-point speed over that of C: reported, nothing is required."""
    task, name = TASKS["T1"], "T1: speed of two-point over C"
    if yardstick is None:
        return not_measured(name, "no gcc")
    ours = cpu_timed(kernel_run(task, noise="two-point"))
    c, mine = alternate(_c_timed(yardstick, task, "T1-two-point"), ours, repeats=_repeats(quick))
    note = f"{_speed(task, mine):.0f} against {_speed(task, c):.0f} million particle-steps/s"
    return Record(name, paired_ratio(c, mine), note=note)


def records(yardstick: Yardstick | None, quick: bool = False) -> Iterator[Record]:
    """All of the above."""
    for task in TASKS.values():
        yield against_c(task, yardstick, quick)
    for kind in FASTER:
        yield against_gaussian(kind, quick)
    yield two_point_against_c(yardstick, quick)


def _repeats(quick: bool) -> int:
    return QUICK_REPEATS if quick else REPEATS


def _c_timed(yardstick: Yardstick, task: Task, row: str) -> Timed:
    return lambda: yardstick.run(row, task.n_particles, STEPS).seconds


def _speed(task: Task, seconds: list[float]) -> float:
    return task.n_particles * STEPS / statistics.median(seconds) / 1e6
