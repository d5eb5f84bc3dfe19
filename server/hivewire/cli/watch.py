"""`hivewire watch`: follow configurations, also when the gateway restarts or a token expires."""

from __future__ import annotations

import base64
import errno
import math
import os
import random
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import click
import msgspec

from hivewire.cli import contents
from hivewire.cli.configuration import patterns_argument, shown
from hivewire.cli.errors import Closed, RemoteError, Unreachable
from hivewire.cli.gateway import Access, find_access, token_option, url_option
from hivewire.cli.output import local, on_one_line, output_option, print_row, printable, shorten
from hivewire.cli.remote import Remote
from hivewire_protocol.close import TABLE, Code
from hivewire_protocol.nouns.subscription import parse_position

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds between attempts to reconnect: doubled after each attempt, with some randomness."""

LOOK_SECONDS = 1.0
"""While nothing is pushed, check this often that somebody still reads the output."""

ASK_SECONDS = 30.0
"""Seconds between checks of the token, because an older gateway does not report that it expired."""

WIDEST = 40
"""Columns of lines for people are aligned up to this many characters."""

Item = dict[str, Any]
"""A pushed message, with `type` in place of the action and without the number of the subscription."""


@click.command(
    epilog="""\b
Examples:
  hivewire watch
  hivewire watch 'limits.*' ports
  hivewire watch 'limits.*' | jq -r 'select(.type == "update") | .configuration.value'
  hivewire watch --no-snapshot --json
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
HIVEWIRE_VERSION and HIVEWIRE_OPERATION (put or delete) are in its environment.
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
@click.option("--since", metavar="POSITION", help="Resume after this position instead of starting with the state.")
@click.option("--no-snapshot", is_flag=True, help="Only changes from now on, without the state.")
@click.option("--no-conflate", is_flag=True, help="Every change, even if this command is too slow to read them.")
@click.option("--exec", "command", metavar="CMD", help="Run CMD in a shell for each configuration and each change.")
@output_option
@url_option
@token_option
def watch(
    url: str | None,
    given_token: str | None,
    patterns: tuple[str, ...],
    since: str | None,
    no_snapshot: bool,
    no_conflate: bool,
    command: str | None,
    form: str | None,
) -> None:
    """Show configurations and their changes: all that you may read, or those that match a PATTERN.

    A PATTERN is a name, or a prefix*. Ctrl-C ends it.
    """
    wanted = {
        "names": list(patterns) or None,
        "snapshot": False if no_snapshot else None,
        "conflate": False if no_conflate else None,
    }
    form = form or ("table" if sys.stdout.isatty() else "json")
    show = Lines().show if form == "table" else partial(_print, form)
    access = find_access(url, given_token)
    if command is not None:
        show = partial(_execute, command, access)
    watcher = Watcher(access, wanted, since, show)
    try:
        watcher.run()
    except BaseException as reason:
        stopped = isinstance(reason, KeyboardInterrupt)  # others end a pipe in silence, as `| head` does
        if watcher.position is not None and (stopped or sys.stderr.isatty()):
            newline = "\n" if sys.stderr.isatty() else ""  # behind the ^C
            click.echo(f"{newline}hivewire: to resume from here: --since {watcher.position}", err=True)
        raise


class Watcher:
    """One subscription over any number of connections. `position` follows what has been shown.

    Messages are held back until one has a position. When the connection ends before that, they are dropped, and the
    next connection brings them again.
    """

    def __init__(self, access: Access, wanted: Item, since: str | None, show: Callable[[Item], None]) -> None:
        self.position = since
        self._access = access
        self._wanted = wanted
        self._show = show
        self._held: list[Item] = []
        self._subscribed = False
        self._refused = False  # whether the position could not be resumed; the cause is known with the next position
        self._away = False
        self._failures = 0
        self._entered = self._ask_at = self._renew_at = 0.0

    def run(self) -> None:
        """Run until the gateway refuses something, or cannot be reached at the start."""
        while True:
            try:
                with Remote(self._access.url) as remote:
                    self._enter(remote)
                    self._follow(remote)
            except (Unreachable, RemoteError) as error:
                if not self._subscribed:
                    raise
                wait = self._wait_after(error)
                if not self._away:
                    self._away = True
                    _note(f"disconnected ({on_one_line(str(error))}); reconnecting in {wait:.1f} s")
                time.sleep(wait)

    def _enter(self, remote: Remote) -> None:
        self._access.authenticate(remote)
        reply = remote.request("configuration/subscribe", since=self.position, **self._wanted)
        self._held, self._refused = [], False
        if reply["mode"] == "reset":
            self._held.append({"type": "reset", "oldest": reply["oldest"]})
            self._refused = True
        elif self._away:
            _note("reconnected, nothing is missing")
        if reply["mode"] == "live":
            self._take({"action": "bookmark", "position": reply["position"]})
        self._subscribed, self._away = True, False
        self._entered = time.monotonic()
        self._plan()

    def _follow(self, remote: Remote) -> None:
        while True:
            due = min(self._ask_at, self._renew_at) - time.monotonic()
            frame = remote.push(max(0, min(LOOK_SECONDS, due)))
            if frame is not None:
                self._take(frame)
            elif _reader_is_gone():
                raise BrokenPipeError(errno.EPIPE, "nobody reads the output")  # click ends without a message on this
            self._keep_known(remote)

    def _take(self, frame: Item) -> None:
        """Hold a message back; with a position, show it and everything held."""
        action, position = frame.pop("action"), frame.get("position")
        if action == "subscription/paused":
            self._ask_at = 0.0  # the answer says what is wrong with the token
        if action in ("subscription/paused", "token/expiring"):
            return
        frame.pop("subscriptionId", None)
        item = {"type": action.removeprefix("configuration/"), **frame}
        if item.get("reset"):
            self._held = [{"type": "reset"}]  # the new state includes the unfinished group
        if item["type"] == "snapshot" and self._wanted["snapshot"] is False:
            item = {"type": "bookmark", "position": position}
        if item["type"] != "bookmark" or position is not None:
            self._held.append(item)
        if position is not None:
            if self._refused and self.position is not None:
                _note(f"{_why_reset(self.position, position)}: changes in between may be missing")
            self._refused = False
            for held in self._held:
                self._show(held)
            self._held = []
            self.position = position

    # Tokens.

    def _plan(self) -> None:
        """Schedule the next work on the token: one of a login is renewed in time, a given one is checked."""
        now, left = time.monotonic(), _seconds_left(self._access.token)
        self._ask_at, self._renew_at = now + ASK_SECONDS, math.inf
        if left <= 0:
            return  # the gateway accepted it, so the two clocks differ; only a check can tell
        if self._access.profile is not None:
            self._renew_at = now + 0.75 * left
        else:
            self._ask_at = min(self._ask_at, now + left + 0.1)  # the token is still valid in its last millisecond

    def _keep_known(self, remote: Remote) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            self._access.renew(remote)
            self._plan()
        elif now >= self._ask_at:
            remote.request("subscription/list")  # renews a token that is refused
            self._plan()

    # Reconnecting.

    def _wait_after(self, error: Unreachable | RemoteError) -> float:
        """Seconds to wait before the next attempt; raises the error when another one would not help."""
        if isinstance(error, RemoteError) and error.code < 500 and error.code != 429:
            raise error
        code = error.code if isinstance(error, Closed) else None
        if code is not None and not _advice(code).startswith("yes"):
            raise click.ClickException(on_one_line(str(error)))
        if not self._away and time.monotonic() - self._entered > LONGEST_WAIT:
            self._failures = 0
        if isinstance(error, Closed) and (told := re.search(r"\bretry=(\d{1,7})\b", error.reason)):
            return int(told[1]) / 1_000
        wait = LONGEST_WAIT if code == Code.TOO_MANY_FAILURES else min(LONGEST_WAIT, FIRST_WAIT * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        return wait * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _execute(command: str, access: Access, item: Item) -> None:
    """Run the command for each configuration of a message, one after the other. Raises ClickException if it fails."""
    found = item.get("configurations") or ([item["configuration"]] if "configuration" in item else [])
    for resource in found:
        given = {
            "HIVEWIRE_OPERATION": item.get("operation", "put"),
            "HIVEWIRE_NAME": resource["name"],
            "HIVEWIRE_VERSION": str(resource["entityVersion"]),
        }
        value = b"" if given["HIVEWIRE_OPERATION"] == "delete" else _content(access, resource, item.get("revision"))
        if value is None:
            continue
        done = subprocess.run(command, shell=True, input=value, env=os.environ | given, check=False)  # noqa: S602
        if done.returncode:
            name = shorten(resource["name"], 80)
            raise click.ClickException(f"the command failed with {done.returncode} for {name}")


def _content(access: Access, resource: Item, revision: int | None) -> bytes | None:
    """The content, also one that a message leaves out; None when it was deleted since, which a later message says."""
    if resource["value"] is not None:
        return str(resource["value"]).encode()
    try:
        return _fetch(access, resource["name"], revision)
    except RemoteError as error:
        if error.code != 404:
            raise
        return None


def _fetch(access: Access, name: str, revision: int | None) -> bytes:
    """A content by HTTP, with a new token if the command before has run for longer than the old one lived."""
    try:
        return contents.get(access.url, access.token, name, revision)
    except RemoteError as error:
        if error.code != 401:
            raise
        with Remote(access.url) as remote:
            access.renew(remote, error)
    return contents.get(access.url, access.token, name, revision)


def _print(form: str, item: Item) -> None:
    """Print a message as it is; of form `value` each value that it brings, and nothing for a delete."""
    if form != "value":
        print_row(item, form, "")
        return
    changed = [item["configuration"]] if item["type"] == "update" and item["operation"] == "put" else []
    for resource in item.get("configurations", changed):
        print_row(resource, form, shown(resource))


def _why_reset(asked: str, current: str) -> str:
    """Why a position could not be resumed, as the gateway's current position shows."""
    (asked_epoch, asked_revision), (epoch, revision) = parse_position(asked), parse_position(current)
    if asked_epoch != epoch:
        return "the gateway's data were replaced since that position"
    if asked_revision > revision:
        return "that position is ahead of the gateway's data"
    return "the gateway's log does not go back to that position"


def _advice(code: int) -> str:
    """Whether to reconnect after a close code; other codes come from a proxy in between, so try again."""
    return TABLE[Code(code)].reconnect if code in TABLE else "yes"


def _seconds_left(token: str) -> float:
    """How long an access token is still valid by this machine's clock; 0 when it cannot be read."""
    try:
        part = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return float(claims["payload"]["e"]) / 1_000 - time.time()
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, msgspec.DecodeError):
        return 0


def _reader_is_gone() -> bool:
    """Whether the reader of the output has ended, as after `| head -1`."""
    try:
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0))
    except (OSError, ValueError):  # standard output is not a file
        return False


def _note(text: str) -> None:
    click.echo(f"hivewire: {text}", err=True)


class Lines:
    """Prints configurations and changes for people, each on a line. On a terminal it is cut to the width, and long
    names to a third of it, so that something of the value is seen."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.text import Text

        self._text = Text
        self._console = Console(highlight=False, markup=False)
        self._in_snapshot = False
        self._widths: dict[str, int] = {}

    def show(self, item: Item) -> None:
        """Print a message; a bookmark prints nothing."""
        if item["type"] == "snapshot":
            self._snapshot(item)
        elif item["type"] == "update":
            self._update(item)
        elif item["type"] == "reset":
            self._line(("reset: the following state replaces everything above", "bold yellow"))

    def _snapshot(self, item: Item) -> None:
        if not self._in_snapshot:
            self._line(("state:", "bold"))
        for resource in item["configurations"]:  # their widths first
            self._wide("name", self._cut(resource["name"]))
            self._wide("version", str(resource["entityVersion"]))
        for resource in item["configurations"]:
            self._line("  ", *self._resource(resource, shown(resource)))
        self._in_snapshot = not item["last"]
        if item["last"]:
            self._line(("changes:", "bold"))

    def _update(self, change: Item) -> None:
        deleted = change["operation"] == "delete"
        value = "deleted" if deleted else shown(change["configuration"])
        why = [("  " + printable(change["description"]), "dim")] if change["description"] else []
        self._line(
            (f"{local(change['modified'])}  {self._wide('who', change['modifiedBy'] or 'the gateway')}  ", "dim"),
            *self._resource(change["configuration"], value, "bold red" if deleted else "green"),
            *why,
        )

    def _line(self, *parts: str | tuple[str, str]) -> None:
        fits = self._console.is_terminal
        overflow: Literal["ellipsis", "ignore"] = "ellipsis" if fits else "ignore"
        self._console.print(self._text.assemble(*parts), no_wrap=True, overflow=overflow, crop=fits)

    def _resource(self, resource: Item, value: str, style: str = "") -> list[str | tuple[str, str]]:
        """Name, version and value of a configuration, in colours."""
        version = f"  version {self._wide('version', str(resource['entityVersion']))}  "
        return [(self._wide("name", self._cut(resource["name"])), "bold"), version, (printable(value[:1_000]), style)]

    def _cut(self, name: str) -> str:
        most = max(WIDEST // 2, self._console.width // 3)
        return name if len(name) <= most or not self._console.is_terminal else name[: most - 1] + "…"

    def _wide(self, column: str, text: str) -> str:
        """The text, padded to the widest of its column so far, so that columns are aligned."""
        text = printable(text)
        self._widths[column] = max(self._widths.get(column, 0), min(len(text), WIDEST))
        return text.ljust(self._widths[column])
