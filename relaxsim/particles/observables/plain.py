"""Numbers, texts and containers of them as text for a file, and back with their types."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "dict": dict}


def to_text(value: Any) -> str:
    """The text of a value; a TypeError where it holds anything but numbers, texts, None and plain containers."""
    return json.dumps(_encoded(value))


def from_text(text: str) -> Any:
    """The value of a text."""
    return _decoded(json.loads(text))


def _encoded(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    kind = type(value).__name__
    if CONTAINERS.get(kind) is not type(value):
        raise TypeError(f"a value of the type {kind}")
    return {kind: [_encoded(entry) for entry in (value.items() if kind == "dict" else value)]}


def _decoded(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    ((kind, entries),) = data.items()
    return CONTAINERS[kind](_decoded(entry) for entry in entries)
