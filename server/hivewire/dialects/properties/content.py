"""The body of a write: a property's content, or a batch."""

from __future__ import annotations

from hivewire.dialects.properties.calls import PropertyCall
from hivewire.http import body
from hivewire.transport.admission import Admission
from hivewire_protocol.errors import NotImplementedHere, UnsupportedMediaType


async def content_of(call: PropertyCall, admission: Admission) -> bytes:
    """The whole body, byte for byte. Raises WireError when it is too large, late, or coded in some way."""
    if call.query.get("dream.in.format") in ("json", "php"):
        raise NotImplementedHere
    if call.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("Content-Encoding is not supported here; send the content unencoded")
    if call.headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        raise UnsupportedMediaType("Only the Transfer-Encoding chunked is supported here")
    return await body.read(call.request, admission, admission.settings.property_bytes)
