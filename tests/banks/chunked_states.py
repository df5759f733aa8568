"""Answers to `chunked_states`: what right and wrong ones look like in the wild."""

import torch

from attnbook.exercises.recurrent import step


def run(words, hidden, weight_ih, weight_hh):
    """A loop over a list of words: the states as a list."""
    states = []
    for word in words:
        hidden = step(word, hidden, weight_ih, weight_hh)
        states.append(hidden)
    return states


def right_range(inputs, hidden, weight_ih, weight_hh, size):
    parts = []
    for begin in range(0, inputs.shape[1], size):
        states = run(inputs[:, begin : begin + size].unbind(1), hidden, weight_ih, weight_hh)
        parts.append(torch.stack(states, dim=1))
        hidden = states[-1].detach()
    return torch.cat(parts, dim=1)


def right_counting(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for t in range(inputs.size(1)):
        if t % size == 0:
            hidden = hidden.detach()
        hidden = torch.tanh(inputs[:, t] @ weight_ih.T + hidden @ weight_hh.T)
        states.append(hidden.unsqueeze(1))
    return torch.cat(states, dim=1)


def right_recursive(inputs, hidden, weight_ih, weight_hh, size):
    head, tail = inputs[:, :size], inputs[:, size:]
    states = torch.stack(run(head.unbind(1), hidden, weight_ih, weight_hh), dim=1)
    if tail.shape[1] == 0:
        return states
    later = right_recursive(tail, states[:, -1].data, weight_ih, weight_hh, size)
    return torch.cat([states, later], dim=1)


def right_torch_layer(inputs, hidden, weight_ih, weight_hh, size):
    layer = torch.nn.RNN(
        inputs.shape[2], hidden.shape[1], bias=False, batch_first=True, dtype=inputs.dtype
    )
    parameters = {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh}
    parts, state = [], hidden.unsqueeze(0)
    for chunk in inputs.split(size, dim=1):
        states, state = torch.func.functional_call(layer, parameters, (chunk, state.detach()))
        parts.append(states)
    return torch.cat(parts, dim=1)


def right_starts_first(inputs, hidden, weight_ih, weight_hh, size):
    with torch.no_grad():
        free = [hidden, *run(inputs.unbind(1), hidden, weight_ih, weight_hh)]
    states = []
    for begin in range(0, inputs.shape[1], size):
        words = inputs[:, begin : begin + size].unbind(1)
        states += run(words, free[begin], weight_ih, weight_hh)
    return torch.stack(states, dim=1)


def wrong_nothing_returned(inputs, hidden, weight_ih, weight_hh, size):
    for chunk in inputs.split(size, dim=1):
        hidden = run(chunk.unbind(1), hidden.detach(), weight_ih, weight_hh)[-1]


def wrong_state_not_detached(inputs, hidden, weight_ih, weight_hh, size):
    parts = []
    for begin in range(0, inputs.shape[1], size):
        states = run(inputs[:, begin : begin + size].unbind(1), hidden, weight_ih, weight_hh)
        parts.append(torch.stack(states, dim=1))
        hidden = states[-1]
    return torch.cat(parts, dim=1)


def wrong_detached_at_every_word(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for chunk in inputs.split(size, dim=1):
        for word in chunk.unbind(dim=1):
            states.append(step(word, hidden.detach(), weight_ih, weight_hh))
            hidden = states[-1]
    return torch.stack(states, dim=1)


def wrong_size_taken_for_count(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for chunk in torch.chunk(inputs, size, 1):
        states += run(chunk.unbind(1), hidden, weight_ih, weight_hh)
        hidden = states[-1].detach()
    return torch.stack(states, dim=1)


def wrong_split_along_the_batch(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for chunk in torch.split(inputs, size):
        states += run(chunk.unbind(1), hidden, weight_ih, weight_hh)
        hidden = states[-1].detach()
    return torch.stack(states, dim=1)


def wrong_border_one_late(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for t in range(inputs.shape[1]):
        state = step(inputs[:, t], hidden, weight_ih, weight_hh)
        states.append(state)
        hidden = state.detach() if t % size == 0 else state
    return torch.stack(states, dim=1)


def wrong_border_one_early(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for count in range(1, inputs.shape[1] + 1):
        if count % size == 0:
            hidden = hidden.detach()
        hidden = step(inputs[:, count - 1], hidden, weight_ih, weight_hh)
        states.append(hidden)
    return torch.stack(states, dim=1)


def wrong_border_state_cut_off(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for chunk in inputs.split(size, dim=1):
        hidden.detach_()
        for word in chunk.unbind(dim=1):
            hidden = step(word, hidden, weight_ih, weight_hh)
            states.append(hidden)
    return torch.stack(states, dim=1)


def wrong_only_last_chunk_learns(inputs, hidden, weight_ih, weight_hh, size):
    chunks = inputs.split(size, dim=1)
    states = []
    with torch.no_grad():
        for chunk in chunks[:-1]:
            states += run(chunk.unbind(1), hidden, weight_ih, weight_hh)
            hidden = states[-1]
    states += run(chunks[-1].unbind(1), hidden, weight_ih, weight_hh)
    return torch.stack(states, dim=1)


def wrong_words_detached(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for chunk in inputs.split(size, dim=1):
        states += run(chunk.detach().unbind(1), hidden, weight_ih, weight_hh)
        hidden = states[-1]
    return torch.stack(states, dim=1)


def wrong_start_in_every_chunk(inputs, hidden, weight_ih, weight_hh, size):
    parts = []
    for chunk in inputs.split(size, dim=1):
        parts += run(chunk.unbind(1), hidden.detach(), weight_ih, weight_hh)
    return torch.stack(parts, dim=1)


def wrong_zeros_in_every_chunk(inputs, hidden, weight_ih, weight_hh, size):
    parts = []
    for chunk in inputs.split(size, dim=1):
        hidden = hidden.new_zeros(hidden.shape)
        parts += run(chunk.unbind(1), hidden, weight_ih, weight_hh)
    return torch.stack(parts, dim=1)


def wrong_start_ignored(inputs, hidden, weight_ih, weight_hh, size):
    state = inputs.new_zeros(inputs.shape[0], weight_hh.shape[0])
    states = []
    for chunk in inputs.split(size, dim=1):
        states += run(chunk.unbind(1), state.detach(), weight_ih, weight_hh)
        state = states[-1]
    return torch.stack(states, dim=1)


def wrong_rest_dropped(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for k in range(inputs.shape[1] // size):
        chunk = inputs[:, k * size : (k + 1) * size]
        states += run(chunk.unbind(1), hidden.detach(), weight_ih, weight_hh)
        hidden = states[-1]
    return torch.stack(states, dim=1)


def wrong_border_states_only(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for chunk in inputs.split(size, dim=1):
        hidden = hidden.detach()
        for word in chunk.unbind(dim=1):
            hidden = step(word, hidden, weight_ih, weight_hh)
        states.append(hidden)
    return torch.stack(states, dim=1)


def wrong_last_chunk_only(inputs, hidden, weight_ih, weight_hh, size):
    for chunk in inputs.split(size, dim=1):
        states = run(chunk.unbind(1), hidden.detach(), weight_ih, weight_hh)
        hidden = states[-1]
    return torch.stack(states, dim=1)


def wrong_last_state_only(inputs, hidden, weight_ih, weight_hh, size):
    for chunk in inputs.split(size, dim=1):
        hidden = run(chunk.unbind(1), hidden.detach(), weight_ih, weight_hh)[-1]
    return hidden


def wrong_time_before_batch(inputs, hidden, weight_ih, weight_hh, size):
    states = []
    for chunk in inputs.split(size, dim=1):
        states += run(chunk.unbind(1), hidden.detach(), weight_ih, weight_hh)
        hidden = states[-1]
    return torch.stack(states)


def wrong_detached(inputs, hidden, weight_ih, weight_hh, size):
    with torch.no_grad():
        return right_range(inputs, hidden, weight_ih, weight_hh, size)


def wrong_other_gradient(inputs, hidden, weight_ih, weight_hh, size):
    return right_range(inputs, hidden, weight_ih.detach(), weight_hh, size)


def wrong_squeezed(inputs, hidden, weight_ih, weight_hh, size):
    return right_counting(inputs, hidden, weight_ih, weight_hh, size).squeeze()


def wrong_edits_its_input(inputs, hidden, weight_ih, weight_hh, size):
    states = right_range(inputs, hidden, weight_ih, weight_hh, size)
    hidden.data.copy_(states[:, -1])
    return states


def wrong_dtype_fixed(inputs, hidden, weight_ih, weight_hh, size):
    states = torch.empty(inputs.shape[0], inputs.shape[1], hidden.shape[1])
    for t in range(inputs.shape[1]):
        start = hidden.detach() if t % size == 0 else hidden
        hidden = step(inputs[:, t], start, weight_ih, weight_hh)
        states[:, t] = hidden
    return states


def wrong_other_kind(inputs, hidden, weight_ih, weight_hh, size):
    return list(right_range(inputs, hidden, weight_ih, weight_hh, size).unbind(1))
