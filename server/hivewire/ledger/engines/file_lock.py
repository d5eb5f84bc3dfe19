"""The lock that keeps a second process away from a file."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from hivewire.ledger.journal import JournalError


class FileLock:
    """Keeps a second process out, by whatever name it reaches the file: OS locks on `FILE.lock` and on the file.

    The first holds the number of the process that has it. The second is a `flock`. On Linux it does not conflict with
    the locks of SQLite (`fcntl`), so a backup can still read; elsewhere it might, so it is taken on Linux only.

    Closing any descriptor of a file drops all `fcntl` locks that the process has on it. So the lock is taken before
    SQLite opens the file, and released after SQLite closed it.
    """

    def __init__(self, path: Path) -> None:
        self._guarded = path
        self._descriptors: list[int] = []

    def acquire(self) -> None:
        """Take the lock; make the file if it is not there. Raises JournalError that says who has the lock."""
        if not self._guarded.parent.is_dir():
            raise JournalError(f"cannot use {self._guarded}: the directory {self._guarded.parent} does not exist")
        if self._guarded.is_dir():
            raise JournalError(f"cannot use {self._guarded}: it is a directory; name a file")
        path = self._guarded.with_name(self._guarded.name + ".lock")
        try:
            self._take(path, os.O_RDWR | os.O_CREAT)
        except OSError:
            # A read-only directory: use the lock that is there, or the file itself, since nobody can make another.
            if path.exists():
                self._take(path, os.O_RDONLY)
            elif not self._guarded.exists():
                raise
        if not self._guarded.exists():
            # Made here rather than by SQLite, so that at no time others can read it.
            os.close(os.open(self._guarded, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if sys.platform == "linux" or not self._descriptors:
            self._take(self._guarded, os.O_RDONLY)
        if os.access(path, os.W_OK):
            os.truncate(path, 0)
            os.pwrite(self._descriptors[0], f"{os.getpid()}\n".encode(), 0)

    def _take(self, path: Path, flags: int) -> None:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            self.release()
            raise JournalError(
                f"{self._guarded} is in use by another gateway"
                + (f" (process {holder})" if holder.isdigit() else "")
                + "; stop it first, or name another file with --data"
            ) from None

    def release(self) -> None:
        """Release the lock. The files stay: if one was removed, two processes could lock two files of one name."""
        while self._descriptors:
            os.close(self._descriptors.pop())
