"""A device: its configurations, over any number of connections, and its reports (fleet.md, sections 4 and 5)."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from hivewire_client import cache, values
from hivewire_client.connection import Frame, log
from hivewire_client.errors import Busy, HivewireError, Stopped, Unavailable, Uncertain
from hivewire_client.link import Link, Subscription
from hivewire_client.resources import TEXT, Patterns

GATHER_SECONDS = 1.0
"""The longest that a report waits until all changes that have come are answered."""

MOST_NAMES, MOST_BYTES, MOST_VALUE, MOST_ERROR = 256, 32 << 10, 1_024, 256
"""What a gateway takes in a report: names, bytes, and characters of a value and of a reason."""

REPORTS = 8
"""So many reports a gateway keeps of a device."""

_AGAIN = re.compile(r"in (\d{1,7}) ms")

Apply = Callable[[str, str | None], str | Awaitable[str | None] | None]
"""Applies a value, None when the name is gone; returns why not, or None. It may be a coroutine function."""


@dataclass(slots=True)
class DesiredChange:
    """The value that the device should have under a name from now on. `applied` or `refused` answers it; only the first
    answer to the last change of a name that was read counts.

    `value` is None when the name is `gone`, and where the gateway leaves it out: what is binary, longer than 65,536
    characters or than `frame_bytes` allows. Then `size` says how many bytes it has.
    """

    name: str
    value: str | None
    tag: str | None
    content_type: str
    size: int | None
    _device: Device = field(repr=False, compare=False)

    @property
    def gone(self) -> bool:
        """Whether the device should have nothing under this name any more."""
        return self.tag is None

    def decode(self, kind: Any) -> Any:
        """The value as an object of this kind, as `Hivewire.get`. Raises ValueError, also when there is no value."""
        if self.value is None:
            raise ValueError(f"{self.name!r} has no value")
        return values.decode(self.value, kind)

    def applied(self) -> None:
        """The device has applied the value, or its removal."""
        self._device._answer(self, None)

    def refused(self, why: str) -> None:
        """The device refuses the value; the first 256 characters of the reason are reported."""
        self._device._answer(self, why)

    def answer(self, why: str | None) -> None:
        """It was refused, or applied if there is no reason why not."""
        self._device._answer(self, why)


class _Desired(Struct):
    """A configuration in a push."""

    name: str
    value: str | None
    tag: str | None
    contentType: str = TEXT
    size: int | None = None


class _Push(Struct):
    """What a snapshot and an update have of configurations."""

    configurations: list[_Desired] = []
    configuration: _Desired | None = None


_pushes = msgspec.json.Decoder(_Push)


class _Row(Struct, omit_defaults=True):
    """What the device says of a name: the tag of what it answered last, why it refused that, what it has instead."""

    name: str
    tag: str | None = None
    error: str | None = None
    value: str | None = None

    def entry(self) -> dict[str, Any]:
        """The entry of a report."""
        if self.value is not None:
            return {"name": self.name, "value": self.value}
        return {"name": self.name, "tag": self.tag, **({} if self.error is None else {"error": self.error})}


class _Kept(Struct):
    """The content of the file. The position counts only for the same names and subject, who may reach other ones."""

    device: str
    names: list[str] | None
    subject: str | None
    position: str | None
    rows: list[_Row]


class Device(Subscription):
    """One device, an asynchronous context manager. Connections may break at any time: what the device has answered is
    reported again over each, so that the gateway ends with what is true.

    Of each name only the last change is held until it is read.
    """

    def __init__(
        self, link: Link, device: str, names: Sequence[str] | None, path: Path | None, frame_bytes: int | None
    ) -> None:
        super().__init__("configuration", {"deviceId": device, "names": names, "frameBytes": frame_bytes})
        self.id = device
        self._names = None if names is None else sorted(names)
        self._link = link
        self._path = path
        self._subject: str | None = None
        self._settled: str | None = None
        """The last position up to which all changes are answered: where a restart goes on."""
        self._rows: dict[str, _Row] = {}
        self._unread: dict[str, DesiredChange] = {}
        self._unanswered: dict[str, DesiredChange] = {}
        self._said = self._counted = 0
        self._moved, self._unsaved, self._closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._error: HivewireError | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Load the file, and follow. Raises Denied or NotFound if the gateway refuses."""
        self._load()
        try:
            await self._link.follow(self)
        except BaseException:  # also cancelled
            self._link.unfollow(self)
            raise
        self._reporting = asyncio.create_task(self._keep_reporting())
        if self._path is not None:
            self._saving = asyncio.create_task(self._keep_saving())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop following. Changes that were not answered come again, to a device with a file after a restart."""
        self.refused(Stopped("the device is closed"))
        self._closed.set()
        self._unsaved.set()
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)
        if self._saving is not None:
            await self._saving
        self._link.unfollow(self)

    # For the program.

    async def configuration(self) -> AsyncIterator[DesiredChange]:
        """The changes to apply: at first all that the device does not have yet, then what comes.

        It ends when the device or the client is closed. Raises Denied, NotFound, LoginRequired when there are none to
        come.
        """
        with contextlib.suppress(Stopped):
            while True:
                yield await self.next()

    async def next(self) -> DesiredChange:
        """The next change; waits for it. Raises as `configuration`, and Stopped."""
        await self._when(lambda: bool(self._unread))
        change = self._unread.pop(next(iter(self._unread)))
        self._unanswered[change.name] = change
        return change

    async def run(self, apply: Apply) -> None:
        """Apply every change by a function, which says why not, until the device is closed.

        A change for which the function raises an exception is refused with its text, and so is a value that the
        gateway leaves out.
        """
        async for change in self.configuration():
            try:
                why = left_out(change) or apply(change.name, change.value)
                why = (await why) if inspect.isawaitable(why) else why
            except Exception as error:
                why = failure(change, error)
            change.answer(why)

    async def report(self, own: Mapping[str, Any] | None = None) -> None:
        """Wait until the gateway has counted all answers; with `own` also what the device has of its own, by name.

        Its own value of a name stands beside the desired one, which does not change, until the gateway insists. None
        takes it back. Text is reported as it is, everything else as JSON. It waits for a connection, however long.
        Raises ValueError for more than 1,024 characters, and as `configuration`, and Stopped.
        """
        said = {name: None if value is None else values.encode(value, None)[0] for name, value in (own or {}).items()}
        for name, text in said.items():
            if text is not None and len(text) > MOST_VALUE:
                raise ValueError(f"the value of {name!r} has more than {MOST_VALUE:,} characters")
        for name, text in said.items():
            row = _Row(name, self._rows[name].tag if name in self._rows else None, value=text)
            if row.tag is None and text is None:
                self._rows.pop(name, None)
            else:
                self._rows[name] = row
        number = self._say()
        await self._when(lambda: self._counted >= number)

    # What the gateway sends.

    def since(self, subject: str | None) -> str | None:
        """Only where the same subject has been: another one may reach other names."""
        if subject != self._subject:
            self._subject, self.position, self._settled = subject, None, None
        return self.position

    def begin(self, reply: dict[str, Any]) -> None:
        """Report everything again over each connection, whatever the gateway knows of earlier ones."""
        super().begin(reply)
        self._say()

    def take(self, frame: Frame) -> None:
        """Take a push."""
        super().take(frame)
        self._settle()

    def apply(self, frames: list[Frame], position: str, *, replaces: bool) -> None:
        """Note the differences to what the device has. Names that are not in a new state were removed."""
        found: dict[str, tuple[_Desired, bool]] = {}
        for frame in frames:
            push = _pushes.decode(frame.data)
            found |= {each.name: (each, False) for each in push.configurations}
            if push.configuration is not None:
                found[push.configuration.name] = push.configuration, True
        if replaces:
            wanted = Patterns(None if self._names is None else tuple(self._names))
            gone = {name for name in (*self._rows, *self._unanswered, *self._unread) if name in wanted} - found.keys()
            found |= {name: (_Desired(name, None, None), False) for name in sorted(gone)}
        for desired, insists in found.values():
            self._want(desired, insists=insists)

    def _want(self, desired: _Desired, *, insists: bool) -> None:
        """Hold a change until it is read, unless the device has it, or the program is about to answer it.

        The gateway `insists` with an update whose content the device has refused, or replaced by its own.
        """
        name = desired.name
        row, reading = self._rows.get(name), self._unanswered.get(name)
        last = reading or row
        differs = desired.tag != (None if last is None else last.tag)
        is_odd = reading is None and row is not None and (row.error is not None or row.value is not None)
        if differs or (insists and is_odd):
            self._unread[name] = DesiredChange(
                name, desired.value, desired.tag, desired.contentType, desired.size, self
            )
        else:
            self._unread.pop(name, None)

    def refused(self, error: HivewireError) -> None:
        """End the iteration."""
        self._error = self._error or error
        self._moved.set()

    # Reports.

    def _answer(self, change: DesiredChange, error: str | None) -> None:
        name = change.name
        if self._unanswered.get(name) is not change:
            return
        del self._unanswered[name]
        if change.gone and error is None:
            self._rows.pop(name, None)
        else:
            self._rows[name] = _Row(name, change.tag, None if error is None else error[:MOST_ERROR])
        self._say()

    def _say(self) -> int:
        """Queue a report; returns its number, which `_counted` will reach."""
        self._said += 1
        self._settle()
        return self._said

    def _settle(self) -> None:
        """Wake everything that waits for changes or reports."""
        if not self._unread and not self._unanswered:
            self._settled = self.position
        self._moved.set()
        self._unsaved.set()

    async def _when(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds. Raises what has ended the device."""
        while not holds():
            if self._error is not None:
                raise self._error
            self._moved.clear()
            await self._moved.wait()

    async def _keep_reporting(self) -> None:
        """Report whenever there is something to report and the subscription is up to date."""
        try:
            while True:
                await self._when(lambda: self.live and self._counted < self._said)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GATHER_SECONDS):
                        await self._when(lambda: not self._unread and not self._unanswered)
                await self._report()
        except HivewireError as error:
            self.refused(error)

    async def _report(self) -> None:
        """Send all reports. If the gateway cannot take them now, wait as long as it says."""
        said = self._said
        try:
            for number, entries in enumerate(self._reports()):
                members = {"deviceId": self.id, "report": entries, "complete": number == 0}
                await self._link.request("device/report", members, repeatable=True)
        except Uncertain:
            await asyncio.sleep(GATHER_SECONDS)
        except (Busy, Unavailable) as error:
            told = _AGAIN.search(str(error))
            await asyncio.sleep(int(told[1]) / 1_000 if told else error.retry_after or GATHER_SECONDS)
        else:
            self._counted = said
            self._moved.set()

    def _reports(self) -> list[list[dict[str, Any]]]:
        """The entries of as many reports as it takes to say everything: what was refused and its own first."""
        reports: list[list[dict[str, Any]]] = [[]]
        size = 2
        for row in sorted(self._rows.values(), key=lambda row: row.error is None and row.value is None):
            entry = row.entry()
            size += (more := len(msgspec.json.encode(entry)) + 1)
            if len(reports[-1]) == MOST_NAMES or size > MOST_BYTES:
                if len(reports) == REPORTS:
                    told = sum(map(len, reports))
                    log.warning("%s: a gateway takes %d of %d names", self.id, told, len(self._rows))
                    break
                reports.append([])
                size = 2 + more
            reports[-1].append(entry)
        return reports

    # The file.

    def _load(self) -> None:
        kept = None if self._path is None else cache.read(self._path, _Kept)
        if kept is not None and kept.device != self.id:
            log.warning("the cache %s is that of device %s, and is not used", self._path, kept.device)
        elif kept is not None:
            if kept.names == self._names:
                self._subject, self.position, self._settled = kept.subject, kept.position, kept.position
            self._rows = {row.name: row for row in kept.rows}

    async def _keep_saving(self) -> None:
        """Write the file when something has changed, not too often, and at the end."""
        while not self._closed.is_set() or self._unsaved.is_set():
            await self._unsaved.wait()
            self._unsaved.clear()
            assert self._path is not None  # noqa: S101 - else this does not run
            kept = _Kept(self.id, self._names, self._subject, self._settled, [*self._rows.values()])
            await cache.write(self._path, msgspec.json.encode(kept))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(cache.SECONDS):
                    await self._closed.wait()


def left_out(change: DesiredChange) -> str | None:
    """Why a change cannot be applied: the gateway has left out the value. None if it has not."""
    return "the value is binary or too long" if change.value is None and not change.gone else None


def failure(change: DesiredChange, error: Exception) -> str:
    """Why a change was not applied whose function failed."""
    log.error("%r could not be applied", change.name, exc_info=error)
    return f"{type(error).__name__}: {error}"
