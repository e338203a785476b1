"""Lamperti: Leimkuhler-Matthews in the coordinate in which the noise is constant, for K_i that depend on x_i alone."""

from relaxsim.particles.coordinates import Coordinates
from relaxsim.particles.schemes import Scheme
from relaxsim.particles.walls import why_vanishing
from relaxsim.system.elementary import sqrt


def output(model, x, t, h, noise):
    """The position at y + sqrt(2 T h) noise / 2, with the noise of the coming step; x holds the coordinate y."""
    root = 0.5 * sqrt(2.0 * model.temperature * h)
    return model.position(model.inside([x[a] + root * noise[a] for a in range(len(x))]))


def step(model, x, t, h, noise):
    """y' = y - h V'(x(y + ...)) + sqrt(2 T h) noise, with V = E - (T/2) sum ln K_i and V' its derivative by y."""
    root = sqrt(2.0 * model.temperature * h)
    y = [x[a] + 0.5 * root * noise[a] for a in range(len(x))]
    p = model.position(model.inside(y))
    sign = model.mirror_sign(y)
    drift = model.drift(p, t)
    slope = model.divergence(p, t)
    k = model.diagonal(p, t)
    return [
        x[a] + (h * sign[a] * (drift[a] - 0.5 * model.temperature * slope[a]) / sqrt(k[a]) + root * noise[a])
        for a in range(len(x))
    ]


def refuses(system):
    """The coordinate exists where K_i depends on x_i alone, and must not change with time.

    With an antisymmetric part the stationary law is of first order only. The box that stands for an unbounded domain
    holds the Gibbs law of one temperature.
    """
    if not system.mobility.reversible:
        return "its mobility has an antisymmetric part, with which this scheme has order 1 only"
    if not (isinstance(system.temperature, float) or system.domain.bounded):
        return "its temperature depends on time and its domain is unbounded; give bounds"
    if system.mobility.time_dependent:
        return "its mobility depends on time"
    if why_vanishing(system):
        return "its mobility vanishes at a reflecting wall, where the bias of this scheme falls only like sqrt(dt)"
    if system.domain.bounded or system.dim <= 3:
        return system.mobility.why_not_separate(system.dim)
    return "its domain is unbounded in more than 3 dimensions; give bounds"


SCHEME = Scheme(
    id="lamperti",
    step=step,
    weak_order={"gaussian": 1, "three-point": 1},
    invariant_order={"gaussian": 2, "three-point": 2},
    wall_order=1.5,
    mobility="K_i(x_i)",
    evaluations="1 drift, 1 noise, 1 table",
    reference="Lamperti, J. Math. Anal. Appl. 8 (1964) 308; Leimkuhler & Matthews (2013), arXiv:1203.5428; step (S4)",
    output=output,
    refuses=refuses,
    coordinates=Coordinates.of,
)
