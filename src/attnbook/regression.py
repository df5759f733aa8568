"""Kernel regression with points that can be moved: a weighted mean one can take hold of.

The readings and one look at them are measured once (``book/results``); ``static/regression.js``,
which needs no library and no network, computes every other look in the page. Where it cannot run,
there is a table (:mod:`attnbook.directives`).
"""

from __future__ import annotations

from typing import Any

from attnbook.embedded import asset, data_element

__all__ = ["figure_data", "script", "styles", "table"]

_FIELDS = (
    "keys", "values", "scores", "weights", "key", "value", "query", "width", "widths", "answer",
)  # fmt: skip


def table(data: Any) -> tuple[list[str], list[list[str]]]:
    """One look at some readings, as head and rows of a table, for where nothing moves.

    Args:
        data: ``keys``, ``values``, ``scores`` and ``weights`` of equal length; ``key`` and
            ``value`` with ``name``, ``unit``, ``low``, ``high`` and ``tick`` of their axes;
            ``query``, ``width``, the ``widths`` to choose from, and the ``answer``.

    Raises:
        ValueError: something is missing or does not fit.
    """
    if missing := [name for name in _FIELDS if not isinstance(data, dict) or name not in data]:
        raise ValueError(f"missing: {', '.join(missing)}")
    columns = [data[name] for name in ("keys", "values", "scores", "weights")]
    if len(lengths := {len(column) for column in columns}) != 1:
        raise ValueError(f"keys, values, scores and weights differ in length: {sorted(lengths)}")
    for axis, numbers in (("key", data["keys"]), ("value", data["values"])):
        if bad := [n for n in numbers if not data[axis]["low"] <= n <= data[axis]["high"]]:
            raise ValueError(f"{axis}s outside their axis: {bad}")
    if data["width"] not in data["widths"]:
        raise ValueError(f"width {data['width']} is not one of {data['widths']}")
    head = [f"{data[axis]['name']} ({data[axis]['unit']})" for axis in ("key", "value")]
    rows = [
        [f"{key:g}", f"{value:g}", f"{score:.2f}", f"{weight:.3f}", f"{weight * value:.2f}"]
        for key, value, score, weight in zip(*columns, strict=True)
    ]
    rows.append(["sum", "", "", f"{sum(data['weights']):.3f}", f"{data['answer']:.2f}"])
    rows = [[cell.replace("-", "−") for cell in row] for row in rows]
    return [*head, "score", "weight", "weight × value"], rows


def figure_data(data: Any) -> str:
    """The ``<script>`` element with the data; belongs into an ``.attn-regression-figure``."""
    return data_element(data)


def styles() -> str:
    """The figure's style sheet; its card is the scrubber's."""
    return asset("regression.css")


def script() -> str:
    """The figure's script, which brings every one of them in a page to life."""
    return asset("regression.js")
