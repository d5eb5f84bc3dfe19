"""The lock that keeps a second process away from a data file, and the note about the data file in it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from hivewire.files import identity
from hivewire.ledger.records import JournalError, WrongFile

NO_RUN = "0" * 16
"""The run of a file that was not served since runs were added to the schema, or never."""


class LockNote(Struct, frozen=True):
    """Facts about the data file that the file itself does not contain.

    `run` is the run of the last start, and `before` the previous one, which the file may still have. The log reaches at
    least to `tail`. `shut` says that everything is in the file, so that no WAL is needed.
    """

    run: str = NO_RUN
    before: str = NO_RUN
    tail: int = 0
    shut: bool = True


# The process on a line of its own, then the note. All parts have a fixed width, so each can be overwritten in place.
_FORM = re.compile(rb"\d+ *\n(\d{20}) (open|shut) ([0-9a-f]{16}) ([0-9a-f]{16})\n")
_TAIL_AT, _STATE_AT, _RUN_AT, _RUN_WIDTH, _WHOLE = 11, 32, 37, 16, 71


def lock_of(path: Path) -> Path:
    """The lock file of a data file."""
    return path.with_name(path.name + ".lock")


def read_note(path: Path) -> LockNote | None:
    """The note about a data file, whichever process has the lock; None when there is none."""
    try:
        descriptor = os.open(lock_of(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> LockNote | None:
    found = _FORM.fullmatch(os.pread(descriptor, _WHOLE, 0))
    if found is None:
        return None
    tail, state, run, before = found.groups()
    return LockNote(run.decode(), before.decode(), int(tail), state == b"shut")


def require_free(path: Path, *, offline: bool = False) -> None:
    """Raise JournalError that says who has the lock of a data file. Takes no lock, and makes no file.

    `offline` words it for a command on the file of a stopped gateway.
    """
    for name in [lock_of(path)] + [path] * (sys.platform == "linux"):
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # there is none, or `acquire` says what is wrong with it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(path, _holder(descriptor), offline) from None
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _holder(descriptor: int) -> str:
    return os.read(descriptor, 20).partition(b"\n")[0].decode(errors="replace").strip()


def _in_use(path: Path, holder: str, offline: bool) -> JournalError:
    process = f" (process {holder})" if holder.isdigit() else ""
    if offline:
        return JournalError(f"{path} is in use by a gateway or another command{process}; stop it first")
    return JournalError(
        f"{path} is in use by another gateway{process}; stop it first, or name another file with --data"
    )


class FileLock:
    """Keeps a second process out, by whatever name it opens the file: OS locks on `FILE.lock` and on the data file.

    `FILE.lock` has the id of the process with the lock, and the note. The lock on the data file is a `flock`. On Linux
    that does not conflict with the locks of SQLite (`fcntl`), so a backup can still read; elsewhere it might, so it is
    used on Linux only.

    What this process made is removed with the lock, as long as no note was written: a start that is refused leaves the
    directory as it was. The names are removed while the lock is held, and a lock counts only if its name still leads to
    the locked file. So a process that opened the file before its name was removed tries again.

    Closing any descriptor of a file drops all `fcntl` locks that the process has on it. So the lock is taken before
    SQLite opens the file, and released after SQLite closed it.
    """

    def __init__(self, path: Path, *, offline: bool = False) -> None:
        """`offline`: the lock is for a command on the file of a stopped gateway, and errors are worded for it."""
        self.noted: LockNote | None = None
        """The note of the previous process; None when there is none."""
        self._guarded = path
        self._offline = offline
        self._name = str(path)
        self._descriptors: list[int] = []
        self._made: list[Path] = []  # empty files of this process, the data file before its lock
        self._writable = False
        self._identity: tuple[int, int] | None = None
        self._run = b""

    def acquire(self) -> None:
        """Take the lock; create the data file if it does not exist. Raises JournalError that names the lock's owner."""
        if not self._guarded.parent.is_dir():
            raise JournalError(f"cannot use {self._guarded}: the directory {self._guarded.parent} does not exist")
        if self._guarded.exists() and not self._guarded.is_file():
            what = "a directory" if self._guarded.is_dir() else "not a regular file"
            raise WrongFile(f"cannot use {self._guarded}: it is {what}; name a file")
        path = lock_of(self._guarded)
        try:
            self._take(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
            self._writable = True
        except OSError as error:
            if error.errno == errno.ELOOP:  # following it would overwrite its target
                raise JournalError(f"cannot use {self._guarded}: {path} is a symbolic link; remove it") from None
            # A read-only directory: use the existing lock file, or the data file itself; no process can create another.
            if path.exists():
                try:
                    self._take(path, os.O_RDONLY | os.O_NOFOLLOW)
                except OSError as refused:
                    raise JournalError(f"cannot use {self._guarded}: {path}: {refused.strerror}") from None
            elif not self._guarded.exists():
                raise
        if not self._guarded.exists():
            # Created here and not by SQLite, so that other users can never read it.
            os.close(os.open(self._guarded, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._made.insert(0, self._guarded)
        if sys.platform == "linux" or not self._descriptors:
            self._take(self._guarded, os.O_RDONLY)
        if self._writable:
            self.noted = _read(self._descriptors[0])
            os.pwrite(self._descriptors[0], f"{os.getpid():<10}\n".encode(), 0)

    def _take(self, path: Path, flags: int) -> None:
        locked = False
        while not locked:
            made = not os.path.lexists(path)
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
            self._descriptors.append(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(descriptor)
                self.release()
                raise _in_use(self._guarded, holder, self._offline) from None
            locked = _leads_to(path, descriptor)
            if not locked:  # the process that made it has removed it
                os.close(self._descriptors.pop())
        if made:
            self._made.append(path)

    def note(self, note: LockNote) -> None:
        """Replace the note, and wait until it is on the disk. From now on `is_ours` compares with the current file."""
        if not self._writable:
            raise JournalError(f"cannot use {self._guarded}: {lock_of(self._guarded)} is not writable")
        state = "shut" if note.shut else "open"
        text = f"{note.tail:020d} {state} {note.run} {note.before}\n"
        self._made.clear()
        os.pwrite(self._descriptors[0], text.encode(), _TAIL_AT)
        os.fsync(self._descriptors[0])
        self._run = note.run.encode()
        self._identity = identity(self._name)  # not earlier: on some file systems the first write changes the inode

    def note_tail(self, tail: int) -> None:
        """Note how far the log reaches. Without a sync: that takes a microsecond, and survives the process only."""
        try:
            os.pwrite(self._descriptors[0], b"%020d" % tail, _TAIL_AT)
        except OSError:
            pass  # the log is on the disk, and the note only claims less than it could

    def note_shut(self) -> None:
        """Note that no WAL is needed any more."""
        os.pwrite(self._descriptors[0], b"shut", _STATE_AT)
        os.fsync(self._descriptors[0])

    def is_ours(self) -> bool:
        """Whether the names still lead to the file and the note of this process.

        Not when the file was replaced or removed, or when another host took it on a share whose locks do not work.
        """
        try:
            run = os.pread(self._descriptors[0], _RUN_WIDTH, _RUN_AT)
        except OSError:
            return False
        return run == self._run and identity(self._name) == self._identity is not None

    def release(self) -> None:
        """Release the lock, and remove what was made for nothing."""
        for path in self._made:
            with suppress(OSError):
                if path != self._guarded or not path.stat().st_size:
                    path.unlink()
        self._made.clear()
        while self._descriptors:
            os.close(self._descriptors.pop())
        self._writable = False


def _leads_to(path: Path, descriptor: int) -> bool:
    """Whether a name still leads to the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
