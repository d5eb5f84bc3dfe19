"""Dialects and their routes, and how a path finds its route.

Paths are matched as they were sent, still percent-encoded. `{name}` stands for one segment that is not empty,
`{name:path}` at the end for everything that is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec import Struct, field

from hivewire.dispatch import Dispatcher
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response, error_document
from hivewire.transport.admission import Admission
from hivewire.transport.cycle import RawHeader
from hivewire.transport.events import EventStreams
from hivewire.transport.refusal import BEARER
from hivewire_protocol.errors import WireError
from hivewire_protocol.messages import Request

C = TypeVar("C")


def encode_headers(headers: Mapping[str, str]) -> list[RawHeader]:
    """Headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


class Context(Struct, frozen=True):
    """Everything that dialects use. `not_ready` gives the reason why reads, or writes, should go elsewhere.

    `documents` make the API documents, by name. `listed` is what all dialects list; it is complete once all are made.
    """

    dispatcher: Dispatcher
    admission: Admission
    streams: EventStreams
    not_ready: Callable[[bool], str | None]
    documents: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    listed: dict[str, tuple[str, str]] = field(default_factory=dict)


class Route(Struct, Generic[C], frozen=True):
    """One method of one path.

    `admit` checks the caller: it returns a call or raises WireError, before anything else of the request is read.
    `handle` answers the call. `action` is the name in the metrics; without one the route is not counted. `stream`
    answers instead when the caller accepts an event stream.

    `also_name`: the last word of the path could be a name, so its other methods are those of the name. `only_stream`:
    so is this method, unless the caller accepts an event stream.
    """

    method: str
    path: str
    admit: Callable[[HttpRequest], Awaitable[C]]
    handle: Callable[[C], Awaitable[Response]]
    action: type[Request] | str | None = None
    stream: Route[C] | None = None
    also_name: bool = False
    only_stream: bool = False


def _as_sent(request: HttpRequest) -> str:
    return request.method


def effective_method(request: HttpRequest) -> str:
    """The method; a POST may name another one in `X-HTTP-Method-Override`."""
    if request.method == "POST" and "x-http-method-override" in request.headers:
        return request.headers["x-http-method-override"].upper()
    return request.method


async def anyone(request: HttpRequest) -> HttpRequest:
    """Admits every request, for routes that need no caller."""
    return request


def _refuse(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, WireError)  # noqa: S101 - a dialect with errors of its own renders them
    return error_document(error)


def _challenge(request: HttpRequest) -> str:
    return BEARER


class Dialect(Struct):
    """A table of routes, and the form of its errors.

    - `refuse` renders a WireError, or one of `errors`, which are the dialect's own;
    - `challenge` is the `WWW-Authenticate` of a 401;
    - `prefixes` are the paths that are the dialect's even where no route is, `unknown_path` is the text of the 404
      there, and `count_unknown` whether it counts in the metrics;
    - `method` returns the effective method, and `options` whether OPTIONS is answered everywhere;
    - paths in `always` are served when no slot is left and when anonymous callers ask too often, because balancers and
      operators need them most then;
    - `listed` is what `GET /` tells of it: by their names in the JSON form, paths that exist and what is there;
    - `headers` are on every answer (`head` is the same, encoded), and `finish` may add others for a request.
    """

    routes: Iterable[Route[Any]]
    refuse: Callable[[HttpRequest, Exception], Response] = _refuse
    errors: tuple[type[Exception], ...] = ()
    challenge: Callable[[HttpRequest], str] = _challenge
    prefixes: tuple[str, ...] = ()
    method: Callable[[HttpRequest], str] = _as_sent
    options: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    head: tuple[RawHeader, ...] = ()
    finish: Callable[[HttpRequest, Response], None] | None = None
    unknown_path: str | None = None
    count_unknown: bool = False
    always: frozenset[bytes] = frozenset()
    listed: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Encode the headers once, not for every answer."""
        self.head = (*encode_headers(self.headers),)


MakeDialect: TypeAlias = "Callable[[Context], Dialect]"


class Endpoint:
    """A path and its methods."""

    __slots__ = ("also_name", "dialect", "routes")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.routes: dict[str, Route[Any]] = {}
        self.also_name = False


class _Node:
    """A node of the tree of paths, with the segments that may follow."""

    __slots__ = ("children", "endpoint", "parameter", "rest")

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None
        self.children: dict[str, _Node] = {}
        self.parameter: tuple[str, _Node] | None = None
        self.rest: tuple[str, Endpoint] | None = None


Found: TypeAlias = "tuple[Endpoint, Mapping[str, str]]"
"""A node and the path parameters that led to it."""

_NONE: Mapping[str, str] = {}


class Table:
    """The routes of all dialects: dictionaries of fixed paths and of those that end in a name, the common ones, and a
    tree of segments for all."""

    def __init__(self) -> None:
        self._fixed: dict[str, Endpoint] = {}
        self._named: dict[str, tuple[str, Endpoint]] = {}
        self._root = _Node()

    def add(self, dialect: Dialect) -> None:
        """Add the routes of a dialect."""
        for route in dialect.routes:
            endpoint = self._endpoint(dialect, route.path)
            endpoint.routes.setdefault(route.method, route)
            endpoint.also_name = endpoint.also_name or route.also_name

    def _endpoint(self, dialect: Dialect, path: str) -> Endpoint:
        node = self._root
        for segment in path.split("/"):
            if segment.endswith(":path}"):
                node.rest = node.rest or (segment[1:-6], Endpoint(dialect))
                return node.rest[1]
            if segment.startswith("{"):
                node.parameter = node.parameter or (segment[1:-1], _Node())
                node = node.parameter[1]
            else:
                node = node.children.setdefault(segment, _Node())
        node.endpoint = node.endpoint or Endpoint(dialect)
        before, _, last = path.rpartition("/")
        if "{" not in path:
            self._fixed[path] = node.endpoint
        elif "{" not in before:
            self._named[before] = (last[1:-1], node.endpoint)
        return node.endpoint

    def find(self, path: str) -> list[Found]:
        """The endpoints of a path, the most literal first; several only if a fixed word could also be a name."""
        # Two look-ups find most paths. The tree is for the others, and for a fixed word that could also be a name.
        endpoint = self._fixed.get(path)
        if endpoint is None:
            before, _, last = path.rpartition("/")
            if last and before in self._named:
                name, endpoint = self._named[before]
                return [(endpoint, {name: last})]
        elif not endpoint.also_name:
            return [(endpoint, _NONE)]
        found: list[Found] = []
        for each in _walk(self._root, path.split("/"), 0, _NONE):
            found.append(each)
            if not each[0].also_name:
                break
        return found


def _walk(node: _Node, segments: list[str], depth: int, parameters: Mapping[str, str]) -> Iterator[Found]:
    if depth == len(segments):
        if node.endpoint is not None:
            yield node.endpoint, parameters
        return
    segment = segments[depth]
    if (child := node.children.get(segment)) is not None:
        yield from _walk(child, segments, depth + 1, parameters)
    if node.parameter is not None and segment:
        name, child = node.parameter
        yield from _walk(child, segments, depth + 1, {**parameters, name: segment})
    if node.rest is not None:
        name, endpoint = node.rest
        yield endpoint, {**parameters, name: "/".join(segments[depth:])}
