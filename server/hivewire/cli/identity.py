"""`hivewire login`, `logout` and `token`."""

from __future__ import annotations

import difflib
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from hivewire.cli import profile as profiles
from hivewire.cli.errors import RefusedByGateway, RemoteError, Unreachable
from hivewire.cli.gateway import DEFAULT_URL, USUAL_LOGIN, Access, find_access, token_option, url_option
from hivewire.cli.given import UNITS
from hivewire.cli.grouping import NETWORK, TYPE, networks_option, types_option
from hivewire.cli.output import Row, output_option, print_result, printable, value_in_pipes, warn
from hivewire.cli.profile import ProfileError
from hivewire.cli.remote import Remote
from hivewire.clocks import now
from hivewire_client.tokens import claims_of
from hivewire_protocol.nouns.user import Role
from hivewire_protocol.permissions import BY_NAME


@click.command(
    epilog="""\b
Examples:
  hivewire login
  hivewire login --url https://config.example.com --login alice
  hivewire login --password-stdin < password.txt
  HIVEWIRE_PASSWORD=... hivewire login"""
)
@url_option
@click.option(
    "--login", "name", envvar="HIVEWIRE_LOGIN", default=USUAL_LOGIN, show_default=True, help="Login of the user."
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, without asking.")
@output_option
def login(url: str | None, name: str, password_stdin: bool, form: str | None) -> None:
    """Log in and save the tokens for the other commands.

    The address and the tokens are written to a profile that only you can read (HIVEWIRE_PROFILE, or
    ~/.config/hivewire/profile.json). The password is not saved.
    """
    place = profiles.path()
    with Remote(url or _last_address(place)) as remote:
        password = os.environ.get("HIVEWIRE_PASSWORD")
        if password_stdin or not password:
            password = read_password("Password", password_stdin)
        reply = remote.request("token", login=name, password=password)
    profiles.save(profiles.Profile(remote.url, name, reply["accessToken"], reply["refreshToken"]), place)
    row = {"login": name, "url": remote.url, "profile": str(place)}
    print_result(row, form, f"{name} is logged in at {remote.url}", name)


@click.command(
    epilog="""\b
Examples:
  hivewire logout
  hivewire logout --profile staging"""
)
@profiles.profile_option
@output_option
def logout(form: str | None) -> None:
    """Log out: the gateway revokes the tokens of the login, and the profile is deleted.

    Tokens that were made with `hivewire token` stay valid.
    """
    place = profiles.path()
    profile = profiles.load(place)
    if profile is None:
        raise click.ClickException("not logged in")
    try:
        with Remote(profile.url) as remote:
            remote.authenticate(Access(profile.url, profile.access_token, profile))
            remote.request("token/revoke", token=profile.refresh_token)
        kept = ""
    except RefusedByGateway:
        kept = "; the gateway no longer accepts its tokens"
    except (click.ClickException, RemoteError, Unreachable) as error:
        # Only an administrator may end single tokens.
        kept = f"; the gateway did not revoke its tokens, so they stay valid until they expire ({error})"
    place.unlink(missing_ok=True)
    row = {"login": profile.login, "url": profile.url, "tokensEnded": not kept}
    print_result(row, form, f"{profile.login} is logged out{kept}", profile.login)


def _last_address(place: Path) -> str:
    try:
        profile = profiles.load(place)
    except ProfileError:
        profile = None  # the login replaces the profile, so an unreadable one does not matter
    return profile.url if profile is not None else DEFAULT_URL


def read_password(prompt: str, from_stdin: bool, confirm: bool = False) -> str:
    """A password from standard input when that is not a terminal or `from_stdin` is set; otherwise from a prompt."""
    if from_stdin or not sys.stdin.isatty():
        try:
            password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise click.ClickException("the password on standard input is not UTF-8 text") from None
        if not password:
            raise click.ClickException("standard input has no password")
        return password
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))


def _every_action() -> str:
    return ", ".join(dict.fromkeys(permission.wire_name for permission in BY_NAME.values()))


def _complete_action(context: click.Context, option: click.Parameter, incomplete: str) -> list[str]:
    names = dict.fromkeys(permission.wire_name for permission in BY_NAME.values())
    return [name for name in names if name.lower().startswith(incomplete.lower())]


def _known_actions(context: click.Context, option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Check the names here: the gateway ignores unknown names, so a typing error would make a token without rights."""
    for name in names:
        if name.lower() not in BY_NAME:
            near = difflib.get_close_matches(name.lower(), BY_NAME, n=1)
            hint = f"; did you mean {BY_NAME[near[0]].wire_name}?" if near else f"; known actions are {_every_action()}"
            raise click.BadParameter(f"{name} is not an action{hint}")
    return names


@click.command(
    epilog="""\b
Examples:
  hivewire token --action ManageConfiguration --name 'limits.*'
  hivewire token --action GetConfiguration --expires 30d
  hivewire token --user alice --action GetConfiguration --name admission.1 --expires 2027-01-01T00:00:00
  hivewire token --action GetDeviceCommand --action UpdateDeviceCommand --network home --type lamp
  hivewire token --device lamp-1 --expires 365d
  HIVEWIRE_TOKEN=$(hivewire token --action GetConfiguration) hivewire list

\b
On a terminal it prints both tokens, into a pipe only the access token."""
)
@click.option(
    "--action",
    "actions",
    multiple=True,
    metavar="NAME",
    callback=_known_actions,
    shell_complete=_complete_action,
    help="An action that the token allows, such as GetConfiguration; '*' for all that you may do.",
)
@click.option(
    "--name", "names", multiple=True, metavar="PATTERN", help="Limit it to these configurations: a name, or a prefix*."
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="ID",
    help="Make it a token of this device, with which it follows its configurations and reports.",
)
@networks_option
@types_option
@click.option("--user", metavar="LOGIN", help="Login or id of the user that it is for; default you.")
@click.option("--expires", help="When the access token expires: 90s, 30m, 12h, 7d, or a time (UTC).")
@click.option("--refresh-expires", help="When the refresh token expires, in the same forms.")
@output_option
@url_option
@token_option
def token(
    url: str | None,
    given_token: str | None,
    actions: tuple[str, ...],
    names: tuple[str, ...],
    devices: tuple[str, ...],
    networks: tuple[str, ...],
    types: tuple[str, ...],
    user: str | None,
    expires: str | None,
    refresh_expires: str | None,
    form: str | None,
) -> None:
    """Create an access token and a refresh token, with some of your own rights.

    Repeat --action for each action. Without --name the token reaches the same names as your own. With --action '*' it
    reaches your networks and device types too, so an administrator's is for everything, users included; it needs a
    token for all actions. With --network or --type it reaches the devices that are in these networks, of these types;
    without one of them those in all of yours, and without both none. A user with all device types has them whatever
    the token lists. With --device the action is SyncConfiguration unless you name others. With only --expires, the
    refresh token expires together with the access token.
    """
    if not actions and not devices:
        raise click.UsageError("Missing option '--action'.")
    payload: Row = {
        "actions": list(actions) or ["SyncConfiguration"],
        "configurations": list(names) or None,
        "deviceIds": list(devices) or None,
        "expiration": _to_come(expires),
        "refreshExpiration": _to_come(refresh_expires),
    }
    access = find_access(url, given_token)
    with Remote(access.url) as remote:
        remote.authenticate(access)
        own = claims_of(access.token)
        payload["userId"] = own.get("u") if user is None else _id_of(remote, user)
        reached = {name: NETWORK.find(remote, name)["id"] for name in networks}
        if "*" in actions or networks or types or devices:
            # Lists that are missing stand for nothing, unlike missing names (core protocol 3.10).
            payload["networkIds"] = [*reached.values()] or own.get("n")
            payload["deviceTypeIds"] = [TYPE.find(remote, name)["id"] for name in types] or own.get("dt")
        if networks or types:
            _warn_of_reach(remote, None if user is None else payload["userId"], reached, types)
        reply = remote.request(
            "token/create", payload={name: value for name, value in payload.items() if value is not None}
        )
    tokens = {"accessToken": reply["accessToken"], "refreshToken": reply["refreshToken"]}
    words = f"access token\n{tokens['accessToken']}\n\nrefresh token\n{tokens['refreshToken']}"
    print_result(tokens, form or value_in_pipes(), words, tokens["accessToken"])


def _id_of(remote: Remote, user: str) -> int:
    """The id of a user: digits are one already, other text is a login."""
    return int(user) if user.isdecimal() else int(find_user(remote, user)["id"])


def _warn_of_reach(remote: Remote, user: int | None, networks: Row, types: tuple[str, ...]) -> None:
    """Say where a token of a user, None for the caller, reaches less or more than its networks and types, as far as
    the caller may know."""
    try:
        if user is None:
            found = remote.request("user/getCurrent")["current"]
        else:
            found = remote.request("user/get", userId=user)["user"]
    except RemoteError:
        return
    login, member_of = printable(found["login"]), {network["id"] for network in found["networks"]}
    others = [printable(name) for name, network in networks.items() if network not in member_of]
    if others and found["role"] != Role.ADMIN:
        warn(f"{login} is no member of {', '.join(others)}, so the token reaches no devices there")
    if types and found["allDeviceTypesAvailable"]:
        warn(f"{login} has all device types, so the token is not limited to {', '.join(map(printable, types))}")


def find_user(remote: Remote, login: str) -> Row:
    """The user with this login. Raises ClickException when there is none."""
    users: list[Row] = remote.request("user/list", login=login)["users"]
    if not users:
        raise click.ClickException(f"there is no user {printable(login)}")
    return users[0]


def _to_come(text: str | None) -> int | None:
    """As `moment`. Raises UsageError for a time that has passed: such a token would never be valid."""
    found = moment(text)
    if found is not None and found <= now():
        raise click.UsageError(f"{text} is in the past: such a token is never valid")
    return found


def moment(text: str | None, *, ago: bool = False) -> int | None:
    """Milliseconds since 1970 of `90s`, `30m`, `12h`, `7d` from now, or before now, or of an ISO 8601 time (UTC unless
    it says)."""
    if text is None:
        return None
    if match := re.fullmatch(r"(\d{1,9})([smhd])", text):
        span = int(match[1]) * UNITS[match[2]] * 1_000
        return now() + (-span if ago else span)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is neither a time nor a duration such as 90s, 30m, 12h or 7d") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000)
