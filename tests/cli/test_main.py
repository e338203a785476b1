"""The command line without computing: help, version, errors, exit codes."""

from __future__ import annotations

import re
import tomllib

import pytest

from relaxsim import cli
from relaxsim.cli import config, demo, main

pytestmark = pytest.mark.nojit


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["demo", "--help"], ["verify", "--help"], ["doctor", "--help"]]
)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 0
    assert "usage: relaxsim" in capsys.readouterr().out


def test_no_command_is_answered_with_the_help(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "where to start" in capsys.readouterr().err


def test_help_teaches_where_to_start(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "relaxsim demo" in text
    assert "relaxsim run" in text
    assert "relaxsim verify" in text
    assert "relaxsim doctor" in text


def test_the_file_in_the_help_is_a_run_file():
    text = cli._RUN_EXAMPLE.partition("a complete file:")[2].partition("exit codes:")[0]
    resolved = config.resolve(tomllib.loads(re.sub(r"(?m)^  ", "", text)), quick=True)
    assert resolved["particles"]["n"] == 2000
    assert resolved["check"]["agreement"] is True


def test_the_demo_is_a_run_file():
    for quick in (False, True):
        assert config.resolve(config.parse(demo.DEMO), quick=quick)["check"]["agreement"] is True


def test_version(capsys):
    import relaxsim

    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"relaxsim {relaxsim.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["dmo"], ["run"], ["run", "a.toml", "--fast"], ["demo", "--seed", "x"]])
def test_bad_usage_is_exit_code_two(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_missing_file(tmp_path, capsys):
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "none.toml: cannot be read (No such file or directory)" in captured.err
    assert "Traceback" not in captured.err


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(config.ConfigError):
        main(["run", str(tmp_path / "none.toml"), "--debug"])


def test_bad_seeds_of_the_demo_are_named(tmp_path, capsys):
    assert main(["demo", "--seed", "-1", "--out", str(tmp_path)]) == 2
    assert "particles.seed: got -1" in capsys.readouterr().err
    assert main(["demo", "--threads", "0", "--out", str(tmp_path)]) == 2
    assert "particles.threads: got 0" in capsys.readouterr().err


def test_interrupt(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupted)
    assert main(["demo"]) == 130
    captured = capsys.readouterr()
    assert captured.err == "\ninterrupted; nothing was written\n"


def test_a_bug_is_not_hidden(monkeypatch):
    def broken(*_):
        raise ValueError("not one of relaxsim's own")

    monkeypatch.setattr(demo, "run_demo", broken)
    with pytest.raises(ValueError, match="not one of"):
        main(["demo"])


@pytest.mark.filterwarnings("default")
def test_warnings_are_lines(monkeypatch, capsys):
    def warned(*_):
        import warnings

        warnings.warn("a part is outside", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(demo, "run_demo", warned)
    assert main(["demo"]) == 0
    assert capsys.readouterr().err == "warning: a part is outside\n"
