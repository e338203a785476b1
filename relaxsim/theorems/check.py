"""What a checked statement is: its source, its experiment, its tolerance and the mutants it must reject."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

RISK = 1e-6  # of all statistical comparisons of one run of `verify` together
COMPARISONS = 200  # that the registry may hold
REJECTION = 2.0  # a mutant must miss by this many times what the right dynamics is allowed

Relation = Literal["=", "<=", ">="]


@dataclass(frozen=True)
class Measurement:
    """One compared number.

    Scalars of NumPy are taken and kept as Python's numbers.

    Attributes
    ----------
    name : str
        What was measured, in a few words.
    measured, expected : float
    tolerance : float
        Known error of the discretisation or of rounding, in the units of `measured`.
    stderr : float
        Standard error of `measured`; 0 for what is not random.
    relation : {"=", "<=", ">="}
        How `measured` should stand to `expected`.
    dof : int
        Degrees of freedom of `stderr` where it comes from few groups (their number minus one); 0 for infinitely many.
    """

    name: str
    measured: float
    expected: float
    tolerance: float = 0.0
    stderr: float = 0.0
    relation: Relation = "="
    dof: int = 0

    def __post_init__(self) -> None:
        for name in ("measured", "expected", "tolerance", "stderr"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "dof", int(self.dof))

    @property
    def allowed(self) -> float:
        """By how much the claim may be missed."""
        return self.tolerance + (quantile(self.dof) * self.stderr if self.stderr else 0.0)

    @property
    def missed(self) -> float:
        """By how much the claim is missed; infinite for nan, 0 within the claim."""
        difference = self.measured - self.expected
        if math.isnan(difference):
            return math.inf
        off = {"=": abs(difference), "<=": max(difference, 0.0), ">=": max(-difference, 0.0)}
        return float(off[self.relation])

    @property
    def passed(self) -> bool:
        """Whether the claim holds within what is allowed."""
        return bool(self.missed <= self.allowed)

    @property
    def rejected(self) -> bool:
        """Whether the claim is missed clearly, as it must be for a mutant; nan shows nothing."""
        return not math.isnan(self.measured - self.expected) and bool(self.missed > REJECTION * self.allowed)


@dataclass(frozen=True)
class Setting:
    """How much an experiment may spend, and its random numbers.

    Attributes
    ----------
    full : bool
        False: seconds an experiment; True: finer grids, more particles.
    seed : int
    """

    full: bool = False
    seed: int = 0


Experiment = Callable[[Setting], Iterable[Measurement]]


@dataclass(frozen=True)
class Mutant:
    """A wrong dynamics, or the statement as it is printed where the print is wrong; the check must reject it.

    Attributes
    ----------
    name : str
        What is wrong, in a few words.
    experiment : callable
        The statement's own experiment with the wrong part put in.
    printed : str or None
        For a misprint: the formula or sentence as printed, in LaTeX.
    """

    name: str
    experiment: Experiment
    printed: str | None = None


@dataclass(frozen=True)
class Statement:
    """One row of the registry.

    Attributes
    ----------
    id : str
        Document and number: "relaxation.6".
    title : str
        A few words.
    source : str
        Document and number in it, as a reader would cite it.
    latex : str
        The statement, corrected where the print is wrong.
    claim : str
        What the experiment shows, in one sentence.
    experiment : callable or None
        None for a pending statement. Its docstring says what is run and where the tolerance comes from.
    mutants : tuple of Mutant
        At least one, unless pending.
    pending : str or None
        Why the statement is not checked yet.
    """

    id: str
    title: str
    source: str
    latex: str
    claim: str = ""
    experiment: Experiment | None = None
    mutants: tuple[Mutant, ...] = field(default=())
    pending: str | None = None


def quantile(dof: int = 0) -> float:
    """How many standard errors a right comparison exceeds with probability RISK / COMPARISONS, two-sided.

    Normal, or Student's for a standard error that comes from few groups.
    """
    from scipy.special import ndtri, stdtrit

    tail = RISK / COMPARISONS / 2
    return -float(stdtrit(dof, tail) if dof else ndtri(tail))


def worst(measurements: Iterable[Measurement]) -> Measurement:
    """The measurement that misses by most times what it is allowed, or the one that comes closest to it."""
    return max(measurements, key=_strain)


def _strain(measurement: Measurement) -> float:
    """Missed over allowed."""
    if measurement.missed == 0:
        return 0.0
    return measurement.missed / measurement.allowed if measurement.allowed else math.inf
