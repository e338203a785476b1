"""The cache of compiled loops: whatever happens to its files, a kernel works and is compiled at most once more."""

import hashlib
import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from relaxsim import _jit

SOURCE = """
import numpy as np
from relaxsim._jit import kernel


@kernel
def run(x, a):
    for i in range(x.size):
        x[i] += a
    return x.size
"""

# One process: load the loop, run it, say how many loops were compiled.
PROCESS = f"""
import json
import sys

import numpy as np

from relaxsim import _jit

x = np.zeros(5)
module = _jit.load_generated({SOURCE!r})
assert module.run(x, 2.0) == 5
assert (x == 2.0).all()
assert module.run(np.zeros(3), 1.0) == 3
print(json.dumps(_jit.compiled_kernels))
"""

FOLDER = "kernels-of-this-test"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder, for this process and those it starts."""
    if _jit.jit_disabled():
        pytest.skip("nothing is compiled")
    monkeypatch.setenv("RELAXSIM_CACHE_DIR", str(tmp_path / FOLDER))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setattr(_jit, "compiled_kernels", [])  # these loops are small: the suite need not count them
    _jit.cache_directory.cache_clear()
    yield tmp_path / FOLDER
    _jit.cache_directory.cache_clear()


def start():
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return len(json.loads(out))


def load():
    """Load and run the loop in this process as if for the first time; the number of compilations."""
    import numpy as np

    generated = [name for name in sys.modules if name.startswith(_jit.PREFIX)]
    for name in generated:
        if Path(sys.modules[name].__file__).parent.name == FOLDER:  # not those of other tests
            del sys.modules[name]
    before = len(_jit.compiled_kernels)
    x = np.zeros(4)
    assert _jit.load_generated(SOURCE).run(x, 3.0) == 4
    assert (x == 3.0).all()
    return len(_jit.compiled_kernels) - before


def files(folder, suffix):
    return sorted(folder.rglob(f"*{suffix}"))


def test_a_second_process_compiles_nothing(folder):
    assert finish(start()) == 1
    assert finish(start()) == 0
    assert load() == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not (folder.parent / "numba").exists()  # everything that is executed lies in the private folder


DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "garbage": lambda content: hashlib.shake_256(b"garbage").digest(len(content)),
    "one bit": lambda content: content[:-999] + bytes([content[-999] ^ 1]) + content[-998:],
    "last byte missing": lambda content: content[:-1],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc", ".sha256", ".py"])
def test_damaged_files_are_made_anew_once(folder, suffix, damage):
    assert load() == 1
    (path,) = files(folder, suffix)
    content = path.read_bytes()
    if damage == "one bit" and len(content) < 1000:
        content += bytes(1000)
    path.write_bytes(DAMAGE[damage](content))
    assert load() == (0 if suffix == ".py" else 1)  # the text of a .py is known and only written again
    assert load() == 0


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "one bit"])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_what_numba_cannot_read_is_made_anew(folder, suffix, damage, monkeypatch, caplog):
    """Damage that the checksums would not show."""
    assert load() == 1
    (path,) = files(folder, suffix)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    monkeypatch.setattr(_jit._Loop, "_files_are_whole", lambda self: True)
    with caplog.at_level(logging.WARNING, "relaxsim"):
        assert load() == 1
    assert "compiling it again" in caplog.text
    assert load() == 0


def test_a_foreign_entry_is_not_used(folder):
    """Another loop's files under this loop's names."""
    assert load() == 1
    other = _jit.load_generated(SOURCE.replace("+= a", "-= a"))
    import numpy as np

    other.run(np.zeros(4), 1.0)
    mine = _jit.load_generated(SOURCE).__name__
    for suffix in (".nbi", ".nbc", ".sha256"):
        own, foreign = sorted(files(folder, suffix), key=lambda path: not path.name.startswith(mine))
        own.write_bytes(foreign.read_bytes())
    assert load() == 1
    assert load() == 0


def test_a_missing_file_is_made_anew(folder):
    assert load() == 1
    for suffix in (".nbi", ".nbc", ".sha256", ".py"):
        (path,) = files(folder, suffix)
        path.unlink()
        load()
        assert load() == 0


def test_two_processes_starting_at_once(folder):
    processes = [start() for _ in range(3)]
    assert max(map(finish, processes)) <= 1
    finish(start())  # compiles once more if the others crossed
    assert finish(start()) == 0
    assert not [path for path in folder.rglob("*") if ".tmp" in path.name]


def test_a_full_disk_does_not_stop_a_run(folder, monkeypatch):
    from numba.core.caching import IndexDataCacheFile

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", full)
    assert load() >= 1


def test_an_error_of_the_source_is_raised_as_it_is(folder):
    from numba.core.errors import NumbaError

    with pytest.raises(NumbaError):
        _jit.load_generated(SOURCE.replace("x[i] += a", "x[i] += 'a'")).run(__import__("numpy").zeros(2), 1.0)


def test_other_types_are_recorded_too(folder):
    import numpy as np

    assert load() == 1
    _jit.load_generated(SOURCE).run(np.zeros(4, np.float32), 1.0)
    assert len(files(folder, ".nbc")) == 2
    assert load() == 0


def test_clearing_deletes_what_was_kept_and_nothing_else(folder):
    load()
    (folder / "mine.txt").write_text("keep")
    assert _jit.clear_cache() == 4
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["mine.txt"]
    assert load() == 1


@pytest.mark.nojit
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to give a folder away")
def test_the_folder_of_another_user_is_refused(tmp_path, monkeypatch, caplog):
    os.chown(tmp_path, 12345, -1)
    check_refused(tmp_path, monkeypatch, caplog, "belongs to user 12345")


@pytest.mark.nojit
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such permissions")
def test_a_folder_everybody_can_write_is_refused(tmp_path, monkeypatch, caplog):
    tmp_path.chmod(0o777)
    check_refused(tmp_path, monkeypatch, caplog, "everybody can write")


def check_refused(place, monkeypatch, caplog, reason):
    monkeypatch.setenv("RELAXSIM_CACHE_DIR", str(place))
    _jit.cache_directory.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, "relaxsim"):
            used = _jit.cache_directory()
        assert used != place
        assert reason in caplog.text
        assert not list(place.iterdir())
        assert stat.S_IMODE(used.stat().st_mode) == 0o700
        Path(used).rmdir()
    finally:
        _jit.cache_directory.cache_clear()
