"""Going on with a run that was killed, interrupted, or has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.particles.arguments import thread_count, whole_steps
from relaxsim.particles.checkpoint import Checkpoint, check_versions, read_checkpoint, read_snapshots
from relaxsim.particles.configuration import check_expected, observables_from, restore, scheme_of
from relaxsim.particles.observables.base import Observable
from relaxsim.particles.observables.recorder import Recorder, named
from relaxsim.particles.path import EnsemblePath
from relaxsim.particles.random import BLOCK
from relaxsim.particles.run import AnyKernel, Run, RunState
from relaxsim.particles.schemes import Scheme
from relaxsim.particles.simulate import compiled, finished
from relaxsim.record import Record
from relaxsim.system import saved
from relaxsim.system.system import System
from relaxsim.system.validate import Problems, positive_number


def resume(
    checkpoint: str | os.PathLike[str],
    system: System | None = None,
    *,
    scheme: str | Scheme | None = None,
    observables: Mapping[str, Observable] | Sequence[Observable] | Observable | None = None,
    threads: int | None = None,
    checkpoint_every: float | None = None,
    progress: bool | None = None,
    **expected: Any,
) -> EnsemblePath:
    """Go on with a run from its checkpoint; the result has the bits of a run that was never interrupted.

    That holds for any number of threads, with the same versions of relaxsim, NumPy and Numba, which is checked, on the
    same kind of processor, which is not. The run keeps writing to the file. Of a run that has ended, the result is
    given back.

    Parameters
    ----------
    checkpoint : path-like
        What `simulate` was told as `checkpoint`.
    system : System, optional
        Needed where it has Python functions; compared with the file's at 32 points.
    scheme : str or Scheme, optional
        Needed for a scheme of your own; the id of another must agree with the checkpoint.
    observables : optional
        Needed for those that have Python functions and for classes of your own, as they were made for `simulate`;
        functions are compared by their values at 32 points.
    threads : int, optional
        By default all cores this process may run on.
    checkpoint_every : float, optional
        Seconds between two checkpoints, by default as before.
    progress : bool, optional
        As for `simulate`.
    **expected
        Arguments of `simulate`, such as ``initial=law, n_particles=1000, rng=1``, that the checkpoint must agree with.

    Returns
    -------
    EnsemblePath

    Raises
    ------
    FileNotFoundError
        There is no such file.
    InputError
        It is damaged, or of other versions, another system or another configuration; the message says what differs.
    """
    path = Path(checkpoint)
    record = read_checkpoint(path)
    check_versions(path, record)
    stored = record.about["configuration"]
    problems = Problems()
    given = named(observables, problems)
    every = record.about["checkpoint_every"] if checkpoint_every is None else checkpoint_every
    interval = positive_number(every, "checkpoint_every", problems)
    count = thread_count(threads, problems)
    problems.raise_if_any()
    made = saved.rebuild(record.about["system"], record.arrays, system)
    check_expected(stored, expected, made)
    run = _run(stored, made, count, observables_from(stored["observables"], given, made))
    row = scheme_of(stored, scheme)
    kernel = compiled(
        made, row, stored["noise"], stored["walls"], stored["store_windings"], stored["dtype"],
        run.recorder.regions(made), stored["device"],
    )  # fmt: skip
    state = _state(path, record, run, kernel)
    about = {name: record.about[name] for name in ("configuration", "system", "hash")}
    probed = {name: values for name, values in record.arrays.items() if name.startswith(saved.PROBED)}
    keeper = Checkpoint(path, interval, run, about, probed, record.about["token"], record.about["checksums"])
    return finished(run, kernel, state, keeper.keep(kernel, state, progress))


def _run(stored: Mapping[str, Any], system: System, threads: int, observables: Mapping[str, Observable]) -> Run:
    """The run of a configuration, its observables begun."""
    times, problems = np.array(stored["times"]), Problems()
    steps = whole_steps(times, stored["dt"], problems)
    problems.raise_if_any()
    run = Run(
        system, stored["n_particles"], stored["dt"], times, steps, stored["seed"], threads, stored["store"],
    )  # fmt: skip
    run.recorder = Recorder(observables)
    run.recorder.begin(system, run.n, run.times, run.t0, run.dt, run.first_particle, run.seed)
    return run


def _state(path: Path, record: Record, run: Run, kernel: AnyKernel) -> RunState:
    """Where the run stood."""
    about, x = record.about, record.arrays["state"]
    expected = (kernel.rows, -(-run.n // BLOCK) * BLOCK)
    if x.shape != expected or x.dtype != kernel.plan.dtype:
        raise InputError(f"{path}: its state is {x.dtype} {x.shape}, expected {kernel.plan.dtype} {expected}")
    state = RunState(x, about["step"], about["reached"], about["accepted"])
    if run.store == "all" or (run.store == "final" and len(run.times) == 1):
        state.stored = np.empty((len(run.times), kernel.stored_rows, run.n), dtype=kernel.plan.dtype)
        read_snapshots(path, record, state.stored)
    restore(run.recorder.observables, record.arrays)
    return state
