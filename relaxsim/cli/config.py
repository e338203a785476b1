"""From a run file to a resolved configuration: reading, --quick, --set, and the checks that need no numerics.

A resolved configuration is a dictionary of tables without ``[quick]`` in which nothing is left to chance or
to defaults; written as TOML it runs to the same bits.
"""

from __future__ import annotations

import copy
import hashlib
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relaxsim.cli.checkers import Checker, MismatchError, describe
from relaxsim.cli.schema import ABSENT, ALL_TABLES, INITIAL, OPTIONAL_TABLES, REQUIRED, TABLES, Key
from relaxsim.errors import ConfigError
from relaxsim.system.validate import nearest

Table = dict[str, Any]

_MAX_BYTES = 1_000_000  # a run file is typed by hand; data belong in a samples file
_DEPTH = 100  # nesting that Python's TOML reader takes without running out of stack


def load(path: str | Path, settings: Iterable[str] = (), quick: bool = False) -> Table:
    """Read, merge, check and complete a run file.

    Parameters
    ----------
    path : path-like
        The TOML file.
    settings : iterable of str
        ``key=value`` texts of ``--set``, applied last.
    quick : bool
        Whether the table ``[quick]`` overrides the others.

    Returns
    -------
    dict
        The resolved configuration.

    Raises
    ------
    ConfigError
        Everything wrong with the file and the settings, in one message.
    """
    return resolve(read(path), settings, quick, folder=Path(path).resolve().parent)


def read(path: str | Path) -> Table:
    """Read a TOML file into tables, or say why not."""
    file = Path(path)
    try:
        if file.is_dir():
            raise ConfigError(f"{file}: is a folder, expected a TOML file")
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); check the name of the file") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{file}: {len(raw)} bytes, expected at most {_MAX_BYTES}; put data in a samples file")
    try:
        return parse(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text (byte {error.start}); a run file is TOML") from None
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def parse(text: str) -> Table:
    """Parse TOML text."""
    if text.count("[") > _DEPTH and any("[" * _DEPTH in "".join(line.split()) for line in text.splitlines()):
        raise ConfigError(f"not valid TOML for relaxsim: lists nested {_DEPTH} deep")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        said = str(error) or type(error).__name__
        hint = "; texts such as energies stand in quotes" if "Invalid value" in said else ""
        raise ConfigError(f"not valid TOML: {said}{hint}") from None


def resolve(tables: Table, settings: Iterable[str] = (), quick: bool = False, folder: Path | None = None) -> Table:
    """Apply ``[quick]`` and ``--set`` to parsed tables, check everything, fill in defaults and the seed."""
    tables = _domain_on_top(copy.deepcopy(tables))
    overrides = tables.pop("quick", {})
    if not isinstance(overrides, dict):
        raise ConfigError(f"quick: got {describe(overrides)}, expected a table of overrides, such as [quick.particles]")
    overrides = _domain_on_top(overrides)
    chosen = [_parse_setting(text) for text in settings]
    plain, fast = copy.deepcopy(tables), merge(tables, overrides)
    for config in (plain, fast):
        for keys, value in chosen:
            _apply_setting(config, keys, value)
    problems = _Checked(plain).problems
    if overrides:
        # the overrides are checked on every run: a mistake in them should not wait for the next --quick
        problems += [f"with --quick: {each}" for each in _Checked(fast).problems if each not in problems]
    if problems:
        raise as_error(problems)
    return _complete(_Checked(fast if quick else plain).clean, folder)


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> Table:
    """Lay tables over tables, key by key; everything but tables is replaced as a whole."""
    merged = dict(base)
    for key, value in overrides.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def as_error(problems: list[str]) -> ConfigError:
    """What is raised for problems, all of them in one message."""
    if len(problems) == 1:
        return ConfigError(problems[0])
    lines = "\n".join(f"  {number}. {each}" for number, each in enumerate(problems, 1))
    return ConfigError(f"{len(problems)} problems with the configuration:\n{lines}")


def _domain_on_top(tables: Table) -> Table:
    """Move [system.domain], which reads well in a file, to [domain], where the rest of the code looks."""
    system = tables.get("system")
    if not isinstance(system, dict) or "domain" not in system:
        return tables
    if "domain" in tables:
        raise ConfigError("domain: given twice, as [domain] and [system.domain]; keep one of them")
    rest = {key: value for key, value in system.items() if key != "domain"}
    return {**tables, "system": rest, "domain": system["domain"]}


def _parse_setting(text: str) -> tuple[list[str], Any]:
    """Split ``a.b=value``; the value is TOML, or text where it is none."""
    name, equals, value = text.partition("=")
    keys = [part.strip() for part in name.split(".")]
    if not equals or not all(keys):
        raise ConfigError(f"--set {text!r}: expected key=value with a dotted key, such as --set particles.n=1000")
    if keys[0] == "quick":
        raise ConfigError(
            f"--set {text!r}: [quick] holds overrides itself; set {'.'.join(keys[1:]) or 'the key'} instead"
        )
    if keys[:2] == ["system", "domain"]:
        keys = keys[1:]
    try:
        parsed = parse(f"value = {value}")
    except ConfigError:
        return keys, value.strip()  # an expression such as x**2/2 need not be quoted twice
    if set(parsed) != {"value"}:
        raise ConfigError(f"--set {text!r}: expected one value, got several lines")
    return keys, parsed["value"]


def _apply_setting(config: Table, keys: list[str], value: Any) -> None:
    table = config
    for depth, key in enumerate(keys[:-1]):
        below = table.setdefault(key, {})
        if not isinstance(below, dict):
            name = ".".join(keys[: depth + 1])
            raise ConfigError(f"--set {'.'.join(keys)}: {name} is {describe(below)}, not a table")
        table = below
    table[keys[-1]] = value


class _Checked:
    """A configuration held against the schema: clean values, and all problems with their dotted names."""

    def __init__(self, config: Table) -> None:
        self.problems: list[str] = []
        self.clean: Table = {}
        for name in config:
            if name not in ALL_TABLES:
                within = [table for table, keys in TABLES.items() if name in keys]
                hint = f"; did you mean {within[0]}.{name}?" if within else nearest(name, ALL_TABLES) or "."
                self.add(name, f"unknown table{hint} Known are {', '.join(ALL_TABLES)}")
        for name, keys in TABLES.items():
            if name in config:
                self.clean[name] = self.table(name, config[name], keys)
            elif name not in OPTIONAL_TABLES:
                self.add(name, f"missing; add a table [{name}]")
        if "initial" in config:
            self.clean["initial"] = self.law("initial", config["initial"])
        else:
            self.add("initial", 'missing; add a table [initial], such as kind = "normal", mean = 0.0, scale = 1.0')
        self.between_keys(config)

    def add(self, name: str, message: str) -> None:
        self.problems.append(f"{name}: {message}")

    def table(self, name: str, given: Any, keys: Mapping[str, Key]) -> Table:
        """Check one table against its keys."""
        if not isinstance(given, dict):
            self.add(name, f"got {describe(given)}, expected a table [{name}]")
            return {}
        for key in given:
            if key not in keys:
                known = ", ".join(keys) or "none"
                self.add(f"{name}.{key}", f"unknown key{nearest(key, keys) or '.'} Known in [{name}]: {known}")
        clean: Table = {}
        for key, rule in keys.items():
            if key in given:
                self.value(f"{name}.{key}", given[key], rule.checker, clean, key)
            elif rule.default is REQUIRED:
                self.add(f"{name}.{key}", f"missing, expected {rule.checker.expected}")
            elif rule.default is not ABSENT:
                clean[key] = copy.deepcopy(rule.default)
        return clean

    def value(self, name: str, given: Any, checker: Checker, clean: Table, key: str) -> None:
        try:
            clean[key] = checker.convert(given)
        except MismatchError as mismatch:
            more = f" ({mismatch})" if str(mismatch) else ""
            self.add(name, f"got {describe(given)}, expected {checker.expected}{more}")

    def law(self, name: str, given: Any, weighted: bool = False) -> Table:
        """Check an initial law; its keys depend on its kind."""
        if not isinstance(given, dict):
            self.add(name, f'got {describe(given)}, expected a table with kind = "normal", ...')
            return {}
        kind = given.get("kind")
        if not isinstance(kind, str) or kind not in INITIAL:
            hint = nearest(kind, INITIAL) if isinstance(kind, str) else ""
            got = "missing" if kind is None else f"got {describe(kind)}"
            self.add(f"{name}.kind", f"{got}{hint or '.'} Expected one of {', '.join(INITIAL)}")
            return {}
        extra = {"kind", "weight"} if weighted else {"kind"}
        clean = {"kind": kind, **self.table(name, _without(given, extra), INITIAL[kind])}
        if kind == "samples" and ("file" in given) == ("values" in given):
            self.add(name, "samples need either file or values, got " + ("both" if "file" in given else "none"))
        if kind == "mixture":
            clean["components"] = [
                self.component(f"{name}.components[{number}]", each)
                for number, each in enumerate(clean.get("components", []))
            ]
        return clean

    def component(self, name: str, given: Table) -> Table:
        """Check one law of a mixture, and its weight."""
        law = self.law(name, given, weighted=True)
        weight = given.get("weight")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
            self.add(
                f"{name}.weight",
                f"got {describe(weight) if weight is not None else 'none'}, expected a positive number",
            )
            return law
        return {**law, "weight": float(weight)}

    def between_keys(self, config: Table) -> None:
        """Check what one key alone cannot tell."""
        times = self.clean.get("times", {})
        span = "stop" in times or "count" in times
        if "times" in config and span == ("values" in times) and not self.about("times"):
            self.add("times", "give either stop and count, or values")
        elif span and not ("stop" in times and "count" in times) and not self.about("times"):
            self.add("times." + ("count" if "stop" in times else "stop"), "missing, stop and count go together")
        elif span and not self.about("times") and not times["stop"] > times["start"]:
            self.add("times.stop", f"got {times['stop']:g}, expected a time after times.start = {times['start']:g}")
        if "particles" not in config and "density" not in config:
            self.add("particles", "neither [particles] nor [density] is given, so there is nothing to run; add one")
        check = self.clean.get("check", {})
        if check.get("agreement") and not ("particles" in config and "density" in config):
            self.add("check.agreement", "compares ensemble and density; it needs both [particles] and [density]")
        if check.get("agreement") and self.clean.get("particles", {}).get("store") == "final":
            self.add("check.agreement", 'compares every stored time; it needs particles.store = "all"')
        self.pictures(config)
        if "domain" in config and not self.about("domain"):
            self.clean["domain"] = self.domain(self.clean["domain"])

    def pictures(self, config: Table) -> None:
        """Check that what is to be drawn will be there."""
        output, particles = self.clean.get("output", {}), self.clean.get("particles", {})
        final = particles.get("store") == "final"
        if "trajectories" in output.get("plots", []) and "particles" not in config:
            self.add("output.plots", '"trajectories" needs [particles]; add the table or drop the plot')
        elif "trajectories" in output.get("plots", []) and final:
            self.add("output.plots", '"trajectories" needs particles.store = "all"')
        if "density_at" not in output or "times" not in config or self.about("times"):
            return
        given, times = output["density_at"], self.clean["times"]
        stored = np.asarray(times.get("values") or np.linspace(times["start"], times["stop"], times["count"]))
        stored = stored[-1:] if final else stored  # ensemble and density are drawn at the same time
        nearby = float(stored[np.argmin(np.abs(stored - given))])
        if abs(nearby - given) > 1e-9 * max(float(np.max(np.abs(stored))), 1e-300):
            why = 'particles.store = "final" keeps the last one only; ' if final else ""
            self.add("output.density_at", f"got {given:g}, expected a stored time; {why}the nearest is {nearby:.10g}")

    def domain(self, domain: Table) -> Table:
        """Settle the kind of the domain, and check that the keys fit it."""
        kind = domain.get("kind", "box" if "bounds" in domain else "unbounded")
        needed = {"box": {"bounds"}, "hypercube": {"dim"}, "unbounded": set[str]()}[kind]
        allowed = {"box": {"bounds", "boundary"}, "hypercube": {"dim"}, "unbounded": {"dim"}}[kind]
        for key in sorted(needed - set(domain)):
            self.add(f"domain.{key}", f'missing; kind = "{kind}" needs it')
        for key in sorted(set(domain) - allowed - {"kind"}):
            self.add(f"domain.{key}", f'not used by kind = "{kind}"; drop it or choose another kind')
        return {"kind": kind, **_without(domain, {"kind"})}

    def about(self, table: str) -> bool:
        """Tell whether a problem with that table is known already."""
        return any(each.startswith((f"{table}.", f"{table}:")) for each in self.problems)


def _without(table: Table, names: set[str]) -> Table:
    return {key: value for key, value in table.items() if key not in names}


def _complete(clean: Table, folder: Path | None) -> Table:
    """Settle what was left open: the seed, the plots, the domain's kind, and where the samples are."""
    for name in ("output", "check"):
        clean.setdefault(name, _Checked({name: {}}).clean[name])
    clean["output"].setdefault("plots", ["relaxation", "density"])
    if "values" in clean["times"]:
        clean["times"].pop("start", None)
    if "particles" in clean:
        clean["particles"].setdefault("seed", secrets.randbits(63))  # TOML promises signed 64-bit integers only
    _settle_samples(clean["initial"], folder or Path())
    # one order whatever was given, so that equal configurations are equal files
    for name in TABLES.keys() & clean.keys():
        clean[name] = {key: clean[name][key] for key in TABLES[name] if key in clean[name]}
    order = ["system", "domain", "initial", *TABLES]
    return {name: clean[name] for name in dict.fromkeys(order) if name in clean}


def _settle_samples(law: Table, folder: Path) -> None:
    """Make sample files absolute and note their content, so that the resolved file means the same data."""
    for component in law.get("components", []):
        _settle_samples(component, folder)
    if "file" not in law:
        return
    file = (folder / law["file"]).resolve()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"initial.file: {file} cannot be read ({error.strerror})") from None
    digest = hashlib.sha256(content).hexdigest()
    if law.get("sha256", digest) != digest:
        raise ConfigError(f"initial.sha256: {file} has changed, its sha256 is {digest}; drop the key to accept it")
    law.update(file=str(file), sha256=digest)
