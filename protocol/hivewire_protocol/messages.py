"""The envelope: what every request and every reply has in common.

A request is a struct whose tag is the wire's own action name; a reply is a struct with just the members that the
action answers. `requestId` is any JSON value and is echoed byte for byte, so it stays `Raw` from end to end.

Requests and replies hold plain values and no way back to themselves, so the garbage collector need not know them
(`gc=False`); they are freed with their last reference.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from hivewire_protocol.encoding import encode
from hivewire_protocol.permissions import Permission

Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number of the wire: 64 bits, as in the reference (core protocol, section 1.1)."""


class Request(Struct, tag_field="action", gc=False):
    """What a client asks for. The subclass's tag is the action; `permission` is what the caller's token must grant.

    `or_tenant`: a privilege in some tenant will do as well, and the action itself decides how far that goes.

    `deviceId`, `networkId` and `deviceTypeId` are looked at in every request, before rights (core protocol 1.3).
    """

    requestId: Raw | UnsetType = UNSET
    jsonrpc: Raw | UnsetType = UNSET  # there only to notice a JSON-RPC frame that also has an `action`
    deviceId: str | None = None
    networkId: Integer | None = None
    deviceTypeId: Integer | None = None

    permission: ClassVar[Permission | None] = None
    or_tenant: ClassVar[bool] = False


class Reply(Struct, gc=False):
    """The members of a success reply, in the wire's order; this one has none.

    `bounded`: it may be refused for its size. What was written is written, so the answer to that is not.
    """

    bounded: ClassVar[bool] = True

    def members(self) -> bytes:
        """The members as JSON, without the braces around them."""
        return encode(self)[1:-1]


NOTHING = Reply()


def action_of(request_type: type[Request]) -> str:
    """The wire name of a request's action, such as `configuration/put`."""
    tag = request_type.__struct_config__.tag
    assert isinstance(tag, str)  # noqa: S101 - a request without a tag is a mistake in this package
    return tag
