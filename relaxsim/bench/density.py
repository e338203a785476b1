"""How fast densities are evolved, and how exactly: ``relaxsim bench density``.

Seconds are CPU seconds of one core, and each is divided by those of 1000 products of the same generator as a CSR matrix
with a vector, measured in turn with it. What is allowed was stated in seconds for a core of 2.5 GHz that takes 0.85 ms
for a product with the 327 000 entries of a generator on 256 x 256 cells, 2.6 ns an entry; in its cache, up to some
200 000 entries, it is taken to need 1.2 ns, and 4 microseconds a call. Divided by what that core needs for the same
products, the allowance is a number of no machine.

Errors are L1 distances of cell masses to references that share nothing with relaxsim: the normal law of an
Ornstein-Uhlenbeck process, and Legendre-Galerkin solutions whose coefficients are in ``references.npz``
(``tests/benchmarks/make_references.py`` makes them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from relaxsim.bench.child import measure
from relaxsim.bench.record import Record, alternate, at_most, cpu_timed, paired_ratio
from relaxsim.system.validate import FloatArray

PRODUCTS = 1000
LEAST, MOST, SECONDS = 3, 15, 2.0  # runs of a task, and the time they may take together
HALF, T = 3.0, 0.5  # the box and the temperature of the double well


@dataclass(frozen=True)
class Task:
    """A density to evolve.

    Attributes
    ----------
    name : str
    system : callable
        Makes the System; nothing is built at import.
    shape : tuple of int
    until : float
        The end; the start is at 0 and eleven times are stored.
    seconds : float
        Allowed on the core of the limits.
    error : float or None
        L1 error allowed at the end.
    reference : callable or None
        Exact cell masses at the end on a grid of a shape.
    whole : bool
        Whether the assembly counts.
    """

    name: str
    system: Callable[[], Any]
    shape: tuple[int, ...]
    until: float
    seconds: float
    error: float | None = None
    reference: Callable[[tuple[int, ...]], FloatArray] | None = None
    whole: bool = False


# ---- systems


def double_well() -> Any:
    """The double well of two dimensions, with a diagonal mobility that depends on position."""
    import relaxsim as rs

    return rs.System(
        "(x**2 - 1)**2 + y**2/2 + 0.3*x*y",
        rs.Mobility.diagonal("1 + sin(x)**2/2", "1 + sin(y)**2/2"),
        T,
        rs.Domain([(-HALF, HALF)] * 2),
    )


def turning_well() -> Any:
    """The same with a tensor of anisotropy 50 that turns from place to place."""
    import relaxsim as rs

    angle = "(0.6*x + 0.5*sin(y))"
    off = f"0.98*sin{angle}*cos{angle}"
    rows = [[f"cos{angle}**2 + 0.02*sin{angle}**2", off], [off, f"sin{angle}**2 + 0.02*cos{angle}**2"]]
    return rs.System(
        "(x**2 - 1)**2 + y**2/2 + 0.3*x*y", rs.Mobility.tensor(rows), T, rs.Domain([(-HALF, HALF)] * 2)
    )  # fmt: skip


def ornstein_uhlenbeck() -> Any:
    """E = x^2/2 at T = 1 on (-8, 8)."""
    import relaxsim as rs

    return rs.System("x**2/2", 1.0, 1.0, rs.Domain([(-8.0, 8.0)]))


def cube(tensor: bool) -> Any:
    """A double well in three dimensions with a constant mobility: separable, or a full tensor."""
    import relaxsim as rs

    mobility: Any = np.array([[1.0, 0.4, 0.2], [0.4, 1.0, 0.3], [0.2, 0.3, 1.0]]) if tensor else 1.0
    return rs.System("(x**2 - 1)**2 + y**2/2 + z**2/2", mobility, T, rs.Domain([(-HALF, HALF)] * 3))


def start(system: Any) -> Any:
    """The initial law of a task."""
    from relaxsim.system import initial

    if system.dim == 1:
        return initial.normal([2.0], 0.5)
    return initial.normal([-1.0] + [0.0] * (system.dim - 1), 0.3)


# ---- references


def normal_masses(shape: tuple[int, ...]) -> FloatArray:
    """Cell masses of the Ornstein-Uhlenbeck law at t = 1: mean 2/e, variance 1 - 3/4 e^-2."""
    from scipy.special import ndtr

    decay = np.exp(-1.0)
    edges = np.linspace(-8.0, 8.0, shape[0] + 1)
    return np.diff(ndtr((edges - 2.0 * decay) / np.sqrt(1.0 - 0.75 * decay**2)))


def legendre_masses(name: str, shape: tuple[int, ...]) -> FloatArray:
    """Cell masses of a Legendre series on (-3, 3)^2 by four Gauss-Legendre nodes a cell and axis."""
    from importlib.resources import files

    with files("relaxsim.bench").joinpath("references.npz").open("rb") as stream:
        coefficients = np.load(stream)[name]
    nodes, weights = np.polynomial.legendre.leggauss(4)
    averages = []
    for n, count in zip(shape, coefficients.shape, strict=True):
        centers = -1.0 + (2.0 * np.arange(n) + 1.0) / n
        values = np.polynomial.legendre.legvander((centers[:, None] + nodes / n).ravel(), count - 1)
        values *= np.sqrt((2.0 * np.arange(count) + 1.0) / (2.0 * HALF))
        averages.append(np.tensordot(values.reshape(n, 4, count), weights / 2.0, axes=(1, 0)))
    return np.asarray(averages[0] @ coefficients @ averages[1].T * (2 * HALF) ** 2 / np.prod(shape))


def _legendre(name: str) -> Callable[[tuple[int, ...]], FloatArray]:
    return lambda shape: legendre_masses(name, shape)


TASKS = (
    Task("line, 1024 cells, to t = 1", ornstein_uhlenbeck, (1024,), 1.0, 0.05, 1.8e-5, normal_masses, whole=True),
    Task("plane, 128 x 128, to t = 1, with assembly", double_well, (128, 128), 1.0, 0.15, 1.5e-4,
         _legendre("diagonal_t1"), whole=True),
    Task("plane, 256 x 256, to t = 1", double_well, (256, 256), 1.0, 0.6, 4e-5, _legendre("diagonal_t1")),
    Task("plane, 256 x 256, to t = 50", double_well, (256, 256), 50.0, 1.2, 1e-5, _legendre("diagonal_t50")),
    Task("turning tensor of ratio 50, 256 x 256, to t = 1", turning_well, (256, 256), 1.0, 2.0, 8e-4,
         _legendre("tensor_t1")),
    Task("separable, 64 x 64 x 64, to t = 1", lambda: cube(False), (64, 64, 64), 1.0, 0.2),
    Task("full tensor, 64 x 64 x 64, to t = 1", lambda: cube(True), (64, 64, 64), 1.0, 20.0),
)  # fmt: skip
ASSEMBLY = Task("assembly, 512 x 512", double_well, (512, 512), 1.0, 2.0)
QUICK = 70_000  # cells beyond which a task is left out of a quick run


# ---- measurements


def equation(task: Task, system: Any = None) -> Any:
    """The Fokker-Planck equation of a task, for a system that is there already if one is given."""
    import relaxsim as rs

    system = task.system() if system is None else system
    return rs.FokkerPlanck(system, rs.Grid(system.domain, task.shape))


def allowed(task: Task, entries: int) -> float:
    """The seconds of a task over those of 1000 products, on the core that they were stated for."""
    product = entries * (2.6e-9 if entries > 200_000 else 1.2e-9) + 4e-6
    return task.seconds / (PRODUCTS * product)


def evolved(fp: Any, until: float) -> Any:
    """The path of a task."""
    return fp.evolve(start(fp.system), np.linspace(0.0, until, 11), progress=False)


def product_seconds(generator: Any) -> float:
    """CPU seconds of 1000 products of a generator with a vector."""
    p = np.full(generator.shape[0], 1.0 / generator.shape[0])
    count = max(10, min(PRODUCTS, int(2e7 / generator.nnz)))

    def products() -> None:
        for _ in range(count):
            generator @ p

    return cpu_timed(products)() * PRODUCTS / count


def _against_products(work: Callable[[], object], generator: Any, quick: bool) -> tuple[float, str]:
    """The time of the work over that of 1000 products, the median of neighbouring runs, and what it is made of."""
    timed = cpu_timed(work)
    repeats = 1 if quick else min(MOST, max(LEAST, round(SECONDS / timed())))
    seconds, products = alternate(timed, lambda: product_seconds(generator), repeats=repeats)
    return paired_ratio(seconds, products), f"{min(seconds):.3g} s, {min(products):.3g} s for the products"


def timed(task: Task, quick: bool = False) -> Iterator[Record]:
    """Seconds of a task over those of 1000 products, and its error."""
    fp = equation(task)
    path = evolved(fp, task.until)  # compiles and builds what does not count

    def work() -> None:
        evolved(equation(task, fp.system) if task.whole else fp, task.until)

    ratio, note = _against_products(work, fp.generator, quick)
    limit = allowed(task, fp.generator.nnz)
    yield at_most(f"{task.name}: time over 1000 products", ratio, limit, note=f"{note}, by {path.method}")
    if task.reference is not None and task.error is not None:
        error = float(np.abs(path.mass[-1] - task.reference(task.shape)).sum())
        yield at_most(f"{task.name}: L1 error", error, task.error)


def assembled(task: Task = ASSEMBLY) -> Record:
    """Seconds from a system to its generator, over those of 1000 products with it."""
    system = task.system()
    generator = equation(task, system).generator
    ratio, note = _against_products(lambda: equation(task, system).generator, generator, False)
    return at_most(f"{task.name}: time over 1000 products", ratio, allowed(task, generator.nnz), note=note)


def memory() -> Record:
    """Peak memory of 512 x 512 cells to t = 1 in a process of its own, in numbers of 8 bytes a cell."""
    found = measure("density_memory", 512)
    return at_most("plane, 512 x 512: memory", found["doubles"], 40.0, " doubles a cell")


def records(quick: bool = False) -> Iterator[Record]:
    """All of it.

    Parameters
    ----------
    quick : bool
        One repeat, the smaller tasks and the faster peers.
    """
    from relaxsim.bench import density_peers

    for task in TASKS:
        if not quick or np.prod(task.shape) <= QUICK:
            yield from timed(task, quick)
    if not quick:
        yield assembled()
        yield memory()
    yield from density_peers.records(quick)
