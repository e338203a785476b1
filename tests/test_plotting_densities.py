"""Pictures of what densities have: frames, moving pictures, currents, modes, the slope at the end."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import relaxsim as rs
from pictures import drawn
from relaxsim import plotting
from relaxsim.errors import InputError, ShapeError, StorageError
from relaxsim.plotting import animation

pytestmark = pytest.mark.nojit

TIMES = np.linspace(0.0, 2.0, 6)


@pytest.fixture(scope="module")
def line():
    system = rs.System("(x**2 - 1)**2", temperature=0.5, domain=rs.Domain([(-2.5, 2.5)]))
    return rs.FokkerPlanck(system, rs.Grid(system.domain, 100))


@pytest.fixture(scope="module")
def plane():
    mobility = rs.Mobility.constant(np.eye(2)).with_antisymmetric([[0, 1.0], [-1.0, 0]])
    system = rs.System("x**2/2 + y**2", mobility, 0.5, rs.Domain([(-3, 3), (-2.5, 2.5)]))
    return rs.FokkerPlanck(system, rs.Grid(system.domain, (36, 30)))


@pytest.fixture(scope="module")
def line_path(line):
    return line.evolve(rs.initial.normal([-1.0], 0.3), TIMES, step=0.1)


@pytest.fixture(scope="module")
def plane_path(plane):
    return plane.evolve(rs.initial.normal([-1.0, 0.5], 0.3), TIMES, step=0.1)


# ---- one frame by its time


def test_a_frame_is_named_by_its_time(line_path):
    (axes,) = drawn(plotting.density(line_path, time=0.75)).axes
    assert "0.8" in axes.get_title()
    density = next(curve for curve in axes.lines if curve.get_label() == "density")
    np.testing.assert_allclose(density.get_ydata(), line_path.density[2], rtol=1e-9)


def test_times_that_are_refused(line_path):
    with pytest.raises(InputError, match=r"time=3 is outside the stored times, 0 to 2"):
        plotting.density(line_path, time=3.0)
    with pytest.raises(InputError, match=r"index=1 and time=0.4, expected one"):
        plotting.density(line_path, index=1, time=0.4)
    for time in ("a", True, [0.5]):
        with pytest.raises(InputError, match=r"time=.*; expected a number"):
            plotting.density(line_path, time=time)


def test_several_times_are_for_snapshots(line_path):
    with pytest.raises(InputError, match=r"snapshots\(path, times=\[...\]\) draws several"):
        plotting.density(line_path, time=[0, 1])
    with pytest.raises(InputError, match="a time is given by its name, time="):
        plotting.density(line_path, 0.8)


# ---- moving pictures


def frames(file):
    with Image.open(file) as image:
        for k in range(image.n_frames):
            image.seek(k)
            yield np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("kind", ["line_path", "plane_path"])
def test_a_relaxation_moves(kind, request, tmp_path):
    file = tmp_path / "relax.gif"
    assert plotting.animate(request.getfixturevalue(kind), file, dpi=50) == file
    shots = list(frames(file))
    assert len(shots) == len(TIMES)
    assert len({shot.shape for shot in shots}) == 1
    changes = [np.abs(after - before).mean() for before, after in itertools.pairwise(shots)]
    assert min(changes) > 0
    assert changes[-1] < changes[0]
    # axes and labels stay where they are
    rim = np.s_[-12:, :, :]
    assert all(np.array_equal(shot[rim], shots[0][rim]) for shot in shots)
    assert [path.name for path in tmp_path.iterdir()] == ["relax.gif"]


@pytest.mark.parametrize("axes", [[0], [0, 1]])
def test_every_frame_has_its_particles_where_they_are(plane, tmp_path, monkeypatch, axes):
    """A cloud that moves by 3: drawn on the cells of the first frame it would stay."""
    cloud = 0.1 * np.random.default_rng(3).standard_normal((2000, 2))
    positions = np.stack([cloud + np.array([move, -move]) for move in (-1.5, 0.0, 1.5)])
    ensemble = SimpleNamespace(system=plane.system, times=[0.0, 1.0, 2.0], positions=positions, weights=None)
    seen = []

    def centre(figure):
        if len(axes) == 1:
            values, edges, _ = figure.axes[0].patches[0].get_data()
            seen.append(np.sum(values * (edges[1:] + edges[:-1]) / 2) / values.sum())
        else:
            mesh = figure.axes[0].collections[0]
            x = mesh.get_coordinates()[..., 0]
            values = np.asarray(mesh.get_array())
            seen.append(np.sum(values * (x[:-1, 1:] + x[:-1, :-1]) / 2) / values.sum())
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(animation, "_image", centre)
    plotting.animate(ensemble, tmp_path / "a.gif", axes=axes)
    assert seen == pytest.approx([-1.5, 0.0, 1.5], abs=0.05)


def test_a_gibbs_law_that_moves_is_drawn_where_it_is(tmp_path):
    system = rs.System("(x - t)**2", temperature=0.5, domain=rs.Domain([(-2.5, 2.5)]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 50))
    path = fp.evolve(rs.initial.normal([0.0], 0.5), [0.0, 0.5, 1.0])
    for time in (0.0, 1.0):
        axes = plotting.density(path, time=time).axes[0]
        x, y = next(curve for curve in axes.lines if curve.get_label() == "Gibbs law").get_data()
        assert x @ y / y.sum() == pytest.approx(time, abs=0.02)
    assert len(list(frames(plotting.animate(path, tmp_path / "a.gif", dpi=50)))) == 3


def test_marginals_move_too(plane_path, tmp_path):
    assert len(list(frames(plotting.animate(plane_path, tmp_path / "a.gif", axes=[0], dpi=50)))) == len(TIMES)


def test_pictures_that_can_not_move(line, line_path, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.gif"):
        plotting.animate(line_path, tmp_path / "relax.mp4")
    with pytest.raises(InputError, match="fps=0"):
        plotting.animate(line_path, tmp_path / "relax.gif", fps=0)
    with pytest.raises(InputError, match="a single time"):
        plotting.animate(line.evolve(rs.initial.normal([0.0], 0.3), [0.0]), tmp_path / "relax.gif")
    with pytest.raises(StorageError):
        plotting.animate(line_path, tmp_path / "nowhere" / "relax.gif", dpi=40)


# ---- currents


def test_arrows_point_where_probability_goes(plane):
    figure = drawn(plotting.current(plane, plane.gibbs))
    arrows = figure.axes[0].collections[1]
    x, y = arrows.XY.T
    along = np.asarray(arrows.U) * -2 * y + np.asarray(arrows.V) * x  # J = T A grad q ~ (-2 y, x)
    shown = np.isfinite(along) & (np.hypot(x, y) < 1.2)
    assert shown.sum() > 20
    assert np.all(along[shown] > 0)
    size = np.hypot(arrows.U, arrows.V)
    assert f"{np.nanmax(size):.3g}" in figure.axes[0].get_title()


def test_a_current_on_the_line(line, line_path):
    top, bottom = drawn(plotting.current(line, line_path.mass[1])).axes
    np.testing.assert_array_equal(bottom.lines[1].get_ydata(), line.probability_current(line_path.mass[1])[:, 0])
    np.testing.assert_allclose(top.lines[0].get_ydata(), line_path.density[1])
    assert "current" in bottom.get_ylabel()


def test_currents_of_marginals(plane, plane_path):
    """Summed over y, the current along x is the flux through lines x = const."""
    figure = drawn(plotting.current(plane, rs.initial.normal([-1.0, 0.5], 0.3), axes=[0]))
    flow = figure.axes[1].lines[1].get_ydata()
    full = plane.probability_current(rs.initial.normal([-1.0, 0.5], 0.3))[..., 0].sum(axis=1)
    np.testing.assert_allclose(flow, full * plane.grid.spacing[1])
    drawn(plotting.current(plane, plane_path.mass[1], axes=[1, 0], arrows=5))


def test_a_current_at_a_time():
    domain = rs.Domain([(-2, 2)])
    moving = rs.FokkerPlanck(rs.System("(x - t)**2/2", temperature=1.0, domain=domain), rs.Grid(domain, 20))
    bottom = drawn(plotting.current(moving, moving.gibbs, t=0.5)).axes[1]
    np.testing.assert_array_equal(bottom.lines[1].get_ydata(), moving.probability_current(moving.gibbs, t=0.5)[:, 0])
    assert np.abs(bottom.lines[1].get_ydata()).max() > 0.1


def test_currents_that_are_refused(line, line_path):
    with pytest.raises(InputError, match=r"got DensityPath.*current\(equation, path.mass"):
        plotting.current(line_path, line_path.mass[0])
    with pytest.raises(InputError, match="arrows=0"):
        plotting.current(line, line.gibbs, arrows=0)


# ---- spectra


def test_rates_and_functions_on_the_line(line):
    found = line.spectrum(5)
    rates, functions = drawn(plotting.spectrum(found)).axes
    np.testing.assert_array_equal(rates.lines[0].get_ydata(), found.rates)
    labels = functions.get_legend_handles_labels()[1]
    assert len(labels) == 3
    assert f"{found.rates[1]:.4g}" in labels[0]
    for curve in functions.lines[-3:]:  # one that is larger by powers of ten would flatten the others
        assert np.abs(curve.get_ydata()).max() == 1.0


def test_complex_rates_lie_in_the_plane(plane):
    found = plane.spectrum(4)
    figure = drawn(plotting.spectrum(found, n_functions=2))
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), found.rates.imag)
    assert len(figure.axes) == 5  # rates, two fields, two colour bars
    assert [axes.get_title()[:2] for axes in figure.axes[1:3]] == ["Re", "Im"]  # not the same picture twice
    fields = [axes.collections[0].get_array().T for axes in figure.axes[1:3]]
    np.testing.assert_array_equal(fields[0], found.functions[1].real)
    np.testing.assert_array_equal(fields[1], found.functions[2].imag)


def test_small_rates_are_written_with_a_power_of_ten(line):
    found = line.spectrum(2)
    found = dataclasses.replace(found, rates=np.array([0.0, 2.4621e-11]))
    functions = plotting.spectrum(found).axes[1]
    assert r"2.462 \times 10^{-11}" in functions.get_legend_handles_labels()[1][0]


def test_spectra_that_are_refused(line):
    with pytest.raises(InputError, match=r"got FokkerPlanck, expected a Spectrum; pass fp.spectrum\(6\)"):
        plotting.spectrum(line)


# ---- the slope at the end


def test_a_spectrum_is_no_gap(line, line_path):
    with pytest.raises(InputError, match=r"expected a positive rate, such as fp.spectrum\(2\).gap"):
        plotting.relaxation(rs.track(line_path), gap=line.spectrum(2))


def test_kl_falls_at_twice_the_gap(line):
    path = line.evolve(rs.initial.normal([-1.0], 0.3), np.linspace(0.0, 12.0, 13), tol=1e-5)
    record, gap = rs.track(path), line.spectrum(2).gap
    assert np.log(record.kl[-2] / record.kl[-1]) == pytest.approx(2 * gap, rel=2e-3)
    kl = drawn(plotting.relaxation(record, gap=gap)).axes[1]
    asymptote = next(each for each in kl.lines if "slope" in str(each.get_label()))
    times, values = asymptote.get_data()
    assert np.diff(np.log(values))[0] == pytest.approx(-2 * gap * (times[1] - times[0]))
    assert values[-1] == pytest.approx(record.kl[-1])
    with pytest.raises(InputError, match="gap=-1"):
        plotting.relaxation(record, gap=-1)


# ---- a number for each cell


def test_a_committor_on_the_line(line):
    q = line.committor("x < -1", "x > 1")
    (axes,) = drawn(plotting.cell_values(line, q, label="committor")).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), q)
    assert axes.get_ylabel() == "committor"


def test_values_in_the_plane_are_not_transposed(plane):
    """x grows to the right: the same number in every row, and lines of equal value that stand upright."""
    figure = drawn(plotting.cell_values(plane, plane.grid.points[:, 0].reshape(plane.grid.shape), levels=[-0.5, 0.5]))
    mesh, lines = figure.axes[0].collections[0], figure.axes[0].collections[1]
    assert np.ptp(np.asarray(mesh.get_array()), axis=0).max() == 0
    for path, level in zip(lines.get_paths(), (-0.5, 0.5), strict=True):
        assert path.vertices[:, 0] == pytest.approx(level)


def test_cells_without_a_number_stay_blank(plane):
    values = plane.grid.points[:, 1].reshape(plane.grid.shape).copy()
    values[18, 15] = np.inf
    mesh = drawn(plotting.cell_values(plane, values, levels=0)).axes[0].collections[0]
    assert np.ma.getmaskarray(mesh.get_array())[15, 18]
    assert mesh.get_clim()[1] < 2.5


def test_values_that_are_refused(line, line_path):
    with pytest.raises(InputError, match="got DensityPath, expected a FokkerPlanck"):
        plotting.cell_values(line_path, np.ones(100))
    with pytest.raises(ShapeError, match=r"shape \(100,\), got \(99,\)"):
        plotting.cell_values(line, np.ones(99))
    with pytest.raises(InputError, match="no value is finite"):
        plotting.cell_values(line, np.full(100, np.nan))


def test_no_line_is_at_an_extreme(plane):
    values = np.clip(plane.grid.points[:, 0], -1, 1).reshape(plane.grid.shape)
    lines = drawn(plotting.cell_values(plane, values)).axes[0].collections[1]
    assert len(lines.levels) >= 4
    assert -1 < min(lines.levels) < max(lines.levels) < 1


# ---- several times beside each other


def test_several_times_on_the_line(line_path):
    (axes,) = drawn(plotting.snapshots(line_path, times=[0, 0.75, 2])).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "$t = 0$",
        "$t = 0.8$",
        "$t = 2$",
        "Gibbs law",
    ]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), line_path.density[2])


def test_several_times_in_the_plane(plane, plane_path):
    """A row for the density and one for the particles, a column for each time and one for the Gibbs law."""
    positions = np.random.default_rng(1).normal(0.0, 0.5, (len(TIMES), 500, 2))
    ensemble = SimpleNamespace(system=plane.system, times=TIMES, positions=positions, weights=None)
    figure = drawn(plotting.snapshots(plane_path, ensemble, times=[0, 2]))
    panels = np.array(figure.axes[:6]).reshape(2, 3)
    assert [axes.get_title() for axes in panels[0, :2]] == ["$t = 0$", "$t = 2$"]
    assert [axes.get_ylabel().split()[0] for axes in panels[:, 0]] == ["ensemble", "density"]
    assert panels[1, 2].get_title() == "Gibbs law"
    np.testing.assert_allclose(panels[1, 1].collections[0].get_array(), plane_path.density[-1].T)
    assert panels[1, 0].collections[0].get_clim() == panels[0, 1].collections[0].get_clim()


def test_snapshots_that_are_refused(line_path):
    for times in ([], 2.0, np.linspace(0, 1, 9)):
        with pytest.raises(InputError, match="expected a list of 1 to 8 times"):
            plotting.snapshots(line_path, times=times)
    with pytest.raises(InputError, match="outside the stored times"):
        plotting.snapshots(line_path, times=[0, 3])
