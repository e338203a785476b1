"""Tells Numba what the Python functions of `vector_math`, `random` and `elementary` are inside kernels.

Importing this module registers everything, once. Functions that are plain arithmetic are compiled from their own
source; the five that reinterpret bits or select become single instructions.
"""

import inspect
import math

import numba
from numba import types
from numba.extending import intrinsic, overload

from relaxsim._jit import FASTMATH
from relaxsim.particles import random, vector_math
from relaxsim.system import elementary

OPTIONS = {"fastmath": FASTMATH, "error_model": "numpy", "forceinline": True}


def _bitcast(source, target):
    @intrinsic
    def cast(typingctx, value):
        def codegen(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), codegen

    return cast


_to_float = _bitcast(types.uint64, types.float64)
_to_bits = _bitcast(types.float64, types.uint64)
_to_signed = _bitcast(types.uint64, types.int64)
_to_unsigned = _bitcast(types.int64, types.uint64)


@overload(vector_math.bits_to_float, jit_options=OPTIONS, inline="never")
def _bits_to_float(bits):
    return lambda bits: _to_float(numba.uint64(bits))


@overload(vector_math.float_to_bits, jit_options=OPTIONS)
def _float_to_bits(x):
    return lambda x: _to_bits(numba.float64(x))


@overload(vector_math.to_signed, jit_options=OPTIONS)
def _signed(bits):
    return lambda bits: _to_signed(numba.uint64(bits))


@overload(vector_math.to_unsigned, jit_options=OPTIONS)
def _unsigned(bits):
    return lambda bits: _to_unsigned(numba.int64(bits))


@intrinsic
def _select(typingctx, condition, a, b):
    def codegen(context, builder, signature, arguments):
        return builder.select(*arguments)

    return types.float64(types.boolean, types.float64, types.float64), codegen


@overload(vector_math.where, jit_options=OPTIONS)
def _where(condition, a, b):
    return lambda condition, a, b: _select(condition, numba.float64(a), numba.float64(b))


def _as_written(function):
    """Overload a function with its own source."""
    parameters = ", ".join(inspect.signature(function).parameters)
    namespace = {"function": function}
    exec(f"def typing({parameters}):\n    return function\n", namespace)
    overload(function, jit_options=OPTIONS)(namespace["typing"])


for _function in (
    vector_math.log_positive,
    vector_math._reduce_exp,
    vector_math._expm1_polynomial,
    vector_math._power_of_two,
    vector_math._expm1,
    vector_math.sincos_quarter,
    vector_math._sincos,
    vector_math.log,
    vector_math.exp,
    vector_math.tanh,
    vector_math.sinh,
    vector_math.cosh,
    vector_math.sin,
    vector_math.cos,
    vector_math.tan,
    vector_math.sign,
    random.philox4x32,
    random.random_bits,
    random.uniform,
    random.normal_pair,
):
    _as_written(_function)


def _stands_for(name, implementation):
    """In kernels, `elementary.name` is `implementation`."""
    namespace = {"implementation": implementation}
    exec("def body(x):\n    return implementation(x)\n\ndef typing(x):\n    return body\n", namespace)
    overload(getattr(elementary, name), jit_options=OPTIONS)(namespace["typing"])


for _name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign"):
    _stands_for(_name, getattr(vector_math, _name))
for _name in ("sqrt", "asin", "acos", "atan", "erf"):  # sqrt is an instruction; the others stay scalar
    _stands_for(_name, getattr(math, _name))
