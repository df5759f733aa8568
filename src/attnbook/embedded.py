"""What the figures of a page share: how their scripts, styles and data get into it."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["asset", "card_styles", "data_element"]


@cache
def asset(name: str) -> str:
    """A script or style sheet of the package, as text."""
    return resources.files("attnbook").joinpath("static", name).read_text(encoding="utf-8")


def card_styles() -> str:
    """The style sheet of the card that figures and questions stand in; theirs come after it."""
    return asset("card.css")


def data_element(data: Any) -> str:
    """A ``<script>`` element with data as JSON, which cannot end the element it stands in.

    Raises:
        ValueError: a number that JSON does not have (infinity, or not a number).
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("</", "<\\/")
    return f'<script type="application/json">{text}</script>'
