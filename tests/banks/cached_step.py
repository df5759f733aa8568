"""Answers to `cached_step`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F


def right_library(state, keys, values, to_query, to_key, to_value):
    keys = torch.cat((keys, torch.matmul(state, to_key)), 1)
    values = torch.cat((values, torch.matmul(state, to_value)), 1)
    found = F.scaled_dot_product_attention(state @ to_query, keys, values)
    return found, keys, values


def right_einsum(state, keys, values, to_query, to_key, to_value):
    word = state[:, 0]
    keys = torch.cat([keys, torch.einsum("bw,wh->bh", word, to_key)[:, None]], dim=1)
    values = torch.cat([values, torch.einsum("bw,wh->bh", word, to_value)[:, None]], dim=1)
    scores = torch.einsum("bw,wh,bsh->bs", word, to_query, keys) / keys.shape[2] ** 0.5
    return torch.einsum("bs,bsh->bh", scores.softmax(1), values)[:, None], keys, values


def right_loops(state, keys, values, to_query, to_key, to_value):
    found, grown_keys, grown_values = [], [], []
    for x, old_keys, old_values in zip(state[:, 0], keys, values, strict=True):
        ks = [*old_keys, x @ to_key]
        vs = [*old_values, x @ to_value]
        query = x @ to_query
        scores = torch.stack([query.dot(k) for k in ks]) / math.sqrt(len(query))
        weights = torch.softmax(scores, dim=0)
        found.append(sum(w * v for w, v in zip(weights, vs, strict=True)))
        grown_keys.append(torch.stack(ks))
        grown_values.append(torch.stack(vs))
    return torch.stack(found).unsqueeze(1), torch.stack(grown_keys), torch.stack(grown_values)


def right_one_product(state, keys, values, to_query, to_key, to_value):
    head = to_query.shape[1]
    query, key, value = (state @ torch.cat([to_query, to_key, to_value], dim=1)).split(head, dim=-1)
    keys, values = torch.hstack([keys, key]), torch.hstack([values, value])
    weights = F.softmax((query * keys).sum(-1) / math.sqrt(head), dim=-1)
    return (weights.unsqueeze(-1) * values).sum(1, keepdim=True), keys, values


def right_preallocated(state, keys, values, to_query, to_key, to_value):
    batch, past, head = keys.shape
    room = keys.new_zeros(2, batch, past + 1, head)
    room[0, :, :past], room[1, :, :past] = keys, values
    room[0, :, past], room[1, :, past] = (state @ to_key)[:, 0], (state @ to_value)[:, 0]
    scores = torch.bmm(state @ to_query, room[0].mT) * head**-0.5
    return torch.bmm(scores.softmax(-1), room[1]), room[0], room[1]


def attend(query, keys, values, scale=None):
    scale = math.sqrt(keys.shape[-1]) if scale is None else scale
    return F.softmax(query @ keys.mT / scale, dim=-1) @ values


def wrong_nothing_returned(state, keys, values, to_query, to_key, to_value):
    keys = torch.cat([keys, state @ to_key], dim=1)
    values = torch.cat([values, state @ to_value], dim=1)
    attend(state @ to_query, keys, values)


def wrong_itself_not_seen(state, keys, values, to_query, to_key, to_value):
    found = attend(state @ to_query, keys, values)
    keys = torch.cat([keys, state @ to_key], dim=1)
    values = torch.cat([values, state @ to_value], dim=1)
    return found, keys, values


def wrong_cache_not_grown(state, keys, values, to_query, to_key, to_value):
    all_keys = torch.cat([keys, state @ to_key], dim=1)
    all_values = torch.cat([values, state @ to_value], dim=1)
    return attend(state @ to_query, all_keys, all_values), keys, values


def wrong_only_the_new_kept(state, keys, values, to_query, to_key, to_value):
    key, value = state @ to_key, state @ to_value
    found = attend(state @ to_query, torch.cat([keys, key], 1), torch.cat([values, value], 1))
    return found, key, value


def wrong_oldest_dropped(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    start = 1 if keys.shape[1] > 1 else 0
    return attend(state @ to_query, keys, values), keys[:, start:], values[:, start:]


def wrong_new_word_in_front(state, keys, values, to_query, to_key, to_value):
    keys = torch.cat([state @ to_key, keys], dim=1)
    values = torch.cat([state @ to_value, values], dim=1)
    return attend(state @ to_query, keys, values), keys, values


def wrong_caches_exchanged(state, keys, values, to_query, to_key, to_value):
    found, keys, values = right_library(state, keys, values, to_query, to_key, to_value)
    return found, values, keys


def wrong_cache_first(state, keys, values, to_query, to_key, to_value):
    keys = torch.cat([keys, state @ to_key], dim=1)
    values = torch.cat([values, state @ to_value], dim=1)
    return keys, values, attend(state @ to_query, keys, values)


def wrong_only_itself(state, keys, values, to_query, to_key, to_value):
    value = state @ to_value
    return value, torch.cat([keys, state @ to_key], 1), torch.cat([values, value], 1)


def wrong_first_word_only(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    scores = (state @ to_query @ keys.mT) / math.sqrt(keys.size(-1))
    causal = torch.tril(torch.ones(scores.shape[1:])).bool()
    return scores.masked_fill(~causal, float("-inf")).softmax(-1) @ values, keys, values


def wrong_no_root(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    return attend(state @ to_query, keys, values, scale=1), keys, values


def wrong_root_forgotten(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    return attend(state @ to_query, keys, values, scale=to_key.shape[1]), keys, values


def wrong_root_of_the_length(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    return attend(state @ to_query, keys, values, scale=keys.size(1) ** 0.5), keys, values


def wrong_root_of_the_model(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    return attend(state @ to_query, keys, values, scale=len(to_query) ** 0.5), keys, values


def wrong_softmax_over_the_step(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    weights = F.softmax(state @ to_query @ keys.mT / keys.shape[-1] ** 0.5, dim=-2)
    return weights @ values, keys, values


def wrong_no_softmax(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    scores = torch.bmm(state @ to_query, keys.mT) / math.sqrt(keys.shape[-1])
    return torch.bmm(scores, values), keys, values


def wrong_values_scored(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    return F.scaled_dot_product_attention(state @ to_query, values, values), keys, values


def wrong_keys_summed(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    return F.scaled_dot_product_attention(state @ to_query, keys, keys), keys, values


def wrong_key_for_value(state, keys, values, to_query, to_key, to_value):
    new = state @ to_key
    keys, values = torch.cat([keys, new], 1), torch.cat([values, new], 1)
    return attend(state @ to_query, keys, values), keys, values


def wrong_key_asks(state, keys, values, to_query, to_key, to_value):
    new = state @ to_key
    keys, values = torch.cat([keys, new], 1), torch.cat([values, state @ to_value], 1)
    return attend(new, keys, values), keys, values


def wrong_matrices_transposed(state, keys, values, to_query, to_key, to_value):
    keys = torch.cat([keys, F.linear(state, to_key)], dim=1)
    values = torch.cat([values, F.linear(state, to_value)], dim=1)
    return attend(F.linear(state, to_query), keys, values), keys, values


def wrong_state_kept(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state], dim=1), torch.cat([values, state], dim=1)
    return attend(state @ to_query, keys, values), keys, values


def wrong_cache_projected_again(state, keys, values, to_query, to_key, to_value):
    keys = torch.cat([keys, state], dim=1)
    values = torch.cat([values, state], dim=1)
    keys, values = keys @ to_key, values @ to_value
    return attend(state @ to_query, keys, values), keys, values


def wrong_results_swapped(state, keys, values, to_query, to_key, to_value):
    return right_library(state, keys, values, to_query, to_key, to_value)[::-1]


def wrong_squeezed(state, keys, values, to_query, to_key, to_value):
    found, keys, values = right_library(state, keys, values, to_query, to_key, to_value)
    return found.squeeze(), keys, values


def wrong_other_gradient(state, keys, values, to_query, to_key, to_value):
    return right_library(state, keys.detach(), values.detach(), to_query, to_key, to_value)


def wrong_detached(state, keys, values, to_query, to_key, to_value):
    with torch.inference_mode():
        return tuple(
            x.clone() for x in right_library(state, keys, values, to_query, to_key, to_value)
        )


def wrong_other_shape(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key], 1), torch.cat([values, state @ to_value], 1)
    return attend(keys, keys, values), keys, values


def wrong_other_kind(state, keys, values, to_query, to_key, to_value):
    return right_library(state, keys, values, to_query, to_key, to_value)[0]


def wrong_raises(state, keys, values, to_query, to_key, to_value):
    keys, values = torch.cat([keys, state @ to_key]), torch.cat([values, state @ to_value])
    return attend(state @ to_query, keys, values), keys, values
