"""Answers to `repair_scale`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F

from attnbook.exercises.dot_attention import masked_softmax


def right_last_axis(queries, keys, mask):
    width = keys.shape[-1]
    scores = queries @ keys.transpose(1, 2) / math.sqrt(width)
    return masked_softmax(scores, mask)


def right_queries_width(queries, keys, mask):
    _, _, d = queries.shape
    return masked_softmax(torch.bmm(queries, keys.mT) * d**-0.5, mask)


def right_half_to_each(queries, keys, mask):
    root = keys.size(2) ** 0.25
    return masked_softmax(torch.einsum("btw,bsw->bts", queries / root, keys / root), mask)


def right_from_scratch(queries, keys, mask):
    scores = (queries[:, :, None] * keys[:, None]).sum(-1) / torch.tensor(
        keys.shape[2], dtype=keys.dtype
    ).sqrt()
    return F.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1)


def wrong_root_of_source(queries, keys, mask):
    width = keys.shape[1]
    scores = torch.bmm(queries, keys.transpose(1, 2)) / width**0.5
    return masked_softmax(scores, mask)


def wrong_root_of_allowed(queries, keys, mask):
    words = mask.sum(dim=-1, keepdim=True)
    scores = queries @ keys.transpose(1, 2) / torch.sqrt(words)
    return masked_softmax(scores, mask)


def wrong_no_scale(queries, keys, mask):
    return masked_softmax(torch.einsum("btw,bsw->bts", queries, keys), mask)


def wrong_divided_by_width(queries, keys, mask):
    return masked_softmax((queries[:, :, None] * keys[:, None]).mean(-1), mask)


def wrong_divided_by_source(queries, keys, mask):
    return masked_softmax(torch.bmm(queries, keys.mT) / keys.size(1), mask)


def wrong_root_of_target(queries, keys, mask):
    width = queries.shape[1]
    return masked_softmax(torch.bmm(queries, keys.mT) / width**0.5, mask)


def wrong_root_of_batch(queries, keys, mask):
    width = keys.shape[0]
    return masked_softmax(torch.bmm(queries, keys.mT) / width**0.5, mask)


def wrong_multiplied_by_root(queries, keys, mask):
    return masked_softmax(torch.bmm(queries, keys.mT) * keys.size(-1) ** 0.5, mask)


def wrong_fixed_64(queries, keys, mask):
    width = 64
    return masked_softmax(torch.bmm(queries, keys.mT) / math.sqrt(width), mask)


def wrong_cosine(queries, keys, mask):
    q = F.normalize(queries, dim=-1)
    k = F.normalize(keys, dim=-1)
    return masked_softmax(q @ k.mT, mask)


def wrong_standardized(queries, keys, mask):
    scores = torch.bmm(queries, keys.mT)
    centred = scores - scores.mean(-1, keepdim=True)
    spread = (centred.square().sum(-1, keepdim=True) / (scores.shape[-1] - 1)).sqrt()
    return masked_softmax(scores / spread, mask)


def wrong_root_after_softmax(queries, keys, mask):
    weights = masked_softmax(torch.bmm(queries, keys.mT), mask)
    return weights * keys.size(-1) ** -0.5


def wrong_logarithm(queries, keys, mask):
    scores = torch.bmm(queries, keys.mT) * math.log(keys.size(1)) / keys.size(2) ** 0.5
    return masked_softmax(scores, mask)


def wrong_mask_removed(queries, keys, mask):
    return (torch.bmm(queries, keys.mT) / keys.size(2) ** 0.5).softmax(-1)


def wrong_mask_inverted(queries, keys, mask):
    padding = torch.logical_not(mask)
    return masked_softmax(torch.bmm(queries, keys.mT) / keys.size(2) ** 0.5, padding)


def wrong_axes_of_the_product(queries, keys, mask):
    scores = torch.einsum("btw,bsw->bst", queries, keys) / keys.size(2) ** 0.5
    return F.softmax(scores, dim=2)


def wrong_softmax_over_target(queries, keys, mask):
    scores = torch.bmm(queries, keys.mT) / keys.size(2) ** 0.5
    e = torch.where(mask, scores, float("-inf")).softmax(1)
    return torch.where(mask.expand_as(e), e, 0.0)


def wrong_nothing_returned(queries, keys, mask):
    masked_softmax(torch.bmm(queries, keys.mT) / keys.size(2) ** 0.5, mask)


def wrong_dtype_fixed(queries, keys, mask):
    scores = torch.bmm(queries, keys.mT).float() / keys.size(2) ** 0.5
    return masked_softmax(scores, mask)


def wrong_detached(queries, keys, mask):
    return right_last_axis(queries.detach(), keys.data, mask)


def wrong_other_gradient(queries, keys, mask):
    return right_last_axis(queries, keys.detach(), mask)


def wrong_edits_its_input(queries, keys, mask):
    keys /= math.sqrt(keys.shape[2])
    return masked_softmax(queries @ keys.transpose(1, 2), mask)
