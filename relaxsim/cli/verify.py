"""``relaxsim verify``: the statements of the theory as a table of what was measured."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from relaxsim.errors import ConfigError
from relaxsim.storage import write_atomic
from relaxsim.theorems.check import Setting, Statement
from relaxsim.theorems.registry import DOCUMENTS, cited
from relaxsim.theorems.report import failed, header, row, summary, to_json, to_junit
from relaxsim.theorems.verify import Verdict, checked_seed, chosen, verdicts


def run_verify(
    ids: Sequence[str],
    mutants: bool,
    full: bool,
    junit: str | None = None,
    json: str | None = None,
    strict: bool = False,
    seed: int = 0,
) -> int:
    """Print the table, row by row, and write the reports.

    Parameters
    ----------
    ids : sequence of str
        Statements or documents; none for all.
    mutants, full, seed
        As in `relaxsim.theorems.verify`.
    junit, json : str, optional
        Files to write.
    strict : bool
        Pending statements are failures.

    Returns
    -------
    int
        0, or 1 if a statement failed or could not be run.

    Raises
    ------
    ConfigError
        A report cannot have this name; said before anything is run.
    InputError
        As of `relaxsim.theorems.verify`.
    StorageError
        A report could not be written.
    KeyboardInterrupt
        With the reports as its arguments, which hold what was measured before.
    """
    rows, setting = chosen(ids or None), Setting(full, checked_seed(seed))
    _check_names(junit, json)
    width = _width(rows)
    print(header(width), flush=True)
    found: list[Verdict] = []
    interrupted = False
    try:
        for verdict in verdicts(rows, setting, mutants):
            known = verdict.raised and verdict.message in {one.message for one in found}
            found.append(verdict)
            print(row(verdict, width, known), flush=True)
    except KeyboardInterrupt:
        interrupted = True
    print(f"\n{summary(found, strict)}")
    missing = [one.id for one in rows[len(found) :]]
    written = []
    if junit is not None:
        xml = to_junit(found, strict, missing)
        written.append(write_atomic(junit, lambda stream: stream.write(xml)))
    if json is not None:
        text = to_json(found, setting, strict, missing)
        written.append(write_atomic(json, lambda stream: stream.write(text.encode("utf-8"))))
    if interrupted:
        print(f"interrupted: {len(missing)} of {len(rows)} statements were not run", flush=True)
        raise KeyboardInterrupt(*written)
    return 1 if failed(found, strict) else 0


def _check_names(junit: str | None, json: str | None) -> None:
    """Say that a report cannot be written before minutes are spent on it."""
    named = {option: file for option, file in (("--junit", junit), ("--json", json)) if file is not None}
    problems = [f"{option}: {why}" for option, file in named.items() if (why := _unusable(file))]
    if not problems and junit is not None and json is not None:
        target = Path(junit).resolve()
        if target == Path(json).resolve() and (target.is_file() or not target.exists()):
            problems.append(f"--junit and --json: both are {junit}; give each its own file")
    if problems:
        raise ConfigError("\n".join(problems))


def _unusable(file: str) -> str:
    """Why nothing can be written to this name; empty if it can."""
    if not file.strip():
        return "the name of the file is empty; give one, such as report.xml"
    path = Path(file)
    target = path.resolve() if path.is_symlink() else path.absolute()
    if target.is_dir():
        return f"{file} is a folder; give the name of a file in it"
    if not target.parent.is_dir():
        return f"{file}: there is no folder {path.parent}; make it or choose another"
    if target.exists() and not os.access(target, os.W_OK):
        return f"{file} is there and may not be written; choose another name"
    if target.exists() and not target.is_file():
        return ""  # a device, which is written directly
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            return ""
    except OSError as error:
        return f"{file}: nothing can be written to the folder {path.parent} ({error.strerror}); choose another"


def list_statements(ids: Sequence[str]) -> int:
    """Print the documents, and of each statement its id, its title and where it stands in its document.

    Returns
    -------
    int
        0.
    """
    rows = chosen(ids or None)
    width = _width(rows)
    shown = None
    for statement in rows:
        name = statement.id.split(".")[0]
        if name != shown and name in DOCUMENTS:
            print(f"{'' if shown is None else chr(10)}{name}: {DOCUMENTS[name].title}. {DOCUMENTS[name].about}")
        shown = name
        pending = f" [pending: {statement.pending}]" if statement.experiment is None else ""
        print(f"{statement.id:<{width}}  {statement.title} ({cited(statement)}){pending}")
    return 0


def _width(rows: Sequence[Statement]) -> int:
    return max((len(statement.id) for statement in rows), default=2)
