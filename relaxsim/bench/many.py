"""Systems of many coordinates: against C in 64 dimensions, and against a bare matrix product in 1000."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np

from relaxsim.bench import child
from relaxsim.bench.record import Record, alternate, at_least, at_most, not_measured, paired_ratio
from relaxsim.bench.tasks import DT, T
from relaxsim.bench.yardstick import Yardstick
from relaxsim.system.energy import Energy
from relaxsim.system.system import System

C_RATIO, OVER_PRODUCT = 1.0, 1.5
C_PARTICLES, BLOCKS = 2400, {64: 15, 1000: 2}
STEPS = {64: 400, 1000: 20}
MEAN_SQUARE = 0.7195  # of all coordinates in the C program after 400 steps


def dense(dim: int) -> System:
    """dx = -A x dt + sqrt(2T) dW with A = I + B B'/dim, B_ij = sin(1 + dim i + j)."""
    B = np.sin(1.0 + np.arange(dim * dim).reshape(dim, dim))
    A = np.eye(dim) + B @ B.T / dim

    def energy(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * np.einsum("an,an->n", x, A @ x))

    def gradient(x: np.ndarray) -> np.ndarray:
        return np.asarray(A @ x)

    return System(Energy(energy, grad=gradient, dim=dim, batched=True), temperature=T)


def timed(dim: int) -> dict[str, float]:
    """CPU seconds of a step of one particle, and of its share in a matrix product, in turn; the median of several."""
    from relaxsim.particles.batched import BatchedKernel
    from relaxsim.particles.random import BLOCK
    from relaxsim.particles.schemes import registry

    system, n, steps = dense(dim), BLOCKS[dim] * BLOCK, STEPS[dim]
    kernel = BatchedKernel(system, registry()["euler-maruyama"])
    kernel.compile()
    start = kernel.initial_state(np.ones((n, dim)))
    block = np.ascontiguousarray(start[:, :BLOCK])
    step, product, x = [], [], start
    for _ in range(5):
        x = start.copy()
        began = time.process_time()
        kernel(x, 0, n, 0, steps, 0.0, DT, 1)
        step.append((time.process_time() - began) / (n * steps))
        began = time.process_time()
        for _ in range(steps):
            system.energy.gradient_field.function(block)  # type: ignore[misc]
        product.append((time.process_time() - began) / (BLOCK * steps))
    return {
        "step": statistics.median(step),
        "over_product": paired_ratio(step, product),
        "mean_square": float(np.mean(x * x)),
    }


def against_c(yardstick: Yardstick | None, quick: bool = False) -> Record:
    """T4: the speed of a batched run over that of C, whose matrix product is written for this size by hand."""
    name = "T4: speed over C"
    if yardstick is None:
        return not_measured(name, "no gcc")

    def c() -> float:
        return yardstick.run("T4", C_PARTICLES, STEPS[64]).seconds / (C_PARTICLES * STEPS[64])

    def ours() -> float:
        found = child.measure("dense", 64, one_thread=True)
        assert abs(found["mean_square"] - MEAN_SQUARE) < 0.01, found  # the same task
        return found["step"]

    by_c, mine = alternate(c, ours, repeats=1 if quick else 7)
    note = f"{1e-6 / statistics.median(mine):.2f} against {1e-6 / statistics.median(by_c):.2f} million particle-steps/s"
    return at_least(name, paired_ratio(by_c, mine), C_RATIO, note=note)


def over_product(quick: bool = False) -> Record:
    """The time of a step in 1000 dimensions over that of its matrix product alone."""
    values = [child.measure("dense", 1000, one_thread=True)["over_product"] for _ in range(1 if quick else 3)]
    return at_most("1000 coordinates: time of a step over its matrix product", statistics.median(values), OVER_PRODUCT)


def records(yardstick: Yardstick | None, quick: bool = False) -> Iterator[Record]:
    """All of the above."""
    yield against_c(yardstick, quick)
    yield over_product(quick)
