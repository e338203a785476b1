"""``relaxsim cache``: it says what is kept and deletes that alone."""

import pytest

from relaxsim import _jit
from relaxsim.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RELAXSIM_CACHE_DIR", str(tmp_path))
    _jit.cache_directory.cache_clear()
    yield tmp_path
    _jit.cache_directory.cache_clear()


@pytest.mark.nojit
def test_it_says_what_is_there_and_clears_it(folder, capsys):
    (folder / "__pycache__").mkdir()
    for name in ("derived_1.json", "relaxsim_generated_1.py", "__pycache__/relaxsim_generated_1.run-7.py311.nbc"):
        (folder / name).write_bytes(b"x" * 500_000)
    (folder / "mine.txt").write_text("keep")
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert str(folder) in out
    assert "3 files, 1.5 MB" in out
    assert "relaxsim cache clear" in out
    assert main(["cache", "clear"]) == 0
    assert "3 deleted" in capsys.readouterr().out
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["mine.txt"]
    assert main(["cache"]) == 0
    assert "0 files" in capsys.readouterr().out
