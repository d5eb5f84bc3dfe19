"""The structs say everything that the pages of the API need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from hivewire_protocol import nouns
from hivewire_protocol.catalogue import HTTP_ONLY, NOUNS, PUSHES, REQUESTS
from hivewire_protocol.errors import catalogue
from hivewire_protocol.messages import CALLER_ERRORS, COMMON_ERRORS, Reply, errors_of


def _parts(found: Any) -> Iterable[Any]:
    """The types that a type of msgspec's is made of."""
    for name in ("type", "item_type", "value_type"):
        if hasattr(found, name):
            yield getattr(found, name)
    yield from getattr(found, "types", ())


def _structs(found: Any) -> Iterator[inspect.StructType]:
    if isinstance(found, inspect.StructType):
        yield found
        for field in found.fields:
            yield from _structs(field.type)
    else:
        for part in _parts(found):
            yield from _structs(part)


MESSAGES = [*REQUESTS.values(), *(request.reply for request in REQUESTS.values()), *PUSHES.values()]


@cache
def structs() -> dict[type, inspect.StructType]:
    """Each struct of a message, and what msgspec knows of it."""
    return {found.cls: found for message in inspect.multi_type_info(MESSAGES) for found in _structs(message)}


def test_the_types_of_members_are_no_texts() -> None:
    """msgspec evaluates such a text anew for each struct that inherits it, which took a tenth of each start."""
    bases = {base for shape in structs() for base in shape.__mro__ if issubclass(base, msgspec.Struct)}
    texts = {
        base: [name for name, found in vars(base).get("__annotations__", {}).items() if isinstance(found, str)]
        for base in bases
    }
    assert not {base: names for base, names in texts.items() if names}


def test_every_member_of_every_message_has_a_sentence() -> None:
    """Requests, replies, pushes and what is inside of them say what they are, and what each member is."""
    for shape, info in structs().items():
        assert (shape.__dict__.get("__doc__") or "").strip().endswith((".", ").")), f"{shape} has no docstring"
        for field in info.fields:
            described = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
            sentence = (described or {}).get("description", "")
            assert sentence.endswith("."), f"{shape.__name__}.{field.name} has no sentence"
            assert sentence == sentence.strip(), f"{shape.__name__}.{field.name}"


def test_every_request_says_what_it_requires_and_answers() -> None:
    """A request names its reply itself, and requires and fails with nothing that does not exist."""
    for action, request_type in REQUESTS.items():
        assert issubclass(request_type.__dict__["reply"], Reply), action
        assert {*request_type.required} <= {*request_type.__struct_fields__}, action
        assert {*request_type.errors} <= {*catalogue()}, action
        extra = COMMON_ERRORS if request_type.permission is None else (*COMMON_ERRORS, *CALLER_ERRORS)
        assert errors_of(request_type) == {*extra, *request_type.errors}, action
        assert not {*extra} & {*request_type.errors}, f"{action} has one that is in the errors of all requests already"


def test_every_member_is_optional_in_decoding() -> None:
    """A request without any member is decoded: rights are checked before it is said what is missing."""
    for action, request_type in REQUESTS.items():
        found = msgspec.json.decode(b'{"action":"%b"}' % action.encode(), type=request_type)
        assert found == request_type(), action


@pytest.mark.parametrize("noun", NOUNS)
def test_a_class_in_a_noun_is_found(noun: str) -> None:
    """A new request or push in a noun's file, or a new file, need not be registered anywhere."""
    text = (Path(str(nouns.__file__)).parent / f"{noun}.py").read_text()
    found = {**REQUESTS, **HTTP_ONLY, **PUSHES}
    tags = [line.partition('tag="')[2].partition('"')[0] for line in text.splitlines() if 'tag="' in line]
    assert tags
    for tag in tags:
        assert found[tag].__module__ == f"hivewire_protocol.nouns.{noun}"
    assert {tag for tag in found if found[tag].__module__.endswith("." + noun)} == {*tags}


def test_a_schema_can_be_made_of_every_message() -> None:
    """OpenAPI and AsyncAPI documents can be made from the structs as they are."""
    _, components = msgspec.json.schema_components(structs())
    assert components["ConfigurationPut"]["properties"]["name"]["description"]
    assert {shape.__name__ for shape in structs()} <= {*components}
