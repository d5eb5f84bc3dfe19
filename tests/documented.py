"""What the API documents promise, held against what a gateway really answers and pushes.

The fixtures of the gate's tests hand over every answer of an HTTP client and every message of a socket.
"""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema_rs

from hivewire import openapi
from hivewire.dialects import operations
from hivewire.http.response import JSON
from hivewire_protocol.catalogue import PUSHES, REQUESTS

ALIASES = (("/dh/rest/", "/api/rest/"), ("/auth/rest/", "/api/rest/"), ("/%40api/deki/", "/@api/deki/"))
"""Beginnings of paths that stand for others."""

DESIGNATION = "urn:document"


@cache
def document(name: str) -> Any:
    """One of the documents, as a gateway has it."""
    return json.loads(openapi.DOCUMENTS[name]())


@cache
def _registry(name: str) -> Any:
    """One for all validators: reading the whole document takes thirty times as long as making a validator."""
    return jsonschema_rs.Registry([(DESIGNATION, document(name))])


@cache
def _validator(name: str, pointer: str) -> Any:
    return jsonschema_rs.Draft202012Validator({"$ref": f"{DESIGNATION}#{pointer}"}, registry=_registry(name))


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Patterns of the paths, and the paths as the document has them; those with the most fixed words first."""
    found = sorted({each.path for each in operations()}, key=lambda path: (path.count("{"), -len(path)))
    return [(_pattern(path), openapi.template(path)) for path in found]


@lru_cache(10_000)
def _templates(path: str) -> list[str]:
    """The documented paths that a path may be; there are hundreds, and most are asked for again and again."""
    return [template for pattern, template in _paths() if pattern.fullmatch(path)]


def _pattern(path: str) -> re.Pattern[str]:
    words = re.sub(r"\\{\w+:path\\}", ".+", re.escape(path))
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", words) + "/?")


def hold_response(request: httpx.Request, response: httpx.Response) -> None:
    """The answer to a request at a documented path has a documented status, media type and form.

    A path that is not documented, or not with this method, is answered with an error.
    """
    path, method = request.url.raw_path.decode().partition("?")[0], _method(request)
    for alias, canonical in ALIASES:
        path = canonical + path.removeprefix(alias) if path.startswith(alias) else path
    if method == "options":
        return
    paths = document("openapi")["paths"]
    found = _templates(path)
    named = [template for template in found if method in paths[template]]
    if not named or (response.status_code == 405 and named != found):
        told = f"{method} {path} answers {response.status_code}, and is not in the operations of its dialect"
        assert response.status_code >= 400, told
        return
    # A fixed word may be a name as well: then the answer is that of the other path.
    problems = [_problem(template, method, response) for template in named]
    assert None in problems, f"{method} {path} answers {response.status_code}: {problems}: {response.headers}"


def _problem(template: str, method: str, response: httpx.Response) -> str | None:
    """What is wrong with an answer by the path of the document; None when it is as it says."""
    status = str(response.status_code)
    pointer = f"/paths/{_escaped(template)}/{method}/responses/{status}"
    answer = document("openapi")["paths"][template][method]["responses"].get(status)
    if answer is None:
        return f"{template} does not name {status}"
    if "$ref" in answer:
        pointer = answer["$ref"].removeprefix("#")
        answer = document("openapi")["components"]["responses"][pointer.rpartition("/")[2]]
    if undocumented := _headers_of(response) - {name.lower() for name in answer.get("headers", ())}:
        return f"{template} does not name {undocumented} of {status}"
    kind, known = response.headers.get("content-type", "").partition(";")[0], answer.get("content", {})
    if not response.is_stream_consumed or not response.content:
        return None
    if kind not in known and "*/*" not in known:
        return f"{template} has {[*known]}, not {kind}"
    if kind == JSON and kind in known:
        return _fault("openapi", f"{pointer}/content/application~1json/schema", response.json())
    return None


GENERAL = {"date", "connection", "content-type", "content-length", "content-encoding", "transfer-encoding", "vary"}
GENERAL |= {"cache-control", "pragma", "content-security-policy", "x-content-type-options", "x-frame-options"}
GENERAL |= {"cross-origin-opener-policy", "cross-origin-resource-policy", "referrer-policy", "x-accel-buffering"}
"""Headers that say nothing about what was asked: of HTTP itself, for caches, and for the safety of browsers."""


def _headers_of(response: httpx.Response) -> set[str]:
    return {name for name in response.headers if name not in GENERAL and not name.startswith("access-control-")}


def _method(request: httpx.Request) -> str:
    """The effective method: a POST may stand for another one. HEAD is GET without the body."""
    method = request.method
    if method == "POST":
        override = request.headers.get_list("x-http-method-override")[-1:]
        if request.url.path.startswith("/@api/"):
            override = request.url.params.get_list("dream.in.verb")[:1] or override
        method = (override or [method])[0].upper()
    return "get" if method == "HEAD" else method.lower()


def hold_message(found: Any) -> None:
    """A message of a socket is a documented answer, error or push. JSON-RPC has the members elsewhere."""
    if not isinstance(found, dict) or "jsonrpc" in found:
        return
    action = found.get("action")
    if found.get("status") == "error":
        name = "Error"
    elif found.get("status") == "success":
        name = f"{REQUESTS[str(action)].__name__}Answer"
    elif action in PUSHES:
        name = PUSHES[action].__name__
    else:
        return  # of a topic that a test brought along
    fault = _fault("asyncapi", f"/components/schemas/{name}", found)
    assert fault is None, f"{name}: {fault}"


def _fault(name: str, pointer: str, value: Any) -> str | None:
    """What a schema of a document finds in a value; None when nothing is wrong."""
    errors = [f"{error.message} at {error.instance_path}" for error in _validator(name, pointer).iter_errors(value)]
    return f"{errors[:3]} in {value!r:.500}" if errors else None


def _escaped(path: str) -> str:
    """A path as a part of a JSON pointer in a fragment (RFC 6901, section 6)."""
    return quote(path.replace("~", "~0").replace("/", "~1"), safe="~@")
