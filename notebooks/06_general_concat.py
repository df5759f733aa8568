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
# # Lab 6: General and concat attention
#
# Put a matrix between a query and its keys and turn it into the dot product and back, lose a tanh
# and see that nothing complains, then train a translator, take its matrix apart, and cut pieces off
# until it stops translating. Write your guess down wherever it says **Predict**, and only then run
# the cell. A CPU is enough; all cells together take about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/06_general_concat.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import torch

from attnbook import checkpoints, grammar, plots
from attnbook.alignment import align_by_weight
from attnbook.decoding import teacher_forced_attention, translate
from attnbook.evaluation import exact_match
from attnbook.labs import Size, by_device
from attnbook.scores import ConcatScore, DotScore, GeneralScore, Score
from attnbook.scrubber import explore
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import pick_device, train
from attnbook.vocabulary import Vocabulary

plots.notebook()
np.set_printoptions(precision=3, suppress=True)
torch.set_printoptions(precision=3, sci_mode=False)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## Two widths
#
# The states of the chapter: three numbers for each word of *je suis étudiant*, two for the decoder.
# A dot product refuses.

# %%
keys = torch.tensor([[1.0, 0, -1], [0, 1, 1], [-1, 0, 2], [1, 1, 0]])
query = torch.tensor([[2.0, 1]])
try:
    DotScore()(query, keys)
except ValueError as error:
    print(error)

# %% [markdown]
# The general score multiplies each key with a matrix first. `Linear` holds the matrix, and
# `project_keys` applies it.

# %%
score = GeneralScore(query_dim=2, key_dim=3)
with torch.no_grad():
    score.key.weight[:] = torch.tensor([[1.0, 0, 1], [0, -1, 1]])
print("translated keys\n", score.project_keys(keys).detach().numpy())
print("scores ", score(query, keys)[0].tolist())
print("weights", torch.softmax(score(query, keys)[0], dim=0).tolist())

# %% [markdown]
# **Predict.** The same scores can be had by translating the query instead of the keys. Which product
# of `query` and the matrix is that, and how many numbers does the translated query have? Then: for a
# source of 14 words and a target of 14, which of the two ways multiplies less?

# %%
translated = query @ score.key.weight
print("translated query", translated.tolist())
print("scores", (translated @ keys.T)[0].tolist())

# %% [markdown]
# With the keys translated it is 14 products of a matrix and a vector; with the queries translated, 14
# as well. The difference is *when*: all keys are known before the first word is written, the queries
# come one by one.
#
# **Predict.** Which matrix turns the general score of two equal widths into the dot product? Which
# one into a score that looks at the first number only?

# %%
square = GeneralScore(2, 2)
states = torch.tensor([[1.0, 3], [2, -1], [0, 1]])
for name, matrix in (
    ("identity", torch.eye(2)),
    ("first only", torch.diag(torch.tensor([1.0, 0]))),
):
    with torch.no_grad():
        square.key.weight[:] = matrix
    print(
        f"{name:11}",
        square(query, states)[0].tolist(),
        " dot:",
        DotScore()(query, states)[0].tolist(),
    )

# %% [markdown]
# ## The tanh
#
# Concat sets query and key side by side and lets a small network judge the pair. Two queries, with
# the numbers of the chapter:

# %%
concat = ConcatScore(query_dim=2, key_dim=3, attention_dim=2)
with torch.no_grad():
    concat.both.weight[:] = torch.tensor([[1.0, 0, -1, 0, 1], [0, 1, 1, 0, 1]])
    concat.v[:] = torch.tensor([2.0, -1])
queries = torch.tensor([[2.0, 1], [-1, 1]])
print(torch.softmax(concat(queries, keys), dim=-1).detach().numpy())

# %% [markdown]
# **Predict.** The same without the tanh. Will the rows differ more, or less?

# %%
beside = torch.cat([queries[:, None].expand(-1, 4, -1), keys.expand(2, -1, -1)], dim=-1)
flat = concat.both(beside) @ concat.v
print("scores\n", flat.detach().numpy())
print("weights\n", torch.softmax(flat, dim=-1).detach().numpy())

# %% [markdown]
# They do not differ at all. Without the tanh the query only adds a number to its whole row, and a
# softmax does not see that. A model with this mistake attends to the same words at every step.
#
# `beside` is also how the formula is printed: every query copied beside every key. The package cuts
# the matrix in two instead. The numbers are the same, the memory is not.

# %%
printed = torch.tanh(concat.both(beside)) @ concat.v
print("largest difference", float((printed - concat(queries, keys)).detach().abs().max()))
source = target = 14
batch, width = 100, 256
for name, numbers in (
    ("all pairs side by side", batch * target * source * 2 * width),
    ("the two parts", batch * (target + source) * width),
):
    print(f"{name:23} {numbers * 4 / 2**20:6.1f} MiB")

# %% [markdown]
# ## A trained matrix
#
# Now a translator with the general score, on sentences of the course's grammar. With a GPU it trains
# on more and longer ones.

# %% tags=["nbval-ignore-output"]
size = by_device(device, cpu=Size(pairs=4_000, longest=8, epochs=7, batch_tokens=500))
data = grammar.corpus(train=size.pairs, val=100, test=200, shortest=3, longest=size.longest)
torch.manual_seed(0)
config = RecurrentConfig(
    decoder="luong", score="general", bidirectional=True,
    embedding_dim=32, hidden_dim=64, dropout=0.0, embedding_std=0.5,
)  # fmt: skip
model = Translator.from_config(
    config,
    Vocabulary.from_sentences(pair.source for pair in data.train),
    Vocabulary.from_sentences(pair.target for pair in data.train),
    name="general",
).to(device)
history = train(model, data.train, data.val, size.training())
print(f"validation loss {history.best.validation_loss:.3f} nats per token")

# %% tags=["nbval-ignore-output"]
sources, right = [pair.source for pair in data.test], [pair.target for pair in data.test]
whole = exact_match(translate(model, sources), right)
print(f"without an error: {whole:.0%} of {len(right)} sentences it has not seen")

# %% [markdown]
# **Predict.** Draw its matrix: 64 rows for the numbers of the decoder's state, 64 columns for those
# of the encoder's. Will a diagonal be visible?

# %% mystnb={"image": {"alt": "Two panels. Left: a square of 64 by 64 coloured cells without any visible diagonal. Right: 64 singular values in falling order, with no gap between large and small"}} tags=["nbval-ignore-output"]
matrix = model.decoder.attention.score.key.weight.detach().clone()
left, strength, right_side = torch.linalg.svd(matrix)
figure, (square_axes, axes) = plt.subplots(1, 2, figsize=(8, 3.6))
largest = float(matrix.abs().max())
square_axes.imshow(matrix.cpu(), cmap="RdBu", vmin=-largest, vmax=largest)
square_axes.set(title="No diagonal", xlabel="key's number", ylabel="query's number")
axes.plot(range(1, 65), strength.cpu(), ".", color=plots.KEY)
axes.set(title="Strengths of its directions", xlabel="direction", ylabel="singular value", ylim=0)
plt.show()

# %% [markdown]
# **Predict.** Keep only the strongest directions and set the others to zero. How many of the 64 does
# the model need to translate as well as before: all, half, a quarter, five?

# %% tags=["nbval-ignore-output"]
weight = model.decoder.attention.score.key.weight


def keep(directions):
    weight.data[:] = left[:, :directions] * strength[:directions] @ right_side[:directions]


for directions in (1, 2, 4, 8, 16, 32, 64):
    keep(directions)
    print(f"{directions:3} directions: {exact_match(translate(model, sources), right):.0%}")

# %% [markdown]
# Between too few and enough there is a region in which the model still writes good English about
# the wrong words. Choose a number of directions here, and see in the card below where it looks; run
# both cells again with another number.

# %% tags=["nbval-ignore-output"]
keep(6)
explore(model, "der mann trinkt ein bier")

# %% [markdown]
# And with all of them:

# %% tags=["nbval-ignore-output"]
keep(64)
explore(model, "der mann trinkt ein bier")

# %% [markdown]
# ## A score of your own
#
# A score is a class with one method, from queries and keys to a number for each pair. Here is one
# that no chapter has: the cosine, times a number that is learned. It trains, is saved and read back,
# translates and is drawn like the others. The file knows its name alone, so `load` is given the class.
#
# **Predict.** A dot product can give a word as much weight as it likes by growing longer. The cosine
# of any two vectors lies between -1 and 1. Of ten words with equal cosines but for one that is higher
# by 2, the largest difference there is, how much weight does that one get without the learned number?


# %% tags=["nbval-ignore-output"]
class CosineScore(Score):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def score(self, queries, projected_keys):
        directions = [torch.nn.functional.normalize(x, dim=-1) for x in (queries, projected_keys)]
        return self.scale * directions[0] @ directions[1].mT


print(f"weight of the one: {float(torch.tensor([1.0] + 9 * [-1.0]).softmax(dim=0)[0]):.2f}")
torch.manual_seed(0)
own = Translator.from_config(
    config, model.source_vocabulary, model.target_vocabulary, score=CosineScore()
)
train(own.to(device), data.train, data.val, size.training())
with tempfile.TemporaryDirectory() as folder:
    checkpoints.save(own, f"{folder}/cosine.safetensors")
    own = checkpoints.load(f"{folder}/cosine.safetensors", score=CosineScore)
scale = float(own.decoder.attention.score.scale.detach())
print(f"{exact_match(translate(own, sources), right):.0%} right; the number has become {scale:.1f}")
explore(own, "der mann trinkt ein bier")

# %% [markdown]
# ## Try it
#
# - Replace the matrix by its transpose, or by its own diagonal, and measure again.
# - Train with `score="dot"`, `"concat"` and `"additive"`. How many parameters does each add?
# - Train with `input_feeding=True` and compare the tokens per second in the progress bar. Where has
#   the time gone?
# - Below: the share of linked words whose largest weight lies on a linked word. Is a score that
#   translates better also one that points better?

# %% tags=["nbval-ignore-output"]
linked = pointed = 0
for pair, weights in zip(data.test, teacher_forced_attention(model, data.test), strict=True):
    targets = {j for _, j in pair.links}
    found = {(i, j) for i, j in align_by_weight(weights[:, :-1]) if j in targets}
    linked += len(found)
    pointed += len(found & set(pair.links))
print(f"{pointed / linked:.0%} of {linked} linked words")
