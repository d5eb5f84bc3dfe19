"""Rollouts: start, look at, hold, resume and end them (fleet.md, section 6)."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct, structs

from hivewire import schedules
from hivewire.actions.checks import check_token, time_of, violations, within
from hivewire.actions.layer import check_bounds, refusal
from hivewire.actions.layered import check_write
from hivewire.actions.writing import check_type, name_to_put
from hivewire.caller import Caller
from hivewire.fleet import effect
from hivewire.fleet.conditions import MOST_NAMES, Room, guards_of
from hivewire.fleet.layers import Layer, Written
from hivewire.fleet.progress import log_state, writes_of
from hivewire.fleet.rollouts import (
    COMPLETED,
    HELD,
    OPEN,
    ROLLED_BACK,
    ROLLOUT,
    RUNNING,
    SCHEDULED,
    STATES,
    Held,
    Rollout,
    RolloutContent,
    content_of,
    ended,
    gate_of,
    undo,
)
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Change, EvaluatedState, Guard, Transaction, Write
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire_protocol import times
from hivewire_protocol.errors import Conflict, InvalidParameters, NotFound, OutOfBounds, WireError
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import TEXT
from hivewire_protocol.nouns.layer import Target
from hivewire_protocol.nouns.rollout import (
    Gate,
    RolloutChange,
    RolloutGet,
    RolloutGetReply,
    RolloutHold,
    RolloutList,
    RolloutListReply,
    RolloutReply,
    RolloutResume,
    RolloutRollback,
    RolloutStart,
    RolloutView,
    Step,
)
from hivewire_protocol.tenant.steps import Steps

MOST_OPEN, MOST_STEPS, MOST_CHANGES, MOST_SALT = 100, 20, 100, 64
TAKE, MOST = 20, 100

LISTED = 256
"""Characters of a value that a list of rollouts shows."""


class Openable(Struct):
    """A condition: another rollout can be open."""

    rollouts: Mapping[int, Rollout]
    written: Written[Held | None]

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether there is room for it."""
        found = {*self.rollouts}
        for key, held in self.written.of(state.changes).items():
            (found.discard if held is None else found.add)(int(key))
        return len(found) < MOST_OPEN

    def error(self, last: Change | None) -> WireError:
        """The error for one too many."""
        return OutOfBounds(f"{MOST_OPEN} rollouts are open, the most that can be")


async def start(services: Services, caller: Caller, request: RolloutStart) -> Reply:
    """Start a rollout, now or later. Raises Conflict for one that changes nothing, or names that another one holds."""
    if request.layer is None or not request.steps or bool(request.changes) == (request.undo is not None):
        raise InvalidParameters("layer, steps, and either changes or undo are required")
    fleet, now = services.fleet, services.ledger.now()
    check_write(services, caller, request.layer)
    given = _undoing(services, caller, request) if request.undo is not None else request.changes or []
    changes = _changes(services, caller, request.layer, given)
    steps = _steps(request.steps)
    gate = _gate(request.gate or Gate())
    at = time_of("at", request.at)
    if request.salt is not None and not 1 <= len(request.salt) <= MOST_SALT:
        raise OutOfBounds(f"salt must have 1 to {MOST_SALT} characters")
    layer = fleet.layers.layer(request.layer)
    content = RolloutContent(
        layer.name,
        changes,
        steps,
        RUNNING if at is None else SCHEDULED,
        now,
        gate,
        request.salt or "",
        at=at,
        author=caller.identity.login,
        rights=schedules.Rights.of(caller.identity),
        device=fleet.record_of(layer.name),
    )
    writes = writes_of(content)
    await services.schemas.settle(Transaction(writes))
    check_token(services, caller)  # it may have ended meanwhile, or no longer reach all devices of the layer
    check_write(services, caller, layer.name)
    content.before = _undo(layer, changes)  # not earlier: others may have written these names meanwhile
    names = tuple(each.name or "" for each in changes)
    if len({*layer.values, *(each.name for each in changes if each.operation == "put")}) > MOST_NAMES:
        raise Room(fleet.layers, layer.name).error(None)
    conditions = (Openable(fleet.rollouts, fleet.written), *fleet.unheld(layer.name, *names))
    write = Write(ROLLOUT, "", msgspec.json.encode(content), "application/json", None, conditions)
    guards = [*guards_of(writes), *(Guard(each.kind, each.key, (schedules.Lasting(),)) for each in writes)]
    transaction = Transaction([write], caller.identity.login, guards, dry_run=bool(request.dryRun))
    pending = PendingWrite(transaction, lambda changes: changes[0], refusal)
    change = await commit(services.ledger, pending, caller.identity)
    if not request.dryRun:
        if content.state == RUNNING:
            log_state(change.id, content)
        return RolloutReply(change.id, change.revision)
    return RolloutReply(change.id, dryRun=True, affects=await in_slices(effect.of_names(fleet, {layer.name: names})))


def _undoing(services: Services, caller: Caller, request: RolloutStart) -> list[RolloutChange]:
    """The changes that undo a completed rollout of the same layer. Raises NotFound, Conflict or OutOfBounds."""
    change = _found(services, caller, request.undo)
    content = content_of(change)
    if content.layer != request.layer:
        raise OutOfBounds(f"Rollout {change.id} is one of layer '{content.layer}'")
    if content.state != COMPLETED:
        raise _over(services, content, change.id, "undone")
    return content.before


def _undo(layer: Layer, changes: list[RolloutChange]) -> list[RolloutChange]:
    try:
        return undo(layer, changes)
    except ValueError as error:
        raise Conflict(f"This rollout changes nothing: {error}") from None


def _changes(services: Services, caller: Caller, layer: str, given: list[RolloutChange]) -> list[RolloutChange]:
    if len(given) > MOST_CHANGES:
        raise OutOfBounds(f"changes must be a list of 1 to {MOST_CHANGES}")
    names: set[str] = set()
    for index, change in enumerate(given):
        name = name_to_put(services, caller, change.name, layer)
        if change.operation not in ("put", "delete"):
            raise InvalidParameters(f"changes[{index}]: operation must be put or delete")
        if change.operation == "put" and not change.value:
            raise violations([("value", None, "value field cannot be null.")])
        if len(change.value or "") > services.settings.value_length:
            raise OutOfBounds(f"changes[{index}]: Value is longer than {services.settings.value_length:,} characters")
        try:
            check_type(change.contentType or TEXT, (change.value or "").encode())
        except OutOfBounds as error:
            raise OutOfBounds(f"changes[{index}]: {error}") from None
        if name in names:
            raise OutOfBounds(f"'{name}' occurs twice in changes")
        names.add(name)
    return given


def _steps(given: list[Step]) -> list[Step]:
    if len(given) > MOST_STEPS:
        raise OutOfBounds(f"steps must be a list of 1 to {MOST_STEPS}")
    last = structs.replace(given[-1], gate=None)
    if last != Step(percent=100):
        raise OutOfBounds('the last step must be {"percent":100}')
    before = 0.0
    for index, step in enumerate(given):
        if step.percent is None and step.labels is None and step.deviceIds is None:
            raise OutOfBounds(f"steps[{index}] names no devices")
        try:
            check_bounds(Target(labels=step.labels, deviceIds=step.deviceIds, percent=step.percent))
        except OutOfBounds as error:
            raise OutOfBounds(f"steps[{index}]: {str(error).removeprefix('target.')}") from None
        if step.percent is not None and step.labels is None and step.deviceIds is None:
            if step.percent <= before:
                raise OutOfBounds(f"steps[{index}]: percent must be over {before:g}, that of a step before")
            before = step.percent
        _gate(step.gate or Gate())
    return given


def _gate(gate: Gate) -> Gate:
    for name, least, most in (
        ("success", 0, 100),
        ("failures", 0, 1_000_000),
        ("minimum", 0, 1_000_000),
        ("wait", 0, 31_536_000),
        ("limit", 1, 31_536_000),
        ("silent", 1, 31_536_000),
    ):
        if (value := getattr(gate, name)) is not None and not least <= value <= most:
            raise OutOfBounds(f"gate.{name} must be between {least} and {most:,}")
    if gate.onFailure not in (None, "hold", "rollback"):
        raise OutOfBounds("gate.onFailure must be hold or rollback")
    return gate


async def get(services: Services, caller: Caller, request: RolloutGet) -> Reply:
    """A rollout with its counts. Raises NotFound."""
    change = _found(services, caller, request.rollout)
    return RolloutGetReply(await _view(services, change, content_of(change)))


async def list_(services: Services, caller: Caller, request: RolloutList) -> Reply:
    """A page of rollouts, the newest first."""
    if request.state is not None and request.state not in STATES:
        raise OutOfBounds(f"state must be one of {', '.join(STATES)}")
    take = within("take", request.take, TAKE, MOST)
    found = await in_slices(_page(services, caller, request, take))
    return RolloutListReply([await _view(services, *each, LISTED) for each in found])


def _page(services: Services, caller: Caller, request: RolloutList, take: int) -> Steps[list[Found]]:
    """The rollouts that are wanted, the newest first."""
    found: list[Found] = []
    for change in sorted(services.ledger.kind(ROLLOUT).live.values(), key=attrgetter("id"), reverse=True):
        if len(found) == take:
            break
        if request.before is None or change.id < request.before:
            content = content_of(change)
            if request.state in (None, content.state) and services.fleet.sees_rollout(caller.identity, content):
                found.append((change, content))
            yield
    return found


Found: TypeAlias = tuple[Change, RolloutContent]
"""The last change of a rollout, and what it holds."""


async def _view(services: Services, change: Change, content: RolloutContent, most: int | None = None) -> RolloutView:
    """A rollout; in a list values of more than `most` characters are left out."""
    rollout = services.fleet.rollouts.get(change.id)
    counts = content.counts if rollout is None else (await services.progress.count(rollout))[0]
    return RolloutView(
        change.id,
        content.layer,
        content.state,
        content.step + 1,
        content.steps,
        gate_of(content),
        _shown(services, content.changes, most),
        content.salt or f"rollout/{change.id}",
        content.reason,
        counts,
        times.render(content.since),
        None if content.at is None else times.render(content.at),
        content.author,
        change.revision,
    )


def _shown(services: Services, changes: list[RolloutChange], most: int | None = None) -> list[RolloutChange]:
    """The changes without values that are secret or too long."""

    def hidden(each: RolloutChange) -> bool:
        return services.schemas.is_secret(each.name or "") or (most is not None and len(each.value or "") > most)

    return [structs.replace(each, value=None) if hidden(each) else each for each in changes]


def _found(services: Services, caller: Caller, number: int | None) -> Change:
    if number is None:
        raise InvalidParameters("rollout is required")
    change = services.ledger.get(ROLLOUT, str(number))
    if change is None or not services.fleet.sees_rollout(caller.identity, content_of(change)):
        raise NotFound(f"Rollout {number} does not exist")
    return change


def hold(services: Services, caller: Caller, request: RolloutHold) -> Coroutine[Any, Any, Reply]:
    """Hold a running rollout."""
    return _change(services, caller, request, (RUNNING,), "held")


def resume(services: Services, caller: Caller, request: RolloutResume) -> Coroutine[Any, Any, Reply]:
    """Resume a held rollout."""
    return _change(services, caller, request, (HELD,), "resumed", request.step)


def rollback(services: Services, caller: Caller, request: RolloutRollback) -> Coroutine[Any, Any, Reply]:
    """End a rollout. Raises Conflict with what would undo it when it is complete."""
    return _change(services, caller, request, tuple(OPEN), "rolled back")


async def _change(
    services: Services,
    caller: Caller,
    request: RolloutHold | RolloutResume | RolloutRollback,
    states: tuple[str, ...],
    what: str,
    step: int | None = None,
) -> Reply:
    while True:
        change = _found(services, caller, request.rollout)
        content = content_of(change)
        if content.state in OPEN:
            check_write(services, caller, content.layer)
        rollout = services.fleet.rollouts.get(change.id)
        if rollout is None or content.state not in states:
            raise _over(services, content, change.id, what)
        counts, now = (await services.progress.count(rollout))[0], services.ledger.now()
        check_token(services, caller)  # it may have ended meanwhile, or no longer reach all devices of the layer
        check_write(services, caller, content.layer)
        if what == "resumed":
            new = _resumed(content, step, counts.refused + counts.silent, now)
        elif what == "held":
            new = ended(content, HELD, now, counts, f"held by {caller.identity.login}")
        else:
            new = ended(content, ROLLED_BACK, now, counts, f"rolled back by {caller.identity.login}")
        if request.dryRun:  # it would succeed: after another decision about the rollout this is tried again
            return RolloutReply(change.id, dryRun=True)
        revision = await services.progress.write(change, new, by=caller.identity)
        if revision is not None:
            return RolloutReply(change.id, revision)


def _over(services: Services, content: RolloutContent, number: int, what: str) -> Conflict:
    text = f"Rollout {number} is {content.state}; it cannot be {what}"
    if content.state == COMPLETED and what == "rolled back":
        return Conflict(f"{text}: start its undoing changes as a rollout", changes=_shown(services, content.before))
    return Conflict(text)


def _resumed(content: RolloutContent, step: int | None, failed: int, now: int) -> RolloutContent:
    index = content.step
    if step is not None:
        if not 1 <= step <= len(content.steps):
            raise OutOfBounds(f"step must be between 1 and {len(content.steps)}")
        index = step - 1
    return structs.replace(content, state=RUNNING, since=now, reason=None, forgiven=failed, step=index)


READS = {
    RolloutStart: start,
    RolloutGet: get,
    RolloutList: list_,
    RolloutHold: hold,
    RolloutResume: resume,
    RolloutRollback: rollback,
}
