"""What a run leaves behind: a table on the terminal, and files that appear whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from relaxsim.functionals import Relaxation

_ROWS = 11  # the start and ten later times
_QUANTITIES = {"F": "free_energy", "U": "energy", "S": "entropy", "KL": "kl"}


def table(records: dict[str, Relaxation]) -> str:
    """Lay out F and KL at ten times; with ensemble and density also their difference in standard errors.

    F and KL differ by a constant and the factor T, so that one column of differences serves both.
    """
    ensemble = records.get("ensemble")
    density = records.get("binned", records.get("density"))
    if ensemble is not None and density is not None:
        return _comparison(ensemble, density)
    record = ensemble if ensemble is not None else density
    assert record is not None
    rows = [
        f"{record.times[k]:8.4g} {record.free_energy[k]:12.5f} {record.free_energy_stderr[k]:9.1g} "
        f"{record.kl[k]:12.5f} {record.kl_stderr[k]:9.1g}"
        for k in _rows(len(record.times))
    ]
    return "\n".join([f"{'time':>8} {'F':>12} {'+-':>9} {'KL':>12} {'+-':>9}", *rows])


def _comparison(ensemble: Relaxation, density: Relaxation) -> str:
    columns = f"{'ensemble':>11} {'density':>11} {'+-':>7}"
    lines = [
        f"{'':8}  {'free energy F':^31}  {'KL to the Gibbs law':^31}",
        f"{'time':>8}  {columns}  {columns}  {'diff/se':>7}",
    ]
    for k in _rows(len(ensemble.times)):
        cells = [f"{ensemble.times[k]:8.4g}"]
        for name in ("free_energy", "kl"):
            micro, macro = float(getattr(ensemble, name)[k]), float(getattr(density, name)[k])
            error = float(getattr(ensemble, name + "_stderr")[k])
            cells.append(f"{micro:11.5f} {macro:11.5f} {error:7.1g}")
        score = f"{(micro - macro) / error:+7.1f}" if error > 0 else f"{'-':>7}"  # of KL, and of F all the same
        cells.append(score)
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _rows(count: int) -> list[int]:
    return sorted({round(k) for k in np.linspace(0, count - 1, min(_ROWS, count))})


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    from relaxsim.storage import write_atomic

    return write_atomic(path, lambda stream: stream.write(text.encode("utf-8")))


def write_figure(path: Path, figure: Figure) -> Path:
    """Write a PNG atomically."""
    from relaxsim.storage import write_atomic

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return write_atomic(path, lambda stream: stream.write(buffer.getvalue()))


def relaxation_csv(records: Sequence[Relaxation]) -> str:
    """Lay out all records as CSV in long form: one line for each path and time, with standard errors."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["path", "time", *_QUANTITIES, *(f"{name}_stderr" for name in _QUANTITIES)])
    for record in records:
        columns = [record.times]
        columns += [getattr(record, name) for name in _QUANTITIES.values()]
        columns += [getattr(record, name + "_stderr") for name in _QUANTITIES.values()]
        for row in np.column_stack(columns):
            writer.writerow([record.label, *(repr(float(value)) for value in row)])
    return buffer.getvalue()


def arrays(wanted: Sequence[str], paths: dict[str, Any], records: dict[str, Relaxation]) -> dict[str, Any]:
    """Collect what ``results.npz`` holds: the relaxations, and the final or all states."""
    found: dict[str, Any] = {}
    for name, path in paths.items():
        found[f"{name}_times"] = np.asarray(path.times)
        states = "positions" if name == "ensemble" else "mass"
        if "all" in wanted:
            found[f"{name}_{states}"] = np.asarray(getattr(path, states))
        elif "final" in wanted:
            found[f"{name}_final_{states}"] = np.asarray(getattr(path, states))[-1]
        if "relaxation" in wanted:
            for letter, quantity in _QUANTITIES.items():
                found[f"{name}_{letter}"] = getattr(records[name], quantity)
                found[f"{name}_{letter}_stderr"] = getattr(records[name], quantity + "_stderr")
    if "density" in paths and {"all", "final"} & set(wanted):
        for axis, edges in enumerate(paths["density"].grid.edges):
            found[f"density_edges_{axis}"] = np.asarray(edges)
    return found


def figures(
    output: dict[str, Any], paths: dict[str, Any], records: dict[str, Relaxation]
) -> dict[str, Callable[[], Figure]]:
    """Name the figures that are asked for and can be drawn, each with the call that draws it."""
    from relaxsim import plotting

    ensemble, density = paths.get("ensemble"), paths.get("density")
    shown = [records[name] for name in ("ensemble", "binned") if name in records] or [records["density"]]
    if "binned" not in records and "ensemble" in records and "density" in records:
        shown.append(records["density"])
    first = next(iter(paths.values()))
    axes = (0, 1) if first.system.dim > 2 else None
    shown_at = output.get("density_at") if len(first.times) > 1 else None  # with the last state alone it is that one
    index = -1 if shown_at is None else int(np.argmin(np.abs(np.asarray(first.times) - shown_at)))
    available: dict[str, Callable[[], Figure]] = {
        "relaxation": lambda: plotting.relaxation(*shown),
        "density": lambda: plotting.density(density, ensemble, index=index, axes=axes),
    }
    if ensemble is not None and len(ensemble.times) > 1:
        available["trajectories"] = lambda: plotting.trajectories(ensemble)
    return {name: available[name] for name in output["plots"] if name in available}
