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
# # Lab 0: Start here
#
# Turn a sentence into numbers, do a dot product, a softmax and a mask by hand and with tensors, get
# each of them wrong on purpose, and type German into a trained model. Write your guess down wherever
# it says **Predict**, and only then run the cell. A CPU is enough; all cells together take seconds.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/00_start.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import math
import platform

import matplotlib.pyplot as plt
import numpy as np
import torch

from attnbook import checkpoints, grammar, plots
from attnbook.attention import masked_softmax
from attnbook.batches import pad
from attnbook.decoding import decode
from attnbook.masks import padding_mask
from attnbook.scrubber import Scrubber, explore
from attnbook.training import pick_device
from attnbook.vocabulary import tokenize

plots.notebook()
torch.set_printoptions(precision=3, sci_mode=False)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)
print("Python", platform.python_version(), "· torch", torch.__version__, "· numpy", np.__version__)

# %% [markdown]
# If the cell above has run, everything is installed. Labs use a GPU where there is one and need none.
#
# ## A sentence becomes numbers
#
# A model reads tokens, and of each token only its number in a vocabulary. The vocabulary below belongs
# to a small translator that comes with the package.

# %%
dot = checkpoints.load("grammar-dot")
words = tokenize("Ich möchte ein Bier.")
print(words)
print(dot.source_vocabulary.encode(words))

# %% [markdown]
# **Predict.** What becomes of *Bierdeckel* (beer mat), which the model has never seen? An error, the
# number of *bier*, or something else?

# %%
ids = dot.source_vocabulary.encode(tokenize("Ich möchte einen Bierdeckel"))
print(ids, dot.source_vocabulary.decode(ids))

# %% [markdown]
# It is read as `<unk>`, number 1, like every unknown word; that it contains *bier* is lost. Letters
# play no part at all: *bier* and *bieren* would be as foreign to each other as *bier* and *schule*.
# What the numbers stand for is the subject of chapter 1.
#
# ## A dot product
#
# Multiply number by number, add up.
#
# **Predict** the dot product of $s$ with each of the three rows of $H$, on paper.

# %%
s = torch.tensor([1.0, 0.0, 2.0, -1.0])
H = torch.tensor(
    [
        [2.0, 1.0, -1.0, 1.0],
        [0.0, 2.0, 1.0, 1.0],
        [1.0, -1.0, 1.0, 0.0],
    ]
)

# %%
scores = H @ s
print(scores)
print("by hand, the last one:", 1 * 1 + 0 * (-1) + 2 * 1 + (-1) * 0)

# %% [markdown]
# `H @ s` did three dot products at once. `H * s` looks similar and is something else.
#
# **Predict** its shape, and what you get when you sum it over its last axis.

# %%
print((H * s).shape)
print((H * s).sum(dim=-1))

# %% [markdown]
# The element-wise product has the shape of `H`; summed over the last axis it is the three dot products
# again. Summed over the first axis, it would be four numbers that mean nothing, without any error.
#
# ## A softmax
#
# Exponentials, divided by their sum: any numbers become shares.
#
# **Predict.** The scores were −1, 1 and 3. Which share does the last one get, roughly: a half, three
# quarters, or more? And can a score of −1 get a share below zero?

# %%
exponentials = [math.exp(e) for e in (-1, 1, 3)]
shares = [value / sum(exponentials) for value in exponentials]
print([round(value, 3) for value in exponentials], "sum", round(sum(exponentials), 3))
print([round(value, 3) for value in shares])
print(torch.softmax(scores, dim=-1))

# %% [markdown]
# More than four fifths: two points of score are a factor of $e^2 = 7.4$. No share can be negative or
# zero, because no exponential is.
#
# **Predict.** All scores grow by 1000. What do the shares become? What does the formula, typed in as it
# stands, make of it?

# %%
print(torch.softmax(scores + 1000, dim=-1))
naive = torch.exp(scores + 1000)
print(naive / naive.sum())

# %% [markdown]
# The shares do not change, since a common factor cancels. But $e^{1000}$ is more than a computer can
# hold, and infinity divided by infinity is not a number. `torch.softmax` subtracts the largest score
# first, which changes nothing and cannot overflow.
#
# ## All at once, and the shapes
#
# With several sentences, and several steps in each, shapes read (batch, target, source): a row for each
# target word, a column for each source word. The sizes here are different primes, so that axes which
# change places cannot go unnoticed.
#
# **Predict** the shape of `queries @ keys.transpose(1, 2)`.

# %%
torch.manual_seed(0)
batch, target, source, width = 2, 3, 5, 7
queries = torch.randn(batch, target, width)
keys = torch.randn(batch, source, width)
table = queries @ keys.transpose(1, 2)
print(tuple(table.shape))

# %% [markdown]
# **Predict.** Over which axis must the softmax go, if each *target* word is to share out its attention
# over the *source* words? Which sums are then 1?

# %%
weights = torch.softmax(table, dim=-1)
print("sum over the source:", weights.sum(dim=-1)[0])
print("sum over the target:", weights.sum(dim=-2)[0])

# %% [markdown]
# Over the last. The columns sum to whatever they like: a source word may be used often, or never.
#
# ## A mask
#
# Two sentences of different length go into one batch, so the shorter one is filled up with padding,
# number 0. The mask says where the words are. **True means: may be attended to.**

# %%
sentences = ["ich möchte ein bier", "der mann hat ein bier getrunken"]
ids, lengths = pad([dot.source_vocabulary.encode(tokenize(text)) for text in sentences])
mask = padding_mask(lengths, ids.shape[1])
print(ids)
print(mask)

# %% [markdown]
# Suppose all scores are 0, so that every word gets the same share. **Predict** the shares of the first
# sentence, four words and two paddings, in three cases: without a mask; with the mask applied to the
# *weights*, after the softmax; with the mask applied to the *scores*, before it.

# %%
even = torch.zeros(2, 1, ids.shape[1])  # (batch, target, source), one step of decoding
print("no mask:      ", torch.softmax(even, dim=-1)[0, 0])
print("after softmax:", (torch.softmax(even, dim=-1) * mask.unsqueeze(1))[0, 0])
print("before it:    ", masked_softmax(even, mask.unsqueeze(1))[0, 0])

# %% [markdown]
# Without a mask a third of the attention goes to nothing. Masked afterwards, the shares no longer sum
# to 1: how much the sentence gets depends on how long its neighbour in the batch is. Masked before, the
# padding might as well not be there.
#
# `mask.unsqueeze(1)` gave the mask a target axis. **Predict** what happens without it, on scores of
# shape (2, 1, 6) and a mask of shape (2, 6).

# %%
try:
    masked_softmax(even, mask)
except ValueError as error:
    print(error)

# %% [markdown]
# The package refuses it. Plain broadcasting would have lined the mask's *batch* up with the scores'
# *target* axis, and made a table of shape (2, 2, 6) without a word.
#
# And a mask with no True in a row? The softmax of nothing is 0 divided by 0.

# %%
nowhere = torch.zeros_like(mask).unsqueeze(1)
print(torch.softmax(even.masked_fill(~nowhere, -torch.inf), dim=-1)[0, 0])
print(masked_softmax(even, nowhere)[0, 0])

# %% [markdown]
# ## A trained model
#
# The sentence from the chapter, through the two small models. First its right translation, and the
# links between words, from the grammar that both were trained on.

# %%
sentence = "ich weiß , dass der mann gestern im garten ein kaltes bier getrunken hat"
gold = grammar.translate(tokenize(sentence))
print(" ".join(gold.target))
verb = gold.target.index("drank")
print("drank comes from", [gold.source[i] for i, j in sorted(gold.links) if j == verb])

# %%
fixed = checkpoints.load("grammar-sutskever")
print("one vector:    ", decode(fixed, gold.source).text)
print("with attention:", decode(dot, gold.source).text)

# %% [markdown]
# **Predict.** When the second model writes *drank*, to which German words does it give the most weight?
# To *mann*, which it has just translated, to *getrunken*, to *hat*, or evenly to all?

# %%
trace = decode(dot, gold.source, gold_links=gold.links)
row = trace.weights[verb]
for word, weight in zip(trace.source_tokens, row, strict=True):
    print(f"{word:12}{weight:.1f}")

# %% [markdown]
# Nearly all of it goes to *getrunken*, seven words further on, and none to *hat*, although the grammar
# links *drank* to both: to know the verb, the participle is enough. (Whether the weight on a word says
# that it was used is another question, and one for chapter 5.) Nobody told the model about links: it
# was given pairs of sentences and no more. Step through the rest.
# The switch shows the model with one vector, which has no weights to show.

# %%
Scrubber(trace, decode(fixed, gold.source))

# %% [markdown]
# All steps in one picture: the source across, time downwards. Amber outlines are the links.

# %% mystnb={"image": {"alt": "Weights of the sentence about the man who drank a beer, German across and English downwards; dark cells run along the diagonal as far as man, then jump right to getrunken for drank, and come back towards the middle for a cold beer, in the garden, and yesterday"}} tags=["nbval-ignore-output"]
plots.heatmap(trace)
plt.show()

# %% [markdown]
# ## Your own sentence
#
# Type German into the box; the card names words that the model does not know. Sentences of the grammar
# also have a right answer: `grammar.translate(tokenize("..."))`, which is None for any other.
#
# Try *sie singt* and *sie singen*. Which English words differ, and what must the model have looked at to
# know? Try *er darf singen* and *er darf nicht singen*. Then try to break it: a verb at the wrong place,
# twenty words, a word twice.

# %%
explore(dot, "sie singen , weil er nicht singen darf", without=fixed)

# %% [markdown]
# The controls need Python: in Colab and Jupyter they work, on the book's page you see the figure as it
# was stored.
#
# ## Further
#
# Go on with [chapter 1](https://attnbook.github.io/attnbook/book/01_vectors.html), or, if encoders and decoders are no news to you, with
# [chapter 5](https://attnbook.github.io/attnbook/book/05_dot_attention.html).
