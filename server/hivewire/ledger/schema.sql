-- Schema 1. `change` is the log; a record's current state is its last change, found through `change_by_key`.
-- `place` is revision * 1024 + the change's number in its transaction: order and revision in one key.
CREATE TABLE change (
    place        INTEGER PRIMARY KEY,
    kind         TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    id           INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    content      BLOB,              -- NULL: a delete
    content_type TEXT    NOT NULL,
    time         INTEGER NOT NULL,  -- milliseconds since 1970
    author       TEXT,
    description  TEXT
) STRICT;
CREATE UNIQUE INDEX change_by_key ON change (kind, key, place);
-- `epoch`, and under `note:` the small facts that are no changes.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
