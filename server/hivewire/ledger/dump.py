"""A whole ledger as lines of JSON, and back: what `hivewire dump` and `hivewire load` do.

`create` makes a new ledger of changes that are from elsewhere.

The form is documented in docs/dump.md and does not change with the schema of the data file: what format 1 says today
can be loaded by every later version.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Annotated, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from hivewire.ledger.backup import explain_errors, locked, note_placed
from hivewire.ledger.engines.sqlite.audit import COLUMNS as AUDIT_COLUMNS
from hivewire.ledger.engines.sqlite.audit import TABLE as AUDIT_TABLE
from hivewire.ledger.engines.sqlite.copy import copy, new_file
from hivewire.ledger.engines.sqlite.file import (
    ROOM,
    SCHEMA_VERSION,
    check,
    creation_script,
    location,
    new_name,
    resolved,
)
from hivewire.ledger.engines.sqlite.file_lock import require_free
from hivewire.ledger.engines.sqlite.start import require_whole
from hivewire.ledger.journal import AUDITED, audit_row
from hivewire.ledger.records import KINDS, Change, JournalError

FORMAT = 1

Number: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 52)]
"""Integers up to 2⁵²: the place of such a revision in the data file is one that SQLite can store."""


class BadDump(JournalError):
    """The lines are not a complete dump that this version can load; the message names the line."""


class Head(Struct, tag="dump", tag_field="line", forbid_unknown_fields=True):
    """The first line."""

    format: int


class Note(Struct, tag="note", tag_field="line", forbid_unknown_fields=True):
    """A small fact beside the log."""

    name: str
    value: str


class Logged(Struct, tag="change", tag_field="line", rename="camel", forbid_unknown_fields=True):
    """A change. Its content is `text`, or `base64` when it is not UTF-8; a delete has neither."""

    revision: Number
    kind: str
    key: str
    id: Number
    version: Number
    previous: Number
    ordinal: Number
    time: Number
    content_type: str
    author: str | None
    description: str | None
    text: str | UnsetType = UNSET
    base64: str | UnsetType = UNSET


class Audited(Struct, tag="audit", tag_field="line", forbid_unknown_fields=True):
    """A row of the audit."""

    time: Number
    kind: str
    subject: str
    record_id: Number = field(name="record")
    author: str | None
    address: str | None
    count: Number
    detail: msgspec.Raw
    number: Number


class End(Struct, tag="end", tag_field="line", forbid_unknown_fields=True):
    """The last line: the number of changes, so that an incomplete dump is noticed."""

    changes: int


Line: TypeAlias = Head | Note | Logged | Audited | End

_COLUMNS = "kind, key, id, version, previous, ordinal, time, content_type, author, description, content"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def dump(source: Path, write: Callable[[bytes], object]) -> int:
    """Hand everything in the ledger at `source` to `write`, a line at a time. Returns the number of changes.

    It is the state of one moment, also while a gateway runs, and `write` may take any time. Raises JournalError, with a
    sentence for the operator, and what `write` raises.
    """
    source = resolved(source)
    if not source.exists():
        raise JournalError(f"there is no data file at {source}; give its path with --data")
    with explain_errors(f"cannot dump {source}"):
        header = require_whole(source)
        if header.version != SCHEMA_VERSION:
            raise JournalError(
                f"{source} has schema version {header.version}; start the gateway once, which migrates it"
            )
        if not header.open:
            check(source)
    connection = _open_copy(source)
    count = 0
    with closing(connection):
        for line in _lines(connection, source):
            count += isinstance(line, Logged)
            write(_encode(line) + b"\n")
    write(_encode(End(count)) + b"\n")
    return count


def dump_file(source: Path, target: Path) -> int:
    """Dump the ledger at `source` into the new file `target`. Returns the number of changes.

    The file appears complete, readable by its owner only, or not at all. Raises JournalError, with a sentence for the
    operator.
    """
    exists = f"{target} exists already; a dump never overwrites a file"
    if target.exists():
        raise JournalError(exists)
    try:
        with explain_errors(f"cannot write {target}"), new_file(target) as unfinished, unfinished.open("wb") as output:
            return dump(source, output.write)
    except FileExistsError:
        raise JournalError(exists) from None


def _open_copy(source: Path) -> sqlite3.Connection:
    """A copy to read for as long as it takes: a reader of the file itself would keep its WAL from being written back.

    The copy is deleted while it is open, so nothing is left of it when this process is killed.
    """
    told = f"cannot dump {source} through a copy in {gettempdir()}"
    with explain_errors(told), TemporaryDirectory(prefix="hivewire-") as folder:
        place = Path(folder) / "copy.db"
        copy(source, place)
        return sqlite3.connect(location(place, "ro"), uri=True, isolation_level=None)


def _lines(connection: sqlite3.Connection, source: Path) -> Iterator[Line]:
    """Everything in the copy of `source`. Errors of the code that takes the lines are not reported as errors of
    `source`."""
    with explain_errors(f"cannot dump {source}"):
        yield Head(FORMAT)
        # The notes about messages are of the file beside this one, which is not in a dump.
        for name, value in connection.execute(
            "SELECT substr(name, 6), value FROM meta WHERE name LIKE 'note:%' AND name NOT LIKE 'note:messages:%'"
            " ORDER BY name"
        ):
            yield Note(name, value)
        for *members, content in connection.execute(f"SELECT place / {ROOM}, {_COLUMNS} FROM change ORDER BY place"):
            change = Logged(*members)
            if content is not None:
                try:
                    change.text = content.decode()
                except UnicodeDecodeError:
                    change.base64 = base64.b64encode(content).decode()
            yield change
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'audit'").fetchone():
            for row in connection.execute(f"SELECT {AUDIT_COLUMNS} FROM audit ORDER BY number"):
                members = dict(zip(Audited.__struct_fields__, row, strict=True))
                yield Audited(**members | {"detail": msgspec.Raw(members["detail"].encode())})


def load(lines: Iterable[bytes], target: Path) -> int:
    """Make the new ledger `target` from the lines of a dump, under a new epoch. Returns the number of changes.

    The file appears complete or not at all. Raises BadDump, or JournalError, with a sentence for the operator.
    """
    return _create(target, _parsed(lines), "a dump is loaded into a new file", f"cannot load into {target}")


def create(target: Path, items: Iterable[Change | Note]) -> int:
    """Make the new ledger `target` from changes in their order, and notes. Returns the number of changes.

    Changes of audited kinds get their rows of the audit. The file appears complete or not at all, also when `items`
    raises. Raises JournalError, with a sentence for the operator.
    """
    return _create(target, enumerate(_lines_of(items), 1), "a new file is needed", f"cannot write {target}")


def _create(target: Path, lines: Iterable[tuple[int, Line]], rule: str, failed: str) -> int:
    target = resolved(target)
    if target.exists():
        raise JournalError(f"{target} exists already; {rule}")
    if not target.parent.is_dir():
        raise JournalError(f"cannot write {target}: {target.parent}: no such directory")
    require_free(target, offline=True)  # a gateway may run whose file was removed
    with explain_errors(failed):
        with new_file(target) as unfinished, closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.executescript(creation_script(new_name()))
            connection.execute("BEGIN")
            count = _fill(connection, lines)
            connection.execute("COMMIT")
        with locked(target) as lock:
            note_placed(lock, target, target.parent)
    return count


def _lines_of(items: Iterable[Change | Note]) -> Iterator[Line]:
    """The lines of a dump with these changes and notes."""
    yield Head(FORMAT)
    count = rows = 0
    for item in items:
        if isinstance(item, Note):
            yield item
            continue
        count += 1
        members = {name: getattr(item, name) for name in Change.__struct_fields__ if name != "content"}
        yield Logged(**members, text=UNSET if item.content is None else item.content.decode())
        if item.kind in AUDITED:
            rows += 1
            row = msgspec.structs.asdict(audit_row(item)) | {"number": rows}
            yield Audited(**row | {"detail": msgspec.Raw(row["detail"].encode())})
    yield End(count)


def _fill(connection: sqlite3.Connection, lines: Iterable[tuple[int, Line]]) -> int:
    count = last = position = 0
    line: Line | None = None
    for number, line in lines:
        match line:
            case Note():
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", ("note:" + line.name, line.value))
            case Logged():
                if line.kind not in KINDS:
                    raise BadDump(f"line {number}: this version of Hivewire does not know the kind {line.kind!r}")
                if line.revision < max(last, 1):
                    raise BadDump(f"line {number}: revision {line.revision} comes after {last}")
                position = position + 1 if line.revision == last else 0
                if position == ROOM:
                    raise BadDump(f"line {number}: revision {last} has more than {ROOM} changes")
                last = line.revision
                count += 1
                _insert(connection, line, last * ROOM + position, number)
            case Audited():
                connection.execute(AUDIT_TABLE)
                row = (*msgspec.structs.astuple(line)[:-2], bytes(line.detail).decode(), line.number)
                connection.execute(
                    f"INSERT OR REPLACE INTO audit ({AUDIT_COLUMNS}) VALUES ({','.join('?' * len(row))})", row
                )
            case End() if line.changes != count:
                raise BadDump(f"line {number}: the end line says {line.changes} changes, but the dump has {count}")
    if not isinstance(line, End):
        raise BadDump("the dump has no end line; it is incomplete")
    return count


def _parsed(lines: Iterable[bytes]) -> Iterator[tuple[int, Line]]:
    """The lines with their numbers. Raises BadDump for one that is none, or not at its place."""
    line: Line | None = None
    for number, text in enumerate(lines, 1):
        if isinstance(line, End):
            raise BadDump(f"line {number}: the dump continues after its end line")
        line = _line(number, text)
        yield number, line


def _line(number: int, text: bytes) -> Line:
    try:
        line: Line = _decode(text)
    except msgspec.DecodeError as error:
        raise BadDump(f"line {number} is not a line of a dump: {error}") from None
    if isinstance(line, Head) != (number == 1):
        raise BadDump(f"line {number}: a dump begins with its only line of the kind 'dump'")
    if isinstance(line, Head) and line.format != FORMAT:
        raise BadDump(f"the dump has format {line.format}, but this version of Hivewire reads format {FORMAT}")
    return line


def _insert(connection: sqlite3.Connection, line: Logged, place: int, number: int) -> None:
    content: bytes | None = None
    if line.text is not UNSET:
        content = line.text.encode()
    elif line.base64 is not UNSET:
        try:
            content = base64.b64decode(line.base64, validate=True)
        except ValueError as error:
            raise BadDump(f"line {number}: base64: {error}") from None
    members = [place, *(getattr(line, name) for name in _COLUMNS.split(", ")[:-1]), content]
    connection.execute(f"INSERT INTO change (place, {_COLUMNS}) VALUES ({','.join('?' * len(members))})", members)
