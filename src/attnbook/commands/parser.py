"""Parsers whose refusals are one line, and the kinds of values that flags take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from attnbook.errors import UserError
from attnbook.settings import Limits

__all__ = ["Parser", "number", "shown"]


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one: not for switches, and not where the text says it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False) or "default:" in (action.help or ""):
            return action.help
        if isinstance(action.default, tuple):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Refuses what it cannot read by raising :class:`UserError`, and shows defaults in its help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Called by argparse for every slip."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def number(kind: type[int] | type[float], limits: Limits) -> Callable[[str], float]:
    """The ``type`` of a flag that takes a number within limits."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:40]!r}") from None
        if value not in limits:
            raise argparse.ArgumentTypeError(f"must be {limits}, got {text[:40]}")
        return value

    return read


def shown(value: Any) -> str:
    """A default as help texts show it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
