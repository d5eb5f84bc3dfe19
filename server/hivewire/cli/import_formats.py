"""What `hivewire import --from` reads: how other programs keep configuration, as entries of an import."""

from __future__ import annotations

import io
import json
import re
import tomllib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, time
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from hivewire.cli.errors import Unreachable
from hivewire.cli.export_format import BadFile, Object
from hivewire.cli.given import MOST_INPUT

Found: TypeAlias = tuple[str, str | bytes | None, str | None]
"""A name, its value (bytes if it may be no text, None if there is none), and its content type."""

JSON = "application/json"

PAGE = 1_000
"""Keys that one request to etcd asks for."""

SECONDS = 30
"""The longest wait for an answer of etcd."""

WITH_LOGIN = (
    "if it wants a login or a certificate, use: etcdctl get --prefix '' -w json | hivewire import - --from etcd"
)


class _Pair(Struct):
    """A key of etcd; both are bytes in Base64."""

    key: bytes
    value: bytes = b""


class _Header(Struct):
    revision: int


class _Range(Struct):
    """What `etcdctl get -w json` prints, and what etcd answers over HTTP."""

    header: _Header
    kvs: list[_Pair] = []
    more: bool = False


class _Entry(Struct):
    """A key of Consul; its value is in Base64."""

    key: str
    value: bytes = b""


_SCALARS = {
    "null": re.compile(r"^(~|null|Null|NULL|)$"),
    "bool": re.compile(r"^(true|True|TRUE|false|False|FALSE)$"),
    "int": re.compile(r"^-?(0|[1-9][0-9]*)$"),
    "float": re.compile(r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"),
    "merge": re.compile(r"^<<$"),
}
"""Plain scalars of YAML that are no text, by their tag."""


def etcd(data: bytes) -> Iterator[Found]:
    """`etcdctl get --prefix KEY -w json`."""
    found = msgspec.json.decode(data, type=_Range, strict=False)
    return ((pair.key.decode(), pair.value, None) for pair in found.kvs)


def etcd_at(address: str) -> bytes:
    """All keys of the etcd at this address, as `etcdctl` would print them, at one revision. Raises Unreachable."""
    first, revision, pairs = b"\0", 0, []
    while True:
        asked = {"key": _base64(first), "range_end": _base64(b"\0"), "limit": PAGE, "revision": revision}
        page = _ask(address, asked)
        revision = page.header.revision
        pairs += page.kvs
        if not page.more:
            return msgspec.json.encode(_Range(page.header, pairs))
        if not page.kvs or page.kvs[-1].key < first:
            raise Unreachable(f"{address} does not answer as etcd does: its pages do not go on")
        first = page.kvs[-1].key + b"\0"


def _ask(address: str, members: Mapping[str, Any]) -> _Range:
    """What the etcd at this address answers to a request for keys. Raises Unreachable."""
    from http.client import HTTPException  # here, because they load TLS
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    url = address.rstrip("/") + "/v3/kv/range"
    request = Request(url, json.dumps(members).encode(), {"Content-Type": JSON})  # noqa: S310 - the user's own URL
    try:
        with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return msgspec.json.decode(answer.read(MOST_INPUT), type=_Range, strict=False)
    except HTTPError as error:
        raise Unreachable(f"{url} answers with HTTP {error.code}; {WITH_LOGIN}") from None
    except OSError as error:
        raise _not_reached(address, error) from None
    except (HTTPException, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise Unreachable(f"{url} does not answer as etcd does: {error}") from None


def _not_reached(address: str, error: OSError) -> Unreachable:
    """Why no connection came about; `urlopen` wraps what the system says."""
    from hivewire_client.connection import not_reached

    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, OSError) else error
    told = not_reached(address, cause, "an etcd")
    of_tls = hasattr(cause, "library")
    return Unreachable(f"{told}; {WITH_LOGIN}" if of_tls else str(told))


def _base64(key: bytes) -> str:
    return b64encode(key).decode()


def consul(data: bytes) -> Iterator[Found]:
    """`consul kv export`. Keys that only stand for a folder are left out."""
    for each in msgspec.json.decode(data, type=list[_Entry]):
        if each.value or not each.key.endswith("/"):
            yield each.key, each.value, None


def env(data: bytes) -> Iterator[Found]:
    """`env`, `env -0` or `/proc/PID/environ`: NAME=VALUE, with NUL or a line break behind each."""
    end = b"\0" if b"\0" in data else b"\n"
    for number, line in enumerate(data.removesuffix(end).split(end) if data else (), 1):
        name, equals, value = line.partition(b"=")
        if not equals:
            raise ValueError(f"line {number} is not NAME=VALUE; `env -0` prints values of several lines")
        yield name.decode(), value, None


def dotenv(data: bytes) -> Iterator[Found]:
    """A `.env` file, as python-dotenv reads it: the last of several counts, `${NAME}` is what the file has set before.

    What it has not stays as it stands: the environment of whoever imports is nothing that others should have.
    """
    from dotenv.parser import parse_stream
    from dotenv.variables import Variable, parse_variables

    found: dict[str, str | None] = {}
    for binding in parse_stream(io.StringIO(data.decode("utf-8-sig"))):
        if binding.error:
            raise ValueError(f"line {binding.original.line} is not NAME=VALUE")
        if binding.key is None:
            continue
        parts = [
            f"${{{part.name}}}"
            if isinstance(part, Variable) and part.default is None and part.name not in found
            else part.resolve(found)
            for part in parse_variables(binding.value or "")
        ]
        found[binding.key] = None if binding.value is None else "".join(parts)
    return ((name, value, None) for name, value in found.items())


def toml(data: bytes) -> Iterator[Found]:
    """TOML; tables become parts of names."""
    return _leaves(tomllib.loads(data.decode("utf-8-sig")), "")


def yaml(data: bytes) -> Iterator[Found]:
    """YAML, or JSON, with a mapping at the top; mappings become parts of names.

    Of scalars without quotes only null, booleans and numbers as in JSON are no text: `on`, `no`, `012`, `12:30` and
    `2026-03-01` are, unlike in YAML 1.1.
    """
    from yaml import SafeLoader, YAMLError, load

    class Loader(SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as in its base class

    for tag, pattern in _SCALARS.items():
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", pattern, None)
    try:
        found = load(data, Loader)  # noqa: S506 - it is a safe one
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    if not isinstance(found, dict):
        raise ValueError("its top level is not a mapping")
    return _leaves(found, "")


def _leaves(table: Mapping[Any, Any], place: str) -> Iterator[Found]:
    """What is in nested tables. Text stays as it is; numbers, booleans and lists are JSON."""
    for key, value in table.items():
        name = place + (key if isinstance(key, str) else json.dumps(key, default=str))
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{name}.")
        elif value is None or isinstance(value, str | bytes):
            yield name, value, None
        elif isinstance(value, date | time):
            yield name, value.isoformat(), None
        else:
            yield name, json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain), JSON


def _plain(value: Any) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    raise ValueError(f"a {type(value).__name__} cannot be written as JSON")


FORMATS: dict[str, Callable[[bytes], Iterable[Found]]] = {
    "etcd": etcd,
    "consul": consul,
    "env": env,
    "dotenv": dotenv,
    "toml": toml,
    "yaml": yaml,
}


def read(form: str, data: bytes, file: str, renamed: Mapping[str, str]) -> list[Object]:
    """The entries in a file of this form, as members of an import, which are not checked yet.

    With `renamed` only names that begin with one of its keys, whose value then takes the place of that beginning. A
    value that is no text is null. Raises BadFile, which names `file`.
    """
    try:
        found = [*FORMATS[form](data)]
    except RecursionError:
        raise BadFile(f"{file} is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise BadFile(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise BadFile(f"{file} cannot be read as {form}: {error}") from None
    entries = []
    for name, value, content_type in found:
        if (new := _new_name(name, renamed)) is not None:
            members: list[tuple[str, Any]] = [("name", new)]
            if value is not None:
                members += [("value", _text(value)), ("contentType", content_type)]
            entries.append(Object(members))
    return entries


def _new_name(name: str, renamed: Mapping[str, str]) -> str | None:
    for old, new in renamed.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None if renamed else name


def _text(value: str | bytes) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return None
