"""The registry: every file of statements is named here, with the documents, and how a statement is found by its id."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module

from relaxsim.system.validate import nearest
from relaxsim.theorems.check import Statement

# One file a topic; each holds a tuple STATEMENTS.
TOPICS: tuple[str, ...] = (
    "discrete",
    "continuum",
    "covariant",
    "adjoint",
    "dissipation",
    "descent",
    "flux",
    "sde",
    "ensembles",
    "potentials",
    "free_energies",
    "two_layers",
    "walks",
    "mirror",
    "geodesics",
    "diffusion_machines",
    "proximal",
    "continuous_hopfield",
)


@dataclass(frozen=True)
class Document:
    """A text whose statements are checked.

    Attributes
    ----------
    title : str
    cited : str
        How the statements' sources begin.
    about : str
        Authors and where it can be had.
    """

    title: str
    cited: str
    about: str


_NOTES = "Notes without a named author; no publication is known to us."

DOCUMENTS: dict[str, Document] = {
    "continuum": Document(
        "Continuum of Hopfield",
        "Continuum of Hopfield",
        f"{_NOTES} Discrete Hopfield networks, gradient flows as their continuum, and the adjoint method.",
    ),
    "hopfield": Document(
        "Hopfield Network",
        "Hopfield Network",
        f"{_NOTES} Discrete, continuous and dense associative networks, their convergence and their learning rules.",
    ),
    "mirror": Document(
        "Hopfield Neural Network Flow: A Geometric Viewpoint",
        "Halder, Caluya, Travacca & Moura, Hopfield neural network flow: a geometric viewpoint",
        "A. Halder, K. F. Caluya, B. Travacca, S. J. Moura, IEEE Trans. Neural Netw. Learn. Syst. 31 (2020) 4869, "
        "arXiv:1908.01270.",
    ),
    "relaxation": Document(
        "Relaxation",
        "Relaxation",
        f"{_NOTES} How a law relaxes to its Gibbs law: the free energy as a Lyapunov function, the Fokker-Planck "
        "equation and the stochastic dynamics under it.",
    ),
}


@cache
def statements() -> dict[str, Statement]:
    """All statements by id, in the order of documents and numbers."""
    rows = [row for topic in TOPICS for row in import_module(f"relaxsim.theorems.{topic}").STATEMENTS]
    found = {row.id: row for row in sorted(rows, key=lambda row: natural(row.id))}
    if len(found) != len(rows):
        raise RuntimeError("theorems: two statements share an id")
    return found


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts 9 before 10, and numbers before words."""
    parts = re.findall(r"\d+|\D", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def cited(row: Statement) -> str:
    """Where in its document a statement stands."""
    document = DOCUMENTS.get(row.id.split(".")[0])
    return row.source.removeprefix(document.cited).lstrip(", ") if document else row.source


def fitting(name: str, known: Iterable[str]) -> set[str]:
    """The ids that a user's text means: one, all that begin so, or a pattern with * and ?."""
    text, ids = name.strip().lower(), list(known)
    begins = text.removesuffix("*").removesuffix(".") if text.endswith((".", ".*")) else text
    if any(sign in begins for sign in "*?"):
        return {one for one in ids if fnmatchcase(one.lower(), text)}
    exact = {one for one in ids if one.lower() == begins}
    if exact and begins == text:
        return exact
    return exact | {one for one in ids if begins and one.lower().startswith((f"{begins}.", f"{begins}-"))}


def suggestion(name: str, known: Iterable[str]) -> str:
    """A hint '; did you mean ...?': the ids of the same document with the nearest number, or what is spelt alike."""
    ids = list(known)
    document, _, rest = name.strip().lower().partition(".")
    number = re.match(r"\d+", rest)
    near = [(abs(int(found[1]) - int(number[0])), natural(one), one) for one in ids
            if number and (found := re.match(rf"{re.escape(document)}\.(\d+)", one.lower()))]  # fmt: skip
    if near:
        least = min(near)[0]
        return f"; did you mean {' or '.join(repr(one) for away, _, one in sorted(near) if away == least)}?"
    return nearest(name.lower(), [*ids, *dict.fromkeys(one.split(".")[0] for one in ids)])
