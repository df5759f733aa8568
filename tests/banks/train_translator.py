"""Answers to `train_translator`: what right and wrong ones look like in the wild."""

import torch
from torch import nn
from torch.nn import functional as F


def right_criterion(model, optimizer, batches, epochs, clip):
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    model.train()
    history = []
    for _ in range(epochs):
        for src, tgt in batches:
            optimizer.zero_grad()
            out = model(src, tgt[:, :-1])
            loss = criterion(out.reshape(-1, out.shape[-1]), tgt[:, 1:].reshape(-1))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=clip)
            optimizer.step()
            history.append(float(loss.detach()))
    return history


def right_transposed(model, optimizer, batches, epochs, clip):
    history = []
    for src, tgt in batches * epochs:
        model.train()
        model.zero_grad()
        logits = model(src, tgt[:, :-1]).transpose(1, 2)
        loss = F.cross_entropy(logits, tgt[:, 1:], ignore_index=0)
        loss.backward()
        nn.utils.clip_grad_norm_(list(model.parameters()), clip)
        optimizer.step()
        history += [loss.detach()]
    return history


def right_by_hand(model, optimizer, batches, epochs, clip):
    model.train()
    history = []
    for _ in range(epochs):
        for src, tgt in batches:
            inputs, answers = tgt[:, :-1], tgt[:, 1:]
            logprobs = torch.log_softmax(model(src, inputs), dim=-1)
            picked = logprobs.gather(2, answers.unsqueeze(2)).squeeze(2)
            real = (answers != 0).float()
            loss = -(picked * real).sum() / real.sum()
            loss.backward()
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            norm = torch.sqrt(sum((g**2).sum() for g in grads))
            if norm > clip:
                for g in grads:
                    g *= clip / norm
            optimizer.step()
            optimizer.zero_grad()
            history.append(loss.item())
    return history


def right_selected(model, optimizer, batches, epochs, clip):
    model.train()
    steps = [pair for _ in range(epochs) for pair in batches]
    losses = []
    for source, target in steps:
        answers = target[:, 1:]
        real = answers.ne(0)
        loss = F.cross_entropy(model(source, target[:, :-1])[real], answers[real])
        for p in model.parameters():
            p.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def right_log_softmax_too(model, optimizer, batches, epochs, clip):
    """Superfluous, and harmless: the logarithms of probabilities are logits of their own."""

    def loss_of(m, s, t):
        return criterion(torch.log_softmax(m(s, t[:, :-1]), -1).flatten(0, 1), t[:, 1:].flatten())

    criterion = nn.CrossEntropyLoss(ignore_index=0)
    return loop(model, optimizer, batches, epochs, clip, loss_of)


def true_loss(model, source, target):
    logits = model(source, target[:, :-1])
    return F.cross_entropy(logits.permute(0, 2, 1), target[:, 1:], ignore_index=0)


def loop(model, optimizer, batches, epochs, clip, loss_of=true_loss):
    model.train()
    losses = []
    for _ in range(epochs):
        for source, target in batches:
            optimizer.zero_grad()
            loss = loss_of(model, source, target)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            losses.append(loss.item())
    return losses


def wrong_nothing_returned(model, optimizer, batches, epochs, clip):
    loop(model, optimizer, batches, epochs, clip)


def wrong_targets_not_shifted(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        t = t[:, 1:]
        return F.cross_entropy(m(s, t).transpose(1, 2), t, ignore_index=0)

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_targets_cut_alike(model, optimizer, batches, epochs, clip):
    batches = [(s, t[:, :-1]) for s, t in batches]

    def loss_of(m, s, t):
        return F.cross_entropy(m(s, t).transpose(1, 2), t, ignore_index=0)

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_targets_whole(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        out = m(s, t)
        return nn.CrossEntropyLoss(ignore_index=0)(out.view(-1, out.size(-1)), t.view(-1))

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_own_words(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        words, logits = [t[:, 0]], []
        for _ in range(t.shape[1] - 1):
            step = m(s, torch.stack(words, dim=1))[:, -1]
            logits.append(step)
            words.append(step.argmax(-1))
        return F.cross_entropy(torch.stack(logits, 2), t[:, 1:], ignore_index=0)

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_languages_exchanged(model, optimizer, batches, epochs, clip):
    return loop(model, optimizer, [(t, s) for s, t in batches], epochs, clip)


def wrong_padding_in_the_loss(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        return nn.CrossEntropyLoss()(m(s, t[:, :-1]).transpose(1, 2), t[:, 1:])

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_padding_counted(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        each = F.cross_entropy(m(s, t[:, :-1]).transpose(1, 2), t[:, 1:], reduction="none")
        return torch.mean(each * (t[:, 1:] > 0))

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_end_not_learned(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        answers = t[:, 1:]
        words = answers > 3
        return F.cross_entropy(m(s, t[:, :-1])[words], answers[words])

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_loss_summed(model, optimizer, batches, epochs, clip):
    criterion = nn.CrossEntropyLoss(ignore_index=0, reduction="sum")

    def loss_of(m, s, t):
        return criterion(m(s, t[:, :-1]).transpose(1, 2), t[:, 1:])

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_summed_over_words(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        logits = m(s, t[:, :-1])
        return sum(
            F.cross_entropy(logits[b], t[b, 1:], ignore_index=0, reduction="sum")
            for b in range(len(t))
        ) / len(t)

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_mean_of_sentences(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        logits = m(s, t[:, :-1])
        each = [F.cross_entropy(x, y[1:], ignore_index=0) for x, y in zip(logits, t, strict=True)]
        return sum(each) / len(each)

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_softmax_before_the_loss(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        probabilities = F.softmax(m(s, t[:, :-1]), dim=2)
        return F.cross_entropy(probabilities.transpose(1, 2), t[:, 1:], ignore_index=0)

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_reshape_for_transpose(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        out = m(s, t[:, :-1])
        return F.cross_entropy(out.view(len(out), out.shape[2], -1), t[:, 1:], ignore_index=0)

    return loop(model, optimizer, batches, epochs, clip, loss_of)


def wrong_gradients_pile_up(model, optimizer, batches, epochs, clip):
    model.train()
    losses = []
    for _ in range(epochs):
        for source, target in batches:
            loss = true_loss(model, source, target)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            losses.append(loss.item())
    return losses


def wrong_nothing_learned(model, optimizer, batches, epochs, clip):
    model.train()
    losses = []
    for _ in range(epochs):
        for source, target in batches:
            loss = true_loss(model, source, target)
            loss.backward()
            optimizer.zero_grad()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            losses.append(loss.item())
    return losses


def wrong_one_step_an_epoch(model, optimizer, batches, epochs, clip):
    model.train()
    losses = []
    for _ in range(epochs):
        for source, target in batches:
            loss = true_loss(model, source, target)
            loss.backward()
            losses.append(loss.item())
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
    return losses


def wrong_not_clipped(model, optimizer, batches, epochs, clip):
    model.train()
    losses = []
    for _ in range(epochs):
        for source, target in batches:
            loss = true_loss(model, source, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            losses.append(loss.item())
    return losses


def wrong_clipped_by_value(model, optimizer, batches, epochs, clip):
    model.train()
    losses = []
    for source, target in batches * epochs:
        loss = true_loss(model, source, target)
        optimizer.zero_grad()
        loss.backward()
        for p in model.parameters():
            if p.grad is not None:
                p.grad.clamp_(-clip, clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def wrong_clipped_one_by_one(model, optimizer, batches, epochs, clip):
    model.train()
    losses = []
    for source, target in batches * epochs:
        loss = true_loss(model, source, target)
        optimizer.zero_grad()
        loss.backward()
        for p in model.parameters():
            nn.utils.clip_grad_norm_(p, clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def wrong_evaluation_mode(model, optimizer, batches, epochs, clip):
    losses = []
    for source, target in batches * epochs:
        loss = true_loss(model, source, target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def wrong_one_step_only(model, optimizer, batches, epochs, clip):
    model.train()
    losses = []
    for _ in range(epochs):
        for source, target in batches:
            optimizer.zero_grad()
            loss = true_loss(model, source, target)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            losses.append(loss.item())
            return losses
    return losses


def wrong_first_epoch_only(model, optimizer, batches, epochs, clip):
    todo = iter(batches)
    losses = []
    for _ in range(epochs):
        losses += loop(model, optimizer, todo, 1, clip)
    return losses


def wrong_first_batch_only(model, optimizer, batches, epochs, clip):
    return [loop(model, optimizer, [batches[0]], 1, clip)[0] for _ in range(epochs)]


def wrong_last_batch_dropped(model, optimizer, batches, epochs, clip):
    todo = [batches[i] for i in range(len(batches) - 1)]
    return loop(model, optimizer, todo, epochs, clip)


def wrong_small_batches_dropped(model, optimizer, batches, epochs, clip):
    size = batches[0][0].size(0)
    return loop(model, optimizer, [b for b in batches if b[1].size(0) >= size], epochs, clip)


def wrong_one_loss_an_epoch(model, optimizer, batches, epochs, clip):
    history = []
    for _ in range(epochs):
        losses = loop(model, optimizer, batches, 1, clip)
        history.append(sum(losses) / len(losses))
    return history


def wrong_own_optimizer(model, optimizer, batches, epochs, clip):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    return loop(model, optimizer, batches, epochs, clip)


def wrong_edits_its_input(model, optimizer, batches, epochs, clip):
    losses = loop(model, optimizer, batches, epochs, clip)
    for _, target in batches:
        target[target == 0] = -100
    return losses


def wrong_other_kind(model, optimizer, batches, epochs, clip):
    return torch.tensor(loop(model, optimizer, batches, epochs, clip)).mean()


def wrong_raises(model, optimizer, batches, epochs, clip):
    def loss_of(m, s, t):
        return F.cross_entropy(m(s, t[:, :-1]), t[:, 1:], ignore_index=0)

    return loop(model, optimizer, batches, epochs, clip, loss_of)
