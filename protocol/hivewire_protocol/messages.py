"""The envelope: what every request, reply and push has in common.

A request is a struct whose tag is the wire's own action name, and it says everything about its action: the permission,
the required members, the reply and the errors. A reply is a struct with just the members that the action answers. A
push is a struct whose tag is the action that it is sent under. Every member has a sentence in its `Meta`; the pages of
the API are made from these structs.

`requestId` is any JSON value and is echoed byte for byte, so it stays `Raw` from end to end.

Requests and replies hold plain values and no way back to themselves, so the garbage collector need not know them
(`gc=False`); they are freed with their last reference.
"""

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    AccessDenied,
    ClientDeleted,
    InternalError,
    InvalidParameters,
    InvalidRpc,
    MalformedJson,
    MissingAction,
    TokenExpired,
    TokenRevoked,
    TooLarge,
    Unauthorized,
    UnknownAction,
    UserNotActive,
    WireError,
)
from hivewire_protocol.permissions import Permission

Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number of the wire: 64 bits, as in the reference (core protocol, section 1.1)."""


def says(sentence: str, **bounds: int) -> Meta:
    """The sentence about a member in the API pages, and the keywords of JSON Schema that bound it in the documents.

    The bounds decode everything: the handlers check them, so that a request is refused in words of their own.
    """
    return Meta(description=sentence, extra_json_schema=bounds or None)


IdempotencyKey = Annotated[
    str | None,
    says(
        "1 to 64 characters of the client's choice. While what was inserted under it is kept, the same insert under "
        "the same key, by the same user for the same device, inserts nothing and gets the same answer."
    ),
]
"""The key under which a client may repeat an insert when it does not know whether it was done."""


DryRun = Annotated[bool | None, says("True: only evaluate it, and write nothing; the reply says `dryRun` too.")]
WasDryRun = Annotated[bool | UnsetType, says("True: nothing was written. The reply says what the write would do.")]


class Reply(Struct, gc=False):
    """The members of a success reply, in the wire's order; this one has none.

    `bounded`: it may be refused for its size. The reply to a write is never refused, because the write is done.
    """

    bounded: ClassVar[bool] = True

    def members(self) -> bytes:
        """The members as JSON, without the braces around them."""
        return encode(self)[1:-1]

    def member(self, name: str) -> bytes:
        """One member as JSON."""
        return encode(getattr(self, name))


NOTHING = Reply()


class WriteReply(Reply):
    """Nothing, or that it was a dry run."""

    dryRun: WasDryRun = UNSET


DONE = WriteReply()
"""The reply to a write that answers nothing else."""

LEDGER = "ledger"
"""The log that all writes go to but those of commands and notifications."""


class Request(Struct, tag_field="action", gc=False):
    """A request. The subclass's tag is the action; its class variables are the other properties of the action.

    `permission`: what the caller's token must grant; None when no token is needed.
    `or_one_of`: permissions of which each is enough as well.
    `or_tenant`: a privilege in some tenant is enough as well, and the handler decides how far it goes.
    `read_only`: it changes nothing, so it is not carried out in a batch whose answers are over the limit already.
    `http_only`: sockets do not know the action.
    `log`: where it writes, if it writes: consecutive writes to one log share a commit.
    `concurrent`: it may be carried out beside earlier requests of its kind that are about other devices.
    `of_device`: the device of `deviceId` must be within reach, which is checked before other members.
    `authenticates`: it is a login, so a 401 or 429 counts as a failed authentication of its connection.
    `required`: the members that the handler refuses to do without. Decoding accepts a request without them, because
    rights are checked before parameters.
    `heeds`: the members below that it takes into account beside those that it requires or declares itself.
    `reply`: the struct of the success reply.
    `errors`: what the handler can raise, beyond COMMON_ERRORS and CALLER_ERRORS.

    The decoder checks `deviceId`, `networkId` and `deviceTypeId` in every request, before rights (core protocol 1.3).
    """

    requestId: Annotated[Raw | UnsetType, says("Any JSON value; the reply repeats it.")] = UNSET
    # Decoded only to notice a JSON-RPC frame that also has an `action`.
    jsonrpc: Annotated[Raw | UnsetType, says("`2.0` makes the message a JSON-RPC request.")] = UNSET
    trace: Annotated[
        Raw | UnsetType, says("A `traceparent` of W3C Trace Context, the span of the caller; anything else is ignored.")
    ] = UNSET
    deviceId: Annotated[str | None, says("The device that the request is about.")] = None
    networkId: Annotated[Integer | None, says("The network that the request is about.")] = None
    deviceTypeId: Annotated[Integer | None, says("The device type that the request is about.")] = None

    permission: ClassVar[Permission | None] = None
    or_one_of: ClassVar[tuple[Permission, ...]] = ()
    or_tenant: ClassVar[bool] = False
    read_only: ClassVar[bool] = False
    http_only: ClassVar[bool] = False
    log: ClassVar[str] = LEDGER
    concurrent: ClassVar[bool] = False
    of_device: ClassVar[bool] = False
    authenticates: ClassVar[bool] = False
    required: ClassVar[tuple[str, ...]] = ()
    heeds: ClassVar[tuple[str, ...]] = ()
    reply: ClassVar[type[Reply]]
    errors: ClassVar[tuple[type[WireError], ...]] = ()


class Push(Struct, tag_field="action", gc=False, kw_only=True):
    """A message that the gateway sends unasked. The subclass's tag is its action.

    The hub joins the bytes by hand, once for all subscribers; these structs say what the bytes mean, and a test decodes
    every kind of frame with them.
    """

    subscriptionId: Annotated[int, says("The subscription that it belongs to, numbered from 1 in its connection.")]


COMMON_ERRORS: tuple[type[WireError], ...] = (
    MalformedJson,
    InvalidRpc,
    MissingAction,
    UnknownAction,
    InvalidParameters,
    TooLarge,
    InternalError,
)
"""Errors that every message can get."""

CALLER_ERRORS: tuple[type[WireError], ...] = (
    Unauthorized,
    TokenExpired,
    TokenRevoked,
    UserNotActive,
    ClientDeleted,
    AccessDenied,
)
"""Errors that every request with a permission can get."""


def errors_of(request_type: type[Request]) -> frozenset[type[WireError]]:
    """Every error that a request can be answered with over a socket."""
    return frozenset(
        (*COMMON_ERRORS, *(CALLER_ERRORS if request_type.permission is not None else ()), *request_type.errors)
    )


def action_of(message_type: type[Request | Push]) -> str:
    """The wire name of a request's or push's action, such as `configuration/put`."""
    tag = message_type.__struct_config__.tag
    assert isinstance(tag, str)  # noqa: S101 - a message without a tag is a mistake in this package
    return tag


def noun_of(message_type: type[Request | Push]) -> str:
    """The noun of an action, such as `configuration`."""
    return action_of(message_type).partition("/")[0]
