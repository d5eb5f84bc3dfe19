"""`hivewire watch`: follow configurations, also when the gateway restarts or a token expires."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import click

from hivewire.cli import contents
from hivewire.cli.configuration import current, current_options, layer_option, patterns_argument, reveal_option, shown
from hivewire.cli.errors import RemoteError
from hivewire.cli.following import Followed, Following, Item, note, run_and_say_where
from hivewire.cli.gateway import Access, find_access, since_option, snapshot_option, token_option, url_option
from hivewire.cli.lines import WIDEST, AlignedLines, Part
from hivewire.cli.output import local, output_option, print_row, printable, shorten
from hivewire_client.connection import Frame
from hivewire_protocol.nouns.subscription import parse_position


@click.command(
    epilog="""\b
Examples:
  hivewire watch
  hivewire watch 'limits.*' ports
  hivewire watch 'limits.*' | jq -r 'select(.type == "update") | .configuration.value'
  hivewire watch --no-snapshot --json
  hivewire watch --layer cold-chain
  hivewire watch banner --exec 'cat > banner.new && mv banner.new banner.txt'
  hivewire watch 'limits.*' --exec 'logger "$HIVEWIRE_OPERATION $HIVEWIRE_NAME"'
  hivewire watch --since "$(tail -1 changes.json | jq -r .position)" >> changes.json

\b
On a terminal it prints a line for each configuration and each change. Into a
pipe it prints one JSON object per line, as the gateway pushes it, with a `type`:
  {"type":"snapshot","configurations":[...],"last":true,"position":"..."}
  {"type":"update","position":"...","revision":7,"operation":"put",
   "modified":"...","modifiedBy":"...","description":"...",
   "configuration":{"name":"...","value":"...","entityVersion":3}}
  {"type":"bookmark","position":"..."}   a newer position without a change
  {"type":"reset"}                       discard the state: a snapshot follows
You can resume from any line with a `position`. Lines without one, such as all
but the last of a transaction ("more":true) or of a large snapshot
("last":false), are printed only together with the line that has the position.

\b
With --exec CMD the value is on the standard input of CMD, and HIVEWIRE_NAME,
HIVEWIRE_VERSION, HIVEWIRE_OPERATION (put or delete) and, in a layer,
HIVEWIRE_LAYER are in its environment.
The shell does not run what is in them; quote them, as in "$HIVEWIRE_NAME". Whoever
may write chooses the names, and `/` and `..` are allowed: make no path of a name.
After a delete the input is empty. One CMD runs at a time; if it fails, the watch
ends.

\b
After a restart of the gateway it reconnects, and misses and repeats nothing;
it reports this on standard error. If the gateway cannot resume from the last
position, it says why on standard error, prints `reset` and the whole state (with --no-snapshot
only `reset`).""",
)
@patterns_argument
@layer_option
@reveal_option
@since_option
@snapshot_option
@click.option("--no-conflate", is_flag=True, help="Every change, even if this command is too slow to read them.")
@click.option("--exec", "command", metavar="CMD", help="Run CMD in a shell for each configuration and each change.")
@current_options
@output_option
@url_option
@token_option
def watch(
    url: str | None,
    given_token: str | None,
    patterns: tuple[str, ...],
    layer: str | None,
    reveal: bool,
    since: str | None,
    no_snapshot: bool,
    no_conflate: bool,
    command: str | None,
    at_least: int | None,
    fresh: bool,
    form: str | None,
) -> None:
    """Show configurations and their changes: all that you may read, or those that match a PATTERN.

    A PATTERN is a name, or a prefix*. --layer '*' shows those of all layers. Ctrl-C ends it.
    """
    wanted = {
        "names": list(patterns) or None,
        "layer": layer,
        "reveal": reveal or None,
        "snapshot": False if no_snapshot else None,
        "conflate": False if no_conflate else None,
        **current(at_least, fresh),
    }
    form = form or ("table" if sys.stdout.isatty() else "json")
    show = Lines().show if form == "table" else partial(_print, form)
    access = find_access(url, given_token)
    if command is not None:
        show = partial(_execute, command, access, reveal)
    run_and_say_where(Watcher(access, "configuration", wanted, since, show))


class Watcher(Following):
    """Follows what has a state: configurations, devices and their like, by the `noun` of its actions."""

    def __init__(
        self, access: Access, noun: str, wanted: Item, since: str | None, show: Callable[[Item], None]
    ) -> None:
        super().__init__(access, show)
        self.position = since
        self._subscriptions.append(_State(self, noun, wanted, since))


class _State(Followed):
    """A subscription to what has a state."""

    def since(self, subject: str | None) -> str | None:
        """The position; none for presence, which is in no log."""
        return None if self.members.get("presence") else super().since(subject)

    def begin(self, reply: Item) -> None:
        """The reply; where changes follow at once, it has the position before them."""
        super().begin(reply)
        if self.mode == "live":
            self._following.push([{"type": "bookmark", "position": reply["position"]}], reply["position"])

    def take(self, frame: Frame) -> None:
        """Take a push. Presence has no position and is shown at once; other groups only as a whole."""
        if frame.action == f"{self.noun}/presence":
            self._following.push(self.items([frame]))
        else:
            super().take(frame)

    def apply(self, frames: list[Frame], position: str, *, replaces: bool) -> None:
        """Show a group."""
        items = self.items(frames)
        if self.members.get("snapshot") is False:  # after a reset only the position counts
            items = [_bookmark(item) if item["type"] == "snapshot" else item for item in items]
        items = [item for item in items if item["type"] != "bookmark" or item.get("position") is not None]
        if replaces and (frames[0].reset or self.mode == "reset"):
            items.insert(0, {"type": "reset"})
        if self.refused_since is not None:
            note(f"{why_reset(self.refused_since, position)}: changes in between may be missing")
            self.refused_since = None
        self._following.push(items, position)


def _bookmark(item: Item) -> Item:
    return {"type": "bookmark", "position": item.get("position")}


def _execute(command: str, access: Access, reveal: bool, item: Item) -> None:
    """Run the command for each configuration of a message, one after the other. Raises ClickException if it fails."""
    found = item.get("configurations") or ([item["configuration"]] if "configuration" in item else [])
    for resource in found:
        given = {
            "HIVEWIRE_OPERATION": item.get("operation", "put"),
            "HIVEWIRE_NAME": resource["name"],
            "HIVEWIRE_VERSION": str(resource["entityVersion"]),
        }
        if "layer" in resource:
            given["HIVEWIRE_LAYER"] = resource["layer"]
        value = (
            b"" if given["HIVEWIRE_OPERATION"] == "delete" else _content(access, resource, item.get("revision"), reveal)
        )
        if value is None:
            continue
        done = subprocess.run(command, shell=True, input=value, env=os.environ | given, check=False)  # noqa: S602
        if done.returncode:
            name = shorten(resource["name"], 80)
            raise click.ClickException(f"the command failed with {done.returncode} for {name}")


def _content(access: Access, resource: Item, revision: int | None, reveal: bool) -> bytes | None:
    """The content, also one that a message leaves out; None when it was deleted since, which a later message says, and
    when it is secret or a long one of a layer."""
    if resource["value"] is not None:
        return str(resource["value"]).encode()
    if resource.get("secret"):
        note(f"{shorten(resource['name'], 80)} is secret, so the command did not run for it")
        return None
    if "layer" in resource:
        note(f"{shorten(resource['name'], 80)} is over 65,536 characters, so the command did not run for it")
        return None
    try:
        return _fetch(access, resource["name"], revision, reveal)
    except RemoteError as error:
        if error.code != 404:
            raise
        return None


def _fetch(access: Access, name: str, revision: int | None, reveal: bool) -> bytes:
    """A content by HTTP, with a new token if the command before has run for longer than the old one lived."""
    try:
        return contents.get(access.url, access.token, name, revision, reveal=reveal)
    except RemoteError as error:
        if error.code != 401:
            raise
        access.renew()
    return contents.get(access.url, access.token, name, revision, reveal=reveal)


def _print(form: str, item: Item) -> None:
    """Print a message as it is; of form `value` each value that it brings, and nothing for a delete."""
    if form != "value":
        print_row(item, form, "")
        return
    changed = [item["configuration"]] if item["type"] == "update" and item["operation"] == "put" else []
    for resource in item.get("configurations", changed):
        print_row(resource, form, shown(resource))


def why_reset(asked: str, current: str) -> str:
    """Why a position could not be resumed, as the gateway's current position shows."""
    (asked_epoch, asked_revision), (epoch, revision) = parse_position(asked), parse_position(current)
    if asked_epoch != epoch:
        return "the gateway's data were replaced since that position"
    if asked_revision > revision:
        return "that position is ahead of the gateway's data"
    return "the gateway's log does not go back to that position"


class Line(NamedTuple):
    """The parts of a line that are whole, and those that may be cut."""

    whole: list[Part]
    rest: list[Part]


class StateLines(AlignedLines):
    """Prints a state and its changes for people, each on a line. A subclass says how: `many` is the member with the
    state."""

    many: str

    def __init__(self) -> None:
        super().__init__()
        self._in_snapshot = False

    def measure(self, row: Item) -> None:
        """Take the widths of one of many, before they are printed."""
        raise NotImplementedError

    def parts(self, row: Item) -> Line:
        """The line of one of the state."""
        raise NotImplementedError

    def changed(self, change: Item) -> Line:
        """What is behind the time and the author of a change."""
        raise NotImplementedError

    def show(self, item: Item) -> None:
        """Print a message; a bookmark prints nothing."""
        if item["type"] == "snapshot":
            self._snapshot(item)
        elif item["type"] in ("update", "change"):
            when = f"{local(item['modified'])}  {self.wide('who', item['modifiedBy'] or 'the gateway')}  "
            line = self.changed(item)
            self.line((when, "dim"), *line.whole, rest=line.rest)
        elif item["type"] == "reset":
            self.line(("reset: the following state replaces everything above", "bold yellow"))

    def _snapshot(self, item: Item) -> None:
        if not self._in_snapshot:
            self.line(("state:", "bold"))
        for row in item[self.many]:
            self.measure(row)
        for row in item[self.many]:
            line = self.parts(row)
            self.line("  ", *line.whole, rest=line.rest)
        self._in_snapshot = not item["last"]
        if item["last"]:
            self.line(("changes:", "bold"))


class Lines(StateLines):
    """Prints configurations. On a terminal long names are cut to a third of it, so that something of the value is
    seen."""

    many = "configurations"

    def measure(self, row: Item) -> None:
        """Name and version."""
        self.wide("name", self.cut(_called(row), WIDEST // 2, 3))
        self.wide("version", str(row["entityVersion"]))

    def parts(self, row: Item) -> Line:
        """Name, version and value."""
        return Line(self._version(row), [_value(row)])

    def changed(self, change: Item) -> Line:
        """The same, and why."""
        why: list[Part] = [("  " + printable(change["description"]), "dim")] if change["description"] else []
        named = self._version(change["configuration"])
        if change["operation"] == "delete":
            return Line([*named, ("deleted", "bold red")], why)
        return Line(named, [(_value(change["configuration"]), "green"), *why])

    def _version(self, resource: Item) -> list[Part]:
        """Name and version of a configuration."""
        version = f"  version {self.wide('version', str(resource['entityVersion']))}  "
        return [(self.wide("name", self.cut(_called(resource), WIDEST // 2, 3)), "bold"), version]


def _value(resource: Item) -> str:
    return printable(shown(resource)[:1_000])


def _called(resource: Item) -> str:
    """Its name, behind the layer that it is in."""
    return f"{resource['layer']}/{resource['name']}" if "layer" in resource else str(resource["name"])
