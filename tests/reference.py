"""The reference pages, `docs/api.md` and `docs/settings.md`, made from the structs that the gateway works with.

`python -m tests.tables` writes them; a test tells when they are stale.
"""

# ruff: noqa: E501 - pages have one sentence a line

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, inspect

from hivewire import settings
from hivewire.dialects.devicehive import ROWS
from hivewire_protocol.catalogue import PUSHES
from hivewire_protocol.close import TABLE
from hivewire_protocol.errors import TooManyRequests, WireError, catalogue
from hivewire_protocol.messages import CALLER_ERRORS, COMMON_ERRORS, Request
from hivewire_protocol.schemas import ALL, members_of, sentence

API_INTRODUCTION = """\
# API reference

All requests of the gateway, with their replies, pushes and errors.
[configuration.md](configuration.md) shows how to use it, [following.md](following.md) how to follow changes, [tokens.md](tokens.md) how to get tokens.
`python -m tests.tables` generates this page from the code.

For tools, the same is in [openapi.json](openapi.json) (all HTTP APIs, OpenAPI 3.1) and [asyncapi.json](asyncapi.json) (the WebSocket, AsyncAPI 3.0).
A running gateway has both documents at `/openapi.json` and `/asyncapi.json`, and `hivewire describe openapi` and `hivewire describe asyncapi` print them.

## Messages

Open a socket at `/api/websocket` or `/dh/websocket` and send one JSON object per message:

<!-- not run: it shows the form of messages -->
```text
> {"action":"configuration/put","requestId":7,"name":"limits.max","value":"42"}
< {"action":"configuration/put","requestId":7,"status":"success","configuration":{"name":"limits.max","value":"42","entityVersion":1},"revision":5}
```

The reply repeats `action` and `requestId`, which can be any JSON value.
Any request may have `trace`, a `traceparent` of W3C Trace Context; [operations.md](operations.md#traces) says what for.
Replies are in the order of the requests, and a request sees the effect of every earlier request of its connection.
An error has `"status":"error"`, a `code`, and a readable text in `error`.

A message with `"jsonrpc":"2.0"` is the same request as JSON-RPC 2.0: `method` is the action, `params` are its members by name, and `result` has the members of the reply.
One without an `id` is a notification: it is carried out, and gets no answer. Several in an array are a batch, whose answers come together.

| over | an error is |
| --- | --- |
| action frames | `{"action":…,"requestId":…,"code":…,"status":"error","error":"…"}` |
| JSON-RPC | `{"jsonrpc":"2.0","id":…,"error":{"code":…,"message":"…","data":…}}` |
| REST | `{"error":code,"message":"…"}` |

Over REST, paths are below `/api/rest` and `/dh/rest`; those marked * are below `/auth/rest` too.
Members that are not part of the path are in the query of a GET, and in the JSON body of other methods. Those may have them in the query too, which counts before the body; of a parameter that is repeated the first one counts, unless it is a list.
In a GET those without a value are ignored; in a request that writes they count.
The answer is an object with the members of the reply, unless the action says that the answer is only one of them.

An action that needs a permission needs a token that grants it.
Send the token with the action `authenticate` on an open socket, or in the header `Authorization: Bearer …` of the upgrade or the HTTP request.

Every request can have `deviceId` (string), `networkId` and `deviceTypeId` (integers); those that use them list them below.
A number or boolean is accepted for a string, and a string of digits for an integer, as in DeviceHive."""

SETTINGS_INTRODUCTION = """\
# Settings

Every setting of `hivewire serve`. `python -m tests.tables` generates this page from the code.

Set a setting with a flag (`--name-length 64`), with an environment variable (`HIVEWIRE_NAME_LENGTH=64`), or with a line of a TOML file (`name_length = 64`) that `--config` or `HIVEWIRE_CONFIG` names.
A flag overrides the environment, and the environment overrides the file.
An unknown name is an error that suggests the nearest known one.

Secrets have no flag, because other users of a machine can read the command line of a process.
Each can be in a file of its own, as Docker and Kubernetes mount them: `HIVEWIRE_JWT_SECRET_FILE=/run/secrets/jwt` names it. The line break at its end does not count.
Durations are in seconds and sizes in bytes unless the sentence says otherwise.
`hivewire serve --check` prints the value of each setting and where it comes from, without secrets.

Settings that are *reloaded* are read again from the file at [SIGHUP](operations.md#reloading); the others need a restart."""


def api() -> str:
    """The whole page of the API."""
    parts = [
        API_INTRODUCTION,
        "\n".join(["## Actions", "", *actions()]),
        *(_action(action, request) for action, request in ALL.items()),
        _objects(),
        _pushes(),
        _errors(),
        "\n".join(["## Close codes", "", "The gateway closes a socket with one of these codes.", "", *close_codes()]),
    ]
    return "\n\n".join(parts) + "\n"


def actions() -> list[str]:
    """Every action, the permission it needs, where it is over HTTP, and what it does."""
    lines = ["| action | permission | REST | what it does |", "| --- | --- | --- | --- |"]
    for action, request in ALL.items():
        lines.append(f"| {_link(action)} | {_permission(request)} | {_rest(request)} | {sentence(request)} |")
    return lines


def _action(action: str, request: type[Request]) -> str:
    """Everything about one action."""
    lines = [f"### {action}", "", sentence(request), ""]
    lines += ["It is there over HTTP only.", ""] if request.http_only else []
    permission = _permission(request) + (", or a privilege in the `tenant`" if request.or_tenant else "")
    lines += [f"- Permission: {permission}", f"- REST: {'; '.join(_exchanges(request)) or 'none'}"]
    own = sorted(request.errors, key=lambda error: (error.code, error.__name__))
    lines += [f"- Errors: {', '.join(map(_error_name, own)) or 'only those of all actions'}", ""]
    known = {field.name: field for field in _fields(request)}
    fields = [known[name] for name in members_of(request)]
    lines += _table(fields, request.required) if fields else ["It takes no members."]
    shown = _fields(request.reply)
    lines += ["", "The reply has:", "", *_table(shown)] if shown else ["", "The reply has no members of its own."]
    return "\n".join(lines)


def _objects() -> str:
    """The structs inside of requests, replies and pushes."""
    parts = ["## Objects", "Types of members of requests, replies and pushes."]
    for shape in dict.fromkeys(_inner([*ALL.values(), *PUSHES.values()])):
        required = getattr(shape, "required", None)
        parts.append("\n".join([f"### {shape.__name__}", "", sentence(shape), "", *_table(_fields(shape), required)]))
    return "\n\n".join(parts)


def _pushes() -> str:
    parts = [
        "## Pushes",
        "Messages of the gateway to subscribers. Each has `action`, then the members below in this order.\n"
        "For a subscription made by JSON-RPC they are notifications: `method` is the action, `params` the members.",
    ]
    for action, push in PUSHES.items():
        parts.append("\n".join([f"### {action}", "", sentence(push), "", *_table(_fields(push))]))
    return "\n\n".join(parts)


def _errors() -> str:
    common = ", ".join(map(_error_name, COMMON_ERRORS))
    caller = ", ".join(map(_error_name, CALLER_ERRORS))
    return "\n".join(
        [
            "## Errors",
            "",
            f"Every message can get: {common}.",
            "",
            f"Every action that needs a permission can get: {caller}.",
            "",
            f"Every message on a socket without a login can get: {_error_name(TooManyRequests)}.",
            "",
            "An error can have further members: `change` is the current change (409 and 412), `index` the index of the "
            "failed change of a transaction, `retryAfter` the seconds to wait (429), `hint` where to find the right path "
            "over HTTP (404), `problems` what does not fit (422), `misfits` which stored values do not fit (409), `changes` "
            "what would undo a completed rollout (409).",
            "",
            "Over HTTP two codes are not in the table: 426, where a WebSocket opens and the request is no upgrade to "
            "version 13 of it, and 431 for more than 256 headers or a head over `head_bytes`.",
            "",
            *errors(),
        ]
    )


def errors() -> list[str]:
    """Code, name, text and meaning of every error."""
    lines = ["| code | name | text | JSON-RPC | when |", "| --- | --- | --- | --- | --- |"]
    for error in catalogue():
        rpc = str(error.rpc_code or error.code).replace("-", "−")
        lines.append(f"| {error.code} | {error.__name__} | `{error.text}` | {rpc} | {sentence(error)} |")
    return lines


def close_codes() -> list[str]:
    """Code, reason and advice."""
    lines = ["| code | reason | reconnect |", "| --- | --- | --- |"]
    return lines + [f"| {code.value} | `{close.reason}` | {close.reconnect} |" for code, close in TABLE.items()]


def settings_page() -> str:
    """The whole page of settings."""
    columns = ("setting", "flag", "environment", "default", "values", "reloaded", "what it does")
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    fields = {field.name: field for field in _fields(settings.Settings)}
    for name in settings.names():
        field = fields[name]
        flag = "none: secret" if settings.is_secret(name) else f"`--{name.replace('_', '-')}`"
        default = "" if field.default in (None, "") else f"`{_literal(field.default)}`"
        lines.append(
            f"| `{name}` | {flag} | `{settings.ENVIRONMENT}{name.upper()}` | {default} | {_values(field.type)} "
            f"| {'yes' if name in settings.RELOADED else 'restart'} | {settings.sentence(name)} |"
        )
    return SETTINGS_INTRODUCTION + "\n\n" + "\n".join(lines) + "\n"


def _literal(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _values(found: Any) -> str:
    """The possible values of a setting."""
    if isinstance(found, inspect.Metadata):
        return _values(found.type)
    if isinstance(found, inspect.UnionType):
        return ", ".join(_values(option) for option in found.types if not isinstance(option, inspect.NoneType))
    if isinstance(found, inspect.LiteralType):
        return ", ".join(f"`{value}`" for value in found.values)
    if isinstance(found, inspect.BoolType):
        return "`true`, `false`"
    if isinstance(found, inspect.StrType):
        return _range("text", found.min_length, found.max_length, "characters")
    if isinstance(found, inspect.IntType | inspect.FloatType):
        least = f"above {found.gt:,g}" if found.gt is not None else found.ge
        return _range("integer" if isinstance(found, inspect.IntType) else "number", least, found.le)
    raise TypeError(f"say how a setting of this type is shown: {found}")


def _range(kind: str, least: int | float | str | None, most: int | float | None, unit: str = "") -> str:
    bounds = [f"{bound:,}" if isinstance(bound, int | float) else bound for bound in (least, most) if bound is not None]
    if not bounds:
        return kind
    if most is None:
        bounds.append("or more")
        return f"{kind}, {' '.join(bounds)} {unit}".rstrip()
    return f"{kind}, {' to '.join(bounds)} {unit}".rstrip()


def _table(fields: Iterable[inspect.Field], required: Iterable[str] | None = None) -> list[str]:
    """The members of a struct. Of a request: which are required; of a reply or push: which may be absent."""
    asked = required is not None
    lines = [f"| member | type | {'required' if asked else 'present'} | what it is |", "| --- | --- | --- | --- |"]
    for field in fields:
        described = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
        what = (described or {}).get("description", "")
        if required is not None:
            when = "yes" if field.name in required else ""
        else:
            when = "always" if field.required else "sometimes"
        lines.append(f"| `{field.encode_name}` | {_type(field.type, asked)} | {when} | {what} |")
    return lines


def _type(found: Any, asked: bool = False) -> str:
    """A type in words. That a member of a request can be null says no more than that it can be absent."""
    if isinstance(found, inspect.Metadata):
        return _type(found.type, asked)
    if isinstance(found, inspect.UnionType):
        options = [_type(option) for option in found.types if not isinstance(option, inspect.NoneType)]
        nullable = not asked and any(isinstance(option, inspect.NoneType) for option in found.types)
        return " or ".join([*options, "null"] if nullable else options)
    if isinstance(found, inspect.StructType):
        return _link(found.cls.__name__)
    if isinstance(found, inspect.ListType):
        return f"list of {_type(found.item_type)}"
    if isinstance(found, inspect.DictType):
        value = _type(found.value_type)
        return "object" if value == "any JSON" else f"object of {value}"
    if isinstance(found, inspect.EnumType):
        return " or ".join(f"`{option.value}`" for option in found.cls)
    return _WORDS[type(found)]


_WORDS: dict[type[Any], str] = {
    inspect.StrType: "string",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.RawType: "any JSON",
    inspect.AnyType: "any JSON",
}


def _fields(shape: type[Struct]) -> tuple[inspect.Field, ...]:
    found = inspect.type_info(shape)
    assert isinstance(found, inspect.StructType)
    return found.fields


def _inner(shapes: Iterable[type[Struct]]) -> Iterator[type[Struct]]:
    """The structs inside of messages, replies included, each as often as it is met."""
    for shape in shapes:
        for field in _fields(shape):
            for found in _structs(field.type):
                yield found
                yield from _inner([found])
        if issubclass(shape, Request):
            yield from _inner([shape.reply])


def _structs(found: Any) -> Iterator[type[Struct]]:
    if isinstance(found, inspect.StructType):
        yield found.cls
    for name in ("type", "item_type", "value_type"):
        if hasattr(found, name):
            yield from _structs(getattr(found, name))
    for option in getattr(found, "types", ()):
        yield from _structs(option)


def _rest(request: type[Request]) -> str:
    """The methods and paths that stand for a request."""
    rows = [
        f"`{row.method} {row.path}`{'*' if row.auth else ''}{' (event stream)' if row.stream is request else ''}"
        for row in ROWS
        if request in (row.request, row.stream)
    ]
    return ", ".join(rows)


def _exchanges(request: type[Request]) -> Iterator[str]:
    """Every REST method and path, with what its body is and what it answers, where that is not as usual."""
    for row in ROWS:
        if row.stream is request:
            yield f"`{row.method} {row.path}` with `Accept: text/event-stream`"
        elif row.request is request:
            body = f", the body is `{row.body}` alone" if row.body is not None else ""
            shown = f" with `{row.shows}` alone" if row.shows is not None else ""
            yield f"`{row.method} {row.path}`{'*' if row.auth else ''}{body}, answers {row.status}{shown}"


def _permission(request: type[Request]) -> str:
    return f"`{request.permission.wire_name}`" if request.permission is not None else "none"


def _error_name(error: type[WireError]) -> str:
    return f"{error.code} {error.__name__}"


def _link(title: str) -> str:
    """A link to a heading of the same page."""
    return f"[`{title}`](#{re.sub(r'[^a-z0-9-]', '', title.lower())})"
