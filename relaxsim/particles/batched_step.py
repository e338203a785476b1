"""A scheme's step in terms of the functions of a batched system, as loops by component rows (see `rows`)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from relaxsim.particles.block_trace import Recorded
from relaxsim.particles.random import BLOCK
from relaxsim.particles.rows import BATCHED, NotByRowsError, RowsStep, by_rows
from relaxsim.particles.schemes import Scheme
from relaxsim.system.system import System


def translated(
    function: Callable[..., Any], system: System, n_constants: int, functions: Mapping[str, Recorded] | None = None
) -> RowsStep:
    """A scheme's step or output on whole blocks.

    Its numbers are the ends of the box, the scheme's `n_constants`, K if that is a constant diagonal, and those of the
    recorded `functions`, which take the place of calls.

    Raises
    ------
    NotByRowsError
        It needs more than batched functions offer.
    """
    functions = functions or {}
    matrices = {product.matrix for recorded in functions.values() for product in recorded.products}
    known = [*BATCHED, *(f"times_{k}" for k in sorted(matrices))]
    rewritten = _primitive(system, n_constants, functions)
    return by_rows(function, system.dim, 2 * system.dim, BLOCK, "{}[{}]".format, rewritten, known)


def why_not_batched(scheme: Scheme, system: System) -> str | None:
    """The reason why a scheme cannot run a batched system, or None."""
    if scheme.carried or scheme.signs or scheme.uniforms or scheme.coordinates or scheme.weights:
        return "it needs more of a system than batched functions offer"
    try:
        for function in filter(None, (scheme.step, scheme.output)):
            translated(function, system, 0)
    except NotByRowsError as error:
        return f"its step does not run on whole blocks ({error})"
    return None


def _primitive(
    system: System, first_mobility: int, functions: Mapping[str, Recorded]
) -> Callable[[list[ast.stmt]], list[ast.stmt]]:
    """Write drift and kick in terms of the user's functions, so that loops hold the arithmetic between them."""
    mobility = system.mobility
    if mobility.is_constant and not mobility.couples_axes:
        k = f"model.constants[{first_mobility} + a]"
        drift = ["{v}_g = model.gradient({x}, t)", f"{{v}} = [-({k}) * {{v}}_g[a] for a in range(len(x))]"]
        kick = [f"{{v}} = [sqrt(2.0 * model.temperature * {k}) * {{z}}[a] for a in range(len(x))]"]
    elif mobility.is_constant:
        drift = ["{v}_g = model.gradient({x}, t)", "{v}_f = model.times_matrix({v}_g)"]
        drift.append("{v} = [-{v}_f[a] for a in range(len(x))]")
        kick = ["{v}_b = model.times_factor({z})"]
        kick.append("{v} = [sqrt(2.0 * model.temperature) * {v}_b[a] for a in range(len(x))]")
    else:
        once = "mobility_of_{x} = model.mobility({x}, t)"
        drift = ["{v}_g = model.gradient({x}, t)", "{v}_d = model.divergence({x}, t)", once]
        drift.append("{v} = [model.temperature * {v}_d[a] - mobility_of_{x}[a] * {v}_g[a] for a in range(len(x))]")
        kick = [once, "{v} = [sqrt(2.0 * model.temperature * mobility_of_{x}[a]) * {z}[a] for a in range(len(x))]"]
    templates = {"drift": drift, "kick": kick}
    if mobility.is_constant:
        templates["divergence"] = ["{v} = [0.0 for a in range(len(x))]"]
    sign = _sign_template(system)
    first_recorded = first_mobility + (system.dim if mobility.is_constant else 0)

    def written_out(line: str) -> list[str]:
        match = re.fullmatch(r"(\w+) = model\.(\w+)\((\w+), t\)", line)
        if match is None or match[2] not in functions:
            return [line]
        return functions[match[2]].statements(match[1], match[3], first_recorded)

    def rewritten(statements: list[ast.stmt]) -> list[ast.stmt]:
        lines: list[str] = []
        for statement in statements:
            mirrored = re.fullmatch(r"(\w+) = model\.mirror_sign\((\w+)\)", ast.unparse(statement))
            if mirrored is not None and sign:
                lines += [line.format(v=mirrored[1], x=mirrored[2]) for line in sign]
                continue
            match = re.fullmatch(r"(\w+) = model\.(\w+)\((\w+), t(?:, (\w+))?\)", ast.unparse(statement))
            if match is None or match[2] not in templates:
                lines.append(ast.unparse(statement))
                continue
            wanted = [line.format(v=match[1], x=match[3], z=match[4]) for line in templates[match[2]]]
            lines += [line for line in wanted if line not in lines]  # K at one position is computed once
        return ast.parse("\n".join(text for line in lines for text in written_out(line))).body

    return rewritten


def _sign_template(system: System) -> list[str]:
    """The sign of a mirror image, where all axes have mirrors or none has; otherwise it is not served."""
    kinds, dim = set(system.domain.boundary), system.dim
    if "reflecting" not in kinds:
        return ["{v} = [1.0 for a in range(len(x))]"]
    if len(kinds) > 1:
        return []
    low, high = f"model.constants[a - {2 * dim}]", f"model.constants[a - {dim}]"
    return [
        f"{{v}}_n = [floor(({{x}}[a] - {low}) * (1.0 / ({high} - {low}))) for a in range(len(x))]",
        f"{{v}} = [where(({{x}}[a] >= {low}) & ({{x}}[a] <= {high}), 1.0, "
        "1.0 - 2.0 * ({v}_n[a] - 2.0 * floor(0.5 * {v}_n[a]))) for a in range(len(x))]",
    ]
