"""The handlers of configuration requests (configuration contract, sections 1-4)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Coroutine
from itertools import islice
from typing import Any

from hivewire import schedules
from hivewire.actions import browsing
from hivewire.actions.checks import (
    checked_patterns,
    description_of,
    expected_of,
    inline_of,
    within,
)
from hivewire.actions.layered import check_read, seen_from
from hivewire.actions.transaction import transact
from hivewire.actions.waiting import until_current, when_current
from hivewire.actions.writing import (
    Judged,
    Ref,
    affecting_of,
    check_type,
    delete_of,
    judged,
    name_of,
    name_to_put,
    pending_of,
    preconditions,
    put_of,
    ref_to_write,
    settled,
)
from hivewire.caller import Caller
from hivewire.dispatch import check_permission
from hivewire.fleet.layer_topic import EVERY
from hivewire.fleet.layers import DEVICE_RANK
from hivewire.ledger.pending import PendingWrite
from hivewire.ledger.records import (
    Change,
    Write,
)
from hivewire.resources import KIND, LAYERED, info_of, not_found
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    NotFound,
    OutOfBounds,
    TooLarge,
)
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import (
    TEXT,
    ChangeInfo,
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
    RevisionReply,
)
from hivewire_protocol.nouns.layer import key_of, split
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission
from hivewire_protocol.tenant.steps import Steps, at_once

TAKE, MOST = 1_000, 10_000
HISTORY_TAKE, MOST_HISTORY = 20, 1_000
LEAST_RESOURCE = len('{"name":"","value":"","entityVersion":1},')
SHORT_PAGE = 500
"""Configurations of a list that is made at once."""
PAGE = 25
"""Changes read from the journal at a time."""


def get(services: Services, caller: Caller, request: ConfigurationGet) -> Reply | Coroutine[Any, Any, Reply]:
    """The current resource, or an earlier one that is still kept, or NotFound."""
    if request.atLeast is not None or request.fresh:
        return when_current(get, services, caller, request)
    name = name_of(services, caller, request.name)
    if request.layer is not None or request.entityVersion is not None or request.revision is not None or request.reveal:
        return _get_other(services, caller, request)
    found = services.resources.read(name)
    if found is None:
        raise not_found(name)
    return found


async def get_change(services: Services, caller: Caller, request: ConfigurationGet) -> Change:
    """The change that a get requests, with any content. Raises as `get`, and NotFound for a delete."""
    await until_current(services, caller, request)
    ref = _ref(services, caller, request)
    if request.reveal:
        note_reveal(services, caller, ref.name)
    elif services.schemas.is_secret(ref.name):
        raise AccessDenied.because("the value is secret; reveal=true shows it, with RevealSecret")
    found = await _asked(services, caller, ref, request)
    if found.content is None:
        raise not_found(ref.name)
    return found


async def _get_other(services: Services, caller: Caller, request: ConfigurationGet) -> Reply:
    """A configuration of a layer, an earlier version, or one that may be secret."""
    ref = _ref(services, caller, request)
    if request.reveal:
        note_reveal(services, caller, ref.name)
    found = await _asked(services, caller, ref, request)
    return ConfigurationReply(services.resources.of(found, reveal=bool(request.reveal)), found.revision)


def note_reveal(services: Services, caller: Caller, *names: str) -> None:
    """Note in the audit that the caller reads secret values. Raises AccessDenied."""
    identity = caller.identity
    check_permission(identity, Permission.REVEAL_SECRET)
    for name in names:
        services.ledger.audit.note("reveal", name, identity.login, caller.address)


def _ref(services: Services, caller: Caller, request: ConfigurationGet | ConfigurationHistory) -> Ref:
    """The layer and name that a read request addresses. Raises as `name_of` and `check_read`."""
    name, layer = name_of(services, caller, request.name), request.layer
    if layer is None:
        return Ref(KIND, name, name, None)
    check_read(services, caller, layer)
    return Ref(LAYERED, key_of(layer, name), name, layer)


async def _asked(services: Services, caller: Caller, ref: Ref, request: ConfigurationGet) -> Change:
    """The current change of a name, or the earlier one that a get asks for. Raises NotFound."""
    if request.entityVersion is not None or request.revision is not None:
        return await _earlier(services, caller, ref, request.entityVersion, request.revision)
    if (current := services.ledger.get(ref.kind, ref.key)) is None:
        raise not_found(ref.name)
    return current


async def _earlier(services: Services, caller: Caller, ref: Ref, version: int | None, revision: int | None) -> Change:
    """A change of this name, by revision, or else by the version in its current life. Raises NotFound."""
    kind, key, name, layer = ref
    last = services.ledger.kind(kind).last(key)
    if last is None:
        raise not_found(name)
    if revision is not None:
        found = await services.ledger.history(kind, key, revision=revision, take=1)
        hidden = revision < await seen_from(services, caller.identity, layer)
        if found and not hidden and version in (None, found[0].version):
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
    kind, key, name, layer = _ref(services, caller, request)
    take = within("take", request.take, HISTORY_TAKE, MOST_HISTORY)
    if request.before is not None and request.before < 1:
        raise OutOfBounds("before must be a revision, at least 1")
    first, last = await seen_from(services, caller.identity, layer), services.ledger.kind(kind).last(key)
    if last is None or last.revision < first:
        raise not_found(name)
    secret = services.schemas.is_secret(name)
    found, room = list[ChangeInfo](), MAX_REPLY
    at = last.revision
    if request.before is not None and request.before <= at:
        # Paging gives the revision of a change of this name, which is found directly. Any other is searched for.
        direct = await services.ledger.history(kind, key, revision=request.before, take=1)
        at = direct[0].previous if direct else at
    while at and len(found) < take:
        page = await services.ledger.history(kind, key, revision=at, take=min(PAGE, take - len(found)))
        page = [change for change in page if change.revision >= first]
        wanted = [change for change in page if request.before is None or change.revision < request.before]
        shown = [services.resources.change(change) for change in wanted]
        room -= sum(len(each.configuration.value or "") for each in shown)
        if room < 0:
            raise TooLarge
        found += shown
        at = page[-1].previous if page else 0
    if services.schemas.is_secret(name) and not secret:
        return await history(services, caller, request)  # it has become so meanwhile
    return ConfigurationHistoryReply(found)


def put(services: Services, caller: Caller, request: ConfigurationPut) -> Judged:
    """Create or update one; equal values count as updates too."""
    return _pending_put(services, caller, put_of(services, caller, request), request)


def put_content(services: Services, caller: Caller, request: ConfigurationPut, content: bytes) -> Judged:
    """Create or update one with any bytes of the type in `request`; its `value` is ignored."""
    if request.layer is not None:
        raise OutOfBounds("A layer has no contents but texts, which configuration/put writes: devices read no others")
    name = name_to_put(services, caller, request.name, None)
    content_type = request.contentType or TEXT
    if not content:
        raise OutOfBounds("The content is empty")
    check_type(content_type, content, request.check)
    description = description_of(services, request.description)
    write = Write(KIND, name, content, content_type, description, expected_of(request))
    return _pending_put(services, caller, write, request)


def _pending_put(services: Services, caller: Caller, write: Write, request: ConfigurationPut) -> Judged:
    """The write of a put, with that of its expiry, as far as it is judged by then."""
    pending = pending_of(services, caller, write, request, services.resources.written)
    if request.ttl is not None or request.expires is not None:
        pending.transaction.writes = (write, schedules.expiry(write, request, services.ledger.now()))
    if request.dryRun and request.layer is not None:
        return affecting_of(services, caller, pending)
    return judged(services, caller, pending) if services.schemas.rules else pending


async def rollback(services: Services, caller: Caller, request: ConfigurationRollback) -> PendingWrite[Reply]:
    """Write an earlier content and type as a new version."""
    name = name_of(services, caller, request.name)
    ref = ref_to_write(services, caller, name, request.layer)
    if (request.to is None) == (request.toRevision is None):
        raise InvalidParameters("give either 'to' (a version) or 'toRevision'")
    description = description_of(services, request.description)
    earlier = await _earlier(services, caller, ref, request.to, request.toRevision)
    if earlier.content is None:
        raise OutOfBounds(f"Revision {earlier.revision} deleted '{name}'; use configuration/delete")
    expected = preconditions(services, ref, request)
    write = Write(ref.kind, ref.key, earlier.content, earlier.content_type, description, expected)
    pending = pending_of(services, caller, write, request, services.resources.written)
    affecting = request.dryRun and request.layer is not None
    return await (affecting_of if affecting else settled)(services, caller, pending)


def delete(services: Services, caller: Caller, request: ConfigurationDelete) -> Judged:
    """Delete a configuration. Raises NotFound when it does not exist."""
    pending = pending_of(services, caller, delete_of(services, caller, request), request, _deleted)
    affecting = request.dryRun and request.layer is not None
    return affecting_of(services, caller, pending) if affecting else pending


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
    page: list[Change] = []
    for start, end in ranges:
        start = max(start, first)
        skipped = min(skip, max(0, end - start))
        skip -= skipped
        if start + skipped < end:
            keys = kind.keys.islice(start + skipped, end)
            page += [kind.live[key] for key in islice(keys, take - len(page))]
    return _listed(services, request, count, page)


def _list_layers(
    services: Services, caller: Caller, request: ConfigurationList, wanted: Patterns, take: int, skip: int
) -> Reply | Coroutine[Any, Any, Reply]:
    """The same for a layer, or for all by rank, then name; callers with some devices do not get those of single
    devices."""
    if request.layer is None or request.layer == EVERY:
        start = _place(services, caller, request.after)
        own = services.registry.scope(caller.identity).everything
        # What is written meanwhile may be missing, so whoever resumes has to get it.
        reply = ConfigurationListReply(count=0, revision=services.ledger.revision)
        held = _held(services, wanted, start, skip, take, own=own)
        return in_slices(_filled_with(services, request, reply, held))
    check_read(services, caller, request.layer)
    layer = services.fleet.layers.by_name.get(request.layer)
    names = sorted(layer.values) if layer is not None else []
    keys = [key_of(request.layer, name) for name in names if name in wanted]
    count = len(keys)
    if request.after is not None:
        keys = keys[bisect_right(keys, key_of(request.layer, request.after)) :]
    live = services.ledger.kind(LAYERED).live
    return _listed(services, request, count, [live[key] for key in keys[skip : skip + take]])


_Place = tuple[int, str, str]
"""A place in the list of all layers: rank, layer, name."""


def _place(services: Services, caller: Caller, after: str | None) -> _Place:
    """The place of a name in a layer, or that before all. Raises as `check_read`."""
    if after is None:
        return -1, "", ""
    try:
        layer, name = split(after)
    except ValueError:
        raise OutOfBounds("after needs the form LAYER/NAME in a list of all layers") from None
    check_read(services, caller, layer)
    found = services.fleet.layers.by_name.get(layer)
    return DEVICE_RANK if found is None else found.rank, layer, name


def _held(
    services: Services, wanted: Patterns, start: _Place, skip: int, take: int, *, own: bool
) -> Steps[tuple[int, list[Change]]]:
    """How many values of layers are wanted, and a page of those behind a place. `own`: those of single devices too."""
    count, page, live = 0, list[Change](), services.ledger.kind(LAYERED).live
    layers = (yield from services.fleet.layers.ranked()) if own else services.fleet.layers.shared()
    for layer in layers:
        names = layer.values if wanted is EVERYTHING else [name for name in layer.values if name in wanted]
        count += len(names)
        if len(page) < take and (layer.rank, layer.name) >= start[:2]:
            if layer.name == start[1]:
                names = [name for name in names if name > start[2]]
            if skip < len(names):
                shown = sorted(names)[skip : skip + take - len(page)]
                page += [live[key_of(layer.name, name)] for name in shown]
            skip = max(0, skip - len(names))
        yield
    return count, page


def _listed(
    services: Services, request: ConfigurationList, count: int, page: list[Change]
) -> Reply | Coroutine[Any, Any, Reply]:
    """The reply with a page of what is there now. While a long one is made, the event loop serves others."""
    reply = ConfigurationListReply(count=count, revision=services.ledger.revision)
    steps = _filled(services, request, reply, page)
    return at_once(steps) if len(page) <= SHORT_PAGE else in_slices(steps)


def _filled_with(
    services: Services,
    request: ConfigurationList,
    reply: ConfigurationListReply,
    held: Steps[tuple[int, list[Change]]],
) -> Steps[Reply]:
    """The reply with the count and the page that are found first."""
    reply.count, page = yield from held
    return (yield from _filled(services, request, reply, page))


def _filled(
    services: Services, request: ConfigurationList, reply: ConfigurationListReply, page: list[Change]
) -> Steps[Reply]:
    """Show each change of the page in the reply. Raises TooLarge as soon as that cannot be sent."""
    inline = inline_of(request.inline)
    shown: list[Any] = []
    room = MAX_REPLY
    for change in page:
        resource = services.resources.of(change, inline)
        shown.append(info_of(change, resource) if request.detail else resource)
        room -= LEAST_RESOURCE + len(resource.name) + len(resource.value or "")
        if room < 0:
            raise TooLarge
        yield
    if request.detail:
        reply.changes = shown
    else:
        reply.configurations = shown
    return reply


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
