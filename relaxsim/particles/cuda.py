"""The one door to a graphics card: nothing else imports numba.cuda. The provider is the package numba-cuda.

Generated kernels are made of the same functions as on the CPU. For a card, what is arithmetic in `random` and
`vector_math` is compiled from its own source; bits are reinterpreted by instructions; most functions of
`relaxsim.system.elementary` are those of libdevice. In the simulator (NUMBA_ENABLE_CUDASIM=1) everything runs as the
Python it is.

Importing this module imports numba.cuda, so it is imported where a card is wanted only.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numba
import numpy as np

from relaxsim.errors import GPUUnavailableError
from relaxsim.particles import random, vector_math, vector_math32
from relaxsim.system import elementary

try:
    from numba import cuda
except ImportError:  # a numba that leaves it to numba-cuda alone
    cuda = None

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
PIP_LINE = "python -m pip install 'numba-cuda[cu12]' (for a driver of CUDA 13: 'numba-cuda[cu13]')"

# Elementary functions that are those of the CPU: the reduction of large angles in libdevice needs a stack, on which the
# whole kernel then pays for arguments that never come. There is no sign in libdevice.
_OWN = ("sin", "cos", "tan", "sign")


def provider() -> str | None:
    """The version of numba-cuda, None where it is not installed."""
    try:
        return importlib.metadata.version("numba-cuda")
    except importlib.metadata.PackageNotFoundError:
        return None


def card() -> str:
    """The name of the card that kernels would run on.

    Raises
    ------
    GPUUnavailableError
        There is none, or the package that reaches it is missing.
    """
    if SIMULATED:
        return "CUDA simulator"
    found = provider()
    if found is None:
        raise GPUUnavailableError(
            f"device='cuda' needs the package numba-cuda: {PIP_LINE}; relaxsim's extras cuda12 and cuda13 are the same"
        )
    try:
        if cuda.is_available():
            device = cuda.get_current_device()
            name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
            major, minor = device.compute_capability
            return f"{name}, compute capability {major}.{minor}"
        reason = getattr(cuda, "cuda_error", lambda: None)() or "no driver, or no card"
    except Exception as error:  # drivers fail in many ways; whatever it is, there is no card to run on
        reason = f"{type(error).__name__}: {error}"
    raise GPUUnavailableError(
        f"device='cuda' needs an NVIDIA card, its driver and CUDA's libraries; numba-cuda {found} says: "
        f"{' '.join(str(reason).split()).rstrip('.')}. If card and driver are there, the libraries come by {PIP_LINE}; "
        "else use device='cpu'"
    )


# ---- compiling


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that is launched on a card."""
    return cuda.jit(_without_warnings(function) if SIMULATED else function)


def device(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call; in the simulator it stays Python."""
    return function if SIMULATED else cuda.jit(device=True)(function)


def _without_warnings(function: Callable[..., Any]) -> Any:
    """The function, in whose threads an overflow is no matter for NumPy; its globals are its own still."""

    def quiet(*arguments: Any) -> None:
        with np.errstate(all="ignore"):
            function(*arguments)

    return FunctionType(quiet.__code__, function.__globals__, function.__name__, None, quiet.__closure__)


def floor(x: Any) -> Any:
    """The greatest whole number not above x, as a number of the type of x."""
    return np.floor(x)


def kernel_ptx(launched: Any, signature: tuple[Any, ...], capability: tuple[int, int]) -> str:
    """The PTX of a kernel for a compute capability, whether or not there is a card.

    Parameters
    ----------
    launched : callable
        What `kernel` returned.
    signature : tuple
        Arguments like those it is launched with.
    capability : tuple of int
        Such as (8, 0).
    """
    types = tuple(numba.typeof(value) for value in signature)
    with _instead_of_a_card(capability):
        text, _ = cuda.compile_ptx(launched.py_func, types, cc=capability)
    return str(text)


@contextmanager
def _instead_of_a_card(capability: tuple[int, int]) -> Iterator[None]:
    """Let device functions be compiled for a capability: numba-cuda asks the card for it, even to write PTX."""
    from numba.cuda import dispatcher

    class Card:
        compute_capability = capability

    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: Card
    try:
        yield
    finally:
        dispatcher.get_current_device = asked


# ---- memory and launching


class DeviceState:
    """Rows of a state that live on the card; indexing copies to and from the host.

    Parameters
    ----------
    state : ndarray, shape (rows, n)
        What it holds at first.
    """

    def __init__(self, state: np.ndarray) -> None:
        self.array = cuda.to_device(np.ascontiguousarray(state))
        self.shape, self.dtype = state.shape, state.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        """A row, some rows, or columns of some rows, as an array of the host."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        picked = range(self.shape[0])[rows]
        begin, end, _ = columns.indices(self.shape[1])
        out = np.empty((1 if isinstance(picked, int) else len(picked), max(0, end - begin)), dtype=self.dtype)
        for k, row in enumerate((picked,) if isinstance(picked, int) else picked):
            if out.shape[1]:
                self.array[row, begin:end].copy_to_host(out[k])
        return out[0] if isinstance(picked, int) else out

    def __setitem__(self, rows: slice, values: Any) -> None:
        """Set whole rows."""
        for row in range(self.shape[0])[rows]:
            self.array[row].copy_to_device(np.full(self.shape[1], values, dtype=self.dtype))

    def host(self) -> np.ndarray:
        """All of it, as an array of the host."""
        return np.asarray(self.array.copy_to_host())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.host().astype(self.dtype if dtype is None else dtype, copy=False)


def to_card(values: np.ndarray) -> Any:
    """A copy of an array on the card."""
    return cuda.to_device(values)


def launch(launched: Any, blocks: int, threads: int, *arguments: Any) -> None:
    """Run a kernel in blocks of so many threads each, and wait for it."""
    if blocks:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Grid size")  # a small run is small
            launched[blocks, threads](*arguments)
        cuda.synchronize()


# ---- what functions are on a card


def _bitcast(function: Any, source: Any, target: Any) -> None:
    """`function(value)` reinterprets the bits of a value, which is first cast to `source`, as `target`."""

    @intrinsic
    def cast(typingctx, value):
        def codegen(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), codegen

    overload(function, target="cuda")(lambda value: lambda value: cast(source(value)))


def _chosen(function: Any, choose: Callable[..., Any]) -> None:
    """`function` is what `choose` returns for the types of its arguments."""
    names = ", ".join(inspect.signature(function).parameters)
    namespace = {"choose": choose}
    exec(f"def typing({names}):\n    return choose({names})\n", namespace)
    overload(function, target="cuda")(namespace["typing"])


def _as_written(function: Any) -> None:
    """`function` is compiled from its own source."""
    _chosen(function, lambda *_: function)


def _is_called(function: Any, double: Any, single: Any) -> None:
    """`function` is a call of `double`, or of `single` where its first argument is a float32."""
    names = ", ".join(inspect.signature(function).parameters)
    bodies = []
    for called in (double, single):
        namespace = {"called": called}
        exec(f"def body({names}):\n    return called({names})\n", namespace)
        bodies.append(namespace["body"])
    _chosen(function, lambda x, *_: bodies[1] if x is types.float32 else bodies[0])


def _register_instructions() -> None:
    """Selections, and bits that are reinterpreted."""

    @intrinsic
    def select(typingctx, condition, a, b):
        def codegen(context, builder, signature, arguments):
            return builder.select(*arguments)

        return a(types.boolean, a, a), codegen

    @overload(vector_math.where, target="cuda")
    def where(condition, a, b):
        """As on the CPU: in single precision if either value is."""
        kind = types.float32 if types.float32 in (a, b) else types.float64
        return lambda condition, a, b: select(condition, kind(a), kind(b))

    for function, given, made in vector_math.BIT_CASTS + vector_math32.BIT_CASTS:
        _bitcast(function, getattr(types, given), getattr(types, made))
    _is_called(vector_math32.word_to_float, types.float32, types.float32)


def _register_arithmetic() -> None:
    """What random numbers are made of, and the elementary functions."""
    double, single = vector_math, vector_math32
    for _, function in inspect.getmembers(random, inspect.isfunction):
        if function.__module__ == random.__name__:
            _as_written(function)
    for name in ("log_positive", "sincos_quarter", "_sincos"):
        _as_written(getattr(double, name))
        _as_written(getattr(single, name))
    _as_written(double._log_reduced)
    for name in elementary.__all__:
        function = getattr(elementary, name)
        if name in _OWN:
            own = getattr(double, name), getattr(single, name)
            _chosen(function, lambda x, own=own: own[1] if x is types.float32 else own[0])
        else:
            called = getattr(math, "pow" if name == "power" else name)
            _is_called(function, called, called)
    _is_called(floor, libdevice.floor, libdevice.floorf)


if cuda is not None and not SIMULATED and provider() is not None:
    from numba.cuda import libdevice, types
    from numba.cuda.extending import intrinsic, overload

    _register_instructions()
    _register_arithmetic()
