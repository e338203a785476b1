"""The errors relaxsim raises, and how it warns.

Every class derives from the builtin a caller would expect, so `except ValueError` works, and every message says
what was got, what was expected and the likely fix.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

__all__ = [
    "CheckFailedError",
    "CheckpointWarning",
    "ConfigError",
    "ConvergenceError",
    "DivergedError",
    "DomainError",
    "ExpressionError",
    "GPUUnavailableError",
    "IncompatibleSchemeError",
    "InputError",
    "MissingDependencyError",
    "MobilityError",
    "ShapeError",
    "StabilityWarning",
    "StorageError",
]

_BETWEEN = ("relaxsim", "functools", "contextlib")  # whose frames no warning is to point at


class InputError(ValueError):
    """An argument that cannot be used, or several of them collected in one message."""


class ShapeError(ValueError):
    """An array whose shape does not fit."""


class DomainError(ValueError):
    """Bounds or boundary conditions that describe no domain, or points outside of one."""


class MobilityError(ValueError):
    """A mobility that is not symmetric, not positive, or not periodic where it has to be."""


class ConfigError(ValueError):
    """A run file or a command line setting that cannot be used."""


class IncompatibleSchemeError(ValueError):
    """A scheme that cannot integrate the system it was given."""


class ConvergenceError(RuntimeError):
    """A solver that did not keep a promise (mass, sign, tolerance)."""


class CheckFailedError(AssertionError):
    """A check of a statement (free energy falls, the law is Gibbs, ...) that did not pass."""


class StabilityWarning(UserWarning):
    """A time step beyond linear stability, or longer than the box: the run goes on, its result is worth nothing."""


class CheckpointWarning(UserWarning):
    """A checkpoint that could not be written: the run goes on, and what was written before is still there."""


class StorageError(OSError):
    """A result that could not be written; the target file is as it was before."""


class MissingDependencyError(ImportError):
    """An optional library that is not installed; the message names the pip line."""


class GPUUnavailableError(RuntimeError):
    """A run on a graphics card that cannot be had; the message names what is missing and the pip line."""


class ExpressionError(ValueError):
    """Text that is not an expression of relaxsim's grammar.

    Parameters
    ----------
    message : str
        What is wrong and how to mend it.
    text : str, optional
        The whole text; a window around the offending column is shown under the message.
    column : int, optional
        Offset of the offending character in `text`, counted from 0.

    Attributes
    ----------
    column : int or None
        Column of the first offending character, counted from 1.
    """

    def __init__(self, message: str, text: str | None = None, column: int | None = None) -> None:
        self.column = None if column is None else column + 1
        if text is not None and column is not None:
            start = max(0, column - 40)
            window = text[start : column + 40].replace("\n", " ")
            message = f"{message} (column {column + 1})\n    {window}\n    {' ' * (column - start)}^"
        super().__init__(message)


class DivergedError(FloatingPointError):
    """A particle whose position became infinite or not a number, or was thrown far out of its box.

    Attributes
    ----------
    particle : int
        Index of the first particle that diverged.
    step : int
        Number of the step that did it; the first step of a run is 0.
    time : float
        Time before that step.
    last_position : tuple of float
        The last finite position of the particle.
    dt_hint : float
        A step to try instead.
    """

    def __init__(
        self,
        particle: int,
        step: int,
        time: float,
        last_position: Iterable[float],
        dt: float,
        dt_hint: float,
        smallest_mobility: float = 1.0,
    ) -> None:
        self.particle = particle
        self.step = step
        self.time = time
        self.last_position = tuple(float(value) for value in last_position)
        self.dt_hint = dt_hint
        if smallest_mobility < 0:
            cause = f"The mobility is not positive there: its smallest eigenvalue is {smallest_mobility:g}."
        else:
            cause = (
                f"The step dt = {dt:g} is probably too large for the forces there: try dt = {dt_hint:.1g}, or bound "
                "the domain."
            )
        where = ", ".join(f"{value:.6g}" for value in self.last_position)
        super().__init__(
            f"particle {particle} left the finite numbers, or its box by far, in step {step} (time {time:.6g}); its "
            f"last finite position was ({where}). {cause}"
        )


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn, pointing at the line of the user's that called relaxsim, however deep inside it this is."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
