"""Tables of the exercises for the instructors' page, ``{exercise-table}`` and ``{syllabus}``.

Nothing in them is written by hand. Exercises, their minutes and points come from
:mod:`attnbook.exercises`, the minutes of a page and its lab from the page's own line that begins
with ``**Time:**``. A chapter that is not there, or does not say how long it takes, is a warning, so
that a build with ``-W`` stops.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from attnbook.exercises import Chapter, Exercise, chapters
from attnbook.exercises.statement import to_do
from attnbook.site.directive import Directive

__all__ = ["Page", "read_page", "register"]

_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_TIME = re.compile(r"^\*\*Time:\*\* (\d+) minutes\b.*?\b(\d+) for the \[lab\]", re.MULTILINE)

#: A hyphen that is there when it is needed: on a phone every letter of a heading counts.
_BREAK = "\N{SOFT HYPHEN}"

_Cell: TypeAlias = str | nodes.Node | Sequence[nodes.Node]


@dataclass(frozen=True)
class Page:
    """What a chapter's page says of itself.

    Attributes:
        path: of the file.
        title: its heading.
        minutes: to read it.
        lab: minutes for its lab.
    """

    path: Path
    title: str
    minutes: int
    lab: int

    @property
    def number(self) -> int:
        """The chapter's number."""
        return int(self.path.stem.split("_")[0])


def read_page(folder: Path, number: int) -> Page:
    """A chapter's page, by the chapter's number.

    Raises:
        ValueError: there is none, or it has no heading or no time.
    """
    found = sorted(folder.glob(f"{number:02d}_*.md"))
    if not found:
        raise ValueError(f"there is no chapter {number} in {folder.name}")
    text = found[0].read_text(encoding="utf-8")
    title, time = _TITLE.search(text), _TIME.search(text)
    if title is None or time is None:
        raise ValueError(
            f"{found[0].name} needs a heading and a line such as "
            "**Time:** 60 minutes, and 30 for the [lab](…)"
        )
    return Page(found[0], title[1].strip(), int(time[1]), int(time[2]))


def _weeks(lines: Sequence[str]) -> list[list[int]]:
    """Numbers of chapters by week.

    Raises:
        ValueError: a line has something else in it, or a chapter stands in two of them.
    """
    weeks: list[list[int]] = []
    for line in filter(str.strip, lines):
        if not re.fullmatch(r"[\d\s]+", line):
            raise ValueError(f"expected numbers of chapters, for instance 0 1 2; got {line!r}")
        weeks.append([int(word) for word in line.split()])
    numbers = [n for week in weeks for n in week]
    twice = sorted({n for n in numbers if numbers.count(n) > 1})
    if twice or not weeks:
        raise ValueError(f"chapter {twice[0]} stands in it twice" if twice else "no weeks")
    return weeks


class _Table(Directive):
    """What both tables share: rows of numbers below rows of sums, and links to chapters."""

    def _dependencies(self) -> None:
        """The page is made again when an exercise changes, or this module."""
        for file in {
            __file__,
            *(
                inspect.getsourcefile(inspect.unwrap(e.solution))
                for c in chapters()
                for e in c.exercises
            ),
        }:
            if file:
                self.env.note_dependency(file)

    def _folder(self) -> Path:
        """Where the chapters are: beside the page that has the table."""
        return Path(self.env.doc2path(self.env.docname)).parent

    def _page(self, number: int) -> Page:
        page = read_page(self._folder(), number)
        self.env.note_dependency(str(page.path))
        return page

    def _link(self, page: Page) -> nodes.Node:
        """A reference to the chapter, with its number and its title."""
        link = addnodes.pending_xref(
            "", refdomain="std", reftype="doc", refexplicit=True, refwarn=True,
            refdoc=self.env.docname, reftarget=f"/{self.env.path2doc(str(page.path))}",
        )  # fmt: skip
        (title,) = self.parse_text_to_nodes(page.title)
        link += nodes.inline("", "", nodes.Text(f"{page.number} · "), *title.children)
        return link

    def _table(self, head: list[str], rows: list[list[_Cell]]) -> nodes.table:
        """A table whose first column is text and whose others are numbers."""
        group = nodes.tgroup(cols=len(head))
        # Widths for the builders that need some; a browser finds its own.
        group += [nodes.colspec(colwidth=50 if i == 0 else 10) for i in range(len(head))]

        def row(cells: Sequence[_Cell]) -> nodes.row:
            made = nodes.row()
            for place, cell in enumerate(cells):
                entry = nodes.entry(classes=["text-right"] if place else [])
                if isinstance(cell, str):
                    entry += nodes.paragraph("", cell)
                else:
                    for each in [cell] if isinstance(cell, nodes.Node) else cell:
                        entry += each
                made += entry
            return made

        group += nodes.thead("", row(head))
        group += nodes.tbody("", *(row(cells) for cells in rows))
        return nodes.table("", group, classes=["colwidths-auto", "attn-counted"])


def _strong(*children: nodes.Node | str) -> nodes.paragraph:
    inner = [nodes.Text(c) if isinstance(c, str) else c for c in children]
    return nodes.paragraph("", "", nodes.strong("", "", *inner))


class ExerciseTableDirective(_Table):
    """``{exercise-table}``: all exercises, with sums by chapter and for the course."""

    def content_nodes(self) -> list[nodes.Node]:
        """Write a row for each chapter and one for each of its exercises."""
        self._dependencies()
        found = chapters()
        rows: list[list[_Cell]] = []
        for chapter in found:
            link = self._link(self._page(chapter.number))
            rows.append([_strong(link), *self._sums([chapter])])
            rows += [[self._exercise(e), str(e.minutes), str(e.points)] for e in chapter.exercises]
        count = sum(len(c.exercises) for c in found)
        rows.append([_strong(f"The course: {count} exercises"), *self._sums(found)])
        return [self._table(["exercise", "min", "points"], rows)]

    def _exercise(self, one: Exercise) -> list[nodes.Node]:
        """Its title, and below that its function and what is to be done."""
        below = [nodes.literal("", one.name), nodes.Text(f" · {to_do(one)[0]}")]
        return [*self.parse_text_to_nodes(one.title), nodes.paragraph("", "", *below)]

    def _sums(self, counted: Sequence[Chapter]) -> list[_Cell]:
        each = [e for chapter in counted for e in chapter.exercises]
        return [
            _strong(str(sum(e.minutes for e in each))),
            _strong(str(sum(e.points for e in each))),
        ]


class SyllabusDirective(_Table):
    """``{syllabus}``: weeks with their chapters, and the time that each takes."""

    has_content = True

    def content_nodes(self) -> list[nodes.Node]:
        """Write a row for each week and one for each of its chapters."""
        self._dependencies()
        minutes = {c.number: sum(e.minutes for e in c.exercises) for c in chapters()}
        rows: list[list[_Cell]] = []
        whole = [0, 0, 0]
        for week, numbers in enumerate(_weeks(list(self.content)), start=1):
            pages = [self._page(number) for number in numbers]
            times = [[p.minutes, p.lab, minutes.get(p.number, 0)] for p in pages]
            together = [sum(column) for column in zip(*times, strict=True)]
            whole = [a + b for a, b in zip(whole, together, strict=True)]
            rows.append([_strong(f"Week {week}"), *map(_strong, self._row(together))])
            rows += [
                [nodes.paragraph("", "", self._link(page)), *self._row(time)]
                for page, time in zip(pages, times, strict=True)
            ]
        rows.append([_strong("Together"), *map(_strong, self._row(whole))])
        return [self._table(["chapter", "page", "lab", f"exer{_BREAK}cises", "h"], rows)]

    @staticmethod
    def _row(minutes: Sequence[int]) -> list[str]:
        return [*(str(m) if m else "–" for m in minutes), f"{sum(minutes) / 60:.1f}"]


def register(app: Sphinx) -> None:
    """Register both directives."""
    app.add_directive("exercise-table", ExerciseTableDirective)
    app.add_directive("syllabus", SyllabusDirective)
