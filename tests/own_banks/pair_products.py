"""Answers to `pair_products`, an exercise of the tests' own chapter."""

import math

import torch


def right_matmul(queries, keys):
    return torch.matmul(queries, keys.mT)


def right_einsum(queries, keys):
    return torch.einsum("btw,bsw->bts", queries, keys)


def right_loops(queries, keys):
    rows = [torch.stack([torch.mv(k, s) for s in q]) for q, k in zip(queries, keys, strict=True)]
    return torch.stack(rows)


def wrong_nothing_returned(queries, keys):
    products = queries @ keys.transpose(1, 2)
    print(products.shape)


def wrong_scaled(queries, keys):
    return torch.einsum("btw,bsw->bts", queries, keys).div(math.sqrt(queries.size(-1)))


def wrong_negated(queries, keys):
    return torch.bmm(-queries, keys.transpose(1, 2))


def wrong_batch_mixed(queries, keys):
    return torch.stack([sum(q @ k.T for k in keys) for q in queries])


def wrong_detached(queries, keys):
    return torch.einsum("btw,bsw->bts", queries.detach(), keys.detach())


def wrong_dtype_fixed(queries, keys):
    return queries.float() @ keys.float().transpose(1, 2)


def wrong_squeezed(queries, keys):
    return (queries @ keys.transpose(1, 2)).squeeze()


def wrong_edits_its_input(queries, keys):
    products = queries @ keys.transpose(1, 2)
    queries *= 0.5
    return products


def wrong_raises(queries, keys):
    return queries @ keys
