"""Answers to `multi_head_attention`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F


def given(scores, mask):
    nowhere = ~mask.any(dim=-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(~(mask | nowhere), -torch.inf), dim=-1)
    return weights.masked_fill(nowhere, 0.0)


def split(x, heads):
    batch, words, width = x.shape
    return x.view(batch, words, heads, width // heads).permute(0, 2, 1, 3)


def merge(x):
    batch, heads, words, width = x.shape
    return x.permute(0, 2, 1, 3).reshape(batch, words, heads * width)


def projected(asks, asked, wq, wk, wv, heads):
    return split(asks @ wq, heads), split(asked @ wk, heads), split(asked @ wv, heads)


def scored(q, k):
    return torch.einsum("bhtd,bhsd->bhts", q, k) / q.size(-1) ** 0.5


def right_head_by_head(asks, asked, wq, wk, wv, wo, heads, mask):
    width = wq.shape[0] // heads
    found, looks = [], []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        q, k, v = asks @ wq[:, part], asked @ wk[:, part], asked @ wv[:, part]
        looks.append(given(q @ k.transpose(1, 2) / math.sqrt(width), mask))
        found.append(looks[-1] @ v)
    return torch.cat(found, dim=-1) @ wo, torch.stack(looks, dim=1)


def right_einsum(asks, asked, wq, wk, wv, wo, heads, mask):
    model = wq.shape[0]
    wq, wk, wv = (w.reshape(model, heads, -1) for w in (wq, wk, wv))
    q = torch.einsum("btm,mhd->bhtd", asks, wq)
    k = torch.einsum("bsm,mhd->bhsd", asked, wk)
    v = torch.einsum("bsm,mhd->bhsd", asked, wv)
    weights = given(torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1]), mask[:, None])
    found = torch.einsum("bhts,bhsd->bhtd", weights, v)
    return torch.einsum("bhtd,hdm->btm", found, wo.reshape(heads, -1, model)), weights


def right_heads_in_the_batch(asks, asked, wq, wk, wv, wo, heads, mask):
    batch, target, model = asks.shape

    def fold(x):
        return torch.cat(x.chunk(heads, dim=-1), dim=0)

    q, k, v = fold(asks @ wq), fold(asked @ wk), fold(asked @ wv)
    scores = torch.baddbmm(
        torch.zeros(1, 1, 1, dtype=q.dtype), q, k.mT, alpha=1 / math.sqrt(model // heads)
    )
    weights = given(scores, mask.repeat(heads, 1, 1))
    found = torch.cat((weights @ v).chunk(heads, dim=0), dim=-1)
    return found @ wo, weights.view(heads, batch, target, -1).transpose(0, 1)


def right_library(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    mask = mask.unsqueeze(1)
    nowhere = ~mask.any(-1, keepdim=True)
    # Asked to mix the unit matrix, torch's function gives its weights away.
    unit = torch.eye(k.shape[2], dtype=k.dtype).expand(*k.shape[:2], -1, -1)
    weights = F.scaled_dot_product_attention(q, k, unit, attn_mask=mask | nowhere)
    weights = weights.masked_fill(nowhere, 0)
    return F.linear(merge(weights @ v), wo.T), weights


def right_sum_of_heads(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(scored(q, k), mask.unsqueeze(1))
    blocks = wo.chunk(heads, dim=0)
    output = sum((weights[:, h] @ v[:, h]) @ blocks[h] for h in range(heads))
    return output, weights


def wrong_nothing_returned(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    merge(given(scored(q, k), mask.unsqueeze(1)) @ v) @ wo


def wrong_one_look(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = asks @ wq, asked @ wk, asked @ wv
    weights = given(torch.bmm(q, k.mT) / math.sqrt(q.shape[-1]), mask)
    return torch.bmm(weights, v) @ wo, weights


def wrong_root_of_the_whole_width(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(q @ k.mT / math.sqrt(wq.shape[1]), mask.unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_not_scaled(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(q @ k.mT, mask.unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_divided_by_width(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given((q.unsqueeze(3) * k.unsqueeze(2)).mean(-1), mask.unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_cut_by_reshape(asks, asked, wq, wk, wv, wo, heads, mask):
    b, d = len(asks), wq.shape[0] // heads
    q = (asks @ wq).view(b, heads, -1, d)
    k = (asked @ wk).view(b, heads, -1, d)
    v = (asked @ wv).view(b, heads, -1, d)
    weights = given(scored(q, k), mask.unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_merged_by_reshape(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(scored(q, k), mask.unsqueeze(1))
    found = weights @ v
    return found.reshape(asks.shape) @ wo, weights


def wrong_reshaped_both_ways(asks, asked, wq, wk, wv, wo, heads, mask):
    b, d = len(asks), wq.shape[0] // heads
    q = torch.reshape(asks @ wq, (b, heads, -1, d))
    k = torch.reshape(asked @ wk, (b, heads, -1, d))
    v = torch.reshape(asked @ wv, (b, heads, -1, d))
    weights = given(scored(q, k), mask.unsqueeze(1))
    return torch.reshape(weights @ v, asks.shape) @ wo, weights


def wrong_every_other_number(asks, asked, wq, wk, wv, wo, heads, mask):
    def cut(x):
        return torch.stack([x[:, :, h::heads] for h in range(heads)], dim=1)

    q, k, v = cut(asks @ wq), cut(asked @ wk), cut(asked @ wv)
    weights = given(scored(q, k), mask.unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_no_output_matrix(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(scored(q, k), mask.unsqueeze(1))
    return merge(weights @ v) + 0 * wo[0], weights


def wrong_matrices_transposed(asks, asked, wq, wk, wv, wo, heads, mask):
    q = split(F.linear(asks, wq), heads)
    k, v = split(F.linear(asked, wk), heads), split(F.linear(asked, wv), heads)
    weights = given(scored(q, k), mask.unsqueeze(1))
    return F.linear(merge(weights @ v), wo), weights


def wrong_asks_itself(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = (split(asks @ w, heads) for w in (wq, wk, wv))
    weights = given(scored(q, k), mask.unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_asks_and_asked_exchanged(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asked, asks, wq, wk, wv, heads)
    weights = given(scored(q, k), mask.unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_keys_summed(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(scored(q, k), mask.unsqueeze(1))
    return merge(torch.einsum("bhts,bhsd->bhtd", weights, k) + 0 * v[:1, :1, :1]) @ wo, weights


def wrong_no_mask(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = F.softmax(scored(q, k), dim=3)
    return merge(weights @ v) @ wo, weights


def wrong_mask_inverted(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(scored(q, k), mask.logical_not().unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_mask_laid_over_the_heads(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(scored(q, k), mask)
    return merge(weights @ v) @ wo, weights


def wrong_mask_after_softmax(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = scored(q, k).softmax(-1).masked_fill(~mask[:, None], 0)
    return merge(weights @ v) @ wo, weights


def wrong_soft_constant(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = F.softmax(torch.where(mask[:, None], scored(q, k), -1e9), dim=-1)
    return merge(weights @ v) @ wo, weights


def wrong_nan_in_empty_row(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = F.softmax(torch.where(mask[:, None], scored(q, k), float("-inf")), dim=-1)
    return merge(weights @ v) @ wo, weights


def wrong_softmax_over_heads(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    scores = scored(q, k).masked_fill(~mask[:, None], float("-inf"))
    weights = F.softmax(scores, dim=1).nan_to_num(0)
    return merge(weights @ v) @ wo, weights


def wrong_softmax_over_those_who_ask(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    scores = scored(q, k).masked_fill(~mask[:, None], float("-inf"))
    weights = F.softmax(scores, dim=2).nan_to_num(0)
    return merge(weights @ v) @ wo, weights


def wrong_weights_averaged(asks, asked, wq, wk, wv, wo, heads, mask):
    output, weights = right_einsum(asks, asked, wq, wk, wv, wo, heads, mask)
    return output, weights.sum(dim=1) / heads


def wrong_scores_returned(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    scores = scored(q, k)
    return merge(given(scores, mask.unsqueeze(1)) @ v) @ wo, scores


def wrong_first_head_for_all(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    one = given(scored(q[:, :1], k[:, :1]), mask.unsqueeze(1))
    weights = one.repeat(1, heads, 1, 1)
    return merge(weights @ v) @ wo, weights


def wrong_softmax_twice(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = F.softmax(given(scored(q, k), mask.unsqueeze(1)), dim=-1)
    return merge(weights @ v) @ wo, weights


def wrong_results_swapped(asks, asked, wq, wk, wv, wo, heads, mask):
    output, weights = right_einsum(asks, asked, wq, wk, wv, wo, heads, mask)
    return weights, output


def wrong_other_kind(asks, asked, wq, wk, wv, wo, heads, mask):
    return right_einsum(asks, asked, wq, wk, wv, wo, heads, mask)[0]


def wrong_squeezed(asks, asked, wq, wk, wv, wo, heads, mask):
    output, weights = right_einsum(asks, asked, wq, wk, wv, wo, heads, mask)
    return output, weights.squeeze(1)


def wrong_dtype_fixed(asks, asked, wq, wk, wv, wo, heads, mask):
    given_ = (t.float() for t in (asks, asked, wq, wk, wv, wo))
    return right_einsum(*given_, heads, mask)


def wrong_other_gradient(asks, asked, wq, wk, wv, wo, heads, mask):
    with torch.no_grad():
        k = asked @ wk
    q, v = split(asks @ wq, heads), split(asked @ wv, heads)
    weights = given(scored(q, split(k, heads)), mask.unsqueeze(1))
    return merge(weights @ v) @ wo, weights


def wrong_detached(asks, asked, wq, wk, wv, wo, heads, mask):
    output, weights = right_einsum(asks, asked, wq, wk, wv, wo, heads, mask)
    return output.detach(), weights.detach()


def wrong_raises(asks, asked, wq, wk, wv, wo, heads, mask):
    q, k, v = projected(asks, asked, wq, wk, wv, heads)
    weights = given(scored(q, k), mask.unsqueeze(1))
    found = (weights @ v).transpose(1, 2)
    return found.view(asks.shape[0], -1, wo.shape[0]) @ wo[: len(wo) // heads], weights
