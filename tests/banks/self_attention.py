"""Answers to `self_attention`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F


def given(scores, mask):
    nowhere = ~mask.any(dim=-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(~(mask | nowhere), -torch.inf), dim=-1)
    return weights.masked_fill(nowhere, 0.0)


def right_einsum(x, w_query, w_key, w_value, mask):
    q = torch.einsum("bnw,wk->bnk", x, w_query)
    k = torch.einsum("bnw,wk->bnk", x, w_key)
    v = torch.einsum("bnw,wv->bnv", x, w_value)
    weights = given(torch.einsum("btk,bsk->bts", q, k) / k.size(-1) ** 0.5, mask)
    return torch.einsum("bts,bsv->btv", weights, v)


def right_loops(x, w_query, w_key, w_value, mask):
    batch, words, _ = x.shape
    mask = mask.expand(batch, words, words)
    sentences = []
    for b in range(batch):
        rows = []
        for t in range(words):
            query = x[b, t] @ w_query
            places = [i for i in range(words) if mask[b, t, i]]
            result = (x[b, t] @ w_value) * 0
            if places:
                scores = [query @ (x[b, i] @ w_key) / math.sqrt(len(query)) for i in places]
                weights = torch.softmax(torch.stack(scores), dim=0)
                for weight, i in zip(weights, places, strict=True):
                    result = result + weight * (x[b, i] @ w_value)
            rows.append(result)
        sentences.append(torch.stack(rows))
    return torch.stack(sentences)


def right_query_scaled(x, w_query, w_key, w_value, mask):
    q = F.linear(x, w_query.T) * w_key.shape[1] ** -0.5
    weights = given(torch.bmm(q, F.linear(x, w_key.T).mT), mask)
    return torch.bmm(weights, F.linear(x, w_value.T))


def right_library(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    nowhere = ~mask.any(-1, keepdim=True)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask | nowhere)
    return found.masked_fill(nowhere, 0.0)


def right_one_product(x, w_query, w_key, w_value, mask):
    widths = [w_query.shape[1], w_key.shape[1], w_value.shape[1]]
    q, k, v = (x @ torch.cat([w_query, w_key, w_value], dim=1)).split(widths, dim=-1)
    scores = (q[:, :, None] * k[:, None]).sum(-1) / math.sqrt(widths[1])
    low = torch.finfo(x.dtype).min
    return (scores.masked_fill(~mask, low).softmax(-1) * mask) @ v


def wrong_nothing_returned(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    given(q @ k.mT, mask) @ v


def wrong_not_scaled(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    return given(torch.einsum("btk,bsk->bts", q, k), mask) @ v


def wrong_divided_by_width(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    q = q / math.sqrt(q.shape[-1])
    return given(q @ k.mT / math.sqrt(k.shape[-1]), mask) @ v


def wrong_multiplied_by_root(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    return given(q @ k.mT * k.shape[-1] ** 0.5, mask) @ v


def wrong_root_of_the_input(x, w_query, w_key, w_value, mask):
    d = x.size(-1)
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    return given(torch.bmm(q, k.mT) / math.sqrt(d), mask) @ v


def wrong_root_of_the_length(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    return given(q @ k.mT / math.sqrt(q.size(1)), mask) @ v


def wrong_scaled_after_softmax(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    weights = given(q @ k.mT, mask) / math.sqrt(q.shape[-1])
    return torch.bmm(weights, v)


def wrong_no_matrices(x, w_query, w_key, w_value, mask):
    query = key = value = x
    scores = query @ key.mT / math.sqrt(x.shape[-1])
    return given(scores, mask) @ value


def wrong_states_for_values(x, w_query, w_key, w_value, mask):
    q, k = x @ w_query, x @ w_key
    return torch.bmm(given(q @ k.mT / math.sqrt(k.shape[-1]), mask), x)


def wrong_one_matrix_for_both(x, w_query, w_key, w_value, mask):
    q = k = x @ w_query
    return given(q @ k.mT / math.sqrt(k.shape[-1]), mask) @ (x @ w_value)


def wrong_asks_and_asked_exchanged(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    scores = torch.einsum("btk,bsk->bst", q, k) / math.sqrt(k.shape[-1])
    return given(scores, mask) @ v


def wrong_matrices_transposed(x, w_query, w_key, w_value, mask):
    q, k, v = F.linear(x, w_query), F.linear(x, w_key), F.linear(x, w_value)
    return given(q @ k.mT / math.sqrt(k.shape[-1]), mask) @ v


def wrong_values_scored(x, w_query, w_key, w_value, mask):
    q, v = x @ w_query, x @ w_value
    return given(q @ v.mT / math.sqrt(q.shape[-1]), mask) @ v


def wrong_keys_summed(x, w_query, w_key, w_value, mask):
    q, k = x @ w_query, x @ w_key
    return torch.bmm(given(q @ k.mT / math.sqrt(k.shape[-1]), mask), k)


def wrong_reshape_for_transpose(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    batch, words, d = k.shape
    return given(q @ k.contiguous().view(batch, d, words) / math.sqrt(d), mask) @ v


def wrong_no_mask(x, w_query, w_key, w_value, mask):
    return F.scaled_dot_product_attention(x @ w_query, x @ w_key, x @ w_value)


def wrong_mask_inverted(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    weights = torch.where(mask, -torch.inf, scores).softmax(-1)
    return torch.nan_to_num(weights) @ v


def wrong_mask_inverted_plainly(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    return torch.softmax(scores.masked_fill(mask, float("-inf")), dim=-1) @ v


def wrong_mask_after_softmax(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    weights = F.softmax(q @ k.mT / math.sqrt(k.shape[-1]), dim=-1)
    return weights.masked_fill(~mask, 0) @ v


def wrong_filled_with_zero(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    return F.softmax(q @ k.mT / math.sqrt(k.shape[-1]) * mask, dim=-1) @ v


def wrong_soft_constant(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    scores = torch.where(mask, q @ k.mT / math.sqrt(k.shape[-1]), -1e9)
    return torch.softmax(scores, dim=-1) @ v


def wrong_nan_in_empty_row(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    added = torch.zeros(mask.shape, dtype=x.dtype).masked_fill(~mask, -torch.inf)
    return torch.softmax(q @ k.mT / math.sqrt(k.shape[-1]) + added, dim=-1) @ v


def wrong_first_mask_for_all(x, w_query, w_key, w_value, mask):
    if mask.dim() == 3:
        mask = mask[:1]
    return right_einsum(x, w_query, w_key, w_value, mask)


def wrong_softmax_over_those_who_ask(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    scores = (q @ k.mT / math.sqrt(k.shape[-1])).masked_fill(~mask, -torch.inf)
    return scores.softmax(1).nan_to_num(0) @ v


def wrong_softmax_over_batch(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    scores = (q @ k.mT / math.sqrt(k.shape[-1])).masked_fill(~mask, -torch.inf)
    return F.softmax(scores, 0).nan_to_num(0) @ v


def wrong_no_softmax(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    return (q @ k.mT / math.sqrt(k.shape[-1])).masked_fill(~mask, 0.0) @ v


def wrong_softmax_twice(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    weights = given(q @ k.mT / math.sqrt(k.shape[-1]), mask)
    return F.softmax(weights, dim=2) @ v


def wrong_only_the_largest(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    scores = torch.where(mask, q @ k.mT / math.sqrt(k.shape[-1]), -torch.inf)
    return torch.stack([one[best] for one, best in zip(v, scores.argmax(-1), strict=True)])


def wrong_overflow(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    e = torch.where(mask, torch.exp(q @ k.mT / math.sqrt(k.shape[-1])), 0.0)
    return (e / (e.sum(-1, keepdim=True) + 1e-9)) @ v


def wrong_weights_returned(x, w_query, w_key, w_value, mask):
    q, k = x @ w_query, x @ w_key
    return given(q @ k.mT / math.sqrt(k.shape[-1]), mask)


def wrong_squeezed(x, w_query, w_key, w_value, mask):
    return right_einsum(x, w_query, w_key, w_value, mask).squeeze(0)


def wrong_dtype_fixed(x, w_query, w_key, w_value, mask):
    q, k, v = x.float() @ w_query.float(), x.float() @ w_key.float(), x.float() @ w_value.float()
    return given(q @ k.mT / math.sqrt(k.shape[-1]), mask) @ v


def wrong_detached(x, w_query, w_key, w_value, mask):
    return right_einsum(x, w_query, w_key, w_value, mask).detach()


def wrong_other_gradient(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    with torch.no_grad():
        weights = given(q @ k.mT / math.sqrt(k.shape[-1]), mask)
    return weights @ v


def wrong_edits_its_input(x, w_query, w_key, w_value, mask):
    w_query /= math.sqrt(w_query.shape[-1])
    return given(x @ w_query @ (x @ w_key).mT, mask) @ (x @ w_value)


def wrong_raises(x, w_query, w_key, w_value, mask):
    q, k, v = x @ w_query, x @ w_key, x @ w_value
    return given(q @ k.t() / math.sqrt(k.shape[-1]), mask) @ v
