"""The files of the dashboard, and the headers of everything below its path (dashboard and clients, section 5)."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from hivewire.http.request import HttpRequest
from hivewire.http.response import Response
from hivewire.transport.refusal import UNKNOWN_PATH
from hivewire_protocol.errors import NotFound

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
"""There are no CORS headers, so pages of other origins cannot read anything here."""

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",
}
"""By the suffix of the file; licences and checksums have none."""


class _File(NamedTuple):
    tag: str
    plain: bytes
    zipped: bytes


async def answer(request: HttpRequest) -> Response:
    """A file, or 304 when the browser has it. Raises NotFound.

    `no-cache` makes browsers ask at each load, so that a page never consists of files of two versions.
    """
    path = _paths().get(request.parameters.get("file", "index.html"))
    if path is None:
        raise NotFound(hint=UNKNOWN_PATH)
    file = await asyncio.to_thread(_load, path, path.stat().st_mtime_ns)
    # Weak, because the file is the same in both encodings (RFC 9110, section 8.8.1).
    headers = {"ETag": f'W/"{file.tag}"', "Cache-Control": "no-cache"}
    if file.tag in (request.header("if-none-match") or ""):
        return Response(304, headers=headers)
    media_type = MEDIA_TYPES[path.suffix]
    if _takes_gzip(request.header("accept-encoding") or ""):
        return Response(200, memoryview(file.zipped), media_type, headers | {"Content-Encoding": "gzip"})
    return Response(200, memoryview(file.plain), media_type, headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is among the codings of `Accept-Encoding`, and not with the weight 0 (RFC 9110, section 12.5.3)."""
    codings = ("".join(coding.lower().split()).partition(";q=") for coding in accepted.split(","))
    return any(name == "gzip" and (not weighted or weight.strip("0.")) for name, weighted, weight in codings)


@cache
def _paths() -> dict[str, Path]:
    """The files by their paths below `/dashboard/`. No other path is read, so `..` reaches nothing."""
    root = Path(str(files("hivewire_dashboard") / "static"))
    return {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*")
        if path.suffix in MEDIA_TYPES and path.is_file()
    }


@lru_cache(256)
def _load(path: Path, changed: int) -> _File:
    """The content, compressed once; `changed` is part of the key, so that edited files are read again."""
    plain = path.read_bytes()
    return _File(hashlib.sha256(plain).hexdigest()[:24], plain, gzip.compress(plain, mtime=0))
