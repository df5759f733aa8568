"""The reference of the package: what is in it, and the links from quoted code to its entries."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import attnbook
from attnbook.site.reference import without_docstring
from conftest import ROOT
from small_books import SmallBook

PACKAGE = Path(attnbook.__file__).parent

# Modules of the concepts' shelf that are not for import by others.
INTERNAL = {"__init__", "__main__", "scrubber", "run_state"}

PAGE = """
# A book

```{{literalinclude}} {file}
:pyobject: masked_softmax
```

```{{literalinclude}} {file}
:pyobject: _weighted_sum
```

```{{eval-rst}}
.. automodule:: attnbook.attention
   :members:
```
"""


def test_every_module_of_a_concept_is_in_the_reference():
    pages = "".join(page.read_text() for page in (ROOT / "book").glob("api_*.md"))
    listed = set(re.findall(r"automodule:: attnbook\.(\w+)$", pages, re.MULTILINE))
    assert {path.stem for path in PACKAGE.glob("*.py")} - INTERNAL <= listed


def test_the_overview_names_what_the_pages_have():
    overview = (ROOT / "book/api.md").read_text()
    for page in (ROOT / "book").glob("api_*.md"):
        (row,) = [line for line in overview.splitlines() if f"<{page.stem}>" in line]
        modules = re.findall(r"automodule:: (\S+)", page.read_text())
        assert re.findall(r"<(attnbook\.\S+)>", row) == modules


def test_quoted_code_leads_to_its_entry_and_shapes_read_as_in_the_source(tmp_path):
    book = SmallBook(tmp_path)
    file = os.path.relpath(PACKAGE / "attention.py", tmp_path)
    book.build(PAGE.format(file=file), nitpicky=True, autodoc_typehints_format="short")
    html = book.read("html/index.html")
    # One link: what is private has no entry.
    (link,) = re.findall(r'class="attn-entry"><a class="[^"]*" href="([^"]*)"', html)
    assert link == "#attnbook.attention.masked_softmax"
    assert f'id="{link[1:]}"' in html
    text = re.sub(r"<[^>]+>", "", html).replace("&quot;", '"')
    assert 'scores: Float[Tensor, "*batch target source"]' in text
    assert "&lt;class" not in text
    assert "Raises" in text
    assert book.warnings == ""


def test_a_docstring_can_be_left_out(tmp_path):
    """With the decorators, wherever the lines are today."""
    (tmp_path / "code.py").write_text(
        "import functools\n\n\nclass A:\n    @functools.cache\n    def f(\n        self,\n    ):\n"
        '        """One.\n\n        Two.\n        """\n        return 1\n\n    def g(self): ...\n'
    )
    book = SmallBook(tmp_path)
    book.build(
        "# A book\n\n```{literalinclude} code.py\n:pyobject: A.f\n:dedent: 4\n:no-docstring:\n```\n"
    )
    assert book.warnings == ""
    text = re.sub(r"<[^>]+>", "", book.read("html/index.html"))
    assert "def f(\n    self,\n):\n    return 1\n" in text
    with pytest.raises(ValueError, match=r"A\.g has no docstring"):
        without_docstring(tmp_path / "code.py", "A.g")
    with pytest.raises(ValueError, match=r"there is no A\.h"):
        without_docstring(tmp_path / "code.py", "A.h")


def test_a_name_that_leads_nowhere_is_a_warning(tmp_path):
    book = SmallBook(tmp_path)
    book.build("# A book\n\n{py:func}`attnbook.attention.no_such_name`\n", nitpicky=True)
    assert "attnbook.attention.no_such_name" in book.warnings
