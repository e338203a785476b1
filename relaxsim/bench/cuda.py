"""relaxsim on a graphics card, beside a program in CUDA C++ and a loop in JAX on the same card.

Times are those of a clock on the wall: nobody else should use the card. JAX runs in a process of its own, since it
takes the card's memory when it starts: ``python -m relaxsim.bench.cuda TASK PARTICLES`` prints its speed.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np

from relaxsim.bench.record import Record, Timed, alternate, at_least, not_measured, paired_ratio, wall_timed
from relaxsim.bench.tasks import DT, TASKS, Task
from relaxsim.bench.yardstick import Program
from relaxsim.errors import GPUUnavailableError
from relaxsim.particles.random import BLOCK
from relaxsim.particles.schemes import registry

STEPS, SEED = 1000, 1
REPEATS, QUICK_REPEATS = 5, 2
PARTICLES = {"T1": 100_000_000, "T2": 100_000_000, "T3": 25_600_000}  # multiples of 256
QUICK = 100  # that many times fewer in a quick run, and for JAX ten times: it keeps what it draws
CPP_RATIO, JAX_RATIO = 0.7, 3.0


class CudaYardstick(Program):
    """The program `yardstick.cu`.

    Parameters
    ----------
    arch : str
        For nvcc; by default the card at hand.
    """

    compiler = "nvcc"

    def __init__(self, arch: str = "native") -> None:
        super().__init__("yardstick.cu", ["-O3", f"-arch={arch}", "-x", "cu"])


def kernel_run(task: Task, n: int, steps: int = STEPS, dtype: str = "float64") -> Callable[[], np.ndarray]:
    """A function that runs a task from its start on the card and returns the state (rows, n), copied back."""
    from relaxsim.particles.cuda_kernel import CudaKernel

    kernel = CudaKernel(task.system(), registry()["euler-maruyama"], dtype=dtype)
    kernel.compile()
    state = kernel.resident(np.full((kernel.rows, n), task.start, dtype=dtype))

    def run() -> np.ndarray:
        state[:] = task.start
        kernel(state, 0, n, 0, steps, 0.0, DT, SEED)
        return np.asarray(state)

    return run


def _kernel_timed(task: Task, n: int, dtype: str = "float64") -> Timed:
    """Seconds of the kernel alone, the state being on the card."""
    from relaxsim.particles.cuda_kernel import CudaKernel

    kernel = CudaKernel(task.system(), registry()["euler-maruyama"], dtype=dtype)
    kernel.compile()
    state = kernel.resident(np.full((kernel.rows, n), task.start, dtype=dtype))
    return wall_timed(lambda: kernel(state, 0, n, 0, STEPS, 0.0, DT, SEED))


def records(quick: bool = False) -> Iterator[Record]:
    """The card, and relaxsim's speed on it over those of C++ and JAX."""
    from relaxsim.particles.cuda import card

    try:
        name = card()
    except GPUUnavailableError as error:
        yield not_measured("speed on a graphics card", str(error))
        return
    yield Record(f"on {name}", None)
    for task in TASKS.values():
        n = PARTICLES[task.id] // (QUICK if quick else 1) // (2 * BLOCK) * 2 * BLOCK
        yield from _against_cpp(task, n, QUICK_REPEATS if quick else REPEATS)
        yield from _against_jax(task, n // (1 if quick else 10) // BLOCK * BLOCK)
    yield not_measured("T4: speed over CUDA C++", "64 coordinates; a kernel takes up to 16")


def _against_cpp(task: Task, n: int, repeats: int) -> Iterator[Record]:
    name = f"{task.id}: speed over CUDA C++"
    if not CudaYardstick.available():
        yield not_measured(name, "no nvcc")
        return
    with CudaYardstick() as yardstick:
        cpp, ours = alternate(lambda: yardstick.run(task.id, n, STEPS).seconds, _kernel_timed(task, n), repeats=repeats)
    note = f"{_speed(n, ours):.0f} against {_speed(n, cpp):.0f} million particle-steps/s, {n:.3g} particles"
    yield at_least(name, paired_ratio(cpp, ours), CPP_RATIO, note=note)
    single, double = alternate(_kernel_timed(task, n, "float32"), _kernel_timed(task, n), repeats=repeats)
    note = f"{_speed(n, single):.0f} against {_speed(n, double):.0f} million particle-steps/s"
    yield Record(f"{task.id}: speed of float32 over float64 on the card", paired_ratio(double, single), note=note)


def _against_jax(task: Task, n: int) -> Iterator[Record]:
    name = f"{task.id}: speed over a JAX loop on the card"
    if importlib.util.find_spec("jax") is None:
        yield not_measured(name, "no jax")
        return
    done = subprocess.run(
        [sys.executable, "-P", "-m", "relaxsim.bench.cuda", task.id, str(n)], capture_output=True, text=True
    )
    if done.returncode:
        yield not_measured(name, f"jax failed: {done.stderr.strip().splitlines()[-1]}")
        return
    theirs = float(json.loads(done.stdout.splitlines()[-1]))
    timed = _kernel_timed(task, n)
    ours = _speed(n, [timed() for _ in range(QUICK_REPEATS)])
    note = f"{ours:.0f} against {theirs:.0f} million particle-steps/s, {n:.3g} particles"
    yield at_least(name, ours / theirs, JAX_RATIO, note=note)


def _speed(n: int, seconds: list[float]) -> float:
    return n * STEPS / statistics.median(seconds) / 1e6


def jax_speed(task: str, n: int) -> float:
    """Million particle-steps per second of the loop in JAX on the card."""
    import jax

    from relaxsim.bench.peers import jax_loop

    if jax.default_backend() != "gpu":
        raise SystemExit(f"jax runs on {jax.default_backend()}, not on the card")
    run = wall_timed(jax_loop(TASKS[task], n))
    run()  # compiles
    return _speed(n, [run() for _ in range(QUICK_REPEATS)])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(jax_speed(sys.argv[1], int(sys.argv[2]))) + "\n")
