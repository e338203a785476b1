"""Run the registry: each statement's experiment and, if wanted, its mutants."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from relaxsim.errors import InputError, MissingDependencyError
from relaxsim.progress import progress_bar
from relaxsim.theorems.check import Experiment, Measurement, Mutant, Setting, Statement, worst
from relaxsim.theorems.registry import fitting, statements, suggestion

SEEDS = 2**63  # of which some experiments use the next few too

Outcome = Literal["passed", "FAILED", "ERROR", "pending"]


@dataclass(frozen=True)
class MutantVerdict:
    """What the check said of one mutant.

    Attributes
    ----------
    name : str
    printed : str or None
        The formula as printed, where the mutant is a misprint of the source.
    rejected : bool
        Whether some measurement missed by more than twice what it is allowed.
    measurement : Measurement or None
        The one that missed most; None where the experiment raised or measured nothing.
    message : str
        Why it is not rejected; empty if it is.
    seconds : float
    raised : bool
        Whether it is not judged because its experiment raised an error.
    """

    name: str
    printed: str | None
    rejected: bool
    measurement: Measurement | None
    message: str
    seconds: float
    raised: bool = False


@dataclass(frozen=True, repr=False)
class Verdict:
    """What `verify` found of one statement.

    Attributes
    ----------
    statement : Statement
    verdict : {"passed", "FAILED", "ERROR", "pending"}
        FAILED: a measurement missed, nothing was measured, or a mutant was not rejected. ERROR: the experiment, or that
        of a mutant, raised an error, which says nothing about the statement.
    measurement : Measurement or None
        The one that came closest to what is allowed, or missed it most; None for a pending statement and where the
        experiment raised an error.
    measurements : tuple of Measurement
        All of them.
    own_message : str
        Why it failed, could not be run or is pending, mutants apart; empty where it passed.
    mutants : tuple of MutantVerdict
        Empty where mutants were not run, as after an error of the experiment itself.
    raised : bool
        Whether the experiment raised an error.
    seconds : float
        Mutants included.
    """

    statement: Statement
    verdict: Outcome
    measurement: Measurement | None = None
    measurements: tuple[Measurement, ...] = ()
    own_message: str = ""
    mutants: tuple[MutantVerdict, ...] = ()
    raised: bool = False
    seconds: float = 0.0

    @property
    def id(self) -> str:
        """The statement's id."""
        return self.statement.id

    @property
    def title(self) -> str:
        """The statement's title."""
        return self.statement.title

    @property
    def claim(self) -> str:
        """What its experiment shows."""
        return self.statement.claim

    @property
    def measured(self) -> float:
        """The measured number of `measurement`; nan without one."""
        return math.nan if self.measurement is None else float(self.measurement.measured)

    @property
    def expected(self) -> float:
        """The expected number of `measurement`; nan without one."""
        return math.nan if self.measurement is None else float(self.measurement.expected)

    @property
    def stderr(self) -> float:
        """The standard error of `measurement`, 0 for what is not random; nan without one."""
        return math.nan if self.measurement is None else float(self.measurement.stderr)

    @property
    def message(self) -> str:
        """Why it failed, mutants that are not rejected included, was not run or is pending; empty where it passed."""
        return "; ".join(filter(None, [self.own_message, *(one.message for one in self.mutants)]))

    @property
    def passed(self) -> bool:
        """Whether the statement was checked and holds, and every mutant that was run is rejected."""
        return self.verdict == "passed"

    def __repr__(self) -> str:
        one = self.measurement
        numbers = f": {one.name}: {one.measured:.5g} {one.relation} {one.expected:.5g}" if one is not None else ""
        rejected = sum(mutant.rejected for mutant in self.mutants)
        mutants = f", {rejected} of {len(self.mutants)} mutants rejected" if self.mutants else ""
        return f"<Verdict {self.id} {self.verdict}{numbers}{mutants}>"

    def __str__(self) -> str:
        shown = f"{self.id} {self.verdict}: {self.statement.title}"
        return f"{shown} ({self.message})" if self.message else shown


def verify(
    ids: str | Iterable[str] | None = None,
    mutants: bool = False,
    full: bool = False,
    seed: int = 0,
    progress: bool | None = None,
) -> list[Verdict]:
    """Check statements of the theory numerically.

    Parameters
    ----------
    ids : str or iterable of str, optional
        Which: "relaxation.6" one statement, "relaxation.6." it and all whose id begins so, "relaxation" all of a
        document, "relaxation.1*" what fits; capitals do not matter. Each must fit some statement. By default all.
    mutants : bool
        Run the mutants too: each is the same experiment with a wrong dynamics, or with the formula as it is printed
        where the print is wrong, and must be rejected.
    full : bool
        Finer grids and more particles: minutes instead of seconds.
    seed : int
        Of the random numbers, 0 <= seed < 2**63.
    progress : bool, optional
        Show a progress bar: always, never, or (by default) after two seconds on a terminal.

    Returns
    -------
    list of Verdict
        In the order of documents and numbers. A statement that cannot be checked yet is "pending", one whose experiment
        raised an error "ERROR".

    Raises
    ------
    InputError
        An id or a pattern that fits no statement, an id that is no text, an empty list, or a seed that is no such
        integer.

    Examples
    --------
    >>> import relaxsim as rs
    >>> rs.theorems.verify("no.such.id")
    Traceback (most recent call last):
    relaxsim.errors.InputError: ids: no statement 'no.such.id'; relaxsim verify --list shows all
    """
    rows, key = chosen(ids), checked_seed(seed)
    found = []
    with progress_bar(len(rows), "verify", progress, unit="statement") as bar:
        for verdict in verdicts(rows, Setting(bool(full), key), mutants):
            found.append(verdict)
            bar.update()
    return found


def checked_seed(seed: Any) -> int:
    """The seed as an int, or an InputError."""
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and 0 <= int(seed) < SEEDS:
        return int(seed)
    raise InputError(f"seed: expected an integer with 0 <= seed < 2**63, got {seed!r}")


def chosen(ids: str | Iterable[str] | None) -> list[Statement]:
    """The statements of these ids and documents, in the order of the registry; all for None."""
    known = statements()
    if ids is None:
        return list(known.values())
    selected: set[str] = set()
    problems = []
    for name in [ids] if isinstance(ids, str) or not isinstance(ids, Iterable) else ids:
        if not isinstance(name, str):
            problems.append(f"ids: expected texts such as 'relaxation.6', got {name!r}")
            continue
        found = fitting(name, known)
        selected |= found
        if not found:
            problems.append(f"ids: no statement {name!r}{suggestion(name, known)}; relaxsim verify --list shows all")
    if problems:
        raise InputError("\n".join(problems))
    if not selected:  # all([]) is True: a filter that keeps nothing would read as a theory that holds
        raise InputError(
            "ids: the list is empty, so nothing would be checked; name statements ('relaxation.6'), documents "
            "('relaxation') or patterns ('relaxation.1*'), which relaxsim verify --list shows, or leave ids out for all"
        )
    return [row for name, row in known.items() if name in selected]


def verdicts(rows: Iterable[Statement], setting: Setting, mutants: bool) -> Iterator[Verdict]:
    """Judge one statement after the other."""
    for row in rows:
        yield _judged(row, setting, mutants)


@dataclass(frozen=True)
class _Run:
    """What an experiment gave: its measurements, or the error it raised."""

    measurements: tuple[Measurement, ...]
    worst: Measurement | None
    error: str
    seconds: float

    @classmethod
    def of(cls, experiment: Experiment, setting: Setting) -> _Run:
        start = time.perf_counter()
        measurements: tuple[Measurement, ...] = ()
        most, error = None, ""
        try:
            measurements = tuple(experiment(setting))
            most = worst(measurements) if measurements else None
        except Exception as caught:  # one broken experiment must not hide the others
            measurements, error = (), f"{type(caught).__name__}: {caught}{_fix(caught)}"
        return cls(measurements, most, error, time.perf_counter() - start)


def _fix(error: Exception) -> str:
    """What to do about an error that speaks of the machine; nothing where it has the fix in its message or is a bug."""
    if isinstance(error, ImportError) and not isinstance(error, MissingDependencyError):
        what = f"python -m pip install {error.name.split('.')[0]}" if error.name else "install relaxsim again"
        return f" (a library is missing or broken: {what}; relaxsim doctor shows what is installed)"
    if isinstance(error, MemoryError):
        return " (not enough memory: leave out --full, or free some)"
    if isinstance(error, OSError):
        return " (the operating system refused; relaxsim doctor says where files are kept)"
    return ""


def _judged(row: Statement, setting: Setting, mutants: bool) -> Verdict:
    if row.experiment is None:
        return Verdict(row, "pending", own_message=row.pending or "it has no experiment")
    run = _Run.of(row.experiment, setting)
    if run.error:
        return Verdict(row, "ERROR", own_message=run.error, raised=True, seconds=run.seconds)
    wrong = tuple(_mutant(one, setting) for one in row.mutants) if mutants else ()
    reasons = [describe(one) for one in run.measurements if not one.passed]
    if not run.measurements:
        reasons = ["the experiment measured nothing"]
    return Verdict(
        row,
        _outcome(bool(reasons), wrong),
        run.worst,
        run.measurements,
        "; ".join(reasons),
        wrong,
        seconds=run.seconds + sum(one.seconds for one in wrong),
    )


def _outcome(missed: bool, mutants: Iterable[MutantVerdict]) -> Outcome:
    """A miss counts more than an error: it is said of the statement."""
    unsettled = [one for one in mutants if not one.rejected]
    if missed or any(not one.raised for one in unsettled):
        return "FAILED"
    return "ERROR" if unsettled else "passed"


def _mutant(mutant: Mutant, setting: Setting) -> MutantVerdict:
    run = _Run.of(mutant.experiment, setting)
    rejected = any(one.rejected for one in run.measurements)
    message = ""
    if run.error:
        message = f"the mutant '{mutant.name}' could not be run ({run.error})"
    elif not rejected:
        why = f"closest: {describe(run.worst)}" if run.worst else "it measured nothing"
        message = f"the mutant '{mutant.name}' is not rejected ({why})"
    return MutantVerdict(mutant.name, mutant.printed, rejected, run.worst, message, run.seconds, bool(run.error))


def describe(one: Measurement) -> str:
    """A measurement with its numbers."""
    error = f" ± {one.stderr:.2g}" if one.stderr else ""
    return (
        f"{one.name}: measured {one.measured:.6g}{error}, expected {one.relation} {one.expected:.6g}, "
        f"missed by {one.missed:.3g}, allowed {one.allowed:.3g}"
    )
