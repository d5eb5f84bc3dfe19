"""What networks and device types have in common, which is nearly everything (core protocol, sections 6.4 and 6.5).

The modules of the two nouns describe their differences in a `Noun`, and build their replies from the results here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from msgspec import Raw, UnsetType

from hivewire.access.user_changes import conflict
from hivewire.access.users import UserContent
from hivewire.actions.checks import MAX_DESCRIPTION, broken_name, check_token, violations
from hivewire.actions.listing import Paged, arrangement, equal, like, search
from hivewire.caller import Caller
from hivewire.devices import registry
from hivewire.devices.index import Device
from hivewire.devices.registry import Grouping, GroupingContent, Vacant
from hivewire.devices.scope import Scope
from hivewire.ledger.pending import PendingWrite, changed, commit
from hivewire.ledger.records import Change, Expected, Precondition, Refused, Transaction, Write
from hivewire.services import Services
from hivewire_protocol.errors import AccessDenied, InvalidParameters, NotAllowed, NotFound, WireError
from hivewire_protocol.messages import DONE, Reply
from hivewire_protocol.nouns.network import DeviceBrief

Ids = frozenset[int] | None
"""Ids of networks or device types; None stands for all."""

NAMED = 100
"""The most devices that an error names."""


class Noun(NamedTuple):
    """What differs between networks and device types.

    `kind` is that of the records; `title` begins the texts of errors. A caller sees those with ids both in `granted`,
    by its token, and in `assigned`, by what its user is. `devices` gives the networks and the types whose devices a
    token reaches in one of them.
    """

    kind: str
    title: str
    granted: Callable[[Scope], Ids]
    assigned: Callable[[UserContent], Ids]
    devices: Callable[[int, Scope], tuple[Ids, Ids]]

    def all(self, services: Services) -> Mapping[int, Grouping]:
        """Those that exist, by id."""
        return services.registry.groupings(self.kind)


class Filter(Protocol):
    """The members of a request that select by name."""

    @property
    def name(self) -> str | None: ...  # noqa: D102
    @property
    def namePattern(self) -> str | None: ...  # noqa: D102 - named as on the wire


class ListRequest(Filter, Paged, Protocol):
    """The members of a request for a list."""


class Fields(Protocol):
    """The members of a network or a device type as they are sent."""

    id: Raw | UnsetType
    name: str | None
    description: str | None


# Reading.


async def listed(services: Services, caller: Caller, noun: Noun, request: ListRequest) -> list[Grouping]:
    """Those that match and that the caller may see, sorted and paged."""
    arrange = arrangement(request, caller, _SORT_KEYS)
    granted, assigned = noun.granted(services.registry.scope(caller.identity)), _assigned(services, caller, noun)
    return arrange(await _search(services, noun, request, granted, assigned))


_SORT_KEYS: dict[str, Callable[[Grouping], Any]] = {"id": attrgetter("id"), "name": attrgetter("name")}


async def counted(
    services: Services, caller: Caller, noun: Noun, request: Filter, *, unscoped: bool = False, every: bool = False
) -> int:
    """How many match, of those in a list; `unscoped`: whatever the token grants; `every`: also of all others."""
    granted = None if unscoped or every else noun.granted(services.registry.scope(caller.identity))
    return len(await _search(services, noun, request, granted, None if every else _assigned(services, caller, noun)))


async def _search(services: Services, noun: Noun, request: Filter, granted: Ids, assigned: Ids) -> list[Grouping]:
    name, pattern = equal(request.name), like(request.namePattern, "namePattern")
    among = _among(noun.all(services), granted, assigned)
    return await search(among, lambda each: name(each.name) and (pattern is None or pattern(each.name)))


def _among(groupings: Mapping[int, Grouping], granted: Ids, assigned: Ids) -> list[Grouping]:
    """Those with ids in both sets, by id. The cost depends on the smaller set."""
    ids = granted if assigned is None else assigned if granted is None else granted & assigned
    return list(groupings.values()) if ids is None else [groupings[each] for each in sorted(ids) if each in groupings]


async def found(
    services: Services, caller: Caller, noun: Noun, grouping_id: int | None
) -> tuple[Grouping, list[Device]]:
    """One that the caller may see, with its devices that the token reaches. Raises AccessDenied, InvalidParameters or
    NotFound."""
    grouping = _existing(services, caller, noun, grouping_id)
    assigned = _assigned(services, caller, noun)
    if assigned is not None and grouping.id not in assigned:
        raise _not_found(noun, grouping.id)
    devices = services.registry.devices_in(*_reached(services, caller, noun, grouping))
    return grouping, await search(devices, lambda device: True)


def brief(device: Device) -> DeviceBrief:
    """A device as a member of its network or type."""
    content = device.content
    return DeviceBrief(device.id, content.name, content.data, content.blocked)


def _reached(services: Services, caller: Caller, noun: Noun, grouping: Grouping) -> tuple[Ids, Ids]:
    """The networks and the types of the devices that the caller sees in it: none in one that it does not see itself."""
    assigned = _assigned(services, caller, noun)
    if assigned is not None and grouping.id not in assigned:
        return frozenset(), frozenset()
    return noun.devices(grouping.id, services.registry.scope(caller.identity))


def _assigned(services: Services, caller: Caller, noun: Noun) -> Ids:
    user = services.users.by_id(caller.identity.user_id)
    return noun.assigned(user.content) if user is not None else frozenset()


# The order of refusals: scope, id, existence, then the body.


def checked_path(noun: Noun, parameter: str) -> Callable[[Services, Caller, Mapping[str, str]], None]:
    """The check of a path that names one, before the body is read. A path whose id is no number does not exist."""

    def check(services: Services, caller: Caller, parameters: Mapping[str, str]) -> None:
        text = parameters[parameter]
        if not (text.isascii() and text.isdecimal()) or len(text) > LONGEST_ID:
            raise NotFound
        _existing(services, caller, noun, int(text))

    return check


LONGEST_ID = 18
"""Digits that an id in a path may have."""


def _existing(services: Services, caller: Caller, noun: Noun, grouping_id: int | None) -> Grouping:
    granted = noun.granted(services.registry.scope(caller.identity))
    if grouping_id is not None and granted is not None and grouping_id not in granted:
        raise AccessDenied
    if grouping_id is None:
        raise InvalidParameters(f"{noun.title} id is wrong or empty")
    grouping = noun.all(services).get(grouping_id)
    if grouping is None:
        raise _not_found(noun, grouping_id)
    return grouping


def _not_found(noun: Noun, grouping_id: int) -> NotFound:
    return NotFound(f"{noun.title} with id = {grouping_id} not found")


# Writing.


def created(
    caller: Caller, noun: Noun, fields: Fields | UnsetType | None, made: Callable[[int], Reply]
) -> PendingWrite[Reply]:
    """Create one; `made` makes the reply from its id."""
    given = _given(noun, fields)
    _check(given, creates=True)
    if not (caller.http or isinstance(given.id, UnsetType) or bytes(given.id) == b"null"):
        raise InvalidParameters(f"{InvalidParameters.text}. Id cannot be specified.")
    content = GroupingContent(given.name or "", given.description)
    transaction = Transaction(registry.insert(noun.kind, content), caller.identity.login)

    def reply(changes: list[Change]) -> Reply:
        return made(changes[0].id)

    return PendingWrite(transaction, reply, lambda refused: _name_taken(noun))


async def updated(
    services: Services,
    caller: Caller,
    noun: Noun,
    grouping_id: int | None,
    fields: Fields | UnsetType | None,
    dry_run: bool | None,
) -> Reply:
    """Apply the members that are not null."""
    _existing(services, caller, noun, grouping_id)
    given = _given(noun, fields)
    _check(given, creates=False)

    def writes(grouping: Grouping, condition: Precondition) -> list[Write]:
        name = grouping.name if given.name is None else given.name
        description = grouping.description if given.description is None else given.description
        return registry.update(noun.kind, grouping, GroupingContent(name, description), condition)

    return await _change(services, caller, noun, grouping_id, writes, dry_run)


async def deleted(
    services: Services, caller: Caller, noun: Noun, grouping_id: int | None, dry_run: bool | None, *, force: bool
) -> Reply:
    """Delete one: with all its devices, or only while the caller sees none in it."""

    def writes(grouping: Grouping, condition: Precondition) -> list[Write]:
        if force:
            return registry.delete(noun.kind, grouping, condition)
        reached = _reached(services, caller, noun, grouping)
        visible = services.registry.devices_in(*reached)
        if named := [device.id for device in islice(visible, NAMED)]:
            more = " and more" if any(True for _ in visible) else ""
            raise InvalidParameters(
                f"There are the following devices within this {noun.title.lower()}: {', '.join(named)}{more}. "
                "Please review and delete them first."
            )
        return registry.delete(noun.kind, grouping, condition, Vacant(services.registry, *reached))

    return await _change(services, caller, noun, grouping_id, writes, dry_run)


async def _change(
    services: Services,
    caller: Caller,
    noun: Noun,
    grouping_id: int | None,
    writes: Callable[[Grouping, Precondition], list[Write]],
    dry_run: bool | None,
) -> Reply:
    """Write what `writes` makes of the current one, and try again when another change came first."""

    def refuse(refused: Refused) -> WireError:
        return _name_taken(noun) if registry.is_taken(refused) else conflict(refused)

    async def attempt() -> Reply:
        check_token(services, caller)
        grouping = _existing(services, caller, noun, grouping_id)
        record = services.ledger.get(noun.kind, str(grouping.id))
        current = Expected(revision=record.revision if record is not None else 0)
        transaction = Transaction(writes(grouping, current), caller.identity.login)
        pending: PendingWrite[Reply] = PendingWrite(transaction, lambda changes: DONE, refuse)
        return await commit(services.ledger, pending.tried(dry_run), caller.identity)

    return await changed(services.registry.changing, (noun.kind, str(grouping_id)), attempt)


def _given(noun: Noun, fields: Fields | UnsetType | None) -> Fields:
    if fields is None or isinstance(fields, UnsetType):
        raise InvalidParameters(f"{noun.title} is required")
    return fields


def _check(given: Fields, *, creates: bool) -> None:
    """Raise InvalidParameters with all rules that are broken."""
    broken = []
    if given.name is not None or creates:
        broken += broken_name(given.name)
    if given.description is not None and len(given.description) > MAX_DESCRIPTION:
        rule = f"The length of description should not be more than {MAX_DESCRIPTION} symbols."
        broken.append(("description", given.description, rule))
    if broken:
        raise violations(broken)


def _name_taken(noun: Noun) -> NotAllowed:
    return NotAllowed(f"{noun.title} cannot be created. {noun.title} with such name already exists")
