"""From a law to its path: run a method, hold it to its promise, let backward Euler take over where it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from relaxsim.density.flow import Balance, Flow
from relaxsim.density.methods import METHODS, Task, check, choose
from relaxsim.density.promise import BrokenPromiseError, Fall
from relaxsim.errors import ConvergenceError, warn
from relaxsim.progress import progress_bar
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.fokker_planck import FokkerPlanck

_FALLBACK = "backward-euler"


@dataclass
class Outcome:
    """Masses at the stored times and how they came about; see `DensityPath`."""

    mass: FloatArray
    work: FloatArray | None
    solves: int
    method: str
    why: str


def evolve(
    equation: FokkerPlanck,
    start: FloatArray,
    times: FloatArray,
    method: str,
    step: float | None,
    tol: float | None,
    progress: bool | None,
) -> Outcome:
    """Masses at the times from those at the first one, by a method or by the one that suits best.

    Raises
    ------
    ConvergenceError
        A promise that backward Euler did not keep either.
    """
    flow = Flow(equation)
    found = np.empty((times.size, *equation.grid.shape))
    found[0] = start
    del start  # a cell's worth of memory: the first of the stored masses serve
    work = np.zeros(times.size) if flow.moving and flow.weighed else None
    with progress_bar(float(times[-1] - times[0]), "density", progress, unit="t") as bar:
        task = Task(equation, flow, flow.enter(found[0]), times, step, tol, bar, Balance(flow))
        name, why = choose(task) if method == "auto" else (method, "it was asked for")
        used, done, before = [name], 1, 0
        check(task, name)
        falls = flow.weighed and not flow.weights_move
        fall = Fall(task.mass, flow.log_gibbs(float(times[0]))) if falls else None
        while True:
            task.balance.exact = name == _FALLBACK
            try:
                for mass in METHODS[name].run(task):
                    task.mass = task.worst.settle(mass)
                    if fall is not None:
                        fall.to(task.mass)
                    found[done] = flow.leave(task.mass)
                    if flow.weighed:  # not a part of what the method holds, which may go
                        task.mass = flow.enter(found[done])
                    del mass
                    if work is not None:
                        work[done] = task.balance.work
                    done += 1
                break
            except BrokenPromiseError as broken:
                if name == _FALLBACK:
                    raise ConvergenceError(f"backward Euler returned {broken}; use a smaller step= or tol=") from broken
                why += _say(name, float(times[done - 1]), broken)
                name, task.times = _FALLBACK, times[done - 1 :]
                before, task.solves = before + task.solves, 0
                used.append(name)
                check(task, name)
    return Outcome(found, work, before + task.solves, ", then ".join(used), why)


def _say(name: str, t: float, broken: BrokenPromiseError) -> str:
    """Warn that backward Euler takes over, and say it in the record too."""
    what = f"{name} returned {broken} after t = {t:g}, so backward Euler took over, whose error in time is larger"
    warn(f"method: {what}; use a smaller grid or another method")
    return f"; {what}"
