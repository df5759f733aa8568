"""Answers to `last_states`: what right and wrong ones look like in the wild."""

import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence


def right_gather(states, lengths):
    places = (lengths - 1).view(-1, 1, 1).expand(-1, 1, states.shape[-1])
    return states.gather(1, places).squeeze(1)


def right_loop(states, lengths):
    return torch.stack([s[n - 1] for s, n in zip(states, lengths.tolist(), strict=True)])


def right_one_hot(states, lengths):
    last = F.one_hot(lengths - 1, states.shape[1]).to(states.dtype)
    return torch.einsum("bn,bnw->bw", last, states)


def right_flat(states, lengths):
    batch, words, width = states.shape
    places = torch.arange(batch) * words + lengths - 1
    return states.reshape(batch * words, width).index_select(0, places)


def right_boolean(states, lengths):
    columns = torch.arange(states.shape[1])
    return states[columns == lengths[:, None] - 1]


def right_back_from_the_end(states, lengths):
    padding = states.shape[1] - lengths
    return states[range(len(states)), -padding - 1]


def right_packed(states, lengths):
    packed = pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False)
    sizes = packed.batch_sizes
    ends = []
    for place, n in enumerate(lengths[packed.sorted_indices].tolist()):
        ends.append(packed.data[int(sizes[: n - 1].sum()) + place])
    return torch.stack(ends)[packed.unsorted_indices]


def wrong_nothing_returned(states, lengths):
    last = states[torch.arange(len(states)), lengths - 1]
    print(last.shape)


def wrong_last_column(states, lengths):
    return states[:, states.size(1) - 1, :]


def wrong_one_too_late(states, lengths):
    return torch.stack([s[n] for s, n in zip(states, lengths.tolist(), strict=True)])


def wrong_one_too_late_held_back(states, lengths):
    places = torch.minimum(lengths, torch.tensor(states.shape[1] - 1))
    return torch.stack([states[b, n] for b, n in enumerate(places)])


def wrong_one_too_early(states, lengths):
    return torch.stack([states[b, n - 2] for b, n in enumerate(lengths.tolist())])


def wrong_first_state(states, lengths):
    return torch.stack([s[0] for s in states])


def wrong_first_length_for_all(states, lengths):
    return states[:, : lengths[0]][:, -1]


def wrong_longest_for_all(states, lengths):
    return states[:, max(lengths.tolist()) - 1, :]


def wrong_shortest_for_all(states, lengths):
    return states[:, : lengths.min()].unbind(1)[-1]


def wrong_every_row_with_every_place(states, lengths):
    return states.index_select(1, lengths - 1)


def wrong_all_from_the_first_sentence(states, lengths):
    return states.reshape(-1, states.shape[-1])[lengths - 1]


def wrong_padding_not_counted(states, lengths):
    flat = states.reshape(-1, states.shape[-1])
    ends, end = [], 0
    for n in lengths.tolist():
        end += n
        ends.append(flat[end - 1])
    return torch.stack(ends)


def wrong_rows_and_columns_exchanged(states, lengths):
    ends = [states[int(n) - 1, b] for b, n in enumerate(lengths)]
    return torch.stack(ends)


def wrong_counted_from_the_end(states, lengths):
    return torch.stack([s[-n] for s, n in zip(states, lengths.tolist(), strict=True)])


def wrong_padding_counted_back(states, lengths):
    padding = states.shape[1] - lengths
    return states[range(len(states)), -padding]


def wrong_one_number_only(states, lengths):
    return states.gather(1, (lengths - 1).view(-1, 1, 1)).squeeze(1)


def wrong_word_axis_kept(states, lengths):
    return torch.stack([s[n - 1 : n] for s, n in zip(states, lengths.tolist(), strict=True)])


def wrong_mean_of_words(states, lengths):
    return torch.stack([s[:n].mean(0) for s, n in zip(states, lengths.tolist(), strict=True)])


def wrong_sum_of_all(states, lengths):
    return torch.einsum("bnw->bw", states)


def wrong_largest_of_words(states, lengths):
    return torch.stack([s[:n].max(0).values for s, n in zip(states, lengths.tolist(), strict=True)])


def wrong_sorted_by_length(states, lengths):
    sorted_lengths, order = torch.sort(lengths, descending=True, stable=True)
    return states[order][torch.arange(len(states)), sorted_lengths - 1]


def wrong_squeezed(states, lengths):
    return right_gather(states, lengths).squeeze()


def wrong_dtype_fixed(states, lengths):
    result = torch.zeros(states.shape[0], states.shape[2])
    for b, n in enumerate(lengths):
        result[b] = states[b, n - 1]
    return result


def wrong_detached(states, lengths):
    return torch.tensor(
        [s[n - 1].tolist() for s, n in zip(states, lengths.tolist(), strict=True)],
        dtype=states.dtype,
    )


def wrong_edits_its_input(states, lengths):
    lengths -= 1
    return states[torch.arange(len(states)), lengths]


def wrong_other_kind(states, lengths):
    return [s[n - 1] for s, n in zip(states, lengths.tolist(), strict=True)]
