"""PVD-2: second order in the stationary law for any mobility, at one drift a step.

The post-processor of Leimkuhler and Matthews, with the noise of a weakly second-order step for dX = g(X) dW, here MT2,
in place of g dW. For constant mobility it is Leimkuhler-Matthews.

MT2 as published has one sign an axis, which all pairs with that axis share. From three dimensions on that is of first
order only: J_ac and J_bc are then correlated, with mean product h**2/4. So each pair of axes has a sign of its own
here; in two dimensions the law of a step is that of the published rule.
"""

from relaxsim.particles.schemes import Scheme
from relaxsim.particles.walls import why_oblique, why_vanishing
from relaxsim.system.elementary import sqrt


def begin(model, x, t):
    """The drift at the point reported last: at the start, where the particle is."""
    return model.drift(x, t)


def signs(dim):
    """One for each axis, then one for each pair of axes; in one dimension both signs give the same."""
    return dim + dim * (dim - 1) // 2 if dim > 1 else 0


def output(model, x, t, h, noise):
    """y = x + sqrt(h) g(x) noise / 2, with the noise of the coming step: the position that is reported."""
    kick = model.kick(x, t, noise)
    root = 0.5 * sqrt(h)
    return [x[a] + root * kick[a] for a in range(len(x))]


def step(model, x, t, h, noise, carried):
    """x' = x + h F(y) + G(x + h F(last y)/4), y = x + sqrt(h) g(x) noise / 2, g = sqrt(2 T) B.

    G is the increment of MT2: with fair signs c_a for each axis and V_ab = -V_ba for each pair, all independent,
    J_aa = h (noise_a**2 - 1)/2 and J_ab = h (noise_a noise_b + V_ab)/2, it is
    sum_a [g^a(z + sum_b g^b J_ab) - g^a(z - sum_b g^b J_ab)]/2 +
    sqrt(h) sum_a [g^a(z + sqrt(h/2) g c) + g^a(z - sqrt(h/2) g c)] noise_a / 2.
    """
    root, later = sqrt(h), t + 0.25 * h
    kick = model.kick(x, t, noise)
    y = [x[a] + 0.5 * root * kick[a] for a in range(len(x))]
    drift, sign = model.drift(model.inside(y), t), model.mirror_sign(y)
    force = [sign[a] * drift[a] for a in range(len(x))]
    z = [x[a] + 0.25 * h * carried[a] for a in range(len(x))]
    p = model.inside(z)
    c = [noise[len(x) + a] if len(x) > 1 else 1.0 for a in range(len(x))]
    aside = model.kick(p, later, [sqrt(0.5 * h) * c[a] for a in range(len(x))])
    up = model.kick(model.inside([z[a] + aside[a] for a in range(len(x))]), later, noise)
    down = model.kick(model.inside([z[a] - aside[a] for a in range(len(x))]), later, noise)
    area = [
        model.kick(
            p,
            later,
            [
                0.5
                * h
                * (
                    noise[a] * noise[b]
                    + (
                        -1.0
                        if a == b
                        else noise[2 * len(x) + a * (2 * len(x) - a - 1) // 2 + b - a - 1]
                        if a < b
                        else -noise[2 * len(x) + b * (2 * len(x) - b - 1) // 2 + a - b - 1]
                    )
                )
                for b in range(len(x))
            ],
        )
        for a in range(len(x))
    ]
    half = [0.5 for a in range(len(x))]
    plus = model.kick_own(
        [model.inside([z[b] + area[a][b] for b in range(len(x))]) for a in range(len(x))], later, half
    )
    minus = model.kick_own(
        [model.inside([z[b] - area[a][b] for b in range(len(x))]) for a in range(len(x))], later, half
    )
    moved = [x[a] + (h * force[a] + (plus[a] - minus[a]) + 0.5 * root * (up[a] + down[a])) for a in range(len(x))]
    turned = model.mirror_sign(moved)
    return [*moved, *[turned[a] * force[a] for a in range(len(x))]]


def refuses(system):
    """Points beyond a wall need the system's mirror image.

    With an antisymmetric part the drift is not that of an energy, and the stationary law is of first order only.
    """
    if not system.mobility.reversible:
        return "its mobility has an antisymmetric part, with which this scheme has order 1 only"
    return why_oblique(system) or why_vanishing(system)


SCHEME = Scheme(
    id="pvd2",
    step=step,
    weak_order={"gaussian": 1, "three-point": 1},
    invariant_order={"gaussian": 2, "three-point": 2},
    wall_order=1.5,
    mobility="any symmetric",
    evaluations="1 drift, 2 dim + 4 noises",
    reference=(
        "Bronasco, Leimkuhler, Phillips & Vilmart (2025), arXiv:2501.02943; MT2 by Abdulle, Vilmart & Zygalakis, SIAM "
        "J. Sci. Comput. 35 (2013) A1792; step (S9)"
    ),
    output=output,
    signs=signs,
    carried={"drift": "axis"},
    begin=begin,
    refuses=refuses,
    rank=1.5,
    auto_dim=4,
)
