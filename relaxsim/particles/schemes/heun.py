"""Heun: predictor and corrector for the equation in Stratonovich form, for any mobility."""

from relaxsim.particles.factor import why_no_spurious
from relaxsim.particles.schemes import Scheme
from relaxsim.particles.walls import why_oblique, why_vanishing
from relaxsim.system.elementary import sqrt


def step(model, x, t, h, noise):
    """x' = x + (h/2)(F_S(x) + F_S(y)) + (sqrt(2 T h)/2)(B(x) + B(y)) noise, y = x + h F_S(x) + sqrt(2 T h) B(x) noise.

    F_S^a = F^a - T B^{cj} d_c B^{aj} is the Stratonovich drift; (T/2) div K in place of the last term is right only
    where the columns of B commute.
    """
    root = sqrt(h)
    drift, spurious, kick = model.drift(x, t), model.spurious(x, t), model.kick(x, t, noise)
    start = [drift[a] - spurious[a] for a in range(len(x))]
    y = [x[a] + (h * start[a] + root * kick[a]) for a in range(len(x))]
    p, sign = model.inside(y), model.mirror_sign(y)
    drift2, spurious2, kick2 = model.drift(p, t + h), model.spurious(p, t + h), model.kick(p, t + h, noise)
    return [
        x[a] + 0.5 * (h * (start[a] + sign[a] * (drift2[a] - spurious2[a])) + root * (kick[a] + kick2[a]))
        for a in range(len(x))
    ]


def refuses(system):
    """It needs derivatives of B, and a predictor beyond a wall needs the system's mirror image."""
    return why_no_spurious(system) or why_oblique(system) or why_vanishing(system)


SCHEME = Scheme(
    id="heun",
    step=step,
    weak_order={"gaussian": 1, "three-point": 1, "two-point": 1},
    invariant_order={"gaussian": 1, "three-point": 1, "two-point": 1},
    wall_order=1,
    mobility="any",
    evaluations="2 drifts, 2 noises, 2 slopes of B",
    reference="Rümelin, SIAM J. Numer. Anal. 19 (1982) 604; step (S6)",
    refuses=refuses,
)
