"""What a fake gateway knows: configurations with their history, and messages of devices."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

Members = dict[str, Any]

TEXT = "text/plain; charset=utf-8"


class Refusal(Exception):
    """The error reply to a request."""

    def __init__(self, code: int, text: str, **members: Any) -> None:
        super().__init__(text)
        self.reply = {"code": code, "error": text, **members}


class Store:
    """Configurations by name, and all their changes: those of each transaction share a revision."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.revision = 0
        self.oldest = 1
        self.changes: list[Members] = []
        self.resources: dict[str, Members] = {}

    def position(self, revision: int | None = None) -> str:
        """The position after a revision, by default the last one."""
        return f"{self.epoch}-{self.revision if revision is None else revision}"

    def revision_of(self, position: str) -> int | None:
        """The revision of a position that can be resumed; None if it cannot."""
        epoch, _, revision = position.rpartition("-")
        if epoch != self.epoch or not self.oldest - 1 <= int(revision) <= self.revision:
            return None
        return int(revision)

    def lose_history(self) -> None:
        """Begin a new epoch, as after a backup was restored: no position can be resumed."""
        self.epoch = secrets.token_hex(8)
        self.oldest = self.revision + 1

    def since(self, revision: int) -> list[Members]:
        """The changes after a revision."""
        return [change for change in self.changes if change["revision"] > revision]

    def last(self, name: str) -> Members | None:
        """The last change of a name."""
        return next((each for each in reversed(self.changes) if each["configuration"]["name"] == name), None)

    def existing(self, name: str) -> Members:
        """The configuration of a name."""
        if name not in self.resources:
            raise Refusal(404, f"Configuration with name = {name} not found")
        return self.resources[name]

    def write(self, writes: Iterable[Members]) -> list[Members]:
        """Carry out puts and deletes, all or nothing; the changes."""
        asked = list(writes)
        self.check(asked)
        self.revision += 1
        found = [self._change(write) for write in asked]
        self.changes += found
        return found

    def check(self, writes: list[Members]) -> None:
        """Raise Refusal when one of them cannot be carried out."""
        for index, write in enumerate(writes):
            self._check(write, index if len(writes) > 1 else None)

    def _check(self, write: Members, index: int | None) -> None:
        name, expected = write["name"], write.get("entityVersion")
        current = self.resources.get(name)
        version = 0 if current is None else current["entityVersion"]
        among = {} if index is None else {"index": index}
        if expected is not None and expected != version:
            text = f"Configuration '{name}' is at version {version}, not {expected}"
            raise Refusal(409, text, change=self.last(name), **among)
        if write["operation"] == "delete" and current is None:
            raise Refusal(404, f"Configuration with name = {name} not found", **among)

    def _change(self, write: Members) -> Members:
        name, value = write["name"], write.get("value")
        version = self.resources[name]["entityVersion"] + 1 if name in self.resources else 1
        resource: Members = {"name": name, "value": value, "entityVersion": version}
        if write["operation"] == "delete":
            resource["value"] = None
            del self.resources[name]
        else:
            if (kind := write.get("contentType") or TEXT) != TEXT:
                resource |= {"contentType": kind, "size": len(str(value).encode())}
            self.resources[name] = resource
        return {
            "revision": self.revision,
            "operation": write["operation"],
            "modified": now(),
            "modifiedBy": write.get("modifiedBy", "admin"),
            "description": write.get("description"),
            "configuration": resource,
        }


class Log:
    """Events in one order, that can be followed from a position."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.events: list[Any] = []

    def position(self, place: int) -> str:
        """The position after so many events."""
        return f"{self.epoch}-{place}"

    def place_of(self, position: str) -> int | None:
        """How many events are before a position; None if it cannot be resumed."""
        epoch, _, place = position.rpartition("-")
        return int(place) if epoch == self.epoch else None

    def lose_history(self) -> None:
        """Begin a new epoch: no position can be resumed."""
        self.epoch = secrets.token_hex(8)


class Messages(Log):
    """The commands and notifications of devices, each an action and its message."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Members] = {}

    def insert(self, kind: str, message: Members) -> Members:
        """Store a message of this kind, once for each `idempotencyKey`; the whole message, and whether it is new."""
        key = message.get("idempotencyKey")
        if key in self._kept:
            return self._kept[key]
        found = {
            "id": len(self.events) + 1,
            "deviceId": message["deviceId"],
            kind: message[kind][kind],
            "parameters": message[kind].get("parameters"),
            "timestamp": now(),
            "networkId": 1,
            "deviceTypeId": 1,
        }
        if kind == "command":
            found |= {"lastUpdated": now(), "userId": 1, "lifetime": None, "status": None, "result": None}
        if key is not None:
            self._kept[key] = found
        self.events.append((f"{kind}/insert", found))
        return found

    def update(self, number: int, change: Members) -> Members:
        """Say how a command went."""
        found = next(
            (each for action, each in self.events if action == "command/insert" and each["id"] == number), None
        )
        if found is None:
            raise Refusal(404, f"Command with id = {number} not found")
        found = {**found, **change, "lastUpdated": now()}
        self.events.append(("command/update", found))
        return found


def moment(name: str, text: str) -> float:
    """The time of a member, in seconds since 1970. Raises Refusal if it is not to come."""
    found = datetime.fromisoformat(text).timestamp()
    if found <= time.time():
        raise Refusal(400, f"{name} must be in the future, a hundred years ahead at most")
    return found


def due(write: Members) -> float | None:
    """When a write expires, in seconds since 1970; None if it does not."""
    if write.get("ttl") is not None:
        return time.time() + int(write["ttl"])
    return None if write.get("expires") is None else moment("expires", write["expires"])


def now() -> str:
    """The time as the gateway writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
