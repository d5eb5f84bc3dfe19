"""An identity: what a verified access token says about the caller."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from hivewire.access.tenants import CLIENT
from hivewire.access.users import KIND as USER
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import ALL, Permission

_ALL = sum(1 << permission for permission in ALL)
"""All actions as a bit set."""


class Identity(Struct, frozen=True):
    """A user or a client, and what its token grants until `expires` (milliseconds since 1970).

    `permissions` is a bit set of granted Permissions, because every request tests one. `networks` and `device_types`
    are the ids that the token names, None for all of them; `devices/scope.py` says which of them it reaches. `names`
    are the configuration names that the token covers. `tenants` are privileges by tenant id; None stands for all
    privileges in all tenants. For a client, `client` is the id of its record, `login` is its own id, and `user_id` is
    0, which no user has. `issued` (milliseconds), `token` (an id) and `generation` are those of the token, 0 and empty
    in one that does not say; `key` identifies the key that signed it. `says_networks` is false for a token that has no
    list of networks, which grants none, like one with an empty list. `devices` are the ids of the devices that it is a
    token of.
    """

    user_id: int
    login: str
    expires: int
    permissions: int
    networks: frozenset[int] | None
    device_types: frozenset[int] | None
    names: Patterns = EVERYTHING
    tenants: Mapping[str, frozenset[Privilege]] | None = field(default_factory=dict)
    client: int = 0
    issued: int = 0
    token: str = ""
    generation: int = 0
    key: bytes = b""
    says_networks: bool = True
    devices: frozenset[str] = frozenset()

    @property
    def subject(self) -> tuple[str, int]:
        """The owner of the token: kind and id of its record."""
        return (CLIENT, self.client) if self.client else (USER, self.user_id)

    def may(self, permission: Permission) -> bool:
        """Whether the token grants an action."""
        return bool(self.permissions >> permission & 1)

    def may_tenant(self, tenant: str, privilege: Privilege) -> bool:
        """Whether the token grants a privilege in a tenant."""
        return self.tenants is None or privilege in self.tenants.get(tenant, ())

    @property
    def unrestricted(self) -> bool:
        """Whether the token grants all actions on all names, networks and device types."""
        return (
            self.permissions & _ALL == _ALL
            and self.names.contains("*")
            and self.networks is None
            and self.device_types is None
        )

    @property
    def administers(self) -> bool:
        """Whether it is an administrator's token for everything. That stays true while it is accepted, because a new
        role ends all tokens of a user."""
        return self.tenants is None


ANONYMOUS = Identity(0, "", 0, 0, frozenset(), frozenset(), Patterns(()))
"""A caller without a token. It has no rights."""
