-- Schema 3. `change` is the log, and nothing but the log: what is current is worked out when it is read at start, and a
-- record's history is followed backwards through `previous`. An index by key would cost a page for every put.
-- `place` is revision * 1024 + the change's number in its transaction: order and revision in one key.
CREATE TABLE change (
    place        INTEGER PRIMARY KEY,
    kind         TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    id           INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    previous     INTEGER NOT NULL,  -- revision of the record's change before this one, 0 if none
    ordinal      INTEGER NOT NULL,  -- 1 for the first change of a key, counted on through all its lives
    time         INTEGER NOT NULL,  -- milliseconds since 1970
    content_type TEXT    NOT NULL,
    author       TEXT,
    description  TEXT,
    content      BLOB               -- NULL: a delete; the last, so that the others are read without it
) STRICT;
-- `epoch`, under `note:` the small facts that are no changes, and in a file that was restored and not served since
-- `restored`: where it comes from. In a copy of a shared log `place` is how far it has that.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- The one row names the time from one opening of the file to the next. It has a table of its own, so that its page is
-- written at a start only and can be read without the WAL, also after a checkpoint that was cut short.
CREATE TABLE life (
    run TEXT NOT NULL
) STRICT;
