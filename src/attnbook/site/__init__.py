"""The course's own words for its pages, as a Sphinx extension.

============================  ===================================================================
``{trace} name``              a scrubber for ``book/traces/<name>.json``; ``:without:`` names a
                              second trace, without attention, for the switch
``{chart} name``              ``book/figures/<name>.svg`` in the page itself, so that it takes the
                              page's colours and fonts
``{sight} source words``      what each word may see; ``:target:`` is the other sentence, and
                              ``:padding:`` adds a padded one
``{regression} file:path``    kernel regression whose points can be moved; its readings are an
                              object in ``book/results/<file>.json``
``{blanks} name``             the texts of ``book/results/<name>.json`` with a piece to hide, and
                              what two models guess
``{question} kind``           a question that answers at once: ``choice``, ``number`` or ``order``
``{exercises} NN_page``       a chapter's exercises, each with a solution in a fold
``{exercise-table}``          all exercises of the package by chapter: what is to be done, minutes,
                              points
``{syllabus}``                weeks, a line each with the numbers of their chapters: the minutes
                              that their pages, labs and exercises take
``{if-measured} name``        what is shown where ``book/results/<name>.json`` exists, and else not
``{measured}`file:path|.1f``` a number out of ``book/results/<file>.json``
``{literalinclude} file``     Sphinx's own; with ``:pyobject:`` a link to the entry of what is
                              quoted follows
============================  ===================================================================

The reference of the package is made by ``sphinx.ext.autodoc``, which this extension loads. The
first five are numbered figures with ``:name:`` for references. A file or key that does not
exist is a warning, so that a build with ``-W`` stops: prose cannot outlive what it reports.
Figures that a lab drew as SVG are put into the page like charts. Other builders than HTML get the
tables of those that move, and the chart's description.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from attnbook import __version__
from attnbook.site import exercise_table, exercises, figures, measured, nodes, questions, reference

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    for part in (nodes, measured, figures, questions, exercises, exercise_table, reference):
        part.register(app)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
