"""What the structs of the protocol promise, held against what a gateway really answers and pushes.

`tests/world.py` and the tests of the hub hand over everything that passes by, so that every test of theirs holds this
as well.
"""

from __future__ import annotations

import msgspec

from hivewire_protocol.catalogue import PUSHES
from hivewire_protocol.errors import WireError
from hivewire_protocol.messages import Reply, Request, errors_of


def hold_reply(request_type: type[Request], reply: Reply) -> None:
    """The reply has the members of the request's reply struct: none is missing, unknown, ill-typed or out of order."""
    _hold(b"{%b}" % reply.members(), request_type.reply)


def hold_error(request_type: type[Request], error: WireError) -> None:
    """The error is one of those that the request names."""
    assert type(error) in errors_of(request_type), f"{request_type.__name__} does not name {type(error).__name__}"


def hold_push(line: bytes) -> None:
    """The message is just what the struct of its action says, in either framing."""
    found = msgspec.json.decode(line)
    if "jsonrpc" in found:
        found = {"action": found["method"], **found["params"]}
    _hold(msgspec.json.encode(found), PUSHES[found["action"]])


def _hold(line: bytes, shape: type[msgspec.Struct]) -> None:
    known = msgspec.json.encode(msgspec.json.decode(line, type=shape))
    assert known == msgspec.json.encode(msgspec.json.decode(line)), f"not a {shape.__name__}: {line[:1_000]!r}"
