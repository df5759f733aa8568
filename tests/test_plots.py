"""The course's plots: what is drawn, where, in which colour, and the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from attnbook import plots
from example_traces import example

mpl.use("agg")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with mpl.rc_context():
        yield
    plt.close("all")


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance on white paper."""
    r, g, b = (alpha * c + 1 - alpha for *rgb, alpha in [colour] for c in rgb)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_style_holds_inside_and_only_inside():
    before = mpl.rcParams["svg.fonttype"]
    with plots.style():
        assert mpl.rcParams["svg.fonttype"] == "none"
        assert mpl.rcParams["axes.facecolor"] == "none"
        # There is no second default colour: who wants one names it.
        assert mpl.rcParams["axes.prop_cycle"].by_key() == {"color": ["black"]}
    assert mpl.rcParams["svg.fonttype"] == before


def test_zero_is_no_colour_at_all():
    assert plots.weights(0.0)[3] == 0
    assert plots.signed(0.5)[3] == pytest.approx(0, abs=0.02)
    assert to_hex(plots.weights(1.0)) == plots.WEIGHT
    assert plots.weights(1.0)[3] == 1
    assert to_hex(plots.signed(0.0)) == "#8c510a"
    assert to_hex(plots.signed(1.0)) == "#01665e"


def test_ramps_only_darken():
    up = [luminance(plots.weights(x)) for x in np.linspace(0, 1, 40)]
    assert all(a > b for a, b in pairwise(up))
    for ends in (np.linspace(0.5, 1, 20), np.linspace(0.5, 0, 20)):
        side = [luminance(plots.signed(x)) for x in ends]
        assert side[0] == pytest.approx(1, abs=0.02)
        assert all(a >= b for a, b in pairwise(side))


def test_heatmap_has_source_across_and_target_down():
    trace = example(links=frozenset({(3, 4), (0, 0)}))
    with plots.style():
        ax = plots.heatmap(trace, title="bier is where beer comes from")
    assert [t.get_text() for t in ax.get_xticklabels()] == list(trace.source_tokens)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(trace.target_tokens)
    assert ax.get_xlim() == (-0.5, 4.5)
    assert ax.get_ylim() == (7.5, -0.5)  # the first word on top
    assert ax.xaxis.get_ticks_position() == "top"
    assert ax.get_title(loc="left") == "bier is where beer comes from"
    assert "source" in ax.get_xlabel()
    assert "translation" in ax.get_ylabel()
    (mesh,) = ax.collections
    drawn = mesh.get_array()
    assert drawn is not None
    np.testing.assert_array_equal(drawn.reshape(8, 5), trace.weights)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 1)
    outlines = [p for p in ax.patches if isinstance(p, Rectangle)]
    middles = {tuple(np.round(p.get_center()).astype(int)) for p in outlines}
    assert middles == {(3, 4), (0, 0)}
    assert all(to_hex(p.get_edgecolor()) == plots.GOLD.lower() for p in outlines)
    assert not any(p.get_fill() for p in outlines)


def test_heatmap_draws_where_it_is_told():
    _, axes = plt.subplots(1, 2)
    assert plots.heatmap(example(), ax=axes[1]) is axes[1]
    assert not axes[0].collections
    assert axes[1].get_title(loc="left") == ""
    assert not axes[1].patches


def test_heatmap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="trace: example-dot did not attend"):
        plots.heatmap(example(attends=False))


def test_lines_have_bands_and_names_at_their_ends():
    ax = plots.lines_with_intervals(
        [1, 2, 5],
        {"dot": ([3, 4, 5], [2, 3, 4], [4, 6, 6]), "fixed": ([1, 1, 1], [0, 0, 0], [2, 2, 2])},
        colours={"dot": plots.KEY},
        ticks=["short", "middle", "long"],
    )
    dot, fixed = ax.lines
    np.testing.assert_array_equal(dot.get_xydata(), [[1, 3], [2, 4], [5, 5]])
    assert to_hex(dot.get_color()) == plots.KEY.lower()
    assert to_hex(fixed.get_color()) == "#000000"
    texts: list[Any] = list(ax.texts)  # made by annotate(), which gives them a place
    assert [(t.get_text(), t.xy) for t in texts] == [("dot", (5, 5)), ("fixed", (5, 1))]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["short", "middle", "long"]
    band = ax.collections[0].get_paths()[0].vertices
    assert {(1.0, 2.0), (2.0, 6.0), (5.0, 6.0)} <= {tuple(v) for v in np.asarray(band).tolist()}
    assert ax.get_legend() is None


def test_lines_draw_where_they_are_told():
    _, ax = plt.subplots()
    assert plots.lines_with_intervals([1], {"a": ([1], [0], [2])}, ax=ax) is ax


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (([1, 2], [0, 1], [2, 3]), "series 'a': 3 values of x, got shape \\(2,\\)"),
        (([1, 2, 3], [0, 1], [2, 3, 4]), "series 'a': 3 values of x, got shape \\(2,\\)"),
        (([1, 2, 3], [0, 3, 2], [2, 3, 4]), "series 'a': a value lies outside its interval"),
        (([1, 2, 5], [0, 1, 2], [2, 3, 4]), "series 'a': a value lies outside its interval"),
    ],
)
def test_intervals_that_do_not_fit_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        plots.lines_with_intervals([1, 2, 3], {"a": rows})


def draw() -> plt.Figure:
    with plots.style():
        ax = plots.lines_with_intervals([1, 2], {"möchte": ([1, 2], [0, 1], [2, 3])})
        ax.set_xlabel("length (words)")
    assert isinstance(ax.figure, plt.Figure)
    return ax.figure


def test_the_same_figure_gives_the_same_file(tmp_path):
    plots.save(draw(), tmp_path / "figures" / "one.svg")
    plots.save(draw(), tmp_path / "two.svg")
    one = (tmp_path / "figures" / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    text = one.decode()
    assert ">möchte</text>" in text
    assert ">length (words)</text>" in text
    assert "<dc:date>" not in text
    root = ElementTree.fromstring(text)
    assert root.get("viewBox")
    # No ground is painted: the page's own shows.
    assert "fill: #ffffff" not in text


def test_only_svg_is_saved(tmp_path):
    with pytest.raises(ValueError, match=r"path: figures of the course are SVG, got 'a\.png'"):
        plots.save(draw(), tmp_path / "a.png")


def test_a_notebook_keeps_the_style(monkeypatch):
    from matplotlib_inline import backend_inline

    asked = []
    monkeypatch.setattr(
        backend_inline, "set_matplotlib_formats", lambda *names, **kw: asked.append((names, kw))
    )
    plots.notebook()
    assert asked == [(("svg",), {"metadata": {"Date": None}})]
    assert mpl.rcParams["axes.facecolor"] == "none"
