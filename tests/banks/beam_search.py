"""Answers to `beam_search`: what right and wrong ones look like in the wild."""

import heapq
import math
from typing import Any, NamedTuple

import torch

SOS, EOS = 2, 3


class Hypothesis(NamedTuple):
    ids: tuple
    log_prob: float
    state: Any

    @property
    def ended(self):
        return self.ids[-1:] == (EOS,)

    def score(self, penalty):
        return self.log_prob / len(self.ids) ** penalty


def heirs(step, hypothesis):
    """All continuations of one hypothesis, best first."""
    token = hypothesis.ids[-1] if hypothesis.ids else SOS
    log_probs, state = step(hypothesis.state, token)
    values, words = torch.sort(log_probs, descending=True)
    pairs = zip(values.tolist(), words.tolist(), strict=True)
    return [
        Hypothesis((*hypothesis.ids, w), hypothesis.log_prob + v, state)
        for v, w in pairs
        if v != -math.inf
    ]


def ranked(hypotheses):
    return sorted(hypotheses, key=lambda h: -h.log_prob)


def answer(hypothesis):
    return list(hypothesis.ids), hypothesis.log_prob


def right_heap(step, state, beam_size, longest, length_penalty):
    live, done = [Hypothesis((), 0.0, state)], []
    for _ in range(longest):
        everything = [new for old in live for new in heirs(step, old)]
        best = heapq.nlargest(2 * beam_size, everything, key=lambda h: h.log_prob)
        done.extend(h for h in best[:beam_size] if h.ended)
        live = [h for h in best if not h.ended][:beam_size]
        if len(done) >= beam_size:
            break
    return answer(max(done or live, key=lambda h: h.score(length_penalty)))


def right_topk(step, state, beam_size, longest, length_penalty):
    words = [[]]
    totals = torch.zeros(1)
    states = [state]
    done = []
    for length in range(1, longest + 1):
        read = [ids[-1] if ids else SOS for ids in words]
        steps = [step(s, w) for s, w in zip(states, read, strict=True)]
        log_probs = torch.stack([log_prob for log_prob, _ in steps])
        vocabulary = log_probs.shape[1]
        flat = (totals.unsqueeze(1) + log_probs).flatten()
        values, places = flat.topk(min(2 * beam_size, len(flat)))
        kept_words, kept_totals, kept_states = [], [], []
        for rank, (value, place) in enumerate(zip(values, places.tolist(), strict=True)):
            row, word = divmod(place, vocabulary)
            if word == EOS:
                if rank < beam_size:
                    ids = [*words[row], EOS]
                    done.append((value.item() / length**length_penalty, ids, value.item()))
            elif len(kept_words) < beam_size:
                kept_words.append([*words[row], word])
                kept_totals.append(value)
                kept_states.append(steps[row][1])
        words, totals, states = kept_words, torch.stack(kept_totals), kept_states
        if len(done) >= beam_size:
            break
    if not done:
        best = int(totals.argmax())
        return words[best], totals[best].item()
    _, ids, total = max(done)
    return ids, total


def right_places_not_refilled(step, state, beam_size, longest, length_penalty):
    live, done, free = [Hypothesis((), 0.0, state)], [], beam_size
    for _ in range(longest):
        best = ranked(new for old in live for new in heirs(step, old))[:free]
        done += [h for h in best if h.ended]
        live = [h for h in best if not h.ended]
        free = beam_size - len(done)
        if not live:
            break
    return answer(max(done or live, key=lambda h: h.score(length_penalty)))


def right_never_stops_early(step, state, beam_size, longest, length_penalty):
    live, best_done = [Hypothesis((), 0.0, state)], None
    for _ in range(longest):
        best = ranked(new for old in live for new in heirs(step, old))
        for h in best[:beam_size]:
            if h.ended and (
                best_done is None or h.score(length_penalty) > best_done.score(length_penalty)
            ):
                best_done = h
        live = [h for h in best if not h.ended][:beam_size]
    return answer(best_done or live[0])


def right_dictionaries(step, state, beam_size, longest, length_penalty):
    beam = {(): (0.0, state)}
    complete = {}
    while beam and len(complete) < beam_size:
        candidates = {}
        for ids, (total, before) in beam.items():
            log_probs, after = step(before, ids[-1] if ids else SOS)
            for word in range(len(log_probs)):
                candidates[*ids, word] = (total + float(log_probs[word]), after)
        order = sorted(candidates, key=lambda ids: candidates[ids][0], reverse=True)
        for ids in order[:beam_size]:
            if ids[-1] == EOS:
                complete[ids] = candidates[ids][0]
        going = [ids for ids in order if ids[-1] != EOS][:beam_size]
        beam = {ids: candidates[ids] for ids in going}
        if len(order[0]) == longest:
            break
    if not complete:
        complete = {ids: total for ids, (total, _) in beam.items()}
    best = max(complete, key=lambda ids: complete[ids] / len(ids) ** length_penalty)
    return list(best), complete[best]


def wrong_only_one_beginning(step, state, beam_size, longest, length_penalty):
    """All beginnings are copies of one and stay so."""
    live = [Hypothesis((), 0.0, state)] * beam_size
    for _ in range(longest):
        live = [heirs(step, h)[0] for h in live]
        if live[0].ended:
            break
    return answer(max(live, key=lambda h: h.score(length_penalty)))


def wrong_runs_past_the_end(step, state, beam_size, longest, length_penalty):
    live = [Hypothesis((), 0.0, state)]
    for _ in range(longest):
        live = ranked(new for old in live for new in heirs(step, old))[:beam_size]
    return answer(max(live, key=lambda h: h.score(length_penalty)))


def wrong_finished_overwritten(step, state, beam_size, longest, length_penalty):
    ids, total = wrong_runs_past_the_end(step, state, beam_size, longest, length_penalty)
    return (ids[: ids.index(EOS) + 1] if EOS in ids else ids), total


def wrong_finished_crowded_out(step, state, beam_size, longest, length_penalty):
    live = [Hypothesis((), 0.0, state)]
    for _ in range(longest):
        pool = []
        for h in live:
            pool += [h] if h.ended else heirs(step, h)
        live = heapq.nlargest(beam_size, pool, key=lambda h: h.log_prob)
        if all(h.ended for h in live):
            break
    done = [h for h in live if h.ended] or live
    return answer(sorted(done, key=lambda h: h.score(length_penalty))[-1])


def wrong_last_finished_wins(step, state, beam_size, longest, length_penalty):
    live, done, count = [Hypothesis((), 0.0, state)], None, 0
    for _ in range(longest):
        best = ranked(new for old in live for new in heirs(step, old))
        for h in best[:beam_size]:
            if h.ended:
                done, count = h, count + 1
        live = [h for h in best if not h.ended][:beam_size]
        if count >= beam_size:
            break
    return answer(done or max(live, key=lambda h: h.score(length_penalty)))


def wrong_first_finished_wins(step, state, beam_size, longest, length_penalty):
    live = [Hypothesis((), 0.0, state)]
    for _ in range(longest):
        best = ranked(new for old in live for new in heirs(step, old))
        for h in best[:beam_size]:
            if h.ended:
                return answer(h)
        live = best[:beam_size]
    return answer(live[0])


def wrong_every_end_set_aside(step, state, beam_size, longest, length_penalty):
    live, done = [Hypothesis((), 0.0, state)], []
    for _ in range(longest):
        everything = [new for old in live for new in heirs(step, old)]
        done += [h for h in everything if h.ended]
        live = ranked(h for h in everything if not h.ended)[:beam_size]
        if len(done) >= beam_size:
            break
    return answer(max(done or live, key=lambda h: h.score(length_penalty)))


def wrong_by_the_sum(step, state, beam_size, longest, length_penalty):
    return right_heap(step, state, beam_size, longest, 0.0)


def wrong_always_by_the_mean(step, state, beam_size, longest, length_penalty):
    return right_topk(step, state, beam_size, longest, 1)


def finished_ones(step, state, beam_size, longest):
    live, done = [Hypothesis((), 0.0, state)], []
    for _ in range(longest):
        best = ranked(new for old in live for new in heirs(step, old))
        done += [h for h in best[:beam_size] if h.ended]
        live = [h for h in best if not h.ended][:beam_size]
        if len(done) >= beam_size:
            break
    return done or live


def wrong_penalty_as_factor(step, state, beam_size, longest, length_penalty):
    found = finished_ones(step, state, beam_size, longest)
    return answer(max(found, key=lambda h: h.log_prob / (length_penalty * len(h.ids))))


def wrong_end_not_in_length(step, state, beam_size, longest, length_penalty):
    def score(h):
        length = len([w for w in h.ids if w != EOS])
        return h.log_prob / max(length, 1) ** length_penalty

    found = finished_ones(step, state, beam_size, longest)
    if not found[0].ended:
        return answer(found[0])
    return answer(max(found, key=score))


def wrong_score_for_sum(step, state, beam_size, longest, length_penalty):
    found = finished_ones(step, state, beam_size, longest)
    score, ids = max((h.score(length_penalty), list(h.ids)) for h in found)
    return ids, score


def wrong_one_continuation_each(step, state, beam_size, longest, length_penalty):
    live, done = heirs(step, Hypothesis((), 0.0, state)), []
    for _ in range(longest):
        done += [h for h in live[:beam_size] if h.ended]
        live = [h for h in live if not h.ended][:beam_size]
        if len(done) >= beam_size or not live or len(live[0].ids) == longest:
            break
        live = ranked(heirs(step, h)[0] for h in live)
    return answer(max(done or live, key=lambda h: h.score(length_penalty)))


def wrong_never_pruned(step, state, beam_size, longest, length_penalty):
    live, done = heirs(step, Hypothesis((), 0.0, state)), []
    for length in range(1, longest + 1):
        done += [h for h in ranked(live)[:beam_size] if h.ended]
        live = [h for h in live if not h.ended]
        if len(done) >= beam_size or not live or length == longest:
            break
        live = ranked(new for old in live for new in heirs(step, old)[:beam_size])
    return answer(max(done or live, key=lambda h: h.score(length_penalty)))


def wrong_sums_forgotten(step, state, beam_size, longest, length_penalty):
    def fresh(h):
        return heirs(step, h._replace(log_prob=0.0))

    live, done = [Hypothesis((), 0.0, state)], []
    for _ in range(longest):
        best = ranked(new for old in live for new in fresh(old))
        done += [h for h in best[:beam_size] if h.ended]
        live = [h for h in best if not h.ended][:beam_size]
        if len(done) >= beam_size:
            break
    return answer(max(done or live, key=lambda h: h.score(length_penalty)))


def wrong_probabilities_added(step, state, beam_size, longest, length_penalty):
    def raised(before, token):
        log_probs, after = step(before, token)
        p = log_probs.exp()
        return torch.where(p > 0, p, -torch.inf), after

    return right_heap(raised, state, beam_size, longest, length_penalty)


def wrong_states_stay_behind(step, state, beam_size, longest, length_penalty):
    states = [state] * beam_size
    live, done = [((), 0.0)], []
    for _ in range(longest):
        pool = []
        for place, (ids, total) in enumerate(live):
            log_probs, states[place] = step(states[place], ids[-1] if ids else SOS)
            for word, log_prob in enumerate(log_probs.tolist()):
                pool.append(((*ids, word), total + log_prob))
            if not ids:
                states = [states[0]] * beam_size
        pool.sort(key=lambda one: -one[1])
        done += [one for one in pool[:beam_size] if one[0][-1] == EOS]
        live = [one for one in pool if one[0][-1] != EOS][:beam_size]
        if len(done) >= beam_size:
            break
    ids, total = max(done or live, key=lambda one: one[1] / len(one[0]) ** length_penalty)
    return list(ids), total


def wrong_state_not_carried(step, state, beam_size, longest, length_penalty):
    def same(_, token):
        log_probs, _ = step(state, token)
        return log_probs, state

    return right_dictionaries(same, state, beam_size, longest, length_penalty)


def wrong_start_mark_every_time(step, state, beam_size, longest, length_penalty):
    def deaf(before, _):
        return step(before, SOS)

    return right_heap(deaf, state, beam_size, longest, length_penalty)


def wrong_unfinished_counts(step, state, beam_size, longest, length_penalty):
    live, done = [Hypothesis((), 0.0, state)], []
    for _ in range(longest):
        best = ranked(new for old in live for new in heirs(step, old))
        done += [h for h in best[:beam_size] if h.ended]
        live = [h for h in best if not h.ended][:beam_size]
        if len(done) >= beam_size:
            break
    return answer(sorted(done + live, key=lambda h: h.score(length_penalty), reverse=True)[0])


def wrong_nothing_where_unfinished(step, state, beam_size, longest, length_penalty):
    found = [h for h in finished_ones(step, state, beam_size, longest) if h.ended]
    return answer(max(found, key=lambda h: h.score(length_penalty)))


def wrong_one_word_too_many(step, state, beam_size, longest, length_penalty):
    return right_topk(step, state, beam_size, longest + 1, length_penalty)


def wrong_one_word_too_few(step, state, beam_size, longest, length_penalty):
    found = finished_ones(step, state, beam_size, longest - 1)
    return answer(max(found, key=lambda h: h.score(length_penalty)))


def wrong_no_limit(step, state, beam_size, longest, length_penalty):
    live, done = [Hypothesis((), 0.0, state)], []
    while len(done) < beam_size:
        best = ranked(new for old in live for new in heirs(step, old))
        done += [h for h in best[:beam_size] if h.ended]
        live = [h for h in best if not h.ended][:beam_size]
    return answer(max(done, key=lambda h: h.score(length_penalty)))


def wrong_end_mark_dropped(step, state, beam_size, longest, length_penalty):
    ids, total = right_heap(step, state, beam_size, longest, length_penalty)
    return [word for word in ids if word not in (SOS, EOS)], total


def wrong_start_mark_written(step, state, beam_size, longest, length_penalty):
    ids, total = right_topk(step, state, beam_size, longest, length_penalty)
    ids.insert(0, SOS)
    return ids, total


def wrong_nothing_returned(step, state, beam_size, longest, length_penalty):
    found = finished_ones(step, state, beam_size, longest)
    found.sort(key=lambda h: h.score(length_penalty))


def wrong_results_swapped(step, state, beam_size, longest, length_penalty):
    ids, total = right_heap(step, state, beam_size, longest, length_penalty)
    return total, ids
