"""Storage engines, one a file, all behind `journal.py`. They do not know one another, nor the ledger above them."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from hivewire.ledger.engines.sqlite import SqliteJournal
from hivewire.ledger.journal import Journal
from hivewire.telemetry import log

LARGE_FILE = 64 << 20
"""Loading a file of this size takes seconds, so the log says that it began."""


def journal_at(data: Path) -> Journal:
    """The engine that keeps a ledger at this place, not open yet."""
    return SqliteJournal(data)


def tell_of_loading(data: Path) -> None:
    """Log that a large file is being loaded."""
    size = data.stat().st_size if data.is_file() else 0
    if size > LARGE_FILE:
        log.info("loading", data=str(data), bytes=size)


def tell_of_readers(data: Path) -> None:
    """Warn of a file that others can open, as a copied one may be. It is left so: a backup by a group may be meant."""
    mode = stat.S_IMODE(data.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        remedy = f"chmod 600 {shlex.quote(os.path.abspath(data))}"
        log.warning("other users can open the data file, which holds secrets", mode=f"{mode:04o}", remedy=remedy)
