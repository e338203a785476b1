"""Sphinx settings. Build: sphinx-build -W --keep-going docs OUTPUT_FOLDER, with relaxsim[docs] installed."""

import importlib.metadata

project = "relaxsim"
author = "relaxsim developers"
project_copyright = "2026, relaxsim developers"
release = version = importlib.metadata.version("relaxsim")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
# config.cache: the gallery's settings hold a function, which Sphinx cannot store between builds.
suppress_warnings = ["config.cache"]
exclude_patterns = ["_build", "auto_examples/**.ipynb", "auto_examples/**.py"]
default_role = "py:obj"

html_theme = "pydata_sphinx_theme"
html_title = f"relaxsim {release}"
html_static_path = ["_static"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}

autodoc_typehints = "none"  # numpydoc's parameter lists say it, with shapes
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False


def quick_arguments(gallery_conf: dict, script_vars: dict) -> list[str]:
    """Run every example on its quick setting."""
    return ["--quick"]


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "reset_argv": quick_arguments,
    "abort_on_example_error": True,
    "backreferences_dir": None,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}
