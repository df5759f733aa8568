"""Answers to `causal_weights`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F


def right_tril(scores):
    size = scores.shape[-1]
    seen = torch.tril(torch.ones(size, size, dtype=torch.bool))
    return F.softmax(scores.masked_fill(~seen, float("-inf")), dim=-1)


def right_hidden(scores):
    position = torch.arange(scores.shape[-1])
    hidden = position[None, :] > position[:, None]
    return torch.softmax(torch.where(hidden, -torch.inf, scores), dim=-1)


def right_added(scores):
    endless = torch.full(scores.shape[-2:], float("-inf"), dtype=scores.dtype).triu(1)
    return (torch.nan_to_num(scores.tril()) + endless).softmax(-1)


def right_rows(scores):
    out = torch.zeros_like(scores)
    for t in range(scores.shape[1]):
        out[:, t, : t + 1] = torch.softmax(scores[:, t, : t + 1], dim=-1)
    return out


def right_least_number(scores):
    size = scores.shape[-1]
    future = torch.ones(size, size, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, torch.finfo(scores.dtype).min).softmax(dim=2)


def weigh(scores, seen):
    return F.softmax(torch.where(seen, scores, float("-inf")), dim=-1)


def triangle(scores, diagonal=0):
    return torch.ones(scores.shape[-2:], dtype=torch.bool).tril(diagonal)


def wrong_nothing_returned(scores):
    weigh(scores, triangle(scores))


def wrong_asks_and_asked_exchanged(scores):
    return weigh(scores, triangle(scores).T)


def wrong_sees_the_next(scores):
    hidden = torch.ones_like(scores[0]).triu(2).bool()
    return weigh(scores, ~hidden)


def wrong_not_itself(scores):
    position = torch.arange(scores.shape[-1])
    return weigh(scores, position < position.unsqueeze(1))


def wrong_not_itself_repaired(scores):
    weights = weigh(scores, triangle(scores, -1))
    return torch.where(weights.isnan(), torch.zeros_like(weights), weights)


def wrong_future_only(scores):
    seen = triangle(scores)
    return torch.softmax(scores.masked_fill(seen, float("-inf")), dim=-1)


def wrong_no_mask(scores):
    position = torch.arange(scores.shape[-1])
    seen = position <= position.unsqueeze(1)
    scores.masked_fill(~seen, -torch.inf)
    return torch.softmax(scores, dim=-1)


def wrong_only_itself(scores):
    return torch.eye(scores.shape[-1], dtype=scores.dtype) * (scores * 0 + 1)


def wrong_only_the_neighbour(scores):
    seen = triangle(scores) & ~triangle(scores, -2)
    return weigh(scores, seen)


def wrong_mask_after_softmax(scores):
    return F.softmax(scores, -1) * triangle(scores)


def wrong_masked_then_renormalized(scores):
    weights = scores.softmax(-1).masked_fill(~triangle(scores), 0)
    return weights / weights.sum(-1, keepdim=True)


def wrong_filled_with_zero(scores):
    return torch.softmax(torch.tril(scores), dim=-1)


def wrong_soft_constant(scores):
    return torch.where(triangle(scores), scores, -1e9).softmax(-1)


def wrong_constant_added(scores):
    penalty = (~triangle(scores)).to(scores.dtype) * -1e9
    return F.softmax(scores + penalty, dim=-1)


def wrong_softmax_over_those_who_ask(scores):
    return F.softmax(torch.where(triangle(scores), scores, float("-inf")), dim=1)


def wrong_scores_turned(scores):
    return weigh(scores.mT, triangle(scores))


def wrong_result_turned(scores):
    return weigh(scores, triangle(scores).T).permute(0, 2, 1)


def wrong_softmax_twice(scores):
    return weigh(scores, triangle(scores)).softmax(dim=-1)


def wrong_only_the_largest(scores):
    masked = torch.where(triangle(scores), scores, float("-inf"))
    return torch.zeros_like(scores).scatter(-1, masked.argmax(-1, keepdim=True), 1.0)


def wrong_squeezed(scores):
    return right_tril(scores).squeeze()


def wrong_dtype_fixed(scores):
    return right_hidden(scores.float())


def wrong_detached(scores):
    with torch.no_grad():
        return right_tril(scores)


def wrong_edits_its_input(scores):
    scores.masked_fill_(~triangle(scores), float("-inf"))
    return scores.softmax(-1)


def wrong_other_kind(scores):
    return right_tril(scores).detach().numpy()


def wrong_order_lost(scores):
    return right_tril(scores).flip(0)


def wrong_raises(scores):
    seen = torch.arange(5) <= torch.arange(5).unsqueeze(1)
    return weigh(scores, seen)
