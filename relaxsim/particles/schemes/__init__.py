"""The integration schemes: one file each, found by themselves; nothing else knows their names.

A scheme file defines ``step(model, x, t, h, noise)`` and a row ``SCHEME = Scheme(...)``. The step is pure: `x` and
`noise` are sequences of components, the result is a list of components, and only arithmetic, `relaxsim.elementary`
and comprehensions over ``range(len(x))`` occur. So the same source runs on NumPy arrays (in tests, as a transfer
operator) and, unrolled for the dimension at hand, in compiled loops.

The model offers ``drift(x, t)``, ``gradient(x, t)``, ``divergence(x, t)``, ``kick(x, t, noise)`` = sqrt(2 T) B noise
with
B B^T = K, and ``temperature``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from relaxsim.errors import IncompatibleSchemeError
from relaxsim.system.system import System
from relaxsim.system.validate import nearest


@dataclass(frozen=True)
class Scheme:
    """What a scheme says of itself.

    Attributes
    ----------
    id : str
        The name users type.
    step : callable
        ``step(model, x, t, h, noise) -> list of components``.
    weak_order, invariant_order : float
        Order of means at a fixed time and in the stationary law, in the bulk, with Gaussian noise.
    wall_order : float
        Order of stationary means where the Gibbs law has mass at a reflecting wall with a normal force.
    mobility : tuple of str
        Structures of K that it integrates.
    noise_per_axis : int
        Normals a step for each coordinate.
    evaluations : str
        Cost of a step.
    reference : str
        Where it is published, with the equation.
    """

    id: str
    step: Callable[..., Any]
    weak_order: float
    invariant_order: float
    wall_order: float
    mobility: tuple[str, ...]
    noise_per_axis: int
    evaluations: str
    reference: str

    def why_not(self, system: System) -> str | None:
        """The reason why this scheme cannot run a system, or None."""
        if system.mobility.structure not in self.mobility:
            return f"it takes {' or '.join(self.mobility)} mobilities, not {system.mobility.structure}"
        return None


@cache
def registry() -> dict[str, Scheme]:
    """Every scheme in this package by its id."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        scheme: Scheme = importlib.import_module(f"{__name__}.{module.name}").SCHEME
        found[scheme.id] = scheme
    return found


def choose(scheme: str | Scheme, system: System) -> Scheme:
    """The scheme of an id, or a Scheme itself; "auto" takes the one of highest invariant order that can run the
    system."""
    if isinstance(scheme, Scheme):
        reason = scheme.why_not(system)
        if reason:
            raise IncompatibleSchemeError(f"scheme: {scheme.id!r} cannot run this system: {reason}")
        return scheme
    able = {name: row for name, row in registry().items() if row.why_not(system) is None}
    if scheme == "auto":
        return max(able.values(), key=lambda row: (row.invariant_order, row.weak_order))
    if scheme not in registry():
        hint = nearest(str(scheme), registry()) or "."
        raise IncompatibleSchemeError(
            f"scheme: unknown scheme {scheme!r}{hint} The schemes are auto, {', '.join(registry())}"
        )
    if scheme not in able:
        raise IncompatibleSchemeError(
            f"scheme: {scheme!r} cannot run this system: {registry()[scheme].why_not(system)}. Schemes that can: "
            f"{', '.join(able)}"
        )
    return able[scheme]
