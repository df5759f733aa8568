"""A museum of real bugs: what public attention code had, beside what is right, and the test.

Every exhibit is a function or class that does what some public code did, written anew with this
package's names and shapes, so that it takes the place of the right one. A *check* is the test
that would have caught it. It works on a small input, passes on the right one, and says in words
what is wrong with the other::

    exhibit = EXHIBITS["mask-after-softmax"]
    exhibit.check(exhibit.right)   # nothing happens
    exhibit.check(exhibit.broken)  # AssertionError: row 0 has the weights 0.000, 0.000, 0.000 …

Nothing here is for use. The threads say what happened to each bug; most were repaired long ago.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attnbook.attention import Attention, AttentionOutput, masked_softmax
from attnbook.batches import Batch, Example, collate, pad
from attnbook.corpora import SentencePair
from attnbook.decoders import DecoderOutput
from attnbook.decoding import teacher_forced_attention, translate
from attnbook.encoder import Encoder
from attnbook.evaluation import free_running_perplexity, teacher_forced_perplexity
from attnbook.masks import causal_mask
from attnbook.scores import DotScore, ScaledDotScore, Score, additive_scores
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.vocabulary import EOS, SOS, Vocabulary

__all__ = ["EXHIBITS", "AttentionWith", "Exhibit", "NextWord", "tiny_translator"]

Softmax = Callable[..., Tensor]


@dataclass(frozen=True)
class Exhibit:
    """A bug, what should have been there, and the test that tells them apart.

    Attributes:
        name: short, for code.
        title: what is wrong, in words.
        broken: does what the public code did.
        right: the package's own, called in the same way.
        check: a test of either; raises AssertionError and says what is wrong.
        threads: where it was seen, ``owner/repository#number``, the main one first.
    """

    name: str
    title: str
    broken: Any
    right: Any
    check: Callable[[Any], None]
    threads: tuple[str, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the threads can be read. GitHub leads from here to a pull request, too."""
        return tuple(
            f"https://github.com/{thread.replace('#', '/issues/')}" for thread in self.threads
        )


def expect(holds: object, message: str) -> None:
    """Raise ``AssertionError`` with the message unless something holds, under ``python -O`` too."""
    if not holds:
        raise AssertionError(message)


# --- scores -----------------------------------------------------------------------------------


class AttentionByPosition(Attention):
    """The weights come from the query alone; what stands in the source is never compared.

    Seen in the sequence-to-sequence tutorial of PyTorch, pytorch/tutorials#1098. There the query
    was the decoder's state beside the word that it reads next.
    """

    def __init__(self, score: Score, query_dim: int = 3, longest: int = 30) -> None:
        super().__init__(score)
        self.position = nn.Linear(query_dim, longest)

    def forward(
        self,
        queries: Float[Tensor, "*batch target query_dim"],
        keys: Float[Tensor, "*batch source key_dim"],
        values: Float[Tensor, "*batch source value_dim"],
        mask: Bool[Tensor, ...] | None = None,
        projected_keys: Float[Tensor, "*batch source projected_dim"] | None = None,
    ) -> AttentionOutput:
        """A score for the first place, one for the second, and so on."""
        scores = self.position(queries)[..., : keys.shape[-2]]
        weights = masked_softmax(scores, mask)
        return AttentionOutput(weights @ values, weights, scores)


def without_tanh(
    queries: Float[Tensor, "*batch target attention_dim"],
    keys: Float[Tensor, "*batch source attention_dim"],
    v: Float[Tensor, " attention_dim"],
) -> Float[Tensor, "*batch target source"]:
    """The tanh is missing, and with it any influence of the query on the weights.

    Seen in AuCson/PyTorch-Batch-Attention-Seq2seq#3 and keon/seq2seq#3.
    """
    pairs = queries.unsqueeze(-2) + keys.unsqueeze(-3)
    return pairs @ v


def check_source_matters(attention: Callable[..., Attention]) -> None:
    """Let the keys change places: the weights must go with them."""
    query = torch.tensor([[2.0, 0.0, 1.0]])
    keys = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [-1, 0, 0]])
    look = attention(DotScore())
    before, after = look(query, keys, keys).weights[0], look(query, keys.flip(0), keys).weights[0]
    expect(
        torch.allclose(after, before.flip(0), atol=1e-6),
        f"the keys were reversed, and the weights {_row(before)} became {_row(after)}, "
        f"not {_row(before.flip(0))}: the weights do not depend on what the keys are",
    )


def check_formula(scores: Callable[..., Tensor]) -> None:
    """The formula as it is printed, v tanh(q + k), with loops."""
    queries = torch.tensor([[2.0, 1.0], [-1.0, 1.0]])
    keys = torch.tensor([[-2.0, 0.0], [1.0, 1.0], [3.0, 1.0], [-1.0, 1.0], [0.0, 2.0]])
    v = torch.tensor([2.0, -1.0])
    found = scores(queries, keys, v).tolist()
    for t, query in enumerate(queries.tolist()):
        for i, key in enumerate(keys.tolist()):
            pair = [math.tanh(q + k) for q, k in zip(query, key, strict=True)]
            right = 2.0 * pair[0] - 1.0 * pair[1]
            expect(
                math.isclose(found[t][i], right, abs_tol=1e-5),
                f"query {t} and key {i} have the score {found[t][i]:.3f}; "
                f"by the formula it is {right:.3f}",
            )


# --- softmax and masks ------------------------------------------------------------------------


def softmax_over_batch(
    scores: Float[Tensor, "batch target source"], mask: Bool[Tensor, ...] | None = None
) -> Float[Tensor, "batch target source"]:
    """The sentences of a batch share a weight of 1 among them, place by place.

    Seen in PetrochukM/PyTorch-NLP#2.
    """
    weights = torch.softmax(scores, dim=0)
    return weights if mask is None else weights.masked_fill(~mask, 0.0)


def without_mask(
    scores: Float[Tensor, "*batch target source"], mask: Bool[Tensor, ...] | None = None
) -> Float[Tensor, "*batch target source"]:
    """The mask never arrives, and padding is attended to.

    Seen in TensorFlow's seq2seq.py, tensorflow/tensorflow#512.
    """
    return torch.softmax(scores, dim=-1)


def inverted_mask(
    scores: Float[Tensor, "*batch target source"], mask: Bool[Tensor, ...]
) -> Float[Tensor, "*batch target source"]:
    """A mask in which True means "look" is read as one in which True means "do not look".

    Seen in tensorflow/text#894 and huggingface/transformers#38094.
    """
    return torch.softmax(scores.masked_fill(mask, -1e9), dim=-1)


def mask_along_rows(
    scores: Float[Tensor, "batch words words"], mask: Bool[Tensor, "batch 1 words"]
) -> Float[Tensor, "batch words words"]:
    """The mask hides the rows of the padding, not its columns.

    Seen in hyunwoongko/transformer#40 and lsdefine/attention-is-all-you-need-keras#16. It runs
    where queries and keys are equally many, as in self-attention.
    """
    turned = mask.transpose(1, 2)  # (batch, words, 1) broadcasts as well
    return torch.softmax(scores.masked_fill(~turned, -1e4), dim=-1)


def mask_times_scores(
    scores: Float[Tensor, "*batch target source"], mask: Bool[Tensor, ...]
) -> Float[Tensor, "*batch target source"]:
    """A hidden position gets the score 0, which is not low but average.

    Seen in georg-wolflein/good-features#1.
    """
    return torch.softmax(scores * mask, dim=-1)


def mask_after_softmax(
    scores: Float[Tensor, "*batch target source"], mask: Bool[Tensor, ...]
) -> Float[Tensor, "*batch target source"]:
    """Padding takes its share of the weight first, and then the share is thrown away.

    Seen in huggingface/pytorch-image-models#2236.
    """
    return torch.softmax(scores, dim=-1).masked_fill(~mask, 0.0)


def large_constant(
    scores: Float[Tensor, "*batch target source"], mask: Bool[Tensor, ...]
) -> Float[Tensor, "*batch target source"]:
    """Hidden positions get a score that is very low, but not lower than every other.

    Seen in TransformerLensOrg/TransformerLens#318; what training can make of it was seen in
    karpathy/minGPT#75.
    """
    return torch.softmax(scores.masked_fill(~mask, -1e5), dim=-1)


class AttentionWith(Attention):
    """Attention with a softmax of one's choice, to put an exhibit into a model.

    Args:
        score: how queries and keys are compared.
        softmax: called with scores and mask.
    """

    def __init__(self, score: Score, softmax: Softmax) -> None:
        super().__init__(score)
        self.softmax = softmax

    def weighted_sum(
        self,
        scores: Float[Tensor, "*batch target source"],
        values: Float[Tensor, "*batch source value_dim"],
        mask: Bool[Tensor, ...] | None = None,
    ) -> AttentionOutput:
        """The other softmax, weighted sum."""
        weights = self.softmax(scores, mask)
        return AttentionOutput(weights @ values, weights, scores)


def check_rows(softmax: Softmax) -> None:
    """Two sentences of two words, by hand: ln 3 against 0 is three to one."""
    scores = torch.tensor([[[0.0, math.log(3)]], [[0.0, 0.0]]])
    weights = softmax(scores, torch.ones(2, 1, 2, dtype=torch.bool))
    for number, right in enumerate(([0.25, 0.75], [0.5, 0.5])):
        row = weights[number, 0]
        expect(
            torch.allclose(row, torch.tensor(right), atol=1e-6),
            f"sentence {number} has the weights {_row(row)}, which sum to {float(row.sum()):.2f}; "
            f"by hand they are {_row(torch.tensor(right))}",
        )


def check_padding(softmax: Softmax) -> None:
    """Two words and a place of padding: the same weights as for the two words alone."""
    scores = torch.tensor([0.0, math.log(3), math.log(4)]).repeat(1, 3, 1)
    mask = torch.tensor([[[True, True, False]]])
    for number, row in enumerate(softmax(scores, mask)[0]):
        right = torch.allclose(row, torch.tensor([0.25, 0.75, 0.0]), atol=1e-6)
        expect(right, f"row {number} has the weights {_row(row)}, and 0.250, 0.750 are right")


def check_extremes(softmax: Softmax) -> None:
    """Scores that a public model really had, and a row that may look nowhere."""
    real = [-110208.0, -110190.0, -110207.0, -110208.0, -110193.0]
    scores = torch.tensor([[[*real, 0.0, 0.0, 0.0]]])
    hidden = float(softmax(scores, torch.arange(8).view(1, 1, 8) < 5)[0, 0, 5:].sum())
    expect(hidden == 0, f"all allowed scores are below -110,000, and {hidden:.3f} goes elsewhere")
    nowhere = softmax(torch.zeros(1, 1, 5), torch.zeros(1, 1, 5, dtype=torch.bool))[0, 0]
    expect(not nowhere.any(), f"a row that may look nowhere has the weights {_row(nowhere)}")


# --- time -------------------------------------------------------------------------------------


def leaky_mask(size: int, window: int = 2) -> Bool[Tensor, "size size"]:
    """What is hidden must be in the future *and* too long ago, so nothing is.

    Seen in huggingface/transformers#31673: two masks were to be joined, and were multiplied.
    """
    ones = torch.ones(size, size)
    in_the_future = torch.triu(ones, diagonal=1)
    too_long_ago = torch.tril(ones, diagonal=-window)
    hidden = in_the_future * too_long_ago
    return hidden == 0


def unshifted(examples: Sequence[Example]) -> Batch:
    """The decoder reads the very word that it must write.

    Seen in Project-MONAI/GenerativeModels#314.
    """
    source, source_lengths = pad([[*source, EOS] for source, _ in examples])
    target, target_lengths = pad([[SOS, *target, EOS] for _, target in examples])
    return Batch(source, source_lengths, target, target, target_lengths)


class NextWord(nn.Module):
    """A small language model: each word looks at the words that the mask allows, and guesses.

    Queries, keys and values are all made from the words themselves: self-attention, in its
    smallest form (Vaswani et al. 2017, section 3.2).

    Args:
        mask: given a number of words, which may look at which.
        vocabulary_size: how many words there are.
        width: of a word's vector.
        longest: how many words a sentence may have.
    """

    def __init__(
        self,
        mask: Callable[[int], Tensor],
        vocabulary_size: int,
        width: int = 64,
        longest: int = 40,
    ) -> None:
        super().__init__()
        self.mask = mask
        self.word = nn.Embedding(vocabulary_size, width)
        self.place = nn.Embedding(longest, width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.attention = Attention(ScaledDotScore())
        self.output = nn.Linear(2 * width, vocabulary_size)

    def forward(self, words: Int[Tensor, "batch size"]) -> Float[Tensor, "batch size vocabulary"]:
        """Logits of the word after each word."""
        size = words.shape[1]
        states = self.word(words) + self.place.weight[:size]
        mask = self.mask(size).to(states.device)
        seen = self.attention(self.query(states), self.key(states), states, mask)
        logits: Tensor = self.output(torch.cat([states, seen.context], dim=-1))
        return logits


def check_future(mask: Callable[[int], Tensor]) -> None:
    """Change the last word: no word before it may notice."""
    words = torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 2], [2, 0]])
    changed = words.clone()
    changed[4] = torch.tensor([-3.0, 5.0])
    attention = Attention(DotScore())
    before, after = (attention(w, w, w, mask(5)).context for w in (words, changed))
    for number in range(4):
        expect(
            torch.allclose(before[number], after[number], atol=1e-6),
            f"word 4 was changed, and what word {number} has seen went from "
            f"{_row(before[number])} to {_row(after[number])}: it looks into the future",
        )


def check_shift(batching: Callable[[Sequence[Example]], Batch]) -> None:
    """In a sentence without repetition, no word may be read before it is written."""
    batch = batching([([5], [7, 11, 13])])
    read, written = batch.target_in[0].tolist(), batch.target_out[0].tolist()
    for step, word in enumerate(written):
        expect(
            word not in read[: step + 1],
            f"at step {step} the decoder must write {word} and has read {read[: step + 1]}",
        )


# --- batches ----------------------------------------------------------------------------------


class ViewEncoder(Encoder):
    """Two final states are joined by a `view`, which deals them out to the wrong sentences.

    Seen in graykode/nlp-tutorial#38 and #68.
    """

    def _join_directions(
        self, final: Float[Tensor, "layers_directions batch width"]
    ) -> Float[Tensor, "layers batch hidden"]:
        batch = final.shape[1]
        return final.contiguous().view(self.recurrent.num_layers, batch, -1)


def translate_in_place(
    translator: Translator, sentences: Sequence[Sequence[str]]
) -> list[list[str]]:
    """Sorted by length for speed, and put back in place, over what has yet to be moved.

    Seen in mead-ml/mead-baseline#677, where a tensor was scattered into itself.
    """
    order = sorted(range(len(sentences)), key=lambda number: -len(sentences[number]))
    found = translate(translator, [sentences[number] for number in order])
    for place, number in enumerate(order):
        found[number] = found[place]
    return found


def weights_to_draw(translator: Translator, pairs: Sequence[SentencePair]) -> list[Any]:
    """The weights come out in the order of length, and are drawn under the sentences as given.

    Seen in huggingface/torchMoji#25, where the outputs were put back in order and the weights not.
    """
    order = sorted(range(len(pairs)), key=lambda number: -len(pairs[number].source))
    return list(teacher_forced_attention(translator, [pairs[number] for number in order]))


def perplexity_of_own_words(translator: Translator, pairs: Sequence[SentencePair]) -> float:
    """Reported as *the* perplexity: the right words' probability after the model's own.

    Seen in bentrevett/pytorch-seq2seq#146.
    """
    return free_running_perplexity(translator, pairs)


def tiny_translator() -> Translator:
    """An untrained translator of three words into three, the same at every call.

    Its weights are random, and so large that every sentence becomes another one.
    """
    with torch.random.fork_rng():
        torch.manual_seed(255)
        words = Vocabulary(["a", "b", "c"])
        config = RecurrentConfig(embedding_dim=5, hidden_dim=14, bidirectional=True, tied=False)
        translator = Translator.from_config(config, words, words, name="tiny")
        for parameter in translator.parameters():
            nn.init.normal_(parameter, std=1.5)
    return translator.eval()


def check_neighbours(encoder: type[Encoder]) -> None:
    """A sentence read in a batch of three, and the same sentence read alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reader = encoder(11, 5, 4, bidirectional=True).eval()
    sentences = torch.tensor([[4, 9], [7, 5], [10, 8]])
    together = reader(sentences, torch.tensor([2, 2, 2])).final_state.hidden
    for number, sentence in enumerate(sentences):
        alone = reader(sentence[None], torch.tensor([2])).final_state.hidden
        expect(
            torch.allclose(together[:, number], alone[:, 0], atol=1e-6),
            f"sentence {number} ends in {_row(together[0, number])} in company and in "
            f"{_row(alone[0, 0])} alone",
        )


def check_order(translating: Callable[..., list[list[str]]]) -> None:
    """Sentences of different lengths, together and one by one."""
    translator = tiny_translator()
    sentences = [["a"], ["b", "c"], ["c", "b", "a"], ["b"], ["c", "c", "a", "b"]]
    together = translating(translator, sentences)
    for number, sentence in enumerate(sentences):
        alone = translating(translator, [sentence])[0]
        expect(
            together[number] == alone,
            f"sentence {number} of {len(sentences)} becomes {' '.join(together[number])!r} in "
            f"company and {' '.join(alone)!r} alone",
        )


def check_weights(weights_of: Callable[..., list[Any]]) -> None:
    """The weights of each pair, out of a batch and of the pair alone."""
    translator = tiny_translator()
    pairs = [
        SentencePair(tuple(source), ("a", "b", "c")) for source in ("ab", "cab", "bc", "b", "acb")
    ]
    together = weights_of(translator, pairs)
    for number, pair in enumerate(pairs):
        alone = weights_of(translator, [pair])[0]
        found = together[number]
        expect(
            found.shape == alone.shape,
            f"pair {number} has {len(pair.source)} words and <eos>, and {found.shape[1]} columns",
        )
        expect(abs(found - alone).max() < 1e-5, f"pair {number} has the weights of another pair")


def check_perplexity(perplexity: Callable[..., float]) -> None:
    """exp(-mean log p) of one sentence, with a loop that reads the right words."""
    translator, pair = tiny_translator(), SentencePair(("b", "a"), ("c", "a", "b"))
    batch = collate(translator.examples([pair]))
    with torch.inference_mode():
        source = translator.encode(batch.source, batch.source_lengths)
        cache, nats = translator.decoder.start(source), 0.0
        for read, write in zip(batch.target_in[0], batch.target_out[0], strict=True):
            output: DecoderOutput = translator.decoder(read.view(1, 1), cache)
            cache = output.cache
            log_probs = torch.log_softmax(translator.decoder.logits(output.readouts[0, 0]), dim=0)
            nats -= float(log_probs[write])
    right, found = math.exp(nats / 4), perplexity(translator, [pair])
    expect(
        math.isclose(found, right, rel_tol=1e-4),
        f"the perplexity is {found:.2f}; when the right words are read, it is {right:.2f}",
    )


def _row(numbers: Tensor) -> str:
    return ", ".join(f"{number:.3f}" for number in numbers.tolist())


# --- the catalogue ----------------------------------------------------------------------------

_CATALOGUE = (
    Exhibit(
        "ignores-source",
        "attention that ignores the encoder",
        AttentionByPosition,
        Attention,
        check_source_matters,
        ("pytorch/tutorials#1098", "pytorch/tutorials#87", "pytorch/tutorials#2452"),
    ),
    Exhibit(
        "without-tanh",
        "the tanh is missing",
        without_tanh,
        additive_scores,
        check_formula,
        ("AuCson/PyTorch-Batch-Attention-Seq2seq#3", "keon/seq2seq#3", "keon/seq2seq#15"),
    ),
    Exhibit(
        "softmax-over-batch",
        "softmax over the wrong axis",
        softmax_over_batch,
        masked_softmax,
        check_rows,
        ("PetrochukM/PyTorch-NLP#2",),
    ),
    Exhibit(
        "without-mask",
        "no mask",
        without_mask,
        masked_softmax,
        check_padding,
        ("tensorflow/tensorflow#512", "tensorflow/tensorflow#2079"),
    ),
    Exhibit(
        "inverted-mask",
        "the mask is inverted",
        inverted_mask,
        masked_softmax,
        check_padding,
        (
            "tensorflow/text#894",
            "huggingface/transformers#38094",
            "rasbt/LLMs-from-scratch#1062",
        ),
    ),
    Exhibit(
        "mask-along-rows",
        "the mask lies along the wrong axis",
        mask_along_rows,
        masked_softmax,
        check_padding,
        ("hyunwoongko/transformer#40", "lsdefine/attention-is-all-you-need-keras#16"),
    ),
    Exhibit(
        "mask-times-scores",
        "the mask is multiplied into the scores",
        mask_times_scores,
        masked_softmax,
        check_padding,
        ("georg-wolflein/good-features#1", "awslabs/gluonts#1401"),
    ),
    Exhibit(
        "mask-after-softmax",
        "the mask comes after the softmax",
        mask_after_softmax,
        masked_softmax,
        check_padding,
        ("huggingface/pytorch-image-models#2236",),
    ),
    Exhibit(
        "large-constant",
        "a large constant instead of minus infinity",
        large_constant,
        masked_softmax,
        check_extremes,
        (
            "TransformerLensOrg/TransformerLens#318",
            "TransformerLensOrg/TransformerLens#385",
            "karpathy/minGPT#75",
            "tatp22/linformer-pytorch#19",
        ),
    ),
    Exhibit(
        "leaked-future",
        "the future leaks into the past",
        leaky_mask,
        causal_mask,
        check_future,
        (
            "huggingface/transformers#31673",
            "huggingface/transformers#31674",
            "jadore801120/attention-is-all-you-need-pytorch#19",
        ),
    ),
    Exhibit(
        "unshifted-targets",
        "the targets are not shifted",
        unshifted,
        collate,
        check_shift,
        ("Project-MONAI/GenerativeModels#314", "Project-MONAI/GenerativeModels#318"),
    ),
    Exhibit(
        "joined-by-view",
        "two directions are joined by view",
        ViewEncoder,
        Encoder,
        check_neighbours,
        ("graykode/nlp-tutorial#38", "graykode/nlp-tutorial#68"),
    ),
    Exhibit(
        "order-lost",
        "the order of the batch is lost",
        translate_in_place,
        translate,
        check_order,
        ("mead-ml/mead-baseline#677",),
    ),
    Exhibit(
        "wrong-weights",
        "the figure shows other weights",
        weights_to_draw,
        teacher_forced_attention,
        check_weights,
        ("huggingface/torchMoji#25", "harvardnlp/annotated-transformer#54"),
    ),
    Exhibit(
        "other-perplexity",
        "perplexities that cannot be compared",
        perplexity_of_own_words,
        teacher_forced_perplexity,
        check_perplexity,
        ("bentrevett/pytorch-seq2seq#146", "OpenNMT/OpenNMT-py#1959"),
    ),
)

EXHIBITS = {exhibit.name: exhibit for exhibit in _CATALOGUE}
"""All exhibits by name: scores, masks, time, batches, pictures and numbers."""
