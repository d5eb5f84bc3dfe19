"""Changes of a user that are made again when somebody else changed it first."""

from __future__ import annotations

from collections.abc import Callable

from hivewire.access.users import UserProfile, Users
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Expected, Refused
from hivewire_protocol.errors import NotFound, VersionConflict, WireError
from hivewire_protocol.messages import NOTHING, Reply


async def change_profile(
    users: Users, number: int, author: str | None, changed: Callable[[UserProfile], UserProfile]
) -> Reply:
    """Replace the profile of a user by `changed` of the current one, durably. Raises NotFound without such a user."""
    while True:
        user = users.by_id(number)
        record = users.ledger.get("user", user.login) if user is not None else None
        if user is None or record is None:
            raise NotFound(f"User with id = {number} not found")
        transaction = users.write(user.login, changed(user.profile), author, (Expected(revision=record.revision),))
        try:
            return await commit(users.ledger, PendingWrite(transaction, lambda changes: NOTHING, overtaken))
        except VersionConflict:
            continue


def overtaken(refused: Refused) -> WireError:
    """The error when a record was changed concurrently."""
    return VersionConflict(f"{refused.write.kind} {refused.write.key} has changed")
