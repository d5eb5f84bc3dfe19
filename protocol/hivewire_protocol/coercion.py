"""The slow, lenient way from JSON members to a request: the scalar coercions of core protocol section 1.6.

The codec uses it only when the strict, single-pass decoding has failed, or the members come from a path, a query
or the `params` of a JSON-RPC frame.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import cache, lru_cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct, UnsetType

from hivewire_protocol import times
from hivewire_protocol.errors import InvalidParameters, MalformedJson

_S = TypeVar("_S", bound=Struct)
_T = TypeVar("_T")
_LARGEST = 2**63
_DIGITS = re.compile(rb'"[+-]?\d{1,19}"')
_WHOLE = re.compile(rb"-?\d{1,20}")
_as_text = msgspec.json.Decoder(str)


MAX_LIST, MAX_OBJECTS = 10_000, 1_000
"""Most elements of a list that is coerced, and most objects in one: each takes a microsecond, and an object more."""

ENVELOPE = frozenset(("action", "requestId", "trace", "jsonrpc", "id", "method"))
"""Members of the two framings; they are not parameters of a request."""

READ_BACK = frozenset(("name", "value", "entityVersion", "contentType", "size", "secret"))
"""Members of a configuration. A client that sends back what it read sends them all, also in a request that takes
fewer."""

EXPECTATIONS = ("entityVersion", "revision")
"""Members that keep a write from overwriting what its writer has not seen."""

ESCAPED_ASCII = b"\\u00"

_OTHER_WORDS = {
    "expect": "entityVersion",
    "expected": "entityVersion",
    "expectedversion": "entityVersion",
    "version": "entityVersion",
    "expectedrevision": "revision",
    "dry_run": "dryRun",
    "type": "contentType",
}
"""Names that people use by mistake, such as those of the command line, with the member that they mean."""

_ALIKE = 0.7
"""The part of the letters that a wrong member and the one that is suggested have in common."""

_NEAR = 0.8
"""Likeness, as difflib measures it, from which a name is a misspelt one: a letter or two are different."""


def build(shape: type[_S], members: Mapping[str, Raw]) -> _S:
    """A struct of this shape out of raw JSON members; missing ones keep their default, and unknown ones are ignored
    unless the struct forbids them.

    Raises MalformedJson, whose `member` it is, for a member whose JSON type cannot be coerced to the field's, and
    InvalidParameters for a forbidden member.
    """
    coercers = _coercers(shape)
    if shape.__struct_config__.forbid_unknown_fields:
        refuse_unknown(shape, members)
    built = {}
    for name, raw in members.items():
        if name in coercers:
            try:
                built[name] = coercers[name](bytes(raw))
            except MalformedJson as error:
                raise _misfit(name, coercers[name], error) from None
    return shape(**built)


def refuse_unknown(shape: type[Struct], members: Iterable[str]) -> None:
    """Raise InvalidParameters for the first member that the shape does not have; it names the nearest one.

    A misspelt expected version would otherwise be ignored, and the write would overwrite any version.
    """
    known = _coercers(shape)
    for name in members:
        if name not in known and name not in ENVELOPE and name not in READ_BACK:
            raise InvalidParameters(f"Unknown member '{name[:64]}'{nearest(name[:64], shape)}")


def misspelt(shape: type[Struct], names: Iterable[str]) -> str | None:
    """The first of these unknown names that seems to mean a member that guards: an expectation, or whose tokens end.

    It is for places where other names may stand too, such as a query, to which proxies add parameters. None for
    requests that ignore unknown members.
    """
    if not shape.__struct_config__.forbid_unknown_fields:
        return None
    guards = [*EXPECTATIONS, *(field for field in shape.__annotations__ if field.endswith("Id") or field == "dryRun")]
    lower = [guard.lower() for guard in guards]
    for name in names:
        plain = name[:64].replace("_", "").replace("-", "").lower()
        if _OTHER_WORDS.get(plain) in guards or any(_is_near(plain, guard) for guard in lower):
            return name[:64]
    return None


@lru_cache(8_192)  # a batch of requests may have the same names a thousand times
def _is_near(name: str, guard: str) -> bool:
    if 2 * min(len(name), len(guard)) / (len(name) + len(guard)) < _NEAR:
        return False  # it cannot be
    likeness = difflib.SequenceMatcher(None, guard, name)
    return likeness.quick_ratio() >= _NEAR and likeness.ratio() >= _NEAR


def nearest(name: str, shape: type[Struct]) -> str:
    """A hint: the member with the nearest name, or all members of the request."""
    own = {field.lower(): field for field in shape.__struct_fields__ if field in shape.__annotations__}
    meant = _OTHER_WORDS.get(name.lower())
    if meant not in own.values():
        meant = _most_alike(name.lower(), own)
    return f"; did you mean '{meant}'?" if meant else f"; this request takes {', '.join(own.values())}"


def _most_alike(name: str, own: Mapping[str, str]) -> str | None:
    """The member with the most letters in common, None if there is none with most of them. Only letters count: the
    ratio of difflib takes ten times as long, and a batch may have a thousand wrong members."""
    likeness = difflib.SequenceMatcher(None, "", name)
    found: list[tuple[float, str]] = []
    for lower, member in own.items():
        likeness.set_seq1(lower)
        found.append((likeness.quick_ratio(), member))
    ratio, member = max(found, default=(0.0, ""))
    return member if ratio >= _ALIKE else None


def refuse_repeated(data: bytes, versions: int = 1, revisions: int = 1) -> None:
    """Raise InvalidParameters when an object in this JSON has an expectation twice: the last one would count.

    None has when the JSON contains each at most so many times. Counting is cheap and rules out nearly every request,
    but not one in which a name may be written with escapes.
    """
    if (
        data.count(b'"entityVersion"') <= versions
        and data.count(b'"revision"') <= revisions
        and data.find(ESCAPED_ASCII) < 0
    ):
        return
    with suppress(ValueError, RecursionError):  # what is not JSON is refused elsewhere
        json.loads(data, object_pairs_hook=_refuse_pairs)


def _refuse_pairs(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1:
        guards = [name for name, _ in pairs if name in EXPECTATIONS]
        if len(guards) > len({*guards}):
            raise InvalidParameters(f"Member '{max(guards, key=guards.count)}' occurs twice")


def decode_members(data: bytes) -> dict[str, Raw]:
    """The members of a JSON object, each still raw; raises MalformedJson for anything else."""
    try:
        return _members.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedJson from None


_members = msgspec.json.Decoder(dict[str, Raw])


@cache
def _coercers(shape: type[Struct]) -> dict[str, Callable[[bytes], Any]]:
    hints = get_type_hints(shape)
    return {
        field.encode_name: _coercer(hints[field.name], field.encode_name) for field in msgspec.structs.fields(shape)
    }


def _coercer(hint: Any, name: str) -> Callable[[bytes], Any]:
    """The coercion for a field's type; types with no rule of their own are decoded strictly."""
    options = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
    for option, coerce in ((Raw, Raw), (str, text), (bool, boolean), (int, integer)):
        if option in options:
            return coerce
    if list[str] in options:
        return lambda raw: None if raw == b"null" else [_present(text, bytes(element)) for element in _elements(raw)]
    if list[int] in options:
        return lambda raw: None if raw == b"null" else [_present(integer, bytes(element)) for element in _elements(raw)]
    lists = [option for option in options if get_origin(option) is list and _is_struct(get_args(option)[0])]
    if lists:
        shape = get_args(lists[0])[0]
        return lambda raw: None if raw == b"null" else _built(shape, name, _elements(raw, MAX_OBJECTS))
    structs = [option for option in options if _is_struct(option)]
    if structs:
        return lambda raw: None if raw == b"null" else build(structs[0], decode_members(raw))
    accepted: Any = Union.__getitem__(tuple(options - {UnsetType}))
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(accepted)
    return lambda raw: _strict(decoder, raw)


def _misfit(name: str, coerce: Callable[[bytes], Any], error: MalformedJson) -> MalformedJson:
    """The error that names a member; for a nested one by its full path, such as `changes[0].value`."""
    inner = str(error)
    if inner == MalformedJson.text:
        misfit = MalformedJson(f"{name} {_WANTED.get(coerce, 'has the wrong JSON type')}")
    else:
        misfit = MalformedJson(f"{name}{inner}" if inner[0] in "[ " else f"{name}.{inner}")
    misfit.member = name
    return misfit


def _built(shape: type[Struct], name: str, elements: list[Raw]) -> list[Struct]:
    """A struct for each element of a member. The error for a forbidden member says which element has it."""
    found = []
    for index, element in enumerate(elements):
        try:
            found.append(build(shape, decode_members(bytes(element))))
        except MalformedJson as error:
            named = str(error) != MalformedJson.text
            raise MalformedJson(f"[{index}].{error}" if named else f"[{index}] must be an object") from None
        except InvalidParameters as error:
            raise InvalidParameters(f"{name}[{index}]: {error}", index=index) from None
    return found


def _is_struct(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, Struct)


def _present(coerce: Callable[[bytes], _T | None], raw: bytes) -> _T:
    found = coerce(raw)
    if found is None:
        raise MalformedJson
    return found


def _elements(raw: bytes, most: int = MAX_LIST) -> list[Raw]:
    elements: list[Raw] = _strict(_raw_list, raw)
    if len(elements) > most:
        raise MalformedJson(f" has more than {most:,} elements")
    return elements


_raw_list = msgspec.json.Decoder(list[Raw])


def _strict(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedJson from None


def text(raw: bytes) -> str | None:
    """A string, or the literal text of a number or boolean (`1.0` stays `1.0`); null is None."""
    if raw == b"null":
        return None
    if raw[:1] == b'"':
        return str(_strict(_as_text, raw))
    if raw[:1] in b"{[":
        raise MalformedJson
    return raw.decode()


def plain_text(raw: Raw) -> str | None:
    """The text of a JSON string; None for every other JSON value."""
    data = bytes(raw)
    return text(data) if data[:1] == b'"' else None


def integer(raw: bytes) -> int | None:
    """A number without its fraction, or a string of digits; null is None. Raises MalformedJson beyond 64 bits."""
    if raw == b"null":
        return None
    if _DIGITS.fullmatch(raw):
        number = int(raw[1:-1])
    elif _WHOLE.fullmatch(raw):
        number = int(raw)
    elif raw[:1] in b"-0123456789":
        # As a float first: Decimal would compute every digit of `1e999999999`. The value _LARGEST is refused below.
        number = int(Decimal(raw.decode())) if abs(float(raw)) < _LARGEST else _LARGEST
    else:
        raise MalformedJson
    if not -_LARGEST <= number < _LARGEST:
        raise MalformedJson
    return number


def timestamp(raw: Raw | None) -> int | None:
    """The time that a member names, in any form that `times.parse` takes: milliseconds since 1970. None when it is
    absent, null or blank. Raises ValueError."""
    if raw is None:
        return None
    try:
        given = text(bytes(raw))
        return times.parse(given) if given is not None and given.strip() else None
    except (OverflowError, MalformedJson) as error:
        raise ValueError("not a timestamp") from error


def boolean(raw: bytes) -> bool | None:
    """A boolean, or a string: "true" in any case is true, any other false; null is None."""
    if raw == b"null":
        return None
    if raw in (b"true", b"false"):
        return raw == b"true"
    if raw[:1] != b'"':
        raise MalformedJson
    return str(text(raw)).lower() == "true"


_WANTED: dict[Callable[[bytes], Any], str] = {
    text: "must be a string",
    integer: "must be a whole number",
    boolean: "must be true or false",
}
