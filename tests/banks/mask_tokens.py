"""Answers to `mask_tokens`: what right and wrong ones look like in the wild."""

import torch


def right_where(ids, special, chance, how, pieces, mask_id, share):
    chosen = torch.logical_and(chance < share, torch.logical_not(special))
    targets = torch.where(chosen, ids, torch.full_like(ids, -100))
    instead = torch.where(how < 0.8, torch.full_like(ids, mask_id), ids)
    instead = torch.where(how < 0.9, instead, pieces)
    return torch.where(chosen, instead, ids), targets


def right_loops(ids, special, chance, how, pieces, mask_id, share):
    read, targets = ids.tolist(), [[-100] * ids.shape[1] for _ in ids]
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            if special[b, t] or chance[b, t] >= share:
                continue
            targets[b][t] = int(ids[b, t])
            if how[b, t] < 0.8:
                read[b][t] = mask_id
            elif how[b, t] >= 0.9:
                read[b][t] = int(pieces[b, t])
    return torch.tensor(read), torch.tensor(targets)


def right_indexed(ids, special, chance, how, pieces, mask_id, share):
    where = ((chance < share) & ~special).nonzero(as_tuple=True)
    read, targets = ids.clone(), ids.new_full(ids.shape, -100)
    targets[where] = ids[where]
    how, right, other = how[where], ids[where], pieces[where]
    right = right.clone()
    right[how < 0.8] = mask_id
    right[how >= 0.9] = other[how >= 0.9]
    read[where] = right
    return read, targets


def right_arithmetic(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share).long() * (1 - special.long())
    hidden = chosen * (how < 0.8).long()
    replaced = chosen * (how >= 0.9).long()
    read = ids * (1 - hidden - replaced) + mask_id * hidden + pieces * replaced
    return read, ids * chosen - 100 * (1 - chosen)


def right_chance_above_one_at_special(ids, special, chance, how, pieces, mask_id, share):
    chosen = chance.masked_fill(special, 2.0) < share
    targets = ids.clone()
    targets[~chosen] = -100
    read = ids.clone()
    read[chosen & (how < 0.8)] = mask_id
    swap = chosen & ~(how < 0.9)
    read[swap] = pieces[swap]
    return read, targets


def wrong_nothing_returned(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    ids.masked_fill(chosen & (how < 0.8), mask_id)


def wrong_all_asked(ids, special, chance, how, pieces, mask_id, share):
    read, _ = right_indexed(ids, special, chance, how, pieces, mask_id, share)
    labels = ids.clone()
    return read, labels


def wrong_all_but_special_asked(ids, special, chance, how, pieces, mask_id, share):
    read, _ = right_indexed(ids, special, chance, how, pieces, mask_id, share)
    labels = torch.where(special, torch.tensor(-100), ids)
    return read, labels


def wrong_only_mask_asked(ids, special, chance, how, pieces, mask_id, share):
    read, _ = right_indexed(ids, special, chance, how, pieces, mask_id, share)
    labels = ids.clone()
    labels[read != mask_id] = -100
    return read, labels


def wrong_only_changed_asked(ids, special, chance, how, pieces, mask_id, share):
    read, _ = right_indexed(ids, special, chance, how, pieces, mask_id, share)
    labels = ids.clone()
    labels[read == ids] = -100
    return read, labels


def wrong_asked_for_what_is_read(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    ids = ids.clone()
    ids[chosen & (how < 0.8)] = mask_id
    ids[chosen & (how >= 0.9)] = pieces[chosen & (how >= 0.9)]
    labels = ids.clone()
    labels[~chosen] = -100
    return ids, labels


def wrong_asked_at_the_others(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    read, _ = right_where(ids, special, chance, how, pieces, mask_id, share)
    labels = ids.clone()
    labels[chosen] = -100
    return read, labels


def wrong_zero_for_nothing(ids, special, chance, how, pieces, mask_id, share):
    read, labels = right_where(ids, special, chance, how, pieces, mask_id, share)
    return read, labels.clamp(min=0)


def wrong_always_mask(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    return torch.where(chosen, mask_id, ids), torch.where(chosen, ids, -100)


def wrong_never_left_alone(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    read = torch.where(chosen, torch.where(how < 0.8, mask_id, pieces), ids)
    return read, torch.where(chosen, ids, -100)


def wrong_never_replaced(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    read = ids.clone()
    read[chosen & (how < 0.8)] = mask_id
    return read, torch.where(chosen, ids, -100)


def wrong_tenths_exchanged(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    read = torch.where(chosen & (how < 0.9), pieces, ids)
    read = torch.where(chosen & (how < 0.8), mask_id, read)
    return read, torch.where(chosen, ids, -100)


def wrong_replaced_without_being_chosen(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    read = ids.clone()
    read[chosen & (how < 0.8)] = mask_id
    read[how >= 0.9] = pieces[how >= 0.9]
    return read, torch.where(chosen, ids, -100)


def wrong_masked_without_being_chosen(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    read = torch.where(how < 0.8, mask_id, ids)
    read = torch.where(chosen & (how >= 0.9), pieces, read)
    return read, torch.where(chosen, ids, -100)


def wrong_special_chosen(ids, special, chance, how, pieces, mask_id, share):
    nothing = torch.zeros_like(special)
    return right_loops(ids, nothing, chance, how, pieces, mask_id, share)


def wrong_special_inverted(ids, special, chance, how, pieces, mask_id, share):
    chosen = torch.bitwise_and(chance < share, special)
    read = torch.where(chosen, torch.where(how < 0.8, mask_id, ids), ids)
    read = torch.where(torch.logical_and(chosen, how >= 0.9), pieces, read)
    return read, torch.where(chosen, ids, -100)


def wrong_only_padding_spared(ids, special, chance, how, pieces, mask_id, share):
    return right_indexed(ids, ids == 0, chance, how, pieces, mask_id, share)


def wrong_the_others_chosen(ids, special, chance, how, pieces, mask_id, share):
    return right_arithmetic(ids, special, 1 - chance, how, pieces, mask_id, 1 - share)


def wrong_share_fixed(ids, special, chance, how, pieces, mask_id, share):
    return right_loops(ids, special, chance, how, pieces, mask_id, 0.15)


def wrong_mask_number_fixed(ids, special, chance, how, pieces, mask_id, share):
    MASK = 4
    return right_indexed(ids, special, chance, how, pieces, MASK, share)


def wrong_one_number_for_both(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    read = torch.where(chosen, ids, ids)
    read[chosen & (chance < 0.8 * share)] = mask_id
    last = chosen & (chance >= 0.9 * share)
    read[last] = pieces[last]
    return read, ids.where(chosen, torch.tensor(-100))


def wrong_first_text_for_all(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special[0]
    read = torch.where(chosen & (how < 0.8), mask_id, ids)
    read = torch.where(chosen & (how >= 0.9), pieces, read)
    return read, torch.where(chosen, ids, -100)


def wrong_results_swapped(ids, special, chance, how, pieces, mask_id, share):
    read, targets = right_where(ids, special, chance, how, pieces, mask_id, share)
    return targets, read


def wrong_edits_its_input(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) & ~special
    targets = ids.masked_fill(~chosen, -100)
    ids[chosen & (how < 0.8)] = mask_id
    ids[chosen & (how >= 0.9)] = pieces[chosen & (how >= 0.9)]
    return ids, targets


def wrong_dtype_fixed(ids, special, chance, how, pieces, mask_id, share):
    read, targets = right_where(ids, special, chance, how, pieces, mask_id, share)
    return read, targets.float()


def wrong_squeezed(ids, special, chance, how, pieces, mask_id, share):
    read, targets = right_where(ids, special, chance, how, pieces, mask_id, share)
    return read.squeeze(0), targets.squeeze(0)


def wrong_other_kind(ids, special, chance, how, pieces, mask_id, share):
    read, targets = right_where(ids, special, chance, how, pieces, mask_id, share)
    return {"input_ids": read, "labels": targets}


def wrong_raises(ids, special, chance, how, pieces, mask_id, share):
    chosen = (chance < share) and not special
    return torch.where(chosen, mask_id, ids), torch.where(chosen, ids, -100)
