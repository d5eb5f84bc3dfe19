"""Every error of the tenant configuration dialect: one class each, with its HTTP status, code and text.

```text
TenantError              status, code; `body()` is what the client gets (section 7.2)
├── NotJson              400  306  not JSON in UTF-8, or not an object
├── Unacceptable         400  305  valid JSON that is refused: duplicate names, too deep, numbers out of range
├── Invalid              400  the finding's own code, or 270 with `foundErrors`
│   └── ValidationError  400  the same for "manage by object type": VALIDATION_ERROR
├── TypeIsNotFound       400  TYPE_IS_NOT_FOUND
├── BadRequest           400  BAD_REQUEST
├── AccessDenied         403
├── NotDefined           404  309  no such tenant, or nothing stored for it yet
├── Stale                412
├── TooLarge             413
├── UnsupportedMediaType 415
├── Unreadable           500  303  the server's own schema cannot be read
└── InternalError        500
```

Where the contract names no `errorCode`, it is the HTTP status, as for 412 (section 13, row 11).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from msgspec import Struct

ENVELOPE = 270
"""The code of an error body that carries several findings (section 7.2)."""

LEVELS = {"all": ("errors", "warnings"), "error": ("errors",), "warning": ("warnings",)}
"""The values of `validationErrorLevel`, and which findings each of them shows (section 2.1)."""

Body = dict[str, Any]


class Finding(Struct, frozen=True):
    """One thing that is wrong with a document.

    `path` is the place (`entityTypes[0].label`), `uri` is the URI of the element, `problem` is the rest of the sentence
    that begins with the path, and `advice` says what is expected. A document with warnings can be saved.
    """

    code: int
    path: str
    uri: str
    problem: str
    advice: str
    warning: bool = False

    @property
    def message(self) -> str:
        """One readable line that begins with the path."""
        return f"Business model is not valid: {self.path or 'the document'} {self.problem}"

    def body(self) -> Body:
        """The finding as clients see it (section 7.2)."""
        return _body(self.code, self.message, self.advice, "Warning" if self.warning else "Error")


def validation_answer(findings: Iterable[Finding], level: str = "all") -> dict[str, Body]:
    """The answer of `_validation`: `errors` and `warnings` by the URI of the element; empty when there are none.

    `level` is `validationErrorLevel`: `all`, `error` or `warning`. Raises BadRequest for anything else. (Section 2.1)
    """
    if level not in LEVELS:
        raise BadRequest(f"validationErrorLevel is one of {', '.join(LEVELS)}")
    answer: dict[str, Body] = {}
    for finding in findings:
        kind = "warnings" if finding.warning else "errors"
        if kind in LEVELS[level]:
            answer.setdefault(finding.uri, {"errors": [], "warnings": []})[kind].append(finding.body())
    return answer


class TenantError(Exception):
    """An error answer. `text` is one line, `detail` a longer text; both can be given when it is raised."""

    status: ClassVar[int] = 500
    code: ClassVar[int] = 500
    text: ClassVar[str] = "Internal server error"
    detail: ClassVar[str] = "Something failed inside the server; its log has the cause."
    word: ClassVar[str] = ""
    """The beginning of the message, where the contract gives one (section 13, row 18)."""

    def __init__(self, text: str | None = None, detail: str | None = None) -> None:
        super().__init__(text or self.text, detail or self.detail)

    def __str__(self) -> str:
        return f"{self.word}: {self.args[0]}" if self.word else str(self.args[0])

    def body(self) -> Body:
        """The error body (section 7.2), ready to be encoded."""
        return _body(self.code, str(self), self.args[1])


class InternalError(TenantError):
    """Something failed inside the server."""


class Unreadable(TenantError):
    """The server cannot read its own schema or a stored document."""

    code = 303
    text = "The stored configuration cannot be read"


class NotJson(TenantError):
    """The body is not JSON in UTF-8, or not an object."""

    status = 400
    code = 306
    text = "The request body is not JSON that can be processed"
    detail = "Send one JSON object in UTF-8."


class Unacceptable(TenantError):
    """The body is valid JSON that is refused."""

    status = 400
    code = 305
    text = "The JSON of the request body is not acceptable"
    detail = (
        "Member names may not repeat within an object, nesting is limited to 64 levels, integers to 64 bits, "
        "other numbers to the range of a double, and strings to Unicode characters."
    )


class Invalid(TenantError):
    """The document breaks rules; `findings` are in document order."""

    status = 400

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = findings
        if len(findings) == 1:
            super().__init__(findings[0].message, findings[0].advice)
        else:
            super().__init__(
                f"Business model is not valid: {len(findings)} errors found", "foundErrors has them in document order."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.findings,)  # by default pickling would rebuild the exception from its texts

    def body(self) -> Body:
        """A single finding under its own code, or the envelope 270 with `foundErrors` (section 7.4)."""
        if len(self.findings) == 1:
            return _body(self.findings[0].code, str(self), self.args[1])
        body = _body(ENVELOPE, str(self), self.args[1])
        body["foundErrors"] = [finding.body() for finding in self.findings]
        return body


class ValidationError(Invalid):
    """A single type or part would break the document it belongs to."""

    word = "VALIDATION_ERROR"


class TypeIsNotFound(TenantError):
    """There is no such collection, type or part (400 in this dialect, not 404)."""

    status = 400
    code = 400
    text = "there is no such type"
    detail = "The path has to name a collection, a type in it, a part of the type and an element of the part."
    word = "TYPE_IS_NOT_FOUND"


class BadRequest(TenantError):
    """The request is wrong: the type exists already, names differ, a parameter is unknown."""

    status = 400
    code = 400
    text = "the request does not fit the address that it is sent to"
    detail = "Nothing was changed."
    word = "BAD_REQUEST"


class AccessDenied(TenantError):
    """The token is valid, but does not grant this."""

    status = 403
    code = 403
    text = "Access is denied"
    detail = "The token does not give the right to do this."


class NotDefined(TenantError):
    """There is no such tenant, or nothing has been stored for it yet (section 13, rows 2 and 3)."""

    status = 404
    code = 309
    text = "The tenant is not defined"
    detail = "Either there is no tenant of this id, or it has no configuration yet."


class Stale(TenantError):
    """`If-Unmodified-Since` is earlier than the last change (section 4.1, row 8)."""

    status = 412
    code = 412
    text = "The configuration has been changed since If-Unmodified-Since"
    detail = "Read the configuration again, make your changes to what you have read, and send that."


class TooLarge(TenantError):
    """The body is over the limit."""

    status = 413
    code = 413
    text = "The request body is too large"
    detail = "Nothing was read from it."


class UnsupportedMediaType(TenantError):
    """The Content-Type is not JSON, or the Content-Encoding is unknown."""

    status = 415
    code = 415
    text = "The request body is not sent as JSON"
    detail = "Send Content-Type: application/json; a body may be compressed with gzip."


def _body(code: int, message: str, detail: str, severity: str = "Error") -> Body:
    return {"severity": severity, "errorMessage": message, "errorCode": code, "errorDetailMessage": detail}
