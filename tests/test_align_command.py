"""`attnbook align`: links and how right they are."""

import json
import re

import pytest

from command_line import attnbook, refused


@pytest.fixture(autouse=True)
def folder(parallel_text):
    return parallel_text


def test_align_on_the_grammar(capsys):
    words = ("align", "grammar-dot", "--data", "grammar", "--limit=40", "--quiet", "--device=cpu")
    code, out, err = attnbook(capsys, *words)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 40
    assert all(re.fullmatch(r"(\d+-\d+ ?)+", line) for line in lines)
    assert re.search(r"links in 40 pairs: alignment error rate \d+\.\d%, precision 9\d", err)
    assert "nats a target word" in err
    code, out, err = attnbook(capsys, *words, "--json")
    scores = json.loads(out)
    assert (code, err) == (0, "")
    assert scores["pairs"] == 40
    assert 0 < scores["error_rate"] < 0.2
    assert 0 < scores["entropy"] < 1


def test_align_scores_a_file(capsys, folder):
    (folder / "found.txt").write_text("1-1 2-2\n" * 6, encoding="utf-8")
    (folder / "gold.txt").write_text("1-1 2p2\n" * 5 + "1-1 2-2\n", encoding="utf-8")
    words = ("align", "found.txt", "--data", "text.de", "text.en", "--first=1")
    code, out, err = attnbook(capsys, *words, "--gold=gold.txt", "--json")
    assert code == 0
    scores = json.loads(out)
    assert scores == {"pairs": 6, "links": 12, "precision": 1, "recall": 1, "error_rate": 0}
    code, out, err = attnbook(capsys, *words)
    assert (code, err) == (0, "")
    assert out == "1-1 2-2\n" * 6
    code, out, err = attnbook(capsys, *words, "--json")
    assert (code, out) == (2, "")
    assert "the right links are not known; give --gold" in err


def test_align_refuses_a_file_of_other_sentences(capsys, folder):
    (folder / "found.txt").write_text("0-0 2-2\n" * 6, encoding="utf-8")
    code, out, err = attnbook(capsys, "align", "found.txt", "--data", "text.de", "text.en")
    assert (code, out) == (2, "")
    assert "found.txt, line 5: the link 2-2 lies outside a pair of 2 source and 2 target" in err


def test_mistakes_in_aligning(capsys):
    words = ("--data", "text.de", "text.en", "--quiet", "--device=cpu")
    code, out, err = attnbook(capsys, "align", "grammar-sutskever", *words)
    assert (code, out) == (2, "")
    assert "grammar-sutskever does not attend, so it has no weights" in err
    code, out, err = attnbook(capsys, "align", "grammar-dot", *words, "--limit=0")
    assert (code, out) == (2, "")
    assert "--limit: must be at least 1" in err


def test_a_file_in_another_encoding_is_named(capsys, folder):
    (folder / "gold.txt").write_bytes(b"0-0 1-1 # gr\xfc\xdfe\n" * 6)
    words = ("--data", "text.de", "text.en", "--gold=gold.txt")
    assert "gold.txt, line 1: not UTF-8" in refused(capsys, "align", "grammar-dot", *words)


def test_tokens_of_ones_own_keep_their_positions(capsys, folder):
    """Plain text would be cut into more tokens, and the last link would lie elsewhere."""
    (folder / "a.de").write_text("z.B. hier ist er\n", encoding="utf-8")
    (folder / "a.en").write_text("e.g. here he is\n", encoding="utf-8")
    (folder / "gold.txt").write_text("0-0 1-1 2-3 3-2\n", encoding="utf-8")
    (folder / "found.txt").write_text("0-0 1-1 2-2 3-2\n", encoding="utf-8")
    words = ("--data", "a.de", "a.en", "--gold=gold.txt", "--json")
    code, out, _ = attnbook(capsys, "align", "found.txt", *words, "--pretokenized")
    assert code == 0
    assert json.loads(out)["recall"] == 0.75
    words = ("--data", "a.de", "a.en", "--quiet", "--device=cpu")
    lines = {}
    for flags in ((), ("--pretokenized",)):
        code, out, _ = attnbook(capsys, "align", "grammar-dot", *words, *flags)
        assert code == 0
        lines[flags] = [tuple(map(int, link.split("-"))) for link in out.split()]
    assert max(j for _, j in lines["--pretokenized",]) == 3
    assert max(j for _, j in lines[()]) > 3
    (folder / "gold.txt").write_text("0-0 4-4\n", encoding="utf-8")
    err = refused(capsys, "align", "found.txt", *words, "--pretokenized", "--gold=gold.txt")
    assert "the link 4-4 lies outside a pair of 4 source and 4 target words" in err
