"""Subscriptions that outlive connections and tokens: what `hivewire watch` and its like have in common."""

from __future__ import annotations

import base64
import errno
import math
import random
import re
import select
import sys
import time
from typing import Any

import click
import msgspec

from hivewire.cli.errors import Closed, RemoteError, Unreachable
from hivewire.cli.gateway import Access
from hivewire.cli.output import on_one_line
from hivewire.cli.remote import Remote
from hivewire_protocol.close import TABLE, Code

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds between attempts to reconnect: doubled after each attempt, with some randomness."""

LOOK_SECONDS = 1.0
"""While nothing is pushed, check this often that somebody still reads the output."""

ASK_SECONDS = 30.0
"""Seconds between checks of the token, because an older gateway does not report that it expired."""

Item = dict[str, Any]
"""A pushed message."""


class Following:
    """Subscriptions over any number of connections, one after the other.

    A subclass says in `subscribe` what each connection begins with, in `take` what becomes of a push, and in `position`
    where a later run can resume. `away`: the connection before has ended, and none has subscribed since.
    """

    def __init__(self, access: Access) -> None:
        self.away = False
        self._access = access
        self._subscribed = False
        self._failures = 0
        self._entered = self._ask_at = self._renew_at = 0.0

    @property
    def position(self) -> str | None:
        """Where another run could resume; None before it is known."""
        raise NotImplementedError

    def subscribe(self, remote: Remote) -> None:
        """Subscribe over a new connection, which is authenticated."""
        raise NotImplementedError

    def take(self, frame: Item) -> None:
        """Take a push of a subscription."""
        raise NotImplementedError

    def run(self) -> None:
        """Run until the gateway refuses something, or cannot be reached at the start."""
        while True:
            try:
                with Remote(self._access.url) as remote:
                    self._access.authenticate(remote)
                    self.subscribe(remote)
                    self._subscribed, self.away = True, False
                    self._entered = time.monotonic()
                    self._plan()
                    self._follow(remote)
            except (Unreachable, RemoteError) as error:
                if not self._subscribed:
                    raise
                wait = self._wait_after(error)
                if not self.away:
                    self.away = True
                    note(f"disconnected ({on_one_line(str(error))}); reconnecting in {wait:.1f} s")
                time.sleep(wait)

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
        if frame["action"] == "subscription/paused":
            self._ask_at = 0.0  # the answer says what is wrong with the token
        if frame["action"] not in ("subscription/paused", "token/expiring", "server/draining"):
            self.take(frame)

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
        if not self.away and time.monotonic() - self._entered > LONGEST_WAIT:
            self._failures = 0
        if isinstance(error, Closed) and (told := re.search(r"\bretry=(\d{1,7})\b", error.reason)):
            return int(told[1]) / 1_000
        wait = LONGEST_WAIT if code == Code.TOO_MANY_FAILURES else min(LONGEST_WAIT, FIRST_WAIT * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        return wait * random.uniform(0.5, 1)  # noqa: S311 - no secret


def run_and_say_where(following: Following) -> None:
    """Run it; when it is stopped, say how to resume."""
    try:
        following.run()
    except BaseException as reason:
        stopped = isinstance(reason, KeyboardInterrupt)  # others end a pipe in silence, as `| head` does
        if following.position is not None and (stopped or sys.stderr.isatty()):
            newline = "\n" if sys.stderr.isatty() else ""  # behind the ^C
            click.echo(f"{newline}hivewire: to resume from here: --since {following.position}", err=True)
        raise


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


def note(text: str) -> None:
    """Tell something of the connection on standard error."""
    click.echo(f"hivewire: {text}", err=True)
