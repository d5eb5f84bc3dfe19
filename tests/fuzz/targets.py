"""The targets of the fuzzer: functions of bytes that return or raise a documented error, and check invariants."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import msgspec
from uvicorn.server import ServerState

from hivewire.access.keys import Key
from hivewire.access.tenants import Tenants
from hivewire.access.tokens import Tokens, identity
from hivewire.access.users import User, UserContent, Users
from hivewire.addresses import network_prefix, plain
from hivewire.caller import Caller
from hivewire.dialects.properties.server_tokens import ServerTokens, signature
from hivewire.http.peer import caller_of
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.ledger import Ledger
from hivewire.schemas.compiled import MAX_PROBLEMS, SHOWN, SchemaError, compiled
from hivewire.transport.admission import Admission
from hivewire.transport.sockets import Sockets
from hivewire.transport.websocket import WebSocket
from hivewire_protocol import codec, coercion, patterns, times
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    AccessDenied,
    InternalError,
    InvalidCredentials,
    InvalidParameters,
    OutOfBounds,
    TokenExpired,
    WireError,
)
from hivewire_protocol.messages import NOTHING, Reply, Request
from hivewire_protocol.nouns.configuration import is_media_type, is_text, resource
from hivewire_protocol.nouns.subscription import parse_position, render_position
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.properties import elements
from hivewire_protocol.properties.aborts import POST, PUT, PUT_MAY_CREATE, abort_of, reason, verdict
from hivewire_protocol.properties.batches import read_batch
from hivewire_protocol.properties.contents import charset_of, checked_description, checked_media_type, inlined
from hivewire_protocol.properties.elements import Author, Property, failure_element
from hivewire_protocol.properties.etags import effective_etag, etag
from hivewire_protocol.properties.markup import Form
from hivewire_protocol.properties.markup import render as render_answer
from hivewire_protocol.properties.names import Names, checked_name, decoded_key, decoded_slug, encoded_key
from hivewire_protocol.properties.parameters import boolean, integer
from hivewire_protocol.tenant import objects
from hivewire_protocol.tenant.dates import http_date, may_save, parse_http_date
from hivewire_protocol.tenant.differences import Differences, compare
from hivewire_protocol.tenant.documents import parse, render, render_sorted
from hivewire_protocol.tenant.elements import COLLECTIONS
from hivewire_protocol.tenant.errors import (
    BadRequest,
    NotJson,
    TypeIsNotFound,
    Unacceptable,
    ValidationError,
    validation_answer,
)
from hivewire_protocol.tenant.ids import ids_of, number
from hivewire_protocol.tenant.steps import at_once
from hivewire_protocol.tenant.validation import validate
from tests.gate.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, frame
from tests.protocol import tenants
from tests.world import World

LARGEST = 16 << 10
"""Bytes of an input: enough for every limit on depth and count that is not one on size."""

NOW = 1_700_000_000_000


class Target(NamedTuple):
    """A function of bytes, the errors that it may raise, and inputs that lead into it."""

    run: Callable[[bytes], None]
    raises: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]

    def __call__(self, data: bytes) -> None:
        """Try one input; any other error than the documented ones goes through."""
        try:
            self.run(data)
        except self.raises as error:
            exact = type(error) in self.raises or (WireError in self.raises and not isinstance(error, InternalError))
            assert exact, f"{error!r} is none of those that are documented"
            assert str(error).encode(), "an answer is sent, so it says something in UTF-8"


def _text(data: bytes) -> str:
    """Text as a query or a header can hold it: every character, but no half of a surrogate pair."""
    return data.decode(errors="replace")


def _codec(data: bytes) -> None:
    found = codec.decode(_text(data).encode())
    for call in map(codec.read, found if isinstance(found, list) else [found]):
        assert (type(call.request) is call.request_type) is (call.error is None)
        answer = json.loads(codec.refuse(call, call.error or InternalError()))
        assert isinstance(answer, dict)
        if call.request is not None:
            json.loads(codec.answer(call, NOTHING))


@cache
def _world() -> tuple[asyncio.Runner, World]:
    """A gateway in memory. Nobody commits to it, so that each input finds the same."""
    runner = asyncio.Runner()
    world = runner.run(World(anonymous_rate=0).open())
    unexpected: Any = _fail
    world.services.telemetry.unexpected = unexpected  # type: ignore[method-assign]
    return runner, world


def _fail(_where: str, error: BaseException) -> None:
    """Stands in for the log: an unexpected error is a finding."""
    raise error


def _ask(data: bytes) -> None:
    """The body of a REST request, which need not be UTF-8; its `action` is what the path would say."""
    codec.check_form(data)
    members = coercion.decode_members(data)
    found = coercion.plain_text(members.pop("action", codec.NULL))
    if found not in REQUESTS:
        return
    request = coercion.build(REQUESTS[found], members)
    runner, world = _world()
    runner.run(_start(world, request))


async def _start(world: World, request: Request) -> None:
    answer = world.dispatcher.start(world.caller(), request)
    if asyncio.iscoroutine(answer):
        answer.close()
    elif isinstance(answer, Reply):
        encode(answer)


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def is_closing(self) -> bool:
        return self.ended

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def abort(self) -> None:
        self.ended = True


def _frames(data: bytes) -> None:
    """Bytes of a caller on a socket, whole and octet by octet: what is answered does not depend on how TCP cuts."""
    runner, world = _world()
    whole = runner.run(_converse(world, [data]))
    cut = runner.run(_converse(world, [data[index : index + 1] for index in range(len(data))]))
    assert whole == cut, (whole, cut)


async def _converse(world: World, pieces: list[bytes]) -> list[tuple[int, bytes]]:
    """The frames that come back: opcodes, with the payloads of those that are not answers."""
    admission, identify = Admission(world.services.settings), partial(caller_of, world.services)
    sockets, transport = Sockets(world.dispatcher, admission, identify), _Transport()
    socket = WebSocket(sockets.shared, transport, Caller("10.0.0.1", "h"), ServerState(), 0)
    for piece in pieces:
        if not transport.ended:
            socket.data_received(piece)
            await asyncio.sleep(0)
    async with asyncio.timeout(60):
        while socket._session.pending or socket._backlog.waiting:  # what was put off, so that others are served
            await asyncio.sleep(0)
    socket.connection_lost(None)
    found: list[tuple[int, bytes]] = []
    at = 0
    written = bytes(transport.written)
    while at < len(written):
        size, start = written[at + 1], at + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(written[at + 2 : start])
        found.append((written[at] & 15, written[start : start + size] if written[at] != 0x81 else b""))
        at = start + size
        if found[-1][0] == CLOSE:
            break  # what comes behind a close frame may be thrown away
    return found


def _batch(data: bytes) -> None:
    content_type, _, body = data.partition(b"\n")
    header = content_type.decode("latin-1")
    charset = charset_of(header) if "charset" in header.lower() else None
    for entry in read_batch(body, charset):
        if entry.problem is None:
            checked_name(entry.name)
            checked_description(entry.description)
            if entry.content is not None:
                checked_media_type(entry.content_type)
        shown = failure_element(entry.name, entry.problem or OutOfBounds("no problem"))
        for form in Form:
            render_answer(shown, form)


def _name(data: bytes) -> None:
    name = decoded_key(_text(data))
    assert decoded_key(encoded_key(name)) == name


def _slug(data: bytes) -> None:
    checked_name(decoded_slug(data.decode("latin-1")))


def _etag(data: bytes) -> None:
    header, _, query = data.partition(b"\n")
    found = effective_etag(header.decode("latin-1") if header else None, _text(query))
    assert found is None or found
    current = etag(1, 2, NOW)
    for rules in (PUT, POST, PUT_MAY_CREATE):
        for rule in rules.values():
            assert verdict(rule, found, current) in (200, 404, 409)
            assert reason(rule, found, current)
    assert effective_etag(f'W/"{current}-gzip"', None) == current


def _query(data: bytes) -> None:
    which, text = data[:1], _text(data[1:])
    if which == b"b":
        boolean("p", text)
    elif which == b"i":
        assert -(10**18) < integer("p", text) < 10**18
    elif which == b"a":
        abort_of(text)
    elif which == b"d":
        checked_description(text)
    else:
        names = Names(text)
        covered = Patterns(names.patterns)
        for name in ("", "a", "*", *text.split(",")):
            assert name not in names or name in covered


def _media_type(data: bytes) -> None:
    header, _, content = data.partition(b"\n")
    content_type = header.decode("latin-1")
    is_text(content_type)
    inlined(content, content_type, 100)
    taken = is_media_type(content_type)
    checked_media_type(content_type)
    user = Author(1, "ann")
    shown = Property("n", 1, 2, NOW, content, content_type, user, _text(content)[:255])
    for form in Form:
        render_answer(elements.property_element(shown, "/@api/deki"), form)
    if taken:
        encode(resource("n", content, content_type, 1))


def _tenant(data: bytes) -> None:
    found = at_once(parse(data))
    assert at_once(parse(render(found))) == found
    for strict in (False, True):
        findings = at_once(validate(found, strict=strict, known_members_only=strict)).findings
        for level in ("all", "error", "warning"):
            encode(validation_answer(findings, level))
    numbered = at_once(number(found, {}, 0))
    ids = at_once(ids_of(numbered.document))
    assert set(ids.values()) <= {str(given) for given in range(1, numbered.counter + 1)}
    assert at_once(number(numbered.document, ids, numbered.counter)).counter == numbered.counter
    assert render_sorted(at_once(parse(render(numbered.document)))) == render_sorted(numbered.document)
    encode(at_once(compare(None, found)))
    same = at_once(compare(found, numbered.document))
    assert same == Differences(), same


_DOCUMENT = tenants.document()


def _versions(data: bytes) -> None:
    """Two documents, and what leads from one to the other."""
    one, _, other = (at_once(parse(part)) if part else {} for part in data.partition(b"\n"))
    there, back = at_once(compare(one, other)), at_once(compare(other, one))
    assert sorted(there.added) == sorted(back.removed)
    assert sorted(there.modified) == sorted(back.modified)


def _objects(data: bytes) -> None:
    verb, _, rest = data.partition(b" ")
    path, _, body = rest.partition(b"\n")
    address = tuple(_text(path).split("/"))
    if verb == b"select":
        objects.select(_DOCUMENT, address)
        return
    if verb == b"remove":
        changed = objects.remove(_DOCUMENT, address)
    elif verb == b"get":
        render(objects.get(_DOCUMENT, address))
        return
    else:
        value = at_once(parse(b'{"":%b}' % body))[""]
        if verb == b"date":
            changed = objects.with_source_publish_date(_DOCUMENT, address[-1], value)
        elif verb == b"insert":
            changed = objects.insert(_DOCUMENT, address, value)
        else:
            changed = objects.replace(_DOCUMENT, address, value)
    render(changed)
    at_once(validate(changed))
    assert tenants.document() == _DOCUMENT, "a document that was given is not changed"


def _position(data: bytes) -> None:
    text = _text(data)
    epoch, revision = parse_position(text)
    assert parse_position(render_position(epoch, revision)) == (epoch, revision)
    assert 0 <= revision < 10**18


def _time(data: bytes) -> None:
    text = data.decode("latin-1")
    seconds = parse_http_date(text, NOW)
    may_save(NOW, [text], NOW)
    if seconds is not None and seconds >= 0:
        assert parse_http_date(http_date(seconds * 1_000), NOW) == seconds
    assert isinstance(times.parse(text), int)


def _patterns(data: bytes) -> None:
    lists = [[item for item in part.split(",") if not patterns.problem(item)] for part in _text(data).split(";", 1)]
    one, other = Patterns(lists[0]), Patterns(lists[-1])
    both = one & other
    for pattern in (*lists[0], *lists[-1]):
        name = pattern.removesuffix("*")
        assert (name in both) is (name in one and name in other)
    assert Patterns(both.patterns) == both == other & one


_ledger = Ledger(MemoryJournal(), lambda: 0)
_KEY = Key("k" * 32, "utf8")
_tokens = Tokens(_KEY, Users(_ledger), Tenants(_ledger), 1_000, 1_000)
_USER = User(1, "ann", UserContent("hash"), True, 1)
_server_tokens = ServerTokens({"wiki": "secret"}, Users(_ledger))


def _token(data: bytes) -> None:
    """A token of anybody's, or a payload that is signed with the right key."""
    if data[:1] == b"{":
        head, payload = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', data))
        mark = base64.urlsafe_b64encode(hmac.digest(_KEY.value, head + b"." + payload, "sha256")).rstrip(b"=")
        token = b".".join((head, payload, mark)).decode()
    else:
        token = _text(data)
    claims = _tokens.claims(token)
    identity(claims, _USER)
    assert _tokens.claims(_tokens.mint(claims)) == claims
    _tokens.verify(token, NOW)


def _server_token(data: bytes) -> None:
    text = _text(data)
    assert _server_tokens.verify(text, NOW) is None
    epoch, _, user = text.partition("_")
    assert _server_tokens.verify(f"wiki_{text}_{signature('secret', 'wiki', epoch, user)}", NOW) is None


def _address(data: bytes) -> None:
    text = _text(data)
    plain(text)
    assert network_prefix(network_prefix(text)) == network_prefix(text)


def _json(*values: Any) -> tuple[bytes, ...]:
    return tuple(msgspec.json.encode(value) for value in values)


_CLAIMS = {"a": [0], "e": NOW + 1, "t": 1, "u": 1, "n": ["*"], "dt": ["1", "2"], "c": ["a.*", "b"]}
_XML = b'<contents type="text/plain">v</contents><description>d</description>'
_RULES = [
    b"insert entityTypes/Store/attributes\n" + _json(tenants.attribute(f"{tenants.STORE}/attributes/New"))[0],
    b"replace entityTypes/Store/surrogateCrosswalks\n[]",
    b"replace entityTypes/Place\n" + _json({"uri": tenants.PLACE, "label": "x"})[0],
    b"remove entityTypes/Shop",
    b"remove entityTypes/Store/attributes/City",
    b"get entityTypes/Store/survivorshipGroups/default",
    b"select entityTypes/sources",
    b'date CRM\n{"sourcePublishDate":1}',
]


def _schema(data: bytes) -> None:
    """A schema on the first line, and a value behind it. Nothing is judged here that a gateway would not judge on its
    event loop, so the time that an input may take bounds what a hostile one can do there."""
    schema, _, value = data.partition(b"\n")
    found = compiled(schema)
    if found.is_light(value):
        fits = found.fits(value)
    if found.is_brief(value):
        problems = found.problems(value)
        assert fits is not bool(problems)
        assert len(problems) <= MAX_PROBLEMS
        assert all(len(each.message) <= 2 * SHOWN and len(each.pointer) <= SHOWN for each in problems)
        hidden = found.problems(value, secret=True)
        assert {(each.pointer, each.message) for each in hidden} <= {("", HIDDEN), ("", NOT_TEXT), ("", NOT_JSON)}
        encode([*problems, *hidden])


HIDDEN, NOT_TEXT, NOT_JSON = "it does not satisfy this rule", "it is not text in UTF-8", "it is not JSON"


TARGETS: dict[str, Target] = {
    "schema": Target(
        _schema,
        (SchemaError,),
        (
            b'{"type":"array","items":{"type":"integer","maximum":65535}}\n[80,443,70000]',
            b'{"type":"string","pattern":"^(a+)+$","format":"date"}\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab',
            b'{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"},{"$ref":"#/$defs/b"}]},"b":{"enum":[1,"x",{"y":[]}]}},'
            b'"$ref":"#/$defs/a"}\n{"y":[]}',
            b'{"properties":{"a":{"const":1.5,"multipleOf":0.1}},"patternProperties":{"^b{2,30}":false},'
            b'"unevaluatedProperties":{"not":{}},"required":["a"],"dependentSchemas":{"a":true}}\n{"a":1.5,"bbb":null}',
            b'{"$ref":"http://127.0.0.1:1/x.json"}\n1',
            b'{"prefixItems":[{"$id":"x"},{"$anchor":"y"},{"$ref":"#"}],"uniqueItems":true,"contains":{}}\n[[],[]]',
            b'{"allOf":[{"anyOf":[{"oneOf":[true],"unevaluatedItems":false}],"unevaluatedProperties":false}],'
            b'"unevaluatedProperties":{"dependentRequired":{"a":["b"]}}}\n{"a":[]}',
            b'{"if":{"type":"number"},"then":{"minimum":1e308},"else":{"minLength":9}}\n"1e999"',
        ),
    ),
    "codec": Target(
        _codec,
        (),
        (
            *_json(
                {
                    "action": "configuration/put",
                    "requestId": [1],
                    "name": "a",
                    "value": "\u2028",
                    "expectedVersion": "1",
                },
                {"action": "configuration/transact", "changes": [{"name": "a", "value": "v"}, {"name": "b"}]},
                {"action": "configuration/subscribe", "names": ["a.*"], "since": "e-1", "timestamp": 1.5},
                {"jsonrpc": "2.0", "id": 1e3, "method": "configuration/get", "params": {"name": "a"}},
                [{"jsonrpc": "2.0", "method": "token", "params": {"login": "a", "password": "b"}}, 1],
                {"action": "user/list", "take": "10", "skip": 1.0, "sortOrder": "ASC", "role": True},
            ),
            b'{"action":"server/info","a":' + b"[" * 127 + b"]" * 127 + b"}",
            b'{"action":"\\ud800"}',
            b"[[[[",
        ),
    ),
    "actions": Target(
        _ask,
        (WireError,),
        _json(
            {"action": "token/create", "payload": {"userId": 1, "actions": [2, "GET_NETWORK"], "networkIds": ["1", 2]}},
            {"action": "token/create", "payload": {"userId": 2, "expiration": "2099-01-01", "configurations": ["a*"]}},
            {"action": "configuration/list", "names": ["a*"], "take": 5, "skip": "1", "after": "a"},
            {"action": "configuration/put", "name": "a", "value": "v", "contentType": "text/x", "expectedVersion": 0},
            {"action": "configuration/transact", "changes": [{"name": "a", "value": "v"}, {"name": "b"}]},
            {"action": "configuration/history", "name": "a", "take": 5},
            {"action": "configuration/subscribe", "names": ["a*"], "since": "abc-1", "view": "names"},
            {"action": "user/list", "take": "10", "sortField": "login", "sortOrder": "ASC", "role": 0},
            {"action": "user/update", "userId": 1, "user": {"login": "x", "status": 1, "data": {"a": [1]}}},
            {"action": "tenant/insert", "tenantId": "t"},
            {"action": "client/insert", "clientId": "c", "tenants": ["t"], "privileges": ["READ"]},
            {"action": "authenticate", "token": "a.b.c"},
        ),
    ),
    "frames": Target(
        _frames,
        (),
        (
            frame(b'{"action":"server/info","requestId":1}') + frame(b"p", PING),
            frame(b"{", fin=False)
            + frame(b"", PING)
            + frame(b"\xc3", CONTINUATION, fin=False)
            + frame(b"\xa9", CONTINUATION),
            frame(b" " * 130) + frame((1000).to_bytes(2) + b"bye", CLOSE),
            frame(b"x", BINARY),
            frame(b"\xff") + frame(b"", 3) + frame(b"", PONG, masked=False),
            frame(announced=1 << 40),
            frame(b"[]", reserved=4),
        ),
    ),
    "batch": Target(
        _batch,
        (OutOfBounds,),
        (
            b"text/xml\n<properties><property name='n' etag='1.r1'>" + _XML + b"</property></properties>",
            b"text/xml\n<properties><property name='n'/><property name='%6D'/></properties>",
            b"application/xml; charset=iso-8859-1\n<?xml version='1.0'?><properties><property name='\xe9'>"
            b"<contents type='text/xml; charset=ascii'>a<b:c xmlns:b='urn:b' d='&amp;'><![CDATA[e]]></b:c><!--f-->"
            b"</contents></property></properties>",
            b"text/xml\n<!DOCTYPE a [<!ENTITY b 'c'>]><properties/>",
            b"text/xml; charset=utf-16\n" + "<properties/>".encode("utf-16"),
            b"text/xml\n<?xml version='1.0' encoding='big5'?><properties xmlns='urn:a'/>",
        ),
    ),
    "name": Target(
        _name, (OutOfBounds, AccessDenied), (b"a%252Fb", b"%25C3%25A9", b"%2E%2E", b"a+b%2520c", "é😀".encode(), b"%FF")
    ),
    "slug": Target(_slug, (OutOfBounds, AccessDenied), (b"a%20b", b"%C3%A9", b"\xe9", b"%")),
    "etag": Target(_etag, (), (b'W/"41.r2_ts2010-01-13T21:13:23Z-gzip"', b'""', b"\n41.r2", b'"a"b"')),
    "query": Target(
        _query, (OutOfBounds, InvalidParameters), (b"bTrue", b"i-17", b"aexists", b"dtext", b"n*a,b*,*c*,d", b"n,,*")
    ),
    "media-type": Target(
        _media_type,
        (OutOfBounds,),
        (
            b"text/plain; charset=utf-8\nhello",
            b"text/html;charset=utf-7\n+AGE-",
            b'text/x; a="b"; charset=utf-16\n\xff\xfea\0',
            b"text/x; charset=idna\nx",
            b"application/vnd.a+json\n{}",
        ),
    ),
    "tenant": Target(
        _tenant,
        (NotJson, Unacceptable),
        (
            *_json(
                _DOCUMENT,
                {"uri": "configuration", "entityTypes": [{"URI": tenants.STORE, "id": "7", "attributes": [{}]}]},
                {name: [{"uri": f"configuration/{name}/A", "label": 1}] for name in COLLECTIONS},
            ),
            b'{"a":[1.50,1e2,-0,"\\ud83d\\ude00",null,true]}',
            b'{"a":[{"b":"\\ud83d"}]}',
            b'{"a":' + b"[" * 62 + b"]" * 62 + b"}",
        ),
    ),
    "versions": Target(
        _versions,
        (NotJson, Unacceptable),
        (
            b"\n".join(_json(_DOCUMENT, tenants.document(**{"entityTypes[0].label": "x"}))),
            b"\n".join(_json({"sources": [{"uri": "a"}, {"uri": "b"}]}, {"sources": [{"uri": "b"}, {"uri": "a"}]})),
        ),
    ),
    "objects": Target(_objects, (TypeIsNotFound, BadRequest, ValidationError, NotJson, Unacceptable), tuple(_RULES)),
    "position": Target(
        _position, (ValueError,), (b"abc-1", b"0Z-999999999999999999", "é-1".encode(), "a-\u0661".encode())
    ),
    "time": Target(
        _time,
        (ValueError,),
        (
            b"2017-07-15T12:46:37.123+02:30",
            b"1500122797123",
            b"-1",
            b"2017-07-15",
            b"Mon, 23 Feb 2026 07:05:48 GMT",
            b"Monday, 23-Feb-26 07:05:48 GMT",
            b"Mon Feb  3 07:05:48 2026",
            b"Mon, 23 Feb 2026 07:05:60 -0000",
            b"0001-01-01T00:00:00+23:59",
        ),
    ),
    "patterns": Target(_patterns, (), (b"a.*,b,c.d*;a*,b", b"*;a", b"a,a*,aa*;aa,ab")),
    "token": Target(
        _token,
        (InvalidCredentials, TokenExpired),
        (
            *_json(
                {"payload": _CLAIMS},
                {"payload": _CLAIMS | {"cl": 1, "u": 0, "tn": {"t": ["READ"]}}},
                {"payload": _CLAIMS | {"n": ["1" * 5_000]}, "exp": 1},
            ),
            b"eyJhbGciOiJIUzI1NiJ9.e30.",
            b"eyJhbGciOiJub25lIn0.e30.",
        ),
    ),
    "server-token": Target(_server_token, (), (b"1700000000_=ann", b"1700000000_17", b"tkn_wiki_1_1_" + b"0" * 64)),
    "address": Target(_address, (), (b"127.0.0.1", b"::ffff:1.2.3.4", b"fe80::1%eth0", b"2001:db8::1")),
}
"""By their names, which are those of the folders with their kept cases."""
