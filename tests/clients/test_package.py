"""The distribution: it stands alone, and what it says of the wire is what the gateway says."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import msgspec
import pytest

from hivewire_client import connection, resources, route
from hivewire_client.connection import Frame
from hivewire_protocol import close
from hivewire_protocol.nouns import configuration

PACKAGE = Path("clients/python/hivewire_client")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=str)
def test_it_needs_two_packages(path: Path) -> None:
    """Only `websockets` and `msgspec`, and itself."""
    needed = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            needed |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            needed.add(str(node.module).partition(".")[0])
    assert needed - sys.stdlib_module_names <= {"hivewire_client", "msgspec", "websockets"}


def test_its_structs_are_the_gateways() -> None:
    """An entry and a change have the members of the resource and the change, by the same names."""

    def members(struct: type[msgspec.Struct]) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(struct)}

    assert members(resources.Entry) == members(configuration.Configuration)
    assert members(resources.Change) == members(configuration.ChangeInfo)
    assert resources.TEXT == configuration.TEXT


def test_its_close_codes_are_the_gateways() -> None:
    """It does not come back after those of which the gateway says so."""
    assert set(route.IN_VAIN) == {code for code, row in close.TABLE.items() if row.reconnect == "no"}
    assert route.TOO_MANY_FAILURES == close.Code.TOO_MANY_FAILURES
    assert connection._MESSAGE_TOO_BIG == close.Code.TOO_LARGE


def test_its_frame_has_what_pushes_have_in_common() -> None:
    """The members of a push that say where it belongs."""
    asked = {field.name for field in msgspec.structs.fields(Frame)} - {"data"}
    assert asked == {
        *("action", "requestId", "subscriptionId", "status"),
        *("position", "reset", "last", "live", "conflated"),
    }
