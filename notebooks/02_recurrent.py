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
# # Lab 2: Recurrent networks
#
# In this lab you build the three cells of chapter 2, break and mend their gradients, and watch the
# gates of a trained LSTM while it reads. Try, above all, the cells that ask for a prediction: write
# yours down before you run them. Everything runs on a CPU in about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/02_recurrent.ipynb)

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

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display
from torch import nn
from torch.nn import functional

from attnbook import grammar, plots
from attnbook.recurrent import (
    ChoGRUCell,
    GRUCell,
    LSTMCell,
    RNNCell,
    state_jacobians,
    unroll,
)
from attnbook.training import pick_device
from attnbook.vocabulary import EOS, SOS, Vocabulary, tokenize

plots.notebook()
torch.set_num_threads(1)
LINES = {"RNN": ("black", ":"), "GRU": ("#a6611a", "--"), "LSTM": ("#7e57c2", "-")}

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## One step, by hand and by cell
#
# The chapter's worked step: the state (0.5, −0.5) meets the word (1, 0). First the simple network.
# Try other words and states. Can the new state leave the square from −1 to 1?

# %%
word, state = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, -0.5]])
cell = RNNCell(2, 2)
with torch.no_grad():
    cell.weight_ih.copy_(torch.eye(2))
    cell.weight_hh.copy_(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    cell.bias_ih.zero_()
    cell.bias_hh.zero_()
print([round(number, 2) for number in cell(word, (state,)).hidden[0].tolist()])

# %% [markdown]
# The LSTM of the chapter: the same sums for the candidate, and gates whose sums are set by biases
# alone: (2, −2) for the input gate, (−2, 2) for the forget gate, (2, 0) for the output gate. Set
# the forget gate's biases to (5, 5) and the input gate's to (−5, −5): what happens to the memory?

# %%
lstm = LSTMCell(2, 2)
with torch.no_grad():
    for parameter in lstm.parameters():
        parameter.zero_()
    lstm.weight_ih[4:6] = cell.weight_ih  # torch's order: input, forget, candidate, output
    lstm.weight_hh[4:6] = cell.weight_hh
    lstm.bias_ih.copy_(torch.tensor([2.0, -2, -2, 2, 0, 0, 2, 0]))
step = lstm(word, (state, torch.tensor([[1.0, -1.0]])))
for name, values in step._asdict().items():
    print(f"{name:12}", [round(number, 2) for number in values[0].tolist()])

# %% [markdown]
# ## Equal to torch
#
# Copy the weights of `torch.nn`, run twenty words through both, and compare outputs and gradients.
# float64, so that "equal" can mean equal to ten digits.

# %%
for ours, theirs in ((RNNCell, nn.RNN), (GRUCell, nn.GRU), (LSTMCell, nn.LSTM)):
    torch.manual_seed(0)
    reference = theirs(3, 5, batch_first=True).double()
    mine = ours(3, 5).double()
    mine.copy_weights(reference)
    words = torch.randn(2, 20, 3, dtype=torch.float64)
    outputs, _ = reference(words)
    steps, _ = unroll(mine, words)
    outputs.sum().backward()
    steps.hidden.sum().backward()
    same = (outputs - steps.hidden).abs().max() < 1e-10
    same_gradient = (reference.weight_hh_l0.grad - mine.weight_hh.grad).abs().max() < 1e-10
    print(f"{ours.__name__:8} outputs equal: {bool(same)}, gradients equal: {bool(same_gradient)}")

# %% [markdown]
# **Predict:** load the weights of the GRU above into the GRU as Cho et al. published it. Are the
# outputs equal? If you make the recurrent matrix of the candidate diagonal, and its bias zero?

# %%
torch.manual_seed(0)
ours, cho = GRUCell(3, 5), ChoGRUCell(3, 5)
words = torch.randn(2, 20, 3)
for change in ("as they are", "diagonal"):
    if change == "diagonal":
        with torch.no_grad():
            ours.weight_hh[10:] = torch.diag(torch.linspace(-1, 1, 5))
            ours.bias_hh[10:] = 0
    cho.load_state_dict(ours.state_dict())
    apart = (unroll(ours, words)[0].hidden - unroll(cho, words)[0].hidden).abs().max().item()
    print(f"{change}: {'equal' if apart < 1e-5 else 'different'}")

# %% [markdown]
# ## How far back does a gradient reach?
#
# `state_jacobians` multiplies the one-step Jacobians together. Below, their spectral norm by
# distance for three cells fresh from torch.
#
# **Predict:** which of the three lines stays highest after fifty words, and is it above or below
# one thousandth? Then run with `FORGET_BIAS = 1.0` and `3.0`, and with larger `WIDTH`.

# %% mystnb={"image": {"alt": "Norm of the state's Jacobian by distance on a logarithmic axis for RNN, GRU and LSTM. All three fall in nearly straight lines to far below one millionth at fifty words; the RNN falls fastest."}} tags=["nbval-ignore-output"]
WIDTH, FORGET_BIAS = 32, None  # None: as torch starts it


def norms(cell, inputs):
    jacobians = state_jacobians(cell.double(), inputs.double()).detach()
    return torch.linalg.matrix_norm(jacobians, 2).flip(0)  # by distance: 0, 1, 2, ...


torch.manual_seed(0)
inputs = 0.1 * torch.randn(50, WIDTH)
fresh = {
    "RNN": RNNCell(WIDTH, WIDTH),
    "GRU": GRUCell(WIDTH, WIDTH),
    "LSTM": LSTMCell(WIDTH, WIDTH, forget_bias=FORGET_BIAS),
}
figure, ax = plt.subplots()
for name, fresh_cell in fresh.items():
    colour, line = LINES[name]
    ax.semilogy(norms(fresh_cell, inputs), color=colour, linestyle=line, label=name)
ax.set(title="Fresh cells", xlabel="distance (words)", ylabel="norm of ∂s_T/∂s_t")
ax.legend()
plt.show()

# %% [markdown]
# ## The cliff
#
# One linear unit, fifty steps, and the right weight is 1. Without clipping, one step of gradient
# descent from 1.1 leaves the neighbourhood for good. Try starting at 0.8: does clipping help there?

# %%
START, RATE, CLIP = 1.1, 0.01, 1.0
w, path = START, [START]
for _ in range(12):
    slope = 2 * (0.5 * w**50 - 0.5) * 0.5 * 50 * w**49
    w -= RATE * max(-CLIP, min(CLIP, slope))
    path.append(w)
print("clipped:  ", [round(w, 2) for w in path])
slope = 2 * (0.5 * START**50 - 0.5) * 0.5 * 50 * START**49
print("unclipped:", [START, round(START - RATE * slope)])

# %% [markdown]
# ## A language model, and its gates
#
# An LSTM learns to guess the next word of the embedded corpus's English sentences (3 to 30 words).
# With Multi30k at hand (see chapter 1), set `CORPUS = "multi30k"` and expect a longer wait.

# %%
CORPUS = "grammar"
if CORPUS == "grammar":
    pairs = grammar.generate(4000, seed=0, longest=30)
    test_pairs = grammar.generate(300, seed=1, longest=30)
else:
    from attnbook.corpora import multi30k

    pairs, test_pairs = multi30k("train"), multi30k("test")
vocabulary = Vocabulary.from_sentences([pair.target for pair in pairs], min_count=2)
sentences = [[SOS, *vocabulary.encode(pair.target), EOS] for pair in pairs]
test = [[SOS, *vocabulary.encode(pair.target), EOS] for pair in test_pairs]
print(f"{len(sentences)} sentences, {len(vocabulary)} words; the first:")
print(" ".join(pairs[0].target))


# %%
class LanguageModel(nn.Module):
    def __init__(self, recurrent=nn.LSTM, width=64):
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary), 32)
        self.recurrent = recurrent(32, width, batch_first=True)
        self.output = nn.Linear(width, len(vocabulary))

    def forward(self, ids):
        hidden, _ = self.recurrent(self.embedding(ids))
        return self.output(hidden)


def batches(sentences, chance, size=32):
    """Sentences of equal length together, so that nothing needs padding; in random order."""
    by_length = {}
    for sentence in chance.sample(sentences, len(sentences)):
        by_length.setdefault(len(sentence), []).append(sentence)
    made = [
        torch.tensor(group[i : i + size], device=device)
        for group in by_length.values()
        for i in range(0, len(group), size)
    ]
    chance.shuffle(made)
    return made


def loss_of(model, batch):
    return functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def perplexity(model):
    """exp of the mean loss per token, `<eos>` included."""
    parts = [
        (loss_of(model, batch).item(), batch[:, 1:].numel())
        for batch in batches(test, random.Random(0))
    ]
    return math.exp(sum(loss * count for loss, count in parts) / sum(count for _, count in parts))


def train(recurrent=nn.LSTM, epochs=5):
    torch.manual_seed(0)
    chance = random.Random(0)
    model = LanguageModel(recurrent).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        for batch in batches(sentences, chance):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(f"epoch {epoch + 1}: perplexity on new sentences {perplexity(model):.1f}")
    return model


# %% tags=["nbval-ignore-output"]
model = train()

# %% [markdown]
# `nn.LSTM` trained it; our cell, with the weights copied, can say what every gate did. Choose a
# sentence and step through it. For each unit the table's bars are the memory after the step.
#
# **Predict:** a unit that knows whether the subject is singular or plural: at which words must its
# input gate open, and how must its forget gate stand between subject and verb?

# %%
SENTENCE = "the boys that the teacher saw yesterday are reading a book ."
tokens = ["<sos>", *tokenize(SENTENCE)]
unknown = [token for token in tokens if token not in vocabulary]
print("not in the vocabulary:", unknown or "none")


# %%
@torch.no_grad()
def look(model, tokens):
    """Every gate and state at every word, from our own cell."""
    cell = LSTMCell(model.recurrent.input_size, model.recurrent.hidden_size).to(device)
    cell.copy_weights(model.recurrent)
    ids = torch.tensor([vocabulary.encode(tokens)], device=device)
    steps, _ = unroll(cell, model.embedding(ids))
    guesses = model.output(steps.hidden[0]).softmax(-1).cpu()
    return {name: values[0].cpu() for name, values in steps._asdict().items()}, guesses


def draw(seen, units, now):
    """Gates and memory of a few units, up to the step that is shown."""
    shown = (
        ("forget_gate", "forget gate", plots.weights, 0, 1),
        ("input_gate", "input gate", plots.weights, 0, 1),
        ("cell", "memory c", plots.signed, -2, 2),
    )
    figure, axes = plt.subplots(3, 1, figsize=(4.6, 4.9), sharex=True)
    for ax, (name, title, colours, low, high) in zip(axes, shown, strict=True):
        values = seen[name][: now + 1, units].T
        ax.pcolormesh(values, cmap=colours, vmin=low, vmax=high)
        ax.set_title(f"{title} ({low} to {high})", fontweight="normal", fontsize=10)
        ax.set_xlim(0, len(tokens))
        ax.set_yticks([y + 0.5 for y in range(len(units))], [str(unit) for unit in units])
        ax.invert_yaxis()
        ax.axvline(now, color="black", linewidth=0.8)
        ax.axvline(now + 1, color="black", linewidth=0.8)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    axes[-1].set_xticks([x + 0.5 for x in range(len(tokens))], tokens, rotation=60, ha="right")
    return figure


seen, guesses = look(model, tokens)
# The units whose forget gate changes most over the sentence: the switches.
units = seen["forget_gate"].std(0).sort(descending=True).indices[:6].tolist()

# %% mystnb={"image": {"alt": "Heat maps of forget gate, input gate and memory for six units over the words of a sentence about boys and a teacher; gates open and close from word to word, and some memories last from the subject to the verb."}} tags=["nbval-ignore-output"]
draw(seen, units, now=len(tokens) - 1)
plt.show()

# %% [markdown]
# The same with a slider (it needs a running notebook; the figure above is its last step).

# %% tags=["nbval-ignore-output"]
slider = widgets.IntSlider(
    value=3, min=0, max=len(tokens) - 1, description="word", continuous_update=False
)
output = widgets.Output()


def show(change=None):
    now = slider.value
    best = guesses[now].topk(5)
    words = ", ".join(
        f"{vocabulary.words[i]} {p:.2f}"
        for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )
    with output:
        output.clear_output(wait=True)
        display(Markdown(f"After **{tokens[now]}** it expects: {words}"))
        draw(seen, units, now)
        plt.show()


slider.observe(show, names="value")
show()
display(slider, output)

# %% [markdown]
# ## Remember one symbol
#
# The chapter's task: name the first symbol after twenty random ones. Guessing gives 0.12.
#
# **Predict:** which of the two LSTMs learns it in 300 updates, the one that torch makes, or the one
# whose forget bias starts at 3? Then try a distance of 40, and a GRU: its update gate is the same
# block of the bias.


# %%
def recall(gap=20, keep=None, kind=nn.LSTM, updates=300, width=32):
    torch.manual_seed(0)
    embedding, network, output = (
        nn.Embedding(9, 16),
        kind(16, width, batch_first=True),
        nn.Linear(width, 8),
    )
    if keep is not None:
        with torch.no_grad():
            network.bias_ih_l0[width : 2 * width] = keep
            network.bias_hh_l0[width : 2 * width] = 0
    parts = nn.ModuleList([embedding, network, output]).to(device)
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-2)
    recent = []
    for _ in range(updates):
        symbols = torch.randint(8, (64, gap + 1), device=device)
        symbols[:, -1] = 8  # the mark that asks
        scores = output(network(embedding(symbols))[0][:, -1])
        loss = functional.cross_entropy(scores, symbols[:, 0])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        recent.append((scores.argmax(-1) == symbols[:, 0]).float().mean().item())
    return sum(recent[-20:]) / 20


# %% tags=["nbval-ignore-output"]
print(f"as torch makes it: accuracy {recall():.2f}")
print(f"forget bias 3:     accuracy {recall(keep=3.0):.2f}")

# %% [markdown]
# ## What to do next
#
# Change `SENTENCE` so that subject and verb lie further apart, and see at which distance the model
# no longer knows which verb fits. Train with `train(nn.GRU)`: is its perplexity better? By more
# than another seed would change it?
