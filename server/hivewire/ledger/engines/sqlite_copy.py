"""A consistent copy of a file, also of one that a gateway has open."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from hivewire.ledger.engines.sqlite_file import RUNS, beside, location, new_name
from hivewire.ledger.journal import JournalError

NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of file systems that have no hard links (FAT, some network mounts)."""

PAGES = 1_000
"""Pages that are copied between two reports of progress."""

UNFINISHED = ".hivewire-unfinished"
"""The end of the name of an unfinished file, which no other program uses."""

Progress: TypeAlias = Callable[[int, int], None]
"""Gets the pages that are done, and all of them."""


def silent(done: int, total: int) -> None:
    """Report no progress."""


def copy(source: Path, target: Path, progress: Progress = silent) -> None:
    """Copy the file at `source` as it is now into the new file `target`, with a new epoch and a new run.

    The copy is closed, and may have an older schema. Raises FileExistsError, OSError, sqlite3.Error, and JournalError
    for a damaged copy.
    """
    with new_file(target) as unfinished:
        _copy(source, unfinished, progress)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """An empty file to fill, which then appears at `target`: complete and readable by its owner only, or not at all.

    What is left of it when the process is killed is removed by the next one in that directory.
    """
    unfinished = target.with_name(target.name + UNFINISHED)
    _sweep(target.parent)
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield unfinished
        sync(unfinished)
        _publish(unfinished, target)
        sync(target.parent)
    finally:
        unfinished.unlink(missing_ok=True)
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove the unfinished files of killed processes: those that no process has locked."""
    for path in folder.glob("*" + UNFINISHED):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beside(path, "-journal").unlink(missing_ok=True)
            path.unlink()


def _copy(source: Path, target: Path, progress: Progress) -> None:
    with closing(sqlite3.connect(location(source, "ro"), uri=True, isolation_level=None)) as original:
        # One read transaction for the whole copy, which is the state of this moment, whatever is written during it.
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM meta").fetchone()
        with closing(sqlite3.connect(target, isolation_level=None)) as made:
            made.execute("PRAGMA journal_mode = OFF")  # an unfinished copy is deleted anyway
            original.backup(made, pages=PAGES, progress=lambda _, remaining, total: progress(total - remaining, total))
            made.execute("PRAGMA journal_mode = DELETE")
            made.execute("PRAGMA synchronous = FULL")
            made.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (new_name(),))
            if made.execute("PRAGMA user_version").fetchone()[0] >= RUNS:
                made.execute("UPDATE life SET run = ?", (new_name(),))
            (verdict,) = made.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise JournalError(f"the copy of {source} is damaged ({verdict}); it was deleted")


def _publish(unfinished: Path, target: Path) -> None:
    """Give the finished copy its name. Raises FileExistsError when a file of that name exists by now."""
    try:
        os.link(unfinished, target)  # unlike a rename, this overwrites nothing
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # The name is made ours first; a crash right here leaves an empty file, which a gateway takes for a new ledger.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            os.replace(unfinished, target)
        except OSError:
            target.unlink()
            raise


def sync(path: Path) -> None:
    """Wait until the file, or the directory with its names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
