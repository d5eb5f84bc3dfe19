"""Rollouts: new values of a layer that are given to more and more of its devices (fleet.md, section 6).

A rollout is a record; the layer is written on success. Pure functions decide about a step from counts. A decision is a
transaction that expects the rollout's revision, so only one of several gateways makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Struct, structs

from hivewire.fleet.layers import Layer, Placed, Selector, Tagger, Value, Written
from hivewire.fleet.views import Overlay
from hivewire.ledger.records import Change, EvaluatedState
from hivewire.schedules import Rights
from hivewire_protocol.errors import Conflict, WireError
from hivewire_protocol.nouns.configuration import TEXT
from hivewire_protocol.nouns.layer import Target
from hivewire_protocol.nouns.rollout import Gate, RolloutChange, RolloutCounts, Step

ROLLOUT = "rollout"

SCHEDULED, RUNNING, HELD = "scheduled", "running", "held"
COMPLETED, ROLLED_BACK, FAILED = "completed", "rolledBack", "failed"
OPEN = frozenset((SCHEDULED, RUNNING, HELD))
STATES = (SCHEDULED, RUNNING, HELD, COMPLETED, ROLLED_BACK, FAILED)

DEFAULTS = Gate(success=95.0, failures=2, minimum=5, wait=60, limit=86_400, silent=120, onFailure="hold")


class RolloutContent(Struct, omit_defaults=True):
    """The content of a rollout's record. `step` is an index; `since` is when it or the state began; `forgiven` are the
    failed devices that do not count any more; `before` are the changes that undo it. `device` is the record of the
    device in whose layer it is, 0 for other layers."""

    layer: str
    changes: list[RolloutChange]
    steps: list[Step]
    state: str
    since: int
    gate: Gate = msgspec.field(default_factory=Gate)
    salt: str = ""
    step: int = 0
    forgiven: int = 0
    reason: str | None = None
    at: int | None = None
    author: str | None = None
    rights: Rights | None = None
    before: list[RolloutChange] = []
    device: int = 0
    counts: RolloutCounts = msgspec.field(default_factory=lambda: RolloutCounts(0, 0, 0, 0, 0, 0))


class Rollout(Overlay):
    """A rollout as it is now. `reached` are the devices that were sent its values, and when; `salt` decides which
    devices a percentage selects."""

    def __init__(self, change: Change, layer: Layer, tagger: Tagger) -> None:
        self.number = change.id
        self.layer = layer
        self.reached: dict[str, int] = {}
        self.follow(change)
        self.values = {each.name or "": _value(each, change.revision, tagger) for each in self.content.changes}

    def follow(self, change: Change) -> None:
        """Take what a change of the record says."""
        self.change = change
        self.content = content = content_of(change)
        self.salt = content.salt or f"rollout/{self.number}"
        self._selectors = [
            Selector(Target(labels=step.labels, deviceIds=step.deviceIds, percent=step.percent))
            for step in content.steps[: content.step + 1]
        ]

    @property
    def gate(self) -> Gate:
        """The gate of the current step."""
        return gate_of(self.content)

    def has(self, device: Placed) -> bool:
        """Whether a device is in one of the steps so far."""
        return any(selector.selects(device, self.salt) for selector in self._selectors)

    def shows(self, device: Placed) -> bool:
        """Whether a device of the layer has the new values: while it runs those of its steps, while it is held those
        that it has reached."""
        state = self.content.state
        return (state == RUNNING and self.has(device)) or (state == HELD and device.id in self.reached)


def content_of(change: Change) -> RolloutContent:
    """The content of a change of a rollout's record."""
    return msgspec.json.decode(change.content or b"", type=RolloutContent)


def _value(change: RolloutChange, revision: int, tagger: Tagger) -> Value | None:
    if change.operation != "put":
        return None
    content, content_type = (change.value or "").encode(), change.contentType or TEXT
    return Value(content, content_type, tagger.tag(content_type, content), 0, revision)


def gate_of(content: RolloutContent) -> Gate:
    """The gate of the current step: that of the rollout, with what the steps so far have changed."""
    found = DEFAULTS
    for gate in (content.gate, *(step.gate for step in content.steps[: content.step + 1])):
        if gate is not None:
            given = {name: value for name in gate.__struct_fields__ if (value := getattr(gate, name)) is not None}
            found = structs.replace(found, **given)
    return found


Held: TypeAlias = tuple[str, Set[str]]
"""A layer, and those of its names that a rollout holds."""


def held_by(change: Change) -> Held | None:
    """What a rollout holds after a change of its record; None when it is over."""
    found = content_of(change)
    return (found.layer, frozenset(each.name or "" for each in found.changes)) if found.state in OPEN else None


class Unheld(Struct):
    """A condition: no rollout that is not over is about one of these names of a layer; without names, about the layer.
    `holder` is the one that is."""

    rollouts: Mapping[int, Rollout]
    written: Written[Held | None]
    layer: str
    names: Sequence[str] = ()
    holder: int = 0
    name: str = ""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether there is none."""
        written = self.written.of(state.changes)
        for number, rollout in self.rollouts.items():
            if (
                rollout.layer.name == self.layer
                and rollout.change.key not in written
                and self._meets(number, rollout.values.keys())
            ):
                return False
        for key, held in written.items():
            if held is not None and held[0] == self.layer and self._meets(int(key), held[1]):
                return False
        return True

    def _meets(self, number: int, held: Set[str]) -> bool:
        """Whether the names that a rollout of the layer holds are among these. Then it is the holder."""
        if self.names and held.isdisjoint(self.names):
            return False
        self.holder, self.name = number, next((each for each in self.names if each in held), "")
        return True

    def error(self, last: Change | None) -> WireError:
        """The error that names the rollout."""
        if not self.names:
            return Conflict(f"Layer '{self.layer}' has open rollout {self.holder}")
        return Conflict(f"Configuration '{self.name}' of layer '{self.layer}' is held by rollout {self.holder}")


class Decision(NamedTuple):
    """The new content of a rollout, and whether the layer is written."""

    content: RolloutContent
    completes: bool = False


def decide(content: RolloutContent, counts: RolloutCounts, now: int, refusals: Sequence[str] = ()) -> Decision | None:
    """What has to be done about a running rollout now; None for nothing. `refusals` are errors of devices."""
    gate = gate_of(content)
    failed = counts.refused + counts.silent
    forgiven = min(content.forgiven, failed)  # some of them may have applied it since
    failed -= forgiven
    success, age = gate.success or 0, now - content.since
    if failed > (gate.failures or 0) and failed * 100 > counts.reached * (100 - success):
        state = ROLLED_BACK if gate.onFailure == "rollback" else HELD
        return Decision(ended(content, state, now, counts, _failure(counts, gate, failed, refusals)))
    enough = counts.reached >= (gate.minimum or 0) or not counts.waiting
    good = counts.applied * 100 >= (counts.reached - forgiven) * success
    nobody = not counts.reached and not counts.waiting
    if nobody or (age >= (gate.wait or 0) * 1_000 and enough and counts.reached and good):
        if content.step + 1 == len(content.steps):
            return Decision(ended(content, COMPLETED, now, counts, None), completes=True)
        going = {"step": content.step + 1, "since": now, "reason": None, "counts": counts, "forgiven": forgiven}
        return Decision(structs.replace(content, **going))
    if age >= (gate.limit or 0) * 1_000:
        reason = f"step {content.step + 1} did not pass its gate within {gate.limit:,} s: {_numbers(counts)}"
        return Decision(ended(content, HELD, now, counts, reason))
    return None


def ended(content: RolloutContent, state: str, now: int, counts: RolloutCounts, reason: str | None) -> RolloutContent:
    """The content with another state."""
    return structs.replace(content, state=state, since=now, reason=reason, counts=counts)


def _failure(counts: RolloutCounts, gate: Gate, failed: int, refusals: Sequence[str]) -> str:
    parts = []
    if counts.refused:
        words = ", ".join(f'"{each}"' for each in refusals)
        parts.append(f"{counts.refused} refused: {words}" if words else f"{counts.refused} refused")
    if counts.silent:
        parts.append(f"{counts.silent} silent")
    if forgiven := counts.refused + counts.silent - failed:
        parts.append(f"{forgiven} of them forgiven")
    tolerated = f"tolerated: {gate.failures}, or {100 - (gate.success or 0):g}%"
    return f"{failed} of {counts.reached} reached devices failed ({'; '.join(parts)}); {tolerated}"


def _numbers(counts: RolloutCounts) -> str:
    return f"{counts.reached} reached, {counts.applied} applied, {counts.waiting} waiting"


def undo(layer: Layer, changes: Sequence[RolloutChange]) -> list[RolloutChange]:
    """The changes that restore the current values of a layer. Raises ValueError when there is nothing to change."""
    found, differs = [], False
    for change in changes:
        name = change.name or ""
        value = layer.values.get(name)
        if value is None:
            found.append(RolloutChange("delete", name))
        else:
            found.append(RolloutChange("put", name, value.content.decode(), _type(value)))
        wanted = (change.value or "").encode() if change.operation == "put" else None
        given = None if value is None else (value.content, value.content_type)
        differs |= given != (None if wanted is None else (wanted, change.contentType or TEXT))
    if not differs:
        raise ValueError("the layer says all that already")
    return found


def _type(value: Value) -> str | None:
    return None if value.content_type == TEXT else value.content_type
