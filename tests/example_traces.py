"""Traces with made-up but consistent numbers, for the tests of what draws and stores traces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnbook.trace import MEASURES, AttentionMaps, Candidate, DecodingTrace

OTHERS = ("the", "one", "of", "wine")


def example(
    source: str = "ich möchte ein bier <eos>",
    target: str = "i 'd like a beer , please <eos>",
    *,
    width: int = 11,
    attends: bool = True,
    masked: tuple[int, ...] = (),
    links: frozenset[tuple[int, int]] | None = None,
    model: str = "example-dot",
    seed: int = 0,
) -> DecodingTrace:
    """A trace whose weights are the softmax of its scores and whose contexts are their sums."""
    random = np.random.default_rng(seed)
    sources, targets = source.split(), target.split()
    states = np.tanh(random.normal(size=(len(sources), width)))
    queries = np.tanh(random.normal(size=(len(targets), width)))
    scores = 2 * queries @ states.T
    scores[:, list(masked)] = -np.inf
    exponentials = np.exp(scores - np.max(scores, axis=1, keepdims=True, initial=-1e9))
    sums = exponentials.sum(axis=1, keepdims=True)
    weights = np.divide(exponentials, sums, out=np.zeros_like(scores), where=sums > 0)
    probabilities = -np.sort(-random.dirichlet([5, 0.7, 0.5, 0.4, 0.3], size=len(targets)), axis=1)
    return DecodingTrace(
        model=model,
        source_tokens=tuple(sources),
        target_tokens=tuple(targets),
        log_probs=np.log(probabilities[:, 0]),
        candidates=tuple(
            tuple(
                Candidate(word, float(p)) for word, p in zip((written, *OTHERS), row, strict=True)
            )
            for written, row in zip(targets, probabilities, strict=True)
        ),
        encoder_states=states,
        decoder_states=queries,
        scores=scores if attends else None,
        weights=weights if attends else None,
        contexts=weights @ states if attends else None,
        gold_links=links,
    )


def example_with_heads(layers: int = 2, heads: int = 3, seed: int = 0) -> DecodingTrace:
    """The same sentence by a model with several heads: maps of every kind, and no scores."""
    plain = example(links=frozenset({(0, 0), (3, 4)}), model="example-transformer", seed=seed)
    source, target = plain.source_tokens, plain.target_tokens
    random = np.random.default_rng(seed + 1)

    def rows(asking: int, asked: int, causal: bool = False) -> np.ndarray:
        scores = random.normal(size=(layers, heads, asking, asked))
        if causal:
            scores[:, :, *np.triu_indices(asking, 1)] = -np.inf
        exponentials = np.exp(2 * scores)
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    across = rows(len(target), len(source))
    return replace(
        plain,
        scores=None,
        weights=across[-1].mean(axis=0),
        maps=(
            AttentionMaps("source", target, source, across),
            AttentionMaps(
                "written", target, ("<sos>", *target[:-1]), rows(len(target), len(target), True)
            ),
            AttentionMaps("encoder", source, source, rows(len(source), len(source))),
        ),
    )


def example_with_measures(seed: int = 0) -> DecodingTrace:
    """The same sentence with other measures of importance beside the weights."""
    plain = example(links=frozenset({(0, 0), (3, 4)}), seed=seed)
    source, target = plain.source_tokens, plain.target_tokens
    random = np.random.default_rng(seed + 2)
    shares = random.dirichlet([0.4] * len(source), size=(len(MEASURES), len(target)))
    assert plain.weights is not None
    rows = (plain.weights, *shares)
    return replace(
        plain,
        maps=tuple(
            AttentionMaps(kind, target, source, one[None, None])
            for kind, one in zip(("source", *MEASURES), rows, strict=True)
        ),
    )
