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
# # Lab 12: Many heads
#
# Do two looks by hand, cut vectors into heads in the wrong place and see what breaks, train a small
# Transformer, and take its heads out one by one. Write your guess down wherever it says **Predict**,
# and only then run the cell. A CPU is enough; all cells together take about a minute and a half.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/12_many_heads.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import matplotlib.pyplot as plt
import torch

from attnbook import grammar, plots
from attnbook.attention import masked_softmax
from attnbook.decoding import decode, translate
from attnbook.labs import Size, by_device
from attnbook.scrubber import Scrubber
from attnbook.self_attention import MultiHeadAttention, merge_heads, split_heads
from attnbook.seq2seq import Translator
from attnbook.settings import TransformerConfig
from attnbook.training import pick_device, train
from attnbook.vocabulary import Vocabulary

plots.notebook()
torch.set_printoptions(precision=2, sci_mode=False)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## Two looks
#
# The query of *sie*, and the keys of *Frau*, *Hund* and *sieht*. The first two numbers are about
# persons, the last two about actions.
#
# **Predict.** What are the weights of one head over all four numbers? And those of two heads with two
# numbers each? (No scale here, to keep the numbers whole.)

# %%
query = torch.tensor([[2.0, 0.0, 0.0, 2.0]])
keys = torch.tensor([[2.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]])

print("one head:  ", masked_softmax(query @ keys.T))
for head in (0, 1):
    half = slice(2 * head, 2 * head + 2)
    print(f"head {head + 1} of 2:", masked_softmax(query[:, half] @ keys[:, half].T))

# %% [markdown]
# One head has to share its weight between two answers. Two heads, with the same numbers, give one
# answer each.
#
# ## The wrong cut
#
# Three words with four numbers, to be cut into two heads of two. Both cells give the shape
# `(batch, heads, words, 2)`.
#
# **Predict.** What does head 1 hold in each case?

# %%
words = torch.arange(12.0).view(1, 3, 4)
right = split_heads(words, 2)
wrong = words.view(1, 2, 3, 2)
print("the words\n", words[0].int())
print("head 1, cut inside each word\n", right[0, 0].int())
print("head 1, by view alone\n", wrong[0, 0].int())
print("put together again:", torch.equal(merge_heads(right), words))

# %% [markdown]
# The wrong cut gives head 1 the first word whole, and half of the second. It has the right shape, it
# trains, and no word is ever compared with the right one.
#
# ## What it costs
#
# **Predict.** A width of 96. How many parameters with one head, with four, with ninety-six?

# %%
for count in (1, 4, 96):
    heads = MultiHeadAttention(96, count)
    print(f"{count:2} heads: {sum(p.numel() for p in heads.parameters()):,} parameters")

# %% [markdown]
# ## A trained model
#
# A small Transformer on short sentences of the course's grammar: two layers in encoder and decoder,
# four heads in each attention.

# %% tags=["nbval-ignore-output"]
size = by_device(
    device,
    cpu=Size(pairs=4_000, longest=8, epochs=6, batch_tokens=600, learning_rate=4e-3),
    gpu=Size(
        pairs=30_000,
        longest=12,
        epochs=24,
        batch_tokens=8_192,
        learning_rate=4e-3,
        precision="bf16",
    ),
)
data = grammar.corpus(train=size.pairs, val=100, test=200, shortest=3, longest=size.longest)
torch.manual_seed(0)
config = TransformerConfig(
    hidden_dim=64, num_heads=4, layers=2,
    feedforward_dim=128, dropout=0.0,
)  # fmt: skip
model = Translator.from_config(
    config,
    Vocabulary.from_sentences(pair.source for pair in data.train),
    Vocabulary.from_sentences(pair.target for pair in data.train),
    name="four heads",
).to(device)
history = train(model, data.train, data.val, size.training(), progress=False)
sources, right = [p.source for p in data.test], [list(p.target) for p in data.test]


def exact():
    """Share of the test sentences that are translated without an error."""
    return sum(a == b for a, b in zip(translate(model, sources), right, strict=True)) / len(right)


print(f"without an error: {exact():.1%}")

# %% [markdown]
# Look at its heads. The selects choose the kind of attention, the layer and the head; the arrow keys
# go from word to word. The outlined words are the true links.
#
# **Predict.** Will any head look at the word before, or at the end marker, all the time?

# %% tags=["nbval-ignore-output"]
pair = max(data.test, key=lambda pair: len(pair.source))
trace = decode(model, pair.source, target=pair.target, gold_links=pair.links)
Scrubber(trace)

# %% [markdown]
# ## Taking heads out
#
# The last matrix multiplies what the heads have found. Zeros in the columns that meet one head take
# it out.
#
# **Predict.** Of the eight heads that look at the source, without how many does the model translate
# worse?

# %% tags=["nbval-ignore-output"]
attentions = [layer.cross_attention for layer in model.decoder.layers]
width = 64 // 4
losses = []
whole = exact()
for layer, attention in enumerate(attentions):
    for head in range(4):
        columns = attention.out_proj.weight.data[:, head * width : (head + 1) * width]
        kept = columns.clone()
        columns.zero_()
        losses.append(whole - exact())
        columns.copy_(kept)
        print(f"layer {layer + 1}, head {head + 1}: {-losses[-1]:+.1%}")

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Eight bars, the share of sentences that are lost when one head is taken out. They differ in length."}}
figure, ax = plt.subplots(figsize=(4.4, 2.4))
names = [f"{layer}.{head}" for layer in (1, 2) for head in (1, 2, 3, 4)]
ax.bar(names, [100 * loss for loss in losses], color="0.35")
ax.set(xlabel="layer.head", ylabel="sentences lost (%)", title="What each head is worth")
plt.show()

# %% [markdown]
# Take out the two that are missed least, together.
#
# **Predict.** Is the loss the sum of the two losses?

# %% tags=["nbval-ignore-output"]
order = sorted(range(8), key=lambda number: losses[number])
pairs_of_heads = [divmod(number, 4) for number in order[:2]]
kept = []
for layer, head in pairs_of_heads:
    columns = attentions[layer].out_proj.weight.data[:, head * width : (head + 1) * width]
    kept.append((columns, columns.clone()))
    columns.zero_()
together = whole - exact()
for columns, before in kept:
    columns.copy_(before)
apart = losses[order[0]] + losses[order[1]]
print(f"apart {apart:.1%}, together {together:.1%}")

# %% [markdown]
# If together they are missed more than apart, each was standing in for the other.
#
# ## Try it
#
# - Do the same with the encoder's heads (`layer.attention`) and with the decoder's look at what it has
#   written (`layer.self_attention`).
# - Train with `num_heads=1` and with `num_heads=16`, three seeds each. What can be said?
# - Write an attention with the wrong cut (a subclass, or a changed copy), train it, and compare. How
#   would you have noticed?
