"""What the Python client does when requests, tokens and subscriptions fail."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from hivewire_client import (
    Backoff,
    Denied,
    Hivewire,
    LoginRequired,
    NotReady,
    Reset,
    Stopped,
    Unavailable,
    Uncertain,
    devices,
)
from hivewire_client.connection import Connection
from hivewire_client.link import Subscription
from hivewire_client.testing import FakeGateway
from hivewire_client.values import decode, encode
from tests.clients.test_contract import client, event, until
from tests.clients.test_gateway import cancelled
from tests.running import PATIENCE, serving


async def test_a_request_that_is_refused_for_its_token_is_made_again_with_another(fake: FakeGateway) -> None:
    """Once; all others that were refused meanwhile share the new token."""
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        return fake.token()

    async with client(fake, token=token) as hw:
        fake.refuse("configuration/put", 401, "Token expired")
        fake.refuse("configuration/put", 401, "Token expired")
        await asyncio.gather(hw.put("a", "1"), hw.put("b", "1"))
        assert asked == 2
        fake.refuse("configuration/put", 401, "Token expired")
        fake.refuse("configuration/put", 401, "Token expired")
        with pytest.raises(LoginRequired):
            await hw.put("c", "1")
        assert hw.state == "live"
    async with client(fake, token=fake.token()) as hw:
        fake.refuse("configuration/put", 401, "Token expired")
        with pytest.raises(LoginRequired, match="Token expired"):
            await hw.put("c", "1")
        assert hw.state == "closed"


async def test_a_token_function_that_fails_is_asked_again(fake: FakeGateway) -> None:
    """It may be a service that is away; a request that needs it says so meanwhile. LoginRequired gives up."""
    failures: list[Exception] = [OSError("away")]

    def token() -> str:
        if failures:
            raise failures.pop()
        return fake.token()

    async with client(fake, token=token) as hw:
        failures.append(OSError("away again"))
        fake.refuse("configuration/put", 401, "Token expired")
        with pytest.raises(Unavailable, match="no token: OSError: away again"):
            await hw.put("a", "1")
        await hw.put("a", "1")
        failures.append(LoginRequired("enough"))
        fake.expire()
        await until(lambda: hw.state == "closed")
        assert hw.reason == "enough"
        with pytest.raises(Stopped, match="the client is closed: enough"):
            await hw.put("a", "1")


async def test_nothing_is_waited_for_forever() -> None:
    """Neither a connection, nor an answer."""

    def handle(socket: ServerConnection) -> None:
        for text in socket:
            frame = json.loads(text)
            if frame["action"] == "authenticate":
                socket.send(json.dumps({"requestId": frame["requestId"], "status": "success"}))

    with serving(handle) as url:
        async with Hivewire(url, token="x", names=[]) as hw:
            await hw.ready(PATIENCE)
            hw._link._seconds = 0.05
            with pytest.raises(Uncertain, match="no answer in time"):
                await hw.put("a", "1")
            with pytest.raises(Unavailable, match="no answer in time"):
                await hw.fetch("a")
    async with Hivewire("http://127.0.0.1:9", token="x", timeout=0.05) as hw:
        with pytest.raises(Unavailable, match="no connection in time: cannot reach a gateway"):
            await hw.put("a", "1")
        with pytest.raises(NotReady, match="connecting after"):
            await hw.ready(0.01)


async def test_what_may_not_be_followed_is_said(fake: FakeGateway) -> None:
    """Without its configurations the client is closed; a loop over something else ends with the error. An error of the
    gateway's own is tried again."""
    async with client(fake) as hw:
        fake.refuse("command/subscribe", 403, "Access is denied")
        with pytest.raises(Denied):
            await anext(hw.commands())
        commands = hw.commands()
        await commands.follow()
        fake.refuse("configuration/subscribe", 503, "Service is not available")
        fake.refuse("command/subscribe", 403, "Access is denied")
        fake.drop()
        await until(lambda: fake.requests.count("configuration/subscribe") == 3 and hw.state == "live")
        with pytest.raises(Denied):
            await anext(commands)
        fake.refuse("configuration/subscribe", 403, "Access is denied")
        fake.drop()
        await until(lambda: hw.state == "closed")
        with pytest.raises(Denied):
            await hw.ready(stale=False)


async def test_what_was_left_may_be_refused(fake: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves a subscription while a new connection asks for it again: the others go on over that connection."""
    async with client(fake) as hw:
        left, kept = hw.commands(), hw.notifications()
        await left.follow()
        await kept.follow()
        subscribe, connections = hw._link._subscribe, set[Connection]()

        async def leave(connection: Connection, subscription: Subscription) -> None:
            connections.add(connection)
            if subscription is left:
                await left.close()
            await subscribe(connection, subscription)

        monkeypatch.setattr(hw._link, "_subscribe", leave)
        fake.refuse("command/subscribe", 403, "Access is denied")
        fake.drop()
        async with asyncio.timeout(PATIENCE):
            await until(lambda: fake.requests.count("notification/subscribe") == 2)
            await hw.insert_notification("dev-1", "n", 1)
            assert (await anext(kept)).parameters == 1
        assert len(connections) == 1


async def test_what_another_user_knew_is_not_resumed(fake: FakeGateway) -> None:
    """The position of one says nothing of what another may see: the state comes anew."""
    fake.change({"a": "1", "b": "1"})
    users = [1, 1, 2]
    async with client(fake, token=lambda: fake.token(user=users.pop(0))) as hw, hw.watch() as watch:
        assert isinstance(await anext(watch), Reset)
        for _ in range(2):
            fake.stop()
            await until(lambda: hw.state == "stale")
            fake.refused.add(str(hw._tokens.current))
            fake.start()
            await until(lambda: hw.state == "live")
        assert not users
        assert (await event(watch, Reset)).changes == ()


async def test_a_push_that_cannot_be_applied_is_not_passed_over(fake: FakeGateway) -> None:
    """What is known may be wrong from then on, so it begins anew."""
    fake.change("a", "1")
    async with client(fake) as hw:
        frame = {"action": "configuration/update", "subscriptionId": 1, "position": "x-1", "operation": "put"}

        async def nonsense() -> None:
            for session in fake._sessions:
                session.send(frame)

        fake._thread.run(nonsense())
        await until(lambda: fake.requests.count("configuration/subscribe") == 2 and hw.state == "live")
        assert hw.get("a") == "1"


async def test_messages_that_nobody_reads_wait_at_the_gateway(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond a bound are asked for again when the others were read; none is lost, also to who is cancelled."""
    monkeypatch.setattr(devices, "MOST_UNREAD", 3)
    async with client(fake, names=[]) as hw, hw.notifications() as notifications:
        await notifications.follow()
        for number in range(10):
            await hw.insert_notification("dev-1", "n", number)
        assert len(notifications) == 3
        async with asyncio.timeout(PATIENCE):
            read = [(await anext(notifications)).parameters for _ in range(3)]
            await cancelled(anext(notifications))  # while it follows again
            read += [(await anext(notifications)).parameters for _ in range(7)]
            assert read == [*range(10)]


async def test_messages_that_wait_at_the_gateway_come_once_over_a_new_connection(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It resumes behind what has come, so they need not be asked for once more."""
    monkeypatch.setattr(devices, "MOST_UNREAD", 3)
    async with client(fake, names=[]) as hw, hw.notifications() as notifications:
        await notifications.follow()
        for number in range(5):
            await hw.insert_notification("dev-1", "n", number)
        async with asyncio.timeout(PATIENCE):
            read = [(await anext(notifications)).parameters for _ in range(3)]
            fake.stop()
            await until(lambda: hw.state != "live")
            fake.start()
            await hw.ready(stale=False)  # the subscription is on its way
            read += [(await anext(notifications)).parameters for _ in range(2)]
            for number in (5, 6):
                await hw.insert_notification("dev-1", "n", number)
            read += [(await anext(notifications)).parameters for _ in range(2)]
        assert read == [*range(7)]
        assert fake.requests.count("notification/subscribe") == 2


async def test_nobody_waits_for_the_end_of_a_subscription(fake: FakeGateway) -> None:
    """A gateway that does not answer keeps nobody who has waited long enough already."""
    async with client(fake, names=[]) as hw:
        commands = hw.commands("dev-1")
        await commands.follow()
        hangs, goes_on = threading.Event(), threading.Event()
        fake._thread._loop.call_soon_threadsafe(lambda: (hangs.set(), goes_on.wait(PATIENCE)))
        await asyncio.to_thread(hangs.wait)
        try:
            closing = asyncio.create_task(commands.close())
            for _ in range(10):
                await asyncio.sleep(0)
            assert closing.done()
        finally:
            goes_on.set()
        await until(lambda: fake.requests.count("command/unsubscribe") == 1)


async def test_who_follows_without_a_connection_waits_for_one(fake: FakeGateway) -> None:
    """So that nothing is missed that is sent afterwards."""
    async with client(fake, names=[]) as hw, hw.notifications() as notifications:
        fake.stop()
        await until(lambda: hw.state != "live")
        following = asyncio.create_task(notifications.follow())
        await asyncio.sleep(0)
        assert not following.done()
        fake.start()
        async with asyncio.timeout(PATIENCE):
            await following
            fake.insert("notification", "dev-1", "n", {"t": 1})
            assert (await anext(notifications)).parameters == {"t": 1}


async def test_a_closed_client_follows_nothing(fake: FakeGateway) -> None:
    """Whoever asks for an item is told, however often."""
    async with client(fake) as hw:
        commands = hw.commands()
    for _ in range(2):
        with pytest.raises(Stopped):
            async with asyncio.timeout(PATIENCE):
                await anext(commands)


async def test_a_message_whose_answer_was_lost_may_have_been_inserted() -> None:
    """It is sent again while there is time. One that was never sent was not inserted, and reading writes nothing."""
    visits = list[ServerConnection]()

    def handle(socket: ServerConnection) -> None:
        visits.append(socket)
        for text in socket:
            frame = json.loads(text)
            if len(visits) > 1:
                continue  # the next ones answer nothing
            if frame["action"] != "authenticate":
                break
            socket.send(json.dumps({"requestId": frame["requestId"], "status": "success"}))

    with serving(handle) as url:
        async with Hivewire(url, token="x", names=[], backoff=Backoff(0.01)) as hw:
            await hw.ready(PATIENCE)
            hw._link._seconds = 0.2
            read = asyncio.create_task(hw.fetch("a"))
            with pytest.raises(Uncertain, match="may or may not"):
                await hw.insert_notification("dev-1", "n")
            with pytest.raises(Unavailable):
                await hw.insert_notification("dev-1", "n")
            with pytest.raises(Unavailable):
                await read


class Model:
    """What pydantic's models have."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def model_validate_json(cls, text: str) -> Model:
        return cls(text)

    def model_dump_json(self) -> str:
        return self.text


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("42", str, "42"),
        ("é", bytes, b"\xc3\xa9"),
        ("42", int, 42),
        ("true", bool, True),
        ("2026-03-01", datetime.date, datetime.date(2026, 3, 1)),
        ('{"a":[1]}', dict[str, list[int]], {"a": [1]}),
        ("text", int, None),
        ('{"a":"b"}', dict[str, int], None),
    ],
)
def test_values_are_decoded_as_what_was_asked_for(text: str, kind: Any, value: Any) -> None:
    """JSON, or else text that says it; what is not of the kind is a ValueError."""
    if value is None:
        with pytest.raises(ValueError):
            decode(text, kind)
    else:
        assert decode(text, kind) == value


def test_models_of_pydantic_are_values() -> None:
    """By their own methods; other objects are JSON, text is text."""
    assert decode('{"x":1}', Model).text == '{"x":1}'
    assert encode(Model("{}"), None) == ("{}", "application/json")
    assert encode("x", None) == ("x", "text/plain; charset=utf-8") == encode(b"x", None)
    assert encode([1], "application/vnd.x+json") == ("[1]", "application/vnd.x+json")


async def test_a_connection_that_is_not_read_still_answers(fake: FakeGateway) -> None:
    """Pushes wait at the gateway while nobody takes them; the answer to a request does not."""
    pushes: asyncio.Queue[str | None] = asyncio.Queue()
    connection = await Connection.open(fake.url, lambda _, frame: pushes.put_nowait(frame.action))
    await connection.request("authenticate", {"token": fake.token()})
    await connection.request("configuration/subscribe", {"snapshot": False})
    connection.pause()
    await connection.request("configuration/put", {"name": "a", "value": "1"})
    while await asyncio.wait_for(pushes.get(), PATIENCE) != "configuration/update":
        pass
    await connection.close()


async def test_a_list_that_is_too_large_for_an_answer_is_asked_for_in_smaller_pages(fake: FakeGateway) -> None:
    """All of it comes all the same."""
    for name in "abc":
        fake.change(name, "1")
    async with client(fake) as hw:
        for _ in range(9):
            fake.refuse("configuration/list", 413, "ask for less")
        assert [entry.name for entry in await hw.list()] == ["a", "b", "c"]
