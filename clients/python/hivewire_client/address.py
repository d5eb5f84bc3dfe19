"""Addresses of gateways."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hivewire_client.errors import BadAddress

DEFAULT_PORTS = {"ws": 80, "wss": 443}

_NO_SCHEME = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:\d+)?(/|$)")
"""Matches the start of an address without a scheme: a host, an optional port, an optional path."""

_SOCKETS = ("/api/websocket", "/dh/websocket")


def endpoint(url: str) -> str:
    """The WebSocket endpoint of a gateway's address: `http://host:8080/prefix` is `ws://host:8080/prefix/api/websocket`.

    A path that ends in `/websocket` is taken as it is. Without a scheme it is http, so `host:8080` is the same.
    Two spellings of one address give the same endpoint: the scheme's own port is left out, the host in small letters.
    Raises BadAddress for anything but http, https, ws and wss addresses with a host.
    """
    try:
        parts = urlsplit(f"http://{url}" if _NO_SCHEME.match(url) else url)
        scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}[parts.scheme]
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")  # as the socket module will; it raises UnicodeError, which is a ValueError
    except (KeyError, ValueError):
        host, port = "", None
    if "@" in url:  # checked before an error quotes the address, which may have a password in it
        raise BadAddress("the address must not contain a login or password: use hivewire login, or a token")
    if not host or port == 0 or any(character.isspace() for character in url):
        raise BadAddress(f"{url!r} is not the address of a gateway; write it like http://127.0.0.1:8080")
    place = f"[{host}]" if ":" in host else host
    if port is not None and port != DEFAULT_PORTS[scheme]:
        place += f":{port}"
    path = parts.path if parts.path.endswith("/websocket") else parts.path.rstrip("/") + _SOCKETS[0]
    return f"{scheme}://{place}{path}"


def http_of(endpoint: str) -> tuple[bool, str, int, str]:
    """Of an endpoint: whether it uses TLS, its host, its port, and the path below which the HTTP dialects are."""
    parts = urlsplit(endpoint)
    root = next((parts.path.removesuffix(end) for end in _SOCKETS if parts.path.endswith(end)), parts.path)
    return parts.scheme == "wss", parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme], root
