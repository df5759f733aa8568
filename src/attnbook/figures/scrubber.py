"""A trace that one can step through: the scrubber, as a widget and as a piece of a page.

``scrubber.js`` draws it in two hosts. In a notebook with a kernel, :class:`Scrubber` is an
`anywidget` whose ``step`` and switch travel both ways between page and Python. Without a kernel
(the course's site, ``nbconvert``, a notebook opened to be read) its stored HTML output draws the
same figure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import anywidget
import ipywidgets
import numpy as np
import traitlets

from attnbook.figures.embedded import LiveFigure, Table
from attnbook.trace import KINDS, MEASURES, DecodingTrace

__all__ = [
    "Explorer",
    "Scrubber",
    "ScrubberFigure",
    "explore",
]

DECIMALS = 4  # digits after the point that travel into a page; it shows two
_WIDE_TABLE = 12  # source words; above, a table of all weights is too wide to read


def _checked_pair(trace: DecodingTrace, without: DecodingTrace | None) -> None:
    if not isinstance(trace, DecodingTrace):
        raise ValueError(f"trace: expected a DecodingTrace, got {type(trace).__name__}")
    if without is None:
        return
    if not isinstance(without, DecodingTrace):
        raise ValueError(f"without: expected a DecodingTrace, got {type(without).__name__}")
    # A decoder may have read the sentence backwards; its words are the same.
    if sorted(without.source_tokens) != sorted(trace.source_tokens):
        raise ValueError(
            "without: both traces must come from one source sentence, got "
            f"{' '.join(trace.source_tokens)!r} and {' '.join(without.source_tokens)!r}"
        )


def _two(value: float) -> str:
    """Two decimals as the figure writes them: a true minus, no minus before 0.00."""
    if value == float("-inf"):
        return "−∞"
    text = f"{abs(value):.2f}"
    return f"−{text}" if value < 0 and float(text) != 0 else text


def _to_json(trace: DecodingTrace | None, _widget: Any = None) -> Any:
    return None if trace is None else trace.to_dict(DECIMALS)


@dataclass(frozen=True)
class ScrubberFigure(LiveFigure):
    """A trace to step through, and optionally one without attention to switch to.

    Args:
        trace: the sentence to show.
        without: the same source sentence, decoded without attention; adds a switch.
        step: the step shown first, counted from 0.

    Raises:
        ValueError: the traces do not read the same sentence.
    """

    name: ClassVar[str] = "scrubber"
    sheets: ClassVar[tuple[str, ...]] = ("card", "scrubber")

    trace: DecodingTrace
    without: DecodingTrace | None = None
    step: int = 0

    def __post_init__(self) -> None:
        """Refuse traces of different sentences."""
        _checked_pair(self.trace, self.without)

    def data(self) -> dict[str, Any]:
        """Both traces and the step."""
        return {
            "trace": _to_json(self.trace),
            "without": _to_json(self.without),
            "step": self.step,
        }

    def tables(self) -> list[Table]:
        """The whole trace as one table.

        A short sentence shows all weights, source across and translation down. A long one, or one
        decoded without attention, shows for each step the word, its probability and where the
        largest weight lies.
        """
        trace = self.trace
        probabilities = [_two(float(p)) for p in np.exp(trace.log_probs)]
        written = list(zip(trace.target_tokens, probabilities, strict=True))
        if trace.weights is not None and len(trace.source_tokens) <= _WIDE_TABLE:
            rows = [
                [*pair, *(_two(float(weight)) for weight in row)]
                for pair, row in zip(written, trace.weights, strict=True)
            ]
            return [Table(["writes", "probability", *trace.source_tokens], rows)]
        head = ["step", "writes", "probability"]
        rows = [[str(step), *pair] for step, pair in enumerate(written, start=1)]
        if trace.weights is not None:
            head += ["looks most at", "weight"]
            for row, weights in zip(rows, trace.weights, strict=True):
                most = int(weights.argmax())
                seen = weights[most] > 0
                row += [trace.source_tokens[most] if seen else "–", _two(float(weights[most]))]
        return [Table(head, rows)]


def _in_colab() -> bool:
    return "google.colab" in sys.modules


class _Stored:
    """Mixed into a widget: what it shows is stored as HTML too, for a page without a kernel."""

    model_id: str

    def _stored_html(self) -> str:
        raise NotImplementedError

    def _ipython_display_(self, **kwargs: Any) -> None:
        # ipywidgets 7 (Colab) displays by this method, which would hide the bundle below. Colab
        # keeps a kernel for whatever it shows, so there the widget's own way is the right one.
        live = getattr(super(), "_ipython_display_", None)
        if live is None or not _in_colab():
            raise NotImplementedError("shown by its bundle")
        live(**kwargs)

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        data: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        if (inherited := getattr(super(), "_repr_mimebundle_", None)) is not None:
            shown = inherited()
            data, metadata = shown if isinstance(shown, tuple) else (shown, {})
        else:  # ipywidgets 7
            view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            data = {"application/vnd.jupyter.widget-view+json": view}
        # The default text holds an address in memory, which no stored output could repeat.
        data = {**data, "text/plain": repr(self)}
        if not _in_colab():
            data["text/html"] = self._stored_html()
        return data, metadata


def _from_json(data: Any, _widget: Any) -> DecodingTrace | None:
    return None if data is None else DecodingTrace.from_dict(data)


_TRACE = {"sync": True, "to_json": _to_json, "from_json": _from_json}


class Scrubber(_Stored, anywidget.AnyWidget):
    """A trace, step by step, with everything that the decoder computed.

    Args:
        trace: the sentence to show.
        without: the same source sentence, decoded without attention; adds a switch.
        step: the step shown first, counted from 0.

    The attributes ``step``, ``attention_on`` (the switch), ``trace``, ``without``, ``kind``,
    ``layer``, ``head`` (of a model with several) and ``message`` (a line in the card, for instance
    about an unknown word) can be read and set. The figure
    follows, and they follow the reader's hand.

    Raises:
        ValueError: the traces do not read the same sentence, or there is no such step.
    """

    _esm = ScrubberFigure.module()
    _css = ScrubberFigure.styles()

    trace = traitlets.Instance(DecodingTrace).tag(**_TRACE)
    without = traitlets.Instance(DecodingTrace, allow_none=True).tag(**_TRACE)
    step = traitlets.Int(0).tag(sync=True)
    attention_on = traitlets.Bool(True).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)
    # Of a model with several heads: which attention, which layer (None is the top one), which head
    # (-1 is the mean of all).
    kind = traitlets.Enum(KINDS + MEASURES, "source").tag(sync=True)
    layer = traitlets.Int(None, allow_none=True, min=0).tag(sync=True)
    head = traitlets.Int(-1, min=-1).tag(sync=True)

    def __init__(
        self, trace: DecodingTrace, without: DecodingTrace | None = None, step: int = 0
    ) -> None:
        _checked_pair(trace, without)
        # One at a time: which steps there are depends on the trace.
        super().__init__(trace=trace, without=without)
        self.step = step

    @property
    def shown(self) -> DecodingTrace:
        """The trace in view: the one that the switch chooses."""
        chosen = self.trace if self.attention_on or self.without is None else self.without
        return cast("DecodingTrace", chosen)

    @property
    def figure(self) -> ScrubberFigure:
        """What is shown now, for a page without a kernel."""
        return ScrubberFigure(self.trace, self.without, self.step)

    def show(self, trace: DecodingTrace, without: DecodingTrace | None = None) -> None:
        """Show another sentence, from its first step on."""
        _checked_pair(trace, without)
        self.without = None
        self.step = 0
        self.trace = trace
        self.without = without

    def _rows(self) -> int:
        """Steps in view; where the source looks at itself, its words."""
        trace = self.shown
        inside = trace.maps and self.kind == "encoder"
        return len(trace.source_tokens if inside else trace.target_tokens)

    @traitlets.validate("step")
    def _valid_step(self, proposal: Any) -> int:
        step, last = int(proposal["value"]), self._rows() - 1
        if not 0 <= step <= last:
            raise ValueError(f"step: this figure has steps 0 to {last}, got {step}")
        return step

    @traitlets.validate("trace")
    def _valid_trace(self, proposal: Any) -> DecodingTrace:
        _checked_pair(proposal["value"], self.without)
        return cast("DecodingTrace", proposal["value"])

    @traitlets.validate("without")
    def _valid_without(self, proposal: Any) -> DecodingTrace | None:
        _checked_pair(self.trace, proposal["value"])
        return cast("DecodingTrace | None", proposal["value"])

    @traitlets.observe("trace", "without", "attention_on", "kind")
    def _keep_step_inside(self, _change: Any) -> None:
        self.step = min(self.step, self._rows() - 1)

    def __repr__(self) -> str:
        """The sentence and the step: the same text for the same figure."""
        return f"Scrubber({' '.join(self.trace.source_tokens)!r}, step={self.step})"

    def _stored_html(self) -> str:
        return self.figure.html()


class Explorer(_Stored, ipywidgets.VBox):
    """A scrubber with controls for what only a running model can answer; see :func:`explore`.

    Attributes:
        scrubber: the figure.
        sentence: the text box.
        temperature: the slider for the attention's softmax temperature.
        beam: the slider for the beam size.
        masks: one check box for each source word.
    """

    def __init__(
        self,
        translator: Any,
        sentence: str,
        without: Any = None,
        *,
        decode: Callable[..., DecodingTrace],
        tokenize: Callable[[str], Sequence[str]],
    ) -> None:
        self._translator = translator
        self._without = without
        self._decode = decode
        self._tokenize = tokenize
        self._words = list(tokenize(sentence))
        if not self._words:
            raise ValueError("sentence: there is no word in it; give one to start from")
        wide = {"description_width": "110px"}
        self.sentence = ipywidgets.Text(
            value=sentence,
            description="Sentence",
            continuous_update=False,
            style=wide,
            layout={"width": "auto"},
        )
        self.temperature = ipywidgets.FloatLogSlider(
            value=1.0,
            base=10,
            min=-1,
            max=1,
            step=0.05,
            readout_format=".2f",
            description="Temperature",
            continuous_update=False,
            style=wide,
        )
        self.beam = ipywidgets.IntSlider(
            value=1, min=1, max=10, description="Beam size", continuous_update=False, style=wide
        )
        self.masks: list[Any] = []
        self._mask_row = ipywidgets.Box(layout={"flex_flow": "row wrap"})
        self._new_masks()
        self.scrubber = Scrubber(*self._decoded())
        self._report()
        for control in (self.temperature, self.beam):
            control.observe(self._settings_changed, names="value")
        self.sentence.observe(self._sentence_changed, names="value")
        super().__init__(
            [self.sentence, self.temperature, self.beam, self._mask_row, self.scrubber]
        )

    def _new_masks(self) -> None:
        self.masks = [
            ipywidgets.Checkbox(
                value=False,
                description=word,
                indent=False,
                layout={"width": "auto", "margin": "0 12px 0 0"},
            )
            for word in self._words
        ]
        for mask in self.masks:
            mask.observe(self._settings_changed, names="value")
        self._mask_row.children = (ipywidgets.Label("Hide from the attention:"), *self.masks)

    def _decoded(self) -> tuple[DecodingTrace, DecodingTrace | None]:
        hidden = tuple(i for i, mask in enumerate(self.masks) if mask.value)
        trace = self._decode(
            self._translator,
            self._words,
            beam_size=self.beam.value,
            temperature=self.temperature.value,
            masked=hidden,
        )
        if self._without is None:
            return trace, None
        # Nothing to mask and no softmax to heat where there is no attention.
        return trace, self._decode(self._without, self._words, beam_size=self.beam.value)

    def _report(self, problem: str = "") -> None:
        vocabulary = self._translator.source_vocabulary
        read = dict.fromkeys(self._translator.source_tokens(self._words))
        unknown = [token for token in read if token not in vocabulary]
        if not problem and unknown:
            problem = f"Not among the model's words, read as <unk>: {', '.join(unknown)}."
        self.scrubber.message = problem

    def _settings_changed(self, _change: Any) -> None:
        step = self.scrubber.step
        try:
            self.scrubber.show(*self._decoded())
        except ValueError as error:
            self._report(str(error))
            return
        self.scrubber.step = min(step, len(self.scrubber.shown.target_tokens) - 1)
        self._report()

    def _sentence_changed(self, change: Any) -> None:
        words = list(self._tokenize(change["new"]))
        if not words:
            self._report("There is no word to translate. Type a sentence and press Enter.")
            return
        self._words = words
        self._new_masks()
        self.scrubber.step = 0
        self._settings_changed(change)

    def __repr__(self) -> str:
        """The sentence: the same text for the same figure."""
        return f"Explorer({' '.join(self._words)!r})"

    def _stored_html(self) -> str:
        note = (
            "This is one stored translation. Your own sentence, the temperature, the masks and the "
            "beam need a running kernel: open the notebook in Colab or Jupyter."
        )
        return self.scrubber.figure.html(note)


def explore(
    translator: Any,
    sentence: str,
    without: Any = None,
    *,
    decode: Callable[..., DecodingTrace] | None = None,
    tokenize: Callable[[str], Sequence[str]] | None = None,
) -> Explorer:
    """A scrubber with a text box, a softmax temperature, masks for source words and a beam size.

    Every change decodes again. What cannot be decoded (no words) is said in the card, and a word
    that the model does not know is named there.

    Args:
        translator: a :class:`~attnbook.seq2seq.Translator` that attends.
        sentence: the source sentence to begin with.
        without: a translator without attention, for the switch.
        decode: in place of :func:`attnbook.decoding.decode`.
        tokenize: in place of :func:`attnbook.vocabulary.tokenize`.

    Raises:
        ValueError: the first sentence has no words.
    """
    # Only here: the site's build draws figures without loading torch.
    from attnbook import decoding, vocabulary

    return Explorer(
        translator,
        sentence,
        without,
        decode=decode or decoding.decode,
        tokenize=tokenize or vocabulary.tokenize,
    )
