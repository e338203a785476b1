"""The path of densities that a proximal recursion makes, with what each of its steps cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from relaxsim.density.path import DensityPath
from relaxsim.system.validate import FloatArray

EACH_STEP = ("iterations", "contraction", "functional", "transport", "allowance")  # arrays over steps


class ProximalPath(DensityPath):
    """Cell masses at the stored times, and a record of every proximal step between them.

    A `DensityPath` whose `method` is "proximal" and whose `steps` are the passes of all fixed-point iterations.

    Attributes
    ----------
    step, epsilon : float
        h and the strength of the entropic term.
    metric : str
        "euclidean", "geodesic" or "matrix".
    corrected : bool
        Whether the entropic bias was taken off the temperature.
    iterations : ndarray of int, shape (n_steps,)
        Passes of the fixed-point iteration, step by step.
    contraction : ndarray, shape (n_steps,)
        Largest measured contraction factor of each step.
    contraction_bound : float
        h/(h + epsilon/T'), T' the temperature the recursion ran with; `contraction` never exceeds it.
    functional : ndarray, shape (n_steps + 1,)
        The free energy <E'> + T' <ln p> that the steps descend, before and after each of them; it is that of the system
        up to a constant where the bias is not corrected.
    transport : ndarray, shape (n_steps,)
        <C, M>/2h of each step's plan, at least W^2/2h.
    allowance : ndarray, shape (n_steps,)
        By which the entropic term may raise functional + transport: (epsilon/h)(H(M) - H(M_0)) + <C, M_0>/2h with the
        best plan M_0 that leaves the law where it is. It tends to zero with epsilon/h.
    """

    def __init__(
        self, *path: Any, step: float, epsilon: float, metric: str, corrected: bool, ran_at: float, why: str
    ) -> None:
        super().__init__(*path, why=why)
        self.step, self.epsilon, self.metric, self.corrected = step, epsilon, metric, corrected
        self.contraction_bound = step / (step + epsilon / ran_at)
        self.ran_at = ran_at
        self.iterations = np.zeros(0, dtype=np.int64)
        self.contraction: FloatArray = np.zeros(0)
        self.functional: FloatArray = np.zeros(1)
        self.transport: FloatArray = np.zeros(0)
        self.allowance: FloatArray = np.zeros(0)

    def arguments(self) -> dict[str, Any]:
        """What makes it a proximal path, by name: for a file."""
        names = ("step", "epsilon", "metric", "corrected", "ran_at")
        return {name: getattr(self, name) for name in names}

    @property
    def effective_temperature(self) -> float:
        """T' + epsilon/2h: the temperature of the law at rest, to first order in epsilon/h."""
        return self.ran_at + self.epsilon / (2.0 * self.step)

    @property
    def excess(self) -> FloatArray:
        """functional + transport after a step less functional and allowance before, shape (n_steps,).

        Zero or negative, to rounding, for the minimiser: the plan M_0 costs more.
        """
        return np.asarray(np.diff(self.functional) + self.transport - self.allowance)
