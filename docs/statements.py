"""A directive ``.. statements::``: the registry of `relaxsim verify`, made when the site is built."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any


def experiment_text(experiment: Any) -> list[str]:
    """The paragraphs of an experiment's docstring."""
    while isinstance(experiment, partial):
        experiment = experiment.func
    text = inspect.getdoc(experiment) or ""
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def groups() -> dict[str, list[Any]]:
    """The statements of each document."""
    from relaxsim.theorems import statements

    found: dict[str, list[Any]] = {}
    for row in statements().values():
        found.setdefault(row.id.split(".")[0], []).append(row)
    return found


def comparisons() -> str:
    """What the page says of the shared risk."""
    from relaxsim.theorems.check import COMPARISONS, RISK

    assert RISK == 1e-6  # the page says so
    return f"{COMPARISONS} comparisons"


def section(name: str, title: str, children: list[Any]) -> Any:
    """A section with an address of its own."""
    from docutils import nodes

    made = nodes.section(ids=[nodes.make_id(f"statement-{name}")], names=[name])
    return made.extend([nodes.title(title, title), *children]) or made


def formula(latex: str) -> Any:
    """A displayed formula."""
    from docutils import nodes

    return nodes.math_block(latex, latex, nowrap=False, number=None, label=None)


def paragraph(text: str, head: str = "") -> Any:
    """Text as it is, without markup."""
    from docutils import nodes

    made = nodes.paragraph()
    if head:
        made += nodes.strong(head, head)
        made += nodes.Text(" ")
    return made.extend([nodes.Text(text)]) or made


def entry(row: Any) -> Any:
    """What is said of one statement."""
    from docutils import nodes

    body = [paragraph(row.source, "Source."), formula(row.latex)]
    if row.experiment is None:
        body.append(paragraph(row.pending, "Pending."))
        return section(row.id, f"{row.id}: {row.title}", body)
    body.append(paragraph(row.claim, "Claim."))
    first, *rest = experiment_text(row.experiment)
    body += [paragraph(first, "Experiment and tolerance."), *map(paragraph, rest)]
    items = nodes.bullet_list(bullet="-")
    for mutant in row.mutants:
        kind = "Mutant that is rejected:" if mutant.printed is None else "Misprint that is rejected:"
        item = nodes.list_item("", paragraph(mutant.name, kind))
        if mutant.printed is not None:
            item += paragraph("as printed", "")
            item += formula(mutant.printed)
        items += item
    return section(row.id, f"{row.id}: {row.title}", [*body, items])


def document(name: str, rows: list[Any]) -> Any:
    """A document: what it is, and its statements."""
    from relaxsim.theorems.registry import DOCUMENTS

    about = DOCUMENTS[name]
    return section(name, f"{name}: {about.title}", [paragraph(about.about), *map(entry, rows)])


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Statements(Directive):
        def run(self) -> list[nodes.Node]:
            return [document(name, rows) for name, rows in groups().items()]

    app.add_directive("statements", Statements)
    return {"parallel_read_safe": True}
