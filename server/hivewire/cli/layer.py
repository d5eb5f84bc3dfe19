"""`hivewire layer`: configurations for some devices, with a rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hivewire.cli.configuration import affected, expect_option, write
from hivewire.cli.device import complete_devices
from hivewire.cli.errors import RefusedByGateway
from hivewire.cli.gateway import WOULD, completion, dry_run_option, with_gateway
from hivewire.cli.given import key_and_value
from hivewire.cli.grouping import NETWORK, TYPE, networks_option, types_option
from hivewire.cli.help import Group, WholeNumber
from hivewire.cli.output import Columns, Text, members, output_option, print_result, printable, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote


def _target(target: dict[str, Any]) -> str:
    """A target as one line."""
    words = []
    for name, value in target.items():
        if name == "labels":
            words += [
                f"{label}={'|'.join(given)}" if given is not None else f"no {label}" for label, given in value.items()
            ]
        else:
            shown = ",".join(map(str, value)) if isinstance(value, list) else f"{value:g}"
            words.append(f"{name}: {shown}")
    return ", ".join(words) or "all devices"


COLUMNS: Columns = {
    "layer": Text(lambda row: row["layer"]),
    "rank": lambda row: str(row["rank"]),
    "configurations": lambda row: str(row["configurations"]),
    "devices": lambda row: str(row["devices"]),
    "target": Text(lambda row: _target(row["target"])),
}


def _names(remote: Remote, beginning: str) -> list[str]:
    return [row["layer"] for row in remote.request("layer/list")["layers"]]


layer_argument = click.argument("name", metavar="LAYER", shell_complete=completion(_names))


@click.group(cls=Group, no_args_is_help=True)
def layer() -> None:
    """Manage layers: configurations for some devices; the value of the highest layer is used."""


@layer.command("list", epilog="\b\nExamples:\n  hivewire layer list")
@output_option
@with_gateway
def list_(remote: Remote, form: str | None) -> None:
    """List the layers by rank."""
    show(remote.request("layer/list")["layers"], form, COLUMNS, "layer")


@layer.command(
    epilog="""\b
Examples:
  hivewire layer put cold-chain 500 --label site=bonn --label site=ulm
  hivewire layer put canary 900 --percent 5
  hivewire put baud 9600 --layer cold-chain"""
)
@layer_argument
@click.argument("rank", type=WholeNumber(min=1, max=9_999))
@networks_option
@types_option
@click.option("--device", "devices", multiple=True, metavar="ID", shell_complete=complete_devices, help="This device.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL=VALUE",
    help="Devices with this label; several values: one of them.",
)
@click.option("--without", multiple=True, metavar="LABEL", help="Devices that do not have this label.")
@click.option("--percent", type=float, help="This percentage of the devices, always the same ones.")
@expect_option
@dry_run_option
@output_option
@with_gateway
def put(
    remote: Remote,
    name: str,
    rank: int,
    networks: tuple[str, ...],
    types: tuple[str, ...],
    devices: tuple[str, ...],
    labels: tuple[str, ...],
    without: tuple[str, ...],
    percent: float | None,
    expect: int | None,
    dry_run: bool,
    form: str | None,
) -> None:
    """Create or change a layer: its RANK, and which devices have it. Without an option all devices have it.

    All kinds of options must hold; of several of one kind, one.
    """
    wanted: dict[str, list[str] | None] = {}
    for label, value in map(key_and_value, labels):
        wanted[label] = [*(wanted.get(label) or ()), value]
    target = {
        "networkIds": [NETWORK.find(remote, each)["id"] for each in networks] or None,
        "deviceTypeIds": [TYPE.find(remote, each)["id"] for each in types] or None,
        "deviceIds": list(devices) or None,
        "labels": wanted | dict.fromkeys(without) or None,
        "percent": percent,
    }
    given = {member: value for member, value in target.items() if value is not None}
    asked = {"target": given, "entityVersion": expect, "dryRun": dry_run or None}
    reply = write(remote, "layer/put", layer=name, rank=rank, **asked)
    revision, devices = reply.get("revision"), reply["devices"]
    if dry_run:
        words = f"{WOULD} a layer of {devices} devices"
    else:
        words = f"has rank {rank} (revision {revision}); devices that have it: {devices}"
    print_result(members(reply), form, f"{printable(name)} {words}", str(revision or ""))


@layer.command(epilog="\b\nExamples:\n  hivewire layer delete canary --force")
@layer_argument
@click.option("--force", is_flag=True, help="Delete its configurations too.")
@dry_run_option
@output_option
@with_gateway
def delete(remote: Remote, name: str, force: bool, dry_run: bool, form: str | None) -> None:
    """Delete a layer. One that holds configurations is deleted with --force only."""
    try:
        reply = write(remote, "layer/delete", layer=name, force=force or None, dryRun=dry_run or None)
    except RefusedByGateway as error:
        if force or " holds " not in error.message:  # force is no help against an open rollout
            raise
        raise RefusedByGateway(f"{error.message}\n  --force deletes them too", error.code) from None
    revision = reply.get("revision")
    words = f"{WOULD} deleted{affected(reply)}" if dry_run else f"is deleted (revision {revision})"
    print_result({"layer": name, **members(reply)}, form, f"{printable(name)} {words}", str(revision or ""))
