"""A process given by its drift as plain data: texts are rebuilt, Python functions are recognised by their values.

As with systems (`relaxsim.system.saved`), functions are not stored: a file says what they were called and the values of
mu and Sigma at 32 points, and whoever reads it passes the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.from_drift import DriftProcess
from relaxsim.errors import InputError
from relaxsim.system.antisymmetric import LATER
from relaxsim.system.derived_store import checked_tree
from relaxsim.system.field import Field, format_point
from relaxsim.system.saved import PROBED, domain_data, domain_from, first_difference, function_data
from relaxsim.system.validate import FloatArray

FIELDS = ("mu", "sigma")


def describe(process: DriftProcess) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """A process as what JSON can hold, and its values at the points where it is probed."""
    about = {"repr": repr(process), "domain": domain_data(process.domain)}
    points = process.domain.sample_points()
    probed = {"points": points} | _values(process, points)
    return about | {name: _field_data(getattr(process, name)) for name in FIELDS}, {
        PROBED + name: values for name, values in probed.items()
    }


def rebuild(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], given: Any = None) -> DriftProcess:
    """The process that was described, or `given` if it is the same.

    Raises
    ------
    InputError
        It has functions and none was given, or the given one is of another kind or differs; the message says where.
    """
    functions = [about[name]["function"] for name in FIELDS if "function" in about[name]]
    if given is not None and not isinstance(given, DriftProcess):
        raise InputError(
            f"system: the file's is a process given by its drift, got {type(given).__name__}; pass the `system` of the "
            "FokkerPlanck that FokkerPlanck.from_drift made"
        )
    if given is None and functions:
        raise InputError(
            f"system: the drift or covariance of this file are Python functions ({', '.join(functions)}), which are "
            "not stored; pass the `system` of the FokkerPlanck that FokkerPlanck.from_drift made"
        )
    process = _made(about) if given is None else given
    different = _difference(about, arrays, process)
    if different is not None and given is None:
        raise InputError(f"system: it is not rebuilt as it was, {different}; the file is damaged")
    if different is not None:
        raise InputError(f"system: is not the one of the file: {different}")
    return process


def _field_data(field: Field) -> dict[str, Any]:
    if field.function is not None:
        return function_data(field.function)
    return {"shape": list(field.shape), "entries": field.trees}


def _made(about: Mapping[str, Any]) -> DriftProcess:
    try:
        mu, sigma = (Field(tuple(about[name]["shape"]), trees=checked_tree(about[name]["entries"])) for name in FIELDS)
        return DriftProcess(mu, sigma, domain_from(about["domain"]))
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"system: cannot be rebuilt from the file, which is damaged ({error})") from error


def _values(process: DriftProcess, points: FloatArray) -> dict[str, FloatArray]:
    """mu and Sigma at points, at two times if they change with time, shapes (times, points, ...)."""
    times = (0.0, LATER) if process.time_dependent else (0.0,)
    return {
        "mu": np.stack([process.drift(points, t) for t in times]),
        "sigma": np.stack([2 * process.half_covariance(points, t) for t in times]),
    }


def _difference(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], process: DriftProcess) -> str | None:
    domain = domain_from(about["domain"])
    if domain != process.domain:
        return f"its domain is {domain!r}, this one's {process.domain!r}"
    points = np.asarray(arrays[f"{PROBED}points"])
    for name, values in _values(process, points).items():
        stored = np.asarray(arrays[PROBED + name])
        found = first_difference(stored, values)
        if found == ():
            return f"its {name} depends on other things (time or position) than this one's"
        if found is not None:
            where = f"{name} at {format_point(points[found[1]])}"
            return f"its {where} is {stored[found].tolist()}, this one's {values[found].tolist()}"
    return None
