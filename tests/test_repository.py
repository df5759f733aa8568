"""What holds for the repository as a whole: one address, complete pins, links that lead on."""

from __future__ import annotations

import ast
import datetime
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from attnbook.checkpoints import revision
from attnbook.exercises import judge
from attnbook.site.reference import quoted_object
from scripts import load_script

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]
OWNER = ADDRESS.removeprefix("https://github.com/")
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SITE = PROJECT["urls"]["Documentation"]

release = load_script("tools/release.py")


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


def test_the_published_book_is_at_the_address_that_github_gives_it() -> None:
    owner, name = OWNER.split("/")
    assert f"https://{owner}.github.io/{name}/" == SITE
    assert README.index(SITE) < README.index("## ")
    assert all(url.startswith((ADDRESS, SITE)) for url in PROJECT["urls"].values())


def test_the_citation_has_the_address() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == ADDRESS


def test_no_other_address_of_the_repository_is_written_anywhere() -> None:
    """Wherever a file names a repository called like ours, it is ours: main, or the release."""
    name = OWNER.split("/")[1]
    states = {"", CONFIG["repository"]["branch"], revision(PROJECT["version"])}
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
            if found[1] != OWNER or (found[2] or "") not in states:
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


def test_links_to_the_published_book_name_pages_that_it_has() -> None:
    """The parts of pages that notebooks link to are looked for in the built site."""
    name = OWNER.split("/")[1]
    pages, wrong = 0, []
    for path in _tracked("*.md", "*.ipynb", "*.yml"):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(rf"https://[\w.-]+\.github\.io/{name}/[^\s)\"\\\]#]*", text):
            page = found[0].removeprefix(SITE).removesuffix(".html")
            pages += 1
            made_from = [ROOT / f"{page}{suffix}" for suffix in (".md", ".ipynb")]
            if not found[0].startswith(SITE) or (page and not any(p.exists() for p in made_from)):
                wrong.append(f"{path.relative_to(ROOT)}: {found[0]}")
    assert wrong == []
    assert pages > 20


# --- README, CONTRIBUTING and their like ----------------------------------------------------------

FOR_READERS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]


def _slug(heading: str) -> str:
    """What GitHub calls a heading in an address."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", FOR_READERS)
def test_links_lead_to_files_and_headings(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)", text):
        file, _, part = target.partition("#")
        path = ROOT / (file or name)
        headings = re.findall(r"^#+ (.+)$", path.read_text() if part else "", flags=re.MULTILINE)
        if not path.exists() or (part and part not in map(_slug, headings)):
            broken.append(target)
    assert broken == []


def test_the_readme_leads_to_every_chapter_and_its_lab() -> None:
    """To pages of the site, under their titles, and to labs in Colab; nowhere to raw MyST."""
    colab = f"https://colab.research.google.com/github/{OWNER}/blob/main/notebooks/"
    rows = re.findall(
        r"^\| (\d+) \| \[(.+?)\]\((.+?)\) \| .+ \| \[Colab\]\((.+?)\) \|$", README, re.M
    )
    pages = sorted((ROOT / "book").glob("[0-9][0-9]_*.md"))
    assert rows == [
        (
            str(int(page.stem[:2])),
            re.findall(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)[0],
            f"{SITE}book/{page.stem}.html",
            f"{colab}{page.stem}.ipynb",
        )
        for page in pages
    ]
    assert "(book/" not in README


@pytest.mark.parametrize("name", FOR_READERS)
def test_commands_that_are_named_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    text = (ROOT / name).read_text(encoding="utf-8")
    quoted = re.findall(r"(?:`|^)make ([^`#\n]+)", text, flags=re.MULTILINE)
    named = {word for words in quoted for word in words.split() if "=" not in word}
    assert named <= targets
    if name == "README.md":
        assert {"book", "test", "test-all", "gpu", "fresh", "help"} <= named
    here = re.sub(r"https?://\S+", "", text)
    for path in re.findall(r"\b((?:src|tests|tools|book|notebooks)/[\w./]+\.\w+)", here):
        if "NN_" not in path:
            assert (ROOT / path).exists(), path


def test_what_is_said_of_exercises_is_what_the_checks_ask() -> None:
    known = [m.name for m in judge.GENERAL] + [judge.NOTHING]
    (listed,) = re.findall(r"knows these mistakes without your naming them: (.+?)\. ", CONTRIBUTING)
    assert listed == ", ".join(f"`{name}`" for name in known)
    asked = (ROOT / "tests" / "test_exercises.py").read_text(encoding="utf-8")
    for kind in ("right", "wrong"):
        (least,) = re.findall(rf"at least (\d+) functions `{kind}_", CONTRIBUTING)
        assert f"assert len({kind}) >= {least}\n" in asked


# --- the version ----------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A repository under way to its first release."""
    for name in ("pyproject.toml", "CITATION.cff"):
        text = (ROOT / name).read_text(encoding="utf-8").replace(PROJECT["version"], "0.3.0.dev0")
        text = re.sub(r"^date-released:.*\n", "", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- It learns.\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "module.py").write_text("x = 1\n")
    return tmp_path


def _git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_everything_agrees_on_the_version() -> None:
    assert release.disagreements() == []


def test_a_release_is_written_everywhere_and_its_tag_must_fit(course: Path) -> None:
    assert release.disagreements(root=course) == []
    assert release.disagreements("v0.3.0", course) == [
        "the tag is v0.3.0, and pyproject.toml says 0.3.0.dev0"
    ]
    release.write("0.3.0", datetime.date(2027, 1, 31), course)
    assert release.disagreements("v0.3.0", course) == []
    assert release.version(course) == "0.3.0"
    assert release.section("0.3.0", course) == ("2027-01-31", "- It learns.")
    assert release.section("Unreleased", course) == ("", "")
    citation = yaml.safe_load((course / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["date-released"]) == ("0.3.0", "2027-01-31")
    with pytest.raises(SystemExit, match=r"has 0\.3\.0 already"):
        release.write("0.3.0", datetime.date(2027, 2, 1), course)
    release.write("0.4.0.dev0", datetime.date(2027, 2, 1), course)
    assert release.disagreements(root=course) == []
    citation = yaml.safe_load((course / "CITATION.cff").read_text(encoding="utf-8"))
    assert "date-released" not in citation


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("CITATION.cff", "version: 0.3.0", "version: 0.2.0", "CITATION.cff has version 0.2.0"),
        ("CITATION.cff", "2027-01-31", "2027-01-30", "released on 2027-01-30, not 2027-01-31"),
        ("CHANGELOG.md", "[0.3.0]", "[0.2.0]", "CHANGELOG.md has no '## [0.3.0]"),
        ("CHANGELOG.md", "- It learns.", "", "CHANGELOG.md has no '## [0.3.0]"),
        ("CHANGELOG.md", "## [Unreleased]", "", "CHANGELOG.md lacks ## [Unreleased]"),
        ("pyproject.toml", '"0.3.0"', '"0.3"', "0.3 is neither X.Y.Z nor X.Y.Z.dev0"),
    ],
)
def test_a_release_that_disagrees_with_itself_is_refused(
    name: str, old: str, new: str, complaint: str, course: Path
) -> None:
    release.write("0.3.0", datetime.date(2027, 1, 31), course)
    text = (course / name).read_text(encoding="utf-8")
    assert old in text
    (course / name).write_text(text.replace(old, new), encoding="utf-8")
    assert any(complaint in sentence for sentence in release.disagreements("v0.3.0", course))


def test_the_package_stays_what_its_release_was(course: Path) -> None:
    """Text may change under a released version; what labs install may not."""
    release.write("0.3.0", datetime.date(2027, 1, 31), course)
    _git(course, "init", "--quiet")
    _git(course, "add", ".")
    _git(course, "commit", "--quiet", "-m", "Version 0.3.0")
    (course / "src" / "module.py").write_text("x = 2\n")
    assert release.disagreements(root=course) == []  # not tagged yet
    _git(course, "tag", "v0.3.0")
    (complaint,) = release.disagreements(root=course)
    assert "changed since v0.3.0" in complaint
    (course / "src" / "module.py").write_text("x = 1\n")
    (course / "README.md").write_text("Better words.\n")
    assert release.disagreements(root=course) == []


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
        (said,) = metadata.metadata(name).get_all("Requires-Python") or [""]
        runs_on = SpecifierSet(said)
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
        assert needs[canonicalize_name(name)].specifier.contains(pinned[name]), name


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


# --- listings -------------------------------------------------------------------------------------

LISTING = re.compile(r"^```\{literalinclude\} (?P<file>\S+\.py)\n(?P<options>(?:^:.*\n)*)", re.M)
PAGES_WITH_CODE = sorted((ROOT / "book").glob("*.md"))


def listings(page: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The file and the options of each piece of the package that a page quotes."""
    for found in LISTING.finditer(page.read_text(encoding="utf-8")):
        options = dict(re.findall(r"^:([\w-]+): ?(.*)$", found["options"], re.M))
        yield found["file"], options


def numbers(spec: str, count: int) -> list[int]:
    """The lines that ``1-4,6-`` names, from 1."""
    lines: list[int] = []
    for part in spec.split(","):
        first, dash, last = part.partition("-")
        lines += range(int(first), (int(last) if last else count) + 1 if dash else int(first) + 1)
    return lines


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.stem)
def test_quoted_code_is_whole(page: Path) -> None:
    """A listing that leaves lines out is Python all the same, and shows no decorator of ours."""
    for file, options in listings(page):
        if "lines" not in options or "pyobject" not in options:
            continue
        path = page.parent / file
        first, node = quoted_object(path, options["pyobject"])
        whole = path.read_text(encoding="utf-8").splitlines()[first - 1 : node.end_lineno]
        shown = [whole[number - 1] for number in numbers(options["lines"], len(whole))]
        text = textwrap.dedent("\n".join(shown))
        assert "@exchangeable" not in text, (file, options)
        try:
            ast.parse(text)
        except SyntaxError as error:
            pytest.fail(f"{options['pyobject']}, lines {options['lines']}: {error}")


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.stem)
def test_captions_of_code_name_what_there_is(page: Path) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    known = set(re.findall(r"\w+", code))
    for _, options in listings(page):
        for name in re.findall(r"`([A-Za-z_][\w.]*)`", options.get("caption", "")):
            assert set(name.split(".")) <= known, (name, options["caption"])
