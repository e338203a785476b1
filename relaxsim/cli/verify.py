"""``relaxsim verify``: the statements of the theory as a table of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relaxsim.errors import ConfigError
from relaxsim.storage import write_atomic
from relaxsim.theorems.check import Setting, Statement
from relaxsim.theorems.report import failed, header, row, summary, to_json, to_junit
from relaxsim.theorems.verify import chosen, verdicts


def run_verify(
    ids: Sequence[str],
    mutants: bool,
    full: bool,
    junit: str | None = None,
    json: str | None = None,
    strict: bool = False,
) -> int:
    """Print the table, row by row, and write the reports.

    Parameters
    ----------
    ids : sequence of str
        Statements or documents; none for all.
    mutants, full : bool
        As in `relaxsim.theorems.verify`.
    junit, json : str, optional
        Files to write.
    strict : bool
        Pending statements are failures.

    Returns
    -------
    int
        0, or 1 if a statement failed.

    Raises
    ------
    ConfigError
        There is no such folder for a report; said before anything is run.
    StorageError
        A report could not be written.
    """
    rows, setting = chosen(ids or None), Setting(full)
    for file in (junit, json):
        if file is not None and not Path(file).absolute().parent.is_dir():
            raise ConfigError(f"{file}: there is no folder {Path(file).parent}; make it or choose another")
    width = _width(rows)
    print(header(width), flush=True)
    found = []
    for verdict in verdicts(rows, setting, mutants):
        found.append(verdict)
        print(row(verdict, width), flush=True)
    print(f"\n{summary(found)}")
    if junit is not None:
        xml = to_junit(found, strict)
        write_atomic(junit, lambda stream: stream.write(xml))
    if json is not None:
        text = to_json(found, setting, strict)
        write_atomic(json, lambda stream: stream.write(text.encode("utf-8")))
    return 1 if failed(found, strict) else 0


def list_statements(ids: Sequence[str]) -> int:
    """Print ids, titles and sources.

    Returns
    -------
    int
        0.
    """
    rows = chosen(ids or None)
    width = _width(rows)
    for statement in rows:
        pending = f" [pending: {statement.pending}]" if statement.experiment is None else ""
        print(f"{statement.id:<{width}}  {statement.title} ({statement.source}){pending}")
    return 0


def _width(rows: Sequence[Statement]) -> int:
    return max((len(statement.id) for statement in rows), default=2)
