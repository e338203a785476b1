"""Derived expressions on disk: a text seen before needs no SymPy, whose import alone takes half a second.

An entry is a JSON file named by the hash of what was asked and of everything the answer depends on. It is read as data
and checked node by node; whatever is wrong with an entry, it is derived again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import math
from collections.abc import Callable
from functools import cache, lru_cache, wraps
from pathlib import Path
from typing import Any

from relaxsim.system.expression import FUNCTIONS, MAX_VARIABLES

logger = logging.getLogger("relaxsim")

FORMAT = 1
MAX_NEW_ENTRIES = 64  # a process: a search over thousands of expressions shall not fill the folder

_BINARY = ("add", "sub", "mul", "div", "pow")
_new_entries = 0


def kept(derivation: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the results of a derivation, in this process and on disk; arguments and results are trees and integers."""

    @lru_cache(maxsize=512)
    @wraps(derivation)
    def found_or_derived(*arguments: Any) -> Any:
        path = _path(derivation.__name__, arguments)
        if path is not None:
            result = _read(path)
            if result is not None:
                return result
        result = derivation(*arguments)
        if path is not None:
            _write(path, result)
        return result

    return found_or_derived


def _path(name: str, arguments: Any) -> Path | None:
    from relaxsim._jit import DERIVED, cache_directory

    try:
        asked = json.dumps([name, arguments, _fingerprint()])
    except RecursionError:
        return None
    return cache_directory() / f"{DERIVED}{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json"


@cache
def _fingerprint() -> list[str]:
    """What a derivation depends on besides its arguments: our own source of it, and SymPy's version."""
    own = [Path(__file__).with_name(name).read_bytes() for name in ("derive.py", "expression.py")]
    spec = importlib.util.find_spec("sympy")  # finds it without importing it
    release = Path(spec.origin).with_name("release.py") if spec and spec.origin else None
    version = release.read_text() if release and release.is_file() else ""
    return [str(FORMAT), hashlib.sha256(b"\0".join(own)).hexdigest(), version]


def _read(path: Path) -> Any:
    try:
        return checked_tree(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        logger.warning("cache entry %s cannot be used (%s); deriving again", path.name, error)
        return None


def _write(path: Path, result: Any) -> None:
    global _new_entries
    if _new_entries >= MAX_NEW_ENTRIES:
        return
    _new_entries += 1
    from relaxsim.storage import write_atomic

    try:
        text = json.dumps(result)
        write_atomic(path, lambda stream: stream.write(text.encode()))
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("cache entry %s was not written (%s)", path.name, error)


def checked_tree(value: Any) -> Any:
    """A tree, or nested tuples of trees, from what JSON holds; ValueError for anything else.

    Names go into generated source, so each must be what a parsed tree could hold.
    """
    if not isinstance(value, list) or not value:
        raise ValueError("not a tree")
    if isinstance(value[0], list):
        return tuple(checked_tree(entry) for entry in value)
    kind, *rest = value
    if kind == "num" and len(rest) == 1 and isinstance(rest[0], float) and math.isfinite(rest[0]):
        return ("num", rest[0])
    if kind == "var" and len(rest) == 1 and type(rest[0]) is int and 0 <= rest[0] < MAX_VARIABLES:
        return ("var", rest[0])
    if kind == "param" and len(rest) == 1 and isinstance(rest[0], str) and rest[0].isidentifier():
        return ("param", rest[0])
    if kind == "time" and not rest:
        return ("time",)
    if kind == "call" and len(rest) == 2 and rest[0] in FUNCTIONS:
        return ("call", rest[0], checked_tree(rest[1]))
    if (kind in _BINARY and len(rest) == 2) or (kind == "neg" and len(rest) == 1):
        return (kind, *(checked_tree(child) for child in rest))
    raise ValueError(f"not a tree: {str(kind)[:40]!r} with {len(rest)} parts")
