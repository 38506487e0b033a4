"""Sphinx: `sphinx-build -W docs OUTPUT`."""

project = "ollmlx"
author = "The ollmlx developers"
extensions = ["myst_parser"]
exclude_patterns = ["generated"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "ollmlx"
