"""What is made of results: tables, pages, the report on a class."""

from __future__ import annotations

import csv
import json
import unicodedata
from io import StringIO

import pytest
from bs4 import BeautifulSoup

from attnbook.exercises.judge import GENERAL, NOTHING
from attnbook.grading import reports
from attnbook.grading.assignment import Assignment, Results
from attnbook.grading.grader import Grade, Graded
from attnbook.grading.reports import lms_table, page_name, write_reports


def test_every_general_fault_has_words_for_the_class_report():
    made = {"too-slow", "ends-its-process", "cannot-be-run", NOTHING}
    assert set(reports._GENERAL) == {mistake.name for mistake in GENERAL} | made


@pytest.mark.parametrize("total", [7, 11, 12, 13, 26])
def test_full_marks_are_in_the_last_row_of_the_class_report(tmp_path, own_chapter, total):
    points = dict.fromkeys((e.name for e in own_chapter.exercises), 2.0)
    points[own_chapter.exercises[0].name] = total - 4.0
    assignment = Assignment(own_chapter.exercises, points)
    grades = tuple(Grade(e.name, assignment.points[e.name], 0.0) for e in assignment.exercises)
    results = Results(tmp_path / "results")
    for i, earned in enumerate((grades, grades[:0])):
        results.write(Graded(f"learner{i}", f"{i}.ipynb", "digest", "", earned))
    write_reports(tmp_path, assignment, results)
    page = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    counts = [row.select(".n")[0].text for row in page.select("tbody")[0].select("tr")]
    assert counts == ["1", *["0"] * (len(counts) - 2), "1"]
    assert f"median {total / 2:g} of {total:g}" in page.text


def test_a_roster_without_names_is_refused(tmp_path):
    grades = tmp_path / "grades.json"
    grades.write_text(json.dumps({"title": "Week", "learners": []}), encoding="utf-8")
    roster = tmp_path / "roster.csv"
    roster.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no column that names learners"):
        lms_table(grades, roster, "canvas")
    roster.write_text("Student\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no rows"):
        lms_table(grades, roster, "canvas")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_a_german_worksheet_of_moodle(tmp_path, encoding, between):
    """Its own columns are filled in, whatever separates them and however umlauts are written."""
    learners = [
        {"learner": name, "exercises": {"dots": grade}, "points": 2.0, "notes": []}
        for grade in [{"points": 2.0, "of": 3.0, "hint": ""}]
        for name in ("Jörg_4711_assignsubmission_file_", unicodedata.normalize("NFD", "Zoë Öz"))
    ]
    grades = tmp_path / "grades.json"
    grades.write_text(json.dumps({"title": "Woche 3", "learners": learners}), encoding="utf-8")
    rows = [
        ["ID", "Vollständiger Name", "Bewertung", "Feedback als Kommentar"],
        ["Teilnehmer/in4711", "Jörg", "", ""],
        ["Teilnehmer/in4712", "Zoë Öz", "", ""],
        ["Teilnehmer/in4713", "Bo", "", ""],
    ]
    roster = tmp_path / "roster.csv"
    roster.write_text("".join(between.join(row) + "\n" for row in rows), encoding=encoding)
    table, strangers, without = lms_table(grades, roster, "moodle")
    found = list(csv.DictReader(StringIO(table), delimiter=between))
    assert list(found[0]) == rows[0]
    assert [row["Bewertung"] for row in found] == ["2", "2", ""]
    assert "dots" in found[0]["Feedback als Kommentar"]
    assert (strangers, without) == ([], ["Bo"])


def test_page_names_differ_for_different_learners():
    names = ["anna", "an/na", "an na", "an_na", "..", "", "é" * 100, "é" * 101]
    names += [page_name(name).removesuffix(".html") for name in names]  # somebody's, on purpose
    names = list(dict.fromkeys(names))
    pages = [page_name(name) for name in names]
    assert len(set(pages)) == len(names)
    assert all("/" not in page and not page.startswith(".") for page in pages)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("=1+1", "'=1+1"),
        ("a;=1+1", "a;'=1+1"),
        ("a; -cmd", "a; '-cmd"),
        ("a|@SUM(A1)", "a|'@SUM(A1)"),
        ("\t=1+1", " '=1+1"),
        ("a\n=1", "a =1"),
        ("a\x1b[31mred\x1b]0;=title\x07", "a [31mred ]0;'=title "),
        ("\u202ereversed", " reversed"),
        ("Ana-Lía O'Neil + co", "Ana-Lía O'Neil + co"),
    ],
)
def test_names_are_no_formulas_and_steer_no_terminal(tmp_path, own_chapter, name, written):
    points = dict.fromkeys((e.name for e in own_chapter.exercises), 2.0)
    results = Results(tmp_path / "results")
    results.write(Graded(name, "a.ipynb", "digest", "", ()))
    write_reports(tmp_path, Assignment(own_chapter.exercises, points), results)
    with (tmp_path / "grades.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["learner"] == written
