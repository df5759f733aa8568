"""``{exercises}``: a chapter's exercises in its page."""

from __future__ import annotations

import inspect

from docutils import nodes
from sphinx.application import Sphinx

from attnbook.exercises import Chapter, Exercise, chapter
from attnbook.exercises.definition import source_of
from attnbook.exercises.statement import plain, statement, totals
from attnbook.site.directive import Directive

__all__ = ["register"]


class ExercisesDirective(Directive):
    """``{exercises} NN_page``: what a chapter's exercises ask, with a solution in a fold each."""

    required_arguments = 1

    def content_nodes(self) -> list[nodes.Node]:
        """Write each exercise as a section."""
        found = chapter(self.arguments[0])
        sections = [self._section(one) for one in found.exercises]
        return [*self.parse_text_to_nodes(self._opening(found)), *sections]

    def _opening(self, found: Chapter) -> str:
        notebook = f"notebooks/exercises/{found.name}"
        ways = [f"{{doc}}`their notebook </{notebook}>`"]
        theme = self.config["html_theme_options"]
        if address := theme.get("repository_url"):
            owner = address.removeprefix("https://github.com/")
            place = f"{owner}/blob/{theme.get('repository_branch') or 'main'}/{notebook}.ipynb"
            ways.append(f"[open it in Colab](https://colab.research.google.com/github/{place})")
        return f"**{totals(found)}**, in {' · '.join(ways)}."

    def _section(self, one: Exercise) -> nodes.section:
        file = inspect.getsourcefile(inspect.unwrap(one.solution))
        assert file is not None
        self.env.note_dependency(file)
        label = f"exercise-{one.name}".replace("_", "-")
        section = nodes.section("", ids=[nodes.make_id(label)], names=[label])
        self.set_source_info(section)
        (title,) = self.parse_text_to_nodes(plain(one.title, one.name))
        section += nodes.title(one.title, "", *title.children)
        self.state.document.note_explicit_target(section, section)
        source = source_of(one.solution)
        section += self.parse_text_to_nodes(
            f"{statement(one)}\n\n"
            f"Explained in {{ref}}`{one.section}`.\n\n"
            "````{dropdown} A solution, and why it is so\n"
            f"```python\n{source}```\n\n{plain(one.explanation, one.name)}\n````\n"
        )
        return section


def register(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("exercises", ExercisesDirective)
