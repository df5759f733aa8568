"""The class that an instructor can try the grading on."""

import json

import pytest

from attacks import ATTACKS
from attnbook.grading.submissions import code_cells, find
from scripts import load_script


@pytest.fixture(scope="module")
def tool():
    return load_script("tools/made_class.py")


def test_a_made_class_has_fifty_learners_twelve_of_them_hostile(tool, tmp_path):
    written = tool.make(tmp_path)
    learners = {s.learner: code_cells(s.read()) for s in find([tmp_path])}
    assert len(written) == len(learners) == 50
    assert len(set(learners) & set(ATTACKS)) == 12
    for name, cells in learners.items():
        assert any("def dot_scores(" in cell for cell in cells), name
        for mark in ("{secret}", "{out}", "{port}", "{package}", "{name}", "right_", "wrong_"):
            assert not any(mark in cell for cell in cells), name


def test_it_is_the_same_class_every_time(tool, tmp_path):
    paths = tool.make(tmp_path), tool.make(tmp_path / "again")
    honest = [[p for p in made if p.parent.name in tool.HONEST] for made in paths]
    texts = [[p.read_text(encoding="utf-8") for p in made] for made in honest]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 20


def test_larger_and_harmless_classes_can_be_made(tool, tmp_path, monkeypatch, capsys):
    words = ["made_class.py", str(tmp_path), "--learners", "90", "--hostile", "0"]
    monkeypatch.setattr("sys.argv", words)
    tool.main()
    assert "90 notebooks" in capsys.readouterr().out
    learners = {s.learner for s in find([tmp_path])}
    assert len(learners) == 90
    assert {"anna", "anna-2", "anna-3"} <= learners
    assert not learners & set(ATTACKS)
    assert json.loads((tmp_path / "zoe" / "05_dot_attention.ipynb").read_text())["nbformat"] == 4


def test_a_class_cannot_have_more_attackers_than_learners(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["made_class.py", str(tmp_path), "--learners", "3"])
    with pytest.raises(SystemExit):
        tool.main()
    assert "at least as many as are hostile, 12" in capsys.readouterr().err
