"""Bytes to calls, and answers to bytes: one codec for both framings.

The fast path is one pass of msgspec over a union tagged by `action`. Whatever fails there comes to the second pass
over the raw members, which finds the framing, the action and the requestId, applies the coercions and the order of
checks of core protocol section 1.3, and picks the error. What is not JSON at all is answered as an action frame.

Callers hand in bytes that are valid UTF-8, so a raw requestId can be echoed unchanged.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Union

import msgspec
from msgspec import UNSET, Raw, Struct

from hivewire_protocol import coercion
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    InvalidParameters,
    InvalidRpc,
    MalformedJson,
    MissingAction,
    TooLarge,
    UnknownAction,
    WireError,
)
from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.nouns.configuration import MAX_TRANSACTION, ConfigurationTransact

MAX_DEPTH = 128
"""How deep objects and arrays may be nested in a request (configuration contract, section 2)."""

MAX_VALUES = 50_000
"""Elements and members in a request altogether: to decode so many takes up to 10 ms. No request needs a tenth of it,
except for a target with very many labels."""

SHALLOW = 2 * MAX_DEPTH
"""Bytes of a text that cannot be nested deeper, because every bracket has to be closed."""

MAX_REPLY = 1 << 20
"""Bytes; a larger answer is refused with 413 (configuration contract, section 4)."""

MAX_MEMBERS = MAX_REPLY - len("{}")
"""Bytes of the members of a reply without the braces around them."""

SMALL = 512
"""Bytes that are reserved in the answer to a batch for each call, so that a small answer always fits."""

MAX_BATCH = 1_000
"""Elements of one JSON-RPC batch (configuration contract, section 10)."""

MAX_NAMES = 500
"""Different members of a JSON-RPC message or batch, `params` being one. Each that is unknown there is compared with
those that guard a write, which takes up to 30 microseconds."""

NULL = Raw(b"null")


class Call(Struct, gc=False):
    """One request on its way through: how to answer it, and its content, or why it cannot be carried out.

    `id` and `action` are what the answer echoes, as raw JSON; without an `action` it is that of the request. With
    neither, the frame could not be read at all, and the answer has neither. `request_type` is the type of the request,
    also of one with `error`, so that rights are checked before parameters are complained about; None when the action is
    unknown.
    `reply_wanted` is false for JSON-RPC notifications. `size` is the bytes of the message, counted once for a batch;
    `batch` is the one that the call belongs to; `unread` is its JSON until `read`, which fills in the rest. `pending`
    is for the session: whether it counts the call as unanswered.
    """

    request: Request | None
    id: Raw
    request_type: type[Request] | None = None
    action: bytes | Raw | None = None
    error: WireError | None = None
    rpc: bool = False
    reply_wanted: bool = True
    size: int = 0
    batch: RpcBatch | None = None
    unread: bytes | None = None
    pending: bool = False

    def fail(self, error: WireError) -> None:
        """Remember why it cannot be carried out."""
        self.error = error.alone()


class RpcBatch:
    """The answers to one JSON-RPC batch, gathered in order until all are there.

    `full` is true once an answer did not fit; further answers need not be computed.
    """

    __slots__ = ("_answers", "_missing", "_size", "full")

    def __init__(self, calls: int) -> None:
        self.full = False
        self._missing = calls
        self._answers: list[bytes] = []
        self._size = 0

    @property
    def complete(self) -> bool:
        """Whether every call has an answer."""
        return not self._missing

    def add(self, call: Call, data: bytes) -> bytes | None:
        """Take the answer to the next call. Returns the whole array after the last one, unless it would be empty.

        An answer that would bring the array over 1 MiB is replaced by a 413.
        """
        self._missing -= 1
        if call.reply_wanted:
            if len(data) > SMALL and self._size + len(data) > MAX_REPLY - SMALL * (self._missing + 1):
                data = refuse(call, TooLarge())
                self.full = True
            self._size += len(data) + 1
            self._answers.append(data)
        if self._missing or not self._answers:
            return None
        return b"[" + b",".join(self._answers) + b"]"


_decode = msgspec.json.Decoder(Union[tuple(REQUESTS.values())]).decode  # noqa: UP007 - made at run time
_elements = msgspec.json.Decoder(list[Raw])

_ECHO = {found: f'"{action}"'.encode() for action, found in REQUESTS.items()}
"""The action of each request as raw JSON."""

_HEADS = {found: b'{"action":%b,"requestId":' % action for found, action in _ECHO.items()}
"""How the success reply to each request begins."""


def decode(data: bytes) -> Call | list[Call]:
    """The call in one text message, or the calls of a JSON-RPC batch, for `read`. Never raises: what is wrong is in
    the call.

    The bytes must be UTF-8, as those of a text message are.
    """
    try:
        if len(data) > SHALLOW:
            check_form(data)
        request = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _second_pass(data)
    except WireError as error:
        return _unreadable(MalformedJson(f"{MalformedJson.text} It {error}."))
    # With both `action` and `jsonrpc` the message is JSON-RPC, whose parameters are in `params`.
    if request.jsonrpc is not UNSET:
        return _second_pass(data)
    request_id, shape = request.requestId, type(request)
    call = Call(request, NULL if request_id is UNSET else request_id, shape)
    if shape not in _GUARDED or (shape in _SINGLE and _plainly_once(request, data)):
        return call
    return _guarded(call, data)


_GUARDED = frozenset(shape for shape in REQUESTS.values() if shape.__struct_config__.forbid_unknown_fields)
"""Requests that may have an expectation, themselves or in their parts."""

_SINGLE = frozenset(shape for shape in _GUARDED if "entityVersion" in shape.__struct_fields__)
"""Those that may have one themselves."""

_BACKSLASH = ord("\\")


def _plainly_once(request: Any, data: bytes) -> bool:
    """Whether a quick look shows that no expectation occurs twice. This is on the path of every put."""
    version, revision = request.entityVersion, request.revision
    if version is UNSET is revision:
        return True
    return (
        data.find(_BACKSLASH) < 0  # no name is written with escapes
        and (version is UNSET or data.count(b'"entityVersion"') == 1)
        and (revision is UNSET or data.count(b'"revision"') == 1)
    )


def _guarded(call: Call, data: bytes) -> Call:
    """The call, which fails when an expectation occurs twice."""
    request = call.request
    if type(request) in _GUARDED:
        try:
            if isinstance(request, ConfigurationTransact):
                changes = request.changes or ()
                if len(changes) > MAX_TRANSACTION:
                    return call  # it is refused for that, and there may be 350,000
                versions = sum([change.entityVersion is not UNSET for change in changes])
                coercion.refuse_repeated(data, versions, sum([change.revision is not UNSET for change in changes]))
            else:
                coercion.refuse_repeated(data)
        except WireError as error:
            call.request = None
            call.fail(error)
    return call


def check_form(data: bytes) -> None:
    """Raise MalformedJson, which says why, when brackets outside of strings nest too deep or there are too many values.

    Counting is cheap and rules out nearly every message. For the others every pass is one of C, because a message may
    have a million strings or brackets. The decoder reports unbalanced ones, and escapes outside of strings.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH and (
        len(data) <= 2 * MAX_VALUES or data.count(b",") + MAX_DEPTH <= MAX_VALUES  # each has a comma beside it
    ):
        return
    if _BACKSLASH in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # what is left of quotes begins and ends strings
    if data.count(b'"') <= 4 * MAX_VALUES:  # a member has four
        outside = b"".join(data.split(b'"')[::2])
        brackets = outside.translate(_STEPS, delete=_NO_BRACKETS)
        if outside.count(b",") + len(brackets) // 2 <= MAX_VALUES:
            if max(accumulate(memoryview(brackets).cast("b")), default=0) > MAX_DEPTH:
                raise MalformedJson(f"is nested deeper than {MAX_DEPTH}")
            return
    raise MalformedJson(f"has more than {MAX_VALUES:,} elements and members")


_STEPS = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _second_pass(data: bytes) -> Call | list[Call]:
    if data.lstrip(b" \t\r\n")[:1] == b"[":
        return _batch(data)
    try:
        members = coercion.decode_members(data)
    except WireError as error:
        return _unreadable(error)
    if "jsonrpc" in members:
        return _guarded(_rpc_call(members, Call(None, NULL)), data)
    return _guarded(_action_call(members), data)


def _unreadable(error: WireError) -> Call:
    call = Call(None, NULL)
    call.fail(error)
    return call


def _action_call(members: dict[str, Raw]) -> Call:
    # Both are removed, because they are echoed unchanged and are not parameters.
    action = members.pop("action", NULL)
    call = Call(None, members.pop("requestId", NULL), action=action)
    try:
        name = coercion.text(bytes(action))
    except WireError:
        name = None
    if not name:
        call.error = MissingAction()
    elif (request_type := REQUESTS.get(name)) is None:
        call.error = UnknownAction(UnknownAction.text.format(action=name[:128]))
    else:
        _fill(call, request_type, members)
    return call


def _fill(call: Call, request_type: type[Request], members: dict[str, Raw]) -> None:
    """Build the request; leave the `request_type` unset when a common member is wrong: that comes before rights.

    Of a request with a wrong member the common ones are left, for what is checked before.
    """
    try:
        call.request = coercion.build(Request, members)
    except MalformedJson:
        call.fail(MalformedJson())
        return
    call.request_type = request_type
    try:
        call.request = coercion.build(request_type, members)
    except MalformedJson as error:
        # DeviceHive's clients know the first sentence (core protocol, section 1.4); the second one names the member.
        call.fail(MalformedJson(f"{MalformedJson.text} {error}"))
    except WireError as error:
        call.fail(error)


def _rpc_call(members: dict[str, Raw], call: Call) -> Call:
    """The call, with what a JSON-RPC 2.0 request object says (JSON-RPC 2.0, section 4)."""
    request_id = members.get("id")
    identified = request_id is not None and bytes(request_id)[:1] in b'"-0123456789n'
    call.id, call.action, call.rpc = request_id if request_id is not None and identified else NULL, b"null", True
    name = coercion.plain_text(members.get("method", NULL))
    is_valid = coercion.plain_text(members["jsonrpc"]) == "2.0" and (request_id is None or identified)
    if not is_valid or name is None or len(members) > MAX_NAMES:
        call.error = InvalidRpc()
        return call
    call.reply_wanted = request_id is not None
    params = bytes(members.get("params", Raw(b"{}")))
    if (request_type := REQUESTS.get(name)) is None:
        call.error = UnknownAction(UnknownAction.text.format(action=name[:128]))
    elif params[:1] != b"{":
        call.request_type = request_type
        call.error = InvalidParameters("params must be an object: parameters are taken by name")
    else:
        given = coercion.decode_members(params)
        for envelope in ("requestId", "jsonrpc"):
            given.pop(envelope, None)
        _fill(call, request_type, given)
        if call.error is None and (name := coercion.misspelt(request_type, members)) is not None:
            call.error = InvalidParameters(f"Unknown member '{name}' beside params; parameters are taken from params")
    return call


def _batch(data: bytes) -> Call | list[Call]:
    try:
        elements = _elements.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Call(None, NULL, error=MalformedJson())
    if not 1 <= len(elements) <= MAX_BATCH:
        return _invalid()
    found = [_members(bytes(element)) for element in elements]
    if len(set[str]().union(*found)) > MAX_NAMES:
        return _invalid()
    return [Call(None, NULL, action=b"null", rpc=True, unread=bytes(element)) for element in elements]


def read(call: Call) -> Call:
    """A call of a batch with its content, when its turn comes: for all of a batch at once that may take 50 ms. One that
    was refused meanwhile stays refused."""
    if call.unread is not None:
        element, call.unread, refused = call.unread, None, call.error
        members = _members(element)
        if "jsonrpc" in members:
            _guarded(_rpc_call(members, call), element)
        else:
            call.error = InvalidRpc()
        call.error = refused or call.error
    return call


def _members(element: bytes) -> dict[str, Raw]:
    try:
        return coercion.decode_members(element)
    except WireError:
        return {}


def _invalid() -> Call:
    return Call(None, NULL, action=b"null", error=InvalidRpc(), rpc=True)


def answer(call: Call, reply: Reply) -> bytes:
    """The success reply to a call, encoded once; a 413 instead if it is over 1 MiB."""
    members = reply.members()
    if len(members) > MAX_MEMBERS and reply.bounded:
        return refuse(call, TooLarge())
    if call.rpc:
        return b'{"jsonrpc":"2.0","id":%b,"result":{%b}}' % (bytes(call.id), members)
    head = _HEADS[call.request_type] if call.action is None else b'{"action":%b,"requestId":' % bytes(call.action)  # type: ignore[index]
    return b"".join((head, call.id, b',"status":"success",' if members else b',"status":"success"', members, b"}"))


def refuse(call: Call, error: WireError) -> bytes:
    """The error reply to a call."""
    text = encode(str(error))
    if call.rpc:
        data = b',"data":' + encode(error.members) if error.members else b""
        code = error.rpc_code or error.code
        return b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,"message":%b%b}}' % (
            bytes(call.id),
            code,
            text,
            data,
        )
    echo = b""
    action = call.action
    if action is None and call.request_type is not None:
        action = _ECHO[call.request_type]
    if action is not None:
        echo = b'"action":%b,"requestId":%b,' % (bytes(action), bytes(call.id))
    members = b"," + encode(error.members)[1:-1] if error.members else b""
    return b'{%b"code":%d,"status":"error","error":%b%b}' % (echo, error.code, text, members)


def push(noun: str, what: str, rpc: bool, number: int) -> bytes:
    """A push of the subscription with a number, with a place for its members, JSON without the braces."""
    action = f"{noun}/{what}".encode()
    if rpc:
        return b'{"jsonrpc":"2.0","method":"%b","params":{"subscriptionId":%d,%%b}}' % (action, number)
    return b'{"action":"%b","subscriptionId":%d,%%b}' % (action, number)
