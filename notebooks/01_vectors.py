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
# # Lab 1: From counting words to vectors
#
# Count n-grams until the table bursts, smooth it, and let a network learn what the table cannot
# know. Then look at the vectors that it made for itself. Write your guess down wherever it says
# **Predict**, and only then run the cell. A CPU is enough; all cells together take about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/01_vectors.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
from itertools import pairwise
from math import exp

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display
from torch.nn import functional as F

from attnbook import grammar, plots
from attnbook.corpora import multi30k
from attnbook.language_models import (
    AddConstant,
    KneserNey,
    NeuralLanguageModel,
    ngrams,
    perplexity,
)
from attnbook.training import pick_device
from attnbook.vocabulary import Vocabulary, tokenize
from attnbook.word_vectors import SkipGram, nearest

plots.notebook()

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## The text
#
# The English sentences of the course's own grammar, which is inside the package and needs no
# network. Set `CORPUS = "multi30k"` for real image captions: they are downloaded (or read from
# `ATTNBOOK_DATA`), the numbers come closer to the chapter's, and the lab takes some minutes.

# %%
CORPUS = "grammar"

if CORPUS == "grammar":
    pairs = grammar.corpus(train=6000, val=0, test=500, seed=0, longest=20)
    train, test = ([pair.target for pair in part] for part in (pairs.train, pairs.test))
    vocabulary = Vocabulary.from_sentences(train)
else:
    train, test = ([pair.target for pair in multi30k(part)] for part in ("train", "test"))
    vocabulary = Vocabulary.from_sentences(train, min_count=5)

for sentence in train[100:104]:
    print(" ".join(sentence))
print(f"{len(train):,} sentences, {sum(map(len, train)):,} words, {len(vocabulary):,} different")

# %% [markdown]
# ## Three sentences, by hand
#
# The table of the chapter. `AddConstant(2, …, constant=0)` is plain counting with a memory of one
# word. Which sentences does it call possible? Write some of your own from these six words.

# %%
tiny = [tokenize(text) for text in ("the dog runs", "the dog sleeps", "a cat sleeps")]
words = Vocabulary.from_sentences(tiny)
counting = AddConstant(2, words, constant=0).fit(tiny)
add_one = AddConstant(2, words).fit(tiny)
kneser_ney = KneserNey(2, words, discount=0.5).fit(tiny)

for text in ("the dog runs", "a cat runs", "the cat sleeps", "sleeps dog the"):
    chances = [
        exp(sum(m.log_probabilities([tokenize(text)]))) for m in (counting, add_one, kneser_ney)
    ]
    print(f"{text:16}", *(f"{chance:9.5f}" for chance in chances))

# %% [markdown]
# Plain counting cannot tell *the cat sleeps* from *sleeps dog the*: both are impossible. Smoothing
# tells them apart, if only a little. Change `discount` to 0.9 and to 0.1. What does it trade?
#
# ## How the table grows
#
# **Predict:** with every n the space of possible n-grams grows by a factor of the vocabulary. What
# share of the 4-grams in *new* sentences has the table never seen: a tenth, a quarter, almost half?


# %%
def unseen(order, training):
    """Distinct n-grams in training, and the share of test n-grams that are not among them."""
    seen = {gram for s in training for gram in ngrams(vocabulary.encode(s), order)}
    asked = [gram for s in test for gram in ngrams(vocabulary.encode(s), order)]
    return len(seen), sum(gram not in seen for gram in asked) / len(asked)


print("n      possible     seen   never seen in new text")
for order in range(1, 7):
    distinct, share = unseen(order, train)
    possible = (len(vocabulary) - 2) ** order
    print(f"{order} {possible:13.1e} {distinct:8,} {share:12.1%}")

# %% [markdown]
# **Predict:** you read four times as much. By what factor does the share of unseen 4-grams fall?

# %% mystnb={"image": {"alt": "Share of n-grams in new sentences that were never seen, by sentences read, for n from 2 to 5. The line for n = 2 falls to almost zero; the higher n, the flatter the line."}}
sizes = [len(train) // part for part in (16, 8, 4, 2, 1)]
_, ax = plt.subplots()
for order in range(2, 6):
    shares = [100 * unseen(order, train[:size])[1] for size in sizes]
    ax.plot(sizes, shares, "o-", color="black")
    ax.annotate(
        f"n = {order}",
        (sizes[-1], shares[-1]),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
    )
ax.set(xlabel="sentences read", ylabel="never seen (%)", ylim=(0, 100))
ax.set_title("Reading more helps least where it is needed most")
plt.show()
# %% [markdown]
# ## Smoothing
#
# Perplexity: among how many equally likely words the model is undecided, on average, at each word
# and at the sentence's end. **Predict** for both smoothings: does it fall all the way from n = 1 to
# n = 5?

# %%
print("n   add one   add 0.01   Kneser–Ney")
for order in range(1, 6):
    models = (
        AddConstant(order, vocabulary),
        AddConstant(order, vocabulary, 0.01),
        KneserNey(order, vocabulary),
    )
    print(order, *(f"{perplexity(model.fit(train), test):10.1f}" for model in models))

# %% [markdown]
# Add-one is not punished for the n-grams it has seen but for those it has not: it gives each of
# them the same, as if *drinking a the* were as likely as *drinking a tea*. Kneser–Ney asks the
# shorter context instead, and stops gaining when the longer ones have nothing left to say.
#
# **Poke:** how often must a sentence stand in training before Kneser–Ney takes it for likely? Add a
# test sentence to `train` once, twice, ten times, fit again, and look at its probability.
#
# ## The neural model
#
# Bengio's network, small: four words before, 24 numbers a word, 64 hidden units. The progress bar
# shows the loss in nats; its exponential is the training perplexity.


# %% tags=["nbval-ignore-output"]
def train_neural(sentences, window=4, seed=0):
    """A neural language model for the lab's vocabulary."""
    torch.manual_seed(seed)
    model = NeuralLanguageModel(vocabulary, window=window, embedding_dim=24, hidden_dim=64).to(
        device
    )
    model.fit(sentences, epochs=4, batch_size=128, learning_rate=5e-3, seed=seed)
    return model


network = train_neural(train)
table = KneserNey(5, vocabulary).fit(train)
print(f"Kneser–Ney, n = 5: perplexity {perplexity(table, test):.1f}, {table.entries:,} entries")
size = sum(p.numel() for p in network.parameters())
print(f"network, window 4: perplexity {perplexity(network, test):.1f}, {size:,} parameters")

# %% [markdown]
# Both are asked at the same places, over the same vocabulary, `<eos>` included; that is why the two
# numbers may be compared. Try `train_neural(train, window=1)` and `window=8`.
#
# ## A combination that never was
#
# Take out of training every sentence in which a chosen adjective stands before a chosen noun. Both
# words remain, in other company. Then ask for exactly these places.
#
# **Predict:** which model expects the noun, and by what factor?

# %% tags=["nbval-ignore-output"]
if CORPUS == "grammar":
    forbidden = {
        ("cold", "beer"),
        ("old", "bag"),
        ("sick", "teacher"),
        ("new", "book"),
        ("nice", "doctor"),
    }
else:
    forbidden = {("red", "shirt"), ("yellow", "jacket"), ("black", "hat"), ("pink", "dress")}


def places(sentence):
    """Where a forbidden pair ends."""
    return [i + 1 for i, pair in enumerate(pairwise(sentence)) if pair in forbidden]


kept = [s for s in train if not places(s)]
removed = [s for s in train if places(s)]
rivals = {
    "add one, n = 3": AddConstant(3, vocabulary).fit(kept),
    "Kneser–Ney, n = 5": KneserNey(5, vocabulary).fit(kept),
    "network": train_neural(kept),
}
print(f"{len(removed)} sentences taken out; probability of the noun there (geometric mean):")
for name, model in rivals.items():
    log_probs = [model.log_probabilities([s])[i] for s in removed for i in places(s)]
    print(f"{name:18} {exp(np.mean(log_probs)):.5f}")

# %% [markdown]
# The table saw the adjective before other nouns and the noun after other adjectives, and has no way
# to add the two up. The network has no entry for the pair either. But the adjective's row lies near
# the rows of other adjectives, and what it learned after those it applies here. Add your own pairs
# to `forbidden`; take one that makes no sense, too.
#
# ## Look at the rows
#
# Cosine neighbours of a word. **Predict** before you choose: what is near *doctor*, near *tea*, near
# *drinking*? Is it words that *mean* the same?


# %% tags=["nbval-ignore-output"]
def neighbours(word="doctor", embedding=None, count=6):
    """A word's neighbours as a small table."""
    rows = (network.embedding.weight if embedding is None else embedding).cpu()
    found = nearest(rows, vocabulary, word, count)
    lines = [f"| near *{word}* | cosine |", "|---|---|", *(f"| {w} | {c:.2f} |" for w, c in found)]
    display(Markdown("\n".join(lines)))


neighbours("doctor" if CORPUS == "grammar" else "man")

# %% [markdown]
# With a kernel, the list lets you choose; on the page you see the table above.

# %% tags=["nbval-ignore-output", "remove-output"]
frequent = [word for word in vocabulary if word.isalpha()][:150]
choice = widgets.interact(
    neighbours,
    word=widgets.Dropdown(options=sorted(frequent), value=frequent[10], description="word"),
    embedding=widgets.fixed(None),
    count=widgets.IntSlider(6, 1, 12, description="how many"),
)
# %% [markdown]
# The plane that keeps most of the spread of some groups (a principal component analysis, two lines
# of NumPy). Nobody told the network that there are people and drinks.

# %% mystnb={"image": {"alt": "Word vectors in a plane. The words of each group, people, drinks and verbs in -ing, lie close together and far from the other groups."}} tags=["nbval-ignore-output"]
if CORPUS == "grammar":
    groups = {
        "people": "man woman boy girl child doctor teacher student neighbour",
        "drinks": "beer wine coffee tea milk water juice",
        "-ing": "drinking eating reading writing buying ordering opening closing",
    }
else:
    groups = {
        "people": "man woman boy girl child person lady guy",
        "colours": "red blue green yellow orange pink white black",
        "-ing": "running walking sitting standing jumping riding holding",
    }


def picture(embedding, title):
    """Draw the groups in the plane of their first two principal components."""
    chosen = [w for text in groups.values() for w in text.split() if w in vocabulary]
    rows = F.normalize(embedding.detach().cpu(), dim=1)[vocabulary.encode(chosen)].numpy()
    rows = rows - rows.mean(axis=0)
    plane = dict(zip(chosen, rows @ np.linalg.svd(rows, full_matrices=False)[2][:2].T, strict=True))
    _, ax = plt.subplots(figsize=(4.6, 4.4))
    for mark, text in zip("os^", groups.values(), strict=True):
        # The names stand in a column beside their group, each with a line to its point.
        names = sorted((w for w in text.split() if w in plane), key=lambda w: plane[w][1])
        points = np.array([plane[w] for w in names])
        heights = points[:, 1].mean() + 0.09 * (np.arange(len(names)) - len(names) / 2)
        for name, point, height in zip(names, points, heights, strict=True):
            ax.plot([point[0], points[:, 0].max() + 0.08], [point[1], height], color="0.6", lw=0.5)
            ax.text(points[:, 0].max() + 0.1, height, name, va="center")
        ax.plot(*points.T, mark, color="black", markersize=5)
    ax.set(
        xticks=[],
        yticks=[],
        xlabel="first principal component",
        ylabel="second principal component",
    )
    ax.margins(x=0.25)
    ax.set_title(title)
    plt.show()


picture(
    network.embedding.weight, "Words that can stand in the same places\nhave come to lie together"
)

# %% [markdown]
# ## Skip-gram
#
# Give up the language model, keep the rows: guess the words around a word, against five words drawn
# at random. **Predict:** skip-gram does not know which of two neighbours came first. Shuffle the
# words within each sentence. Whose neighbours suffer, the network's or skip-gram's?

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
skip_gram = SkipGram(vocabulary, embedding_dim=24).to(device)
skip_gram.fit(train, epochs=3, radius=2, subsample=None)
neighbours("doctor" if CORPUS == "grammar" else "man", skip_gram.embedding.weight)


# %% tags=["nbval-ignore-output"]
def held_together(embedding):
    """Of the groups' words, the share whose nearest neighbour among them is of the same group."""
    group_of = {w: name for name, text in groups.items() for w in text.split() if w in vocabulary}
    rows = F.normalize(embedding.detach().cpu(), dim=1)[vocabulary.encode(list(group_of))]
    cosines = (rows @ rows.T).fill_diagonal_(-2)
    names = list(group_of.values())
    return np.mean([names[i] == names[j] for i, j in enumerate(cosines.argmax(dim=1).tolist())])


order = torch.Generator().manual_seed(0)
shuffled = [[s[i] for i in torch.randperm(len(s), generator=order).tolist()] for s in train]
torch.manual_seed(0)
confused = SkipGram(vocabulary, embedding_dim=24).to(device)
confused.fit(shuffled, epochs=3, radius=2, subsample=None)
lost = train_neural(shuffled)
print("share of words whose nearest one is of the same group:")
for name, model in {"network": network, "network, shuffled text": lost,
                    "skip-gram": skip_gram, "skip-gram, shuffled text": confused}.items():  # fmt: skip
    print(f"{name:26} {held_together(model.embedding.weight):.0%}")
untrained = torch.randn(len(vocabulary), 24, generator=torch.Generator().manual_seed(0))
print(f"{'random rows':26} {held_together(untrained):.0%}")

# %% [markdown]
# Skip-gram does not know the order of two neighbours, but it knows that they are neighbours.
# Shuffling carries words out of each other's reach, and both models suffer. (Turn every sentence
# round instead, `s[::-1]`: skip-gram sees the very same pairs, the network learns another language.)
# What survives the shuffling is what kind of sentence a word occurs in, and that is not nothing.
#
# ## Try
#
# 1. `AddConstant(3, vocabulary, k)`: which *k* gives the best perplexity, and how far from
#    Kneser–Ney does it stay? Choosing *k* on the test sentences is cheating; how would you do it?
# 2. Let `vocabulary = Vocabulary.from_sentences(train, min_count=500)` and compute Kneser–Ney's
#    perplexity again. Is this model better? (What became of the rare words?)
# 3. Freeze the rows of `network.embedding` at random values and train the rest. How much of the
#    network's advantage at the forbidden pairs remains?
# 4. The window is four words. Write a sentence of the corpus in which the word that decides the
#    next one stands five words back. The next chapter starts there.
