"""Platen's explicit scheme of weak order two, for any mobility."""

from relaxsim.particles.schemes import Scheme
from relaxsim.particles.walls import why_oblique, why_vanishing
from relaxsim.system.elementary import sqrt


def signs(dim):
    """One for each pair of axes."""
    return dim * (dim - 1) // 2


def step(model, x, t, h, noise):
    """Drift by the mean of F(x) and F(u), u = x + h F + g dW; noise by differences of columns of g = sqrt(2 T) B.

    With dW = sqrt(h) noise, r_j = x + h F +- sqrt(h) g^j and u_r = x +- sqrt(h) g^r: column j takes the weight
    [g^j(r_j+) + g^j(r_j-) + 2 g^j]/4 dW_j, the difference g^j(r_j+) - g^j(r_j-) the weight (dW_j**2 - h)/(4 sqrt(h)),
    and for r != j the sum less 2 g^j and the difference at u_r the weights dW_j/4 and (dW_j dW_r + V_rj)/(4 sqrt(h)),
    V_rj = -V_jr = h or -h with equal chance.
    """
    root = sqrt(h)
    drift, kick = model.drift(x, t), model.kick(x, t, noise)
    far = [x[a] + h * drift[a] for a in range(len(x))]
    y = [far[a] + root * kick[a] for a in range(len(x))]
    drift2, sign = model.drift(model.inside(y), t + h), model.mirror_sign(y)
    own = [noise[a] * noise[a] - 1.0 for a in range(len(x))]
    upper, lower = model.along_columns(x, t, far, root), model.along_columns(x, t, far, -root)
    upper, lower = [model.inside(upper[a]) for a in range(len(x))], [model.inside(lower[a]) for a in range(len(x))]
    plus = model.kick_own(upper, t + h, [noise[a] + own[a] for a in range(len(x))])
    minus = model.kick_own(lower, t + h, [noise[a] - own[a] for a in range(len(x))])
    # of the columns at x: 2 beside those at r, and -2 beside those at u for each other axis
    rest = model.kick(x, t, [(4.0 - 2.0 * len(x)) * noise[a] for a in range(len(x))])
    cross = [
        [
            noise[j] * noise[r]
            + (
                0.0
                if r == j
                else noise[len(x) + r * (2 * len(x) - r - 1) // 2 + j - r - 1]
                if r < j
                else -noise[len(x) + j * (2 * len(x) - j - 1) // 2 + r - j - 1]
            )
            for j in range(len(x))
        ]
        for r in range(len(x))
    ]
    upper, lower = model.along_columns(x, t, x, root), model.along_columns(x, t, x, -root)
    upper, lower = [model.inside(upper[a]) for a in range(len(x))], [model.inside(lower[a]) for a in range(len(x))]
    plus2 = model.kick_others(upper, t, [[noise[j] + cross[r][j] for j in range(len(x))] for r in range(len(x))])
    minus2 = model.kick_others(lower, t, [[noise[j] - cross[r][j] for j in range(len(x))] for r in range(len(x))])
    return [
        x[a]
        + 0.5 * h * (drift[a] + sign[a] * drift2[a])
        + 0.25 * root * (plus[a] + minus[a] + rest[a] + plus2[a] + minus2[a])
        for a in range(len(x))
    ]


def refuses(system):
    """Points beyond a wall need the system's mirror image."""
    return why_oblique(system) or why_vanishing(system)


SCHEME = Scheme(
    id="platen",
    step=step,
    weak_order={"gaussian": 2, "three-point": 2},
    invariant_order={"gaussian": 2, "three-point": 2},
    wall_order=1.5,
    mobility="any",
    evaluations="2 drifts, 4 dim + 1 noises",
    reference="Kloeden & Platen (1992), section 15.1; step (S10)",
    signs=signs,
    refuses=refuses,
)
