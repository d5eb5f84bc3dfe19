"""The data of the ledger (changes), and its input (transactions of writes, with preconditions)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from sys import intern
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from hivewire_protocol.errors import WireError
from hivewire_protocol.nouns.configuration import MAX_TRANSACTION


class KindRules(NamedTuple):
    """What the ledger keeps of the records of one kind."""

    history: bool
    """Whether older changes are kept. Never of what contains password hashes or secrets."""
    audited: bool
    """Whether each change is a row of the audit too, written in the same append."""
    rights: bool = False
    """Whether rights depend on its records. A change of one may end those to what waits behind it."""


KINDS = {
    "configuration": KindRules(history=True, audited=False),
    "tenantConfiguration": KindRules(history=True, audited=False),
    "tenant": KindRules(history=True, audited=True),
    "revocation": KindRules(history=True, audited=True, rights=True),
    "user": KindRules(history=False, audited=True, rights=True),
    "client": KindRules(history=False, audited=True, rights=True),
    "network": KindRules(history=True, audited=True),
    "deviceType": KindRules(history=True, audited=True),
    "device": KindRules(history=True, audited=False),
    "layer": KindRules(history=True, audited=False),
    "layerConfiguration": KindRules(history=True, audited=False),
    "label": KindRules(history=True, audited=False),
    "rollout": KindRules(history=True, audited=False),
    "schema": KindRules(history=True, audited=False),
    "schedule": KindRules(history=True, audited=False),
    "name": KindRules(history=False, audited=False),
    "secret": KindRules(history=False, audited=False),
}
"""All kinds of records. Others are not written, so that it is decided for each kind what is kept of it."""


class Change(Struct, gc=False, array_like=True):
    """One committed write of one record. The current state of a record is its last change.

    `content` None is a delete. `id` counts the records of a kind and is never reused; `version` is 1 at creation and
    grows by one with every write; `revision` is the ledger's, shared by the changes of one transaction; `time` is
    milliseconds since 1970; `previous` is the revision of the record's change before this one, 0 for its first.
    `ordinal` counts the changes of one key through all its lives, so the difference of two ordinals is how many changes
    lie between them. It starts again at 1 only when the key was forgotten.

    Write it with keywords: several members have the same type.
    """

    revision: int
    kind: str
    key: str
    id: int
    version: int
    content: bytes | None
    content_type: str
    time: int
    author: str | None = None
    description: str | None = None
    previous: int = 0
    ordinal: int = 1


def share(change: Change) -> Change:
    """The same change, which shares its strings: a million records share a handful of kinds, types and authors."""
    change.kind, change.content_type = intern(change.kind), intern(change.content_type)
    if change.author is not None:
        change.author = intern(change.author)
    return change


class Outline(Struct, gc=False):
    """A change without its content.

    `place` is the engine's own number of it: it grows along the log and never changes. `size` is its content in bytes.
    """

    place: int
    revision: int
    kind: str
    key: str
    ordinal: int
    size: int


class AuditRow(Struct, gc=False, array_like=True):
    """What somebody did: a login, a token that was made, a change of a user, client or tenant, an activity of a client.

    `subject` names the user, client or tenant concerned. `record_id` is the id of its record, because names can be
    used again; 0 when there is no record. `count` is the number of equal events within a minute. `detail` is a JSON
    object. `number` grows with the rows; the engine gives it.
    """

    time: int
    kind: str
    subject: str
    record_id: int = 0
    author: str | None = None
    address: str | None = None
    count: int = 1
    detail: str = "{}"
    number: int = 0


class AuditFilter(Struct, frozen=True):
    """A filter for rows of the audit: None means any. `others` negates `kind`; `until` is the latest time."""

    kind: str | None = None
    others: bool = False
    subject: str | None = None
    record_id: int | None = None
    author: str | None = None
    until: int | None = None

    def matches(self, row: AuditRow) -> bool:
        """Whether a row passes the filter."""
        return (
            (self.kind is None or (row.kind == self.kind) is not self.others)
            and self.subject in (None, row.subject)
            and self.record_id in (None, row.record_id)
            and self.author in (None, row.author)
            and (self.until is None or row.time <= self.until)
        )


class EvaluatedState(Protocol):
    """The ledger at the moment of an evaluation, as preconditions see it.

    Everything that comes before the write is part of it: what is committed, the transactions before it in the same
    commit, and the writes before it in the same transaction.
    """

    @property
    def changes(self) -> Sequence[Change]:
        """All changes since the last commit, in order. The last ones are taken back when a later write is refused."""

    def last(self, kind: str, key: str) -> Change | None:
        """The record's last change: None when there is none, `content` None when the record is deleted."""

    def count(self, kind: str) -> int:
        """How many records of this kind exist."""

    def written(self, kind: str) -> Collection[Change]:
        """The last changes of the records of this kind that were written since the last commit."""


class Precondition(Protocol):
    """A condition for a write. It may be evaluated several times; the last evaluation counts."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it is true, given the record's last change (see `EvaluatedState.last`) and everything else."""


@runtime_checkable
class Condition(Precondition, Protocol):
    """A precondition that knows the error for a write that does not meet it, such as an HTTP header."""

    def error(self, last: Change | None) -> WireError:
        """The error for a record whose last change does not satisfy it."""


class Expected(Struct, gc=False):
    """The version and/or revision that the writer believes current; version 0 = the record does not exist."""

    version: int | None = None
    revision: int | None = None

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether both, where given, are those of the record."""
        if self.version is not None and self.version != version_of(last):
            return False
        return self.revision is None or self.revision == (0 if last is None else last.revision)


class Exists(Struct, gc=False):
    """The record with this id exists: not deleted, and not deleted and created again under the same key."""

    id: int

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it does."""
        return last is not None and last.content is not None and last.id == self.id


class Judge(Protocol):
    """Decides what contents the records of a kind may have, on all write paths."""

    def __call__(self, write: Write, state: EvaluatedState) -> WireError | None:
        """Why this content is refused; None when it is accepted. It is called for every write that is not a delete."""


def version_of(last: Change | None) -> int:
    """The version of a record: 0 when it does not exist, or was deleted."""
    return 0 if last is None or last.content is None else last.version


class Write(Struct, gc=False):
    """Put `content` under a key, or delete the record with content None, if every precondition holds.

    An empty key makes a new record whose key is its own id, in decimal digits. A new record gets the next id of its
    kind, or `id`: that of a record that the same transaction deletes, so that a record can change its key.
    To delete a record that does not exist is refused, unless `if_present` says that this is no change.
    `judged` is the revision of the schema by which the content was found to be right already; see `Judge`.
    """

    kind: str
    key: str
    content: bytes | None
    content_type: str = ""
    description: str | None = None
    preconditions: tuple[Precondition, ...] = ()
    if_present: bool = False
    id: int = 0
    judged: int = 0


class Guard(Struct, gc=False):
    """A record that a transaction does not write, and what must be true of it for the transaction to happen."""

    kind: str
    key: str
    preconditions: tuple[Precondition, ...]


MAX_WRITES = MAX_TRANSACTION + 2
"""Writes of any transaction. A device is deleted with its label and the configurations of its layer."""


class Transaction(Struct, gc=False):
    """Writes that happen together, under one revision, or not at all. Guards are evaluated before the writes.

    `client` says that `author` is the id of an OAuth client, which may be the login of a user too. A `dry_run` is only
    evaluated: its outcome is what it would change, or why it would be refused. `by` is the identity of the caller who
    asks for it; while it waits, whoever ends rights looks at that.
    """

    writes: Sequence[Write]
    author: str | None = None
    guards: Sequence[Guard] = ()
    client: bool = False
    dry_run: bool = False
    by: Any = None


class LedgerError(Exception):
    """The base of what can go wrong here.

    ```text
    LedgerError
        Refused                 evaluated, and not possible
            PreconditionFailed
            Missing             nothing there to delete
            Unfit               the judge of its kind refused the content
        Unexpected              a mistake of the gateway
        NotKept                 the log does not reach back so far
        NotDurable              the storage did not take it: it was not written
            Overloaded
            Unsynced            it may be there after a crash, until something else is written
            Undecided           nobody knows whether it was written
    ```
    """


class Refused(LedgerError):
    """A transaction is not possible; nothing was written.

    `write` is the refused write and `index` its place in the transaction; guards are numbered after the writes.
    `last` is the record's last change, if any.
    """

    def __init__(self, index: int, write: Write | Guard, last: Change | None) -> None:
        super().__init__(f"{write.kind} {write.key!r}")
        self.index = index
        self.write = write
        self.last = last


class PreconditionFailed(Refused):
    """A precondition did not hold: `failed`."""

    def __init__(self, index: int, write: Write | Guard, last: Change | None, failed: Precondition) -> None:
        super().__init__(index, write, last)
        self.failed = failed


class Missing(Refused):
    """Nothing there to delete."""


class Unfit(Refused):
    """The judge of the kind refused the content of a write; `error` says why."""

    def __init__(self, index: int, write: Write, last: Change | None, error: WireError) -> None:
        super().__init__(index, write, last)
        self.error = error


class Unexpected(LedgerError):
    """The gateway itself failed while it evaluated the transaction: it was not written."""


class NotKept(LedgerError):
    """The log does not reach back so far: the changes never existed here, or were removed."""


class NotDurable(LedgerError):
    """The storage could not take the change (disk full, read-only, I/O error, closing): it was not written."""


class Unsynced(NotDurable):
    """The storage failed to sync the change: until a later one overwrites it, a start may find it."""


class Overloaded(NotDurable):
    """Too many changes are waiting for the storage already: it was not written."""


class Undecided(NotDurable):
    """It is not known whether it was written: the storage did not answer in time, or the writer ended.

    If it was, the ledger gets it later, like the changes of other gateways.
    """


class JournalError(Exception):
    """The log cannot be used; the message is a sentence for the operator."""


class WrongFile(JournalError):
    """The file at this place cannot be served, however often it is tried: it is another one, or not whole."""


Outcome: TypeAlias = "list[Change] | LedgerError"
"""The outcome of a transaction: its changes (none when it changes nothing), or the error."""

Done: TypeAlias = Callable[..., None]
"""Gets whatever was submitted with a transaction, and its outcome once it is durable."""
