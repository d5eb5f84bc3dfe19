"""The table of what can be followed, and event streams over a topic that is not of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from hivewire import actions
from hivewire.access.identity import Identity
from hivewire.access.users import UserContent
from hivewire.actions.feeds import Wanted, unsubscribe
from hivewire.actions.subscription import subscribe
from hivewire.actions.topics import FOLLOWED, TENANT, configurations
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.dialects import devicehive
from hivewire.dispatch import Dispatcher
from hivewire.hub.source import Topic
from hivewire.services import Services
from hivewire.transport.events import EventStream, EventStreams
from hivewire_protocol.catalogue import HTTP_ONLY, PUSHES, REQUESTS
from hivewire_protocol.errors import AccessDenied, OutOfBounds
from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe, ConfigurationUnsubscribe, SubscribeReply
from hivewire_protocol.nouns.user import Status
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.permissions import Permission
from tests.rooms.test_hub import MESSAGES, Messages
from tests.world import HOUR, JOHN, World, opened

TOPICS = [configurations(World().services), TENANT]


class MessageSubscribe(Request, tag="message/subscribe"):
    """Follow messages, with a right of its own."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    reply = SubscribeReply

    since: str | None = None


class MessageUnsubscribe(Request, tag="message/unsubscribe"):
    """End such a subscription, with the same right."""

    permission = Permission.GET_DEVICE_NOTIFICATION
    reply = Reply

    subscriptionId: int | None = None


def messages_of(services: Services, caller: Caller, request: MessageSubscribe) -> Wanted:
    return Wanted(MESSAGES, Patterns(("device/a",)), request.since)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


class Reader:
    """An HTTP client that reads an event stream, with one right."""

    def __init__(self, world: World, request: Request, right: Permission) -> None:
        dispatcher = Dispatcher(world.services, {**actions.READS, type(request): subscribe}, actions.WRITES)
        identity = Identity(JOHN, "john", now() + HOUR, 1 << right, None, None)
        caller = Caller("10.0.0.1", "h", http=True, identity=identity)
        self.streams = EventStreams(dispatcher)
        self.stream: EventStream
        self._text = ""
        self.answering = asyncio.create_task(self._answer(caller, request))

    async def _answer(self, caller: Caller, request: Request) -> None:
        self.stream = await self.streams.subscribe(caller, request)
        scope = {"hivewire.connection": SimpleNamespace(streaming=False, unsent=0)}
        await self.stream(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        await asyncio.Event().wait()

    async def _send(self, message: Any) -> None:
        self._text += message.get("body", b"").decode()

    async def events(self, count: int) -> list[list[str]]:
        """The next events, each as its lines."""
        while self._text.count("\n\n") < count:
            await asyncio.sleep(0)
        found, self._text = self._text, ""
        return [event.splitlines() for event in found.split("\n\n")[:-1]]


@pytest.fixture
def messages(world: World, monkeypatch: pytest.MonkeyPatch) -> Messages:
    """A source of another kind, and a row for the request that follows it."""
    row: dict[type[Request], Any] = {MessageSubscribe: messages_of}
    monkeypatch.setattr("hivewire.actions.subscription.FOLLOWED", FOLLOWED | row)
    source = Messages()
    world.hub.add("messages", source)
    return source


async def test_an_event_stream_serves_any_topic_of_the_table(world: World, messages: Messages) -> None:
    """Its events have the topic's form, and their ids are positions of the topic's source."""
    messages.insert("a", 1, "one")
    reader = Reader(world, MessageSubscribe(since="messages-0"), Permission.GET_DEVICE_NOTIFICATION)
    assert await reader.events(3) == [
        ["event: bookmark", "id: messages-0", 'data: {"position":"messages-0"}'],
        ["event: update", "id: messages-1", 'data: {"position":"messages-1","text":"one"}'],
        ["event: bookmark", "id: messages-1", 'data: {"position":"messages-1","live":true}'],
    ]
    messages.insert("b", 1, "of another device")
    messages.insert("a", 1, "two")
    assert await reader.events(1) == [
        ["event: update", "id: messages-3", 'data: {"position":"messages-3","text":"two"}']
    ]
    reader.answering.cancel()


async def test_a_stream_needs_the_right_of_its_own_request(world: World, messages: Messages) -> None:
    """A look at the rights does not end it for a right that it never needed; it ends when its user is locked."""
    reader = Reader(world, MessageSubscribe(), Permission.GET_DEVICE_NOTIFICATION)
    await reader.events(1)
    reader.stream.suspend()
    messages.insert("a", 1, "one")
    assert [event[0] for event in await reader.events(1)] == ["event: update"]
    await world.ledger.commit(world.users.write("john", UserContent("", status=Status.LOCKED_OUT), None))
    await reader.answering
    [closed] = await reader.events(1)
    assert closed == ["event: close", 'data: {"code":401,"reason":"User is locked or disabled"}']


async def test_a_topic_brings_its_own_way_to_end_a_subscription(world: World, messages: Messages) -> None:
    """With the right of its own, also for callers that may not end subscriptions to configurations."""
    requests: dict[type[Request], Any] = {MessageSubscribe: subscribe, MessageUnsubscribe: unsubscribe}
    dispatcher = Dispatcher(world.services, {**actions.READS, **requests}, actions.WRITES)
    identity = Identity(JOHN, "john", now() + HOUR, 1 << Permission.GET_DEVICE_NOTIFICATION, None, None)
    caller = Caller("10.0.0.1", "h", identity=identity)
    await EventStreams(dispatcher).subscribe(caller, MessageSubscribe())
    assert caller.feed is not None
    [sub] = caller.feed.subscriptions
    with pytest.raises(AccessDenied):
        await dispatcher.carry_out(caller, ConfigurationUnsubscribe(subscriptionId=sub.id))
    await dispatcher.carry_out(caller, MessageUnsubscribe(subscriptionId=sub.id))
    assert caller.feed.subscriptions == []


async def test_a_stream_that_is_refused_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client may ask again and again."""
    monkeypatch.setattr("hivewire.actions.feeds.MAX_HELD_KEYS", 1)
    streams = EventStreams(world.dispatcher)
    with pytest.raises(OutOfBounds):
        await streams.subscribe(world.caller(), ConfigurationSubscribe(names=["a", "b"]))
    assert not world.services.hub.feeds


async def test_a_stream_never_tells_its_client_to_reconnect_at_once(world: World, messages: Messages) -> None:
    """`EventSource` keeps that time, and would ask hundreds of times a second until the gateway is back."""
    reader = Reader(world, MessageSubscribe(), Permission.GET_DEVICE_NOTIFICATION)
    await reader.events(1)
    reader.streams.drain(0.0)
    await reader.answering
    [draining, [_, retry, _]] = await reader.events(2)
    assert retry == "retry: 100"
    assert draining == ["event: draining", 'data: {"alternatives":[],"retry":100}']


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_pushes_of_each_topic_are_in_the_protocol(topic: Topic) -> None:
    """Changes and bookmarks, and snapshots with its member if it has a state."""
    assert {f"{topic.name}/update", f"{topic.name}/bookmark"} <= set(PUSHES)
    assert (topic.element is not None) == (f"{topic.name}/snapshot" in PUSHES)
    if topic.element is not None:
        assert topic.elements in PUSHES[f"{topic.name}/snapshot"].__struct_fields__


def test_each_request_that_is_answered_with_a_subscription_is_in_the_table() -> None:
    """Also each that DeviceHive's paths stream."""
    subscribing = {
        shape for shape in {**REQUESTS, **HTTP_ONLY}.values() if getattr(shape, "reply", None) is SubscribeReply
    }
    assert set(FOLLOWED) == subscribing
    assert {row.stream for row in devicehive.ROWS if row.stream is not None} <= set(FOLLOWED)
