"""Opens the data file with its users and tenants: for a gateway, and for commands on the file of a stopped one."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from pathlib import Path

from msgspec import Struct

from hivewire.access.passwords import Passwords
from hivewire.access.tenants import Tenants
from hivewire.access.users import Users
from hivewire.ledger.engines import journal_at
from hivewire.ledger.ledger import COMPACT_SECONDS, DEFAULT_RETENTION, STALL_SECONDS, Ledger
from hivewire.ledger.records import JournalError, NotDurable
from hivewire.ledger.retention import Retention
from hivewire.services import now
from hivewire.settings import Settings, StartError
from hivewire.telemetry import log

LARGE_FILE = 64 << 20
"""Loading a file of this size takes seconds, so the log says that loading has begun."""


class Store(Struct):
    """An open ledger, and the indexes over it."""

    ledger: Ledger
    users: Users
    tenants: Tenants
    passwords: Passwords


async def open_store(
    data: Path,
    stack: contextlib.AsyncExitStack,
    retention: Retention = DEFAULT_RETENTION,
    compact_seconds: float = COMPACT_SECONDS,
    stall_seconds: float = STALL_SECONDS,
    *,
    existing: bool = False,
    accept_loss: bool = False,
) -> Store:
    """Open the file and load it; the stack closes it. Raises StartError, with `existing` also for an empty one.

    `accept_loss` opens it even if the last changes are known to be missing.
    """
    if existing and _is_empty(data):
        raise StartError(f"{data} is empty, not a Hivewire ledger; it was left untouched")
    passwords = Passwords()
    stack.callback(passwords.close)
    journal = journal_at(data, accept_loss=accept_loss)
    ledger = Ledger(journal, now, retention=retention, compact_seconds=compact_seconds, stall_seconds=stall_seconds)
    users, tenants = Users(ledger), Tenants(ledger)
    stack.push_async_callback(ledger.close)
    try:
        await ledger.open()
        await users.load()
        tenants.load()
    except (JournalError, NotDurable) as error:
        raise StartError(str(error)) from error
    return Store(ledger, users, tenants, passwords)


async def open_for(settings: Settings, stack: contextlib.AsyncExitStack, *, accept_loss: bool) -> Store:
    """The store of a gateway. Logs when a large file is loaded, and warns if others can open it. Raises StartError."""
    data = Path(settings.data)
    _tell_of_loading(data)
    retention = Retention(
        settings.history, settings.log_changes, settings.log_days, settings.audit_rows, settings.audit_days
    )
    seconds = settings.compact_seconds, settings.stall_seconds
    store = await open_store(data, stack, retention, *seconds, accept_loss=accept_loss)
    _tell_of_readers(data)
    return store


def _is_empty(data: Path) -> bool:
    return data.is_file() and not data.stat().st_size


def _tell_of_loading(data: Path) -> None:
    """Log that a large file is being loaded."""
    size = data.stat().st_size if data.is_file() else 0
    if size > LARGE_FILE:
        log.info("loading", data=str(data), bytes=size)


def _tell_of_readers(data: Path) -> None:
    """Warn about a file that others can open, perhaps a copied one. It is not changed: that may be intended."""
    mode = stat.S_IMODE(data.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        remedy = f"chmod 600 {shlex.quote(os.path.abspath(data))}"
        log.warning("other users can open the data file, which holds secrets", mode=f"{mode:04o}", remedy=remedy)
