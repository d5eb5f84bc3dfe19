"""A consistent copy of a ledger file, also of one that a gateway has open."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hivewire.ledger.engines.sqlite_file import inspect, location, new_epoch
from hivewire.ledger.journal import JournalError

NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of file systems that have no hard links (FAT, some network mounts)."""

PAGES = 1_000
"""Pages that are copied between two reports of progress."""


def backup(source: Path, target: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Copy the ledger at `source` as it is now into the new file `target`, under a new epoch.

    The new epoch makes every watcher notice a restore. `progress` gets pages done and in all. The copy appears whole,
    readable by its owner only, or not at all. Raises JournalError, with a sentence for the operator.
    """
    if not source.exists():
        raise JournalError(f"there is no ledger at {source}; name it with --data")
    if target.exists():
        raise JournalError(f"{target} exists already; a backup never overwrites a file")
    if not target.parent.is_dir():
        raise JournalError(f"cannot write {target}: {target.parent}: no such directory")
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        inspect(source)
        if not source.stat().st_size:
            raise JournalError(f"{source} is empty, not a Hivewire ledger")
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(source, unfinished, progress)
        _publish(unfinished, target)
        _sync(target.parent)
    except FileExistsError:
        raise JournalError(f"{target} exists already; a backup never overwrites a file") from None
    except (OSError, sqlite3.Error) as error:
        # Not the text of an OSError, which names the unfinished file.
        reason = getattr(error, "strerror", None) or error
        raise JournalError(f"cannot back up {source} to {target}: {reason}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _copy(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    with closing(sqlite3.connect(location(source, "ro"), uri=True, isolation_level=None)) as original:
        # One read transaction for the whole copy: it is the state of this moment, whatever is written meanwhile.
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM meta").fetchone()
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            original.backup(copy, pages=PAGES, progress=lambda _, remaining, total: progress(total - remaining, total))
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("PRAGMA synchronous = FULL")
            copy.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (new_epoch(),))
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise JournalError(f"the copy of {source} is damaged ({verdict}); it was thrown away")
    _sync(target)


def _publish(unfinished: Path, target: Path) -> None:
    """Give the finished copy its name. Raises FileExistsError when somebody made a file of that name meanwhile."""
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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
