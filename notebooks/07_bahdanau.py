# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 7: Bahdanau's aligner
#
# Write the alignment model down in both of its forms, take one step of the decoder by hand and hold
# it against the package, train an encoder that reads in both directions and one that does not, and
# compute an alignment error rate. Write your guess down wherever it says **Predict**, and only then
# run the cell. A CPU is enough; all cells together take about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/07_bahdanau.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import numpy as np
import torch
from torch import nn

from attnbook import grammar
from attnbook.alignment import GoldAlignment, align_by_weight, alignment_scores
from attnbook.attention import Attention
from attnbook.decoders import BahdanauDecoder
from attnbook.decoding import teacher_forced_attention, translate
from attnbook.encoder import Encoder
from attnbook.evaluation import exact_match
from attnbook.labs import Size, by_device
from attnbook.scores import AdditiveScore
from attnbook.scrubber import explore
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import pick_device, train
from attnbook.vocabulary import Vocabulary

np.set_printoptions(precision=3, suppress=True)
torch.set_printoptions(precision=3, sci_mode=False)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## Both forms on paper
#
# The annotations of *ich möchte ein bier `<eos>`* are the columns of F, and s is the decoder's state
# after *i'd like a*.

# %%
F = np.array([[1, 0, -1, 0, 1], [0, 1, 0, -1, 0], [0, 1, 0, 2, -1], [1, 0, 0, 1, 0]], dtype=float)
s = np.array([1, -1], dtype=float)


def softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


# %% [markdown]
# First form: a matrix turns the state into the annotation that it expects, and a dot product with
# each column does the rest.

# %%
V = np.array([[0, 1], [1, 0], [1, -1], [0, -1]], dtype=float)
scores = F.T @ V @ s
print("expected", V @ s)
print("scores  ", scores)
print("weights ", softmax(scores))
print("context ", F @ softmax(scores))

# %% [markdown]
# Second form: a hidden layer. The state's part is one vector, and it is added to every column.
#
# **Predict.** `W @ F` has the shape (2, 5) and `U @ s` the shape (2,). What does NumPy make of
# `W @ F + U @ s`, and what would it have made of it if there were two words instead of five?

# %%
W = np.array([[0, -1, 1, 0], [0, 1, 0, 1]], dtype=float)
U = np.eye(2)
v = np.array([2, 1], dtype=float)
try:
    W @ F + U @ s
except ValueError as error:
    print(error)
print("with two words:\n", W @ F[:, :2] + U @ s)
print("as it should be:\n", (W @ F + (U @ s)[:, None])[:, :2])

# %% [markdown]
# With two words the wrong sum has the right shape: the first hidden number is added to the first
# word and the second to the second. Nothing fails, and the attention is nonsense. Say which axis
# you mean.

# %%
scores = v @ np.tanh(W @ F + (U @ s)[:, None])
print("scores ", scores)
print("weights", softmax(scores))

# %% [markdown]
# ## One step by hand
#
# A small encoder and decoder with random weights, and three steps of the package's decoder:

# %%
torch.manual_seed(0)
encoder = Encoder(10, 4, 6, bidirectional=True)
decoder = BahdanauDecoder(Attention(AdditiveScore(6, 6, 5)), 9, 4, 6)
source, previous = torch.tensor([[4, 7, 5, 3]]), torch.tensor([[2, 5, 8]])
encoded = encoder(source, torch.tensor([4]))
decoded = decoder(previous, encoded)
print("states  ", tuple(decoded.states.shape))
print("readouts", tuple(decoded.readouts.shape))
print(decoded.attention.weights[0].detach())

# %% [markdown]
# The same step by step, from the decoder's parameters alone. **Predict** what has to be joined with
# the word before the cell reads it, and which state the query is.

# %%
H = encoded.states[0]  # (source, 6): rows are annotations
score = decoder.attention.score
cell = nn.LSTMCell(4 + 6, 6)
cell.load_state_dict({name[: -len("_l0")]: p for name, p in decoder.recurrent.named_parameters()})
state = torch.tanh(decoder.initial(encoded.final_state.hidden[-1]))  # s_0
memory = torch.zeros_like(state)
with torch.no_grad():
    for step in range(3):
        hidden = torch.tanh(H @ score.key.weight.T + score.query.weight @ state[0])
        weights = torch.softmax(hidden @ score.v, dim=0)
        context = weights @ H
        word = decoder.embedding.weight[previous[0, step]]
        state, memory = cell(torch.cat([word, context])[None], (state, memory))
        pieces = decoder.combine(torch.cat([state[0], word, context]))
        readout = pieces.view(-1, 2).max(dim=-1).values  # maxout
        assert torch.allclose(weights, decoded.attention.weights[0, step], atol=1e-5)
        assert torch.allclose(state[0], decoded.states[0, step], atol=1e-5)
        assert torch.allclose(readout, decoded.readouts[0, step], atol=1e-5)
print("three steps by hand, equal to the package's")

# %% [markdown]
# ## Verbs that fall apart
#
# *Ich rufe dich an*: I call you. Two translators of the same width, one whose encoder reads in both
# directions and one that reads forwards only.
#
# **Predict.** When *calling* is written, how will each share its weight between *rufe* and *an*?

# %% tags=["nbval-ignore-output"]
size = by_device(device, cpu=Size(pairs=3_000, longest=6, epochs=8, batch_tokens=300))
data = grammar.corpus(train=size.pairs, val=100, test=300, shortest=3, longest=size.longest)
models = {}
for name, both in (("both directions", True), ("forwards only", False)):
    torch.manual_seed(0)
    config = RecurrentConfig(
        decoder="bahdanau", score="additive", bidirectional=both,
        embedding_dim=32, hidden_dim=64, dropout=0.0, embedding_std=0.5,
    )  # fmt: skip
    model = Translator.from_config(
        config,
        Vocabulary.from_sentences(pair.source for pair in data.train),
        Vocabulary.from_sentences(pair.target for pair in data.train),
        name=name,
    ).to(device)
    train(model, data.train, data.val, size.training(), progress=False)
    models[name] = model
    written = translate(model, [pair.source for pair in data.test])
    share = exact_match(written, [pair.target for pair in data.test])
    print(f"{name}: {share:.0%} without an error")

# %% tags=["nbval-ignore-output"]
call = grammar.translate(["ich", "rufe", "dich", "an"])
print(call.target)
for name, model in models.items():
    (weights,) = teacher_forced_attention(model, [call])
    at = dict(zip((*call.source, "<eos>"), weights[call.target.index("calling")], strict=True))
    print(name, {word: round(float(weight), 2) for word, weight in at.items()})

# %% [markdown]
# Step through it. The query of this decoder is the state *before* the step; what the step makes is
# the next query.

# %% tags=["nbval-ignore-output"]
explore(models["both directions"], "ich rufe dich an")

# %% [markdown]
# ## An alignment error rate
#
# Sure links S, possible links P (the sure ones among them), and what a model has linked, A.
#
# **Predict** all three numbers with pencil and paper first.

# %%
sure = {(0, 0), (2, 2), (3, 3)}
possible = sure | {(1, 0), (1, 1)}
found = {(0, 0), (1, 1), (2, 2), (2, 3)}
print("precision", len(found & possible) / len(found))
print("recall   ", len(found & sure) / len(sure))
print("AER      ", 1 - (len(found & sure) + len(found & possible)) / (len(found) + len(sure)))
print(alignment_scores([found], [GoldAlignment(frozenset(sure), frozenset(possible))]))

# %% [markdown]
# And of the two models. English words that come from no German word are left out, since any link of
# theirs is wrong.

# %% tags=["nbval-ignore-output"]
gold = [GoldAlignment.of(pair.links) for pair in data.test]
for name, model in models.items():
    links = [
        {(i, j) for i, j in align_by_weight(weights[:, :-1]) if j in {t for _, t in pair.links}}
        for pair, weights in zip(data.test, teacher_forced_attention(model, data.test), strict=True)
    ]
    result = alignment_scores(links, gold)
    print(f"{name}: AER {result.error_rate:.3f}, precision {result.precision:.3f}")

# %% [markdown]
# ## Try it
#
# - Replace `score="additive"` by `"dot"` or `"general"`. Does the order of looking and moving care?
# - Shift every link of `found` by one word. What does AER say, and would you have seen it in a heat
#   map?
# - Read a file of links with `read_alignments` of `attnbook.alignment`, once with `first=1` and once
#   with `first=0`. What happens when the file counts the other way?
