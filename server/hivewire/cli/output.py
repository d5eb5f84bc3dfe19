"""How text that others wrote is shown. A value can hold anything, so nothing of it may steer the reader's terminal."""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec


def printable(text: str) -> str:
    """The text on one line, with everything that is no visible character written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def on_one_line(text: str) -> str:
    """The gateway's words as a sentence: some of DeviceHive's have line breaks in them."""
    return printable(" ".join(text.split()))


def echo_json(value: Any) -> None:
    """Print JSON on a line of its own, UTF-8 whatever the locale, with nothing in it that steers a terminal."""
    click.echo(printable_json(msgspec.json.encode(value)).encode())


def lines(text: str) -> str:
    """The text with its lines and tabs, and everything else that is no visible character written as an escape."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def printable_json(data: bytes) -> str:
    """A JSON document with everything in it that is no visible character written as JSON's own escape."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in data.decode())


def shortened(text: str, most: int) -> str:
    """The beginning of a text that others wrote, on one line."""
    return printable(text[:most]) + ("..." if len(text) > most else "")
