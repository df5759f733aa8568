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
# # Lab 11: Self-attention
#
# Let a sentence of three words ask itself, take the matrices away and watch every word find itself,
# shuffle a sentence that does not notice, give it positions until it does, train a network that
# names the word before, and time the layer against an LSTM. Write your guess down wherever it says
# **Predict**, and only then run the cell. A CPU is enough; all cells together take about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/11_self_attention.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import time
from math import cos, sin

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional

from attnbook import plots
from attnbook.attention import attend
from attnbook.masks import causal_mask, padding_mask
from attnbook.self_attention import (
    LearnedPositions,
    MultiHeadAttention,
    rotate,
    sinusoidal_positions,
)
from attnbook.training import pick_device

plots.notebook()
torch.set_printoptions(precision=3, sci_mode=False)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## Three words, three matrices
#
# The states and matrices of the chapter, *ruf mich an*. States are rows, and a matrix stands to
# their right.

# %%
x = torch.tensor([[1.0, 0], [-1, -1], [0, 1]])
for_queries = torch.tensor([[0.0, 2], [1, 0]])
for_keys = torch.tensor([[1.0, -2], [0, 2]])
for_values = torch.tensor([[1.0, 2], [-1, 1]])
found = attend(x @ for_queries, x @ for_keys, x @ for_values)
print("weights\n", found.weights)
print("what comes out\n", found.context)

# %% [markdown]
# The same from the package's layer, which holds the matrices transposed, as `Linear` does. Its fourth
# matrix is set to do nothing.

# %%
layer = MultiHeadAttention(model_dim=2, num_heads=1)
with torch.no_grad():
    matrices = (for_queries, for_keys, for_values, torch.eye(2))
    projections = (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj)
    for projection, matrix in zip(projections, matrices, strict=True):
        projection.weight[:] = matrix.T
        projection.bias.zero_()
    words = x[None]  # a batch of one sentence
    same = layer(words, words, words, need_weights=True)
print("the same:", torch.allclose(same.output[0], found.context, atol=1e-6))

# %% [markdown]
# **Predict.** Change *an* to $(0, 2)$, twice its vector, and nothing else. Which rows of weights
# change, and in which direction does the weight that *ruf* gives to *an* go?

# %%
louder = x.clone()
louder[2] *= 2
print(attend(louder @ for_queries, louder @ for_keys, louder @ for_values).weights)

# %% [markdown]
# All three rows: *an* has another key, which all of them are compared with, and its own row another
# query as well. What *ruf* gives to *an* can only rise, since a positive score has doubled.
#
# ## Without the matrices
#
# **Predict.** `attend(x, x, x)`: what stands on the diagonal, and is the table of scores symmetric?

# %%
bare = attend(x, x, x)
print("scores\n", bare.scores)
print("weights\n", bare.weights)

# %% [markdown]
# **Predict.** Ten random states. How much of its weight does a word keep to itself when they have 8
# numbers, and how much when they have 512?

# %%
torch.manual_seed(0)
for width in (2, 8, 64, 512):
    states = torch.randn(200, 10, width)
    queries, keys = (states @ torch.randn(200, width, width) / width**0.5 for _ in "qk")
    own, other = (
        float(attend(q, k, states).weights.diagonal(dim1=-2, dim2=-1).mean())
        for q, k in ((states, states), (queries, keys))
    )
    print(f"width {width:3}:  Q = K {own:.2f}   two matrices {other:.2f}")

# %% [markdown]
# ## Who may see whom
#
# One function, three uses. **Predict** the shape of each table of weights, and where it has zeros.

# %%
torch.manual_seed(0)
heads = MultiHeadAttention(model_dim=8, num_heads=1)
source, target = torch.randn(1, 4, 8), torch.randn(1, 3, 8)
with torch.no_grad():
    for name, use in (
        ("self", heads(source, source, source, need_weights=True)),
        ("masked", heads(target, target, target, causal=True, need_weights=True)),
        ("cross", heads(target, source, source, need_weights=True)),
    ):
        print(name, "\n", use.weights[0, 0])

# %% [markdown]
# Now a batch of two sentences, of which the second has two words and two places of padding. The mask
# needs an axis for the words that ask.
#
# **Predict.** A colleague hides the padding by a score of 0. How much weight does it get?

# %%
batch = torch.cat([source, torch.randn(1, 4, 8)])
seen = padding_mask(torch.tensor([4, 2]), 4).unsqueeze(1)
with torch.no_grad():
    right = heads(batch, batch, batch, seen, need_weights=True)
    scores = heads(batch, batch, batch, need_weights=True).scores
    zeroed = torch.softmax(scores * seen.unsqueeze(1), dim=-1)
print("the second sentence, masked\n", right.weights[1, 0])
print("with scores of 0\n", zeroed[1, 0])

# %% [markdown]
# ## A shuffled sentence
#
# **Predict.** The five words in another order. What is the largest difference between the outputs,
# word by word? What is it under a causal mask?

# %%
torch.manual_seed(0)
big = MultiHeadAttention(model_dim=64, num_heads=1).double()
sentence = torch.randn(1, 5, 64, dtype=torch.float64)
order = torch.tensor([3, 0, 4, 1, 2])


@torch.no_grad()
def difference(states, shuffled, causal=False):
    before = big(states, states, states, causal=causal).output[:, order]
    after = big(shuffled, shuffled, shuffled, causal=causal).output
    return float((before - after).abs().max())


print(f"as it is    {difference(sentence, sentence[:, order]) < 1e-12}: nothing but rounding")
print(f"masked      {difference(sentence, sentence[:, order], causal=True):.2f}")
places = sinusoidal_positions(5, 64).double()
print(f"with places {difference(sentence + places, sentence[:, order] + places):.2f}")

# %% [markdown]
# ## Sines and cosines
#
# Each pair of rows is a clock hand. **Predict.** Take the vectors of positions 3 and 7 and form their
# dot product; then those of 13 and 17; then those of 7 and 3. Which of the three are equal?

# %%
table = sinusoidal_positions(40, 64).double()
print([f"{float(table[a] @ table[b]):.3f}" for a, b in ((3, 7), (13, 17), (7, 3))])

# %% mystnb={"image": {"alt": "Six wavy lines above one another over forty positions: the upper ones swing every few positions, the lower ones rise or fall slowly over all of them"}}
figure, axes = plt.subplots(6, 1, figsize=(5.2, 4.2), sharex=True)
for ax, row in zip(axes, (0, 1, 8, 16, 24, 32), strict=True):
    ax.plot(table[:, row], color=plots.KEY)
    ax.set(ylim=(-1.2, 1.2), yticks=[], ylabel=row + 1)
axes[0].set_title("Numbers 1, 2, 9, 17, 25, 33 of a position's vector")
axes[-1].set_xlabel("position")
plt.show()

# %% [markdown]
# One word on is a turn of each pair, by the same angle wherever one is. For the fast pair the angle
# is 1:

# %%
turn = torch.tensor([[cos(1), -sin(1)], [sin(1), cos(1)]], dtype=torch.float64)
for position in (2, 7, 30):
    print(position, torch.allclose(table[position, :2] @ turn, table[position + 1, :2], atol=1e-6))

# %% [markdown]
# Rotary positions turn queries and keys instead. The product depends on how far apart they stand:

# %%
torch.manual_seed(1)
query, key = torch.randn(8), torch.randn(8)
queries, keys = rotate(query.expand(20, 8)), rotate(key.expand(20, 8))
print([f"{float(queries[a] @ keys[b]):.3f}" for a, b in ((5, 3), (15, 13), (3, 5))])

# %% [markdown]
# And a learned table ends.

# %%
try:
    LearnedPositions(longest=16, width=8)(17)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Name the word before
#
# A task that needs the order and nothing else. Sentences are random words, none twice. `Reader` has
# word vectors, one look and an output layer; its options decide what the look may use.

# %%
SYMBOLS, WIDTH = 64, 64


class Reader(nn.Module):
    def __init__(self, places="", shared=False):
        super().__init__()
        self.places, self.shared = places, shared
        self.words = nn.Embedding(SYMBOLS, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.output = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, words):
        x = self.words(words)
        if self.places == "sines":
            x = x + sinusoidal_positions(words.shape[1], WIDTH).to(x)
        queries = self.query(x)
        keys = queries if self.shared else self.key(x)
        if self.places == "rotary":
            queries, keys = rotate(queries), rotate(keys)
        return self.output(attend(queries, keys, self.value(x)).context)


def sentences(count, length):
    return torch.rand(count, SYMBOLS, device=device).argsort(dim=-1)[:, :length]


def learn(reader, steps=500):
    torch.manual_seed(0)
    reader = reader.to(device)
    optimizer = torch.optim.Adam(reader.parameters(), 3e-3)
    for _ in range(steps):
        words = sentences(64, int(torch.randint(4, 17, ())))
        logits = reader(words)[:, 1:].flatten(0, 1)
        loss = functional.cross_entropy(logits, words[:, :-1].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return reader


@torch.no_grad()
def right_answers(reader, length):
    words = sentences(500, length)
    return float((reader(words)[:, 1:].argmax(dim=-1) == words[:, :-1]).float().mean())


# %% [markdown]
# **Predict** the share of right answers for 16 words of each: no positions; sines; rotary; sines and
# one matrix for queries and keys. Then for 32 words, twice as many as any in training.

# %% tags=["nbval-ignore-output"]
readers = {}
for name, options in (
    ("no positions", {}),
    ("sines", {"places": "sines"}),
    ("rotary", {"places": "rotary"}),
    ("sines, one matrix", {"places": "sines", "shared": True}),
):
    torch.manual_seed(0)
    readers[name] = learn(Reader(**options))
    shares = [f"{right_answers(readers[name], length):4.0%}" for length in (16, 32)]
    print(f"{name:18} 16 words {shares[0]}   32 words {shares[1]}")

# %% [markdown]
# Where does the reader with sines look? Draw its weights for a sentence of twelve words. **Predict**
# the picture. And what does the length of what a matrix makes of each position look like, for the
# reader that has only one?

# %% mystnb={"image": {"alt": "Left, a square of twelve by twelve weights with a dark line just below the diagonal. Right, two lines over sixteen positions: the one of the reader with one matrix falls steadily, the other stays about level"}} tags=["nbval-ignore-output"]
reader = readers["sines"]
with torch.no_grad():
    x = reader.words(sentences(1, 12)) + sinusoidal_positions(12, WIDTH).to(device)
    weights = attend(reader.query(x), reader.key(x), reader.value(x)).weights[0].cpu()
figure, (left, right_side) = plt.subplots(1, 2, figsize=(8, 3.4))
left.imshow(weights, cmap=plots.weights, vmin=0, vmax=1)
left.set(
    title="The word before", xlabel="asked", ylabel="asks",
    xticks=range(0, 12, 3), yticks=range(0, 12, 3),
)  # fmt: skip
with torch.no_grad():
    for name in ("sines", "sines, one matrix"):
        lengths = readers[name].query(sinusoidal_positions(16, WIDTH).to(device)).norm(dim=-1)
        right_side.plot(lengths.cpu(), "o-", label=name, markersize=4)
right_side.get_lines()[1].set_linestyle("--")
right_side.set(
    title="Length of a position's query", xlabel="position", ylim=(0, None), xticks=range(0, 16, 5)
)
right_side.legend()
plt.show()

# %% [markdown]
# ## Time
#
# One step, forward and backward, of a layer of width 128, one sentence. **Predict** from which length
# on the LSTM is faster on your machine.

# %% tags=["nbval-ignore-output"]
attention = MultiHeadAttention(128, num_heads=1).to(device)
lstm = nn.LSTM(128, 128, batch_first=True).to(device)
layers = {
    "without weights": lambda x: attention(x, x, x).output,
    "with weights": lambda x: attention(x, x, x, need_weights=True).output,
    "LSTM": lambda x: lstm(x)[0],
}


def milliseconds(layer, length, repeat=5):
    x = torch.randn(1, length, 128, device=device, requires_grad=True)
    layer(x).sum().backward()
    took = []
    for _ in range(repeat):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        layer(x).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    return 1e3 * sorted(took)[repeat // 2]


print(f"{'words':>6}" + "".join(f"{name:>18}" for name in layers) + "   (ms)")
for length in (16, 64, 256, 1024, 2048):
    row = [milliseconds(layer, length) for layer in layers.values()]
    print(f"{length:6}" + "".join(f"{value:18.1f}" for value in row))

# %% [markdown]
# ## Try it
#
# - Eight sentences at a time instead of one: where do the layers meet now?
# - Give `Reader` a causal mask (`attend(…, causal_mask(words.shape[1]))`) and no positions. What is
#   the best it can do at 16 words? Compute it first.
# - Change the task: name the word *after*, or the first word of the sentence, or the word two
#   places before. Which reader can do which?
# - Train the reader with one matrix on the word before *in a circle*, where the word before the first
#   is the last (`words.roll(1, dims=1)`). How many right answers can it have at most?
# - Draw `causal_mask(4, before=2)`. Who are the two that come before?

# %%
print(causal_mask(4, before=2).int())
