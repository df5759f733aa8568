"""Words into pieces and back, and translators that read and write pieces."""

import json
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnbook.checkpoints import load, save
from attnbook.corpora import SentencePair
from attnbook.decoding import decode, teacher_forced_attention, translate
from attnbook.evaluation import bleu
from attnbook.seq2seq import Translator
from attnbook.settings import config_of
from attnbook.subwords import Subwords, join, word_numbers
from attnbook.training import TrainingConfig, train
from attnbook.vocabulary import Vocabulary
from command_line import FILES, SMALL, attnbook, refused

SENTENCES = [["low"] * 5 + ["lower"] * 2, ["newest"] * 6 + ["widest"] * 3]
PAIRS = [
    SentencePair(("der", "niedrige", "turm"), ("the", "low", "tower")),
    SentencePair(("der", "hohe", "turm"), ("the", "high", "tower")),
    SentencePair(("der", "turm", "ist", "hoch"), ("the", "tower", "is", "high")),
]
LEARNED = Subwords.learn(SENTENCES, 24)


def translator(**settings):
    torch.manual_seed(0)
    sides = [Subwords.learn([pair.source for pair in PAIRS], 24),
             Subwords.learn([pair.target for pair in PAIRS], 24)]  # fmt: skip
    sizes: dict[str, Any] = {"hidden_dim": 16, "dropout": 0.0}
    if settings.get("decoder") != "transformer":
        sizes |= {"embedding_dim": 12, "hidden_dim": 14}
    config = config_of(sizes | settings)
    source, target = (Vocabulary(side.pieces) for side in sides)
    return Translator.from_config(
        config, source, target, source_subwords=sides[0], target_subwords=sides[1]
    )


# --- pieces ---------------------------------------------------------------------------------------


def test_the_paper_s_example():
    """Sennrich et al. (2016), section 3.2: es and est are the first pieces."""
    assert LEARNED.merges[:2] == (("e@@", "s@@"), ("es@@", "t"))
    assert LEARNED.encode(["lowest"]) == ["lo@@", "w@@", "est"]
    assert LEARNED.decode(["low@@", "est"]) == ["lowest"]
    assert len(LEARNED) == len(set(LEARNED.pieces)) == 24


@given(st.lists(st.text(min_size=1).filter(lambda word: "@@" not in word)), st.floats(0, 0.99))
def test_there_and_back(words, dropout):
    pieces = LEARNED.encode(words, dropout=dropout, chance=random.Random(0))
    # A word may end in one @, and then is not taken for one that goes on.
    assert LEARNED.decode(pieces) == words
    numbers = word_numbers(pieces)
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(len(words)))


def test_nothing_and_what_was_never_seen():
    assert LEARNED.encode([]) == []
    assert LEARNED.decode([]) == []
    vocabulary = Vocabulary(LEARNED.pieces)
    pieces = LEARNED.encode(["lowßest"])
    assert [piece for piece in pieces if piece not in vocabulary] == ["ß@@"]
    assert LEARNED.encode(["a@@"]) == ["<unk>"]


def test_a_translation_that_was_cut_within_a_word():
    assert join(["a", "low@@"]) == ["a", "low"]


@pytest.mark.parametrize(
    ("sentences", "size", "message"),
    [
        ([], 100, "no word to learn"),
        ([[]], 100, "no word to learn"),
        (SENTENCES, 3, r"3 pieces are too few: the characters alone are \d+"),
        ([["lo@@", "w"]], 100, "cut into subwords already"),
    ],
)
def test_what_cannot_be_learned(sentences, size, message):
    with pytest.raises(ValueError, match=message):
        Subwords.learn(sentences, size)


def test_a_merge_of_pieces_that_are_not_there():
    with pytest.raises(ValueError, match="'b' cannot be merged"):
        Subwords(["a@@"], [("a@@", "b")])


def test_every_process_learns_the_same():
    """The library numbers pieces in a random order, on which equally frequent pairs depend."""
    program = (
        "from attnbook.subwords import Subwords; "
        "words = [[a + b + c for a in 'xyz'] for b in 'uvw' for c in 'rst']; "
        "print(Subwords.learn(words, 40).merges)"
    )
    runs = {subprocess.check_output([sys.executable, "-c", program]) for _ in range(3)}
    assert len(runs) == 1


def test_dropped_merges():
    words = ["newest", "lower", "widest"] * 5
    cut = [LEARNED.encode(words, dropout=0.5, chance=random.Random(seed)) for seed in (1, 1, 2)]
    assert cut[0] == cut[1] != cut[2]
    assert len(cut[0]) > len(LEARNED.encode(words))
    assert set(cut[0]) <= set(LEARNED.pieces)


# --- translators ----------------------------------------------------------------------------------


def test_words_in_and_words_out():
    model = translator(embedding_std=1.0)
    settings = TrainingConfig(epochs=40, learning_rate=2e-2, label_smoothing=0.0)
    train(model, PAIRS, PAIRS, settings, progress=False)
    sources = [pair.source for pair in PAIRS]
    found = translate(model, sources)
    assert found == [list(pair.target) for pair in PAIRS]
    assert bleu(found, [pair.target for pair in PAIRS]).score == pytest.approx(100)
    trace = decode(model, sources[0], masked=[1], gold_links=[(1, 1)], target=PAIRS[0].target)
    assert any(token.endswith("@@") for token in trace.source_tokens)
    assert join(trace.source_tokens[:-1]) == list(sources[0])
    assert trace.text == "the low tower"
    hidden = [i for i, word in enumerate(model.source_places(sources[0])) if word == 1]
    assert len(hidden) > 1
    assert trace.weights is not None
    assert trace.gold_links is not None
    assert np.all(trace.weights[:, hidden] == 0)
    assert {i for i, _ in trace.gold_links} == set(hidden)
    (weights,) = teacher_forced_attention(model, PAIRS[:1])
    assert weights.shape == (len(trace.target_tokens) - 1, len(trace.source_tokens))


@pytest.mark.parametrize("decoder", ["luong", "transformer"])
def test_saved_and_loaded(tmp_path, decoder):
    model = translator(decoder=decoder).eval()
    save(model, tmp_path / "model.safetensors")
    found = load(tmp_path / "model.safetensors")
    assert found.source_subwords == model.source_subwords
    assert found.target_subwords == model.target_subwords
    sources = [pair.source for pair in PAIRS]
    assert translate(found, sources) == translate(model, sources)


def test_merges_belong_to_the_checksum(tmp_path):
    path = tmp_path / "model.safetensors"
    model = translator()
    save(model, path)
    pair = json.dumps(list(model.source_subwords.merges[-1]))
    content = path.read_bytes()
    inside = json.dumps(pair)[1:-1].encode()
    assert inside in content
    path.write_bytes(content.replace(inside, inside.replace(b"@@", b"@+", 1)))
    with pytest.raises(ValueError, match="damaged"):
        load(path)


def test_dropout_of_merges_resumes_with_the_same_numbers(tmp_path):
    settings = TrainingConfig(epochs=4, bpe_dropout=0.3, batch_tokens=20, save_every=1)
    whole = translator()
    train(whole, PAIRS, PAIRS, settings, progress=False)

    class Enough(Exception):
        pass

    def stop(epoch):
        if epoch.number == 2:
            raise Enough

    stopped = translator()
    with pytest.raises(Enough):
        train(stopped, PAIRS, PAIRS, settings, folder=tmp_path,
              progress=False, after_epoch=stop)  # fmt: skip
    again = translator()
    train(again, PAIRS, PAIRS, settings, folder=tmp_path, progress=False)
    one, other = whole.state_dict(), again.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    first, second = (whole.examples_with_dropout(PAIRS, 0.3, seed) for seed in (0, 1))
    assert first != second


def test_dropout_of_merges_needs_merges():
    model = translator()
    model.source_subwords = None
    with pytest.raises(ValueError, match="bpe_dropout: this translator has whole words"):
        train(model, PAIRS, PAIRS, TrainingConfig(bpe_dropout=0.1), progress=False)


# --- commands -------------------------------------------------------------------------------------


def test_from_files_to_translations(capsys, parallel_text):
    code, _, err = attnbook(
        capsys, "train", *FILES, *SMALL, "--subwords=40", "--bpe-dropout=0.1", "--epochs=2",
        "--output=my.safetensors",
    )  # fmt: skip
    assert code == 0, err
    assert "pieces of words" in err
    model = load("my.safetensors")
    assert model.source_subwords is not None
    code, out, _ = attnbook(capsys, "info", "my.safetensors")
    assert code == 0
    assert "target pieces of words, by" in out
    source = parallel_text.joinpath("text.de").read_text(encoding="utf-8").splitlines()[0]
    code, out, err = attnbook(capsys, "translate", "my.safetensors", source, "--heatmap",
                              "--html=a.html", "--plot=a.svg", "--device=cpu")  # fmt: skip
    assert code == 0, err
    assert "@@" not in out.splitlines()[0]
    data = ["--data", "text.de", "text.en", "--device=cpu", "--quiet"]
    code, out, err = attnbook(capsys, "align", "my.safetensors", *data)
    assert code == 0, err
    pairs = [tuple(map(int, link.split("-"))) for link in out.splitlines()[0].split()]
    target = parallel_text.joinpath("text.en").read_text(encoding="utf-8").splitlines()[0]
    assert {j for _, j in pairs} <= set(range(len(target.split()) + 3))
    code, out, err = attnbook(capsys, "evaluate", "my.safetensors", *data, "--resamples=2")
    assert code == 0, err


@pytest.mark.usefixtures("parallel_text")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--subwords=2"], "2 pieces are too few"),
        (["--subwords=50", "--max-words=9"], "leave out --min-count and --max-words"),
        (["--bpe-dropout=0.1"], "leaves out merges of --subwords; give that, too"),
    ],
)
def test_flags_that_do_not_fit(capsys, flags, message):
    assert message in refused(capsys, "train", *FILES, *SMALL, *flags)
