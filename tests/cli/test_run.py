"""``relaxsim run`` from file to files, its exit codes, and the installed command."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sysconfig
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from relaxsim.cli import config, main
from relaxsim.cli.toml_writer import dumps

# One system for all runs below, so that one kernel is compiled.
RUN = """
[system]
energy = "a*x**2/2"
temperature = 1.0
params = {a = 1.0}
[domain]
bounds = [[-6, 6]]
[initial]
kind = "normal"
mean = 1.0
scale = 0.5
[times]
stop = 1.0
count = 3
[particles]
n = 2000
dt = 0.02
[density]
shape = 128
step = 0.05
[quick]
particles = {n = 500}
"""


@pytest.fixture
def run_file(tmp_path):
    file = tmp_path / "ou.toml"
    file.write_text(RUN)
    return file


def run(file, *arguments):
    return main(["run", str(file), *arguments])


def rows(folder):
    with (folder / "relaxation.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_run_leaves_its_results(run_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(run_file) == 0
    folder = tmp_path / "ou-results"
    names = ["density.png", "relaxation.csv", "relaxation.png", "resolved.toml", "results.npz"]
    assert sorted(path.name for path in folder.iterdir()) == names
    table = rows(folder)
    assert [row["path"] for row in table] == ["ensemble"] * 3 + ["density"] * 3
    assert list(table[0]) == [
        "path", "time", "F", "U", "S", "KL", "F_stderr", "U_stderr", "S_stderr", "KL_stderr",
    ]  # fmt: skip
    assert float(table[3]["F_stderr"]) == 0.0
    assert float(table[0]["F"]) == pytest.approx(float(table[3]["F"]), abs=0.1)
    with np.load(folder / "results.npz", allow_pickle=False) as arrays:
        assert arrays["ensemble_final_positions"].shape == (2000, 1)
        assert arrays["density_final_mass"].sum() == pytest.approx(1.0)
        assert arrays["density_edges_0"].shape == (129,)
        assert np.array_equal(arrays["ensemble_KL"], [float(row["KL"]) for row in table[:3]])
    assert (folder / "relaxation.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "diff/se" in out
    assert f"wrote {Path('ou-results') / 'relaxation.png'}" in out


def test_the_resolved_file_runs_to_the_same_bits(run_file, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    settings = ["--quick", "--set", "system.params.a=1.5", "--set", 'output.arrays=["all", "relaxation"]']
    assert run(run_file, "--out", str(first), *settings) == 0
    table = tomllib.loads((first / "resolved.toml").read_text())
    assert table["particles"]["n"] == 500
    assert table["system"]["params"] == {"a": 1.5}
    assert "quick" not in table
    assert run(first / "resolved.toml", "--out", str(second)) == 0
    for name in ("resolved.toml", "relaxation.csv", "results.npz", "relaxation.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_without_a_seed_two_runs_differ(run_file, tmp_path):
    for name in ("a", "b"):
        assert run(run_file, "--quick", "--out", str(tmp_path / name)) == 0
    assert (tmp_path / "a" / "relaxation.csv").read_bytes() != (tmp_path / "b" / "relaxation.csv").read_bytes()


def without(run_file, *tables):
    content = tomllib.loads(run_file.read_text())
    for table in tables:
        del content[table]
    run_file.write_text(dumps(content))


def test_density_alone(run_file, tmp_path, capsys):
    without(run_file, "particles", "quick")
    assert run(run_file, "--out", str(tmp_path / "out"), "--set", "check.monotone=true") == 0
    assert {row["path"] for row in rows(tmp_path / "out")} == {"density"}
    assert "check monotone (density): passed" in capsys.readouterr().out


def test_ensemble_alone_with_its_last_state_only(run_file, tmp_path):
    without(run_file, "density")
    settings = ["particles.store=final", "particles.seed=3", "output.density_at=1.0", 'output.plots=["density"]']
    arguments = [word for setting in settings for word in ("--set", setting)]
    assert run(run_file, "--out", str(tmp_path / "out"), *arguments) == 0
    assert len(rows(tmp_path / "out")) == 1
    assert (tmp_path / "out" / "density.png").exists()


def test_nothing_but_the_table(run_file, tmp_path):
    folder = tmp_path / "deep" / "out"
    assert run(run_file, "--out", str(folder), "--set", "output.plots=[]", "--set", "output.arrays=[]") == 0
    assert sorted(path.name for path in folder.iterdir()) == ["relaxation.csv", "resolved.toml"]


CHECKS = ["check.monotone=1e-3", "check.agreement=true", "particles.n=6000", "particles.seed=1"]


def checked(run_file, folder, *more):
    arguments = [word for setting in (*CHECKS, *more) for word in ("--set", setting)]
    return run(run_file, "--out", str(folder), *arguments)


def test_checks_that_pass(run_file, tmp_path, capsys):
    assert checked(run_file, tmp_path / "out", "check.gibbs=true", "times.stop=6.0") == 0
    out = capsys.readouterr().out
    for name in ("monotone (ensemble)", "monotone (density)", "gibbs (ensemble)", "gibbs (density)", "agreement"):
        assert f"check {name}: passed" in out


def test_a_check_that_fails_is_exit_code_one(run_file, tmp_path, capsys):
    """At t = 1 the process has not relaxed: both are far from the Gibbs law, and agree."""
    assert checked(run_file, tmp_path / "out", "check.gibbs=true") == 1
    out = capsys.readouterr().out
    assert "check gibbs (ensemble): FAILED" in out
    assert "check gibbs (density): FAILED" in out
    assert "check agreement: passed" in out
    assert (tmp_path / "out" / "relaxation.png").exists()


def test_an_unknown_check_is_said_and_is_no_failure(run_file, tmp_path, capsys):
    assert (
        run(run_file, "--quick", "--out", str(tmp_path), "--set", "check.monotone=1e-3", "--set", "particles.n=90") == 0
    )
    assert "check monotone (ensemble): UNKNOWN - " in capsys.readouterr().out


def test_a_rerun_leaves_nothing_stale(run_file, tmp_path, capsys):
    """Our files that this run does not write go; others stay. A refused run touches nothing."""
    out = tmp_path / "out"
    assert run(run_file, "--quick", "--out", str(out), "--set", 'output.plots=["relaxation", "trajectories"]') == 0
    (out / "mine.txt").write_text("")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert "euler-maruyama" in refused(capsys, run_file, "--out", out, "--set", "particles.scheme=euler")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert run(run_file, "--quick", "--out", str(out), "--set", "output.plots=[]", "--set", "output.arrays=[]") == 0
    assert sorted(path.name for path in out.iterdir()) == ["mine.txt", "relaxation.csv", "resolved.toml"]


def test_ensemble_and_density_start_from_the_same_law_without_a_domain(run_file, tmp_path):
    """A start far outside the Gibbs law: the grid holds both, so that nothing of it is cut off."""
    without(run_file, "domain")
    settings = ["initial.mean=20.0", "density.shape=512", "times.stop=6.0", "check.agreement=true", "particles.seed=1"]
    arguments = [word for setting in settings for word in ("--set", setting)]
    assert run(run_file, "--out", str(tmp_path / "out"), *arguments) == 0
    energy = {row["path"]: float(row["U"]) for row in rows(tmp_path / "out") if float(row["time"]) == 0.0}
    assert energy["ensemble"] == pytest.approx(200.1, rel=0.01)
    assert energy["density"] == pytest.approx(200.1, rel=0.01)


# --------------------------------------------------------------------------------------------- refusals


def refused(capsys, *arguments):
    assert main(["run", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    return captured.err


def test_bad_files_name_their_keys(run_file, tmp_path, capsys):
    message = refused(capsys, run_file, "--out", tmp_path / "out", "--set", "particles.nn=3", "--set", "times.stop=x")
    assert "particles.nn: unknown key" in message
    assert "times.stop: got 'x' (text)" in message
    assert not (tmp_path / "out").exists()


def test_malicious_text(run_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, run_file, "--set", "system.energy=__import__('os').system('touch pwned')")
    assert "system.energy" in message
    assert not (tmp_path / "pwned").exists()


def test_steps_that_do_not_fit_the_times(run_file, tmp_path, capsys):
    assert "dt = " in refused(capsys, run_file, "--out", tmp_path, "--set", "particles.dt=0.03")


def test_what_the_density_refuses_is_refused_before_the_ensemble(run_file, tmp_path, capsys, monkeypatch):
    import relaxsim

    monkeypatch.setattr(relaxsim, "simulate", lambda *_, **__: pytest.fail("simulated first"))
    assert "density.method: got 'eulr'" in refused(capsys, run_file, "--out", tmp_path, "--set", "density.method=eulr")
    assert "step" in refused(capsys, run_file, "--out", tmp_path, "--set", "density.step=0.03")
    space = ["system.energy=x0**2+x1**2+x2**2+x3**2", "system.params={}", "system.mobility=1", "initial.mean=0.0"]
    space.append("domain.bounds=[[-6, 6], [-6, 6], [-6, 6], [-6, 6]]")
    space.append("density.shape=4")
    settings = [word for setting in space for word in ("--set", setting)]
    assert "one to three dimensions, got 4" in refused(capsys, run_file, "--out", tmp_path, *settings)
    assert not (tmp_path / "resolved.toml").exists()


def test_a_scheme_that_does_not_exist(run_file, tmp_path, capsys):
    assert "euler-maruyama" in refused(capsys, run_file, "--out", tmp_path, "--set", "particles.scheme=euler")


def test_a_folder_that_cannot_be_made(run_file, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert "--out" in refused(capsys, run_file, "--out", tmp_path / "taken")


def test_a_full_disk_leaves_the_old_file(run_file, tmp_path, capsys, monkeypatch):
    """Temporary files that lie on /dev/full: writing them fails as on a full disk."""
    from relaxsim import storage

    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "resolved.toml").write_text("old")

    def full(prefix, dir):
        return os.open("/dev/full", os.O_WRONLY), str(tmp_path / "temporary")

    (tmp_path / "temporary").write_text("")
    monkeypatch.setattr(storage.tempfile, "mkstemp", full)
    message = refused(capsys, run_file, "--quick", "--out", folder)
    assert "resolved.toml" in message
    assert "No space left on device" in message
    assert (folder / "resolved.toml").read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["resolved.toml"]


# ----------------------------------------------------------------------------- the command as installed

SCRIPT = Path(sysconfig.get_path("scripts")) / "relaxsim"


def test_the_installed_command(run_file):
    bad = subprocess.run([SCRIPT, "run", run_file, "--set", "x=1"], capture_output=True, text=True, timeout=60)
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: x: unknown table")
    version = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, timeout=60)
    assert version.returncode == 0
    assert version.stdout.startswith("relaxsim ")


def test_interrupting_the_command(run_file, tmp_path):
    arguments = [
        SCRIPT,
        "run",
        run_file,
        "--out",
        tmp_path / "out",
        "--set",
        "particles.n=1e6",
        "--set",
        "particles.dt=1e-5",
    ]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ensemble" in process.stdout.read(len("ensemble"))
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(signal.SIGINT)  # again: one that hits a callback of the compiler is swallowed
            time.sleep(2)
        process.kill()
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert f"written and whole: {tmp_path / 'out' / 'resolved.toml'}" in errors
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["resolved.toml"]


def test_the_example_is_a_run_file():
    file = Path(__file__).parents[2] / "examples" / "diffusion_machine.toml"
    table = config.load(file, quick=True)
    assert all(table["check"][name] is True for name in ("monotone", "gibbs", "agreement"))


def test_the_demo_in_small(tmp_path, capsys, monkeypatch):
    """The demo's own texts and files, on the system that is compiled already."""
    from relaxsim.cli import demo

    monkeypatch.setattr(demo, "DEMO", RUN + "[check]\nagreement = true\n")
    folder = tmp_path / "demo"
    assert main(["demo", "--out", str(folder), "--seed", "5", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "relaxes to the Gibbs law" in out
    assert "check agreement: passed" in out
    assert f"wrote {folder / 'relaxation.png'}" in out
    assert f"relaxsim run {folder / 'resolved.toml'}" in out
    assert "seed = 5" in (folder / "resolved.toml").read_text()
    assert main(["demo", "--out", str(folder), "--quick", "--seed", "5", "--debug"]) == 0
    monkeypatch.setattr(demo, "DEMO", RUN + "[check]\ngibbs = true\n")
    assert main(["demo", "--out", str(folder), "--quick", "--seed", "5"]) == 1
    assert "run relaxsim doctor" in capsys.readouterr().out


# ---- checkpoints


def interrupted(run_file, folder, monkeypatch, *more):
    """A run that is interrupted when it is to write its second checkpoint."""
    from relaxsim.particles.checkpoint import Checkpoint

    def interrupt(self, state):
        self.write(state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "visit", interrupt)
        assert run(run_file, "--out", str(folder), "--set", "particles.checkpoint_every=60", *more) == 130


def test_a_run_goes_on_from_its_checkpoint(run_file, tmp_path, monkeypatch, capsys):
    resumed, whole = tmp_path / "resumed", tmp_path / "whole"
    interrupted(run_file, resumed, monkeypatch)
    assert (resumed / "checkpoint.npz").is_file()
    assert run(run_file, "--out", str(resumed), "--resume", "--set", "particles.checkpoint_every=1") == 0
    assert "resumed" in capsys.readouterr().out
    assert not list(resumed.glob("*checkpoint*"))  # the results are there
    seed = tomllib.loads((resumed / "resolved.toml").read_text())["particles"]["seed"]
    assert run(run_file, "--out", str(whole), "--set", f"particles.seed={seed}") == 0
    with np.load(resumed / "results.npz") as one, np.load(whole / "results.npz") as two:
        assert one.files == two.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["particles.n=1999"], "n_particles is 2000 in the checkpoint, not 1999"),
        (["particles.seed=3"], "rng is "),
        (["system.params={a = 1.1}"], "is not the one of the file: its E at"),
        (["particles.scheme=heun"], "not of 'heun'"),
        (["initial.mean=0.5"], "initial is law = "),
    ],
)
def test_a_checkpoint_of_another_file_is_refused(run_file, tmp_path, monkeypatch, capsys, settings, message):
    interrupted(run_file, tmp_path / "out", monkeypatch)
    capsys.readouterr()
    more = [argument for setting in settings for argument in ("--set", setting)]
    assert message in refused(capsys, run_file, "--out", tmp_path / "out", "--resume", *more)
    assert (tmp_path / "out" / "checkpoint.npz").is_file()


def test_a_run_that_has_not_ended_is_not_begun_again(run_file, tmp_path, monkeypatch, capsys):
    interrupted(run_file, tmp_path / "out", monkeypatch)
    settings = (tmp_path / "out" / "resolved.toml").read_text()
    capsys.readouterr()
    more = ["--set", "particles.checkpoint_every=60"]
    assert "relaxsim run --resume" in refused(capsys, run_file, "--out", tmp_path / "out", *more)
    assert (tmp_path / "out" / "resolved.toml").read_text() == settings


def test_there_must_be_a_checkpoint_to_resume(run_file, tmp_path, capsys):
    assert "--resume: there is no " in refused(capsys, run_file, "--out", tmp_path / "out", "--resume")


@pytest.mark.parametrize("setting", ["density.step=0.07", "density.method=separabel", "density.method=krylov"])
def test_a_refused_run_leaves_no_folder_of_its_own(run_file, tmp_path, capsys, setting):
    """Krylov takes no step, which is found late."""
    refused(capsys, run_file, "--out", tmp_path / "out", "--set", setting)
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    refused(capsys, run_file, "--out", tmp_path / "mine", "--set", setting)
    assert (tmp_path / "mine").is_dir()  # it was there before
