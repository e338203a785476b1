"""What a Fokker-Planck equation says about rest and the way there without stepping in time."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.absorbing import Exit, exits
from relaxsim.density.checks import checked_array
from relaxsim.density.current import entropy_production, probability_current
from relaxsim.density.passage import Place, Regionlike, committor, mean_first_passage_time
from relaxsim.density.spectrum import Spectrum, spectrum
from relaxsim.density.stationary import Density, check_rest
from relaxsim.errors import InputError, warn
from relaxsim.system.measure import cell_measures
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray, as_float_array

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid


class AtRest:
    """The part of `FokkerPlanck` that solves for eigenvectors, currents and passages at its initial time."""

    system: Any
    grid: Grid
    by_density: Any
    moving: Any
    weights_move: Any
    weights_at: Any
    generator_at: Any
    log_gibbs: FloatArray
    generator: Any

    @cached_property
    def exits(self) -> list[Exit]:
        """What leaves through each absorbing wall of the domain."""
        if not self.system.domain.absorbs:
            return []
        if not hasattr(self.system, "energy"):
            raise InputError("domain: a process given by its drift has reflecting and periodic walls only so far")
        return exits(self.system, self.grid)

    @cached_property
    def exit_rates(self) -> FloatArray:
        """Rates (n_cells,) at which cells lose mass through absorbing walls; the columns of the generator sum to them,
        with a minus sign."""
        return np.asarray(np.sum([np.zeros(self.grid.n_cells), *(each.rate for each in self.exits)], axis=0))

    def stationary(self) -> Density:
        """The law at rest.

        With an energy it is the Gibbs law, whatever the mobility, and that the generator keeps it is checked. Without
        one (`from_drift`) it is solved for.

        Returns
        -------
        Density
            `mass` and `density`, shape grid.shape.

        Raises
        ------
        InputError
            Absorbing walls: nothing is left at rest.
        ConvergenceError
            A law that the generator does not keep.
        """
        if self.system.domain.absorbs:
            raise InputError(
                "stationary: walls absorb, so nothing is left at rest; the law of what is left after a long time is "
                "spectrum(1).modes[0], and it decays at the rate spectrum(1).rates[0]"
            )
        if self.weights_move:
            _say_frozen("stationary")
        mass = np.exp(self.log_gibbs)
        check_rest(self.generator_at(0.0, mass), mass)
        return Density(mass, mass / cell_measures(self.system, self.grid))

    def spectrum(self, k: int = 6) -> Spectrum:
        """The k slowest modes: relaxation rates and eigenfunctions.

        Parameters
        ----------
        k : int, default 6
            Number of modes, the law at rest included.

        Returns
        -------
        Spectrum
            `rates` (ascending; the first is 0), `modes`, `functions`, `relaxation_times`, `gap`.

        Raises
        ------
        InputError
            More modes than cells; a mobility that depends on the density.
        ConvergenceError
            The eigensolver gave up. Out of detailed balance: a rate that is asked for, beyond that of rest, is below
            1e-13 of the fastest jumps, so that rounding decides it.

        Notes
        -----
        Rates are of order h^2 in the cell width. Those below 1e-30 of the fastest jumps (passages over some 60 T) are
        rounding: that they are slow is all they say. Modes that oscillate (complex rates) need a mobility with an
        antisymmetric part, or a drift without an energy.

        Examples
        --------
        >>> import relaxsim as rs
        >>> system = rs.System("x**2/2", temperature=1.0, domain=rs.Domain([(-6, 6)]))
        >>> rs.FokkerPlanck(system, rs.Grid(system.domain, 400)).spectrum(3).rates.round(3)
        array([0., 1., 2.])
        """
        self._needs_one_generator("spectrum")
        return spectrum(self.generator, self.grid, self.log_gibbs, k, self.exit_rates)

    def probability_current(self, p: Any, *, t: float = 0.0) -> FloatArray:
        r"""The current J of a law, what particles carry: dp/dt = -div J.

        .. math:: J = -S\,(p\,\nabla E + T\,\nabla p) + p\,(T\,\nabla\!\cdot\!A - A\,\nabla E)

        for a mobility K = S + A. (With K in the place of S and without the second term dp/dt is the same; that form
        leaves out a part without divergence, and with it the current at rest, T div(A q).)

        Parameters
        ----------
        p : initial law or ndarray
            A law of `relaxsim.initial`, of the time `t`, or cell masses of shape grid.shape.
        t : float, default 0
            Time of the system, as `times` of `evolve`, at which energy, mobility and temperature are taken, where they
            change; a mobility that depends on the density is taken at `p`.

        Returns
        -------
        ndarray, shape (\*grid.shape, dim)
            At the cells' centres, to order h^2.

        Notes
        -----
        The sheet of current T A p along walls and forbidden regions, per length of them, is not in it: it is a term of
        the boundary. With an antisymmetric part cells there have the current of those inside, continued linearly.
        """
        t = checked_time(t)
        mass = self._mass_of(p, t)
        walls = self.exits if t == 0.0 or not self.moving else exits(self.system, self.grid, t)
        weights = self.weights_at(t)[0] if self._turns() else None
        return probability_current(self.generator_at(t, mass), self.grid, mass, walls, weights)

    def entropy_production(self, p: Any = None, *, t: float = 0.0) -> float:
        r"""The rate at which a law produces entropy, in nats per unit of time: the integral of J.(T S)^-1 J / p.

        Parameters
        ----------
        p : initial law or ndarray, optional
            By default the law at rest, which produces nothing unless the mobility has an antisymmetric part, or the
            drift no energy.
        t : float, default 0
            Time of the system, as `times` of `evolve`, at which energy, mobility and temperature are taken, where they
            change, and the law at rest with them; a mobility that depends on the density is taken at `p`.

        Returns
        -------
        float
            Without an antisymmetric part exactly -dKL/dt of the discrete equation; else to order h^2, without the sheet
            of current along walls. Infinite where a drift without an energy drives a current at rest along a direction
            in which its noise vanishes.
        """
        t = checked_time(t)
        log_gibbs = self.weights_at(t)[0]
        mass = np.exp(log_gibbs) if p is None else self._mass_of(p, t)
        if self.system.domain.absorbs:
            raise InputError("entropy_production: walls absorb, so there is no rest that the law is on its way to")
        generator, diffusion = self.generator_at(t, mass), self._diffusion(t, mass)
        return entropy_production(generator, self.grid, mass, log_gibbs, diffusion, self._turns())

    def mean_first_passage_time(self, region: Regionlike | None = None) -> FloatArray:
        """Mean time from each cell until a region is first entered.

        Parameters
        ----------
        region : str, callable or ndarray of bool, optional
            Text such as ``"x > 1"`` or ``"abs(x) < 0.1 and y > 0"``, a pointwise function of `x`, indexable by
            component, that is positive inside, or a mask of shape grid.shape. Absorbing walls count as well, and
            without a region only they do.

        Returns
        -------
        ndarray, shape grid.shape
            Zero in cells whose centre is inside, infinite where the region may never be reached, nan in forbidden
            cells. Of order h^2 where the edge of the region is smooth; a mask ends at the faces of its cells.

        Raises
        ------
        InputError, ShapeError, ExpressionError
            A region that cannot be read or holds no cell; none, and no wall absorbs; a mobility that depends on the
            density.
        ConvergenceError
            Passages too rare for double precision, with times beyond about 1e10 times the fastest.

        Notes
        -----
        The time tau(x) solves L* tau = -1 outside and tau = 0 on the edge of the region, with L* the adjoint of the
        Fokker-Planck operator (Pontryagin, Andronov and Vitt 1933; Gardiner, *Stochastic Methods*, section 5.5).
        """
        self._needs_one_generator("mean_first_passage_time")
        if region is None and not self.system.domain.absorbs:
            raise InputError("region: expected a condition such as 'x > 1', for no wall of the domain absorbs")
        place = None if region is None else Place.of(region, self.grid, "region")
        return mean_first_passage_time(self.generator, self.grid, place, self.exit_rates, self._forbidden())

    def committor(self, a: Regionlike, b: Regionlike) -> FloatArray:
        """Probability, from each cell, to reach region b before region a.

        Parameters
        ----------
        a, b : str, callable or ndarray of bool
            Regions as in `mean_first_passage_time`, without a common cell. What a wall absorbs reaches neither.

        Returns
        -------
        ndarray, shape grid.shape
            0 in a, 1 in b, nan in forbidden cells and where neither is reached; of order h^2.

        Raises
        ------
        InputError, ShapeError, ExpressionError
            Regions that cannot be read, hold no cell, or meet; a mobility that depends on the density.

        Notes
        -----
        It solves L* q = 0 between the two (E and Vanden-Eijnden, Annu. Rev. Phys. Chem. 61 (2010) 391).
        """
        self._needs_one_generator("committor")
        first, second = Place.of(a, self.grid, "a"), Place.of(b, self.grid, "b")
        return committor(self.generator, self.grid, first, second, self.exit_rates, self._forbidden())

    def _forbidden(self) -> Any:
        return np.isneginf(self.log_gibbs.ravel())

    def _mass_of(self, p: Any, t: float) -> FloatArray:
        if hasattr(p, "masses"):
            return np.asarray(p.at(t).masses(self.system, self.grid), dtype=np.float64)
        if not self.system.domain.absorbs:
            return checked_array(p, self.grid.shape, "p")
        if np.iscomplexobj(p):
            raise InputError("p: expected real cell masses, got complex numbers; take their real part")
        mass = as_float_array(p, "p")  # what is left sums to anything up to one
        if mass.shape == self.grid.shape and not mass.any():
            return mass
        with np.errstate(all="ignore"):
            return np.asarray(checked_array(mass / mass.sum(), self.grid.shape, "p") * mass.sum())

    def _turns(self) -> bool:
        """Whether loops of four cells carry the currents of an antisymmetric part."""
        mobility = getattr(self.system, "mobility", None)
        return bool(mobility is not None and self.grid.dim > 1 and not mobility.reversible)

    def _needs_one_generator(self, what: str) -> None:
        if self.by_density:
            raise InputError(
                f"{what}: the mobility depends on the density, so no one linear equation has modes and passages; "
                "freeze it: give a System with a mobility K(x), such as that at the density at rest"
            )
        if self.moving:
            _say_frozen(what)

    def _diffusion(self, t: float, mass: FloatArray) -> FloatArray | None:
        """D = T S at the cells' centres where the law at rest has currents; None in detailed balance."""
        points = self.grid.points
        mobility = getattr(self.system, "mobility", None)
        if mobility is None:
            return np.asarray(self.system.half_covariance(points, t), dtype=np.float64)
        if getattr(mobility, "reversible", True):
            return None
        density = (mass / cell_measures(self.system, self.grid)).ravel()
        arguments = (points, t, density) if self.by_density else (points, t)
        tensors = np.asarray(mobility.symmetric(*arguments), dtype=np.float64)
        shape = (self.grid.n_cells, self.grid.dim, self.grid.dim)
        return np.broadcast_to(value_at(self.system.temperature, t) * tensors, shape)


def _say_frozen(what: str) -> None:
    """Warn that an answer is that of a system which does not move."""
    warn(
        f"{what}: the system changes with time; this is what it would be if E, K and T stayed as they are at t = 0. "
        "For another time give a System with the values of that time"
    )


def checked_time(t: Any) -> float:
    """A finite number, of a time."""
    if isinstance(t, bool) or not isinstance(t, (int, float, np.integer, np.floating)) or not np.isfinite(t):
        raise InputError(f"t: expected a finite time such as path.times[5], got {t!r}")
    return float(t)
