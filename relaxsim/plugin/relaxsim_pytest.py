"""The pytest plugin: `relaxsim_budget`, one false-alarm rate for a session.

It is installed as a module of its own beside the package, so that loading it, which pytest does in every project, loads
nothing of relaxsim: that happens when the fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

_KEY = "relaxsim_spent"


def pytest_addoption(parser: Any) -> None:
    """Declare the settings."""
    parser.addini(
        "relaxsim_alpha",
        "probability that any statistical assertion of a session fails although all is right (default 1e-6)",
        default="1e-6",
    )
    parser.addini(
        "relaxsim_assertions",
        "number of statistical assertions that share relaxsim_alpha (default 100)",
        default="100",
    )


def pytest_configure(config: Any) -> None:
    """Count what each process spends."""
    config.pluginmanager.register(_Counter(config), "relaxsim_counter")


class _Counter:
    """The budget of this process, made when it is asked for, and in the main process what the workers spent."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.budget: Any = None
        self.of_workers = 0

    def declared(self) -> tuple[float, int]:
        """The settings, as numbers."""
        return float(self._number("relaxsim_alpha", float, "1e-6")), int(
            self._number("relaxsim_assertions", int, "100")
        )

    def _number(self, name: str, kind: Callable[[str], float], hint: str) -> float:
        text = self.config.getini(name)
        try:
            return kind(text)
        except (TypeError, ValueError):
            raise pytest.UsageError(f"{name}: got {text!r}, expected a number such as {hint}") from None

    def make(self) -> Any:
        """Load relaxsim."""
        if self.budget is None:
            from relaxsim.testing.budget import Budget

            self.budget = Budget(*self.declared())
        return self.budget

    @property
    def spent(self) -> int:
        """Assertions of all processes."""
        return self.of_workers + (0 if self.budget is None else self.budget.spent)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a finished worker of pytest-xdist spent."""
        self.of_workers += getattr(node, "workeroutput", {}).get(_KEY, 0)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: Any) -> None:
        """Hand the count on in a worker; in the main process fail the session if workers together spent too much."""
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output[_KEY] = self.spent
        elif self.spent and self.spent > self.declared()[1] and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was spent."""
        if not self.spent:
            return
        alpha, assertions = self.declared()
        terminalreporter.write_line(
            f"relaxsim_budget: {self.spent} of {assertions} statistical assertions, false-alarm rate of all "
            f"{alpha * self.spent / assertions:.2g}"
        )
        if self.spent > assertions:
            terminalreporter.write_line(
                "ERROR: the workers together made more than relaxsim_assertions declares; declare more", red=True
            )


@pytest.fixture
def relaxsim_budget(request: Any) -> Any:
    """One false-alarm rate for the whole session: `relaxsim_budget.spend()` is the `alpha` of one assertion."""
    return request.config.pluginmanager.get_plugin("relaxsim_counter").make()
