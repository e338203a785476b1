"""How relaxsim compiles: the decorators, the folder of generated kernels, and a count of what was compiled.

Every compiled function goes through here, so that the floating-point rules are set once: fused multiply-add is allowed
("contract"), nothing that would reorder sums or ignore NaN is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

logger = logging.getLogger("relaxsim")

FASTMATH = {"contract"}
compiled_kernels: list[str] = []  # name of every generated module loaded by this process


def device(function: Callable[..., Any]) -> Any:
    """Compile a function that is only called from kernels; it is inlined there."""
    import numba

    return numba.njit(fastmath=FASTMATH, error_model="numpy", forceinline=True)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a serial loop that releases the GIL and is kept on disk."""
    import numba

    return numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True, cache=True)(function)


def kernel_uncached(function: Callable[..., Any]) -> Any:
    """The same for loops that call a user's own functions, whose source cannot be watched."""
    import numba

    return numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True)(function)


def jit_disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT is in force."""
    import numba

    return bool(numba.config.DISABLE_JIT)


def load_generated(source: str, extra: dict[str, Any] | None = None) -> ModuleType:
    """Import generated kernel source, from the cache folder so that Numba can keep what it compiles.

    Parameters
    ----------
    source : str
        Text of a module, written by relaxsim from a checked system.
    extra : dict, optional
        A user's own functions, entered as globals; such a module is not kept on disk.
    """
    digest = hashlib.sha256(f"{_fingerprint()}\n{source}".encode()).hexdigest()[:24]
    name = f"relaxsim_generated_{digest}"
    if extra:
        module = ModuleType(name)
        module.__dict__.update(extra)
        compiled_kernels.append(name)
        exec(compile(source, f"<{name}>", "exec"), module.__dict__)
        return module
    if name in sys.modules:
        return sys.modules[name]
    path = cache_directory() / f"{name}.py"
    if not path.exists() or path.read_text() != source:
        from relaxsim.storage import write_atomic

        write_atomic(path, lambda stream: stream.write(source.encode()))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Numba looks the module up by name when it reads its cache
    spec.loader.exec_module(module)
    compiled_kernels.append(name)
    return module


@cache
def cache_directory() -> Path:
    """The folder of generated kernels: private to the user, made when missing.

    RELAXSIM_CACHE_DIR, else a folder in NUMBA_CACHE_DIR, else one in the user's cache folder. A folder that belongs to
    somebody else is not used, since Numba's cache files are executed; a temporary one takes its place.
    """
    override, numba_place = os.environ.get("RELAXSIM_CACHE_DIR"), os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    place = Path(override or (Path(numba_place) / "relaxsim" if numba_place else Path(home) / "relaxsim"))
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = place.stat()
        if hasattr(os, "getuid") and owner.st_uid != os.getuid():
            raise PermissionError(f"it belongs to user {owner.st_uid}")
        place.chmod(stat.S_IRWXU)
        return place
    except OSError as error:
        temporary = Path(tempfile.mkdtemp(prefix="relaxsim-"))
        logger.warning("kernel cache %s is not used (%s); compiling into %s", place, error, temporary)
        return temporary


@cache
def _fingerprint() -> str:
    """Everything a cached kernel depends on besides its own text: relaxsim's sources and the compiler."""
    import llvmlite
    import numba
    import numpy as np

    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return f"{digest.hexdigest()} numba {numba.__version__} llvmlite {llvmlite.__version__} numpy {np.__version__}"
