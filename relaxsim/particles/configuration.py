"""What decides the numbers of a run, as plain data: for files that another process goes on with or reads."""

from __future__ import annotations

import hashlib
import json
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
from relaxsim.system.grid import Grid

Data = dict[str, Any]


def configuration(run: Run, kernel: AnyKernel) -> Data:
    """All arguments of a run that decide its numbers, but for the system and what was drawn of the initial law."""
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
        "packing_version": PACKING_VERSION,
        "observables": {name: observable_data(each) for name, each in run.recorder.observables.items()},
    }


def description(run: Run, kernel: AnyKernel) -> tuple[Data, dict[str, NDArray[Any]]]:
    """A configuration and its system with their hash, and the values of the system at probe points."""
    system, probed = saved.describe(run.system)
    about = {"configuration": configuration(run, kernel), "system": system}
    return about | {"hash": hash_of(about)}, probed


def hash_of(about: Mapping[str, Any]) -> str:
    """The hash of plain data."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def check_expected(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse a run whose configuration is not what the caller thinks it is; all differences are named."""
    known = [
        name for name in stored if name not in ("n_steps", "scheme", "own_scheme", "packing_version", "observables")
    ]
    differ = []
    for name, value in expected.items():
        key = "seed" if name == "rng" else name
        if key not in known:
            raise InputError(f"{name}: a checkpoint knows {', '.join(known)}")
        if not np.array_equal(np.asarray(stored[key]), np.asarray(value)):
            differ.append(f"{name} is {_short(stored[key])} in the checkpoint, not {_short(value)}")
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
    if scheme.id != name or not _same(own, now):
        raise InputError(f"scheme: the checkpoint is of {name!r} with the step {own}, not of {scheme.id!r} with {now}")
    return scheme


# ---- observables


def observable_data(observable: Observable) -> Data:
    """The class of an observable and what it was made with."""
    settings = {name: _plain(value) for name, value in observable.settings().items()}
    return {"class": type(observable).__qualname__, "ours": _is_ours(type(observable)), "settings": settings}


def observables_from(
    stored: Mapping[str, Data], given: Mapping[str, Observable], partial: bool = False
) -> dict[str, Observable]:
    """The observables of a file: made again, or those that were given, which must be the same.

    Parameters
    ----------
    stored : mapping
        What `observable_data` said of each.
    given : mapping of str to Observable
        Needed for classes of the user's own and for functions.
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
            now = observable_data(given[name])
            if not _same(data, now):
                raise InputError(f"observables[{name!r}]: the file's is {data}, this one {now}")
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


def _plain(value: Any) -> Any:
    """A setting as what JSON can hold."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (np.ndarray, list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Grid):
        return {"shape": list(value.shape), "bounds": value.bounds.tolist(), "domain": saved.domain_data(value.domain)}
    return saved.function_data(value) if callable(value) else {"function": type(value).__qualname__, "source": None}


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return Grid(saved.domain_from(value["domain"]), value["shape"], bounds=value["bounds"])
    return value


def _has_function(settings: Mapping[str, Any]) -> bool:
    return any(isinstance(value, dict) and "function" in value for value in settings.values())


def _same(one: Any, two: Any) -> bool:
    """Whether plain data are the same, where a source that could not be had agrees with any."""
    if isinstance(one, dict) and isinstance(two, dict):
        if one.keys() == two.keys() == {"function", "source"} and None in (one["source"], two["source"]):
            return bool(one["function"] == two["function"])
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    return bool(one == two)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
