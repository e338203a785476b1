"""Leimkuhler-Matthews: second order in the stationary law at the cost of Euler-Maruyama, for constant mobility."""

from relaxsim.particles.schemes import Scheme
from relaxsim.particles.walls import why_oblique
from relaxsim.system.elementary import sqrt


def output(model, x, t, h, noise):
    """y = x + sqrt(2 T h) B noise / 2, with the noise of the coming step: the position that is reported."""
    kick = model.kick(x, t, noise)
    root = 0.5 * sqrt(h)
    return [x[a] + root * kick[a] for a in range(len(x))]


def step(model, x, t, h, noise):
    """x' = x - h K grad E(y) + sqrt(2 T h) B noise, y = x + sqrt(2 T h) B noise / 2: averages two steps' noise in y."""
    kick = model.kick(x, t, noise)
    root = sqrt(h)
    y = [x[a] + 0.5 * root * kick[a] for a in range(len(x))]
    drift = model.drift(model.inside(y), t)
    sign = model.mirror_sign(y)
    return [x[a] + (h * sign[a] * drift[a] + root * kick[a]) for a in range(len(x))]


def refuses(system):
    """A mobility that varies would make the averaged noise drift; oblique mirrors have no simple continuation.

    With an antisymmetric part the drift is not that of an energy, and the stationary law is of first order only.
    """
    if not system.mobility.reversible:
        return "its mobility has an antisymmetric part, with which this scheme has order 1 only"
    if not system.mobility.is_constant:
        return "its mobility is not constant"
    return why_oblique(system)


SCHEME = Scheme(
    id="leimkuhler-matthews",
    step=step,
    weak_order={"gaussian": 1, "three-point": 1},
    invariant_order={"gaussian": 2, "three-point": 2},
    wall_order=1.5,
    mobility="constant",
    evaluations="1 gradient, 1 noise",
    reference=(
        "Leimkuhler & Matthews, Appl. Math. Res. Express 2013 (2013) 34, arXiv:1203.5428, in Markov form; step (S3)"
    ),
    output=output,
    refuses=refuses,
    rank=4,
)
