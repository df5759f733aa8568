"""Answers to `rnn_step`: what right and wrong ones look like in the wild."""

import torch
from torch import nn
from torch.nn import functional as F


def right_linear(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return torch.tanh(F.linear(inputs, weight_ih, bias_ih) + F.linear(hidden, weight_hh, bias_hh))


def right_matmul(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return (inputs @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh).tanh()


def right_joined(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    both = torch.cat([inputs, hidden], dim=1)
    weights = torch.cat([weight_ih, weight_hh], dim=1)
    return torch.tanh(torch.addmm(bias_ih + bias_hh, both, weights.t()))


def right_loops(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    rows = []
    for x, h in zip(inputs, hidden, strict=True):
        numbers = []
        for j in range(len(bias_ih)):
            total = bias_ih[j] + bias_hh[j]
            for k in range(len(x)):
                total = total + weight_ih[j, k] * x[k]
            for k in range(len(h)):
                total = total + weight_hh[j, k] * h[k]
            numbers.append(torch.tanh(total))
        rows.append(torch.stack(numbers))
    return torch.stack(rows)


def right_einsum_and_logistic(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    a = torch.einsum("bi,hi->bh", inputs, weight_ih) + bias_ih
    b = torch.einsum("bk,hk->bh", hidden, weight_hh) + bias_hh
    return 2 * torch.sigmoid(2 * (a + b)) - 1


def right_torch_cell(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    cell = nn.RNNCell(inputs.shape[1], hidden.shape[1], dtype=inputs.dtype)
    parameters = {
        "weight_ih": weight_ih,
        "weight_hh": weight_hh,
        "bias_ih": bias_ih,
        "bias_hh": bias_hh,
    }
    return torch.func.functional_call(cell, parameters, (inputs, hidden))


def wrong_nothing_returned(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    hidden = torch.tanh(inputs @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh)


def wrong_no_tanh(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return inputs @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh


def wrong_logistic(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return 1 / (1 + torch.exp(-(inputs @ weight_ih.T + hidden @ weight_hh.T + bias_ih + bias_hh)))


def wrong_rectified(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return F.relu(inputs @ weight_ih.mT + hidden @ weight_hh.mT + bias_ih + bias_hh)


def wrong_softmax(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return F.softmax(inputs @ weight_ih.T + hidden @ weight_hh.T + bias_ih + bias_hh, dim=1)


def wrong_no_transpose(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    from_input = torch.addmm(bias_ih, inputs, weight_ih.t())
    from_hidden = torch.addmm(bias_hh, hidden, weight_hh)
    return torch.tanh(from_input + from_hidden)


def wrong_state_forgotten(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return (inputs @ weight_ih.T + bias_ih).tanh()


def wrong_word_forgotten(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return (hidden @ weight_hh.T + bias_hh).tanh()


def wrong_bias_forgotten(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return torch.tanh(inputs @ weight_ih.T + bias_ih + hidden @ weight_hh.T)


def wrong_bias_twice(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return torch.tanh(inputs @ weight_ih.T + hidden @ weight_hh.T + 2 * bias_ih)


def wrong_tanh_of_each(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    from_input = torch.tanh(inputs @ weight_ih.T + bias_ih)
    from_hidden = torch.tanh(hidden @ weight_hh.T + bias_hh)
    return from_input + from_hidden


def wrong_tanh_of_one(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return inputs @ weight_ih.T + bias_ih + torch.tanh(hidden @ weight_hh.T + bias_hh)


def wrong_tanh_of_the_word(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return (inputs @ weight_ih.T + bias_ih).tanh() + hidden @ weight_hh.T + bias_hh


def wrong_old_state_squashed_again(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    squashed = torch.tanh(hidden)
    return torch.tanh(inputs @ weight_ih.T + bias_ih + squashed @ weight_hh.T + bias_hh)


def wrong_old_state_added(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    new = torch.tanh(inputs @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh)
    return torch.add(new, hidden)


def wrong_multiplied(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return torch.tanh((inputs @ weight_ih.T + bias_ih) * (hidden @ weight_hh.T + bias_hh))


def wrong_first_state_for_all(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    state = hidden[0]
    rows = [torch.tanh(weight_ih @ x + bias_ih + weight_hh @ state + bias_hh) for x in inputs]
    return torch.stack(rows)


def wrong_batch_mixed(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    from_hidden = torch.einsum("bk,hk->h", hidden, weight_hh) + bias_hh
    return torch.tanh(inputs @ weight_ih.T + bias_ih + from_hidden)


def wrong_tanh_overflows(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    a = inputs @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh
    return (torch.exp(a) - torch.exp(-a)) / (torch.exp(a) + torch.exp(-a))


def wrong_squeezed(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return right_matmul(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh).squeeze()


def wrong_edits_its_input(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    new = right_matmul(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    hidden.data.copy_(new)
    return new


def wrong_dtype_fixed(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    new = torch.zeros(hidden.shape)
    new[:] = right_matmul(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    return new


def wrong_detached(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    with torch.no_grad():
        return right_linear(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh)


def wrong_other_gradient(inputs, hidden, weight_ih, weight_hh, bias_ih, bias_hh):
    return right_linear(inputs, hidden.detach(), weight_ih, weight_hh, bias_ih, bias_hh)
