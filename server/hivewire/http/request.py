"""A request for dialects, read directly from the ASGI scope."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from hivewire.transport.asgi import Receive, Scope
from hivewire.transport.connection import HttpProtocol


class HttpRequest:
    """The head of a request, and the source of its body.

    `path` is as it was sent, still percent-encoded, so that `a%2Fb` is one name; `parameters` are the parts of it that
    the route names, encoded as well. `headers` have lower-case names; of several with one name the first counts here,
    and `all` gives every one.
    """

    method: str
    path: str
    headers: dict[str, str]
    parameters: Mapping[str, str]

    proven: bool
    """Whether the caller is authenticated."""

    __slots__ = ("_repeated", "headers", "method", "parameters", "path", "proven", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.method = scope["method"]
        self.path = scope["raw_path"].decode("ascii")
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        self._repeated = len(self.headers) < len(scope["headers"])
        self.parameters = {}
        self.proven = False

    @property
    def address(self) -> str:
        """The address of the peer, without its port; of the proxy, where there is one."""
        client: tuple[str, int] | None = self.scope["client"]
        return client[0] if client else "local"

    @property
    def secure(self) -> bool:
        """Whether the connection uses TLS."""
        return bool(self.scope["scheme"] == "https")

    @property
    def connection(self) -> HttpProtocol:
        """The connection of the request."""
        connection: HttpProtocol = self.scope["hivewire.connection"]
        return connection

    def forget_head(self) -> None:
        """Free the headers and the query of a request that takes long."""
        self.headers = {}
        self.scope["headers"].clear()
        self.scope["query_string"] = b""
        if self.connection.scope is self.scope:  # otherwise its URL is that of the next request
            self.connection.url = self.scope["raw_path"]

    def logged_in(self) -> None:
        """Mark the caller as authenticated; the connection is no longer anonymous."""
        self.proven = True
        self.connection.logged_in()

    def all(self, name: str) -> list[str]:
        """Every value of a header that may occur several times."""
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for given, value in self.scope["headers"] if given == wanted]

    def header(self, name: str) -> str | None:
        """The value of a header; several are joined by commas (RFC 9110, section 5.3)."""
        if self._repeated and name in self.headers:
            return ", ".join(self.all(name))
        return self.headers.get(name)

    def media_type(self, default: str = "") -> str:
        """The media type of the body in lower case, without parameters."""
        return self.headers.get("content-type", default).partition(";")[0].strip().lower()

    def query(self) -> list[tuple[str, str]]:
        """The parameters of the query, in order; bytes that are not UTF-8 become U+FFFD."""
        text = self.scope["query_string"]
        return parse_qsl(text.decode("latin-1"), keep_blank_values=True) if text else []

    def accepts_events(self) -> bool:
        """Whether `Accept` names event streams."""
        if "accept" not in self.headers:
            return False
        ranges = ",".join(self.all("accept")).split(",")
        return "text/event-stream" in [media_range.partition(";")[0].strip().lower() for media_range in ranges]


def cookie(headers: Mapping[str, str], name: str) -> str | None:
    """The value of a cookie in the headers of a request, the last one of its name (RFC 6265, section 5.4).

    Quotes around it are removed, backslashes stay in it: `http.cookies` before Python 3.12.6 takes minutes to
    remove 60 KB of them.
    """
    found = None
    for pair in headers.get("cookie", "").split(";"):
        given, _, value = pair.partition("=")
        if given.strip() == name:
            found = value.strip().removeprefix('"').removesuffix('"')
    return found
