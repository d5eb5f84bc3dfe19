"""Bytes to a document and back (sections 5, 7.1 and 9).

A document is a dictionary. Members keep their order, and numbers keep their text.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Any, NoReturn, TypeAlias

import msgspec

from hivewire_protocol.tenant.errors import NotJson, Unacceptable
from hivewire_protocol.tenant.steps import Steps

Document: TypeAlias = dict[str, Any]

MAX_DEPTH = 64
"""The deepest nesting of objects and arrays (section 9); real documents reach 14."""


class Number(float):
    """A number whose text differs from how Python would write it, such as `1.50`, `1e2` or `-0`."""

    __slots__ = ("text",)
    text: str


def _write(value: Any) -> msgspec.Raw:
    if isinstance(value, Number):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"not a JSON value: {type(value)}")


render = msgspec.json.Encoder(enc_hook=_write).encode
"""A document, or a part of one, as compact JSON in UTF-8. Numbers look as they were sent."""

render_sorted = msgspec.json.Encoder(enc_hook=_write, order="deterministic").encode
"""The same with sorted members in every object, so that equal values give equal bytes."""


def parse(body: bytes) -> Steps[Document]:
    """The document in a request body, in steps of 16 KiB; an element of a top-level collection is read at once.

    Raises NotJson (306) for what is not JSON in UTF-8 or not an object, and Unacceptable (305) for a member name that
    occurs twice in an object, nesting over 64, an integer beyond 64 bits, a number beyond a double, and half a
    surrogate pair. NaN and Infinity are not JSON. A byte order mark, which some editors write, is ignored (RFC 8259
    8.1). (Section 7.1; section 13, row 13)
    """
    try:
        text = body.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise NotJson(f"The request body is not UTF-8 at byte {error.start}") from None
    try:
        document = yield from _document(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"The request body is not JSON: {error}") from None
    if _HALF_A_PAIR.search(text):
        try:
            render(document)
        except UnicodeEncodeError:
            raise Unacceptable("A string of the request body has half a surrogate pair") from None
    return document


def parse_value(body: bytes) -> Steps[Any]:
    """The same for a body that need not be an object, such as the array of a type's attributes.

    Any other value is wrapped into an object and read as its only member.
    """
    body = body.removeprefix(BOM_UTF8)
    if body.lstrip(b" \t\n\r")[:1] == b"{":
        return (yield from parse(body))
    wrapped = yield from parse(b'{"":%b}' % body)
    if len(wrapped) > 1:
        raise NotJson
    return wrapped[""]


_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # also matches complete pairs, which the encoder then accepts
_space = re.compile(r"[ \t\n\r]*").match


def _skip(text: str, at: int) -> int:
    found = _space(text, at)
    return found.end() if found else at


def _document(text: str) -> Steps[Document]:
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        _value(text, at, "what should be an object")  # raises when it is not JSON
        raise NotJson("The request body is not a JSON object")
    document: Document = {}
    at = _skip(text, at + 1)
    start = at
    if text[at : at + 1] != "}":
        while True:
            name, at = _name(text, at)
            if name in document:
                raise Unacceptable(f"Member '{_shown(name)}' occurs twice in the document")
            at = _skip(text, at)
            if text[at : at + 1] == "[":
                document[name], at = yield from _array(text, at, name)
            else:
                document[name], at = _value(text, at, name)
            at = _skip(text, at)
            if text[at : at + 1] == "}":
                break
            at = _expect(text, at, ",")
            if at - start > _SLICE:
                start = at
                yield
    at = _skip(text, at + 1)
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return document


def _name(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("Expecting a member name in double quotes", text, at)
    name, at = _decoder.raw_decode(text, at)
    return name, _expect(text, _skip(text, at), ":")


def _array(text: str, at: int, name: str) -> Steps[tuple[list[Any], int]]:
    elements: list[Any] = []
    start = at
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return elements, at + 1
    while True:
        try:
            value, at = _decoder.raw_decode(text, at)
        except (RecursionError, Unacceptable) as error:
            raise _refusal(error, f"{name}[{len(elements)}]") from None
        if value and type(value) in _CONTAINERS:
            check_depth(value, MAX_DEPTH - 2)
        elements.append(value)
        found = _comma_or_end(text, at)
        if found is None:
            raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
        at = found.end()
        if found.lastindex:
            return elements, at
        if at - start > _SLICE:
            start = at
            yield


_comma_or_end = re.compile(r"[ \t\n\r]*(?:,[ \t\n\r]*|(\]))").match

_SLICE = 16 << 10
"""Characters read in one step, which may end one element later: eight thousand short elements take 6 ms."""


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"Expecting '{sign}'", text, at)
    return _skip(text, at + 1)


def _value(text: str, at: int, name: str) -> tuple[Any, int]:
    try:
        value, at = _decoder.raw_decode(text, at)
    except (RecursionError, Unacceptable) as error:
        raise _refusal(error, name) from None
    check_depth(value, MAX_DEPTH - 1)
    return value, at


def _refusal(error: Exception, place: str) -> Unacceptable:
    """What the decoder found, and where."""
    if isinstance(error, RecursionError):
        return Unacceptable(f"The request body is nested deeper than {MAX_DEPTH}")
    return Unacceptable(f"{error} in {_shown(place)}")


def _shown(name: str) -> str:
    """A name from the body for an error message: cut when too long, without unpaired surrogates."""
    return name[:200].encode(errors="replace").decode()


def check_depth(value: Any, depth: int = MAX_DEPTH) -> None:
    """Raise Unacceptable for containers that are nested too deep. Visits each value once, level by level."""
    level = [value] if type(value) in _CONTAINERS else []
    while level:
        if not depth:
            raise Unacceptable(f"The request body is nested deeper than {MAX_DEPTH}")
        depth -= 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _CONTAINERS
        ]


_CONTAINERS = (dict, list)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        for name, _ in pairs:
            if name not in members:
                raise Unacceptable(f"Member '{_shown(name)}' occurs twice")
            del members[name]
    return members


def _integer(text: str) -> int | float:
    if len(text) <= 20:
        value = int(text)
        if -1 << 63 <= value < 1 << 64:
            return value if value or text == "0" else _as_written(text)
    raise Unacceptable(f"The integer {text[:30]} is out of range")


def _float(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise Unacceptable(f"The number {text[:30]} is out of range")
    return value if repr(value) == text and "e" not in text else _as_written(text)  # exponents have several forms


def _as_written(text: str) -> Number:
    number = Number(text)
    number.text = text
    return number


def _constant(text: str) -> NoReturn:
    raise NotJson(f"The request body is not JSON: {text} is not a JSON value")


# The scanner of the standard library runs in C with these hooks; msgspec does not report names that occur twice.
_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
