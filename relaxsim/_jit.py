"""How relaxsim compiles: the decorators, the folder of generated kernels, and a count of what was compiled.

Every compiled function goes through here, so that the floating-point rules are set once: fused multiply-add is allowed
("contract"), nothing that would reorder sums or ignore NaN is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

logger = logging.getLogger("relaxsim")

FASTMATH = {"contract"}
PREFIX, DERIVED = "relaxsim_generated_", "derived_"  # how the names of cached files begin
compiled_kernels: list[str] = []  # module of every loop that this process compiled, not those read from the cache


def device(function: Callable[..., Any]) -> Any:
    """Compile a function that is only called from kernels; it is inlined there."""
    import numba

    return numba.njit(fastmath=FASTMATH, error_model="numpy", forceinline=True)(function)


def block_function(function: Callable[..., Any]) -> Any:
    """Compile a function over a block of particles, which kernels call; the identity without JIT."""
    if jit_disabled():
        return function
    import numba

    return numba.njit(fastmath=FASTMATH, error_model="numpy")(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a serial loop that releases the GIL and is kept on disk."""
    return function if jit_disabled() else _Loop(function, cached=True)


def kernel_uncached(function: Callable[..., Any]) -> Any:
    """The same for loops that call a user's own functions, whose source cannot be watched."""
    return function if jit_disabled() else _Loop(function, cached=False)


def jit_disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT is in force."""
    import numba

    return bool(numba.config.DISABLE_JIT)


class _Loop:
    """A compiled loop that survives whatever has happened to its cache files.

    Numba raises on a truncated index and would run changed machine code; so the files are compared with the checksums
    written when they were made, and files that do not agree, or that Numba cannot read, are deleted and made anew.

    Parameters
    ----------
    function : callable
        The loop as Python.
    cached : bool
        Whether it is kept on disk, beside its source.
    """

    def __init__(self, function: Callable[..., Any], cached: bool) -> None:
        self._function, self._cached = function, cached
        self._lock, self._ready, self._recorded = threading.Lock(), False, 0
        self._dispatcher = self._new_dispatcher(cached)

    def __call__(self, *args: Any) -> Any:
        if not self._ready:
            with self._lock:  # two threads may come here at once
                if not self._ready:
                    self._prepare(args)
        result = self._dispatcher(*args)
        if len(self._dispatcher.overloads) != self._recorded:  # it was called with other types
            self._record_files()
        return result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._dispatcher, name)

    def _new_dispatcher(self, cached: bool) -> Any:
        import numba

        dispatcher = numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True)(self._function)
        if cached:
            try:
                with _cache_beside_source:
                    dispatcher.enable_caching()
            except RuntimeError as error:  # no place on this disk can be written
                logger.warning("compiled kernels are not kept: %s", error)
                self._cached = False
        return dispatcher

    def _prepare(self, args: tuple[Any, ...]) -> None:
        """Load or compile for the types of these arguments."""
        if self._cached and not self._files_are_whole():
            self._start_anew()
        try:
            self._compile(args)
        except Exception as error:
            from numba.core.errors import NumbaError

            if isinstance(error, NumbaError) or not self._cached:
                raise  # the source is at fault, not the cache
            logger.warning("cached kernel %s cannot be used (%r); compiling it again", self._function.__module__, error)
            self._start_anew()
            try:
                self._compile(args)
            except OSError:  # a full or read-only disk: do without
                self._cached, self._dispatcher = False, self._new_dispatcher(cached=False)
                self._compile(args)
        self._ready = True

    def _compile(self, args: tuple[Any, ...]) -> None:
        self._dispatcher.compile(tuple(self._dispatcher.typeof_pyval(value) for value in args))
        if self._dispatcher.stats.cache_misses:
            compiled_kernels.append(self._function.__module__)
            self._record_files()
        self._recorded = len(self._dispatcher.overloads)

    def _record_files(self) -> None:
        self._recorded = len(self._dispatcher.overloads)
        if self._cached:
            from relaxsim.storage import write_atomic

            with suppress(OSError):  # another process may be at the same files: whoever comes next compiles again
                text = json.dumps(self._checksums()).encode()
                write_atomic(self._record, lambda stream: stream.write(text))

    @property
    def _record(self) -> Path:
        """Where the checksums of the cache files stand."""
        return Path(self._dispatcher._cache.cache_path) / f"{self._base}.sha256"

    @property
    def _base(self) -> str:
        """What the names of the cache files begin with."""
        return str(self._dispatcher._cache._impl.filename_base)

    def _files(self) -> list[Path]:
        """Numba's index and data files of this loop."""
        place = self._record.parent
        return sorted(path for path in place.glob(f"{self._base}.*") if path.suffix in (".nbi", ".nbc"))

    def _checksums(self) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self._files()}

    def _files_are_whole(self) -> bool:
        try:
            found = self._checksums()
            return not found or bool(json.loads(self._record.read_bytes()) == found)
        except (OSError, ValueError):
            return False

    def _start_anew(self) -> None:
        for path in (*self._files(), self._record):
            _remove(path)
        self._dispatcher = self._new_dispatcher(cached=True)


class _CacheBesideSource:
    """While entered, Numba puts cache files beside their source whatever NUMBA_CACHE_DIR says.

    So everything that is executed lies in the one folder whose owner is checked.
    """

    def __init__(self) -> None:
        self._lock, self._place = threading.Lock(), ""

    def __enter__(self) -> None:
        import numba

        self._lock.acquire()
        self._place, numba.config.CACHE_DIR = numba.config.CACHE_DIR, ""

    def __exit__(self, *_: object) -> None:
        import numba

        numba.config.CACHE_DIR = self._place
        self._lock.release()


_cache_beside_source = _CacheBesideSource()


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
    name = PREFIX + digest
    if extra:
        module = ModuleType(name)
        module.__dict__.update(extra)
        exec(compile(source, f"<{name}>", "exec"), module.__dict__)
        return module
    if name in sys.modules:
        return sys.modules[name]
    path = cache_directory() / f"{name}.py"
    module = ModuleType(name)
    module.__file__ = str(path)
    try:
        _write_source(path, source.encode())
    except OSError as error:
        logger.warning("kernels are not kept on disk: %s", error)
        source = source.replace("@kernel\n", "@kernel_uncached\n")
    sys.modules[name] = module  # Numba looks the module up by name when it reads its cache
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # the file is there for Numba; it is never read
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _write_source(path: Path, source: bytes) -> None:
    from relaxsim.storage import write_atomic

    if not path.is_file() or path.read_bytes() != source:
        write_atomic(path, lambda stream: stream.write(source))


def cached_files() -> list[Path]:
    """The files of the cache: sources of kernels, their machine code, derivatives of texts."""
    place = cache_directory()
    return [path for pattern in (f"{PREFIX}*", f"__pycache__/{PREFIX}*", f"{DERIVED}*") for path in place.glob(pattern)]


def clear_cache() -> int:
    """Delete what is kept on disk; running processes go on working.

    Returns
    -------
    int
        The number of files deleted.
    """
    return sum(_remove(path) for path in cached_files())


def _remove(path: Path) -> bool:
    """Delete a file if it is there and may be deleted."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


@cache
def cache_directory() -> Path:
    """The folder of generated kernels: private to the user, made when missing.

    RELAXSIM_CACHE_DIR, else a folder in NUMBA_CACHE_DIR, else one in the user's cache folder. A folder that belongs to
    somebody else, or in which everybody could write, is not used, since Numba's cache files are executed; a temporary
    one takes its place.
    """
    override, numba_place = os.environ.get("RELAXSIM_CACHE_DIR"), os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    place = Path(override or (Path(numba_place) / "relaxsim" if numba_place else Path(home) / "relaxsim"))
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(place)
        return place
    except OSError as error:
        temporary = Path(tempfile.mkdtemp(prefix="relaxsim-"))
        logger.warning("kernel cache %s is not used (%s); compiling into %s", place, error, temporary)
        return temporary


def _check_private(place: Path) -> None:
    """Make a folder private; raise PermissionError if somebody else may have put files there."""
    found = place.stat()
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise PermissionError(f"it belongs to user {found.st_uid}")
    if hasattr(os, "getuid") and found.st_mode & stat.S_IWOTH:
        raise PermissionError(f"everybody can write in it; if you trust what it holds: chmod 700 {place}")
    place.chmod(stat.S_IRWXU)


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
