"""The translator: its settings, its loss, and that a batch changes nothing."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from attnbook.attention import Attention
from attnbook.batches import collate
from attnbook.checkpoints import save
from attnbook.corpora import SentencePair
from attnbook.decoders import ChoDecoder, LuongDecoder, SutskeverDecoder
from attnbook.decoding import decode, translate
from attnbook.encoder import Encoder
from attnbook.scores import DotScore, ScaledDotScore, Score
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig, TrainingConfig, TransformerConfig, config_of
from attnbook.training import train
from small_models import DECODERS, EXAMPLES, PAIRS, SOURCE, TARGET, name, small

EACH = pytest.mark.parametrize("settings", DECODERS, ids=name)


# --- loss -----------------------------------------------------------------------------------------


@EACH
def test_log_probs_are_those_of_each_sentence_alone(settings):
    translator = small(**settings)
    expected = []
    for example in EXAMPLES:
        batch = collate([example])
        logits = translator.decoder.logits(translator(batch).readouts[0])
        for step, word in enumerate([*example[1], 3]):
            row = logits[step].tolist()
            expected.append(row[word] - math.log(sum(math.exp(number) for number in row)))
    got = translator.log_probs(collate(EXAMPLES))
    assert got.tolist() == pytest.approx(expected)


@EACH
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_loss_equals_torchs_cross_entropy(settings, smoothing):
    """In float32, as it is trained: the loss is computed in 32 bits, whatever the weights have."""
    translator = small(**settings).float()
    batch = collate(EXAMPLES)
    loss = translator.loss(batch, smoothing)
    logits = translator.decoder.logits(translator(batch).readouts)
    answers = batch.target_out.masked_fill(~batch.target_mask, -100)
    expected = functional.cross_entropy(
        logits.flatten(0, 1), answers.flatten(), label_smoothing=smoothing
    )
    torch.testing.assert_close(loss.objective, expected)
    assert loss.tokens == 5 + 2 + 7
    torch.testing.assert_close(loss.nats, -translator.log_probs(batch).sum().detach())
    assert not loss.nats.requires_grad
    mine = torch.autograd.grad(loss.objective, translator.parameters(), allow_unused=True)
    theirs = torch.autograd.grad(expected, translator.parameters(), allow_unused=True)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)


@EACH
def test_the_loss_does_not_depend_on_padding(settings):
    translator = small(**settings)
    together = translator.loss(collate(EXAMPLES))
    alone = sum(float(translator.loss(collate([example])).nats) for example in EXAMPLES)
    assert float(together.nats) == pytest.approx(alone, rel=1e-6)
    batch = collate(EXAMPLES)
    batch.source[~batch.source_mask] = 9
    batch.target_in[~batch.target_mask] = 9
    batch.target_out[~batch.target_mask] = 9
    assert float(translator.loss(batch, 0.3).objective) == pytest.approx(
        float(translator.loss(collate(EXAMPLES), 0.3).objective)
    )


@EACH
def test_every_parameter_is_trained(settings):
    translator = small(**settings)
    translator.loss(collate(EXAMPLES)).objective.backward()
    unused = {
        parameter_name
        for parameter_name, parameter in translator.named_parameters()
        if parameter.grad is None or not torch.any(parameter.grad != 0)
    }
    assert unused == set()


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"decoder": "sutskever"}, SutskeverDecoder),
        ({"decoder": "cho"}, ChoDecoder),
        ({"decoder": "luong"}, LuongDecoder),
    ],
)
def test_decoders_by_name(settings, kind):
    translator = small(**settings)
    assert isinstance(translator.decoder, kind)
    assert translator.attends is (kind is LuongDecoder)


@pytest.mark.parametrize(("score", "kind"), [("dot", DotScore), ("scaled-dot", ScaledDotScore)])
def test_scores_by_name(score, kind):
    assert isinstance(small(score=score).decoder.attention.score, kind)


def test_count_parameters_by_hand():
    # Sutskever, GRU: embeddings 11·5 and 13·5, encoder and decoder 3·(14·5 + 14·14 + 2·14) each,
    # projection 14·5, output bias 13; the output matrix is the embedding.
    recurrent = 3 * (14 * 5 + 14 * 14 + 2 * 14)
    expected = 11 * 5 + 13 * 5 + 2 * recurrent + 14 * 5 + 13
    settings = {"decoder": "sutskever", "cell": "gru"}
    assert small(**settings).count_parameters() == expected
    assert small(**settings, tied=False).count_parameters() == expected + 13 * 5


def test_weights_start_between_minus_and_plus_a_tenth():
    translator = Translator.from_config(
        RecurrentConfig(embedding_dim=5, hidden_dim=14), SOURCE, TARGET
    )
    for parameter in translator.parameters():
        assert 0.05 < float(parameter.detach().abs().max()) <= 0.1
    assert translator.device == torch.device("cpu")


def test_word_vectors_may_start_larger():
    translator = Translator.from_config(
        RecurrentConfig(embedding_dim=199, embedding_std=2.0), SOURCE, TARGET
    )
    for weight in (translator.encoder.embedding.weight, translator.decoder.embedding.weight):
        assert float(weight.detach().std()) == pytest.approx(2.0, rel=0.1)
    assert isinstance(translator.decoder, LuongDecoder)
    assert float(translator.decoder.combine.weight.detach().abs().max()) <= 0.1
    assert translator.decoder.output.weight is translator.decoder.embedding.weight


def test_config_round_trip():
    for config in (
        RecurrentConfig(decoder="cho", max_source_length=7, dropout=0.3),
        TransformerConfig(num_heads=8, norm="post"),
    ):
        assert config_of(config.to_dict()) == config


def test_a_config_holds_what_its_decoder_has():
    assert "cell" not in TransformerConfig().to_dict()
    assert "embedding_dim" not in TransformerConfig().to_dict()
    assert not {"num_heads", "score"} & set(RecurrentConfig(decoder="cho").to_dict())
    with pytest.raises(TypeError, match="num_heads"):
        RecurrentConfig(num_heads=7)  # type: ignore[call-arg]  # the test is that this is refused
    with pytest.raises(TypeError, match="cell"):
        TransformerConfig(cell="gru")  # type: ignore[call-arg]  # the test is that this is refused
    with pytest.raises(ValueError, match="cell: not a setting of the transformer decoder"):
        config_of({"decoder": "transformer", "cell": "gru"})
    with pytest.raises(ValueError, match="score: not a setting of the cho decoder"):
        config_of({"decoder": "cho", "score": "dot"})
    with pytest.raises(ValueError, match="score belongs to the bahdanau and luong decoders; leave"):
        RecurrentConfig(decoder="cho", score="general")
    with pytest.raises(ValueError, match="input_feeding belongs to the luong decoder; leave it"):
        RecurrentConfig(decoder="bahdanau", input_feeding=True)
    with pytest.raises(
        ValueError, match=r"decoder must be one of sutskever, cho, .*; got 'oracle'"
    ):
        config_of({"decoder": "oracle"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoder": "bahdanaux"}, "decoder must be one of sutskever, cho, bahdanau, luong"),
        ({"score": "cosine"}, "score must be one of"),
        ({"cell": "elman"}, "cell must be one of"),
        ({"embedding_dim": 0}, "embedding_dim must be at least 1"),
        ({"hidden_dim": 1_000_000_000}, "hidden_dim must be at least 1 and at most 65,536"),
        ({"hidden_dim": -1}, "hidden_dim must be at least 1"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout"),
        (
            {"max_source_length": 0},
            r"max_source_length must be at least 1 and .* \(or None\), got 0",
        ),
        ({"embedding_std": 0.0}, "embedding_std must be above 0 and at most 100"),
    ],
)
def test_impossible_settings(values, message):
    with pytest.raises(ValueError, match=message):
        RecurrentConfig(**values)


def test_unknown_settings():
    with pytest.raises(ValueError, match="stacks, width: not a setting"):
        config_of({"width": 3, "stacks": 2, "layers": 1})


# --- sentences ------------------------------------------------------------------------------------


def test_source_ids_are_cut_and_reversed():
    words = ["ich", "du", "er", "unbekannt", "bier"]
    assert small().source_ids(words) == [4, 5, 6, 1, 7]
    assert small(max_source_length=3).source_ids(words) == [4, 5, 6]
    assert small(max_source_length=3, reverse_source=True).source_ids(words) == [6, 5, 4]
    with pytest.raises(ValueError, match="source sentence is empty"):
        small().source_ids([])


def test_examples():
    pairs = [SentencePair(("er", "trinkt"), ("he", "sleeps", "a"))]
    assert small(reverse_source=True).examples(pairs) == [([9, 6], [6, 1, 11])]


# --- put together by hand -------------------------------------------------------------------------


class Cosine(Score):
    """A score of one's own, which says 5 where query and key point the same way."""

    def score(self, queries, projected_keys):
        left, right = (functional.normalize(one, dim=-1) for one in (queries, projected_keys))
        return 5 * left @ right.mT


def by_hand():
    """An encoder that is wider than the decoder's words, and a score of one's own."""
    torch.manual_seed(0)
    encoder = Encoder(len(SOURCE), 9, 12, cell="gru", bidirectional=True)
    decoder = LuongDecoder(Attention(Cosine()), len(TARGET), 5, 12, cell="gru", readout_dim=5)
    return Translator(encoder, decoder, SOURCE, TARGET, name="mine", max_source_length=3)


def test_a_translator_put_together_by_hand_does_what_others_do(tmp_path):
    translator = by_hand()
    settings = TrainingConfig(epochs=8, batch_tokens=20, learning_rate=0.02)
    history = train(translator, PAIRS, PAIRS, settings, folder=tmp_path / "run", progress=False)
    assert history.best.validation_loss < history.epochs[0].validation_loss
    sources = [pair.source for pair in PAIRS]
    for beam_size in (1, 3):
        assert len(translate(translator, sources, beam_size=beam_size)) == len(PAIRS)
    trace = decode(translator, ["ich", "trinkt", "bier", "brot"])
    assert trace.model == "mine"
    assert trace.source_tokens == ("ich", "trinkt", "bier", "<eos>")
    assert trace.scores is not None
    assert np.abs(trace.scores).max() <= 5 + 1e-6
    with pytest.raises(ValueError, match=r"mine was put together by hand, .*from_config"):
        save(translator, tmp_path / "mine.safetensors")
    assert not (tmp_path / "mine.safetensors").exists()


def test_a_run_by_hand_goes_on_with_the_same_shapes_only(tmp_path):
    settings = TrainingConfig(epochs=1, batch_tokens=20)
    train(by_hand(), PAIRS, PAIRS, settings, folder=tmp_path, progress=False)
    train(by_hand(), PAIRS, PAIRS, settings, folder=tmp_path, progress=False)
    with pytest.raises(ValueError, match="belongs to a run with other"):
        train(small().float(), PAIRS, PAIRS, settings, folder=tmp_path, progress=False)


def test_settings_build_what_they_describe():
    translator = Translator.from_config(RecurrentConfig(reverse_source=True), SOURCE, TARGET)
    assert translator.reverse_source
    assert translator.config == RecurrentConfig(reverse_source=True)
    assert by_hand().config is None
