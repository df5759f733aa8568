"""What the checks need of the machine beside Python's packages: a browser and a sandbox.

``make test`` runs this first. It installs what it may (a browser by Playwright, packages of the
system where that needs no password), says once what it could not and which command would, and never
fails: the checks that lack something are not run, by name, and all others decide. The tests ask the
same functions what is here.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
SYSTEM = sys.platform

# Without a network: nothing is looked up, fetched or synchronised.
BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def _said(*command: str, seconds: float = 60) -> tuple[bool, str]:
    """Whether a command succeeds, and the first line of what it said."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return done.returncode == 0, lines[0] if lines else f"exit status {done.returncode}"


# --- what is here ---------------------------------------------------------------------------------


def chromium() -> str | None:
    """The Chromium to drive: ``ATTNBOOK_CHROMIUM``, an installed one, or Playwright's own."""
    named = os.environ.get("ATTNBOOK_CHROMIUM")
    if named:
        return shutil.which(named)
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return found
    if Path(MAC).exists():
        return MAC
    if without_driver():
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = driver.chromium.executable_path
    return path if Path(path).exists() else None


def without_driver() -> str:
    """Why Playwright cannot drive a browser here; empty if it can."""
    from playwright._impl._driver import compute_driver_executable

    works, said = _said(str(compute_driver_executable()[0]), "--version")
    # The driver is a Node of its own, and wants a library that a bare Debian lacks.
    return "" if works else f"Playwright's driver does not start: {said}"


@functools.cache
def without_browser() -> str:
    """Why no page can be opened here; empty if one can."""
    reason = without_driver()
    if reason:
        return reason
    path = chromium()
    if path is None:
        named = os.environ.get("ATTNBOOK_CHROMIUM")
        return f"ATTNBOOK_CHROMIUM is {named}, which is no program" if named else "no Chromium"
    works, said = _said(path, "--headless", *BROWSER_ARGUMENTS, "--dump-dom", "about:blank")
    return "" if works else f"{path} does not start: {said}"


@functools.cache
def without_sandbox() -> str:
    """Why learners' code cannot be run in a sandbox here; empty if it can."""
    from attnbook.grading.sandbox import reason_against

    return reason_against()


def without_linux() -> str:
    """Why what only Linux's kernel offers is not here; empty if it is."""
    return "" if SYSTEM.startswith("linux") else f"Linux alone has it, and this is {SYSTEM}"


def _without_sudo() -> bool:
    """Whether this user can do nothing as the machine's root."""
    return os.getuid() != 0 and not (shutil.which("sudo") and _said("sudo", "-n", "true")[0])


# Root of a namespace with users of its own, which an ordinary user may be who was given some.
_NAMESPACE = ["unshare", "--user", "--map-root-user", "--map-auto"]


@functools.cache
def as_root() -> list[str]:
    """What stands before a command that root has to run; call it where :func:`without_root` may."""
    if os.getuid() == 0:
        return []
    return _NAMESPACE if _without_sudo() else ["sudo", "-n"]


@functools.cache
def without_root() -> str:
    """Why nothing can be tried as root here; empty if it can."""
    works, said = _said(*as_root(), "true")
    return "" if works else f"no root, no sudo without a password, and no namespace: {said}"


#: What a test may need, by the name that it is marked with: why it is not here, or nothing.
NEEDS: dict[str, Callable[[], str]] = {
    "browser": without_browser,
    "sandbox": without_sandbox,
    "linux": without_linux,
    "root": without_root,
}


def impossible(need: str) -> bool:
    """Whether this system can never have something, so that its absence is nobody's mistake."""
    return need in ("sandbox", "linux") and bool(without_linux())


def remedy(need: str) -> str:
    """The command that brings what is missing; empty where there is none."""
    mac = SYSTEM == "darwin"
    reason = NEEDS[need]() if need in NEEDS else ""  # a test may lack what no machine has: data
    if need == "browser":
        if "driver does not start" in reason:
            return "Debian: apt-get install libatomic1 chromium   Ubuntu: … libatomic1"
        if mac:
            return "brew install --cask google-chrome"
        return (
            "Debian: apt-get install chromium   Ubuntu: .venv/bin/playwright install --with-deps "
            "chromium   or name one: ATTNBOOK_CHROMIUM=/path/to/chromium"
        )
    if need == "sandbox":
        from attnbook.grading import sandbox

        return sandbox.remedy(reason)
    if need == "root" and not mac:
        return "Debian, Ubuntu: apt-get install uidmap, with a line for the user in /etc/subuid"
    return ""


# --- installing -----------------------------------------------------------------------------------


def _apt(*packages: str) -> None:
    """Install packages of Debian or Ubuntu, where that needs no password."""
    if not shutil.which("apt-get"):
        return
    root = [] if os.getuid() == 0 else ["sudo", "-n"]
    if root and _without_sudo():
        return
    print(f"installing {', '.join(packages)} with apt-get", flush=True)
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*apt, "update"], check=False, stdout=subprocess.DEVNULL)
    subprocess.run(
        [*apt, "install", "-y", "--no-install-recommends", *packages],
        check=False, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _forget() -> None:
    for look in (without_browser, without_sandbox, as_root, without_root):
        look.cache_clear()


def _playwright(*words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "playwright", *words],
        check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def install() -> None:
    """Bring what is missing, each by the first way that works."""
    if without_driver():
        _apt("libatomic1")
    _forget()
    if without_browser() and not without_driver() and not os.environ.get("ATTNBOOK_CHROMIUM"):
        if chromium() is None:
            print("no Chromium here; asking Playwright for one", flush=True)
            _playwright("install", "chromium")
        if chromium() is None:
            _apt("chromium")
        else:
            _forget()
            if without_browser() and not _without_sudo():
                # What Playwright brings are the programs alone, without the libraries they need.
                _playwright("install-deps", "chromium")
    if "not installed" in without_sandbox():
        _apt("bubblewrap")
    _forget()


def main() -> None:
    """Install, then say once what is still missing."""
    install()
    for need in ("browser", "sandbox"):
        reason = NEEDS[need]()
        if reason:
            print(f"not here: {need} ({reason})")
            print(f"  the checks that need it are not run.  {remedy(need)}".rstrip(), flush=True)
        else:
            print(f"{need}: {chromium() if need == 'browser' else 'bubblewrap'}")


if __name__ == "__main__":
    main()
