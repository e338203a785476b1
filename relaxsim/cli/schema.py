"""The tables and keys of a run file: the one place that knows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from relaxsim.cli.checkers import (
    Checker,
    MismatchError,
    alpha,
    choice,
    either,
    integer,
    listing,
    number,
    table_of,
    table_with,
    text,
)

REQUIRED: Final = object()
ABSENT: Final = object()


@dataclass(frozen=True)
class Key:
    """One key: what it takes, and its default (`REQUIRED`: none; `ABSENT`: left out when not given)."""

    checker: Checker
    default: Any = ABSENT


_NUMBERS = listing(number(), of="a list of numbers")
_POINT = either(number(), _NUMBERS)
_PAIRS = listing(
    listing(number(infinite=True), of="a pair", length=2),
    of="a list of pairs, one [low, high] for each coordinate",
)


def _bounds(value: Any) -> list[Any]:
    """One coordinate needs no second pair of brackets."""
    single = isinstance(value, list) and len(value) == 2 and not any(isinstance(each, (list, str)) for each in value)
    converted: list[Any] = _PAIRS.convert([value] if single else value)
    return converted


_BOUNDS = Checker(_PAIRS.expected, _bounds)
_WALLS = either(
    choice("reflecting", "periodic"),
    listing(choice("reflecting", "periodic", "unbounded"), of="a list of these, one for each coordinate"),
)


def _walls(value: Any) -> Any:
    """Absorbing walls are known elsewhere, so the message says why not here."""
    if "absorbing" in str(value):
        raise MismatchError(
            "runs measure the fall towards the Gibbs law, which absorbing walls do not have; use FokkerPlanck(system, "
            "grid).evolve(...) of the library for them"
        )
    return _WALLS.convert(value)


_ENTRY = either(number(), text())
_PARAMS = table_of(number(), of="a table of numbers, such as {a = 2.0}")
_MATRIX = listing(_NUMBERS, of="a list of lists of numbers")
# those of FokkerPlanck.evolve, which takes too long to import here
METHODS = ("auto", "separable", "chebyshev", "krylov", "radau", "backward-euler")
_SCHEMES = 'the name of a scheme, such as "auto" or "euler-maruyama"'

_ROWS = listing(listing(_ENTRY, of="a row"), of="a list of rows (the tensor)")
_MOBILITY = either(number(), text(), listing(_ENTRY, of="a list of these (the diagonal)"), _ROWS)
_PARTS = table_with(
    {"symmetric": _MOBILITY, "antisymmetric": _ROWS},
    {"symmetric": 1.0},
    of='a table with antisymmetric = [["0", "a"], ["-a", "0"]] and symmetric = any of these',
)

_SCHEDULE = Checker('a text in the time such as "1/(1 + t)"', text().convert)

SYSTEM = {
    "energy": Key(text(), REQUIRED),
    "mobility": Key(either(_MOBILITY, _PARTS), 1.0),
    "temperature": Key(either(number(positive=True), _SCHEDULE), REQUIRED),
    "variables": Key(listing(text(), of='a list of names, such as ["x", "y"]')),
    "params": Key(_PARAMS),
}

DOMAIN = {
    "kind": Key(choice("box", "hypercube", "unbounded")),
    "bounds": Key(_BOUNDS),
    "boundary": Key(Checker(_WALLS.expected, _walls)),
    "dim": Key(integer(1)),
}


def _tables(value: Any) -> list[dict[str, Any]]:
    """Let lists of tables through; what stands in them is checked law by law."""
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise MismatchError
    return value


# For each kind of initial law: the arguments of relaxsim.initial.<kind>.
INITIAL = {
    "normal": {
        "mean": Key(_POINT, REQUIRED),
        "scale": Key(either(number(positive=True), _NUMBERS, _MATRIX), REQUIRED),
    },
    "uniform": {"bounds": Key(_BOUNDS)},
    "point": {"x": Key(_POINT, REQUIRED)},
    "gibbs": {"t": Key(number())},
    "samples": {
        "file": Key(text()),
        "values": Key(either(_MATRIX, _NUMBERS)),
        "sha256": Key(text()),
    },
    "density": {
        "text": Key(text(), REQUIRED),
        "bounds": Key(_BOUNDS),
        "params": Key(_PARAMS),
    },
    "mixture": {"components": Key(Checker("a list of tables, each a law with its weight", _tables), REQUIRED)},
}

TABLES: dict[str, dict[str, Key]] = {
    "system": SYSTEM,
    "domain": DOMAIN,
    "times": {
        "start": Key(number(), 0.0),
        "stop": Key(number()),
        "count": Key(integer(2)),
        "values": Key(_NUMBERS),
    },
    "particles": {
        "n": Key(integer(1), REQUIRED),
        "dt": Key(number(positive=True), REQUIRED),
        "seed": Key(integer(0, 2**64 - 1)),
        "scheme": Key(Checker(_SCHEMES, text().convert), "auto"),
        "threads": Key(integer(1, 4096)),
        "store": Key(choice("all", "final"), "all"),
        "checkpoint_every": Key(number(positive=True)),
    },
    "density": {
        "shape": Key(either(integer(2), listing(integer(2), of="a list of them, one for each coordinate")), REQUIRED),
        "bounds": Key(_BOUNDS),
        "tail": Key(number(positive=True)),
        "method": Key(choice(*METHODS), "auto"),
        "step": Key(number(positive=True)),
        "tol": Key(number(positive=True)),
    },
    "output": {
        "plots": Key(
            listing(
                choice("relaxation", "density", "trajectories"),
                of='a list of "relaxation", "density", "trajectories", such as ["relaxation"]',
                empty=True,
            )
        ),
        "density_at": Key(number()),
        "arrays": Key(
            listing(
                choice("relaxation", "final", "all"),
                of='a list of "relaxation", "final", "all", such as ["relaxation"]',
                empty=True,
            ),
            ["relaxation", "final"],
        ),
    },
    "check": {
        "monotone": Key(alpha(), False),
        "gibbs": Key(alpha(), False),
        "agreement": Key(alpha(), False),
        "tolerance": Key(number(positive=True), 1e-3),
    },
}

# What stands in a table that can be left out as a whole.
OPTIONAL_TABLES = ("domain", "particles", "density", "output", "check")
ALL_TABLES = (*TABLES, "initial", "quick")
