"""Revoked tokens: records of kind `revocation` in the ledger, whose keys are ids of tokens, read into an index.

All tokens of a user end in another way: the user's record has a `generation`, which is a claim of its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, Transaction, View, Write

REVOCATION = "revocation"

MOST = 10_000
"""Revoked tokens that are remembered. Their refresh tokens live for months, so none is ever forgotten."""


class Room:
    """The condition that another revocation can be remembered, or that this one is already."""

    def holds(self, last: Change | None, view: View) -> bool:
        """Whether it is true, given also what other gateways have revoked."""
        return last is not None or view.count(REVOCATION) < MOST


class Revocations:
    """The ids of revoked tokens; follows every change of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ids: set[str] = set(ledger.kind(REVOCATION).live)
        self.on_change: Callable[[], None] = lambda: None
        """Called when tokens were revoked."""
        ledger.observe(self._apply, REVOCATION)

    def _apply(self, changes: Iterable[Change]) -> None:
        revoked = [change.key for change in changes if change.kind == REVOCATION]
        if revoked:
            self._ids.update(revoked)
            self.on_change()

    def __contains__(self, token_id: str) -> bool:
        """Whether the tokens with this id were revoked."""
        return token_id in self._ids

    def revoke(self, token_id: str, author: str | None) -> Transaction:
        """The transaction that revokes the tokens with this id. Its commit raises PreconditionFailed beyond MOST."""
        return Transaction([Write(REVOCATION, token_id, b"{}", "application/json", None, (Room(),))], author)
