"""Names the stored numbers whose source has changed since they were measured.

``make stale`` calls this. Each JSON of ``book/results`` says under ``made_from`` what its numbers
were made from: digests of the measuring functions and of all that they use in this repository.
Another digest need not mean another number, and measuring again may take hours, so this is for
people to judge and no test. Numbers without a digest are older than the digests, and something
that they use has changed since; those that could be had in minutes have been measured again.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"


def main() -> None:
    """Print a line for each script with such numbers."""
    sys.path.insert(0, str(RESULTS))
    for path in sorted(RESULTS.glob("*.json")):
        if not path.with_suffix(".py").exists():
            continue
        script = getattr(importlib.import_module(path.stem), "SCRIPT", None)
        if script is None:  # `attnbook benchmark` writes its own
            continue
        made_from = script.stored()["made_from"]
        changed = [key for key in script.stale() if key in made_from]
        unknown = [key for key in script.stale() if key not in made_from]
        if changed:
            print(f"{path.stem}: {', '.join(changed)}: the source has changed")
        if unknown:
            print(f"{path.stem}: {', '.join(unknown)}: of an older source")


if __name__ == "__main__":
    main()
