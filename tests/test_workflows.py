"""What GitHub runs and offers: workflows, forms, updates, and the files that contributors look for.

The checks on GitHub run actionlint as well. It is not installed here, because its package downloads
a program from GitHub when it is installed.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

from attnbook import corpora
from scripts import load_script

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
book_site = load_script("tools/book_site.py")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _parsed(path: Path) -> dict[Any, Any]:
    parsed = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(parsed, dict)
    return parsed


def _jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in _parsed(path)["jobs"].items():
            yield f"{path.name}: {name}", job


def _steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for where, job in _jobs():
        for step in job.get("steps", []):
            yield where, step
    for path in ACTIONS:
        for step in _parsed(path)["runs"]["steps"]:
            yield str(path.relative_to(GITHUB)), step


def _commands() -> list[tuple[str, str]]:
    return [(where, step["run"]) for where, step in _steps() if "run" in step]


# --- the workflows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("github-workflows", ".github/workflows/*.yml"),
        ("github-actions", ".github/actions/*/action.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_files_of_github_have_the_form_that_it_reads(schema: str, pattern: str) -> None:
    files = [str(path) for path in ROOT.glob(pattern)]
    assert files
    done = CliRunner().invoke(check_jsonschema, ["--builtin-schema", f"vendor.{schema}", *files])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("where", "command"), _commands())
def test_each_command_is_shell_that_parses(where: str, command: str) -> None:
    """With names in place of GitHub's expressions, which are filled in before the shell reads."""
    filled = re.sub(r"\$\{\{.*?\}\}", "value", command)
    done = subprocess.run(["bash", "-n"], input=filled, capture_output=True, text=True)
    assert done.returncode == 0, f"{where}: {done.stderr}"


def test_no_command_takes_in_what_strangers_write() -> None:
    """An expression in a command is code to the shell; names of tags come by variable."""
    assert [(where, command) for where, command in _commands() if "${{" in command] == []


def test_targets_and_files_that_are_run_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    named: set[str] = set()
    for where, command in _commands():
        for line in re.findall(r"^\s*make (.+)$", command, flags=re.MULTILINE):
            words = {word for word in line.split() if "=" not in word}
            assert words <= targets, f"{where}: make {line}"
            named |= words
        for script in re.findall(r"(?:^|\s)((?:tools|\.ci)/[\w./]+)", command):
            assert (ROOT / script).is_file(), f"{where}: {script}"
    assert {"book", "wheel", "test-all", "links", "mutants", "colab", "floors"} <= named
    assert "make test " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_actions_are_githubs_own_in_one_version_each() -> None:
    """Dependabot raises them, all places at once."""
    versions: dict[str, set[str]] = {}
    uses = [(where, step["uses"]) for where, step in _steps() if "uses" in step]
    uses += [(where, job["uses"]) for where, job in _jobs() if "uses" in job]
    for where, used in uses:
        if used.startswith("./"):
            assert any((ROOT / used / f).is_file() for f in ("", "action.yml")), f"{where}: {used}"
            continue
        name, _, version = used.partition("@")
        assert re.fullmatch(r"actions/[a-z-]+", name), f"{where}: {used}"
        assert re.fullmatch(r"v\d+", version), f"{where}: {used}"
        versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    kinds = {
        update["package-ecosystem"] for update in _parsed(GITHUB / "dependabot.yml")["updates"]
    }
    assert kinds == {"github-actions", "pip"}


def test_each_job_waits_for_jobs_has_a_limit_and_no_more_rights_than_it_needs() -> None:
    for path in WORKFLOWS:
        parsed = _parsed(path)
        assert parsed["permissions"] == {"contents": "read"}, path.name
        for name, job in parsed["jobs"].items():
            needs = job.get("needs", [])
            assert set([needs] if isinstance(needs, str) else needs) <= set(parsed["jobs"]), name
    rights = {}
    for where, job in _jobs():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 150, where
        if "permissions" in job:
            rights[where] = job["permissions"]
    assert rights == {
        "pages.yml: deploy": {"pages": "write", "id-token": "write"},
        "release.yml: publish": {"contents": "write"},
        "release.yml: site": {"actions": "write"},
    }


def test_the_checks_leave_nothing_out() -> None:
    """On the systems and Pythons that are promised, with skipped tests as errors."""
    matrix = _parsed(GITHUB / "workflows" / "checks.yml")["jobs"]["test"]["strategy"]["matrix"]
    systems = {(one["os"].split("-")[0], one["python"]) for one in matrix["include"]}
    assert systems == {("ubuntu", "3.11"), ("ubuntu", "3.13"), ("macos", "3.12")}
    assert "--fail-on-skip" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = dict(_commands())
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in " ".join(
        command for _, command in _commands()
    )
    assert "--fail-on-skip" in commands["nightly.yml: exhaustive"]


def test_the_cached_corpus_is_the_one_that_is_read() -> None:
    (key,) = [
        s["with"]["key"] for _, s in _steps() if s.get("uses", "").startswith("actions/cache")
    ]
    assert key.removeprefix("multi30k-") == corpora._COMMIT[: len(key.removeprefix("multi30k-"))]
    assert len(key.removeprefix("multi30k-")) >= 7


# --- what contributors look for -------------------------------------------------------------------


@pytest.mark.parametrize(("version", "state"), [("1.2.0", "v1.2.0"), ("1.3.0.dev0", "main")])
def test_links_of_a_page_lead_to_this_copy_the_release_and_the_form(
    version: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(book_site.PROJECT, "version", version)
    at = "https://github.com/some/course"
    elsewhere = '<a class="reference external" href="https://example.org/book/02_b.html">b</a>'
    context: dict[str, Any] = {
        "content_root": "../",
        "body": f'<a class="reference external" href="{book_site.SITE}book/01_a.html#part">a</a>'
        + elsewhere,
        "header_buttons": [
            {"label": "search-button"},
            {"buttons": [{"text": "Colab", "url": "https://colab/blob/main/notebooks/01_a.ipynb"}]},
            {
                "buttons": [
                    {"label": "source-edit-button", "url": f"{at}/edit/main/notebooks/01_a.ipynb"},
                    {"label": "source-issues-button", "url": f"{at}/issues/new?title=x&body=y"},
                ]
            },
        ],
    }
    book_site.link(None, "notebooks/01_a", "page.html", context, None)
    assert context["body"] == (
        f'<a class="reference internal" href="../book/01_a.html#part">a</a>{elsewhere}'
    )
    colab, edit, issue = (b for g in context["header_buttons"][1:] for b in g["buttons"])
    assert colab["url"] == f"https://colab/blob/{state}/notebooks/01_a.ipynb"
    assert edit["url"] == f"{at}/edit/main/notebooks/01_a.ipynb"
    form, _, query = issue["url"].partition("?")
    asked = parse_qs(query)
    assert (form, asked["page"]) == (f"{at}/issues/new", [f"{book_site.SITE}notebooks/01_a.html"])
    (template,) = asked["template"]
    assert _parsed(GITHUB / "ISSUE_TEMPLATE" / template)["body"][0]["id"] == "page"


def test_hooks_before_a_commit_are_those_of_the_environment() -> None:
    hooks = _parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        assert hook["language"] == "system"
        program, *words = hook["entry"].split()
        assert program == ".venv/bin/python"
        for word in words:
            if "/" in word:
                assert (ROOT / word).exists(), hook["entry"]


def test_the_container_builds_the_book() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["image"].startswith("mcr.microsoft.com/devcontainers/python:")
    assert "3.11" in container["image"]
    assert container["postCreateCommand"] == "make book"
