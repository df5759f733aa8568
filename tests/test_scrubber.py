"""The scrubber's Python side: traits, stored HTML, the explorer."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import ipywidgets
import numpy as np
import pytest
import torch

from attnbook import decoding
from attnbook.figures import scrubber
from attnbook.figures.scrubber import Explorer, Scrubber, ScrubberFigure, explore
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.trace import DecodingTrace
from attnbook.vocabulary import Vocabulary
from example_traces import example, example_with_heads

WIDGET = "application/vnd.jupyter.widget-view+json"

dot = example()
fixed = example(target="i would like beer <eos>", attends=False, model="example-fixed", seed=1)
other = example(source="je suis étudiant <eos>", target="i am a student <eos>", width=3)


# ------------------------------------------------------------------------------------ widget


def test_it_starts_where_it_is_told():
    figure = Scrubber(dot, fixed, step=2)
    assert (figure.step, figure.attention_on, figure.shown) == (2, True, dot)
    assert repr(figure) == "Scrubber('ich möchte ein bier <eos>', step=2)"


@pytest.mark.parametrize("step", [-1, 8])
def test_a_step_that_is_not_there_is_refused(step):
    with pytest.raises(ValueError, match=f"step: this figure has steps 0 to 7, got {step}"):
        Scrubber(dot, step=step)
    figure = Scrubber(dot, step=3)
    with pytest.raises(ValueError, match="step: this figure has steps 0 to 7"):
        figure.step = step
    assert figure.step == 3


def test_traces_of_different_sentences_are_refused():
    message = "one source sentence, got 'ich möchte ein bier <eos>' and 'je suis étudiant <eos>'"
    with pytest.raises(ValueError, match=message):
        Scrubber(dot, other)
    figure = Scrubber(dot)
    with pytest.raises(ValueError, match=message):
        figure.without = other
    with pytest.raises(ValueError, match="one source sentence"):
        Scrubber(dot, fixed).trace = other


def test_a_decoder_may_have_read_the_sentence_backwards():
    backwards = example(source="<eos> bier ein möchte ich", attends=False)
    assert Scrubber(dot, backwards).without is backwards


@pytest.mark.parametrize(("trace", "without"), [("a", None), (dot, "b"), (None, None)])
def test_what_is_not_a_trace_is_refused(trace, without, as_user):
    with pytest.raises(ValueError, match=r"(trace|without): expected a DecodingTrace, got"):
        Scrubber(trace, without)


def test_the_switch_keeps_the_step_inside():
    figure = Scrubber(dot, fixed, step=7)
    figure.attention_on = False
    assert figure.shown is fixed
    assert figure.step == 4
    figure.attention_on = True
    assert figure.step == 4


def test_the_source_has_as_many_steps_as_words():
    widget = Scrubber(example_with_heads(), step=7)
    widget.kind = "encoder"
    assert widget.step == 4
    with pytest.raises(ValueError, match="steps 0 to 4, got 5"):
        widget.step = 5
    widget.kind = "written"
    widget.step = 7


def test_another_trace_keeps_the_step_inside():
    figure = Scrubber(dot, step=7)
    figure.trace = other
    assert figure.step == 4


def test_show_replaces_both_and_begins_again():
    figure = Scrubber(dot, fixed, step=3)
    figure.show(other)
    assert (figure.trace, figure.without, figure.step) == (other, None, 0)
    figure.show(dot, fixed)
    assert (figure.trace, figure.without) == (dot, fixed)
    with pytest.raises(ValueError, match="one source sentence"):
        figure.show(other, fixed)
    assert figure.trace is dot


def test_the_page_gets_plain_json_and_gives_it_back():
    figure = Scrubber(example(masked=(1,)), fixed)
    state = figure.get_state(["trace", "without", "step", "attention_on", "message"])
    text = json.dumps(state, allow_nan=False)
    assert json.loads(text)["trace"]["scores"][0][1] is None
    assert state["without"]["weights"] is None
    assert figure.get_state("without")["without"]["model"] == "example-fixed"

    figure.set_state({"attention_on": False, "step": 4})
    assert (figure.attention_on, figure.step) == (False, 4)
    figure.set_state({"trace": dot.to_dict(), "without": None})
    assert figure.trace == dot
    assert figure.without is None


# --------------------------------------------------------------------------------- stored HTML


def bundle(widget) -> dict[str, object]:
    data, _metadata = widget._repr_mimebundle_()
    return data


def test_a_stored_output_holds_widget_html_and_text():
    data = bundle(Scrubber(dot, fixed, step=2))
    assert set(data) == {WIDGET, "text/html", "text/plain"}
    assert data["text/plain"] == "Scrubber('ich möchte ein bier <eos>', step=2)"


def test_the_same_figure_gives_the_same_output():
    one, two = bundle(Scrubber(dot, fixed)), bundle(Scrubber(example(), fixed))
    assert one["text/html"] == two["text/html"]
    assert one["text/plain"] == two["text/plain"]


def test_the_html_needs_nothing_beside_it():
    html = ScrubberFigure(dot, fixed).html()
    assert not re.search(r"""(src|href)\s*=|@import|url\(|https?://(?!www\.w3\.org/)""", html)
    assert "export " not in html.replace("export default", "")
    assert not re.search(r"^export ", html, re.MULTILINE)
    assert " id=" not in html  # ids are given in the page, or two figures would share them


class Reader(HTMLParser):
    """Collects the JSON of a figure and the rows of its table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.data = ""
        self.scripts = 0
        self._into: str | None = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "script":
            self.scripts += 1
            self._into = "json" if ("type", "application/json") in attrs else "js"
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._into = "cell"
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._into = None

    def handle_data(self, data):
        if self._into == "json":
            self.data += data
        elif self._into == "cell":
            self.rows[-1][-1] += data


def test_the_html_carries_the_traces_and_a_table():
    page = Reader(ScrubberFigure(dot, fixed, step=3).html())
    data = json.loads(page.data)
    assert data["step"] == 3
    stored = DecodingTrace.from_dict(data["trace"])
    assert stored.weights is not None
    assert dot.weights is not None
    np.testing.assert_allclose(stored.weights, dot.weights, atol=1e-4)
    assert DecodingTrace.from_dict(data["without"]).target_tokens == fixed.target_tokens
    assert page.rows[0] == ["writes", "probability", *dot.source_tokens]
    assert len(page.rows) == 1 + len(dot.target_tokens)


def test_a_word_cannot_end_the_script_or_become_markup():
    nasty = example(source="</script><b> & <eos>", target="<i> <eos>")
    html = ScrubberFigure(nasty).html()
    page = Reader(html)
    assert page.scripts == 2
    assert json.loads(page.data)["trace"]["source_tokens"][0] == "</script><b>"
    assert page.rows[0][2:] == ["</script><b>", "&", "<eos>"]
    assert "<b>" not in html.replace(json.dumps("</script><b>").replace("</", "<\\/"), "")


def table_of(trace: DecodingTrace) -> tuple[list[str], list[list[str]]]:
    (table,) = ScrubberFigure(trace).tables()
    return table.head, table.rows


def test_table_of_weights_where_they_fit():
    trace = example(masked=(2,))
    assert trace.weights is not None
    head, rows = table_of(trace)
    assert head == ["writes", "probability", "ich", "möchte", "ein", "bier", "<eos>"]
    assert rows[4][0] == "beer"
    assert rows[4][1] == f"{np.exp(trace.log_probs[4]):.2f}"
    assert rows[4][2:] == [f"{w:.2f}" for w in trace.weights[4]]
    assert rows[0][4] == "0.00"


def test_table_of_steps_for_a_long_sentence():
    trace = example(source=" ".join("abcdefghijklm"), target="a b c")
    head, rows = table_of(trace)
    assert head == ["step", "writes", "probability", "looks most at", "weight"]
    assert trace.weights is not None
    most = int(trace.weights[1].argmax())
    assert rows[1][0] == "2"
    assert rows[1][3:] == ["abcdefghijklm"[most], f"{trace.weights[1, most]:.2f}"]


def test_table_where_nothing_is_seen():
    words = " ".join("abcdefghijklm")
    _, rows = table_of(example(source=words, masked=tuple(range(13))))
    assert rows[0][3:] == ["–", "0.00"]
    head, rows = table_of(fixed)
    assert head == ["step", "writes", "probability"]
    assert rows[-1][:2] == ["5", "<eos>"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.004, "0.00"), (-0.006, "−0.01"), (1.0, "1.00"), (float("-inf"), "−∞"), (-12.3, "−12.30")],
)
def test_two_decimals(value, text):
    assert scrubber._two(value) == text


# ---------------------------------------------------------------------------------- other hosts


def test_ipywidgets_7_shows_the_bundle_too(monkeypatch):
    # Its display method would come first and would know nothing of the HTML.
    shown = []
    monkeypatch.setattr(
        ipywidgets.Widget, "_ipython_display_", lambda self, **_: shown.append(self), raising=False
    )
    figure = Scrubber(dot)
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert not shown

    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    figure._ipython_display_()
    assert shown == [figure]


def test_a_bundle_is_made_where_the_widget_has_none(monkeypatch):
    monkeypatch.delattr(ipywidgets.Widget, "_repr_mimebundle_", raising=False)
    panel = explorer()
    data: dict[str, Any] = bundle(panel)
    assert data[WIDGET]["model_id"] == panel.model_id
    assert "text/html" in data


def test_in_colab_the_live_widget_stands_alone(monkeypatch):
    figure = Scrubber(dot)
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    assert set(bundle(figure)) == {WIDGET, "text/plain"}


# ------------------------------------------------------------------------------------ explorer


class Fake:
    """Stands in for :func:`attnbook.decoding.decode` and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[dict[str, object]] = []

    def __call__(self, translator, tokens, *, beam_size=1, temperature=1.0, masked=()):
        self.calls.append(
            {
                "model": translator.name,
                "tokens": tuple(tokens),
                "beam_size": beam_size,
                "temperature": temperature,
                "masked": tuple(masked),
            }
        )
        if tuple(tokens) == ("zu", "lang"):
            raise ValueError("tokens: 2 words are more than this model can read")
        words = " ".join([*tokens, "<eos>"])
        return example(
            source=words,
            target=words.upper(),
            masked=tuple(masked),
            attends="dot" in translator.name,
        )


def model(name: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, source_vocabulary={"ich", "mag", "bier"}, source_tokens=list)


def explorer(decode: Callable | None = None, without: object = None) -> Explorer:
    return explore(
        model("dot"), "ich mag bier", without, decode=decode or Fake(), tokenize=str.split
    )


def test_the_controls_decode_again():
    decode = Fake()
    panel = explorer(decode)
    plain = {
        "model": "dot",
        "tokens": ("ich", "mag", "bier"),
        "beam_size": 1,
        "temperature": 1.0,
        "masked": (),
    }
    assert decode.calls == [plain]
    panel.beam.value = 4
    panel.temperature.value = 0.5
    panel.masks[2].value = True
    assert decode.calls[1:] == [
        plain | {"beam_size": 4},
        plain | {"beam_size": 4, "temperature": 0.5},
        plain | {"beam_size": 4, "temperature": 0.5, "masked": (2,)},
    ]
    assert panel.scrubber.trace.weights is not None
    assert np.all(panel.scrubber.trace.weights[:, 2] == 0)
    assert panel.scrubber.message == ""


def test_a_change_keeps_the_step():
    panel = explorer()
    panel.scrubber.step = 2
    panel.temperature.value = 2.0
    assert panel.scrubber.step == 2


def test_another_sentence_has_its_own_masks():
    decode = Fake()
    panel = explorer(decode)
    panel.masks[0].value = True
    panel.scrubber.step = 3
    panel.sentence.value = "bier"
    assert [mask.description for mask in panel.masks] == ["bier"]
    assert decode.calls[-1]["masked"] == ()
    assert panel.scrubber.trace.source_tokens == ("bier", "<eos>")
    assert panel.scrubber.step == 0
    panel.masks[0].value = True
    assert decode.calls[-1]["masked"] == (0,)


def test_without_attention_there_is_nothing_to_mask_or_heat():
    decode = Fake()
    panel = explorer(decode, without=model("fixed"))
    panel.temperature.value = 3.0
    panel.masks[1].value = True
    last = decode.calls[-1]
    assert (last["model"], last["temperature"], last["masked"]) == ("fixed", 1.0, ())
    assert panel.scrubber.without is not None
    assert panel.scrubber.without.model == "example-dot"
    assert not panel.scrubber.without.attends


def test_unknown_words_are_named_once():
    panel = explorer()
    panel.sentence.value = "ich mag wein wein gern"
    assert panel.scrubber.message == "Not among the model's words, read as <unk>: wein, gern."
    panel.sentence.value = "ich mag bier"
    assert panel.scrubber.message == ""


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_sentence_is_answered_in_the_card(text):
    decode = Fake()
    panel = explorer(decode)
    panel.sentence.value = text + " "
    panel.sentence.value = text
    assert panel.scrubber.message.startswith("There is no word to translate. Type a sentence")
    assert len(decode.calls) == 1
    assert panel.scrubber.trace.source_tokens == ("ich", "mag", "bier", "<eos>")


def test_what_the_decoder_refuses_is_said_in_the_card():
    panel = explorer()
    before = panel.scrubber.trace
    panel.sentence.value = "zu lang"
    assert panel.scrubber.message == "tokens: 2 words are more than this model can read"
    assert panel.scrubber.trace is before


def test_the_first_sentence_needs_a_word():
    with pytest.raises(ValueError, match="sentence: there is no word in it"):
        explore(model("dot"), " ", decode=Fake(), tokenize=str.split)


def test_the_stored_explorer_says_what_needs_a_kernel():
    data = bundle(explorer())
    assert data["text/plain"] == "Explorer('ich mag bier')"
    assert "need a running kernel" in str(data["text/html"])
    assert "need a running kernel" not in str(bundle(Scrubber(dot))["text/html"])


def test_a_widget_says_nothing_until_it_is_asked():
    with pytest.raises(NotImplementedError):
        scrubber._Stored()._stored_html()


@pytest.mark.parametrize("decoder", ["luong", "cho"])
def test_a_real_translator_is_explored(decoder):
    torch.manual_seed(0)
    source, target = Vocabulary(["ich", "mag", "bier"]), Vocabulary(["i", "like", "beer"])
    attending = Translator.from_config(
        RecurrentConfig(embedding_dim=5, hidden_dim=7, decoder="luong"), source, target
    )
    translator = Translator.from_config(
        RecurrentConfig(embedding_dim=5, hidden_dim=7, decoder=decoder), source, target
    )
    panel = explore(attending, "Ich mag Bier", translator)
    expected = decoding.decode(attending, ["ich", "mag", "bier"])
    assert panel.scrubber.trace == expected
    assert panel.scrubber.without is not None
    assert panel.scrubber.without.attends == (decoder == "luong")
    panel.masks[1].value = True
    panel.temperature.value = 2.0
    panel.beam.value = 3
    expected = decoding.decode(
        attending, ["ich", "mag", "bier"], beam_size=3, temperature=2.0, masked=(1,)
    )
    assert panel.scrubber.trace == expected
    panel.sentence.value = "ich mag wein"
    assert panel.scrubber.message.endswith("<unk>: wein.")
