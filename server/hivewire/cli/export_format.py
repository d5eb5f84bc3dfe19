"""The file format of `hivewire export` and `hivewire import`: JSON with one configuration a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, NamedTuple

import msgspec

from hivewire.cli.errors import BadInput
from hivewire.cli.given import read_all
from hivewire.cli.output import printable, shorten
from hivewire_protocol.nouns.configuration import RESERVED, TEXT, forbidden_character, is_media_type

FORMAT = 1
"""The value of `hivewire` in an export: the version of its format. Other versions are refused."""

MEMBERS = ("name", "value", "entityVersion", "contentType")
"""Members of an entry. `entityVersion` is information for readers and is not imported."""

REPORTED = 20
"""Invalid entries that are listed one by one."""


class BadFile(BadInput):
    """The file cannot be imported; the message says where and why."""


class ImportEntry(NamedTuple):
    """A configuration in the file."""

    name: str
    value: str
    content_type: str


class Object(dict[str, Any]):
    """A JSON object. `repeated` is a member that occurs more than once; the dictionary has only the last one."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(members)
        counts = Counter(name for name, _ in members) if len(self) < len(members) else Counter()
        self.repeated = next((name for name, count in counts.items() if count > 1), None)


def render(resources: Iterable[dict[str, Any]], **head: Any) -> bytes:
    """An export of these resources; `head` are the members before them."""
    lines = [msgspec.json.encode({"hivewire": FORMAT, **head})[:-1] + b',"configurations":[']
    for resource in resources:
        lines.append(msgspec.json.encode({name: resource[name] for name in MEMBERS if name in resource}) + b",")
    if len(lines) > 1:
        lines[-1] = lines[-1][:-1]
    return b"\n".join([*lines, b"]}\n"])


def parse(data: bytes, file: str = "the file") -> list[ImportEntry]:
    """The entries of an export. Raises BadFile, which names `file` and lists the entries that are not valid.

    Limits that are settings of the gateway, such as the longest name, are left to the gateway.
    """
    return checked(_entries(read_json(data, file), file), file)


def checked(entries: Sequence[Any], file: str, what: str = "configurations") -> list[ImportEntry]:
    """Entries that are valid. Raises BadFile as `parse`; `what` is what it calls the list."""
    problems = []
    places: dict[str, int] = {}
    for index, entry in enumerate(entries):
        problem = _problem(entry)
        if problem is None and (first := places.setdefault(entry["name"], index)) != index:
            problem = f"the same name as {what}[{first}]"
        if problem is not None:
            problems.append(f"  {what}[{index}]{_named(entry)}: {problem}")
    if problems:
        more = [f"  and {len(problems) - REPORTED:,} more"] if len(problems) > REPORTED else []
        count = f"{len(problems):,} of {len(entries):,} entries"
        first_line = f"nothing is imported, because {count} of {file} are not valid:"
        raise BadFile("\n".join([first_line, *problems[:REPORTED], *more]))
    return [ImportEntry(entry["name"], entry["value"], entry.get("contentType") or TEXT) for entry in entries]


def label(file: BinaryIO) -> str:
    """How an error calls a file that a command reads."""
    return "standard input" if file.name == "<stdin>" else printable(file.name)


def content_of(file: BinaryIO) -> bytes:
    """All that is in it. Raises BadInput when it cannot be read, or has too much."""
    try:
        return read_all(file)
    except OSError as error:
        raise BadInput(f"cannot read {label(file)}: {error.strerror}") from None


def read_json(data: bytes, file: str) -> Any:
    """The JSON in a file. Raises BadFile, which names `file` and the line that is wrong."""
    try:
        # Some editors put a byte order mark in front of UTF-8.
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=Object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadFile(f"{file} is not UTF-8 text (line {line})") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadFile(f"{file} is not JSON: {where}: {error.msg}") from None
    except RecursionError:
        raise BadFile(f"{file} is nested too deeply") from None
    except ValueError:
        raise BadFile(f"{file} is not JSON: a number in it is too large, or is NaN or Infinity") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # Python's parser knows NaN and Infinity, JSON does not


def _entries(export: Any, file: str) -> list[Any]:
    """The list of entries of an export. Raises BadFile when it is not an export."""
    if not isinstance(export, Object) or "hivewire" not in export:
        raise BadFile(f'{file} is not an export: it must be an object with "hivewire" and "configurations"')
    if export.repeated is not None:
        raise BadFile(f"{file} is not an export: '{shorten(export.repeated, 80)}' occurs more than once")
    if export["hivewire"] is True or export["hivewire"] != FORMAT:
        raise BadFile(f'{file} does not have the format "hivewire":{FORMAT}, which this command reads')
    entries = export.get("configurations")
    if not isinstance(entries, list):
        raise BadFile(f'{file} is not an export: "configurations" must be a list')
    return entries


def _named(entry: Any) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    return f" '{shorten(name, 80)}'" if isinstance(name, str) else ""


def _problem(entry: Any) -> str | None:
    """What is wrong with an entry; None when it is valid."""
    if not isinstance(entry, Object):
        return "not an object"
    if entry.repeated is not None:
        return f"'{shorten(entry.repeated, 80)}' occurs more than once"
    if unknown := [name for name in entry if name not in MEMBERS]:
        return f"unknown member '{shorten(unknown[0], 80)}'; known members are {', '.join(MEMBERS)}"
    if type(entry.get("entityVersion", 0)) is not int:
        return "entityVersion is not a whole number"
    return _problem_of_name(entry) or _problem_of_value(entry) or _problem_of_type(entry.get("contentType"))


def _problem_of_name(entry: Object) -> str | None:
    name = entry.get("name")
    if not isinstance(name, str):
        return "the name is not text" if "name" in entry else "no name"
    if not name:
        return "the name is empty"
    if name == RESERVED:
        return "the name is reserved"
    where = forbidden_character(name)
    return f"the name has a forbidden character: {where}" if where is not None else None


def _problem_of_value(entry: Object) -> str | None:
    value = entry.get("value")
    if not isinstance(value, str):
        return "the value is not text" if "value" in entry else "no value"
    if not value:
        return "the value is empty"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"the value has an unpaired surrogate, which is not a character: position {error.start}"
    return None


def _problem_of_type(content_type: Any) -> str | None:
    if content_type is None:
        return None
    if not isinstance(content_type, str):
        return "contentType is not text"
    return None if is_media_type(content_type) else "contentType must be a media type such as application/json"
