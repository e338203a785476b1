"""Which scheme pays: the bias of the stationary law against the time that a run takes, for each scheme and noise.

The bias is exact, from the transfer operator of the scheme's step; the time of a step is that of the compiled kernel,
in CPU seconds of one core. The system is E = cos x + sin(2x)/2 on a circle at T = 0.8 with K = 1 + sin(x)/2.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.bench.record import Record, at_least, cpu_timed
from relaxsim.system.domain import Domain
from relaxsim.system.system import System

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DTS = (0.4, 0.2, 0.1, 0.05, 0.025, 0.0125)
BIAS = 1e-3
PARTICLES, KERNEL_STEPS, REPEATS = 1 << 14, 200, 5
EXACT = 1e-4  # below this the bias of a scheme that claims to be exact is that of the quadrature
OBSERVABLES: Sequence[Callable[..., Any]] = (np.cos, np.sin, lambda x: np.cos(2 * x))


@dataclass(frozen=True)
class Line:
    """A scheme with a kind of noise.

    Attributes
    ----------
    scheme, noise : str
    seconds : float
        CPU time of a step of one particle.
    dts, biases : tuple of float
        Steps, and the largest error of three stationary means at each.
    """

    scheme: str
    noise: str
    seconds: float
    dts: tuple[float, ...]
    biases: tuple[float, ...]

    def cost(self, bias: float = BIAS) -> float:
        """CPU seconds for one particle and one unit of time at the largest step that keeps a bias; nan if none does.

        Between two steps the bias is a power of the step.
        """
        for k in range(len(self.dts)):
            if max(self.biases[k:]) <= bias:
                if k == 0:
                    return self.seconds / self.dts[0]
                above, here = np.log(self.biases[k - 1]), np.log(self.biases[k])
                part = (np.log(bias) - here) / (above - here)
                dt = np.exp(np.log(self.dts[k]) + part * np.log(self.dts[k - 1] / self.dts[k]))
                return float(self.seconds / dt)
        return float("nan")


def circle() -> System:
    """The system of all lines."""
    domain = Domain([(0, 2 * np.pi)], boundary="periodic")
    return System("cos(x) + 0.5*sin(2*x)", "1 + 0.5*sin(x)", 0.8, domain)


def lines(quick: bool = False) -> Iterator[Line]:
    """All schemes that run the system, with each noise they take; infinite orders are left out, they have no bias."""
    from relaxsim.particles.schemes import registry

    system = circle()
    for row in registry().values():
        for noise in row.weak_order:
            if row.why_not(system, noise) is None and np.isfinite(row.invariant_order[noise]):
                yield measured(row.id, noise, DTS[1:4] if quick else DTS, quick)


def measured(scheme: str, noise: str, dts: Sequence[float] = DTS, quick: bool = False) -> Line:
    """Measure one line."""
    from relaxsim.particles.transfer import Transfer, gibbs_means

    system = circle()
    transfer, exact = Transfer(scheme, system, noise), gibbs_means(system, OBSERVABLES)
    biases = [float(np.abs(transfer.stationary_means(dt, OBSERVABLES) - exact).max()) for dt in dts]
    return Line(scheme, noise, _seconds(system, scheme, noise, 2 if quick else REPEATS), tuple(dts), tuple(biases))


def _seconds(system: System, scheme: str, noise: str, repeats: int) -> float:
    """CPU time of a step of one particle in the compiled kernel."""
    from relaxsim.particles.kernel import Kernel
    from relaxsim.particles.schemes import registry

    kernel = Kernel(system, registry()[scheme], noise)
    positions = np.random.default_rng(0).uniform(0, 2 * np.pi, (PARTICLES, 1))
    state = kernel.initial_state(positions)
    timed = cpu_timed(lambda: kernel(state, 0, PARTICLES, 0, KERNEL_STEPS, 0.0, 0.05, 1))
    timed()
    return statistics.median(timed() for _ in range(repeats)) / (PARTICLES * KERNEL_STEPS)


def second_order_pays(quick: bool = False) -> Record:
    """The time that PVD-2 saves over Euler-Maruyama at a bias of 1e-3, Gaussian noise."""
    dts = (*DTS, 0.00625, 0.003125, 0.0015625)
    euler, pvd2 = (measured(name, "gaussian", dts, quick) for name in ("euler-maruyama", "pvd2"))
    note = f"{euler.cost() * 1e9:.0f} against {pvd2.cost() * 1e9:.0f} ns a particle and unit of time"
    return at_least("time to a bias of 1e-3: euler-maruyama over pvd2", euler.cost() / pvd2.cost(), 5, note=note)


def table(found: Sequence[Line]) -> str:
    """The lines as text."""
    rows = [f"{'scheme':<28}{'noise':<13}{'ns a step':>10}  largest bias at dt ="]
    rows[0] += "".join(f"{dt:>10g}" for dt in found[0].dts)
    for line in found:
        biases = "".join(f"{bias:>10.1e}" for bias in line.biases)
        rows.append(f"{line.scheme:<28}{line.noise:<13}{line.seconds * 1e9:>10.1f}{'':22}{biases}")
    return "\n".join(rows)


def picture(found: Sequence[Line]) -> Figure:
    """Bias against CPU time, a line for each scheme, a panel for each kind of noise."""
    from relaxsim.plotting.style import COLOURS, new_figure, styled

    noises = list(dict.fromkeys(line.noise for line in found))
    schemes = list(dict.fromkeys(line.scheme for line in found))
    colour = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(schemes)}
    with styled():
        figure = new_figure(4.4 * len(noises), 4.8)
        panels = figure.subplots(1, len(noises), sharey=True, sharex=True, squeeze=False)[0]
        for panel, noise in zip(panels, noises, strict=True):
            for line in (line for line in found if line.noise == noise):
                style = "-o" if schemes.index(line.scheme) < len(COLOURS) else "--s"
                cost = [line.seconds * 1e9 / dt for dt in line.dts]
                panel.loglog(cost, line.biases, style, markersize=4, color=colour[line.scheme], label=line.scheme)
            panel.set_title(f"{noise} noise")
            panel.set_xlabel("CPU time a particle and unit of time (ns)")
        panels[0].set_ylabel("bias of the stationary law")
        handles = {
            text: handle for panel in panels for handle, text in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure
