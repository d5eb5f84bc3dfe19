"""Commands and notifications of devices, and documents of tenants: what is followed beside the configurations."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from hivewire_client.connection import Frame
from hivewire_client.errors import HivewireError
from hivewire_client.link import Link, Subscription
from hivewire_client.stream import Stream

T = TypeVar("T")

MOST_UNREAD = 10_000
"""Messages that are held for a loop that does not read; the others are asked for when it has read them."""


@dataclass(slots=True)
class Command:
    """A command of a device. `position` is where to resume after it.

    `reset`: messages before it may be missing, because the gateway did not keep them long enough, or has the data of a
    backup. Then those that are kept come again.
    """

    id: int
    device: str
    name: str | None
    parameters: Any
    status: str | None
    result: Any
    timestamp: str
    position: str
    reset: bool
    _link: Link = field(repr=False, compare=False)

    async def done(self, result: dict[str, Any] | None = None, status: str = "done") -> None:
        """Report that it succeeded; `result` is any JSON object. Raises as `Hivewire.call`."""
        change = {"status": status, **({"result": result} if result is not None else {})}
        members = {"deviceId": self.device, "commandId": self.id, "command": change}
        # Idempotent, so it may be repeated after a connection broke.
        await self._link.request("command/update", members, repeatable=True)

    async def failed(self, result: dict[str, Any] | None = None) -> None:
        """The same with the status `failed`."""
        await self.done(result, "failed")


@dataclass(slots=True)
class Notification:
    """A notification of a device. `position` and `reset` are as those of a Command."""

    id: int
    device: str
    name: str | None
    parameters: Any
    timestamp: str
    position: str
    reset: bool


@dataclass(slots=True)
class TenantChanged:
    """The document of a tenant has changed: which elements, by their URIs.

    `updated_time` is the document's, in milliseconds since 1970; None when there is none. `reset`: this is the state,
    without what has changed; `truncated` or `conflated`: more has changed than is listed.
    """

    tenant: str
    updated_time: int | None
    revision: int
    added: list[str]
    removed: list[str]
    modified: list[str]
    modified_by: str | None
    position: str
    reset: bool = False
    truncated: bool = False
    conflated: bool = False


class Feed(Stream[T], Subscription, Generic[T]):
    """What a subscription brings, as an asynchronous iterator. It is followed from the first item that is asked for.

    Each item has the position from which another feed can resume after it; `position` is that of the last one that has
    come, which may not have been read yet.
    """

    def __init__(
        self,
        link: Link,
        noun: str,
        members: dict[str, Any],
        since: str | None,
        item: Callable[[dict[str, Any], Frame, bool], T | None],
    ) -> None:
        Stream.__init__(self)
        Subscription.__init__(self, noun, members, since)
        self._link = link
        self._item = item
        self._followed = self._behind = False
        self._begun = asyncio.Event()

    async def __anext__(self) -> T:
        """The next item; waits for it. Raises Denied, NotFound or Stopped when no more can come."""
        await self.follow()
        if self._behind and not self._items and self.number is not None:  # else it is about to be resumed anyway
            self._link.unfollow(self)
            self._behind = False
            await self._link.follow(self)
        return await super().__anext__()

    async def follow(self) -> None:
        """Follow it from now on, instead of from the first item that is asked for. It waits for a connection, however
        long."""
        if not self._followed:
            self._followed = True
            await self._link.follow(self)
        await self._begun.wait()

    def begin(self, reply: dict[str, Any]) -> None:
        """From here on nothing is missed: what too many unread ones have kept out comes again."""
        super().begin(reply)
        self._behind = False
        self._begun.set()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes."""
        super().end(error)
        self._begun.set()

    async def close(self) -> None:
        """End the iteration, and the subscription."""
        self.end()
        self._link.unfollow(self)

    def take(self, frame: Frame) -> None:
        """Take a push, unless too many are unread: further ones are requested again later."""
        self._behind = self._behind or len(self._items) >= MOST_UNREAD
        if not self._behind:
            super().take(frame)

    def apply(self, frames: list[Frame], position: str, *, replaces: bool) -> None:
        """Add the items of a group."""
        for frame in frames:
            item = self._item(msgspec.json.decode(frame.data), frame, replaces)
            if item is not None:
                self.push(item)
                replaces = False

    def refused(self, error: HivewireError) -> None:
        """The iteration ends with this."""
        self.end(error)


class Devices:
    """What a client can do with devices and tenants."""

    _link: Link

    def commands(
        self,
        device: str | None = None,
        *,
        networks: list[int] | None = None,
        types: list[int] | None = None,
        names: list[str] | None = None,
        updates: bool = False,
        since: str | None = None,
    ) -> Feed[Command]:
        """The commands for a device, or for those in these networks and of these types, or for all that are reached.

        Each comes once, in order, also when connections break in between; `since` resumes after the position of a
        command. With `updates` the answers to commands instead of the commands.
        """
        members = _selection(device, networks, types, names) | {"returnUpdatedCommands": updates or None}
        return Feed(self._link, "command", members, since, self._command)

    def notifications(
        self,
        device: str | None = None,
        *,
        networks: list[int] | None = None,
        types: list[int] | None = None,
        names: list[str] | None = None,
        since: str | None = None,
    ) -> Feed[Notification]:
        """The notifications of a device, or of those in these networks and of these types, or of all; as `commands`."""
        return Feed(self._link, "notification", _selection(device, networks, types, names), since, _notification)

    def watch_tenant(self, tenant: str, *, since: str | None = None) -> Feed[TenantChanged]:
        """The changes of a tenant's document, which begin with its state; `since` resumes after a position."""
        return Feed(self._link, "configuration", {"tenant": tenant}, since, _tenant)

    async def insert_command(
        self, device: str, name: str, parameters: Any = None, *, expires_in: int | None = None
    ) -> int:
        """Send a command to a device; its id. It is not delivered any more after `expires_in` seconds.

        It is inserted once, also if the connection breaks meanwhile. Raises Denied, NotFound, Busy, Unavailable, and
        Uncertain when no answer came in time.
        """
        return await self._insert(device, "command", name, parameters, expiresIn=expires_in)

    async def insert_notification(self, device: str, name: str, parameters: Any = None) -> int:
        """Insert a notification of a device; its id. It is inserted once, as a command is."""
        return await self._insert(device, "notification", name, parameters)

    async def send_command(
        self,
        device: str,
        name: str,
        parameters: Any = None,
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - it also says when the command expires
    ) -> Command:
        """Send a command and wait until the device has answered it.

        Raises TimeoutError, and as `insert_command`. The command is not delivered any more after the timeout.
        """
        async with asyncio.timeout(timeout), self.commands(device, updates=True) as updates:
            await updates.follow()
            number = await self.insert_command(device, name, parameters, expires_in=max(1, round(timeout)))
            while (update := await anext(updates)).id != number:
                pass
            return update

    async def _insert(self, device: str, kind: str, name: str, parameters: Any, **members: Any) -> int:
        message = {kind: name, **({"parameters": parameters} if parameters is not None else {})}
        members |= {"deviceId": device, kind: message, "idempotencyKey": secrets.token_hex(16)}
        reply = await self._link.request(f"{kind}/insert", members, repeatable=True)
        return int(reply[kind]["id"])

    def _command(self, push: dict[str, Any], frame: Frame, reset: bool) -> Command | None:
        found = push.get("command")
        if found is None:
            return None
        return Command(
            found["id"],
            found["deviceId"],
            found["command"],
            found["parameters"],
            found["status"],
            found["result"],
            found["timestamp"],
            frame.position or "",
            reset,
            self._link,
        )


def _selection(
    device: str | None, networks: list[int] | None, types: list[int] | None, names: list[str] | None
) -> dict[str, Any]:
    return {"deviceId": device, "networkIds": networks, "deviceTypeIds": types, "names": names, "resumable": True}


def _notification(push: dict[str, Any], frame: Frame, reset: bool) -> Notification | None:
    found = push.get("notification")
    if found is None:
        return None
    return Notification(
        found["id"],
        found["deviceId"],
        found["notification"],
        found["parameters"],
        found["timestamp"],
        frame.position or "",
        reset,
    )


def _tenant(push: dict[str, Any], frame: Frame, reset: bool) -> TenantChanged | None:
    if frame.action == "tenant/snapshot":
        if not push["tenants"]:
            return None
        (state,) = push["tenants"]
        place = frame.position or ""
        return TenantChanged(
            state["tenant"], state["updatedTime"], state["revision"], [], [], [], None, place, reset=True
        )
    if frame.action != "tenant/update":
        return None
    return TenantChanged(
        push["tenant"],
        push["updatedTime"],
        push["revision"],
        push["added"],
        push["removed"],
        push["modifiedUris"],
        push["modifiedBy"],
        frame.position or "",
        reset,
        push["truncated"],
        frame.conflated,
    )
