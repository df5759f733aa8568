"""Kernel regression with points that can be moved: its directive, and the figure in a browser."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accessible import WIDTHS_AND_SCHEMES, violations
from attnbook.figures.regression import RegressionFigure
from test_directives import Book

ROOT = Path(__file__).resolve().parents[1]
STORED: dict[str, Any] = json.loads(
    (ROOT / "book" / "results" / "query_key_value.json").read_text(encoding="utf-8")
)
DAY: dict[str, Any] = STORED["day"]
# Another one, with bounds that are not round and a key below zero.
DIVE: dict[str, Any] = {
    "keys": [-4, 0, 2.5],
    "values": [7, -3, 1.5],
    "query": -1.3,
    "width": 2.0,
    "widths": [0.5, 2.0],
    "key": {"name": "depth", "unit": "m", "low": -5, "high": 5, "tick": 5},
    "value": {"name": "current", "unit": "cm/s", "low": -10, "high": 10, "tick": 10},
}


def look(data: dict[str, Any], query: float, width: float) -> tuple[Any, Any, float]:
    """Scores, weights and answer, by NumPy."""
    keys, values = (np.array(data[name], dtype=float) for name in ("keys", "values"))
    scores = -((query - keys) ** 2) / (2 * width**2)
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return scores, weights, float(weights @ values)


def left_out(data: dict[str, Any], width: float) -> float:
    """The mean error of each reading predicted from the others."""
    errors = []
    for i, (key, value) in enumerate(zip(data["keys"], data["values"], strict=True)):
        rest = {name: [*data[name][:i], *data[name][i + 1 :]] for name in ("keys", "values")}
        errors.append(abs(look(rest, key, width)[2] - value))
    return float(np.mean(errors))


scores, weights, answer = look(DIVE, DIVE["query"], DIVE["width"])
DIVE |= {"scores": scores.tolist(), "weights": weights.tolist(), "answer": answer}

PAGE = """
# Page

See {numref}`fig-day`.

```{regression} run:day
:name: fig-day
:alt: Readings "of" a day
The caption, with *emphasis*.
```

```{regression} run:nested.dive
:alt: Readings of a dive
```
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A book with two of them, built once."""
    book = Book(tmp_path_factory.mktemp("book"))
    book.write("book/results/run.json", json.dumps({"day": DAY, "nested": {"dive": DIVE}}))
    book.write("plain.md", "# Plain\n\nText.\n")
    book.write("trace.md", "# Trace\n\n```{trace} beer\n```\n")
    book.build(f"{PAGE}\n```{{toctree}}\nplain\ntrace\n```\n")
    return book


# ------------------------------------------------------------------------------ the directive


def test_it_is_a_numbered_figure_with_its_data(book: Book) -> None:
    html = book.read("html/index.html")
    assert book.warnings == ""
    assert 'id="fig-day"' in html
    assert "The caption, with <em>emphasis</em>." in html
    assert 'data-label="Readings &quot;of&quot; a day"' in html
    stored = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert [json.loads(text) for text in stored] == [DAY, DIVE]


def test_the_table_stands_in_the_page(book: Book) -> None:
    html = book.read("html/index.html")
    table = re.search(r'<div class="attn-fallback">.*?</table>', html, re.DOTALL)
    assert table is not None
    cells = re.findall(r"<t[dh][^>]*><p>(.*?)</p>", table[0])
    ((head, rows, *_),) = RegressionFigure(DAY).tables()
    assert cells == [cell for row in [head, *rows] for cell in row]
    assert rows[3] == ["8", "10", "−2.00", "0.100", "1.00"]
    assert rows[-1][-1] == "15.40"


def test_scripts_and_styles_only_where_they_are_needed(book: Book) -> None:
    ours = ("attnbook-regression.js", "attnbook-regression.css")
    html, plain, trace = (book.read(f"html/{name}.html") for name in ("index", "plain", "trace"))
    assert all(name in html and name not in plain and name not in trace for name in ours)
    sheets = [html.index(f"attnbook-{sheet}.css") for sheet in RegressionFigure.sheets]
    assert sheets == sorted(sheets)
    assert "attnbook-scrubber.js" not in html
    assert "attnbook-scrubber.js" in trace


WRONG = {
    "gone:day": "gone:day: there is no gone.json in results; run gone.py there",
    "run:night": "run:night: no 'night' in run.json, which has day, number, lacking",
    "run": "run: no '' in run.json, which has day",
    "run:number": "run:number: missing: keys, values, scores, weights, key, value, query",
    "run:lacking": "run:lacking: missing: widths",
    "run:day": "run:day: a regression needs :alt:, what is to be seen in it",
}


def test_what_is_wrong_is_a_warning(tmp_path: Path) -> None:
    book = Book(tmp_path)
    lacking = {name: part for name, part in DAY.items() if name != "widths"}
    results = {"day": DAY, "number": 3, "lacking": lacking}
    book.write("book/results/run.json", json.dumps(results))
    uses = [f"```{{regression}} {what}\n{':alt: a' * (what != 'run:day')}\n```" for what in WRONG]
    book.build("# Page\n\n" + "\n\n".join(uses) + "\n")
    assert book.warnings.count("WARNING") == len(WRONG)
    assert [text for text in WRONG.values() if text not in book.warnings] == []
    assert "attn-regression-figure" not in book.read("html/index.html")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weights": [0.5, 0.5]}, "differ in length: [2, 3]"),
        ({"keys": [-4, 0, 5.5]}, "keys outside their axis: [5.5]"),
        ({"values": [7, -11, 1.5]}, "values outside their axis: [-11]"),
        ({"width": 1.0}, "width 1.0 is not one of [0.5, 2.0]"),
    ],
)
def test_readings_that_do_not_fit_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        RegressionFigure(DIVE | change)


# ------------------------------------------------------------------------------ in a browser

READ = """figure => {
  const number = text => Number(text.replace("−", "-"));
  const texts = selector => [...figure.querySelectorAll(selector)].map(e => e.textContent);
  const rows = [...figure.querySelectorAll(".attn-reg-table tbody tr")];
  const box = figure.querySelector(".attn-reg-drawing").getBoundingClientRect();
  const middle = e => {
    const at = e.getBoundingClientRect();
    return [at.left + at.width / 2 - box.left, at.top + at.height / 2 - box.top];
  };
  const path = figure.querySelector(".attn-reg-curve").getAttribute("d");
  return {
    status: figure.querySelector(".attn-card-status").textContent,
    error: figure.querySelector(".attn-reg-error").textContent,
    rows: rows.slice(0, -1).map(row => [
      ...[...row.querySelectorAll("input")].map(e => e.valueAsNumber),
      ...[...row.querySelectorAll("td")].slice(2).map(e => number(e.textContent))]),
    sum: [...rows.at(-1).querySelectorAll("td")].map(e => e.textContent),
    points: [...figure.querySelectorAll(".attn-reg-dot")].map(middle),
    valuetexts: [...figure.querySelectorAll(".attn-reg-point")]
      .map(e => e.getAttribute("aria-valuetext")),
    valuenow: [...figure.querySelectorAll(".attn-reg-point")]
      .map(e => Number(e.getAttribute("aria-valuenow"))),
    shares: [...figure.querySelectorAll(".attn-reg-point")]
      .map(e => parseFloat(e.style.getPropertyValue("--attn-share"))),
    ribbons: [...figure.querySelectorAll(".attn-reg-ribbon")]
      .map(e => parseFloat(e.style.strokeWidth)),
    answer: middle(figure.querySelector(".attn-reg-answer")),
    line: Number(figure.querySelector(".attn-reg-query").getAttribute("x1")),
    curve: [...path.matchAll(/[ML]([\\d.-]+) ([\\d.-]+)/g)].map(m => [Number(m[1]), Number(m[2])]),
    size: [box.width, box.height],
  };
}"""


@pytest.fixture
def show(book: Book, show_bare: Callable[..., Any]) -> Callable[..., Any]:
    """``show(width=360)`` opens the figures of the small book without a theme."""
    html = book.read("html/index.html")
    body = re.findall(r"<figure.*?</figure>", html, flags=re.DOTALL)
    assert len(body) == 2
    styles = RegressionFigure.styles() + "figure { margin: 0 }"
    head = f"<style>{styles}</style><script>{RegressionFigure.script()}</script>"
    return functools.partial(show_bare, *body, head=head)


def two(value: float, decimals: int = 2) -> str:
    text = f"{abs(value):.{decimals}f}"
    return f"−{text}" if value < 0 and float(text) else text


def check(shown: dict[str, Any], data: dict[str, Any]) -> None:
    """Everything that the figure shows, against NumPy."""
    keys, values, query, width = (data[name] for name in ("keys", "values", "query", "width"))
    scores, weights, answer = look(data, query, width)
    key, value = data["key"], data["value"]
    for row, *expected in zip(
        shown["rows"], keys, values, scores, weights, weights * np.array(values), strict=True
    ):
        assert row == pytest.approx(expected, abs=0.0051)
    assert float(shown["sum"][-1].replace("−", "-")) == pytest.approx(answer, abs=0.0051)
    most = int(weights.argmax())
    found = re.fullmatch(
        rf"At {key['name']} (\S+) with σ = (\S+) {key['unit']}: (\S+) {value['unit']}\. Most "
        rf"weight: the reading of {key['name']} (\S+) \((\S+)\)\.",
        shown["status"],
    )
    assert found is not None, shown["status"]
    assert found[1] == two(query, 1)
    assert float(found[2]) == width
    assert float(found[3].replace("−", "-")) == pytest.approx(answer, abs=0.051)
    assert weights[keys.index(float(found[4].replace("−", "-")))] == pytest.approx(weights[most])
    assert float(found[5]) == pytest.approx(weights[most], abs=0.0051)
    off = re.search(rf"off by (\S+) {value['unit']} on average", shown["error"])
    assert off is not None
    assert float(off[1]) == pytest.approx(left_out(data, width), abs=0.0051)

    # Where things are drawn: one scale for each axis, the same for points, answer and curve.
    def across(k: float) -> float:
        share = (k - key["low"]) / (key["high"] - key["low"])
        return 34 + share * (shown["size"][0] - 34 - 12)

    def up(v: float) -> float:
        share = (v - value["low"]) / (value["high"] - value["low"])
        return 250 - 26 - share * (250 - 26 - 12)

    for point, k, v in zip(shown["points"], keys, values, strict=True):
        assert point == pytest.approx([across(k), up(v)], abs=0.6)
    assert shown["answer"] == pytest.approx([across(query), up(answer)], abs=0.6)
    assert shown["line"] == pytest.approx(across(query), abs=0.1)
    places = np.linspace(key["low"], key["high"], len(shown["curve"]))
    for (x, y), k in zip(shown["curve"], places, strict=True):
        assert x == pytest.approx(across(k), abs=0.06)
        assert y == pytest.approx(up(look(data, k, width)[2]), abs=0.06)
    assert shown["ribbons"] == pytest.approx((12 * weights).tolist(), abs=0.01)
    assert shown["shares"] == pytest.approx((100 * weights).tolist(), abs=0.051)

    assert shown["valuenow"] == values
    for text, k, v, weight in zip(shown["valuetexts"], keys, values, weights, strict=True):
        told = re.fullmatch(rf"{key['name']} (\S+), (\S+) {value['unit']}, weight (\S+)", text)
        assert told is not None, text
        assert [float(n.replace("−", "-")) for n in told.groups()[:2]] == [k, v]
        assert float(told[3]) == pytest.approx(weight, abs=0.0051)


def figures(page: Any) -> list[Any]:
    return list(page.locator(".attn-regression-figure").all())


def test_it_opens_with_the_stored_look(show: Callable[..., Any]) -> None:
    page = show()
    for figure, data in zip(figures(page), (DAY, DIVE), strict=True):
        shown = figure.evaluate(READ)
        check(shown, data)
        weights = [row[3] for row in shown["rows"]]
        assert weights == pytest.approx(data["weights"], abs=0.00051)
        assert float(shown["sum"][-1].replace("−", "-")) == pytest.approx(
            data["answer"], abs=0.0051
        )


def test_every_width_by_keyboard(show: Callable[..., Any]) -> None:
    page = show()
    figure, data = figures(page)[0], copy.deepcopy(DAY)
    slider = figure.get_by_role("slider", name="Width of the kernel")
    slider.focus()
    page.keyboard.press("Home")
    for found in STORED["left_out"]:
        data["width"] = found["width"]
        shown = figure.evaluate(READ)
        check(shown, data)
        assert f"off by {found['error']:.2f} °C" in shown["error"]
        assert float(slider.get_attribute("aria-valuetext").removesuffix(" h")) == found["width"]
        page.keyboard.press("ArrowRight")


def test_the_query_by_keyboard(show: Callable[..., Any]) -> None:
    page = show()
    figure, data = figures(page)[0], copy.deepcopy(DAY)
    slider = figure.get_by_role("slider", name="Query, the hour that is asked about")
    slider.focus()
    for key, query in [
        ("ArrowRight", 10.1), ("ArrowLeft", 10.0), ("Home", 0.0), ("ArrowLeft", 0.0),
        ("ArrowUp", 0.1), ("End", 24.0), ("ArrowRight", 24.0),
    ]:  # fmt: skip
        page.keyboard.press(key)
        data["query"] = query
        check(figure.evaluate(READ), data)
        assert slider.get_attribute("aria-valuetext") == f"hour {query:.1f}"


def test_a_reading_by_keyboard(show: Callable[..., Any]) -> None:
    page = show()
    figure, data = figures(page)[0], copy.deepcopy(DAY)
    page.keyboard.press("Tab")  # the width
    for _ in range(4):
        page.keyboard.press("Tab")  # the first four readings
    point = figure.get_by_role("slider", name="Reading 4", exact=True)
    assert point.evaluate("e => e === document.activeElement")
    for key, k, v in [
        ("ArrowUp", 8, 10.5), ("ArrowRight", 8.5, 10.5), ("ArrowDown", 8.5, 10),
        ("ArrowLeft", 8, 10), ("PageUp", 8, 15), ("PageDown", 8, 10), ("End", 8, 30),
        ("ArrowUp", 8, 30), ("PageUp", 8, 30), ("Home", 8, 0), ("ArrowDown", 8, 0),
    ]:  # fmt: skip
        page.keyboard.press(key)
        data["keys"][3], data["values"][3] = k, v
        check(figure.evaluate(READ), data)
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    data["keys"][3] = 0
    check(figure.evaluate(READ), data)
    assert page.evaluate("scrollY") == 0
    # Other keys, and keys with a modifier, are the browser's.
    for key in ("a", "Control+ArrowUp"):
        page.keyboard.press(key)
    check(figure.evaluate(READ), data)


def test_a_reading_is_dragged(show: Callable[..., Any]) -> None:
    page = show()
    figure, data = figures(page)[0], copy.deepcopy(DAY)
    box = figure.locator(".attn-reg-drawing").bounding_box()
    hour, degree = (box["width"] - 34 - 12) / 24, (250 - 26 - 12) / 30
    x, y = (
        box[side] + at for side, at in zip("xy", figure.evaluate(READ)["points"][3], strict=True)
    )
    # Taken hold of beside its middle, it does not jump.
    page.mouse.move(x + 5, y - 4)
    page.mouse.down()
    check(figure.evaluate(READ), data)
    page.mouse.move(x + 5 + 2 * hour, y - 4 - 7 * degree, steps=5)
    data["keys"][3], data["values"][3] = 10, 17
    check(figure.evaluate(READ), data)
    # Beyond the axes it stays on them.
    page.mouse.move(x - 500, y + 500, steps=3)
    data["keys"][3], data["values"][3] = 0, 0
    check(figure.evaluate(READ), data)
    page.mouse.up()
    page.mouse.move(x, y)
    check(figure.evaluate(READ), data)
    point = figure.get_by_role("slider", name="Reading 4", exact=True)
    assert point.evaluate("e => e === document.activeElement")
    page.keyboard.press("ArrowUp")
    data["values"][3] = 0.5
    check(figure.evaluate(READ), data)


def test_the_other_button_does_not_drag(show: Callable[..., Any]) -> None:
    page = show()
    figure = figures(page)[0]
    box = figure.locator(".attn-reg-drawing").bounding_box()
    x, y = (
        box[side] + at for side, at in zip("xy", figure.evaluate(READ)["points"][3], strict=True)
    )
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 60, y)
    page.mouse.up(button="right")
    check(figure.evaluate(READ), DAY)


def test_a_finger_drags_a_reading_and_not_the_page(show: Callable[..., Any]) -> None:
    page = show(width=360, touch=True)
    figure, data = figures(page)[0], copy.deepcopy(DAY)
    box = figure.locator(".attn-reg-drawing").bounding_box()
    x, y = (
        box[side] + at for side, at in zip("xy", figure.evaluate(READ)["points"][3], strict=True)
    )
    session = page.context.new_cdp_session(page)

    def touch_event(kind: str, *points: tuple[float, float]) -> None:
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]},
        )

    touch_event("touchStart", (x, y))
    touch_event("touchMove", (x, y - 30))
    touch_event("touchMove", (x, y - 10 * (250 - 26 - 12) / 30))
    touch_event("touchEnd")
    data["values"][3] = 20
    check(figure.evaluate(READ), data)
    assert page.evaluate("scrollY") == 0
    # Beside the readings the page scrolls as everywhere.
    beside = box["x"] + 200, box["y"] + 200
    touch_event("touchStart", beside)
    for up in (40, 80, 120, 160):
        touch_event("touchMove", (beside[0], beside[1] - up))
    touch_event("touchEnd")
    page.wait_for_function("scrollY > 0")
    check(figure.evaluate(READ), data)


def test_numbers_can_be_written(show: Callable[..., Any]) -> None:
    page = show()
    figure, data = figures(page)[0], copy.deepcopy(DAY)
    figure.locator("summary").click()
    hour = figure.get_by_label("hour of reading 5", exact=True)
    degree = figure.get_by_label("temperature of reading 5", exact=True)
    hour.fill("12.5")
    degree.fill("25")
    data["keys"][4], data["values"][4] = 12.5, 25
    check(figure.evaluate(READ), data)
    # A field that is being emptied changes nothing yet, and shows its number again afterwards.
    degree.fill("")
    hour.focus()
    check(figure.evaluate(READ), data)
    degree.fill("99")
    data["values"][4] = 30
    hour.focus()
    check(figure.evaluate(READ), data)
    figure.get_by_role("button", name="Start again").click()
    check(figure.evaluate(READ), DAY)


def test_start_again_brings_everything_back(show: Callable[..., Any]) -> None:
    page = show()
    figure = figures(page)[1]
    figure.get_by_role("slider", name="Width of the kernel").press("Home")
    figure.get_by_role("slider", name="Query, the depth that is asked about").press("End")
    figure.get_by_role("slider", name="Reading 1", exact=True).press("ArrowLeft")
    moved = DIVE | {"width": 0.5, "query": 5.0, "keys": [-4.5, 0, 2.5]}
    check(figure.evaluate(READ), moved)
    figure.get_by_role("button", name="Start again").click()
    check(figure.evaluate(READ), DIVE)


def test_figures_of_one_page_do_not_meddle(show: Callable[..., Any]) -> None:
    page = show()
    day, dive = figures(page)
    dive.get_by_role("slider", name="Reading 2", exact=True).press("ArrowUp")
    check(day.evaluate(READ), DAY)
    check(dive.evaluate(READ), DIVE | {"values": [7, -2.5, 1.5]})
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


# -------------------------------------------------------------------------------- for everybody


@WIDTHS_AND_SCHEMES
def test_axe_finds_nothing(show: Callable[..., Any], width: int, scheme: str) -> None:
    page = show(width=width, scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    assert violations(page, ".attn-regression-figure") == []


def test_axe_would_find_something(show: Callable[..., Any]) -> None:
    page = show()
    page.evaluate("document.querySelector('.attn-reg-point').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('.attn-reg-hint').style.color = '#ddd'")
    found = " ".join(violations(page, ".attn-regression-figure"))
    assert "color-contrast" in found
    assert "aria-input-field-name" in found


@pytest.mark.parametrize("width", [320, 360, 800])
def test_nothing_is_wider_than_the_page(show: Callable[..., Any], width: int) -> None:
    page = show(width=width)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for figure in figures(page):
        shown = figure.evaluate(READ)
        assert all(0 <= x <= shown["size"][0] for x, _ in shown["points"])
        for hold in figure.locator(".attn-reg-hold, button, input[type=range]").all():
            box = hold.bounding_box()
            assert min(box["width"], box["height"]) >= 24
    boxes = page.evaluate(
        """() => [...document.querySelectorAll(".attn-regression .attn-scroll")].map(e =>
          [e.scrollWidth > e.clientWidth, e.tabIndex, e.getAttribute("role")])"""
    )
    for overflows, tab_index, role in boxes:
        assert (tab_index, role) == ((0, "group") if overflows else (-1, None))


def test_the_query_stands_above_its_slider(show: Callable[..., Any]) -> None:
    """The thumb of a slider stands where its value is, half a thumb away from its ends."""
    page = show()
    for figure in figures(page):
        slider = figure.get_by_role("slider", name=re.compile("^Query"))
        box = slider.bounding_box()
        left = figure.locator(".attn-reg-drawing").bounding_box()["x"]
        for key, share in (("Home", 0), ("End", 1)):
            slider.press(key)
            thumb = box["x"] + 4 + 10 + share * (box["width"] - 8 - 20) - left
            assert figure.evaluate(READ)["line"] == pytest.approx(thumb, abs=1)


def test_only_one_line_is_read_out(show: Callable[..., Any]) -> None:
    page = show()
    for figure in figures(page):
        assert figure.get_by_role("status").count() == 1
        assert figure.get_by_role("status").get_attribute("aria-live") == "polite"
        point = figure.get_by_role("slider", name="Reading 1", exact=True)
        hint = page.locator(f"#{point.get_attribute('aria-describedby')}")
        assert "arrow keys" in hint.text_content()


def test_the_reading_in_focus_is_marked(show: Callable[..., Any]) -> None:
    page = show()
    point = figures(page)[0].get_by_role("slider", name="Reading 2", exact=True)
    ring = "e => getComputedStyle(e.querySelector('.attn-reg-hold')).stroke"
    assert point.evaluate(ring) == "none"
    point.focus()
    assert point.evaluate(ring) == "rgb(0, 114, 178)"


@pytest.mark.parametrize(("scheme", "heavy"), [("light", "8, 48, 107"), ("dark", "169, 211, 255")])
def test_a_reading_is_as_dark_as_its_weight(
    show: Callable[..., Any], scheme: str, heavy: str
) -> None:
    page = show(scheme=scheme)
    figure = figures(page)[1]
    figure.get_by_role("slider", name="Width of the kernel").press("Home")
    figure.get_by_role("slider", name=re.compile("^Query")).press("Home")
    fill = "e => getComputedStyle(e).fill"
    dark, *_, light = (dot.evaluate(fill) for dot in figure.locator(".attn-reg-dot").all())
    channels = [[float(n) for n in re.findall(r"[\d.]+", colour)] for colour in (dark, light)]
    scaled = [[255 * n for n in c] if max(c) <= 1 else c for c in channels]
    assert scaled[0][:3] == pytest.approx([float(n) for n in heavy.split(", ")], abs=2)
    card = "getComputedStyle(document.querySelector('.attn-regression')).backgroundColor"
    ground = [float(n) for n in re.findall(r"\d+", page.evaluate(card))]
    assert scaled[1][:3] == pytest.approx(ground, abs=2)


def test_it_is_drawn_again_when_the_page_changes_its_width(show: Callable[..., Any]) -> None:
    page = show(width=800)
    figure = figures(page)[0]
    before = figure.evaluate(READ)["size"][0]
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_function(
        "w => document.querySelector('.attn-reg-drawing').viewBox.baseVal.width < w / 1.5",
        arg=before,
    )
    check(figure.evaluate(READ), DAY)


def test_nothing_moves_by_itself(show: Callable[..., Any]) -> None:
    page = show(reduced_motion="reduce")
    moving = page.evaluate(
        """() => [...document.querySelectorAll(".attn-regression *")].filter(e => {
          const style = getComputedStyle(e);
          return style.animationName !== "none" || style.transitionDuration !== "0s";
        }).length"""
    )
    assert moving == 0


def test_without_javascript_there_is_the_table(show: Callable[..., Any]) -> None:
    page = show(javascript=False)
    fallback = page.locator(".attn-fallback").first
    assert fallback.is_visible()
    assert "0.100" in fallback.inner_text()
    page = show()
    assert not page.locator(".attn-fallback").first.is_visible()


# ------------------------------------------------------------------------------ the built site


def work(page: Any, figure: Any) -> None:
    """A figure of the site opens with what is stored in it, and its readings can be moved."""
    stored = json.loads(figure.locator("script[type='application/json']").text_content())
    assert stored == DAY
    check(figure.evaluate(READ), DAY)
    figure.get_by_role("slider", name="Reading 4", exact=True).press("ArrowUp")
    moved = copy.deepcopy(DAY)
    moved["values"][3] = 10.5
    check(figure.evaluate(READ), moved)
