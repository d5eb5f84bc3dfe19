"""The work of `hivewire backup`, `restore` and `vacuum` on data files."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from hivewire.files import beside, free_name, own_like, sync, unfinished_file
from hivewire.ledger.engines.sqlite.copy import NO_LINKS, copy, finish
from hivewire.ledger.engines.sqlite.file import check, header_of, location, resolved, run_of, tail_of
from hivewire.ledger.engines.sqlite.file_lock import NO_RUN, FileLock, LockNote, lock_of
from hivewire.ledger.engines.sqlite.start import begin, require_whole
from hivewire.ledger.records import JournalError
from hivewire.portions import Progress, silent


def backup(source: Path, target: Path, progress: Progress = silent) -> None:
    """Copy the ledger at `source` as it is when this ends into the new file `target`, under a new epoch.

    The new epoch makes every watcher notice a restore. `progress` gets pages done and in all. The copy appears
    complete, readable by its owner only, or not at all. Raises JournalError, with a sentence for the operator.
    """
    source = resolved(source)
    if not source.exists():
        raise JournalError(f"there is no data file at {source}; give its path with --data")
    if target.exists():
        raise JournalError(f"{target} exists already; a backup never overwrites a file")
    if not target.parent.is_dir():
        raise JournalError(f"cannot write {target}: {target.parent}: no such directory")
    try:
        with explain_errors(f"cannot back up {source} to {target}"):
            if not require_whole(source).open:
                check(source)  # one long read, which would hold the WAL of a gateway that runs
            copy(source, target, progress)
    except FileExistsError:
        raise JournalError(f"{target} exists already; a backup never overwrites a file") from None


def epoch_of(path: Path) -> str:
    """The epoch of the ledger in a file. Raises JournalError."""
    with (
        explain_errors(f"cannot read {path}"),
        closing(sqlite3.connect(location(resolved(path), "ro"), uri=True)) as connection,
    ):
        return str(connection.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()[0])


def restore(
    source: Path,
    target: Path,
    progress: Progress = silent,
    *,
    accept_loss: bool = False,
    placed: Callable[[Path | None], None] = lambda old: None,
) -> Path | None:
    """Put a copy of the ledger at `source` in the place of `target`, under a new epoch. Its gateway must be stopped.

    What was there is renamed together with its WAL; returns its new name, None when there was nothing. `placed` is
    called with that when the copy is there, while no gateway can start. With
    `accept_loss`, `source` may lack its WAL. If it is killed, the old file is in place or the next start refuses.
    Raises JournalError, with a sentence for the operator.
    """
    source, target = resolved(source), resolved(target)
    if not source.exists():
        raise JournalError(f"there is no file {source}")
    if target.exists() and source.samefile(target):
        raise JournalError(f"{source} is the data file itself; give the path of a copy")
    with explain_errors(f"cannot restore {source} to {target}"):
        if accept_loss and header_of(source) is not None:
            check(source)
        else:
            require_whole(source)
            check(source)
        with locked(target) as lock:
            copied = free_name(target, "restored")
            copy(source, copied, progress, restored=True)
            old = _exchange(copied, target)
            note_placed(lock, target, old or target.parent)
            placed(old)
            finish(target)
    return old


def _exchange(copied: Path, target: Path) -> Path | None:
    """Put the file `copied` in the place of `target`, which is renamed with the files that belong to it."""
    old = free_name(target, "before-restore")
    empty = not target.stat().st_size
    if not empty:
        try:
            os.link(target, old)  # the name always has a file: without one, a start would create a new ledger
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with unfinished_file(old) as copying:
                shutil.copyfile(target, copying)
                shutil.copymode(target, copying)
                own_like(copying, target)
                sync(copying)
                copying.rename(old)
    for suffix in ("-wal", "-journal"):
        with suppress(FileNotFoundError):
            beside(target, suffix).rename(beside(old, suffix))
    beside(target, "-shm").unlink(missing_ok=True)
    sync(target.parent)
    os.replace(copied, target)
    sync(target.parent)
    return None if empty else old


def note_placed(lock: FileLock, path: Path, owned: Path) -> None:
    """Note that a command put this file here to be served next, so that a start does not treat it as a foreign file.

    If root has put it here, it gets the owner of `owned`, as whom the gateway runs.
    """
    for each in (path, lock_of(path)):
        own_like(each, owned)
    header = header_of(path)
    run = None if header is None else run_of(path, header)
    lock.note(LockNote(run or NO_RUN, run or NO_RUN, tail_of(path)))


def vacuum(path: Path) -> tuple[int, int]:
    """Give the unused pages of a data file back to the disk; returns its size in bytes before and after.

    Its gateway must be stopped. The disk needs space for a second copy of the file. A file of an older schema is
    migrated first. Raises JournalError, with a sentence for the operator.
    """
    path = resolved(path)
    if not path.exists() or not path.stat().st_size:
        raise JournalError(f"there is no data file at {path}; give its path with --data")
    with explain_errors(f"cannot vacuum {path}"), locked(path) as lock:
        note = begin(path, lock, accept_loss=False)
        before = path.stat().st_size
        if not note.shut:
            raise JournalError(f"{path} is being read by another process, perhaps a backup; try again later")
        with closing(sqlite3.connect(location(path, "rw"), uri=True, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("VACUUM")
        lock.note(note)
        return before, path.stat().st_size


@contextmanager
def locked(path: Path) -> Iterator[FileLock]:
    """The lock of a data file, for a command that needs its gateway to be stopped. Raises JournalError."""
    lock = FileLock(path, offline=True)
    try:
        lock.acquire()
        yield lock
    finally:
        lock.release()


@contextmanager
def explain_errors(what: str) -> Iterator[None]:
    """Turn every error of the disk or of SQLite into a JournalError, except FileExistsError."""
    try:
        yield
    except FileExistsError:
        raise
    except (OSError, sqlite3.Error) as error:
        # Not the text of an OSError, which may name a temporary file that the operator does not know.
        reason = getattr(error, "strerror", None) or error
        raise JournalError(f"{what}: {reason}") from error
