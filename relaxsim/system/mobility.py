"""Ways to make a mobility K = S + A, S symmetric and positive, A antisymmetric; what was given twice is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import ExpressionError, MobilityError, ShapeError
from relaxsim.system.antisymmetric import Antisymmetric
from relaxsim.system.expression import param_names
from relaxsim.system.field import Field, flat
from relaxsim.system.given_twice import check_trace, check_twice, divergence_by_differences
from relaxsim.system.matrix_entries import (
    check_constant,
    check_parameters,
    check_symmetric,
    parse_entry,
    probe_points,
    refuse_unused,
    structure_of,
    tuples,
    tuples_of_value,
)
from relaxsim.system.mobility_values import MobilityValues
from relaxsim.system.trace import TraceError, trace
from relaxsim.system.validate import FloatArray, as_float_array


class Mobility(MobilityValues):
    """A mobility; make one with `constant`, `diagonal`, `tensor` or `from_function`.

    A System takes plain numbers, arrays, texts and lists of texts as well: ``mobility=2.0`` is a constant scalar, a
    vector a constant diagonal, a matrix a constant tensor.

    Attributes
    ----------
    structure : {"scalar", "diagonal", "tensor"}
        Of S, which makes the noise: k I, diag(K_1, ..., K_d) or a full symmetric matrix.
    reversible : bool
        Whether there is no antisymmetric part A; see `with_antisymmetric`.
    is_constant : bool
        Whether K depends neither on position nor on time.
    dim : int or None
        Number of coordinates, where the mobility determines it.
    """

    # ---- ways to make one

    @classmethod
    def constant(cls, K: Any) -> Mobility:
        """The same mobility everywhere.

        Parameters
        ----------
        K : float, array_like (d,) or array_like (d, d)
            Scalar, diagonal, or symmetric positive definite matrix.

        Raises
        ------
        MobilityError
            K is not symmetric or not positive definite; the message names the eigenvalue.
        """
        array = as_float_array(K, "mobility")
        check_constant(array)
        # values are parameters so that another K of the same form runs in the same kernel
        names = {index: "K" + "_".join(map(str, index)) for index in np.ndindex(array.shape)}
        params = {name: float(array[index]) for index, name in names.items()}
        trees: Any = ("param", names[()]) if array.ndim == 0 else None
        if array.ndim == 1:
            trees = tuple(("param", names[(a,)]) for a in range(len(array)))
        elif array.ndim == 2:
            trees = tuple(
                tuple(("param", names[min(a, b), max(a, b)]) for b in range(len(array))) for a in range(len(array))
            )
        structure = ("scalar", "diagonal", "tensor")[array.ndim]
        return cls._make(structure, None if array.ndim == 0 else len(array), trees, params)

    @classmethod
    def diagonal(
        cls,
        *entries: str | float,
        params: Mapping[str, float] | None = None,
        variables: Sequence[str] | None = None,
    ) -> Mobility:
        """K = diag(K_1(x), ..., K_d(x)) from a text or number for each axis; one text alone is the scalar k(x).

        Examples
        --------
        >>> from relaxsim import Mobility
        >>> Mobility.diagonal("1 + sin(x)**2/2", "1 + sin(y)**2/2").dim
        2
        """
        if not entries:
            raise MobilityError("mobility: diagonal() needs one text or number for each axis")
        clean = check_parameters(params, variables)
        trees = tuple(parse_entry(entry, f"mobility[{k}]", variables, clean) for k, entry in enumerate(entries))
        refuse_unused(clean, trees)
        if len(trees) == 1:
            return cls._make("scalar", None, trees[0], clean)
        return cls._make("diagonal", len(trees), trees, clean)

    @classmethod
    def tensor(
        cls,
        rows: Sequence[Sequence[str | float]],
        params: Mapping[str, float] | None = None,
        variables: Sequence[str] | None = None,
    ) -> Mobility:
        """A full symmetric matrix K(x) from rows of texts or numbers.

        Parameters
        ----------
        rows : sequence of rows of str or float
            The d rows of d entries, K^ab(x) = K^ba(x), positive definite in the domain.
        params : mapping of str to float, optional
            Values of named parameters.
        variables : sequence of str, optional
            Names of the coordinates in the texts, instead of x, y, z, w or x0, x1, ...

        Examples
        --------
        >>> from relaxsim import Mobility
        >>> Mobility.tensor([["1 + x**2", "a*sin(y)"], ["a*sin(y)", 1.0]], params={"a": 0.5})
        <Mobility: tensor in 2 dimensions>
        """
        clean = check_parameters(params, variables)
        dim = len(rows)
        if dim == 0 or any(isinstance(row, str) or len(row) != dim for row in rows):
            raise ShapeError(f"mobility: tensor() expects d rows of d entries, got {rows!r}")
        trees = tuple(
            tuple(parse_entry(entry, f"mobility[{a}][{b}]", variables, clean) for b, entry in enumerate(row))
            for a, row in enumerate(rows)
        )
        refuse_unused(clean, trees)
        return cls._make("tensor", dim, trees, clean)

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        divergence: Callable[..., Any] | None = None,
        *,
        dim: int | None = None,
        time_dependent: bool = False,
        batched: bool = False,
    ) -> Mobility:
        """K from a pointwise function ``f(x)``.

        Parameters
        ----------
        function : callable
            Returns a number (scalar k(x)), a tuple of d numbers (diagonal) or a tuple of d rows (tensor).
        divergence : callable, optional
            ``g(x)`` returning the tuple of sum_b d K^{ab}/d x^b. Needed for functions that branch or call `math.*`;
            otherwise checked against the derived one.
        dim : int, optional
            Number of coordinates; by default that of the system.
        time_dependent : bool
            Whether the functions take a second argument t.
        batched : bool
            For many coordinates: `function` takes an array (dim, n) and returns the diagonal, (dim, n); `divergence`
            and `dim` must be given.
        """
        if batched:
            from relaxsim.system.batched_mobility import BatchedMobility

            return BatchedMobility.of(function, divergence, dim, time_dependent)
        if not callable(function):
            raise MobilityError(f"mobility: expected a function, got {type(function).__name__}")
        made = cls._make("unknown", dim, None, {})
        made._function, made._divergence, made._time_dependent = function, divergence, time_dependent
        return made if dim is None else made.bound_to(dim, None)

    @classmethod
    def of_density(
        cls,
        function: Callable[..., Any],
        *,
        antisymmetric: Callable[..., Any] | None = None,
        dim: int | None = None,
        time_dependent: bool = False,
    ) -> Mobility:
        """K{p} that depends on the density of probability p at the place, for `FokkerPlanck` only.

        The free energy falls for every K{p} whose symmetric part stays positive. A step in time takes K at the
        density it starts from.

        Parameters
        ----------
        function : callable
            ``f(x, p)`` returning a number, a tuple of d numbers (diagonal) or a tuple of d rows (symmetric tensor).
            Zero or positive at every density p >= 0, positive at p = 1.
        antisymmetric : callable, optional
            ``A(x, p)`` returning d rows, A^ba = -A^ab.
        dim : int, optional
            Number of coordinates; by default that of the system.
        time_dependent : bool
            Whether the functions take one more argument t.

        Examples
        --------
        >>> from relaxsim import Mobility
        >>> Mobility.of_density(lambda x, p: 1 + p, dim=1)
        <Mobility: scalar of the density in 1 dimensions>
        """
        from relaxsim.system.density_mobility import DensityMobility

        return DensityMobility.of(function, antisymmetric, dim, time_dependent)

    @classmethod
    def coerce(cls, value: Any) -> Mobility:
        """A Mobility from what users write: numbers, an array, a text, a list of texts, rows of texts, a function."""
        if isinstance(value, Mobility):
            return value
        if isinstance(value, str):
            return cls.diagonal(value)
        if callable(value):
            return cls.from_function(value)
        if isinstance(value, (list, tuple)) and any(
            isinstance(entry, str) for entry in np.ravel(np.array(value, object))
        ):
            return cls.tensor(value) if isinstance(value[0], (list, tuple)) else cls.diagonal(*value)
        return cls.constant(value)

    @classmethod
    def _make(cls, structure: str, dim: int | None, entries: Any, params: dict[str, float]) -> Mobility:
        made = object.__new__(cls)
        made.structure, made.dim, made.params, made._entries = structure, dim, params, entries
        made._function = made._divergence = made._antisymmetric = None
        made._time_dependent = False
        return made

    def with_antisymmetric(
        self,
        A: Any,
        divergence: Callable[..., Any] | None = None,
        *,
        params: Mapping[str, float] | None = None,
        variables: Sequence[str] | None = None,
        time_dependent: bool = False,
    ) -> Mobility:
        """This mobility with the antisymmetric part A: K = S + A, noise from S, the same Gibbs law.

        The drift becomes T div(S + A) - (S + A) grad E with (div A)^a = sum_b d A^{ab}/d x^b. A^{12} > 0 drives the
        current T d_2 (A^{12} q) along the first axis.

        Parameters
        ----------
        A : array_like (d, d), rows of texts or numbers, or callable
            Antisymmetric at every point. Texts may use the parameters of this mobility; a function ``A(x)`` returns
            d rows of d numbers.
        divergence : callable, optional
            For functions, as in `from_function`.
        params, variables
            For texts, as in `tensor`.
        time_dependent : bool
            Whether the functions take a second argument t. In text, just use ``t``.

        Raises
        ------
        MobilityError
            A is not antisymmetric; the message names the point.

        References
        ----------
        Hwang, Hwang-Ma & Sheu, Ann. Appl. Probab. 3 (1993) 897; with A(x): Ma, Chen & Fox, NIPS 28 (2015) 2917.

        Examples
        --------
        >>> from relaxsim import Mobility
        >>> Mobility.constant(1.0).with_antisymmetric([[0.0, 0.8], [-0.8, 0.0]])
        <Mobility: constant scalar in 2 dimensions, non-reversible>
        """
        own = () if self._entries is None else param_names(flat(self._entries))
        base = {name: self.params[name] for name in own}
        other = self._copy()
        if callable(A):
            part, other.params = Antisymmetric(None, A, divergence, time_dependent), base
        else:
            part, other.params = Antisymmetric.of_entries(A, variables, base, check_parameters(params, variables))
        other._antisymmetric = None if part.vanishes else part
        if None not in (self.dim, part.dim) and self.dim != part.dim:
            raise ShapeError(f"mobility: S has {self.dim} coordinates, A has {part.dim} rows")
        dim = self.dim or part.dim
        # a function that waits for its system takes the number of coordinates from there
        return other if dim is None or self.structure == "unknown" else other.bound_to(dim, None)

    # ---- with other parameters

    def with_params(self, params: Mapping[str, float]) -> Mobility:
        """The same mobility with other values of some parameters."""
        other = self._copy()
        other.params = self.params | dict(params)
        return other

    # ---- binding to a system

    def bound_to(self, dim: int, points: FloatArray | None) -> Mobility:
        """This mobility in `dim` coordinates, checked where something was given twice."""
        other = self._copy()
        if other._function is not None:
            other._bind_function(dim, points)
        if other.structure != "scalar" and other._entries is not None and len(other._entries) != dim:
            raise ShapeError(
                f"mobility: expected {dim} axes as in the rest of the system, got {len(other._entries)} entries"
            )
        other.dim = dim
        if other.structure == "tensor" and other._entries is not None:
            check_symmetric(other.field(probe_points(dim, points)), probe_points(dim, points))
        if other._antisymmetric is not None:
            other._antisymmetric = other._antisymmetric.bound_to(dim, points, other.params)
        return other

    def _bind_function(self, dim: int, points: FloatArray | None) -> None:
        """Find out what the function returns; trace it, or use it as it is with the divergence given."""
        function, where = self._function, probe_points(dim, points)
        assert function is not None
        self.dim = dim
        try:
            trees = tuples(trace(function, dim, self._time_dependent))
            self.structure = structure_of(trees, dim)
            by_call = Field(self.field.shape, function=function, time_dependent=self._time_dependent)
            check_trace(Field(by_call.shape, trees=trees), by_call, where)
        except (TraceError, IndexError) as error:
            if self._divergence is None:
                raise ExpressionError(
                    f"mobility: the divergence of {getattr(function, '__name__', 'the function')} cannot be derived: "
                    f"{error}. "
                    "Pass divergence= with a function that returns the tuple of sum_b dK^ab/dx^b, or use only "
                    "arithmetic, "
                    "NumPy functions and relaxsim.elementary"
                ) from None
            self._entries = None
            self.structure = structure_of(tuples_of_value(function, where[0], self._time_dependent), dim)
            derived = divergence_by_differences(self.symmetric, dim)
        else:
            self._entries = trees
            derived = self.divergence_field
        if self._divergence is not None:
            given = Field((dim,), function=self._divergence, time_dependent=self._time_dependent)
            check_twice("divergence", given, derived, where, "mobility")

    def _copy(self) -> Mobility:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __repr__(self) -> str:
        kind = "constant " if self.is_constant else ""
        where = f" in {self.dim} dimension{'s' * (self.dim > 1)}" if self.dim else ""
        return f"<Mobility: {kind}{self.structure}{where}{'' if self.reversible else ', non-reversible'}>"
