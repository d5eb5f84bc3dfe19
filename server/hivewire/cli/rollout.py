"""`hivewire rollout`: new values that show themselves to ever more devices of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from hivewire.cli.configuration import write
from hivewire.cli.gateway import WOULD, dry_run_option, with_gateway
from hivewire.cli.given import key_and_value
from hivewire.cli.help import Group, WholeNumber
from hivewire.cli.output import (
    Columns,
    Row,
    Text,
    local,
    members,
    output_option,
    print_result,
    printable,
    show,
    show_one,
)

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote


def _numbers(row: Row) -> str:
    """The counts that are not 0."""
    return ", ".join(f"{value} {name}" for name, value in row["counts"].items() if value)


COLUMNS: Columns = {
    "rollout": lambda row: str(row["rollout"]),
    "layer": Text(lambda row: row["layer"]),
    "names": Text(lambda row: ", ".join(each["name"] for each in row["changes"])),
    "state": lambda row: row["state"],
    "step": lambda row: f"{row['step']} of {len(row['steps'])}",
    "since": lambda row: local(row["since"]),
    "devices": _numbers,
    "reason": Text(lambda row: row["reason"] or ""),
}

GATES: dict[str, Callable[[str], object]] = {
    "success": float,
    **dict.fromkeys(("failures", "minimum", "wait", "limit", "silent"), int),
    "on-failure": str,
}
"""What a step may change, and how to read it."""

PAGE = 20

_number_argument = click.argument("number", metavar="NUMBER", type=WholeNumber(min=1))


@click.group(cls=Group, no_args_is_help=True)
def rollout() -> None:
    """Roll out new values of a layer to some devices first."""


@rollout.command(
    epilog="""\b
Examples:
  hivewire rollout start cold-chain baud=9600 --steps 1,10,100
  hivewire rollout start global net.mtu=1400 --steps 5,100 --success 99 --wait 600
  hivewire rollout start global net.mtu=1400 --gate 1:minimum=1 --gate 2:minimum=5 --gate 3:wait=3600
  hivewire rollout start global --undo 17 --steps 100"""
)
@click.argument("layer")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--delete", "deleted", multiple=True, metavar="NAME", help="Delete this name.")
@click.option(
    "--steps", default="1,10,100", show_default=True, help="Ascending percentages of the devices, the last one 100."
)
@click.option("--undo", type=WholeNumber(min=1), metavar="NUMBER", help="Roll out what undoes this rollout.")
@click.option("--success", type=float, help="Percent of the reached devices that must have applied; default 95.")
@click.option("--failures", type=WholeNumber(min=0), metavar="N", help="Failed devices that are tolerated; default 2.")
@click.option("--minimum", type=WholeNumber(min=0), metavar="N", help="Devices to be reached; default 5.")
@click.option("--wait", type=WholeNumber(min=0), metavar="SECONDS", help="Shortest time of a step; default 60.")
@click.option("--limit", type=WholeNumber(min=1), metavar="SECONDS", help="Longest time of a step; default 86400.")
@click.option("--silent", type=WholeNumber(min=1), metavar="SECONDS", help="Failed without an answer; default 120.")
@click.option("--on-failure", type=click.Choice(["hold", "rollback"]), help="What happens then; default hold.")
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="STEP:NAME=VALUE",
    help="Another value from this step on, by the name of its option. Can be repeated.",
)
@dry_run_option
@output_option
@with_gateway
def start(
    remote: Remote,
    layer: str,
    values: tuple[str, ...],
    deleted: tuple[str, ...],
    steps: str,
    gates: tuple[str, ...],
    undo: int | None,
    dry_run: bool,
    form: str | None,
    on_failure: str | None,
    **gate: Any,
) -> None:
    """Roll out new values of LAYER: to more devices with each step, while enough of them apply them."""
    changes = [{"operation": "put", "name": name, "value": value} for name, value in map(key_and_value, values)]
    changes += [{"operation": "delete", "name": name} for name in deleted]
    if bool(changes) == (undo is not None):
        raise click.UsageError("give either NAME=VALUE and --delete, or --undo")
    given = {name: value for name, value in (gate | {"onFailure": on_failure}).items() if value is not None}
    asked = {
        "changes": changes or None,
        "undo": undo,
        "steps": _steps(steps, gates),
        "gate": given or None,
        "dryRun": dry_run or None,
    }
    reply = write(remote, "rollout/start", layer=layer, **asked)
    if dry_run:
        words = f"this rollout {WOULD} one for {reply['affects']['devices']} devices"
    else:
        words = f"rollout {reply['rollout']} of {printable(layer)} is started (revision {reply['revision']})"
    print_result(members(reply), form, words, "" if dry_run else str(reply["rollout"]))


def _steps(percents: str, gates: tuple[str, ...]) -> list[dict[str, Any]]:
    """The steps with these percentages, and their gates."""
    try:
        found: list[dict[str, Any]] = [{"percent": float(each)} for each in percents.split(",")]
    except ValueError:
        raise click.UsageError(f"--steps {percents}: give percentages such as 1,10,100") from None
    right = [*sorted({each["percent"] for each in found if 0 < each["percent"] < 100}), 100]
    if [each["percent"] for each in found] != right:
        suggestion = ",".join(f"{each:g}" for each in right)
        raise click.UsageError(f"--steps {percents}: they must ascend to 100, as in --steps {suggestion}")
    for given in gates:
        number, _, gate = given.partition(":")
        name, _, value = gate.partition("=")
        try:
            step = dict(enumerate(found, 1))[int(number)]
            step.setdefault("gate", {})["onFailure" if name == "on-failure" else name] = GATES[name](value)
        except (KeyError, ValueError):
            wanted = f"give a step from 1 to {len(found)}, and one of {', '.join(GATES)}, such as 1:minimum=1"
            raise click.UsageError(f"--gate {given}: {wanted}") from None
    return found


@rollout.command("list", epilog="\b\nExamples:\n  hivewire rollout list\n  hivewire rollout list --state held")
@click.option("--state", help="Only those in this state, such as running or held.")
@click.option("--take", type=WholeNumber(min=1), metavar="N", default=20, show_default=True, help="At most this many.")
@output_option
@with_gateway
def list_(remote: Remote, state: str | None, take: int, form: str | None) -> None:
    """List rollouts, the newest first."""
    show(_newest(remote, state, take), form, COLUMNS, "rollout")


def _newest(remote: Remote, state: str | None, most: int) -> Iterator[Row]:
    before: int | None = None
    while most > 0:
        asked = min(most, PAGE)
        page = remote.request("rollout/list", state=state, before=before, take=asked)["rollouts"]
        yield from page
        if len(page) < asked:
            return
        most, before = most - asked, page[-1]["rollout"]


@rollout.command(epilog="\b\nExamples:\n  hivewire rollout status 17\n  hivewire rollout status 17 --json | jq .counts")
@_number_argument
@output_option
@with_gateway
def status(remote: Remote, number: int, form: str | None) -> None:
    """Show a rollout: its state, its step and its devices."""
    show_one(remote.request("rollout/get", rollout=number)["rollout"], form, COLUMNS, "state")


@rollout.command(epilog="\b\nExamples:\n  hivewire rollout hold 17")
@_number_argument
@output_option
@with_gateway
def hold(remote: Remote, number: int, form: str | None) -> None:
    """Reach no other device; those that were reached keep the new values."""
    _change(remote, "hold", "is held", number, form)


@rollout.command(epilog="\b\nExamples:\n  hivewire rollout resume 17\n  hivewire rollout resume 17 --step 3")
@_number_argument
@click.option("--step", type=WholeNumber(min=1), metavar="N", help="Go to this step, whatever the gates say.")
@output_option
@with_gateway
def resume(remote: Remote, number: int, step: int | None, form: str | None) -> None:
    """Let a held rollout go on. Failures so far are forgiven."""
    _change(remote, "resume", "goes on", number, form, step=step)


@rollout.command(epilog="\b\nExamples:\n  hivewire rollout rollback 17")
@_number_argument
@output_option
@with_gateway
def rollback(remote: Remote, number: int, form: str | None) -> None:
    """End a rollout: its devices get back what the layer says."""
    _change(remote, "rollback", "is rolled back", number, form)


def _change(remote: Remote, what: str, done: str, number: int, form: str | None, **more: Any) -> None:
    reply = write(remote, f"rollout/{what}", rollout=number, **more)
    print_result(
        members(reply), form, f"rollout {number} {done} (revision {reply['revision']})", str(reply["revision"])
    )
