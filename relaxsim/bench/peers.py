"""What else people run such ensembles with, one thread each, on the tasks of `relaxsim.bench.tasks`.

Each is written as a user of that package would write it; those that are not installed are left out. jax and torch start
threads of their own unless told not to before they are imported, which only a process of their own can be sure of:
``python -m relaxsim.bench.peers NAME TASK`` prints million particle-steps per CPU second and the mean square.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from relaxsim.bench.record import Record, cpu_timed
from relaxsim.bench.tasks import DT, TASKS, T, Task

STEPS = 1000
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}

W = np.cos(1.0 + np.outer(np.arange(8), np.arange(8)))


def drift_and_amplitude(task: str, x: Any, xp: Any) -> tuple[Any, Any]:
    """Itô drift and noise amplitude sqrt(2 T K) for x of shape (dim, n), in the array language `xp`."""
    if task == "T1":
        return x - x * x * x, np.sqrt(2 * T)
    if task == "T2":
        slope = xp.stack([4 * x[0] * (x[0] * x[0] - 1) + 0.3 * x[1], x[1] + 0.3 * x[0]])
        sine = xp.sin(x)
        K = 1 + 0.5 * sine * sine
        return T * sine * xp.cos(x) - K * slope, xp.sqrt(2 * T * K)
    K = 2 * x * (1 - x)
    return T * (2 - 4 * x) - K * (xp.asarray(W) @ x), xp.sqrt(2 * T * K)


def walls(task: str, x: Any, xp: Any) -> Any:
    """Mirror images at 0 and 1, on T3."""
    return 1 - xp.abs(1 - xp.abs(x)) if task == "T3" else x


def numpy_loop(task: Task, n: int) -> Callable[[], np.ndarray]:
    """A loop over steps, arrays over particles."""
    rng = np.random.Generator(np.random.SFC64(1))

    def run() -> np.ndarray:
        x = np.full((task.dim, n), task.start)
        for _ in range(STEPS):
            drift, amplitude = drift_and_amplitude(task.id, x, np)
            x = walls(task.id, x + drift * DT + amplitude * np.sqrt(DT) * rng.standard_normal(x.shape), np)
        return x

    return run


def _numba_step(task: str) -> Any:
    """One particle, one step, in place, given a function that draws a normal."""
    import numba

    @numba.njit(fastmath=True)
    def double_well(x, normal, rng):
        x[0] += (x[0] - x[0] ** 3) * DT + np.sqrt(2 * T * DT) * normal(rng)

    @numba.njit(fastmath=True)
    def sine_mobility(x, normal, rng):
        a, b = x
        K, L = 1 + 0.5 * np.sin(a) ** 2, 1 + 0.5 * np.sin(b) ** 2
        slope_a, slope_b = 4 * a * (a * a - 1) + 0.3 * b, b + 0.3 * a
        x[0] += (T * np.sin(a) * np.cos(a) - K * slope_a) * DT + np.sqrt(2 * T * K * DT) * normal(rng)
        x[1] += (T * np.sin(b) * np.cos(b) - L * slope_b) * DT + np.sqrt(2 * T * L * DT) * normal(rng)

    @numba.njit(fastmath=True)
    def diffusion_machine(x, normal, rng):
        slope = np.empty(8)
        for a in range(8):
            total = 0.0
            for b in range(8):
                total += W[a, b] * x[b]
            slope[a] = total
        for a in range(8):
            K = 2 * x[a] * (1 - x[a])
            there = x[a] + (T * (2 - 4 * x[a]) - K * slope[a]) * DT + np.sqrt(2 * T * K * DT) * normal(rng)
            x[a] = 1 - abs(1 - abs(there))

    return {"T1": double_well, "T2": sine_mobility, "T3": diffusion_machine}[task]


def _numba_run(task: Task, n: int, normal: Any, rng: Any) -> Callable[[], np.ndarray]:
    import numba

    step = _numba_step(task.id)

    @numba.njit(fastmath=True)
    def advance(x, rng):
        for p in range(x.shape[0]):
            here = x[p].copy()
            for _ in range(STEPS):
                step(here, normal, rng)
            x[p] = here

    def run() -> np.ndarray:
        x = np.full((n, task.dim), task.start)
        advance(x, rng)
        return x

    return run


def numba_loop(task: Task, n: int) -> Callable[[], np.ndarray]:
    """A compiled loop over particles that calls np.random.standard_normal()."""
    import numba

    @numba.njit
    def normal(rng):
        return np.random.standard_normal()  # noqa: NPY002

    return _numba_run(task, n, normal, 0)


def numba_generator(task: Task, n: int) -> Callable[[], np.ndarray]:
    """The same with a NumPy Generator."""
    import numba

    @numba.njit
    def normal(rng):
        return rng.standard_normal()

    return _numba_run(task, n, normal, np.random.Generator(np.random.PCG64(1)))


def jax_loop(task: Task, n: int) -> Callable[[], np.ndarray]:
    """jit of a fori_loop with jax.random.normal."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def body(_: Any, carried: Any) -> Any:
        key, x = carried
        key, sub = jax.random.split(key)
        drift, amplitude = drift_and_amplitude(task.id, x, jnp)
        there = x + drift * DT + amplitude * np.sqrt(DT) * jax.random.normal(sub, x.shape, jnp.float64)
        return key, walls(task.id, there, jnp)

    start = jnp.full((task.dim, n), task.start)
    advance = jax.jit(lambda key: jax.lax.fori_loop(0, STEPS, body, (key, start))[1])
    return lambda: np.asarray(advance(jax.random.key(1)).block_until_ready())


def diffrax_euler(task: Task, n: int) -> Callable[[], np.ndarray]:
    """diffeqsolve with Euler; the whole ensemble is one state. It has no walls: coefficients see the clipped x."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax

    jax.config.update("jax_enable_x64", True)
    shape = (task.dim, n)

    def coefficients(x: Any) -> Any:
        return drift_and_amplitude(task.id, jnp.clip(x, 0, 1) if task.id == "T3" else x, jnp)

    def advance(key: Any) -> Any:
        noise = diffrax.UnsafeBrownianPath(shape=shape, key=key)
        amplitude = lambda t, x, _: lineax.DiagonalLinearOperator(jnp.broadcast_to(coefficients(x)[1], shape))  # noqa: E731
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda t, x, _: coefficients(x)[0]), diffrax.ControlTerm(amplitude, noise)
        )
        return diffrax.diffeqsolve(
            terms, diffrax.Euler(), t0=0.0, t1=STEPS * DT, dt0=DT, y0=jnp.full(shape, task.start), max_steps=None,
            saveat=diffrax.SaveAt(t1=True), adjoint=diffrax.ForwardMode(),
        ).ys[0]  # fmt: skip

    compiled = jax.jit(advance)
    return lambda: np.asarray(compiled(jax.random.key(1)).block_until_ready())


def torchsde_euler(task: Task, n: int) -> Callable[[], np.ndarray]:
    """torchsde.sdeint with method="euler". It has no walls: coefficients see the clipped x."""
    import torch
    import torchsde

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)

    class System(torch.nn.Module):  # type: ignore[misc]
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, x):
            return self.coefficients(x)[0]

        def g(self, t, x):
            return self.coefficients(x)[1]

        def coefficients(self, x):
            y = (x.clamp(0, 1) if task.id == "T3" else x).T
            drift, amplitude = drift_and_amplitude(task.id, y, torch)
            return drift.T, torch.as_tensor(amplitude).expand(task.dim, n).T

    system, times = System(), torch.tensor([0.0, STEPS * DT])

    def run() -> np.ndarray:
        with torch.no_grad():
            start = torch.full((n, task.dim), task.start)
            return torchsde.sdeint(system, start, times, method="euler", dt=DT)[-1].numpy()

    return run


# name -> packages, particles by task, function
PEERS: dict[str, tuple[tuple[str, ...], dict[str, int], Callable[[Task, int], Callable[[], np.ndarray]]]] = {
    "NumPy loop": ((), {"T1": 5000, "T2": 4000, "T3": 1000}, numpy_loop),
    "Numba loop": (("numba",), {"T1": 10000, "T2": 4000, "T3": 1000}, numba_loop),
    "Numba + Generator": (("numba",), {"T1": 10000, "T2": 4000, "T3": 1000}, numba_generator),
    "JAX loop": (("jax",), {"T1": 4096, "T2": 4096, "T3": 1024}, jax_loop),
    "diffrax": (("diffrax", "jax", "lineax"), {"T1": 4096, "T2": 4096, "T3": 1024}, diffrax_euler),
    "torchsde": (("torchsde", "torch"), {"T1": 4096, "T2": 2048, "T3": 1024}, torchsde_euler),
}


def speed(name: str, task: str, repeats: int = 3) -> tuple[float, float]:
    """Million particle-steps per CPU second, and the mean square at the end, measured in this process."""
    _, particles, make = PEERS[name]
    n = particles[task]
    run = make(TASKS[task], n)
    mean_square = float(np.mean(run() ** 2))  # compiles
    seconds = statistics.median(cpu_timed(run)() for _ in range(repeats))
    return n * STEPS / seconds / 1e6, mean_square


def records(quick: bool = False) -> Iterator[Record]:
    """relaxsim's speed over that of each installed peer; its own is measured anew beside each."""
    from relaxsim.bench.ensemble import kernel_run

    for task in list(TASKS.values())[: 1 if quick else None]:
        ours = cpu_timed(kernel_run(task))
        for name, (packages, _, _) in PEERS.items():
            if any(importlib.util.find_spec(package) is None for package in packages):
                continue
            mine = task.n_particles * STEPS / statistics.median(ours() for _ in range(3)) / 1e6
            theirs = _speed_in_child(name, task.id)
            yield Record(
                f"{task.id}: speed over {name}", mine / theirs, note=f"{mine:.0f} against {theirs:.3g} million"
            )


def _speed_in_child(name: str, task: str) -> float:
    command = [sys.executable, "-P", "-m", "relaxsim.bench.peers", name, task]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    if done.returncode:
        raise RuntimeError(f"the peer {name} failed on {task}:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])[0])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(speed(sys.argv[1], sys.argv[2])) + "\n")
