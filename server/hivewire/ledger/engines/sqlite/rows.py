"""Changes as rows of the `change` table: one INSERT for a whole batch, and rows back to changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from msgspec.structs import astuple

from hivewire.ledger.engines.sqlite.file import ROOM
from hivewire.ledger.journal import MAX_APPEND
from hivewire.ledger.records import Change, share

# Columns are the fields of a Change, by their names and in their order; `place` stands for the revision.
_COLUMNS = ("place", *Change.__struct_fields__[1:])
SELECTED = ", ".join(_COLUMNS).replace("place", f"place / {ROOM}")
"""What to select for `change_of`."""

_NULLABLE = frozenset({"content", "author", "description"})
_COMMON = ("kind", "content_type", "time", "author", "description")
"""Columns that are often the same in all rows of a batch, in the order of the table. Then they are bound once: a
quarter less for each row."""


def insertion(changes: Sequence[Change]) -> tuple[str, list[Any]]:
    """The statement that inserts a batch, and its parameters.

    The number 0 is bound for None, because the `sqlite3` module looks for an adapter of every None: binding one takes
    ten times as long. No text or blob equals a number in SQLite, so `nullif` makes NULL of nothing else.
    """
    common: tuple[str, ...] = _COMMON
    values = _alike(changes)
    if values is None:
        common, values = (), _different(changes)
    size = round_up(len(changes))
    values += [0] * ((size - len(changes)) * (len(_COLUMNS) - len(common)))
    return _statement(size, common), values


def round_up(count: int) -> int:
    """Rows in the statement for this number of changes: powers of two up to 8, then steps of 8, then of 64.

    That makes two dozen different statements, which SQLite keeps prepared, and few unused rows: one costs a sixth of a
    used row.
    """
    if count <= 8:
        return 1 << (count - 1).bit_length()
    step = 8 if count <= 64 else 64
    return -(-count // step) * step


@cache
def _statement(size: int, common: tuple[str, ...]) -> str:
    """For up to `size` rows, with the common columns in front; those that are not used have the place 0."""
    assert size <= MAX_APPEND  # noqa: S101 - the ledger makes no larger batch
    varying = [name for name in _COLUMNS if name not in common]
    bound = dict.fromkeys(common, "?")  # without numbers: up to Python 3.12.3 `sqlite3` warns of each
    bound |= {name: f"column{number}" for number, name in enumerate(varying, 1)}
    selected = ", ".join(f"nullif({bound[name]}, 0)" if name in _NULLABLE else bound[name] for name in _COLUMNS)
    rows = ",".join(["(" + ",".join("?" * len(varying)) + ")"] * size)
    return f"INSERT INTO change ({', '.join(_COLUMNS)}) SELECT {selected} FROM (VALUES {rows}) WHERE column1 > 0"


def _alike(changes: Sequence[Change]) -> list[Any] | None:
    """The parameters of changes that share the common columns; None when they do not."""
    first = changes[0]
    kind, content_type, time, author, description = (getattr(first, name) for name in _COMMON)
    values = [kind, content_type, time, 0 if author is None else author, 0 if description is None else description]
    revision = position = -1
    for change in changes:
        if (
            change.kind != kind
            or change.content_type != content_type
            or change.time != time
            or change.author != author
            or change.description != description
        ):
            return None
        position = position + 1 if change.revision == revision else 0
        revision, content = change.revision, change.content
        values += (
            revision * ROOM + position,
            change.key,
            change.id,
            change.version,
            0 if content is None else content,
            change.previous,
            change.ordinal,
        )
    return values


def _different(changes: Sequence[Change]) -> list[Any]:
    """The parameters of any changes."""
    values: list[Any] = []
    revision = position = -1
    for change in changes:
        position = position + 1 if change.revision == revision else 0
        revision = change.revision
        values.append(revision * ROOM + position)
        values += [0 if value is None else value for value in astuple(change)[1:]]
    return values


def change_of(row: Iterable[Any]) -> Change:
    """The change in a row of SELECTED."""
    return share(Change(*row))
