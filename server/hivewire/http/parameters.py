"""A request of the catalogue out of an HTTP request: path, query and the members of its body."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TypeVar, get_type_hints
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from hivewire.http.request import HttpRequest
from hivewire_protocol import coercion
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, MalformedJson, NotFound
from hivewire_protocol.messages import Request

R = TypeVar("R", bound=Request)

NO_MEMBERS: Mapping[str, Raw] = {}

NUMBERS = ("networkId", "deviceTypeId")
"""Numbers that a frame of any request may have. Over HTTP they mean something only where a request names them itself,
or in a path; elsewhere they are unknown, whatever their value (addendum, section 3)."""


def request_of(
    shape: type[R],
    request: HttpRequest,
    body: Mapping[str, Raw] = NO_MEMBERS,
    given: Mapping[str, Raw] = NO_MEMBERS,
) -> R:
    """The request made from the members of the body, the query, others that are given, and the path; later ones take
    precedence. Raises InvalidParameters, and NotFound for a path that cannot be."""
    members = {**body, **_query(request, shape), **given}
    for number in NUMBERS:
        if number in members and number not in shape.__annotations__:
            del members[number]
    try:
        for name, value in request.parameters.items():
            plain = unquote(value, errors="strict")
            if name in members and shape.__struct_config__.forbid_unknown_fields:
                _refuse_other(name, members[name], plain)
            members[name] = Raw(encode(plain))
        for envelope in ("requestId", "trace", "jsonrpc"):
            members.pop(envelope, None)
        return coercion.build(shape, members)
    except MalformedJson as error:
        if error.member in request.parameters:  # such as the id of a user that is no number
            raise NotFound from None
        raise InvalidParameters.because(error) from None
    except UnicodeDecodeError:
        raise InvalidParameters.because("the path is not UTF-8") from None


def _refuse_other(name: str, member: Raw, in_path: str) -> None:
    """Raise InvalidParameters when the body or the query of a write names something else than its path does."""
    try:
        given = msgspec.json.decode(member)
    except msgspec.DecodeError:
        raise MalformedJson from None
    words = given if isinstance(given, str) else bytes(member).decode()
    if given is not None and words != in_path:
        raise InvalidParameters(f"{name} is '{words[:64]}', but the path names '{in_path[:64]}'")


def _query(request: HttpRequest, shape: type[Request]) -> dict[str, Raw]:
    """The query's parameters as raw JSON strings; repeated ones as a list where the request takes a list.

    Parameters that the request does not have are ignored: proxies and programs add their own. Empty ones are absent in
    a read, except `names=`, which names nothing. In a write they count: one with `entityVersion=`, from a script whose
    variable is empty, must not become unconditional; nor must one with `entityversion=3`, so that is refused.
    """
    values: dict[str, list[str]] = {}
    query = request.query()
    if not query:
        return {}
    known, reads = shape.__struct_fields__, request.method in ("GET", "HEAD")
    if (wrong := coercion.misspelt(shape, (name for name, _ in query if name not in known))) is not None:
        raise InvalidParameters(f"Unknown parameter '{wrong}'{coercion.nearest(wrong, shape)}")
    for name, value in query:
        if name in known and (value or name == "names" or not reads):
            values.setdefault(name, []).append(value)
    if not values:
        return {}
    lists = _list_fields(shape)
    return {name: Raw(encode(given if name in lists else given[0])) for name, given in values.items()}


@cache
def _list_fields(shape: type[Request]) -> frozenset[str]:
    return frozenset(name for name, hint in get_type_hints(shape).items() if "list[" in str(hint))
