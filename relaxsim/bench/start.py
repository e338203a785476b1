"""How long people wait: for the first result, for a kernel to compile, for a sweep over a parameter."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from relaxsim.bench import child
from relaxsim.bench.record import Record, at_most
from relaxsim.bench.tasks import T, diffusion_machine, double_well
from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.system import System

COLD, WARM = 6.0, 1.5  # seconds
COMPILE = {2: 6.0, 4: 6.0, 8: 10.0, 16: 10.0}  # seconds, by dim

FIRST_RESULT = """
import relaxsim as rs
system = rs.System(
    rs.Energy("(x**2 - 1)**2 + y**2/2 + 0.3*x*y"),
    mobility=["1 + sin(x)**2/2", "1 + sin(y)**2/2"],
    temperature=0.5,
    domain=rs.Domain([(-3.0, 3.0), (-3.0, 3.0)]),
)
rs.simulate(system, rs.initial.normal([-1.0, 0.0], 0.3), n_particles=1000, dt=1e-3, times=[0.0, 0.01], rng=1)
"""


def first_result(quick: bool = False) -> Iterator[Record]:
    """Time of a process that imports relaxsim, runs 1000 particles for 10 steps and exits, without and with what an
    earlier one left on disk; the fastest of a few."""
    cold, warm = [], []
    for _ in range(1 if quick else 2):
        with child.fresh_cache() as folder:
            cold.append(_script(folder))
            warm += [_script(folder) for _ in range(3 if quick else 5)]
    yield at_most("first result, nothing compiled yet", min(cold), COLD, " s")
    yield at_most("first result, compiled by an earlier process", min(warm), WARM, " s")


def first_compile(dim: int) -> Record:
    """CPU time to compile the kernel that "auto" takes, in a fresh process with an empty cache."""
    with child.fresh_cache() as folder:
        seconds = child.measure("compiling", dim, folder)["seconds"]
    return at_most(f"first compile in {dim} dimensions", seconds, COMPILE[dim], " s")


def compiled_systems() -> dict[int, Callable[[], System]]:
    """A demanding system for each number of dimensions."""
    return {1: double_well, 2: _tensor, 4: _four, 8: diffusion_machine, 16: lambda: diffusion_machine(16)}


def parameter_sweep() -> Record:
    """Kernels compiled by runs with nine further values of a parameter, after a first one in an empty cache."""
    with child.fresh_cache() as folder:
        more = child.measure("sweep", 10, folder)["kernels"]
    return at_most("kernels compiled by nine more values of a parameter", more, 0)


def records(quick: bool = False) -> Iterator[Record]:
    """All of the above."""
    yield from first_result(quick)
    for dim in (4, 8) if quick else COMPILE:
        yield first_compile(dim)
    yield parameter_sweep()


def _script(folder: str) -> float:
    """Seconds of one run of FIRST_RESULT: by the clock, or of CPU time where that is less, as on a busy machine."""
    before, started = _children_seconds(), time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", FIRST_RESULT], env=child.with_cache(folder), check=True)
    return min(time.perf_counter() - started, _children_seconds() - before)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tensor() -> System:
    """A full K in a box: walls reflect obliquely."""
    return System(
        Energy("(x**2 - 1)**2 + y**2/2 + 0.3*x*y"),
        mobility=[["1 + x**2/2", "0.3*sin(y)"], ["0.3*sin(y)", "1 + cos(x)**2/2"]],
        temperature=T,
        domain=Domain([(-3.0, 3.0), (-3.0, 3.0)]),
    )


def _four() -> System:
    """Four coupled coordinates with a sine in each K."""
    return System(
        Energy("(x**2 - 1)**2 + y**2/2 + z**4/4 + w**2 + 0.3*x*y + 0.2*z*w + exp(-x**2 - z**2)"),
        mobility=[f"1 + sin({name})**2/2" for name in "xyzw"],
        temperature=T,
        domain=Domain([(-3.0, 3.0)] * 4),
    )
