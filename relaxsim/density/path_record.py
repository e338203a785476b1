"""The path of a density as a record that can be written, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density import drift_record
from relaxsim.density.proximal_path import EACH_STEP, ProximalPath
from relaxsim.record import Record, dataset
from relaxsim.system import saved

if TYPE_CHECKING:
    from relaxsim.density.path import DensityPath
    from relaxsim.system.system import System

KIND = "density"
_EACH_TIME = ("log_partition", "work")  # numbers for each time, where there are some


def to_record(path: DensityPath) -> Record:
    """Everything there is to a path."""
    described: Any = path.system
    system, probed = (saved if hasattr(described, "energy") else drift_record).describe(described)
    grid = path.grid
    about = {
        "t0": float(path.times[0]),
        "method": path.method,
        "steps": path.steps,
        "why": path.why,
        "log_partition": None if moves(path) else path.log_partition,
        "dtype": str(path.mass.dtype),
        "grid": {"shape": grid.shape, "bounds": grid.bounds.tolist(), "left_out": grid.left_out},
        "system": system,
    }
    arrays = {"times": path.times, "mass": path.mass, "log_gibbs": path.log_gibbs}
    if moves(path):
        arrays["log_partition"] = np.asarray(path.log_partition)
    if path.work is not None:
        arrays["work"] = path.work
    if isinstance(path, ProximalPath):
        about["proximal"] = path.arguments()
        arrays |= {name: getattr(path, name) for name in EACH_STEP}
    return Record(KIND, about, arrays | probed, _axes(path))


def to_dataset(path: DensityPath) -> Any:
    """The path as an `xarray.Dataset`."""
    axes = _axes(path)
    variables = {
        "mass": (axes["mass"], path.mass),
        "density": (axes["mass"], path.density),
        "log_gibbs": (axes["log_gibbs"], path.log_gibbs),
    }
    variables |= {
        name: (axes[name], np.asarray(getattr(path, name))) for name in (*_EACH_TIME, *EACH_STEP) if name in axes
    }
    centers = dict(zip(axes["mass"][1:], path.grid.centers, strict=True))
    return dataset(to_record(path).about, variables, {"time": path.times} | centers)


def from_record(record: Record, system: System | None) -> DensityPath:
    """The path of a record; its system is rebuilt, or is `system`."""
    from relaxsim.density.path import DensityPath
    from relaxsim.system.grid import Grid

    about, arrays = record.about, record.arrays
    rebuild = drift_record.rebuild if "mu" in about["system"] else saved.rebuild
    made: Any = rebuild(about["system"], arrays, system)
    grid = Grid(made.domain, about["grid"]["shape"], bounds=about["grid"]["bounds"])
    grid.left_out = about["grid"]["left_out"]
    partition = arrays.get("log_partition", about["log_partition"])
    parts = (
        made,
        grid,
        arrays["log_gibbs"],
        partition,
        arrays["times"],
        arrays["mass"],
        about["steps"],
        about["method"],
    )
    why = about.get("why", "")  # this, the work and the steps of a recursion are not in files of before
    if "proximal" not in about:
        return DensityPath(*parts, why=why, work=arrays.get("work"))
    path = ProximalPath(*parts, why=why, **about["proximal"])
    for name in EACH_STEP:
        setattr(path, name, arrays[name])
    return path


def _axes(path: DensityPath) -> dict[str, tuple[str, ...]]:
    cells = tuple(f"x{axis}" for axis in range(path.grid.dim))
    found: dict[str, tuple[str, ...]] = {"times": ("time",), "mass": ("time", *cells), "log_gibbs": cells}
    if moves(path):
        found |= {"log_gibbs": ("time", *cells), "log_partition": ("time",)}
    if path.work is not None:
        found["work"] = ("time",)
    if isinstance(path, ProximalPath):
        found |= dict.fromkeys(EACH_STEP, ("step",)) | {"functional": ("step_end",)}
    return found


def moves(path: DensityPath) -> bool:
    """Whether the Gibbs masses of a path depend on the time."""
    return path.log_gibbs.ndim > path.grid.dim
