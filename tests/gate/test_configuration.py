"""The main job over the wire: put, get, list and delete."""

from __future__ import annotations

from tests.running import Talk


def test_a_value_that_was_put_is_read_back_with_version_one(talk: Talk) -> None:
    """A put creates at version 1, answers with the new version, and the next get shows the same."""
    put = talk("configuration/put", name="main.first", value="42")
    assert put["status"] == "success"
    assert put["configuration"] == {"name": "main.first", "value": "42", "entityVersion": 1}
    got = talk("configuration/get", name="main.first")
    assert got["configuration"] == put["configuration"]
    assert got["revision"] == put["revision"]
