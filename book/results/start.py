"""What chapter 0 shows: one sentence through two small models, and how far German words lie away.

    python book/results/start.py     # writes the JSON beside it and two traces; half a minute

The models are those that come with the package. They were trained on sentences of the grammar
with up to 20 German words; `attnbook.checkpoints.read_card` says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import train as models
from _measure import TRACES, Cache, Script

from attnbook import grammar
from attnbook.corpora import SentencePair
from attnbook.decoding import decode
from attnbook.trace import DecodingTrace

cached = Cache("start")
OPENING = "ich weiß , dass der mann gestern im garten ein kaltes bier getrunken hat"
# The sentences that the page glosses; each must be one of the grammar's, with this translation.
GLOSSED = {
    "der mann trinkt ein bier": "the man is drinking a beer",
    "heute trinkt der mann ein bier": "today the man is drinking a beer",
    "der mann hat ein bier getrunken": "the man drank a beer",
    "der mann möchte ein bier trinken": "the man would like to drink a beer",
    "ich rufe dich an": "i am calling you",
    "er singt , weil der mann ein bier trinkt": "he is singing because the man is drinking a beer",
    "ich kenne den mann , der ein bier trinkt": "i know the man who is drinking a beer",
    "er darf nicht singen": "he must not sing",
}
PAIRS = 5000
MODELS = ("grammar-dot", "grammar-sutskever")


def reach(pairs: Sequence[SentencePair], at_least: int) -> dict[str, float]:
    """How often an English word comes from a German word that stands much later.

    "Later" compares positions, both counted from the beginning of their sentence. A word with
    several origins counts with the last one, which is when all of it is known.
    """
    words = sentences = far = 0
    for pair in pairs:
        assert pair.links is not None
        last: dict[int, int] = {}
        for i, j in pair.links:
            last[j] = max(i, last.get(j, i))
        leads = [i - j for j, i in last.items()]
        words += len(leads)
        far += sum(lead >= at_least for lead in leads)
        sentences += any(lead >= at_least for lead in leads)
    return {"words": far / words, "sentences": sentences / len(pairs)}


def opening() -> SentencePair:
    """The chapter's first sentence and its translation."""
    pair = grammar.translate(OPENING.split())
    assert pair is not None
    return pair


def translated(name: str) -> DecodingTrace:
    """What a model makes of it; with gold links where it writes the right translation."""
    translator, pair = models.load(name), opening()
    right = decode(translator, pair.source).target_tokens[:-1] == pair.target
    return decode(translator, pair.source, gold_links=pair.links if right else None)


def shown() -> dict[str, str]:
    """Source, reference, and what both models write."""
    return {
        "source": OPENING,
        "reference": " ".join(opening().target),
        **{name: translated(name).text for name in MODELS},
    }


def generated() -> list[SentencePair]:
    """Sentences of at least eight German words."""
    return grammar.generate(PAIRS, seed=0, shortest=8, longest=20)


def vocabulary() -> dict[str, int]:
    """How many different words they have."""
    pairs = generated()
    return {
        "german": len({word for pair in pairs for word in pair.source}),
        "english": len({word for pair in pairs for word in pair.target}),
    }


def ahead() -> dict[str, dict[str, float]]:
    """How far away German words lie."""
    pairs = generated()
    return {str(n): reach(pairs, n) for n in (3, 5)}


def check(result: dict[str, Any]) -> dict[str, bool]:
    """What the page says in words."""
    shown, ahead = result["shown"], result["ahead"]
    without = shown["grammar-sutskever"]
    return {
        "getrunken hat are the thirteenth and fourteenth word": shown["source"].split()[12:]
        == ["getrunken", "hat"],
        "the model with attention is right": shown["grammar-dot"] == shown["reference"],
        "the one without mentions a man, a drink and a garden, and says something else": {
            "man",
            "garden",
        }
        <= set(without.split())
        and bool({"drank", "drinking", "drink", "drunk"} & set(without.split()))
        and without != shown["reference"],
        "most sentences have a word from three places away, few words are one": ahead["3"][
            "sentences"
        ]
        > 0.5
        > 0.25
        > ahead["3"]["words"],
        "five places away are fewer": all(ahead["5"][k] < ahead["3"][k] for k in ahead["3"]),
    }


def finish() -> None:
    """The traces of the moving figure."""
    for name in MODELS:
        path = TRACES / f"start-{name.removeprefix('grammar-')}.json"
        translated(name).save(path, decimals=4)


SCRIPT = Script(
    doc=__doc__,
    parts={"shown": shown, "pairs": PAIRS, "vocabulary": vocabulary, "ahead": ahead},
    check=check,
    cache=cached,
    finish=finish,
)

if __name__ == "__main__":
    SCRIPT.run()
