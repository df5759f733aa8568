"""The worked example of chapter 5: "je suis étudiant" with states of four whole numbers.

    python book/results/dot_attention_by_hand.py     # writes the JSON beside it, and the trace

The states are not learned. They are written into the embeddings of a translator whose "recurrent"
layer passes on what it reads, so that encoder state i is the row of source word i and decoder
state t the row of the word before. All the rest is the package's: scores, softmax, weighted sum,
attentional state, output layer, and the trace by :func:`attnbook.decoding.decode`.
"""

from __future__ import annotations

from typing import Any

import torch
from _measure import TRACES, Cache, Script
from torch import Tensor, nn
from train import attention_of

from attnbook.decoders import LuongDecoder
from attnbook.decoding import decode
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.vocabulary import EOS, SOS, Vocabulary

cached = Cache("dot_attention_by_hand")
SOURCE = ("je", "suis", "étudiant")
TARGET = ("i", "am", "a", "student")

# Encoder states h_1 … h_4.
STATES = {
    "je": (2, 1, -1, 1),
    "suis": (0, 2, 1, 1),
    "étudiant": (1, -1, 1, 0),
    "<eos>": (0, 0, 1, 2),
}
# Decoder states s_1 … s_5, each by the word that was read before it.
QUERIES = {
    "<sos>": (0, 0, -2, -2),
    "i": (-2, 1, -1, 0),
    "am": (-1, 0, 2, -2),
    "a": (1, 0, 2, -1),
    "student": (-1, -1, -1, 1),
    "teacher": (-1, -1, -1, 1),
}
# Rows of the output matrix W.
OUTPUT = {
    "i": (2, 2, -2, -2),
    "am": (-2, 2, 0, 0),
    "a": (-2, 0, 2, -2),
    "student": (2, -3, 2, 0),
    "teacher": (2, 3, 2, 0),
    "<eos>": (0, -2, -1, 2),
}


class PassOn(nn.Module):
    """In place of a recurrent layer: the state after a word is the word's own row."""

    bidirectional, num_layers = False, 1

    def forward(self, inputs: Tensor, _state: object = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Rows as they are, and the last one as the state that is handed over."""
        last = inputs[:, -1:].transpose(0, 1)
        return inputs, (last, last)


@torch.no_grad()
def translator() -> Translator:
    """A translator with these numbers as its states and weights."""
    source, target = Vocabulary(SOURCE), Vocabulary((*TARGET, "teacher"))
    model = Translator.from_config(
        RecurrentConfig(embedding_dim=4, hidden_dim=4, dropout=0.0, tied=False),
        source,
        target,
        name="by-hand",
    )
    assert isinstance(model.decoder, LuongDecoder)
    for part in (model.encoder, model.decoder):
        part.register_module("recurrent", PassOn())
    for embedding, vocabulary, rows in (
        (model.encoder.embedding, source, STATES),
        (model.decoder.embedding, target, QUERIES),
    ):
        for word, row in rows.items():
            place = {"<eos>": EOS, "<sos>": SOS}.get(word) or vocabulary.encode([word])[0]
            embedding.weight[place] = torch.tensor(row, dtype=torch.float)
    model.decoder.combine.weight[:] = torch.cat([torch.eye(4), torch.eye(4)], dim=1) / 2
    model.decoder.combine.bias.zero_()
    model.decoder.output.weight.zero_()
    model.decoder.output.bias[:] = -torch.inf  # <pad>, <unk> and <sos> are never written
    for word, row in OUTPUT.items():
        place = EOS if word == "<eos>" else target.encode([word])[0]
        model.decoder.output.weight[place] = torch.tensor(row, dtype=torch.float)
        model.decoder.output.bias[place] = 0.0
    return model.double().eval()


def speak(model: Translator, context: Tensor, state: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Attentional state, and the probability of each word, from a context and a state."""
    assert isinstance(model.decoder, LuongDecoder)
    readout = torch.tanh(model.decoder.combine(torch.cat([context, state])))
    probabilities = torch.softmax(model.decoder.logits(readout), dim=-1)
    words = model.target_vocabulary.decode(range(len(probabilities)))
    return readout, {
        word: p for word, p in zip(words, probabilities.tolist(), strict=True) if word in OUTPUT
    }


@torch.no_grad()
def measure() -> dict[str, Any]:
    """Everything that the page prints about step 4, and what three changes would do to it."""
    model = translator()
    trace = decode(model, SOURCE)
    assert trace.target_tokens == (*TARGET, "<eos>"), trace.text
    scores, weights, contexts = trace.scores, trace.weights, trace.contexts
    assert scores is not None
    assert weights is not None
    assert contexts is not None
    step = TARGET.index("student")
    keys = torch.tensor(trace.encoder_states)
    query, context = torch.tensor(trace.decoder_states[step]), torch.tensor(contexts[step])
    readout, probabilities = speak(model, context, query)
    mean_readout, mean_probabilities = speak(model, keys.mean(dim=0), query)
    attention = attention_of(model)
    queries, batch = query[None, None], keys[None]
    without_eos = torch.tensor([[[True, True, True, False]]])
    masked = attention(queries, batch, batch, without_eos)
    temperatures = {}
    for temperature in (0.5, 2.0):
        attention.temperature = temperature
        temperatures[str(temperature)] = attention(queries, batch, batch).weights[0, 0].tolist()
    attention.temperature = 1.0
    return {
        "scores": scores.tolist(),
        "exponentials": torch.tensor(scores[step]).exp().tolist(),
        "weights": weights.tolist(),
        "contexts": contexts.tolist(),
        "readout": readout.tolist(),
        "logits": model.decoder.logits(readout)[torch.tensor(_places(model))].tolist(),
        "probabilities": probabilities,
        "mean": {
            "context": keys.mean(dim=0).tolist(),
            "readout": mean_readout.tolist(),
            "probabilities": mean_probabilities,
        },
        "masked": {
            "weights": masked.weights[0, 0].tolist(),
            "context": masked.context[0, 0].tolist(),
        },
        "temperature": temperatures,
    }


def _places(model: Translator) -> list[int]:
    return [
        EOS if word == "<eos>" else model.target_vocabulary.encode([word])[0] for word in OUTPUT
    ]


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    step = TARGET.index("student")
    told, mean = result["probabilities"], result["mean"]["probabilities"]
    sharp, flat = (result["temperature"][name] for name in ("0.5", "2.0"))
    return {
        "the fourth step looks at étudiant": max(range(4), key=result["weights"][step].__getitem__)
        == SOURCE.index("étudiant"),
        "it writes student": max(told, key=told.__getitem__) == "student",
        "without looking it would write teacher": max(mean, key=mean.__getitem__) == "teacher",
        "without the end marker the weights are still shares": abs(
            sum(result["masked"]["weights"]) - 1
        )
        < 1e-9
        and result["masked"]["weights"][3] == 0,
        "a low temperature sharpens, a high one flattens": max(sharp)
        > max(result["weights"][step])
        > max(flat),
    }


def finish() -> None:
    """The trace of the moving figure."""
    links = {(0, 0), (1, 1), (2, 2), (2, 3)}
    trace = decode(translator(), SOURCE, gold_links=links)
    trace.save(TRACES / "by-hand-student.json", decimals=4)


SCRIPT = Script(
    doc=__doc__,
    parts={
        (
            "scores", "exponentials", "weights", "contexts", "readout", "logits", "probabilities",
            "mean", "masked", "temperature",
        ): measure,
    },
    check=check,
    seeds=(),
    cache=cached,
    finish=finish,
)  # fmt: skip

if __name__ == "__main__":
    SCRIPT.run()
