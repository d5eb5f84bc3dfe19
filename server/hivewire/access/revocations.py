"""Revoked tokens: records of kind `revocation` in the ledger, whose keys are ids of tokens, read into an index.

Those of a device have the key `device/ID`, and hold the time up to which its tokens were issued.

All tokens of a user end in another way: the user's record has a `generation`, which is a claim of its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, json

from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, EvaluatedState, Transaction, Write

REVOCATION = "revocation"

OF_DEVICE = "device/"
"""What the key of a device's revocation begins with. No id of a token has a slash."""


class OfDevice(Struct):
    """The content of such a record. One without a time was made by `token/revoke` with such a key, and ends nothing."""

    until: int = -1


MOST = 10_000
"""Revoked tokens that are remembered. Their refresh tokens live for months, so none is ever forgotten."""


class Room:
    """The condition that another revocation can be remembered, or that this one is already."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it is true, given also what other gateways have revoked."""
        return last is not None or state.count(REVOCATION) < MOST


def revoked_devices(changes: Iterable[Change]) -> set[str]:
    """The devices whose tokens are revoked by these changes, of whatever kinds."""
    return {
        change.key.removeprefix(OF_DEVICE)
        for change in changes
        if change.kind == REVOCATION and change.key.startswith(OF_DEVICE)
    }


class Revocations:
    """The ids of revoked tokens; follows every change of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ids: set[str] = set(ledger.kind(REVOCATION).live)
        self._devices: dict[str, int] = {}
        self._note(ledger.kind(REVOCATION).live.values())
        self.on_change: Callable[[], None] = lambda: None
        """Called when tokens were revoked."""
        ledger.observe(self._apply, REVOCATION)

    def _apply(self, changes: Sequence[Change]) -> None:
        revoked = [change.key for change in changes if change.kind == REVOCATION]
        if revoked:
            self._ids.update(revoked)
            self._note(change for change in changes if change.kind == REVOCATION)
            self.on_change()

    def _note(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.key.startswith(OF_DEVICE) and change.content is not None:
                self._devices[change.key.removeprefix(OF_DEVICE)] = json.decode(change.content, type=OfDevice).until

    def __contains__(self, token_id: str) -> bool:
        """Whether the tokens with this id were revoked."""
        return token_id in self._ids

    def until(self, devices: Iterable[str]) -> int:
        """The time up to which tokens of one of these devices are revoked, in milliseconds; -1 for never."""
        # Asked for every step of every subscription that catches up. The smaller set is walked: a token may name
        # hundreds of devices, and few devices are ever revoked.
        if not self._devices:
            return -1
        return max(map(self._devices.__getitem__, self._devices.keys() & devices), default=-1)

    def revoke_device(self, device_id: str, until: int, author: str | None) -> Transaction:
        """The transaction that revokes all tokens of a device that were issued up to a time. Raises as `revoke`."""
        content = json.encode(OfDevice(max(until, self._devices.get(device_id, -1))))
        write = Write(REVOCATION, OF_DEVICE + device_id, content, "application/json", None, (Room(),))
        return Transaction([write], author)

    def revoke(self, token_id: str, author: str | None) -> Transaction:
        """The transaction that revokes the tokens with this id. Its commit raises PreconditionFailed beyond MOST."""
        return Transaction([Write(REVOCATION, token_id, b"{}", "application/json", None, (Room(),))], author)
