"""The methods of time stepping, one row each, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from relaxsim.density import backward_euler, radau, separable
from relaxsim.density.action import TOGETHER, WORTH_COMPILING, Action
from relaxsim.density.chebyshev import Segments, expected_terms
from relaxsim.density.flow import Balance, Flow
from relaxsim.density.krylov import SHORT, Arnoldi
from relaxsim.density.promise import TOLERANCE, Worst
from relaxsim.density.solve import check_fill, expected_fill
from relaxsim.density.stepping import Adaptive, evolve_fixed
from relaxsim.errors import IncompatibleSchemeError
from relaxsim.progress import Bar
from relaxsim.system.validate import FloatArray, nearest

if TYPE_CHECKING:
    from relaxsim.density.fokker_planck import FokkerPlanck

FREE_ENERGY_TOLERANCE = 1e-3  # of backward Euler, in units of T
_HELD = -600.0  # ln of a mass at rest, below which a cell holds none
_FACTOR_ENTRIES = 3e6  # of a moving generator's factors, made anew at every step, up to which auto takes Radau

# CPU seconds on one core, fitted to both methods on 256 to 4096 cells of a line, 36^2 to 256^2 of a plane (with tensors
# to 128^2) and 16^3 to 32^3, to t = 0.1 ... 50 with 2 and 11 stored times: within a factor of two where it matters.
# `tests/benchmarks/test_density.py` holds the choice to it.
_PASS = (0.16e-9, 0.74e-9, 0.045e-9)  # of a fused term: an entry of a neighbour, another, a cell for each further time
_PRODUCT = (5e-6, 0.7e-9)  # of a term by SciPy's product: itself and an entry
_TURNING = 256.0  # time times largest rate of the segments that pass, about, where complex rates let terms grow
_FACTORISE = 5.5e-9  # an entry of the factors and the root of the entries a cell
_SOLVE = (1e-4, 1e-9, 4e-8)  # itself, an entry of the factors, and a cell, with making the basis orthogonal
_SOLVES = 20  # for one stored time
_MORE = 0.4  # of all that for each decade between the first stored time and the last


@dataclass
class Task:
    """What is to be evolved, and what is known about how it went.

    Attributes
    ----------
    equation : FokkerPlanck
    flow : Flow
    mass : ndarray, shape (n,)
        At times[0].
    times : ndarray, shape (n_times,)
    step, tol : float, optional
        As given to `FokkerPlanck.evolve`.
    bar : Bar
    balance : Balance
    worst : Worst
    solves : int
        Linear systems solved, or products with the generator for a method that solves none.
    """

    equation: FokkerPlanck
    flow: Flow
    mass: FloatArray
    times: FloatArray
    step: float | None
    tol: float | None
    bar: Bar
    balance: Balance
    worst: Worst = field(default_factory=Worst)
    solves: int = 0

    @cached_property
    def rate(self) -> float:
        """The largest rate of leaving a cell."""
        return float(np.max(-self.flow.generator.diagonal(), initial=0.0))

    @cached_property
    def held_rate(self) -> float:
        """The same among cells that hold mass at rest, however little."""
        n = self.equation.grid.n_cells
        held = self.flow.log_gibbs(float(self.times[0])) > _HELD
        return float(np.max(-self.flow.generator.diagonal()[:n], where=held, initial=0.0))


@dataclass(frozen=True)
class Row:
    """A method.

    Attributes
    ----------
    run : callable
        Flat masses at times[1:] of a task.
    moves : bool
        Whether it serves generators that change with time.
    by_density : bool
        Whether it serves generators that depend on the density.
    takes_step : bool
        Whether `step` means something to it.
    factorises : bool
        Whether it needs factors of a matrix on all cells.
    summary : str
        What it is.
    """

    run: Callable[[Task], Iterator[FloatArray]]
    moves: bool
    by_density: bool
    takes_step: bool
    factorises: bool
    summary: str


def _separable(task: Task) -> Iterator[FloatArray]:
    return separable.run(task.equation, task.mass, task.times, task.bar)


def _segments(task: Task) -> Segments:
    generator = task.flow.generator
    work = _terms(task, task.times) * generator.shape[0]
    return Segments(lambda: Action(generator, work > WORTH_COMPILING, task.flow.balanced), task.worst)


def _chebyshev(task: Task) -> Iterator[FloatArray]:
    segments = _segments(task)
    try:
        yield from segments.run(task.mass, task.times, task.bar)
    finally:
        task.solves = segments.products


def _krylov(task: Task) -> Iterator[FloatArray]:
    segments = _segments(task)
    arnoldi = Arnoldi(task.flow.generator, segments, task.rate, task.worst, task.flow.grid, task.held_rate)
    try:
        yield from arnoldi.run(task.mass, task.times, task.bar)
    finally:
        task.solves = arnoldi.solves + segments.products


def _stepped(
    task: Task, stepper: backward_euler.Stepper | radau.Stepper, adaptive: Adaptive, first: float
) -> Iterator[FloatArray]:
    try:
        if task.step is not None:
            yield from evolve_fixed(stepper, task.mass, task.times, task.step, task.bar, _kept(task))
        else:
            yield from adaptive.run(task.mass, task.times, first, task.bar)
    finally:
        task.solves = stepper.solves


def _backward_euler(task: Task) -> Iterator[FloatArray]:
    flow, tol = task.flow, FREE_ENERGY_TOLERANCE if task.tol is None else task.tol
    stepper = backward_euler.Stepper(None if flow.moving else flow.generator, flow, task.worst)
    # A first step that moves about tol of the mass; doubling finds the right one from there.
    speed = float(np.abs(flow.at(float(task.times[0]), task.mass) @ task.mass).sum())
    adaptive = Adaptive(
        stepper,
        tol,
        flow.kl if flow.weighed else None,
        flow.weighed and not flow.weights_move,
        _kept(task),
        extrapolated=flow.by_density,  # no method of higher order serves these
    )
    return _stepped(task, stepper, adaptive, tol / max(speed, 1e-300))


def _radau(task: Task) -> Iterator[FloatArray]:
    flow = task.flow
    stepper = radau.Stepper(None if flow.moving else flow.generator, flow, task.worst)
    adaptive = Adaptive(stepper, TOLERANCE if task.tol is None else task.tol, None, False, _kept(task))
    rate = float(np.max(-flow.at(float(task.times[0]), task.mass).diagonal(), initial=0.0))
    return _stepped(task, stepper, adaptive, 4.0 / max(rate, 1e-300))


def _kept(task: Task) -> Callable[[FloatArray, float, FloatArray, float], None] | None:
    return task.balance.add if task.flow.moving else None


METHODS: dict[str, Row] = {
    "separable": Row(_separable, False, False, False, False, "one stochastic matrix an axis; exact in time"),
    "chebyshev": Row(_chebyshev, False, False, False, False, "checked Chebyshev segments; short and medium times"),
    "krylov": Row(_krylov, False, False, False, True, "shift-invert Arnoldi; long times"),
    "radau": Row(_radau, True, False, True, True, "Radau IIA of order 5; stiff or changing with time"),
    "backward-euler": Row(
        _backward_euler, True, True, True, True, "positive and monotone at every step, of order 1; depending on density"
    ),
}
NAMES = ("auto", *METHODS)


def choose(task: Task) -> tuple[str, str]:
    """The method that "auto" takes, and why."""
    flow, shape = task.flow, task.equation.grid.shape
    if task.step is not None:
        return "backward-euler", "a fixed step was given"
    if flow.by_density:
        return "backward-euler", "the mobility depends on the density and is frozen over each step"
    if flow.moving:
        if expected_fill(shape) <= _FACTOR_ENTRIES:
            return "radau", "the generator changes with time"
        return "backward-euler", "the generator changes with time, and on this grid factors are dear"
    if task.times.size == 1:
        return "chebyshev", "there is one time only"
    reason = separable.why_not(task.equation)
    if reason is None:
        return "separable", "energy and mobility separate into axes"
    terms = _terms(task, task.times)
    length = task.rate * float(task.times[-1] - task.times[0])
    segments, spaces = _chebyshev_seconds(task, task.times), _krylov_seconds(task)
    about = f"time times largest rate is {length:.2g} on {flow.generator.shape[0]} cells"
    if segments <= spaces:
        return "chebyshev", f"{about}: {terms} products cost less than factors; {reason}"
    return "krylov", f"{about}: factors cost less than {terms} products; {reason}"


def _terms(task: Task, times: FloatArray) -> int:
    """About how many products Chebyshev segments take."""
    mobility = getattr(task.equation.system, "mobility", None)  # a process given by its drift has none
    turns = task.equation.grid.dim > 1 and not getattr(mobility, "reversible", False)
    return expected_terms(times, task.rate, _TURNING) if turns else expected_terms(times, task.rate)


def _chebyshev_seconds(task: Task, times: FloatArray) -> float:
    n, entries = task.flow.generator.shape[0], task.flow.generator.nnz
    terms = _terms(task, times)
    if terms * n <= WORTH_COMPILING:
        return float(terms * (_PRODUCT[0] + _PRODUCT[1] * entries))
    near = min(entries, _neighbours(task) * n)
    more = min(max(times.size - 2, 0), TOGETHER)
    return float(terms * (_PASS[0] * near + _PASS[1] * (entries - near) + _PASS[2] * more * n))


def _krylov_seconds(task: Task) -> float:
    lengths = task.times - task.times[0]
    early = lengths[lengths * task.rate <= SHORT]  # which Chebyshev segments take
    if early.size == lengths.size:
        return math.inf
    n, entries = task.flow.generator.shape[0], task.flow.generator.nnz
    fill = expected_fill(task.equation.grid.shape) * max(1.0, entries / (_neighbours(task) * n))
    factor = _FACTORISE * fill * (fill / n) ** 0.5
    solve = _SOLVE[0] + _SOLVE[1] * fill + _SOLVE[2] * n
    spaces = 1.0 + _MORE * math.log10(lengths[-1] / lengths[1])
    return float(_chebyshev_seconds(task, early) + spaces * (factor + _SOLVES * solve))


def _neighbours(task: Task) -> int:
    """Entries a row of a generator that links a cell to those that share a face with it."""
    return 2 * task.equation.grid.dim + 1


def check(task: Task, name: str) -> None:
    """Refuse a method that does not serve an equation.

    Raises
    ------
    IncompatibleSchemeError
        The message says why, and what to use.
    InputError
        Its factors would not fit into memory.
    """
    row, flow = METHODS[name], task.flow
    reason = None
    if flow.by_density and not row.by_density:
        reason = "a mobility that depends on the density is frozen over steps; use method='backward-euler'"
    elif flow.moving and not row.moves:
        reason = "the generator changes with time; use method='radau' or 'backward-euler'"
    elif name == "separable" and (coupled := separable.why_not(task.equation)) is not None:
        reason = f"the equation does not separate into axes: {coupled}; use method='auto'"
    elif task.step is not None and not row.takes_step:
        reason = "it chooses its own steps; leave step out, or use 'backward-euler' or 'radau'"
    if reason is not None:
        raise IncompatibleSchemeError(f"method: {name!r} cannot be used, {reason}")
    if row.factorises:
        check_fill(task.equation.grid.shape)


def unknown(name: object) -> str:
    """What to say about a name that is no method."""
    return f"expected one of {NAMES}, got {name!r}{nearest(str(name), NAMES)}"
