"""Writing TOML, which the standard library only reads. Run files are plain tables of plain values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dumps(tables: Mapping[str, Any], comment: str = "") -> str:
    """Write nested tables of text, numbers, true/false and lists, such that ``tomllib`` reads the same back.

    Parameters
    ----------
    tables : mapping
        Keys are text. Mappings become tables, mappings within lists inline tables.
    comment : str
        Lines to put first, each behind a ``#``.

    Raises
    ------
    TypeError
        A value that TOML has no word for, such as None.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    _write_table(lines, (), tables)
    return "\n".join(lines).strip("\n") + "\n"


def _write_table(lines: list[str], path: tuple[str, ...], table: Mapping[str, Any]) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and (plain or not table):
        lines += ["", f"[{'.'.join(_key(part) for part in path)}]"]
    lines += [f"{_key(key)} = {value_text(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            _write_table(lines, (*path, key), value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def value_text(value: Any) -> str:
    """Write one value as TOML does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(value_text(each) for each in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {value_text(each)}" for key, each in value.items()) + "}"
    raise TypeError(f"TOML has no word for {value!r} ({type(value).__name__})")


def _float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(float(value))  # the shortest text that reads back to the same bits; always with a point or an e


def _string(value: str) -> str:
    # JSON's escapes are TOML's, except that JSON lets DEL stand
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
