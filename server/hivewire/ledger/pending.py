"""The one way to write: submit a transaction, wait until it is durable, turn its outcome into a reply or an error.

Sockets, REST, site properties, tenant documents and users all end in `PendingWrite.conclude`. A session continues
meanwhile, so it gives the ledger a callback; all others wait with `commit`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from msgspec import Struct, structs

from hivewire.keyed_lock import KeyedLock
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, LedgerError, Outcome, Refused, Transaction, Undecided
from hivewire_protocol.errors import Unavailable, VersionConflict, WireError

R = TypeVar("R")
K = TypeVar("K", bound=Hashable)


class PendingWrite(Struct, Generic[R], gc=False):
    """The result of a writing handler: a transaction, and how its outcome becomes a reply or an error."""

    transaction: Transaction
    answer: Callable[[list[Change]], R]
    refuse: Callable[[Refused], WireError]

    def tried(self, dry_run: bool | None) -> PendingWrite[R]:
        """The write that a request asks for: this one, or its dry run, whose reply says that it was one."""
        if dry_run:
            answer: Callable[[list[Change]], Any] = self.answer
            self.transaction.dry_run = True
            self.answer = lambda changes: structs.replace(answer(changes), dryRun=True)
        return self

    def conclude(self, outcome: Outcome) -> R | Exception:
        """The reply or the error for an outcome of the ledger."""
        if not isinstance(outcome, list):
            return self.refuse(outcome) if isinstance(outcome, Refused) else unavailable(outcome)
        try:
            return self.answer(outcome)
        except Exception as error:  # the change is durable anyway, and the caller must get an answer
            return error


async def commit(ledger: Ledger, pending: PendingWrite[R], by: Any) -> R:
    """The reply, once the write is durable, that somebody with this identity asks for; None for nobody. Raises
    WireError."""
    outcome: Outcome
    pending.transaction.by = by
    try:
        outcome = await ledger.commit(pending.transaction)
    except LedgerError as error:
        outcome = error
    reply = pending.conclude(outcome)
    if isinstance(reply, Exception):
        raise reply
    return reply


async def changed(locks: KeyedLock[K], key: K, attempt: Callable[[], Awaitable[R]]) -> R:
    """What an attempt to change a record returns, made again as long as the record was changed meanwhile.

    Those with the same key wait for one another: else all that come at once try again after each of them. An attempt
    looks at the caller's token and at the record itself, because it may have waited. Raises what the attempt raises.
    """
    async with locks.lock(key):
        while True:
            with suppress(VersionConflict):
                return await attempt()


def unavailable(error: BaseException) -> Unavailable:
    """The error for a client whose change the journal could not write."""
    if isinstance(error, Undecided):
        return Unavailable("not known whether this was written; read before trying again")
    return Unavailable.because(f"{error}; nothing was written")
