"""The integration schemes: one file each, found by themselves; nothing else knows their names.

A scheme file defines ``step(model, x, t, h, noise)`` and a row ``SCHEME = Scheme(...)``. The step is pure: `x` and
`noise` are sequences of components, the result is a list of components, and only arithmetic, `relaxsim.elementary` and
comprehensions over ``range(len(x))`` occur. So the same source runs on NumPy arrays (in tests, as a transfer operator)
and, unrolled for the dimension at hand, in compiled loops.

The model offers ``drift(x, t)``, ``gradient(x, t)``, ``divergence(x, t)``, ``drag(x, t, v)`` = K v,
``kick(x, t, noise)`` = sqrt(2 T) B noise with B B^T = K, ``temperature``, and ``constants[k]``: what the scheme's own
`constants` made of the system.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from relaxsim.errors import IncompatibleSchemeError
from relaxsim.particles.coordinates import Coordinates
from relaxsim.system.system import System
from relaxsim.system.validate import nearest

NOISES = ("gaussian", "three-point", "two-point")


@dataclass(frozen=True)
class Scheme:
    """What a scheme says of itself.

    Attributes
    ----------
    id : str
        The name users type.
    step : callable
        ``step(model, x, t, h, noise) -> list of components``.
    weak_order, invariant_order : mapping of str to float
        Order of means at a fixed time and in the stationary law, in the bulk, for each kind of noise it takes.
    wall_order : float
        Order of stationary means where the Gibbs law has mass at a reflecting wall with a normal force.
    mobility : str
        The mobilities it integrates, in words.
    evaluations : str
        Cost of a step.
    reference : str
        Where it is published, with the equation.
    draws : {"normal", "uniform"}
        What `noise` holds: standard normals (or weak substitutes), or uniforms on (0, 1].
    noise_per_axis : int
        Draws a step for each coordinate.
    output : callable, optional
        ``output(model, x, t, h, noise)``: the position that is reported for the state x, with the noise of the coming
        step. Without it the state itself is.
    stays_inside : bool
        Whether a step never leaves the box, so that no wall is to be met.
    lepingle : bool
        Whether a step is a drift and a kick from one point, which Lépingle's push at walls takes for granted.
    carried : tuple of str
        What the state holds besides the position.
    dynamics : {"true", "stationary"}
        Whether the path is one of the system or only its stationary law is right.
    refuses : callable, optional
        ``refuses(system)``: the reason why a system cannot be run, or None.
    constants : callable, optional
        ``constants(system)``: numbers that the step reads as ``model.constants[k]``.
    coordinates : callable, optional
        ``coordinates(system)``: other coordinates that the state lives in.
    rank : int
        "auto" takes the greatest rank that can run the system.
    """

    id: str
    step: Callable[..., Any]
    weak_order: Mapping[str, float]
    invariant_order: Mapping[str, float]
    wall_order: float
    mobility: str
    evaluations: str
    reference: str
    draws: str = "normal"
    noise_per_axis: int = 1
    output: Callable[..., Any] | None = None
    stays_inside: bool = False
    lepingle: bool = False
    carried: tuple[str, ...] = ()
    dynamics: str = "true"
    refuses: Callable[[System], str | None] | None = None
    constants: Callable[[System], tuple[float, ...]] | None = None
    coordinates: Callable[[System], Coordinates] | None = None
    rank: int = 0

    def why_not(self, system: System, noise: str = "gaussian") -> str | None:
        """The reason why this scheme cannot run a system with a kind of noise, or None."""
        if noise not in self.weak_order:
            return f"it takes {' or '.join(self.weak_order)} noise, not {noise}"
        return self.refuses(system) if self.refuses is not None else None


@cache
def registry() -> dict[str, Scheme]:
    """Every scheme in this package by its id."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        scheme: Scheme = importlib.import_module(f"{__name__}.{module.name}").SCHEME
        found[scheme.id] = scheme
    return found


def choose(scheme: str | Scheme, system: System, noise: str = "gaussian", stationary: bool = False) -> Scheme:
    """The scheme of an id, or a Scheme itself; "auto" takes the one of greatest rank that can run the system."""
    if noise not in NOISES:
        hint = nearest(str(noise), NOISES) or "."
        raise IncompatibleSchemeError(f"noise: unknown noise {noise!r}{hint} The kinds are {', '.join(NOISES)}")
    able = {name: row for name, row in registry().items() if row.why_not(system, noise) is None}
    if scheme == "auto":
        true = [row for row in able.values() if row.dynamics == "true" and row.rank >= 0]
        if not true:
            raise IncompatibleSchemeError(
                f"scheme: no scheme runs this system with {noise} noise; use noise='gaussian'"
            )
        return max(true, key=lambda row: row.rank)
    row = scheme if isinstance(scheme, Scheme) else registry().get(scheme)
    if row is None:
        hint = nearest(str(scheme), registry()) or "."
        known = ", ".join(registry())
        raise IncompatibleSchemeError(f"scheme: unknown scheme {scheme!r}{hint} The schemes are auto, {known}")
    reason = row.why_not(system, noise)
    if reason is not None:
        raise IncompatibleSchemeError(
            f"scheme: {row.id!r} cannot run this system: {reason}. Schemes that can: {', '.join(able) or 'none'}"
        )
    if row.dynamics != "true" and not stationary:
        raise IncompatibleSchemeError(
            f"scheme: {row.id!r} has the right stationary law but not the right path; pass stationary=True to say that "
            "only the stationary law is wanted"
        )
    return row
