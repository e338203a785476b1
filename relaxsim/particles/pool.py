"""Dividing the work of a run: threads over blocks of particles, and how long to let them run before looking up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from relaxsim.particles.random import BLOCK

CALL_SECONDS = 0.5  # how long a kernel runs before progress is shown and an interrupt is noticed
RANGE_SECONDS = 0.005  # of work handed to a thread at once, at most
LAST_SECONDS = 1e-4  # and at least, times the number of threads: the interpreter hands out one range at a time


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

    def ranges(self, n: int, n_steps: int, threads: int) -> list[tuple[int, int]]:
        """How to divide a call over n particles (a multiple of 128): into ranges of whole blocks for threads to take.

        Each is a part of what is left, so that the last ones are short and all threads end at about the same time.
        """
        blocks, work = n // BLOCK, threads * n_steps * self._step_seconds
        largest = smallest = fair = -(-blocks // threads)  # a range a thread
        if threads > 1 and work:
            largest, smallest = (
                max(1, min(fair, int(blocks * seconds / work))) for seconds in (RANGE_SECONDS, LAST_SECONDS * threads)
            )
        edges = [0]
        while edges[-1] < blocks:
            left = blocks - edges[-1]
            edges.append(edges[-1] + min(left, largest, max(smallest, left // (2 * threads))))
        return [(BLOCK * begin, BLOCK * end) for begin, end in pairwise(edges)]

    def learn(self, n_steps: int, seconds: float) -> None:
        self._step_seconds = seconds / n_steps
        if n_steps < self._steps and seconds < CALL_SECONDS:
            return  # cut short by a time to look at: says nothing against more steps
        wanted = n_steps * CALL_SECONDS / max(seconds, 1e-6)
        self._steps = max(1, min(int(wanted), 4 * self._steps))
