"""Answers to `merge_heads`: what right and wrong ones look like in the wild."""

import torch


def right_contiguous_view(pieces):
    batch, heads, words, piece = pieces.size()
    return pieces.transpose(1, 2).contiguous().view(batch, words, heads * piece)


def right_cat(pieces):
    return torch.cat(pieces.unbind(dim=1), dim=-1)


def right_permute(pieces):
    return pieces.permute(0, 2, 1, 3).flatten(start_dim=2)


def right_loops(pieces):
    batch, heads, words, piece = pieces.shape
    out = pieces.new_zeros(batch, words, heads * piece)
    for h in range(heads):
        out[:, :, h * piece : (h + 1) * piece] = pieces[:, h]
    return out


def right_rows(pieces):
    sentences = [torch.stack([s[:, n].reshape(-1) for n in range(s.shape[1])]) for s in pieces]
    return torch.stack(sentences)


def wrong_nothing_returned(pieces):
    pieces.transpose(1, 2).flatten(2)


def wrong_reshape_without_transpose(pieces):
    return pieces.contiguous().view(pieces.shape[0], pieces.shape[2], -1)


def wrong_words_and_numbers_exchanged(pieces):
    batch, heads, words, piece = pieces.shape
    return pieces.mT.contiguous().view(batch, words, heads * piece)


def wrong_heads_and_numbers_exchanged(pieces):
    batch, heads, words, piece = pieces.shape
    return pieces.permute(0, 3, 2, 1).reshape(batch, words, piece * heads)


def wrong_batch_turned(pieces):
    batch, heads, words, piece = pieces.shape
    return pieces.permute(2, 1, 0, 3).reshape(batch, words, heads * piece)


def wrong_taking_turns(pieces):
    return torch.stack(pieces.unbind(1), dim=-1).flatten(2)


def wrong_heads_added(pieces):
    total = torch.zeros_like(pieces[:, 0])
    for head in pieces.unbind(1):
        total = total + head
    return total


def wrong_heads_averaged(pieces):
    return pieces.sum(1) / pieces.shape[1]


def wrong_first_head_only(pieces):
    return pieces.unbind(1)[0]


def wrong_first_head_for_all(pieces):
    return torch.cat([pieces[:, 0]] * pieces.shape[1], dim=-1)


def wrong_sentences_behind_one_another(pieces):
    return torch.cat(list(pieces.unbind(1)), dim=1)


def wrong_not_merged(pieces):
    return torch.stack(pieces.unbind(1), dim=2)


def wrong_heads_in_the_batch(pieces):
    batch, heads, words, piece = pieces.shape
    return pieces.reshape(batch * heads, words, piece)


def wrong_heads_backwards(pieces):
    return torch.cat(pieces.unbind(1)[::-1], dim=-1)


def wrong_words_last(pieces):
    batch, heads, words, piece = pieces.shape
    return pieces.mT.reshape(batch, heads * piece, words)


def wrong_batch_flattened(pieces):
    _, heads, _, piece = pieces.shape
    return pieces.transpose(1, 2).reshape(-1, heads * piece)


def wrong_largest_of_heads(pieces):
    return pieces.max(dim=1).values


def wrong_squeezed(pieces):
    return right_cat(pieces).squeeze()


def wrong_dtype_fixed(pieces):
    batch, heads, words, piece = pieces.shape
    out = torch.zeros(batch, words, heads, piece)
    for h in range(heads):
        out[:, :, h] = pieces[:, h]
    return out.flatten(2)


def wrong_detached(pieces):
    return right_cat(pieces.detach())


def wrong_other_kind(pieces):
    return right_cat(pieces).detach().numpy()


def wrong_edits_its_input(pieces):
    merged = right_cat(pieces)
    pieces.zero_()
    return merged


def wrong_order_lost(pieces):
    return right_cat(pieces).flip(0)


def wrong_raises(pieces):
    batch, heads, words, piece = pieces.shape
    return pieces.transpose(1, 2).view(batch, words, heads * piece)
