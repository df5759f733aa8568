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
# # Lab 14: BERT
#
# Watch the word to be predicted walk into an encoder that reads from both sides, cut words into
# pieces, hide some, pre-train a very small BERT on sentences of the grammar corpus, let it fill in
# blanks, and fine-tune it with a few labels. Write your guess down wherever it says **Predict**, and
# only then run the cell. A CPU is enough; all cells together take about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/14_bert.ipynb)

# %% tags=["setup"]
import importlib.util

if not importlib.util.find_spec("attnbook"):
    package = "git+https://github.com/attnbook/attnbook@main"
    get_ipython().run_line_magic("pip", f"install -q {package}")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("attnbook"):
        raise ImportError(f"pip could not install {package}; it says above why")

# %%
import copy
import random

import torch
from torch.nn import functional

from attnbook import grammar
from attnbook.bert import (
    IGNORE_INDEX,
    Bert,
    BertConfig,
    Classifier,
    Pretraining,
    Texts,
    hide,
    read_texts,
    train_wordpiece,
)
from attnbook.labs import Size, by_device, captions
from attnbook.training import pick_device

torch.set_printoptions(precision=3, sci_mode=False)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## The answer walks in
#
# An encoder of random weights reads seven pieces. We change piece 4 (counted from 0) and look at
# which states change. The second model has one layer whose position 3 may see everything but
# piece 4; the mask below says so.
#
# **Predict.** Asked for piece 4 at position 3, could the first model look it up? And a model of two
# such layers, in which no position may see the piece to its right, but every other one?

# %%
torch.manual_seed(0)
ids = torch.tensor([[2, 7, 8, 9, 10, 11, 3]])
other = ids.clone()
other[0, 4] = 12


def changed(layers, mask):
    """The positions whose states notice that piece 4 is another one."""
    bert = Bert(BertConfig(13, 8, 2, layers, 16, 7, dropout=0.0)).double()
    found = []
    for text in (ids, other):
        states = bert.norm(bert.words(text) + bert.positions(7))
        for layer in bert.layers:
            states = layer.around_attention(
                states, lambda x, layer=layer: layer.attention(x, x, x, mask).output
            )
            states = layer.around_feedforward(states, layer.feedforward)
        found.append(states[0])
    return ((found[0] - found[1]).abs().amax(dim=-1) > 1e-12).nonzero().flatten().tolist()


everything = torch.ones(7, 7, dtype=torch.bool)
not_the_next = everything.clone()
not_the_next[torch.arange(6), torch.arange(1, 7)] = False  # position t does not see t + 1
print("one layer, all may see all:      ", changed(1, everything))
print("one layer, the next one hidden:  ", changed(1, not_the_next))
print("two layers, the next one hidden: ", changed(2, not_the_next))
print("two layers, causal:              ", changed(2, everything.tril()))

# %% [markdown]
# Hiding the next piece in every layer does not help beyond the first: position 2 has seen it, and
# position 3 sees position 2. Only the causal mask keeps it out for good, and it keeps out the whole
# right side with it. So the piece has to go from the *input*.
#
# ## Pieces
#
# Sentences of the grammar's English side, and a vocabulary of 150 pieces.
#
# **Predict.** Which words will be whole, and which cut?

# %%
sentences = [
    " ".join(pair.target)
    for pair in grammar.corpus(train=6_000, val=10, test=10, shortest=3, longest=9).train
]
held_out, sentences = sentences[:500], sorted(set(sentences[500:]) - set(sentences[:500]))
tokenizer = train_wordpiece(sentences, 150)
for text in ("the man is drinking a beer", "she understands the neighbour", "ümbrellas?"):
    print(tokenizer.encode(text).tokens)

# %% [markdown]
# A small vocabulary cuts much, and `[UNK]` is what is left where even letters are missing. For the
# rest of the lab there is room for every word.

# %%
tokenizer = train_wordpiece(sentences, 1_000)
print(
    tokenizer.get_vocab_size(), "pieces;", tokenizer.encode("she understands the neighbour").tokens
)
pair = tokenizer.encode("the man is", "drinking a beer")
print(pair.tokens)
print(pair.type_ids)

# %% [markdown]
# ## Hide some
#
# **Predict.** `hide` chooses 15 % of the pieces. Of 1,000 chosen ones, how many can still be read in
# the input? How large will the chosen share be in sentences of seven words, of which each has at
# least one piece chosen?

# %%
generator = torch.Generator().manual_seed(0)
texts = read_texts(tokenizer, sentences)
hidden = hide(texts, tokenizer, generator=generator)
asked = hidden.targets != IGNORE_INDEX
masked = hidden.ids == tokenizer.token_to_id("[MASK]")
same = hidden.ids == texts.ids
print(f"chosen      {asked.sum() / (~texts.special).sum():.3f} of all pieces")
print(f"[MASK]      {(asked & masked).sum() / asked.sum():.3f} of those")
print(f"another     {(asked & ~masked & ~same).sum() / asked.sum():.3f}")
print(f"left as is  {(asked & same).sum() / asked.sum():.3f}")
example = read_texts(tokenizer, sentences[:4])
for row in hide(example, tokenizer, generator=generator).ids:
    print(" ".join(tokenizer.id_to_token(int(i)) for i in row if i))

# %% [markdown]
# ## Pre-train
#
# Two layers of 64 numbers and four heads; batches of 64 sentences. The next-sentence head is left
# out here: sentences of a grammar do not follow each other. With a GPU it is 256 numbers, batches of 512
# and, if they can be had, real captions.
#
# **Predict.** A model that has learned nothing but how frequent pieces are has a certain loss. Will
# the curve stop there for a while?

# %% tags=["nbval-ignore-output"]
size = by_device(
    device,
    cpu=Size(pairs=6_000, longest=9, steps=900, learning_rate=3e-3),
    gpu=Size(
        pairs=6_000, longest=9, steps=3_000, learning_rate=1e-3, width=256, batch_tokens=8_192
    ),
)
real = captions(device)
if real:
    sentences, held_out = ([" ".join(p.target) for p in part] for part in (real.train, real.val))
    tokenizer = train_wordpiece(sentences, 4_000)
    texts = read_texts(tokenizer, sentences)


def rows(texts, numbers):
    return Texts(*(one[numbers] for one in texts))


rows_a_batch = max(64, size.batch_tokens // 16)
places = 2 * texts.ids.shape[1] if real else texts.ids.shape[1]  # a new caption may be longer


def pretrain(steps):
    torch.manual_seed(0)
    model = Pretraining(
        BertConfig(
            tokenizer.get_vocab_size(), size.width, 4, 2, 4 * size.width, places, dropout=0.0
        )
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), size.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, size.learning_rate, steps, pct_start=0.1
    )
    total = 0.0
    for step in range(1, steps + 1):
        numbers = torch.randint(len(sentences), (rows_a_batch,), generator=generator)
        batch = rows(texts, numbers).to(device)
        loss = model.loss(batch, hide(batch, tokenizer, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % (steps // 6) == 0:
            print(f"step {step}: {total / (steps // 6):.2f} nats")
            total = 0.0
    return model.cpu().eval()


counts = torch.bincount(texts.ids[~texts.special])
frequency = counts / counts.sum()
known = frequency[frequency > 0]
print(f"frequencies alone: {-(known * known.log()).sum():.2f} nats")
model = pretrain(size.steps)

# %% [markdown]
# ## Fill in the blank
#
# **Predict** the best guesses for each line before you run it. In the last but one, which side tells?


# %% tags=["nbval-ignore-output"]
def fill(text, count=4):
    """The best pieces for every [MASK] of a text."""
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.no_grad():
        chances = model.piece_logits(model.bert(ids).states[0]).softmax(dim=-1)
    print(text)
    for place in (ids[0] == tokenizer.token_to_id("[MASK]")).nonzero().flatten():
        best = chances[place].topk(count)
        guesses = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        print("   ", "  ".join(f"{tokenizer.id_to_token(i)} {p:.2f}" for i, p in guesses))


for text in (
    "the man is [MASK] a beer .",
    "the man [MASK] a beer .",
    "these boys [MASK] hungry .",
    "[MASK] boys are hungry .",
    "[MASK] boy is hungry .",
    "[MASK] [MASK] [MASK] [MASK]",
):
    fill(text)

# %% [markdown]
# The first blank of *boys are hungry* and of *boy is hungry* has nothing before it. A model that
# reads from the left would have to give both the same answer.
#
# The last line hides everything. Each blank is filled by itself, without knowing what the others
# get, so that the favourites need not make a sentence: this is no model that writes.
#
# How much of that is the right side? Every piece of 100 sentences that the model has never seen is
# hidden in its turn, once with the rest of the sentence and once with everything behind it cut off.

# %% tags=["nbval-ignore-output"]
learned = set(sentences)
unseen = [text for text in dict.fromkeys(held_out) if text not in learned][:100]


@torch.no_grad()
def found(text, right_side):
    """Whether each piece is the model's first guess when it is hidden."""
    ids = read_texts(tokenizer, [text]).ids[0]
    right = []
    for place in range(1, len(ids) - 1):
        read = ids.clone()
        read[place] = tokenizer.token_to_id("[MASK]")
        if not right_side:
            read = torch.cat([read[: place + 1], ids[-1:]])
        guess = model.piece_logits(model.bert(read[None]).states[0, place]).argmax()
        right.append(bool(guess == ids[place]))
    return right


for name, right_side in (("both sides", True), ("cut off behind the blank", False)):
    answers = [one for text in unseen for one in found(text, right_side)]
    print(f"{name}: {sum(answers) / len(answers):.0%} of {len(answers)} pieces")

# %% [markdown]
# (The second number is a lower bound for what the left side tells: the model has not been trained on
# sentences that stop in the middle.)
#
# ## Fine-tune
#
# The task of the page: *is* or *are* is taken out of a sentence, and the label says which it was.
# Twenty labelled sentences, six of them at a time, forty steps; once from the model above and once
# from a new one.
#
# **Predict** both. A coin gets 50 %.


# %% tags=["nbval-ignore-output"]
def agreement(texts):
    """Sentences with one *is* or *are*, which is taken out, and the label: 1 for *are*."""
    for text in texts:
        words = text.split()
        verbs = [word for word in words if word in ("is", "are")]
        if len(verbs) == 1:
            yield " ".join(w for w in words if w not in ("is", "are")), int(verbs[0] == "are")


if real:
    more = [*real.val, *real.test]
else:
    more = grammar.corpus(train=10, val=3_000, test=10, shortest=3, longest=9, seed=1).val
new = {" ".join(pair.target) for pair in more} - set(sentences)
both = [sorted(e for e in set(agreement(new)) if e[1] == label) for label in (0, 1)]
fewest = min(map(len, both))


def fine_tune(bert, seed, labelled=20, steps=40):
    """Accuracy on sentences that were not among the labelled ones."""
    chance = random.Random(seed)
    drawn = [chance.sample(side, fewest) for side in both]
    examples = [e for side in drawn for e in side[: labelled // 2]]
    tests = [e for side in drawn for e in side[labelled // 2 :]]
    torch.manual_seed(seed)
    classifier = Classifier(bert, 2)
    optimizer = torch.optim.AdamW(classifier.parameters(), 1e-3)
    read = read_texts(tokenizer, [text for text, _ in examples])
    labels = torch.tensor([label for _, label in examples])
    for _ in range(steps):
        some = torch.randperm(len(examples))[:6]
        loss = functional.cross_entropy(classifier(rows(read, some)), labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        guesses = classifier(read_texts(tokenizer, [text for text, _ in tests])).argmax(dim=1)
    return float((guesses == torch.tensor([label for _, label in tests])).float().mean())


for seed in range(3):
    torch.manual_seed(seed)
    fresh = Bert(model.bert.config)
    print(
        f"seed {seed}: pre-trained {fine_tune(copy.deepcopy(model.bert), seed):.0%}, "
        f"new {fine_tune(fresh, seed):.0%}"
    )

# %% [markdown]
# ## The real one
#
# The package reads published weights. The next lines download 440 MB, so they stand here as text;
# paste them into a cell of their own. (`tests/test_bert.py` holds the same code against Hugging
# Face's, state by state and weight by weight, on random weights.)
#
# ```python
# from attnbook.bert import load
#
# model, tokenizer = load("google-bert/bert-base-uncased")
# fill("the capital of france is [MASK] .")
# fill("the man went to the [MASK] to buy a gallon of milk .")
# ```
#
# ## Try it
#
# - Replace `share` in `hide(…)` by 0.4 and by 0.02. Which learns fastest, and why not the largest?
# - Pre-train with `[MASK]` alone: set `hidden.ids` to `[MASK]` wherever a piece is asked for. Then
#   ask the model for a piece that it *can* see. What does it answer?
# - Give the fine-tuning 200 labels and 400 steps. How much of the advantage is left?
