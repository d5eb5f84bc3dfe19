"""Tenant documents: bytes in, bytes out."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire_protocol.tenant.documents import MAX_DEPTH, Number, parse, parse_value, render, render_sorted
from hivewire_protocol.tenant.errors import NotJson, TenantError, Unacceptable
from hivewire_protocol.tenant.steps import at_once
from tests.protocol.tenants import documents, json_values, parsed


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"b":1,"a":[{},[],{"c":null}],"":true}',
        '{"n":[0,-0,1,1.0,1.50,1e2,1E+2,-0.0,0.1000000000000000055,1e-400,9007199254740993,1e16,1e300]}',
        '{"n":[18446744073709551615,-9223372036854775808]}',
        '{"s":"\\"\\\\ \\u0000\U0001f600é"}',
    ],
)
def test_what_was_stored_comes_back(text: str) -> None:
    """Members keep their order and numbers their text; only spaces and the spelling of strings are not kept."""
    assert render(parsed(text.encode())) == text.encode()
    spaced = text.replace(",", " ,\n").replace(":", "\t: ").replace("[", "[ ").replace("{", "{ ")
    assert render(parsed(f" {spaced}\r\n".encode())) == text.encode()


def test_numbers_can_be_counted_with() -> None:
    """A number whose text is kept is a float like any other."""
    number = parsed(b'{"n":1.50}')["n"]
    assert isinstance(number, Number)
    assert number == 1.5


def test_sorted_rendering_is_for_comparison() -> None:
    """The order of members is not part of a value, the text of a number is."""
    assert render_sorted(parsed(b'{"b":1.0,"a":2}')) == b'{"a":2,"b":1.0}'
    with pytest.raises(TypeError):
        render({"a": object()})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b'"{}"',
        b"1",
        b"{",
        b"{}}",
        b"{} {}",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{,"a":1}',
        b"{a:1}",
        b"{1:1}",
        b"{'a':1}",
        b'{"a":[1,]}',
        b'{"a":[1 2]}',
        b'{"a":[',
        b'{"a":[1',
        b'{"a":[1}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":1.}',
        b'{"a":tru}',
        b'{"a":"\x01"}',
        b'{"a":"\\x"}',
        b'{"a":1 "b":2}',
        b'{"a":NaN}',
        b'{"a":[Infinity]}',
        b'{"a":-Infinity}',
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"{}\xef\xbb\xbf",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        "{}".encode("utf-16"),
    ],
)
def test_what_is_not_json_is_306(body: bytes) -> None:
    """A body that is not JSON in UTF-8, or not an object, is refused with 306 (section 7.1)."""
    with pytest.raises(NotJson) as caught:
        parsed(body)
    assert caught.value.body()["errorCode"] == 306


def test_a_byte_order_mark_is_ignored() -> None:
    """Some editors write one in front of UTF-8 (RFC 8259 8.1)."""
    assert parsed(BOM_UTF8 + b'{"a":1}') == {"a": 1}
    assert at_once(parse_value(BOM_UTF8 + b"[1]")) == [1]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a":1,"a":1}', "Member 'a' occurs twice in the document"),
        (b'{"a":{"b":1,"c":2,"c":2}}', "Member 'c' occurs twice in a"),
        (b'{"a":[1,{"x":{"b":1,"\\u0062":2}}]}', "Member 'b' occurs twice in a[1]"),
        (b'{"\\ud800":1,"\\ud800":1}', "Member '?' occurs twice"),
        (b'{"\\ud800":[1e999]}', "out of range in ?[0]"),
        (b'{"a":18446744073709551616}', "The integer 18446744073709551616 is out of range in a"),
        (b'{"a":-9223372036854775809}', "out of range"),
        (b'{"a":' + b"9" * 10_000 + b"}", "out of range"),
        (b'{"a":1e309}', "The number 1e309 is out of range"),
        (b'{"a":-1e999}', "out of range"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
    ],
)
def test_unacceptable_json_is_305(body: bytes, said: str) -> None:
    """Repeated names, numbers out of range and unpaired surrogates are refused with 305 and their place."""
    with pytest.raises(Unacceptable) as caught:
        parsed(body)
    assert said in caught.value.body()["errorMessage"]
    assert caught.value.body()["errorCode"] == 305


@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b'{"a":[', b"]}"), (b'{"a":{"b":', b"}}")])
def test_nesting_is_limited_to_64(opening: bytes, closing: bytes) -> None:
    """64 levels are taken, 65 are 305, and so are a hundred thousand."""
    levels = opening.count(b"{") + opening.count(b"[")
    for depth, fits in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False), (MAX_DEPTH + 500, False), (100_000, False)):
        inner = depth - levels
        body = opening + b"[" * inner + b"]" * inner + closing
        if fits:
            assert render(parsed(body)) == body
        else:
            with pytest.raises(Unacceptable, match="deeper than 64"):
                parsed(body)


def test_brackets_in_strings_do_not_nest() -> None:
    """Brackets inside strings do not count as nesting."""
    body = render({"a": "[" * 1000, "b": ["{" * 1000]})
    assert render(parsed(body)) == body


def test_parsing_comes_in_steps() -> None:
    """A document with many elements is read in several steps, a small one at once; also one that is not large, but has
    tens of thousands of them."""
    assert len(list(parse(b'{"a":[1,2,3]}'))) == 0
    assert len(list(parse(render({"entityTypes": [{"description": "x" * 10_000}] * 100})))) > 10
    assert len(list(parse(render(dict.fromkeys(map(str, range(100)), "x" * 10_000))))) > 10
    assert len(list(parse(b'{"numbers":[' + b"1," * 30_000 + b"1]}"))) > 2


@given(documents())
def test_documents_round_trip(document: dict[str, Any]) -> None:
    """Parsing a rendered document gives the same document, in the same order."""
    body = render(document)
    assert render(parsed(body)) == body
    assert parsed(body) == document


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_any_object_round_trips(value: dict[str, Any]) -> None:
    """Any JSON object within the limits is taken, however it is spaced."""
    assert render(parsed(render(value))) == render(value)
    assert parsed(json.dumps(value, indent=2).encode()) == value


def _objects(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_objects, value.values()))
    return sum(map(_objects, value)) if isinstance(value, list) else 0


@given(st.dictionaries(st.text(max_size=3), json_values, min_size=1, max_size=4), st.data())
def test_a_name_that_repeats_is_always_found(value: dict[str, Any], data: st.DataObject) -> None:
    """Whichever object has a member twice, and however deep it is, the body is refused with 305."""
    chosen = data.draw(st.integers(0, _objects(value) - 1))
    count = -1

    def write(inner: Any) -> str:
        nonlocal count
        if isinstance(inner, dict):
            count += 1
            twice = [("t", 1), ("t", 1)] if count == chosen else []
            members = [(name, item) for name, item in inner.items() if name != "t"] + twice
            return "{" + ",".join(f"{json.dumps(name)}:{write(item)}" for name, item in members) + "}"
        if isinstance(inner, list):
            return "[" + ",".join(map(write, inner)) + "]"
        return json.dumps(inner)

    count = -1
    body = write({name: item for name, item in value.items() if name != "t"} or {"a": {}})
    if count < chosen:  # the chosen object was in a member that made way
        return
    with pytest.raises(Unacceptable, match="'t' occurs twice"):
        parsed(body.encode())


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,ab\\u0d8 1.e-\n', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nonsense is refused with an error of the dialect; what is taken is what the standard parser reads."""
    try:
        document = at_once(parse(body))
    except TenantError as error:
        assert error.status == 400
        assert render(error.body())
    else:
        assert document == json.loads(body)
