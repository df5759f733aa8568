"""Finds the Chromium that the tests of the site drive, installs one, or says how to.

``make test`` calls this. It prints the browser's path; the tests look in the same places
(`chromium` in tests/conftest.py).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def installed() -> str | None:
    """The browser named by ATTNBOOK_CHROMIUM, one on the path, or macOS's Chrome."""
    named = os.environ.get("ATTNBOOK_CHROMIUM")
    if named:
        return named if shutil.which(named) else sys.exit(f"ATTNBOOK_CHROMIUM: no {named}")
    return next(filter(None, map(shutil.which, NAMES)), str(MAC) if MAC.exists() else None)


def of_playwright() -> str | None:
    """The browser that Playwright downloaded earlier."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = driver.chromium.executable_path
    return path if Path(path).exists() else None


def main() -> None:
    """Print a path, after a download by Playwright where nothing is installed."""
    path = installed() or of_playwright()
    if path is None:
        print("no Chromium found; Playwright downloads one", flush=True)
        download = [sys.executable, "-m", "playwright", "install", "chromium"]
        subprocess.run(download, check=False)
        path = of_playwright()
    if path is None:
        sys.exit(
            "The tests of the site need Chromium, and none could be installed.\n"
            "Debian: apt-get install chromium   Ubuntu: snap install chromium   "
            "macOS: brew install --cask google-chrome\n"
            "A browser elsewhere is named by ATTNBOOK_CHROMIUM."
        )
    print(path)


if __name__ == "__main__":
    main()
