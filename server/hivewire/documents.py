"""Tenant configuration documents as records of the ledger: reading, saving, following (tenant configuration).

A document is a record of kind `tenantConfiguration` under its tenant's id. Its content is two lines and the document:

```text
{"counter":4,"updatedTime":1716203045000,...}     Header: what a save has to know, and where the document begins
{"added":[...],"removed":[...],...}               how it differs from the version before it, for subscribers
{"label":"Shop",...}                              the document as it is served, not parsed again for that
```

So the counter of ids and the differences are written with the document or not at all. What is done with a small
document is done in slices on the event loop, and with a larger one in a process of its own (`workers.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.access.tenants import DOCUMENT, Tenants
from hivewire.hub.ledger_source import key_of
from hivewire.hub.source import Topic
from hivewire.keyed_lock import KeyedLock
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Change, Expected, Refused, Transaction, Write
from hivewire.settings import Settings
from hivewire.workers import Overdue, Workers
from hivewire_protocol import times
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import Unavailable, VersionConflict, WireError
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.tenant import dates, work
from hivewire_protocol.tenant.differences import Differences
from hivewire_protocol.tenant.errors import Finding, NotDefined
from hivewire_protocol.tenant.steps import Steps

SLICE_SECONDS = 0.002
"""Seconds that work may take before other connections have a turn of the event loop."""

LARGE = 64 << 10
"""Bytes of documents from which on another process works with them. Smaller ones cannot take long, whatever is in them.
"""

TRIES = 5
"""Saves of a tenant wait for each other, so only its deletion can come between reading and writing: two tries nearly
always do."""

_T = TypeVar("_T")


class Author(NamedTuple):
    """Who saves in a tenant. `number` is that of the tenant's record when the request came; `still` raises WireError
    when the right to save has ended since."""

    tenant: str
    number: int
    login: str
    still: Callable[[], object]


class Header(Struct):
    """The first line. `tenant` is the number of the tenant's record, so that a new tenant of an old name starts empty;
    `differences` the length of the second line."""

    counter: int
    updatedTime: int
    createdTime: int
    createdBy: str | None
    updatedBy: str | None
    tenant: int
    differences: int


class Stored(Struct):
    """A version of a document."""

    header: Header
    change: Change
    start: int

    @property
    def document(self) -> bytes:
        """The document as it is served."""
        return self._content[self.start :]

    @property
    def view(self) -> memoryview:
        """The same without a copy."""
        return memoryview(self._content)[self.start :]

    @property
    def differences(self) -> bytes:
        """The second line: a JSON object."""
        return self._content[self.start - 1 - self.header.differences : self.start - 1]

    @property
    def size(self) -> int:
        """Bytes of the document."""
        return len(self._content) - self.start

    @property
    def _content(self) -> bytes:
        return self.change.content or b""


def stored_of(change: Change) -> Stored:
    """The version that a change wrote; it must not be a delete."""
    content = change.content or b""
    end = content.index(b"\n")
    header = msgspec.json.decode(content[:end], type=Header)
    return Stored(header, change, end + 1 + header.differences + 1)


async def in_slices(steps: Steps[_T]) -> _T:
    """The result of long work; other connections have a turn of the event loop every few milliseconds."""
    began = perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        if perf_counter() - began > SLICE_SECONDS:
            await asyncio.sleep(0)
            began = perf_counter()


class Documents:
    """The documents of all tenants of one gateway. One save and one reading of a tenant's large document at a time."""

    def __init__(self, ledger: Ledger, tenants: Tenants, workers: Workers, settings: Settings) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._workers = workers
        self._rules = work.Rules(
            settings.document_validation == "strict", settings.document_members == "known", settings.document_bytes
        )
        self._saves: KeyedLock[str] = KeyedLock()
        self._readings: KeyedLock[str] = KeyedLock()

    def stored(self, tenant: str) -> Stored | None:
        """The current version, or None before the first."""
        change = self._ledger.get(DOCUMENT, tenant)
        stored = stored_of(change) if change is not None else None
        return stored if stored is not None and stored.header.tenant == self._tenants.number(tenant) else None

    async def collections(self, stored: Stored, names: list[str], privileges: list[str] | None) -> bytes:
        """Some collections of a version, or all, as JSON; with `access` in each element if privileges are given."""
        return await self._read(stored.change.key, stored.size, work.collections, stored.document, names, privileges)

    async def part(self, stored: Stored, address: tuple[str, ...]) -> bytes:
        """One type or one part of it, as JSON. Raises TypeIsNotFound."""
        return await self._read(stored.change.key, stored.size, work.part, stored.document, address)

    async def history(self, stored: Stored, most: int, offset: int) -> AsyncIterator[Stored]:
        """This version and those before it, newest first, as long as they are kept; one at a time is in memory."""
        at = stored.change.revision
        while at and most > 0:
            found = await self._ledger.history(DOCUMENT, stored.change.key, revision=at, take=1)
            if not found or found[0].content is None or found[0].id != stored.change.id:
                return
            at = found[0].previous
            if offset > 0:
                offset -= 1
                continue
            version = stored_of(found[0])
            if version.header.tenant != stored.header.tenant:
                return
            most -= 1
            yield version

    async def find(self, tenant: str, body: bytes) -> list[Finding]:
        """What is wrong with a document that is not to be saved. Raises TenantError when it cannot be read."""
        return await self._read(tenant, len(body), work.find, body, self._rules)

    async def save(
        self, author: Author, body: bytes | None, since: Sequence[str], edit: work.Edit | None = None
    ) -> tuple[Stored, bytes]:
        """Save a whole document (section 3), or an edit of the stored one (sections 2.2 to 2.4).

        `since` are the values of If-Unmodified-Since. With the new version comes what the edit was about, as JSON.
        Raises TenantError, and WireError when the tenant or the right to save has gone meanwhile.
        """
        async with self._saves.lock(author.tenant):
            for _ in range(TRIES):
                author.still()
                stored = self.stored(author.tenant)
                if stored is None and edit is not None:
                    raise NotDefined
                if (saved := await self._try(author, body, since, edit, stored)) is not None:
                    return saved
            raise Unavailable("the configuration changes all the time")

    async def _try(
        self, author: Author, body: bytes | None, since: Sequence[str], edit: work.Edit | None, stored: Stored | None
    ) -> tuple[Stored, bytes] | None:
        """One try to replace a version; None when another one took its place meanwhile."""
        before = stored.header if stored is not None else None
        moment = self._ledger.now()
        # The write below expects just this version to be the last one, so what the date allows now still holds when it
        # is written (section 4.1).
        stale = not dates.may_save(before.updatedTime if before is not None else None, since, moment)
        time = dates.next_time(before.updatedTime if before is not None else None, moment)
        members: dict[str, Any] = {
            "createdTime": before.createdTime if before is not None else time,
            "createdBy": before.createdBy if before is not None else author.login,
            "updatedTime": time,
            "updatedBy": author.login,
        }
        last = self._ledger.kind(DOCUMENT).last(author.tenant)
        old = work.Version(stored.document, stored.header.counter) if stored is not None else None
        size = len(body or b"") + (stored.size if stored is not None else 0)
        saved = await self._do(size, work.save, body, edit, old, self._rules, members, stale=stale)
        author.still()
        if self._tenants.number(author.tenant) != author.number:
            raise NotDefined
        differences = _encoded(saved.differences)
        header = Header(counter=saved.counter, tenant=author.number, differences=len(differences), **members)
        content = b"\n".join((encode(header), differences, saved.document))
        expected = stored.change.revision if stored is not None else last.revision if last is not None else 0
        write = Write(DOCUMENT, author.tenant, content, "application/json", None, (Expected(revision=expected),))
        try:
            version = await commit(self._ledger, PendingWrite(Transaction((write,), author.login), _only, _overtaken))
        except VersionConflict:
            return None
        return version, saved.part

    async def _read(self, tenant: str, size: int, what: Callable[..., Steps[_T]], *values: Any) -> _T:
        """Work that saves nothing. One tenant's large documents are worked on one after the other, so that no tenant
        takes all workers."""
        async with self._readings.lock(tenant) if size >= LARGE else nullcontext():
            return await self._do(size, what, *values)

    async def _do(self, size: int, what: Callable[..., Steps[_T]], *values: Any, **named: Any) -> _T:
        if size < LARGE:
            return await in_slices(what(*values, **named))
        try:
            return await self._workers.run(what, *values, **named)
        except Overdue as error:
            raise Unavailable(str(error)) from None


def _only(changes: list[Change]) -> Stored:
    """The version that a transaction of one write made."""
    [change] = changes
    return stored_of(change)


def _overtaken(refused: Refused) -> WireError:
    """Another version took the place of the one that was to be replaced; never shown."""
    return VersionConflict(VersionConflict.text)


def _encoded(differences: Differences) -> bytes:
    """As members of a push."""
    return encode(
        {
            "added": differences.added,
            "removed": differences.removed,
            "modifiedUris": differences.modified,
            "truncated": differences.truncated,
        }
    )


# Following.


def _update(change: Change) -> bytes:
    """The members of a push; a deletion, which comes with that of the tenant, has no `updatedTime`."""
    members = {
        "revision": change.revision,
        "modified": times.render(change.time),
        "modifiedBy": change.author,
        "tenant": change.key,
    }
    if change.content is None:
        return encode(members | {"updatedTime": None} | _NOTHING)[1:-1]
    stored = stored_of(change)
    return encode(members | {"updatedTime": stored.header.updatedTime})[1:-1] + b"," + stored.differences[1:-1]


_NOTHING = {"added": [], "removed": [], "modifiedUris": [], "truncated": False}


def _entry(change: Change) -> bytes:
    time = stored_of(change).header.updatedTime
    return encode({"tenant": change.key, "updatedTime": time, "revision": change.revision})


def _served(identity: Identity, wanted: Patterns) -> Patterns:
    return Patterns(tuple(name for name in wanted.exact if identity.may_tenant(name, Privilege.READ)))


TOPIC = Topic("tenant", DOCUMENT, _update, key_of, _served, "tenants", _entry)
"""Documents, by tenant. A push says what changed and does not carry the document."""
