"""The path of an ensemble as a record that can be written, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.particles.configuration import numbers_of, observable_data, observables_from, restore
from relaxsim.particles.observables.base import Observable
from relaxsim.particles.observables.recorder import Recorder
from relaxsim.record import Record, dataset
from relaxsim.system import saved

if TYPE_CHECKING:
    from relaxsim.particles.path import EnsemblePath
    from relaxsim.system.system import System

logger = logging.getLogger("relaxsim")

KIND = "ensemble"
PLAIN = ("dt", "t0", "scheme", "seed", "threads", "packing_version", "noise", "walls", "acceptance", "device")
AXES = {
    "times": ("time",),
    "positions": ("time", "axis", "particle"),
    "windings": ("time", "particle", "axis"),
    "weights": ("time", "particle"),
}


def to_record(path: EnsemblePath) -> Record:
    """Everything there is to a path. Positions and turns keep the order in which they lie in memory."""
    system, probed = saved.describe(path.system)
    arrays: dict[str, Any] = {"times": path.times, "positions": np.swapaxes(path.positions, 1, 2)}
    if path.windings is not None:
        arrays["windings"] = path.windings
    if path.weights is not None:
        arrays["weights"] = path.weights
    about = {name: getattr(path, name) for name in PLAIN} | {"dtype": path.dtype, "system": system}
    about["observables"] = {
        name: observable_data(each, path.system) | {"n_particles": each.n_particles}
        for name, each in path.observables.items()
    }
    more = numbers_of(path.observables) | probed
    return Record(KIND, about, arrays | more, {name: AXES[name] for name in arrays})


def to_dataset(path: EnsemblePath) -> Any:
    """The path as an `xarray.Dataset`."""
    variables: dict[str, Any] = {"positions": (("time", "particle", "axis"), path.positions)}
    for name in ("windings", "weights"):
        values = getattr(path, name)
        if values is not None:
            variables[name] = (AXES[name], values)
    coordinates = {"time": path.times, "axis": np.arange(path.dim)}
    return dataset(to_record(path).about, variables, coordinates)


def from_record(record: Record, system: System | None, observables: Mapping[str, Observable]) -> EnsemblePath:
    """The path of a record; its system and its observables are made again, or are those that are given."""
    from relaxsim.particles.path import EnsemblePath

    arrays = record.arrays
    path = EnsemblePath(
        system=saved.rebuild(record.about["system"], arrays, system),
        times=arrays["times"],
        positions=np.swapaxes(arrays["positions"], 1, 2),
        windings=arrays.get("windings"),
        weights=arrays.get("weights"),
        **{name: record.about[name] for name in PLAIN},
    )
    return replace(path, observables=_observables(record, path, observables))


def _observables(record: Record, path: EnsemblePath, given: Mapping[str, Observable]) -> dict[str, Observable]:
    """The observables with their results; those that cannot be made and were not given are left out, and it is said."""
    stored = {name: dict(data) for name, data in record.about["observables"].items()}
    sizes = {name: data.pop("n_particles") for name, data in stored.items()}
    found = Recorder(observables_from(stored, given, path.system, partial=True)).observables
    for name in stored.keys() - found.keys():
        logger.warning("observable %r has a function or a class of your own; load(..., observables=) brings it", name)
    for name, each in found.items():
        times = record.arrays.get(f"observables/{name}/times", path.times)
        each.begin(path.system, sizes[name], times, path.t0, path.dt)
        each.n_particles, each.system = sizes[name], path.system
    restore(found, record.arrays)
    for each in found.values():
        each.finish()
    return found
