"""A fleet: effective configurations and reports of devices, rollouts, and counts (fleet.md, sections 3, 6 and 9)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from hivewire_client import values
from hivewire_client.connection import Frame
from hivewire_client.device import Device
from hivewire_client.devices import Feed
from hivewire_client.link import Link
from hivewire_client.resources import TEXT

LOOK_SECONDS = 1.0
"""Interval of reading a rollout that is followed. The gateway decides about twice as often."""


class Reported(Struct, frozen=True):
    """What a device has reported of a name: the tag that it has applied or, with `error`, refused; without a tag its
    own."""

    tag: str | UnsetType | None = UNSET
    error: str | None = None
    value: str | None = None


class EffectiveConfiguration(Struct, frozen=True):
    """A configuration of a device: its value, and which layer it is from, or None of what only the device has.

    A secret value is None without a `tag`, but for the device itself. `hidden` are lower layers that have the name
    too, `rollout` the one whose new value this is. `state` is `applied`, `refused`, `local` or `pending`.
    """

    name: str
    value: str | None
    tag: str | UnsetType | None = UNSET
    layer: str | None = None
    version: int | None = field(name="entityVersion", default=None)
    content_type: str = field(name="contentType", default=TEXT)
    size: int | None = None
    secret: bool = False
    rollout: int | None = None
    hidden: tuple[str, ...] = ()
    state: str | None = None
    reported: Reported | None = None


class Effective(Struct, frozen=True):
    """The effective configurations of a device, by name, and its layers, the highest first."""

    configurations: tuple[EffectiveConfiguration, ...]
    revision: int
    layers: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> EffectiveConfiguration:
        """The configuration of this name. Raises KeyError."""
        for each in self.configurations:
            if each.name == name:
                return each
        raise KeyError(name)


class RolloutCounts(Struct, frozen=True):
    """The devices of a rollout."""

    reached: int
    applied: int
    refused: int
    silent: int
    waiting: int
    overridden: int


class RolloutState(Struct, frozen=True):
    """A rollout as it is now. `state` is `scheduled`, `running`, `held`, `completed`, `rolledBack` or `failed`, and
    `reason` why; `step` counts from 1. `gate` is that of this step. Times are in UTC: `2026-03-01T09:30:00.123`."""

    rollout: int
    layer: str
    state: str
    step: int
    steps: list[dict[str, Any]]
    gate: dict[str, Any]
    changes: list[dict[str, Any]]
    salt: str
    reason: str | None
    counts: RolloutCounts
    since: str
    at: str | None
    author: str | None
    revision: int

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in ("completed", "rolledBack", "failed")


class Rollout:
    """New values that more and more devices of a layer get, before the layer is written."""

    def __init__(self, link: Link, number: int) -> None:
        self.number = number
        self._link = link

    async def get(self) -> RolloutState:
        """Its current state. Raises NotFound, Denied, Unavailable."""
        reply = await self._link.request("rollout/get", {"rollout": self.number})
        return msgspec.convert(reply["rollout"], RolloutState)

    async def hold(self) -> None:
        """Give the new values to no more devices; those that have them keep them. Raises as `Hivewire.put`."""
        await self._link.request("rollout/hold", {"rollout": self.number})

    async def resume(self, step: int | None = None) -> None:
        """Resume it and ignore its failures so far; `step` continues there, without the gates before it."""
        await self._link.request("rollout/resume", {"rollout": self.number, "step": step})

    async def rollback(self) -> None:
        """Its devices get back what the layer says. Of a completed one it raises Conflict, and the error's
        `reply["changes"]` would undo it."""
        await self._link.request("rollout/rollback", {"rollout": self.number})

    async def follow(self) -> AsyncIterator[RolloutState]:
        """Its current state, and each state after that, until it has ended. Raises as `get`."""
        last: RolloutState | None = None
        while last is None or not last.is_over:
            if last is not None:
                await asyncio.sleep(LOOK_SECONDS)
            state = await self.get()
            if state != last:
                yield state
            last = state


class NameCounts(Struct, frozen=True):
    """The numbers of devices that should have a name, by its state."""

    name: str
    applied: int
    refused: int
    pending: int
    local: int


class ErrorCount(Struct, frozen=True):
    """How many devices have refused a name with this error."""

    name: str
    error: str
    devices: int


class FleetCounts(Struct, frozen=True):
    """How many devices there are, by the worst state of their names; and the five most frequent errors. Of a rollout
    also how many were reached, wait, are silent, and have all its names from a higher layer."""

    devices: int
    online: int
    applied: int
    refused: int
    pending: int
    local: int
    errors: tuple[ErrorCount, ...]
    names: tuple[NameCounts, ...] = ()
    reached: int | None = None
    waiting: int | None = None
    silent: int | None = None
    overridden: int | None = None


class FleetRow(Struct, frozen=True):
    """A device of the fleet: the worst state of its names, and what it has refused and why, by name."""

    device: str = field(name="deviceId")
    network: int = field(name="networkId")
    type: int = field(name="deviceTypeId")
    labels: dict[str, str]
    online: bool
    state: str
    errors: dict[str, str]


class FleetState(Struct, frozen=True):
    """The counts and rows now. `left`: why devices are no rows any more since the state that was read before:
    `state`, `target` or `deleted`."""

    counts: FleetCounts
    rows: tuple[FleetRow, ...] = ()
    left: dict[str, str] = {}


class _Left(Struct):
    deviceId: str
    why: str


class _Rows(Struct):
    """A push of rows."""

    entered: list[FleetRow]
    changed: list[FleetRow]
    left: list[_Left]


_counts, _rows = msgspec.json.Decoder(FleetCounts), msgspec.json.Decoder(_Rows)


class FleetFeed(Feed[FleetState]):
    """The states of a fleet. After a long pause a reader gets only the last one."""

    def __init__(self, link: Link, members: dict[str, Any]) -> None:
        super().__init__(link, "fleet", members, None, lambda push, frame, reset: None)
        self._counted: FleetCounts | None = None
        self._known: dict[str, FleetRow] = {}

    def since(self, subject: str | None) -> None:
        """None: each connection begins with the whole state."""

    def begin(self, reply: dict[str, Any]) -> None:
        """The first rows are all of them."""
        super().begin(reply)
        self._known = {}

    def take(self, frame: Frame) -> None:
        """Take a push: none has a position."""
        left: dict[str, str] = {}
        if frame.action == "fleet/count":
            self._counted = _counts.decode(frame.data)
        elif frame.action == "fleet/rows":
            rows = _rows.decode(frame.data)
            left = {each.deviceId: each.why for each in rows.left}
            self._known = {device: row for device, row in self._known.items() if device not in left}
            self._known |= {row.device: row for row in (*rows.entered, *rows.changed)}
        if self._counted is None:
            return
        if self._items:
            left = {**self._items.pop().left, **left}
        rows_now = tuple(self._known[device] for device in sorted(self._known))
        gone = {device: why for device, why in left.items() if device not in self._known}
        self.push(FleetState(self._counted, rows_now, gone))


class Fleet:
    """What a client can do with the configuration of devices."""

    _link: Link

    def device(
        self,
        device: str,
        *,
        names: Sequence[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        frame_bytes: int | None = None,
    ) -> Device:
        """A device with this id: what it should have, of these names, and what it says of it.

        The token is one of the device (`hivewire token --device ID`), the client best follows nothing else
        (`names=[]`). `cache` is a file that keeps what the device has answered: after a restart only what is different
        comes, for a device that keeps its values itself; without a file everything comes at each start. `frame_bytes`
        limits the frames of the gateway: 1,024 to 262,144.
        """
        return Device(self._link, device, names, None if cache is None else Path(cache), frame_bytes)

    async def effective(self, device: str, *names: str) -> Effective:
        """What a device should have, of these names or prefixes that end in `*`, where it is from, and what the device
        says of it. Raises NotFound, Denied, Unavailable."""
        members = {"deviceId": device, "names": [*names] or None}
        return msgspec.convert(await self._link.request("device/effective", members), Effective)

    def rollout(self, number: int) -> Rollout:
        """The rollout with this number."""
        return Rollout(self._link, number)

    async def start_rollout(
        self,
        layer: str,
        changes: Mapping[str, Any],
        steps: Sequence[float | Mapping[str, Any]] = (100,),
        *,
        gate: Mapping[str, Any] | None = None,
        salt: str | None = None,
        at: str | int | None = None,
    ) -> Rollout:
        """Give new values, by name, to more and more devices of a layer, and write them into it on success.

        None deletes a name; text is written as it is, everything else as JSON. A step is a percentage of the devices,
        or an object with `percent`, `labels`, `deviceIds` and `gate`; the last one is 100. Raises as `Hivewire.put`.
        """
        members = {
            "layer": layer,
            "changes": [_change(name, value) for name, value in changes.items()],
            "steps": [step if isinstance(step, Mapping) else {"percent": step} for step in steps],
        }
        reply = await self._link.request("rollout/start", {**members, "gate": gate, "salt": salt, "at": at})
        return Rollout(self._link, int(reply["rollout"]))

    def watch_fleet(
        self,
        target: Mapping[str, Any] | None = None,
        *,
        names: Sequence[str] | None = None,
        rollout: int | None = None,
        state: str | None = None,
        rows: int | None = None,
    ) -> FleetFeed:
        """The counts of the devices that the caller reaches, at most once a second; with `rows` so many of them too.

        `target` is as of a layer, `rollout` only counts the devices that see it, `names` only these names, and `state`
        limits the rows to those in it.
        """
        members = {"target": target, "names": names, "rollout": rollout, "state": state, "rows": rows}
        return FleetFeed(self._link, members)


def _change(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {"operation": "delete", "name": name}
    text, content_type = values.encode(value, None)
    change = {"operation": "put", "name": name, "value": text}
    return change if content_type == TEXT else {**change, "contentType": content_type}
