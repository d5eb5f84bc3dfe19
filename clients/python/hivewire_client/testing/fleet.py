"""What a fake gateway knows of a fleet: states and counts of its devices, and rollouts (fleet.md, 6 and 9).

A rollout reaches no device, and no gate decides: it runs until the test or a client says what has become of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from hivewire_client.testing.devices import Devices
from hivewire_client.testing.store import Members, Refusal, now

WORST = ("refused", "pending", "local", "applied")
"""The states, the worst first."""

OVER = ("completed", "rolledBack", "failed")

ERRORS = 5
"""How many errors are counted, the most frequent."""

NOBODY = dict.fromkeys(("reached", "applied", "refused", "silent", "waiting", "overridden"), 0)


def row(devices: Devices, device: str, has_name: Callable[[str], bool], online: Collection[str]) -> Members:
    """A device and its worst state."""
    found = devices.effective(device, has_name)
    states = {each["state"] for each in found}
    errors = {each["name"]: each["reported"]["error"] for each in found if each["state"] == "refused"}
    worst = next((each for each in WORST if each in states), "applied")
    about: Members = {"deviceId": device, "networkId": 1, "deviceTypeId": 1, "labels": {}}
    return {**about, "online": device in online, "state": worst, "errors": errors}


def counts(rows: Collection[Members]) -> Members:
    """The numbers of devices by their state, and the most frequent errors."""
    states = Counter(each["state"] for each in rows)
    errors = Counter(error for each in rows for error in each["errors"].items())
    frequent = sorted(errors.items(), key=lambda found: (-found[1], found[0]))[:ERRORS]
    return {
        "devices": len(rows),
        "online": sum(each["online"] for each in rows),
        **{state: states[state] for state in WORST},
        "errors": [{"name": name, "error": error, "devices": number} for (name, error), number in frequent],
    }


class Rollouts:
    """Rollouts by number, from 1."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._rollouts: list[Members] = []

    def start(self, request: Members) -> Members:
        """Begin one; its number."""
        number = len(self._rollouts) + 1
        given: dict[str, Any] = {"layer": request["layer"], "steps": request["steps"], "changes": request["changes"]}
        given |= {"gate": request.get("gate") or {}, "salt": request.get("salt") or "", "at": request.get("at")}
        started = {"rollout": number, "state": "running", "step": 1, "reason": None, "counts": NOBODY, "since": now()}
        self._rollouts.append({**given, **started, "author": "admin", "revision": 0})
        return {"rollout": number}

    def get(self, number: int) -> Members:
        """One as it is now."""
        if not 0 < number <= len(self._rollouts):
            raise Refusal(404, f"Rollout with number = {number} not found")
        return self._rollouts[number - 1]

    def decide(self, number: int, state: str, reason: str | None = None, step: int | None = None) -> None:
        """Give one another state; a completed one is written into its layer."""
        found = self.get(number)
        if found["state"] in OVER:
            raise Refusal(409, f"Rollout {number} has ended: it is {found['state']}")
        self._rollouts[number - 1] = found | {"state": state, "reason": reason, "step": step or found["step"]}
        if state == "completed":
            self._devices.change(found["layer"], found["changes"])
