"""The pytest plugin: `relaxsim_budget`, one false-alarm rate for a session.

It is installed as a module of its own beside the package, so that loading it, which pytest does in every project, loads
nothing of relaxsim: that happens when the fixture is used.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

_KEY = "relaxsim_spent"
_DEFAULTS = {"relaxsim_alpha": 1e-6, "relaxsim_assertions": 100}


def pytest_addoption(parser: Any) -> None:
    """Declare the settings."""
    texts = {
        "relaxsim_alpha": "probability that any statistical assertion of a session fails although all is right "
        "(default 1e-6)",
        "relaxsim_assertions": "number of statistical assertions that share relaxsim_alpha (default 100)",
    }
    for name, text in texts.items():
        _declare(parser, name, text)


def _declare(parser: Any, name: str, text: str) -> None:
    """A setting that is text in [pytest] and [tool.pytest.ini_options], and a number in TOML's own [tool.pytest]."""
    for kind in (float | str, "float"):  # older versions of pytest take no union, or no number either
        with contextlib.suppress(AssertionError, TypeError, ValueError):
            parser.addini(name, text, type=kind, default=_DEFAULTS[name])
            return
    parser.addini(name, text, default=_DEFAULTS[name])


def pytest_configure(config: Any) -> None:
    """Check the settings, and count what each process spends."""
    counter = _Counter(config)
    counter.declared()
    config.pluginmanager.register(counter, "relaxsim_counter")


class _Counter:
    """The budget of this process, made when it is asked for, and in the main process what the workers spent."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.budget: Any = None
        self.of_workers = 0

    def declared(self) -> tuple[float, int]:
        """The settings, as numbers; all that is wrong with them in one usage error."""
        problems: list[str] = []
        alpha, assertions = (self._number(name, problems) for name in _DEFAULTS)
        if alpha is not None and not 0.0 < alpha <= 0.5:
            problems.append(f"relaxsim_alpha: got {alpha:g}, expected a rate above 0 and at most 0.5, such as 1e-6")
        if assertions is not None and not (assertions >= 1.0 and assertions.is_integer()):
            problems.append(f"relaxsim_assertions: got {assertions:g}, expected an integer of at least 1, such as 100")
        if problems or alpha is None or assertions is None:
            raise pytest.UsageError("; ".join(problems))
        return alpha, int(assertions)

    def _number(self, name: str, problems: list[str]) -> float | None:
        hint = f"expected a number such as {_DEFAULTS[name]:g}"
        try:
            value = self.config.getini(name)
        except (pytest.UsageError, TypeError, ValueError) as error:  # what this version of pytest does not convert
            problems.append(f"{name}: {hint} ({error})")
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            problems.append(f"{name}: got {value!r}, {hint}")
        return None

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
