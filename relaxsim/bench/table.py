"""All records, in the order in which they are printed, and how a row looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from relaxsim.bench import ensemble, many, peers, scaling, start
from relaxsim.bench.record import Record
from relaxsim.bench.yardstick import Yardstick

HEADER = f"{'':4} {'number':<72} {'value':>9}  {'required':<8} from"


def records(quick: bool = False) -> Iterator[Record]:
    """Measure everything, each record as soon as it is known.

    Parameters
    ----------
    quick : bool
        Fewer repeats and smaller runs: a minute or two instead of ten, and more noise.
    """
    with ExitStack() as stack:
        yardstick = stack.enter_context(Yardstick()) if Yardstick.available() else None
        yield from ensemble.records(yardstick, quick)
        yield from many.records(yardstick, quick)
        yield from scaling.records(yardstick, quick)
        yield from start.records(quick)
        yield from peers.records(quick)


def row(record: Record) -> str:
    """A record as a line of the table."""
    verdict = {True: "ok", False: "NOT", None: ""}[record.passed]
    value = "-" if record.value is None else f"{record.value:.3g}{record.unit}"
    return f"{verdict:4} {record.name:<72} {value:>9}  {record.requirement:<8} {record.note}".rstrip()
