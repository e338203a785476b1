"""A scheme's step, written with comprehensions over coordinates, as straight-line source for one dimension.

``model.drift(x, t)`` becomes ``model_drift(model, x, t)``, ``model.temperature`` becomes ``model[0]``, or
``model_temperature(model, t)`` where it changes with time, ``len(x)`` the dimension, and each comprehension or sum over
a ``range`` is written out. Numba then sees tuples of known length and can vectorise across particles.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any


def unrolled_source(
    step: Callable[..., Any],
    lengths: Mapping[str, int],
    name: str,
    first_constant: int = 0,
    moving_temperature: bool = False,
) -> str:
    """Source of ``name(model, x, t, h, noise)``, or with `carried` as well.

    Parameters
    ----------
    step : callable
        A scheme's ``step(model, x, t, h, noise)``.
    lengths : mapping
        The lengths of `x`, `noise` and `carried`.
    name : str
        What the function is called.
    first_constant : int
        ``model.constants[k]`` becomes ``model[first_constant + k]``.
    moving_temperature : bool
        Whether the temperature is a function of the step's time.

    Raises
    ------
    ValueError
        The step uses a construct that cannot be written out.
    """
    function = function_of(step)
    function.name = name
    unroll = _Unroll(lengths, first_constant, moving_temperature)
    return ast.unparse(ast.fix_missing_locations(unroll.visit(function))) + "\n"


def function_of(step: Callable[..., Any]) -> ast.FunctionDef:
    """The tree of a function's source, without its docstring and decorators."""
    function = ast.parse(textwrap.dedent(inspect.getsource(step))).body[0]
    assert isinstance(function, ast.FunctionDef)
    if ast.get_docstring(function):
        function.body = function.body[1:]
    function.decorator_list = []
    return function


class _Unroll(ast.NodeTransformer):
    def __init__(self, lengths: Mapping[str, int], first_constant: int, moving_temperature: bool = False) -> None:
        self.lengths = lengths
        self.first_constant = first_constant
        self.moving_temperature = moving_temperature
        self.indices: dict[str, int] = {}
        self.sizes = dict(lengths)  # of sequences that a star may stand before

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.indices[node.id]) if node.id in self.indices else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if ast.unparse(node.value) == "model.constants":
            index = _integer(ast.unparse(self.visit(node.slice)))
            return ast.Subscript(ast.Name("model", ast.Load()), ast.Constant(self.first_constant + index), ast.Load())
        self.generic_visit(node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == "model" and node.attr == "temperature":
            if self.moving_temperature:
                return ast.parse("model_temperature(model, t)", mode="eval").body
            return ast.Subscript(ast.Name("model", ast.Load()), ast.Constant(0), ast.Load())
        raise ValueError(f"line {node.lineno}: {ast.unparse(node)} has no meaning in a step")

    def visit_Call(self, node: ast.Call) -> ast.expr:
        function = node.func
        if (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id == "model"
        ):
            arguments = [self.visit(argument) for argument in node.args]
            return ast.Call(
                ast.Name(f"model_{function.attr}", ast.Load()), [ast.Name("model", ast.Load()), *arguments], []
            )
        if isinstance(function, ast.Name) and function.id == "len" and isinstance(node.args[0], ast.Name):
            return ast.Constant(self.lengths[node.args[0].id])
        if (
            isinstance(function, ast.Name)
            and function.id == "sum"
            and isinstance(node.args[0], ast.ListComp | ast.GeneratorExp)
        ):
            terms = self.written_out(node.args[0])
            total: ast.expr = terms[0] if terms else ast.Constant(0.0)
            for term in terms[1:]:
                total = ast.BinOp(total, ast.Add(), term)
            return total
        self.generic_visit(node)
        return node

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        return ast.Tuple(self.written_out(node), ast.Load())

    def visit_List(self, node: ast.List) -> ast.expr:
        entries: list[ast.expr] = []
        for entry in node.elts:
            value = self.visit(entry.value if isinstance(entry, ast.Starred) else entry)
            if not isinstance(entry, ast.Starred):
                entries.append(value)
            elif isinstance(value, ast.Tuple):
                entries += value.elts
            elif isinstance(value, ast.Name) and value.id in self.sizes:
                names = (ast.Name(value.id, ast.Load()) for _ in range(self.sizes[value.id]))
                entries += [ast.Subscript(name, ast.Constant(k), ast.Load()) for k, name in enumerate(names)]
            else:
                raise ValueError(f"line {node.lineno}: the length of {ast.unparse(entry)} is not known")
        return ast.Tuple(entries, ast.Load())

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        """Lists that are written out have a known length, by which a star before their name is."""
        node.value = self.visit(node.value)
        (target,) = node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Tuple):
            self.sizes[target.id] = len(node.value.elts)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        test = self.visit(node.test)
        chosen: ast.expr = self.visit(node.body if _integer(ast.unparse(test)) else node.orelse)
        return chosen

    def written_out(self, node: ast.ListComp | ast.GeneratorExp) -> list[ast.expr]:
        """The elements of a comprehension over range(...)."""
        (loop,) = node.generators
        if not (
            isinstance(loop.iter, ast.Call)
            and ast.unparse(loop.iter.func) == "range"
            and isinstance(loop.target, ast.Name)
        ):
            raise ValueError(f"line {node.lineno}: a step loops over range(len(x)) only, got {ast.unparse(node)}")
        bounds = [_integer(ast.unparse(self.visit(copy.deepcopy(bound)))) for bound in loop.iter.args]
        elements = []
        for index in range(*bounds):
            self.indices[loop.target.id] = index
            if all(_integer(ast.unparse(self.visit(copy.deepcopy(test)))) for test in loop.ifs):
                elements.append(self.visit(copy.deepcopy(node.elt)))
            del self.indices[loop.target.id]
        return elements


def _integer(text: str) -> int:
    """The value of index arithmetic on constants, from a scheme's own source."""
    return int(eval(compile(text, "<step>", "eval"), {"__builtins__": {}}))
