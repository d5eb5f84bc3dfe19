"""`hivewire command` and `hivewire notification`: what devices are told, and what they tell."""

from __future__ import annotations

import json
import math
import random
import secrets
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import click
from msgspec import Raw

from hivewire.cli import plain
from hivewire.cli.device import complete_devices, device_argument
from hivewire.cli.errors import Closed, RemoteError, Unreachable
from hivewire.cli.gateway import Access, find_access, reach, token_option, url_option, with_gateway
from hivewire.cli.given import JsonObject, Span
from hivewire.cli.grouping import NETWORK, TYPE, networks_option, types_option
from hivewire.cli.help import Group, WholeNumber
from hivewire.cli.identity import moment
from hivewire.cli.listing import newest
from hivewire.cli.output import Columns, Row, Text, as_json, local, output_option, print_result, printable, show
from hivewire.clocks import now
from hivewire_protocol import times

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

POLL_SECONDS = 20
"""The longest single wait for an answer; the next request goes on waiting."""

RETRY_SECONDS = 1.0
"""The longest pause before a gateway is asked again that was not reached, or went away."""


class Kind(NamedTuple):
    """A kind of messages: how the API calls one and many, what the help says of them, and the columns of a table."""

    one: str
    many: str
    what: str
    example: str
    columns: Columns


def _expiry(row: Row) -> str:
    """For a command without a status: until when it is delivered, or that it is not any more."""
    if (end := row.get("expires")) is None:
        return ""
    return "expired" if times.parse(end) <= now() else f"expires {local(end)}"


COMMAND = Kind(
    "command",
    "commands",
    "commands of the device DEVICE with what it answered",
    "set",
    {
        "when": lambda row: local(row["timestamp"]),
        "id": lambda row: str(row["id"]),
        "command": Text(lambda row: row["command"] or ""),
        "parameters": Text(lambda row: as_json(row["parameters"])),
        "status": Text(lambda row: row["status"] or _expiry(row)),
        "result": Text(lambda row: as_json(row["result"])),
    },
)

NOTIFICATION = Kind(
    "notification",
    "notifications",
    "notifications of the device DEVICE",
    "temperature",
    {
        "when": lambda row: local(row["timestamp"]),
        "id": lambda row: str(row["id"]),
        "notification": Text(lambda row: row["notification"] or ""),
        "parameters": Text(lambda row: as_json(row["parameters"])),
    },
)

_parameters_argument = click.argument("parameters", required=False, type=JsonObject(), metavar="[JSON]")


@click.group(cls=Group, no_args_is_help=True)
def command() -> None:
    """Send commands to devices, and see what they answer. They expire, by default after 24 hours."""


@click.group(cls=Group, no_args_is_help=True)
def notification() -> None:
    """Send and follow notifications from devices. They expire, by default after 2 minutes."""


@command.command(
    epilog="""\b
Examples:
  hivewire command send lamp-1 on
  hivewire command send lamp-1 set '{"level":3}' --wait
  hivewire command send door-1 open --wait --timeout 10s --expires 10s
  hivewire command send lamp-1 update @firmware.json --wait --timeout 5m
  level=$(hivewire command send lamp-1 read --wait -o json | jq .result.level)

\b
With --wait it ends with 0 when the device has answered, whatever the answer
says, and with 1 when it has not in time: the command is not taken back.
--expires ends it."""
)
@device_argument
@click.argument("name")
@_parameters_argument
@click.option("--wait", is_flag=True, help="Wait for the answer of the device, and print its status and result.")
@click.option(
    "--timeout", type=Span(), default="30s", show_default=True, metavar="SPAN", help="How long to wait: 90s, 5m, 1h."
)
@click.option(
    "--expires", type=Span(), metavar="SPAN", help="The gateway does not deliver it any more after 90s, 5m, 1h."
)
@output_option
@url_option
@token_option
def send(
    device_id: str,
    name: str,
    parameters: Raw | None,
    wait: bool,
    timeout: int,
    expires: int | None,
    form: str | None,
    url: str | None,
    given_token: str | None,
) -> None:
    """Send the command NAME to the device DEVICE.

    JSON is an object with its parameters: the text itself, @FILE for a file, or - for standard input.
    """
    access = find_access(url, given_token)
    sent = _insert(access, COMMAND, device_id, name, parameters, expiresIn=expires)
    number = sent["id"]
    if not wait:
        print_result(sent, form, f"command {number} is sent to {printable(device_id)}", str(number))
        return
    later = f"hivewire command get {printable(device_id)} {number}"
    try:
        answer = _answer(access, device_id, number, timeout)
    except KeyboardInterrupt:
        newline = "\n" if sys.stderr.isatty() else ""  # behind the ^C
        click.echo(f"{newline}hivewire: command {number} stays sent; its answer: {later}", err=True)
        raise
    if answer is None:
        raise click.ClickException(
            f"{printable(device_id)} has not answered command {number} in {timeout} s; later: {later}"
        )
    words = " ".join(filter(None, (printable(answer["status"] or ""), printable(as_json(answer["result"])))))
    print_result(answer, form, f"{printable(device_id)} answers: {words or 'nothing'}", as_json(answer["result"]))


@command.command(
    epilog="""\b
Examples:
  hivewire command update lamp-1 3646148317321741 --status ok
  hivewire command update lamp-1 3646148317321741 '{"level":3}' --status ok
  hivewire command watch lamp-1 | jq --unbuffered 'select(.command).command.id' |
    while read -r id; do hivewire command update lamp-1 "$id" --status ok; done"""
)
@device_argument
@click.argument("number", type=WholeNumber(min=0), metavar="ID")
@click.argument("result", required=False, type=JsonObject(), metavar="[JSON]")
@click.option("--status", help="How it went, in the words of the device.")
@output_option
@url_option
@token_option
def update(
    device_id: str,
    number: int,
    result: Raw | None,
    status: str | None,
    form: str | None,
    url: str | None,
    given_token: str | None,
) -> None:
    """Answer the command ID for the device DEVICE, as the device would.

    JSON is an object with the result: the text itself, @FILE for a file, or - for standard input. What is not given
    stays as it was.
    """
    if status is None and result is None:
        raise click.UsageError("give --status, the result as JSON, or both")
    fields = {"status": status} | ({"result": result} if result is not None else {})
    with reach(url, given_token) as remote:
        remote.request("command/update", deviceId=device_id, commandId=number, command=fields)
        row = remote.request("command/get", deviceId=device_id, commandId=number)["command"]
    print_result(row, form, f"command {number} of {printable(device_id)} is updated", str(number))


@notification.command(
    "send",
    epilog="""\b
Examples:
  hivewire notification send lamp-1 temperature '{"celsius":21.5}'
  hivewire notification send lamp-1 log @log.json""",
)
@device_argument
@click.argument("name")
@_parameters_argument
@output_option
@url_option
@token_option
def send_notification(
    device_id: str, name: str, parameters: Raw | None, form: str | None, url: str | None, given_token: str | None
) -> None:
    """Send the notification NAME of the device DEVICE to those that follow it.

    JSON is an object with its parameters: the text itself, @FILE for a file, or - for standard input.
    """
    sent = _insert(find_access(url, given_token), NOTIFICATION, device_id, name, parameters)
    print_result(sent, form, f"notification {sent['id']} of {printable(device_id)} is sent", str(sent["id"]))


def _insert(access: Access, kind: Kind, device_id: str, name: str, parameters: Raw | None, **asked: int | None) -> Row:
    """Insert a message; what was inserted, with what the gateway has set.

    When the connection ends before the answer, the request is sent once more. Its key lets the gateway insert it once.
    """
    given: Row = {kind.one: name} | ({"parameters": parameters} if parameters is not None else {})
    request = {"deviceId": device_id, kind.one: given, "idempotencyKey": secrets.token_hex(16), **asked}
    try:
        made = _request(access, f"{kind.one}/insert", request)[kind.one]
    except Closed:
        time.sleep(RETRY_SECONDS)
        made = _request(access, f"{kind.one}/insert", request)[kind.one]
    shown = None if parameters is None else json.loads(bytes(parameters))
    return {"id": made["id"], kind.one: name, "deviceId": device_id, "parameters": shown, **made}


def _request(access: Access, action: str, members: Row) -> Row:
    """The reply to a request over a connection of its own."""
    from hivewire.cli.remote import Remote

    with Remote(access.url) as remote:
        remote.authenticate(access)
        return remote.request(action, **members)


def _answer(access: Access, device_id: str, number: int, seconds: int) -> Row | None:
    """The command once its device has updated it; None when that takes longer. It outlives restarts of the gateway.

    Raises RemoteError when the command, the device or the right to see it ends.
    """
    end = time.monotonic() + seconds
    path = f"/api/rest/device/{quote(device_id, safe='')}/command/{number}/poll?waitTimeout="
    while True:
        left = max(0, end - time.monotonic())
        try:
            answer = access.ask("GET", path + str(min(POLL_SECONDS, math.ceil(left))))
            if answer.status != 204:
                return plain.object_of(plain.checked(answer))
        except (RemoteError, Unreachable) as error:
            if isinstance(error, RemoteError) and error.code < 500 and error.code != 429:
                raise
            time.sleep(min(left, RETRY_SECONDS * random.uniform(0.5, 1)))  # noqa: S311 - no secret
        if not left:
            return None


def _add_reading(group: click.Group, kind: Kind) -> None:
    """Give a group the commands that read what is stored."""
    one, many, example = kind.one, kind.many, kind.example

    @group.command(
        "list",
        help=f"List the {kind.what}, newest first.",
        epilog=f"""\b
Examples:
  hivewire {one} list lamp-1
  hivewire {one} list lamp-1 --name {example} --since 1h
  hivewire {one} list lamp-1 --take 1000 -o json | jq .parameters""",
    )
    @device_argument
    @click.option("--name", "names", multiple=True, help=f"Only {many} with this name; may be repeated.")
    @click.option("--since", metavar="TIME", help="Only those since then: 30m, 12h or 7d ago, or a time (UTC).")
    @click.option(
        "--take", type=WholeNumber(min=1), metavar="N", default=50, show_default=True, help="At most this many."
    )
    @output_option
    @with_gateway
    def list_(
        remote: Remote, device_id: str, names: tuple[str, ...], since: str | None, take: int, form: str | None
    ) -> None:
        first = moment(since, ago=True)
        asked = {"deviceId": device_id, "names": list(names) or None}
        asked["start"] = times.render(first - 1) if first is not None else None
        show(newest(remote, f"{one}/list", many, take, **asked), form, kind.columns, "id")

    @group.command(
        help=f"Show the {one} ID of the device DEVICE.",
        epilog=f"""\b
Examples:
  hivewire {one} get lamp-1 3646148317321741
  hivewire {one} get lamp-1 3646148317321741 -o json | jq .parameters""",
    )
    @device_argument
    @click.argument("number", type=WholeNumber(min=0), metavar="ID")
    @output_option
    @with_gateway
    def get(remote: Remote, device_id: str, number: int, form: str | None) -> None:
        show([remote.request(f"{one}/get", deviceId=device_id, **{f"{one}Id": number})[one]], form, kind.columns, "id")


_add_reading(command, COMMAND)
_add_reading(notification, NOTIFICATION)


def _watch(
    url: str | None,
    given_token: str | None,
    kind: Kind,
    devices: tuple[str, ...],
    networks: tuple[str, ...],
    types: tuple[str, ...],
    names: tuple[str, ...],
    since: str | None,
    form: str | None,
    updates: bool = False,
) -> None:
    """Print the messages that are asked for until Ctrl-C."""
    from hivewire.cli.message_watch import Selection, watch_messages

    if devices and (networks or types):
        raise click.UsageError("give DEVICE, or --network and --type, not both")
    access = find_access(url, given_token)
    places = NETWORK.ids(access, networks), TYPE.ids(access, types)
    wanted = Selection(list(dict.fromkeys(devices)), *places, list(names), updates)
    watch_messages(access, kind.one, wanted, since, form)


def _watch_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what both commands to watch take."""
    for add in (
        token_option,
        url_option,
        output_option,
        click.option("--since", metavar="POSITION", help="Resume after this position, instead of only what is new."),
        click.option("--name", "names", multiple=True, help="Only messages with this name; may be repeated."),
        types_option,
        networks_option,
        click.argument("devices", nargs=-1, metavar="[DEVICE]...", shell_complete=complete_devices),
    ):
        command = add(command)
    return command


_FORMS = """\b
On a terminal it prints a line for each message. Into a pipe it prints one JSON
object per line, with a `type` and the position from which to resume after it:
  {lines}
  {{"type":"bookmark","position":"..."}}     a newer position without a message
  {{"type":"reset"}}                         see below

\b
After a restart of the gateway it reconnects, and misses and repeats nothing
that is still stored; it reports this on standard error. If the gateway cannot
resume from the last position, it says why on standard error and prints `reset`
and everything that it still has. With several devices, some messages may come
again after --since, and none is missed."""


@command.command(
    "watch",
    epilog="""\b
Examples:
  hivewire command watch lamp-1 lamp-2
  hivewire command watch --network home --name set
  hivewire command watch --updates
  hivewire command watch lamp-1 | jq -c '.command | {command, parameters}'
  hivewire command watch lamp-1 --since "$(tail -1 log.json | jq -r .position)" >> log.json

\b
To the gateway, who follows the new commands of a DEVICE is that device: it
shows it as online meanwhile.

"""
    + _FORMS.format(lines='{"type":"insert","position":"...","command":{"id":...,"command":"set",...}}'),
)
@click.option("--updates", is_flag=True, help="How commands went, as devices tell, in place of new commands.")
@_watch_options
def watch_commands(url: str | None, given_token: str | None, updates: bool, **asked: Any) -> None:
    """Show commands as they come: of each DEVICE, or of all that you reach. Ctrl-C ends it."""
    _watch(url, given_token, COMMAND, updates=updates, **asked)


@notification.command(
    "watch",
    epilog="""\b
Examples:
  hivewire notification watch
  hivewire notification watch lamp-1 lamp-2 --name temperature
  hivewire notification watch --network home --type Cars
  hivewire notification watch lamp-1 | jq -c '[.notification.timestamp, .notification.parameters]'

"""
    + _FORMS.format(lines='{"type":"insert","position":"...","notification":{"id":...,...}}'),
)
@_watch_options
def watch_notifications(url: str | None, given_token: str | None, **asked: Any) -> None:
    """Show notifications as they come: of each DEVICE, or of all that you reach. Ctrl-C ends it."""
    _watch(url, given_token, NOTIFICATION, **asked)
