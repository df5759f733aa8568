"""Word vectors without a language model: skip-gram, and the words nearest to a word."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from attnbook.language_models import (
    Sentences,
    check_ids,
    check_sizes,
    encode_all,
    minimise,
)
from attnbook.vocabulary import SPECIALS, Vocabulary

__all__ = ["SkipGram", "nearest"]


class SkipGram(nn.Module):
    """Skip-gram with negative sampling (Mikolov et al. 2013b, equation 4).

    A word w should agree with a word c from its neighbourhood, and disagree with k words drawn
    at random; to be minimised is, for each pair::

        −ln σ(v'_c · v_w) − Σ_{i=1}^{k} ln σ(−v'_{n_i} · v_w)

    No sum over the vocabulary, so that a pair costs k + 1 dot products whatever the number of
    words. The model learns vectors, and is not a language model: nothing here sums to 1.

    Args:
        vocabulary: the words.
        embedding_dim: the width of a word vector.

    Raises:
        ValueError: the width is below 1.
    """

    def __init__(self, vocabulary: Vocabulary, embedding_dim: int = 64) -> None:
        super().__init__()
        check_sizes({"embedding_dim": embedding_dim})
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(len(vocabulary), embedding_dim)  # v, the one that is kept
        self.neighbour_embedding = nn.Embedding(len(vocabulary), embedding_dim)  # v'
        # As in word2vec: small random word vectors, and neighbours that start at zero.
        nn.init.uniform_(self.embedding.weight, -0.5 / embedding_dim, 0.5 / embedding_dim)
        nn.init.zeros_(self.neighbour_embedding.weight)

    def forward(
        self,
        word: Int[Tensor, " batch"],
        neighbour: Int[Tensor, " batch"],
        noise: Int[Tensor, "batch negatives"],
    ) -> Float[Tensor, " batch"]:
        """The loss of each pair.

        Raises:
            ValueError: a number is not in the vocabulary.
        """
        for name, ids in (("word", word), ("neighbour", neighbour), ("noise", noise)):
            check_ids(name, ids, len(self.vocabulary))
        v = self.embedding(word)[:, :, None]  # (batch, embedding_dim, 1)
        agree = (self.neighbour_embedding(neighbour)[:, None] @ v)[:, 0, 0]
        disagree = (self.neighbour_embedding(noise) @ v)[:, :, 0]  # (batch, negatives)
        loss: Tensor = -F.logsigmoid(agree) - F.logsigmoid(-disagree).sum(dim=1)
        return loss

    def fit(
        self,
        sentences: Sentences,
        *,
        epochs: int = 5,
        radius: int = 4,
        negatives: int = 5,
        subsample: float | None = 1e-3,
        batch_size: int = 1024,
        learning_rate: float = 5e-3,
        seed: int = 0,
        progress: bool = False,
    ) -> list[float]:
        """Learn from all pairs at most ``radius`` words apart; returns each epoch's mean loss.

        Args:
            sentences: tokenized.
            epochs: passes over the sentences.
            radius: how far a neighbour may be, to either side.
            negatives: k, random words for each pair, drawn by frequency to the power 3/4.
            subsample: t of equation 5: in each epoch a word of relative frequency f is left
                out with probability 1 − √(t / f). None keeps every word.
            batch_size: pairs in a step.
            learning_rate: Adam's, falling linearly to zero.
            seed: for subsampling, order and noise.
            progress: show a progress bar.
        """
        check_sizes({"radius": radius, "negatives": negatives})
        sequences = encode_all(sentences, self.vocabulary)
        ids = torch.tensor([number for sequence in sequences for number in sequence])
        line = torch.tensor([i for i, words in enumerate(sequences) for _ in words])
        generator = torch.Generator().manual_seed(seed)
        frequency = torch.bincount(ids, minlength=len(self.vocabulary)).double()
        keep = torch.ones_like(frequency)
        if subsample is not None:
            keep = (subsample * len(ids) / frequency).sqrt()  # inf where a word never occurs
        examples = []
        for _ in range(epochs):
            kept = torch.rand(len(ids), generator=generator, dtype=torch.double) < keep[ids]
            examples.append(_pairs(ids[kept], line[kept], radius))

        def loss(word: Tensor, neighbour: Tensor) -> Tensor:
            noise = torch.multinomial(
                frequency**0.75, len(word) * negatives, replacement=True, generator=generator
            )
            losses: Tensor = self(word, neighbour, noise.reshape(-1, negatives).to(word.device))
            return losses.mean()

        return minimise(
            self,
            loss,
            examples,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=0.0,
            generator=generator,
            progress=progress,
        )


def nearest(
    embedding: Float[Tensor, "vocabulary embedding_dim"],
    vocabulary: Vocabulary,
    word: str,
    count: int = 5,
) -> list[tuple[str, float]]:
    """The words whose vectors point most nearly in the direction of ``word``'s.

    Sorted by cosine, ``u · v / (|u| |v|)``, largest first; the word itself and the four special
    tokens are left out.

    Raises:
        ValueError: the word is not in the vocabulary, or the embedding has another number of
            rows than the vocabulary has words.
    """
    if word not in vocabulary:
        raise ValueError(f"{word!r} is not in the vocabulary, so it has no vector of its own")
    if len(embedding) != len(vocabulary):
        raise ValueError(
            f"embedding: {len(embedding)} rows do not fit a vocabulary of {len(vocabulary)} words"
        )
    directions = F.normalize(embedding.detach(), dim=1)
    own = vocabulary.encode([word])[0]
    cosines = directions @ directions[own]
    cosines[[own, *range(len(SPECIALS))]] = -torch.inf
    best = cosines.topk(min(count, len(vocabulary) - len(SPECIALS) - 1))
    return list(zip(vocabulary.decode(best.indices.tolist()), best.values.tolist(), strict=True))


def _pairs(
    ids: Int[Tensor, " tokens"], line: Int[Tensor, " tokens"], radius: int
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Every word and each of its neighbours in the same line, at most ``radius`` apart."""
    words, neighbours = [], []
    for step in range(1, radius + 1):
        together = line[:-step] == line[step:]
        left, right = ids[:-step][together], ids[step:][together]
        words += [left, right]
        neighbours += [right, left]
    return torch.cat(words), torch.cat(neighbours)
