"""Answers to `attention_context`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F


def right_bmm(weights, values):
    return torch.bmm(weights, values)


def right_einsum(weights, values):
    return torch.einsum("bts,bsw->btw", weights, values)


def right_broadcast(weights, values):
    return (weights[..., None] * values[:, None]).sum(2)


def right_loops(weights, values):
    batch, target, source = weights.shape
    sentences = []
    for b in range(batch):
        steps = []
        for t in range(target):
            context = torch.zeros_like(values[b, 0])
            for s in range(source):
                context = context + weights[b, t, s] * values[b, s]
            steps.append(context)
        sentences.append(torch.stack(steps))
    return torch.stack(sentences)


def wrong_nothing_returned(weights, values):
    pass


def wrong_weights_transposed(weights, values):
    return torch.einsum("bst,bsw->btw", weights, values)


def wrong_element_by_element(weights, values):
    return torch.mul(values, weights)


def wrong_mean_over_source(weights, values):
    return (weights.unsqueeze(-1) * values.unsqueeze(1)).mean(dim=2)


def wrong_uniform(weights, values):
    same = torch.full_like(weights, 1 / values.shape[1])
    return same @ values


def wrong_only_the_largest(weights, values):
    picked = []
    for w, v in zip(weights, values, strict=True):
        picked.append(v[w.argmax(dim=1)])
    return torch.stack(picked)


def wrong_softmax_again(weights, values):
    return torch.bmm(F.softmax(weights, dim=2), values)


def wrong_renormalized(weights, values):
    normal = weights.div(weights.sum(2, keepdim=True))
    return torch.bmm(normal, values)


def wrong_first_sentence_for_all(weights, values):
    return torch.einsum("bts,sw->btw", weights, values[0])


def wrong_batch_mixed(weights, values):
    return weights @ values.sum(dim=0)


def wrong_last_step_only(weights, values):
    final = torch.einsum("bs,bsw->bw", weights[:, -1], values)
    return final[:, None, :].repeat(1, weights.size(1), 1)


def wrong_summed_over_steps(weights, values):
    return torch.einsum("bts,bsw->bw", weights, values)


def wrong_not_summed(weights, values):
    return torch.einsum("bts,bsw->btsw", weights, values)


def wrong_summed_over_width(weights, values):
    return torch.einsum("bts,bsw->bts", weights, values)


def wrong_reshape_for_transpose(weights, values):
    b, t, s = weights.shape
    turned = weights.contiguous().view(b, s, t)
    return torch.einsum("bst,bsw->btw", turned, values)


def wrong_square_of_weights(weights, values):
    return torch.bmm(weights.pow(2), values)


def wrong_last_word_dropped(weights, values):
    n = values.shape[1] - 1
    return torch.bmm(weights[:, :, :n], values[:, :n, :])


def wrong_squeezed(weights, values):
    return torch.bmm(weights, values).squeeze(0)


def wrong_dtype_fixed(weights, values):
    return weights.float() @ values.float()


def wrong_detached(weights, values):
    with torch.no_grad():
        return weights @ values


def wrong_other_gradient(weights, values):
    return weights.detach() @ values


def wrong_other_kind(weights, values):
    return (weights @ values).tolist()


def wrong_edits_its_input(weights, values):
    context = weights @ values
    values.zero_()
    return context


def wrong_order_lost(weights, values):
    rows = [w @ v for w, v in zip(weights, values, strict=True)]
    return torch.stack(rows[::-1])
