"""Run files whose temperature is a text in the time."""

from __future__ import annotations

import csv
import tomllib

import numpy as np
import pytest

from relaxsim.cli import build, config, main
from relaxsim.errors import ConfigError

RUN = """
[system]
energy = "x**2/2"
temperature = "cold + hot*exp(-t)"
params = {cold = 0.25, hot = 1.0}
[initial]
kind = "normal"
mean = 1.0
scale = 0.5
[times]
stop = 2.0
count = 5
[particles]
n = 3000
dt = 0.02
seed = 3
[density]
shape = 96
[output]
plots = ["relaxation", "density"]
[check]
monotone = true
agreement = true
"""


def resolved(**changes):
    tables = tomllib.loads(RUN)
    tables["system"] |= changes
    return config.resolve(tables)


@pytest.mark.nojit
def test_the_text_gets_its_parameters():
    system = build.make_system(resolved())
    assert system.temperature_at(0.0) == 1.25
    assert system.temperature_at(1.0) == pytest.approx(0.25 + np.exp(-1))


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("temperature", "words"),
    [
        ("cold + hot*x*t", r"system\.temperature: it is a function of the time t alone"),
        ("cold + hot - t/t", r"system\.temperature: expected a positive finite number at every time, got nan"),
        ("1/t", r"system\.temperature: expected a positive finite number at every time, got inf"),
        ("-0.5", r"system\.temperature: expected a positive finite number, got -0\.5"),
        ("cold + hot*exp(-s)", r"system\.temperature: .*unknown name 's'"),
        (-1.0, r"system\.temperature: got -1\.0 .*, expected a positive number, or a text in the time"),
        ("cold + t", r"system\.params\.hot: occurs in none of energy, mobility and temperature"),
    ],
)
def test_what_is_refused(temperature, words):
    with pytest.raises(ConfigError, match=words):
        build.make_system(resolved(temperature=temperature))


@pytest.mark.nojit
def test_a_text_without_t_is_the_number_it_is():
    system = build.make_system(resolved(temperature="1/4", params={}))
    assert (system.temperature, system.time_dependent) == (0.25, False)
    system = build.make_system(resolved(temperature="cold + hot"))
    assert (system.temperature, system.time_dependent) == (1.25, False)


@pytest.mark.nojit
def test_the_grid_holds_the_hottest_law():
    heated = resolved(temperature="cold + hot*t")
    system, times = build.make_system(heated), build.make_times(heated)
    low, high = build.make_grid(system, heated["density"], None, times).bounds[0]
    assert -low > 9 < high  # six standard deviations of the end
    assert build.make_grid(system, heated["density"]).bounds[0, 1] < 5  # the mutant: the start alone


def test_a_run_measures_against_the_law_of_each_time(tmp_path, capsys):
    file = tmp_path / "cooled.toml"
    file.write_text(RUN)
    assert main(["run", str(file), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "check monotone (density): UNKNOWN" in printed
    assert "F may rise by the work done" in printed
    assert "check agreement: passed" in printed
    assert (tmp_path / "out" / "relaxation.png").is_file()
    with (tmp_path / "out" / "relaxation.csv").open() as stream:
        table = [row for row in csv.DictReader(stream) if row["path"] == "density"]
    for row in table:
        t = float(row["time"])
        T, decay = 0.25 + np.exp(-t), np.exp(-2 * t)
        s = 0.25 * decay + 0.25 * (1 - decay) + 2 * (np.exp(-t) - decay)
        kl = (decay + s) / T - 1 - np.log(s / T)
        assert float(row["KL"]) == pytest.approx(kl / 2, abs=0.01)
        assert float(row["F"]) == pytest.approx(T * (kl - np.log(2 * np.pi * T)) / 2, abs=0.01)
