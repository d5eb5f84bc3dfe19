"""What is known of devices outside of the change log: reports, and when values of rollouts were sent (fleet.md, 2).

Each gateway saves changes once a second as notes beside the ledger. Gateways that share one storage get each other's
notes from there. Others send one another numbered facts, which contain equal reports once. A gateway that misses one
asks for everything. What two gateways know can be merged in any order and any number of times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TypeAlias

import msgspec
from msgspec import Struct

from hivewire.broadcast import Alone, Broadcast, Facts
from hivewire.component import end
from hivewire.devices.neighbours import SILENT_SECONDS, Neighbours
from hivewire.fleet.fleet import Fleet
from hivewire.fleet.reports import Interned, Known
from hivewire.ledger.records import NotDurable
from hivewire.slices import in_slices
from hivewire.telemetry import Gauges
from hivewire.unexpected import every
from hivewire_protocol.tenant.steps import Steps

NAME = "report/"
"""What the names of the notes begin with; the id of the device follows."""

SAVE_SECONDS = 1.0
"""Interval of saving, and of sending to other gateways."""

SETTLE_SECONDS = 2.0
"""Longest time for which saving waits for devices that change views."""

PART_BYTES = 64 << 10
"""A fact is closed once it holds so much; what one device reports is 256 KiB at most."""

LAG = 2_000
"""Milliseconds after which other gateways know what devices did here."""


NOTES = 1_000
"""Notes that are saved at once: other gateways on the same storage take them in 3 ms."""

LOOK = 2
"""Notes that are made in one step of a slice."""


class Note(Struct, omit_defaults=True):
    """What is kept of a device: the id of its record, the ledger's epoch, what it reported and when, and when it was
    sent the values of rollouts."""

    id: int
    epoch: str = ""
    report: msgspec.Raw = msgspec.Raw(b"{}")
    reached: Mapping[int, int] = {}
    at: int = 0


class Told(Struct, array_like=True):
    """The same on its way; `report` is an index of `reports` beside it."""

    device: str
    id: int
    report: int
    reached: Mapping[int, int]
    at: int


class Changed(Struct, array_like=True, tag=True):
    """What is new of these devices. `number` counts the sender's facts of this kind."""

    number: int
    reports: list[bytes]
    devices: list[Told]


class Last(Struct, array_like=True, tag=True):
    """The number of the sender's last `Changed`."""

    number: int


class Ask(Struct, array_like=True, tag=True):
    """Asks for everything from the gateway with this name, of which the sender has missed something."""

    name: str


class Part(Struct, array_like=True, tag=True):
    """A part of all that the sender knew after the `Changed` of this number, counted from 0; `last` is the last one."""

    number: int
    part: int
    last: bool
    reports: list[bytes]
    devices: list[Told]


Fact: TypeAlias = Changed | Last | Ask | Part

_decode = msgspec.msgpack.Decoder(Fact).decode


class Teller:
    """Another gateway: the number of its last `Changed` with all those before, and the last one that it named."""

    __slots__ = ("count", "heard", "known", "named", "number", "parts")

    def __init__(self) -> None:
        self.known = self.named = -1
        self.heard = 0.0
        self.number = -1  # of the parts that were collected
        self.parts: set[int] = set()
        self.count = 0  # of all parts, once the last one has come

    def collect(self, number: int, part: int, last: bool) -> bool:
        """Whether all parts have come."""
        if number != self.number:
            self.number, self.parts, self.count = number, set(), 0
        self.parts.add(part)
        if last:
            self.count = part + 1
        return len(self.parts) == self.count


class Notes:
    """Saves what the fleet knows of devices, and shares it with other gateways."""

    def __init__(self, fleet: Fleet, broadcast: Broadcast, now: Callable[[], int]) -> None:
        self._fleet = fleet
        self._ledger = fleet.ledger
        self._name = broadcast.name
        self._alone = isinstance(broadcast, Alone)
        self._interned = Interned()
        self.online = Neighbours(broadcast, fleet.followers.online, now, "online")
        self._facts = Facts(broadcast, "reports", _decode, self._hear)
        self._tells = not self._alone and not self._ledger.shares_notes
        self._number = 0
        self._heard: dict[str, None] = {}  # devices of which others told something that is not saved yet
        self._tellers: dict[str, Teller] = {}
        self._telling: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def lag(self) -> int | None:
        """By how many milliseconds what is known here may be behind what other gateways know; None while something is
        missing."""
        if any(teller.known < teller.named for teller in self._tellers.values()):
            return None
        return 0 if self._alone else LAG

    # The life of the component.

    async def load(self) -> None:
        """Take what was saved; the fleet must be loaded. What is left of deleted devices goes with the next save."""
        notes = await self._ledger.notes()
        self.recall(notes)
        saved = [name.removeprefix(NAME) for name in notes if name.startswith(NAME)]
        self._heard |= dict.fromkeys(device for device in saved if self._fleet.known(device) is None)

    def start(self) -> None:
        """Begin to save, and to tell others."""
        self._ledger.on_notes.append(self.recall)
        work = every(SAVE_SECONDS, self._save_at_rest, "reports of devices were not saved")
        self._task = asyncio.create_task(work, name="reports of devices")
        if not self._alone:
            self.online.start()

    async def close(self) -> None:
        """Save the last."""
        await end(self._task, self._telling)
        if self._task is not None:
            await self.save()
            await self.online.close()

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {"fleet_unsaved": ("Devices whose reports are not saved.", lambda: len(self._fleet.members.unsaved))}

    # Saving.

    async def _save_at_rest(self) -> None:
        if self._alone:  # else others wait for what happens here
            await self._settled()
        await self.save()

    async def _settled(self) -> None:
        """Wait until devices have their views, but not for long: saving thousands meanwhile would slow requests."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._fleet.settled()

    async def save(self) -> None:
        """Keep what is new since the last time, and tell it. What the storage does not take stays in memory."""
        unsaved, self._fleet.members.unsaved = self._fleet.members.unsaved, {}
        devices, self._heard = unsaved | self._heard, {}
        told = saved = False
        try:
            await in_slices(self._tell(unsaved), background=True)
            told = True
            names = [*devices]
            for start in range(0, len(names), NOTES):
                some = self._notes_of(names[start : start + NOTES])
                await self._ledger.remember(await in_slices(some, background=True))
            saved = True
        except NotDurable:
            pass
        finally:  # also when the gateway stops meanwhile
            if not told:
                self._fleet.members.unsaved = unsaved | self._fleet.members.unsaved
            if not saved:
                self._heard |= devices

    def _notes_of(self, devices: Iterable[str]) -> Steps[dict[str, str]]:
        """The notes about devices: thousands after a step of a rollout."""
        notes = {}
        for number, device in enumerate(devices, 1):
            notes[NAME + device] = self._note(device)
            if number % LOOK == 0:
                yield
        return notes

    def _note(self, device: str) -> str:
        """What is to be kept of a device; empty for one that was deleted, which removes its note."""
        known = self._fleet.known(device)
        if known is None:
            return ""
        content = b"{}" if known.report is None else known.report.content
        note = Note(known.id, self._ledger.epoch, msgspec.Raw(content), known.reached, known.at)
        return msgspec.json.encode(note).decode()

    def recall(self, notes: Mapping[str, str]) -> None:
        """Take notes that were saved, also by another gateway that stores together with this one."""
        for name, text in notes.items():
            if name.startswith(NAME) and text:
                device, note = name.removeprefix(NAME), msgspec.json.decode(text, type=Note)
                self._fleet.merge(device, self._known(note))
                known = self._fleet.known(device)
                if known is not None and known.id == note.id and known.at > note.at:
                    self._fleet.members.unsaved[device] = None  # a later one was overwritten

    def _known(self, note: Note) -> Known:
        """What a note says. After a restore nobody knows what a device has applied since the backup: it has to speak
        again, and counts as sent just now."""
        if note.epoch != self._ledger.epoch:
            return Known(note.id, 0, None, dict.fromkeys(note.reached, self._ledger.now()))
        return Known(note.id, note.at, self._interned.of(bytes(note.report)), note.reached)

    # Telling.

    def _tell(self, devices: Iterable[str]) -> Steps[None]:
        """Tell what is new of these devices, a fact in each step."""
        if not self._tells:
            return
        for reports, told in self._portions(devices):
            self._number += 1
            self._facts.tell(Changed(self._number, reports, told))
            yield
        self._facts.tell(Last(self._number))
        until = asyncio.get_running_loop().time() - SILENT_SECONDS
        self._tellers = {name: teller for name, teller in self._tellers.items() if teller.heard >= until}

    def _portions(self, devices: Iterable[str]) -> Iterator[tuple[list[bytes], list[Told]]]:
        """What is known of devices, in portions that fit into a fact."""
        reports: dict[bytes, int] = {}
        told: list[Told] = []
        size = 0
        for device in devices:
            known = self._fleet.known(device)
            if known is None or (not known.at and not known.reached):
                continue
            content = b"{}" if known.report is None else known.report.content
            if content not in reports:
                size += len(content)
            told.append(Told(device, known.id, reports.setdefault(content, len(reports)), known.reached, known.at))
            size += len(device) + ENTRY_BYTES * (1 + len(known.reached))
            if size >= PART_BYTES:
                yield list(reports), told
                reports, told, size = {}, [], 0
        if told:
            yield list(reports), told

    def _tell_all(self) -> Steps[None]:
        """Tell everything, a part in each step."""
        number, part = self._number, 0
        for part, (reports, told) in enumerate(self._portions(list(self._fleet.members.by_id)), 1):
            self._facts.tell(Part(number, part - 1, False, reports, told))
            yield
        self._facts.tell(Part(number, part, True, [], []))

    async def _answer(self) -> None:
        await in_slices(self._tell_all(), background=True)

    # Hearing.

    def _hear(self, name: str, fact: Fact) -> None:
        teller = self._tellers.setdefault(name, Teller())
        teller.heard = asyncio.get_running_loop().time()
        match fact:
            case Changed(number, reports, told):
                if self._take(reports, told) and number == teller.known + 1:
                    teller.known = number
                teller.named = max(teller.named, number)
            case Last(number):
                teller.named = number
                if teller.known < number:
                    self._facts.tell(Ask(name))
            case Ask(asked):
                if asked == self._name and (self._telling is None or self._telling.done()):
                    self._telling = asyncio.create_task(self._answer())
            case Part(number, part, last, reports, told):
                if self._take(reports, told) and teller.collect(number, part, last):
                    teller.known = max(teller.known, number)

    def _take(self, reports: list[bytes], told: list[Told]) -> bool:
        """Merge what another gateway knows. False when it has seen more of the log: its devices are unknown here."""
        complete, found = True, [self._interned.of(content) for content in reports]
        for each in told:
            known = Known(each.id, each.at, found[each.report], each.reached)
            complete &= self._fleet.follows(known)
            if self._fleet.merge(each.device, known):
                self._heard[each.device] = None
        return complete


ENTRY_BYTES = 24
"""About what a device takes in a fact beside its id, and a rollout that has reached it."""
