"""The check of a file before it is served: is it the one that was served last, with all files that belong to it?

A clean stop leaves a closed file (`Header`). A start writes a new `run` to the file and to `FILE.lock`. So a start can
recognize what operators did to the files in between:

* a WAL beside a closed file belongs to another file, and is renamed;
* an open file without a WAL has lost it, and the start is refused;
* a file with another run than the note, with fewer changes, or without a note, is not the one that was served last. It
  gets a new epoch, so that no client resumes over the difference.

A copy of the whole directory cannot be recognized.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from hivewire.files import beside, free_name
from hivewire.ledger.engines.sqlite.file import (
    ROOM,
    RUNS,
    Header,
    check,
    creation_script,
    header_of,
    location,
    new_name,
    require_access,
    run_of,
    tail_of,
)
from hivewire.ledger.engines.sqlite.file_lock import FileLock, LockNote, lock_of, read_note
from hivewire.ledger.engines.sqlite.migrations import migrate
from hivewire.ledger.records import JournalError, WrongFile
from hivewire.telemetry import log

ACCEPT_LOSS = "; or go on without the changes in it: hivewire serve --accept-loss"

LARGE_FILE = 64 << 20
"""Loading a file of this size takes seconds, so the log says that loading has begun."""


def require_ledger(path: Path) -> None:
    """Raise JournalError when there is no ledger to open, only a place for a new one."""
    if not path.exists() or not path.stat().st_size:
        raise JournalError(f"{path} is empty, not a Hivewire ledger; it was left untouched")


def report(path: Path) -> None:
    """Log that a large file is being loaded."""
    size = path.stat().st_size
    if size > LARGE_FILE:
        log.info("loading", data=str(path), bytes=size)


def warn_of_readers(path: Path) -> None:
    """Warn of a ledger that others can open, perhaps a copied one. The mode is not changed: it may be intended."""
    found = path.stat()
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode, remedy = f"{stat.S_IMODE(found.st_mode):04o}", f"chmod 600 {shlex.quote(str(path))}"
        log.warning("other users can open the data file, which holds secrets", mode=mode, remedy=remedy)


def begin(path: Path, lock: FileLock, *, accept_loss: bool) -> LockNote:
    """Check the file, create its tables if it is empty, migrate it, and begin a run, which is noted.

    The file is closed afterwards, if no other process reads it. Raises JournalError, and leaves the file as it was.
    """
    header = header_of(path)
    if not _is_foreign(path, header, lock.noted):
        _roll_back(path)
        header = header_of(path)
    reason = settle(path, header, lock.noted, accept_loss=accept_loss)
    if header is not None:
        require_access(path, os.R_OK | os.W_OK)
        check(path)
        _require_restored(path, accept_loss=accept_loss)
        migrate(path, header)
    with closing(sqlite3.connect(location(path, "rw"), uri=True, isolation_level=None, timeout=0)) as connection:
        return _begin(path, lock, connection, reason)


def _roll_back(path: Path) -> None:
    """Roll back an unfinished earlier start before anything is read, because a copy of the file could not do that."""
    journal = beside(path, "-journal")
    if journal.exists() and journal.stat().st_size:
        with closing(sqlite3.connect(location(path, "rw"), uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")


def require_readable(path: Path, *, accept_loss: bool) -> None:
    """Check a file that cannot be written, and is not written to. Raises JournalError."""
    header = header_of(path)
    if header is None:
        raise JournalError(f"{path} is empty and read-only")
    loss = loss_of(path, header, read_note(path))
    if loss is not None and not accept_loss:
        raise WrongFile(loss + ACCEPT_LOSS)
    require_access(path, os.R_OK)
    check(path)
    _require_restored(path, accept_loss=accept_loss)
    migrate(path, header)


def _require_restored(path: Path, *, accept_loss: bool) -> None:
    """Raise WrongFile for a file whose restore was killed: it may lack the messages of devices."""
    with closing(sqlite3.connect(location(path, "ro"), uri=True)) as connection:
        found = connection.execute("SELECT value FROM meta WHERE name = 'unfinished'").fetchone()
    if found is not None and not accept_loss:
        again = f"hivewire restore {shlex.quote(found[0])} --data {shlex.quote(str(path))}"
        raise WrongFile(
            f"a restore of {path} was killed before its end, and the messages of devices may be missing: {again};"
            " or go on without them: hivewire serve --accept-loss"
        )


def _begin(path: Path, lock: FileLock, connection: sqlite3.Connection, reason: str | None) -> LockNote:
    run = new_name()
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'change'").fetchone():
        if lock.noted is not None and lock.noted.tail:
            log.warning("the previous data file is missing; a new one was created", data=str(path))
        lock.note(note := LockNote(run, run))
        connection.executescript(creation_script(run))
        return note
    shut = close_wal(connection)
    (tail,) = connection.execute(f"SELECT ifnull(max(place), 0) / {ROOM} FROM change").fetchone()
    (before,) = connection.execute("SELECT run FROM life").fetchone()
    if reason is None and lock.noted is not None and tail < lock.noted.tail:
        reason = "it lacks changes that it had"
    # Noted before the file gets the new run: until the start is over, the file may have either.
    lock.note(LockNote(run, before, tail, shut))
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE life SET run = ?", (run,))
    if reason is not None:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (new_name(),))
        log.warning(
            "the data file has changed since it was last served; clients that follow changes get the whole state",
            data=str(path),
            reason=reason,
        )
    connection.execute("COMMIT")
    return LockNote(run, run if shut else before, tail, shut)


def close_wal(connection: sqlite3.Connection) -> bool:
    """Write the WAL back and remove it. False when that is not possible now, because another process reads the file."""
    try:
        return bool(connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False


def settle(path: Path, header: Header | None, note: LockNote | None, *, accept_loss: bool) -> str | None:
    """Rename files that do not belong to the data file. Returns the reason for a new epoch, if it needs one.

    Raises WrongFile when a part of the data is missing and the loss was not accepted.
    """
    loss = loss_of(path, header, note)
    if loss is not None and not accept_loss:
        raise WrongFile(loss + ACCEPT_LOSS)
    foreign = _is_foreign(path, header, note)
    if foreign or loss is not None or (header is not None and not header.open):
        set_aside(beside(path, "-wal"))
    if foreign:
        set_aside(beside(path, "-journal"))
    if header is None:
        return None
    if loss is not None:
        return "the loss of changes was accepted"
    if note is None:
        return f"{lock_of(path).name} is missing or says nothing" if header.version >= RUNS else None
    return "it is of another run than the one before" if foreign else None


def loss_of(path: Path, header: Header | None, note: LockNote | None) -> str | None:
    """What is missing, and what the operator can do; None when the file is complete as far as can be determined."""
    wal = beside(path, "-wal")
    written = wal.exists() and wal.stat().st_size > 0
    if header is None:
        return f"{path} is missing or empty, but {wal} has changes of it: move the file here too" if written else None
    if not header.open:
        return None
    foreign = _is_foreign(path, header, note)
    # Nothing is lost when another program that opened the file wrote the WAL back.
    whole = note is not None and not foreign and (note.shut or tail_of(path) >= note.tail)
    if header.version >= RUNS and not written and not whole:
        state = "empty: put it back" if wal.exists() else "missing: move it here too"
        return f"{path} was not closed, and its last changes are in {wal.name}, which is {state}"
    if foreign and written:
        return (
            f"{path} is not the file that was served here last, and may not be the one that {wal.name} belongs to:"
            f" if you moved both here, remove {lock_of(path).name}"
        )
    return None


def _is_foreign(path: Path, header: Header | None, note: LockNote | None) -> bool:
    """Whether the file was put here since the note was made."""
    if header is None or note is None:
        return False
    run = run_of(path, header)
    return run is not None and run not in (note.run, note.before)


def require_whole(path: Path) -> Header:
    """The header of a file that is only read, perhaps while its gateway runs. Raises JournalError if it is incomplete.

    A backup is closed, so it is complete without other files.
    """
    header = header_of(path)
    if header is None:
        raise JournalError(f"{path} is empty, not a Hivewire ledger")
    loss = loss_of(path, header, read_note(path))
    if loss is not None:
        raise JournalError(loss)
    wal = beside(path, "-wal")
    if not header.open and wal.exists() and wal.stat().st_size:
        raise JournalError(f"{wal} does not belong to {path}; the next start of the gateway renames it")
    require_access(path, os.R_OK)
    return header


def set_aside(path: Path) -> None:
    """Rename a file that is not empty, so that SQLite does not find it, and log its new name."""
    if path.exists() and path.stat().st_size:
        aside = free_name(path, "set-aside")
        path.rename(aside)
        log.warning("a file that does not belong to the data file was renamed", file=str(path), now=str(aside))
