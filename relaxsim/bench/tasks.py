"""The systems whose speed is measured: T = 1/2, dt = 1e-3, Euler-Maruyama, all particles at one point.

T4, a dense linear force in 64 dimensions, runs as a batched system: see `many`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.system import System

T, DT = 0.5, 1e-3


@dataclass(frozen=True)
class Task:
    """A system and the size of a run of it.

    Attributes
    ----------
    id : str
        Its name, also that of its row in the yardstick.
    system : callable
        Makes the system.
    dim : int
        Number of coordinates.
    start : float
        Every coordinate of every particle at the beginning.
    n_particles : int
        A multiple of 128.
    mean_square : float
        Of all coordinates after 1000 steps, known to about 0.003: a check that a program runs this very task.
    """

    id: str
    system: Callable[[], System]
    dim: int
    start: float
    n_particles: int
    mean_square: float


def double_well() -> System:
    """E = x^4/4 - x^2/2 on the line, K = 1."""
    return System(Energy("x**4/4 - x**2/2"), temperature=T)


def sine_mobility() -> System:
    """E = (x^2 - 1)^2 + y^2/2 + 0.3 x y in the plane, K = diag(1 + sin(x)^2/2, 1 + sin(y)^2/2)."""
    return System(
        Energy("(x**2 - 1)**2 + y**2/2 + 0.3*x*y"), mobility=["1 + sin(x)**2/2", "1 + sin(y)**2/2"], temperature=T
    )


def diffusion_machine(dim: int = 8) -> System:
    """E = x'Wx/2 with W_ij = cos(1 + i j) on [0, 1]^dim, K_i = 2 x_i (1 - x_i)."""
    W = np.cos(1.0 + np.outer(np.arange(dim), np.arange(dim)))
    rows = [f"x{i}*({' + '.join(f'{W[i, j]!r}*x{j}' for j in range(dim))})/2" for i in range(dim)]
    text = " + ".join(rows).replace("np.float64(", "(")
    mobility = [f"2*x{i}*(1 - x{i})" for i in range(dim)]
    return System(Energy(text), mobility=mobility, temperature=T, domain=Domain.hypercube(dim))


TASKS = {
    task.id: task
    for task in (
        Task("T1", double_well, 1, 1.0, 102400, 0.931),
        Task("T2", sine_mobility, 2, 1.0, 51200, 0.658),
        Task("T3", diffusion_machine, 8, 0.5, 16000, 0.312),
    )
}
