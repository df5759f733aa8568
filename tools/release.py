"""Keeps the version in one mind: pyproject.toml, CITATION.cff, CHANGELOG.md, the tag, the labs.

``make release VERSION=1.2.0`` writes a version everywhere and says what to do next; CONTRIBUTING.md
has the policy. Without a version the script compares, which is what the workflows call: with the
tag that is being released, or without one on every push.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+(\.dev0)?")
UNRELEASED = "## [Unreleased]"
# What a lab gets with an installed release; while it differs from the tag, main is no release.
INSTALLED = ("src", "book/checkpoints")


def read(name: str, root: Path = ROOT) -> str:
    """The text of a file of the repository."""
    return (root / name).read_text(encoding="utf-8")


def version(root: Path = ROOT) -> str:
    """The version that pyproject.toml names."""
    return str(tomllib.loads(read("pyproject.toml", root))["project"]["version"])


def section(name: str, root: Path = ROOT) -> tuple[str, str] | None:
    """Date and text of a version in the changelog; None if it has none."""
    found = re.search(
        rf"^## \[{re.escape(name)}\](?: - (\d{{4}}-\d\d-\d\d))?\n(.*?)(?=^## |^\[|\Z)",
        read("CHANGELOG.md", root),
        re.MULTILINE | re.DOTALL,
    )
    return found and (found[1] or "", found[2].strip())


def cited(field: str, root: Path = ROOT) -> str:
    """A field of CITATION.cff; empty if it is not there."""
    found = re.search(rf'^{field}: "?([^"\n]+)"?$', read("CITATION.cff", root), re.MULTILINE)
    return found[1] if found else ""


def changed_since(tag: str, root: Path = ROOT) -> bool:
    """Whether a tag exists and what labs install differs from it."""

    def git(*words: str) -> int:
        return subprocess.run(["git", *words], cwd=root, capture_output=True).returncode

    known = git("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}") == 0
    return known and git("diff", "--quiet", tag, "--", *INSTALLED) != 0


def disagreements(tag: str = "", root: Path = ROOT) -> list[str]:
    """What does not fit the version in pyproject.toml, a sentence each.

    Args:
        tag: the tag that is being released, if one is.
        root: of the repository.
    """
    now = version(root)
    wrong = []
    if not VERSION.fullmatch(now):
        wrong.append(f"pyproject.toml: {now} is neither X.Y.Z nor X.Y.Z.dev0")
    if tag and tag != f"v{now}":
        wrong.append(f"the tag is {tag}, and pyproject.toml says {now}")
    if cited("version", root) != now:
        wrong.append(f"CITATION.cff has version {cited('version', root)}, pyproject.toml {now}")
    if UNRELEASED not in read("CHANGELOG.md", root):
        wrong.append(f"CHANGELOG.md lacks {UNRELEASED}")
    if now.endswith(".dev0"):
        if cited("date-released", root):
            wrong.append(f"CITATION.cff has a date of release, and {now} is none")
        return wrong
    date, text = section(now, root) or ("", "")
    if not (date and text):
        wrong.append(f"CHANGELOG.md has no '## [{now}] - YYYY-MM-DD' with what is new")
    if cited("date-released", root) != date:
        wrong.append(f"CITATION.cff was released on {cited('date-released', root)}, not {date}")
    if not tag and changed_since(f"v{now}", root):
        wrong.append(
            f"{' or '.join(INSTALLED)} has changed since v{now}, which labs install: begin the "
            "next version with `make release VERSION=X.Y.Z.dev0`"
        )
    return wrong


def write(new: str, today: datetime.date, root: Path = ROOT) -> None:
    """Write a version into pyproject.toml, CITATION.cff and, for a release, CHANGELOG.md."""

    def rewrite(name: str, pattern: str, replacement: str) -> None:
        text, times = re.subn(pattern, replacement, read(name, root), flags=re.MULTILINE)
        if times != 1:
            sys.exit(f"{name}: expected one match of {pattern}, found {times}")
        (root / name).write_text(text, encoding="utf-8")

    released = not new.endswith(".dev0")
    rewrite("pyproject.toml", r'(?<=^name = "attnbook"\n)version = ".*"$', f'version = "{new}"')
    date = f'\ndate-released: "{today}"' if released else ""
    rewrite("CITATION.cff", r"^version: .*(?:\ndate-released: .*)?$", f"version: {new}{date}")
    if released:
        if section(new, root):
            sys.exit(f"CHANGELOG.md has {new} already")
        heading = f"{UNRELEASED}\n\n## [{new}] - {today}"
        rewrite("CHANGELOG.md", rf"^{re.escape(UNRELEASED)}$", heading)


def main() -> None:
    """Compare, or write a version."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tag", default="", help="the tag that is being released")
    parser.add_argument("--notes", type=Path, help="write the changelog of this version there")
    parser.add_argument("--write", metavar="VERSION", help="write this version everywhere")
    args = parser.parse_args()
    if args.write:
        if not VERSION.fullmatch(args.write):
            parser.error(f"{args.write} is neither X.Y.Z nor X.Y.Z.dev0")
        write(args.write, datetime.date.today())
    wrong = disagreements(args.tag)
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"version {version()}")
    if args.notes:
        text = (section(version()) or ("", ""))[1]
        args.notes.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
