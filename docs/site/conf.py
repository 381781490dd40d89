"""Sphinx settings of the site. ``make site`` puts the sources together and then calls Sphinx with them."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import transfer_utils

ROOT = Path(__file__).parents[2]

project = "Transfer learning, with every number on record"
version = release = transfer_utils.__version__
html_title = project
author, html_show_copyright, html_show_sphinx = "", False, False
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
extensions += ["sphinx.ext.mathjax", "sphinx_copybutton"]
exclude_patterns = ["*-fragment.html"]
templates_path = [str(Path(__file__).parent / "_templates")]  # autosummary would look for it beside the pages

# The pages show the outputs that are stored in the notebooks.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
highlight_language = "none"

autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False

html_theme = "sphinx_book_theme"
# The files of MathJax come from a package. As an extension it would forbid Sphinx to read in parallel.
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static"
mathjax_path = "mathjax/tex-chtml.js"
html_static_path = ["_static", str(MATHJAX)]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search field stands in the sidebar
}
if repository := os.environ.get("SITE_REPOSITORY"):
    html_theme_options |= {
        "repository_url": repository,
        "repository_branch": os.environ["SITE_BRANCH"],
        "use_source_button": True,
    }
    if repository.startswith("https://github.com/"):  # both open notebooks of GitHub
        services = {"binderhub_url": "https://mybinder.org", "colab_url": "https://colab.research.google.com"}
        html_theme_options["launch_buttons"] = services | {"notebook_interface": "jupyterlab"}
linkcheck_anchors = False
linkcheck_timeout = 20


def setup(app) -> None:
    app.connect("autodoc-skip-member", skip_member)
    app.connect("html-page-context", drop_wrong_source, priority=900)  # after the theme has made its buttons


def skip_member(app, what, name, member, skip, options) -> bool | None:
    """Leave out the fields of named tuples and pydantic's settings: the docstring of the class describes the fields."""
    return True if type(member).__name__ == "_tuplegetter" or name == "model_config" else None


def drop_wrong_source(app, pagename, templatename, context, doctree) -> None:
    """Drop the button to the source of a page that is not a file of the repository under its own name."""
    if not (ROOT / f"{pagename}{context.get('page_source_suffix') or ''}").is_file():
        buttons = context.get("header_buttons", [])
        context["header_buttons"] = [each for each in buttons if each.get("label") != "source-file-button"]
