"""Statements made for the purpose: good ones, bad ones, broken ones."""

from __future__ import annotations

from functools import partial

from relaxsim.theorems import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.verify import verdicts


def one(setting, *, wrong=None):
    """Compares 1 with 1."""
    yield Measurement("exact", 1.0, 1.0, tolerance=1e-3)
    yield Measurement("drawn", 1.0 if wrong is None else wrong, 1.0, stderr=1e-2)


def broken(setting):
    """Raises."""
    raise ZeroDivisionError("no <such> thing \x1b")


def statement(name="good.1", experiment=one, mutants=None, **more):
    if mutants is None:
        mutants = (Mutant("twice", partial(one, wrong=2.0)), Mutant("print", partial(one, wrong=3.0), printed="x^2"))
    return Statement(name, "a title", "A source, equation 1", "x = 1", "x is one", experiment, mutants, **more)


GOOD = statement()
BAD = statement("bad.1", partial(one, wrong=1.5))
RAISES = statement("bad.2", broken)
LENIENT = statement("bad.3", mutants=(Mutant("harmless", one),))
BROKEN_MUTANT = statement("bad.4", mutants=(Mutant("broken", broken),))
EMPTY = statement("bad.5", lambda setting: [])
PENDING = statement("open.1", None, (), pending="networks are not built yet")
ALL = (GOOD, BAD, RAISES, LENIENT, BROKEN_MUTANT, EMPTY, PENDING)


def judge(row, mutants=True):
    (verdict,) = verdicts([row], Setting(), mutants)
    return verdict
