"""From each older schema to the next, in one transaction, with a copy of the file as it was beside it.

To change the schema: change `schema.sql`, count SCHEMA_VERSION up, add the statements here, and put a file of the
version before into `tests/ledger/files`. A new kind of records is a change too, because versions that do not know it
refuse the file: its statements are "".
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from hivewire.files import free_name, remove_unfinished
from hivewire.ledger.engines.sqlite.copy import copy, equals
from hivewire.ledger.engines.sqlite.file import SCHEMA_VERSION, Header, location
from hivewire.ledger.engines.sqlite.file_lock import NO_RUN
from hivewire.ledger.records import JournalError
from hivewire.telemetry import log

# The changes of schema 1 were all kept, so what schema 2 has in addition can be counted.
_TO_2 = """
    ALTER TABLE change RENAME TO change_1;
    CREATE TABLE change (
        place        INTEGER PRIMARY KEY,
        kind         TEXT    NOT NULL,
        key          TEXT    NOT NULL,
        id           INTEGER NOT NULL,
        version      INTEGER NOT NULL,
        previous     INTEGER NOT NULL,
        ordinal      INTEGER NOT NULL,
        time         INTEGER NOT NULL,
        content_type TEXT    NOT NULL,
        author       TEXT,
        description  TEXT,
        content      BLOB
    ) STRICT;
    INSERT INTO change
        SELECT place, kind, key, id, version,
            ifnull(lag(place / 1024) OVER of_key, 0), row_number() OVER of_key,
            time, content_type, author, description, content
        FROM change_1 WINDOW of_key AS (PARTITION BY kind, key ORDER BY place);
    DROP TABLE change_1;
"""

_TO_3 = f"""
    CREATE TABLE life (run TEXT NOT NULL) STRICT;
    INSERT INTO life VALUES ('{NO_RUN}');
"""

# Only the number: gateways of schema 3 may not know the kinds of devices, and would start without a word.
_TO_4 = ""

# Those of fleets.
_TO_5 = ""

MIGRATIONS = {1: _TO_2, 2: _TO_3, 3: _TO_4, 4: _TO_5}
"""The statements that lead from a schema to the next."""


def migrate(path: Path, header: Header) -> None:
    """Migrate a file that no process has open to the current schema. Raises JournalError, and leaves it as it was."""
    if header.version == SCHEMA_VERSION:
        return
    if not os.access(path.parent, os.W_OK) or not os.access(path, os.W_OK):
        raise JournalError(f"{path} has schema version {header.version}, and is read-only: it cannot be migrated")
    remove_unfinished(path.parent)  # it may be another name of a copy that is whole
    kept = earlier = _earlier_copy(path, header)
    if kept is None:
        kept = free_name(path, f"schema{header.version}")
        copy(path, kept)
    script = "".join(MIGRATIONS[version] for version in range(header.version, SCHEMA_VERSION))
    try:
        with closing(sqlite3.connect(location(path, "rw"), uri=True, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    except sqlite3.Error:
        if earlier is None:
            kept.unlink()
        raise
    log.info("the data file was migrated", schema=SCHEMA_VERSION, before=header.version, copy=str(kept))


_TIME = re.compile(r"\d{8}T\d{6}Z(-\d+)?")


def _earlier_copy(path: Path, header: Header) -> Path | None:
    """The copy of an earlier start that was killed before it had migrated the file, if nothing was written since."""
    prefix = f"{path.name}.schema{header.version}-"
    named = (found for found in path.parent.iterdir() if found.name.startswith(prefix))
    copies = (found for found in named if _TIME.fullmatch(found.name.removeprefix(prefix)))
    return next((found for found in copies if equals(found, path)), None)
