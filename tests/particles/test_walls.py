"""Reflecting walls: orders with a force at the wall, layers and corners, mobilities that vanish there, and mutants.

In one dimension the law of a scheme between mirrors is known exactly, from the transfer operator of its own step
(`transfer.WallTransfer`); ensembles tie the compiled walls to it. Boxes with a full mobility are compared with Gibbs
in layers of fixed width and in corners, where the reflection's direction shows.
"""

import math
from functools import cache

import numpy as np
import pytest

import relaxsim as rs
from particles.transfer import Transfer, WallTransfer, gibbs_means, slopes
from relaxsim.particles import walls
from relaxsim.particles.schemes import Scheme, choose, registry
from statistical_budget import assert_rejected, assert_within

STEPS = (0.02, 0.01, 0.005, 0.0025)
UNIT = rs.Domain.hypercube(1)
N = 1 << 17


def mean_x(x):
    return x


@cache
def wall_errors(scheme, system, steps=STEPS, **options):
    """Bias of the mean position at each step."""
    transfer = WallTransfer(scheme, system, **options)
    return np.array([transfer.mean(h) for h in steps]) - gibbs_means(system, [mean_x])[0]


# ---- a force towards a wall in one dimension

PUSHED, PUSHED_VARYING = rs.System("2*x", 1.0, 0.5, UNIT), rs.System("2*x", "1 + x/2", 0.5, UNIT)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("scheme", "system"),
    [
        ("euler-maruyama", PUSHED),
        ("euler-maruyama", PUSHED_VARYING),
        ("milstein", PUSHED_VARYING),
        ("leimkuhler-matthews", PUSHED),
    ],
)
def test_orders_at_a_wall_are_the_claimed(scheme, system):
    """The force has a component along the normal: Leimkuhler-Matthews has order 3/2 there, not 2."""
    found = slopes(STEPS, abs(wall_errors(scheme, system)))
    assert np.all(abs(found - registry()[scheme].wall_order) < 0.06), found


@pytest.mark.nojit
def test_leimkuhler_matthews_has_order_two_where_the_normal_force_vanishes():
    found = slopes(STEPS, abs(wall_errors("leimkuhler-matthews", rs.System("cos(pi*x)", 1.0, 0.5, UNIT))))
    assert np.all(abs(found - 2) < 0.25), found
    assert abs(found[-1] - 2) < 0.08


@pytest.mark.nojit
def test_lamperti_has_order_three_halves_at_a_wall_with_mobility():
    found = slopes(STEPS, abs(wall_errors("lamperti", PUSHED_VARYING, n=96)))
    assert np.all(abs(found - 1.5) < 0.06), found


# ---- a mobility that vanishes at the wall

MACHINE = rs.diffusion_machine("x", temperature=0.3)
MACHINE_STEPS = (0.04, 0.02, 0.01, 0.005)


@pytest.mark.nojit
def test_orders_where_the_mobility_vanishes():
    milstein = abs(wall_errors("milstein", MACHINE, MACHINE_STEPS))
    found = slopes(MACHINE_STEPS, milstein)
    assert np.all(abs(found - registry()["milstein"].wall_order) < 0.15), found
    assert abs(found[-1] - registry()["milstein"].wall_order) < 0.02
    euler = slopes(MACHINE_STEPS, abs(wall_errors("euler-maruyama", MACHINE, MACHINE_STEPS)))
    assert np.all((euler > 0.8) & (euler < 1.0)), euler
    assert np.all(np.diff(euler) > 0)  # towards 1
    transfer, exact = Transfer("sphere", MACHINE, n=40), gibbs_means(MACHINE, [mean_x])
    sphere = np.array([abs(transfer.stationary_means(h, [mean_x]) - exact)[0] for h in MACHINE_STEPS])
    assert np.all(abs(slopes(MACHINE_STEPS, sphere) - registry()["sphere"].wall_order) < 0.02)
    assert np.all(sphere < milstein / 100)


@pytest.mark.nojit
def test_the_lamperti_form_fails_where_the_mobility_vanishes():
    """dY = (T/Y + ...) dt is a Bessel process of dimension 2: an explicit step has a bias of order sqrt(h)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lamperti = wall_errors("lamperti", MACHINE, MACHINE_STEPS, finest=1e-3)
    found = slopes(MACHINE_STEPS, lamperti)
    assert np.all(abs(found - 0.5) < 0.07), found
    with pytest.raises(rs.IncompatibleSchemeError, match=r"vanishes at a reflecting wall.*sphere"):
        choose("lamperti", MACHINE)
    milstein = abs(wall_errors("milstein", MACHINE, MACHINE_STEPS))
    assert np.all(lamperti > 5 * milstein)
    assert lamperti[-1] > 20 * milstein[-1]


# ---- compiled walls against the exact laws of their steps


@pytest.mark.parametrize(
    ("scheme", "mobility"),
    [
        pytest.param("milstein", ["1 + x/2", "1.0", "1.5 - z"], marks=pytest.mark.slow),
        ("leimkuhler-matthews", 1.0),
    ],
    ids=["milstein", "leimkuhler-matthews"],
)
def test_a_cube_has_the_law_of_its_axes(scheme, mobility):
    """Coordinates that do not interact: each has the law of its own one-dimensional system at the same step."""
    h, energies = 0.05, ["2*x", "-y", "cos(pi*z)"]
    cube = rs.System(" + ".join(energies), mobility, 0.5, rs.Domain.hypercube(3))
    expected = []
    for axis, energy in enumerate(energies):
        K = 1.0 if scheme == "leimkuhler-matthews" else mobility[axis].replace("z", "x")
        one = rs.System(energy.replace("y", "x").replace("z", "x"), float(K) if K in (1.0, "1.0") else K, 0.5, UNIT)
        expected.append(WallTransfer(scheme, one).mean(h))
    times = np.r_[0.0, np.arange(4.0, 20.0, 1.0)]
    path = rs.simulate(cube, rs.initial.uniform(), n_particles=1 << 14, dt=h, times=times, scheme=scheme, rng=41)
    averages = path.positions[1:].mean(axis=0)
    error = averages.std(axis=0) / math.sqrt(len(averages))
    assert_within("walls: law of the axes", averages.mean(axis=0), expected, error)
    exact = [gibbs_means(rs.System(e, 1.0, 0.5, UNIT), [mean_x])[0] for e in ("2*x", "-x", "cos(pi*x)")]
    assert abs(np.array(expected) - exact).max() > 6 * error.max()  # the step is coarse enough to be seen


def without_divergence(model, x, t, h, noise):
    """Milstein that forgets T div K in the drift."""
    drift, kick, slope = model.drift(x, t), model.kick(x, t, noise), model.divergence(x, t)
    root, half = h**0.5, 0.5 * model.temperature * h
    return [
        x[a] + (h * drift[a] + root * kick[a] + half * slope[a] * (noise[a] * noise[a] - 3.0)) for a in range(len(x))
    ]


def test_the_machine_needs_the_slope_of_its_mobility():
    """Without T K' the ends absorb: the mutant gathers there, where Gibbs has next to nothing."""
    row = registry()["milstein"]
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    mutant = Scheme(**{**fields, "id": "mutant", "step": without_divergence})
    h, layer = 0.01, 0.02
    inside = -math.expm1(-layer / 0.3) / -math.expm1(-1 / 0.3)
    for scheme, check in (("milstein", assert_within), (mutant, assert_rejected)):
        arguments = {"n_particles": N, "dt": h, "times": [0.0, 4.0], "store": "final", "rng": 42}
        x = rs.simulate(MACHINE, rs.initial.gibbs(), scheme=scheme, **arguments).positions[-1, :, 0]
        assert np.all((x >= 0) & (x <= 1))
        bias = abs(wall_errors("milstein", MACHINE, (h,))[0])
        check("walls: diffusion machine", x.mean(), gibbs_means(MACHINE, [mean_x])[0], x.std() / math.sqrt(N), bias)
        error = math.sqrt(inside * (1 - inside) / N)
        check("walls: diffusion machine", (x < layer).mean(), inside, error, bias=0.05 * inside)


# ---- Lépingle's push

LONG = rs.System("2*x", 1.0, 0.5, rs.Domain([(0, 3)]))  # exp(-12) is left at the far wall


def layer_masses(x, widths):
    """Fractions within some distances of the lower wall, their values for exp(-4 x), and standard errors."""
    exact = np.array([-math.expm1(-4 * width) / -math.expm1(-12) for width in widths])
    return np.array([(x < width).mean() for width in widths]), exact, np.sqrt(exact * (1 - exact) / len(x))


def test_lepingle_is_exact_for_a_constant_force_at_one_wall():
    """At a step where the mirror's layer is off by a third."""
    arguments = {"n_particles": N, "dt": 0.05, "times": [0.0, 4.0], "store": "final", "scheme": "euler-maruyama"}
    pushed = rs.simulate(LONG, rs.initial.gibbs(), rng=43, walls="lepingle", **arguments).positions[-1, :, 0]
    mirrored = rs.simulate(LONG, rs.initial.gibbs(), rng=43, **arguments).positions[-1, :, 0]
    assert_within("walls: Lépingle's layer", *layer_masses(pushed, (0.05, 0.1, 0.2, 0.5)))
    assert_rejected("walls: Lépingle's layer", *layer_masses(mirrored, (0.05, 0.1, 0.2, 0.5)))
    assert_within("walls: Lépingle's mean", pushed.mean(), 0.25, pushed.std() / math.sqrt(N), bias=1e-4)
    assert_rejected("walls: Lépingle's mean", mirrored.mean(), 0.25, mirrored.std() / math.sqrt(N), bias=1e-4)


@pytest.mark.slow
def test_lepingle_has_the_better_layer_with_full_mobility_in_a_channel():
    """A wall, a force along it that varies, K12 = 0.6; the layer x < 0.05 at h = 0.01."""
    domain = rs.Domain([(0, 3), (0, 1)], boundary=["reflecting", "periodic"])
    system = rs.System("2*x + 0.3*cos(2*pi*y)", [[1.0, 0.6], [0.6, 1.0]], 0.5, domain)
    arguments = {"n_particles": N, "dt": 0.01, "times": [0.0, 2.0], "store": "final", "rng": 44}
    off = {}
    for kind in ("mirror", "lepingle"):
        x = rs.simulate(system, rs.initial.gibbs(), walls=kind, scheme="euler-maruyama", **arguments).positions[-1]
        mass, exact, error = layer_masses(x[:, 0], (0.05,))
        off[kind] = abs(mass - exact)[0] / exact[0]
        assert error[0] / exact[0] < 0.01
    assert off["mirror"] > 0.1
    assert off["lepingle"] < off["mirror"] / 3


# ---- full mobility in a box

BOX = rs.System("2*x + y", [[1.0, 0.6], [0.6, 1.0]], 1.0, rs.Domain.hypercube(2))
SLOPES = (2.0, 1.0)
REGIONS = {
    "left": ((0, 0.05), (0, 1)),
    "right": ((0.95, 1), (0, 1)),
    "bottom": ((0, 1), (0, 0.05)),
    "top": ((0, 1), (0.95, 1)),
    "corner 00": ((0, 0.1), (0, 0.1)),
    "corner 01": ((0, 0.1), (0.9, 1)),
    "corner 10": ((0.9, 1), (0, 0.1)),
    "corner 11": ((0.9, 1), (0.9, 1)),
}


def region_masses(x):
    """Fractions in layers of width 0.05 and corners of width 0.1, their Gibbs values and standard errors."""
    found, exact = [], []
    for box in REGIONS.values():
        found.append(np.all([(x[:, a] >= low) & (x[:, a] <= high) for a, (low, high) in enumerate(box)], axis=0).mean())
        sides = zip(SLOPES, box, strict=True)
        exact.append(
            math.prod((math.exp(-s * low) - math.exp(-s * high)) / -math.expm1(-s) for s, (low, high) in sides)
        )
    return np.array(found), np.array(exact), np.sqrt(exact * (1 - np.array(exact)) / len(x))


def test_layers_and_corners_of_a_box_with_full_mobility(monkeypatch):
    """E = 2x + y, K12 = 0.6: a force along every wall, which is what makes the direction of reflection visible.

    The mirror's layer is off by O(sqrt(h)), 3 % at this step, where a reflection along the normal is off by 50 % and
    its corners by factors.
    """
    arguments = {"n_particles": 100_000, "times": [0.0, 1.0], "store": "final", "scheme": "euler-maruyama"}
    x = rs.simulate(BOX, rs.initial.gibbs(), dt=1e-3, rng=45, **arguments).positions[-1]
    found, exact, error = region_masses(x)
    assert_within("walls: layers and corners", found, exact, error, bias=0.05 * exact)
    monkeypatch.setattr(walls, "needs_oblique", lambda system: False)
    x = rs.simulate(BOX, rs.initial.gibbs(), dt=2.5e-3, rng=45, **arguments).positions[-1]
    found, exact, error = region_masses(x)
    off = abs(found - exact) / (6.2 * error + 0.05 * exact)
    assert off[list(REGIONS).index("bottom")] > 2
    assert np.all(off[4:] > 1)
    assert_rejected("walls: layers and corners", found, exact, error, bias=0.05 * exact)


@pytest.mark.slow
def test_a_mobility_that_varies_along_the_walls_of_a_box():
    """K12 depends on the position: reflection takes K at the wall."""
    mobility = [["1 + x/2", "0.8*(x - y)"], ["0.8*(x - y)", "1 + y/2"]]
    system = rs.System("2*x + y", mobility, 1.0, rs.Domain.hypercube(2))
    arguments = {"n_particles": 100_000, "times": [0.0, 1.0], "store": "final", "scheme": "euler-maruyama"}
    x = rs.simulate(system, rs.initial.gibbs(), dt=1e-3, rng=46, **arguments).positions[-1]
    found, exact, error = region_masses(x)
    assert_within("walls: layers and corners", found, exact, error, bias=0.05 * exact)
    own = np.array([1 / s - 1 / math.expm1(s) for s in SLOPES])
    assert_within("walls: mean in a box", x.mean(axis=0), own, x.std(axis=0) / math.sqrt(len(x)), bias=2e-3)
    assert np.all((x >= 0) & (x <= 1))


@pytest.mark.nojit
def test_mirror_images_on_arrays_are_those_of_a_loop():
    """Any overshoot, several box lengths away; what is inside keeps its bits."""
    from naive import particles as naive
    from relaxsim.particles.model import ArrayModel

    model = ArrayModel(rs.System("x", 1.0, 1.0, rs.Domain([(-0.3, 0.9)])))
    x = np.linspace(-5, 5, 1001)
    (folded,) = model.inside([x])
    (sign,) = model.mirror_sign([x])
    np.testing.assert_allclose(folded, [naive.reflect(v, -0.3, 0.9) for v in x], atol=1e-12)
    keeps = (x >= -0.3) & (x <= 0.9)
    np.testing.assert_array_equal(folded[keeps], x[keeps])
    interior = abs(np.mod(x + 0.3, 1.2)) > 1e-9
    slope = (model.inside([x + 1e-9])[0] - folded) / 1e-9
    np.testing.assert_allclose(sign[interior], slope[interior], atol=1e-5)
