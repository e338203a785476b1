"""The temperature T(t): a number, named or not, or a text or function of time, as in annealing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from relaxsim.errors import ExpressionError, InputError
from relaxsim.system.expression import Tree, check_param_names, leaves, param_names, parse
from relaxsim.system.field import Field
from relaxsim.system.piecewise import as_text
from relaxsim.system.source import is_tree
from relaxsim.system.trace import TraceError, trace
from relaxsim.system.validate import FloatArray, Problems, as_float_array, check_params, nearest, positive_number, short

CHECKED = 1 << 16  # times of a run, at most, at which T is checked


class Temperature:
    """A temperature that changes with time or has named parameters, in units of energy.

    A `System` takes texts and functions as well: ``temperature="1/(1 + t)"``. A temperature that does not change is
    just a number there; ``Temperature("kT", params={"kT": 0.5})`` is one that `System.with_params` changes by its name.

    Parameters
    ----------
    schedule : str or callable
        Text in t or parameters, or a function ``f(t)`` made of arithmetic, NumPy functions and
        ``numpy.interp(t, times, values)``.
    params : mapping of str to float, optional
        Values of named parameters; `System.with_params` changes them without compiling anew.

    Raises
    ------
    ExpressionError
        A text or function that is more than a function of t.
    InputError
        It is not positive at t = 0, or depends neither on t nor on a parameter.

    Examples
    --------
    >>> from relaxsim import Temperature
    >>> Temperature("hot*exp(-t)", params={"hot": 2.0})(0.0)
    2.0
    """

    def __init__(self, schedule: str | Callable[[Any], Any], params: Mapping[str, float] | None = None) -> None:
        problems = Problems()
        self.params: dict[str, float] = check_params(params, "params", problems)
        problems.raise_if_any()
        self.schedule = schedule
        self._tree = _tree(schedule, self.params)
        used = param_names([self._tree])
        for name in self.params:
            if name not in used:
                raise InputError(f"params[{name!r}]: the temperature does not use it{nearest(name, used)}")
        if any(leaf[0] == "var" for leaf in leaves(self._tree)):
            raise ExpressionError("temperature: it is a function of the time t alone, not of the position")
        if self.is_constant and not used:
            raise InputError("temperature: it does not depend on t; give it as a number, such as temperature=0.5")
        self(0.0)

    @classmethod
    def piecewise_linear(cls, times: Any, values: Any) -> Temperature:
        """The temperature that is given at some times, linear between them, constant before and after.

        Parameters
        ----------
        times : array_like, shape (n,)
            Increasing, at least 2. Some 180 are served; a function with ``numpy.interp`` takes more, but a saved run
            asks for it again.
        values : array_like, shape (n,)
            Temperatures > 0 at these times.

        Returns
        -------
        Temperature
            Its `schedule` is a text, with one ``abs(t - t_k)`` for each change of slope.

        Raises
        ------
        InputError, ShapeError, ExpressionError
            Times that do not increase, temperatures that are not positive or all the same, too many of them.

        Examples
        --------
        >>> from relaxsim import Temperature
        >>> Temperature.piecewise_linear([0, 10, 20], [2.0, 0.5, 0.5])(5.0)
        1.25
        """
        heats = as_float_array(values, "values")
        if not (heats > 0).all():
            raise InputError(f"values: expected positive temperatures, got {heats[~(heats > 0)].flat[0]:g}")
        return cls(as_text(times, heats))

    @property
    def is_constant(self) -> bool:
        """Whether it does not depend on the time."""
        return ("time",) not in leaves(self._tree)

    @property
    def field(self) -> Field:
        """The tree with its parameters."""
        return Field((), trees=self._tree, params=self.params)

    def __call__(self, t: Any) -> Any:
        """T at a time, or at an array of times; InputError where it is not positive and finite."""
        times = as_float_array(t, "t")
        values = self.formula(times)
        bad = ~((values > 0) & (values < np.inf))
        if bad.any():
            raise InputError(
                f"temperature: expected a positive finite number at every time, got {values[bad].flat[0]:g} at "
                f"t = {times[bad].flat[0]:g}"
            )
        return float(values) if times.ndim == 0 else values

    def formula(self, times: FloatArray) -> FloatArray:
        """What the schedule gives at some times, a temperature or not."""
        return self.field(np.zeros((*times.shape, 1)), times)  # type: ignore[arg-type]

    def with_params(self, params: Mapping[str, float]) -> Temperature:
        """The same schedule with other values of some parameters."""
        return Temperature(self.schedule, self.params | dict(params))

    def __repr__(self) -> str:
        text = isinstance(self.schedule, str)
        what = short(self.schedule) if text else getattr(self.schedule, "__name__", "function")
        return f"Temperature({what}{f', params={self.params}' if self.params else ''})"


class ConstantTemperature(float):
    """The number that a temperature without t is, and the `Temperature` that it was given as."""

    law: Temperature

    @classmethod
    def of(cls, law: Temperature) -> ConstantTemperature:
        """Its value."""
        number = cls(law(0.0))
        number.law = law
        return number


def law_of(temperature: float | Temperature) -> float | Temperature:
    """What a temperature was given as: a plain number, or what has parameters or changes."""
    return temperature.law if isinstance(temperature, ConstantTemperature) else temperature


def value_at(temperature: float | Temperature, t: float) -> float:
    """A temperature at a time, whether it changes or not."""
    return float(temperature(t) if isinstance(temperature, Temperature) else temperature)


def gibbs_moves(system: Any) -> bool:
    """Whether the energy or the temperature depends on time, and the Gibbs law with them."""
    return bool(getattr(system.energy, "time_dependent", False)) or isinstance(system.temperature, Temperature)


def check_temperature(value: Any, problems: Problems) -> float | Temperature:
    """What a System keeps as its temperature: a float, or a function of time."""
    if value is None:
        problems.add("temperature", "is required: a positive number in units of energy, such as temperature=0.5")
        return 1.0
    if isinstance(value, Temperature):
        return ConstantTemperature.of(value) if value.is_constant else value
    if isinstance(value, ConstantTemperature):
        return value
    if isinstance(value, str) or callable(value):
        try:
            tree = _tree(value, {})
            if tree[0] != "num":
                return Temperature(value)
            value = tree[1]
        except ValueError as error:  # every class of relaxsim.errors that input can raise takes one message
            problems.add("temperature", str(error).removeprefix("temperature: "), type(error))
            return 1.0
    hint = "T = 0 is the deterministic flow dx = -K grad E dt, which has no Gibbs law" if value == 0 else ""
    return positive_number(value, "temperature", problems, hint)


def check_over(temperature: float | Temperature, times: FloatArray, dt: float, problems: Problems) -> None:
    """Add a problem where a temperature is not positive at a step of a run."""
    if isinstance(temperature, float):
        return
    steps = np.arange(round((times[-1] - times[0]) / dt) + 1)
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, min(len(steps), CHECKED)).astype(np.intp))]
    try:
        temperature(times[0] + dt * steps)
    except InputError as error:
        problems.add("temperature", str(error).removeprefix("temperature: "))


def _tree(schedule: Any, params: Mapping[str, float]) -> Tree:
    """The tree of a text or a function."""
    if not isinstance(schedule, str):
        return _function_tree(schedule)
    check_param_names(params, None)
    return parse(schedule, None, params)


def _function_tree(function: Any) -> Tree:
    if not callable(function):
        raise ExpressionError(
            f"temperature: expected a number, a text or a function of t, got {type(function).__name__}"
        )
    try:
        tree = trace(lambda x, t: function(t), 0, time_dependent=True)
    except (TraceError, IndexError) as error:
        raise ExpressionError(
            f"temperature: {getattr(function, '__name__', 'the function')} cannot be traced: {error}. Use only "
            "arithmetic, NumPy functions and relaxsim.elementary, or write it as a text. A table of values is "
            "Temperature.piecewise_linear(times, values); instead of a branch write sign(t - t0) in a text, which "
            "jumps at t0"
        ) from None
    if not is_tree(tree):
        raise ExpressionError("temperature: the function of t must return one number")
    checked: Tree = tree
    return checked
