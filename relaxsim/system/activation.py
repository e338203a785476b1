"""Activations x = sigma(z) of the diffusion machine: mobility, hidden variable and geodesic map of each.

A monotone activation makes the mobility K(x) = sigma'(sigma^-1(x)), so that the hidden variable is z = integral of dx/K
and the geodesic coordinate of the metric dx^2/K is Y = integral of dx/sqrt(K). `ACTIVATIONS` holds them by name:

=============== ========= ========================================= ===========================
name            range     sigma(z), b = beta                        K(x)
=============== ========= ========================================= ===========================
soft_projection (0, 1)    1/2 + tanh(b (z - 1/2))/2                 2 b x (1 - x)
logistic        (0, 1)    1/(1 + exp(-b z))                         b x (1 - x)
tanh            (-1, 1)   tanh(b z)                                 b (1 - x^2)
arctan          (0, 1)    1/2 + arctan(b z)/pi                      b sin(pi x)^2/pi
algebraic       (-1, 1)   b z/sqrt(1 + b^2 z^2)                     b (1 - x^2)^(3/2)
probit          (0, 1)    Phi(b z), the normal distribution         b phi(Phi^-1(x))
softsign        (-1, 1)   b z/(1 + b abs(z))                        b (1 - abs(x))^2
softplus        (0, inf)  ln(1 + exp(b z))/b                        1 - exp(-b x)
exp             (0, inf)  exp(b z)                                  b x
sin2            (0, 1)    sin(b z)^2, z in (0, pi/(2 b))            2 b sqrt(x (1 - x))
identity        a box     b z                                       b
=============== ========= ========================================= ===========================

Which ends need a wall
----------------------
With an energy that is bounded there, the process cannot reach an end at which the integral of dx/K diverges, that is,
one at which the hidden variable is infinite (Feller's test: the scale function is the integral of exp(E/T)/K). An end
that the hidden variable reaches at a finite value is hit, and needs a reflecting wall: both ends of sin2, although
K vanishes there, those of the identity's box, and wherever an infinite range is cut. `Activation.needs_wall` says so.

A time step overshoots the other ends as well, although the process does not: schemes have to mirror there, or to step
in a way that cannot leave the box. At the ends of sin2, K' is infinite like one over the square root of the distance:
a step that uses it throws particles far that come close, so that ensembles diverge at fixed steps; densities are safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from relaxsim.errors import DomainError, InputError
from relaxsim.system import derive
from relaxsim.system.expression import parse
from relaxsim.system.probit import normal_density_at_quantile
from relaxsim.system.source import numpy_function
from relaxsim.system.validate import FloatArray, as_float_array, nearest

__all__ = ["ACTIVATIONS", "Activation", "lookup"]

Rule = Callable[[Any, Any], Any]  # of a position, a hidden or a geodesic variable, and beta

ROUNDING = 1e-12  # how far outside of its range, relatively, a hidden or geodesic variable is taken to be on the end


@dataclass(frozen=True, eq=False)
class Activation:
    """One activation. `beta`, its steepness, is a positive number or one for each coordinate of the last axis.

    Attributes
    ----------
    name : str
        By which `lookup` finds it.
    range : (float, float)
        Where x lives, infinite ends included.
    mobility : str
        K(x) as a text in `x` and `beta`.
    quadratic : float or None
        c/beta where K = c (x - lo)(hi - x) on the range (lo, hi), else None.
    """

    name: str
    range: tuple[float, float]
    mobility: str
    _sigma: Rule = field(repr=False)
    _inverse: Rule = field(repr=False)
    _Y: Rule = field(repr=False)
    _Y_inverse: Rule = field(repr=False)
    quadratic: float | None = None

    # ---- the hidden variable

    def sigma(self, z: Any, beta: Any = 1.0) -> FloatArray:
        """x = sigma(z) of hidden variables of any shape."""
        steepness = _positive(beta)
        with np.errstate(all="ignore"):
            low, high = (self._inverse(np.float64(end), steepness) for end in self.range)
            hidden = _clipped(z, "z", low, high, f"the hidden range of {self.name}")
            return np.asarray(self._sigma(hidden, steepness))

    def inverse(self, x: Any, beta: Any = 1.0) -> FloatArray:
        """z = sigma^-1(x), the integral of dx/K; infinite at ends that cannot be reached."""
        points, steepness = self._points(x), _positive(beta)
        with np.errstate(all="ignore"):
            return np.asarray(self._inverse(points, steepness))

    def needs_wall(self, lower: float | None = None, upper: float | None = None) -> tuple[bool, bool]:
        """Whether the lower and the upper end are reached by the process and need a reflecting wall.

        Parameters
        ----------
        lower, upper : float, optional
            Where the range is cut; by default its ends.
        """
        ends = (self.range[0] if lower is None else lower, self.range[1] if upper is None else upper)
        low, high = np.isfinite(self.inverse(ends))
        return bool(low), bool(high)

    # ---- the mobility

    def K(self, x: Any, beta: Any = 1.0) -> FloatArray:
        """Mobility K(x) = sigma'(sigma^-1(x)), from the text `mobility`."""
        return self._evaluate(0, x, beta)

    def K_prime(self, x: Any, beta: Any = 1.0) -> FloatArray:
        """dK/dx, derived from the text."""
        return self._evaluate(1, x, beta)

    def _evaluate(self, order: int, x: Any, beta: Any) -> FloatArray:
        points, steepness = self._points(x), _positive(beta)
        tree = _derivative(self.mobility, order)
        with np.errstate(all="ignore"):
            value = numpy_function(tree, ("beta",))((steepness,), (points,), 0.0)
        return np.array(np.broadcast_to(value, np.broadcast_shapes(points.shape, steepness.shape)))

    # ---- geometry of the metric dx^2/K

    def Y(self, x: Any, beta: Any = 1.0) -> FloatArray:
        """Geodesic coordinate Y(x), the integral of dx/sqrt(K), for each coordinate."""
        points, steepness = self._points(x), _positive(beta)
        with np.errstate(all="ignore"):
            return np.asarray(self._Y(points, steepness))

    def Y_inverse(self, y: Any, beta: Any = 1.0) -> FloatArray:
        """x with Y(x) = y."""
        steepness = _positive(beta)
        with np.errstate(all="ignore"):
            low, high = (self._Y(np.float64(end), steepness) for end in self.range)
            coordinates = _clipped(y, "y", low, high, f"the range of Y of {self.name}")
            return np.asarray(np.clip(self._Y_inverse(coordinates, steepness), *self.range))

    def distance(self, x: Any, y: Any, beta: Any = 1.0) -> FloatArray:
        """Geodesic distance d_G = abs(Y(x) - Y(y)) of points (..., dim), shape (...); numbers are one coordinate."""
        difference = np.atleast_1d(self.Y(x, beta) - self.Y(y, beta))
        return np.asarray(np.linalg.norm(difference, axis=-1))

    def geodesic(self, x: Any, y: Any, s: float, beta: Any = 1.0) -> FloatArray:
        """The point a fraction s of the way from x to y along the geodesic, Y linear in s."""
        return self.Y_inverse((1.0 - s) * self.Y(x, beta) + s * self.Y(y, beta), beta)

    def _points(self, x: Any) -> FloatArray:
        return _inside(x, "x", *self.range, f"the range of {self.name}")


def lookup(activation: str | Activation) -> Activation:
    """The activation of that name.

    Raises
    ------
    InputError
        No such activation; the message has the nearest name and all of them.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    hint = nearest(activation, ACTIVATIONS) if isinstance(activation, str) else ""
    names = ", ".join(ACTIVATIONS)
    raise InputError(f"activation: expected one of {names}, got {activation!r}{hint}")


def _positive(beta: Any) -> FloatArray:
    values = as_float_array(beta, "beta")
    if values.ndim > 1 or values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise InputError(f"beta: expected a positive finite number, or one for each coordinate, got {beta!r}")
    return values


def _inside(value: Any, argument: str, low: Any, high: Any, where: str) -> FloatArray:
    """Numbers between `low` and `high` (the ends included), as an array."""
    array = as_float_array(value, argument)
    outside = ~((array >= low) & (array <= high))
    if outside.any():
        first = np.broadcast_to(array, outside.shape)[outside][0]
        ends = ", ".join(f"{float(np.broadcast_to(end, outside.shape)[outside][0]):g}" for end in (low, high))
        raise DomainError(f"{argument}: {first:g} lies outside of {where}, ({ends})")
    return array


def _clipped(value: Any, argument: str, low: Any, high: Any, where: str) -> FloatArray:
    slack_low, slack_high = ROUNDING * (1 + np.abs(low)), ROUNDING * (1 + np.abs(high))
    return np.asarray(np.clip(_inside(value, argument, low - slack_low, high + slack_high, where), low, high))


@cache
def _derivative(text: str, order: int) -> Any:
    tree = parse(text, ["x"], ["beta"])
    return tree if order == 0 else derive.gradient(tree, 1)[0]


# ---- maps that take more than a line

_HALF_BETA = 2.6220575542921198  # B(1/2, 1/4)/2, the integral of (1 - s^2)^(-3/4) from 0 to 1
_BETA = 1.6944261695879582  # B(3/4, 3/4), the integral of (s (1 - s))^(-1/4) from 0 to 1
_PROBIT_SCALE = (8 * np.pi) ** 0.25


def _special() -> Any:
    from scipy import special

    return special


def _arctan_inverse(x: Any, b: Any) -> Any:
    return -np.cos(np.pi * x) / (b * np.sin(np.pi * np.minimum(x, 1 - x)))  # infinite at both ends exactly


def _arctan_Y(x: Any, b: Any) -> Any:
    near = np.log(np.tan(np.pi / 2 * np.minimum(x, 1 - x)))
    return np.where(x < 0.5, near, -near) / np.sqrt(np.pi * b)


def _algebraic_Y(x: Any, b: Any) -> Any:
    beyond = _special().betainc(0.25, 0.5, (1 - x) * (1 + x))
    return np.sign(x) * _HALF_BETA * (1 - beyond) / np.sqrt(b)


def _algebraic_Y_inverse(y: Any, b: Any) -> Any:
    share = np.minimum(np.abs(y) * np.sqrt(b) / _HALF_BETA, 1.0)
    return np.sign(y) * np.sqrt(_special().betaincinv(0.5, 0.25, share))


def _probit_Y_inverse(y: Any, b: Any) -> Any:
    special = _special()
    share = np.clip(y * np.sqrt(b) / _PROBIT_SCALE, 0.0, 1.0)
    return special.ndtr(np.sqrt(2) * special.ndtri(share))


def _softplus_Y(x: Any, b: Any) -> Any:
    return 2 / b * (b * x / 2 + np.log1p(np.sqrt(-np.expm1(-b * x))))


def _softplus_Y_inverse(y: Any, b: Any) -> Any:
    a = b * y / 2  # x = (2/b) ln cosh(a); beyond 300 the logarithm is linear to the last bit
    return (np.log1p(np.sinh(np.minimum(a, 300.0)) ** 2) + 2 * np.maximum(a - 300.0, 0.0)) / b


_ROWS = (
    Activation(
        "soft_projection", (0.0, 1.0), "2*beta*x*(1 - x)", quadratic=2.0,
        _sigma=lambda z, b: _special().expit(2 * b * (z - 0.5)),
        _inverse=lambda x, b: 0.5 + (np.log(x) - np.log1p(-x)) / (2 * b),
        _Y=lambda x, b: np.sqrt(2 / b) * np.arcsin(np.sqrt(x)),
        _Y_inverse=lambda y, b: np.sin(y * np.sqrt(b / 2)) ** 2,
    ),
    Activation(
        "logistic", (0.0, 1.0), "beta*x*(1 - x)", quadratic=1.0,
        _sigma=lambda z, b: _special().expit(b * z),
        _inverse=lambda x, b: (np.log(x) - np.log1p(-x)) / b,
        _Y=lambda x, b: 2 / np.sqrt(b) * np.arcsin(np.sqrt(x)),
        _Y_inverse=lambda y, b: np.sin(y * np.sqrt(b) / 2) ** 2,
    ),
    Activation(
        "tanh", (-1.0, 1.0), "beta*(1 - x)*(1 + x)", quadratic=1.0,
        _sigma=lambda z, b: np.tanh(b * z),
        _inverse=lambda x, b: np.arctanh(x) / b,
        _Y=lambda x, b: np.arcsin(x) / np.sqrt(b),
        _Y_inverse=lambda y, b: np.sin(y * np.sqrt(b)),
    ),
    Activation(
        "arctan", (0.0, 1.0), "beta*sin(pi*x)**2/pi",
        _sigma=lambda z, b: np.where(z < 0, -np.arctan(1 / (b * z)) / np.pi, 0.5 + np.arctan(b * z) / np.pi),
        _inverse=_arctan_inverse,
        _Y=_arctan_Y,
        _Y_inverse=lambda y, b: 2 / np.pi * np.arctan(np.exp(np.sqrt(np.pi * b) * y)),
    ),
    Activation(
        "algebraic", (-1.0, 1.0), "beta*((1 - x)*(1 + x))**1.5",
        _sigma=lambda z, b: np.where(np.isinf(z), np.sign(z), b * z / np.hypot(1, b * z)),
        _inverse=lambda x, b: x / (b * np.sqrt((1 - x) * (1 + x))),
        _Y=_algebraic_Y,
        _Y_inverse=_algebraic_Y_inverse,
    ),
    Activation(
        "probit", (0.0, 1.0), f"beta*({normal_density_at_quantile()})",
        _sigma=lambda z, b: _special().ndtr(b * z),
        _inverse=lambda x, b: _special().ndtri(x) / b,
        _Y=lambda x, b: _PROBIT_SCALE / np.sqrt(b) * _special().ndtr(_special().ndtri(x) / np.sqrt(2)),
        _Y_inverse=_probit_Y_inverse,
    ),
    Activation(
        "softsign", (-1.0, 1.0), "beta*(1 - abs(x))**2",
        _sigma=lambda z, b: np.where(np.isinf(z), np.sign(z), b * z / (1 + b * np.abs(z))),
        _inverse=lambda x, b: x / (b * (1 - np.abs(x))),
        _Y=lambda x, b: -np.sign(x) * np.log1p(-np.abs(x)) / np.sqrt(b),
        _Y_inverse=lambda y, b: -np.sign(y) * np.expm1(-np.abs(y) * np.sqrt(b)),
    ),
    Activation(
        "softplus", (0.0, np.inf), "1 - exp(-beta*x)",
        _sigma=lambda z, b: np.logaddexp(0.0, b * z) / b,
        _inverse=lambda x, b: x + np.log(-np.expm1(-b * x)) / b,
        _Y=_softplus_Y,
        _Y_inverse=_softplus_Y_inverse,
    ),
    Activation(
        "exp", (0.0, np.inf), "beta*x",
        _sigma=lambda z, b: np.exp(b * z),
        _inverse=lambda x, b: np.log(x) / b,
        _Y=lambda x, b: 2 * np.sqrt(x / b),
        _Y_inverse=lambda y, b: b * y**2 / 4,
    ),
    Activation(
        "sin2", (0.0, 1.0), "2*beta*sqrt(x*(1 - x))",
        _sigma=lambda z, b: np.sin(b * z) ** 2,
        _inverse=lambda x, b: np.arcsin(np.sqrt(x)) / b,
        _Y=lambda x, b: _BETA * _special().betainc(0.75, 0.75, x) / np.sqrt(2 * b),
        _Y_inverse=lambda y, b: _special().betaincinv(0.75, 0.75, np.minimum(y * np.sqrt(2 * b) / _BETA, 1.0)),
    ),
    Activation(
        "identity", (-np.inf, np.inf), "beta",
        _sigma=lambda z, b: b * z,
        _inverse=lambda x, b: x / b,
        _Y=lambda x, b: x / np.sqrt(b),
        _Y_inverse=lambda y, b: y * np.sqrt(b),
    ),
)  # fmt: skip

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({row.name: row for row in _ROWS})
