"""Processes that are killed for good: a run loses at most the last interval and ends with the bits of a whole one."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import relaxsim as rs
from particles import killed_run
from relaxsim.particles.checkpoint import read_checkpoint


class Child:
    """A run in another process."""

    def __init__(self, folder, *arguments):
        self.said = folder / "said"
        with self.said.open("wb") as output:
            command = [sys.executable, "-W", "error", killed_run.__file__, *map(str, arguments)]
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def wait_until(self, condition):
        """Wait until what it has said fulfils a condition."""
        give_up = time.monotonic() + 300
        while not condition(self.words()):
            assert self.process.poll() is None, f"it ended: {self.said.read_text()}"
            assert time.monotonic() < give_up, f"it said {self.words()[-3:]}"
            time.sleep(0.002)

    def words(self):
        """What it has said, without a last word that may not be complete."""
        return self.said.read_text().split("\n")[:-1]

    def kill(self):
        """kill -9."""
        os.kill(self.process.pid, signal.SIGKILL)
        assert self.process.wait(timeout=300) == -signal.SIGKILL, "it had ended by itself"


def ends_like_a_whole_run(file, pauses):
    """Whether a checkpoint is resumed to the bits of a run that was never interrupted."""
    system, options = killed_run.arguments(pauses)
    whole = rs.simulate(*system, **options)
    resumed = rs.resume(file, threads=2, checkpoint_every=60)
    for name, observable in whole.observables.items():
        assert np.array_equal(resumed.observables[name].value, observable.value), name
    return np.array_equal(resumed.positions, whole.positions)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path, kills):
    file, pauses = tmp_path / "run.npz", 60 * kills
    rng = np.random.default_rng(kills)
    reached = -1
    for life in range(kills):
        child = Child(tmp_path, "start" if life == 0 else "resume", file, pauses)
        child.wait_until(lambda said: len(said) > 0)
        time.sleep(rng.uniform(0.0, 0.2))
        child.kill()
        step = read_checkpoint(file).about["step"]
        assert step >= int(child.words()[-1])  # all that was said to be written is there
        assert reached < step < 20 * pauses
        reached = step
    assert ends_like_a_whole_run(file, pauses)
    assert not list(tmp_path.glob(".run.npz.*"))  # what writes that were killed have left


def test_a_run_killed_in_the_middle_of_a_write_goes_on_from_the_one_before(tmp_path):
    file = tmp_path / "run.npz"
    child = Child(tmp_path, "start", file, 20, "atomic")
    child.wait_until(lambda said: "half" in said)
    child.kill()
    assert read_checkpoint(file).about["step"] == 20  # the second write, after the first pause
    assert ends_like_a_whole_run(file, 20)


def test_a_checkpoint_written_in_place_would_be_lost(tmp_path):
    """The test above can fail: a writer that does not replace the file as a whole leaves half a file."""
    file = tmp_path / "run.npz"
    child = Child(tmp_path, "start", file, 20, "direct")
    child.wait_until(lambda said: "half" in said)
    child.kill()
    with pytest.raises(rs.InputError, match="damaged"):
        rs.resume(file)
