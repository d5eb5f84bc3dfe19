"""`hivewire device effective|label`: what a device should have, and its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hivewire.cli.configuration import patterns_argument, shown, write
from hivewire.cli.gateway import WOULD, dry_run_option, with_gateway
from hivewire.cli.given import key_and_value
from hivewire.cli.output import Columns, Text, members, output_option, print_result, printable, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

COLUMNS: Columns = {
    "name": Text(lambda row: row["name"]),
    "value": Text(lambda row: "" if row.get("layer", "") is None else shown(row)),  # only the device has it
    "layer": Text(lambda row: row.get("layer") or ""),  # what a device asks for itself has none
    "hides": Text(lambda row: ", ".join(row.get("hidden", ()))),
    "state": lambda row: row.get("state", ""),
    "reported": Text(lambda row: _reported(row.get("reported", {}))),
}


def _reported(reported: dict[str, Any]) -> str:
    return str(reported.get("error") or reported.get("value") or "")


@click.command(
    epilog="""\b
Examples:
  hivewire device effective lamp-1
  hivewire device effective lamp-1 'net.*'
  hivewire device effective lamp-1 --json | jq -c 'select(.state == "refused")'"""
)
@click.argument("device_id", metavar="DEVICE")
@patterns_argument
@output_option
@with_gateway
def effective(remote: Remote, device_id: str, patterns: tuple[str, ...], form: str | None) -> None:
    """Show what a device should have, the layer that each value is from, and what the device says about it."""
    reply = remote.request("device/effective", deviceId=device_id, names=list(patterns) or None)
    show(reply["configurations"], form, COLUMNS, "value")


@click.command(epilog="\b\nExamples:\n  hivewire device adopt lamp-1 brightness")
@click.argument("device_id", metavar="DEVICE")
@click.argument("name")
@dry_run_option
@output_option
@with_gateway
def adopt(remote: Remote, device_id: str, name: str, dry_run: bool, form: str | None) -> None:
    """Make what a device reported of NAME what it should have, in the layer of the device."""
    found = remote.request("device/effective", deviceId=device_id, names=[name])["configurations"]
    value = found[0].get("reported", {}).get("value") if found else None
    if value is None:
        raise click.ClickException(f"{printable(device_id)} has reported no value of {printable(name)}")
    asked = {"name": name, "value": value, "layer": f"device/{device_id}", "dryRun": dry_run or None}
    reply = write(remote, "configuration/put", **asked)
    how = f"{WOULD} {printable(value)}" if dry_run else f"is {printable(value)} (revision {reply['revision']})"
    words = f"{printable(name)} of {printable(device_id)} {how}"
    print_result(reply["configuration"], form, words, value)


@click.command(
    epilog="""\b
Examples:
  hivewire device label lamp-1
  hivewire device label lamp-1 site=bonn floor=2
  hivewire device label lamp-1 floor-            (removes it)"""
)
@click.argument("device_id", metavar="DEVICE")
@click.argument("labels", nargs=-1, metavar="[LABEL=VALUE|LABEL-]...")
@dry_run_option
@output_option
@with_gateway
def label(remote: Remote, device_id: str, labels: tuple[str, ...], dry_run: bool, form: str | None) -> None:
    """Show the labels of a device, or set and remove some."""
    reply = remote.request("device/label", deviceId=device_id)
    if labels:
        now = dict(reply["labels"])
        for each in labels:
            if each.endswith("-") and "=" not in each:
                now.pop(each[:-1], None)
            else:
                name, value = key_and_value(each)
                now[name] = value
        expected = reply["revision"]
        asked = {"labels": now, "revision": expected, "dryRun": dry_run or None}
        reply = write(remote, "device/label", deviceId=device_id, **asked)
    words = " ".join(f"{printable(name)}={printable(value)}" for name, value in reply["labels"].items())
    sentence = words or "no labels"
    if dry_run and labels:
        sentence = f"{printable(device_id)} {WOULD} " + (f"labelled {words}" if words else "without labels")
    print_result(members(reply), form, sentence, words)
