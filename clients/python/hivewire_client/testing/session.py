"""One connection to a fake gateway: its requests, and what it follows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from hivewire_client.resources import Patterns
from hivewire_client.testing import fleet
from hivewire_client.testing.devices import LAYER
from hivewire_client.testing.store import Members, Refusal, due

if TYPE_CHECKING:
    from hivewire_client.testing import FakeGateway

_OPEN = ("authenticate", "token", "token/refresh", "server/info")
"""What needs no token."""

_WRITES = ("put", "delete", "rollback", "transact", "insert", "update", "report", "save", "subscribe", "unsubscribe")
"""How requests end that change something, also who is online."""

PER_FRAME = 100
"""Configurations in a frame of a snapshot."""


class Followed:
    """What one subscription follows, and how far it has been told of it."""

    def __init__(self, noun: str, members: Members, place: int) -> None:
        self.noun = noun
        self.place = place
        names = members.get("names")
        self._names = Patterns(None if names is None else tuple(names))
        self._members = members
        self.device: str | None = members.get("deviceId") if noun == "configuration" else None
        self.devices: list[str] | None = (members.get("target") or {}).get("deviceIds")
        self.state: str | None = members.get("state")
        self.most: int = members.get("rows") or 0
        self.counts: Members = {}
        self.rows: dict[str, Members] = {}
        updates = members.get("returnUpdatedCommands")
        self._action = f"{noun}/update" if updates else f"{noun}/insert"

    def has(self, change: Members) -> bool:
        """Whether a change of a configuration matches."""
        return change["configuration"]["name"] in self._names

    def has_name(self, name: str) -> bool:
        """Whether a name matches."""
        return name in self._names

    def has_message(self, action: str, message: Members) -> bool:
        """Whether an event of a device matches."""
        device, names = self._members.get("deviceId"), self._members.get("names")
        return (
            action == self._action
            and device in (None, message["deviceId"])
            and (names is None or message[self.noun] in names)
        )


class Session:
    """A connection. What is sent to it waits in `outbox`, so that everything has one order."""

    def __init__(self, gateway: FakeGateway) -> None:
        self.gateway = gateway
        self.token: str | None = None
        self.paused = False
        self.followed: dict[int, Followed] = {}
        self.outbox: asyncio.Queue[Members] = asyncio.Queue()
        self._numbers = count(1)
        self._after: list[Members] = []

    def receive(self, text: str | bytes) -> bool:
        """Answer a request; False when the connection is to be cut instead."""
        request: Members = json.loads(text)
        action, number = request.get("action", ""), request.get("requestId")
        head: Members = {"action": action} | ({} if number is None else {"requestId": number})
        try:
            self.gateway.check(action)
            if self.token is None and action not in _OPEN:
                raise Refusal(401, "Token expired" if self.paused else "Unauthorized")
            handler = _HANDLERS.get(action)
            if handler is None:
                raise Refusal(400, f"Illegal argument: {action}")
            reply = head | {"status": "success"} | handler(self, request)
        except Refusal as refusal:
            reply = head | {"status": "error"} | refusal.reply
        except (KeyError, TypeError) as error:
            reply = head | {"status": "error", "code": 400, "error": f"Invalid request parameters: {error}"}
        if action.rpartition("/")[2] in _WRITES:
            self.gateway.push()  # before the answer, as a gateway does
        if self.gateway.is_cut(action):
            return False
        frames, self._after = [reply, *self._after], []
        for frame in frames:
            self.send(frame)
        return True

    def send(self, frame: Members) -> None:
        """Send a message."""
        self.outbox.put_nowait(frame)

    def push(self) -> None:
        """Push what is new."""
        if not self.paused:
            for number, followed in self.followed.items():
                for frame in self._missed(number, followed):
                    self.send(frame)

    def _missed(self, number: int, followed: Followed) -> list[Members]:
        """The pushes of what a subscription has not been told of."""
        if followed.noun == "fleet":
            return self._missed_fleet(number, followed)
        if followed.noun != "configuration":
            return self._missed_messages(number, followed)
        if followed.device is not None:
            return self._missed_desired(number, followed)
        store = self.gateway.store
        changes = [each for each in store.since(followed.place) if followed.has(each)]
        followed.place = store.revision
        frames: list[Members] = []
        for index, change in enumerate(changes, 1):
            ends = index == len(changes) or changes[index]["revision"] != change["revision"]
            place = {"position": store.position(change["revision"])} if ends else {"more": True}
            frames.append({"action": "configuration/update", "subscriptionId": number, **place, **change})
        return frames

    def _missed_messages(self, number: int, followed: Followed) -> list[Members]:
        messages = self.gateway.messages
        frames: list[Members] = []
        for place, (action, message) in enumerate(messages.events[followed.place :], followed.place + 1):
            if followed.has_message(action, message):
                position = messages.position(place)
                frames.append(
                    {"action": action, "subscriptionId": number, "position": position, followed.noun: message}
                )
        followed.place = len(messages.events)
        return frames

    def _missed_fleet(self, number: int, followed: Followed) -> list[Members]:
        devices, online, frames = self.gateway.devices, self.gateway.online(), list[Members]()
        ids = sorted(devices.ids & set(followed.devices) if followed.devices is not None else devices.ids)
        all_rows = [fleet.row(devices, each, followed.has_name, online) for each in ids]
        if (counts := fleet.counts(all_rows)) != followed.counts:
            followed.counts = counts
            frames.append({"action": "fleet/count", "subscriptionId": number, **counts})
        shown = [each for each in all_rows if followed.state in (None, each["state"])][: followed.most]
        rows, before = {each["deviceId"]: each for each in shown}, followed.rows
        if rows != before:
            followed.rows = rows
            frame: Members = {"action": "fleet/rows", "subscriptionId": number}
            frame["entered"] = [each for each in shown if each["deviceId"] not in before]
            frame["changed"] = [each for name, each in rows.items() if name in before and each != before[name]]
            gone = [name for name in before if name not in rows]
            frame["left"] = [{"deviceId": name, "why": "state" if name in ids else "deleted"} for name in gone]
            frames.append(frame)
        return frames

    def _missed_desired(self, number: int, followed: Followed) -> list[Members]:
        devices = self.gateway.devices
        frames: list[Members] = []
        for place, (device, told) in enumerate(devices.events[followed.place :], followed.place + 1):
            mine = [each for each in told if device == followed.device and followed.has_name(each["name"])]
            for each in mine:
                ends = {"position": devices.position(place)} if each is mine[-1] else {"more": True}
                head = {"action": "configuration/update", "subscriptionId": number}
                frames.append({**head, **ends, "configuration": each})
        followed.place = len(devices.events)
        return frames

    # Requests.

    def authenticate(self, request: Members) -> Members:
        """Give the connection a token."""
        token = request["token"]
        if token in self.gateway.refused:
            raise Refusal(401, "Token expired")
        self.token = token
        if self.paused:
            self.paused = False
            for number, followed in self.followed.items():
                self._after += [*self._missed(number, followed), self._mark(number, followed)]
        return {}

    def log_in(self, request: Members) -> Members:
        """A token for a login and its password."""
        if self.gateway.passwords.get(request["login"], request["password"]) != request["password"]:
            raise Refusal(401, "User with login = {login} not found or bad password")
        return {"accessToken": self.gateway.token(), "refreshToken": self.gateway.token()}

    def refresh(self, request: Members) -> Members:
        """Another token."""
        return {"accessToken": self.gateway.token()}

    def info(self, request: Members) -> Members:
        """About the gateway."""
        return {"info": {"apiVersion": "4.1.0"}}

    def get(self, request: Members) -> Members:
        """A configuration, or an earlier version."""
        name, version = request["name"], request.get("entityVersion")
        resource = self.gateway.store.existing(name) if version is None else self._version(name, version)
        last = self.gateway.store.last(name)
        return {"configuration": resource, "revision": last["revision"] if last is not None else 0}

    def _version(self, name: str, version: int) -> Members:
        for change in reversed(self.gateway.store.changes):
            resource: Members = change["configuration"]
            if (resource["name"], resource["entityVersion"]) == (name, version) and change["operation"] == "put":
                return resource
        raise Refusal(404, f"Version {version} of configuration with name = {name} not found")

    def put(self, request: Members) -> Members:
        """Write a configuration."""
        if request.get("layer") is not None:
            return self._write_layer({**request, "operation": "put"})
        (change,) = self.gateway.write([{**request, "operation": "put"}])
        return {"configuration": change["configuration"], "revision": change["revision"]}

    def delete(self, request: Members) -> Members:
        """Delete a configuration."""
        if request.get("layer") is not None:
            return self._write_layer({**request, "operation": "delete"})
        (change,) = self.gateway.write([{**request, "operation": "delete"}])
        return {"revision": change["revision"]}

    def _write_layer(self, write: Members) -> Members:
        if due(write) is not None:
            raise Refusal(400, "In a fake gateway nothing expires in layers")
        (told,) = self.gateway.devices.change(write["layer"], [write])
        resource = {"name": told["name"], "value": told["value"], "entityVersion": 1, "layer": write["layer"]}
        return {"configuration": resource, "revision": self.gateway.store.revision}

    def rollback(self, request: Members) -> Members:
        """Write an earlier version as a new one."""
        revision = request.get("toRevision")
        if revision is None:
            resource = self._version(request["name"], request["to"])
        else:
            (resource,) = (
                change["configuration"]
                for change in self.gateway.store.since(revision - 1)
                if change["revision"] == revision and change["configuration"]["name"] == request["name"]
            )
        return self.put({**request, "value": resource["value"], "contentType": resource.get("contentType")})

    def transact(self, request: Members) -> Members:
        """Several writes, now or later."""
        if request.get("at") is not None:
            number = self.gateway.write_later(request["at"], request["changes"])
            return {"schedule": number, "revision": self.gateway.store.revision}
        changes = self.gateway.write(request["changes"])
        found = [change["configuration"] for change in changes]
        return {"configurations": found, "revision": self.gateway.store.revision}

    def list_all(self, request: Members) -> Members:
        """Configurations by name."""
        wanted, after = Followed("configuration", request, 0), request.get("after") or ""
        matching = sorted(name for name in self.gateway.store.resources if wanted.has_name(name))
        page = [name for name in matching if name > after][: request.get("take") or 1_000]
        resources = [self.gateway.store.resources[name] for name in page]
        return {"configurations": resources, "count": len(matching), "revision": self.gateway.store.revision}

    def history(self, request: Members) -> Members:
        """The changes of a name, newest first."""
        name, before = request["name"], request.get("before") or self.gateway.store.revision + 1
        changes = [
            change
            for change in reversed(self.gateway.store.changes)
            if change["configuration"]["name"] == name and change["revision"] < before
        ]
        return {"changes": changes[: request.get("take") or 20]}

    def subscribe(self, request: Members) -> Members:
        """Follow configurations."""
        if request.get("tenant") is not None:
            raise Refusal(404, "A fake gateway has no tenants")
        if request.get("deviceId") is not None:
            return self._subscribe_device(request)
        store, number = self.gateway.store, next(self._numbers)
        followed = self.followed[number] = Followed("configuration", request, store.revision)
        since = request.get("since")
        revision = store.revision_of(since) if since is not None else None
        if revision is not None:
            followed.place = revision
            self._after = [*self._missed(number, followed), self._mark(number, followed)]
            return {"subscriptionId": number, "mode": "resumed", "position": store.position(revision)}
        self._after = self._snapshot(number, followed, reset=since is not None)
        if since is None:
            return {"subscriptionId": number, "mode": "snapshot"}
        return {"subscriptionId": number, "mode": "reset", "oldest": store.oldest}

    def _subscribe_device(self, request: Members) -> Members:
        devices, number = self.gateway.devices, next(self._numbers)
        followed = self.followed[number] = Followed("configuration", request, len(devices.events))
        since = request.get("since")
        place = None if since is None else devices.place_of(since)
        if place is not None:
            followed.place = place
            self._after = [*self._missed(number, followed), self._mark(number, followed)]
            return {"subscriptionId": number, "mode": "resumed", "position": since}
        state = devices.state(request["deviceId"], followed.has_name)
        position = devices.position(followed.place)
        self._after = _snapshot(number, state, position, reset=since is not None)
        return {"subscriptionId": number, "mode": "snapshot" if since is None else "reset"}

    def _snapshot(self, number: int, followed: Followed, *, reset: bool) -> list[Members]:
        resources = [each for name, each in sorted(self.gateway.store.resources.items()) if followed.has_name(name)]
        return _snapshot(number, resources, self.gateway.store.position(), reset=reset)

    def _mark(self, number: int, followed: Followed) -> Members:
        """The bookmark that says that the present is reached."""
        if followed.device is not None:
            position = self.gateway.devices.position(followed.place)
        elif followed.noun == "configuration":
            position = self.gateway.store.position()
        else:
            position = self.gateway.messages.position(followed.place)
        return {"action": f"{followed.noun}/bookmark", "subscriptionId": number, "position": position, "live": True}

    def unsubscribe(self, request: Members) -> Members:
        """End a subscription."""
        if self.followed.pop(request["subscriptionId"], None) is None:
            raise Refusal(404, "no such subscription")
        return {}

    def save(self, request: Members) -> Members:
        """Register a device."""
        self.gateway.devices.save(request["deviceId"])
        return {}

    def forget(self, request: Members) -> Members:
        """Delete a device."""
        self.gateway.devices.forget(request["deviceId"])
        return {}

    def report(self, request: Members) -> Members:
        """What a device says."""
        self.gateway.devices.report(request["deviceId"], request["report"], complete=bool(request.get("complete")))
        return {}

    def effective(self, request: Members) -> Members:
        """What a device should have, and what it says."""
        device, names = request["deviceId"], Followed("configuration", request, 0)
        rows = self.gateway.devices.effective(device, names.has_name)
        return {"layers": [LAYER + device], "configurations": rows, "revision": self.gateway.store.revision}

    def subscribe_fleet(self, request: Members) -> Members:
        """Follow the counts of devices, and rows of them."""
        if {*(request.get("target") or {})} - {"deviceIds"} or request.get("rollout") is not None:
            raise Refusal(400, "A fake gateway finds devices by `deviceIds` only")
        number = next(self._numbers)
        followed = self.followed[number] = Followed("fleet", request, 0)
        self._after = self._missed(number, followed)
        return {"subscriptionId": number, "mode": "snapshot"}

    def rollout(self, request: Members) -> Members:
        """Begin a rollout, say how it is, or give it another state."""
        verb, rollouts = request["action"].partition("/")[2], self.gateway.rollouts
        if verb == "start":
            return rollouts.start(request)
        if verb == "get":
            return {"rollout": rollouts.get(request["rollout"])}
        state = {"hold": "held", "resume": "running", "rollback": "rolledBack"}[verb]
        rollouts.decide(request["rollout"], state, step=request.get("step"))
        return {}

    def insert(self, request: Members) -> Members:
        """Store a command or a notification."""
        kind = request["action"].partition("/")[0]
        found = self.gateway.messages.insert(kind, request)
        return {kind: {name: found[name] for name in ("id", "timestamp")}}

    def update(self, request: Members) -> Members:
        """Say how a command went."""
        self.gateway.messages.update(request["commandId"], request["command"])
        return {}

    def subscribe_messages(self, request: Members) -> Members:
        """Follow commands or notifications."""
        noun, messages = request["action"].partition("/")[0], self.gateway.messages
        number = next(self._numbers)
        followed = self.followed[number] = Followed(noun, request, len(messages.events))
        since = request.get("since")
        if since is None:
            return {"subscriptionId": number, "mode": "live", "position": messages.position(followed.place)}
        place = messages.place_of(since)
        followed.place = place or 0
        begin = messages.position(followed.place)
        self._after = [*self._missed(number, followed), self._mark(number, followed)]
        if place is None:
            self._after[0]["reset"] = True
            return {"subscriptionId": number, "mode": "reset", "oldest": 0, "position": begin}
        return {"subscriptionId": number, "mode": "resumed", "position": begin}


def _snapshot(number: int, resources: list[Members], position: str, *, reset: bool) -> list[Members]:
    """The frames of a state."""
    pages = [resources[first : first + PER_FRAME] for first in range(0, len(resources), PER_FRAME)] or [[]]
    frames: list[Members] = []
    for page in pages:
        frame: Members = {"action": "configuration/snapshot", "subscriptionId": number}
        frames.append(frame | {"configurations": page, "last": False})
    if reset:
        frames[0]["reset"] = True
    frames[-1] |= {"last": True, "position": position}
    return frames


_HANDLERS: dict[str, Callable[[Session, Members], Members]] = {
    "authenticate": Session.authenticate,
    "token": Session.log_in,
    "token/refresh": Session.refresh,
    "server/info": Session.info,
    "configuration/get": Session.get,
    "configuration/put": Session.put,
    "configuration/delete": Session.delete,
    "configuration/rollback": Session.rollback,
    "configuration/transact": Session.transact,
    "configuration/list": Session.list_all,
    "configuration/history": Session.history,
    "configuration/subscribe": Session.subscribe,
    "configuration/unsubscribe": Session.unsubscribe,
    "device/save": Session.save,
    "device/delete": Session.forget,
    "device/report": Session.report,
    "device/effective": Session.effective,
    "command/insert": Session.insert,
    "command/update": Session.update,
    "command/subscribe": Session.subscribe_messages,
    "command/unsubscribe": Session.unsubscribe,
    "notification/insert": Session.insert,
    "notification/subscribe": Session.subscribe_messages,
    "notification/unsubscribe": Session.unsubscribe,
    "fleet/subscribe": Session.subscribe_fleet,
    "fleet/unsubscribe": Session.unsubscribe,
    **{f"rollout/{verb}": Session.rollout for verb in ("start", "get", "hold", "resume", "rollback")},
}
