"""``relaxsim cache``: what is kept on disk so that nothing is compiled or derived twice, and deleting it."""

from __future__ import annotations

from relaxsim._jit import cache_directory, cached_files, clear_cache


def run_cache(clear: bool) -> int:
    """Say where the cache is and what it holds, or empty it.

    Parameters
    ----------
    clear : bool
        Delete what is there.

    Returns
    -------
    int
        0.
    """
    files = cached_files()
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"compiled kernels and derivatives of texts are kept in {cache_directory()}")
    print(f"{len(files)} files, {size:.1f} MB")
    if clear:
        print(f"{clear_cache()} deleted; they are made again when they are needed")
    elif files:
        print("relaxsim cache clear deletes them")
    return 0
