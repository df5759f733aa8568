"""Follows every link that leaves the book and names those that lead nowhere.

``make links`` calls this; it needs a network and is not part of ``make test``. Links inside the
book are tested there, in tests/test_site.py.
"""

import re
import sys
import time
import tomllib
import urllib.error
import urllib.request
from html import unescape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"


def outward() -> dict[str, set[str]]:
    """Every outward address, with the pages that link to it."""
    found: dict[str, set[str]] = {}
    for page in sorted(SITE.rglob("*.html")):
        if "_static" not in page.parts:
            text = page.read_text(encoding="utf-8")
            for address in re.findall(r'<a [^>]*href="(https?://[^"#]+)', text):
                found.setdefault(unescape(address), set()).add(str(page.relative_to(SITE)))
    return found


def answer(address: str) -> str | None:
    """What is wrong with an address, or None. A refusal of robots (403, 429) is not a dead link."""
    request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        with urllib.request.urlopen(request, timeout=30):
            return None
    except urllib.error.HTTPError as error:
        return None if error.code in (403, 405, 418, 429) else f"status {error.code}"
    except OSError as error:
        return str(error)


def main() -> None:
    """Print the dead ones; exit with 1 if there are any."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = project["urls"]["Repository"]
    dead = 0
    for address, pages in sorted(outward().items()):
        # New issues and edits ask for a login; the repository itself is checked by its front page.
        if address.startswith((f"{own}/issues/new", f"{own}/edit/")):
            continue
        problem = answer(address)
        if problem:
            dead += 1
            print(f"{address}\n  {problem}; linked from {', '.join(sorted(pages))}", flush=True)
        time.sleep(0.2)
    sys.exit(f"{dead} dead links" if dead else 0)


if __name__ == "__main__":
    main()
