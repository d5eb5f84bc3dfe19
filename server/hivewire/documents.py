"""Tenant configuration documents as records of the ledger: reading and saving them (tenant configuration).

A document is a record of kind `tenantConfiguration` under its tenant's id. Its content is two lines and the document:

```text
{"counter":4,"updatedTime":1716203045000,...}     Header: what the next save needs, and where the document begins
{"added":[...],"removed":[...],...}               the differences from the version before, for subscribers
{"label":"Shop",...}                              the document as it is served, without parsing it again
```

One record holds all three, so the id counter and the differences are written atomically with the document. Small
documents are processed in slices on the event loop, large ones in a worker process (`process_pool.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.access.tenants import DOCUMENT, TENANT, Tenants
from hivewire.keyed_lock import KeyedLock
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Change, Exists, Expected, Guard, Refused, Transaction, Write
from hivewire.process_pool import Ended, Overdue, ProcessPool
from hivewire.settings import Settings
from hivewire.slices import in_slices
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import Unavailable, VersionConflict, WireError
from hivewire_protocol.tenant import dates, work
from hivewire_protocol.tenant.differences import Differences
from hivewire_protocol.tenant.errors import Finding, NotDefined
from hivewire_protocol.tenant.steps import Steps

LARGE = 64 << 10
"""Size in bytes from which documents go to a worker process. Smaller ones cannot take long, whatever they contain."""

TRIES = 5
"""Most attempts of a save. Saves of one tenant are serialized in a gateway, so only the tenant's deletion, or a save on
another gateway, can come between reading and writing. Two attempts are nearly always enough."""

_T = TypeVar("_T")


class Saver(NamedTuple):
    """The caller that saves a document. `record_id` is that of the tenant when the request came in; `check_right`
    raises WireError when the caller has lost the right to save since."""

    tenant: str
    record_id: int
    identity: Identity
    check_right: Callable[[], object]


class HeadLine(Struct):
    """The first line. `tenant` is the id of the tenant's record, so that a tenant that is created again under its
    old id starts empty. `differences` is the length of the second line, `warnings` the number of findings."""

    counter: int
    updatedTime: int
    createdTime: int
    createdBy: str | None
    updatedBy: str | None
    tenant: int
    differences: int
    warnings: int = 0


class Stored(Struct):
    """One stored version of a document."""

    header: HeadLine
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


class Save(NamedTuple):
    """What a save made: the new version, and the edited part as JSON."""

    version: Stored
    part: bytes


def stored_of(change: Change) -> Stored:
    """The version that a change wrote. The change must not be a delete."""
    content = change.content or b""
    end = content.index(b"\n")
    header = msgspec.json.decode(content[:end], type=HeadLine)
    return Stored(header, change, end + 1 + header.differences + 1)


class Documents:
    """The documents of all tenants. For each tenant one save, and one read of a large document, runs at a time."""

    def __init__(self, ledger: Ledger, tenants: Tenants, pool: ProcessPool, settings: Settings) -> None:
        self._ledger = ledger
        self._tenants = tenants
        self._pool = pool
        self._rules = work.Rules(
            settings.document_validation == "strict", settings.document_members == "known", settings.document_bytes
        )
        self._saves: KeyedLock[str] = KeyedLock()
        self._readings: KeyedLock[str] = KeyedLock()

    def stored(self, tenant: str) -> Stored | None:
        """The current version, or None before the first."""
        change = self._ledger.get(DOCUMENT, tenant)
        stored = stored_of(change) if change is not None else None
        return stored if stored is not None and stored.header.tenant == self._tenants.record_id(tenant) else None

    def _existing(self, tenant: str) -> Stored:
        """The current version. Raises NotDefined."""
        stored = self.stored(tenant)
        if stored is None:
            raise NotDefined
        return stored

    async def collections(self, stored: Stored, names: list[str], privileges: list[str] | None) -> bytes:
        """The named collections of a version, or all, as JSON. With `privileges`, each element gets `access`."""
        return await self._read(stored.change.key, stored.size, work.collections, stored.document, names, privileges)

    async def part(self, stored: Stored, address: tuple[str, ...]) -> bytes:
        """One type or one part of it, as JSON. Raises TypeIsNotFound."""
        return await self._read(stored.change.key, stored.size, work.part, stored.document, address)

    async def history(self, stored: Stored, most: int, offset: int) -> AsyncIterator[Stored]:
        """Kept versions from this one backwards, newest first. Only one at a time is in memory."""
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
        """The findings in a document, without saving it. Raises TenantError when it cannot be read."""
        return await self._read(tenant, len(body), work.find, body, self._rules)

    async def save(
        self, author: Saver, body: bytes | None, since: Sequence[str], edit: work.Edit | None = None
    ) -> Save:
        """Save a whole document (section 3), or an edit of the stored one (sections 2.2 to 2.4).

        `since` are the values of If-Unmodified-Since. Raises TenantError, and WireError when the tenant or the
        right to save is gone by then.
        """
        async with self._saves.lock(author.tenant):
            for _ in range(TRIES):
                author.check_right()
                stored = self.stored(author.tenant)
                if stored is None and edit is not None:
                    stored = await self._ledger.sure(partial(self._existing, author.tenant), NotDefined)
                if (saved := await self._try(author, body, since, edit, stored)) is not None:
                    return saved
            raise Unavailable("the configuration is being changed too often; try again")

    async def _try(
        self, author: Saver, body: bytes | None, since: Sequence[str], edit: work.Edit | None, stored: Stored | None
    ) -> Save | None:
        """One attempt to replace a version; None when the stored version changed meanwhile."""
        before, identity = stored.header if stored is not None else None, author.identity
        login, moment = identity.login, self._ledger.now()
        # The write below expects that this version is still the last one, so the date check still holds when it is
        # committed (section 4.1).
        stale = not dates.may_save(before.updatedTime if before is not None else None, since, moment)
        time = dates.next_time(before.updatedTime if before is not None else None, moment)
        members: dict[str, Any] = {
            "createdTime": before.createdTime if before is not None else time,
            "createdBy": before.createdBy if before is not None else login,
            "updatedTime": time,
            "updatedBy": login,
        }
        last = self._ledger.kind(DOCUMENT).last(author.tenant)
        old = work.Version(stored.document, stored.header.counter) if stored is not None else None
        size = len(body or b"") + (stored.size if stored is not None else 0)
        saved = await self._do(size, work.save, body, edit, old, self._rules, members, stale=stale)
        author.check_right()  # again: the work above may have taken seconds in a worker
        if self._tenants.record_id(author.tenant) != author.record_id:
            raise NotDefined
        differences = _encode(saved.differences)
        header = HeadLine(
            counter=saved.counter,
            tenant=author.record_id,
            differences=len(differences),
            warnings=saved.warnings,
            **members,
        )
        content = b"\n".join((encode(header), differences, saved.document))
        expected = stored.change.revision if stored is not None else last.revision if last is not None else 0
        write = Write(DOCUMENT, author.tenant, content, "application/json", None, (Expected(revision=expected),))
        # Where the first save meets the tenant's delete in one commit, there is no document yet for the two to meet on.
        guard = Guard(TENANT, author.tenant, (Exists(author.record_id),))
        transaction = Transaction((write,), login, (guard,), bool(identity.client))
        try:
            version = await commit(self._ledger, PendingWrite(transaction, _only, _conflict), identity)
        except VersionConflict:
            return None
        return Save(version, saved.part)

    async def _read(self, tenant: str, size: int, what: Callable[..., Steps[_T]], *values: Any) -> _T:
        """Work that saves nothing. Each tenant has one large document in work at a time, so that no tenant takes all
        processes."""
        async with self._readings.lock(tenant) if size >= LARGE else nullcontext():
            return await self._do(size, what, *values)

    async def _do(self, size: int, what: Callable[..., Steps[_T]], *values: Any, **named: Any) -> _T:
        if size < LARGE:
            return await in_slices(what(*values, **named))
        try:
            return await self._pool.run(what, *values, **named)
        except (Overdue, Ended) as error:
            raise Unavailable(str(error)) from None


def _only(changes: list[Change]) -> Stored:
    """The reply of a save: the version that its only write made."""
    [change] = changes
    return stored_of(change)


def _conflict(refused: Refused) -> WireError:
    """The stored version changed, or the tenant is gone, before the commit. Only `_try` sees this error."""
    return VersionConflict(VersionConflict.text)


def _encode(differences: Differences) -> bytes:
    """The second line of a record, which holds members of a push."""
    return encode(
        {
            "added": differences.added,
            "removed": differences.removed,
            "modifiedUris": differences.modified,
            "truncated": differences.truncated,
        }
    )
