"""Opens the ledger with its users and tenants: for a gateway, and for commands on the ledger of a stopped one."""

from __future__ import annotations

import contextlib

from msgspec import Struct

from hivewire.access.passwords import Passwords
from hivewire.access.tenants import Tenants
from hivewire.access.users import Users
from hivewire.ledger.engines import engine_of
from hivewire.ledger.engines.parent.service import LedgerService
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import JournalError, NotDurable
from hivewire.ledger.retention import Retention
from hivewire.services import now
from hivewire.settings import Settings, StartError
from hivewire.streams.backup import beside_ledger
from hivewire.streams.contract import StoreError
from hivewire.streams.messages import Messages, messages_of
from hivewire.streams.messages import engine_of as engine_for_messages
from hivewire.telemetry import log


class Store(Struct):
    """An open ledger, and the indexes over it. `address` is where the ledger is, for the operator."""

    address: str
    ledger: Ledger
    users: Users
    tenants: Tenants
    passwords: Passwords


async def open_store(
    settings: Settings, stack: contextlib.AsyncExitStack, *, existing: bool = False, accept_loss: bool = False
) -> Store:
    """Open the ledger that the settings name, and load it; the stack closes it. Raises StartError.

    With `existing` it makes no new ledger. `accept_loss` opens one even if the last changes are known to be missing.
    """
    try:
        engine = engine_of(settings)
    except JournalError as error:
        raise StartError(str(error)) from error
    passwords = Passwords()
    stack.callback(passwords.close)
    retention = Retention(
        settings.history, settings.log_changes, settings.log_days, settings.audit_rows, settings.audit_days
    )
    ledger = Ledger(
        engine.journal(existing=existing, accept_loss=accept_loss),
        now,
        retention=retention,
        compact_seconds=settings.compact_seconds,
        stall_seconds=settings.stall_seconds,
    )
    users, tenants = Users(ledger), Tenants(ledger)
    stack.push_async_callback(ledger.close)
    try:
        await ledger.open()
        await users.load()
        tenants.load()
    except (JournalError, NotDurable) as error:
        raise StartError(str(error)) from error
    return Store(engine.address, ledger, users, tenants, passwords)


async def share_store(
    settings: Settings, stack: contextlib.AsyncExitStack, *, accept_loss: bool = False
) -> tuple[str, LedgerService]:
    """Open the log of the ledger for several gateways, which load it themselves; the stack closes it.

    Its address for the operator, and what serves it. Raises StartError.
    """
    try:
        engine = engine_of(settings)
        journal = engine.journal(accept_loss=accept_loss)
        stack.push_async_callback(journal.close)
        await journal.open()
    except (JournalError, NotDurable) as error:
        raise StartError(str(error)) from error
    service = LedgerService(journal)
    await service.start()
    return engine.address, service


async def open_messages(settings: Settings, ledger: Ledger, stack: contextlib.AsyncExitStack) -> Messages:
    """Open the messages beside a ledger that is open; the stack closes them. Raises StartError."""
    file = engine_of(settings).file
    served = settings.messages == "durable" and bool(ledger.kind("user").live)
    if file is not None and served and not beside_ledger(file).exists():  # perhaps it was not moved with the other
        log.warning("there is no file of messages; a new one is made", file=str(beside_ledger(file)))
    messages = messages_of(settings, now, engine_for_messages(settings, file))
    stack.push_async_callback(messages.close)
    try:
        await messages.open(ledger.epoch)
    except StoreError as error:
        raise StartError(str(error)) from error
    return messages
