"""What an observable is: something that looks at the particles while they run and keeps a few numbers of them."""

from __future__ import annotations

import inspect
import reprlib
from typing import Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.particles.observables.accumulate import GROUPS, LEAF
from relaxsim.particles.observables.plain import from_text, to_text
from relaxsim.system import saved
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, Problems, positive_integer


class Observable:
    """Base class of what is measured inside a run; subclass it for an observable of your own.

    `simulate` works on copies of the observables it is given and returns them in ``path.observables``. Particles come
    in leaves of 256: leaf number l holds the particles 256 l, 256 l + 1, ..., the last leaf may hold fewer. They come
    in the order of their numbers, whatever the number of threads, so what is summed leaf by leaf has the same bits in
    every run, and in one that was interrupted and resumed.

    Parameters
    ----------
    every : int, optional
        Look every so many steps and accumulate over all of them; by default look at the times of `simulate` and keep
        each time by itself.
    after : float, optional
        With `every`: the time from which on to accumulate. The initial law is never accumulated.

    Attributes
    ----------
    times : ndarray, shape (n_times,)
        The times looked at; empty with `every`.
    n_particles : int
    n_records : int
        How many times it has looked.

    Notes
    -----
    A subclass defines `begin`, which makes new arrays, `record`, and if need be `finish`; its results are attributes,
    by habit `value` and `stderr`. `state` and `restore` hand its numbers to a checkpoint, `merge` adds a run of other
    particles. Arguments of ``__init__`` are kept as attributes of the same names and do not change; an ``__init__`` of
    its own calls ``super().__init__()``. Names of attributes that need not be kept stand in the class attribute
    `scratch`.
    """

    needs_path = False  # whether it means nothing with schemes or noise that are right in law only
    scratch: tuple[str, ...] = ("every", "after", "n_particles", "first_leaf", "t")  # made anew by each run

    def __init__(self, *, every: int | None = None, after: float | None = None) -> None:
        problems = Problems()
        self.every = None if every is None else positive_integer(every, "every", problems)
        if after is not None and every is None:
            problems.add("after", "goes with every=; without it, times= of simulate says when to look")
        self.after = None if after is None else _finite(after, problems)
        problems.raise_if_any()
        self.times: FloatArray = np.empty(0)
        self.n_particles, self.n_records, self.first_leaf, self.t = 0, 0, 0, 0.0
        self.system: System | None = None
        self.particles: list[tuple[int, int, int]] = []  # of each run in it the seed, the first and their number

    def begin(self, system: System, n_particles: int, times: FloatArray, t0: float, dt: float) -> None:
        """Start anew: make the arrays that hold the numbers.

        Parameters
        ----------
        system : System
        n_particles : int
        times : ndarray, shape (n_times,)
            The times at which `record` will be called with k = 0, 1, ...; empty with `every`.
        t0, dt : float
            Initial time and time step.
        """

    def record(self, leaf: int, positions: FloatArray, weights: FloatArray | None, k: int) -> None:
        """Look at a leaf of particles.

        Parameters
        ----------
        leaf : int
            Its number.
        positions : ndarray, shape (dim, m), m <= 256
            The reported positions; not to be changed, and to be copied if kept.
        weights : ndarray, shape (m,), or None
            Weights of the particles in means, for schemes that have them.
        k : int
            Number of the record: index of the time, or with `every` a count. The time itself is ``self.t``.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """Work out the results; called once, after the last record, and again after `merge`."""

    def state(self) -> dict[str, Any]:
        """The numbers so far, as arrays by name: by default all attributes but the arguments of ``__init__``.

        Numbers, texts, lists, tuples, sets and dicts of them become texts. Functions and objects of relaxsim are left
        out, as is what `scratch` names.

        Raises
        ------
        InputError
            Anything else is among the attributes, and would be lost.
        """
        apart = {name for kind in type(self).__mro__ for name in vars(kind).get("scratch", ())} | self.settings().keys()
        arrays: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and not value.dtype.hasobject:
                arrays[name] = value
            elif not (name in apart or callable(value) or type(value).__module__.startswith("relaxsim.")):
                try:
                    arrays[name] = np.array(to_text(value))
                except TypeError as error:
                    raise InputError(
                        f"observables: a {type(self).__name__} holds {error} in its attribute {name!r}, which no file "
                        "can keep; make it an array, a number or a list of numbers, define state and restore, or write "
                        f"scratch = ({name!r},) in the class if it need not be kept"
                    ) from None
        return arrays

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, after `begin`."""
        for name, value in state.items():
            setattr(self, name, from_text(str(value)) if value.dtype.kind == "U" and value.ndim == 0 else value)

    def merge(self, other: Any) -> None:
        """Add the numbers of a run of other particles, of the same system at the same times."""
        raise InputError(f"merge: {type(self).__name__} does not say how two runs are merged; define merge(other)")

    def settings(self) -> dict[str, Any]:
        """The arguments it was made with, by name: text, numbers, arrays, functions, grids."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self" and hasattr(self, name)}

    def __repr__(self) -> str:
        given = {name: value for name, value in self.settings().items() if value is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={reprlib.repr(value)}' for name, value in given.items())})"

    # ---- called by the run

    def parallel(self, weighted: bool) -> bool:
        """Whether several threads may look at pieces of one record at once."""
        return False

    def look(self, leaf: int, positions: FloatArray, weights: FloatArray | None, k: int) -> None:
        """Look at a piece of several leaves."""
        for begin in range(0, positions.shape[1], LEAF):
            part = slice(begin, begin + LEAF)
            self.record(leaf + begin // LEAF, positions[:, part], None if weights is None else weights[part], k)

    def close(self, k: int) -> None:
        """All leaves of a record have been looked at."""

    @property
    def stride(self) -> int | None:
        """Steps between looks, None for one that looks at the times of the run."""
        return self.every

    def due(self, step: int, k: int | None, t: float) -> bool:
        """Whether to look after so many steps, at which the run reaches its k-th time, if any."""
        if self.stride is None:
            return k is not None
        late = self.after is None or t >= self.after - 1e-9 * max(1.0, abs(t))
        return step > 0 and step % self.stride == 0 and late

    def check_mergeable(self, other: Any) -> None:
        """Refuse to merge with something that has not measured the same."""
        if type(other) is not type(self):
            raise InputError(f"merge: expected another {type(self).__name__}, got {type(other).__name__}")
        if not np.array_equal(self.times, other.times) or self.n_records != other.n_records:
            raise InputError("merge: the two were not recorded at the same times")
        one, two = self.settings(), other.settings()
        for name, value in one.items():
            if not (callable(value) or _same(value, two.get(name))):
                raise InputError(f"merge: they differ in {name}: {value!r} and {two.get(name)!r}")
        self._check_runs(other)

    def _check_runs(self, other: Any) -> None:
        """Refuse what was measured in another system, or has particles in common."""
        for seed, first, n in self.particles:
            for other_seed, other_first, other_n in other.particles:
                low, high = max(first, other_first), min(first + n, other_first + other_n)
                if seed == other_seed and low < high:
                    raise InputError(
                        f"merge: both hold the particles {low} ... {high - 1} of the seed {seed}, which would count "
                        "twice; run one of them with another rng"
                    )
        if self.system is not None and other.system is not None:
            difference = saved.difference(other.system, self.system)
            if difference is not None:
                raise InputError(f"merge: the other one was measured in another system: {difference}")

    def add_particles(self, other: Any) -> None:
        """The particles of a run that was merged are here as well now."""
        self.n_particles += other.n_particles
        self.particles = self.particles + other.particles


def error_of_groups(sums: FloatArray, weights: FloatArray) -> FloatArray:
    """Standard error of sum(sums)/sum(weights) from independent groups along the first axis; nan for fewer than two."""
    filled = weights > 0
    n_groups = filled.sum(axis=0)
    with np.errstate(all="ignore"):
        total = weights.sum(axis=0)
        away = np.where(filled, sums - weights * (sums.sum(axis=0) / total), 0.0)
        variance = n_groups / (n_groups - 1.0) * (away**2).sum(axis=0)
        return np.asarray(np.where(n_groups > 1, np.sqrt(variance) / total, np.nan))


def check_groups(groups: Any) -> int:
    """The number of groups the particles are dealt into."""
    problems = Problems()
    number = positive_integer(GROUPS if groups is None else groups, "groups", problems)
    problems.raise_if_any()
    return number


def _finite(value: Any, problems: Problems) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        problems.add("after", f"expected a time, got {value!r}")
    return number


def _same(one: Any, two: Any) -> bool:
    return bool(np.array_equal(one, two)) if isinstance(one, np.ndarray) else bool(one == two)
