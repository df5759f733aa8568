"""What is read before anything is run: assignments, seeds, folders, archives, notebooks."""

from __future__ import annotations

import json
import struct
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest

from attnbook.exercises import exercises
from attnbook.exercises.definition import PRACTICE
from attnbook.grading.assignment import Results, read_assignment, read_seed
from attnbook.grading.classroom import grade_class
from attnbook.grading.grader import Grader
from attnbook.grading.submissions import LARGEST, Refused, code_cells, find
from classroom import notebook, write

pytestmark = pytest.mark.usefixtures("own_chapter")


def test_two_notebooks_of_one_name_are_refused(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "anna" / "05_dot_attention.ipynb", [])
    places = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ValueError, match="two notebooks are called"):
        grade_class(find(places), read_assignment(), "s", Results(tmp_path / "r"))


def test_an_assignment_from_a_file(tmp_path):
    path = tmp_path / "week.toml"
    path.write_text(
        'title = "Week 3"\nchapters = [40]\n[points]\nmasked_mean = 5\npair_products = 0\n',
        encoding="utf-8",
    )
    found = read_assignment(path)
    assert found.title == "Week 3"
    assert found.points == {"masked_mean": 5.0, "cooled": 2.0}
    assert found.total == 7
    assert read_assignment().total == sum(e.points for e in exercises().values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chapter = 5", "unknown key chapter"),
        ("chapters = [99]", "no chapter '99'"),
        ("[points]\nmasked_meen = 1", "did you mean masked_mean"),
        ("[points]\nmasked_mean = -1", "expected a number from 0"),
        ("[points]\nmasked_mean = 0", "no exercise with points"),
        ("x = ", "week.toml"),
        ("chapters = 5", "expected a list such as"),
        ('chapters = "56"', "expected a list such as"),
        ("points = 5", "expected a table"),
    ],
)
def test_an_assignment_that_makes_no_sense_is_refused(tmp_path, text, message):
    path = tmp_path / "week.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_assignment(path)


def test_the_seed_is_made_once(tmp_path):
    first = read_seed(tmp_path)
    assert len(first) == 32
    assert read_seed(tmp_path) == first
    given = tmp_path / "mine"
    given.write_text(" words \n", encoding="utf-8")
    assert read_seed(tmp_path, given) == "words"
    given.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="empty"):
        read_seed(tmp_path, given)
    with pytest.raises(FileNotFoundError):
        read_seed(tmp_path, tmp_path / "nowhere")


@pytest.mark.parametrize("seed", [PRACTICE, ""])
def test_the_seed_is_a_secret(own_chapter, seed):
    with pytest.raises(ValueError, match="secret"):
        Grader(own_chapter.exercises, seed)


def test_whose_a_notebook_is(tmp_path):
    for name in (
        "anna/05_dot_attention.ipynb", "bo/deep/er/x.ipynb", "cem_05_dot_attention.ipynb",
        "dora.ipynb", ".hidden/x.ipynb", "anna/.ipynb_checkpoints/x.ipynb", "notes.txt",
    ):  # fmt: skip
        write(tmp_path / name, [])
    assert [s.learner for s in find([tmp_path])] == ["anna", "bo", "cem", "dora", "notes"]
    with pytest.raises(ValueError, match="neither a folder"):
        list(find([tmp_path / "notes.txt"]))
    with pytest.raises(FileNotFoundError):
        list(find([tmp_path / "nowhere"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no notebook"):
        list(find([tmp_path / "empty"]))


def test_a_folder_around_all_learners_is_none(tmp_path):
    for name in ("hw/anna/05_dot_attention.ipynb", "hw/bo/05_dot_attention.ipynb"):
        write(tmp_path / "a" / name, [])
    assert [s.learner for s in find([tmp_path / "a"])] == ["anna", "bo"]
    for name in ("hw/anna_05_dot_attention.ipynb", "hw/bo_05_dot_attention.ipynb"):
        write(tmp_path / "b" / name, [])
    assert [s.learner for s in find([tmp_path / "b"])] == ["anna", "bo"]
    for name in ("anna/05_dot_attention.ipynb", "anna/06_general_concat.ipynb"):
        write(tmp_path / "c" / name, [])
    assert [s.learner for s in find([tmp_path / "c"])] == ["anna", "anna"]
    # One learner alone: it is the folder that has the name.
    for name in ("anna/my_05_dot_attention.ipynb", "anna/hw5/05_dot_attention.ipynb"):
        write(tmp_path / name.replace("/", "-") / name, [])
        assert [s.learner for s in find([tmp_path / name.replace("/", "-")])] == ["anna"]


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("anna/05_dot_attention.ipynb", "{}")
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x00\x00"))
    with pytest.raises(ValueError, match=r"class\.zip: a damaged zip archive"):
        list(find([path]))


def test_old_and_odd_notebook_formats_are_read():
    cells = [{"cell_type": "code", "input": ["a = 1\n", "b = 2"]}, {"cell_type": "markdown"}, 7]
    data = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode()
    assert code_cells(data) == ["a = 1\nb = 2"]
    odd: list[list[Any]] = [[{"cells": None}], [{}], [7, {"cells": {}}]]
    for sheets in odd:
        assert code_cells(json.dumps({"nbformat": 3, "worksheets": sheets}).encode()) == []
    lone = json.dumps(notebook(["x"])).replace('"x"', '"\\ud800"').encode()
    assert code_cells(lone) == ["?"]


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_a_size_that_lies_is_found_out(tmp_path):
    place = _zip(tmp_path / "lie.zip", {"eve/05_dot_attention.ipynb": bytes(LARGEST + 5000)})
    data = place.read_bytes().replace(
        (LARGEST + 5000).to_bytes(4, "little"), (99).to_bytes(4, "little")
    )
    place.write_bytes(data)
    (only,) = find([place])
    with pytest.raises(Refused):
        only.read()


def test_damaged_and_encrypted_entries_are_refused(tmp_path):
    place = _zip(tmp_path / "bad.zip", {"eve/05_dot_attention.ipynb": b"{}" * 1000})
    data = bytearray(place.read_bytes())
    data[45:60] = b"\xff" * 15
    place.write_bytes(data)
    (only,) = find([place])
    with pytest.raises(Refused):
        only.read()
    data = bytearray(_zip(place, {"eve/05_dot_attention.ipynb": b"{}"}).read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    place.write_bytes(data)
    (only,) = find([place])
    with pytest.raises(Refused, match="encrypted"):
        only.read()


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({"kernelspec": {"name": "attn-env"}}, ""),
        ({"kernelspec": {"name": "julia-1.9", "language": "python"}}, ""),
        ({"kernelspec": {"name": "ir", "language": "R"}}, "r"),
        ({"kernelspec": {"name": "python3"}, "language_info": {"name": "julia"}}, "julia"),
    ],
)
def test_a_kernel_may_have_any_name_and_its_language_counts(metadata, language):
    data = json.dumps(notebook(["x = 1"], metadata)).encode()
    if language:
        with pytest.raises(Refused, match=f"kernel is for '{language}'"):
            code_cells(data)
    else:
        assert code_cells(data) == ["x = 1"]


def test_a_mark_before_a_text_is_not_of_the_text(tmp_path):
    """Editors on Windows write one; the seed and the assignment are the same with it."""
    (tmp_path / "seed.txt").write_text("secret\n", encoding="utf-8-sig")
    assert read_seed(tmp_path) == "secret"
    path = tmp_path / "week.toml"
    path.write_text("chapters = [40]\n", encoding="utf-8-sig")
    assert read_assignment(path).exercises == read_assignment(chapter_names=["40"]).exercises
    path.write_text('title = "Übung"\n', encoding="cp1252")
    with pytest.raises(ValueError, match=r"week\.toml: not UTF-8"):
        read_assignment(path)


def said(place):
    """By learner, what is said of what they handed in: nothing of a notebook."""
    found: dict[str, list[str]] = {}
    for one in find([place]):
        try:
            one.read()
            found.setdefault(one.learner, []).append("")
        except Refused as why:
            found.setdefault(one.learner, []).append(str(why))
    return found


def test_nothing_that_was_handed_in_is_passed_over_in_silence(tmp_path):
    for name in (
        "anna/05_dot_attention.ipynb.txt", "bo/05_dot_attention.IPYNB", "cem/answer.py",
        "dora/05_dot_attention.ipynb", "dora/notes.txt", "eve/letter", ".DS_Store",
        "__MACOSX/fay/x.ipynb",
    ):  # fmt: skip
        write(tmp_path / name, [])
    (tmp_path / "gül" / "05_dot_attention.ipynb").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "hal.zip", "w") as archive:
        archive.write(tmp_path / "dora/05_dot_attention.ipynb", "week/05_dot_attention.ipynb")
    (tmp_path / "ida").mkdir()
    (tmp_path / "ida" / "work.zip").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "jo.zip", "w") as archive:
        archive.writestr("inner.zip", b"")
        archive.writestr("answer.py", "")
    found = said(tmp_path)
    assert found["anna"] == found["bo"] == found["dora"] == found["hal"] == [""]
    assert found["cem"] == [
        "answer.py is a file of the kind .py and no notebook; hand in the .ipynb"
    ]
    assert found["eve"] == [
        "letter is a file without an ending and no notebook; hand in the .ipynb"
    ]
    assert found["gül"] == ["this has a notebook's name and is no file"]
    assert "work.zip cannot be read" in found["ida"][0]
    assert "and no notebook" in found["jo"][0]
    assert set(found) == {"anna", "bo", "cem", "dora", "eve", "gül", "hal", "ida", "jo"}
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.name != "class.zip":
                archive.write(path, path.relative_to(tmp_path))
    assert said(tmp_path / "class.zip") == {k: v for k, v in found.items() if k != "gül"}


def test_a_learner_has_one_name_however_it_is_spelled(tmp_path):
    write(tmp_path / "a.ipynb", [])
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        spellings = (unicodedata.normalize("NFC", "Jörg"), unicodedata.normalize("NFD", "Jörg"))
        for number, name in enumerate(spellings):
            archive.write(tmp_path / "a.ipynb", f"{name}/{number}.ipynb")
        archive.write(tmp_path / "a.ipynb", "Bo/1.ipynb")
    assert {s.learner for s in find([tmp_path / "class.zip"])} == {"Jörg", "Bo"}
    # As Linux's zip writes it: bytes of UTF-8 without the mark that says so.
    data = (tmp_path / "class.zip").read_bytes()
    marked, plain = struct.pack("<H", 0x800), struct.pack("<H", 0)
    for start, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        parts = data.split(start)
        data = start.join(
            [
                parts[0],
                *(p[: place - 4] + p[place - 4 :].replace(marked, plain, 1) for p in parts[1:]),
            ]
        )
    (tmp_path / "unmarked.zip").write_bytes(data)
    assert {s.learner for s in find([tmp_path / "unmarked.zip"])} == {"Jörg", "Bo"}


def test_folders_of_chapters_are_nobodys_and_a_folder_of_one_learner_is(tmp_path):
    for name in ("05_dot_attention/anna/x.ipynb", "05_dot_attention/bo.ipynb",
                 "06_general_concat/anna/y.ipynb"):  # fmt: skip
        write(tmp_path / "class" / name, [])
    assert {s.learner for s in find([tmp_path / "class"])} == {"anna", "bo"}
    write(tmp_path / "amir" / "05_dot_attention.ipynb", [])
    assert [s.learner for s in find([tmp_path / "amir"])] == ["amir"]
