"""Answers to `sequence_loss`: what right and wrong ones look like in the wild."""

import math

import torch
from torch.nn import functional as F


def right_cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0)


def right_cross_entropy_transposed(logits, targets):
    return F.cross_entropy(logits.permute(0, 2, 1), targets, ignore_index=0)


def right_mask(logits, targets):
    mask = targets > 0
    nats = F.nll_loss(F.log_softmax(logits, -1).transpose(1, 2), targets, reduction="none")
    return (nats * mask).sum() / mask.sum()


def right_loops(logits, targets):
    total, count = logits.new_zeros(()), 0
    for rows, words in zip(logits, targets, strict=True):
        for row, word in zip(rows, words.tolist(), strict=True):
            if word == 0:
                continue
            total = total + torch.logsumexp(row, dim=0) - row[word]
            count += 1
    return total / count


def right_one_hot(logits, targets):
    hot = F.one_hot(targets, logits.shape[-1]).to(logits.dtype)
    hot = hot * (targets != 0).unsqueeze(-1)
    return -(hot * logits.log_softmax(-1)).sum() / hot.sum()


def right_by_hand(logits, targets):
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    log_probs = shifted - shifted.exp().sum(-1, keepdim=True).log()
    rows, columns = torch.nonzero(targets, as_tuple=True)
    return -log_probs[rows, columns, targets[rows, columns]].mean()


def wrong_nothing_returned(logits, targets):
    F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0)


def wrong_padding_counted(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def wrong_divided_by_all_cells(logits, targets):
    total = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=0, reduction="sum"
    )
    return total / targets.numel()


def wrong_sum_not_mean(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=0, reduction="sum")


def wrong_mean_of_sentences(logits, targets):
    losses = [
        F.cross_entropy(rows, words, ignore_index=0)
        for rows, words in zip(logits, targets, strict=True)
    ]
    return torch.stack(losses).mean()


def wrong_per_sentence(logits, targets):
    log_probs = torch.log_softmax(logits, dim=-1)
    chosen = torch.gather(log_probs, 2, targets[:, :, None])[:, :, 0]
    return -chosen.masked_fill(targets == 0, 0.0).sum(dim=1).mean()


def wrong_in_bits(logits, targets):
    chosen = logits.log_softmax(-1).gather(2, targets[..., None])[..., 0] / math.log(2.0)
    return -chosen[targets.bool()].mean()


def wrong_perplexity(logits, targets):
    return torch.exp(F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0))


def wrong_sign_missing(logits, targets):
    log_probs = torch.log_softmax(logits, dim=-1)
    return log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)[targets != 0].mean()


def wrong_logits_for_log_probs(logits, targets):
    return F.nll_loss(logits.flatten(0, 1), targets.flatten(), ignore_index=0)


def wrong_no_logarithm(logits, targets):
    probs = F.softmax(logits, dim=2)
    return F.nll_loss(probs.transpose(1, 2), targets, ignore_index=0)


def wrong_softmax_twice(logits, targets):
    probs = logits.softmax(-1)
    return F.cross_entropy(probs.flatten(0, 1), targets.flatten(), ignore_index=0)


def wrong_logarithm_of_zero(logits, targets):
    probs = logits.softmax(-1)
    hidden = targets == 0
    right = torch.gather(probs, -1, targets.unsqueeze(-1)).squeeze(-1)
    return -torch.log(right).masked_fill(hidden, 0).sum() / (~hidden).sum()


def wrong_overflow(logits, targets):
    right = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    nats = torch.log(torch.exp(logits).sum(-1)) - right
    return nats[targets != 0].mean()


def wrong_softmax_over_target(logits, targets):
    log_probs = F.log_softmax(logits, dim=1)
    return F.nll_loss(log_probs.transpose(1, 2), targets, ignore_index=0)


def wrong_softmax_over_batch(logits, targets):
    log_probs = F.log_softmax(logits, dim=0)
    return F.nll_loss(log_probs.flatten(0, 1), targets.flatten(), ignore_index=0)


def wrong_reshape_for_transpose(logits, targets):
    batch, target, words = logits.shape
    return F.cross_entropy(logits.contiguous().view(batch, words, target), targets, ignore_index=0)


def wrong_shifted_again(logits, targets):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=0)


def wrong_end_mark_left_out(logits, targets):
    words = torch.where(targets == 3, torch.zeros_like(targets), targets)
    return F.cross_entropy(logits.flatten(0, 1), words.flatten(), ignore_index=0)


def wrong_logits_zeroed(logits, targets):
    cleaned = torch.where((targets > 0)[..., None], logits, torch.zeros_like(logits))
    return F.cross_entropy(cleaned.transpose(1, 2), targets)


def wrong_best_for_right(logits, targets):
    best, _ = logits.log_softmax(dim=-1).max(dim=-1)
    return -best[targets > 0].mean()


def wrong_not_averaged(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=0, reduction="none")


def wrong_other_kind(logits, targets):
    return right_cross_entropy(logits, targets).item()


def wrong_dtype_fixed(logits, targets):
    return right_cross_entropy(logits.float(), targets)


def wrong_detached(logits, targets):
    with torch.no_grad():
        return right_cross_entropy(logits, targets)


def wrong_edits_its_input(logits, targets):
    logits -= logits.max(dim=-1, keepdim=True).values
    return right_cross_entropy(logits, targets)


def wrong_other_shape(logits, targets):
    return right_cross_entropy(logits, targets).unsqueeze(0)
