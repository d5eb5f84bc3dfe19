"""A connection that is opened again whenever it ends, with everything that is followed over it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hivewire_client import plain
from hivewire_client.connection import SECONDS, Connection, Cut, Frame, log
from hivewire_client.errors import (
    Busy,
    Closed,
    HivewireError,
    LoginRequired,
    Refused,
    Stopped,
    TooLarge,
    Unavailable,
    Uncertain,
    Unreachable,
    refusal,
)
from hivewire_client.route import IN_VAIN, Route
from hivewire_client.tokens import Tokens

READS = (
    *("get", "list", "history", "tree", "audit", "count", "info", "cacheInfo", "effective", "check"),
    *("getCurrent", "getNetwork", "getDeviceType", "getDeviceTypes"),
)
"""The names of requests that change nothing, which are repeated after a connection broke."""

_PROOFS = ("authenticate", "token", "token/refresh")
"""Requests that authenticate the caller, so a new token does not help when they are refused."""


def changes_something(action: str) -> bool:
    """Whether a request without an answer may have changed something."""
    return action not in _PROOFS and action.partition("/")[2] not in READS


class Subscription:
    """Something that is followed over any number of connections, each time from its position on.

    A subclass handles pushes in `apply`. `live`: the subscription is up to date.
    """

    def __init__(self, noun: str, members: dict[str, Any], position: str | None = None) -> None:
        self.noun = noun
        self.members = members
        self.position = position
        self.number: int | None = None
        self.live = False
        self.paused = False
        self._held: list[Frame] = []
        self._replaces = False

    def since(self, subject: str | None) -> str | None:
        """The position from which to resume as this subject; None to start over."""
        return self.position

    def begin(self, reply: dict[str, Any]) -> None:
        """Take the reply to the request, whose `mode` says what follows. An unfinished group comes again."""
        self.number, mode = reply["subscriptionId"], reply.get("mode", "live")
        self._held, self._replaces = [], mode in ("snapshot", "reset")
        self.live, self.paused = mode == "live", False
        if self.live and "position" in reply:
            self.position = reply["position"]

    def take(self, frame: Frame) -> None:
        """Take a push. A group is applied when its last frame is there, the one with the position."""
        self.paused = False
        if frame.reset:  # the new state includes the unfinished group
            self._held, self._replaces, self.live = [], True, False
        self._held.append(frame)
        if frame.position is None:
            return
        held, self._held = self._held, []
        replaces, self._replaces = self._replaces, False
        self.position = frame.position
        self.live = self.live or frame.last or frame.live
        self.apply(held, frame.position, replaces=replaces)

    def apply(self, frames: list[Frame], position: str, *, replaces: bool) -> None:
        """Apply a whole group. `replaces`: it is a new state, or messages before it may be missing."""
        raise NotImplementedError

    def refused(self, error: HivewireError) -> None:
        """The gateway refused the subscription, or the client was closed: no more pushes come."""
        raise NotImplementedError


class Link:
    """Requests and subscriptions over one connection after the other. `tell` is called after each change of it.

    `connection` is the open one, once it is authenticated; `reason` is why there is none. `failure` is what the last
    attempt ended with, and `wait` the seconds between it and the next one.
    `error`: it was closed, and is not opened again.
    """

    def __init__(self, route: Route, tokens: Tokens, tell: Callable[[], None], seconds: float = SECONDS) -> None:
        self.connection: Connection | None = None
        self.reason: str | None = None
        self.error: HivewireError | None = None
        self.failure: HivewireError | None = None
        self.wait = 0.0
        self.subscriptions: list[Subscription] = []
        self._followed: dict[int, Subscription] = {}
        self._route = route
        self._tokens = tokens
        self._tell = tell
        self._seconds = seconds
        self._subject: str | None = tokens.subject
        self._entered = asyncio.Event()
        self._look_at_token = asyncio.Event()
        self._renewing = asyncio.Lock()
        self._token: str | None = None
        self._running: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._excused: Connection | None = None
        """A connection that ended because of a request, which is not sent again: the next one does not end likewise."""

    def start(self) -> None:
        """Connect, and stay connected."""
        self._running = asyncio.create_task(self._run())

    async def close(self, error: HivewireError | None = None) -> None:
        """Close the connection for good, and end all subscriptions."""
        self.stop(error or self._stopped())
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    # Requests.

    async def request(
        self, action: str, members: dict[str, Any], *, repeatable: bool = False, seconds: float | None = None
    ) -> dict[str, Any]:
        """The reply to a request, which waits for a connection if there is none.

        One that the gateway may have carried out is repeated only if it changes nothing, or is `repeatable`.
        Raises Refused, Uncertain, Unavailable when there is no connection in time, and Stopped.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (seconds or self._seconds)
        refused: str | None = None
        writes, is_lost = changes_something(action), False
        while True:
            try:
                connection, token = await self._connected(deadline), self._token
            except (Unavailable, Stopped) as error:
                if is_lost:
                    raise _uncertain(action, error) from None
                raise
            try:
                return await connection.request(action, members, deadline - loop.time())
            except LoginRequired as error:
                if refused is not None or action in _PROOFS:
                    raise
                if not self._tokens.renewable:
                    self.stop(error)
                    raise
                refused = token
                await self._renew_for(connection, token)
            except TooLarge:
                self._excused = connection
                raise
            except Cut as error:
                is_lost = writes
                if is_lost and not repeatable:
                    raise _uncertain(action, error) from None
                self._lose(connection)
            except Closed:
                self._lose(connection)
            except TimeoutError:
                if writes:
                    raise _uncertain(action, "no answer in time") from None
                raise Unavailable(f"{action}: no answer in time") from None

    async def http(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> plain.Answer:
        """The answer to a request over HTTP to the gateway that is connected. Raises as `request`."""
        connection = await self._connected(asyncio.get_running_loop().time() + self._seconds)
        for attempt in range(2):
            token = self._token
            asked = (connection.url, method, path, token, body, headers, self._seconds)
            try:
                answer = await asyncio.to_thread(plain.ask, *asked)
                told = plain.object_of(answer) if answer.status >= 400 else {}
            except Unreachable as error:
                if method == "GET" or isinstance(error, plain.NotSent):
                    raise Unavailable(f"{method} {path}: {error}") from None
                raise _uncertain(f"{method} {path}", error) from None
            if answer.status != 401 or attempt or not self._tokens.renewable:
                break
            await self._renew_for(connection, token)
        if answer.status >= 400:
            raise refusal({**told, "code": answer.status, "error": told.get("message")})
        return answer

    async def _renew_for(self, connection: Connection, refused: str | None) -> None:
        """Renew the token for a request that was refused. Raises LoginRequired, and Unavailable for other reasons."""
        try:
            await self._renew(connection, refused)
        except LoginRequired:
            raise
        except Closed:
            self._lose(connection)
        except Exception as error:
            raise Unavailable(f"no token: {type(error).__name__}: {error}") from error

    async def _connected(self, deadline: float) -> Connection:
        while self.connection is None:
            if self.error is not None:
                raise self._stopped() from self.error
            try:
                async with asyncio.timeout_at(deadline):
                    await self._entered.wait()
            except TimeoutError:
                raise Unavailable(f"no connection in time: {self.reason}") from None
        return self.connection

    # Subscriptions.

    async def follow(self, subscription: Subscription) -> None:
        """Follow a subscription until `unfollow`, also if the caller is cancelled meanwhile. Raises Refused."""
        if self.error is not None:
            stopped = self._stopped()
            subscription.refused(stopped)
            raise stopped from self.error
        self.subscriptions.append(subscription)
        if self.connection is not None:
            # In a task of its own: nothing would take the answer if its caller were cancelled.
            refused = await asyncio.shield(asyncio.create_task(self._begin(self.connection, subscription)))
            if refused is not None:
                raise refused

    async def _begin(self, connection: Connection, subscription: Subscription) -> Refused | None:
        """Subscribe; why the gateway refuses it. When the connection ends, the next one follows it."""
        try:
            await self._subscribe(connection, subscription)
        except Unreachable:
            pass
        except Refused as error:
            self._drop(subscription, error)
            return error
        return None

    def _drop(self, subscription: Subscription, error: Refused) -> None:
        """End a subscription that the gateway refuses. It may have been left meanwhile."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
        subscription.refused(error)

    def unfollow(self, subscription: Subscription) -> None:
        """End a subscription, also at the gateway if that is connected; nobody waits for its answer."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
            if self.connection is not None and subscription.number is not None:
                self._end(self.connection, subscription)

    def _end(self, connection: Connection, subscription: Subscription) -> None:
        """End a subscription at the gateway, which a connection that breaks does too."""
        self._followed.pop(subscription.number or 0, None)
        action, members = f"{subscription.noun}/unsubscribe", {"subscriptionId": subscription.number}

        async def ask() -> None:
            with contextlib.suppress(HivewireError, TimeoutError):
                await connection.request(action, members, self._seconds)

        task = asyncio.create_task(ask())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _subscribe(self, connection: Connection, subscription: Subscription) -> None:
        def begin(reply: dict[str, Any]) -> None:
            subscription.begin(reply)
            self._followed[reply["subscriptionId"]] = subscription

        async def ask() -> None:
            members = {**subscription.members, "since": subscription.since(self._tokens.subject)}
            await connection.request(f"{subscription.noun}/subscribe", members, self._seconds, begin)

        try:
            try:
                await ask()
            except LoginRequired:  # the token has expired since `authenticate`
                if not self._tokens.renewable:
                    raise
                await self._renew(connection, self._token)
                await ask()
        except TimeoutError:
            raise Unreachable(f"{connection.url}: no answer in time") from None
        if subscription not in self.subscriptions:  # it was left before the answer
            self._end(connection, subscription)

    def _take(self, connection: Connection, frame: Frame) -> None:
        """Take a push."""
        found = self._followed.get(frame.subscriptionId or 0)
        if found is None:
            return  # it is about to end
        if frame.action == "server/draining":
            self._route.offer(msgspec.json.decode(frame.data).get("alternatives", ()))
        elif frame.action == "token/expiring":
            self._look_at_token.set()
        elif frame.action == "subscription/paused":
            found.paused, found.live = True, False
            self.reason = str(msgspec.json.decode(frame.data).get("reason"))
            self._look_at_token.set()
            self._tell()
        else:
            was_live = found.live
            try:
                found.take(frame)
            except Exception:
                # The state in memory may be wrong from here on: the next connection starts over.
                log.exception("a push could not be applied: %s", frame.data[:500])
                found.position = None
                connection.abort()
            if found.live != was_live:
                self._tell()

    # Connections.

    async def _run(self) -> None:
        """Connect again and again, until this is closed."""
        while self.error is None:
            try:
                error: HivewireError = await self._visit()
            except LoginRequired as refused:
                self.stop(refused)
                return
            except HivewireError as refused:
                error = refused
            except Exception as failure:
                log.exception("no token, or an error of the client")
                error = Unreachable(f"{type(failure).__name__}: {failure}")
            if isinstance(error, Closed) and error.code in IN_VAIN:
                self.stop(error)
            if self.error is not None:
                return
            self.failure, self.reason, self.wait = error, str(error), self._route.after(error)
            log.info("%s; next attempt at %s in %.1f s", error, self._route.address, self.wait)
            self._tell()
            await asyncio.sleep(self.wait)

    async def _visit(self) -> Closed:
        """One connection, from the beginning to its end. Raises HivewireError, and what a token function raises."""
        await self._tokens.early()
        self._tell()  # the owner of the token may be known only now
        connection = await Connection.open(self._route.address, self._take, self._seconds)
        try:
            async with asyncio.timeout(2 * self._seconds):
                await self._enter(connection)
            since = time.monotonic()
            ending = asyncio.ensure_future(connection.ended())
            keeping = asyncio.create_task(self._keep_token(connection))
            try:
                await asyncio.wait((ending, keeping), return_when=asyncio.FIRST_COMPLETED)
                if keeping.done():
                    keeping.result()  # it ends only by an error
                closed = await ending
                return Closed(str(closed)) if connection is self._excused else closed
            finally:
                self._route.settle(time.monotonic() - since)
                ending.cancel()
                keeping.cancel()
        except TimeoutError:
            raise Unreachable(f"{connection.url}: no answer in time") from None
        finally:
            self._lose(connection)
            await connection.close()

    async def _enter(self, connection: Connection) -> None:
        """Authenticate and subscribe."""
        token = await self._tokens.get(connection)
        try:
            await connection.request("authenticate", {"token": token}, self._seconds)
        except LoginRequired:
            if not self._tokens.renewable:
                raise
            token = await self._tokens.get(connection, refused=token)
            await connection.request("authenticate", {"token": token}, self._seconds)
        self._token = token
        self._look_at_token.clear()
        if self._tokens.subject != self._subject:
            self._begin_anew()
        self.connection, self.reason, self.failure = connection, None, None
        self._entered.set()
        self._tell()
        await self._subscribe_all(connection)
        if self.error is not None:
            raise self.error
        self._tell()

    async def _subscribe_all(self, connection: Connection) -> None:
        """Subscribe to everything."""
        for subscription in list(self.subscriptions):
            try:
                await self._subscribe(connection, subscription)
            except (Unavailable, Busy):
                raise
            except Refused as error:
                self._drop(subscription, error)

    async def _keep_token(self, connection: Connection) -> None:
        """Renew the token in time, and when the gateway says so. Raises LoginRequired."""
        while True:
            expires = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tokens.due_in):
                    expires = await self._look_at_token.wait()
            self._look_at_token.clear()
            paused = any(each.paused for each in self.subscriptions)
            try:
                await self._renew(connection, self._token if paused or (expires and self._tokens.renewable) else None)
            except LoginRequired:
                raise
            except Exception as error:
                # The token that is held is still good, or requests are refused and try again.
                log.warning("the token was not renewed: %s: %s", type(error).__name__, error)
                await asyncio.sleep(self._route.pause())
                self._look_at_token.set()

    async def _renew(self, connection: Connection, refused: str | None) -> None:
        """Authenticate with a new token, over the same connection. Raises LoginRequired, and closes then."""
        async with self._renewing:
            if refused is not None and self._token != refused:
                return  # another request has just renewed it
            try:
                if refused is not None and not self._tokens.renewable:
                    raise LoginRequired(self.reason or "the gateway refuses the token")
                token = await self._tokens.get(connection, refused)
                reply = await connection.request("authenticate", {"token": token}, self._seconds)
            except LoginRequired as error:
                self.stop(error)
                raise
            self._token = token
            for subscription in self.subscriptions:
                subscription.paused = False
            if "ended" in reply:  # the token is another user's
                self._begin_anew()
            self._subject = self._tokens.subject  # if it only reaches other names, the gateway sends what is missing
        if "ended" in reply:  # not under the lock, because each of them may need a new token
            await self._subscribe_all(connection)
        self._tell()

    def _begin_anew(self) -> None:
        """Start over, because the state in memory is that of another subject."""
        if self._subject is not None:
            for subscription in self.subscriptions:
                subscription.position = None
        self._subject = self._tokens.subject

    def _lose(self, connection: Connection | None) -> None:
        """Forget the connection."""
        if connection is not None and self.connection is connection:
            self.connection = None
            self._entered.clear()
            self._followed.clear()
            for subscription in self.subscriptions:
                subscription.live = subscription.paused = False
                subscription.number = None

    def _stopped(self) -> Stopped:
        """That it is closed, and why, unless the program has closed it."""
        why = "" if self.error is None or isinstance(self.error, Stopped) else f": {self.error}"
        return Stopped(f"the client is closed{why}")

    def stop(self, error: HivewireError) -> None:
        """Stop reconnecting."""
        if self.error is None:
            self.error, self.reason = error, str(error)
            self._lose(self.connection)
            self._entered.set()  # wake requests that wait for a connection, which fail
            for subscription in self.subscriptions:
                subscription.refused(error)
            self.subscriptions.clear()
            self._tell()


def _uncertain(what: str, why: object) -> Uncertain:
    """The error for a request whose answer was lost."""
    return Uncertain(f"{what}: {why}; it may or may not have been carried out")
