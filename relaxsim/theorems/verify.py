"""Run the registry: each statement's experiment and, if wanted, its mutants."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from relaxsim.errors import InputError
from relaxsim.progress import progress_bar
from relaxsim.system.validate import nearest
from relaxsim.theorems.check import Experiment, Measurement, Mutant, Setting, Statement, worst
from relaxsim.theorems.registry import statements


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
    """

    name: str
    printed: str | None
    rejected: bool
    measurement: Measurement | None
    message: str
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """What `verify` found of one statement.

    Attributes
    ----------
    statement : Statement
    verdict : {"passed", "FAILED", "pending"}
        FAILED: a measurement missed, the experiment raised an error, or a mutant was not rejected.
    measurement : Measurement or None
        The one that came closest to what is allowed, or missed it most; None for a pending statement and where the
        experiment raised an error.
    measurements : tuple of Measurement
        All of them.
    own_message : str
        Why it failed or is pending, mutants apart; empty where it passed.
    mutants : tuple of MutantVerdict
        Empty where mutants were not run.
    raised : bool
        Whether the experiment raised an error.
    seconds : float
        Mutants included.
    """

    statement: Statement
    verdict: Literal["passed", "FAILED", "pending"]
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
        """Why it failed, mutants that are not rejected included, or is pending; empty where it passed."""
        return "; ".join(filter(None, [self.own_message, *(one.message for one in self.mutants)]))

    @property
    def passed(self) -> bool:
        """Whether the statement was checked and holds, and every mutant that was run is rejected."""
        return self.verdict == "passed"

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
        Which: "relaxation.6" one statement, "relaxation" all of a document. By default all.
    mutants : bool
        Run the mutants too: each is the same experiment with a wrong dynamics, or with the formula as it is printed
        where the print is wrong, and must be rejected.
    full : bool
        Finer grids and more particles: minutes instead of seconds.
    seed : int
        Of the random numbers.
    progress : bool, optional
        Show a progress bar: always, never, or (by default) after two seconds on a terminal.

    Returns
    -------
    list of Verdict
        In the order of the registry. A statement that cannot be checked yet is "pending".

    Raises
    ------
    InputError
        An id that nothing has.

    Examples
    --------
    >>> import relaxsim as rs
    >>> rs.theorems.verify("no.such.id")
    Traceback (most recent call last):
    relaxsim.errors.InputError: ids: no statement 'no.such.id'; relaxsim verify --list shows all
    """
    rows = chosen(ids)
    found = []
    with progress_bar(len(rows), "verify", progress, unit="statement") as bar:
        for verdict in verdicts(rows, Setting(full, seed), mutants):
            found.append(verdict)
            bar.update()
    return found


def chosen(ids: str | Iterable[str] | None) -> list[Statement]:
    """The statements of these ids and documents, in the order of the registry; all for None."""
    known = statements()
    if ids is None:
        return list(known.values())
    wanted = [ids] if isinstance(ids, str) else list(ids)
    documents = list(dict.fromkeys(name.split(".")[0] for name in known))
    selected, problems = set(), []
    for name in wanted:
        fitting = {name} & set(known) or {key for key in known if key.startswith(f"{name}.")}
        selected |= fitting
        if not fitting:
            hint = nearest(name, [*known, *documents]) if isinstance(name, str) else ""
            problems.append(f"ids: no statement {name!r}{hint}; relaxsim verify --list shows all")
    if problems:
        raise InputError("\n".join(problems))
    return [row for name, row in known.items() if name in selected]


def verdicts(rows: Iterable[Statement], setting: Setting, mutants: bool) -> Iterator[Verdict]:
    """Judge one statement after the other."""
    for row in rows:
        yield _judged(row, setting, mutants)


@dataclass(frozen=True)
class _Run:
    """What an experiment gave: its measurements, or the error it raised."""

    measurements: tuple[Measurement, ...]
    error: str
    seconds: float

    @classmethod
    def of(cls, experiment: Experiment, setting: Setting) -> _Run:
        start = time.perf_counter()
        measurements: tuple[Measurement, ...] = ()
        error = ""
        try:
            measurements = tuple(experiment(setting))
        except Exception as caught:  # one broken experiment must not hide the others
            error = f"{type(caught).__name__}: {caught}"
        return cls(measurements, error, time.perf_counter() - start)

    @property
    def worst(self) -> Measurement | None:
        return worst(self.measurements) if self.measurements else None


def _judged(row: Statement, setting: Setting, mutants: bool) -> Verdict:
    if row.experiment is None:
        return Verdict(row, "pending", own_message=row.pending or "it has no experiment")
    run = _Run.of(row.experiment, setting)
    wrong = tuple(_mutant(one, setting) for one in row.mutants) if mutants else ()
    reasons = [run.error] if run.error else [] if run.measurements else ["the experiment measured nothing"]
    reasons += [describe(one) for one in run.measurements if not one.passed]
    good = not reasons and all(one.rejected for one in wrong)
    return Verdict(
        row,
        "passed" if good else "FAILED",
        run.worst,
        run.measurements,
        "; ".join(reasons),
        wrong,
        bool(run.error),
        run.seconds + sum(one.seconds for one in wrong),
    )


def _mutant(mutant: Mutant, setting: Setting) -> MutantVerdict:
    run = _Run.of(mutant.experiment, setting)
    rejected = any(one.rejected for one in run.measurements)
    message = ""
    if not rejected:
        why = run.error or (f"closest: {describe(run.worst)}" if run.worst else "it measured nothing")
        message = f"the mutant '{mutant.name}' is not rejected ({why})"
    return MutantVerdict(mutant.name, mutant.printed, rejected, run.worst, message, run.seconds)


def describe(one: Measurement) -> str:
    """A measurement with its numbers."""
    error = f" ± {one.stderr:.2g}" if one.stderr else ""
    return (
        f"{one.name}: measured {one.measured:.6g}{error}, expected {one.relation} {one.expected:.6g}, "
        f"missed by {one.missed:.3g}, allowed {one.allowed:.3g}"
    )
