"""The integration schemes: one file each, found by themselves; nothing else knows their names.

A scheme file defines ``step(model, x, t, h, noise)`` and a row ``SCHEME = Scheme(...)``. The step is pure: `x` and
`noise` are sequences of components, the result is a list of components, and only arithmetic, `relaxsim.elementary` and
comprehensions over ``range(len(x))`` occur. So the same source runs on NumPy arrays (in tests, as a transfer operator)
and, unrolled for the dimension at hand, in compiled loops.

The model offers ``drift(x, t)``, ``gradient(x, t)``, ``divergence(x, t)``, ``diagonal(x, t)``, ``kick(x, t, noise)`` =
sqrt(2 T) B noise with B B^T = S, ``inside(x)`` and ``mirror_sign(x)`` (a point folded back into the box, and the signs
of vectors there), ``temperature``, and ``constants[k]``: what the scheme's own `constants` made of the system. What
`relaxsim.particles.factor` lists is there for a step that names it.

A scheme whose state holds more than the position says so in `carried` and starts it in `begin`. Its step is
``step(model, x, t, h, noise, carried)``, with `carried` a sequence of rows, and returns ``[*x', *carried']``; walls
move x' alone, so a carried vector takes ``mirror_sign(x')`` with it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
        ``step(model, x, t, h, noise) -> list of components``; `noise` holds normals, then signs, then uniforms.
    weak_order, invariant_order : mapping of str to float
        Order of means at a fixed time and in the stationary law, in the bulk, for each kind of noise it takes. The weak
        order is 0 where paths are not meant to be those of the system, the invariant one infinite where it is exact.
    wall_order : float
        Order of stationary means where the Gibbs law has mass at a reflecting wall with a normal force; 0 where walls
        are refused.
    mobility : str
        The mobilities it integrates, in words.
    evaluations : str
        Cost of a step.
    reference : str
        Where it is published, and the number of its equation on the page of steps.
    draws : {"normal", "uniform"}
        What `noise` holds: standard normals (or weak substitutes), or uniforms on (0, 1].
    noise_per_axis : int
        Draws a step for each coordinate.
    output : callable, optional
        ``output(model, x, t, h, noise)``: the position that is reported for the state x, with the noise of the coming
        step. Without it the state itself is.
    signs : callable, optional
        ``signs(dim)``: fair numbers +1 or -1 a step.
    uniforms : int
        Uniforms on (0, 1] a step.
    stays_inside : bool
        Whether a step never crosses a reflecting wall, so that none is to be met.
    lepingle : bool
        Whether a step is a drift and a kick from one point, which Lépingle's push at walls takes for granted.
    carried : mapping of str to {"axis", "particle"}
        What the state holds besides the position: a row for each axis, or one. "accepted" counts accepted steps.
    begin : callable, optional
        ``begin(model, x, t)``: the rows it carries at the start.
    weights : callable, optional
        ``weights(model, x, t)``: weight of a reported position in stationary means.
    dynamics : {"true", "stationary"}
        Whether the path is one of the system or only its stationary law is right.
    refuses : callable, optional
        ``refuses(system)``: the reason why a system cannot be run, or None.
    constants : callable, optional
        ``constants(system)``: numbers that the step reads as ``model.constants[k]``.
    coordinates : callable, optional
        ``coordinates(system)``: other coordinates that the state lives in.
    rank : float
        "auto" takes the greatest rank that can run the system.
    auto_dim : int, optional
        The number of coordinates up to which "auto" takes it, where a step's cost grows faster than what it gains.
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
    signs: Callable[[int], int] | None = None
    uniforms: int = 0
    stays_inside: bool = False
    lepingle: bool = False
    carried: Mapping[str, str] = field(default_factory=dict)
    begin: Callable[..., Any] | None = None
    weights: Callable[..., Any] | None = None
    dynamics: str = "true"
    refuses: Callable[[System], str | None] | None = None
    constants: Callable[[System], tuple[float, ...]] | None = None
    coordinates: Callable[[System], Coordinates] | None = None
    rank: float = 0
    auto_dim: int | None = None

    def why_not(self, system: System, noise: str = "gaussian") -> str | None:
        """The reason why this scheme cannot run a system with a kind of noise, or None."""
        if noise not in self.weak_order:
            return f"it takes {' or '.join(self.weak_order)} noise, not {noise}"
        if system.batched:  # first: what a scheme asks of a mobility may take an array (points, dim, dim)
            from relaxsim.particles.batched_step import why_not_batched

            reason = why_not_batched(self, system)
            if reason is not None:
                return reason
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
        true = [row for row in true if row.auto_dim is None or system.dim <= row.auto_dim]
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
