"""`assert_monotone` and `assert_relaxes`: the free energy never rises, and the end is the Gibbs law."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from relaxsim.errors import CheckFailedError, InputError, ShapeError
from relaxsim.functionals.binned import FINE_GROUPS
from relaxsim.functionals.monotone import LEAST_GROUPS, ROUNDING, SMALL_ALPHA, check_monotone
from relaxsim.functionals.relaxation import Relaxation
from relaxsim.functionals.tracking import track
from relaxsim.system.initial import Law
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, kind_of
from relaxsim.testing.gibbs import assert_gibbs
from relaxsim.testing.laws import (
    DEFAULT_ALPHA,
    DEFAULT_TOLERANCE,
    check_alpha,
    check_tolerance,
    real_array,
    warnings_at_caller,
)

MOST_SPREAD = 2.0  # Student's threshold over the normal one, above which groups are too few
CAUSES = (
    "Likely: a force that is not -K grad E, or noise of another temperature; another functional than that of this "
    "system; dt too large: lower it; groups or particles that are not independent"
)
_EXAMPLE = "assert_relaxes(system, rs.initial.normal(...), times=[0, 1, 5], dt=1e-3)"


def assert_monotone(values: Any, *, alpha: float = DEFAULT_ALPHA, tolerance: float = 0.0) -> None:
    r"""Fail unless something never rises from one time to the next.

    Parameters
    ----------
    values : EnsemblePath, DensityPath, Relaxation, or array_like
        Of a path or a record the free energy is tested. An array (n_times,) is of numbers without statistical error; an
        array (R, n_times) holds R independent groups, the rows, of what was measured at the same times.
    alpha : float, default 1e-6
        Probability that what never rises is rejected; numbers without error have none.
    tolerance : float, default 0.0
        Rise between neighbouring times that is forgiven, for arrays, besides rounding. Paths and records take none.

    Raises
    ------
    CheckFailedError
        A rise, or data that cannot tell at this `alpha`: too few particles or groups. An AssertionError with the
        numbers.
    InputError, ShapeError
        Nothing to test, a tolerance for a path, or an energy or temperature that depends on time.

    Notes
    -----
    Groups are independent, times are not: of each difference between neighbouring times the mean over the R groups is
    compared with its own standard error, by Student's t with R - 1 degrees of freedom and `alpha`/(n_times - 1). Groups
    whose threshold is more than twice that of infinitely many are too few: they fail, rise or not. For a
    path this is `Relaxation.check_monotone`, with 48 groups where `alpha` is below 1e-4, which takes 9600 particles.

    Examples
    --------
    >>> import relaxsim as rs
    >>> rs.testing.assert_monotone([3.0, 2.0, 2.0, 1.5])
    >>> rs.testing.assert_monotone([3.0, 2.0, 2.1])
    Traceback (most recent call last):
    relaxsim.errors.CheckFailedError: assert_monotone: ...
    """
    __tracebackhide__ = True
    alpha, tolerance = check_alpha(alpha), check_tolerance(tolerance)
    if isinstance(values, (System, str, bytes)) or values is None or callable(values):
        raise InputError(
            f"values: expected a path, the record of track, or numbers (n_times,) or (R, n_times), got "
            f"{kind_of(values)}"
        )
    if hasattr(values, "times"):
        if tolerance > 0.0:
            raise InputError("tolerance: the free energy of a path or a record takes none; leave it out")
        if not isinstance(values, Relaxation):
            with warnings_at_caller():
                values = track(values)
        if values.moving:
            raise InputError(
                "values: the energy or temperature depends on time, so F may rise by the work done; for a density "
                "stepped by method='backward-euler' test assert_monotone(-path.dissipated)"
            )
        result = check_monotone(values, alpha)
        if result.monotone is not True:
            raise CheckFailedError(f"assert_monotone: {result}{'' if result.monotone is None else f'. {CAUSES}'}")
        return
    array = real_array(values, "values")
    if array.ndim not in (1, 2) or array.shape[-1] < 2 or (array.ndim == 2 and len(array) < 2):
        column = array.ndim == 2 and array.shape[1] == 1 and len(array) > 1
        raise ShapeError(
            f"values: expected (n_times,) or (R, n_times) with two times and two groups or more, got {array.shape}"
            + ("; one column of numbers is values[:, 0]" if column else "")
        )
    if not np.isfinite(array).all():
        raise InputError("values: expected finite numbers")
    _numbers(array, tolerance) if array.ndim == 1 else _groups(array, alpha, tolerance)


def _numbers(values: FloatArray, tolerance: float) -> None:
    __tracebackhide__ = True
    for k, (before, after) in enumerate(itertools.pairwise(values)):
        allowed = tolerance + ROUNDING * max(1.0, abs(before), abs(after))
        if after - before > allowed:
            raise CheckFailedError(
                f"assert_monotone: it rises by {after - before:.4g} from time {k} to {k + 1} ({before:.9g} to "
                f"{after:.9g}), expected at most {allowed:.2g} (exact, no standard error). {CAUSES}"
            )


def _groups(groups: FloatArray, alpha: float, tolerance: float) -> None:
    __tracebackhide__ = True
    from scipy.special import stdtrit

    _check_enough(groups, alpha)
    rises = np.diff(groups, axis=1)
    size = ROUNDING * max(1.0, float(np.abs(groups).max()))
    error = np.maximum(rises.std(axis=0, ddof=1) / np.sqrt(len(rises)), size)
    score = (rises.mean(axis=0) - tolerance) / error
    threshold = -float(stdtrit(len(rises) - 1, alpha / len(score)))
    k = int(np.argmax(score))
    if score[k] > threshold:
        raise CheckFailedError(
            f"assert_monotone: it rises by {rises[:, k].mean():.4g} from time {k} to {k + 1}, expected at most "
            f"{tolerance:g} with standard error {error[k]:.3g}: {score[k]:.2f} standard errors, threshold "
            f"{threshold:.2f} (alpha = {alpha:g} over {len(score)} differences, {len(rises)} groups). {CAUSES}"
        )


def _check_enough(groups: FloatArray, alpha: float) -> None:
    """Student's threshold may be at most `MOST_SPREAD` times the normal one."""
    __tracebackhide__ = True
    from scipy.special import ndtri, stdtrit

    R, n_times = groups.shape
    share = alpha / (n_times - 1)
    normal, threshold = -float(ndtri(share)), -float(stdtrit(R - 1, share))
    if normal <= 0.0 or threshold <= MOST_SPREAD * normal:
        return
    least = next(r for r in itertools.count(R + 1) if -stdtrit(r - 1, share) <= MOST_SPREAD * normal)
    turned = "; or are they transposed (rows are groups, columns are times)? then pass values.T"
    raise CheckFailedError(
        f"assert_monotone: unknown whether it rises: {R} groups at alpha = {alpha:g} over {n_times - 1} differences "
        f"need a threshold of {threshold:.3g} standard errors; give at least {least} groups or a larger alpha"
        + (turned if n_times >= least else "")
    )


def assert_relaxes(
    system: Any,
    initial: Law | None = None,
    *,
    times: Any = None,
    dt: float | None = None,
    n_particles: int | None = None,
    rng: int | np.random.Generator | None = None,
    alpha: float = DEFAULT_ALPHA,
    tolerance: float = DEFAULT_TOLERANCE,
    **options: Any,
) -> None:
    """Fail unless a system relaxes: its free energy never rises, and its last law is the Gibbs law.

    Parameters
    ----------
    system : System, EnsemblePath or DensityPath
        A system is simulated with what follows; a path has been, and takes none of it but `alpha` and `tolerance`.
    initial : law from `relaxsim.initial`
        Law at times[0].
    times : array_like, shape (n_times,)
        From the start to where it should have relaxed: several relaxation times.
    dt : float
        Time step.
    n_particles : int, optional
        By default 20000. Small `alpha` take many: below 1e-4 at least 9600.
    rng : int or numpy.random.Generator, optional
        Seed of the ensemble, by default 0.
    alpha : float, default 1e-6
        Probability that an ensemble that does relax is rejected, half of it for either test; a density has none.
    tolerance : float, default 1e-3
        KL of the last law to the Gibbs law that is forgiven, in nats: the error of dt and of the grid.
    **options
        Further arguments of `relaxsim.simulate`, such as ``scheme="heun"``.

    Raises
    ------
    CheckFailedError
        It does not relax, or the data cannot tell; an AssertionError with the numbers.
    InputError, ShapeError
        Arguments that cannot be used.

    See Also
    --------
    assert_monotone, assert_gibbs : The two tests.
    """
    __tracebackhide__ = True
    alpha, tolerance = check_alpha(alpha), check_tolerance(tolerance)
    given = {"initial": initial, "times": times, "dt": dt, "n_particles": n_particles, "rng": rng, **options}
    if isinstance(system, System):
        n_particles, rng = 20_000 if n_particles is None else n_particles, 0 if rng is None else rng
        path = _simulated(system, initial, times, dt, n_particles, rng, options)
    elif not (hasattr(system, "times") and (hasattr(system, "positions") or hasattr(system, "mass"))):
        raise InputError(
            f"system: expected a System, an EnsemblePath or a DensityPath, got {kind_of(system)}; write {_EXAMPLE}"
        )
    elif any(value is not None for value in given.values()):
        named = ", ".join(name for name, value in given.items() if value is not None)
        raise InputError(f"{named}: the path has been simulated already and takes neither; leave them out")
    else:
        path = system
    groups = FINE_GROUPS if alpha / 2 < SMALL_ALPHA else LEAST_GROUPS
    with warnings_at_caller():
        record = track(path, groups=groups)
    assert_monotone(record, alpha=alpha / 2)
    assert_gibbs(path, alpha=alpha / 2, tolerance=tolerance)


def _simulated(
    system: System,
    initial: Law | None,
    times: Any,
    dt: float | None,
    n_particles: int,
    rng: Any,
    options: dict[str, Any],
) -> Any:
    from relaxsim.particles.simulate import simulate

    needed = {"initial": initial, "times": times, "dt": dt}
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise InputError(f"{', '.join(missing)}: missing; write {_EXAMPLE}")
    options = {"progress": False, **options}
    with warnings_at_caller():
        return simulate(system, initial, times=times, dt=dt, n_particles=n_particles, rng=rng, **options)  # type: ignore[arg-type]
