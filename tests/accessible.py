"""What axe-core finds in a page that a browser has open.

Its rule on contrast takes three quarters of its time, because it asks of every text what lies
under it. `violations` runs all rules; `structure` all but that one, and `faint` asks instead
once for each look that a text has in the page.
"""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT

# Each width and each scheme once; colours do not depend on the width.
WIDTHS_AND_SCHEMES = pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (360, "dark"),
        (800, "light"),
        pytest.param(360, "light", marks=pytest.mark.exhaustive),
        pytest.param(800, "dark", marks=pytest.mark.exhaustive),
    ],
)

RUN = """([context, rules]) => axe.run(context, {
  rules,
  // Of rules that are kept, axe need not collect every element that keeps them.
  resultTypes: ["violations"],
  // It would ask for all style sheets once more, for a rule that it does not run.
  preload: {assets: ["media"], timeout: 10000},
}).then(found => found.violations)"""

# Colours that lie over one another are mixed as axe mixes them. Where a picture, a filter or the
# shapes of a drawing lie under a text, axe cannot tell either.
FAINT = """() => {
  const {Color, flattenColors, getContrast} = axe.commons.color;
  const colour = (text, opacity = 1) => {
    const found = new Color();
    found.parseString(text);
    found.alpha *= opacity;
    return found;
  };
  const grounds = new Map([[null, {colour: new Color(255, 255, 255), opacity: 1, clear: true}]]);
  const ground = e => {
    if (!grounds.has(e)) {
      const under = ground(e.parentElement);
      const style = getComputedStyle(e);
      const opacity = under.opacity * style.opacity;
      grounds.set(e, {
        colour: flattenColors(colour(style.backgroundColor, opacity), under.colour),
        opacity,
        clear: under.clear && style.backgroundImage === "none" && style.filter === "none"
          && style.clip === "auto" && style.clipPath === "none",
      });
    }
    return grounds.get(e);
  };
  const looks = new Map();
  const look = e => {
    const on = ground(e);
    const disabled = e.closest(":disabled, [aria-disabled=true], label:has(:disabled)");
    if (!on.clear || disabled || !e.checkVisibility({visibilityProperty: true})) return;
    const style = getComputedStyle(e);
    const ink = [style.color, style.fontSize, style.fontWeight];
    const key = [...ink, on.opacity, on.colour.toHexString()].join();
    if (!looks.has(key)) looks.set(key, [e, on, style]);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const {data, parentElement: e} = texts.currentNode;
    // A single character may be an ornament: axe does not judge it either.
    if (data.trim().length > 1 && !(e instanceof SVGElement)) look(e);
  }
  for (const input of document.querySelectorAll("input[type=text], input[type=number], select")) {
    look(input);
  }
  const found = [...looks.values()].flatMap(([e, on, style]) => {
    const points = parseFloat(style.fontSize) * 0.75;
    const large = points >= 18 || (points >= 14 && style.fontWeight >= 700);
    const ratio = getContrast(on.colour, flattenColors(colour(style.color, on.opacity), on.colour));
    return ratio >= (large ? 3 : 4.5) ? [] : [
      `contrast ${ratio.toFixed(2)} of ${style.color} on ${on.colour.toHexString()}: `
      + e.outerHTML.slice(0, 200)];
  });
  return {looks: looks.size, found};
}"""


def _load(page: Any) -> None:
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{AXE_SCRIPT}; 0")


def violations(page: Any, context: str = "html", *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Each violation of any of axe's rules in a page, or in a part of it.

    Args:
        page: open in a browser.
        context: a selector of the part.
        leave_out: rules that are not asked.
    """
    _load(page)
    rules = {rule: {"enabled": False} for rule in leave_out}
    return [
        f"{v['id']} ({v['impact']}): {node['target']} {node['html'][:200]} {node['failureSummary']}"
        for v in page.evaluate(RUN, [context, rules])
        for node in v["nodes"]
    ]


def structure(page: Any, context: str = "html") -> list[str]:
    """Each violation of any rule but that on contrast."""
    return violations(page, context, leave_out=("color-contrast",))


def faint(page: Any) -> list[str]:
    """One text of each look in the page that has too little contrast to what it stands on."""
    _load(page)
    seen = page.evaluate(FAINT)
    assert seen["looks"] > 3, "a page has a heading, text, links"
    return seen["found"]
