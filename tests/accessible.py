"""What axe-core finds in a page that a browser has open."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe


def violations(page: Any, context: str = "html") -> list[str]:
    """Each violation of any of axe's rules in a page, or in a part of it.

    Args:
        page: open in a browser.
        context: a selector of the part.
    """
    # Of rules that are kept, axe need not collect every element that keeps them.
    options = {"resultTypes": ["violations"]}
    found = Axe().run(page, context=context, options=options).response["violations"]
    return [
        f"{v['id']} ({v['impact']}): {node['target']} {node['html'][:200]} {node['failureSummary']}"
        for v in found
        for node in v["nodes"]
    ]
