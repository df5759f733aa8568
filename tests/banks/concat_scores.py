"""Answers to `concat_scores`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F


def _beside(queries, keys):
    """Each query above each key, copied: (batch, target, source, both widths)."""
    t, s = queries.shape[1], keys.shape[1]
    q = queries.unsqueeze(2).expand(-1, -1, s, -1)
    k = keys.unsqueeze(1).expand(-1, t, -1, -1)
    return torch.cat([q, k], dim=-1)


def right_copied(queries, keys, W, v):
    return torch.tanh(_beside(queries, keys) @ W.T) @ v


def right_linear(queries, keys, W, v):
    hidden = F.linear(_beside(queries, keys), W).tanh()
    return F.linear(hidden, v.unsqueeze(0)).squeeze(-1)


def right_repeat_interleave(queries, keys, W, v):
    b, t, _ = queries.shape
    s = keys.shape[1]
    both = torch.cat([queries.repeat_interleave(s, dim=1), keys.repeat(1, t, 1)], dim=2)
    return torch.matmul(torch.tanh(torch.matmul(both, W.t())), v).view(b, t, s)


def right_einsum(queries, keys, W, v):
    left, right = W.split([queries.shape[-1], keys.shape[-1]], dim=1)
    q = torch.einsum("btq,aq->bta", queries, left)
    k = torch.einsum("bsk,ak->bsa", keys, right)
    return torch.einsum("btsa,a->bts", torch.tanh(q[:, :, None] + k[:, None]), v)


def right_loops(queries, keys, W, v):
    sentences = []
    for q, k in zip(queries, keys, strict=True):
        rows = []
        for s in q:
            rows.append(torch.stack([v.dot(torch.tanh(W.mv(torch.cat([s, h])))) for h in k]))
        sentences.append(torch.stack(rows))
    return torch.stack(sentences)


def wrong_nothing_returned(queries, keys, W, v):
    hidden = torch.tanh(_beside(queries, keys) @ W.T)
    hidden @ v


def wrong_no_tanh(queries, keys, W, v):
    return _beside(queries, keys) @ W.T @ v


def wrong_tanh_outside(queries, keys, W, v):
    return (_beside(queries, keys) @ W.T @ v).tanh()


def wrong_tanh_on_each_half(queries, keys, W, v):
    left, right = W.split([queries.shape[-1], keys.shape[-1]], dim=1)
    q = F.linear(queries, left).tanh()
    k = F.linear(keys, right).tanh()
    return (q[:, :, None] + k[:, None]) @ v


def wrong_other_nonlinearity_relu(queries, keys, W, v):
    return F.relu(F.linear(_beside(queries, keys), W)) @ v


def wrong_other_nonlinearity_sigmoid(queries, keys, W, v):
    return F.linear(_beside(queries, keys), W).sigmoid() @ v


def wrong_key_above_query(queries, keys, W, v):
    t, s = queries.shape[1], keys.shape[1]
    q = queries.unsqueeze(2).expand(-1, -1, s, -1)
    k = keys.unsqueeze(1).expand(-1, t, -1, -1)
    return torch.tanh(torch.cat((k, q), dim=-1) @ W.T) @ v


def wrong_query_left_out(queries, keys, W, v):
    return right_copied(torch.zeros_like(queries), keys, W, v)


def wrong_key_left_out(queries, keys, W, v):
    return right_copied(queries, torch.zeros_like(keys), W, v)


def wrong_v_left_out(queries, keys, W, v):
    return right_copied(queries, keys, W, torch.ones_like(v))


def wrong_v_inside_the_tanh(queries, keys, W, v):
    hidden = F.linear(_beside(queries, keys), v[:, None] * W)
    return hidden.tanh().sum(-1)


def wrong_mean_over_hidden(queries, keys, W, v):
    return torch.mean(v * F.linear(_beside(queries, keys), W).tanh(), dim=3)


def wrong_hidden_layer_returned(queries, keys, W, v):
    return torch.einsum("btsa,a->btsa", torch.tanh(_beside(queries, keys) @ W.T), v)


def wrong_scaled(queries, keys, W, v):
    return right_copied(queries, keys, W, v) * len(v) ** -0.5


def wrong_softmax_already(queries, keys, W, v):
    return F.softmax(right_copied(queries, keys, W, v), dim=2)


def wrong_target_and_source_exchanged(queries, keys, W, v):
    left, right = W[:, : queries.shape[-1]], W[:, queries.shape[-1] :]
    pairs = F.linear(queries, left).unsqueeze(1) + F.linear(keys, right).unsqueeze(2)
    return torch.tanh(pairs) @ v


def wrong_pairs_misdealt(queries, keys, W, v):
    b, t, s = len(queries), queries.size(1), keys.size(1)
    rows = [[] for _ in range(b)]
    for n in range(b):
        for i in range(t * s):
            pair = torch.cat([queries[n, i % t], keys[n, i % s]])
            rows[n].append(torch.tanh(W @ pair) @ v)
    return torch.stack([torch.stack(row) for row in rows]).view(b, t, s)


def wrong_pairs_dealt_across(queries, keys, W, v):
    b, t, _ = queries.shape
    s = keys.shape[1]
    both = torch.cat([queries.repeat(1, s, 1), keys.repeat_interleave(t, dim=1)], dim=2)
    return (torch.tanh(both @ W.t()) @ v).view(b, t, s)


def wrong_own_position_only(queries, keys, W, v):
    hidden = F.linear(torch.cat((queries, keys), 2), W)
    return hidden.tanh().matmul(v)


def wrong_reshape_for_transpose(queries, keys, W, v):
    both = _beside(queries, keys)
    return torch.tanh(both @ W.reshape(both.shape[-1], -1)) @ v


def wrong_first_sentence_for_all(queries, keys, W, v):
    memory = keys[0].expand(len(queries), -1, -1)
    return right_copied(queries, memory, W, v)


def wrong_last_query_only(queries, keys, W, v):
    last = queries[:, -1:].repeat(1, queries.shape[1], 1)
    return right_copied(last, keys, W, v)


def wrong_squeezed(queries, keys, W, v):
    return F.linear(torch.tanh(_beside(queries, keys) @ W.T), v[None]).squeeze()


def wrong_edits_its_input(queries, keys, W, v):
    left, right = W.split([queries.shape[-1], keys.shape[-1]], dim=1)
    scores = torch.tanh((queries @ left.T).unsqueeze(2) + (keys @ right.T).unsqueeze(1)) @ v
    queries += 1
    return scores


def wrong_dtype_fixed(queries, keys, W, v):
    return right_copied(queries.float(), keys.float(), W.float(), v.float())


def wrong_detached(queries, keys, W, v):
    return right_copied(queries, keys, W, v).detach()


def wrong_other_gradient(queries, keys, W, v):
    return right_copied(queries, keys, W.detach(), v)


def wrong_other_kind(queries, keys, W, v):
    return right_copied(queries, keys, W, v).tolist()
