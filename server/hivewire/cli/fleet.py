"""`hivewire fleet`: how many devices have applied their configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hivewire.cli.gateway import find_access, token_option, url_option, with_gateway
from hivewire.cli.given import key_and_value
from hivewire.cli.help import Group, WholeNumber
from hivewire.cli.output import Columns, Text, members, output_option, print_result, printable, show

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

STATES = ("applied", "refused", "pending", "local")

COUNTS: Columns = {
    name: lambda row, name=name: str(row[name])  # type: ignore[misc]
    for name in ("devices", "online", *STATES)
}

ROWS: Columns = {
    "device": lambda row: row["deviceId"],
    "state": lambda row: row["state"],
    "online": lambda row: "online" if row["online"] else "offline",
    "labels": Text(lambda row: " ".join(f"{label}={value}" for label, value in row["labels"].items())),
    "errors": Text(lambda row: ", ".join(f"{name}: {error}" for name, error in row["errors"].items())),
}

_labels = click.option("--label", "labels", multiple=True, metavar="LABEL=VALUE", help="Only devices with this label.")
_rollout = click.option("--rollout", type=WholeNumber(min=1), metavar="NUMBER", help="Only those that see it.")


def _asked(labels: tuple[str, ...], rollout: int | None) -> dict[str, Any]:
    wanted: dict[str, list[str]] = {}
    for label, value in map(key_and_value, labels):
        wanted.setdefault(label, []).append(value)
    return {"target": {"labels": wanted} if wanted else None, "rollout": rollout}


@click.group(cls=Group, no_args_is_help=True)
def fleet() -> None:
    """See which devices have applied their configurations."""


@fleet.command(epilog="\b\nExamples:\n  hivewire fleet count\n  hivewire fleet count --label site=bonn --rollout 17")
@_labels
@_rollout
@output_option
@with_gateway
def count(remote: Remote, labels: tuple[str, ...], rollout: int | None, form: str | None) -> None:
    """Count devices by the worst state of their configurations."""
    show([members(remote.request("fleet/count", **_asked(labels, rollout)))], form, COUNTS, "devices")


@fleet.command(
    "list",
    epilog="\b\nExamples:\n  hivewire fleet list --state refused\n  hivewire fleet list -o value",
)
@_labels
@_rollout
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@output_option
@with_gateway
def list_(remote: Remote, labels: tuple[str, ...], rollout: int | None, state: str | None, form: str | None) -> None:
    """List devices with their states, by id."""
    found, after = [], None
    while page := remote.request("fleet/list", **_asked(labels, rollout), state=state, after=after)["devices"]:
        found += page
        after = page[-1]["deviceId"]
    show(found, form, ROWS, "device")


@fleet.command(epilog="\b\nExamples:\n  hivewire fleet watch\n  hivewire fleet watch --rollout 17")
@_labels
@_rollout
@output_option
@url_option
@token_option
def watch(
    url: str | None, given_token: str | None, labels: tuple[str, ...], rollout: int | None, form: str | None
) -> None:
    """Print a line whenever the counts change, until Ctrl-C."""
    from hivewire.cli.fleet_watch import CountsWatcher

    def show(counts: dict[str, Any]) -> None:
        line = ", ".join(f"{counts[name]} {name}" for name in ("devices", "online", *STATES))
        line += "".join(f"; {each['devices']} × {printable(each['error'])}" for each in counts["errors"])
        print_result(counts, form, line, str(counts["devices"]))

    CountsWatcher(find_access(url, given_token), _asked(labels, rollout), show).run()
