"""Answers to `split_heads`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F


def right_view(vectors, heads):
    batch, words, width = vectors.size()
    return vectors.contiguous().view(batch, words, heads, width // heads).permute(0, 2, 1, 3)


def right_unflatten(vectors, heads):
    return vectors.unflatten(-1, (heads, -1)).transpose(-3, -2)


def right_chunks(vectors, heads):
    return torch.stack(vectors.chunk(heads, dim=-1), dim=1)


def right_slices(vectors, heads):
    piece = vectors.shape[-1] // heads
    return torch.stack([vectors[:, :, h * piece : (h + 1) * piece] for h in range(heads)], 1)


def right_loops(vectors, heads):
    batch, words, width = vectors.shape
    piece = width // heads
    out = vectors.new_zeros(batch, heads, words, piece)
    for b in range(batch):
        for h in range(heads):
            for n in range(words):
                for i in range(piece):
                    out[b, h, n, i] = vectors[b, n, h * piece + i]
    return out


def right_reshape_after_transpose(vectors, heads):
    batch, words, width = vectors.shape
    turned = vectors.transpose(1, 2).reshape(batch, heads, width // heads, words)
    return turned.mT


def right_unfold(vectors, heads):
    piece = vectors.shape[-1] // heads
    return vectors.unfold(2, piece, piece).swapaxes(1, 2)


def wrong_nothing_returned(vectors, heads):
    right_chunks(vectors, heads)


def wrong_reshape_for_transpose(vectors, heads):
    batch, words, width = vectors.shape
    pieces = vectors.view(batch, words, heads, width // heads)
    return pieces.reshape(batch, heads, words, width // heads)


def wrong_every_other_number(vectors, heads):
    return torch.stack([vectors[..., h::heads] for h in range(heads)], dim=1)


def wrong_not_transposed(vectors, heads):
    return torch.stack(vectors.chunk(heads, dim=-1), dim=2)


def wrong_width_before_words(vectors, heads):
    batch, words, width = vectors.shape
    return vectors.transpose(1, 2).reshape(batch, heads, width // heads, words)


def wrong_heads_first(vectors, heads):
    return torch.stack(vectors.chunk(heads, dim=-1))


def wrong_heads_in_the_batch(vectors, heads):
    batch, words, width = vectors.shape
    piece = width // heads
    cut = vectors.view(batch, words, heads, piece).transpose(1, 2)
    return cut.contiguous().view(batch * heads, words, piece)


def wrong_heads_taken_for_their_width(vectors, heads):
    return torch.stack(vectors.split(heads, dim=-1), dim=1)


def wrong_not_cut(vectors, heads):
    return torch.stack([vectors for _ in range(heads)], dim=1)


def wrong_first_piece_for_all(vectors, heads):
    piece = vectors.shape[-1] // heads
    return torch.stack([vectors[:, :, :piece] for _ in range(heads)], 1)


def wrong_heads_backwards(vectors, heads):
    return torch.stack(vectors.chunk(heads, dim=-1)[::-1], dim=1)


def wrong_sentence_cut(vectors, heads):
    batch, words, width = vectors.shape
    return vectors.view(batch, heads, words // heads, width)


def wrong_reshaped_from_the_front(vectors, heads):
    batch, words, width = vectors.shape
    return vectors.reshape(heads, batch, words, width // heads).permute(1, 0, 2, 3)


def wrong_batch_turned(vectors, heads):
    batch, words, width = vectors.shape
    return vectors.view(batch, words, heads, width // heads).permute(2, 1, 0, 3)


def wrong_words_behind(vectors, heads):
    batch, words, width = vectors.shape
    return vectors.view(batch, words, width // heads, heads).movedim(1, -1)


def wrong_words_first_then_reshape(vectors, heads):
    batch, words, width = vectors.shape
    return vectors.mT.contiguous().view(batch, heads, words, width // heads)


def wrong_divided_by_heads(vectors, heads):
    return right_chunks(vectors / heads, heads)


def wrong_squeezed(vectors, heads):
    return right_view(vectors, heads).squeeze()


def wrong_dtype_fixed(vectors, heads):
    batch, words, width = vectors.shape
    out = torch.zeros(batch, heads, words, width // heads)
    for h, piece in enumerate(vectors.chunk(heads, dim=-1)):
        out[:, h] = piece
    return out


def wrong_detached(vectors, heads):
    return right_chunks(vectors.data, heads)


def wrong_other_kind(vectors, heads):
    return vectors.chunk(heads, dim=-1)


def wrong_edits_its_input(vectors, heads):
    cut = right_chunks(vectors, heads)
    vectors /= math.sqrt(vectors.shape[-1])
    return cut


def wrong_other_shape(vectors, heads):
    return F.pad(right_chunks(vectors, heads), (0, 1))
