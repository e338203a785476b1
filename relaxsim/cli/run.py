"""``relaxsim run``: carry out a resolved configuration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relaxsim.cli import build, checks, config, report, toml_writer
from relaxsim.errors import ConfigError

Table = dict[str, Any]


def run_file(file: str, out: str | None, quick: bool, settings: list[str]) -> int:
    """Run a TOML file.

    Returns
    -------
    int
        0, or 1 if a check failed.
    """
    resolved = config.load(file, settings, quick)
    folder = Path(out) if out is not None else Path(f"{Path(file).stem}-results")
    return execute(resolved, folder)


def execute(resolved: Table, folder: Path) -> int:
    """Run a resolved configuration, write its results to a folder, print what came out."""
    make_folder(folder)
    paths = compute(resolved)
    records = measure(resolved, paths)
    print(f"\n{report.table(records)}\n")
    for path in write(resolved, folder, paths, records):
        print(f"wrote {path}")
    verdicts = checks.make(resolved["check"], paths, records)
    for verdict in verdicts:
        print(verdict)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def make_folder(folder: Path) -> None:
    """Make the folder for results; one that exists is used again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be made ({error.strerror}); choose another folder") from None


def compute(resolved: Table) -> Table:
    """Simulate the ensemble and evolve the density, whichever are asked for."""
    import relaxsim as rs

    system = build.make_system(resolved)
    initial, times = build.make_initial(resolved), build.make_times(resolved)
    paths: Table = {}
    grid = build.make_grid(system, resolved["density"]) if "density" in resolved else None
    if "particles" in resolved:
        table = resolved["particles"]
        about = f"to t = {times[-1]:g}, dt = {table['dt']:g}, seed {table['seed']}"
        with stage(f"ensemble: {table['n']} particles {about}"):
            paths["ensemble"] = rs.simulate(
                system, initial, n_particles=table["n"], dt=table["dt"], times=times, scheme=table["scheme"],
                rng=table["seed"], threads=table.get("threads"), store=table["store"],
            )  # fmt: skip
    if grid is not None:
        table = resolved["density"]
        with stage(f"density:  {' x '.join(map(str, grid.shape))} cells to t = {times[-1]:g}"):
            paths["density"] = rs.FokkerPlanck(system, grid).evolve(
                initial, times, table["method"], step=table.get("step"), tol=table["tol"]
            )
    return paths


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


def write(resolved: Table, folder: Path, paths: Table, records: Table) -> Iterator[Path]:
    """Write the files one after the other, and say which."""
    import relaxsim as rs
    from relaxsim.storage import save_npz

    comment = f"Written by relaxsim {rs.__version__}. Runs again to the same numbers: relaxsim run resolved.toml"
    yield report.write_text(folder / "resolved.toml", toml_writer.dumps(resolved, comment))
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
