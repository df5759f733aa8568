"""`attnbook evaluate`: scores of models."""

import json

import pytest

from attnbook.checkpoints import load, save
from attnbook.evaluation import bleu, free_running_perplexity, teacher_forced_perplexity
from command_line import attnbook
from small_models import PAIRS, small


@pytest.fixture(autouse=True)
def folder(parallel_text):
    return parallel_text


@pytest.fixture
def model(model_file):
    return model_file


def test_evaluate_as_json(capsys, model, folder):
    save(small(decoder="cho").float(), folder / "untrained")
    code, out, err = attnbook(
        capsys,
        *("evaluate", model, "untrained", "--data", "text.de", "text.en", "--json", "--quiet"),
        *("--resamples=100", "--beam-size=3", "--device=cpu"),
    )
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["pairs"] == 6
    assert result["data"] == "text.de and text.en"
    good, bad = result["models"]
    assert good["model"] == "fitted-luong"
    assert good["bleu_greedy"]["score"] == pytest.approx(
        bleu([pair.target for pair in PAIRS], [pair.target for pair in PAIRS]).score
    )
    assert good["exact_match_greedy"] == 1.0
    assert bad["exact_match_greedy"] == 0.0
    assert good["beam_size"] == 3
    for row, translator in ((good, load(model)), (bad, load("untrained"))):
        assert row["perplexity_teacher_forced"] == teacher_forced_perplexity(translator, PAIRS)
        assert row["perplexity_free_running"] == free_running_perplexity(translator, PAIRS)
        assert 0 <= row["bleu_beam"]["low"] <= row["bleu_beam"]["high"] + 1e-9
    assert bad["perplexity_teacher_forced"] > 2 > good["perplexity_teacher_forced"]


def test_evaluate_as_a_table(capsys, model):
    code, out, _ = attnbook(
        capsys,
        *("evaluate", model, "--data", "text.de", "text.en", "--limit=4", "--resamples=10"),
        *("--quiet", "--device=cpu"),
    )
    assert code == 0
    header, row, empty, data, signature = out.splitlines()
    assert len(header) == len(row)
    assert "perplexity, teacher-forced  perplexity, free-running" in header
    assert "BLEU, greedy" in header
    assert "BLEU, beam 5" in header
    assert "100.0 %" in row
    assert empty == ""
    assert data == "4 pairs: text.de and text.en; intervals: 95 %, bootstrap"
    assert "tok:none" in signature


def test_evaluate_shows_progress_and_reads_splits(capsys, model):
    words = ("evaluate", model, "--data", "grammar", "--grammar-words", "6", "8", "--split=val")
    code, out, err = attnbook(capsys, *words, "--limit=2", "--resamples=2", "--device=cpu")
    assert code == 0
    assert "2 pairs: grammar, val, 6 to 8 German words, seed 0" in out
    assert "sentence" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit=0"], "--limit: must be at least 1 and at most 1,000,000,000, got 0"),
        (["--resamples=1"], "--resamples: must be at least 2 and at most 100,000, got 1"),
        (["--split=val"], "--split test, or name the files"),
    ],
)
def test_mistakes_in_evaluating(capsys, model, words, message):
    code, out, err = attnbook(capsys, "evaluate", model, "--data", "text.de", "text.en", *words)
    assert (code, out) == (2, "")
    assert message in err
