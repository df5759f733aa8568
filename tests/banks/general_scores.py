"""Answers to `general_scores`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F


def right_keys_first(queries, keys, W):
    prepared = keys @ W.T
    return torch.bmm(queries, prepared.permute(0, 2, 1))


def right_einsum(queries, keys, W):
    return torch.einsum("btq,qk,bsk->bts", queries, W, keys)


def right_bilinear_sum(queries, keys, W):
    total = 0
    for a in range(W.shape[0]):
        for b in range(W.shape[1]):
            total = total + W[a, b] * queries[:, :, None, a] * keys[:, None, :, b]
    return total


def right_linear(queries, keys, W):
    return torch.matmul(queries, F.linear(keys, W).mT)


def right_loops(queries, keys, W):
    sentences = []
    for q, k in zip(queries, keys, strict=True):
        rows = [torch.stack([s.dot(W.mv(h)) for h in k]) for s in q]
        sentences.append(torch.stack(rows))
    return torch.stack(sentences)


def wrong_nothing_returned(queries, keys, W):
    queries @ W @ keys.transpose(1, 2)


def wrong_matrix_transposed(queries, keys, W):
    return torch.einsum("btk,qk,bsq->bts", queries, W, keys)


def wrong_matrix_left_out(queries, keys, W):
    return torch.bmm(queries, keys.permute(0, 2, 1))


def wrong_matrix_twice(queries, keys, W):
    q = torch.einsum("bta,ac->btc", queries, W)
    k = F.linear(keys, W)
    return torch.einsum("btc,bsc->bts", q, k)


def wrong_diagonal_only(queries, keys, W):
    return torch.einsum("btw,w,bsw->bts", queries, torch.diag(W), keys)


def wrong_query_carried_over_only(queries, keys, W):
    return F.linear(queries, W.T)


def wrong_keys_carried_over_only(queries, keys, W):
    return F.linear(keys, W)


def wrong_tanh_in_between(queries, keys, W):
    prepared = F.linear(keys, W).tanh()
    return torch.einsum("btq,bsq->bts", queries, prepared)


def wrong_tanh_around(queries, keys, W):
    return torch.einsum("btq,qk,bsk->bts", queries, W, keys).tanh()


def wrong_scaled(queries, keys, W):
    q = queries @ W
    return torch.bmm(q, keys.mT) / math.sqrt(q.size(-1))


def wrong_cosine(queries, keys, W):
    q = (queries @ W).unsqueeze(2)
    return torch.cosine_similarity(q, keys.unsqueeze(1), dim=3)


def wrong_softmax_already(queries, keys, W):
    return F.softmax(torch.einsum("btq,qk,bsk->bts", queries, W, keys), dim=2)


def wrong_target_and_source_exchanged(queries, keys, W):
    return torch.einsum("btq,qk,bsk->bst", queries, W, keys)


def wrong_reshape_for_transpose(queries, keys, W):
    b, s, k = keys.size()
    return torch.bmm(queries.matmul(W), keys.contiguous().view(b, k, s))


def wrong_no_transpose(queries, keys, W):
    return torch.bmm(queries.matmul(W), keys)


def wrong_batch_turned(queries, keys, W):
    return torch.matmul(queries.matmul(W), torch.permute(keys, (2, 1, 0)))


def wrong_own_position_only(queries, keys, W):
    return torch.einsum("btq,qk,btk->bt", queries, W, keys)


def wrong_batch_mixed(queries, keys, W):
    return queries @ W @ keys.sum(dim=0).t()


def wrong_first_sentence_for_all(queries, keys, W):
    memory = (keys[0] @ W.t()).t()
    return torch.stack([q @ memory for q in queries])


def wrong_last_query_only(queries, keys, W):
    scores = torch.einsum("bq,qk,bsk->bs", queries[:, -1], W, keys)
    return scores[:, None].repeat(1, queries.size(1), 1)


def wrong_squeezed(queries, keys, W):
    return torch.einsum("btq,qk,bsk->bts", queries, W, keys).squeeze()


def wrong_edits_its_input(queries, keys, W):
    scores = queries @ W @ keys.transpose(1, 2)
    keys /= keys.shape[-1]
    return scores


def wrong_dtype_fixed(queries, keys, W):
    return queries.float() @ W.float() @ keys.float().transpose(1, 2)


def wrong_detached(queries, keys, W):
    with torch.no_grad():
        return torch.einsum("btq,qk,bsk->bts", queries, W, keys)


def wrong_other_gradient(queries, keys, W):
    return queries @ W.data @ keys.transpose(1, 2)


def wrong_other_kind(queries, keys, W):
    return torch.einsum("btq,qk,bsk->bts", queries, W, keys).detach().numpy()
