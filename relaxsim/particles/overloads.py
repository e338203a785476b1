"""Tells Numba what the Python functions of `vector_math`, `vector_erf`, `random` and `elementary` are inside kernels.

Importing this module registers everything, once. Functions that are plain arithmetic are compiled from their own
source, in double or single precision as their argument says; those that reinterpret bits or select become single
instructions.
"""

import inspect
import math

import numba
from numba import types
from numba.extending import intrinsic, overload

from relaxsim._jit import FASTMATH
from relaxsim.particles import noise, random, vector_erf, vector_math, vector_math32
from relaxsim.system import elementary

CALLED = {"fastmath": FASTMATH, "error_model": "numpy"}
OPTIONS = CALLED | {"forceinline": True}


# ---- instructions


def _bitcast(function, source, target):
    """`function(value)` reinterprets the bits of a value, which is first cast to `source`, as `target`."""

    @intrinsic
    def cast(typingctx, value):
        def codegen(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), codegen

    @overload(function, jit_options=OPTIONS)
    def typing(value):
        return lambda value: cast(source(value))


BIT_CASTS = vector_math.BIT_CASTS + vector_math32.BIT_CASTS
for _function, _source, _target in BIT_CASTS:
    _bitcast(_function, getattr(types, _source), getattr(types, _target))


@intrinsic
def _word_to_float(typingctx, word):
    def codegen(context, builder, signature, arguments):
        return builder.uitofp(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), codegen


@overload(vector_math32.word_to_float, jit_options=OPTIONS)
def _word(word):
    return lambda word: _word_to_float(numba.uint32(word))


@intrinsic
def _select(typingctx, condition, a, b):
    def codegen(context, builder, signature, arguments):
        return builder.select(*arguments)

    return a(types.boolean, a, a), codegen


@overload(vector_math.where, jit_options=OPTIONS)
def _where(condition, a, b):
    """In single precision if either value is: the other one is usually a constant."""
    kind = types.float32 if types.float32 in (a, b) else types.float64
    return lambda condition, a, b: _select(condition, kind(a), kind(b))


@intrinsic
def _prefer_wide_vectors(typingctx):
    def codegen(context, builder, signature, arguments):
        # llvmlite's own `add` accepts only the attributes it knows; a stack that begins anywhere would split vectors
        # that are kept there over two cache lines, in some processes and not in others
        for attribute in ('"prefer-vector-width"="512"', '"stackrealign"'):
            set.add(builder.function.attributes, attribute)
        return context.get_dummy_value()

    return types.none(), codegen


@overload(vector_math.wide_vectors, inline="always")  # the attribute belongs to the kernel, not to a helper of it
def _wide():
    def body():
        _prefer_wide_vectors()

    return body


# ---- arithmetic


def _as_written(function, options=OPTIONS):
    """Overload a function with its own source."""
    _overloaded(function, lambda *_: function, options)


def _by_precision(name, double):
    """Overload a function with its own source, or with its namesake's in single precision."""
    single = getattr(vector_math32, name, None) or _rounded(double)
    _overloaded(double, lambda x, *_: single if x is types.float32 else double)


def _rounded(double):
    """A function computed in double precision for a float32."""
    names = list(inspect.signature(double).parameters)
    wide = ", ".join(f"float64({name})" for name in names)
    namespace = {"double": double, "float32": numba.float32, "float64": numba.float64}
    exec(f"def body({', '.join(names)}):\n    return float32(double({wide}))\n", namespace)
    return namespace["body"]


def _overloaded(function, choose, options=OPTIONS):
    """Overload `function`; `choose(*types)` returns what is compiled for it."""
    names = ", ".join(inspect.signature(function).parameters)
    namespace = {"choose": choose}
    exec(f"def typing({names}):\n    return choose({names})\n", namespace)
    overload(function, jit_options=options)(namespace["typing"])


def _stands_for(name, implementation):
    """In kernels, `elementary.name` is `implementation`."""
    function = getattr(elementary, name)
    names = ", ".join(inspect.signature(function).parameters)
    namespace = {"implementation": implementation}
    exec(f"def body({names}):\n    return implementation({names})\n", namespace)
    body = namespace["body"]
    _overloaded(function, lambda *_: body)


_INSTRUCTIONS: set[object] = {
    *(function for function, _, _ in BIT_CASTS),
    vector_math.where,
    vector_math.wide_vectors,
    vector_math32.word_to_float,
}


def _functions(module):
    """The functions a module defines, without those that are instructions."""
    found = inspect.getmembers(module, inspect.isfunction)
    return [(name, f) for name, f in found if f.__module__ == module.__name__ and f not in _INSTRUCTIONS]


_DOUBLE = dict(_functions(vector_math) + _functions(vector_erf))

for _name, _function in _DOUBLE.items():
    if _name in elementary.__all__:
        _by_precision(_name, _function)
    else:
        _as_written(_function)
for _, _function in (*_functions(vector_math32), *_functions(random)):
    _as_written(_function)
for _, _function in _functions(noise):  # loops over a block are called: compiled once however often a step needs them
    _as_written(_function, CALLED)

for _name in elementary.__all__:
    _stands_for(_name, math.sqrt if _name == "sqrt" else _DOUBLE[_name])
