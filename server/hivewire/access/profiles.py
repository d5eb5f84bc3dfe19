"""Changes of a user that are made again when somebody else changed it first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hivewire.access.users import KIND, User, UserProfile, Users
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Expected, Guard, Refused
from hivewire_protocol.errors import NotFound, VersionConflict, WireError
from hivewire_protocol.messages import NOTHING, Reply


async def change_profile(
    users: Users,
    number: int,
    author: str | None,
    changed: Callable[[UserProfile], UserProfile],
    guards: Callable[[User], Sequence[Guard]] = lambda user: (),
) -> Reply:
    """Replace the profile of a user by `changed` of the current one, durably, if the `guards` hold.

    Both are called again for each attempt. Raises NotFound without such a user, and what they raise.
    """
    while True:
        user = users.by_id(number)
        record = users.ledger.get(KIND, user.login) if user is not None else None
        if user is None or record is None:
            raise NotFound(f"User with id = {number} not found")
        transaction = users.write(user.login, changed(user.profile), author, (Expected(revision=record.revision),))
        transaction.guards = guards(user)
        try:
            return await commit(users.ledger, PendingWrite(transaction, lambda changes: NOTHING, overtaken))
        except VersionConflict:
            continue


def overtaken(refused: Refused) -> WireError:
    """The error when a record was changed concurrently."""
    return VersionConflict(f"{refused.write.kind} {refused.write.key} has changed")
