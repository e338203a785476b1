"""Measurements that need a process of their own: ``python -m relaxsim.bench.child WHAT NUMBER`` prints them as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

CACHES = ("RELAXSIM_CACHE_DIR", "NUMBA_CACHE_DIR")


BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def measure(what: str, number: int, cache: str | None = None, one_thread: bool = False) -> dict[str, float]:
    """Run one of the measurements below in a fresh process, with a cache folder of its own if one is given, and with
    matrix products on one thread if asked."""
    command = [sys.executable, "-P", "-m", "relaxsim.bench.child", what, str(number)]
    environment = dict(with_cache(cache)) | (dict.fromkeys(BLAS_THREADS, "1") if one_thread else {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"measuring {what} {number} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def with_cache(folder: str | None) -> Mapping[str, str]:
    """The environment with the caches of compiled code in a folder."""
    return os.environ if folder is None else os.environ | dict.fromkeys(CACHES, folder)


def memory(n: int) -> dict[str, float]:
    """Bytes by which the peak memory exceeds what was in use before a run of n particles on the line."""
    from relaxsim.bench.tasks import DT, double_well
    from relaxsim.particles.simulate import simulate
    from relaxsim.system import initial

    def run(count: int) -> None:
        simulate(
            double_well(), initial.normal(0.0, 0.5), n_particles=count, dt=DT, times=[0.0, 10 * DT],
            scheme="euler-maruyama", rng=1, store="final", progress=False,
        )  # fmt: skip

    run(1024)  # compiles, and imports all there is to import
    before = _status("VmRSS")
    run(n)
    return {"bytes": _status("VmHWM") - before}


def _status(key: str) -> int:
    """Bytes of memory of this process, now (VmRSS) or at most (VmHWM; what rusage calls maxrss may be the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def compiling(dim: int) -> dict[str, float]:
    """CPU seconds from a system to a kernel that runs, for the scheme that "auto" takes; numba is loaded before."""
    import numba  # noqa: F401

    from relaxsim.bench.start import compiled_systems
    from relaxsim.particles.kernel import Kernel
    from relaxsim.particles.schemes import choose

    system = compiled_systems()[dim]()
    started, wall = time.process_time(), time.perf_counter()
    Kernel(system, choose("auto", system)).compile()
    return {"seconds": time.process_time() - started, "wall": time.perf_counter() - wall}


def sweep(n_values: int) -> dict[str, float]:
    """Number of kernels that are compiled after the first of a sweep over values of a parameter."""
    from relaxsim import _jit
    from relaxsim.bench.tasks import DT, T
    from relaxsim.particles.simulate import simulate
    from relaxsim.system import initial
    from relaxsim.system.energy import Energy
    from relaxsim.system.system import System

    base = System(Energy("a*x**4/4 - x**2/2", params={"a": 1.0}), temperature=T)
    counts = []
    for k in range(n_values):
        system = base.with_params(a=1.0 + 0.1 * k)
        simulate(system, initial.point(1.0), n_particles=128, dt=DT, times=[0.0, 10 * DT], rng=1, progress=False)
        counts.append(len(_jit.compiled_kernels))
    return {"kernels": counts[-1] - counts[0], "first": counts[0]}


def dense(dim: int) -> dict[str, float]:
    """The time of a step of a system of many coordinates."""
    from relaxsim.bench.many import timed

    return timed(dim)


def density_memory(cells: int) -> dict[str, float]:
    """Peak memory of a density in the plane, in numbers of 8 bytes a cell, beyond what was in use before."""
    from relaxsim.bench.density import Task, double_well, equation, evolved

    def run(n: int) -> None:
        evolved(equation(Task("", double_well, (n, n), 1.0, 1.0)), 1.0)

    run(192)  # compiles, and imports all there is to import
    before = _status("VmRSS")
    run(cells)
    return {"doubles": (_status("VmHWM") - before) / 8 / cells**2}


def fresh_cache() -> tempfile.TemporaryDirectory[str]:
    """An empty folder for caches."""
    return tempfile.TemporaryDirectory(prefix="relaxsim-cold-")


if __name__ == "__main__":
    known = (memory, compiling, sweep, dense, density_memory)
    result = {each.__name__: each for each in known}[sys.argv[1]](int(sys.argv[2]))
    sys.stdout.write(json.dumps(result))
