"""Answers to `masked_mean`, an exercise of the tests' own chapter."""

import torch


def right_where(values, mask):
    counted = torch.where(mask[..., None], values, torch.zeros_like(values))
    return counted.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)


def right_product(values, mask):
    weights = mask.to(values.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bs,bsw->bw", weights, values)


def wrong_nothing_returned(values, mask):
    values.mean(dim=1)


def wrong_no_mask(values, mask):
    return values.sum(1) / values.shape[1]


def wrong_divided_by_all(values, mask):
    return (values * mask.unsqueeze(-1)).sum(dim=1) / mask.shape[1]


def wrong_mask_inverted(values, mask):
    hidden = ~mask
    return (values * hidden[..., None]).sum(1) / hidden.sum(1, keepdim=True).clamp(min=1)


def wrong_not_a_number(values, mask):
    return (values * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def wrong_other_kind(values, mask):
    return (values * mask.unsqueeze(-1)).sum(dim=1).tolist()


def wrong_other_shape(values, mask):
    return (values * mask.unsqueeze(-1)).sum(dim=1, keepdim=True)
