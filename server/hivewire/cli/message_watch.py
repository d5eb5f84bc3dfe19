"""`hivewire command watch` and `hivewire notification watch`: follow messages, also when the gateway restarts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from hivewire.cli.following import Followed, Following, Item, note, run_and_say_where
from hivewire.cli.gateway import Access
from hivewire.cli.lines import AlignedLines, Part
from hivewire.cli.output import as_json, print_row, printable
from hivewire.cli.watch import why_reset
from hivewire_client.connection import Frame
from hivewire_protocol.nouns.subscription import parse_position


class Selection(NamedTuple):
    """Which messages are wanted: of these devices, or else in these networks and of these types; with these names."""

    devices: list[str]
    networks: list[int]
    types: list[int]
    names: list[str]
    updates: bool

    def requests(self) -> list[Item]:
        """The members of the subscriptions: one for each device, because the API has no more in one."""
        common: Item = {"names": self.names or None, "returnUpdatedCommands": self.updates or None}
        if self.devices:
            return [{"deviceId": device, **common} for device in self.devices]
        return [{"networkIds": self.networks or None, "deviceTypeIds": self.types or None, **common}]


def watch_messages(access: Access, kind: str, wanted: Selection, since: str | None, form: str | None) -> None:
    """Print messages of a kind until Ctrl-C."""
    form = form or ("table" if sys.stdout.isatty() else "json")
    show = MessageLines(kind, one=len(wanted.devices) == 1).show if form == "table" else partial(_print, form, kind)
    run_and_say_where(MessageWatcher(access, kind, wanted.requests(), since, show))


class MessageWatcher(Following):
    """Follows messages by several subscriptions, each with a position of its own."""

    def __init__(
        self, access: Access, kind: str, wanted: list[Item], since: str | None, show: Callable[[Item], None]
    ) -> None:
        super().__init__(access, show)
        self.position = since
        self._kind = kind
        self._subscriptions += [_Messages(self, kind, {**each, "resumable": True}, since) for each in wanted]

    def entered(self) -> None:
        """Say that it waits, because a subscription to messages shows nothing at first."""
        if sys.stderr.isatty():
            note(f"connected, waiting for {self._kind}s; Ctrl-C ends it")

    def reached(self, last: str) -> str:
        """The position to resume from without missing anything: that of the subscription which is farthest behind.
        `last` is the one that was reached last."""
        reached = [each.position for each in self._subscriptions if each.position is not None]
        epochs = {parse_position(each)[0] for each in reached}
        if len(epochs) > 1:  # some still have to be told of the reset
            reached = [each for each in reached if parse_position(each)[0] != parse_position(last)[0]]
        return min(reached, key=lambda each: parse_position(each)[1])


class _Messages(Followed):
    """A subscription to messages."""

    _following: MessageWatcher

    def begin(self, reply: Item) -> None:
        """The reply, with the position from which it goes on."""
        super().begin(reply)
        if self.mode != "reset":  # else the first push says so
            self.position = str(reply["position"])
            self._following.push([], self._following.reached(self.position))

    def apply(self, frames: list[Frame], position: str, *, replaces: bool) -> None:
        """Show a message, and from where to resume after it."""
        items = self.items(frames)
        if frames[0].reset:
            if self.refused_since is not None:
                note(f"{why_reset(self.refused_since, position)}: messages in between may be missing")
            self._following.push([{"type": "reset"}])
        reached = self._following.reached(position)
        shown = [
            {"type": item["type"], "position": reached, **({self.noun: item[self.noun]} if self.noun in item else {})}
            for item in items
        ]
        self._following.push(shown, reached)


def _print(form: str, kind: str, item: Item) -> None:
    """Print a message as it is; of form `value` its parameters, or of an update its result."""
    if form != "value":
        print_row(item, form, "")
    elif kind in item:
        print_row(item, form, as_json(item[kind]["result" if item["type"] == "update" else "parameters"]))


class MessageLines(AlignedLines):
    """Prints each message for people: when, from which device unless there is only one, its name and what is in it."""

    def __init__(self, kind: str, *, one: bool) -> None:
        super().__init__()
        self._kind = kind
        self._one = one

    def show(self, item: Item) -> None:
        """Print a message; a bookmark prints nothing."""
        if item["type"] == "reset":
            self.line(("reset: what the gateway still has follows", "bold yellow"))
        elif self._kind in item:
            self._message(item[self._kind], updated=item["type"] == "update")

    def _message(self, message: Item, *, updated: bool) -> None:
        parts: list[Part] = [(_clock(message["lastUpdated" if updated else "timestamp"]) + "  ", "dim")]
        if not self._one:
            parts.append(self.wide("device", self.cut(message["deviceId"], 8, 4)) + "  ")
        parts.append((self.wide("name", self.cut(message[self._kind] or "", 8, 4)), "bold"))
        rest: list[Part] = ["  " + printable(as_json(message["parameters"])[:1_000])]
        if updated:
            answer = filter(None, (message["status"], as_json(message["result"])[:1_000]))
            rest.append(("  → " + printable(" ".join(answer)), "green"))
        self.line(*parts, rest=rest)


def _clock(time: str) -> str:
    """A UTC time of the API as local time of the day, with the date if that is not today."""
    when = datetime.fromisoformat(time).replace(tzinfo=UTC).astimezone()
    return when.strftime("%H:%M:%S" if when.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M:%S")
