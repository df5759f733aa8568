"""Downloads Multi30k, verifies it, and writes it unpacked into a folder for ``ATTNBOOK_DATA``.

``make data`` calls this. The package downloads what it needs by itself; a folder is for machines
without a network, and for CI, where the tests that read Multi30k would else be skipped.
"""

import argparse
import os
from pathlib import Path

from attnbook import corpora


def main() -> None:
    """Write each file of German and English once; what is there already is left alone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="where multi30k/ is to be made")
    folder = parser.parse_args().folder.resolve() / "multi30k"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("ATTNBOOK_DATA", None)
    for split in corpora.SPLITS.values():
        for language in ("de", "en"):
            path = folder / f"{split}.{language}"
            if not path.exists():
                path.write_bytes(corpora._multi30k_text(path.name))
            print(path)
    print(f"now: export ATTNBOOK_DATA={folder.parent}")


if __name__ == "__main__":
    main()
