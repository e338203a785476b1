"""Checks of user input: each returns a clean value or adds a problem, and all problems are raised at once."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError

FloatArray = NDArray[np.float64]


class Problems:
    """Collects what is wrong with the arguments of one call.

    A single problem is raised with its own class; several are raised as one `InputError` that lists them.
    """

    def __init__(self) -> None:
        self._found: list[Exception] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, argument: str, message: str, kind: type[Exception] = InputError) -> None:
        """Note that `argument` is unusable and why."""
        self._found.append(kind(f"{argument}: {message}"))

    def raise_if_any(self) -> None:
        """Raise what was collected."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            lines = "\n".join(f"  {k + 1}. {error}" for k, error in enumerate(self._found))
            raise InputError(f"{len(self._found)} problems with the input:\n{lines}")


def as_float_array(value: Any, argument: str) -> FloatArray:
    """Convert to a float64 array or say what cannot be converted."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{argument}: expected numbers in a rectangular array, got {short(value)} ({error})") from None
    return array


def positive_number(value: Any, argument: str, problems: Problems, hint: str = "") -> float:
    """A finite number above zero; otherwise a problem is added and 1.0 stands in."""
    number = _number(value)
    if number is None or not (math.isfinite(number) and number > 0):
        problems.add(argument, f"expected a positive finite number, got {short(value)}. {hint}".rstrip())
        return 1.0
    return number


def positive_integer(value: Any, argument: str, problems: Problems, hint: str = "") -> int:
    """An integer of at least 1; otherwise a problem is added and 1 stands in."""
    number = _number(value)
    if number is None or number != int(number if math.isfinite(number) else 0) or number < 1:
        problems.add(argument, f"expected an integer >= 1, got {short(value)}. {hint}".rstrip())
        return 1
    return int(number)


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_params(params: Mapping[str, Any] | None, argument: str, problems: Problems) -> dict[str, float]:
    """Named parameters: identifiers with finite numbers as values."""
    clean: dict[str, float] = {}
    if params is None:
        return clean
    if not isinstance(params, Mapping):
        problems.add(argument, f"expected a mapping of names to numbers, got {short(params)}")
        return clean
    for name, value in params.items():
        number = _number(value)
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            problems.add(argument, f"{name!r} is no usable parameter name; use a plain word such as 'a' or 'beta'")
        elif number is None or not math.isfinite(number):
            problems.add(f"{argument}[{name!r}]", f"expected a finite number, got {short(value)}")
        else:
            clean[name] = number
    return clean


def check_times(times: Any, problems: Problems) -> FloatArray:
    """Stored times: one-dimensional, finite, strictly increasing; the first is the initial time."""
    try:
        array = as_float_array(times, "times")
    except ShapeError as error:
        problems.add("times", str(error).removeprefix("times: "), ShapeError)
        return np.zeros(1)
    if array.ndim != 1 or array.size == 0:
        what = f"the one number {array:g}" if array.ndim == 0 else f"an array of shape {array.shape}"
        problems.add("times", f"expected a list of times such as np.linspace(0, 10, 21), got {what}", ShapeError)
    elif not np.all(np.isfinite(array)):
        problems.add("times", f"times must be finite, got {array[~np.isfinite(array)][0]}")
    elif np.any(np.diff(array) <= 0):
        k = int(np.argmax(np.diff(array) <= 0))
        equal = array[k] == array[k + 1]
        hint = "store each time once, np.unique(times)" if equal else "sort them"
        problems.add("times", f"times must increase, got {array[k]:g} followed by {array[k + 1]:g}; {hint}")
    else:
        return array
    return np.zeros(1)


def check_points(x: Any, dim: int, argument: str = "x") -> FloatArray:
    """Positions of shape (..., dim); a scalar or (...,) is accepted in one dimension."""
    array = as_float_array(x, argument)
    if array.ndim == 0 and dim == 1:
        array = array[None]
    if array.ndim == 0 or array.shape[-1] != dim:
        raise ShapeError(
            f"{argument}: expected an array of shape (..., {dim}), one column a coordinate, got {array.shape}"
        )
    return array


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint '; did you mean ...?' for a misspelt word, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def kind_of(value: Any) -> str:
    """What a wrong argument is, in a few words."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def is_bare_drift(value: Any) -> bool:
    """Whether it is a process given by its drift and covariance, which has no energy."""
    return hasattr(value, "mu") and hasattr(value, "sigma")


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, str, bytes)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def short(value: Any) -> str:
    """Its repr, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
