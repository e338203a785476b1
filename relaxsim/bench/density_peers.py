"""What else densities are evolved with, on the double well of `relaxsim.bench.density`, 128 x 128 cells, to t = 1.

Each is used as a user of that package would; those that are not installed are left out. SciPy's are given a generator
of Scharfetter and Gummel with point values of the energy, the usual way. The ratio is the time that the peer takes over
the time that relaxsim takes on the coarsest grid on which its error is not larger.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from relaxsim.bench.density import HALF, T, Task, double_well, equation, evolved, legendre_masses, start
from relaxsim.bench.record import Record, alternate, at_least, cpu_timed, not_measured, paired_ratio
from relaxsim.system.validate import FloatArray

CELLS = 128
TIMES = np.linspace(0.0, 1.0, 11)
FASTER = 20.0
GRIDS = (24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 160, 192)
REPEATS = 9  # of relaxsim and of the peers that are not slow, in turn
# The packages that need one, by the name of the peer.
NEEDS = {"fplanck": "fplanck", "py-pde": "pde", "FiPy": "fipy"}
SLOW = ("SciPy expm_multiply", "SciPy BDF", "fplanck", "py-pde", "FiPy")


def energy(x: Any, y: Any) -> Any:
    """E of the double well."""
    return (x * x - 1) ** 2 + y * y / 2 + 0.3 * x * y


def mobility(z: Any) -> Any:
    """K along its own axis."""
    return 1 + np.sin(z) ** 2 / 2


def axis() -> tuple[FloatArray, float]:
    """Centres and width of the cells of an axis."""
    h = 2 * HALF / CELLS
    return np.asarray(-HALF + h * (np.arange(CELLS) + 0.5), dtype=np.float64), h


def start_masses() -> FloatArray:
    """Cell masses of the initial law."""
    fp = _equation(CELLS)
    return np.asarray(start(fp.system).masses(fp.system, fp.grid))


def _equation(cells: int) -> Any:
    return equation(Task("", double_well, (cells, cells), 1.0, 1.0))


def usual_generator() -> Any:
    """Scharfetter and Gummel with the energy at the centres and K on the faces."""
    from scipy import sparse

    x, h = axis()
    potential = energy(*np.meshgrid(x, x, indexing="ij")) / T
    index = np.arange(CELLS * CELLS).reshape(CELLS, CELLS)
    total = sparse.csr_array((CELLS * CELLS, CELLS * CELLS))
    for a in (0, 1):
        here, there = (np.delete(index, end, a).ravel() for end in (-1, 0))
        step = np.diff(potential, axis=a)
        conductance = T * mobility(x[:-1] + h / 2) / h**2
        shape = (-1, 1) if a == 0 else (1, -1)
        weight = np.broadcast_to(conductance.reshape(shape), step.shape).ravel()
        step = np.where(np.abs(step.ravel()) < 1e-9, 1e-9, step.ravel())
        forth, back = weight * step / np.expm1(step), weight * -step / np.expm1(-step)
        for first, last, rate in ((here, there, forth), (there, here, back)):
            total = total + sparse.coo_array((rate, (last, first)), shape=total.shape)
            total = total - sparse.coo_array((rate, (first, first)), shape=total.shape)
    return total.tocsr()


# ---- the peers: each gives cell masses at t = 1 from those at t = 0


def crank_nicolson(p: FloatArray) -> FloatArray:
    """SciPy: 100 steps, one factorisation."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    generator = usual_generator()
    one = sparse.eye_array(p.size, format="csc")
    forward, factor = (one + 0.005 * generator).tocsr(), splu((one - 0.005 * generator).tocsc())
    for _ in range(100):
        p = factor.solve(forward @ p.ravel())
    return p


def expm_multiply(p: FloatArray) -> FloatArray:
    """SciPy: the action of the exponential at eleven times."""
    from scipy.sparse.linalg import expm_multiply as act

    generator = usual_generator().tocsc()
    trace = float(generator.diagonal().sum())
    return np.asarray(act(generator, p.ravel(), start=0.0, stop=1.0, num=11, endpoint=True, traceA=trace)[-1])


def bdf(p: FloatArray) -> FloatArray:
    """SciPy: solve_ivp with BDF at rtol 1e-6."""
    from scipy.integrate import solve_ivp

    generator = usual_generator()
    found = solve_ivp(
        lambda t, y: generator @ y, (0, 1), p.ravel(), method="BDF", t_eval=TIMES, jac=generator.tocsc(),
        rtol=1e-6, atol=1e-9 / p.size,
    )  # fmt: skip
    return np.asarray(found.y[:, -1])


def fplanck(p: FloatArray) -> FloatArray:
    """fplanck takes K as 1/drag and solves the Itô form; E - T sum ln K mends that where K_a depends on x_a only."""
    if not hasattr(np, "product"):
        vars(np)["product"] = np.prod  # it predates NumPy 2
    import fplanck as package
    from scipy import constants

    _, h = axis()
    solver = package.fokker_planck(
        temperature=T / constants.k,
        drag=lambda x, y: np.array([1 / mobility(x), 1 / mobility(y)]),
        extent=[2 * HALF] * 2,
        resolution=[h] * 2,
        potential=lambda x, y: energy(x, y) - T * (np.log(mobility(x)) + np.log(mobility(y))),
        boundary=package.boundary.reflecting,
    )
    _, found = solver.propagate_interval(lambda x, y: p, 1.0, Nsteps=len(TIMES))
    return np.asarray(found[-1])


def py_pde(p: FloatArray) -> FloatArray:
    """py-pde: its expressions, adaptive Runge-Kutta, its default walls."""
    import pde

    _, h = axis()
    grid = pde.CartesianGrid([[-HALF, HALF]] * 2, CELLS)
    flux = {
        a: f"{T}*d_d{a}(p) + p*({slope})" for a, slope in (("x", "4*x*(x**2 - 1) + 0.3*y"), ("y", "y + 0.3*x"))
    }  # fmt: skip
    right = " + ".join(f"d_d{a}((1 + sin({a})**2/2)*({flux[a]}))" for a in ("x", "y"))
    equation = pde.PDE({"p": right}, bc="auto_periodic_neumann")
    found = equation.solve(
        pde.ScalarField(grid, p / h**2), t_range=1.0, dt=1e-5, adaptive=True, solver="runge-kutta", tracker=None
    )
    return np.asarray(found.data) * h**2


def fipy(p: FloatArray) -> FloatArray:
    """FiPy: exponential convection, backward Euler, 20 steps, LU."""
    import os

    os.environ.setdefault("FIPY_SOLVERS", "scipy")
    import fipy as package

    _, h = axis()
    mesh = package.Grid2D(nx=CELLS, ny=CELLS, dx=h, dy=h) + [[-HALF], [-HALF]]  # noqa: RUF005  (a shift)
    faces = [np.asarray(each) for each in mesh.faceCenters]
    normals = np.abs(np.asarray(mesh.faceNormals))
    slope = 4 * faces[0] * (faces[0] ** 2 - 1) + 0.3 * faces[1], faces[1] + 0.3 * faces[0]
    across = sum(mobility(z) * n for z, n in zip(faces, normals, strict=True))
    diffusion = package.FaceVariable(mesh=mesh, value=T * across)
    drift = package.FaceVariable(
        mesh=mesh, rank=1, value=np.array([-mobility(z) * s for z, s in zip(faces, slope, strict=True)])
    )
    drift.setValue(0.0, where=mesh.exteriorFaces)
    law = package.CellVariable(mesh=mesh, value=p.ravel(order="F"))  # its cells run along x first
    form = package.TransientTerm() == (
        package.DiffusionTerm(coeff=diffusion) - package.ExponentialConvectionTerm(coeff=drift)
    )
    solver = package.LinearLUSolver(tolerance=1e-10, iterations=2000)
    for _ in range(20):
        form.solve(var=law, dt=0.05, solver=solver)
    return np.asarray(law.value).reshape(p.shape, order="F")


PEERS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "SciPy Crank-Nicolson": crank_nicolson,
    "SciPy expm_multiply": expm_multiply,
    "SciPy BDF": bdf,
    "fplanck": fplanck,
    "py-pde": py_pde,
    "FiPy": fipy,
}


def installed(name: str) -> bool:
    """Whether the package of a peer is there."""
    return importlib.util.find_spec(NEEDS.get(name, "scipy")) is not None


def error_of(masses: FloatArray, cells: int) -> float:
    """L1 error of cell masses at t = 1."""
    shape = (cells, cells)
    return float(np.abs(masses.reshape(shape) - legendre_masses("diagonal_t1", shape)).sum())


def coarsest(error: float) -> tuple[int, float]:
    """The coarsest grid on which relaxsim's error is not larger, and that error."""
    for cells in GRIDS:
        ours = error_of(evolved(_equation(cells), 1.0).mass[-1], cells)
        if ours <= error:
            break
    return cells, ours


def against(name: str) -> Record:
    """The time of a peer over relaxsim's, assembly included, at an error that is not larger."""
    title = f"plane, to t = 1: {name}'s time over relaxsim's at its error"
    if not installed(name):
        return not_measured(title, f"{NEEDS[name]} is not installed")
    p, found = start_masses(), []
    peer = cpu_timed(lambda: found.append(PEERS[name](p)))
    first, theirs_error = peer(), error_of(found[0], CELLS)
    cells, error = coarsest(theirs_error)
    task, system = Task("", double_well, (cells, cells), 1.0, 1.0), double_well()
    own = cpu_timed(lambda: evolved(equation(task, system), 1.0))
    if name in SLOW:
        theirs, ours = [first], [min(own() for _ in range(REPEATS))]
    else:
        theirs, ours = alternate(peer, own, repeats=REPEATS)
    note = f"{min(theirs):.3g} s for {theirs_error:.1e}; {min(ours):.3g} s for {error:.1e} on {cells} x {cells}"
    return at_least(title, paired_ratio(theirs, ours), FASTER, note=note)


def records(quick: bool = False) -> Iterator[Record]:
    """All peers, or in a quick run the fast ones."""
    for name in PEERS:
        if not quick or name not in SLOW:
            yield against(name)
