"""Answers to `soft_dictionary`: what right and wrong ones look like in the wild."""

import math

import numpy as np
import torch
from torch.nn import functional as F


def right_matmul(query, keys, values):
    weights = F.softmax(torch.mv(keys, query) * query.shape[0] ** -0.5, dim=-1)
    return values.T @ weights


def right_einsum(query, keys, values):
    scores = torch.einsum("w,ew->e", query, keys) / np.sqrt(keys.shape[1])
    return torch.einsum("e,ev->v", scores.softmax(0), values)


def right_loops(query, keys, values):
    scores = []
    for key in keys:
        scores.append(sum(q * k for q, k in zip(query, key, strict=True)) / len(query) ** 0.5)
    top = max(scores)
    raised = [torch.exp(s - top) for s in scores]
    total = sum(raised)
    answer = torch.zeros_like(values[0])
    for r, value in zip(raised, values, strict=True):
        answer = answer + r / total * value
    return answer


def right_library(query, keys, values):
    return F.scaled_dot_product_attention(query[None, None], keys[None], values[None])[0, 0]


def right_broadcast(query, keys, values):
    scores = (keys * query).sum(-1) / math.sqrt(query.numel())
    return (scores.softmax(-1)[:, None] * values).sum(0)


def wrong_nothing_returned(query, keys, values):
    right_broadcast(query, keys, values)


def wrong_no_root(query, keys, values):
    return F.softmax(torch.einsum("w,ew->e", query, keys), 0) @ values


def wrong_divided_by_width(query, keys, values):
    return (keys * query).mean(dim=1).softmax(dim=0) @ values


def wrong_root_of_entries(query, keys, values):
    d = keys.shape[0]
    return torch.softmax(query @ keys.T / d**0.5, 0) @ values


def wrong_multiplied_by_root(query, keys, values):
    return torch.softmax(query @ keys.T * query.numel() ** 0.5, 0) @ values


def wrong_root_after_softmax(query, keys, values):
    weights = torch.softmax(query @ keys.T, 0) / keys.shape[-1] ** 0.5
    return weights @ values


def wrong_keys_given_back(query, keys, values):
    scores = torch.mv(keys, query) / math.sqrt(keys.shape[1])
    return sum(w * k for w, k in zip(F.softmax(scores, 0), keys, strict=True))


def wrong_values_scored(query, keys, values):
    scores = torch.mv(values, query) / math.sqrt(keys.shape[1])
    return F.softmax(scores, 0) @ values


def wrong_only_the_best(query, keys, values):
    scores = [float(query @ key) for key in keys]
    return values[scores.index(max(scores))]


def wrong_exact_match(query, keys, values):
    answer = torch.zeros_like(values[0])
    for key, value in zip(keys, values, strict=True):
        if torch.equal(key, query):
            answer = answer + value
    return answer


def wrong_uniform(query, keys, values):
    return values.sum(0) / len(values)


def wrong_no_softmax(query, keys, values):
    return values.T @ (keys @ query / query.numel() ** 0.5)


def wrong_not_exponential(query, keys, values):
    scores = keys @ query
    return (scores / scores.sum()) @ values


def wrong_overflow(query, keys, values):
    e = torch.exp(query @ keys.T / len(query) ** 0.5)
    return (e @ values) / e.sum()


def wrong_cosine(query, keys, values):
    q = F.normalize(query, dim=0)
    k = F.normalize(keys, dim=1)
    return torch.softmax(k @ q, 0) @ values


def wrong_distance(query, keys, values):
    squared = ((query[None, :] - keys) ** 2).sum(-1)
    return torch.softmax(-squared / 2 / keys.shape[1] ** 0.5, 0) @ values


def wrong_negated(query, keys, values):
    return F.softmin(keys @ query / query.numel() ** 0.5, dim=0) @ values


def wrong_softmax_twice(query, keys, values):
    once = (keys @ query / query.numel() ** 0.5).softmax(0)
    return once.softmax(0) @ values


def wrong_weights_returned(query, keys, values):
    return F.softmax(query @ keys.T / query.numel() ** 0.5, dim=-1)


def wrong_not_summed(query, keys, values):
    weights = F.softmax(query @ keys.T / query.numel() ** 0.5, dim=-1)
    return torch.einsum("e,ev->ev", weights, values)


def wrong_mean_of_the_weighted(query, keys, values):
    weights = F.softmax(query @ keys.T / query.numel() ** 0.5, dim=-1)
    return (weights[:, None] * values).mean(0)


def wrong_dtype_fixed(query, keys, values):
    return right_matmul(query.float(), keys.float(), values.float())


def wrong_detached(query, keys, values):
    return torch.tensor(right_matmul(query, keys, values).tolist(), dtype=values.dtype)


def wrong_other_gradient(query, keys, values):
    return right_matmul(query.detach(), keys, values)


def wrong_edits_its_input(query, keys, values):
    query /= math.sqrt(len(query))
    return torch.softmax(keys @ query, 0) @ values


def wrong_raises(query, keys, values):
    return {tuple(k.tolist()): v for k, v in zip(keys, values, strict=True)}[tuple(query.tolist())]
