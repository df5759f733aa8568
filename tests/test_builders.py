"""What becomes of figures, numbers and questions where nothing can move: text, LaTeX, manuals."""

from __future__ import annotations

import json

import pytest

import test_blanks
import test_directives
import test_question
import test_regression_figure
import test_sight

PAGES = {
    "traces": f"# Traces\n{test_directives.FIGURES}{test_directives.NUMBERS}",
    "regression": test_regression_figure.PAGE,
    "sight": test_sight.PAGE,
    "blanks": test_blanks.PAGE,
    "question": test_question.PAGE,
}
assert test_directives.trace.weights is not None
SAID = {
    "traces": [f"{test_directives.trace.weights[4, 3]:.2f}", "BLEU falls with length", "34.2"],
    "regression": ["15.40"],
    "sight": ["Masked self"],
    "blanks": ["boy 0.50", "men 0.50"],
    "question": [
        "Put in order", "compare", "Answers", "(right)", "The right order", "Second.",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> test_directives.Book:
    book = test_directives.Book(tmp_path_factory.mktemp("book"))
    results = json.loads((book.root / "book/results/run.json").read_text(encoding="utf-8"))
    results |= {"day": test_regression_figure.DAY, "nested": {"dive": test_regression_figure.DIVE}}
    book.write("book/results/run.json", json.dumps(results))
    book.write("book/results/guesses.json", json.dumps({"blanks": test_blanks.STORED}))
    for name, page in PAGES.items():
        book.write(f"{name}.md", page)
    return book


@pytest.mark.parametrize(
    ("builder", "pattern"),
    [("text", "*.txt"), ("latex", "book.tex"), ("man", "book.1"), ("texinfo", "book.texi")],
)
def test_tables_captions_and_answers_are_there(
    book: test_directives.Book, builder: str, pattern: str
) -> None:
    pages = "\n".join(PAGES)
    book.build(f"# Book\n\n```{{toctree}}\n{pages}\n```\n", builder)
    files = sorted((book.root / "_build" / builder).glob(pattern))
    out = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert book.warnings == ""
    assert [text for said in SAID.values() for text in said if text not in out] == []
    assert out.count("The caption") == 4  # of the traces, the regression, the sight and the blanks
    assert out.count("morgen") >= 5  # head and rows of self and padded, head of cross
