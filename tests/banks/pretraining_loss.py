"""Answers to `pretraining_loss`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F

from attnbook.exercises.bert import read_both_sides


def right_clone(ids, chosen, vectors, places, mask_id):
    hidden = ids.clone()
    hidden[chosen] = mask_id
    states = read_both_sides(hidden, vectors, places)
    logits = states @ vectors.T
    targets = ids.masked_fill(~chosen, -100)
    return F.cross_entropy(logits.transpose(1, 2), targets)


def right_where(ids, chosen, vectors, places, mask_id):
    hidden = torch.where(chosen, torch.full_like(ids, mask_id), ids)
    logits = F.linear(read_both_sides(hidden, vectors, places), vectors)
    return F.cross_entropy(logits[chosen], ids[chosen])


def right_states_picked(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, mask_id)
    states = read_both_sides(hidden, vectors, places)[chosen]
    log_p = torch.log_softmax(torch.einsum("nw,pw->np", states, vectors), dim=-1)
    return -log_p[torch.arange(len(states)), ids[chosen]].mean()


def right_targets_first(ids, chosen, vectors, places, mask_id):
    targets = ids.masked_fill(~chosen, -100)
    hidden = ids * ~chosen + mask_id * chosen
    states = read_both_sides(hidden, vectors, places)
    return F.cross_entropy((states @ vectors.T).flatten(0, 1), targets.flatten())


def right_loops(ids, chosen, vectors, places, mask_id):
    losses = []
    for text, here in zip(ids, chosen, strict=True):
        read = [mask_id if c else int(i) for i, c in zip(text, here, strict=True)]
        states = read_both_sides(torch.tensor([read]), vectors, places)[0]
        for state, answer, c in zip(states, text, here, strict=True):
            if c:
                scores = vectors @ state
                losses.append(scores.logsumexp(0) - scores[answer])
    return sum(losses) / len(losses)


def after(hidden, vectors, places):
    return (read_both_sides(hidden, vectors, places) @ vectors.T).permute(0, 2, 1)


def wrong_nothing_returned(ids, chosen, vectors, places, mask_id):
    hidden = ids.clone()
    hidden[chosen] = mask_id
    F.cross_entropy(after(hidden, vectors, places), ids.masked_fill(~chosen, -100))


def wrong_asked_for_the_sign(ids, chosen, vectors, places, mask_id):
    ids.masked_fill_(chosen, mask_id)
    targets = ids.clone()
    targets[~chosen] = -100
    return F.cross_entropy(after(ids, vectors, places), targets)


def wrong_asked_for_what_is_read(ids, chosen, vectors, places, mask_id):
    ids = ids.clone()
    hidden = ids
    hidden[chosen] = mask_id
    targets = ids.masked_fill(~chosen, -100)
    return F.cross_entropy(after(hidden, vectors, places), targets)


def wrong_everything_asked(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, mask_id)
    return F.cross_entropy(after(hidden, vectors, places), ids)


def wrong_everything_read_asked(ids, chosen, vectors, places, mask_id):
    hidden = ids.clone()
    hidden[chosen] = mask_id
    return F.cross_entropy(after(hidden, vectors, places), hidden)


def wrong_asked_where_seen(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, mask_id)
    targets = torch.where(chosen, -100, ids)
    return F.cross_entropy(after(hidden, vectors, places), targets)


def wrong_nothing_hidden(ids, chosen, vectors, places, mask_id):
    targets = ids.masked_fill(~chosen, -100)
    return F.cross_entropy(after(ids, vectors, places), targets)


def wrong_the_others_hidden(ids, chosen, vectors, places, mask_id):
    hidden = torch.where(chosen, ids, mask_id)
    return F.cross_entropy(after(hidden, vectors, places), ids.masked_fill(~chosen, -100))


def wrong_everything_hidden(ids, chosen, vectors, places, mask_id):
    hidden = ids.clone()
    hidden[:] = mask_id
    return F.cross_entropy(after(hidden, vectors, places), ids.masked_fill(~chosen, -100))


def wrong_zero_for_the_sign(ids, chosen, vectors, places, mask_id):
    hidden = ids * (~chosen)
    return F.cross_entropy(after(hidden, vectors, places), ids.masked_fill(~chosen, -100))


def wrong_zero_for_nothing(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, mask_id)
    return F.cross_entropy(after(hidden, vectors, places), ids * chosen)


def wrong_divided_by_all_places(ids, chosen, vectors, places, mask_id):
    logits = after(ids.masked_fill(chosen, mask_id), vectors, places).permute(0, 2, 1)
    nats = F.cross_entropy(logits[chosen], ids[chosen], reduction="sum")
    return nats / ids.numel()


def wrong_sum_for_mean(ids, chosen, vectors, places, mask_id):
    logits = after(ids.masked_fill(chosen, mask_id), vectors, places).permute(0, 2, 1)
    return F.cross_entropy(logits[chosen], ids[chosen], reduction="sum")


def wrong_each_text_alike(ids, chosen, vectors, places, mask_id):
    rows = [i for i in range(len(ids)) if chosen[i].any()]
    parts = [right_where(ids[i : i + 1], chosen[i : i + 1], vectors, places, mask_id) for i in rows]
    return sum(parts) / len(parts)


def wrong_first_text_only(ids, chosen, vectors, places, mask_id):
    return right_where(ids[:1], chosen[:1], vectors, places, mask_id)


def wrong_softmax_before_the_loss(ids, chosen, vectors, places, mask_id):
    p = after(ids.masked_fill(chosen, mask_id), vectors, places).softmax(dim=1)
    return F.cross_entropy(p, ids.masked_fill(~chosen, -100))


def wrong_reshape_for_transpose(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, mask_id)
    logits = read_both_sides(hidden, vectors, places) @ vectors.T
    batch, length, pieces = logits.shape
    targets = ids.masked_fill(~chosen, -100)
    return F.cross_entropy(logits.view(batch, pieces, length), targets)


def wrong_next_piece_asked(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, mask_id)
    targets = ids.masked_fill(~chosen, -100)
    logits = read_both_sides(hidden, vectors, places) @ vectors.T
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def wrong_left_side_only(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, mask_id)
    x = vectors[hidden] + places[: ids.shape[1]]
    x = x + F.scaled_dot_product_attention(x, x, x, is_causal=True)
    return F.cross_entropy((x @ vectors.T)[chosen], ids[chosen])


def wrong_edits_its_input(ids, chosen, vectors, places, mask_id):
    targets = ids.masked_fill(~chosen, -100)
    ids[chosen] = mask_id
    return F.cross_entropy(after(ids, vectors, places), targets)


def wrong_detached(ids, chosen, vectors, places, mask_id):
    return right_clone(ids, chosen, vectors.detach(), places.detach(), mask_id)


def wrong_other_gradient(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, mask_id)
    states = read_both_sides(hidden, vectors, places)
    logits = states @ vectors.detach().T
    return F.cross_entropy(logits[chosen], ids[chosen])


def wrong_other_kind(ids, chosen, vectors, places, mask_id):
    return right_clone(ids, chosen, vectors, places, mask_id).item()


def wrong_dtype_fixed(ids, chosen, vectors, places, mask_id):
    return right_clone(ids, chosen, vectors.float(), places.float(), mask_id)


def wrong_raises(ids, chosen, vectors, places, mask_id):
    hidden = ids.masked_fill(chosen, "[MASK]")
    return F.cross_entropy(after(hidden, vectors, places), ids.masked_fill(~chosen, -100))
