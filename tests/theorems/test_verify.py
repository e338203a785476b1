"""The runner: verdicts, selection, the table, exit codes, JUnit and JSON, with statements made for the purpose."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import relaxsim as rs
from made_statements import (
    ALL,
    BAD,
    BROKEN_MUTANT,
    EMPTY,
    GOOD,
    LENIENT,
    PENDING,
    RAISES,
    broken,
    judge,
    one,
    statement,
)
from relaxsim.cli import main
from relaxsim.theorems import Measurement, Mutant, Setting, report
from relaxsim.theorems.check import COMPARISONS, RISK, quantile, worst

pytestmark = pytest.mark.nojit


def test_a_good_statement_passes_and_its_mutants_are_rejected():
    verdict = judge(GOOD)
    assert (verdict.id, verdict.verdict, verdict.passed, verdict.message) == ("good.1", "passed", True, "")
    assert (verdict.title, verdict.claim) == ("a title", "x is one")
    assert (verdict.measured, verdict.expected, verdict.stderr) == (1.0, 1.0, 0.0)
    assert [one.name for one in verdict.measurements] == ["exact", "drawn"]
    assert [(one.name, one.printed, one.rejected) for one in verdict.mutants] == [
        ("twice", None, True),
        ("print", "x^2", True),
    ]
    assert judge(GOOD, mutants=False).mutants == ()


def test_a_miss_fails_with_its_numbers():
    verdict = judge(BAD)
    assert (verdict.verdict, verdict.raised) == ("FAILED", False)
    assert "drawn: measured 1.5 ± 0.01, expected = 1, missed by 0.5, allowed 0.0585" in verdict.message
    assert verdict.measurement.name == "drawn"


def test_an_error_is_no_verdict_and_no_crash():
    verdict = judge(RAISES)
    assert (verdict.verdict, verdict.raised, verdict.measurement, verdict.passed) == ("ERROR", True, None, False)
    assert verdict.mutants == ()  # nothing is said of them
    assert verdict.message.startswith("ZeroDivisionError: no <such> thing")
    assert all(math.isnan(number) for number in (verdict.measured, verdict.expected, verdict.stderr))


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (ModuleNotFoundError("No module named 'numba.core'", name="numba.core"), "pip install numba;"),
        (ImportError("a broken library"), "install relaxsim again"),
        (rs.MissingDependencyError("pip install x"), r"pip install x$"),
        (MemoryError(), "leave out --full"),
        (OSError(28, "No space left"), "relaxsim doctor"),
        (ValueError("a bug"), "a bug$"),
    ],
)
def test_a_broken_machine_is_said_with_the_fix(error, fix):
    def raises(setting, wrong=False):
        raise error

    verdict = judge(statement(experiment=raises, mutants=(Mutant("wrong", partial(raises, wrong=True)),)))
    assert (verdict.verdict, verdict.mutants) == ("ERROR", ())
    assert re.search(fix, verdict.message)


def test_a_mutant_that_raises_is_not_judged_and_a_miss_counts_more():
    verdict = judge(BROKEN_MUTANT)
    assert (verdict.verdict, verdict.raised, verdict.passed) == ("ERROR", False, False)
    assert "the mutant 'broken' could not be run (ZeroDivisionError: no <such> thing" in verdict.message
    assert (verdict.mutants[0].raised, verdict.mutants[0].rejected) == (True, False)
    both = statement(experiment=partial(one, wrong=1.5), mutants=BROKEN_MUTANT.mutants)
    assert judge(both).verdict == "FAILED"
    assert judge(statement(mutants=(*BROKEN_MUTANT.mutants, *LENIENT.mutants))).verdict == "FAILED"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (LENIENT, r"the mutant 'harmless' is not rejected \(closest: exact: measured 1, "),
        (EMPTY, "the experiment measured nothing"),
    ],
)
def test_a_check_without_power_fails(row, text):
    verdict = judge(row)
    assert verdict.verdict == "FAILED"
    assert re.search(text, verdict.message)
    assert not verdict.raised


def test_an_interrupt_is_let_through():
    def interrupted(setting):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(statement(experiment=interrupted))


@pytest.mark.parametrize(
    ("measurement", "passed", "rejected"),
    [
        (Measurement("", 1.0, 0.0, tolerance=0.6), False, False),
        (Measurement("", 1.0, 0.0, tolerance=0.4), False, True),
        (Measurement("", 1.0, 0.0, stderr=0.2), True, False),
        (Measurement("", -9.0, 0.0, relation="<="), True, False),
        (Measurement("", 9.0, 0.0, relation="<="), False, True),
        (Measurement("", 9.0, 0.0, relation=">="), True, False),
        (Measurement("", -9.0, 0.0, relation=">="), False, True),
        (Measurement("", math.nan, 0.0, tolerance=1.0), False, False),
        (Measurement("", math.inf, 0.0, tolerance=1.0), False, True),
    ],
)
def test_what_passes_and_what_rejects(measurement, passed, rejected):
    assert (measurement.passed, measurement.rejected) == (passed, rejected)


def test_the_threshold_is_that_of_the_shared_risk():
    from scipy.special import ndtr, stdtr

    assert 2 * ndtr(-quantile()) == pytest.approx(RISK / COMPARISONS)
    assert 2 * stdtr(23, -quantile(23)) == pytest.approx(RISK / COMPARISONS)
    assert worst([Measurement("a", 1.0, 1.0), Measurement("b", 1.0, 1.1, 1.0), Measurement("c", 0.0, 1.0)]).name == "c"


def test_selection_by_id_and_by_document(registered):
    registered(*ALL)
    assert [v.id for v in rs.theorems.verify("bad.3")] == ["bad.3"]
    assert [v.id for v in rs.theorems.verify(["open", "good"])] == ["good.1", "open.1"]
    assert len(rs.theorems.verify()) == len(ALL)
    assert [v.verdict for v in rs.theorems.verify("open")] == ["pending"]
    with pytest.raises(rs.InputError, match=r"no statement 'god'; did you mean 'good'\?.*\n.*no statement 'bad.33'"):
        rs.theorems.verify(["god", "bad.33"])
    for wrong in (3, [3], ["good", 3]):
        with pytest.raises(rs.InputError, match=r"ids: expected texts such as 'relaxation\.6', got 3"):
            rs.theorems.verify(wrong)


def test_a_selection_of_nothing_is_refused(registered):
    registered(*ALL)
    for nothing in ([], (), set(), (name for name in ALL if False)):
        with pytest.raises(rs.InputError, match=r"ids: the list is empty.*'relaxation\.1\*'.*leave ids out for all"):
            rs.theorems.verify(nothing)
    for nothing in ("god*", "*.99", "", "."):
        with pytest.raises(rs.InputError, match=r"ids: no statement .* --list shows all"):
            rs.theorems.verify(["good", nothing])


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "1", None, True])
def test_a_seed_that_is_none_is_refused(registered, seed):
    registered(statement(experiment=lambda setting: pytest.fail("it ran")))
    with pytest.raises(rs.InputError, match=r"seed: expected an integer with 0 <= seed < 2\*\*63, got "):
        rs.theorems.verify(seed=seed)


def test_scalars_of_numpy_become_numbers():
    found = Measurement("", np.bool_(True), np.float32(1), np.float64(0), np.int64(0), "=", np.int64(3))
    kinds = [type(value) for value in (found.measured, found.expected, found.tolerance, found.stderr, found.dof)]
    assert kinds == [float, float, float, float, int]
    assert found.passed
    wrong = (Mutant("other", lambda setting: [Measurement("", np.bool_(False), 1.0)]),)
    verdict = judge(statement(experiment=lambda setting: [found], mutants=wrong))
    (row,) = json.loads(report.to_json([verdict], Setting(np.bool_(False), np.int64(2))))["statements"]
    assert (row["verdict"], row["measurements"][0]["dof"]) == ("passed", 3)


def test_seed_and_size_reach_the_experiment(registered):
    seen = []

    def spy(setting):
        """Looks."""
        seen.append((setting.full, setting.seed))
        return [Measurement("", 0.0, 0.0)]

    registered(statement(experiment=spy, mutants=()))
    rs.theorems.verify(full=True, seed=7)
    rs.theorems.verify()
    assert seen == [(True, 7), (False, 0)]


# ------------------------------------------------------------------------------------------ the command line


@pytest.mark.parametrize(
    ("rows", "arguments", "code"),
    [
        ((GOOD, PENDING), [], 0),
        ((GOOD, PENDING), ["--mutants"], 0),
        ((GOOD, PENDING), ["--strict"], 1),
        ((GOOD,), ["--strict", "--mutants"], 0),
        ((GOOD, BAD), ["--quick"], 1),
        ((GOOD, BAD), ["good", "--full"], 0),
        ((LENIENT,), [], 0),
        ((LENIENT,), ["--mutants"], 1),
        ((BROKEN_MUTANT,), ["--mutants"], 1),
        ((GOOD,), ["--seed", "-1"], 2),
        ((GOOD,), ["--seed", "3"], 0),
        ((RAISES,), [], 1),
        ((GOOD,), ["no"], 2),
        ((BAD,), ["--list"], 0),
    ],
)
def test_exit_codes(registered, capsys, rows, arguments, code):
    registered(*rows)
    assert main(["verify", *arguments]) == code
    capsys.readouterr()


def test_the_help_and_the_page_explain_every_column_and_exit_code(capsys):
    with pytest.raises(SystemExit):
        main(["verify", "--help"])
    page = (Path(__file__).resolve().parents[2] / "docs" / "verification.rst").read_text(encoding="utf-8")
    for text in (capsys.readouterr().out, page):
        begins = {re.split(r"\s{2,}", line.strip())[0] for line in text.splitlines()}
        assert set(re.split(r"\s{2,}", report.header(2).split(None, 1)[1])) <= begins
        assert "ERROR" in text
        codes = " ".join(text.split()).lower().partition("exit code")[2]
        assert [code for code in ("0 ", "1 ", "2 ", "130") if code not in codes] == []


def test_quick_excludes_full(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["verify", "--quick", "--full"])
    assert leaving.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_the_table(registered, capsys):
    registered(*ALL)
    main(["verify", "--mutants"])
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].split("  ")[0] == "id"
    for column in ("measured", "expected", "std error", "allowed", "verdict", "mutants rejected", "s"):
        assert column in lines[0]
    (good,) = [line for line in lines if line.startswith("good.1")]
    assert good.split() == ["good.1", "1", "=", "1", "exact", "0.001", "passed", "2", "of", "2", "0.0"]
    assert "    mutant rejected: twice (drawn: 2, expected = 1)" in lines
    assert "    MISPRINT rejected: print (drawn: 3, expected = 1); printed as x^2" in lines
    assert "    mutant NOT REJECTED: harmless" in lines
    assert "    mutant ERROR: broken" in lines
    assert "    measured: exact (1 of 2)" in lines
    assert "    measured: drawn (1 of 2)" in lines  # of bad.1, the one that misses
    assert "    pending: networks are not built yet" in lines
    assert lines[-1].startswith("1 passed, 3 FAILED, 2 ERROR (not judged, neither true nor false: see relaxsim doctor)")
    assert "), 1 pending, 6 of 8 mutants rejected, of these 3 of 3 misprints of the sources; " in lines[-1]


def test_the_last_line_says_what_counts_and_nothing_of_none(registered, capsys):
    registered(GOOD, PENDING)
    main(["verify", "--strict"])
    assert "1 passed, 0 FAILED, 1 pending counts as a failure (--strict); " in capsys.readouterr().out
    registered(LENIENT)
    main(["verify", "--mutants", "--strict"])
    assert "0 passed, 1 FAILED, 0 pending, 0 of 1 mutants rejected; " in capsys.readouterr().out


def test_the_same_error_is_said_once(registered, capsys):
    registered(RAISES, statement("bad.9", broken), GOOD)
    assert main(["verify", "--mutants"]) == 1
    text = capsys.readouterr().out
    assert text.count("ZeroDivisionError") == 1
    assert text.count("ERROR: the same error as above") == 1
    assert "REJECTED" not in text


def test_a_verdict_is_short_in_an_interpreter():
    assert repr(judge(GOOD)) == "<Verdict good.1 passed: exact: 1 = 1, 2 of 2 mutants rejected>"
    assert repr(judge(PENDING)) == "<Verdict open.1 pending>"


def test_the_list_names_a_document_once(capsys):
    assert main(["verify", "--list", "mirror", "relaxation.6."]) == 0
    text = capsys.readouterr().out
    assert text.count("Halder") == text.count("arXiv:1908.01270") == 1
    assert text.count("\n\nrelaxation: Relaxation. Notes without a named author") == 1
    assert re.search(r"\nmirror\.12 +The geodesic equation of an activation \(equation \(12\)\)\n", text)


def test_the_list(registered, capsys):
    registered(GOOD, PENDING)
    main(["verify", "--list"])
    assert capsys.readouterr().out.splitlines() == [
        "good.1  a title (A source, equation 1)",
        "open.1  a title (A source, equation 1) [pending: networks are not built yet]",
    ]
