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
# # Lab 3: Encoder and decoder
#
# Type a German sentence at the end of this lab and watch which sentences a beam keeps. Before that,
# take a translator apart: cut the wire between encoder and decoder, pad a batch wrongly, forget to
# shift the targets, and see each time what breaks and what looks fine. Where a cell asks for a
# prediction, write yours down first. Everything runs on a CPU in about a minute.
#
# [Open this lab in Colab](https://colab.research.google.com/github/attnbook/attnbook/blob/main/notebooks/03_encoder_decoder.ipynb)

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
from dataclasses import dataclass, replace
from types import SimpleNamespace

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display

from attnbook import checkpoints, grammar, plots
from attnbook.batches import collate
from attnbook.decoders import DecoderOutput
from attnbook.decoding import beam_search, decode, greedy_search, search, translate
from attnbook.encoder import EncoderOutput
from attnbook.evaluation import bleu, free_running_perplexity, teacher_forced_perplexity
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.training import TrainingConfig, pick_device, train
from attnbook.vocabulary import EOS, PAD, SOS, Vocabulary, tokenize

plots.notebook()
torch.set_num_threads(1)

# %% tags=["nbval-ignore-output"]
device = pick_device()
print("This lab runs on", device)

# %% [markdown]
# ## A batch, by hand
#
# Three sentence pairs become three rectangles. Which number is the end mark? In which column of
# `target_in` does the word stand that `target_out` has in its first column?

# %%
pairs = [grammar.literature()[number] for number in (2, 0, 3)]
source_words = Vocabulary.from_sentences(pair.source for pair in pairs)
target_words = Vocabulary.from_sentences(pair.target for pair in pairs)
batch = collate([(source_words.encode(p.source), target_words.encode(p.target)) for p in pairs])
for name in ("source", "target_in", "target_out"):
    print(name)
    for row in getattr(batch, name).tolist():
        vocabulary = source_words if name == "source" else target_words
        print("  ", *(f"{number:3}" for number in row), "  ", *vocabulary.decode(row))

# %% [markdown]
# A decoder that must predict `target_out[:, t]` may have read `target_in[:, : t + 1]` and nothing
# else. So, from the second column on, the one is the other shifted:

# %%
same = batch.target_in[:, 1:] == batch.target_out[:, :-1]
real = batch.target_in[:, 1:] != PAD
print("shifted by one:", bool(same[real].all()))

# %% [markdown]
# ## What the encoder leaves
#
# **Predict:** the encoder returns one state for each token, and a final state. Is the final state of
# the first sentence the last row of its states?

# %%
torch.manual_seed(0)
small = Translator.from_config(RecurrentConfig(decoder="sutskever", embedding_dim=7, hidden_dim=5, dropout=0.0),
                   source_words, target_words).eval()  # fmt: skip
with torch.no_grad():
    encoded = small.encode(batch.source, batch.source_lengths)
hidden, memory = encoded.final_state  # an LSTM hands over both
print("states:", tuple(encoded.states.shape), " final:", tuple(hidden.shape))
for row, length in enumerate(batch.source_lengths.tolist()):
    last_column = torch.equal(hidden[0, row], encoded.states[row, -1])
    last_token = torch.equal(hidden[0, row], encoded.states[row, length - 1])
    print(f"sentence {row}, {length} tokens: last column {last_column}, last token {last_token}")

# %% [markdown]
# Only for the longest sentence are the two the same. Now tell the encoder that every sentence fills
# its row, so that it reads the padding as if it were words. How many of the three final states
# change? (A translator with this mistake trains, and translates; it does so differently, depending
# on which sentences happen to share a batch.)

# %%
with torch.no_grad():
    wrong = small.encode(batch.source, torch.full((3,), batch.source.shape[1]))
for row in range(3):
    change = (wrong.final_state.hidden[0, row] - hidden[0, row]).norm() / hidden[0, row].norm()
    print(f"sentence {row}: the final state moves by {float(change):.0%} of its length")

# %% [markdown]
# ## Cut the wire
#
# From here on we use a translator that comes with the package. It was trained on sentences that the
# package's grammar writes; its decoder is Sutskever's.

# %%
translator = checkpoints.load("grammar-sutskever")
sentences = [
    "ich möchte ein bier",
    "der mann hat ein bier getrunken",
    "heute trinkt der mann ein bier",
    "ich rufe dich an",
]


def run(encoded):
    ids = search(translator, encoded)[0].ids
    return " ".join(translator.target_vocabulary.decode(ids))


def read(sentence):
    ids = [*translator.source_ids(tokenize(sentence)), EOS]
    with torch.no_grad():
        return translator.encode(torch.tensor([ids]), torch.tensor([len(ids)]))


for sentence in sentences:
    print(f"{sentence:34} {run(read(sentence))}")

# %% [markdown]
# **Predict:** what do the four translations become when all encoder states are set to zero and the
# final state is left alone? And when the final state is set to zero and the others are left alone?

# %%
for sentence in sentences:
    encoded = read(sentence)
    no_states = encoded._replace(states=torch.zeros_like(encoded.states))
    no_final = encoded._replace(final_state=encoded.final_state.each(torch.zeros_like))
    same = run(no_states) == run(encoded)
    print(f"{sentence:34} states zero: {'the same' if same else 'another'}")
    print(f"{'':34} final zero:  {run(no_final)}")

# %% [markdown]
# ## The objective, word by word
#
# `log_probs` gives the logarithm of each right word's probability, after the right words before it.
# Which word of the answer is this model least sure of, and why that one? Give it a wrong answer:
# what happens after the wrong word?

# %%
source, target = tokenize("der mann hat ein bier getrunken"), tokenize("the man drank a beer")


def table(source, target):
    ids = (translator.source_ids(source), translator.target_vocabulary.encode(target))
    with torch.no_grad():
        log_probs = translator.log_probs(collate([ids])).tolist()
    for word, log_prob in zip([*target, "<eos>"], log_probs, strict=True):
        print(f"{word:10} P = {math.exp(log_prob):.2f}   log P = {log_prob:6.2f}")
    mean = sum(log_probs) / len(log_probs)
    print(f"sum {sum(log_probs):.2f}, perplexity {math.exp(-mean):.2f}\n")


table(source, target)
table(source, tokenize("the woman drank a beer"))

# %% [markdown]
# ## Two perplexities
#
# The same translator on grammar sentences that it has not seen: once it reads the right words, once
# its own. **Predict** which is larger, and by how much: a tenth, twice, ten times?

# %%
test = grammar.corpus(train=0, val=0, test=300, shortest=3, longest=20).test
print(f"teacher-forced perplexity {teacher_forced_perplexity(translator, test):6.2f}")
print(f"free-running perplexity   {free_running_perplexity(translator, test):6.2f}")

# %% [markdown]
# Where the two part: a sentence on which the model goes its own way. In each line the right word,
# its probability after the right words, and its probability after the words that the model wrote.


# %%
@torch.no_grad()
def both_ways(pair):
    encoded = read(" ".join(pair.source))
    cache, word, rows = translator.decoder.start(encoded), SOS, []
    right = [*translator.target_vocabulary.encode(pair.target), EOS]
    ids = (translator.source_ids(pair.source), right[:-1])
    forced = translator.log_probs(collate([ids])).exp().tolist()
    for t, answer in enumerate(right):
        decoded = translator.decoder(torch.tensor([[word]]), cache)
        cache = decoded.cache
        p = translator.decoder.logits(decoded.readouts[0, -1]).softmax(dim=-1)
        rows.append((answer, forced[t], float(p[answer]), int(p.argmax())))
        word = rows[-1][-1]
    return rows


longer = next(
    p for p in test if len(p.target) > 9 and [w for *_, w in both_ways(p)][:-1]
    != translator.target_vocabulary.encode(p.target)
)  # fmt: skip
print(" ".join(longer.source), "\n")
print(f"{'right word':12}{'forced':>8}{'free':>8}   wrote")
for answer, forced, free, wrote in both_ways(longer):
    answer, wrote = translator.target_vocabulary.decode([answer, wrote])
    print(f"{answer:12}{forced:8.2f}{free:8.2f}   {'' if answer == wrote else wrote}")

# %% [markdown]
# ## Greedy and beam search on a tree
#
# The tree of the chapter, as a decoder without any network: its state is the words so far, its
# logits are logarithms of a table. The package's own search runs on it. **Predict** what beams of 1,
# 2 and 3 find. Then change a number in the tree so that a beam of 2 misses the best pair.

# %%
TREE = {
    (): {"a": 0.5, "the": 0.4, "two": 0.1},
    ("a",): {"man": 0.4, "dog": 0.35, "cat": 0.25},
    ("the",): {"man": 0.9, "dog": 0.1},
    ("two",): {"dog": 0.5, "cat": 0.5},
}
words = Vocabulary(["a", "the", "two", "man", "dog", "cat"])


@dataclass
class History:
    """What this decoder keeps: the words so far, in every row of the beam."""

    words: torch.Tensor

    def select(self, rows, sentences):
        return History(self.words[rows])


class TableDecoder:
    """Speaks like the package's decoders: `start`, the next step, `logits`."""

    max_positions = None

    def start(self, source, beam_size=1):
        return History(torch.full((len(source.states) * beam_size, 2), PAD))

    def __call__(self, previous, cache):
        history = torch.cat([cache.words[:, 1:], previous], dim=1)
        readouts = torch.full((len(previous), 1, len(words)), 1e-9)
        for row, ids in enumerate(history.tolist()):
            said = tuple(words.decode(i for i in ids if i not in (PAD, SOS)))
            for word, p in TREE.get(said, {"<eos>": 1.0}).items():
                readouts[row, 0, words.encode([word])[0] if word != "<eos>" else EOS] = p
        return DecoderOutput(readouts, readouts, History(history))

    def logits(self, readouts):
        return readouts.log()


tree = SimpleNamespace(decoder=TableDecoder(), target_vocabulary=words)
nothing = EncoderOutput(torch.zeros(1, 1, 1), None, torch.ones(1, 1, dtype=torch.bool))
print("greedy", words.decode(greedy_search(tree, nothing, [4])[0].ids))
for beam_size in (1, 2, 3):
    for found in beam_search(tree, nothing, [4], beam_size=beam_size)[0]:
        print(f"beam {beam_size}  {math.exp(found.log_prob):.3f}  {words.decode(found.ids)}")

# %% [markdown]
# ## Beams on the real thing
#
# On unseen sentences, for each beam size: how probable the model finds its translations on average,
# how often every word is right, and BLEU. Does a more probable translation mean a better one?

# %% tags=["nbval-ignore-output"]
some = [pair for pair in test if len(pair.source) >= 8][:60]
print("beam   mean log P   all words right    BLEU")
for beam_size in (1, 2, 5, 10):
    found = translate(translator, [p.source for p in some], beam_size=beam_size)
    right = sum(tuple(words) == pair.target for words, pair in zip(found, some, strict=True))
    total = 0.0
    for pair, words_found in zip(some, found, strict=True):
        ids = (
            translator.source_ids(pair.source),
            translator.target_vocabulary.encode(words_found),
        )
        with torch.no_grad():
            total += float(translator.log_probs(collate([ids])).sum())
    score = bleu(found, [p.target for p in some]).score
    print(f"{beam_size:4}{total / len(some):13.2f}{right / len(some):18.0%}{score:8.1f}")

# %% [markdown]
# ## BLEU by hand
#
# Three translations of one reference. Compute the share of right words and pairs by hand, then all
# four shares with sacrebleu below. Why does
# one wrong article cost the first more than half of its points?

# %%
reference = tokenize("a man in an orange hat starring at something .")
for text in (
    "a man in a orange hat",
    "a man in an orange hat",
    "a man in an orange hat staring at something .",
):
    result = bleu([tokenize(text)], [reference])
    print(f"{result.score:6.1f}  {text}")

# %% [markdown]
# ## Forget to shift
#
# A translator is trained on batches in which `target_in` is `target_out`: the word to be predicted
# is the word that is read. **Predict** the loss after two hundred steps, and what the model writes.

# %% tags=["nbval-ignore-output"]
corpus = grammar.corpus(train=5000, val=100, test=100, shortest=3, longest=8)
source_words = Vocabulary.from_sentences(p.source for p in corpus.train)
target_words = Vocabulary.from_sentences(p.target for p in corpus.train)


def new_translator(decoder="sutskever"):
    torch.manual_seed(0)
    config = RecurrentConfig(
        decoder=decoder, embedding_dim=32, hidden_dim=64, dropout=0.0, embedding_std=1.0
    )
    return Translator.from_config(config, source_words, target_words, name=decoder).to(device)


def steps(translator, shift, count=200, size=32):
    optimizer = torch.optim.Adam(translator.parameters(), lr=0.01)
    examples = translator.examples(corpus.train)
    losses = []
    for step in range(count):
        start = step * size % (len(examples) - size)
        batch = collate(examples[start : start + size]).to(device)
        if not shift:
            batch = replace(batch, target_in=batch.target_out)
        loss = translator.loss(batch)
        optimizer.zero_grad()
        loss.objective.backward()
        torch.nn.utils.clip_grad_norm_(translator.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.nats) / loss.tokens)
    return losses


curves, found = {}, {}
for name, shift in (("shifted", True), ("not shifted", False)):
    model = new_translator()
    curves[name] = steps(model, shift)
    found[name] = translate(model, [tokenize("ich möchte ein bier"), tokenize("ich bin student")])
    print(f"{name:12} loss {curves[name][-1]:.3f}   ", *(" ".join(w) + " |" for w in found[name]))

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Loss by training step for two translators. Where the targets are not shifted, the loss falls to zero within a hundred steps; where they are shifted it falls slowly and stays well above."}}
figure, ax = plt.subplots()
for name, losses in curves.items():
    ax.plot(losses, color="black", linestyle="-" if name == "shifted" else ":")
    ax.annotate(name, (199, losses[-1]), xytext=(6, 4), textcoords="offset points", va="center")
ax.set(xlabel="training step", ylabel="loss (nats per token)", xlim=(0, 250))
ax.set_title("The broken one looks better")
plt.show()

# %% [markdown]
# ## Train a real one
#
# The package's training loop, half a minute on sentences of three to eight words. Replace
# `"sutskever"` by `"cho"`: does reminding the decoder at every step help on sentences as short as
# these? On `TrainingConfig(epochs=…)` more depends than on the decoder; try it.

# %% tags=["nbval-ignore-output"]
model = new_translator("sutskever")
history = train(
    model, corpus.train, corpus.val,
    TrainingConfig(epochs=12, batch_tokens=400, learning_rate=6e-3, label_smoothing=0.0), progress=False,
)  # fmt: skip
for epoch in history.epochs:
    print(f"epoch {epoch.number}: validation {epoch.validation_loss:.2f} nats per token")
found = translate(model, [pair.source for pair in corpus.test])
right = sum(tuple(words) == pair.target for words, pair in zip(found, corpus.test, strict=True))
print(f"{right} of {len(found)} unseen sentences translated without a wrong word")

# %% [markdown]
# ## Your own sentence
#
# What a beam of three ends with, by the mean log-probability per word. Which of the three would a
# length penalty of 0, the plain sum, put first?


# %% tags=["nbval-ignore-output"]
def beam_table(sentence, beam_size, penalty):
    tokens = tokenize(sentence)
    if not tokens:
        return "Write at least one word."
    lines = ["| log P | per word | translation |", "|---:|---:|---|"]
    hypotheses = beam_search(
        translator, read(sentence), beam_size=beam_size, length_penalty=penalty
    )
    for found in hypotheses[0]:
        written = " ".join(translator.target_vocabulary.decode(found.ids)).replace("<", "&lt;")
        lines.append(f"| {found.log_prob:.2f} | {found.score(1.0):.2f} | {written} |")
    unknown = [word for word in tokens if word not in translator.source_vocabulary]
    note = f"\n\nUnknown to the model: {', '.join(unknown)}." if unknown else ""
    return "\n".join(lines) + note


display(Markdown(beam_table("die kinder möchten morgen nicht arbeiten", 3, 1.0)))

# %% [markdown]
# The same for your own sentence (the controls need a running notebook). Write German with words that
# the model knows. Is there a sentence for which a wide beam finds something better than greedy search
# does? One for which it finds something worse?

# %% tags=["nbval-ignore-output"]
text = widgets.Text("heute trinkt der mann ein bier", description="German")
beam = widgets.IntSlider(value=3, min=1, max=10, description="beam", continuous_update=False)
penalty = widgets.FloatSlider(value=1.0, min=0.0, max=2.0, step=0.25, description="penalty",
                              continuous_update=False)  # fmt: skip
output = widgets.Output()


def show(change=None):
    with output:
        output.clear_output(wait=True)
        display(Markdown(beam_table(text.value, beam.value, penalty.value)))


for control in (text, beam, penalty):
    control.observe(show, names="value")
show()
display(widgets.VBox([text, beam, penalty]), output)

# %% [markdown]
# The trace of one translation, step by step: the word that was written and the five likeliest ones.
# The scrubber of [the chapter](https://attnbook.github.io/attnbook/book/03_encoder_decoder.html) shows the same record.

# %% tags=["nbval-ignore-output"]
trace = decode(translator, tokenize("heute trinkt der mann ein bier"))
for word, candidates in zip(trace.target_tokens, trace.candidates, strict=True):
    print(f"{word:10}", "  ".join(f"{c.token} {c.probability:.2f}" for c in candidates))
