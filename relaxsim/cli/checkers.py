"""What a value in a run file may be: each checker converts what TOML read, or refuses it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from relaxsim.system.validate import nearest


class MismatchError(Exception):
    """A value that does not fit; the text says more than "expected ..." can, or is empty."""


@dataclass(frozen=True)
class Checker:
    """What is expected, in words, and the conversion that raises `MismatchError` otherwise."""

    expected: str
    convert: Callable[[Any], Any]


def describe(value: Any) -> str:
    """Show a value of a run file with its kind, shortened."""
    words = {
        bool: "true/false",
        int: "an integer",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a table",
    }
    kind = words.get(type(value), "a date or time" if isinstance(value, (date, datetime, time)) else "unknown")
    shown = repr(value).lower() if isinstance(value, bool) else repr(value)
    return f"{shown if len(shown) <= 60 else shown[:57] + '...'} ({kind})"


def number(*, positive: bool = False, infinite: bool = False) -> Checker:
    """A real number."""

    def convert(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise MismatchError
        try:
            result = float(value)
        except OverflowError:
            raise MismatchError("too large") from None
        if math.isnan(result) or (math.isinf(result) and not infinite) or (positive and result <= 0):
            raise MismatchError
        return result

    return Checker("a positive number" if positive else "a number" if infinite else "a finite number", convert)


def integer(low: int, high: int | None = None) -> Checker:
    """A whole number; 1e5 is one too."""

    def convert(value: Any) -> int:
        whole = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not (isinstance(value, int) or whole):
            raise MismatchError
        if int(value) < low or (high is not None and int(value) > high):
            raise MismatchError
        return int(value)

    return Checker(f"an integer from {low} to {high}" if high is not None else f"an integer >= {low}", convert)


def text() -> Checker:
    """Text that is not empty."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise MismatchError
        return value

    return Checker('text in quotes, such as "x**2/2"', convert)


def choice(*words: str) -> Checker:
    """One of some words."""

    def convert(value: Any) -> str:
        if not isinstance(value, str):
            raise MismatchError
        if value not in words:
            raise MismatchError(nearest(value, words).removeprefix("; "))
        return value

    return Checker("one of " + ", ".join(f'"{word}"' for word in words), convert)


def either(*options: Checker) -> Checker:
    """What the first fitting checker takes."""

    def convert(value: Any) -> Any:
        hint = ""
        for option in options:
            try:
                return option.convert(value)
            except MismatchError as mismatch:
                hint = hint or str(mismatch)
        raise MismatchError(hint)

    return Checker(", or ".join(option.expected for option in options), convert)


def listing(item: Checker, *, of: str, length: int | None = None, empty: bool = False) -> Checker:
    """A list of such items."""

    def convert(value: Any) -> list[Any]:
        if not isinstance(value, list) or (not value and not empty) or (length is not None and len(value) != length):
            raise MismatchError
        converted = []
        for position, each in enumerate(value):
            try:
                converted.append(item.convert(each))
            except MismatchError as mismatch:
                more = f"; {mismatch}" if str(mismatch) else ""
                raise MismatchError(f"item {position} is {describe(each)}{more}") from None
        return converted

    return Checker(of, convert)


def table_of(item: Checker, *, of: str) -> Checker:
    """A table whose names are free."""

    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise MismatchError
        converted = {}
        for key, each in value.items():
            try:
                converted[key] = item.convert(each)
            except MismatchError:
                raise MismatchError(f"{key} is {describe(each)}") from None
        return converted

    return Checker(of, convert)


def table_with(keys: Mapping[str, Checker], defaults: Mapping[str, Any], *, of: str) -> Checker:
    """A table of given names."""

    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise MismatchError
        for key in value:
            if key not in keys:
                raise MismatchError(f"unknown key {key!r}{nearest(key, keys) or '.'} Known are {', '.join(keys)}")
        converted = {}
        for key, item in keys.items():
            if key not in value and key not in defaults:
                raise MismatchError(f"{key} is missing")
            try:
                converted[key] = item.convert(value.get(key, defaults.get(key)))
            except MismatchError as mismatch:
                more = f"; {mismatch}" if str(mismatch) else ""
                raise MismatchError(f"{key} is {describe(value[key])}{more}") from None
        return converted

    return Checker(of, convert)


def alpha() -> Checker:
    """Whether a check is made, or its false-alarm rate."""

    def convert(value: Any) -> bool | float:
        if isinstance(value, bool):
            return value
        if not isinstance(value, (int, float)) or not 0 < value < 1:
            raise MismatchError
        return float(value)

    return Checker("true, false, or a false-alarm rate between 0 and 1 such as 1e-6", convert)
