"""Pictures: what they show, that they leave nothing behind, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

import relaxsim as rs
from pictures import drawn
from relaxsim import plotting
from relaxsim.errors import InputError

pytestmark = pytest.mark.nojit

TIMES = np.array([0.0, 0.5, 1.0])


@dataclass
class Ensemble:
    """What plots and `track` need of an EnsemblePath, without compiling a kernel."""

    system: rs.System
    times: np.ndarray
    positions: np.ndarray
    weights: np.ndarray | None = None


def ensemble(system, n=2000, times=TIMES):
    """Draw normal laws that widen from the point 1 to the Gibbs law of x**2/2 at T = 1."""
    rng = np.random.default_rng(5)
    decay = np.exp(-times)[:, None, None]
    noise = rng.standard_normal((len(times), n, system.dim))
    return Ensemble(system, times, decay + np.sqrt(1 - 0.9 * decay**2) * noise)


@pytest.fixture(scope="module")
def line():
    return rs.System("x**2/2", temperature=1.0, domain=rs.Domain([(-7, 7)]))


@pytest.fixture(scope="module")
def plane():
    return rs.System("x**2/2 + y**2/2", temperature=1.0, domain=rs.Domain([(-7, 7), (-6, 6)]))


def density_path(system, cells):
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, cells))
    distance = np.sum((fp.grid.points - 1.0) ** 2, axis=1).reshape(fp.grid.shape)
    start = np.exp(-distance / 0.2)
    return fp.evolve(start / start.sum(), TIMES, step=0.05)


@pytest.fixture(scope="module")
def line_density(line):
    return density_path(line, 100)


@pytest.fixture(scope="module")
def plane_density(plane):
    return density_path(plane, (28, 24))


@pytest.fixture(scope="module")
def records(line, line_density):
    micro = rs.track(ensemble(line))
    return micro, rs.track(line_density, like=micro)


def labels_of(axes):
    return axes.get_legend_handles_labels()[1]


# ------------------------------------------------------------------------------------------ relaxation


def test_relaxation_shows_five_quantities(records):
    figure = drawn(plotting.relaxation(*records))
    free_energy, kl, energy, entropy, dissipation = figure.axes
    assert "F = U - T" in free_energy.get_ylabel()
    assert "KL" in kl.get_ylabel()
    assert "U=" in energy.get_ylabel()
    assert "entropy" in entropy.get_ylabel()
    assert kl.get_yscale() == "log"
    assert "time" in kl.get_xlabel()
    assert "time" in dissipation.get_xlabel()
    assert dissipation.get_yscale() == "log"
    assert len(dissipation.containers) == 1  # bars of the ensemble
    (exact,) = [line for line in dissipation.lines if np.array_equal(line.get_ydata(), records[1].dissipation)]
    assert exact.get_color() == next(line for line in free_energy.lines if line.get_label() == "density").get_color()


def test_relaxation_draws_ensembles_as_points_and_densities_as_lines(records):
    figure = plotting.relaxation(*records)
    top = figure.axes[0]
    assert len(top.containers) == 1  # bars of the ensemble
    density = next(line for line in top.lines if line.get_label() == "density")
    assert np.array_equal(density.get_ydata(), records[1].free_energy)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0].startswith("ensemble (±2 standard errors)")
    assert texts[1] == "density"
    assert "equilibrium" in texts[2]


def test_the_equilibrium_line_is_minus_t_log_z(records):
    top = plotting.relaxation(records[1]).axes[0]
    level = next(line for line in top.lines if "equilibrium" in str(line.get_label()))
    assert level.get_ydata()[0] == pytest.approx(-0.5 * np.log(2 * np.pi), abs=1e-6)


def test_many_times_become_a_band(line):
    micro = rs.track(ensemble(line, n=300, times=np.linspace(0.0, 2.0, 80)))
    top = drawn(plotting.relaxation(micro)).axes[0]
    assert len(top.containers) == 0
    assert len(top.collections) == 1


def test_a_kl_within_noise_is_an_upper_limit(records):
    micro = replace(records[0], kl=np.array([1.0, -1e-3, 1e-3]), kl_stderr=np.full(3, 2e-3))
    kl = drawn(plotting.relaxation(micro)).axes[1]
    limits = next(line for line in kl.lines if "upper limit" in str(line.get_label()))
    assert np.allclose(limits.get_ydata(), [4e-3, 5e-3])
    assert kl.get_ylim()[0] > 0


def test_records_that_are_partly_unknown(records):
    """An ensemble in many dimensions has U only; a law on forbidden ground has infinite F."""
    nothing = np.full(3, np.nan)
    unknown = dict.fromkeys(("free_energy", "entropy", "kl", "free_energy_stderr", "entropy_stderr", "kl_stderr"))
    figure = drawn(plotting.relaxation(replace(records[0], log_partition=np.nan, **dict.fromkeys(unknown, nothing))))
    said = {axes.get_ylabel().split()[0]: [text.get_text() for text in axes.texts] for axes in figure.axes}
    assert said.pop("energy") == []
    assert all(texts == ["not known"] for texts in said.values())
    start = np.array([np.inf, 1.0, 0.5])
    drawn(plotting.relaxation(replace(records[1], free_energy=start, kl=start)))


def test_work_has_a_panel_where_it_is_done():
    system = rs.System("(x - t)**2/2", temperature=1.0, domain=rs.Domain([(-6, 8)]))
    path = rs.FokkerPlanck(system, rs.Grid(system.domain, 60)).evolve(rs.initial.gibbs(), TIMES, step=0.05)
    record = rs.track(path)
    figure = drawn(plotting.relaxation(record))
    axes = next(axes for axes in figure.axes if axes.get_ylabel() == "work $W$")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), record.work)


def test_each_record_has_a_colour_of_its_own(records):
    figure = plotting.relaxation(records[1], replace(records[1], label="other"), replace(records[1], label="third"))
    colours = [line.get_color() for line in figure.axes[0].lines[:3]]
    assert len(set(colours)) == 3


def test_records_of_one_kind_are_told_apart_by_labels(records):
    figure = drawn(plotting.relaxation(records[1], records[1], labels=["proximal", "finite volumes"]))
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["proximal", "finite volumes"]
    for labels in (["one"], "ab"):
        with pytest.raises(InputError, match="expected a list of 2 names"):
            plotting.relaxation(records[1], records[1], labels=labels)


def test_relaxation_refuses(line_density):
    with pytest.raises(InputError, match="nothing to draw"):
        plotting.relaxation()
    with pytest.raises(InputError, match=r"argument 0 is DensityPath.*track\(path\)"):
        plotting.relaxation(line_density)


# --------------------------------------------------------------------------------------------- density


def test_density_in_one_dimension(line, line_density):
    (axes,) = drawn(plotting.density(line_density, ensemble(line), index=1)).axes
    assert labels_of(axes) == ["ensemble ($n=2\\,000$)", "density", "Gibbs law"]
    assert axes.get_xlabel() == "$x$"
    assert "density" in axes.get_ylabel()
    assert "0.5" in axes.get_title()


def test_each_path_alone_is_welcome(line, line_density):
    micro = ensemble(line)
    assert labels_of(plotting.density(line_density).axes[0]) == ["density", "Gibbs law"]
    assert labels_of(plotting.density(micro).axes[0])[1:] == ["Gibbs law"]
    assert labels_of(plotting.density(ensemble=micro).axes[0])[1:] == ["Gibbs law"]
    assert labels_of(plotting.density(micro, line_density).axes[0])[1:] == ["density", "Gibbs law"]


def test_curves_and_histogram_hold_all_mass(line, line_density):
    (axes,) = plotting.density(line_density, ensemble(line)).axes
    for curve in axes.lines:
        x, y = curve.get_data()
        assert np.sum(y) * (x[1] - x[0]) == pytest.approx(1.0, abs=1e-9)
    steps = axes.patches[0].get_data()
    assert np.sum(steps.values * np.diff(steps.edges)) == pytest.approx(1.0)


def test_density_in_two_dimensions(plane, plane_density):
    figure = drawn(plotting.density(plane_density, ensemble(plane)))
    *panels, bar = figure.axes
    assert [panel.get_title().split(",")[0].split(" (")[0] for panel in panels] == [
        "ensemble",
        "density",
        "Gibbs law",
    ]
    scales = {panel.collections[0].get_clim() for panel in panels}
    assert len(scales) == 1
    assert bar.get_ylabel() == "probability density"
    assert panels[0].get_ylabel() == "$y$"


@pytest.mark.parametrize(("bounds", "cells"), [([(0, 6), (-3, 3)], 6), ([(0, 12), (0, 5)], 6), ([(0, 5), (0, 14)], 6)])
def test_titles_in_two_dimensions_lie_inside_the_figure(bounds, cells):
    flat = rs.System("0*x + 0*y", temperature=1.0, domain=rs.Domain(bounds))
    figure = drawn(plotting.density(density_path(flat, (cells, cells))))
    for axes in figure.axes[:-1]:
        title, (width, height) = axes.title.get_window_extent(), figure.bbox.size
        assert title.y1 <= height, f"the title ends {title.y1 - height:.0f} pixels above the figure"
        assert title.x0 >= 0
        assert title.x1 <= width


def test_two_dimensions_are_not_transposed(plane, plane_density):
    """Cells are indexed (x, y), images (row = y, column = x)."""
    mesh = plotting.density(plane_density, index=0).axes[0].collections[0]
    values = np.asarray(mesh.get_array())
    assert values.shape == (24, 28)  # rows are y
    assert np.allclose(values, plane_density.density[0].T)


def test_marginals(plane, plane_density):
    (axes,) = drawn(plotting.density(plane_density, ensemble(plane), axes=[1])).axes
    assert axes.get_xlabel() == "$y$"
    _, y = axes.lines[0].get_data()
    assert np.allclose(y, plane_density.mass[-1].sum(axis=0) / plane_density.grid.spacing[1])
    swapped = plotting.density(plane_density, axes=(1, 0)).axes[0]
    assert (swapped.get_xlabel(), swapped.get_ylabel()) == ("$y$", "$x$")
    assert np.allclose(np.asarray(swapped.collections[0].get_array()), plane_density.density[-1])


def test_unbounded_and_many_dimensions():
    free = rs.System("x**2/2", temperature=1.0)
    assert labels_of(drawn(plotting.density(ensemble(free))).axes[0])[1:] == ["Gibbs law"]
    many = rs.System("x**2/2 + y**2/2 + z**2/2", temperature=1.0)
    micro = ensemble(many, n=200)
    with pytest.raises(InputError, match=r"dim=3; pass axes"):
        plotting.density(micro)
    assert len(drawn(plotting.density(micro, axes=(0, 2))).axes) == 2  # a histogram and its colour bar


def test_a_point_law_can_be_drawn(line):
    micro = Ensemble(line, TIMES, np.ones((3, 10, 1)))
    drawn(plotting.density(micro))
    drawn(plotting.trajectories(micro))


def test_density_refuses(line, line_density, records):
    micro = ensemble(line)
    with pytest.raises(InputError, match="no path"):
        plotting.density()
    with pytest.raises(InputError, match="got Relaxation"):
        plotting.density(records[0])
    with pytest.raises(InputError, match="two paths of one kind"):
        plotting.density(micro, micro)
    with pytest.raises(InputError, match="index=3 is outside the 3 stored times"):
        plotting.density(micro, index=3)
    with pytest.raises(InputError, match="the same time"):
        plotting.density(line_density, ensemble(line, times=np.array([0.0, 2.0])))
    with pytest.raises(InputError, match=r"axes=\(0, 1\)"):
        plotting.density(micro, axes=(0, 1))
    with pytest.raises(InputError, match="bins=0"):
        plotting.density(micro, bins=0)


# ---------------------------------------------------------------------------------------- trajectories


def test_trajectories_against_time(line):
    left, right = drawn(plotting.trajectories(ensemble(line), n=7)).axes
    assert len(left.collections[0].get_segments()) == 7
    assert "time" in left.get_xlabel()
    assert left.get_ylabel() == "$x$"
    assert labels_of(right) == ["ensemble", "Gibbs"]


def test_trajectories_in_the_plane(plane):
    (axes,) = drawn(plotting.trajectories(ensemble(plane), n=7)).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$x$", "$y$")
    assert labels_of(axes) == ["$t = 0$", "$t = 1$"]
    assert plotting.trajectories(ensemble(plane), axis=1).axes[0].get_ylabel() == "$y$"


def test_lines_break_at_periodic_walls():
    circle = rs.System("cos(x)", temperature=1.0, domain=rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    path = Ensemble(circle, TIMES, np.array([[[0.1], [3.0]], [[6.2], [3.1]], [[6.1], [3.2]]]))
    left, _ = drawn(plotting.trajectories(path)).axes
    assert [len(part) for part in left.collections[0].get_segments()] == [1, 2, 3]


def test_trajectories_refuse(line, line_density):
    micro = ensemble(line)
    with pytest.raises(InputError, match="got DensityPath"):
        plotting.trajectories(line_density)
    with pytest.raises(InputError, match='store="all"'):
        plotting.trajectories(Ensemble(line, TIMES[:1], micro.positions[:1]))
    with pytest.raises(InputError, match="n=0"):
        plotting.trajectories(micro, 0)
    with pytest.raises(InputError, match="axis=1"):
        plotting.trajectories(micro, axis=1)


# ---------------------------------------------------------------------------------------- global state


def test_nothing_is_left_behind(records, monkeypatch):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figure = plotting.relaxation(*records)
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
    assert figure._repr_html_().startswith('<img alt="relaxsim figure" src="data:image/png;base64,')


def test_plotting_imports_matplotlib_late_and_pyplot_never():
    code = (
        "import sys, relaxsim.plotting as p; assert 'matplotlib' not in sys.modules\n"
        "from relaxsim.plotting.style import new_figure; new_figure(1, 1)\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weighted_particles_are_drawn_with_their_weights(line):
    plain = ensemble(line)
    weights = np.where(plain.positions[..., 0] > 0, 2.0, 0.0)
    weighted = Ensemble(line, plain.times, plain.positions, weights / weights.mean(axis=1, keepdims=True))
    figure = rs.plotting.density(weighted)
    (stairs,) = [patch for patch in figure.axes[0].patches if "ensemble" in str(patch.get_label())]
    heights, edges, _ = stairs.get_data()
    below = heights[edges[1:] < 0].sum() * (edges[1] - edges[0])
    assert below < 1e-12
    figure = rs.plotting.trajectories(weighted)
    (mean,) = [curve for curve in figure.axes[0].lines if "mean" in str(curve.get_label())]
    np.testing.assert_allclose(mean.get_ydata(), (weighted.weights * plain.positions[..., 0]).mean(axis=1))


def hidden_dissipation(record):
    """A record whose last slope noise hides, far below the others, and whose KL it does not."""
    changed = replace(record)
    slopes = np.array([np.nan, 0.5, -0.001]), np.array([np.nan, 0.02, 0.001]), np.array([np.nan, 0.2, 0.0005])
    changed.__dict__["_falling"] = slopes
    return changed


def test_arrows_are_explained_wherever_they_are_and_stay_inside(records):
    micro = hidden_dissipation(records[0])
    np.testing.assert_array_equal(micro.dissipation, [np.nan, 0.5, -0.001])
    figure = drawn(plotting.relaxation(micro, records[1]))
    panel = next(axes for axes in figure.axes if "dissipation" in axes.get_ylabel())
    (arrows,) = [line for line in panel.lines if "upper limit" in str(line.get_label())]
    np.testing.assert_allclose(arrows.get_ydata(), [0.0025])  # two standard errors and the bias bound
    assert panel.get_ylim()[0] < 0.0025
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["upper limit (hidden by noise)"]
    (bars,) = [each for each in panel.collections if each.get_alpha() == 0.5]  # 0.5 +- (2 * 0.02 + 0.2)
    np.testing.assert_allclose(bars.get_segments(), [[[0.5, 0.26], [0.5, 0.74]]])


def test_two_paths_of_other_dimensions_are_refused(plane, line_density):
    for draw in (plotting.density, lambda *paths: plotting.snapshots(*paths, times=[0, 1])):
        with pytest.raises(InputError, match=r"the density has 1 coordinate\(s\), the ensemble 2"):
            draw(line_density, ensemble(plane))


def test_what_a_bare_drift_rests_in_is_no_gibbs_law():
    line = rs.Domain([(-4, 4)])
    fp = rs.FokkerPlanck.from_drift("-x", 1.0, line, rs.Grid(line, 40))
    path = fp.evolve(np.full(40, 1 / 40), TIMES)
    for figure in (plotting.density(path), plotting.snapshots(path, times=[0, 1])):
        names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert "law at rest" in names
        assert "Gibbs law" not in names
