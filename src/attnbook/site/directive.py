"""What all directives share: whatever does not fit is a warning with its place."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

__all__ = ["Directive", "Unfit"]

logger = logging.getLogger(__name__)


class Unfit(ValueError):
    """Something does not fit, and the message says by itself what."""


class Directive(SphinxDirective):
    """Puts :meth:`content_nodes` into the page; where these raise a ValueError, nothing."""

    def content_nodes(self) -> list[nodes.Node]:
        """What stands in the page.

        Raises:
            ValueError: it cannot be made; becomes a warning, so that a build with ``-W`` stops.
        """
        raise NotImplementedError

    @property
    def subject(self) -> str:
        """What a warning is about."""
        return str(self.name)

    def run(self) -> list[nodes.Node]:
        """Called by docutils."""
        try:
            return self.content_nodes()
        except Unfit as error:
            self.warn(str(error))
        except ValueError as error:
            self.warn(f"{self.subject}: {error}")
        return []

    def warn(self, text: str) -> None:
        """Warn, with the directive's place in its page."""
        logger.warning("%s", text, location=self.get_location())

    def folder(self, setting: str) -> Path:
        """A folder that a setting of the extension names."""
        return Path(self.env.srcdir, self.config[setting])
