"""What holds for the repository as a whole: one address, complete pins, links that lead on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]
OWNER = ADDRESS.removeprefix("https://github.com/")
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _tracked(*patterns: str) -> list[Path]:
    """Files that belong to the repository: committed, or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [p for line in listed.splitlines() if (p := ROOT / line).is_file()]


# --- the address --------------------------------------------------------------------------------


def test_the_address_is_a_github_repository() -> None:
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", ADDRESS)


def test_the_configuration_of_the_book_has_the_address() -> None:
    """Launch buttons, edit links and issue links are made from these."""
    assert CONFIG["repository"]["url"] == ADDRESS
    assert CONFIG["repository"]["path_to_book"] == ""


def test_the_citation_has_the_address_and_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == ADDRESS
    assert citation["version"] == PROJECT["version"]
    assert f"version = {{{PROJECT['version']}}}" in README


def test_no_other_address_of_the_repository_is_written_anywhere() -> None:
    """Wherever a file names a repository called like ours, it is ours, on the book's branch."""
    name = OWNER.split("/")[1]
    wrong = []
    for path in _tracked(
        "*.md", "*.py", "*.ipynb", "*.yml", "*.toml", "*.cff", "*.txt", "Makefile"
    ):
        if path == Path(__file__).resolve():
            continue
        for found in re.finditer(
            rf"(?:github\.com|/github|githubusercontent\.com)/([\w.-]+/{name})\b(?:/(?:blob|tree|raw)/([\w.-]+))?",
            path.read_text(encoding="utf-8"),
        ):
            if found[1] != OWNER or found[2] not in (None, CONFIG["repository"]["branch"]):
                wrong.append(f"{path.relative_to(ROOT)}: {found[0]}")
    assert wrong == []


def test_a_link_to_a_file_of_the_repository_names_one_that_exists() -> None:
    missing = []
    for path in _tracked("*.md", "*.py", "*.ipynb"):
        for found in re.finditer(
            rf"/{OWNER}/(?:blob|tree)/[\w.-]+/([\w./-]+)", path.read_text(encoding="utf-8")
        ):
            if not (ROOT / found[1]).exists():
                missing.append(f"{path.relative_to(ROOT)}: {found[1]}")
    assert missing == []


# --- the README ---------------------------------------------------------------------------------


def test_links_of_the_readme_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", README)
    assert targets
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_the_readme_lists_every_chapter_with_its_lab() -> None:
    chapters = [p.stem for p in sorted((ROOT / "book").glob("[0-9][0-9]_*.md"))]
    assert re.findall(r"\(book/(\d\d_\w+)\.md\)", README) == chapters
    assert re.findall(r"notebooks/(\d\d_\w+)\.ipynb\)", README) == chapters


def test_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+)`", README)) | set(
        re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE)
    )
    assert {"book", "test", "serve", "help", "notebooks"} <= named <= targets


# --- the book -----------------------------------------------------------------------------------


def test_every_chapter_has_a_lab_and_both_are_in_the_contents() -> None:
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for page in sorted((ROOT / "book").glob("[0-9][0-9]_*.md")):
        assert (ROOT / "notebooks" / f"{page.stem}.py").exists(), page.stem
        assert f"file: book/{page.stem}\n" in contents, page.stem
        assert f"file: notebooks/{page.stem}\n" in contents, page.stem


def test_every_lab_is_in_the_contents() -> None:
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    labs = [p.stem for p in (ROOT / "notebooks").glob("*.py")]
    assert [lab for lab in labs if f"file: notebooks/{lab}\n" not in contents] == []


def test_every_chapter_begins_with_its_label() -> None:
    for page in (ROOT / "book").glob("[0-9][0-9]_*.md"):
        name = page.stem[3:].replace("_", "-")
        assert page.read_text(encoding="utf-8").startswith(f"(ch-{name})=\n# "), page.stem


def test_measured_results_name_their_command() -> None:
    """Every file of results was written by a script that lies beside it."""
    for path in (ROOT / "book" / "results").glob("*.json"):
        if ".partial." not in path.name:
            assert path.with_suffix(".py").exists() or '"command"' in path.read_text(), path.name


def test_every_paper_is_cited_once_in_the_bibliography_file() -> None:
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{([^,]+),", text, flags=re.MULTILINE)
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch(r"[a-z]+\d{4}[a-z]*", key) for key in keys), keys
    titles = re.findall(r"^\s*title = \{(.*)\},?$", text, flags=re.MULTILINE)
    assert len(titles) == len(keys) == len({re.sub(r"\W", "", t).lower() for t in titles})


# --- packages -----------------------------------------------------------------------------------


# The oldest of each Python that the README promises; the pins must hold for all between them, too.
PYTHONS = ["3.11.0", "3.11.2", "3.11.4", "3.11.5", "3.12.0", "3.13.0", "3.14.0"]


def _requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _pins(**environment: str) -> dict[str, str]:
    """The pinned version of each package, on this machine or in another environment."""
    pins: dict[str, str] = {}
    for requirement in _requirements():
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in pins, f"{name} is pinned twice"
            (version,) = requirement.specifier
            assert version.operator == "=="
            pins[name] = version.version
    return pins


def _python(version: str, system: str) -> dict[str, str]:
    short = ".".join(version.split(".")[:2])
    return {"python_full_version": version, "python_version": short, "sys_platform": system}


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_pins_satisfy_every_declared_requirement(python: str, system: str) -> None:
    extras = [r for group in PROJECT["optional-dependencies"].values() for r in group]
    pins = _pins(**_python(python, system))
    unmet = []
    for text in [*PROJECT["dependencies"], *extras]:
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version):
            unmet.append(f"{text}: pinned {version}")
    assert unmet == []


def test_pins_are_what_is_installed() -> None:
    """The checks ran with the pinned versions, not with others that happen to be there."""
    different = []
    for name, pinned in _pins().items():
        try:
            installed = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            installed = "none"
        if installed != pinned:
            different.append(f"{name}: {installed} instead of {pinned}")
    assert different == []


def test_pins_fit_every_python_that_is_promised() -> None:
    """A pin without a condition on Python must run on 3.11.0, the oldest that is promised.

    What each package says of itself is known of those that are installed.
    """
    assert PROJECT["requires-python"] == ">=3.11"
    here, refused = _pins(), []
    for requirement in _requirements():
        name = canonicalize_name(requirement.name)
        pin = next(iter(requirement.specifier)).version
        if here.get(name) != pin:
            continue
        runs_on = SpecifierSet(metadata.metadata(name).get("Requires-Python") or "")
        for python in PYTHONS:
            asked = requirement.marker is None or requirement.marker.evaluate(
                _python(python, sys.platform)
            )
            if asked and not runs_on.contains(python):
                refused.append(f"{requirement} runs on {runs_on}, and not on {python}")
    assert refused == []


def test_colab_satisfies_what_the_package_requires() -> None:
    """None of what Colab preinstalls has to change for the package."""
    lines = (ROOT / "tools" / "colab.txt").read_text(encoding="utf-8").splitlines()
    has = [Requirement(line) for line in lines if line and not line.startswith("#")]
    needs = {canonicalize_name((r := Requirement(t)).name): r for t in PROJECT["dependencies"]}
    pinned = {r.name: str(r.specifier).removeprefix("==").replace(".*", ".0") for r in has}
    for name in ("torch", "numpy", "matplotlib", "ipywidgets", "anywidget"):
        assert needs[name].specifier.contains(pinned[name]), name


# --- what must not be committed -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"/(?:home|root|Users)/\w+/", "a path of somebody's machine"),
        (r"(?i)\bcdn\.|unpkg\.com|jsdelivr|fonts\.googleapis", "an address that a page would load"),
    ],
)
def test_nothing_of_a_machine_or_a_cdn_is_in_the_sources(pattern: str, why: str) -> None:
    found = []
    for path in _tracked("*.md", "*.py", "*.ipynb", "*.yml", "*.css", "*.js", "*.json", "*.html"):
        if "mathjax" in path.parts or path == Path(__file__).resolve():
            continue
        hit = re.search(pattern, path.read_text(encoding="utf-8"))
        if hit:
            found.append(f"{path.relative_to(ROOT)}: {hit[0]} ({why})")
    assert found == []


def test_data_is_not_in_the_repository() -> None:
    assert [p for p in _tracked() if re.fullmatch(r"(train|val|test\w*)\.(de|en|fr)", p.name)] == []


def test_the_repository_stays_small() -> None:
    """A clone is a few megabytes: weights of the shipped models and MathJax are most of it."""
    sizes = {p: p.stat().st_size for p in _tracked()}
    assert sum(sizes.values()) < 60_000_000
    assert {str(p.relative_to(ROOT)): s for p, s in sizes.items() if s > 8_000_000} == {}
