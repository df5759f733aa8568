"""Answers to `greedy_search`: what right and wrong ones look like in the wild."""

import itertools
import math

import torch

SOS, EOS = 2, 3


def right_for_and_break(step, state, reference, longest):
    words, total, previous = [], 0.0, SOS
    for _ in range(longest):
        log_probs, state = step(state, previous)
        previous = log_probs.argmax().item()
        words.append(previous)
        total += log_probs[previous].item()
        if previous == EOS:
            break
    return words, total


def right_tensors(step, state, reference, longest):
    token = torch.tensor(SOS)
    words, total = [], torch.zeros(())
    for _ in range(longest):
        log_probs, state = step(state, token)
        best, token = log_probs.max(dim=-1)
        total = total + best
        words.append(token)
        if token == EOS:
            break
    return torch.stack(words), total


def right_recursion(step, state, reference, longest, token=SOS):
    if longest == 0 or token == EOS:
        return [], 0.0
    log_probs, state = step(state, token)
    word = int(torch.argmax(log_probs))
    words, total = right_recursion(step, state, reference, longest - 1, word)
    return [word, *words], float(log_probs[word]) + total


def right_topk(step, state, reference, longest):
    words = [SOS]
    logs = []
    while len(words) <= longest and (len(words) == 1 or words[-1] != EOS):
        log_probs, state = step(state, words[-1])
        value, index = torch.topk(log_probs, 1)
        words.append(int(index))
        logs.append(float(value))
    return words[1:], math.fsum(logs)


def right_plain_lists(step, state, reference, longest):
    words, total = [], 0
    while len(words) < longest:
        log_probs, state = step(state, words[-1] if words else SOS)
        numbers = log_probs.tolist()
        word = max(range(len(numbers)), key=numbers.__getitem__)
        words += [word]
        total += numbers[word]
        if word == EOS:
            return words, total
    return words, total


def wrong_teacher_forcing(step, state, reference, longest):
    words, total = [], 0.0
    inputs = [SOS, *list(reference)]
    for token in inputs:
        log_probs, state = step(state, token)
        best, word = log_probs.max(0)
        words.append(word.item())
        total += best.item()
    return words, total


def wrong_still_teacher_forcing(step, state, reference, longest):
    words, total = [], 0.0
    for token in [SOS, *reference]:
        if len(words) == longest:
            break
        log_probs, state = step(state, token)
        words.append(int(log_probs.argmax()))
        total += float(log_probs.max())
        if words[-1] == EOS:
            return words, total
    return words, total


def wrong_as_long_as_the_reference(step, state, reference, longest):
    words, total, word = [], 0.0, SOS
    for _ in [*reference, EOS]:
        log_probs, state = step(state, word)
        word = int(log_probs.argmax())
        words.append(word)
        total += float(log_probs[word])
    return words, total


def wrong_cut_at_the_reference(step, state, reference, longest):
    return right_for_and_break(step, state, reference, len(reference) + 1)


def wrong_start_mark_every_time(step, state, reference, longest):
    words, total, word = [], 0.0, None
    while len(words) < longest and word != EOS:
        log_probs, state = step(state, SOS)
        word = int(log_probs.argmax())
        words.append(word)
        total += float(log_probs[word])
    return words, total


def wrong_state_not_carried(step, state, reference, longest):
    words, total, word = [], 0.0, SOS
    while word != EOS and len(words) < longest:
        log_probs, _new_state = step(state, word)
        word = int(log_probs.argmax())
        words.append(word)
        total += float(log_probs[word])
    return words, total


def wrong_read_twice(step, state, reference, longest):
    words, total = [], 0.0
    log_probs, state = step(state, SOS)
    while True:
        word = int(log_probs.argmax())
        words.append(word)
        total += log_probs[word].item()
        if word == EOS or len(words) == longest:
            return words, total
        _, state = step(state, word)
        log_probs, state = step(state, word)


def wrong_begins_with_padding(step, state, reference, longest):
    words, total = [], 0.0
    token = torch.zeros((), dtype=torch.int64)
    while len(words) < longest:
        log_probs, state = step(state, token)
        token = log_probs.argmax()
        total += log_probs[token].item()
        words.append(token.item())
        if words[-1] == EOS:
            break
    return words, total


def wrong_begins_with_the_end(step, state, reference, longest):
    words, total, token = [], 0.0, EOS
    for _ in range(longest):
        log_probs, state = step(state, token)
        token = int(log_probs.argmax())
        words.append(token)
        total += float(log_probs[token])
        if token == EOS:
            break
    return words, total


def wrong_runs_past_the_end(step, state, reference, longest):
    words, total = [SOS], 0.0
    for _ in range(longest):
        log_probs, state = step(state, words[-1])
        words.append(int(log_probs.argmax()))
        total += float(log_probs.max())
    return words[1:], total


def wrong_end_mark_dropped(step, state, reference, longest):
    words, total = right_for_and_break(step, state, reference, longest)
    return [word for word in words if word != EOS], total


def wrong_end_mark_not_counted(step, state, reference, longest):
    words, total, word = [], 0.0, SOS
    for _ in range(longest):
        log_probs, state = step(state, word)
        word = int(log_probs.argmax())
        if word == EOS:
            break
        words.append(word)
        total += float(log_probs[word])
    return words, total


def wrong_one_word_too_many(step, state, reference, longest):
    words, total, word = [], 0.0, SOS
    while word != EOS and len(words) <= longest:
        log_probs, state = step(state, word)
        word = int(log_probs.argmax())
        words.append(word)
        total += float(log_probs[word])
    return words, total


def wrong_one_word_too_few(step, state, reference, longest):
    sentence, total = [SOS], 0.0
    while len(sentence) < longest:
        log_probs, state = step(state, sentence[-1])
        sentence.append(int(log_probs.argmax()))
        total += float(log_probs.max())
        if sentence[-1] == EOS:
            break
    return sentence[1:], total


def wrong_no_limit(step, state, reference, longest):
    words, total, word = [], 0.0, SOS
    while word != EOS:
        log_probs, state = step(state, word)
        word = int(log_probs.argmax())
        words.append(word)
        total += float(log_probs[word])
    return words, total


def wrong_probabilities_multiplied(step, state, reference, longest):
    words, probability, word = [], 1.0, SOS
    for _ in itertools.repeat(None, longest):
        log_probs, state = step(state, word)
        best, index = log_probs.exp().max(dim=0)
        word = index.item()
        probability *= best.item()
        words.append(word)
        if word == EOS:
            break
    return words, probability


def wrong_probabilities_added(step, state, reference, longest):
    words, total, word = [], 0.0, SOS
    while word != EOS and len(words) < longest:
        log_probs, state = step(state, word)
        word = int(log_probs.argmax())
        words.append(word)
        total += math.exp(log_probs[word])
    return words, total


def wrong_mean_for_sum(step, state, reference, longest):
    words, total = right_plain_lists(step, state, reference, longest)
    return words, total / len(words)


def wrong_last_word_only(step, state, reference, longest):
    words, word = [], SOS
    for _ in range(longest):
        log_probs, state = step(state, word)
        total, word = torch.max(log_probs, 0)
        words.append(int(word))
        if word == EOS:
            break
    return words, float(total)


def wrong_start_mark_written(step, state, reference, longest):
    words, total = [SOS], 0.0
    while len(words) <= longest:
        log_probs, state = step(state, words[-1])
        words.append(int(log_probs.argmax()))
        total += float(log_probs.max())
        if words[-1] == EOS:
            break
    return words, total


def wrong_filled_up(step, state, reference, longest):
    words = [0] * longest
    total, word = 0.0, SOS
    for place in range(longest):
        log_probs, state = step(state, word)
        words[place] = word = int(log_probs.argmax())
        total += float(log_probs[word])
        if word == EOS:
            break
    return words, total


def wrong_sum_missing(step, state, reference, longest):
    words, _ = right_recursion(step, state, reference, longest)
    return words


def wrong_nothing_returned(step, state, reference, longest):
    words = []
    word = SOS
    while word != EOS and len(words) < longest:
        log_probs, state = step(state, word)
        word = int(log_probs.argmax())
        words.append(word)


def wrong_results_swapped(step, state, reference, longest):
    words, total = right_topk(step, state, reference, longest)
    return total, words


def wrong_raises(step, state, reference, longest):
    log_probs = step(state, SOS)
    return [int(log_probs.argmax())], 0.0
