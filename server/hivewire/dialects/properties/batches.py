"""Batches: one document that creates, updates and deletes properties, each independently (section 4.7)."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from hivewire.dialects.properties.calls import PropertyCall
from hivewire.dialects.properties.credentials import SiteCaller
from hivewire.dialects.properties.listing import FEW, TOGETHER, listing
from hivewire.dialects.properties.store import EtagCondition, PropertyStore, Seen
from hivewire.http.operations import REVISION
from hivewire.http.response import Response
from hivewire.http.routes import Context
from hivewire.ledger.records import Change, Write
from hivewire.resources import KIND
from hivewire_protocol.errors import InvalidParameters, NotFound, TooLarge, Unavailable, WireError
from hivewire_protocol.nouns.configuration import ConfigurationTransact
from hivewire_protocol.properties import elements
from hivewire_protocol.properties.aborts import ENTRY
from hivewire_protocol.properties.batches import BatchEntry, read_batch
from hivewire_protocol.properties.contents import charset_of
from hivewire_protocol.properties.elements import Author, failure_element, properties_element
from hivewire_protocol.properties.markup import Node

LARGE_BATCH = 16 << 10
"""Batches of this size are parsed in a thread, because that takes long."""

LARGE_BATCHES, WAITING_BATCHES = 2, 16
"""Large batches in progress, and in total with waiting ones; further ones get 503. A batch takes fifty times the memory
of its text."""


class Batches:
    """Writes batches."""

    def __init__(self, context: Context, store: PropertyStore) -> None:
        self._dispatcher = context.dispatcher
        self._services = context.dispatcher.services
        self._admission = context.admission
        self._store = store
        self._large = asyncio.Semaphore(LARGE_BATCHES)
        self._waiting = 0

    async def put(self, call: PropertyCall) -> Response:
        """Create, update and delete many, each independently (section 4.7)."""
        content_type = call.headers.get("content-type", "text/xml")
        if content_type.partition(";")[0].strip().lower() not in ("application/xml", "text/xml"):
            raise InvalidParameters("A batch is application/xml or text/xml")
        charset = charset_of(content_type) if "charset" in content_type.lower() else None
        data = await call.body(self._admission)
        if len(data) <= LARGE_BATCH:
            outcomes = await self._write_batch(read_batch(data, charset), call.who)
        elif self._waiting >= WAITING_BATCHES:
            raise Unavailable("Too many large batches at the same time; try again in a few seconds")
        else:
            self._waiting += 1
            try:
                async with self._large:
                    entries = await asyncio.to_thread(read_batch, data, charset)
                    del data
                    outcomes = await self._write_batch(entries, call.who)
            finally:
                self._waiting -= 1
        succeeded = sum(isinstance(outcome, Done) for outcome in outcomes)

        def one(outcome: Done | Failed) -> Node:
            if isinstance(outcome, Failed):
                return failure_element(outcome.name, outcome.error)
            return elements.success_element(self._store.shown(outcome.shown), call.root, outcome.deleted)

        root = properties_element(succeeded, call.root)
        status = 200 if succeeded == len(outcomes) else 207
        response = listing(call, root, outcomes, one, status, at_once=len(outcomes) <= FEW)
        if succeeded:
            response.headers[REVISION.name] = str(self._services.ledger.revision)  # it includes all that succeeded
        return response

    async def _write_batch(self, entries: list[BatchEntry], who: SiteCaller) -> list[Done | Failed]:
        """The outcomes of the entries, from which the answer is rendered; they take no more memory than the batch."""
        outcomes: list[Done | Failed] = []
        for start in range(0, len(entries), TOGETHER):
            outcomes += await self._write_entries(entries[start : start + TOGETHER], who)
            await asyncio.sleep(0)  # commits pause, too, but there is none if no entry is valid
        return outcomes

    async def _write_entries(self, entries: list[BatchEntry], who: SiteCaller) -> list[Done | Failed]:
        """The outcomes of some of the entries, which are written in their order."""
        limit = self._services.settings.property_bytes
        writes: list[Write | WireError] = []
        for entry in entries:
            if entry.problem is not None:
                writes.append(entry.problem)
            elif entry.content is None:
                writes.append(Write(KIND, entry.name, None, "", None, (Seen(),)))
            elif len(entry.content) > limit:
                writes.append(TooLarge(f"the content is over {limit} bytes"))
            else:
                condition = EtagCondition(ENTRY, entry.etag, self._services.settings.property_count)
                write = Write(KIND, entry.name, entry.content, entry.content_type, entry.description, (condition,))
                writes.append(write)
        outcomes = await asyncio.gather(
            *(self._store.commit(write, who) for write in writes if isinstance(write, Write)), return_exceptions=True
        )
        left = iter(outcomes)
        return [
            self._outcome(entry, write, next(left) if isinstance(write, Write) else write)
            for entry, write in zip(entries, writes, strict=True)
        ]

    def _outcome(self, entry: BatchEntry, write: Write | WireError, outcome: Change | BaseException) -> Done | Failed:
        if isinstance(outcome, Change) and isinstance(write, Write):
            [condition] = write.preconditions
            if not isinstance(condition, Seen) or condition.last is None:
                return Done(outcome)
            return Done(condition.last, (self._store.author(outcome.author), outcome.time))
        assert isinstance(outcome, BaseException)  # noqa: S101 - the only other outcome
        if isinstance(outcome, NotFound):
            outcome = InvalidParameters("There is neither such a property nor contents to make one")
        return Failed(entry.name, self._dispatcher.error(ConfigurationTransact, outcome).alone())


class Done(NamedTuple):
    """An entry of a batch that succeeded, with the change to show: the previous one if it was `deleted`."""

    shown: Change
    deleted: tuple[Author, int] | None = None


class Failed(NamedTuple):
    """An entry of a batch that failed, and why."""

    name: str
    error: WireError
