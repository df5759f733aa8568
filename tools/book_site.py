"""A small Sphinx extension for this book: repairs in the HTML that the theme and docutils write.

Jupyter Book loads it through ``local_extensions`` in _config.yml. Each repair is one that no
setting of Sphinx offers: what axe-core asks for, what links and the site's fonts need.
"""

from __future__ import annotations

import json
import re
import tomllib
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sphinx.application import Sphinx

from attnbook.checkpoints import revision

PROJECT = tomllib.loads(
    (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
)["project"]
SITE = PROJECT["urls"]["Documentation"]

EMPTY_HEADER = re.compile(r'<th class="head[^"]*"><p></p></th>')
ONLY_EMPTY = re.compile(rf"<thead>\s*<tr[^>]*>\s*(?:{EMPTY_HEADER.pattern}\s*)+</tr>\s*</thead>")

CARD = re.compile(r'<img alt="([^"]*)" class="sd-card-img-top" src="[^"]*/([^"/]+\.svg)" />')
SPOKEN = re.compile(r' role="img" aria-label="[^"]*"')

# Sphinx writes the parameters of a long signature as descriptions without terms.
PARAMETERS = re.compile(r'(<span class="sig-paren">.</span>)\s*<dl>(.*?)</dl>', re.DOTALL)

# What the first screen of every page is set in. Over file: a browser would refuse to fetch them
# ahead and say so in its console; there they need no head start.
AHEAD = """<script>
if (location.protocol.startsWith("http")) for (const href of %s) {
  document.head.append(Object.assign(document.createElement("link"),
    {rel: "preload", as: "font", type: "font/woff2", crossOrigin: "anonymous", href}));
}
</script>"""
FIRST_FONTS = ["serif", "sans"]


def as_lines(parameters: re.Match[str]) -> str:
    """The parameters of a signature, one in a line."""
    lines = parameters[2].replace("<dd>", "<div>").replace("</dd>", "</div>")
    return f'{parameters[1]}<div class="sig-lines">{lines}</div>'


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
    body = PARAMETERS.sub(as_lines, body)
    # A picture of its own cannot use the page's fonts; as a part of the page it does.
    cards = Path(app.srcdir) / "book" / "assets" / "cards"

    def drawn(found: re.Match[str]) -> str:
        said = f' class="sd-card-img-top" role="img" aria-label="{escape(unescape(found[1]))}"'
        return SPOKEN.sub(said, (cards / found[2]).read_text(encoding="utf-8"), count=1)

    body = CARD.sub(drawn, body)
    context["body"] = EMPTY_HEADER.sub("<td></td>", body)


def link(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Lead a page's links to where they belong in this copy of the book."""
    # Notebooks name the published book, because they are read elsewhere, too; here it is this copy.
    if "body" in context:
        context["body"] = context["body"].replace(
            f'class="reference external" href="{SITE}',
            f'class="reference internal" href="{context["content_root"]}',
        )
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            # The theme knows one branch: pages are edited on main, labs are opened at the release.
            if button.get("text") == "Colab":
                state = revision(PROJECT["version"])
                button["url"] = button["url"].replace("/blob/main/", f"/blob/{state}/")
            if button.get("label") == "source-issues-button":
                form = button["url"].partition("?")[0]
                address = quote(f"{SITE}{page}.html", safe="")
                button["url"] = f"{form}?template=sentence.yml&page={address}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", repair)
    app.connect("html-page-context", link, priority=900)  # after the theme has made its buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
