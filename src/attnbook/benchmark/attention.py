"""Attention alone, without a model around it: against other libraries, and with several heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from attnbook.attention import Attention, attend
from attnbook.benchmark.machine import version
from attnbook.benchmark.peers import add
from attnbook.benchmark.section import (
    TOLERANCE,
    Bench,
    Section,
    Table,
    cell,
    number_at,
    threads_key,
)
from attnbook.benchmark.turns import Work, forward_and_backward, versus
from attnbook.masks import padding_mask
from attnbook.scores import ScaledDotScore
from attnbook.self_attention import MultiHeadAttention, merge_heads, split_heads

__all__ = ["TORCH_ATTENTION", "AttentionPeer", "AttentionSection", "HeadsSection"]

# Sentences, queries and keys of attention alone; one call is too short for a clock.
BATCH, TARGET, SOURCE, CALLS = 64, 14, 16, 10
# Self-attention with several heads: so many where the width allows it, of sentences so long, so
# many words in all.
HEADS, HEAD_LENGTHS, HEAD_WORDS = 8, (32, 128, 1024), 2048

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Form = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class AttentionPeer:
    """Attention alone, twice: this package's, and another library's with the same weights.

    It is built where torch's default device is the one that is measured.

    Attributes:
        ours: maps queries, keys and a mask (True = may be attended to) to contexts.
        theirs: the same.
        package: the library's name in the package index.
        notes: what had to be set for both to be the same.
    """

    ours: Attend
    theirs: Attend
    package: str = "torch"
    notes: str = ""


def _sdpa(width: int) -> AttentionPeer:
    attention = Attention(ScaledDotScore())
    return AttentionPeer(
        lambda queries, keys, mask: attention(queries, keys, keys, mask).context,
        lambda queries, keys, mask: functional.scaled_dot_product_attention(
            queries, keys, keys, attn_mask=mask
        ),
    )


def _multihead(width: int) -> AttentionPeer:
    """One head; our half projects with the same four matrices."""
    module = nn.MultiheadAttention(width, 1, batch_first=True)
    attention = Attention(ScaledDotScore())
    weights = module.in_proj_weight.detach().chunk(3)
    project = [nn.Parameter(one.clone()) for one in (*weights, module.out_proj.weight.detach())]

    def ours(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        query, key, value, out = project
        found = attention(queries @ query.T, keys @ key.T, keys @ value.T, mask)
        contexts: Tensor = found.context @ out.T
        return contexts

    def theirs(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = module(queries, keys, keys, ~mask[:, 0], need_weights=False)[0]
        return found

    return AttentionPeer(ours, theirs, notes="one head, no bias learned yet; its mask is inverted")


# From torch itself; adapters bring more.
TORCH_ATTENTION: dict[str, Callable[[int], AttentionPeer]] = {
    "torch-sdpa": _sdpa,
    "torch-multihead": _multihead,
}


class AttentionSection(Section):
    """Attention of one head: equal contexts first, then forward and backward."""

    name = "attention"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.peers: dict[str, AttentionPeer] = bench.build_each(
            bench.attention_peers, self.plan.hidden_dim
        )

    def measure(self, threads: int) -> None:
        """Pair by pair, on the same queries, keys and padding."""
        for name, peer in self.peers.items():
            self._compare(name, peer, threads_key(threads))

    def _compare(self, name: str, peer: AttentionPeer, key: str) -> None:
        queries, keys, mask = self._inputs()
        ours, theirs = peer.ours(queries, keys, mask), peer.theirs(queries, keys, mask)
        difference = float((ours - theirs).detach().abs().max() / ours.detach().abs().max())
        entry: dict[str, Any] = self.result.setdefault(name, {})
        entry |= {"package": peer.package, "version": version(peer.package), "notes": peer.notes}
        entry["difference"] = difference
        if not difference < TOLERANCE:
            self.bench.refuse(entry, name, f"the contexts differ by {difference:.2g}")
            return

        def work(attend: Attend) -> Work:
            def call() -> float:
                for _ in range(CALLS):
                    attend(queries, keys, mask).sum().backward()
                    queries.grad = keys.grad = None
                return float(CALLS)

            return call

        works = {"ours": work(peer.ours), "theirs": work(peer.theirs)}
        add(entry, key, versus(self.bench.take_turns(f"{name}, {key}", works), "calls"))

    def _inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys that want a gradient, and a mask of sentences of all lengths."""
        device, width = self.bench.device, self.plan.hidden_dim
        torch.manual_seed(self.plan.seed)
        queries = torch.randn(BATCH, TARGET, width, device=device, requires_grad=True)
        keys = torch.randn(BATCH, SOURCE, width, device=device, requires_grad=True)
        lengths = torch.arange(BATCH) % SOURCE + 1
        return queries, keys, padding_mask(lengths, SOURCE).to(device).unsqueeze(1)

    @classmethod
    def tables(cls, result: Mapping[str, Any]) -> list[Table]:
        """A pair in each row."""
        rows = [
            (name, entry["version"], cell(number_at(entry, "ratio"), ".2f"))
            for name, entry in result.get(cls.name, {}).items()
        ]
        head = ("peer", "version", "forward, backward")
        return [Table("Attention alone: times as fast", head, rows)] if rows else []


class HeadsSection(Section):
    """Self-attention with several heads, against torch's module and against the formula."""

    name = "heads"

    def measure(self, threads: int) -> None:
        """By length of the sentences."""
        for length in HEAD_LENGTHS:
            self._compare(length, threads_key(threads))

    def _compare(self, length: int, key: str) -> None:
        width, device = self.plan.hidden_dim, self.bench.device
        with device:
            forms = heads(width)
            x = torch.randn(max(1, HEAD_WORDS // length), length, width, requires_grad=True)
        outputs = [form(x).detach() for _, form in forms.values()]
        difference = max(float((one - outputs[0]).abs().max()) for one in outputs)
        entry: dict[str, Any] = self.result.setdefault(str(length), {})
        entry["difference"] = difference
        if not difference < TOLERANCE:
            reason = f"the outputs differ by {difference:.2g}"
            self.bench.refuse(entry, f"heads, length {length}", reason)
            return

        def work(module: nn.Module, form: Form) -> Work:
            return forward_and_backward(lambda: form(x).sum(), module)

        works = {name: work(*form) for name, form in forms.items()}
        rates = self.bench.take_turns(f"heads, length {length}, {key}", works)
        measured = {
            name: versus({"ours": rates["ours"], "theirs": rates[name]}, "calls")
            for name in ("torch", "formula")
        }
        add(entry, key, measured)

    @classmethod
    def tables(cls, result: Mapping[str, Any]) -> list[Table]:
        """A length in each row."""
        rows = [
            (
                length,
                *(cell(number_at(entry, name, "ratio"), ".2f") for name in ("torch", "formula")),
            )
            for length, entry in result.get(cls.name, {}).items()
        ]
        title = f"Self-attention with {HEADS} heads: times as fast"
        head = ("length", "nn.MultiheadAttention", "the formula")
        return [Table(title, head, rows)] if rows else []


def heads(width: int) -> dict[str, tuple[nn.Module, Form]]:
    """Three forms of one self-attention with the same weights, each with what it is made of.

    ``ours``: :class:`~attnbook.self_attention.MultiHeadAttention`, weights not asked for.
    ``torch``: ``nn.MultiheadAttention``, weights not asked for.
    ``formula``: three projections, and :func:`~attnbook.attention.attend` on the heads.
    """
    torch.manual_seed(0)
    count = math.gcd(width, HEADS)
    ours = MultiHeadAttention(width, count)
    theirs = nn.MultiheadAttention(width, count, batch_first=True)
    three = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.data.copy_(torch.cat([one.weight for one in three]))
    theirs.in_proj_bias.data.copy_(torch.cat([one.bias for one in three]))
    theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    apart = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
    for layer, own in zip(apart, (*three, ours.out_proj), strict=True):
        layer.load_state_dict(own.state_dict())

    def formula(x: Tensor) -> Tensor:
        *made, last = apart
        found = attend(*(split_heads(layer(x), count) for layer in made))
        output: Tensor = last(merge_heads(found.context))
        return output

    return {
        "ours": (ours, lambda x: ours(x, x, x).output),
        "torch": (theirs, lambda x: theirs(x, x, x, need_weights=False)[0]),
        "formula": (apart, formula),
    }
