"""Dividing the work of a run: threads over blocks of particles, and how long to let them run before looking up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from relaxsim.particles.random import BLOCK

CALL_SECONDS = 0.2  # how long a kernel runs before progress is shown and an interrupt is noticed


class Pool:
    """Some threads, or none for one."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """The results of work on each item, in order."""
        items = list(items)
        if self._executor is None or len(items) == 1:
            return map(work, items)
        return self._executor.map(work, items)


class Pace:
    """How many steps a kernel call should take, from how long the last ones took."""

    def __init__(self, n: int) -> None:
        self._steps = max(1, int(2e6 / n))

    def steps(self) -> int:
        return self._steps

    def learn(self, n_steps: int, seconds: float) -> None:
        if n_steps < self._steps and seconds < CALL_SECONDS:
            return  # cut short by a time to look at: says nothing against more steps
        wanted = n_steps * CALL_SECONDS / max(seconds, 1e-6)
        self._steps = max(1, min(int(wanted), 4 * self._steps))


def ranges(n: int, parts: int) -> Iterator[tuple[int, int]]:
    """Split n particles (a multiple of 128) into so many ranges of whole blocks."""
    blocks = n // BLOCK
    parts = min(parts, blocks)
    edges = [blocks * k // parts * BLOCK for k in range(parts + 1)]
    yield from pairwise(edges)
