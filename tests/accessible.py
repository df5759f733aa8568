"""What axe-core finds in a page that a browser has open."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe


def violations(page: Any, context: str) -> list[str]:
    """Each violation of any of axe's rules in a part of a page.

    Args:
        page: open in a browser.
        context: a selector of the part.
    """
    found = Axe().run(page, context=context).response["violations"]
    return [f"{v['id']}: {n['html']} {n['failureSummary']}" for v in found for n in v["nodes"]]
