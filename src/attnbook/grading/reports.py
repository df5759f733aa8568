"""What comes out of a grading: tables, a page for each learner, a report on the class."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from importlib.resources import files
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from attnbook.exercises import exercise
from attnbook.exercises.report import inline_code
from attnbook.grading.assignment import Assignment, Results
from attnbook.grading.grader import Grade, Graded

__all__ = ["Learner", "gather", "lms_table", "refuse_foreign", "refuse_mixture", "write_reports"]


@dataclass
class Learner:
    """All that one learner handed in.

    Attributes:
        name: who.
        grades: the best grade of each exercise.
        notes: notebooks that could not be graded, and why.
        files: the notebooks.
    """

    name: str
    grades: dict[str, Grade] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def points(self) -> float:
        """Points of all exercises."""
        return sum((g.points for g in self.grades.values()), 0.0)

    def add(self, graded: Graded) -> None:
        """Count one notebook; of two answers to an exercise the better one counts."""
        self.files.append(graded.path)
        if graded.refused:
            self.notes.append((graded.path, graded.refused))
        for grade in graded.grades:
            old = self.grades.get(grade.exercise)
            if old is None or grade.points > old.points:
                self.grades[grade.exercise] = grade


def gather(results: Iterable[Graded]) -> list[Learner]:
    """Results by learner, in the order of their names."""
    found: dict[str, Learner] = {}
    for graded in results:
        found.setdefault(graded.learner, Learner(graded.learner)).add(graded)
    return [found[name] for name in sorted(found)]


def _environment() -> Environment:
    folder = files("attnbook.grading") / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # inline_code escapes all but the marks that it makes itself.
    environment.filters["code"] = lambda text: Markup(inline_code(text))
    environment.filters["number"] = number
    return environment


def number(value: float | int) -> str:
    """Points without a needless fraction."""
    return f"{value:g}"


def printable(text: str) -> str:
    """A text without what steers a terminal or breaks a line of a table."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _cell(text: str) -> str:
    """A printable text that no spreadsheet takes for a formula, whatever separates its columns."""
    return re.sub(r"(^|[;|])(\s*)(?=[=+\-@])", r"\1\2'", printable(text))


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def page_name(learner: str) -> str:
    """The file name of a learner's feedback, readable and different for different learners."""
    plain = re.sub(r"[^\w.-]+", "_", learner, flags=re.ASCII).strip("._")[:60] or "learner"
    # A name that looks as if it had been changed gets an ending, too: it may be somebody else's.
    if plain == learner and not re.search(r"\.[0-9a-f]{8}$", plain):
        return f"{plain}.html"
    return f"{plain}.{sha256(learner.encode()).hexdigest()[:8]}.html"


def refuse_foreign(folder: Path) -> None:
    """See to it that a folder's feedback, which will be replaced, is that of a grading.

    Raises:
        ValueError: it is something else.
    """
    if (folder / "feedback").exists() and not (folder / "grades.json").is_file():
        raise ValueError(
            f"{folder}: there is a folder feedback in it that no grading made, and it would be "
            "replaced; name another folder with --out"
        )


def refuse_mixture(folder: Path, assignment: Assignment, learners: Collection[str]) -> None:
    """See to it that the grades which other learners keep are for the same exercises.

    Raises:
        ValueError: they are for others, or for other points.
    """
    try:
        before = json.loads((folder / "grades.json").read_text(encoding="utf-8"))
        others = {one["learner"] for one in before["learners"]} - set(learners)
        points = before["points"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if others and points != assignment.points:
        raise ValueError(
            f"{folder} has grades of {len(others)} other learners on other exercises, and one "
            "table cannot hold both; name another folder with --out, or remove them with "
            "--drop-others"
        )


def write_reports(folder: Path, assignment: Assignment, results: Results) -> list[Learner]:
    """Write ``grades.csv``, ``grades.json``, ``feedback/…html`` and ``report.html``.

    Args:
        folder: where to.
        assignment: what was graded.
        results: what came of it.

    Returns:
        The learners, with their grades.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learners = gather(results)
    names = [e.name for e in assignment.exercises]
    _write(folder / "grades.csv", _table(learners, assignment))
    _write(folder / "grades.json", _json(learners, assignment))
    environment = _environment()
    pages = folder / "feedback.part"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir()
    page = environment.get_template("feedback.html")
    for learner in learners:
        rows = [(exercise(name), learner.grades.get(name)) for name in names]
        (pages / page_name(learner.name)).write_text(
            page.render(learner=learner, rows=rows, assignment=assignment), encoding="utf-8"
        )
    shutil.rmtree(folder / "feedback", ignore_errors=True)
    pages.rename(folder / "feedback")
    report = environment.get_template("report.html")
    _write(folder / "report.html", report.render(**_class(learners, assignment)))
    return learners


def _table(learners: list[Learner], assignment: Assignment) -> str:
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    names = [e.name for e in assignment.exercises]
    rows.writerow(["learner", *names, "points", "of", "notes"])
    for learner in learners:
        earned = [number(learner.grades[n].points) if n in learner.grades else "" for n in names]
        notes = "; ".join(f"{path}: {why}" for path, why in learner.notes)
        rows.writerow(
            [_cell(learner.name), *earned, number(learner.points), number(assignment.total),
             _cell(notes)]
        )  # fmt: skip
    return text.getvalue()


def _json(learners: list[Learner], assignment: Assignment) -> str:
    values = {
        "title": assignment.title,
        "points": assignment.points,
        "learners": [
            {
                "learner": learner.name,
                "points": learner.points,
                "files": learner.files,
                "notes": [{"file": path, "why": why} for path, why in learner.notes],
                "exercises": {
                    name: {
                        "points": grade.points,
                        "of": grade.of,
                        "mistake": grade.mistake,
                        "hint": grade.hint,
                        "properties": [{"holds": h, "property": p} for p, h in grade.properties],
                    }
                    for name, grade in learner.grades.items()
                },
            }
            for learner in learners
        ],
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


# What the class report says of the faults that any exercise may have.
_GENERAL = {
    "nothing-returned": "The function was left empty, or returns nothing.",
    "raises": "The code raises an exception on one of the inputs.",
    "too-slow": "The code does not end in time.",
    "ends-its-process": "The code ends the process that runs it.",
    "cannot-be-run": "The function cannot be defined outside its notebook.",
    "other-kind": "The result is not a tensor, or not of the kind asked for.",
    "other-shape": "The result has another shape than asked for.",
    "edits-its-input": "An argument is changed in place.",
    "dtype-fixed": "The numbers are right, their dtype does not follow the input's.",
    "squeezed": "A dimension of size 1 is dropped.",
    "detached": "The numbers are right, and no gradient flows back.",
    "other-gradient": "The numbers are right, their gradient is not.",
    "gradient-not-a-number": "The numbers are right, their gradient is NaN or infinite.",
    "order-lost": "The rows are right and come in another order.",
    "not-a-number": "There is a NaN or an infinity in the result.",
    "results-swapped": "The results are right and come in the wrong order.",
    "property-fails": "A property does not hold, and no known misconception explains how.",
}


def _class(learners: list[Learner], assignment: Assignment) -> dict[str, Any]:
    """What the class report shows: points, how each exercise went, which mistakes were made."""
    passed: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    mistakes: dict[str, Counter[str]] = defaultdict(Counter)
    for learner in learners:
        for name, grade in learner.grades.items():
            tried[name] += 1
            passed[name] += not grade.mistake
            if grade.mistake:
                mistakes[name][grade.mistake] += 1
    # As they are, rather than filled in for one learner.
    hints = {
        one.name: _GENERAL | {mistake.name: mistake.hint for mistake in one.mistakes}
        for one in assignment.exercises
    }
    width = max(1, round(assignment.total / 10))
    rows = int(assignment.total // width) + 1
    counts = Counter(min(int(learner.points // width), rows - 1) for learner in learners)
    scale = [
        (str(i) if width == 1 else f"{i * width} – {(i + 1) * width - 1}", counts[i])
        for i in range(rows)
    ]
    return {
        "assignment": assignment,
        "learners": learners,
        "median": median([learner.points for learner in learners]) if learners else 0.0,
        "scale": scale,
        "most": max([n for _, n in scale], default=0),
        "exercises": [
            {
                "exercise": e,
                "tried": tried[e.name],
                "passed": passed[e.name],
                "mistakes": [
                    (name, count, hints[e.name][name])
                    for name, count in mistakes[e.name].most_common()
                ],
            }
            for e in assignment.exercises
        ],
        "refused": [(x.name, path, why) for x in learners for path, why in x.notes],
        "page_name": page_name,
    }


# ----------------------------------------------------------------------------------- for an LMS


def _login(learner: str) -> str:
    """What a roster calls a learner whose folder or file an LMS has named.

    Moodle packs ``Anna Schmidt_4711_assignsubmission_file_``, and its worksheet has "Participant
    4711"; Canvas packs ``schmidtanna_LATE_815_4711_``, and its gradebook has the ID 815.
    """
    name = _folded(learner)
    if found := re.search(r"_(\d+)_assignsubmission_", f"{name}_"):
        return f"participant {found[1]}"
    if found := re.match(r"[^_]+(?:_late)?_(\d+)_\d+(?:_|$)", name):
        return found[1]
    return name


def _folded(name: str) -> str:
    """A name as it is compared: systems differ in case and in how they write an umlaut."""
    return unicodedata.normalize("NFC", name).strip().lower()


def _column(row: dict[str, str], names: tuple[str, ...]) -> str:
    lowered = {_folded(key): value for key, value in row.items() if key}
    return next((lowered[n].strip() for n in names if lowered.get(n)), "")


# Columns that say who somebody is, in Canvas and in Moodle's worksheets, English and German.
_IDENTITIES = (
    "identifier", "sis login id", "login", "username", "anmeldename", "id number", "id-nummer",
    "email", "email address", "e-mail-adresse", "sis user id", "id", "student", "name",
    "full name", "vollständiger name",
)  # fmt: skip
_GRADES = ("Grade", "Bewertung")
_COMMENTS = ("Feedback comments", "Feedback als Kommentar")


def _identity(value: str) -> str:
    """What stands in such a column; Moodle's German worksheets have "Teilnehmer/in4711"."""
    name = _folded(value)
    found = re.fullmatch(r"(?:participant|teilnehmer(?:/?in)?)\s*(\d+)", name)
    return f"participant {found[1]}" if found else name


def _rows(roster: Path) -> tuple[list[dict[str, str]], str]:
    """The rows of a table with commas, semicolons or tabs, and which of these it has.

    Spreadsheets on Windows write it in their own encoding rather than in UTF-8.
    """
    data = roster.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    head = text.partition("\n")[0]
    between = max(",;\t", key=head.count)
    return list(csv.DictReader(StringIO(text, newline=""), delimiter=between)), between


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What somebody has whose notebooks the system gave different names: the better of each."""
    exercises = dict(one["exercises"])
    for name, grade in other["exercises"].items():
        if name not in exercises or grade["points"] > exercises[name]["points"]:
            exercises[name] = grade
    return one | {
        "exercises": exercises,
        "points": sum((grade["points"] for grade in exercises.values()), 0.0),
        "notes": [*one["notes"], *other["notes"]],
    }


def lms_table(
    grades: Path, roster: Path, system: str, title: str = ""
) -> tuple[str, list[str], list[str]]:
    """A table that an LMS imports: the roster it exported, with the points in it.

    Args:
        grades: ``grades.json`` of a grading.
        roster: the LMS's own export: Canvas's gradebook or Moodle's grading worksheet, English or
            German, as CSV.
        system: ``canvas`` or ``moodle``.
        title: of the column, for Canvas; None takes the assignment's.

    Returns:
        The table, separated as the roster is; learners that are not in the roster; rows of the
        roster without a grade.

    Raises:
        ValueError: the roster has no column that names its learners, or no rows.
    """
    read = json.loads(grades.read_text(encoding="utf-8"))
    title = title or read["title"]
    earned: dict[str, dict[str, Any]] = {}
    for learner in read["learners"]:
        login = _login(learner["learner"])
        earned[login] = _together(earned[login], learner) if login in earned else learner
    rows, between = _rows(roster)
    if not rows:
        raise ValueError(f"{roster}: no rows")
    heads = list(rows[0])
    if not any(h and _folded(h) in _IDENTITIES for h in heads):
        raise ValueError(
            f"{roster}: no column that names learners; looked for {', '.join(_IDENTITIES)}"
        )
    column, comments = (
        (title, "")
        if system == "canvas"
        else (
            next((one for one in names if one in heads), names[0]) for names in (_GRADES, _COMMENTS)
        )
    )
    extra = [column] if system == "canvas" else [column, comments]
    heads += [h for h in extra if h not in heads]
    used: set[str] = set()
    without: list[str] = []
    for row in rows:
        keys = [_identity(_column(row, (name,))) for name in _IDENTITIES]
        keys += [k.split("@")[0] for k in keys if "@" in k]
        key = next((k for k in keys if k and k in earned and k not in used), None)
        if key is None:
            if not _column(row, ("student",)).startswith(("Points Possible", "    Points")):
                without.append(_column(row, _IDENTITIES[::-1]))
            continue
        used.add(key)
        row[column] = number(earned[key]["points"])
        if system == "moodle":
            row[comments] = _comment(earned[key])
    text = StringIO()
    writer = csv.DictWriter(
        text, heads, lineterminator="\n", extrasaction="ignore", restval="", delimiter=between
    )
    writer.writeheader()
    writer.writerows(rows)
    return (
        text.getvalue(),
        sorted(x["learner"] for k, x in earned.items() if k not in used),
        without,
    )


def _comment(learner: dict[str, Any]) -> str:
    parts = [
        f"<li><b>{escape(name)}</b>: {number(grade['points'])} of {number(grade['of'])}"
        + (f". {inline_code(grade['hint'])}" if grade["hint"] else "")
        + "</li>"
        for name, grade in learner["exercises"].items()
    ]
    notes = [f"<li>{escape(n['file'])}: {escape(n['why'])}</li>" for n in learner["notes"]]
    return f"<ul>{''.join(parts + notes)}</ul>"
