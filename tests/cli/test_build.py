"""From tables to objects, without running them."""

from __future__ import annotations

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.cli import build, config
from relaxsim.errors import ConfigError

pytestmark = pytest.mark.nojit

BASE = {
    "system": {"energy": "x**2/2", "temperature": 1.0},
    "domain": {"bounds": [[-6.0, 6.0]]},
    "initial": {"kind": "gibbs"},
    "times": {"stop": 1.0, "count": 3},
    "density": {"shape": 48},
}
PLANE = {"energy": "x**2 + y**2", "temperature": 1.0}
SQUARE = {"bounds": [[-4.0, 4.0], [-4.0, 4.0]]}


def resolved(**tables):
    return config.resolve({**BASE, **tables})


def problem(**tables):
    with pytest.raises(ConfigError) as caught:
        build.make_system(resolved(**tables))
    return str(caught.value)


@pytest.mark.parametrize(
    ("mobility", "structure", "expected"),
    [
        (2.0, "scalar", [[2, 0], [0, 2]]),
        (3, "scalar", [[3, 0], [0, 3]]),
        ("1 + x**2", "scalar", [[5, 0], [0, 5]]),
        ([1.0, 2.0], "diagonal", [[1, 0], [0, 2]]),
        (["1 + x**2", 2.0], "diagonal", [[5, 0], [0, 2]]),
        ([[2.0, 1.0], [1.0, 2.0]], "tensor", [[2, 1], [1, 2]]),
        ([["2 + x**2", 0.5], [0.5, 1]], "tensor", [[6, 0.5], [0.5, 1]]),
    ],
)
def test_mobilities(mobility, structure, expected):
    system = build.make_system(resolved(system={**PLANE, "mobility": mobility}, domain=SQUARE))
    assert system.mobility.structure == structure
    assert np.allclose(system.mobility(np.array([2.0, 1.0])), expected)


def test_params_go_where_they_occur():
    table = {**PLANE, "energy": "a*x**2 + y**2", "mobility": "1 + b*x**2", "params": {"a": 3.0, "b": 0.5}}
    system = build.make_system(resolved(system=table, domain=SQUARE))
    assert system.energy(np.array([1.0, 0.0])) == 3.0
    assert system.mobility(np.array([1.0, 0.0]))[0, 0] == 1.5


def test_variables():
    table = {"energy": "r**2 + s**4", "temperature": 1.0, "variables": ["r", "s"]}
    assert build.make_system(resolved(system=table, domain=SQUARE)).energy(np.array([1.0, 2.0])) == 17.0


def test_domains():
    def domain(**table):
        return build.make_system(resolved(domain=table)).domain

    assert domain(kind="hypercube", dim=1) == rs.Domain.hypercube(1)
    assert domain(kind="unbounded") == rs.Domain.unbounded(1)
    assert domain(kind="unbounded", dim=2).dim == 2
    assert domain(bounds=[[-1.0, 1.0]]).boundary == ("reflecting",)
    table = {"energy": "cos(x)", "temperature": 1.0}
    bounds = [[0.0, 2 * np.pi]]
    circle = build.make_system(resolved(system=table, domain={"bounds": bounds, "boundary": "periodic"}))
    assert circle.domain.boundary == ("periodic",)


@pytest.mark.parametrize(
    "law",
    [
        {"kind": "normal", "mean": 0.5, "scale": 0.5},
        {"kind": "normal", "mean": [0.5], "scale": [0.5]},
        {"kind": "uniform"},
        {"kind": "uniform", "bounds": [[-1.0, 2.0]]},
        {"kind": "point", "x": 0.5},
        {"kind": "gibbs"},
        {"kind": "samples", "values": [[0.5], [1.5]]},
        {"kind": "samples", "values": [0.5, 1.5]},
        {"kind": "density", "text": "exp(-a*x**2)", "params": {"a": 2.0}},
        {
            "kind": "mixture",
            "components": [
                {"kind": "normal", "mean": -1.0, "scale": 0.2, "weight": 0.25},
                {"kind": "point", "x": 1.0, "weight": 0.75},
            ],
        },
    ],
)
def test_initial_laws(law):
    tables = resolved(initial=law)
    system = build.make_system(tables)
    masses = build.make_initial(tables).masses(system, build.make_grid(system, tables["density"]))
    assert masses.shape == (48,)
    assert masses.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["start.npy", "start.csv", "start.txt"])
def test_sample_files(tmp_path, name):
    rows = np.array([[0.5, 1.0], [1.5, 2.0]])
    if name.endswith("npy"):
        np.save(tmp_path / name, rows)
    else:
        np.savetxt(tmp_path / name, rows, delimiter="," if name.endswith("csv") else " ")
    tables = config.resolve({**BASE, "initial": {"kind": "samples", "file": name}}, folder=tmp_path)
    assert np.array_equal(build._read_samples(tables["initial"]), rows)
    (tmp_path / name).write_bytes(b"other")
    with pytest.raises(ConfigError, match=r"initial: .*has changed"):
        build.make_initial(tables)


def test_pickles_are_not_loaded(tmp_path):
    np.save(tmp_path / "start.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    tables = config.resolve({**BASE, "initial": {"kind": "samples", "file": "start.npy"}}, folder=tmp_path)
    with pytest.raises(ConfigError, match="allow_pickle=False"):
        build.make_initial(tables)


def test_grids():
    tables = resolved(density={"shape": [40], "bounds": [[-2.0, 2.0]]}, domain={"kind": "unbounded"})
    system = build.make_system(tables)
    assert np.array_equal(build.make_grid(system, tables["density"]).bounds, [[-2.0, 2.0]])
    tables = resolved(density={"shape": 40, "tail": 1e-6}, domain={"kind": "unbounded"})
    assert 4.5 < build.make_grid(system, tables["density"]).bounds[0, 1] < 7
    with pytest.raises(ConfigError, match="density: "):
        build.make_grid(system, {"shape": [40, 40], "bounds": [[-2.0, 2.0]]})


def test_the_grid_holds_the_start_too():
    tables = resolved(
        domain={"kind": "unbounded"}, density={"shape": 200}, initial={"kind": "normal", "mean": 20.0, "scale": 0.5}
    )
    system, law = build.make_system(tables), build.make_initial(tables)
    gibbs, both = (build.make_grid(system, tables["density"], each).bounds[0] for each in (None, law))
    assert both[0] == gibbs[0] < -6
    assert 22 < both[1] < 28
    near = build.make_initial(resolved(initial={"kind": "normal", "mean": 1.0, "scale": 0.5}))
    assert np.array_equal(build.make_grid(system, tables["density"], near).bounds[0], gibbs)
    sharp = build.make_initial(resolved(initial={"kind": "point", "x": -9.0}))
    assert build.make_grid(system, tables["density"], sharp).bounds[0, 0] < -11
    far = build.make_initial(resolved(initial={"kind": "point", "x": 1e4}))
    with pytest.raises(ConfigError, match=r"initial: .* raise density.shape to \d+ or more"):
        build.make_grid(system, tables["density"], far)


def test_times():
    assert np.array_equal(build.make_times(resolved()), [0.0, 0.5, 1.0])
    assert np.array_equal(build.make_times(resolved(times={"values": [0, 1, 5]})), [0.0, 1.0, 5.0])


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ({"energy": "__import__('os').system('touch pwned')"}, ["system.energy", "column"]),
        ({"energy": "(lambda: 1)()"}, ["system.energy", "column"]),
        ({"energy": "x.__class__"}, ["system.energy", "column"]),
        ({"energy": "9**9**9**9"}, ["system.energy"]),
        ({"energy": "x^2"}, ["system.energy", "**"]),
        ({"mobility": -1.0}, ["system.mobility", "positive"]),
        ({"mobility": [1.0, 2.0]}, ["system: ", "2"]),
        ({"params": {"a": 1.0}}, ["system.params.a", "drop it"]),
        ({"energy": "x +", "mobility": "y y"}, ["2 problems", "system.energy", "system.mobility"]),
    ],
)
def test_what_a_system_refuses_is_named(system, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = problem(system={**BASE["system"], **system})
    for word in words:
        assert word in message
    assert list(tmp_path.iterdir()) == []
