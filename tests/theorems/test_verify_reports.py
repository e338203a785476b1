"""The reports of `relaxsim verify`: JUnit, JSON, their names, and what an interrupt leaves."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import relaxsim as rs
from made_statements import ALL, BAD, GOOD, PENDING, judge, statement
from relaxsim.cli import main
from relaxsim.theorems import Measurement, Setting, report
from relaxsim.theorems.check import quantile
from relaxsim.theorems.verify import verdicts

pytestmark = pytest.mark.nojit


def test_json_holds_what_was_measured(registered, capsys, tmp_path):
    numpy = Measurement("of NumPy", np.float64(1.0), np.int64(1), np.float64(0.1), relation=">=")
    nothing = statement("bad.6", lambda setting: [Measurement("nan", math.nan, math.inf), numpy])
    registered(*ALL, nothing)
    file = tmp_path / "found.json"
    assert main(["verify", "--mutants", "--json", str(file)]) == 1
    found = json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(word))
    assert (found["schema"], found["schema_version"], found["full"]) == ("relaxsim.verify", 1, False)
    assert (found["relaxsim"], found["failed"]) == (rs.__version__, True)
    rows = {row["id"]: row for row in found["statements"]}
    assert list(rows) == [*(row.id for row in ALL), "bad.6"]
    assert {name: row["verdict"] for name, row in rows.items()} == {
        v.id: v.verdict for v in verdicts((*ALL, nothing), Setting(), True)
    }
    good = rows["good.1"]
    assert [one["measured"] for one in good["measurements"]] == [1.0, 1.0]
    assert good["measurements"][1]["allowed"] == pytest.approx(quantile() * 1e-2)
    assert [(one["printed"], one["rejected"]) for one in good["mutants"]] == [(None, True), ("x^2", True)]
    assert rows["bad.6"]["measurements"][0]["measured"] == "nan"
    assert rows["bad.6"]["measurements"][0]["expected"] == "inf"
    capsys.readouterr()


@pytest.mark.parametrize("strict", [False, True])
def test_junit_is_what_ci_servers_read(registered, capsys, tmp_path, strict):
    registered(*ALL)
    file = tmp_path / "found.xml"
    main(["verify", "--mutants", "--junit", str(file), *(["--strict"] if strict else [])])
    capsys.readouterr()
    root = ElementTree.parse(file).getroot()
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    cases = {case.get("name"): case for case in suite}
    assert {case.get("classname") for case in suite} == {"relaxsim.theorems"}
    assert all(float(case.get("time")) >= 0 for case in suite)
    outcome = {name: [child.tag for child in case if child.tag != "system-out"] for name, case in cases.items()}
    assert outcome["good.1"] == outcome["good.1 [mutant: twice]"] == outcome["good.1 [misprint: print]"] == []
    assert outcome["bad.1"] == outcome["bad.5"] == ["failure"]
    assert outcome["bad.2"] == outcome["bad.4 [mutant: broken]"] == ["error"]
    assert "bad.2 [mutant: twice]" not in outcome
    assert (outcome["bad.3"], outcome["bad.3 [mutant: harmless]"]) == ([], ["failure"])
    assert outcome["open.1"] == (["failure"] if strict else ["skipped"])
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    tags = [tag for tags in outcome.values() for tag in tags]
    assert counts == {
        "tests": len(cases),
        "failures": tags.count("failure"),
        "errors": tags.count("error"),
        "skipped": tags.count("skipped"),
    }
    assert "no <such> thing ?" in cases["bad.2"].find("error").get("message")


def test_a_missing_folder_is_said_before_anything_runs(registered, capsys, tmp_path):
    registered(statement(experiment=lambda setting: pytest.fail("it ran")))
    assert main(["verify", "--junit", str(tmp_path / "none" / "a.xml")]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--junit", "{}"], "is a folder"),
        (["--json", ""], "--json: the name of the file is empty"),
        (["--junit", "{}/a", "--json", "{}/../{}/./a"], "both are"),
        (["--junit", "{}", "--json", ""], "--json: the name"),
    ],
)
def test_a_bad_name_is_said_before_anything_runs(registered, capsys, tmp_path, monkeypatch, arguments, text):
    registered(statement(experiment=lambda setting: pytest.fail("it ran")))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert main(["verify", *(one.replace("{}", "here") for one in arguments)]) == 2
    assert text in capsys.readouterr().err
    assert list((tmp_path / "here").iterdir()) == []


def test_a_folder_without_permission_is_said_before_anything_runs(registered, capsys, tmp_path, monkeypatch):
    registered(statement(experiment=lambda setting: pytest.fail("it ran")))

    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("relaxsim.cli.verify.tempfile.TemporaryFile", refused)
    assert main(["verify", "--json", str(tmp_path / "a.json")]) == 2
    assert "nothing can be written to the folder" in capsys.readouterr().err
    taken = tmp_path / "taken.json"
    taken.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["verify", "--json", str(taken)]) == 2
    assert "may not be written" in capsys.readouterr().err


def test_an_interrupt_writes_what_was_measured(registered, capsys, tmp_path):
    def interrupted(setting):
        raise KeyboardInterrupt

    registered(GOOD, statement("bad.7", interrupted), BAD)
    files = [tmp_path / "a.xml", tmp_path / "a.json"]
    assert main(["verify", "--junit", str(files[0]), "--json", str(files[1])]) == 130
    shown = capsys.readouterr()
    assert "interrupted: 2 of 3 statements were not run" in shown.out
    assert f"written and whole: {files[0]}, {files[1]}" in shown.err
    found = json.loads(files[1].read_text(encoding="utf-8"))
    assert [row["id"] for row in found["statements"]] == ["good.1"]
    assert (found["not_run"], found["failed"]) == (["bad.7", "bad.1"], True)
    suite = ElementTree.parse(files[0]).getroot()[0]
    assert (suite.get("tests"), suite.get("errors")) == ("3", "2")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_said_and_the_table_was_printed(registered, capsys):
    registered(GOOD)
    assert main(["verify", "--json", "/dev/full"]) == 2
    shown = capsys.readouterr()
    assert "good.1" in shown.out
    assert os.strerror(28) in shown.err


def test_reports_of_a_registry_that_is_all_pending():
    verdict = judge(PENDING)
    assert not report.failed([verdict], strict=False)
    assert report.failed([verdict], strict=True)
    assert str(verdict) == "open.1 pending: a title (networks are not built yet)"
