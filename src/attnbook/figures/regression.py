"""Kernel regression with points that can be moved: a weighted mean one can take hold of.

The readings and one look at them are measured once (``book/results``); ``regression.js`` computes
every other look in the page. Where it cannot run, there is a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from attnbook.figures.embedded import LiveFigure, Table

__all__ = ["RegressionFigure"]

_FIELDS = (
    "keys", "values", "scores", "weights", "key", "value", "query", "width", "widths", "answer",
)  # fmt: skip


@dataclass(frozen=True)
class RegressionFigure(LiveFigure):
    """Some readings, and one look at them.

    Args:
        stored: ``keys``, ``values``, ``scores`` and ``weights`` of equal length; ``key`` and
            ``value`` with ``name``, ``unit``, ``low``, ``high`` and ``tick`` of their axes;
            ``query``, ``width``, the ``widths`` to choose from, and the ``answer``.

    Raises:
        ValueError: something is missing or does not fit.
    """

    name: ClassVar[str] = "regression"
    sheets: ClassVar[tuple[str, ...]] = ("card", "scrubber", "regression")

    stored: Any

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        data = self.stored
        if missing := [name for name in _FIELDS if not isinstance(data, dict) or name not in data]:
            raise ValueError(f"missing: {', '.join(missing)}")
        names = ("keys", "values", "scores", "weights")
        if len(lengths := {len(data[name]) for name in names}) != 1:
            raise ValueError(
                f"keys, values, scores and weights differ in length: {sorted(lengths)}"
            )
        for axis in ("key", "value"):
            low, high = data[axis]["low"], data[axis]["high"]
            if bad := [n for n in data[f"{axis}s"] if not low <= n <= high]:
                raise ValueError(f"{axis}s outside their axis: {bad}")
        if data["width"] not in data["widths"]:
            raise ValueError(f"width {data['width']} is not one of {data['widths']}")

    def data(self) -> Any:
        """All that is stored."""
        return self.stored

    def tables(self) -> list[Table]:
        """The stored look at the readings."""
        data = self.stored
        columns = [data[name] for name in ("keys", "values", "scores", "weights")]
        head = [f"{data[axis]['name']} ({data[axis]['unit']})" for axis in ("key", "value")]
        rows = [
            [f"{key:g}", f"{value:g}", f"{score:.2f}", f"{weight:.3f}", f"{weight * value:.2f}"]
            for key, value, score, weight in zip(*columns, strict=True)
        ]
        rows.append(["sum", "", "", f"{sum(data['weights']):.3f}", f"{data['answer']:.2f}"])
        rows = [[cell.replace("-", "−") for cell in row] for row in rows]
        return [Table([*head, "score", "weight", "weight × value"], rows)]
