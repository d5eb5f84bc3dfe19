"""What makes an SQLite file a ledger: its identity and schema, and the check before it is opened."""

from __future__ import annotations

import os
import secrets
import sqlite3
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from hivewire.ledger.journal import JournalError

APPLICATION_ID = 0x48765772  # "HvWr": tells our files from other SQLite databases
SCHEMA_VERSION = 2


def inspect(path: Path) -> None:
    """Raise JournalError for a file that is not ours, of another version or damaged. Never writes to it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(b"SQLite format 3\0") or len(header) < 100:
        raise JournalError(f"{path} is not a Hivewire ledger (not an SQLite database); it was left untouched")
    if int.from_bytes(header[68:72]) != APPLICATION_ID:
        raise JournalError(f"{path} is an SQLite database of another application; it was left untouched")
    version = int.from_bytes(header[60:64])
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"{path} has schema version {version}, this Hivewire knows {SCHEMA_VERSION}; it was left untouched."
            " Use the version of Hivewire that wrote it"
        )
    journal = path.with_name(path.name + "-journal")
    if journal.exists() and journal.stat().st_size:
        return  # its creation was interrupted: SQLite rolls that back on opening, and the file is made anew
    try:
        connection = sqlite3.connect(location(path, "ro"), uri=True)
        try:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise JournalError(f"{path} is damaged ({verdict}); it was left untouched. Restore a backup")


def location(path: Path, mode: str) -> str:
    """The SQLite URI of a file. In a read-only directory and without a WAL it is opened as immutable."""
    wal = path.with_name(path.name + "-wal")
    immutable = mode == "ro" and not os.access(path.parent, os.W_OK) and not wal.exists()
    return f"file:{quote(str(path.absolute()))}?mode={mode}" + ("&immutable=1" if immutable else "")


def creation_script() -> str:
    """The statements that make an empty file ours, in one transaction."""
    schema = files("hivewire.ledger.engines").joinpath("schema.sql").read_text()
    return (  # only constants and the epoch are put in
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {schema}"
        f"INSERT INTO meta VALUES ('epoch', '{new_epoch()}'); COMMIT;"
    )


def new_epoch() -> str:
    """A name that no other history has."""
    return secrets.token_hex(8)
