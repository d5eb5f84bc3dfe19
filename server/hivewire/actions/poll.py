"""Polls over HTTP (devices, sections 2.8, 2.9 and 3.7, and its addendum, section 6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import Raw

from hivewire.actions import command, device_messages
from hivewire.actions.device_messages import Encoded, moment, replayed, stored
from hivewire.actions.filtering import device_of_filter, numbers_of, reach_of, resolve, texts_of
from hivewire.actions.listing import Listing
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.devices.scope import required
from hivewire.polls import Waiters, Wanted, update_of, wanted_by
from hivewire.services import Services
from hivewire.slices import in_order, in_slices
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

ELEMENT_BYTES = 100
"""Approximate memory of an element of a list that is waited with, in bytes, beside its text."""

Poll: TypeAlias = CommandPoll | CommandPollMany | NotificationPoll | NotificationPollMany


class Asked:
    """What a poll asks for. It is not made of functions within functions, which take more memory: thousands wait."""

    __slots__ = ("after", "began", "caller", "most", "names", "networks", "request", "services", "types", "updated")

    def __init__(self, services: Services, caller: Caller, request: Poll) -> None:
        self.services, self.caller, self.request = services, caller, request
        self.began = now()
        self.updated = isinstance(request, CommandPoll) and bool(request.returnUpdatedCommands)
        self.names = texts_of(request.names)
        self.networks: Sequence[int] | None = None
        self.types: Sequence[int] | None = None
        if isinstance(request, (CommandPollMany, NotificationPollMany)):
            self.networks, self.types = numbers_of(request.networkIds), numbers_of(request.deviceTypeIds)
        self.after: int | None = None
        self.most: int | None = None

    @property
    def waiters(self) -> Waiters:
        """Those that wait for messages of the same log."""
        return self.services.polls.commands if self.orders else self.services.polls.notifications

    @property
    def size(self) -> int:
        """Approximate bytes of its lists, which are in memory as long as it waits."""
        request = self.request
        lists = [request.names]
        if isinstance(request, (CommandPollMany, NotificationPollMany)):
            lists += [request.networkIds, request.deviceTypeIds]
        return sum([len(text) + ELEMENT_BYTES * (1 + text.count(",")) for each in lists for text in each or ()])

    @property
    def orders(self) -> bool:
        """Whether it is for commands."""
        return isinstance(self.request, (CommandPoll, CommandPollMany))

    def look(self) -> Wanted | None:
        """The messages that it wants, by the caller's current rights. Raises what the request would be refused with."""
        services, identity = self.services, self.caller.identity
        services.tokens.check(identity, self.began)  # one that expires meanwhile is accepted (devices, section 6.1)
        device = device_of_filter(services, identity, self.request.deviceId)
        found = resolve(reach_of(services, identity), device, self.networks, self.types, self.names)
        return None if found is None else wanted_by(found, updated=self.updated, orders=self.orders)

    async def stored(self, wanted: Wanted) -> list[Message]:
        """What is stored, oldest first; without a time nothing, and of all devices together (devices, section 6.4)."""
        if self.after is None or wanted.filter.is_global:
            return []
        read = partial(replayed, self.services, self.waiters.log, wanted.filter, after=self.after)
        async with self.services.polls.reads:
            if not self.updated:
                return await read(most=self.most)
            found = await read(updated=True)
        # Clients go on from the last update that they got, so they need them in the order of updates.
        return (await in_slices(in_order(found, attrgetter("changed"))))[: self.most]


def commands(services: Services, caller: Caller, request: CommandPoll | CommandPollMany) -> Coroutine[Any, Any, Reply]:
    """Commands that are stored, or else the next one. Raises InvalidParameters, AccessDenied or NotFound."""
    return _poll(Asked(services, caller, request), "commands", request.limit)


def notifications(
    services: Services, caller: Caller, request: NotificationPoll | NotificationPollMany
) -> Coroutine[Any, Any, Reply]:
    """Notifications that are stored, or else the next one. Raises as `commands`."""
    return _poll(Asked(services, caller, request), "notifications", None)


def _poll(asked: Asked, what: str, limit: int | None) -> Coroutine[Any, Any, Reply]:
    asked.look()  # rights and what does not exist come before the bounds
    seconds = _seconds(asked.request.waitTimeout)
    if limit is not None and limit < 0:
        raise InvalidParameters("Limit can't be less than 0.")
    asked.most = LIMIT if limit is None else limit or None
    asked.after = moment(asked.request.timestamp, asked.caller)
    caller, wait = asked.caller, asked.services.polls.wait
    return _answer(what, wait(asked.waiters, caller.identity, caller.when_gone, seconds, asked.size, asked))


async def _answer(what: str, waiting: Awaitable[list[Message]]) -> Reply:
    """Few variables, because they take memory for as long as the request waits."""
    return Listing(what, await waiting, lambda message: Raw(message.body))


class AskedForUpdate:
    """What a wait for the update of one command asks for."""

    __slots__ = ("began", "caller", "device_id", "number", "services")

    def __init__(self, services: Services, caller: Caller, request: CommandWait) -> None:
        self.services, self.caller, self.began = services, caller, now()
        self.device_id = required(request.deviceId)
        if request.commandId is None:
            raise InvalidParameters("Command id is wrong or empty")
        self.number = request.commandId

    def look(self) -> Wanted:
        """As that of Asked."""
        services, identity = self.services, self.caller.identity
        services.tokens.check(identity, self.began)
        return update_of(services.registry.reach(identity, self.device_id, follows=True).record_id, self.number)

    async def stored(self, wanted: Wanted) -> list[Message] | None:
        """The command if it was updated; None if there is none."""
        log = self.services.messages.commands
        found = await stored(log.get(wanted.filter.device or 0, self.number))
        return None if found is None else [found] if found.updated and not log.is_over(found) else []


async def wait(services: Services, caller: Caller, request: CommandWait) -> Reply:
    """A command once it was updated; NOTHING when it was not in time, or is unknown. Raises as `commands`."""
    asked = AskedForUpdate(services, caller, request)
    asked.look()
    polls, seconds = services.polls, _seconds(request.waitTimeout)
    found = await polls.wait(polls.commands, caller.identity, caller.when_gone, seconds, 0, asked)
    return Encoded(b'"command":' + found[0].body) if found else NOTHING


check_device_in_path = partial(device_messages.check_device_in_path, follows=True)
"""Checks the path of a poll; see there."""

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
