"""A small Sphinx extension for this book: repairs in the HTML that the theme and docutils write.

Jupyter Book loads it through ``local_extensions`` in _config.yml. Each repair is one that no
setting of Sphinx offers: what axe-core asks for, and what the site's fonts need.
"""

from __future__ import annotations

import json
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

EMPTY_HEADER = re.compile(r'<th class="head[^"]*"><p></p></th>')
ONLY_EMPTY = re.compile(rf"<thead>\s*<tr[^>]*>\s*(?:{EMPTY_HEADER.pattern}\s*)+</tr>\s*</thead>")

CARD = re.compile(r'<img alt="([^"]*)" class="sd-card-img-top" src="[^"]*/([^"/]+\.svg)" />')
SPOKEN = re.compile(r' role="img" aria-label="[^"]*"')

# What the first screen of every page is set in. Over file: a browser would refuse to fetch them
# ahead and say so in its console; there they need no head start.
AHEAD = """<script>
if (location.protocol.startsWith("http")) for (const href of %s) {
  document.head.append(Object.assign(document.createElement("link"),
    {rel: "preload", as: "font", type: "font/woff2", crossOrigin: "anonymous", href}));
}
</script>"""
FIRST_FONTS = ["serif", "sans"]


def repair(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Repair one page before its template is filled."""
    body = context.get("body", "")
    ahead = FIRST_FONTS + ["serif-italic"] * ("<em>" in body)
    fonts = (context["pathto"](f"_static/fonts/{name}.woff2", resource=True) for name in ahead)
    context["metatags"] = context.get("metatags", "") + AHEAD % json.dumps([*fonts])
    if not body:
        return
    # A bibliography's entries are list items; docutils' role for them is deprecated.
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    # Markdown tables always have a head. One with nothing in it heads nothing, and an empty corner
    # above a column of names is a cell, not a heading.
    body = ONLY_EMPTY.sub("", body)
    # A picture of its own cannot use the page's fonts; as a part of the page it does.
    cards = Path(app.srcdir) / "book" / "assets" / "cards"

    def drawn(found: re.Match[str]) -> str:
        said = f' class="sd-card-img-top" role="img" aria-label="{escape(unescape(found[1]))}"'
        return SPOKEN.sub(said, (cards / found[2]).read_text(encoding="utf-8"), count=1)

    body = CARD.sub(drawn, body)
    context["body"] = EMPTY_HEADER.sub("<td></td>", body)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", repair)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
