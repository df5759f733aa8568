"""The scrubber in a real browser: what it shows, how it is worked, where it is read."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from accessible import WIDTHS_AND_SCHEMES, violations
from attnbook.figures.scrubber import DECIMALS, ScrubberFigure
from attnbook.trace import DecodingTrace
from example_traces import example, example_with_heads, example_with_measures

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"

LINKS = frozenset({(0, 0), (1, 1), (1, 2), (2, 3), (3, 4), (4, 7)})
LONG = " ".join(f"wort{i}" for i in range(59)) + " <eos>"

plain = example(links=LINKS)
fixed = example(target="i would like beer <eos>", attends=False, model="example-fixed", seed=1)
small = example(source="je suis étudiant <eos>", target="i am a student <eos>", width=4)
masked = example(masked=(1, 3))
blind = example(masked=(0, 1, 2, 3, 4))
heads = example_with_heads()
measured = example_with_measures()
long = example(source=LONG, target=LONG.replace("wort", "word"), width=256)


# ----------------------------------------------------------------------------------- helpers


def two(value: float | None) -> str:
    """Two decimals, rounded as JavaScript rounds: by the exact value, halves away from zero."""
    if value is None or math.isinf(value):
        return "−∞"
    rounded = Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return f"−{-rounded}" if rounded < 0 else f"{abs(rounded)}"


READ = """card => {
  const texts = (selector, within = card) =>
    [...within.querySelectorAll(selector)].map(e => e.textContent);
  const visible = e => getComputedStyle(e).visibility === "visible";
  const rows = [...card.querySelectorAll(".attn-matrix-row:not(.attn-matrix-head)")];
  const table = name => [...card.querySelectorAll(`.attn-table-${name} tbody tr`)]
    .map(row => texts("th, td", row));
  const numbers = selector => [...card.querySelectorAll(selector)].map(e => texts("span", e));
  return {
    status: card.querySelector(".attn-card-status").textContent,
    valuetext: card.querySelector("input[type=range]").getAttribute("aria-valuetext"),
    count: card.querySelector(".attn-count").textContent,
    written: [...card.querySelectorAll(".attn-written-word")].filter(visible)
      .map(e => e.textContent),
    current: texts(".attn-written-word.attn-current"),
    sources: texts(".attn-word"),
    scores: texts(".attn-score-number"),
    weights: texts(".attn-weight"),
    gold: [...card.querySelectorAll(".attn-weight")].map(e => e.classList.contains("attn-gold")),
    ribbons: [...card.querySelectorAll(".attn-ribbon")].map(e => parseFloat(e.style.strokeWidth)),
    bars: [...card.querySelectorAll(".attn-score-bar")].map(e => e.style.height),
    matrix: rows.filter(visible).map(row => texts(".attn-matrix-cell", row)),
    matrixGold: rows.filter(visible).map(row => [...row.querySelectorAll(".attn-matrix-cell")]
      .map(e => e.classList.contains("attn-gold"))),
    outlined: rows.findIndex(row => row.classList.contains("attn-current")),
    candidates: [...card.querySelectorAll(".attn-candidate")].map(row => [
      ...texts(".attn-candidate-word, .attn-candidate-number", row),
      row.classList.contains("attn-chosen"),
      row.querySelector("i").style.width]),
    query: numbers(".attn-query-cell > .attn-vector"),
    keys: numbers(".attn-row-keys .attn-cell > .attn-vector"),
    values: numbers(".attn-row-values .attn-cell > .attn-vector"),
    context: numbers(".attn-context-cell > .attn-vector"),
    patches: card.querySelectorAll(".attn-patch").length,
    sourceTable: table("source"),
    nextTable: table("next"),
  };
}"""


def vectors(rows: Any) -> list[list[str]]:
    return [[two(entry) for entry in row] for row in rows]


def check_step(shown: dict[str, Any], trace: dict[str, Any], step: int) -> None:
    """Everything that one step shows, against the trace's JSON."""
    words, steps = trace["target_tokens"], len(trace["target_tokens"])
    sources, weights = trace["source_tokens"], trace["weights"]
    probability = two(math.exp(trace["log_probs"][step]))
    status = f"Step {step + 1} of {steps}: writes “{words[step]}” ({probability})"
    assert shown["valuetext"] == f"Step {step + 1} of {steps}, {words[step]}"
    assert shown["count"] == f"{step + 1} / {steps}"
    assert shown["written"] == words[: step + 1]
    assert shown["current"] == [words[step]]
    assert shown["sources"] == sources

    candidates = trace["candidates"][step][:5]
    assert [row[:3] for row in shown["candidates"][: len(candidates)]] == [
        [token, two(p), token == words[step]] for token, p in candidates
    ]
    for (_, p), (*_, width) in zip(candidates, shown["candidates"], strict=False):
        assert float(width.rstrip("%")) == pytest.approx(100 * p, abs=0.01)
    assert shown["nextTable"] == [
        [token, two(p), "yes" if token == words[step] else ""] for token, p in candidates
    ]
    small_states = len(trace["encoder_states"][0]) <= 8
    if small_states:
        assert shown["keys"] == vectors(trace["encoder_states"])
    else:
        assert shown["patches"] > len(sources)
    queries = trace.get("queries") or trace["decoder_states"]
    if len(queries[0]) <= 8:
        assert shown["query"] == vectors([queries[step]])

    if weights is None:
        assert shown["status"] == f"{status}; this decoder has no weights."
        for part in ("scores", "weights", "ribbons", "matrix", "values", "context", "sourceTable"):
            assert shown[part] == []
        return

    scores, row = trace["scores"][step], weights[step]
    if max(row) > 0:
        most = row.index(max(row))
        assert shown["status"] == f"{status}, looks most at “{sources[most]}” ({two(row[most])})."
    else:
        assert shown["status"] == f"{status}; every source word is masked."
    assert shown["scores"] == [two(score) for score in scores]
    assert shown["weights"] == [two(weight) for weight in row]
    assert shown["ribbons"] == pytest.approx([22 * weight for weight in row], abs=0.01)
    highest = max((abs(s) for r in trace["scores"] for s in r if s is not None), default=1)
    assert [float(bar.rstrip("%")) for bar in shown["bars"]] == pytest.approx(
        [50 * abs(score or 0) / highest for score in scores], abs=0.01
    )
    if small_states:
        assert shown["values"] == vectors(
            [
                [w * entry for entry in state]
                for w, state in zip(row, trace["encoder_states"], strict=True)
            ]
        )
        assert shown["context"] == vectors([trace["contexts"][step]])

    links = {tuple(link) for link in trace["gold_links"] or []}
    assert shown["gold"] == [(i, step) in links for i in range(len(sources))]
    assert shown["matrix"] == vectors(weights[: step + 1])
    assert shown["matrixGold"] == [
        [(i, t) in links for i in range(len(sources))] for t in range(step + 1)
    ]
    assert shown["outlined"] == step
    assert shown["sourceTable"] == [
        [
            word,
            "−∞ (masked)" if score is None else two(score),
            two(weight),
            *([] if trace["gold_links"] is None else ["yes" if (i, step) in links else ""]),
        ]
        for i, (word, score, weight) in enumerate(zip(sources, scores, row, strict=True))
    ]


# What the hand does to a slider or a select, in the page, and what it shows afterwards.
WALK = f"""(card, [chosen, steps]) => {{
  const set = (input, name, value) => {{
    input[name] = value;
    input.dispatchEvent(new Event(input.type === "range" ? "input" : "change", {{bubbles: true}}));
  }};
  const selects = card.querySelectorAll(".attn-heads select");
  chosen.forEach(([name, value], i) => set(selects[i], name, value));
  const slider = card.querySelector("input[type=range]");
  return Array.from({{length: steps}}, (_, step) => {{
    set(slider, "value", step);
    return ({READ})(card);
  }});
}}"""


def press_keys(page: Any, card: Any, steps: int) -> None:
    """The slider goes where the keys send it, and no further."""
    slider = card.locator("input[type=range]")
    slider.focus()
    for key, step in [
        ("Home", 0), ("ArrowRight", 1), ("End", -1), ("ArrowRight", -1), ("ArrowLeft", -2),
    ]:  # fmt: skip
        page.keyboard.press(key)
        assert card.locator(".attn-count").text_content() == f"{step % steps + 1} / {steps}"
        assert slider.input_value() == str(step % steps)


def step_through(page: Any, card: Any, trace: dict[str, Any]) -> None:
    """Every step, from the first to the last, each compared with the trace."""
    steps = len(trace["target_tokens"])
    press_keys(page, card, steps)
    for step, shown in enumerate(card.evaluate(WALK, [[], steps])):
        check_step(shown, trace, step)


def through_heads(page: Any, card: Any, trace: dict[str, Any], *, all_heads: bool = False) -> None:
    """Whatever the selects say, step by step, is what stands in the trace.

    Of all layers and heads the first, the last and one between them, unless all are asked for.
    """
    measured = not card.locator(".attn-heads select").nth(1).is_visible()
    for one in trace["maps"]:
        says = "looks most at"
        if measured and one["kind"] != "source":
            says = "has its largest share at"
        layers = np.array(one["weights"])
        choices = [(layer, -1) for layer in range(len(layers))]
        choices += list(np.ndindex(layers.shape[:2]))
        if not all_heads:
            choices = [choices[place] for place in (0, len(choices) // 2, -1)]
        for layer, head in [(0, 0)] if measured else choices:
            chosen = [["value", one["kind"]]]
            if not measured:
                chosen += [["selectedIndex", layer], ["selectedIndex", head + 1]]
            weights = layers[layer].mean(axis=0) if head < 0 else layers[layer, head]
            seen = card.evaluate(WALK, [chosen, len(one["rows"])])
            for step, (word, shown) in enumerate(zip(one["rows"], seen, strict=True)):
                assert [float(number) for number in shown["weights"]] == pytest.approx(
                    weights[step], abs=0.0051
                )
                most = one["columns"][int(weights[step].argmax())]
                assert f"{says} “{most}”" in shown["status"]
                assert f"“{word}”" in shown["status"]
                assert [row[0] for row in shown["sourceTable"]] == one["columns"]
                rows = len(one["rows"]) if one["kind"] == "encoder" else step + 1
                assert len(shown["matrix"]) == rows
        press_keys(page, card, len(one["rows"]))


def as_json(trace: DecodingTrace) -> dict[str, Any]:
    return trace.to_dict(DECIMALS)


# -------------------------------------------------------------------------------- every step


@pytest.mark.parametrize(
    "trace",
    [plain, small, masked, blind, fixed, long],
    ids=["gold links", "numbers", "masked", "all masked", "without attention", "60 words"],
)
def test_every_step(show_bare, trace):
    page = show_bare(ScrubberFigure(trace).html())
    step_through(page, page.locator(".attn-scrubber"), as_json(trace))


def test_every_step_by_keyboard(show_bare):
    page = show_bare(ScrubberFigure(plain).html())
    card = page.locator(".attn-scrubber")
    slider = card.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    for step in range(len(plain.target_tokens)):
        if step:
            page.keyboard.press("ArrowRight")
        check_step(card.evaluate(READ), as_json(plain), step)


def test_arrows_home_and_end(show_bare):
    page = show_bare(ScrubberFigure(plain, step=3).html())
    slider = page.get_by_role("slider", name="Decoding step")
    assert slider.input_value() == "3"
    slider.focus()
    for key, step in [("ArrowLeft", 2), ("End", 7), ("ArrowRight", 7), ("ArrowUp", 7), ("Home", 0)]:
        page.keyboard.press(key)
        assert slider.input_value() == str(step)
        assert page.get_by_role("status").text_content().startswith(f"Step {step + 1} of 8:")
    assert slider.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_buttons_stop_at_the_ends(show_bare):
    page = show_bare(ScrubberFigure(small).html())
    back = page.get_by_role("button", name="Previous step")
    forward = page.get_by_role("button", name="Next step")
    slider = page.get_by_role("slider")
    assert back.get_attribute("aria-disabled") == "true"
    back.click(force=True)
    assert slider.input_value() == "0"
    for step in range(1, 5):
        forward.click()
        assert slider.input_value() == str(step)
    assert forward.get_attribute("aria-disabled") == "true"
    forward.click(force=True)
    assert slider.input_value() == "4"
    back.click()
    assert slider.input_value() == "3"
    assert forward.get_attribute("aria-disabled") == "false"


# ---------------------------------------------------------------------------------- the switch


def test_the_switch_shows_the_other_decoder(show_bare):
    page = show_bare(ScrubberFigure(plain, fixed, step=7).html())
    card = page.locator(".attn-scrubber")
    check_step(card.evaluate(READ), as_json(plain), 7)
    card.get_by_label("Without").check()
    # The other translation is shorter: its last step.
    check_step(card.evaluate(READ), as_json(fixed), 4)
    assert card.locator(".attn-model").text_content() == "example-fixed"
    step_through(page, card, as_json(fixed))
    card.get_by_label("With attention").check()
    check_step(card.evaluate(READ), as_json(plain), 4)
    step_through(page, card, as_json(plain))


def test_the_switch_is_worked_by_keyboard(show_bare):
    page = show_bare(ScrubberFigure(plain, fixed).html())
    page.get_by_label("With attention").focus()
    page.keyboard.press("ArrowRight")
    assert "no weights" in page.get_by_role("status").text_content()
    page.keyboard.press("ArrowLeft")
    assert "looks most at" in page.get_by_role("status").text_content()


def test_one_trace_has_no_switch(show_bare):
    page = show_bare(ScrubberFigure(plain).html())
    assert not page.get_by_role("radio").count()


# ------------------------------------------------------------------------------------ reading


def test_what_a_screen_reader_gets(show_bare):
    page = show_bare(ScrubberFigure(plain).html())
    status = page.get_by_role("status")
    assert status.get_attribute("aria-live") == "polite"
    assert page.get_by_role("img", name="Step 1, drawn").count() == 1
    page.get_by_text("This step in numbers").click()
    table = page.get_by_role("table", name="Source words")
    assert table.get_by_role("columnheader").all_text_contents() == [
        "source word",
        "score",
        "weight",
        "gold link",
    ]
    assert table.get_by_role("rowheader").all_text_contents() == list(plain.source_tokens)


def test_the_query_that_is_shown_is_the_one_that_asked(show_bare):
    """A dot product has its dot; where the state before the step asked, the page says so."""
    dot = replace(small, scores=small.decoder_states @ small.encoder_states.T)
    asked = np.random.default_rng(5).normal(size=small.decoder_states.shape)
    other = replace(small, queries=asked)
    page = show_bare(ScrubberFigure(dot).html(), ScrubberFigure(other).html())
    cards = page.locator(".attn-scrubber")
    assert [card.locator(".attn-operator").text_content() for card in cards.all()] == ["·", "↔"]
    stored = page.locator("script[type='application/json']").nth(1).text_content()
    step_through(page, cards.nth(1), json.loads(stored)["trace"])
    assert "new state" in cards.nth(1).text_content()
    assert "new state" not in cards.nth(0).text_content()


def test_every_head_of_every_layer(show_bare):
    page = show_bare(ScrubberFigure(heads).html())
    card = page.locator(".attn-scrubber")
    assert card.get_by_label("Layer", exact=True).input_value() == "1"  # the top one
    assert card.get_by_label("Head", exact=True).input_value() == "-1"
    through_heads(page, card, as_json(heads), all_heads=True)


def test_heads_are_chosen_by_keyboard(show_bare):
    page = show_bare(ScrubberFigure(heads).html())
    card = page.locator(".attn-scrubber")
    page.get_by_label("Attention", exact=True).focus()
    weights = heads.maps[1].weights
    page.keyboard.press("ArrowDown")
    seen = [(card.evaluate(READ)["weights"], weights[1, :, 0].mean(axis=0))]
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    seen.append((card.evaluate(READ)["weights"], weights[0, :, 0].mean(axis=0)))
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    seen.append((card.evaluate(READ)["weights"], weights[0, -1, 0]))
    for shown, stored in seen:
        assert [float(number) for number in shown] == pytest.approx(stored, abs=0.0051)


def test_measures_beside_the_weights(show_bare):
    """One select, and what it shows is called a share wherever it is not a weight."""
    page = show_bare(ScrubberFigure(measured).html())
    select = page.get_by_label("Shares by")
    assert not page.get_by_label("Layer", exact=True).is_visible()
    assert not page.get_by_label("Head", exact=True).is_visible()
    assert select.locator("option").all_text_contents() == [
        "weight", "gradient", "gradient × state", "word left out",
    ]  # fmt: skip
    for one in as_json(measured)["maps"]:
        select.select_option(value=one["kind"])
        noun = "weight" if one["kind"] == "source" else "share"
        assert f"{noun} 0" in page.locator(".attn-legend").text_content()
        assert f"{noun.capitalize()}s so far" in page.locator(".attn-matrix-block").text_content()
    through_heads(page, page.locator(".attn-scrubber"), as_json(measured))
    page.locator("summary").click()
    header = page.locator(".attn-table-source").get_by_role("columnheader")
    assert header.all_text_contents() == ["word", "share", "gold link"]


def test_one_head_has_no_selects(show_bare):
    page = show_bare(ScrubberFigure(plain).html())
    assert not page.locator(".attn-heads").is_visible()


@WIDTHS_AND_SCHEMES
def test_axe_finds_nothing(show_bare, width, scheme):
    parts = [
        ScrubberFigure(t, w).html() for t, w in [
            (plain, fixed), (small, None), (long, None), (heads, None), (measured, None),
        ]
    ]  # fmt: skip
    page = show_bare(*parts, width=width, scheme=scheme)
    for details in page.locator("summary").all():
        details.click()
    assert violations(page, ".attn-scrubber-figure") == []
    page.get_by_role("radio", name="Without").check()
    page.get_by_role("slider").first.press("End")
    assert violations(page, ".attn-scrubber-figure") == []


def test_axe_would_find_something(show_bare):
    page = show_bare(ScrubberFigure(plain).html())
    page.evaluate("document.querySelector('.attn-slider').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('.attn-card-status').style.color = '#ddd'")
    found = " ".join(violations(page, ".attn-scrubber-figure"))
    assert "color-contrast" in found
    assert "label" in found


@pytest.mark.parametrize("trace", [plain, small, long], ids=["5 words", "numbers", "60 words"])
@pytest.mark.parametrize("width", [320, 360, 800])
def test_only_the_figure_scrolls(show_bare, trace, width):
    page = show_bare(ScrubberFigure(trace, step=1).html(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    scrolls = page.evaluate(
        """() => [...document.querySelectorAll(".attn-scroll")].map(e => [
          e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1,
          e.tabIndex, e.getAttribute("role"), Boolean(e.ariaLabel)])"""
    )
    assert scrolls
    for overflows, tab_index, role, named in scrolls:
        assert (tab_index, role, named) == ((0, "group", True) if overflows else (-1, None, False))
    assert any(row[0] for row in scrolls) == (trace is long or width <= 360)
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 24


def test_the_heaviest_word_comes_into_view_and_the_page_stays(show_bare):
    page = show_bare('<div style="height:500px"></div>', ScrubberFigure(long).html(), width=360)
    page.get_by_role("slider").focus()
    before = page.evaluate("scrollY")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
        seen = page.evaluate(
            """() => {
              const box = document.querySelector(".attn-flow").getBoundingClientRect();
              const cells = [...document.querySelectorAll(".attn-weight")];
              const widths = [...document.querySelectorAll(".attn-ribbon")]
                .map(e => parseFloat(e.style.strokeWidth));
              const cell = cells[widths.indexOf(Math.max(...widths))].getBoundingClientRect();
              return cell.left >= box.left && cell.right <= box.right + 1;
            }"""
        )
        assert seen
        assert page.evaluate("scrollY") == before


def test_the_current_row_of_the_matrix_stays_in_view(show_bare):
    page = show_bare(ScrubberFigure(long).html())
    page.get_by_role("slider").press("End")
    assert page.evaluate(
        """() => {
          const box = document.querySelector(".attn-matrix-scroll").getBoundingClientRect();
          const row = document.querySelector(".attn-matrix-row.attn-current")
            .getBoundingClientRect();
          return row.top >= box.top && row.bottom <= box.bottom + 1;
        }"""
    )


def test_ribbons_run_from_each_word_to_the_context(show_bare):
    page = show_bare(ScrubberFigure(small, step=2).html(), width=700)
    ends = page.evaluate(
        """() => {
          const left = document.querySelector(".attn-grid").getBoundingClientRect().left;
          const middle = e => {
            const box = e.getBoundingClientRect();
            return box.left - left + box.width / 2;
          };
          const context = middle(document.querySelector(".attn-context-cell > *"));
          const values = [...document.querySelectorAll(".attn-row-values .attn-cell")];
          return [...document.querySelectorAll(".attn-ribbon")].map((path, i) => {
            const numbers = path.getAttribute("d").match(/-?[\\d.]+/g).map(Number);
            return [numbers[0] - middle(values[i]), numbers.at(-2) - context];
          });
        }"""
    )
    assert len(ends) == 4
    assert all(abs(offset) < 6 for pair in ends for offset in pair)


# -------------------------------------------------------------------------------------- themes

CARD = "getComputedStyle(document.querySelector('.attn-scrubber')).backgroundColor"
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 24, 30)"


@pytest.mark.parametrize(
    ("scheme", "theme", "colour"),
    [
        ("light", "", LIGHT),
        ("dark", "", DARK),
        ("dark", "document.documentElement.dataset.theme = 'light'", LIGHT),
        ("light", "document.documentElement.dataset.theme = 'dark'", DARK),
        ("light", "document.body.dataset.jpThemeLight = 'false'", DARK),
        ("dark", "document.body.dataset.jpThemeLight = 'true'", LIGHT),
        ("light", "document.body.className = 'vscode-dark'", DARK),
        ("dark", "document.body.className = 'vscode-light'", LIGHT),
        ("light", "document.documentElement.setAttribute('theme', 'dark')", DARK),
        ("dark", "document.documentElement.setAttribute('theme', 'light')", LIGHT),
    ],
)
def test_the_card_follows_its_host(show_bare, scheme, theme, colour):
    page = show_bare(ScrubberFigure(plain).html(), scheme=scheme)
    page.evaluate(theme or "0")
    assert page.evaluate(CARD) == colour


@pytest.mark.parametrize(
    ("scheme", "zero", "one"),
    [("light", LIGHT, "rgb(8, 48, 107)"), ("dark", DARK, "rgb(169, 211, 255)")],
)
def test_weights_run_from_the_background_to_the_end_of_one_ramp(show_bare, scheme, zero, one):
    sure = example(source="a b", target="x", masked=(1,))
    page = show_bare(ScrubberFigure(sure).html(), scheme=scheme)
    colours = page.evaluate(
        "[...document.querySelectorAll('.attn-weight')]"
        ".map(e => getComputedStyle(e).backgroundColor)"
    )
    assert colours == [one, zero]


# -------------------------------------------------------------------------------------- motion


def test_play_goes_on_by_itself_and_stops(show_bare):
    page = show_bare(ScrubberFigure(small).html(), alone=True)  # with a clock that would stay
    page.clock.install()
    slider = page.get_by_role("slider")
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(1400)
    page.clock.run_for(1400)
    assert slider.input_value() == "2"
    page.get_by_role("button", name="Stop").click()
    page.clock.run_for(5000)
    assert slider.input_value() == "2"
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(10000)
    assert slider.input_value() == "4"
    # At the end it has stopped, and begins again from the start.
    page.get_by_role("button", name="Play").click()
    assert slider.input_value() == "0"
    page.clock.run_for(1400)
    slider.press("ArrowRight")
    page.clock.run_for(5000)
    assert slider.input_value() == "2"


def test_nothing_moves_under_reduced_motion(show_bare):
    page = show_bare(ScrubberFigure(plain).html(), reduced_motion="reduce")
    play = page.get_by_role("button", name="Play")
    assert play.is_disabled()
    assert "reduced motion" in play.get_attribute("title")
    page.emulate_media(reduced_motion="no-preference")
    expect(play).to_be_enabled()
    play.click()
    page.emulate_media(reduced_motion="reduce")
    expect(play).to_be_disabled()
    moving = page.evaluate(
        """() => [...document.querySelectorAll(".attn-scrubber *")].filter(e => {
          const style = getComputedStyle(e);
          return style.animationName !== "none" || style.transitionDuration !== "0s";
        }).length"""
    )
    assert moving == 0


# --------------------------------------------------------------------------------- other media


def test_paper_gets_the_last_step_and_its_table(show_bare):
    page = show_bare(ScrubberFigure(plain, step=2).html())
    card = page.locator(".attn-scrubber")
    page.emulate_media(media="print")
    page.wait_for_function("document.querySelector('.attn-details').open")
    check_step(card.evaluate(READ), as_json(plain), 7)
    assert not page.get_by_role("slider").is_visible()
    page.emulate_media(media="screen")
    page.wait_for_function("!document.querySelector('.attn-details').open")
    check_step(card.evaluate(READ), as_json(plain), 2)


def test_without_javascript_there_is_the_table(show_bare):
    page = show_bare(ScrubberFigure(plain).html(), javascript=False)
    rows = page.locator(".attn-fallback tr").all_inner_texts()
    assert rows[0].split("\t") == ["writes", "probability", *plain.source_tokens]
    assert page.locator(".attn-fallback").is_visible()


def test_with_javascript_the_table_gives_way(show_bare):
    page = show_bare(ScrubberFigure(plain).html())
    assert not page.locator(".attn-fallback").is_visible()


def test_figures_of_one_page_do_not_meddle(show_bare):
    page = show_bare(
        ScrubberFigure(plain, fixed).html(),
        ScrubberFigure(plain, fixed).html(),
        ScrubberFigure(small).html(),
    )
    cards = page.locator(".attn-scrubber")
    assert cards.count() == 3
    cards.nth(1).get_by_label("Without").check()
    cards.nth(2).get_by_role("slider").press("End")
    check_step(cards.nth(0).evaluate(READ), as_json(plain), 0)
    check_step(cards.nth(1).evaluate(READ), as_json(fixed), 0)
    check_step(cards.nth(2).evaluate(READ), as_json(small), 4)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    names = page.evaluate("[...document.querySelectorAll('[type=radio]')].map(e => e.name)")
    assert len(set(names)) == 3


# --------------------------------------------------------------------------------- the widget

HOST = """async ([code, state]) => {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const handlers = {};
  window.saved = [];
  window.model = {
    get: name => state[name],
    set: (name, value) => { state[name] = value; },
    save_changes: () => saved.push([state.step, state.attention_on]),
    on: (event, handler) => { handlers[event] = handler; },
    off: event => { delete handlers[event]; },
    // What Python does: change a trait and tell the page.
    python(name, value) { state[name] = value; handlers[`change:${name}`](); },
    listening: () => Object.keys(handlers).length,
  };
  const el = document.createElement("div");
  document.querySelector("main").append(el);
  window.leave = widget.render({ model, el });
}"""


@pytest.fixture
def widget(show_bare) -> Any:
    page = show_bare(head=f"<style>{ScrubberFigure.styles()}</style>")
    code = ScrubberFigure.module()
    state = {
        "trace": as_json(plain),
        "without": as_json(fixed),
        "step": 1,
        "attention_on": True,
        "message": "",
        "kind": "source",
        "layer": None,
        "head": -1,
    }
    page.evaluate(HOST, [code, state])
    return page


def test_the_hand_moves_python(widget):
    widget.get_by_role("slider").press("ArrowRight")
    assert widget.evaluate("saved") == [[2, True]]
    widget.get_by_label("Without").check()
    assert widget.evaluate("saved.at(-1)") == [2, False]


def test_python_moves_the_figure(widget):
    card = widget.locator(".attn-scrubber")
    widget.evaluate("model.python('step', 5)")
    check_step(card.evaluate(READ), as_json(plain), 5)
    widget.evaluate("model.python('attention_on', false)")
    check_step(card.evaluate(READ), as_json(fixed), 4)
    widget.evaluate("trace => model.python('without', null)")
    assert not widget.get_by_role("radio").count()
    widget.evaluate("trace => model.python('trace', trace)", as_json(small))
    check_step(card.evaluate(READ), as_json(small), 4)
    assert widget.evaluate("saved") == []  # nothing comes back that Python itself has said


def test_heads_travel_both_ways(widget):
    widget.evaluate("trace => model.python('trace', trace)", as_json(heads))
    widget.get_by_label("Head", exact=True).select_option(index=3)
    widget.get_by_label("Layer", exact=True).select_option(index=0)
    widget.get_by_label("Attention", exact=True).select_option(value="written")
    chosen = [widget.evaluate(f"model.get('{name}')") for name in ("kind", "layer", "head")]
    assert chosen == ["written", 0, 2]
    widget.evaluate("model.python('layer', 1)")
    widget.evaluate("model.python('head', 0)")
    weights = widget.locator(".attn-scrubber").evaluate(READ)["weights"]
    assert [float(w) for w in weights] == pytest.approx(heads.maps[1].weights[1, 0, 1], abs=0.0051)


def test_a_message_stands_in_the_card(widget):
    alert = widget.get_by_role("alert")
    assert not alert.is_visible()
    widget.evaluate("model.python('message', 'There is no <word>.')")
    assert alert.text_content() == "There is no <word>."
    widget.evaluate("model.python('message', '')")
    assert not alert.is_visible()


def test_a_closed_view_leaves_nothing_behind(widget):
    assert widget.evaluate("model.listening()") == 8
    widget.evaluate("leave()")
    assert widget.evaluate("model.listening()") == 0
    assert not widget.locator(".attn-scrubber").count()


# ------------------------------------------------------------------------------ the built site


def pages_with_figures(part: str = "trace") -> list[str]:
    """Every page of the built site that holds a scrubber, or one whose trace has a part."""
    texts = {path: path.read_text(encoding="utf-8") for path in SITE.rglob("*.html")}
    return sorted(
        str(path.relative_to(SITE))
        for path, text in texts.items()
        if 'class="attn-scrubber-figure"' in text and f'"{part}":' in text
    )


def work(page: Any, figure: Any, *, all_heads: bool = False) -> None:
    """A figure of the site shows all that is stored in it, and its switch shows the other one."""
    data = json.loads(figure.locator("script[type='application/json']").text_content())
    card = figure.locator(".attn-scrubber")
    if data["trace"].get("maps"):
        through_heads(page, card, data["trace"], all_heads=all_heads)
    else:
        step_through(page, card, data["trace"])
    if data["without"]:
        card.get_by_label("Without").check()
        step_through(page, card, data["without"])
        card.get_by_label("With attention").check()


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", pages_with_figures("maps"))
def test_every_head_of_the_sites_figures(open_page, path):
    visit = open_page(path)
    for figure in visit.page.locator(".attn-scrubber-figure").all():
        work(visit.page, figure, all_heads=True)
    assert visit.problems() == []


@pytest.mark.parametrize("path", pages_with_figures())
def test_the_sites_figures_hold_valid_traces(site, path):
    html = (site / path).read_text(encoding="utf-8")
    start = '<script type="application/json">'
    stored = [part.split("</script>")[0] for part in html.split(start)[1:]]
    figures = [json.loads(text) for text in stored if '"trace"' in text]
    assert figures
    for data in figures:
        for name in ("trace", "without"):
            if data[name] is not None:
                DecodingTrace.from_dict(data[name])
