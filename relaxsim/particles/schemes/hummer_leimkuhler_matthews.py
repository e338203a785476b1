"""Hummer-Leimkuhler-Matthews: the noise of two steps is averaged, with the drift that this needs where K varies."""

from relaxsim.particles.factor import why_no_spurious
from relaxsim.particles.schemes import Scheme
from relaxsim.particles.walls import why_oblique, why_vanishing
from relaxsim.system.elementary import sqrt


def begin(model, x, t):
    """The noise before the first step: none."""
    return [0.0 * x[a] for a in range(len(x))]


def step(model, x, t, h, noise, carried):
    """x' = x + h (F - T B^{cj} d_c B^{aj} / 2) + sqrt(2 T h) B (noise + last noise) / 2.

    Averaging makes a drift of its own, T B^{cj} d_c B^{aj} / 2. Where K_i depends on x_i alone or K = k(x), taking it
    away leaves the published (3/4) T div K - K grad E; elsewhere that rule keeps a bias.
    """
    drift, spurious = model.drift(x, t), model.spurious(x, t)
    kick = model.kick(x, t, [0.5 * (carried[a] + noise[a]) for a in range(len(x))])
    root = sqrt(h)
    moved = [x[a] + (h * (drift[a] - 0.5 * spurious[a]) + root * kick[a]) for a in range(len(x))]
    sign = model.mirror_sign(moved)
    return [*moved, *[sign[a] * noise[a] for a in range(len(x))]]


def refuses(system):
    """It needs derivatives of B, and a noise kept through a mirror needs the normal's."""
    return why_no_spurious(system) or why_oblique(system) or why_vanishing(system)


SCHEME = Scheme(
    id="hummer-leimkuhler-matthews",
    step=step,
    weak_order={"gaussian": 1, "three-point": 1, "two-point": 1},
    invariant_order={"gaussian": 1, "three-point": 1, "two-point": 1},
    wall_order=1,
    mobility="any",
    evaluations="1 drift, 1 noise, 1 slope of B",
    reference="Hummer, New J. Phys. 7 (2005) 34, with the drift that any mobility needs; arXiv:2307.02913; step (S7)",
    carried={"noise": "axis"},
    begin=begin,
    refuses=refuses,
)
