"""`hivewire device`: devices, by the id that their client chose."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from msgspec import Raw

from hivewire.cli.device_configuration import adopt, effective, label
from hivewire.cli.errors import RemoteError
from hivewire.cli.gateway import (
    WOULD,
    completion,
    dry_run_option,
    find_access,
    since_option,
    snapshot_option,
    token_option,
    url_option,
    with_gateway,
)
from hivewire.cli.given import JsonObject
from hivewire.cli.grouping import (
    NETWORK,
    TYPE,
    WATCHED,
    Names,
    Noun,
    networks_option,
    types_option,
)
from hivewire.cli.help import Group
from hivewire.cli.listing import listed
from hivewire.cli.output import Columns, Row, Text, local, output_option, print_result, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

COLUMNS: Columns = {
    "device": lambda row: row["id"],
    "name": Text(lambda row: row["name"]),
    "network": Text(lambda row: str(row["networkId"])),  # their names, where there is a gateway to ask
    "type": Text(lambda row: str(row["deviceTypeId"])),
    "blocked": lambda row: "blocked" if row["isBlocked"] else "",
    "data": Text(lambda row: json.dumps(row["data"], ensure_ascii=False) if row["data"] is not None else ""),
}

PRESENCE: Columns = {
    "device": COLUMNS["device"],
    "online": lambda row: "online" if row["online"] else "offline",
    "last seen": lambda row: local(row["lastSeen"]),
    "name": COLUMNS["name"],
}


def _columns(remote: Remote) -> Columns:
    """The columns with the names of networks and device types, as far as the caller may see them."""
    networks, types = Names(remote, NETWORK), Names(remote, TYPE)
    named: Columns = {
        "network": Text(lambda row: networks(row["networkId"])),
        "type": Text(lambda row: types(row["deviceTypeId"])),
    }
    return {**COLUMNS, **named}


def _ids(remote: Remote, beginning: str) -> list[str]:
    """The ids of the first devices."""
    return [row["id"] for row in remote.request("device/list", take=FIRST)["devices"]]


FIRST = 1_000
"""Devices whose ids a shell completes."""

complete_devices = completion(_ids)
_id_argument = click.argument("device_id", metavar="ID", shell_complete=complete_devices)
device_argument = click.argument("device_id", metavar="DEVICE", shell_complete=complete_devices)
_presence_option = click.option(
    "--presence", is_flag=True, help="Show who is online (something waits for its commands), and was when last."
)
_in_network, _of_type = completion(NETWORK.names), completion(TYPE.names)


@click.group(cls=Group, no_args_is_help=True)
def device() -> None:
    """Manage devices: each belongs to a network and has a device type."""


@device.command(
    "list",
    epilog="""\b
Examples:
  hivewire device list
  hivewire device list 'Lamp%' --network home
  hivewire device list --presence
  hivewire device list --json | jq -r 'select(.isBlocked) | .id'""",
)
@click.argument("pattern", required=False)
@click.option("--network", metavar="NAME", shell_complete=_in_network, help="Only devices in this network.")
@_presence_option
@output_option
@with_gateway
def list_(remote: Remote, pattern: str | None, network: str | None, presence: bool, form: str | None) -> None:
    """List devices: all that you may see, or those whose names match PATTERN (% is any characters, _ is one)."""
    asked = {"namePattern": pattern, "networkName": network, "presence": presence}
    show(listed(remote, "device/list", "devices", **asked), form, PRESENCE if presence else _columns(remote), "device")


@device.command(
    epilog="""\b
Examples:
  hivewire device get lamp-1
  hivewire device get lamp-1 -o json | jq .data
  hivewire device get lamp-1 --presence"""
)
@_id_argument
@_presence_option
@output_option
@with_gateway
def get(remote: Remote, device_id: str, presence: bool, form: str | None) -> None:
    """Show the device ID."""
    found = remote.request("device/get", deviceId=device_id, presence=presence)["device"]
    show([found], form, PRESENCE if presence else _columns(remote), "device")


@device.command(
    epilog="""\b
Examples:
  hivewire device put lamp-1 --name "Hall lamp" --network home --type lamp
  hivewire device put lamp-1 --data '{"room":"hall"}'
  hivewire device put lamp-1 --block"""
)
@_id_argument
@click.option("--name", help="What people call it; a new device is called ID without this.")
@click.option(
    "--data", type=JsonObject(), help="A JSON object to keep with it, @FILE, or - for standard input; null for none."
)
@click.option(
    "--network",
    metavar="NAME",
    shell_complete=_in_network,
    help="Its network; a new device goes to your first one without this.",
)
@click.option(
    "--type",
    "device_type",
    metavar="NAME",
    shell_complete=_of_type,
    help="Its type; a new device has the first one without this.",
)
@click.option("--block/--unblock", "blocked", default=None, help="Mark it as blocked, or not.")
@dry_run_option
@output_option
@with_gateway
def put(
    remote: Remote,
    device_id: str,
    name: str | None,
    data: Raw | None,
    network: str | None,
    device_type: str | None,
    blocked: bool | None,
    dry_run: bool,
    form: str | None,
) -> None:
    """Create the device ID, or change what the options say."""
    current = _current(remote, device_id)
    fields: dict[str, Any] = {
        "name": name if name is not None or current is not None else device_id,
        "data": data if data is not None else current and current["data"],
        "networkId": NETWORK.find(remote, network)["id"] if network is not None else None,
        "deviceTypeId": TYPE.find(remote, device_type)["id"] if device_type is not None else None,
        "isBlocked": blocked,
    }
    remote.request("device/save", deviceId=device_id, device=fields, dryRun=dry_run or None)
    done = "created" if current is None else "changed"
    if dry_run:
        print_result({"id": device_id}, form, f"{device_id} {WOULD} {done}", device_id)
        return
    made = remote.request("device/get", deviceId=device_id)["device"]
    print_result(made, form, f"{device_id} is {done}", device_id)


def _current(remote: Remote, device_id: str) -> Row | None:
    """The device as it is; None when there is none, or none within reach, which the gateway then says of the save."""
    try:
        found: Row = remote.request("device/get", deviceId=device_id)["device"]
    except RemoteError as error:
        if error.code not in (403, 404):
            raise
        return None
    return found


@device.command(
    epilog="""\b
Examples:
  hivewire device delete lamp-1"""
)
@_id_argument
@dry_run_option
@output_option
@with_gateway
def delete(remote: Remote, device_id: str, dry_run: bool, form: str | None) -> None:
    """Delete the device ID, and with it its commands and notifications."""
    remote.request("device/delete", deviceId=device_id, dryRun=dry_run or None)
    print_result({"id": device_id}, form, f"{device_id} {WOULD if dry_run else 'is'} deleted", device_id)


@device.command(
    epilog="""\b
Examples:
  hivewire device revoke lamp-1
  hivewire token --device lamp-1 --expires 365d > lamp-1.token      (a new one)"""
)
@_id_argument
@dry_run_option
@output_option
@with_gateway
def revoke(remote: Remote, device_id: str, dry_run: bool, form: str | None) -> None:
    """End all tokens of the device ID, and close its connections. It needs a new token.

    Deleting a device does not end its tokens: they count for a new device of the same id.
    """
    remote.request("device/revoke", deviceId=device_id, dryRun=dry_run or None)
    words = "would end" if dry_run else "have ended"
    print_result({"id": device_id}, form, f"the tokens of {device_id} {words}", device_id)


DEVICE = Noun("device", "device", "device", "device", "devices", "lamp-1")


@device.command(
    epilog=DEVICE.examples("watch", "watch lamp-1 --json", "watch --network home --type lamp", "watch --presence")
    + "\n"
    + WATCHED
)
@click.argument("device_id", metavar="[ID]", required=False, shell_complete=complete_devices)
@networks_option
@types_option
@click.option("--presence", is_flag=True, help="Show who is online, and who comes and goes.")
@since_option
@snapshot_option
@output_option
@url_option
@token_option
def watch(
    url: str | None,
    given_token: str | None,
    device_id: str | None,
    networks: tuple[str, ...],
    types: tuple[str, ...],
    presence: bool,
    since: str | None,
    no_snapshot: bool,
    form: str | None,
) -> None:
    """Show devices and their changes: all that you may see, or the device ID. Ctrl-C ends it."""
    from hivewire.cli.fleet_watch import watch_fleet

    if presence and since is not None:
        raise click.UsageError("give --presence or --since, not both: presence cannot be resumed")
    access = find_access(url, given_token)
    wanted = {
        "deviceId": device_id,
        "networkIds": NETWORK.ids(access, networks) or None,
        "deviceTypeIds": TYPE.ids(access, types) or None,
        "presence": presence or None,
        "snapshot": False if no_snapshot else None,
    }
    watch_fleet(access, DEVICE, wanted, since, form, _online if presence else _columns)


def _online(remote: Remote) -> Columns:
    return PRESENCE


device.add_command(adopt)
device.add_command(effective)
device.add_command(label)
