"""The Fokker-Planck equation of a system on a grid."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.absorbing import exit_rates, without_exits
from relaxsim.density.at_rest import AtRest
from relaxsim.density.checks import (
    check_fit,
    check_given,
    check_mobility,
    checked_array,
    warn_if_coarse,
    warn_if_outgrown,
    warn_if_pressed,
)
from relaxsim.density.descent import Descent
from relaxsim.density.evolve import evolve
from relaxsim.density.from_drift import DriftProcess, drift_generator
from relaxsim.density.generator import build_generator, needs_tensor
from relaxsim.density.methods import NAMES as METHODS
from relaxsim.density.methods import unknown
from relaxsim.density.path import DensityPath
from relaxsim.density.stationary import log_rest
from relaxsim.density.stepping import steps_per_interval
from relaxsim.errors import InputError, warn
from relaxsim.system.measure import cell_measures, on_manifold
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.temperature import Temperature, gibbs_moves
from relaxsim.system.validate import FloatArray, Problems, check_times, positive_number

if TYPE_CHECKING:
    from relaxsim.system.domain import Domain
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

_TIMES_KEPT = 4  # times whose Gibbs weights are kept
_LOST = 1e-2  # share of an initial law in forbidden cells that is worth a warning


class FokkerPlanck(AtRest, Descent):
    """The equation dp/dt = div(p K grad E + T K grad p) on the cells of a grid, no flux through walls.

    The discretisation is a Markov jump process in detailed balance with the Gibbs masses of the cells. It
    conserves mass, keeps densities nonnegative, has the Gibbs law at rest and lowers the free energy, all to
    rounding; the error of order h^2 is in the speed only.

    Parameters
    ----------
    system : System
        One to three dimensions. The mobility may be any positive K(x), with an antisymmetric part, and depend on the
        density; energy, mobility and temperature may depend on time.
    grid : Grid
        Cells inside the system's domain.

    Attributes
    ----------
    gibbs, log_gibbs : ndarray, shape grid.shape
        Gibbs masses of the cells and their logarithms (kept apart: masses underflow).
    log_partition : float
        ln of the integral of exp(-E/T) over the grid's box, k_B = 1.
    generator : scipy.sparse.csr_array, shape (n_cells, n_cells)
        G of dp/dt = G p for cell masses p in C order, at time zero; built on first use. `generator_at` and `at` serve
        other times and densities.

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
        check_given(system, grid)
        if grid.measure is not None:
            system = on_manifold(system, grid.measure)
        check_fit(system, grid)
        needs_tensor(system)
        check_mobility(system, grid)
        self.system = system
        self.grid = grid
        self.log_gibbs, self.log_partition = log_cell_weights(system, grid)
        self.log_gibbs.flags.writeable = False
        self._weights: OrderedDict[float, tuple[FloatArray, float]] = OrderedDict()
        self._exit_rates: dict[float, FloatArray] = {}
        warn_if_coarse(system, grid, self.log_gibbs)

    @classmethod
    def from_drift(
        cls, mu: Any, sigma: Any, domain: Domain, grid: Grid, *, time_dependent: bool = False
    ) -> FokkerPlanck:
        """The equation of any Itô process dx = mu dt + dW, Cov(dW) = Sigma dt, where no energy is known.

        Rates are exponentially fitted to the drift along each jump: mass is conserved and no probability negative, as
        always. But there is no exact Gibbs law: the law at rest is solved for, and is of second order in the cell
        width. It takes the place of the Gibbs law: `gibbs`, `log_gibbs` and relative entropies refer to it. What needs
        an energy refuses: `relaxsim.track`, `proximal` and `initial.gibbs()` (pass `gibbs`). To load a path of Python
        functions, pass the `system` of this.

        Parameters
        ----------
        mu : text, number, sequence of these, or callable
            A drift for each coordinate; a function ``mu(x)`` returns as many numbers.
        sigma : text, number, sequence, rows of these, array, or callable
            Covariance of the noise per time, a number, a diagonal or a symmetric matrix, positive semidefinite: for
            dx = mu dt + sqrt(2 T K) dW that is 2 T K.
        domain : Domain
            With reflecting and periodic walls, in one to three dimensions.
        grid : Grid
            Cells inside the domain.
        time_dependent : bool, default False
            Whether functions take a second argument t. In text, just use ``t``.

        Returns
        -------
        FokkerPlanck
            Its `system` is the process; `log_partition` is zero.

        Raises
        ------
        InputError, MobilityError, DomainError, ShapeError
            A drift or covariance that is not finite or does not fit, walls that absorb, several laws at rest.

        Examples
        --------
        >>> import relaxsim as rs
        >>> plane = rs.Domain([(-5, 5), (-5, 5)])
        >>> fp = rs.FokkerPlanck.from_drift(["-x - y", "x - y"], 2.0, plane, rs.Grid(plane, 40))
        >>> bool(abs(fp.spectrum(2).rates[1].imag) > 0.5)
        True
        """
        process: Any = DriftProcess(mu, sigma, domain, time_dependent=time_dependent)
        if domain.absorbs:
            raise InputError("domain: a process given by its drift has reflecting and periodic walls only")
        check_fit(process, grid)
        equation = cls.__new__(cls)
        equation.system, equation.grid, equation._weights = process, grid, OrderedDict()
        equation.log_gibbs, equation.log_partition = log_rest(equation.generator, grid)
        equation.log_gibbs.flags.writeable = False
        return equation

    @property
    def weights_move(self) -> bool:
        """Whether the Gibbs masses depend on the time."""
        if isinstance(self.system, DriftProcess):
            return self.system.time_dependent
        return gibbs_moves(self.system)

    @property
    def by_density(self) -> bool:
        """Whether the generator depends on the density."""
        return bool(getattr(getattr(self.system, "mobility", None), "depends_on_density", False))

    @property
    def moving(self) -> bool:
        """Whether the generator depends on the time or on the density."""
        parts = (self.system, getattr(self.system, "mobility", None))
        return self.weights_move or self.by_density or any(map(_changes, parts))

    @cached_property
    def gibbs(self) -> FloatArray:
        """Gibbs masses of the cells, shape grid.shape; they sum to one."""
        return np.exp(self.log_gibbs)

    @cached_property
    def generator(self) -> Any:
        """Sparse generator of the cell masses at time zero, shape (n_cells, n_cells)."""
        return self._assembled(0.0, None)

    def weights_at(self, t: float) -> tuple[FloatArray, float]:
        """ln of the Gibbs masses and of the partition function at a time.

        Parameters
        ----------
        t : float

        Returns
        -------
        log_gibbs : ndarray, shape grid.shape
        log_partition : float
        """
        if not self.weights_move or t == 0.0:
            return self.log_gibbs, self.log_partition
        if t not in self._weights:
            driven = isinstance(self.system, DriftProcess)
            found = log_rest(self.generator_at(t), self.grid) if driven else log_cell_weights(self.system, self.grid, t)
            self._weights[t] = found
            while len(self._weights) > _TIMES_KEPT:
                self._weights.popitem(last=False)
        return self._weights[t]

    def generator_at(self, t: float, p: Any = None) -> Any:
        """The generator at a time, and at a density where the mobility depends on it.

        Parameters
        ----------
        t : float
        p : array_like, shape grid.shape or (n_cells,), optional
            Cell masses at which a mobility of `Mobility.of_density` is taken.

        Returns
        -------
        scipy.sparse.csr_array, shape (n_cells, n_cells)

        Raises
        ------
        InputError
            The mobility depends on the density and none was given.
        """
        if not self.moving:
            return self.generator
        density = None
        if self.by_density:
            if p is None:
                raise InputError("p: the mobility depends on the density; pass the cell masses it is to be taken at")
            density = np.asarray(p, dtype=np.float64).reshape(self.grid.shape) / cell_measures(self.system, self.grid)
        return self._assembled(t, density)

    def exit_rates_at(self, t: float) -> FloatArray:
        """Rates (n_cells,) at which cells lose mass through absorbing walls at a time."""
        if not self.moving:
            return self.exit_rates
        if t not in self._exit_rates:  # asked for twice in a row, by the generator and by the cell that collects
            self._exit_rates = {t: exit_rates(self.system, self.grid, t)}
        return self._exit_rates[t]

    def at(self, t: float) -> tuple[FloatArray, float, Any]:
        """ln of the Gibbs masses, ln of the partition function and the generator at a time."""
        return (*self.weights_at(t), self.generator_at(t))

    def _assembled(self, t: float, density: FloatArray | None) -> Any:
        if isinstance(self.system, DriftProcess):
            return drift_generator(self.system, self.grid, t)
        inner = build_generator(self.system, self.grid, *self.weights_at(t), t=t, density=density)
        if not self.system.domain.absorbs:
            return inner
        return without_exits(inner, self.exit_rates_at(t))

    def evolve(
        self,
        initial: Any,
        times: Any,
        method: str = "auto",
        *,
        step: float | None = None,
        tol: float | None = None,
        progress: bool | None = None,
    ) -> DensityPath:
        """Evolve a law and store it at given times.

        Parameters
        ----------
        initial : initial law or ndarray
            A law of `relaxsim.initial`, or cell masses of shape grid.shape that sum to one.
        times : array_like, shape (n_times,)
            Increasing; times[0] belongs to the initial law.
        method : {"auto", "separable", "chebyshev", "krylov", "radau", "backward-euler"}
            How to go on in time; "auto" chooses by size, stiffness and horizon, and the path says which and why.
            Backward Euler conserves mass, keeps the sign and lowers F for every step, to rounding, at order 1; for a
            mobility of the density, without `step`, pairs of steps are extrapolated where that keeps all of this. The
            others follow exp(t G) to 1e-10 of the mass or better, and promise the same up to 1e-10: see Notes.
        step : float, optional
            Fixed internal step of backward Euler (which "auto" then takes) or Radau; it has to divide every interval
            between times. Without it steps are chosen.
        tol : float, optional
            Where steps are chosen. Backward Euler: error in time that the free energy may have, in units of T, 1e-3
            by default. Radau: the same for the sum of abs(p - p'), 1e-10 by default. The other methods do without.
        progress : bool, optional
            Show a progress bar; None: after 2 s on a terminal.

        Returns
        -------
        DensityPath

        Raises
        ------
        InputError
            Unusable times, method, step, tol or initial law.
        IncompatibleSchemeError
            A method that does not serve this equation.
        ConvergenceError
            A step that lost mass or sign beyond rounding, or no step size that meets `tol`.

        Warns
        -----
        UserWarning
            A method broke its promise, and backward Euler went on from the last good time. At some stored time the law
            presses against an end of the box where the domain goes on, or, where E or T changes with time, the cells do
            not resolve the wells.

        Notes
        -----
        What is promised at each stored time: negative mass and mass defect below 1e-10 before they are mended
        (negative masses set to zero, the total to one), and a relative entropy to the Gibbs masses that grows by at
        most 1e-10 (1 + max abs(ln m)), where these do not move. Where E or T changes with time, the path carries the
        work; one step of backward Euler then has F'(p') <= F'(p) for the free energy F' at its end.
        """
        problems = Problems()
        stored = check_times(times, problems)
        if method not in METHODS:
            problems.add("method", unknown(method))
        if step is not None:
            step = positive_number(step, "step", problems, "Leave it out to have steps chosen.")
        if tol is not None:
            tol = positive_number(tol, "tol", problems, "It bounds the error in time, such as 1e-3.")
        problems.raise_if_any()
        if isinstance(self.system.temperature, Temperature):
            self.system.temperature(stored)  # before anything is solved for
        if step is not None and stored.size > 1:
            steps_per_interval(np.diff(stored), step)
        outcome = evolve(self, self._initial_masses(initial, float(stored[0])), stored, method, step, tol, progress)
        weights: FloatArray = self.log_gibbs
        partitions: float | FloatArray = self.log_partition
        if self.weights_move:
            each = [self.weights_at(float(t)) for t in stored]
            weights, partitions = np.stack([w for w, _ in each]), np.array([z for _, z in each])
            warn_if_outgrown(self.system, self.grid, stored, weights)
        warn_if_pressed(self.system, self.grid, stored, outcome.mass, self.weights_move)
        return DensityPath(
            self.system, self.grid, weights, partitions, stored, outcome.mass, outcome.solves, outcome.method,
            why=outcome.why, work=outcome.work,
        )  # fmt: skip

    def _initial_masses(self, initial: Any, t: float) -> FloatArray:
        """Cell masses of a law at a time or of an array, conditioned on the cells where the energy is finite."""
        given = not hasattr(initial, "masses")
        mass = checked_array(initial, self.grid.shape) if given else initial.at(t).masses(self.system, self.grid)
        mass = np.asarray(mass, dtype=np.float64)
        forbidden = np.isneginf(self.weights_at(t)[0])
        lost = float(mass[forbidden].sum() / mass.sum())
        if lost > 0.0 and (given or lost > 1.0 - 1e-12):
            raise InputError(
                f"initial: {lost:.3g} of the mass lies in cells where the energy is infinite; move it to "
                "where the energy is finite"
            )
        if lost > _LOST:
            warn(
                f"initial: {lost:.1%} of the law lies where the energy is infinite and was left out; the rest was "
                "scaled to one"
            )
        allowed = np.where(forbidden, 0.0, mass)
        return np.asarray(allowed / allowed.sum())

    def __repr__(self) -> str:
        heat = self.system.temperature
        shown = repr(heat) if isinstance(heat, Temperature) else f"{heat:g}"
        return f"FokkerPlanck(shape={self.grid.shape}, temperature={shown})"


def _changes(part: Any) -> bool:
    """Whether a part of a system depends on the time."""
    return bool(getattr(part, "time_dependent", False))
