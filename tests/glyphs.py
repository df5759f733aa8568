"""Which characters of a page none of the site's fonts has a glyph for."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from fontTools.ttLib import TTFont

import fonts

# For each stack of fonts the characters that a reader may see in it: text, what styles put before
# and after elements, and what fields hold. Formulas have MathJax's fonts, icons their own.
SEEN = r"""() => {
  const seen = {};
  const add = (style, text) => {
    const key = `${style.fontFamily}|${style.fontStyle === "normal" ? "" : "italic"}`;
    seen[key] = (seen[key] ?? "") + text;
  };
  const other = ".math, mjx-container, script, style, noscript, template, head";
  const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.data.trim() && !node.parentElement.closest(other))
      add(getComputedStyle(node.parentElement), node.data);
  }
  for (const element of document.body.querySelectorAll("*")) {
    if (element.closest(other)) continue;
    for (const side of ["::before", "::after"]) {
      const style = getComputedStyle(element, side);
      const content = style.content.match(/^"(.*)"$/s);
      if (content) add(style, content[1]);
    }
    if (element.placeholder) add(getComputedStyle(element), element.placeholder);
  }
  for (const key in seen) seen[key] = [...new Set(seen[key])].join("");
  return seen;
}"""

ICONS = range(0xE000, 0xF900)  # "private use": what stands there is each font's own affair


@cache
def read(file: str) -> TTFont:
    """One of the site's fonts."""
    return TTFont(fonts.FOLDER / f"{file}.woff2")


@cache
def _covered(family: str, italic: bool) -> frozenset[int]:
    """Which characters a browser finds in a family of the style sheet."""
    cuts = [cut for cut in fonts.CUTS if cut.name == family]
    of_style = [cut for cut in cuts if cut.italic == italic] or cuts
    return frozenset(code for cut in of_style for code in read(cut.file).getBestCmap())


def lacking_in(stack: str, italic: bool, text: str) -> str:
    """The characters of a text that a stack of fonts does not have; icons have their own fonts."""
    families = re.findall(r'"(Attn [^"]+)"', stack)
    covered = frozenset[int]().union(*(_covered(family, italic) for family in families))
    missing = (c for c in sorted(set(text)) if ord(c) not in covered and ord(c) not in ICONS)
    return "".join(c for c in missing if c not in "\n\t\r\u200b")  # these need none


def lacking(page: Any) -> dict[str, str]:
    """What a page has no glyph for, by the stack of fonts."""
    seen = page.evaluate(SEEN)
    assert any("Attn Serif" in stack for stack in seen)
    found = {}
    for key, text in seen.items():
        stack, _, italic = key.partition("|")
        if missing := lacking_in(stack, bool(italic), text):
            found[key] = missing
    return found
