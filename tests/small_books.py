"""Small books that Sphinx builds in a moment, to see what directives make of a page."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace


class SmallBook:
    """A folder with a small book in it, and what building it said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings = ""

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.root / "_build" / name).read_text(encoding="utf-8")

    def build(self, page: str, builder: str = "html", **settings: Any) -> None:
        """Build a book whose first page is ``page``."""
        self.write("index.md", page)
        warnings = StringIO()
        with docutils_namespace():
            self.app = Sphinx(
                self.root, None, self.root / "_build" / builder, self.root / "_build/doctrees",
                builder,
                confoverrides={
                    "project": "book",
                    "extensions": ["myst_nb", "sphinx_design", "attnbook.site"],
                    "myst_enable_extensions": ["deflist", "dollarmath"],
                    "html_theme": "basic",
                    "numfig": True,
                    "nb_execution_mode": "off",
                    "exclude_patterns": ["_build"],
                } | settings,
                status=None, warning=warnings,
            )  # fmt: skip
            self.app.build(force_all=True)
        self.warnings += re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())
