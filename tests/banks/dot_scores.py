"""Answers to `dot_scores`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F


def right_matmul(queries, keys):
    return torch.matmul(queries, keys.mT)


def right_einsum(queries, keys):
    return torch.einsum("btw,bsw->bts", queries, keys)


def right_loops(queries, keys):
    sentences = []
    for q, k in zip(queries, keys, strict=True):
        rows = []
        for s in q:
            rows.append(torch.stack([torch.dot(s, h) for h in k]))
        sentences.append(torch.stack(rows))
    return torch.stack(sentences)


def right_broadcast(queries, keys):
    return (queries[:, :, None, :] * keys[:, None, :, :]).sum(-1)


def right_bmm(queries, keys):
    return torch.bmm(queries, keys.permute(0, 2, 1))


def right_linear(queries, keys):
    return torch.stack([F.linear(q, k) for q, k in zip(queries, keys, strict=True)])


def wrong_nothing_returned(queries, keys):
    scores = queries @ keys.transpose(1, 2)
    print(scores.shape)


def wrong_scaled(queries, keys):
    d = queries.size(-1)
    return torch.einsum("btw,bsw->bts", queries, keys).div(math.sqrt(d))


def wrong_divided_by_width(queries, keys):
    return (queries.unsqueeze(2) * keys.unsqueeze(1)).mean(dim=-1)


def wrong_cosine(queries, keys):
    q = F.normalize(queries, dim=-1)
    k = F.normalize(keys, dim=-1)
    return q @ k.transpose(-1, -2)


def wrong_softmax_already(queries, keys):
    e = torch.bmm(queries, keys.permute(0, 2, 1))
    return F.softmax(e, dim=2)


def wrong_target_and_source_exchanged(queries, keys):
    return torch.einsum("btw,bsw->bst", queries, keys)


def wrong_reshape_for_transpose(queries, keys):
    batch, source, width = keys.shape
    return torch.bmm(queries, keys.contiguous().view(batch, width, source))


def wrong_no_transpose(queries, keys):
    return torch.bmm(queries, keys)


def wrong_batch_turned(queries, keys):
    return torch.matmul(queries, torch.permute(keys, (2, 1, 0)))


def wrong_element_by_element(queries, keys):
    return torch.mul(queries, keys)


def wrong_own_position_only(queries, keys):
    return torch.einsum("btw,btw->bt", queries, keys)


def wrong_batch_mixed(queries, keys):
    total = torch.zeros(queries.shape[0], queries.shape[1], keys.shape[1], dtype=queries.dtype)
    for other in range(keys.shape[0]):
        total = total + queries @ keys[other].transpose(0, 1)
    return total


def wrong_first_sentence_for_all(queries, keys):
    memory = keys[0]
    return torch.stack([q @ memory.transpose(0, 1) for q in queries])


def wrong_last_query_only(queries, keys):
    last = queries[:, -1, :]
    scores = torch.einsum("bw,bsw->bs", last, keys)
    return scores.unsqueeze(1).repeat(1, queries.shape[1], 1)


def wrong_distance(queries, keys):
    difference = queries.unsqueeze(2) - keys.unsqueeze(1)
    return difference.pow(2).sum(-1).sqrt()


def wrong_absolute(queries, keys):
    return torch.abs(torch.einsum("btw,bsw->bts", queries, keys))


def wrong_negated(queries, keys):
    return torch.bmm(-queries, keys.transpose(1, 2))


def wrong_squeezed(queries, keys):
    return (queries @ keys.transpose(1, 2)).squeeze()


def wrong_edits_its_input(queries, keys):
    scores = queries @ keys.transpose(1, 2)
    queries *= 0.5
    return scores


def wrong_dtype_fixed(queries, keys):
    return queries.float() @ keys.float().transpose(1, 2)


def wrong_detached(queries, keys):
    return torch.einsum("btw,bsw->bts", queries.detach(), keys.detach())


def wrong_other_gradient(queries, keys):
    with torch.no_grad():
        turned = keys.transpose(1, 2).clone()
    return queries @ turned


def wrong_other_kind(queries, keys):
    return (queries @ keys.transpose(1, 2)).detach().numpy()


def wrong_order_lost(queries, keys):
    scores = queries @ keys.transpose(1, 2)
    return scores.flip(0) if len(scores) > 1 else scores


def wrong_raises(queries, keys):
    return queries @ keys.t()
