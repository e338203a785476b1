"""The Fokker-Planck equation of a system on a grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.checks import check_fit, check_mobility, checked_array, warn_if_coarse
from relaxsim.density.evolve import Adaptive, Stepper, evolve_fixed, steps_per_interval
from relaxsim.density.generator import build_generator, needs_tensor
from relaxsim.density.path import DensityPath
from relaxsim.errors import InputError
from relaxsim.progress import Bar, progress_bar
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.validate import FloatArray, Problems, check_times, nearest, positive_number

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

METHODS = ("auto", "backward-euler")
_LOST = 1e-2  # share of an initial law in forbidden cells that is worth a warning


class FokkerPlanck:
    """The equation dp/dt = div(p K grad E + T K grad p) on the cells of a grid, no flux through walls.

    The discretisation is a Markov jump process in detailed balance with the Gibbs masses of the cells. It
    conserves mass, keeps densities nonnegative, has the Gibbs law at rest and lowers the free energy, all to
    rounding; the error of order h^2 is in the speed only.

    Parameters
    ----------
    system : System
        One or two dimensions, energy, mobility and temperature constant in time. The mobility is a diagonal
        K(x), or in two dimensions a constant full symmetric K.
    grid : Grid
        Cells inside the system's domain.

    Attributes
    ----------
    gibbs, log_gibbs : ndarray, shape grid.shape
        Gibbs masses of the cells and their logarithms (kept apart: masses underflow).
    log_partition : float
        ln of the integral of exp(-E/T) over the grid's box, k_B = 1.
    generator : scipy.sparse.csr_array, shape (n_cells, n_cells)
        G of dp/dt = G p for cell masses p in C order; built on first use.

    Raises
    ------
    InputError, MobilityError, DomainError
        A grid that does not fit the system, an energy that is not a number, a mobility that is not positive,
        a feature that is not supported yet.

    Warns
    -----
    UserWarning
        The energy changes by more than 4 T between neighbouring cells that matter.

    Examples
    --------
    >>> import relaxsim as rs
    >>> system = rs.System(rs.Energy("x**2/2"), temperature=1.0, domain=rs.Domain([(-6, 6)]))
    >>> fp = rs.FokkerPlanck(system, rs.Grid(system.domain, shape=120))
    >>> path = fp.evolve(rs.initial.normal([1.0], 0.5), times=[0.0, 1.0])
    >>> path.mass.shape
    (2, 120)
    """

    def __init__(self, system: System, grid: Grid) -> None:
        check_fit(system, grid)
        needs_tensor(system)
        check_mobility(system, grid)
        self.system = system
        self.grid = grid
        self.log_gibbs, self.log_partition = log_cell_weights(system, grid)
        self.log_gibbs.flags.writeable = False
        warn_if_coarse(system, grid, self.log_gibbs)

    @cached_property
    def gibbs(self) -> FloatArray:
        """Gibbs masses of the cells, shape grid.shape; they sum to one."""
        return np.exp(self.log_gibbs)

    @cached_property
    def generator(self) -> Any:
        """Sparse generator of the cell masses, shape (n_cells, n_cells)."""
        return build_generator(self.system, self.grid, self.log_gibbs, self.log_partition)

    def evolve(
        self,
        initial: Any,
        times: Any,
        method: str = "auto",
        *,
        step: float | None = None,
        tol: float = 1e-3,
        progress: bool | None = None,
    ) -> DensityPath:
        """Evolve a law and store it at given times.

        Parameters
        ----------
        initial : initial law or ndarray
            A law of `relaxsim.initial`, or cell masses of shape grid.shape that sum to one.
        times : array_like, shape (n_times,)
            Increasing; times[0] belongs to the initial law.
        method : {"auto", "backward-euler"}
            Backward Euler is the one method so far.
        step : float, optional
            Fixed internal step; it has to divide every interval between times. Without it steps are chosen.
        tol : float, default 1e-3
            Error in time that the free energy may have, in units of T, when steps are chosen.
        progress : bool, optional
            Show a progress bar; None: after 2 s on a terminal.

        Returns
        -------
        DensityPath

        Raises
        ------
        InputError
            Unusable times, method, step, tol or initial law.
        ConvergenceError
            A step that lost mass or sign beyond rounding, or no step size that meets `tol`.
        """
        problems = Problems()
        stored = check_times(times, problems)
        if method not in METHODS:
            problems.add("method", f"expected one of {METHODS}, got {method!r}{nearest(str(method), METHODS)}")
        if step is not None:
            step = positive_number(step, "step", problems, "Leave it out to have steps chosen.")
        tol = positive_number(tol, "tol", problems, "It bounds the error of F in units of T, such as 1e-3.")
        problems.raise_if_any()
        if step is not None and stored.size > 1:
            steps_per_interval(np.diff(stored), step)
        start = self._initial_masses(initial)
        mass = np.empty((stored.size, *self.grid.shape))
        mass[0] = start
        stepper = Stepper(self.generator)
        with progress_bar(float(stored[-1] - stored[0]), "density", progress, unit="t") as bar:
            for k, present in enumerate(self._run(stepper, start.ravel(), stored, step, tol, bar), start=1):
                mass[k] = present.reshape(self.grid.shape)
        return DensityPath(
            self.system, self.grid, self.log_gibbs, self.log_partition, stored, mass, stepper.solves, "backward-euler"
        )

    def _run(
        self, stepper: Stepper, mass: FloatArray, times: FloatArray, step: float | None, tol: float, bar: Bar
    ) -> Iterator[FloatArray]:
        if step is not None:
            return evolve_fixed(stepper, mass, times, step, bar)
        # A first step that moves about tol of the mass; doubling finds the right one from there.
        speed = float(np.abs(self.generator @ mass).sum())
        adaptive = Adaptive(stepper, self.log_gibbs.ravel(), tol)
        return adaptive.run(mass, times, tol / max(speed, 1e-300), bar)

    def _initial_masses(self, initial: Any) -> FloatArray:
        """Cell masses of a law or array, conditioned on the cells where the energy is finite."""
        given = not hasattr(initial, "masses")
        mass = checked_array(initial, self.grid.shape) if given else initial.masses(self.system, self.grid)
        mass = np.asarray(mass, dtype=np.float64)
        forbidden = np.isneginf(self.log_gibbs)
        lost = float(mass[forbidden].sum() / mass.sum())
        if lost > 0.0 and (given or lost > 1.0 - 1e-12):
            raise InputError(
                f"initial: {lost:.3g} of the mass lies in cells where the energy is infinite; move it to "
                "where the energy is finite"
            )
        if lost > _LOST:
            warnings.warn(
                f"initial: {lost:.1%} of the law lies where the energy is infinite and was left out; the "
                "rest was scaled to one",
                UserWarning,
                stacklevel=4,
            )
        allowed = np.where(forbidden, 0.0, mass)
        return np.asarray(allowed / allowed.sum())

    def __repr__(self) -> str:
        return f"FokkerPlanck(shape={self.grid.shape}, temperature={self.system.temperature:g})"
