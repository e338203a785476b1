"""A batched function as the statements of a step: it is called once with a stand-in that records what is done to it.

What is understood: arithmetic, NumPy's elementary functions, numbers, columns (dim, 1), and products of a square matrix
with what depends on the particles. Any other function is left to Python, so is one that differs from what was recorded
of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from relaxsim.particles.random import BLOCK
from relaxsim.system.expression import Tree, leaves
from relaxsim.system.field import Field
from relaxsim.system.source import Writer, numpy_function, simplify_powers
from relaxsim.system.trace import TraceError, Tracer, as_tree

MAX_DIM = 1024  # beyond it, a matrix is read from memory too often: BLAS is faster
AGREES = 1e-11  # relative to the largest value
X = ("param", "x")


@dataclass
class Record:
    """What functions are made of, besides their trees.

    Attributes
    ----------
    dim : int
        Number of coordinates.
    matrices : list of ndarray
        Those of matrix products.
    numbers : list of float
        Constants. The leaf ``("param", "number3")`` of a tree is the fourth, ``("param", "column3")`` has a value for
        each coordinate, from the fourth on.
    """

    dim: int
    matrices: list[np.ndarray] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)

    def constant(self, value: Any) -> Tree:
        """The leaf of a number or a column."""
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise TraceError(f"expected real numbers, got {value!r:.40}")
        if array.size == 1 and array.ndim <= 2:
            return self._leaf("number", [float(array.reshape(()))])
        if array.shape != (self.dim, 1):
            raise TraceError(f"expected an array of shape ({self.dim}, 1), got {array.shape}")
        return self._leaf("column", array[:, 0].tolist())

    def matrix(self, value: Any) -> int:
        """The index of a square matrix."""
        array = np.array(value, dtype=np.float64)
        if array.shape != (self.dim, self.dim) or self.dim > MAX_DIM:
            raise TraceError(f"no product with a matrix of shape {array.shape}")
        for index, known in enumerate(self.matrices):
            if np.array_equal(known, array):
                return index
        self.matrices.append(array)
        return len(self.matrices) - 1

    def value(self, leaf: str) -> Any:
        """The number or column (dim, 1) that a leaf stands for."""
        if leaf.startswith("number"):
            return self.numbers[int(leaf.removeprefix("number"))]
        first = int(leaf.removeprefix("column"))
        return np.array(self.numbers[first : first + self.dim])[:, None]

    def _leaf(self, kind: str, values: list[float]) -> Tree:
        self.numbers += values
        return ("param", f"{kind}{len(self.numbers) - len(values)}")


@dataclass(frozen=True)
class Product:
    """A matrix times the value of a tree; the k-th product of a function is the leaf ``("param", "product{k}")``."""

    matrix: int
    operand: Tree


@dataclass(frozen=True)
class Recorded:
    """A function of a block.

    Attributes
    ----------
    products : list of Product
        In the order in which they are taken.
    result : tree
        The value of the function.
    """

    products: list[Product]
    result: Tree

    def __call__(self, record: Record, x: np.ndarray, t: float) -> np.ndarray:
        """The value at points (dim, n), by NumPy."""
        known = {"x": x}
        for k, product in enumerate(self.products):
            known[f"product{k}"] = record.matrices[product.matrix] @ _value(product.operand, record, known, t)
        return _value(self.result, record, known, t)

    def statements(self, name: str, x: str, first_number: int) -> list[str]:
        """Statements of a step that set the list `name` to the value at the list `x`.

        The recorded numbers stand in ``model.constants`` from `first_number` on.
        """
        writer = _ListWriter(name, x, first_number)
        for k, product in enumerate(self.products):
            operand = writer.list_of(product.operand)
            writer.lines.append(f"{name}_product{k} = model.times_{product.matrix}({operand})")
        element = writer.value(self.result)
        return [*writer.lines, f"{name} = [{element} for a in range(len(x))]"]


def recorded(given: Field, record: Record, points: np.ndarray) -> Recorded:
    """A user's batched function, recorded.

    Parameters
    ----------
    given : Field
        The function.
    record : Record
        Where its matrices and constants are added.
    points : ndarray, shape (dim, BLOCK)
        Where what was recorded is compared with the function.

    Raises
    ------
    TraceError
        It does what is not understood, or differs from what was recorded.
    """
    assert given.function is not None
    products: list[Product] = []
    arguments = (BlockTracer(X, record, products), BlockTracer(("time",), record, products))
    try:
        value = given.function(*arguments[: 1 + given.time_dependent])
        value = _unwrapped(value)
        if not isinstance(value, BlockTracer) or not value.depends_on_particles:
            raise TraceError(f"the value is {value!r:.40}")
        found = Recorded(products, simplify_powers(value.tree))
        _compare(found, given, record, points)
    except TraceError:
        raise
    except Exception as error:  # whatever a user's function raises when it meets a stand-in
        raise TraceError(f"{type(error).__name__}: {error}") from error
    return found


class BlockTracer(Tracer):
    """Stands for a block (dim, 128), or for the time."""

    __slots__ = ("products", "record")

    def __init__(self, tree: Tree, record: Record, products: list[Product]) -> None:
        super().__init__(tree)
        self.record, self.products = record, products

    @property
    def shape(self) -> tuple[int, int]:
        """That of the blocks that the function will be given."""
        return (self.record.dim, BLOCK)

    @property
    def depends_on_particles(self) -> bool:
        """Whether this is a block: not what is the same for all particles."""
        return any(leaf == X or (leaf[1:] and leaf[1].startswith("product")) for leaf in leaves(self.tree))

    def made(self, tree: Tree) -> BlockTracer:
        return BlockTracer(tree, self.record, self.products)

    def operand(self, value: Any) -> Tree:
        value = _unwrapped(value)
        return value.tree if isinstance(value, BlockTracer) else self.record.constant(value)

    def joined(self, kind: str, left: Any, right: Any) -> Tracer:
        if kind == "pow" and np.ndim(right) == 0 and not isinstance(right, Tracer):
            right = self.made(as_tree(right))  # an exponent belongs to the form of a function
        return super().joined(kind, left, right)

    def __rmatmul__(self, matrix: Any) -> BlockTracer:
        if not self.depends_on_particles:
            raise TraceError("a product of a matrix with what is the same for all particles")
        self.products.append(Product(self.record.matrix(matrix), simplify_powers(self.tree)))
        return self.made(("param", f"product{len(self.products) - 1}"))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.matmul and method == "__call__" and not kwargs and _unwrapped(inputs[1]) is self:
            return self.__rmatmul__(inputs[0])
        return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)


class _ListWriter(Writer):
    """Elements of lists."""

    signs: Mapping[str, str] = {**Writer.signs, "pow": "power({}, {})"}

    def __init__(self, name: str, x: str, first_number: int) -> None:
        super().__init__()
        self.name, self.x, self.first_number = name, x, first_number

    def list_of(self, tree: Tree) -> str:
        """The name of the list with a tree's value."""
        element = self.value(tree)
        if element.endswith("[a]") and element.count("[") == 1:
            return element.removesuffix("[a]")
        return self.assign(element).removesuffix("[a]")

    def leaf(self, name: str) -> str:
        if name == "x":
            return f"{self.x}[a]"
        if name.startswith("product"):
            return f"{self.name}_{name}[a]"
        at = self.first_number + int(name[6:])
        return f"model.constants[{at}]" if name.startswith("number") else f"model.constants[{at} + a]"

    def assign(self, expression: str, name: str | None = None) -> str:
        name = name or f"{self.name}_{len(self.lines)}"
        self.lines.append(f"{name} = [{expression} for a in range(len(x))]")
        return f"{name}[a]"


def _value(tree: Tree, record: Record, known: Mapping[str, np.ndarray], t: float) -> np.ndarray:
    names = tuple(sorted(leaf[1] for leaf in leaves(tree) if leaf[0] == "param"))
    values = tuple(known[name] if name in known else record.value(name) for name in names)
    value: np.ndarray = numpy_function(tree, names)(values, (), t)
    return value


def _compare(found: Recorded, given: Field, record: Record, points: np.ndarray) -> None:
    """Refuse what differs from the function at the points, near rest or far away."""
    assert given.function is not None
    for t in (0.0, 0.7)[: 1 + given.time_dependent]:
        for size in (1.0, 1e-3, 5.0):
            at = points * size
            with np.errstate(all="ignore"):
                expected = np.asarray(given.function(at.copy(), *((t,) if given.time_dependent else ())))
                _check(found(record, at, t), expected)


def _check(found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape:
        raise TraceError(f"recorded a value of shape {found.shape}, the function's is {expected.shape}")
    usable = np.isfinite(expected)
    size = np.abs(expected[usable]).max(initial=0.0)
    if not np.array_equal(usable, np.isfinite(found)) or not np.allclose(
        found[usable], expected[usable], rtol=AGREES, atol=AGREES * size
    ):
        raise TraceError("the function differs from what was recorded of it")


def _unwrapped(value: Any) -> Any:
    """What `numpy.asarray` was given, if that was a stand-in."""
    whole = isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 0
    return value.item() if whole else value


# ---- all functions of a system


def all_recorded(fields: Mapping[str, Field], points: np.ndarray) -> tuple[Record, dict[str, Recorded]] | None:
    """The batched functions of a system, or None if one of them has to be called."""
    record = Record(points.shape[0])
    try:
        return record, {name: recorded(given, record, points) for name, given in fields.items()}
    except TraceError:
        return None
