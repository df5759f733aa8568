"""Answers to `additive_scores`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F


def right_linear(query, keys, V, W, v):
    hidden = F.linear(keys, W) + F.linear(query, V)[:, None, :]
    return F.linear(hidden.tanh(), v[None]).squeeze(-1)


def right_einsum(query, keys, V, W, v):
    a = torch.einsum("bsk,ak->bsa", keys, W) + torch.einsum("bq,aq->ba", query, V).unsqueeze(-2)
    return torch.einsum("bsa,a->bs", torch.tanh(a), v)


def right_columns(query, keys, V, W, v):
    scores = []
    for s, h in zip(query, keys, strict=True):
        F_ = h.T
        scores.append(v @ torch.tanh(W @ F_ + (V @ s).unsqueeze(1)))
    return torch.stack(scores)


def right_loops(query, keys, V, W, v):
    rows = []
    for b in range(keys.shape[0]):
        row = []
        for i in range(keys.shape[1]):
            row.append(torch.dot(v, torch.tanh(W.mv(keys[b, i]) + V.mv(query[b]))))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def right_concatenated(query, keys, V, W, v):
    both = torch.cat([keys, query.unsqueeze(1).expand(-1, keys.shape[1], -1)], dim=2)
    return (both @ torch.cat([W, V], dim=1).T).tanh() @ v


def wrong_nothing_returned(query, keys, V, W, v):
    scores = torch.tanh(keys @ W.T + (query @ V.T).unsqueeze(1)) @ v
    assert scores.shape == keys.shape[:2]


def wrong_sentences_taken_for_words(query, keys, V, W, v):
    hidden = F.linear(keys, W) + F.linear(query, V)
    return hidden.tanh() @ v


def wrong_hidden_units_taken_for_words(query, keys, V, W, v):
    asked = F.linear(query, V)[..., None]
    return torch.tanh(F.linear(keys, W) + asked).matmul(v)


def wrong_no_tanh(query, keys, V, W, v):
    return (F.linear(keys, W) + F.linear(query, V)[:, None]) @ v


def wrong_tanh_outside(query, keys, V, W, v):
    e = F.linear(keys, W) @ v + (F.linear(query, V) @ v)[:, None]
    return e.tanh()


def wrong_tanh_on_each_half(query, keys, V, W, v):
    e = F.linear(keys, W).tanh() @ v
    return e + (F.linear(query, V).tanh() @ v)[:, None]


def wrong_tanh_on_the_keys_only(query, keys, V, W, v):
    e = torch.tanh(F.linear(keys, W)) @ v
    return e + (F.linear(query, V) @ v)[:, None]


def wrong_other_nonlinearity_relu(query, keys, V, W, v):
    hidden = F.linear(keys, W) + F.linear(query, V)[:, None]
    return hidden.clamp(min=0) @ v


def wrong_multiplied_not_added(query, keys, V, W, v):
    hidden = torch.einsum("bsa,ba->bsa", F.linear(keys, W), F.linear(query, V))
    return torch.einsum("bsa,a->bs", hidden.tanh(), v)


def wrong_general_for_additive(query, keys, V, W, v):
    return torch.einsum("bsk,ak,aq,bq->bs", keys, W, V, query)


def wrong_matrices_exchanged(query, keys, V, W, v):
    hidden = F.linear(keys, V) + F.linear(query, W)[:, None]
    return hidden.tanh() @ v


def wrong_matrices_not_transposed(query, keys, V, W, v):
    return torch.tanh(torch.matmul(keys, W) + torch.matmul(query, V)[:, None]) @ v


def wrong_reshape_for_transpose(query, keys, V, W, v):
    hidden = keys @ W.reshape(W.shape[1], -1) + (query @ V.reshape(V.shape[1], -1))[:, None]
    return hidden.tanh() @ v


def wrong_query_left_out(query, keys, V, W, v):
    return right_linear(torch.zeros_like(query), keys, V, W, v)


def wrong_key_left_out(query, keys, V, W, v):
    return right_linear(query, torch.zeros_like(keys), V, W, v)


def wrong_v_left_out(query, keys, V, W, v):
    return right_einsum(query, keys, V, W, torch.ones_like(v))


def wrong_mean_over_hidden(query, keys, V, W, v):
    return right_einsum(query, keys, V, W, v) / len(v)


def wrong_hidden_layer_returned(query, keys, V, W, v):
    hidden = F.linear(keys, W) + F.linear(query, V)[:, None]
    return torch.einsum("bsa,a->bsa", hidden.tanh(), v)


def wrong_scaled(query, keys, V, W, v):
    return right_linear(query, keys, V, W, v) * len(v) ** -0.5


def wrong_softmax_already(query, keys, V, W, v):
    return F.softmax(right_linear(query, keys, V, W, v), dim=1)


def wrong_first_query_for_all(query, keys, V, W, v):
    hidden = F.linear(keys, W) + V @ query[0]
    return hidden.tanh() @ v


def wrong_squeezed(query, keys, V, W, v):
    hidden = F.linear(keys, W) + F.linear(query, V)[:, None]
    return F.linear(hidden.tanh(), v[None]).squeeze()


def wrong_edits_its_input(query, keys, V, W, v):
    scores = right_linear(query, keys, V, W, v)
    v /= v.norm()
    return scores


def wrong_dtype_fixed(query, keys, V, W, v):
    return right_linear(query.float(), keys.float(), V.float(), W.float(), v.float())


def wrong_detached(query, keys, V, W, v):
    with torch.no_grad():
        return right_linear(query, keys, V, W, v)


def wrong_other_gradient(query, keys, V, W, v):
    return right_linear(query.detach(), keys, V, W, v)


def wrong_other_kind(query, keys, V, W, v):
    return right_linear(query, keys, V, W, v).detach().numpy()
