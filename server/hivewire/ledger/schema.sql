-- Schema 1. `change` is the log, and nothing but the log: what is current is worked out when it is read at start, and a
-- record's history is followed backwards through `previous`. An index by key would cost a page for every put.
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
    description  TEXT,
    previous     INTEGER NOT NULL   -- revision of the record's change before this one, 0 if none
) STRICT;
-- `epoch`, and under `note:` the small facts that are no changes.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
