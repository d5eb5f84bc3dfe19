"""Polls over HTTP (devices, sections 2.8, 2.9 and 3.7, and its addendum, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import TypeAlias

from msgspec import Raw

from hivewire.actions import command
from hivewire.actions.device_messages import Encoded, moment, replayed, stored
from hivewire.actions.filtering import device_of_filter, numbers_of, reach_of, resolve, texts_of
from hivewire.actions.listing import Listing
from hivewire.caller import Caller
from hivewire.devices.scope import required
from hivewire.polls import Waiters, Wanted, update_of, wanted_by
from hivewire.services import Services, now
from hivewire.streams.message import Message
from hivewire_protocol.errors import InvalidParameters
from hivewire_protocol.messages import NOTHING, Reply, Request
from hivewire_protocol.nouns.poll import (
    CommandPoll,
    CommandPollMany,
    CommandWait,
    NotificationPoll,
    NotificationPollMany,
)

SECONDS, MOST_SECONDS = 30, 60

LIMIT = 100
"""Stored messages that a poll returns; those of commands may ask for another number."""

Poll: TypeAlias = CommandPoll | CommandPollMany | NotificationPoll | NotificationPollMany


async def commands(services: Services, caller: Caller, request: CommandPoll | CommandPollMany) -> Reply:
    """Commands that are stored, or else the next one. Raises InvalidParameters, AccessDenied or NotFound."""
    updated = isinstance(request, CommandPoll) and bool(request.returnUpdatedCommands)
    return await _poll(services, caller, request, services.polls.commands, "commands", request.limit, updated)


async def notifications(services: Services, caller: Caller, request: NotificationPoll | NotificationPollMany) -> Reply:
    """Notifications that are stored, or else the next one. Raises as `commands`."""
    return await _poll(services, caller, request, services.polls.notifications, "notifications", None, updated=False)


async def _poll(
    services: Services,
    caller: Caller,
    request: Poll,
    waiters: Waiters,
    what: str,
    limit: int | None,
    updated: bool,
) -> Reply:
    look = _looking(services, caller, request, orders=what == "commands", updated=updated)
    look()  # rights and what does not exist come before the bounds
    seconds = _seconds(request.waitTimeout)
    if limit is not None and limit < 0:
        raise InvalidParameters("Limit can't be less than 0.")
    most = LIMIT if limit is None else limit or None
    after = moment(request.timestamp, caller)
    read = partial(_stored, services, waiters, after, most, updated)
    found = await services.polls.wait(waiters, caller.identity, caller.when_gone, seconds, look, read)
    return Listing(what, found, lambda message: Raw(message.body))


def _looking(
    services: Services, caller: Caller, request: Poll, *, orders: bool, updated: bool
) -> Callable[[], Wanted | None]:
    """What a poll wants, worked out anew at each call."""
    names = texts_of(request.names)
    networks = types = None
    if isinstance(request, (CommandPollMany, NotificationPollMany)):
        networks, types = numbers_of(request.networkIds), numbers_of(request.deviceTypeIds)
    check = _checking(services, caller)

    def look() -> Wanted | None:
        check()
        device = device_of_filter(services, caller.identity, request.deviceId)
        found = resolve(reach_of(services, caller.identity), device, networks, types, names)
        return None if found is None else wanted_by(found, updated=updated, orders=orders)

    return look


def _checking(services: Services, caller: Caller) -> Callable[[], None]:
    """The test whether the caller may still have what it waits for. That its token expires meanwhile does no harm
    (devices, section 6.1): polls are short."""
    began = now()

    def check() -> None:
        if (refusal := services.tokens.refusal(caller.identity, began)) is not None:
            raise refusal

    return check


async def _stored(
    services: Services, waiters: Waiters, after: int | None, most: int | None, updated: bool, wanted: Wanted
) -> list[Message]:
    """What is stored, oldest first; without a time nothing, and of all devices together (devices, section 6.4)."""
    if after is None or wanted.filter.is_global:
        return []
    read = partial(replayed, services, waiters.log, wanted.filter, after=after)
    async with services.polls.reads:
        if not updated:
            return await read(most=most)
        found = await read(updated=True)
    # Clients go on from the last update that they got, so they need them in the order of updates.
    return sorted(found, key=attrgetter("changed"))[:most]


async def wait(services: Services, caller: Caller, request: CommandWait) -> Reply:
    """A command once it was updated; NOTHING when it was not in time, or is unknown. Raises as `commands`."""
    device_id, number = required(request.deviceId), request.commandId
    if number is None:
        raise InvalidParameters("Command id is wrong or empty")
    check, log = _checking(services, caller), services.messages.commands

    def look() -> Wanted:
        check()
        return update_of(services.registry.reach(caller.identity, device_id, follows=True).record_id, number)

    async def read(wanted: Wanted) -> list[Message] | None:
        found = await stored(log.get(wanted.filter.device or 0, number))
        return None if found is None else [found] if found.updated and not log.is_over(found) else []

    look()
    seconds = _seconds(request.waitTimeout)
    found = await services.polls.wait(services.polls.commands, caller.identity, caller.when_gone, seconds, look, read)
    return Encoded("command", found[0].body) if found else NOTHING


check_in_path = partial(command.check_in_path, follows=True)
"""Checks the path of a wait; see there."""


def _seconds(given: int | None) -> int:
    """The time to wait. The texts are those of the reference, with the blank at the end."""
    seconds = SECONDS if given is None else given
    if seconds > MOST_SECONDS:
        raise InvalidParameters(f"Timeout can't be more than {MOST_SECONDS} seconds. ")
    if seconds < 0:
        raise InvalidParameters("Timeout can't be less than 0 seconds. ")
    return seconds


READS: Mapping[type[Request], Callable[..., object]] = {
    CommandPoll: commands,
    CommandPollMany: commands,
    CommandWait: wait,
    NotificationPoll: notifications,
    NotificationPollMany: notifications,
}
