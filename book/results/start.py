"""What chapter 0 shows: one sentence through two small models, and how far German words lie away.

    python book/results/start.py     # writes the JSON beside it and two traces; half a minute

The models are those that come with the package. They were trained on sentences of the grammar
with up to 20 German words; `attnbook.checkpoints.read_card` says how.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _measure import HERE, record

from attnbook import checkpoints, grammar
from attnbook.corpora import SentencePair
from attnbook.decoding import decode

TRACES = Path(__file__).parents[1] / "traces"
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


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    for sentence, translation in GLOSSED.items():
        pair = grammar.translate(sentence.split())
        assert pair is not None, sentence
        assert " ".join(pair.target) == translation, (sentence, pair.target)

    opening = grammar.translate(OPENING.split())
    assert opening is not None
    shown: dict[str, Any] = {"source": OPENING, "reference": " ".join(opening.target)}
    for name in ("grammar-dot", "grammar-sutskever"):
        translator = checkpoints.load(name)
        right = decode(translator, opening.source).text == shown["reference"]
        trace = decode(translator, opening.source, gold_links=opening.links if right else None)
        shown[name] = trace.text
        trace.save(TRACES / f"start-{name.removeprefix('grammar-')}.json", decimals=4)

    pairs = grammar.generate(PAIRS, seed=0, shortest=8, longest=20)
    german = {word for pair in pairs for word in pair.source}
    english = {word for pair in pairs for word in pair.target}
    result = {
        **record("python book/results/start.py", [0]),
        "shown": shown,
        "pairs": PAIRS,
        "vocabulary": {"german": len(german), "english": len(english)},
        "ahead": {str(n): reach(pairs, n) for n in (3, 5)},
    }
    text = json.dumps(result, ensure_ascii=False, indent=1)
    (HERE / "start.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
