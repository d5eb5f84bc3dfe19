"""Subscriptions that outlive connections and tokens: what `hivewire watch` and its like have in common.

The connections, their tokens and positions are those of `hivewire_client`; this module prints their state.
"""

from __future__ import annotations

import asyncio
import errno
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from hivewire.cli.errors import Closed, RemoteError
from hivewire.cli.gateway import Access
from hivewire.cli.output import on_one_line
from hivewire.cli.remote import Remote, tokens_of, translated
from hivewire_client.connection import Frame
from hivewire_client.errors import HivewireError
from hivewire_client.link import Link, Subscription
from hivewire_client.route import Backoff, Route
from hivewire_client.stream import Stream

FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
"""Seconds between attempts to reconnect, at most: doubled after each attempt."""

LOOK_SECONDS = 1.0
"""While nothing is pushed, interval of checks whether the output is still read."""

PATIENT_SECONDS = 86_400.0
"""Longest wait of a request for a gateway that cannot be reached."""

MOST_UNREAD = 100
"""Groups of pushes that wait to be shown. While there are more, the connection is not read."""

Item = dict[str, Any]
"""A pushed message, with `type` in place of the action and without the number of the subscription."""


class Following(Remote):
    """A gateway over any number of connections, one after the other, with subscriptions that `show` gets.

    It says on standard error when a connection breaks, and when the next one is open. `position` is where another run
    can resume after what was shown; None before that is known.
    """

    def __init__(self, access: Access, show: Callable[[Item], None]) -> None:
        super().__init__(access.url)
        self.position: str | None = None
        self._show = show
        self._access = access
        self._subscriptions: list[Followed] = []
        self._entered = self._away = False
        with translated():
            self._link = Link(Route([access.url], Backoff(FIRST_WAIT, LONGEST_WAIT)), tokens_of(access), self._look)

    # Remote, over a link.

    async def _open(self) -> None:
        self._groups = Stream[tuple[str | None, list[Item]]]()
        self._link.subscriptions += self._subscriptions
        self._link.start()

    async def _close(self) -> None:
        await self._link.close()

    async def _ask(self, action: str, members: dict[str, Any]) -> dict[str, Any]:
        return await self._link.request(action, members, repeatable=True, seconds=PATIENT_SECONDS)

    # What comes.

    def run(self) -> None:
        """Run until the gateway refuses something, or cannot be reached at the start."""
        try:
            with translated(), self, _interrupts() as interrupts:
                while not interrupts:
                    self._show_group()
                raise KeyboardInterrupt
        except RemoteError as error:
            if error.code == 401:
                raise self._access.refused(error) from None
            raise
        except Closed as error:
            if self._entered:
                raise click.ClickException(on_one_line(str(error))) from None
            raise

    def _show_group(self) -> None:
        group = self._thread.run(self._next())
        if group is not None:
            position, items = group
            for item in items:
                self._show(item)
            self.position = position or self.position
        elif _reader_is_gone():
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output")  # click ends without a message on this

    async def _next(self) -> tuple[str | None, list[Item]] | None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._groups.__anext__()
        except TimeoutError:
            return None
        finally:
            if len(self._groups) < MOST_UNREAD // 2 and self._link.connection is not None:
                self._link.connection.resume()

    def push(self, items: list[Item], position: str | None = None) -> None:
        """Queue items to be shown; then `position` is known."""
        self._groups.push((position, items))
        if len(self._groups) >= MOST_UNREAD and self._link.connection is not None:
            self._link.connection.pause()

    def end(self, error: HivewireError) -> None:
        """Let `run` raise this, after what was pushed before."""
        self._groups.end(error)

    # Connections.

    def _look(self) -> None:
        """Print changes of the connection."""
        link = self._link
        if link.error is not None:
            return
        if link.connection is not None:
            self._access.url = link.connection.url  # perhaps that of another gateway of the same ledger
            if all(each.number is not None for each in self._subscriptions) and (self._away or not self._entered):
                self._came({each.mode for each in self._subscriptions})
        elif link.failure is not None and not self._entered:
            link.stop(link.failure)
        elif link.failure is not None and not self._away:
            self._away = True
            note(f"disconnected ({on_one_line(str(link.failure))}); reconnecting in {link.wait:.1f} s")

    def _came(self, modes: set[str]) -> None:
        """Called when all subscriptions are followed."""
        if self._away and "reset" not in modes:
            note(f"reconnected, {'the state follows' if 'snapshot' in modes else 'nothing is missing'}")
        elif not self._away:
            self.entered()
        self._entered, self._away = True, False

    def entered(self) -> None:
        """Called when all subscriptions are followed for the first time."""


class Followed(Subscription):
    """A subscription whose pushes are shown. A subclass says in `apply` what is shown of a group of them.

    `mode` is that of the last reply; `refused_since` the position that could not be resumed then.
    """

    def __init__(self, following: Following, noun: str, members: Item, since: str | None) -> None:
        super().__init__(noun, members, since)
        self.mode = ""
        self.refused_since: str | None = None
        self._following = following

    def begin(self, reply: dict[str, Any]) -> None:
        """The reply to the request."""
        self.mode = reply["mode"]
        self.refused_since = self.position if self.mode == "reset" else None
        super().begin(reply)

    def refused(self, error: HivewireError) -> None:
        """The command ends with this."""
        self._following.end(error)

    def items(self, frames: Iterable[Frame]) -> list[Item]:
        """The pushes as they are shown."""
        found = []
        for frame in frames:
            item: Item = msgspec.json.decode(frame.data)
            del item["subscriptionId"]
            found.append({"type": item.pop("action").removeprefix(f"{self.noun}/"), **item})
        return found


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that has something in it once Ctrl-C was pressed.

    Python drops the KeyboardInterrupt that comes in a destructor, such as that of a command which has just ended.
    """
    came: list[int] = []

    def interrupt(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else it is ignored, as in the background of a script
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def run_and_say_where(following: Following) -> None:
    """Run it; when it is stopped, say how to resume."""
    try:
        following.run()
    except BaseException as reason:
        stopped = isinstance(reason, KeyboardInterrupt)  # the end of a pipe is no news, as with `| head`
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
    """Print a message about the connection on standard error."""
    click.echo(f"hivewire: {text}", err=True)
