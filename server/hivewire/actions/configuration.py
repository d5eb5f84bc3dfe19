"""The handlers of configuration requests (configuration contract, sections 1-4)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from msgspec import UNSET, structs

from hivewire import schedules
from hivewire.actions import browsing
from hivewire.actions.checks import (
    checked_patterns,
    description_of,
    expected_of,
    inline_of,
    out_of_length,
    violations,
    within,
)
from hivewire.actions.layered import check_read, check_write, conditions
from hivewire.actions.waiting import until_current, when_current
from hivewire.caller import Caller
from hivewire.fleet import effect
from hivewire.fleet.conditions import guards_of
from hivewire.fleet.layer_topic import EVERY
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import (
    MAX_TRANSACTION,
    Change,
    Transaction,
    Write,
)
from hivewire.resources import KIND, LAYERED, info_of, not_found
from hivewire.services import Services, now
from hivewire.slices import in_slices
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    NotFound,
    OutOfBounds,
    TooLarge,
    WireError,
)
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import (
    RESERVED,
    TEXT,
    Configuration,
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationHistory,
    ConfigurationHistoryReply,
    ConfigurationList,
    ConfigurationListReply,
    ConfigurationPut,
    ConfigurationReply,
    ConfigurationRollback,
    ConfigurationTransact,
    ConfigurationTransactReply,
    RevisionReply,
    TransactChange,
    forbidden_character,
    is_json,
    is_media_type,
    json_problem,
)
from hivewire_protocol.nouns.layer import TOP_RANK, key_of, split
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission

Judged: TypeAlias = PendingWrite[Reply] | Coroutine[Any, Any, PendingWrite[Reply]]
"""A write whose value fits the schema of its name, or what finds that out."""

TAKE, MOST = 1_000, 10_000
HISTORY_TAKE, MOST_HISTORY = 20, 1_000
LEAST_RESOURCE = len('{"name":"","value":"","entityVersion":1},')
PAGE = 25
"""Changes read from the journal at a time."""


def get(services: Services, caller: Caller, request: ConfigurationGet) -> Reply | Coroutine[Any, Any, Reply]:
    """The current resource, or an earlier one that is still kept, or NotFound."""
    if request.atLeast is not None or request.fresh:
        return when_current(get, services, caller, request)
    name = _name(services, caller, request.name)
    if request.layer is not None or request.entityVersion is not None or request.revision is not None or request.reveal:
        return _get_other(services, caller, request)
    found = services.resources.read(name)
    if found is None:
        raise not_found(name)
    return found


async def get_change(services: Services, caller: Caller, request: ConfigurationGet) -> Change:
    """The change that a get requests, with any content. Raises as `get`, and NotFound for a delete."""
    await until_current(services, caller, request)
    place = _place(services, caller, request)
    if request.reveal:
        note_reveal(services, caller, place.name)
    elif services.schemas.is_secret(place.name):
        raise AccessDenied(f"{AccessDenied.text}: the value is secret; reveal=true shows it, with RevealSecret")
    found: Change | None
    if request.entityVersion is not None or request.revision is not None:
        found = await _earlier(services, place, request.entityVersion, request.revision)
    else:
        found = services.ledger.get(place.kind, place.key)
    if found is None or found.content is None:
        raise not_found(place.name)
    return found


async def _get_other(services: Services, caller: Caller, request: ConfigurationGet) -> Reply:
    """One of a layer, an earlier one, or one that may be secret."""
    place = _place(services, caller, request)
    if request.reveal:
        note_reveal(services, caller, place.name)
    if request.entityVersion is not None or request.revision is not None:
        found = await _earlier(services, place, request.entityVersion, request.revision)
    else:
        current = services.ledger.get(place.kind, place.key)
        if current is None:
            raise not_found(place.name)
        found = current
    return ConfigurationReply(services.resources.of(found, reveal=bool(request.reveal)), found.revision)


def note_reveal(services: Services, caller: Caller, *names: str) -> None:
    """Note in the audit that somebody wants to see secret values. Raises AccessDenied."""
    identity = caller.identity
    if not identity.may(Permission.REVEAL_SECRET):
        raise AccessDenied(f"{AccessDenied.text}: this needs {Permission.REVEAL_SECRET.wire_name}")
    for name in names:
        services.ledger.audit.note("reveal", name, identity.login, caller.address)


class Place(NamedTuple):
    """Where a configuration is: kind and key of its record, its name, and its layer if it is in one."""

    kind: str
    key: str
    name: str
    layer: str | None


def _place(services: Services, caller: Caller, request: ConfigurationGet | ConfigurationHistory) -> Place:
    """The place that a request to read names. Raises as `_name` and `check_read`."""
    name, layer = _name(services, caller, request.name), request.layer
    if layer is None:
        return Place(KIND, name, name, None)
    check_read(services, caller, layer)
    return Place(LAYERED, key_of(layer, name), name, layer)


def _place_to_write(services: Services, caller: Caller, name: str, layer: str | None) -> Place:
    """The same for a request to write. Raises as `check_write`."""
    if layer is None:
        return Place(KIND, name, name, None)
    check_write(services, caller, layer)
    return Place(LAYERED, key_of(layer, name), name, layer)


async def _earlier(services: Services, place: Place, version: int | None, revision: int | None) -> Change:
    """A change of this name, by revision, or else by the version in its current life. Raises NotFound."""
    kind, key, name, _ = place
    last = services.ledger.kind(kind).last(key)
    if last is None:
        raise not_found(name)
    if revision is not None:
        found = await services.ledger.history(kind, key, revision=revision, take=1)
        if found and version in (None, found[0].version):
            return found[0]
        raise NotFound(f"Configuration '{name}' has no change of revision {revision}, or it is no longer kept")
    if last.content is None:
        raise not_found(name)
    at: Change | None = last
    while at is not None and version is not None and at.id == last.id and at.version >= version:
        page = await services.ledger.history(kind, key, revision=at.revision, take=PAGE)
        for change in page:
            if change.version == version and change.id == last.id:
                return change
        at = page[-1] if len(page) == PAGE else None
    raise NotFound(
        f"Configuration '{name}' has no version {version} (it is at {last.version}), or it is no longer kept"
    )


async def history(services: Services, caller: Caller, request: ConfigurationHistory) -> Reply:
    """The changes of a name, newest first. Raises NotFound when there are none."""
    await until_current(services, caller, request)
    kind, key, name, _ = _place(services, caller, request)
    take = within("take", request.take, HISTORY_TAKE, MOST_HISTORY)
    if request.before is not None and request.before < 1:
        raise OutOfBounds("before must be a revision, at least 1")
    last = services.ledger.kind(kind).last(key)
    if last is None:
        raise not_found(name)
    found: list[Change] = []
    at = last.revision
    if request.before is not None and request.before <= at:
        # Paging gives the revision of a change of this name, which is found directly. Any other is searched for.
        direct = await services.ledger.history(kind, key, revision=request.before, take=1)
        at = direct[0].previous if direct else at
    while at and len(found) < take:
        page = await services.ledger.history(kind, key, revision=at, take=min(PAGE, take - len(found)))
        found += [change for change in page if request.before is None or change.revision < request.before]
        if sum(len(change.content or b"") for change in found) > MAX_REPLY:
            raise TooLarge
        at = page[-1].previous if page else 0
    return ConfigurationHistoryReply([services.resources.change(change) for change in found])


def put(services: Services, caller: Caller, request: ConfigurationPut) -> Judged:
    """Create or update one; equal values count as updates too."""
    write = _put(services, caller, request)
    pending = _pending(services, caller, write, request, services.resources.written)
    if request.ttl is not None or request.expires is not None:
        _let_expire(services, request, pending.transaction)
    if request.dryRun and request.layer is not None:
        return _affecting(services, caller, pending)
    return _judged(services, caller, pending) if services.schemas.rules else pending


def _let_expire(services: Services, request: ConfigurationPut, transaction: Transaction) -> None:
    """Add to a put that its configuration expires. Raises InvalidParameters and OutOfBounds."""
    now = services.ledger.now()
    if request.ttl is not None and request.expires is not None:
        raise InvalidParameters("give either ttl or expires")
    if request.expires is not None:
        at = schedules.moment("expires", request.expires, now)
    elif request.ttl is None or not 1 <= request.ttl * 1_000 <= schedules.LONGEST:
        raise OutOfBounds("ttl must be a number of seconds, from 1 to a hundred years")
    else:
        at = now + request.ttl * 1_000
    [write] = transaction.writes
    transaction.writes = (write, schedules.expiry(write, at))


def _put(services: Services, caller: Caller, request: ConfigurationPut | TransactChange) -> Write:
    """The write of a put."""
    name = _name_to_put(services, caller, request.name, request.layer)
    settings = services.settings
    value = request.value
    if value is None:
        raise violations([("value", None, "value field cannot be null.")])
    if not 1 <= len(value) <= settings.value_length:
        raise out_of_length("Value", value, settings.value_length, "value_length")
    content, content_type = value.encode(), TEXT
    if request.contentType is not None:
        content_type = request.contentType
        check_type(content_type, content, request.check)
    description = request.description and description_of(services, request.description)
    if request.layer is not None:
        place = _place_to_write(services, caller, name, request.layer)
        expected = (*expected_of(request), *conditions(services, request.layer, name))
        return Write(place.kind, place.key, content, content_type, description, expected)
    return Write(KIND, name, content, content_type, description, expected_of(request))


def put_content(services: Services, caller: Caller, request: ConfigurationPut, content: bytes) -> Judged:
    """Create or update one with any bytes of the type in `request`; its `value` is ignored."""
    name = _name_to_put(services, caller, request.name, None)
    content_type = request.contentType or TEXT
    if not content:
        raise OutOfBounds("The content is empty")
    check_type(content_type, content, request.check)
    description = description_of(services, request.description)
    write = Write(KIND, name, content, content_type, description, expected_of(request))
    pending = _pending(services, caller, write, request, services.resources.written)
    if request.ttl is not None or request.expires is not None:
        _let_expire(services, request, pending.transaction)
    return _judged(services, caller, pending) if services.schemas.rules else pending


def check_type(content_type: str, content: bytes, check: bool | None = None) -> None:
    """Raise OutOfBounds for an invalid media type, and for content of a JSON type that is not valid JSON."""
    if not is_media_type(content_type):
        raise OutOfBounds("contentType must be a media type such as application/json")
    if check is not False and is_json(content_type) and (problem := json_problem(content)) is not None:
        raise OutOfBounds(f"Value is not valid JSON, which its contentType requires: {problem}")


def _name_to_put(services: Services, caller: Caller, given: str | None, layer: str | None) -> str:
    name, most = _name(services, caller, given), services.settings.name_length
    # A longer name may have been written through another dialect; then it can be written here too.
    fits = 1 <= len(name) <= most
    if not (fits and name.isprintable()) and (layer is not None or services.ledger.get(KIND, name) is None):
        if not fits:
            raise out_of_length("Name", name, most, "name_length")
        _refuse_characters(name)
    return name


async def rollback(services: Services, caller: Caller, request: ConfigurationRollback) -> PendingWrite[Reply]:
    """Write an earlier content and type as a new version."""
    name = _name(services, caller, request.name)
    place = _place_to_write(services, caller, name, request.layer)
    if (request.to is None) == (request.toRevision is None):
        raise InvalidParameters("give either 'to' (a version) or 'toRevision'")
    description = description_of(services, request.description)
    earlier = await _earlier(services, place, request.to, request.toRevision)
    if earlier.content is None:
        raise OutOfBounds(f"Revision {earlier.revision} deleted '{name}'; use configuration/delete")
    expected = expected_of(request)
    if place.layer is not None:
        expected = (*expected, *conditions(services, place.layer, name))
    write = Write(place.kind, place.key, earlier.content, earlier.content_type, description, expected)
    pending = _pending(services, caller, write, request, services.resources.written)
    affecting = request.dryRun and request.layer is not None
    return await (_affecting if affecting else _settled)(services, caller, pending)


def transact(services: Services, caller: Caller, request: ConfigurationTransact) -> Judged:
    """Several writes, all or nothing. The error says which of them is the first that was refused."""
    if request.at is not None:
        return _schedule(services, caller, request, request.at)
    changes = request.changes
    if not changes or len(changes) > MAX_TRANSACTION:
        raise InvalidParameters(f"changes must be a list of 1 to {MAX_TRANSACTION}")
    writes: list[Write] = []
    places: set[tuple[str, str]] = set()
    settled = True
    for index, change in enumerate(changes):
        try:
            write = _write(services, caller, change)
            settled &= services.schemas.check(write)
            if (write.kind, write.key) in places:
                raise OutOfBounds(f"'{write.key}' occurs twice in changes")
        except WireError as error:
            raise _at(error, index) from None
        places.add((write.kind, write.key))
        writes.append(write)
    dry_run = bool(request.dryRun)
    pending: PendingWrite[Reply] = PendingWrite(
        Transaction(writes, caller.identity.login, guards_of(writes), dry_run=dry_run),
        partial(_transacted, services, dry_run),
        lambda refused: _at(services.resources.refusal(refused), refused.index),
    )
    if dry_run and any(write.kind == LAYERED for write in writes):
        return _affecting(services, caller, pending)
    return pending if settled else _settled(services, caller, pending)


async def _schedule(services: Services, caller: Caller, request: ConfigurationTransact, at: str) -> PendingWrite[Reply]:
    """Write the transaction later, if it would be possible now. Raises as the transaction itself."""
    if len(request.changes or ()) >= MAX_TRANSACTION:
        raise InvalidParameters(f"changes must be a list of 1 to {MAX_TRANSACTION - 1} with at")
    when = schedules.moment("at", at, services.ledger.now())
    tried = transact(services, caller, structs.replace(request, at=None, dryRun=True))
    await commit(services.ledger, tried if isinstance(tried, PendingWrite) else await tried)
    if (ended := services.tokens.refusal(caller.identity, now())) is not None:  # meanwhile
        raise ended
    write = schedules.later(when, schedules.Rights.of(caller.identity), request.changes)

    def scheduled(changes: list[Change]) -> Reply:
        revision = UNSET if request.dryRun else changes[0].revision
        return ConfigurationTransactReply(schedule=changes[0].id, revision=revision)

    transaction = Transaction((write,), caller.identity.login)
    pending: PendingWrite[Reply] = PendingWrite(transaction, scheduled, services.resources.refusal)
    return pending.tried(request.dryRun)


def _write(services: Services, caller: Caller, change: TransactChange) -> Write:
    if change.operation == "put":
        return _put(services, caller, change)
    if change.operation == "delete":
        return _delete(services, caller, change)
    raise InvalidParameters("operation must be put or delete")


def _at(error: WireError, index: int) -> WireError:
    """The same error, with the index of its change in the transaction."""
    return type(error)(f"changes[{index}]: {error}", index=index, **error.members)


def delete(services: Services, caller: Caller, request: ConfigurationDelete) -> Judged:
    """Delete a configuration. Raises NotFound when it does not exist."""
    pending = _pending(services, caller, _delete(services, caller, request), request, _deleted)
    affecting = request.dryRun and request.layer is not None
    return _affecting(services, caller, pending) if affecting else pending


def _delete(services: Services, caller: Caller, request: ConfigurationDelete | TransactChange) -> Write:
    name, description = _name(services, caller, request.name), description_of(services, request.description)
    place, expected = _place_to_write(services, caller, name, request.layer), expected_of(request)
    if place.layer is not None:
        expected = (*expected, *conditions(services, place.layer, name))
    return Write(place.kind, place.key, None, "", description, expected)


def list_(services: Services, caller: Caller, request: ConfigurationList) -> Reply | Coroutine[Any, Any, Reply]:
    """A page, in the order of names, of those that match the patterns of the request and of the token."""
    if request.atLeast is not None or request.fresh:
        return when_current(list_, services, caller, request)
    take = within("take", request.take, TAKE, MOST)
    skip = request.skip or 0
    if skip < 0:
        raise OutOfBounds("skip must not be negative")
    wanted = checked_patterns(request.names) & caller.identity.names
    if request.layer is not None:
        return _list_layers(services, caller, request, wanted, take, skip)
    kind = services.ledger.kind(KIND)
    ranges = list(kind.ranges(wanted))
    count = sum(end - start for start, end in ranges)
    first = kind.keys.bisect_right(request.after) if request.after is not None else 0
    inline = inline_of(request.inline)
    page: list[Change] = []
    shown: list[Configuration] = []
    room = MAX_REPLY  # stop as soon as the reply is too large to be sent
    for start, end in ranges:
        start = max(start, first)
        skipped = min(skip, max(0, end - start))
        skip -= skipped
        start += skipped
        if start < end and len(page) < take:
            for key in islice(kind.keys.islice(start, end), take - len(page)):
                page.append(kind.live[key])
                shown.append(services.resources.of(page[-1], inline))
                room -= LEAST_RESOURCE + len(key) + len(shown[-1].value or "")
                if room < 0:
                    raise TooLarge
    reply = ConfigurationListReply(count=count, revision=services.ledger.revision)
    if request.detail:
        reply.changes = [info_of(change, resource) for change, resource in zip(page, shown, strict=True)]
    else:
        reply.configurations = shown
    return reply


def _list_layers(
    services: Services, caller: Caller, request: ConfigurationList, wanted: Patterns, take: int, skip: int
) -> Reply:
    """The same of a layer, or of all by rank, then name; of a caller with some devices not those of single ones."""
    if request.layer is None or request.layer == EVERY:
        if request.after is not None:
            raise OutOfBounds("after needs a single layer")
        own = services.registry.scope(caller.identity).everything
        keys = [
            key_of(layer.name, name)
            for layer in services.fleet.layers.ranked()
            if own or layer.rank <= TOP_RANK
            for name in sorted(layer.values)
            if name in wanted
        ]
    else:
        check_read(services, caller, request.layer)
        layer = services.fleet.layers.by_name.get(request.layer)
        names = sorted(layer.values) if layer is not None else []
        keys = [key_of(request.layer, name) for name in names if name in wanted]
    count = len(keys)
    if request.after is not None and request.layer is not None:
        keys = keys[bisect_right(keys, key_of(request.layer, request.after)) :]
    live = services.ledger.kind(LAYERED).live
    page = [live[key] for key in keys[skip : skip + take]]
    shown = [services.resources.of(change, inline_of(request.inline)) for change in page]
    if sum(LEAST_RESOURCE + len(each.name) + len(each.value or "") for each in shown) > MAX_REPLY:
        raise TooLarge
    reply = ConfigurationListReply(count=count, revision=services.ledger.revision)
    if request.detail:
        reply.changes = [info_of(change, each) for change, each in zip(page, shown, strict=True)]
    else:
        reply.configurations = shown
    return reply


def checked_name(services: Services, caller: Caller, name: str | None) -> str:
    """The name of a configuration that is to be put, if the caller may. Raises as a put."""
    return _name_to_put(services, caller, name, "")


def _name(services: Services, caller: Caller, name: str | None) -> str:
    """The name of a request, if the caller may use it.

    DEL and C1 characters were allowed once. A name that has them can still be read and deleted while it is known.
    """
    if name is None:
        raise InvalidParameters("Configuration name is wrong or empty")
    names = caller.identity.names
    if name == RESERVED or (names is not EVERYTHING and name not in names):
        problem = "is reserved" if name == RESERVED else "is not among those of the token"
        raise AccessDenied(f"{AccessDenied.text}: the name '{name[:128]}' {problem}")
    if not name.isprintable() and services.ledger.kind(KIND).last(name) is None:
        _refuse_characters(name)
    return name


def _refuse_characters(name: str) -> None:
    if (where := forbidden_character(name)) is not None:
        raise OutOfBounds(f"Configuration name has a forbidden character: {where}")


def _pending(
    services: Services,
    caller: Caller,
    write: Write,
    request: ConfigurationPut | ConfigurationDelete | ConfigurationRollback,
    answer: Callable[[list[Change]], Reply],
) -> PendingWrite[Reply]:
    """The write of one configuration, or its dry run."""
    transaction = Transaction((write,), caller.identity.login)
    if request.layer is not None:
        transaction.guards = guards_of((write,))
    if request.dryRun:
        transaction.dry_run = True
        answer = _would_delete if write.content is None else partial(_would_write, services)
    return PendingWrite(transaction, answer, services.resources.refusal)


def _judged(services: Services, caller: Caller, pending: PendingWrite[Reply]) -> Judged:
    """The write of one configuration, if its value fits the schema of its name. Raises DoesNotFit."""
    fits = services.schemas.check(pending.transaction.writes[0])
    return pending if fits else _settled(services, caller, pending)


async def _settled(services: Services, caller: Caller, pending: PendingWrite[Reply]) -> PendingWrite[Reply]:
    """The write, once it is known that its values fit their schemas, where that takes long. Raises DoesNotFit."""
    await services.schemas.settle(pending.transaction)
    if (ended := services.tokens.refusal(caller.identity, now())) is not None:  # meanwhile
        raise ended
    return pending


def _would_write(services: Services, changes: list[Change]) -> Reply:
    return ConfigurationReply(services.resources.of(changes[0]), dryRun=True)


def _would_delete(changes: list[Change]) -> Reply:
    return RevisionReply(dryRun=True)


def _transacted(services: Services, dry_run: bool, changes: list[Change]) -> Reply:
    shown = [services.resources.of(change) for change in changes]
    if dry_run:
        return ConfigurationTransactReply(shown, dryRun=True)
    return ConfigurationTransactReply(shown, revision=changes[0].revision)


def _deleted(changes: list[Change]) -> Reply:
    return RevisionReply(changes[0].revision)


READS = {
    ConfigurationGet: get,
    ConfigurationList: list_,
    ConfigurationHistory: history,
    ConfigurationRollback: rollback,
    **browsing.READS,
}
WRITES = {ConfigurationPut: put, ConfigurationDelete: delete, ConfigurationTransact: transact}


async def _affecting(services: Services, caller: Caller, pending: PendingWrite[Reply]) -> PendingWrite[Reply]:
    """The dry run of writes in layers; its reply says which devices they are about. Raises DoesNotFit."""
    pending = await _settled(services, caller, pending)
    names: dict[str, list[str]] = {}
    for write in pending.transaction.writes:
        if write.kind == LAYERED:
            layer, name = split(write.key)
            names.setdefault(layer, []).append(name)
    affects = await in_slices(effect.of_names(services.fleet, names))
    answer: Callable[[list[Change]], Any] = pending.answer
    pending.answer = lambda changes: structs.replace(answer(changes), affects=affects)
    return pending
