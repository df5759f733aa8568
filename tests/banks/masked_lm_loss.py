"""Answers to `masked_lm_loss`: what right and wrong ones look like in the wild."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def right_ignore_index(logits, targets):
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return total / max(1, int((targets != -100).sum()))


def right_gather(logits, targets):
    log_p = torch.log_softmax(logits, dim=-1)
    asked = targets.ne(-100)
    picked = log_p.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(picked * asked).sum() / asked.sum().clamp(min=1)


def right_loops(logits, targets):
    total, count = logits.sum() * 0, 0
    for row, answers in zip(logits, targets, strict=True):
        for place, answer in zip(row, answers.tolist(), strict=True):
            if answer != -100:
                total = total + torch.logsumexp(place, dim=0) - place[answer]
                count += 1
    return total / count if count else total


def right_nan_case_first(logits, targets):
    if bool((targets == -100).all()):
        return 0.0 * logits.sum()
    return nn.CrossEntropyLoss()(logits.permute(0, 2, 1), targets)


def right_one_hot(logits, targets):
    right = torch.arange(logits.shape[-1]) == targets.unsqueeze(-1)
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    log_p = shifted - shifted.exp().sum(dim=-1, keepdim=True).log()
    count = right.sum()
    return -log_p.masked_fill(~right, 0.0).sum() / torch.where(count > 0, count, 1)


def wrong_nothing_returned(logits, targets):
    asked = targets != -100
    F.cross_entropy(logits[asked], targets[asked])


def wrong_nan_for_nothing(logits, targets):
    asked = targets != -100
    return F.cross_entropy(logits[asked], targets[asked])


def wrong_divided_by_all_places(logits, targets):
    nats = F.cross_entropy(logits.permute(0, 2, 1), targets, reduction="none")
    return nats.mean()


def wrong_divided_by_texts(logits, targets):
    nats = F.cross_entropy(logits.permute(0, 2, 1), targets, reduction="none")
    return nats.sum(dim=1).mean()


def wrong_sum_for_mean(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


def wrong_each_text_alike(logits, targets):
    means = [right_loops(a[None], b[None]) for a, b in zip(logits, targets, strict=True)]
    some = (targets != -100).any(dim=1).sum().clamp(min=1)
    return torch.stack(means).sum() / some


def wrong_nothing_taken_for_a_piece(logits, targets):
    labels = torch.where(targets == -100, 0, targets)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def wrong_nothing_taken_for_a_piece_in_the_sum(logits, targets):
    labels = targets.masked_fill(targets < 0, 0)
    log_p = logits.log_softmax(-1).gather(-1, labels[..., None])
    return -log_p.sum() / max((targets >= 0).sum().item(), 1)


def wrong_asked_where_seen(logits, targets):
    asked = targets == -100
    labels = torch.zeros_like(targets[asked])
    total = F.cross_entropy(logits[asked], labels, reduction="sum")
    return total / max(1, len(labels))


def wrong_softmax_before_the_loss(logits, targets):
    return right_ignore_index(F.softmax(logits, dim=2), targets)


def wrong_no_softmax(logits, targets):
    total = F.nll_loss(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)


def wrong_no_logarithm(logits, targets):
    p = F.softmax(logits, dim=-1)
    total = F.nll_loss(p.flatten(0, 1), targets.flatten(), reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)


def wrong_sign(logits, targets):
    log_p = F.log_softmax(logits, dim=-1)
    asked = targets != -100
    rows = torch.arange(int(asked.sum()))
    return log_p[asked][rows, targets[asked]].sum() / max(1, len(rows))


def wrong_overflow(logits, targets):
    asked = targets != -100
    e = torch.exp(logits[asked])
    p = e / e.sum(dim=1, keepdim=True)
    rows = torch.arange(len(p))
    return -torch.log(p[rows, targets[asked]]).sum() / max(1, len(rows))


def wrong_softmax_over_the_places(logits, targets):
    log_p = logits.log_softmax(1).transpose(1, 2)
    return F.nll_loss(log_p, targets, reduction="sum") / (targets >= 0).sum().clamp(min=1)


def wrong_softmax_over_the_batch(logits, targets):
    log_p = torch.log_softmax(logits, 0).transpose(1, 2)
    return F.nll_loss(log_p, targets, reduction="sum") / (targets >= 0).sum().clamp(min=1)


def wrong_reshape_for_transpose(logits, targets):
    batch, length, pieces = logits.shape
    total = F.cross_entropy(logits.view(batch, pieces, length), targets, reduction="sum")
    return total / (targets >= 0).sum().clamp(min=1)


def wrong_bits(logits, targets):
    return right_gather(logits, targets) * math.log2(math.e)


def wrong_perplexity(logits, targets):
    return torch.exp(right_gather(logits, targets))


def wrong_errors_counted(logits, targets):
    asked = targets != -100
    found = (logits.argmax(dim=-1) == targets)[asked].to(logits.dtype)
    return (len(found) - found.sum()) / max(1, len(found))


def wrong_one_for_each_place(logits, targets):
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return nats.view(targets.shape)


def wrong_one_for_each_hidden_piece(logits, targets):
    asked = targets != -100
    return F.cross_entropy(logits[asked], targets[asked], reduction="none")


def wrong_first_text_only(logits, targets):
    return right_ignore_index(logits[0:1], targets[0:1])


def wrong_shifted(logits, targets):
    return right_gather(logits[:, :-1], targets[:, 1:])


def wrong_dtype_fixed(logits, targets):
    return right_gather(logits.float(), targets)


def wrong_detached(logits, targets):
    return right_gather(logits.detach(), targets)


def wrong_other_kind(logits, targets):
    return right_gather(logits, targets).item()


def wrong_other_shape(logits, targets):
    return right_gather(logits, targets).reshape(1)


def wrong_edits_its_input(logits, targets):
    loss = right_gather(logits, targets)
    targets[targets == -100] = 0
    return loss


def wrong_raises(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).mean()
