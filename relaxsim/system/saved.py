"""A system as plain data: what is text is rebuilt, what is a Python function is recognised by its values.

Texts, constants and parameters are stored as they are, and what is made of them is the same to the last bit. Functions
are not stored; a file says what they were called, a hash of their source, and the values of E, grad E, K, div K and T
at 32 points. Whoever reads it passes the system, which is refused if its values differ.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.system.antisymmetric import LATER, Antisymmetric
from relaxsim.system.derived_store import checked_tree
from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.expression import MAX_VARIABLES, param_names
from relaxsim.system.field import Field, flat, format_point
from relaxsim.system.measure import Measure, measure_of
from relaxsim.system.mobility import Mobility
from relaxsim.system.system import System
from relaxsim.system.temperature import Temperature, law_of
from relaxsim.system.validate import FloatArray, Problems, check_params

logger = logging.getLogger("relaxsim")

SAME = 1e-12  # by how much values may differ, relative to the largest of a field
NAMES = {"energy": "E", "gradient": "grad E", "mobility": "K", "divergence": "div K"}
PROBED = "system/"  # what the names of the arrays begin with


def describe(system: System) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """A system as what JSON can hold, and its values at the points where systems are probed.

    Returns
    -------
    about : dict
    arrays : dict of ndarray
        Their names begin with "system/".
    """
    about = {"repr": repr(system), "domain": domain_data(system.domain)} | _parts_data(system)
    points = system.domain.sample_points()
    return about, {PROBED + name: values for name, values in _probe(system, points).items()}


def rebuild(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], system: System | None = None) -> System:
    """The system that was described, or `system` if it is the same.

    Raises
    ------
    InputError
        It has functions and `system` was not given, or `system` differs; the message says where.
    """
    functions = _functions(about)
    if system is not None and not isinstance(system, System):
        raise InputError(f"system: expected a System, got {type(system).__name__}")
    if system is None and functions:
        raise InputError(
            f"system: the one of this file has Python functions ({', '.join(functions)}), which are not stored; pass "
            f"it as system=. It was {about['repr']}"
        )
    given = system if system is not None else _made(about)
    difference = _difference(about, arrays, given)
    if difference is not None:
        if system is None:
            raise InputError(f"system: it is not rebuilt as it was, {difference}; the file is damaged")
        raise InputError(
            f"system: is not the one of the file: {difference}{_changed_sources(functions, given)}. The file's is "
            f"{about['repr']}"
        )
    changed = _changed_sources(functions, given)
    if changed:
        logger.warning("the system has the values of the file's at all points that were kept%s", changed)
    return given


# ---- to data


def domain_data(domain: Domain) -> dict[str, Any]:
    """A domain as what JSON can hold; None stands for the ends of an unbounded axis."""
    ends = zip(domain.lower.tolist(), domain.upper.tolist(), strict=True)
    bounds = [[low, high] if np.isfinite(low) else None for low, high in ends]
    return {"bounds": bounds, "boundary": list(domain.boundary)}


def domain_from(data: Mapping[str, Any]) -> Domain:
    """The domain of such data."""
    bounds = [(-np.inf, np.inf) if pair is None else pair for pair in data["bounds"]]
    # A pair for the two ends of an axis is a list here.
    return Domain(bounds, ["reflecting" if kind == "unbounded" else kind for kind in data["boundary"]])


def _parts_data(system: System) -> dict[str, Any]:
    measure = measure_of(system)
    about = {
        "temperature": _temperature_data(law_of(system.temperature)),
        "energy": _energy_data(system.energy if measure is None else system.base.energy),  # type: ignore[attr-defined]
        "mobility": _mobility_data(system.mobility),
    }
    return about if measure is None else about | {"measure": _measure_data(measure)}


def _energy_data(energy: Energy) -> dict[str, Any]:
    if not isinstance(energy.expression, str):
        return function_data(energy.expression)
    variables = None if energy.variables is None else list(energy.variables)
    return {"text": energy.expression, "variables": variables, "params": energy.params}


def _measure_data(measure: Measure) -> dict[str, Any]:
    if not isinstance(measure.expression, str):
        return function_data(measure.expression)
    return {"text": measure.expression, "params": measure.params}


def _temperature_data(temperature: float | Temperature) -> Any:
    if isinstance(temperature, float):
        return temperature
    if not isinstance(temperature.schedule, str):
        return function_data(temperature.schedule)
    return {"text": temperature.schedule, "params": temperature.params}


def _mobility_data(mobility: Mobility) -> dict[str, Any]:
    """A mobility keeps no texts, only their trees."""
    part = mobility._antisymmetric
    for function in (mobility._function, None if part is None else part._function):
        if function is not None:
            return function_data(function)
    return {
        "structure": mobility.structure,
        "entries": mobility._entries,
        "antisymmetric": None if part is None else part.entries,
        "params": mobility.params,
    }


def function_data(function: Any) -> dict[str, Any]:
    """What is kept of a Python function: its name and a hash of its source."""
    return {"function": getattr(function, "__qualname__", type(function).__name__), "source": _source_hash(function)}


def function_values(function: Any, system: System) -> list[str] | None:
    """Values of a function of the position where the system is probed, None for a function of something else."""
    try:
        values = Field((), function=function)(system.domain.sample_points())
    except Exception:
        return None
    return [repr(value) for value in values.tolist()]


def same_function(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether two described functions have the same values; without values, the same name and source."""
    if None not in (one["values"], two["values"]):
        values = [np.array([float(value) for value in each["values"]]) for each in (one, two)]
        return first_difference(*values) is None
    return one["function"] == two["function"] and (
        None in (one["source"], two["source"]) or one["source"] == two["source"]
    )


def _functions(about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of a described system that are functions."""
    parts = {name: about[name] for name in ("energy", "mobility", "temperature", "measure") if name in about}
    return {name: part for name, part in parts.items() if isinstance(part, dict) and "function" in part}


def _changed_sources(functions: Mapping[str, Mapping[str, Any]], system: System) -> str:
    """What to add to a message about functions whose source is not the one that was stored."""
    now = _functions(_parts_data(system))
    changed = [
        f"{name} ({part['function']})"
        for name, part in functions.items()
        if name in now and None not in (part["source"], now[name]["source"]) and part["source"] != now[name]["source"]
    ]
    return f"; the source of {' and '.join(changed)} has changed" if changed else ""


def _source_hash(function: Any) -> str | None:
    try:
        return hashlib.sha256(inspect.cleandoc(inspect.getsource(function)).encode()).hexdigest()
    except (OSError, TypeError):
        return None  # typed at a prompt, built in, or an object that can be called


# ---- from data


def _made(about: Mapping[str, Any]) -> System:
    """The system of a description without functions; everything in it is checked as if a user had written it."""
    try:
        domain, heat, energy = domain_from(about["domain"]), about["temperature"], about["energy"]
        made = System(
            Energy(energy["text"], variables=energy["variables"], params=energy["params"], dim=domain.dim),
            _mobility(about["mobility"]),
            heat if isinstance(heat, float) else Temperature(heat["text"], heat["params"]),
            domain,
        )
        measure = about.get("measure")  # not in files of before
        return made if measure is None else made.on_manifold(Measure(measure["text"], params=measure["params"]))
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"system: cannot be rebuilt from the file, which is damaged ({error})") from error


def _mobility(data: Mapping[str, Any]) -> Mobility:
    entries, problems = checked_tree(data["entries"]), Problems()
    params = check_params(data["params"], "params", problems)
    problems.raise_if_any()
    part = None if data["antisymmetric"] is None else checked_tree(data["antisymmetric"])
    missing = set(param_names(flat(entries) + ([] if part is None else flat(part)))) - params.keys()
    if missing or data["structure"] not in ("scalar", "diagonal", "tensor"):
        raise InputError(f"mobility: {data['structure']!r} without values of {sorted(missing)}")
    dim = None if data["structure"] == "scalar" else len(entries)
    made = Mobility._make(data["structure"], dim, entries, params)
    if part is not None:
        made._antisymmetric = Antisymmetric(part, None, None, False)
    return made


# ---- comparison


def difference(one: System, two: System) -> str | None:
    """How two systems differ, or None; functions are compared by their values."""
    return None if one is two else _difference(*describe(one), two)


def _probe(system: System, points: FloatArray) -> dict[str, FloatArray]:
    """Values (times, points, ...) of what makes a system, at two times if it changes with time."""
    times = (0.0, LATER) if system.time_dependent else (0.0,)
    fields: dict[str, Callable[..., FloatArray]] = {
        "energy": system.energy,
        "gradient": system.gradient,
        "mobility": lambda x, t: _mobility_values(system.mobility, x, t),
        "divergence": system.divergence,
    }
    found = {name: np.stack([field(points, t) for t in times]) for name, field in fields.items()}
    heat, at = system.temperature, np.array(times)
    # No run need have come so far, so it may be negative later.
    temperatures = heat.formula(at) if isinstance(heat, Temperature) else np.full(at.shape, heat)
    return {"points": points, "temperature": temperatures} | found


def _mobility_values(mobility: Mobility, points: FloatArray, t: float) -> FloatArray:
    """The diagonal, or the matrix; one that is constant at one point, and if it is large, times a few vectors."""
    if not mobility.couples_axes:
        return mobility.diagonal_of(points, t)
    if not mobility.is_constant:
        return mobility(points, t)
    matrix = mobility(points[:1], t)
    dim = matrix.shape[-1]
    if dim <= MAX_VARIABLES:
        return matrix
    return np.asarray(matrix @ np.cos(np.arange(dim)[:, None] * np.arange(1, MAX_VARIABLES + 1)))


def _difference(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], system: System) -> str | None:
    """How a system differs from a description, or None."""
    domain = domain_from(about["domain"])
    if domain.dim != system.dim:
        return f"it has {domain.dim} coordinates, this one {system.dim}"
    if domain != system.domain:
        return f"its domain is {domain!r}, this one's {system.domain!r}"
    stored = {name: np.asarray(arrays[PROBED + name]) for name in ("points", "temperature", *NAMES)}
    values = _probe(system, stored["points"])
    for name in ("temperature", *NAMES):
        found = first_difference(stored[name], values[name])
        if found == ():
            return f"its {name} depends on other things (time, position, or other axes) than this one's"
        if found is not None:
            where = "T" if name == "temperature" else f"{NAMES[name]} at {format_point(stored['points'][found[1]])}"
            when = f" at time {(0.0, LATER)[found[0]]:g}" if len(stored["temperature"]) > 1 else ""
            return f"its {where}{when} is {stored[name][found].tolist()}, this one's {values[name][found].tolist()}"
    return None


def first_difference(stored: FloatArray, values: FloatArray) -> tuple[int, ...] | None:
    """Time and point where two fields differ first, () if their shapes do, None if they agree."""
    if stored.shape != values.shape:
        return ()
    finite = np.abs(stored[np.isfinite(stored)])
    agree = np.isclose(stored, values, rtol=0.0, atol=SAME * finite.max(initial=0.0), equal_nan=True)
    if agree.all():
        return None
    return tuple(int(index) for index in np.argwhere(~agree)[0][:2])
