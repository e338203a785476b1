"""Pictures of estimated fields, reconstructed energies and tails have what they say."""

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import relaxsim as rs
from functionals.trajectories import linear_trajectories
from relaxsim import plotting as plots
from relaxsim.errors import InputError
from relaxsim.functionals.kramers_moyal import kramers_moyal
from relaxsim.functionals.potential import reconstruct
from relaxsim.functionals.tail import gap_from_tail


def estimate(dim):
    positions, _ = linear_trajectories(np.eye(dim), np.eye(dim), 0.5, 8000, 5, 0.05, seed=1)
    grid = rs.Grid(rs.Domain.unbounded(dim), 8, bounds=[(-1.2, 1.2)] * dim)
    return kramers_moyal(positions, grid, dt=0.05, method="kernel"), rs.System(
        "x**2/2" if dim == 1 else "x**2/2 + y**2/2", temperature=0.5
    )


@pytest.mark.parametrize("dim", [1, 2])
def test_fields_and_energies_beside_the_true_ones(dim, tmp_path):
    found, system = estimate(dim)
    fields = plots.kramers_moyal(found, system)
    assert len([axes for axes in fields.axes if axes.get_title() or axes.get_ylabel()]) >= 2
    energy = plots.reconstruction(reconstruct(found, temperature=0.5), system)
    for number, figure in enumerate((fields, energy, plots.reconstruction(reconstruct(found)))):
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 5000
    if dim == 1:
        (drawn,) = [line for line in energy.axes[0].lines if line.get_label() == "true"]
        np.testing.assert_allclose(np.diff(drawn.get_ydata()), np.diff(found.grid.centers[0] ** 2 / 2), atol=1e-9)
    else:
        titles = [axes.get_title() for axes in energy.axes if axes.get_title()]
        *titles, current = titles
        assert titles == ["reconstructed $E$", "true $E$", "standard error of $E$"]
        # arrows are as long as the picture allows, whatever they are: these are noise
        assert re.fullmatch(r"no curl found: only noise,\nlongest arrow 0\.\d+", current)
        (drift, *_), below = fields.axes[:4], fields.axes[4:8]
        assert drift.get_title() == r"drift $\mu$"
        errors = [axes.collections[0].get_array().ravel() for axes in below]
        np.testing.assert_array_equal(errors[2], found.diffusion_stderr[..., 0, 1].T.ravel())
        assert all(axes.get_title() == "standard error" for axes in below)


def test_a_tail_is_drawn_with_its_gap(tmp_path):
    system = rs.System("x**2/2", temperature=1.0)
    path = rs.FokkerPlanck(system, rs.Grid(system.domain, 64, bounds=[(-6, 6)])).evolve(
        rs.initial.normal([1.0], [[0.5]]), np.arange(9) * 0.5
    )
    record = rs.track(path)
    fit = gap_from_tail(record)
    figure = plots.kl_tail(record, fit)
    figure.savefig(tmp_path / "tail.png")
    left, right = figure.axes
    assert left.get_yscale() == "log"
    assert f"{fit.gap:.3g}" in left.get_legend().get_texts()[1].get_text()
    np.testing.assert_allclose(right.lines[-1].get_ydata(), fit.local_rates)


def test_the_local_rates_of_an_ensemble_have_bars():
    times = np.arange(0.0, 2.0, 0.2)
    record = SimpleNamespace(times=times, kl=np.exp(-2 * times), kl_stderr=np.full(10, 2e-3))
    fit = gap_from_tail(record.times, record.kl, record.kl_stderr)
    left, right = plots.kl_tail(record, fit).axes
    assert len(left.containers) == len(right.containers) == 1
    # -(1/2) d ln KL/dt of neighbouring values with independent errors
    relative = 2e-3 / record.kl
    expected = np.hypot(relative[1:], relative[:-1]) / 0.4
    np.testing.assert_allclose(fit.local_rates_stderr, expected[: fit.local_times.size], rtol=0.15)
    band = 2 * fit.stderr + fit.bias_bound
    heights = right.patches[0].get_y(), right.patches[0].get_height()
    np.testing.assert_allclose(heights, (fit.gap - band, 2 * band))
    assert any(f"± {band:.2g}" in text.get_text() for text in left.get_legend().get_texts())


def test_three_dimensions_are_refused():
    positions, _ = linear_trajectories(np.eye(3), np.eye(3), 0.5, 5000, 3, 0.05, seed=1)
    grid = rs.Grid(rs.Domain.unbounded(3), 3, bounds=[(-1, 1)] * 3)
    found = kramers_moyal(positions, grid, dt=0.05, degree=1, min_count=50)
    with pytest.raises(InputError, match="one or two dimensions"):
        plots.kramers_moyal(found)


@pytest.mark.slow
def test_the_page_of_the_documentation_runs_as_written():
    page = (Path(__file__).parents[2] / "docs" / "reconstruction.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", page, flags=re.MULTILINE)
    assert len(blocks) == 2
    exec(compile("\n".join(map(textwrap.dedent, blocks)), "reconstruction.rst", "exec"), {})
