"""Run an ensemble: check the arguments, compile the kernel, run it, hand over what it leaves."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import IncompatibleSchemeError
from relaxsim.particles.arguments import check_options
from relaxsim.particles.batched import BatchedKernel
from relaxsim.particles.checkpoint import Checkpoint, check_arguments
from relaxsim.particles.configuration import description
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.observables.accumulate import PIECE
from relaxsim.particles.observables.base import Observable
from relaxsim.particles.observables.recorder import Recorder, named
from relaxsim.particles.path import EnsemblePath
from relaxsim.particles.random import PACKING_VERSION
from relaxsim.particles.run import AnyKernel, Run, RunState, reported_weights
from relaxsim.particles.schemes import Scheme, choose
from relaxsim.particles.suggest import warn_if_unstable
from relaxsim.particles.walls import periodic_axes
from relaxsim.system.initial import Law
from relaxsim.system.region import Region
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, Problems

logger = logging.getLogger("relaxsim")


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
    observables: Mapping[str, Observable] | Sequence[Observable] | Observable | None = None,
    noise: str = "gaussian",
    walls: str = "mirror",
    dtype: str = "float64",
    device: str = "cpu",
    stationary: bool = False,
    store_windings: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
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
        A run that goes on from the end of another takes another seed: with the same one particle i would meet the same
        noise again.
    threads : int, optional
        Threads to use, by default all cores this process may run on. The result does not depend on it.
    store : {"all", "final", "none"}
        Keep the positions at all times, at the last only, or only what the observables have seen.
    observables : mapping of str to Observable, or sequence of Observable, optional
        What to measure while the particles run, such as ``{"law": rs.Histogram(grid)}``: `Histogram`, `Mean`,
        `Moments`, `Autocorrelation`, `FirstPassage` or an `Observable` of your own. They are copied; the results are
        in `path.observables`, by name, those of a sequence by their classes: ``first_passage``, ``mean``, ``mean_2``.
    noise : {"gaussian", "three-point", "two-point"}
        Law of a step's noise. Three-point noise keeps the orders of every scheme that takes it at a fraction of the
        cost, two-point noise is of order 1; with either only averages mean something, not single paths.
    walls : {"mirror", "lepingle"}
        How reflecting walls are met: by mirror images, or by Lépingle's push (Euler-Maruyama alone), which is exact for
        constant coefficients and one flat wall; with a full K the corners of a box are worse than with mirrors.
    dtype : {"float64", "float32"}
        Precision of the positions, and of all arithmetic that advances them.
    device : {"cpu", "cuda"}
        Where particles are advanced: on the processor, or on an NVIDIA card, which takes an extra of the installation
        (``pip install 'relaxsim[cuda12]'``). The random numbers are the same; rounding is not.
    stationary : bool
        Say True to use a scheme that has the right stationary law but not the right path.
    store_windings : bool
        Count the turns around periodic axes, for `path.unwrapped()`.
    checkpoint : path-like, optional
        An ``.npz`` file that is kept up to date while the run goes on, for `resume`. A killed process loses no more
        than the last interval, Ctrl-C nothing.
    checkpoint_every : float, default 60.0
        Seconds between two checkpoints.
    progress : bool, optional
        Show a progress bar; by default after 2 s when stderr is a terminal.

    Returns
    -------
    EnsemblePath

    Raises
    ------
    InputError, ShapeError, IncompatibleSchemeError
        Arguments that cannot be used; all problems in one message. Particles that start where K is singular, with a
        scheme that refuses steps: they would never move (a warning, if they are one in ten thousand or fewer).
    GPUUnavailableError
        There is no card, or the package that reaches it is not installed.
    DivergedError
        A particle became infinite or not a number: which, when, where, and a smaller dt to try.
    StorageError
        The first checkpoint, that of the initial state, could not be written.

    Warns
    -----
    CheckpointWarning
        A later checkpoint could not be written, as on a full disk. The run goes on, with its result in memory.
    StabilityWarning
        `dt` is beyond linear stability, or a step is longer than the box; `suggest_dt` finds one that is not.

    Notes
    -----
    Checkpoints hold no pickles, and are replaced as a whole. Each writes the state, 8 (or 4) bytes a particle for each
    coordinate and for what the scheme carries, and the numbers of the observables; stored positions are appended once
    to a second file beside it. The size is logged if it is above 1 GiB. A file that holds a run that has not ended is
    not written over.
    """
    problems = Problems()
    interval = check_arguments(checkpoint, checkpoint_every, problems)
    run = Run.checked(system, initial, n_particles, dt, times, rng, threads, store, problems)
    run.recorder = Recorder(named(observables, problems))
    check_options(walls, dtype, problems, device)
    problems.raise_if_any()
    run.check_mobility(problems)
    problems.raise_if_any()
    row = choose(scheme, system, noise, stationary)
    run.recorder.check(row, noise)
    # refuses what does not fit the system or the times, before anything is compiled
    run.recorder.begin(system, run.n, run.times, run.t0, run.dt, run.first_particle, run.seed)
    start = initial.at(run.t0)
    warn_if_unstable(system, start, run.dt, run.t0, run.n, run.seed, row)
    kernel = compiled(system, row, noise, walls, store_windings, dtype, run.recorder.regions(system), device)
    state = run.start(kernel, start)
    if checkpoint is None:
        return finished(run, kernel, state, run.go_on(kernel, state, progress))
    keeper = Checkpoint(checkpoint, interval, run, *description(run, kernel, initial, stationary))
    return finished(run, kernel, state, keeper.keep(kernel, state, progress))


def finished(run: Run, kernel: AnyKernel, state: RunState, stored: FloatArray | None) -> EnsemblePath:
    """What a run that has come to its end leaves behind."""
    plan, system, row = kernel.plan, run.system, kernel.plan.scheme
    if stored is None:
        stored = np.empty((0, kernel.stored_rows, run.n), dtype=plan.dtype)
    times = run.times[len(run.times) - len(stored) :]
    positions = np.swapaxes(stored[:, : system.dim], 1, 2)
    return EnsemblePath(
        times=times,
        positions=positions,
        noise=plan.noise,
        walls="lepingle" if plan.lepingle else "mirror",
        windings=_windings(system, stored) if plan.count_turns else None,
        weights=_weights(system, row, positions, times, float(run.times[0])) if row.weights is not None else None,
        acceptance=run.acceptance,
        system=system,
        dt=run.dt,
        t0=run.t0,
        scheme=row.id,
        seed=run.seed,
        threads=run.threads,
        packing_version=PACKING_VERSION,
        device=kernel.device,
        observables=run.recorder.finish(lambda k: kernel.passage_times(state.x, k)[: run.n].astype(np.float64)),
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
    compiled(system, choose(scheme, system, noise, stationary=True), noise, "mirror", False, "float64")
    return time.perf_counter() - started


def compiled(
    system: System,
    row: Scheme,
    noise: str,
    walls: str,
    windings: bool,
    dtype: str,
    regions: tuple[Region, ...] = (),
    device: str = "cpu",
) -> AnyKernel:
    """The compiled kernel; how long it took is logged."""
    if walls == "lepingle" and not row.lepingle:
        raise IncompatibleSchemeError(f"walls: 'lepingle' goes with scheme='euler-maruyama', not with {row.id!r}")
    if windings and row.coordinates is not None:
        raise IncompatibleSchemeError(f"store_windings: {row.id!r} does not count turns; use another scheme")
    started = time.perf_counter()
    with _interrupts_later():
        kernel = _kernel_class(system, device)(system, row, noise, walls, windings, dtype, regions)
        kernel.compile()
    logger.info("kernel for %s ready after %.1f s", row.id, time.perf_counter() - started)
    return kernel


def _kernel_class(system: System, device: str) -> type[AnyKernel]:
    if device == "cuda":
        from relaxsim.particles.cuda_kernel import CudaKernel

        return CudaKernel
    return BatchedKernel if system.batched else Kernel


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
    weights = np.empty(positions.shape[:2])
    for k, t in enumerate(times):
        if t == t0:
            weights[k] = 1.0
            continue
        for begin in range(0, positions.shape[1], PIECE):
            x = positions[k, begin : begin + PIECE].T.astype(np.float64)
            weights[k, begin : begin + PIECE] = reported_weights(system, row, x, float(t))
        weights[k] /= weights[k].mean()
    return weights
