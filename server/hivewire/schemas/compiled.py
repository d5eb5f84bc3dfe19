"""One JSON Schema (2020-12): its bounds, what it costs, and what it says of a value (fleet configuration, section 7).

Nothing here knows the ledger. Patterns match in linear time, and references lead nowhere outside of the schema.
"""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import unquote

import msgspec

from hivewire_protocol.nouns.schema import Problem
from hivewire_protocol.tenant.steps import Steps

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

MAX_BYTES, MAX_SUBSCHEMAS, MAX_DEPTH = 65_536, 2_000, 128
"""Of one schema; the latter two with every reference replaced by what it refers to."""

MAX_WEIGHT = 1_000_000
"""Of one schema: judging the shortest value by it takes a tenth of a second."""

MAX_PROBLEMS, SHOWN = 20, 200
"""Problems that an answer lists, and characters of each."""

LIGHT = 200_000
"""Weight of a schema times bytes of a value up to which it is judged on the event loop: well below a millisecond."""

BRIEF = 4_000
"""The same up to which its problems are described there: 20 ms. The library describes all, and each with the value."""

WORK_SECONDS = 2.0
"""Processor time for a judgement in a process of its own."""

WORK_BYTES = 256 << 20
"""Memory for the same: each problem that is found takes a copy of the value, however many of them are shown."""

CACHED, CACHED_BYTES = 256, 64 << 20
"""Compiled schemas in memory, and about how much of it they take together."""

PATTERN_BYTES = 100_000
"""A compiled pattern. Larger ones take a tenth of a second for a value of 64 KiB."""

MAX_STATES, STATE_BYTES = 10_000, 300
"""Of all patterns of a schema, as `_states_of` counts: more take over 20 ms to be compiled, during which no thread can
run. A state takes a microsecond or two, and so much memory."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


class SchemaError(ValueError):
    """The schema cannot be used; the message is a sentence that says why."""


class Compiled(NamedTuple):
    """A schema that can judge values. `reads_text`: its root has the type string, so it judges the text, not JSON.
    `weight` says about how long it takes for a byte of a value, where an ordinary rule is 1. `size` is about what it
    takes in memory."""

    validator: Draft202012Validator
    reads_text: bool
    weight: int
    size: int

    def is_light(self, content: bytes) -> bool:
        """Whether it judges this value fast enough for the event loop."""
        return self.weight * len(content) <= LIGHT

    def is_brief(self, content: bytes) -> bool:
        """Whether what is wrong with this value can be described on the event loop."""
        return self.weight * len(content) <= BRIEF

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


class Cache:
    """The schemas that were compiled last. The oldest is dropped first: to track their use would cost every put."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Compiled] = {}
        self._size = 0

    def get(self, schema: bytes) -> Compiled:
        """The schema, ready to judge. Raises SchemaError."""
        found = self._kept.get(schema)
        if found is None:
            found = self._kept[schema] = _compile(schema)
            self._size += found.size
            while len(self._kept) > CACHED or (self._size > CACHED_BYTES and len(self._kept) > 1):
                self._size -= self._kept.pop(next(iter(self._kept))).size
        return found


compiled = Cache().get


def _compile(schema: bytes) -> Compiled:
    # A gateway without schemas does not need the 7 MB of this library.
    from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

    try:
        parsed = msgspec.json.decode(schema)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"it is not JSON: {error}") from None
    measure = measured(schema, parsed)
    patterns = RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES)
    try:
        validator = Draft202012Validator(parsed, pattern_options=patterns, offline=True)
    except ValidationError as error:
        raise SchemaError(f"{_pointer(error.instance_path) or 'it'}: {_why(error)}") from None
    except ValueError as error:
        raise SchemaError(_cut(str(error))) from None
    reads_text = isinstance(parsed, dict) and parsed.get("type") == "string"
    return Compiled(validator, reads_text, measure.total, 2 * len(schema) + STATE_BYTES * measure.states)


def _why(error: ValidationError) -> str:
    """What is wrong with a schema. Of a type the library says only that none of the meta-schema's choices fits."""
    if error.schema_path[-3:] == ["properties", "type", "anyOf"]:
        return f"{_cut(msgspec.json.encode(error.instance).decode())} is none of {', '.join(TYPES)}, nor a list of them"
    return _cut(error.message)


def judgement(schema: bytes, content: bytes, secret: bool) -> Steps[list[Problem]]:
    """The problems of a value, found in a process of its own, which ends when that takes more than WORK_SECONDS or
    WORK_BYTES.

    No handler is set for SIGPROF, so that it ends the process also in the midst of the library.
    """
    yield
    with _bounded():
        return compiled(schema).problems(content, secret=secret)


@contextmanager
def _bounded() -> Iterator[None]:
    """End this process when it takes too much. Nothing that it prints then, and no core file, may tell the value."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    errors = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    signal.setitimer(signal.ITIMER_PROF, WORK_SECONDS)
    if STATM.exists():  # Linux says how much there is already
        most = int(STATM.read_text().split()[0]) * resource.getpagesize() + WORK_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        yield
    except (MemoryError, RuntimeError):  # what the library raises without memory, if it does not end the process
        os._exit(1)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.dup2(errors, 2)
        os.close(errors)


STATM = Path("/proc/self/statm")


# The bounds.

Names: TypeAlias = tuple[str, ...]

_UNEVALUATED = {"unevaluatedItems", "unevaluatedProperties"}
_SAME = (
    ("not", "if", "then", "else", "contains"),
    ("allOf", "anyOf", "oneOf"),
    ("dependentSchemas", "dependencies"),
)
"""Keywords whose subschemas judge the value itself, or say which parts of it are evaluated: those with one subschema,
those with a list, and those with one for each name."""

_PARTS = (
    ("items", "additionalProperties", "propertyNames", "contentSchema", *sorted(_UNEVALUATED)),
    ("prefixItems",),
    ("properties", "patternProperties"),
)
"""Keywords whose subschemas judge parts of the value."""

_REFUSED = ("$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor")

_ATOM = re.compile(
    r"\{(?P<least>\d{1,6})(?:,(?P<most>\d{0,6}))?\}"
    r"|(?P<wide>\.|\\[DSW]|\[\^\]?(?:\\.|[^\]\\])*\]?|[^\x00-\x7f])"
    r"|\\[pP]\{[^}]{0,64}\}|\\.|\[\]?(?:\\.|[^\]\\])*\]?|.",
    re.DOTALL,
)
"""A part of a pattern: a count, what is wide, a class of Unicode, an escape, a class of characters, a character."""
_PROPERTIES = re.compile(r"\\[pP]")
_WIDE, _PROPERTY, _PATTERN = 6, 400, 40
"""States of what stands for nearly all characters, and for one of Unicode's classes, and of a pattern in itself."""
_PATTERN_UNIT = 16
_FRACTION = 250
"""A division of decimals takes as long as hundreds of other rules."""


def measured(schema: bytes, parsed: Any) -> _Measure:
    """What a schema costs. Raises SchemaError."""
    if len(schema) > MAX_BYTES:
        raise SchemaError(f"it has {len(schema):,} bytes; at most {MAX_BYTES:,}")
    if isinstance(parsed, dict) and str(parsed.get("$schema", DIALECT)).rstrip("#") != DIALECT:
        raise SchemaError(f"$schema must be {DIALECT}")
    found = _Measure(parsed)
    if found.total > MAX_WEIGHT:
        raise SchemaError("it takes too long, also for short values: nest unevaluatedProperties and -Items less deep")
    if found.states > MAX_STATES:
        raise SchemaError("its patterns are too large all together; use fewer, shorter, or smaller counts in {}")
    return found


class _Cost(NamedTuple):
    """The weight of a subschema: of judging a value by it, and of finding out which parts of the value it evaluates.

    The library finds that out again for each `unevaluatedProperties` and `unevaluatedItems` around it, and judges the
    value once more to do so. So the weight grows exponentially with their depth, by 2.6 with each.
    """

    judge: int
    evaluate: int


class _Measure:
    """Walks over all subschemas, as often as they are referred to. `total` is the weight, and `states` are those of the
    patterns, each of which is compiled once."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._count = 0
        self._seen: set[int] = set()
        self.states = 0
        self.total = self._walk(root, 0, ()).judge

    def _walk(self, schema: Any, depth: int, within: tuple[str, ...]) -> _Cost:
        """`within` are the references that led here."""
        self._count += 1
        if self._count > MAX_SUBSCHEMAS:
            raise SchemaError(f"it has more than {MAX_SUBSCHEMAS:,} subschemas when its references are written out")
        if depth > MAX_DEPTH:
            raise SchemaError(f"it is nested deeper than {MAX_DEPTH} when its references are written out")
        if isinstance(schema, bool):
            return _Cost(1, 0)
        if not isinstance(schema, dict):
            raise SchemaError("a schema is an object, true or false")
        for keyword in _REFUSED:
            if keyword in schema:
                raise SchemaError(f"{keyword} cannot be used here; refer with $ref to #/$defs/NAME")
        if depth and "$id" in schema:
            raise SchemaError("only the whole schema may have an $id")
        patterns = [_states_of(pattern) for pattern in _patterns(schema)]
        if id(schema) not in self._seen:
            self._seen.add(id(schema))
            self.states += sum(patterns) + _PATTERN * len(patterns)
        same = [self._follow(schema["$ref"], depth, within)] if "$ref" in schema else []
        same += [self._walk(child, depth + 1, within) for child in _children(schema, *_SAME)]
        parts = [self._walk(child, depth + 1, within) for child in _children(schema, *_PARTS)]
        evaluate = sum(each.judge + each.evaluate for each in same)
        judge = 1 + _extra(schema) + sum(patterns) // _PATTERN_UNIT + sum(each.judge for each in (*same, *parts))
        return _Cost(judge + (evaluate if schema.keys() & _UNEVALUATED else 0), evaluate)

    def _follow(self, reference: Any, depth: int, within: tuple[str, ...]) -> _Cost:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaError(f"$ref '{_cut(str(reference))}' leads out of the schema; it must begin with #/")
        if reference in within or reference in ("#", "#/"):
            raise SchemaError(f"$ref '{_cut(reference)}' is part of what it refers to")
        return self._walk(self._target(reference), depth + 1, (*within, reference))

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


def _children(schema: Mapping[str, Any], one: Names, lists: Names, maps: Names) -> Iterator[Any]:
    """The direct subschemas of a schema under these keywords; what is malformed is left to the validator."""
    for keyword in one:
        if keyword in schema:
            yield schema[keyword]
    for keyword in lists:
        if isinstance(found := schema.get(keyword), list):
            yield from found
    for keyword in maps:
        if isinstance(found := schema.get(keyword), dict):
            yield from (each for each in found.values() if not isinstance(each, list))


def _extra(schema: Mapping[str, Any]) -> int:
    """The weight of those keywords that take longer than others."""
    total = sum(len(msgspec.json.encode(schema[keyword])) // 8 for keyword in ("enum", "const") if keyword in schema)
    if isinstance(required := schema.get("required"), list):
        total += len(required)
    for keyword in ("dependentRequired", "dependencies"):
        if isinstance(found := schema.get(keyword), dict):
            total += len(found) + sum(len(each) for each in found.values() if isinstance(each, list))
    if isinstance(step := schema.get("multipleOf"), float) and not step.is_integer():
        total += _FRACTION
    return total


def _patterns(schema: Mapping[str, Any]) -> list[str]:
    """The patterns of a schema, without those of its subschemas."""
    patterns = [*found] if isinstance(found := schema.get("patternProperties"), dict) else []
    if isinstance(pattern := schema.get("pattern"), str):
        patterns.append(pattern)
    return patterns


def _states_of(pattern: str) -> int:
    """About the states that a pattern has, through all of which a value may have to go. What is counted in braces is
    there as many times."""
    groups, last = [0], 0  # the states of each group that is open, and of what was read last
    for atom in _ATOM.finditer(pattern):
        text = atom[0]
        if atom["least"]:
            times = max(int(atom["least"]), int(atom["most"] or 0), 1)
            groups[-1] += last * (times - 1)
            last = min(last * times, MAX_BYTES)
        elif text == "(":
            groups.append(0)
        elif text == ")" and len(groups) > 1:
            last = min(groups.pop(), MAX_BYTES)
            groups[-1] += last
        elif text not in "*+?|^$":
            last = (_WIDE if atom["wide"] else 1) + len(text) // 4 + _PROPERTY * len(_PROPERTIES.findall(text))
            groups[-1] += last
    return sum(groups)
