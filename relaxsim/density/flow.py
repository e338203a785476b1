"""The equation as time steppers see it: a generator, or one for each time and density, and the free energy."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.system.relative_entropy import kl_divergence
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.fokker_planck import FokkerPlanck
    from relaxsim.system.grid import Grid

_KEPT = 4  # times whose generator and weights are kept


class Flow:
    """dp/dt = G p on flat cell masses whose total never changes.

    Where walls absorb there is one more cell, to which mass leaves and from which none comes back; so the total is kept
    there too, and a method need not know.

    Parameters
    ----------
    equation : FokkerPlanck

    Attributes
    ----------
    moving : bool
        Whether G depends on the time or on the density.
    by_density : bool
        Whether it depends on the density.
    weights_move : bool
        Whether the Gibbs masses depend on the time.
    weighed : bool
        Whether there is a Gibbs law to fall towards; not with absorbing walls.
    """

    def __init__(self, equation: FokkerPlanck) -> None:
        self._equation = equation
        self.moving, self.by_density = equation.moving, equation.by_density
        self.weights_move = equation.weights_move
        self._absorbs = equation.system.domain.absorbs
        self.weighed = not self._absorbs
        self._generators: OrderedDict[float, Any] = OrderedDict()

    @property
    def grid(self) -> Grid:
        """The grid of the masses."""
        return self._equation.grid

    @cached_property
    def generator(self) -> Any:
        """G, where it does not move."""
        return self._closed(self._equation.generator, 0.0)

    @property
    def balanced(self) -> FloatArray | None:
        """ln of the masses that G is in detailed balance with, flat; None where it is not, or moves."""
        reversible = getattr(getattr(self._equation.system, "mobility", None), "reversible", False)
        if self._absorbs or self.moving or not reversible:
            return None
        return self._equation.log_gibbs.ravel()

    def at(self, t: float, mass: FloatArray) -> Any:
        """G at a time, frozen at these masses.

        Raises
        ------
        InputError
            The energy has become infinite where there is mass.
        """
        if not self.moving:
            return self.generator
        if self.weights_move:
            self._refuse_overrun(t, mass[: self._equation.grid.n_cells])
        if self.by_density:
            return self._closed(self._equation.generator_at(t, mass[: self._equation.grid.n_cells]), t)
        if t not in self._generators:
            self._generators[t] = self._closed(self._equation.generator_at(t), t)
            while len(self._generators) > _KEPT:
                self._generators.popitem(last=False)
        return self._generators[t]

    def _refuse_overrun(self, t: float, mass: FloatArray) -> None:
        lost = float(mass[np.isneginf(self.log_gibbs(t))].sum())
        if lost > 0.0:
            raise InputError(
                f"energy: at t = {t:g} it is infinite in cells that hold {lost:.3g} of the mass, and nothing says "
                "where that goes; let the energy rise to large finite values where a wall moves into the law"
            )

    def _closed(self, generator: Any, t: float) -> Any:
        """With the cell that collects what walls absorb.

        The rates themselves: sums of columns are those only to the rounding of the fastest rate, which between deep
        wells is more than what leaves.
        """
        if not self._absorbs:
            return generator
        from scipy import sparse

        last = sparse.csr_array(self._equation.exit_rates_at(t)[None, :])
        return sparse.block_array([[generator, None], [last, sparse.csr_array((1, 1))]], format="csr")

    def enter(self, mass: FloatArray) -> FloatArray:
        """Flat masses as methods take them."""
        return np.append(mass.ravel(), 0.0) if self._absorbs else mass.ravel()

    def leave(self, mass: FloatArray) -> FloatArray:
        """Cell masses of the grid's shape."""
        grid = self._equation.grid
        return mass[: grid.n_cells].reshape(grid.shape)

    def log_gibbs(self, t: float) -> FloatArray:
        """ln of the Gibbs masses at a time, flat."""
        return self._equation.weights_at(t)[0].ravel()

    def kl(self, mass: FloatArray, t: float) -> float:
        """Relative entropy to the Gibbs masses of a time."""
        return float(kl_divergence(mass, self.log_gibbs(t)))

    def free_energy(self, mass: FloatArray, t: float) -> float:
        """F = T KL - T ln Z at a time."""
        return value_at(self._equation.system.temperature, t) * (self.kl(mass, t) - self._equation.weights_at(t)[1])


class Balance:
    """Work done on the density by changing E and T, and free energy dissipated.

    Parameters
    ----------
    flow : Flow

    Attributes
    ----------
    exact : bool
        Whether a step is one of backward Euler, whose generator is that of its end. Then all of the change of F at
        fixed p comes before the step, and what the step dissipates is never negative. Otherwise the change is shared
        between both ends (trapezoidal rule), which is second order in the step.
    work : float
        Sum of the changes of F at fixed p: of <E_new - E_old> - (T_new - T_old) S.
    """

    def __init__(self, flow: Flow, exact: bool = False) -> None:
        self._flow, self.exact = flow, exact
        self._active = flow.moving and flow.weighed
        self.work = 0.0

    def add(self, before: FloatArray, start: float, after: FloatArray, end: float) -> None:
        """Account for one step that was kept."""
        if not self._active:
            return
        first = self._change(before, start, end)
        last = first if self.exact else self._change(after, start, end)
        # into cells that open during the step mass came after E had changed there
        self.work += 0.5 * (first + last) if np.isfinite(last) else first

    def _change(self, mass: FloatArray, start: float, end: float) -> float:
        return self._flow.free_energy(mass, end) - self._flow.free_energy(mass, start)
