"""`hivewire command watch` and `hivewire notification watch`: follow messages, also when the gateway restarts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hivewire.cli.following import Following, Item, note, run_and_say_where
from hivewire.cli.gateway import Access
from hivewire.cli.lines import AlignedLines, Part
from hivewire.cli.output import as_json, print_row, printable
from hivewire.cli.watch import why_reset
from hivewire_protocol.nouns.subscription import parse_position

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote


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
    """Subscriptions to messages, each with a position of its own.

    An item that is shown is a push with `type` in place of the action; its position is that of `position`.
    """

    def __init__(
        self, access: Access, kind: str, wanted: list[Item], since: str | None, show: Callable[[Item], None]
    ) -> None:
        super().__init__(access)
        self._kind = kind
        self._wanted = wanted
        self._reached = [since] * len(wanted)
        self._numbers: dict[int, int] = {}
        self._show = show

    @property
    def position(self) -> str | None:
        """The position to resume from without missing anything: that of the subscription which is farthest behind."""
        reached = [each for each in self._reached if each is not None]
        epochs = {parse_position(each)[0] for each in reached}
        if len(epochs) > 1:  # some still have to be told of the reset
            reached = [each for each in reached if parse_position(each)[0] != self._epoch]
        return min(reached, key=lambda each: parse_position(each)[1], default=None)

    def subscribe(self, remote: Remote) -> None:
        """Subscribe for each device, from its position on if there is one."""
        whole = True
        self._numbers = {}
        for index, wanted in enumerate(self._wanted):
            reply = remote.request(f"{self._kind}/subscribe", resumable=True, since=self._reached[index], **wanted)
            self._numbers[reply["subscriptionId"]] = index
            if reply["mode"] == "reset":
                whole = False  # the first push says so too
            else:
                self._reach(index, reply["position"])
        if self.away and whole:
            note("reconnected, nothing is missing")
        elif not self.away and sys.stderr.isatty():
            note(f"connected, waiting for {self._kind}s; Ctrl-C ends it")

    def _reach(self, index: int, position: str) -> None:
        self._reached[index] = position
        self._epoch = parse_position(position)[0]

    def take(self, frame: Item) -> None:
        """Show a message, and from where to resume after it."""
        index = self._numbers.get(frame.pop("subscriptionId"))
        if index is None or not frame["action"].startswith(f"{self._kind}/"):
            return
        former = self._reached[index]
        self._reach(index, frame["position"])
        if frame.get("reset"):
            if former is not None:
                note(f"{why_reset(former, frame['position'])}: messages in between may be missing")
            self._show({"type": "reset"})
        item = {"type": frame["action"].partition("/")[2], "position": self.position}
        if self._kind in frame:
            item[self._kind] = frame[self._kind]
        self._show(item)


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
        parts.append("  " + printable(as_json(message["parameters"])[:1_000]))
        if updated:
            answer = filter(None, (message["status"], as_json(message["result"])[:1_000]))
            parts.append(("  → " + printable(" ".join(answer)), "green"))
        self.line(*parts)


def _clock(time: str) -> str:
    """A UTC time of the API as local time of the day, with the date if that is not today."""
    when = datetime.fromisoformat(time).replace(tzinfo=UTC).astimezone()
    return when.strftime("%H:%M:%S" if when.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M:%S")
