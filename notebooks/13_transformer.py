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
# # Lab 13: The Transformer
#
# Norm a vector by hand, build an encoder layer and hold it against torch's, train a small Transformer,
# watch what it looks at in every layer, and decode with and without kept keys. Write your guess down
# wherever it says **Predict**, and only then run the cell. A CPU is enough; all cells together take
# about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/13_transformer.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import time

import torch
from torch import nn

from attnbook import grammar, plots
from attnbook.decoding import decode, translate
from attnbook.evaluation import bleu
from attnbook.labs import Size, by_device, captions
from attnbook.scrubber import Scrubber
from attnbook.seq2seq import Translator
from attnbook.settings import TransformerConfig
from attnbook.training import pick_device, train
from attnbook.transformer import EncoderLayer, FeedForward, Sublayer
from attnbook.vocabulary import SOS, Vocabulary

plots.notebook()
torch.set_printoptions(precision=2, sci_mode=False)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## A norm, a network, a sum
#
# **Predict.** What does a layer norm make of (1, 3, 5, 7)? And of (10, 30, 50, 70)?

# %%
norm = nn.LayerNorm(4)
with torch.no_grad():
    for numbers in ([1.0, 3.0, 5.0, 7.0], [10.0, 30.0, 50.0, 70.0], [2.0, 2.0, 2.0, 2.0]):
        print(numbers, "→", norm(torch.tensor(numbers)))

# %% [markdown]
# The size is gone, and with it every trace of how large the vector had become. What is left is which
# of its numbers are larger than the others.
#
# **Predict.** A sublayer whose function gives zero. What comes out with the norm before the function
# (*pre*), and what with the norm behind the sum (*post*)?

# %%
x = torch.tensor([[[1.0, 3.0, 5.0, 7.0]]])
with torch.no_grad():
    for place in ("pre", "post"):
        print(place, Sublayer(4, place, dropout=0.0)(x, torch.zeros_like)[0, 0])

# %% [markdown]
# The network of the page, with its two hidden units.

# %%
network = FeedForward(2, 2)
with torch.no_grad():
    network.linear1.weight[:] = torch.tensor([[1.0, 2.0], [-1.0, 0.0]])
    network.linear1.bias[:] = torch.tensor([0.5, 0.0])
    network.linear2.weight[:] = torch.tensor([[2.0, 3.0], [1.0, 1.0]])
    network.linear2.bias[:] = torch.tensor([0.0, -1.0])
    print(network(torch.tensor([1.0, 1.0])))

# %% [markdown]
# ## A layer, and torch's
#
# **Predict.** How many parameters has an encoder layer of width 4 with two heads and eight hidden units?

# %%
torch.manual_seed(0)
ours = EncoderLayer(4, 2, 8, dropout=0.0, norm="pre")
print({name: sum(p.numel() for p in part.parameters()) for name, part in ours.named_children()})
print("all:", sum(p.numel() for p in ours.parameters()))

# %% [markdown]
# Copy its weights into torch's layer and compare.

# %%
theirs = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, norm_first=True)
with torch.no_grad():
    three = (ours.attention.q_proj, ours.attention.k_proj, ours.attention.v_proj)
    theirs.self_attn.in_proj_weight[:] = torch.cat([one.weight for one in three])
    theirs.self_attn.in_proj_bias[:] = torch.cat([one.bias for one in three])
theirs.self_attn.out_proj.load_state_dict(ours.attention.out_proj.state_dict())
theirs.linear1.load_state_dict(ours.feedforward.linear1.state_dict())
theirs.linear2.load_state_dict(ours.feedforward.linear2.state_dict())
words = torch.randn(1, 3, 4)
with torch.no_grad():
    states, heads = ours(words)
    difference = (states - theirs(words)).abs().max()
print("the same:", bool(difference < 1e-6))

# %% [markdown]
# ## A small one, trained
#
# Two layers on both sides, width 64, on short sentences of the course's grammar. Its training is the
# one of the recurrent models: the same function is called. With a GPU it is width 256 and, if they can
# be had, 29,000 real captions, in mixed precision.

# %% tags=["nbval-ignore-output"]
size = by_device(
    device,
    cpu=Size(pairs=4_000, longest=8, epochs=6, batch_tokens=600, learning_rate=4e-3),
    gpu=Size(
        pairs=30_000, longest=20, epochs=20, batch_tokens=8_192, learning_rate=1e-3,
        precision="bf16", width=256,
    ),
)  # fmt: skip
real = captions(device)
data = real or grammar.corpus(train=size.pairs, val=100, test=200, shortest=3, longest=size.longest)
rarest = 2 if real else 1  # a word that comes once in real text teaches nothing
source_words = Vocabulary.from_sentences((pair.source for pair in data.train), min_count=rarest)
target_words = Vocabulary.from_sentences((pair.target for pair in data.train), min_count=rarest)


def trained(**changes):
    """A small Transformer, after some epochs."""
    torch.manual_seed(0)
    shape = {
        "hidden_dim": size.width, "num_heads": 4, "layers": 2,
        "feedforward_dim": 2 * size.width, "dropout": 0.1 if real else 0.0,
    }  # fmt: skip
    config = TransformerConfig(**shape | changes)
    model = Translator.from_config(config, source_words, target_words, name="small Transformer").to(
        device
    )
    history = train(model, data.train, data.val, size.training(), progress=False)
    return model, history


model, history = trained()
sources, right = [p.source for p in data.test], [list(p.target) for p in data.test]
written = translate(model, sources)
print(f"validation {history.best.validation_loss:.3f} nats per word")
if real:  # a caption has many right translations
    print(f"BLEU on {len(right):,} new captions: {bleu(written, right).score:.1f}")
else:
    correct = [a == b for a, b in zip(written, right, strict=True)]
    print(f"translated without an error: {sum(correct) / len(correct):.1%}")

# %% [markdown]
# Step through it. *Attention* chooses between the source, what is written, and the source within
# itself; then choose a layer and a head.
#
# **Predict.** In which layer of the decoder will the weights on the source be sharper, the first or the
# second? And what will the first step see when it looks at what is written?

# %% tags=["nbval-ignore-output"]
pair = max(data.test, key=lambda pair: len(pair.source))
Scrubber(decode(model, pair.source, target=pair.target, gold_links=pair.links))

# %% [markdown]
# ## Keys that are kept
#
# Word by word, the decoder computes only what belongs to the new word, and keeps keys and values of the
# words before. Without them, it has to read everything again at every step.
#
# **Predict.** Do both give the same logits?

# %% tags=["nbval-ignore-output"]
ids = [*model.source_ids(pair.source), 3]
with torch.inference_mode():
    encoded = model.encode(torch.tensor([ids], device=device), torch.tensor([len(ids)]))
    previous = torch.tensor([[SOS, *target_words.encode(pair.target)]], device=device)

    started, kept, cache = time.perf_counter(), [], model.decoder.start(encoded)
    for t in range(previous.shape[1]):
        step = model.decoder(previous[:, t : t + 1], cache)
        cache = step.cache
        kept.append(step.readouts)
    with_keys = time.perf_counter() - started

    started, again = time.perf_counter(), []
    for t in range(previous.shape[1]):
        again.append(model.decoder(previous[:, : t + 1], encoded).readouts[:, -1:])
    without_keys = time.perf_counter() - started
print("largest difference:", float((torch.cat(kept, 1) - torch.cat(again, 1)).abs().max()))
print(
    "what each layer keeps:",
    tuple(cache.layers[0].past.keys.shape),
    "(batch, heads, words, numbers)",
)
print(f"{1000 * with_keys:.1f} ms with, {1000 * without_keys:.1f} ms without")

# %% [markdown]
# On nine words the difference is small. It grows with the square of the length.
#
# ## No positions
#
# **Predict.** The model has learned with positions. Take them away, and let it translate a sentence and
# the same sentence backwards. Will it notice the order?

# %% tags=["nbval-ignore-output"]
from unittest.mock import patch

without_places = patch.object(
    type(model.encoder.positions), "forward", lambda self, words, start=0: words
)
with torch.inference_mode(), without_places:
    forwards, backwards = (
        model.encode(torch.tensor([order], device=device), torch.tensor([len(order)])).states
        for order in (ids, ids[::-1])
    )
    print(
        "states, put back into order, differ by", float((forwards - backwards.flip(1)).abs().max())
    )
    print("without places:", " ".join(translate(model, [pair.source])[0]))
print("with places:   ", " ".join(translate(model, [pair.source])[0]))

# %% [markdown]
# ## Try it
#
# - Train with `norm="post"`, and with `TrainingConfig(warmup=0.0)`. Which of the four combinations fails?
# - Train with `positions="learned"` on sentences of at most nine words, and translate one of twelve.
# - Give the decoder one layer more than the encoder, or the other way round. Which is missed less?
