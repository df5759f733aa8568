"""Makes a class to try the grading on: 50 notebooks of chapter 5, twelve of them hostile.

    python tools/made_class.py FOLDER
    attnbook grade FOLDER --chapters 5

Honest learners have answers from ``tests/banks``, right and wrong ones. Hostile learners have right
answers too, and in place of the first exercise an attack from ``tests/attacks.py``. Each has a
folder that is called after the learner, or after the attack. The same class every time.

The attacks are real. Grade them in the sandbox, as the second line does, and nowhere else; do not
open them in Jupyter to see what happens.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

# Below, because they lie in the folder that was just named, or need what lies there.
from attacks import attack  # noqa: E402
from attnbook.exercises import Exercise, chapter  # noqa: E402
from attnbook.exercises.definition import PRELUDE, stub_of  # noqa: E402
from classroom import answer, bank, solved, write  # noqa: E402

HONEST = (
    "aaron", "ada", "amir", "anna", "ben", "carla", "chen", "david", "dina", "elif", "emil", "eva",
    "felix", "fatima", "hana", "hugo", "ines", "ivan", "jonas", "jun", "karim", "lea", "leo",
    "lina", "luca", "malik", "mia", "milan", "nadia", "noah", "olga", "omar", "paul", "priya",
    "rosa", "sami", "yuki", "zoe",
)  # fmt: skip

HOSTILE = (
    "patched-comparisons", "patched-checker", "tensor-subclass", "equal-to-everything",
    "hidden-file-reads", "leak-by-exception-name", "solution-import", "forged-frames",
    "infinite-loop", "forks", "eight-gigabytes", "network",
)  # fmt: skip

#: Of a hundred honest answers so many are right, and so many of the others are empty.
RIGHT, EMPTY = 72, 10


def honest(exercises: Sequence[Exercise], chance: random.Random) -> list[str]:
    """The cells of somebody who tried, with more or less luck."""
    cells = [PRELUDE + "from attnbook.exercises import check, hint, progress\n"]
    for exercise in exercises:
        right, wrong = bank(exercise.name)
        kind = right if chance.randrange(100) < RIGHT else wrong
        if kind is wrong and chance.randrange(100) < EMPTY:
            cells.append(stub_of(exercise.solution))
        else:
            sources = [answer(function, exercise.name) for function in kind.values()]
            # Some call another answer of the bank, which would be missing here.
            alone = [s for s in sources if not re.search(r"\b(right|wrong)_", s)]
            cells.append(chance.choice(alone))
        cells.append(f"check({exercise.name})")
    return cells


def hostile(name: str, exercises: Sequence[Exercise], folder: Path) -> list[str]:
    """The cells of somebody who wants points without the work, or something else altogether."""
    code = attack(
        name, name=exercises[0].name, secret=folder / "secret.txt", out=folder, port=9,
        package=ROOT / "src",
    )  # fmt: skip
    return [*solved(exercises[1:]), code]


def make(folder: Path, learners: int = 50, attackers: int = len(HOSTILE)) -> list[Path]:
    """Write a class into a folder.

    Args:
        folder: where to.
        learners: in all.
        attackers: among them, at most as many as there are names in ``HOSTILE``.

    Returns:
        The notebooks.
    """
    exercises = chapter(5).exercises
    chance = random.Random("a made class")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret.txt").write_text("Nobody in the sandbox can read this.\n", encoding="utf-8")
    cells = {}
    for place in range(learners - attackers):
        again, which = divmod(place, len(HONEST))
        name = f"{HONEST[which]}-{again + 1}" if again else HONEST[which]
        cells[name] = honest(exercises, chance)
    for name in HOSTILE[:attackers]:
        cells[name] = hostile(name, exercises, folder.resolve())
    return [write(folder / name / "05_dot_attention.ipynb", these) for name, these in cells.items()]


def main() -> None:
    """Write the class into the folder that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="The attacks are real: grade them in the sandbox, and do not run them otherwise.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to; made if missing")
    parser.add_argument("--learners", type=int, default=50, metavar="N", help="in all (50)")
    parser.add_argument(
        "--hostile", type=int, default=len(HOSTILE), metavar="N", choices=range(len(HOSTILE) + 1),
        help=f"among them, up to {len(HOSTILE)} ({len(HOSTILE)})",
    )  # fmt: skip
    args = parser.parse_args()
    if args.learners < args.hostile:
        parser.error(f"--learners: at least as many as are hostile, {args.hostile}")
    written = make(args.folder, args.learners, args.hostile)
    print(f"{len(written)} notebooks in {args.folder}, {args.hostile} of them hostile")


if __name__ == "__main__":
    main()
