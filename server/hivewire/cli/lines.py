"""Lines for people that come one after the other, with columns that are aligned as far as they are known."""

from __future__ import annotations

from typing import Literal

from hivewire.cli.output import printable

WIDEST = 40
"""Columns are aligned up to this many characters."""

Part = str | tuple[str, str]
"""A text, or a text and its style."""


class AlignedLines:
    """Prints lines; on a terminal each is cut to its width."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.text import Text

        self._text = Text
        self._widths: dict[str, int] = {}
        self.console = Console(highlight=False, markup=False)

    def line(self, *parts: Part) -> None:
        """Print a line."""
        fits = self.console.is_terminal
        overflow: Literal["ellipsis", "ignore"] = "ellipsis" if fits else "ignore"
        self.console.print(self._text.assemble(*parts), no_wrap=True, overflow=overflow, crop=fits)

    def cut(self, name: str, least: int, share: int) -> str:
        """A name, on a terminal cut to a share of its width, but not below `least` characters."""
        most = max(least, self.console.width // share)
        return name if len(name) <= most or not self.console.is_terminal else name[: most - 1] + "…"

    def wide(self, column: str, text: str) -> str:
        """The text, padded to the widest of its column so far."""
        text = printable(text)
        self._widths[column] = max(self._widths.get(column, 0), min(len(text), WIDEST))
        return text.ljust(self._widths[column])
