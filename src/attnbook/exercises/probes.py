"""Runs a learner's function on prepared inputs and gives back what it did, as plain values.

This half of a check knows no answers. In a notebook it runs in the learner's own process; for a
class it runs in a sandbox, where this file lies alone: it imports torch and safetensors and
nothing of the course. The other half, :mod:`attnbook.exercises.judge`, never runs anything that a
learner wrote.

Values are tensors, numbers, strings, None, and lists, tuples and dictionaries of these. They travel
as one safetensors file whose header describes the structure; nothing is ever pickled.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

__all__ = [
    "PROBES",
    "TRAININGS",
    "Outcome",
    "TinyTransformer",
    "TinyTranslator",
    "Unknown",
    "as_values",
    "clone",
    "from_values",
    "observe",
    "pack",
    "unpack",
]

#: How deep a value may be nested, how many parts it may have, and what its tensors may look like:
#: a tensor without numbers can have a side of any length and take no room.
DEEPEST, MOST_PARTS, MOST_AXES, LONGEST_AXIS = 20, 20_000, 16, 10_000_000


class Unknown(str):
    """Stands for a value that is none of the kinds above: the name of its type."""


@dataclass(frozen=True)
class Outcome:
    """What a function did with one input.

    Attributes:
        value: what it returned.
        error: the exception it raised, as ``TypeError: …``; empty if it raised none.
        changed: names of arguments that were other after the call than before.
        gradients: for each argument that was to have one, the gradient of a fixed weighted sum of
            the result; None where the result does not depend on it.
        attached: whether the result has a gradient at all.
    """

    value: Any = None
    error: str = ""
    changed: tuple[str, ...] = ()
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    attached: bool = True


# ------------------------------------------------------------------------------------ values


# What stands before a packed request to a sandbox, readable without its content: its bytes, seconds
# on the clock, the most bytes that may come back, and whether an optimizer will be wanted.
HEAD = struct.Struct("<QdQ?")


def pack(value: Any) -> bytes:
    """Write a value as the bytes of a safetensors file.

    Args:
        value: tensors, numbers, strings, None, and lists, tuples and dictionaries of these.
            Of anything else the name of its type is kept.
    """
    tensors: dict[str, Tensor] = {}
    shape = _describe(value, tensors, 0)
    return bytes(save(tensors, metadata={"value": json.dumps(shape)}))


def unpack(data: bytes) -> Any:
    """Read what :func:`pack` wrote.

    Raises:
        ValueError: the bytes are not such a file, or the value is unreasonable.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        shape = json.loads(header["__metadata__"]["value"])
        return _build(shape, load(data), itertools.count(), 0)
    except Exception as error:
        raise ValueError(f"not a packed value: {type(error).__name__}") from error


def _describe(value: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    if depth > DEEPEST:
        return {"is": "other", "of": "a value nested too deeply"}
    if type(value).__module__ == "numpy" and hasattr(value, "shape"):
        return {"is": "other", "of": f"numpy.{type(value).__name__}"}
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        plain = value.detach().as_subclass(Tensor).to("cpu")
        if plain.layout != torch.strided or plain.dtype.is_complex:
            return {"is": "other", "of": f"a tensor of {plain.layout}, {plain.dtype}"}
        tensors[name] = plain.contiguous().clone()
        return {"is": "tensor", "of": name}
    if value is None or isinstance(value, (bool, int, str)):
        return {"is": "value", "of": value}
    if isinstance(value, float):
        return {"is": "value" if math.isfinite(value) else "float", "of": _finite(value)}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {"is": kind, "of": [_describe(v, tensors, depth + 1) for v in value]}
    if isinstance(value, dict):
        items = [[str(k), _describe(v, tensors, depth + 1)] for k, v in value.items()]
        return {"is": "dict", "of": items}
    return {"is": "other", "of": type(value).__name__}


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _text(text: str) -> str:
    """A text that can be written to a file: half of a surrogate pair cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _build(shape: Any, tensors: dict[str, Tensor], parts: Iterator[int], depth: int) -> Any:
    if depth > DEEPEST or next(parts) > MOST_PARTS:
        raise ValueError("too many parts, or nested too deeply")
    kind, of = shape["is"], shape["of"]
    if kind == "tensor":
        tensor = tensors[of]
        if tensor.dim() > MOST_AXES or max(tensor.shape, default=0) > LONGEST_AXIS:
            raise ValueError("a tensor with too many axes, or one that is too long")
        return tensor
    if kind == "float":
        return float(of)
    if kind in ("list", "tuple"):
        items = [_build(v, tensors, parts, depth + 1) for v in of]
        return tuple(items) if kind == "tuple" else items
    if kind == "dict":
        return {_text(str(k)): _build(v, tensors, parts, depth + 1) for k, v in of}
    if kind == "other":
        return Unknown(_text(of)[:100])
    if isinstance(of, str):
        of = _text(of)
    if kind == "value" and (of is None or isinstance(of, (bool, int, float, str))):
        return of
    raise ValueError(f"an unknown kind of value, {kind!r}")


def clone(value: Any) -> Any:
    """A copy of a value that shares no memory with it."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return type(value)(clone(v) for v in value)
    if isinstance(value, dict):
        return {k: clone(v) for k, v in value.items()}
    return value


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.shape == b.shape and bool(torch.equal(a, b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    return bool(a == b)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _tensors(v)]
    if isinstance(value, dict):
        return [t for v in value.values() for t in _tensors(v)]
    return []


# ------------------------------------------------------------------------------------ probes

Probe = Callable[[Any, dict[str, Any]], Any]


def call(function: Any, inputs: dict[str, Any]) -> Any:
    """``function(first, second, …)``: arguments in the order of the exercise's signature."""
    return function(*inputs.values())


def module(make: Any, inputs: dict[str, Any]) -> Any:
    """A module: made from ``inputs["make"]``, given parameters, called with ``inputs["call"]``.

    ``inputs["parameters"]`` has a tensor for each parameter, by name; the exercise says the names.
    """
    made = make(*inputs["make"].values())
    if not isinstance(made, nn.Module):
        return made
    wanted = inputs["parameters"]
    have = {name: tuple(p.shape) for name, p in made.named_parameters()}
    lacking = {n: tuple(t.shape) for n, t in wanted.items() if have.get(n) != tuple(t.shape)}
    if lacking or have.keys() - wanted.keys():
        return {"parameters": {n: list(s) for n, s in sorted(have.items())}}
    for name, parameter in made.named_parameters():
        parameter.data = wanted[name].clone()
    made.eval()
    return made(*inputs["call"].values())


class TinyTransformer(nn.Module):
    """A Transformer of one layer on each side and one head, with the norms before the functions.

    words: how many there are; width: of a word's vector; longest: how many places it knows;
    dropout: of word vectors.
    """

    def __init__(self, words: int, width: int, longest: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(longest, width)
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(7))
        self.queries, self.keys, self.values = (
            nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(3)) for _ in range(3)
        )
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
            for _ in range(2)
        )
        self.output = nn.Linear(width, words)

    def place(self, ids: Tensor) -> Tensor:
        """Word vectors with their places."""
        placed: Tensor = self.dropout(self.words(ids) + self.places.weight[: ids.shape[1]])
        return placed

    def look(self, number: int, asking: Tensor, asked: Tensor, mask: Tensor) -> Tensor:
        """What one of the three attentions finds; zeros where the mask allows nothing."""
        keys, values = self.keys[number](asked), self.values[number](asked)
        scores = self.queries[number](asking) @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])
        nowhere = ~mask.any(dim=-1, keepdim=True)
        weights = torch.softmax(scores.masked_fill(~(mask | nowhere), -torch.inf), dim=-1)
        found: Tensor = weights.masked_fill(nowhere, 0.0) @ values
        return found

    def forward(
        self, source: Tensor, target: Tensor, source_mask: Tensor, target_mask: Tensor
    ) -> Tensor:
        """Unnormalized log-probabilities of the next word at each place of the target.

        source: ids (batch, source); target: ids (batch, target); source_mask: bool (batch, 1,
        source), target_mask: bool (target, target), True = may look. Gives (batch, target, words).
        """
        read = self.place(source)
        normed = self.norms[0](read)
        read = read + self.look(0, normed, normed, source_mask)
        read = read + self.networks[0](self.norms[1](read))
        memory = self.norms[2](read)
        states = self.place(target)
        normed = self.norms[3](states)
        states = states + self.look(1, normed, normed, target_mask)
        states = states + self.look(2, self.norms[4](states), memory, source_mask)
        states = states + self.networks[1](self.norms[5](states))
        logits: Tensor = self.output(self.norms[6](states))
        return logits


def train_transformer(fit: Any, inputs: dict[str, Any]) -> Any:
    """A training: ``fit(model, optimizer, batches, rate, warmup)`` with a new tiny Transformer.

    ``inputs["make"]`` has its sizes, ``inputs["seed"]`` decides its first weights, and
    ``inputs["optimizer"]`` is ``"sgd"`` or ``"adam"``. Gives the losses that came back, all weights
    in a row, and whether the model learned and was left in training mode; or, where there are
    ``inputs["questions"]``, sources, not the weights but what the model writes for them.
    """
    sos, rate = 2, inputs["rate"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs["seed"])
        model = TinyTransformer(**inputs["make"]).double().eval()
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[inputs["optimizer"]]
        modes: set[bool] = set()

        def note(model: nn.Module, _: Any) -> None:
            if torch.is_grad_enabled():
                modes.add(model.training)

        hook = model.register_forward_pre_hook(note)
        optimizer = kind(model.parameters(), lr=rate)
        losses = fit(model, optimizer, inputs["batches"], rate, inputs["warmup"])
        hook.remove()
        if losses is None:
            return None
        found = {
            "losses": losses,
            "learned in training mode": modes == {True},
            "left in training mode": model.training,
        }
        if inputs["questions"] is None:
            return found | {"weights": torch.cat([p.flatten() for p in model.parameters()])}
        source = inputs["questions"]
        written = torch.full((len(source), 1), sos)
        with torch.no_grad():
            while written.shape[1] < model.places.num_embeddings:
                size = written.shape[1]
                earlier = torch.ones(size, size, dtype=torch.bool).tril()
                logits = model(source, written, (source != 0).unsqueeze(1), earlier)
                written = torch.cat([written, logits[:, -1:].argmax(dim=-1)], dim=1)
        return found | {"written": written[:, 1:]}


class TinyTranslator(nn.Module):
    """A translator like Luong's, with the dot product, small enough to be trained in a moment.

    words: how many ids both languages have together; 0 is padding, 2 <sos>, 3 <eos>.
    """

    def __init__(self, words: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(width, width, batch_first=True)
        self.combine = nn.Linear(2 * width, width)
        self.output = nn.Linear(width, words)

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        """The logits of each next word, (batch, target, words), from the words before it.

        source: (batch, source), previous: (batch, target), ids.
        """
        lengths = (source != 0).sum(dim=1)
        vectors = self.dropout(self.embedding(source))
        packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, True, enforce_sorted=False)
        encoded, last = self.encoder(packed)
        encoded, _ = nn.utils.rnn.pad_packed_sequence(
            encoded, batch_first=True, total_length=source.shape[1]
        )
        first = torch.cat([last[0], last[1]], dim=-1).unsqueeze(0)
        states, _ = self.decoder(self.dropout(self.embedding(previous)), first)
        scores = states @ encoded.transpose(1, 2)
        scores = scores.masked_fill((source == 0).unsqueeze(1), -torch.inf)
        context = torch.softmax(scores, dim=-1) @ encoded
        attentional = torch.tanh(self.combine(torch.cat([context, states], dim=-1)))
        logits: Tensor = self.output(attentional)
        return logits

    @torch.no_grad()
    def translate(self, source: Tensor, limit: int) -> Tensor:
        """Greedy search: (batch, limit), what is written, also after <eos>."""
        self.eval()
        written = torch.full((len(source), 1), 2)
        for _ in range(limit):
            best = self(source, written)[:, -1].argmax(dim=-1)
            written = torch.cat([written, best.unsqueeze(1)], dim=1)
        return written[:, 1:]


def train_translator(train: Any, inputs: dict[str, Any]) -> Any:
    """A training: ``train(model, optimizer, batches, epochs, clip)``, and what the model became.

    The model is a :class:`TinyTranslator` of ``inputs["model"]``, in evaluation mode, the optimizer
    one of torch's by its name, with the learning rate ``inputs["rate"]``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs["seed"])
        model = TinyTranslator(**inputs["model"]).eval()
        optimizer = getattr(torch.optim, inputs["optimizer"])(model.parameters(), lr=inputs["rate"])
        losses = train(model, optimizer, inputs["batches"], inputs["epochs"], inputs["clip"])
    if losses is None or losses is ...:
        return losses
    return {"losses": losses, "parameters": dict(model.state_dict())}


#: So often a search may ask its decoder; one that never ends would otherwise never come back.
STEPS = 2000


def _step(
    moves: Tensor, probabilities: Tensor, steps: Iterator[int], state: Any, token: Any
) -> tuple[Tensor, int]:
    if next(steps) > STEPS:
        raise RuntimeError(f"the search has no end: it has asked for {STEPS} steps")
    after = int(moves[int(state), int(token)])
    return probabilities[after].log(), after


def search(function: Any, inputs: dict[str, Any]) -> Any:
    """A search with a decoder made of tables: ``function(step, 0, …)`` with all other inputs.

    ``step(state, token)`` goes to the state ``inputs["moves"][state, token]`` and gives the
    logarithms of that state's row of ``inputs["probabilities"]``, and the new state.
    """
    step = partial(_step, inputs["moves"], inputs["probabilities"], itertools.count(1))
    rest = [value for name, value in inputs.items() if name not in ("moves", "probabilities")]
    return function(step, 0, *rest)


PROBES: dict[str, Probe] = {
    "call": call,
    "module": module,
    "search": search,
    "train_translator": train_translator,
    "train_transformer": train_transformer,
}

#: Those that need an optimizer.
TRAININGS = ("train_translator", "train_transformer")


def observe(
    function: Any,
    inputs: dict[str, Any],
    gradients: tuple[str, ...] = (),
    probe: str | Probe = "call",
) -> Outcome:
    """Call a function on a copy of some inputs and record what it did.

    Args:
        function: what a learner wrote.
        inputs: the arguments.
        gradients: names of tensors among the inputs whose gradient is wanted.
        probe: how the function is called: a name in :data:`PROBES`, or such a function.
    """
    run = PROBES[probe] if isinstance(probe, str) else probe
    mine = clone(inputs)
    # Asked for through a copy, because PyTorch forbids to edit a leaf in place, and whether
    # somebody edits it is one of the questions.
    leaves = {name: mine[name].requires_grad_() for name in gradients}
    mine |= {name: leaf.clone() for name, leaf in leaves.items()}
    found: dict[str, Tensor | None] = {}
    attached = True
    try:
        value = run(function, mine)
        changed = tuple(name for name in inputs if not _equal(inputs[name], mine[name]))
        if gradients:
            results = [t for t in _tensors(value) if t.requires_grad]
            attached = bool(results)
            if attached:
                total = torch.stack([(t * _weights(t)).sum() for t in results]).sum()
                got = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
                found = dict(zip(leaves, got, strict=True))
        return Outcome(clone(value), "", changed, found, attached)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a learner's SystemExit is a failure like any other
        said = str(error).split(" Hint: ")[0]  # torch's own, about tools for developers
        text = f"{type(error).__name__}: {said}" if said else type(error).__name__
        return Outcome(error=text[:400] + _line(error, function))


def _line(error: BaseException, function: Any) -> str:
    """The line of a function in which an exception arose, counted from its first; if it did."""
    code = getattr(function, "__code__", None)
    place, line = error.__traceback__, 0
    while place is not None:
        if place.tb_frame.f_code is code:
            line = place.tb_lineno - code.co_firstlineno + 1
        place = place.tb_next
    return f" (line {line} of {code.co_name})" if code is not None and line else ""


def _weights(tensor: Tensor) -> Tensor:
    """Different for each number of a tensor, so that no two errors can cancel."""
    places = torch.arange(tensor.numel(), dtype=tensor.dtype).reshape(tensor.shape)
    return torch.cos(1 + places)


def as_values(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a value that can be packed."""
    return {
        "value": outcome.value,
        "error": outcome.error,
        "changed": list(outcome.changed),
        "gradients": dict(outcome.gradients),
        "attached": outcome.attached,
    }


def from_values(values: Any) -> Outcome:
    """An outcome from what :func:`as_values` gave and somebody else may have changed.

    Raises:
        ValueError: it does not have the parts of an outcome.
    """
    try:
        gradients = values["gradients"]
        fine = (
            isinstance(values["error"], str)
            and all(isinstance(name, str) for name in values["changed"])
            and all(g is None or isinstance(g, Tensor) for g in gradients.values())
            and isinstance(values["attached"], bool)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not an outcome") from error
    if not fine:
        raise ValueError("not an outcome")
    return Outcome(
        values["value"],
        values["error"][:500],
        tuple(name[:60] for name in values["changed"][:20]),
        dict(gradients),
        values["attached"],
    )
