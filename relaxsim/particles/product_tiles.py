"""Tells Numba what `product` is inside kernels: loops over tiles whose sums stay in vector registers."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from relaxsim._jit import FASTMATH
from relaxsim.particles.product import ROWS, VECTORS, product
from relaxsim.particles.random import BLOCK

DOUBLE, INT = ir.DoubleType(), ir.IntType(64)


def _lanes(context: Any) -> int:
    """Numbers in a vector: with eight the sums of a tile fill half of AVX-512's registers, with four all of AVX's."""
    return 8 if "+avx512f" in context.codegen().magic_tuple()[2] else 4


@intrinsic
def _columns(typingctx):
    """Columns of a tile."""

    def codegen(context, builder, signature, arguments):
        return INT(_lanes(context) * VECTORS)

    return types.int64(), codegen


def _tile(rows):
    """``tile(matrix, x, out, row, column, dim)``: some rows of the product, in as many columns as a tile has."""

    @intrinsic
    def tile(typingctx, matrix, x, out, row, column, dim):
        def codegen(context, builder, signature, arguments):
            lanes = _lanes(context)
            vector = ir.VectorType(DOUBLE, lanes)
            factors, points, results = (
                context.make_array(kind)(context, builder, array).data
                for kind, array in zip(signature.args[:3], arguments[:3], strict=True)
            )
            row, column, dim = arguments[3:]

            def times(a, b):
                return builder.mul(a, b)

            def place(array, at):
                return builder.bitcast(builder.gep(array, [at]), vector.as_pointer())

            def beside(at):
                return [builder.add(at, INT(lanes * v)) for v in range(VECTORS)]

            def everywhere(number):
                undefined = ir.Constant(vector, ir.Undefined)
                first = builder.insert_element(undefined, number, ir.IntType(32)(0))
                return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))

            zero = ir.Constant(vector, None)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(VECTORS)] for _ in range(rows)]
            starts = [times(builder.add(row, INT(r)), dim) for r in range(rows)]
            with cgutils.for_range(builder, dim) as loop:
                here = builder.add(column, times(loop.index, INT(BLOCK)))
                values = [builder.load(place(points, at), align=8) for at in beside(here)]
                for start, line in zip(starts, sums, strict=True):
                    factor = everywhere(builder.load(builder.gep(factors, [builder.add(start, loop.index)])))
                    for value, total in zip(values, line, strict=True):
                        term = builder.fmul(factor, value, flags=("contract",))
                        builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for r, line in enumerate(sums):
                here = builder.add(column, times(builder.add(row, INT(r)), INT(BLOCK)))
                for at, total in zip(beside(here), line, strict=True):
                    builder.store(builder.load(total), place(results, at), align=8)
            return context.get_dummy_value()

        return types.void(matrix, x, out, types.int64, types.int64, types.int64), codegen

    return tile


_rows, _row = _tile(ROWS), _tile(1)


@overload(product, jit_options={"fastmath": FASTMATH, "error_model": "numpy"})
def _product(matrix, x, out):
    def body(matrix, x, out):
        dim = x.size // BLOCK
        whole = dim // ROWS * ROWS
        for column in range(0, BLOCK, _columns()):
            for row in range(0, whole, ROWS):
                _rows(matrix, x, out, row, column, dim)
            for row in range(whole, dim):
                _row(matrix, x, out, row, column, dim)

    return body
