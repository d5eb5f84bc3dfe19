"""Lines for people that come one after the other, with columns that are aligned as far as they are known."""

from __future__ import annotations

from collections.abc import Iterable

import click

from hivewire.cli.output import printable

WIDEST = 40
"""Columns are aligned up to this many characters."""

Part = str | tuple[str, str]
"""A text, or a text and its style."""


LEAST = 8
"""Characters of the rest of a line that are shown also where the line becomes wider than the terminal."""


class AlignedLines:
    """Prints lines; on a terminal the rest of each is cut to its width."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.text import Text

        self._text = Text
        self._widths: dict[str, int] = {}
        context = click.get_current_context(silent=True)
        plain = context is not None and context.color is False  # rich would leave out colours, but not bold
        self.console = Console(highlight=False, markup=False, color_system=None if plain else "auto")

    def line(self, *parts: Part, rest: Iterable[Part] = ()) -> None:
        """Print a line of `parts`, which are whole, and the `rest`, which is cut where there is no room for it."""
        whole, cut = self._text.assemble(*parts), self._text.assemble(*rest)
        if self.console.is_terminal:
            cut.truncate(max(LEAST, self.console.width - whole.cell_len), overflow="ellipsis")
        self.console.print(whole + cut, soft_wrap=True)

    def cut(self, name: str, least: int, share: int) -> str:
        """A name, on a terminal cut to a share of its width, but not below `least` characters."""
        most = max(least, self.console.width // share)
        return name if len(name) <= most or not self.console.is_terminal else name[: most - 1] + "…"

    def wide(self, column: str, text: str) -> str:
        """The text, padded to the widest of its column so far."""
        text = printable(text)
        self._widths[column] = max(self._widths.get(column, 0), min(len(text), WIDEST))
        return text.ljust(self._widths[column])
