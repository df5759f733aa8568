"""A small Sphinx extension for this book: repairs in the HTML that the theme and docutils write.

Jupyter Book loads it through ``local_extensions`` in _config.yml. Each repair is one that axe-core
asks for and that no setting of Sphinx offers.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def repair(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Make a bibliography's entries list items; docutils' role for them is deprecated."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", repair)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
