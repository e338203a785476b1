"""Writing results so that a file is either the old one or the whole new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from relaxsim.errors import StorageError


def write_atomic(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> Path:
    """Write a file through a temporary neighbour that then takes its name.

    Parameters
    ----------
    path : path-like
        The file to make or replace. A device such as /dev/stdout is written directly.
    write : callable
        Gets the open binary file.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StorageError
        The disk is full, the folder is missing, ...; `path` is then as it was before.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                write(stream)
            return target
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent or Path())
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
        temporary = None
    except OSError as error:
        raise StorageError(
            error.errno,
            f"could not write {target}: {error.strerror or error}. Free some space or choose another folder",
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return target


def save_npz(path: str | os.PathLike[str], **arrays: Any) -> Path:
    """Write named arrays to an `.npz` file, atomically and without pickle."""
    import numpy as np

    return write_atomic(path, lambda stream: np.savez(stream, allow_pickle=False, **arrays))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
