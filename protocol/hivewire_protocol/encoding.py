"""Outgoing JSON: one encoder for replies, pushes, errors and documents of every framing."""

from __future__ import annotations

from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_LINE_SEPARATOR, _PARAGRAPH_SEPARATOR = "\u2028".encode(), "\u2029".encode()


def encode(value: Any) -> bytes:
    """Any struct or plain value to JSON bytes, with U+2028 and U+2029 escaped (core protocol, section 1.6)."""
    data = _encoder.encode(value)
    if 0xE2 in data:  # both characters begin with this byte; searching for it is fast, and most texts lack it
        return data.replace(_LINE_SEPARATOR, rb"\u2028").replace(_PARAGRAPH_SEPARATOR, rb"\u2029")
    return data
