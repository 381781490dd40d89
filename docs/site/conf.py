"""Sphinx settings of the site. ``make site`` puts the sources together and then calls Sphinx with them."""

from __future__ import annotations

import transfer_utils

project = "Transfer learning, with every number on record"
version = release = transfer_utils.__version__
html_title = project
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
extensions += ["sphinx.ext.mathjax", "sphinx_copybutton", "sphinx-mathjax-offline"]
exclude_patterns = ["runs-fragment.html"]
templates_path = ["_templates"]

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
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False  # notebooks have a button of their own
html_theme_options = {
    "use_download_button": True,
    "use_source_button": True,
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
    "show_toc_level": 2,
    "launch_buttons": {"binderhub_url": "https://mybinder.org", "colab_url": "https://colab.research.google.com"},
}
linkcheck_anchors = False
linkcheck_timeout = 20


def setup(app) -> None:
    app.connect("autodoc-skip-member", skip_member)


def skip_member(app, what, name, member, skip, options) -> bool | None:
    """Leave out the fields of named tuples and pydantic's settings: the docstring of the class describes the fields."""
    return True if type(member).__name__ == "_tuplegetter" or name == "model_config" else None
