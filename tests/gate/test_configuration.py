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


def test_a_list_that_is_too_long_to_answer_is_refused_and_shorter_ones_are_not(talk: Talk) -> None:
    """Values of more than 1 MiB together get 413 and the advice to ask for less; a smaller page works."""
    for number in range(20):
        talk("configuration/put", name=f"main.large.{number:02}", value="v" * 60_000)
    refused = talk("configuration/list", names=["main.large.*"], take=10_000)
    assert (refused["code"], refused["error"]) == (413, "ask for less")
    first = talk("configuration/list", names=["main.large.*"], take=15)
    assert (len(first["configurations"]), first["count"]) == (15, 20)
    for number in range(20):  # others list everything
        talk("configuration/delete", name=f"main.large.{number:02}")
