"""The output of commands, in the form that `-o` names. Other people wrote the values, so escape sequences in them must
not reach the terminal.

Without `-o` a list is a table on a terminal, and one JSON object per line elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO, TypeVar

import click
import msgspec

from hivewire.cli.errors import FORM

FORMS = ("table", "json", "yaml", "value")

NARROWEST = 4
"""Columns are not made narrower than this; where they do not fit, each cell has a line of its own."""

Row = dict[str, Any]
"""The object that a line shows, with the members of the API."""

Columns = Mapping[str, Callable[[Row], str]]
"""The columns of a table: the heading, and the cell of a row. The cells of a Text are cut on a narrow terminal; times,
numbers, ids and states are whole, because a part of one says nothing."""


@dataclass(frozen=True)
class Text:
    """A column of names, values or sentences."""

    cell: Callable[[Row], str]

    def __call__(self, row: Row) -> str:
        """The cell of a row."""
        return self.cell(row)


_F = TypeVar("_F", bound=Callable[..., Any])


def form_option(*flags: str) -> Callable[[_F], _F]:
    """Add an option for the form of the output, and `--json` as a shorthand for `-o json`; both set `form`."""
    early: dict[str, Any] = {"is_eager": True, "callback": _remember_form}  # an error about other options is in it too
    form = click.option(
        *flags, "form", type=click.Choice(FORMS), help="The output format; 'value' prints only the value.", **early
    )
    short = click.option("--json", "form", flag_value="json", help="The same as -o json: one object per line.", **early)
    return lambda command: short(form(command))


def _remember_form(context: click.Context, option: click.Parameter, form: str | None) -> str | None:
    if form is not None:
        context.meta[FORM] = form
    return form


output_option = form_option("-o", "--output")
"""The option of every command that prints."""


def show(rows: Iterable[Row], form: str | None, columns: Columns, value: str) -> None:
    """Print rows: in `form`, or else a table on a terminal and JSON into a pipe. `value` is a column's heading."""
    form = form or _usual_form()
    if form == "table":
        _print_table(rows, columns)
    else:
        for row in rows:
            print_row(row, form, columns[value](row))


def show_one(row: Row, form: str | None, columns: Columns, value: str) -> None:
    """Print one row as `show` does, but its table has a line for each column, in which nothing is cut."""
    form = form or _usual_form()
    if form == "table":
        _print_cells([[*columns], [printable(cell(row)) for cell in columns.values()]])
    else:
        print_row(row, form, columns[value](row))


def _usual_form() -> str:
    return "table" if sys.stdout.isatty() else "json"


def print_result(row: Row, form: str | None, words: str, value: str) -> None:
    """Print a result: the sentence `words`, unless `form` asks for the row or its value."""
    if not in_words(form):
        row = {name: encodable(told) if isinstance(told, str) else told for name, told in row.items()}
        print_row(row, form, encodable(value))
    elif words:
        click.echo(words)


def aligned(words: Mapping[str, str]) -> str:
    """A line for each word and its text."""
    width = max(map(len, words))
    return "\n".join(f"{name:{width}}  {text}".rstrip() for name, text in words.items())


def in_words(form: str | None) -> bool:
    """Whether one thing is printed for people: a table of one row is a sentence."""
    return form in (None, "table")


def value_in_pipes() -> str | None:
    """The form of output that scripts keep in a variable: a sentence on a terminal, only the value into a pipe."""
    return None if sys.stdout.isatty() else "value"


def print_row(row: Row, form: str | None, value: str) -> None:
    """Print one row as JSON, as YAML, or only its `value`."""
    if form == "json":
        echo_json(row)
    elif form == "yaml":
        click.echo(b"---\n" + _yaml(row), nl=False)
    else:
        click.echo((lines(value) if sys.stdout.isatty() else value).encode())


def _yaml(row: Row) -> bytes:
    """A YAML document. Characters that could control a terminal are written as YAML escapes."""
    import yaml

    text: str = yaml.safe_dump(row, allow_unicode=True, sort_keys=False, width=1_000_000)
    if lines(text) != text:
        text = yaml.safe_dump(row, allow_unicode=False, sort_keys=False, width=1_000_000)
    return text.encode()


def _print_table(rows: Iterable[Row], columns: Columns) -> None:
    """A line for each row, in aligned columns. On a terminal the widest cells that may be cut are, until lines fit."""
    from rich.cells import cell_len

    table = [[*columns], *([printable(cell(row)[:1_000]) for cell in columns.values()] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    room = (shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize) - 2 * (len(widths) - 1)
    cut = [number for number, column in enumerate(columns.values()) if isinstance(column, Text)]
    if sum(widths) - sum(max(0, widths[column] - NARROWEST) for column in cut) > room:
        _print_cells(table)
        return
    while sum(widths) > room:
        widths[max(cut, key=widths.__getitem__)] -= 1
    for number, line in enumerate(table):
        text = "  ".join(_fit(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)


def _print_cells(table: list[list[str]]) -> None:
    """Each row as lines of a heading and a cell, with an empty line between rows."""
    headings, *rows = table
    widest = max(map(len, headings))
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for heading, cell in zip(headings, row, strict=True):
            click.echo(f"{click.style(heading.ljust(widest), bold=True)}  {cell}".rstrip())


def _fit(cell: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return set_cell_size(cell, width) if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…"


def local(time: str | None) -> str:
    """A UTC time of the API as local time with its zone; empty for None."""
    if time is None:
        return ""
    return datetime.fromisoformat(time).replace(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def as_json(value: Any) -> str:
    """A value in a table or a line; empty for null."""
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def printable(text: str) -> str:
    """The text on one line; every character that is not visible is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def encodable(text: str) -> str:
    """The text with escapes for what UTF-8 cannot encode: file names may have bytes that are no characters."""
    return text.encode(errors="backslashreplace").decode()


def on_one_line(text: str) -> str:
    """A message of the gateway on one line: some of DeviceHive's messages have line breaks."""
    return printable(" ".join(text.split()))


def echo_json(value: Any, err: bool = False) -> None:
    """Print JSON on a line of its own, in UTF-8 with any locale, without terminal escape sequences."""
    click.echo(printable_json(msgspec.json.encode(value)).encode(), err=err)


def lines(text: str) -> str:
    """The text with its line breaks and tabs; every other character that is not visible is written as an escape."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def printable_json(data: bytes) -> str:
    """A JSON document in which every character that is not visible is written as a JSON escape."""
    text = data.decode()
    if text.isprintable():  # as most are: to look at each character takes twenty times longer
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def shorten(text: str, most: int) -> str:
    """The beginning of a text from other people, on one line."""
    return printable(text[:most]) + ("..." if len(text) > most else "")


def print_bytes(data: bytes) -> None:
    """Write to standard output, past its buffer, so that a full disk is noticed here. Raises ClickException."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"cannot write to standard output: {error.strerror}") from None


def members(reply: dict[str, Any]) -> dict[str, Any]:
    """The members of a reply, without those of its envelope."""
    return {name: value for name, value in reply.items() if name not in ("action", "requestId", "status")}


def warn(text: str) -> None:
    """Say on standard error what the user should know, although the command goes on."""
    click.echo(f"hivewire: warning: {text}", err=True)


def drop_output(stream: TextIO) -> None:
    """Standard output or error has failed: write what is buffered nowhere, because it would fail again at the exit."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
