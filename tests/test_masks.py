"""True means: may be attended to."""

import pytest
import torch

from attnbook.masks import causal_mask, check_mask, padding_mask


def test_padding_mask_by_hand():
    mask = padding_mask(torch.tensor([2, 0, 3]), 3)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[True, True, False], [False, False, False], [True, True, True]]


def test_no_sentences_give_an_empty_mask():
    assert padding_mask(torch.tensor([], dtype=torch.int64), 5).shape == (0, 5)


@pytest.mark.parametrize("lengths", [[4], [-1]])
def test_impossible_lengths(lengths):
    with pytest.raises(ValueError, match="between 0 and the padded length 3"):
        padding_mask(torch.tensor(lengths), 3)


@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 3, 5), (2, 1, 5), (5,), (1,)])
def test_masks_that_broadcast(shape):
    check_mask(torch.ones(shape, dtype=torch.bool), torch.zeros(2, 3, 5))


# (2, 5) is the padding mask whose target axis was forgotten; the last one would enlarge the scores.
@pytest.mark.parametrize("shape", [(2, 5), (3, 2), (2, 5, 3), (7, 2, 3, 5)])
def test_masks_that_do_not(shape):
    with pytest.raises(ValueError, match=r"does not broadcast .* mask.unsqueeze\(1\)"):
        check_mask(torch.ones(shape, dtype=torch.bool), torch.zeros(2, 3, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_a_mask_must_be_bool(dtype):
    with pytest.raises(TypeError, match="bool with True = may be attended to"):
        check_mask(torch.ones(5, dtype=dtype), torch.zeros(2, 3, 5))


def test_causal_mask_by_hand():
    mask = causal_mask(3)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_causal_mask_is_that_of_torch():
    """Where torch adds minus infinity, ours says False."""
    theirs = torch.nn.Transformer.generate_square_subsequent_mask(5)
    assert torch.equal(causal_mask(5), theirs == 0)


@pytest.mark.parametrize("size", [0, -1])
def test_a_causal_mask_needs_a_position(size):
    with pytest.raises(ValueError, match="at least one position, got size"):
        causal_mask(size)
