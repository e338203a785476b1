"""Files of named arrays with a description: `.npz` with NumPy alone, `.zarr` with the extra `io`. Nothing is pickled.

A record is a kind, a description that JSON can hold, and arrays with names for their axes. In an `.npz` file the
description is the text of the member "about"; in a `.zarr` folder it is the attribute "about" of the group. Arrays have
the same names in both.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, MissingDependencyError
from relaxsim.storage import save_npz, write_folder_atomic

FORMAT = 2  # of all files; raised when an older relaxsim could not read a newer file
ABOUT = "about"
SUFFIXES = (".npz", ".zarr")


@dataclass(frozen=True)
class Record:
    """What a file holds.

    Names of arrays that are not for people have a prefix and a slash, and so a folder of their own.

    Attributes
    ----------
    kind : str
        "ensemble", "density" or "checkpoint".
    about : mapping
        What JSON can hold.
    arrays : mapping of str to ndarray
    axes : mapping of str to tuple of str
        Names of the axes of the main arrays.
    """

    kind: str
    about: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    axes: Mapping[str, tuple[str, ...]]

    def text(self) -> str:
        """The description as it stands in the file."""
        head = {"format": FORMAT, "kind": self.kind, "versions": versions(), "axes": dict(self.axes)}
        return json.dumps(head | dict(self.about), allow_nan=False)


@cache
def versions() -> dict[str, str]:
    """Versions of what decides the bits of a result."""
    found = {}
    for name in ("relaxsim", "numpy", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write(path: str | os.PathLike[str], record: Record) -> Path:
    """Write a record to an `.npz` file or a `.zarr` folder, by the name's suffix, whole or not at all.

    Raises
    ------
    InputError
        Another suffix.
    StorageError
        The disk is full, ...; what was there before is still there.
    MissingDependencyError
        `.zarr` without the extra `io`.
    """
    if suffix(path) == ".npz":
        return save_npz(path, **{ABOUT: np.array(record.text())}, **record.arrays)
    zarr = optional("zarr")

    def fill(folder: Path) -> None:
        group = zarr.open_group(str(folder), mode="w", zarr_format=3)
        for name, values in record.arrays.items():
            names = list(record.axes.get(name, [f"{name}_{k}" for k in range(values.ndim)]))
            array = group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=names)
            array[...] = values
        group.attrs[ABOUT] = record.text()

    return write_folder_atomic(path, fill, lambda folder: (folder / "zarr.json").is_file())


class Savable:
    """What a record can be made of."""

    def _record(self) -> Record:
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything to a file that `relaxsim.load` reads, whole or not at all.

        Parameters
        ----------
        path : path-like
            A name that ends in ``.npz``, or in ``.zarr`` (with the extra ``io``).

        Returns
        -------
        Path
            `path`.

        Raises
        ------
        StorageError
            The disk is full, ...; a file that was there before is still there, and this path is as it was.
        InputError, MissingDependencyError
            Another ending; ``.zarr`` without the extra ``io``.

        Notes
        -----
        Nothing is pickled. Positions lie in the file as in memory, in an array (n_times, dim, n_particles).
        """
        return write(path, self._record())


def read(path: str | os.PathLike[str], arrays: bool = True) -> Record:
    """Read what `write` wrote, or all but the arrays.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    InputError
        It is no file of relaxsim, it is damaged, or its format is a newer one.
    """
    read_arrays = _read_npz if suffix(path) == ".npz" else _read_zarr
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        text, values = read_arrays(Path(path), arrays)
        about = json.loads(text)
        kind, made_by = about.pop("kind"), about["versions"]
        number, axes = about.pop("format"), {name: tuple(names) for name, names in about.pop("axes").items()}
    except (zipfile.BadZipFile, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: is no file that relaxsim wrote, or it is damaged ({error or type(error).__name__})"
        ) from error
    if number != FORMAT:
        raise InputError(
            f"{path}: has format {number}, written by relaxsim {made_by.get('relaxsim')}; this is relaxsim "
            f"{versions()['relaxsim']}, which reads format {FORMAT}. Read it with the version that wrote it"
        )
    return Record(kind, about, values, axes)


def dataset(about: Mapping[str, Any], variables: Mapping[str, Any], coordinates: Mapping[str, Any]) -> Any:
    """An `xarray.Dataset`; its attributes are what of a description is a text or a number.

    Parameters
    ----------
    about : mapping
        The description.
    variables, coordinates : mapping
        As `xarray.Dataset` takes them.
    """
    plain = {key: value for key, value in about.items() if isinstance(value, (str, int, float))}
    # a seed may need all of 64 bits, which no attribute of a file has
    attributes = {key: str(value) if key == "seed" else value for key, value in plain.items()}
    return optional("xarray").Dataset(variables, coordinates, attributes | {"system": about["system"]["repr"]})


def suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a name, which says how to write it."""
    found = Path(path).suffix
    if found not in SUFFIXES:
        raise InputError(f"path: expected a name that ends in .npz or .zarr, got {os.fspath(path)!r}")
    return found


def optional(name: str) -> Any:
    """A library of the extra `io`."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is not installed; it comes with: python -m pip install 'relaxsim[io]'", name=name
        ) from error


def _read_npz(path: Path, arrays: bool) -> tuple[str, dict[str, NDArray[Any]]]:
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("it is not a zip archive, as every .npz file is")
    # opened here: NumPy does not close a file that turns out to be damaged
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as members:
        names = [name for name in members.files if name != ABOUT] if arrays else []
        return str(members[ABOUT]), {name: members[name] for name in names}


def _read_zarr(path: Path, arrays: bool) -> tuple[str, dict[str, NDArray[Any]]]:
    group = optional("zarr").open_group(str(path), mode="r")
    members = dict(group.members(max_depth=None)) if arrays else {}
    found = {name: np.asarray(member[...]) for name, member in members.items() if hasattr(member, "shape")}
    return str(group.attrs[ABOUT]), found
