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
# # Lab 8: One table
#
# Say by how much one translator is better than another, and how sure one may be: by hand on six
# sentences, then for three translators that you train. Then look for sentences that a model
# translates without an error while it points at the wrong words. Write your guess down wherever it
# says **Predict**, and only then run the cell. A CPU is enough; all cells together take about a
# minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/08_one_table.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import torch

from attnbook import grammar, plots
from attnbook.alignment import align_by_weight
from attnbook.decoding import decode, teacher_forced_attention, translate
from attnbook.evaluation import bleu, free_running_perplexity, teacher_forced_perplexity
from attnbook.labs import Size, by_device
from attnbook.scrubber import Scrubber
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import pick_device, train
from attnbook.vocabulary import Vocabulary

plots.notebook()

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## Six sentences
#
# Two systems have translated the same six sentences. 1 means: without an error.

# %%
one = np.array([1, 1, 1, 0, 1, 0])
other = np.array([1, 1, 0, 0, 1, 0])
print(f"{one.mean():.2f} against {other.mean():.2f}, a difference of {(one - other).mean():.2f}")

# %% [markdown]
# Would it be the same with other test sentences? There are no others, so one draws six from these
# six, with replacement, and looks again: a *bootstrap*. With six sentences all $6^6$ draws can be
# counted out, where otherwise one takes a thousand at random.
#
# **Predict.** (a) In which share of the draws is the first system ahead? (A draw in which it is not
# ahead must leave out the third sentence.) (b) Draw the sentences of the two systems separately.
# Will the first be ahead more or less often?

# %%
draws = np.array(list(product(range(6), repeat=6)))
paired = (one - other)[draws].mean(axis=1)
print(f"{len(draws):,} draws, the same for both systems")
print(f"  ahead in {np.mean(paired > 0):.1%}, behind in {np.mean(paired < 0):.1%}")

alone_one, alone_other = one[draws].sum(axis=1), other[draws].sum(axis=1)
shares_one, shares_other = (np.bincount(sums, minlength=7) for sums in (alone_one, alone_other))
both = np.outer(shares_one, shares_other) / len(draws) ** 2
ahead, behind = np.tril(both, -1).sum(), np.triu(both, 1).sum()
print("drawn separately")
print(f"  ahead in {ahead:.1%}, behind in {behind:.1%}")

# %% [markdown]
# Drawn together, the first system is never behind: it lost no sentence that the other one won. Drawn
# separately it is behind one time in five, because one system's lucky draw meets the other's unlucky
# one. That has nothing to do with the systems. Compare on the same draws. (Two thirds ahead, one
# third level is still no proof of anything; there is one sentence in it.)
#
# ## Three translators, one budget
#
# The same encoder, widths, sentences, batches, epochs and seed. Only the decoder differs, and between
# the last two rows only the score and the order of looking and moving.

# %% tags=["nbval-ignore-output"]
size = by_device(device, cpu=Size(pairs=3_500, longest=7, epochs=7, batch_tokens=400))
data = grammar.corpus(train=size.pairs, val=100, test=400, shortest=3, longest=size.longest)
source_words = Vocabulary.from_sentences(pair.source for pair in data.train)
target_words = Vocabulary.from_sentences(pair.target for pair in data.train)
ROWS = {
    "fixed": {"decoder": "cho", "embedding_std": None},
    "dot": {"decoder": "luong", "score": "dot"},
    "additive": {"decoder": "bahdanau", "score": "additive"},
}


def trained(name, seed):
    """One row of the table, trained with one seed."""
    torch.manual_seed(seed)
    shape = {"embedding_std": 0.5, **ROWS[name]}
    config = RecurrentConfig(cell="lstm", bidirectional=True, embedding_dim=32, hidden_dim=64,
                    dropout=0.0, **shape)  # fmt: skip
    model = Translator.from_config(config, source_words, target_words, name=f"{name}-{seed}").to(
        device
    )
    train(model, data.train, data.val, size.training(seed=seed), progress=False)
    return model


models = {name: trained(name, seed=0) for name in ROWS}

# %% [markdown]
# **Predict.** Two columns are called perplexity. In one the model reads the right words before each
# word, in the other its own. Which row loses most from the one to the other?

# %% tags=["nbval-ignore-output"]
sources = [pair.source for pair in data.test]
right = [pair.target for pair in data.test]
written = {name: translate(model, sources) for name, model in models.items()}
correct = {
    name: np.array([words == list(answer) for words, answer in zip(found, right, strict=True)])
    for name, found in written.items()
}
print(f"{'':10}{'exact':>8}{'BLEU':>22}{'forced':>9}{'free':>9}")
for name, model in models.items():
    score = bleu(written[name], right, resamples=200)
    print(
        f"{name:10}{correct[name].mean():8.1%}"
        f"{score.score:9.1f} ({score.low:.1f}–{score.high:.1f})"
        f"{teacher_forced_perplexity(model, data.test):9.2f}"
        f"{free_running_perplexity(model, data.test):9.2f}"
    )

# %% [markdown]
# Now the differences, as they should be reported: on the same draws for both rows.

# %% tags=["nbval-ignore-output"]
chance = np.random.default_rng(0)
drawn = chance.integers(len(right), size=(2000, len(right)))


def difference(one, other):
    """The difference in exact match, and the middle 95 % of it over draws."""
    low, high = np.quantile(100 * (one.astype(float) - other)[drawn].mean(axis=1), [0.025, 0.975])
    return f"{100 * (one.mean() - other.mean()):+.1f} points, {low:+.1f} to {high:+.1f}"


print("dot less fixed:     ", difference(correct["dot"], correct["fixed"]))
print("additive less dot:  ", difference(correct["additive"], correct["dot"]))

# %% [markdown]
# The interval answers one question: what if the *test sentences* had been others? It cannot answer
# another one: what if the *seed* had been another?
#
# **Predict.** Train the dot row again with seed 1. Will its difference from seed 0 be larger or
# smaller than the difference between additive and dot?

# %% tags=["nbval-ignore-output"]
again = trained("dot", seed=1)
correct_again = np.array(
    [words == list(answer) for words, answer in zip(translate(again, sources), right, strict=True)]
)
print("dot, seed 1 less 0: ", difference(correct_again, correct["dot"]))

# %% [markdown]
# If two seeds of one row lie as far apart as two rows do, the table has not shown that the rows
# differ, whatever its intervals say.
#
# ## Right, and pointing at the wrong words
#
# Take the sentences that each model translates without an error, and see where its largest weight
# lies at every English word that has an origin.
#
# **Predict.** How many of these words will have it on a German word that they do not come from?

# %% tags=["nbval-ignore-output"]
strays = {}
for name in ("dot", "additive"):
    wrong = []
    for pair, weights in zip(
        data.test, teacher_forced_attention(models[name], data.test), strict=True
    ):
        linked = {j for _, j in pair.links}
        found = {(i, j) for i, j in align_by_weight(weights[:, :-1]) if j in linked}
        wrong.append((len(found - pair.links), len(found)))
    wrong = np.array(wrong)
    good = correct[name]
    strays[name] = wrong[:, 0] * good
    share = wrong[good, 0].sum() / wrong[good, 1].sum()
    print(
        f"{name}: of {good.sum()} sentences without an error, {np.mean(wrong[good, 0] > 0):.0%} have "
        f"a word that looks elsewhere; of their words {share:.1%} do"
    )

# %% [markdown]
# The sentence with the most of them, step by step. The outlines are the true links.

# %% tags=["nbval-ignore-output"]
name = max(strays, key=lambda name: strays[name].max())
pair = data.test[int(strays[name].argmax())]
trace = decode(models[name], pair.source, target=pair.target, gold_links=pair.links)
Scrubber(trace)

# %% [markdown]
# And all weights of the sentence at once.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Heat map of the weights of one sentence that is translated without an error. Outlines mark the true links; in some rows the darkest cell lies beside them."}}
plots.heatmap(trace, title="Right words, stray weights")
plt.show()

# %% [markdown]
# ## Try it
#
# - Give the fixed row the sentences of up to five words only (`longest=5`). Does the order of the
#   table stay?
# - Train every row with three seeds, and report means and all single values. Which statements about
#   the rows survive?
# - With Multi30k at hand, `attnbook evaluate` does all this for any number of models:
#   `attnbook evaluate one.safetensors other.safetensors --data multi30k`.
