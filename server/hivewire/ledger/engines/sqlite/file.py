"""The identity and schema of a data file, and the check before it is opened."""

from __future__ import annotations

import os
import secrets
import shlex
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

from msgspec import Struct

from hivewire.files import beside, uri
from hivewire.ledger.engines.sqlite.file_lock import NO_RUN
from hivewire.ledger.records import JournalError, WrongFile

APPLICATION_ID = 0x48765772  # "HvWr": tells our files from other SQLite databases
SCHEMA_VERSION = 5
ROOM = 1_024
"""Places of a revision: at least MAX_APPEND, see schema.sql."""

RUNS = 3
"""The first schema with a `run`, whose header also says whether the file was closed."""


class Header(Struct, frozen=True):
    """The first bytes of a data file: its schema, and whether it is in WAL mode.

    A gateway that stops takes the file out of WAL mode. So `open` means that one is running, or that it was killed and
    the WAL holds the last changes. Before schema RUNS all files are `open`, except for backups.
    """

    version: int
    open: bool


class Origin(Struct, frozen=True):
    """What a restored file says of itself until a gateway serves it: the file that it is a copy of, and its epoch."""

    file: str
    epoch: str


def header_of(path: Path) -> Header | None:
    """The header; None when there is no file or an empty one. Raises WrongFile for a file that is not ours."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(b"SQLite format 3\0") or len(header) < 100:
        raise WrongFile(f"{path} is not a Hivewire ledger (not an SQLite database); it was left untouched")
    if int.from_bytes(header[68:72]) != APPLICATION_ID:
        raise WrongFile(f"{path} is an SQLite database of another application; it was left untouched")
    version = int.from_bytes(header[60:64])
    if not 1 <= version <= SCHEMA_VERSION:
        raise WrongFile(
            f"{path} has schema version {version}, but this version of Hivewire uses {SCHEMA_VERSION};"
            " it was left untouched. Use the version of Hivewire that wrote it"
        )
    return Header(version, header[18] == 2)


def run_of(path: Path, header: Header) -> str | None:
    """The run that the file itself shows, whatever a WAL beside it says; None when that cannot be read."""
    if header.version < RUNS:
        return NO_RUN
    found = _without_wal(path, "SELECT run FROM life")
    return None if found is None else str(found)


def tail_of(path: Path) -> int:
    """The last revision in the file itself, whatever a WAL beside it says; 0 when that cannot be read."""
    return int(_without_wal(path, f"SELECT max(place) / {ROOM} FROM change") or 0)


def _without_wal(path: Path, query: str) -> Any:
    try:
        with closing(sqlite3.connect(uri(path, "ro") + "&immutable=1", uri=True)) as connection:
            # After an interrupted checkpoint the first page may announce pages that are only in the WAL.
            connection.execute("PRAGMA writable_schema = ON")
            return connection.execute(query).fetchone()[0]
    except (sqlite3.DatabaseError, TypeError):
        return None


def check(path: Path) -> None:
    """Raise WrongFile for a file that is damaged, and JournalError for one that is half written. Never writes to it."""
    try:
        with closing(sqlite3.connect(location(path, "ro"), uri=True)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
            raise half_written(path) from None
        if isinstance(error, sqlite3.OperationalError):  # locked, or the disk fails: it says nothing of the content
            raise
        verdict = str(error)
    if verdict != "ok":
        said = verdict.splitlines()[-1]  # the first line names the database, always `main`
        remedy = "Restore a whole backup: hivewire restore"
        raise WrongFile(f"{path} is damaged ({said}); it was left untouched. {remedy}")


def half_written(path: Path) -> JournalError:
    """The error for a file with a rollback journal that cannot be used, because the file is only read."""
    remedy = f"start the gateway once, or: hivewire vacuum --data {shlex.quote(str(path))}"
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        remedy = "this process may not write there to repair it. As a user who may, " + remedy
    return JournalError(f"a vacuum or a start that was killed has left {path} half written; {remedy}")


def require_access(path: Path, mode: int) -> None:
    """Raise JournalError for a file beside the data file that this process may not open, for `os.access` modes.

    SQLite says of it only that it is unable to open a database, which is no reason to restore a backup.
    """
    for name in (beside(path, "-wal"), beside(path, "-shm")):
        if name.exists() and not os.access(name, mode):
            raise JournalError(f"cannot open {name}: Permission denied; it must belong to the owner of {path.name}")


def location(path: Path, mode: str) -> str:
    """The SQLite URI of a file.

    For reading it is opened as immutable, which ignores a WAL, in a read-only directory without a WAL, and when the
    file was closed: then a WAL beside it is of another file. Not beside a rollback journal, which would be ignored too:
    the file may be half written, and SQLite refuses to read it.
    """
    immutable = False
    if mode == "ro" and not _written(beside(path, "-journal")):
        header, wal = header_of(path), beside(path, "-wal").exists()
        immutable = not os.access(path.parent, os.W_OK) and not wal
        immutable |= wal and header is not None and not header.open
    return uri(path, mode) + ("&immutable=1" if immutable else "")


def _written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def resolved(path: Path) -> Path:
    """The file that a symbolic link leads to, because the WAL and the lock are beside that one."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def creation_script(run: str = NO_RUN) -> str:
    """The statements that turn an empty file into a data file, in one transaction."""
    schema = files("hivewire.ledger.engines.sqlite").joinpath("schema.sql").read_text()
    return (  # only constants and random names are put in
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {schema}"
        f"INSERT INTO meta VALUES ('epoch', '{new_name()}'); INSERT INTO life VALUES ('{run}'); COMMIT;"
    )


def new_name() -> str:
    """A name that no other history and no other run has."""
    return secrets.token_hex(8)
