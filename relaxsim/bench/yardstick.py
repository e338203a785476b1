"""The C program `yardstick.c`: what one core of this machine can do."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-fno-math-errno")


class Run(NamedTuple):
    """One run of a row: CPU seconds, mean and mean square of all coordinates at the end."""

    seconds: float
    mean: float
    mean_square: float


class Program:
    """A compiled program of this folder; a context manager that removes it afterwards.

    Parameters
    ----------
    source : str
        Name of the file.
    before, after : sequence of str
        Flags of the compiler, before and after ``- -o program``.

    Raises
    ------
    OSError
        There is no compiler (ask `available` first), or it fails.
    """

    compiler: ClassVar[str]

    def __init__(self, source: str, before: Sequence[str], after: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="relaxsim-yardstick-")
        self.program = Path(self._folder.name) / "yardstick"
        text = files("relaxsim.bench").joinpath(source).read_text(encoding="utf-8")
        command = [self.compiler, *before, "-", "-o", str(self.program), *after]
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{self.compiler} cannot compile the yardstick: {done.stderr.strip()[:500]}")

    @classmethod
    def available(cls) -> bool:
        """Whether there is a compiler."""
        return shutil.which(cls.compiler) is not None

    def run(self, row: str, n_particles: int, steps: int) -> Run:
        """Run a row, such as "T1" or "T1-two-point", once."""
        command = [str(self.program), row, str(n_particles), str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return Run(*map(float, done.stdout.split()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


class Yardstick(Program):
    """The program `yardstick.c`."""

    compiler = "gcc"

    def __init__(self) -> None:
        super().__init__("yardstick.c", [*FLAGS, "-w", "-x", "c"], ["-lm"])
