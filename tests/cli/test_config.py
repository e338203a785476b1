"""Run files: what is read, merged, refused and filled in. Nothing here computes."""

from __future__ import annotations

import copy
import hashlib

import pytest

from relaxsim.cli import config
from relaxsim.cli.toml_writer import dumps
from relaxsim.errors import ConfigError

pytestmark = pytest.mark.nojit

GOOD = """
[system]
energy = "x**2/2"
temperature = 1
[initial]
kind = "normal"
mean = 1.0
scale = 0.5
[times]
stop = 1.0
count = 3
[particles]
n = 1e3
dt = 0.01
"""


def good():
    return config.parse(GOOD)


def refused(tables, *settings, quick=False):
    with pytest.raises(ConfigError) as caught:
        config.resolve(tables, settings, quick)
    return str(caught.value)


def test_defaults_and_seed_are_filled_in():
    resolved = config.resolve(good())
    assert resolved["system"] == {"energy": "x**2/2", "mobility": 1.0, "temperature": 1.0}
    assert resolved["particles"]["n"] == 1000
    assert isinstance(resolved["particles"]["n"], int)
    assert resolved["particles"]["scheme"] == "auto"
    assert 0 <= resolved["particles"]["seed"] < 2**63
    assert resolved["output"]["plots"] == ["relaxation", "density"]
    assert resolved["check"]["monotone"] is False
    assert "threads" not in resolved["particles"]


def test_a_drawn_seed_differs_from_run_to_run():
    assert config.resolve(good())["particles"]["seed"] != config.resolve(good())["particles"]["seed"]


def test_a_resolved_configuration_resolves_to_itself():
    resolved = config.resolve(good(), ["domain.kind=unbounded", "density.shape=64"])
    assert config.resolve(config.parse(dumps(resolved))) == resolved


def test_the_input_is_left_alone():
    tables = {**good(), "quick": {"particles": {"n": 10}}}
    before = copy.deepcopy(tables)
    config.resolve(tables, ["particles.n=5"], quick=True)
    assert tables == before


def test_quick_overrides_key_by_key_and_set_wins():
    tables = {**good(), "quick": {"particles": {"n": 10}, "times": {"count": 2}}}
    assert config.resolve(tables)["particles"]["n"] == 1000
    quick = config.resolve(tables, quick=True)
    assert (quick["particles"]["n"], quick["particles"]["dt"], quick["times"]["count"]) == (10, 0.01, 2)
    assert config.resolve(tables, ["particles.n=7"], quick=True)["particles"]["n"] == 7


def test_quick_may_change_the_kind_of_a_list():
    tables = {**good(), "quick": {"system": {"mobility": [2.0]}}}
    assert config.resolve(tables, quick=True)["system"]["mobility"] == [2.0]


@pytest.mark.parametrize(
    ("setting", "table", "key", "value"),
    [
        ("particles.n=2000", "particles", "n", 2000),
        ("particles.dt = 1e-3", "particles", "dt", 1e-3),
        ('system.energy="x**4"', "system", "energy", "x**4"),
        ("system.energy=x**4 + 1", "system", "energy", "x**4 + 1"),
        ("system.domain.bounds=[[-1, 1]]", "domain", "bounds", [[-1.0, 1.0]]),
        ("times.stop=2", "times", "stop", 2.0),
        ("check.monotone=1e-4", "check", "monotone", 1e-4),
    ],
)
def test_set(setting, table, key, value):
    assert config.resolve(good(), [setting])[table][key] == value


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("particles.n", ["particles.n", "expected key=value"]),
        ("=3", ["expected key=value"]),
        ("particles..n=3", ["expected key=value"]),
        ("particles.n=many", ["particles.n", "'many' (text)", "expected an integer >= 1"]),
        ("particles.n=1\nx = 2", ["one value"]),
        ("particles.n.deep=3", ["particles.n", "not a table"]),
        ("quick.particles.n=3", ["set particles.n instead"]),
        ("particle.n=3", ["unknown table", "did you mean 'particles'"]),
        ("temperature=2", ["unknown table", "did you mean system.temperature?"]),
    ],
)
def test_bad_set(setting, words):
    message = refused(good(), setting)
    for word in words:
        assert word in message


def with_value(dotted, value):
    tables = good()
    *path, last = dotted.split(".")
    table = tables
    for part in path:
        table = table.setdefault(part, {})
    table[last] = value
    return tables


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("system.temprature", 1.0, ["system.temprature", "unknown key", "did you mean 'temperature'?"]),
        ("systm", {}, ["systm: unknown table", "did you mean 'system'?"]),
        ("system.temperature", 0.0, ["system.temperature", "0.0 (a number)", "positive"]),
        ("system.temperature", -1, ["-1 (an integer)", "positive"]),
        ("system.temperature", float("nan"), ["nan", "positive"]),
        ("system.temperature", True, ["true (true/false)"]),
        ("system.energy", 3, ["system.energy", "expected text"]),
        ("system.energy", " ", ["system.energy"]),
        ("system.mobility", [1.0, [2.0]], ["system.mobility", "item 1"]),
        ("system.mobility", True, ["system.mobility", "a finite number, or text"]),
        ("system.params", {"a": "b"}, ["system.params", "a is 'b' (text)"]),
        ("domain", {"bounds": [[0, 1, 2]]}, ["domain.bounds", "pairs"]),
        ("domain", {"boundary": "periodic"}, ["domain.boundary", "not used by kind"]),
        ("domain", {"kind": "hypercube"}, ["domain.dim: missing"]),
        ("domain", {"bounds": [[0, 1]], "boundary": "periodik"}, ["did you mean 'periodic'?"]),
        ("domain", {"bounds": [[0, 1]], "boundary": "absorbing"}, ["domain.boundary", "absorbing walls do not have"]),
        ("domain", {"bounds": [[0, 1]], "boundary": [["absorbing", "periodic"]]}, ["use FokkerPlanck(system"]),
        ("initial", {"kind": "norml"}, ["initial.kind", "did you mean 'normal'?"]),
        ("initial", {"kind": "normal", "mean": 0.0}, ["initial.scale: missing"]),
        ("initial", {"kind": "point", "x": 0.0, "scale": 1.0}, ["initial.scale: unknown key"]),
        ("initial", {"kind": "samples"}, ["either file or values, got none"]),
        ("initial", {"kind": "mixture", "components": []}, ["initial.components"]),
        ("initial", {"kind": "mixture", "components": [{"kind": "gibbs"}]}, ["components[0].weight"]),
        ("initial", 3, ["initial", "expected a table"]),
        ("times", {"stop": 1.0}, ["times.count: missing"]),
        ("times", {"stop": 1.0, "count": 3, "values": [0.0]}, ["either stop and count, or values"]),
        ("times", {"stop": -1.0, "count": 3}, ["times.stop", "after times.start"]),
        ("times", {"stop": 1.0, "count": 1}, ["times.count", "an integer >= 2"]),
        ("particles.n", 10.5, ["particles.n", "10.5 (a number)", "an integer >= 1"]),
        ("particles.n", 0, ["particles.n"]),
        ("particles.dt", "small", ["particles.dt", "'small' (text)", "positive"]),
        ("particles.seed", -1, ["particles.seed", "18446744073709551615"]),
        ("particles.store", "none", ["particles.store", '"all", "final"']),
        ("density", {}, ["density.shape: missing"]),
        ("density", {"shape": [0]}, ["density.shape", "item 0"]),
        ("output", {"plots": ["relaxtion"]}, ["output.plots", "did you mean 'relaxation'?"]),
        ("check", {"monotone": 2}, ["check.monotone", "between 0 and 1"]),
        ("check", {"agreement": True}, ["check.agreement", "needs both"]),
        ("quick", 3, ["quick", "expected a table"]),
        ("quick", {"particles": {"m": 3}}, ["with --quick: particles.m", "unknown key"]),
    ],
)
def test_bad_values_are_named(name, value, words):
    message = refused(with_value(name, value))
    for word in words:
        assert word in message


@pytest.mark.parametrize("table", ["system", "initial", "times"])
def test_missing_tables(table):
    tables = good()
    del tables[table]
    assert f"{table}: missing" in refused(tables)


def test_nothing_to_run():
    tables = good()
    del tables["particles"]
    assert "nothing to run" in refused(tables)


def test_all_problems_come_in_one_error():
    tables = with_value("system.temperature", -1.0)
    tables["particles"] = {"n": -1, "dtt": 0.1}
    message = refused(tables)
    assert message.startswith("4 problems")
    for name in ("system.temperature", "particles.n:", "particles.dtt", "particles.dt: missing"):
        assert name in message


def test_a_domain_in_two_places():
    tables = with_value("system.domain", {"bounds": [[0, 1]]})
    assert config.resolve(tables)["domain"]["bounds"] == [[0.0, 1.0]]
    tables["domain"] = {"bounds": [[0, 1]]}
    assert "given twice" in refused(tables)


def test_agreement_needs_all_times():
    tables = good()
    tables["density"] = {"shape": 32}
    tables["check"] = {"agreement": True}
    tables["particles"]["store"] = "final"
    assert 'particles.store = "all"' in refused(tables)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"energy = ", "not valid TOML"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"[system]\nenergy = x**2/2", "not valid TOML: Invalid value .* texts such as energies stand in quotes"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 5000, "not valid TOML"),
        (b"#" * 1_000_001, "at most 1000000"),
    ],
)
def test_files_that_are_no_run_files(tmp_path, content, words):
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        config.load(file)
    assert str(file) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        config.load(tmp_path)


def test_samples_are_found_beside_the_file_and_pinned(tmp_path):
    (tmp_path / "start.csv").write_text("1.0\n2.0\n")
    file = tmp_path / "run.toml"
    tables = with_value("initial", {"kind": "samples", "file": "start.csv"})
    file.write_text(dumps(tables))
    law = config.load(file)["initial"]
    assert law["file"] == str(tmp_path / "start.csv")
    assert law["sha256"] == hashlib.sha256(b"1.0\n2.0\n").hexdigest()
    tables["initial"]["sha256"] = "0" * 64
    file.write_text(dumps(tables))
    with pytest.raises(ConfigError, match="has changed"):
        config.load(file)


@pytest.mark.parametrize(
    ("output", "particles", "words"),
    [
        ({"density_at": 0.3}, {}, ["output.density_at: got 0.3", "nearest is 0.25"]),
        ({"density_at": 9.0}, {}, ["output.density_at: got 9", "nearest is 1"]),
        ({"density_at": 0.5}, {"store": "final"}, ["output.density_at: got 0.5", '"final"', "nearest is 1"]),
        ({"plots": ["trajectories"]}, None, ["output.plots", "needs [particles]"]),
        ({"plots": ["trajectories"]}, {"store": "final"}, ["output.plots", 'store = "all"']),
        ({"plots": "relaxation"}, {}, ["got 'relaxation' (text)", 'such as ["relaxation"]']),
    ],
)
def test_pictures_that_cannot_be_drawn(output, particles, words):
    tables = config.parse(
        """
        system = {energy = "x**2/2", temperature = 1.0}
        domain = {bounds = [-3, 3]}
        initial = {kind = "gibbs"}
        times = {stop = 1.0, count = 5}
        density = {shape = 48}
        """
    )
    if particles is not None:
        tables["particles"] = {"n": 10, "dt": 0.01, **particles}
    resolved = config.resolve({**tables, "output": {"density_at": 1.0}})
    assert resolved["domain"]["bounds"] == [[-3.0, 3.0]]
    with pytest.raises(config.ConfigError) as caught:
        config.resolve({**tables, "output": output})
    for word in words:
        assert word in str(caught.value)


def test_the_methods_are_those_of_the_density():
    from relaxsim.cli import schema
    from relaxsim.density import fokker_planck

    assert schema.METHODS == fokker_planck.METHODS
