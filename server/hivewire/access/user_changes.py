"""Changing a user, and trying again when another change came first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hivewire.access.users import KIND, User, UserContent, Users
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Expected, Guard, Refused
from hivewire_protocol.errors import NotFound, VersionConflict, WireError
from hivewire_protocol.messages import NOTHING, Reply


async def change_user(
    users: Users,
    user_id: int,
    author: str | None,
    change: Callable[[UserContent], UserContent],
    guards: Callable[[User], Sequence[Guard]] = lambda user: (),
) -> Reply:
    """Replace the content of a user by `change` of the current one, durably, if the `guards` hold.

    Both are called again for each attempt. Raises NotFound without such a user, and what they raise.
    """
    while True:
        user = users.by_id(user_id)
        record = users.ledger.get(KIND, user.login) if user is not None else None
        if user is None or record is None:
            raise NotFound(f"User with id = {user_id} not found")
        transaction = users.write(user.login, change(user.content), author, (Expected(revision=record.revision),))
        transaction.guards = guards(user)
        try:
            return await commit(users.ledger, PendingWrite(transaction, lambda changes: NOTHING, conflict))
        except VersionConflict:
            continue


def conflict(refused: Refused) -> WireError:
    """The error when a record was changed concurrently."""
    return VersionConflict(f"{refused.write.kind} {refused.write.key} has changed")
