"""`hivewire status` and `hivewire whoami`: the state of a gateway, and the owner of a token."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from hivewire.cli import plain
from hivewire.cli import profile as profiles
from hivewire.cli.errors import RefusedByGateway, RemoteError
from hivewire.cli.gateway import DEFAULT_URL, Access, find_access, token_option, url_option
from hivewire.cli.output import Row, aligned, local, on_one_line, output_option, print_result, printable
from hivewire.cli.remote import Remote, endpoint
from hivewire_client.plain import Answer
from hivewire_client.tokens import claims_of
from hivewire_protocol.permissions import effective


@click.command(
    epilog="""\b
Examples:
  hivewire status
  hivewire status --url config.example.com
  hivewire status -o value        (ready, reads only, or not ready)

\b
Exits with 1 if writes are refused, and with 3 if no gateway can be reached."""
)
@output_option
@url_option
@token_option
def status(form: str | None, url: str | None, given_token: str | None) -> None:
    """Show whether a gateway runs and accepts writes, its version, and who is logged in. It needs no login.

    A saved login that is no longer valid is none; `login` says why.
    """
    access = _access(url, given_token)
    place = access.url if access is not None else url or DEFAULT_URL
    row: Row = {"url": place, "version": None, "state": None, "revision": None, "configurations": None, "login": None}
    with Remote(place) as remote:
        row["version"] = _member(plain.ask(place, "GET", "/", headers={"Accept": "application/json"}), "version")
        row["state"] = _state(place)
        missing = "not logged in"
        if access is not None:
            try:
                row |= _read_logged_in(remote, access)
            except RefusedByGateway as error:
                missing += f": {error.message}"
    words = {
        "gateway": place,
        "version": row["version"] or "unknown",
        "state": row["state"],
        "configurations": "unknown" if row["revision"] is None else f"{row['configurations']:,}",
        "revision": "unknown" if row["revision"] is None else str(row["revision"]),
        "login": row["login"] or missing,
    }
    print_result(row, form, aligned(words), row["state"].partition(":")[0])
    if row["state"] != "ready":
        raise click.exceptions.Exit(1)


@click.command(
    epilog="""\b
Examples:
  hivewire whoami
  hivewire whoami -o value        (the login)
  hivewire whoami --token "$TOKEN" """
)
@output_option
@url_option
@token_option
def whoami(form: str | None, url: str | None, given_token: str | None) -> None:
    """Show the owner of the token, its actions, the names that it reaches, and when it expires."""
    access = find_access(url, given_token)
    with Remote(access.url) as remote:
        remote.authenticate(access)
        claims = claims_of(access.token)
        row: Row = {"login": _login(remote, claims), "actions": _actions(claims), "names": claims.get("c")}
        row |= {"networkIds": claims.get("n") or [], "deviceTypeIds": claims.get("dt") or []}
    row["expires"] = (
        datetime.fromtimestamp(claims.get("e", 0) / 1_000, UTC).replace(tzinfo=None).isoformat("T", "seconds")
    )
    words = {
        "login": row["login"],
        "actions": ", ".join(row["actions"]) or "none",
        "names": "all" if row["names"] is None else ", ".join(map(printable, row["names"])) or "none",
        "networks": _scope(row["networkIds"]),
        "device types": _scope(row["deviceTypeIds"]),
        "valid until": local(row["expires"]) + ("" if access.profile is None else ", then renewed"),
        "gateway": access.url,
    }
    print_result(row, form, aligned(words), row["login"])


def _access(url: str | None, token: str | None) -> Access | None:
    """The access, if there is a token for this address."""
    profile = None if token is not None else profiles.load(profiles.path())
    if token is None and (profile is None or (url is not None and endpoint(url) != endpoint(profile.url))):
        return None
    return find_access(url, token)


def _state(place: str) -> str:
    """`ready`, or what does not work and why. A proxy may hide the pages for health."""
    reads = plain.ask(place, "GET", "/health/ready")
    if reads.status == 404:
        return "ready"
    if reads.status != 200:
        return f"not ready: {on_one_line(str(_member(reads, 'reason')))}"
    writes = plain.ask(place, "GET", "/health/ready?for=writes")
    return "ready" if writes.status == 200 else f"reads only: {on_one_line(str(_member(writes, 'reason')))}"


def _read_logged_in(remote: Remote, access: Access) -> Row:
    """What only a logged-in caller can see."""
    remote.authenticate(access)
    seen: Row = {"login": _login(remote, claims_of(access.token))}
    try:
        found = remote.request("configuration/list", take=0)
    except RemoteError as error:
        if error.code != 403:
            raise
        return seen
    return seen | {"revision": found["revision"], "configurations": found["count"]}


def _login(remote: Remote, claims: dict[str, Any]) -> str:
    """The login; the id of the user or client if the token does not allow reading it."""
    if "cl" in claims:
        return f"client {claims['cl']}"
    try:
        return printable(remote.request("user/getCurrent")["current"]["login"])
    except RemoteError as error:
        if error.code != 403:
            raise
        return f"user {claims.get('u')}"


def _scope(ids: list[str]) -> str:
    return "all" if "*" in ids else ", ".join(map(printable, ids)) or "none"


def _actions(claims: dict[str, Any]) -> list[str]:
    if 0 in (given := claims.get("a") or ()):
        return ["*"]
    return [permission.wire_name for permission in sorted(effective(claims.get("a")))] if given is not None else []


def _member(answer: Answer, name: str) -> Any:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any]).get(name)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
