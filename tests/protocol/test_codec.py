"""The codec: golden lines, order of checks, hostile input."""

from __future__ import annotations

import difflib
import gc
import json
import weakref
from difflib import SequenceMatcher
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hivewire_protocol import codec, coercion
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.codec import MAX_BATCH, MAX_REPLY, Call, RpcBatch
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    InternalError,
    InvalidParameters,
    InvalidRpc,
    MalformedJson,
    TooManyRequests,
    Unavailable,
    VersionConflict,
)
from hivewire_protocol.messages import NOTHING, Reply
from hivewire_protocol.nouns.configuration import (
    ChangeInfo,
    Configuration,
    ConfigurationGet,
    ConfigurationList,
    ConfigurationListReply,
    ConfigurationPut,
    ConfigurationReply,
    RevisionReply,
)
from hivewire_protocol.nouns.identity import AccessTokenReply, TokensReply
from hivewire_protocol.nouns.server import ServerInfo

MALFORMED = b'{"code":400,"status":"error","error":"Malformed Json received."}'
TOO_DEEP = MALFORMED.replace(b"received.", b"received. It is nested deeper than 128.")
INVALID_RPC = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Not a JSON-RPC 2.0 request"}}'


def one(data: bytes) -> Call:
    call = codec.decode(data)
    assert isinstance(call, Call)
    return call


def line(data: bytes, reply: Reply = NOTHING) -> bytes:
    """The answer to a frame, by a server that grants everything."""
    call = one(data)
    return codec.answer(call, reply) if call.error is None else codec.refuse(call, call.error)


def lines(data: bytes) -> list[bytes]:
    calls = codec.decode(data)
    assert isinstance(calls, list)
    read = map(codec.read, calls)
    return [codec.answer(call, NOTHING) if call.error is None else codec.refuse(call, call.error) for call in read]


PUT = ConfigurationReply(Configuration("n", "v", 1), 5)
CONFLICT = VersionConflict(
    "Configuration 'n' is at version 7, not 5",
    change=ChangeInfo(9, "put", "2026-03-01T09:30:00.123", "admin", None, Configuration("n", "v", 7)),
)
SHOWN = (
    b'{"revision":9,"operation":"put","modified":"2026-03-01T09:30:00.123","modifiedBy":"admin","description":null,'
    b'"configuration":{"name":"n","value":"v","entityVersion":7}}'
)


@pytest.mark.parametrize(
    ("data", "reply", "expected"),
    [
        (
            b'{"action":"configuration/put","requestId":7,"name":"n","value":"v"}',
            PUT,
            b'{"action":"configuration/put","requestId":7,"status":"success",'
            b'"configuration":{"name":"n","value":"v","entityVersion":1},"revision":5}',
        ),
        (
            b'{"action":"configuration/delete","requestId":"x","name":"n"}',
            RevisionReply(6),
            b'{"action":"configuration/delete","requestId":"x","status":"success","revision":6}',
        ),
        (
            b'{"action":"authenticate","token":"t"}',
            NOTHING,
            b'{"action":"authenticate","requestId":null,"status":"success"}',
        ),
        (
            b'{"action":"configuration/list","requestId":1}',
            ConfigurationListReply(configurations=[], count=0, revision=3),
            b'{"action":"configuration/list","requestId":1,"status":"success","configurations":[],"count":0,"revision":3}',
        ),
        (
            b'{"action":"token","requestId":1}',
            TokensReply("a", "r"),
            b'{"action":"token","requestId":1,"status":"success","accessToken":"a","refreshToken":"r"}',
        ),
        (
            b'{"jsonrpc":"2.0","id":7,"method":"configuration/put","params":{"name":"n","value":"v"}}',
            PUT,
            b'{"jsonrpc":"2.0","id":7,"result":'
            b'{"configuration":{"name":"n","value":"v","entityVersion":1},"revision":5}}',
        ),
        (
            b'{"jsonrpc":"2.0","id":"x","method":"authenticate","params":{"token":"t"}}',
            NOTHING,
            b'{"jsonrpc":"2.0","id":"x","result":{}}',
        ),
    ],
)
def test_a_success_is_this_line(data: bytes, reply: Reply, expected: bytes) -> None:
    """A success reply is byte for byte as documented, in either framing."""
    assert line(data, reply) == expected


def test_an_error_is_this_line() -> None:
    """An error reply is byte for byte as documented, with what is particular to it at the end or in `data`."""
    call = one(b'{"action":"configuration/put","requestId":7,"name":"n","value":"v"}')
    assert codec.refuse(call, CONFLICT) == (
        b'{"action":"configuration/put","requestId":7,"code":409,"status":"error",'
        b'"error":"Configuration \'n\' is at version 7, not 5","change":' + SHOWN + b"}"
    )
    assert codec.refuse(call, Unavailable()) == (
        b'{"action":"configuration/put","requestId":7,"code":503,"status":"error","error":"Service is not available"}'
    )
    call = one(b'{"jsonrpc":"2.0","id":7,"method":"configuration/put","params":{"name":"n","value":"v"}}')
    assert codec.refuse(call, CONFLICT) == (
        b'{"jsonrpc":"2.0","id":7,"error":{"code":409,"message":"Configuration \'n\' is at version 7, not 5",'
        b'"data":{"change":' + SHOWN + b"}}}"
    )
    assert codec.refuse(call, InternalError()) == (
        b'{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"Internal server error"}}'
    )


# requestId.

BLANK = st.text(" \t\r\n", max_size=2)
PLAIN = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\')
ESCAPES = st.sampled_from(
    ['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u00e9", "\\u0000", "\\ud83d\\ude00"]
)
STRINGS = st.lists(PLAIN | ESCAPES, max_size=6).map(lambda found: '"' + "".join(found) + '"')
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


def spaced(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda before, found, after: before + found + after, BLANK, inner, BLANK)


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.builds(lambda key, found: f"{key}:{found}", spaced(STRINGS), spaced(inner))
    return st.lists(spaced(inner), max_size=3).map(lambda found: f"[{','.join(found)}]") | st.lists(
        members, max_size=3
    ).map(lambda found: f"{{{','.join(found)}}}")


SCALARS = st.sampled_from(["null", "true", "false"]) | NUMBERS | STRINGS
VALUES = st.recursive(SCALARS, nested, max_leaves=8)
"""Any JSON value in any spelling."""

FRAMES = st.sampled_from(
    [
        ('"action":"server/info"', '"server/info"', b'"status":"success"}'),
        ('"action":"network/list","networkId":"7"', '"network/list"', b'"status":"success"}'),
        ('"action":"server\\/info"', '"server/info"', b'"status":"success"}'),
        ('"action" : "no/such"', '"no/such"', b'"code":400,"status":"error","error":"Illegal argument: no/such"}'),
        (
            '"action":"server/info","networkId":[]',
            '"server/info"',
            b'"code":400,"status":"error","error":"Malformed Json received."}',
        ),
        (
            '"x":1',
            "null",
            b'"code":400,"status":"error","error":"\'action\' field could not be parsed to known endpoint"}',
        ),
    ]
)


@given(FRAMES, VALUES, BLANK, BLANK, st.booleans())
def test_a_request_id_comes_back_byte_for_byte(
    frame: tuple[str, str, bytes], value: str, before: str, after: str, first: bool
) -> None:
    """Any JSON value in any spelling is echoed as it was sent, on success and on every kind of error."""
    members, action, rest = frame
    own = f'"requestId"{before}:{before}{value}{after}'
    text = f"{before}{{{own},{members}}}" if first else f"{{{members},{after}{own}}}{after}"
    assert line(text.encode()) == f'{{"action":{action},"requestId":{value},'.encode() + rest


@given(STRINGS | NUMBERS | st.just("null"), BLANK)
def test_a_json_rpc_id_comes_back_byte_for_byte(value: str, blank: str) -> None:
    """A JSON-RPC id is echoed as it was sent: text, number or null."""
    text = f'{{"id":{blank}{value}{blank},"jsonrpc":"2.0","method":"server/info"}}'
    assert line(text.encode()) == f'{{"jsonrpc":"2.0","id":{value},"result":{{}}}}'.encode()


def test_without_a_request_id_null_is_echoed() -> None:
    """The member is there also when the request had none."""
    assert line(b'{"action":"server/info"}') == b'{"action":"server/info","requestId":null,"status":"success"}'


# What is not a request.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"1",
        b'"x"',
        b"null",
        b"true",
        b"{",
        b"}",
        b"{]",
        b'{"action":"server/info"',
        b'{"action":"server/info"}x',
        b'{"action":"server/info"}{}',
        b'{"action":"server/info"},',
        b'{"action":"server/info",}',
        b"{'action':'server/info'}",
        b'{action:"server/info"}',
        b'{"action":"server/info"/**/}',
        b'{"action":"server/info","requestId":01}',
        b'{"action":"server/info","requestId":+1}',
        b'{"action":"server/info","requestId":1.}',
        b'{"action":"server/info","requestId":NaN}',
        b'{"action":"server/info","requestId":"a\nb"}',
        b'{"action":"server/info","requestId":"\\q"}',
        b'{"action":"server/info","requestId":[1,]}',
        b'{"action":"server/info","x":nul}',
        b'\xef\xbb\xbf{"action":"server/info"}',
        b"[1",
        b"[1,]",
        b"[1]x",
    ],
)
def test_text_that_is_not_json_is_answered_without_an_echo(data: bytes) -> None:
    """The gateway is not lenient: anything but strict JSON, and anything but an object, is malformed."""
    assert line(data) == MALFORMED


@pytest.mark.parametrize("raw", [b"null", b"{}", b"[]", b'""', b'{"a":1}', b'"\\u0061"', b"1", b"true", b"1.50"])
def test_an_invalid_action_is_echoed_raw(raw: bytes) -> None:
    """Null, objects, arrays and empty text are not actions; numbers and booleans are looked up as text."""
    found = line(b'{"action":%b,"requestId":1}' % raw)
    error = {
        b"1": b"Illegal argument: 1",
        b"true": b"Illegal argument: true",
        b"1.50": b"Illegal argument: 1.50",
        b'"\\u0061"': b"Illegal argument: a",
    }.get(raw, b"'action' field could not be parsed to known endpoint")
    assert found == b'{"action":%b,"requestId":1,"code":400,"status":"error","error":"%b"}' % (raw, error)


@pytest.mark.parametrize(
    "name",
    ["configuration/Get", "Configuration/get", " configuration/get", "configuration/get ", "get", "{action}", "{0}"],
)
def test_an_action_is_matched_to_the_letter(name: str) -> None:
    """Case and blanks matter, and braces in a name are only braces."""
    call = one(json.dumps({"action": name}).encode())
    assert str(call.error) == f"Illegal argument: {name}"


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_every_known_action_is_understood_in_both_framings(name: str) -> None:
    """Each action decodes to its own request, whether asked for by a frame or by JSON-RPC."""
    frame = one(b'{"requestId":1,"action":"%b","deviceId":"d","networkId":1,"deviceTypeId":2}' % name.encode())
    call = one(
        b'{"jsonrpc":"2.0","id":1,"method":"%b","params":{"deviceId":"d","networkId":"1","deviceTypeId":2.0}}'
        % name.encode()
    )
    for found in (frame, call):
        assert found.error is None
        assert type(found.request) is found.request_type is REQUESTS[name]
        assert (found.request.deviceId, found.request.networkId, found.request.deviceTypeId) == ("d", 1, 2)


# The order of checks.


@pytest.mark.parametrize("member", [b'"deviceId":{}', b'"networkId":"x"', b'"deviceTypeId":true'])
def test_a_bad_common_member_is_reported_before_rights(member: bytes) -> None:
    """The three members that every action has are decoded first, so the caller's rights do not matter."""
    call = one(b'{"action":"configuration/get","requestId":1,"name":"n",%b}' % member)
    assert type(call.error) is MalformedJson
    assert call.request_type is None
    assert call.action is not None


def test_a_bad_member_of_the_action_is_reported_after_rights() -> None:
    """The call still has its action, so a caller without rights learns nothing about parameters."""
    call = one(b'{"action":"configuration/get","requestId":1,"name":{}}')
    assert type(call.error) is MalformedJson
    assert call.request_type is ConfigurationGet
    call = one(b'{"jsonrpc":"2.0","id":1,"method":"configuration/get","params":{"name":{}}}')
    assert call.request_type is ConfigurationGet
    call = one(b'{"jsonrpc":"2.0","id":1,"method":"configuration/get","params":[]}')
    assert call.request_type is ConfigurationGet


def test_an_unknown_action_wins_over_a_bad_common_member() -> None:
    """The action is resolved before anything else is decoded."""
    assert b"Illegal argument: x" in line(b'{"action":"x","deviceId":{}}')


def test_scalars_are_coerced_in_a_whole_frame() -> None:
    """Numbers for texts and texts for numbers are taken, with their literal text."""
    call = one(b'{"action":"configuration/put","name":1.0,"value":true,"entityVersion":"7","revision":1e2}')
    assert call.request == ConfigurationPut(name="1.0", value="true", entityVersion=7, revision=100)


def test_the_same_integer_means_the_same_with_and_without_coercion() -> None:
    """The largest 64-bit integer is accepted, and the next one is not, whatever else stands in the frame."""
    for other in (b"", b'"name":1,'):
        fits = one(b'{"action":"configuration/put",%b"revision":9223372036854775807}' % other)
        assert isinstance(fits.request, ConfigurationPut)
        assert fits.request.revision == 2**63 - 1
        beyond = one(b'{"action":"configuration/put",%b"revision":9223372036854775808}' % other)
        assert type(beyond.error) is MalformedJson


def test_the_last_of_duplicate_keys_wins() -> None:
    """Members that are given twice count as given the last time, the envelope's too."""
    assert one(b'{"action":"configuration/get","name":"a","name":"b"}').request == ConfigurationGet(name="b")
    assert one(b'{"action":"configuration/get","name":"a","name":5}').request == ConfigurationGet(name="5")
    assert one(b'{"action":"configuration/get","name":{},"name":"b"}').request == ConfigurationGet(name="b")
    assert line(b'{"requestId":1,"action":"token","requestId":2,"action":"server/info"}') == (
        b'{"action":"server/info","requestId":2,"status":"success"}'
    )
    call = one(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x","method":"server/info"}')
    assert type(call.request) is ServerInfo
    assert bytes(call.id) == b"2"


def test_unknown_members_are_ignored() -> None:
    """A newer client may send more than this server knows."""
    assert one(b'{"action":"configuration/get","name":"a","x":{"y":[1]},"":null}').request == ConfigurationGet(name="a")


@pytest.mark.parametrize(
    ("action", "members", "words"),
    [
        ("put", '"name":"a","value":"b","entityversion":3', "'entityversion'; did you mean 'entityVersion'?"),
        ("put", '"name":"a","value":"b","expect":3', "'expect'; did you mean 'entityVersion'?"),
        ("put", '"name":"a","value":"b","contenttype":"text/x"', "'contenttype'; did you mean 'contentType'?"),
        ("put", '"name":"a","value":"b","Revision":3', "'Revision'; did you mean 'revision'?"),
        ("put", '"name":"a","value":"b","revison":3', "'revison'; did you mean 'revision'?"),
        ("delete", '"name":"a","entityVersion ":3', "'entityVersion '; did you mean 'entityVersion'?"),
        (
            "delete",
            '"name":"a","value":"b","x":1',
            "'x'; this request takes name, layer, description, entityVersion, revision, dryRun",
        ),
        ("put", '"name":"a","value":"b","dryrun":true', "'dryrun'; did you mean 'dryRun'?"),
        ("rollback", '"name":"a","toRevison":3', "'toRevison'; did you mean 'toRevision'?"),
        ("transact", '"change":[]', "'change'; did you mean 'changes'?"),
    ],
)
def test_a_write_refuses_members_that_it_does_not_know(action: str, members: str, words: str) -> None:
    """A misspelt expectation would otherwise be ignored: both framings name the member and the nearest one; rights come
    first."""
    for frame in (
        f'{{"action":"configuration/{action}","requestId":1,{members}}}',
        f'{{"jsonrpc":"2.0","id":1,"method":"configuration/{action}","params":{{{members}}}}}',
    ):
        call = one(frame.encode())
        assert (type(call.error), call.request_type) == (InvalidParameters, REQUESTS[f"configuration/{action}"])
        assert str(call.error) == f"Unknown member {words}"


@pytest.mark.parametrize("member", ["entityVersion", "entityversion", "expect", "revision"])
def test_an_expectation_beside_the_params_is_refused(member: str) -> None:
    """It would otherwise be ignored, and the write would overwrite any version; other members there are ignored."""
    params = '"params":{"name":"a","value":"b"}'
    call = one(f'{{"jsonrpc":"2.0","id":1,"method":"configuration/put",{params},"{member}":3}}'.encode())
    assert (type(call.error), call.request_type) == (InvalidParameters, ConfigurationPut)
    assert str(call.error) == f"Unknown member '{member}' beside params; parameters are taken from params"
    other = one(f'{{"jsonrpc":"2.0","id":1,"method":"configuration/put",{params},"trace":"x"}}'.encode())
    assert (other.error, other.request) == (None, ConfigurationPut(name="a", value="b"))


def test_what_a_wrong_member_means_is_found_by_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a comparison that takes ten times as long: a batch may have a thousand of them. Nor is a list of changes
    searched for repeated expectations that is too long anyway."""
    monkeypatch.setattr(difflib.SequenceMatcher, "ratio", lambda likeness: pytest.fail("compared"))
    for wrong, words in (("valeu", "did you mean 'value'?"), ("xyz", "this request takes name, ")):
        call = one(f'{{"action":"configuration/put","name":"a","{wrong}":"b"}}'.encode())
        assert words in str(call.error)
    monkeypatch.setattr(json, "loads", lambda data, **how: pytest.fail("searched"))
    twice = b'{"revision":1,"\\u0072evision":2}'
    call = one(b'{"action":"configuration/transact","changes":[%b]}' % b",".join([twice] * 1_001))
    assert call.error is None


def test_names_beside_the_params_are_few_and_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of a megabyte could have 60,000 that nearly mean an expectation, each of which takes 30 microseconds.
    In a batch those of all requests count, and equal ones once."""
    compared: list[str] = []

    class Counted(SequenceMatcher[str]):
        def __init__(self, junk: None, guard: str, name: str) -> None:
            compared.append(name)
            super().__init__(junk, guard, name)

    monkeypatch.setattr(difflib, "SequenceMatcher", Counted)
    monkeypatch.setattr(codec, "MAX_NAMES", 50)

    def request(first: int, count: int) -> bytes:
        names = "".join(f',"noisrevytit{number}":1' for number in range(first, first + count))
        params = '"params":{"name":"a","value":"b"}'
        return f'{{"jsonrpc":"2.0","id":1,"method":"configuration/put",{params}{names}}}'.encode()

    assert one(request(100, 46)).error is None
    assert 0 < len(compared) <= 3 * 46
    assert type(one(request(100, 47)).error) is InvalidRpc
    compared.clear()
    same = codec.decode(b"[%b]" % b",".join([request(100, 40)] * 25))
    assert isinstance(same, list) and not any(codec.read(call).error for call in same)
    assert not compared
    call = one(b"[%b]" % b",".join(request(first, 5) for first in range(100, 150, 5)))
    assert (type(call.error), call.rpc) == (InvalidRpc, True)
    assert not compared


@pytest.mark.parametrize("member", ["entityVersion", "revision"])
@pytest.mark.parametrize(
    ("action", "members"),
    [
        ("put", '"name":"a","value":"b",{0}:0,{0}:null'),
        ("put", '"name":"a","value":7,{0}:0,{0}:null'),
        ("delete", '{0}:1,"name":"a",{0}:null'),
        ("put", '{0}:null,"name":"a","value":"b",{0}:3'),
        ("rollback", '{0}:3,"name":"a","to":1,{0}:4'),
        ("transact", '"changes":[{{"operation":"put","name":"a","value":"b",{0}:1,{0}:2}}]'),
        ("transact", '"changes":[{{"operation":"put","name":"a","value":"b"}},{{"name":"b",{0}:1,{0}:null}}]'),
    ],
)
def test_an_expectation_that_is_there_twice_is_refused(action: str, members: str, member: str) -> None:
    """The last one would count, and null would drop the lock in silence; rights come first."""
    escaped = members.replace("{0}", f'"\\u00{ord(member[0]):x}{member[1:]}"', 1)
    for spelt in (members, escaped):
        refuses_twice(action, spelt.format(f'"{member}"'), member)


def refuses_twice(action: str, members: str, member: str) -> None:
    """All framings refuse a request with these members."""
    rpc = f'{{"jsonrpc":"2.0","id":1,"method":"configuration/{action}","params":{{{members}}}}}'
    for frame in (rpc, f"[{rpc}]", f'{{"action":"configuration/{action}","requestId":1,{members}}}'):
        found = codec.decode(frame.encode())
        call = codec.read(found[0] if isinstance(found, list) else found)
        assert (type(call.error), call.request_type) == (InvalidParameters, REQUESTS[f"configuration/{action}"])
        assert (call.request, str(call.error)) == (None, f"Member '{member}' occurs twice")


def test_each_change_of_a_transaction_may_have_an_expectation() -> None:
    """Only one object must not have it twice; the words in a value do not count."""
    value = '{\\"entityVersion\\":1,\\"entityVersion\\":2}'
    changes = [f'{{"operation":"put","name":"{name}","value":"{value}","entityVersion":1}}' for name in "ab"]
    call = one(f'{{"action":"configuration/transact","changes":[{",".join(changes)}]}}'.encode())
    assert call.error is None


def test_a_misspelt_member_ends_no_tokens() -> None:
    """Without the member that says whose, all tokens of the caller would end."""
    call = one(b'{"action":"token/revoke","requestId":1,"userID":2}')
    assert str(call.error) == "Unknown member 'userID'; did you mean 'userId'?"


def test_a_change_of_a_transaction_refuses_unknown_members_too() -> None:
    """The error says which change it is about."""
    changes = '[{"operation":"put","name":"a","value":"b"},{"operation":"delete","name":"b","entityversion":1}]'
    call = one(f'{{"action":"configuration/transact","changes":{changes}}}'.encode())
    assert str(call.error) == "changes[1]: Unknown member 'entityversion'; did you mean 'entityVersion'?"
    assert call.error is not None
    assert call.error.members == {"index": 1}


def test_a_write_takes_back_what_was_read() -> None:
    """The resource's own `size`, and members of both envelopes, are accepted."""
    asked = ConfigurationPut(name="a", value="b", entityVersion=1, contentType="text/x", requestId=msgspec.Raw(b"1"))
    resource = '"id":7,"name":"a","value":"b","entityVersion":1,"contentType":"text/x","size":1'
    call = one(f'{{"action":"configuration/put","requestId":1,{resource}}}'.encode())
    assert (call.error, bytes(call.id)) == (None, b"1")
    assert call.request == msgspec.structs.replace(asked, requestId=msgspec.UNSET)
    rpc = one(f'{{"jsonrpc":"2.0","id":1,"method":"configuration/put","params":{{"action":"x",{resource}}}}}'.encode())
    assert (rpc.error, rpc.request) == (None, call.request)


def test_an_unknown_member_is_shown_as_far_as_a_line_goes() -> None:
    """The error about an unknown member cuts a long name."""
    call = one(b'{"action":"configuration/put","%b":1}' % (b"x" * 100_000))
    assert str(call.error).startswith("Unknown member 'xxx")
    assert "x" * 65 not in str(call.error)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ('"name":"a","value":{"a":1}', "value must be a string"),
        ('"name":["a"],"value":"b"', "name must be a string"),
        ('"name":"a","value":"b","entityVersion":"1.0"', "entityVersion must be a whole number"),
        ('"name":"a","value":"b","check":1', "check must be true or false"),
    ],
)
def test_a_member_of_a_wrong_type_is_named(members: str, words: str) -> None:
    """Behind the sentence that DeviceHive's clients know, in both framings."""
    for frame in (
        f'{{"action":"configuration/put","requestId":1,{members}}}',
        f'{{"jsonrpc":"2.0","id":1,"method":"configuration/put","params":{{{members}}}}}',
    ):
        call = one(frame.encode())
        assert (type(call.error), str(call.error)) == (MalformedJson, f"Malformed Json received. {words}")


def test_a_nested_member_is_named_with_its_path() -> None:
    """`changes[1].value` of a transaction; also an entry that is not an object."""
    changes = '[{"operation":"put","name":"a","value":"b"},{"operation":"put","name":"b","value":[1]}]'
    call = one(f'{{"action":"configuration/transact","changes":{changes}}}'.encode())
    assert str(call.error) == "Malformed Json received. changes[1].value must be a string"
    call = one(b'{"action":"configuration/transact","changes":[5]}')
    assert str(call.error) == "Malformed Json received. changes[0] must be an object"
    call = one(b'{"action":"configuration/transact","changes":5}')
    assert str(call.error) == "Malformed Json received. changes has the wrong JSON type"


# Nesting.

DEEPEST = 128


def deep(levels: int, opening: bytes = b"[", closing: bytes = b"]", core: bytes = b"") -> bytes:
    return opening * levels + core + closing * levels


@pytest.mark.parametrize(
    ("opening", "closing", "core"),
    [(b"[", b"]", b""), (b'{"a":', b"}", b"1"), (b'[0,"]",', b"]", b"1"), (b'[[],{},"\\"[",', b"]", b"1")],
    ids=["arrays", "objects", "strings between", "siblings"],
)
@pytest.mark.parametrize("key", [b"requestId", b"unknown"])
def test_nesting_of_exactly_128_is_accepted(opening: bytes, closing: bytes, core: bytes, key: bytes) -> None:
    """Objects and arrays 128 deep are read, 129 deep are malformed, wherever they stand."""
    flat = 1 if opening.startswith(b"[[]") else 0  # siblings on the innermost level go one deeper themselves
    frame = b'{"action":"server/info","%b":%b}'
    fits = deep(DEEPEST - 1 - flat, opening, closing, core)
    assert one(frame % (key, fits)).error is None
    if key == b"requestId":
        assert fits in line(frame % (key, fits))
    assert line(frame % (key, deep(DEEPEST - flat, opening, closing, core))) == TOO_DEEP


def test_nesting_is_counted_over_the_whole_message_in_json_rpc_too() -> None:
    """The object, its params and a batch around it are levels as well."""
    rpc = b'{"jsonrpc":"2.0","id":1,"method":"server/info","params":{"x":%b}}'
    assert one(rpc % deep(DEEPEST - 2)).error is None
    assert line(rpc % deep(DEEPEST - 1)) == TOO_DEEP
    assert len(lines(b"[" + rpc % deep(DEEPEST - 3) + b"]")) == 1
    assert line(b"[" + rpc % deep(DEEPEST - 2) + b"]") == TOO_DEEP


@pytest.mark.parametrize("text", ["[" * 500, '"' + "[{" * 300, "\\" * 7 + "[" * 300, "]}" * 200, '\\"[' * 200 + "\\"])
def test_brackets_inside_texts_do_not_count(text: str) -> None:
    """A value full of brackets, quotes and backslashes is only a text."""
    frame = json.dumps({"action": "configuration/get", "name": text, text: text}).encode()
    assert one(frame).request == ConfigurationGet(name=text)


def depth_of(value: Any) -> int:
    """How deep arrays and objects are nested."""
    if not isinstance(value, (list, dict)):
        return 0
    return 1 + max(map(depth_of, value if isinstance(value, list) else value.values()), default=0)


TEXTS = st.text('[]{}"\\\n\u00fc', max_size=5)
JSON = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@given(JSON, st.booleans(), st.integers(0, 3))
def test_depth_is_that_of_the_value_whatever_its_texts_hold(value: Any, ascii_only: bool, most: int) -> None:
    """Brackets, quotes and backslashes in a text are only characters."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(codec, "MAX_DEPTH", most)
        try:
            codec.check_form(json.dumps(value, ensure_ascii=ascii_only).encode())
        except MalformedJson:
            assert depth_of(value) > most
        else:
            assert depth_of(value) <= most


def test_many_brackets_side_by_side_are_not_deep() -> None:
    """A long flat list is as good as a short one."""
    frame = b'{"action":"server/info","x":[' + b"[],{}," * 10_000 + b"1]}"
    assert one(frame).error is None


MIB = 1 << 20


@pytest.mark.parametrize("item", [b"1", b"{}", b"[]", b'","'])
def test_a_request_has_so_many_values_at_most(item: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """To decode 350,000 objects would take 60 ms. What stands in texts does not count."""
    monkeypatch.setattr(codec, "MAX_VALUES", 500)
    frame = b'{"action":"server/info","x":[%b,"%b"]}'
    takes = 1 if item[:1] in b'"1' else 2
    fits = (500 - 2 - takes) // takes
    texts = b"," * 300 + b"[{}]" * 300
    assert one(frame % (b",".join([item] * fits), texts)).error is None
    assert line(frame % (b",".join([item] * (fits + 3)), texts)) == (
        MALFORMED.replace(b"received.", b"received. It has more than 500 elements and members.")
    )


@pytest.mark.parametrize(
    ("action", "member", "item", "most"),
    [
        ("configuration/list", "names", "1", coercion.MAX_LIST),
        ("command/subscribe", "networkIds", '"1"', coercion.MAX_LIST),
        ("configuration/transact", "changes", "{}", coercion.MAX_OBJECTS),
    ],
)
def test_a_list_that_is_coerced_has_so_many_elements_at_most(action: str, member: str, item: str, most: int) -> None:
    """Each of them takes a microsecond, so a mebibyte of them would take half a second."""
    frame = '{{"jsonrpc":"2.0","id":1,"method":"{}","params":{{"{}":[{}]}}}}'
    assert one(frame.format(action, member, ",".join([item] * most)).encode()).error is None
    refused = one(frame.format(action, member, ",".join([item] * (most + 1))).encode())
    assert str(refused.error) == f"Malformed Json received. {member} has more than {most:,} elements"


def test_the_calls_of_a_batch_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """When their turn comes: a thousand of them may take 50 ms. One that was refused meanwhile stays refused."""
    built: list[object] = []
    build = coercion.build
    monkeypatch.setattr(coercion, "build", lambda shape, members: built.append(shape) or build(shape, members))
    calls = codec.decode(b"[%b]" % b",".join([b'{"jsonrpc":"2.0","id":7,"method":"server/info"}'] * 3))
    assert isinstance(calls, list)
    assert built == []
    assert codec.read(codec.read(calls[0])).request is not None
    assert len(built) == 2  # the common members, and the request
    calls[1].fail(TooManyRequests())
    assert (type(codec.read(calls[1]).error), bytes(calls[1].id)) == (TooManyRequests, b"7")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * MIB,
        b"]" * MIB,
        b"[]" * (MIB // 2),
        b"[{" * (MIB // 2),
        b'{"a":' * (MIB // 5),
        b"[" * (MIB // 2) + b"]" * (MIB // 2),
        b"[" + b'"' * MIB,
        b'["' + b"\\" * MIB,
        b'["' + b'\\"' * (MIB // 2),
        b"[" * 200 + b'"' + b"\\\\" * (MIB // 2),
        (b"[" * 129 + b"]" * 129) * (MIB // 258),
        b"[" * 200 + (b"[" * 127 + b"]" * 127) * (MIB // 254),
        b"]" * 200 + b"[" * (MIB - 200),
        b"[[" + b"[]]" * (MIB // 3),
        b"{" + b'"a":[' * (MIB // 6),
    ],
    ids=range(15),
)
def test_a_mebibyte_of_hostile_brackets_is_just_malformed(data: bytes) -> None:
    """Input made to hurt parsers is answered like any other that is not JSON."""
    assert line(data).startswith(MALFORMED[:-2])


# JSON-RPC.


@pytest.mark.parametrize(
    ("data", "code", "identity"),
    [
        (b'{"jsonrpc":"2.0","id":1}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":null}', -32600, b"1"),
        (b'{"jsonrpc":"1.0","id":1,"method":"server/info"}', -32600, b"1"),
        (b'{"jsonrpc":2.0,"id":1,"method":"server/info"}', -32600, b"1"),
        (b'{"jsonrpc":null,"id":1,"method":"server/info"}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":true,"method":"server/info"}', -32600, b"null"),
        (b'{"jsonrpc":"2.0","id":[1],"method":"server/info"}', -32600, b"null"),
        (b'{"jsonrpc":"2.0","id":{},"method":"server/info"}', -32600, b"null"),
        (b'{"jsonrpc":"2.0","method":5}', -32600, b"null"),
        (b'{"jsonrpc":"2.0","id":1,"action":"server/info"}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":"no/such"}', -32601, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":""}', -32601, b"1"),
        (b'{"jsonrpc":"2.0","id":null,"method":"no/such"}', -32601, b"null"),
        (b'{"jsonrpc":"2.0","id":1,"method":"server/info","params":[1]}', -32602, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":"server/info","params":[]}', -32602, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":"server/info","params":"x"}', -32602, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":"configuration/get","params":{"name":{}}}', -32602, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":"configuration/get","params":{"networkId":[]}}', -32602, b"1"),
    ],
)
def test_json_rpc_errors_have_their_codes(data: bytes, code: int, identity: bytes) -> None:
    """Not a request is -32600, an unknown method -32601, bad parameters -32602; a bad id is answered with null."""
    found = line(data)
    assert found.startswith(b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,"message":"' % (identity, code))
    assert one(data).reply_wanted


def test_a_frame_with_jsonrpc_and_action_is_json_rpc() -> None:
    """The action beside `jsonrpc` plays no part."""
    found = line(b'{"action":"token","requestId":9,"jsonrpc":"2.0","id":1,"method":"server/info","name":5}')
    assert found == b'{"jsonrpc":"2.0","id":1,"result":{}}'


def test_envelope_members_inside_params_mean_nothing() -> None:
    """`requestId`, `action` and `jsonrpc` among the parameters are unknown members like any other."""
    found = line(b'{"jsonrpc":"2.0","id":1,"method":"server/info","params":{"requestId":2,"action":"x","jsonrpc":3}}')
    assert found == b'{"jsonrpc":"2.0","id":1,"result":{}}'


def test_a_request_without_an_id_wants_no_reply() -> None:
    """A notification is carried out and never answered, valid or not; an id of null is not a notification."""
    for method in (b"server/info", b"no/such"):
        assert not one(b'{"jsonrpc":"2.0","method":"%b"}' % method).reply_wanted
        assert one(b'{"jsonrpc":"2.0","id":null,"method":"%b"}' % method).reply_wanted
    assert not one(b'{"jsonrpc":"2.0","method":"server/info","params":[]}').reply_wanted


def test_a_batch_becomes_its_calls_in_order() -> None:
    """Each element is a request of its own; what is none gets -32600 with id null."""
    found = lines(
        b' [ {"jsonrpc":"2.0","id":1,"method":"server/info"}, 5, null, "x", [], {}, {"action":"server/info"},'
        b' {"jsonrpc":"2.0","id":2,"method":"x"} ] '
    )
    assert found == [
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        *[INVALID_RPC] * 6,
        b'{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Illegal argument: x"}}',
    ]


def test_an_empty_batch_and_one_over_the_limit_get_a_single_error() -> None:
    """An empty array, and an array of 1,001, are answered by one object; 1,000 elements are served."""
    assert line(b"[]") == line(b" [ ] ") == INVALID_RPC
    assert len(lines(b"[" + b",".join([b"1"] * MAX_BATCH) + b"]")) == MAX_BATCH
    assert line(b"[" + b",".join([b"1"] * (MAX_BATCH + 1)) + b"]") == INVALID_RPC


# Sizes of answers.


def token_of(size: int) -> AccessTokenReply:
    """A reply whose members take exactly so many bytes."""
    return AccessTokenReply("x" * (size - len(encode(AccessTokenReply("")))))


@pytest.mark.parametrize("data", [b'{"action":"token/refresh"}', b'{"jsonrpc":"2.0","id":1,"method":"token/refresh"}'])
def test_an_answer_over_a_mebibyte_is_replaced(data: bytes) -> None:
    """Members of 1 MiB are sent, one byte more is a 413 that asks for less."""
    call = one(data)
    assert len(codec.answer(call, token_of(MAX_REPLY))) > MAX_REPLY
    refused = codec.answer(call, token_of(MAX_REPLY + 1))
    assert b'"code":413' in refused
    assert b"ask for less" in refused
    assert len(refused) < 200


def test_in_a_batch_answers_that_do_not_fit_get_413() -> None:
    """The answers of a batch together stay under 1 MiB: one that would exceed it is refused, small ones follow."""
    calls = codec.decode(
        b"[" + b",".join(b'{"jsonrpc":"2.0","id":%d,"method":"token/refresh"}' % n for n in (1, 2, 3)) + b"]"
    )
    assert isinstance(calls, list)
    batch = RpcBatch(len([codec.read(call) for call in calls]))
    large, small = token_of(600_000), token_of(100)
    assert batch.add(calls[0], codec.answer(calls[0], large)) is None
    assert batch.add(calls[1], codec.answer(calls[1], large)) is None
    whole = batch.add(calls[2], codec.answer(calls[2], small))
    assert whole is not None
    assert len(whole) <= MAX_REPLY
    found = msgspec.json.decode(whole)
    assert [answer["id"] for answer in found] == [1, 2, 3]
    assert found[1]["error"] == {"code": 413, "message": "ask for less"}
    assert "result" in found[0]
    assert "result" in found[2]


def test_a_batch_leaves_notifications_out() -> None:
    """Only requests with an id are in the array, and an array of nothing is not sent at all."""
    calls = codec.decode(
        b'[{"jsonrpc":"2.0","method":"server/info"},{"jsonrpc":"2.0","id":1,"method":"server/info"},'
        b'{"jsonrpc":"2.0","method":"x"}]'
    )
    assert isinstance(calls, list)
    batch = RpcBatch(3)
    assert [batch.add(codec.read(call), codec.answer(call, NOTHING)) for call in calls] == [
        None,
        None,
        b'[{"jsonrpc":"2.0","id":1,"result":{}}]',
    ]
    alone = RpcBatch(1)
    assert alone.add(calls[0], b"{}") is None


# Never raises.

PIECES = st.sampled_from(
    [
        *'{}[],:"\\ ',
        '"action"',
        '"requestId"',
        '"jsonrpc"',
        '"2.0"',
        '"id"',
        '"method"',
        '"params"',
        '"configuration/put"',
        '"server/info"',
        '"name"',
        '"networkId"',
        "null",
        "true",
        "1",
        "-1e5",
        "1e999999",
        '"\\ud800"',
        '"\\u0000"',
        "9" * 30,
        '{"action":"configuration/put",',
        '{"jsonrpc":"2.0","id":1,"method":"server/info",',
        "é",
    ]
)
MEMBERS = st.dictionaries(
    st.sampled_from(
        ["action", "requestId", "jsonrpc", "id", "method", "params", "name", "value", "networkId", "payload", "user"]
    ),
    VALUES
    | st.sampled_from(
        ['"2.0"', '"configuration/put"', '"token/create"', '"user/update"', '"\\ud800"', '{"\\ud800":1}']
    ),
).map(lambda found: "{" + ",".join(f'"{key}":{value}' for key, value in found.items()) + "}")
OBJECTS = MEMBERS | st.lists(MEMBERS | VALUES, max_size=4).map(lambda found: "[" + ",".join(found) + "]")
ANYTHING = st.text(max_size=40) | st.lists(PIECES, max_size=25).map("".join) | VALUES | OBJECTS


@example('{"action":"configuration/put","params":"configuration/put"}')
@given(ANYTHING)
def test_any_text_gets_calls_and_each_call_an_answer_in_json(text: str) -> None:
    """Whatever text comes, it is one call or a batch of some, and the answer is one line of valid JSON."""
    calls = codec.decode(text.encode())
    for call in map(codec.read, calls if isinstance(calls, list) else [calls]):
        # A refused call may keep what it is about, so that rights come before its parameters.
        assert (call.request is not None and type(call.request) is call.request_type) is (call.error is None)
        found = codec.answer(call, NOTHING) if call.error is None else codec.refuse(call, call.error)
        shown = json.loads(found)
        assert ("jsonrpc" in shown) == call.rpc
    assert calls != []


@given(OBJECTS)
def test_an_object_with_an_envelope_always_gets_it_back(text: str) -> None:
    """Once a frame is an object, its answer has either action and requestId, or jsonrpc and id."""
    try:
        members = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return
    if not isinstance(members, dict):
        return
    shown = json.loads(line(text.encode()))
    assert list(chain(shown))[:2] == (["jsonrpc", "id"] if "jsonrpc" in members else ["action", "requestId"])


@given(st.dictionaries(st.sampled_from(["names", "take", "skip", "after", "x"]), VALUES))
def test_both_framings_understand_the_same(members: dict[str, str]) -> None:
    """The same members make the same request, or the same error, whether in a frame or in params."""
    inner = ",".join(f'"{key}":{value}' for key, value in members.items())
    frame = one(f'{{"action":"configuration/list"{"," if inner else ""}{inner}}}'.encode())
    call = one(f'{{"jsonrpc":"2.0","id":1,"method":"configuration/list","params":{{{inner}}}}}'.encode())
    assert frame.request == call.request
    assert type(frame.error) is type(call.error)
    assert frame.request_type is call.request_type is ConfigurationList


SEPARATORS = "a\u2028b\u2029c\u2027d\u20ace"
ESCAPED = '"a\\u2028b\\u2029c\u2027d\u20ace"'.encode()


@pytest.mark.parametrize("rpc", [False, True])
def test_line_separators_are_escaped_in_answers_and_errors(rpc: bool) -> None:
    """U+2028 and U+2029 leave as escapes, in values, texts and members alike; other characters leave as they are."""
    call = Call(None, msgspec.Raw(b"1"), action=b"null", rpc=rpc)
    reply = ConfigurationReply(Configuration("n", SEPARATORS, 1), 1)
    refused = codec.refuse(call, VersionConflict(SEPARATORS, change=SEPARATORS))
    assert b'"value":%b,' % ESCAPED in codec.answer(call, reply)
    assert refused.count(ESCAPED) == 2
    assert encode([SEPARATORS]) == b"[%b]" % ESCAPED


@pytest.mark.parametrize(
    "message",
    [
        b"{",
        b"[" * 200,
        b'{"action":"configuration/put","name":{}}',
        b'{"action":"configuration/put","deviceId":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"configuration/get","params":{"name":[]}}',
    ],
)
def test_a_call_that_is_wrong_is_gone_with_its_last_reference(message: bytes) -> None:
    """Its error does not reference it or its message, so its memory is free at once, without the garbage collector."""
    gc.disable()
    try:
        call = codec.decode(message)
        assert isinstance(call, Call)
        assert call.error is not None
        error = weakref.ref(call.error)
        del call
        assert error() is None
    finally:
        gc.enable()
