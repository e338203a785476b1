"""The C program `yardstick.c`: what one core of this machine can do."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-fno-math-errno")


class Run(NamedTuple):
    """One run of a row: CPU seconds, mean and mean square of all coordinates at the end."""

    seconds: float
    mean: float
    mean_square: float


class Yardstick:
    """The compiled program; a context manager that removes it afterwards.

    Raises
    ------
    OSError
        There is no gcc (ask `available` first), or it fails.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="relaxsim-yardstick-")
        self._program = Path(self._folder.name) / "yardstick"
        source = files("relaxsim.bench").joinpath("yardstick.c").read_text(encoding="utf-8")
        command = ["gcc", *FLAGS, "-w", "-x", "c", "-", "-o", str(self._program), "-lm"]
        done = subprocess.run(command, input=source, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"gcc cannot compile the yardstick: {done.stderr.strip()[:500]}")

    @staticmethod
    def available() -> bool:
        """Whether there is a C compiler."""
        return shutil.which("gcc") is not None

    def run(self, row: str, n_particles: int, steps: int) -> Run:
        """Run a row, such as "T1" or "T1-two-point", once."""
        command = [str(self._program), row, str(n_particles), str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return Run(*map(float, done.stdout.split()))

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
