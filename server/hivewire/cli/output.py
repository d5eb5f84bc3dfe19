"""Prints text that others wrote. A value can hold anything, so escape sequences in it must not reach the terminal."""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec


def printable(text: str) -> str:
    """The text on one line; every character that is not visible is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def on_one_line(text: str) -> str:
    """A message of the gateway on one line: some of DeviceHive's messages have line breaks."""
    return printable(" ".join(text.split()))


def echo_json(value: Any) -> None:
    """Print JSON on a line of its own, in UTF-8 with any locale, without terminal escape sequences."""
    click.echo(printable_json(msgspec.json.encode(value)).encode())


def lines(text: str) -> str:
    """The text with its line breaks and tabs; every other character that is not visible is written as an escape."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def printable_json(data: bytes) -> str:
    """A JSON document in which every character that is not visible is written as a JSON escape."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in data.decode())


def shortened(text: str, most: int) -> str:
    """The beginning of a text that others wrote, on one line."""
    return printable(text[:most]) + ("..." if len(text) > most else "")
