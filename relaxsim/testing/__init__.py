"""Assertions for your own test suite: each says with its numbers what was got, what was expected and what it may be.

Statistical ones take a false-alarm rate `alpha`; the pytest fixture ``relaxsim_budget`` shares one over a session.
"""

from __future__ import annotations

from relaxsim.particles.scheme_check import Check, SchemeReport, check_scheme
from relaxsim.testing.budget import Budget
from relaxsim.testing.detailed_balance import assert_detailed_balance
from relaxsim.testing.gibbs import assert_gibbs
from relaxsim.testing.relaxation import assert_monotone, assert_relaxes
from relaxsim.testing.same_law import assert_same_law
from relaxsim.testing.weak_order import assert_weak_order

__all__ = [
    "Budget",
    "Check",
    "SchemeReport",
    "assert_detailed_balance",
    "assert_gibbs",
    "assert_monotone",
    "assert_relaxes",
    "assert_same_law",
    "assert_weak_order",
    "check_scheme",
]
