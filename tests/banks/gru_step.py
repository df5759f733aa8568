"""Answers to `gru_step`: what right and wrong ones look like in the wild."""

import torch
from torch import nn
from torch.nn import functional as F


def sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    """The six sums by slices: reset, update, candidate of the word, then of the state."""
    n = hidden.shape[1]
    a = inputs @ weight_ih.T + bias_ih
    b = hidden @ weight_hh.T + bias_hh
    return a[:, :n], a[:, n : 2 * n], a[:, 2 * n :], b[:, :n], b[:, n : 2 * n], b[:, 2 * n :]


def right_slices(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, az, an, br, bz, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    r, z = torch.sigmoid(ar + br), torch.sigmoid(az + bz)
    n = torch.tanh(an + r * bn)
    return n + z * (hidden - n)


def right_separate_matrices(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    w_r, w_z, w_n = weight_ih.chunk(3)
    u_r, u_z, u_n = weight_hh.chunk(3)
    b_r, b_z, b_n = bias_ih.chunk(3)
    c_r, c_z, c_n = bias_hh.chunk(3)
    r = torch.sigmoid(F.linear(inputs, w_r, b_r) + F.linear(hidden, u_r, c_r))
    z = torch.sigmoid(F.linear(inputs, w_z, b_z) + F.linear(hidden, u_z, c_z))
    n = torch.tanh(F.linear(inputs, w_n, b_n) + r * F.linear(hidden, u_n, c_n))
    return torch.lerp(n, hidden, z)


def right_sentence_by_sentence(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    size = hidden.shape[1]
    rows = []
    for x, h in zip(inputs, hidden, strict=True):
        a, b = weight_ih @ x + bias_ih, weight_hh @ h + bias_hh
        numbers = []
        for j in range(size):
            r = torch.sigmoid(a[j] + b[j])
            z = torch.sigmoid(a[size + j] + b[size + j])
            n = torch.tanh(a[2 * size + j] + r * b[2 * size + j])
            numbers.append((1 - z) * n + z * h[j])
        rows.append(torch.stack(numbers))
    return torch.stack(rows)


def right_einsum(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    size = hidden.shape[1]
    a = torch.einsum("bi,ghi->gbh", inputs, weight_ih.view(3, size, -1))
    b = torch.einsum("bk,ghk->gbh", hidden, weight_hh.view(3, size, size))
    a, b = a + bias_ih.view(3, 1, size), b + bias_hh.view(3, 1, size)
    r, z = (a[:2] + b[:2]).sigmoid()
    return (1 - z) * (a[2] + r * b[2]).tanh() + z * hidden


def right_torch_cell(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    cell = nn.GRUCell(inputs.shape[1], hidden.shape[1], dtype=inputs.dtype)
    parameters = {
        "weight_ih": weight_ih,
        "weight_hh": weight_hh,
        "bias_ih": bias_ih,
        "bias_hh": bias_hh,
    }
    return torch.func.functional_call(cell, parameters, (inputs, hidden))


def wrong_nothing_returned(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh): ...


def wrong_gates_exchanged(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    az, ar, an, bz, br, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    z, r = torch.sigmoid(az + bz), torch.sigmoid(ar + br)
    n = torch.tanh(an + r * bn)
    return (1 - z) * n + z * hidden


def wrong_candidate_first(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    an, ar, az, bn, br, bz = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    z, r = torch.sigmoid(az + bz), torch.sigmoid(ar + br)
    n = torch.tanh(an + r * bn)
    return (1 - z) * n + z * hidden


def wrong_update_inverted(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, az, an, br, bz, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    r, z = torch.sigmoid(ar + br), torch.sigmoid(az + bz)
    n = torch.tanh(an + r * bn)
    return z * n + (1 - z) * hidden


def wrong_reset_before_the_matrix(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    w_r, w_z, w_n = weight_ih.chunk(3)
    u_r, u_z, u_n = weight_hh.chunk(3)
    b_r, b_z, b_n = (bias_ih + bias_hh).chunk(3)
    r = torch.sigmoid(inputs @ w_r.T + hidden @ u_r.T + b_r)
    z = torch.sigmoid(inputs @ w_z.T + hidden @ u_z.T + b_z)
    n = torch.tanh(inputs @ w_n.T + (r * hidden) @ u_n.T + b_n)
    return (1 - z) * n + z * hidden


def wrong_bias_outside_the_reset(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    w_r, w_z, w_n = weight_ih.chunk(3)
    u_r, u_z, u_n = weight_hh.chunk(3)
    b_r, b_z, b_n = (bias_ih + bias_hh).chunk(3)
    r = torch.sigmoid(inputs @ w_r.T + hidden @ u_r.T + b_r)
    z = torch.sigmoid(inputs @ w_z.T + hidden @ u_z.T + b_z)
    n = torch.tanh(inputs @ w_n.T + r * (hidden @ u_n.T) + b_n)
    return (1 - z) * n + z * hidden


def wrong_reset_on_the_word_too(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, az, an, br, bz, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    r, z = torch.sigmoid(ar + br), torch.sigmoid(az + bz)
    n = torch.tanh(r * (an + bn))
    return (1 - z) * n + z * hidden


def wrong_no_reset(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    r, z, n = (inputs @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh).chunk(3, dim=1)
    r, z = torch.sigmoid(r), torch.sigmoid(z)
    return (1 - z) * torch.tanh(n) + z * hidden


def wrong_update_in_the_candidate(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    _, az, an, _, bz, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    z = torch.sigmoid(az + bz)
    return (1 - z) * torch.tanh(an + z * bn) + z * hidden


def wrong_candidate_only(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, _, an, br, _, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    return torch.tanh(an + torch.sigmoid(ar + br) * bn)


def wrong_old_state_whole(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, az, an, br, bz, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    r, z = torch.sigmoid(ar + br), torch.sigmoid(az + bz)
    n = torch.tanh(an + r * bn)
    return hidden + (1 - z) * n


def wrong_reset_on_what_is_kept(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, az, an, br, bz, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    r, z = torch.sigmoid(ar + br), torch.sigmoid(az + bz)
    n = torch.tanh(an + r * bn)
    return (1 - z) * n + z * (r * hidden)


def wrong_gates_blind_to_the_state(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, az, an, _, _, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    r, z = torch.sigmoid(ar), torch.sigmoid(az)
    return (1 - z) * torch.tanh(an + r * bn) + z * hidden


def wrong_gates_by_tanh(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, az, an, br, bz, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    r, z = (ar + br).tanh(), (az + bz).tanh()
    n = (an + r * bn).tanh()
    return (1 - z) * n + z * hidden


def wrong_candidate_by_sigmoid(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    ar, az, an, br, bz, bn = sums(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    r, z = F.sigmoid(ar + br), F.sigmoid(az + bz)
    n = F.sigmoid(an + r * bn)
    return (1 - z) * n + z * hidden


def wrong_tanh_after_the_blend(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return right_slices(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh).tanh()


def wrong_two_gates_as_in_an_lstm(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    a = inputs @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh
    forget, write, candidate = a.chunk(3, dim=1)
    return torch.sigmoid(forget) * hidden + torch.sigmoid(write) * torch.tanh(candidate)


def wrong_biases_forgotten(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    a = F.linear(inputs, weight_ih, bias_ih).chunk(3, dim=-1)
    b = F.linear(hidden, weight_hh).chunk(3, dim=-1)
    r, z = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
    return (1 - z) * torch.tanh(a[2] + r * b[2]) + z * hidden


def wrong_dealt_out_in_turn(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    a = F.linear(inputs, weight_ih, bias_ih)
    b = F.linear(hidden, weight_hh, bias_hh)
    r = torch.sigmoid(a[:, 0::3] + b[:, 0::3])
    z = torch.sigmoid(a[:, 1::3] + b[:, 1::3])
    return (1 - z) * torch.tanh(a[:, 2::3] + r * b[:, 2::3]) + z * hidden


def wrong_squeezed(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return right_einsum(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh).squeeze()


def wrong_edits_its_input(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    new = right_slices(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    hidden.data.copy_(new)
    return new


def wrong_dtype_fixed(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    given = (inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    return right_slices(*(x.to(torch.float32) for x in given))


def wrong_other_gradient(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return right_slices(inputs, hidden.detach(), weight_ih, weight_hh, bias_ih, bias_hh)


def wrong_detached(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return torch.gru_cell(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh).data


def wrong_other_kind(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    new = right_slices(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    return new, new


def wrong_raises(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    r = torch.sigmoid(inputs @ weight_ih + bias_ih + hidden @ weight_hh + bias_hh)
    return r * hidden
