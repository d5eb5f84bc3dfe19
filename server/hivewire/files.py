"""Names of files beside a data file, files that are on the disk, and those that settings name."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

UNFINISHED = ".hivewire-unfinished"
"""The end of the name of an unfinished file, which no other program uses."""


SETTING_BYTES = 16 << 20
"""Largest file that a setting names: a bundle of certificates, at most."""


def read_regular(path: str | Path, most: int = SETTING_BYTES) -> bytes:
    """The content of a file that a setting names. Raises OSError, also for what is no regular file or is larger.

    To read a pipe or a terminal can take for ever, and it has its content only once; a reload reads all files again.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def uri(path: Path, mode: str) -> str:
    """The URI of a file for SQLite, opened for `rw` or `ro`; further parameters can be added."""
    return f"file:{quote(bytes(path.absolute()))}?mode={mode}"


def beside(path: Path, suffix: str) -> Path:
    """The file of this suffix that SQLite, or a command, keeps beside a file."""
    return path.with_name(path.name + suffix)


def identity(path: str | Path) -> tuple[int, int] | None:
    """The device and inode of the file that a name leads to; None when there is none. `str` takes half as long."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


READ_ONLY = "was read-only at the start; restart the gateway once it is writable"
"""Why a file takes no writes as long as this process has it open."""

IOERR_FSYNC, IOERR_SHMSIZE, IOERR_SHMMAP, NOMEM = 1034, 4874, 5386, 7
"""Error codes of SQLite for what follows the writing of a commit: its fsync, and its entry in the index of the WAL,
which grows then. The module of SQLite is for engines only."""


def is_of_sync(error: Exception) -> bool:
    """Whether SQLite may have written a commit, and only what follows failed: so it may be there after a crash."""
    return getattr(error, "sqlite_errorcode", None) in (IOERR_FSYNC, IOERR_SHMSIZE, IOERR_SHMMAP, NOMEM)


def free_name(path: Path, word: str) -> Path:
    """An unused name beside this one, with the word and the time."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    base = name = path.with_name(f"{path.name}.{word}-{stamp}")
    count = 1
    while name.exists():
        count += 1
        name = base.with_name(f"{base.name}-{count}")
    return name


def own_like(path: Path, other: Path) -> None:
    """Give a file that root has made the owner of another file, or of a directory; others make none but their own.

    A file system that knows no owners leaves it as it is.
    """
    if os.geteuid() == 0:
        found = other.stat()
        with suppress(OSError):
            os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)  # the owner may have put a link there


def sync(path: Path) -> None:
    """Wait until the file, or the directory with its names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def unfinished_file(target: Path) -> Iterator[Path]:
    """An empty file beside `target`, readable by its owner only, to be filled and renamed.

    It is removed at the end if it is still there, and by the next one in that directory if the process was killed.
    Raises OSError, also while another process fills it.
    """
    unfinished = beside(target, UNFINISHED)
    remove_unfinished(target.parent)
    with suppress(FileNotFoundError, PermissionError):
        _remove_unlocked(unfinished)
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield unfinished
    finally:
        for path in (unfinished, beside(unfinished, "-journal")):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _remove_unlocked(path: Path) -> None:
    """Remove an unfinished file. Raises OSError, also while another process fills it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(errno.EBUSY, "another process is writing it") from None
        beside(path, "-journal").unlink(missing_ok=True)
        path.unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files of killed processes: those that no process has locked."""
    for path in folder.glob("*" + UNFINISHED):
        with suppress(OSError):
            _remove_unlocked(path)
