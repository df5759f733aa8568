"""Answers to `joined_states`: what right and wrong ones look like in the wild."""

import torch


def right_cat(final):
    return torch.cat((final[::2], final[1::2]), dim=2)


def right_transpose(final):
    _, batch, width = final.shape
    return final.view(-1, 2, batch, width).transpose(1, 2).reshape(-1, batch, 2 * width)


def right_loops(final):
    layers = []
    for layer in range(len(final) // 2):
        rows = []
        for b in range(final.shape[1]):
            rows.append(torch.cat([final[2 * layer, b], final[2 * layer + 1, b]]))
        layers.append(torch.stack(rows))
    return torch.stack(layers)


def right_einsum(final):
    pairs = torch.einsum("ldbw->lbdw", final.unflatten(0, (-1, 2)))
    return pairs.flatten(2)


def right_written_into_place(final):
    twice, batch, width = final.shape
    joined = final.new_zeros(twice // 2, batch, 2 * width)
    joined[:, :, :width] = final[0::2]
    joined[:, :, width:] = final[1::2]
    return joined


def wrong_nothing_returned(final):
    torch.cat([final[0::2], final[1::2]], dim=-1)


def wrong_mixed_by_view(final):
    layers = final.size(0) // 2
    pairs = final.view(layers, final.size(1), 2, final.size(2))
    return torch.cat([pairs[:, :, 0], pairs[:, :, 1]], dim=-1)


def wrong_halves(final):
    _, batch, width = final.shape
    directions = final.view(2, -1, batch, width)
    return torch.cat([directions[0], directions[1]], dim=-1)


def wrong_backwards_first(final):
    return final.unflatten(0, (-1, 2)).flip(1).transpose(1, 2).flatten(2)


def wrong_numbers_alternate(final):
    twice, batch, width = final.shape
    joined = final.new_zeros(twice // 2, batch, 2 * width)
    joined[..., 0::2] = final[0::2]
    joined[..., 1::2] = final[1::2]
    return joined


def wrong_added(final):
    return final.unflatten(0, (-1, 2)).sum(dim=1)


def wrong_averaged(final):
    return final.unflatten(0, (-1, 2)).mean(dim=1)


def wrong_forwards_only(final):
    return final.unflatten(0, (-1, 2))[:, 0]


def wrong_forwards_twice(final):
    return final[::2].repeat(1, 1, 2)


def wrong_one_below_the_other(final):
    return torch.cat((final[::2], final[1::2]), 1)


def wrong_along_the_layers(final):
    return torch.cat((final[::2], final[1::2]))


def wrong_last_layer_only(final):
    return torch.hstack((final[-2, :, :], final[-1, :, :]))


def wrong_first_and_last_row(final):
    return torch.cat((final[0], final[-1]), dim=1).unsqueeze(0)


def wrong_batch_before_layers(final):
    rows = [torch.cat([final[0::2, b], final[1::2, b]], dim=1) for b in range(final.shape[1])]
    return torch.stack(rows)


def wrong_all_layers_in_one_row(final):
    return torch.cat(list(final), dim=1)


def wrong_wrong_pair_of_axes(final):
    twice, batch, width = final.shape
    turned = final.permute(1, 0, 2).contiguous()
    return turned.view(twice // 2, batch, 2 * width)


def wrong_backwards_turned_round(final):
    backwards = final[1::2]
    order = torch.arange(final.shape[2] - 1, -1, -1)
    return torch.cat([final[::2], backwards[..., order]], dim=2)


def wrong_backward_batch_turned_round(final):
    backwards = torch.stack(final[1::2].unbind(1)[::-1], dim=1)
    return torch.cat([final[::2], backwards], dim=2)


def wrong_squeezed(final):
    return right_cat(final).squeeze()


def wrong_dtype_fixed(final):
    twice, batch, width = final.shape
    joined = torch.zeros(twice // 2, batch, 2 * width)
    joined[:, :, :width] = final[0::2]
    joined[:, :, width:] = final[1::2]
    return joined


def wrong_detached(final):
    return torch.from_numpy(right_cat(final).detach().numpy())


def wrong_other_gradient(final):
    return torch.cat([final[0::2], final[1::2].detach()], dim=-1)


def wrong_other_kind(final):
    return final[0::2], final[1::2]


def wrong_edits_its_input(final):
    joined = right_cat(final)
    final[1::2] = 0
    return joined
