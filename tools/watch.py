"""Serves the book, builds a page again when it changes and reloads the browser: ``make watch``.

sphinx-autobuild runs Sphinx itself, which wants a conf.py. Jupyter Book makes the same settings
from _config.yml; here they are written as a conf.py below _build, with absolute paths.
"""

import argparse
import os
from pathlib import Path

from sphinx_autobuild.__main__ import main as autobuild

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"

CONF = '''"""Written by tools/watch.py: the settings of _config.yml, as Sphinx reads them."""
from pathlib import Path
from jupyter_book.config import get_final_config

ROOT = Path({root!r})
settings, _ = get_final_config(
    user_yaml=ROOT / "_config.yml", cli_config={{"latex_individualpages": False}}, sourcedir=ROOT
)
for name in ("html_static_path", "templates_path", "bibtex_bibfiles"):
    settings[name] = [str(ROOT / path) for path in settings[name]]
for name in ("html_logo", "html_favicon"):
    settings[name] = str(ROOT / settings[name])
globals().update(settings)
'''


def main() -> None:
    """Watch the pages, the notebooks, the styles and what pages quote, until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--port", type=int, default=0, help="of the server (0: any free one)")
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")
    args = parser.parse_args()
    os.chdir(ROOT)
    conf = BUILD / "watch"
    conf.mkdir(parents=True, exist_ok=True)
    (conf / "conf.py").write_text(CONF.format(root=str(ROOT)), encoding="utf-8")
    others = ("_build", "tests", "tools", "runs", "dist", "data")
    autobuild(
        ["--nitpicky", "--keep-going", "--quiet", "--port", str(args.port), "-c", str(conf)]
        + ["-d", str(BUILD / "watch" / "doctrees")]
        + [word for name in others for word in ("--ignore", str(ROOT / name))]
        + ([] if args.no_open else ["--open-browser"])
        + [str(ROOT), str(BUILD / "watch" / "html")]
    )  # fmt: skip


if __name__ == "__main__":
    main()
