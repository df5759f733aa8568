"""Answers to `pre_norm_block`: what right and wrong ones look like in the wild."""

import torch
from torch import nn
from torch.nn import functional as F

from attnbook.exercises.transformer import ask_others, think_over


def right_layer_norm(states, mask, attention, network, gains, biases):
    shape = (states.size(-1),)
    x = states + ask_others(F.layer_norm(states, shape, gains[0], biases[0]), mask, attention)
    return x + think_over(F.layer_norm(x, shape, gains[1], biases[1], eps=1e-5), network)


def right_by_hand(states, mask, attention, network, gains, biases):
    def norm(x, row):
        mean = x.mean(dim=-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
        return (x - mean) / (variance + 1e-5) ** 0.5 * gains[row] + biases[row]

    states = states + ask_others(norm(states, 0), mask, attention)
    return states + think_over(norm(states, 1), network)


def right_loop_over_sublayers(states, mask, attention, network, gains, biases):
    functions = (lambda x: ask_others(x, mask, attention), lambda x: think_over(x, network))
    for function, gain, bias in zip(functions, gains, biases, strict=True):
        variance, mean = torch.var_mean(states, dim=2, correction=0, keepdim=True)
        states = states + function(
            torch.addcmul(bias, (states - mean) * variance.add(1e-5).rsqrt(), gain)
        )
    return states


def right_word_by_word(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        rows = []
        for word in x.reshape(-1, x.shape[-1]):
            centred = word - word.sum() / len(word)
            rows.append(centred / torch.sqrt((centred @ centred) / len(word) + 1e-5) * gain + bias)
        return torch.stack(rows).reshape(x.shape)

    found = ask_others(norm(states, gains[0], biases[0]), mask, attention)
    middle = found + states
    return think_over(norm(middle, gains[1], biases[1]), network) + middle


def right_module(states, mask, attention, network, gains, biases):
    norm = nn.LayerNorm(states.shape[-1], elementwise_affine=False)
    first = norm(states) * gains[0] + biases[0]
    after = states + ask_others(first, mask, attention)
    second = norm(after) * gains[1] + biases[1]
    return after + think_over(second, network)


def n(x, gain, bias):
    mean = x.mean(-1, keepdim=True)
    std = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)
    return gain * (x - mean) / std + bias


def wrong_nothing_returned(states, mask, attention, network, gains, biases):
    x = n(states, gains[0], biases[0])
    states = states + ask_others(x, mask, attention)
    print(states.shape)


def wrong_post_norm(states, mask, attention, network, gains, biases):
    out = ask_others(states, mask, attention)
    states = F.layer_norm(states + out, (states.shape[-1],), gains[0], biases[0])
    out = think_over(states, network)
    return F.layer_norm(states + out, (states.shape[-1],), gains[1], biases[1])


def wrong_normed_after_the_function(states, mask, attention, network, gains, biases):
    states = states + n(ask_others(states, mask, attention), gains[0], biases[0])
    return states + n(think_over(states, network), gains[1], biases[1])


def wrong_normed_twice(states, mask, attention, network, gains, biases):
    g, b = gains, biases
    states = n(states + ask_others(n(states, g[0], b[0]), mask, attention), g[0], b[0])
    return n(states + think_over(n(states, g[1], b[1]), network), g[1], b[1])


def wrong_no_norm(states, mask, attention, network, gains, biases):
    states = torch.add(states, ask_others(states, mask, attention))
    return torch.add(states, think_over(states, network))


def wrong_only_the_attention_normed(states, mask, attention, network, gains, biases):
    x = n(states, gains[0], biases[0])
    y = states + ask_others(x, mask, attention)
    return y + think_over(y, network)


def wrong_first_sum_missing(states, mask, attention, network, gains, biases):
    x = n(states, gains[0], biases[0])
    x = ask_others(x, mask, attention)
    return x + think_over(n(x, gains[1], biases[1]), network)


def wrong_second_sum_missing(states, mask, attention, network, gains, biases):
    states = states + ask_others(n(states, gains[0], biases[0]), mask, attention)
    states = n(states, gains[1], biases[1])
    return think_over(states, network)


def wrong_no_sum(states, mask, attention, network, gains, biases):
    x = F.layer_norm(states, states.shape[2:], gains[0], biases[0])
    x = ask_others(x, mask, attention)
    x = F.layer_norm(x, x.shape[2:], gains[1], biases[1])
    return think_over(x, network)


def wrong_sum_with_the_normed(states, mask, attention, network, gains, biases):
    states = n(states, gains[0], biases[0])
    states = states + ask_others(states, mask, attention)
    states = n(states, gains[1], biases[1])
    return states + think_over(states, network)


def wrong_second_sum_with_the_first_states(states, mask, attention, network, gains, biases):
    x = states + ask_others(n(states, gains[0], biases[0]), mask, attention)
    x = think_over(n(x, gains[1], biases[1]), network)
    return states + x


def wrong_side_by_side(states, mask, attention, network, gains, biases):
    asked = ask_others(n(states, gains[0], biases[0]), mask, attention)
    thought = think_over(n(states, gains[1], biases[1]), network)
    return states + asked + thought


def wrong_network_first(states, mask, attention, network, gains, biases):
    states = states + think_over(n(states, gains[1], biases[1]), network)
    return states + ask_others(n(states, gains[0], biases[0]), mask, attention)


def wrong_norms_exchanged(states, mask, attention, network, gains, biases):
    second, first = zip(gains, biases, strict=True)
    states = states + ask_others(n(states, *first), mask, attention)
    return states + think_over(n(states, *second), network)


def wrong_one_norm_for_both(states, mask, attention, network, gains, biases):
    gain, bias = gains[0], biases[0]
    for f in (lambda x: ask_others(x, mask, attention), lambda x: think_over(x, network)):
        states = states + f(n(states, gain, bias))
    return states


def wrong_gains_and_biases_forgotten(states, mask, attention, network, gains, biases):
    norm = nn.LayerNorm(states.shape[-1], dtype=states.dtype)
    states = states + ask_others(norm(states), mask, attention)
    return states + think_over(norm(states), network)


def wrong_biases_forgotten(states, mask, attention, network, gains, biases):
    w = states.shape[-1:]
    states = states + ask_others(F.layer_norm(states, w) * gains[0], mask, attention)
    return states + think_over(F.layer_norm(states, w) * gains[1], network)


def wrong_mask_forgotten(states, mask, attention, network, gains, biases):
    everyone = torch.full(states.shape[:2], True)
    states = states + ask_others(n(states, gains[0], biases[0]), everyone, attention)
    return states + think_over(n(states, gains[1], biases[1]), network)


def wrong_normed_over_the_batch(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        flat = x.reshape(-1, x.shape[-1])
        centred = flat - flat.mean(dim=0)
        return (centred / (centred.pow(2).mean(dim=0) + 1e-5).sqrt()).view_as(x) * gain + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_normed_over_the_sentence(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        return F.layer_norm(x, x.shape[1:]) * gain + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_normed_over_the_words(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        return F.layer_norm(x.transpose(1, 2), x.shape[1:2]).transpose(1, 2) * gain + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_divided_by_one_less(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        return gain * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5) + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_no_root(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        variance, mean = torch.var_mean(x, -1, unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5) * gain + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_mean_left_in(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        return x * torch.rsqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5) * gain + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_root_mean_square(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        return F.rms_norm(x, x.shape[-1:], gain, eps=1e-5) + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_nothing_under_the_root(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True) * gain + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_added_behind_the_root(states, mask, attention, network, gains, biases):
    def norm(x, gain, bias):
        std = x.std(-1, correction=0, keepdim=True)
        return (x - x.mean(-1, keepdim=True)) / (std + 1e-5) * gain + bias

    states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
    return states + think_over(norm(states, gains[1], biases[1]), network)


def wrong_edits_its_input(states, mask, attention, network, gains, biases):
    states += ask_others(n(states, gains[0], biases[0]), mask, attention)
    states += think_over(n(states, gains[1], biases[1]), network)
    return states


def wrong_detached(states, mask, attention, network, gains, biases):
    with torch.no_grad():
        return right_by_hand(states, mask, attention, network, gains, biases)


def wrong_other_gradient(states, mask, attention, network, gains, biases):
    states = states + ask_others(n(states.detach(), gains[0], biases[0]), mask, attention)
    return states + think_over(n(states, gains[1], biases[1]), network)


def wrong_dtype_fixed(states, mask, attention, network, gains, biases):
    return right_by_hand(states, mask, attention, network, gains, biases).float()


def wrong_squeezed(states, mask, attention, network, gains, biases):
    return right_by_hand(states, mask, attention, network, gains, biases).squeeze()


def wrong_raises(states, mask, attention, network, gains, biases):
    norm = nn.LayerNorm(512)
    states = states + ask_others(norm(states), mask, attention)
    return states + think_over(norm(states), network)
