"""Answers to `masked_softmax`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F


def right_nan_to_num(scores, mask):
    hidden = torch.where(mask, scores, torch.tensor(float("-inf"), dtype=scores.dtype))
    return torch.nan_to_num(F.softmax(hidden, dim=-1), nan=0.0)


def right_where(scores, mask):
    mask = mask.expand(scores.shape)
    any_ = mask.any(-1, keepdim=True)
    safe = torch.where(any_, mask, torch.ones_like(mask))
    weights = torch.where(safe, scores, scores.new_full((), -torch.inf)).softmax(-1)
    return torch.where(any_, weights, torch.zeros_like(weights))


def right_exponentials(scores, mask):
    low = torch.finfo(scores.dtype).min
    largest = scores.masked_fill(~mask, low).amax(dim=-1, keepdim=True)
    raised = torch.exp(torch.where(mask, scores - largest, torch.zeros_like(scores))) * mask
    total = raised.sum(dim=-1, keepdim=True)
    return raised / torch.where(total == 0, torch.ones_like(total), total)


def right_rows(scores, mask):
    mask = mask.expand_as(scores)
    out = []
    for row, may in zip(
        scores.reshape(-1, scores.shape[-1]), mask.reshape(-1, mask.shape[-1]), strict=True
    ):
        weights = torch.zeros_like(row)
        if may.any():
            weights = weights.masked_scatter(may, torch.softmax(row[may], dim=0))
        else:
            weights = row * 0
        out.append(weights)
    return torch.stack(out).view(scores.shape)


def right_soft_constant_then_zero(scores, mask):
    filled = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(filled, dim=-1).masked_fill(~mask, 0.0)


def wrong_nothing_returned(scores, mask):
    weights = scores.softmax(dim=-1)
    weights.masked_fill(~mask, 0)


def wrong_no_mask(scores, mask):
    shifted = scores - scores.max(dim=-1, keepdim=True).values
    e = shifted.exp()
    return e / e.sum(dim=-1, keepdim=True)


def wrong_mask_inverted(scores, mask):
    padding = mask
    weights = F.softmax(scores.masked_fill(padding, float("-inf")), dim=-1)
    return weights.nan_to_num(0.0)


def wrong_mask_inverted_plainly(scores, mask):
    return F.softmax(torch.where(mask, torch.full_like(scores, -torch.inf), scores), dim=-1)


def wrong_mask_after_softmax(scores, mask):
    weights = F.softmax(scores, dim=-1)
    return torch.where(mask, weights, torch.zeros_like(weights))


def wrong_masked_then_renormalized(scores, mask):
    w = torch.softmax(scores, -1).masked_fill(~mask, 0)
    return w / torch.sum(w, dim=-1, keepdim=True)


def wrong_filled_with_zero(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, 0.0), dim=-1)


def wrong_filled_with_minus_one(scores, mask):
    return torch.softmax(torch.where(mask, scores, torch.full_like(scores, -1)), dim=-1)


def wrong_soft_constant(scores, mask):
    return F.softmax(torch.where(mask, scores, torch.full_like(scores, -1e10)), dim=-1)


def wrong_nan_in_empty_row(scores, mask):
    return torch.where(mask, scores, float("-inf")).softmax(dim=2)


def wrong_softmax_over_target(scores, mask):
    filled = scores.masked_fill(mask.logical_not(), float("-inf"))
    return F.softmax(filled, dim=1).nan_to_num(0)


def wrong_softmax_over_batch(scores, mask):
    return torch.nan_to_num(scores.masked_fill(~mask, float("-inf")).softmax(0))


def wrong_first_mask_for_all(scores, mask):
    one = mask[:1] if mask.dim() == 3 else mask
    filled = torch.where(one, scores, -torch.inf)
    return torch.nan_to_num(torch.softmax(filled, dim=-1))


def wrong_right_padding_assumed(scores, mask):
    mask = mask.expand_as(scores)
    weights = torch.zeros_like(scores)
    for b in range(scores.shape[0]):
        for t in range(scores.shape[1]):
            n = int(mask[b, t].sum())
            weights[b, t, :n] = torch.softmax(scores[b, t, :n], dim=0)
    return weights


def wrong_overflow(scores, mask):
    e = torch.where(mask, torch.exp(scores), torch.zeros_like(scores))
    return e / (e.sum(-1, keepdim=True) + 1e-12)


def wrong_log_softmax(scores, mask):
    return F.log_softmax(torch.where(mask, scores, float("-inf")), dim=-1)


def wrong_softmax_twice(scores, mask):
    weights = torch.nan_to_num(F.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1))
    return F.softmax(weights, dim=-1)


def wrong_only_the_largest(scores, mask):
    best = scores.masked_fill(~mask, float("-inf")).argmax(-1)
    weights = torch.zeros_like(scores)
    return weights.scatter(-1, best.unsqueeze(-1), 1.0)


def wrong_not_exponential(scores, mask):
    kept = scores.masked_fill(~mask, 0.0)
    return kept / kept.sum(-1, keepdim=True)


def wrong_squeezed(scores, mask):
    return right_nan_to_num(scores, mask).squeeze()


def wrong_edits_its_input(scores, mask):
    scores.masked_fill_(~mask, float("-inf"))
    return torch.nan_to_num(torch.softmax(scores, dim=-1))


def wrong_dtype_fixed(scores, mask):
    return right_nan_to_num(scores.to(torch.float32), mask)


def wrong_detached(scores, mask):
    return right_nan_to_num(scores, mask).detach()


def wrong_other_kind(scores, mask):
    return right_nan_to_num(scores, mask).detach().numpy()


def wrong_added_constant(scores, mask):
    return torch.softmax(scores + (1 - mask.float()) * -1e9, dim=-1).to(scores.dtype)


def wrong_still_scores(scores, mask):
    return torch.where(mask, scores, -torch.inf)


def wrong_scores_as_they_were(scores, mask):
    scores.masked_fill(~mask, -torch.inf)
    return scores
