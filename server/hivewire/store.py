"""Opens the ledger with its users and tenants: for a gateway, and for commands on the ledger of a stopped one."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from msgspec import Struct

from hivewire.access.passwords import Passwords
from hivewire.access.tenants import Tenants
from hivewire.access.users import Users
from hivewire.clocks import now
from hivewire.ledger.engines import engine_of
from hivewire.ledger.engines.parent.service import LedgerService
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import JournalError, NotDurable, WrongFile
from hivewire.ledger.retention import Retention
from hivewire.nats.broadcast import NatsBroadcast
from hivewire.nats.connection import Connection, NatsError, Unusable, address_of
from hivewire.nats.monitor import check_monitor
from hivewire.settings import Settings, SettingsError, StartError
from hivewire.streams.backup import beside_ledger
from hivewire.streams.contract import LOGS, LogName, StoreError
from hivewire.streams.messages import NOTE, Messages, Remember, message_engine_of, messages_of
from hivewire.streams.parent import LogService
from hivewire.telemetry import log

CONNECT_SECONDS = 30.0
"""Longest wait at the start for the servers of the store."""


class Store(Struct):
    """An open ledger, and the indexes over it. `address` is where the ledger is, for the operator."""

    address: str
    ledger: Ledger
    users: Users
    tenants: Tenants
    passwords: Passwords


def check_addresses(settings: Settings) -> None:
    """Check what `data`, `store` and `store_monitor` say, without a connection. Raises SettingsError."""
    try:
        engine_of(settings)
        if settings.store is not None:
            address_of(settings.store)
        if settings.store_monitor is not None:
            check_monitor(settings.store_monitor)
    except Unusable as error:
        raise SettingsError(str(error)) from None


async def open_store(
    settings: Settings, stack: contextlib.AsyncExitStack, *, existing: bool = False, accept_loss: bool = False
) -> Store:
    """Open the ledger that the settings name, and load it; the stack closes it. Raises StartError.

    With `existing` it makes no new ledger. `accept_loss` opens one even if the last changes are known to be missing.
    """
    try:
        engine = engine_of(settings)
        journal = engine.journal(existing=existing, accept_loss=accept_loss)
    except JournalError as error:
        raise _start_error(error) from error
    passwords = Passwords()
    stack.callback(passwords.close)
    retention = Retention(
        settings.history, settings.log_changes, settings.log_days, settings.audit_rows, settings.audit_days
    )
    ledger = Ledger(
        journal,
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
        raise _start_error(error) from error
    return Store(engine.address, ledger, users, tenants, passwords)


def _start_error(error: JournalError | NotDurable) -> StartError:
    return (SettingsError if isinstance(error, WrongFile) else StartError)(str(error))


class Shared(Struct):
    """The open logs that the parent of several gateways serves. `address` is where the ledger is, for the operator."""

    address: str
    ledger: LedgerService
    messages: dict[LogName, LogService]


async def share_store(settings: Settings, stack: contextlib.AsyncExitStack, *, accept_loss: bool = False) -> Shared:
    """Open the logs for several gateways, which load them themselves; the stack closes them. Raises StartError."""
    try:
        engine = engine_of(settings)
        journal = engine.journal(accept_loss=accept_loss)
        stack.push_async_callback(journal.close)
        await journal.open()
    except (JournalError, NotDurable) as error:
        raise _start_error(error) from error
    ledger = LedgerService(journal)
    await ledger.start()
    beside = journal.epoch, await journal.notes(), _if_possible(journal.remember)
    _warn_of_missing(settings, engine.file, beside[1])
    return Shared(engine.address, ledger, await _share_messages(settings, engine.file, beside, stack))


async def _share_messages(
    settings: Settings,
    file: Path | None,
    beside: tuple[str, Mapping[str, str], Remember],
    stack: contextlib.AsyncExitStack,
) -> dict[LogName, LogService]:
    engine = message_engine_of(settings, file)
    stack.push_async_callback(engine.close)
    whole = messages_of(settings, now, engine)
    try:
        # What is damaged or an older copy is found and set aside before gateways load it.
        await whole.open(*beside)
        await whole.close()
        await engine.open(beside[0])
        services = {name: LogService(engine.log(name)) for name in LOGS}
        for service in services.values():
            await service.start()
    except StoreError as error:
        raise StartError(str(error)) from error
    return services


async def _join_site(settings: Settings, stack: contextlib.AsyncExitStack) -> NatsBroadcast | None:
    """Connect with the other gateways of the store, if there is one; the stack disconnects. Raises StartError."""
    if settings.store is None:
        return None
    try:
        site = NatsBroadcast(Connection(address_of(settings.store), settings, "messages"))
        stack.push_async_callback(site.connection.close)
        await site.connection.open(CONNECT_SECONDS)
        await site.open()
    except NatsError as error:
        raise StartError(str(error)) from error
    stack.push_async_callback(site.close)
    return site


async def open_messages(
    settings: Settings, ledger: Ledger, stack: contextlib.AsyncExitStack
) -> tuple[Messages, NatsBroadcast | None]:
    """Open the messages beside a ledger that is open, or those of a site; the stack closes them. Raises StartError.

    Also what carries facts to the other gateways of the site, if there is one.
    """
    file, site = engine_of(settings).file, await _join_site(settings, stack)
    notes = await ledger.notes()
    if site is None:
        _warn_of_missing(settings, file, notes)
    messages = messages_of(settings, now, message_engine_of(settings, file, site))
    stack.push_async_callback(messages.close)
    try:
        await messages.open(ledger.epoch, notes, _if_possible(ledger.remember))
    except StoreError as error:
        raise StartError(str(error)) from error
    return messages, site


def _warn_of_missing(settings: Settings, file: Path | None, notes: Mapping[str, str]) -> None:
    """Warn when a ledger was served beside messages and there is no file of them: perhaps it was not moved along."""
    served = any(name.startswith(NOTE) for name in notes)
    if file is not None and served and settings.messages == "durable" and not beside_ledger(file).exists():
        log.warning("there is no file of messages; a new one is created", file=str(beside_ledger(file)))


def _if_possible(remember: Callable[[Mapping[str, str]], Awaitable[None]]) -> Remember:
    async def try_to(notes: Mapping[str, str]) -> None:
        with contextlib.suppress(NotDurable):
            await remember(notes)

    return try_to
