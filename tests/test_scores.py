"""The scores equal their formulas, number by number."""

import math

import pytest
import torch
from torch import nn

from attnbook.scores import (
    AdditiveScore,
    ConcatScore,
    DotScore,
    GeneralScore,
    ScaledDotScore,
    Score,
)

BATCH, TARGET, SOURCE, WIDTH = 2, 3, 5, 7
QUERY, KEY, HIDDEN = 11, 13, 17


def learned():
    """The scores with parameters, all of which take queries and keys of different widths."""
    torch.manual_seed(0)
    scores = [GeneralScore(QUERY, KEY), ConcatScore(QUERY, KEY, HIDDEN)]
    scores.append(AdditiveScore(QUERY, KEY, HIDDEN))
    return [score.double() for score in scores]


LEARNED = pytest.mark.parametrize("score", learned(), ids=lambda s: type(s).__name__)


def some(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


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
        Score()  # type: ignore[abstract]  # the test is that this is refused


# --- scores with parameters -----------------------------------------------------------------------


def test_general_by_hand():
    score = GeneralScore(2, 3)
    # W = [[1, 0, 2], [0, 1, 0]] carries a key of three numbers into the queries' two.
    score.key.weight = nn.Parameter(torch.tensor([[1.0, 0, 2], [0, 1, 0]]))
    queries, keys = torch.tensor([[1.0, 0], [1, 3]]), torch.tensor([[1.0, 2, 0], [0, 1, 1]])
    assert score(queries, keys).tolist() == [[1, 2], [7, 5]]


def test_general_with_the_identity_is_dot():
    score = GeneralScore(WIDTH, WIDTH)
    score.key.weight = nn.Parameter(torch.eye(WIDTH))
    queries, keys = torch.randn(BATCH, TARGET, WIDTH), torch.randn(BATCH, SOURCE, WIDTH)
    torch.testing.assert_close(score(queries, keys), DotScore()(queries, keys))


def test_additive_equals_its_formula_pair_by_pair():
    score = AdditiveScore(QUERY, KEY, HIDDEN).double()
    queries, keys = some(BATCH, TARGET, QUERY), some(BATCH, SOURCE, KEY)
    scores = score(queries, keys)
    for b in range(BATCH):
        for t in range(TARGET):
            for i in range(SOURCE):
                inner = score.query.weight @ queries[b, t] + score.key.weight @ keys[b, i]
                torch.testing.assert_close(scores[b, t, i], score.v @ torch.tanh(inner))


def test_concat_equals_its_formula_pair_by_pair():
    score = ConcatScore(QUERY, KEY, HIDDEN).double()
    queries, keys = some(BATCH, TARGET, QUERY), some(BATCH, SOURCE, KEY)
    scores = score(queries, keys)
    for b in range(BATCH):
        for t in range(TARGET):
            for i in range(SOURCE):
                both = torch.cat([queries[b, t], keys[b, i]])
                torch.testing.assert_close(
                    scores[b, t, i], score.v @ torch.tanh(score.both.weight @ both)
                )


def test_concat_is_additive_with_a_split_matrix():
    concat, additive = ConcatScore(QUERY, KEY, HIDDEN), AdditiveScore(QUERY, KEY, HIDDEN)
    left, right = concat.both.weight.split([QUERY, KEY], dim=1)
    additive.load_state_dict({"query.weight": left, "key.weight": right, "v": concat.v})
    queries, keys = torch.randn(BATCH, TARGET, QUERY), torch.randn(BATCH, SOURCE, KEY)
    torch.testing.assert_close(concat(queries, keys), additive(queries, keys))


@LEARNED
def test_keys_projected_once_serve_every_query(score):
    queries, keys = some(BATCH, TARGET, QUERY), some(BATCH, SOURCE, KEY)
    at_once, projected = score(queries, keys), score.project_keys(keys)
    for t in range(TARGET):
        one = score.score(queries[:, [t]], projected)
        torch.testing.assert_close(one, at_once[:, [t]])


@LEARNED
def test_learned_scores_take_any_leading_axes(score):
    queries, keys = some(2, 3, TARGET, QUERY), some(2, 3, SOURCE, KEY)
    torch.testing.assert_close(score(queries, keys)[1, 2], score(queries[1, 2], keys[1, 2]))


@pytest.mark.usefixtures("as_user")
@LEARNED
def test_learned_scores_refuse_other_widths(score):
    queries, keys = some(BATCH, TARGET, QUERY), some(BATCH, SOURCE, KEY)
    with pytest.raises(ValueError, match="query_dim=11, got 13"):
        score(keys, keys)
    with pytest.raises(ValueError, match="key_dim=13, got 11"):
        score(queries, queries)


@LEARNED
def test_gradients_of_learned_scores(score):
    queries, keys = some(BATCH, TARGET, QUERY), some(BATCH, SOURCE, KEY)
    assert torch.autograd.gradcheck(score, (queries, keys))
    score(queries, keys).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in score.parameters())


def test_the_last_layer_starts_between_minus_and_plus_a_tenth():
    torch.manual_seed(0)
    for score in (ConcatScore(QUERY, KEY, 1009), AdditiveScore(QUERY, KEY, 1009)):
        assert -0.1 <= float(score.v.detach().min()) < -0.09
        assert 0.09 < float(score.v.detach().max()) < 0.1
