"""What an instrument was given in place of what it takes, and which one takes that.

Kinds are told by what they have, not by their class: anything with the attributes of a path is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from typing import Any, NoReturn

from relaxsim.errors import InputError
from relaxsim.system.validate import is_bare_drift, kind_of

POINTS = "positions (n, dim) of particles at one time, such as path.positions[k]"
SYSTEM = "a System, such as path.system"
PATH = "the result of simulate(...) or FokkerPlanck.evolve(...)"


def is_ensemble(value: Any) -> bool:
    """Whether it is a path of particles."""
    return hasattr(value, "positions") and hasattr(value, "times")


def is_density(value: Any) -> bool:
    """Whether it is a path of cell masses."""
    return hasattr(value, "mass") and hasattr(value, "grid") and hasattr(value, "times")


def is_system(value: Any) -> bool:
    """Whether it has an energy, a temperature and a domain."""
    return all(hasattr(value, name) for name in ("energy", "temperature", "domain", "dim"))


def is_record(value: Any) -> bool:
    """Whether it is what `track` returns."""
    return hasattr(value, "free_energy") and hasattr(value, "moving")


def is_numbers(value: Any) -> bool:
    """Whether it could be an array; whether it is one is said by its conversion."""
    if isinstance(value, (str, bytes)):
        return False
    return isinstance(value, (Sequence, Number)) or hasattr(value, "__array__")


def refuse(value: Any, argument: str, expected: str, fix: str = "") -> NoReturn:
    """Raise InputError for a value of the wrong kind."""
    raise InputError(f"{argument}: expected {expected}, got {kind_of(value)}{'; ' + fix if fix else ''}")


def check_points(value: Any, argument: str, paths: str = "", densities: str = "") -> None:
    """Positions may come as anything that can be an array.

    `paths` says what measures a path at all its times, `densities` what measures one of densities, by default the same.
    """
    densities = densities or paths
    if is_ensemble(value):
        refuse(value, argument, POINTS, f"{paths} has all times" if paths else "")
    if is_density(value):
        refuse(value, argument, POINTS, f"a density has none, {densities} serves it" if densities else "")
    if is_system(value):
        refuse(value, argument, POINTS, "the system comes after the points")
    if is_record(value):
        refuse(value, argument, POINTS, "it holds F, U, S and KL by itself: record.free_energy, record.kl")
    if not is_numbers(value):
        refuse(value, argument, POINTS)


def check_system(value: Any, argument: str = "system") -> Any:
    """The System that was given; what has no energy has no Gibbs law."""
    if is_system(value):
        return value
    if hasattr(value, "system") and is_system(value.system):
        refuse(value, argument, SYSTEM, "pass its .system")
    if is_bare_drift(value):
        raise InputError(
            f"{argument}: a process given by its drift has no energy, so neither F nor U, nor a Gibbs law; the "
            "relative entropy to its law at rest is path.kl"
        )
    refuse(value, argument, SYSTEM)


def check_path(value: Any, points: str = "") -> None:
    """A path carries its system; `points` says what measures positions at one time."""
    if hasattr(value, "system") and (is_ensemble(value) or is_density(value)):
        return
    if is_system(value):
        refuse(value, "path", PATH, "run it first")
    if is_record(value):
        refuse(value, "path", PATH, "it is what track(path) made of one")
    if hasattr(value, "evolve"):
        refuse(value, "path", PATH, "write path = fp.evolve(initial, times)")
    refuse(value, "path", PATH, f"{points} measures positions at one time" if points and is_numbers(value) else "")


def check_record(value: Any, argument: str, function: str) -> None:
    """What `track` returns; a path has to go through it."""
    if is_record(value):
        return
    expected = "a Relaxation, the result of track(path)"
    path = is_ensemble(value) or is_density(value)
    refuse(value, argument, expected, f"write {function}(track(path))" if path else "")


def check_law(value: Any, argument: str) -> None:
    """A law on a line, or masses: a path has one for each time."""
    if is_ensemble(value):
        refuse(value, argument, "a law", "pass a coordinate at one time, path.positions[k, :, axis]")
    if is_density(value):
        refuse(value, argument, "a law", "pass one time, path.mass[k], with (edges, masses) on a line: "
               "(path.grid.edges[0], path.mass[k])")  # fmt: skip
    if not (is_numbers(value) or callable(value)):
        refuse(value, argument, "a law, such as positions on a line, or masses with their places")
