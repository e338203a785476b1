"""A progress bar that stays silent for short work and for logs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

DELAY = 2.0  # seconds before a bar appears


class Bar(Protocol):
    """What a running computation tells its progress to."""

    def update(self, n: float = 1) -> object: ...


class Silent:
    """Progress that nobody is told."""

    def update(self, n: float = 1) -> None: ...


@contextmanager
def progress_bar(total: float, desc: str, enabled: bool | None = None, unit: str = "step") -> Iterator[Bar]:
    """A bar to update with work done.

    Parameters
    ----------
    total : float
        The amount of work.
    desc : str
        What is being done.
    enabled : bool, optional
        True: always shown; False: never; None: after 2 s, when stderr is a terminal.
    unit : str
        What one unit of work is called.
    """
    if enabled is None:
        enabled = sys.stderr is not None and sys.stderr.isatty()
        delay = DELAY
    else:
        delay = 0.0
    if not enabled:
        yield Silent()
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=desc, unit=unit, unit_scale=True, delay=delay, leave=delay == 0.0) as bar:
        yield bar
