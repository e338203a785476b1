"""A run kept on disk while it goes on, so that a killed process loses no more than the last interval.

A checkpoint is one `.npz` file, replaced as a whole: the state of the particles, the step that was reached, what the
observables have summed, and the configuration. Stored positions do not change any more once they are reached; each is
appended once to a second file beside it, "<name>.snapshots-<token>", and the checkpoint says how many of them count.
"""

from __future__ import annotations

import glob
import logging
import math
import os
import secrets
import signal
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import CheckpointWarning, InputError, StorageError, warn
from relaxsim.particles.configuration import hash_of, numbers_of
from relaxsim.particles.random import PACKING_VERSION
from relaxsim.particles.run import AnyKernel, Run, RunState
from relaxsim.record import Record, read, versions, write
from relaxsim.storage import storage_errors
from relaxsim.system.validate import FloatArray, Problems, positive_number

logger = logging.getLogger("relaxsim")

KIND = "checkpoint"
HOLDS = (
    "configuration", "system", "hash", "step", "reached", "accepted", "token", "checksums", "checkpoint_every",
)  # fmt: skip
LARGE = 1 << 30  # bytes from which on the size is said

Handler = Any  # of a signal


class Checkpoint:
    """Writes a run to its file every so often, when asked to between two calls of a kernel.

    Within ``with checkpoint:`` an interrupt (Ctrl-C) waits for the next call of `visit`, which writes the file first.

    Parameters
    ----------
    path : path-like
        An `.npz` file.
    every : float
        Seconds between two writes.
    run : Run
        Its last state is always written.
    about : mapping
        The configuration and the description of the system, with their hash.
    probed : mapping
        Values of the system at probe points.
    token, checksums : optional
        Of the snapshots of a run that is resumed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: float,
        run: Run,
        about: Mapping[str, Any],
        probed: Mapping[str, NDArray[Any]],
        token: str | None = None,
        checksums: Sequence[int] = (),
    ) -> None:
        self.path, self.every, self._run = Path(path), every, run
        self._about, self._probed = dict(about), dict(probed)
        self._new, self._token, self._checksums = token is None, token or secrets.token_hex(4), list(checksums)
        self._written_at, self._alone, self._said = time.monotonic(), False, False
        self._interrupts = 0
        self._before: Handler = None

    # ---- interrupts

    def __enter__(self) -> Checkpoint:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._let_go()
        if error is None and self._interrupts:  # one that came after the last visit
            signal.raise_signal(signal.SIGINT)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1:  # once more: at once, the last checkpoint has to do
            self._let_go()
            signal.raise_signal(signal.SIGINT)

    def _let_go(self) -> None:
        """Put back the handler that was there."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    # ---- writing

    def keep(self, kernel: AnyKernel, state: RunState, progress: bool | None) -> FloatArray | None:
        """Run to the end as `Run.go_on` does, and write on the way; of a new run also the initial state.

        Raises
        ------
        InputError
            Another process writes the file, or has left a run there that has not ended.
        StorageError
            The initial state could not be written.
        """
        with alone(self.path), self:
            if self._new:
                problems = Problems()
                check_arguments(self.path, self.every, problems)
                problems.raise_if_any()
                self.write(state)
            self._run.on_pause = self.visit
            return self._run.go_on(kernel, state, progress)

    def visit(self, state: RunState) -> None:
        """Write if it is time to, at the end, or if an interrupt has come; then the interrupt is raised."""
        interrupted, last = self._interrupts > 0, state.step == self._run.steps[-1]
        if interrupted or last or time.monotonic() - self._written_at >= self.every:
            self.try_to_write(state)
        if interrupted:
            logger.info("interrupted at step %d; relaxsim.resume(%r) goes on from there", state.step, str(self.path))
            self._interrupts = 0
            self._let_go()
            signal.raise_signal(signal.SIGINT)

    def try_to_write(self, state: RunState) -> None:
        """Write, or warn that it was not possible: the run goes on, and its result stays in memory."""
        try:
            self.write(state)
        except StorageError as error:
            self._written_at = time.monotonic()
            warn(
                f"the checkpoint of step {state.step} was not written; the run goes on, and the last whole "
                f"checkpoint is still there ({error.strerror})",
                CheckpointWarning,
            )

    def write(self, state: RunState) -> None:
        """Write the file.

        Raises
        ------
        StorageError
            The disk is full, ...; what was there before is still there.
        """
        self._say_if_large(state)
        try:
            self._write(state)
        except BaseException:
            if self._new:  # nothing refers to the snapshots yet
                self._checksums = []
                snapshots_file(self.path, self._token).unlink(missing_ok=True)
            raise
        self._new, self._written_at = False, time.monotonic()
        if not self._alone:
            self._remove_leftovers()

    def _write(self, state: RunState) -> None:
        if state.stored is not None:
            self._append(state.stored, state.reached)
        about = self._about | {
            "step": state.step,
            "reached": state.reached,
            "accepted": state.accepted,
            "token": self._token,
            "checksums": self._checksums,
            "checkpoint_every": self.every,
        }
        looked = numbers_of(self._run.recorder.observables)
        write(self.path, Record(KIND, about, {"state": state.x[:, :]} | looked | self._probed, {}))

    def _append(self, stored: NDArray[Any], reached: int) -> None:
        """Append the snapshots that are not in the second file yet; they are safe on disk before they count."""
        if len(self._checksums) >= reached:
            return
        file = snapshots_file(self.path, self._token)
        with storage_errors(file), file.open("r+b" if self._checksums else "wb") as stream:
            stream.seek(len(self._checksums) * stored[0].nbytes)
            new = [np.ascontiguousarray(frame) for frame in stored[len(self._checksums) : reached]]
            for frame in new:
                stream.write(frame.data)
            stream.flush()
            os.fsync(stream.fileno())
        self._checksums += [zlib.crc32(frame.data) for frame in new]

    def _remove_leftovers(self) -> None:
        """Remove what killed runs left beside the file, which now is this run's alone."""
        own = snapshots_file(self.path, self._token)
        name = glob.escape(self.path.name)
        for pattern in (f"{name}.snapshots-{'?' * len(self._token)}", f".{name}.{'?' * 8}"):
            for other in self.path.parent.glob(pattern):
                if other != own:
                    with suppress(OSError):
                        other.unlink()
        self._alone = True

    def _say_if_large(self, state: RunState) -> None:
        if self._said:
            return
        self._said = True
        looked = numbers_of(self._run.recorder.observables)
        size = math.prod(state.x.shape) * state.x.dtype.itemsize + sum(values.nbytes for values in looked.values())
        total = size + (0 if state.stored is None else state.stored.nbytes)
        if total > LARGE:
            logger.warning(
                "checkpoint %s: %.1f GiB are written every %g s, and %.1f GiB of stored positions once",
                self.path, size / 2**30, self.every, (total - size) / 2**30,
            )  # fmt: skip


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock beside a checkpoint, which the operating system takes away from a process that dies."""
    name = path.with_name(f".{path.name}.lock")
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with storage_errors(path):
        stream = name.open("a")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(stream.fileno()), name.stat())
        except (BlockingIOError, FileNotFoundError):  # the second: its holder has just ended
            held = False
        if not held:
            raise InputError(
                f"checkpoint: another run is writing {path} at this moment; give another name, or wait for its end"
            )
        try:
            yield
        finally:
            name.unlink(missing_ok=True)


def snapshots_file(path: Path, token: str) -> Path:
    """The file beside a checkpoint that holds the stored positions."""
    return path.with_name(f"{path.name}.snapshots-{token}")


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a checkpoint and the stored positions beside it."""
    file = Path(path)
    snapshots = snapshots_file(file, read_checkpoint(file, arrays=False).about["token"])
    file.unlink()
    snapshots.unlink(missing_ok=True)


# ---- arguments and files


def check_arguments(path: Any, every: Any, problems: Problems) -> float:
    """The interval in seconds; what is wrong with it or the path is added to the problems.

    A checkpoint of a run that has not ended is not written over: it may be all that is left of days of work.
    """
    interval = positive_number(every, "checkpoint_every", problems)
    if path is None:
        return interval
    if not isinstance(path, (str, os.PathLike)) or Path(path).suffix != ".npz":
        problems.add("checkpoint", f"expected a name that ends in .npz, got {path!r}")
    elif Path(path).is_file():
        try:
            record = read_checkpoint(path, arrays=False)
        except InputError as error:
            problems.add("checkpoint", f"{error}. It is not written over; give another name or remove it")
        else:
            step, last = record.about["step"], record.about["configuration"]["n_steps"]
            if step < last:
                problems.add(
                    "checkpoint",
                    f"{path} holds a run at step {step} of {last}; relaxsim.resume({str(path)!r}) goes on with it, "
                    "as does relaxsim run --resume. Remove the file to start anew",
                )
    return interval


def read_checkpoint(path: str | os.PathLike[str], arrays: bool = True) -> Record:
    """Read a checkpoint, or all but its arrays; its configuration is checked against its hash.

    Raises
    ------
    FileNotFoundError, InputError
        No such file; something else, a damaged file, one of a newer format.
    """
    record = read(path, arrays)
    if record.kind != KIND:
        raise InputError(
            f"{path}: expected a checkpoint, the file holds the path of an {record.kind}; read it with relaxsim.load"
        )
    about = record.about
    missing = [name for name in HOLDS if name not in about] + ["state"] * (arrays and "state" not in record.arrays)
    if missing:
        raise InputError(f"{path}: {', '.join(missing)} is missing; the file is damaged")
    if about["hash"] != hash_of({name: about[name] for name in ("configuration", "system")}):
        raise InputError(f"{path}: the configuration is not the one that was written; the file was changed")
    return record


def read_snapshots(path: Path, record: Record, into: NDArray[Any]) -> None:
    """Read the snapshots of a checkpoint into the first places of an array (n_times, rows, n)."""
    about = record.about
    file = snapshots_file(path, about["token"])
    try:
        with file.open("rb") as stream:
            for k, checksum in enumerate(about["checksums"]):
                frame = into[k].reshape(-1).view(np.uint8)
                if stream.readinto(frame.data) != frame.size or zlib.crc32(frame.data) != checksum:
                    raise InputError(f"{file}: stored positions {k} are damaged or missing")
    except FileNotFoundError:
        raise InputError(
            f"{path}: the stored positions are missing; {file.name} belongs beside the checkpoint"
        ) from None


def check_versions(path: str | os.PathLike[str], record: Record) -> None:
    """Refuse a checkpoint of other versions: the rest of the run would not have the bits of one run."""
    wrote = record.about["versions"] | {"noise packing": record.about["configuration"]["packing_version"]}
    now = versions() | {"noise packing": PACKING_VERSION}
    differ = [f"{name} {wrote.get(name)} instead of {now[name]}" for name in now if wrote.get(name) != now[name]]
    if differ:
        raise InputError(
            f"{path}: was written with {' and '.join(differ)}, so that the run would not end with the same bits. "
            "Resume it with those versions, or start anew"
        )
