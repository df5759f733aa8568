"""Answers to `input_feeding_step`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F


def _cell(x, state, cell):
    """A GRU by hand."""
    w_in, w_rec, b_in, b_rec = cell
    r_in, z_in, n_in = F.linear(x, w_in, b_in).chunk(3, dim=1)
    r_rec, z_rec, n_rec = F.linear(state, w_rec, b_rec).chunk(3, dim=1)
    r, z = torch.sigmoid(r_in + r_rec), torch.sigmoid(z_in + z_rec)
    return (1 - z) * torch.tanh(n_in + r * n_rec) + z * state


def _weights(query, keys, mask, W):
    scores = torch.bmm(keys @ W.T, query.unsqueeze(2)).squeeze(2)
    return F.softmax(torch.where(mask, scores, -torch.inf), dim=1)


def _mix(weights, keys):
    return torch.bmm(weights.unsqueeze(1), keys).squeeze(1)


def _speak(context, state, W_c):
    return F.linear(torch.cat((context, state), dim=1), W_c).tanh()


def right_named_anew(embedded, fed, state, keys, mask, W, W_c, cell):
    s = torch.gru_cell(torch.cat([embedded, fed], dim=1), state, *cell)
    weights = _weights(s, keys, mask, W)
    return _speak(_mix(weights, keys), s, W_c), s, weights


def right_gru_by_hand(embedded, fed, state, keys, mask, W, W_c, cell):
    s = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    e = (s @ W).unsqueeze(1) @ keys.mT
    a = e.masked_fill(~mask.unsqueeze(1), float("-inf")).softmax(-1)
    c = (a @ keys)[:, 0]
    return torch.tanh(torch.cat([c, s], -1) @ W_c.mT), s, a[:, 0]


def right_sentence_by_sentence(embedded, fed, state, keys, mask, W, W_c, cell):
    spoken, states, weights = [], [], []
    for y, f, s, h, may in zip(embedded, fed, state, keys, mask, strict=True):
        s = torch.gru_cell(torch.cat([y, f])[None], s[None], *cell)[0]
        e = torch.stack([s @ W @ word for word in h])
        a = torch.softmax(e + torch.zeros_like(e).masked_fill(~may, -torch.inf), dim=0)
        c = sum(weight * word for weight, word in zip(a, h, strict=True))
        spoken.append(torch.tanh(W_c @ torch.cat([c, s])))
        states.append(s)
        weights.append(a)
    return torch.stack(spoken), torch.stack(states), torch.stack(weights)


def right_split_combination(embedded, fed, state, keys, mask, W, W_c, cell):
    s = torch.gru_cell(torch.cat([embedded, fed], dim=1), state, *cell)
    a = _weights(s, keys, mask, W)
    width = keys.shape[-1]
    both = (a.unsqueeze(-1) * keys).sum(1) @ W_c[:, :width].T + s @ W_c[:, width:].T
    return torch.tanh(both), s, a


def wrong_nothing_returned(embedded, fed, state, keys, mask, W, W_c, cell):
    state = torch.gru_cell(torch.cat([embedded, fed], dim=1), state, *cell)
    weights = _weights(state, keys, mask, W)
    _speak(_mix(weights, keys), state, W_c)


def wrong_query_before_the_update(embedded, fed, state, keys, mask, W, W_c, cell):
    weights = _weights(state, keys, mask, W)
    context = _mix(weights, keys)
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    return _speak(context, state, W_c), state, weights


def wrong_updated_twice(embedded, fed, state, keys, mask, W, W_c, cell):
    x = torch.cat([embedded, fed], dim=1)
    state = _cell(x, state, cell)
    weights = _weights(state, keys, mask, W)
    context = _mix(weights, keys)
    state = _cell(x, state, cell)
    return _speak(context, state, W_c), state, weights


def wrong_spoken_with_the_old_state(embedded, fed, state, keys, mask, W, W_c, cell):
    new = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    weights = _weights(new, keys, mask, W)
    return _speak(_mix(weights, keys), state, W_c), new, weights


def wrong_old_state_everywhere(embedded, fed, state, keys, mask, W, W_c, cell):
    weights = _weights(state, keys, mask, W)
    spoken = _speak(_mix(weights, keys), state, W_c)
    return spoken, _cell(torch.cat([embedded, fed], dim=1), state, cell), weights


def wrong_old_state_returned(embedded, fed, state, keys, mask, W, W_c, cell):
    new = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    weights = _weights(new, keys, mask, W)
    return _speak(_mix(weights, keys), new, W_c), state, weights


def wrong_fed_left_out(embedded, fed, state, keys, mask, W, W_c, cell):
    return right_named_anew(embedded, 0 * fed, state, keys, mask, W, W_c, cell)


def wrong_word_left_out(embedded, fed, state, keys, mask, W, W_c, cell):
    return right_named_anew(embedded * 0, fed, state, keys, mask, W, W_c, cell)


def wrong_fed_above_word(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat((fed, embedded), dim=1), state, cell)
    weights = _weights(state, keys, mask, W)
    return _speak(_mix(weights, keys), state, W_c), state, weights


def wrong_state_above_context(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    weights = _weights(state, keys, mask, W)
    return _speak(state, _mix(weights, keys), W_c), state, weights


def wrong_no_tanh(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    weights = _weights(state, keys, mask, W)
    return F.linear(torch.cat([_mix(weights, keys), state], dim=1), W_c), state, weights


def wrong_context_returned(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    weights = _weights(state, keys, mask, W)
    return _mix(weights, keys), state, weights


def wrong_scores_returned(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    scores = torch.bmm(keys @ W.T, state.unsqueeze(2)).squeeze(2)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return _speak(_mix(weights, keys), state, W_c), state, scores


def wrong_asked_with_what_was_fed(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    weights = _weights(fed, keys, mask, W)
    return _speak(_mix(weights, keys), state, W_c), state, weights


def wrong_dot_for_general(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    scores = torch.bmm(keys, state.unsqueeze(2)).squeeze(2)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return _speak(_mix(weights, keys), state, W_c), state, weights


def wrong_matrix_transposed(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    scores = (keys @ W @ state.unsqueeze(2))[..., 0]
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return _speak(_mix(weights, keys), state, W_c), state, weights


def wrong_no_mask(embedded, fed, state, keys, mask, W, W_c, cell):
    return right_named_anew(embedded, fed, state, keys, torch.ones_like(mask), W, W_c, cell)


def wrong_mask_inverted(embedded, fed, state, keys, mask, W, W_c, cell):
    return right_gru_by_hand(embedded, fed, state, keys, mask.logical_not(), W, W_c, cell)


def wrong_mask_after_softmax(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    weights = _weights(state, keys, torch.ones_like(mask), W)
    weights = weights.masked_fill(~mask, 0.0)
    return _speak(_mix(weights, keys), state, W_c), state, weights


def wrong_filled_with_zero(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    scores = (keys @ W.T @ state.unsqueeze(2))[..., 0].masked_fill(~mask, 0.0)
    weights = scores.softmax(dim=1)
    return _speak(_mix(weights, keys), state, W_c), state, weights


def wrong_softmax_over_batch(embedded, fed, state, keys, mask, W, W_c, cell):
    state = _cell(torch.cat([embedded, fed], dim=1), state, cell)
    scores = (keys @ W.T @ state.unsqueeze(2))[..., 0]
    weights = F.softmax(torch.where(mask, scores, -torch.inf), dim=0)
    return _speak(_mix(weights, keys), state, W_c), state, weights


def wrong_results_swapped(embedded, fed, state, keys, mask, W, W_c, cell):
    return right_named_anew(embedded, fed, state, keys, mask, W, W_c, cell)[::-1]


def wrong_squeezed(embedded, fed, state, keys, mask, W, W_c, cell):
    results = right_named_anew(embedded, fed, state, keys, mask, W, W_c, cell)
    return tuple(result.squeeze() for result in results)


def wrong_dtype_fixed(embedded, fed, state, keys, mask, W, W_c, cell):
    results = right_named_anew(embedded, fed, state, keys, mask, W, W_c, cell)
    return tuple(result.float() for result in results)


def wrong_other_gradient(embedded, fed, state, keys, mask, W, W_c, cell):
    return right_named_anew(embedded, fed.detach(), state, keys, mask, W, W_c, cell)
