"""What `transport` uses of uvicorn beyond its documented interface, by name, and the versions in which that was tried.

Whoever lets in another version reads what it changed there, and runs the whole suite with it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement
from uvicorn import Config, Server
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from hivewire.transport import connection, cycle, server
from tests.exchange import Exchange

SERIES = ["0.54"]
"""Series of uvicorn with which the suite has passed."""

PROTOCOL = {
    *("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing", "shutdown"),
    *(
        "eof_received",
        "on_message_begin",
        "on_header",
        "on_headers_complete",
        "on_message_complete",
        "on_response_complete",
    ),
    *("_should_upgrade", "_unset_keepalive_if_required", "timeout_keep_alive_handler"),
    *("connections", "cycle", "flow", "headers", "loop", "parser", "pipeline", "scope", "server_state", "transport"),
    *("scheme", "timeout_keep_alive", "ws_protocol_class"),
}
"""Members of `HttpToolsProtocol` that our subclass overrides, calls, reads or sets."""

CYCLE = {
    *("body", "more_body", "disconnected", "keep_alive", "waiting_for_100_continue", "message_event"),
    *("chunked_encoding", "expected_content_length"),
    *("default_headers", "response_started", "response_complete", "on_response", "scope", "transport"),
}
"""Members of a request's cycle that `transport/cycle.py` reads, calls or sets."""

SERVER = {"config", "server_state", "capture_signals", "handle_exit", "startup", "shutdown"}
"""The same of `Server`; its `servers` are there only once it has started."""


def mentioned(owner: type | ModuleType) -> set[str]:
    """All names of members that the source of a class or module defines or uses."""
    tree = ast.walk(ast.parse(inspect.getsource(owner)))
    return {node.attr for node in tree if isinstance(node, ast.Attribute)} | vars(owner).keys()


class Plain:
    """A class without members: what Python itself gives every class depends on its version."""

    __slots__ = ("__dict__", "__weakref__")


def members(thing: object) -> set[str]:
    """The names of members of an object that not every object has."""
    return set(dir(thing)) - set(dir(Plain))


def test_the_versions_that_are_let_in_are_those_that_were_tried() -> None:
    """The range of the project holds the series of this page and no other, and one of them is installed."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    (found,) = (each for each in map(Requirement, project["dependencies"]) if each.name == "uvicorn")
    assert [f"0.{minor}" for minor in range(200) if found.specifier.contains(f"0.{minor}.0")] == SERIES
    assert version("uvicorn").rpartition(".")[0] in SERIES


async def test_our_connections_and_theirs_share_the_members_that_are_named_here() -> None:
    """None that we use is gone, and none of theirs has by chance the name of one of ours."""
    config = Config(lambda scope: None, http="httptools", ws="none", log_config=None)
    theirs = HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    assert mentioned(connection.HttpProtocol) & members(theirs) == PROTOCOL
    assert mentioned(server.Server) & members(Server(config)) == SERVER
    assert "connections" in members(ServerState())
    assert set(inspect.signature(RequestResponseCycle).parameters) >= {"transport", "message_event", "keep_alive"}
    assert mentioned(cycle) & members(Exchange().cycle) == CYCLE
    assert isinstance(FlowControl(asyncio.Transport())._is_writable_event, asyncio.Event)
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
