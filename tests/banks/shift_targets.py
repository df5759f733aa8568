"""Answers to `shift_targets`: what right and wrong ones look like in the wild."""

import torch
from torch.nn.utils.rnn import pad_sequence

PAD, UNK, SOS, EOS = 0, 1, 2, 3


def together(rows):
    return pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], batch_first=True)


def right_pad_sequence(sentences):
    return together([[SOS, *s] for s in sentences]), together([[*s, EOS] for s in sentences])


def right_slices(sentences):
    full = [[SOS, *s, EOS] for s in sentences]
    return together([row[:-1] for row in full]), together([row[1:] for row in full])


def right_cells(sentences):
    width = 1 + max(len(s) for s in sentences)
    target_in = torch.zeros(len(sentences), width, dtype=torch.long)
    target_out = torch.zeros(len(sentences), width, dtype=torch.long)
    for row, s in enumerate(sentences):
        target_in[row, 0] = SOS
        for place, word in enumerate(s):
            target_in[row, place + 1] = word
            target_out[row, place] = word
        target_out[row, len(s)] = EOS
    return target_in, target_out


def right_rectangle(sentences):
    words = together(sentences)
    lengths = torch.tensor([len(s) for s in sentences])
    rows = torch.arange(len(words))
    target_in = torch.cat([torch.full((len(words), 1), SOS), words], dim=1)
    target_out = torch.cat([words, torch.zeros(len(words), 1, dtype=torch.int64)], dim=1)
    target_out[rows, lengths] = EOS
    return target_in, target_out


def right_copies(sentences):
    reads, writes = [], []
    for s in sentences:
        a, b = list(s), list(s)
        a.insert(0, SOS)
        b.append(EOS)
        reads.append(a)
        writes.append(b)
    return together(reads), together(writes)


def wrong_nothing_returned(sentences):
    target_in = together([[SOS, *s] for s in sentences])
    target_out = together([[*s, EOS] for s in sentences])
    assert target_in.shape == target_out.shape


def wrong_not_shifted(sentences):
    target = together([[*s, EOS] for s in sentences])
    return target, target.clone()


def wrong_both_marks_in_both(sentences):
    target = together([[SOS, *s, EOS] for s in sentences])
    return target, target


def wrong_end_mark_read(sentences):
    full = [[SOS, *s, EOS] for s in sentences]
    return together(full), together([row[1:] for row in full])


def wrong_cut_from_the_rectangle(sentences):
    target = together([[SOS, *s, EOS] for s in sentences])
    n = target.shape[1]
    return target.narrow(1, 0, n - 1), target.narrow(1, 1, n - 1)


def wrong_start_mark_written(sentences):
    full = [[SOS, *s, EOS] for s in sentences]
    return together([row[:-1] for row in full]), together(full)


def wrong_no_start_mark(sentences):
    return together(sentences), together([[*s, EOS] for s in sentences])


def as_in_the_stub(target_in, target_out):
    width = max(len(words) for words in target_out)
    padded_in = [words + [0] * (width - len(words)) for words in target_in]
    padded_out = [words + [0] * (width - len(words)) for words in target_out]
    return torch.tensor(padded_in), torch.tensor(padded_out)


def wrong_start_mark_written_in_equal_widths(sentences):
    target_in = [[SOS, *words] for words in sentences]
    target_out = [[SOS, *words, EOS] for words in sentences]
    return as_in_the_stub(target_in, target_out)


def wrong_no_start_mark_in_equal_widths(sentences):
    target_in = [list(words) for words in sentences]
    target_out = [[*words, EOS] for words in sentences]
    return as_in_the_stub(target_in, target_out)


def wrong_no_end_mark(sentences):
    return together([[SOS, *s] for s in sentences]), together(sentences)


def wrong_no_marks(sentences):
    target = together(sentences)
    width = target.shape[1]
    return target[:, : width - 1], target[:, 1:width]


def wrong_marks_exchanged(sentences):
    return together([[EOS, *s] for s in sentences]), together([[*s, SOS] for s in sentences])


def wrong_another_vocabularys_marks(sentences):
    start, end = 1, 2
    return together([[start, *s] for s in sentences]), together([[*s, end] for s in sentences])


def wrong_marks_over_words(sentences):
    reads, writes = [], []
    for s in sentences:
        a, b = list(s), list(s)
        a[0], b[-1] = SOS, EOS
        reads.append(a)
        writes.append(b)
    return together(reads), together(writes)


def wrong_shifted_by_two(sentences):
    full = [[SOS, *s, EOS] for s in sentences]
    return together([row[:-1] for row in full]), together([row[2:] for row in full])


def wrong_rolled(sentences):
    target_out = together([[*s, EOS] for s in sentences])
    last, others = target_out[:, -1:], target_out[:, :-1]
    return torch.cat([last, others], dim=1), target_out


def wrong_end_mark_behind_the_padding(sentences):
    words = together(sentences)
    pad = torch.nn.functional.pad
    return pad(words, (1, 0), value=SOS), pad(words, (0, 1), value=EOS)


def wrong_padded_at_the_left(sentences):
    width = 1 + max(len(s) for s in sentences)
    target_in = torch.zeros(len(sentences), width, dtype=torch.int64)
    target_out = torch.zeros_like(target_in)
    for row, s in enumerate(sentences):
        target_in[row, width - len(s) - 1 :] = torch.tensor([SOS, *s])
        target_out[row, width - len(s) - 1 :] = torch.tensor([*s, EOS])
    return target_in, target_out


def wrong_filled_with_eos(sentences):
    rows = [torch.tensor(s) for s in sentences]
    target_in = together([[SOS, *s] for s in sentences])
    out = pad_sequence(rows, batch_first=True, padding_value=EOS)
    return target_in, torch.cat([out, torch.full((len(out), 1), EOS)], dim=1)


def wrong_time_first(sentences):
    reads = pad_sequence([torch.tensor([SOS, *s]) for s in sentences])
    return reads, pad_sequence([torch.tensor([*s, EOS]) for s in sentences])


def wrong_results_swapped(sentences):
    return together([[*s, EOS] for s in sentences]), together([[SOS, *s] for s in sentences])


def wrong_edits_its_input(sentences):
    for s in sentences:
        s.append(EOS)
    return together([[SOS, *s[:-1]] for s in sentences]), together(sentences)


def wrong_squeezed(sentences):
    a, b = right_pad_sequence(sentences)
    return a.squeeze(), b.squeeze()


def wrong_other_kind(sentences):
    a, b = right_pad_sequence(sentences)
    return a.tolist(), b.tolist()


def wrong_dtype_fixed(sentences):
    a, b = right_pad_sequence(sentences)
    return a.float(), b.float()
