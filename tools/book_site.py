"""A small Sphinx extension for this book: repairs in the HTML that the theme and docutils write.

Jupyter Book loads it through ``local_extensions`` in _config.yml. Each repair is one that axe-core
asks for and that no setting of Sphinx offers.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

EMPTY_HEADER = re.compile(r'<th class="head[^"]*"><p></p></th>')
ONLY_EMPTY = re.compile(rf"<thead>\s*<tr[^>]*>\s*(?:{EMPTY_HEADER.pattern}\s*)+</tr>\s*</thead>")


def repair(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Repair one page before its template is filled."""
    if "body" not in context:
        return
    body = context["body"]
    # A bibliography's entries are list items; docutils' role for them is deprecated.
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    # Markdown tables always have a head. One with nothing in it heads nothing, and an empty corner
    # above a column of names is a cell, not a heading.
    body = ONLY_EMPTY.sub("", body)
    context["body"] = EMPTY_HEADER.sub("<td></td>", body)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", repair)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
