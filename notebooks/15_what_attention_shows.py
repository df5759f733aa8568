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
# # Lab 15: What attention shows
#
# Find two mixtures with one result, look for other weights that leave a translation as it is, and ask
# three more witnesses which word mattered. Write your guess down wherever it says **Predict**, and
# only then run the cell. A CPU is enough; all cells together take half a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/15_what_attention_shows.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import torch

from attnbook import checkpoints, plots
from attnbook.decoding import decode
from attnbook.scrubber import Scrubber
from attnbook.vocabulary import EOS, SOS, UNK

plots.notebook()
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## Two mixtures
#
# **Predict.** What are the contexts of the two rows of weights?

# %%
values = torch.tensor([[0.0, 2.0], [4.0, 0.0], [2.0, 1.0]])
for weights in ([0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.25, 0.25, 0.5]):
    print(weights, "→", (torch.tensor(weights) @ values).tolist())

# %% [markdown]
# Which changes of the weights change nothing? Those that sum to 0 and mix the values to 0. They are
# the null space of the values with a row of ones beside them.

# %%
conditions = torch.cat([values.T, torch.ones(1, 3)])
print("rank", int(torch.linalg.matrix_rank(conditions)), "of", 3)
free = torch.linalg.svd(conditions)[2][-1]
print("a change that nobody notices, up to its length:", (free / free[0]).round().tolist())

# %% [markdown]
# ## A model and a step
#
# The package's own small translator, on *die frau trinkt heute ein kaltes bier*: the woman drinks today
# a cold beer.

# %%
model = checkpoints.load("grammar-dot")
words = ["die", "frau", "trinkt", "heute", "ein", "kaltes", "bier", "."]
trace = decode(model, words)
print(trace.text)
Scrubber(trace, step=3)

# %% [markdown]
# Everything up to the weights of one step, so that they can be exchanged.


# %%
def prepared(words, target):
    """States of both sides, and the weights, while the right words are read."""
    ids = [*model.source_ids(words), EOS]
    right = [*model.target_vocabulary.encode(target), EOS]
    encoded = model.encode(torch.tensor([ids]), torch.tensor([len(ids)]))
    decoded = model.decoder(torch.tensor([[SOS, *right[:-1]]]), encoded)
    return encoded, decoded, right


def next_word(states, values, weights):
    """The distribution of the next word with given weights (Luong et al. 2015, eq. 5 and 6)."""
    both = torch.cat([weights @ values, states], dim=-1)
    readouts = torch.tanh(model.decoder.combine(both))
    return torch.softmax(model.decoder.logits(readouts), dim=-1)


target = [word for word in trace.target_tokens if word != "<eos>"]
with torch.no_grad():
    encoded, decoded, right = prepared(words, target)
states, values = decoded.states[0], encoded.states[0]
weights = decoded.attention.weights[0]
with torch.no_grad():
    before = next_word(states, values, weights)
    flat = next_word(states, values, torch.full_like(weights, 1 / len(values)))
print("the model's weights: ", model.target_vocabulary.decode(before.argmax(dim=1).tolist()))
print("all words alike:     ", model.target_vocabulary.decode(flat.argmax(dim=1).tolist()))

# %% [markdown]
# ## Other weights, the same words
#
# **Predict.** Look for weights as far from the model's as possible that move the distribution of the
# next word by at most 0.05. How far will they get, if 1 is the farthest there is?

# %% tags=["nbval-ignore-output"]
logits = (0.9 * weights + 0.1 / len(values)).log().requires_grad_()
optimizer = torch.optim.Adam([logits], lr=0.1)
best, found = torch.zeros(len(right)), weights.clone()
for _ in range(300):
    changed = logits.softmax(dim=1)
    distance = 0.5 * (changed - weights).abs().sum(dim=1)
    shift = 0.5 * (next_word(states, values, changed) - before).abs().sum(dim=1)
    better = (shift <= 0.05) & (distance.detach() > best)
    best = torch.where(better, distance.detach(), best)
    found = torch.where(better.unsqueeze(1), changed.detach(), found)
    optimizer.zero_grad()
    (100 * (shift - 0.04).clamp_min(0) - distance).sum().backward()
    optimizer.step()

names = [*words, "<eos>"]
for step, word in enumerate(trace.target_tokens):
    print(
        f"{word:8} moved by {best[step]:.2f}: from {names[weights[step].argmax()]:7}"
        f"({weights[step].max():.2f}) to {names[found[step].argmax()]:7}({found[step].max():.2f})"
    )

# %% [markdown]
# Where the weights could be moved far, the map of this step is one of many. Where they could not, the
# step really needs what it looks at.
#
# ## Three more witnesses
#
# The gradient of each word's log-probability by each encoder state; the gradient times the state; and
# the word left out of the sentence.
#
# **Predict.** Which two of the four will agree most?

# %%
inputs = encoded.states.detach().requires_grad_()
again = model.decoder(
    torch.tensor([[SOS, *right[:-1]]]),
    encoded._replace(states=inputs, final_state=encoded.final_state.each(torch.Tensor.detach)),
)
log_probs = torch.log_softmax(model.decoder.logits(again.readouts[0]), dim=-1)
chosen = log_probs[range(len(right)), right]
gradients = torch.stack(
    [torch.autograd.grad(one, inputs, retain_graph=True)[0][0] for one in chosen]
)
lost = []
ids = [*model.source_ids(words), EOS]
with torch.no_grad():
    for place in range(len(words)):
        without = list(ids)
        without[place] = UNK
        other = model.encode(torch.tensor([without]), torch.tensor([len(ids)]))
        changed = model.decoder(torch.tensor([[SOS, *right[:-1]]]), other)
        answers = torch.log_softmax(model.decoder.logits(changed.readouts[0]), dim=-1)
        lost.append((chosen - answers[range(len(right)), right]).abs())
witnesses = {
    "weight": weights[:, :-1],
    "gradient": gradients.norm(dim=-1)[:, :-1],
    "gradient × state": (gradients * inputs.detach()).sum(dim=-1).abs()[:, :-1],
    "left out": torch.stack(lost, dim=1).detach(),
}
print(f"{'':8}", *(f"{name:>17}" for name in witnesses))
for step, word in enumerate(trace.target_tokens[:-1]):
    print(f"{word:8}", *(f"{words[int(one[step].argmax())]:>17}" for one in witnesses.values()))

# %% [markdown]
# The first three begin behind the encoder, and the gradient goes through the weighted sum: it is
# multiplied by the weight on its way. The last one interferes with the sentence.
#
# ## Try it
#
# - Choose a sentence in which the verb comes in two pieces (*der mann ruft heute die schwester an .*).
#   Which piece does each witness name for *calling*?
# - Do the search with a condition of 0.5 in place of 0.05. What does it mean that a step can be moved by
#   nearly 1?
# - Let the search keep the model's *word* only, and not its probability.
