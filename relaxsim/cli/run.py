"""``relaxsim run``: carry out a resolved configuration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relaxsim.cli import build, checks, config, report, toml_writer
from relaxsim.errors import ConfigError

Table = dict[str, Any]

RESULTS = ("relaxation.csv", "results.npz", "relaxation.png", "density.png", "trajectories.png")


CHECKPOINT = "checkpoint.npz"


def run_file(file: str, out: str | None, quick: bool, settings: list[str], resume: bool = False) -> int:
    """Run a TOML file, or go on with a run of it that was killed.

    Returns
    -------
    int
        0, or 1 if a check failed.
    """
    folder = Path(out) if out is not None else Path(f"{Path(file).stem}-results")
    if resume:
        settings = settings + seed_of_checkpoint(file, settings, folder / CHECKPOINT)
    return execute(config.load(file, settings, quick), folder, resume)


def seed_of_checkpoint(file: str, settings: list[str], checkpoint: Path) -> list[str]:
    """The setting of the seed that a run drew for itself, where neither the file nor the settings have one."""
    from relaxsim.particles.checkpoint import read_checkpoint

    if not checkpoint.is_file():
        raise ConfigError(
            f"--resume: there is no {checkpoint}; a run makes it with particles.checkpoint_every = 60, and removes it "
            "when its results are written"
        )
    particles = config.read(file).get("particles")
    given = isinstance(particles, dict) and "seed" in particles
    if given or any(setting.partition("=")[0].strip() == "particles.seed" for setting in settings):
        return []
    return [f"particles.seed={read_checkpoint(checkpoint, arrays=False).about['configuration']['seed']}"]


def execute(resolved: Table, folder: Path, resume: bool = False) -> int:
    """Run a resolved configuration, write its results to a folder, print what came out."""
    written: list[Path] = []
    try:
        with removed_if_refused(folder):
            make_folder(folder)
            work = prepare(resolved)
            with restored_if_refused(folder / "resolved.toml"):
                written.append(write_settings(resolved, folder))
                paths = compute(resolved, work, folder / CHECKPOINT, resume)
        records = measure(resolved, paths)
        print(f"\n{report.table(records)}\n")
        print(f"wrote {written[0]}")
        for path in write(resolved, folder, paths, records):
            written.append(path)
            print(f"wrote {path}")
        remove_stale(folder, written)
        if resume or "checkpoint_every" in resolved.get("particles", {}):
            remove_checkpoint(folder / CHECKPOINT)
    except KeyboardInterrupt:
        kept = [folder / CHECKPOINT] if (folder / CHECKPOINT).is_file() else []
        raise KeyboardInterrupt(*written, *kept) from None
    verdicts = checks.make(resolved["check"], paths, records)
    for verdict in verdicts:
        print(verdict)
    return 1 if any(verdict.passed is False for verdict in verdicts) else 0


def make_folder(folder: Path) -> None:
    """Make the folder for results; one that exists is used again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be made ({error.strerror}); choose another folder") from None


@contextmanager
def removed_if_refused(folder: Path) -> Iterator[None]:
    """Remove the folder for results again when bad input is found, if it was made for them and is empty."""
    new = not folder.exists()
    try:
        yield
    except ValueError:
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise


@dataclass(frozen=True)
class Work:
    """What a run computes with: made, and so accepted, before the first long computation."""

    system: Any
    initial: Any
    times: Any
    equation: Any = None  # the Fokker-Planck equation and the cell masses that it starts from
    masses: Any = None


def prepare(resolved: Table) -> Work:
    """Make everything that can refuse the configuration."""
    import relaxsim as rs
    from relaxsim.density.stepping import steps_per_interval

    system = build.make_system(resolved)
    initial, times = build.make_initial(resolved), build.make_times(resolved)
    if "density" not in resolved:
        return Work(system, initial, times)
    table = resolved["density"]
    grid = build.make_grid(system, table, None if resolved["initial"]["kind"] == "gibbs" else initial, times)
    equation = rs.FokkerPlanck(system, grid)
    # a path of one time goes through all that `evolve` checks, and builds the generator that is used again
    masses = equation.evolve(initial, times[:1], table["method"], step=table.get("step"), tol=table.get("tol")).mass[0]
    if "step" in table:
        steps_per_interval(np.diff(times), table["step"])
    return Work(system, initial, times, equation, masses)


def compute(resolved: Table, work: Work, checkpoint: Path, resume: bool) -> Table:
    """Simulate the ensemble and evolve the density, whichever are asked for."""
    times = work.times
    paths: Table = {}
    if "particles" in resolved:
        table = resolved["particles"]
        about = f"to t = {times[-1]:g}, dt = {table['dt']:g}, seed {table['seed']}"
        with stage(f"ensemble: {table['n']} particles {about}{', resumed' if resume else ''}"):
            paths["ensemble"] = simulate(table, work, checkpoint, resume)
    if work.equation is not None:
        table = resolved["density"]
        with stage(f"density:  {' x '.join(map(str, work.equation.grid.shape))} cells to t = {times[-1]:g}"):
            paths["density"] = work.equation.evolve(
                work.masses, times, table["method"], step=table.get("step"), tol=table.get("tol")
            )
    return paths


def simulate(table: Table, work: Work, checkpoint: Path, resume: bool) -> Any:
    """Run the ensemble, or go on with it; what the file says must agree with the checkpoint."""
    import relaxsim as rs

    same = {
        "n_particles": table["n"], "dt": table["dt"], "times": work.times, "rng": table["seed"],
        "scheme": table["scheme"], "store": table["store"],
    }  # fmt: skip
    every = table.get("checkpoint_every")
    if resume:
        more: Table = {"initial": work.initial, "threads": table.get("threads"), "checkpoint_every": every}
        return rs.resume(checkpoint, work.system, **more, **same)
    kept = {} if every is None else {"checkpoint": checkpoint, "checkpoint_every": every}
    return rs.simulate(work.system, work.initial, threads=table.get("threads"), **same, **kept)


def remove_checkpoint(checkpoint: Path) -> None:
    """The results are written: the checkpoint has done its work."""
    from relaxsim.particles.checkpoint import remove

    remove(checkpoint)


def measure(resolved: Table, paths: Table) -> Table:
    """Track each path; the density also on the ensemble's bins, where the two can be compared."""
    import relaxsim as rs

    with stage("measuring F, U, S and KL"):
        groups = checks.groups_for(resolved["check"])
        records = {name: rs.track(path, groups=groups) for name, path in paths.items()}
        comparable = len(paths) == 2 and len(paths["ensemble"].times) == len(paths["density"].times)
        if comparable and records["ensemble"].bins is not None:
            records["binned"] = rs.track(paths["density"], like=records["ensemble"])
    return records


def write_settings(resolved: Table, folder: Path) -> Path:
    """Write resolved.toml: first, so that the seed of a run that dies is known."""
    import relaxsim as rs

    comment = f"Written by relaxsim {rs.__version__}. Runs again to the same numbers: relaxsim run resolved.toml"
    return report.write_text(folder / "resolved.toml", toml_writer.dumps(resolved, comment))


@contextmanager
def restored_if_refused(path: Path) -> Iterator[None]:
    """Put a file back as it was when bad input is found late, so that earlier results keep their settings."""
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    except ValueError:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            report.write_text(path, before.decode("utf-8"))
        raise


def remove_stale(folder: Path, written: list[Path]) -> None:
    """Remove the results of an earlier run that this one did not replace: they do not belong to its settings."""
    for name in RESULTS:
        if folder / name not in written:
            (folder / name).unlink(missing_ok=True)


def write(resolved: Table, folder: Path, paths: Table, records: Table) -> Iterator[Path]:
    """Write the files one after the other, and say which."""
    from relaxsim.storage import save_npz

    own = [records[name] for name in paths]
    yield report.write_text(folder / "relaxation.csv", report.relaxation_csv(own))
    found = report.arrays(resolved["output"]["arrays"], paths, records)
    if resolved["output"]["arrays"]:
        yield save_npz(folder / "results.npz", **found)
    for name, draw in report.figures(resolved["output"], paths, records).items():
        yield report.write_figure(folder / f"{name}.png", draw())


@contextmanager
def stage(text: str) -> Iterator[None]:
    """Announce a stage, and its duration when it is over."""
    print(f"{text} ... ", end="", flush=True)
    start = time.perf_counter()
    try:
        yield
    except BaseException:
        print(flush=True)  # the message that follows starts a line of its own
        raise
    print(f"{time.perf_counter() - start:.1f} s", flush=True)
