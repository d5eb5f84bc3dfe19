"""An identity: what a verified access token says about who is asking."""

from __future__ import annotations

from msgspec import Struct

from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import ALL, Permission


class Identity(Struct, frozen=True):
    """A user, and what its token grants until `expires` (milliseconds since 1970).

    `permissions` has a bit for each granted Permission, because testing it is part of every request. `networks` and
    `device_types` are ids; None stands for all of them. `names` are the configuration names that the token reaches.
    """

    user_id: int
    login: str
    expires: int
    permissions: int
    networks: frozenset[int] | None
    device_types: frozenset[int] | None
    names: Patterns = EVERYTHING

    def may(self, permission: Permission) -> bool:
        """Whether the token grants an action."""
        return bool(self.permissions >> permission & 1)

    @property
    def unrestricted(self) -> bool:
        """Whether the token holds back nothing of what its user may do."""
        return (
            all(self.may(permission) for permission in ALL)
            and self.names.contains("*")
            and self.networks is None
            and self.device_types is None
        )

    def reaches(self, name: str) -> bool:
        """Whether a configuration name is within the token's patterns."""
        return self.names is EVERYTHING or name in self.names
