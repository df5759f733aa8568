"""BERT against Hugging Face's with the same weights; pieces, hiding, and a training that learns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from attnbook import bert
from attnbook.bert import (
    IGNORE_INDEX,
    SPECIALS,
    Bert,
    BertConfig,
    Classifier,
    Pretraining,
    Texts,
    _read_tokenizer,
    hide,
    load,
    load_encoder,
    read_texts,
    train_wordpiece,
)
from attnbook.transformer import EncoderLayer

SENTENCES = [
    "a man in a blue shirt is standing on a ladder",
    "a man is sleeping in a green room",
    "two umbrellas , one umbrella",
    "three unbelievable dogs are running",
]
LETTERS = "abcdefghijklmnopqrstuvwxyz,"
SIZES = {"model_dim": 12, "num_heads": 3, "layers": 2, "feedforward_dim": 20, "max_positions": 17}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_wordpiece(SENTENCES, 90)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights as Hugging Face keeps it."""
    path = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(  # type: ignore[call-arg]  # the settings of its base class are not in its signature
        vocab_size=37, hidden_size=12, num_hidden_layers=3, num_attention_heads=3,
        intermediate_size=20, max_position_embeddings=17, attn_implementation="eager",
        initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForPreTraining(config).eval().save_pretrained(path)
    words = [*SPECIALS, *LETTERS, "##s", "##ly", "man", "dog", "umbrella"]
    (path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


# --- parity -----------------------------------------------------------------------------------


def test_every_state_and_weight_is_hugging_faces(folder: Path) -> None:
    """Hidden states of all layers, weights of all heads, the pooled state and both heads."""
    ours, _ = load(folder)
    theirs = transformers.BertForPreTraining.from_pretrained(folder, attn_implementation="eager")
    theirs.eval()
    ids = torch.randint(5, 37, (3, 11))
    types = (torch.arange(11) > 5).long().expand(3, 11)
    mask = torch.arange(11) < torch.tensor([11, 7, 1]).unsqueeze(1)
    right = theirs(
        ids, attention_mask=mask.long(), token_type_ids=types,
        output_hidden_states=True, output_attentions=True,
    )  # fmt: skip
    read = ours.bert(ids, types, mask, need_weights=True)
    assert len(read.hidden_states) == len(right.hidden_states) == 4
    for mine, other in zip(read.hidden_states, right.hidden_states, strict=True):
        torch.testing.assert_close(mine[mask], other[mask], atol=1e-5, rtol=1e-4)
    for look, other in zip(read.attentions, right.attentions, strict=True):
        assert look.weights is not None
        torch.testing.assert_close(look.weights, other, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        ours.piece_logits(read.states)[mask], right.prediction_logits[mask], atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        ours.next_logits(read.pooled), right.seq_relationship_logits, atol=1e-5, rtol=1e-4
    )
    without = ours.bert(ids, types, mask)
    assert without.attentions == ()
    torch.testing.assert_close(without.states[mask], read.states[mask], atol=1e-5, rtol=1e-4)


def test_the_loss_is_hugging_faces(folder: Path) -> None:
    ours, _ = load(folder)
    theirs = transformers.BertForPreTraining.from_pretrained(folder).eval()
    ids = torch.randint(5, 37, (3, 9))
    targets = torch.where(torch.rand(3, 9) < 0.4, ids, IGNORE_INDEX)
    follows = torch.tensor([0, 1, 1])
    everything = torch.ones(3, 9, dtype=torch.bool)
    texts = Texts(ids, torch.zeros_like(ids), everything, ~everything)
    mine = ours.loss(texts, bert.Masked(ids, targets), follows)
    right = theirs(ids, labels=targets, next_sentence_label=follows)
    torch.testing.assert_close(mine, right.loss, atol=1e-5, rtol=1e-5)


def test_older_files_and_names_are_read(folder: Path, tmp_path: Path) -> None:
    """``pytorch_model.bin``, with TensorFlow's names for the norms."""
    from safetensors.torch import load_file

    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    torch.save(weights, tmp_path / "pytorch_model.bin")
    for name in ("config.json", "vocab.txt"):
        (tmp_path / name).write_text((folder / name).read_text())
    ids = torch.randint(5, 37, (2, 7))
    new, old = load(folder)[0], load(tmp_path)[0]
    assert torch.equal(new.bert(ids).states, old.bert(ids).states)


def test_an_encoder_alone_is_read(folder: Path, tmp_path: Path) -> None:
    transformers.BertModel.from_pretrained(folder).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text((folder / "vocab.txt").read_text())
    ids = torch.randint(5, 37, (2, 7))
    encoder, _ = load_encoder(tmp_path)
    torch.testing.assert_close(encoder(ids).states, load(folder)[0].bert(ids).states)
    torch.testing.assert_close(load_encoder(folder)[0](ids).states, encoder(ids).states)
    with pytest.raises(ValueError, match="holds a BERT without its heads; load_encoder reads it"):
        load(tmp_path)


def test_the_tokenizer_is_hugging_faces(folder: Path) -> None:
    _, ours = load(folder)
    theirs = transformers.BertTokenizer(str(folder / "vocab.txt"))
    for text in ("man dogs", "Umbrellas, man!", "äbc dogly"):
        assert ours.encode(text).ids == theirs(text)["input_ids"]
    pair = ours.encode("man", "dogs a")
    right = theirs("man", "dogs a")
    assert (pair.ids, pair.type_ids) == (right["input_ids"], right["token_type_ids"])


@pytest.mark.parametrize(
    "options",
    [
        {"strip_accents": False},
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
    ],
    ids=str,
)
def test_what_a_tokenizer_was_told_is_honoured(
    folder: Path, tmp_path: Path, options: dict[str, bool]
) -> None:
    place = change(folder, tmp_path)
    with (place / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("möchte\nmochte\nMan\n語\n本\n語本\n")
    (place / "tokenizer_config.json").write_text(json.dumps(options))
    tokenizer = _read_tokenizer(place)
    theirs = transformers.BertTokenizer(str(place / "vocab.txt"), **cast("Any", options))
    for text in ("möchte Man", "語本 man"):
        assert tokenizer.encode(text).ids == theirs(text)["input_ids"]


def test_the_dropout_of_weights_is_the_files(folder: Path, tmp_path: Path) -> None:
    settings = {"attention_probs_dropout_prob": 0.25, "hidden_dropout_prob": 0.5}
    model, _ = load_encoder(change(folder, tmp_path, **settings))
    for layer in model.layers:
        assert isinstance(layer, EncoderLayer)
        assert layer.attention.dropout == 0.25
        assert layer.feedforward.dropout.p == layer.around_attention.dropout.p == 0.5


def change(folder: Path, tmp_path: Path, **settings: object) -> Path:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in (config | settings).items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


WRONG = {
    "another model": ({"model_type": "gpt2"}, "holds a gpt2, and only BERT can be read"),
    "activation": ({"hidden_act": "silu"}, "hidden_act is silu"),
    "positions": ({"position_embedding_type": "relative_key"}, "position_embedding_type is rel"),
    "decoder": ({"is_decoder": True}, "is_decoder is True, and only False can be read"),
    "untied": ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
    "missing": ({"hidden_size": None}, "config.json does not say hidden_size"),
    "more layers": ({"num_hidden_layers": 4}, "its weights do not fit its settings"),
    "width": ({"intermediate_size": 21}, "its weights do not fit its settings"),
}


@pytest.mark.parametrize(("settings", "message"), WRONG.values(), ids=list(WRONG))
def test_what_cannot_be_read_is_refused(
    folder: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(change(folder, tmp_path, **settings))


def test_a_missing_file_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        load(tmp_path)
    change(folder, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors nor pytorch_model"):
        load(tmp_path)


def test_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(bert, "snapshot_download", refused)
    with pytest.raises(ConnectionError, match="some/model: no such folder, and it could not be"):
        load("some/model")


# --- pieces -----------------------------------------------------------------------------------


def test_rare_words_are_cut(tokenizer: Tokenizer) -> None:
    vocabulary = tokenizer.get_vocab()
    assert [vocabulary[one] for one in SPECIALS] == [0, 1, 2, 3, 4]
    pieces = tokenizer.encode("umbrellas").tokens
    assert pieces[0] == "[CLS]"
    assert pieces[-1] == "[SEP]"
    assert "".join(piece.removeprefix("##") for piece in pieces[1:-1]) == "umbrellas"
    assert all(piece.startswith("##") for piece in pieces[2:-1])
    assert tokenizer.encode("a man").tokens == ["[CLS]", "a", "man", "[SEP]"]
    assert tokenizer.encode("ø").tokens == ["[CLS]", "[UNK]", "[SEP]"]


def test_the_same_texts_give_the_same_pieces() -> None:
    """Also in another process; every hash table of the trainer has another order."""
    code = (
        "from attnbook.bert import train_wordpiece\n"
        f"print(sorted(train_wordpiece({SENTENCES!r}, 90).get_vocab().items(), key=lambda x: x[1]))"
    )
    said = {subprocess.check_output([sys.executable, "-c", code], text=True)}
    for _ in range(10):
        numbers = train_wordpiece(SENTENCES, 90).get_vocab().items()
        said.add(f"{sorted(numbers, key=lambda x: x[1])}\n")
    assert len(said) == 1


def test_a_special_piece_in_a_text_is_one_piece(tokenizer: Tokenizer, folder: Path) -> None:
    for one in (tokenizer, load(folder)[1]):
        before = one.get_vocab()
        assert one.encode("a [MASK] man").tokens[2] == "[MASK]"
        assert one.get_vocab() == before


def test_there_must_be_room_for_letters() -> None:
    with pytest.raises(ValueError, match="size must be at least 10, for 5 special pieces and 5"):
        train_wordpiece(["abc", "b"], 9)
    vocabulary = train_wordpiece(["abc", "b"], 10).get_vocab()
    assert sorted(vocabulary, key=vocabulary.__getitem__)[5:] == ["a", "b", "c", "##b", "##c"]


def test_a_batch_of_texts(tokenizer: Tokenizer) -> None:
    texts = read_texts(tokenizer, [("a man", "a"), "a"])
    assert texts.ids.shape == (2, 6)
    assert texts.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1], [0] * 6]
    assert texts.mask.tolist() == [[True] * 6, [True] * 3 + [False] * 3]
    assert texts.special.tolist()[1] == [True, False, True, True, True, True]
    assert read_texts(tokenizer, ["a man in a blue shirt"], max_length=4).ids.shape == (1, 4)
    assert read_texts(tokenizer, ["a man in a blue shirt"]).ids.shape[1] > 4


def test_reading_leaves_the_tokenizer_as_it_was(tokenizer: Tokenizer) -> None:
    for kept in (None, 7):
        tokenizer.no_truncation() if kept is None else tokenizer.enable_truncation(kept)
        before = tokenizer.truncation
        read_texts(tokenizer, ["a man in a blue shirt"], max_length=4)
        read_texts(tokenizer, ["a man in a blue shirt"])
        assert tokenizer.truncation == before
    tokenizer.no_truncation()


@pytest.mark.parametrize(("texts", "longest"), [(["a man"], 2), ([("a man", "a")], 3)])
def test_there_must_be_room_for_a_text(
    tokenizer: Tokenizer, texts: list[str | tuple[str, str]], longest: int
) -> None:
    with pytest.raises(ValueError, match=f"max_length must be at least {longest + 1}"):
        read_texts(tokenizer, texts, max_length=longest)
    assert read_texts(tokenizer, texts, max_length=longest + 1).ids.shape == (1, longest + 1)


def test_no_special_piece_takes_the_place_of_a_hidden_one() -> None:
    """Also where the special pieces are not the first of the vocabulary, as in published ones."""
    words = ["[PAD]", "a", "b", "c", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "d"]
    tokenizer = Tokenizer(WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    texts = Texts(
        torch.full((1, 4000), 8), torch.zeros(1, 4000).long(), torch.ones(1, 4000).bool(),
        torch.zeros(1, 4000).bool(),
    )  # fmt: skip
    hidden = hide(texts, tokenizer, share=1.0, generator=torch.Generator().manual_seed(0))
    assert set(hidden.ids.unique().tolist()) == {1, 2, 3, 7, 8}


@pytest.mark.usefixtures("as_user")
def test_impossible_texts_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="size must be at least"):
        train_wordpiece(SENTENCES, 5)
    with pytest.raises(ValueError, match="there is no text"):
        read_texts(tokenizer, [])
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\]"):
        hide(read_texts(tokenizer, ["a"]), tokenizer, share=0.0, generator=torch.Generator())


# --- hiding -----------------------------------------------------------------------------------


def test_what_is_hidden_and_how(tokenizer: Tokenizer) -> None:
    """15 % of the ordinary pieces; of these 80 % masked, 10 % random, 10 % as they were."""
    texts = read_texts(tokenizer, [SENTENCES[0]] * 2000)
    hidden = hide(texts, tokenizer, generator=torch.Generator().manual_seed(0))
    asked = hidden.targets != IGNORE_INDEX
    assert not (asked & texts.special).any()
    assert torch.equal(hidden.targets[asked], texts.ids[asked])
    assert torch.equal(hidden.ids[~asked], texts.ids[~asked])
    ordinary = (~texts.special).sum()
    # A text of eleven or more pieces in which chance hides none gets one, so a little above 15 %.
    assert 0.15 <= float(asked.sum() / ordinary) < 0.18
    mask_id = tokenizer.token_to_id("[MASK]")
    assert mask_id is not None
    masked = hidden.ids[asked] == mask_id
    kept = hidden.ids[asked] == texts.ids[asked]
    assert float(masked.float().mean()) == pytest.approx(0.8, abs=0.02)
    # A random piece may be the right one.
    assert float(kept.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert (hidden.ids[asked & (hidden.ids != texts.ids)] >= 4).all()


def test_every_text_has_something_to_find(tokenizer: Tokenizer) -> None:
    texts = read_texts(tokenizer, ["a", "man", "a man"] * 50)
    hidden = hide(texts, tokenizer, share=0.01, generator=torch.Generator().manual_seed(0))
    assert ((hidden.targets != IGNORE_INDEX).sum(dim=1) >= 1).all()


# --- the model --------------------------------------------------------------------------------


def test_padding_changes_nothing(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    model = Bert(BertConfig(vocabulary_size=90, **SIZES)).double().eval()
    alone = read_texts(tokenizer, ["a man"])
    both = read_texts(tokenizer, ["a man", "a man in a room"])
    one, two = (model(texts.ids, texts.token_type_ids, texts.mask) for texts in (alone, both))
    torch.testing.assert_close(one.states[0], two.states[0, :4])
    torch.testing.assert_close(one.pooled[0], two.pooled[0])


def test_both_sides_are_seen() -> None:
    """Unlike a language model's, every state knows what stands behind it."""
    torch.manual_seed(0)
    model = Bert(BertConfig(vocabulary_size=90, **SIZES)).eval()
    ids = torch.randint(5, 90, (1, 6))
    other = ids.clone()
    other[0, 5] = 5 if ids[0, 5] != 5 else 6
    assert ((model(ids).states - model(other).states).abs().amax(dim=-1) > 0).all()


@pytest.mark.usefixtures("as_user")
def test_bad_input_is_named() -> None:
    model = Bert(BertConfig(vocabulary_size=90, **SIZES))
    with pytest.raises(ValueError, match="a text of 18 pieces; this model reads 17"):
        model(torch.zeros(1, 18, dtype=torch.long))
    with pytest.raises(ValueError, match="ids holds token id 90"):
        model(torch.full((1, 3), 90))
    with pytest.raises(ValueError, match="classes must be at least 2"):
        Classifier(model, 1)


def test_pretraining_and_fine_tuning_learn(tokenizer: Tokenizer) -> None:
    """Pieces are found again, and then a class is, each on a handful of sentences."""
    torch.manual_seed(0)
    model = Pretraining(
        BertConfig(vocabulary_size=90, dropout=0.0, **SIZES | {"max_positions": 40})
    )
    texts = read_texts(tokenizer, SENTENCES)
    chance = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def step(loss: torch.Tensor) -> float:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    losses = [step(model.loss(texts, hide(texts, tokenizer, generator=chance))) for _ in range(150)]
    assert sum(losses[-20:]) / 20 < 0.5 * losses[0]
    classifier = Classifier(model.bert, 2)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    right = torch.tensor([0, 0, 1, 1])
    for _ in range(60):
        step(torch.nn.functional.cross_entropy(classifier(texts), right))
    assert torch.equal(classifier(texts).argmax(dim=1), right)
