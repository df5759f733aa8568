"""Answers to `scaled_attention`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F


def scores_of(queries, keys):
    return torch.einsum("...tw,...sw->...ts", queries, keys) * queries.size(-1) ** -0.5


def right_nan_to_num(queries, keys, values, mask=None):
    scores = torch.matmul(queries, keys.mT).div(queries.shape[-1] ** 0.5)
    if mask is not None:
        scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    weights = F.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights * mask
    return torch.matmul(weights, values), weights


def right_einsum(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    mask = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    some = mask.any(-1, keepdim=True)
    weights = scores.masked_fill(~mask & some, float("-inf")).softmax(-1)
    weights = torch.where(some, weights, torch.zeros_like(weights))
    return torch.einsum("...ts,...sv->...tv", weights, values), weights


def right_recursion(queries, keys, values, mask=None):
    if queries.dim() > 2:
        masks = [None] * len(queries)
        if mask is not None:
            masks = mask.expand(*queries.shape[:-1], keys.shape[-2])
        both = [
            right_recursion(q, k, v, m)
            for q, k, v, m in zip(queries, keys, values, masks, strict=True)
        ]
        return torch.stack([c for c, _ in both]), torch.stack([w for _, w in both])
    rows = []
    for t, query in enumerate(queries):
        scores = keys @ query / math.sqrt(len(query))
        may = (
            torch.ones(len(keys), dtype=torch.bool)
            if mask is None
            else mask.expand(len(queries), len(keys))[t]
        )
        row = scores * 0
        if may.any():
            row = row.masked_scatter(may, scores[may].softmax(0))
        rows.append(row)
    weights = torch.stack(rows)
    return weights @ values, weights


def right_library(queries, keys, values, mask=None):
    """Asks the library with the unit vectors as values, and gets the weights."""
    lead = queries.shape[:-2]
    q, k, v = (x.reshape(-1, *x.shape[-2:]) for x in (queries, keys, values))
    size = (len(q), q.shape[1], k.shape[1])
    may = torch.ones(size, dtype=torch.bool)
    if mask is not None:
        may = mask.expand(*lead, *size[1:]).reshape(size)
    eye = torch.eye(k.shape[1], dtype=v.dtype).expand(len(k), -1, -1)
    some = may.any(-1, keepdim=True)
    w = F.scaled_dot_product_attention(q, k, eye, attn_mask=may | ~some) * some
    return (w @ v).reshape(*lead, *(w @ v).shape[1:]), w.reshape(*lead, *size[1:])


def wrong_nothing_returned(queries, keys, values, mask=None):
    scores_of(queries, keys)


def wrong_no_root(queries, keys, values, mask=None):
    return right_einsum(queries * queries.shape[-1] ** 0.5, keys, values, mask)


def wrong_divided_by_width(queries, keys, values, mask=None):
    return right_einsum(queries / queries.shape[-1] ** 0.5, keys, values, mask)


def wrong_root_of_source(queries, keys, values, mask=None):
    d, n = queries.size(-1), keys.size(-2)
    return right_einsum(queries * (d / n) ** 0.5, keys, values, mask)


def wrong_root_of_value_width(queries, keys, values, mask=None):
    scale = queries.size(-1) ** 0.5 / values.size(-1) ** 0.5
    return right_nan_to_num(queries * scale, keys, values, mask)


def wrong_multiplied_by_root(queries, keys, values, mask=None):
    return right_nan_to_num(queries * queries.size(-1), keys, values, mask)


def wrong_root_after_softmax(queries, keys, values, mask=None):
    d = queries.size(-1)
    _, weights = right_nan_to_num(queries * d**0.5, keys, values, mask)
    weights = weights / d**0.5
    return weights @ values, weights


def wrong_keys_given_back(queries, keys, values, mask=None):
    _, weights = right_nan_to_num(queries, keys, values, mask)
    return weights.matmul(keys), weights


def wrong_three_axes_only(queries, keys, values, mask=None):
    scores = torch.matmul(queries, keys.permute(*axes(keys))) / math.sqrt(queries.shape[-1])
    if mask is None:
        weights = scores.softmax(-1)
    else:
        weights = scores.masked_fill(~mask, -1e30).softmax(-1) * mask
    return weights @ values, weights


def axes(x):
    return (0, 2, 1, *range(3, x.dim()))


def wrong_no_mask(queries, keys, values, mask=None):
    weights = F.softmax(scores_of(queries, keys), -1)
    return weights @ values, weights


def wrong_mask_inverted(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    if mask is not None:
        scores = scores.masked_fill(mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    if mask is not None:
        weights = weights.masked_fill(mask, 0.0)
    return weights @ values, weights


def wrong_mask_inverted_plainly(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    if mask is not None:
        scores = torch.where(mask, float("-inf"), scores)
    weights = scores.softmax(-1)
    return weights @ values, weights


def wrong_mask_after_softmax(queries, keys, values, mask=None):
    weights = scores_of(queries, keys).softmax(-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0)
    return weights @ values, weights


def wrong_filled_with_zero(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    weights = F.softmax(scores if mask is None else scores * mask, -1)
    return weights @ values, weights


def wrong_soft_constant(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    if mask is not None:
        scores = torch.where(mask, scores, torch.full_like(scores, -1e10))
    return scores.softmax(-1) @ values, scores.softmax(-1)


def wrong_nan_in_empty_row(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    if mask is not None:
        scores = torch.where(mask, scores, float("-inf"))
    weights = F.softmax(scores, dim=-1)
    return torch.einsum("...ts,...sv->...tv", weights, values), weights


def wrong_softmax_over_target(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), float("-inf"))
    weights = F.softmax(scores, dim=scores.dim() - 2).nan_to_num(0.0)
    return weights @ values, weights


def wrong_softmax_over_first_axis(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), float("-inf"))
    e = (scores - scores.amax(0, keepdim=True).clamp(min=-1e30)).exp()
    weights = (e / e.sum(0, keepdim=True)).nan_to_num(0.0)
    return weights @ values, weights


def wrong_scores_returned(queries, keys, values, mask=None):
    scores = scores_of(queries, keys)
    if mask is not None:
        scores = torch.where(mask, scores, float("-inf"))
    return right_einsum(queries, keys, values, mask)[0], scores


def wrong_only_the_context(queries, keys, values, mask=None):
    context, _ = right_recursion(queries, keys, values, mask)
    return context


def wrong_results_swapped(queries, keys, values, mask=None):
    context, weights = right_einsum(queries, keys, values, mask)
    return weights, context


def wrong_squeezed(queries, keys, values, mask=None):
    context, weights = right_einsum(queries, keys, values, mask)
    return context.squeeze(), weights.squeeze()


def wrong_dtype_fixed(queries, keys, values, mask=None):
    return right_einsum(queries.float(), keys.float(), values.float(), mask)


def wrong_detached(queries, keys, values, mask=None):
    with torch.no_grad():
        return right_einsum(queries, keys, values, mask)


def wrong_other_gradient(queries, keys, values, mask=None):
    _, weights = right_einsum(queries, keys, values, mask)
    return weights.detach() @ values, weights


def wrong_edits_its_input(queries, keys, values, mask=None):
    queries.mul_(queries.shape[-1] ** -0.5)
    return right_einsum(queries * queries.shape[-1] ** 0.5, keys, values, mask)
