"""Every error that a client can see, in both framings."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec import Raw

from hivewire_protocol import codec
from hivewire_protocol.codec import Call
from hivewire_protocol.errors import WireError, catalogue

CLASSES = catalogue()

RPC_CODES = {
    "InvalidRpc": -32600,
    "MissingAction": -32600,
    "UnknownAction": -32601,
    "InvalidParameters": -32602,
    "MalformedJson": -32602,
    "InternalError": -32603,
}


def test_the_catalogue_is_complete_and_ordered() -> None:
    """The table of errors in the handbook can be made from the catalogue: each once, by code."""
    assert len(set(CLASSES)) == len(CLASSES) > 20
    assert [found.code for found in CLASSES] == sorted(found.code for found in CLASSES)


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_every_error_says_what_it_means(found: type[WireError]) -> None:
    """Every error has an HTTP-like code, a text for the client, and a sentence for the documentation."""
    assert 400 <= found.code <= 599
    assert found.text
    assert found.__dict__.get("__doc__", "").strip().endswith(".")
    assert str(found()) == found.text
    assert str(found("in other words")) == "in other words"
    assert found.rpc_code == RPC_CODES.get(found.__name__)


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_every_error_has_the_envelope_of_an_action_frame(found: type[WireError]) -> None:
    """Members come in the order action, requestId, code, status, error, then what is particular to the error."""
    call = Call(None, Raw(b"1.0"), action=b'"a/b"')
    text = json.dumps(found.text).encode()
    head = b'{"action":"a/b","requestId":1.0,"code":%d,"status":"error","error":%b' % (found.code, text)
    assert codec.refuse(call, found()) == head + b"}"
    assert codec.refuse(call, found(change=None, retryAfter=3)) == head + b',"change":null,"retryAfter":3}'
    assert codec.refuse(Call(None, codec.NULL), found()) == b'{"code":%d,"status":"error","error":%b}' % (
        found.code,
        text,
    )


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_every_error_has_the_envelope_of_json_rpc(found: type[WireError]) -> None:
    """The five JSON-RPC codes stand for their cases, everything else keeps its code; further members go to `data`."""
    call = Call(None, Raw(b'"x"'), action=b"null", rpc=True)
    code = RPC_CODES.get(found.__name__, found.code)
    text = json.dumps(found.text).encode()
    head = b'{"jsonrpc":"2.0","id":"x","error":{"code":%d,"message":%b' % (code, text)
    assert codec.refuse(call, found()) == head + b"}}"
    assert codec.refuse(call, found(change=None)) == head + b',"data":{"change":null}}}'


def test_texts_with_quotes_and_newlines_stay_valid_json() -> None:
    """An error that repeats client input is still one well-formed line."""
    text = 'a "quoted"\n\x00 ä \\ word'
    for rpc in (False, True):
        line = codec.refuse(Call(None, codec.NULL, action=b"null", rpc=rpc), WireError(text))
        assert b"\n" not in line
        found = msgspec.json.decode(line)
        assert text == (found["error"]["message"] if rpc else found["error"])
