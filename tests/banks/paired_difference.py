"""Answers to `paired_difference`: what right and wrong ones look like in the wild."""

import math
import statistics

import numpy as np
import torch


def diff(first, second):
    return (first - second).mean()


def ends(values, low=2.5, high=97.5):
    cut = np.percentile(values.numpy(), [low, high])
    return tuple(values.new_tensor(x) for x in cut)


def right_numpy(first, second, draws):
    gaps = (first - second)[draws].mean(1)
    return (diff(first, second), *ends(gaps))


def right_sorted(first, second, draws):
    gaps, _ = torch.sort(first[draws].mean(-1) - second[draws].mean(-1))
    n = len(gaps)
    return first.mean() - second.mean(), gaps[int(0.025 * n)], gaps[int(0.975 * n)]


def right_loops(first, second, draws):
    gaps = []
    for row in draws:
        mine = sum(first[i] for i in row) / len(row)
        other = sum(second[i] for i in row) / len(row)
        gaps.append(mine - other)
    gaps = torch.stack(gaps)
    cut = gaps.quantile(gaps.new_tensor([0.025, 0.975]))
    return sum(first - second) / len(first), cut[0], cut[1]


def right_counts(first, second, draws):
    counts = torch.nn.functional.one_hot(draws, len(first)).sum(1).to(first.dtype)
    gaps = counts @ (first - second) / len(first)
    cut = round(0.025 * (len(gaps) - 1)) + 1
    return diff(first, second), gaps.kthvalue(cut).values, gaps.kthvalue(len(gaps) + 1 - cut).values


def wrong_nothing_returned(first, second, draws):
    diff(first, second)


def wrong_intervals_subtracted(first, second, draws):
    a, b = first[draws].mean(1), second[draws].mean(1)
    low_a, high_a = ends(a)
    low_b, high_b = ends(b)
    return diff(first, second), low_a - low_b, high_a - high_b


def wrong_worst_cases_subtracted(first, second, draws):
    a, b = first[draws].mean(1), second[draws].mean(1)
    low_a, high_a = ends(a)
    low_b, high_b = ends(b)
    return diff(first, second), low_a - high_b, high_a - low_b


def wrong_drawn_apart(first, second, draws):
    other = torch.cat([draws[1:], draws[:1]])
    return (diff(first, second), *ends(first[draws].mean(1) - second[other].mean(1)))


def wrong_only_the_first_drawn(first, second, draws):
    gaps = torch.stack([first[row].mean() - second.mean() for row in draws])
    return (diff(first, second), *ends(gaps))


def wrong_only_the_second_drawn(first, second, draws):
    gaps = torch.stack([first.mean() - second[row].mean() for row in draws])
    return (diff(first, second), *ends(gaps))


def wrong_sign_turned(first, second, draws):
    return right_numpy(second, first, draws)


def wrong_without_a_sign(first, second, draws):
    gaps = torch.abs((first - second)[draws].mean(1))
    return (torch.abs(diff(first, second)), *ends(gaps))


def wrong_five_at_each_end(first, second, draws):
    return (diff(first, second), *ends((first - second)[draws].mean(1), 5, 95))


def wrong_smallest_and_largest(first, second, draws):
    gaps = (first - second)[draws].mean(1)
    return diff(first, second), gaps.min(), gaps.max()


def wrong_quartiles(first, second, draws):
    return (diff(first, second), *ends((first - second)[draws].mean(1), 25, 75))


def wrong_normal_interval(first, second, draws):
    gaps = (first - second)[draws].mean(1)
    half = 1.96 * gaps.sub(gaps.mean()).square().sum().div(len(gaps) - 1).sqrt()
    return diff(first, second), diff(first, second) - half, diff(first, second) + half


def wrong_error_of_the_draws(first, second, draws):
    gaps = (first - second)[draws].mean(1)
    half = 1.96 * statistics.stdev(gaps.tolist()) / math.sqrt(len(gaps))
    return diff(first, second), diff(first, second) - half, diff(first, second) + half


def wrong_mean_of_the_draws(first, second, draws):
    gaps = (first - second)[draws].mean(1)
    return (gaps.mean(), *ends(gaps))


def wrong_mean_over_draws(first, second, draws):
    return (diff(first, second), *ends((first - second)[draws].mean(0)))


def wrong_single_sentences(first, second, draws):
    return (diff(first, second), *ends((first[draws] - second[draws]).reshape(-1)))


def wrong_not_drawn(first, second, draws):
    return (diff(first, second), *ends(first - second))


def wrong_summed(first, second, draws):
    gaps = first[draws].sum(1) - second[draws].sum(1)
    return (sum(first) - sum(second), *ends(gaps))


def wrong_repeats_left_out(first, second, draws):
    gaps = [diff(first[list(set(r))], second[list(set(r))]) for r in draws.tolist()]
    return (diff(first, second), *ends(torch.stack(gaps)))


def wrong_results_swapped(first, second, draws):
    return right_numpy(first, second, draws)[::-1]


def wrong_other_kind(first, second, draws):
    return [float(x) for x in right_numpy(first, second, draws)]


def wrong_dtype_fixed(first, second, draws):
    return right_numpy(first.float(), second.float(), draws)


def wrong_edits_its_input(first, second, draws):
    first -= second
    return (first.mean(), *ends(first[draws].mean(1)))


def wrong_raises(first, second, draws):
    return diff(first, second), *torch.quantile(first[draws] - second[draws], (0.025, 0.975))
