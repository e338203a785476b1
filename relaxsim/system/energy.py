"""The energy E(x): text or a function, with its gradient derived, or given and checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import ExpressionError, InputError, ShapeError
from relaxsim.system import derive
from relaxsim.system.batched import check_batched, check_directions
from relaxsim.system.domain import Domain
from relaxsim.system.expression import MAX_VARIABLES, Tree, check_param_names, param_names, parse, tree_dim
from relaxsim.system.field import Field
from relaxsim.system.given_twice import check_trace, check_twice, gradient_by_differences
from relaxsim.system.trace import TraceError, trace
from relaxsim.system.validate import FloatArray, Problems, check_params, check_points, nearest


class Energy:
    """An energy, in the units of the temperature (k_B = 1).

    Parameters
    ----------
    expression : str or callable
        Text such as ``"(x**2 - 1)**2 + a*y**2/2"`` (see `relaxsim.system.expression.parse`), or a pointwise function
        ``f(x)`` with `x` indexable by component, made of arithmetic and NumPy functions.
    grad : callable, optional
        ``g(x)`` returning a tuple of dim partial derivatives. Needed for a function that branches or calls `math.*`;
        otherwise it is checked against the derived gradient.
    hessian : callable, optional
        ``H(x)`` returning a tuple of rows; checked like `grad`.
    dim : int, optional
        Number of coordinates; by default what the domain or the mobility of the system has, or, without these, what
        the texts use: they count from x0, and a system whose texts skip one is refused unless `dim` says that E is
        flat along it.
    variables : sequence of str, optional
        Names of the coordinates in the text, instead of x, y, z, w or x0, x1, ...
    params : mapping of str to float, optional
        Values of named parameters; `System.with_params` changes them without compiling anew.
    time_dependent : bool, default False
        Whether the functions take a second argument t. In text, just use ``t``.
    batched : bool, default False
        For many coordinates, up to thousands: ``f(x)`` takes an array of shape (dim, n), one column a point, and
        returns n energies; `grad`, which must be given, returns an array (dim, n). Both may use matrix products.

    Raises
    ------
    ExpressionError
        Text outside the grammar; a function that cannot be traced and has no `grad`.
    InputError
        A gradient or Hessian that disagrees with the energy; the message names the worst of 32 points.

    Examples
    --------
    >>> import numpy as np
    >>> from relaxsim import Energy
    >>> energy = Energy("a*x**2/2 + y**4", params={"a": 3.0})
    >>> energy.gradient(np.array([1.0, 2.0]))
    array([ 3., 32.])
    """

    def __init__(
        self,
        expression: str | Callable[..., Any],
        *,
        grad: Callable[..., Any] | None = None,
        hessian: Callable[..., Any] | None = None,
        dim: int | None = None,
        variables: Sequence[str] | None = None,
        params: Mapping[str, float] | None = None,
        time_dependent: bool = False,
        batched: bool = False,
    ) -> None:
        problems = Problems()
        if batched:
            check_batched("energy", expression, {"grad": grad}, dim, problems)
            if hessian is not None:
                problems.add("hessian", "is not used by a batched energy; leave it out")
        self.params: dict[str, float] = check_params(params, "params", problems)
        problems.raise_if_any()
        self.expression, self.variables, self.batched = expression, variables, batched
        self._grad, self._hessian, self._time_dependent = grad, hessian, time_dependent
        if isinstance(expression, str):
            check_param_names(self.params, variables)
            tree = parse(expression, variables, self.params)
            _refuse_unused(self.params, tree)
            self._tree: Tree | None = tree
            self.min_dim = tree_dim(tree)
            self.dim: int | None = _text_dim(self.min_dim, dim, variables)
            self.value = Field((), trees=tree, params=self.params)
        elif callable(expression):
            _check_arguments(expression, time_dependent)
            self._tree = None
            self.min_dim = 1
            self.dim = self._function_dim(dim)
            self.value = Field((), function=expression, time_dependent=time_dependent, batched=batched)
        else:
            raise ExpressionError(f"energy: expected text or a function, got {type(expression).__name__}")
        self._gradient: Field | None = None
        if self.dim is not None:
            self._bind(self.dim, _probe_points(self.dim))

    def __call__(self, x: Any, t: float = 0.0) -> FloatArray:
        """E at points of shape (..., dim), shape (...)."""
        return self.value(check_points(x, self._known_dim()), t)

    def gradient(self, x: Any, t: float = 0.0) -> FloatArray:
        """Partial derivatives of E at points (..., dim), same shape."""
        return self.gradient_field(check_points(x, self._known_dim()), t)

    def hessian(self, x: Any, t: float = 0.0) -> FloatArray:
        """Second derivatives of E at points (..., dim), shape (..., dim, dim)."""
        points, dim = check_points(x, self._known_dim()), self._known_dim()
        if self._tree is not None:
            return Field((dim, dim), trees=derive.hessian(self._tree, dim), params=self.params)(points, t)
        if self._hessian is not None:
            return Field((dim, dim), function=self._hessian, time_dependent=self._time_dependent)(points, t)
        raise InputError("hessian: this energy is a function that cannot be traced; pass hessian= when making it")

    @property
    def gradient_field(self) -> Field:
        """The gradient as trees or as the user's function."""
        if self._gradient is None:
            self._bind(self._known_dim(), _probe_points(self._known_dim()))
        assert self._gradient is not None
        return self._gradient

    @property
    def time_dependent(self) -> bool:
        """Whether E depends on t."""
        return self.value.depends_on_time

    def bound_to(self, dim: int, points: FloatArray) -> Energy:
        """This energy in `dim` coordinates, its derivatives checked at `points`."""
        other = object.__new__(Energy)
        other.__dict__.update(self.__dict__)
        other.dim = dim
        other._bind(dim, points)
        return other

    def with_params(self, params: Mapping[str, float]) -> Energy:
        """The same energy with other values of some parameters."""
        other = object.__new__(Energy)
        other.__dict__.update(self.__dict__)
        other.params = self.params | dict(params)
        other.value = Field((), trees=self._tree, params=other.params) if self._tree is not None else self.value
        if self._gradient is not None and self._gradient.trees is not None:
            other._gradient = Field(self._gradient.shape, trees=self._gradient.trees, params=other.params)
        return other

    def __repr__(self) -> str:
        what = repr(self.expression) if isinstance(self.expression, str) else _function_name(self.expression)
        return f"Energy({what}{f', params={self.params}' if self.params else ''})"

    # ---- how the derivatives come about

    def _known_dim(self) -> int:
        return self.min_dim if self.dim is None else self.dim

    def _function_dim(self, dim: int | None) -> int | None:
        """The number of coordinates a function uses: the smallest with which it can be traced."""
        if self.batched:
            return dim
        if dim is not None:
            if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or not 1 <= dim <= MAX_VARIABLES:
                raise ShapeError(
                    f"dim: expected an integer from 1 to {MAX_VARIABLES}, got {dim!r}; for more coordinates give a "
                    "function of arrays (dim, n) with grad= and batched=True"
                )
            return int(dim)
        for candidate in range(1, MAX_VARIABLES + 1):
            try:
                trace(self.expression, candidate, self._time_dependent)  # type: ignore[arg-type]
            except (IndexError, TraceError):
                continue
            return candidate if candidate > 1 else None  # one coordinate may be a sum over all: let the system say
        return None

    def _bind(self, dim: int, points: FloatArray) -> None:
        """Fix the number of coordinates; trace, derive and cross-check."""
        if self.batched:
            assert self._grad is not None
            self._gradient = self._user_field(self._grad, (dim,))
            check_directions("grad", self.value, self._gradient, points)
            return
        if not isinstance(self.expression, str):
            self._trace(dim, points)
        if self._tree is not None:
            derived = Field((dim,), trees=derive.gradient(self._tree, dim), params=self.params)
            if self._grad is not None:
                check_twice("grad", self._user_field(self._grad, (dim,)), derived, points, "energy")
            self._gradient = derived
        else:
            assert self._grad is not None
            self._gradient = self._user_field(self._grad, (dim,))
            derived = gradient_by_differences(self.value, (dim,))
            check_twice("grad", self._gradient, derived, points, "energy")
        if self._hessian is not None:
            given = self._user_field(self._hessian, (dim, dim))
            derived = gradient_by_differences(self._gradient, (dim, dim))
            check_twice("hessian", given, derived, points, "gradient")

    def _trace(self, dim: int, points: FloatArray) -> None:
        function = self.expression
        assert callable(function)
        by_call = Field((), function=function, time_dependent=self._time_dependent)
        try:
            tree = trace(function, dim, self._time_dependent)
            if isinstance(tree, list):
                raise ShapeError(f"energy: the function must return one number a point, got {len(tree)} values")
            traced = Field((), trees=tree)
            check_trace(traced, by_call, points)
        except (TraceError, IndexError) as error:
            if self._grad is None:
                whole = " x holds the coordinates: write x[0], x[1], ..." if "'tuple'" in str(error) else ""
                raise ExpressionError(
                    f"energy: the gradient of {_function_name(function)} cannot be derived in {dim} dimension(s): "
                    f"{error}.{whole} "
                    "Pass grad= with a function that returns the partial derivatives, or use only arithmetic, NumPy "
                    "functions and relaxsim.elementary; pass dim= if the number of coordinates is wrong"
                ) from None
            self._tree, self.value = None, by_call
            return
        self._tree, self.value = tree, traced

    def _user_field(self, function: Callable[..., Any], shape: tuple[int, ...]) -> Field:
        return Field(shape, function=function, time_dependent=self._time_dependent, batched=self.batched)


def _check_arguments(function: Callable[..., Any], time_dependent: bool) -> None:
    """Refuse a function of (x, t) that is called with x alone."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-in functions do not say
        return
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) == 2 and not time_dependent:
        raise InputError(
            f"energy: {_function_name(function)} takes two arguments, {needed[0].name} and {needed[1].name}; one holds "
            "all coordinates, x[0], x[1], ...; of a function of the position and the time say so: Energy(..., "
            "time_dependent=True)"
        )


def _text_dim(used: int, dim: int | None, variables: Sequence[str] | None) -> int | None:
    dim = len(variables) if dim is None and variables is not None else dim
    if dim is None:
        return None
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or dim < used or dim > MAX_VARIABLES:
        raise ShapeError(f"dim: the text uses {used} coordinate(s) and at most {MAX_VARIABLES} are served, got {dim!r}")
    return int(dim)


def _refuse_unused(params: Mapping[str, float], tree: Tree) -> None:
    used = param_names([tree])
    for name in params:
        if name not in used:
            hint = nearest(name, used)
            raise InputError(
                f"params[{name!r}]: the text does not use this parameter{hint}; remove it or correct the text"
            )


def _probe_points(dim: int) -> FloatArray:
    return Domain.unbounded(dim).sample_points()


def _function_name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
