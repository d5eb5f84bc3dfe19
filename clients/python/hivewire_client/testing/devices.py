"""What a fake gateway knows of devices: what each should have, and what it says of that (fleet.md, 4 and 5)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from hivewire_client.testing.store import TEXT, Log, Members, Refusal

LAYER = "device/"
"""How the names of the layers begin that a fake gateway has: each is for one device."""


class Devices(Log):
    """The values of layers and the reports of devices, by device and name. An event is what is new for a device."""

    def __init__(self) -> None:
        super().__init__()
        self._saved: set[str] = set()
        self._desired: dict[str, dict[str, Members]] = {}
        self._reports: dict[str, dict[str, Members]] = {}

    def change(self, layer: str, writes: Iterable[Members]) -> list[Members]:
        """Carry out puts and deletes in the layer of a device; what it is told."""
        device = layer.removeprefix(LAYER)
        if device == layer:
            raise Refusal(404, f"Layer with name = {layer} not found: a fake gateway has those of devices, {LAYER}ID")
        desired = self._desired.setdefault(device, {})
        told = [_desired(write) for write in writes]
        for each in told:
            desired.pop(each["name"], None)
            if each["tag"] is not None:
                desired[each["name"]] = each
        self.events.append((device, told))
        return told

    @property
    def ids(self) -> set[str]:
        """The devices that were saved, should have something, or have said something."""
        return {*self._saved, *self._desired, *self._reports}

    def save(self, device: str) -> None:
        """Register a device."""
        self._saved.add(device)

    def forget(self, device: str) -> None:
        """Delete a device, with what it should have and has said."""
        self._saved.discard(device)
        for kept in (self._desired, self._reports):
            kept.pop(device, None)

    def state(self, device: str, has_name: Callable[[str], bool]) -> list[Members]:
        """What a device should have."""
        return [each for name, each in sorted(self._desired.get(device, {}).items()) if has_name(name)]

    def report(self, device: str, entries: Iterable[Members], *, complete: bool) -> None:
        """Take what a device says; `complete`: of other names it has nothing."""
        said = {} if complete else self._reports.get(device, {})
        for entry in entries:
            said.pop(entry["name"], None)
            if entry.get("tag", "own") is not None or entry.get("error") is not None:
                said[entry["name"]] = {key: value for key, value in entry.items() if key != "name"}
        self._reports[device] = said

    def reported(self, device: str) -> dict[str, Members]:
        """What a device said last, by name."""
        return dict(self._reports.get(device, {}))

    def effective(self, device: str, has_name: Callable[[str], bool]) -> list[Members]:
        """What a device should have and what it says, by name."""
        desired, said = self._desired.get(device, {}), self._reports.get(device, {})
        rows = []
        for name in sorted(filter(has_name, {*desired, *said})):
            row: Members = {"name": name, "value": None, "tag": None, "state": "pending"}
            if name in desired:
                row |= desired[name] | {"layer": LAYER + device}
            if name in said:
                row |= {"reported": said[name], "state": _state(row["tag"], said[name])}
            rows.append(row)
        return rows


def _desired(write: Members) -> Members:
    """A configuration as its device is told."""
    if write["operation"] == "delete":
        return {"name": write["name"], "value": None, "tag": None}
    kind, value = write.get("contentType") or TEXT, str(write["value"])
    tag = base64.urlsafe_b64encode(hashlib.sha256(f"{kind}\0{value}".encode()).digest()[:9]).decode()
    typed: dict[str, Any] = {} if kind == TEXT else {"contentType": kind, "size": len(value.encode())}
    return {"name": write["name"], "value": value, "tag": tag, **typed}


def _state(tag: str | None, said: Members) -> str:
    """How a device stands with a name (fleet.md, 5)."""
    if "tag" not in said:
        return "local"
    if said["tag"] != tag:
        return "pending"
    return "applied" if said.get("error") is None else "refused"
