"""Figures in the course's style: transparent, black on nothing, one colour for each role.

A page puts such a figure into its own text (:mod:`attnbook.site.svg`), turns black into its
text colour and uses its own font. So the figures here are SVG with text as text, without a
background, and the same file comes out of the same numbers every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from attnbook.trace import DecodingTrace

__all__ = [
    "CONTEXT",
    "GOLD",
    "KEY",
    "NEGATIVE",
    "POSITIVE",
    "QUERY",
    "VALUE",
    "WEIGHT",
    "heatmap",
    "lines_with_intervals",
    "notebook",
    "save",
    "signed",
    "style",
    "weights",
]

# One role, one colour, safe for colour-blind readers (Okabe and Ito's palette).
QUERY = "#D55E00"
KEY = "#0072B2"
VALUE = "#009E73"
CONTEXT = "#CC79A7"
GOLD = "#E69F00"
# What weights and signed numbers are painted with: the deeper, the larger. On a dark page of the
# site the light partner of each takes its place (attnbook.site.svg).
WEIGHT = "#08306b"
NEGATIVE = "#8c510a"
POSITIVE = "#01665e"


def _fading(name: str, *stops: tuple[float, str, float]) -> LinearSegmentedColormap:
    """A ramp of opacity, so that zero is no colour at all, but the page's background."""
    return LinearSegmentedColormap.from_list(
        name, [(x, (*mpl.colors.to_rgb(colour), alpha)) for x, colour, alpha in stops]
    )


weights = _fading("attnbook-weights", (0.0, WEIGHT, 0.0), (1.0, WEIGHT, 1.0))
"""From 0, transparent, to 1, dark blue."""

signed = _fading(
    "attnbook-signed",
    (0.0, NEGATIVE, 1.0), (0.5, NEGATIVE, 0.0), (0.5, POSITIVE, 0.0), (1.0, POSITIVE, 1.0),
)  # fmt: skip
"""From negative, brown, over 0, transparent, to positive, teal."""

_STYLE: Any = {
    "figure.facecolor": "none",
    "figure.figsize": (4.6, 3.3),  # fits a phone
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "none",
    "savefig.transparent": True,
    "axes.facecolor": "none",
    "axes.edgecolor": "black",
    "axes.labelcolor": "black",
    "axes.prop_cycle": cycler(color=["black"]),  # a colour is chosen by name or not at all
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    # Ships with matplotlib, so the layout is the same everywhere; wider than the site's sans.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "text.color": "black",
    "xtick.color": "black",
    "ytick.color": "black",
    "svg.fonttype": "none",
    "svg.hashsalt": "attnbook",
}


@contextmanager
def style() -> Iterator[None]:
    """The course's style, for figures that are made and saved inside."""
    with mpl.rc_context(_STYLE):
        yield


def notebook() -> None:
    """The course's style for the rest of a notebook, whose figures become SVG without a date."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    mpl.rcParams.update(_STYLE)
    set_matplotlib_formats("svg", metadata={"Date": None})


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as SVG; the same figure gives the same bytes.

    Raises:
        ValueError: the file's name does not end in ``.svg``.
    """
    path = Path(path)
    if path.suffix != ".svg":
        raise ValueError(f"path: figures of the course are SVG, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with style():
        figure.savefig(path, metadata={"Date": None})


def heatmap(trace: DecodingTrace, ax: Axes | None = None, title: str = "") -> Axes:
    """A trace's weight matrix: source across, translation down, gold links outlined.

    Args:
        trace: of a decoder that attends.
        ax: where to draw; by default a new figure that is large enough for the words.
        title: what the figure shows, as a finding.

    Raises:
        ValueError: the decoder did not attend.
    """
    if trace.weights is None:
        raise ValueError(f"trace: {trace.model} did not attend, so there are no weights to draw")
    target, source = trace.weights.shape
    if ax is None:
        # Nearly half an inch for each row and column, and room for the words at two sides.
        _, ax = plt.subplots(figsize=(1.1 + 0.45 * source, 1.2 + 0.34 * target))
    ax.pcolormesh(
        np.arange(source + 1) - 0.5, np.arange(target + 1) - 0.5, trace.weights,
        cmap=weights, vmin=0, vmax=1, edgecolors="none",
    )  # fmt: skip
    ax.set_xlim(-0.5, source - 0.5)
    ax.set_ylim(target - 0.5, -0.5)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set_xticks(
        range(source), trace.source_tokens, rotation=60, ha="left", rotation_mode="anchor"
    )
    ax.set_yticks(range(target), trace.target_tokens)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("source", loc="left")
    ax.set_ylabel("translation, step by step", loc="top")
    for i, j in sorted(trace.gold_links or ()):
        ax.add_patch(
            Rectangle((i - 0.44, j - 0.44), 0.88, 0.88, fill=False, edgecolor=GOLD, linewidth=1.8)
        )
    if title:
        ax.set_title(title)
    return ax


def lines_with_intervals(
    x: ArrayLike,
    series: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]],
    *,
    colours: Mapping[str, str] | None = None,
    ticks: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Lines, each with its interval as a band and its name at its end.

    Args:
        x: where on the axis the values lie.
        series: for each name the values, and the lower and upper end of their intervals.
        colours: for each name one of this module's colours; black otherwise.
        ticks: what stands below each ``x``, if not the number.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: a series has another length than ``x``, or an interval without its value.
    """
    if ax is None:
        _, ax = plt.subplots()
    x = np.asarray(x, dtype=float)
    for name, rows in series.items():
        values, low, high = (np.asarray(row, dtype=float) for row in rows)
        for row in (values, low, high):
            if row.shape != x.shape:
                raise ValueError(f"series {name!r}: {len(x)} values of x, got shape {row.shape}")
        if np.any(low > values) or np.any(high < values):
            raise ValueError(f"series {name!r}: a value lies outside its interval")
        colour = (colours or {}).get(name, "black")
        ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(x, values, color=colour, marker="o", markersize=4)
        ax.annotate(
            name, (x[-1], values[-1]), xytext=(8, 0), textcoords="offset points", va="center"
        )
    if ticks is not None:
        ax.set_xticks(x, ticks)
    return ax
