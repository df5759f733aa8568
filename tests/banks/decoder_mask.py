"""Answers to `decoder_mask`: what right and wrong ones look like in the wild."""

import torch
from torch import nn


def right_loops(lengths, size):
    mask = torch.zeros(len(lengths), size, size, dtype=torch.bool)
    for b, n in enumerate(lengths.tolist()):
        for t in range(size):
            for i in range(size):
                mask[b, t, i] = i <= t and i < n
    return mask


def right_tril(lengths, size):
    causal = torch.tril(torch.ones(size, size)).bool()
    padding = torch.arange(size)[None, :] < lengths[:, None]
    return causal[None, :, :] & padding[:, None, :]


def right_least_of_both(lengths, size):
    t = torch.arange(1, size + 1)
    visible = torch.minimum(t[None, :], lengths[:, None])
    return torch.arange(size)[None, None, :] < visible[..., None]


def right_for_torch(lengths, size):
    future = nn.Transformer.generate_square_subsequent_mask(size) < 0
    padding = torch.stack([torch.arange(size) >= n for n in lengths])
    return torch.logical_not(future | padding.unsqueeze(1).repeat(1, size, 1))


def right_products(lengths, size):
    real = torch.stack(
        [torch.cat([torch.ones(n), torch.zeros(size - n)]) for n in lengths.tolist()]
    )
    return torch.einsum("ti,bi->bti", torch.ones(size, size).tril(), real) > 0


def causal(size, diagonal=0):
    return torch.ones(size, size, dtype=torch.bool).tril(diagonal)


def padding(lengths, size):
    return (torch.arange(size)[None, :] < lengths[:, None])[:, None, :]


def wrong_nothing_returned(lengths, size):
    mask = causal(size) & padding(lengths, size)
    mask.sum()


def wrong_no_padding(lengths, size):
    return causal(size).repeat(lengths.shape[0], 1, 1)


def wrong_one_mask_for_the_batch(lengths, size):
    return ~torch.triu(torch.ones(size, size), diagonal=1).bool()


def wrong_no_future(lengths, size):
    return padding(lengths, size).repeat(1, size, 1)


def wrong_padding_only(lengths, size):
    return padding(lengths, size)


def wrong_or_instead_of_and(lengths, size):
    return (causal(size).int() + padding(lengths, size).int()) > 0


def wrong_not_itself(lengths, size):
    return causal(size, -1) & padding(lengths, size)


def wrong_sees_the_next(lengths, size):
    future = torch.ones(size, size).triu(2).bool()
    return ~future & padding(lengths, size)


def wrong_asks_and_asked_exchanged(lengths, size):
    return torch.ones(size, size).triu().bool() & padding(lengths, size)


def wrong_future_only(lengths, size):
    future = torch.ones(size, size).triu(1).bool()
    return torch.logical_and(future.unsqueeze(0), padding(lengths, size))


def wrong_padding_inverted(lengths, size):
    is_padding = torch.arange(size).repeat(len(lengths), 1) >= lengths.view(-1, 1)
    return causal(size) & is_padding.unsqueeze(1)


def wrong_all_inverted(lengths, size):
    future = torch.ones(size, size).triu(1).bool()
    is_padding = torch.arange(size) >= lengths.view(-1, 1)
    return future | is_padding.unsqueeze(1)


def wrong_padding_along_the_rows(lengths, size):
    mask = causal(size).repeat(len(lengths), 1, 1)
    for b, n in enumerate(lengths):
        mask[b, n:, :] = False
        mask[b, :, n:] = False
    return mask


def wrong_length_off_by_one(lengths, size):
    return causal(size) & padding(lengths + 1, size)


def wrong_last_word_hidden(lengths, size):
    return causal(size) & padding(lengths - 1, size)


def wrong_padding_at_the_left(lengths, size):
    return causal(size) & padding(lengths, size).flip(-1)


def wrong_first_length_for_all(lengths, size):
    one = causal(size).clone()
    one[:, lengths[0] :] = False
    return torch.stack([one] * len(lengths))


def wrong_size_from_the_lengths(lengths, size):
    longest = lengths.max().item()
    return causal(longest) & padding(lengths, longest)


def wrong_axis_for_heads(lengths, size):
    return causal(size)[None, None] & padding(lengths, size)[:, None]


def wrong_numbers_to_add(lengths, size):
    allowed = causal(size) & padding(lengths, size)
    return torch.where(allowed, 0.0, float("-inf"))


def wrong_dtype_fixed(lengths, size):
    return (causal(size) & padding(lengths, size)).to(torch.uint8)


def wrong_ones_and_zeros(lengths, size):
    return torch.tril(torch.ones(size, size)) * padding(lengths, size).float()


def wrong_whole_ones_and_zeros(lengths, size):
    return torch.ones(size, size, dtype=torch.int64).tril() * padding(lengths, size)


def wrong_squeezed(lengths, size):
    return (causal(size) & padding(lengths, size)).squeeze()


def wrong_order_lost(lengths, size):
    longest_first = lengths.sort(descending=True).values
    return causal(size) & padding(longest_first, size)


def wrong_other_kind(lengths, size):
    return (causal(size) & padding(lengths, size)).tolist()
