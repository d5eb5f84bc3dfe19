"""Names of files beside a data file, and files that are on the disk."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import quote


def uri(path: Path, mode: str) -> str:
    """The URI of a file for SQLite, opened for `rw` or `ro`; further parameters can be added."""
    return f"file:{quote(str(path.absolute()))}?mode={mode}"


def beside(path: Path, suffix: str) -> Path:
    """The file of this suffix that SQLite, or a command, keeps beside a file."""
    return path.with_name(path.name + suffix)


def free_name(path: Path, word: str) -> Path:
    """An unused name beside this one, with the word and the time."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    base = name = path.with_name(f"{path.name}.{word}-{stamp}")
    count = 1
    while name.exists():
        count += 1
        name = base.with_name(f"{base.name}-{count}")
    return name


def sync(path: Path) -> None:
    """Wait until the file, or the directory with its names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
