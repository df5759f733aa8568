"""`attnbook translate`: lines in, lines out."""

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from attnbook import decoding
from attnbook.__main__ import main
from attnbook.checkpoints import save
from attnbook.commands.heat import heat_map, width
from attnbook.trace import DecodingTrace
from command_line import attnbook, feed, refused, subprocess_of
from small_models import fitted, small


@pytest.fixture(autouse=True)
def folder(parallel_text):
    return parallel_text


@pytest.fixture
def model(model_file):
    return model_file


def test_translate_sentences(capsys, model):
    code, out, err = attnbook(capsys, "translate", model, "Ich trinkt Bier", "er ISST brot")
    assert (code, out, err) == (0, "i drinks some beer\nhe eats bread\n", "")
    assert attnbook(capsys, "translate", model, "er trinkt", "--beam-size=3")[1] == "he drinks\n"


def test_lines_of_a_file_stay_lines(capsys, model, folder):
    (folder / "in.txt").write_bytes(
        "\ufeffEr isst Brot\r\n\r\nIch isst Brot\n  \nEr trinkt".encode()
    )
    code, out, err = attnbook(capsys, "translate", model, "--file=in.txt")
    assert (code, out, err) == (0, "he eats bread\n\ni eats bread\n\nhe drinks\n", "")
    (folder / "in.txt").write_bytes(b"")
    assert attnbook(capsys, "translate", model, "--file=in.txt") == (0, "", "")


def test_standard_input(capsys, model, monkeypatch):
    feed(monkeypatch, b"er trinkt\n\ner isst brot\n")
    assert attnbook(capsys, "translate", model) == (0, "he drinks\n\nhe eats bread\n", "")
    feed(monkeypatch, b"er trinkt\nf\xfcr\n")
    code, out, err = attnbook(capsys, "translate", model)
    assert (code, out) == (2, "")
    assert "standard input, line 2: not UTF-8" in err


def test_at_a_terminal_each_line_is_answered(capsys, model, monkeypatch):
    feed(monkeypatch, b"er trinkt\ner lacht\n", terminal=True)
    code, out, err = attnbook(capsys, "translate", model)
    assert code == 0
    assert out.startswith("he drinks\n")
    assert out.count("\n") == 2
    assert "one sentence a line; end with Ctrl-D" in err
    assert "line 2: read as <unk>: lacht" in err


def test_unknown_and_cut_words_are_named(capsys, folder):
    translator = small(max_source_length=3).float()
    save(translator, folder / "short")
    code, out, err = attnbook(capsys, "translate", "short", "er", "heute lacht er heute nicht")
    assert code == 0
    assert out.count("\n") == 2
    assert err.splitlines() == [
        "attnbook: line 2: read as <unk>: heute, lacht, nicht",
        "attnbook: line 2: cut to its first 3 of 5 words",
    ]


def test_a_trace(capsys, model, folder):
    code, out, _ = attnbook(
        capsys, "translate", model, "er isst brot", "--trace=t.json", "--beam-size=2"
    )
    assert (code, out) == (0, "he eats bread\n")
    trace = DecodingTrace.load(folder / "t.json")
    assert trace.source_tokens == ("er", "isst", "brot", "<eos>")
    assert trace.text == "he eats bread"
    assert trace.attends


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.safetensors", "er", "ich", "--trace=t"], "--trace are for one sentence, got 2"),
        (["model.safetensors", "", "--trace=t"], "are for one sentence, got 0"),
        (["model.safetensors", "er", "--file=text.de"], "sentences or --file, not both"),
        (["model.safetensors", "er", "--beam-size=0"], "--beam-size: must be at least 1"),
        (["text.de", "er"], "text.de: not a readable checkpoint"),
        (["nothing", "er"], "nothing: no such file, and not one of the published models"),
        (["model.safetensors", "--file=nothing"], "nothing: No such file"),
        (["model.safetensors", "er", "--device=tpu-ish"], "device must be cpu"),
    ],
)
def test_mistakes_in_translating(capsys, model, words, message):
    code, out, err = attnbook(capsys, "translate", *words)
    assert (code, out) == (2, "")
    assert err.startswith("attnbook: error: ")
    assert err.count("\n") == 1
    assert message in err


# --- the whole way --------------------------------------------------------------------------------


def test_as_a_program_whose_reader_has_seen_enough(folder, model):
    """``attnbook translate … < file | head -3`` ends without a word."""
    (folder / "in").write_text("er trinkt\n\nich isst brot\n" + "\n" * 200_000)
    with open("in", "rb") as lines:
        running = subprocess_of("translate", model, "--device=cpu", cwd=folder, stdin=lines)
    with running:
        found = [running.stdout.readline() for _ in range(3)]
        assert found == ["he drinks\n", "\n", "i eats bread\n"]
        running.stdout.close()
        assert running.wait(timeout=900) == 0
        assert running.stderr.read() == ""


# --- as it comes ----------------------------------------------------------------------------------


def test_a_pipe_is_answered_line_by_line(folder, model):
    """Each answer is there before the next line is written."""
    running = subprocess_of("translate", model, "--device=cpu", cwd=folder, stdin=subprocess.PIPE)
    with running:
        for line, answer in (("er trinkt", "he drinks"), ("ich isst brot", "i eats bread")):
            running.stdin.write(f"{line}\n")
            running.stdin.flush()
            assert running.stdout.readline() == f"{answer}\n"
        running.stdin.write("er isst brot")  # without an end
        running.stdin.close()
        assert running.stdout.readline() == "he eats bread\n"
        assert running.wait(timeout=900) == 0


def test_what_has_come_is_one_batch(capsys, model, folder, monkeypatch):
    """A file is not translated sentence by sentence, which would take many times as long."""
    sizes = []
    whole = decoding.translate

    def translate(translator, sentences, **options):
        sizes.append(len(sentences))
        return whole(translator, sentences, **options)

    monkeypatch.setattr(decoding, "translate", translate)
    (folder / "in").write_text("er trinkt\n" * 300, encoding="utf-8")
    code, out, _ = attnbook(capsys, "translate", model, "--file=in")
    assert (code, out) == (0, "he drinks\n" * 300)
    assert sizes == [300]


def test_lines_keep_their_numbers_from_piece_to_piece(capsys, model, folder, monkeypatch):
    monkeypatch.setattr("attnbook.commands.translate.AT_ONCE", 12)
    (folder / "in").write_bytes(b"er trinkt\ner isst brot\ner lacht\ner trinkt brot\nf\xfcr\n")
    code, out, err = attnbook(capsys, "translate", model, "--file=in")
    assert code == 2
    assert out.startswith("he drinks\nhe eats bread\n")
    assert "line 3: read as <unk>: lacht" in err
    assert "error: in, line 5: not UTF-8" in err


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_is_no_sentence_is_refused(capsys, model, monkeypatch, end):
    feed(monkeypatch, b"er trinkt\n" + b"er " * 4_000_000 + end)
    code, out, err = attnbook(capsys, "translate", model)
    assert code == 2
    assert out in ("", "he drinks\n")
    assert "standard input, line 2: more than 20,000 characters are no sentence" in err


def test_pretokenized_sentences_are_taken_as_they_are(capsys, model):
    code, _, err = attnbook(capsys, "translate", model, "er  isst Brot's", "--pretokenized")
    assert (code, err) == (0, "attnbook: line 1: read as <unk>: Brot's\n")


# --- what the model looks at ----------------------------------------------------------------------


def test_a_page_a_plot_and_a_heat_map(capsys, model, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ("translate", model, "er isst brot", "--html=a.html", "--plot=a.svg", "--heatmap")
    code, out, err = attnbook(capsys, *words)
    assert (code, err) == (0, "")
    text, empty, source, *rows, gap, legend = out.splitlines()
    assert (text, empty, gap) == ("he eats bread", "", "")
    assert source.split() == ["er", "isst", "brot", "<eos>"]
    assert [row.split()[0] for row in rows] == ["he", "eats", "bread", "<eos>"]
    assert legend == "from 0.2 ░  0.4 ▒  0.6 ▓  0.8 █"
    page = (folder / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<title>er isst brot → he eats bread</title>" in page
    assert '<div class="attn-scrubber-figure' in page
    assert "<script src" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert (folder / "a.svg").read_text(encoding="utf-8").count("he eats bread") == 1
    assert {path.name for path in folder.iterdir()} == {
        *("a.html", "a.svg", "text.de", "text.en", model)
    }


def test_a_page_for_a_model_that_does_not_attend(capsys, folder):
    assert attnbook(capsys, "translate", "grammar-sutskever", "er", "--html=a.html")[0] == 0
    err = refused(capsys, "translate", "grammar-sutskever", "er", "--heatmap")
    assert "grammar-sutskever does not attend, so there are no weights to show" in err


@pytest.mark.parametrize("flag", ["--trace", "--html", "--plot"])
def test_what_exists_is_not_replaced_unasked(capsys, model, folder, flag):
    (folder / "a.svg").write_text("mine")
    words = ("translate", model, "er trinkt", f"{flag}=a.svg")
    assert "a.svg exists; give another file, or --overwrite" in refused(capsys, *words)
    assert (folder / "a.svg").read_text() == "mine"
    assert attnbook(capsys, *words, "--overwrite")[0] == 0
    assert (folder / "a.svg").read_text() != "mine"


def test_mistakes_about_files_of_a_sentence(capsys, model):
    words = ("translate", model, "er trinkt")
    assert "ends in .svg, not 'a.png'" in refused(capsys, *words, "--plot=a.png")
    assert "need a file each" in refused(capsys, *words, "--trace=a", "--html=a")
    assert "nowhere is a folder" not in refused(capsys, *words, "--trace=/proc/nowhere/a")


def test_a_page_that_cannot_be_written_is_kept_elsewhere(capsys, model, folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def full(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("attnbook.commands.outputs.os.replace", full)
    code, out, err = attnbook(capsys, "translate", model, "er trinkt", "--html=a.html")
    assert (code, out) == (2, "he drinks\n")
    found = re.search(r"error: a.html: No space left on device; the result is in (\S+) inst", err)
    assert found
    assert Path(found[1]).read_text(encoding="utf-8").startswith("<!doctype html>")


# --- heat maps ------------------------------------------------------------------------------------


def lines_of(trace, columns=80, backwards=False):
    return list(heat_map(trace, backwards=backwards, columns=columns, shades=" ░▒▓█"))


def test_a_heat_map_is_aligned_and_as_wide_as_the_terminal():
    trace = decoding.decode(fitted(), ["ich", "trinkt", "bier"])
    assert trace.weights is not None
    _, head, *rows = lines_of(trace)[:-2]
    for word, weights in zip(trace.source_tokens, trace.weights.T, strict=True):
        place = head.index(word)
        for row, weight in zip(rows, weights, strict=True):
            shade = " ░▒▓█"[min(int(weight * 5), 4)]
            cell = row.ljust(len(head))[place : place + len(word)]
            assert cell == shade * len(word)
    for columns in (13, 20, 30):
        narrow = lines_of(trace, columns=columns)[:-1]
        assert max(map(len, narrow)) <= columns
        blocks = narrow.count("") - 1  # an empty line before each, and one before the legend
        assert sum(line.startswith("<eos>") for line in map(str.strip, narrow)) >= blocks


def test_a_heat_map_has_the_order_of_the_sentence():
    translator = small(reverse_source=True)
    trace = decoding.decode(translator, ["ich", "trinkt", "bier"])
    head = lines_of(trace, backwards=True)[1]
    assert head.split() == ["ich", "trinkt", "bier", "<eos>"]


def test_wide_and_combined_letters_have_the_width_of_their_cells():
    assert [width(text) for text in ("bier", "ビール", "bu\u0308ro")] == [4, 6, 4]


def test_a_heat_map_where_there_are_no_blocks(capsys, model, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert main(["translate", model, "er trinkt", "--heatmap"]) == 0
    sys.stdout.seek(0)
    assert "0.8 #" in sys.stdout.read()
