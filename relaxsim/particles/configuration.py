"""What decides the numbers of a run, as plain data: for files that another process goes on with or reads."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.particles import observables as ours
from relaxsim.particles.observables.base import Observable
from relaxsim.particles.random import PACKING_VERSION
from relaxsim.particles.run import AnyKernel, Run
from relaxsim.particles.schemes import Scheme, registry
from relaxsim.system import saved
from relaxsim.system.field import Field
from relaxsim.system.grid import Grid
from relaxsim.system.law import Law
from relaxsim.system.system import System

logger = logging.getLogger("relaxsim")

Data = dict[str, Any]

LONG = 1000  # numbers of an array from which on only its hash is kept


def configuration(run: Run, kernel: AnyKernel, initial: Law, stationary: bool) -> Data:
    """All arguments of a run that decide its numbers, but for the system."""
    plan = kernel.plan
    row = plan.scheme
    return {
        "n_particles": run.n,
        "dt": run.dt,
        "times": run.times.tolist(),
        "n_steps": run.steps[-1],
        "seed": run.seed,
        "scheme": row.id,
        "own_scheme": None if registry().get(row.id) is row else saved.function_data(row.step),
        "noise": plan.noise,
        "walls": "lepingle" if plan.lepingle else "mirror",
        "dtype": plan.dtype,
        "device": kernel.device,
        "store": run.store,
        "store_windings": plan.count_turns,
        "stationary": stationary,
        "initial": _plain(initial, run.system),
        "packing_version": PACKING_VERSION,
        "observables": {name: observable_data(each, run.system) for name, each in run.recorder.observables.items()},
    }


def description(run: Run, kernel: AnyKernel, initial: Law, stationary: bool) -> tuple[Data, dict[str, NDArray[Any]]]:
    """A configuration and its system with their hash, and the values of the system at probe points."""
    system, probed = saved.describe(run.system)
    about = {"configuration": configuration(run, kernel, initial, stationary), "system": system}
    return about | {"hash": hash_of(about)}, probed


def hash_of(about: Mapping[str, Any]) -> str:
    """The hash of plain data."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def check_expected(stored: Mapping[str, Any], expected: Mapping[str, Any], system: System) -> None:
    """Refuse a run whose configuration is not what the caller thinks it is; all differences are named."""
    known = [
        name for name in stored if name not in ("n_steps", "scheme", "own_scheme", "packing_version", "observables")
    ]
    differ = []
    for name, value in expected.items():
        key = "seed" if name == "rng" else name
        if key not in known:
            raise InputError(f"{name}: a checkpoint knows {', '.join(known)}")
        now = _plain(value if isinstance(value, Law) else np.asarray(value).tolist(), system)
        if not _same(stored[key], now):
            differ.append(f"{name} is {_short(stored[key])} in the checkpoint, not {_short(now)}")
    if differ:
        raise InputError(f"the checkpoint is of another configuration: {'; '.join(differ)}")


def scheme_of(stored: Mapping[str, Any], scheme: str | Scheme | None) -> Scheme:
    """The scheme of a configuration; one of the user's own has to be passed, the id of another must agree."""
    own, name = stored["own_scheme"], stored["scheme"]
    if own is None and scheme in (None, "auto", name):
        return registry()[name]
    if own is not None and not isinstance(scheme, Scheme):
        raise InputError(f"scheme: the checkpoint is of a scheme of your own, {name!r}; pass it as scheme=")
    if not isinstance(scheme, Scheme):
        raise InputError(f"scheme: the checkpoint is of {name!r}, not of {scheme!r}")
    now = None if registry().get(scheme.id) is scheme else saved.function_data(scheme.step)
    if scheme.id != name or (own is None) != (now is None):
        raise InputError(f"scheme: the checkpoint is of {name!r}, not of {scheme.id!r}")
    if own and now and None not in (own["source"], now["source"]) and own != now:
        raise InputError(f"scheme: the step of {name!r} has another source than in the checkpoint")
    return scheme


# ---- observables


def observable_data(observable: Observable, system: System) -> Data:
    """The class of an observable and what it was made with; functions by their values where the system is probed."""
    settings = {name: _plain(value, system) for name, value in observable.settings().items()}
    return {"class": type(observable).__qualname__, "ours": _is_ours(type(observable)), "settings": settings}


def observables_from(
    stored: Mapping[str, Data], given: Mapping[str, Observable], system: System, partial: bool = False
) -> dict[str, Observable]:
    """The observables of a file: made again, or those that were given, which must be the same.

    Parameters
    ----------
    stored : mapping
        What `observable_data` said of each.
    given : mapping of str to Observable
        Needed for classes of the user's own and for functions.
    system : System
        What they look at.
    partial : bool
        Whether to leave out what cannot be made and was not given.

    Raises
    ------
    InputError
        One is missing or another one; the message names it.
    """
    found: dict[str, Observable] = {}
    for name in given:
        if name not in stored:
            raise InputError(f"observables: the file has none named {name!r}; it has {', '.join(stored) or 'none'}")
    for name, data in stored.items():
        if name in given:
            _check_same(name, data, observable_data(given[name], system))
            found[name] = given[name]
        elif data["ours"] and not _has_function(data["settings"]):
            settings = {key: _from_plain(value) for key, value in data["settings"].items()}
            found[name] = getattr(ours, data["class"])(**settings)
        elif not partial:
            raise InputError(
                f"observables: {name!r} is a {data['class']} with a function or a class of your own, which is not "
                f"stored; pass it as observables={{{name!r}: ...}}"
            )
    return found


def numbers_of(observables: Mapping[str, Observable]) -> dict[str, NDArray[Any]]:
    """The arrays of observables by names for a file; results that are views of what is summed are left out."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, each in observables.items():
        kept: list[NDArray[Any]] = []
        for key, value in each.state().items():
            values = np.asarray(value)
            # only in classes of ours is it known that what is summed comes before its views
            if not (_is_ours(type(each)) and any(np.may_share_memory(values, other) for other in kept)):
                arrays[f"observables/{name}/{key}"] = values
                kept.append(values)
    return arrays


def restore(observables: Mapping[str, Observable], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Hand their numbers back to observables that have begun."""
    for name, each in observables.items():
        start = f"observables/{name}/"
        each.restore({key.removeprefix(start): arrays[key] for key in arrays if key.startswith(start)})


def _is_ours(kind: type) -> bool:
    return getattr(ours, kind.__name__, None) is kind


def _check_same(name: str, stored: Data, now: Data) -> None:
    """Refuse an observable that is not the one of a file, and say what differs."""
    if (stored["class"], stored["ours"]) != (now["class"], now["ours"]):
        raise InputError(f"observables[{name!r}]: the file's is a {stored['class']}, this one a {now['class']}")
    one, two = stored["settings"], now["settings"]
    differ = [key for key in one.keys() | two.keys() if not _same(one.get(key), two.get(key))]
    if differ:
        pairs = [f"{key} is {_short(one.get(key))} in the file, not {_short(two.get(key))}" for key in sorted(differ)]
        raise InputError(f"observables[{name!r}]: {'; '.join(pairs)}")
    for key, value in one.items():
        if _is_function(value) and None not in (was := value["source"], now_is := two[key]["source"]) and was != now_is:
            logger.warning(
                "observables[%r]: %s has the values of the file's at all points that were kept; its source has changed",
                name, key,
            )  # fmt: skip


def _plain(value: Any, system: System) -> Any:
    """An argument as what JSON can hold; functions of the position are known by their values."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, list, tuple)):
        return [_plain(entry, system) for entry in value]
    if isinstance(value, Grid):
        return {"shape": list(value.shape), "bounds": value.bounds.tolist(), "domain": saved.domain_data(value.domain)}
    if isinstance(value, Field) and value.trees is not None:
        return {"trees": _plain(value.trees, system), "params": dict(value.params)}
    if isinstance(value, Law):
        parts = {name: part for name, part in vars(value).items() if not name.startswith("_")}
        return {"law": value.name} | {name: _hashed_if_large(part, system) for name, part in parts.items()}
    function = value.function if isinstance(value, Field) else value
    return saved.function_data(function) | {"values": saved.function_values(function, system)}


def _hashed_if_large(value: Any, system: System) -> Any:
    """A part of a law, of an array of many numbers only what it can be known by."""
    if isinstance(value, np.ndarray) and value.size > LONG:
        return {"shape": list(value.shape), "hash": hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()}
    return _plain(value, system)


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return Grid(saved.domain_from(value["domain"]), value["shape"], bounds=value["bounds"])
    return value


def _is_function(value: Any) -> bool:
    return isinstance(value, dict) and "function" in value


def _has_function(settings: Mapping[str, Any]) -> bool:
    return any(_is_function(value) for value in settings.values())


def _same(one: Any, two: Any) -> bool:
    """Whether plain data are the same."""
    if _is_function(one) and _is_function(two):
        return saved.same_function(one, two)
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(_same(a, b) for a, b in zip(one, two, strict=True))
    return bool(one == two)


def _short(value: Any) -> str:
    """A setting as people read it."""
    if _is_function(value):
        values = "" if value["values"] is None else f" (with values {', '.join(value['values'][:3])}, ...)"
        return f"the function {value['function']}{values}"
    if isinstance(value, dict):
        value = ", ".join(f"{name} = {_short(part)}" for name, part in value.items() if name != "hash")
    text = value if isinstance(value, str) and "=" in value else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
