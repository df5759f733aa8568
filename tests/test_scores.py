"""The scores equal their formulas, number by number."""

import math

import pytest
import torch

from attnbook.scores import DotScore, ScaledDotScore, Score

BATCH, TARGET, SOURCE, WIDTH = 2, 3, 5, 7


def test_dot_by_hand():
    queries = torch.tensor([[1.0, 0.0, 2.0, 0.0]])
    keys = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    assert DotScore()(queries, keys).tolist() == [[1.0, 2.0, 3.0]]
    assert ScaledDotScore()(queries, keys).tolist() == [[0.5, 1.0, 1.5]]


@pytest.mark.parametrize("score", [DotScore(), ScaledDotScore()])
def test_every_pair_is_scored_alone(score):
    queries = torch.randn(BATCH, TARGET, WIDTH, dtype=torch.float64)
    keys = torch.randn(BATCH, SOURCE, WIDTH, dtype=torch.float64)
    scale = math.sqrt(WIDTH) if isinstance(score, ScaledDotScore) else 1.0
    scores = score(queries, keys)
    assert scores.shape == (BATCH, TARGET, SOURCE)
    for b in range(BATCH):
        for t in range(TARGET):
            for s in range(SOURCE):
                dot = sum(
                    float(q) * float(k) for q, k in zip(queries[b, t], keys[b, s], strict=True)
                )
                assert float(scores[b, t, s]) == pytest.approx(dot / scale)


def test_scaling_keeps_the_variance_at_one():
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(1, 211, 401, generator=generator)
    keys = torch.randn(1, 199, 401, generator=generator)
    assert float(DotScore()(queries, keys).var()) == pytest.approx(401, rel=0.05)
    assert float(ScaledDotScore()(queries, keys).var()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("score", [DotScore(), ScaledDotScore()])
def test_any_leading_axes(score):
    queries, keys = torch.randn(2, 11, TARGET, WIDTH), torch.randn(2, 11, SOURCE, WIDTH)
    alone = score(queries[1, 7], keys[1, 7])
    torch.testing.assert_close(score(queries, keys)[1, 7], alone)


@pytest.mark.parametrize("score", [DotScore(), ScaledDotScore()])
def test_unequal_widths_are_refused(score):
    with pytest.raises(ValueError, match="query_dim=7 and key_dim=11"):
        score(torch.randn(2, 3, 7), torch.randn(2, 5, 11))


def test_scores_have_no_parameters_and_the_base_cannot_be_made():
    assert list(DotScore().parameters()) == []
    with pytest.raises(TypeError, match="abstract"):
        Score()
