"""Scalars that come as another JSON type than their field has: what is taken, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from hivewire_protocol import codec, coercion
from hivewire_protocol.codec import Call
from hivewire_protocol.errors import MalformedJson
from hivewire_protocol.nouns.identity import TokenCreate, TokenPayload
from hivewire_protocol.nouns.user import UserUpdate, UserUpdateFields

SMALLEST, LARGEST = -(2**63), 2**63 - 1

TEXTS = [
    ('"n"', "n"),
    ('""', ""),
    ('"\\u00e9\\n"', "é\n"),
    ("1", "1"),
    ("1.0", "1.0"),
    ("-0.50", "-0.50"),
    ("1E+2", "1E+2"),
    ("123456789012345678901234567890", "123456789012345678901234567890"),
    ("true", "true"),
    ("false", "false"),
    ("null", None),
]
NO_TEXTS = ["{}", "[]", '["a"]', '{"a":1}']

INTEGERS = [
    ("12", 12),
    ("-12", -12),
    ("0", 0),
    ("-0", 0),
    ("1.0", 1),
    ("1.9", 1),
    ("-1.9", -1),
    ("1e2", 100),
    ("1.23e1", 12),
    ("1e-5", 0),
    ("1e-999999999", 0),
    ('"12"', 12),
    ('"-12"', -12),
    ('"007"', 7),
    ("null", None),
    (str(LARGEST), LARGEST),
    (str(SMALLEST), SMALLEST),
    (f'"{LARGEST}"', LARGEST),
    (f'"{SMALLEST}"', SMALLEST),
]
NO_INTEGERS = [
    '"1.0"',
    '""',
    '" 12 "',
    '"0x1"',
    '"1e2"',
    '"١٢"',
    '"1_0"',
    "true",
    "false",
    "{}",
    "[]",
    "[1]",
    "1e999999999",
    "-1e999999999",
    "9" * 30,
    "9" * 5_000,
    str(LARGEST + 1),
    str(SMALLEST - 1),
    f'"{LARGEST + 1}"',
    '"' + "9" * 5_000 + '"',
]

BOOLEANS = [
    ("true", True),
    ("false", False),
    ('"true"', True),
    ('"TRUE"', True),
    ('"tRuE"', True),
    ('"false"', False),
    ('"yes"', False),
    ('""', False),
    ('" true"', False),
    ("null", None),
]
NO_BOOLEANS = ["0", "1", "1.0", "{}", "[]", "[true]"]


def cases(of: Callable[[bytes], Any], table: list[Any]) -> list[Any]:
    return [
        pytest.param(of, *(row if isinstance(row, tuple) else (row,)), id=f"{of.__name__}-{row}"[:40]) for row in table
    ]


@pytest.mark.parametrize(
    ("coerce", "raw", "expected"),
    cases(coercion.text, TEXTS) + cases(coercion.integer, INTEGERS) + cases(coercion.boolean, BOOLEANS),
)
def test_an_accepted_scalar_becomes_the_value_of_the_table(
    coerce: Callable[[bytes], Any], raw: str, expected: object
) -> None:
    """Numbers for texts, digits for numbers and words for booleans are taken as old clients send them."""
    found = coerce(raw.encode())
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("coerce", "raw"),
    cases(coercion.text, NO_TEXTS) + cases(coercion.integer, NO_INTEGERS) + cases(coercion.boolean, NO_BOOLEANS),
)
def test_a_scalar_that_cannot_be_coerced_is_refused(coerce: Callable[[bytes], Any], raw: str) -> None:
    """A scalar that is not in the table is a malformed request, not a guess."""
    with pytest.raises(MalformedJson):
        coerce(raw.encode())


def field(member: str, raw: str, action: str, name: str) -> Any:
    """The value of a member in a whole frame; raises MalformedJson if it is refused."""
    call = codec.decode(f'{{"action":"{action}","requestId":1,"{member}":{raw}}}'.encode())
    assert isinstance(call, Call)
    if call.error is not None:
        raise call.error
    return getattr(call.request, name)


@pytest.mark.parametrize(("raw", "expected"), TEXTS)
def test_a_text_field_of_a_frame_takes_the_table(raw: str, expected: str | None) -> None:
    """The value of a put may be a number or boolean: its literal text is stored."""
    assert field("value", raw, "configuration/put", "value") == expected


@pytest.mark.parametrize(("raw", "expected"), INTEGERS)
def test_an_integer_field_of_a_frame_takes_the_table(raw: str, expected: int | None) -> None:
    """An expected revision may be a text of digits or a number with a fraction."""
    assert field("revision", raw, "configuration/put", "revision") == expected


@pytest.mark.parametrize("raw", NO_TEXTS)
def test_a_text_field_of_a_frame_refuses_the_rest(raw: str) -> None:
    """A text member of a request refuses objects and arrays."""
    with pytest.raises(MalformedJson):
        field("value", raw, "configuration/put", "value")


@pytest.mark.parametrize("raw", NO_INTEGERS)
def test_an_integer_field_of_a_frame_refuses_the_rest(raw: str) -> None:
    """A revision that is not a 64-bit integer is refused, however it is written."""
    with pytest.raises(MalformedJson):
        field("revision", raw, "configuration/put", "revision")


@given(st.integers(SMALLEST, LARGEST))
def test_every_64_bit_integer_survives_both_ways_of_decoding(number: int) -> None:
    """An integer means the same as a number, as a text, and in a frame where another member needs coercion."""
    assert coercion.integer(str(number).encode()) == number
    assert coercion.integer(f'"{number}"'.encode()) == number


@given(st.text())
def test_every_text_survives(value: str) -> None:
    """A text is taken as it is, escapes undone."""
    assert coercion.text(msgspec.json.encode(value)) == value


def test_build_ignores_unknown_members_and_keeps_defaults() -> None:
    """Unknown members are ignored and absent ones keep their default, in nested objects too."""
    members = coercion.decode_members(b'{"userId":"7","user":{"status":"1","introReviewed":"TRUE","x":[]},"y":{}}')
    assert coercion.build(UserUpdate, members) == UserUpdate(
        userId=7, user=UserUpdateFields(status=1, introReviewed=True)
    )
    assert coercion.build(UserUpdate, {}).user is UNSET
    assert coercion.build(UserUpdate, {"user": Raw(b"null")}).user is None


@pytest.mark.parametrize("raw", ['"x"', "1", "[]", "true"])
def test_a_nested_object_must_be_one(raw: str) -> None:
    """A text, number or array in place of an object is refused."""
    with pytest.raises(MalformedJson):
        coercion.build(UserUpdate, {"user": Raw(raw.encode())})
    with pytest.raises(MalformedJson):
        coercion.build(TokenCreate, {"payload": Raw(raw.encode())})


@pytest.mark.parametrize(
    ("raw", "expected"), [("[]", []), ('["a",1,1.50,true]', ["a", "1", "1.50", "true"]), ("null", None)]
)
def test_a_list_of_texts_takes_what_a_text_takes(raw: str, expected: list[str] | None) -> None:
    """A number among the names of a list is its literal text, as it is alone."""
    assert field("names", raw, "configuration/list", "names") == expected


@pytest.mark.parametrize("raw", ["[null]", "[[]]", "[{}]", '"a"', "1", "{}"])
def test_a_list_of_texts_must_be_one(raw: str) -> None:
    """Nulls and lists in it are refused, and so is a text in its place."""
    with pytest.raises(MalformedJson):
        field("names", raw, "configuration/list", "names")


def test_raw_members_stay_raw() -> None:
    """Times and lists of ids keep their spelling, so that `1.0` is not taken for `1`."""
    payload = coercion.build(TokenPayload, coercion.decode_members(b'{"expiration": 1.0 ,"networkIds":[ 1.0, "2" ]}'))
    assert bytes(payload.expiration or b"") == b"1.0"
    assert [bytes(raw) for raw in payload.networkIds or ()] == [b"1.0", b'"2"']


@pytest.mark.parametrize(
    "data", [b"", b"1", b"[]", b'"x"', b"null", b"{", b"{}x", b'{"a":1,}', b"\xff", b'{"\\ud800":1}']
)
def test_members_come_out_of_an_object_only(data: bytes) -> None:
    """Anything but one whole JSON object is malformed."""
    with pytest.raises(MalformedJson):
        coercion.decode_members(data)
