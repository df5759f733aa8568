"""What all tests share: checked shapes, the data folder, the browser, and no silent skips."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import settings
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

import machine

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request

    from attnbook.exercises import Chapter
    from classroom import Sandboxes

# Shapes and types in signatures are checked at every call made by a test. The hook must be in place
# before the first import of the package, and pytest imports this file before any test module.
# Exercises are left out: a learner's checks call them without it, and inner functions would be
# instrumented anew at every call; so is the grammar, which has no tensors, calls small functions
# without end, and whose types are checked by mypy.
_PACKAGE = Path(__file__).resolve().parents[1] / "src" / "attnbook"
install_import_hook(
    [
        f"attnbook.{path.stem}"
        for path in _PACKAGE.glob("*.py")
        if path.stem not in ("__init__", "grammar")
    ]
    + ["attnbook.benchmark", "attnbook.grading"],
    "beartype.beartype",
)

# How long an example takes says more about the machine than about the package.
settings.register_profile("attnbook", deadline=None)
settings.load_profile("attnbook")

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
SCREENSHOTS = ROOT / "_build" / "screenshots"

# Formulas are set after the load event, and fonts may come later still; what is measured next needs
# their final size.
SET = "async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }"


@pytest.fixture
def as_user() -> Iterator[None]:
    """Calls as a user makes them: shapes are not checked, so the package's own refusals are met."""
    before = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", before)


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def parallel_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: it holds a parallel text in two files, and nothing else."""
    from small_models import PAIRS

    monkeypatch.chdir(tmp_path)
    for suffix, side in (("de", "source"), ("en", "target")):
        lines = "".join(" ".join(getattr(pair, side)).upper() + "\n" for pair in PAIRS)
        (tmp_path / f"text.{suffix}").write_text(lines, encoding="utf-8")
    return tmp_path


@pytest.fixture
def model_file(parallel_text: Path) -> str:
    """The file, in that folder, of a translator that knows its sentences by heart."""
    from attnbook.checkpoints import save
    from small_models import fitted

    save(fitted(), parallel_text / "model.safetensors")
    return "model.safetensors"


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


@pytest.fixture
def signalled(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """Within ``signalled(signal.SIGTERM, step=7)`` that signal arrives in this step of training."""
    from attnbook.training import _Run

    whole = _Run.one_step

    @contextlib.contextmanager
    def arrives(number: int, step: int = 7) -> Iterator[None]:
        def one_step(self: Any, examples: Any) -> None:
            if self.state.step == step:
                os.kill(os.getpid(), number)
            whole(self, examples)

        with monkeypatch.context() as patch:
            patch.setattr(_Run, "one_step", one_step)
            yield

    return arrives


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
    parser.addoption(
        "--device",
        default="cuda",
        help="what tests marked gpu compare with the CPU (cuda); cpu tries the tests themselves",
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
        if need and need[1] in machine.NEEDS and (command := machine.remedy(need[1])):
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
    protocol_version = "HTTP/1.1"  # one connection for all files of a page

    def translate_path(self, path: str) -> str:
        if not path.startswith(self.prefix):
            return str(Path(self.directory) / "not-below-the-prefix")
        return super().translate_path("/" + path.removeprefix(self.prefix))

    def end_headers(self) -> None:
        # What all pages share is fetched once for each browser.
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

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


@dataclass
class Visit:
    """A page, and what went wrong while it was open."""

    page: Page
    home: str  # what the addresses of its own files begin with
    console: list[str] = field(default_factory=list)  # "error: what was said"
    failed: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Console errors and warnings, failed and external requests, in one list."""
        return [
            *(line for line in self.console if line.startswith(("error: ", "warning: "))),
            *(f"failed: {line}" for line in self.failed),
            *(f"external: {line}" for line in self.external),
        ]


class _Tab:
    """A page of the browser, which one visit after another has for itself."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.visit: Visit | None = None
        self.asked: set[Request] = set()  # in this visit: what fails may be another's
        self.spoilt = False
        page.set_default_timeout(120_000)  # a busy machine is slow, not wrong
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self._said("error", str(error)))
        page.on("request", self._asks)
        page.on("requestfailed", lambda request: self._fails(request, request.failure))
        page.on("response", lambda response: self._answered(response.request, response.status))

    def _said(self, kind: str, text: str) -> None:
        if self.visit:
            self.visit.console.append(f"{kind}: {text}")

    def _asks(self, request: Request) -> None:
        if self.visit:
            self.asked.add(request)
            if not request.url.startswith((self.visit.home, "data:", "blob:")):
                self.visit.external.append(request.url)

    def _fails(self, request: Request, why: object) -> None:
        if self.visit and request in self.asked:
            self.visit.failed.append(f"{request.url} ({why})")

    def _answered(self, request: Request, status: int) -> None:
        if status >= 400:
            self._fails(request, status)


class Chromium:
    """Chromium without a window and without a network: only this machine resolves.

    Tests that follow each other share it and the tabs that they are done with, since opening a tab
    takes longer than most of them do.
    """

    def __init__(self) -> None:
        self._driver: Playwright | None = None
        self._browser: Browser | None = None
        self._contexts: dict[tuple[bool, bool], BrowserContext] = {}
        self._free: dict[BrowserContext, list[_Tab]] = {}
        self._taken: list[_Tab] = []

    def launch(self, **options: Any) -> Browser:
        """Another browser than the shared one, with an environment of its own for instance."""
        from playwright.sync_api import sync_playwright

        self._driver = self._driver or sync_playwright().start()
        return self._driver.chromium.launch(
            executable_path=machine.chromium(), args=machine.BROWSER_ARGUMENTS, **options
        )

    def stop(self) -> None:
        if self._browser:
            self._browser.close()
            self._browser = None
            self._contexts.clear()
            self._free.clear()
            self._taken.clear()
        if self._driver:
            self._driver.stop()
            self._driver = None

    def visit(
        self,
        url: str,
        home: str,
        *,
        width: int,
        height: int,
        scheme: Literal["light", "dark"] = "light",
        reduced_motion: Literal["no-preference", "reduce"] = "no-preference",
        javascript: bool = True,
        touch: bool = False,
        alone: bool = False,
    ) -> Visit:
        """Open a page; ``alone`` in a tab that nobody had before and nobody has afterwards."""
        self._browser = self._browser or self.launch()
        options: dict[str, Any] = {"java_script_enabled": javascript, "has_touch": touch}
        if alone:
            context = self._browser.new_context(**options)
        else:
            if (javascript, touch) not in self._contexts:
                context = self._browser.new_context(**options)
                self._contexts[javascript, touch] = context
                self._free[context] = []
            context = self._contexts[javascript, touch]
        free = self._free.get(context)
        tab = free.pop() if free else _Tab(context.new_page())
        self._taken.append(tab)
        tab.visit = Visit(tab.page, home)
        tab.page.set_viewport_size({"width": width, "height": height})
        tab.page.emulate_media(media="null", color_scheme=scheme, reduced_motion=reduced_motion)
        tab.page.goto(url, wait_until="load")
        if javascript:
            tab.page.evaluate(SET)
        return tab.visit

    def leave(self, visit: Visit) -> None:
        """Give the tab back without anything in it, or close it where a test has failed."""
        tab = next(tab for tab in self._taken if tab.visit is visit)
        self._taken.remove(tab)
        tab.visit = None
        tab.asked.clear()
        context = tab.page.context
        if context not in self._free:
            context.close()
        elif tab.spoilt:
            tab.page.close()
        else:
            tab.page.evaluate("location.protocol === 'http:' && localStorage.clear()")
            tab.page.mouse.move(-9, -9)  # or what is opened next would lie under it
            tab.page.goto("about:blank")
            self._free[context].append(tab)

    def photograph(self, name: str) -> list[Path]:
        """Keep what every open page shows and what it said; the paths of the files."""
        kept = []
        for number, tab in enumerate(self._taken):
            tab.spoilt = True
            path = SCREENSHOTS / f"{name}{f'-{number}' * (number > 0)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert tab.visit is not None  # it has been taken
            said = [tab.page.url, *tab.visit.problems(), "", "console:", *tab.visit.console]
            path.with_suffix(".txt").write_text("\n".join(said) + "\n", encoding="utf-8")
            kept.append(path.with_suffix(".txt"))
            with contextlib.suppress(Exception):  # of a page that hangs there is no picture
                tall = tab.page.evaluate("document.documentElement.scrollHeight") > 16_000
                tab.page.screenshot(path=path, full_page=not tall, timeout=20_000)
                kept.append(path)
        return kept


_chromium = Chromium()


def _browses(item: pytest.Item) -> bool:
    return "browser" in getattr(item, "fixturenames", ())


def pytest_sessionstart(session: pytest.Session) -> None:
    """What is kept of failures is this run's."""
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(SCREENSHOTS, ignore_errors=True)


# Files are given to workers whole and in this order: first what takes longest, so that all end
# together. A number stands for the labs.
SLOWEST = [
    *("site", "exercises", "14", "13", "12", "fonts", "scrubber_site", "results", "attacks"),
    *("exports", "grading", "8", "7", "5", "9", "sandbox", "gpu", "benchmark", "decoding"),
    *("notebooks", "cluster", "installed", "exercise_notebooks"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first; then those that need the browser, which a worker starts once."""

    def place(path: Path) -> int:
        name = path.stem.removeprefix("test_")
        short = name.split("_")[0].lstrip("0") if path.suffix == ".ipynb" else name
        return SLOWEST.index(short) if short in SLOWEST else len(SLOWEST)

    browsing = {item.path for item in items if _browses(item)}
    items.sort(key=lambda item: (place(item.path), item.path not in browsing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test that fails with a page open says where its picture and its console are."""
    report = yield
    if report.failed and _browses(item):
        name = re.sub(r"[^\w.-]+", "-", f"{item.path.stem}-{item.name}").strip("-")
        kept = [str(path.relative_to(ROOT)) for path in _chromium.photograph(name)]
        if kept:
            report.sections.append(("the page and its console", "\n".join(kept)))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, Any, Any]:
    """The browser goes when the next file has no use for it.

    No later: its driver leaves an event loop running in this thread, in which no other can start.
    """
    result = yield
    if nextitem is None or not (_browses(nextitem) or nextitem.path == item.path):
        _chromium.stop()
    return result


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    lacking("browser")
    yield _chromium
    _chromium.stop()


@pytest.fixture
def show_bare(browser: Chromium, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """``show_bare(html, head="", width=360)`` opens a page of nothing else.

    Nothing may go wrong in it: no error, no line in the console, no request.
    """
    visits: list[Visit] = []

    def open_it(*parts: str, head: str = "", width: int = 800, **options: Any) -> Page:
        path = tmp_path / f"page{len(visits)}.html"
        path.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page</title>'
            f'<meta name="viewport" content="width=device-width">{head}</head>'
            f"<body><main><h1>Page</h1>{''.join(parts)}</main></body></html>",
            encoding="utf-8",
        )
        url = path.as_uri()
        visits.append(browser.visit(url, url, width=width, height=900, **options))
        return visits[-1].page

    yield open_it
    for visit in visits:
        browser.leave(visit)
    assert [line for visit in visits for line in visit.console + visit.problems()] == []


OpenPage = Callable[..., Visit]


@pytest.fixture(scope="session")
def open_pages(browser: Chromium, site_url: str) -> OpenPage:
    """`open_page` for fixtures that keep a page open for several tests, and leave it themselves."""

    def visit(path: str, *, width: int = 1280, height: int = 800, **options: Any) -> Visit:
        return browser.visit(site_url + path, site_url, width=width, height=height, **options)

    return visit


@pytest.fixture
def open_page(open_pages: OpenPage, browser: Chromium) -> Iterator[OpenPage]:
    """``open_page("book/index.html", width=360, scheme="dark")`` gives a `Visit`."""
    visits: list[Visit] = []

    def visit(path: str, **options: Any) -> Visit:
        visits.append(open_pages(path, **options))
        return visits[-1]

    yield visit
    for seen in visits:
        browser.leave(seen)
