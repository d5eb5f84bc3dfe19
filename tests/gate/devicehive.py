"""The official Python client of DeviceHive at work: connects to a gateway, does one thing, hangs up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from devicehive import ApiResponseError, DeviceHive, Handler
from devicehive.api import Api

from tests.running import PASSWORD, RunningGateway

LOGIN = {"login": "admin", "password": PASSWORD}
ENDPOINTS = ["ws api", "ws dh", "http api", "http dh"]


class Job(Handler):  # type: ignore[misc]  # the client has no types
    """Does one thing once it is connected, then hangs up."""

    def __init__(self, api: Api, work: Callable[[Api], Any]) -> None:
        super().__init__(api)
        self.work = work
        self.result: Any = None

    def handle_connect(self) -> None:
        try:
            self.result = self.work(self.api)
        finally:
            self.api.disconnect()


def address(gateway: RunningGateway, endpoint: str) -> str:
    """Where the client connects to."""
    scheme, context = endpoint.split()
    page = "websocket" if scheme == "ws" else "rest"
    return f"{scheme}://127.0.0.1:{gateway.port}/{context}/{page}"


def hang_up(transport: Any) -> None:
    """Close what the client leaves behind after an error: a socket, and a thread that reads it again and again."""
    if transport.connected:
        transport.disconnect()
        if transport.name == "websocket":
            transport._websocket.abort()
            for thread in threading.enumerate():
                if thread.name == "websocket-transport-event":
                    thread.join()
            transport._websocket.shutdown()


def run(url: str, work: Callable[[Api], Any], **credentials: str) -> Any:
    """Connect with the client, work, disconnect; what the work returned. Its errors come through."""
    failure: list[BaseException] = []

    def watched(api: Api) -> Any:
        try:
            return work(api)
        except BaseException as error:
            failure.append(error)
            return None

    client = DeviceHive(Job, watched)
    try:
        client.connect(url, **credentials)
    finally:
        hang_up(client.transport)
    if failure:
        raise failure[0]
    return client.handler.result


NUMBERS = count()


def unused(what: str) -> str:
    """A name that no other test uses."""
    return f"client-{what}-{next(NUMBERS)}"


def code(work: Callable[[], Any]) -> int:
    """The code of the error that a call of the client ends with."""
    with pytest.raises(ApiResponseError) as refused:
        work()
    return int(refused.value.code)
