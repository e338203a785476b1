"""What a bias costs, from steps and biases that are known."""

import math

import pytest

from relaxsim.bench import schemes
from relaxsim.bench.schemes import Line


@pytest.mark.nojit
def test_the_cost_of_a_bias_is_interpolated():
    """A bias 10 dt^2 is 1e-3 at dt = 0.01."""
    dts = (0.4, 0.1, 0.025, 0.00625)
    line = Line("one", "gaussian", 5e-9, dts, tuple(10 * dt**2 for dt in dts))
    assert line.cost(1e-3) == pytest.approx(5e-9 / 0.01, rel=1e-12)
    assert line.cost(2.0) == pytest.approx(5e-9 / 0.4, rel=1e-12)
    assert math.isnan(line.cost(1e-5))


@pytest.mark.nojit
def test_a_bias_that_passes_through_zero_is_not_believed():
    line = Line("one", "gaussian", 1.0, (0.4, 0.2, 0.1), (1e-5, 4e-3, 1e-3))
    assert line.cost(2e-3) == pytest.approx(1 / (0.1 * 2**0.5), rel=1e-12)


def test_a_line_is_measured_and_drawn(tmp_path):
    line = schemes.measured("euler-maruyama", "gaussian", (0.1, 0.05), quick=True)
    assert line.biases == pytest.approx((3.6e-2, 1.6e-2), rel=0.1)
    assert 0 < line.seconds < 1e-5
    assert "euler-maruyama" in schemes.table([line])
    schemes.picture([line]).savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


@pytest.mark.benchmark
def test_second_order_pays():
    record = schemes.second_order_pays(quick=True)
    assert record.passed, record
