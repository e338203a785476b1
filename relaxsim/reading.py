"""Reading back what the two kinds of path have written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from relaxsim.errors import InputError
from relaxsim.record import read
from relaxsim.system.validate import Problems

if TYPE_CHECKING:
    from relaxsim.density.path import DensityPath
    from relaxsim.particles.observables.base import Observable
    from relaxsim.particles.path import EnsemblePath
    from relaxsim.system.system import System


def load(
    path: str | os.PathLike[str],
    system: System | None = None,
    observables: Mapping[str, Observable] | Sequence[Observable] | Observable | None = None,
) -> EnsemblePath | DensityPath:
    """Read a path that `save` wrote.

    A system of texts and numbers is rebuilt as it was, to the last bit. Python functions are not stored: pass the
    system, and it is compared with the file's at 32 points.

    Parameters
    ----------
    path : path-like
        An ``.npz`` file or ``.zarr`` folder.
    system : System, optional
        The system that was simulated, or the `system` of `FokkerPlanck.from_drift`; needed where it has Python
        functions.
    observables : optional
        Those of an ensemble that have Python functions or are of classes of your own, as they were made for
        `simulate`; without them, they are left out, which is logged.

    Returns
    -------
    EnsemblePath or DensityPath

    Raises
    ------
    FileNotFoundError
        There is no such file.
    InputError
        It is damaged, of a newer format, or a checkpoint (see `relaxsim.resume`); `system` is needed, or differs from
        that of the file (the message says where).
    """
    record = read(path)
    try:
        if record.kind == "ensemble":
            from relaxsim.particles import path_record
            from relaxsim.particles.observables.recorder import named

            problems = Problems()
            given = named(observables, problems)
            problems.raise_if_any()
            return path_record.from_record(record, system, given)
        if record.kind == "density":
            from relaxsim.density import path_record as density_record

            return density_record.from_record(record, system)
    except KeyError as error:
        raise InputError(f"{path}: {error} is missing; the file is damaged") from error
    hint = "; continue the run with relaxsim.resume" if record.kind == "checkpoint" else ""
    raise InputError(f"{path}: expected the path of an ensemble or a density, the file holds a {record.kind}{hint}")
