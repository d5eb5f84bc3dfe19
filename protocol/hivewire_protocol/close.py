"""Every close code that the gateway sends, its reason, and whether to reconnect (configuration contract, section 9)."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Code(IntEnum):
    """WebSocket close codes (RFC 6455, section 7.4; 4000-4999 are private to the application)."""

    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    TOO_LARGE = 1009
    INTERNAL_ERROR = 1011
    SLOW_CONSUMER = 4008
    NOT_AUTHENTICATED = 4010
    CLOSED_BY_ADMINISTRATOR = 4011
    TOO_MANY_FAILURES = 4029


class Meaning(NamedTuple):
    """The reason that goes with a code, and the advice for the client."""

    reason: str
    reconnect: str


TABLE: dict[Code, Meaning] = {
    Code.GOING_AWAY: Meaning("server going away; retry={ms}", "yes, after ms"),
    Code.PROTOCOL_ERROR: Meaning("protocol error", "no"),
    Code.UNSUPPORTED_DATA: Meaning("binary frames are not spoken here", "no"),
    Code.INVALID_TEXT: Meaning("text that is not UTF-8", "no"),
    Code.TOO_LARGE: Meaning("message larger than the limit", "no"),
    Code.INTERNAL_ERROR: Meaning("internal error, or no pong", "yes"),
    Code.SLOW_CONSUMER: Meaning("slow consumer", "yes"),
    Code.NOT_AUTHENTICATED: Meaning("not authenticated in time", "yes, and authenticate"),
    Code.CLOSED_BY_ADMINISTRATOR: Meaning("closed by an administrator", "yes, later"),
    Code.TOO_MANY_FAILURES: Meaning("too many failed authentications", "yes, later"),
}
