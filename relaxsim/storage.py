"""Writing results so that a file is either the old one or the whole new one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from relaxsim.errors import StorageError

PIECE = 1 << 20  # bytes of an array that are written at a time


def write_atomic(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> Path:
    """Write a file through a temporary neighbour that then takes its name.

    Parameters
    ----------
    path : path-like
        The file to make or replace. A device such as /dev/stdout is written directly; of a symbolic link, the file it
        points to is replaced.
    write : callable
        Gets the open binary file.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StorageError
        The disk is full, the folder is missing, ...; `path` is then as it was before, and nothing is left beside it.
    """
    named, temporary = Path(path), None
    try:
        with storage_errors(named):
            target = named.resolve() if named.is_symlink() else named
            if target.exists() and not target.is_file():
                with target.open("wb") as stream:
                    write(stream)
                return named
            handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent or Path())
            with os.fdopen(handle, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(target)
            temporary = None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return named


def write_folder_atomic(
    path: str | os.PathLike[str], write: Callable[[Path], object], replaces: Callable[[Path], bool]
) -> Path:
    """Write a folder through a temporary neighbour that then takes its name.

    Parameters
    ----------
    path : path-like
        The folder to make or replace.
    write : callable
        Gets the temporary folder, which is empty.
    replaces : callable
        Whether what has the name already may be replaced.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StorageError
        As in `write_atomic`, or `path` is something else that shall not be replaced.

    Notes
    -----
    A folder with contents cannot be replaced in one move. A process that is killed between the two that it takes
    leaves the old folder whole beside the new one, under a hidden name.
    """
    target, leftovers = Path(path), []
    try:
        with storage_errors(target):
            if target.exists() and not replaces(target):
                raise OSError(errno.EEXIST, "it exists, and is not such a folder; give another name")
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent or Path()))
            leftovers = [temporary]
            write(temporary)
            temporary.chmod(0o777 & ~_umask())
            if target.exists():
                old = temporary.with_name(f"{temporary.name}.old")
                target.replace(old)
                leftovers.append(old)
            temporary.replace(target)
    finally:
        for folder in leftovers:
            _remove(folder)
    return target


def save_npz(path: str | os.PathLike[str], **arrays: Any) -> Path:
    """Write named arrays to an `.npz` file, atomically and without pickle."""
    return write_atomic(path, lambda stream: write_npz(stream, arrays))


def write_npz(stream: IO[bytes], arrays: Mapping[str, Any]) -> None:
    """Write named arrays as NumPy's `savez` does, but in small pieces: that would copy an array by 16 MiB at a time."""
    import zipfile

    import numpy as np

    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            array = np.asarray(values)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                if not array.flags.c_contiguous or array.dtype.hasobject or array.nbytes == 0:
                    np.lib.format.write_array(member, array, allow_pickle=False)
                    continue
                header = np.lib.format.header_data_from_array_1_0(array)
                np.lib.format.write_array_header_1_0(member, header)
                raw = array.reshape(-1).view(np.uint8)
                for begin in range(0, len(raw), PIECE):
                    member.write(raw[begin : begin + PIECE].data)


@contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Raise what the operating system says about a file as a StorageError that names it."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        hint = "Free some space or choose another folder"
        if not target.absolute().parent.is_dir():
            hint = f"There is no folder {target.parent}; make it or choose another"
        raise StorageError(error.errno, f"could not write {target}: {error.strerror or error}. {hint}") from error


def _remove(folder: Path) -> None:
    """Remove a folder into which threads of a library may still be writing what will fail as well."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
