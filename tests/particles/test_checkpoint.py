"""Runs that stop and go on: the same bits, nothing twice, and refusals that name what differs."""

import json
import logging
import re
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles import checkpoint as checkpoints
from relaxsim.particles import configuration
from relaxsim.particles.checkpoint import Checkpoint, read_checkpoint
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.pool import Pool
from relaxsim.particles.run import Run
from relaxsim.particles.schemes import registry
from systems import channel_system, demo_system


class KilledError(Exception):
    """Stands for the end of the process."""


def chain():
    """A batched system."""
    rng = np.random.default_rng(3)
    matrix = np.eye(20) + 0.01 * rng.normal(size=(20, 20))
    matrix = matrix @ matrix.T
    energy = rs.Energy(lambda x: 0.5 * (x * (matrix @ x)).sum(axis=0), grad=lambda x: matrix @ x, dim=20, batched=True)
    return rs.System(energy, temperature=0.5)


def demo_observables():
    grid = rs.Grid(demo_system().domain, (6, 5))
    return {
        "law": rs.Histogram(grid),
        "mean law": rs.Histogram(grid, every=4),
        "x2": rs.Mean("x**2"),
        "moments": rs.Moments(2, every=5, after=0.1),
        "memory": rs.Autocorrelation("x", [0.0, 0.04, 0.12]),
        "escape": rs.FirstPassage("x > 0.5"),
    }


# name: system, options of simulate beside n_particles, dt, times, rng
CASES = {
    "observables": lambda: (demo_system(), {"scheme": "euler-maruyama", "observables": demo_observables()}),
    "nothing stored": lambda: (
        demo_system(), {"scheme": "euler-maruyama", "store": "none", "observables": demo_observables()}
    ),
    "turns in single precision": lambda: (
        channel_system(),
        {"scheme": "euler-maruyama", "noise": "two-point", "dtype": "float32", "store_windings": True},
    ),
    "carried and accepted": lambda: (
        rs.System("x**4/4", temperature=0.5), {"scheme": "mala", "stationary": True, "store": "final"}
    ),
    "batched": lambda: (chain(), {"store": "final"}),
}  # fmt: skip
BITS = ("times", "positions", "windings", "weights")


def options(system, **more):
    start = rs.initial.normal(np.zeros(system.dim), 0.3)
    return (system, start), {"n_particles": 1000, "dt": 0.02, "times": [0.0, 0.1, 0.2, 0.5], "rng": 11} | more


def stopped_at(visits, file, system, **more):
    """Run until the given visit of the checkpoint has written, and stop there."""
    given, named = options(system, **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints.time, "monotonic", iter(range(10**6)).__next__)  # always time to write
        visit, count = Checkpoint.visit, []

        def stops(self, state):
            visit(self, state)
            count.append(1)
            if len(count) == visits:
                raise KilledError

        patch.setattr(Checkpoint, "visit", stops)
        patch.setattr("relaxsim.particles.pool.Pace.steps", lambda self: 3)  # visits between the looks as well
        with pytest.raises(KilledError):
            rs.simulate(*given, **named, checkpoint=file, checkpoint_every=0.5)
    return file


def assert_same(one, two):
    for name in BITS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in ("acceptance", "scheme", "dt", "t0", "seed", "noise", "walls", "dtype", "packing_version"):
        assert getattr(one, name) == getattr(two, name)
    assert one.observables.keys() == two.observables.keys()
    for name, observable in one.observables.items():
        for key, value in observable.state().items():
            np.testing.assert_array_equal(two.observables[name].state()[key], value, err_msg=f"{name}: {key}")


@pytest.mark.parametrize("case", CASES)
def test_resumed_runs_end_with_the_same_bits(case, tmp_path):
    system, more = CASES[case]()
    given, named = options(system, **more)
    whole = rs.simulate(*given, **named)
    missing = {"system": system} if case == "batched" else {}
    for visits, threads in ((1, 1), (4, 3), (7, 2)):
        file = stopped_at(visits, tmp_path / f"{visits}.npz", system, **more)
        assert 0 < read_checkpoint(file).about["step"] < 25
        assert_same(rs.resume(file, threads=threads, **missing), whole)
        assert_same(rs.resume(file, **missing), whole)  # it has ended: the result, again


def test_weights_come_back(tmp_path):
    """Time rescaling weighs particles; its observables sum numbers and not counts."""
    system = rs.System("x**2/2", rs.Mobility.diagonal("1 + x**2/2"), 0.5, rs.Domain([(-4, 4)]))
    (row,) = [row for row in registry().values() if row.weights is not None]
    more = {"scheme": row, "stationary": True, "observables": {"x2": rs.Mean("x**2", every=2)}}
    given, named = options(system, **more)
    file = stopped_at(5, tmp_path / "run.npz", system, **more)
    assert_same(rs.resume(file), rs.simulate(*given, **named))


# ---- what the tests above must see


@pytest.fixture
def stopped(tmp_path):
    """A run of the demo's system that was stopped where observables had just looked."""
    system, more = CASES["observables"]()
    file = next(
        file
        for visits in range(3, 20)
        if read_checkpoint(file := stopped_at(visits, tmp_path / f"{visits}.npz", system, **more)).about["step"] == 8
    )
    given, named = options(system, **more)
    return file, rs.simulate(*given, **named)


def test_a_stream_that_restarts_is_seen(stopped, monkeypatch):
    file, whole = stopped
    step = read_checkpoint(file).about["step"]
    call = Kernel.__call__

    def restarted(self, x, begin, end, first_step, *rest):
        return call(self, x, begin, end, first_step - step, *rest)

    monkeypatch.setattr(Kernel, "__call__", restarted)
    assert not np.array_equal(rs.resume(file).positions, whole.positions)


def test_an_observable_that_counts_twice_is_seen(stopped, monkeypatch):
    file, whole = stopped
    go_on = Run.go_on

    def looks_again(self, kernel, state, progress):
        due = self.recorder.due(state.step, None, self.time_at(state.step))
        assert due
        with Pool(1) as pool:
            self._pieces(kernel, state, self.time_at(state.step), due, None, pool)
        self.recorder.close(due)
        return go_on(self, kernel, state, progress)

    monkeypatch.setattr(Run, "go_on", looks_again)
    resumed = rs.resume(file)
    np.testing.assert_array_equal(resumed.positions, whole.positions)
    counts = [path.observables["mean law"].counts.sum() for path in (resumed, whole)]
    assert counts[0] == counts[1] + 1000


# ---- interrupts


class Interrupter(rs.Observable):
    """Sends Ctrl-C when it looks for the n-th time, and counts how often it has looked."""

    def __init__(self, at, every):
        super().__init__(every=every)
        self.at = at

    def begin(self, system, n_particles, times, t0, dt):
        self.n_records, self.looked = 0, np.zeros(1)

    def record(self, leaf, positions, weights, k):
        self.looked += 1
        if k == self.at and leaf == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.nojit
def test_ctrl_c_leaves_a_checkpoint(tmp_path):
    system, file = demo_system(), tmp_path / "run.npz"
    given, named = options(system, scheme="euler-maruyama")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        rs.simulate(*given, **named, checkpoint=file, observables={"stop": Interrupter(2, 4)})
    assert signal.getsignal(signal.SIGINT) is before
    assert read_checkpoint(file).about["step"] == 12  # the third look, not that of an interval of a minute
    with pytest.raises(rs.InputError, match=r"'stop' is a Interrupter with a function or a class of your own"):
        rs.resume(file)
    resumed = rs.resume(file, observables={"stop": Interrupter(2, 4)})
    whole = rs.simulate(*given, **named)
    np.testing.assert_array_equal(resumed.positions, whole.positions)
    assert resumed.observables["stop"].looked == 6 * 4  # every 4 of 25 steps, 4 leaves


def test_an_interrupt_that_comes_last_is_not_lost(tmp_path):
    """The last look of a run: the checkpoint holds its end, the interrupt is raised all the same."""
    given, named = options(demo_system(), scheme="euler-maruyama")
    with pytest.raises(KeyboardInterrupt):
        rs.simulate(*given, **named, checkpoint=tmp_path / "run.npz", observables={"stop": Interrupter(4, 5)})
    assert read_checkpoint(tmp_path / "run.npz").about["step"] == 25


def test_an_ignored_interrupt_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        given, named = options(demo_system(), scheme="euler-maruyama")
        path = rs.simulate(*given, **named, checkpoint=tmp_path / "run.npz", observables=Interrupter(2, 4))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(path.times) == 4


def test_a_run_in_another_thread_keeps_its_checkpoint(tmp_path):
    found = []
    given, named = options(demo_system(), scheme="euler-maruyama")
    thread = threading.Thread(
        target=lambda: found.append(rs.simulate(*given, **named, checkpoint=tmp_path / "run.npz"))
    )
    thread.start()
    thread.join()
    np.testing.assert_array_equal(rs.resume(tmp_path / "run.npz").positions, found[0].positions)


# ---- a full disk


def test_a_disk_that_fills_up_is_a_warning_and_the_result_stays(tmp_path):
    """A limit on the size of files stands for the disk; it is there from the second look on."""
    script = """
        import resource, sys, warnings
        import numpy as np
        import relaxsim as rs
        from relaxsim.particles.checkpoint import read_checkpoint

        class Fills(rs.Observable):
            limit = 5_000

            def record(self, leaf, positions, weights, k):
                if k == 1:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, hard))

        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        system = rs.System("(x**2 - 1)**2", temperature=0.5, domain=rs.Domain([(-3, 3)]))
        given = system, rs.initial.normal(0.0, 0.3)
        named = dict(n_particles=1000, dt=0.02, times=[0.0, 0.1, 0.2, 0.5], rng=11, scheme="euler-maruyama")
        fills = {"fills": Fills(every=4)}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            path = rs.simulate(*given, **named, checkpoint=sys.argv[1], checkpoint_every=1e-9, observables=fills)
        assert {each.category for each in caught} == {rs.CheckpointWarning}
        print(caught[0].message)
        Fills.limit = hard
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert np.array_equal(path.positions, rs.simulate(*given, **named).positions)
        assert 0 < read_checkpoint(sys.argv[1]).about["step"] < 8
        assert np.array_equal(path.positions, rs.resume(sys.argv[1], observables=fills).positions)
    """
    file = tmp_path / "run.npz"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(file)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    assert "checkpoint of step" in done.stdout
    assert "File too large" in done.stdout
    assert {each.name for each in tmp_path.iterdir()} == {"run.npz", file_of_snapshots(file).name}
    assert read_checkpoint(file).about["step"] == 25


def file_of_snapshots(file):
    return checkpoints.snapshots_file(file, read_checkpoint(file).about["token"])


@pytest.mark.nojit
def test_a_first_checkpoint_that_cannot_be_written_is_an_error(tmp_path):
    given, named = options(demo_system(), scheme="euler-maruyama")
    (tmp_path / "run.npz").symlink_to("/dev/full")
    with pytest.raises(rs.StorageError, match="No space left on device"):
        rs.simulate(*given, **named, checkpoint=tmp_path / "run.npz", store="none")
    with pytest.raises(rs.StorageError, match=r"write .*run\.npz: No such file or directory\. There is no folder"):
        rs.simulate(*given, **named, checkpoint=tmp_path / "missing" / "run.npz")
    with pytest.raises(rs.StorageError, match="No space left on device"):
        rs.simulate(*given, **named, checkpoint=tmp_path / "run.npz")
    assert [each.name for each in tmp_path.iterdir()] == ["run.npz"]
    (tmp_path / "text.npz").write_text("some text")
    with pytest.raises(rs.InputError, match="not a zip archive"):
        rs.resume(tmp_path / "text.npz")


def test_checkpoints_are_written_at_their_interval_and_at_the_end(tmp_path, monkeypatch):
    """By a clock that goes on 25 s from step to step: what is lost is less than the last minute and a visit."""
    now, written, visit, write = [0.0], [], Checkpoint.visit, Checkpoint.write

    def later(self, state):
        now[0] += 25.0
        visit(self, state)

    def noted(self, state):
        write(self, state)
        written.append(state.step)

    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("relaxsim.particles.pool.Pace.steps", lambda self: 1)
    monkeypatch.setattr(Checkpoint, "visit", later)
    monkeypatch.setattr(Checkpoint, "write", noted)
    given, named = options(demo_system(), scheme="euler-maruyama", threads=1)
    rs.simulate(*given, **named, checkpoint=tmp_path / "run.npz")  # every minute by default
    assert written == [*range(0, 25, 3), 25]


# ---- files


@pytest.mark.nojit
def test_snapshots_are_kept_once_and_leftovers_are_removed(tmp_path):
    others = [".run.npz.swp", "run.npz.snapshots-mine", "run.npz.backup"]
    leftovers = [".run.npz.abcdefgh", "run.npz.snapshots-01234567"]
    for name in others + leftovers:
        (tmp_path / name).write_text("")
    given, named = options(demo_system(), scheme="euler-maruyama")
    path = rs.simulate(*given, **named, checkpoint=tmp_path / "run.npz", checkpoint_every=1e-9)
    file = tmp_path / "run.npz"
    assert {each.name for each in tmp_path.iterdir()} == {"run.npz", file_of_snapshots(file).name, *others}
    assert file_of_snapshots(file).stat().st_size == path.positions.nbytes
    assert file.stat().st_size < 1024 * 2 * 8 + 20_000  # the state alone


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-8]), "stored positions 1 are damaged or missing"),
        (lambda file: file.write_bytes(bytes(8) + file.read_bytes()[8:]), "stored positions 0 are damaged"),
        (lambda file: file.unlink(), r"run\.npz\.snapshots-.* belongs beside the checkpoint"),
    ],
)
def test_damaged_snapshots_are_refused(tmp_path, damage, message):
    file = stopped_at(2, tmp_path / "run.npz", demo_system(), scheme="euler-maruyama")
    damage(file_of_snapshots(file))
    with pytest.raises(rs.InputError, match=message):
        rs.resume(file)


def test_a_run_that_has_not_ended_is_not_written_over(tmp_path):
    file = stopped_at(2, tmp_path / "run.npz", demo_system(), scheme="euler-maruyama")
    given, named = options(demo_system(), scheme="euler-maruyama")
    whole = file.read_bytes()
    with pytest.raises(rs.InputError, match=r"holds a run at step 5 of 25; relaxsim\.resume"):
        rs.simulate(*given, **named, checkpoint=file)
    assert file.read_bytes() == whole
    rs.resume(file)
    rs.simulate(*given, **named, checkpoint=file)  # one that has ended is
    path = rs.simulate(*given, **named)
    path.save(file)
    with pytest.raises(rs.InputError, match="expected a checkpoint, the file holds the path of an ensemble"):
        rs.simulate(*given, **named, checkpoint=file)
    with pytest.raises(rs.InputError, match=r"ends in \.npz, got 'run\.zarr'"):
        rs.simulate(*given, **named, checkpoint="run.zarr")
    with pytest.raises(rs.InputError, match="checkpoint_every: expected a positive"):
        rs.simulate(*given, **named, checkpoint=tmp_path / "other.npz", checkpoint_every=0)


def test_large_checkpoints_say_so(tmp_path, caplog, monkeypatch):
    given, named = options(demo_system(), scheme="euler-maruyama")
    with caplog.at_level(logging.WARNING, "relaxsim"):
        rs.simulate(*given, **named, checkpoint=tmp_path / "small.npz", checkpoint_every=1e-9)
        assert caplog.text == ""
        monkeypatch.setattr(checkpoints, "LARGE", 10_000)
        rs.simulate(*given, **named, checkpoint=tmp_path / "large.npz", checkpoint_every=1e-9)
    assert caplog.text.count("GiB are written every") == 1


# ---- what is refused


def edited(file, change):
    with np.load(file) as members:
        arrays = dict(members)
    about = json.loads(str(arrays["about"]))
    change(about)
    arrays["about"] = np.array(json.dumps(about))
    np.savez(file, **arrays)


def test_another_configuration_is_refused(stopped):
    file, whole = stopped
    with pytest.raises(rs.InputError, match=r"n_particles is 1000 in the checkpoint, not 500; rng is 11.*not 12$"):
        rs.resume(file, n_particles=500, rng=12, dt=0.02)
    with pytest.raises(rs.InputError, match=r"temperature: a checkpoint knows n_particles, "):
        rs.resume(file, temperature=0.5)
    assert_same(rs.resume(file, n_particles=1000, rng=11, dt=0.02, times=[0.0, 0.1, 0.2, 0.5], noise="gaussian"), whole)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about["versions"].update(numpy="1.0"), r"written with numpy 1\.0 instead of "),
        (lambda about: about["versions"].update(relaxsim="9.9"), r"written with relaxsim 9\.9 instead of "),
        (lambda about: about.update(format=1), r"has format 1"),
        (lambda about: about["configuration"].update(dt=0.01), "configuration is not the one that was written"),
        (lambda about: about["system"].update(temperature=0.6), "configuration is not the one that was written"),
        (lambda about: about.pop("token"), "token is missing; the file is damaged"),
    ],
)
def test_edited_files_are_refused(tmp_path, change, message):
    file = stopped_at(2, tmp_path / "run.npz", demo_system(), scheme="euler-maruyama")
    edited(file, change)
    with pytest.raises(rs.InputError, match=message):
        rs.resume(file)


def test_another_packing_of_noise_is_refused(tmp_path, monkeypatch):
    file = stopped_at(2, tmp_path / "run.npz", demo_system(), scheme="euler-maruyama")
    monkeypatch.setattr(checkpoints, "PACKING_VERSION", 2)
    with pytest.raises(rs.InputError, match="written with noise packing 1 instead of 2"):
        rs.resume(file)


def test_another_system_is_refused(stopped):
    file, whole = stopped
    assert_same(rs.resume(file, demo_system()), whole)
    with pytest.raises(rs.InputError, match=r"is not the one of the file: its T is 0\.5, this one's 0\.6"):
        rs.resume(file, demo_system().replace(temperature=0.6))


def test_other_observables_are_refused(stopped):
    file, whole = stopped
    assert_same(rs.resume(file, observables={"x2": rs.Mean("x**2")}), whole)
    with pytest.raises(rs.InputError, match=r"observables\['x2'\]: f is 'x\*\*2' in the file, not 'x\*\*3'$"):
        rs.resume(file, observables={"x2": rs.Mean("x**3")})
    with pytest.raises(rs.InputError, match="the file has none named 'y2'"):
        rs.resume(file, observables={"y2": rs.Mean("y**2")})


def test_functions_and_schemes_of_ones_own_are_asked_for(tmp_path):
    def square(x):
        return x[0] ** 2

    system = rs.System(rs.Energy(lambda x: x[0] ** 2 / 2, dim=1), temperature=0.5)
    own = replace(registry()["euler-maruyama"], id="mine")
    more = {"scheme": own, "observables": {"x2": rs.Mean(square)}}
    given, named = options(system, **more)
    file = stopped_at(2, tmp_path / "run.npz", system, **more)
    with pytest.raises(rs.InputError, match="pass it as system="):
        rs.resume(file)
    with pytest.raises(rs.InputError, match=r"'x2' is a Mean with a function"):
        rs.resume(file, system)
    with pytest.raises(rs.InputError, match=r"scheme of your own, 'mine'; pass it as scheme="):
        rs.resume(file, system, observables={"x2": rs.Mean(square)})
    with pytest.raises(rs.InputError, match=r"the checkpoint is of 'mine'"):
        rs.resume(file, system, observables={"x2": rs.Mean(square)}, scheme=registry()["heun"])
    assert_same(rs.resume(file, system, observables={"x2": rs.Mean(square)}, scheme=own), rs.simulate(*given, **named))


def test_another_initial_law_is_refused(tmp_path):
    file = stopped_at(2, tmp_path / "run.npz", demo_system(), scheme="euler-maruyama")
    with pytest.raises(rs.InputError, match=r"initial is .*mean = \[0\.0, 0\.0\].*, not .*\[1\.0, 0\.0\]"):
        rs.resume(file, initial=rs.initial.normal([1.0, 0.0], 0.3))
    with pytest.raises(rs.InputError, match="stationary is False in the checkpoint, not True"):
        rs.resume(file, stationary=True)
    rs.resume(file, initial=rs.initial.normal([0.0, 0.0], 0.3), stationary=False)


@pytest.mark.parametrize(
    "other",
    [
        lambda rows, f: rs.initial.samples(rows + 1e-9 * (np.arange(1200)[:, None] == 1100)),
        lambda rows, f: rs.initial.mixture([rs.initial.samples(rows), rs.initial.density(f(2.0))], [0.5, 0.5]),
        lambda rows, f: rs.initial.mixture([rs.initial.samples(rows), rs.initial.density(f(1.0))], [0.5, 0.6]),
    ],
)
def test_initial_laws_are_known_by_their_numbers_and_values(other):
    rows, system = np.random.default_rng(1).normal(size=(1200, 2)), demo_system()

    def f(c):
        return lambda x: np.exp(-c * x[0] ** 2)

    laws = rs.initial.samples(rows), rs.initial.mixture([rs.initial.samples(rows), rs.initial.density(f(1.0))])
    for law in laws:
        stored = json.loads(json.dumps({"initial": configuration._plain(law, system)}))
        configuration.check_expected(stored, {"initial": law}, system)
        with pytest.raises(rs.InputError, match="another configuration: initial is"):
            configuration.check_expected(stored, {"initial": other(rows, f)}, system)


def test_functions_of_observables_are_compared_by_their_values(tmp_path, caplog):
    def times(c):
        return lambda x: c * x[0] ** 2

    def square(x):
        return x[0] * x[0]

    more = {"scheme": "euler-maruyama", "observables": {"x2": rs.Mean(times(1.0), every=2)}}
    file = stopped_at(3, tmp_path / "run.npz", demo_system(), **more)
    with pytest.raises(rs.InputError, match=r"f is the function .*times.*, not the function .*times") as caught:
        rs.resume(file, observables={"x2": rs.Mean(times(1000.0), every=2)})
    assert not re.search("[0-9a-f]{32}", str(caught.value))
    given, named = options(demo_system(), **more)
    whole = rs.simulate(*given, **named)
    assert caplog.text == ""
    resumed = rs.resume(file, observables={"x2": rs.Mean(square, every=2)})
    assert "source has changed" in caplog.text
    np.testing.assert_allclose(resumed.observables["x2"].value, whole.observables["x2"].value, rtol=1e-12)


class Counts(rs.Observable):
    """Keeps numbers in all that may hold them."""

    def begin(self, system, n_particles, times, t0, dt):
        self.system_seen, self.n, self.sums, self.most = system, 0, {0: np.float64(0.0)}, -np.inf
        self.seen, self.pair, self.zero, self.last = [], (0, "a"), np.zeros(()), None

    def record(self, leaf, positions, weights, k):
        self.n, self.most, self.last = self.n + 1, max(self.most, positions.max()), (leaf, k)
        self.sums[0] += positions.sum()
        self.seen.append((leaf, {float(positions[0, 0])}))
        self.pair, self.zero = (self.pair[0] + 1, "b"), self.zero + 1.0

    def finish(self):
        self.value = (self.n, self.sums, self.most, self.seen, self.pair, float(self.zero), self.last)


class Holds(Counts):
    def begin(self, *rest):
        super().begin(*rest)
        self.draws = np.random.default_rng(1)


class Leaves(Holds):
    scratch = ("draws",)


def test_numbers_of_an_observable_of_ones_own_come_back(tmp_path):
    more = {"scheme": "euler-maruyama", "observables": {"own": Leaves(every=2)}}
    given, named = options(demo_system(), **more)
    whole = rs.simulate(*given, **named)
    expected = whole.observables["own"].value
    file = stopped_at(4, tmp_path / "run.npz", demo_system(), **more)
    assert rs.resume(file, observables={"own": Leaves(every=2)}).observables["own"].value == expected
    whole.save(tmp_path / "path.npz")
    back = rs.load(tmp_path / "path.npz", observables={"own": Leaves(every=2)}).observables["own"]
    assert (back.value, type(back.sums[0]), back.particles) == (expected, float, [(11, 0, 1000)])
    with pytest.raises(rs.InputError, match=r"a Holds holds a value of the type Generator in its attribute 'draws'"):
        rs.simulate(*given, **named | {"observables": Holds()}, checkpoint=tmp_path / "other.npz")
    assert not list(tmp_path.glob("*other*"))


def test_two_runs_do_not_write_to_one_name(tmp_path):
    file = stopped_at(2, tmp_path / "run.npz", demo_system(), scheme="euler-maruyama")
    given, named = options(demo_system(), scheme="euler-maruyama")
    new = tmp_path / "new.npz"
    with checkpoints.alone(file), checkpoints.alone(new):
        with pytest.raises(rs.InputError, match=r"another run is writing .*run\.npz"):
            rs.resume(file)
        with pytest.raises(rs.InputError, match=r"another run is writing .*new\.npz"):
            rs.simulate(*given, **named, checkpoint=new)
    (tmp_path / ".run.npz.lock").touch()  # left by a process that was killed
    rs.resume(file)
    assert {each.name for each in tmp_path.iterdir()} == {"run.npz", file_of_snapshots(file).name}


def test_there_must_be_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.npz"):
        rs.resume(tmp_path / "run.npz")
