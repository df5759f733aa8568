"""Answers to `bahdanau_step`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F


def _cell(x, state, cell):
    """A GRU by hand."""
    w_in, w_rec, b_in, b_rec = cell
    r_in, z_in, n_in = F.linear(x, w_in, b_in).chunk(3, dim=1)
    r_rec, z_rec, n_rec = F.linear(state, w_rec, b_rec).chunk(3, dim=1)
    r, z = torch.sigmoid(r_in + r_rec), torch.sigmoid(z_in + z_rec)
    return (1 - z) * torch.tanh(n_in + r * n_rec) + z * state


def _scores(query, prepared, V, v):
    hidden = prepared + F.linear(query, V)[:, None]
    return torch.einsum("bsa,a->bs", hidden.tanh(), v)


def _weights(query, prepared, mask, V, v):
    return F.softmax(torch.where(mask, _scores(query, prepared, V, v), -torch.inf), dim=1)


def _mix(weights, keys):
    return (weights[..., None] * keys).sum(dim=1)


def _move(embedded, context, state, cell):
    return _cell(torch.cat((embedded, context), dim=1), state, cell)


def right_gru_by_hand(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(state, prepared, mask, V, v)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def right_with_an_axis_for_the_step(embedded, state, keys, prepared, mask, V, v, cell):
    query = state.unsqueeze(1)
    pairs = (query @ V.T).unsqueeze(2) + prepared.unsqueeze(1)
    e = torch.tanh(pairs) @ v
    a = torch.softmax(e.masked_fill(~mask.unsqueeze(1), float("-inf")), dim=-1)
    c = torch.bmm(a, keys)
    s = torch.gru_cell(torch.cat([embedded, c.squeeze(1)], dim=-1), state, *cell)
    return s, c.squeeze(1), a.squeeze(1)


def right_sentence_by_sentence(embedded, state, keys, prepared, mask, V, v, cell):
    states, contexts, weights = [], [], []
    for y, s, h, p, may in zip(embedded, state, keys, prepared, mask, strict=True):
        e = torch.stack([v.dot(torch.tanh(word + V.mv(s))) for word in p])
        raised = torch.exp(e - e.max()) * may
        a = raised / raised.sum()
        c = a @ h
        states.append(torch.gru_cell(torch.cat([y, c])[None], s[None], *cell)[0])
        contexts.append(c)
        weights.append(a)
    return torch.stack(states), torch.stack(contexts), torch.stack(weights)


def right_split_cell(embedded, state, keys, prepared, mask, V, v, cell):
    scores = torch.tanh(prepared + (state @ V.mT).unsqueeze(1)) @ v
    a = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
    c = torch.einsum("bs,bsk->bk", a, keys)
    w_in, w_rec, b_in, b_rec = cell
    width = embedded.shape[-1]
    came = embedded @ w_in[:, :width].T + c @ w_in[:, width:].T + b_in
    rec = state @ w_rec.T + b_rec
    n = state.shape[-1]
    gates = torch.sigmoid(came[:, : 2 * n] + rec[:, : 2 * n])
    reset, keep = gates[:, :n], gates[:, n:]
    proposal = torch.tanh(came[:, 2 * n :] + reset * rec[:, 2 * n :])
    return proposal + keep * (state - proposal), c, a


def wrong_nothing_returned(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(state, prepared, mask, V, v)
    context = _mix(weights, keys)
    state = _move(embedded, context, state, cell)


def wrong_moved_before_looking(embedded, state, keys, prepared, mask, V, v, cell):
    context = torch.zeros_like(keys[:, 0])
    state = _move(embedded, context, state, cell)
    weights = _weights(state, prepared, mask, V, v)
    context = _mix(weights, keys)
    return state, context, weights


def wrong_moved_twice(embedded, state, keys, prepared, mask, V, v, cell):
    state = _move(embedded, torch.zeros_like(keys[:, 0]), state, cell)
    return right_gru_by_hand(embedded, state, keys, prepared, mask, V, v, cell)


def wrong_asked_with_a_preview(embedded, state, keys, prepared, mask, V, v, cell):
    preview = _move(embedded, 0 * keys.sum(dim=1), state, cell)
    weights = _weights(preview, prepared, mask, V, v)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def wrong_looked_again(embedded, state, keys, prepared, mask, V, v, cell):
    context = _mix(_weights(state, prepared, mask, V, v), keys)
    state = _move(embedded, context, state, cell)
    weights = _weights(state, prepared, mask, V, v)
    return state, _mix(weights, keys), weights


def wrong_context_not_fed(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(state, prepared, mask, V, v)
    context = _mix(weights, keys)
    return _move(embedded, torch.zeros_like(context), state, cell), context, weights


def wrong_word_not_read(embedded, state, keys, prepared, mask, V, v, cell):
    return right_gru_by_hand(embedded * 0, state, keys, prepared, mask, V, v, cell)


def wrong_context_above_word(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(state, prepared, mask, V, v)
    context = _mix(weights, keys)
    return _move(context, embedded, state, cell), context, weights


def wrong_prepared_for_values(embedded, state, keys, prepared, mask, V, v, cell):
    return right_gru_by_hand(embedded, state, prepared, prepared, mask, V, v, cell)


def wrong_uniform(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(state, prepared, mask, V, v)
    context = keys.sum(dim=1) / keys.shape[1]
    return _move(embedded, context, state, cell), context, weights


def wrong_mean_over_source(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(state, prepared, mask, V, v)
    context = torch.mean(weights[..., None] * keys, dim=1)
    return _move(embedded, context, state, cell), context, weights


def wrong_only_the_largest(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(state, prepared, mask, V, v)
    context = torch.stack([h[a.argmax()] for h, a in zip(keys, weights, strict=True)])
    return _move(embedded, context, state, cell), context, weights


def wrong_asked_with_the_word(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(embedded, prepared, mask, V, v)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def wrong_query_left_out(embedded, state, keys, prepared, mask, V, v, cell):
    weights = _weights(torch.zeros_like(state), prepared, mask, V, v)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def wrong_sentences_taken_for_words(embedded, state, keys, prepared, mask, V, v, cell):
    scores = torch.tanh(F.linear(state, V) + prepared) @ v
    weights = F.softmax(torch.where(mask, scores, -torch.inf), dim=1)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def wrong_no_tanh(embedded, state, keys, prepared, mask, V, v, cell):
    scores = (prepared + F.linear(state, V)[:, None]) @ v
    weights = F.softmax(torch.where(mask, scores, -torch.inf), dim=1)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def wrong_no_mask(embedded, state, keys, prepared, mask, V, v, cell):
    everywhere = torch.ones_like(mask)
    return right_gru_by_hand(embedded, state, keys, prepared, everywhere, V, v, cell)


def wrong_mask_inverted(embedded, state, keys, prepared, mask, V, v, cell):
    return right_gru_by_hand(embedded, state, keys, prepared, mask.logical_not(), V, v, cell)


def wrong_mask_after_softmax(embedded, state, keys, prepared, mask, V, v, cell):
    weights = F.softmax(_scores(state, prepared, V, v), dim=1).masked_fill(~mask, 0.0)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def wrong_filled_with_zero(embedded, state, keys, prepared, mask, V, v, cell):
    weights = F.softmax(_scores(state, prepared, V, v).masked_fill(~mask, 0.0), dim=1)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def wrong_right_padding_assumed(embedded, state, keys, prepared, mask, V, v, cell):
    front = mask.sort(dim=1, descending=True).values
    return right_gru_by_hand(embedded, state, keys, prepared, front, V, v, cell)


def wrong_softmax_over_batch(embedded, state, keys, prepared, mask, V, v, cell):
    scores = torch.where(mask, _scores(state, prepared, V, v), -torch.inf)
    weights = scores.softmax(0)
    context = _mix(weights, keys)
    return _move(embedded, context, state, cell), context, weights


def wrong_scores_returned(embedded, state, keys, prepared, mask, V, v, cell):
    new, context, _ = right_gru_by_hand(embedded, state, keys, prepared, mask, V, v, cell)
    return new, context, _scores(state, prepared, V, v)


def wrong_old_state_returned(embedded, state, keys, prepared, mask, V, v, cell):
    _, context, weights = right_gru_by_hand(embedded, state, keys, prepared, mask, V, v, cell)
    return state, context, weights


def wrong_results_swapped(embedded, state, keys, prepared, mask, V, v, cell):
    new, context, weights = right_gru_by_hand(embedded, state, keys, prepared, mask, V, v, cell)
    return weights, context, new


def wrong_squeezed(embedded, state, keys, prepared, mask, V, v, cell):
    e = (torch.tanh(prepared + (state @ V.T).unsqueeze(1)) @ v).masked_fill(~mask, -torch.inf)
    a = torch.softmax(e, dim=-1)
    c = (a.unsqueeze(1) @ keys).squeeze()
    s = torch.gru_cell(torch.cat([embedded, c.view(len(embedded), -1)], dim=-1), state, *cell)
    return s, c, a


def wrong_dtype_fixed(embedded, state, keys, prepared, mask, V, v, cell):
    results = right_gru_by_hand(embedded, state, keys, prepared, mask, V, v, cell)
    return tuple(result.to(torch.float32) for result in results)


def wrong_other_gradient(embedded, state, keys, prepared, mask, V, v, cell):
    return right_gru_by_hand(embedded, state.detach(), keys, prepared, mask, V, v, cell)


def wrong_edits_its_input(embedded, state, keys, prepared, mask, V, v, cell):
    new, context, weights = right_gru_by_hand(embedded, state, keys, prepared, mask, V, v, cell)
    state.copy_(new)
    return new, context, weights
