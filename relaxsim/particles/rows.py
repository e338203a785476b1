"""A scheme's step as loops over component rows: what many coordinates run, where writing every one out compiles slowly.

The block's numbers lie in one flat array, a region for each list of the step, a row of BLOCK numbers for each
coordinate. Neighbouring comprehensions become one loop over coordinates with one over particles inside, which
vectorises; a call of the model goes over the whole block, so that its straight-line source is compiled once however
often a step calls it. A step that is not made of such statements is refused, and is written out instead.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeGuard

from relaxsim.particles.random import BLOCK
from relaxsim.particles.unroll import function_of

# the functions of a model that give a number for each coordinate
LISTS = ("drift", "gradient", "divergence", "diagonal", "kick", "inside", "mirror_sign", "position", "spurious")
BATCHED = ("gradient", "mobility", "divergence", "inside", "times_matrix", "times_factor")  # those of batched systems


class NotByRowsError(ValueError):
    """A step that has to be written out, and why."""


@dataclass(frozen=True)
class Number:
    """A statement on a number that is the same for the whole block: ``name = text``."""

    name: str
    text: str


@dataclass(frozen=True)
class Call:
    """A function of the model over the whole block: the list `result`, of lists and the time ``t``."""

    result: str
    function: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Loop:
    """A loop over coordinates and particles; what it reads and writes are entries of lists."""

    lines: list[str]
    lists: list[str]


@dataclass
class RowsStep:
    """A step by rows.

    Attributes
    ----------
    pieces : list of Number, Call or Loop
        To be done in this order; the last leaves the result in the list `x`.
    lists : list of str
        Lists that they keep, besides the arguments of the step.
    """

    pieces: list[Number | Call | Loop] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)

    @property
    def functions(self) -> dict[str, tuple[str, ...]]:
        """The functions of the model that are called, and of what kind their arguments are: "list" or "t"."""
        calls = [piece for piece in self.pieces if isinstance(piece, Call)]
        return {call.function: tuple("t" if name == "t" else "list" for name in call.arguments) for call in calls}


def by_rows(
    step: Callable[..., Any],
    dim: int,
    first_constant: int = 0,
    width: int = BLOCK,
    cell: Callable[[str, str], str] = lambda name, at: f"block[AT_{name} + {at}]",
    rewritten: Callable[[list[ast.stmt]], list[ast.stmt]] = lambda statements: statements,
    functions: Sequence[str] = LISTS,
) -> RowsStep:
    """Translate ``step(model, x, t, h, noise)``.

    Parameters
    ----------
    step : callable
        A scheme's step or output.
    dim : int
        Number of coordinates.
    first_constant : int
        ``model.constants[k]`` is ``numbers[first_constant + k]``.
    width : int
        Particles in a block.
    cell : callable
        How the entry of a list at an offset is written.
    rewritten : callable
        What becomes of the statements first; each holds at most one call of the model.
    functions : sequence of str
        The functions that the model has.

    Raises
    ------
    NotByRowsError
        The step holds a statement that is not a comprehension over all coordinates, a call of the model or a number.
    """
    statements = rewritten(_one_call_each(function_of(step).body))
    return _Translator(dim, first_constant, width, cell, functions).translate(statements)


class _Translator:
    def __init__(
        self, dim: int, first_constant: int, width: int, cell: Callable[[str, str], str], functions: Sequence[str]
    ) -> None:
        self.functions = functions
        self.dim, self.width, self.cell = dim, width, cell
        self.first_constant = first_constant
        self.kept = {"x", "noise"}  # lists with rows in the block
        self.uniform: dict[str, ast.expr] = {}  # lists that are the same for all particles, by their element
        self.group: list[tuple[str, ast.expr]] = []  # comprehensions not yet written
        self.inner: set[str] = set()  # lists of loops that were written, kept or not
        self.result = RowsStep()

    def translate(self, statements: list[ast.stmt]) -> RowsStep:
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
            self.result.pieces.append(Number(name, ast.unparse(self.scalar(value))))

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
        function = ast.unparse(value.func).removeprefix("model.")
        if function not in self.functions:
            raise NotByRowsError(f"line {value.lineno}: model.{function} does not give a number for each coordinate")
        arguments = [argument.id if isinstance(argument, ast.Name) else "" for argument in value.args]
        if not set(arguments) <= self.kept | {"t"}:
            raise NotByRowsError(f"line {value.lineno}: {ast.unparse(value)}")
        self.keep(name)
        self.result.pieces.append(Call(name, function, tuple(arguments)))

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
        return {*self.kept, *self.uniform, *(name for name, _ in self.group), *self.inner}

    def keep(self, name: str) -> None:
        if name not in self.kept:
            self.kept.add(name)
            self.result.lists.append(name)

    def flush(self, later: list[ast.stmt], result: bool = False) -> None:
        """Write the waiting comprehensions as one loop; those that are read later keep their rows."""
        if not self.group:
            return
        read_later = {node.id for statement in later for node in ast.walk(statement) if isinstance(node, ast.Name)}
        wanted = {name for name, _ in self.group if name in read_later}
        writer = _Loop(self)
        lines = []
        for position, (name, element) in enumerate(self.group):
            text = ast.unparse(writer.visit(element))
            final = result and position == len(self.group) - 1
            if final:
                lines.append(f"        {writer.cell('x', 'o + j')} = {text}")
            else:
                lines.append(f"        {name}_j = {text}")
                writer.local.add(name)
            if name in wanted:
                self.keep(name)
                lines.append(f"        {writer.cell(name, 'o + j')} = {name}_j")
        loop = [
            f"for a in range({self.dim}):",
            f"    o = {self.width} * a",
            *[f"    {line}" for line in writer.before],
            f"    for j in range({self.width}):",
            *lines,
        ]
        self.result.pieces.append(Loop(loop, sorted(writer.lists)))
        self.inner |= {name for name, _ in self.group}
        self.group = []


class _InStep(ast.NodeTransformer):
    """What a model has besides functions: its temperature."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if ast.unparse(node) == "model.temperature":
            return ast.Name("temperature", ast.Load())
        raise NotByRowsError(f"{ast.unparse(node)} has no meaning in a step")


class _Loop(_InStep):
    """Elements in the loop over particles: lists become entries of the block, uniform numbers leave the loop."""

    def __init__(self, translator: _Translator) -> None:
        self.owner = translator
        self.local: set[str] = set()
        self.lists: set[str] = set()
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
        if name not in self.owner.kept or (index != "a" and name != "noise"):
            raise NotByRowsError(f"{ast.unparse(node)} is not of the own coordinate")
        at = "o + j" if index == "a" else f"{self.owner.width} * ({index}) + j"
        return ast.parse(self.cell(name, at), mode="eval").body

    def cell(self, name: str, at: str) -> str:
        self.lists.add(name)
        return self.owner.cell(name, at)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.owner.kept or node.id in self.local:
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


class _Numbers(_InStep):
    """The numbers of a step outside loops."""

    def __init__(self, first_constant: int) -> None:
        self.first_constant = first_constant

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
