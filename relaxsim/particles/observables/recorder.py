"""The observables of a run: their names, when each of them looks, and handing them the particles."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import IncompatibleSchemeError
from relaxsim.particles.observables.accumulate import LEAF
from relaxsim.particles.observables.base import Observable
from relaxsim.particles.observables.first_passage import FirstPassage
from relaxsim.particles.schemes import Scheme
from relaxsim.system.region import Region
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, Problems


class Recorder:
    """Copies of the observables a user gave, by name.

    Parameters
    ----------
    observables : mapping of str to Observable
    """

    def __init__(self, observables: Mapping[str, Observable]) -> None:
        self.observables = {name: copy.copy(observable) for name, observable in observables.items()}
        self._times: FloatArray = np.empty(0)

    @property
    def passages(self) -> list[FirstPassage]:
        """Those that the loop over the steps serves."""
        return [each for each in self.observables.values() if isinstance(each, FirstPassage)]

    def regions(self, system: System) -> tuple[Region, ...]:
        """The regions whose first passage the loop watches."""
        return tuple(each.read_region(system) for each in self.passages)

    def check(self, row: Scheme, noise: str) -> None:
        """Refuse what means nothing with a scheme or kind of noise."""
        for name, each in self.observables.items():
            kind = type(each).__name__
            if isinstance(each, FirstPassage) and noise != "gaussian":
                raise IncompatibleSchemeError(
                    f"observables[{name!r}]: {kind} needs noise='gaussian'; with {noise} noise only averages mean "
                    "something, not when a path crosses"
                )
            if each.needs_path and row.dynamics != "true":
                raise IncompatibleSchemeError(
                    f"observables[{name!r}]: {kind} needs paths in time; {row.id!r} has the right stationary law only"
                )

    def begin(
        self, system: System, n: int, times: FloatArray, t0: float, dt: float, first_particle: int, seed: int
    ) -> None:
        """Start all of them anew."""
        for each in self.observables.values():
            each.first_leaf, each.n_particles, each.n_records = first_particle // LEAF, n, 0
            each.system, each.particles = system, [(seed, first_particle, n)]
            each.begin(system, n, times if each.every is None else np.empty(0), t0, dt)

    def next_step(self, step: int) -> float:
        """The next step after this one at which something looks by itself, or infinity."""
        strides = [stride for each in self.observables.values() if (stride := each.stride) is not None]
        return min((step // stride * stride + stride for stride in strides), default=math.inf)

    def due(self, step: int, k: int | None, t: float) -> list[Observable]:
        """Those that look after so many steps, at which the run reaches its k-th time, if any; they are told so."""
        found = [each for each in self.observables.values() if each.due(step, k, t)]
        for each in found:
            each.t = t
        return found

    @staticmethod
    def look(each: Observable, begin: int, positions: FloatArray, weights: FloatArray | None) -> None:
        """Hand a piece of particles, the first of which has number `begin`, to an observable."""
        each.look(begin // LEAF, positions, weights, each.n_records)

    @staticmethod
    def close(due: Sequence[Observable]) -> None:
        """All particles have been looked at."""
        for each in due:
            each.close(each.n_records)
            each.n_records += 1

    def finish(self, passage_times: Callable[[int], FloatArray]) -> dict[str, Observable]:
        """Work out the results; `passage_times` gives those of the k-th region."""
        for k, passage in enumerate(self.passages):
            passage.passage_times = passage_times(k)
        for each in self.observables.values():
            each.finish()
        return self.observables


def named(observables: Any, problems: Problems) -> dict[str, Observable]:
    """What a user passed as observables, by name; those of a list get the names of their classes in snake case."""
    if observables is None:
        return {}
    if isinstance(observables, Observable):
        observables = [observables]
    if isinstance(observables, Mapping):
        found = dict(observables)
    elif isinstance(observables, (list, tuple)):
        found = {}
        for each in observables:
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(each).__name__).lower()
            same = sum(re.fullmatch(rf"{name}(_\d+)?", other) is not None for other in found)
            found[f"{name}_{same + 1}" if same else name] = each
    else:
        problems.add("observables", f"expected a mapping of names to observables, got {type(observables).__name__}")
        return {}
    for name, each in found.items():
        if not isinstance(each, Observable) or not isinstance(name, str):
            problems.add(f"observables[{name!r}]", f"expected an Observable such as Mean('x**2'), got {each!r:.80}")
            return {}
        problem = _incomplete(each)
        if problem is not None:
            problems.add(f"observables[{name!r}]", problem)
    return found


def _incomplete(each: Observable) -> str | None:
    """What a class of the user's own lacks, or None."""
    kind = type(each)
    if not hasattr(each, "n_records"):
        return f"the __init__ of {kind.__name__} must call super().__init__()"
    if (kind.record, kind.look, kind.due) == (Observable.record, Observable.look, Observable.due):
        return f"{kind.__name__} must define record(self, leaf, positions, weights, k), which looks at the particles"
    return None
