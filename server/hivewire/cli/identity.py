"""`hivewire login` and `hivewire token`."""

from __future__ import annotations

import os
import re
import sys
import time
from datetime import UTC, datetime

import click
import msgspec

from hivewire.cli import profile as profiles
from hivewire.cli.gateway import DEFAULT_URL, connected, url_option
from hivewire.remote import Remote

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@click.command(
    epilog="""\b
Examples:
  hivewire login
  hivewire login --url https://config.example.com --login alice
  hivewire login --password-stdin < password.txt
  HIVEWIRE_PASSWORD=... hivewire login"""
)
@url_option
@click.option("--login", "name", envvar="HIVEWIRE_LOGIN", default="admin", show_default=True, help="Who.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, without asking.")
def login(url: str | None, name: str, password_stdin: bool) -> None:
    """Log in and remember it for the other commands.

    The address and the tokens are written to a profile that only you can read (HIVEWIRE_PROFILE, or
    ~/.config/hivewire/profile.json). The password is not kept.
    """
    place = profiles.path()
    if url is None:
        former = profiles.load(place) if place.exists() else None
        url = former.url if former is not None else DEFAULT_URL
    with Remote(url) as remote:
        password = os.environ.get("HIVEWIRE_PASSWORD")
        if password_stdin or not password:
            password = read_password("Password", password_stdin)
        reply = remote.request("token", login=name, password=password)
    profiles.save(profiles.Profile(remote.url, name, reply["accessToken"], reply["refreshToken"]), place)
    click.echo(f"{name} is logged in at {remote.url}")


def read_password(prompt: str, from_stdin: bool, confirm: bool = False) -> str:
    """A password from standard input when that is no terminal or was asked for, else typed without showing it."""
    if from_stdin or not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise click.ClickException("standard input has no password")
        return password
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))


@click.command(
    epilog="""\b
Examples:
  hivewire token --action ManageConfiguration --name 'limits.*'
  hivewire token --action GetConfiguration --expires 30d
  hivewire token --user 3 --action GetConfiguration --name door.1 --expires 2027-01-01T00:00:00
  HIVEWIRE_TOKEN=$(hivewire token --action GetConfiguration) hivewire list

\b
On a terminal both tokens are shown; into a pipe goes the access token alone."""
)
@click.option("--action", "actions", multiple=True, help="What it may do, such as GetConfiguration; * for everything.")
@click.option("--name", "names", multiple=True, help="Which configurations it reaches: a name, or a prefix*.")
@click.option("--user", "user_id", type=int, help="Id of the user it is for; you when not given.")
@click.option("--expires", help="End of the access token: 90s, 30m, 12h, 7d, or a time (UTC).")
@click.option("--refresh-expires", help="End of the refresh token, in the same forms.")
@click.option("--json", "as_json", is_flag=True, help="Print both tokens as one JSON object.")
@connected
def token(
    remote: Remote,
    actions: tuple[str, ...],
    names: tuple[str, ...],
    user_id: int | None,
    expires: str | None,
    refresh_expires: str | None,
    as_json: bool,
) -> None:
    """Make an access and a refresh token with some of your own rights.

    Without --action the token may do nothing, without --name it reaches the same names as yours.
    """
    if user_id is None:
        user_id = remote.request("user/getCurrent")["current"]["id"]
    payload = {
        "userId": user_id,
        "actions": list(actions),
        "configurations": list(names) or None,
        "expiration": moment(expires),
        "refreshExpiration": moment(refresh_expires),
    }
    reply = remote.request(
        "token/create", payload={name: value for name, value in payload.items() if value is not None}
    )
    tokens = {"accessToken": reply["accessToken"], "refreshToken": reply["refreshToken"]}
    if as_json:
        click.echo(msgspec.json.encode(tokens).decode())
    elif sys.stdout.isatty():
        click.echo(f"access token\n{tokens['accessToken']}\n\nrefresh token\n{tokens['refreshToken']}")
    else:
        click.echo(tokens["accessToken"])


def moment(text: str | None) -> int | None:
    """Milliseconds since 1970 of `90s`, `30m`, `12h`, `7d` from now, or of an ISO 8601 time (UTC unless it says)."""
    if text is None:
        return None
    if match := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return time.time_ns() // 1_000_000 + int(match[1]) * _UNITS[match[2]] * 1_000
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is neither a time nor a span such as 90s, 30m, 12h or 7d") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000)
