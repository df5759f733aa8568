"""Answers to `luong_step`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F

from attnbook.exercises.dot_attention import masked_softmax


def update(word, state, recurrent):
    width = word.shape[1]
    return torch.tanh(F.linear(word, recurrent[:, :width]) + F.linear(state, recurrent[:, width:]))


def look(query, encoded, mask):
    scores = torch.bmm(encoded, query[:, :, None])[..., 0]
    weights = masked_softmax(scores, mask)
    return torch.bmm(weights[:, None], encoded)[:, 0], weights


def speak(context, state, combine):
    width = context.shape[1]
    return torch.tanh(F.linear(context, combine[:, :width]) + F.linear(state, combine[:, width:]))


def right_split_matrices(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    context, weights = look(state, encoded, mask)
    return speak(context, state, combine), state, weights


def right_einsum(word, state, encoded, mask, recurrent, combine):
    new = torch.einsum("hi,bi->bh", recurrent, torch.hstack([word, state])).tanh()
    weights = masked_softmax(torch.einsum("bsh,bh->bs", encoded, new), mask)
    context = torch.einsum("bs,bsh->bh", weights, encoded)
    return torch.einsum("ri,bi->br", combine, torch.hstack([context, new])).tanh(), new, weights


def right_loops(word, state, encoded, mask, recurrent, combine):
    said, states, rows = [], [], []
    for y, s, h, may in zip(word, state, encoded, mask, strict=True):
        s = torch.tanh(recurrent @ torch.cat([y, s]))
        row = 0 * (h @ s)
        if may.any():
            row = row.masked_scatter(may, torch.softmax((h @ s)[may], 0))
        said.append(torch.tanh(combine @ torch.cat([row @ h, s])))
        states.append(s)
        rows.append(row)
    return torch.stack(said), torch.stack(states), torch.stack(rows)


def right_broadcast(word, state, encoded, mask, recurrent, combine):
    state = F.linear(torch.cat((word, state), 1), recurrent).tanh()
    scores = (encoded * state[:, None]).sum(2)
    weights = masked_softmax(scores[:, None], mask[:, None])[:, 0]
    context = (weights[..., None] * encoded).sum(1)
    return F.linear(torch.cat((context, state), 1), combine).tanh(), state, weights


def wrong_nothing_returned(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    speak(look(state, encoded, mask)[0], state, combine)


def wrong_looks_first(word, state, encoded, mask, recurrent, combine):
    context, weights = look(state, encoded, mask)
    state = update(word, state, recurrent)
    return speak(context, state, combine), state, weights


def wrong_old_state_speaks(word, state, encoded, mask, recurrent, combine):
    s = update(word, state, recurrent)
    context, weights = look(s, encoded, mask)
    return torch.tanh(torch.cat([context, state], 1) @ combine.T), s, weights


def wrong_state_never_updated(word, state, encoded, mask, recurrent, combine):
    context, weights = look(state, encoded, mask)
    return speak(context, state, combine), state, weights


def wrong_old_state_returned(word, state, encoded, mask, recurrent, combine):
    s = update(word, state, recurrent)
    context, weights = look(s, encoded, mask)
    return speak(context, s, combine), state, weights


def wrong_attentional_state_goes_on(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    context, weights = look(state, encoded, mask)
    state = speak(context, state, combine)
    return state, state, weights


def wrong_state_above_context(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    context, weights = look(state, encoded, mask)
    return torch.tanh(torch.cat([state, context], 1) @ combine.T), state, weights


def wrong_state_before_word(word, state, encoded, mask, recurrent, combine):
    state = torch.tanh(torch.cat([state, word], 1) @ recurrent.T)
    context, weights = look(state, encoded, mask)
    return speak(context, state, combine), state, weights


def wrong_no_tanh(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    context, weights = look(state, encoded, mask)
    return F.linear(torch.cat([context, state], 1), combine), state, weights


def wrong_update_without_tanh(word, state, encoded, mask, recurrent, combine):
    state = F.linear(torch.cat([word, state], 1), recurrent)
    context, weights = look(state, encoded, mask)
    return speak(context, state, combine), state, weights


def wrong_state_forgotten(word, state, encoded, mask, recurrent, combine):
    state = torch.tanh(word @ recurrent[:, : word.shape[1]].T)
    context, weights = look(state, encoded, mask)
    return speak(context, state, combine), state, weights


def wrong_no_mask(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    weights = torch.softmax((encoded @ state.unsqueeze(2)).squeeze(2), 1)
    return speak((weights.unsqueeze(2) * encoded).sum(1), state, combine), state, weights


def wrong_mask_inverted(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    context, weights = look(state, encoded, torch.logical_not(mask))
    return speak(context, state, combine), state, weights


def wrong_mask_after_softmax(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    weights = torch.softmax((encoded @ state.unsqueeze(2)).squeeze(2), 1).masked_fill(~mask, 0)
    return speak((weights.unsqueeze(2) * encoded).sum(1), state, combine), state, weights


def wrong_scaled(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    context, weights = look(state / state.shape[1] ** 0.5, encoded, mask)
    return speak(context, state, combine), state, weights


def wrong_softmax_over_batch(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    scores = torch.einsum("bsh,bh->bs", encoded, state).masked_fill(~mask, float("-inf"))
    weights = torch.nan_to_num(torch.softmax(scores, dim=0))
    return speak(torch.einsum("bs,bsh->bh", weights, encoded), state, combine), state, weights


def wrong_mean_over_source(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    _, weights = look(state, encoded, mask)
    return speak((weights.unsqueeze(2) * encoded).mean(1), state, combine), state, weights


def wrong_only_the_largest(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    _, weights = look(state, encoded, mask)
    best = weights.max(1).indices
    context = torch.stack([h[i] for h, i in zip(encoded, best, strict=True)])
    return speak(context, state, combine), state, weights


def wrong_scores_returned(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    context, _ = look(state, encoded, mask)
    return speak(context, state, combine), state, (encoded @ state[..., None])[..., 0]


def wrong_context_returned(word, state, encoded, mask, recurrent, combine):
    state = update(word, state, recurrent)
    context, weights = look(state, encoded, mask)
    return context, state, weights


def wrong_results_swapped(word, state, encoded, mask, recurrent, combine):
    return right_broadcast(word, state, encoded, mask, recurrent, combine)[::-1]


def wrong_dtype_fixed(word, state, encoded, mask, recurrent, combine):
    floats = [x.float() for x in (word, state, encoded)]
    return right_broadcast(*floats, mask, recurrent.float(), combine.float())


def wrong_detached(word, state, encoded, mask, recurrent, combine):
    with torch.no_grad():
        return right_broadcast(word, state, encoded, mask, recurrent, combine)


def wrong_other_gradient(word, state, encoded, mask, recurrent, combine):
    return right_broadcast(word, state.detach(), encoded, mask, recurrent, combine)


def wrong_squeezed(word, state, encoded, mask, recurrent, combine):
    said, state, weights = right_einsum(word, state, encoded, mask, recurrent, combine)
    return said.squeeze(), state.squeeze(), weights.squeeze()
