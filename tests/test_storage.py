"""A file is the old one or the whole new one, whatever happens while it is written."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from relaxsim.errors import StorageError
from relaxsim.storage import save_npz, write_atomic, write_folder_atomic

pytestmark = pytest.mark.nojit


def names(folder):
    """What a folder holds, hidden files too."""
    return [entry.name for entry in folder.iterdir()]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "data.bin"
    write_atomic(file, lambda stream: stream.write(b"old"))

    def fails(stream):
        stream.write(b"new, but")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"data\.bin: No space left on device"):
        write_atomic(file, fails)
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["data.bin"]


def test_arrays_of_all_kinds_come_back(tmp_path):
    arrays = {
        "text": np.array("a text, ä"),
        "number": np.array(3),
        "empty": np.empty((0, 3)),
        "long": np.arange(300_000.0).reshape(3, 100_000),
        "turned": np.arange(12).reshape(3, 4).T,
        "every second": np.arange(12, dtype=np.float32)[::2],
        "in a folder/flags": np.array([True, False]),
    }
    with np.load(save_npz(tmp_path / "data.npz", **arrays), allow_pickle=False) as members:
        assert members.files == list(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(members[name], values)
            assert members[name].dtype == values.dtype
    with pytest.raises(ValueError, match="allow_pickle"):
        save_npz(tmp_path / "data.npz", objects=np.array([{}]))


def test_any_error_leaves_nothing_behind(tmp_path):
    def interrupted(stream):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "data.bin", interrupted)
    assert names(tmp_path) == []


def test_a_full_device_is_an_error_that_says_so():
    with pytest.raises(StorageError, match=r"/dev/full: No space left"):
        save_npz("/dev/full", a=np.zeros(100_000))


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path):
    file = tmp_path / "data.npz"
    save_npz(file, a=np.arange(10))
    script = """
        import resource, sys
        import numpy as np
        from relaxsim.errors import StorageError
        from relaxsim.storage import save_npz
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            save_npz(sys.argv[1], a=np.zeros(100_000), b=np.ones(100_000))
        except StorageError as error:
            print(error)
    """
    arguments = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert "File too large" in done.stdout
    assert "Free some space" in done.stdout
    assert done.stderr == ""
    assert names(tmp_path) == ["data.npz"]
    np.testing.assert_array_equal(np.load(file)["a"], np.arange(10))


def test_a_link_keeps_pointing_to_the_file(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.bin"
    link.symlink_to(tmp_path / "there" / "data.bin")
    write_atomic(link, lambda stream: stream.write(b"new"))
    assert link.is_symlink()
    assert (tmp_path / "there" / "data.bin").read_bytes() == b"new"


def _writer(text):
    return lambda folder: (folder / "part").write_text(text)


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "run.zarr"
    write_folder_atomic(folder, _writer("old"), lambda found: False)
    (folder / "more").write_text("of the old one")
    write_folder_atomic(folder, _writer("new"), lambda found: (found / "part").is_file())
    assert names(tmp_path) == ["run.zarr"]
    assert names(folder) == ["part"]
    assert (folder / "part").read_text() == "new"


def test_a_folder_that_is_something_else_is_not_replaced(tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1").write_text("a year's work")
    with pytest.raises(StorageError, match="give another name"):
        write_folder_atomic(folder, _writer("new"), lambda found: False)
    assert (folder / "chapter1").read_text() == "a year's work"
    assert names(tmp_path) == ["thesis"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    folder = tmp_path / "run.zarr"
    write_folder_atomic(folder, _writer("old"), lambda found: False)

    def fails(temporary):
        (temporary / "part").write_text("new, but")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        write_folder_atomic(folder, fails, lambda found: True)
    assert names(tmp_path) == ["run.zarr"]
    assert (folder / "part").read_text() == "old"
