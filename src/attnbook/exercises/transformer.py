"""The exercises of chapter 13: a layer, a step with kept keys, a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnbook.exercises.definition import Case, Chapter, Draw, Exercise, Mistake
from attnbook.exercises.probes import TinyTransformer

__all__ = ["CHAPTER"]


# --- pre_norm_block ---------------------------------------------------------------------------


def ask_others(states: Tensor, mask: Tensor, attention: dict[str, Tensor]) -> Tensor:
    """Self-attention with one head: what each word finds among the words of its sentence.

    states: (batch, words, width); mask: bool (batch, words), True = a real word; attention: four
    matrices (width, width), "query", "key", "value" and "out". Gives (batch, words, width).
    """
    queries, keys, values = (states @ attention[name] for name in ("query", "key", "value"))
    scores = queries @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])
    scores = scores.masked_fill(~mask.unsqueeze(1), -torch.inf)
    return torch.softmax(scores, dim=-1) @ values @ attention["out"]


def think_over(states: Tensor, network: dict[str, Tensor]) -> Tensor:
    """The network with one hidden layer, at each word by itself.

    states: (batch, words, width); network: "widen" (width, hidden), "widen_bias" (hidden), "narrow"
    (hidden, width), "narrow_bias" (width). Gives (batch, words, width).
    """
    hidden = torch.relu(states @ network["widen"] + network["widen_bias"])
    return hidden @ network["narrow"] + network["narrow_bias"]


def pre_norm_block(
    states: Tensor,
    mask: Tensor,
    attention: dict[str, Tensor],
    network: dict[str, Tensor],
    gains: Tensor,
    biases: Tensor,
) -> Tensor:
    """One layer of a Transformer's encoder with the norms before the functions.

    Two sublayers, each x + f(norm(x)): with `ask_others(…, mask, attention)`, then with
    `think_over(…, network)`.
    norm(x): from each word's vector its mean is subtracted; the rest is divided by
    √(variance + 0.00001), where the variance is the mean of its squares; then it is multiplied by a
    gain for each place in the vector, and a bias is added. gains, biases: (2, width), the first row for the norm before the
    attention, the second for the norm before the network.
    states: (batch, words, width); mask: bool (batch, words), True = a real word.
    Gives (batch, words, width).
    """
    # BEGIN SOLUTION
    width = states.shape[-1:]
    normed = F.layer_norm(states, width, gains[0], biases[0])
    states = states + ask_others(normed, mask, attention)
    normed = F.layer_norm(states, width, gains[1], biases[1])
    return states + think_over(normed, network)
    # END SOLUTION


def _layer(
    draw: Draw, width: int, hidden: int, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """The parameters of a layer, in the order of the signature."""
    return {
        "attention": {
            name: draw.normal(width, width, dtype=dtype)
            for name in ("query", "key", "value", "out")
        },
        "network": {
            "widen": draw.normal(width, hidden, dtype=dtype),
            "widen_bias": draw.normal(hidden, dtype=dtype),
            "narrow": draw.normal(hidden, width, dtype=dtype),
            "narrow_bias": draw.normal(width, dtype=dtype),
        },
        "gains": draw.normal(2, width, std=0.3, dtype=dtype) + 1,
        "biases": draw.normal(2, width, dtype=dtype),
    }


def _real(*lengths: int) -> Tensor:
    """A mask of so many real words in each sentence."""
    return torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)


def _block_cases(draw: Draw) -> Iterator[Case]:
    silent = _layer(draw, 4, 3)
    silent["attention"]["out"] = torch.zeros(4, 4)
    silent["network"] |= {"narrow": torch.zeros(3, 4), "narrow_bias": torch.zeros(4)}
    yield Case(
        "a layer that has nothing to say lets the words pass",
        {"states": draw.normal(1, 2, 4, std=3.0), "mask": _real(2), **silent},
        hint="Attention and network give zeros here. What they give is added to the states, so the "
        "states have to come out as they went in.",
    )
    thinking = _layer(draw, 4, 3)
    thinking["attention"]["out"] = torch.zeros(4, 4)
    yield Case(
        "what the network makes of the normed states is added to them",
        {"states": draw.normal(1, 2, 4, std=3.0), "mask": _real(2), **thinking},
        hint="The attention gives zeros here: only the second sublayer shows.",
    )
    yield Case(
        "both sublayers have a norm of their own",
        {"states": draw.normal(2, 3, 4), "mask": _real(3, 3), **_layer(draw, 4, 5)},
        hint="Each norm has its own row of gains and biases.",
    )
    yield Case(
        "no word looks at padding",
        {"states": draw.normal(3, 4, 2), "mask": _real(4, 2, 1), **_layer(draw, 2, 3)},
        hint="The mask goes into `ask_others`.",
    )
    yield Case(
        "each word is normed by itself, whatever the sizes are",
        {"states": draw.normal(3, 3, 3) * 2, "mask": _real(3, 2, 3), **_layer(draw, 3, 3)},
    )
    flat = draw.normal(1, 3, 4)
    flat[0, 1] = 0.5
    yield Case(
        "a vector whose numbers are all alike can be normed",
        {"states": flat, "mask": _real(3), **_layer(draw, 4, 5)},
        hint="Its variance is 0. That is what the 0.00001 under the root is for.",
    )
    yield Case(
        "a sentence of one word is a sentence",
        {"states": draw.normal(1, 1, 5), "mask": _real(1), **_layer(draw, 5, 3)},
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to states, gains and biases",
        {
            "states": draw.normal(2, 3, 4, dtype=torch.float64),
            "mask": _real(2, 3),
            **_layer(draw, 4, 3, torch.float64),
        },
        gradients=("states", "gains", "biases"),
    )


Norm = Callable[[Tensor, Tensor, Tensor], Tensor]


def _norm(states: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(states, states.shape[-1:], gain, bias)


def _with_norm(norm: Norm) -> Any:
    """The right layer with another norm."""

    def wrong(states: Any, mask: Any, attention: Any, network: Any, gains: Any, biases: Any) -> Any:
        states = states + ask_others(norm(states, gains[0], biases[0]), mask, attention)
        return states + think_over(norm(states, gains[1], biases[1]), network)

    return wrong


def _order(layer: Any) -> Any:
    """A layer written down with the right parts: attention, network, first norm, second norm."""

    def wrong(states: Any, mask: Any, attention: Any, network: Any, gains: Any, biases: Any) -> Any:
        return layer(
            states,
            lambda x: ask_others(x, mask, attention),
            lambda x: think_over(x, network),
            lambda x: _norm(x, gains[0], biases[0]),
            lambda x: _norm(x, gains[1], biases[1]),
        )

    return wrong


def _normed_residual(x: Tensor, a: Any, f: Any, n: Any, m: Any) -> Any:
    x = n(x)
    x = m(x + a(x))
    return x + f(x)


def _no_first_sum(x: Tensor, a: Any, f: Any, n: Any, m: Any) -> Any:
    x = a(n(x))
    return x + f(m(x))


def _sum_of(first: Any, second: Any) -> Any:
    """Two sublayers, each a function of the states, the function and the norm."""
    return _order(lambda x, a, f, n, m: second(first(x, a, n), f, m))


def _pre(x: Tensor, function: Any, norm: Any) -> Any:
    return x + function(norm(x))


def _population(states: Tensor, dim: Any, gain: Tensor, bias: Tensor) -> Tensor:
    """Normed over other axes than the last."""
    mean = states.mean(dim=dim, keepdim=True)
    variance = states.var(dim=dim, correction=0, keepdim=True)
    return (states - mean) / torch.sqrt(variance + 1e-5) * gain + bias


def _centred(states: Tensor) -> Tensor:
    return states - states.mean(dim=-1, keepdim=True)


def _spread(states: Tensor) -> Tensor:
    return states.var(dim=-1, correction=0, keepdim=True)


PRE_NORM_BLOCK = Exercise(
    solution=pre_norm_block,
    title="A layer, with the norms before the functions",
    difficulty=2,
    minutes=20,
    points=3,
    goal="Put an encoder's layer together: ask the others, then think it over, each a function "
    "whose result is *added* to what went in, and each with a norm before it. The two functions are "
    "given; the norms and the sums are yours.",
    shapes="`states` (batch, words, width); `mask` bool (batch, words), True = a real word; "
    "`attention` and `network`, dictionaries that you hand on; `gains`, `biases` (2, width), a row "
    "for each norm → states (batch, words, width).",
    example="If both functions give zeros, the states come out as they went in. The norm of "
    "$(1, 3, 5, 7)$, with gains of 1 and biases of 0: the mean is 4, the variance "
    "$(9 + 1 + 1 + 9)/4 = 5$, and the result $(-3, -1, 1, 3)/\\sqrt 5$, that is "
    "$(-1.34, -0.45, 0.45, 1.34)$.",
    section="transformer-norm",
    explanation="The states themselves are never normed, only the copy that goes into a function: "
    "from the bottom of the stack to the top there is a path of plus signs. `F.layer_norm` with "
    "`states.shape[-1:]` norms over the last axis, each word by itself, with the variance that "
    "divides by the number of numbers, and 0.00001 under the root. Since nothing norms the last "
    "sum, a stack of such layers needs one more norm at its end.",
    start="Write the first sublayer in two lines: the norm of the states, with the first row of "
    "gains and biases; then the states plus what `ask_others` finds in the normed ones.",
    more="`normed = F.layer_norm(states, states.shape[-1:], gains[0], biases[0])`, then `states = "
    "states + ask_others(normed, mask, attention)`. The second sublayer is the same with `gains[1]`, "
    "`biases[1]` and `think_over`.",
    cases=_block_cases,
    given=(ask_others, think_over),
    mistakes=(
        Mistake(
            "post-norm",
            "The norm stands behind the sum: this is *post*, the paper's order. What comes out is "
            "normed, and a layer with nothing to say changes the words all the same.",
            "`x + f(norm(x))`, not `norm(x + f(x))`.",
            _order(lambda x, a, f, n, m: (lambda y: m(y + f(y)))(n(x + a(x)))),
        ),
        Mistake(
            "normed-after-the-function",
            "The functions get the states as they are, and what they give is normed before it is "
            "added. The norm belongs in front of the function.",
            "`x + f(norm(x))`, not `x + norm(f(x))`.",
            _order(lambda x, a, f, n, m: (lambda y: y + m(f(y)))(x + n(a(x)))),
        ),
        Mistake(
            "normed-twice",
            "There is a norm before the function and another one behind the sum.",
            "One norm in each sublayer, before the function; the sum stays as it is.",
            _order(lambda x, a, f, n, m: (lambda y: m(y + f(m(y))))(n(x + a(n(x))))),
        ),
        Mistake(
            "no-norm",
            "Nothing is normed: the functions get the running sum as it is, and it grows with each "
            "layer.",
            "Norm what goes into each function.",
            _order(lambda x, a, f, n, m: (lambda y: y + f(y))(x + a(x))),
        ),
        Mistake(
            "only-the-attention-normed",
            "The network gets states that were never normed.",
            "The second sublayer has its norm as well, with the second row of gains and biases.",
            _sum_of(_pre, lambda x, f, m: x + f(x)),
        ),
        Mistake(
            "first-sum-missing",
            "What the attention found has taken the place of the states: where it finds nothing, "
            "the words are lost.",
            "Add: `states + ask_others(…)`.",
            _order(_no_first_sum),
        ),
        Mistake(
            "second-sum-missing",
            "What the network gives has taken the place of the states.",
            "Add: `states + think_over(…)`.",
            _sum_of(_pre, lambda x, f, m: f(m(x))),
        ),
        Mistake(
            "no-sum",
            "Nothing is added: each function replaces what went into it. That is a network without "
            "the path of plus signs.",
            "Both sublayers are `x + f(norm(x))`.",
            _order(lambda x, a, f, n, m: f(m(a(n(x))))),
        ),
        Mistake(
            "sum-with-the-normed",
            "You added to the *normed* states. The norm has taken their size away, and it stands in "
            "the path of plus signs again.",
            "Keep the states under one name and the normed copy under another: the copy goes into "
            "the function, the states into the sum.",
            _order(_normed_residual),
        ),
        Mistake(
            "second-sum-with-the-first-states",
            "What the network gives was added to the states from before the attention: what the "
            "attention found reaches the layer above only as far as the network passes it on.",
            "The second sublayer begins with what the first one gave.",
            _order(lambda x, a, f, n, m: x + f(m(x + a(n(x))))),
        ),
        Mistake(
            "side-by-side",
            "Attention and network both read the layer's input. The network is to think over what "
            "the attention has found.",
            "Finish the first sublayer with its sum, then norm that for the network.",
            _order(lambda x, a, f, n, m: x + a(n(x)) + f(m(x))),
        ),
        Mistake(
            "network-first",
            "The network comes before the attention.",
            "Ask the others first, then think it over.",
            _order(lambda x, a, f, n, m: (lambda y: y + a(n(y)))(x + f(m(x)))),
        ),
        Mistake(
            "norms-exchanged",
            "The two norms have changed places.",
            "The first row of gains and biases belongs to the norm before the attention.",
            _order(lambda x, a, f, n, m: _pre(_pre(x, a, m), f, n)),
        ),
        Mistake(
            "one-norm-for-both",
            "Both sublayers use the first norm's gains and biases.",
            "`gains[1]` and `biases[1]` before the network.",
            _order(lambda x, a, f, n, m: _pre(_pre(x, a, n), f, n)),
        ),
        Mistake(
            "gains-and-biases-forgotten",
            "The norm has neither gain nor bias: every vector that a function gets has the mean 0 "
            "and the variance 1, whatever training has found.",
            "Multiply by the norm's row of `gains`, add its row of `biases`.",
            _with_norm(lambda x, gain, bias: _norm(x, gain * 0 + 1, bias * 0)),
        ),
        Mistake(
            "biases-forgotten",
            "The norm's bias is missing.",
            "Add its row of `biases` at the end.",
            _with_norm(lambda x, gain, bias: _norm(x, gain, bias * 0)),
        ),
        Mistake(
            "mask-forgotten",
            "Padding was looked at: the mask has no effect.",
            "Hand `mask` on to `ask_others`.",
            lambda states, mask, attention, network, gains, biases: pre_norm_block(
                states, torch.ones_like(mask), attention, network, gains, biases
            ),
        ),
        Mistake(
            "normed-over-the-batch",
            "Mean and variance were taken over the words and sentences of the batch: that is batch "
            "norm. What comes out for one sentence depends on its neighbours.",
            "Over the last axis, the numbers of one word: `dim=-1`.",
            _with_norm(lambda x, gain, bias: _population(x, (0, 1), gain, bias)),
        ),
        Mistake(
            "normed-over-the-sentence",
            "Mean and variance were taken over all words of a sentence, padding included. Each word "
            "is normed by itself.",
            "Over the last axis and no other: `dim=-1`, or `states.shape[-1:]` for `F.layer_norm`.",
            _with_norm(lambda x, gain, bias: _population(x, (1, 2), gain, bias)),
        ),
        Mistake(
            "normed-over-the-words",
            "Mean and variance were taken along the sentence, for each place in the vector.",
            "Over the last axis, the numbers of one word: `dim=-1`.",
            _with_norm(lambda x, gain, bias: _population(x, 1, gain, bias)),
        ),
        Mistake(
            "divided-by-one-less",
            "The variance was divided by one less than there are numbers, as `std` and `var` do "
            "unless they are told otherwise.",
            "`correction=0`, or the mean of the squares.",
            _with_norm(
                lambda x, gain, bias: _centred(x)
                / torch.sqrt(x.var(dim=-1, keepdim=True) + 1e-5) * gain + bias
            ),
        ),
        Mistake(
            "no-root",
            "The vectors were divided by their variance.",
            "By its square root, the standard deviation.",
            _with_norm(
                lambda x, gain, bias: _centred(x) / (_spread(x) + 1e-5) * gain + bias
            ),
        ),
        Mistake(
            "mean-left-in",
            "The vectors were divided by their spread, and their mean was not taken out.",
            "Subtract each word's mean first.",
            _with_norm(
                lambda x, gain, bias: x / torch.sqrt(_spread(x) + 1e-5) * gain + bias
            ),
        ),
        Mistake(
            "root-mean-square",
            "The vectors were divided by the root of the mean of their squares: a norm that some "
            "later models have, and another one than the page's.",
            "Subtract the mean before you square.",
            _with_norm(
                lambda x, gain, bias: x
                / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + 1e-5) * gain + bias
            ),
        ),
        Mistake(
            "nothing-under-the-root",
            "The 0.00001 is missing: a vector whose numbers are all alike has the variance 0, and "
            "0/0 is NaN.",
            "Add it to the variance before you take the root.",
            _with_norm(lambda x, gain, bias: _centred(x) / _spread(x).sqrt() * gain + bias),
        ),
        Mistake(
            "added-behind-the-root",
            "The 0.00001 was added to the standard deviation. It belongs to the variance, under the "
            "root, where it also keeps the gradient of the root finite.",
            "`torch.sqrt(variance + 1e-5)`.",
            _with_norm(
                lambda x, gain, bias: _centred(x) / (_spread(x).sqrt() + 1e-5) * gain + bias
            ),
        ),
    ),
)  # fmt: skip


# --- cached_step ------------------------------------------------------------------------------


def cached_step(
    state: Tensor,
    keys: Tensor,
    values: Tensor,
    to_query: Tensor,
    to_key: Tensor,
    to_value: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of a decoder's self-attention: only the new word is computed.

    state: (batch, 1, width), of the new word; keys: (batch, past, head) and values: (batch, past,
    head), of all words before it, none at the first step; to_query, to_key, to_value: (width, head).
    Gives what the new word finds among the words before and itself, (batch, 1, head), and the keys
    and the values for the next step, (batch, past + 1, head) each. Scores are divided by the square
    root of head.
    """
    # BEGIN SOLUTION
    keys = torch.cat([keys, state @ to_key], dim=1)
    values = torch.cat([values, state @ to_value], dim=1)
    scores = state @ to_query @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])
    return torch.softmax(scores, dim=-1) @ values, keys, values
    # END SOLUTION


def _step_inputs(
    draw: Draw, batch: int, past: int, width: int, head: int, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    return {
        "state": draw.normal(batch, 1, width, dtype=dtype),
        "keys": draw.normal(batch, past, head, dtype=dtype),
        "values": draw.normal(batch, past, head, dtype=dtype),
        "to_query": draw.normal(width, head, dtype=dtype),
        "to_key": draw.normal(width, head, dtype=dtype),
        "to_value": draw.normal(width, head, dtype=dtype),
    }


def _step_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "the new word asks the words before it and itself",
        _step_inputs(draw, 1, 2, 3, 2),
        hint="Three keys take part here: two from the cache, and the new word's own behind them.",
    )
    yield Case(
        "keys and values grow by one word",
        _step_inputs(draw, 2, 3, 2, 4),
        hint="Compare the second and the third result with the cache that came in.",
    )
    yield Case(
        "at the first step the new word finds itself",
        _step_inputs(draw, 2, 0, 3, 4),
        hint="The cache is empty: one key, one weight, 1.",
    )
    yield Case(
        "sizes that are equal by chance change nothing",
        _step_inputs(draw, 3, 3, 3, 3),
    )
    long = _step_inputs(draw, 1, 6, 2, 3)
    long["state"] = long["state"] + 0.4
    yield Case("a batch of one with a longer past", long)
    yield Case(
        "one word in the cache of one sentence",
        _step_inputs(draw, 1, 1, 4, 3),
    )
    yield Case(
        "the dtype of the input is kept, and gradients flow to everything",
        _step_inputs(draw, 2, 2, 4, 3, torch.float64),
        gradients=("state", "keys", "values", "to_query", "to_key", "to_value"),
    )


def _stepped(grow: Any = None, look: Any = None, back: Any = None, scale: Any = None) -> Any:
    """The right step with another way of growing the cache, of looking, or of giving back."""

    def wrong(state: Any, keys: Any, values: Any, q: Any, k: Any, v: Any) -> Any:
        if grow is None:
            more = torch.cat([keys, state @ k], dim=1), torch.cat([values, state @ v], dim=1)
        else:
            more = grow(state, keys, values, k, v)
        seen = more if look is None else look(more, keys, values)
        scores = state @ q @ seen[0].transpose(1, 2)
        scores = scores / (math.sqrt(keys.shape[-1]) if scale is None else scale(state, seen[0]))
        found = torch.softmax(scores, dim=-1) @ seen[1]
        return (found, *more) if back is None else back(found, more, keys, values)

    return wrong


def _over_the_step(state: Any, keys: Any, values: Any, q: Any, k: Any, v: Any) -> Any:
    keys, values = torch.cat([keys, state @ k], dim=1), torch.cat([values, state @ v], dim=1)
    scores = state @ q @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])
    return torch.softmax(scores, dim=1) @ values, keys, values


def _no_softmax(state: Any, keys: Any, values: Any, q: Any, k: Any, v: Any) -> Any:
    keys, values = torch.cat([keys, state @ k], dim=1), torch.cat([values, state @ v], dim=1)
    return state @ q @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1]) @ values, keys, values


def _itself_not_seen(state: Any, keys: Any, values: Any, q: Any, k: Any, v: Any) -> Any:
    more = torch.cat([keys, state @ k], dim=1), torch.cat([values, state @ v], dim=1)
    scores = state @ q @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])
    return torch.softmax(scores, dim=-1) @ values, *more


CACHED_STEP = Exercise(
    solution=cached_step,
    title="A step with keys and values that are kept",
    difficulty=2,
    minutes=15,
    points=3,
    goal="A decoder writes word by word, and under the causal mask the words before never learn of "
    "the new one: their keys and values stay what they were. So compute one query, one key and one "
    "value, let the new word look at everything so far, and hand the longer cache on.",
    shapes="`state` (batch, 1, width); `keys`, `values` (batch, past, head), past may be 0; three "
    "matrices (width, head) → found (batch, 1, head), keys and values (batch, past + 1, head).",
    example="All three matrices are the identity, the new state is $(1, 1)$, the cache has the key "
    "$(2, 0)$ and the value $(4, 0)$. The query $(1, 1)$ has the product 2 with the kept key and 2 "
    "with its own; both scores are $2/\\sqrt 2$, so both weights are $1/2$, and the word finds $(4, 0)/2 + (1, 1)/2 = (2.5, 0.5)$. "
    "The keys are $(2, 0), (1, 1)$ now, the values $(4, 0), (1, 1)$.",
    section="transformer-cache",
    explanation="The new key and value join the cache *before* the word looks, since it may look at "
    "itself. There is no mask: the row of the causal mask that belongs to the last word is True "
    "everywhere. Nothing else of the full computation is needed, because its other rows are those "
    "of the steps before. What comes out is the same, in a time that grows with the length and not "
    "with its square.",
    start="First make the new word's key and value and set them behind those of the cache. Then it "
    "is attention with a single query.",
    more="`keys = torch.cat([keys, state @ to_key], dim=1)`, and the values likewise; the query is "
    "`state @ to_query`, its scores are with all keys. Return the result, the keys, the values.",
    cases=_step_cases,
    mistakes=(
        Mistake(
            "itself-not-seen",
            "The new word looked at the words before it and not at itself; at the first step it "
            "finds nothing. The causal mask allows position t to see position t.",
            "Let the cache grow before the scores are computed.",
            _itself_not_seen,
        ),
        Mistake(
            "cache-not-grown",
            "What the word finds is right, but the cache comes back as it went in: the next word "
            "will not see this one.",
            "Return the keys and values with the new word's behind them.",
            _stepped(back=lambda found, more, keys, values: (found, keys, values)),
        ),
        Mistake(
            "only-the-new-kept",
            "The cache that you give back has the new word alone.",
            "Return all keys and values, the new ones behind the old.",
            _stepped(
                back=lambda found, more, keys, values: (found, more[0][:, -1:], more[1][:, -1:])
            ),
        ),
        Mistake(
            "oldest-dropped",
            "The cache does not grow: for the new word the oldest one was dropped.",
            "Keep everything. A window is another method, with another result.",
            _stepped(
                back=lambda found, more, keys, values: (
                    (found, *more) if not keys.shape[1] else (found, more[0][:, 1:], more[1][:, 1:])
                )
            ),
        ),
        Mistake(
            "new-word-in-front",
            "The new word's key and value stand before those of the cache. The weights do not mind, "
            "but whoever reads the cache by position does.",
            "Old ones first: `torch.cat([keys, new], dim=1)`.",
            _stepped(
                grow=lambda x, keys, values, k, v: (
                    torch.cat([x @ k, keys], dim=1), torch.cat([x @ v, values], dim=1)
                )
            ),
        ),
        Mistake(
            "caches-exchanged",
            "Keys and values come back in each other's place.",
            "What was found, then the keys, then the values.",
            _stepped(back=lambda found, more, keys, values: (found, more[1], more[0])),
        ),
        Mistake(
            "cache-first",
            "The cache comes first and what was found last.",
            "What was found, then the keys, then the values.",
            _stepped(back=lambda found, more, keys, values: (*more, found)),
        ),
        Mistake(
            "only-itself",
            "The new word looked at itself alone; the cache was handed on without being read.",
            "The scores are with all keys.",
            _stepped(look=lambda more, keys, values: (more[0][:, -1:], more[1][:, -1:])),
        ),
        Mistake(
            "first-word-only",
            "The new word sees only the first word of the cache, as if it stood in the first row of "
            "a causal mask. It stands in the last.",
            "Leave the mask out: a word that stands last may see everything.",
            _stepped(look=lambda more, keys, values: (more[0][:, :1], more[1][:, :1])),
        ),
        Mistake(
            "no-root",
            "The scores were not divided by the square root of the head's width.",
            "Divide by `math.sqrt(keys.shape[-1])`.",
            _stepped(scale=lambda state, keys: 1.0),
        ),
        Mistake(
            "root-forgotten",
            "The scores were divided by the head's width, not by its square root.",
            "Divide by `math.sqrt(keys.shape[-1])`.",
            _stepped(scale=lambda state, keys: keys.shape[-1]),
        ),
        Mistake(
            "root-of-the-length",
            "The scores were divided by the square root of the number of words.",
            "The last axis of the keys is the width, the one before it the words.",
            _stepped(scale=lambda state, keys: math.sqrt(keys.shape[1])),
        ),
        Mistake(
            "root-of-the-model",
            "The scores were divided by the root of the state's width. What counts is the width of "
            "the vectors that are multiplied, queries and keys.",
            "Divide by `math.sqrt(keys.shape[-1])`.",
            _stepped(scale=lambda state, keys: math.sqrt(state.shape[-1])),
        ),
        Mistake(
            "softmax-over-the-step",
            "Every weight is 1: the softmax ran over the axis of the new word, which has one entry.",
            "Over the keys: `dim=-1`.",
            _over_the_step,
        ),
        Mistake(
            "no-softmax",
            "The scores were used as weights.",
            "`torch.softmax(scores, dim=-1)` before the values.",
            _no_softmax,
        ),
        Mistake(
            "values-scored",
            "The query was compared with the values.",
            "Compare with the keys; the weights then mix the values.",
            _stepped(look=lambda more, keys, values: (more[1], more[1])),
        ),
        Mistake(
            "keys-summed",
            "The keys were mixed, not the values.",
            "Compare with the keys; the weights then mix the values.",
            _stepped(look=lambda more, keys, values: (more[0], more[0])),
        ),
        Mistake(
            "key-for-value",
            "The new word's key stands in the cache of values, too.",
            "The value is `state @ to_value`.",
            _stepped(
                grow=lambda x, keys, values, k, v: (
                    torch.cat([keys, x @ k], dim=1), torch.cat([values, x @ k], dim=1)
                )
            ),
        ),
        Mistake(
            "key-asks",
            "The new word asks with its key: the matrix of queries has no effect.",
            "The query is `state @ to_query`.",
            lambda state, keys, values, q, k, v: cached_step(state, keys, values, k, k, v),
        ),
        Mistake(
            "matrices-transposed",
            "The matrices were multiplied the other way round. Here a state is a row: row times "
            "matrix.",
            "`state @ to_key` without a transpose (`F.linear` transposes by itself).",
            lambda state, keys, values, q, k, v: cached_step(state, keys, values, q.T, k.T, v.T),
        ),
        Mistake(
            "state-kept",
            "The new word's state went into the cache as it is, without the matrices.",
            "What is kept is `state @ to_key` and `state @ to_value`.",
            _stepped(
                grow=lambda x, keys, values, k, v: (
                    torch.cat([keys, x], dim=1), torch.cat([values, x], dim=1)
                )
            ),
        ),
        Mistake(
            "cache-projected-again",
            "The kept keys and values went through the matrices a second time.",
            "They were projected at the step of their own word. Project the new state only.",
            _stepped(
                grow=lambda x, keys, values, k, v: (
                    torch.cat([keys, x], dim=1) @ k, torch.cat([values, x], dim=1) @ v
                )
            ),
        ),
    ),
)  # fmt: skip


# --- train_transformer ------------------------------------------------------------------------


def train_transformer(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[Tensor, Tensor]],
    rate: float,
    warmup: int,
) -> list[float]:
    """Train a Transformer, one step for each batch, and leave it ready to be used.

    model: `model(source, target, source_mask, target_mask)` gives (batch, target, words), see
    `TinyTransformer`; it reads the target's words and predicts at each place the next one.
    optimizer: of the model's parameters.
    batches: pairs of ids, source (batch, source) and target (batch, target). A target is `<sos>`
    (2), words, `<eos>` (3); both are filled up with `<pad>` (0) at the right.
    rate, warmup: step s, counted from 1, has the learning rate `rate * min(1, s / warmup)`.

    The loss of a step is the mean of -log p(next word) over all words of the batch that are to be
    predicted, `<eos>` included, padding not. The model learns in training mode (dropout on) and is
    left in evaluation mode. Gives the loss of each step, before its update, as numbers.
    """
    # BEGIN SOLUTION
    losses = []
    model.train()
    for step, (source, target) in enumerate(batches, start=1):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / warmup)
        read, asked = target[:, :-1], target[:, 1:]
        real = (source != 0).unsqueeze(1)
        causal = torch.ones(read.shape[1], read.shape[1], dtype=torch.bool).tril()
        logits = model(source, read, real, causal)
        loss = F.cross_entropy(logits.transpose(1, 2), asked, ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses
    # END SOLUTION


#: Of the long case: three to five words in a sentence, of eight behind the four special ones.
SHORTEST, LONGEST, WORDS, STEPS = 3, 5, 8, 160


def _sentences(draw: Draw, partners: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Sources, and the same words backwards, each as its partner; both padded."""
    longest = int(lengths.max())
    words, ends = draw.integers(0, len(partners), len(lengths), longest), lengths.unsqueeze(1)
    backwards = (ends - 1 - torch.arange(longest)).clamp(min=0)
    written = partners[words.gather(1, backwards)]

    def closed(words: Tensor) -> Tensor:
        place, open_end = torch.arange(longest + 1), F.pad(words + 4, (0, 1))
        return open_end.masked_fill(place == ends, 3).masked_fill(place > ends, 0)

    return closed(words), F.pad(closed(written), (1, 0), value=2)


def _training(
    draw: Draw, *batches: list[int], rate: float = 0.5, warmup: int = 1
) -> dict[str, Any]:
    """A few steps of plain gradient descent; the lengths of each batch's sentences."""
    partners = draw.permutation(3)
    return {
        "make": {"words": 7, "width": 4, "longest": 6},
        "seed": draw.integer(0, 1_000_000),
        "optimizer": "sgd",
        "batches": [_sentences(draw, partners, torch.tensor(one)) for one in batches],
        "rate": rate,
        "warmup": warmup,
        "questions": None,
    }


def _training_cases(draw: Draw) -> Iterator[Case]:
    yield Case(
        "a step begins with the loss of the next words",
        _training(draw, [3, 3]),
        hint="One batch, one step, no padding. Compare the loss first: it depends on the shift and "
        "on the masks. If it is right, look at the update.",
    )
    yield Case(
        "padding counts neither in the loss nor in the source",
        _training(draw, [4, 2, 1]),
        hint="The sentences have four words, two and one; each target also has its `<eos>` to be "
        "predicted.",
    )
    yield Case(
        "each step has a gradient of its own",
        _training(draw, [2, 3], [3, 1], rate=0.3),
    )
    yield Case(
        "the learning rate rises to its peak and stays there",
        _training(draw, [3], [2], [3], [2], rate=0.8, warmup=3),
        hint="Rates of 1/3, 2/3, 1 and 1 times 0.8.",
    )
    partners = draw.permutation(WORDS)

    def lengths(count: int) -> Tensor:
        mixed = draw.integers(SHORTEST, LONGEST + 1, count)
        return torch.cat([torch.tensor([LONGEST]), mixed[1:]])

    batches = [_sentences(draw, partners, lengths(32)) for _ in range(STEPS)]
    seen = {tuple(row) for source, _ in batches for row in source.tolist()}
    asked, answers = _sentences(draw, partners, lengths(300))
    new = torch.tensor([tuple(row) not in seen for row in asked.tolist()])
    questions, right = asked[new][:100], answers[new][:100, 1:]

    def accept(found: Any) -> bool:
        written = found["written"][:, : right.shape[1]]
        alike = (written == right) | (right == 0)
        return float(alike.all(dim=1).float().mean()) >= 0.8

    yield Case(
        "the trained model translates new sentences backwards",
        {
            "make": {"words": WORDS + 4, "width": 32, "longest": LONGEST + 3, "dropout": 0.05},
            "seed": draw.integer(0, 1_000_000),
            "optimizer": "adam",
            "batches": batches,
            "rate": 0.006,
            "warmup": 20,
            "questions": questions,
        },
        accept=accept,
        hint="At least 80 of 100 sentences that it has not seen have to be right from the first "
        "word to the last. Does your loop use all batches, and does it leave dropout off?",
        long=True,
    )


def _looped(
    rise: Any = lambda step, warmup: min(1.0, step / warmup),
    shift: Any = lambda target: (target[:, :-1], target[:, 1:]),
    real: Any = lambda source: source != 0,
    causal: Any = lambda full: full.tril(),
    loss: Any = lambda logits, asked: F.cross_entropy(
        logits.transpose(1, 2), asked, ignore_index=0
    ),
    update: Any = ("zero_grad", "backward", "step"),
    learns: bool = True,
    left: bool = False,
    steps: int | None = None,
) -> Any:
    """The right training with some of its parts exchanged."""

    def wrong(model: Any, optimizer: Any, batches: Any, rate: float, warmup: int) -> Any:
        losses = []
        model.train(learns)
        for step, (source, target) in enumerate(batches[:steps], start=1):
            for group in optimizer.param_groups:
                group["lr"] = rate * rise(step, warmup)
            read, asked = shift(target)
            full = torch.ones(read.shape[1], read.shape[1], dtype=torch.bool)
            found = loss(model(source, read, real(source).unsqueeze(1), causal(full)), asked)
            for move in update:
                (found.backward if move == "backward" else getattr(optimizer, move))()
            losses.append(found.item())
        model.train(left)
        return losses

    return wrong


def _nats(logits: Tensor, asked: Tensor) -> Tensor:
    """-log p of each word that is asked for, 0 at padding."""
    return F.cross_entropy(logits.transpose(1, 2), asked, ignore_index=0, reduction="none")


TRAIN_TRANSFORMER = Exercise(
    solution=train_transformer,
    title="A training, from the first batch to the last",
    difficulty=3,
    minutes=35,
    points=5,
    goal="Write the loop that trains a Transformer. The model is given, and small: one layer on "
    "each side. What it is to learn depends on attention: it reads three to five words and writes "
    "their partners backwards, and which word is whose partner it has to find out. Most mistakes in "
    "a loop like this raise no exception, and some do not even stop the loss from falling. So a "
    "few steps are first compared number by number; then your loop trains on 160 batches, and the "
    "model has to translate sentences that it has not seen.",
    shapes="`batches` has pairs of `source` (batch, source) and `target` (batch, target) ids; the "
    "model wants a `source_mask` bool (batch, 1, source) and a `target_mask` bool (target, target), "
    "True = may look, and gives logits (batch, target, words) → a list with a number for each step.",
    example="The target `2 5 6 3 0` is read as `2 5 6 3` and asked for as `5 6 3 0`: after `<sos>` "
    "comes 5, after 5 comes 6, after 6 comes `<eos>`, and the last place asks for nothing. A model "
    "to which all 7 words are equally probable has the loss $\\ln 7 = 1.946$ on any batch.",
    section="transformer-decoder",
    explanation="The order within a step is forced: the rate before the update that it is for, the "
    "gradients of the last step cleared before those of this one are added to them, the update "
    "after both. `ignore_index=0` leaves padding out of the sum *and* out of the number that it is "
    "divided by. Under the causal mask the padding of the target needs no mask of its own: it "
    "stands behind every word that counts. The source's padding does need one.",
    start="Begin with one batch: cut the target into what is read and what is asked for, make the "
    "two masks, call the model, take the cross-entropy. Then the update, then the loop around it, "
    "then the rate.",
    more="`read, asked = target[:, :-1], target[:, 1:]`; the source's mask is `(source != "
    "0).unsqueeze(1)`, the target's `torch.ones(size, size, dtype=torch.bool).tril()`; the loss is "
    "`F.cross_entropy(logits.transpose(1, 2), asked, ignore_index=0)`; then `zero_grad`, "
    "`backward`, `step`. Set `group[\"lr\"]` of each of `optimizer.param_groups` before that.",
    cases=_training_cases,
    given=(TinyTransformer,),
    probe="train_transformer",
    seconds=30,
    tolerance=(1e-4, 1e-4),
    mistakes=(
        Mistake(
            "gradients-not-cleared",
            "From the second step on the gradients of all steps before are in the update as well: "
            "`backward` adds to what is there.",
            "`optimizer.zero_grad()` in each step, before `backward`.",
            _looped(update=("backward", "step")),
        ),
        Mistake(
            "never-learns",
            "The weights are as they were. Either no update happens, or the gradients are cleared "
            "between `backward` and `step`, or `step` comes before there is a gradient.",
            "`zero_grad`, `backward`, `step`, in this order.",
            _looped(update=("zero_grad", "backward")),
        ),
        Mistake(
            "targets-not-shifted",
            "At each place the model is asked for the word that it reads there. It learns to copy, "
            "and its loss falls beautifully.",
            "Read all but the last, `target[:, :-1]`; ask for all but the first, `target[:, 1:]`.",
            _looped(shift=lambda target: (target[:, :-1], target[:, :-1])),
        ),
        Mistake(
            "shifted-the-other-way",
            "At each place the model is asked for the word *before* the one that it reads.",
            "Read all but the last, `target[:, :-1]`; ask for all but the first, `target[:, 1:]`.",
            _looped(shift=lambda target: (target[:, 1:], target[:, :-1])),
        ),
        Mistake(
            "end-not-asked-for",
            "The last column of the targets is missing: in a full sentence nobody asks for `<eos>`, "
            "and the model never learns to stop there.",
            "Ask for all but the first, `target[:, 1:]`.",
            _looped(shift=lambda target: (target[:, :-2], target[:, 1:-1])),
        ),
        Mistake(
            "causal-mask-missing",
            "Every place sees the whole target, and with it the word that it should predict.",
            "`torch.ones(size, size, dtype=torch.bool).tril()`: place t sees the places up to t.",
            _looped(causal=lambda full: full),
        ),
        Mistake(
            "causal-mask-inverted",
            "Each place sees the future and not the past: here True means *may look*, in some "
            "libraries the opposite.",
            "`tril()`, not `triu`; True on and below the diagonal.",
            _looped(causal=lambda full: full.triu(1)),
        ),
        Mistake(
            "causal-mask-turned",
            "Each place sees itself and what comes after it.",
            "`tril()`, not `triu()`.",
            _looped(causal=lambda full: full.triu()),
        ),
        Mistake(
            "causal-mask-off-by-one",
            "No place sees itself. It stands at the word that it reads, and the word to be predicted "
            "is the next; the diagonal is allowed.",
            "`tril()` without a number.",
            _looped(causal=lambda full: full.tril(-1)),
        ),
        Mistake(
            "causal-mask-too-wide",
            "Each place sees one word too many, and that is the one that it should predict.",
            "`tril()` without a number: what is read has been shifted already.",
            _looped(causal=lambda full: full.tril(1)),
        ),
        Mistake(
            "source-padding-seen",
            "The source's padding is looked at: what a short sentence gives depends on the longest "
            "of its batch.",
            "The source's mask is `(source != 0).unsqueeze(1)`.",
            _looped(real=lambda source: source > -1),
        ),
        Mistake(
            "source-mask-inverted",
            "Only the source's padding is looked at. In this book True means *may look*.",
            "`source != 0`, not `source == 0`.",
            _looped(real=lambda source: source == 0),
        ),
        Mistake(
            "padding-in-the-loss",
            "Padding is asked for and counts in the loss: the model learns to write `<pad>`.",
            "`ignore_index=0`, or select the places where the target is not 0.",
            _looped(loss=lambda logits, asked: F.cross_entropy(logits.transpose(1, 2), asked)),
        ),
        Mistake(
            "padding-in-the-mean",
            "Padding adds nothing to the sum, but it is counted where the sum is divided: the more "
            "padding, the smaller the loss and the step.",
            "Divide by the number of words that are asked for.",
            _looped(loss=lambda logits, asked: _nats(logits, asked).mean()),
        ),
        Mistake(
            "sum-for-mean",
            "The losses of all words were added up and not divided: the step grows with the batch.",
            "The mean over the words, `reduction=\"mean\"`.",
            _looped(loss=lambda logits, asked: _nats(logits, asked).sum()),
        ),
        Mistake(
            "sum-over-sentences",
            "The sum was divided by the number of sentences: the loss, and with it the step, grows with "
            "their length.",
            "Divide by the number of words that are asked for.",
            _looped(loss=lambda logits, asked: _nats(logits, asked).sum() / len(asked)),
        ),
        Mistake(
            "each-sentence-alike",
            "You took a mean for each sentence, and the mean of these: a word of a short sentence "
            "counts for more than one of a long one.",
            "One mean, over all words of the batch.",
            _looped(
                loss=lambda logits, asked: (
                    _nats(logits, asked).sum(dim=1) / (asked != 0).sum(dim=1)
                ).mean()
            ),
        ),
        Mistake(
            "softmax-before-the-loss",
            "A softmax went over the logits before `cross_entropy`, which has its own: the loss can "
            "hardly fall.",
            "Give it the logits as they are.",
            _looped(
                loss=lambda logits, asked: F.cross_entropy(
                    logits.softmax(dim=-1).transpose(1, 2), asked, ignore_index=0
                )
            ),
        ),
        Mistake(
            "reshape-for-transpose",
            "The logits were reshaped where they should have been transposed: pieces of different "
            "words' logits make up one prediction.",
            "`logits.transpose(1, 2)`, or flatten both: `logits.flatten(0, 1)`, `asked.flatten()`.",
            _looped(
                loss=lambda logits, asked: F.cross_entropy(
                    logits.reshape(len(logits), logits.shape[2], logits.shape[1]),
                    asked,
                    ignore_index=0,
                )
            ),
        ),
        Mistake(
            "warm-up-off-by-one",
            "The first step has the rate 0 and changes nothing: steps were counted from 0.",
            "The first step is step 1: `enumerate(batches, start=1)`.",
            _looped(rise=lambda step, warmup: min(1.0, (step - 1) / warmup)),
        ),
        Mistake(
            "rate-one-step-late",
            "Each step has the rate of the one before, and the first has the peak: the rate was set "
            "after the update.",
            "Set the rate before `optimizer.step()`.",
            _looped(
                rise=lambda step, warmup: 1.0 if step == 1 else min(1.0, (step - 1) / warmup)
            ),
        ),
        Mistake(
            "no-warm-up",
            "All steps have the peak rate.",
            "Set `group[\"lr\"] = rate * min(1, step / warmup)` in each step.",
            _looped(rise=lambda step, warmup: 1.0),
        ),
        Mistake(
            "warm-up-without-end",
            "The rate keeps rising when the warm-up is over.",
            "`min(1, step / warmup)`.",
            _looped(rise=lambda step, warmup: step / warmup),
        ),
        Mistake(
            "dropout-off-in-training",
            "The model learns in evaluation mode: its dropout does nothing. (These steps have none, "
            "so the numbers agree; in the real training they would not.)",
            "`model.train()` before the loop.",
            _looped(learns=False),
        ),
        Mistake(
            "dropout-left-on",
            "The model is left in training mode: whoever uses it now gets answers with a part of its "
            "vectors dropped, others each time.",
            "`model.eval()` at the end.",
            _looped(left=True),
        ),
        Mistake(
            "one-step-only",
            "Only the first batch was used: there is a `return` inside the loop.",
            "Move `return losses` out of the loop, to the end.",
            _looped(steps=1, left=True),
        ),
    ),
)  # fmt: skip


CHAPTER = Chapter(
    name="13_transformer",
    title="The Transformer",
    opening="A layer, a step of decoding, a training: three places in which a "
    "Transformer can be wrong without complaining.",
    exercises=(PRE_NORM_BLOCK, CACHED_STEP, TRAIN_TRANSFORMER),
)
