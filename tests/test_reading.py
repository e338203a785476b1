"""What a path writes, `load` reads back: every number, the system, and refusals that say what is wrong."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import relaxsim as rs
from relaxsim import record
from relaxsim.particles.path_record import PLAIN
from systems import channel_system

pytestmark = pytest.mark.nojit

SYSTEM = channel_system()
START = rs.initial.normal([0.0, 0.0], 0.3)


@pytest.fixture(params=[".npz", ".zarr"])
def file(request, tmp_path):
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    return tmp_path / f"run{request.param}"


@pytest.fixture(scope="module")
def ensemble():
    return rs.simulate(
        SYSTEM, START, n_particles=300, dt=0.01, times=[0, 0.1, 0.2], rng=2**64 - 1, scheme="euler-maruyama",
        dtype="float32", store_windings=True, noise="two-point", threads=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def density():
    return rs.FokkerPlanck(SYSTEM, rs.Grid(SYSTEM.domain, (20, 16))).evolve(START, [0.0, 0.1, 0.2])


def edited(source, target, change):
    """A copy of an .npz file with another description."""
    with np.load(source) as members:
        arrays = dict(members)
    about = json.loads(str(arrays["about"]))
    change(about, arrays)
    arrays["about"] = np.array(json.dumps(about))
    np.savez(target, **arrays)
    return target


def test_an_ensemble_comes_back_whole(ensemble, file):
    assert ensemble.save(file) == file
    back = rs.load(file)
    for name in ("times", "positions", "windings"):
        values = getattr(back, name)
        np.testing.assert_array_equal(values, getattr(ensemble, name))
        assert values.dtype == getattr(ensemble, name).dtype
    for name in (*PLAIN, "dtype"):
        assert getattr(back, name) == getattr(ensemble, name)
    assert back.seed == 2**64 - 1
    assert repr(back.system) == repr(SYSTEM)
    assert back.weights is None
    assert back.positions[0, :, 0].flags.c_contiguous  # as after a run
    np.testing.assert_array_equal(rs.track(back).free_energy, rs.track(ensemble).free_energy)


def test_a_density_comes_back_whole(density, file):
    assert density.save(file) == file
    back = rs.load(file)
    for name in ("times", "mass", "log_gibbs", "density"):
        np.testing.assert_array_equal(getattr(back, name), getattr(density, name))
    for name in ("grid", "steps", "method", "log_partition"):
        assert getattr(back, name) == getattr(density, name)
    np.testing.assert_array_equal(rs.track(back).free_energy, rs.track(density).free_energy)


def test_saving_again_replaces_the_file(ensemble, density, file):
    ensemble.save(file)
    density.save(file)
    assert isinstance(rs.load(file), rs.DensityPath)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_versions_and_the_scheme_that_ran_are_in_the_file(tmp_path):
    system = rs.System("x**2/2", temperature=0.5)
    path = rs.simulate(system, rs.initial.normal(0.0, 1.0), n_particles=128, dt=0.01, times=[0.0], threads=1)
    about = record.read(path.save(tmp_path / "run.npz")).about
    assert about["scheme"] == path.scheme != "auto"
    assert about["versions"] == record.versions()
    assert about["versions"].keys() == {"relaxsim", "numpy", "numba"}


def test_weights_and_acceptance_come_back(ensemble, tmp_path):
    weights = np.linspace(0.5, 1.5, 900).reshape(3, 300)
    path = rs.EnsemblePath(
        **{name: getattr(ensemble, name) for name in ("times", "positions", "system", *PLAIN[:6])},
        weights=weights, acceptance=0.75, walls="lepingle",
    )  # fmt: skip
    back = rs.load(path.save(tmp_path / "run.npz"))
    np.testing.assert_array_equal(back.weights, weights)
    assert (back.acceptance, back.walls) == (0.75, "lepingle")


def test_observables_come_back_with_their_results(tmp_path, caplog):
    def height(x):
        return np.cos(x[1])

    grid = rs.Grid(SYSTEM.domain, (6, 5))
    asked = {
        "law": rs.Histogram(grid),
        "mean law": rs.Histogram(grid, every=2),
        "moments": rs.Moments(2),
        "memory": rs.Autocorrelation("x", [0.0, 0.1]),
        "height": rs.Mean(height),
    }
    path = rs.simulate(
        SYSTEM, START, n_particles=300, dt=0.01, times=[0, 0.1, 0.2], rng=1, scheme="euler-maruyama", store="none",
        observables=asked, dtype="float32", store_windings=True, noise="two-point",
    )  # fmt: skip
    file = path.save(tmp_path / "run.npz")
    back = rs.load(file, observables={"height": rs.Mean(height)})
    assert back.positions.shape == (0, 300, 2)
    assert back.observables.keys() == asked.keys()
    for name, observable in path.observables.items():
        for result in ("value", "stderr", "times", "n_records", "n_particles"):
            np.testing.assert_array_equal(getattr(back.observables[name], result), getattr(observable, result))
    np.testing.assert_array_equal(back.observables["law"].counts, path.observables["law"].counts)
    np.testing.assert_array_equal(rs.track(back).free_energy, rs.track(path).free_energy)
    assert "height" not in rs.load(file).observables
    assert "'height' has a function" in caplog.text
    with pytest.raises(rs.InputError, match=r"observables\['height'\]: f is the function .*, not 'x'$"):
        rs.load(file, observables={"height": rs.Mean("x")})


def test_functions_are_asked_for(tmp_path):
    def tilted(tilt):
        return rs.System(lambda x: x[0] ** 2 + tilt * x[0], temperature=0.5, domain=rs.Domain([(-3, 3)]))

    grid = rs.Grid(tilted(0).domain, 20)
    file = rs.FokkerPlanck(tilted(0.1), grid).evolve(rs.initial.normal(0, 1), [0.0]).save(tmp_path / "run.npz")
    with pytest.raises(rs.InputError, match="pass it as system="):
        rs.load(file)
    assert rs.load(file, tilted(0.1)).grid == grid
    with pytest.raises(rs.InputError, match=r"is not the one of the file: its E at"):
        rs.load(file, tilted(0.2))


def test_as_xarray(ensemble, density):
    pytest.importorskip("xarray")
    found = ensemble.to_xarray()
    assert found.positions.dims == ("time", "particle", "axis")
    np.testing.assert_array_equal(found.positions, ensemble.positions)
    np.testing.assert_array_equal(found.windings.sel(time=0.1), ensemble.windings[1])
    assert found.attrs["dt"] == 0.01
    assert found.attrs["seed"] == str(2**64 - 1)
    found = density.to_xarray()
    assert found.density.dims == ("time", "x0", "x1")
    np.testing.assert_array_equal(found.density, density.density)
    np.testing.assert_array_equal(found.x1, density.grid.centers[1])
    assert found.attrs["system"] == repr(SYSTEM)


@pytest.mark.parametrize("library", ["zarr", "xarray"])
def test_without_the_extra_the_pip_line_is_named(ensemble, density, library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    for path in (ensemble, density):
        with pytest.raises(rs.MissingDependencyError, match=r"pip install 'relaxsim\[io\]'"):
            path.to_xarray() if library == "xarray" else path.save(tmp_path / "run.zarr")
    assert list(tmp_path.iterdir()) == []


def test_other_endings_are_refused(density, tmp_path):
    for name in ("run.h5", "run", "run.npz.gz"):
        with pytest.raises(rs.InputError, match=r"ends in \.npz or \.zarr, got"):
            density.save(tmp_path / name)
        with pytest.raises(rs.InputError, match=r"ends in \.npz or \.zarr, got"):
            rs.load(tmp_path / name)


def _of_a_newer_format(about, arrays):
    about["format"] = record.FORMAT + 1
    about["versions"]["relaxsim"] = "7.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_of_a_newer_format, r"has format 3, written by relaxsim 7\.0; this is relaxsim .*, which reads format 2"),
        (lambda about, arrays: arrays.pop("mass"), "'mass' is missing; the file is damaged"),
        (lambda about, arrays: about.pop("versions"), "no file that relaxsim wrote, or it is damaged"),
        (lambda about, arrays: about.update(kind="checkpoint"), r"holds a checkpoint; continue .*relaxsim\.resume"),
        (lambda about, arrays: arrays.update(mass=np.array([{}])), "damaged.*pickle"),
        (lambda about, arrays: about["system"]["energy"].update(text="x**4 + y**2"), "not rebuilt as it was"),
    ],
)
def test_files_that_cannot_be_read_say_why(density, tmp_path, change, message):
    file = edited(density.save(tmp_path / "run.npz"), tmp_path / "edited.npz", change)
    with pytest.raises(rs.InputError, match=message):
        rs.load(file)


def test_what_is_no_file_of_relaxsim_is_refused(density, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.npz"):
        rs.load(tmp_path / "run.npz")
    (tmp_path / "text.npz").write_text("x,y\n1,2\n")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    whole = density.save(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2] ^= 1  # the checksum of the archive sees it
    (tmp_path / "spoilt.npz").write_bytes(spoilt)
    for name in ("text", "other", "half", "empty", "spoilt"):
        with pytest.raises(rs.InputError, match="no file that relaxsim wrote, or it is damaged"):
            rs.load(tmp_path / f"{name}.npz")


def test_a_full_disk_leaves_the_old_file_and_the_path(density, file):
    """A limit on the size of files stands for the disk: what is in memory can be saved elsewhere."""
    script = """
        import resource, sys
        import numpy as np
        import relaxsim as rs
        system = rs.System("x**2", temperature=0.5, domain=rs.Domain([(-3, 3)]))
        path = rs.FokkerPlanck(system, rs.Grid(system.domain, 20)).evolve(rs.initial.normal(0, 1), [0.0, 0.1])
        path.save(sys.argv[1])
        path.mass = np.random.default_rng(1).uniform(size=(2000, 20))
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit))
        try:
            path.save(sys.argv[1])
        except rs.StorageError as error:
            print(error)
        assert rs.load(sys.argv[1]).mass.shape == (2, 20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        path.save(sys.argv[1])
        assert rs.load(sys.argv[1]).mass.shape == (2000, 20)
    """
    arguments = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert f"could not write {file}" in done.stdout
    assert "File too large" in done.stdout
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_a_full_device_is_an_error_that_says_so(density, tmp_path):
    (tmp_path / "run.npz").symlink_to("/dev/full")
    with pytest.raises(rs.StorageError, match="No space left on device"):
        density.save(tmp_path / "run.npz")
    assert density.mass.shape == (3, 20, 16)
