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
# # Lab 9: Find the bug
#
# Seven strangers claim to be the masked softmax. Look at their weights, name the bug, and only then
# unmask them; then write a test that none of the seven survives. After that a model that learns and
# never looks, a loss curve that is too good, a batch that is dealt out wrongly and a heat map under
# the wrong sentence. Write your guess down wherever it says **Predict**, and only then run the
# cell. A CPU is enough; all cells together take about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/09_museum.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import random

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn import functional

from attnbook import grammar, museum, plots
from attnbook.attention import masked_softmax
from attnbook.batches import random_batches
from attnbook.decoding import teacher_forced_attention, translate
from attnbook.encoder import Encoder
from attnbook.evaluation import exact_match
from attnbook.labs import Size, by_device
from attnbook.masks import causal_mask
from attnbook.museum import EXHIBITS, NextWord
from attnbook.scrubber import explore
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import pick_device, train
from attnbook.vocabulary import EOS, SOS, Vocabulary

plots.notebook()
np.set_printoptions(precision=3, suppress=True)
torch.set_printoptions(precision=3, sci_mode=False)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## Seven strangers
#
# Each takes scores and a mask in which True means *may be attended to*, and gives weights. One by
# one they are wrong in the way of some public code. Their names are hidden.

# %%
hidden = [
    museum.mask_after_softmax,
    museum.without_mask,
    museum.large_constant,
    museum.softmax_over_batch,
    museum.mask_times_scores,
    museum.inverted_mask,
    museum.mask_along_rows,
]
random.Random(9).shuffle(hidden)
strangers = dict(zip("ABCDEFG", hidden, strict=True))

# %% [markdown]
# First what everybody tests: it runs, the shape is right, and each row sums to 1. The second
# sentence has two places of padding.
#
# **Predict.** How many of the seven get through?

# %%
torch.manual_seed(0)
scores = torch.randn(2, 5, 5)
mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).unsqueeze(1)
for name, stranger in strangers.items():
    weights = stranger(scores, mask)
    shape = weights.shape == scores.shape
    sums = torch.allclose(weights.sum(dim=-1), torch.ones(2, 5))
    print(f"{name}: shape {'right' if shape else 'wrong'}, rows {'sum to 1' if sums else 'do not'}")

# %% [markdown]
# Five. Now a small input that one can do by hand: two words with the scores 0 and ln 3, and a place
# of padding with the score ln 4. The exponentials are 1, 3 and 4. Without padding the weights are
# 1/4 and 3/4.
#
# **Predict.** Next to each letter stands the first row. Which bug is which? (One of them shows
# nothing here.)

# %%
scores = torch.log(torch.tensor([1.0, 3, 4])).repeat(1, 3, 1)
mask = torch.tensor([[[True, True, False]]])
for name, stranger in [("right", masked_softmax), *strangers.items()]:
    print(f"{name:5}", stranger(scores, mask)[0, 0].numpy())

# %% [markdown]
# Two rows are the same, up to the last digit: to tell these two apart, think of a sentence of which
# *rows* are hidden. Run the three checks of the chapter on all seven.

# %%
checks = {
    "by hand": museum.check_rows,
    "padding": museum.check_padding,
    "extremes": museum.check_extremes,
}
for name, stranger in strangers.items():
    found = []
    for title, check in checks.items():
        try:
            check(stranger)
        except AssertionError as error:
            found.append(f"{title}: {error}")
    print(name, *(found or ["nothing found"]), sep="\n   ")

# %% [markdown]
# Now their names.

# %%
titles = {exhibit.broken: exhibit.title for exhibit in EXHIBITS.values()}
for name, stranger in strangers.items():
    print(name, titles[stranger])

# %% [markdown]
# **Your turn.** Below is a check that everything survives. Change it until the last line says that
# the right one is left, alone. One check is enough; you need neither the names nor the checks above.
# (Begin with a place of padding. Then ask what all seven have in common if the words score lower
# than any constant that somebody may have filled in. One solution stands at the end of the lab.)


# %%
def my_check(softmax):
    scores = torch.tensor([[[1.0, 2.0], [2.0, 1.0]]])
    mask = torch.tensor([[[True, True]]])
    weights = softmax(scores, mask)
    assert weights.shape == scores.shape


survivors = []
for name, stranger in [("right", masked_softmax), *strangers.items()]:
    try:
        my_check(stranger)
        survivors.append(name)
    except AssertionError:
        pass
print("still standing:", ", ".join(survivors))

# %% [markdown]
# ## A model that never looks
#
# `AttentionByPosition` computes its weights from the decoder's state alone, as PyTorch's own
# tutorial did for six years. We train it, and beside it a model that compares.

# %% tags=["nbval-ignore-output"]
size = by_device(device, cpu=Size(pairs=4_000, longest=8, epochs=7, batch_tokens=500))
data = grammar.corpus(train=size.pairs, val=100, test=120, shortest=3, longest=size.longest)
config = RecurrentConfig(
    bidirectional=True, embedding_dim=32, hidden_dim=64, dropout=0.0, embedding_std=0.5
)
models, losses = {}, {}
for name in ("compares", "never compares"):
    torch.manual_seed(0)
    model = Translator.from_config(
        config,
        Vocabulary.from_sentences(pair.source for pair in data.train),
        Vocabulary.from_sentences(pair.target for pair in data.train),
        name=name,
    )
    if name == "never compares":
        model.decoder.attention = museum.AttentionByPosition(
            model.decoder.attention.score, query_dim=64
        )
    history = train(model.to(device), data.train, data.val, size.training())
    models[name] = model
    losses[name] = [epoch.validation_loss for epoch in history.epochs]

# %% [markdown]
# **Predict.** Draw the two validation losses before you look. Will the second one fall at all?

# %% mystnb={"image": {"alt": "Two falling curves of validation loss by epoch. The model that compares ends lower; the one that never compares falls, too, and stays above it"}} tags=["nbval-ignore-output"]
figure, axes = plt.subplots(figsize=(4.6, 3.2))
for (name, values), colour in zip(losses.items(), (plots.KEY, plots.QUERY), strict=True):
    axes.plot(range(1, len(values) + 1), values, "o-", color=colour, markersize=4)
    shift = (8, 4) if name == "never compares" else (8, -8)
    axes.annotate(name, (len(values), values[-1]), xytext=shift, textcoords="offset points")
axes.set(
    xlabel="epoch", ylabel="validation loss (nats per word)", ylim=0, xlim=(0.5, 1.5 * size.epochs)
)
axes.set_title("Both learn")
plt.show()

# %% tags=["nbval-ignore-output"]
sources, right = [pair.source for pair in data.test], [pair.target for pair in data.test]
for name, model in models.items():
    print(f"{name:15} without an error: {exact_match(translate(model, sources), right):.0%}")

# %% [markdown]
# It translates something, so something must reach the decoder: the last state, and a sum over
# places. Step through the sentence and change it: keep the number of words and change every one of
# them. What do the weights do?

# %% tags=["nbval-ignore-output"]
explore(models["never compares"], "morgen trinkt der mann ein bier .")

# %% tags=["nbval-ignore-output"]
explore(models["compares"], "morgen trinkt der mann ein bier .")

# %% [markdown]
# The test, in one line, on the class and not on the trained model:

# %%
torch.manual_seed(0)
try:
    museum.check_source_matters(museum.AttentionByPosition)
except AssertionError as error:
    print(error)

# %% [markdown]
# ## A loss that is too good
#
# A language model for the English side. Each word looks at words that a mask allows, and guesses
# the next one. One gets the right mask, the other the product of two masks.
#
# **Predict.** What does the product of these two look like, and which model will have the lower
# validation loss?

# %%
in_the_future = torch.triu(torch.ones(5, 5), diagonal=1)
too_long_ago = torch.tril(torch.ones(5, 5), diagonal=-2)
print("hidden if in the future\n", in_the_future.int().numpy())
print("hidden if too long ago\n", too_long_ago.int().numpy())

# %%
print("hidden by the product\n", (in_the_future * too_long_ago).int().numpy())

# %% tags=["nbval-ignore-output"]
words = Vocabulary.from_sentences(pair.target for pair in data.train)


def examples(pairs):
    return [(ids, ids) for pair in pairs for ids in [words.encode(pair.target)]]


def nats(model, batch):
    """Mean cross-entropy of the next word, over real words."""
    logits = model(batch.target_in)[batch.target_mask]
    return functional.cross_entropy(logits, batch.target_out[batch.target_mask])


rows = max(64, size.batch_tokens // 16)  # sentences in a batch
writers = {}
for name, allowed in (("right", causal_mask), ("leaky", museum.leaky_mask)):
    torch.manual_seed(0)
    model = NextWord(allowed, len(words)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(5):
        for batch in random_batches(examples(data.train), rows, seed=epoch):
            optimizer.zero_grad()
            nats(model, batch.to(device)).backward()
            optimizer.step()
    (held_out,) = random_batches(examples(data.val), len(data.val), seed=0)
    with torch.no_grad():
        print(f"{name}: validation perplexity {nats(model, held_out.to(device)).exp():.2f}")
    writers[name] = model

# %% [markdown]
# **Predict.** Now they write, one word after the other, and nothing of the future is there to be
# seen. What will the better one write?

# %% tags=["nbval-ignore-output"]
for name, model in writers.items():
    ids = [SOS]
    with torch.no_grad():
        while len(ids) < 13 and ids[-1] != EOS:
            ids.append(int(model(torch.tensor([ids], device=device))[0, -1].argmax()))
    print(f"{name}:", " ".join(words.decode(ids[1:])))

# %% [markdown]
# ## Dealt out wrongly
#
# A bidirectional layer leaves its last states as (directions, batch, width). Three sentences here,
# two numbers in each direction: the forward ones are 1 to 6, the backward ones their negatives.
#
# **Predict.** Which numbers does the second sentence get by `view`? Write them down.

# %%
forward = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
final = torch.stack([forward, -forward])
print("by view\n", final.view(1, 3, 4)[0].numpy())
print("by cat\n", torch.cat([final[0], final[1]], dim=-1).numpy())

# %% [markdown]
# The shapes are the same, and for a batch of one the numbers are, too. Put the wrong encoder into
# the trained model: the weights stay, only the last states are joined in another way.

# %% tags=["nbval-ignore-output"]
model = models["compares"]
for kind in (Encoder, museum.ViewEncoder):
    model.encoder.__class__ = kind
    together = exact_match(translate(model, sources), right)
    alone = exact_match([translate(model, [source])[0] for source in sources], right)
    print(f"{kind.__name__:12} in batches {together:.0%}, one by one {alone:.0%}")
model.encoder.__class__ = Encoder

# %% [markdown]
# ## A picture under the wrong sentence
#
# Two heat maps for one sentence, one with its own weights and one with those of another sentence of
# the same batch, in the order of length.
#
# **Predict.** Which one is right? Find the word that decides it.

# %% mystnb={"image": {"alt": "Two heat maps above each other with the same German words across and the same English words down; in both, each English row has most weight on one German word, but not on the same one"}} tags=["nbval-ignore-output"]
pairs = data.test
own, drawn = teacher_forced_attention(model, pairs), museum.weights_to_draw(model, pairs)
same = [n for n in range(len(pairs)) if own[n].shape == drawn[n].shape and len(own[n]) <= 9]
number = max(same, key=lambda n: abs(own[n] - drawn[n]).sum())
figure, axes = plt.subplots(2, 1, figsize=(4.4, 7))
for ax, weights, title in zip(axes, (drawn[number], own[number]), ("One", "Two"), strict=True):
    ax.pcolormesh(weights, cmap=plots.weights, vmin=0, vmax=1)
    ax.invert_yaxis()
    german, english = [*pairs[number].source, "<eos>"], pairs[number].target
    ax.set_xticks(np.arange(len(german)) + 0.5, german, rotation=60)
    ax.set_yticks(np.arange(len(english)) + 0.5, english)
    ax.set_title(title)
plt.show()

# %% [markdown]
# *Two* is right. The check does not look at pictures; it asks for each pair alone and compares.

# %%
for weights_of in (teacher_forced_attention, museum.weights_to_draw):
    try:
        museum.check_weights(weights_of)
        print(weights_of.__name__, "passes")
    except AssertionError as error:
        print(weights_of.__name__, "fails:", error)

# %% [markdown]
# ## Try it
#
# - Run every check of `EXHIBITS` on its broken and on its right version. Which message would have
#   told you the least?
# - Put a stranger into the trained model with `museum.AttentionWith(score, stranger)` and translate
#   `data.test` in batches and one by one. Which bugs cannot be seen one by one?
# - Take code of your own, or of a paper that you like, bring it to the form
#   `softmax(scores, mask)`, and run the three checks.
#
# ## One solution
#
# Two words with the score −200,000 and a place of padding with 0, a batch of one:
#
# ```python
# def my_check(softmax):
#     scores = torch.tensor([[[-2e5, -2e5, 0.0]] * 3])
#     mask = torch.tensor([[[True, True, False]]])
#     right = torch.tensor([0.5, 0.5, 0.0]).expand(1, 3, 3)
#     assert torch.equal(softmax(scores, mask), right)
# ```
#
# It is short, and it says nothing of *what* is wrong. Three checks that each name one thing are the
# better tests; this one is the better trap.
