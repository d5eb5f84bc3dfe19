"""Tenant configuration documents as records of the ledger: reading, saving, following (tenant configuration).

A document is a record of kind `tenantConfiguration` under its tenant's id. Its content is two lines and the document:

```text
{"counter":4,"updatedTime":1716203045000,...}     Header: what a save has to know, and where the document begins
{"added":[...],"removed":[...],...}               how it differs from the version before it, for subscribers
{"label":"Shop",...}                              the document as it is served, not parsed again for that
```

So the counter of ids and the differences are written with the document or not at all. A save is work of a tenth of a
second and more. It is done in slices on the event loop and not in a thread: a thread that runs Python makes the loop
wait for the interpreter lock up to 5 ms at each of its turns, and a slice is over after about 2 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.access.tenants import DOCUMENT
from hivewire.dispatch import House
from hivewire.hub.entries import Topic
from hivewire.ledger.records import Change, Expected, Mismatch, Transaction, Write
from hivewire_protocol import times
from hivewire_protocol.codec import encode
from hivewire_protocol.errors import Unavailable
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.tenancy import Privilege
from hivewire_protocol.tenant import dates
from hivewire_protocol.tenant.differences import Differences, compare
from hivewire_protocol.tenant.documents import Document, parse, render
from hivewire_protocol.tenant.errors import Finding, Invalid, NotDefined, NotJson, Stale, TooLarge, ValidationError
from hivewire_protocol.tenant.ids import ids_of, number, stamp
from hivewire_protocol.tenant.steps import Steps
from hivewire_protocol.tenant.validation import errors, validate

SLICE_SECONDS = 0.002
"""Work is put aside after so long, for one turn of the event loop."""

LARGE = 256 << 10
"""Bytes of a document over which saving it takes one of the places of `LARGE_SAVES`."""

LARGE_SAVES = 2
"""Large documents worked on at a time: in memory one is ten times its text, and more at a time are not faster."""

TRIES = 5
"""Only a deletion of the tenant can come between reading and writing, so the second try nearly always counts."""

_T = TypeVar("_T")

Edit = Callable[[Document, Any], Document]
"""Gives the document that is to replace another, from what the request's body holds. Raises TenantError."""


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
    """The result of long work, with a turn of the event loop every few milliseconds."""
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
    """The documents of all tenants of one gateway. One save of a tenant at a time, and few large ones of all."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._large = asyncio.Semaphore(LARGE_SAVES)

    def stored(self, tenant: str) -> Stored | None:
        """The current version, or None before the first."""
        change = self._house.ledger.get(DOCUMENT, tenant)
        stored = stored_of(change) if change is not None else None
        return stored if stored is not None and stored.header.tenant == self._house.tenants.number(tenant) else None

    async def read(self, stored: Stored) -> Document:
        """The document of a version, parsed."""
        async with self._room(stored.size):
            return await _parsed(stored)

    async def history(self, stored: Stored, most: int, offset: int) -> AsyncIterator[Stored]:
        """This version and those before it, newest first, as long as they are kept; one at a time is in memory."""
        at = stored.change.revision
        while at and most > 0:
            found = await self._house.ledger.journal.history(DOCUMENT, stored.change.key, revision=at, take=1)
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

    async def check(self, document: Document) -> list[Finding]:
        """What is wrong with a document, by the settings of this gateway."""
        settings = self._house.settings
        return await in_slices(
            validate(
                document,
                strict=settings.document_validation == "strict",
                known_members_only=settings.document_members == "known",
            )
        )

    async def find(self, body: bytes) -> list[Finding]:
        """What is wrong with a document that is not to be saved. Raises TenantError when it cannot be read."""
        async with self._room(len(body)):
            return await self.check(await in_slices(parse(body)))

    async def put(self, tenant: str, author: str, body: bytes, since: Sequence[str]) -> Stored:
        """Save a whole document (section 3). `since` are the values of If-Unmodified-Since. Raises TenantError."""
        async with self._turn(tenant), self._room(len(body)):
            document = await in_slices(parse(body))
            if wrong := errors(await self.check(document)):
                raise Invalid(wrong)
            for _ in range(TRIES):
                stored = self.stored(tenant)
                self._judge(stored, since)
                old = await _parsed(stored) if stored is not None else None
                if (saved := await self._write(tenant, author, stored, old, document)) is not None:
                    return saved
            raise Unavailable("the configuration changes all the time")

    async def edit(self, tenant: str, author: str, body: bytes | None, edit: Edit, since: Sequence[str]) -> Stored:
        """Save the stored document with something changed (sections 2.2 to 2.4). Raises TenantError."""
        async with self._turn(tenant):
            value = await _value(body) if body is not None else None
            for _ in range(TRIES):
                stored = self.stored(tenant)
                if stored is None:
                    raise NotDefined
                async with self._room(stored.size):
                    old = await _parsed(stored)
                    document = edit(old, value)
                    if len(render(document)) > self._house.settings.document_bytes:
                        raise TooLarge("The configuration would become too large", "Nothing was changed.")
                    if wrong := errors(await self.check(document)):
                        raise ValidationError(wrong)
                    self._judge(stored, since)
                    if (saved := await self._write(tenant, author, stored, old, document)) is not None:
                        return saved
            raise Unavailable("the configuration changes all the time")

    def _judge(self, stored: Stored | None, values: Sequence[str]) -> None:
        """Whether If-Unmodified-Since allows to replace this version. The write expects just this version to be the
        last, so nothing comes between the judgement and the write (section 4.1)."""
        if not dates.may_save(stored.header.updatedTime if stored is not None else None, values, self._now()):
            raise Stale

    async def _write(
        self, tenant: str, author: str, stored: Stored | None, old: Document | None, document: Document
    ) -> Stored | None:
        """Number, stamp and write; None when the stored version is not the last any more."""
        known = self._house.tenants.number(tenant)
        if known is None:
            raise NotDefined
        last = self._house.ledger.kind(DOCUMENT).last(tenant)
        ids = await in_slices(ids_of(old)) if old is not None else {}
        numbered = await in_slices(number(document, ids, stored.header.counter if stored is not None else 0))
        differences = _encoded(await in_slices(compare(old, numbered.document)))
        time = dates.next_time(stored.header.updatedTime if stored is not None else None, self._now())
        header = Header(numbered.counter, time, time, author, author, known, len(differences))
        if stored is not None:
            header.createdTime, header.createdBy = stored.header.createdTime, stored.header.createdBy
        members = {
            "createdTime": header.createdTime,
            "createdBy": header.createdBy,
            "updatedTime": header.updatedTime,
            "updatedBy": header.updatedBy,
        }
        content = b"\n".join((encode(header), differences, render(stamp(numbered.document, members))))
        expected = stored.change.revision if stored is not None else last.revision if last is not None else 0
        write = Write(DOCUMENT, tenant, content, "application/json", None, (Expected(revision=expected),))
        try:
            changes = await self._house.ledger.commit(Transaction((write,), author))
        except Mismatch:
            return None
        return stored_of(changes[0])

    def _now(self) -> int:
        return self._house.ledger.now()

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait until nobody else saves this tenant's document."""
        lock, waiting = self._turns.get(tenant, (asyncio.Lock(), 0))
        self._turns[tenant] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(tenant)
            if waiting > 1:
                self._turns[tenant] = lock, waiting - 1

    @asynccontextmanager
    async def _room(self, size: int) -> AsyncIterator[None]:
        """Wait for room for a document of so many bytes; small ones have it always."""
        if size < LARGE:
            yield
        else:
            async with self._large:
                yield


async def _parsed(stored: Stored) -> Document:
    return await in_slices(parse(stored.document))


async def _value(body: bytes) -> Any:
    """The JSON of a body that may be something else than an object, such as the array of a type's attributes.

    Raises NotJson or Unacceptable. What is not an object is read as a member of one, and must not be more than that.
    """
    if body.lstrip(b" \t\n\r")[:1] == b"{":
        return await in_slices(parse(body))
    wrapped = await in_slices(parse(b'{"":%b}' % body))
    if len(wrapped) > 1:
        raise NotJson
    return wrapped[""]


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


TOPIC = Topic("tenant", DOCUMENT, "tenants", _update, _entry, _served)
"""Documents by tenant. Pushes tell what changed and never carry the document."""
