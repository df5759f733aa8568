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
# # Lab 5: Dot-product attention
#
# Write a step of attention in five lines, break it in the ways in which people break it, make a
# hand-made translator say *teacher* where it should say *student*, open a trained one, hide words
# from it, and train your own. Write your guess down wherever it says **Predict**, and only then run
# the cell. A CPU is enough; all cells together take about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/05_dot_attention.ipynb)

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
import numpy as np
import torch
from torch import nn

from attnbook import checkpoints, grammar, plots
from attnbook.attention import Attention
from attnbook.decoding import decode, translate
from attnbook.evaluation import bleu
from attnbook.labs import Size, by_device, captions
from attnbook.masks import padding_mask
from attnbook.scores import DotScore
from attnbook.scrubber import explore
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import pick_device, train
from attnbook.vocabulary import EOS, SOS, Vocabulary

plots.notebook()
np.set_printoptions(precision=3, suppress=True)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## Five lines
#
# One query, some keys, as many values. Nothing below this cell is longer than this idea.


# %%
def attend(query, keys, values):
    scores = keys @ query
    shares = np.exp(scores - scores.max())
    weights = shares / shares.sum()
    context = weights @ values
    return context, weights, scores


# %% [markdown]
# The example of the chapter: the states of *je suis étudiant*, and the decoder's state after
# *i am a*.

# %%
states = np.array([[2, 1, -1, 1], [0, 2, 1, 1], [1, -1, 1, 0], [0, 0, 1, 2]], dtype=float)
query = np.array([1, 0, 2, -1], dtype=float)

context, weights, scores = attend(query, keys=states, values=states)
print("scores ", scores)
print("weights", weights)
print("context", context)

# %% [markdown]
# The package does the same for batches of sentences and all steps at once, so it wants two more
# axes: `(batch, target, width)`.

# %%
attention = Attention(DotScore())
memory = torch.tensor(states)[None]
package = attention(torch.tensor(query)[None, None], memory, memory)

assert np.allclose(package.scores[0, 0], scores)
assert np.allclose(package.weights[0, 0], weights)
assert np.allclose(package.context[0, 0], context)
print("the same, with shapes", *(tuple(part.shape) for part in package))

# %% [markdown]
# **Predict.** Why does line 2 subtract the largest score? What do the weights become if all scores
# are 1000 higher, with and without that subtraction?

# %%
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(scores + 1000) / np.exp(scores + 1000).sum()
shifted = np.exp(scores + 1000 - (scores + 1000).max())
print("without", naive)
print("with   ", shifted / shifted.sum())

# %% [markdown]
# ## Ways to break it
#
# With four words and four numbers in a state, wrong formulas have the right shape. So give the
# check different sizes: 5 words, 3 numbers in a key, 2 in a value.
#
# **Predict** for each line which of them raises an error, which gives a wrong number, and which is
# right.

# %%
rng = np.random.default_rng(0)
q, k, v = rng.normal(size=3), rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
right, a, e = attend(q, k, v)

attempts = {
    "a @ v": lambda: a @ v,
    "(a[:, None] * v).sum(axis=0)": lambda: (a[:, None] * v).sum(axis=0),
    "(a[:, None] * v).sum(axis=1)": lambda: (a[:, None] * v).sum(axis=1),
    "a * v": lambda: a * v,
    "a @ k": lambda: a @ k,
    "e @ v": lambda: e @ v,
    "v[a.argmax()]": lambda: v[a.argmax()],
    "v.T @ a": lambda: v.T @ a,
}
for code, attempt in attempts.items():
    try:
        result = attempt()
    except ValueError:
        print(f"{code:30} does not fit")
        continue
    fits = result.shape == right.shape
    verdict = f"has shape {result.shape}, not {right.shape}"
    if fits:
        verdict = "right" if np.allclose(result, right) else "has the right shape and is wrong"
    print(f"{code:30} {verdict}")

# %% [markdown]
# Now a batch of two sentences, of 4 and of 2 words, the second padded with zeros. The test that
# catches a missing mask is: *alone or in company, a sentence gets the same weights.*
#
# **Predict.** Without a mask, how much weight do the two padding positions take together, if the
# scores of the two real words are 1 and 3?

# %%
lengths = torch.tensor([4, 2])
batch = torch.zeros(2, 4, 4, dtype=torch.double)
batch[0] = memory[0]
batch[1, :2] = memory[0, 1:3]  # suis, étudiant
queries = torch.tensor(query).expand(2, 1, 4)
mask = padding_mask(lengths, size=4).unsqueeze(1)  # (batch, target, source); True = may look

alone = attention(queries[1:], batch[1:, :2], batch[1:, :2]).weights[0, 0]
print("alone              ", alone.numpy())
print("in company, masked ", attention(queries, batch, batch, mask).weights[1, 0].numpy())
print("in company, no mask", attention(queries, batch, batch).weights[1, 0].numpy())

# %% [markdown]
# ## A translator made by hand
#
# Everything in this model is written in by hand: the states are the rows of two small tables, the
# "recurrent" layer passes on what it reads, and the rest is the package's own decoder.


# %%
class PassOn(nn.Module):
    """In place of a recurrent layer: the state after a word is the word's own row."""

    bidirectional, num_layers = False, 1

    def forward(self, inputs, state=None):
        last = inputs[:, -1:].transpose(0, 1)
        return inputs, (last, last)


encoder_states = {
    "je": (2, 1, -1, 1),
    "suis": (0, 2, 1, 1),
    "étudiant": (1, -1, 1, 0),
    "<eos>": (0, 0, 1, 2),
}
decoder_states = {  # by the word read before
    "<sos>": (0, 0, -2, -2),
    "i": (-2, 1, -1, 0),
    "am": (-1, 0, 2, -2),
    "a": (1, 0, 2, -1),
    "student": (-1, -1, -1, 1),
    "teacher": (-1, -1, -1, 1),
}
output_rows = {
    "i": (2, 2, -2, -2),
    "am": (-2, 2, 0, 0),
    "a": (-2, 0, 2, -2),
    "student": (2, -3, 2, 0),
    "teacher": (2, 3, 2, 0),
    "<eos>": (0, -2, -1, 2),
}


# %%
def by_hand():
    source = Vocabulary(["je", "suis", "étudiant"])
    target = Vocabulary(["i", "am", "a", "student", "teacher"])
    config = RecurrentConfig(embedding_dim=4, hidden_dim=4, dropout=0.0, tied=False)
    model = Translator.from_config(config, source, target, name="by hand")
    model.encoder.recurrent, model.decoder.recurrent = PassOn(), PassOn()

    def fill(matrix, vocabulary, rows):
        for word, row in rows.items():
            place = {"<sos>": SOS, "<eos>": EOS}.get(word) or vocabulary.encode([word])[0]
            matrix[place] = torch.tensor(row, dtype=torch.float)

    with torch.no_grad():
        fill(model.encoder.embedding.weight, source, encoder_states)
        fill(model.decoder.embedding.weight, target, decoder_states)
        fill(model.decoder.output.weight, target, output_rows)
        model.decoder.output.bias.zero_()
        model.decoder.output.bias[:EOS] = -torch.inf  # <pad>, <unk>, <sos>: never written
        model.decoder.combine.weight[:] = torch.cat([torch.eye(4), torch.eye(4)], dim=1) / 2
        model.decoder.combine.bias.zero_()
    return model.double().eval()


hand = by_hand()
trace = decode(hand, ["je", "suis", "étudiant"])
for word, row, candidates in zip(trace.target_tokens, trace.weights, trace.candidates, strict=True):
    print(f"{word:8} p={candidates[0].probability:.3f}  weights", row)

# %% [markdown]
# **Predict.** Raise the temperature of the softmax, so that the weights become flatter. Is there a
# temperature at which this model says *teacher*? Below which does it stop changing its mind?

# %%
for temperature in (0.1, 0.5, 1, 2, 3, 4, 6, 10):
    heated = decode(hand, ["je", "suis", "étudiant"], temperature=temperature)
    print(f"{temperature:4}  {heated.text}")

# %% [markdown]
# Turn the knobs yourself: the temperature, and one box for each word to hide it from the attention.
# (Sliders need a running kernel; without one you see the stored first picture.) What does the model
# say when it may not look at *étudiant*?

# %%
explore(hand, "je suis étudiant")

# %% [markdown]
# ## Which words learn from this step?
#
# Send the loss of step 4, $-\log p(\textit{student})$, backwards to the encoder's states. Each state
# is reached in two ways: as a value, times its weight, and as a key, through the softmax.
#
# **Predict.** Rank the four states by the length of their gradient. What happens to the ranking,
# and to the smallest gradient, when the temperature is 0.25?


# %%
def gradient_norms(temperature):
    held = torch.tensor(states, requires_grad=True)
    look = Attention(DotScore(), temperature)
    found = look(torch.tensor(query)[None, None], held[None], held[None])
    both = torch.cat([found.context[0, 0], torch.tensor(query)])
    readout = torch.tanh(hand.decoder.combine(both))
    loss = -torch.log_softmax(hand.decoder.logits(readout), dim=-1)[
        hand.target_vocabulary.encode(["student"])[0]
    ]
    loss.backward()
    return held.grad.norm(dim=-1).numpy(), found.weights[0, 0].detach().numpy()


for temperature in (1.0, 0.25):
    norms, shares = gradient_norms(temperature)
    print(f"temperature {temperature}:  weights {shares}  gradient norms {norms}")

# %% [markdown]
# The shortcut to a state is as wide as its weight. Where the softmax has made up its mind, the
# states it passed over learn next to nothing, although the path to them is one step short.
#
# ## A trained translator
#
# Two models that come with the package, trained on sentences of the course's grammar: one with
# dot-product attention, one whose decoder gets the encoder's last state and nothing else. Step
# through with the arrow keys; amber outlines are the true links between words.

# %%
dot = checkpoints.load("grammar-dot")
fixed = checkpoints.load("grammar-sutskever")
print(f"{dot.count_parameters():,} and {fixed.count_parameters():,} parameters")

# %% tags=["nbval-ignore-output"]
explore(dot, "gestern hat der mann ein bier getrunken", without=fixed)

# %% [markdown]
# Try a sentence of your own, with words that the grammar knows; the card tells which it does not.
# *Predict* first: in German subordinate clauses the verb comes last (*weil der mann ein bier
# trinkt*, because the man a beer drinks). Where must the model look when it writes the verb?
#
# ## Does it look where the words are?
#
# The grammar knows which words belong together, so the weights can be marked right or wrong. The
# model is made to write the right translation (`target=`), and for each word that has a link we ask
# whether the largest weight lies on a linked word.

# %%
held_out = grammar.corpus(train=0, longest=20).test[:100]  # none of them was trained on


def looks_right(model, pairs):
    right = words = 0
    entropies = []
    for pair in pairs:
        weights = decode(model, pair.source, target=pair.target).weights
        linked = {}
        for i, t in pair.links:
            linked.setdefault(t, set()).add(i)
        for t, sources in linked.items():
            right += int(weights[t].argmax()) in sources
            words += 1
            entropies.append(-np.sum(weights[t] * np.log(weights[t] + 1e-12)))
    return right / words, np.mean(entropies), words


# %% tags=["nbval-ignore-output"]
share, entropy, words = looks_right(dot, held_out)
print(f"{words} linked words: largest weight on a linked word in {share:.0%}")
print(f"mean entropy {entropy:.2f} nats, as if spread evenly over {np.exp(entropy):.1f} words")

# %% mystnb={"image": {"alt": "Weights of one held-out sentence of the grammar, source across and translation down, dark where the weight is large; amber outlines mark the true links, and most dark cells lie inside them"}} tags=["nbval-ignore-output"]
example = next(pair for pair in held_out if len(pair.source) == 12)
plots.heatmap(decode(dot, example.source, target=example.target, gold_links=example.links))
plt.show()

# %% [markdown]
# ## Hide the word it looks at
#
# If the largest weight were the reason for a word, then hiding that source word from the attention
# should change what is written. `decode(..., masked=…)` hides a word from the attention; the encoder
# has read it all the same.
#
# **Predict** two numbers: how many of 60 sentences get another translation when the word with the
# largest total weight is hidden? And when instead the encoder reads `<unk>` in its place?

# %% tags=["nbval-ignore-output"]
hidden_changed = unread_changed = 0
some = [pair for pair in held_out if len(pair.source) >= 5][:60]
for pair in some:
    before = decode(dot, pair.source)
    place = int(before.weights[:, :-1].sum(axis=0).argmax())
    unread = [*pair.source[:place], "<unk>", *pair.source[place + 1 :]]
    hidden_changed += decode(dot, pair.source, masked=[place]).text != before.text
    unread_changed += decode(dot, unread).text != before.text
print(f"hidden from the attention: {hidden_changed} of {len(some)} translations change")
print(f"never read by the encoder: {unread_changed} of {len(some)} translations change")

# %% [markdown]
# ## Train your own
#
# A small dot model on short sentences of the grammar. One German sentence of the grammar has one
# right translation, so the measure is exact match: every word right.
#
# With a GPU a larger model trains on longer sentences, or, if they can be had, on 29,000 real captions.
# A caption has many right translations and no known links, so the measure is BLEU there.

# %% tags=["nbval-ignore-output"]
size = by_device(
    device,
    cpu=Size(pairs=5_000, longest=8, epochs=4, batch_tokens=300, learning_rate=5e-3, width=96),
    gpu=Size(
        pairs=30_000, longest=20, epochs=15, batch_tokens=8_192, learning_rate=4e-3, width=256
    ),
)
real = captions(device)
data = real or grammar.corpus(train=size.pairs, val=100, test=200, longest=size.longest)
rarest = 2 if real else 1  # a word that comes once in real text teaches nothing
source_words = Vocabulary.from_sentences((pair.source for pair in data.train), min_count=rarest)
target_words = Vocabulary.from_sentences((pair.target for pair in data.train), min_count=rarest)
print(f"{len(data.train):,} pairs, up to {max(len(p.source) for p in data.train)} German words")
print(f"{len(source_words)} German and {len(target_words)} English words")

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
config = RecurrentConfig(
    decoder="luong",
    cell="gru",
    embedding_dim=size.width // 2,
    hidden_dim=size.width,
    bidirectional=True,
    dropout=0.2 if real else 0.0,
    embedding_std=1.0,
)
mine = Translator.from_config(config, source_words, target_words, name="mine").to(device)
history = train(mine, data.train, data.val, size.training(), progress=False, after_epoch=print)

# %% tags=["nbval-ignore-output"]
written = translate(mine, [pair.source for pair in data.test])
if real:
    print(
        f"BLEU on {len(written):,} new captions: {bleu(written, [p.target for p in data.test]).score:.1f}"
    )
else:
    exact = sum(tuple(w) == p.target for w, p in zip(written, data.test, strict=True))
    share, entropy, _ = looks_right(mine, data.test[:50])
    print(f"exact match on {len(data.test)} new sentences: {exact / len(data.test):.0%}")
    print(f"largest weight on a linked word: {share:.0%}")

# %% [markdown]
# ## Further
#
# - Set `decoder="sutskever"` above (and `bidirectional=False`) and train again. At which length does
#   it fall behind?
# - Train with `score="scaled-dot"`. Do exact match and entropy differ at this width?
# - Find a sentence on which the largest weight is wrong and the translation right. How can that be?
# - With Multi30k at hand and no GPU, put captions in place of the grammar (`attnbook.corpora.multi30k`).
