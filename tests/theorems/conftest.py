"""What the tests of `relaxsim verify` share."""

from __future__ import annotations

import sys

import pytest

import relaxsim.theorems  # noqa: F401  (fills sys.modules; the attribute of that name is the function)

RUNNER = sys.modules["relaxsim.theorems.verify"]


@pytest.fixture
def registered(monkeypatch):
    """Statements in place of the registry's."""

    def register(*rows):
        monkeypatch.setattr(RUNNER, "statements", lambda: {row.id: row for row in rows})

    return register
