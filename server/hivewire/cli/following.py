"""Subscriptions that outlive connections and tokens: what `hivewire watch` and its like have in common."""

from __future__ import annotations

import errno
import math
import select
import sys
import time
from typing import Any

import click

from hivewire.cli.errors import Closed, RemoteError, Unreachable
from hivewire.cli.gateway import Access
from hivewire.cli.output import on_one_line
from hivewire.cli.remote import Remote, translated
from hivewire_client.errors import HivewireError
from hivewire_client.route import IN_VAIN, Backoff, Route
from hivewire_client.tokens import seconds_left

FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
"""Seconds between attempts to reconnect, at most: doubled after each attempt."""

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
        with translated():
            self._route = Route([access.url], Backoff(FIRST_WAIT, LONGEST_WAIT))
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
                self._access.url = self._route.address  # perhaps that of another gateway of the same ledger
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
        elif frame["action"] == "server/draining":
            self._route.offer(frame["alternatives"])
        if frame["action"] not in ("subscription/paused", "token/expiring", "server/draining"):
            self.take(frame)

    # Tokens.

    def _plan(self) -> None:
        """Schedule the next work on the token: one of a login is renewed in time, a given one is checked."""
        now, left = time.monotonic(), seconds_left(self._access.token)
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
        if isinstance(error, Closed) and error.code in IN_VAIN:
            raise click.ClickException(on_one_line(str(error)))
        if not self.away:
            self._route.settle(time.monotonic() - self._entered)
        cause = error.__cause__
        return self._route.after(cause if isinstance(cause, HivewireError) else HivewireError(str(error)))


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
