"""Every error that a client can see, one class each, with its code and its text.

```text
WireError                    code, text, extra members, JSON-RPC code
├── MalformedJson            400  not JSON, not an object, a member of a type that cannot be coerced
├── InvalidParameters        400  a required parameter is missing, empty or ill-typed
├── OutOfBounds              400  a parameter is there and well-typed, but beyond its bounds
├── MissingAction, UnknownAction ...
├── Unauthorized             401  and others: InvalidCredentials, TokenExpired, UserNotActive ...
├── AccessDenied             403
├── NotFound                 404
├── VersionConflict          409
└── ...
```

Texts that DeviceHive clients know are unchanged (DeviceHive core protocol, sections 1.4, 3 and 5).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self


class WireError(Exception):
    """An error reply. `code` is a number as in HTTP, `text` says what is wrong, `members` are further members.

    `detail` is the end of the text where that may repeat a part of a value: it is not stored or logged.
    """

    code: ClassVar[int] = 500
    text: ClassVar[str] = "Internal server error"
    rpc_code: ClassVar[int | None] = None
    """The JSON-RPC 2.0 code where that differs from `code` (JSON-RPC 2.0, section 5.1)."""

    def __init__(self, text: str | None = None, detail: str = "", /, **members: Any) -> None:
        self.lasting = text or self.text
        """The text without the detail."""
        super().__init__(self.lasting + detail)
        self.detail = detail
        self.members = members

    @classmethod
    def because(cls, reason: object) -> Self:
        """The error with a reason behind its text."""
        return cls(f"{cls.text}: {reason}")

    def __str__(self) -> str:
        return str(self.args[0])

    def at(self, index: int) -> Self:
        """The same error, of a change of a transaction."""
        return type(self)(f"changes[{index}]: {self.lasting}", self.detail, index=index, **self.members)

    def alone(self) -> Self:
        """The error without its traceback, to be stored: the frames in a traceback would keep the call and its message
        in memory until the garbage collector runs."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class InternalError(WireError):
    """Something failed inside the gateway; its log has the cause."""

    rpc_code = -32603


class MalformedJson(WireError):
    """The message is not JSON, not an object, nested deeper than 128, or has a common member of the wrong type, or more
    than 50,000 elements and members."""

    code = 400
    text = "Malformed Json received."
    rpc_code = -32602

    member: str | None = None
    """The member of the request that has the wrong type; None if something else is wrong."""


class InvalidRpc(WireError):
    """The message has `jsonrpc` and is not a JSON-RPC 2.0 request, or it is an empty batch or one of over 1,000, or it
    or the batch has over 500 different members; those in `params` do not count."""

    code = 400
    text = "Not a JSON-RPC 2.0 request"
    rpc_code = -32600


class MissingAction(WireError):
    """`action` is missing, null, empty, an object or an array."""

    code = 400
    text = "'action' field could not be parsed to known endpoint"
    rpc_code = -32600


class UnknownAction(WireError):
    """`action` is not an action of this gateway."""

    code = 400
    text = "Illegal argument: {action}"
    rpc_code = -32601


class InvalidParameters(WireError):
    """A required parameter is missing, null or of the wrong type; or an HTTP body is not JSON."""

    code = 400
    text = "Invalid request parameters"
    rpc_code = -32602


class OutOfBounds(WireError):
    """A parameter is well-typed but too long, too large, badly formed or not allowed here. Most texts say which."""

    code = 400
    text = "Invalid request parameters"


class Unauthorized(WireError):
    """The connection has no login, or the token is missing or not valid."""

    code = 401
    text = "Unauthorized"


class InvalidCredentials(WireError):
    """A wrong password, or a token that is not valid for any reason except its age."""

    code = 401
    text = "Invalid credentials"


class TokenExpired(WireError):
    """The access token has expired; refresh it and authenticate again."""

    code = 401
    text = "Token expired"


class TokenRevoked(WireError):
    """The token was revoked; log in again."""

    code = 401
    text = "Token revoked"


class RefreshTokenExpired(WireError):
    """The refresh token has expired; log in again."""

    code = 401
    text = "Token has expired"


class InvalidTokenType(WireError):
    """`token/refresh` got a token that is not a refresh token."""

    code = 401
    text = "Invalid token type"


class UnknownLogin(WireError):
    """No user has this login."""

    code = 401
    text = "User with login = {login} not found or bad password"


class UserNotActive(WireError):
    """An administrator has locked or disabled this user."""

    code = 401
    text = "User is locked or disabled"


class ClientDeleted(WireError):
    """An administrator has deleted the client that the token belongs to."""

    code = 401
    text = "Client does not exist any more"


class AccessDenied(WireError):
    """The token does not grant this action, or not for this name."""

    code = 403
    text = "Access is denied"


class NotAllowed(WireError):
    """The token grants the action, but this use of it is not allowed; the text says why."""

    code = 403
    text = "Not allowed"


class NotFound(WireError):
    """The object of the request does not exist."""

    code = 404
    text = "HTTP 404 Not Found"


class MethodNotAllowed(WireError):
    """The path exists, but not with this HTTP method."""

    code = 405
    text = "HTTP 405 Method Not Allowed"


class RequestTimeout(WireError):
    """The HTTP body did not arrive in time."""

    code = 408
    text = "HTTP 408 Request Timeout"


class VersionConflict(WireError):
    """The expected `entityVersion` or `revision` is not the current one; `change` is the current change."""

    code = 409
    text = "Configuration '{name}' is at {what} {current}, not {expected}"


class ValuesDoNotFit(WireError):
    """Stored configurations do not fit a new schema; `misfits` names up to 20, with their problems."""

    code = 409
    text = "Stored configurations do not fit this schema"


class Conflict(WireError):
    """Something that exists is in the way, such as a rollout or a rank that is taken; the text says what."""

    code = 409
    text = "HTTP 409 Conflict"


class HeaderConditionFailed(WireError):
    """An HTTP `If-Match` or `If-None-Match` header did not hold; `change` is the current change."""

    code = 412
    text = "Precondition failed"


class TooLarge(WireError):
    """The answer would be over 1 MiB, or an HTTP body is over the limit."""

    code = 413
    text = "ask for less"


class UnsupportedMediaType(WireError):
    """The HTTP body has a type other than JSON, or is compressed."""

    code = 415
    text = "HTTP 415 Unsupported Media Type"


class DoesNotFit(WireError):
    """The value does not fit the schema of its name; `problems` has up to 20 rules that it breaks."""

    code = 422
    text = "The value does not fit its schema"


class KeyReused(WireError):
    """The idempotency key was used before, for other content; nothing was written."""

    code = 422
    text = "Other content was inserted under this idempotencyKey"


class TooManyAttempts(WireError):
    """Too many wrong passwords for this login from this address; `retryAfter` says how many seconds to wait."""

    code = 429
    text = "Too many wrong passwords; try again in {seconds} s"


class TooManyRequests(WireError):
    """Too many requests without a token from this address; `retryAfter` says how many seconds to wait."""

    code = 429
    text = "Too many requests without a token from this address; try again in {seconds} s"


class TooManyReports(WireError):
    """A device reports too often; `retryAfter` says how many seconds to wait, and the text is more exact."""

    code = 429
    text = "Report again in {milliseconds} ms"


class TooManyMessages(WireError):
    """A device has too many commands or notifications stored, or they come too fast; try again later."""

    code = 429
    text = "Too many messages of this device"


class NotImplementedHere(WireError):
    """A site property was sent in a `dream.in.format` other than XML."""

    code = 501
    text = "HTTP 501 Not Implemented"


class Unavailable(WireError):
    """The disk is full, read-only or hangs, the gateway is stopping, or too many requests wait. Nothing was written,
    unless the text says that this is not known."""

    code = 503
    text = "Service is not available"


def catalogue() -> list[type[WireError]]:
    """All error classes by code, then name: the table of errors in docs/api.md."""
    found: list[type[WireError]] = []
    pending = [WireError]
    while pending:
        children = pending.pop().__subclasses__()
        found += children
        pending += children
    return sorted(found, key=lambda error: (error.code, error.__name__))
