"""The handlers of schedules (fleet configuration, section 8)."""

from __future__ import annotations

from msgspec import UNSET

from hivewire.actions.checks import within
from hivewire.actions.layered import check_target
from hivewire.caller import Caller
from hivewire.ledger.pending import PendingWrite
from hivewire.ledger.records import Change, Transaction, Write
from hivewire.schedules import KIND, Scheduled, expiring, is_expiry, scheduled_of, waiting
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire_protocol import times
from hivewire_protocol.errors import InvalidParameters, NotFound, OutOfBounds
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import INLINE_CHARACTERS, RevisionReply, TransactChange
from hivewire_protocol.nouns.layer import OF_DEVICE
from hivewire_protocol.nouns.schedule import (
    ScheduleCancel,
    ScheduledChange,
    ScheduleList,
    ScheduleListReply,
    ScheduleView,
)
from hivewire_protocol.tenant.steps import Steps

TAKE, MOST = 100, 1_000


async def list_(services: Services, caller: Caller, request: ScheduleList) -> Reply:
    """A page of scheduled writes and expiries, in the order of time, for names that the token reaches. Raises NotFound
    for an unknown number."""
    take, skip = within("take", request.take, TAKE, MOST), request.skip or 0
    if skip < 0:
        raise OutOfBounds("skip must not be negative")
    shown = await in_slices(_seen(services, caller))
    if request.schedule is not None:
        shown = [view for view in shown if view.schedule == request.schedule]
        if not shown:
            raise _missing(request.schedule)
    return ScheduleListReply(shown[skip : skip + take], len(shown))


def _seen(services: Services, caller: Caller) -> Steps[list[ScheduleView]]:
    """All that the caller sees, in the order of time."""
    found: list[tuple[Change, Scheduled]] = []
    for each in waiting(services.ledger):
        found.append(each)
        yield
    shown: list[ScheduleView] = []
    for change, scheduled in sorted(found, key=lambda each: (each[1].at, each[0].id)):
        if (view := _view(services, caller, change, scheduled)).changes:
            shown.append(view)
        yield
    return shown


def _view(services: Services, caller: Caller, change: Change, scheduled: Scheduled) -> ScheduleView:
    expires = is_expiry(change)
    changes = _expiry(services, change) if expires else _changes(services, scheduled)
    return ScheduleView(
        None if expires else change.id,
        times.render(scheduled.at),
        [each for each in changes if _sees(services, caller, each)]
        if _sees_devices(services, caller, scheduled)
        else [],
        times.render(scheduled.created or change.time),
        change.author or scheduled.author,
        UNSET if scheduled.failed is None else scheduled.failed,
    )


def _sees_devices(services: Services, caller: Caller, scheduled: Scheduled) -> bool:
    """Whether a caller reaches all devices, or none of its devices was deleted: another one may have its id."""
    everything = services.registry.scope(caller.identity).everything
    return everything or services.fleet.first_gone(scheduled.devices) is None


def _sees(services: Services, caller: Caller, change: ScheduledChange | TransactChange) -> bool:
    """Whether a caller sees a change: its name, and its device if it is in the layer of a single one."""
    layer = None if change.layer is UNSET else change.layer
    return (change.name or "") in caller.identity.names and services.fleet.sees(caller.identity, layer)


def _expiry(services: Services, change: Change) -> list[ScheduledChange]:
    found = expiring(services.ledger, change)
    if found is None:
        return []
    resource = services.resources.of(found)
    return [ScheduledChange("delete", resource.name, None, resource.layer)]


def _changes(services: Services, scheduled: Scheduled) -> list[ScheduledChange]:
    return [
        _shown(
            each.operation or "", each.name or "", each.value, each.layer, services.schemas.is_secret(each.name or "")
        )
        for each in scheduled.changes
    ]


def _shown(operation: str, name: str, value: str | None, layer: str | None, secret: bool) -> ScheduledChange:
    shown = value if operation == "put" and not secret and len(value or "") <= INLINE_CHARACTERS else None
    hidden = True if secret and operation == "put" else UNSET
    return ScheduledChange(operation, name, shown, UNSET if layer is None else layer, hidden)


def cancel(services: Services, caller: Caller, request: ScheduleCancel) -> PendingWrite[Reply]:
    """Cancel one. Raises NotFound for an unknown number, or one with what the token does not reach, and AccessDenied
    for one that writes a layer of devices out of its reach."""
    number = request.schedule
    if number is None:
        raise InvalidParameters("schedule is required")
    missing = _missing(number)
    change = services.ledger.get(KIND, str(number))
    if change is None:
        raise missing
    scheduled = scheduled_of(change)
    parts = scheduled.changes
    if not _sees_devices(services, caller, scheduled) or not all(_sees(services, caller, part) for part in parts):
        raise missing
    layers = services.fleet.layers.by_name
    for name in {part.layer for part in parts}:
        if name is not None and not name.startswith(OF_DEVICE) and (layer := layers.get(name)) is not None:
            check_target(services, caller.identity, layer.target)

    def cancelled(changes: list[Change]) -> Reply:
        return RevisionReply(UNSET if request.dryRun else changes[0].revision)

    transaction = Transaction((Write(KIND, change.key, None, description="cancelled"),), caller.identity.login)
    pending: PendingWrite[Reply] = PendingWrite(transaction, cancelled, lambda refused: missing)
    return pending.tried(request.dryRun)


def _missing(number: int) -> NotFound:
    return NotFound(f"There is no schedule {number}")


READS = {ScheduleList: list_}
WRITES = {ScheduleCancel: cancel}
