"""W2Ito1: weak order two in one dimension, with three drifts and three noises a step."""

from relaxsim.particles.schemes import Scheme
from relaxsim.particles.walls import why_vanishing
from relaxsim.system.elementary import sqrt


def signs(dim):
    """One for each axis."""
    return dim


def step(model, x, t, h, noise):
    """x' = x + h (F(x) + 4 F(K1) + F(K2))/6 + sqrt(h) (k+ + k- - b) noise + 2 sqrt(h) (b - k-) J.

    With a fair sign c, J = c (noise**2 - 1)/2, b = sqrt(2 T K(x)) and k+- = b(x + h F/4 +- sqrt(h) b c/2), the stages
    are K1 = x + h F/2 + sqrt(h) b noise (6 - sqrt(6))/10 and K2 = x - h F + 2 h F(K1) + sqrt(h) b noise
    (3 + 2 sqrt(6))/5.
    """
    root = sqrt(h)
    drift, b = model.drift(x, t), model.kick(x, t, [1.0 for a in range(len(x))])
    first = [x[a] + 0.5 * h * drift[a] + 0.35505102572168217 * root * b[a] * noise[a] for a in range(len(x))]
    drift1, sign1 = model.drift(model.inside(first), t + 0.5 * h), model.mirror_sign(first)
    second = [
        x[a] + h * (2.0 * sign1[a] * drift1[a] - drift[a]) + 1.5797958971132712 * root * b[a] * noise[a]
        for a in range(len(x))
    ]
    drift2, sign2 = model.drift(model.inside(second), t + h), model.mirror_sign(second)
    z = [x[a] + 0.25 * h * drift[a] for a in range(len(x))]
    aside = [0.5 * root * b[a] * noise[len(x) + a] for a in range(len(x))]
    up = model.kick(model.inside([z[a] + aside[a] for a in range(len(x))]), t + 0.25 * h, [1.0 for a in range(len(x))])
    down = model.kick(
        model.inside([z[a] - aside[a] for a in range(len(x))]), t + 0.25 * h, [1.0 for a in range(len(x))]
    )
    return [
        x[a]
        + h / 6.0 * (drift[a] + 4.0 * sign1[a] * drift1[a] + sign2[a] * drift2[a])
        + root * (up[a] + down[a] - b[a]) * noise[a]
        + root * (b[a] - down[a]) * noise[len(x) + a] * (noise[a] * noise[a] - 1.0)
        for a in range(len(x))
    ]


def refuses(system):
    """The iterated integral of one noise with itself is all it has."""
    return f"it is for one coordinate, not {system.dim}" if system.dim > 1 else why_vanishing(system)


SCHEME = Scheme(
    id="w2ito1",
    step=step,
    weak_order={"gaussian": 2, "three-point": 2},
    invariant_order={"gaussian": 2, "three-point": 2},
    wall_order=1.5,
    mobility="one coordinate",
    evaluations="3 drifts, 3 noises",
    reference="Tang & Xiao, BIT Numer. Math. 57 (2017) 241; step (S11)",
    signs=signs,
    refuses=refuses,
)
