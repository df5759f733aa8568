"""What each position may see: the figure's cases are the package's masks, and its tables too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from attnbook.figures.sight import Sight, SightFigure, sights
from attnbook.self_attention import MultiHeadAttention
from test_directives import Book

SOURCE, TARGET = ["ruf", "mich", "morgen", "an"], ["<sos>", "call", "me"]


def test_the_cases_by_hand() -> None:
    own, masked, cross, padded = sights(["a", "b"], ["x", "y", "z"], padding=1)
    assert own.sees == [[True, True], [True, True]]
    assert (masked.rows, masked.columns) == (["x", "y", "z"], ["x", "y", "z"])
    assert masked.sees == [[True, False, False], [True, True, False], [True, True, True]]
    assert (cross.rows, cross.columns) == (["x", "y", "z"], ["a", "b"])
    assert cross.sees == [[True, True]] * 3
    assert padded.rows == padded.columns == ["a", "b", "<pad>"]
    assert padded.sees == [[True, True, False]] * 3
    assert len(sights(["a"], ["x"])) == 3


def test_a_case_is_where_the_layer_has_weight() -> None:
    """Called as the figure says, the layer gives weight to what is seen and to nothing else."""
    torch.manual_seed(0)
    heads = MultiHeadAttention(4, num_heads=1)
    for one in sights(SOURCE, TARGET, padding=2):
        known = {
            "x": torch.randn(1, len(one.columns), 4),
            "y": torch.randn(1, len(one.rows), 4),
            "mask": torch.tensor(one.sees),
            "heads": lambda *given, **more: heads(*given, need_weights=True, **more),
        }
        found = eval(one.call, known)
        assert found.weights is not None
        assert (found.weights[0, 0] > 0).tolist() == one.sees, one.title


@pytest.mark.usefixtures("as_user")
def test_impossible_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match="target: there must be at least one word"):
        sights(SOURCE, [])
    with pytest.raises(ValueError, match="padding: there cannot be fewer than 0 places, got -1"):
        sights(SOURCE, TARGET, -1)


def test_the_data_cannot_end_its_script() -> None:
    text = SightFigure([Sight("</script>", "f()", ["a"], ["b"], [[True]])]).data_element()
    assert text.count("</script>") == 1
    inside = text.removeprefix('<script type="application/json">').removesuffix("</script>")
    assert json.loads(inside)[0]["title"] == "</script>"


# ------------------------------------------------------------------------------- the directive

PAGE = """# Page

See {numref}`fig-sight`.

```{sight} ruf mich morgen an
:target: <sos> call me
:padding: 2
:name: fig-sight
:alt: Who "sees" whom
The caption.
```
"""


def test_a_numbered_figure_with_data_tables_script_and_style(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.write("plain.md", "# Plain\n\nText.\n")
    book.build(f"{PAGE}\n```{{toctree}}\nplain\n```\n")
    assert book.warnings == ""
    html = book.read("html/index.html")
    assert 'id="fig-sight"' in html
    assert "Fig. 1" in html
    assert 'data-label="Who &quot;sees&quot; whom"' in html
    stored = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert stored is not None
    assert json.loads(stored[1]) == [one._asdict() for one in sights(SOURCE, TARGET, 2)]
    assert html.count("<table") == 4
    assert html.count("●") == sum(sum(map(sum, one.sees)) for one in sights(SOURCE, TARGET, 2))
    assert re.search(r'<script defer="defer" src="_static/attnbook-sight\.js\?v=', html)
    assert html.index("attnbook-card.css") < html.index("attnbook-sight.css")
    assert "attnbook-scrubber.js" not in html
    assert "attnbook-s" not in book.read("html/plain.html")


def test_what_is_wrong_is_a_warning_with_its_place(tmp_path: Path) -> None:
    book = Book(tmp_path)
    uses = ["```{sight} ruf an\n```", "```{sight} ruf an\n:target: call\n- a list\n```"]
    book.build("# Page\n\n" + "\n\n".join(uses) + "\n")
    short, listed = book.warnings.splitlines()
    assert "index.md:3: WARNING: " in short
    assert "ruf an: target: there must be at least one word" in short
    assert "index.md:6: WARNING: " in listed
    assert "the caption has to begin with a" in listed
