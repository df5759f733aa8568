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
# # Lab 10: Query, Key, Value
#
# Take the `KeyError` out of a dictionary, run a regression of 1964 through the package's attention,
# measure how far scores spread, heat and cool a trained translator, and compute the weights of three
# decoders again from queries, keys and values alone. Write your guess down wherever it says
# **Predict**, and only then run the cell. A CPU is enough; all cells together take about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/10_query_key_value.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
from math import sqrt

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

from attnbook import checkpoints, grammar, plots
from attnbook.attention import attend
from attnbook.decoding import decode, translate
from attnbook.evaluation import exact_match
from attnbook.scrubber import explore
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig

plots.notebook()
np.set_printoptions(precision=3, suppress=True)
torch.set_printoptions(precision=3, sci_mode=False)

# %% [markdown]
# ## A dictionary
#
# Four drinks and their prices.

# %%
menu = {"beer": 4, "wine": 6, "tea": 3, "lemonade": 3}
print(menu["wine"])
try:
    menu["sekt"]
except KeyError as error:
    print("KeyError:", error)

# %% [markdown]
# The same as a sum: compare with every key, 1 for equal and 0 for not, times the value, added up.
#
# **Predict.** What does the sum give for *sekt*, where the dictionary gives an error?


# %%
def look_up(query):
    return sum((query == key) * value for key, value in menu.items())


print(look_up("wine"), look_up("sekt"))

# %% [markdown]
# A price of 0 is not the same as no price. Written as a sum, the lookup cannot say "there is none";
# remember this when the weights are soft.
#
# ## A soft one
#
# Alcoholic, sparkling, hot, made of grapes: 1 for yes, -1 for no. The values are the price in euros
# and the size of the glass in centilitres.

# %%
names = ["beer", "wine", "tea", "lemonade"]
keys = torch.tensor([[1, 1, -1, -1], [1, -1, -1, 1], [-1, -1, 1, -1], [-1, 1, -1, -1]]).double()
values = torch.tensor([[4, 50], [6, 20], [3, 30], [3, 40]]).double()
sekt = torch.tensor([[1, 1, -1, 1]]).double()

scores = sekt @ keys.T / sqrt(4)
shares = scores.exp()
weights = shares / shares.sum()
print("scores ", scores)
print("weights", weights)
print("answer ", weights @ values)

# %% [markdown]
# These four lines are the package's `attend`, and torch's own function as well.

# %%
found = attend(sekt, keys, values)
assert torch.allclose(found.weights, weights)
assert torch.allclose(found.context, weights @ values)
assert torch.allclose(found.context, F.scaled_dot_product_attention(sekt, keys, values))
print(found.context)

# %% [markdown]
# **Predict** for each of the four questions what comes back: wine, asked eight times as strictly;
# Sekt, asked eight times as strictly; a question that says nothing; and the opposite of a tea.

# %%
questions = {
    "wine, 8 times": 8 * keys[1:2],
    "Sekt, 8 times": 8 * sekt,
    "nothing": 0 * sekt,
    "the opposite of tea": -keys[2:3],
}
for question, query in questions.items():
    found = attend(query, keys, values)
    print(f"{question:20} weights {found.weights[0].numpy()}  answer {found.context[0].numpy()}")

# %% [markdown]
# In these four answers the opposite of a tea is a Sekt: a dictionary knows of a question what stands
# in its vector, and no more.
#
# And it has no order. Shuffle the entries, keys and values together, and nothing changes;
# shuffle the values alone, and you sell beer at the price of tea.

# %%
order = torch.tensor([2, 0, 3, 1])
print(attend(sekt, keys[order], values[order]).context)
print(attend(sekt, keys, values[order]).context)

# %% [markdown]
# **Predict.** Which of these raise an error, and what does the last one give back? (Keys of another
# width, fewer values than keys, values of another width, and a mask that allows nothing: a
# dictionary without an entry.)

# %%
attempts = {
    "keys 3 wide": lambda: attend(sekt, keys[:, :3], values),
    "3 values for 4 keys": lambda: attend(sekt, keys, values[:3]),
    "values 7 wide": lambda: attend(sekt, keys, torch.ones(4, 7).double()),
    "nothing allowed": lambda: attend(sekt, keys, values, torch.zeros(1, 4).bool()),
}
for attempt, ask in attempts.items():
    try:
        print(f"{attempt:20}", ask().context)
    except (ValueError, RuntimeError) as error:
        print(f"{attempt:20} {type(error).__name__}")

# %% [markdown]
# ## A regression of 1964
#
# Thermometer readings of a day, hours as keys and degrees as values.

# %%
day = {1: 11, 3: 8, 5: 9, 8: 10, 9: 14, 11: 18, 14: 19, 16: 23, 17: 20, 20: 15, 22: 13}
hours, degrees = np.array(list(day), float), np.array(list(day.values()), float)


def kernel(asked, width):
    scores = -((asked[:, None] - hours) ** 2) / (2 * width**2)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


at_ten = kernel(np.array([10.0]), 1.0)[0]
print("weights at ten o'clock", at_ten)
print(f"temperature            {at_ten @ degrees:.1f} °C")

# %% [markdown]
# **Predict.** Draw the curve for a width of 0.2 h and for one of 24 h before you run the cell.

# %% mystnb={"image": {"alt": "Eleven readings over the hours of a day and three curves: a staircase for a width of 0.2 hours, a smooth curve near the readings for 2 hours, and a nearly level line for 24 hours"}} tags=["nbval-ignore-output"]
grid = np.linspace(0, 24, 481)
fig, ax = plt.subplots()
for width, line in ((0.2, ":"), (2.0, "-"), (24.0, "--")):
    ax.plot(grid, kernel(grid, width) @ degrees, line, label=f"{width:g} h")
ax.plot(hours, degrees, "o", color=plots.KEY)
ax.set(xlabel="hour", ylabel="temperature (°C)", xticks=range(0, 25, 6))
ax.legend(title="width")
ax.set_title("From a staircase to the mean")
plt.show()

# %% [markdown]
# Which width is best cannot be seen from how well the curve meets the readings: the narrowest meets
# them all. Leave each reading out and predict it from the others.
#
# **Predict** which of the widths wins.

# %%
for width in (0.2, 0.5, 1, 2, 4, 8, 24):
    errors = []
    for left in range(len(hours)):
        others = np.arange(len(hours)) != left
        scores = -((hours[left] - hours[others]) ** 2) / (2 * width**2)
        shares = np.exp(scores - scores.max())
        errors.append(abs(shares @ degrees[others] / shares.sum() - degrees[left]))
    print(f"{width:4} h: off by {np.mean(errors):.2f} °C")

# %% [markdown]
# ### The same by `attend`
#
# $-(x - x_i)^2/2\sigma^2$ is the dot product of $(x, 1)$ and $(x_i, -x_i^2/2)/\sigma^2$, less
# $x^2/2\sigma^2$, which is the same for all keys.
#
# **Predict.** `attend` divides by √d. What is d here, and what must the query be multiplied with?

# %%
for width in (0.2, 1.0, 2.0, 24.0):
    q = np.stack([grid, np.ones_like(grid)], axis=1) * sqrt(2)
    k = np.stack([hours, -(hours**2) / 2], axis=1) / width**2
    curve = attend(*(torch.tensor(part) for part in (q, k, degrees[:, None]))).context[:, 0]
    assert np.allclose(curve, kernel(grid, width) @ degrees)
print("attend is a kernel regression")

# %% [markdown]
# **Predict.** Now forget the second number, so that a key does not pay for its length. Which reading
# answers at ten o'clock?

# %%
unpaid = attend(torch.tensor([[10.0]]), torch.tensor(hours[:, None]).float(), torch.eye(11))
print(dict(zip(day, unpaid.weights[0].numpy().round(2).tolist(), strict=True)))

# %% [markdown]
# ## How far scores spread
#
# 2,000 random queries, 16 random keys each.
#
# **Predict** the second column before you look, then the fourth.


# %%
def spread(width, scale):
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2000, 1, width)), rng.normal(size=(2000, 16, width))
    scores = (q * k).sum(axis=-1) / scale
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    a = shares / shares.sum(axis=-1, keepdims=True)
    entropy = -(a * np.log(a, where=a > 0, out=np.zeros_like(a))).sum(axis=-1)
    slopes = a[:, :, None] * (np.eye(16) - a[:, None, :])  # derivative of each weight by each score
    size = np.sqrt((slopes**2).sum(axis=(1, 2)))
    return scores.var(), entropy.mean(), np.median(size)


print("         plain                       divided by √d")
print("width    variance entropy gradient   variance entropy gradient")
for width in (1, 4, 16, 64, 256):
    plain, scaled = spread(width, 1), spread(width, sqrt(width))
    print(f"{width:5} ", *(f"{number:9.2f}" for number in (*plain, *scaled)))

# %% [markdown]
# **Predict.** The argument wants independent numbers. Here is a query that is a key with some noise:
# how large are its scores with *its own* key and with the others, at a width of 64, after the
# division?

# %%
rng = np.random.default_rng(1)
k = rng.normal(size=(16, 64))
q = k + 0.3 * rng.normal(size=k.shape)
scores = q @ k.T / sqrt(64)
print("own key", scores.diagonal().mean().round(1))
print("others ", np.abs(scores[~np.eye(16, dtype=bool)]).mean().round(1))

# %% [markdown]
# Queries that know what they want have large scores, scaled or not. The root is about the beginning,
# when they do not.
#
# ## Temperature
#
# A small translator that comes with the package. Its decoder is Luong's with dot products, 96 numbers
# wide, and there is no root in its formula.
#
# **Predict** the share of sentences without an error at a temperature of √96, and at 1/16, where
# practically one word gets all the weight.

# %% tags=["nbval-ignore-output"]
model = checkpoints.load("grammar-dot")
pairs = grammar.corpus(train=0, longest=20).test[:200]
sources, targets = [p.source for p in pairs], [p.target for p in pairs]
for temperature in (1 / 16, 1 / 4, 1, 2, 4, sqrt(96)):
    model.decoder.attention.temperature = temperature
    share = exact_match(translate(model, sources), targets)
    print(f"temperature {temperature:6.3f}: {share:.0%} without an error")
model.decoder.attention.temperature = 1.0

# %% [markdown]
# Turn it yourself. (The sliders need a running kernel; without one you see the stored first picture.)

# %% tags=["nbval-ignore-output"]
explore(model, "gestern hat der mann ein bier getrunken")

# %% [markdown]
# ## Three decoders as dictionaries
#
# A trace holds what a decoder did: its states, the encoder's states, and the weights that it used.
# Forget the weights, and compute them again.
#
# **Predict.** Luong's decoder does not divide by √d and `attend` does. What has to be done to the
# query?

# %%
sentence = ["ich", "rufe", "dich", "an"]
trace = decode(model, sentence)
Q, K, V = (
    torch.tensor(t) for t in (trace.decoder_states, trace.encoder_states, trace.encoder_states)
)
print("Q", tuple(Q.shape), " K", tuple(K.shape), " V", tuple(V.shape))

by_softmax = torch.softmax(Q @ K.T, dim=-1)
by_attend = attend(sqrt(Q.shape[-1]) * Q, K, V)
assert np.allclose(by_softmax, trace.weights, atol=1e-5)
assert np.allclose(by_attend.weights, trace.weights, atol=1e-5)
assert np.allclose(by_attend.context, trace.contexts, atol=1e-5)
print("softmax(QKᵀ) has the weights of the trace, and attend its contexts")

# %% [markdown]
# What if `attend` is given the states as they are? Same order of words, flatter weights: the model
# was not trained with this temperature.

# %% tags=["nbval-ignore-output"]
print("trained ", by_softmax[2].numpy())
print("with √96", attend(Q, K, V).weights[2].numpy())

# %% [markdown]
# Luong's general score is $s^\top W h$. **Predict** what are its keys, and whether they are its values.
# (An untrained model will do: the equality holds for any matrix.)


# %%
def untrained(**config):
    torch.manual_seed(0)
    shape = {"embedding_dim": 12, "hidden_dim": 10, "dropout": 0.0, "embedding_std": 1.0}
    return Translator.from_config(
        RecurrentConfig(**shape, **config), model.source_vocabulary, model.target_vocabulary
    )


general = untrained(decoder="luong", score="general").double().eval()
trace = decode(general, sentence)
H = torch.tensor(trace.encoder_states)
W = general.decoder.attention.score.key.weight.detach()
found = attend(sqrt(len(W)) * torch.tensor(trace.decoder_states), keys=H @ W.T, values=H)
assert np.allclose(found.weights, trace.weights)
assert np.allclose(found.context, trace.contexts)
print("query s, keys W h, values h")

# %% [markdown]
# Bahdanau's decoder asks with the state *before* the step, and compares by a small network. The
# weights are the same softmax, the context the same sum.

# %%
additive = untrained(decoder="bahdanau", score="additive").double().eval()
trace = decode(additive, sentence)
score = additive.decoder.attention.score
q, h = torch.tensor(trace.queries), torch.tensor(trace.encoder_states)
hidden = torch.tanh((q @ score.query.weight.T)[:, None] + (h @ score.key.weight.T)[None])
weights = torch.softmax(hidden @ score.v, dim=-1).detach()
assert np.allclose(weights, trace.weights)
assert np.allclose(weights @ h, trace.contexts)
assert np.allclose(trace.queries[1:], trace.decoder_states[:-1])
print("query s before the step, keys and values h")

# %% [markdown]
# And the decoder with one vector? A dictionary with a single entry.
#
# **Predict** the weights of three different queries.

# %%
only = torch.tensor([[0.5, -1.0, 2.0]])
found = attend(torch.tensor([[0.0, 0, 0], [9, 9, 9], [-5, 0, 5]]), keys=only, values=only)
print(found.weights.T)
print(found.context)

# %% [markdown]
# ## Try it
#
# - Add espresso, hot and nothing else of the four, to the menu, at 2 € for 3 cl. What does a tea cost
#   now? Which question would you add to the description?
# - Give the thermometer a second number for a key, for instance how cloudy it was. Which width should
#   it get, and how would you find out?
# - Draw the numbers of `spread` from `rng.uniform(-1, 1)` instead. What is the variance of a product
#   now, and by what would you divide?
# - In the trained model, put the numbers of each query into another order before you take the dot
#   products. How much of the variance of the scores is left?
