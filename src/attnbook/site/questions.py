"""``{question}``: a question that answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx

from attnbook.figures.question import Question, question
from attnbook.site.directive import Directive
from attnbook.site.nodes import block, fold_title, live

__all__ = ["register"]


class QuestionDirective(Directive):
    """``{question} kind``: a question with its answers and what is said to each of them.

    The content is the question and a definition list: terms are answers, definitions what is said.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "right": directives.unchanged_required,
        "within": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def content_nodes(self) -> list[nodes.Node]:
        """Take question and answers apart, refuse what cannot be answered, and place it."""
        content = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, content)
        stem, answers, reasons = _answers(content)
        asked = question(
            self.arguments[0],
            [answer.astext() for answer in answers],
            self.options.get("right"),
            self.options.get("within"),
        )
        parts: list[nodes.Node] = [block("", *stem, tag="div", classes=["attn-question-stem"])]
        order = asked.order or range(len(answers))
        if asked.kind != "number":
            parts.append(
                nodes.bullet_list("", *(_item(answers[place].deepcopy()) for place in order))
            )
        parts.append(_fold(asked, answers, reasons))
        figure = live(asked, parts)
        self.set_source_info(figure)
        self.add_name(figure)
        return [figure]


def _answers(
    content: nodes.Element,
) -> tuple[list[nodes.Node], list[nodes.term], list[nodes.definition]]:
    """The parts of a question: itself, the answers, and what is said to each of them."""
    *stem, last = content.children or [nodes.paragraph()]
    if not isinstance(last, nodes.definition_list):
        raise ValueError("it has to end with its answers, as a definition list")
    if not stem:
        raise ValueError("a question needs a text before its answers")
    answers, reasons = [], []
    for item in last.children:
        terms = [child for child in item.children if isinstance(child, nodes.term)]
        said = [child for child in item.children if isinstance(child, nodes.definition)]
        if len(terms) != 1 or len(said) != 1:
            raise ValueError(f"{terms[0].astext()!r} needs one explanation, got {len(said)}")
        answers += terms
        reasons += said
    return stem, answers, reasons


def _item(answer: nodes.term) -> nodes.list_item:
    return nodes.list_item("", nodes.paragraph("", "", *answer.children))


def _fold(
    asked: Question, answers: Sequence[nodes.term], reasons: Sequence[nodes.definition]
) -> block:
    """All answers with what is said to them, for where nothing answers."""
    for place, answer in enumerate(answers):
        value = asked.values[place] if asked.kind == "number" else None
        if asked.kind == "number" and (value is None or place == asked.right):
            answer.clear()
            said = "another number" if value is None else f"{value:g}".replace("-", "−")
            answer += nodes.Text(said)
        if asked.kind != "order" and place == asked.right:
            answer += nodes.Text(" (right)")
    listed = nodes.definition_list(
        "",
        *(
            nodes.definition_list_item("", answer, reason)
            for answer, reason in zip(answers, reasons, strict=True)
        ),
    )
    title = "The right order" if asked.kind == "order" else "Answers"
    return block("", fold_title("", title), listed, tag="details", classes=["attn-question-fold"])


def register(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("question", QuestionDirective)
