"""From a resolved configuration to a system, an initial law, times and a grid."""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from relaxsim.cli.config import as_error
from relaxsim.errors import ConfigError

if TYPE_CHECKING:
    import relaxsim

Array = npt.NDArray[np.float64]
Table = dict[str, Any]

_DRAWS = 4096  # positions of the initial law that show where it lies
_FEWEST = 16  # cells that a widened grid keeps across the box of the Gibbs law


class Named:
    """Build the pieces of a configuration, and collect what they refuse under the name of their key."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.first: Exception | None = None

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except (ValueError, TypeError) as error:
            self.problems.append(_prefixed(name, str(error)))
            self.first = self.first or error
            return None

    def raise_if_any(self) -> None:
        if self.problems:
            raise as_error(self.problems) from self.first


def _prefixed(name: str, message: str) -> str:
    """Put the dotted key before a message that may begin with its own short name of the argument."""
    leaf = name.rpartition(".")[2]
    if re.match(rf"{leaf}[\[:]", message):
        return name + message.removeprefix(leaf)
    return f"{name}: {message}"


def make_system(config: Table) -> relaxsim.System:
    """Make the system of ``[system]`` and ``[domain]``.

    Raises
    ------
    ConfigError
        What the energy, the mobility or the domain refuse, under the names of their keys.
    """
    import relaxsim as rs

    named = Named()
    table = config["system"]
    params = _shared_params(table, named)
    variables = table.get("variables")
    domain = named("domain", lambda: make_domain(config["domain"])) if "domain" in config else None
    energy = named("system.energy", lambda: _make_energy(table["energy"], params, variables))
    mobility = named("system.mobility", lambda: _make_mobility(table["mobility"], params, variables))
    temperature = named("system.temperature", lambda: _make_temperature(table["temperature"], params))
    named.raise_if_any()
    system: relaxsim.System | None = named("system", lambda: rs.System(energy, mobility, temperature, domain))
    named.raise_if_any()
    assert system is not None
    return system


def _make_energy(text: str, params: dict[str, float], variables: list[str] | None) -> relaxsim.Energy:
    import relaxsim as rs

    return rs.Energy(text, params=_used(params, [text]), variables=variables)


def _make_mobility(given: Any, params: dict[str, float], variables: list[str] | None) -> relaxsim.Mobility:
    import relaxsim as rs

    options: Table
    texts = _texts(given)
    if isinstance(given, dict):
        symmetric, antisymmetric = given["symmetric"], given["antisymmetric"]
        options = {"params": _used(params, _texts(antisymmetric)), "variables": variables}
        return _make_mobility(symmetric, params, variables).with_antisymmetric(antisymmetric, **options)
    if not texts:
        return rs.Mobility.constant(given)
    options = {"params": _used(params, texts), "variables": variables}
    if isinstance(given, list) and isinstance(given[0], list):
        return rs.Mobility.tensor(given, **options)
    return rs.Mobility.diagonal(*(given if isinstance(given, list) else [given]), **options)


def _make_temperature(given: float | str, params: dict[str, float]) -> Any:
    import relaxsim as rs

    return rs.Temperature(given, params=_used(params, [given])) if isinstance(given, str) else given


def _texts(given: Any) -> list[str]:
    """List the expressions in a mobility, however deep."""
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, list):
        return [text for each in given for text in _texts(each)]
    return [given] if isinstance(given, str) else []


def _used(params: dict[str, float], texts: list[str]) -> dict[str, float]:
    """Pick the parameters that occur in some texts: [system.params] serves all of the system."""
    words = {word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)}
    return {name: value for name, value in params.items() if name in words}


def _shared_params(table: Table, named: Named) -> dict[str, float]:
    params: dict[str, float] = table.get("params", {})
    used = _used(params, [table["energy"], *_texts(table["mobility"]), *_texts(table["temperature"])])
    for name in params:
        if name not in used:
            named.problems.append(f"system.params.{name}: occurs in none of energy, mobility and temperature; drop it")
    return params


def make_domain(table: Table) -> relaxsim.Domain | None:
    """Make the domain of ``[domain]``; None leaves it to the energy's dimension."""
    import relaxsim as rs

    if table["kind"] == "hypercube":
        return rs.Domain.hypercube(table["dim"])
    if table["kind"] == "unbounded":
        return rs.Domain.unbounded(table["dim"]) if "dim" in table else None
    options = {"boundary": table["boundary"]} if "boundary" in table else {}
    return rs.Domain(table["bounds"], **options)


def make_initial(config: Table) -> Any:
    """Make the law of ``[initial]``."""
    named = Named()
    law = named("initial", lambda: _make_law(config["initial"]))
    named.raise_if_any()
    return law


def _make_law(table: Table) -> Any:
    from relaxsim import initial

    kind = table["kind"]
    if kind == "normal":
        return initial.normal(table["mean"], table["scale"])
    if kind == "uniform":
        return initial.uniform(table["bounds"]) if "bounds" in table else initial.uniform()
    if kind == "point":
        return initial.point(table["x"])
    if kind == "samples":
        return initial.samples(_read_samples(table) if "file" in table else np.asarray(table["values"], dtype=float))
    if kind == "density":
        return initial.density(table["text"], bounds=table.get("bounds"), params=table.get("params"))
    if kind == "mixture":
        parts = table["components"]
        return initial.mixture([_make_law(part) for part in parts], [part["weight"] for part in parts])
    return initial.gibbs(t=table.get("t"))


def _read_samples(table: Table) -> Array:
    """Read an (n, dim) array from a .npy file (never a pickle) or from columns of numbers."""
    file = Path(table["file"])
    content = file.read_bytes()
    if "sha256" in table and hashlib.sha256(content).hexdigest() != table["sha256"]:
        raise ConfigError(f"{file} has changed since the configuration was resolved")
    if file.suffix == ".npy":
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False), dtype=np.float64)
    delimiter = "," if file.suffix == ".csv" else None
    return np.asarray(np.loadtxt(io.BytesIO(content), delimiter=delimiter, ndmin=2), dtype=np.float64)


def make_times(config: Table) -> Array:
    """Make the stored times of ``[times]``; the first is the initial time."""
    table = config["times"]
    if "values" in table:
        return np.asarray(table["values"], dtype=np.float64)
    return np.linspace(table["start"], table["stop"], table["count"])


def make_grid(system: relaxsim.System, table: Table, law: Any = None, times: Any = (0.0,)) -> relaxsim.Grid:
    """Make the grid of ``[density]``: the given bounds, the domain's box, or a box around the Gibbs laws of all times.

    The last is widened to hold the initial law too, if one is given: what a grid cuts off would make the density
    start from another law than the ensemble.
    """
    import relaxsim as rs
    from relaxsim.functionals.moving import covering

    named = Named()
    grid: relaxsim.Grid | None
    shape = table["shape"] if isinstance(table["shape"], int) else tuple(table["shape"])
    if "bounds" in table or system.domain.bounded:
        options = {"bounds": table["bounds"]} if "bounds" in table else {}
        grid = named("density", lambda: rs.Grid(system.domain, shape, **options))
    else:
        options = {"tail": table["tail"]} if "tail" in table else {}
        grid = named("density", lambda: covering(system, times, shape, **options))
        if grid is not None and law is not None:
            gibbs = grid
            grid = named("initial", lambda: _widened(system, gibbs, law))
    named.raise_if_any()
    assert grid is not None
    return grid


def _widened(system: relaxsim.System, grid: relaxsim.Grid, law: Any) -> relaxsim.Grid:
    """Widen the unbounded axes of a grid around the Gibbs law such that they hold the initial law as well."""
    import relaxsim as rs
    from relaxsim.particles.random import INITIAL, Address

    count = max(_DRAWS, len(getattr(law, "rows", ())))  # of given samples every one counts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself will say what lies outside the domain
        draws = law.sample(system, Address(0, INITIAL, np.arange(count, dtype=np.uint64)))
    bounds = np.array(grid.bounds)
    for axis in range(system.dim):
        if system.domain.boundary[axis] != "unbounded":
            continue
        low, high = grid.bounds[axis]
        first, last, spread = draws[:, axis].min(), draws[:, axis].max(), 3 * draws[:, axis].std()
        margin = max(spread, (high - low) / 4)  # a sharp start spreads to about three deviations of the Gibbs law
        bounds[axis] = (
            first - margin if first - spread < low else low,
            last + margin if last + spread > high else high,
        )
        needed = math.ceil(_FEWEST * (bounds[axis, 1] - bounds[axis, 0]) / (high - low))
        if needed > _FEWEST and grid.shape[axis] < needed:
            raise ConfigError(
                f"the law lies so far outside the Gibbs law that {grid.shape[axis]} cells along axis {axis} from "
                f"{bounds[axis, 0]:.4g} to {bounds[axis, 1]:.4g} are too coarse; raise density.shape to {needed} or "
                "more, move the law, or give density.bounds"
            )
    if np.array_equal(bounds, grid.bounds):
        return grid
    wide = rs.Grid(system.domain, grid.shape, bounds=bounds)
    wide.left_out = grid.left_out
    return wide
