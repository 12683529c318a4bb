"""How Sphinx builds these pages: `make docs`. Nothing is fetched, and a warning is an error."""

import sys
from pathlib import Path

TOP = Path(__file__).parent.parent
sys.path.insert(0, str(TOP))

import gateway  # noqa: E402 - found by the line above

project = "Faster Payments gateway"
author = "The Faster Payments gateway project"
copyright = "the authors; Apache-2.0"  # noqa: A001 - Sphinx's name for it
version = release = gateway.__version__

extensions = ["myst_parser", "docs.references"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"Faster Payments gateway {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
smartquotes = False
pygments_style = "friendly"

man_pages = [
    ("reference/commands", "fps-gateway", "a gateway between a bank and the UK Faster Payments hub", author, 1),
    ("reference/settings", "fps-gateway.toml", "the configuration of fps-gateway", author, 5),
]
