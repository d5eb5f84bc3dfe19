"""Schemas in themselves: what is accepted, how values are judged, and that hostile ones cost little."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire.process_pool import Ended, ProcessPool
from hivewire.schemas import compiled as bounds
from hivewire.schemas.compiled import (
    LIGHT,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PROBLEMS,
    MAX_SUBSCHEMAS,
    SHOWN,
    Cache,
    Compiled,
    SchemaError,
    compiled,
    judgement,
)
from hivewire_protocol.nouns.schema import Problem


def of(schema: Any) -> Compiled:
    return compiled(json.dumps(schema).encode())


def doubling(times: int) -> dict[str, Any]:
    """A schema whose parts refer to one another: written out it has 2**times."""
    parts: dict[str, Any] = {"s0": {"type": "integer"}}
    for number in range(times):
        each = {"$ref": f"#/$defs/s{number}"}
        parts[f"s{number + 1}"] = {"anyOf": [each, each]}
    return {"$defs": parts, "$ref": f"#/$defs/s{times}"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "http://127.0.0.1:1/x.json"}, "$ref 'http://127.0.0.1:1/x.json' leads out of the schema"),
        ({"$ref": "file:///etc/passwd"}, "$ref 'file:///etc/passwd' leads out of the schema"),
        ({"$ref": "other.json#/a"}, "$ref 'other.json#/a' leads out of the schema"),
        ({"$ref": "#"}, "$ref '#' is part of what it refers to"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "is part of what it refers to"),
        (
            {"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
            "is part of what it refers to",
        ),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "is part of what it refers to"),
        ({"$ref": "#/$defs/none"}, "$ref '#/$defs/none' refers to nothing"),
        ({"$ref": 5}, "$ref '5' leads out of the schema"),
        ({"$dynamicRef": "#a"}, "$dynamicRef cannot be used here"),
        ({"items": {"$anchor": "a"}}, "$anchor cannot be used here"),
        ({"items": {"$id": "http://x/y"}}, "only the whole schema may have an $id"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#"},
            "$schema must be https://json-schema.org/draft/2020-12",
        ),
        ({"$schema": 5}, "$schema must be https://json-schema.org/draft/2020-12"),
        ({"type": "nope"}, '/type: "nope" is none of array, boolean, integer, null, number, object, string, nor'),
        ({"items": {"type": ["null", "nope"]}}, '/items/type: ["null","nope"] is none of array, boolean,'),
        ({"pattern": "(?=a)b"}, "/pattern: "),
        ({"pattern": "(a)\\1"}, "/pattern: "),
        ({"pattern": "(a{90}){90}"}, "/pattern: "),
        ({"minimum": "5"}, "/minimum: "),
        ({"items": 5}, "a schema is an object, true or false"),
        (5, "a schema is an object, true or false"),
        (doubling(25), "it has more than 2,000 subschemas when its references are written out"),
        ({"const": "x" * MAX_BYTES}, "it has 65,549 bytes; at most 65,536"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_in_words(schema: Any, words: str) -> None:
    """References out of it, recursion, drafts that differ, patterns that are not linear, and sizes."""
    with pytest.raises(SchemaError) as refused:
        of(schema)
    assert words in str(refused.value)


def deep(times: int) -> Any:
    """A schema in a schema, so many times."""
    return {"not": deep(times - 1)} if times else True


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda size: {"const": "x" * (size - len(json.dumps({"const": ""})))}, MAX_BYTES),
        (lambda count: {"anyOf": [True] * (count - 1)}, MAX_SUBSCHEMAS),
        (deep, MAX_DEPTH),
    ],
)
def test_a_schema_may_be_exactly_so_large(make: Callable[[int], Any], most: int) -> None:
    """Its text, the number of its subschemas and their depth."""
    of(make(most))
    with pytest.raises(SchemaError):
        of(make(most + 1))


def unevaluated(keyword: str, times: int) -> dict[str, Any]:
    """A schema within which subschemas have to say what they evaluate, so deep."""
    schema: dict[str, Any] = {"properties": {"a": True}}
    if keyword == "$ref":
        names = [f"#/$defs/d{number}" for number in range(times)]
        inner = {f"d{number}": {"$ref": name, "unevaluatedItems": False} for number, name in enumerate(names[1:])}
        return {"$defs": {**inner, f"d{times - 1}": schema}, "$ref": names[0], "unevaluatedItems": False}
    for _ in range(times):
        schema = {keyword: schema if keyword == "if" else [schema], "unevaluatedProperties": False}
    return schema


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf", "if", "$ref"])
def test_what_takes_exponential_time_is_refused(keyword: str) -> None:
    """Nested `unevaluatedProperties` do: at a depth of 25 no gateway would ever have judged `{}`."""
    with pytest.raises(SchemaError, match="it takes too long, also for short values"):
        of(unevaluated(keyword, 25))
    assert of(unevaluated(keyword, 4)).is_light(b'{"a":1}')


def test_a_long_chain_of_references_is_refused() -> None:
    """It is nested too deep when written out, whatever its text looks like."""
    parts: dict[str, Any] = {f"s{number}": {"$ref": f"#/$defs/s{number + 1}"} for number in range(500)}
    with pytest.raises(SchemaError, match="nested deeper than 128"):
        of({"$defs": parts | {"s500": True}, "$ref": "#/$defs/s0"})


def test_what_is_not_json_is_no_schema() -> None:
    """Nor what is nested too deep for a reader of JSON."""
    for text in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(SchemaError):
            compiled(text)


def test_a_reference_opens_no_connection() -> None:
    """Neither when the schema is made nor when it judges: a server on this machine hears nothing."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_error(404)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_port}/"
        for schema in ({"$ref": base}, {"$id": base, "$ref": "x.json"}, {"$dynamicRef": base}, {"$schema": base}):
            with pytest.raises(SchemaError):
                of(schema)
        ignored = {"$id": base, "$vocabulary": {base: True}, "const": {"$ref": base}, "unknown": {"$ref": base}}
        assert of(ignored).fits(json.dumps({"$ref": base}).encode())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not heard


def test_the_type_string_judges_the_text_and_others_read_json() -> None:
    """A host name needs no quotes; a number is one."""
    host = of({"type": "string", "pattern": "^[a-z.]+$"})
    assert [host.fits(value) for value in (b"db.local", b'"db.local"', b"\xff")] == [True, False, False]
    number = of({"type": "integer", "maximum": 5})
    assert [number.fits(value) for value in (b"5", b"6", b'"5"', b"five", b"\xff", b"[" * 100_000)] == [True] + 5 * [
        False
    ]
    assert of({"type": ["string", "null"]}).fits(b'"text"')
    assert of(True).fits(b"1")
    assert not of(False).fits(b"1")


def test_problems_say_where_which_rule_and_what() -> None:
    """At most twenty, and none is long."""
    ports = of({"type": "array", "items": {"type": "integer", "maximum": 65535}})
    assert ports.problems(b"[80,443,70000]") == [
        Problem("/2", "/items/maximum", "70000 is greater than the maximum of 65535")
    ]
    assert ports.problems(b"[80") == [Problem("", "/type", "it is not JSON: Input data was truncated")]
    assert len(ports.problems(json.dumps([70_000] * 50).encode())) == MAX_PROBLEMS
    [long] = of({"const": "a"}).problems(json.dumps({"a/b~": ["x" * 5_000]}).encode())[:1]
    assert len(long.message) <= SHOWN
    [nested] = of({"properties": {"a/b~": {"const": 1}}}).problems(b'{"a/b~":2}')
    assert (nested.pointer, nested.rule) == ("/a~1b~0", "/properties/a~1b~0/const")


@given(
    secret=st.text("abcdefghij", min_size=6),
    schema=st.sampled_from(
        [
            {"const": 1},
            {"maxLength": 1, "type": "string"},
            {"type": "object", "additionalProperties": False},
            {"type": "object", "propertyNames": {"maxLength": 2}},
            {"items": {"pattern": "^z"}},
            {"enum": [1, 2]},
            {"type": "object", "required": ["z"]},
            {"uniqueItems": True},
            {"additionalProperties": {"const": 1}},
            {"type": "integer"},
        ]
    ),
    form=st.sampled_from(['"%s"', '{"%s":"%s"}', '["%s","%s"]', "%s", '{"%s":{"%s":1}}']),
)
def test_nothing_of_a_secret_value_is_in_its_problems(secret: str, schema: Any, form: str) -> None:
    """Neither its text nor the names of its members, nor where it is not JSON."""
    content = (form % ((secret,) * form.count("%s"))).encode()
    for problem in of(schema).problems(content, secret=True):
        assert secret not in repr(problem)
        assert problem.pointer == ""


HOSTILE = [
    ({"items": {"enum": [{"a": number} for number in range(4_000)]}}, json.dumps([{"a": 3_999}] * 6_000)),
    ({"items": {"multipleOf": 1e-300}}, json.dumps([1e308] * 9_000)),
    ({"type": "string", "pattern": "[ab]*a[ab]{500}c"}, "ab" * 32_000),
    ({"patternProperties": {f"a{n}": True for n in range(220)}}, json.dumps({f"a{n}": 1 for n in range(5_000)})),
    ({"items": {"required": [str(number) for number in range(5_000)]}}, "[" + "{}," * 9_000 + "{}]"),
    ({"items": {"dependentRequired": {str(number): ["a"] for number in range(4_000)}}}, "[" + "{}," * 9_000 + "{}]"),
    ({"items": {"dependencies": {str(number): ["a"] for number in range(4_000)}}}, "[" + "{}," * 9_000 + "{}]"),
    *((unevaluated(keyword, 11), '{"a":' + "1" * 20 + "}") for keyword in ("allOf", "anyOf", "oneOf", "if", "$ref")),
]


@pytest.mark.parametrize(("schema", "value"), HOSTILE)
def test_what_takes_long_is_not_judged_on_the_event_loop(schema: Any, value: str) -> None:
    """The weight of its rules and the size of the value say so beforehand."""
    assert not of(schema).is_light(value.encode())


def test_a_pattern_that_explodes_elsewhere_is_light() -> None:
    """It takes linear time here, so values of any size are judged at once."""
    schema = of({"type": "string", "pattern": "(x+x+)+y"})
    value = b"x" * 65_536
    assert schema.weight * len(value) <= LIGHT
    assert not schema.fits(value)


def test_the_library_describes_little_on_the_event_loop() -> None:
    """It makes a description for each rule and element, 90,000 here, of which 20 are shown: that is done elsewhere."""
    schema = of({"items": {"anyOf": [{"const": number} for number in range(1, 181)]}})
    value = b"[" + b"0," * 499 + b"0]"
    assert (schema.is_light(value), schema.fits(value), schema.is_brief(value)) == (True, False, False)
    assert of({"maximum": 5}).is_brief(b"7" * 1_000)


def test_compiled_schemas_have_a_bound_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest make room; a pattern that is referred to counts once, and too many are refused."""
    host = {"pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
    schemas = [json.dumps({**host, "title": str(number)}).encode() for number in range(4)]
    monkeypatch.setattr(bounds, "CACHED_BYTES", 3 * of({**host, "title": "0"}).size)
    cache = Cache()
    first, *others = [cache.get(schema) for schema in schemas]
    assert len(cache._kept) == 3
    assert all(cache.get(schema) is kept for schema, kept in zip(schemas[1:], others, strict=True))
    assert cache.get(schemas[0]) is not first
    shared = {"$defs": {"host": host}, "properties": {str(number): {"$ref": "#/$defs/host"} for number in range(500)}}
    assert of(shared).size < 2 * of(host).size + 2 * len(json.dumps(shared))
    with pytest.raises(SchemaError, match="its patterns are too large all together"):
        of({"properties": {str(number): {**host} for number in range(500)}})


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        ("", 0),
        ("^abc$", 3),
        ("a{5}b", 6),
        ("(ab){2,5}", 10),
        ("((a{3}b){4}c){2}|d", 35),
        (r"\d{3}\.", 4),
        (".{10}", 60),
        ("[^a]{2}x", 15),
        ("é{3}", 18),
        (r"\{5\}", 3),
        ("[a{9}]", 2),
        ("a{2}{3}", 6),
        (r"\p{L}", 402),
        (r"[\p{L}\p{N}]", 804),
        ("(a", 1),
        ("a)", 2),
        ("[a", 1),
    ],
)
def test_states_of_a_pattern_are_counted_as_it_is_nested(pattern: str, states: int) -> None:
    """What follows something else is added; only what is in a group is there as often as the group."""
    assert bounds._states_of(pattern) == states


def test_usual_patterns_are_light() -> None:
    """Dozens of them in one schema, and each is judged on the event loop."""
    of_uuid = {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"}
    assert of(of_uuid).is_light(b"x" * 2_000)
    of({"properties": {str(number): of_uuid | {"title": str(number)} for number in range(50)}})
    for hostile in (".{20}", "^a.*x", r"\p{L}", "a"):
        with pytest.raises(SchemaError, match="its patterns are too large all together"):
            of({"properties": {str(number): {"pattern": hostile} for number in range(400)}})
    bounds._states_of("(" * 20_000 + "a{999999}" * 4_000 + "){999999}" * 2_000)
    bounds._states_of(r"\p{" * 20_000)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say how much memory a process has")
async def test_a_process_that_takes_too_much_memory_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """Before it has twice its bound; it prints nothing of the value, and the next judgement has a new one."""
    pool = ProcessPool()
    rules = json.dumps({"allOf": [{"type": "integer"}] * 1_900}).encode()
    try:
        with pytest.raises(Ended):
            await pool.run(judgement, rules, json.dumps("x" * 60_000).encode(), False)
        assert (await pool.run(judgement, b'{"maximum":5}', b"7", False))[0].rule == "/maximum"
    finally:
        await pool.close()
    assert capfd.readouterr() == ("", "")


async def test_a_process_judges_and_is_ended_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next judgement has a new one."""
    pool = ProcessPool()
    try:
        found = await pool.run(judgement, b'{"maximum":5}', b"7", False)
        assert found == [Problem("", "/maximum", "7 is greater than the maximum of 5")]
        assert await pool.run(judgement, b'{"maximum":5}', b"7", True) == [
            Problem("", "/maximum", "it does not satisfy this rule")
        ]
    finally:
        await pool.close()
