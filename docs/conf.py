"""Settings of the site: ``make docs`` builds it with Sphinx, MyST and Furo.

All three are maintained and install from the package index. Pages they make load nothing from any host, and with ``-W``
a link that leads nowhere ends the build. Material for MkDocs was passed over, as it announces its end of life.
"""

from __future__ import annotations

from multigraft import __version__

project = "multigraft"
release = version = __version__
copyright = "the authors of multigraft, Apache License 2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["pages", "_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"multigraft {__version__}"
html_show_sourcelink = False
html_copy_source = False
# Snippets of results would be fetched from beside the page, which browsers refuse for pages opened from a folder.
html_show_search_summary = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# What an adapter of a port has to implement, and what adds two of a kind up.
autodoc_default_options = {"special-members": "__enter__, __exit__, __iter__, __add__"}
napoleon_google_docstring = True
napoleon_use_rtype = False
