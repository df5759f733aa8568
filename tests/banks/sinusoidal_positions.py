"""Answers to `sinusoidal_positions`: what right and wrong ones look like in the wild."""

import math

import numpy as np
import torch


def right_slices(length, width, start=0):
    table = torch.zeros(length, width)
    position = torch.arange(start, start + length, dtype=torch.float).unsqueeze(1)
    pace = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    table[:, 0::2] = torch.sin(position * pace)
    table[:, 1::2] = torch.cos(position * pace)
    return table


def right_loops(length, width, start=0):
    rows = []
    for t in range(start, start + length):
        row = []
        for k in range(width // 2):
            angle = t / 10000 ** (2 * k / width)
            row += [math.sin(angle), math.cos(angle)]
        rows.append(row)
    return torch.tensor(rows)


def right_phase(length, width, start=0):
    column = torch.arange(width)
    pace = 10000.0 ** (-(column - column % 2) / width)
    angles = torch.outer(torch.arange(start, start + length).float(), pace)
    return torch.sin(angles + math.pi / 2 * (column % 2))


def right_complex(length, width, start=0):
    pace = 10000.0 ** (-torch.arange(0, width, 2).double() / width)
    angles = torch.arange(start, start + length).double()[:, None] * pace
    turned = torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flip(-1).reshape(length, width).float()


def right_numpy(length, width, start=0):
    i = np.arange(width)
    angles = np.arange(start, start + length)[:, None] / 10000 ** (2 * (i // 2) / width)
    return torch.from_numpy(np.where(i % 2, np.cos(angles), np.sin(angles))).float()


def angles(length, width, start, exponents):
    t = torch.arange(start, start + length, dtype=torch.float64).unsqueeze(1)
    return t / torch.pow(torch.tensor(10000.0, dtype=torch.float64), exponents)


def pairs(width):
    return torch.arange(0, width, 2, dtype=torch.float64) / width


def filled(found):
    table = torch.empty(found.shape[0], 2 * found.shape[1])
    table[:, ::2] = found.sin()
    table[:, 1::2] = found.cos()
    return table


def wrong_nothing_returned(length, width, start=0):
    filled(angles(length, width, start, pairs(width)))


def wrong_halves_not_pairs(length, width, start=0):
    found = angles(length, width, start, pairs(width))
    table = torch.zeros(length, width)
    table[:, : width // 2] = found.sin()
    table[:, width // 2 :] = found.cos()
    return table


def wrong_cosine_first(length, width, start=0):
    found = angles(length, width, start, pairs(width))
    table = torch.zeros(length, width)
    table[:, 1::2] = found.sin()
    table[:, 0::2] = found.cos()
    return table


def wrong_sines_only(length, width, start=0):
    return angles(length, width, start, pairs(width)).sin().repeat_interleave(2, dim=1).float()


def wrong_pace_for_each_column(length, width, start=0):
    rows = []
    for t in range(start, start + length):
        row = [t / 10000 ** (i / width) for i in range(width)]
        rows.append([math.cos(a) if i % 2 else math.sin(a) for i, a in enumerate(row)])
    return torch.tensor(rows)


def wrong_doubled_twice(length, width, start=0):
    table = torch.zeros(length, width)
    for row, t in enumerate(range(start, start + length)):
        for i in range(0, width, 2):
            table[row, i] = math.sin(t / 10000 ** (2 * i / width))
            table[row, i + 1] = math.cos(t / 10000 ** (2 * i / width))
    return table


def wrong_two_forgotten(length, width, start=0):
    return filled(angles(length, width, start, torch.arange(width // 2) / width))


def wrong_paces_rise(length, width, start=0):
    return filled(angles(length, width, start, -pairs(width)))


def wrong_base_forgotten(length, width, start=0):
    t = torch.arange(start, start + length).unsqueeze(1)
    return filled(t * torch.exp(-pairs(width)))


def wrong_last_pace_fixed(length, width, start=0):
    half = width // 2
    step = math.log(10000) / (half - 1) if half > 1 else math.nan
    t = torch.arange(start, start + length).unsqueeze(1)
    return filled(t * torch.exp(-step * torch.arange(half, dtype=torch.float64)))


def wrong_length_for_width(length, width, start=0):
    return filled(angles(length, width, start, pairs(width) * width / length))


def wrong_pace_outside(length, width, start=0):
    table = torch.zeros(length, width)
    for row in range(length):
        for k in range(width // 2):
            pace = 1 / 10000 ** (2 * k / width)
            table[row, 2 * k] = pace * math.sin(row + start)
            table[row, 2 * k + 1] = pace * math.cos(row + start)
    return table


def wrong_full_turns(length, width, start=0):
    return filled(math.tau * angles(length, width, start, pairs(width)))


def wrong_counted_from_one(length, width, start=0):
    return filled(angles(length, width, start + 1, pairs(width)))


def wrong_start_ignored(length, width, start=0):
    return right_slices(length, width)


def wrong_length_taken_for_the_end(length, width, start=0):
    return right_slices(length, width)[start:]


def wrong_transposed(length, width, start=0):
    t = torch.arange(start, start + length)
    found = t / 10000 ** pairs(width).unsqueeze(1)
    return torch.stack([found.sin(), found.cos()], dim=1).flatten(0, 1).float()


def wrong_reshape_for_pairs(length, width, start=0):
    found = angles(length, width, start, pairs(width))
    return torch.cat([found.sin(), found.cos()]).view(length, width).float()


def wrong_axis_for_the_batch(length, width, start=0):
    return filled(angles(length, width, start, pairs(width)))[None]


def wrong_double_precision(length, width, start=0):
    i = np.arange(width)
    found = np.arange(start, start + length)[:, None] / 10000 ** (2 * (i // 2) / width)
    return torch.from_numpy(np.where(i % 2, np.cos(found), np.sin(found)))


def wrong_squeezed(length, width, start=0):
    return right_slices(length, width, start).squeeze()


def wrong_other_kind(length, width, start=0):
    return right_slices(length, width, start).tolist()


def wrong_order_lost(length, width, start=0):
    return right_slices(length, width, start).flip(0)
