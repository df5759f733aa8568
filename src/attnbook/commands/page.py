"""Pages that need nothing beside them: the moving figure of one sentence, and a form above it."""

from __future__ import annotations

from html import escape

__all__ = ["page"]

# The page follows the reader's choice of light and dark, as the figure does.
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font-family: system-ui, sans-serif; line-height: 1.5; margin: 2rem auto; max-width: 60rem;
  padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere; }}
form {{ display: flex; flex-wrap: wrap; gap: 0.5rem; margin: 1rem 0; }}
label {{ flex-basis: 100%; }}
input {{ flex: 1 1 16rem; font: inherit; padding: 0.4rem; min-width: 0; }}
button {{ font: inherit; padding: 0.4rem 1rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def page(title: str, body: str) -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML, for instance from :func:`attnbook.figures.embedded.LiveFigure.html`.
    """
    return _PAGE.format(title=escape(title), body=body)
