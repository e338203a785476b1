"""A time step from the stiffness of a system, and a warning where the one given is too large for it."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from relaxsim.errors import ConvergenceError, InputError, StabilityWarning, warn
from relaxsim.particles import stiffness
from relaxsim.particles.random import INITIAL, Address
from relaxsim.particles.schemes import Scheme
from relaxsim.system import initial as laws
from relaxsim.system.field import format_point
from relaxsim.system.law import Law, expected_law
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, Problems, positive_number

ACCURACY = 0.1  # of a relaxation time, of the length over which K varies, of the distance between walls: a step
HALVINGS = 40  # of a step that meets a kink
ROUNDS, STEPS = 40, 5  # of the walk that looks for the stiffest place within reach
LOOKS = (0, 1, 8, 32)  # steps after which a warning looks at the rates of the first particles
FEW_LOOKS = 64  # coordinates beyond which it looks at the first two only


class Stiffest(NamedTuple):
    """Where the relaxation is fastest."""

    point: tuple[float, ...]
    rate: float


class SuggestedStep(float):
    """A time step with its reason; it is a float, and can be passed as `dt`.

    Attributes
    ----------
    dt : float
        The step itself.
    stability_bound : float
        2/lambda: where a step of Euler-Maruyama or Leimkuhler-Matthews times the rate lambda exceeds 2, the linearised
        step grows.
    stiffest : Stiffest
        The point with the fastest rate of K Hess E that was found, and that rate.
    reason : str
        What limits the step, in numbers.
    """

    __slots__ = ("reason", "stability_bound", "stiffest")

    stability_bound: float
    stiffest: Stiffest
    reason: str

    def __new__(cls, dt: float, stability_bound: float, stiffest: Stiffest, reason: str) -> SuggestedStep:
        made = super().__new__(cls, dt)
        for name, value in (("stability_bound", stability_bound), ("stiffest", stiffest), ("reason", reason)):
            object.__setattr__(made, name, value)
        return made

    @property
    def dt(self) -> float:
        """The step as a plain float."""
        return float(self)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a SuggestedStep does not change")

    def __reduce__(self) -> tuple[Any, ...]:
        return SuggestedStep, (float(self), self.stability_bound, self.stiffest, self.reason)

    def __repr__(self) -> str:
        return f"SuggestedStep(dt={float(self):g}, stability_bound={self.stability_bound:.3g}, reason={self.reason!r})"

    __str__ = float.__repr__


def suggest_dt(system: System, initial: Law, *, t: float = 0.0, accuracy: float = ACCURACY) -> SuggestedStep:
    """Suggest a time step from the stiffness of K Hess E where the relaxation starts and where it goes.

    The step is the largest of the form 1, 2 or 5 times a power of ten for which, at every point looked at,

    - dt lambda <= accuracy, with lambda the largest modulus of an eigenvalue of K(x) Hess E(x);
    - ``dt |e|^2 / Re e`` <= accuracy for the complex eigenvalues e of a system with a circulating part, and dt is at
      most half the stability bound;
    - the drift does not change abruptly over the reach of a step, as at a kink of E;
    - drift and noise change K in a step by at most the fraction `accuracy` of its typical size;
    - between reflecting walls a step of the drift, ``|F| dt``, and of the noise, ``sqrt(2 T K dt)``, is at most the
      fraction `accuracy` of the length of the box.

    The points are up to 256 draws of the initial law, those that rough trial paths from there visit, and draws of the
    Gibbs law in one and two dimensions. A rare place that none of them finds is not known.

    Parameters
    ----------
    system : System
    initial : law from `relaxsim.initial`
    t : float
        Time at which an energy, a mobility or a temperature that depends on time is looked at: times[0] of the run.
    accuracy : float, default 0.1
        The bias of a scheme of order p is of the size (dt lambda)^p; at 0.1 the stationary variance that
        Euler-Maruyama gives a harmonic well is 5 % too large.

    Returns
    -------
    SuggestedStep
        A float, with `reason`, `stiffest` and `stability_bound`.

    References
    ----------
    Linear stability of Euler-Maruyama, ``|1 - h lambda| < 1``: Higham, SIAM Rev. 43 (2001) 525, section 6.

    Examples
    --------
    >>> import relaxsim as rs
    >>> rs.suggest_dt(rs.System("4*x**2/2", temperature=0.5), rs.initial.normal(1, 0.1)).dt
    0.02
    """
    problems = Problems()
    if not isinstance(system, System):
        problems.add("system", f"expected a System, got {type(system).__name__}")
    if not isinstance(initial, Law):
        problems.add("initial", expected_law(initial))
    accuracy = positive_number(accuracy, "accuracy", problems)
    problems.raise_if_any()
    start = _draws(system, initial.at(t), 0, stiffness.how_many(system.dim))
    x = np.concatenate([start, _gibbs_draws(system, t), *_walk(system, start, t)])
    rates = stiffness.rates(system, x, t, derived=True)
    k = int(np.argmax(rates.fastest))
    stiffest = Stiffest(tuple(x[k].tolist()), float(rates.fastest[k]))
    stable = float(rates.stable.max())
    limits = _limits(system, x, t, accuracy, stiffest, stable)
    bound = 2 / stable if stable > 0 else math.inf
    largest = min((limit for limit, _ in limits), default=1.0)
    limits += _kinks(system, x, t, min(largest, bound / 2), accuracy)
    dt = nice_below(min((limit for limit, _ in limits), default=1.0))
    return SuggestedStep(dt, float(bound), stiffest, _reason(system, t, dt, limits))


def nice_below(value: float) -> float:
    """The largest number of the form 1, 2 or 5 times a power of ten that is not above a value."""
    exponent = math.floor(math.log10(value)) + 1
    candidates = [float(f"{digit}e{power}") for power in (exponent, exponent - 1, exponent - 2) for digit in (5, 2, 1)]
    return next(c for c in candidates if c <= value * (1 + 1e-12))


def warn_if_unstable(system: System, initial: Law, dt: float, t: float, n: int, seed: int, scheme: Scheme) -> None:
    """Warn of a step beyond linear stability, or longer than a box, at the first particles or in their first steps.

    Schemes whose step cannot leave the box are stable for every dt and exempt. One that refuses steps cannot diverge
    and may be longer than the box, but where it is beyond stability it stays: the first particles themselves are asked.
    """
    refuses = scheme.uniforms > 0
    if scheme.stays_inside and not refuses:
        return
    x = _draws(system, initial, seed, min(n, stiffness.how_many(system.dim)))
    rng = np.random.default_rng(0)
    looks = LOOKS[:1] if refuses else LOOKS[:2] if system.dim > FEW_LOOKS else LOOKS
    for before, now in pairwise((0, *looks)):
        x = stiffness.euler_steps(system, x if now <= 1 else x[:64], t, dt, now - before, rng)
        x = x[np.isfinite(x).all(axis=1)]
        if not len(x):
            continue
        message = _unstable(system, x, dt, t) or (None if refuses else _too_long(system, x, dt, t))
        if message is not None:
            warn(message, StabilityWarning)
            return


def _unstable(system: System, x: FloatArray, dt: float, t: float) -> str | None:
    rates = stiffness.rates(system, x, t).stable
    k = int(np.argmax(rates))
    if not dt * rates[k] > 2 * (1 + 1e-6):  # differences have that error
        return None
    return (
        f"dt = {dt:g} is beyond the linear stability bound 2/lambda = {2 / rates[k]:.3g}: at {_where(x[k])}, which the "
        f"first particles reach, K Hess E has the rate lambda = {rates[k]:.4g}, so that dt lambda = "
        f"{dt * rates[k]:.3g} > 2 and a step overshoots by more than it corrects. Try dt = "
        f"{nice_below(0.5 / rates[k]):g}, or dt=relaxsim.suggest_dt(system, initial)"
    )


def _too_long(system: System, x: FloatArray, dt: float, t: float) -> str | None:
    axes = system.domain.wall_axes
    if not axes:
        return None
    length = (system.domain.upper - system.domain.lower)[axes]
    noise = np.sqrt(dt * stiffness.noise_speed(system, x, t)[:, axes]) / length
    drift = dt * np.abs(stiffness.finite_drift(system, x, t)[:, axes]) / length
    for ratio, what, power in ((noise, "sqrt(2 T K dt)", 2), (drift, "|F| dt", 1)):
        k, a = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        if ratio[k, a] > 1:
            return (
                f"dt = {dt:g} is too large for the box: at {_where(x[k])} a step along axis {axes[a]} is "
                f"{what} = {ratio[k, a] * length[a]:.3g}, longer than the {length[a]:g} between the walls, and mirror "
                f"images cannot mend that. Try dt = {nice_below(dt * (ACCURACY / ratio[k, a]) ** power):g}, or "
                "dt=relaxsim.suggest_dt(system, initial)"
            )
    return None


def _where(point: Any) -> str:
    """A point, shortened in many dimensions."""
    if len(point) <= 4:
        return format_point(point)
    return f"{format_point(point[:3])[:-1]}, ...) in {len(point)} dimensions"


# ---- the points


def _draws(system: System, initial: Law, seed: int, n: int) -> FloatArray:
    """The first particles of a run with this seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself warns of draws outside
        return initial.sample(system, Address(seed, INITIAL, np.arange(n, dtype=np.uint64)))


def _gibbs_draws(system: System, t: float) -> FloatArray:
    """Draws of the Gibbs law of a time where they are cheap, else none."""
    if system.dim <= 2:
        try:
            law = laws.gibbs().at(t)
            law.check(system)
            return _draws(system, law, 1, 256)
        except (InputError, ConvergenceError):  # no Gibbs law, or none that can be drawn
            pass
    return np.zeros((0, system.dim))


def _walk(system: System, x: FloatArray, t: float) -> list[FloatArray]:
    """Points on rough paths whose step doubles as long as it is well below the stability bound met so far."""
    x, rng, visited, fastest = x[:64], np.random.default_rng(0), [], 0.0
    h = 1e-6 / max(float(stiffness.noise_speed(system, x, t).max()), 1e-12)
    for _ in range(ROUNDS):
        fastest = max(fastest, float(stiffness.rates(system, x, t).fastest.max()))
        h = min(2 * h, 0.1 / fastest) if fastest > 0 else 2 * h
        x = stiffness.euler_steps(system, x, t, h, STEPS, rng)
        if not np.isfinite(x).all():
            break
        visited.append(x)
    return visited


# ---- what limits the step


def _limits(
    system: System, x: FloatArray, t: float, accuracy: float, stiffest: Stiffest, stable: float
) -> list[tuple[float, str]]:
    """(largest dt, why) for each condition that limits the step."""
    limits = []
    if stiffest.rate > 0:
        where = _where(stiffest.point)
        why = f"dt lambda <= {accuracy:g} with lambda = {stiffest.rate:.4g}, the fastest rate of K Hess E, at {where}"
        limits.append((accuracy / stiffest.rate, why))
    if stable > stiffest.rate * (1 + 1e-9):
        why = f"dt |e|^2 / Re e <= {accuracy:g} with {stable:.4g}, for the complex rates e of a system that circulates"
        limits.append((accuracy / stable, why))
    if stable > 0:
        limits.append((1 / stable, f"half the linear stability bound 2/{stable:.4g}"))
    change = float(stiffness.mobility_rate(system, x, t).max())
    if change > 0:
        why = f"a step changes K by at most {accuracy:g} of its size, which it does at a rate of up to {change:.4g}"
        limits.append((accuracy / change, why))
    for axis in system.domain.wall_axes:
        length = float(system.domain.upper[axis] - system.domain.lower[axis])
        variance = float(stiffness.noise_speed(system, x, t)[:, axis].max())
        speed = float(np.abs(stiffness.finite_drift(system, x, t)[:, axis]).max())
        box = f"{accuracy:g} of the {length:g} between the walls of axis {axis}"
        if variance > 0:
            why = f"the noise of a step, sqrt({variance:.4g} dt), is at most {box}"
            limits.append(((accuracy * length) ** 2 / variance, why))
        if speed > 0:
            limits.append((accuracy * length / speed, f"the drift of a step, {speed:.4g} dt, is at most {box}"))
    return limits


def _kinks(system: System, x: FloatArray, t: float, dt: float, accuracy: float) -> list[tuple[float, str]]:
    """A limit where the drift changes over the reach of a step more than its derivatives say, as at a kink of E.

    Where E is smooth the step already keeps dt lambda small over its reach, and there is none.
    """
    first = dt
    drift, noise = stiffness.finite_drift(system, x, t), stiffness.noise_speed(system, x, t)
    speed = np.linalg.norm(drift, axis=1, keepdims=True)
    random = np.random.default_rng(0).standard_normal(x.shape)
    along = np.where(speed > 0, drift, random) / np.where(
        speed > 0, speed, np.linalg.norm(random, axis=1, keepdims=True)
    )
    for _ in range(HALVINGS):
        reach = np.maximum(speed * dt, np.sqrt(dt * noise.max(axis=1, keepdims=True)))
        ends = [stiffness.finite_drift(system, x + side * reach * along, t) for side in (1, -1)]
        change = np.linalg.norm(ends[0] - ends[1], axis=1) / (2 * reach[:, 0])
        if not dt * float(change.max()) > 4 * accuracy:
            break
        dt /= 2
    if dt == first:
        return []
    return [
        (dt, f"the drift changes abruptly: over the reach of a longer step at a rate above {4 * accuracy / dt:.3g}")
    ]


def _reason(system: System, t: float, dt: float, limits: list[tuple[float, str]]) -> str:
    if not limits:
        return "nothing was found that limits the step: no curvature of E, no walls, no mobility that varies"
    ordered = sorted(limits)
    text = f"{ordered[0][1]}: dt <= {ordered[0][0]:.3g}, rounded down to {dt:g}"
    if len(ordered) > 1:
        text += f"; the next limit is {ordered[1][0]:.3g} ({ordered[1][1]})"
    if system.time_dependent:
        text += f"; evaluated at t = {t:g} only, and the system changes with time"
    return text
