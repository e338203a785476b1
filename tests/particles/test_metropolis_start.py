"""A particle that starts where K is singular never moves under a Metropolis rule: an error says so at the start."""

import numpy as np
import pytest

import relaxsim as rs
from particles.transfer import Transfer
from relaxsim.particles.metropolis import check_start
from relaxsim.particles.schemes import registry

MALA = registry()["mala"]
MACHINE = rs.diffusion_machine("(x - 0.4)**2", temperature=0.3)
DOUBLE = rs.diffusion_machine("(x - 0.4)**2", "arctan", temperature=0.3)  # K and K' vanish at the walls
PLANE = rs.diffusion_machine("(x - y)**2", temperature=0.3)
SLANT = rs.System("x*y", [["1 + x", "1 + x"], ["1 + x", "1 + 2*x"]], 0.3, rs.Domain([(0, 1), (0, 1)]))
RUN = {"n_particles": 300, "dt": 1e-3, "times": [0.0, 0.05], "rng": 1, "stationary": True}


def refused(system, points, dtype="float64", scheme=MALA):
    points = np.atleast_2d(np.asarray(points, dtype=np.float64))
    try:
        check_start(system, scheme, points, 0.0, 1e-3, dtype, 512)
    except rs.InputError as error:
        return str(error)
    return None


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("system", "point"),
    [(MACHINE, [0.0]), (MACHINE, [1.0]), (DOUBLE, [1.0]), (PLANE, [0.0, 0.5]), (SLANT, [0.0, 0.5])],
    ids=["lower", "upper", "double zero", "one axis", "slanted"],
)
def test_no_step_from_there_is_accepted(system, point):
    """What is refused is what the step itself never leaves; 1e-9 away from the wall it is left, and accepted."""

    def moved(start):
        state = [*(np.array([value]) for value in start), np.zeros(1)]
        with np.errstate(all="ignore"):
            ends = Transfer(MALA, system, n=9).call(MALA.step, state, 1e-3, 1e-12)
        return max(np.abs(end - value).max() for end, value in zip(ends, start, strict=False))

    inside = [min(max(value, 1e-9), 1 - 1e-9) for value in point]
    assert moved(point) == 0
    assert moved(inside) > 0
    assert "particle 512 starts at" in refused(system, point)
    assert refused(system, inside) is None


@pytest.mark.nojit
def test_who_is_named_and_what_is_advised():
    words = refused(MACHINE, [[0.5], [0.2], [0.0], [1.0]])
    assert "particle 514 starts at (0)" in words
    assert "as do 2 of the 4 looked at" in words
    assert "'mala' would refuse every step" in words
    assert "scheme='auto'" in words
    assert "scheme='auto'" not in refused(DOUBLE, [1.0])  # nothing leads away from there
    assert refused(MACHINE, [1 - 1e-9]) is None
    assert "starts at (1)" in refused(MACHINE, [1 - 1e-9], "float32")


@pytest.mark.nojit
def test_a_few_among_many_are_a_warning():
    """As single precision rounds some onto a wall by chance: one of ten thousand warns, two are refused."""
    points = np.full((10_000, 1), 0.5)
    points[17] = 1.0
    with pytest.warns(UserWarning, match=r"particle 529 starts at \(1\), .* as do 1 of the 10000 looked at"):
        assert refused(MACHINE, points) is None
    points[18] = 0.0
    assert "as do 2 of the 10000" in refused(MACHINE, points)


@pytest.mark.nojit
def test_what_is_not_refused():
    """Other schemes, constant mobilities on a wall, and a start near a zero of K without walls."""
    assert refused(MACHINE, [0.0], scheme=registry()["euler-maruyama"]) is None
    assert refused(rs.System("x", 1.0, 0.3, rs.Domain.hypercube(1)), [0.0]) is None
    free = rs.System("x**2/2", "x**2 + 1e-30", 0.3)
    assert refused(free, [1e-9]) is None


def test_a_run_says_so_and_a_start_inside_passes():
    with pytest.raises(rs.InputError, match=r"^initial: particle 0 starts at \(0\), .*as do 300 of the 300"):
        rs.simulate(MACHINE, rs.initial.point(0.0), scheme="mala", **RUN)
    path = rs.simulate(MACHINE, rs.initial.point(0.01), scheme="mala", **RUN)
    assert np.all(path.positions[-1] != path.positions[0])
    led = rs.simulate(MACHINE, rs.initial.point(0.0), **RUN)  # as the error advises
    assert np.all(led.positions[-1] > 0)
