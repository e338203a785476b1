"""`assert_weak_order`: the order of a scheme, from its transfer operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from relaxsim.errors import CheckFailedError, IncompatibleSchemeError, InputError
from relaxsim.particles.scheme_check import EXACT, SLACK, STEPS, STEPS_2D
from relaxsim.particles.schemes import Scheme, choose
from relaxsim.particles.transfer import Transfer, exact_mean_at, gibbs_means, slopes
from relaxsim.system.domain import Domain
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, Problems, kind_of

ROUNDING = 1e-10  # errors below it have no order


def assert_weak_order(
    scheme: str | Scheme,
    order: float | None = None,
    *,
    system: System | None = None,
    noise: str | None = None,
    stationary: bool = False,
) -> None:
    """Fail unless the error of a scheme's means falls with its order in dt.

    The law of the scheme at four finite steps is had from the transfer operator of its own `step`: nothing is random.

    Parameters
    ----------
    scheme : str or Scheme
        An id, or a scheme of your own.
    order : float, optional
        Above 0; infinite: exact. By default what the scheme declares.
    system : System, optional
        One or two periodic coordinates, at rest in time; by default E = cos x + sin(2x)/2 with K = 1 + sin(x)/2 at
        T = 0.8 on a circle, or the same with K = 1 if the scheme takes no other.
    noise : {"gaussian", "three-point", "two-point"}, optional
        By default the first that the scheme declares.
    stationary : bool
        The order of the stationary law instead of that of means at t = 1.

    Raises
    ------
    CheckFailedError
        The slope of ln(error) against ln(dt) between the last two steps is below the order less 0.15, or errors cannot
        tell: they are not finite, or those of finite order are at the level of rounding, 1e-10. An AssertionError with
        errors and slopes.
    InputError, IncompatibleSchemeError
        The scheme does not take the system or noise, or claims no path; coordinates that are not periodic; an order
        that is not above 0.

    See Also
    --------
    check_scheme : All that a scheme claims.

    Examples
    --------
    >>> import relaxsim as rs
    >>> rs.testing.assert_weak_order("euler-maruyama", 1)
    >>> rs.testing.assert_weak_order("euler-maruyama", 2)
    Traceback (most recent call last):
    relaxsim.errors.CheckFailedError: assert_weak_order: ...
    """
    __tracebackhide__ = True
    _check_arguments(scheme, order, system)
    row, system, noise = _chosen(scheme, system, noise)
    declared = (row.invariant_order if stationary else row.weak_order)[noise]
    expected = float(declared if order is None else order)
    if not stationary and row.dynamics != "true":
        raise InputError(f"scheme: '{row.id}' has the right law at rest only; pass stationary=True")
    steps, errors = _errors(row, system, noise, stationary)
    if not np.isfinite(errors).all():
        raise CheckFailedError(_message(row, noise, stationary, steps, errors, "finite; cannot tell"))
    if np.isinf(expected):
        if not errors.max() < EXACT:
            raise CheckFailedError(_message(row, noise, stationary, steps, errors, f"exact (below {EXACT:g})"))
        return
    if errors.max() <= ROUNDING:
        pairs = ", ".join(f"{error:.2g} at dt = {h:g}" for h, error in zip(steps, errors, strict=True))
        raise CheckFailedError(
            f"assert_weak_order: cannot tell the order of '{row.id}' ({noise} noise): its errors are at the level of "
            f"rounding, {pairs}. It is exact for this system: take another, or order=np.inf"
        )
    # written so that nan fails
    if not slopes(steps, errors)[-1] > expected - SLACK:
        raise CheckFailedError(_message(row, noise, stationary, steps, errors, f"at least {expected - SLACK:g}"))


def _message(row: Scheme, noise: str, stationary: bool, steps: Any, errors: FloatArray, expected: str) -> str:
    law = "law at rest" if stationary else "mean at t = 1"
    pairs = ", ".join(f"{error:.3g} at dt = {h:g}" for h, error in zip(steps, errors, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = " ".join(f"{slope:.2f}" for slope in slopes(steps, errors))
    return (
        f"assert_weak_order: the error of the {law} of '{row.id}' ({noise} noise) is {pairs}: slopes {found}, "
        f"expected the last {expected} (exact, no standard error). Likely: another drift or noise in the step (T div K "
        "missing, the factor 2T), a term of higher order missing, or the claim is too high"
    )


def _check_arguments(scheme: Any, order: Any, system: Any) -> None:
    problems = Problems()
    if not isinstance(scheme, (str, Scheme)):
        text = f"expected the id of a scheme or a Scheme, got {kind_of(scheme)}; write assert_weak_order(scheme, order)"
        problems.add("scheme", text)
    real = isinstance(order, (int, float, np.number)) and not isinstance(order, (bool, np.complexfloating))
    if order is not None and not (real and order > 0):
        problems.add("order", f"expected a number above 0, got {order!r}")
    if system is not None and not isinstance(system, System):
        problems.add("system", f"expected a System, got {kind_of(system)}")
    elif system is not None and not all(system.domain.periodic):
        axis = system.domain.periodic.index(False)
        kind = "an unbounded axis" if system.domain.boundary[axis] == "unbounded" else "walls at the ends of axis"
        problems.add("system", f"expected periodic coordinates, got {kind} {axis}")
    elif system is not None and system.dim > 2:
        problems.add("system", f"expected one or two coordinates, got {system.dim}")
    problems.raise_if_any()


def _chosen(scheme: str | Scheme, system: System | None, noise: str | None) -> tuple[Scheme, System, str]:
    """The scheme, the system that it is tried on, and the noise."""
    if noise is None:
        noise = next(iter(scheme.weak_order), "gaussian") if isinstance(scheme, Scheme) else "gaussian"
    circle = Domain([(0, 2 * np.pi)], boundary="periodic")
    systems = [System("cos(x) + 0.5*sin(2*x)", K, 0.8, circle) for K in ("1 + 0.5*sin(x)", 1.0)]
    candidates = systems if system is None else [system]
    refusal: IncompatibleSchemeError | None = None
    for candidate in candidates:
        try:
            return choose(scheme, candidate, noise, stationary=True), candidate, noise
        except IncompatibleSchemeError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _errors(row: Scheme, system: System, noise: str, stationary: bool) -> tuple[tuple[float, ...], FloatArray]:
    transfer = Transfer(row, system, noise)
    steps = STEPS if system.dim == 1 else STEPS_2D
    if not stationary:
        f: Any = np.cos if system.dim == 1 else (lambda x, y: np.cos(x - y))
        true = exact_mean_at(system, f, 1.0, transfer.positions, transfer.bases[0].n)
        return steps, np.array([transfer.weak_error(h, f, true) for h in steps])
    if system.dim == 1:
        observables: Any = [np.cos, np.sin, lambda x: np.cos(2 * x), lambda x: np.sin(2 * x)]
    else:
        observables = [lambda x, y: np.cos(x - y), lambda x, y: np.cos(x), lambda x, y: np.sin(x + y)]
    exact = gibbs_means(system, observables, 97)
    return steps, np.array([np.linalg.norm(transfer.stationary_means(h, observables) - exact) for h in steps])
