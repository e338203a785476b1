"""The benchmark's own parts, without timing: records and rows, and the C program against its reference values."""

from __future__ import annotations

import subprocess
import sys

import pytest

from relaxsim.bench.record import alternate, at_least, at_most, not_measured, paired_ratio
from relaxsim.bench.tasks import TASKS

pytestmark = pytest.mark.nojit


def test_a_record_says_whether_its_requirement_holds():
    assert at_least("speed", 0.8, 0.8).passed is True
    assert at_least("speed", 0.79, 0.8).passed is False
    assert at_most("seconds", 1.6, 1.5, " s").passed is False
    assert not_measured("speed", "no gcc").passed is None


def test_runs_alternate_and_are_compared_with_their_neighbours():
    order: list[str] = []

    def timed(name: str, seconds: float):
        def run() -> float:
            order.append(name)
            return seconds

        return run

    first, second = alternate(timed("a", 6.0), timed("b", 2.0), repeats=3)
    assert order == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert paired_ratio(first, second) == 3.0


def test_a_row_shows_name_value_and_verdict():
    from relaxsim.bench.table import row

    shown = row(at_most("first result", 2.0, 1.5, " s", note="busy"))
    assert shown.split() == ["NOT", "first", "result", "2", "s", "<=", "1.5", "busy"]
    assert row(not_measured("speed", "no gcc")).split() == ["speed", "-", "no", "gcc"]


@pytest.mark.parametrize("row", ["T1", "T1-two-point", "T2", "T3"])
def test_the_yardstick_runs_the_tasks(row):
    from relaxsim.bench.yardstick import Yardstick

    if not Yardstick.available():
        pytest.skip("no gcc")
    with Yardstick() as yardstick:
        done = yardstick.run(row, 6400, 1000)
    assert done.seconds > 0
    assert done.mean_square == pytest.approx(TASKS[row[:2]].mean_square, abs=0.05)


def test_the_yardstick_compiles_without_warnings(tmp_path):
    from importlib.resources import files

    from relaxsim.bench.yardstick import FLAGS, Yardstick

    if not Yardstick.available():
        pytest.skip("no gcc")
    source = files("relaxsim.bench").joinpath("yardstick.c")
    command = ["gcc", *FLAGS, "-Wall", "-Wextra", "-Wno-psabi", str(source), "-o", str(tmp_path / "yardstick"), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_explains_itself():
    done = subprocess.run([sys.executable, "-m", "relaxsim", "bench", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--quick" in done.stdout
