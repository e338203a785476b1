"""A directive ``.. scheme-table::``: the schemes with what each says of itself, made when the site is built."""

from __future__ import annotations

from typing import Any

HEAD = ("id", "Mobility", "Noise: weak order, order at rest", "Order at a wall", "A step costs", "Rank")


def rows() -> list[tuple[str, ...]]:
    """One row a scheme, the first choice of "auto" at the top."""
    from relaxsim.particles.schemes import NOISES, registry

    table = []
    for row in sorted(registry().values(), key=lambda row: (-row.rank, row.dynamics != "true", row.id)):
        kinds = [kind for kind in NOISES if kind in row.weak_order]
        weak = {kind: "none" if row.dynamics != "true" else number(row.weak_order[kind]) for kind in kinds}
        noise = "; ".join(f"{kind}: {weak[kind]}, {number(row.invariant_order[kind])}" for kind in kinds)
        name = row.id if row.dynamics == "true" else f"{row.id} (at rest only)"
        wall = number(row.wall_order) if row.wall_order else "refused"
        table.append((name, row.mobility, noise, wall, row.evaluations, f"{row.rank:g}"))
    return table


def number(order: float) -> str:
    """An order as people write it."""
    return "exact" if order == float("inf") else f"{order:g}"


def references() -> list[tuple[str, str]]:
    """Where each scheme is published."""
    from relaxsim.particles.schemes import registry

    return [(name, row.reference) for name, row in sorted(registry().items())]


def source() -> list[str]:
    """The table and the references as reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 20 14 26 10 22 8", ""]
    for row in [HEAD, *rows()]:
        lines += [f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(row)]
    lines += ["", ".. rubric:: Where they are published", ""]
    return [*lines, *(f"- {name}: {text}" for name, text in references()), ""]


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    from docutils import nodes
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    class SchemeTable(Directive):
        def run(self) -> list[nodes.Node]:
            parent = nodes.container()
            self.state.nested_parse(StringList(source(), "scheme-table"), self.content_offset, parent)
            return parent.children

    app.add_directive("scheme-table", SchemeTable)
    return {"parallel_read_safe": True}
