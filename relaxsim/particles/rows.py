"""A scheme's step as loops over component rows: what many coordinates run, where writing every one out compiles slowly.

The block's numbers lie in one flat array, a region for each list of the step, a row of BLOCK numbers for each
coordinate. Neighbouring comprehensions become one loop over coordinates with one over particles inside, which
vectorises; a call of the model goes over the whole block, so that its straight-line source is compiled once however
often a step calls it. A step that is not made of such statements is refused, and is written out instead.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeGuard

from relaxsim.particles.random import BLOCK
from relaxsim.particles.unroll import function_of


class NotByRowsError(ValueError):
    """A step that has to be written out, and why."""


@dataclass
class RowsStep:
    """A step by rows.

    Attributes
    ----------
    lines : list of str
        Statements that read the regions of the arguments and leave the result in that of `x`.
    regions : list of str
        Names of regions they need besides those of the arguments, each of dim rows.
    functions : mapping of str to tuple of str
        Functions of the model they call, each as ``rows_NAME(model, argument, ..., result)``, and of what kind their
        arguments are: "list" or "t".
    """

    lines: list[str] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)


def by_rows(step: Callable[..., Any], dim: int, arguments: Mapping[str, str], first_constant: int = 0) -> RowsStep:
    """Translate ``step(model, x, t, h, noise)``.

    Parameters
    ----------
    step : callable
        A scheme's step or output.
    dim : int
        Number of coordinates.
    arguments : mapping
        The regions in which the lists among its arguments lie; the result goes to that of `x`.
    first_constant : int
        ``model.constants[k]`` is ``numbers[first_constant + k]``.

    Raises
    ------
    NotByRowsError
        The step holds a statement that is not a comprehension over all coordinates, a call of the model or a number.
    """
    return _Translator(dim, dict(arguments), first_constant).translate(function_of(step))


class _Translator:
    def __init__(self, dim: int, regions: dict[str, str], first_constant: int) -> None:
        self.dim = dim
        self.first_constant = first_constant
        self.regions = regions  # region of each list
        self.uniform: dict[str, ast.expr] = {}  # lists that are the same for all particles, by their element
        self.group: list[tuple[str, ast.expr]] = []  # comprehensions not yet written
        self.inner: set[str] = set()  # lists of loops that were written, kept or not
        self.result = RowsStep()

    def translate(self, function: ast.FunctionDef) -> RowsStep:
        statements = _one_call_each(function.body)
        for position, statement in enumerate(statements):
            later = statements[position + 1 :]
            if isinstance(statement, ast.Return):
                self.finish(statement.value)
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self.assign(statement.targets[0].id, statement.value, later)
            else:
                raise NotByRowsError(f"line {statement.lineno}: {ast.unparse(statement)}")
        return self.result

    def assign(self, name: str, value: ast.expr, later: list[ast.stmt]) -> None:
        if name in self.lists():
            raise NotByRowsError(f"line {value.lineno}: the list {name} gets a second value")
        if isinstance(value, ast.ListComp):
            element = self.element(value)
            if self.is_uniform(element):
                self.uniform[name] = element
            else:
                self.group.append((name, element))
        elif _called_of_model(value):
            self.flush(later=[ast.Expr(value), *later])
            self.call(name, value)
        else:
            self.result.lines.append(f"{name} = {ast.unparse(self.scalar(value))}")

    def finish(self, value: ast.expr | None) -> None:
        if isinstance(value, ast.ListComp):
            self.group.append(("x", self.element(value)))
            self.flush(later=[], result=True)
        elif value is not None and _called_of_model(value):
            self.flush(later=[ast.Expr(value)])
            self.call("x", value)
        else:
            raise NotByRowsError(f"a step returns one comprehension, got {ast.unparse(value) if value else None}")

    def call(self, name: str, value: ast.Call) -> None:
        """Evaluate a function of the model over the whole block."""
        function, arguments = ast.unparse(value.func).removeprefix("model."), []
        for argument in value.args:
            if isinstance(argument, ast.Name) and argument.id in self.regions:
                arguments.append(_region(self.regions[argument.id], self.dim))
            elif isinstance(argument, ast.Name) and argument.id == "t":
                arguments.append("t")
            else:
                raise NotByRowsError(f"line {value.lineno}: {ast.unparse(value)}")
        if name != "x":
            self.region_of(name)
        self.result.functions[function] = tuple("t" if argument == "t" else "list" for argument in arguments)
        self.result.lines.append(
            f"rows_{function}(model, {', '.join([*arguments, _region(self.regions[name], self.dim)])})"
        )

    def element(self, comprehension: ast.ListComp) -> ast.expr:
        """The element of a comprehension over all coordinates, its index renamed to `a`."""
        (loop,) = comprehension.generators
        if ast.unparse(loop.iter) != "range(len(x))" or loop.ifs or not isinstance(loop.target, ast.Name):
            raise NotByRowsError(f"line {comprehension.lineno}: {ast.unparse(comprehension)}")
        element: ast.expr = _Renamed(loop.target.id).visit(copy.deepcopy(comprehension.elt))
        return element

    def is_uniform(self, element: ast.expr) -> bool:
        names = {node.id for node in ast.walk(element) if isinstance(node, ast.Name)}
        lists = {
            node.value.id
            for node in ast.walk(element)
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
        }
        return lists <= set(self.uniform) and not names & (self.lists() - set(self.uniform))

    def scalar(self, value: ast.expr) -> ast.expr:
        """A number that is the same for the whole block."""
        for node in ast.walk(value):
            if isinstance(node, ast.Name) and node.id in self.lists():
                raise NotByRowsError(f"line {value.lineno}: {ast.unparse(value)}")
            if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.List | ast.Tuple):
                raise NotByRowsError(f"line {value.lineno}: {ast.unparse(value)}")
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) != "model.constants":
                raise NotByRowsError(f"line {value.lineno}: {ast.unparse(value)}")
        number: ast.expr = _Numbers(self.first_constant).visit(copy.deepcopy(value))
        return number

    def lists(self) -> set[str]:
        """The names of all lists so far."""
        return {*self.regions, *self.uniform, *(name for name, _ in self.group), *self.inner}

    def region_of(self, name: str) -> str:
        if name not in self.regions:
            self.regions[name] = f"AT_{name}"
            self.result.regions.append(name)
        return self.regions[name]

    def flush(self, later: list[ast.stmt], result: bool = False) -> None:
        """Write the waiting comprehensions as one loop; those that are read later keep their rows."""
        if not self.group:
            return
        read_later = {node.id for statement in later for node in ast.walk(statement) if isinstance(node, ast.Name)}
        kept = {name for name, _ in self.group if name in read_later}
        writer = _Loop(self)
        lines = []
        for position, (name, element) in enumerate(self.group):
            text = ast.unparse(writer.visit(element))
            final = result and position == len(self.group) - 1
            if final:
                lines.append(f"        block[{self.regions['x']} + o + j] = {text}")
            else:
                lines.append(f"        {name}_j = {text}")
                writer.local.add(name)
            if name in kept:
                lines.append(f"        block[{self.region_of(name)} + o + j] = {name}_j")
        self.result.lines += [
            f"for a in range({self.dim}):",
            f"    o = {BLOCK} * a",
            *[f"    {line}" for line in writer.before],
            f"    for j in range({BLOCK}):",
            *lines,
        ]
        self.inner |= {name for name, _ in self.group}
        self.group = []


class _Loop(ast.NodeTransformer):
    """Elements in the loop over particles: lists become entries of the block, uniform numbers leave the loop."""

    def __init__(self, translator: _Translator) -> None:
        self.owner = translator
        self.local: set[str] = set()
        self.before: list[str] = []
        self.known: dict[str, str] = {}

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        name, index = ast.unparse(node.value), ast.unparse(node.slice)
        if name == "model.constants":
            return self.hoisted(f"numbers[{self.owner.first_constant} + {index}]")
        if name in self.owner.uniform and index == "a":
            return self.hoisted_element(name)
        if name in self.local and index == "a":
            return ast.Name(f"{name}_j", ast.Load())
        region = self.owner.regions.get(name)
        if region is None or (index != "a" and name == "x"):
            raise NotByRowsError(f"{ast.unparse(node)} is not of the own coordinate")
        at = "o + j" if index == "a" else f"{BLOCK} * ({index}) + j"
        return ast.parse(f"block[{region} + {at}]", mode="eval").body

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if ast.unparse(node) == "model.temperature":
            return ast.Name("temperature", ast.Load())
        raise NotByRowsError(f"{ast.unparse(node)} has no meaning in a step")

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.owner.regions or node.id in self.local:
            raise NotByRowsError(f"the list {node.id} is used as a whole")
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Name) and node.func.id not in ("sum", "len"):
            return ast.Call(node.func, [self.visit(argument) for argument in node.args], [])
        raise NotByRowsError(ast.unparse(node))

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.IfExp):
            raise NotByRowsError(ast.unparse(node))
        return super().generic_visit(node)

    def hoisted_element(self, name: str) -> ast.expr:
        """An element of a uniform list, computed before the loop over particles."""
        element = self.visit(copy.deepcopy(self.owner.uniform[name]))
        return self.hoisted(ast.unparse(element))

    def hoisted(self, text: str) -> ast.expr:
        if text not in self.known:
            self.known[text] = f"c{len(self.known)}"
            self.before.append(f"{self.known[text]} = {text}")
        return ast.Name(self.known[text], ast.Load())


class _Renamed(ast.NodeTransformer):
    """The index of a comprehension, called `a`."""

    def __init__(self, index: str) -> None:
        self.index = index

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name("a", ast.Load()) if node.id == self.index else node


class _Numbers(ast.NodeTransformer):
    """The numbers of a step outside loops."""

    def __init__(self, first_constant: int) -> None:
        self.first_constant = first_constant

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if ast.unparse(node) == "model.temperature":
            return ast.Name("temperature", ast.Load())
        raise NotByRowsError(f"{ast.unparse(node)} has no meaning in a step")

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        return ast.parse(f"numbers[{self.first_constant} + {ast.unparse(node.slice)}]", mode="eval").body


def _one_call_each(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements, with what is handed to a function of the model given a name first."""
    statements: list[ast.stmt] = []
    numbers = count()

    def named(value: ast.expr) -> ast.expr:
        if not isinstance(value, ast.ListComp) and not _called_of_model(value):
            return value
        name = f"part{next(numbers)}"
        add(ast.Assign([ast.Name(name, ast.Store())], value, lineno=value.lineno))
        return ast.Name(name, ast.Load())

    def add(statement: ast.stmt) -> None:
        value = getattr(statement, "value", None)
        if value is not None and _called_of_model(value):
            value.args = [named(argument) for argument in value.args]
        statements.append(statement)

    for statement in copy.deepcopy(body):
        add(statement)
    return statements


def _called_of_model(value: ast.expr | None) -> TypeGuard[ast.Call]:
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and ast.unparse(value.func.value) == "model"
    )


def _region(start: str, rows: int) -> str:
    return f"block[{start} : {start} + {BLOCK * rows}]"
