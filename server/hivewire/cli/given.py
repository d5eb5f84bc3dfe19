"""Types of arguments and options that click does not have."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
from msgspec import Raw

MOST_INPUT = 1 << 30
"""The most bytes of a file that a command reads into memory. Some, such as `/dev/zero`, have no end."""

PORTION = 1 << 20
"""Bytes that are read at a time."""

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class JsonObject(click.ParamType[Raw]):
    """A JSON object or null: the text itself, the file behind `@`, or standard input for `-`. It is sent as it is."""

    name = "json"
    wanted = "must be a JSON object"

    def accepts(self, found: object) -> bool:
        """Whether this JSON value is accepted."""
        return found is None or isinstance(found, dict)

    def convert(self, value: str | Raw, param: click.Parameter | None, ctx: click.Context | None) -> Raw:
        """The JSON as bytes. Fails for what cannot be read or is something else."""
        if isinstance(value, Raw):
            return value
        try:
            data = _read(value)
            found = msgspec.json.decode(data)
        except OSError as error:
            self.fail(f"cannot read {value.removeprefix('@')}: {error.strerror}", param, ctx)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.fail(f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}", param, ctx)
        except RecursionError:
            self.fail("is nested too deep", param, ctx)
        if not self.accepts(found):
            self.fail(self.wanted, param, ctx)
        return Raw(data)


class JsonSchema(JsonObject):
    """A JSON Schema, given in the same ways."""

    wanted = "must be a JSON object, true or false"

    def accepts(self, found: object) -> bool:
        """Whether it may be a schema."""
        return isinstance(found, (dict, bool))


def read_all(file: BinaryIO) -> bytes:
    """The bytes of a file or of standard input, up to its end. Raises OSError, also for more than MOST_INPUT."""
    portions, size = list[bytes](), 0
    while portion := file.read(PORTION):
        portions.append(portion)
        size += len(portion)
        if size > MOST_INPUT:
            raise OSError(errno.EFBIG, f"it has more than {MOST_INPUT:,} bytes")
    return b"".join(portions)


def _read(value: str) -> bytes:
    if value == "-":
        return read_all(sys.stdin.buffer)
    if not value.startswith("@"):
        return os.fsencode(value)
    with Path(value[1:]).open("rb") as file:
        return read_all(file)


class Span(click.ParamType[int]):
    """A duration in seconds: 90s, 30m, 12h, 7d."""

    name = "span"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The seconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,9})([smhd])", value)
        if match is None:
            self.fail(f"{value!r} is not a duration such as 90s, 30m, 12h or 7d", param, ctx)
        return int(match[1]) * UNITS[match[2]]


def key_and_value(text: str) -> tuple[str, str]:
    """The two parts of `NAME=VALUE`. Raises UsageError for a text without `=`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is not NAME=VALUE")
    return name, value
