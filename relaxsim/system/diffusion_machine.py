"""The diffusion machine: a stochastic Hopfield network, relaxing to exp(-f/T) in the box of its activation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import DomainError, InputError, ShapeError
from relaxsim.system.activation import Activation, lookup
from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.expression import MAX_VARIABLES, check_none_skipped
from relaxsim.system.mobility import Mobility
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, Problems, as_float_array


def diffusion_machine(
    f: Energy | str | Callable[..., Any],
    activation: str | Activation = "soft_projection",
    temperature: float | None = None,
    beta: float | Sequence[float] = 1.0,
    *,
    dim: int | None = None,
    bounds: Any = None,
    upper: float | Sequence[float] | None = None,
) -> System:
    """The diffusion machine of an objective f: neurons x = sigma(z) whose hidden states z follow -grad f with noise.

    dz_i = -d_i f dt + sqrt(2 T/sigma'(z_i)) dw_i makes the outputs obey

        dx_i = [-K_i d_i f + T K_i'] dt + sqrt(2 T K_i) dw_i,    K_i(x_i) = sigma'(sigma^-1(x_i)),

    a `System` with energy f, diagonal mobility K and the box of the activation as its domain. Its law relaxes to
    exp(-f/T)/Z with respect to dx. Everything is dimensionless and k_B = 1.

    Parameters
    ----------
    f : Energy, str or callable
        The objective, in units of temperature; a text or function is passed to `Energy`.
    activation : str or Activation, default "soft_projection"
        soft_projection, logistic, tanh, arctan, algebraic, probit, softsign, softplus, exp, sin2 or identity.
    temperature : float
        T > 0.
    beta : float or sequence of float, default 1.0
        Steepness of the activation, for all coordinates or for each; parameters of the system, ``beta`` or ``beta0``,
        ``beta1``, ..., which `System.with_params` changes without compiling anew.
    dim : int, optional
        Number of neurons, at most 16; by default what `f`, `beta` and the box say. A text `f` has to name all from x0
        on where nothing else says it.
    bounds : (low, high) or sequence of (low, high), optional
        The box, for all coordinates or for each; needed for identity, which has none of its own.
    upper : float or sequence of float, optional
        Where the range of softplus or exp, (0, inf), is cut; choose it where exp(-f/T) is negligible, or as a wall.

    Returns
    -------
    System
        All walls are reflecting. The process itself never reaches an end where its hidden variable is infinite; it
        reaches both ends of sin2 and identity, and a cut at `upper` (see `relaxsim.activation`). Time steps overshoot
        all of them: the scheme "sphere" does not (soft_projection, logistic, tanh), others mirror.

    Raises
    ------
    InputError, ShapeError, DomainError, ExpressionError
        Whatever does not fit.

    References
    ----------
    Halder, Caluya, Travacca & Moura, *Hopfield neural network flow: a geometric viewpoint*, IEEE Trans. Neural Netw.
    Learn. Syst. 31 (2020) 4869, arXiv:1908.01270, section V.

    Examples
    --------
    >>> import relaxsim as rs
    >>> machine = rs.diffusion_machine("(x - y)**2 + x*y/2", temperature=0.3, beta=2.0)
    >>> machine.domain
    Domain([(0, 1), (0, 1)], boundary=('reflecting', 'reflecting'))
    >>> machine.mobility([0.5, 0.25])
    array([[1.  , 0.  ],
           [0.  , 0.75]])
    """
    row, steepness = lookup(activation), _checked_beta(beta)
    given = {"dim": _checked_dim(dim), "beta": _length(steepness, 0)}
    box = _ends(row, bounds, upper)
    given |= {"bounds": _length(box, 1) if bounds is not None else None}
    given |= {"upper": _length(box, 1) if upper is not None else None}
    energy = _energy(f, next((size for size in given.values() if size is not None), None))
    dim = _common_dim(energy, given)
    names = ["beta"] * dim if steepness.ndim == 0 else [f"beta{axis}" for axis in range(dim)]
    shared = sorted(set(names) & set(energy.params))
    if shared:
        raise InputError(f"f: its parameter {shared[0]!r} has the name of the activation's steepness; rename it")
    mobility = Mobility.diagonal(
        *(_on_axis(row.mobility, axis, name) for axis, name in enumerate(names)),
        params=dict(zip(names, np.broadcast_to(steepness, dim).tolist(), strict=True)),
    )
    return System(energy, mobility, temperature, Domain(np.broadcast_to(box, (dim, 2))))


def _on_axis(text: str, axis: int, beta: str) -> str:
    """The mobility of one coordinate, its variable and parameter renamed."""
    words = {"x": f"x{axis}", "beta": beta}
    return re.sub(r"\b(x|beta)\b", lambda match: words[match.group()], text)


def _checked_beta(beta: Any) -> FloatArray:
    values = as_float_array(beta, "beta")
    if values.ndim > 1 or values.size == 0:
        raise ShapeError(f"beta: expected a number, or one for each coordinate, got an array of shape {values.shape}")
    if not (np.isfinite(values) & (values > 0)).all():
        raise InputError(f"beta: expected positive finite numbers, got {beta!r}; the activation has to increase")
    return values


def _checked_dim(dim: Any) -> int | None:
    if dim is None:
        return None
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or not 1 <= dim <= MAX_VARIABLES:
        raise ShapeError(f"dim: expected an integer from 1 to {MAX_VARIABLES}, got {dim!r}")
    return int(dim)


def _ends(row: Activation, bounds: Any, upper: Any) -> FloatArray:
    """The box, (2,) or (dim, 2): the activation's range, cut where it is infinite."""
    low, high = row.range
    if bounds is not None and np.isfinite(low):
        hint = "; use upper= to cut it" if np.isinf(high) else ""
        raise InputError(f"bounds: {row.name} has its own range ({low:g}, {high:g}){hint}; bounds are for identity")
    if upper is not None and not (np.isfinite(low) and np.isinf(high)):
        raise InputError(f"upper: {row.name} has no half-infinite range to cut, ({low:g}, {high:g}); leave it out")
    if np.isinf(low):
        if bounds is None:
            raise InputError(f"bounds: {row.name} has no box of its own; write bounds=(0, 1), or one pair a coordinate")
        box = as_float_array(bounds, "bounds")
        if box.ndim not in (1, 2) or box.shape[-1] != 2:
            raise ShapeError(f"bounds: expected (low, high), or one pair a coordinate, got the shape {box.shape}")
        if not (np.isfinite(box).all() and (box[..., 0] < box[..., 1]).all()):
            raise DomainError(f"bounds: expected finite ends, low < high, got {box.tolist()}")
        return box
    if np.isinf(high):
        return _cut(row, upper)
    return np.array([low, high])


def _cut(row: Activation, upper: Any) -> FloatArray:
    low = row.range[0]
    if upper is None:
        raise InputError(
            f"upper: {row.name} has the range ({low:g}, inf), which has to be cut; write upper= with the end of the "
            "box, where exp(-f/T) is negligible or a reflecting wall is meant"
        )
    ends = as_float_array(upper, "upper")
    if ends.ndim > 1 or ends.size == 0:
        raise ShapeError(f"upper: expected a number, or one for each coordinate, got an array of shape {ends.shape}")
    if not (np.isfinite(ends) & (ends > low)).all():
        raise DomainError(f"upper: expected finite ends above {low:g}, got {upper!r}")
    return np.stack([np.full(ends.shape, low), ends], axis=-1)


def _length(values: FloatArray, scalar_ndim: int) -> int | None:
    """The number of coordinates an array has entries for; None where one entry serves all."""
    return None if values.ndim == scalar_ndim else len(values)


def _energy(f: Any, dim: int | None) -> Energy:
    if isinstance(f, Energy):
        return f
    try:
        return Energy(f, dim=None if isinstance(f, str) else dim)
    except ValueError as error:
        problems = Problems()
        problems.add("f", str(error).removeprefix("energy: "), type(error))
        problems.raise_if_any()
        raise


def _common_dim(energy: Energy, given: dict[str, int | None]) -> int:
    """The number of coordinates, on which all arguments must agree."""
    sizes = {name: size for name, size in (given | {"f": energy.dim}).items() if size is not None}
    dim = next(iter(sizes.values()), energy.min_dim)
    if any(size != dim for size in sizes.values()):
        parts = ", ".join(f"{name} has {size}" if name != "dim" else f"dim is {size}" for name, size in sizes.items())
        raise ShapeError(f"diffusion_machine: the arguments differ in their number of coordinates: {parts}")
    if energy.min_dim > dim:
        said = "dim" if "dim" in sizes else next(iter(sizes))
        raise ShapeError(f"f: uses {energy.min_dim} coordinates, but {said} says {dim}; give one entry a coordinate")
    if energy.min_dim < dim and not {"dim", "f"} & sizes.keys():
        raise ShapeError(
            f"{next(iter(sizes))}: has {dim} entries, but f uses {energy.min_dim} coordinates; pass dim={dim} if f is "
            "to be constant along the others"
        )
    if not sizes and energy.value.trees is not None:
        check_none_skipped([energy.value.trees], "f", "dim={dim}")
    if dim > MAX_VARIABLES:
        raise ShapeError(f"diffusion_machine: at most {MAX_VARIABLES} coordinates are served, got {dim}")
    return dim
