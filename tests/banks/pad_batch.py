"""Answers to `pad_batch`: what right and wrong ones look like in the wild."""

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence


def right_lists(sentences):
    longest = max(len(s) for s in sentences)
    rows = [s + [0] * (longest - len(s)) for s in sentences]
    return torch.tensor(rows), torch.tensor([len(s) for s in sentences])


def right_pad_sequence(sentences):
    rows = [torch.tensor(s) for s in sentences]
    return pad_sequence(rows, batch_first=True), torch.tensor(list(map(len, rows)))


def right_functional_pad(sentences):
    lengths = torch.tensor([len(s) for s in sentences], dtype=torch.long)
    width = lengths.max().item()
    rows = [torch.nn.functional.pad(torch.tensor(s), (0, width - len(s))) for s in sentences]
    return torch.stack(rows), lengths


def right_mask(sentences):
    lengths = torch.as_tensor([len(s) for s in sentences])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    padded = torch.full(mask.shape, 0)
    padded[mask] = torch.tensor([word for s in sentences for word in s])
    return padded, lengths


def right_cells(sentences):
    lengths = torch.zeros(len(sentences), dtype=torch.int64)
    longest = 0
    for number, sentence in enumerate(sentences):
        lengths[number] = len(sentence)
        longest = max(longest, len(sentence))
    padded = torch.zeros(len(sentences), longest).long()
    for row in range(len(sentences)):
        for column in range(int(lengths[row])):
            padded[row, column] = sentences[row][column]
    return padded, lengths


def right_numpy(sentences):
    width = max(map(len, sentences))
    padded = np.zeros((len(sentences), width), dtype=np.int64)
    for row, sentence in zip(padded, sentences, strict=True):
        row[: len(sentence)] = sentence
    return torch.from_numpy(padded), torch.tensor([len(s) for s in sentences])


def wrong_nothing_returned(sentences):
    padded, lengths = right_lists(sentences)
    print(padded, lengths)


def wrong_ragged(sentences):
    return torch.tensor(sentences), torch.tensor([len(s) for s in sentences])


def wrong_padded_at_the_left(sentences):
    padded, lengths = right_lists(sentences)
    padded = torch.zeros_like(padded)
    for row, sentence in enumerate(sentences):
        padded[row, -len(sentence) :] = torch.tensor(sentence)
    return padded, lengths


def wrong_cut_to_the_shortest(sentences):
    rows = list(zip(*sentences, strict=False))
    return torch.tensor(rows).T, torch.tensor([len(s) for s in sentences])


def wrong_lengths_after_padding(sentences):
    padded = pad_sequence([torch.tensor(s) for s in sentences], batch_first=True)
    return padded, torch.tensor([len(row) for row in padded])


def wrong_last_place_for_length(sentences):
    padded, lengths = right_lists(sentences)
    return padded, lengths.sub(1)


def wrong_mask_for_lengths(sentences):
    padded, lengths = right_lists(sentences)
    return padded, torch.arange(padded.shape[1]).unsqueeze(0) < lengths.unsqueeze(1)


def wrong_lengths_missing(sentences):
    return pad_sequence([torch.tensor(s) for s in sentences], batch_first=True)


def wrong_marks_not_counted(sentences):
    padded, _ = right_lists(sentences)
    lengths = [len([word for word in s if word not in (0, 1, 2, 3)]) for s in sentences]
    return padded, torch.tensor(lengths)


def wrong_filled_with_eos(sentences):
    rows = [torch.tensor(s) for s in sentences]
    lengths = torch.tensor([len(s) for s in sentences])
    return pad_sequence(rows, batch_first=True, padding_value=3), lengths


def wrong_filled_with_unknown(sentences):
    padded, lengths = right_lists(sentences)
    return torch.where(padded == 0, torch.ones_like(padded), padded), lengths


def wrong_filled_with_minus_one(sentences):
    rows = [torch.tensor(s) for s in sentences]
    return pad_sequence(rows, True, -1), torch.tensor([len(s) for s in sentences])


def wrong_last_word_repeated(sentences):
    longest = max(len(s) for s in sentences)
    rows = [[s[min(i, len(s) - 1)] for i in range(longest)] for s in sentences]
    return torch.tensor(rows), torch.tensor([len(s) for s in sentences])


def wrong_decimal_ids(sentences):
    padded = torch.zeros(len(sentences), max(len(s) for s in sentences))
    for row, sentence in enumerate(sentences):
        padded[row, : len(sentence)] = torch.tensor(sentence)
    return padded, torch.tensor([len(s) for s in sentences])


def wrong_time_first(sentences):
    rows = [torch.tensor(s) for s in sentences]
    return pad_sequence(rows), torch.tensor([len(s) for s in sentences])


def wrong_sorted_by_length(sentences):
    padded, lengths = right_lists(sentences)
    order = lengths.argsort(descending=True, stable=True)
    return padded[order], lengths[order]


def wrong_end_mark_added(sentences):
    rows = [torch.tensor([*s, 3]) for s in sentences]
    return pad_sequence(rows, batch_first=True), torch.tensor([len(r) for r in rows])


def wrong_a_column_too_many(sentences):
    padded, lengths = right_lists(sentences)
    return torch.cat([padded, torch.zeros(len(padded), 1, dtype=torch.int64)], dim=1), lengths


def wrong_wrapped_around(sentences):
    words = torch.cat([torch.tensor(s) for s in sentences])
    lengths = torch.tensor([len(s) for s in sentences])
    cells = torch.zeros(len(sentences) * int(lengths.max()), dtype=torch.int64)
    cells[: len(words)] = words
    return cells.view(len(sentences), -1), lengths


def wrong_width_fixed(sentences):
    padded = torch.zeros(len(sentences), 32, dtype=torch.int64)
    for row, sentence in enumerate(sentences):
        padded[row, : len(sentence)] = torch.tensor(sentence)
    return padded, torch.tensor([len(s) for s in sentences])


def wrong_results_swapped(sentences):
    return right_lists(sentences)[::-1]


def wrong_squeezed(sentences):
    padded, lengths = right_lists(sentences)
    return padded.squeeze(), lengths


def wrong_edits_its_input(sentences):
    lengths = torch.tensor([len(s) for s in sentences])
    for s in sentences:
        while len(s) < lengths.max():
            s.append(0)
    return torch.tensor(sentences), lengths


def wrong_other_kind(sentences):
    padded, lengths = right_lists(sentences)
    return padded, lengths.tolist()
