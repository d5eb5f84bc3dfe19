"""`hivewire tenant get`, `put`, `check`, `diff` and `history`: a tenant's configuration document, over HTTP."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from hivewire.cli import plain
from hivewire.cli.errors import BadInput, RefusedByGateway, Unreachable
from hivewire.cli.gateway import find_access, token_option, url_option
from hivewire.cli.given import read_all
from hivewire.cli.help import WholeNumber
from hivewire.cli.output import (
    Columns,
    Row,
    Text,
    in_words,
    local,
    on_one_line,
    output_option,
    print_result,
    print_row,
    printable,
    printable_json,
    show,
)
from hivewire.cli.remote import Remote
from hivewire_client.plain import Answer
from hivewire_protocol import times
from hivewire_protocol.tenant.dates import http_date
from hivewire_protocol.tenant.differences import compare
from hivewire_protocol.tenant.documents import Document, parse
from hivewire_protocol.tenant.errors import TenantError
from hivewire_protocol.tenant.steps import at_once

SHOWN = 20
"""Errors that are listed one by one; only the number of the others is shown."""

WARNINGS_SHOWN = 10
"""Warnings that `put` lists; `check` lists all."""

_FINDING = "Business model is not valid: "
"""What the message of a finding begins with, before its place."""

file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


class TenantApi:
    """The HTTP API of one tenant."""

    def __init__(self, url: str, token: str, tenant: str) -> None:
        self._url = url
        self._token = token
        self._path = f"/reltio/api/{quote(tenant, safe='')}/configuration"

    def ask(self, method: str, path: str = "", body: bytes | None = None, since: str | None = None) -> Answer:
        """One request. Raises Unreachable."""
        headers = {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if since is not None:
            headers["If-Unmodified-Since"] = since
        return plain.ask(self._url, method, self._path + path, self._token, body, headers)


def tenant_api(tenant: str, url: str | None, token: str | None) -> TenantApi:
    """The API of a tenant, with a valid token. An expired token of the profile is renewed first."""
    access = find_access(url, token)
    with Remote(access.url) as remote:
        remote.authenticate(access)
        return TenantApi(remote.url, access.token, tenant)


@click.command(
    epilog="""\b
Examples:
  hivewire tenant get shop > shop.json
  hivewire tenant get shop | jq '.entityTypes[].uri'"""
)
@click.argument("name")
@output_option
@url_option
@token_option
def get(name: str, form: str | None, url: str | None, given_token: str | None) -> None:
    """Print the configuration of the tenant NAME.

    Its `updatedTime` identifies the version. `put` uses it to detect changes by others.
    """
    answer = _check_answer(tenant_api(name, url, given_token).ask("GET"))
    if form == "yaml":
        print_row(_json(answer.body), form, "")
    else:
        made = msgspec.json.format(answer.body, indent=-1 if form == "json" else 2)  # numbers keep their text
        click.echo(printable_json(made).encode())


@click.command(
    epilog="""\b
Examples:
  hivewire tenant put shop shop.json
  hivewire tenant put shop shop.json --overwrite

\b
FILE is an edited document from `get`. If somebody else has saved the tenant since,
nothing is written. A FILE without updatedTime can only be the first configuration."""
)
@click.argument("name")
@file_argument
@click.option("--overwrite", is_flag=True, help="Replace the stored version, whatever it is.")
@output_option
@url_option
@token_option
def put(name: str, file: Path, overwrite: bool, form: str | None, url: str | None, given_token: str | None) -> None:
    """Save FILE as the configuration of the tenant NAME."""
    data, document = _read(file)
    api = tenant_api(name, url, given_token)
    time = document.get("updatedTime")
    # 0 fits a FILE without a date: it is older than any stored version, and a first save accepts every date.
    based_on = time if type(time) is int and 0 <= time < 1 << 47 else 0
    answer = api.ask("PUT", "", data, None if overwrite else http_date(based_on))
    if answer.status == 412:
        raise RefusedByGateway(_conflict(api, name, file, based_on), answer.status)
    time = _json(_check_answer(answer).body).get("updatedTime")
    warnings = _warnings(answer)
    row = {"tenantId": name, "updatedTime": time, "warnings": warnings, "bytes": len(answer.body)}
    print_result(row, form, f"{name} is saved, {_moment(time)}; get it again before you change it further", str(time))
    if warnings:
        found = [_line(row) for row in _findings(api, data) if row["severity"] == "Warning"][:WARNINGS_SHOWN]
        click.echo(f"hivewire: {_count(warnings, 'warning')}", err=True)
        _list(found)
        if warnings > len(found):
            click.echo(f"  and {warnings - len(found):,} more; hivewire tenant check lists them", err=True)


@click.command(
    epilog="""\b
Examples:
  hivewire tenant check shop shop.json

\b
A line for each finding: error or warning, its code, its place and what is wrong.
Exits with 1 when there are errors: `put` would be refused."""
)
@click.argument("name")
@file_argument
@output_option
@url_option
@token_option
def check(name: str, file: Path, form: str | None, url: str | None, given_token: str | None) -> None:
    """Print what is wrong with FILE as the configuration of the tenant NAME, without saving it."""
    if not file.exists() and Path(name).is_file():  # the former order: FILE NAME
        name, file = str(file), Path(name)
    data, _ = _read(file)
    found = _findings(tenant_api(name, url, given_token), data)
    for row in found:
        print_result(row, form, f"{row['severity'].lower()}  {_line(row)}", _line(row))
    errors = sum(row["severity"] == "Error" for row in found)
    if not found and in_words(form):
        click.echo(f"{file} has no errors and no warnings")
    if errors:
        raise click.ClickException(f"{_count(errors, 'error')}: {name} would not be saved")


def _findings(api: TenantApi, data: bytes) -> list[Row]:
    """The gateway's findings in a document, unchanged. Errors of an element come first. Raises ClickException."""
    answer = _json(_check_answer(api.ask("POST", "/_validation", data)).body)
    return [found for of_one in answer.values() for found in (*of_one["errors"], *of_one["warnings"])]


def _line(finding: Row) -> str:
    """The code of a finding, its place, and what is wrong there."""
    return f"{finding['errorCode']}  {on_one_line(finding['errorMessage'].removeprefix(_FINDING))}"


def _warnings(answer: Answer) -> int:
    counted = answer.headers.get("hivewire-warnings", "")
    return int(counted) if counted.isdecimal() else 0


def _list(lines: list[str]) -> None:
    for line in lines:
        click.echo(f"  {line}", err=True)


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _conflict(api: TenantApi, name: str, file: Path, based_on: int) -> str:
    """The message of a conflict: who saved meanwhile, and the commands that help."""
    current = _json(_check_answer(api.ask("GET")).body)
    who, when = printable(str(current.get("updatedBy"))), _moment(current.get("updatedTime"))
    mine = f"{file} is based on the version of {_moment(based_on)}" if based_on else f"{file} has no updatedTime"
    quoted = shlex.quote(str(file))
    commands = {
        f"hivewire tenant diff {name} {quoted}": "what FILE would change now",
        f"hivewire tenant get {name}": "the version to start from",
        f"hivewire tenant put {name} {quoted} --overwrite": "save FILE anyway; what others changed since is lost",
    }
    width = max(map(len, commands))
    return "\n".join(
        [
            f"conflict: {name} was saved by {who}, {when}, and {mine}. Nothing was written.",
            *(f"  {command:{width}}  {what}" for command, what in commands.items()),
        ]
    )


@click.command(
    epilog="""\b
Examples:
  hivewire tenant diff shop shop.json

\b
A line for each element: + is only in FILE, - only in the gateway, ~ in both and different."""
)
@click.argument("name")
@file_argument
@output_option
@url_option
@token_option
def diff(name: str, file: Path, form: str | None, url: str | None, given_token: str | None) -> None:
    """Print which elements FILE would add to the configuration of the tenant NAME, remove and modify."""
    _, document = _read(file)
    answer = _check_answer(tenant_api(name, url, given_token).ask("GET", "/_noInheritance"))
    differences = at_once(compare(at_once(parse(answer.body)), document))
    kinds = (("+", differences.added), ("-", differences.removed), ("~", differences.modified))
    lines = "\n".join(f"{sign} {printable(uri)}" for sign, uris in kinds for uri in uris)
    print_result(msgspec.to_builtins(differences), form, lines, lines)
    if differences.truncated and in_words(form):
        click.echo("hivewire: there are more; at most 1,000 of each kind are shown", err=True)


@click.command(
    epilog="""\b
Examples:
  hivewire tenant history shop
  hivewire tenant history shop --max 3
  hivewire tenant history shop | jq -r .updatedBy"""
)
@click.argument("name")
@click.option("--max", "most", type=WholeNumber(0, 1_000), metavar="N", default=10, show_default=True, help="Versions.")
@output_option
@url_option
@token_option
def history(name: str, most: int, form: str | None, url: str | None, given_token: str | None) -> None:
    """List the versions of the configuration of the tenant NAME, newest first."""
    answer = _check_answer(tenant_api(name, url, given_token).ask("GET", f"/_history?max={most}"))
    versions = msgspec.json.decode(answer.body, type=list[dict[str, Any]])
    show(map(_summary, versions), form, COLUMNS, "when")


def _summary(version: Row) -> Row:
    """A version without the document itself."""
    document = version["configuration"]
    stated = {name: document.get(name) for name in ("schemaVersion", "label")}
    return {"timestamp": version["timestamp"], "updatedBy": version["updatedBy"], **stated}


COLUMNS: Columns = {
    "when": lambda row: local(times.render(row["timestamp"])),
    "who": Text(lambda row: str(row["updatedBy"])),
    "schemaVersion": lambda row: str(row["schemaVersion"] or ""),
    "label": Text(lambda row: str(row["label"] or "")),
}


def _read(file: Path) -> tuple[bytes, Document]:
    """The bytes of a file and the document in them. Raises BadInput."""
    try:
        with file.open("rb") as opened:
            data = read_all(opened)
        return data, at_once(parse(data))
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from None
    except TenantError as error:
        words = on_one_line(str(error)).removeprefix("The request body ")  # here it is a file
        raise BadInput(f"{file} {words}" if words.startswith("is ") else f"{file}: {words}") from None


def _check_answer(answer: Answer) -> Answer:
    """The answer, if it is 200. Raises RefusedByGateway with the errors that the gateway reports."""
    if answer.status == 200:
        return answer
    try:
        members = _json(answer.body)
    except Unreachable:
        members = {}
    words = members.get("errorMessage") or members.get("error_description") or members.get("message")
    lines = [f"{answer.status}: {on_one_line(str(words or 'refused'))}"]
    found = members.get("foundErrors", [])
    for each in found[:SHOWN]:
        lines.append(f"  {each['errorCode']}  {on_one_line(each['errorMessage'])}")
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more")
    raise RefusedByGateway("\n".join(lines), answer.status)


def _json(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreachable("the answer does not come from a gateway") from None


def _moment(time: Any) -> str:
    """A time in milliseconds as text with its zone. The milliseconds tell versions of one second apart."""
    return f"{times.render(time)} UTC" if type(time) is int else "at an unknown time"
