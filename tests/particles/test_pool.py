"""Dividing work among threads."""

import threading
from itertools import pairwise

import pytest

from relaxsim.particles.pool import LAST_SECONDS, RANGE_SECONDS, Pace, Pool


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order(threads):
    with Pool(threads) as pool:
        assert pool.map(lambda k: k * k, range(40)) == [k * k for k in range(40)]
        assert pool.map(lambda k: k, []) == []


def test_the_calling_thread_works_too():
    """Both items wait for each other: with the calling thread idle the second would never start."""
    both, who = threading.Barrier(2), set()

    def work(_):
        both.wait(timeout=60)
        who.add(threading.get_ident())

    with Pool(2) as pool:
        pool.map(work, range(2))
    assert len(who) == 2
    assert threading.get_ident() in who


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_error_of_the_first_item_is_raised_whoever_fails_first(threads):
    second_failed = threading.Event()

    def work(k):
        if k == 3:
            if threads > 1:
                second_failed.wait(timeout=60)
            raise ValueError("item 3")
        if k == 4:
            second_failed.set()
            raise ValueError("item 4")

    with Pool(threads) as pool, pytest.raises(ValueError, match="item 3"):
        pool.map(work, range(100))


def test_after_an_error_nothing_new_begins():
    begun = []

    def work(k):
        begun.append(k)
        raise ValueError("it failed")

    with Pool(2) as pool, pytest.raises(ValueError, match="it failed"):
        pool.map(work, range(1000))
    assert len(begun) <= 2


def test_an_interrupt_stops_the_others():
    def work(k):
        if k == 5:
            raise KeyboardInterrupt

    with Pool(3) as pool, pytest.raises(KeyboardInterrupt):
        pool.map(work, range(10))


def paced(n_steps, seconds, n=1000):
    pace = Pace(n)
    pace.learn(n_steps, seconds)
    return pace


def test_ranges_are_whole_blocks_that_cover_all():
    assert Pace(1).ranges(128 * 5, 1, 2) == [(0, 384), (384, 640)]
    assert Pace(1).ranges(128 * 2, 1, 8) == [(0, 128), (128, 256)]
    for threads in (1, 2, 3, 64):
        found = paced(1000, 0.5).ranges(128 * 777, 100, threads)
        assert (found[0][0], found[-1][1]) == (0, 128 * 777)
        assert all(one[1] == two[0] for one, two in pairwise(found))
        assert all(begin < end and begin % 128 == end % 128 == 0 for begin, end in found)


def test_calls_are_divided_finely_where_they_are_long_and_hardly_where_they_are_short():
    n = 128 * 10_000
    pace = paced(1000, 0.5)
    assert 180 < len(pace.ranges(n, 1000, 2)) < 250
    assert len(pace.ranges(n, 1, 2)) < 10
    assert [len(paced(1, 1e-5).ranges(n, 1, threads)) for threads in (2, 4)] == [2, 4]
    assert len(pace.ranges(n, 1000, 1)) == 1
    assert len(Pace(1000).ranges(n, 1000, 4)) == 4


def longest_wait(sizes, block_seconds, slow):
    """How long threads wait for the last one, if whoever is free takes the next range and one takes longer."""
    until = [0.0, 0.0]
    for size in sizes:
        who = until.index(min(until))
        until[who] += size * block_seconds * (slow if who else 1.0)
    return max(until) - min(until)


def test_threads_end_together_whatever_one_of_them_is_delayed_by():
    """Also in a call that is cut short by a look; ranges that are all alike would be waited for."""
    blocks, block_seconds = 10_000, 1e-4
    for n_steps in (1000, 50):
        spans = paced(1000, blocks * block_seconds / 2).ranges(128 * blocks, n_steps, 2)
        alike = int(RANGE_SECONDS / block_seconds * 1000 / n_steps)
        waits = []
        for sizes in ([(end - begin) // 128 for begin, end in spans], [alike] * (blocks // alike)):
            seconds = block_seconds * n_steps / 1000
            waits.append(max(longest_wait(sizes, seconds, 1 + 0.03 * k) for k in range(30)))
        assert waits[0] < 2 * 2 * LAST_SECONDS < 0.5 * waits[1]
