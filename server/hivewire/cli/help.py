"""Lists of commands in a help, without sentences that end in the middle."""

from __future__ import annotations

import re

import click

_END = re.compile(r"[:;,] ")


def brief(sentence: str, width: int) -> str:
    """A sentence without its full stop; where it is too wide, only what is before its first colon or comma."""
    text = sentence.removesuffix(".")
    return text if len(text) <= width else _END.split(text)[0]


class Group(click.Group):
    """A group of commands, listed in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, but in whole phrases."""
        width = formatter.width - 6 - max(map(len, self.commands))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, brief(command.get_short_help_str(1_000), width)) for name, command in self.commands.items()]
            )


class WholeNumber(click.IntRange):
    """A number of an option or argument, which errors call a whole number."""

    name = "whole number"
