"""What all tests share: checked shapes, the data folder, the browser, and no silent skips."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from hypothesis import settings
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

import machine

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

    from attnbook.exercises import Chapter
    from classroom import Sandboxes

# Shapes and types in signatures are checked at every call made by a test. The hook must be in place
# before the first import of the package, and pytest imports this file before any test module.
# Exercises are left out: a learner's checks call them without it, and inner functions would be
# instrumented anew at every call.
_PACKAGE = Path(__file__).resolve().parents[1] / "src" / "attnbook"
install_import_hook(
    [f"attnbook.{path.stem}" for path in _PACKAGE.glob("*.py") if path.stem != "__init__"]
    + ["attnbook.grading"],
    "beartype.beartype",
)

# How long an example takes says more about the machine than about the package.
settings.register_profile("attnbook", deadline=None)
settings.load_profile("attnbook")

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"


@pytest.fixture
def as_user() -> Iterator[None]:
    """Calls as a user makes them: shapes are not checked, so the package's own refusals are met."""
    before = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", before)


# --- data -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with Multi30k that ``ATTNBOOK_DATA`` names; without it a skip (an error in CI)."""
    value = os.environ.get("ATTNBOOK_DATA")
    if not value:
        pytest.skip("needs Multi30k: set ATTNBOOK_DATA to a folder that holds multi30k/train.de")
    folder = Path(value)
    if not (folder / "multi30k" / "train.de").is_file():
        pytest.fail(f"ATTNBOOK_DATA is {value}, and there is no multi30k/train.de in it")
    return folder


# --- what the machine lacks ----------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip",
        action="store_true",
        help="end with an error when anything was not run that could be (for CI)",
    )
    parser.addoption(
        "--stale-site",
        action="store_true",
        help="look at the site as it was built last, although its sources have changed since",
    )


def lacking(need: str) -> None:
    """Skip the running test if the machine lacks something that :data:`machine.NEEDS` names."""
    reason = machine.NEEDS[need]()
    if reason:
        pytest.skip(f"needs {need}: {reason}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked ``needs("sandbox")`` is run where there is one."""
    for mark in item.iter_markers("needs"):
        for need in mark.args:
            lacking(need)


def _not_run(reporter: Any) -> dict[str, list[str]]:
    """Tests that were skipped or expected to fail, by the reason."""
    found: dict[str, list[str]] = {}
    for kind in ("skipped", "xfailed"):
        for report in reporter.stats.get(kind, []):
            longrepr = report.longrepr
            reason = longrepr[2] if isinstance(longrepr, tuple) else str(report.wasxfail)
            found.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    return found


def _nobodys_mistake(reason: str) -> bool:
    need = re.match(r"needs (\w+): ", reason)
    return need is not None and machine.impossible(need[1])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ``--fail-on-skip`` what was not run, and could be, is an error of the run."""
    if not session.config.getoption("--fail-on-skip") or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.exitstatus == pytest.ExitCode.OK and not all(
        map(_nobodys_mistake, _not_run(reporter))
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was not run and why; what the checks of the exercises are worth."""
    _what_the_checks_are_worth(terminalreporter)
    absent = _not_run(terminalreporter)
    if not absent:
        return
    terminalreporter.section("not run")
    for reason, tests in sorted(absent.items()):
        files = sorted({test.split("::")[0] for test in tests})
        terminalreporter.write_line(f"{len(tests)} tests: {reason}", yellow=True)
        terminalreporter.write_line(f"    in {', '.join(files)}")
        need = re.match(r"needs (\w+): ", reason)
        if need and (command := machine.remedy(need[1])):
            terminalreporter.write_line(f"    {command}")


# --- what the exercises' checks are worth ---------------------------------------------------------


def _what_the_checks_are_worth(terminalreporter: Any) -> None:
    """How many wrong answers were rejected, and with their own hint, by exercise and in all."""
    banks: dict[str, list[int]] = {}  # one exercise may have several tests, with other seeds
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for key, value in getattr(report, "user_properties", []):
                if key == "bank":
                    name, answers, *counts = value
                    before = banks.get(name, [answers, 0, 0, 0])[1:]
                    banks[name] = [answers, *map(sum, zip(before, counts, strict=True))]
    if not banks:
        return
    terminalreporter.section("wrong answers to the exercises")
    banks[f"all {len(banks)}"] = [sum(column) for column in zip(*banks.values(), strict=True)]
    for name, (answers, tried, rejected, hinted) in banks.items():
        terminalreporter.write_line(
            f"{name:24} {answers:4} answers, tried {tried:4} times with other inputs: "
            f"{rejected / tried:6.1%} rejected, {hinted / tried:6.1%} with their own hint"
        )


# --- class grading ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_chapter() -> Iterator[Chapter]:
    """A chapter made for the tests, among those of the course as long as a module's tests run."""
    from classroom import registered

    with registered() as chapter:
        yield chapter


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[Sandboxes]:
    """Started sandboxes; nobody has any before `shared_sandboxes` lends them."""
    from classroom import Sandboxes

    made = Sandboxes()
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_sandboxes(sandboxes: Sandboxes) -> Iterator[None]:
    """Graders take over sandboxes that others have started, and the canary flies once."""
    with pytest.MonkeyPatch.context() as patch:
        sandboxes.lend(patch.setattr)
        yield


# --- the built site in a real browser -----------------------------------------------------------


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Path:
    """The built site; fails when it is older than what it is built from."""
    if request.config.getoption("--stale-site") and SITE.is_dir():
        return SITE
    plain = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    fresh = subprocess.run(
        ["make", "--question", "--silent", "site"], cwd=ROOT, env=plain, capture_output=True
    )
    if fresh.returncode != 0:
        pytest.fail("the site in _build/html is missing or older than its sources: run `make site`")
    return SITE


class _Quiet(SimpleHTTPRequestHandler):
    """Serves the site below /book/, as GitHub Pages does, so that a link from the root shows."""

    prefix = "/book/"

    def translate_path(self, path: str) -> str:
        if not path.startswith(self.prefix):
            return str(Path(self.directory) / "not-below-the-prefix")
        return super().translate_path("/" + path.removeprefix(self.prefix))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def site_url(site: Path) -> Iterator[str]:
    """The address of the built site on this machine, ending in a slash."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{_Quiet.prefix}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    lacking("browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium without a window and without a network: only this machine resolves."""
    browser = playwright.chromium.launch(
        executable_path=machine.chromium(), args=machine.BROWSER_ARGUMENTS
    )
    yield browser
    browser.close()


@pytest.fixture
def show_bare(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """``show_bare(html, head="", width=360)`` opens a page of nothing else.

    Nothing may go wrong in it: no error, no line in the console, no request.
    """
    contexts = []
    wrong: list[str] = []

    def open_it(*parts: str, head: str = "", width: int = 800, **options: object) -> Page:
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page</title>'
            f'<meta name="viewport" content="width=device-width">{head}</head>'
            f"<body><main><h1>Page</h1>{''.join(parts)}</main></body></html>",
            encoding="utf-8",
        )
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on(
            "request",
            lambda r: (
                None
                if r.url == path.as_uri() or r.url.startswith(("data:", "blob:"))
                else wrong.append(f"request {r.url}")
            ),
        )
        page.goto(path.as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


@dataclass
class Visit:
    """A page, and what went wrong while it was open."""

    page: Page
    console: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Console errors and warnings, failed and external requests, in one list."""
        return [
            *(f"console: {line}" for line in self.console),
            *(f"failed: {line}" for line in self.failed),
            *(f"external: {line}" for line in self.external),
        ]


OpenPage = Callable[..., Visit]


@pytest.fixture(scope="module")
def open_pages(browser: Browser, site_url: str) -> Iterator[OpenPage]:
    """`open_page` for fixtures that keep a page open for several tests."""
    contexts = []

    def visit(
        path: str,
        *,
        width: int = 1280,
        height: int = 800,
        scheme: str = "light",
        reduced_motion: str = "no-preference",
        javascript: bool = True,
    ) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion=reduced_motion,
            java_script_enabled=javascript,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)  # a busy machine is slow, not wrong
        seen = Visit(page)

        def route(handler) -> None:
            url = handler.request.url
            if urlsplit(url).scheme in ("data", "blob") or url.startswith(site_url):
                handler.continue_()
            else:
                seen.external.append(url)
                handler.abort()

        context.route("**/*", route)
        page.on(
            "console",
            lambda m: seen.console.append(m.text) if m.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: seen.console.append(str(error)))
        page.on("requestfailed", lambda r: seen.failed.append(f"{r.url} ({r.failure})"))
        page.on(
            "response",
            lambda r: seen.failed.append(f"{r.url} ({r.status})") if r.status >= 400 else None,
        )
        page.goto(site_url + path, wait_until="load")
        if javascript:
            # Formulas are set after the load event; what is measured next needs their final size.
            page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true) ?? true")
            page.evaluate("() => document.fonts.ready.then(() => true)")
        return seen

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def open_page(open_pages: OpenPage) -> Iterator[OpenPage]:
    """``open_page("book/index.html", width=360, scheme="dark")`` gives a `Visit`."""
    visits = []

    def visit(path: str, **options: object) -> Visit:
        visits.append(open_pages(path, **options))
        return visits[-1]

    yield visit
    for seen in visits:
        seen.page.context.close()
