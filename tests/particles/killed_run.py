"""A run in a process of its own, to be killed: ``python killed_run.py start|resume FILE PAUSES [fault]``.

It sleeps a little whenever the kernel pauses, so that it lasts long enough on any machine, and says each checkpoint
that was written. The fault "atomic" or "direct" stops in the middle of the third write, with the right writer or one
that writes in place.
"""

import sys
import time
from pathlib import Path

import numpy as np

import relaxsim as rs
from relaxsim import storage
from relaxsim.particles.checkpoint import Checkpoint

EVERY = 20  # steps between two pauses


def arguments(pauses):
    """Those of the run: system and initial law, and the others by name."""
    system = rs.System("(x**2 - 1)**2", temperature=0.5, domain=rs.Domain([(-3, 3)]))
    last = EVERY * pauses * 1e-2
    return (system, rs.initial.normal(0.0, 0.3)), {
        "n_particles": 1000,
        "dt": 1e-2,
        "times": np.linspace(0.0, last, 6),
        "scheme": "euler-maruyama",
        "rng": 5,
        "threads": 1,
        "observables": {"histogram": rs.Histogram(rs.Grid(system.domain, 12), every=EVERY), "x2": rs.Mean("x**2")},
    }


def slow_and_loud():
    """Make pauses last, and say what was written."""
    visit, write = Checkpoint.visit, Checkpoint.write

    def slow_visit(self, state):
        time.sleep(0.004)
        visit(self, state)

    def loud_write(self, state):
        write(self, state)
        print(state.step, flush=True)

    Checkpoint.visit, Checkpoint.write = slow_visit, loud_write


def stop_within_the_third_write(in_place):
    """Write half of the third checkpoint, and wait to be killed."""
    write_npz, calls = storage.write_npz, []

    def half(stream, arrays):
        calls.append(1)
        if len(calls) == 3:
            stream.write(b"PK\x03\x04 half of a file")
            stream.flush()
            print("half", flush=True)
            time.sleep(60)
        write_npz(stream, arrays)

    def write_in_place(path, write):
        with Path(path).open("wb") as stream:
            write(stream)

    storage.write_npz = half
    if in_place:
        storage.write_atomic = write_in_place


def main(what, file, pauses, fault=""):
    """Run."""
    slow_and_loud()
    if fault:
        stop_within_the_third_write(fault == "direct")
    if what == "resume":
        rs.resume(file)
    else:
        system, options = arguments(int(pauses))
        rs.simulate(*system, **options, checkpoint=file, checkpoint_every=1e-3)


if __name__ == "__main__":
    main(*sys.argv[1:])
