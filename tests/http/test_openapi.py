"""The API documents: complete, valid, and the same wherever they are."""

from __future__ import annotations

import json
import re

import pytest

from hivewire import openapi
from hivewire.dialects import DIALECTS
from hivewire.http.routes import Context
from hivewire.transport.admission import Admission
from hivewire.transport.events import EventStreams
from hivewire.transport.sockets import PATHS
from hivewire_protocol.catalogue import PUSHES, REQUESTS
from hivewire_protocol.close import TABLE
from hivewire_protocol.errors import VersionConflict, catalogue
from hivewire_protocol.schemas import sentence
from tests.command import Run
from tests.documented import ALIASES, document
from tests.world import World


async def test_every_route_is_an_operation() -> None:
    """Each method of each path of each dialect is in the OpenAPI document, and nothing else is."""
    world = await World().open()
    try:
        admission, streams = Admission(world.services.settings), EventStreams(world.dispatcher)
        context = Context(world.dispatcher, admission, streams, lambda for_writes: None, openapi.DOCUMENTS)
        routes = {(route.method, _canonical(route.path)) for dialect in DIALECTS for route in dialect(context).routes}
    finally:
        await world.close()
    paths = document("openapi")["paths"]
    documented = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    there = {(method, path) for method, path in routes if path not in PATHS}
    assert not there - documented, f"the operations of their dialects lack {there - documented}"
    assert not documented - there, f"there are operations without a route: {documented - there}"


def _canonical(path: str) -> str:
    """A path of a route as the document has it, without its alias."""
    for alias, canonical in ALIASES:
        path = canonical + path.removeprefix(alias) if path.startswith(alias) else path
    path = openapi.template(path)
    return path.removesuffix("/") if path.endswith("}/") else path


def test_an_error_with_a_status_of_its_own_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the sentence of its class, so that a new one needs no entry elsewhere."""
    monkeypatch.setattr(VersionConflict, "code", 460)
    answers = json.loads(openapi.DOCUMENTS["openapi"]())["components"]["responses"]
    assert answers["RestError460"]["description"] == sentence(VersionConflict)


def test_the_openapi_document_is_valid() -> None:
    """The validator of the specification finds nothing, and names of operations are unique."""
    from openapi_spec_validator import OpenAPIV31SpecValidator  # here, because only one worker needs it

    assert not [error.message for error in OpenAPIV31SpecValidator(document("openapi")).iter_errors()]
    names = [each["operationId"] for path in document("openapi")["paths"].values() for each in path.values()]
    assert len(set(names)) == len(names)


def test_the_asyncapi_document_has_all_that_goes_over_a_socket() -> None:
    """Each action, each push, each error and each close code is there."""
    found = document("asyncapi")
    titles = [(each["action"], each["title"]) for each in found["operations"].values()]
    assert titles == [("receive", action) for action in REQUESTS] + [("send", action) for action in PUSHES]
    assert [each["code"] for each in found["channels"]["socket"]["x-close-codes"]] == [*TABLE]
    assert [each["name"] for each in found["x-errors"]] == [error.__name__ for error in catalogue()]


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_every_reference_leads_somewhere(name: str) -> None:
    """Every `$ref` is to something in the document, and every schema is referred to, or the payload of a message."""
    whole = document(name)
    text = json.dumps(whole)
    targets = set(re.findall(r'"\$ref": "#/([^"]+)"', text))
    for target in targets:
        at = whole
        for part in target.split("/"):
            at = at[part]
    schemas = {f"components/schemas/{schema}" for schema in whole["components"]["schemas"]}
    assert schemas <= targets


def test_the_schema_of_a_request_names_what_it_requires() -> None:
    """The members that a handler refuses to do without are required, and every one is described."""
    for action, request_type in REQUESTS.items():
        schema = document("asyncapi")["components"]["schemas"][request_type.__name__]
        assert schema["properties"]["action"]["enum"] == [action]
        assert schema["required"] == ["action", *request_type.required], action
        assert all("description" in member for name, member in schema["properties"].items() if name != "action"), action


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_the_command_prints_the_document(run: Run, name: str) -> None:
    """`hivewire describe` needs no gateway."""
    told = run("describe", name)
    assert (told.code, json.loads(told.out)) == (0, document(name))
