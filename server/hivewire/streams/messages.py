"""The component with both logs of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from msgspec.structs import replace

from hivewire.clocks import elapsed
from hivewire.link import SCHEME, end_without_parent
from hivewire.nats.broadcast import NatsBroadcast
from hivewire.settings import Settings
from hivewire.stopped import Stopped
from hivewire.streams.backup import beside_ledger
from hivewire.streams.broadcast import BroadcastEngine
from hivewire.streams.contract import LOGS, Damaged, StreamEngine
from hivewire.streams.log import Log
from hivewire.streams.memory import MemoryEngine
from hivewire.streams.nats import NatsEngine
from hivewire.streams.parent import ParentEngine
from hivewire.streams.sqlite import SqliteEngine
from hivewire.streams.stamps import SHARED_LAG, Clock
from hivewire.streams.writer import Limits
from hivewire.telemetry import Gauges
from hivewire.unexpected import safely

Remember: TypeAlias = Callable[[Mapping[str, str]], Awaitable[None]]
"""Keeps notes, as far as that is possible."""

NOTE = "messages:"
"""How the names of the notes begin that the ledger keeps of its messages. A dump leaves these out."""

REFUSE_SECONDS = 2.0
"""Time without an answer of a store after which inserts are refused at once: an election takes longer."""

TIDY_SECONDS = 0.5
"""Interval of looking for what is due: segments to close or drop, a commit that takes too long."""


def message_engine_of(settings: Settings, ledger: Path | None, site: NatsBroadcast | None = None) -> StreamEngine:
    """The engine that these settings say.

    `ledger` is the file of the ledger; without one messages are in memory. `site` is there when other gateways are.
    """
    if site is not None:
        if settings.messages == "durable" and ledger is not None:
            return NatsEngine(site, settings, beside_ledger(ledger))
        return BroadcastEngine(site)
    if settings.data.startswith(SCHEME):
        return ParentEngine(settings.data, end_without_parent)
    if settings.messages == "durable" and ledger is not None:
        return SqliteEngine(beside_ledger(ledger))
    return MemoryEngine()


def messages_of(
    settings: Settings, now: Callable[[], int], engine: StreamEngine, elapsed: Callable[[], int] = elapsed
) -> Messages:
    """Both logs on this engine, within the limits of these settings."""
    commands = Limits(
        retention=settings.commands_retention * 1_000,
        stored_bytes=settings.messages_bytes,
        device_bytes=settings.device_messages_bytes,
        device_rate=settings.device_messages_rate,
        draft_bytes=settings.parameters_bytes,
        stall_seconds=settings.stall_seconds if settings.store is None else settings.append_seconds,
        refuse_seconds=None if settings.store is None else REFUSE_SECONDS,
    )
    notifications = replace(commands, retention=settings.notifications_retention * 1_000)
    return Messages(engine, now, commands, notifications, elapsed)


class Messages:
    """Commands and notifications. `open` before use; `start` lets them expire.

    `now` gives milliseconds since 1970, `elapsed` those of the monotonic clock.
    """

    def __init__(
        self,
        engine: StreamEngine,
        now: Callable[[], int],
        commands: Limits,
        notifications: Limits,
        elapsed: Callable[[], int] = elapsed,
    ) -> None:
        self._engine = engine
        self._clock = Clock(now, SHARED_LAG if engine.log("commands").shared else 0)
        self.commands = Log(engine.log("commands"), self._clock, commands, elapsed)
        self.notifications = Log(engine.log("notifications"), self._clock, notifications, elapsed)
        self._logs = (self.commands, self.notifications)
        self._task: asyncio.Task[None] | None = None
        self._remember: Remember | None = None
        self.on_stopped: Callable[[], None] = lambda: None
        """Called when nothing more is taken from a log that others go on with; see `stopped`."""

    def now(self) -> int:
        """`serverTimestamp`: milliseconds since 1970. Every message from now on gets a later clock."""
        return self._clock.answered()

    @property
    def failing(self) -> str | None:
        """Why nothing can be inserted into one of the logs now; None when it can."""
        reasons = (log.failing for log in self._logs)
        return next((f"commands or notifications are not written: {reason}" for reason in reasons if reason), None)

    @property
    def stopped(self) -> Stopped | None:
        """Why this gateway takes nothing more from one of the logs; None while it does."""
        return self.commands.stopped or self.notifications.stopped

    async def open(
        self, ledger_epoch: str, notes: Mapping[str, str] = MappingProxyType({}), remember: Remember | None = None
    ) -> None:
        """Load what belongs to this ledger, in which `remember` notes how far the logs reach, now and at the end.

        By these `notes` a later start notices an older copy of the logs, unless several gateways append to them. Raises
        StoreError.
        """
        self._remember = remember
        await self._engine.open(ledger_epoch)
        try:
            await self._load(notes)
        except Damaged as error:
            await self._engine.close()
            await self._engine.open(ledger_epoch, damage=str(error))
            await self._load(notes)  # under other epochs
        for log in self._logs:
            await log.start()
        await self._note()

    async def _load(self, notes: Mapping[str, str]) -> None:
        for name, log in zip(LOGS, self._logs, strict=True):
            await log.load()
            epoch, _, tip = notes.get(NOTE + name, "").partition(" ")
            if epoch == log.epoch and log.tip < int(tip) and not log.shared:
                raise Damaged("it is an older copy: the ledger was beside later messages")

    async def _note(self) -> None:
        if self._remember is not None and not self.commands.shared:
            named = zip(LOGS, self._logs, strict=True)
            await self._remember({NOTE + name: f"{log.epoch} {log.tip}" for name, log in named})

    def end_by(self, is_ended: Callable[[Any], bool]) -> None:
        """Drop what waits of callers whose rights have ended, by their identities."""
        for log in self._logs:
            log.end_by(is_ended)

    def start(self) -> None:
        """Let messages expire, and give up commits that take too long."""
        self._task = asyncio.create_task(self._tidy(), name="tidying of messages")

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            for log in self._logs:
                safely("messages were not looked after", log.tidy)
            if self.stopped is not None:
                self.on_stopped()
                return

    async def close(self) -> None:
        """Write and answer what is waiting, then release the storage. May be called twice."""
        if self._task is not None:
            self._task.cancel()
        try:
            # Together: one that waits for a storage that does not answer must not let the other begin anew.
            await asyncio.gather(*(log.close() for log in self._logs))
            await self._note()
            self._remember = None
        finally:
            await self._engine.close()

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        commands, notifications = self._logs
        return {
            "commands": ("Stored inserts and updates of commands.", lambda: commands.stored),
            "notifications": ("Stored notifications.", lambda: notifications.stored),
            "message_bytes": (
                "Bytes of stored commands and notifications.",
                lambda: commands.bytes + notifications.bytes,
            ),
            "messages_dropped_early": (
                "Commands and notifications dropped before their time, because of `messages_bytes`.",
                lambda: commands.dropped_early + notifications.dropped_early,
            ),
            "message_commit_waiting_seconds": (
                "Age of the oldest commit of messages that waits for the storage; 0 when none does.",
                lambda: max(log.waiting_seconds() for log in self._logs),
            ),
        } | self._engine.gauges()
