"""Dividing the work of a run: threads over blocks of particles, and how long to let them run before looking up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from relaxsim.particles.random import BLOCK

CALL_SECONDS = 0.5  # how long a kernel runs before progress is shown and an interrupt is noticed
RANGE_SECONDS = 0.005  # of work handed to a thread: at the end of a call the others wait no longer for the last one


class Pool:
    """The calling thread and helpers beside it, none for one thread.

    The calling thread works too: if it only waited, every call would begin with the system waking up all the others,
    often on one core, which costs several milliseconds a call.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._executor = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """The results of work on each item, in order; of several errors, that of the first item."""
        items = list(items)
        if self._executor is None or len(items) == 1:
            return [work(item) for item in items]
        results: list[Any] = [None] * len(items)
        errors: dict[int, BaseException] = {}
        numbers = iter(range(len(items)))  # shared: whoever is free takes the next

        def drain() -> None:
            for k in numbers:
                try:
                    results[k] = work(items[k])
                except BaseException as error:  # an interrupt too: it must not leave the others at work
                    errors[k] = error
                if errors:
                    return

        helpers = [self._executor.submit(drain) for _ in range(self.threads - 1)]
        drain()
        for helper in helpers:
            helper.result()
        if errors:
            raise errors[min(errors)]
        return results


class Pace:
    """How many steps a kernel call should take and how to divide it, from how long the last ones took."""

    def __init__(self, n: int) -> None:
        self._steps = max(1, int(2e6 / n))
        self._step_seconds = 0.0

    def steps(self) -> int:
        return self._steps

    def parts(self, n_steps: int, threads: int) -> int:
        """Into how many ranges of particles to divide a call."""
        return 1 if threads == 1 else max(threads, int(threads * n_steps * self._step_seconds / RANGE_SECONDS))

    def learn(self, n_steps: int, seconds: float) -> None:
        self._step_seconds = seconds / n_steps
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
