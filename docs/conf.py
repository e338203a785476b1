"""Sphinx settings. Build: sphinx-build -W --keep-going docs OUTPUT_FOLDER, with relaxsim[docs] installed."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Any
from weakref import WeakSet

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

sys.path.insert(0, str(Path(__file__).parent))  # scheme_table, statements

import statements

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
    "scheme_table",
    "statements",
]
# config.cache: the gallery's settings hold a function, which Sphinx cannot store between builds.
suppress_warnings = ["config.cache"]
rst_prolog = f".. |comparisons| replace:: {statements.comparisons()}\n"
exclude_patterns = ["_build", "auto_examples/**.ipynb", "auto_examples/**.py"]
default_role = "py:obj"

html_theme = "pydata_sphinx_theme"
html_title = f"relaxsim {release}"
html_static_path = ["_static"]
html_css_files = ["relaxsim.css"]
html_sidebars = {
    page: [] for page in ("index", "tutorial", "theory", "schemes", "auto_examples/*")
}  # width for formulas and code
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


def quick_arguments(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """Run every example on its quick setting."""
    return ["--quick"]


MADE_BY_FUNCTIONS = {
    f"relaxsim.{name}" for name in ("DensityPath", "EnsemblePath", "MonotoneResult", "Relaxation", "SuggestedStep")
} | {f"relaxsim.functionals.{name}" for name in ("Dissipation", "EntropyProduction", "Estimate", "FreeEnergy")}


def no_signature_of_results(app: Any, what: str, name: str, *_: Any) -> tuple[str, str] | None:
    """Leave out the arguments of classes that nobody calls: functions return them."""
    return ("", "") if name in MADE_BY_FUNCTIONS else None


def setup(app: Any) -> None:
    """Sphinx's entry point of this file."""
    app.connect("autodoc-process-signature", no_signature_of_results)


_shown: WeakSet[Figure] = WeakSet()


def new_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Show each figure that a block has given a name; the examples make them without pyplot."""
    saved = []
    for figure in block_vars["example_globals"].values():
        if isinstance(figure, Figure) and figure not in _shown:
            _shown.add(figure)
            saved.append(next(block_vars["image_path_iterator"]))
            figure.savefig(saved[-1], format="png")
    return figure_rst(saved, gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "reset_argv": quick_arguments,
    "image_scrapers": (new_figures,),
    "capture_repr": (),
    "abort_on_example_error": True,
    "backreferences_dir": None,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}
