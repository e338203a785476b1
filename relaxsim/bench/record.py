"""One measured number, what is required of it, and whether that holds."""

from __future__ import annotations

import operator
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """A measured number.

    Attributes
    ----------
    name : str
        What was measured.
    value : float or None
        The number; None if it could not be measured here, `note` says why.
    unit : str
        "" for ratios.
    requirement : str
        Such as ">= 0.8", or "" for a number that is only reported.
    passed : bool or None
        Whether the requirement holds; None without a value or a requirement.
    note : str
        What the number was computed from.
    """

    name: str
    value: float | None
    unit: str = ""
    requirement: str = ""
    passed: bool | None = None
    note: str = ""


def at_least(name: str, value: float, limit: float, unit: str = "", note: str = "") -> Record:
    """A number that must not be less than a limit."""
    return Record(name, value, unit, f">= {limit:.4g}", operator.ge(value, limit), note)


def at_most(name: str, value: float, limit: float, unit: str = "", note: str = "") -> Record:
    """A number that must not exceed a limit."""
    return Record(name, value, unit, f"<= {limit:.4g}", operator.le(value, limit), note)


def not_measured(name: str, why: str) -> Record:
    """A number that cannot be had on this machine."""
    return Record(name, None, note=why)


# ---- timing

Timed = Callable[[], float]  # runs something once and returns the seconds it took


def cpu_timed(work: Callable[[], object]) -> Timed:
    """A run of `work` in seconds of this process's CPU time, which others on the machine hardly disturb."""

    def run() -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    return run


def wall_timed(work: Callable[[], object]) -> Timed:
    """A run of `work` in seconds of the clock on the wall."""

    def run() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def alternate(*runs: Timed, repeats: int) -> list[list[float]]:
    """Seconds of `repeats` runs of each, in turn, after one run of each that does not count.

    The order changes from round to round, so that a clock that drifts favours none.
    """
    for run in runs:
        run()
    seconds: list[list[float]] = [[] for _ in runs]
    for k in range(repeats):
        for which in range(len(runs)) if k % 2 == 0 else reversed(range(len(runs))):
            seconds[which].append(runs[which]())
    return seconds


def paired_ratio(above: list[float], below: list[float]) -> float:
    """The median of the ratios of runs that were neighbours in time."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
