"""A stored drawing as a part of a page: in the page's colours and fonts."""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree

from attnbook import plots

__all__ = ["chart_html", "inline_svg"]

# A chart may shrink to this part of its size before it scrolls; below, its words are too small.
_SMALLEST = 0.62
_NARROWEST_PAGE = 320  # pixels that a page of 360 has for a figure

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_BLACK = re.compile(r"(?<![\w#])(#000000|#000|black|rgb\(0,\s*0,\s*0\))(?![\w])")
# Dark marks that stand for numbers, and their partners on a dark page, as in the scrubber.
_PARTNERS = {plots.WEIGHT: "#a9d3ff", plots.NEGATIVE: "#f3cd8f", plots.POSITIVE: "#93e6db"}
_FONT = "var(--book-sans, sans-serif)"
_DROPPED = {f"{_SVG}metadata", f"{_SVG}title", f"{_SVG}desc", f"{_SVG}style"}


def inline_svg(svg: str, alt: str, prefix: str) -> str:
    """An SVG document as an element of a page.

    Black becomes the page's text colour, the colours of weights and signed numbers become light on
    a dark page, text takes the page's font, ids get a prefix, and the
    drawing's own style element goes, because inside a page it would style the whole page.

    Args:
        svg: the document, as matplotlib writes it.
        alt: what is to be seen; empty for decoration.
        prefix: for ids, different for each drawing of a page.

    Raises:
        ValueError: not an SVG, or one without a ``viewBox``.
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise ValueError(f"not an SVG: {error}") from error
    if root.tag != f"{_SVG}svg" or not root.get("viewBox"):
        raise ValueError("not an SVG with a viewBox")
    # One CSS pixel is 0.75 pt, and matplotlib's drawings are measured in points.
    width = float(root.attrib["viewBox"].split()[2])
    pixels = width * 4 / 3 if root.get("width", "pt").endswith("pt") else width

    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in _DROPPED]:
            parent.remove(child)
    for text in root.iter(f"{_SVG}text"):
        _close_up(text)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        for name, value in list(element.attrib.items()):
            if name == _HREF:
                del element.attrib[name]
                name = "href"
            elif name.startswith("{"):
                del element.attrib[name]
                continue
            element.set(name, _adapted(name, value, prefix))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("fill", "currentColor")
    smallest = round(pixels * _SMALLEST)
    root.set(
        "style",
        f"width:{round(pixels)}px;max-width:100%;min-width:{smallest}px;height:auto;"
        # What matplotlib's own style element says of all its lines.
        f"stroke-linejoin:round;stroke-linecap:butt;font-family:{_FONT}",
    )
    if alt:
        root.set("role", "img")
        root.set("aria-label", alt)
    else:
        root.set("aria-hidden", "true")
    return ElementTree.tostring(root, encoding="unicode")


def _close_up(text: ElementTree.Element) -> None:
    """Set what matplotlib writes as a formula letter to letter, in any font.

    It gives each letter its place, by the widths of the font that it measured with. Of a base and
    an exponent the place between the two stays: the base ends there, the exponent begins.
    """
    spans = text.findall(f"{_SVG}tspan")
    runs = [list(run) for _, run in groupby(spans, lambda s: (s.get("y"), s.get("style")))]
    for number, (first, *rest) in enumerate(runs, start=1):
        first.text = "".join(span.text or "" for span in (first, *rest))
        first.tail = None
        for span in rest:
            text.remove(span)
        if number < len(runs):
            first.set("x", runs[number][0].get("x", "0"))
            first.set("text-anchor", "end")
    if spans:
        text.text = None


def _adapted(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    value = re.sub(r"url\(#", f"url(#{prefix}", value)
    if name in ("style", "fill", "stroke"):
        value = _BLACK.sub("currentColor", value)
    if name == "style":
        for light, dark in _PARTNERS.items():
            value = value.replace(light, f"light-dark({light}, {dark})")
    if name == "style":
        # The size stays, the family is the page's: what matplotlib measured with may be absent.
        value = re.sub(r"(font:\s*[^;]*?[\d.]+px)\s+[^;]+", rf"\1 {_FONT}", value)
        value = re.sub(r"font-family:[^;]+", "font-family: inherit", value)
    return value


def chart_html(svg: str, alt: str, prefix: str) -> str:
    """A drawing in a box, which scrolls where the page is narrower than its words allow.

    Raises:
        ValueError: not an SVG, or one without a ``viewBox``.
    """
    drawing = inline_svg(svg, alt, prefix)
    found = re.search(r"min-width:(\d+)px", drawing)
    assert found is not None
    scrolls = ""
    if int(found[1]) > _NARROWEST_PAGE:
        scrolls = ' tabindex="0" role="group" aria-label="Chart; scrolls sideways where it is wide"'
    return f'<div class="attn-chart" style="overflow-x:auto"{scrolls}>{drawing}</div>\n'
