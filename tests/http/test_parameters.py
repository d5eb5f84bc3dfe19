"""Requests of the catalogue, out of path, query and body."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from hivewire.dialects.devicehive.rows import ROWS
from hivewire.http.parameters import request_of
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import (
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationList,
    ConfigurationPut,
    ConfigurationRollback,
    ConfigurationTransact,
)
from hivewire_protocol.nouns.identity import TokenRevoke
from tests.http.made import made

PUT = {"value": "1"}

READING = [row for row in ROWS if row.method == "GET" and not row.request.__struct_config__.forbid_unknown_fields]
"""The pages whose requests can only read: those that can write too, such as that of labels, are strict."""


def parsed(
    shape: type[Request],
    method: str,
    query: str,
    name: str | None = None,
    body: dict[str, Any] | None = None,
    given: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The members that the request has, beside those of every one."""
    request = made(method=method, target=f"/?{query}")
    request.parameters = {} if name is None else {"name": name}
    raw = [{name: Raw(encode(value)) for name, value in (members or {}).items()} for members in (body, given)]
    found = structs.asdict(request_of(shape, request, *raw))
    empty = structs.asdict(shape())
    return {name: value for name, value in found.items() if value != empty[name]}


@given(st.data())
def test_unknown_parameters_of_reads_change_nothing(data: st.DataObject) -> None:
    """Whatever they are called and their values are: those of the envelope, those of other requests, and what the path
    has said already."""
    row = data.draw(st.sampled_from(READING))
    in_path = dict.fromkeys(re.findall(r"{(\w+)}", row.path), "7")
    others = {"networkId", "deviceTypeId", "requestId", "jsonrpc", "action", "id", *in_path}
    for shape in (row.request, *([row.stream] if row.stream is not None else [])):
        unknown = sorted(others - {*shape.__annotations__} | in_path.keys())
        names = st.sampled_from(unknown) | st.text(max_size=9, alphabet="abcxyz_-[]%é")
        values = st.sampled_from(("abc", "", "-1", "9" * 30, "[", "null", "1", "1.5", "%", "a,b")) | st.text(max_size=9)
        query = data.draw(st.lists(st.tuples(names, values), max_size=5))
        requests = [made(target=f"/?{urlencode(asked)}") for asked in ([], query)]
        for request in requests:
            request.parameters = in_path
        assert request_of(shape, requests[1]) == request_of(shape, requests[0])


@pytest.mark.parametrize(
    ("shape", "method", "query", "name", "body", "members"),
    [
        (ConfigurationGet, "GET", "", "a%2Fb%20%C3%A9", {}, {"name": "a/b é"}),
        (ConfigurationGet, "GET", "name=b&entityVersion=3", "a", {}, {"name": "a", "entityVersion": 3}),
        (ConfigurationGet, "GET", "entityVersion=3&entityVersion=4", "a", {}, {"name": "a", "entityVersion": 3}),
        (ConfigurationGet, "GET", "entityVersion=&utm_source=x", "a", {}, {"name": "a"}),
        (ConfigurationGet, "HEAD", "entityVersion=", "a", {}, {"name": "a"}),
        (ConfigurationList, "GET", "names=a&names=b*&take=5&after=", None, {}, {"names": ["a", "b*"], "take": 5}),
        (ConfigurationList, "GET", "names=", None, {}, {"names": [""]}),
        (ConfigurationPut, "PUT", "", "a", PUT | {"name": "a", "requestId": {}, "jsonrpc": 2}, PUT | {"name": "a"}),
        (ConfigurationPut, "PUT", "entityVersion=2", "a", PUT | {"entityVersion": 1}, PUT | {"entityVersion": 2}),
        (ConfigurationPut, "PUT", "utm_source=x&region=eu&names=b&v=2&requestid=7&userid=1&_=3", "a", PUT, PUT),
        (ConfigurationPut, "PUT", "description=", "a", PUT | {"description": "b"}, PUT | {"description": ""}),
    ],
)
def test_a_request_is_made_from_path_query_and_body(
    shape: type[Request], method: str, query: str, name: str | None, body: dict[str, Any], members: dict[str, Any]
) -> None:
    """The path decides before the query, and that before the body; of repeated parameters the first one counts, where
    no list is taken. Unknown ones are ignored, and in a read those without a value."""
    assert parsed(shape, method, query, name, body) == {"name": name, **members} if name else members


@pytest.mark.parametrize(
    ("shape", "query", "words"),
    [
        (ConfigurationPut, "entityversion=9", "'entityversion'; did you mean 'entityVersion'?"),
        (ConfigurationPut, "utm_source=x&entity_version=9", "'entity_version'; did you mean 'entityVersion'?"),
        (ConfigurationPut, "entityVersion=1&Revision=9", "'Revision'; did you mean 'revision'?"),
        (ConfigurationDelete, "entityVersoin=9", "'entityVersoin'; did you mean 'entityVersion'?"),
        (ConfigurationDelete, "expect=", "'expect'; did you mean 'entityVersion'?"),
        (ConfigurationDelete, "version=9", "'version'; did you mean 'entityVersion'?"),
        (ConfigurationRollback, "revison=9", "'revison'; did you mean 'revision'?"),
        (ConfigurationTransact, "entityVersion=9", "'entityVersion'; this request takes changes, at, dryRun"),
        (TokenRevoke, "userID=2", "'userID'; did you mean 'userId'?"),
    ],
)
def test_a_misspelt_expectation_in_the_query_of_a_write_is_refused(
    shape: type[Request], query: str, words: str
) -> None:
    """It would otherwise be ignored, and the write would overwrite any version, or end the tokens of the caller."""
    with pytest.raises(InvalidParameters, match=f"^{re.escape(f'Unknown parameter {words}')}$"):
        parsed(shape, "PUT", query)
    parsed(ConfigurationGet, "GET", query)


def test_what_is_given_decides_before_the_query() -> None:
    """As the position in the header of a client that reconnects."""
    assert parsed(ConfigurationList, "GET", "after=a", given={"after": "b"}) == {"after": "b"}


@pytest.mark.parametrize(
    ("method", "query", "name", "words"),
    [
        ("PUT", "", "%FF", "the path is not UTF-8"),
        ("PUT", "", "%ED%A0%80", "the path is not UTF-8"),
        ("PUT", "entityVersion=x", "a", "entityVersion"),
        ("PUT", "entityVersion=", "a", "entityVersion"),
        ("DELETE", "revision=", "a", "revision"),
    ],
)
def test_what_cannot_be_read_is_named(method: str, query: str, name: str, words: str) -> None:
    """A condition of a write that lost its value is not ignored."""
    with pytest.raises(InvalidParameters, match=f"^Invalid request parameters: .*{words}"):
        parsed(ConfigurationPut, method, query, name)
