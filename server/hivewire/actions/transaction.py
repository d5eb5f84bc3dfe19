"""`configuration/transact`: several writes at once, now or later (configuration contract, section 4; fleet.md, 8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import UNSET, structs

from hivewire import schedules
from hivewire.actions.checks import check_token
from hivewire.actions.writing import Judged, affecting_of, delete_of, put_of, refuse_device, settled
from hivewire.caller import Caller
from hivewire.fleet.conditions import guards_of
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import (
    Change,
    Guard,
    Refused,
    Transaction,
    Write,
)
from hivewire.resources import LAYERED
from hivewire.services import Services
from hivewire_protocol.errors import (
    InvalidParameters,
    OutOfBounds,
    WireError,
)
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import (
    MAX_TRANSACTION,
    ConfigurationTransact,
    ConfigurationTransactReply,
    TransactChange,
)

TWICE = "where one that expires counts twice"


class Planned(NamedTuple):
    """The writes of a transaction. `expiries` are those that let a put expire, by its index. `is_judged`: all values
    were found to fit their schemas."""

    writes: list[Write]
    expiries: dict[int, Write]
    is_judged: bool


def transact(services: Services, caller: Caller, request: ConfigurationTransact) -> Judged:
    """Several writes, all or nothing. The error names the first one that was refused."""
    refuse_device(request)
    if request.at is not None:
        return _schedule(services, caller, request, request.at)
    if not request.changes or len(request.changes) > MAX_TRANSACTION:
        raise InvalidParameters(f"changes must be a list of 1 to {MAX_TRANSACTION}")
    writes, expiries, is_judged = _planned(services, caller, request.changes)
    if len(writes) + len(expiries) > MAX_TRANSACTION:
        raise InvalidParameters(f"changes must be a list of 1 to {MAX_TRANSACTION}, {TWICE}")
    dry_run = bool(request.dryRun)
    pending: PendingWrite[Reply] = PendingWrite(
        Transaction([*writes, *expiries.values()], caller.identity.login, guards_of(writes), dry_run=dry_run),
        lambda written: _transacted(services, dry_run, written[: len(writes)]),
        lambda refused: services.resources.refusal(refused).at(_index(refused, writes, expiries)),
    )
    if dry_run and any(write.kind == LAYERED for write in writes):
        return affecting_of(services, caller, pending)
    return pending if is_judged else settled(services, caller, pending)


def _planned(services: Services, caller: Caller, changes: Sequence[TransactChange]) -> Planned:
    found = Planned([], {}, True)
    places: set[tuple[str, str]] = set()
    for index, change in enumerate(changes):
        try:
            write = _write(services, caller, change)
            is_judged = services.schemas.check(write)
            if (write.kind, write.key) in places:
                raise OutOfBounds(f"'{write.key}' occurs twice in changes")
            if change.ttl is not None or change.expires is not None:
                found.expiries[index] = schedules.expiry(write, change, services.ledger.now())
        except WireError as error:
            raise error.at(index) from None
        places.add((write.kind, write.key))
        found.writes.append(write)
        if not is_judged:
            found = found._replace(is_judged=False)
    return found


async def _schedule(services: Services, caller: Caller, request: ConfigurationTransact, at: str) -> PendingWrite[Reply]:
    """Write the transaction later, if it would be possible now. Raises as the transaction itself."""
    when = schedules.moment("at", at, services.ledger.now())
    tried = transact(services, caller, structs.replace(request, at=None, dryRun=True))
    now_instead = tried if isinstance(tried, PendingWrite) else await tried
    if len(now_instead.transaction.writes) >= MAX_TRANSACTION:
        raise InvalidParameters(f"with at, changes may have at most {MAX_TRANSACTION - 1} items, {TWICE}")
    for index, change in enumerate(request.changes or ()):
        if change.expires is not None:
            schedules.moment(f"changes[{index}].expires", change.expires, when, "after at")
    await commit(services.ledger, now_instead, caller.identity)
    check_token(services, caller)  # it may have ended meanwhile
    layers = {change.layer for change in request.changes or () if change.layer}
    devices = {layer: record for layer in layers if (record := services.fleet.record_of(layer))}
    write = schedules.later(when, schedules.Rights.of(caller.identity), request.changes, devices=devices)

    def scheduled(changes: list[Change]) -> Reply:
        revision = UNSET if request.dryRun else changes[0].revision
        return ConfigurationTransactReply(schedule=changes[0].id, revision=revision)

    transaction = Transaction((write,), caller.identity.login)
    pending: PendingWrite[Reply] = PendingWrite(transaction, scheduled, services.resources.refusal)
    return pending.tried(request.dryRun)


def _write(services: Services, caller: Caller, change: TransactChange) -> Write:
    if change.operation == "put":
        return put_of(services, caller, change)
    if change.operation == "delete":
        return delete_of(services, caller, change)
    raise InvalidParameters("operation must be put or delete")


def _index(refused: Refused, writes: Sequence[Write], expiries: Iterable[int]) -> int:
    """The index of the change that a transaction was refused for, also where its expiry or its layer was."""
    if isinstance(refused.write, Guard):
        return next(index for index, write in enumerate(writes) if refused.write in guards_of((write,)))
    indexes: list[int] = [*range(len(writes)), *expiries]
    return indexes[refused.index]


def _transacted(services: Services, dry_run: bool, changes: list[Change]) -> Reply:
    shown = [services.resources.of(change) for change in changes]
    if dry_run:
        return ConfigurationTransactReply(shown, dryRun=True)
    return ConfigurationTransactReply(shown, revision=changes[0].revision)
