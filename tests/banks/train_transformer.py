"""Answers to `train_transformer`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F


def right_scheduler(model, optimizer, batches, rate, warmup):
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / warmup))
    losses = []
    model.train()
    for source, target in batches:
        size = target.size(1) - 1
        mask = torch.tril(torch.ones(size, size)).bool()
        logits = model(source, target[:, :-1], source.ne(0)[:, None, :], mask)
        loss = F.cross_entropy(
            logits.reshape(-1, logits.size(-1)), target[:, 1:].reshape(-1), ignore_index=0
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


def right_real_words_selected(model, optimizer, batches, rate, warmup):
    model.train()
    losses = []
    for batch in batches:
        step = len(losses) + 1
        for group in optimizer.param_groups:
            group["lr"] = rate if step >= warmup else rate * step / warmup
        source, target = batch
        read, asked = target[:, :-1], target[:, 1:]
        places = torch.arange(read.shape[1])
        logits = model(source, read, (source > 0).unsqueeze(1), places[:, None] >= places)
        real = asked != 0
        loss = F.cross_entropy(logits[real], asked[real])
        model.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval() and losses


def right_by_hand(model, optimizer, batches, rate, warmup):
    def one(step, source, target):
        optimizer.param_groups[0]["lr"] = rate * min(step, warmup) / warmup
        n = target.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).tril()
        # All of the target goes in, and the last prediction is dropped.
        logits = model(source, target, (source != 0)[:, None], mask)[:, :-1]
        log_p = torch.log_softmax(logits, dim=-1)
        p = log_p.gather(-1, target[:, 1:].unsqueeze(-1)).squeeze(-1)
        real = (target[:, 1:] != 0).to(p.dtype)
        loss = -(p * real).sum() / real.sum()
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
        return loss.item()

    model.train()
    losses = [one(i + 1, *batch) for i, batch in enumerate(batches)]
    model.train(False)
    return losses


def right_nll(model, optimizer, batches, rate, warmup):
    losses = torch.zeros(len(batches), dtype=torch.float64)
    for number, (source, target) in enumerate(batches):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (number + 1) / warmup)
        read, asked = target[:, :-1].clone(), target[:, 1:].clone()
        asked[asked == 0] = -100
        future = torch.triu(torch.ones(read.shape[1], read.shape[1], dtype=torch.bool), diagonal=1)
        optimizer.zero_grad()
        logits = model(source, read, source.bool().unsqueeze(1), ~future)
        loss = F.nll_loss(F.log_softmax(logits, -1).permute(0, 2, 1), asked)
        loss.backward()
        optimizer.step()
        losses[number] = loss.detach()
        model.eval()
    return losses.tolist()


def causal(read):
    return torch.tril(torch.ones(read.shape[1], read.shape[1])) == 1


def set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


def entropy(logits, asked, **options):
    return F.cross_entropy(logits.flatten(0, 1), asked.flatten(), **{"ignore_index": 0} | options)


def wrong_nothing_returned(model, optimizer, batches, rate, warmup):
    right_scheduler(model, optimizer, batches, rate, warmup)


def wrong_gradients_not_cleared(model, optimizer, batches, rate, warmup):
    model.train()
    optimizer.zero_grad()
    losses = []
    for step, (source, target) in enumerate(batches, 1):
        set_rate(optimizer, rate * min(1, step / warmup))
        read = target[:, :-1]
        loss = entropy(model(source, read, source.ne(0)[:, None], causal(read)), target[:, 1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def wrong_never_learns(model, optimizer, batches, rate, warmup):
    model.train()
    losses = []
    for step, (source, target) in enumerate(batches, 1):
        set_rate(optimizer, rate * min(1, step / warmup))
        read = target[:, :-1]
        loss = entropy(model(source, read, source.ne(0)[:, None], causal(read)), target[:, 1:])
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def wrong_targets_not_shifted(model, optimizer, batches, rate, warmup):
    model.train()
    losses = []
    for step, (source, target) in enumerate(batches, 1):
        set_rate(optimizer, rate * min(1, step / warmup))
        target = target[:, :-1]
        loss = entropy(model(source, target, source.ne(0)[:, None], causal(target)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def wrong_shifted_the_other_way(model, optimizer, batches, rate, warmup):
    model.train()
    losses = []
    for step, (source, target) in enumerate(batches, 1):
        set_rate(optimizer, rate * min(1, step / warmup))
        asked, read = target[:, :-1], target[:, 1:]
        loss = entropy(model(source, read, source.ne(0)[:, None], causal(read)), asked)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def wrong_end_not_asked_for(model, optimizer, batches, rate, warmup):
    return right_scheduler(model, optimizer, [(s, t[:, :-1]) for s, t in batches], rate, warmup)


def masked(source_mask, target_mask):
    """The right training with other masks."""

    def train(model, optimizer, batches, rate, warmup):
        model.train()
        losses = []
        for step, (source, target) in enumerate(batches, 1):
            set_rate(optimizer, rate * min(1, step / warmup))
            read = target[:, :-1]
            logits = model(source, read, source_mask(source), target_mask(read.shape[1]))
            loss = entropy(logits, target[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        return losses

    return train


def real(source):
    return (source != 0)[:, None]


def square(size):
    return torch.ones(size, size)


def wrong_causal_mask_missing(*given):
    return masked(real, lambda n: torch.full((n, n), True))(*given)


def wrong_causal_mask_inverted(*given):
    return masked(real, lambda n: torch.triu(square(n), diagonal=1).bool())(*given)


def wrong_causal_mask_turned(*given):
    return masked(real, lambda n: torch.arange(n)[:, None] <= torch.arange(n))(*given)


def wrong_causal_mask_off_by_one(*given):
    return masked(real, lambda n: torch.arange(n)[:, None] > torch.arange(n))(*given)


def wrong_causal_mask_too_wide(*given):
    return masked(real, lambda n: torch.tril(square(n), diagonal=1) > 0)(*given)


def wrong_source_padding_seen(*given):
    return masked(lambda source: torch.ones(len(source), 1, source.shape[1]).bool(), causal_of)(
        *given
    )


def causal_of(n):
    return square(n).tril().bool()


def wrong_source_mask_inverted(*given):
    return masked(lambda source: source.eq(0).unsqueeze(1), causal_of)(*given)


def lossy(nats):
    """The right training with another loss."""

    def train(model, optimizer, batches, rate, warmup):
        model.train()
        losses = []
        for step, (source, target) in enumerate(batches, 1):
            set_rate(optimizer, rate * min(1, step / warmup))
            read, asked = target[:, :-1], target[:, 1:]
            loss = nats(model(source, read, real(source), causal(read)), asked)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        return losses

    return train


def each(logits, asked):
    log_p = logits.log_softmax(dim=-1).gather(-1, asked.unsqueeze(-1))[..., 0]
    return -log_p * (asked != 0)


def wrong_padding_in_the_loss(*given):
    return lossy(lambda logits, asked: entropy(logits, asked, ignore_index=-100))(*given)


def wrong_padding_in_the_mean(*given):
    return lossy(lambda logits, asked: each(logits, asked).sum() / asked.numel())(*given)


def wrong_sum_for_mean(*given):
    return lossy(lambda logits, asked: entropy(logits, asked, reduction="sum"))(*given)


def wrong_sum_over_sentences(*given):
    return lossy(lambda logits, asked: each(logits, asked).sum(1).mean())(*given)


def wrong_each_sentence_alike(*given):
    def nats(logits, asked):
        means = [entropy(one[None], words[None]) for one, words in zip(logits, asked, strict=True)]
        return torch.stack(means).mean()

    return lossy(nats)(*given)


def wrong_softmax_before_the_loss(*given):
    return lossy(lambda logits, asked: entropy(F.softmax(logits, dim=2), asked))(*given)


def wrong_reshape_for_transpose(*given):
    def nats(logits, asked):
        batch, target, words = logits.shape
        return F.cross_entropy(logits.view(batch, words, target), asked, ignore_index=0)

    return lossy(nats)(*given)


def wrong_warm_up_off_by_one(model, optimizer, batches, rate, warmup):
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, s / warmup))
    model.train()
    losses = []
    for source, target in batches:
        read = target[:, :-1]
        loss = entropy(model(source, read, real(source), causal(read)), target[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses


def wrong_rate_one_step_late(model, optimizer, batches, rate, warmup):
    model.train()
    losses = []
    for step, (source, target) in enumerate(batches, 1):
        read = target[:, :-1]
        loss = entropy(model(source, read, real(source), causal(read)), target[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        set_rate(optimizer, rate * min(1, step / warmup))
        losses.append(loss.item())
    model.eval()
    return losses


def wrong_no_warm_up(model, optimizer, batches, rate, warmup):
    return right_by_hand(model, optimizer, batches, rate, 1)


def wrong_warm_up_without_end(model, optimizer, batches, rate, warmup):
    model.train()
    losses = []
    for source, target in batches:
        set_rate(optimizer, rate / warmup * (len(losses) + 1))
        read = target[:, :-1]
        loss = entropy(model(source, read, real(source), causal(read)), target[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def wrong_dropout_off_in_training(model, optimizer, batches, rate, warmup):
    losses = []
    for step, (source, target) in enumerate(batches, 1):
        set_rate(optimizer, rate * min(1, step / warmup))
        read = target[:, :-1]
        loss = entropy(model(source, read, real(source), causal(read)), target[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def wrong_dropout_left_on(model, optimizer, batches, rate, warmup):
    losses = right_real_words_selected(model, optimizer, batches, rate, warmup)
    model.train()
    return losses


def wrong_one_step_only(model, optimizer, batches, rate, warmup):
    model.train()
    losses = []
    for source, target in batches:
        set_rate(optimizer, rate / warmup)
        read = target[:, :-1]
        loss = entropy(model(source, read, real(source), causal(read)), target[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        return losses
    return None


def wrong_edits_its_input(model, optimizer, batches, rate, warmup):
    losses = right_scheduler(model, optimizer, batches, rate, warmup)
    while batches:
        batches.pop()
    return losses


def wrong_other_kind(model, optimizer, batches, rate, warmup):
    losses = right_nll(model, optimizer, batches, rate, warmup)
    return sum(losses) / len(losses)


def wrong_raises(model, optimizer, batches, rate, warmup):
    # The mask without its axis for the target.
    return masked(lambda source: source != 0, causal_of)(model, optimizer, batches, rate, warmup)


def wrong_property_fails(model, optimizer, batches, rate, warmup):
    # Enough for the short cases, and not for learning.
    return right_scheduler(model, optimizer, batches[:10], rate, warmup)
