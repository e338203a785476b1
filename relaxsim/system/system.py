"""A relaxing system: energy E, mobility K, temperature T and domain, said once and checked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from relaxsim.errors import DomainError, InputError, MobilityError, ShapeError
from relaxsim.system.batched_mobility import BatchedMobility
from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.expression import check_none_skipped
from relaxsim.system.field import format_point
from relaxsim.system.mobility import Mobility
from relaxsim.system.temperature import Temperature, check_temperature, law_of, value_at
from relaxsim.system.validate import FloatArray, Problems, check_params, check_points, nearest

PERIODIC = 1e-9  # relative difference of E or K at the two ends of a periodic axis that is refused


class System:
    """What relaxes: dx = [T div K - K grad E] dt + sqrt(2 T) dW with dW ~ N(0, S dt) (Itô), and its density.

    S is the symmetric part of the mobility K, and K itself unless it was given an antisymmetric part. The density obeys
    dp/dt = div(K (p grad E + T grad p)); both have the Gibbs law exp(-E/T)/Z at rest. Everything is dimensionless and
    k_B = 1. A system does not change; `replace` and `with_params` make others.

    Parameters
    ----------
    energy : Energy, str or callable
        E(x); a text or function is passed to `Energy`.
    mobility : Mobility, float, array_like, str, list of str or callable, default 1.0
        K(x), symmetric and positive definite inside the domain, positive semidefinite on its walls;
        `Mobility.with_antisymmetric` adds an antisymmetric part.
    temperature : float, str, callable or Temperature
        T > 0, in units of energy: a number, or a text or function of the time t; a table of values is
        `Temperature.piecewise_linear`. One with a name is ``Temperature("kT", params={"kT": 0.5})``.
    domain : Domain, optional
        By default all of R^dim.

    Attributes
    ----------
    dim : int
        Number of coordinates: that of the domain, of a mobility with an entry for each, or of ``Energy(..., dim=)``.
        Where none of these is given, texts for E and K have to name all coordinates from x0 on, in any of them.
    temperature : float or Temperature
        A function of time where it changes; `temperature_at` serves both.

    Raises
    ------
    InputError, ShapeError, DomainError, MobilityError, ExpressionError
        Whatever does not fit; all problems are collected in one message.

    References
    ----------
    Fokker-Planck equation and Itô drift: Risken, *The Fokker-Planck Equation*, 2nd ed., sections 4.7 and 3.4.

    Examples
    --------
    >>> from relaxsim import Domain, System
    >>> System("(x**2 - 1)**2", temperature=0.5, domain=Domain([(-3, 3)])).drift([[0.5]])
    array([[1.5]])
    """

    energy: Energy
    mobility: Mobility
    temperature: Any
    domain: Domain
    dim: int

    def __init__(
        self,
        energy: Energy | str | Callable[..., Any],
        mobility: Any = 1.0,
        temperature: float | str | Callable[[Any], Any] | Temperature | None = None,
        domain: Domain | None = None,
    ) -> None:
        problems = Problems()
        given_energy = _attempt("energy", lambda: energy if isinstance(energy, Energy) else Energy(energy), problems)
        given_mobility = _attempt("mobility", lambda: Mobility.coerce(mobility), problems)
        value = check_temperature(temperature, problems)
        if domain is not None and not isinstance(domain, Domain):
            problems.add(
                "domain", f"expected a Domain, got {type(domain).__name__}; write Domain([(-3, 3)])", DomainError
            )
        problems.raise_if_any()
        dim = _common_dim(given_energy, given_mobility, domain)
        space = domain if domain is not None else Domain.unbounded(dim)
        if given_energy.batched and not (given_mobility.is_constant or isinstance(given_mobility, BatchedMobility)):
            problems.add("mobility", "a batched energy goes with a constant mobility or one made with batched=True")
        if isinstance(given_mobility, BatchedMobility) and not given_energy.batched:
            problems.add(
                "mobility", "a batched mobility goes with a batched energy; make it with Energy(..., batched=True)"
            )
        problems.raise_if_any()
        points = space.sample_points()
        bound_energy = _attempt("energy", lambda: given_energy.bound_to(dim, points), problems)
        bound_mobility = _attempt("mobility", lambda: given_mobility.bound_to(dim, points), problems)
        problems.raise_if_any()
        self._set(bound_energy, bound_mobility, value, space)
        _check_energy(self, problems)
        check_mobility(self, problems)
        _check_periodic(self, problems)
        problems.raise_if_any()

    def _set(self, energy: Energy, mobility: Mobility, temperature: float | Temperature, domain: Domain) -> None:
        fields = {
            "energy": energy,
            "mobility": mobility,
            "temperature": temperature,
            "domain": domain,
            "dim": domain.dim,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a System does not change; use system.replace({name}=...) or system.with_params(...)")

    def gradient(self, x: Any, t: float = 0.0) -> FloatArray:
        """Gradient of E at points (..., dim)."""
        return self.energy.gradient(x, t)

    def divergence(self, x: Any, t: float = 0.0) -> FloatArray:
        """div K (on the second index) at points (..., dim)."""
        return self.mobility.divergence(x, t)

    def temperature_at(self, t: float = 0.0) -> float:
        """T at a time."""
        return value_at(self.temperature, t)

    def drift(self, x: Any, t: float = 0.0) -> FloatArray:
        """The Itô drift T div K - K grad E at points (..., dim)."""
        points = check_points(x, self.dim)
        if self.mobility.couples_axes:
            force = np.einsum("...ab,...b->...a", self.mobility(points, t), self.gradient(points, t))
        else:
            force = self.mobility.diagonal_of(points, t) * self.gradient(points, t)
        return np.asarray(self.temperature_at(t) * self.divergence(points, t) - force)

    @property
    def batched(self) -> bool:
        """Whether E is given by functions of arrays (dim, n)."""
        return self.energy.batched

    @property
    def time_dependent(self) -> bool:
        """Whether E, K or T depends on t."""
        moving = isinstance(self.temperature, Temperature)
        return moving or self.energy.time_dependent or self.mobility.time_dependent

    def replace(self, **changes: Any) -> System:
        """Another system with some of energy, mobility, temperature, domain replaced."""
        known = ("energy", "mobility", "temperature", "domain")
        for name in changes:
            if name not in known:
                raise InputError(f"{name}: a System has {', '.join(known)}{nearest(name, known)}")
        return System(**({name: getattr(self, name) for name in known} | changes))

    def on_manifold(self, measure: Any) -> System:
        """The system with densities with respect to a measure sqrt(g) dx instead of dx.

        Its law relaxes to exp(-E/T) sqrt(g) dx/Z: particles get the drift (T/sqrt(g)) d_b(sqrt(g) K^ab) - K^ab d_b E,
        and densities and free energies are meant with respect to the measure. For K the inverse of a metric g this is
        diffusion on the Riemannian manifold: T times the Laplace-Beltrami operator, less grad E.

        Parameters
        ----------
        measure : str, callable or Measure
            sqrt(g) as a text or function of the coordinates, as the energy is, positive inside the domain.

        Returns
        -------
        System
            With the attributes `base` and `measure`; its `energy` is the flat one, E - T ln sqrt(g).

        Raises
        ------
        InputError
            A measure that is not positive or finite, another one than the system has, a temperature that moves.

        Examples
        --------
        >>> sphere = System("cos(x)", temperature=0.5, domain=Domain([(0.0, 3.141592653589793)])).on_manifold("sin(x)")
        >>> sphere.drift([[1.0]])  # T cot(1) + sin(1)
        array([[1.16251729]])
        """
        from relaxsim.system.measure import on_manifold

        return on_manifold(self, measure)

    def with_params(self, **params: float) -> System:
        """Another system with other values of named parameters; it runs in the same compiled kernel."""
        problems = Problems()
        clean = check_params(params, "params", problems)
        parts: dict[str, Energy | Mobility | Temperature] = {"energy": self.energy, "mobility": self.mobility}
        if isinstance(heat := law_of(self.temperature), Temperature):
            parts["temperature"] = heat
        known = [name for part in parts.values() for name in part.params]
        for name in clean:
            if name not in known:
                problems.add(
                    name,
                    f"no energy, mobility or temperature of this system has this parameter{nearest(name, known)}",
                )
        problems.raise_if_any()
        changed = {
            name: part.with_params({k: v for k, v in clean.items() if k in part.params}) for name, part in parts.items()
        }
        return self.replace(**changed)

    def __repr__(self) -> str:
        heat = law_of(self.temperature)
        shown = f"{heat:g}" if isinstance(heat, float) else repr(heat)
        return f"System({self.energy!r}, {self.mobility!r}, temperature={shown}, domain={self.domain!r})"


def _attempt(argument: str, make: Callable[[], Any], problems: Problems) -> Any:
    try:
        return make()
    except ValueError as error:  # every class of relaxsim.errors that input can raise takes one message
        message = str(error)
        problems.add(argument, message.removeprefix(f"{argument}: "), type(error))
        return None


def _common_dim(energy: Energy, mobility: Mobility, domain: Domain | None) -> int:
    """The number of coordinates, on which all parts must agree."""
    fixed = {
        name: part.dim
        for name, part in (("domain", domain), ("mobility", mobility), ("energy", energy))
        if part is not None and part.dim is not None
    }
    least = max(energy.min_dim, mobility.min_dim)
    dim = next(iter(fixed.values()), least)
    if any(other != dim for other in fixed.values()) or least > dim:
        parts = [f"the {name} has {value}" for name, value in fixed.items()]
        parts += [
            f"the {name} uses {part.min_dim}"
            for name, part in (("energy", energy), ("mobility", mobility))
            if name not in fixed and part.min_dim > dim
        ]
        raise ShapeError(
            f"system: the parts differ in their number of coordinates: {', '.join(parts)}. Coordinates count from x0; "
            "give the domain and the mobility one entry a coordinate, or dim= to Energy"
        )
    texts, entries = energy.value.trees, mobility.trees
    if not fixed and texts is not None and entries is not None:  # a function may be of every coordinate
        check_none_skipped([texts, *entries], "system", "Energy(..., dim={dim}) or a domain of {dim} axes")
    return dim


def _check_energy(system: System, problems: Problems) -> None:
    points = system.domain.sample_points()
    energy, gradient = system.energy(points), system.gradient(points)
    bad = np.isnan(energy) | (energy == -np.inf)
    bad |= np.isfinite(energy) & ~np.isfinite(gradient).all(axis=-1)
    if bad.any():
        k = int(np.argmax(bad))
        problems.add(
            "energy",
            f"is not a number at {format_point(points[k])}: E = {energy[k]}, grad E = {gradient[k]}. Restrict the "
            "domain to "
            "where E is defined",
        )


def check_mobility(system: System, problems: Problems, t: float = 0.0) -> None:
    """S positive definite inside, positive semidefinite on reflecting walls."""
    inside = system.domain.sample_points()
    if not _smallest_eigenvalue(system, inside, 0.0, "inside the domain", problems, t):
        return
    for axis, end, wall in system.domain.walls(inside):
        if not _smallest_eigenvalue(system, wall, -1e-12, f"on the wall x{axis} = {end:g}", problems, t):
            return
        if not system.mobility.reversible and _leaves(system, inside, wall, axis, t):
            problems.add(
                "mobility",
                f"on the wall x{axis} = {end:g} the symmetric part of K vanishes along the normal but the "
                "antisymmetric part does not: the drift leaves the box where no noise brings it back. Let A go to zero "
                "there as well",
                MobilityError,
            )
            return


def _leaves(system: System, inside: FloatArray, wall: FloatArray, axis: int, t: float) -> bool:
    """Whether A n is not zero where S n is, each in units of what S is inside along the axes."""
    unit = np.sqrt(system.mobility.diagonal_of(inside, t).max(axis=0))
    normal = system.mobility.diagonal_of(wall, t)[:, axis] / unit[axis] ** 2
    turning = np.abs(system.mobility.antisymmetric(wall, t)[:, :, axis] / (unit * unit[axis])).max(axis=1)
    return bool(np.any((normal <= 1e-12) & (turning > 1e-9)))


def _smallest_eigenvalue(
    system: System, points: FloatArray, floor: float, where: str, problems: Problems, t: float
) -> bool:
    full = system.mobility.structure == "tensor"
    matrices = system.mobility.symmetric(points, t) if full else system.mobility.diagonal_of(points, t)
    if system.mobility.time_dependent:
        where += f" at time {t:g}"
    if not np.isfinite(matrices).all():
        k = int(np.argmax(~np.isfinite(matrices).reshape(len(points), -1).all(axis=-1)))
        problems.add("mobility", f"K is not finite {where}, at {format_point(points[k])}", MobilityError)
        return False
    values = np.linalg.eigvalsh(matrices)[:, 0] if full else matrices.min(axis=-1)
    k = int(np.argmin(values))
    needed = floor * max(float(np.abs(matrices).max()), 1e-300)
    if values[k] > needed or (floor < 0 and values[k] >= needed):
        return True
    kind = "definite" if floor == 0 else "semidefinite"
    problems.add(
        "mobility",
        f"K must be positive {kind} {where}, but at {format_point(points[k])} it has the eigenvalue {values[k]:g}; "
        "the noise "
        "sqrt(2 T K) dW needs that",
        MobilityError,
    )
    return False


def _check_periodic(system: System, problems: Problems) -> None:
    for axis, periodic in enumerate(system.domain.periodic):
        if not periodic:
            continue
        low = system.domain.sample_points()
        high = low.copy()
        low[:, axis], high[:, axis] = system.domain.lower[axis], system.domain.upper[axis]
        mobility = system.mobility if system.mobility.couples_axes else system.mobility.diagonal_of
        for name, field in (("energy", system.energy), ("mobility", mobility)):
            first, last = field(low), field(high)
            gap = np.abs(first - last).reshape(len(low), -1).max(axis=1)
            scale = max(float(np.abs(first).max()), float(np.abs(field(system.domain.sample_points())).max()), 1e-12)
            k = int(np.argmax(gap))
            if not gap[k] <= PERIODIC * scale:
                problems.add(
                    name,
                    f"axis {axis} is periodic, but the {name} differs by {gap[k]:g} between {format_point(low[k])} and "
                    f"{format_point(high[k])}; make it periodic or use reflecting walls",
                    DomainError,
                )
