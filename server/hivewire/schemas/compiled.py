"""One JSON Schema (2020-12): its bounds, what it costs, and what it says of a value (fleet configuration, section 7).

Nothing here knows the ledger. Patterns match in linear time, and references lead nowhere outside of the schema.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import msgspec

from hivewire_protocol.nouns.schema import Problem
from hivewire_protocol.tenant.steps import Steps

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

MAX_BYTES, MAX_SUBSCHEMAS, MAX_DEPTH = 65_536, 2_000, 128
"""Of one schema; the latter two with every reference replaced by what it refers to."""

MAX_PROBLEMS, SHOWN = 20, 200
"""Problems that an answer lists, and characters of each."""

LIGHT = 200_000
"""Weight of a schema times bytes of a value up to which it is judged on the event loop: well below a millisecond."""

BRIEF = 1_024
"""Bytes of a value up to which its problems are described on the event loop. Each description contains the value."""

WORK_SECONDS = 2.0
"""Processor time for a judgement in a process of its own."""

CACHED = 256
"""Compiled schemas in memory, of up to 120 KiB each."""

PATTERN_BYTES = 100_000
"""A compiled pattern. Larger ones take a tenth of a second for a value of 64 KiB."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class SchemaError(ValueError):
    """This is no schema that can be used here; the message is a sentence that says why."""


class Compiled(NamedTuple):
    """A schema that can judge values. `reads_text`: its root has the type string, so it judges the text, not JSON."""

    validator: Draft202012Validator
    reads_text: bool
    weight: int

    def is_light(self, content: bytes) -> bool:
        """Whether it judges this value fast enough for the event loop."""
        return self.weight * len(content) <= LIGHT

    def fits(self, content: bytes) -> bool:
        """Whether the value is as the schema says."""
        try:
            return self.validator.is_valid(self._read(content))
        except ValueError:  # it is not text, not JSON, or nested too deep
            return False

    def problems(self, content: bytes, *, secret: bool = False) -> list[Problem]:
        """What is wrong with the value, at most MAX_PROBLEMS; nothing of it is repeated if it is `secret`."""
        try:
            errors = self.validator.iter_errors(self._read(content))
            return [_problem(error, secret) for error in islice(errors, MAX_PROBLEMS)]
        except ValueError as error:
            return [Problem("", "/type", f"it is not {self._form}" + ("" if secret else f": {error}"[:SHOWN]))]

    @property
    def _form(self) -> str:
        return "text in UTF-8" if self.reads_text else "JSON"

    def _read(self, content: bytes) -> Any:
        """The value as the validator takes it. Raises ValueError."""
        if self.reads_text:
            return content.decode()
        try:
            return msgspec.json.decode(content)
        except RecursionError:
            raise ValueError("it is nested too deep") from None


def _problem(error: ValidationError, secret: bool) -> Problem:
    rule = _pointer(error.schema_path)
    if secret:  # names of members and lengths of lists are parts of the value too
        return Problem("", rule, "it does not satisfy this rule")
    return Problem(_pointer(error.instance_path), rule, _cut(error.message))


def _pointer(path: list[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return _cut("".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path))


def _cut(text: str) -> str:
    """At most SHOWN characters: a message repeats the value, and says at its end what is wrong."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}…{text[1 - SHOWN // 2 :]}"


@lru_cache(CACHED)
def compiled(schema: bytes) -> Compiled:
    """The schema, ready to judge. Raises SchemaError."""
    # A gateway without schemas does not need the 7 MB of this library.
    from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

    try:
        parsed = msgspec.json.decode(schema)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"it is not JSON: {error}") from None
    found = weight(schema, parsed)
    patterns = RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES)
    try:
        validator = Draft202012Validator(parsed, pattern_options=patterns, offline=True)
    except ValidationError as error:
        raise SchemaError(f"{_pointer(error.instance_path) or 'it'}: {_cut(error.message)}") from None
    except ValueError as error:
        raise SchemaError(_cut(str(error))) from None
    return Compiled(validator, isinstance(parsed, dict) and parsed.get("type") == "string", found)


def judgement(schema: bytes, content: bytes, secret: bool) -> Steps[list[Problem]]:
    """The problems of a value, found in a process of its own, which ends when that takes more than WORK_SECONDS.

    No handler is set for SIGPROF, so that it ends the process also in the midst of the library.
    """
    signal.setitimer(signal.ITIMER_PROF, WORK_SECONDS)
    yield
    try:
        return compiled(schema).problems(content, secret=secret)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


# The bounds.

_ONE = (
    *("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties", "contentSchema"),
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas", "dependencies")
_REFUSED = ("$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor")

_COUNT = re.compile(r"\{(\d{1,6})(?:,(\d{0,6}))?\}")
_PATTERN_UNIT = 16
_FRACTION = 250
"""A division of decimals takes as long as hundreds of other rules."""


def weight(schema: bytes, parsed: Any) -> int:
    """About how long a schema takes for a byte of a value, where an ordinary rule is 1. Raises SchemaError."""
    if len(schema) > MAX_BYTES:
        raise SchemaError(f"it has {len(schema):,} bytes; at most {MAX_BYTES:,}")
    if isinstance(parsed, dict) and str(parsed.get("$schema", DIALECT)).rstrip("#") != DIALECT:
        raise SchemaError(f"$schema must be {DIALECT}")
    return _Measure(parsed).total


class _Measure:
    """Walks over all subschemas, as often as they are referred to."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._count = 0
        self.total = 0
        self._walk(root, 0, ())

    def _walk(self, schema: Any, depth: int, within: tuple[str, ...]) -> None:
        """`within` are the references that led here."""
        self._count += 1
        if self._count > MAX_SUBSCHEMAS:
            raise SchemaError(f"it has more than {MAX_SUBSCHEMAS:,} subschemas when its references are written out")
        if depth > MAX_DEPTH:
            raise SchemaError(f"it is nested deeper than {MAX_DEPTH} when its references are written out")
        if isinstance(schema, bool):
            self.total += 1
            return
        if not isinstance(schema, dict):
            raise SchemaError("a schema is an object, true or false")
        for keyword in _REFUSED:
            if keyword in schema:
                raise SchemaError(f"{keyword} cannot be used here; refer with $ref to #/$defs/NAME")
        if depth and "$id" in schema:
            raise SchemaError("only the whole schema may have an $id")
        self.total += 1 + _extra(schema)
        if "$ref" in schema:
            self._follow(schema["$ref"], depth, within)
        for child in _children(schema):
            self._walk(child, depth + 1, within)

    def _follow(self, reference: Any, depth: int, within: tuple[str, ...]) -> None:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaError(f"$ref '{_cut(str(reference))}' leads out of the schema; it must begin with #/")
        if reference in within or reference in ("#", "#/"):
            raise SchemaError(f"$ref '{_cut(reference)}' is part of what it refers to")
        self._walk(self._target(reference), depth + 1, (*within, reference))

    def _target(self, reference: str) -> Any:
        found = self._root
        for part in unquote(reference[1:]).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key[:9]) < len(found):
                found = found[int(key[:9])]
            else:
                raise SchemaError(f"$ref '{_cut(reference)}' refers to nothing")
        return found


def _children(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The direct subschemas of a schema; what is malformed is left to the validator."""
    for keyword in _ONE:
        if keyword in schema:
            yield schema[keyword]
    for keyword in _LISTS:
        if isinstance(found := schema.get(keyword), list):
            yield from found
    for keyword in _MAPS:
        if isinstance(found := schema.get(keyword), dict):
            yield from (each for each in found.values() if not isinstance(each, list))


def _extra(schema: Mapping[str, Any]) -> int:
    """The weight of those keywords that take longer than others."""
    total = sum(len(msgspec.json.encode(schema[keyword])) // 8 for keyword in ("enum", "const") if keyword in schema)
    if isinstance(required := schema.get("required"), list):
        total += len(required)
    if isinstance(step := schema.get("multipleOf"), float) and not step.is_integer():
        total += _FRACTION
    patterns = [*found] if isinstance(found := schema.get("patternProperties"), dict) else []
    if isinstance(pattern := schema.get("pattern"), str):
        patterns.append(pattern)
    return total + sum(map(_weight_of_pattern, patterns))


def _weight_of_pattern(pattern: str) -> int:
    """Repeats that are counted become as many states, through all of which a value may have to go."""
    times = 1
    for least, most in _COUNT.findall(pattern):
        times = min(times * max(int(least), int(most or 0), 1), MAX_BYTES)
    return len(pattern) * times // _PATTERN_UNIT
