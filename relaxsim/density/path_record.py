"""The path of a density as a record that can be written, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relaxsim.record import Record, dataset
from relaxsim.system import saved

if TYPE_CHECKING:
    from relaxsim.density.path import DensityPath
    from relaxsim.system.system import System

KIND = "density"


def to_record(path: DensityPath) -> Record:
    """Everything there is to a path."""
    system, probed = saved.describe(path.system)
    grid = path.grid
    about = {
        "t0": float(path.times[0]),
        "method": path.method,
        "steps": path.steps,
        "log_partition": path.log_partition,
        "dtype": str(path.mass.dtype),
        "grid": {"shape": grid.shape, "bounds": grid.bounds.tolist(), "left_out": grid.left_out},
        "system": system,
    }
    arrays = {"times": path.times, "mass": path.mass, "log_gibbs": path.log_gibbs}
    return Record(KIND, about, arrays | probed, _axes(path))


def to_dataset(path: DensityPath) -> Any:
    """The path as an `xarray.Dataset`."""
    axes = _axes(path)
    variables = {
        "mass": (axes["mass"], path.mass),
        "density": (axes["mass"], path.density),
        "log_gibbs": (axes["log_gibbs"], path.log_gibbs),
    }
    centers = dict(zip(axes["log_gibbs"], path.grid.centers, strict=True))
    return dataset(to_record(path).about, variables, {"time": path.times} | centers)


def from_record(record: Record, system: System | None) -> DensityPath:
    """The path of a record; its system is rebuilt, or is `system`."""
    from relaxsim.density.path import DensityPath
    from relaxsim.system.grid import Grid

    about, arrays = record.about, record.arrays
    made = saved.rebuild(about["system"], arrays, system)
    grid = Grid(made.domain, about["grid"]["shape"], bounds=about["grid"]["bounds"])
    grid.left_out = about["grid"]["left_out"]
    return DensityPath(
        made, grid, arrays["log_gibbs"], about["log_partition"], arrays["times"], arrays["mass"], about["steps"],
        about["method"],
    )  # fmt: skip


def _axes(path: DensityPath) -> dict[str, tuple[str, ...]]:
    cells = tuple(f"x{axis}" for axis in range(path.grid.dim))
    return {"times": ("time",), "mass": ("time", *cells), "log_gibbs": cells}
