"""Dividing work among threads."""

import threading

import pytest

from relaxsim.particles.pool import Pace, Pool, ranges


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


def test_ranges_are_whole_blocks_that_cover_all():
    assert list(ranges(128 * 5, 2)) == [(0, 256), (256, 640)]
    assert list(ranges(128 * 2, 8)) == [(0, 128), (128, 256)]


def test_calls_are_divided_finely_where_they_are_long_and_hardly_where_they_are_short():
    pace = Pace(1000)
    assert (pace.parts(10, 1), pace.parts(10, 4)) == (1, 4)
    pace.learn(1000, 0.5)
    assert pace.parts(1000, 2) == 200
    assert pace.parts(4, 2) == 2
    assert pace.parts(1000, 1) == 1
