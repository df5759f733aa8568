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
# # Lab 4: The bottleneck
#
# Slide from one sentence to another inside the vector, and read what the decoder makes of the points
# between. Cut the vector in half and see which half of the sentence goes. Ask it for a word of your
# choice. Before all that, drown a word in a sum of others. Where a cell asks for a prediction, write
# yours down first. Everything runs on a CPU in about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/04_bottleneck.ipynb)

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
import random
from collections import Counter

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display
from torch.nn import functional

from attnbook import checkpoints, grammar, plots
from attnbook.batches import pad
from attnbook.encoder import RecurrentState
from attnbook.decoding import decode, search, translate
from attnbook.evaluation import bleu
from attnbook.scrubber import Scrubber, explore
from attnbook.seq2seq import Translator
from attnbook.training import pick_device
from attnbook.vocabulary import EOS, tokenize

plots.notebook()
torch.set_num_threads(1)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## Drown a word in a sum
#
# The chapter's four words in four numbers, and a fifth that answers although nobody put it in. Change
# the sum to `a + b + c`: which words seem to be in it now?

# %%
words = {
    "a": torch.tensor([1.0, 1, 1, 1]),
    "b": torch.tensor([1.0, -1, 1, -1]),
    "c": torch.tensor([1.0, 1, -1, -1]),
    "d": torch.tensor([1.0, -1, -1, 1]),
    "e": torch.tensor([1.0, 1, 1, -1]),
}
context = words["a"] + words["b"]
for name, vector in words.items():
    print(name, float(vector @ context) / 4)

# %% [markdown]
# Random vectors of length 1 in 256 numbers. Words that are in the sum answer 1 on average, the others
# 0, and both miss by about $\sqrt{n/d}$. **Predict:** of 10,000 words, how many that are *not* in the
# sum of 40 answer more than ½?


# %%
def answers(in_the_sum, numbers, vocabulary=10_000):
    torch.manual_seed(0)
    vectors = functional.normalize(torch.randn(vocabulary, numbers), dim=1)
    return vectors @ vectors[:in_the_sum].sum(dim=0)


for count in (4, 10, 20, 40):
    given = answers(count, 256)
    print(
        f"{count:3} words: spread {float(given[count:].std()):.2f} "
        f"(expected {math.sqrt(count / 256):.2f}), missed {int((given[:count] < 0.5).sum()):2}, "
        f"false alarms {int((given[count:] > 0.5).sum()):4}"
    )

# %% [markdown]
# ## Two translators, by length
#
# Both come with the package and were trained on the same sentences of the package's grammar, of 3 to
# 20 words. They differ in one thing: one is handed the encoder's last state, the other may look at
# all of them. **Predict** the two curves.

# %%
fixed = checkpoints.load("grammar-sutskever").to(device)
attending = checkpoints.load("grammar-dot").to(device)
corpus = grammar.corpus(train=1500, val=0, test=400, shortest=3, longest=20)
test = corpus.test  # neither translator has seen these
buckets = [(3, 5), (6, 8), (9, 11), (12, 14), (15, 17), (18, 20)]
found = {
    "last state": translate(fixed, [pair.source for pair in test]),
    "all states": translate(attending, [pair.source for pair in test]),
}

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "BLEU by source length for two translators of the grammar. The one that sees all encoder states stays near 100; the one that is handed the last state falls with length, with bootstrap intervals around both."}}
series = {}
for name, translations in found.items():
    rows = []
    for low, high in buckets:
        chosen = [i for i, pair in enumerate(test) if low <= len(pair.source) <= high]
        rows.append(
            bleu([translations[i] for i in chosen], [test[i].target for i in chosen], resamples=200)
        )
    series[name] = (
        [row.score for row in rows],
        [min(row.low, row.score) for row in rows],
        [max(row.high, row.score) for row in rows],
    )
ax = plots.lines_with_intervals(
    range(len(buckets)), series, colours={"all states": plots.KEY},
    ticks=[f"{low}–{high}" for low, high in buckets],
)  # fmt: skip
ax.set(
    xlabel="source length (words)", ylabel="BLEU (95 % bootstrap)", ylim=(0, 105), xlim=(-0.2, 6.6)
)
ax.set_title("Same sentences, same training,\none looks back")
plt.show()

# %% [markdown]
# What the fixed context writes where it fails. Is it noise, or a sentence? Compare with the right
# answer word by word: what is kept, what is replaced, and by what?

# %% tags=["nbval-ignore-output"]
shown = 0
for pair, translation in zip(test, found["last state"], strict=True):
    if len(pair.source) >= 12 and tuple(translation) != pair.target and shown < 4:
        shown += 1
        print("source ", *pair.source)
        print("right  ", *pair.target)
        print("written", *translation, "\n")

# %% [markdown]
# ## Half a vector
#
# The encoder reads in both directions: the first half of its last state was computed from left to
# right, so that it has read the last word most recently; the second half from right to left.
# **Predict:** the second half is set to zero. Which end of the sentence survives?


# %%
@torch.no_grad()
def read(translator, sentences):
    ids = [[*translator.source_ids(words), EOS] for words in sentences]
    source, lengths = pad(ids)
    return translator.encode(source.to(translator.device), lengths)


def write(translator, encoded):
    ids = search(translator, encoded)[0].ids
    return " ".join(translator.target_vocabulary.decode(ids))


def with_half(encoded, which):
    def half(part):
        part = part.clone()
        middle = part.shape[-1] // 2
        if which == "left to right":
            part[..., middle:] = 0
        if which == "right to left":
            part[..., :middle] = 0
        return part

    return encoded._replace(final_state=encoded.final_state.each(half))


# %% tags=["nbval-ignore-output"]
for sentence in ("ich möchte ein bier trinken", "heute trinkt der mann ein bier"):
    encoded = read(fixed, [tokenize(sentence)])
    print(sentence)
    for which in ("both", "left to right", "right to left"):
        print(f"  {which:14} {write(fixed, with_half(encoded, which))}")

# %% [markdown]
# Two sentences prove little. Over all test sentences of nine words and more: how many of the right
# translation's words turn up, in its first and in its second half?

# %% tags=["nbval-ignore-output"]
long = [pair for pair in test if len(pair.source) >= 9][:80]
for which in ("both", "left to right", "right to left"):
    hits, wanted = [0, 0], [0, 0]
    for pair in long:
        written = Counter(write(fixed, with_half(read(fixed, [pair.source]), which)).split())
        for j, word in enumerate(pair.target):
            half = 2 * j // len(pair.target)
            wanted[half] += 1
            hits[half] += written[word] > 0
            written[word] -= 1
    first, second = (hit / want for hit, want in zip(hits, wanted, strict=True))
    print(f"{which:14} first half {first:.0%}   second half {second:.0%}")

# %% [markdown]
# ## From one sentence to another
#
# Between the vectors of two sentences there is a straight line, and the decoder writes something at
# every point of it. **Predict** what it writes half-way: half of either sentence, one of the two, or
# something else?


# %% tags=["nbval-ignore-output"]
def between(first, second, share):
    a, b = (read(fixed, [tokenize(text)]) for text in (first, second))
    mixed = (torch.lerp(*parts, share) for parts in zip(a.final_state, b.final_state, strict=True))
    return write(fixed, a._replace(final_state=RecurrentState(*mixed))).replace("<", "&lt;")


first, second = "ich möchte ein bier trinken", "der mann hat das buch gelesen"
lines = ["| share of the second | written |", "|---:|---|"]
lines += [f"| {k / 10:.1f} | {between(first, second, k / 10)} |" for k in range(11)]
display(Markdown("\n".join(lines)))

# %% [markdown]
# With your own two sentences (this needs a running notebook):

# %% tags=["nbval-ignore-output"]
text_a = widgets.Text(first, description="from")
text_b = widgets.Text(second, description="to")
share = widgets.FloatSlider(value=0.5, min=0, max=1, step=0.05, description="share of to",
                            continuous_update=False)  # fmt: skip
output = widgets.Output()


def show(change=None):
    with output:
        output.clear_output(wait=True)
        if tokenize(text_a.value) and tokenize(text_b.value):
            written = between(text_a.value, text_b.value, share.value)
            display(Markdown(f"**{share.value:.2f}** {written}"))
        else:
            display(Markdown("Write at least one word in both boxes."))


for control in (text_a, text_b, share):
    control.observe(show, names="value")
show()
display(widgets.VBox([text_a, text_b, share]), output)

# %% [markdown]
# ## Ask the vector for a word
#
# A logistic regression for each of sixty words: was it in the sentence? Trained on the vectors of
# 1,500 sentences, tested on 400 others. The score of an occurrence is the share of sentences
# *without* the word that get a lower answer, so that 50 % is guessing however frequent the word is.


# %%
def vectors(translator, sentences):
    rows = []
    for start in range(0, len(sentences), 100):
        state = read(translator, sentences[start : start + 100]).final_state
        rows.append(torch.cat([part[-1] for part in state.parts], dim=-1).cpu())
    return torch.cat(rows)


def presence(sentences, groups):
    return torch.tensor([[any(w in group for w in s) for group in groups] for s in sentences])


def probe(inputs, labels, steps=150):
    mean, scale = inputs.mean(dim=0), inputs.std(dim=0) + 1e-6
    layer = torch.nn.Linear(inputs.shape[1], labels.shape[1])
    torch.nn.init.zeros_(layer.weight)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02, weight_decay=1e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        answers = layer((inputs - mean) / scale)
        functional.binary_cross_entropy_with_logits(answers, labels.float()).backward()
        optimizer.step()
    return lambda new: layer((new - mean) / scale).detach()


def told_apart(scores, labels):
    """For each sentence and group: the share of sentences without it that score lower (%)."""
    result = torch.zeros_like(scores)
    for column in range(scores.shape[1]):
        without = scores[~labels[:, column], column]
        result[:, column] = 100 * (scores[:, column : column + 1] > without).float().mean(dim=1)
    return result


seen = [pair.source for pair in corpus.train]
new = [pair.source for pair in test]
frequent = [w for w, _ in Counter(w for s in seen for w in set(s)).most_common() if w.isalpha()]
asked = [{word} for word in frequent[20:80]]
print(len(asked), "words, from", next(iter(asked[0])), "to", next(iter(asked[-1])))

# %% [markdown]
# Two comparisons. For the control task each word is replaced by a random set of other words that is
# as frequent; the untrained encoder has the same shape and random weights. **Predict** the order of
# the three, and how far above 50 % the lowest is.

# %% tags=["nbval-ignore-output"]
others = frequent[80:]
random.Random(0).shuffle(others)
count = Counter(w for s in seen for w in set(s))
sets = []
for group in asked:
    chosen = set()
    while others and sum(count[w] for w in chosen) < count[next(iter(group))]:
        chosen.add(others.pop())
    if len(chosen) > 1:
        sets.append(chosen)
torch.manual_seed(0)
untrained = Translator.from_config(
    fixed.config, fixed.source_vocabulary, fixed.target_vocabulary
).eval()

results, probes = {}, {}
for name, model, groups in (
    ("trained encoder", fixed, asked),
    ("control task", fixed, sets),
    ("untrained encoder", untrained, asked),
):
    probes[name] = probe(vectors(model, seen), presence(seen, groups))
    labels = presence(new, groups)
    told = told_apart(probes[name](vectors(model, new)), labels)
    place = {word: number for number, group in enumerate(groups) for word in group}
    results[name] = [
        (len(s), i, float(told[row, place[word]]))
        for row, s in enumerate(new)
        for i, word in enumerate(s)
        if word in place
    ]
    mean = sum(value for *_, value in results[name]) / len(results[name])
    print(f"{name:18} {mean:5.1f} %   ({len(results[name])} occurrences)")

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "How well words can be told from the vector by source length, from 50 percent, guessing, to 100. The trained encoder lies highest, and all lines fall with length."}}
figure, ax = plt.subplots()
for name, mark in (("trained encoder", "o-"), ("control task", "s--"), ("untrained encoder", "^:")):
    means = []
    for low, high in buckets:
        values = [value for size, _, value in results[name] if low <= size <= high]
        means.append(sum(values) / max(len(values), 1))
    ax.plot(range(len(buckets)), means, mark, color="black", markersize=5)
    ax.annotate(name, (5, means[-1]), xytext=(8, 0), textcoords="offset points", va="center")
ax.set_xticks(range(len(buckets)), [f"{low}–{high}" for low, high in buckets])
ax.set(
    xlabel="source length (words)", ylabel="words told apart (%)", ylim=(45, 101), xlim=(-0.2, 7.6)
)
ax.set_title("Longer sentences, less of each word")
plt.show()

# %% [markdown]
# Now by place. Remember that this encoder reads from both ends. Where will the hole be?

# %% tags=["nbval-ignore-output"]
print("place in the sentence (sentences of 9 words and more)")
for tenth in range(5):
    values = [v for n, i, v in results["trained encoder"] if n >= 9 and 5 * i // n == tenth]
    mean = sum(values) / max(len(values), 1)
    print(f"{tenth * 20:3} to {tenth * 20 + 20:3} %: {mean:5.1f} %  {'#' * round(mean - 50)}")

# %% [markdown]
# The sentences that a probe is surest of. Where it is wrong, is there a word in the sentence that
# could be taken for the one that was asked for?

# %% tags=["nbval-ignore-output"]
scores = probes["trained encoder"](vectors(fixed, new))


def surest(word, count=6):
    column = next(number for number, group in enumerate(asked) if word in group)
    rows = [f"| answer | {word}? | sentence |", "|---:|---|---|"]
    for row in scores[:, column].argsort(descending=True).tolist()[:count]:
        inside = "yes" if word in new[row] else "no"
        answer = float(torch.sigmoid(scores[row, column]))
        rows.append(f"| {answer:.2f} | {inside} | {' '.join(new[row])} |")
    return Markdown("\n".join(rows))


vocabulary = sorted(next(iter(group)) for group in asked)
display(surest(vocabulary[10]))

# %% [markdown]
# Ask for a word of your choice (this needs a running notebook).

# %% tags=["nbval-ignore-output"]
chooser = widgets.Dropdown(options=vocabulary, value=vocabulary[10], description="word")
panel = widgets.Output()


def ask(change=None):
    with panel:
        panel.clear_output(wait=True)
        display(surest(chooser.value))


chooser.observe(ask, names="value")
ask()
display(chooser, panel)

# %% [markdown]
# ## With and without looking back
#
# Step through one sentence. The switch shows the translator that has one vector for all steps.

# %% tags=["nbval-ignore-output"]
sentence = "der mann hat das buch gelesen , weil er müde ist ."
Scrubber(decode(attending, tokenize(sentence)), decode(fixed, tokenize(sentence)))

# %% [markdown]
# And with a sentence of your own (this one needs a running notebook). How long may it be before the
# fixed context loses a word?

# %% tags=["nbval-ignore-output"]
explore(attending, "heute trinkt der mann ein bier", without=fixed)
