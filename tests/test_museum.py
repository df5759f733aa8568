"""Every exhibit's check passes on what is right and fails, with words, on what is broken."""

from __future__ import annotations

import inspect
import re

import pytest
import torch

from attnbook import attention, batches, decoding, encoder, evaluation, masks, museum, scores
from attnbook.museum import EXHIBITS, AttentionWith, Exhibit, NextWord
from attnbook.scores import AdditiveScore, DotScore

# What each check says of the bug it was made for.
MESSAGES = {
    "ignores-source": "the weights do not depend on what the keys are",
    "without-tanh": r"query 0 and key 0 have the score -1\.000; by the formula it is -0\.762",
    "softmax-over-batch": r"sentence 0 has the weights 0\.500, 0\.750, which sum to 1\.25",
    "without-mask": r"0\.125, 0\.375, 0\.500, and 0\.250, 0\.750 are right",
    "inverted-mask": r"row 0 has the weights 0\.000, 0\.000, 1\.000",
    "mask-along-rows": r"row 0 has the weights 0\.125, 0\.375, 0\.500",
    "mask-times-scores": r"row 0 has the weights 0\.200, 0\.600, 0\.200",
    "mask-after-softmax": r"row 0 has the weights 0\.125, 0\.375, 0\.000",
    "large-constant": r"all allowed scores are below -110,000, and 1\.000 goes elsewhere",
    "leaked-future": "word 4 was changed, and what word 0 has seen .* it looks into the future",
    "unshifted-targets": r"at step 0 the decoder must write 2 and has read \[2\]",
    "joined-by-view": "sentence 0 ends in .* in company and in .* alone",
    "order-lost": "sentence 1 of 5 becomes 'c c' in company and 'c' alone",
    "wrong-weights": "pair 0 has 2 words and <eos>, and 4 columns",
    "other-perplexity": "the perplexity is .*; when the right words are read, it is",
}

# The package's own; an exhibit is held against these and nothing made for the occasion.
PACKAGE = {
    "ignores-source": attention.Attention,
    "without-tanh": scores.additive_scores,
    "leaked-future": masks.causal_mask,
    "unshifted-targets": batches.collate,
    "joined-by-view": encoder.Encoder,
    "order-lost": decoding.translate,
    "wrong-weights": decoding.teacher_forced_attention,
    "other-perplexity": evaluation.teacher_forced_perplexity,
}


@pytest.fixture(params=list(EXHIBITS.values()), ids=list(EXHIBITS))
def exhibit(request: pytest.FixtureRequest) -> Exhibit:
    return request.param


def test_there_are_as_many_as_promised() -> None:
    assert len(EXHIBITS) >= 12
    assert list(EXHIBITS) == list(MESSAGES)
    assert all(name == exhibit.name for name, exhibit in EXHIBITS.items())


def test_the_right_one_is_the_package_s_own_and_passes(exhibit: Exhibit) -> None:
    assert exhibit.right is PACKAGE.get(exhibit.name, attention.masked_softmax)
    exhibit.check(exhibit.right)


def test_the_broken_one_fails_with_words(exhibit: Exhibit, as_user: None) -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=MESSAGES[exhibit.name]):
        exhibit.check(exhibit.broken)


def test_the_broken_one_takes_the_right_one_s_place(exhibit: Exhibit) -> None:
    """The same arguments in the same order; a further one has a default."""
    right, broken = (
        list(inspect.signature(each).parameters.values())
        for each in (exhibit.right, exhibit.broken)
    )
    needed = [p.name for p in right if p.default is p.empty and p.kind != p.VAR_KEYWORD]
    assert [p.name for p in broken][: len(needed)] == needed
    assert all(p.default is not p.empty for p in broken[len(right) :])


def test_it_names_where_it_was_seen(exhibit: Exhibit) -> None:
    assert exhibit.threads
    for thread, address in zip(exhibit.threads, exhibit.addresses, strict=True):
        parts = re.fullmatch(r"([\w-]+)/([\w.-]+)#(\d+)", thread)
        assert parts is not None
        owner, name, number = parts.groups()
        assert address == f"https://github.com/{owner}/{name}/issues/{number}"


def test_it_says_in_its_docstring_what_and_where(exhibit: Exhibit) -> None:
    text = " ".join((inspect.getdoc(exhibit.broken) or "").split())
    seen = re.findall(r"Seen in (.*)", text)[0]
    assert exhibit.threads[0] in seen or exhibit.threads[0].split("#")[0] in seen


def test_what_a_page_quotes_is_short(exhibit: Exhibit) -> None:
    for each in (exhibit.broken, exhibit.check):
        lines = inspect.getsource(each).splitlines()
        assert len(lines) <= 30, f"{each.__name__} has {len(lines)} lines"


def test_a_check_leaves_the_random_numbers_alone() -> None:
    for name in ("joined-by-view", "order-lost", "wrong-weights", "other-perplexity"):
        torch.manual_seed(3)
        expected = torch.rand(1)
        torch.manual_seed(3)
        EXHIBITS[name].check(EXHIBITS[name].right)
        assert torch.equal(torch.rand(1), expected), name


# --- what the page says of single exhibits ----------------------------------------------------


def test_a_symmetric_example_lets_the_wrong_axis_pass() -> None:
    """Why check_rows does not give both sentences the same scores."""
    symmetric = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    everywhere = torch.ones(2, 1, 2, dtype=torch.bool)
    right = attention.masked_softmax(symmetric, everywhere)
    torch.testing.assert_close(museum.softmax_over_batch(symmetric, everywhere), right)


def test_a_batch_of_one_gives_every_weight_1() -> None:
    weights = museum.softmax_over_batch(torch.randn(1, 3, 5))
    assert torch.equal(weights, torch.ones(1, 3, 5))


def test_the_mask_along_rows_needs_equal_lengths(as_user: None) -> None:
    """With seven queries and five keys it stops: a test with unequal sizes would have done."""
    mask = torch.ones(2, 1, 5, dtype=torch.bool)
    with pytest.raises(RuntimeError, match="must match"):
        museum.mask_along_rows(torch.zeros(2, 7, 5), mask)


@pytest.mark.parametrize("queries", [2, 7])
def test_without_tanh_every_row_is_the_same(queries: int) -> None:
    torch.manual_seed(0)
    flat = museum.without_tanh(torch.randn(queries, 3), torch.randn(5, 3), torch.randn(3))
    weights = torch.softmax(flat, dim=-1)
    torch.testing.assert_close(weights, weights[:1].expand_as(weights))


def test_the_product_of_two_masks_hides_nothing() -> None:
    assert museum.leaky_mask(7).all()
    assert not masks.causal_mask(7).all()


def test_view_deals_the_states_out_to_other_sentences() -> None:
    """Three sentences, two numbers in each direction, as the page draws them."""
    forward = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    backward = -forward
    final = torch.stack([forward, backward])
    reader = museum.ViewEncoder(5, 2, 4, bidirectional=True)
    assert reader._join_directions(final).tolist() == [
        [[1, 2, 3, 4], [5, 6, -1, -2], [-3, -4, -5, -6]]
    ]
    right = encoder.Encoder(5, 2, 4, bidirectional=True)
    assert right._join_directions(final).tolist() == [
        [[1, 2, -1, -2], [3, 4, -3, -4], [5, 6, -5, -6]]
    ]


def test_the_tiny_translator_tells_its_sentences_apart() -> None:
    sentences = [["a"], ["b", "c"], ["c", "b", "a"], ["b"], ["c", "c", "a", "b"]]
    written = decoding.translate(museum.tiny_translator(), sentences)
    assert len({tuple(words) for words in written}) == 5
    assert written == decoding.translate(museum.tiny_translator(), sentences)


def test_one_check_that_no_stranger_survives() -> None:
    """The lab's solution: all seven variants of the masked softmax fail it."""
    scores = torch.tensor([[[-2e5, -2e5, 0.0]] * 3])
    mask = torch.tensor([[[True, True, False]]])
    right = torch.tensor([0.5, 0.5, 0.0]).expand(1, 3, 3)
    variants = [e for e in EXHIBITS.values() if e.right is attention.masked_softmax]
    assert len(variants) == 7
    assert torch.equal(attention.masked_softmax(scores, mask), right)
    for exhibit in variants:
        assert not torch.equal(exhibit.broken(scores, mask), right), exhibit.name


# --- putting an exhibit into a model ----------------------------------------------------------


@pytest.mark.parametrize("score", [DotScore(), AdditiveScore(5, 5, 3)], ids=["dot", "additive"])
@pytest.mark.parametrize("projected", [False, True])
def test_attention_with_the_right_softmax_is_attention(
    score: scores.Score, projected: bool
) -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 3, 5), torch.randn(2, 7, 5)
    mask = masks.padding_mask(torch.tensor([7, 4]), 7).unsqueeze(1)
    extra = {"projected_keys": score.project_keys(keys)} if projected else {}
    ours = AttentionWith(score, attention.masked_softmax)(queries, keys, keys, mask, **extra)
    right = attention.Attention(score)(queries, keys, keys, mask)
    torch.testing.assert_close(ours.context, right.context)
    torch.testing.assert_close(ours.weights, right.weights)


def test_attention_by_position_respects_the_mask() -> None:
    torch.manual_seed(0)
    look = museum.AttentionByPosition(DotScore(), query_dim=5)
    mask = masks.padding_mask(torch.tensor([7, 4]), 7).unsqueeze(1)
    keys = torch.randn(2, 7, 5)
    attended = look(torch.randn(2, 3, 5), keys, keys, mask)
    assert not attended.weights[1, :, 4:].any()
    torch.testing.assert_close(attended.weights.sum(dim=-1), torch.ones(2, 3))


@pytest.mark.parametrize(("mask", "leaks"), [(masks.causal_mask, 0), (museum.leaky_mask, 1)])
def test_the_language_model_sees_what_its_mask_allows(mask, leaks: int) -> None:
    torch.manual_seed(0)
    model = NextWord(mask, 11, width=5, longest=7)
    words = torch.tensor([[2, 3, 5, 7, 9]])
    changed = words.clone()
    changed[0, 4] = 10
    with torch.no_grad():
        before, after = model(words)[0, :4], model(changed)[0, :4]
    assert model(words).shape == (1, 5, 11)
    assert torch.allclose(before, after) == (not leaks)
