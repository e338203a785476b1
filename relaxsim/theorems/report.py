"""What `verify` found as text, as JUnit XML and as JSON."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any
from xml.etree import ElementTree

from relaxsim.theorems.check import Measurement, Setting
from relaxsim.theorems.verify import MutantVerdict, Verdict, describe

SCHEMA, SCHEMA_VERSION = "relaxsim.verify", 1
SUITE = "relaxsim.theorems"

_NUMBERS = "{:>12} {:<2} {:>11} {:>10} {:>10}  {:<8} {:<17} {:>6}"
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def header(width: int) -> str:
    """The head of the table, for ids of so many characters."""
    columns = _NUMBERS.format("measured", "", "expected", "std error", "allowed", "verdict", "mutants rejected", "s")
    return f"{'id':<{width}} {columns}"


def row(verdict: Verdict, width: int, known: bool = False) -> str:
    """The lines of one statement: its numbers and their name, its claim, its mutants, why it is not verified.

    `known`: its message was shown for another statement already.
    """
    one = verdict.measurement
    numbers = ["-", "", "-", "-", "-"]
    if one is not None:
        error = f"{one.stderr:.2g}" if one.stderr else "exact"
        numbers = [f"{one.measured:.5g}", one.relation, f"{one.expected:.5g}", error, f"{one.allowed:.2g}"]
    rejected = sum(mutant.rejected for mutant in verdict.mutants)
    mutants = f"{rejected} of {len(verdict.mutants)}" if verdict.mutants else "-"
    lines = [f"{verdict.id:<{width}} {_NUMBERS.format(*numbers, verdict.verdict, mutants, f'{verdict.seconds:.1f}')}"]
    lines.append(f"    {verdict.statement.claim or verdict.statement.title}")
    if one is not None:
        lines.append(f"    measured: {one.name} (1 of {len(verdict.measurements)})")
    lines += [f"    {_mutant(mutant)}" for mutant in verdict.mutants]
    if verdict.message:
        lines.append(f"    {verdict.verdict}: {'the same error as above' if known else verdict.message}")
    return "\n".join(lines)


def _mutant(mutant: MutantVerdict) -> str:
    kind = "mutant" if mutant.printed is None else "MISPRINT"
    printed = "" if mutant.printed is None else f"; printed as {mutant.printed}"
    off = ""
    if mutant.rejected and mutant.measurement is not None:
        one = mutant.measurement
        off = f" ({one.name}: {one.measured:.5g}, expected {one.relation} {one.expected:.5g})"
    said = "rejected" if mutant.rejected else "ERROR" if mutant.raised else "NOT REJECTED"
    return f"{kind} {said}: {mutant.name}{off}{printed}"


def summary(verdicts: Sequence[Verdict], strict: bool = False) -> str:
    """The last line of the table."""
    count = Counter(verdict.verdict for verdict in verdicts)
    mutants = [mutant for verdict in verdicts for mutant in verdict.mutants]
    parts = [f"{count['passed']} passed", f"{count['FAILED']} FAILED"]
    if count["ERROR"]:
        parts.append(f"{count['ERROR']} ERROR (not judged, neither true nor false: see relaxsim doctor)")
    parts.append(f"{count['pending']} pending")
    if strict and count["pending"]:
        parts[-1] += " counts as a failure (--strict)" if count["pending"] == 1 else " count as failures (--strict)"
    if mutants:
        printed = [mutant.rejected for mutant in mutants if mutant.printed is not None]
        parts.append(f"{sum(one.rejected for one in mutants)} of {len(mutants)} mutants rejected")
        if printed:
            parts.append(f"of these {sum(printed)} of {len(printed)} misprints of the sources")
    return f"{', '.join(parts)}; {sum(verdict.seconds for verdict in verdicts):.0f} s"


def failed(verdicts: Sequence[Verdict], strict: bool) -> bool:
    """Whether any statement failed or could not be run; with `strict`, whether any is not verified."""
    return any(verdict.verdict in ("FAILED", "ERROR") or (strict and not verdict.passed) for verdict in verdicts)


def to_json(verdicts: Sequence[Verdict], setting: Setting, strict: bool = False, not_run: Sequence[str] = ()) -> str:
    """All that was found, as JSON (RFC 8259: numbers that are not finite are the texts "nan", "inf", "-inf").

    `not_run` holds the ids that an interrupt kept from being run; the run has then failed.
    """
    content = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "relaxsim": version("relaxsim"),
        "full": bool(setting.full),
        "seed": int(setting.seed),
        "strict": strict,
        "failed": failed(verdicts, strict) or bool(not_run),
        "not_run": list(not_run),
        "statements": [_statement(verdict) for verdict in verdicts],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _statement(verdict: Verdict) -> dict[str, Any]:
    known = verdict.statement
    return {
        "id": known.id,
        "title": known.title,
        "source": known.source,
        "latex": known.latex,
        "claim": known.claim,
        "verdict": verdict.verdict,
        "message": verdict.message,
        "raised": verdict.raised,
        "seconds": round(verdict.seconds, 3),
        "worst": None if verdict.measurement is None else verdict.measurements.index(verdict.measurement),
        "measurements": [_measurement(one) for one in verdict.measurements],
        "mutants": [
            {
                "name": one.name,
                "printed": one.printed,
                "rejected": one.rejected,
                "raised": one.raised,
                "message": one.message,
                "seconds": round(one.seconds, 3),
                "worst": None if one.measurement is None else _measurement(one.measurement),
            }
            for one in verdict.mutants
        ],
    }


def _measurement(one: Measurement) -> dict[str, Any]:
    numbers = {name: _number(getattr(one, name)) for name in ("measured", "expected", "tolerance", "stderr", "allowed")}
    return {"name": one.name, "relation": one.relation, **numbers, "dof": one.dof, "passed": one.passed}


def _number(value: float) -> float | str:
    value = float(value)
    return value if math.isfinite(value) else str(value)


def to_junit(verdicts: Sequence[Verdict], strict: bool = False, not_run: Sequence[str] = ()) -> bytes:
    """JUnit XML as pytest writes it: a test case for each statement and for each mutant that was run.

    `not_run` holds the ids that an interrupt kept from being run: errors.
    """
    cases = [case for verdict in verdicts for case in _cases(verdict, strict)]
    for name in not_run:
        cases.append(_case(name, 0.0))
        _add(cases[-1], "error", "not run: interrupted before")
    kinds = Counter(child.tag for case in cases for child in case)
    counts = {
        "errors": str(kinds["error"]),
        "failures": str(kinds["failure"]),
        "skipped": str(kinds["skipped"]),
        "tests": str(len(cases)),
        "time": f"{sum(verdict.seconds for verdict in verdicts):.3f}",
    }
    suites = ElementTree.Element("testsuites", {"name": SUITE})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": SUITE, **counts})
    suite.extend(cases)
    ElementTree.indent(suites)
    found: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return found


def _cases(verdict: Verdict, strict: bool) -> list[ElementTree.Element]:
    own = verdict.seconds - sum(one.seconds for one in verdict.mutants)
    case = _case(verdict.id, own)
    if verdict.verdict == "pending":
        _add(case, "failure" if strict else "skipped", f"pending: {verdict.message}")
    elif verdict.own_message:
        _add(case, "error" if verdict.raised else "failure", verdict.own_message)
    text = "\n".join([verdict.statement.claim, *map(describe, verdict.measurements)])
    ElementTree.SubElement(case, "system-out").text = _clean(text)
    cases = [case]
    for one in verdict.mutants:
        cases.append(
            _case(f"{verdict.id} [{'mutant' if one.printed is None else 'misprint'}: {one.name}]", one.seconds)
        )
        if not one.rejected:
            _add(cases[-1], "error" if one.raised else "failure", one.message)
    return cases


def _case(name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.Element("testcase", {"classname": SUITE, "name": _clean(name), "time": f"{seconds:.3f}"})


def _add(case: ElementTree.Element, kind: str, message: str) -> None:
    ElementTree.SubElement(case, kind, {"message": _clean(message)}).text = _clean(message)


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return _NOT_IN_XML.sub("?", text)
