"""The registry is complete: every statement has an experiment that says what it does and mutants, or a reason."""

from __future__ import annotations

import inspect
import re
from functools import partial
from pathlib import Path

import pytest

from relaxsim.theorems import Mutant, Statement, statements
from relaxsim.theorems.registry import DOCUMENTS, TOPICS, cited, fitting, natural, suggestion

pytestmark = pytest.mark.nojit

ROOT = Path(__file__).resolve().parents[2]

ROWS = list(statements().values())
CHECKED = [row for row in ROWS if row.experiment is not None]


def experiment_of(what: Statement | Mutant):
    """The function under its wrong parts."""
    found = what.experiment
    while isinstance(found, partial):
        found = found.func
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_statement_says_what_it_is(row):
    assert re.fullmatch(r"(continuum|mirror|relaxation|hopfield)\.[A-Za-z0-9.-]+", row.id)
    assert row.title.strip()
    assert row.source.strip()
    assert row.latex.strip()
    assert (row.experiment is None) == bool(row.pending), "an experiment, or why there is none"


@pytest.mark.parametrize("row", CHECKED, ids=lambda row: row.id)
def test_every_check_has_a_docstring_a_claim_and_mutants_of_the_same_experiment(row):
    assert row.claim.strip()
    assert (inspect.getdoc(experiment_of(row)) or "").strip()
    assert row.mutants
    names = [mutant.name for mutant in row.mutants]
    assert len(set(names)) == len(names)
    for mutant in row.mutants:
        assert mutant.name.strip()
        assert mutant.printed is None or mutant.printed.strip()
        assert experiment_of(mutant) is experiment_of(row), "a mutant runs the statement's own experiment"
        assert isinstance(mutant.experiment, partial)


def test_the_order_is_that_of_documents_and_numbers():
    names = [row.id for row in ROWS]
    assert names == sorted(names, key=natural)
    assert names.index("relaxation.8") < names.index("relaxation.8.curved") < names.index("relaxation.10")
    assert names.index("hopfield.9") < names.index("hopfield.10") < names.index("hopfield.algorithm-1")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_source_is_of_a_document_that_is_described(row):
    document = DOCUMENTS[row.id.split(".")[0]]
    assert row.source.startswith(document.cited)
    assert cited(row)
    assert document.cited not in cited(row)


SOME = ("continuum.2-rest", "relaxation.6", "relaxation.6.ensemble", "relaxation.10", "relaxation.Q1", "mirror.V-C")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("relaxation.6", {"relaxation.6"}),
        (" Relaxation.q1 ", {"relaxation.Q1"}),
        ("MIRROR.v-c", {"mirror.V-C"}),
        ("relaxation.6.", {"relaxation.6", "relaxation.6.ensemble"}),
        ("relaxation.6.*", {"relaxation.6", "relaxation.6.ensemble"}),
        ("relaxation.*0", {"relaxation.10"}),
        ("continuum.2", {"continuum.2-rest"}),
        ("mirror", {"mirror.V-C"}),
        ("mirror.", {"mirror.V-C"}),
        ("*", set(SOME)),
        ("relaxation.1", set()),
        ("relax", set()),
        ("", set()),
        (".", set()),
        (".*", set()),
    ],
)
def test_what_a_text_means(text, found):
    assert fitting(text, SOME) == found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("relaxation.9", "; did you mean 'relaxation.10'?"),
        ("relaxation.8", "; did you mean 'relaxation.6' or 'relaxation.6.ensemble' or 'relaxation.10'?"),
        ("relaxaton.6", "; did you mean 'relaxation.6'?"),
        ("Miror", "; did you mean 'mirror'?"),
        ("xyz.17", ""),
    ],
)
def test_what_is_suggested(text, hint):
    assert suggestion(text, SOME) == hint


def test_topics_are_named_once():
    assert len(set(TOPICS)) == len(TOPICS)


def test_no_formula_is_broken_by_an_escape():
    """A text that should have been raw has control characters for its backslashes."""
    texts = [row.latex for row in ROWS] + [m.printed or "" for row in ROWS for m in row.mutants]
    assert [text for text in texts if re.search(r"[\x00-\x08\x0b-\x1f]|\t", text)] == []
    for text in texts:
        assert text.count("{") == text.count("}"), text


def test_the_page_is_made_from_the_registry(monkeypatch):
    page = (ROOT / "docs" / "verification.rst").read_text(encoding="utf-8")
    assert page.count("\n.. statements::\n") == 1
    assert [one.title for one in DOCUMENTS.values() if one.title not in " ".join(page.split())] == []
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    page_of = pytest.importorskip("statements")
    pytest.importorskip("docutils")
    shown = {row.id: page_of.entry(row).astext() for rows in page_of.groups().values() for row in rows}
    assert list(shown) == [
        row.id for row in sorted(ROWS, key=lambda row: list(page_of.groups()).index(row.id.split(".")[0]))
    ]
    for name, rows in page_of.groups().items():
        text = page_of.document(name, rows[:1]).astext()
        assert DOCUMENTS[name].title in text
        assert DOCUMENTS[name].about in text
    for row in ROWS:
        text = shown[row.id]
        wanted = [row.id, row.title, row.source, row.latex, row.pending or row.claim]
        wanted += [part for m in row.mutants for part in (m.name, m.printed or "")]
        assert [part for part in wanted if part not in text] == []
        for part in page_of.experiment_text(row.experiment) if row.experiment else []:
            assert part in text
